package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// stepUpPath leads through a fresh sign-in at the provider and back to a page of ours.
func stepUpPath(returnTo string) string {
	return pathLogin + "?step_up=1&return_to=" + url.QueryEscape(returnTo)
}

// stepUp is what a page that asks before an act says of the fresh sign-in; nil when none is due.
func (s *Server) stepUp(c echo.Context, offer accounts.Offer) *templates.StepUp {
	if !offer.StepUp {
		return nil
	}
	session := sessionFrom(c)
	return &templates.StepUp{
		Href: stepUpPath(c.Request().URL.RequestURI()), After: templates.Span(s.accounts.StepUpAfter()),
		Since: session.AuthTime, Untold: session.AuthTime == nil || session.Prompted,
	}
}

// stepUpProblem is the answer to an act that was sent without the fresh sign-in it asks for.
func stepUpProblem(e *accounts.StepUpError) *problem {
	return &problem{status: http.StatusForbidden, heading: "This needs a fresh sign-in", stepUp: true,
		detail: "You may do this, but only within " + templates.Span(e.After) + " of signing in at your identity provider. Nothing was done. " +
			"Sign in again; you come back to the page you were on."}
}

// stepUpReturn is the page that a fresh sign-in leads back to: the one that was asked for, or the one with the
// form that was sent.
func (s *Server) stepUpReturn(c echo.Context) string {
	r := c.Request()
	switch {
	case isHX(c):
		return s.currentPage(r)
	case !isUnsafe(r.Method):
		return r.URL.RequestURI()
	}
	before, err := url.Parse(r.Referer())
	if err != nil || before.Scheme+"://"+before.Host != s.base.origin || !isReturnPath(before.RequestURI()) {
		before = nil
	}
	// A form for something new, or for what is changed, has a page of its own beside the one that shows what is sent to.
	if before != nil && (before.Path == r.URL.Path+"/new" || before.Path == r.URL.Path+"/edit") {
		return before.RequestURI()
	}
	if s.hasPage(c.Path()) && (before == nil || before.Path != r.URL.Path) {
		return r.URL.Path
	}
	if before == nil {
		return pathHome
	}
	return before.RequestURI()
}

// hasPage reports whether the pattern answers GET.
func (s *Server) hasPage(pattern string) bool {
	for _, r := range s.routes() {
		if r.Path == pattern && r.Method == http.MethodGet {
			return true
		}
	}
	return false
}

// Limits of what is kept of a form that was sent without a fresh sign-in.
const (
	typedAge = 10 * time.Minute
	maxTyped = 3500 // bytes of the cookie; browsers drop cookies above 4 KiB
)

// typed is what somebody typed into a form that was not taken for want of a fresh sign-in, kept in a cookie of
// their browser until the page with the form is opened again. Not in the address: anybody could write a link
// then that opens a form with the name of what it deletes typed in.
type typed struct {
	Path   string     `json:"p"`
	Values url.Values `json:"v"`
}

// typedOf takes from what was sent the fields that form knows, but no secret and no token.
func typedOf(values url.Values, form reflect.Value) url.Values {
	kept := url.Values{}
	for i := range form.NumField() {
		name := form.Type().Field(i).Tag.Get("form")
		_, secret := form.Field(i).Interface().(cloudapi.Secret)
		if name == "" || name == "form_token" || secret || len(values[name]) == 0 {
			continue
		}
		kept[name] = values[name]
	}
	return kept
}

// keepTyped keeps the form of the request for the page that the fresh sign-in leads back to. One that is too
// large is not kept.
func (s *Server) keepTyped(c echo.Context, returnTo string) {
	values, ok := c.Get(keyTyped).(url.Values)
	back, err := url.Parse(returnTo)
	if !ok || len(values) == 0 || err != nil {
		return
	}
	text, err := json.Marshal(typed{Path: back.Path, Values: values})
	if err != nil {
		return
	}
	if value := base64.RawURLEncoding.EncodeToString(text); len(value) <= maxTyped {
		s.setCookie(c, s.cookies.typed, value, typedAge)
	}
}

// takeTyped fills the form of a page with what was typed into it before the fresh sign-in, once.
func takeTyped[T any](s *Server, c echo.Context, form *T) {
	cookie, err := c.Cookie(s.cookies.typed)
	if err != nil || len(cookie.Value) > maxTyped {
		return
	}
	var t typed
	text, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || json.Unmarshal(text, &t) != nil || t.Path != c.Request().URL.Path {
		return
	}
	s.dropCookie(c, s.cookies.typed)
	filled := *form
	if bindValues(t.Values, reflect.ValueOf(&filled).Elem()) == nil {
		*form = filled
	}
}

// freshly checks the provider's answer to a request for a fresh sign-in. When the provider tells when the member
// signed in (auth_time, which OpenID Connect Core 1.0, section 3.1.2.1, requires in an answer to max_age), it must
// have been after it was asked. When it does not, it was asked by prompt=login too, and the time of its answer
// counts, which the nonce binds to this very request.
func (s *Server) freshly(c echo.Context, l login, id accounts.Identity) (accounts.Identity, error) {
	if id.AuthTime != nil {
		if id.AuthTime.Before(l.begun.Add(-clockSkew)) {
			return id, notFresh(l, "provider did not ask for a fresh sign-in",
				"The identity provider let you pass without asking you to sign in again: it says that you did so at "+id.AuthTime.UTC().Format("15:04:05 on 2006-01-02 (UTC)")+
					". So nothing has changed, and you are still signed in as before. Sign out at the identity provider, then try again; tell an administrator if it stays.")
		}
		return id, nil
	}
	told, err := s.accounts.TellsAuthTime(c.Request().Context(), id.Issuer)
	if err != nil {
		return id, err
	}
	if told {
		return id, notFresh(l, "no auth_time from a provider that sends it",
			"The identity provider did not say when you signed in (auth_time), as it does otherwise and has to when it is asked. So nothing has changed, and you are still signed in as before. Try again; tell an administrator if it stays.")
	}
	at := id.IssuedAt
	id.AuthTime, id.Prompted = &at, true
	return id, nil
}

// sameMember refuses a fresh sign-in that comes back as somebody else: the page it leads back to is another's. before
// is who the browser is signed in as; without a session it is an ordinary sign-in.
func sameMember(l login, before audit.Actor, id accounts.Identity) error {
	if before.Session == "" || before.Issuer == id.Issuer && before.Subject == id.Subject {
		return nil
	}
	return notFresh(l, "another member came back from a fresh sign-in",
		"You signed in at the identity provider as somebody else than you are signed in as here. So nothing has changed, and you are still signed in as before. To go on as the other, sign out first.")
}

func notFresh(l login, cause, words string) *signInError {
	return &signInError{cause: cause, status: http.StatusForbidden, words: words, again: stepUpPath(l.returnTo), err: errors.New("fresh sign-in refused")}
}

// Words for who has signed in again.
const (
	signedInAgain       = "You have signed in again."
	signedInAgainUntold = "You have signed in again. Your identity provider does not tell when people sign in there, so this console goes by when it answered."
)
