package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/accounts"
)

func claimsOf(t testing.TB, payload string) map[string]json.RawMessage {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(payload), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestClaimsOfProviders reads ID tokens in the shapes that the usual providers send.
func TestClaimsOfProviders(t *testing.T) {
	const listed, one, missing, wrong = accounts.GroupsListed, accounts.GroupsOne, accounts.GroupsMissing, accounts.GroupsWrongType
	for _, tt := range []struct {
		name, claim, payload string
		groups               []string
		want                 accounts.Reading // without the claim's name
	}{
		{"Entra", "groups", `{"groups":["0f3a2c11-0000-4000-8000-000000000001","0f3a2c11-0000-4000-8000-000000000002"],"oid":"x","tid":"y"}`,
			[]string{"0f3a2c11-0000-4000-8000-000000000001", "0f3a2c11-0000-4000-8000-000000000002"}, accounts.Reading{State: listed, Received: 2}},
		{"Entra app roles", "roles", `{"roles":["Quartermaster.Admin"],"_claim_names":{"groups":"src1"}}`, []string{"Quartermaster.Admin"}, accounts.Reading{State: listed, Received: 1}},
		{"Entra overage", "groups", `{"_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://graph.windows.net/t/users/u/getMemberObjects"}}}`,
			nil, accounts.Reading{State: missing, Overage: "_claim_names"}},
		{"Entra overage, implicit flow", "groups", `{"hasgroups":true}`, nil, accounts.Reading{State: missing, Overage: "hasgroups"}},
		{"Entra overage, implicit flow as text", "groups", `{"hasgroups":"true"}`, nil, accounts.Reading{State: missing, Overage: "hasgroups"}},
		{"Entra overage, named source", "groups", `{"groups:src1":"https://graph.windows.net/x"}`, nil, accounts.Reading{State: missing, Overage: "groups:src1"}},
		{"Entra overage, the source in the claim", "groups", `{"groups":"src1","_claim_sources":{"src1":{"endpoint":"https://graph.windows.net/x"}}}`,
			nil, accounts.Reading{State: missing, Overage: "_claim_sources"}},
		{"Entra overage, some groups nevertheless", "groups", `{"groups":["a"],"_claim_names":{"groups":"src1"}}`, []string{"a"}, accounts.Reading{State: listed, Received: 1, Overage: "_claim_names"}},
		{"no overage", "groups", `{"groups":["a"],"hasgroups":false,"_claim_names":{"address":"src1"}}`, []string{"a"}, accounts.Reading{State: listed, Received: 1}},
		{"Keycloak group membership", "groups", `{"groups":["/platform/admins","/staff"]}`, []string{"/platform/admins", "/staff"}, accounts.Reading{State: listed, Received: 2}},
		{"Keycloak realm roles", "realm_access.roles", `{"realm_access":{"roles":["offline_access","qm-admin"]}}`,
			[]string{"offline_access", "qm-admin"}, accounts.Reading{State: listed, Received: 2, Path: []string{"realm_access", "roles"}}},
		{"Keycloak roles of a client with dots", "resource_access.console.example.test.roles", `{"resource_access":{"console.example.test":{"roles":["qm-admin"]},"console":{"roles":["other"]}}}`,
			[]string{"qm-admin"}, accounts.Reading{State: listed, Received: 1, Path: []string{"resource_access", "console.example.test", "roles"}}},
		{"Auth0", "https://example.test/groups", `{"https://example.test/groups":["a"],"groups":["b"]}`, []string{"a"}, accounts.Reading{State: listed, Received: 1}},
		{"Auth0, an object in the claim", "https://example.test/app.groups", `{"https://example.test/app":{"groups":["a"]}}`,
			[]string{"a"}, accounts.Reading{State: listed, Received: 1, Path: []string{"https://example.test/app", "groups"}}},
		{"exact name before path", "a.b", `{"a.b":["exact"],"a":{"b":["path"]}}`, []string{"exact"}, accounts.Reading{State: listed, Received: 1}},
		{"path through a list", "a.b", `{"a":[{"b":["x"]}]}`, nil, accounts.Reading{State: missing}},
		{"path through a text", "a.b", `{"a":"b"}`, nil, accounts.Reading{State: missing}},
		{"path of dots", "...", `{"":{"":["x"]}}`, nil, accounts.Reading{State: missing}},
		{"Okta", "groups", `{"groups":["Everyone","Quartermaster admins"]}`, []string{"Everyone", "Quartermaster admins"}, accounts.Reading{State: listed, Received: 2}},
		{"Google", "groups", `{"iss":"https://accounts.google.com","hd":"example.test","email":"a@example.test","email_verified":true}`, nil, accounts.Reading{State: missing}},
		{"Authentik", "groups", `{"groups":["authentik Admins","staff"]}`, []string{"authentik Admins", "staff"}, accounts.Reading{State: listed, Received: 2}},
		{"one text", "groups", `{"groups":"admins"}`, []string{"admins"}, accounts.Reading{State: one, Received: 1}},
		{"one text with commas is one group", "groups", `{"groups":"admins,staff"}`, []string{"admins,staff"}, accounts.Reading{State: one, Received: 1, Joined: true}},
		{"a list written as text is one group", "groups", `{"groups":"[\"admins\"]"}`, []string{`["admins"]`}, accounts.Reading{State: one, Received: 1, Joined: true}},
		{"a name with commas in a list", "groups", `{"groups":["cn=admins,ou=groups"]}`, []string{"cn=admins,ou=groups"}, accounts.Reading{State: listed, Received: 1}},
		{"empty list", "groups", `{"groups":[]}`, nil, accounts.Reading{State: listed}},
		{"null", "groups", `{"groups":null}`, nil, accounts.Reading{State: missing}},
		{"object", "groups", `{"groups":{"admins":true}}`, nil, accounts.Reading{State: wrong, Got: "an object"}},
		{"number", "groups", `{"groups":7}`, nil, accounts.Reading{State: wrong, Got: "a number"}},
		{"boolean", "groups", `{"groups":true}`, nil, accounts.Reading{State: wrong, Got: "a yes or no"}},
		{"list of objects", "groups", `{"groups":[{"name":"admins"},{"name":"staff"}]}`, nil, accounts.Reading{State: listed, Received: 2, NotText: 2}},
		{"among others", "groups", `{"groups":["a",7,null,["admins"],{"name":"admins"},true]}`, []string{"a"}, accounts.Reading{State: listed, Received: 6, NotText: 5}},
		{"not well-formed", "groups", "{\"groups\":[\"a\xff\",\"\\ud800\",\"b\"]}", []string{"b"}, accounts.Reading{State: listed, Received: 3, NotText: 2}},
		{"letter case of the claim", "groups", `{"Groups":["admins"]}`, nil, accounts.Reading{State: missing}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			groups, reading := readGroups(claimsOf(t, tt.payload), tt.claim)
			if !slices.Equal(groups, tt.groups) {
				t.Errorf("groups %q, want %q", groups, tt.groups)
			}
			tt.want.Claim = tt.claim
			if diff := cmp.Diff(tt.want, reading); diff != "" {
				t.Errorf("reading (-want +got):\n%s", diff)
			}
			said := strings.Join(reading.Problems(), " ")
			if clean := reading.State == listed && reading.Overage == "" && reading.NotText == 0 || reading.State == one && !reading.Joined; clean != (said == "") {
				t.Errorf("said %q of %+v", said, reading)
			}
		})
	}
}

func TestClaimsVerifiedAddress(t *testing.T) {
	for payload, want := range map[string]bool{
		`{"email_verified":true}`: true, `{"email_verified":"true"}`: true, `{"email_verified":"TRUE"}`: false, `{"email_verified":1}`: false, `{"email_verified":null}`: false, `{}`: false,
	} {
		if got := identityOf(claimsOf(t, payload), "groups").EmailVerified; got != want {
			t.Errorf("%s: verified %v", payload, got)
		}
	}
}

// TestClaimsAddressIsNeverAlteredToFit: an address decides rights, so it is as the provider sent it, or none.
func TestClaimsAddressIsNeverAlteredToFit(t *testing.T) {
	long := strings.Repeat("a", 240) + "@example.test"
	for payload, want := range map[string]string{
		`{"email":"Ada@Example.test"}`: "Ada@Example.test", `{"email":" ada@example.test"}`: "", `{"email":"ada@example.test\u00a0"}`: "",
		`{"email":"ada\ud800@example.test"}`: "", `{"email":["ada@example.test"]}`: "", `{"email":"` + long + `aaaa"}`: long + "aaaa", `{}`: "",
	} {
		id := identityOf(claimsOf(t, payload), "groups")
		if id.Email != want {
			t.Errorf("%s: the address is %q", payload, id.Email)
		}
	}
}

func TestClaimsToShowAreBoundedAndHoldNoToken(t *testing.T) {
	const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
	all := claimsOf(t, fmt.Sprintf(`{"sub":"s","id":%q,"nested":{"access_token":"Bearer %s"},"_claim_sources":{"src1":{"JWT":%q}},"long":%q}`, jwt, jwt, jwt, strings.Repeat("x", 5000)))
	shown, leftOut := shownClaims(all)
	if text := fmt.Sprint(shown); strings.Contains(text, "eyJ") || strings.Contains(text, "src1") || leftOut != 0 {
		t.Errorf("shown: %v, %d left out", shown, leftOut)
	}
	if len(shown["long"]) > maxClaimValue+4 || shown["sub"] != "s" {
		t.Errorf("shown: %v", shown)
	}
	many := map[string]json.RawMessage{}
	for i := range 80 {
		many[fmt.Sprintf("claim-%02d", i)] = json.RawMessage(`1`)
	}
	shown, leftOut = shownClaims(many)
	if len(shown) != maxClaims || leftOut != 80-maxClaims || shown["claim-00"] == "" {
		t.Errorf("%d shown and %d left out of 80", len(shown), leftOut)
	}
}

// FuzzClaims holds the reader to what it says, whatever a provider sends: no panic, no group that is no text of the claim, counts that add up.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"groups":["a","b"]}`, `{"realm_access":{"roles":["a"]}}`, `{"groups":"src1","_claim_sources":{"src1":{}}}`, `{"_claim_names":"{\"groups\":1}","groups:src1":1}`,
		`{"groups":{"a":1}}`, `{"groups":[null,1,"x",["y"]]}`, `{"a":{"b":{"c":{}}}}`, `{"groups":"\ud800"}`, `{"realm_access.roles":7,"hasgroups":true}`, `{"x":"eyJ..eyJ.a.b"}`,
	} {
		f.Add(seed, "groups")
		f.Add(seed, "realm_access.roles")
	}
	f.Fuzz(func(t *testing.T, payload, claim string) {
		var all map[string]json.RawMessage
		if json.Unmarshal([]byte(payload), &all) != nil {
			return
		}
		id := identityOf(all, claim)
		r := id.Reading
		if len(id.Groups)+r.NotText != r.Received {
			t.Errorf("%d groups and %d others of %d", len(id.Groups), r.NotText, r.Received)
		}
		if (r.State == accounts.GroupsMissing || r.State == accounts.GroupsWrongType) && len(id.Groups) > 0 {
			t.Errorf("groups %q of a claim that is %s", id.Groups, r.State)
		}
		for _, g := range id.Groups {
			if !utf8.ValidString(g) || strings.ContainsRune(g, utf8.RuneError) {
				t.Errorf("group %q was altered", g)
			}
		}
		if len(id.Claims) > maxClaims {
			t.Errorf("%d claims to show", len(id.Claims))
		}
		for _, v := range id.Claims {
			if len(v) > maxClaimValue+4 {
				t.Errorf("a claim of %d bytes to show", len(v))
			}
		}
		_ = r.Problems()
	})
}
