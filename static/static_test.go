package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, url string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestServes(t *testing.T) {
	for name, contentType := range map[string]string{
		"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "htmx.min.js": "text/javascript; charset=utf-8",
		"icon.svg": "image/svg+xml", "htmx.LICENSE.txt": "text/plain; charset=utf-8",
	} {
		want, err := embedded.ReadFile("assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		plain := get(t, http.MethodGet, Path(name))
		if plain.StatusCode != http.StatusOK || plain.Header.Get("Content-Type") != contentType || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %v", name, plain.StatusCode, plain.Header)
		}
		if !bytes.Equal(body(t, plain), want) {
			t.Errorf("%s: the body is not the file", name)
		}
		if cache := plain.Header.Get("Cache-Control"); !strings.Contains(cache, "immutable") {
			t.Errorf("%s: Cache-Control %q", name, cache)
		}
		if vary := plain.Header.Get("Vary"); vary != "Accept-Encoding" {
			t.Errorf("%s: Vary %q", name, vary)
		}

		packed := get(t, http.MethodGet, Path(name), "Accept-Encoding", "br, gzip;q=0.8")
		if packed.Header.Get("Content-Encoding") == "gzip" {
			zr, err := gzip.NewReader(packed.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(zr); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: unpacked is not the file (%v)", name, err)
			}
			if packed.Header.Get("ETag") == plain.Header.Get("ETag") {
				t.Errorf("%s: packed and plain have one ETag", name)
			}
		} else if len(want) > 1000 {
			t.Errorf("%s: not compressed", name)
		}

		again := get(t, http.MethodGet, Path(name), "If-None-Match", `"other", W/`+plain.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified || len(body(t, again)) != 0 {
			t.Errorf("%s: known already, answered %d", name, again.StatusCode)
		}
		head := get(t, http.MethodHead, Path(name))
		if head.StatusCode != http.StatusOK || len(body(t, head)) != 0 || head.Header.Get("Content-Length") != plain.Header.Get("Content-Length") {
			t.Errorf("%s: HEAD %d %v", name, head.StatusCode, head.Header)
		}
		if post := get(t, http.MethodPost, Path(name)); post.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: POST %d", name, post.StatusCode)
		}
	}
}

func TestNothingElse(t *testing.T) {
	for _, url := range []string{
		"/static/", "/static/app.css", "/static/app.0000000000000000.css", "/static/../static.go", "/static/%2e%2e/static.go", "/static/assets/app.css",
		"/static//app.css", Path("app.css") + "/", strings.ToUpper(Path("app.css")), "/other", "/static/src/app.css", "/static/package.json",
	} {
		r := get(t, http.MethodGet, url)
		if r.StatusCode != http.StatusNotFound || strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %q", url, r.StatusCode, r.Header.Get("Cache-Control"))
		}
	}
}

func TestPathHoldsHash(t *testing.T) {
	if got := Path("app.css"); !regexp.MustCompile(`^/static/app\.[0-9a-f]{16}\.css$`).MatchString(got) {
		t.Errorf("Path is %q", got)
	}
	if a, b := newAsset("x.css", []byte("a")), newAsset("x.css", []byte("b")); a.url == b.url {
		t.Error("the address does not change with the content")
	}
}

func TestPathOfUnknownFile(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a file that is not there")
		}
	}()
	Path("missing.css")
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "x-gzip": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.001": true, "gzip;q=x": false,
		"*": true, "*;q=0": false, "identity": false, "gzip;q=0, *": false, "br": false,
	} {
		if got := AcceptsGzip(header); got != want {
			t.Errorf("AcceptsGzip(%q) = %v, want %v", header, got, want)
		}
	}
}

// TestStylesheetAsksForNothing proves that the stylesheet names no other address: the content
// policy would stop it, and a page would look different than it was checked to.
func TestStylesheetAsksForNothing(t *testing.T) {
	css, err := embedded.ReadFile("assets/app.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"url(", "@import", "data:"} {
		if bytes.Contains(css, []byte(word)) {
			t.Errorf("the stylesheet holds %s", word)
		}
	}
}
