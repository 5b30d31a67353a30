package audit_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

func (b *bundle) list(t *testing.T, q audit.Query) audit.Page {
	t.Helper()
	page, err := b.log.List(t.Context(), q)
	if err != nil {
		t.Fatalf("listing %+v: %v", q, err)
	}
	return page
}

// statuses is what a page shows, newest first.
func statuses(p audit.Page) []string {
	var out []string
	for _, o := range p.Operations {
		out = append(out, fmt.Sprintf("%d %s %s", o.Seq, o.Act, o.Status))
	}
	return out
}

func TestOperationIsOneRowFromAttemptToOutcome(t *testing.T) {
	b := setup(t)
	operation := uuid.Must(uuid.NewV7())
	target := audit.Target{Kind: "cluster", ID: "c1", Name: "One"}
	attempt := audit.Event{Act: "cluster.restart", Phase: audit.PhaseAttempt, Operation: operation, Target: target}
	b.append(t, attempt)

	if diff := cmp.Diff([]string{"1 cluster.restart pending"}, statuses(b.list(t, audit.Query{}))); diff != "" {
		t.Errorf("an attempt (-want +got):\n%s", diff)
	}
	old := audit.Query{UnknownAfter: time.Nanosecond}
	if diff := cmp.Diff([]string{"1 cluster.restart unknown"}, statuses(b.list(t, old))); diff != "" {
		t.Errorf("an old attempt (-want +got):\n%s", diff)
	}
	pending, err := b.log.PendingFor(t.Context(), "cluster", "c1")
	if err != nil || len(pending) != 1 || pending[0].Operation != operation || pending[0].Attempt.Seq != 1 || pending[0].Attempt.Target != target {
		t.Errorf("pending: %+v, %v", pending, err)
	}
	if other, err := b.log.PendingFor(t.Context(), "cluster", "c2"); err != nil || len(other) != 0 {
		t.Errorf("pending for another target: %v, %v", other, err)
	}
	if open, err := b.log.OpenOperations(t.Context(), 0, 0); err != nil || len(open) != 1 {
		t.Errorf("open operations: %v, %v", open, err)
	}
	if open, err := b.log.OpenOperations(t.Context(), time.Hour, 0); err != nil || len(open) != 0 {
		t.Errorf("open for an hour: %v, %v", open, err)
	}

	attempt.Phase, attempt.Outcome = audit.PhaseOutcome, audit.OK
	b.append(t, attempt)
	attempt.Phase = audit.PhaseSettled
	b.append(t, attempt)
	if diff := cmp.Diff([]string{"2 cluster.restart ok"}, statuses(b.list(t, audit.Query{}))); diff != "" {
		t.Errorf("after the outcome (-want +got):\n%s", diff)
	}
	if open, err := b.log.OpenOperations(t.Context(), 0, 0); err != nil || len(open) != 0 {
		t.Errorf("open after the outcome: %v, %v", open, err)
	}
	d := b.get(t, 2)
	var others []int64
	for _, o := range d.Others {
		others = append(others, o.Seq)
	}
	if diff := cmp.Diff([]int64{1, 3}, others); diff != "" || d.Status != "ok" {
		t.Errorf("others of the operation (-want +got):\n%s\nstatus %s", diff, d.Status)
	}
	if d := b.get(t, 1); d.Phase != audit.PhaseAttempt || d.Status != "" {
		t.Errorf("the closed attempt has phase %s and status %q", d.Phase, d.Status)
	}
	b.verifies(t)
}

func TestAnOperationEndsOnce(t *testing.T) {
	b := setup(t)
	told := func(operation uuid.UUID, outcome audit.Outcome) audit.Event {
		return audit.Event{Act: "cluster.restart", Phase: audit.PhaseOutcome, Operation: operation, Outcome: outcome}
	}
	inferred := func(operation uuid.UUID, outcome audit.Outcome) audit.Event {
		e := told(operation, outcome)
		e.Inferred = true
		return e
	}
	attempt := func() uuid.UUID {
		operation := uuid.New()
		b.append(t, audit.Event{Act: "cluster.restart", Phase: audit.PhaseAttempt, Operation: operation})
		return operation
	}
	refused := func(what string, e audit.Event) {
		t.Helper()
		if _, err := b.log.Append(t.Context(), e); !errors.Is(err, audit.ErrNotOpen) || !errors.Is(err, audit.ErrUnwritable) {
			t.Errorf("%s: got %v, want ErrNotOpen and ErrUnwritable", what, err)
		}
		err := pgx.BeginFunc(t.Context(), b.Pool, func(tx pgx.Tx) error { return b.log.Record(t.Context(), tx, e) })
		if !errors.Is(err, audit.ErrNotOpen) || !errors.Is(err, audit.ErrUnwritable) {
			t.Errorf("%s, in a transaction: got %v, want ErrNotOpen and ErrUnwritable", what, err)
		}
	}
	refused("never attempted", told(uuid.New(), audit.OK))
	refused("never attempted, inferred", inferred(uuid.New(), audit.OK))

	first := attempt()                 // 1
	b.append(t, told(first, audit.OK)) // 2
	refused("told twice", told(first, audit.Failed))
	refused("inferred after it was told", inferred(first, audit.Failed))

	second := attempt()                         // 3
	b.append(t, inferred(second, audit.Failed)) // 4
	refused("inferred twice", inferred(second, audit.OK))
	if diff := cmp.Diff([]string{"4 cluster.restart failed", "2 cluster.restart ok"}, statuses(b.list(t, audit.Query{}))); diff != "" {
		t.Errorf("inferred (-want +got):\n%s", diff)
	}
	b.append(t, told(second, audit.OK)) // 5
	refused("told twice after it was inferred", told(second, audit.Failed))
	if diff := cmp.Diff([]string{"5 cluster.restart ok", "2 cluster.restart ok"}, statuses(b.list(t, audit.Query{}))); diff != "" {
		t.Errorf("told after it was inferred (-want +got):\n%s", diff)
	}
	if got := b.list(t, audit.Query{Outcome: "failed"}).Operations; len(got) != 0 {
		t.Errorf("what was inferred contradicts what was told: %+v", got)
	}
	if d := b.get(t, 5); len(d.Others) != 2 {
		t.Errorf("the event in full has %d others, want the attempt and what was inferred", len(d.Others))
	}
	b.verifies(t)
}

// TestToldAndInferredRace lets both come at the same moment, as an act and another replica's
// reconciler do.
func TestToldAndInferredRace(t *testing.T) {
	b := setup(t)
	other := b.open(t)
	for range 40 {
		e := audit.Event{Act: "cluster.restart", Phase: audit.PhaseAttempt, Operation: uuid.New()}
		b.append(t, e)
		e.Phase, e.Outcome = audit.PhaseOutcome, audit.OK
		inferred := e
		inferred.Inferred, inferred.Outcome = true, audit.Failed
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.log.Append(t.Context(), e); err != nil {
				t.Errorf("what was told is not in the log: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := other.Append(t.Context(), inferred); err != nil && !errors.Is(err, audit.ErrNotOpen) {
				t.Errorf("inferred: %v", err)
			}
		})
		wg.Wait()
	}
	for _, o := range b.list(t, audit.Query{Limit: 100}).Operations {
		if o.Status != "ok" || o.Inferred {
			t.Errorf("operation %s reads %s, inferred %v", o.Operation, o.Status, o.Inferred)
		}
	}
	b.verifies(t)
}

func TestListFilters(t *testing.T) {
	b := setup(t)
	event := func(act string, outcome audit.Outcome, member, account, target, reason string) audit.Event {
		return audit.Event{
			Act: act, Phase: audit.PhaseSingle, Outcome: outcome, Reason: reason,
			Actor:   audit.Actor{Subject: member + "-sub", Name: member, Email: member + "@example.com"},
			Account: audit.Ref{ID: account, Name: "Account " + account},
			Target:  audit.Target{Kind: "cluster", ID: target, Name: "Cluster " + target},
		}
	}
	b.append(t, event("a.one", audit.OK, "Ada", "x", "t1", ""))
	b.append(t, event("a.two", audit.Denied, "Bob", "y", "t2", "100% of_it\\all"))
	b.append(t, event("a.two", audit.Failed, "Ada", "y", "t1", "Überlast"))
	b.append(t, event("a.one", audit.Unknown, "Eve", "", "", ""))
	open := event("a.three", "", "Eve", "x", "t3", "")
	open.Phase, open.Operation = audit.PhaseAttempt, uuid.Must(uuid.NewV7())
	b.append(t, open)
	third := b.get(t, 3).RecordedAt

	for name, test := range map[string]struct {
		query audit.Query
		want  []int64
	}{
		"all":                  {audit.Query{}, []int64{5, 4, 3, 2, 1}},
		"text in a name":       {audit.Query{Text: "cluster T1"}, []int64{3, 1}},
		"text in the reason":   {audit.Query{Text: "überlast"}, []int64{3}},
		"text is no pattern":   {audit.Query{Text: "100%_of"}, nil},
		"text with signs":      {audit.Query{Text: `% of_it\a`}, []int64{2}},
		"member by name":       {audit.Query{Member: "ADA"}, []int64{3, 1}},
		"member by subject":    {audit.Query{Member: "bob-sub"}, []int64{2}},
		"member by e-mail":     {audit.Query{Member: "eve@example"}, []int64{5, 4}},
		"account":              {audit.Query{Account: "y"}, []int64{3, 2}},
		"act":                  {audit.Query{Act: "a.one"}, []int64{4, 1}},
		"ok":                   {audit.Query{Outcome: "ok"}, []int64{1}},
		"denied":               {audit.Query{Outcome: "denied"}, []int64{2}},
		"failed":               {audit.Query{Outcome: "failed"}, []int64{3}},
		"unknown":              {audit.Query{Outcome: "unknown"}, []int64{4}},
		"unknown with old":     {audit.Query{Outcome: "unknown", UnknownAfter: 1}, []int64{5, 4}},
		"pending":              {audit.Query{Outcome: "pending"}, []int64{5}},
		"pending, none new":    {audit.Query{Outcome: "pending", UnknownAfter: 1}, nil},
		"from":                 {audit.Query{From: third}, []int64{5, 4, 3}},
		"to":                   {audit.Query{To: third}, []int64{2, 1}},
		"after":                {audit.Query{After: 3}, []int64{2, 1}},
		"target":               {audit.Query{TargetKind: "cluster", TargetID: "t1"}, []int64{3, 1}},
		"scope":                {audit.Query{Part: &audit.Part{Accounts: []string{"x"}}}, []int64{5, 1}},
		"scope of two":         {audit.Query{Part: &audit.Part{Accounts: []string{"x", "y"}}}, []int64{5, 3, 2, 1}},
		"scope of nothing":     {audit.Query{Part: &audit.Part{Accounts: []string{}}}, nil},
		"scope does not widen": {audit.Query{Account: "y", Part: &audit.Part{Accounts: []string{"x"}}}, nil},
		"several":              {audit.Query{Member: "ada", Outcome: "failed", Account: "y", Text: "t1"}, []int64{3}},
	} {
		var got []int64
		for _, o := range b.list(t, test.query).Operations {
			got = append(got, o.Seq)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPagingWhileEventsArrive(t *testing.T) {
	b := setup(t)
	for range 25 {
		b.append(t, single("test.old"))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := b.log.Append(t.Context(), single("test.new")); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	var got []int64
	q := audit.Query{Act: "test.old", Limit: 7}
	pages := 0
	for {
		page := b.list(t, q)
		pages++
		for _, o := range page.Operations {
			got = append(got, o.Seq)
		}
		if page.Next == 0 {
			break
		}
		q.After = page.Next
	}
	close(stop)
	wg.Wait()
	var want []int64
	for seq := int64(25); seq > 0; seq-- {
		want = append(want, seq)
	}
	if diff := cmp.Diff(want, got); diff != "" || pages != 4 {
		t.Errorf("%d pages (-want +got):\n%s", pages, diff)
	}
}
