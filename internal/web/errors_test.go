package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
)

func upstreamError(kind cloudapi.Kind) *cloudapi.Error {
	return &cloudapi.Error{Kind: kind, Op: cloudapi.Op{Name: "RestartCluster", Mutates: true}, Message: "upstream's <b>own</b> words"}
}

// TestErrorTable asks every row through the real handler, wrapped as handlers wrap errors.
func TestErrorTable(t *testing.T) {
	lost := upstreamError(cloudapi.Unavailable)
	lost.OutcomeUnknown = true
	slow := upstreamError(cloudapi.RateLimited)
	slow.RetryAfter = 90 * time.Second
	tests := []struct {
		name       string
		err        error
		status     int
		says       string
		retryAfter string
	}{
		{"not found", accounts.ErrNotFound, 404, "Not found", ""},
		{"forbidden", &accounts.ForbiddenError{Act: "cluster.delete", Missing: "delete:clusters"}, 403, "delete:clusters", ""},
		{"conflict", &accounts.ConflictError{Reason: "The cluster is being deleted"}, 409, "The cluster is being deleted.", ""},
		{"invalid", &accounts.InvalidError{Fields: map[string]string{"": "Choose one"}}, 422, "Choose one.", ""},
		{"choose", &accounts.ChooseAccountError{}, 422, "several accounts", ""},
		{"audit", accounts.ErrAuditUnavailable, 503, "audit log", ""},
		{"database", accounts.ErrUnavailable, 503, "database", "5"},
		{"rate", accounts.ErrRateLimited, 429, "Too many", "10"},
		{"cursor", accounts.ErrBadCursor, 400, "first page", ""},
		{"connect", &pgconn.ConnectError{}, 503, "database", "5"},
		{"shutdown", &pgconn.PgError{Code: "57P01"}, 503, "database", "5"},
		{"too many connections", &pgconn.PgError{Code: "53300"}, 503, "database", "5"},
		{"socket", &net.OpError{Op: "read", Err: errors.New("reset")}, 503, "database", "5"},
		{"other Postgres error", &pgconn.PgError{Code: "42601", Message: "canary"}, 500, "Something went wrong", ""},
		{"deadline", context.DeadlineExceeded, 503, "too long", ""},
		{"unsupported", &cloudapi.UnsupportedError{Op: "RestartCluster", Reason: "The legacy pa/v1 API has no restart."}, 409, "has no restart.", ""},
		{"key refused", upstreamError(cloudapi.Unauthenticated), 502, "does not accept", ""},
		{"key may not", upstreamError(cloudapi.Forbidden), 502, "may not do that", ""},
		{"gone upstream", upstreamError(cloudapi.NotFound), 404, "does not know it", ""},
		{"invalid upstream", upstreamError(cloudapi.Invalid), 422, "refused what was asked", ""},
		{"conflict upstream", upstreamError(cloudapi.Conflict), 409, "present state", ""},
		{"slow down", slow, 503, "Too many calls", "90"},
		{"nonsense", upstreamError(cloudapi.Malformed), 502, "makes no sense", ""},
		{"away", upstreamError(cloudapi.Unavailable), 503, "cannot be reached", "5"},
		{"answer lost", lost, 503, "may have been done", "5"},
		{"cross-origin", fmt.Errorf("%w: x", errCrossOrigin), 403, "another site", ""},
		{"echo", echo.NewHTTPError(http.StatusTeapot, "canary"), 418, "cannot be answered", ""},
		{"echo's own 500", echo.NewHTTPError(500, "canary"), 500, "Something went wrong", ""},
		{"unknown", errors.New("canary: password=hunter2"), 500, "Something went wrong", ""},
	}
	c := newConsole(t)
	for i, tt := range tests {
		c.echo.GET(fmt.Sprintf("/fails/%d", i), func(echo.Context) error {
			return fmt.Errorf("doing what a handler does: %w", tt.err)
		})
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := c.get(fmt.Sprintf("/fails/%d", i))
			wantStatus(t, w, tt.status)
			body := w.Body.String()
			if !strings.Contains(body, tt.says) {
				t.Errorf("the page does not say %q:\n%s", tt.says, body)
			}
			for _, never := range []string{"canary", "hunter2", "doing what a handler does", "<b>own</b>"} {
				if strings.Contains(body, never) {
					t.Errorf("the page says %q", never)
				}
			}
			if !strings.Contains(body, w.Header().Get("X-Request-Id")) {
				t.Error("the page does not carry the request id")
			}
			if got := w.Header().Get("Retry-After"); got != tt.retryAfter {
				t.Errorf("Retry-After %q, want %q", got, tt.retryAfter)
			}

			hx := c.request(http.MethodGet, fmt.Sprintf("/fails/%d", i), "")
			hx.Header.Set("HX-Request", "true")
			w = c.serve(hx)
			wantStatus(t, w, tt.status)
			if h := w.Header(); h.Get("HX-Retarget") != "#notice" || h.Get("HX-Reswap") != "innerHTML" || h.Get("HX-Reselect") != "[data-error]" {
				t.Errorf("htmx headers %v", h)
			}
			if part := w.Body.String(); strings.Contains(part, "<html") || !strings.HasPrefix(part, "<div data-error>") || !strings.Contains(part, tt.says) {
				t.Errorf("part:\n%s", part)
			}

			boosted := c.request(http.MethodGet, fmt.Sprintf("/fails/%d", i), "")
			boosted.Header.Set("HX-Request", "true")
			boosted.Header.Set("HX-Boosted", "true")
			if w := c.serve(boosted); w.Code != tt.status || w.Header().Get("HX-Retarget") != "" || !strings.Contains(w.Body.String(), "<html") {
				t.Errorf("boosted: %d %v", w.Code, w.Header())
			}
		})
	}
}

func TestNotFoundAndNotReadableAreTheSamePage(t *testing.T) {
	c := newConsole(t)
	c.newID = func() string { return "request-1" }
	c.echo.GET("/hidden", func(echo.Context) error { return fmt.Errorf("cluster: %w", accounts.ErrNotFound) })
	hidden, missing := c.get("/hidden"), c.get("/missing")
	if hidden.Code != missing.Code || hidden.Body.String() != missing.Body.String() {
		t.Errorf("%d and %d:\n%s\n%s", hidden.Code, missing.Code, hidden.Body, missing.Body)
	}
}

func TestErrorAfterTheAnswerChangesNothing(t *testing.T) {
	c := newConsole(t)
	c.echo.GET("/late", func(e echo.Context) error {
		if err := e.String(http.StatusOK, "done"); err != nil {
			return err
		}
		return errors.New("canary-late")
	})
	w := c.get("/late")
	if w.Code != http.StatusOK || w.Body.String() != "done" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if strings.Count(c.logs.String(), "canary-late") != 1 {
		t.Errorf("log:\n%s", c.logs)
	}
}

func TestClientGoneIsNoError(t *testing.T) {
	c := newConsole(t)
	c.echo.GET("/waits", func(e echo.Context) error { return fmt.Errorf("reading: %w", e.Request().Context().Err()) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.serve(c.request(http.MethodGet, "/waits", "").WithContext(ctx))
	if !strings.Contains(c.logs.String(), `"status":499`) || strings.Contains(c.logs.String(), "ERROR") {
		t.Errorf("log:\n%s", c.logs)
	}
}

func TestErrorPageSurvivesTheRequestsDeadline(t *testing.T) {
	c := newConsole(t)
	c.echo.GET("/late", func(e echo.Context) error { return fmt.Errorf("waiting: %w", e.Request().Context().Err()) })
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	w := c.serve(c.request(http.MethodGet, "/late", "").WithContext(ctx))
	wantStatus(t, w, http.StatusServiceUnavailable)
	if !strings.Contains(w.Body.String(), `id="error"`) {
		t.Errorf("not our page:\n%s", w.Body)
	}
}

func TestRetryIsOfferedForReadingOnly(t *testing.T) {
	c := newConsole(t)
	fail := func(echo.Context) error { return accounts.ErrUnavailable }
	c.echo.GET("/fails", fail)
	c.echo.POST("/fails", fail)
	if w := c.get("/fails?q=a&b=c"); !strings.Contains(w.Body.String(), `href="/fails?q=a&amp;b=c"`) {
		t.Errorf("no retry link:\n%s", w.Body)
	}
	if w := c.serve(c.request(http.MethodPost, "/fails", "a=b")); strings.Contains(w.Body.String(), `href="/fails`) {
		t.Errorf("a form can be repeated with a link:\n%s", w.Body)
	}
}
