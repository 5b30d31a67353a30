package main

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// everyRoleEverywhere sends each member to each page and act. A refusal says which right is
// missing and leaves one event, however often it is repeated.
func everyRoleEverywhere(t *testing.T, st *stage) {
	own, ownID := st.newCluster(t, production, "roles-meet-acts")
	old, oldID := st.cluster(t, "market-reports")
	account := "/accounts/" + st.accounts[production].id
	moving, noKey := "/accounts/"+st.accounts[legacy].id, uuid.NewString()
	noMember := strings.Repeat("0", 32)
	fields := url.Values{"form_token": {""}}
	members := []string{admin, operator, viewer, auditor}
	for _, row := range []struct {
		method, path string
		form         url.Values
		act, target  string // of the event a refusal leaves
		right        string // that a refusal names
		want         [4]int // admin, operator, viewer, auditor
	}{
		{"GET", "/", nil, "", "", "", [4]int{303, 303, 303, 303}},
		{"GET", "/clusters", nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", "/accounts", nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", account, nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", own, nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", old, nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", "/me", nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", "/packages", nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", "/packages?account=" + st.accounts[legacy].id, nil, "", "", "", [4]int{200, 200, 200, 200}},

		{"GET", "/accounts/new", nil, "account.create", "", "accounts:manage", [4]int{200, 403, 403, 403}},
		{"POST", "/accounts", fields, "account.create", "", "accounts:manage", [4]int{422, 403, 403, 403}},
		{"POST", account + "/enable", nil, "account.enable", st.accounts[production].id, "accounts:manage", [4]int{303, 403, 403, 403}},
		{"POST", account + "/disable", nil, "account.disable", st.accounts[production].id, "accounts:manage", [4]int{0, 403, 403, 403}},
		{"GET", account + "/delete", nil, "account.delete", st.accounts[production].id, "accounts:manage", [4]int{200, 403, 403, 403}},
		{"POST", account + "/delete", nil, "account.delete", st.accounts[production].id, "accounts:manage", [4]int{422, 403, 403, 403}},

		{"GET", account + "/edit", nil, "account.edit", st.accounts[production].id, "accounts:manage", [4]int{200, 403, 403, 403}},
		{"POST", account + "/edit", nil, "account.edit", st.accounts[production].id, "accounts:manage", [4]int{422, 403, 403, 403}},
		{"GET", account + "/key", nil, "account.key", st.accounts[production].id, "accounts:manage", [4]int{200, 403, 403, 403}},
		{"POST", account + "/key", fields, "account.key", st.accounts[production].id, "accounts:manage", [4]int{422, 403, 403, 403}},
		{"GET", account + "/key/mint", nil, "management_key.create", st.accounts[production].id, "accounts:manage", [4]int{200, 403, 403, 403}},
		{"POST", account + "/key/mint", fields, "management_key.create", st.accounts[production].id, "accounts:manage", [4]int{422, 403, 403, 403}},
		{"GET", account + "/key/old/" + noKey + "/delete", nil, "management_key.delete", st.accounts[production].id, "accounts:manage", [4]int{404, 403, 403, 403}},
		{"POST", account + "/key/old/" + noKey + "/delete", nil, "management_key.delete", st.accounts[production].id, "accounts:manage", [4]int{404, 403, 403, 403}},
		{"POST", account + "/key/old/" + noKey + "/dismiss", nil, "management_key.dismiss", st.accounts[production].id, "accounts:manage", [4]int{404, 403, 403, 403}},
		{"GET", account + "/switch", nil, "account.switch", st.accounts[production].id, "accounts:manage", [4]int{409, 403, 403, 403}},
		{"GET", moving + "/switch", nil, "account.switch", st.accounts[legacy].id, "accounts:manage", [4]int{200, 403, 403, 403}},
		{"POST", moving + "/switch", nil, "account.switch", st.accounts[legacy].id, "accounts:manage", [4]int{0, 403, 403, 403}},

		{"GET", "/clusters/new", nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", account + "/clusters/new", nil, "cluster.create", st.accounts[production].id, "write:clusters", [4]int{200, 200, 403, 403}},
		{"POST", account + "/clusters/new", fields, "cluster.create", st.accounts[production].id, "write:clusters", [4]int{200, 200, 403, 403}},
		{"GET", account + "/clusters/quote", nil, "cluster.create", st.accounts[production].id, "write:clusters", [4]int{200, 200, 403, 403}},
		{"POST", account + "/clusters", fields, "cluster.create", st.accounts[production].id, "write:clusters", [4]int{422, 422, 403, 403}},

		{"GET", own + "/update", nil, "cluster.update", ownID, "write:clusters", [4]int{200, 200, 403, 403}},
		{"POST", own + "/update", nil, "cluster.update", ownID, "write:clusters", [4]int{422, 422, 403, 403}},
		{"POST", own + "/update/review", nil, "cluster.update", ownID, "write:clusters", [4]int{422, 422, 403, 403}},
		{"GET", old + "/update", nil, "cluster.update", oldID, "write:clusters", [4]int{200, 200, 403, 403}},
		{"GET", own + "/restart", nil, "cluster.restart", ownID, "write:clusters", [4]int{200, 200, 403, 403}},
		{"GET", own + "/suspend", nil, "cluster.suspend", ownID, "write:clusters", [4]int{200, 200, 403, 403}},
		{"GET", own + "/delete", nil, "cluster.delete", ownID, "delete:clusters", [4]int{200, 200, 403, 403}},
		{"POST", own + "/unsuspend", nil, "cluster.unsuspend", ownID, "write:clusters", [4]int{409, 409, 403, 403}},
		{"POST", own + "/delete", nil, "cluster.delete", ownID, "delete:clusters", [4]int{422, 422, 403, 403}},
		{"GET", old + "/restart", nil, "cluster.restart", oldID, "write:clusters", [4]int{409, 409, 403, 403}},
		{"POST", old + "/restart", nil, "cluster.restart", oldID, "write:clusters", [4]int{409, 409, 403, 403}},
		{"POST", old + "/suspend", nil, "cluster.suspend", oldID, "write:clusters", [4]int{409, 409, 403, 403}},
		{"POST", own + "/restart", nil, "cluster.restart", ownID, "write:clusters", [4]int{0, 303, 403, 403}},

		{"GET", own + "/keys", nil, "key.read", ownID, "", [4]int{200, 200, 200, 200}},
		{"GET", own + "/keys/new", nil, "key.create", ownID, "write:api_keys", [4]int{200, 200, 403, 403}},
		{"POST", own + "/keys", fields, "key.create", ownID, "write:api_keys", [4]int{422, 422, 403, 403}},
		{"GET", old + "/keys/new", nil, "admin_key.create", oldID, "write:api_keys", [4]int{200, 200, 403, 403}},
		{"POST", old + "/keys", fields, "admin_key.create", oldID, "write:api_keys", [4]int{422, 422, 403, 403}},
		{"GET", own + "/keys/none/delete", nil, "key.delete", ownID, "delete:api_keys", [4]int{404, 404, 403, 403}},
		{"POST", own + "/keys/none/delete", nil, "key.delete", ownID, "delete:api_keys", [4]int{404, 404, 403, 403}},
		{"GET", own + "/keys/none/rotate", nil, "key.rotate", ownID, "delete:api_keys", [4]int{404, 404, 403, 403}},
		{"GET", old + "/keys/none/update", nil, "admin_key.update", oldID, "write:api_keys", [4]int{404, 404, 403, 403}},
		{"POST", old + "/keys/none/update", nil, "admin_key.update", oldID, "write:api_keys", [4]int{404, 404, 403, 403}},
		{"POST", own + "/keys/none/rotate", nil, "key.rotate", ownID, "delete:api_keys", [4]int{404, 404, 403, 403}},

		{"GET", "/admin/members", nil, "member.read", "", "members:manage", [4]int{200, 403, 403, 403}},
		{"GET", "/admin/members/" + noMember, nil, "member.read", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"GET", "/admin/members/" + noMember + "/keys", nil, "member.read", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"GET", "/admin/members/" + noMember + "/block", nil, "member.block", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"POST", "/admin/members/" + noMember + "/block", fields, "member.block", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"GET", "/admin/members/" + noMember + "/unblock", nil, "member.unblock", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"POST", "/admin/members/" + noMember + "/unblock", fields, "member.unblock", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"POST", "/admin/members/" + noMember + "/sessions/end", nil, "member.sign_out", "", "members:manage", [4]int{404, 403, 403, 403}},
		{"POST", "/admin/members/" + noMember + "/sessions/" + noKey + "/end", nil, "member.sign_out", "", "members:manage", [4]int{404, 403, 403, 403}},

		{"GET", "/audit", nil, "audit.read", "", "audit:read", [4]int{200, 403, 403, 200}},
		{"GET", "/audit/export?format=csv&act=cluster.explode", nil, "audit.export", "", "audit:export", [4]int{200, 403, 403, 200}},
		{"GET", "/admin/upstream", nil, "", "", "", [4]int{200, 200, 200, 200}},
		{"GET", "/admin/grants", nil, "grant.read", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"GET", "/admin/grants/new", nil, "grant.create", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"POST", "/admin/grants/new", fields, "grant.create", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"POST", "/admin/grants", fields, "grant.create", "", "grants:manage", [4]int{422, 403, 403, 403}},
		{"GET", "/admin/grants/" + noKey, nil, "grant.read", "", "grants:manage", [4]int{404, 403, 403, 403}},
		{"GET", "/admin/grants/" + noKey + "/delete", nil, "grant.read", "", "grants:manage", [4]int{404, 403, 403, 403}},
		{"POST", "/admin/grants/" + noKey + "/delete", nil, "grant.delete", "", "grants:manage", [4]int{404, 403, 403, 403}},
		{"GET", "/admin/roles", nil, "role.read", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"GET", "/admin/roles/new", nil, "role.create", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"POST", "/admin/roles", fields, "role.create", "", "grants:manage", [4]int{422, 403, 403, 403}},
		{"GET", "/admin/roles/viewer", nil, "role.read", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"POST", "/admin/roles/viewer", nil, "role.edit", "", "grants:manage", [4]int{409, 403, 403, 403}},
		{"POST", "/admin/roles/viewer/delete", fields, "role.read", "", "grants:manage", [4]int{409, 403, 403, 403}},
		{"GET", "/admin/access?account=" + st.accounts[production].id, nil, "grant.read", "", "grants:manage", [4]int{200, 403, 403, 403}},
		{"GET", "/admin/groups", nil, "group.read", "", "grants:manage or members:manage", [4]int{200, 403, 403, 403}},
		{"GET", "/admin/groups/try", nil, "group.read", "", "grants:manage or members:manage", [4]int{200, 403, 403, 403}},
		{"POST", "/admin/groups/try", url.Values{"claims": {"{}"}}, "group.read", "", "grants:manage or members:manage", [4]int{200, 403, 403, 403}},

		{"GET", "/audit/events/1", nil, "audit.read", "", "audit:read", [4]int{200, 403, 403, 200}},
	} {
		for i, member := range members {
			if row.want[i] == 0 {
				continue // done in a journey, where nobody else minds
			}
			v := st.visitor(t, member)
			before := st.denials(t, member, row.act, row.target)
			got := v.try(row.method, row.path, row.form)
			if got.status != row.want[i] {
				t.Errorf("%s %s as %s: %d, want %d\n%s", row.method, row.path, member, got.status, row.want[i], got.text())
				continue
			}
			if got.status != http.StatusForbidden {
				if after := st.denials(t, member, row.act, row.target); row.act != "" && after != before {
					t.Errorf("%s %s as %s was let through and left %d refusals", row.method, row.path, member, after-before)
				}
				continue
			}
			if !strings.Contains(got.text(), row.right) || got.bodyID() != "error" {
				t.Errorf("%s %s as %s does not name %s:\n%s", row.method, row.path, member, row.right, got.text())
			}
			v.try(row.method, row.path, row.form)
			// A page and its form may be the same act, and another journey may have been refused it too: then
			// that refusal is the event, until its minute is over.
			if after := st.denials(t, member, row.act, row.target); after < 1 || after > before+1 {
				t.Errorf("%s %s as %s: %d events of the refusal of %s, and %d before", row.method, row.path, member, after, row.act, before)
			}
		}
	}
	if got := st.events(t, `act = 'cluster.restart' AND target_id = $1 AND phase = 'attempt'`, ownID); got != 1 {
		t.Errorf("%d restarts were attempted, want the operator's only", got)
	}
	t.Run("a member without rights", func(t *testing.T) { nobodyAnywhere(t, st, own) })
}

// visitor is signed in as a member, without following redirects.
func (st *stage) visitor(t *testing.T, member string) *visitor {
	t.Helper()
	st.sessions.mu.Lock()
	defer st.sessions.mu.Unlock()
	if st.sessions.by == nil {
		st.sessions.by = map[string]*visitor{}
	}
	if st.sessions.by[member] == nil {
		st.sessions.by[member] = st.signIn(t, member).withoutRedirects()
	}
	known := *st.sessions.by[member]
	known.t = t
	return &known
}

// denials counts the recorded refusals of an act on a target.
func (st *stage) denials(t *testing.T, member, act, target string) int {
	t.Helper()
	return st.events(t, `outcome = 'denied' AND actor_email = $1 AND act = $2 AND ($3 = '' OR target_id = $3)`, member, act, target)
}

// nobodyAnywhere tries the console as a member in no group of it.
func nobodyAnywhere(t *testing.T, st *stage, cluster string) {
	before := st.events(t, `outcome = 'denied' AND actor_email = $1`, nobody)
	v := st.visitor(t, nobody)
	for _, r := range []struct{ method, path string }{
		{"GET", "/clusters"},
		{"GET", "/accounts"},
		{"GET", "/accounts/new"},
		{"GET", cluster},
		{"GET", "/audit"},
		{"POST", "/accounts"},
		{"POST", cluster + "/delete"},
	} {
		got := v.try(r.method, r.path, nil)
		if got.status != http.StatusForbidden || got.bodyID() != "no-rights" {
			t.Errorf("%s %s: %d, body %s", r.method, r.path, got.status, got.bodyID())
		}
		for _, want := range []string{"groups", "engineering", nobody, admin} { // the claim, what it held, and whom to ask
			if !strings.Contains(got.text(), want) {
				t.Errorf("%s %s does not show %s:\n%s", r.method, r.path, want, got.text())
			}
		}
		if strings.Contains(got.body, "roles-meet-acts") || len(got.byTestID("cluster-row")) > 0 {
			t.Errorf("%s %s tells of clusters", r.method, r.path)
		}
	}
	asked := []string{"cluster.read", "account.read", "account.create", "audit.read", "cluster.delete"}
	for _, act := range asked {
		if st.events(t, `outcome = 'denied' AND actor_email = $1 AND act = $2`, nobody, act) == 0 {
			t.Errorf("the refusal of %s is not on record", act)
		}
	}
	// One event an act, whatever the target. Another journey may have tried as this member, and its minute be over.
	if got := st.events(t, `outcome = 'denied' AND actor_email = $1`, nobody); got > before+len(asked) {
		t.Errorf("the refusals left %d events, and there were %d before", got, before)
	}
	if got := v.get("/me"); got.status != http.StatusOK {
		t.Errorf("their own page answers %d", got.status)
	}
}

// requestNumber matches the request id of an error page.
var requestNumber = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|data-now="[^"]*"`)

// hiddenTargets asks for what does not exist, in every way an address can be wrong: the answers are
// the same bytes but for the request id, and nothing is asked of the Cloud API.
func hiddenTargets(t *testing.T, st *stage) {
	known := st.accounts[production].id
	absent := uuid.NewString()
	old, oldID := st.cluster(t, "market-reports")
	for _, member := range []string{admin, viewer} {
		v := st.visitor(t, member)
		want := requestNumber.ReplaceAllString(v.get("/accounts/"+absent).body, "")
		for _, r := range []struct{ method, path string }{
			{"GET", "/accounts/" + absent + "/delete"},
			{"GET", "/accounts/not-an-id"},
			{"GET", "/accounts/" + strings.ToUpper(known)},
			{"GET", "/accounts/%00"},
			{"GET", "/accounts/" + known + "/clusters/" + absent},
			{"GET", "/accounts/" + known + "/clusters/" + oldID}, // of another account
			{"GET", "/accounts/" + known + "/clusters/" + absent + "/restart"},
			{"GET", "/accounts/" + known + "/clusters/" + strings.Repeat("x", 200)},
			{"GET", "/accounts/" + known + "/clusters/..%2f" + absent},
			{"GET", "/nowhere"},
			{"GET", "/accounts/" + known + "/nowhere"},
			{"GET", "/accounts/" + known + "/clusters/" + absent + "/keys"},
			{"GET", "/accounts/" + known + "/clusters/" + absent + "/keys/new"},
			{"POST", "/accounts/" + known + "/clusters/" + absent + "/keys/" + absent + "/delete"},
			{"POST", "/accounts/" + known + "/clusters/" + absent + "/restart"},
			{"POST", "/accounts/" + known + "/clusters/" + oldID + "/delete"},
			{"POST", "/accounts/" + absent + "/disable"},
			{"POST", "/accounts/" + absent + "/delete"},
		} {
			got := v.try(r.method, r.path, nil)
			if got.status != http.StatusNotFound {
				t.Errorf("%s %s as %s: %d", r.method, r.path, member, got.status)
			} else if body := requestNumber.ReplaceAllString(got.body, ""); body != want {
				t.Errorf("%s %s as %s is not the page of what does not exist:\n%.3000s", r.method, r.path, member, got.body)
			}
		}
	}
	if got := st.visitor(t, viewer).get(old); got.status != http.StatusOK {
		t.Errorf("the cluster in its own account answers %d", got.status)
	}
}
