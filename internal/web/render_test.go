package web

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"quartermaster/templates"
)

func TestLocalPaths(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/clusters": true, "/clusters?q=a%2Fb&next=https://x.example": true, "/accounts/1/clusters/2?x=%0d%0a": true,
		"": false, "clusters": false, "//evil.example": false, `/\evil.example`: false, `\/evil.example`: false, "///evil.example": false,
		"https://evil.example": false, "javascript:alert(1)": false, "/\t/evil.example": false, "/\n/evil.example": false, "/a\x00": false,
		"/%2f/evil.example": false, "/../x": false, "/a//b": false, "/%5cevil.example": false, "/a;b": false, "/\u0085/x": false,
		"/" + strings.Repeat("a", maxLocalPath): false, "/\xff": false, "/%zz": false,
	} {
		if got := isLocalPath(path); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{"/login", "/login?go=1", "/logout", "/auth/callback?code=x"} {
		if isReturnPath(path) {
			t.Errorf("a sign-in may end at %q", path)
		}
	}
}

func TestRedirectShowsItsMessageOnce(t *testing.T) {
	c := newConsole(t)
	message := `Account "<script>alert(1)</script>" added.`
	c.echo.POST("/makes", func(e echo.Context) error { return c.redirect(e, "/shows", message) })
	c.echo.GET("/shows", func(e echo.Context) error {
		return c.render(e, http.StatusOK, templates.SignIn(templates.SignInView{Page: c.page(e, "x", "x", "")}))
	})
	b := c.browser()
	w := b.post("/makes", "a=b")
	wantStatus(t, w, http.StatusSeeOther)
	set := w.Header().Get("Set-Cookie")
	for _, want := range []string{"__Host-qm_flash=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"} {
		if !strings.Contains(set, want) {
			t.Errorf("cookie %q lacks %q", set, want)
		}
	}
	if strings.Contains(set, "Domain") {
		t.Errorf("cookie %q is for other hosts, too", set)
	}
	part := b.request(http.MethodGet, "/shows", "")
	part.Header.Set("HX-Request", "true")
	if w := b.send(part); strings.Contains(w.Body.String(), "added.") {
		t.Error("a part of a page took the message")
	}
	first, second := b.visit("/shows").Body.String(), b.visit("/shows").Body.String()
	if !strings.Contains(first, "added.") || strings.Contains(first, "<script>alert") {
		t.Errorf("first page:\n%s", first)
	}
	if strings.Contains(second, "added.") {
		t.Error("the message is shown twice")
	}
}

func TestRedirectStaysHere(t *testing.T) {
	c := newConsole(t)
	for _, path := range []string{"https://evil.example", "//evil.example", "/a\r\nSet-Cookie: x=y", ""} {
		e := c.echo.NewContext(httptest.NewRequest(http.MethodPost, "/", nil), httptest.NewRecorder())
		if err := c.redirect(e, path, "x"); err == nil {
			t.Errorf("%q: redirected", path)
		}
	}
}

func TestFlashInjection(t *testing.T) {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, value := range map[string]string{
		"not base64": "!!!", "not UTF-8": encode("\xff\xfe"), "line break": encode("a\r\nb"), "too long": encode(strings.Repeat("x", maxFlash+1)),
		"huge": strings.Repeat("A", 4000), "direction override": encode("a\u202eb"), "NUL": encode("a\x00b"), "empty": "",
	} {
		if got := decodeFlash(value); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	long := strings.Repeat("é", 3*maxFlash)
	if got := decodeFlash(encodeFlash(long)); len([]rune(got)) != maxFlash || !strings.HasSuffix(got, "…") {
		t.Errorf("long message: %d characters, ends %q", len([]rune(got)), got[max(0, len(got)-8):])
	}
}

func TestCookieNames(t *testing.T) {
	c := newConsole(t)
	if c.cookies.session != "__Host-qm_session" || !c.cookies.secure {
		t.Errorf("https cookies: %+v", c.cookies)
	}
}
