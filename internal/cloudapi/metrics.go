package cloudapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests on the wire, each attempt of a retried GET on its own, and those that our own
// limit held back. Labels are names of
// the operation table and kinds, never anything that came over the wire.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_upstream_requests_total",
			Help: "Requests to the Cloud API by outcome: ok, the kind of error, or held_back when the account's own limit did not let it go.",
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
	if err := registerer.Register(m.requests); err != nil {
		return nil, err
	}
	return m, registerer.Register(m.seconds)
}

// holdBack counts a request that was not sent.
func (m *metrics) holdBack(op Op) {
	m.requests.WithLabelValues(string(op.Generation), op.Name, "held_back").Inc()
}

func (m *metrics) count(op Op, kind Kind, took time.Duration) {
	if kind == "" {
		kind = "ok"
	}
	m.requests.WithLabelValues(string(op.Generation), op.Name, string(kind)).Inc()
	m.seconds.WithLabelValues(op.Name).Observe(took.Seconds())
}
