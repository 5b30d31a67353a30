package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/accounts"
)

// exchangeOnce lets the provider sign somebody in and returns what the console makes of it.
func (c *console) exchangeOnce() (accounts.Identity, error) {
	c.t.Helper()
	found, err := c.provider.discover(c.t.Context(), 0)
	if err != nil {
		return accounts.Identity{}, err
	}
	l := newLogin(pathHome)
	sum := sha256.Sum256([]byte(l.verifier))
	asked := url.Values{
		"response_type": {"code"}, "state": {l.state}, "nonce": {l.nonce}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "client_id": {testClientID}, "scope": {"openid"},
		"redirect_uri": {c.provider.redirectURL},
	}
	code := c.idp.authorize(c.idp.URL + "/authorize?" + asked.Encode()).Get("code")
	return c.provider.exchange(c.t.Context(), found, code, l.verifier, l.nonce)
}

func TestIdentityOfHonestProvider(t *testing.T) {
	c := newConsole(t)
	got, err := c.exchangeOnce()
	if err != nil {
		t.Fatal(err)
	}
	if got.IDToken == "" {
		t.Error("the ID token is not kept for the logout")
	}
	authTime := c.clock.Now().Add(-time.Minute)
	want := accounts.Identity{
		Issuer: c.idp.URL, Subject: "subject-1", Name: "Ada Admin", Email: "ada@example.test", EmailVerified: true,
		Groups: []string{"admins", "staff"}, Reading: accounts.Reading{Claim: "groups", State: accounts.GroupsListed, Received: 2}, AuthTime: &authTime, IssuedAt: c.clock.Now(), IDToken: got.IDToken, Claims: got.Claims,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	if got.Claims["groups"] != `["admins","staff"]` || got.Claims["nonce"] != "" {
		t.Errorf("claims to show: %v", got.Claims)
	}
}

func TestAcceptedAlgorithms(t *testing.T) {
	c := newConsole(t)
	for name, sign := range map[string]func(map[string]any) string{
		"RS256": func(m map[string]any) string { return c.idp.signWith(m, jose.RS256, c.idp.rsa, "rsa") },
		"PS256": func(m map[string]any) string { return c.idp.signWith(m, jose.PS256, c.idp.rsa, "rsa") },
		"ES256": func(m map[string]any) string { return c.idp.signWith(m, jose.ES256, c.idp.ecdsa, "ec") },
		"EdDSA": func(m map[string]any) string { return c.idp.signWith(m, jose.EdDSA, c.idp.ed25519, "ed") },
		"no kid": func(m map[string]any) string {
			return c.idp.signWith(m, jose.RS256, c.idp.rsa, "")
		},
	} {
		c.idp.sign = sign
		if _, err := c.exchangeOnce(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileToken has the provider's token endpoint answer with tokens that must not sign anybody in.
func TestHostileToken(t *testing.T) {
	set := func(name string, value any) func(*console) {
		return func(c *console) { c.idp.claims = func(m map[string]any) { m[name] = value } }
	}
	seconds := func(name string, d time.Duration) func(*console) {
		return func(c *console) {
			c.idp.claims = func(m map[string]any) { m[name] = c.clock.Now().Add(d).Unix() }
		}
	}
	sign := func(f func(*console, map[string]any) string) func(*console) {
		return func(c *console) { c.idp.sign = func(m map[string]any) string { return f(c, m) } }
	}
	tests := map[string]func(*console){
		"iss of another":           set("iss", "https://evil.example"),
		"iss with a slash more":    func(c *console) { c.idp.claims = func(m map[string]any) { m["iss"] = c.idp.URL + "/" } },
		"iss missing":              set("iss", nil),
		"aud of another":           set("aud", "someone-else"),
		"aud missing":              set("aud", nil),
		"aud empty list":           set("aud", []string{}),
		"several aud, no azp":      set("aud", []string{testClientID, "other"}),
		"azp of another":           set("azp", "other"),
		"azp empty":                set("azp", ""),
		"azp no text":              set("azp", 7),
		"nonce of another":         set("nonce", "AAAAAAAAAAAAAAAAAAAAAAAAAA"),
		"nonce missing":            set("nonce", nil),
		"sub missing":              set("sub", nil),
		"sub empty":                set("sub", ""),
		"sub a number":             set("sub", 12),
		"sub too long":             set("sub", strings.Repeat("x", 256)),
		"sub with control":         set("sub", "a\x00b"),
		"sub that lost a letter":   set("sub", "a\uFFFDb"), // as what is not well-formed is decoded, whatever it was
		"sub spelt twice":          set("\u017Fub", "someone-else"),
		"sub in other letters":     func(c *console) { c.idp.claims = func(m map[string]any) { m["Sub"] = m["sub"]; delete(m, "sub") } },
		"auth_time in others":      seconds("Auth_Time", 0),
		"exp missing":              set("exp", nil),
		"exp no number":            set("exp", "soon"),
		"expired":                  seconds("exp", -time.Second),
		"iat missing":              set("iat", nil),
		"iat in the future":        seconds("iat", clockSkew+time.Second),
		"iat too old":              seconds("iat", -maxTokenAge-time.Second),
		"iat absurd":               set("iat", 1e300),
		"iat negative":             set("iat", -1),
		"nbf in the future":        seconds("nbf", clockSkew+time.Second),
		"nbf far in the future":    seconds("nbf", time.Hour),
		"at_hash of another token": set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"alg none":                 sign(func(_ *console, m map[string]any) string { return unsigned(m) }),
		"HS256 with the public key": sign(func(c *console, m map[string]any) string {
			return c.idp.signWith(m, jose.HS256, c.idp.publicPEM(), "rsa")
		}),
		"HS256 with the client secret": sign(func(c *console, m map[string]any) string {
			return c.idp.signWith(m, jose.HS256, []byte(strings.Repeat(testClientSecret, 2)), "")
		}),
		"RS512, advertised and not ours": sign(func(c *console, m map[string]any) string {
			return c.idp.signWith(m, jose.RS512, c.idp.rsa, "rsa")
		}),
		"key of somebody else": sign(func(c *console, m map[string]any) string {
			return c.idp.signWith(m, jose.RS256, c.idp.attacker, "rsa")
		}),
		"unknown kid": sign(func(c *console, m map[string]any) string {
			return c.idp.signWith(m, jose.RS256, c.idp.attacker, "unheard-of")
		}),
		"signature cut": sign(func(c *console, m map[string]any) string {
			token := c.idp.signWith(m, jose.RS256, c.idp.rsa, "rsa")
			return token[:strings.LastIndex(token, ".")+1]
		}),
		"payload changed": sign(func(c *console, m map[string]any) string {
			token := c.idp.signWith(m, jose.RS256, c.idp.rsa, "rsa")
			parts := strings.Split(token, ".")
			m["sub"] = "someone-else"
			payload, _ := json.Marshal(m)
			return parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2]
		}),
		"not a token": sign(func(*console, map[string]any) string { return "canary<script>" }),
		"no token":    sign(func(*console, map[string]any) string { return "" }),
		"key in the header": sign(func(c *console, m map[string]any) string {
			payload, _ := json.Marshal(m)
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: c.idp.attacker}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				c.t.Fatal(err)
			}
			signed, err := signer.Sign(payload)
			if err != nil {
				c.t.Fatal(err)
			}
			compact, _ := signed.CompactSerialize()
			return compact
		}),
		"distributed claim without source": set("_claim_names", map[string]string{"groups": "src1"}),
	}
	for name, break_ := range tests {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			break_(c)
			id, err := c.exchangeOnce()
			failed, ok := errors.AsType[*signInError](err)
			if !ok {
				t.Fatalf("identity %+v, error %v; want it refused", id, err)
			}
			if failed.status != http.StatusBadRequest {
				t.Errorf("status %d, want 400", failed.status)
			}
		})
	}
}

func TestTokenEdges(t *testing.T) {
	atHash := func(c *console) {
		c.idp.claims = func(m map[string]any) {
			sum := sha256.Sum256([]byte("canary-access-token"))
			m["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
		}
	}
	for name, change := range map[string]func(*console){
		"several aud with azp": func(c *console) {
			c.idp.claims = func(m map[string]any) { m["aud"], m["azp"] = []string{testClientID, "other"}, testClientID }
		},
		"at_hash that fits": atHash,
		"iat at the skew": func(c *console) {
			c.idp.claims = func(m map[string]any) { m["iat"] = c.clock.Now().Add(clockSkew).Unix() }
		},
		"iat with a fraction": func(c *console) {
			c.idp.claims = func(m map[string]any) { m["iat"] = float64(c.clock.Now().Unix()) + 0.5 }
		},
		"longest sub": func(c *console) {
			c.idp.claims = func(m map[string]any) { m["sub"] = strings.Repeat("x", 255) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			change(c)
			if _, err := c.exchangeOnce(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHostileDiscovery(t *testing.T) {
	for name, change := range map[string]func(c *console, m map[string]any){
		"another issuer":       func(_ *console, m map[string]any) { m["issuer"] = "https://evil.example" },
		"issuer with a slash":  func(c *console, m map[string]any) { m["issuer"] = c.idp.URL + "/" },
		"no authorization":     func(_ *console, m map[string]any) { delete(m, "authorization_endpoint") },
		"script for a login":   func(_ *console, m map[string]any) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"plain token endpoint": func(_ *console, m map[string]any) { m["token_endpoint"] = "http://10.0.0.1/token" },
		"keys in a file":       func(_ *console, m map[string]any) { m["jwks_uri"] = "file:///etc/passwd" },
		"user in an address":   func(_ *console, m map[string]any) { m["jwks_uri"] = "https://a:b@host/keys" },
		"script for a logout":  func(_ *console, m map[string]any) { m["end_session_endpoint"] = "data:text/html,x" },
		"only shared algorithms": func(_ *console, m map[string]any) {
			m["id_token_signing_alg_values_supported"] = []string{"HS256", "none"}
		},
		"more than 1 MiB": func(_ *console, m map[string]any) { m["x"] = strings.Repeat("x", providerBody) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			c.idp.document = func(m map[string]any) { change(c, m) }
			if found, err := c.provider.discover(t.Context(), 0); err == nil {
				t.Errorf("accepted: %+v", found)
			}
			wantStatus(t, c.get("/login?go=1"), http.StatusServiceUnavailable)
		})
	}
}

func TestDiscoveryRedirectIsNotFollowed(t *testing.T) {
	c := newConsole(t)
	other := newTestProvider(t, c.clock.Now)
	redirecting := httptest.NewServer(http.RedirectHandler(other.URL+"/.well-known/openid-configuration", http.StatusFound))
	t.Cleanup(redirecting.Close)
	other.document = func(m map[string]any) { m["issuer"] = redirecting.URL }
	moved := newConsole(t, func(o *Options) { o.Issuer = redirecting.URL })
	if _, err := moved.provider.discover(t.Context(), 0); err == nil {
		t.Error("a redirect of the discovery document was followed")
	}
}

// TestCallback walks the browser's way back, honest but for one thing.
func TestCallbackRefuses(t *testing.T) {
	tests := []struct {
		name   string
		status int
		cause  string
		change func(b *browser, answer url.Values)
	}{
		{"no state", 400, "no state", func(_ *browser, a url.Values) { a.Del("state") }},
		{"empty state", 400, "no state", func(_ *browser, a url.Values) { a.Set("state", "") }},
		{"state of another shape", 400, "no state", func(_ *browser, a url.Values) { a.Set("state", "x; Path=/") }},
		{"state of another browser", 400, "unknown state", func(b *browser, a url.Values) {
			a.Set("state", newLogin("/").state)
		}},
		{"state that only begins like ours", 400, "state mismatch", func(_ *browser, a url.Values) {
			a.Set("state", a.Get("state")[:stateNameSize]+strings.Repeat("A", 18))
		}},
		{"state twice", 400, "repeated parameter", func(_ *browser, a url.Values) { a.Add("state", a.Get("state")) }},
		{"no code", 400, "no code", func(_ *browser, a url.Values) { a.Del("code") }},
		{"code too long", 400, "no code", func(_ *browser, a url.Values) { a.Set("code", strings.Repeat("c", maxCode+1)) }},
		{"code of nobody", 400, "code refused", func(_ *browser, a url.Values) { a.Set("code", "guessed") }},
		{"iss of another issuer (mix-up)", 400, "answer of another issuer", func(_ *browser, a url.Values) { a.Set("iss", "https://evil.example") }},
		{"iss missing although promised", 400, "answer of another issuer", func(_ *browser, a url.Values) { a.Del("iss") }},
		{"iss empty", 400, "answer of another issuer", func(_ *browser, a url.Values) { a.Set("iss", "") }},
		{"error of another issuer", 400, "answer of another issuer", func(_ *browser, a url.Values) {
			a.Set("iss", "https://evil.example")
			a.Set("error", "access_denied")
		}},
		{"refused by the provider", 403, "provider answered with an error", func(_ *browser, a url.Values) {
			a.Del("code")
			a.Set("error", "access_denied")
		}},
		{"provider in trouble", 503, "provider answered with an error", func(_ *browser, a url.Values) { a.Set("error", "server_error") }},
		{"login cookie gone", 400, "unknown state", func(b *browser, _ url.Values) { *b = *b.browser() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConsole(t)
			b := c.browser()
			answer := c.idp.authorize(b.visit("/login?go=1").Header().Get("Location"))
			tt.change(b, answer)
			w := b.visit(pathCallback + "?" + answer.Encode())
			wantStatus(t, w, tt.status)
			if b.cookie(b.cookies.session) != "" {
				t.Error("a session cookie was set")
			}
			if !strings.Contains(c.logs.String(), tt.cause) {
				t.Errorf("the log does not name %q:\n%s", tt.cause, c.logs)
			}
			if body := w.Body.String(); !strings.Contains(body, w.Header().Get("X-Request-Id")) {
				t.Error("the page does not carry the request id")
			}
		})
	}
}

func TestCallbackTakesAnAnswerOnce(t *testing.T) {
	c := newConsole(t)
	c.idp.claims = func(m map[string]any) { m["sub"] = nil } // fails late, after the code was traded
	b := c.browser()
	answer := c.idp.authorize(b.visit("/login?go=1").Header().Get("Location")).Encode()
	wantStatus(t, b.visit(pathCallback+"?"+answer), http.StatusBadRequest)
	c.idp.replays = true
	wantStatus(t, b.visit(pathCallback+"?"+answer), http.StatusBadRequest)
	if n := c.idp.codesTaken["code-1"]; n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
}

func TestProviderErrorIsShownInOurWords(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	answer := c.idp.authorize(b.visit("/login?go=1").Header().Get("Location"))
	answer.Set("error", `<script>alert("x")</script>`)
	answer.Set("error_description", "call 555-1234 and read them your password")
	w := b.visit(pathCallback + "?" + answer.Encode())
	wantStatus(t, w, http.StatusForbidden)
	if body := w.Body.String(); strings.Contains(body, "<script>alert") || strings.Contains(body, "555-1234") {
		t.Errorf("the page shows the provider's words:\n%s", body)
	}
}

func TestProviderFailuresDuringCallback(t *testing.T) {
	unavailable := func(w http.ResponseWriter) bool {
		http.Error(w, "canary-body", http.StatusBadGateway)
		return true
	}
	for name, break_ := range map[string]func(*testProvider){
		"keys": func(p *testProvider) { p.keys = unavailable },
		"keys not JSON": func(p *testProvider) {
			p.keys = func(w http.ResponseWriter) bool { _, _ = w.Write([]byte("<html>")); return true }
		},
		"token endpoint": func(p *testProvider) { p.token = unavailable },
		"everything":     func(p *testProvider) { p.setDown(true) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t)
			b := c.browser()
			answer := c.idp.authorize(b.visit("/login?go=1").Header().Get("Location"))
			break_(c.idp)
			w := b.visit(pathCallback + "?" + answer.Encode())
			wantStatus(t, w, http.StatusServiceUnavailable)
			if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "canary") {
				t.Errorf("Retry-After %q, body:\n%s", w.Header().Get("Retry-After"), w.Body)
			}
		})
	}
}

func TestSignInPageSaysThatTheProviderIsAway(t *testing.T) {
	c := newConsole(t)
	c.idp.setDown(true)
	w := c.get("/login")
	wantStatus(t, w, http.StatusServiceUnavailable)
	if strings.Contains(w.Body.String(), `href="/login?go=1"`) {
		t.Error("the page offers to sign in at a provider that is away")
	}
	c.idp.setDown(false)
	c.clock.advance(discoveryFresh)
	w = c.get("/login")
	wantStatus(t, w, http.StatusOK)
	if !strings.Contains(w.Body.String(), "/login?go=1") {
		t.Error("the page does not offer to sign in once the provider is back")
	}
	// And away again: what was found before is not taken for what is.
	c.idp.setDown(true)
	c.clock.advance(discoveryFresh)
	wantStatus(t, c.get("/login"), http.StatusServiceUnavailable)
}

func TestClientSecretInNoLog(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	c.idp.claims = func(m map[string]any) { m["aud"] = "other" }
	b.signIn("/login?go=1")
	c.idp.claims = nil
	c.idp.token = func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusBadRequest)
		writeJSON(w, map[string]string{"error": "invalid_client", "error_description": testClientSecret})
		return true
	}
	b.signIn("/login?go=1")
	for _, secret := range []string{testClientSecret, "canary-access-token", "code_verifier", "eyJ"} {
		if strings.Contains(c.logs.String(), secret) {
			t.Errorf("%s is in the log:\n%s", secret, c.logs)
		}
	}
}

func TestRunFindsTheProviderAndEnds(t *testing.T) {
	c := newConsole(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	for deadline := time.Now().Add(5 * time.Second); c.provider.current() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the provider was not found")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunEndsWhileTheProviderHangs(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	c := newConsole(t, func(o *Options) { o.Issuer = hanging.URL })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-asked
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(discoveryTime / 2):
		t.Error("Run waits for a provider that hangs")
	}
}

func TestStrangersCannotHammerTheProvider(t *testing.T) {
	var mu sync.Mutex
	documents := 0
	c := newConsole(t)
	c.idp.document = func(map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		documents++
	}
	for range 50 {
		c.get("/login")
	}
	if documents != 1 {
		t.Errorf("the discovery document was read %d times for 50 sign-in pages", documents)
	}
}

// TestGooglesSecondSpellingIsRefused checks what go-oidc lets pass.
func TestGooglesSecondSpellingIsRefused(t *testing.T) {
	c := newConsole(t)
	p := &provider{issuer: "https://accounts.google.com", clientID: testClientID, now: c.clock.Now}
	issued := json.Number(strconv.FormatInt(c.clock.Now().Unix(), 10))
	token := &oidc.IDToken{Issuer: "https://accounts.google.com", Subject: "1", Audience: []string{testClientID}, Nonce: "n"}
	if err := p.checkClaims(token, idClaims{IssuedAt: &issued}, "", "n"); err != nil {
		t.Errorf("the exact issuer: %v", err)
	}
	token.Issuer = "accounts.google.com"
	if err := p.checkClaims(token, idClaims{IssuedAt: &issued}, "", "n"); err == nil {
		t.Error("an issuer that is not exactly ours was accepted")
	}
}
