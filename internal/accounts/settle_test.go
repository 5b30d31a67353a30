package accounts

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// owed counts the operations whose end is still to be recorded.
func (s *stage) owed() (n int) {
	s.t.Helper()
	if err := s.db.Pool.QueryRow(s.t.Context(), `SELECT count(*) FROM long_work`).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// settledOf returns the settled events of an act.
func (s *stage) settledOf(act Act) (settled []audit.Event) {
	s.t.Helper()
	for _, e := range s.eventsOf(act) {
		if e.Phase == audit.PhaseSettled {
			settled = append(settled, e)
		}
	}
	return settled
}

func TestEveryLongActSettlesOnce(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by, no := member("operators"), false
	for _, tt := range []struct {
		act   Act
		from  cloudapi.Phase
		do    func(ClusterRef) error
		after any
	}{
		{ActClusterRestart, cloudapi.PhaseHealthy, func(ref ClusterRef) error { return s.svc.RestartCluster(t.Context(), by, ref) }, "HEALTHY"},
		{ActClusterSuspend, cloudapi.PhaseHealthy, func(ref ClusterRef) error { return s.svc.SuspendCluster(t.Context(), by, ref) }, "SUSPENDED"},
		{ActClusterUnsuspend, cloudapi.PhaseSuspended, func(ref ClusterRef) error { return s.svc.UnsuspendCluster(t.Context(), by, ref) }, "HEALTHY"},
		{ActClusterUpdate, cloudapi.PhaseHealthy, func(ref ClusterRef) error {
			return s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"nodes": "4"}))
		}, "HEALTHY"},
		{ActClusterDelete, cloudapi.PhaseHealthy, func(ref ClusterRef) error {
			return s.svc.DeleteCluster(t.Context(), by, ref, ClusterDeletion{Confirm: s.nameOf(ref), DeleteBackups: &no})
		}, nil},
	} {
		t.Run(tt.act.Name, func(t *testing.T) {
			ref := s.inPhase(account.ID, tt.from)
			name := s.nameOf(ref)
			if err := tt.do(ref); err != nil {
				t.Fatal(err)
			}
			// What the act read itself does not count: a listing that began after the outcome does.
			if err := s.svc.settleOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.settled()
			if got := s.settledOf(tt.act); len(got) != 0 || s.owed() != 1 {
				t.Fatalf("while it goes on there is %+v, and %d ends are owed", got, s.owed())
			}
			s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
			s.settled()
			s.settled()
			got := s.settledOf(tt.act)
			if len(got) != 1 || s.owed() != 0 {
				t.Fatalf("%d settled events, %d owed", len(got), s.owed())
			}
			e := got[0]
			if e.Outcome != audit.OK || e.Change["phase"] != [2]any{string(tt.from), tt.after} || e.Actor.Subject != by.Subject || e.Actor.Via != audit.ViaJob ||
				e.Target != (audit.Target{Kind: "cluster", ID: ref.ClusterID, Name: name}) || e.Account.ID != account.ID.String() || e.Inferred {
				t.Errorf("settled: %+v", e)
			}
			page, err := s.log.List(t.Context(), audit.Query{Act: tt.act.Name})
			if err != nil || len(page.Operations) != 1 || page.Operations[0].Phase != audit.PhaseOutcome {
				t.Errorf("the list has %+v, %v; want one row an operation", page.Operations, err)
			}
		})
	}
}

func TestHowWorkEnds(t *testing.T) {
	young, old := time.Minute, settleGrace+time.Minute
	for name, tt := range map[string]struct {
		act    Act
		before any
		phase  cloudapi.Phase
		gone   bool
		age    time.Duration
		want   audit.Outcome
	}{
		"made":                              {ActClusterCreate, nil, "HEALTHY", false, young, audit.OK},
		"being made":                        {ActClusterCreate, nil, "CREATING", false, old, ""},
		"not made":                          {ActClusterCreate, nil, "FAILED_TO_CREATE", false, young, audit.Failed},
		"made, and a node is not up":        {ActClusterCreate, nil, "NOT_READY", false, young, ""},
		"a node stays down":                 {ActClusterCreate, nil, "NOT_READY", false, old, audit.Failed},
		"gone while it was made":            {ActClusterCreate, nil, "", true, young, audit.Failed},
		"suspended":                         {ActClusterSuspend, "HEALTHY", "SUSPENDED", false, young, audit.OK},
		"not suspended yet":                 {ActClusterSuspend, "HEALTHY", "HEALTHY", false, young, ""},
		"never suspended":                   {ActClusterSuspend, "HEALTHY", "HEALTHY", false, old, audit.Failed},
		"suspending failed":                 {ActClusterSuspend, "HEALTHY", "FAILED_TO_SUSPEND", false, young, audit.Failed},
		"failed before, and maybe not read": {ActClusterSuspend, "FAILED_TO_SUSPEND", "FAILED_TO_SUSPEND", false, young, ""},
		"failed again":                      {ActClusterSuspend, "FAILED_TO_SUSPEND", "FAILED_TO_SUSPEND", false, old, audit.Failed},
		"updated":                           {ActClusterUpdate, "HEALTHY", "HEALTHY", false, young, audit.OK},
		"updated while suspended":           {ActClusterUpdate, "SUSPENDED", "SUSPENDED", false, young, audit.OK},
		"updated and suspended meanwhile":   {ActClusterUpdate, "HEALTHY", "SUSPENDED", false, old, audit.Failed},
		"as unready as before":              {ActClusterUpdate, "NOT_READY", "NOT_READY", false, old, audit.OK},
		"not deleted":                       {ActClusterDelete, "HEALTHY", "HEALTHY", false, old, audit.Failed},
		"being deleted":                     {ActClusterDelete, "HEALTHY", "DELETING", false, old, ""},
		"deleted":                           {ActClusterDelete, "HEALTHY", "DELETING", true, young, audit.OK},
		"a phase nobody knows":              {ActClusterRestart, "HEALTHY", "A_NEW_ONE", false, young, ""},
	} {
		got := endOfWork(tt.act.Name, tt.before, seen{told: true, gone: tt.gone, phase: tt.phase, reason: "Because."}, tt.age)
		if got.outcome != tt.want || tt.want == audit.Failed && got.reason == "" {
			t.Errorf("%s: %+v, want %q", name, got, tt.want)
		}
		if tt.want == audit.Failed && !tt.gone && !strings.Contains(got.reason, "Because.") {
			t.Errorf("%s: upstream's reason is not in %q", name, got.reason)
		}
	}
}

func TestAFailureIsSettledWithItsReason(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	made, err := s.svc.CreateCluster(t.Context(), by, account.ID, s.opened(by, account, "doomed"))
	if err != nil {
		t.Fatal(err)
	}
	s.ask(http.MethodPost, "outside", map[string]any{
		"act": "phase", "account": account.CloudAccountID, "cluster": made.ClusterID, "phase": "FAILED_TO_CREATE", "reason": "No capacity in <zone>.",
	}, nil)
	s.settled()
	got := s.settledOf(ActClusterCreate)
	if len(got) != 1 || got[0].Outcome != audit.Failed || !strings.Contains(got[0].Reason, "No capacity in <zone>.") || got[0].Change["phase"] != [2]any{nil, "FAILED_TO_CREATE"} {
		t.Errorf("%+v", got)
	}
}

func TestWorkThatDoesNotEndIsUnknownAfterADay(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	if _, err := s.svc.CreateCluster(t.Context(), by, account.ID, s.opened(by, account, "endless")); err != nil {
		t.Fatal(err)
	}
	s.settled()
	s.clock.at = time.Now().Add(giveUpAfter - time.Hour)
	s.settled()
	if got := s.settledOf(ActClusterCreate); len(got) != 0 {
		t.Fatalf("given up too soon: %+v", got)
	}
	s.clock.at = time.Now().Add(giveUpAfter + time.Hour)
	s.settled()
	if got := s.settledOf(ActClusterCreate); len(got) != 1 || got[0].Outcome != audit.Unknown || got[0].Change["phase"] != [2]any{nil, "CREATING"} || s.owed() != 0 {
		t.Errorf("%+v, %d owed", got, s.owed())
	}
}

func TestAnotherActHidesHowWorkEnded(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by, no := member("operators"), false
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	if err := s.svc.SuspendCluster(t.Context(), by, ref); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.DeleteCluster(t.Context(), by, ref, ClusterDeletion{Confirm: s.nameOf(ref), DeleteBackups: &no}); err != nil {
		t.Fatal(err)
	}
	s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
	s.settled()
	if got := s.settledOf(ActClusterSuspend); len(got) != 1 || got[0].Outcome != audit.Unknown || !strings.Contains(got[0].Reason, "Another act") {
		t.Errorf("the first: %+v", got)
	}
	if got := s.settledOf(ActClusterDelete); len(got) != 1 || got[0].Outcome != audit.OK {
		t.Errorf("the second: %+v", got)
	}
}

// TestWhatWasNeverDoneDoesNotSettle: acts that failed, were refused or were never begun owe no end.
func TestWhatWasNeverDoneDoesNotSettle(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("operators")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	s.fault(map[string]any{"operation": "RestartCluster", "kind": "status", "status": 409, "times": 1})
	if err := s.svc.RestartCluster(t.Context(), by, ref); err == nil {
		t.Fatal("the fault did nothing")
	}
	if err := s.svc.RestartCluster(t.Context(), member("viewers"), ref); err == nil {
		t.Fatal("a viewer restarted a cluster")
	}
	if got := s.owed(); got != 1 {
		t.Fatalf("%d ends are owed", got)
	}
	s.settled()
	if got := s.settledOf(ActClusterRestart); len(got) != 0 || s.owed() != 0 {
		t.Errorf("%+v, %d owed", got, s.owed())
	}

	// An account that is gone has nobody who looks.
	if err := s.svc.RestartCluster(t.Context(), by, ref); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.Remove(t.Context(), member("admins"), account.ID, AccountRemoval{Confirm: "Search"}); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.settleOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.settledOf(ActClusterRestart); len(got) != 1 || got[0].Outcome != audit.Unknown || s.owed() != 0 {
		t.Errorf("%+v, %d owed", got, s.owed())
	}
}

// TestNothingIsSentThatCannotBeFollowed: when the end cannot be noted the act fails before the call.
func TestNothingIsSentThatCannotBeFollowed(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	_, mutating := s.calls()
	s.exec(s.db.OwnerURL, `REVOKE INSERT ON long_work FROM quartermaster_app`)
	if err := s.svc.RestartCluster(t.Context(), member("operators"), ref); err == nil {
		t.Error("restarted all the same")
	}
	if _, after := s.calls(); after != mutating {
		t.Errorf("%d changing calls", after-mutating)
	}
	if got := s.eventsOf(ActClusterRestart); len(got) != 2 || got[1].Outcome != audit.Failed || got[1].Reason == "" {
		t.Errorf("on record: %+v", got)
	}
}

// TestAKillLosesNoEnd: the console dies between the call and its outcome, and between the outcome and the
// settled event, and several replicas go on.
func TestAKillLosesNoEnd(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	known, err := s.svc.loadCluster(t.Context(), s.inPhase(account.ID, cloudapi.PhaseHealthy))
	if err != nil {
		t.Fatal(err)
	}
	killed := errors.New("killed")
	func() {
		defer func() {
			if recover() != killed { //nolint:errorlint // the very value
				t.Error("the call did not end as a kill does")
			}
		}()
		_ = s.svc.perform(t.Context(), member("operators"), operation{act: ActClusterSuspend, on: known.on, intended: audit.Change{"phase": {"HEALTHY", "SUSPENDED"}}},
			func(ctx context.Context, up *link) (done, error) {
				if err := up.cloud.SuspendCluster(ctx, known.on.ID); err != nil {
					t.Error(err)
				}
				panic(killed)
			})
	}()
	attempt := s.eventsOf(ActClusterSuspend)[0]
	s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
	s.settled()
	if got := s.eventsOf(ActClusterSuspend); len(got) != 1 || s.owed() != 1 {
		t.Fatalf("settled before its outcome is known: %+v, %d owed", got, s.owed())
	}
	if got := s.reconciled(s.replica(soon), attempt.Operation); len(got) != 2 || got[1].Outcome != audit.OK {
		t.Fatalf("%+v", got)
	}
	s.snapshot()
	var group sync.WaitGroup
	for range 6 {
		svc := s.replica(nil)
		group.Go(func() {
			if err := svc.settleOnce(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := s.settledOf(ActClusterSuspend); len(got) != 1 || got[0].Operation != attempt.Operation || s.owed() != 0 {
		t.Errorf("%d settled events of six replicas, %d owed", len(got), s.owed())
	}
}

// TestAnEndIsNotLostWithTheLog: while the log cannot be written the end stays owed.
func TestAnEndIsNotLostWithTheLog(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	if err := s.svc.RestartCluster(t.Context(), member("operators"), s.inPhase(account.ID, cloudapi.PhaseHealthy)); err != nil {
		t.Fatal(err)
	}
	s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	s.settled()
	if s.owed() != 1 {
		t.Error("the end was forgotten without its event")
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	s.settled()
	if got := s.settledOf(ActClusterRestart); len(got) != 1 || s.owed() != 0 {
		t.Errorf("%+v, %d owed", got, s.owed())
	}
}
