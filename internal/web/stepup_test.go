package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

// stepUpConsole is a console with one account of production.
func stepUpConsole(t *testing.T) (*console, accounts.Account) {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{Seed: 4, Accounts: 1, Clusters: 2})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(box.Handler())
	t.Cleanup(api.Close)
	upstream, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := newFullConsoleAt(t, upstream, 5)
	f := box.Fixtures()[0]
	a, err := c.accounts.Create(t.Context(), accounts.JobActor("test"), accounts.NewAccount{
		Generation: cloudapi.Generation(f.Generation), Key: cloudapi.NewSecret([]byte(f.ManagementKey)), Name: "Shop", Environment: accounts.Production,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, a
}

func wantWords(t *testing.T, w *httptest.ResponseRecorder, want bool, words string) {
	t.Helper()
	if strings.Contains(w.Body.String(), words) != want {
		t.Errorf("the page says %q: %v, want %v:\n%s", words, !want, want, cut(w.Body.String(), 6000))
	}
}

func TestStepUpOnTheWayToAnAct(t *testing.T) {
	c, a := stepUpConsole(t)
	b := c.as("admins")
	page := accountPath(a.ID) + "/delete"
	link := "/login?step_up=1&amp;return_to=" + url.QueryEscape(page)

	w := b.visit(page)
	wantStatus(t, w, http.StatusOK)
	wantWords(t, w, false, "step_up=1")
	wantWords(t, w, true, `name="confirm"`)

	c.clock.advance(11 * time.Minute)
	w = b.visit(page)
	wantStatus(t, w, http.StatusOK)
	wantWords(t, w, true, link)
	wantWords(t, w, false, `name="confirm"`) // before anything is typed

	// The form that was open all the time.
	r := b.request(http.MethodPost, page, "confirm=Shop&delete_key=no")
	r.Header.Set("Referer", testBase+page)
	w = b.send(r)
	wantStatus(t, w, http.StatusForbidden)
	wantWords(t, w, true, "This needs a fresh sign-in")
	wantWords(t, w, true, link)

	to := b.visit(strings.ReplaceAll(link, "&amp;", "&")).Header().Get("Location")
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); q.Get("max_age") != "0" || q.Get("prompt") != "login" || q.Get("login_hint") != "admins@example.test" {
		t.Errorf("the provider is asked with %v", q)
	}
	before := b.cookie(b.cookies.session)
	w = b.visit(pathCallback + "?" + c.idp.authorize(to).Encode())
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != page {
		t.Fatalf("back at %q", got)
	}
	if b.cookie(b.cookies.session) == before {
		t.Error("the session's token is the old one")
	}
	w = b.visit(page)
	wantWords(t, w, true, signedInAgain)
	wantWords(t, w, true, `name="confirm"`)
	wantWords(t, w, true, `value="Shop"`) // as it was typed
	wantWords(t, w, false, "step_up=1")
	w = b.visit(page)
	wantWords(t, w, false, `value="Shop"`) // once

	w = b.post(page, "confirm=Shop&delete_key=no")
	wantStatus(t, w, http.StatusSeeOther)
}

func TestStepUpFormOfAnAccountComesBackFilledIn(t *testing.T) {
	c, a := stepUpConsole(t)
	b := c.as("admins")
	page := accountPath(a.ID) + "/edit"
	c.clock.advance(11 * time.Minute)
	w := b.visit(page)
	wantWords(t, w, true, "Another use of the account needs a fresh sign-in")
	form := url.Values{
		"revision": {hiddenValue(t, w, "revision")}, "name": {"Shop of <b>today</b>"}, "environment": {"staging"}, "owner": {"Grace"}, "note": {"typed with care"},
	}
	w = b.post(page, form.Encode())
	wantStatus(t, w, http.StatusForbidden)
	wantStatus(t, b.signIn("/login?step_up=1&return_to="+url.QueryEscape(page)), http.StatusSeeOther)
	w = b.visit(page)
	wantWords(t, w, true, "typed with care")
	wantWords(t, w, true, "Shop of &lt;b&gt;today")
	if got := hiddenValue(t, w, "revision"); got != form.Get("revision") {
		t.Errorf("revision %q", got)
	}
	wantStatus(t, b.post(page, form.Encode()), http.StatusSeeOther)
}

func hiddenValue(t *testing.T, w *httptest.ResponseRecorder, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(w.Body.String(), `name="`+name+`" value="`)
	if !ok {
		t.Fatalf("no field %s in the page", name)
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// TestStepUpKeepsNoSecretOfAForm sends a key without a fresh sign-in.
func TestStepUpKeepsNoSecretOfAForm(t *testing.T) {
	c, a := stepUpConsole(t)
	b := c.as("admins")
	c.clock.advance(11 * time.Minute)
	w := b.post(accountPath(a.ID)+"/key", "management_key=canary-key&form_token=canary-token")
	wantStatus(t, w, http.StatusForbidden)
	wantWords(t, w, false, "canary")
	if got := b.cookie(b.cookies.typed); got != "" {
		t.Errorf("kept: %q", got)
	}
}

func TestStepUpOfAnExport(t *testing.T) {
	c, _ := stepUpConsole(t)
	b := c.as("auditors")
	export := "/audit/export?format=csv"
	wantWords(t, b.visit("/audit"), true, `href="`+export+`"`)
	c.clock.advance(11 * time.Minute)
	link := "/login?step_up=1&return_to=" + url.QueryEscape(export)
	wantWords(t, b.visit("/audit"), true, strings.ReplaceAll(link, "&", "&amp;"))
	w := b.visit(export)
	wantStatus(t, w, http.StatusForbidden)
	wantWords(t, w, true, strings.ReplaceAll(link, "&", "&amp;"))
	w = b.signIn(link)
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != export {
		t.Fatalf("back at %q", got)
	}
	ask := b.ask(c.listening(), http.MethodGet, export)
	defer ask.Body.Close()
	if ask.StatusCode != http.StatusOK || !strings.HasPrefix(ask.Header.Get("Content-Type"), "text/csv") {
		t.Errorf("the export answers %d %s", ask.StatusCode, ask.Header.Get("Content-Type"))
	}
}

// TestStepUpOfAPart asks as htmx does.
func TestStepUpOfAPart(t *testing.T) {
	c, a := stepUpConsole(t)
	b := c.as("admins")
	c.clock.advance(11 * time.Minute)
	page := accountPath(a.ID) + "/delete"
	r := b.request(http.MethodPost, page, "confirm=Shop&delete_key=no")
	r.Header.Set("HX-Request", "true")
	r.Header.Set("HX-Current-URL", testBase+page+"?x=1")
	w := b.send(r)
	wantStatus(t, w, http.StatusForbidden)
	wantWords(t, w, true, "/login?step_up=1&amp;return_to="+url.QueryEscape(page+"?x=1"))
	wantWords(t, w, false, "<html")
	if w.Header().Get("HX-Retarget") != "#notice" {
		t.Errorf("it goes to %q", w.Header().Get("HX-Retarget"))
	}
}

// TestStepUpWithProvidersThatDoNotDoAsTheyAreAsked signs in an admin and then asks for a fresh sign-in.
func TestStepUpWithProvidersThatDoNotDoAsTheyAreAsked(t *testing.T) {
	for name, test := range map[string]struct {
		claims func(map[string]any, time.Time)
		status int
		words  string
	}{
		"old auth_time":             {func(m map[string]any, now time.Time) { m["auth_time"] = now.Add(-5 * time.Minute).Unix() }, http.StatusForbidden, "without asking you to sign in again"},
		"no auth_time any more":     {func(m map[string]any, _ time.Time) { m["auth_time"] = nil }, http.StatusForbidden, "did not say when you signed in"},
		"auth_time in the future":   {func(m map[string]any, now time.Time) { m["auth_time"] = now.Add(time.Hour).Unix() }, http.StatusBadRequest, "clocks"},
		"auth_time that is no time": {func(m map[string]any, _ time.Time) { m["auth_time"] = -1 }, http.StatusBadRequest, "did not pass"},
		"auth_time of another kind": {func(m map[string]any, _ time.Time) { m["auth_time"] = "yesterday" }, http.StatusBadRequest, "did not pass"},
		"another member":            {func(m map[string]any, _ time.Time) { m["sub"] = "subject-other" }, http.StatusForbidden, "as somebody else"},
	} {
		t.Run(name, func(t *testing.T) {
			c, a := stepUpConsole(t)
			b := c.as("admins")
			page := accountPath(a.ID) + "/delete"
			c.clock.advance(11 * time.Minute)
			honest := c.idp.claims
			c.idp.claims = func(m map[string]any) {
				honest(m)
				test.claims(m, c.clock.Now())
			}
			session := b.cookie(b.cookies.session)
			link := "/login?step_up=1&return_to=" + url.QueryEscape(page)
			w := b.signIn(link)
			wantStatus(t, w, test.status)
			wantWords(t, w, true, test.words)
			if b.cookie(b.cookies.session) != session {
				t.Error("the session was replaced")
			}
			wantWords(t, b.visit("/me"), true, "Member admins")
			wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusForbidden)
			c.idp.claims = honest
			wantStatus(t, b.signIn(link), http.StatusSeeOther)
			wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusSeeOther)
		})
	}
}

// TestStepUpWithAProviderThatTellsNoTime never gets auth_time.
func TestStepUpWithAProviderThatTellsNoTime(t *testing.T) {
	c, a := stepUpConsole(t)
	c.idp.claims = func(m map[string]any) { m["auth_time"], m["groups"] = nil, []string{"admins"} }
	b := c.browser()
	wantStatus(t, b.signIn("/login?go=1"), http.StatusSeeOther)
	page := accountPath(a.ID) + "/delete"
	// A sign-in just now may rest on a session at the provider that is days old.
	w := b.visit(page)
	wantWords(t, w, true, "step_up=1")
	wantWords(t, w, true, "does not tell when people sign in there")
	wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusForbidden)

	wantStatus(t, b.signIn("/login?step_up=1&return_to="+url.QueryEscape(page)), http.StatusSeeOther)
	w = b.visit(page)
	wantWords(t, w, true, signedInAgainUntold)
	wantWords(t, w, true, `name="confirm"`)
	wantWords(t, b.visit("/me"), true, "does not tell when people sign in there")
	c.clock.advance(11 * time.Minute)
	wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusForbidden)
	wantStatus(t, b.signIn("/login?step_up=1&return_to="+url.QueryEscape(page)), http.StatusSeeOther)
	wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusSeeOther)
}

// TestRobustStepUpWithAProviderThatTellsTheTimeWhenAsked: OpenID Connect Core 1.0 has providers tell auth_time where they
// are asked with max_age, and leaves it to them otherwise. Every sign-in asks, so that who has just signed in is not
// sent to do so once more, and such a provider is known to tell from the first sign-in on: a member who takes the
// question out of the address cannot pass for one who was asked.
func TestRobustStepUpWithAProviderThatTellsTheTimeWhenAsked(t *testing.T) {
	c, a := stepUpConsole(t)
	c.idp.claims = func(m map[string]any) { m["groups"] = []string{"admins"} }
	c.idp.silent = func(asked url.Values) bool { return !asked.Has("max_age") }
	b := c.browser()
	wantStatus(t, b.signIn("/login?go=1"), http.StatusSeeOther)
	page := accountPath(a.ID) + "/delete"
	w := b.visit(page)
	wantWords(t, w, false, "step_up=1")
	wantWords(t, w, true, `name="confirm"`)
	wantWords(t, b.visit("/me"), false, "does not tell when people sign in there")

	c.clock.advance(11 * time.Minute)
	link := "/login?step_up=1&return_to=" + url.QueryEscape(page)
	to, err := url.Parse(b.visit(link).Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	taken := to.Query()
	taken.Del("max_age")
	taken.Del("prompt")
	to.RawQuery = taken.Encode()
	w = b.visit(pathCallback + "?" + c.idp.authorize(to.String()).Encode())
	wantStatus(t, w, http.StatusForbidden)
	wantWords(t, w, true, "did not say when you signed in")
	wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusForbidden)

	wantStatus(t, b.signIn(link), http.StatusSeeOther) // once
	wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusSeeOther)
}

// TestRobustOrdinarySignInsAskForNoNewOne: they ask when it was, with an age that no session at a provider has.
func TestRobustOrdinarySignInsAskForNoNewOne(t *testing.T) {
	c, _ := stepUpConsole(t)
	for _, path := range []string{"/login?go=1", "/login?return_to=%2Fme", "/login?login_hint=ada%40example.test"} {
		to, err := url.Parse(c.browser().visit(path).Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if q := to.Query(); q.Get("max_age") != "31536000" || q.Has("prompt") {
			t.Errorf("%s asks with %v", path, q)
		}
	}
}

// TestStepUpWithoutASessionIsASignIn comes back after the session has ended.
func TestStepUpWithoutASessionIsASignIn(t *testing.T) {
	c, _ := stepUpConsole(t)
	c.as("admins") // whom the provider vouches for
	b := c.browser()
	w := b.signIn("/login?step_up=1&return_to=%2Fme")
	wantStatus(t, w, http.StatusSeeOther)
	wantWords(t, b.visit("/me"), true, "Member admins")
}

func TestStepUpLeadsToNoOtherSite(t *testing.T) {
	c, a := stepUpConsole(t)
	b := c.as("admins")
	c.clock.advance(11 * time.Minute)
	page := accountPath(a.ID) + "/delete"
	for _, referer := range []string{"https://evil.example/x", "https://console.example.test.evil.example/", "//evil.example", testBase + "//evil.example", testBase + "/login?x=1", "%"} {
		r := b.request(http.MethodPost, page, "confirm=x")
		r.Header.Set("Referer", referer)
		w := b.send(r)
		wantStatus(t, w, http.StatusForbidden)
		wantWords(t, w, true, "/login?step_up=1&amp;return_to="+url.QueryEscape(page)+`"`)
	}
	w := b.signIn("/login?step_up=1&return_to=https%3A%2F%2Fevil.example")
	if got := w.Header().Get("Location"); got != pathHome {
		t.Errorf("back at %q", got)
	}
}

// TestStepUpCookieOfAnotherPageFillsInNothing plants what a browser holds.
func TestStepUpCookieOfAnotherPageFillsInNothing(t *testing.T) {
	c, a := stepUpConsole(t)
	b := c.as("admins")
	for _, value := range []string{
		"eyJwIjoiL290aGVyIiwidiI6eyJjb25maXJtIjpbIlNob3AiXX19", // of /other
		"bm9uc2Vuc2U", "%%%", "bnVsbA", strings.Repeat("A", maxTyped+1),
	} {
		b.jar.SetCookies(b.at, []*http.Cookie{{Name: b.cookies.typed, Value: value, Path: "/", Secure: true}})
		w := b.visit(accountPath(a.ID) + "/delete")
		wantStatus(t, w, http.StatusOK)
		wantWords(t, w, false, `value="Shop"`)
	}
}
