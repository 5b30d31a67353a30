// Package web is the console's HTTP side: routes, sessions' cookies, the OpenID Connect protocol,
// forms and pages. It decides no rights and writes no events; every handler parses, makes one call
// of the domain and renders.
//
// What it guarantees against a browser, and against whoever sits between: a handler that is not
// in the list of public routes runs only with a session; a request that another site made changes
// nothing; a request for another host is refused; no answer is half a page; no error shows more
// than the words of one table and the request id; nothing a client sends becomes an address, a
// header or a log line unchecked.
package web

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
)

// Options is what a Server needs. Fields are required unless they say otherwise.
type Options struct {
	Accounts *accounts.Service

	// BaseURL is where browsers find the console: https, or http on loopback; scheme and host only.
	BaseURL *url.URL

	Issuer       string          // of the identity provider, exactly as its discovery document spells it
	ClientID     string          // ours, at the provider
	ClientSecret cloudapi.Secret // optional: without one the client is a public one
	Scopes       []string        // optional: openid, profile, email when empty; openid is added when missing
	GroupsClaim  string          // optional: groups when empty
	RootCAs      *x509.CertPool  // optional: the system's when nil

	// TrustedProxies are the peers whose X-Forwarded-For is believed. Optional: with none the
	// client's address is the peer's.
	TrustedProxies []netip.Prefix

	Contact    []string             // whom members without rights are told to ask; optional
	Dev        bool                 // pages carry the banner of dev; 127.0.0.1 is redirected to the base URL
	Version    string               // of the program; optional
	Logger     *slog.Logger         // optional: slog.Default when nil
	Registry   *prometheus.Registry // optional: a fresh one when nil
	Tracer     trace.Tracer         // optional: nothing is traced when nil
	Now        func() time.Time     // optional: time.Now when nil
	SessionMax time.Duration        // lifetime of the session cookie; optional: 12 h when zero
}

// Limits of every request.
const (
	maxURL      = 8 << 10 // bytes of the request target
	maxBody     = 1 << 20 // bytes
	maxHeaders  = 32 << 10
	requestTime = 50 * time.Second // a handler's deadline, so that its error page is still written
	checkTime   = 30 * time.Second // of checking the whole log; shorter, so that the page can say so
	exportTime  = 15 * time.Minute // of sending an export of the log, in place of requestTime; rights that end meanwhile count from then on
	exportStall = 30 * time.Second // of sending one piece of it
	streamTime  = 15 * time.Minute // of a stream, in place of requestTime; the browser opens another, perhaps of another console
	streamStall = 10 * time.Second // of sending one piece of it
	streamBeat  = 15 * time.Second // at most this long a stream says nothing
)

// Server answers the console's requests. It is safe for concurrent use.
type Server struct {
	accounts *accounts.Service
	opts     Options
	base     baseURL
	cookies  cookieNames
	provider *provider
	log      *slog.Logger
	metrics  *metrics
	origins  *http.CrossOriginProtection
	signIns  signInRate
	echo     *echo.Echo
	now      func() time.Time
	newID    func() string

	compressors sync.Pool // of *compressor

	checking    sync.Mutex // held while the whole log is checked
	checkTime   time.Duration
	exportTime  time.Duration
	exportStall time.Duration
	streamTime  time.Duration
	streamBeat  time.Duration
}

// New checks the options and lays out the routes. It does not talk to the provider; Run does.
func New(o Options) (*Server, error) {
	if o.Accounts == nil {
		return nil, errors.New("web: Options.Accounts is required")
	}
	base, err := newBaseURL(o.BaseURL)
	if err != nil {
		return nil, err
	}
	o.setDefaults()
	p, err := newProvider(o, base)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, err
	}
	s := &Server{
		accounts: o.Accounts,
		opts:     o,
		base:     base,
		cookies:  newCookieNames(base),
		provider: p,
		log:      o.Logger,
		metrics:  m,
		origins:  http.NewCrossOriginProtection(),
		now:      o.Now,
		newID:    newRequestID,

		checkTime:   checkTime,
		exportTime:  exportTime,
		exportStall: exportStall,
		streamTime:  streamTime,
		streamBeat:  streamBeat,
	}
	if s.echo, err = s.newEcho(); err != nil {
		return nil, err
	}
	return s, nil
}

func (o *Options) setDefaults() {
	if o.GroupsClaim == "" {
		o.GroupsClaim = "groups"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SessionMax <= 0 {
		o.SessionMax = 12 * time.Hour
	}
}

// newRequestID makes our own id for a request; what a client or proxy sends is not looked at, so
// nobody can choose the id under which an act is recorded.
func newRequestID() string {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.NewString()
	}
	return id.String()
}

// Handler returns the console's handler.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Routes match the path as it was spelt: an escaped slash is no separator, and what a
		// placeholder holds is escaped always, not only when the path needed it.
		address := *r.URL
		address.RawPath = address.EscapedPath()
		request := *r
		request.URL = &address
		s.echo.ServeHTTP(w, &request)
	})
}

// MetricsHandler returns the handler of the metrics address. It asks nobody who they are: keep
// the address private.
func (s *Server) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}

// HTTPServer returns a server for addr with every limit set. TLS and listeners are the caller's.
func (s *Server) HTTPServer(addr string) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          s.errorLog(),
	}
}

// MetricsServer returns the server of the metrics address, with every limit set. The listener is the
// caller's.
func (s *Server) MetricsServer() *http.Server {
	return &http.Server{
		Handler:           s.MetricsHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          s.errorLog(),
	}
}

// Run finds the identity provider, retrying with growing pauses, and keeps what it found current
// until ctx ends. The console answers without it: sign-in pages say that the provider is missing.
func (s *Server) Run(ctx context.Context) error {
	s.provider.keepCurrent(ctx)
	return nil
}

func (s *Server) newEcho() (*echo.Echo, error) {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.Logger.SetOutput(discard{})
	e.HTTPErrorHandler = s.handleError
	e.IPExtractor = s.clientAddress
	e.Use(s.observe, s.setHeaders, s.boundRequest, s.checkHost, s.checkPath, s.checkOrigin)
	seen := map[string]bool{}
	for _, r := range s.routes() {
		if r.Handler == nil || seen[r.Method+" "+r.Path] {
			return nil, fmt.Errorf("web: route %s %s has no handler or is there twice", r.Method, r.Path)
		}
		seen[r.Method+" "+r.Path] = true
		e.Add(r.Method, r.Path, s.guard(r))
		if r.Method == http.MethodGet {
			e.Add(http.MethodHead, r.Path, s.guard(r))
		}
	}
	return e, nil
}

// discard swallows what echo logs on its own: it only repeats what the access log says.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
