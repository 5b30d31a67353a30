package sandbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// alerts are the cluster's, by type, severity and state.
func (b *bench) alerts(f Fixture, cluster, query string) []string {
	b.t.Helper()
	path := fmt.Sprintf("/api/monitoring/v1/accounts/%s/cluster/%s/alerts%s", f.CloudAccountID, cluster, query)
	list := b.call(f, "GET", path, nil).want(b.t, 200)
	items, _ := list.get("alerts").([]any)
	out := []string{}
	for i := range items {
		out = append(out, fmt.Sprint(list.get("alerts", i, "type"), " ", list.get("alerts", i, "severity"), " ", list.get("alerts", i, "state")))
	}
	return out
}

// TestAlertsMoveWithTheClock: a phase fires and resolves its alert, a key warns in its last week, what is resolved goes after
// three days, and the same alert keeps its id.
func TestAlertsMoveWithTheClock(t *testing.T) {
	b := setup(t)
	f := b.fixture(1)
	var cluster string
	for range 20 { // one that is never short of anything
		cluster = b.ready(f, newCluster("alerts-"+newID()[:8]))
		if _, _, _, _, some := b.accounts[f.CloudAccountID].clusters[cluster].shortage(b.now().Add(30 * day)); !some {
			break
		}
	}
	want := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, b.alerts(f, cluster, "")); diff != "" && len(want)+len(b.alerts(f, cluster, "")) > 0 {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	const (
		unhealthy = "CLUSTER_ALERT_TYPE_QDRANT_CLUSTER_UNHEALTHY CLUSTER_ALERT_SEVERITY_CRITICAL CLUSTER_ALERT_STATE_"
		key       = "CLUSTER_ALERT_TYPE_QDRANT_JWT_API_KEY_ABOUT_TO_EXPIRE CLUSTER_ALERT_SEVERITY_WARNING CLUSTER_ALERT_STATE_"
	)
	act := func(what map[string]any) {
		t.Helper()
		what["account"], what["cluster"] = f.CloudAccountID, cluster
		b.ctl("POST", "outside", what)
	}
	later := func(by string) { b.ctl("POST", "clock", map[string]any{"advance": by}) }
	want("at first")
	act(map[string]any{"act": "phase", "phase": "NOT_READY"})
	want("not ready", unhealthy+"FIRING")
	if got := b.alerts(f, cluster, "?state=CLUSTER_ALERT_STATE_RESOLVED"); len(got) != 0 {
		t.Errorf("resolved ones alone: %q", got)
	}
	act(map[string]any{"act": "phase", "phase": "HEALTHY"})
	want("healthy again", unhealthy+"RESOLVED")
	later("71h")
	want("three days less an hour later", unhealthy+"RESOLVED")
	later("2h")
	want("three days later")

	act(map[string]any{"act": "create_key", "name": "short-lived", "days": 10})
	want("ten days before its end")
	later("73h")
	want("in its last week", key+"FIRING")
	later("168h")
	want("after its end", key+"RESOLVED")
	later("73h")
	want("three days after its end")

	b.call(f, "GET", fmt.Sprintf("/api/monitoring/v1/accounts/%s/cluster/%s/alerts", f.CloudAccountID, newID()), nil).want(t, 404)
}

// TestShortagesComeAndGo: among many clusters some are short of something now and some were, and each of these ends and comes again.
func TestShortagesComeAndGo(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	box, err := New(Config{Seed: 4, Accounts: 5, Clusters: 400, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() }) //nolint:errcheck // it keeps no file
	firing, resolved, changes := 0, 0, 0
	for _, a := range box.accounts {
		for _, c := range a.clusters {
			was := false
			for at := range 24 * 12 {
				_, _, _, until, some := c.shortage(now.Add(time.Duration(at) * 5 * time.Minute))
				is := some && until.IsZero()
				switch {
				case is:
					firing++
				case some:
					resolved++
				}
				if is != was && at > 0 {
					changes++
				}
				was = is
			}
		}
	}
	if share := float64(firing) / float64(24*12*400); share < 0.005 || share > 0.05 || resolved == 0 || changes < 400/4 {
		t.Errorf("%.3f of the clusters' time is short of something, %d times resolved, %d changes", share, resolved, changes)
	}
	ids := map[string]bool{}
	for _, a := range box.accounts {
		for _, c := range a.clusters {
			for _, alert := range c.alerts(a, now, box.catalogue) {
				if ids[alert.str("id")] {
					t.Errorf("two alerts have the id %s", alert.str("id"))
				}
				ids[alert.str("id")] = true
				if !slices.Contains([]enumValue{alertFiring, alertResolved}, alert.enum("state")) || len([]rune(alert.str("title"))) > 80 || len([]rune(alert.str("description"))) > 300 {
					t.Errorf("not as documented: %v", alert)
				}
			}
		}
	}
}
