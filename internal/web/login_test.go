package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestLoginLeadsToTheProvider(t *testing.T) {
	c := newConsole(t)
	for target, hint := range map[string]string{
		"/login?go=1": "", "/login?return_to=/clusters": "", "/login?return_to=": "", "/login?login_hint=ada@example.test": "ada@example.test",
		"/login?go=1&login_hint=a%0d%0ab": "", "/login?go=1&login_hint=" + strings.Repeat("x", maxLoginHint+1): "",
	} {
		w := c.get(target)
		wantStatus(t, w, http.StatusSeeOther)
		u, err := url.Parse(w.Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if !strings.HasPrefix(u.String(), c.idp.URL+"/authorize?") || q.Get("login_hint") != hint || q.Get("redirect_uri") != testBase+"/auth/callback" ||
			q.Get("client_id") != testClientID || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
			len(q.Get("nonce")) < 26 || !isState(q.Get("state")) || !strings.Contains(q.Get("scope"), "openid") {
			t.Errorf("%s leads to %s", target, u)
		}
		if strings.Contains(u.String(), testClientSecret) {
			t.Error("the client secret is in an address")
		}
		set := w.Header().Get("Set-Cookie")
		for _, want := range []string{"__Host-qm_login_" + q.Get("state")[:stateNameSize] + "=", "Max-Age=600", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"} {
			if !strings.Contains(set, want) {
				t.Errorf("cookie %q lacks %q", set, want)
			}
		}
	}
}

func TestEveryLoginIsDifferent(t *testing.T) {
	c := newConsole(t)
	seen := map[string]bool{}
	for range 20 {
		u, err := url.Parse(c.get("/login?go=1").Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if v := u.Query().Get(name); seen[v] {
				t.Errorf("%s %q twice", name, v)
			} else {
				seen[v] = true
			}
		}
	}
}

func TestBareLoginShowsThePage(t *testing.T) {
	c := newConsole(t)
	w := c.get("/login")
	wantStatus(t, w, http.StatusOK)
	if !strings.Contains(w.Body.String(), `href="/login?go=1"`) {
		t.Errorf("no link to the provider:\n%s", w.Body)
	}
	if w := c.get("/login?why=signed-out"); !strings.Contains(w.Body.String(), "You are signed out.") {
		t.Error("the page does not say that the member is signed out")
	}
	if w := c.get("/login?why=canary<script>"); strings.Contains(w.Body.String(), "canary") {
		t.Error("the page says what the address says")
	}
}

func TestLoginCookie(t *testing.T) {
	l := newLogin("/clusters?q=a.b")
	got, ok := decodeLogin(l.encode())
	if !ok || got != l {
		t.Errorf("%+v, %v; want %+v", got, ok, l)
	}
	for _, bad := range []string{"", "...", "a.b.c.d", l.state + "." + l.nonce + "." + l.verifier, l.encode() + ".x", "." + l.nonce + "." + l.verifier + ".Lw"} {
		if got, ok := decodeLogin(bad); ok {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	again := l
	again.begun = time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	if got, ok := decodeLogin(again.encode()); !ok || got != again {
		t.Errorf("%+v, %v; want %+v", got, ok, again)
	}
	away := l
	away.returnTo = "//evil.example"
	if got, _ := decodeLogin(away.encode()); got.returnTo != pathHome {
		t.Errorf("a planted cookie leads to %q", got.returnTo)
	}
}

func TestManyTabsMaySignInAtOnce(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	first := b.visit("/login?go=1").Header().Get("Location")
	for range 3 {
		b.visit("/login?go=1")
	}
	c.idp.claims = func(m map[string]any) { m["sub"] = nil }
	w := b.visit(pathCallback + "?" + c.idp.authorize(first).Encode())
	wantStatus(t, w, http.StatusBadRequest)
	if !strings.Contains(c.logs.String(), "ID token refused") { // got as far as the token: its state was found
		t.Errorf("log:\n%s", c.logs)
	}
	for range 3 * maxLogins {
		b.visit("/login?go=1")
	}
	if n := len(b.jar.Cookies(b.at)); n > maxLogins {
		t.Errorf("%d cookies of sign-ins that were left", n)
	}
}

// TestClocksThatDiffer: a token of a provider whose clock is wrong, or ours, is refused with a sentence that says so, and nobody
// is sent round in a circle.
func TestClocksThatDiffer(t *testing.T) {
	for name, off := range map[string]time.Duration{"an hour ahead": time.Hour, "a year ahead": 365 * 24 * time.Hour, "an hour back": -time.Hour, "a year back": -365 * 24 * time.Hour} {
		c := newConsole(t)
		c.idp.now = func() time.Time { return c.clock.Now().Add(off) }
		w := c.browser().signIn("/login?go=1")
		if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), "The clocks of the identity provider and of this console differ") {
			t.Errorf("%s: %d to %q:\n%s", name, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
}
