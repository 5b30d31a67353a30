package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a scrape waits for the database.
const scrapeTimeout = 2 * time.Second

// metrics are counted in this process. Labels come from fixed sets; no account, member or cluster is
// named, because the metrics address asks nobody who they are.
type metrics struct {
	signIns    *prometheus.CounterVec
	refreshes  *prometheus.CounterVec
	jobsFailed *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_sign_ins_total", Help: "Sign-ins that ended, by result: ok or failed.",
		}, []string{"result"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_refreshes_total", Help: "Refreshes of one kind of one account by this process, by kind and result: ok, failed, or busy when this process had too much to do for it.",
		}, []string{"kind", "result"}),
		jobsFailed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "qm_task_failures_total", Help: "Failed runs of background tasks; each is tried again.",
		}, []string{"task"}),
	}
	for _, result := range []string{"ok", "failed"} { // a rate needs the zero
		m.signIns.WithLabelValues(result)
	}
	for _, kind := range []string{kindClusters, kindKeys, kindAlerts, kindBackups} {
		for _, result := range []string{"ok", "failed", "busy"} {
			m.refreshes.WithLabelValues(kind, result)
		}
	}
	return m
}

// RegisterMetrics gives out what is counted here, and what each scrape asks the database.
func (s *Service) RegisterMetrics(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{
		s.metrics.signIns, s.metrics.refreshes, s.metrics.jobsFailed, s.hub.behind, s.hub.listening, s.hub.open, &stateCollector{s}, &rowsCollector{s},
	} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the domain's metrics: %w", err)
		}
	}
	return nil
}

// stateCollector reads the state that all replicas share. Each tells the same, so rules take the
// maximum and not the sum.
type stateCollector struct{ s *Service }

var (
	descDatabaseUp = prometheus.NewDesc("qm_database_up", "1 when the database answered this scrape within two seconds; else the qm_state metrics are missing.", nil, nil)
	descAccounts   = prometheus.NewDesc("qm_state_accounts", "Accounts by state: ok, failing (the last refresh failed), waiting (never read yet), disabled. The same from every replica.", []string{"state"}, nil)
	descRefreshAge = prometheus.NewDesc("qm_state_oldest_refresh_seconds", "Age of the oldest listing among the enabled accounts, counted from the account's beginning when there is none. The same from every replica.", nil, nil)
	descClusters   = prometheus.NewDesc("qm_state_clusters", "Clusters known and not gone. The same from every replica.", nil, nil)
	descOpen       = prometheus.NewDesc("qm_state_open_operations", "Attempts in the log without an outcome. The same from every replica.", nil, nil)
	descOpenAge    = prometheus.NewDesc("qm_state_oldest_open_operation_seconds", "Age of the oldest attempt without an outcome; 0 when there is none. The same from every replica.", nil, nil)
)

func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDatabaseUp, descAccounts, descRefreshAge, descClusters, descOpen, descOpenAge} {
		out <- d
	}
}

// rowsCollector tells what this process knows of rows that somebody else than the console wrote or altered.
type rowsCollector struct{ s *Service }

var (
	descUnexplained = prometheus.NewDesc("qm_unexplained_rows", "Rows of accounts, keys, grants, roles and blocks that the console did not write as they are, by what gives them away: code (it does not fit the row) or log (the last comparison with it).", []string{"by"}, nil)
	descComparedAt  = prometheus.NewDesc("qm_tables_compared_timestamp_seconds", "When this process last compared the tables with the log; 0 before the first time.", nil, nil)
)

func (c *rowsCollector) Describe(out chan<- *prometheus.Desc) {
	out <- descUnexplained
	out <- descComparedAt
}

func (c *rowsCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	rows, more := c.s.Unexplained()
	gauge(descUnexplained, float64(len(c.s.UnverifiedRows())), "code")
	gauge(descUnexplained, float64(len(rows)+more), "log")
	compared := 0.0
	if last := c.s.state.last.Load(); last != nil {
		compared = float64(last.At.Unix())
	}
	gauge(descComparedAt, compared)
}

type sharedState struct {
	OK, Failing, Waiting, Disabled int
	RefreshAge                     float64
	Clusters, Open                 int
	OpenAge                        float64
}

func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	state, err := c.s.sharedState(ctx)
	if err != nil {
		c.s.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "scrape without the database", slog.Any("error", err)) // the metric tells
		gauge(descDatabaseUp, 0)
		return
	}
	gauge(descDatabaseUp, 1)
	gauge(descAccounts, float64(state.OK), "ok")
	gauge(descAccounts, float64(state.Failing), "failing")
	gauge(descAccounts, float64(state.Waiting), "waiting")
	gauge(descAccounts, float64(state.Disabled), "disabled")
	gauge(descRefreshAge, state.RefreshAge)
	gauge(descClusters, float64(state.Clusters))
	gauge(descOpen, float64(state.Open))
	gauge(descOpenAge, state.OpenAge)
}

func (s *Service) sharedState(ctx context.Context) (sharedState, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT a.ok, a.failing, a.waiting, a.disabled, a.refresh_age, c.clusters, o.open, o.open_age
		FROM (
			SELECT count(*) FILTER (WHERE a.enabled AND f.failures = 0 AND f.ok_at IS NOT NULL) AS ok,
				count(*) FILTER (WHERE a.enabled AND f.failures > 0) AS failing,
				count(*) FILTER (WHERE a.enabled AND coalesce(f.failures, 0) = 0 AND f.ok_at IS NULL) AS waiting,
				count(*) FILTER (WHERE NOT a.enabled) AS disabled,
				greatest(coalesce(extract(epoch FROM clock_timestamp() - min(coalesce(f.ok_at, a.created_at)) FILTER (WHERE a.enabled)), 0), 0)::float8 AS refresh_age
			FROM accounts a LEFT JOIN refresh f ON f.account_id = a.id AND f.kind = 'clusters') a,
			(SELECT count(*) AS clusters FROM clusters WHERE gone_at IS NULL) c,
			(SELECT count(*) AS open, greatest(coalesce(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0), 0)::float8 AS open_age FROM audit.open_operations) o`)
	if err != nil {
		return sharedState{}, fmt.Errorf("reading the state for a scrape: %w", err)
	}
	state, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[sharedState])
	if err != nil {
		return sharedState{}, fmt.Errorf("reading the state for a scrape: %w", err)
	}
	return state, nil
}
