package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/net/html"
)

// How long the program may take to start, the first time making its database, and to stop.
const (
	startTime = 90 * time.Second
	stopTime  = 40 * time.Second
)

// devProgram is a running `quartermaster dev` with a data folder and ports of its own.
type devProgram struct {
	t      *testing.T
	dir    string
	about  devDescription
	output *lockedBuffer
	cancel context.CancelFunc
	ended  chan int
}

// lockedBuffer collects output that is written and read at once.
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

// devEnvironment gives every listener a free port.
func devEnvironment(dir string, more ...string) environment {
	return append(environment{
		"QM_DEV_DIR=" + dir, "QM_ADDR=127.0.0.1:0", "QM_METRICS_ADDR=127.0.0.1:0", "QM_DEV_IDP_ADDR=127.0.0.1:0",
		"QM_SANDBOX_ADDR=127.0.0.1:0", "QM_SANDBOX_CONTROL_ADDR=127.0.0.1:0", "QM_LOG_LEVEL=warn",
	}, more...)
}

// startDev runs dev in this process and ends it with the test. more are variables such as
// QM_POLL_MIN=200ms.
func startDev(t *testing.T, more ...string) *devProgram {
	t.Helper()
	return startDevIn(t, dataFolder(t), more...)
}

// dataFolder is a temporary folder that other accounts may enter, unlike t.TempDir: as root, dev's
// Postgres runs under another one and would put its files elsewhere.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "quartermaster-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { // see above
		t.Fatal(err)
	}
	return dir
}

// startDevIn runs dev on a data folder that may have been used before.
func startDevIn(t *testing.T, dir string, more ...string) *devProgram {
	t.Helper()
	return startDevWith(t, dir, nil, more...)
}

// startDevWith runs dev with flags.
func startDevWith(t *testing.T, dir string, flags []string, more ...string) *devProgram {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &devProgram{t: t, dir: dir, output: &lockedBuffer{}, cancel: cancel, ended: make(chan int, 1)}
	if err := os.Remove(filepath.Join(dir, devFile)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	go func() {
		p.ended <- run(ctx, append([]string{"dev"}, flags...), devEnvironment(dir, more...), p.output, p.output)
	}()
	t.Cleanup(p.stop)
	about, err := waitForDescription(dir, p.ended)
	if err != nil {
		t.Fatalf("dev did not start: %v\n%s", err, p.output)
	}
	p.about = about
	return p
}

// waitForDescription waits for dev.json, or for the program's early end.
func waitForDescription(dir string, ended chan int) (devDescription, error) {
	deadline := time.After(startTime)
	for {
		raw, err := os.ReadFile(filepath.Join(dir, devFile))
		if err == nil {
			var about devDescription
			err := json.Unmarshal(raw, &about)
			return about, err
		}
		select {
		case code := <-ended:
			ended <- code
			return devDescription{}, fmt.Errorf("it ended with code %d", code)
		case <-deadline:
			return devDescription{}, fmt.Errorf("no %s after %s", devFile, startTime)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the program as Ctrl-C does and expects it to end well. It may be called twice.
func (p *devProgram) stop() {
	p.t.Helper()
	p.cancel()
	select {
	case code := <-p.ended:
		p.ended <- code
		if code != exitOK {
			p.t.Errorf("dev ended with code %d\n%s", code, p.output)
		}
	case <-time.After(stopTime):
		p.t.Errorf("dev did not stop in %s\n%s", stopTime, p.output)
	}
}

// visitor is a browser without a screen: it keeps cookies, follows redirects and reads pages.
type visitor struct {
	t    *testing.T
	base string
	http *http.Client
}

func newVisitor(t *testing.T, base string) *visitor {
	t.Helper()
	return newVisitorOver(t, base, nil)
}

// newVisitorOver is newVisitor with a transport of its own.
func newVisitorOver(t *testing.T, base string, transport http.RoundTripper) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, base: base, http: &http.Client{Jar: jar, Timeout: time.Minute, Transport: transport}}
}

// signIn returns a visitor that has signed in as a member, who may have no rights.
func (p *devProgram) signIn(t *testing.T, email string) *visitor {
	t.Helper()
	v := newVisitor(t, p.about.URL)
	page := v.get("/login?login_hint=" + url.QueryEscape(email))
	if page.url.Host != mustURL(p.about.URL).Host || strings.HasPrefix(page.url.Path, "/auth") {
		t.Fatalf("signing in as %s ended at %s with %d:\n%.2000s", email, page.url, page.status, page.body)
	}
	return v
}

// page is what a visitor got in the end.
type page struct {
	status int
	url    *url.URL
	header http.Header
	body   string
	root   *html.Node
}

func (v *visitor) get(path string) page {
	v.t.Helper()
	return v.try(http.MethodGet, path, nil)
}

// post sends a form as a page of the console would, and follows the redirect.
func (v *visitor) post(path string, form url.Values) page {
	v.t.Helper()
	return v.try(http.MethodPost, path, form)
}

// try sends a request as a page of the console would.
func (v *visitor) try(method, path string, form url.Values) page {
	v.t.Helper()
	request, err := v.request(method, path, form)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.do(request)
}

func (v *visitor) request(method, path string, form url.Values) (*http.Request, error) {
	if method != http.MethodPost {
		return http.NewRequest(method, v.base+path, nil)
	}
	request, err := http.NewRequest(method, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", v.base)
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	return request, nil
}

func (v *visitor) do(request *http.Request) page {
	v.t.Helper()
	got, err := v.send(request)
	if err != nil {
		v.t.Fatal(err)
	}
	return got
}

// send is do for goroutines beside the test's, which must not end it.
func (v *visitor) send(request *http.Request) (page, error) {
	answer, err := v.http.Do(request)
	if err != nil {
		return page{}, err
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return page{}, fmt.Errorf("half an answer: %w", err)
	}
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return page{}, err
	}
	return page{status: answer.StatusCode, url: answer.Request.URL, header: answer.Header, body: string(body), root: root}, nil
}

// signIn signs a member with rights in, by login_hint, and returns the visitor.
func (v *visitor) signIn(member string) *visitor {
	v.t.Helper()
	if got := v.get("/login?login_hint=" + url.QueryEscape(member)); got.status != http.StatusOK || got.bodyID() != "clusters-index" {
		v.t.Fatalf("signing in as %s ended at %s with %d:\n%.2000s", member, got.url, got.status, got.text())
	}
	return v
}

// element is one element of a page by its attributes.
type element map[string]string

// byTestID returns the elements with a data-testid, in the order of the page.
func (p page) byTestID(id string) []element {
	var found []element
	for n := range p.root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attributes := element{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
		}
		if attributes["data-testid"] == id {
			found = append(found, attributes)
		}
	}
	return found
}

// bodyID is the id of the page's body, which names the page.
func (p page) bodyID() string {
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "body" {
			for _, a := range n.Attr {
				if a.Key == "id" {
					return a.Val
				}
			}
		}
	}
	return ""
}

// browser starts a headless Chromium that ends with the test, and returns a context of chromedp.
// Commands run with a deadline of a minute.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // tests may run as root, where Chromium refuses its own sandbox
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 900),
	)
	allocated, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("starting Chromium (make test installs it on Debian and Ubuntu): %v", err)
	}
	return ctx
}

// inBrowser runs steps with a deadline.
func inBrowser(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		where, _ := chromedp.Run(ctx, chromedp.Location())
		t.Fatalf("in the browser, at %s: %v", where, err)
	}
}

// asksFor makes the browser prefer a color scheme.
func asksFor(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		return target.Call(ctx, "Emulation.setEmulatedMedia", map[string]any{
			"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
		}, nil)
	})
}
