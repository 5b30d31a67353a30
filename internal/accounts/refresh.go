package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"

	"quartermaster/internal/cloudapi"
)

const (
	// steadyWorkers refresh accounts whose last refresh went well; troubledWorkers refresh the
	// others. An account that hangs takes a steady worker once, for yieldAfter where there is a place among the slow ones, and never
	// again before it has answered.
	steadyWorkers   = 6
	troubledWorkers = 2
	// RefreshWorkers is how many accounts that are well a process refreshes at once, as long as they answer quickly.
	RefreshWorkers = steadyWorkers
	// preparedWorkers have their account and its key in hand and wait for a place to ask upstream, so that none of those
	// stands empty meanwhile; after prepareTimeout they leave the account to others.
	preparedWorkers = 6
	prepareTimeout  = 5 * time.Second
	// A refresh that is not answered within yieldAfter gives its place to another one, as long as no more than
	// slowWorkers do: so the few that hang take no time from those that answer. One that was answered gives it too, while
	// no more than storingWorkers store: upstream need not wait for Postgres.
	yieldAfter     = 60 * time.Millisecond
	slowWorkers    = 16
	storingWorkers = 4

	// readTimeout bounds what one refresh does upstream, all pages together; turnWait how long it waits for its turn
	// to store much, and snapshotTimeout its transaction. The lease is longer than all, so that only a dead worker loses it.
	readTimeout     = 40 * time.Second
	turnWait        = 10 * time.Second
	snapshotTimeout = 10 * time.Second
	leaseTime       = prepareTimeout + readTimeout + turnWait + snapshotTimeout + 5*time.Second
	// A listing is large when it has more bytes than largeAnswer, or when more than manyRows of it are to be stored. Such
	// ones take turns; see heavyTurns.
	largeAnswer = 64 << 10
	manyRows    = 20
	// upsertAtOnce is how many rows one statement writes.
	upsertAtOnce = 100
	// probeAgainTimeout bounds the look at what the key may do, which follows now and then.
	probeAgainTimeout = 5 * time.Second

	// busyTime is how long an account is refreshed at the shortest interval after an act.
	busyTime = 30 * time.Second
	// movingTime is how long a cluster that says it is moving, and does not change, makes its
	// account busy.
	movingTime = 15 * time.Minute
	// longestWait bounds the wait after failures.
	longestWait = 5 * time.Minute

	// Bounds on a listing. Past them it is not believed.
	maxPages        = 400
	maxListed       = 100_000
	maxListingBytes = 128 << 20
	// maxLookups bounds the clusters a refresh asks for one by one because they are missing; the
	// rest waits for the next refresh.
	maxLookups = 20

	// keptAfterGone is how long the row of a cluster that is gone stays.
	keptAfterGone = 30 * 24 * time.Hour
)

// refreshing is the work of keeping snapshots fresh.
type refreshing struct {
	random    func() float64 // in [0, 1), for jitter
	wake      chan struct{}  // something is due or a place is
	working   sync.Map       // accounts a worker of this process refreshes now
	settleOwn time.Duration  // see the constant
	behind    atomic.Bool    // clusters of accounts that are well are due, and there is no worker for them
	orphaned  atomic.Bool    // a lease of this process may be held by no worker: giving it back failed
	catalogue catalogue
	heavy     chan struct{} // holds one for each large listing that is being decoded or stored
	turnWait  time.Duration // see the constant
	alerts    *rate.Limiter // clusters whose alerts are read, of all accounts

	largeLists chan struct{} // holds one for each account whose list of backups is large
}

// lease is the right to refresh one account, until a time in the database.
type lease struct {
	AccountID uuid.UUID
	Owner     string
	Failures  int        // in a row before this one
	Vanished  int        // as the last refresh left it
	Told      string     // what it told people that went wrong
	OKAt      *time.Time // nil: never
	StartedAt time.Time  // the database's clock; everything read is read after it
	LogSeq    *int64     // the log's last event when the last complete read began; nil: there was none that compared
	Head      int64      // the same of this one: what of ours ended by then, ended before the read

	Generation cloudapi.Generation // of the account when it was leased; what is read through another API is not stored

	course *course // among the workers; nil: of one that needs no place
}

// errLeaseLost ends a refresh whose account was removed, or whose lease another worker has taken.
var errLeaseLost = errors.New("the lease is lost")

// listingError is a listing that is not believed, in words for people.
type listingError struct{ words string }

func (e *listingError) Error() string { return e.words }

// scheduleRefresh makes a new or enabled account due at once, in the caller's transaction.
func (s *Service) scheduleRefresh(ctx context.Context, tx pgx.Tx, accountID uuid.UUID) error {
	if _, err := tx.Exec(ctx, `
		INSERT INTO refresh (account_id, kind, created_at, next_at) VALUES ($1, 'clusters', clock_timestamp(), clock_timestamp())
		ON CONFLICT ON CONSTRAINT refresh_pkey DO UPDATE SET next_at = excluded.next_at, failures = 0`, accountID); err != nil {
		return fmt.Errorf("scheduling the refresh: %w", err)
	}
	return s.planKindsOf(ctx, tx, uuid.NullUUID{UUID: accountID, Valid: true})
}

// refreshSoon makes an account due now and keeps it busy for half a minute, because an act was
// done there. A failure is logged: the account is refreshed in its turn.
func (s *Service) refreshSoon(ctx context.Context, accountID uuid.UUID) {
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	if _, err := s.cfg.DB.Exec(ctx, `
		UPDATE refresh SET next_at = least(next_at, clock_timestamp()), busy_until = clock_timestamp() + $2::interval
		WHERE account_id = $1 AND kind = 'clusters'`, accountID, busyTime); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refresh not brought forward", slog.String("account", accountID.String()), slog.Any("error", err))
		return
	}
	s.refreshing.nudge()
}

// nudge wakes the dispatcher.
func (r *refreshing) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// lease takes up to n accounts whose clusters are due; see leaseDue.
func (s *Service) lease(ctx context.Context, troubled bool, n int) ([]lease, error) {
	return s.leaseDue(ctx, kindClusters, s.cfg.Owner+"/", leaseClusters, troubled, n)
}

// leaseDue takes up to n accounts of which a kind is due and that no living worker holds. troubled chooses
// those whose last refresh failed, otherwise the others. What is due later, or leased longer, than can be
// is of a clock that was ahead: it is due. It finishes also when ctx ends meanwhile: a lease that the
// database grants and nobody hears of would keep the account from everybody.
func (s *Service) leaseDue(ctx context.Context, kind, owner, statement string, troubled bool, n int, more ...any) ([]lease, error) {
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	look := s.onScreen()
	rows, err := s.cfg.DB.Query(ctx, statement, append([]any{leaseTime, owner + s.newID().String(), troubled, n, 2 * max(longestWait, s.cfg.PollMax), kind,
		look.everything, nonNil(look.environments), nonNil(look.accounts)}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("leasing refreshes of %s: %w", kind, err)
	}
	leases, err := pgx.CollectRows(rows, pgx.RowToStructByName[lease])
	if err != nil {
		return nil, fmt.Errorf("leasing refreshes of %s: %w", kind, err)
	}
	return leases, nil
}

// What leaseDue does: of clusters, and of the other kinds, which need the account's clusters to have been read and $10, the
// generations that have the kind.
var (
	leaseClusters = leaseStatement("", "f.unhealthy", "true")
	leaseOther    = leaseStatement(`LEFT JOIN refresh w ON w.account_id = a.id AND w.kind = 'clusters'`,
		"coalesce(w.unhealthy, false)", "w.ok_at IS NOT NULL AND a.generation = ANY($10)")
)

func leaseStatement(join, unhealthy, condition string) string {
	return `
		UPDATE refresh r SET lease_until = clock_timestamp() + $1::interval, lease_owner = $2
		FROM (
			SELECT f.account_id, f.kind, a.generation FROM refresh f JOIN accounts a ON a.id = f.account_id ` + join + `
			WHERE a.enabled AND f.kind = $6 AND (f.failures > 0) = $3 AND ` + condition + `
				AND (f.next_at <= clock_timestamp() OR f.next_at > clock_timestamp() + $5::interval)
				AND (f.lease_until IS NULL OR f.lease_until < clock_timestamp() OR f.lease_until > clock_timestamp() + 2 * $1::interval)
			ORDER BY ` + turn("f", unhealthy, "$7", "$8", "$9") + ` LIMIT $4 FOR UPDATE OF f SKIP LOCKED
		) due
		WHERE r.account_id = due.account_id AND r.kind = due.kind
		RETURNING r.account_id, r.lease_owner AS owner, r.failures, r.vanished, r.error AS told, r.ok_at, clock_timestamp() AS started_at,
			r.log_seq, (SELECT h.seq FROM audit.head h) AS head, due.generation`
}

// refreshLoop gives accounts whose clusters are due to workers until ctx ends, and returns when all have ended.
func (s *Service) refreshLoop(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	prepared, troubled := make(chan struct{}, preparedWorkers), make(chan struct{}, troubledWorkers)
	steady, slow, storing := make(chan struct{}, steadyWorkers), make(chan struct{}, slowWorkers), make(chan struct{}, storingWorkers)
	well, failing := stages{asking: steady, slow: slow, storing: storing}, stages{slow: slow, storing: storing}
	dispatch := func(slots chan struct{}, then stages, troubled bool) error {
		free := cap(slots) - len(slots)
		if free == 0 {
			return nil
		}
		leases, err := s.lease(ctx, troubled, free)
		if err != nil {
			s.refreshing.orphaned.Store(true) // the answer may have been lost, not the lease
			return err
		}
		for _, l := range leases {
			slots <- struct{}{}
			s.refreshing.working.Store(l.AccountID, l.Owner)
			l.course = then.begin(slots, s.refreshing.nudge)
			running.Go(func() {
				defer l.course.end()
				defer s.refreshing.working.CompareAndDelete(l.AccountID, l.Owner)
				s.refresh(ctx, l)
			})
		}
		return nil
	}
	s.rounds(ctx, kindClusters, s.refreshing.wake, func(tick time.Duration) (time.Duration, error) {
		if err := errors.Join(s.takeBack(ctx), dispatch(prepared, well, false), dispatch(troubled, failing, true)); err != nil {
			return 0, err
		}
		return s.untilDue(ctx, tick), nil
	})
}

// rounds has what is due of a kind given to workers until ctx ends: when wake says that a place is free or something is due, and after
// the wait that a round returns, which is given the longest. When the database does not answer it waits longer and longer, whatever is
// free, and goes on when it answers again.
func (s *Service) rounds(ctx context.Context, kind string, wake <-chan struct{}, round func(tick time.Duration) (time.Duration, error)) {
	tick := max(min(s.cfg.PollMin/2, time.Second), 20*time.Millisecond)
	wait, lost := tick, false
	for ctx.Err() == nil {
		next, err := round(tick)
		switch {
		case err == nil:
			wait, lost = next, false
		case ctx.Err() != nil:
			return
		case !lost:
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refreshes not leased", slog.String("kind", kind), slog.Any("error", err))
			wait, lost = 2*tick, true
		default:
			wait = min(2*wait, 10*time.Second)
		}
		free := wake
		if lost { // that a place is free is no reason to ask a dead database more often
			free = nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-free:
		}
		timer.Stop()
	}
}

// untilDue is how long no clusters become due, at most as long as given: other replicas bring refreshes forward without
// telling this one. It also finds out whether clusters of accounts that are well wait for a worker.
func (s *Service) untilDue(ctx context.Context, most time.Duration) time.Duration {
	var next *time.Duration
	var behind bool
	err := s.cfg.DB.QueryRow(ctx, `
		SELECT (SELECT next_at - clock_timestamp() FROM refresh WHERE kind = 'clusters' AND next_at > clock_timestamp() ORDER BY next_at LIMIT 1),
			EXISTS (SELECT FROM refresh f JOIN accounts a ON a.id = f.account_id
				WHERE a.enabled AND f.kind = 'clusters' AND f.failures = 0 AND f.next_at <= clock_timestamp() AND coalesce(f.lease_until < clock_timestamp(), true))`).Scan(&next, &behind)
	if err != nil { // Postgres does not answer, which leasing finds out
		return most
	}
	s.refreshing.behind.Store(behind)
	if next == nil {
		return most
	}
	return min(max(*next, time.Millisecond), most)
}

// takeBack ends the leases of this process that no worker holds. A database that was away for a
// moment keeps leases which could not be given back; their accounts need not wait until those expire.
func (s *Service) takeBack(ctx context.Context) error {
	if !s.refreshing.orphaned.Swap(false) {
		return nil
	}
	held := []uuid.UUID{}
	s.refreshing.working.Range(func(account, _ any) bool {
		held = append(held, account.(uuid.UUID))
		return true
	})
	if _, err := s.cfg.DB.Exec(ctx, `UPDATE refresh SET lease_until = NULL, lease_owner = '' WHERE starts_with(lease_owner, $1) AND account_id <> ALL($2)`,
		s.cfg.Owner+"/", held); err != nil {
		s.refreshing.orphaned.Store(true)
		return fmt.Errorf("taking back leases: %w", err)
	}
	return nil
}

// refresh reads the clusters of a leased account and stores them, or stores why that failed. It
// gives the lease back in every case; where that fails takeBack does.
func (s *Service) refresh(ctx context.Context, l lease) {
	err := s.traced(ctx, kindClusters, l, func(ctx context.Context) error { return s.refreshClusters(ctx, l) })
	switch {
	case err == nil:
		s.metrics.refreshes.WithLabelValues(kindClusters, "ok").Inc()
		return
	case errors.Is(err, errLeaseLost):
		return
	case ctx.Err() != nil:
		s.giveBack(ctx, l, 0)
		return
	case errors.Is(err, errBusy):
		s.metrics.refreshes.WithLabelValues(kindClusters, "busy").Inc()
		s.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "refresh put off", slog.String("account", l.AccountID.String()), slog.Any("error", err))
		s.giveBack(ctx, l, s.jittered(s.cfg.PollMin)) // behind those that were not tried
		return
	}
	if conflict, disabled := errors.AsType[*ConflictError](err); disabled {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "refresh dropped", slog.String("account", l.AccountID.String()), slog.String("reason", conflict.Reason))
		s.giveBack(ctx, l, 0)
		return
	}
	s.metrics.refreshes.WithLabelValues(kindClusters, "failed").Inc()
	s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refresh failed", slog.String("account", l.AccountID.String()),
		slog.Int("failures", l.Failures+1), slog.Any("error", err))
	if err := s.storeFailure(ctx, l, err); err != nil && !errors.Is(err, errLeaseLost) {
		s.refreshing.orphaned.Store(true)
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "failed refresh not stored", slog.String("account", l.AccountID.String()), slog.Any("error", err))
	}
}

// refreshClusters reads everything first and stores it in one transaction, so that half a listing
// changes nothing.
func (s *Service) refreshClusters(ctx context.Context, l lease) (err error) {
	defer func() {
		// One account's nonsense must not end the refreshes of the others.
		if broken := recover(); broken != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "refresh panicked", slog.String("account", l.AccountID.String()),
				slog.Any("panic", broken), slog.String("stack", string(debug.Stack())))
			err = &listingError{"The console failed on the answer; its log tells more."}
		}
	}()
	preparing, prepared := context.WithTimeout(ctx, prepareTimeout)
	defer prepared()
	up, err := s.connectTo(preparing, l.AccountID, l.Generation, inBackground, s.newID().String())
	if err != nil {
		return err
	}
	if err := l.course.ask(preparing); err != nil {
		return err
	}
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	listed, unreadable, err := listClusters(reading, up.cloud)
	s.noteKey(reading, up, err)
	if err != nil {
		return err
	}
	known, err := s.knownClusters(reading, l.AccountID)
	if err != nil {
		return err
	}
	found, err := s.concludeMissing(reading, up, l, listed, unreadable, known)
	if err != nil {
		return err
	}
	rows := s.snapshots(reading, up, append(listed, found.present...), known)
	l.course.answered()
	if err := s.storeListing(ctx, l, known, rows, found); err != nil {
		return err
	}
	// After the store, so that it delays no snapshot.
	probing, cancel := context.WithTimeout(ctx, probeAgainTimeout)
	defer cancel()
	s.probeAgain(probing, up)
	return nil
}
