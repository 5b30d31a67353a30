package web

import (
	"net/http"
	"strings"
	"testing"

	"quartermaster/internal/accounts"
)

// TestWithOneClusterOnlyPagesOfAccountsSayWhy: to somebody whose right is on one cluster the pages of accounts say so, and
// not that there is no account; a new cluster, which needs an account, is not offered.
func TestWithOneClusterOnlyPagesOfAccountsSayWhy(t *testing.T) {
	c, db, _ := newFleetConsole(t, 2, 6)
	var account, cluster string
	if err := db.Pool.QueryRow(t.Context(), `SELECT account_id::text, cluster_id FROM clusters ORDER BY cluster_id LIMIT 1`).Scan(&account, &cluster); err != nil {
		t.Fatal(err)
	}
	if _, err := c.accounts.CreateGrant(t.Context(), accounts.JobActor("test"), accounts.NewGrant{
		SubjectKind: "group", Subject: "singles", Role: "operator", ScopeKind: "cluster", Scope: account + "/" + cluster, Reason: "r",
	}); err != nil {
		t.Fatal(err)
	}
	b := c.as("singles")
	for _, path := range []string{pathAccounts, pathPackages, pathClusterNew} {
		w := b.visit(path)
		wantStatus(t, w, http.StatusOK)
		wantSaid(t, w, "You can see 1 cluster here, but no whole account", `href="/clusters">Your clusters</a>`)
		if strings.Contains(w.Body.String(), "No account yet") {
			t.Errorf("%s says that there is no account", path)
		}
	}
	fleet := b.visit("/clusters")
	wantSaid(t, fleet, "A cluster is made in an account, and you can work on no whole one.")
	if strings.Contains(fleet.Body.String(), `href="`+pathClusterNew+`"`) {
		t.Error("a new cluster is offered")
	}
	admin := c.as("admins").visit("/clusters")
	wantSaid(t, admin, `href="`+pathClusterNew+`"`)
}
