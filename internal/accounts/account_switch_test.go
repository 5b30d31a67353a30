package accounts

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// decodable fails the test when a stored cluster is not readable as the account's API writes it.
func (s *stage) decodable(a Account) (names []string) {
	s.t.Helper()
	rows, err := s.db.Pool.Query(s.t.Context(), `SELECT cluster_id FROM clusters WHERE account_id = $1 ORDER BY cluster_id`, a.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		d, err := s.svc.Cluster(s.t.Context(), member("admins"), ClusterRef{AccountID: a.ID, ClusterID: id})
		if err != nil {
			s.t.Fatalf("cluster %s: %v", id, err)
		}
		if d.Cluster.Name == "" || d.Cluster.Name != d.Row.Name || d.Cluster.Configuration.PackageID == "" {
			s.t.Errorf("cluster %s reads %q, package %q; its row says %q", id, d.Cluster.Name, d.Cluster.Configuration.PackageID, d.Row.Name)
		}
		names = append(names, d.Row.Name)
	}
	return names
}

func TestAnAccountIsMovedToTheCurrentAPI(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	by := member("admins")
	before := s.decodable(account)
	p, err := s.svc.PreviewSwitch(t.Context(), by, account.ID)
	if err != nil {
		t.Fatal(err)
	}
	if p.Differences != 0 || len(p.Clusters) != len(before) || p.UpstreamName == "" || p.OwnerEmail == "" || len(p.NotAble) != 0 || p.LegacyError != "" {
		t.Errorf("preview %+v", p)
	}
	if events := s.eventsOf(ActAccountSwitch); len(events) != 0 {
		t.Errorf("looking left events: %+v", events)
	}
	for range 2 { // the second time nothing changes and nothing is recorded
		if err := s.svc.SwitchAccount(t.Context(), by, account.ID, AccountSwitch{}); err != nil {
			t.Fatal(err)
		}
	}
	now := s.account(account)
	if now.Generation != cloudapi.Current || now.UpstreamName != p.UpstreamName || now.OwnerEmail != p.OwnerEmail || now.Key.ID != account.Key.ID ||
		!now.Key.May("write:clusters") || now.Key.Permissions == nil || now.Key.ProbedAt == nil || now.Legacy || now.Sync.OKAt == nil {
		t.Errorf("account %+v", now.Account)
	}
	// Readable at once, without a refresh, and by the acts that pa/v1 lacks.
	if diff := cmp.Diff(before, s.decodable(account)); diff != "" {
		t.Errorf("clusters (-before +after)\n%s", diff)
	}
	if err := s.svc.RestartCluster(t.Context(), by, s.inPhase(account.ID, cloudapi.PhaseHealthy)); err != nil {
		t.Errorf("restart on the current API: %v", err)
	}
	attempt := audit.Event{
		Act: "account.switch", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Old"},
		Target: audit.Target{Kind: "account", ID: account.ID.String(), Name: "Old"}, Change: audit.Change{"generation": {"pa-v1", "current"}},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome = audit.PhaseOutcome, audit.OK
	got := s.eventsOf(ActAccountSwitch)
	if len(got) != 2 {
		t.Fatalf("events %+v", got)
	}
	outcome.Upstream = audit.Upstream{RPC: got[1].Upstream.RPC, KeyID: account.Key.ID.String(), Status: 200}
	outcome.Change = audit.Change{
		"generation": {"pa-v1", "current"}, "upstream_name": {"", p.UpstreamName}, "owner_email": {"", p.OwnerEmail},
		"management_key_permissions": {nil, lists(t, now.Key.Permissions)},
	}
	wantOperation(t, got, attempt, outcome)
	s.snapshot()
	if diff := cmp.Diff(before, s.decodable(account)); diff != "" {
		t.Errorf("clusters after a refresh (-before +after)\n%s", diff)
	}
}

func TestDifferencesMustBeAcceptedAsTheyAre(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	by := member("admins")
	// pa/v1 does not answer any more, and what was last known has a cluster less and one with another name.
	s.fault(map[string]any{"operation": "list_clusters", "kind": "status", "status": 410})
	gone := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	s.exec(s.db.AppURL, `DELETE FROM clusters WHERE account_id = $1 AND cluster_id = $2`, account.ID, gone.ClusterID)
	s.exec(s.db.AppURL, `UPDATE clusters SET name = 'before' WHERE account_id = $1 AND phase = 'SUSPENDED'`, account.ID)
	s.exec(s.db.OwnerURL, `UPDATE clusters SET cluster_id = 'only-there' WHERE account_id = $1 AND phase = 'RECOVERY_MODE'`, account.ID)
	p, err := s.svc.PreviewSwitch(t.Context(), by, account.ID)
	if err != nil {
		t.Fatal(err)
	}
	if p.Differences != 4 || p.LegacyError == "" || !p.Clusters[0].Differs() || p.Clusters[len(p.Clusters)-1].Differs() {
		t.Fatalf("%d differences, %+v", p.Differences, p)
	}
	for name, confirm := range map[string]AccountSwitch{
		"nothing":          {},
		"accepted unseen":  {Accepted: true},
		"seen only":        {Seen: p.Seen},
		"others were seen": {Seen: strings.Repeat("0", 64), Accepted: true},
	} {
		before := s.ownRowsButEvents()
		err := s.svc.SwitchAccount(t.Context(), by, account.ID, confirm)
		if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Fields["accepted"] == "" {
			t.Errorf("%s: %v", name, err)
		}
		if after := s.ownRowsButEvents(); after != before {
			t.Errorf("%s changed something:\n%s", name, cmp.Diff(before, after))
		}
	}
	if err := s.svc.SwitchAccount(t.Context(), by, account.ID, AccountSwitch{Seen: p.Seen, Accepted: true}); err != nil {
		t.Fatal(err)
	}
	events := s.eventsOf(ActAccountSwitch)
	if last := events[len(events)-1]; last.Outcome != audit.OK || last.Change["clusters_that_differ"][1] == nil {
		t.Errorf("the outcome is %+v", last)
	}
	if names := s.decodable(account); len(names) != 7 {
		t.Errorf("clusters %v", names)
	}
}

func (s *stage) ownRowsButEvents() string {
	s.t.Helper()
	rows := s.ownRows()
	return rows[:strings.LastIndex(rows, "\n")]
}

func TestAKeyThatOnlyTheLegacyAPITakes(t *testing.T) {
	s := newStage(t)
	f := s.legacy()
	account := s.register(f, "Old")
	by := member("admins")
	s.fault(map[string]any{"operation": "ListAccounts", "kind": "status", "status": 401})
	_, err := s.svc.PreviewSwitch(t.Context(), by, account.ID)
	if invalid, ok := errors.AsType[*InvalidError](err); !ok || !strings.Contains(invalid.Fields[""], "refuses the key") {
		t.Errorf("preview: %v", err)
	}
	err = s.svc.SwitchAccount(t.Context(), by, account.ID, AccountSwitch{})
	if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Fields[""] == "" {
		t.Errorf("switch: %v", err)
	}
	if now := s.account(account); now.Generation != cloudapi.PAV1 {
		t.Error("the account was moved")
	}
	if got := s.eventsOf(ActAccountSwitch); len(got) != 2 || got[1].Outcome != audit.Failed || got[1].Reason == "" {
		t.Errorf("events %+v", got)
	}
	s.ask(http.MethodDelete, "faults", nil, nil)
	if err := s.svc.Disable(t.Context(), by, account.ID); err != nil {
		t.Fatal(err)
	}
	if _, conflict := errors.AsType[*ConflictError](s.svc.SwitchAccount(t.Context(), by, account.ID, AccountSwitch{})); !conflict {
		t.Error("a disabled account was moved")
	}
	current := s.register(s.current(), "New")
	if _, err := s.svc.PreviewSwitch(t.Context(), by, current.ID); err == nil {
		t.Error("an account on the current API is offered to be moved there")
	}
}

// TestWhatBeganBeforeTheMoveStoresNothingAfter has a refresh and an act of the legacy API end after the
// account was moved.
func TestWhatBeganBeforeTheMoveStoresNothingAfter(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	by := member("admins")
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp()`)
	leases, err := s.svc.lease(t.Context(), false, 10)
	if err != nil || len(leases) != 1 {
		t.Fatalf("leases %v, %v", leases, err)
	}
	up, err := s.svc.connectTo(t.Context(), account.ID, cloudapi.PAV1, toAct, "before")
	if err != nil {
		t.Fatal(err)
	}
	listed, _, err := listClusters(t.Context(), up.cloud)
	if err != nil {
		t.Fatal(err)
	}
	known, err := s.svc.knownClusters(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}

	if err := s.svc.SwitchAccount(t.Context(), by, account.ID, AccountSwitch{}); err != nil {
		t.Fatal(err)
	}
	before := s.ownRows()
	listed[0].Name = "stale"
	rows := s.svc.snapshots(t.Context(), up, listed, known)
	quiet := leases[0] // finds everything as it was
	quiet.OKAt, quiet.Failures, quiet.Vanished = &quiet.StartedAt, 0, 0
	for _, held := range []string{"a lease that the move has taken away", "a lease that was held on to"} {
		if err := s.svc.storeListing(t.Context(), quiet, nil, nil, absence{}); !errors.Is(err, errLeaseLost) {
			t.Errorf("%s: it was stored that everything is as it was: %v", held, err)
		}
		if err := s.svc.storeListing(t.Context(), leases[0], nil, rows, absence{}); !errors.Is(err, errLeaseLost) {
			t.Errorf("%s: the listing was stored: %v", held, err)
		}
		if err := s.svc.storeFailure(t.Context(), leases[0], errors.New("too late")); !errors.Is(err, errLeaseLost) {
			t.Errorf("%s: the failure was stored: %v", held, err)
		}
		s.exec(s.db.AppURL, `UPDATE refresh SET lease_owner = $2, lease_until = clock_timestamp() + interval '1 minute' WHERE account_id = $1`, account.ID, leases[0].Owner)
	}
	s.exec(s.db.AppURL, `UPDATE refresh SET lease_owner = '', lease_until = NULL`)
	if err := s.svc.storeCluster(t.Context(), account.ID, listed[0]); err != nil {
		t.Errorf("a cluster read by an act: %v", err)
	}
	if after := s.ownRows(); after != before {
		t.Errorf("something was stored:\n%s", cmp.Diff(before, after))
	}
	// The worker itself, from the lease on, drops what it reads.
	s.svc.refresh(t.Context(), leases[0])
	s.decodable(account)
}

func TestAMoveThatWasCutIsOnRecord(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.legacy(), "Old")
	for _, tt := range []struct {
		act   Act
		words string
	}{{ActAccountSwitch, "not moved"}, {ActAccountKey, "not replaced"}} {
		attempt := s.attempt(tt.act, accountTarget(account.ref()))
		if got := s.reconciled(svc, attempt.Operation); len(got) != 2 || got[1].Outcome != audit.Failed || !strings.Contains(got[1].Reason, tt.words) {
			t.Errorf("%s: %+v", tt.act.Name, got)
		}
	}
}
