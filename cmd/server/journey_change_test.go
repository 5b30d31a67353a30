package main

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// changingAClusterJourney changes clusters as people do: by the forms alone, through the legacy API, by a
// script's bare post, and in a browser with scripts and without.
func changingAClusterJourney(t *testing.T, st *stage) {
	t.Run("by forms alone", func(t *testing.T) { changesByForms(t, st) })
	t.Run("bad input", func(t *testing.T) { badChanges(t, st) })
	t.Run("refused upstream", func(t *testing.T) { refusedChanges(t, st) })
	t.Run("through the legacy API", func(t *testing.T) { legacyChange(t, st) })
	t.Run("in a browser with scripts", func(t *testing.T) { changesInBrowser(t, st, true) })
	t.Run("in a browser without scripts", func(t *testing.T) { changesInBrowser(t, st, false) })
}

// updatesOf counts the changes of clusters that were sent for an account.
func (st *stage) updatesOf(t *testing.T, account string) int {
	t.Helper()
	calls := st.callsOf(t, st.accounts[account].cloud)
	return calls["UpdateCluster"] + calls["update_cluster"]
}

// sides returns a comparing page's rows by their setting: what stands on each side.
func (p page) sides(testID string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, tr := range elements(p.root, "tr") {
		if attributeOf(tr, "data-testid") != testID {
			continue
		}
		row := map[string]string{}
		for _, td := range elements(tr, "td") {
			if side := attributeOf(td, "data-side"); side != "" {
				row[side] = textOf(td)
			}
		}
		all[attributeOf(tr, "data-field")] = row
	}
	return all
}

// priceText is what the comparison says of the price.
func (p page) priceText() string {
	for _, n := range elements(p.root, "section") {
		if attributeOf(n, "data-testid") == "price-difference" {
			return textOf(n)
		}
	}
	return ""
}

// packageID finds a package of the form by its name.
func (p page) packageID(t *testing.T, name string) string {
	t.Helper()
	for _, l := range elements(p.root, "label") {
		if text := textOf(l); strings.HasPrefix(text, name+" ") || strings.HasPrefix(text, name+", ") {
			for _, input := range elements(l, "input") {
				return attributeOf(input, "value")
			}
		}
	}
	t.Fatalf("the form offers no package %s:\n%s", name, p.text())
	return ""
}

func changesByForms(t *testing.T, st *stage) {
	path, id := st.newCluster(t, staging, "change-by-forms")
	v := st.signIn(t, operator)
	review, apply := path+"/update/review", path+"/update"
	sent := st.updatesOf(t, staging)

	form := v.follow(v.get(path), "Change")
	if form.bodyID() != "cluster-update" {
		t.Fatalf("Change leads to %s: %s", form.bodyID(), form.text())
	}
	wellMade(t, form)
	more := v.submit(form, review, map[string]string{"package_id": form.packageID(t, "mx2"), "nodes": "3"})
	if more.bodyID() != "cluster-update-review" || more.status != http.StatusOK {
		t.Fatalf("%d %s: %s", more.status, more.bodyID(), more.text())
	}
	wellMade(t, more)
	rows := more.sides("change-row")
	if len(rows) != 2 || !strings.HasPrefix(rows["package_id"]["before"], "mx1 ") || !strings.HasPrefix(rows["package_id"]["after"], "mx2 ") || rows["nodes"]["before"] != "1" || rows["nodes"]["after"] != "3" {
		t.Errorf("the comparison has %v", rows)
	}
	for _, words := range []string{"$0.04712", "$0.28272", "Costs more", "+$0.2356", "+$171.99"} {
		if !strings.Contains(more.priceText(), words) {
			t.Errorf("the price does not say %s: %s", words, more.priceText())
		}
	}

	again := more.form(t, apply).values
	again.Set("edit", "yes")
	back := v.post(review, again)
	if kept := back.form(t, review).values; back.bodyID() != "cluster-update" || kept.Get("nodes") != "3" || kept.Get("package_id") != form.packageID(t, "mx2") {
		t.Errorf("back at %s with %v", back.bodyID(), kept)
	}
	if st.updatesOf(t, staging) != sent || st.events(t, `act = 'cluster.update' AND target_id = $1`, id) != 0 {
		t.Error("comparing changed something, or left an event")
	}

	var done page
	st.withClock(func() { done = v.submit(v.submit(back, review, nil), apply, nil) })
	if done.bodyID() != "cluster-show" || !strings.Contains(textOf(done.byID("flash")), "Change asked for") {
		t.Fatalf("applying ends at %s: %s", done.bodyID(), done.text())
	}
	twice := v.post(apply, more.form(t, apply).values)
	if twice.status != http.StatusConflict || twice.bodyID() != "cluster-update-stale" || !strings.Contains(twice.text(), "as you want it already") {
		t.Errorf("sent twice: %d %s", twice.status, twice.text())
	}
	wellMade(t, twice)
	if got := st.updatesOf(t, staging); got != sent+1 {
		t.Errorf("%d changes were sent, want 1", got-sent)
	}
	st.turn(t)
	st.phase(t, v, path, "HEALTHY")
	if labelled := v.submit(v.submit(v.get(path+"/update"), review, map[string]string{"labels": "team=search\nenv=test"}), apply, nil); labelled.bodyID() != "cluster-show" {
		t.Errorf("labels: %d %s", labelled.status, labelled.text())
	}
	downscale(t, st, v, path)
	staleThenOn(t, st, v, path, id)
}

// lostChange has the answer to a change lost: it was done, and sending the form again does nothing twice.
func (w *badWeek) lostChange(t *testing.T) {
	v := w.people[operator]
	path, id := w.newCluster(t, staging, "changed-on-a-bad-day")
	comparison := v.submit(v.get(path+"/update"), path+"/update/review", map[string]string{"labels": "team=search", "cost_allocation_label": "cc-1"})
	sent := w.updatesOf(t, staging)
	done := w.fault(t, staging, "UpdateCluster", map[string]any{"kind": "lost_answer"})
	lost := v.submit(comparison, path+"/update", nil)
	done()
	if lost.status != http.StatusServiceUnavailable || !strings.Contains(lost.text(), "it may have been done") {
		t.Errorf("a lost answer: %d %s", lost.status, lost.text())
	}
	again := v.submit(comparison, path+"/update", nil)
	if again.status != http.StatusConflict || !strings.Contains(again.text(), "as you want it already") {
		t.Errorf("sent again: %d %s", again.status, again.text())
	}
	if got := w.updatesOf(t, staging); got != sent+1 {
		t.Errorf("%d changes were sent, want 1", got-sent)
	}
	w.waitFor(t, "it is found out", `SELECT EXISTS (SELECT FROM audit.events WHERE act = 'cluster.update' AND target_id = $1 AND phase = 'outcome' AND outcome = 'ok'
		AND convert_from(body, 'UTF8')::jsonb->>'inferred' = 'true')`, id)
}

func downscale(t *testing.T, st *stage, v *visitor, path string) {
	t.Helper()
	form := v.get(path + "/update")
	if kept := form.form(t, path+"/update/review").values.Get("labels"); kept != "env=test\nteam=search" {
		t.Errorf("the form has the labels %q", kept)
	}
	small := form.packageID(t, "mx1")
	shrunk := v.submit(form, path+"/update/review", map[string]string{"package_id": small})
	if told := hasFieldError(t, "less disk", shrunk, "additional_disk_gib"); shrunk.status != http.StatusUnprocessableEntity || !strings.Contains(told, "at least 16 GiB") {
		t.Errorf("%d: %s", shrunk.status, told)
	}
	less := v.submit(shrunk, path+"/update/review", map[string]string{"additional_disk_gib": "16"})
	if risks := less.byTestID("downscale-risk"); less.bodyID() != "cluster-update-review" || len(risks) == 0 {
		t.Fatalf("%s shows no risk: %s", less.bodyID(), less.text())
	}
	if text := less.text(); !strings.Contains(text, "less than the present one") || !strings.Contains(less.priceText(), "Costs less") || !strings.Contains(less.priceText(), "−$") {
		t.Errorf("the comparison says %s", text)
	}
}

// staleThenOn has somebody else change the cluster between form and post.
func staleThenOn(t *testing.T, st *stage, v *visitor, path, id string) {
	t.Helper()
	cloud := st.accounts[staging].cloud
	form := v.get(path + "/update")
	st.control(t, http.MethodPost, "outside", map[string]any{"act": "labels", "account": cloud, "cluster": id, "labels": map[string]string{"team": "others"}})
	sent := st.updatesOf(t, staging)
	stale := v.submit(form, path+"/update/review", map[string]string{"name": "change-renamed"})
	if stale.status != http.StatusConflict || stale.bodyID() != "cluster-update-stale" {
		t.Fatalf("%d %s: %s", stale.status, stale.bodyID(), stale.text())
	}
	wellMade(t, stale)
	rows := stale.sides("stale-row")
	if len(rows) != 2 || rows["name"]["wanted"] != "change-renamed" || rows["name"]["now"] != "change-by-forms" || rows["labels"]["started"] != "env=test team=search" || rows["labels"]["now"] != "team=others" || rows["labels"]["wanted"] != "as it is" {
		t.Errorf("both sides are %v", rows)
	}
	on := v.submit(stale, path+"/update/review", nil)
	if rows := on.sides("change-row"); len(rows) != 1 || rows["name"]["after"] != "change-renamed" {
		t.Fatalf("going on compares %v: %s", rows, on.text())
	}
	done := v.submit(on, path+"/update", nil)
	if text := done.text(); done.bodyID() != "cluster-show" || !strings.Contains(text, "change-renamed") || !strings.Contains(text, "team others") {
		t.Errorf("%s: %s", done.bodyID(), text)
	}
	if got := st.updatesOf(t, staging); got != sent+1 {
		t.Errorf("%d changes were sent, want 1", got-sent)
	}

	bare := url.Values{"revision": {revisionIn(t, v.get(path+"/update"))}, "allowed_ips": {"192.0.2.0/24\r\n198.51.100.7"}}
	if got := v.post(path+"/update", bare); got.bodyID() != "cluster-show" || !strings.Contains(got.text(), "198.51.100.7/32") {
		t.Errorf("a bare post ends at %d %s: %s", got.status, got.bodyID(), got.text())
	}
	bare.Del("revision")
	if got := v.post(path+"/update", bare); got.status != http.StatusUnprocessableEntity || got.bodyID() != "cluster-update" {
		t.Errorf("without a revision: %d %s", got.status, got.bodyID())
	}
}

func revisionIn(t *testing.T, p page) string {
	t.Helper()
	for _, f := range p.forms() {
		if revision := f.values.Get("revision"); revision != "" {
			return revision
		}
	}
	t.Fatalf("%s has no revision: %s", p.url, p.text())
	return ""
}

// badChanges sends what breaks rules: 422 at the field, what was typed is kept, nothing is sent.
func badChanges(t *testing.T, st *stage) {
	path, id := st.newCluster(t, staging, "change-badly")
	v := st.signIn(t, operator)
	form := v.get(path + "/update")
	sent := st.updatesOf(t, staging)
	const evil = `"><script>alert(1)</script>`
	for name, wrong := range map[string]map[string]string{
		"names":   {"name": evil, "cost_allocation_label": evil},
		"labels":  {"labels": "team=ok\n" + evil},
		"numbers": {"nodes": "many", "additional_disk_gib": "-4", "replication_factor": "0", "write_consistency_factor": evil},
		"ranges":  {"allowed_ips": "10.0.0.1/8\n" + evil},
		"choices": {"version": "v0.0.1", "package_id": evil, "vectors_on_disk": "perhaps", "restart_policy": "NEVER", "rebalance_strategy": evil},
	} {
		for _, action := range []string{path + "/update", path + "/update/review"} {
			f := form.form(t, path+"/update/review")
			for field, value := range wrong {
				f.values.Set(field, value)
			}
			got := v.post(action, f.values)
			if got.status != http.StatusUnprocessableEntity || got.bodyID() != "cluster-update" {
				t.Errorf("%s: %d %s", name, got.status, got.bodyID())
				continue
			}
			wellMade(t, got)
			kept := got.form(t, path+"/update/review")
			for field, value := range wrong {
				hasFieldError(t, name, got, field)
				if kept.values.Get(field) != value {
					t.Errorf("%s: what was typed into %s is %q now", name, field, kept.values.Get(field))
				}
			}
			if strings.Contains(got.body, "<script>alert") {
				t.Errorf("%s: the page runs what was typed", name)
			}
		}
	}
	untouched := v.submit(form, path+"/update/review", nil)
	if untouched.status != http.StatusUnprocessableEntity || !strings.Contains(untouched.text(), "Nothing in the form differs") {
		t.Errorf("nothing different: %d %s", untouched.status, untouched.text())
	}
	if st.updatesOf(t, staging) != sent || st.events(t, `act = 'cluster.update' AND target_id = $1`, id) != 0 {
		t.Error("mistakes were sent on, or left events")
	}
}

// refusedChanges has upstream refuse: the form comes back with what to do, and upstream's words.
func refusedChanges(t *testing.T, st *stage) {
	path, id := st.newCluster(t, staging, "change-refused")
	v := st.signIn(t, operator)
	cloud := st.accounts[staging].cloud
	comparison := v.submit(v.get(path+"/update"), path+"/update/review", map[string]string{"nodes": "2"})
	for name, tt := range map[string]struct {
		set, unset map[string]any
		says       []string
	}{
		"payment":  {map[string]any{"payment": "missing"}, map[string]any{"payment": "ok"}, []string{"Payment details are missing", "Payment details missing or outdated"}},
		"entitled": {map[string]any{"entitled": false}, map[string]any{"entitled": true}, []string{"not entitled to it", "Account is not entitled"}},
	} {
		tt.set["account"], tt.unset["account"] = cloud, cloud
		st.control(t, http.MethodPost, "account", tt.set)
		got := v.submit(comparison, path+"/update", nil)
		st.control(t, http.MethodPost, "account", tt.unset)
		if got.status != http.StatusConflict || got.bodyID() != "cluster-update" || got.form(t, path+"/update/review").values.Get("nodes") != "2" {
			t.Errorf("%s: %d %s", name, got.status, got.bodyID())
		}
		for _, words := range tt.says {
			if !strings.Contains(got.text(), words) {
				t.Errorf("%s: the page does not say %q:\n%s", name, words, got.text())
			}
		}
	}
	st.control(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": cloud, "cluster": id, "phase": "MANUAL_MAINTENANCE"})
	busy := v.submit(comparison, path+"/update", nil)
	if busy.status != http.StatusConflict || busy.form(t, path+"/update/review").values.Get("nodes") != "2" || !strings.Contains(busy.text(), "under manual maintenance") {
		t.Errorf("a cluster that is busy: %d %s", busy.status, busy.text())
	}
}

func legacyChange(t *testing.T, st *stage) {
	path, id := st.newCluster(t, legacy, "journey-legacy")
	v := st.signIn(t, operator)
	form := v.get(path + "/update")
	wellMade(t, form)
	if names := form.form(t, path+"/update/review").names; names["labels"] || names["restart_policy"] || names["cost_allocation_label"] || !names["nodes"] || !names["version"] {
		t.Errorf("the form has the fields %v", names)
	}
	if !strings.Contains(form.text(), "The legacy pa/v1 API has no labels.") {
		t.Errorf("the form does not say why: %s", form.text())
	}
	review := v.submit(form, path+"/update/review", map[string]string{"name": "journey-legacy-2", "nodes": "2", "allowed_ips": "192.0.2.0/24"})
	if rows := review.sides("change-row"); len(rows) != 3 || !strings.Contains(review.priceText(), "An estimate") {
		t.Fatalf("%v, %s", rows, review.text())
	}
	sent := st.updatesOf(t, legacy)
	if done := v.submit(review, path+"/update", nil); done.bodyID() != "cluster-show" || !strings.Contains(done.text(), "journey-legacy-2") {
		t.Errorf("%d %s", done.status, done.text())
	}
	if st.updatesOf(t, legacy) != sent+1 {
		t.Errorf("%d changes were sent", st.updatesOf(t, legacy)-sent)
	}
	st.waitFor(t, "the outcome is on record", `SELECT EXISTS (SELECT FROM audit.events WHERE act = 'cluster.update' AND target_id = $1 AND phase = 'outcome' AND outcome = 'ok')`, id)
}

// changesInBrowser is a change with its hesitations: back, forth, reload, back after it was done, and twice.
func changesInBrowser(t *testing.T, st *stage, scripts bool) {
	name := "change-scripted"
	if !scripts {
		name = "change-scriptless"
	}
	path, id := st.newCluster(t, production, name)
	axe, err := os.ReadFile("../../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is not installed; run npm ci in the folder static: %v", err)
	}
	s, finish := openBrowser(t, st.about.URL, scripts)
	s.signIn(operator, "clusters-index")
	sent := st.updatesOf(t, production)
	s.open(path, "cluster-show")
	s.link(path+"/update", "cluster-update")
	s.chooses("mx2")
	s.types("nodes", "2")
	s.types("labels", "team=search")
	s.click(`main form button.btn-primary`, "cluster-update-review")
	s.says("is a production account", "Costs more", "mx1", "mx2", "team=search", "Its nodes restart.")
	if scripts {
		s.isAccessible(string(axe))
	}
	s.click(`main form button[name="edit"]`, "cluster-update")
	if nodes := ask[string](s, `document.querySelector("#f-nodes").value`); nodes != "2" {
		t.Errorf("the form has forgotten the nodes: %s", nodes)
	}
	if scripts {
		s.isAccessible(string(axe))
	}
	s.click(`main form button.btn-primary`, "cluster-update-review")
	if got := st.updatesOf(t, production); got != sent {
		t.Errorf("%d changes were sent before they were applied", got-sent)
	}
	s.click(`main form button.btn-primary`, "cluster-show")
	s.says("Change asked for")
	s.do(chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("body#cluster-show")))

	if err := chromedp.Do(s.ctx, chromedp.NavigateBack()); err == nil {
		t.Error("the browser kept the comparison, which was never to be stored")
	}
	s.open(path, "cluster-show")
	if got := st.updatesOf(t, production); got != sent+1 {
		t.Errorf("reloading and going back sent %d changes", got-sent-1)
	}
	st.turn(t)
	st.phase(t, st.visitor(t, operator), path, "HEALTHY")

	s.open(path+"/update", "cluster-update")
	s.types("name", name+"-2")
	s.click(`main form button.btn-primary`, "cluster-update-review")
	st.control(t, http.MethodPost, "outside", map[string]any{"act": "labels", "account": st.accounts[production].cloud, "cluster": id, "labels": map[string]string{"team": "others"}})
	s.click(`main form button.btn-primary`, "cluster-update-stale")
	s.says("Nothing was changed", "team=search", "team=others", name+"-2")
	if scripts {
		s.isAccessible(string(axe))
	}
	s.click(`main form button.btn-primary`, "cluster-update-review")
	s.click(`main form button.btn-primary`, "cluster-show")
	s.says(name+"-2", "others")
	if got := st.updatesOf(t, production); got != sent+2 {
		t.Errorf("%d changes were sent, want 2", got-sent)
	}
	if got := st.events(t, `act = 'cluster.update' AND target_id = $1 AND phase = 'outcome' AND outcome = 'ok'`, id); got != 2 {
		t.Errorf("%d changes are on record as done, want 2", got)
	}
	finish()
}

// chooses takes a package of the form by its name.
func (s *surfer) chooses(name string) {
	s.t.Helper()
	id := ask[string](s, `[...document.querySelectorAll("label.choice")].find(l => l.innerText.trim().startsWith("`+name+`")).querySelector("input").id`)
	s.do(chromedp.Click(chromedp.CSS("#" + id)))
}

// types puts a text into a field of the form in place of what is there.
func (s *surfer) types(field, text string) {
	s.t.Helper()
	s.do(chromedp.SetValue(chromedp.CSS("#f-"+field), text))
}
