// Package cloudapi is the one client for both generations of the Qdrant Cloud API: the current REST
// gateway and the legacy pa/v1. It knows nothing of people, rights or Postgres.
//
// What it guarantees against an upstream that is slow, broken or hostile:
//
//   - Every call ends at its deadline, from waiting for its turn to the last byte of the body.
//   - An account that hangs or fails has its own calls wait or fail, and no other account's: each has its
//     own limit of calls a second, places for calls under way, and breaker.
//   - Nothing that mutates is sent twice, neither by this package nor by net/http below it. A GET is
//     tried at most three times.
//   - The key goes to the configured host and nowhere else: redirects are errors, and no address of
//     an answer is ever called. It is in no error, log line or metric, and is cut out of answers that
//     repeat it.
//   - Headers, bodies, counts and strings are bounded; compressed answers are refused, not expanded.
//   - What fails is an *Error with one of eight kinds, and words that are safe to show.
//
// Decoding is lenient about spelling, as the gateway may answer (absent, null, zero and "" alike, int64 as
// number or string, both name spellings, enums by name or number), and strict about shape: an answer
// that names no id, or another account than asked, is Malformed.
package cloudapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Addresses of the two generations, used where Config names none.
const (
	DefaultCurrentURL = "https://api.cloud.qdrant.io"
	DefaultPAURL      = "https://cloud.qdrant.io"
)

// Config is what a Client needs. The zero value works against Qdrant Cloud itself.
type Config struct {
	// CurrentURL and PAURL are scheme and host. A path /pa/v1 of PAURL is accepted and dropped.
	CurrentURL, PAURL *url.URL
	// AllowPlainHTTP permits http:// to a host that is not loopback. Keys then cross the network in
	// the clear: for a sandbox in another container only.
	AllowPlainHTTP bool
	// RootCAs are trusted instead of the system's when not nil.
	RootCAs *x509.CertPool
	// Proxy is used for every call when not nil. The environment's proxy variables are not read.
	Proxy *url.URL
	// Version is the program's, for the User-Agent, which upstream keeps in its own records.
	Version string
	// RPS is how many requests a second each budget may send, with a burst of as many; 0: no limit.
	RPS float64

	ReadTimeout  time.Duration // for a GET, all its attempts together; 0: 10 s
	WriteTimeout time.Duration // for everything else; 0: 30 s
	LogsTimeout  time.Duration // for a GET of logs, which are many and slow; 0: 20 s
	MaxBody      int64         // bytes of an answer; 0: 8 MiB

	// BreakAfter is how many calls of an account fail in a row before its calls rest; 0: 5. Failed means
	// not reached, broken off, too slow or 5xx; an answer of any other kind ends the row.
	BreakAfter int
	// Rest is how long they rest first; twice as long each time that it was in vain, up to a minute. 0: 5 s.
	Rest time.Duration

	Registerer prometheus.Registerer // nil: metrics are counted and not registered
	Logger     *slog.Logger          // nil: nothing is logged
	Tracer     trace.Tracer          // nil: nothing is traced
	Now        func() time.Time      // nil: time.Now
}

// Client is the one shared client for both generations. It is safe for concurrent use.
type Client struct {
	transport *http.Transport
	current   *url.URL
	legacy    *url.URL
	userAgent string

	readTimeout, writeTimeout, logsTimeout time.Duration
	maxBody                                int64

	gates   *gates
	metrics *metrics
	log     *slog.Logger
	tracer  trace.Tracer
	now     func() time.Time
	// jitter picks a pause of at most d before a GET is tried again.
	jitter func(d time.Duration) time.Duration
}

// New returns a Client. It fails on an address that the key must not be sent to, and where the
// registerer has the metrics already.
func New(cfg Config) (*Client, error) {
	current, err := baseURL(cfg.CurrentURL, DefaultCurrentURL, cfg.AllowPlainHTTP)
	if err != nil {
		return nil, fmt.Errorf("address of the Cloud API: %w", err)
	}
	legacy, err := baseURL(cfg.PAURL, DefaultPAURL, cfg.AllowPlainHTTP)
	if err != nil {
		return nil, fmt.Errorf("address of the legacy pa/v1 API: %w", err)
	}
	c := &Client{
		transport:    newTransport(cfg),
		current:      current,
		legacy:       legacy,
		userAgent:    "quartermaster/" + orString(token(cfg.Version, 64), "unknown"),
		readTimeout:  orDuration(cfg.ReadTimeout, 10*time.Second),
		writeTimeout: orDuration(cfg.WriteTimeout, 30*time.Second),
		logsTimeout:  orDuration(cfg.LogsTimeout, 20*time.Second),
		maxBody:      cfg.MaxBody,
		log:          cfg.Logger,
		tracer:       cfg.Tracer,
		now:          cfg.Now,
		jitter:       func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
	}
	if c.maxBody <= 0 {
		c.maxBody = 8 << 20
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.tracer == nil {
		c.tracer = noop.NewTracerProvider().Tracer("")
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.gates = newGates(cfg, c.now, rand.Float64)
	if c.metrics, err = newMetrics(cfg.Registerer, c.gates); err != nil {
		return nil, fmt.Errorf("registering upstream metrics: %w", err)
	}
	return c, nil
}

// Close closes idle connections. Calls under way end as they would have.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func newTransport(cfg Config) *http.Transport {
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// An expanded answer could not be bounded by what was received.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    32,
		MaxConnsPerHost:        256, // all accounts share two hosts: enough that hung calls starve nobody
		IdleConnTimeout:        90 * time.Second,
		HTTP2: &http.HTTP2Config{
			// One connection carries every account: find out soon that it is dead.
			SendPingTimeout:               15 * time.Second,
			PingTimeout:                   5 * time.Second,
			MaxReceiveBufferPerStream:     1 << 20,
			MaxReceiveBufferPerConnection: 64 << 20,
		},
	}
	if cfg.Proxy != nil {
		t.Proxy = http.ProxyURL(cfg.Proxy)
	}
	return t
}

// baseURL checks that u is nothing but a scheme and a host that a key may be sent to.
func baseURL(u *url.URL, fallback string, allowPlain bool) (*url.URL, error) {
	if u == nil {
		return url.Parse(fallback)
	}
	if path := strings.TrimSuffix(u.Path, "/"); path != "" && path != "/pa/v1" {
		return nil, fmt.Errorf("%s://%s has the path %q; give scheme and host only", u.Scheme, u.Host, path)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.Hostname() == "" {
		return nil, errors.New("give scheme and host only, as in " + fallback)
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !allowPlain && !isLoopback(u.Hostname()) {
			return nil, fmt.Errorf("http://%s would send keys in the clear; use https", u.Host)
		}
	default:
		return nil, fmt.Errorf("scheme %q; use https", u.Scheme)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Op is one operation of the Cloud API: the wire binding, and what upstream asks of the caller.
type Op struct {
	Name       string // RestartCluster; for pa/v1 the operationId, list_clusters; unique in its generation
	RPC        string // qdrant.cloud.cluster.v1.ClusterService/RestartCluster; pa/v1/list_clusters
	Generation Generation
	Method     string
	Path       string // with {placeholders} as in the specification
	// Permissions are upstream's; all are needed, or any one when AnyPermission is set. Empty: any
	// authenticated caller.
	Permissions   []string
	AnyPermission bool
	UserOnly      bool // a management key is refused
	Public        bool // no authentication at all
	Body          bool // takes a JSON body; without it every field is in the path or the query
	Mutates       bool
	Logs          bool // reads logs, and has their deadline
}

// Conn is one account's access to the API with one key, for one request of ours. It is safe for
// concurrent use.
type Conn struct {
	client *Client
	cfg    ConnConfig

	mu    sync.Mutex
	calls []Call
}

// ConnConfig names account and key.
type ConnConfig struct {
	Generation     Generation
	CloudAccountID string // empty only while a pasted key is being identified
	Key            Secret
	RequestID      string // travels in the User-Agent
	// Budget names the account's gate: limit of calls a second, calls under way, breaker. Our account
	// id, or empty for none.
	Budget string
	// Background is set where no person waits: its reads let people's calls go first.
	Background bool
	// Share lets a read have the answer of an equal one that is under way for the same account with the
	// same key, begun at most ReadTimeout before and after the account's last change by this client. For
	// what is shown; never for a read that an act is decided on.
	Share bool
	// Decoding, where it is set, is called before a listing of so many bytes is decoded, and what it returns
	// when that is done. Whoever reads many accounts at once decodes one after the other with it, and leaves processors to
	// others. The listing ends with its error.
	Decoding func(ctx context.Context, bytes int) (done func(), err error)
}

// Connect returns a Conn. It does not call upstream.
func (c *Client) Connect(cfg ConnConfig) *Conn { return &Conn{client: c, cfg: cfg} }

// Params fill a path's placeholders; the account id is filled in by Conn.
type Params map[string]string

// Answer is what upstream said.
type Answer struct {
	Status  int
	Body    []byte
	TraceID string
	Latency time.Duration // of the last attempt
}

// Call is one call that a Conn made, retries included in it. The body of its Answer is not kept.
type Call struct {
	Op Op
	Answer
	Err error
}

// maxCalls bounds what a long job's Conn remembers.
const maxCalls = 1000

// Calls returns the calls made so far, oldest first; of more than 1,000 the latest.
func (c *Conn) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Call(nil), c.calls...)
}

// decoding asks for the turn to decode a listing.
func (c *Conn) decoding(ctx context.Context, answer Answer) (done func(), failed error) {
	if c.cfg.Decoding == nil {
		return func() {}, nil
	}
	return c.cfg.Decoding(ctx, len(answer.Body))
}

func (c *Conn) remember(call Call) {
	call.Body = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) == maxCalls {
		c.calls = append(c.calls[:0], c.calls[1:]...)
	}
	c.calls = append(c.calls, call)
}

func orString(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func orDuration(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}
