package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// remember keeps a secret that was shown, so that the end of the journeys looks for it everywhere.
func (st *stage) remember(secret string) string {
	st.shown.mu.Lock()
	defer st.shown.mu.Unlock()
	st.shown.secrets = append(st.shown.secrets, secret)
	return secret
}

// goodKey is a form of a new key that nothing is wrong with.
func goodKey(name string) map[string]string {
	return map[string]string{"name": name, "expires_in_days": "30", "access": "collections", "collections": "events=read\nfeatures=read-write"}
}

// secretOf is the key that a page shows, once it is clear that it is the page that shows keys.
func (st *stage) secretOf(t *testing.T, p page) string {
	t.Helper()
	secret := ""
	for _, n := range elements(p.root, "") {
		if attributeOf(n, "data-testid") == "key-secret" {
			secret = textOf(n)
		}
	}
	if p.status != http.StatusOK || p.bodyID() != "key-secret" || len(secret) < 20 {
		t.Fatalf("%s answers %d, %s, with a key of %d characters:\n%s", p.url, p.status, p.bodyID(), len(secret), p.text())
	}
	if p.header.Get("Cache-Control") != "no-store" || strings.Contains(p.url.String(), secret) {
		t.Errorf("the page of the key may be kept: %q, %s", p.header.Get("Cache-Control"), p.url.Path)
	}
	wellMade(t, p)
	return st.remember(secret)
}

// keysByForms makes, rotates and deletes keys by links and forms alone.
func keysByForms(t *testing.T, st *stage) {
	path, id := st.newCluster(t, production, "keys-by-forms")
	v := st.signIn(t, operator)
	list := v.follow(v.get(path), "Keys")
	if list.bodyID() != "keys-index" || len(list.byTestID("key-row")) != 0 || !strings.Contains(list.text(), "No keys") {
		t.Fatalf("the keys of a new cluster: %s\n%s", list.url, list.text())
	}
	wellMade(t, list)
	ask := v.follow(list, "New key")
	form := ask.form(t, path+"/keys")
	if days := form.values.Get("expires_in_days"); days != "90" {
		t.Errorf("the form says %q days", days)
	}
	if form.values.Get("access") != "" {
		t.Error("the form has chosen what the key may do")
	}
	wellMade(t, ask)
	form.values.Set("name", "web frontend")
	form.values.Set("access", "read-only")
	before := time.Now()
	made := v.post(path+"/keys", form.values)
	first := st.secretOf(t, made)
	command := ""
	for _, n := range elements(made.root, "pre") {
		command = textOf(n)
	}
	if !strings.Contains(command, "read -rs") || !strings.Contains(command, ":6333/collections'") || strings.Contains(command, first) || strings.Contains(command, "-H 'api-key") {
		t.Errorf("the command: %s", command)
	}

	// The same form again, as a reload and a second press send it.
	again := v.post(path+"/keys", form.values)
	if again.bodyID() != "keys-index" || !strings.Contains(textOf(again.byID("flash")), "already") || strings.Contains(again.body, first) {
		t.Errorf("the same form again: %s\n%s", again.url, again.text())
	}
	rows := again.byTestID("key-row")
	if len(rows) != 1 || !strings.Contains(again.text(), "Oscar Operator") || !strings.Contains(again.text(), "ends in "+first[len(first)-6:]) {
		t.Fatalf("rows %v:\n%s", rows, again.text())
	}
	ends, err := time.Parse(time.RFC3339, rows[0]["data-expires"])
	if wanted := before.Add(90 * 24 * time.Hour); err != nil || ends.Sub(wanted).Abs() > time.Minute {
		t.Errorf("the key ends %s, want about %s", rows[0]["data-expires"], wanted)
	}
	old := rows[0]["data-key"]

	// Rotate: both keys stand there until the old one is deleted.
	ask = v.get(path + "/keys/" + old + "/rotate")
	wellMade(t, ask)
	rotation := ask.form(t, path+"/keys/"+old+"/rotate")
	if rotation.values.Get("name") != "web frontend" || rotation.values.Get("expires_in_days") != "90" {
		t.Errorf("the form of the successor says %v", rotation.values)
	}
	successor := v.post(path+"/keys/"+old+"/rotate", rotation.values)
	second := st.secretOf(t, successor)
	if first == second {
		t.Error("the successor has the same secret")
	}
	if again := v.post(path+"/keys/"+old+"/rotate", rotation.values); again.bodyID() != "keys-index" || len(again.byTestID("key-row")) != 2 {
		t.Errorf("the same rotation again: %s with %d keys", again.url, len(again.byTestID("key-row")))
	}
	if twice := v.get(path + "/keys/" + old + "/rotate"); twice.status != http.StatusConflict || !strings.Contains(twice.text(), "successor already") {
		t.Errorf("rotating twice: %d\n%s", twice.status, twice.text())
	}
	ask = v.follow(v.get(path+"/keys"), "Delete the old key now")
	if ask.bodyID() != "key-delete" || ask.url.Path != path+"/keys/"+old+"/delete" || !strings.Contains(ask.text(), "It has a successor") {
		t.Fatalf("the old key is deleted at %s:\n%s", ask.url, ask.text())
	}
	wellMade(t, ask)
	mark := first[len(first)-6:]
	if wrong := v.submit(ask, path+"/keys/"+old+"/delete", map[string]string{"confirm": "web frontend"}); wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("deleting under its name: %d", wrong.status)
	} else {
		hasFieldError(t, "its name", wrong, "confirm")
	}
	rest := v.submit(ask, path+"/keys/"+old+"/delete", map[string]string{"confirm": mark})
	if rows := rest.byTestID("key-row"); rest.bodyID() != "keys-index" || len(rows) != 1 || rows[0]["data-key"] == old || strings.Contains(rest.text(), "takes the place") {
		t.Errorf("afterwards %s: %v", rest.url, rows)
	}
	var joined bool
	if err := st.db.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM audit.events d JOIN audit.events r ON r.operation_id = d.parent_id
		WHERE d.act = 'key.delete' AND d.target_id = $1 AND d.outcome = 'ok' AND r.act = 'key.rotate' AND r.outcome = 'ok')`, old).Scan(&joined); err != nil || !joined {
		t.Errorf("deleting the old key is not part of the rotation: %v", err)
	}
	if got := st.events(t, `act IN ('key.create', 'key.rotate') AND outcome = 'ok' AND body::text <> '' AND convert_from(body, 'UTF8') LIKE '%' || $1 || '%'`, id); got != 2 {
		t.Errorf("%d keys were made, want the first and its successor", got)
	}
	if lost := v.get(path + "/keys/" + old + "/delete"); lost.status != http.StatusNotFound {
		t.Errorf("the page of a deleted key answers %d", lost.status)
	}
}

// badKeys sends forms of keys with one mistake each: 422, the message at its field, what was typed still
// there, and nothing asked of the Cloud API.
func badKeys(t *testing.T, st *stage) {
	path, _ := st.newCluster(t, production, "bad-keys")
	v := st.visitor(t, operator)
	attempts := func() int {
		return st.events(t, `act = 'key.create' AND convert_from(body, 'UTF8') LIKE '%bad-key-name%'`)
	}
	for name, wrong := range map[string]map[string]string{
		"a short name":       {"name": "abc"},
		"a script for one":   {"name": `"><script>alert(1)</script>`},
		"a shell's name":     {"name": `'; touch x`},
		"a long name":        {"name": strings.Repeat("n", 129)},
		"no end field":       {"expires_in_days": "-"},
		"no number":          {"expires_in_days": "soon<b>"},
		"nought":             {"expires_in_days": "0"},
		"eleven years":       {"expires_in_days": "3651"},
		"an access of its":   {"access": "root"},
		"no collections":     {"collections": ""},
		"a bad collection":   {"collections": "a b=read"},
		"a bad word":         {"collections": "events=admin"},
		"the same twice":     {"collections": "events=read\nevents=read-write"},
		"twenty-one of them": {"collections": strings.Repeat("c%d=read\n", 21)},
	} {
		fresh := v.get(path+"/keys/new").form(t, path+"/keys")
		for field, value := range goodKey("bad-key-name") {
			fresh.values.Set(field, value)
		}
		field := ""
		for f, value := range wrong {
			field = f
			fresh.values.Set(f, value)
			if name == "no end field" {
				fresh.values.Del(f)
			}
		}
		got := v.post(path+"/keys", fresh.values)
		if got.status != http.StatusUnprocessableEntity || got.bodyID() != "key-new" {
			t.Errorf("%s: %d at %s\n%s", name, got.status, got.url, got.text())
			continue
		}
		hasFieldError(t, name, got, field)
		if kept := got.form(t, path+"/keys").values.Get("name"); kept != fresh.values.Get("name") {
			t.Errorf("%s: the name typed is %q now", name, kept)
		}
		if strings.Contains(got.body, "<script>alert") {
			t.Errorf("%s: the page runs what was typed", name)
		}
	}
	for name, values := range map[string]url.Values{"no token": {"form_token": {""}}, "a token of its own": {"form_token": {"AAAA"}}} {
		fresh := v.get(path+"/keys/new").form(t, path+"/keys")
		for field, value := range goodKey("bad-key-name") {
			fresh.values.Set(field, value)
		}
		fresh.values["form_token"] = values["form_token"]
		got := v.post(path+"/keys", fresh.values)
		if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.text(), "too old") || got.form(t, path+"/keys").values.Get("form_token") == "" {
			t.Errorf("%s: %d\n%s", name, got.status, got.text())
		}
	}
	if got := attempts(); got != 0 {
		t.Errorf("%d events tell of keys that were not asked for", got)
	}

	t.Run("refused upstream", func(t *testing.T) {
		older, _ := st.cluster(t, "hr-knowledge-base") // without JWT access control
		ask := v.get(older + "/keys/new")
		got := v.submit(ask, older+"/keys", map[string]string{"name": "too old for this", "access": "manage"})
		if got.status != http.StatusConflict || got.bodyID() != "key-new" || !strings.Contains(got.text(), "What Qdrant Cloud said") || !strings.Contains(got.text(), "with JWT access control enabled") {
			t.Errorf("%d\n%s", got.status, got.text())
		}
		if after := st.events(t, `act = 'key.create' AND outcome = 'failed' AND convert_from(body, 'UTF8') LIKE '%too old for this%'`); after != 1 {
			t.Errorf("%d failures are on record", after)
		}
	})
}

// oneKeyFromManyPosts sends one form many times at once.
func oneKeyFromManyPosts(t *testing.T, st *stage) {
	path, _ := st.newCluster(t, production, "many-posts")
	v := st.visitor(t, operator)
	form := v.get(path+"/keys/new").form(t, path+"/keys")
	for field, value := range goodKey("only one of me") {
		form.values.Set(field, value)
	}
	var group sync.WaitGroup
	got := make([]page, 6)
	for i := range got {
		group.Go(func() { got[i] = v.post(path+"/keys", form.values) })
	}
	group.Wait()
	statuses := map[int]int{}
	for _, p := range got {
		statuses[p.status]++
		if p.status == http.StatusOK {
			st.secretOf(t, p)
		}
	}
	if statuses[http.StatusOK] != 1 || statuses[http.StatusSeeOther] != len(got)-1 {
		t.Errorf("answers %v", statuses)
	}
	if rows := v.get(path + "/keys").byTestID("key-row"); len(rows) != 1 {
		t.Errorf("%d keys", len(rows))
	}
}

// legacyKeys makes, updates and deletes an admin key of several clusters through pa/v1.
func legacyKeys(t *testing.T, st *stage) {
	path, id := st.cluster(t, "market-reports")
	v := st.visitor(t, operator)
	before := len(v.get(path + "/keys").byTestID("key-row"))
	ask := v.follow(v.get(path+"/keys"), "New key")
	form := ask.form(t, path+"/keys")
	choices := form.choices["clusters"]
	if len(choices) < 2 || choices[0] != id || form.names["name"] || !strings.Contains(ask.text(), "never end") {
		t.Fatalf("the form offers %v:\n%s", choices, ask.text())
	}
	wellMade(t, ask)
	form.values["clusters"] = []string{choices[1]}
	if wrong := v.post(path+"/keys", form.values); wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("without this cluster: %d", wrong.status)
	} else {
		hasFieldError(t, "without this cluster", wrong, "clusters")
	}
	form.values["clusters"] = choices[:2]
	secret := st.secretOf(t, v.post(path+"/keys", form.values))
	list := v.get(path + "/keys")
	key := ""
	for _, r := range list.byTestID("key-row") {
		if r["data-expires"] == "never" && strings.Contains(rowText(list, r["data-key"]), secret[:8]) {
			key = r["data-key"]
		}
	}
	other, _ := url.Parse("/accounts/" + st.accounts[legacy].id + "/clusters/" + choices[1])
	if key == "" || len(list.byTestID("key-row")) != before+1 || !slices.Contains(list.links(), other.Path) {
		t.Fatalf("the key is not listed:\n%s", list.text())
	}
	if also := v.get(other.Path + "/keys"); rowText(also, key) == "" {
		t.Error("the key is not listed at its other cluster")
	}

	at := path + "/keys/" + key
	ask = v.get(at + "/update")
	wellMade(t, ask)
	if !strings.Contains(ask.text(), "nothing that it can change") {
		t.Errorf("the page does not say what it can change:\n%s", ask.text())
	}
	if refused := v.post(at+"/update", url.Values{"clusters": {id}}); refused.status != http.StatusUnprocessableEntity || !strings.Contains(refused.text(), "What Qdrant Cloud said") {
		t.Errorf("other clusters: %d\n%s", refused.status, refused.text())
	}
	if taken := v.post(at+"/update", url.Values{"clusters": choices[:2]}); taken.status != http.StatusSeeOther {
		t.Errorf("the clusters as they are: %d\n%s", taken.status, taken.text())
	}
	if gone := v.submit(v.get(at+"/delete"), at+"/delete", map[string]string{"confirm": secret[:8]}); gone.status != http.StatusSeeOther {
		t.Errorf("deleting: %d\n%s", gone.status, gone.text())
	}
	if rest := v.get(other.Path + "/keys"); rowText(rest, key) != "" {
		t.Error("the key is still listed at its other cluster")
	}
	if rotate := v.get(at + "/rotate"); rotate.status != http.StatusConflict {
		t.Errorf("rotating: %d", rotate.status)
	}
}

// rowText is what the row of a key says; empty when there is none.
func rowText(p page, key string) string {
	for _, n := range elements(p.root, "tr") {
		if attributeOf(n, "data-key") == key {
			return textOf(n)
		}
	}
	return ""
}

// keysInTheBrowser makes keys in a real browser and looks for them wherever a browser keeps things.
func keysInTheBrowser(t *testing.T, st *stage, scripts bool) {
	name := "keyring-scripted"
	if !scripts {
		name = "keyring-plain"
	}
	path, _ := st.newCluster(t, production, name)
	s, finish := openBrowser(t, st.about.URL, scripts)
	s.signIn(operator, "clusters-index")

	first := s.makesKey(st, path, "reloaded key")
	s.do(chromedp.Reload()) // sends the form again
	s.until(`document.body.id === "keys-index" && document.querySelectorAll('[data-testid="key-row"]').length === 1`)
	s.says("This form has made its key already")
	s.holdsNo(first)

	second := s.makesKey(st, path, "left and come back")
	s.do(chromedp.Click(chromedp.CSS(`main a.btn-primary[href="`+path+`/keys"]`)), chromedp.WaitVisible(chromedp.CSS("body#keys-index")))
	for _, way := range []string{"back", "forward", "back"} {
		here := ask[string](s, "location.href + document.body.id + history.length")
		ask[bool](s, "(history."+way+"(), true)")
		s.until(`document.readyState === "complete" && location.href + document.body.id + history.length !== ` + fmt.Sprintf("%q", here))
		s.holdsNo(first, second)
	}
	s.open(path+"/keys", "keys-index")
	if n := ask[int](s, `document.querySelectorAll('[data-testid="key-row"]').length`); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}

	// A rotation, and the old key deleted from the list.
	old := ask[string](s, `document.querySelector('[data-testid="key-row"]').dataset.key`)
	s.link(path+"/keys/"+old+"/rotate", "key-rotate")
	s.click(`form[action="`+path+`/keys/`+old+`/rotate"] button`, "key-secret")
	third := st.remember(ask[string](s, shownKey))
	s.says("The old key", "still works")
	s.click(`main a[href="`+path+`/keys/`+old+`/delete"]`, "key-delete")
	s.holdsNo(first, second, third)
	s.do(chromedp.SendKeys(chromedp.CSS("#f-confirm"), "wrong"))
	s.click(`form[action="`+path+`/keys/`+old+`/delete"] button`, "key-delete")
	s.until(`!!document.querySelector("#problems")`)
	mark := ask[string](s, `document.querySelector('label[for="f-confirm"] strong').textContent`)
	s.do(chromedp.SetValue(chromedp.CSS("#f-confirm"), mark))
	s.click(`form[action="`+path+`/keys/`+old+`/delete"] button`, "keys-index")
	s.until(`document.querySelectorAll('[data-testid="key-row"]').length === 2 && !document.querySelector('[data-key="` + old + `"]')`)
	s.holdsNo(first, second, third)
	s.signOut()
	finish()
}

const shownKey = `document.querySelector('[data-testid="key-secret"]').textContent`

// makesKey fills the form in and returns the key that is shown.
func (s *surfer) makesKey(st *stage, path, name string) string {
	s.t.Helper()
	s.open(path+"/keys", "keys-index")
	s.link(path+"/keys/new", "key-new")
	s.do(chromedp.SendKeys(chromedp.CSS("#f-name"), name), chromedp.Click(chromedp.CSS(`input[name="access"][value="read-only"]`)))
	s.click(`form[action="`+path+`/keys"] button[type="submit"]`, "key-secret")
	key := st.remember(ask[string](s, shownKey))
	elsewhere := ask[string](s, `JSON.stringify([location.href, document.title, history.state, {...localStorage}, {...sessionStorage}, document.cookie])`)
	if len(key) < 20 || strings.Contains(elsewhere, key) {
		s.t.Errorf("a key of %d characters; the browser keeps %s", len(key), elsewhere)
	}
	return key
}

// holdsNo fails the test when the present page, or what a browser keeps beside it, has one of the keys.
func (s *surfer) holdsNo(keys ...string) {
	s.t.Helper()
	kept := ask[string](s, `(keep => document.documentElement.outerHTML + JSON.stringify(keep(() => [location.href, document.title, history.state, {...localStorage}, {...sessionStorage}])))(f => { try { return f() } catch { return "" } })`)
	for _, key := range keys {
		if strings.Contains(kept, key) {
			s.t.Errorf("%s still has a key that was shown", ask[string](s, "location.href"))
		}
	}
}

// keyAnswerLost loses the answer that has a key in it. The key is looked for, never made again, and listed
// as one whose secret nobody saw.
func (w *badWeek) keyAnswerLost(t *testing.T) {
	path, _ := w.newCluster(t, production, "lost-keys")
	v := w.people[operator]
	form := v.get(path+"/keys/new").form(t, path+"/keys")
	for field, value := range goodKey("lost on the way") {
		form.values.Set(field, value)
	}
	made := func() int { return w.callsOf(t, w.accounts[production].cloud)["CreateDatabaseApiKeyV2"] }
	before := made()
	mended := w.fault(t, production, "CreateDatabaseApiKeyV2", map[string]any{"kind": "lost_answer"})
	got := v.post(path+"/keys", form.values)
	mended()
	if got.status != http.StatusServiceUnavailable || !strings.Contains(got.text(), "it may have been done") {
		t.Errorf("the lost answer: %d\n%s", got.status, got.text())
	}
	again := v.post(path+"/keys", form.values)
	if again.bodyID() != "keys-index" || !strings.Contains(again.text(), "lost on the way") {
		t.Errorf("sent again: %s\n%s", again.url, again.text())
	}
	var list page
	waitUntil(t, "the key is found", func() bool {
		list = v.get(path + "/keys")
		return strings.Contains(list.text(), "nobody saw its secret") && !strings.Contains(list.text(), "is not known")
	})
	rows := list.byTestID("key-row")
	if len(rows) != 1 || made() != before+1 {
		t.Fatalf("%d keys are listed, %d were asked for", len(rows), made()-before)
	}
	at := path + "/keys/" + rows[0]["data-key"] + "/delete"
	ask := v.get(at)
	mark := ""
	for _, n := range elements(ask.root, "strong") {
		if n.Parent.Data == "label" {
			mark = textOf(n)
		}
	}
	if gone := v.submit(ask, at, map[string]string{"confirm": mark}); gone.bodyID() != "keys-index" || len(gone.byTestID("key-row")) != 0 {
		t.Errorf("deleting it: %d at %s\n%s", gone.status, gone.url, gone.text())
	}
}
