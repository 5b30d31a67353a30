package cloudapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAnswersWithoutAUsableKey: an answer that should have a key in it and has none, or one that could
// not be used or shown, says that something may have been made.
func TestAnswersWithoutAUsableKey(t *testing.T) {
	const id, other = `"id":"9b1c"`, "11111111-2222-4333-8444-555555555555"
	for name, key := range map[string]string{
		"no secret":       id + `,"clusterId":"c"`,
		"an empty one":    id + `,"clusterId":"c","key":""`,
		"no text":         id + `,"clusterId":"c","key":{"a":1}`,
		"a line in it":    id + `,"clusterId":"c","key":"a\nb"`,
		"markup in it":    id + `,"clusterId":"c","key":"<script> alert(1)"`,
		"a long one":      id + `,"clusterId":"c","key":"` + strings.Repeat("x", maxKey+1) + `"`,
		"another account": id + `,"accountId":"` + other + `","clusterId":"c","key":"abc"`,
		"another cluster": id + `,"clusterId":"d","key":"abc"`,
		"no cluster":      id + `,"key":"abc"`,
		"no id":           `"clusterId":"c","key":"abc"`,
		"a path for one":  `"id":"../x","clusterId":"c","key":"abc"`,
	} {
		for _, body := range []string{`{"databaseApiKey":{` + key + `}}`, `{"database_api_key":{` + key + `}}`} {
			u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, body) //nolint:errcheck // the client has gone
			})
			_, secret, err := NewCurrentAPI(u.conn(Current)).CreateDatabaseKey(t.Context(), NewDatabaseKey{Cluster: "c", Name: "name", Access: KeyAccess{Global: AccessReadOnly}})
			if e, ok := AsError(err); !ok || e.Kind != Malformed || e.Status != http.StatusOK || !secret.IsZero() {
				t.Errorf("%s: %v, a secret: %v", name, err, !secret.IsZero())
			}
			if u.count() != 1 {
				t.Errorf("%s: asked %d times", name, u.count())
			}
		}
	}
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"9b1c","cluster_ids":["c"],"prefix":"ab"}`) //nolint:errcheck // the client has gone
	})
	for name, access := range map[string]KeyAccess{"nothing": {}, "what cannot be read": {Unreadable: true}} {
		_, _, err := NewCurrentAPI(u.conn(Current)).CreateDatabaseKey(t.Context(), NewDatabaseKey{Cluster: "c", Name: "name", Access: access})
		if e, ok := AsError(err); !ok || e.Kind != Invalid || u.count() != 0 {
			t.Errorf("a key that may do %s: %v, asked %d times", name, err, u.count())
		}
	}
	_, _, err := NewLegacyAPI(u.conn(PAV1)).CreateAdminKey(t.Context(), []string{"c"})
	if e, ok := AsError(err); !ok || e.Kind != Malformed {
		t.Errorf("pa/v1 without a token: %v", err)
	}
}
