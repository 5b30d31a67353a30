package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"
)

func TestHostCheck(t *testing.T) {
	c := newConsole(t)
	for host, want := range map[string]int{
		"console.example.test": 303, "CONSOLE.example.test": 303, "console.example.test:443": 303, "console.example.test.": 303,
		"evil.example": 421, "console.example.test.evil.example": 421, "console.example.test:8443": 421, "127.0.0.1": 421, "": 421, "localhost": 421,
	} {
		r := c.request(http.MethodGet, "/", "")
		r.Host = host
		w := c.serve(r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
		if strings.Contains(w.Header().Get("Location"), "evil") || strings.Contains(w.Body.String(), "evil") {
			t.Errorf("host %q is repeated: %s %s", host, w.Header().Get("Location"), w.Body)
		}
		for _, probe := range []string{"/healthz"} {
			r := c.request(http.MethodGet, probe, "")
			r.Host = host
			wantStatus(t, c.serve(r), http.StatusOK)
		}
	}
	forwarded := c.request(http.MethodGet, "/", "")
	forwarded.Host = "evil.example"
	forwarded.Header.Set("X-Forwarded-Host", "console.example.test")
	wantStatus(t, c.serve(forwarded), http.StatusMisdirectedRequest)
}

func TestDevSendsLoopbackSpellingsToTheBaseURL(t *testing.T) {
	c := newConsole(t, func(o *Options) {
		o.Dev = true
		o.BaseURL = &url.URL{Scheme: "http", Host: "localhost:8080"}
	})
	get := func(method, host, target string) *httptest.ResponseRecorder {
		r := c.request(method, target, "")
		r.Host = host
		return c.serve(r)
	}
	for _, host := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		w := get(http.MethodGet, host, "/clusters?q=a%26b")
		wantStatus(t, w, http.StatusFound)
		if got := w.Header().Get("Location"); got != "http://localhost:8080/clusters?q=a%26b" {
			t.Errorf("Location %q", got)
		}
	}
	wantStatus(t, get(http.MethodPost, "127.0.0.1:8080", "/logout"), http.StatusMisdirectedRequest)
	wantStatus(t, get(http.MethodGet, "127.0.0.1:9999", "/clusters"), http.StatusMisdirectedRequest)
	wantStatus(t, get(http.MethodGet, "evil.example:8080", "/clusters"), http.StatusMisdirectedRequest)
	wantStatus(t, get(http.MethodGet, "127.0.0.1:8080", "//evil.example/"), http.StatusMisdirectedRequest)
	if got := get(http.MethodGet, "localhost:8080", "/login").Header().Get("Strict-Transport-Security"); got != "" {
		t.Errorf("HSTS over http: %q", got)
	}
	if c.cookies.session != "qm_session_8080" {
		t.Errorf("session cookie %q", c.cookies.session)
	}
}

func TestClientAddress(t *testing.T) {
	behind := newConsole(t, func(o *Options) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	})
	direct := newConsole(t)
	for _, tt := range []struct {
		c             *console
		peer          string
		forwarded     []string
		want, comment string
	}{
		{direct, "192.0.2.1:1234", []string{"6.6.6.6"}, "192.0.2.1", "nobody is trusted"},
		{direct, "127.0.0.1:1234", []string{"6.6.6.6"}, "127.0.0.1", "not even loopback"},
		{direct, "10.0.0.1:1234", []string{"6.6.6.6"}, "10.0.0.1", "nor private addresses"},
		{behind, "10.0.0.1:1234", []string{"203.0.113.9"}, "203.0.113.9", "the proxy's word"},
		{behind, "10.0.0.1:1234", []string{"6.6.6.6, 203.0.113.9"}, "203.0.113.9", "the client's own words stand left"},
		{behind, "10.0.0.1:1234", []string{"6.6.6.6, 203.0.113.9, 10.0.0.7"}, "203.0.113.9", "two proxies"},
		{behind, "10.0.0.1:1234", []string{"6.6.6.6", "203.0.113.9"}, "203.0.113.9", "two headers"},
		{behind, "10.0.0.1:1234", []string{"203.0.113.9:5555"}, "203.0.113.9", "with a port"},
		{behind, "10.0.0.1:1234", []string{"[2001:470::1]:5555"}, "2001:470::1", "IPv6 with a port"},
		{behind, "10.0.0.1:1234", []string{"203.0.113.9, unknown"}, "10.0.0.1", "nonsense of the proxy"},
		{behind, "10.0.0.1:1234", nil, "10.0.0.1", "no header"},
		{behind, "10.0.0.1:1234", []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1", "only proxies: the first of them"},
		{behind, "[::ffff:10.0.0.1]:1234", []string{"203.0.113.9"}, "203.0.113.9", "mapped peer"},
		{behind, "192.0.2.1:1234", []string{"203.0.113.9"}, "192.0.2.1", "not from the proxy"},
		{behind, "@", []string{"203.0.113.9"}, "", "no peer"},
	} {
		r := tt.c.request(http.MethodGet, "/", "")
		r.RemoteAddr = tt.peer
		for _, f := range tt.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		r.Header.Set("X-Real-Ip", "7.7.7.7")
		r.Header.Set("Forwarded", "for=8.8.8.8")
		if got := tt.c.clientAddress(r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.comment, got, tt.want)
		}
	}
}

func TestRequestIDIsOurs(t *testing.T) {
	c := newConsole(t)
	r := c.request(http.MethodGet, "/x", "")
	r.Header.Set("X-Request-Id", "chosen-by-the-client")
	w := c.serve(r)
	id := w.Header().Get("X-Request-Id")
	if id == "" || strings.Contains(id, "chosen") || !strings.Contains(w.Body.String(), id) || strings.Contains(c.logs.String(), "chosen") {
		t.Errorf("request id %q; log:\n%s", id, c.logs)
	}
}

func TestPanicBecomesAPage(t *testing.T) {
	c := newConsole(t)
	c.echo.GET("/panics", func(echo.Context) error { panic("canary-panic") })
	w := c.get("/panics")
	wantStatus(t, w, http.StatusInternalServerError)
	if strings.Contains(w.Body.String(), "canary") || !strings.Contains(w.Body.String(), w.Header().Get("X-Request-Id")) {
		t.Errorf("body:\n%s", w.Body)
	}
	if logs := c.logs.String(); strings.Count(logs, "canary-panic") != 1 || !strings.Contains(logs, "stack") || !strings.Contains(logs, `"level":"ERROR"`) {
		t.Errorf("log:\n%s", logs)
	}
}

func TestRenderFailingMidwayIsAClean500(t *testing.T) {
	c := newConsole(t)
	half := templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, "<p>canary-half</p>")
		return errors.Join(err, errors.New("the other half"))
	})
	c.echo.GET("/half", func(e echo.Context) error { return c.render(e, http.StatusOK, half) })
	w := c.get("/half")
	wantStatus(t, w, http.StatusInternalServerError)
	if body := w.Body.String(); strings.Contains(body, "canary-half") || !strings.Contains(body, "Something went wrong") {
		t.Errorf("body:\n%s", body)
	}
}

func TestLogLine(t *testing.T) {
	c := newConsole(t)
	c.get("/login/../secret-path?token=canary-query")
	c.get("/unknown-canary?x=canary-query")
	c.get("/?q=canary-query")
	if strings.Contains(c.logs.String(), "canary") || strings.Contains(c.logs.String(), "secret-path") {
		t.Errorf("the log holds raw addresses:\n%s", c.logs)
	}
	lines := strings.Split(strings.TrimSpace(c.logs.String()), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"request_id", "method", "route", "status", "bytes", "duration_ms", "ip"} {
		if _, ok := line[key]; !ok {
			t.Errorf("no %s in %v", key, line)
		}
	}
	if line["route"] != "/" || line["status"] != float64(303) {
		t.Errorf("line %v", line)
	}
}

func TestMetrics(t *testing.T) {
	c := newConsole(t)
	c.get("/")
	c.get("/nothing/here")
	c.serve(c.request("BREW", "/nothing", ""))
	w := httptest.NewRecorder()
	c.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`qm_http_requests_total{method="GET",route="/",status="303"} 1`,
		`qm_http_requests_total{method="GET",route="unmatched",status="404"} 1`,
		`qm_http_requests_total{method="other",route="unmatched",status="404"} 1`,
		`qm_http_request_seconds_count{route="unmatched"} 2`,
	} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("no line %s in\n%s", line, w.Body)
		}
	}
}

func TestLimits(t *testing.T) {
	c := newConsole(t)
	wantStatus(t, c.get("/?q="+strings.Repeat("a", maxURL)), http.StatusRequestURITooLong)
	wantStatus(t, c.serve(c.request(http.MethodPost, "/logout", strings.Repeat("a", maxBody+1))), http.StatusRequestEntityTooLarge)

	s := c.HTTPServer("127.0.0.1:0")
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout <= requestTime || s.IdleTimeout == 0 || s.MaxHeaderBytes != 32<<10 {
		t.Errorf("server limits: %+v", s)
	}
}

func TestHeadAnswersLikeGet(t *testing.T) {
	c := newConsole(t)
	server := httptest.NewServer(c.Handler())
	t.Cleanup(server.Close)
	for path, want := range map[string]int{"/healthz": 200, "/login": 200, "/nothing": 404, "/": 303} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.base.host
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != want || len(body) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes, want %d and none", path, answer.StatusCode, len(body), want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no accounts":           func(o *Options) { o.Accounts = nil },
		"no base URL":           func(o *Options) { o.BaseURL = nil },
		"base URL with a path":  func(o *Options) { o.BaseURL = &url.URL{Scheme: "https", Host: "x.example", Path: "/console"} },
		"plain http elsewhere":  func(o *Options) { o.BaseURL = &url.URL{Scheme: "http", Host: "x.example"} },
		"base URL with a user":  func(o *Options) { o.BaseURL = &url.URL{Scheme: "https", Host: "x.example", User: url.User("a")} },
		"no client id":          func(o *Options) { o.ClientID = "" },
		"plain http issuer":     func(o *Options) { o.Issuer = "http://idp.example" },
		"issuer with a query":   func(o *Options) { o.Issuer = "https://idp.example?x=y" },
		"issuer no address":     func(o *Options) { o.Issuer = "idp" },
		"issuer that is script": func(o *Options) { o.Issuer = "javascript:alert(1)" },
	} {
		good := newConsole(t).opts
		good.Registry = nil
		change(&good)
		if _, err := New(good); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
