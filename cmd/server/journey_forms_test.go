package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// strangerKey looks like a management key and opens nothing.
const strangerKey = "5e0d7a2c-9f0b-4d6a-8c1e-2b3a4c5d6e7f|stranger-Zk3vN8qLxR2mT7wYc1HdPf6s"

// badForms sends forms with mistakes in them: 422, the message at its field, what was typed still
// there but for the key, and nothing asked of the Cloud API.
func badForms(t *testing.T, st *stage) {
	st.spare.Lock() // whose calls are counted
	defer st.spare.Unlock()
	v := st.visitor(t, admin)
	spare := st.about.Spare
	right := map[string]string{
		"generation": "current", "management_key": spare.ManagementKey, "cloud_account_id": "", "name": "", "environment": "development", "owner": "", "note": "", "rotate_by": "",
	}
	before := st.callsFor(t, spare.CloudAccountID)
	const attempts = `act = 'account.create' AND actor_email = $1 AND phase = 'attempt'`
	attempted := st.events(t, attempts, admin)
	for name, wrong := range map[string]map[string]string{ // what is typed, by field: each of these fields is wrong
		"nothing":               {"management_key": "", "environment": ""},
		"a short key":           {"management_key": "abc"},
		"a key in two lines":    {"management_key": "1234567890123456\n1234567890123456"},
		"an api of its own":     {"generation": "v3"},
		"an odd environment":    {"environment": "prod\"><script>alert(1)</script>"},
		"a day gone by":         {"rotate_by": "2001-01-01"},
		"no day":                {"rotate_by": "tomorrow<b>"},
		"a long name":           {"name": strings.Repeat("n", 65)},
		"a long owner and note": {"owner": strings.Repeat("o", 129), "note": strings.Repeat("x", 2001)},
		"no legacy account":     {"generation=": "pa-v1", "cloud_account_id": "not-an-id", "name": ""},
	} {
		fresh := v.get("/accounts/new").form(t, "/accounts")
		for field, value := range right {
			fresh.values.Set(field, value)
		}
		for field, value := range wrong {
			fresh.values.Set(strings.TrimSuffix(field, "="), value)
		}
		got := v.post("/accounts", fresh.values)
		if got.status != http.StatusUnprocessableEntity || got.bodyID() != "account-new" {
			t.Errorf("%s: %d at %s\n%s", name, got.status, got.url, got.text())
			continue
		}
		for field := range wrong {
			if !strings.HasSuffix(field, "=") {
				hasFieldError(t, name, got, field)
			}
		}
		again := got.form(t, "/accounts")
		for field, value := range fresh.values {
			if kept := again.values.Get(field); field != "management_key" && again.choices[field] == nil && kept != value[0] {
				t.Errorf("%s: what was typed into %s is %q now", name, field, kept)
			}
		}
		keyStaysHere(t, name, got, fresh.values.Get("management_key"))
	}
	if after := st.callsFor(t, spare.CloudAccountID); !maps.Equal(after, before) {
		t.Errorf("the Cloud API was asked for the spare account: %v, then %v", before, after)
	}
	if got := st.events(t, attempts, admin); got != attempted {
		t.Errorf("%d attempts are on record for forms that were not sent on", got-attempted)
	}

	t.Run("a key that opens nothing", func(t *testing.T) {
		got := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": strangerKey, "environment": "other"})
		if got.status != http.StatusUnprocessableEntity {
			t.Fatalf("%d:\n%s", got.status, got.text())
		}
		if told := hasFieldError(t, "a stranger's key", got, "management_key"); !strings.Contains(told, "Qdrant Cloud refuses the key: ") {
			t.Errorf("the reason of the Cloud API is not told: %s", told)
		}
		keyStaysHere(t, "a stranger's key", got, strangerKey)
	})
	t.Run("a key that may not list clusters", func(t *testing.T) {
		key := st.mint(t, spare.CloudAccountID, "read:account")
		got := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": key, "environment": "other"})
		if told := hasFieldError(t, "a poor key", got, "management_key"); got.status != http.StatusUnprocessableEntity || !strings.Contains(told, "read:clusters") {
			t.Errorf("%d: %s", got.status, told)
		}
		keyStaysHere(t, "a poor key", got, key)
	})
	t.Run("an account that is there already", func(t *testing.T) {
		key := st.mint(t, st.accounts[production].cloud)
		got := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": key, "environment": "other"})
		if got.status != http.StatusUnprocessableEntity && got.status != http.StatusConflict {
			t.Errorf("%d:\n%s", got.status, got.text())
		}
		if !strings.Contains(got.text(), "already") {
			t.Errorf("the page does not say that it is registered already:\n%s", got.text())
		}
		keyStaysHere(t, "a second key", got, key)
	})
	t.Run("deleting a cluster", func(t *testing.T) { badDeletions(t, st) })
	t.Run("removing an account", func(t *testing.T) {
		path := "/accounts/" + st.accounts[staging].id
		got := v.submit(v.get(path+"/delete"), path+"/delete", map[string]string{"confirm": "northwind search staging"})
		if got.status != http.StatusUnprocessableEntity {
			t.Fatalf("%d:\n%s", got.status, got.text())
		}
		hasFieldError(t, "another name", got, "confirm")
		if still := v.get(path); still.status != http.StatusOK {
			t.Errorf("the account's page answers %d afterwards", still.status)
		}
	})
}

// badDeletions leaves out the name, the choice, or both.
func badDeletions(t *testing.T, st *stage) {
	v := st.visitor(t, operator)
	path, id := st.cluster(t, "upgrade-canary")
	before := st.callsOf(t, st.accounts[staging].cloud)["DeleteCluster"]
	for name, test := range map[string]struct {
		form  url.Values
		wrong []string
	}{
		"nothing":              {nil, []string{"confirm", "delete_backups"}},
		"no choice":            {url.Values{"confirm": {"upgrade-canary"}}, []string{"delete_backups"}},
		"another name":         {url.Values{"confirm": {"Upgrade-Canary"}, "delete_backups": {"yes"}}, []string{"confirm"}},
		"a name with space":    {url.Values{"confirm": {"upgrade-canary "}, "delete_backups": {"no"}}, []string{"confirm"}},
		"a choice of its own":  {url.Values{"confirm": {"upgrade-canary"}, "delete_backups": {"perhaps"}}, []string{"delete_backups"}},
		"a script for a name":  {url.Values{"confirm": {`"><script>alert(1)</script>`}, "delete_backups": {"no"}}, []string{"confirm"}},
		"a name of a megabyte": {url.Values{"confirm": {strings.Repeat("x", 900_000)}, "delete_backups": {"no"}}, []string{"confirm"}},
	} {
		got := v.post(path+"/delete", test.form)
		if got.status != http.StatusUnprocessableEntity || got.bodyID() != "cluster-delete" {
			t.Errorf("%s: %d, body %s", name, got.status, got.bodyID())
			continue
		}
		for _, field := range test.wrong {
			hasFieldError(t, name, got, field)
		}
		if strings.Contains(got.body, "<script>alert") {
			t.Errorf("%s: the page runs what was typed", name)
		}
	}
	if got := v.post(path+"/delete", url.Values{"confirm": {strings.Repeat("x", 2<<20)}}); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("two megabytes: %d", got.status)
	}
	if after := st.callsOf(t, st.accounts[staging].cloud)["DeleteCluster"]; after != before {
		t.Errorf("the Cloud API was asked %d times to delete", after-before)
	}
	if got := st.events(t, `act = 'cluster.delete' AND target_id = $1`, id); got != 0 {
		t.Errorf("%d events tell of a deletion", got)
	}
}

// hasFieldError checks that a field's message stands at the field, is bound to it and is led to
// from the summary. It returns the message.
func hasFieldError(t *testing.T, name string, p page, field string) string {
	t.Helper()
	message := p.byID("f-" + field + "-error")
	control := p.byID("f-" + field)
	if message == nil || control == nil || textOf(message) == "" {
		t.Errorf("%s: the field %s has no message:\n%s", name, field, p.text())
		return ""
	}
	described := control
	if attributeOf(control, "type") == "radio" {
		for described.Data != "fieldset" {
			described = described.Parent
		}
	} else if attributeOf(control, "aria-invalid") != "true" {
		t.Errorf("%s: the field %s is not marked as invalid", name, field)
	}
	if !containsWord(attributeOf(described, "aria-describedby"), "f-"+field+"-error") {
		t.Errorf("%s: the field %s is not described by its message", name, field)
	}
	if !leadsTo(p.byID("problems"), "#f-"+field) {
		t.Errorf("%s: the summary does not lead to the field %s", name, field)
	}
	return textOf(message)
}

func containsWord(words, word string) bool {
	for _, w := range strings.Fields(words) {
		if w == word {
			return true
		}
	}
	return false
}

func leadsTo(n *html.Node, href string) bool {
	if n == nil {
		return false
	}
	for _, a := range elements(n, "a") {
		if attributeOf(a, "href") == href {
			return true
		}
	}
	return false
}

// keyStaysHere checks that a page does not hold the key that was pasted.
func keyStaysHere(t *testing.T, name string, p page, key string) {
	t.Helper()
	if key != "" && strings.Contains(p.body, key) || strings.Contains(p.body, "stranger-Zk3vN8") {
		t.Errorf("%s: the page holds the key", name)
	}
}

// mint makes a management key of an account, with all permissions when none is named.
func (p *devProgram) mint(t *testing.T, cloudAccount string, permissions ...string) string {
	t.Helper()
	var made struct {
		Key string `json:"management_key"`
	}
	body := map[string]any{"account": cloudAccount}
	if permissions != nil {
		body["permissions"] = permissions
	}
	if err := json.Unmarshal(p.control(t, http.MethodPost, "keys", body), &made); err != nil {
		t.Fatal(err)
	}
	return made.Key
}

// callsFor returns the calls made for an account, and for keys that belong to none.
func (p *devProgram) callsFor(t *testing.T, cloudAccount string) map[string]int {
	t.Helper()
	all := map[string]int{}
	answer := p.control(t, http.MethodGet, "calls", nil)
	maps.Copy(all, callsIn(t, answer, ""))
	maps.Copy(all, callsIn(t, answer, cloudAccount))
	return all
}

// withFormsAlone does everything a person can do by links and forms as the pages have them.
func withFormsAlone(t *testing.T, st *stage) {
	path, id := st.newCluster(t, production, "by-forms-alone")
	v := st.signIn(t, operator)

	fleet := v.submit(v.get("/clusters"), "/clusters", map[string]string{"q": "by-forms-alone"})
	if rows := fleet.byTestID("cluster-row"); len(rows) != 1 || rows[0]["data-cluster"] != id {
		t.Fatalf("the search found %v", rows)
	}
	cluster := v.follow(fleet, "by-forms-alone")
	ask := v.follow(cluster, "Restart")
	if back := v.follow(ask, "Cancel"); back.url.Path != path {
		t.Errorf("cancel leads to %s", back.url)
	}
	if n := st.events(t, `act = 'cluster.restart' AND target_id = $1`, id); n != 0 {
		t.Errorf("asking left %d events", n)
	}

	var moving page
	st.withClock(func() { moving = v.submit(ask, path+"/restart", nil) })
	if moving.bodyID() != "cluster-show" || moving.url.Path != path || attributeOf(moving.byID("cluster"), "data-phase") == "HEALTHY" {
		t.Errorf("after the restart: %s, %s", moving.url, moving.text())
	}
	if flash := moving.byID("flash"); flash == nil || !strings.Contains(textOf(flash), "Restart asked for") {
		t.Error("nothing says that the restart was asked for")
	}
	st.turn(t)
	st.phase(t, v, path, "HEALTHY")

	suspended := v.submit(v.follow(v.get(path), "Suspend"), path+"/suspend", nil)
	if suspended.bodyID() != "cluster-show" {
		t.Fatalf("after suspending: %s", suspended.text())
	}
	st.turn(t)
	rest := st.phase(t, v, path, "SUSPENDED")
	v.submit(rest, path+"/unsuspend", nil)
	st.turn(t)
	st.phase(t, v, path, "HEALTHY")

	ask = v.follow(v.get(path), "Delete")
	if refused := v.submit(ask, path+"/delete", map[string]string{"confirm": "by-forms"}); refused.status != http.StatusUnprocessableEntity {
		t.Errorf("deleting under another name: %d", refused.status)
	}
	gone := v.submit(ask, path+"/delete", map[string]string{"confirm": "by-forms-alone", "delete_backups": "yes"})
	if gone.bodyID() != "cluster-show" {
		t.Fatalf("after deleting: %s", gone.text())
	}
	st.turn(t)
	waitUntil(t, "the cluster's page says that it is gone", func() bool {
		return strings.Contains(v.get(path).text(), "no longer exists")
	})
	waitUntil(t, "the cluster is not in the list", func() bool {
		return len(v.get("/clusters?q=by-forms-alone").byTestID("cluster-row")) == 0
	})

	log := st.signIn(t, auditor)
	for _, act := range []string{"cluster.restart", "cluster.suspend", "cluster.unsuspend", "cluster.delete"} {
		rows := log.submit(log.get("/audit"), "/audit", map[string]string{"act": act, "q": id}).byTestID("audit-row")
		if len(rows) != 1 || rows[0]["data-act"] != act || rows[0]["data-outcome"] != "ok" || !strings.Contains(rows[0]["data-actor"], "operator") {
			t.Errorf("%s has the rows %v", act, rows)
		}
	}
	if out := v.submit(v.get("/me"), "/logout", nil); out.url.Path != "/login" {
		t.Errorf("signing out ended at %s", out.url)
	}
	if after := v.get("/clusters"); after.bodyID() == "clusters-index" {
		t.Errorf("the session outlived the sign-out: %s", after.url)
	}
}

// phase reloads a cluster's page until it shows a phase.
func (st *stage) phase(t *testing.T, v *visitor, path, phase string) page {
	t.Helper()
	var last page
	waitUntil(t, "the cluster's page shows "+phase, func() bool {
		last = v.get(path)
		if last.status != http.StatusOK {
			t.Fatalf("%s: %d", path, last.status)
		}
		return attributeOf(last.byID("cluster"), "data-phase") == phase
	})
	return last
}
