package templates

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"quartermaster/static"
)

// contentPolicy is as strict as the one that the console's own server sends.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// servePages serves each page under its name.
func servePages(t *testing.T, pages map[string]templ.Component) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/static/", static.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		component, ok := pages[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := component.Render(r.Context(), w); err != nil {
			t.Errorf("render %s: %v", r.URL.Path, err)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// browse starts a browser without a window.
func browse(t *testing.T) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-component-update", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses its sandbox to root
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 8*time.Minute)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start a browser; Chromium is needed for this test: %v", err)
	}
	return ctx
}

// axeSource is the accessibility checker, a development dependency of static/package.json.
func axeSource(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is not installed; run npm ci in the folder static: %v", err)
	}
	return string(source)
}

const runAxe = `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
	.then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + " " + n.target.join(" ") + ": " + n.failureSummary)))`

// look sets how wide the window is and which colours are preferred.
func look(scheme string, width, height int64) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// unmarkedLinks are the links of the content that look like text: without a line below, a border or a colour behind. The
// links of a bar of tabs are told by their place, and the heads of columns by an arrow.
const unmarkedLinks = `[...document.querySelectorAll("main a[href]")].filter(a => {
	if (a.closest(".tabbar") || a.getClientRects().length === 0) return false;
	if (a.matches(".sort")) return Number(getComputedStyle(a.querySelector("svg")).opacity) < 0.3;
	const marked = el => { const s = getComputedStyle(el);
		return s.textDecorationLine.includes("underline") || parseFloat(s.borderTopWidth) > 0 && s.borderTopStyle !== "none" || !/, 0\)$|transparent/.test(s.backgroundColor); };
	return !marked(a) && ![...a.querySelectorAll("*")].some(marked);
}).map(a => a.innerText)`

// brokenWords are the words in cells of tables that go on in the next line, of those that are short enough for any column.
// What may stand at the end of a line ends a word.
const brokenWords = `[...document.querySelectorAll("main td")].flatMap(td => {
	const found = [], texts = document.createTreeWalker(td, NodeFilter.SHOW_TEXT);
	for (let text = texts.nextNode(); text; text = texts.nextNode()) {
		for (const word of text.data.matchAll(/[^\s\-.@\/=,]+[\-.@\/=,]*/g)) {
			if (word[0].length > 16) continue;
			const range = document.createRange();
			range.setStart(text, word.index);
			range.setEnd(text, word.index + word[0].length);
			if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) found.push(word[0] + " in " + td.innerText);
		}
	}
	return found;
})`

// TestInBrowser is what only a browser can tell. All of it shares one, each part has its own tab.
func TestInBrowser(t *testing.T) {
	browser := browse(t)
	for _, part := range []struct {
		name string
		test func(ctx context.Context, t *testing.T)
	}{
		{"pages", testPages}, {"hostile pages", testHostilePages}, {"cluster page moves", testClusterPageMoves},
		{"nothing jumps", testNothingJumps}, {"session ends", testSessionEnds},
		{"server lost", testServerLost}, {"fleet filters", testFleetFilters}, {"relative times", testRelativeTimes},
	} {
		t.Run(part.name, func(t *testing.T) {
			tab, cancel := chromedp.NewContext(browser)
			defer cancel()
			part.test(tab, t)
		})
	}
}

// testPages opens every page light and wide, and dark and narrow: axe finds no violation,
// nothing is wider than the window, and the content policy stops nothing. With PAGE_SHOTS set to a
// folder it leaves screenshots there, to be looked at.
func testPages(ctx context.Context, t *testing.T) {
	pages := samplePages()
	server, axe, shots := servePages(t, pages), axeSource(t), os.Getenv("PAGE_SHOTS")
	messages := consoleOf(ctx, t)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := chromedp.Do(ctx, look("light", 1280, 900), chromedp.Navigate(server.URL+"/"+name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](axe+";0")); err != nil {
			t.Fatalf("%s: load axe: %v", name, err)
		}
		for _, at := range []struct {
			scheme        string
			width, height int64
		}{{"light", 1280, 900}, {"dark", 360, 740}} {
			where := fmt.Sprintf("%s-%s-%d", name, at.scheme, at.width)
			if err := chromedp.Do(ctx, look(at.scheme, at.width, at.height)); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			violations, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](runAxe, chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatalf("%s: run axe: %v", where, err)
			}
			for _, v := range violations {
				t.Errorf("%s: %s", where, v)
			}
			unmarked, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](unmarkedLinks))
			if err != nil || len(unmarked) > 0 {
				t.Errorf("%s: only a pointer over them tells that these are links: %q (%v)", where, unmarked, err)
			}
			broken, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](brokenWords))
			if err != nil || at.width > 1000 && len(broken) > 0 {
				t.Errorf("%s: cells of tables break these words: %q (%v)", where, broken, err)
			}
			tooWide, err := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.scrollingElement.scrollWidth - innerWidth"))
			if err != nil || tooWide > 0 {
				t.Errorf("%s: the page is %v pixels wider than the window (%v)", where, tooWide, err)
			}
			if shots != "" {
				shoot(ctx, t, filepath.Join(shots, where+".png"))
			}
		}
	}
	for _, m := range messages() {
		t.Errorf("console: %s", m)
	}
}

// checkWidths opens pages on a narrow screen: nothing is wider than the window, and neither a script
// nor the content policy has anything to say.
func checkWidths(ctx context.Context, t *testing.T, pages map[string]templ.Component) {
	t.Helper()
	server := servePages(t, pages)
	if err := chromedp.Do(ctx, look("light", 360, 740)); err != nil {
		t.Fatal(err)
	}
	messages := consoleOf(ctx, t)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/"+name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tooWide, err := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.scrollingElement.scrollWidth - innerWidth"))
		if err != nil || tooWide > 0 {
			t.Errorf("%s: the page is %v pixels wider than the window (%v)", name, tooWide, err)
		}
	}
	for _, m := range messages() {
		t.Errorf("console: %s", m)
	}
}

func consoleOf(ctx context.Context, t *testing.T) func() []string {
	t.Helper()
	watched, stop := context.WithCancel(ctx)
	done, seen := make(chan struct{}), []string(nil)
	console := chromedp.Console(watched)
	go func() {
		defer close(done)
		for m, err := range console {
			if err != nil {
				return
			}
			seen = append(seen, m.String()+" "+m.URL)
		}
	}()
	return func() []string {
		stop()
		<-done
		return seen
	}
}

func shoot(ctx context.Context, t *testing.T, file string) {
	t.Helper()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}
