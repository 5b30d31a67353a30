package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the console's own numbers. Labels come from fixed sets: route patterns, methods,
// statuses.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_http_requests_total",
			Help: "HTTP requests answered, by route pattern, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "qm_http_request_seconds",
			Help: "Time from the first byte of a request's handling to the end of its answer, by route pattern.",
		}, []string{"route"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("web: registering metrics: %w", err)
		}
	}
	return m, nil
}

// Keys of what a request's context of echo carries.
const (
	keyRequestID = "request id"
	keySession   = "session"
	keyActor     = "actor"
	keyError     = "error"
	keyStack     = "stack"

	keyCompressed = "compressed"
	keyTyped      = "typed"
)

// requestID returns the id that observe gave the request.
func requestID(c echo.Context) string {
	id, _ := c.Get(keyRequestID).(string)
	return id
}

// noteError keeps the cause of an answer for the request's one log line.
func noteError(c echo.Context, err error) { c.Set(keyError, err) }

// observe gives the request its id, turns errors and panics into pages, and afterwards writes the
// one log line and the metrics. It is the outermost part, so nothing goes unseen. A download
// that fails under way is cut off, so that nobody takes a part for the whole.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := s.now()
		c.Set(keyRequestID, s.newID())
		c.Response().Header().Set("X-Request-Id", requestID(c))
		ctx, cancel := context.WithTimeout(c.Request().Context(), s.timeOf(c))
		defer cancel() // after the error page, which asks who is signed in
		ctx, span := s.startSpan(ctx, c)
		defer span.End()
		if awaited(c) {
			defer s.accounts.Answering()()
		}
		c.SetRequest(c.Request().WithContext(ctx))
		cutOff := false
		if err := s.runRecovered(next, c); err != nil {
			cutOff = c.Response().Committed && errors.Is(err, errBrokeOff)
			s.handleError(err, c)
		}
		s.report(c, s.now().Sub(start))
		endedSpan(span, c.Response().Status)
		if cutOff {
			panic(http.ErrAbortHandler) // net/http's way to end an answer without its end
		}
		return nil
	}
}

// awaited reports whether somebody waits for the end of the answer, as for a page: not those that go on and on.
func awaited(c echo.Context) bool {
	return c.Path() != pathLive && c.Path() != pathAuditExport
}

// timeOf is how long the request may be handled.
func (s *Server) timeOf(c echo.Context) time.Duration {
	switch c.Path() {
	case pathAuditExport:
		return s.exportTime
	case pathLive:
		return s.streamTime + streamStall
	}
	return requestTime
}

// panicError is a panic of a handler.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (s *Server) runRecovered(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		if cause, ok := value.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
			panic(value) // net/http's own way to cut a connection
		}
		c.Set(keyStack, string(debug.Stack()))
		err = &panicError{value}
	}()
	return next(c)
}

// report writes the request's log line: the route's pattern, never the raw address, whose path and
// query may hold what a member searched for.
func (s *Server) report(c echo.Context, took time.Duration) {
	route, method, status := routePattern(c), methodLabel(c.Request().Method), c.Response().Status
	s.metrics.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	if route != pathLive { // how long a page stayed open says nothing of how fast the console answers
		s.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
	}

	attrs := []slog.Attr{
		slog.String("request_id", requestID(c)),
		slog.String("method", method),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Int64("bytes", c.Response().Size),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("ip", c.RealIP()),
	}
	if session, ok := optionalSession(c); ok {
		attrs = append(attrs, slog.String("subject", session.Subject))
	}
	if err, ok := c.Get(keyError).(error); ok {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if stack, ok := c.Get(keyStack).(string); ok {
		attrs = append(attrs, slog.String("stack", stack))
	}
	s.log.LogAttrs(c.Request().Context(), logLevel(route, status), "request", attrs...)
}

func logLevel(route string, status int) slog.Level {
	switch {
	case status >= 500:
		return slog.LevelError
	case route == pathHealth || route == pathReady || route == pathStatic:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// routePattern is the pattern of the table that matched, or one word for everything else.
func routePattern(c echo.Context) string {
	if p := c.Path(); p != "" {
		return p
	}
	return "unmatched"
}

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// boundRequest bounds address and body of a request.
func (s *Server) boundRequest(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if len(r.RequestURI) > maxURL {
			return echo.NewHTTPError(http.StatusRequestURITooLong)
		}
		if r.ContentLength > maxBody {
			return echo.NewHTTPError(http.StatusRequestEntityTooLarge)
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		return next(c)
	}
}

// errCrossOrigin is a change that another site asked for.
var errCrossOrigin = errors.New("cross-origin request")

// checkOrigin refuses changes that a page of another origin asked for. The check is the standard
// library's (Sec-Fetch-Site, else Origin against Host); an Origin that is sent must also name our
// scheme, which the library does not know.
func (s *Server) checkOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if err := s.origins.Check(r); err != nil {
			return fmt.Errorf("%w: %w", errCrossOrigin, err)
		}
		origin := strings.ToLower(r.Header.Get("Origin"))
		if isUnsafe(r.Method) && origin != "" && origin != s.base.origin {
			return fmt.Errorf("%w: origin %q", errCrossOrigin, cut(origin, 100))
		}
		return next(c)
	}
}

func isUnsafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// isHX reports whether htmx made the request.
func isHX(c echo.Context) bool { return c.Request().Header.Get("HX-Request") == "true" }

// wantsPart reports whether htmx will swap the answer into a part of a page. A boosted link swaps
// the whole body instead.
func wantsPart(c echo.Context) bool {
	return isHX(c) && c.Request().Header.Get("HX-Boosted") != "true"
}
