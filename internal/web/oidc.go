package web

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
)

// Limits of talking to the provider.
const (
	providerTime    = 8 * time.Second // one exchange with it
	providerBody    = 1<<20 - 1       // bytes of one answer; one less than oauth2 reads, which would cut it without a word
	discoveryTime   = 4 * time.Second // somebody waits for the sign-in page meanwhile
	discoveryFresh  = 10 * time.Second
	discoveryAgain  = 2 * time.Second // after a failure
	discoveryPeriod = 5 * time.Minute
	clockSkew       = time.Minute
	maxTokenAge     = 10 * time.Minute // an ID token is used the moment it is made
	maxSubject      = 255              // OpenID Connect Core 1.0, section 2
)

// signingAlgorithms are those we accept, as far as the provider advertises them. Neither none nor
// one with a shared secret is among them.
var signingAlgorithms = []string{oidc.RS256, oidc.ES256, oidc.PS256, oidc.EdDSA}

// provider is the identity provider, which may be away at any time.
type provider struct {
	issuer       string
	clientID     string
	clientSecret cloudapi.Secret
	scopes       []string
	redirectURL  string
	groupsClaim  string
	client       *http.Client
	now          func() time.Time
	log          *slog.Logger
	flight       singleflight.Group

	mu      sync.Mutex
	found   *discovery // the last one that succeeded
	err     error      // of the last attempt
	triedAt time.Time
}

// discovery is what the provider's discovery document said.
type discovery struct {
	oauth      oauth2.Config
	keys       *oidc.RemoteKeySet
	keysURL    string
	algorithms []string
	endSession string // empty: it has no logout of its own
	sendsIss   bool   // RFC 9207
}

// discoveryDocument is what we read of the document beyond what go-oidc does.
type discoveryDocument struct {
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	SendsIss              bool     `json:"authorization_response_iss_parameter_supported"`
}

func newProvider(o Options, base baseURL) (*provider, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil || !isProviderURL(o.Issuer, true) {
		return nil, errors.New("web: the issuer must be an https URL; http is for loopback only")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("web: the issuer has no query and no fragment")
	}
	if o.ClientID == "" {
		return nil, errors.New("web: Options.ClientID is required")
	}
	scopes := slices.Clone(o.Scopes)
	if len(scopes) == 0 {
		scopes = []string{oidc.ScopeOpenID, "profile", "email"}
	}
	if !slices.Contains(scopes, oidc.ScopeOpenID) {
		scopes = append([]string{oidc.ScopeOpenID}, scopes...)
	}
	transport := &http.Transport{
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:   providerTime,
		ResponseHeaderTimeout: providerTime,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
	}
	return &provider{
		issuer:       o.Issuer,
		clientID:     o.ClientID,
		clientSecret: o.ClientSecret,
		scopes:       scopes,
		redirectURL:  base.at(pathCallback),
		groupsClaim:  o.GroupsClaim,
		now:          o.Now,
		log:          o.Logger,
		client: &http.Client{
			Timeout:   providerTime,
			Transport: boundedTransport{transport},
			// Discovery, keys and tokens come from where they were asked, or not at all.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// isProviderURL reports whether an address of the provider may be used: absolute, with a host,
// without user, https or else http on loopback when plain is allowed.
func isProviderURL(raw string, plain bool) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return false
	}
	return u.Scheme == "https" || plain && u.Scheme == "http" && isLoopbackHost(u.Hostname())
}

// boundedTransport ends an answer with an error when it is larger than anything a provider says.
type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: providerBody}
	return resp, nil
}

// errAnswerTooLarge is an answer that was not read to its end.
var errAnswerTooLarge = errors.New("answer of the identity provider is over 1 MiB")

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errAnswerTooLarge
	}
	return n, err
}

// clientContext makes go-oidc and oauth2 use our client.
func (p *provider) clientContext(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.client)
}

// keepCurrent looks for the provider until ctx ends: with growing pauses while it is missing, and
// now and then afterwards, because its addresses may move.
func (p *provider) keepCurrent(ctx context.Context) {
	const shortest, longest = time.Second, 30 * time.Second
	pause := shortest
	for {
		if _, err := p.discover(ctx, 0); err == nil {
			pause = discoveryPeriod
		} else {
			pause = min(max(pause*2, shortest), longest)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if pause == discoveryPeriod {
			pause = shortest
		}
	}
}

// discover returns what the provider says of itself, not older than maxAge. An attempt that failed
// less than discoveryAgain ago is not repeated unless maxAge is zero: strangers can open the
// sign-in page as often as they like.
func (p *provider) discover(ctx context.Context, maxAge time.Duration) (*discovery, error) {
	p.mu.Lock()
	found, err, age := p.found, p.err, p.now().Sub(p.triedAt)
	tried := !p.triedAt.IsZero()
	p.mu.Unlock()
	if tried && age >= 0 {
		if err == nil && age < maxAge {
			return found, nil
		}
		if err != nil && maxAge > 0 && age < discoveryAgain {
			return nil, err
		}
	}
	attempt := p.flight.DoChan("", func() (any, error) {
		// Detached: others wait for this attempt too, and the first may leave.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discoveryTime)
		defer cancel()
		d, err := p.fetch(ctx)
		p.remember(d, err)
		return d, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case answer := <-attempt:
		if answer.Err != nil {
			return nil, answer.Err
		}
		return answer.Val.(*discovery), nil
	}
}

// remember keeps the outcome of an attempt and logs when it differs from the one before.
func (p *provider) remember(d *discovery, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.triedAt.IsZero()
	wasDown := p.err != nil
	p.triedAt, p.err = p.now(), err
	if err == nil {
		p.found = d
	}
	switch {
	case err != nil && (first || !wasDown):
		p.log.Warn("identity provider not available", "issuer", p.issuer, "error", err)
	case err == nil && (first || wasDown):
		p.log.Info("identity provider found", "issuer", p.issuer)
	}
}

func (p *provider) fetch(ctx context.Context) (*discovery, error) {
	op, err := oidc.NewProvider(p.clientContext(ctx), p.issuer)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", boundText(err))
	}
	var doc discoveryDocument
	if err := op.Claims(&doc); err != nil {
		return nil, fmt.Errorf("discovery: %w", boundText(err))
	}
	plain := strings.HasPrefix(p.issuer, "http:")
	for name, address := range map[string]string{
		"authorization_endpoint": doc.AuthorizationEndpoint, "token_endpoint": doc.TokenEndpoint, "jwks_uri": doc.JWKSURI,
	} {
		if !isProviderURL(address, plain) {
			return nil, fmt.Errorf("discovery: %s is missing or not https", name)
		}
	}
	if doc.EndSessionEndpoint != "" && !isProviderURL(doc.EndSessionEndpoint, plain) {
		return nil, errors.New("discovery: end_session_endpoint is not https")
	}
	algorithms, err := acceptedAlgorithms(doc.Algorithms)
	if err != nil {
		return nil, err
	}
	d := &discovery{
		oauth: oauth2.Config{
			ClientID:     p.clientID,
			ClientSecret: string(p.clientSecret.Reveal()),
			Endpoint:     op.Endpoint(),
			RedirectURL:  p.redirectURL,
			Scopes:       p.scopes,
		},
		keys:       p.keySet(ctx, doc.JWKSURI),
		keysURL:    doc.JWKSURI,
		algorithms: algorithms,
		endSession: doc.EndSessionEndpoint,
		sendsIss:   doc.SendsIss,
	}
	d.oauth.Endpoint.AuthStyle = p.authStyle(doc.AuthMethods)
	return d, nil
}

// keySet keeps the keys already fetched as long as they come from the same address.
func (p *provider) keySet(ctx context.Context, address string) *oidc.RemoteKeySet {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil && p.found.keysURL == address {
		return p.found.keys
	}
	return oidc.NewRemoteKeySet(p.clientContext(context.WithoutCancel(ctx)), address)
}

// acceptedAlgorithms are ours that the provider advertises; RS256, which every provider must have,
// when it advertises nothing.
func acceptedAlgorithms(advertised []string) ([]string, error) {
	if len(advertised) == 0 {
		return []string{oidc.RS256}, nil
	}
	accepted := slices.DeleteFunc(slices.Clone(signingAlgorithms), func(a string) bool { return !slices.Contains(advertised, a) })
	if len(accepted) == 0 {
		return nil, fmt.Errorf("discovery: none of %s is advertised for ID tokens", strings.Join(signingAlgorithms, ", "))
	}
	return accepted, nil
}

// authStyle is fixed before the first exchange: oauth2's way of trying both would show a code twice.
func (p *provider) authStyle(methods []string) oauth2.AuthStyle {
	if p.clientSecret.IsZero() || len(methods) > 0 && !slices.Contains(methods, "client_secret_basic") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// formOrigins are the origins that a form's redirects may lead to.
func (p *provider) formOrigins() []string {
	p.mu.Lock()
	found := p.found
	p.mu.Unlock()
	if found == nil {
		return nil
	}
	var origins []string
	for _, address := range []string{found.oauth.Endpoint.AuthURL, found.endSession} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			if origin := u.Scheme + "://" + u.Host; isOrigin(origin) && !slices.Contains(origins, origin) {
				origins = append(origins, origin)
			}
		}
	}
	return origins
}

// isOrigin keeps anything that would end a directive out of the policy.
func isOrigin(origin string) bool {
	return !strings.ContainsFunc(origin, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(";,'\"", r)
	})
}

// current is the last discovery that succeeded, or nil.
func (p *provider) current() *discovery {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.found
}

// signInError is a sign-in that came to nothing: a cause from a fixed set for the log of events,
// words for the page, and what really happened for the log line.
type signInError struct {
	cause  string
	words  string
	status int
	err    error
	again  string // where to try again; empty: at the beginning
}

func (e *signInError) Error() string {
	if e.err == nil {
		return "sign-in: " + e.cause
	}
	return "sign-in: " + e.cause + ": " + e.err.Error()
}

func (e *signInError) Unwrap() error { return e.err }

func badToken(cause string, err error) *signInError {
	return &signInError{cause: cause, status: http.StatusBadRequest, err: err,
		words: "What the identity provider sent did not pass this console's checks, so nobody was signed in. Try again; tell an administrator if it stays."}
}

// errClocksDiffer is a token whose times do not fit the console's clock.
var errClocksDiffer = errors.New("the clocks differ")

// clocksDiffer refuses a token that would be good at another time. Trying again does not help.
func clocksDiffer(err error) *signInError {
	return &signInError{cause: "the provider's clock and ours differ", status: http.StatusBadRequest, err: err,
		words: "The clocks of the identity provider and of this console differ by minutes, so nobody can be signed in. Tell an administrator: one of the two machines has the wrong time."}
}

// tokenTooLarge is a sign-in of somebody about whom the provider tells more than is read.
func tokenTooLarge() *signInError {
	return &signInError{cause: "answer of the provider too large", status: http.StatusBadRequest, err: errAnswerTooLarge,
		words: "What the identity provider says of you is over 1 MiB, most likely because you are in very many groups, so you were not signed in. Whoever runs the provider can have it send only the groups assigned to this application."}
}

func providerAway(cause string, err error) *signInError {
	return &signInError{cause: cause, status: http.StatusServiceUnavailable, err: err,
		words: "The identity provider did not answer. Try again in a moment."}
}

// exchange trades the code for tokens and returns the verified identity.
func (p *provider) exchange(ctx context.Context, d *discovery, code, verifier, nonce string) (accounts.Identity, error) {
	ctx, cancel := context.WithTimeout(p.clientContext(ctx), providerTime)
	defer cancel()
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response.StatusCode < 500 {
			// Without the answer's body: it is the provider's and may hold anything.
			return accounts.Identity{}, badToken("code refused", fmt.Errorf("token endpoint answered %d %s", refused.Response.StatusCode, cut(refused.ErrorCode, 60)))
		}
		if strings.Contains(err.Error(), errAnswerTooLarge.Error()) { // oauth2 folds the cause into its text
			return accounts.Identity{}, tokenTooLarge()
		}
		return accounts.Identity{}, providerAway("token endpoint unavailable", boundText(err))
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return accounts.Identity{}, badToken("no ID token", nil)
	}
	return p.identify(ctx, d, raw, token.AccessToken, nonce)
}

// fetchNoting remembers whether verifying failed because the keys could not be had, which go-oidc
// folds into one text with every other failure.
type fetchNoting struct {
	keys *oidc.RemoteKeySet
	err  error
}

func (f *fetchNoting) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := f.keys.VerifySignature(ctx, jwt)
	if errors.Unwrap(err) != nil { // RemoteKeySet wraps failures to fetch, and only those
		f.err = err
	}
	return payload, err
}

// idClaims are the claims we check ourselves. Pointers tell what is missing from what is zero.
type idClaims struct {
	AuthorizedParty *string      `json:"azp"`
	IssuedAt        *json.Number `json:"iat"`
	NotBefore       *json.Number `json:"nbf"`
	AuthTime        *json.Number `json:"auth_time"`
	SID             string       `json:"sid"`
}

// identify verifies an ID token as OpenID Connect Core 1.0, section 3.1.3.7 asks. go-oidc checks
// signature, algorithm, issuer, audience and expiry; it leaves azp, iat, sub, nonce, at_hash and a
// close look at nbf to the caller.
func (p *provider) identify(ctx context.Context, d *discovery, raw, accessToken, nonce string) (accounts.Identity, error) {
	keys := &fetchNoting{keys: d.keys}
	verifier := oidc.NewVerifier(p.issuer, keys, &oidc.Config{ClientID: p.clientID, SupportedSigningAlgs: d.algorithms, Now: p.now})
	token, err := verifier.Verify(ctx, raw)
	if keys.err != nil {
		return accounts.Identity{}, providerAway("signing keys unavailable", boundText(keys.err))
	}
	if _, expired := errors.AsType[*oidc.TokenExpiredError](err); expired {
		return accounts.Identity{}, clocksDiffer(boundText(err)) // it was made a moment ago
	}
	if err != nil {
		return accounts.Identity{}, badToken("ID token refused", boundText(err))
	}
	var all map[string]json.RawMessage
	if err := token.Claims(&all); err != nil {
		return accounts.Identity{}, badToken("ID token refused", boundText(err))
	}
	if err := checkSpelling(all); err != nil {
		return accounts.Identity{}, badToken("ID token refused", err)
	}
	var claims idClaims
	if err := token.Claims(&claims); err != nil {
		return accounts.Identity{}, badToken("ID token refused", boundText(err))
	}
	if err := p.checkClaims(token, claims, accessToken, nonce); errors.Is(err, errClocksDiffer) {
		return accounts.Identity{}, clocksDiffer(err)
	} else if err != nil {
		return accounts.Identity{}, badToken("ID token refused", err)
	}
	id := identityOf(all, p.groupsClaim)
	id.Issuer, id.Subject, id.IDToken = token.Issuer, token.Subject, raw
	id.SID = cut(claims.SID, maxSubject)
	if id.IssuedAt, err = numericDate(*claims.IssuedAt); err != nil {
		return accounts.Identity{}, badToken("ID token refused", err)
	}
	if claims.AuthTime != nil {
		at, err := numericDate(*claims.AuthTime)
		if err != nil {
			return accounts.Identity{}, badToken("ID token refused", err)
		}
		id.AuthTime = &at
	}
	return id, nil
}

// checkSpelling refuses a token that names a claim which decides who somebody is, or when they signed in, in other
// letters: decoding into a struct, as go-oidc and we do, takes "Sub" and even "ſub" for "sub", and the last one counts. A
// provider that lets people name claims of their own would let them be anybody.
func checkSpelling(all map[string]json.RawMessage) error {
	for name := range all {
		for _, decides := range []string{"iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "auth_time"} {
			if name != decides && strings.EqualFold(name, decides) {
				return errors.New(decides + " is there in other letters")
			}
		}
	}
	return nil
}

func (p *provider) checkClaims(token *oidc.IDToken, claims idClaims, accessToken, nonce string) error {
	now := p.now()
	if token.Issuer != p.issuer { // go-oidc lets Google's second spelling pass
		return errors.New("iss is not the issuer's")
	}
	if token.Subject == "" || len(token.Subject) > maxSubject || hasControl(token.Subject) || strings.ContainsRune(token.Subject, utf8.RuneError) {
		return errors.New("sub is missing, too long or not text")
	}
	if !sameText(token.Nonce, nonce) {
		return errors.New("nonce is not the one sent")
	}
	if len(token.Audience) > 1 && claims.AuthorizedParty == nil {
		return errors.New("several audiences and no azp")
	}
	if claims.AuthorizedParty != nil && *claims.AuthorizedParty != p.clientID {
		return errors.New("azp is another client")
	}
	if claims.IssuedAt == nil {
		return errors.New("iat is missing")
	}
	issued, err := numericDate(*claims.IssuedAt)
	if err != nil {
		return fmt.Errorf("iat: %w", err)
	}
	if issued.After(now.Add(clockSkew)) {
		return fmt.Errorf("%w: iat is in the future", errClocksDiffer)
	}
	if issued.Before(now.Add(-maxTokenAge)) {
		return fmt.Errorf("%w: iat is too long ago", errClocksDiffer)
	}
	if claims.AuthTime != nil {
		at, err := numericDate(*claims.AuthTime)
		if err != nil {
			return fmt.Errorf("auth_time: %w", err)
		}
		if at.After(now.Add(clockSkew)) {
			return fmt.Errorf("%w: auth_time is in the future", errClocksDiffer)
		}
	}
	if claims.NotBefore != nil {
		from, err := numericDate(*claims.NotBefore)
		if err != nil {
			return fmt.Errorf("nbf: %w", err)
		}
		if from.After(now.Add(clockSkew)) {
			return fmt.Errorf("%w: nbf is in the future", errClocksDiffer)
		}
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(accessToken); err != nil {
			return errors.New("at_hash does not fit the access token")
		}
	}
	return nil
}

// numericDate reads seconds since 1970, within the years that time can print.
func numericDate(n json.Number) (time.Time, error) {
	f, err := n.Float64()
	if err != nil || f < 0 || f > 253402300799 {
		return time.Time{}, errors.New("no time")
	}
	return time.Unix(int64(f), 0).UTC(), nil
}

// boundText keeps an error's text, which may quote what a stranger answered, short and on one line.
func boundText(err error) error {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())
	return errors.New(cut(text, 300))
}
