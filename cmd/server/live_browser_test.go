package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// liveTab opens one more tab of the browser at the fleet, and returns it with how long that took.
func liveTab(t *testing.T, s *surfer) (*surfer, time.Duration) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(s.ctx)
	t.Cleanup(cancel)
	tab := &surfer{t: t, ctx: ctx, base: s.base, scripts: true}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // without a deadline, which would be the tab's
		t.Fatal(err)
	}
	began := time.Now()
	tab.do(chromedp.Navigate(s.base + "/clusters"))
	tab.until(`document.body?.id === "clusters-index"`)
	return tab, time.Since(began)
}

// liveAwait is ask for a promise.
func liveAwait[T any](s *surfer, expression string) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		s.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// liveStreams is how many streams the console says are open.
func liveStreams(t *testing.T, p *devProgram) string {
	t.Helper()
	answer, err := http.Get(p.about.MetricsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?m)^qm_live_streams (\S+)$`).FindSubmatch(body); found != nil {
		return string(found[1])
	}
	return ""
}

// liveHidden makes a tab hidden, or shown again, as the page sees it.
func liveHidden(s *surfer, hidden string) {
	s.t.Helper()
	ask[bool](s, `(() => { Object.defineProperty(document, "hidden", { configurable: true, get: () => `+hidden+` });
		document.dispatchEvent(new Event("visibilitychange")); return true; })()`)
}

// TestLivePagesInTenTabs: ten tabs share one stream over HTTP/1.1, so all of them still answer within a second; a
// change upstream arrives in each, in place, with focus, scroll and selection kept; a hidden tab reads no stream and
// catches up when it is shown.
func TestLivePagesInTenTabs(t *testing.T) {
	const interval = 500 * time.Millisecond
	st := openStage(t, "QM_POLL_MIN="+interval.String(), "QM_POLL_MAX="+interval.String())
	first, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	first.do(chromedp.Navigate(st.about.URL + "/login?login_hint=admin%40example.test&return_to=%2Fclusters"))
	first.until(`document.body?.id === "clusters-index"`)
	row := ask[map[string]string](first, `({...document.querySelector("[data-testid=cluster-row][data-phase=HEALTHY]").dataset})`)
	var cloud string
	if err := st.db.QueryRow(t.Context(), `SELECT cloud_account_id FROM accounts WHERE id = $1`, row["account"]).Scan(&cloud); err != nil {
		t.Fatal(err)
	}
	change := func(phase string) {
		t.Helper()
		st.control(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": cloud, "cluster": row["cluster"], "phase": phase})
	}
	shows := func(phase string) string {
		return `document.querySelector('[data-cluster="` + row["cluster"] + `"]').dataset.phase === "` + phase + `"`
	}
	tabs := []*surfer{first}
	var slowest time.Duration
	for range 9 {
		tab, took := liveTab(t, first)
		tabs = append(tabs, tab)
		slowest = max(slowest, took)
	}
	waitUntil(t, "the tabs share one stream", func() bool { return liveStreams(t, st.devProgram) == "1" })
	t.Logf("the slowest of ten tabs was there after %s", slowest)
	slowest = 0
	for _, tab := range tabs {
		took := liveAwait[float64](tab, `(async () => { const began = performance.now(); await (await fetch("/clusters", { cache: "no-store" })).text(); return performance.now() - began; })()`)
		slowest = max(slowest, time.Duration(took*float64(time.Millisecond)))
	}
	t.Logf("the slowest answer to one of ten tabs took %s", slowest)
	if slowest > time.Second {
		t.Errorf("with ten tabs open an answer took %s", slowest)
	}

	// In place: what is in the row's neighbourhood stays as somebody left it.
	ask[bool](first, `(() => {
		const rows = [...document.querySelectorAll("[data-testid=cluster-row]")];
		const last = rows[rows.length - 1];
		window.kept = { row: document.querySelector('[data-cluster="`+row["cluster"]+`"]'), link: last.querySelector("a") };
		scrollTo(0, 150);
		kept.link.focus({ preventScroll: true });
		getSelection().selectAllChildren(rows[rows.length - 2].querySelector("a"));
		kept.text = getSelection().toString();
		kept.at = scrollY;
		return true;
	})()`)
	began := time.Now()
	change("SUSPENDED")
	for _, tab := range tabs {
		tab.until(shows("SUSPENDED"))
	}
	t.Logf("all ten show it after %s", time.Since(began))
	if took := time.Since(began); took > 8*time.Second { // without a stream it is ten seconds, in each
		t.Errorf("the change took %s", took)
	}
	if kept := ask[string](first, `JSON.stringify([kept.row.isConnected, kept.row.dataset.phase, document.activeElement === kept.link, getSelection().toString() === kept.text && kept.text !== "", scrollY === kept.at && scrollY > 0])`); kept != `[true,"SUSPENDED",true,true,true]` {
		t.Errorf("row, its phase, focus, selection, scroll: %s", kept)
	}

	// Hidden, and shown again.
	for _, tab := range tabs {
		liveHidden(tab, "true")
	}
	waitUntil(t, "hidden tabs read no stream", func() bool { return liveStreams(t, st.devProgram) == "0" })
	change("HEALTHY")
	waitUntil(t, "the console knows it", func() bool {
		var phase string
		return st.db.QueryRow(context.Background(), `SELECT phase FROM clusters WHERE cluster_id = $1`, row["cluster"]).Scan(&phase) == nil && phase == "HEALTHY"
	})
	time.Sleep(3 * time.Second) // longer than what a stream tells again in any case
	if ask[bool](first, shows("HEALTHY")) {
		t.Error("a hidden tab asked")
	}
	for _, tab := range tabs[:3] {
		liveHidden(tab, "false")
	}
	began = time.Now()
	for _, tab := range tabs[:3] {
		tab.until(shows("HEALTHY"))
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("catching up took %s", took)
	}
	waitUntil(t, "the tabs share one stream again", func() bool { return liveStreams(t, st.devProgram) == "1" })

	// The tab that reads the stream goes, and another takes over.
	liveHidden(tabs[0], "true")
	waitUntil(t, "another tab took over", func() bool { return liveStreams(t, st.devProgram) == "1" })
	change("SUSPENDED")
	tabs[1].until(shows("SUSPENDED"))
	tabs[2].until(shows("SUSPENDED"))

	// The session ends in one place, and the pages say so.
	liveAwait[int](tabs[1], `(async () => (await fetch("/logout", { method: "POST", redirect: "manual" })).status)()`)
	tabs[2].until(`document.querySelector("#notice").innerText.includes("Your session has ended")`)
}

// liveHold has a tab note what its browser's stream says, in told, and lets it stop one answer to a request for the list:
// hold.next = "hold" stops the next one on its way until hold.release(), "fail" puts a failure in its place. What of
// the list it shows was read by the console before.
const liveHold = `(() => {
	window.told = [];
	window.listens = new BroadcastChannel("quartermaster-live");
	listens.onmessage = ({ data }) => told.push(data);
	window.hold = { next: "", asked: 0, held: false };
	const real = window.fetch;
	window.fetch = async (address, how) => {
		const answer = await real(address, how);
		if (!String(address).startsWith("/clusters")) return answer;
		hold.asked++;
		const now = hold.next;
		hold.next = "";
		if (now === "hold") {
			hold.held = true;
			await new Promise((resolve) => { hold.release = () => { hold.held = false; resolve(); return true; }; });
		}
		if (now === "fail") {
			hold.failed = true;
			return new Response("<p>It fails.</p>", { status: 503, headers: { "HX-Retarget": "#notice", "HX-Reswap": "innerHTML" } });
		}
		return answer;
	};
	return true;
})()`

// TestLiveNewsIsNotLost: a change that is told while a list is being asked for is shown as soon as that is over, whoever
// asks for it, and one whose list failed is shown with the next interval; a browser whose clock is set back goes on
// looking; and a tab that is hidden leaves the stream to another at once, whatever it is at.
func TestLiveNewsIsNotLost(t *testing.T) {
	st := openStage(t, "QM_POLL_MIN=500ms", "QM_POLL_MAX=500ms")
	s, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	s.do(chromedp.Navigate(st.about.URL + "/login?login_hint=admin%40example.test&return_to=%2Fclusters"))
	s.until(`document.body?.id === "clusters-index"`)
	ask[bool](s, liveHold)
	waitUntil(t, "it reads the stream", func() bool { return liveStreams(t, st.devProgram) == "1" })
	cluster := map[string]string{}
	for _, name := range []string{production, staging} {
		cluster[name] = ask[string](s, `document.querySelector('[data-testid=cluster-row][data-account="`+st.accounts[name].id+`"][data-phase=HEALTHY]').dataset.cluster`)
	}
	change := func(account, phase string) {
		s.t.Helper()
		st.control(s.t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": st.accounts[account].cloud, "cluster": cluster[account], "phase": phase})
	}
	shows := func(account, phase string) string {
		return `document.querySelector('[data-cluster="` + cluster[account] + `"]')?.dataset.phase === "` + phase + `"`
	}
	// tells makes a change, and waits until the tab was told of it.
	tells := func(account, phase string) {
		s.t.Helper()
		ask[int](s, `told.length = 0`)
		change(account, phase)
		st.waitFor(s.t, "the console knows it", `SELECT EXISTS (SELECT FROM clusters WHERE cluster_id = $1 AND phase = $2)`, cluster[account], phase)
		s.until(`told.some((said) => said.event === "changed" && said.data.includes("` + st.accounts[account].id + `"))`)
	}
	within := func(most time.Duration, what, expression string) {
		s.t.Helper()
		began := time.Now()
		s.until(expression)
		if took := time.Since(began); took > most {
			s.t.Errorf("%s: it took %s, want %s at most", what, took, most)
		}
	}

	whole := s
	one := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			s = &surfer{t: t, ctx: whole.ctx, base: whole.base, scripts: true}
			test(t)
		})
	}
	one("a change while another is asked for", func(t *testing.T) {
		ask[string](s, `hold.next = "hold"`)
		change(production, "SUSPENDED")
		s.until(`hold.held`)
		tells(staging, "SUSPENDED")
		ask[bool](s, `hold.release()`)
		within(3*time.Second, "the second change", shows(staging, "SUSPENDED"))
		within(3*time.Second, "the first change", shows(production, "SUSPENDED"))
	})
	one("a change while somebody filters", func(t *testing.T) {
		ask[string](s, `hold.next = "hold"`)
		ask[bool](s, `document.querySelector("#filters [name=q]").dispatchEvent(new Event("input", { bubbles: true }))`)
		s.until(`hold.held`)
		tells(staging, "HEALTHY")
		ask[bool](s, `hold.release()`)
		within(3*time.Second, "the change", shows(staging, "HEALTHY"))
	})
	one("a look that failed", func(t *testing.T) {
		ask[string](s, `hold.next = "fail"`)
		change(production, "HEALTHY")
		s.until(`hold.failed`)
		within(13*time.Second, "the change", shows(production, "HEALTHY")) // the interval is ten seconds
	})
	one("the clock is set back", func(t *testing.T) {
		ask[bool](s, `(() => {
			dispatchEvent(new KeyboardEvent("keydown", { key: "Shift" }));
			const real = Date.now;
			Date.now = () => real() - 3600_000;
			hold.asked = 0;
			return true;
		})()`)
		within(13*time.Second, "looking at intervals", `hold.asked > 0`)
		tells(staging, "SUSPENDED")
		within(3*time.Second, "a change", shows(staging, "SUSPENDED"))
	})
	one("a hidden tab hands over", func(t *testing.T) {
		// It hears of a console whose clock is an hour ahead, and then of one whose clock is right.
		ask[bool](s, `new BroadcastChannel("quartermaster-live").postMessage({ event: "beat", data: "", id: `+strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)+` }), true`)
		tells(production, "SUSPENDED")
		// The stream fails twice, so that the next failure would be waited after for four seconds, and then says nothing.
		ask[bool](s, `(() => {
			const real = window.fetch;
			window.streams = 0;
			window.fetch = (address, how) => {
				if (address !== "/live") return real(address, how);
				window.last = Number(how.headers["Last-Event-ID"]);
				if (++streams < 3) return Promise.reject(new TypeError("no network"));
				return new Promise((_, reject) => how.signal.addEventListener("abort", () => reject(how.signal.reason)));
			};
			return true;
		})()`)
		liveHidden(s, "true")
		waitUntil(t, "nobody reads the stream", func() bool { return liveStreams(t, st.devProgram) == "0" })
		liveHidden(s, "false")
		s.until(`streams > 0`)
		if ahead := time.Until(time.UnixMilli(ask[int64](s, `last`))); ahead > time.Minute {
			t.Errorf("it asks for what came after a time to come, in %s", ahead)
		}
		other, _ := liveTab(t, s)
		s.until(`streams === 3`)
		liveHidden(s, "true")
		began := time.Now()
		waitUntil(t, "the other tab reads the stream", func() bool { return liveStreams(t, st.devProgram) == "1" })
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("another tab had no stream for %s", took)
		}
		change(staging, "HEALTHY")
		other.until(shows(staging, "HEALTHY"))
	})
}
