package devenv

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"
)

// provided is a running provider and a browser that stops at the client's callback.
type provided struct {
	t       *testing.T
	cfg     ProviderConfig
	now     time.Time
	server  *httptest.Server
	browser *http.Client
	oauth   oauth2.Config
	verify  *gooidc.IDTokenVerifier
	rp      *gooidc.Provider
}

func startProvider(t *testing.T) *provided {
	t.Helper()
	p := &provided{t: t, now: time.Now()}
	var handler http.Handler
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(p.server.Close)
	p.cfg = ProviderConfig{
		Issuer: p.server.URL, ClientID: "console", ClientSecret: "s3cret", RedirectURI: "http://localhost:1/auth/callback", LogoutURI: "http://localhost:1/login",
		KeyPath: filepath.Join(t.TempDir(), "key.pem"), Members: Members(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return p.now },
	}
	provider, err := NewProvider(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler = provider
	p.rp, err = gooidc.NewProvider(context.Background(), p.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.oauth = oauth2.Config{ClientID: "console", ClientSecret: "s3cret", RedirectURL: p.cfg.RedirectURI, Endpoint: p.rp.Endpoint(), Scopes: []string{"openid", "profile", "email"}}
	p.verify = p.rp.Verifier(&gooidc.Config{ClientID: "console"})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.browser = &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), "http://localhost:1/") {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	return p
}

const testVerifier = "a-verifier-that-is-long-enough-for-rfc-7636-to-accept-it"

// begin opens the authorization endpoint with extra parameters and returns the last answer.
func (p *provided) begin(extra ...string) *http.Response {
	p.t.Helper()
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(testVerifier), gooidc.Nonce("n0nce")}
	for i := 0; i < len(extra); i += 2 {
		options = append(options, oauth2.SetAuthURLParam(extra[i], extra[i+1]))
	}
	return p.get(p.oauth.AuthCodeURL("st4te", options...))
}

func (p *provided) get(address string) *http.Response {
	p.t.Helper()
	res, err := p.browser.Get(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// callback returns the query that the client was sent.
func (p *provided) callback(res *http.Response) url.Values {
	p.t.Helper()
	location, err := res.Location()
	if err != nil || !strings.HasPrefix(location.String(), p.cfg.RedirectURI+"?") {
		body, _ := io.ReadAll(res.Body)
		p.t.Fatalf("the browser did not come back to the client: status %d, location %v, body %.300s", res.StatusCode, location, body)
	}
	return location.Query()
}

type testClaims struct {
	Subject       string   `json:"sub"`
	Name          string   `json:"name"`
	Email         string   `json:"email"`
	EmailVerified bool     `json:"email_verified"`
	Groups        []string `json:"groups"`
	AuthTime      int64    `json:"auth_time"`
	AZP           string   `json:"azp"`
}

// exchange turns the callback's code into claims, checking signature, nonce, at_hash and issuer.
func (p *provided) exchange(query url.Values) testClaims {
	p.t.Helper()
	if query.Get("state") != "st4te" || query.Get("iss") != p.cfg.Issuer {
		p.t.Fatalf("the callback carries state %q and iss %q", query.Get("state"), query.Get("iss"))
	}
	token, err := p.oauth.Exchange(context.Background(), query.Get("code"), oauth2.VerifierOption(testVerifier))
	if err != nil {
		p.t.Fatal(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := p.verify.Verify(context.Background(), raw)
	if err != nil {
		p.t.Fatal(err)
	}
	if id.Nonce != "n0nce" {
		p.t.Errorf("nonce is %q", id.Nonce)
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil {
		p.t.Errorf("at_hash: %v", err)
	}
	var c testClaims
	if err := id.Claims(&c); err != nil {
		p.t.Fatal(err)
	}
	return c
}

func TestProviderKnownHintSignsInWithoutAPage(t *testing.T) {
	p := startProvider(t)
	for _, m := range Members() {
		got := p.exchange(p.callback(p.begin("login_hint", m.Email)))
		want := testClaims{Subject: m.Subject(), Name: m.Name, Email: m.Email, EmailVerified: true, Groups: m.Groups, AuthTime: p.now.Unix(), AZP: "console"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.Email, diff)
		}
	}
}

func TestProviderClickSignsInAndSessionAnswersNextTime(t *testing.T) {
	p := startProvider(t)
	page := p.begin("login_hint", "stranger@example.test")
	body, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	if page.StatusCode != http.StatusOK || !strings.Contains(string(body), "stranger@example.test") || strings.Count(string(body), "<button") != 5 {
		t.Fatalf("the page of members: status %d\n%s", page.StatusCode, body)
	}
	if csp := page.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(string(body), "<style") || strings.Contains(string(body), "<script") {
		t.Errorf("the page needs more than its policy %q allows", csp)
	}
	res, err := p.browser.PostForm(p.server.URL+"/sign-in", url.Values{"id": {page.Request.URL.Query().Get("id")}, "member": {"viewer@example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	first := p.exchange(p.callback(res))
	if first.Email != "viewer@example.test" {
		t.Errorf("the click signed in %q", first.Email)
	}

	p.now = p.now.Add(time.Hour)
	again := p.exchange(p.callback(p.begin()))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("a session should answer with its own auth_time (-first +again):\n%s", diff)
	}
	if got := p.callback(p.begin("prompt", "none")).Get("code"); got == "" {
		t.Error("prompt=none with a session got no code")
	}
	for _, extra := range [][]string{{"prompt", "login"}, {"prompt", "select_account"}, {"max_age", "60"}, {"max_age", "0"}} {
		if res := p.begin(extra...); res.StatusCode != http.StatusOK || res.Header.Get("Location") != "" {
			t.Errorf("%v: the session answered though it must ask: status %d", extra, res.StatusCode)
		}
	}
	for _, age := range []string{"7200", "31536000"} { // the latter is what the console asks with
		if got := p.exchange(p.callback(p.begin("max_age", age))); got.AuthTime != first.AuthTime {
			t.Errorf("max_age %s, above the session's age: auth_time %d, want %d", age, got.AuthTime, first.AuthTime)
		}
	}
}

func TestProviderPromptNoneWithoutSession(t *testing.T) {
	p := startProvider(t)
	query := p.callback(p.begin("prompt", "none"))
	if query.Get("error") != "login_required" || query.Get("iss") != p.cfg.Issuer {
		t.Errorf("the answer is %v", query)
	}
}

func TestProviderSignOutEndsTheSession(t *testing.T) {
	p := startProvider(t)
	query := p.callback(p.begin("login_hint", "admin@example.test"))
	token, err := p.oauth.Exchange(context.Background(), query.Get("code"), oauth2.VerifierOption(testVerifier))
	if err != nil {
		t.Fatal(err)
	}
	var endpoints struct {
		EndSession string `json:"end_session_endpoint"`
		Iss        bool   `json:"authorization_response_iss_parameter_supported"`
	}
	if err := p.rp.Claims(&endpoints); err != nil || !endpoints.Iss {
		t.Fatalf("discovery: %+v, %v", endpoints, err)
	}
	out := endpoints.EndSession + "?" + url.Values{"id_token_hint": {token.Extra("id_token").(string)}, "post_logout_redirect_uri": {p.cfg.LogoutURI}}.Encode()
	if res := p.get(out); res.Header.Get("Location") != p.cfg.LogoutURI {
		t.Errorf("after sign-out: status %d, location %q", res.StatusCode, res.Header.Get("Location"))
	}
	if res := p.begin(); res.StatusCode != http.StatusOK {
		t.Errorf("after sign-out the provider still knows who it is: status %d", res.StatusCode)
	}
	elsewhere := endpoints.EndSession + "?" + url.Values{"client_id": {"console"}, "post_logout_redirect_uri": {"http://evil.test/"}}.Encode()
	if res := p.get(elsewhere); res.StatusCode != http.StatusBadRequest {
		t.Errorf("sign-out to a foreign address: status %d", res.StatusCode)
	}
}

func TestProviderRefuses(t *testing.T) {
	p := startProvider(t)
	code := p.callback(p.begin("login_hint", "admin@example.test")).Get("code")
	if _, err := p.oauth.Exchange(context.Background(), code, oauth2.VerifierOption("another-verifier-that-is-long-enough-for-rfc-7636-too")); err == nil {
		t.Error("a wrong code verifier was accepted")
	}
	code = p.callback(p.begin("login_hint", "admin@example.test")).Get("code")
	if _, err := p.oauth.Exchange(context.Background(), code, oauth2.VerifierOption(testVerifier)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.oauth.Exchange(context.Background(), code, oauth2.VerifierOption(testVerifier)); err == nil {
		t.Error("a code was accepted twice")
	}
	wrong := p.oauth
	wrong.ClientSecret = "guess"
	code = p.callback(p.begin("login_hint", "admin@example.test")).Get("code")
	if _, err := wrong.Exchange(context.Background(), code, oauth2.VerifierOption(testVerifier)); err == nil {
		t.Error("a wrong client secret was accepted")
	}
	if query := p.callback(p.get(p.oauth.AuthCodeURL("s", oauth2.SetAuthURLParam("login_hint", "admin@example.test")))); query.Get("error") != "invalid_request" {
		t.Errorf("a request without PKCE: %v", query)
	}
	if res := p.get(strings.Replace(p.oauth.AuthCodeURL("s", oauth2.S256ChallengeOption(testVerifier)), url.QueryEscape(p.cfg.RedirectURI), url.QueryEscape("http://evil.test/"), 1)); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a foreign redirect address: status %d", res.StatusCode)
	}
	r, err := http.NewRequest(http.MethodGet, p.server.URL+"/.well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.test"
	res, err := p.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a foreign Host: status %d", res.StatusCode)
	}
}

func TestProviderKeepsItsKeyAndSessions(t *testing.T) {
	p := startProvider(t)
	p.exchange(p.callback(p.begin("login_hint", "auditor@example.test")))
	first, err := signingKeyFrom(p.cfg.KeyPath)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewProvider(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if second.store.key.ID() != first.ID() {
		t.Error("the signing key changed from one start to the next")
	}
	u, err := url.Parse(p.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, c := range p.browser.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	if m, _, ok := second.session(r); !ok || m.Email != "auditor@example.test" {
		t.Errorf("the session did not outlive a start: %v %v", m, ok)
	}
	forged := httptest.NewRequest(http.MethodGet, "/", nil)
	forged.AddCookie(&http.Cookie{Name: second.cookie, Value: Members()[0].Subject() + "." + strconv.FormatInt(p.now.Unix(), 10) + ".AAAA"})
	if _, _, ok := second.session(forged); ok {
		t.Error("a forged session was believed")
	}
}

func TestProviderForgetsOldSignIns(t *testing.T) {
	p := startProvider(t)
	page := p.begin()
	p.now = p.now.Add(requestLifetime + time.Second)
	if res := p.get(page.Request.URL.String()); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an expired sign-in: status %d", res.StatusCode)
	}

	store := newProviderStore(p.cfg, signingKey{})
	for range maxPending + 50 {
		if _, err := store.CreateAuthRequest(context.Background(), &oidc.AuthRequest{CodeChallenge: "c", CodeChallengeMethod: oidc.CodeChallengeMethodS256}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if len(store.requests) != maxPending {
		t.Errorf("%d sign-ins are kept, want at most %d", len(store.requests), maxPending)
	}
}
