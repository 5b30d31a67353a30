package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell from outside whether the log can be written. Nothing of an event is in them.
type metrics struct {
	events  *prometheus.CounterVec
	seconds prometheus.Histogram
	waiting prometheus.GaugeFunc
}

func (l *Log) newMetrics() *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_audit_events_total",
			Help: "Events for the audit log by result: written, failed (what they tell of did not happen, or its outcome is missing), refused because the operation had ended, or abandoned because whoever asked went away.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "qm_audit_append_seconds",
			Help:    "Time that one append took in the database, whether or not it succeeded; events that wait together share one.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "qm_audit_events_waiting",
			Help: "Events that wait for the append before them.",
		}, func() float64 { return float64(len(l.queue)) }),
	}
	for _, result := range []string{"written", "failed", "refused", "abandoned"} {
		m.events.WithLabelValues(result) // a rate needs the zero
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.events, m.seconds, m.waiting} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the log's metrics: %w", err)
		}
	}
	return nil
}

// count counts events and what became of them.
func (m *metrics) count(events int, err error) {
	result := "written"
	switch {
	case errors.Is(err, ErrNotOpen):
		result = "refused"
	case errors.Is(err, context.Canceled):
		result = "abandoned"
	case err != nil:
		result = "failed"
	}
	m.events.WithLabelValues(result).Add(float64(events))
}

func (m *metrics) took(begun time.Time) { m.seconds.Observe(time.Since(begun).Seconds()) }
