package audit_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"quartermaster/internal/audit"
)

// counted returns a counter or the count of a histogram by name, for one value of its label.
func counted(t *testing.T, registry *prometheus.Registry, name, value string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == value {
				return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no %s %s", name, value)
	return 0
}

func TestMetricsTellWhetherTheLogCanBeWritten(t *testing.T) {
	b := setup(t)
	registry := prometheus.NewRegistry()
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: b.AppURL, DB: b.Pool, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	expect := func(when string, written, failed, refused float64) {
		t.Helper()
		for result, want := range map[string]float64{"written": written, "failed": failed, "refused": refused} {
			if got := counted(t, registry, "qm_audit_events_total", result); got != want {
				t.Errorf("%s: %v events %s, want %v", when, got, result, want)
			}
		}
	}
	record := func(events ...audit.Event) error {
		return pgx.BeginFunc(t.Context(), b.Pool, func(tx pgx.Tx) error { return log.Record(t.Context(), tx, events...) })
	}
	expect("at the start", 0, 0, 0)
	if _, err := log.Append(t.Context(), single("test.one")); err != nil {
		t.Fatal(err)
	}
	if err := record(single("test.two"), single("test.three")); err != nil {
		t.Fatal(err)
	}
	expect("after three events", 3, 0, 0)

	stray := single("test.stray")
	stray.Phase, stray.Operation = audit.PhaseOutcome, uuid.Must(uuid.NewV7())
	if _, err := log.Append(t.Context(), stray); !errors.Is(err, audit.ErrNotOpen) {
		t.Fatalf("an outcome without an attempt: %v", err)
	}
	expect("after an outcome without an attempt", 3, 0, 1)

	gone, leave := context.WithCancel(t.Context())
	if err := pgx.BeginFunc(t.Context(), b.Pool, func(tx pgx.Tx) error {
		leave()
		return log.Record(gone, tx, single("test.gone"))
	}); !errors.Is(err, audit.ErrUnwritable) {
		t.Fatalf("recorded for somebody who has gone: %v", err)
	}
	expect("after a client that went away", 3, 0, 1) // it is no reason to wake anybody
	if got := counted(t, registry, "qm_audit_events_total", "abandoned"); got != 1 {
		t.Errorf("%v events were abandoned, want 1", got)
	}

	b.run(t, b.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	if _, err := log.Append(t.Context(), single("test.lost")); err == nil {
		t.Fatal("appended without the right")
	}
	if err := record(single("test.lost")); err == nil {
		t.Fatal("recorded without the right")
	}
	expect("without the right to append", 3, 2, 1)
	if got := counted(t, registry, "qm_audit_append_seconds", ""); got != 6 {
		t.Errorf("%v appends were timed, want 6", got)
	}
}
