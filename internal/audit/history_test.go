package audit_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
)

// TestOutcomesOfThings: only what was done with success, to these things in this account, and what was told
// in place of what was inferred.
func TestOutcomesOfThings(t *testing.T) {
	b := setup(t)
	record := func(account, id, act string, outcome audit.Outcome, inferred, told bool) {
		e := audit.Event{
			Act: act, Phase: audit.PhaseAttempt, Operation: uuid.Must(uuid.NewV7()), Account: audit.Ref{ID: account}, Target: audit.Target{Kind: "key"},
		}
		b.append(t, e)
		e.Phase, e.Outcome, e.Inferred, e.Target.ID = audit.PhaseOutcome, outcome, inferred, id
		b.append(t, e)
		if told {
			e.Inferred = false
			b.append(t, e)
		}
	}
	record("a", "k1", "key.create", audit.OK, false, false)
	record("a", "k2", "key.create", audit.OK, true, false)
	record("a", "k3", "key.rotate", audit.OK, true, true)
	record("a", "k1", "key.delete", audit.Failed, false, false)
	record("a", "k4", "key.create", audit.OK, false, false)
	record("b", "k1", "key.create", audit.OK, false, false)
	record("a", "k1", "key.delete", audit.OK, false, false)

	got := func(kind string, ids ...string) (lines []string) {
		found, err := b.log.OutcomesOf(t.Context(), "a", kind, ids)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			lines = append(lines, fmt.Sprint(e.Act, " ", e.Target.ID, " ", e.Inferred))
		}
		return lines
	}
	want := []string{"key.create k1 false", "key.create k2 true", "key.rotate k3 false", "key.delete k1 false"}
	if diff := cmp.Diff(want, got("key", "k1", "k2", "k3", "k\x00'")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if lines := got("cluster", "k1"); len(lines) > 0 {
		t.Errorf("of another kind: %v", lines)
	}
	if lines := got("key"); len(lines) > 0 {
		t.Errorf("of nothing: %v", lines)
	}
}

// TestLastOf: it follows the events of the account, and no others.
func TestLastOf(t *testing.T) {
	b := setup(t)
	last := func() int64 {
		t.Helper()
		seq, err := b.log.LastOf(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	event := func(account string) audit.Event {
		return audit.Event{Act: "account.edit", Phase: audit.PhaseSingle, Outcome: audit.OK, Account: audit.Ref{ID: account}}
	}
	b.append(t, event("b"))
	if seq := last(); seq != 0 {
		t.Errorf("%d without an event", seq)
	}
	b.append(t, event("a"))
	b.append(t, event("b"))
	if seq := last(); seq != 2 {
		t.Errorf("the last event is %d, want 2", seq)
	}
}
