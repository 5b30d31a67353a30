package accounts

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi"
)

// Upstream tells alerts cluster by cluster only, so an account's are read in turn, a few at a time: first those of clusters
// that are not well, and with at least a quarter of the calls the others, those on somebody's screen sooner.
// Each cluster's are stored by themselves as soon as they are there, so that one that hangs delays no other.

const (
	// alertsShare is how much of an account's budget of calls reading alerts takes while there is more to read.
	alertsShare = 0.2
	// alertsRound is for how many seconds of the whole budget one round may call.
	alertsRound = 2
	// maxAlertsRound bounds the clusters of a round, and is how many there are where calls have no limit.
	maxAlertsRound = 20
	// alertsAtOnce is how many clusters of an account are read at the same time.
	alertsAtOnce = 3
	// alertsASecond bounds the clusters that this process reads, of all accounts.
	alertsASecond = 50
	// resolvedKept is how long an alert stays that upstream does not list any more, and of those of a cluster maxResolved at most.
	resolvedKept = 7 * 24 * time.Hour
	maxResolved  = 200
	// maxUnlisted bounds the alerts of a cluster that upstream does not list any more and that may fire still.
	maxUnlisted = 500
)

// alertsPace is how many clusters one round reads, and how long after it the next may begin.
func (s *Service) alertsPace() (clusters int, pause time.Duration) {
	if s.cfg.UpstreamRPS <= 0 {
		return maxAlertsRound, s.cfg.PollMin
	}
	clusters = min(max(int(math.Ceil(alertsRound*s.cfg.UpstreamRPS)), 1), maxAlertsRound)
	return clusters, time.Duration(float64(clusters) / (alertsShare * s.cfg.UpstreamRPS) * float64(time.Second))
}

// refreshAlerts reads the alerts of some clusters of an account.
func (s *Service) refreshAlerts(ctx context.Context, l lease, up *link) (time.Duration, error) {
	most, pause := s.alertsPace()
	due, err := s.alertsDue(ctx, l, most+1)
	if err != nil {
		return 0, err
	}
	next := s.cfg.PollMax
	if len(due) > most {
		due, next = due[:most], min(pause, s.cfg.PollMax)
	}
	queue := make(chan string, len(due))
	for _, id := range due {
		queue <- id
	}
	close(queue)
	// What ends the round is of the account and not of a cluster.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var reading sync.WaitGroup
	for range min(alertsAtOnce, len(due)) {
		reading.Go(func() {
			for id := range queue {
				if ctx.Err() != nil {
					return
				}
				// What panics in here nobody above would catch.
				if err := guarded(ctx, func(ctx context.Context) error { return s.refreshAlertsOf(ctx, l, up, id) }); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	reading.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	if _, err := s.cfg.DB.Exec(ctx, `
		UPDATE refresh SET ok_at = $3, error = '' WHERE account_id = $1 AND kind = $2 AND lease_owner = $4`, l.AccountID, kindAlerts, l.StartedAt, l.Owner); err != nil {
		return 0, fmt.Errorf("storing that alerts were read: %w", err)
	}
	return next, nil
}

// alertsDue are the clusters whose alerts are to be read now, at most n: those first that are not well, and as long as there are
// others, a quarter for these, of which how late one is counts fourfold where somebody looks.
func (s *Service) alertsDue(ctx context.Context, l lease, n int) ([]string, error) {
	look := s.onScreen()
	rows, err := s.cfg.DB.Query(ctx, `
		WITH due AS (
			SELECT c.cluster_id, extract(epoch FROM clock_timestamp() - coalesce(r.ok_at, 'epoch')) AS late,
				c.phase <> 'HEALTHY' AND c.phase <> 'SUSPENDED'
				OR EXISTS (SELECT FROM cluster_alerts x WHERE x.account_id = c.account_id AND x.cluster_id = c.cluster_id AND x.state <> 'RESOLVED') AS troubled,
				$3 OR a.environment = ANY($4) OR a.id = ANY($5) AS shown
			FROM clusters c JOIN accounts a ON a.id = c.account_id
			LEFT JOIN cluster_reads r ON r.account_id = c.account_id AND r.cluster_id = c.cluster_id AND r.kind = 'alerts'
			WHERE c.account_id = $1 AND c.gone_at IS NULL
				AND (r.next_at IS NULL OR r.next_at <= clock_timestamp() OR r.next_at > clock_timestamp() + $6::interval)
		), first AS (SELECT * FROM due WHERE troubled ORDER BY late DESC, cluster_id LIMIT $2),
		others AS (SELECT cluster_id, late * CASE WHEN shown THEN 4 ELSE 1 END AS late FROM due WHERE NOT troubled ORDER BY 2 DESC, cluster_id LIMIT $2)
		SELECT cluster_id FROM (
			SELECT cluster_id, 0 AS part, row_number() OVER (ORDER BY late DESC, cluster_id) AS place FROM first
			UNION ALL SELECT cluster_id, 1, row_number() OVER (ORDER BY late DESC, cluster_id) FROM others
		) chosen
		ORDER BY part = 0 AND place > $2::integer - $2::integer / 4, part = 1 AND place > $2::integer / 4, part, place LIMIT $2`,
		l.AccountID, n, look.everything, nonNil(look.environments), nonNil(look.accounts), 2*max(longestWait, s.cfg.PollMax))
	if err != nil {
		return nil, fmt.Errorf("choosing clusters to read alerts of: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("choosing clusters to read alerts of: %w", err)
	}
	return ids, nil
}

// refreshAlertsOf reads and stores the alerts of one cluster. An error is one of the account: the key, the budget, the breaker.
func (s *Service) refreshAlertsOf(ctx context.Context, l lease, up *link, cluster string) error {
	if err := s.refreshing.alerts.Wait(ctx); err != nil {
		return fmt.Errorf("%w: the turn to read alerts did not come", errBusy)
	}
	var began time.Time
	if err := s.cfg.DB.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&began); err != nil {
		return fmt.Errorf("reading the clock: %w", err)
	}
	alerts, err := up.cloud.Alerts(ctx, cluster)
	if err == nil {
		return s.storeAlerts(ctx, l, cluster, began, alerts)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if refused, ok := cloudapi.AsError(err); ok && (refused.Resting || slices.Contains([]cloudapi.Kind{cloudapi.Unauthenticated, cloudapi.Forbidden, cloudapi.RateLimited}, refused.Kind)) {
		return err
	}
	return s.storeAlertsFailure(ctx, l, cluster, err)
}

// seenAlert is an alert as cluster_alerts has it.
type seenAlert struct {
	AlertID, Type, Severity string
	Rank                    int
	State                   string
	Title, Description      string
	LastFiringAt            *time.Time
	Since                   time.Time `json:"-"`
}

// alertRanks are the severities that are known here, the worst last.
var alertRanks = []string{cloudapi.AlertInfo, cloudapi.AlertWarning, cloudapi.AlertCritical}

func seenAlertOf(a cloudapi.Alert) seenAlert {
	seen := seenAlert{
		AlertID: plain(a.ID), Type: plain(a.Type), Severity: plain(a.Severity), State: plain(a.State), Title: plain(a.Title), Description: plain(a.Description),
		Rank: 1 + slices.Index(alertRanks, a.Severity),
	}
	if seen.Rank == 0 { // how bad it is nobody knows here, so it is not overlooked
		seen.Rank = 1 + len(alertRanks)
	}
	// While an alert fires, upstream's time moves with each reading and tells nothing.
	if a.State == cloudapi.AlertResolved && !a.LastFiringAt.IsZero() {
		at := a.LastFiringAt.UTC().Truncate(time.Microsecond)
		seen.LastFiringAt = &at
	}
	return seen
}

func (a seenAlert) same(o seenAlert) bool {
	a.Since, o.Since = time.Time{}, time.Time{}
	equal := sameMoment(a.LastFiringAt, o.LastFiringAt)
	a.LastFiringAt, o.LastFiringAt = nil, nil
	return equal && a == o
}

// storeAlerts stores the alerts of one cluster, as they were read by an answer asked for at began.
func (s *Service) storeAlerts(ctx context.Context, l lease, cluster string, began time.Time, read cloudapi.AlertList) error {
	listed := make([]seenAlert, 0, len(read.Alerts))
	for _, a := range read.Alerts {
		listed = append(listed, seenAlertOf(a))
	}
	slices.SortFunc(listed, func(a, b seenAlert) int { return cmp.Compare(a.AlertID, b.AlertID) })
	listed = slices.CompactFunc(listed, func(a, b seenAlert) bool { return a.AlertID == b.AlertID })
	digest, err := digestOf([]any{listed, read.Unreadable, read.Unread})
	if err != nil {
		return err
	}
	return s.storeAlertsRead(ctx, l, cluster, func(ctx context.Context, tx pgx.Tx) (changed bool, err error) {
		var before []byte
		var over bool // the time to stay is, of one that is resolved and not listed any more
		err = tx.QueryRow(ctx, `
			SELECT r.digest, EXISTS (SELECT FROM cluster_alerts x WHERE x.account_id = $1 AND x.cluster_id = $3 AND x.state = 'RESOLVED' AND x.since < $4 AND x.alert_id <> ALL($5))
			FROM cluster_reads r WHERE r.account_id = $1 AND r.kind = $2 AND r.cluster_id = $3`,
			l.AccountID, kindAlerts, cluster, began.Add(-resolvedKept), column(listed, func(a seenAlert) string { return a.AlertID })).Scan(&before, &over)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return false, fmt.Errorf("reading the digest of the alerts: %w", err)
		}
		if err != nil || over || !bytes.Equal(before, digest) {
			if changed, err = changeAlerts(ctx, tx, l, cluster, began, listed, read.Whole()); err != nil {
				return false, err
			}
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO cluster_reads (account_id, cluster_id, kind, next_at, ok_at, digest, error) VALUES ($1, $2, $3, clock_timestamp() + $6::interval, $4, $5, $7)
			ON CONFLICT ON CONSTRAINT cluster_reads_pkey DO UPDATE SET next_at = excluded.next_at, ok_at = excluded.ok_at, digest = excluded.digest, failures = 0, error = excluded.error`,
			l.AccountID, cluster, kindAlerts, began, digest, time.Duration(0.8*float64(s.cfg.PollMax)), alertsWords(read))
		return changed, err
	})
}

// alertsWords say for people what of a cluster's alerts could not be read; nothing where all could.
func alertsWords(read cloudapi.AlertList) string {
	if read.Whole() {
		return ""
	}
	return fmt.Sprintf("The console could not read %d of the cluster's alerts.", read.Unreadable+read.Unread)
}

// changeAlerts makes the stored alerts of a cluster those that were listed. One that is not listed any more and fired is resolved,
// where the list is whole; it stays a while, so that whoever looks for it finds what became of it. Of what is not listed a bounded
// number stays, whatever upstream lists.
func changeAlerts(ctx context.Context, tx pgx.Tx, l lease, cluster string, began time.Time, listed []seenAlert, whole bool) (changed bool, err error) {
	rows, err := tx.Query(ctx, `
		SELECT alert_id, type, severity, rank, state, title, description, last_firing_at, since FROM cluster_alerts
		WHERE account_id = $1 AND cluster_id = $2 ORDER BY alert_id FOR UPDATE`, l.AccountID, cluster)
	if err != nil {
		return false, fmt.Errorf("reading known alerts: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowToStructByName[seenAlert])
	if err != nil {
		return false, fmt.Errorf("reading known alerts: %w", err)
	}
	stored := map[string]seenAlert{}
	for _, o := range known {
		stored[o.AlertID] = o
	}
	batch, there := &pgx.Batch{}, map[string]bool{}
	for _, a := range listed {
		there[a.AlertID] = true
		a.Since = began
		if o, is := stored[a.AlertID]; is {
			if a.same(o) {
				continue
			}
			if a.State == o.State {
				a.Since = o.Since
			}
		}
		batch.Queue(`
			INSERT INTO cluster_alerts (account_id, cluster_id, alert_id, type, severity, rank, state, title, description, last_firing_at, since)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
			ON CONFLICT ON CONSTRAINT cluster_alerts_pkey DO UPDATE SET type = excluded.type, severity = excluded.severity, rank = excluded.rank,
				state = excluded.state, title = excluded.title, description = excluded.description, last_firing_at = excluded.last_firing_at, since = excluded.since`,
			l.AccountID, cluster, a.AlertID, a.Type, a.Severity, a.Rank, a.State, a.Title, a.Description, a.LastFiringAt, a.Since)
	}
	var open, resolved []seenAlert
	var gone, ended []string
	for _, o := range known {
		switch {
		case there[o.AlertID]:
		case o.State != cloudapi.AlertResolved && whole:
			ended = append(ended, o.AlertID)
			o.Since = began
			resolved = append(resolved, o)
		case o.State != cloudapi.AlertResolved:
			open = append(open, o)
		case elapsed(began, o.Since, resolvedKept):
			gone = append(gone, o.AlertID)
		default:
			resolved = append(resolved, o)
		}
	}
	for _, kept := range []struct {
		alerts []seenAlert
		most   int
	}{{open, maxUnlisted}, {resolved, maxResolved}} {
		slices.SortStableFunc(kept.alerts, func(a, b seenAlert) int { return b.Since.Compare(a.Since) })
		for _, a := range kept.alerts[min(kept.most, len(kept.alerts)):] {
			gone = append(gone, a.AlertID)
		}
	}
	if len(ended) > 0 {
		batch.Queue(`UPDATE cluster_alerts SET state = $4, since = $5 WHERE account_id = $1 AND cluster_id = $2 AND alert_id = ANY($3)`,
			l.AccountID, cluster, ended, cloudapi.AlertResolved, began)
	}
	if len(gone) > 0 {
		batch.Queue(`DELETE FROM cluster_alerts WHERE account_id = $1 AND cluster_id = $2 AND alert_id = ANY($3)`, l.AccountID, cluster, gone)
	}
	if batch.Len() == 0 {
		return false, nil
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return false, fmt.Errorf("storing alerts: %w", err)
	}
	return true, nil
}

// storeAlertsFailure stores why the alerts of one cluster could not be read. What was known of them stays.
func (s *Service) storeAlertsFailure(ctx context.Context, l lease, cluster string, failure error) error {
	return s.storeAlertsRead(ctx, l, cluster, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		// Twice as late after each failure, as for accounts.
		_, err := tx.Exec(ctx, `
			INSERT INTO cluster_reads AS r (account_id, cluster_id, kind, next_at, failed_at, failures, error) VALUES ($1, $2, $3, clock_timestamp() + $5::interval, clock_timestamp(), 1, $4)
			ON CONFLICT ON CONSTRAINT cluster_reads_pkey DO UPDATE SET failed_at = excluded.failed_at, failures = r.failures + 1, error = excluded.error,
				next_at = clock_timestamp() + least($5::interval * power(2, least(r.failures, 10)), $6::interval)`,
			l.AccountID, cluster, kindAlerts, cut(kindWords(failure), maxSnapshotText), s.jittered(s.cfg.PollMax), max(longestWait, s.cfg.PollMax))
		return true, err
	})
}

// storeAlertsRead runs store in a transaction that holds the lease, and tells of the cluster when store says that something
// changed. A cluster that went meanwhile has nothing to be stored at.
func (s *Service) storeAlertsRead(ctx context.Context, l lease, cluster string, store func(ctx context.Context, tx pgx.Tx) (bool, error)) error {
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var held, there bool
		if err := tx.QueryRow(ctx, `
			SELECT EXISTS (SELECT FROM refresh WHERE account_id = $1 AND kind = $2 AND lease_owner = $3 AND lease_until > clock_timestamp()),
				EXISTS (SELECT FROM clusters WHERE account_id = $1 AND cluster_id = $4 FOR KEY SHARE)`, l.AccountID, kindAlerts, l.Owner, cluster).Scan(&held, &there); err != nil {
			return fmt.Errorf("holding the lease of alerts: %w", err)
		}
		if !held {
			return errLeaseLost
		}
		if !there {
			return nil
		}
		changed, err := store(ctx, tx)
		if err != nil || !changed {
			return err
		}
		return notifyClusters(ctx, tx, l.AccountID, cluster)
	})
	if err != nil {
		return fmt.Errorf("storing alerts: %w", err)
	}
	return nil
}
