package accounts

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// soon makes open operations due at once.
func soon(c *Config) { c.UnknownAfter = time.Millisecond }

// attempt leaves an attempt without an outcome, as a process does that was killed in between.
func (s *stage) attempt(act Act, on target) audit.Event {
	s.t.Helper()
	e := on.event(member("operators"), act)
	e.Phase, e.Operation, e.Change = audit.PhaseAttempt, uuid.New(), audit.Change{"phase": {"HEALTHY", "SUSPENDED"}}
	e.Upstream.KeyID = on.Account.KeyID.String()
	if _, err := s.log.Append(s.t.Context(), e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

// reconciled runs the reconciler and returns the events of the operation.
func (s *stage) reconciled(svc *Service, operation uuid.UUID) []audit.Event {
	s.t.Helper()
	for {
		open, err := s.log.OpenOperations(s.t.Context(), 2*time.Millisecond, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		if slices.ContainsFunc(open, func(o audit.OpenOperation) bool { return o.Operation == operation }) {
			break
		}
		time.Sleep(time.Millisecond) // until it is old enough by the database's clock
	}
	if err := svc.reconcileOnce(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var of []audit.Event
	for _, e := range s.events() {
		if e.Operation == operation {
			of = append(of, e)
		}
	}
	return of
}

func TestWhatBecameOfAnActIsFoundUpstream(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	actual := func(op cloudapi.Op) func(ClusterRef) {
		return func(ref ClusterRef) {
			up, err := s.svc.connect(t.Context(), account.ID, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := up.conn.Do(t.Context(), op, cloudapi.Params{"cluster_id": ref.ClusterID}, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func(ClusterRef) {}
	deletedAtOnce := func(ref ClusterRef) {
		s.ask(http.MethodPost, "outside", map[string]any{"act": "delete_cluster", "account": account.CloudAccountID, "cluster": ref.ClusterID, "at_once": true}, nil)
	}
	for _, tt := range []struct {
		name string
		act  Act
		from cloudapi.Phase
		then func(ClusterRef)
		want audit.Outcome
	}{
		{"restarted", ActClusterRestart, cloudapi.PhaseHealthy, actual(cloudapi.OpRestartCluster), audit.OK},
		{"suspended", ActClusterSuspend, cloudapi.PhaseHealthy, actual(cloudapi.OpSuspendCluster), audit.OK},
		{"not suspended", ActClusterSuspend, cloudapi.PhaseHealthy, nothing, audit.Failed},
		{"resumed", ActClusterUnsuspend, cloudapi.PhaseSuspended, actual(cloudapi.OpUnsuspendCluster), audit.OK},
		{"not resumed", ActClusterUnsuspend, cloudapi.PhaseSuspended, nothing, audit.Failed},
		{"not deleted", ActClusterDelete, cloudapi.PhaseHealthy, nothing, audit.Failed},
		{"deleting", ActClusterDelete, cloudapi.PhaseHealthy, actual(cloudapi.OpDeleteCluster), audit.OK},
		{"gone", ActClusterDelete, cloudapi.PhaseHealthy, deletedAtOnce, audit.OK},
		{"restart of what is gone", ActClusterRestart, cloudapi.PhaseHealthy, deletedAtOnce, audit.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
			s.snapshot()
			ref := s.inPhase(account.ID, tt.from)
			known, err := s.svc.loadCluster(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			attempt := s.attempt(tt.act, known.on)
			tt.then(ref)
			_, changing := s.calls()
			got := s.reconciled(svc, attempt.Operation)
			if len(got) != 2 {
				t.Fatalf("%d events: %+v", len(got), got)
			}
			outcome := got[1]
			if outcome.Outcome != tt.want || !outcome.Inferred || outcome.Phase != audit.PhaseOutcome || outcome.Reason == "" {
				t.Errorf("outcome %s (%s), inferred %v, phase %s; want %s", outcome.Outcome, outcome.Reason, outcome.Inferred, outcome.Phase, tt.want)
			}
			if outcome.Actor.Subject != attempt.Actor.Subject || outcome.Actor.Via != audit.ViaJob || outcome.Target != attempt.Target || outcome.Account != attempt.Account || len(outcome.Change) == 0 {
				t.Errorf("the outcome does not repeat the attempt: %+v", outcome)
			}
			if outcome.ID == got[0].ID || outcome.Upstream.RPC != cloudapi.OpGetCluster.RPC {
				t.Errorf("id %s, rpc %s", outcome.ID, outcome.Upstream.RPC)
			}
			if _, after := s.calls(); after != changing {
				t.Error("the reconciler changed something upstream")
			}
			if err := svc.reconcileOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if again := s.reconciledEvents(attempt.Operation); again != 2 {
				t.Errorf("%d events after a second round", again)
			}
		})
	}
}

func (s *stage) reconciledEvents(operation uuid.UUID) (n int) {
	for _, e := range s.events() {
		if e.Operation == operation {
			n++
		}
	}
	return n
}

func TestVerdictOnARestart(t *testing.T) {
	attempted := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		restarted time.Time
		want      audit.Outcome
	}{
		"never told":      {time.Time{}, audit.Unknown},
		"long before":     {attempted.Add(-time.Hour), audit.Failed},
		"just before":     {attempted.Add(-6 * time.Second), audit.Failed},
		"upstream's skew": {attempted.Add(-2 * time.Second), audit.OK},
		"after":           {attempted.Add(time.Second), audit.OK},
	} {
		c := cloudapi.Cluster{State: cloudapi.State{Phase: cloudapi.PhaseHealthy, RestartedAt: tt.restarted}}
		if got := clusterVerdict(ActClusterRestart, c, attempted); got.outcome != tt.want || got.reason == "" {
			t.Errorf("%s: %+v, want %s", name, got, tt.want)
		}
	}
}

func TestALostAnswerIsLookedForAndNeverRepeated(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	s.fault(map[string]any{"operation": "SuspendCluster", "kind": "lost_answer", "times": 1})
	_, before := s.calls()
	err := svc.SuspendCluster(t.Context(), member("operators"), ref)
	if e, ok := cloudapi.AsError(err); !ok || !e.OutcomeUnknown {
		t.Fatalf("suspend: %v", err)
	}
	if _, after := s.calls(); after != before+1 {
		t.Errorf("%d changing calls, want one", after-before)
	}
	got := s.eventsOf(ActClusterSuspend)
	if len(got) != 1 {
		t.Fatalf("an outcome was made up: %+v", got)
	}
	pending, err := s.log.PendingFor(t.Context(), KindCluster, ref.ClusterID)
	if err != nil || len(pending) != 1 {
		t.Errorf("pending %v, %v", pending, err)
	}
	got = s.reconciled(svc, got[0].Operation)
	if len(got) != 2 || got[1].Outcome != audit.OK || !got[1].Inferred {
		t.Errorf("events %+v", got)
	}
}

// TestAnotherActHidesWhatBecameOfALostOne: after a restart whose answer was lost somebody restarts
// the cluster again, so upstream's last restart says nothing of the first.
func TestAnotherActHidesWhatBecameOfALostOne(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	known, err := s.svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	lost := s.attempt(ActClusterRestart, known.on)
	if err := s.svc.RestartCluster(t.Context(), member("viewers"), ref); err == nil {
		t.Fatal("a viewer restarted a cluster")
	}
	if err := s.svc.RestartCluster(t.Context(), member("operators"), ref); err != nil {
		t.Fatal(err)
	}
	got := s.reconciled(svc, lost.Operation)
	if len(got) != 2 || got[1].Outcome != audit.Unknown || !strings.Contains(got[1].Reason, "Another act") {
		t.Errorf("events %+v, want an outcome that is unknown", got)
	}
}

// TestRefusedActsHideNothing: what was refused or failed since has changed nothing.
func TestRefusedActsHideNothing(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	known, err := s.svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	lost := s.attempt(ActClusterSuspend, known.on)
	if err := s.svc.RestartCluster(t.Context(), member("viewers"), ref); err == nil {
		t.Fatal("a viewer restarted a cluster")
	}
	s.fault(map[string]any{"operation": "RestartCluster", "kind": "status", "status": 409, "times": 1})
	if err := s.svc.RestartCluster(t.Context(), member("operators"), ref); err == nil {
		t.Fatal("the fault did nothing")
	}
	got := s.reconciled(svc, lost.Operation)
	if len(got) != 2 || got[1].Outcome != audit.Failed {
		t.Errorf("events %+v, want an outcome that says failed", got)
	}
}

func TestManyReplicasEndAnOperationOnce(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	known, err := s.svc.loadCluster(t.Context(), s.inPhase(account.ID, cloudapi.PhaseHealthy))
	if err != nil {
		t.Fatal(err)
	}
	attempt := s.attempt(ActClusterSuspend, known.on)
	replicas := []*Service{s.replica(soon), s.replica(soon), s.replica(soon), s.replica(soon)}
	time.Sleep(5 * time.Millisecond) // the database's clock makes it old enough
	var group sync.WaitGroup
	for _, svc := range replicas {
		group.Go(func() {
			if err := svc.reconcileOnce(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := s.reconciledEvents(attempt.Operation); n != 2 {
		t.Errorf("%d events, want attempt and one outcome", n)
	}
}

func TestWhatIsUnderwayIsLeftAlone(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	known, err := svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	err = svc.perform(t.Context(), member("operators"), operation{act: ActClusterRestart, on: known.on}, func(ctx context.Context, _ *link) (done, error) {
		time.Sleep(5 * time.Millisecond)
		return done{}, svc.reconcileOnce(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.eventsOf(ActClusterRestart); len(got) != 2 || got[1].Inferred {
		t.Errorf("events %+v", got)
	}
}

// TestAnActThatOutlivesUnknownAfter has another replica conclude what this one is still doing.
func TestAnActThatOutlivesUnknownAfter(t *testing.T) {
	s := newStage(t)
	other := s.replica(soon)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	known, err := s.svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	err = s.svc.perform(t.Context(), member("operators"), operation{act: ActClusterSuspend, on: known.on}, func(ctx context.Context, up *link) (done, error) {
		operation := s.eventsOf(ActClusterSuspend)[0].Operation
		if got := s.reconciled(other, operation); len(got) != 2 || !got[1].Inferred || got[1].Outcome != audit.Failed {
			t.Errorf("the other replica has not concluded: %+v", got)
		}
		return done{}, up.cloud.SuspendCluster(ctx, ref.ClusterID)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.reconcileOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, err := s.log.List(t.Context(), audit.Query{Act: ActClusterSuspend.Name})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Operations) != 1 || page.Operations[0].Status != "ok" || page.Operations[0].Inferred {
		t.Errorf("the page shows %+v, want the one outcome that was told", page.Operations)
	}
	if got := s.eventsOf(ActClusterSuspend); len(got) != 3 {
		t.Errorf("%d events, want the attempt, what was inferred and what was told", len(got))
	}
}

func TestWhatCannotBeAskedStaysOpenForADay(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	known, err := svc.loadCluster(t.Context(), s.inPhase(account.ID, cloudapi.PhaseHealthy))
	if err != nil {
		t.Fatal(err)
	}
	attempt := s.attempt(ActClusterSuspend, known.on)
	s.fault(map[string]any{"kind": "status", "status": 401})
	if got := s.reconciled(svc, attempt.Operation); len(got) != 1 {
		t.Errorf("concluded without asking: %+v", got)
	}
	s.clock.at = s.clock.at.Add(25 * time.Hour)
	got := s.reconciled(svc, attempt.Operation)
	if len(got) != 2 || got[1].Outcome != audit.Unknown || got[1].Reason == "" {
		t.Errorf("after a day: %+v", got)
	}
}

func TestManyThatCannotBeAskedDoNotHideTheRest(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	healthy := s.register(s.current(), "Search")
	disabled := s.register(s.legacy(), "Old")
	if err := s.svc.Disable(t.Context(), member("admins"), disabled.ID); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 501 { // one page is 500
		group.Go(func() { s.attempt(ActClusterDelete, target{Account: disabled.ref(), Kind: KindCluster, ID: "c"}) })
	}
	group.Wait()
	known, err := s.svc.loadCluster(t.Context(), s.inPhase(healthy.ID, cloudapi.PhaseHealthy))
	if err != nil {
		t.Fatal(err)
	}
	last := s.attempt(ActClusterSuspend, known.on)
	time.Sleep(5 * time.Millisecond) // the database's clock makes it old enough
	if err := svc.reconcileOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.reconciledEvents(last.Operation); n != 2 {
		t.Errorf("%d events, want attempt and outcome", n)
	}
}

func TestAttemptsWithoutAnAccountAreConcluded(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	gone := accountRef{ID: uuid.New(), Name: "Gone"}
	for _, tt := range []struct {
		act  Act
		on   target
		want audit.Outcome
	}{
		{ActAccountCreate, accountTarget(gone), audit.Failed},
		{ActClusterRestart, target{Account: gone, Kind: KindCluster, ID: "c"}, audit.Unknown},
		{ActManagementKeyDelete, target{Account: gone, Kind: KindManagementKey, ID: "k"}, audit.Unknown},
		{Act{Name: "cluster.explode"}, target{Kind: KindCluster, ID: "c"}, audit.Unknown},
	} {
		attempt := s.attempt(tt.act, tt.on)
		if got := s.reconciled(svc, attempt.Operation); len(got) != 2 || got[1].Outcome != tt.want || got[1].Reason == "" {
			t.Errorf("%s: %+v", tt.act.Name, got)
		}
	}
}

func TestADeletedManagementKeyIsFoundByItsRefusal(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	on := target{Account: account.ref(), Kind: KindManagementKey, ID: account.Key.ID.String(), Name: account.Key.Prefix}

	still := s.attempt(ActManagementKeyDelete, on)
	if got := s.reconciled(svc, still.Operation); len(got) != 2 || got[1].Outcome != audit.Failed {
		t.Errorf("the key is still there: %+v", got)
	}
	s.ask(http.MethodPost, "keys", map[string]any{"revoke": s.current().ManagementKey}, nil)
	gone := s.attempt(ActManagementKeyDelete, on)
	if got := s.reconciled(svc, gone.Operation); len(got) != 2 || got[1].Outcome != audit.OK || !got[1].Inferred {
		t.Errorf("the key is gone: %+v", got)
	}
}
