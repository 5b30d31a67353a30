package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"

	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/cloudapi"
)

const (
	// steadyWorkers refresh accounts whose last refresh went well; troubledWorkers refresh the
	// others. An account that hangs takes a steady worker once, until its deadline, and never again
	// before it has answered.
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
	wake      chan struct{}  // something is due or a worker is free
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
	return nil
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
		if lost { // that a worker is free is no reason to ask a dead database more often
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
		s.metrics.refreshes.WithLabelValues("ok").Inc()
		return
	case errors.Is(err, errLeaseLost):
		return
	case ctx.Err() != nil:
		s.giveBack(ctx, l)
		return
	case errors.Is(err, errBusy):
		s.metrics.refreshes.WithLabelValues("busy").Inc()
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refresh put off", slog.String("account", l.AccountID.String()), slog.Any("error", err))
		s.giveBack(ctx, l)
		return
	}
	if conflict, disabled := errors.AsType[*ConflictError](err); disabled {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "refresh dropped", slog.String("account", l.AccountID.String()), slog.String("reason", conflict.Reason))
		s.giveBack(ctx, l)
		return
	}
	s.metrics.refreshes.WithLabelValues("failed").Inc()
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

// listClusters reads all pages of an account's listing, and tells apart what could not be read.
func listClusters(ctx context.Context, from cloud) ([]cloudapi.Cluster, []cloudapi.UnreadableCluster, error) {
	var all []cloudapi.Cluster
	var unreadable []cloudapi.UnreadableCluster
	at := map[string]int{}
	asked := map[string]bool{}
	size, token := 0, ""
	for range maxPages {
		page, err := from.ListClusters(ctx, token)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range page.Clusters {
			size += len(c.Raw)
			// A cluster that moves to a later page while the pages are read is listed twice; the later one is newer.
			if i, twice := at[c.ID]; twice {
				all[i] = c
				continue
			}
			at[c.ID] = len(all)
			all = append(all, c)
		}
		unreadable = append(unreadable, page.Unreadable...)
		if len(all)+len(unreadable) > maxListed || size > maxListingBytes {
			return nil, nil, &listingError{"Qdrant Cloud listed more clusters than the console takes."}
		}
		if page.Next == "" {
			return all, unreadable, nil
		}
		if asked[page.Next] {
			return nil, nil, &listingError{"Qdrant Cloud's list of clusters does not end: a page led back to an earlier one."}
		}
		asked[page.Next] = true
		token = page.Next
	}
	return nil, nil, &listingError{"Qdrant Cloud's list of clusters does not end."}
}

// knownCluster is what a refresh must know of a stored row.
type knownCluster struct {
	ClusterID string
	Phase     cloudapi.Phase
	Digest    []byte
	PackageID string
	Package   string
	RAMMiB    int64 `db:"ram_mib"`
	CPUMilli  int64 `db:"cpu_milli"`
	DiskMiB   int64 `db:"disk_mib"`
	ChangedAt time.Time
	WrittenAt *time.Time
	MissingAt *time.Time
	GoneAt    *time.Time
	Unjudged  bool // a difference of it is not judged yet
}

func (s *Service) knownClusters(ctx context.Context, accountID uuid.UUID) (map[string]knownCluster, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT cluster_id, phase, digest, package_id, package, ram_mib, cpu_milli, disk_mib, changed_at, written_at, missing_at, gone_at,
			base IS NOT NULL AS unjudged
		FROM clusters WHERE account_id = $1`, accountID)
	if err != nil {
		return nil, fmt.Errorf("reading known clusters: %w", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[knownCluster])
	if err != nil {
		return nil, fmt.Errorf("reading known clusters: %w", err)
	}
	known := make(map[string]knownCluster, len(stored))
	for _, k := range stored {
		known[k.ClusterID] = k
	}
	return known, nil
}

// absence is what became of clusters that were known and are not in a complete listing.
type absence struct {
	gone     []string           // upstream says not found
	missing  []string           // nothing is concluded
	present  []cloudapi.Cluster // upstream still has them: the listing left them out
	vanished int                // so many are missing at once that something else must be wrong
	unread   string             // what of the listing could not be read, in words for people; empty: nothing
}

// concludeMissing asks upstream for each cluster that is missing, but for those that were listed and
// could not be read. When more than half of the
// account's clusters, and at least three, are missing at once, it concludes nothing. Clusters on
// their way out do not count.
func (s *Service) concludeMissing(ctx context.Context, up *link, l lease, listed []cloudapi.Cluster, unreadable []cloudapi.UnreadableCluster, known map[string]knownCluster) (absence, error) {
	in := make(map[string]bool, len(listed))
	for _, c := range listed {
		in[plain(c.ID)] = true
	}
	var found absence
	for _, c := range unreadable {
		if k, old := known[plain(c.ID)]; old && k.GoneAt == nil && !in[plain(c.ID)] {
			in[plain(c.ID)] = true
			found.missing = append(found.missing, plain(c.ID))
		}
	}
	if len(unreadable) > 0 {
		found.unread = cut(fmt.Sprintf("The console could not read %d of the clusters that Qdrant Cloud listed: %s.", len(unreadable), unreadable[0].Reason), maxSnapshotText)
	}
	var expected, unexpected []string
	alive := 0
	for id, k := range known {
		if k.GoneAt != nil {
			continue
		}
		alive++
		if in[id] || k.WrittenAt != nil && !k.WrittenAt.Before(l.StartedAt) && k.WrittenAt.Before(l.StartedAt.Add(clockAhead)) {
			continue
		}
		if k.Phase == cloudapi.PhaseDeleting {
			expected = append(expected, id)
		} else {
			unexpected = append(unexpected, id)
		}
	}
	slices.Sort(expected)
	slices.Sort(unexpected)
	if len(unexpected) >= 3 && 2*len(unexpected) > alive {
		found.vanished = len(unexpected)
		found.missing = append(found.missing, unexpected...)
		unexpected = nil
	}
	for i, id := range slices.Concat(expected, unexpected) {
		if i >= maxLookups {
			found.missing = append(found.missing, id)
			continue
		}
		c, err := up.cloud.Cluster(ctx, id)
		if err == nil {
			found.present = append(found.present, c)
			continue
		}
		if ctx.Err() != nil {
			return absence{}, err
		}
		if refused, ok := cloudapi.AsError(err); ok && refused.Kind == cloudapi.NotFound {
			found.gone = append(found.gone, id)
		} else {
			found.missing = append(found.missing, id)
		}
	}
	return found, nil
}

// snapshots makes rows of clusters, with the sizes of their packages where the catalogue is needed.
func (s *Service) snapshots(ctx context.Context, up *link, clusters []cloudapi.Cluster, known map[string]knownCluster) []snapshot {
	ctx, cancel := context.WithTimeout(ctx, catalogueTimeout)
	defer cancel()
	rows := make([]snapshot, 0, len(clusters))
	for _, c := range clusters {
		row := snapshotOf(c, nodeSize{})
		k, old := known[row.clusterID]
		if row.packageID != "" && (!old || k.Package == "" || k.PackageID != row.packageID || !bytes.Equal(k.Digest, row.digest)) {
			at := up.account.packageShelf(packagePlace(c.CloudProvider, c.Region))
			if booked, ok := s.refreshing.catalogue.size(ctx, up.cloud, at, c.Configuration.PackageID, s.cfg.Now, s.cfg.Logger); ok {
				row = snapshotOf(c, booked)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// differs reports whether the row is worth writing over what is known.
func (sn snapshot) differs(k knownCluster) bool {
	return k.GoneAt != nil || k.MissingAt != nil || !bytes.Equal(k.Digest, sn.digest) ||
		sn.size.name != "" && sn.size.name != k.Package ||
		sn.size.ramMiB != 0 && sn.size.ramMiB != k.RAMMiB || sn.size.cpuMilli != 0 && sn.size.cpuMilli != k.CPUMilli || sn.size.diskMiB != 0 && sn.size.diskMiB != k.DiskMiB
}

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

// giveBack ends a lease that led to nothing, so that another worker may take the account at once.
func (s *Service) giveBack(ctx context.Context, l lease) {
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	if _, err := s.cfg.DB.Exec(ctx, `
		UPDATE refresh SET lease_until = NULL, lease_owner = '' WHERE account_id = $1 AND kind = 'clusters' AND lease_owner = $2`,
		l.AccountID, l.Owner); err != nil {
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
