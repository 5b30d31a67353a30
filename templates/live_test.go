package templates

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"quartermaster/static"
)

// console stands for the server behind the pages: what it answers can be changed while a browser looks.
type console struct {
	mu      sync.Mutex
	cluster ClusterView
	failing bool
	ended   bool // the session is over
	asked   int  // fragments asked for
	quietly int  // of them those that the page marked as its own
}

func (c *console) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *console) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	part := r.Header.Get("HX-Request") == "true"
	if part {
		c.asked++
	}
	if part && r.Header.Get("X-Quartermaster-Background") != "" {
		c.quietly++
	}
	var page templ.Component
	switch {
	case part && c.ended:
		w.Header().Set("HX-Retarget", "#notice")
		w.Header().Set("HX-Reswap", "innerHTML")
		w.WriteHeader(http.StatusUnauthorized)
		page = SessionEnded("/login?return_to=%2Fcluster")
	case part && c.failing:
		w.Header().Set("HX-Retarget", "#notice")
		w.Header().Set("HX-Reswap", "innerHTML")
		w.WriteHeader(http.StatusServiceUnavailable)
		page = ErrorFragment(ErrorView{Heading: "The database does not answer"})
	case r.URL.Path == "/clusters":
		v := sampleFleet(nil, sampleStrip())
		v.Self = r.URL.RequestURI()
		for _, row := range sampleRows() {
			if strings.Contains(row.Name, r.FormValue("q")) {
				v.Rows = append(v.Rows, row)
			}
		}
		page = Fleet(v)
		if part {
			w.Header().Set("HX-Replace-Url", "/clusters?q="+r.FormValue("q"))
			page = FleetRegion(v)
		}
	case part:
		page = ClusterRegion(c.cluster)
	default:
		page = Cluster(c.cluster)
	}
	if err := page.Render(r.Context(), w); err != nil {
		panic(err)
	}
}

// noStream answers as one that has no stream, so that pages look at intervals.
var noStream = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

func liveConsole(t *testing.T) (*console, string) {
	t.Helper()
	c := &console{cluster: sampleCluster()}
	c.cluster.Every, c.cluster.Self = "150ms", "/cluster"
	mux := http.NewServeMux()
	mux.Handle("/static/", static.Handler())
	mux.Handle("/live", noStream)
	mux.Handle("/", c)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return c, server.URL
}

// until waits until an expression is true in the page.
func until(ctx context.Context, t *testing.T, what, expression string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(8*time.Second))); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func do(ctx context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func testClusterPageMoves(ctx context.Context, t *testing.T) {
	c, url := liveConsole(t)
	do(ctx, t, look("light", 1280, 900), chromedp.Navigate(url+"/cluster"))
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](`document.querySelector("#raw").open = true; document.querySelector("#offer-link, a[href$='/restart']").focus(); window.mark = 1; 0`)); err != nil {
		t.Fatal(err)
	}
	c.change(func() { c.cluster.Phase, c.cluster.Reason = "UPDATING", "2 of 3 nodes are updated" })
	until(ctx, t, "the phase changes by itself", `document.querySelector("#cluster").dataset.phase === "UPDATING" && document.body.innerText.includes("2 of 3 nodes are updated")`)
	until(ctx, t, "what was opened stays open, the focus stays, nothing was loaded anew", `document.querySelector("#raw").open && document.activeElement.href?.endsWith("/restart") && window.mark === 1`)

	c.change(func() { c.failing = true })
	until(ctx, t, "a failure is told", `document.querySelector("#notice").innerText.includes("The database does not answer")`)
	until(ctx, t, "what was known stays", `document.querySelector("#cluster").dataset.phase === "UPDATING"`)
	c.change(func() { c.failing = false })
	until(ctx, t, "the failure is taken back", `document.querySelector("#notice").innerText === ""`)

	c.change(func() { c.cluster.Gone, c.cluster.Every = true, "" })
	until(ctx, t, "a cluster that is gone is said to be", `document.body.innerText.includes("no longer exists")`)
	before := c.count()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](`new Promise(r => setTimeout(r, 600))`, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	if after := c.count(); after > before+1 {
		t.Errorf("a page of a cluster that is gone went on asking: %d times", after-before)
	}
}

const boxes = `JSON.stringify([...document.querySelectorAll("main *:not(time)")].map(e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height].map(Math.round); }))`

// testNothingJumps proves that a refresh that brings nothing new moves nothing, and that what the
// page asks by itself is marked so.
func testNothingJumps(ctx context.Context, t *testing.T) {
	c, url := liveConsole(t)
	do(ctx, t, look("light", 1280, 900), chromedp.Navigate(url+"/cluster"))
	before, err := chromedp.Run(ctx, chromedp.Evaluate[string](boxes))
	if err != nil {
		t.Fatal(err)
	}
	for asked := c.count(); c.count() < asked+3; {
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](`new Promise(r => setTimeout(r, 50))`, chromedp.EvalAwaitPromise)); err != nil {
			t.Fatal(err)
		}
	}
	after, err := chromedp.Run(ctx, chromedp.Evaluate[string](boxes))
	if err != nil || before != after || len(before) < 1000 {
		t.Errorf("boxes before the refreshes:\n%s\nafter:\n%s (%v)", before, after, err)
	}
	c.change(func() {
		if c.quietly != c.asked {
			t.Errorf("%d of %d refreshes are marked as the page's own", c.quietly, c.asked)
		}
	})
}

// testSessionEnds proves that a page whose session is over says so, stays, and asks no more.
func testSessionEnds(ctx context.Context, t *testing.T) {
	c, url := liveConsole(t)
	do(ctx, t, look("light", 1280, 900), chromedp.Navigate(url+"/cluster"))
	c.change(func() { c.ended = true })
	until(ctx, t, "the end is told with a link", `document.querySelector("#notice").innerText.includes("Your session has ended") && !!document.querySelector("#notice a[href^='/login']")`)
	until(ctx, t, "what was known stays", `location.pathname === "/cluster" && document.body.innerText.includes("search-main")`)
	before := c.count()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](`new Promise(r => setTimeout(r, 600))`, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	if after := c.count(); after > before {
		t.Errorf("the page went on asking: %d times", after-before)
	}
	until(ctx, t, "the note stays", `document.querySelector("#notice").innerText.includes("Your session has ended")`)
}

func testServerLost(ctx context.Context, t *testing.T) {
	c := &console{cluster: sampleCluster()}
	c.cluster.Every, c.cluster.Self = "150ms", "/cluster"
	mux := http.NewServeMux()
	mux.Handle("/static/", static.Handler())
	mux.Handle("/live", noStream)
	mux.Handle("/", c)
	server := httptest.NewServer(mux)
	do(ctx, t, look("light", 1280, 900), chromedp.Navigate(server.URL+"/cluster"))
	until(ctx, t, "nothing is lost", `document.querySelector("#lost").hidden`)
	server.CloseClientConnections()
	server.Close()
	until(ctx, t, "the page says that the console does not answer", `!document.querySelector("#lost").hidden && document.body.innerText.includes("search-main")`)
}

func testFleetFilters(ctx context.Context, t *testing.T) {
	c, url := liveConsole(t)
	do(ctx, t, look("light", 1280, 900), chromedp.Navigate(url+"/clusters"))
	// A browser drops what is typed before it has painted a page for the first time.
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))`, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	do(ctx, t, chromedp.KeyEvent("/"))
	until(ctx, t, "the slash leads to the search", `document.activeElement.id === "q-q"`)
	do(ctx, t, chromedp.KeyEvent("docs"))
	until(ctx, t, "what is typed arrives", `document.querySelector("#q-q").value === "docs"`)
	until(ctx, t, "the list follows what is typed", `document.querySelectorAll("[data-testid=cluster-row]").length === 1`)
	c.change(func() {
		if c.asked == 0 || c.quietly > 0 {
			t.Errorf("of %d searches that somebody typed %d are marked as the page's own", c.asked, c.quietly)
		}
	})
	until(ctx, t, "the address follows, and the focus stays", `location.search === "?q=docs" && document.activeElement.id === "q-q" && document.activeElement.value === "docs"`)
	do(ctx, t, chromedp.KeyEvent("?"))
	until(ctx, t, "a question mark that is typed opens nothing", `!document.querySelector("#help").open && document.activeElement.value === "docs?"`)
	do(ctx, t, chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("?"))
	until(ctx, t, "a question mark opens the help", `document.querySelector("#help").open`)
	do(ctx, t, chromedp.Click("#shortcuts-on"), chromedp.KeyEvent(kb.Escape))
	until(ctx, t, "Escape closes the help", `!document.querySelector("#help").open`)
	do(ctx, t, chromedp.KeyEvent("/"))
	until(ctx, t, "shortcuts that are turned off do nothing", `document.activeElement.id !== "q-q"`)
}

// testRelativeTimes proves that the script on the page repeats the words of Ago.
func testRelativeTimes(ctx context.Context, t *testing.T) {
	spans := []time.Duration{90 * time.Second, 30 * time.Minute, 5 * time.Hour, 47 * time.Hour, 20 * day, 40 * day, 300 * day, 800 * day, -100 * time.Minute, -80 * time.Minute, -10*day - time.Hour, -7*day + time.Minute}
	want := make([]string, 0, len(spans))
	for _, d := range spans {
		want = append(want, Ago(sampleNow, before(d)))
	}
	pages := map[string]templ.Component{"times": Layout(samplePage("Times", "times", ""))}
	server := servePages(t, pages)
	do(ctx, t, chromedp.Navigate(server.URL+"/times"))
	var script strings.Builder
	for i, d := range spans {
		for kind, id := range map[string]string{"": "t", "short": "s"} {
			fmt.Fprintf(&script, `document.querySelector("main").insertAdjacentHTML("beforeend", '<time data-ago="%s" id="%s%d" datetime="%s">?</time>');`, kind, id, i, before(d).Format(time.RFC3339))
		}
	}
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any](script.String()+"0")); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, "the script writes the times", `document.querySelector("#t0").textContent !== "?"`)
	for i, w := range want {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector("#t%d").textContent`, i)))
		if err != nil || got != w {
			t.Errorf("%v: the script says %q, Ago says %q (%v)", spans[i], got, w, err)
		}
		short, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector("#s%d").textContent`, i)))
		if want := span(sampleNow, before(spans[i])); err != nil || short != want {
			t.Errorf("%v: the script says %q for short, span says %q (%v)", spans[i], short, want, err)
		}
	}
}
