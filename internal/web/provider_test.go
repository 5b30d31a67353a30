package web

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	testClientID     = "quartermaster"
	testClientSecret = "canary-client-secret"
)

// testProvider is an OpenID provider that does what it is told, also what no provider should. It
// is honest until a field says otherwise.
type testProvider struct {
	*httptest.Server
	t   *testing.T
	now func() time.Time

	rsa      *rsa.PrivateKey
	ecdsa    *ecdsa.PrivateKey
	ed25519  ed25519.PrivateKey
	attacker *rsa.PrivateKey

	mu         sync.Mutex
	pending    map[string]url.Values // authorization requests by code
	codesTaken map[string]int

	// Misbehaviour.
	document   func(map[string]any)                     // changes the discovery document
	claims     func(map[string]any)                     // changes the ID token's claims
	sign       func(claims map[string]any) string       // replaces signing
	token      func(w http.ResponseWriter) bool         // replaces the token endpoint's answer when it returns true
	keys       func(w http.ResponseWriter) bool         // replaces the keys' answer when it returns true
	silent     func(asked url.Values) bool              // says of which requests the ID token tells no auth_time
	down       bool                                     // answers 503 to everything
	replays    bool                                     // takes a code more than once
	answerWith func(answer url.Values, code, st string) // changes what the browser brings back
}

type keyring struct {
	rsa, attacker *rsa.PrivateKey
	ecdsa         *ecdsa.PrivateKey
	ed25519       ed25519.PrivateKey
}

// testKeys are made once: RSA keys take long.
var testKeys = sync.OnceValue(func() (k keyring) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.attacker, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.ecdsa, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	_, k.ed25519, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func newTestProvider(t *testing.T, now func() time.Time) *testProvider {
	t.Helper()
	keys := testKeys()
	p := &testProvider{
		t: t, now: now, pending: map[string]url.Values{}, codesTaken: map[string]int{},
		rsa: keys.rsa, attacker: keys.attacker, ecdsa: keys.ecdsa, ed25519: keys.ed25519,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.serveDocument)
	mux.HandleFunc("GET /keys", p.serveKeys)
	mux.HandleFunc("POST /token", p.serveToken)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		if down {
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *testProvider) serveDocument(w http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{
		"issuer":                                p.URL,
		"authorization_endpoint":                p.URL + "/authorize",
		"token_endpoint":                        p.URL + "/token",
		"jwks_uri":                              p.URL + "/keys",
		"end_session_endpoint":                  p.URL + "/end",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "PS256", "EdDSA", "HS256", "none", "RS512"},
		"authorization_response_iss_parameter_supported": true,
	}
	if p.document != nil {
		p.document(doc)
	}
	writeJSON(w, doc)
}

func (p *testProvider) serveKeys(w http.ResponseWriter, _ *http.Request) {
	if p.keys != nil && p.keys(w) {
		return
	}
	writeJSON(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: p.rsa.Public(), KeyID: "rsa", Use: "sig"},
		{Key: p.ecdsa.Public(), KeyID: "ec", Use: "sig"},
		{Key: p.ed25519.Public(), KeyID: "ed", Use: "sig"},
	}})
}

func (p *testProvider) serveToken(w http.ResponseWriter, r *http.Request) {
	if p.token != nil && p.token(w) {
		return
	}
	if id, secret, ok := r.BasicAuth(); !ok || id != testClientID || secret != testClientSecret {
		w.WriteHeader(http.StatusUnauthorized)
		writeJSON(w, map[string]string{"error": "invalid_client"})
		return
	}
	code := r.PostFormValue("code")
	p.mu.Lock()
	asked, known := p.pending[code]
	p.codesTaken[code]++
	replayed := p.codesTaken[code] > 1 && !p.replays
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !known || replayed || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) ||
		asked.Get("code_challenge_method") != "S256" || asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		writeJSON(w, map[string]string{"error": "invalid_grant", "error_description": "canary-description"})
		return
	}
	writeJSON(w, map[string]any{
		"access_token": "canary-access-token", "token_type": "Bearer", "expires_in": 300,
		"id_token": p.idToken(asked),
	})
}

func (p *testProvider) idToken(asked url.Values) string {
	now := p.now()
	signedIn := now.Add(-time.Minute)
	if asked.Get("max_age") == "0" || asked.Get("prompt") == "login" {
		signedIn = now
	}
	claims := map[string]any{
		"iss": p.URL, "sub": "subject-1", "aud": testClientID, "nonce": asked.Get("nonce"),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "auth_time": signedIn.Unix(),
		"name": "Ada Admin", "email": "ada@example.test", "email_verified": true, "groups": []string{"admins", "staff"},
	}
	if p.claims != nil {
		p.claims(claims)
	}
	if p.silent != nil && p.silent(asked) {
		claims["auth_time"] = nil
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	if p.sign != nil {
		return p.sign(claims)
	}
	return p.signWith(claims, jose.RS256, p.rsa, "rsa")
}

// signWith signs claims in the compact form.
func (p *testProvider) signWith(claims map[string]any, alg jose.SignatureAlgorithm, key any, kid string) string {
	p.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return compact
}

// unsigned is a token with alg none.
func unsigned(claims map[string]any) string {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return header + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}

// publicPEM is the text of the provider's public key, which the HS256 confusion signs with.
func (p *testProvider) publicPEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.rsa.Public())
	if err != nil {
		p.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// authorize is what the authorization endpoint does: it takes the address that the console sent
// the browser to, and returns the query that the browser brings back.
func (p *testProvider) authorize(address string) url.Values {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	asked := u.Query()
	for _, name := range []string{"state", "nonce", "code_challenge", "client_id", "redirect_uri", "scope"} {
		if asked.Get(name) == "" {
			p.t.Fatalf("authorization request without %s: %s", name, address)
		}
	}
	if asked.Get("response_type") != "code" || asked.Get("code_challenge_method") != "S256" {
		p.t.Fatalf("authorization request is not code flow with PKCE: %s", address)
	}
	p.mu.Lock()
	code := fmt.Sprintf("code-%d", len(p.pending)+1)
	p.pending[code] = asked
	p.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {asked.Get("state")}, "iss": {p.URL}}
	if p.answerWith != nil {
		p.answerWith(answer, code, asked.Get("state"))
	}
	return answer
}

func (p *testProvider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader's failure is the test's to see
}
