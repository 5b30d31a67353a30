package web

import (
	"net/http"
	"strings"
	"testing"
)

// TestRoutesAskedActs: each route that asks for a right says which act it is about, and no route that is not there does.
func TestRoutesAskedActs(t *testing.T) {
	c := newConsole(t)
	left := map[string]bool{}
	for name := range askedActs {
		left[name] = true
	}
	for _, r := range c.routes() {
		name := r.Method + " " + r.Path
		_, told := askedActs[name]
		if told == (r.Public || r.AnyMember) {
			t.Errorf("%s: public %v, for any member %v, and its act is told %v", name, r.Public, r.AnyMember, told)
		}
		delete(left, name)
	}
	if len(left) > 0 {
		t.Errorf("there are no such routes: %v", left)
	}
}

// TestRoutesRefusalsNameWhatWasAsked: a member without any right is refused what they asked for, and the answer
// and the event do not depend on whether it exists.
func TestRoutesRefusalsNameWhatWasAsked(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("nobodies")
	const account, cluster = "/accounts/00000000-0000-7000-8000-000000000001", "/clusters/c1"
	for _, tt := range []struct{ method, target, act string }{
		{http.MethodGet, account + cluster + "/restart", "cluster.restart"}, {http.MethodPost, account + cluster + "/delete", "cluster.delete"},
		{http.MethodGet, account, "account.read"}, {http.MethodGet, "/audit", "audit.read"}, {http.MethodGet, account + cluster + "/history", "cluster.read"},
	} {
		w := b.send(b.request(tt.method, tt.target, strings.Repeat("a=b", map[string]int{http.MethodPost: 1}[tt.method])))
		wantStatus(t, w, http.StatusForbidden)
		var n int
		if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE act = $1 AND outcome = 'denied' AND target_id = '' AND account_id = ''`, tt.act).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s %s: %d refusals of %s on record, %v", tt.method, tt.target, n, tt.act, err)
		}
	}
}
