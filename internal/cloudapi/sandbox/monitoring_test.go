package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func monitoringPath(f Fixture, cluster, what string) string {
	return fmt.Sprintf("/api/monitoring/v1/accounts/%s/cluster/%s/%s", f.CloudAccountID, cluster, what)
}

// lines are the log or the events of a cluster, each with its time.
func (b *bench) lines(f Fixture, cluster, what string) (out []string) {
	b.t.Helper()
	list := b.call(f, "GET", monitoringPath(f, cluster, what), nil).want(b.t, 200)
	items, _ := list.get("items").([]any)
	for i := range items {
		out = append(out, text(list, "items", i, "timestamp")+" "+text(list, "items", i, "message"))
	}
	return out
}

// TestLogsMoveWithTheClock: lines that were there stay there, time adds more, a cluster in trouble says so, and one that is suspended
// says nothing.
func TestLogsMoveWithTheClock(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "product-search-eu")
	from := "logs?since=" + b.clock.Add(-6*time.Hour).Format(time.RFC3339)
	had := b.lines(f, cluster, from)
	grows := func(what string, by time.Duration) []string {
		t.Helper()
		b.clock = b.clock.Add(by)
		now := b.lines(f, cluster, from)
		if len(now) < len(had) || !slices.Equal(now[:len(had)], had) {
			t.Fatalf("%s: lines that were there have changed:\n%s", what, cmp.Diff(had, now))
		}
		added := now[len(had):]
		had = now
		return added
	}
	count := func(lines []string, level string) (n int) {
		for _, l := range lines {
			if strings.Contains(l, " "+level+" ") {
				n++
			}
		}
		return n
	}
	if len(had) < 30 || !slices.IsSorted(had) {
		t.Errorf("six hours have %d lines, in order: %t", len(had), slices.IsSorted(had))
	}
	if added := grows("an hour", time.Hour); len(added) < 5 || count(added, "ERROR") > 0 {
		t.Errorf("an hour adds %q", added)
	}
	b.ctl("POST", "outside", map[string]any{"act": "node_not_ready", "account": f.CloudAccountID, "cluster": cluster, "node": 1})
	if added := grows("not ready", 30*time.Minute); count(added, "ERROR")+count(added, "WARN") < 28 {
		t.Errorf("half an hour of not being ready adds %q", added)
	}
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/restart", nil).want(t, 200)
	grows("restarting", 2*time.Minute)
	if added := grows("healthy again", time.Hour); len(added) == 0 || count(added, "ERROR") > 0 {
		t.Errorf("an hour after the restart adds %q", added)
	}
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/suspend", nil).want(t, 200)
	grows("suspending", time.Minute)
	if added := grows("suspended", day); len(added) > 0 {
		t.Errorf("a day of being suspended adds %q", added)
	}
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/unsuspend", nil).want(t, 200)
	if added := grows("resumed", time.Hour); len(added) < 5 || !strings.Contains(added[0], "Version: 1.17.2") && !strings.Contains(added[0], "Version: v1.17.2") {
		t.Errorf("resuming adds %q", added)
	}
	until := b.lines(f, cluster, from+"&until="+b.clock.Add(-25*time.Hour).Format(time.RFC3339))
	if len(until) == 0 || !slices.Equal(until, had[:len(until)]) {
		t.Errorf("%d lines until yesterday", len(until))
	}
	if days := b.lines(f, cluster, "logs"); len(days) == 0 || days[0] < b.clock.Add(-logsDefault).Format(time.RFC3339) {
		t.Errorf("without a time the log reaches back to %.30s", days[0])
	}
	b.clock = b.clock.AddDate(5, 0, 0)
	if all := b.lines(f, cluster, "logs?since=2020-01-01T00:00:00Z"); len(all) > mostLines || all[0] < b.clock.Add(-logsKept).Format(time.RFC3339) {
		t.Errorf("%d lines since %.30s", len(all), all[0])
	}
	b.call(f, "GET", monitoringPath(f, newID(), "logs"), nil).want(t, 404)
}

func TestEventsAreOfHybridClusters(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	if got := b.call(f, "GET", monitoringPath(f, b.clusterNamed(f, "product-search-eu"), "events"), nil); got.status != 400 || got.get("code") != float64(codeFailedPrecondition) {
		t.Errorf("a managed cluster: %d %s", got.status, got.body)
	}
	cluster := b.clusterNamed(f, "hr-knowledge-base") // it cannot be synced
	had := b.lines(f, cluster, "events")
	b.clock = b.clock.Add(time.Hour)
	if now := b.lines(f, cluster, "events"); len(had) == 0 || len(now) != len(had)+4 || !slices.Equal(now[:len(had)], had) || !strings.Contains(now[len(now)-1], "cannot be read") {
		t.Errorf("%q became %q", had, now)
	}
}

// TestMetricsMoveWithTheClock: samples that were there stay as they are, time adds more, nodes that do not run have none.
func TestMetricsMoveWithTheClock(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "image-similarity") // two nodes with GPUs
	since := "usage-metrics?since=" + b.clock.Format(time.RFC3339)
	series := func(query string, path ...any) (out []string) {
		t.Helper()
		list := b.call(f, "GET", monitoringPath(f, cluster, query), nil).want(t, 200)
		items, _ := list.get(path...).([]any)
		for _, item := range items {
			m := item.(map[string]any)
			out = append(out, fmt.Sprint(m["timestamp"], " ", m["value"]))
		}
		return out
	}
	if got := series("usage-metrics", "cpu"); len(got) != 61 {
		t.Errorf("%d samples of the last hour", len(got))
	}
	b.clock = b.clock.Add(time.Hour)
	for _, metric := range []string{"cpu", "ram", "ramCache", "ramRss", "ramQdrantRss", "disk", "rps", "latency", "gpu", "gpuRam"} {
		b.clock = time.Date(2026, 9, 1, 13, 0, 0, 0, time.UTC)
		had := series(since, metric)
		b.clock = b.clock.Add(30 * time.Minute)
		if now := series(since, metric); len(had) != 61 || len(now) != 91 || !slices.Equal(now[:61], had) || len(slices.Compact(slices.Clone(now))) < 80 {
			t.Errorf("%s: %d samples became %d", metric, len(had), len(now))
		}
	}
	if n := len(series("usage-metrics?since=2026-07-01T00:00:00Z", "cpu")); n < 60 || n > 2*mostSamples {
		t.Errorf("%d samples of two months", n)
	}
	node := series(since, "nodes", 1, "cpu")
	var sums [4]float64
	for i, by := range []string{"SUM", "MAX", "AVG", "MIN"} {
		if _, err := fmt.Sscanf(series(since+"&aggregator=AGGREGATOR_"+by, "cpu")[0], "2026-09-01T12:00:00Z %g", &sums[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !(sums[0] > sums[1] && sums[1] > sums[2] && sums[2] > sums[3] && sums[3] > 0) {
		t.Errorf("sum, maximum, average and minimum are %v", sums)
	}
	b.ctl("POST", "outside", map[string]any{"act": "node_not_ready", "account": f.CloudAccountID, "cluster": cluster, "node": 1})
	b.clock = b.clock.Add(10 * time.Minute)
	if now := series(since, "nodes", 1, "cpu"); !slices.Equal(now, node[:90]) { // the one of the minute in which it failed is lost
		t.Errorf("a node that is not ready had %d samples and has %d", len(node), len(now))
	}
	if now := series(since, "nodes", 0, "cpu"); len(now) != 101 {
		t.Errorf("the other node has %d samples", len(now))
	}
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/suspend", nil).want(t, 200)
	b.clock = b.clock.Add(day)
	if now := series("usage-metrics", "cpu"); len(now) != 0 {
		t.Errorf("a suspended cluster has %d samples of the last hour", len(now))
	}

	summary := func(name string) reply {
		t.Helper()
		return b.call(f, "GET", monitoringPath(f, b.clusterNamed(f, name), "summary-metrics"), nil).want(t, 200)
	}
	had := summary("product-search-eu")
	for _, metric := range []string{"cpu", "ram", "ramCache", "ramRss", "ramQdrantRss", "disk"} {
		if total, _ := had.get("nodes", 2, metric, "total", "value").(float64); total <= 0 || had.get("nodes", 2, metric, "avg", 2, "interval") != "86400s" {
			t.Errorf("%s: %s", metric, had.body)
		}
	}
	b.clock = b.clock.Add(3 * time.Hour)
	if now := summary("product-search-eu"); slices.Equal(now.body, had.body) {
		t.Error("the averages of three hours later are the same")
	}
}

// TestShortagesShow: while a cluster is short of something its alert fires, its samples are above 90 % and its log says so; when it fires
// again it has another id.
func TestShortagesShow(t *testing.T) {
	b := setup(t, func(c *Config) { c.Accounts, c.Clusters = 1, 60 })
	f := b.fixture(0)
	tried := 0
	for _, c := range b.accounts[f.CloudAccountID].sortedClusters() {
		kind, _, _ := c.shortTime(b.clock)
		if kind != alertMemory || c.phase != phaseHealthy || b.clock.Sub(c.createdAt) < 2*day {
			continue
		}
		tried++
		_, began, ended := c.shortTime(b.clock)
		if !began.After(b.clock) {
			_, began, ended = c.shortTime(b.clock.Add(9 * time.Hour))
		}
		b.clock = later(b.clock, ended.Add(-time.Second))
		firing := func() (id string) {
			t.Helper()
			list := b.call(f, "GET", monitoringPath(f, c.id, "alerts?state=CLUSTER_ALERT_STATE_FIRING"), nil).want(t, 200)
			items, _ := list.get("alerts").([]any)
			for i := range items {
				if text(list, "alerts", i, "type") == "CLUSTER_ALERT_TYPE_MEMORY_OVERUTILIZED" {
					id = text(list, "alerts", i, "id")
				}
			}
			return id
		}
		first := firing()
		usage := b.call(f, "GET", monitoringPath(f, c.id, "usage-metrics"), nil).want(t, 200)
		samples, _ := usage.get("nodes", 0, "ram").([]any)
		last, _ := usage.get("nodes", 0, "ram", len(samples)-1, "value").(float64)
		total, _ := c.total("ram", b.catalogue.packages[c.running.Package])
		if first == "" || last < 0.9*total || last > total {
			t.Errorf("firing %q, %g of %g GiB are used", first, last, total)
		}
		if log := b.lines(f, c.id, "logs?since="+began.Format(time.RFC3339)); !slices.ContainsFunc(log, func(l string) bool { return strings.Contains(l, "Memory usage is above 90 %") }) {
			t.Errorf("the log says nothing of it: %q", log)
		}
		b.clock = b.clock.Add(time.Minute)
		if id := firing(); id != "" {
			t.Errorf("it still fires: %s", id)
		}
		for range 24 * 6 {
			b.clock = b.clock.Add(10 * time.Minute)
			if id := firing(); id != "" {
				if id == first {
					t.Error("firing again it has the same id")
				}
				break
			}
		}
		if tried == 3 {
			break
		}
	}
	if tried == 0 {
		t.Error("no cluster is ever short of memory")
	}
}

func TestInferenceMetricsGrow(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "product-search-eu")
	if got := b.call(f, "GET", monitoringPath(f, cluster, "metrics/inference"), nil).want(t, 200); got.get("models") != nil {
		t.Errorf("without inference: %s", got.body)
	}
	config := map[string]any{"configuration": map[string]any{"databaseConfiguration": map[string]any{"inference": map[string]any{"enabled": true}}}}
	b.update(f, cluster, config, "configuration.databaseConfiguration.inference").want(t, 200)
	b.clock = b.clock.Add(time.Hour)
	had := b.call(f, "GET", monitoringPath(f, cluster, "metrics/inference"), nil).want(t, 200)
	values, _ := had.get("models", 0, "values").([]any)
	b.clock = b.clock.Add(time.Hour)
	now := b.call(f, "GET", monitoringPath(f, cluster, "metrics/inference"), nil).want(t, 200)
	before, _ := had.get("models", 0, "values", len(values)-1, "value").(float64)
	after, _ := now.get("models", 0, "values", len(values)-1, "value").(float64)
	if len(values) != 8 || before <= 0 || after <= before || now.get("models", 0, "values", 3, "value") != had.get("models", 0, "values", 3, "value") {
		t.Errorf("%s became %s", had.body, now.body)
	}
	model := text(now, "models", 1, "inferenceModelId")
	monthly := b.call(f, "GET", monitoringPath(f, cluster, "metrics/inference?since=2026-06-10T00:00:00Z&interval=INFERENCE_METRICS_INTERVAL_MONTH&inferenceModelId="+model), nil).want(t, 200)
	if text(monthly, "models", 0, "inferenceModelId") != model || monthly.get("models", 1) != nil || text(monthly, "models", 0, "values", 1, "timestamp") != "2026-07-01T00:00:00Z" {
		t.Errorf("%s", monthly.body)
	}
}
