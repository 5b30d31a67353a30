package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

// cookieNames are the names of our cookies. Under https they carry the __Host- prefix, which no
// other host and no plain-http page can set. On loopback http that prefix does not exist; there the
// port is in the name, because browsers share cookies between ports and two consoles must not sign
// each other out.
type cookieNames struct {
	session string
	flash   string
	typed   string // what was typed into a form before a fresh sign-in
	login   string // followed by the start of the state
	secure  bool
}

func newCookieNames(b baseURL) cookieNames {
	if b.secure {
		return cookieNames{session: "__Host-qm_session", flash: "__Host-qm_flash", typed: "__Host-qm_typed", login: "__Host-qm_login_", secure: true}
	}
	return cookieNames{session: "qm_session_" + b.port, flash: "qm_flash_" + b.port, typed: "qm_typed_" + b.port, login: "qm_login_" + b.port + "_"}
}

func (s *Server) setCookie(c echo.Context, name, value string, age time.Duration) {
	http.SetCookie(c.Response(), &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: max(int(age/time.Second), 1),
		Secure: s.cookies.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (s *Server) dropCookie(c echo.Context, name string) {
	http.SetCookie(c.Response(), &http.Cookie{
		Name: name, Path: "/", MaxAge: -1, Secure: s.cookies.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// actorFrom returns who is signed in. Only handlers behind a session may call it; elsewhere it
// panics, because an act must never be done by nobody.
func actorFrom(c echo.Context) audit.Actor { return c.Get(keyActor).(audit.Actor) }

// sessionFrom returns the session of the request, under the same condition as actorFrom.
func sessionFrom(c echo.Context) accounts.Session { return c.Get(keySession).(accounts.Session) }

// optionalSession returns the session of the request when there is one.
func optionalSession(c echo.Context) (accounts.Session, bool) {
	session, ok := c.Get(keySession).(accounts.Session)
	return session, ok
}

// optionalActor returns who is signed in, when somebody is.
func optionalActor(c echo.Context) (audit.Actor, bool) {
	by, ok := c.Get(keyActor).(audit.Actor)
	return by, ok
}

// visitor is the actor before anybody is known: what the connection tells.
func (s *Server) visitor(c echo.Context) audit.Actor {
	return audit.Actor{
		Via:       audit.ViaBrowser,
		IP:        c.RealIP(),
		UserAgent: cut(c.Request().UserAgent(), 512),
		RequestID: requestID(c),
	}
}

// maxSessionToken is more than a token of ours has; longer ones are not worth a query.
const maxSessionToken = 256

// authenticate finds the session of the request's cookie and keeps it for the handler.
func (s *Server) authenticate(ctx context.Context, c echo.Context) error {
	cookie, err := c.Cookie(s.cookies.session)
	if err != nil || cookie.Value == "" || len(cookie.Value) > maxSessionToken {
		return accounts.ErrNoSession
	}
	find := s.accounts.Authenticate
	if isBackground(c) || c.Path() == pathLive {
		find = s.accounts.AuthenticateQuietly
	}
	session, actor, err := find(ctx, s.visitor(c), cookie.Value)
	if err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	c.Set(keySession, session)
	c.Set(keyActor, actor)
	return nil
}

// headerBackground marks what a page asks by itself while nobody need be there. Sending it gains
// nothing: the request is answered as any other, and only counts less.
const headerBackground = "X-Quartermaster-Background"

// isBackground reports whether a page asked by itself to be refreshed.
func isBackground(c echo.Context) bool {
	r := c.Request()
	return !isUnsafe(r.Method) && isHX(c) && r.Header.Get(headerBackground) != ""
}

// guard is around every handler. Only a row marked Public is reached without a session.
func (s *Server) guard(r route) echo.HandlerFunc {
	if r.Public {
		return r.Handler
	}
	return func(c echo.Context) error {
		if r.Compressed {
			c.Set(keyCompressed, true)
		}
		err := s.authenticate(c.Request().Context(), c)
		if errors.Is(err, accounts.ErrNoSession) {
			return s.askToSignIn(c)
		}
		if err != nil {
			return err // Postgres is gone, perhaps: that is no reason to sign anybody out
		}
		if !r.AnyMember && s.accounts.Enter(c.Request().Context(), actorFrom(c), asked(r)) != nil {
			return s.showNoRights(c)
		}
		return r.Handler(c)
	}
}

// askToSignIn sends a browser to sign in and back to the page it wanted. A form that was sent
// without a session is not sent again afterwards; the sign-in page says so. htmx would follow a
// redirect inside the page, so it is told to leave the page instead. A page that refreshes itself
// stays, with a note: sending it to the provider could sign in somebody who has left.
func (s *Server) askToSignIn(c echo.Context) error {
	r := c.Request()
	if _, err := r.Cookie(s.cookies.session); err == nil {
		s.dropCookie(c, s.cookies.session)
	}
	if isBackground(c) {
		h := c.Response().Header()
		h.Set("HX-Retarget", "#notice")
		h.Set("HX-Reswap", "innerHTML")
		return s.render(c, http.StatusUnauthorized, templates.SessionEnded(signInPath(s.currentPage(r))))
	}
	if isHX(c) {
		c.Response().Header().Set("HX-Redirect", signInPath(s.currentPage(r)))
		return c.NoContent(http.StatusUnauthorized)
	}
	if isUnsafe(r.Method) {
		if r.URL.Path == pathLogout {
			return c.Redirect(http.StatusSeeOther, pathLogin+"?why="+whySignedOut)
		}
		return c.Redirect(http.StatusSeeOther, pathLogin+"?why="+whyEnded)
	}
	return c.Redirect(http.StatusSeeOther, signInPath(r.URL.RequestURI()))
}

// currentPage is the page that an htmx request was made from, as far as it is one of ours.
func (s *Server) currentPage(r *http.Request) string {
	u, err := url.Parse(r.Header.Get("HX-Current-URL"))
	if err != nil || u.Scheme+"://"+u.Host != s.base.origin {
		return pathHome
	}
	return u.RequestURI()
}

// signInPath leads through the provider and back to a page of ours.
func signInPath(returnTo string) string {
	if !isLocalPath(returnTo) {
		returnTo = pathHome
	}
	return pathLogin + "?return_to=" + url.QueryEscape(returnTo)
}

// showNoRights answers every page of a member who holds nothing: what gives access, why nothing of that does, and
// whom to ask. They may have held something a moment ago.
func (s *Server) showNoRights(c echo.Context) error {
	if wantsPart(c) || isBackground(c) {
		return &problem{status: http.StatusForbidden, heading: "Your right here was taken back or has ended",
			detail: "What this page shows is the last that was heard, and nothing on it can be done any more. Reload it to see what gives access, and whom to ask."}
	}
	session, again := sessionFrom(c), pathHome
	if r := c.Request(); !isUnsafe(r.Method) && isLocalPath(r.URL.RequestURI()) {
		again = r.URL.RequestURI()
	}
	return s.render(c, http.StatusForbidden, templates.NoRights(templates.NoRightsView{
		Again:      again,
		Page:       s.page(c, "No access yet", "no-rights", ""),
		Claims:     sortedPairs(session.Claims),
		GroupClaim: s.opts.GroupsClaim,
		MoreClaims: session.Reading.ClaimsLeftOut,
		Problems:   session.Reading.Problems(),
		Mapping:    mappingOf(s.accounts.Explain(actorFrom(c)), nil),
		Contact:    s.opts.Contact,
	}))
}

func sortedPairs(m map[string]string) []templates.Pair {
	pairs := make([]templates.Pair, 0, len(m))
	for name, value := range m {
		pairs = append(pairs, templates.Pair{Name: name, Value: value})
	}
	slices.SortFunc(pairs, func(a, b templates.Pair) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return pairs
}
