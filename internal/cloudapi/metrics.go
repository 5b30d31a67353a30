package cloudapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests on the wire, each attempt of a retried GET on its own, and those that were not
// sent. Labels are names of the operation table, kinds and our own ids of accounts, never anything that
// came over the wire. Of an account there are counters and a gauge and no histogram, and only while it is
// in use: an hour after its last call it is gone.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	shared   *prometheus.CounterVec
	gates    *gates
}

var (
	descAccountRequests = prometheus.NewDesc("qm_upstream_account_requests_total", "Requests to the Cloud API for an account, by this process.", []string{"account"}, nil)
	descAccountFailures = prometheus.NewDesc("qm_upstream_account_failures_total", "Requests for an account that were not answered, too slowly or with 5xx.", []string{"account"}, nil)
	descAccountBreaker  = prometheus.NewDesc("qm_upstream_account_breaker", "Whether calls of an account are sent: 0 they are, 1 one at a time to find out, 2 none because too many failed.", []string{"account"}, nil)
)

// Describe and Collect make metrics the collector of what is counted by account.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAccountRequests, descAccountFailures, descAccountBreaker} {
		out <- d
	}
}

// Collect tells of the accounts that were called of late.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.gates.each(func(account string, g *gate) {
		g.mu.Lock()
		requests, failed, state := g.history.requests, g.history.failed, g.breaker.state(g.all.now())
		g.mu.Unlock()
		out <- prometheus.MustNewConstMetric(descAccountRequests, prometheus.CounterValue, float64(requests), account)
		out <- prometheus.MustNewConstMetric(descAccountFailures, prometheus.CounterValue, float64(failed), account)
		out <- prometheus.MustNewConstMetric(descAccountBreaker, prometheus.GaugeValue, map[BreakerState]float64{HalfOpen: 1, Open: 2}[state], account)
	})
}

func newMetrics(registerer prometheus.Registerer, gates *gates) (*metrics, error) {
	m := &metrics{
		gates: gates,
		shared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_upstream_shared_reads_total",
			Help: "Reads that were answered by an equal one under way, and not sent.",
		}, []string{"op"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_upstream_requests_total",
			Help: "Requests to the Cloud API by outcome: ok, the kind of error, held_back when the account's own limit did not let it go, or resting when its breaker did not.",
		}, []string{"generation", "op", "kind"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "qm_upstream_request_seconds",
			Help:    "Time from sending a request to the Cloud API to the last byte of its answer.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"op"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.requests, m.seconds, m.shared, m} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// holdBack counts a request that was not sent.
func (m *metrics) holdBack(op Op, failed *Error) {
	kind := "held_back"
	if failed.Resting {
		kind = "resting"
	}
	m.requests.WithLabelValues(string(op.Generation), op.Name, kind).Inc()
}

func (m *metrics) count(op Op, kind Kind, took time.Duration) {
	if kind == "" {
		kind = "ok"
	}
	m.requests.WithLabelValues(string(op.Generation), op.Name, string(kind)).Inc()
	m.seconds.WithLabelValues(op.Name).Observe(took.Seconds())
}
