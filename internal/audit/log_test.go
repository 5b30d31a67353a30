package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// bundle is a log over a database of its own.
type bundle struct {
	*dbtest.DB
	log *audit.Log
}

// setup also lets the test run beside others: each has a database of its own.
func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	return setupAlone(t)
}

// setupAlone is setup for a test that runs beside no other, because it measures.
func setupAlone(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{DB: dbtest.New(t)}
	b.log = b.open(t)
	return b
}

func (b *bundle) open(t *testing.T) *audit.Log {
	t.Helper()
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: b.AppURL, DB: b.Pool})
	if err != nil {
		t.Fatalf("opening the log: %v", err)
	}
	t.Cleanup(log.Close)
	return log
}

func (b *bundle) append(t *testing.T, e audit.Event) int64 {
	t.Helper()
	seq, err := b.log.Append(t.Context(), e)
	if err != nil {
		t.Fatalf("appending: %v", err)
	}
	return seq
}

func (b *bundle) get(t *testing.T, seq int64) audit.Detail {
	t.Helper()
	d, err := b.log.Get(t.Context(), seq)
	if err != nil {
		t.Fatalf("reading event %d: %v", seq, err)
	}
	return d
}

func full() audit.Event {
	return audit.Event{
		At: time.Date(2026, 5, 4, 3, 2, 1, 123456000, time.UTC), Act: "cluster.restart", Phase: audit.PhaseSettled, Outcome: audit.Failed,
		Reason: "upstream said: no capacity", Count: 3, Inferred: true, Operation: uuid.Must(uuid.NewV7()), Parent: uuid.Must(uuid.NewV7()),
		Actor: audit.Actor{
			Issuer: "https://idp.example", Subject: "0001", Name: "Ada Lovelace", Email: "ada@example.com", EmailVerified: true, Roles: []string{"operator", "viewer"},
			Session: "00ff", Via: audit.ViaBrowser, IP: "192.0.2.7", UserAgent: "Mozilla/5.0", RequestID: "req-1",
		},
		Account:  audit.Ref{ID: "acc-1", Name: "Production"},
		Target:   audit.Target{Kind: "cluster", ID: "clu-1", Name: "Search"},
		Upstream: audit.Upstream{RPC: "ClusterService/RestartCluster", KeyID: "key-1", Status: 429, TraceID: "trace-1", LatencyMS: 1 << 60},
		Change:   audit.Change{"phase": {"healthy", "restarting"}, "nodes": {nil, []any{"a", true}}},
	}
}

func TestAppendedEventReadsBackWhole(t *testing.T) {
	b := setup(t)
	want := full()
	seq := b.append(t, want)
	got := b.get(t, seq)
	if got.ID == uuid.Nil || got.Schema != audit.SchemaVersion {
		t.Errorf("id %s and schema %d were not filled", got.ID, got.Schema)
	}
	if diff := cmp.Diff(want, got.Event, cmpopts.IgnoreFields(audit.Event{}, "ID", "Schema")); diff != "" {
		t.Errorf("event read back (-written +read):\n%s", diff)
	}
	if got.Status != "failed" || got.Proof != "verified" {
		t.Errorf("status %q, proof %q", got.Status, got.Proof)
	}
}

// TestUnverifiedEmailIsNotVouchedFor: anybody may say at some providers that their e-mail is
// another's, and the log must not repeat that as if it were known.
func TestUnverifiedEmailIsNotVouchedFor(t *testing.T) {
	b := setup(t)
	claimed := full()
	claimed.Actor.Subject, claimed.Actor.EmailVerified = "0002", false
	if got := b.get(t, b.append(t, claimed)); got.Actor.EmailVerified || strings.Contains(string(got.Body), "email_verified") {
		t.Errorf("body %s", got.Body)
	}
}

func TestGetOfNoEvent(t *testing.T) {
	_, err := setup(t).log.Get(context.Background(), 7)
	if !errors.Is(err, audit.ErrNoEvent) {
		t.Errorf("got %v, want ErrNoEvent", err)
	}
}
