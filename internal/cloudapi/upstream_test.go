package cloudapi

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The key that must never be seen again, and the part of it that is secret.
const (
	canarySecret = "CANARYcanaryCANARYcanaryCANARYcanaryCANARY00"
	canaryKey    = "0b2a4f7c-3f1a-4a55-9d8e-2f0f7a3c1d10|" + canarySecret
)

const (
	accountID = "7c9d2f4e-8a31-4b7e-9c55-1d2e3f4a5b6c"
	clusterID = "3e1f0a9b-5c7d-4e2f-8b6a-0c1d2e3f4a5b"
)

// testUpstream is a Client with the upstream it talks to, and everything that it lets out.
type testUpstream struct {
	t        *testing.T
	client   *Client
	server   *httptest.Server
	registry *prometheus.Registry
	logs     *lockedBuffer

	mu       sync.Mutex
	requests []*http.Request // what arrived
	bodies   []string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newUpstream starts handler as both generations. Pauses between attempts are a millisecond.
func newUpstream(t *testing.T, handler http.HandlerFunc, adjust ...func(*Config)) *testUpstream {
	t.Helper()
	u := &testUpstream{t: t, registry: prometheus.NewRegistry(), logs: &lockedBuffer{}}
	u.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.requests = append(u.requests, r)
		u.bodies = append(u.bodies, string(body))
		u.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(u.server.Close)
	u.connectTo(u.server.URL, nil, adjust...)
	return u
}

func (u *testUpstream) connectTo(address string, roots *x509.CertPool, adjust ...func(*Config)) {
	u.t.Helper()
	base, err := url.Parse(address)
	if err != nil {
		u.t.Fatal(err)
	}
	cfg := Config{
		CurrentURL: base, PAURL: base, RootCAs: roots, Version: "1.2.3",
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, BreakAfter: 1000,
		Registerer: u.registry, Logger: slog.New(slog.NewTextHandler(u.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, a := range adjust {
		a(&cfg)
	}
	if u.client, err = New(cfg); err != nil {
		u.t.Fatal(err)
	}
	u.client.jitter = func(time.Duration) time.Duration { return time.Millisecond }
	u.t.Cleanup(u.client.Close)
	u.t.Cleanup(u.assertNoCanary)
}

func (u *testUpstream) conn(generation Generation) *Conn {
	return u.client.Connect(ConnConfig{Generation: generation, CloudAccountID: accountID,
		Key: NewSecret([]byte(canaryKey)), RequestID: "req-1", Budget: "account-1"})
}

func (u *testUpstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

func (u *testUpstream) request(i int) (*http.Request, string) {
	u.t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if i >= len(u.requests) {
		u.t.Fatalf("%d requests arrived, want at least %d", len(u.requests), i+1)
	}
	return u.requests[i], u.bodies[i]
}

// assertNoCanary looks for the key in all that the client let out by itself.
func (u *testUpstream) assertNoCanary() {
	assertClean(u.t, "log", u.logs.String())
	families, err := u.registry.Gather()
	if err != nil {
		u.t.Error(err)
	}
	assertClean(u.t, "metrics", fmt.Sprint(families))
}

// counted returns qm_upstream_requests_total by its labels' values: generation, kind, op.
func (u *testUpstream) counted() map[string]float64 {
	u.t.Helper()
	families, err := u.registry.Gather()
	if err != nil {
		u.t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "qm_upstream_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			counts[strings.Join(labels, " ")] = metric.GetCounter().GetValue()
		}
	}
	return counts
}

// timed returns how many requests qm_upstream_request_seconds holds.
func (u *testUpstream) timed() (n uint64) {
	u.t.Helper()
	families, err := u.registry.Gather()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "qm_upstream_request_seconds" {
			for _, metric := range family.GetMetric() {
				n += metric.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

func assertClean(t *testing.T, where, text string) {
	t.Helper()
	if strings.Contains(text, canarySecret[:6]) { // part of it is too much already
		t.Errorf("%s holds the key: %s", where, text)
	}
}

// failed returns the *Error in err, after looking at everything in it that could be shown.
func failed(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := AsError(err)
	if !ok {
		t.Fatalf("error is %T %v, want *Error", err, err)
	}
	for unwrapped := err; unwrapped != nil; unwrapped = errors.Unwrap(unwrapped) {
		assertClean(t, "error", fmt.Sprintf("%v %+v %#v", unwrapped, unwrapped, unwrapped))
		if len(unwrapped.Error()) > 4096 {
			t.Errorf("error of %d bytes", len(unwrapped.Error()))
		}
	}
	assertClean(t, "public words", e.Public())
	return e
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, status, body) }
}

// call is one call of each kind: a read, and mutations with every method and with and without body.
type namedCall struct {
	name string
	op   Op
	do   func(ctx context.Context, u *testUpstream) error
}

var everyMutation = []namedCall{
	{"POST without body", OpRestartCluster, func(ctx context.Context, u *testUpstream) error {
		return NewCurrentAPI(u.conn(Current)).RestartCluster(ctx, clusterID)
	}},
	{"DELETE", OpDeleteCluster, func(ctx context.Context, u *testUpstream) error {
		return NewCurrentAPI(u.conn(Current)).DeleteCluster(ctx, clusterID, true)
	}},
	{"DELETE pa/v1", OpPADeleteCluster, func(ctx context.Context, u *testUpstream) error {
		return NewLegacyAPI(u.conn(PAV1)).DeleteCluster(ctx, clusterID, false)
	}},
	{"POST", OpCreateCluster, func(ctx context.Context, u *testUpstream) error {
		_, err := u.conn(Current).Do(ctx, OpCreateCluster, nil, nil, map[string]any{"cluster": map[string]any{"name": "new"}})
		return err
	}},
	{"PUT", OpUpdateCluster, func(ctx context.Context, u *testUpstream) error {
		_, err := u.conn(Current).Do(ctx, OpUpdateCluster, Params{"cluster.id": clusterID}, nil, map[string]any{"cluster": map[string]any{}})
		return err
	}},
	{"PATCH", OpPAUpdateCluster, func(ctx context.Context, u *testUpstream) error {
		_, err := u.conn(PAV1).Do(ctx, OpPAUpdateCluster, Params{"cluster_id": clusterID}, nil, map[string]any{"name": "new"})
		return err
	}},
}

var oneRead = namedCall{"GET", OpListClusters, func(ctx context.Context, u *testUpstream) error {
	_, err := NewCurrentAPI(u.conn(Current)).ListClusters(ctx, "")
	return err
}}

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
