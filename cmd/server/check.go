package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/schema"
)

// checkTimeout bounds each thing that check asks.
const checkTimeout = 15 * time.Second

// finding is one line of check's list.
type finding struct {
	wrong bool
	note  bool // right, and worth knowing
	what  string
}

// check prints one list of what is right and wrong with the configuration in the world as it is.
// It changes nothing, except that a first check makes the sealing keysets, as serve would.
func (p *program) check(ctx context.Context) error {
	findings := slices.Concat(p.checkProvider(ctx), p.checkWay(), p.checkGroups(), p.checkDatabase(ctx), p.checkUpstream(ctx))
	wrong := 0
	for _, f := range findings {
		mark := "ok   "
		switch {
		case f.wrong:
			mark = "WRONG"
			wrong++
		case f.note:
			mark = "note "
		}
		p.say("%s  %s\n", mark, f.what)
	}
	if wrong == 0 {
		p.say("\nAll %d checks passed.\n", len(findings))
		return nil
	}
	p.say("\n%d of %d checks failed.\n", wrong, len(findings))
	return errToldAlready
}

func right(format string, args ...any) finding { return finding{what: fmt.Sprintf(format, args...)} }

func wrong(format string, args ...any) finding {
	return finding{wrong: true, what: fmt.Sprintf(format, args...)}
}

func note(format string, args ...any) finding {
	return finding{note: true, what: fmt.Sprintf(format, args...)}
}

func (p *program) httpClient() *http.Client {
	return &http.Client{
		Timeout:       checkTimeout,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.settings.RootCAs, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// discovery is what check looks at in the provider's discovery document.
type discovery struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	EndSession    string   `json:"end_session_endpoint"`
	PKCE          []string `json:"code_challenge_methods_supported"`
	Scopes        []string `json:"scopes_supported"`
	Claims        []string `json:"claims_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
}

func (p *program) checkProvider(ctx context.Context) []finding {
	var d discovery
	issuer := p.settings.Issuer
	if err := p.getJSON(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &d); err != nil {
		return []finding{wrong("identity provider: %v", err)}
	}
	var found []finding
	if d.Issuer != issuer {
		found = append(found, wrong("identity provider: it calls itself %q, and QM_OIDC_ISSUER is %q; they must be the same to the letter", d.Issuer, issuer))
	} else {
		found = append(found, right("identity provider: %s is found", issuer))
	}
	for what, endpoint := range map[string]string{"authorization endpoint": d.Authorization, "token endpoint": d.Token, "key set": d.JWKS} {
		if endpoint == "" {
			found = append(found, wrong("identity provider: its discovery document names no %s", what))
		}
	}
	if len(d.PKCE) > 0 && !slices.Contains(d.PKCE, "S256") {
		found = append(found, wrong("identity provider: it does not offer PKCE with S256, only %s", strings.Join(d.PKCE, ", ")))
	}
	for _, scope := range p.settings.Scopes {
		if len(d.Scopes) > 0 && !slices.Contains(d.Scopes, scope) {
			found = append(found, wrong("identity provider: the scope %q of QM_OIDC_SCOPES is not among those it names: %s", scope, strings.Join(d.Scopes, ", ")))
		}
	}
	return append(found, checkGroupsClaim(p.settings.GroupsClaim, d.Claims), p.checkRedirect(ctx, d.Authorization), p.checkClient(ctx, d))
}

// checkGroupsClaim compares the claim, or where it is a path the claim that the path begins in, with
// those the provider says it sends. What a token really holds shows at a sign-in only.
func checkGroupsClaim(claim string, listed []string) finding {
	outer := func(name string) bool { return claim == name || strings.HasPrefix(claim, name+".") }
	if len(listed) > 0 && !slices.ContainsFunc(listed, outer) {
		return right("groups claim: the provider does not list %q among its claims; many send it nevertheless when it is configured there. Sign in and look at /me, or paste the claims of a token at /admin/groups", claim)
	}
	return right("groups claim: %q", claim)
}

// checkClient trades a code that cannot exist. A provider that knows the client and its secret
// refuses the code; one that does not refuses the client. Some look at the code first, so that
// silence about the client proves little.
func (p *program) checkClient(ctx context.Context, d discovery) finding {
	s := p.settings
	if d.Token == "" {
		return wrong("client secret: it cannot be tried without a token endpoint")
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {"check"}, "redirect_uri": {s.BaseURL.String() + "/auth/callback"},
		"code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
	}
	// As the console does it: internal/web settles on one way before the first exchange.
	inForm := s.ClientSecret.IsZero() || len(d.AuthMethods) > 0 && !slices.Contains(d.AuthMethods, "client_secret_basic")
	if inForm {
		form.Set("client_id", s.ClientID)
		if !s.ClientSecret.IsZero() {
			form.Set("client_secret", string(s.ClientSecret.Reveal()))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return wrong("client secret: %v", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !inForm {
		request.SetBasicAuth(url.QueryEscape(s.ClientID), url.QueryEscape(string(s.ClientSecret.Reveal())))
	}
	answer, err := p.httpClient().Do(request)
	if err != nil {
		return wrong("client secret: the token endpoint does not answer: %v", bare(err))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return wrong("client secret: reading the token endpoint's answer: %v", err)
	}
	var refusal struct {
		Error string `json:"error"`
	}
	unreadable := json.Unmarshal(body, &refusal) != nil
	switch {
	case answer.StatusCode == http.StatusUnauthorized, refusal.Error == "invalid_client", refusal.Error == "unauthorized_client":
		return wrong("client secret: the provider refuses QM_OIDC_CLIENT_ID with QM_OIDC_CLIENT_SECRET")
	case unreadable || answer.StatusCode >= 500:
		return wrong("client secret: the token endpoint answers %d, and not as one should", answer.StatusCode)
	}
	return right("client secret: the provider did not refuse it")
}

// checkRedirect begins a sign-in as a browser would. Providers answer a redirect address that is
// not registered with an error page, or with an error that is not sent to that address.
func (p *program) checkRedirect(ctx context.Context, authorization string) finding {
	redirect := p.settings.BaseURL.String() + "/auth/callback"
	u, err := url.Parse(authorization)
	if err != nil || u.Host == "" {
		return wrong("redirect address: it cannot be tried without an authorization endpoint")
	}
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": p.settings.ClientID, "redirect_uri": redirect, "scope": strings.Join(p.settings.Scopes, " "),
		"state": "check", "nonce": "check", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return wrong("redirect address: %v", err)
	}
	answer, err := p.httpClient().Do(request)
	if err != nil {
		return wrong("redirect address: the authorization endpoint does not answer: %v", bare(err))
	}
	if err := answer.Body.Close(); err != nil {
		return wrong("redirect address: %v", err)
	}
	if answer.StatusCode >= 400 {
		return wrong("redirect address: the provider answers %d to a sign-in with %s; register exactly this address there, and check QM_OIDC_CLIENT_ID", answer.StatusCode, redirect)
	}
	if location, err := answer.Location(); err == nil && location.Query().Get("error") != "" {
		return wrong("redirect address: the provider refuses the sign-in: %s", printable(location.Query().Get("error")))
	}
	return right("redirect address: the provider did not refuse %s", redirect)
}

// bare leaves the address, with its query, out of a client's error.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func (p *program) getJSON(ctx context.Context, address string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := p.httpClient().Do(request)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", address, bare(err))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("reading %s: %w", address, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", address, answer.StatusCode)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s does not answer with JSON: %w", address, err)
	}
	return nil
}

// checkWay notes what an https address needs in front of the console, which cannot be tried from here.
func (p *program) checkWay() []finding {
	s := p.settings
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil || s.BaseURL.Scheme != "https" {
		return nil
	}
	outside := cmp.Or(s.BaseURL.Port(), "443")
	switch {
	case s.TLS == nil && len(s.TrustedProxies) == 0:
		return []finding{note("way here: without QM_TLS_CERT something else speaks https; name it in QM_TRUSTED_PROXIES, or the log shows its address instead of people's")}
	case s.TLS != nil && port != outside:
		return []finding{note("way here: browsers come to port %s by QM_BASE_URL, and the console listens on %s; something must pass one on to the other", outside, port)}
	}
	return nil
}

func (p *program) checkGroups() []finding {
	rights := p.settings.Rights
	if len(rights.AdminGroups)+len(rights.AdminEmails) == 0 {
		return []finding{wrong("rights: nobody could add an account; set QM_ADMIN_GROUPS or QM_ADMIN_EMAILS")}
	}
	return []finding{right("rights: admins are %s", strings.Join(slices.Concat(rights.AdminGroups, rights.AdminEmails), ", "))}
}

func (p *program) checkDatabase(ctx context.Context) []finding {
	s := p.settings
	var found []finding
	if s.MigrateDatabaseURL != "" {
		found = append(found, p.ping(ctx, "QM_MIGRATE_DATABASE_URL", s.MigrateDatabaseURL))
		if same, err := (schema.Config{OwnerURL: s.MigrateDatabaseURL, AppURL: s.DatabaseURL}).SameUser(); err == nil && same {
			found = append(found, wrong("database: QM_DATABASE_URL and QM_MIGRATE_DATABASE_URL name one user, so the console could change its own audit log"))
		}
	}
	app := p.ping(ctx, "QM_DATABASE_URL", s.DatabaseURL)
	found = append(found, app)
	if app.wrong {
		return found
	}
	err := p.onDatabase(ctx, s.DatabaseURL, func(pool *pgxpool.Pool) error {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		if err := schema.Check(ctx, pool); err != nil {
			found = append(found, wrong("schema: %v", err))
			return nil
		}
		found = append(found, right("schema: this program works on it"))
		if made, err := schema.MadeByDev(ctx, pool); err != nil || made {
			found = append(found, wrong("database: %v", errors.Join(err, errMadeByDev)))
		}
		found = append(found, checkRole(ctx, pool), checkTextSearch(ctx, pool))
		if _, err := vault.Open(ctx, pool, s.KEK, accounts.AdoptAccounts); err != nil {
			found = append(found, wrong("key: %v", kekError(s, err)))
		} else {
			found = append(found, right("key: %s opens the sealing keys; its fingerprint is %s", s.KEKSource, s.KEK.Fingerprint()))
		}
		return nil
	})
	if err != nil {
		found = append(found, wrong("database: %v", err))
	}
	return found
}

func (p *program) ping(ctx context.Context, name, address string) finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var user string
	err := p.onDatabase(ctx, address, func(pool *pgxpool.Pool) error {
		return pool.QueryRow(ctx, `SELECT current_user::text`).Scan(&user)
	})
	refused, _ := errors.AsType[*pgconn.PgError](err)
	switch {
	case refused != nil && refused.Code == "28P01" && name == "QM_DATABASE_URL": // also when there is no such role
		return wrong("database: %s cannot connect: %v; migrate up makes its role and sets the password", name, err)
	case err != nil:
		return wrong("database: %s cannot connect: %v", name, err)
	}
	return right("database: %s connects as %s", name, user)
}

// checkRole looks whether the console's role could do to the log what it must not.
func checkRole(ctx context.Context, pool *pgxpool.Pool) finding {
	var super, canChange bool
	err := pool.QueryRow(ctx, `
		SELECT rolsuper, has_table_privilege('audit.events', 'UPDATE') OR has_table_privilege('audit.events', 'DELETE') OR has_table_privilege('audit.events', 'TRUNCATE')
		FROM pg_roles WHERE rolname = current_user`).Scan(&super, &canChange)
	switch {
	case err != nil:
		return wrong("audit log: the rights of the console's role cannot be read: %v", err)
	case super:
		return wrong("audit log: the console's role is a superuser, so it could change the log")
	case canChange:
		return wrong("audit log: the console's role may change the log; run quartermaster migrate up with both database addresses")
	}
	return right("audit log: the console's role may append to it and not change it")
}

// checkTextSearch looks whether the text search has its index. Without it everything works.
func checkTextSearch(ctx context.Context, pool *pgxpool.Pool) finding {
	slow, err := schema.SlowSearch(ctx, pool)
	switch {
	case err != nil:
		return wrong("text search: %v", err)
	case slow != "":
		return note("text search: %s", slow)
	}
	return right("text search: it has its index")
}

// checkUpstream asks without a key: any answer, a refusal too, shows that the way is open.
func (p *program) checkUpstream(ctx context.Context) []finding {
	var found []finding
	for _, u := range []struct {
		name string
		url  *url.URL
		path string
	}{
		{"current Cloud API", p.settings.CloudAPIURL, "/api/account/v1/accounts"},
		{"legacy pa/v1 API", p.settings.CloudPAURL, "/pa/v1/accounts/00000000-0000-0000-0000-000000000000/clusters"},
	} {
		address := u.url.JoinPath(u.path)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
		if err != nil {
			found = append(found, wrong("%s: %v", u.name, err))
			continue
		}
		answer, err := p.httpClient().Do(request)
		if err != nil {
			found = append(found, wrong("%s: %s does not answer: %v", u.name, u.url, bare(err)))
			continue
		}
		if err := answer.Body.Close(); err != nil {
			found = append(found, wrong("%s: %v", u.name, err))
			continue
		}
		if answer.StatusCode >= 500 {
			found = append(found, wrong("%s: %s answers %d", u.name, u.url, answer.StatusCode))
			continue
		}
		found = append(found, right("%s: %s answers", u.name, u.url))
	}
	return found
}
