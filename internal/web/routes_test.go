package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
)

// publicRoutes is everything that answers without a session. Adding to it is a decision.
var publicRoutes = []string{"/auth/callback", "/break-glass", "/break-glass", "/healthz", "/login", "/readyz", "/static/*"}

// fill puts plausible values into a route's placeholders.
func fill(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		switch {
		case s == ":seq":
			segments[i] = "1"
		case strings.HasPrefix(s, ":"), s == "*":
			segments[i] = "01930000-0000-7000-8000-000000000001"
		}
	}
	return strings.Join(segments, "/")
}

func TestEveryHandlerIsInTheTable(t *testing.T) {
	c := newConsole(t)
	var table, registered, public []string
	for _, r := range c.routes() {
		table = append(table, r.Method+" "+r.Path)
		if r.Method == http.MethodGet {
			table = append(table, http.MethodHead+" "+r.Path)
		}
		if r.Public {
			public = append(public, r.Path)
		}
	}
	for _, r := range c.echo.Routes() {
		registered = append(registered, r.Method+" "+r.Path)
	}
	slices.Sort(table)
	slices.Sort(registered)
	slices.Sort(public)
	if diff := cmp.Diff(table, registered); diff != "" {
		t.Errorf("table and router differ (-table +router):\n%s", diff)
	}
	if diff := cmp.Diff(publicRoutes, public); diff != "" {
		t.Errorf("public routes (-want +got):\n%s", diff)
	}
}

func TestNoProtectedRouteAnswersWithoutSession(t *testing.T) {
	c := newConsole(t)
	for _, r := range c.routes() {
		if r.Public {
			continue
		}
		target := fill(r.Path)
		t.Run(r.Method+" "+r.Path, func(t *testing.T) {
			w := c.serve(c.request(r.Method, target+"?q=x", ""))
			wantStatus(t, w, http.StatusSeeOther)
			want := "/login?return_to=" + url.QueryEscape(target+"?q=x")
			switch {
			case r.Path == pathLogout:
				want = "/login?why=signed-out"
			case r.Method != http.MethodGet:
				want = "/login?why=ended"
			}
			if got := w.Header().Get("Location"); got != want {
				t.Errorf("Location %q, want %q", got, want)
			}

			forged := c.request(r.Method, target, "")
			forged.AddCookie(&http.Cookie{Name: c.cookies.session, Value: strings.Repeat("A", maxSessionToken+1)})
			w = c.serve(forged)
			wantStatus(t, w, http.StatusSeeOther)
			if got := w.Header().Get("Set-Cookie"); !strings.Contains(got, c.cookies.session+"=;") || !strings.Contains(got, "Max-Age=0") {
				t.Errorf("a dead cookie is not dropped: %q", got)
			}

			hx := c.request(r.Method, target, "")
			hx.Header.Set("HX-Request", "true")
			hx.Header.Set("HX-Current-URL", testBase+"/clusters?q=a")
			w = c.serve(hx)
			wantStatus(t, w, http.StatusUnauthorized)
			if got := w.Header().Get("HX-Redirect"); got != "/login?return_to=%2Fclusters%3Fq%3Da" {
				t.Errorf("HX-Redirect %q", got)
			}

			for _, method := range []string{"PUT", "DELETE", "PATCH", "PROPFIND", "TRACE", "get"} {
				w := c.serve(c.request(method, target, ""))
				if w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
					t.Errorf("%s answers %d", method, w.Code)
				}
			}
		})
	}
}

func TestHXRedirectStaysHere(t *testing.T) {
	c := newConsole(t)
	for _, current := range []string{"https://evil.example/clusters", "//evil.example", "javascript:alert(1)", testBase + ":444/x", "", testBase + "//evil.example/"} {
		r := c.request(http.MethodGet, "/", "")
		r.Header.Set("HX-Request", "true")
		r.Header.Set("HX-Current-URL", current)
		w := c.serve(r)
		wantStatus(t, w, http.StatusUnauthorized)
		if got := w.Header().Get("HX-Redirect"); got != "/login?return_to=%2Fclusters" {
			t.Errorf("HX-Current-URL %q leads to %q", current, got)
		}
	}
}

// TestOddSpellings asks for protected pages in the ways that made other consoles answer.
func TestOddSpellings(t *testing.T) {
	c := newConsole(t)
	for _, r := range c.routes() {
		if r.Public {
			continue
		}
		path := fill(r.Path)
		for _, odd := range []string{
			"/" + path, path + "/", path + "//", "/." + path, path + "/.", path + "/..;/", "/x/.." + path,
			"/static/.." + path, "/static/..;" + path, "/static/%2e%2e" + path, "/static/..%2f" + path[1:], "/login/.." + path, "/healthz/.." + path,
			"/%2e" + path, path + "%2f", path + "%00", path + ";a=b", path + "%3b", path + "/%2e%2e", path + ".css", path + "/x.css", path + "%20",
			strings.ToUpper(path), "/%5c" + path[1:], `/\` + path[1:], strings.ReplaceAll(path, "/", "%2f"), "/healthz" + path, path + "/healthz",
			"http://" + c.base.host + path, path + "#x",
		} {
			u, err := url.ParseRequestURI(odd)
			if err != nil {
				continue
			}
			request := c.request(r.Method, "/", "")
			request.URL, request.RequestURI = u, odd
			w := c.serve(request)
			location := w.Header().Get("Location")
			toLogin := w.Code == http.StatusSeeOther && strings.HasPrefix(location, pathLogin+"?")
			if w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed && !toLogin {
				t.Errorf("%s %s answered %d, Location %q", r.Method, odd, w.Code, location)
			}
			if back, err := url.Parse(location); err != nil || !isLocalPath(back.Query().Get("return_to")) && back.Query().Has("return_to") {
				t.Errorf("%s %s leads back to %q", r.Method, odd, location)
			}
		}
	}
}

func TestCrossOriginChangesAreRefused(t *testing.T) {
	c := newConsole(t)
	for _, r := range c.routes() {
		if r.Method == http.MethodGet {
			continue
		}
		for name, headers := range map[string]map[string]string{
			"cross-site":             {"Sec-Fetch-Site": "cross-site"},
			"sibling":                {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.test"},
			"old browser":            {"Origin": "https://evil.example"},
			"plain http of our name": {"Origin": "http://console.example.test"},
			"null":                   {"Origin": "null"},
			"lying fetch metadata":   {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
		} {
			request := c.request(r.Method, fill(r.Path), "a=b")
			for k, v := range headers {
				request.Header.Set(k, v)
			}
			w := c.serve(request)
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "another site") {
				t.Errorf("%s from %s: %d", r.Path, name, w.Code)
			}
		}
		same := c.request(r.Method, fill(r.Path), "a=b")
		same.Header.Set("Origin", testBase)
		same.Header.Set("Sec-Fetch-Site", "same-origin")
		if w := c.serve(same); w.Code != http.StatusSeeOther && !r.Public {
			t.Errorf("%s from our own page without session: %d", r.Path, w.Code)
		}
	}
}

func TestUnknownAddressIs404(t *testing.T) {
	c := newConsole(t)
	for _, target := range []string{"/nothing", "/.env", "/wp-login.php", "/clusters.json", "/metrics", "/debug/pprof/", "/favicon.ico"} {
		w := c.get(target)
		wantStatus(t, w, http.StatusNotFound)
		if !strings.Contains(w.Body.String(), `id="error"`) {
			t.Errorf("%s: not our page:\n%s", target, w.Body)
		}
	}
	w := c.serve(c.request(http.MethodPost, "/login", "a=b"))
	wantStatus(t, w, http.StatusMethodNotAllowed)
	if allow := w.Header().Get("Allow"); !strings.Contains(allow, "GET") {
		t.Errorf("Allow %q", allow)
	}
}

func TestSecurityHeadersOnEveryAnswer(t *testing.T) {
	c := newConsole(t)
	if _, err := c.provider.discover(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	c.echo.GET("/panics", func(echo.Context) error { panic("canary") })
	wrongHost := c.request(http.MethodGet, "/login", "")
	wrongHost.Host = "evil.example"
	crossSite := c.request(http.MethodPost, "/logout", "")
	crossSite.Header.Set("Sec-Fetch-Site", "cross-site")
	for name, r := range map[string]*http.Request{
		"page": c.request(http.MethodGet, "/login", ""), "redirect": c.request(http.MethodGet, "/", ""), "404": c.request(http.MethodGet, "/x", ""),
		"405": c.request(http.MethodPut, "/login", ""), "panic": c.request(http.MethodGet, "/panics", ""), "421": wrongHost, "403": crossSite,
		"probe": c.request(http.MethodGet, "/healthz", ""), "static 404": c.request(http.MethodGet, "/static/x.css", ""),
		"options": c.request(http.MethodOptions, "/login", ""), "414": c.request(http.MethodGet, "/"+strings.Repeat("a", maxURL), ""),
	} {
		h := c.serve(r).Header()
		want := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
			"form-action 'self' " + c.idp.URL + "; base-uri 'none'; frame-ancestors 'none'"
		if got := h.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: policy %q, want %q", name, got, want)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security": "max-age=31536000", "Cache-Control": "no-store",
		} {
			if got := h.Get(header); got != want {
				t.Errorf("%s: %s %q, want %q", name, header, got, want)
			}
		}
		if h.Get("X-Request-Id") == "" || h.Get("Permissions-Policy") == "" {
			t.Errorf("%s: no request id or permissions policy", name)
		}
	}
}

func TestProviderCannotWriteThePolicy(t *testing.T) {
	c := newConsole(t)
	c.idp.document = func(m map[string]any) { m["end_session_endpoint"] = "https://evil.example;script-src *;x/end" }
	if _, err := c.provider.discover(t.Context(), 0); err == nil {
		if policy := c.contentSecurityPolicy(); strings.Contains(policy, "script-src *") {
			t.Errorf("policy %q", policy)
		}
	}
}

func TestPlaceholdersHoldOneSpelling(t *testing.T) {
	c := newConsole(t)
	c.echo.GET("/things/:x", func(e echo.Context) error { return e.String(http.StatusOK, e.Param("x")) })
	for _, path := range []string{"/things/a%20b", "/things/%2541", "/things/a.b", "/things/%C3%A9", "/things/a+b"} {
		w := c.get(path)
		wantStatus(t, w, http.StatusOK)
		if got := w.Body.String(); got != strings.TrimPrefix(path, "/things/") {
			t.Errorf("%s: placeholder %q", path, got)
		}
	}
	for _, path := range []string{
		"/things/a%2fb", "/things/a/b", "/things/a;b", "/things/a%3bb", "/things/a%5cb", "/things/%2e", "/things/%2e%2e", "/things/a%2eb", "/things/..",
		"/things/a%00", "/things/a%0a", "/things/a/", "//things/a", "/./things/a", "/x/../things/a",
	} {
		wantStatus(t, c.get(path), http.StatusNotFound)
	}
}
