package main

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// surfer is a person with a browser.
type surfer struct {
	t       *testing.T
	ctx     context.Context
	base    string
	scripts bool
}

// openBrowser starts a browser with scripts on or off. Whatever it complains of fails the test
// when close is called: a script's error, a message, what the content policy stopped.
func openBrowser(t *testing.T, base string, scripts bool) (s *surfer, finish func()) {
	t.Helper()
	s = &surfer{t: t, ctx: browser(t), base: base, scripts: scripts}
	watched, stop := context.WithCancel(s.ctx)
	messages, done := chromedp.Console(watched), make(chan struct{})
	var complaints []string
	go func() {
		defer close(done)
		for m, err := range messages {
			if err != nil {
				return
			}
			complaints = append(complaints, m.String()+" at "+m.URL)
		}
	}()
	if !scripts {
		if _, err := chromedp.Call(s.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
			t.Fatal(err)
		}
	}
	return s, func() {
		stop()
		<-done
		for _, c := range complaints {
			// The browser says this of every answer over 399, also of one that was wanted, and of going
			// back to the answer of a form, which it may not keep.
			if !strings.Contains(c, "Failed to load resource: the server responded with a status of 4") && !strings.Contains(c, "net::ERR_CACHE_MISS") {
				t.Errorf("the browser complains: %s", c)
			}
		}
	}
}

func (s *surfer) do(steps ...chromedp.Action[chromedp.Void]) {
	s.t.Helper()
	inBrowser(s.t, s.ctx, steps...)
}

// open goes to an address of the console and waits for a page.
func (s *surfer) open(path, bodyID string) {
	s.t.Helper()
	s.do(chromedp.Navigate(s.base+path), chromedp.WaitVisible(chromedp.CSS("body#"+bodyID)))
}

// click presses what the selector names and waits for the next page, by its body's id. The old
// page's body must have another id, or the page another mark.
func (s *surfer) click(selector, bodyID string) {
	s.t.Helper()
	s.do(chromedp.Click(chromedp.CSS(selector)), chromedp.WaitVisible(chromedp.CSS("body#"+bodyID)))
}

// again presses what the selector names and waits for the page that comes in place of this one, of the
// same kind: nothing on the old one says when it is gone but a mark that the new one lacks.
func (s *surfer) again(selector string) {
	s.t.Helper()
	ask[bool](s, `document.documentElement.toggleAttribute("data-old", true)`)
	s.do(chromedp.Click(chromedp.CSS(selector)))
	s.until(`document.readyState === "complete" && !document.documentElement.hasAttribute("data-old")`)
}

// link presses the link with an address.
func (s *surfer) link(href, bodyID string) {
	s.t.Helper()
	s.click(`main a[href="`+href+`"]`, bodyID)
}

// ask evaluates an expression about the page, which works with scripts off as well.
func ask[T any](s *surfer, expression string) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		s.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression about the page is true. Between navigations there may be no
// page to ask.
func (s *surfer) until(expression string) {
	s.t.Helper()
	waitUntil(s.t, expression, func() bool {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		return err == nil && yes
	})
}

func (s *surfer) text() string {
	s.t.Helper()
	return ask[string](s, `(document.querySelector("#said-area")?.innerText ?? "") + "\n" + document.querySelector("main").innerText`)
}

// says fails the test when the page's messages and content lack words.
func (s *surfer) says(words ...string) {
	s.t.Helper()
	text := s.text()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.t.Errorf("%s does not say %q:\n%s", ask[string](s, "location.href"), w, text)
		}
	}
}

const rows = `document.querySelectorAll('[data-testid="cluster-row"]').length`

// signIn goes through the sign-in page and the provider's, choosing the member with a click.
func (s *surfer) signIn(member, bodyID string) {
	s.t.Helper()
	s.do(
		chromedp.Navigate(s.base+"/login"),
		chromedp.Click(chromedp.CSS(`body#sign-in main a.btn-primary`)),
		chromedp.WaitVisible(chromedp.CSS(`button[value="`+member+`"]`)),
		chromedp.Click(chromedp.CSS(`button[value="`+member+`"]`)),
		chromedp.WaitVisible(chromedp.CSS("body#"+bodyID)),
	)
}

// signOut uses the member's menu, where there is one.
func (s *surfer) signOut() {
	s.t.Helper()
	s.do(chromedp.Click(chromedp.CSS("details.pop summary")), chromedp.Click(chromedp.CSS(`details.pop form[action="/logout"] button`)),
		chromedp.WaitVisible(chromedp.CSS("body#sign-in")))
	s.do(chromedp.Navigate(s.base + "/clusters"))
	s.until(`document.body.id !== "clusters-index"`)
}

// inTheBrowser is what the members do in a day, in a real browser.
func inTheBrowser(t *testing.T, st *stage, scripts bool) {
	name := "in-the-browser"
	if !scripts {
		name = "without-scripts"
	}
	path, id := st.newCluster(t, production, name)
	s, finish := openBrowser(t, st.about.URL, scripts)

	s.signIn(operator, "clusters-index")
	s.looksAround(name)
	s.actsOnCluster(st, path, id, name)
	s.signOut()

	s.signIn(viewer, "clusters-index")
	s.mayOnlyLook(st)
	s.signOut()

	s.signIn(admin, "clusters-index")
	s.addsAndRemovesAccount(st)
	s.signOut()

	s.signIn(auditor, "clusters-index")
	s.readsLog(id)
	s.signOut()

	s.signIn(nobody, "no-rights")
	ask[bool](s, `document.querySelectorAll("main details").forEach(d => { d.open = true }) === undefined`)
	s.says("You are signed in, but have no access yet", "engineering", nobody)
	s.signOut()
	finish()
}

// looksAround searches, filters and sorts the fleet.
func (s *surfer) looksAround(own string) {
	t := s.t
	all := ask[int](s, rows)
	if all < 30 {
		t.Errorf("the fleet has %d rows", all)
	}
	if s.scripts { // a browser drops what is typed before it has painted a page for the first time
		if _, err := chromedp.Run(s.ctx, chromedp.Evaluate[any](`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))`, chromedp.EvalAwaitPromise)); err != nil {
			t.Fatal(err)
		}
	}
	s.do(chromedp.SendKeys(chromedp.CSS("#q-q"), own))
	s.until(`document.querySelector("#q-q").value === "` + own + `"`)
	if s.scripts {
		s.until(rows + ` === 1 && new URL(location).searchParams.get("q") === "` + own + `"`) // by itself, and in the address
	} else {
		s.do(chromedp.Click(chromedp.CSS(`#filters button[type="submit"]`)))
		s.until(rows + ` === 1 && new URL(location).searchParams.get("q") === "` + own + `"`)
	}
	s.do(chromedp.Reload())
	s.until(rows + ` === 1 && document.querySelector("#q-q").value === "` + own + `"`)
	s.do(chromedp.Click(chromedp.CSS(`#filters a[href="/clusters"]`)))
	s.until(rows + " > 29")

	s.do(chromedp.SetValue(chromedp.CSS("#q-environment"), "staging"), chromedp.Click(chromedp.CSS(`#q-q`)))
	if s.scripts {
		ask[bool](s, `document.querySelector("#q-environment").dispatchEvent(new Event("input", {bubbles: true}))`)
	} else {
		s.do(chromedp.Click(chromedp.CSS(`#filters button[type="submit"]`)))
	}
	s.until(`new URL(location).searchParams.get("environment") === "staging" && ` + rows + ` > 5 && ` + rows + ` < ` + strconv.Itoa(all))
	s.do(chromedp.Click(chromedp.CSS(`th a.sort[href*="sort=name"]`)))
	s.until(`document.readyState === "complete" && new URL(location).searchParams.get("dir") === "desc" && !!document.querySelector('th[aria-sort="descending"]')`)
	sorted := ask[bool](s, `(names => names.length > 5 && names.every((n, i) => !i || names[i-1] >= n))([...document.querySelectorAll('[data-testid="cluster-row"] a.rowlnk')].map(a => a.textContent.toLowerCase()))`)
	if !sorted {
		t.Error("the rows are not sorted by name, descending")
	}
	if env := ask[string](s, `new URL(location).searchParams.get("environment")`); env != "staging" {
		t.Errorf("sorting dropped the filter: %q", env)
	}
	s.open("/clusters?q=no-cluster-is-called-so", "clusters-index")
	s.says("No cluster matches")
	if s.scripts {
		s.usesKeys()
	}
}

// usesKeys finds its way without a mouse.
func (s *surfer) usesKeys() {
	s.open("/clusters", "clusters-index")
	s.do(chromedp.KeyEvent("/"))
	s.until(`document.activeElement.id === "q-q" && document.activeElement.value === ""`)
	s.do(chromedp.KeyEvent(kb.Escape))
	s.until(`document.activeElement.id !== "q-q"`)
	s.do(chromedp.KeyEvent("?"))
	s.until(`document.querySelector("#help").open`)
	s.do(chromedp.KeyEvent(kb.Escape))
	s.until(`!document.querySelector("#help").open`)
	s.do(chromedp.KeyEvent("g"), chromedp.KeyEvent("a"), chromedp.WaitVisible(chromedp.CSS("body#accounts-index")))
}

// actsOnCluster restarts, suspends, resumes and deletes a cluster, and changes its mind each time first.
func (s *surfer) actsOnCluster(st *stage, path, id, name string) {
	t := s.t
	s.open("/clusters?q="+name, "clusters-index")
	s.link(path, "cluster-show")
	s.says(name, id, "Healthy")
	s.link(path+"/restart", "cluster-restart")
	s.link(path, "cluster-show") // Cancel
	s.link(path+"/restart", "cluster-restart")
	st.withClock(func() {
		s.click(`form[action="`+path+`/restart"] button`, "cluster-show")
		if phase := ask[string](s, `document.querySelector("#cluster").dataset.phase`); phase == "HEALTHY" {
			t.Error("the page shows the cluster as healthy right after the restart")
		}
		s.says("Restart asked for")
		s.moves(st, path, "HEALTHY")
	})
	s.link(path+"/suspend", "cluster-suspend")
	st.withClock(func() {
		s.click(`form[action="`+path+`/suspend"] button`, "cluster-show")
		s.says("Suspension asked for")
		s.moves(st, path, "SUSPENDED")
		s.do(chromedp.Click(chromedp.CSS(`form[action="` + path + `/unsuspend"] button`)))
		s.until(`document.body.innerText.includes("Resuming asked for")`)
		s.moves(st, path, "HEALTHY")
	})

	s.link(path+"/delete", "cluster-delete")
	s.link(path, "cluster-show")
	s.link(path+"/delete", "cluster-delete")
	s.click(`form[action="`+path+`/delete"] button[type="submit"]`, "cluster-delete")
	s.until(`!!document.querySelector("#problems")`)
	s.says("Choose what becomes of the backups")
	s.do(chromedp.SendKeys(chromedp.CSS("#f-confirm"), name), chromedp.Click(chromedp.CSS(`input[name="delete_backups"][value="no"]`)))
	s.click(`form[action="`+path+`/delete"] button[type="submit"]`, "cluster-show")
	s.says("Deletion asked for")
	st.turn(t)
	if s.scripts {
		s.until(`document.querySelector("main").innerText.includes("no longer exists")`)
	} else {
		waitUntil(t, "the page says that the cluster is gone", func() bool {
			s.open(path, "cluster-show")
			return strings.Contains(s.text(), "no longer exists")
		})
	}
}

// moves turns the sandbox's clock and watches a cluster's page reach a phase: by itself with
// scripts, and by looking again without.
func (s *surfer) moves(st *stage, path, phase string) {
	s.t.Helper()
	reached := `document.querySelector("#cluster").dataset.phase === "` + phase + `"`
	if s.scripts {
		ask[int](s, `window.sameLoad = 1`)
		st.advance(s.t)
		s.until(reached)
		if !ask[bool](s, `window.sameLoad === 1`) {
			s.t.Error("the page was loaded anew to show " + phase)
		}
		return
	}
	st.advance(s.t)
	waitUntil(s.t, "the page shows "+phase, func() bool {
		s.open(path, "cluster-show")
		return ask[bool](s, reached)
	})
}

// mayOnlyLook is a viewer's day: acts stand there with the reason why they are not offered.
func (s *surfer) mayOnlyLook(st *stage) {
	path, _ := st.cluster(s.t, "catalogue-dedup")
	s.open(path, "cluster-show")
	s.says("You need write:clusters here.", "You need delete:clusters here.")
	if n := ask[int](s, `document.querySelectorAll("main form, main a[href$='/restart'], main a[href$='/suspend'], main a[href$='/delete']").length`); n != 0 {
		s.t.Errorf("%d acts are offered to a viewer", n)
	}
	s.do(chromedp.Navigate(s.base+path+"/restart"), chromedp.WaitVisible(chromedp.CSS("body#error")))
	s.says("write:clusters")
	s.do(chromedp.Navigate(s.base+"/accounts"), chromedp.WaitVisible(chromedp.CSS("body#accounts-index")))
	if n := ask[int](s, `document.querySelectorAll('a[href="/accounts/new"], a[href="/audit"]').length`); n != 0 {
		s.t.Errorf("%d links lead a viewer to what is not theirs", n)
	}
}

// addsAndRemovesAccount adds the spare account in one step, stops and starts it, and removes it.
func (s *surfer) addsAndRemovesAccount(st *stage) {
	t := s.t
	st.spare.Lock()
	defer st.spare.Unlock()
	spare := st.about.Spare
	deleted := st.callsOf(t, spare.CloudAccountID)["DeleteManagementKey"]
	s.open("/accounts", "accounts-index")
	s.link("/accounts/new", "account-new")
	s.link("/accounts", "accounts-index") // Cancel, or the crumb
	s.link("/accounts/new", "account-new")
	s.do(
		chromedp.SendKeys(chromedp.CSS("#f-management_key"), spare.ManagementKey),
		chromedp.Click(chromedp.CSS(`input[name="environment"][value="development"]`)),
		chromedp.SendKeys(chromedp.CSS("#f-note"), "for research"),
	)
	s.click(`form[action="/accounts"] button[type="submit"]`, "account-show")
	s.says("Northwind Research", spare.CloudAccountID, "for research", "development")
	s.do(chromedp.Click(chromedp.CSS("#permissions summary")))
	if may := ask[string](s, `[...document.querySelectorAll("#permissions dl > div")].find(d => d.querySelector("dt").innerText.toLowerCase() === "clusters")?.innerText ?? ""`); !strings.Contains(may, "read") || !strings.Contains(may, "write") || !strings.Contains(may, "delete") {
		t.Errorf("the account's page says of what the key may do with clusters: %q", may)
	}
	if strings.Contains(ask[string](s, "document.documentElement.outerHTML"), spare.ManagementKey) {
		t.Error("the account's page holds the key")
	}
	account := mustURL(ask[string](s, "location.href")).Path
	waitUntil(t, "the new account's clusters are in the fleet", func() bool {
		s.open("/clusters?account="+url.QueryEscape(strings.TrimPrefix(account, "/accounts/")), "clusters-index")
		return ask[int](s, rows) == 5
	})
	s.open(account, "account-show")
	s.do(chromedp.Click(chromedp.CSS(`form[action="` + account + `/disable"] button`)))
	s.until(`!!document.querySelector('form[action="` + account + `/enable"]')`)
	s.says("This account is disabled")
	s.do(chromedp.Click(chromedp.CSS(`form[action="` + account + `/enable"] button`)))
	s.until(`!!document.querySelector('form[action="` + account + `/disable"]')`)

	s.link(account+"/delete", "account-delete")
	s.says("Leave the key at Qdrant Cloud", "It stays valid")
	s.link(account, "account-show")
	s.link(account+"/delete", "account-delete")
	s.do(chromedp.Click(chromedp.CSS(`input[name="delete_key"][value="no"]`)), chromedp.SendKeys(chromedp.CSS("#f-confirm"), "Northwind Research"))
	s.click(`form[action="`+account+`/delete"] button[type="submit"]`, "accounts-index")
	s.until(`document.querySelectorAll('[data-testid="account-row"]').length === 3`)
	if n := st.callsOf(t, spare.CloudAccountID)["DeleteManagementKey"]; n != deleted {
		t.Errorf("the key was deleted %d times at the Cloud API", n-deleted)
	}
}

// readsLog finds the deletion of a cluster and reads one event in full.
func (s *surfer) readsLog(clusterID string) {
	s.do(chromedp.Click(chromedp.CSS(`nav[aria-label="Main"] a[href="/audit"]`)), chromedp.WaitVisible(chromedp.CSS("body#audit-index")))
	s.do(chromedp.SendKeys(chromedp.CSS("#q-q"), clusterID), chromedp.SetValue(chromedp.CSS("#q-act"), "cluster.delete"), chromedp.Click(chromedp.CSS(`#filters button[type="submit"]`)))
	s.until(`new URL(location).searchParams.get("act") === "cluster.delete" && document.querySelectorAll('[data-testid="audit-row"][data-act="cluster.delete"][data-outcome="ok"]').length === 1`)
	s.click(`[data-testid="audit-row"] a.rowlnk`, "audit-event")
	s.says("Oscar Operator", operator, "127.0.0.1", "DeleteCluster", clusterID, "delete_backups", "This event is what was recorded")
	if n := ask[int](s, `document.querySelectorAll('[data-testid="change-row"]').length`); n < 2 {
		s.t.Errorf("%d fields changed", n)
	}
}
