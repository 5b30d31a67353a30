package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// makesCluster is how an operator makes a cluster: finds the account, compares packages and prices, is told
// of a mistake, asks for it, watches it come up, leaves and comes back.
func makesCluster(t *testing.T, st *stage, scripts bool) {
	name := "orchard-scripted"
	if !scripts {
		name = "orchard-plain"
	}
	account := "/accounts/" + st.accounts[staging].id
	s, finish := openBrowser(t, st.about.URL, scripts)
	s.signIn(operator, "clusters-index")
	s.link("/clusters/new", "cluster-new-account")
	s.says("In which account?", production, staging)
	s.link(account+"/clusters/new", "cluster-new")
	s.choosesPlaceAndSize(name, account)

	s.fill("name", "x")
	s.do(chromedp.Click(chromedp.CSS("#cluster-form button.btn-primary")))
	s.until(`!!document.querySelector("#problems")`)
	s.says("2 to 64 letters, digits, - and _.")
	if wrong := ask[string](s, `document.querySelector("#f-name").getAttribute("aria-invalid") + " " + document.querySelector("#f-nodes").value + " " + document.querySelector("#f-labels").value`); wrong != "true 2 team=journeys" {
		t.Errorf("what was typed is now %q", wrong)
	}
	if n := st.events(t, `act = 'cluster.create' AND search LIKE '%' || $1 || '%'`, name); n != 0 {
		t.Errorf("%d events of a form that was not sent on", n)
	}

	s.fill("name", name)
	st.withClock(func() {
		s.click("#cluster-form button.btn-primary", "cluster-show")
		s.says("Cluster asked for", name, "Creating", "None yet. It is shown here as soon as the cluster has one.")
		path := mustURL(ask[string](s, "location.href")).Path
		s.do(chromedp.Reload())
		s.until(`document.body.id === "cluster-show"`)
		s.open("/clusters?q="+name, "clusters-index") // leaves
		s.link(path, "cluster-show")                  // and comes back
		s.moves(st, path, "HEALTHY")
		s.until(`document.querySelector('[aria-labelledby="endpoint"]').innerText.includes("https://")`)
	})
	id := mustURL(ask[string](s, "location.href")).Path
	id = id[strings.LastIndex(id, "/")+1:]
	waitUntil(t, "the end is on record", func() bool {
		return st.events(t, `act = 'cluster.create' AND target_id = $1 AND phase = 'settled' AND outcome = 'ok'`, id) == 1
	})

	// Back to the form: it is a new one, which makes nothing by being shown.
	s.open(account+"/clusters/new", "cluster-new")
	s.do(chromedp.Navigate(s.base + account))
	s.until(`document.body.id === "account-show"`)
	ask[int](s, `(history.back(), 1)`)
	s.until(`document.body.id === "cluster-new" && document.querySelector("#f-name").value !== "` + name + `"`)
	if n := st.madeOf(t, staging, name); n != 1 {
		t.Errorf("there are %d clusters of the name", n)
	}
	s.open("/clusters", "clusters-index")
	s.signOut()
	s.signIn(auditor, "clusters-index")
	s.open("/audit?act=cluster.create&q="+id, "audit-index")
	if n := ask[int](s, `document.querySelectorAll('[data-testid="audit-row"]').length`); n != 1 {
		t.Errorf("the log lists %d rows of one operation", n)
	}
	s.click(`[data-testid="audit-row"] a.rowlnk`, "audit-event")
	s.says("settled", "team=journeys")
	s.signOut()
	finish()
}

// choosesPlaceAndSize goes to another provider and reads the price of what it chooses.
func (s *surfer) choosesPlaceAndSize(name, account string) {
	t := s.t
	s.fill("name", name)
	s.do(chromedp.SetValue(chromedp.CSS("#f-cloud_provider"), "gcp"))
	if s.scripts {
		ask[int](s, `window.sameLoad = 1`)
		ask[bool](s, `document.querySelector("#f-cloud_provider").dispatchEvent(new Event("change", {bubbles: true}))`)
	} else {
		s.do(chromedp.Click(chromedp.CSS(`#cluster-form button[formaction]`)))
	}
	s.until(`document.body.id === "cluster-new" && [...document.querySelectorAll("#f-region option")].some(o => o.value === "europe-west3")`)
	if kept := ask[string](s, `document.querySelector("#f-name").value`); kept != name {
		t.Errorf("the name was %q, and is %q in another place", name, kept)
	}
	s.fill("nodes", "2")
	s.fill("labels", "team=journeys")
	s.do(chromedp.Click(chromedp.CSS(`[data-testid="package-option"][data-name="mx2"] input`)))
	if !s.scripts {
		s.do(chromedp.Click(chromedp.CSS(`#cluster-form button[formaction]`)))
	}
	s.until(`(q => q.innerText.includes("For 2 nodes of mx2") && q.innerText.includes("$"))(document.querySelector('[data-testid="quote"]'))`)
	if !s.scripts {
		return
	}
	if !ask[bool](s, `window.sameLoad === 1`) {
		t.Error("the page was loaded anew to tell a price")
	}
	asked := ask[string](s, `performance.getEntriesByType("resource").map(e => e.name).filter(n => n.includes("/clusters/quote")).join("\n")`)
	if !strings.Contains(asked, account+"/clusters/quote") || strings.Contains(asked, "form_token") || strings.Contains(asked, "labels") {
		t.Errorf("the price was asked for at %s", asked)
	}
}

// madeOf counts the clusters of a name that an account of the Cloud API has, by the console's snapshot after a
// complete listing that began now.
func (st *stage) madeOf(t *testing.T, account, name string) (n int) {
	t.Helper()
	id, now := st.accounts[account].id, time.Now()
	st.waitFor(t, "the account is listed anew", `SELECT EXISTS (SELECT FROM refresh WHERE kind = 'clusters' AND account_id::text = $1 AND ok_at > $2)`, id, now)
	if err := st.db.QueryRow(t.Context(), `SELECT count(*) FROM clusters WHERE account_id::text = $1 AND name = $2`, id, name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// sentTwice sends one form again and again: at once as from two tabs, and after it was answered.
func sentTwice(t *testing.T, st *stage) {
	account := "/accounts/" + st.accounts[production].id
	st.control(t, http.MethodPost, "account", map[string]any{"account": st.accounts[production].cloud, "quotas": map[string]int{"clusters": 100}})
	v := st.signIn(t, operator).withoutRedirects()
	filled := func(name string) url.Values {
		t.Helper()
		f := v.get(account+"/clusters/new?cloud_provider=aws&region=eu-central-1").form(t, account+"/clusters")
		f.values.Set("name", name)
		return f.values
	}
	values := filled("sent-twice")
	var both sync.WaitGroup
	for range 4 {
		both.Go(func() {
			if got := v.post(account+"/clusters", values); got.status != http.StatusSeeOther {
				t.Errorf("%d:\n%s", got.status, got.text())
			}
		})
	}
	both.Wait()
	again := v.post(account+"/clusters", values)
	if n := st.madeOf(t, production, "sent-twice"); n != 1 || again.status != http.StatusSeeOther || !strings.HasPrefix(again.header.Get("Location"), account+"/clusters/") {
		t.Errorf("%d clusters; the fifth post leads to %q (%d)", n, again.header.Get("Location"), again.status)
	}
}

// TestACreateWhoseAnswerIsLost has the connection break after the Cloud API has made the cluster: it is not asked
// for again, by no press of a button, and is found by itself.
func TestACreateWhoseAnswerIsLost(t *testing.T) {
	st := openStage(t, "QM_AUDIT_UNKNOWN_AFTER=2s")
	account := "/accounts/" + st.accounts[staging].id
	s, finish := openBrowser(t, st.about.URL, true)
	s.signIn(operator, "clusters-index")
	s.open(account+"/clusters/new?cloud_provider=aws&region=eu-central-1", "cluster-new")
	s.fill("name", "lost-and-found")
	sent := ask[string](s, `new URLSearchParams(new FormData(document.querySelector("#cluster-form"))).toString()`)
	post := func() string {
		t.Helper()
		ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
		defer cancel()
		end, err := chromedp.Run(ctx, chromedp.Evaluate[string](
			`fetch("`+account+`/clusters", {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: "`+sent+`"}).then(r => r.url)`, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		return mustURL(end).Path
	}
	st.control(t, http.MethodPost, "faults", map[string]any{"operation": "CreateCluster", "kind": "lost_answer", "times": 1})
	s.click("#cluster-form button.btn-primary", "clusters-index")
	s.says("is not known yet", "nothing is asked for twice")
	if end := post(); end != "/clusters" && !strings.HasPrefix(end, account+"/clusters/") {
		t.Errorf("sent again at once, the form leads to %s", end)
	}
	waitUntil(t, "it is known what became of it", func() bool {
		return st.events(t, `act = 'cluster.create' AND phase = 'outcome' AND outcome = 'ok' AND inferred`) == 1
	})
	var id string
	if err := st.db.QueryRow(t.Context(), `SELECT target_id FROM audit.events WHERE act = 'cluster.create' AND phase = 'outcome'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the form leads to what it made", func() bool { return post() == account+"/clusters/"+id })
	if made, calls := st.madeOf(t, staging, "lost-and-found"), st.callsOf(t, st.accounts[staging].cloud)["CreateCluster"]; made != 1 || calls != 1 {
		t.Errorf("%d clusters of %d calls", made, calls)
	}
	st.turn(t)
	waitUntil(t, "the end is on record", func() bool { return st.events(t, `phase = 'settled' AND outcome = 'ok' AND target_id = $1`, id) == 1 })
	finish()
}
