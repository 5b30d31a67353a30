package web

import (
	"net/http"
	"strings"
	"testing"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
)

// TestRefusalsOfKeysAreToldInTheForm proves that each refusal of upstream's that a form can bring about
// is explained in it, with upstream's own words beside, and that no other error is taken for one.
func TestRefusalsOfKeysAreToldInTheForm(t *testing.T) {
	for name, tt := range map[string]struct {
		err    *cloudapi.Error
		status int
		field  string
		words  string
	}{
		"quota":        {&cloudapi.Error{Kind: cloudapi.Conflict, Message: "quota exceeded: 9 database API keys"}, 409, "", "Delete a key"},
		"version":      {&cloudapi.Error{Kind: cloudapi.Conflict, Message: "database API keys need version v1.11.0 or later"}, 409, "", "v1.11.0"},
		"jwt":          {&cloudapi.Error{Kind: cloudapi.Conflict, Message: "JWT RBAC is not enabled for cluster x"}, 409, "", "JWT access control"},
		"deleting":     {&cloudapi.Error{Kind: cloudapi.Conflict, Message: "cluster x is being deleted"}, 409, "", "being deleted"},
		"payment":      {&cloudapi.Error{Kind: cloudapi.Invalid, Message: "E1022 Payment details missing or outdated"}, 422, "", "Payment details"},
		"new conflict": {&cloudapi.Error{Kind: cloudapi.Conflict, Message: "the moon is full"}, 409, "", "present state"},
		"not entitled": {&cloudapi.Error{Kind: cloudapi.Forbidden, Message: "Account is not entitled to do the requested action"}, 409, "", "not entitled"},
		"name":         {&cloudapi.Error{Kind: cloudapi.Invalid, Fields: []cloudapi.FieldError{{Field: "database_api_key.name", Message: "too short"}}}, 422, "name", "too short."},
		"end":          {&cloudapi.Error{Kind: cloudapi.Invalid, Fields: []cloudapi.FieldError{{Field: "databaseApiKey.expiresAt", Message: "must be in the future"}}}, 422, "expires_in_days", "in the future"},
		"collection":   {&cloudapi.Error{Kind: cloudapi.Invalid, Fields: []cloudapi.FieldError{{Field: "database_api_key.access_rules[2].collection_access.collection_name", Message: "bad"}}}, 422, "collections", "bad."},
		"clusters":     {&cloudapi.Error{Kind: cloudapi.Invalid, Fields: []cloudapi.FieldError{{Field: "cluster_ids", Message: "cannot be changed"}}}, 422, "clusters", "cannot be changed"},
		"nothing told": {&cloudapi.Error{Kind: cloudapi.Invalid}, 422, "", "Correct it"},
	} {
		got, ok := keyRefusal(tt.err)
		if !ok || got.status != tt.status || !strings.Contains(got.fields[tt.field], tt.words) || got.said != tt.err.Public() {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
	for name, err := range map[string]error{
		"lost":         &cloudapi.Error{Kind: cloudapi.Conflict, OutcomeUnknown: true},
		"bad key":      &cloudapi.Error{Kind: cloudapi.Unauthenticated},
		"poor key":     &cloudapi.Error{Kind: cloudapi.Forbidden, Message: "missing permission write:api_keys"},
		"down":         &cloudapi.Error{Kind: cloudapi.Unavailable},
		"ours":         &accounts.ConflictError{Reason: "x"},
		"nothing":      nil,
		"out of reach": accounts.ErrNotFound,
	} {
		if got, ok := keyRefusal(err); ok {
			t.Errorf("%s is taken for a refusal of the form: %+v", name, got)
		}
	}
}

// TestAKeysFormThatSaysTwoEnds: which of them would count could not be told.
func TestAKeysFormThatSaysTwoEnds(t *testing.T) {
	if days, err := (keyForm{}).days(); err != nil || days != nil {
		t.Errorf("no field: %v, %v", days, err)
	}
	if days, err := (keyForm{Days: []string{""}}).days(); err != nil || days == nil || *days != "" {
		t.Errorf("an empty field: %v, %v", days, err)
	}
	_, err := keyForm{Days: []string{"1", ""}}.days()
	if p := explain(err); p.status != http.StatusBadRequest {
		t.Errorf("two fields: %v", err)
	}
}
