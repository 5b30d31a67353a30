// Package static holds the console's stylesheet, scripts and icon, compiled into the binary.
//
// Every file is addressed by the hash of its content, so an answer may be kept by a browser for
// ever and a new release is never shown with an old stylesheet. Nothing outside the list of
// embedded files can be asked for: a path is looked up in a map and never on a disk.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed assets
var embedded embed.FS

// prefix is where Handler expects to be mounted.
const prefix = "/static/"

// asset is one embedded file, ready to be sent.
type asset struct {
	url         string // with the content hash
	contentType string
	etag        string // strong, of the plain bytes
	plain       []byte
	gzipped     []byte // nil when compression does not make it smaller
}

// assets are the embedded files by name and by URL, loaded once.
var assets = sync.OnceValue(func() (all struct{ byName, byURL map[string]*asset }) {
	all.byName, all.byURL = map[string]*asset{}, map[string]*asset{}
	err := fs.WalkDir(embedded, "assets", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(embedded, p)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, "assets/")
		a := newAsset(name, content)
		all.byName[name], all.byURL[a.url] = a, a
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("static: reading embedded files: %v", err)) // cannot happen: they are in the binary
	}
	return all
})

func newAsset(name string, content []byte) *asset {
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:8])
	ext := path.Ext(name)
	a := &asset{
		url:         prefix + strings.TrimSuffix(name, ext) + "." + hash + ext,
		contentType: contentType(ext),
		etag:        hash,
		plain:       content,
	}
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err == nil {
		_, err = zw.Write(content)
	}
	if err == nil {
		err = zw.Close()
	}
	if err == nil && buf.Len() < len(content) {
		a.gzipped = buf.Bytes()
	}
	return a
}

// contentType is a table of our own: the one of the mime package depends on the machine.
func contentType(ext string) string {
	switch ext {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// Path returns the URL of an embedded file, which changes whenever its content does. It panics on
// a name that is not embedded: names are constants of the templates, and a page test asks for each.
func Path(name string) string {
	a, ok := assets().byName[name]
	if !ok {
		panic("static: no file " + strconv.Quote(name))
	}
	return a.url
}

// Handler serves the embedded files under /static/; mount it there without stripping the prefix.
// It answers GET and HEAD of the URLs that Path returns, immutable and compressed for those who
// accept gzip, 304 to a matching If-None-Match, and 404 to everything else.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets().byURL[r.URL.Path]
		if !ok {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "404 page not found", http.StatusNotFound)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		a.serve(w, r)
	})
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	body, etag := a.plain, `"`+a.etag+`"`
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if a.gzipped != nil && AcceptsGzip(r.Header.Get("Accept-Encoding")) {
		body, etag = a.gzipped, `"`+a.etag+`-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // the reader has gone; there is nobody to tell
	}
}

// AcceptsGzip reads Accept-Encoding as RFC 9110 section 12.5.3 says, as far as gzip goes.
func AcceptsGzip(header string) bool {
	star := false
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		accepted := weight(params) > 0
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return accepted
		case "*":
			star = accepted
		}
	}
	return star
}

// weight is the q parameter; 1 when there is none, 0 when it makes no sense.
func weight(params string) float64 {
	name, value, ok := strings.Cut(strings.TrimSpace(params), "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil {
		return 0
	}
	return q
}

func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == etag || part == "*" {
			return true
		}
	}
	return false
}
