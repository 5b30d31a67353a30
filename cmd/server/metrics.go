package main

import (
	"runtime"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// registerMetrics gives out what only the wiring knows: which program this is, whether it is
// stopping, its connections and its certificate.
func (c *console) registerMetrics(r prometheus.Registerer) {
	r.MustRegister(&processCollector{c, c.pool})
}

type processCollector struct {
	c    *console
	pool *pgxpool.Pool
}

var (
	descBuild       = prometheus.NewDesc("qm_build_info", "1, with the program's version and Go's.", []string{"version", "go_version"}, nil)
	descDraining    = prometheus.NewDesc("qm_draining", "1 once the console was told to stop.", nil, nil)
	descConnections = prometheus.NewDesc("qm_database_connections", "Connections of the console's pool by state: in_use or idle.", []string{"state"}, nil)
	descMost        = prometheus.NewDesc("qm_database_connections_max", "Most connections that the console's pool may have.", nil, nil)
	descWaits       = prometheus.NewDesc("qm_database_waits_total", "Times that somebody had to wait for a connection of the pool.", nil, nil)
	descWaited      = prometheus.NewDesc("qm_database_wait_seconds_total", "Time spent waiting for connections of the pool.", nil, nil)
	descCertificate = prometheus.NewDesc("qm_tls_certificate_expiry_timestamp_seconds", "When the certificate that the console serves https with ends, in seconds since 1970; missing without QM_TLS_CERT.", nil, nil)
)

func (p *processCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBuild, descDraining, descConnections, descMost, descWaits, descWaited, descCertificate} {
		out <- d
	}
}

func (p *processCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	count := func(d *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value)
	}
	gauge(descBuild, 1, versionText(), runtime.Version())
	draining := 0.0
	if p.c.draining.Load() {
		draining = 1
	}
	gauge(descDraining, draining)
	pool := p.pool.Stat()
	gauge(descConnections, float64(pool.AcquiredConns()), "in_use")
	gauge(descConnections, float64(pool.IdleConns()), "idle")
	gauge(descMost, float64(pool.MaxConns()))
	count(descWaits, float64(pool.EmptyAcquireCount()))
	count(descWaited, pool.EmptyAcquireWaitTime().Seconds())
	if cert := p.c.settings.TLS; cert != nil && cert.Leaf != nil {
		gauge(descCertificate, float64(cert.Leaf.NotAfter.Unix()))
	}
}
