package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// compressedRoutes are the pages that may be compressed. Adding to it is a decision: none of them
// may hold a secret, not even a form's token.
var compressedRoutes = []string{"/accounts", "/admin/grants", "/admin/upstream", "/alerts", "/audit", "/audit/outside", "/backups", "/clusters", "/keys", "/packages"}

func TestOnlyPagesWithoutSecretsAreCompressed(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	var compressed []string
	for _, r := range c.routes() {
		if r.Path == pathLogout || r.Path == pathStatic {
			continue
		}
		request := b.request(r.Method, fill(r.Path), "")
		request.Header.Set("Accept-Encoding", "gzip")
		w := b.send(request)
		if w.Header().Get("Content-Encoding") == "" {
			continue
		}
		compressed = append(compressed, r.Path)
		if r.Method != http.MethodGet {
			t.Errorf("%s %s: an answer to a form is compressed", r.Method, r.Path)
		}
		unpacked, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(strings.TrimSpace(string(body)), "</html>") || strings.Contains(string(body), "form_token") {
			t.Errorf("%s: half a page, or a token in a compressed one:\n%s", r.Path, body)
		}
		if got := w.Header().Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("%s: Vary %q", r.Path, got)
		}
		plain := b.visit(fill(r.Path))
		if plain.Header().Get("Content-Encoding") != "" || plain.Body.String() != string(body) {
			t.Errorf("%s: a browser that does not ask for compression gets another page", r.Path)
		}
	}
	slices.Sort(compressed)
	if !slices.Equal(compressed, compressedRoutes) {
		t.Errorf("compressed are %v, want %v", compressed, compressedRoutes)
	}
}

// TestBuffersAreUsedAgain proves that a page holds nothing of the one before it.
func TestBuffersAreUsedAgain(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	long := b.visit("/clusters?q=" + strings.Repeat("canary", 20))
	if !strings.Contains(long.Body.String(), "canary") {
		t.Fatal("the page does not show what was searched for")
	}
	for range 5 {
		if body := b.visit("/clusters").Body.String(); strings.Contains(body, "canary") || strings.Count(body, "</html>") != 1 {
			t.Fatalf("a page holds something of another:\n%s", body)
		}
	}
}
