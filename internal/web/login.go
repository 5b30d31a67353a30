package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/oauth2"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

// Why somebody is on the sign-in page; the value of ?why=.
const (
	whySignedOut = "signed-out"
	whyEnded     = "ended"
	whyBlocked   = "blocked"
)

// groupsLeftOut is said on the page that a sign-in ends at.
const groupsLeftOut = "You are signed in, but your identity provider left out groups of yours, so rights may be missing. “Your access” tells more."

const signedOut = "You are signed out."

// whyWords are the sentences for them. Other values of ?why= say nothing.
var whyWords = map[string]string{
	whySignedOut: signedOut,
	whyBlocked:   "Your access to this console was blocked. Ask an administrator of this console if you need it.",
	whyEnded:     "Your session had ended, so what you sent was not done. Sign in and do it again.",
}

// Limits of a sign-in under way.
const (
	loginAge      = 10 * time.Minute
	maxLogins     = 10 // at once in one browser: each tab may start one
	maxLoginHint  = 320
	maxCode       = 4096
	stateNameSize = 8 // characters of the state in the cookie's name
)

// login is a sign-in under way, kept in a cookie of the browser that started it. It holds nothing
// that must be kept from that browser: the PKCE verifier and the nonce protect it from others, and
// whoever can read or write its cookies already is that browser. Therefore it is neither sealed
// nor signed, and any replica can finish what another began. That it is a fresh sign-in it says for the sake of
// what is told and checked early: how fresh a session is follows from what the provider signed.
type login struct {
	state    string
	nonce    string
	verifier string
	returnTo string
	begun    time.Time // of a fresh sign-in for somebody who is signed in already; zero for an ordinary one
}

func newLogin(returnTo string) login {
	return login{state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier(), returnTo: returnTo}
}

func (l login) encode() string {
	value := l.state + "." + l.nonce + "." + l.verifier + "." + base64.RawURLEncoding.EncodeToString([]byte(l.returnTo))
	if !l.begun.IsZero() {
		value += "." + strconv.FormatInt(l.begun.Unix(), 10)
	}
	return value
}

func decodeLogin(value string) (login, bool) {
	parts := strings.Split(value, ".")
	if len(parts) != 4 && len(parts) != 5 || parts[0] == "" || parts[1] == "" || len(parts[2]) < 43 {
		return login{}, false
	}
	returnTo, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		return login{}, false
	}
	l := login{state: parts[0], nonce: parts[1], verifier: parts[2], returnTo: string(returnTo)}
	if !isReturnPath(l.returnTo) {
		l.returnTo = pathHome
	}
	if len(parts) == 5 {
		begun, err := numericDate(json.Number(parts[4]))
		if err != nil {
			return login{}, false
		}
		l.begun = begun
	}
	return l, true
}

// isState reports whether a text can be a state of ours: what rand.Text makes.
func isState(s string) bool {
	return len(s) >= 26 && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '2' || r > '7')
	})
}

func sameText(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// isReturnPath reports whether a sign-in may end at p: a page of ours, and not the sign-in itself.
func isReturnPath(p string) bool {
	if !isLocalPath(p) {
		return false
	}
	path, _, _ := strings.Cut(p, "?")
	return path != pathLogin && path != pathLogout && !strings.HasPrefix(path, "/auth/")
}

// loginCookie is the name of a sign-in's cookie. The state is in it, so that a browser whose tabs
// all lost their session can sign in from each of them.
func (s *Server) loginCookie(state string) string { return s.cookies.login + state[:stateNameSize] }

// handleLogin handles GET /login. With login_hint, return_to or go=1 it leads to the provider at
// once; bare it shows the sign-in page, as it does while the provider is away. Somebody who is
// signed in already and did not ask for another sign-in is sent to where they wanted to go. With
// step_up=1 the provider has to have them sign in anew.
func (s *Server) handleLogin(c echo.Context) error {
	query := c.QueryParams()
	hint, returnTo := query.Get("login_hint"), query.Get("return_to")
	if len(hint) > maxLoginHint || hasControl(hint) {
		hint = ""
	}
	again := query.Get("step_up") == "1"
	leave := hint != "" || query.Has("return_to") || query.Get("go") == "1" || again
	if !isReturnPath(returnTo) {
		returnTo = pathHome
	}
	if hint == "" && query.Get("go") != "1" {
		err := s.authenticate(c.Request().Context(), c)
		if err == nil && !again {
			return c.Redirect(http.StatusSeeOther, returnTo)
		}
		if err == nil {
			hint = sessionFrom(c).Email // most providers take it for who is to sign in
		} else if !errors.Is(err, accounts.ErrNoSession) {
			return err
		}
	}
	found, err := s.provider.discover(c.Request().Context(), discoveryFresh)
	if err != nil {
		noteError(c, err)
		c.Response().Header().Set("Retry-After", "5")
		return s.showSignIn(c, http.StatusServiceUnavailable, templates.SignInView{ProviderDown: true, Message: whyWords[query.Get("why")]})
	}
	if !leave {
		return s.showSignIn(c, http.StatusOK, templates.SignInView{Message: whyWords[query.Get("why")], Href: pathLogin + "?go=1"})
	}
	l := newLogin(returnTo)
	if again {
		l.begun = s.now()
	}
	return s.startLogin(c, found, hint, l)
}

// anyAge is max_age of an ordinary sign-in, in seconds: a year, older than which no session at a provider is. It has
// nobody sign in anew, and has the provider tell when they did, which it need not where it is not asked (OpenID
// Connect Core 1.0, section 2). Not more: there are providers that add it to the present time in 32 bits.
const anyAge = "31536000"

// startLogin sends the browser to the provider.
func (s *Server) startLogin(c echo.Context, found *discovery, hint string, l login) error {
	s.dropOldLogins(c)
	s.setCookie(c, s.loginCookie(l.state), l.encode(), loginAge)
	params := []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("nonce", l.nonce),
		oauth2.S256ChallengeOption(l.verifier),
	}
	if hint != "" {
		params = append(params, oauth2.SetAuthURLParam("login_hint", hint))
	}
	if !l.begun.IsZero() {
		// Either asks for the same; there are providers that know only one of them.
		params = append(params, oauth2.SetAuthURLParam("max_age", "0"), oauth2.SetAuthURLParam("prompt", "login"))
	} else {
		params = append(params, oauth2.SetAuthURLParam("max_age", anyAge))
	}
	return c.Redirect(http.StatusSeeOther, found.oauth.AuthCodeURL(l.state, params...))
}

// dropOldLogins forgets sign-ins that were begun and left, before their cookies fill the headers.
func (s *Server) dropOldLogins(c echo.Context) {
	var names []string
	for _, cookie := range c.Cookies() {
		if strings.HasPrefix(cookie.Name, s.cookies.login) {
			names = append(names, cookie.Name)
		}
	}
	if len(names) < maxLogins {
		return
	}
	for _, name := range names {
		s.dropCookie(c, name)
	}
}

// handleCallback handles GET /auth/callback, where the provider sends the browser back to.
func (s *Server) handleCallback(c echo.Context) error {
	l, id, err := s.finishLogin(c)
	if err != nil {
		return s.signInFailed(c, err)
	}
	by, err := s.signedInBefore(c)
	if err != nil {
		return err
	}
	if !l.begun.IsZero() {
		if err := sameMember(l, by, id); err != nil {
			return s.signInFailed(c, err)
		}
		if id, err = s.freshly(c, l, id); err != nil {
			return s.signInFailed(c, err)
		}
	}
	by.Issuer, by.Subject, by.Name, by.Email = id.Issuer, id.Subject, id.Name, id.Email
	by.EmailVerified, by.Groups, by.SignedInAt = id.EmailVerified, id.Groups, s.now()
	token, err := s.accounts.SignIn(c.Request().Context(), by, id)
	if errors.Is(err, accounts.ErrBlocked) {
		return s.showBlocked(c)
	}
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	s.setCookie(c, s.cookies.session, token, s.opts.SessionMax)
	words := ""
	switch {
	case id.Reading.Overage != "":
		words = groupsLeftOut
	case l.begun.IsZero() || strings.HasPrefix(l.returnTo, pathAuditExport): // a download is no page to say it on
	case id.Prompted:
		words = signedInAgainUntold
	default:
		words = signedInAgain
	}
	if words != "" {
		s.setCookie(c, s.cookies.flash, encodeFlash(words), flashAge)
	}
	return c.Redirect(http.StatusSeeOther, l.returnTo)
}

// signInFailed answers a sign-in that came to nothing.
func (s *Server) signInFailed(c echo.Context, err error) error {
	if failed, ok := errors.AsType[*signInError](err); ok {
		return s.showSignInFailed(c, failed)
	}
	return err
}

// showBlocked leads to the sign-in page, which says that the member is blocked and whom to ask, and which can be loaded
// again. The domain has recorded it.
func (s *Server) showBlocked(c echo.Context) error {
	return c.Redirect(http.StatusSeeOther, pathLogin+"?why="+whyBlocked)
}

// signedInBefore is the visitor with the session that the browser still holds, if any: SignIn ends
// it, so that a token somebody planted or kept does not outlive the sign-in.
func (s *Server) signedInBefore(c echo.Context) (audit.Actor, error) {
	by := s.visitor(c)
	err := s.authenticate(c.Request().Context(), c)
	if errors.Is(err, accounts.ErrNoSession) {
		return by, nil
	}
	if err != nil {
		return by, err
	}
	before := actorFrom(c)
	by.Session, by.Issuer, by.Subject = before.Session, before.Issuer, before.Subject
	return by, nil
}

// finishLogin checks the provider's answer against the sign-in that this browser began, and trades
// its code. The cookie is dropped first: an answer is taken once, whatever comes of it.
func (s *Server) finishLogin(c echo.Context) (login, accounts.Identity, error) {
	query := c.QueryParams()
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(query[name]) > 1 {
			return login{}, accounts.Identity{}, notOurs("repeated parameter", nil)
		}
	}
	l, err := s.takeLogin(c, query.Get("state"))
	if err != nil {
		return login{}, accounts.Identity{}, err
	}
	if !s.signIns.allow(c.RealIP(), s.now()) {
		return login{}, accounts.Identity{}, tooManySignIns()
	}
	ctx := c.Request().Context()
	found := s.provider.current()
	if found == nil {
		if found, err = s.provider.discover(ctx, discoveryFresh); err != nil {
			return login{}, accounts.Identity{}, providerAway("provider unavailable", err)
		}
	}
	// RFC 9207: before anything else of the answer is believed, it must be this provider's.
	if query.Has("iss") && query.Get("iss") != s.provider.issuer || found.sendsIss && !query.Has("iss") {
		return login{}, accounts.Identity{}, badToken("answer of another issuer", nil)
	}
	if query.Has("error") {
		return login{}, accounts.Identity{}, providerRefused(query.Get("error"))
	}
	code := query.Get("code")
	if code == "" || len(code) > maxCode {
		return login{}, accounts.Identity{}, notOurs("no code", nil)
	}
	id, err := s.provider.exchange(ctx, found, code, l.verifier, l.nonce)
	return l, id, err
}

// takeLogin finds and forgets the sign-in that state belongs to.
func (s *Server) takeLogin(c echo.Context, state string) (login, error) {
	if !isState(state) {
		return login{}, notOurs("no state", nil)
	}
	cookie, err := c.Cookie(s.loginCookie(state))
	if err != nil {
		return login{}, notOurs("unknown state", nil)
	}
	s.dropCookie(c, cookie.Name)
	l, ok := decodeLogin(cookie.Value)
	if !ok || !sameText(l.state, state) {
		return login{}, notOurs("state mismatch", nil)
	}
	return l, nil
}

func notOurs(cause string, err error) *signInError {
	return &signInError{cause: cause, status: http.StatusBadRequest, err: err,
		words: "This sign-in was not begun in this browser, was used already, or took more than ten minutes. Begin again."}
}

// providerRefused is an error answer of the authorization endpoint (RFC 6749, section 4.1.2.1). Its
// description is not shown: anybody can put words into an address.
func providerRefused(code string) *signInError {
	e := &signInError{cause: "provider answered with an error", status: http.StatusForbidden, err: fmt.Errorf("error %q", cut(code, 60))}
	switch code {
	case "access_denied":
		e.words = "The identity provider did not let you in, or you cancelled there (access_denied)."
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		e.words = "The identity provider wants you to sign in there first (" + code + "). Begin again."
	case "temporarily_unavailable", "server_error":
		e.status = http.StatusServiceUnavailable
		e.words = "The identity provider cannot sign anybody in right now (" + code + "). Try again in a moment."
	default:
		e.words = "The identity provider refused the sign-in with the code " + printable(cut(code, 60)) + ". Tell an administrator of this console."
	}
	return e
}

// printable replaces what is not plain ASCII; templates escape the rest.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// showSignInFailed records the failure and shows the sign-in page with its words.
func (s *Server) showSignInFailed(c echo.Context, failed *signInError) error {
	noteError(c, failed)
	s.accounts.SignInFailed(context.WithoutCancel(c.Request().Context()), s.visitor(c), failed.cause)
	view := templates.SignInView{Message: failed.words, Href: pathLogin + "?go=1"}
	if failed.again != "" {
		view.Href = failed.again
	}
	switch failed.status {
	case http.StatusServiceUnavailable:
		view.ProviderDown = true
		c.Response().Header().Set("Retry-After", "5")
	case http.StatusTooManyRequests:
		c.Response().Header().Set("Retry-After", "60")
	}
	return s.showSignIn(c, failed.status, view)
}

func (s *Server) showSignIn(c echo.Context, status int, v templates.SignInView) error {
	v.Page = s.page(c, "Sign in", "sign-in", "")
	v.Provider = providerHost(s.provider.issuer)
	if v.Message == whyWords[whyBlocked] {
		v.Contact = s.opts.Contact
	}
	if status != http.StatusOK {
		v.RequestID = requestID(c)
	}
	return s.render(c, status, templates.SignIn(v))
}

func providerHost(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return issuer
	}
	return u.Host
}

// handleLogout handles POST /logout: the session ends here first, then at the provider when it has
// a logout of its own (OpenID Connect RP-Initiated Logout 1.0).
func (s *Server) handleLogout(c echo.Context) error {
	idToken, err := s.accounts.SignOut(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("sign out: %w", err) // the cookie stays: so does the session
	}
	s.dropCookie(c, s.cookies.session)
	// The message waits in a cookie: the address to come back to is registered at the provider as
	// it stands, without a query.
	s.setCookie(c, s.cookies.flash, encodeFlash(signedOut), flashAge)
	target := s.logoutAddress(idToken)
	if actorFrom(c).Issuer == accounts.InternalIssuer {
		target = pathLogin // the provider knows nothing of a break-glass session
	}
	if isHX(c) {
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusOK)
	}
	return c.Redirect(http.StatusSeeOther, target)
}

// maxHint is how long an ID token may be to travel in an address; servers commonly refuse 8 KiB.
const maxHint = 6000

// logoutAddress is where the browser goes after its session ended here.
func (s *Server) logoutAddress(idToken string) string {
	found := s.provider.current()
	if found == nil || found.endSession == "" {
		return pathLogin
	}
	u, err := url.Parse(found.endSession)
	if err != nil {
		return pathLogin
	}
	query := u.Query()
	query.Set("client_id", s.provider.clientID)
	query.Set("post_logout_redirect_uri", s.base.at(pathLogin))
	if idToken != "" && len(idToken) <= maxHint {
		query.Set("id_token_hint", idToken)
	}
	u.RawQuery = query.Encode()
	return u.String()
}
