package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// problem is what is said of an error: a status and words for people. Words come from here and
// never from an error's own text, but for two: what the domain names as words for people, and in
// reason what upstream said, which the page shows as upstream's.
type problem struct {
	status     int
	heading    string // what happened
	detail     string // what to do
	reason     string
	retry      bool // the same address may answer later
	retryAfter time.Duration
	stepUp     bool // a fresh sign-in helps
	cause      error
}

func (p *problem) Error() string {
	if p.cause != nil {
		return fmt.Sprintf("%d: %v", p.status, p.cause)
	}
	return strconv.Itoa(p.status) + ": " + p.heading
}

func (p *problem) Unwrap() error { return p.cause }

// explain is the table from errors to answers. More particular errors stand first.
func explain(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if _, ok := errors.AsType[*panicError](err); ok {
		return internalProblem()
	}
	if p := explainDomain(err); p != nil {
		return p
	}
	if p := explainUpstream(err); p != nil {
		return p
	}
	if errors.Is(err, errCrossOrigin) {
		return &problem{status: http.StatusForbidden, heading: "This request came from another site",
			detail: "Nothing was done. Open the page in this console and send the form from there."}
	}
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		return explainHTTP(he.Code)
	}
	if isDatabaseDown(err) {
		return databaseProblem()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &problem{status: http.StatusServiceUnavailable, heading: "This took too long", retry: true,
			detail: "The console gave up waiting. What was asked for may still happen: look before you try again."}
	}
	return internalProblem()
}

// explainDomain says what the domain's errors mean.
func explainDomain(err error) *problem {
	if e, ok := errors.AsType[*accounts.ForbiddenError](err); ok {
		return &problem{status: http.StatusForbidden, heading: "You may not do this",
			detail: sentence(e.Reason) + fmt.Sprintf("It needs the right %s, which you do not hold here. Ask an administrator of this console.", e.Missing), cause: e}
	}
	if e, ok := errors.AsType[*accounts.StepUpError](err); ok {
		return stepUpProblem(e)
	}
	if e, ok := errors.AsType[*accounts.ConflictError](err); ok {
		return &problem{status: http.StatusConflict, heading: "Not possible right now",
			detail: sentence(e.Reason) + "Nothing was done. Go back and look at the present state."}
	}
	if _, ok := errors.AsType[*accounts.RoleChangedError](err); ok {
		return &problem{status: http.StatusConflict, heading: "Somebody changed the role meanwhile",
			detail: "Nothing was done. Open the role again and look at what it is like now."}
	}
	if e, ok := errors.AsType[*accounts.BeforeLogError](err); ok {
		return &problem{status: http.StatusUnprocessableEntity, heading: "That is before the log begins",
			detail: "The log of this console begins at " + utcWords(e.Begins) + ". Who could do what before that is not known. Go back and ask about a later time."}
	}
	if e, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return &problem{status: http.StatusUnprocessableEntity, heading: "Something in the form is not right",
			detail: sentence(e.Fields[""]) + "Nothing was done. Go back, correct the fields and send it again."}
	}
	if e, ok := errors.AsType[*accounts.UnusedKeyError](err); ok {
		return &problem{status: http.StatusConflict, heading: "A key was made, and is not used",
			detail: sentence(e.Reason) + "Qdrant Cloud made a management key that this console could not put into use. The account’s page shows the key in use, and the new one, to be deleted, as one whose secret nobody saw."}
	}
	if _, ok := errors.AsType[*accounts.ChooseAccountError](err); ok {
		return &problem{status: http.StatusUnprocessableEntity, heading: "The key opens several accounts",
			detail: "Nothing was stored. Go back and pick one of them."}
	}
	switch {
	case errors.Is(err, accounts.ErrNotFound):
		return notFoundProblem()
	case errors.Is(err, accounts.ErrAuditUnavailable):
		return &problem{status: http.StatusServiceUnavailable, heading: "The audit log cannot be written", retry: true,
			detail: "Without a record nothing is done here, so nothing was. Try again in a moment; tell an administrator if it stays."}
	case errors.Is(err, accounts.ErrUnavailable):
		return databaseProblem()
	case errors.Is(err, accounts.ErrRateLimited):
		return &problem{status: http.StatusTooManyRequests, heading: "Too many requests", retry: true, retryAfter: 10 * time.Second,
			detail: "Wait a moment, then try again."}
	case errors.Is(err, accounts.ErrBadCursor):
		return &problem{status: http.StatusBadRequest, heading: "This page of the list cannot be found",
			detail: "Its address is incomplete or belongs to another list. Start again from the first page."}
	}
	return nil
}

// explainUpstream says what the Cloud API's refusals mean. The console's own key was refused, not
// the member, so neither 401 nor 403 is passed on.
func explainUpstream(err error) *problem {
	if e, ok := errors.AsType[*cloudapi.UnsupportedError](err); ok {
		return &problem{status: http.StatusConflict, heading: "Not possible with this account's API", detail: sentence(e.Reason) + "Nothing was done."}
	}
	e, ok := cloudapi.AsError(err)
	if !ok {
		return nil
	}
	p := explainKind(e)
	p.reason, p.cause = e.Public(), err
	if e.OutcomeUnknown && e.Op.Mutates {
		p.detail = "The answer was lost, so it may have been done. Look at the present state before you try again."
		p.retry = false
	}
	return p
}

func explainKind(e *cloudapi.Error) *problem {
	if e.Resting {
		return &problem{status: http.StatusServiceUnavailable, heading: "Calls for this account rest", retry: true, retryAfter: max(e.RetryAfter, time.Second),
			detail: "Nothing was done, and no other account is affected. The lists still show what was last known."}
	}
	switch e.Kind {
	case cloudapi.Unauthenticated:
		return &problem{status: http.StatusBadGateway, heading: "Qdrant Cloud does not accept this account's key",
			detail: "The key may have been deleted there. The account's page shows its state and what to do."}
	case cloudapi.Forbidden:
		return &problem{status: http.StatusBadGateway, heading: "This account's key may not do that at Qdrant Cloud",
			detail: "Nothing was done. The account's page shows what its key may do."}
	case cloudapi.NotFound:
		return &problem{status: http.StatusNotFound, heading: "Qdrant Cloud does not know it any more",
			detail: "It was deleted there, perhaps by someone else. Go back to the list."}
	case cloudapi.Invalid:
		return &problem{status: http.StatusUnprocessableEntity, heading: "Qdrant Cloud refused what was asked",
			detail: "Nothing was done. Go back, correct it and send it again."}
	case cloudapi.Conflict:
		return &problem{status: http.StatusConflict, heading: "Not possible right now",
			detail: "Qdrant Cloud does not allow it in the present state. Go back and look at it."}
	case cloudapi.RateLimited:
		return &problem{status: http.StatusServiceUnavailable, heading: "Too many calls to Qdrant Cloud", retry: true,
			retryAfter: max(e.RetryAfter, 5*time.Second), detail: "Nothing was done. Wait a moment, then try again."}
	case cloudapi.Malformed:
		return &problem{status: http.StatusBadGateway, heading: "Qdrant Cloud gave an answer that makes no sense", retry: true,
			detail: "Try again in a moment. What this console knows of the account is still shown in the lists."}
	}
	return &problem{status: http.StatusServiceUnavailable, heading: "Qdrant Cloud cannot be reached", retry: true,
		retryAfter: max(e.RetryAfter, 5*time.Second),
		detail:     "Nothing else is affected. Try again in a moment; the lists still show what was last known."}
}

// sentence ends words of the domain so that ours can follow.
func sentence(words string) string {
	words = strings.TrimSpace(words)
	switch {
	case words == "":
		return ""
	case strings.HasSuffix(words, "."):
		return words + " "
	}
	return words + ". "
}

// explainHTTP says what the statuses mean that routing and form reading end with.
func explainHTTP(code int) *problem {
	switch code {
	case http.StatusNotFound:
		return notFoundProblem()
	case http.StatusMethodNotAllowed:
		return &problem{status: code, heading: "That cannot be done here", detail: "This address does not take requests of that kind."}
	case http.StatusRequestEntityTooLarge:
		return &problem{status: code, heading: "Too much was sent", detail: "A form may be 1 MiB at most. Nothing was done."}
	case http.StatusRequestURITooLong:
		return &problem{status: code, heading: "The address is too long", detail: "Addresses end at 8 KiB here. Use fewer filters."}
	case http.StatusUnsupportedMediaType:
		return &problem{status: code, heading: "Not a form", detail: "This address takes forms of a browser only. Nothing was done."}
	}
	if code >= 400 && code < 500 {
		return &problem{status: code, heading: "That request cannot be answered", detail: "Go back, reload the page and try again."}
	}
	return internalProblem()
}

// notFoundProblem is the same for what does not exist and for what one may not read.
func notFoundProblem() *problem {
	return &problem{status: http.StatusNotFound, heading: "Not found",
		detail: "There is nothing at this address, or you may not see it."}
}

func databaseProblem() *problem {
	return &problem{status: http.StatusServiceUnavailable, heading: "The console cannot reach its database", retry: true, retryAfter: 5 * time.Second,
		detail: "You are still signed in. Try again in a moment."}
}

func internalProblem() *problem {
	return &problem{status: http.StatusInternalServerError, heading: "Something went wrong in this console",
		detail: "It has been logged. Tell an administrator the request number below."}
}

// isDatabaseDown reports whether Postgres could not be reached or is going down. Classes are those
// of Postgres' appendix A: 08 connection, 53 resources, 57P01 to 57P05 shutdown and kin.
func isDatabaseDown(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "57P")
	}
	if pgconn.SafeToRetry(err) {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// handleError is the only place that turns an error into an answer. The cause goes to the
// request's log line.
func (s *Server) handleError(err error, c echo.Context) {
	noteError(c, err)
	if c.Response().Committed {
		return // the answer was under way; there is no second one
	}
	if errors.Is(err, context.Canceled) && c.Request().Context().Err() != nil {
		c.Response().Status = 499 // the client has gone; nginx's number, for the log only
		return
	}
	p := explain(err)
	h := c.Response().Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Disposition", "ETag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	s.writeProblem(c, p)
}

func (s *Server) writeProblem(c echo.Context, p *problem) {
	defer func() {
		if value := recover(); value != nil {
			noteError(c, errors.Join(c.Get(keyError).(error), &panicError{value}))
			s.writePlain(c, p)
		}
	}()
	s.softAuthenticate(c)
	body, err := s.problemBody(c, p)
	if err != nil {
		noteError(c, errors.Join(c.Get(keyError).(error), err))
		s.writePlain(c, p)
		return
	}
	if err := c.HTMLBlob(p.status, body); err != nil {
		noteError(c, errors.Join(c.Get(keyError).(error), err))
	}
}

// problemBody renders the page, or for htmx the part that goes into the page's notice.
func (s *Server) problemBody(c echo.Context, p *problem) ([]byte, error) {
	view := templates.ErrorView{
		Page:      s.page(c, p.heading, "error", ""),
		Status:    p.status,
		Heading:   p.heading,
		Detail:    p.detail,
		Reason:    p.reason,
		RequestID: requestID(c),
		RetryPath: retryPath(c, p),
		SignIn:    p.status == http.StatusUnauthorized,
	}
	if p.stepUp {
		returnTo := s.stepUpReturn(c)
		s.keepTyped(c, returnTo)
		view.StepUp = stepUpPath(returnTo)
	}
	if _, ok := errors.AsType[*accounts.ForbiddenError](p); ok { // refused on what they may read: there is a way back
		view.MyRights, view.Back = pathMe, wayBack(c)
	}
	if !wantsPart(c) && !isBackground(c) {
		view.Refusal = s.refusal(c, p)
		return renderBytes(c, templates.ErrorPage(view))
	}
	fragment, err := renderBytes(c, templates.ErrorFragment(view))
	if err != nil {
		return nil, err
	}
	h := c.Response().Header()
	h.Set("HX-Retarget", "#notice")
	h.Set("HX-Reswap", "innerHTML")
	// An hx-select of the element that asked would find nothing in here.
	h.Set("HX-Reselect", "[data-error]")
	return slices.Concat([]byte("<div data-error>"), fragment, []byte("</div>")), nil
}

// renderBytes renders although the request's time may be up: that may be what the page tells.
func renderBytes(c echo.Context, component templ.Component) ([]byte, error) {
	var buf bytes.Buffer
	if err := component.Render(context.WithoutCancel(c.Request().Context()), &buf); err != nil {
		return nil, fmt.Errorf("render error page: %w", err)
	}
	return buf.Bytes(), nil
}

// writePlain is for when not even the error page can be made.
func (s *Server) writePlain(c echo.Context, p *problem) {
	if c.Response().Committed {
		return
	}
	text := p.heading + ".\n" + p.detail + "\nRequest " + requestID(c) + "\n"
	if err := c.String(p.status, text); err != nil {
		noteError(c, errors.Join(c.Get(keyError).(error), err))
	}
}

// softTime bounds what an error page waits for its navigation.
const softTime = 2 * time.Second

// softAuthenticate finds out who is signed in where nobody had to be, so that an error page keeps
// its navigation. Failing changes nothing.
func (s *Server) softAuthenticate(c echo.Context) {
	if _, ok := optionalSession(c); ok || isDatabaseTrouble(c) {
		return
	}
	// Detached: what failed may be the request's time, and the page is still wanted whole.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), softTime)
	defer cancel()
	if err := s.authenticate(ctx, c); err != nil && !errors.Is(err, accounts.ErrNoSession) {
		noteError(c, errors.Join(c.Get(keyError).(error), err))
	}
}

// isDatabaseTrouble reports whether the error at hand says that asking the database is in vain.
func isDatabaseTrouble(c echo.Context) bool {
	err, ok := c.Get(keyError).(error)
	return ok && (errors.Is(err, accounts.ErrUnavailable) || isDatabaseDown(err))
}

// retryPath is where the same page may be had again: only for reading, and only when waiting helps.
func retryPath(c echo.Context, p *problem) string {
	r := c.Request()
	if !p.retry || isUnsafe(r.Method) || !isLocalPath(r.URL.RequestURI()) || r.URL.Path == pathCallback {
		return ""
	}
	return r.URL.RequestURI()
}
