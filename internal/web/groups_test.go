package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"quartermaster/internal/dbtest"
)

func (b *browser) tryClaims(claims string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.post(pathGroupsTry, url.Values{"claims": {claims}}.Encode())
}

// tables counts what a dry run must not write.
func tables(t *testing.T, db *dbtest.DB) string {
	t.Helper()
	var counts [4]int
	if err := db.Pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM members), (SELECT count(*) FROM sessions), (SELECT count(*) FROM group_values), (SELECT count(*) FROM audit.events)`).
		Scan(&counts[0], &counts[1], &counts[2], &counts[3]); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(counts)
}

// TestGroupsTryTellsWhatClaimsGive pastes claims: what they give and why is shown, nothing is
// stored, nobody is signed in and nothing of it is logged.
func TestGroupsTryTellsWhatClaimsGive(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("admins")
	wantStatus(t, b.visit(pathGroups), http.StatusOK)
	before := tables(t, db)
	for name, tt := range map[string]struct {
		claims string
		status int
		want   []string
	}{
		"a group that gives": {`{"groups":["viewers","canary-sales"],"email":"canary@example.test"}`, 200, []string{"viewer", "QM_VIEWER_GROUPS", "1 group gives nothing", "canary@example.test", "does not say that it is verified"}},
		"an object":          {`{"groups":{"canary":true}}`, 200, []string{"is an object, and not a list of texts", "Nothing in these claims gives a role"}},
		"Entra's overage":    {`{"_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://canary.example"}}}`, 200, []string{"left groups out", "_claim_names"}},
		"another issuer":     {`{"iss":"https://canary.example","groups":["admins"]}`, 200, []string{"Nobody would be signed in", "iss is not"}},
		"another audience":   {`{"aud":["canary"],"groups":["admins"]}`, 200, []string{"Nobody would be signed in", "aud does not name"}},
		"no such source":     {`{"_claim_names":{"groups":"canary"}}`, 200, []string{"Nobody would be signed in", "_claim_names and _claim_sources do not fit"}},
		"no subject":         {`{"sub":7,"groups":["canary"]}`, 200, []string{"sub is not a text"}},
		"markup":             {`{"groups":["<script>canary</script>"]}`, 200, []string{"&lt;script&gt;canary&lt;/script&gt;"}},
		"nothing":            {` `, 422, []string{"Paste the claims."}},
		"no JSON":            {"{\n\"groups\": canary}", 422, []string{"line 2 cannot be read"}},
		"half of it":         {`{"groups":["canary"`, 422, []string{"ends too early"}},
		"a list":             {`["canary"]`, 422, []string{"not an object of claims"}},
		"null":               {`null`, 422, []string{"not an object of claims"}},
		"two objects":        {`{"a":"canary"}{"groups":["admins"]}`, 422, []string{"more after the JSON object"}},
		"very deep":          {`{"groups":` + strings.Repeat("[", 100_000), 422, []string{"not JSON"}},
		"too long":           {`{"groups":["` + strings.Repeat("canary", 140_000) + `"]}`, 422, []string{"over 768 KiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := b.tryClaims(tt.claims)
			wantStatus(t, w, tt.status)
			for _, want := range tt.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the answer does not say %q:\n%.3000s", want, w.Body)
				}
			}
			if strings.Contains(w.Body.String(), "<script>canary") {
				t.Error("the answer holds markup of the claims")
			}
		})
	}
	if got := tables(t, db); got != before {
		t.Errorf("rows %s, before %s", got, before)
	}
	if strings.Contains(c.logs.String(), "canary") {
		t.Error("something of the claims was logged")
	}
}

// TestGroupsTryThrowsTokensAway: a token that is pasted is not read, and not given back.
func TestGroupsTryThrowsTokensAway(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
	for _, claims := range []string{token, "  " + token + "\n", `{"id_token":"` + token + `"}`} {
		w := b.tryClaims(claims)
		wantStatus(t, w, http.StatusUnprocessableEntity)
		if body := w.Body.String(); strings.Contains(body, "eyJ") || !strings.Contains(body, "There is a token in this") {
			t.Errorf("answer to a token:\n%.2000s", body)
		}
	}
	if strings.Contains(c.logs.String(), "eyJ") {
		t.Error("the token was logged")
	}
}

func TestGroupsTryTakesTenThousand(t *testing.T) {
	c, _ := newFullConsole(t)
	groups := make([]string, 10_000)
	for i := range groups {
		groups[i] = fmt.Sprintf("/engineering/search/%d", i)
	}
	groups[9999] = "viewers"
	claims, err := json.Marshal(map[string]any{"groups": groups})
	if err != nil {
		t.Fatal(err)
	}
	w := c.as("admins").tryClaims(string(claims))
	wantStatus(t, w, http.StatusOK)
	for _, want := range []string{"QM_VIEWER_GROUPS", "9,999 groups give nothing", "9,499 more are not shown"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the answer does not say %q", want)
		}
	}
}

func TestGroupsAreForAdminsOnly(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	for _, w := range []*httptest.ResponseRecorder{b.visit(pathGroups), b.visit(pathGroupsTry), b.tryClaims(`{"groups":["admins"]}`), b.tryClaims(`{`)} {
		wantStatus(t, w, http.StatusForbidden)
		if !strings.Contains(w.Body.String(), "grants:manage or members:manage") {
			t.Errorf("the refusal does not name the right:\n%.1000s", w.Body)
		}
	}
	if body := b.visit("/me").Body.String(); strings.Contains(body, pathGroups) {
		t.Error("the menu leads to what is refused")
	}
	if body := c.as("admins").visit("/me").Body.String(); !strings.Contains(body, pathGroups) {
		t.Error("the menu does not lead to the groups")
	}
}

// TestMeTellsHowRightsCame signs people in whose claims are right, wrong or left out.
func TestMeTellsHowRightsCame(t *testing.T) {
	c, _ := newFullConsole(t)
	for name, tt := range map[string]struct {
		claims map[string]any
		page   string
		want   []string
	}{
		"mapped":          {map[string]any{"groups": []any{"viewers", "sales"}}, "/me", []string{"QM_VIEWER_GROUPS", "1 group gives nothing", "verified"}},
		"not verified":    {map[string]any{"groups": []any{"viewers"}, "email_verified": nil}, "/me", []string{"not verified", "does not say that it is verified"}},
		"wrong type":      {map[string]any{"groups": map[string]any{"viewers": true}}, "/me", []string{"is an object, and not a list of texts"}},
		"among others":    {map[string]any{"groups": []any{"viewers", 7}}, "/me", []string{"1 value in groups is not text"}},
		"overage":         {map[string]any{"groups": nil, "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example"}}}, "/clusters", []string{"left groups out of the ID token", "_claim_names", "left out groups of yours"}},
		"overage, hidden": {map[string]any{"groups": "src1", "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example", "access_token": "canary-token"}}}, "/me", []string{"left groups out", "_claim_sources"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.idp.claims = func(m map[string]any) {
				for claim, value := range tt.claims {
					m[claim] = value
				}
			}
			b := c.browser()
			b.signIn("/login?go=1")
			body := b.visit(tt.page).Body.String()
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("%s does not say %q:\n%.6000s", tt.page, want, body)
				}
			}
			if strings.Contains(body, "canary-token") {
				t.Error("the page shows a token of the provider's directory")
			}
		})
	}
}

// TestAnswerOverTheBoundIsSaid: an ID token that is too large to be read signs nobody in, and the
// page says why.
func TestAnswerOverTheBoundIsSaid(t *testing.T) {
	for name, break_ := range map[string]func(*testProvider){
		"claims": func(p *testProvider) {
			p.claims = func(m map[string]any) { m["groups"] = []string{strings.Repeat("g", 1<<20), "admins"} }
		},
		"something else": func(p *testProvider) {
			p.token = func(w http.ResponseWriter) bool { _, _ = w.Write(make([]byte, 2*providerBody)); return true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newFullConsole(t)
			break_(c.idp)
			w := c.browser().signIn("/login?go=1")
			wantStatus(t, w, http.StatusBadRequest)
			if body := w.Body.String(); !strings.Contains(body, "over 1 MiB") || !strings.Contains(body, "very many groups") {
				t.Errorf("the page says:\n%.3000s", body)
			}
		})
	}
}
