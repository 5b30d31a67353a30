package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
)

// console is a Server under test with the provider it trusts and a clock that stands still.
type console struct {
	*Server
	t     *testing.T
	idp   *testProvider
	clock *clock
	logs  *lockedBuffer
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

const testBase = "https://console.example.test"

// newConsole returns a console without a database: enough for everything that happens before a
// session is looked up, and for sign-ins that fail.
func newConsole(t *testing.T, change ...func(*Options)) *console {
	t.Helper()
	return newConsoleOn(t, accounts.New(accounts.Config{}), change...)
}

func newConsoleOn(t *testing.T, service *accounts.Service, change ...func(*Options)) *console {
	t.Helper()
	c := &console{t: t, clock: &clock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}, logs: &lockedBuffer{}}
	c.idp = newTestProvider(t, c.clock.Now)
	base, err := url.Parse(testBase)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Accounts: service, BaseURL: base, Issuer: c.idp.URL, ClientID: testClientID,
		ClientSecret: cloudapi.NewSecret([]byte(testClientSecret)), Now: c.clock.Now,
		Logger: slog.New(slog.NewJSONHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o)
	}
	if c.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	c.streamTime = 20 * time.Millisecond // whoever asks for all addresses asks for the stream, too
	return c
}

// request builds a request for the console's own host.
func (c *console) request(method, target, body string) *http.Request {
	c.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = c.base.host
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (c *console) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(patient{w}, r)
	return w
}

// patient is a recorder that takes a deadline, as connections do; it never stalls.
type patient struct{ *httptest.ResponseRecorder }

func (patient) SetWriteDeadline(time.Time) error { return nil }
func (patient) SetReadDeadline(time.Time) error  { return nil }

func (c *console) get(target string) *httptest.ResponseRecorder {
	c.t.Helper()
	return c.serve(c.request(http.MethodGet, target, ""))
}

// browser keeps cookies between requests, as browsers do.
type browser struct {
	*console
	jar *cookiejar.Jar
	at  *url.URL
}

func (c *console) browser() *browser {
	c.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	at, err := url.Parse(c.base.origin)
	if err != nil {
		c.t.Fatal(err)
	}
	return &browser{console: c, jar: jar, at: at}
}

func (b *browser) send(r *http.Request) *httptest.ResponseRecorder {
	b.t.Helper()
	for _, cookie := range b.jar.Cookies(b.at) {
		r.AddCookie(cookie)
	}
	w := b.serve(r)
	b.jar.SetCookies(b.at, w.Result().Cookies())
	return w
}

func (b *browser) visit(target string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(b.request(http.MethodGet, target, ""))
}

func (b *browser) post(target, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.send(b.request(http.MethodPost, target, body))
}

func (b *browser) cookie(name string) string {
	for _, cookie := range b.jar.Cookies(b.at) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	return ""
}

// signIn goes through the provider, from the given address of ours to the callback's answer.
func (b *browser) signIn(from string) *httptest.ResponseRecorder {
	b.t.Helper()
	w := b.visit(from)
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), b.idp.URL) {
		b.t.Fatalf("GET %s answered %d to %q, not to the provider", from, w.Code, w.Header().Get("Location"))
	}
	return b.visit(pathCallback + "?" + b.idp.authorize(w.Header().Get("Location")).Encode())
}

// wantStatus fails the test when the answer's status is another.
func wantStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d; Location %q; body:\n%s", w.Code, status, w.Header().Get("Location"), cut(w.Body.String(), 2000))
	}
}
