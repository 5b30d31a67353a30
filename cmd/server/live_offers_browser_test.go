package main

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
)

// liveGives has the admin give the group search-team, which nobody@ is in, a role on an account, and returns the
// grant's address.
func (st *stage) liveGives(t *testing.T, v *visitor, role, scopeKind, scope string) string {
	t.Helper()
	form := v.get("/admin/grants/new?" + url.Values{"subject_kind": {"group"}, "scope_kind": {scopeKind}, "scope": {scope}}.Encode())
	made := v.submit(form, "/admin/grants", map[string]string{"subject": "search-team", "role": role, "scope": scope, "lasts": "7d", "reason": "OPS-1412"})
	if made.status != http.StatusSeeOther {
		t.Fatalf("giving %s: %d\n%s", role, made.status, made.text())
	}
	return made.header.Get("Location")
}

func (st *stage) liveTakes(t *testing.T, v *visitor, grant string) {
	t.Helper()
	if ended := v.submit(v.get(grant+"/delete"), grant+"/delete", map[string]string{"reason": "no longer"}); ended.status != http.StatusSeeOther {
		t.Fatalf("taking it back: %d\n%s", ended.status, ended.text())
	}
}

// liveNavCount is the count of the navigation as somebody reads it; empty for none.
const liveNavCount = `(document.querySelector("#firing")?.innerText.trim() ?? "no count")`

// TestLiveNavigationCount: an alert that begins to fire is counted in the navigation of an open page without a list of
// its own, in place and without a reload; who may not read the cluster is not told; it goes when it is resolved.
func TestLiveNavigationCount(t *testing.T) {
	st := openStage(t)
	_, seen := st.newCluster(t, production, "watched-by-nora")
	_, other := st.newCluster(t, production, "not-hers")
	v := st.visitor(t, admin)
	st.liveGives(t, v, "viewer", "cluster", st.accounts[production].id+"/"+seen)

	s, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	s.signIn(nobody, "clusters-index")
	s.open("/packages", "packages-index")
	ask[bool](s, `window.kept = document.querySelector("#firing"), document.querySelector('nav a[href="/packages"]').focus(), true`)
	if got := ask[string](s, liveNavCount); got != "" {
		t.Fatalf("before anything fires: %q", got)
	}
	phase := func(cluster, phase string) {
		t.Helper()
		st.control(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": st.accounts[production].cloud, "cluster": cluster, "phase": phase})
	}
	firing := func(cluster string, want string) {
		t.Helper()
		st.waitFor(t, "the console reads the alerts of "+cluster, `SELECT (SELECT count(*) FROM cluster_alerts WHERE cluster_id = $1 AND state = 'FIRING') = `+want, cluster)
	}
	phase(other, "NOT_READY")
	firing(other, "1")
	phase(seen, "NOT_READY")
	firing(seen, "1")
	s.until(liveNavCount + `.startsWith("1")`)
	if kept := ask[string](s, `JSON.stringify([document.querySelector("#firing") === kept, document.activeElement.matches('nav a[href="/packages"]'), performance.getEntriesByType("navigation").length])`); kept != "[true,true,1]" {
		t.Errorf("same place, focus kept, pages loaded: %s", kept)
	}
	phase(seen, "HEALTHY")
	firing(seen, "0")
	s.until(liveNavCount + ` === ""`)
}

// liveRetired is what the acts of a page are once they are not allowed any more.
const liveRetired = `JSON.stringify([...document.querySelectorAll("main [data-offers] .btn, main form[method=post] button")].map(b => [b.getAttribute("aria-disabled") === "true", !b.href, document.getElementById(b.getAttribute("aria-describedby"))?.textContent ?? ""]))`

// TestLiveOffersEndWithTheRight: what an open page offers is taken back in place when the right to it is: the offers of a
// page that may still be read become those of now, a form stays with what was typed and says why it cannot be sent,
// and nothing is sent.
func TestLiveOffersEndWithTheRight(t *testing.T) {
	st := openStage(t)
	path, _ := st.newCluster(t, production, "offers-of-nora")
	v := st.visitor(t, admin)
	st.liveGives(t, v, "viewer", "account", st.accounts[production].id)
	grant := st.liveGives(t, v, "operator", "account", st.accounts[production].id)
	s, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	s.signIn(nobody, "clusters-index")
	form, done := openBrowser(t, st.about.URL, true)
	defer done()
	form.signIn(nobody, "clusters-index")
	form.open(path+"/update", "cluster-update")
	form.types("name", "typed-by-nora")

	s.until(`!!document.querySelector('main [data-offers] a[href^="/clusters/new"], main [data-offers] a[href*="/clusters/new"]')`)
	waitUntil(t, "both read the stream", func() bool { return liveStreams(t, st.devProgram) == "2" })
	before := st.events(t, `act = 'cluster.update'`)
	st.liveTakes(t, v, grant)
	s.until(`!document.querySelector('main [data-offers] a[href*="/clusters/new"]')`)
	form.until(`document.body.dataset.retired === "right"`)
	form.says("Not any more: you do not hold the right to it now.", "write:clusters")
	form.do(chromedp.Click(chromedp.CSS("main form[method=post] button.btn-primary")))
	if got := ask[string](form, `JSON.stringify([document.querySelector('[name="name"]').value, document.body.id, document.querySelector("main form[method=post] button.btn-primary").getAttribute("aria-disabled")])`); got != `["typed-by-nora","cluster-update","true"]` {
		t.Errorf("what was typed, the page, its button: %s", got)
	}
	if refused := st.events(t, `act = 'cluster.update'`) - before; refused > 1 { // looking again at the form is one
		t.Errorf("%d events of changing the cluster", refused)
	}
}

// TestLiveOffersEndWithTheSession: when the session ends, the acts of pages that are open say so, and keep their place.
func TestLiveOffersEndWithTheSession(t *testing.T) {
	st := openStage(t)
	path, _ := st.newCluster(t, production, "offers-of-olga")
	s, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	s.signIn(operator, "clusters-index")
	s.open(path, "cluster-show")
	waitUntil(t, "it reads the stream", func() bool { return liveStreams(t, st.devProgram) == "1" })
	offers := ask[int](s, `document.querySelectorAll("main [data-offers] .btn").length`)
	ask[bool](s, `document.querySelector("main [data-offers] a").focus(), true`)
	liveAwait[int](s, `(async () => (await fetch("/logout", { method: "POST", redirect: "manual" })).status)()`)
	s.until(`document.body.dataset.retired === "session"`)
	s.says("Your session has ended", "Not any more: your session has ended.")
	if got := ask[int](s, `document.querySelectorAll('main [data-offers] .btn[aria-disabled="true"]:not([href])').length`); got != offers || offers == 0 {
		t.Errorf("%d of %d offers are off: %s", got, offers, ask[string](s, liveRetired))
	}
	if !ask[bool](s, `document.activeElement.matches("[data-offers] a")`) {
		t.Error("the focus went elsewhere")
	}
	s.isAccessible(axeSource(t))
}

// TestLiveOffersOfAPageThatLeadsElsewhere: a form whose address leads to another page after the member's rights changed
// stays with what was typed, and says so; nothing of the other page is taken for its own.
func TestLiveOffersOfAPageThatLeadsElsewhere(t *testing.T) {
	st := openStage(t)
	v := st.visitor(t, admin)
	st.liveGives(t, v, "account-admin", "account", st.accounts[production].id)
	grant := st.liveGives(t, v, "viewer", "account", st.accounts[production].id)
	s, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	s.signIn(nobody, "clusters-index")
	s.open(grant+"/delete", "grant-delete")
	s.types("reason", "typed-by-nora")
	waitUntil(t, "it reads the stream", func() bool { return liveStreams(t, st.devProgram) == "1" })
	st.liveTakes(t, v, grant)
	s.until(`document.body.dataset.retired === "moved"`)
	s.says("Not any more: this page leads elsewhere now.")
	if got := ask[string](s, `JSON.stringify([document.querySelector('[name="reason"]').value, document.body.id, document.querySelector("main form[method=post] button").getAttribute("aria-disabled")])`); got != `["typed-by-nora","grant-delete","true"]` {
		t.Errorf("what was typed, the page, its button: %s", got)
	}
	s.isAccessible(axeSource(t))
}
