package accounts

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// TestScopedListsTellNothingOfOthers: lists, counts, choices of filters, catalogues and single pages hold what is in the scope of a
// member and no name, id or count of anything else; what is outside answers as what is not there.
func TestScopedListsTellNothingOfOthers(t *testing.T) {
	s := newLogScopeStage(t)
	everything, err := s.svc.Fleet(t.Context(), member("admins"), FleetQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	mine := map[string]bool{}
	for _, r := range everything.Rows {
		if r.AccountID == s.mine.ID {
			mine[r.ClusterID] = true
		} else if len(r.Name) > 8 { // shorter ones may be a part of another word
			s.canaries = append(s.canaries, r.ClusterID, r.Name)
		}
	}
	// The canaries are words that mine do not have.
	s.canaries = slices.DeleteFunc(s.canaries, func(c string) bool {
		return slices.ContainsFunc(everything.Rows, func(r ClusterRow) bool { return r.AccountID == s.mine.ID && (r.Name == c || r.ClusterID == c) })
	})
	if len(mine) < 3 || len(s.canaries) < 8 {
		t.Fatal(len(mine), s.canaries)
	}
	reading := []string{access.ReadAccount, access.ReadClusters, access.WriteClusters, access.ReadAPIKeys}
	ctx, by := t.Context(), s.scoped
	for name, scope := range s.logScopes() {
		s.grant(scope, reading...)
		whole := name != "cluster"
		want := 1
		if whole {
			want = len(mine)
		}
		page, err := s.svc.Fleet(ctx, by, FleetQuery{Limit: 500})
		if err != nil || len(page.Rows) != want || page.All != want || page.Total != want || len(page.Accounts) != 1 || page.Accounts[0].Clusters != want || page.Accounts[0].Hidden == whole {
			t.Errorf("%s: the fleet has %d rows, %d in all, of %+v, %v", name, len(page.Rows), page.All, page.Accounts, err)
		}
		s.tellsNothing(name+" fleet", page)
		for _, q := range []FleetQuery{{Account: s.theirs.ID.String()}, {Environment: "production"}, {Text: s.nameOf(s.theirOne)}, {Text: "canary"}} {
			if page, err := s.svc.Fleet(ctx, by, q); err != nil || len(page.Rows) != 0 || page.Total != 0 || page.All != want {
				t.Errorf("%s: %+v finds %d of %d, %v", name, q, page.Total, page.All, err)
			}
		}
		list, err := s.svc.List(ctx, by)
		if err != nil || (len(list) == 1) != whole || len(list) > 1 {
			t.Errorf("%s lists %d accounts, %v", name, len(list), err)
		}
		s.tellsNothing(name+" accounts", list)
		accounts, err := s.svc.AccountsPage(ctx, by, AccountsQuery{})
		if err != nil || accounts.All != len(list) || accounts.Total != len(list) {
			t.Errorf("%s: %d of %d accounts, %v", name, accounts.Total, accounts.All, err)
		}
		if found, err := s.svc.AccountsPage(ctx, by, AccountsQuery{Text: "canary"}); err != nil || found.Total != 0 {
			t.Errorf("%s finds %d accounts of others, %v", name, found.Total, err)
		}
		fillable, err := s.svc.FillableAccounts(ctx, by)
		if err != nil || len(fillable) != len(list) {
			t.Errorf("%s can choose among %d accounts, %v", name, len(fillable), err)
		}
		packages, err := s.svc.Packages(ctx, by, PackageQuery{})
		if err != nil || len(packages.Accounts) != len(list) {
			t.Errorf("%s: packages of %d accounts, %v", name, len(packages.Accounts), err)
		}
		s.tellsNothing(name+" packages", packages)
		detail, err := s.svc.Cluster(ctx, by, s.myOne)
		if err != nil || detail.Account.Name != "Mine" || detail.Account.Hidden == whole {
			t.Errorf("%s: the cluster is in %+v, %v", name, detail.Account, err)
		}
		if _, err := s.svc.Account(ctx, by, s.mine.ID); (err == nil) != whole || err != nil && err != ErrNotFound { //nolint:errorlint // byte for byte
			t.Errorf("%s: the account's page: %v", name, err)
		}
		absent := uuid.New()
		for what, ask := range map[string]func() error{
			"account":             func() error { _, err := s.svc.Account(ctx, by, s.theirs.ID); return err },
			"no account":          func() error { _, err := s.svc.Account(ctx, by, absent); return err },
			"cluster":             func() error { _, err := s.svc.Cluster(ctx, by, s.theirOne); return err },
			"no cluster":          func() error { _, err := s.svc.Cluster(ctx, by, ClusterRef{s.theirs.ID, "absent"}); return err },
			"keys":                func() error { _, err := s.svc.Keys(ctx, by, s.theirOne); return err },
			"restart":             func() error { return s.svc.RestartCluster(ctx, by, s.theirOne) },
			"asking to restart":   func() error { _, err := s.svc.AskCluster(ctx, by, ActClusterRestart, s.theirOne); return err },
			"asking for a change": func() error { _, err := s.svc.AskClusterUpdate(ctx, by, s.theirOne); return err },
			"packages":            func() error { _, err := s.svc.Packages(ctx, by, PackageQuery{Account: s.theirs.ID}); return err },
			"packages of none":    func() error { _, err := s.svc.Packages(ctx, by, PackageQuery{Account: absent}); return err },
			"a new cluster": func() error {
				_, err := s.svc.AskClusterCreate(ctx, by, s.theirs.ID, NewCluster{}, false)
				return err
			},
			"a price": func() error { _, err := s.svc.PriceNewCluster(ctx, by, s.theirs.ID, NewCluster{}); return err },
		} {
			if err := ask(); err != ErrNotFound { //nolint:errorlint // byte for byte the same
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	// What was asked is what was refused.
	s.eventually("the refusal of a restart on record", func() bool {
		return slices.ContainsFunc(s.eventsOf(ActClusterRestart), func(e audit.Event) bool {
			return e.Outcome == audit.Denied && e.Actor.Subject == by.Subject && e.Target.ID == s.theirOne.ClusterID
		})
	})
}

// TestScopedCountsAreOfWhatOneSees: who reads accounts and not their clusters is not told how many there are, and who sees
// one cluster not what went wrong with others.
func TestScopedCountsAreOfWhatOneSees(t *testing.T) {
	s := newLogScopeStage(t)
	s.exec(s.db.OwnerURL, `UPDATE refresh SET vanished = 17, error = 'The console could not read 16 of the clusters'`)
	s.grant(access.Scope{Accounts: []uuid.UUID{s.mine.ID}}, access.ReadAccount)
	list, err := s.svc.List(t.Context(), s.scoped)
	if err != nil || len(list) != 1 || list[0].Clusters != 0 || list[0].Sync.Vanished != 0 || list[0].Sync.Error != "" {
		t.Errorf("%+v, %v", list, err)
	}
	if page, err := s.svc.AccountsPage(t.Context(), s.scoped, AccountsQuery{}); err != nil || page.Accounts[0].Clusters != 0 || page.Accounts[0].Sync.Vanished != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	if d, err := s.svc.Account(t.Context(), s.scoped, s.mine.ID); err != nil || d.Clusters != 0 || d.Sync.Vanished != 0 || len(d.Snapshot) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	s.grant(access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(s.myOne)}}, access.ReadClusters)
	page, err := s.svc.Fleet(t.Context(), s.scoped, FleetQuery{})
	if err != nil || page.Accounts[0].Sync.Vanished != 0 || page.Accounts[0].Sync.Error != "" {
		t.Errorf("%+v, %v", page.Accounts, err)
	}
	if d, err := s.svc.Cluster(t.Context(), s.scoped, s.myOne); err != nil || d.Account.Sync.Vanished != 0 || d.Account.Sync.Error != "" {
		t.Errorf("%+v, %v", d.Account.Sync, err)
	}
	// Who sees the whole account is told.
	if page, err := s.svc.Fleet(t.Context(), member("viewers"), FleetQuery{}); err != nil || page.Accounts[0].Sync.Vanished != 17 {
		t.Errorf("%+v, %v", page.Accounts, err)
	}
}
