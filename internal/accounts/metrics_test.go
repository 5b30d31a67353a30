package accounts

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"quartermaster/internal/audit"
)

// gathered are the values of a registry by name, and by name and value of the label.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			found[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

func TestMetricsTellTheSharedState(t *testing.T) {
	r := newRig(t)
	registry := prometheus.NewRegistry()
	if err := r.svc.RegisterMetrics(registry); err != nil {
		t.Fatal(err)
	}
	expect := func(when string, want map[string]float64) {
		t.Helper()
		got := gathered(t, registry)
		for name, value := range want {
			if v, ok := got[name]; !ok || v != value {
				t.Errorf("%s: %s is %v (%v), want %v", when, name, v, ok, value)
			}
		}
	}
	expect("empty", map[string]float64{
		"qm_database_up": 1, "qm_state_accounts ok": 0, "qm_state_accounts failing": 0, "qm_state_accounts waiting": 0, "qm_state_accounts disabled": 0,
		"qm_state_oldest_refresh_seconds": 0, "qm_state_clusters": 0, "qm_state_open_operations": 0, "qm_state_oldest_open_operation_seconds": 0,
		"qm_sign_ins_total ok": 0, "qm_sign_ins_total failed": 0, "qm_refreshes_total clusters ok": 0, "qm_refreshes_total clusters failed": 0, "qm_refreshes_total keys busy": 0, "qm_refreshes_total alerts ok": 0, "qm_refreshes_total backups failed": 0,
	})

	well, _ := r.account(t, "well", Production)
	ill, _ := r.account(t, "ill", Production)
	off, _ := r.account(t, "off", Production)
	fresh, _ := r.account(t, "new", Production)
	r.fill(t, well, 4)
	r.exec(t, `UPDATE refresh SET ok_at = NULL WHERE account_id = $1`, fresh)
	r.exec(t, `UPDATE refresh SET ok_at = clock_timestamp() - interval '1 hour' WHERE account_id = $1`, well)
	r.exec(t, `UPDATE refresh SET ok_at = clock_timestamp(), failures = 3 WHERE account_id = $1`, ill)
	r.exec(t, `UPDATE accounts SET enabled = false WHERE id = $1`, off)
	r.exec(t, `UPDATE refresh SET ok_at = clock_timestamp() - interval '1 year' WHERE account_id = $1`, off)
	r.svc.SignInFailed(t.Context(), audit.Actor{}, "a cause")
	expect("in use", map[string]float64{
		"qm_state_accounts ok": 1, "qm_state_accounts failing": 1, "qm_state_accounts waiting": 1, "qm_state_accounts disabled": 1,
		"qm_state_clusters": 4, "qm_sign_ins_total failed": 1,
	})
	// The disabled account's year does not count.
	if age := gathered(t, registry)["qm_state_oldest_refresh_seconds"]; age < 3600 || age > 7200 {
		t.Errorf("the oldest listing is %v s old, want an hour", age)
	}

	r.exec(t, `UPDATE refresh SET ok_at = clock_timestamp() + interval '1 hour'`)
	if age := gathered(t, registry)["qm_state_oldest_refresh_seconds"]; age != 0 {
		t.Errorf("after Postgres' clock was ahead the oldest listing is %v s old, want 0", age)
	}

	r.db.Pool.Close()
	got := gathered(t, registry)
	if up, ok := got["qm_database_up"]; !ok || up != 0 {
		t.Errorf("without a database qm_database_up is %v, %v", up, ok)
	}
	for name := range maps.Keys(got) {
		if name == "qm_state_clusters" {
			t.Error("numbers are told that nobody read")
		}
	}
}
