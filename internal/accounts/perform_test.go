package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/dbtest"
)

// plainEvent compares events but for what differs from run to run; those fields are checked apart.
func plainEvent() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreFields(audit.Event{}, "ID", "Schema", "At", "Operation"),
		cmpopts.IgnoreFields(audit.Upstream{}, "TraceID", "LatencyMS"),
		cmpopts.IgnoreFields(audit.Actor{}, "EmailVerified", "Groups", "SignedInAt", "Roles"),
		cmpopts.EquateEmpty(),
	}
}

// wantOperation checks an attempt and its outcome against what they must say.
func wantOperation(t *testing.T, got []audit.Event, attempt, outcome audit.Event) {
	t.Helper()
	if len(got) != 2 {
		t.Fatalf("%d events, want attempt and outcome: %+v", len(got), got)
	}
	for i, want := range []audit.Event{attempt, outcome} {
		if diff := cmp.Diff(want, got[i], plainEvent()); diff != "" {
			t.Errorf("event %d (-want +got)\n%s", i, diff)
		}
		if got[i].ID == uuid.Nil || got[i].Operation == uuid.Nil || got[i].At.IsZero() {
			t.Errorf("event %d lacks an id, operation or time: %+v", i, got[i])
		}
	}
	if got[0].Operation != got[1].Operation || got[0].ID == got[1].ID {
		t.Errorf("operations %s and %s, ids %s and %s", got[0].Operation, got[1].Operation, got[0].ID, got[1].ID)
	}
	if got[1].Upstream.TraceID == "" {
		t.Error("the outcome lacks upstream's trace id")
	}
}

func TestClusterActsAreRecordedFieldByField(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("operators")
	yes := true
	for _, tt := range []struct {
		act      Act
		from     cloudapi.Phase
		do       func(context.Context, ClusterRef) error
		intended audit.Change
		op       cloudapi.Op
		after    cloudapi.Phase
	}{
		{ActClusterRestart, cloudapi.PhaseHealthy, func(ctx context.Context, ref ClusterRef) error { return s.svc.RestartCluster(ctx, by, ref) },
			audit.Change{"phase": {"HEALTHY", "RESTARTING"}}, cloudapi.OpRestartCluster, cloudapi.PhaseUpdating},
		{ActClusterSuspend, cloudapi.PhaseHealthy, func(ctx context.Context, ref ClusterRef) error { return s.svc.SuspendCluster(ctx, by, ref) },
			audit.Change{"phase": {"HEALTHY", "SUSPENDED"}}, cloudapi.OpSuspendCluster, cloudapi.PhaseSuspending},
		{ActClusterUnsuspend, cloudapi.PhaseSuspended, func(ctx context.Context, ref ClusterRef) error { return s.svc.UnsuspendCluster(ctx, by, ref) },
			audit.Change{"phase": {"SUSPENDED", "HEALTHY"}}, cloudapi.OpUnsuspendCluster, cloudapi.PhaseResuming},
		{ActClusterDelete, cloudapi.PhaseHealthy, func(ctx context.Context, ref ClusterRef) error {
			return s.svc.DeleteCluster(ctx, by, ref, ClusterDeletion{Confirm: s.nameOf(ref), DeleteBackups: &yes})
		}, audit.Change{"phase": {"HEALTHY", "DELETING"}, "delete_backups": {nil, true}}, cloudapi.OpDeleteCluster, cloudapi.PhaseDeleting},
	} {
		t.Run(tt.act.Name, func(t *testing.T) {
			if tt.from == cloudapi.PhaseSuspended {
				s.ask(http.MethodPost, "clock", map[string]any{"advance": "1h"}, nil)
				s.snapshot()
			}
			ref := s.inPhase(account.ID, tt.from)
			name := s.nameOf(ref)
			if err := tt.do(t.Context(), ref); err != nil {
				t.Fatal(err)
			}
			got := s.eventsOf(tt.act)
			want := audit.Event{
				Act: tt.act.Name, Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
				Target:   audit.Target{Kind: "cluster", ID: ref.ClusterID, Name: name},
				Upstream: audit.Upstream{RPC: tt.op.RPC, KeyID: account.Key.ID.String()}, Change: tt.intended,
			}
			if tt.act.Name == ActClusterDelete.Name {
				want.Change["name"] = [2]any{name, nil}
			}
			outcome := want
			outcome.Phase, outcome.Outcome, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, http.StatusOK
			outcome.Change = audit.Change{}
			for field, values := range want.Change {
				outcome.Change[field] = values
			}
			outcome.Change["phase"] = [2]any{string(tt.from), string(tt.after)}
			if len(got) == 2 && tt.act.Name == ActClusterRestart.Name {
				restarted, ok := got[1].Change["restarted_at"]
				if !ok || restarted[1] == nil || restarted[0] == restarted[1] {
					t.Errorf("restarted_at = %v", restarted)
				}
				delete(got[1].Change, "restarted_at")
			}
			wantOperation(t, got, want, outcome)

			var phase string
			if err := s.db.Pool.QueryRow(t.Context(), `SELECT phase FROM clusters WHERE account_id = $1 AND cluster_id = $2`, ref.AccountID, ref.ClusterID).Scan(&phase); err != nil || phase != string(tt.after) {
				t.Errorf("the snapshot says %s (%v), want %s without a refresh", phase, err, tt.after)
			}
		})
	}
}

// mutators are all changes there are to an account and its clusters.
func (s *stage) mutators(account Account, ref ClusterRef) map[string]func(context.Context) error {
	by, no := member("admins"), false
	spare := s.fixture(func(f sandbox.Fixture) bool { return f.Spare })
	u, err := s.svc.ClusterUpdateAgain(s.t.Context(), by, ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]func(context.Context) error{
		"update": func(ctx context.Context) error {
			return s.svc.UpdateCluster(ctx, by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"name": "another-name"}})
		},
		"create": func(ctx context.Context) error {
			_, err := s.svc.Create(ctx, by, newAccountOf(spare, "Spare"))
			return err
		},
		"disable":   func(ctx context.Context) error { return s.svc.Disable(ctx, by, account.ID) },
		"restart":   func(ctx context.Context) error { return s.svc.RestartCluster(ctx, by, ref) },
		"suspend":   func(ctx context.Context) error { return s.svc.SuspendCluster(ctx, by, ref) },
		"unsuspend": func(ctx context.Context) error { return s.svc.UnsuspendCluster(ctx, by, ref) },
		"delete": func(ctx context.Context) error {
			return s.svc.DeleteCluster(ctx, by, ref, ClusterDeletion{Confirm: s.nameOf(ref), DeleteBackups: &no})
		},
		"remove": func(ctx context.Context) error {
			return s.svc.Remove(ctx, by, account.ID, AccountRemoval{Confirm: account.Name})
		},
		"remove with key": func(ctx context.Context) error {
			return s.svc.Remove(ctx, by, account.ID, AccountRemoval{Confirm: account.Name, DeleteKeyUpstream: true})
		},
	}
}

// ownRows is everything of ours that a change could touch.
func (s *stage) ownRows() string {
	s.t.Helper()
	var all string
	if err := s.db.Pool.QueryRow(s.t.Context(), `SELECT concat_ws(E'\n',
		(SELECT string_agg(a::text, E'\n' ORDER BY a.id) FROM accounts a), (SELECT string_agg(k::text, E'\n' ORDER BY k.id) FROM management_keys k),
		(SELECT string_agg(c::text, E'\n' ORDER BY c.cluster_id) FROM clusters c), (SELECT string_agg(r::text, E'\n' ORDER BY r.account_id) FROM refresh r), (SELECT count(*)::text FROM audit.events))`).Scan(&all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

func TestNothingHappensWhenTheEventCannotBeWritten(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	for name, breaks := range map[string]func() (mend func()){
		"append right revoked": func() func() {
			s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
			return func() { s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`) }
		},
		"head locked": func() func() {
			conn := s.connect(s.db.OwnerURL)
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `SELECT FROM audit.head FOR UPDATE`); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := errors.Join(tx.Rollback(context.Background()), conn.Close(context.Background())); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.ownRows()
			calls, _ := s.calls()
			mend := breaks()
			var group sync.WaitGroup
			for act, do := range s.mutators(account, ref) {
				if name == "head locked" && slices.Contains([]string{"suspend", "unsuspend", "delete", "remove"}, act) {
					continue // each waits for the lock, and the others of its way are here
				}
				group.Go(func() {
					if err := do(t.Context()); !errors.Is(err, ErrAuditUnavailable) {
						t.Errorf("%s: %v, want ErrAuditUnavailable", act, err)
					}
				})
			}
			group.Wait()
			mend()
			if after, _ := s.calls(); after != calls {
				t.Errorf("%d upstream calls were made", after-calls)
			}
			if after := s.ownRows(); after != before {
				t.Errorf("something changed:\n%s", cmp.Diff(before, after))
			}
		})
	}
	if err := s.svc.RestartCluster(t.Context(), member("operators"), ref); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
}

func TestNothingHappensWhilePostgresIsDown(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t)
	s := newStageOn(t, server.New(t), nil)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	known, err := s.svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	acts := s.mutators(account, ref)
	delete(acts, "delete") // needs the name from the database before it begins
	calls, _ := s.calls()

	server.Stop(t)
	for name, do := range acts {
		if err := do(t.Context()); !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrAuditUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Postgres that dies between the first read and the attempt.
	err = s.svc.perform(t.Context(), member("operators"), operation{act: ActClusterRestart, on: known.on}, func(context.Context, *link) (done, error) {
		t.Error("called without an attempt on record")
		return done{}, nil
	})
	if !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("perform: %v, want ErrAuditUnavailable", err)
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("%d upstream calls were made", after-calls)
	}

	server.Start(t)
	if err := s.svc.RestartCluster(t.Context(), member("operators"), ref); err != nil {
		t.Errorf("after Postgres came back: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	calls, _ := s.calls()
	written := len(s.events())

	viewer, stranger := member("viewers"), member("sales")
	forbidden := func(by audit.Actor, missing string, err error) {
		t.Helper()
		var refused *ForbiddenError
		if !errors.As(err, &refused) || refused.Missing != missing {
			t.Errorf("%s: %v, want ForbiddenError for %s", by.Name, err, missing)
		}
	}
	no := false
	forbidden(viewer, "write:clusters", s.svc.RestartCluster(t.Context(), viewer, ref))
	forbidden(viewer, "delete:clusters", s.svc.DeleteCluster(t.Context(), viewer, ref, ClusterDeletion{Confirm: "wrong", DeleteBackups: &no}))
	forbidden(viewer, "accounts:manage", s.svc.Disable(t.Context(), viewer, account.ID))
	forbidden(viewer, "accounts:manage", s.svc.Remove(t.Context(), viewer, account.ID, AccountRemoval{Confirm: "wrong"}))
	_, err := s.svc.Create(t.Context(), viewer, newAccountOf(s.legacy(), "Legacy"))
	forbidden(viewer, "accounts:manage", err)
	_, err = s.svc.SearchLog(t.Context(), viewer, audit.Query{Text: "x"})
	forbidden(viewer, "audit:read", err)

	for name, err := range map[string]error{
		"restart": s.svc.RestartCluster(t.Context(), stranger, ref),
		"unknown": s.svc.RestartCluster(t.Context(), stranger, ClusterRef{AccountID: account.ID, ClusterID: "no-such"}),
		"account": func() error { _, err := s.svc.Account(t.Context(), stranger, account.ID); return err }(),
		"nowhere": func() error { _, err := s.svc.Account(t.Context(), stranger, uuid.New()); return err }(),
	} {
		if err != ErrNotFound { //nolint:errorlint // byte for byte the same for what exists and what does not
			t.Errorf("stranger, %s: %v, want ErrNotFound itself", name, err)
		}
	}
	if list, err := s.svc.List(t.Context(), stranger); err != nil || len(list) != 0 {
		t.Errorf("a stranger lists %v, %v", list, err)
	}

	if after, _ := s.calls(); after != calls {
		t.Errorf("refusals caused %d upstream calls", after-calls)
	}
	got := s.events()[written:]
	for started := time.Now(); len(got) < 8 && time.Since(started) < 10*time.Second; got = s.events()[written:] {
		time.Sleep(5 * time.Millisecond) // those answered not found are recorded beside the answer
	}
	for _, e := range got {
		if e.Outcome != audit.Denied || e.Phase != audit.PhaseSingle || e.Count != 1 && e.Count != 0 {
			t.Errorf("%s: %s %s, count %d", e.Act, e.Phase, e.Outcome, e.Count)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d refusals recorded, want 8: those of what exists", len(got))
	}
	want := audit.Event{
		Act: "cluster.restart", Phase: audit.PhaseSingle, Outcome: audit.Denied, Reason: "needs write:clusters", Actor: viewer,
		Account: audit.Ref{ID: account.ID.String(), Name: "Search"}, Target: audit.Target{Kind: "cluster", ID: ref.ClusterID, Name: s.nameOf(ref)},
	}
	if diff := cmp.Diff(want, got[0], plainEvent(), cmpopts.IgnoreFields(audit.Event{}, "Count")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestARefusalDoesNotTellByItsTime holds the log, so that whoever waits for it is found out.
func TestARefusalDoesNotTellByItsTime(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	conn := s.connect(s.db.OwnerURL)
	defer conn.Close(context.Background()) //nolint:errcheck // ends the transaction with it
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM audit.head FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := s.svc.RestartCluster(t.Context(), member("sales"), ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("the answer took %s: a cluster that does not exist is answered at once", took)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for started := time.Now(); len(s.eventsOf(ActClusterRestart)) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(started) > 10*time.Second {
			t.Fatal("the refusal is not recorded")
		}
	}
}

func TestRefusalsAreSummed(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	count := func() (counts []int) {
		for _, e := range s.eventsOf(ActClusterRestart) {
			counts = append(counts, max(1, e.Count))
		}
		return counts
	}
	refuse := func(times int) {
		for range times {
			if err := s.svc.RestartCluster(t.Context(), member("viewers"), ref); err == nil {
				t.Fatal("not refused")
			}
		}
	}
	refuse(5)
	if diff := cmp.Diff([]int{1}, count()); diff != "" {
		t.Errorf("after five in a minute: %s", diff)
	}
	s.clock.at = s.clock.at.Add(61 * time.Second)
	refuse(3)
	if diff := cmp.Diff([]int{1, 5}, count()); diff != "" {
		t.Errorf("the next one after the minute carries the four before it and itself: %s", diff)
	}
	s.svc.flushDenials(t.Context(), false)
	if diff := cmp.Diff([]int{1, 5}, count()); diff != "" {
		t.Errorf("the minute is not over: %s", diff)
	}
	s.svc.flushDenials(t.Context(), true)
	s.svc.flushDenials(t.Context(), true)
	if diff := cmp.Diff([]int{1, 5, 2}, count()); diff != "" {
		t.Errorf("the end flushes the two that are left, once: %s", diff)
	}
}

func TestMemoryOfRefusalsIsBounded(t *testing.T) {
	var d denials
	now := time.Now()
	written := 0
	for i := range maxDenials + 100 {
		if _, write := d.add(now, audit.Event{Act: "cluster.restart", Actor: audit.Actor{Issuer: "i", Subject: "s"}, Target: audit.Target{Kind: "cluster", ID: fmt.Sprint(i)}}); write {
			written++
		}
	}
	if len(d.all) > maxDenials+1 || written != maxDenials+1 {
		t.Errorf("%d kept, %d written", len(d.all), written)
	}
	total := written
	for _, e := range d.due(now, true) {
		total += e.Count
	}
	if total != maxDenials+100 {
		t.Errorf("%d refusals counted, want %d", total, maxDenials+100)
	}
}

func TestActsThatCannotBeDone(t *testing.T) {
	s := newStage(t)
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	by, yes := member("operators"), true
	healthy := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	old := s.inPhase(legacy.ID, cloudapi.PhaseHealthy)
	_, changing := s.calls()

	conflict := func(what, words string, err error) {
		t.Helper()
		var refused *ConflictError
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, words) {
			t.Errorf("%s: %v, want ConflictError with %q", what, err, words)
		}
	}
	invalid := func(what, field string, err error) {
		t.Helper()
		var refused *InvalidError
		if !errors.As(err, &refused) || refused.Fields[field] == "" {
			t.Errorf("%s: %v, want InvalidError at %s", what, err, field)
		}
	}
	conflict("restart over pa/v1", "no restart", s.svc.RestartCluster(t.Context(), by, old))
	conflict("suspend over pa/v1", "no suspend", s.svc.SuspendCluster(t.Context(), by, old))
	conflict("resume of a healthy cluster", "only a suspended", s.svc.UnsuspendCluster(t.Context(), by, healthy))
	conflict("restart of a suspended cluster", "resume it first", s.svc.RestartCluster(t.Context(), by, s.inPhase(account.ID, cloudapi.PhaseSuspended)))
	invalid("delete with another name", "confirm", s.svc.DeleteCluster(t.Context(), by, healthy, ClusterDeletion{Confirm: "x", DeleteBackups: &yes}))
	err := s.svc.DeleteCluster(t.Context(), by, healthy, ClusterDeletion{})
	invalid("delete with nothing", "confirm", err)
	invalid("delete with nothing", "delete_backups", err)

	name := s.nameOf(healthy)
	s.ask(http.MethodPost, "outside", map[string]any{"act": "rename", "account": account.CloudAccountID, "cluster": healthy.ClusterID, "name": "renamed-meanwhile"}, nil)
	conflict("delete of a renamed cluster", "another name", s.svc.DeleteCluster(t.Context(), by, healthy, ClusterDeletion{Confirm: name, DeleteBackups: &yes}))

	for _, nameless := range []string{"", "  "} {
		s.exec(s.db.AppURL, `UPDATE clusters SET name = $3 WHERE account_id = $1 AND cluster_id = $2`, healthy.AccountID, healthy.ClusterID, nameless)
		invalid("delete of a cluster without a name", "confirm", s.svc.DeleteCluster(t.Context(), by, healthy, ClusterDeletion{Confirm: nameless, DeleteBackups: &yes}))
	}
	conflict("delete of a cluster confirmed with its id", "another name",
		s.svc.DeleteCluster(t.Context(), by, healthy, ClusterDeletion{Confirm: healthy.ClusterID, DeleteBackups: &yes}))

	if err := s.svc.Disable(t.Context(), member("admins"), account.ID); err != nil {
		t.Fatal(err)
	}
	conflict("restart in a disabled account", "disabled", s.svc.RestartCluster(t.Context(), by, healthy))
	if _, after := s.calls(); after != changing {
		t.Errorf("%d changing calls reached upstream", after-changing)
	}
}

func TestAKeyThatMayNotIsNotTried(t *testing.T) {
	s := newStage(t)
	f := s.current()
	var minted struct {
		ManagementKey string `json:"management_key"`
	}
	s.ask(http.MethodPost, "keys", map[string]any{"account": f.CloudAccountID, "permissions": []string{"read:clusters"}}, &minted)
	f.ManagementKey = minted.ManagementKey
	account := s.register(f, "Read only")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	var refused *ConflictError
	if err := s.svc.RestartCluster(t.Context(), member("operators"), ref); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "lacks write:clusters") {
		t.Errorf("restart: %v", err)
	}
	detail, err := s.svc.Account(t.Context(), member("admins"), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"delete:api_keys", "delete:clusters", "delete:management_keys", "read:api_keys", "read:backups", "read:management_keys", "write:api_keys", "write:clusters", "write:management_keys",
	}, detail.NotAble); diff != "" {
		t.Errorf("NotAble (-want +got)\n%s", diff)
	}
	if offer := detail.Offers["management_key.delete"]; offer.Offered || !strings.Contains(offer.Reason, "lacks delete:management_keys") {
		t.Errorf("offer %+v", offer)
	}
}

func TestARefusedKeyMarksItsAccountAndNoOther(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	other := s.register(s.fixture(func(f sandbox.Fixture) bool {
		return f.Generation == "current" && f.CloudAccountID != account.CloudAccountID
	}), "Other")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	by := member("operators")
	refused := func(id uuid.UUID) string {
		a, err := accountByID(t.Context(), s.db.Pool, id, false)
		if err != nil {
			t.Fatal(err)
		}
		return a.Key.Refused
	}
	s.fault(map[string]any{"account": account.CloudAccountID, "kind": "status", "status": 401})
	err := s.svc.RestartCluster(t.Context(), by, ref)
	if e, ok := cloudapi.AsError(err); !ok || e.Kind != cloudapi.Unauthenticated {
		t.Errorf("restart: %v", err)
	}
	if refused(account.ID) == "" || refused(other.ID) != "" {
		t.Errorf("marked %q, the other %q", refused(account.ID), refused(other.ID))
	}
	if got := s.eventsOf(ActClusterRestart); len(got) != 2 || got[1].Outcome != audit.Failed || got[1].Upstream.Status != 401 || got[1].Reason == "" {
		t.Errorf("events %+v", got)
	}
	s.ask(http.MethodDelete, "faults", nil, nil)
	if err := s.svc.RestartCluster(t.Context(), by, ref); err != nil {
		t.Fatal(err)
	}
	if refused(account.ID) != "" {
		t.Error("the mark stays although the key works")
	}
}

func TestTheOutcomeIsRecordedAlsoWhenTheBrowserHasGone(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	s.fault(map[string]any{"operation": "RestartCluster", "kind": "latency", "latency_ms": 300})
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	_, before := s.calls()
	go func() { done <- s.svc.RestartCluster(ctx, member("operators"), ref) }()
	s.eventually("upstream was called", func() bool {
		_, mutating := s.calls()
		return mutating > before
	})
	leave()
	if err := <-done; err != nil {
		t.Errorf("the act that had begun: %v", err)
	}
	got := s.eventsOf(ActClusterRestart)
	if len(got) != 2 || got[1].Outcome != audit.OK {
		t.Errorf("events %+v", got)
	}
}

func TestAPanicIsRecordedAndGoesOn(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	on := accountTarget(account.ref())
	on.Kind, on.ID = KindCluster, "c"
	func() {
		defer func() {
			if recover() != "broken" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.svc.perform(t.Context(), member("operators"), operation{act: ActClusterRestart, on: on}, func(context.Context, *link) (done, error) { panic("broken") })
	}()
	if got := s.eventsOf(ActClusterRestart); len(got) != 2 || got[1].Outcome != audit.Failed {
		t.Errorf("events %+v", got)
	}
}

func TestAPanicAfterAChangeIsLeftToTheReconciler(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	known, err := s.svc.loadCluster(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "broken" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.svc.perform(t.Context(), member("operators"), operation{act: ActClusterRestart, on: known.on}, func(ctx context.Context, up *link) (done, error) {
			if err := up.cloud.RestartCluster(ctx, ref.ClusterID); err != nil {
				t.Error(err)
			}
			panic("broken")
		})
	}()
	got := s.eventsOf(ActClusterRestart)
	if len(got) != 1 {
		t.Fatalf("what was done is on record as %+v", got[1:])
	}
	if got = s.reconciled(s.replica(soon), got[0].Operation); len(got) != 2 || got[1].Outcome != audit.OK || !got[1].Inferred {
		t.Errorf("events %+v", got)
	}
}

func TestTwoHundredActsAtOnceLeaveTwoEventsEach(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			err := s.svc.RestartCluster(t.Context(), member("operators"), ref)
			if _, conflict := errors.AsType[*ConflictError](err); err != nil && !conflict {
				if _, upstream := cloudapi.AsError(err); !upstream {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	phases := map[uuid.UUID][]audit.Phase{}
	for _, e := range s.eventsOf(ActClusterRestart) {
		phases[e.Operation] = append(phases[e.Operation], e.Phase)
	}
	if len(phases) != 200 {
		t.Errorf("%d operations, want 200", len(phases))
	}
	for operation, got := range phases {
		if len(got) != 2 || got[0] != audit.PhaseAttempt || got[1] != audit.PhaseOutcome {
			t.Errorf("operation %s: %v", operation, got)
		}
	}
	report, err := s.svc.VerifyLog(t.Context(), member("auditors"))
	if err != nil || !report.OK() || report.Events < 400 {
		t.Errorf("%d events verified, problems %v, %v", report.Events, report.Problems, err)
	}
}
