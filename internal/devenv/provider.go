package devenv

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	signInPath      = "/sign-in"
	signedOutPath   = "/signed-out"
	stylePath       = "/provider.css"
	requestLifetime = 10 * time.Minute
	tokenLifetime   = 10 * time.Minute
	maxPending      = 1000 // sign-ins begun and not finished; the oldest goes first
)

//go:embed provider.html.tmpl provider.css
var providerFiles embed.FS

// ProviderConfig is what a Provider needs. All fields are required unless they say otherwise.
type ProviderConfig struct {
	Issuer         string // http://127.0.0.1:PORT, without a slash at the end
	ClientID       string
	ClientSecret   string
	RedirectURI    string // the console's callback
	LogoutURI      string // where the console may send people after a sign-out
	KeyPath        string // PEM file of the signing key, made when it does not exist
	Members        []Member
	Logger         *slog.Logger
	Now            func() time.Time // optional, time.Now when nil
	redirectOrigin string
}

// Provider is an OpenID provider for one client that signs people in without asking who they
// are: a click on a name, or a login_hint that names one, is enough. It guarantees the rest of
// the protocol as a real one does: code flow with PKCE, nonce, auth_time, max_age, prompt, RS256
// with a key that stays, the issuer in every answer (RFC 9207), and sign-out by the client.
type Provider struct {
	cfg     ProviderConfig
	host    string // of the issuer; other Host headers are refused
	handler http.Handler
	op      *op.Provider
	store   *providerStore
	page    *template.Template
	cookie  string
	mac     []byte
}

// NewProvider returns a Provider to be served at the issuer's address.
func NewProvider(cfg ProviderConfig) (*Provider, error) {
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("parsing the issuer: %w", err)
	}
	if err := CheckLoopback(issuer.Host); err != nil {
		return nil, fmt.Errorf("the issuer must be on loopback: %w", err)
	}
	redirect, err := url.Parse(cfg.RedirectURI)
	if err != nil {
		return nil, fmt.Errorf("parsing the redirect address: %w", err)
	}
	cfg.redirectOrigin = redirect.Scheme + "://" + redirect.Host
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	key, err := signingKeyFrom(cfg.KeyPath)
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(providerFiles, "provider.html.tmpl")
	if err != nil {
		return nil, fmt.Errorf("parsing the sign-in page: %w", err)
	}
	p := &Provider{
		cfg:    cfg,
		host:   issuer.Host,
		page:   page,
		cookie: "qm_dev_provider_" + issuer.Port(), // cookies do not tell ports apart
		mac:    key.derive("session cookie"),
		store:  newProviderStore(cfg, key),
	}
	var crypto [32]byte
	copy(crypto[:], key.derive("codes and access tokens"))
	p.op, err = op.NewProvider(&op.Config{
		CryptoKey:                crypto,
		DefaultLogoutRedirectURI: signedOutPath,
		CodeMethodS256:           true,
		AuthMethodPost:           true,
		SupportedScopes:          []string{"openid", "profile", "email", "groups"},
		SupportedClaims:          []string{"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "name", "email", "email_verified", "groups"},
	}, p.store, op.StaticIssuer(cfg.Issuer), op.WithAllowInsecure(), op.WithCORSOptions(nil))
	if err != nil {
		return nil, fmt.Errorf("making the identity provider: %w", err)
	}
	p.handler = p.routes()
	return p, nil
}

func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+oidc.DiscoveryEndpoint, p.handleDiscovery)
	mux.HandleFunc("GET "+signInPath, p.handleSignIn)
	mux.HandleFunc("POST "+signInPath, p.handlePick)
	mux.HandleFunc("GET "+signedOutPath, p.handleSignedOut)
	mux.HandleFunc("GET "+stylePath, p.handleStyle)
	mux.HandleFunc(p.op.EndSessionEndpoint().Relative(), p.handleEndSession)
	for _, e := range []*op.Endpoint{p.op.AuthorizationEndpoint(), p.op.TokenEndpoint(), p.op.UserinfoEndpoint(), p.op.KeysEndpoint()} {
		mux.Handle(e.Relative(), p.op)
	}
	mux.Handle(p.op.AuthorizationEndpoint().Relative()+"/callback", p.op)
	return http.NewCrossOriginProtection().Handler(mux)
}

// ServeHTTP answers the provider's requests.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' "+p.cfg.redirectOrigin+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if r.Host != p.host {
		http.Error(w, "This identity provider answers at "+p.cfg.Issuer+" only.", http.StatusMisdirectedRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	p.handler.ServeHTTP(&issuerWriter{ResponseWriter: w, redirect: p.cfg.RedirectURI, issuer: p.cfg.Issuer}, r)
}

// issuerWriter adds the issuer to every answer that goes to the client through the browser, as
// RFC 9207 asks; zitadel/oidc does not do it.
type issuerWriter struct {
	http.ResponseWriter
	redirect, issuer string
}

func (w *issuerWriter) WriteHeader(status int) {
	if location := w.Header().Get("Location"); strings.HasPrefix(location, w.redirect+"?") {
		w.Header().Set("Location", location+"&iss="+url.QueryEscape(w.issuer))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (p *Provider) handleDiscovery(w http.ResponseWriter, r *http.Request) {
	d := op.CreateDiscoveryConfig(op.ContextWithIssuer(r.Context(), p.cfg.Issuer), p.op, p.store)
	d.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	d.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode}
	d.IntrospectionEndpoint, d.RevocationEndpoint, d.DeviceAuthorizationEndpoint, d.CheckSessionIframe = "", "", "", ""
	p.writeJSON(w, struct {
		*oidc.DiscoveryConfiguration
		IssParameter bool `json:"authorization_response_iss_parameter_supported"`
	}{d, true})
}

func (p *Provider) writeJSON(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		p.cfg.Logger.Error("identity provider: encoding an answer", "error", err)
		http.Error(w, "The answer could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	p.write(w, raw)
}

func (p *Provider) write(w http.ResponseWriter, b []byte) {
	if _, err := w.Write(b); err != nil {
		p.cfg.Logger.Debug("identity provider: the client went away", "error", err)
	}
}

// handleSignIn handles GET /sign-in, where the authorization endpoint sends people: it goes on
// at once when a hint or a session says who it is, and shows the members to pick from otherwise.
func (p *Provider) handleSignIn(w http.ResponseWriter, r *http.Request) {
	request, err := p.store.request(r.URL.Query().Get("id"))
	if err != nil {
		p.renderExpired(w)
		return
	}
	if m, ok := p.store.member(request.loginHint); ok {
		p.finish(w, r, request, m, p.cfg.Now(), http.StatusFound)
		return
	}
	if m, at, ok := p.session(r); ok && request.accepts(at, p.cfg.Now()) {
		p.finish(w, r, request, m, at, http.StatusFound)
		return
	}
	if slices.Contains(request.prompt, oidc.PromptNone) {
		op.AuthRequestError(w, r, request, oidc.ErrLoginRequired(), p.op)
		return
	}
	p.render(w, http.StatusOK, providerPage{ID: request.id, Members: p.cfg.Members, Hint: request.loginHint, Client: p.cfg.redirectOrigin})
}

// handlePick handles POST /sign-in, the click on a member.
func (p *Provider) handlePick(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form could not be read.", http.StatusBadRequest)
		return
	}
	request, err := p.store.request(r.PostForm.Get("id"))
	if err != nil {
		p.renderExpired(w)
		return
	}
	m, ok := p.store.member(r.PostForm.Get("member"))
	if !ok {
		http.Error(w, "There is no such member.", http.StatusUnprocessableEntity)
		return
	}
	p.finish(w, r, request, m, p.cfg.Now(), http.StatusSeeOther)
}

// finish signs the member in at this provider and sends the browser back to the client.
func (p *Provider) finish(w http.ResponseWriter, r *http.Request, request *authRequest, m Member, at time.Time, status int) {
	p.store.complete(request.id, m, at)
	http.SetCookie(w, &http.Cookie{Name: p.cookie, Value: p.sessionValue(m, at), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, p.op.AuthorizationEndpoint().Relative()+"/callback?id="+url.QueryEscape(request.id), status)
}

func (p *Provider) handleEndSession(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: p.cookie, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	p.op.ServeHTTP(w, r)
}

func (p *Provider) handleSignedOut(w http.ResponseWriter, _ *http.Request) {
	p.render(w, http.StatusOK, providerPage{SignedOut: true, Client: p.cfg.redirectOrigin})
}

func (p *Provider) handleStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, providerFiles, "provider.css")
}

type providerPage struct {
	ID        string
	Members   []Member
	Hint      string
	Client    string
	Expired   bool
	SignedOut bool
}

func (p *Provider) renderExpired(w http.ResponseWriter) {
	p.render(w, http.StatusBadRequest, providerPage{Expired: true, Client: p.cfg.redirectOrigin})
}

func (p *Provider) render(w http.ResponseWriter, status int, page providerPage) {
	var b strings.Builder
	if err := p.page.Execute(&b, page); err != nil {
		p.cfg.Logger.Error("identity provider: rendering a page", "error", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	p.write(w, []byte(b.String()))
}

// sessionValue is `subject.unix time.MAC`.
func (p *Provider) sessionValue(m Member, at time.Time) string {
	value := m.Subject() + "." + strconv.FormatInt(at.Unix(), 10)
	return value + "." + base64.RawURLEncoding.EncodeToString(p.sign(value))
}

func (p *Provider) sign(value string) []byte {
	h := hmac.New(sha256.New, p.mac)
	h.Write([]byte(value))
	return h.Sum(nil)
}

// session returns who is signed in at this provider, and since when.
func (p *Provider) session(r *http.Request) (Member, time.Time, bool) {
	c, err := r.Cookie(p.cookie)
	if err != nil {
		return Member{}, time.Time{}, false
	}
	parts := strings.Split(c.Value, ".")
	if len(parts) != 3 {
		return Member{}, time.Time{}, false
	}
	mac, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(mac, p.sign(parts[0]+"."+parts[1])) {
		return Member{}, time.Time{}, false
	}
	seconds, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return Member{}, time.Time{}, false
	}
	m, ok := p.store.bySubject(parts[0])
	return m, time.Unix(seconds, 0), ok
}

// signingKey is the provider's RSA key.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
	der     []byte
}

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) ID() string                                  { return k.id }

// derive returns 32 bytes for another use than signing.
func (k signingKey) derive(use string) []byte {
	h := hmac.New(sha256.New, k.der)
	h.Write([]byte(use))
	return h.Sum(nil)
}

// publicKey is its public half, as the key set shows it.
type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.private.PublicKey }

// signingKeyFrom reads the key of a PEM file, and makes both when there is no file.
func signingKeyFrom(path string) (signingKey, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return signingKey{}, fmt.Errorf("making the identity provider's key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return signingKey{}, fmt.Errorf("encoding the identity provider's key: %w", err)
		}
		if err := WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
			return signingKey{}, err
		}
		return signingKey{id: shortHash(private.N.Bytes()), private: private, der: der}, nil
	}
	if err != nil {
		return signingKey{}, fmt.Errorf("reading the identity provider's key: %w", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return signingKey{}, fmt.Errorf("%s is not a PEM file; remove it to make a new key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return signingKey{}, fmt.Errorf("%s holds no key (%w); remove it to make a new one", path, err)
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return signingKey{}, fmt.Errorf("%s holds no RSA key; remove it to make a new one", path)
	}
	return signingKey{id: shortHash(private.N.Bytes()), private: private, der: block.Bytes}, nil
}

// authRequest is a sign-in that was begun.
type authRequest struct {
	id        string
	created   time.Time
	client    string
	redirect  string
	scopes    []string
	state     string
	nonce     string
	challenge *oidc.CodeChallenge
	prompt    []string
	maxAge    *uint
	loginHint string

	subject  string
	authTime time.Time
	code     string
	taken    bool
}

// accepts reports whether a session begun at authTime answers this request without asking again.
func (r *authRequest) accepts(authTime, now time.Time) bool {
	if slices.Contains(r.prompt, oidc.PromptLogin) || slices.Contains(r.prompt, oidc.PromptSelectAccount) {
		return false
	}
	return r.maxAge == nil || now.Sub(authTime) <= time.Duration(min(*r.maxAge, 1<<31))*time.Second
}

func (r *authRequest) GetID() string                         { return r.id }
func (r *authRequest) GetACR() string                        { return "" }
func (r *authRequest) GetAMR() []string                      { return nil }
func (r *authRequest) GetAudience() []string                 { return []string{r.client} }
func (r *authRequest) GetAuthTime() time.Time                { return r.authTime }
func (r *authRequest) GetClientID() string                   { return r.client }
func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge { return r.challenge }
func (r *authRequest) GetNonce() string                      { return r.nonce }
func (r *authRequest) GetRedirectURI() string                { return r.redirect }
func (r *authRequest) GetResponseType() oidc.ResponseType    { return oidc.ResponseTypeCode }
func (r *authRequest) GetResponseMode() oidc.ResponseMode    { return "" }
func (r *authRequest) GetScopes() []string                   { return r.scopes }
func (r *authRequest) GetState() string                      { return r.state }
func (r *authRequest) GetSubject() string                    { return r.subject }
func (r *authRequest) Done() bool                            { return r.subject != "" }

// accessToken is what the userinfo endpoint needs to know.
type accessToken struct {
	subject string
	scopes  []string
	expires time.Time
}

// providerStore is the storage that zitadel/oidc asks for, in memory: a sign-in that was begun
// before a restart is begun again.
type providerStore struct {
	client  providerClient
	members []Member
	key     signingKey
	now     func() time.Time

	mu       sync.Mutex
	requests map[string]*authRequest
	tokens   map[string]accessToken
}

func newProviderStore(cfg ProviderConfig, key signingKey) *providerStore {
	return &providerStore{
		client:   providerClient{id: cfg.ClientID, secret: cfg.ClientSecret, redirect: cfg.RedirectURI, logout: cfg.LogoutURI},
		members:  cfg.Members,
		key:      key,
		now:      cfg.Now,
		requests: map[string]*authRequest{},
		tokens:   map[string]accessToken{},
	}
}

var errNoRequest = errors.New("no such sign-in, or it has expired")

func (s *providerStore) member(email string) (Member, bool) {
	i := slices.IndexFunc(s.members, func(m Member) bool { return strings.EqualFold(m.Email, strings.TrimSpace(email)) })
	if i < 0 {
		return Member{}, false
	}
	return s.members[i], true
}

func (s *providerStore) bySubject(subject string) (Member, bool) {
	i := slices.IndexFunc(s.members, func(m Member) bool { return m.Subject() == subject })
	if i < 0 {
		return Member{}, false
	}
	return s.members[i], true
}

// request returns a copy of a sign-in that was begun and has not expired.
func (s *providerStore) request(id string) (*authRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || s.now().Sub(r.created) > requestLifetime {
		return nil, errNoRequest
	}
	kept := *r
	return &kept, nil
}

func (s *providerStore) complete(id string, m Member, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.requests[id]; ok {
		r.subject, r.authTime = m.Subject(), at
	}
}

// forgetOldest keeps the memory bounded. The caller holds the lock.
func (s *providerStore) forgetOldest() {
	var oldest string
	for id, r := range s.requests {
		if s.now().Sub(r.created) > requestLifetime {
			delete(s.requests, id)
		} else if oldest == "" || r.created.Before(s.requests[oldest].created) {
			oldest = id
		}
	}
	if len(s.requests) >= maxPending {
		delete(s.requests, oldest)
	}
	for id, t := range s.tokens {
		if s.now().After(t.expires) {
			delete(s.tokens, id)
		}
	}
}

// CreateAuthRequest keeps a validated authorization request. PKCE is required: the console sends
// it, and a console that stopped doing so should notice here.
func (s *providerStore) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("code_challenge with method S256 is required")
	}
	kept := &authRequest{
		id: uuid.NewString(), created: s.now(), client: r.ClientID, redirect: r.RedirectURI, scopes: r.Scopes,
		state: r.State, nonce: r.Nonce, prompt: r.Prompt, maxAge: r.MaxAge, loginHint: r.LoginHint,
		challenge: &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOldest()
	s.requests[kept.id] = kept
	return kept, nil
}

// AuthRequestByID returns a sign-in that was begun.
func (s *providerStore) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	return s.request(id)
}

// AuthRequestByCode hands out the sign-in of a code once.
func (s *providerStore) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.code == "" || subtle.ConstantTimeCompare([]byte(r.code), []byte(code)) != 1 {
			continue
		}
		if r.taken || s.now().Sub(r.created) > requestLifetime {
			return nil, errNoRequest
		}
		r.taken = true
		kept := *r
		return &kept, nil
	}
	return nil, errNoRequest
}

// SaveAuthCode keeps the code of a sign-in; there is one.
func (s *providerStore) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || r.code != "" {
		return errNoRequest
	}
	r.code = code
	return nil
}

// DeleteAuthRequest forgets a sign-in.
func (s *providerStore) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// CreateAccessToken makes a token that opens the userinfo endpoint.
func (s *providerStore) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	t := accessToken{subject: r.GetSubject(), scopes: r.GetScopes(), expires: s.now().Add(tokenLifetime)}
	id := uuid.NewString()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[id] = t
	return id, t.expires, nil
}

var errNoRefresh = errors.New("this provider has no refresh tokens")

// CreateAccessAndRefreshTokens refuses: the client has no refresh_token grant.
func (s *providerStore) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNoRefresh
}

// TokenRequestByRefreshToken refuses.
func (s *providerStore) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNoRefresh
}

// TerminateSession does nothing: the session is the cookie, which handleEndSession removes.
func (s *providerStore) TerminateSession(context.Context, string, string) error { return nil }

// RevokeToken refuses: the revocation endpoint is not served.
func (s *providerStore) RevokeToken(context.Context, string, string, string) *oidc.Error {
	return oidc.ErrUnsupportedGrantType()
}

// GetRefreshTokenInfo knows none.
func (s *providerStore) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// SigningKey returns the one key.
func (s *providerStore) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

// SignatureAlgorithms returns RS256.
func (s *providerStore) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet returns the one public key.
func (s *providerStore) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{s.key}}, nil
}

var errNoClient = errors.New("no such client, or the secret is wrong")

// GetClientByClientID knows the console.
func (s *providerStore) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.client.id {
		return nil, errNoClient
	}
	return s.client, nil
}

// AuthorizeClientIDSecret checks the console's secret.
func (s *providerStore) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != s.client.id || subtle.ConstantTimeCompare([]byte(secret), []byte(s.client.secret)) != 1 {
		return errNoClient
	}
	return nil
}

// SetUserinfoFromScopes is replaced by SetUserinfoFromRequest, as the library asks.
func (s *providerStore) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest fills the ID token.
func (s *providerStore) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	return s.fill(info, r.GetSubject(), scopes)
}

// SetUserinfoFromToken fills the userinfo answer.
func (s *providerStore) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, subject, _ string) error {
	s.mu.Lock()
	t, ok := s.tokens[tokenID]
	s.mu.Unlock()
	if !ok || t.subject != subject || s.now().After(t.expires) {
		return errors.New("no such token, or it has expired")
	}
	return s.fill(info, subject, t.scopes)
}

func (s *providerStore) fill(info *oidc.UserInfo, subject string, scopes []string) error {
	m, ok := s.bySubject(subject)
	if !ok {
		return errors.New("no such member")
	}
	info.Subject = subject
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name = m.Name
	}
	if slices.Contains(scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = m.Email, true
	}
	// The groups need no scope, as with most providers that can be configured to send them.
	info.AppendClaims("groups", m.Groups)
	return nil
}

// SetIntrospectionFromToken refuses: the introspection endpoint is not served.
func (s *providerStore) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errors.New("introspection is not served")
}

// GetPrivateClaimsFromScopes returns none: access tokens are opaque.
func (s *providerStore) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// GetKeyByIDAndClientID knows none: the client authenticates with its secret.
func (s *providerStore) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNoClient
}

// ValidateJWTProfileScopes refuses: there is no such grant here.
func (s *providerStore) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNoClient
}

// Health is always good.
func (s *providerStore) Health(context.Context) error { return nil }

// providerClient is the console as the provider knows it.
type providerClient struct{ id, secret, redirect, logout string }

func (c providerClient) GetID() string                       { return c.id }
func (c providerClient) RedirectURIs() []string              { return []string{c.redirect} }
func (c providerClient) PostLogoutRedirectURIs() []string    { return []string{c.logout} }
func (c providerClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c providerClient) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c providerClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c providerClient) GrantTypes() []oidc.GrantType        { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c providerClient) LoginURL(id string) string           { return signInPath + "?id=" + url.QueryEscape(id) }
func (c providerClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (c providerClient) IDTokenLifetime() time.Duration      { return tokenLifetime }
func (c providerClient) DevMode() bool                       { return true } // plain http redirect addresses
func (c providerClient) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
func (c providerClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
func (c providerClient) IsScopeAllowed(scope string) bool     { return scope == "groups" }
func (c providerClient) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c providerClient) ClockSkew() time.Duration             { return 0 }
