package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
	"time"
)

// TestConnectionsEndWhileDraining: each answer ends its connection, over HTTP/1.1 and HTTP/2, and
// everything but readiness goes on.
func TestConnectionsEndWhileDraining(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			c := &console{}
			server := httptest.NewUnstartedServer(c.letGo(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Proto)
			})))
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			get := func(path string) (status int, proto string, reused bool) {
				t.Helper()
				trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
				request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, server.URL+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := server.Client().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = answer.Body.Close() }()
				body, err := io.ReadAll(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				return answer.StatusCode, string(body), reused
			}
			if _, proto, _ := get("/"); (proto == "HTTP/2.0") != http2 {
				t.Fatalf("it speaks %s", proto)
			}
			if _, _, reused := get("/"); !reused {
				t.Error("a connection ended before the drain")
			}
			c.draining.Store(true)
			if status, _, reused := get("/clusters"); status != http.StatusOK || !reused {
				t.Errorf("the first request of the drain: %d, on the connection that was open: %v", status, reused)
			}
			// What the connection's other end makes of it takes a moment over HTTP/2.
			waitUntil(t, "connections are new ones", func() bool {
				status, _, reused := get("/healthz")
				if status != http.StatusOK {
					t.Fatalf("/healthz: %d", status)
				}
				return !reused
			})
			if status, _, _ := get("/readyz"); status != http.StatusServiceUnavailable {
				t.Errorf("/readyz: %d", status)
			}
		})
	}
}

// TestNobodyIsWaitedForWhenServingFailed: the delay is for load balancers, and no reason to stay when
// nothing is served.
func TestNobodyIsWaitedForWhenServingFailed(t *testing.T) {
	c := &console{settings: Settings{DrainDelay: time.Hour}, logger: slog.New(slog.DiscardHandler)}
	broken := errors.New("the listener is gone")
	failed := make(chan error, 1)
	failed <- broken
	if err := c.leave(failed); !errors.Is(err, broken) {
		t.Errorf("leave: %v", err)
	}
}
