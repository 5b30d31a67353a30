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
	admin := c.as("admins")
	wantStatus(t, admin.post(pathGrants, admin.newGrantForm(map[string]string{"subject": "singles", "role": "operator", "scope_kind": "cluster", "scope": account + "/" + cluster}).Encode()), http.StatusSeeOther)
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
	wantSaid(t, admin.visit("/clusters"), `href="`+pathClusterNew+`"`)
}

// TestGrantsThatReachNobodySaySo: a grant to a blocked member, and one to a group that no sign-in has named, are not shown
// as other grants in force.
func TestGrantsThatReachNobodySaySo(t *testing.T) {
	c, _ := newFullConsole(t)
	viewer := c.as("viewers")
	b := c.as("admins")
	give := func(change map[string]string) string {
		t.Helper()
		w := b.post(pathGrants, b.newGrantForm(change).Encode())
		wantStatus(t, w, http.StatusSeeOther)
		return w.Header().Get("Location")
	}
	group := give(map[string]string{"subject": "Search-Team"})
	member := give(map[string]string{"subject_kind": "member", "subject": c.idp.URL + "|subject-viewers"})
	wantSaid(t, b.visit(group), "In force · nobody yet", "No sign-in has named")
	wantSaid(t, b.visit(member), ">In force<")
	wantStatus(t, viewer.visit("/me"), http.StatusOK)
	if _, err := c.accounts.Block(t.Context(), accounts.JobActor("test"), c.idp.URL, "subject-viewers", accounts.MemberBlock{Reason: "r", Confirm: "viewers@example.test"}); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, b.visit(pathGrants), "In force · nobody yet", "In force · member blocked")
	wantSaid(t, b.visit(member), "In force · member blocked", "They are blocked")
	for _, named := range []string{"Search-Team", "operators", "auditors"} {
		c.as(named)
	}
	wantSaid(t, b.visit(group), ">In force<", "Everyone whose last sign-in named this group.")
	if strings.Contains(b.visit(pathGrants).Body.String(), "nobody yet") {
		t.Error("a sign-in named the group, and the list does not know")
	}
}

// TestOnesOwnRightsSayUntilWhenAndWhy: the page of one's own access tells of each grant when it ends and why it was given,
// and leads to the place.
func TestOnesOwnRightsSayUntilWhenAndWhy(t *testing.T) {
	c, db, _ := newFleetConsole(t, 1, 3)
	b := c.as("admins")
	contractor := c.as("contractors")
	var account string
	if err := db.Pool.QueryRow(t.Context(), `SELECT id::text FROM accounts`).Scan(&account); err != nil {
		t.Fatal(err)
	}
	for _, change := range []map[string]string{
		{"lasts": "7d"}, {"subject_kind": "member", "subject": c.idp.URL + "|subject-contractors", "scope_kind": "account", "scope": account, "reason": "OPS-8"},
	} {
		wantStatus(t, b.post(pathGrants, b.newGrantForm(change).Encode()), http.StatusSeeOther)
	}
	me := contractor.visit("/me")
	wantSaid(t, me, "Where your rights come from", "OPS-7", "OPS-8", "in 7 d", "no end", "given to you directly", `href="`+pathAccounts+"/"+account+`"`)
	if strings.Contains(me.Body.String(), ">the member") {
		t.Error("who looks at their own page is called the member")
	}
}

// TestGrantFormNamesItsOwnFields: what is wrong with a choice is said in the words of the choice.
func TestGrantFormNamesItsOwnFields(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	for want, change := range map[string]map[string]string{
		"Choose a cluster.": {"scope_kind": "cluster", "scope": ""}, "Choose an account.": {"scope_kind": "account", "scope": ""},
		"Choose an environment.": {"scope_kind": "environment", "scope": ""}, "Choose a member.": {"subject_kind": "member", "subject": ""},
	} {
		w := b.post(pathGrants, b.newGrantForm(change).Encode())
		wantStatus(t, w, http.StatusUnprocessableEntity)
		wantSaid(t, w, want)
	}
}

// TestAccessOfOneClusterSaysWhatItGives: what is said to be allowed on one cluster is what takes effect there, members are
// told by their addresses, and groups by who is in them.
func TestAccessOfOneClusterSaysWhatItGives(t *testing.T) {
	c, db, _ := newFleetConsole(t, 1, 3)
	b := c.as("admins")
	for _, group := range []string{"viewers", "contractors"} {
		c.as(group)
	}
	var account, cluster string
	if err := db.Pool.QueryRow(t.Context(), `SELECT account_id::text, cluster_id FROM clusters ORDER BY cluster_id LIMIT 1`).Scan(&account, &cluster); err != nil {
		t.Fatal(err)
	}
	given := b.post(pathGrants, b.newGrantForm(map[string]string{
		"subject_kind": "member", "subject": c.idp.URL + "|subject-contractors", "role": "account-admin", "scope_kind": "cluster", "scope": account + "/" + cluster,
	}).Encode())
	wantStatus(t, given, http.StatusSeeOther)
	for _, path := range []string{given.Header().Get("Location"), accessOfMember(c.idp.URL, "subject-contractors"), pathAccess + "?account=" + account + "&cluster=" + cluster} {
		w := b.visit(path)
		wantStatus(t, w, http.StatusOK)
		wantSaid(t, w, "clusters", "contractors@example.test")
		if path == given.Header().Get("Location") {
			wantSaid(t, w, "other permissions of the role take no effect there.")
		}
		if strings.Contains(w.Body.String(), "· subject-contractors") {
			t.Errorf("%s shows the subject of somebody who has an address", path)
		}
		if !strings.Contains(path, "cluster=") && strings.Contains(w.Body.String(), "management keys") {
			t.Errorf("%s promises management keys on one cluster", path)
		}
	}
	wantSaid(t, b.visit(pathAccess+"?account="+account+"&cluster="+cluster), `data-testid="holder-members"`, "Member viewers")
}

// TestRolePageSpeaksOfWhoHasIt: who sees every grant is not told of some that they may not see, and a copy is named.
func TestRolePageSpeaksOfWhoHasIt(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	wantSaid(t, b.visit(pathRoles+"/key-manager"), "Nobody yet. It does nothing until a grant gives it.")
	wantSaid(t, b.visit(pathRoles+"/new?from=operator"), "<h1>New role, a copy of operator</h1>")
}
