package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/cloudapi"
)

// inStoringOrder sorts rows as everybody writes them, so that no two wait for each other, each once: two ids of a hostile
// upstream may be one when they are made fit to be stored.
func inStoringOrder(rows []snapshot) []snapshot {
	slices.SortStableFunc(rows, func(a, b snapshot) int { return strings.Compare(a.clusterID, b.clusterID) })
	return slices.CompactFunc(rows, func(a, b snapshot) bool { return a.clusterID == b.clusterID })
}

// heavyTurns is how many large listings a process decodes or stores at a time: one for two processors and for four
// connections to Postgres, and at least one. A thousand accounts that are new must not take both from people who look.
func heavyTurns(db *pgxpool.Pool) int {
	if db == nil { // a Service that refreshes nothing
		return 1
	}
	return max(1, min(int(db.Config().MaxConns)/4, runtime.GOMAXPROCS(0)/2))
}

// takeTurn waits for the turn to do something heavy, which ends with the function it returns. errBusy when it does not come.
func (s *Service) takeTurn(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, s.refreshing.turnWait)
	defer cancel()
	select {
	case s.refreshing.heavy <- struct{}{}:
		s.attention.lull(ctx, peopleFirst)
		return func() { <-s.refreshing.heavy }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the turn to take a large listing did not come", errBusy)
	}
}

// mayDecode is takeTurn for a listing that was read, when it is large.
func (s *Service) mayDecode(ctx context.Context, bytes int) (done func(), err error) {
	if bytes <= largeAnswer {
		return func() {}, nil
	}
	return s.takeTurn(ctx)
}

// storeListing stores a complete listing in one transaction, with the next refresh.
func (s *Service) storeListing(ctx context.Context, l lease, known map[string]knownCluster, rows []snapshot, found absence) error {
	rows = inStoringOrder(rows)
	moving, unhealthy := false, false
	var write []snapshot // rows that differ
	var written []string // their clusters
	look := slices.Clone(found.gone)
	listed := map[string]snapshot{}
	for _, row := range rows {
		k, old := known[row.clusterID]
		changed := !old || row.differs(k)
		if row.phase.Moving() && (changed || !elapsed(l.StartedAt, k.ChangedAt, movingTime)) {
			moving = true
		}
		unhealthy = unhealthy || row.phase.Troubled()
		if changed {
			write = append(write, row)
			written = append(written, row.clusterID)
		}
		if changed || k.Unjudged {
			listed[row.clusterID] = row
			look = append(look, row.clusterID)
		}
	}
	for id, k := range known {
		if _, there := listed[id]; k.Unjudged && !there && k.GoneAt != nil {
			look = append(look, id)
		}
	}
	newlyMissing := slices.DeleteFunc(found.missing, func(id string) bool { return known[id].MissingAt != nil })
	visible := len(write)+len(found.gone)+len(newlyMissing) > 0 || l.Failures > 0 || l.OKAt == nil || l.Vanished != found.vanished || l.Told != found.unread
	interval := s.cfg.PollMax
	if moving {
		interval = s.cfg.PollMin
	}
	if len(write) > manyRows {
		stored, err := s.takeTurn(ctx)
		if err != nil {
			return err
		}
		defer stored()
	}
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	end := refreshEnd{unhealthy: unhealthy, vanished: found.vanished, unread: found.unread, interval: interval}
	if !visible && len(look) == 0 { // mostly everything is as it was, and that is one statement
		return s.endRefresh(ctx, s.cfg.DB, l, end)
	}
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, kindClusters, l); err != nil {
			return err
		}
		judged, err := s.judge(ctx, tx, l, look, listed)
		if err != nil {
			return err
		}
		batch, err := l.batch(write, found.gone, newlyMissing, judged)
		if err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("storing clusters: %w", err)
		}
		if err := s.endRefresh(ctx, tx, l, end); err != nil {
			return err
		}
		if visible {
			if err := notifyClusters(ctx, tx, l.AccountID, slices.Concat(written, found.gone, newlyMissing)...); err != nil {
				return err
			}
		}
		return s.recordOutside(ctx, tx, l, ActClusterChangedOutside, judged.events)
	})
	if err != nil {
		return fmt.Errorf("storing the listing: %w", err)
	}
	return nil
}

// refreshEnd is what a refresh that went well leaves of the account.
type refreshEnd struct {
	unhealthy bool
	vanished  int
	unread    string
	interval  time.Duration // until the next, unless something was done there
}

// endRefresh stores that a refresh went well, and gives its lease back. errLeaseLost when it is not held any more, or the account is
// on another API than the one that was read.
func (s *Service) endRefresh(ctx context.Context, db executor, l lease, end refreshEnd) error {
	stored, err := db.Exec(ctx, `
		WITH there AS MATERIALIZED (SELECT FROM accounts WHERE id = $1 AND generation = $9 FOR KEY SHARE)
		UPDATE refresh SET log_seq = $7, unhealthy = $8, lease_until = NULL, lease_owner = '', ok_at = $2, failures = 0, error = $6, vanished = $3,
			next_at = clock_timestamp() + CASE WHEN busy_until > clock_timestamp() AND busy_until < clock_timestamp() + interval '5 minutes' THEN $4::interval ELSE $5::interval END
		WHERE EXISTS (SELECT FROM there) AND account_id = $1 AND kind = 'clusters' AND lease_owner = $10 AND lease_until > clock_timestamp()`,
		l.AccountID, l.StartedAt, end.vanished, s.spread(min(s.cfg.PollMin, end.interval)), s.spread(end.interval), end.unread, l.Head, end.unhealthy,
		l.Generation, l.Owner)
	if err != nil {
		return fmt.Errorf("storing the refresh: %w", err)
	}
	if stored.RowsAffected() == 0 {
		return errLeaseLost
	}
	return nil
}

// batch are the statements that store a listing.
func (l lease) batch(write []snapshot, gone, newlyMissing []string, judged judgement) (*pgx.Batch, error) {
	batch := &pgx.Batch{}
	written := make(map[string]bool, len(write))
	for _, row := range write {
		written[row.clusterID] = true
	}
	for rows := range slices.Chunk(write, upsertAtOnce) {
		arguments, err := upsertArguments(l.AccountID, rows, l.StartedAt, false, judged.open)
		if err != nil {
			return nil, err
		}
		batch.Queue(upsertClusters, arguments...)
	}
	if len(gone) > 0 {
		batch.Queue(`
			UPDATE clusters SET gone_at = $3, missing_at = NULL, base = coalesce(base, raw), base_seq = coalesce(base_seq, $4)
			WHERE account_id = $1 AND cluster_id = ANY($2) AND gone_at IS NULL AND (written_at IS NULL OR written_at < $3 OR written_at > clock_timestamp() + interval '5 minutes')`,
			l.AccountID, gone, l.StartedAt, l.LogSeq)
	}
	if len(newlyMissing) > 0 {
		batch.Queue(`
			UPDATE clusters SET missing_at = $3, seen_at = greatest(seen_at, $4), base_seq = coalesce(base_seq, $5)
			WHERE account_id = $1 AND cluster_id = ANY($2) AND gone_at IS NULL AND missing_at IS NULL AND (written_at IS NULL OR written_at < $3 OR written_at > clock_timestamp() + interval '5 minutes')`,
			l.AccountID, newlyMissing, l.StartedAt, l.OKAt, l.LogSeq)
	}
	ended := slices.DeleteFunc(judged.ended, func(id string) bool { return written[id] }) // those have it
	if len(ended) > 0 {
		batch.Queue(`UPDATE clusters SET base = NULL, base_seq = NULL WHERE account_id = $1 AND cluster_id = ANY($2) AND base IS NOT NULL`, l.AccountID, ended)
	}
	return batch, nil
}

// holdLease locks the account's row and then that of its lease for a kind, in the order in which removing an account
// and moving it to another API take them. errLeaseLost when either is not there any more, or the
// account was moved.
func holdLease(ctx context.Context, tx pgx.Tx, kind string, l lease) error {
	moved, err := movedFrom(ctx, tx, l.AccountID, l.Generation)
	if errors.Is(err, ErrNotFound) || moved {
		return errLeaseLost
	}
	if err == nil {
		var held bool
		err = tx.QueryRow(ctx, `
			SELECT true FROM refresh WHERE account_id = $1 AND kind = $2 AND lease_owner = $3 AND lease_until > clock_timestamp() FOR UPDATE`,
			l.AccountID, kind, l.Owner).Scan(&held)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return errLeaseLost
	}
	if err != nil {
		return fmt.Errorf("holding the lease of %s: %w", kind, err)
	}
	return nil
}

// storeFailure stores why a refresh failed, and when to try again: twice as late after each
// failure, up to five minutes. What was known of the clusters stays.
func (s *Service) storeFailure(ctx context.Context, l lease, failure error) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, kindClusters, l); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE refresh SET lease_until = NULL, lease_owner = '', failed_at = clock_timestamp(), failures = failures + 1, error = $2,
				next_at = clock_timestamp() + $3::interval
			WHERE account_id = $1 AND kind = 'clusters'`,
			l.AccountID, cut(refreshWords(failure), maxSnapshotText), s.jittered(s.waitAfter(failure, l.Failures+1))); err != nil {
			return fmt.Errorf("storing the failure: %w", err)
		}
		return notifyClusters(ctx, tx, l.AccountID)
	})
	if err != nil {
		return fmt.Errorf("storing the failed refresh: %w", err)
	}
	return nil
}

// giveBack ends a lease that led to nothing. Another worker may take the account after a while; at once when that is 0.
func (s *Service) giveBack(ctx context.Context, l lease, after time.Duration) {
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	if _, err := s.cfg.DB.Exec(ctx, `
		UPDATE refresh SET lease_until = NULL, lease_owner = '', next_at = CASE WHEN $3::interval > '0' THEN clock_timestamp() + $3 ELSE next_at END
		WHERE account_id = $1 AND kind = 'clusters' AND lease_owner = $2`,
		l.AccountID, l.Owner, after); err != nil {
		s.refreshing.orphaned.Store(true)
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "lease not given back yet", slog.String("account", l.AccountID.String()), slog.Any("error", err))
	}
}

// waitAfter is how long to wait after so many failures in a row.
func (s *Service) waitAfter(failure error, failures int) time.Duration {
	wait, longest := s.cfg.PollMin, max(longestWait, s.cfg.PollMax)
	refused, upstream := cloudapi.AsError(failure)
	if upstream && (refused.Kind == cloudapi.Unauthenticated || refused.Kind == cloudapi.Forbidden) {
		wait = s.cfg.PollMax // a key that is refused is not soon accepted
	}
	for range min(failures, 30) {
		wait = min(2*wait, longest)
	}
	if upstream {
		wait = max(wait, min(refused.RetryAfter, longest))
	}
	return wait
}

// spread is an interval between refreshes: d, or up to a fifth less, so that accounts that were due at once are not so
// again. Never more: d is the longest that somebody configured, and what people wait for.
func (s *Service) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.2*s.refreshing.random()))
}

// jittered is a wait after something failed: d, a fifth less to a fifth more.
func (s *Service) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*s.refreshing.random()))
}

// refreshWords says for people why a refresh failed.
func refreshWords(err error) string {
	if refused, ok := cloudapi.AsError(err); ok {
		switch refused.Kind {
		case cloudapi.Unauthenticated:
			return "Qdrant Cloud refuses the key: " + refused.Public()
		case cloudapi.Forbidden:
			return "The key may not list clusters: " + refused.Public()
		}
		return refused.Public()
	}
	if unbelieved, ok := errors.AsType[*listingError](err); ok {
		return unbelieved.words
	}
	switch {
	case errors.Is(err, ErrAuditUnavailable):
		return "What was changed outside could not be recorded, so what was read was not stored."
	case errors.Is(err, vault.ErrSealed):
		return "The stored key does not open: it was not sealed by this installation."
	case errors.Is(err, ErrNotFound):
		return "The account has no key."
	case errors.Is(err, context.DeadlineExceeded): // upstream's is an error of cloudapi
		return "The console's database did not answer in time."
	}
	return "The console failed; its log tells more."
}

// forgetGone deletes the rows of clusters that have been gone for long.
func (s *Service) forgetGone(ctx context.Context) error {
	if _, err := s.cfg.DB.Exec(ctx, `DELETE FROM clusters WHERE gone_at < clock_timestamp() - $1::interval`, max(keptAfterGone, s.cfg.GoneFor)); err != nil {
		return fmt.Errorf("deleting clusters long gone: %w", err)
	}
	return nil
}
