package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/dbtest"
	"quartermaster/internal/schema"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// newFullConsole returns a console on a real database. Upstream is an address where nobody answers.
func newFullConsole(t *testing.T, change ...func(*Options)) (*console, *dbtest.DB) {
	t.Helper()
	return newFullConsoleAt(t, &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, 0, change...)
}

// newFullConsoleAt is newFullConsole with an upstream, asked at most rps times a second for an account.
func newFullConsoleAt(t *testing.T, upstream *url.URL, rps float64, change ...func(*Options)) (*console, *dbtest.DB) {
	t.Helper()
	db := dbtest.New(t)
	clock := &clock{now: time.Now().UTC().Truncate(time.Second)}
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: db.AppURL, DB: db.Pool, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	sealing, err := vault.Open(t.Context(), db.Pool, vault.NewKEK([32]byte{1}), accounts.AdoptAccounts)
	if err != nil {
		t.Fatal(err)
	}
	client, err := cloudapi.New(cloudapi.Config{CurrentURL: upstream, PAURL: upstream, RPS: rps})
	if err != nil {
		t.Fatal(err)
	}
	service := accounts.New(accounts.Config{
		DB: db.Pool, Log: log, Cloud: client, Vault: sealing, Logger: slog.New(slog.DiscardHandler), Now: clock.Now,
		SessionIdle: 30 * time.Minute, SessionMax: 12 * time.Hour, UnknownAfter: 2 * time.Minute, PollMin: time.Second, PollMax: time.Minute,
		CheckSchema: func(ctx context.Context, db *pgxpool.Pool) error { return schema.Check(ctx, db) },
		SlowSearch:  func(ctx context.Context, db *pgxpool.Pool) (string, error) { return schema.SlowSearch(ctx, db) },
		Rights: access.Configured{
			AdminGroups: []string{"admins"}, AuditorGroups: []string{"auditors"}, OperatorGroups: []string{"operators"}, ViewerGroups: []string{"viewers"},
		},
	})
	c := newConsoleOn(t, service, append([]func(*Options){func(o *Options) { o.Now = clock.Now }}, change...)...)
	c.clock, c.idp.now = clock, clock.Now
	return c, db
}

// as makes the provider vouch for a member of one group.
func (c *console) as(group string) *browser {
	c.t.Helper()
	c.idp.claims = func(m map[string]any) {
		m["sub"], m["name"], m["email"], m["groups"] = "subject-"+group, "Member "+group, group+"@example.test", []string{group}
	}
	b := c.browser()
	wantStatus(c.t, b.signIn("/login?go=1"), http.StatusSeeOther)
	return b
}

func TestSignIn(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.browser()
	w := b.visit("/me?x=1")
	wantStatus(t, w, http.StatusSeeOther)
	w = b.signIn(w.Header().Get("Location"))
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != "/me?x=1" {
		t.Errorf("back at %q", got)
	}
	i := slices.IndexFunc(w.Result().Cookies(), func(k *http.Cookie) bool { return k.Name == "__Host-qm_session" })
	if i < 0 {
		t.Fatalf("no session cookie: %v", w.Result().Cookies())
	}
	k := w.Result().Cookies()[i]
	if !k.Secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.Domain != "" || k.MaxAge != int((12*time.Hour).Seconds()) {
		t.Errorf("session cookie %+v", k)
	}
	w = b.visit("/me")
	wantStatus(t, w, http.StatusOK)
	if body := w.Body.String(); !strings.Contains(body, "Ada Admin") || !strings.Contains(body, "ada@example.test") {
		t.Errorf("/me does not say who is signed in:\n%s", body)
	}
	if len(b.jar.Cookies(b.at)) != 1 {
		t.Errorf("cookies left over: %v", b.jar.Cookies(b.at))
	}
	if strings.Contains(c.logs.String(), k.Value) {
		t.Error("the session token is in the log")
	}
	var events int
	err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE act = 'session.login' AND outcome = 'ok'`).Scan(&events)
	if err != nil || events != 1 {
		t.Errorf("%d sign-ins recorded, %v", events, err)
	}
}

func TestSignInRotatesTheSession(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	name := b.cookies.session
	first := b.cookie(name)
	wantStatus(t, b.signIn("/login?login_hint=admins@example.test"), http.StatusSeeOther)
	second := b.cookie(name)
	if first == second || first == "" {
		t.Fatalf("tokens %q and %q", first, second)
	}
	old := c.request(http.MethodGet, "/me", "")
	old.AddCookie(&http.Cookie{Name: name, Value: first})
	wantStatus(t, c.serve(old), http.StatusSeeOther)
	wantStatus(t, b.visit("/me"), http.StatusOK)
}

func TestPlantedSessionIsNotAdopted(t *testing.T) {
	c, _ := newFullConsole(t)
	c.idp.claims = nil
	b := c.browser()
	planted := strings.Repeat("A", 43)
	b.jar.SetCookies(b.at, []*http.Cookie{{Name: b.cookies.session, Value: planted, Path: "/", Secure: true}})
	wantStatus(t, b.signIn("/login?go=1"), http.StatusSeeOther)
	if got := b.cookie(b.cookies.session); got == planted || got == "" {
		t.Errorf("session after the sign-in: %q", got)
	}
}

func TestLogout(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	token := b.cookie(b.cookies.session)

	crossSite := b.request(http.MethodPost, "/logout", "")
	crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
	wantStatus(t, b.send(crossSite), http.StatusForbidden)
	wantStatus(t, b.visit("/me"), http.StatusOK)

	w := b.post("/logout", "")
	wantStatus(t, w, http.StatusSeeOther)
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(u.String(), c.idp.URL+"/end?") || q.Get("post_logout_redirect_uri") != testBase+"/login" ||
		q.Get("client_id") != testClientID || strings.Count(q.Get("id_token_hint"), ".") != 2 {
		t.Errorf("logout leads to %s", u)
	}
	if b.cookie(b.cookies.session) != "" {
		t.Error("the cookie stays")
	}
	dead := c.request(http.MethodGet, "/me", "")
	dead.AddCookie(&http.Cookie{Name: b.cookies.session, Value: token})
	wantStatus(t, c.serve(dead), http.StatusSeeOther)
	if strings.Contains(c.logs.String(), q.Get("id_token_hint")) {
		t.Error("the ID token is in the log")
	}
}

func TestLogoutWithoutOneAtTheProvider(t *testing.T) {
	c, _ := newFullConsole(t)
	c.idp.document = func(m map[string]any) { delete(m, "end_session_endpoint") }
	b := c.as("viewers")
	w := b.post("/logout", "")
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != "/login" {
		t.Errorf("logout leads to %q", got)
	}
	page := b.visit("/login")
	wantStatus(t, page, http.StatusOK)
	if !strings.Contains(page.Body.String(), "You are signed out.") {
		t.Error("the page does not say so")
	}
}

func TestMemberWithoutRights(t *testing.T) {
	c, _ := newFullConsole(t, func(o *Options) { o.Contact = []string{"platform-team"} })
	b := c.as("strangers")
	for _, r := range c.routes() {
		if r.Public || r.AnyMember {
			continue
		}
		w := b.send(b.request(r.Method, fill(r.Path), ""))
		if w.Code != http.StatusForbidden {
			t.Errorf("%s %s: %d", r.Method, r.Path, w.Code)
			continue
		}
		if body := w.Body.String(); !strings.Contains(body, "strangers@example.test") || !strings.Contains(body, "platform-team") {
			t.Errorf("%s: the page does not show the claims and whom to ask:\n%s", r.Path, body)
		}
		part := b.request(r.Method, fill(r.Path), "")
		part.Header.Set("HX-Request", "true")
		if w := b.send(part); w.Code != http.StatusForbidden || w.Header().Get("HX-Retarget") != "#notice" || !strings.Contains(w.Body.String(), "Your right here was taken back or has ended") {
			t.Errorf("%s for htmx: %d %v:\n%s", r.Path, w.Code, w.Header(), w.Body)
		}
	}
	page := b.visit("/clusters?q=a").Body.String()
	wantInOrder(t, page, "administrators of this console grant", `href="/clusters?q=a" data-testid="reload"`, "Why that gives nothing", `<details class="panel" id="claims">`)
	wantStatus(t, b.visit("/me"), http.StatusOK)
	wantStatus(t, b.post("/logout", ""), http.StatusSeeOther)
}

// wantInOrder looks for all words, each after the one before.
func wantInOrder(t *testing.T, page string, words ...string) {
	t.Helper()
	rest := page
	for _, word := range words {
		_, after, found := strings.Cut(rest, word)
		if !found {
			t.Errorf("%q is not where it should be:\n%s", word, page)
			return
		}
		rest = after
	}
}

// TestEveryRouteAsEveryRole asks for nothing that exists: what matters is that nobody gets an
// answer that says more than 403 or 404, and that nothing breaks.
func TestEveryRouteAsEveryRole(t *testing.T) {
	c, _ := newFullConsole(t)
	for _, group := range []string{"admins", "auditors", "operators", "viewers"} {
		b := c.as(group)
		for _, r := range c.routes() {
			if r.Public || r.Path == pathLogout {
				continue
			}
			w := b.send(b.request(r.Method, fill(r.Path), "confirm=x"))
			switch {
			case group == "admins" && r.Path == pathReview+"/start":
				wantStatus(t, w, http.StatusSeeOther) // a review begins with nothing
			case w.Code >= 500:
				t.Errorf("%s: %s %s: %d\n%s", group, r.Method, r.Path, w.Code, c.logs)
			case r.Method == http.MethodPost && w.Code < 400 && r.Path != pathAuditVerify && r.Path != pathGrantNew: // what they show exists
				t.Errorf("%s: %s %s: %d to %q", group, r.Method, r.Path, w.Code, w.Header().Get("Location"))
			case strings.Contains(r.Path, ":") && w.Code < 400 && r.Path != "/audit/events/:seq":
				t.Errorf("%s: %s %s shows something that does not exist: %d", group, r.Method, r.Path, w.Code)
			}
		}
		wantStatus(t, b.visit("/clusters"), http.StatusOK)
	}
	for group, want := range map[string]int{"admins": 200, "auditors": 200, "operators": 403, "viewers": 403} {
		b := c.as(group)
		w := b.visit("/audit")
		if w.Code != want {
			t.Errorf("%s on /audit: %d, want %d", group, w.Code, want)
		}
		if want == 403 && !strings.Contains(w.Body.String(), "audit:read") {
			t.Errorf("%s: the refusal does not name the right:\n%s", group, w.Body)
		}
	}
}

// backgroundRequest is what a page sends by itself to be refreshed.
func (b *browser) backgroundRequest(target string) *http.Request {
	r := b.request(http.MethodGet, target, "")
	r.Header.Set("HX-Request", "true")
	r.Header.Set("HX-Current-URL", testBase+target)
	r.Header.Set("X-Quartermaster-Background", "1")
	return r
}

// TestBackgroundRefreshesDoNotCount proves that an open page does not keep its member signed in,
// and that it is told so when the session is over instead of being sent to the provider.
func TestBackgroundRefreshesDoNotCount(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	for range 5 {
		c.clock.advance(5 * time.Minute)
		wantStatus(t, b.send(b.backgroundRequest("/clusters?q=a")), http.StatusOK)
	}
	c.clock.advance(5 * time.Minute)
	w := b.send(b.backgroundRequest("/clusters?q=a"))
	wantStatus(t, w, http.StatusUnauthorized)
	if h := w.Header(); h.Get("HX-Redirect") != "" || h.Get("HX-Retarget") != "#notice" || h.Get("HX-Reswap") != "innerHTML" {
		t.Errorf("headers %v", h)
	}
	if body := w.Body.String(); !strings.Contains(body, "Your session has ended") || !strings.Contains(body, `href="/login?return_to=%2Fclusters%3Fq%3Da"`) {
		t.Errorf("the note is\n%s", body)
	}
	if b.cookie(b.cookies.session) != "" {
		t.Error("the dead cookie stays")
	}
}

// TestRequestsOfTheMemberCount proves that the mark of a background refresh means nothing where the
// member themselves must have acted.
func TestRequestsOfTheMemberCount(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"a filter": func(r *http.Request) { r.Header.Del("X-Quartermaster-Background") },
		"a page":   func(r *http.Request) { r.Header.Del("HX-Request") },
		"a form is sent": func(r *http.Request) {
			r.Method = http.MethodPost
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newFullConsole(t)
			b := c.as("viewers")
			for range 4 {
				c.clock.advance(20 * time.Minute)
				r := b.backgroundRequest("/audit/verify") // refused with 403, and asked all the same
				change(r)
				wantStatus(t, b.send(r), http.StatusForbidden)
			}
			wantStatus(t, b.visit("/clusters"), http.StatusOK)
		})
	}
}

func TestLoginWhenSignedIn(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	for target, want := range map[string]string{
		"/login": "/clusters", "/login?return_to=/me": "/me", "/login?return_to=//evil.example": "/clusters", "/login?return_to=https://evil.example": "/clusters",
		"/login?return_to=/login": "/clusters",
	} {
		w := b.visit(target)
		wantStatus(t, w, http.StatusSeeOther)
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%s leads to %q, want %q", target, got, want)
		}
	}
	if got := b.visit("/login?login_hint=other@example.test").Header().Get("Location"); !strings.HasPrefix(got, c.idp.URL) {
		t.Errorf("another member's sign-in leads to %q", got)
	}
}

func TestReturnToStaysHere(t *testing.T) {
	c, _ := newFullConsole(t)
	c.idp.claims = nil
	for _, evil := range []string{"//evil.example", `/\evil.example`, "https://evil.example", "/%5c%5cevil.example", "/%09/evil.example", "/a%0d%0ab", "/logout", "/auth/callback?code=1"} {
		b := c.browser()
		w := b.signIn("/login?return_to=" + url.QueryEscape(evil))
		wantStatus(t, w, http.StatusSeeOther)
		if got := w.Header().Get("Location"); got != pathHome {
			t.Errorf("return_to %q ends at %q", evil, got)
		}
	}
}

func TestSignedInMembersGoOnWithoutTheProvider(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	c.idp.setDown(true)
	c.clock.advance(time.Minute)
	wantStatus(t, b.visit("/clusters"), http.StatusOK)
	wantStatus(t, c.get("/login"), http.StatusServiceUnavailable)
	wantStatus(t, c.get("/readyz"), http.StatusOK)
}

func TestErrorPagesKeepTheNavigation(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	w := b.visit("/nothing")
	wantStatus(t, w, http.StatusNotFound)
	if !strings.Contains(w.Body.String(), "Member admins") && !strings.Contains(w.Body.String(), "admins@example.test") {
		t.Errorf("the page does not know who is signed in:\n%s", w.Body)
	}
}

func TestSessionEndsByItself(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	c.clock.advance(31 * time.Minute)
	w := b.visit("/clusters")
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != "/login?return_to=%2Fclusters" {
		t.Errorf("leads to %q", got)
	}
	if b.cookie(b.cookies.session) != "" {
		t.Error("the dead cookie stays")
	}
}

// TestPostgresGone takes the database away and gives it back.
func TestPostgresGone(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("admins")
	token := b.cookie(b.cookies.session)
	wantStatus(t, b.visit("/clusters"), http.StatusOK)

	super := connectElsewhere(t, db.SuperURL)
	allow := func(yes bool) {
		t.Helper()
		name := pgx.Identifier{db.Name}.Sanitize()
		statement := "ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS false"
		if yes {
			statement = "ALTER DATABASE " + name + " WITH ALLOW_CONNECTIONS true"
		}
		if _, err := super.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	allow(false)
	if _, err := super.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, db.Name); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/clusters", "/me", "/audit"} {
		w := b.visit(target)
		wantStatus(t, w, http.StatusServiceUnavailable)
		if !strings.Contains(w.Body.String(), "database") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	if b.cookie(b.cookies.session) != token {
		t.Error("the member was signed out")
	}
	ready := c.get("/readyz")
	wantStatus(t, ready, http.StatusServiceUnavailable)
	if got := strings.TrimSpace(ready.Body.String()); got != `{"status":"not ready","part":"database"}` {
		t.Errorf("readiness %s", got)
	}
	wantStatus(t, c.get("/healthz"), http.StatusOK)
	w := c.browser().signIn("/login?go=1")
	wantStatus(t, w, http.StatusServiceUnavailable)
	allow(true)
	wantStatus(t, b.visit("/clusters"), http.StatusOK)
	wantStatus(t, c.get("/readyz"), http.StatusOK)
}

// A database that takes connections and answers nothing must not hold requests for as long as one may last.
func TestPostgresHangs(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("admins")
	token := b.cookie(b.cookies.session)
	holder, err := pgx.Connect(t.Context(), db.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close(context.Background()) }()
	for _, statement := range []string{"BEGIN", "LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"} {
		if _, err := holder.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	w := b.visit("/clusters")
	wantStatus(t, w, http.StatusServiceUnavailable)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a page was refused after %s", took)
	}
	if !strings.Contains(w.Body.String(), "database") {
		t.Errorf("%.2000s", w.Body)
	}
	if _, err := holder.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if b.cookie(b.cookies.session) != token {
		t.Error("the member was signed out")
	}
	wantStatus(t, b.visit("/clusters"), http.StatusOK)
}

// connectElsewhere connects as superuser to the server's own database.
func connectElsewhere(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestConcurrentRequests(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("viewers")
	token := b.cookie(b.cookies.session)
	done := make(chan *httptest.ResponseRecorder)
	for range 10 {
		go func() {
			r := c.request(http.MethodGet, "/clusters", "")
			r.AddCookie(&http.Cookie{Name: b.cookies.session, Value: token})
			done <- c.serve(r)
		}()
	}
	for range 10 {
		if w := <-done; w.Code != http.StatusOK {
			t.Errorf("status %d", w.Code)
		}
	}
}
