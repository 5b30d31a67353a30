package accounts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/cloudapi"
)

// stored reads the names of an account's clusters that are not gone, sorted.
func (r *rig) stored(t *testing.T, id uuid.UUID) []string {
	t.Helper()
	names := value[[]string](t, r, `SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM clusters WHERE account_id = $1 AND gone_at IS NULL`, id)
	return names
}

func TestRefreshStoresAllPages(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(7)
	at.set(func(a *scriptedAccount) { a.pageSize = 3 })
	r.refresh(t, r.svc, id)
	if n := len(r.stored(t, id)); n != 7 {
		t.Errorf("%d clusters, want 7", n)
	}
	if lists, _ := at.seen(); lists != 3 {
		t.Errorf("%d pages asked for, want 3", lists)
	}
	sync := r.sync(t, r.svc, id)
	if sync.OKAt == nil || sync.Stale || sync.Error != "" || sync.FailedAt != nil {
		t.Errorf("sync: %+v", sync)
	}
	if n := value[int](t, r, `SELECT count(*) FROM audit.events`); n != 0 {
		t.Errorf("a job's read wrote %d events", n)
	}
}

func TestUnchangedRowsAreNotWritten(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(3)
	r.refresh(t, r.svc, id)
	versions := func() []string {
		return value[[]string](t, r, `SELECT array_agg(xmin::text ORDER BY name) FROM clusters`)
	}
	before := versions()
	at.set(func(a *scriptedAccount) { a.clusters[1].Phase = "CLUSTER_PHASE_SCALING" })
	r.refresh(t, r.svc, id)
	after := versions()
	if before[0] != after[0] || before[2] != after[2] {
		t.Error("a row that did not change was written")
	}
	if before[1] == after[1] {
		t.Error("the row that changed was not written")
	}
	first, err := r.svc.firstClusters(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if ok := r.sync(t, r.svc, id).OKAt; !first[0].SeenAt.Equal(*ok) {
		t.Errorf("an unchanged row was seen at %v, the account at %v", first[0].SeenAt, *ok)
	}
}

func TestHalfAListingChangesNothing(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(6)
	r.refresh(t, r.svc, id)
	before := r.stored(t, id)
	for name, broken := range map[string]func(*scriptedAccount){
		"page 2 fails":      func(a *scriptedAccount) { a.pageSize, a.failPage = 2, 2 },
		"the token repeats": func(a *scriptedAccount) { a.pageSize, a.failPage, a.repeat = 2, 0, true },
		"a cluster of another": func(a *scriptedAccount) {
			a.repeat = false
			a.clusters[5].Extra = map[string]any{"accountId": uuid.NewString()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			at.set(func(a *scriptedAccount) {
				a.failPage, a.repeat, a.clusters[5].Extra = 0, false, nil
				a.clusters[0].Name = "renamed"
				broken(a)
			})
			r.refresh(t, r.svc, id)
			if diff := cmp.Diff(before, r.stored(t, id)); diff != "" {
				t.Errorf("the snapshot changed (-before +after):\n%s", diff)
			}
			sync := r.sync(t, r.svc, id)
			if !sync.Stale || sync.Error == "" || sync.FailedAt == nil {
				t.Errorf("sync: %+v", sync)
			}
			rows, err := r.svc.firstClusters(t.Context(), id)
			if err != nil || !rows[0].Stale {
				t.Errorf("rows are not marked stale: %v", err)
			}
		})
	}
}

// TestOneUnreadableClusterHidesNoOther: the others are refreshed, the unreadable one stays as it was
// last seen and is asked for by nobody, and the account says so until it can be read again.
func TestOneUnreadableClusterHidesNoOther(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(3)
	r.refresh(t, r.svc, id)
	for name, extra := range map[string]map[string]any{
		"with an id":    {"x": nested(100)},
		"without an id": {"id": ""},
	} {
		at.set(func(a *scriptedAccount) { a.clusters[0].Name, a.clusters[2].Extra = "renamed "+name, extra })
		r.refresh(t, r.svc, id)
		sync := r.sync(t, r.svc, id)
		if sync.Stale || sync.FailedAt != nil || !strings.Contains(sync.Error, "could not read 1 of the clusters") {
			t.Errorf("%s: sync %+v", name, sync)
		}
		if names := r.stored(t, id); len(names) != 3 || !slices.Contains(names, "renamed "+name) {
			t.Errorf("%s: stored %q", name, names)
		}
	}
	at.set(func(a *scriptedAccount) { a.clusters[2].Extra = map[string]any{"x": nested(100)} })
	r.refresh(t, r.svc, id)
	rows, err := r.svc.firstClusters(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Stale != (row.Name == "cluster-002") {
			t.Errorf("%s is stale: %v", row.Name, row.Stale)
		}
	}
	heard := r.hears(t)
	r.refresh(t, r.svc, id)
	if said := heard(); len(said) != 0 {
		t.Errorf("pages are told to look again, and nothing has changed: %q", said)
	}
	at.set(func(a *scriptedAccount) { a.clusters[2].Extra = nil })
	r.refresh(t, r.svc, id)
	if sync := r.sync(t, r.svc, id); sync.Error != "" {
		t.Errorf("when all can be read again: %+v", sync)
	}
	if said := heard(); len(said) == 0 {
		t.Error("pages are not told that all can be read again")
	}
}

// hears listens to what is notified, and returns what takes it.
func (r *rig) hears(t testing.TB) func() []string {
	t.Helper()
	conn, err := r.db.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	if _, err := conn.Exec(t.Context(), `LISTEN quartermaster`); err != nil {
		t.Fatal(err)
	}
	return func() (said []string) {
		for {
			soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			told, err := conn.Conn().WaitForNotification(soon)
			cancel()
			if err != nil {
				return said
			}
			said = append(said, told.Payload)
		}
	}
}

// nested returns a value that is nested so deep.
func nested(depth int) any {
	var v any = "x"
	for range depth {
		v = []any{v}
	}
	return v
}

func TestRefusedKeyIsMarkedAndOthersGoOn(t *testing.T) {
	r := newRig(t)
	bad, atBad := r.account(t, "Bad", Production)
	good, atGood := r.account(t, "Good", Production)
	atBad.add(2)
	atGood.add(2)
	r.refresh(t, r.svc, bad, good)
	refused := func(id uuid.UUID) string {
		return value[string](t, r, `SELECT refused FROM management_keys WHERE account_id = $1`, id)
	}

	atBad.set(func(a *scriptedAccount) { a.status = http.StatusUnauthorized })
	atGood.set(func(a *scriptedAccount) { a.clusters[0].Name = "changed" })
	r.refresh(t, r.svc, bad, good)
	if refused(bad) != "upstream says 401" || refused(good) != "" {
		t.Errorf("refused: bad %q, good %q", refused(bad), refused(good))
	}
	if got := r.sync(t, r.svc, bad).Error; got != "Qdrant Cloud refuses the key: upstream says 401" {
		t.Errorf("error %q", got)
	}
	if !slices.Contains(r.stored(t, good), "changed") || len(r.stored(t, bad)) != 2 {
		t.Error("the other account was not refreshed, or the known clusters were lost")
	}
	wait := value[float64](t, r, `SELECT extract(epoch FROM next_at - now())::float8 FROM refresh WHERE account_id = $1 AND kind = 'clusters'`, bad)
	if wait < 60 || wait > 360 {
		t.Errorf("a refused key is tried again after %.0f s", wait)
	}

	atBad.set(func(a *scriptedAccount) { a.status = 0 })
	r.refresh(t, r.svc, bad)
	if sync := r.sync(t, r.svc, bad); refused(bad) != "" || sync.Error != "" || sync.Stale {
		t.Errorf("after it works again: refused %q, %+v", refused(bad), sync)
	}
}

func TestRefreshLooksAtWhatTheKeyMayDo(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	r.refresh(t, r.svc, id)
	got := value[[]string](t, r, `SELECT permissions FROM management_keys WHERE account_id = $1`, id)
	if diff := cmp.Diff([]string{"read:backups", "read:clusters"}, got); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
}

func TestFailuresBackOff(t *testing.T) {
	s := New(Config{PollMin: 2 * time.Second, PollMax: time.Minute})
	unavailable := &cloudapi.Error{Kind: cloudapi.Unavailable}
	for failures, want := range map[int]time.Duration{1: 4 * time.Second, 2: 8 * time.Second, 3: 16 * time.Second, 20: 5 * time.Minute, 1 << 30: 5 * time.Minute} {
		if got := s.waitAfter(unavailable, failures); got != want {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
	asked := &cloudapi.Error{Kind: cloudapi.RateLimited, RetryAfter: 42 * time.Second}
	if got := s.waitAfter(fmt.Errorf("listing: %w", asked), 1); got != 42*time.Second {
		t.Errorf("upstream asked for 42 s, waits %v", got)
	}
	asked.RetryAfter = 24 * time.Hour
	if got := s.waitAfter(asked, 1); got != 5*time.Minute {
		t.Errorf("upstream asked for a day, waits %v", got)
	}
	for _, at := range []float64{0, 0.5, 0.999} {
		s.refreshing.random = func() float64 { return at }
		if got := s.spread(time.Minute); got < 48*time.Second || got > time.Minute {
			t.Fatalf("a refresh a minute apart is %v apart", got)
		}
		if got := s.jittered(time.Minute); got < 48*time.Second || got > 72*time.Second {
			t.Errorf("jitter %v", got)
		}
	}
}

func TestIntervalFollowsWhatHappens(t *testing.T) {
	r := newRig(t)
	r.svc.refreshing.random = func() float64 { return 0.9 }
	id, at := r.account(t, "One", Production)
	at.add(2)
	next := func() float64 {
		return value[float64](t, r, `SELECT extract(epoch FROM next_at - now())::float8 FROM refresh WHERE kind = 'clusters'`)
	}
	r.refresh(t, r.svc, id)
	if n := next(); n < 55 || n > 61 {
		t.Errorf("quiet: next in %.1f s, want a minute", n)
	}
	at.set(func(a *scriptedAccount) { a.clusters[0].Phase = "CLUSTER_PHASE_SCALING" })
	r.refresh(t, r.svc, id)
	if n := next(); n > 2.1 {
		t.Errorf("moving: next in %.1f s, want 2", n)
	}
	r.exec(t, `UPDATE clusters SET changed_at = now() - interval '16 minutes'`)
	r.refresh(t, r.svc, id)
	if n := next(); n < 55 {
		t.Errorf("moving for 16 minutes without a change: next in %.1f s, want a minute", n)
	}
	r.svc.refreshSoon(t.Context(), id)
	if n := next(); n > 0 {
		t.Errorf("after an act: next in %.1f s, want now", n)
	}
	r.refresh(t, r.svc, id)
	if n := next(); n > 2.1 {
		t.Errorf("within 30 s of an act: next in %.1f s, want 2", n)
	}
	r.exec(t, `UPDATE refresh SET busy_until = now() - interval '1 second'`)
	r.refresh(t, r.svc, id)
	if n := next(); n < 55 {
		t.Errorf("30 s after an act: next in %.1f s, want a minute", n)
	}
}

func TestTwoReplicasNeverRefreshAnAccountAtOnce(t *testing.T) {
	r := newRig(t)
	var accounts []*scriptedAccount
	var ids []uuid.UUID
	for i := range 6 {
		id, at := r.account(t, fmt.Sprint("Account ", i), Production)
		at.add(2)
		accounts, ids = append(accounts, at), append(ids, id)
	}
	replicas := []*Service{r.replica(t, nil), r.replica(t, nil), r.replica(t, nil)}
	total := 0
	var mu sync.Mutex
	for range 5 {
		r.exec(t, `UPDATE refresh SET next_at = now()`)
		var running sync.WaitGroup
		for _, s := range replicas {
			running.Go(func() {
				n, err := s.refreshOnce(within(t))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += n
			})
		}
		running.Wait()
	}
	if total != 5*len(ids) {
		t.Errorf("%d refreshes, want %d", total, 5*len(ids))
	}
	for i, at := range accounts {
		r.up.mu.Lock()
		if at.most != 1 || at.lists != 5 {
			t.Errorf("account %d: %d listings, at most %d at once; want 5 and 1", i, at.lists, at.most)
		}
		r.up.mu.Unlock()
	}
}

func TestLeasesNobodyHoldsAreTakenBack(t *testing.T) {
	r := newRig(t)
	lost, at := r.account(t, "One", Production)
	at.add(1)
	busy, at := r.account(t, "Two", Production)
	at.add(1)
	far, at := r.account(t, "Three", Production)
	at.add(1)
	r.exec(t, `UPDATE refresh SET next_at = clock_timestamp() + interval '1 minute' WHERE account_id = $1`, far)
	if leases, err := r.svc.lease(t.Context(), false, 2); err != nil || len(leases) != 2 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	r.exec(t, `UPDATE refresh SET lease_until = clock_timestamp() + interval '1 minute', lease_owner = 'somebody else/1' WHERE account_id = $1`, far)
	leased := func(id uuid.UUID) bool {
		return value[bool](t, r, `SELECT lease_until IS NOT NULL FROM refresh WHERE account_id = $1 AND kind = 'clusters'`, id)
	}
	if err := r.svc.takeBack(t.Context()); err != nil || !leased(lost) {
		t.Fatalf("a lease was taken back without a reason, %v", err)
	}

	r.svc.refreshing.working.Store(busy, "")
	r.svc.refreshing.orphaned.Store(true)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.svc.takeBack(ended); err == nil {
		t.Error("no error without a database")
	}
	if err := r.svc.takeBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if leased(lost) || !leased(busy) || !leased(far) {
		t.Errorf("leased: the lost one %t, the busy one %t, another process's %t", leased(lost), leased(busy), leased(far))
	}
	if n, err := r.replica(t, nil).refreshOnce(t.Context()); n != 1 || err != nil {
		t.Errorf("%d accounts refreshed, %v; want the one that was lost", n, err)
	}
}

func TestLeaseOfADeadWorkerExpires(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	dead, err := r.svc.lease(t.Context(), false, 1)
	if err != nil || len(dead) != 1 {
		t.Fatalf("%d leases, %v", len(dead), err)
	}
	other := r.replica(t, nil)
	if n, err := other.refreshOnce(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d accounts refreshed while leased, %v", n, err)
	}
	r.exec(t, `UPDATE refresh SET lease_until = now() - interval '1 second'`)
	if n, err := other.refreshOnce(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d accounts refreshed after the lease expired, %v", n, err)
	}
	// The dead worker comes back with an old read: it must store nothing, neither rows nor failure.
	at.set(func(a *scriptedAccount) { a.clusters[0].Name = "late" })
	r.svc.refresh(t.Context(), dead[0])
	if slices.Contains(r.stored(t, id), "late") {
		t.Error("a worker without a lease stored what it read")
	}
	if err := r.svc.storeFailure(t.Context(), dead[0], errors.New("x")); !errors.Is(err, errLeaseLost) {
		t.Errorf("a worker without a lease stored a failure: %v", err)
	}
}

// One account hangs: the others go on while it does, and it ends at its deadline.
func TestHungAccountDelaysNobody(t *testing.T) {
	r := newRig(t)
	var hung []*scriptedAccount
	release := make(chan struct{})
	defer close(release)
	for i := range steadyWorkers + preparedWorkers {
		_, at := r.account(t, fmt.Sprint("Hung ", i), Production)
		at.set(func(a *scriptedAccount) { a.hang = release; a.entered = make(chan struct{}, 10) })
		hung = append(hung, at)
	}
	s := r.replica(t, func(c *Config) { c.PollMin, c.PollMax = 40*time.Millisecond, 100*time.Millisecond })
	ctx, stop := context.WithCancel(within(t))
	running := make(chan error, 1)
	go func() { running <- s.Run(ctx) }()
	for _, at := range hung {
		select {
		case <-at.entered:
		case <-ctx.Done():
			t.Fatal("the hung accounts were not asked")
		}
	}
	well, at := r.account(t, "Well", Production)
	entered := make(chan struct{}, 100)
	at.set(func(a *scriptedAccount) { a.entered = entered })
	at.add(3)
	for range 5 {
		select {
		case <-entered:
		case <-ctx.Done():
			t.Fatal("the account that is well waits for those that hang")
		}
	}
	for len(r.stored(t, well)) != 3 {
		if ctx.Err() != nil {
			t.Fatal("nothing stored")
		}
	}
	stop()
	select {
	case err := <-running:
		if err != nil {
			t.Error(err)
		}
	case <-within(t).Done():
		t.Fatal("Run does not end while an upstream hangs")
	}
	if n := value[int](t, r, `SELECT count(*) FROM refresh WHERE lease_owner <> '' OR failures > 0 AND kind = 'clusters'`); n != 0 {
		t.Errorf("%d leases were kept or counted as failures by a stop", n)
	}
}

// TestRefreshesBeginWhenTheyAreDue: what becomes due between two looks of the dispatcher does not wait for the next look,
// which is up to a second later.
func TestRefreshesBeginWhenTheyAreDue(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	r.refresh(t, r.svc, id)
	s := r.replica(t, func(c *Config) { c.PollMin, c.PollMax = time.Hour, time.Hour })
	ctx, stop := context.WithCancel(within(t))
	ended := make(chan struct{})
	defer func() { stop(); <-ended }()
	entered := make(chan struct{}, 100)
	at.set(func(a *scriptedAccount) { a.entered = entered })
	best := time.Hour
	go func() { defer close(ended); s.refreshLoop(ctx) }()
	for range 5 {
		r.exec(t, `UPDATE refresh SET next_at = clock_timestamp() + interval '1300 milliseconds'`)
		due := time.Now().Add(1300 * time.Millisecond)
		select {
		case <-entered:
			best = min(best, time.Since(due))
		case <-ctx.Done():
			t.Fatal("the account was not refreshed")
		}
		liveWait(t, "the refresh ended", func() bool {
			return value[int](t, r, `SELECT count(*) FROM refresh WHERE lease_owner <> '' AND kind = 'clusters'`) == 0
		})
	}
	if best > 100*time.Millisecond {
		t.Errorf("at best a refresh began %v after it was due", best)
	}
}

// Accounts whose refresh failed have workers of their own, so that they cannot take all.
func TestTroubledAccountsHaveTheirOwnWorkers(t *testing.T) {
	r := newRig(t)
	for i := range 10 {
		r.account(t, fmt.Sprint("Account ", i), Production)
	}
	r.exec(t, `UPDATE refresh SET failures = 1 WHERE account_id IN (SELECT id FROM accounts WHERE name < 'Account 7')`)
	steady, err := r.svc.lease(t.Context(), false, 100)
	if err != nil || len(steady) != 3 {
		t.Errorf("%d steady accounts, %v, want 3", len(steady), err)
	}
	troubled, err := r.svc.lease(t.Context(), true, troubledWorkers)
	if err != nil || len(troubled) != troubledWorkers {
		t.Errorf("%d troubled accounts, %v, want %d", len(troubled), err, troubledWorkers)
	}
}

func TestMissingClusterIsGoneOnlyWhenUpstreamSaysSo(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(5)
	r.refresh(t, r.svc, id)

	at.set(func(a *scriptedAccount) { a.hidden[a.clusters[0].ID] = true })
	r.refresh(t, r.svc, id)
	if n := len(r.stored(t, id)); n != 5 {
		t.Errorf("%d clusters after one was left out of the listing, want 5", n)
	}
	at.set(func(a *scriptedAccount) { a.clusters = a.clusters[1:] })
	r.refresh(t, r.svc, id)
	if got := r.stored(t, id); len(got) != 4 || slices.Contains(got, "cluster-000") {
		t.Errorf("after it was deleted: %v", got)
	}
	if _, gets := at.seen(); gets != 2 {
		t.Errorf("upstream was asked %d times for single clusters, want 2", gets)
	}
}

func TestClusterThatComesBackIsNoLongerGone(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(2)
	r.refresh(t, r.svc, id)
	var kept *scriptedCluster
	at.set(func(a *scriptedAccount) { kept, a.clusters = a.clusters[0], a.clusters[1:] })
	r.refresh(t, r.svc, id)
	if n := len(r.stored(t, id)); n != 1 {
		t.Fatalf("%d clusters, want 1", n)
	}
	at.set(func(a *scriptedAccount) { a.clusters = append(a.clusters, kept) })
	r.refresh(t, r.svc, id)
	if n := len(r.stored(t, id)); n != 2 {
		t.Errorf("%d clusters, want 2", n)
	}
}

func TestManyVanishingAtOnceConcludesNothing(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(5)
	r.refresh(t, r.svc, id)
	var all []*scriptedCluster
	at.set(func(a *scriptedAccount) { all, a.clusters = a.clusters, a.clusters[:2] })
	r.refresh(t, r.svc, id)

	sync := r.sync(t, r.svc, id)
	if n := len(r.stored(t, id)); n != 5 || sync.Vanished != 3 {
		t.Errorf("%d clusters, %d vanished; want 5 and 3", n, sync.Vanished)
	}
	if _, gets := at.seen(); gets != 0 {
		t.Errorf("upstream was asked for %d single clusters", gets)
	}
	rows, err := r.svc.firstClusters(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var stale []bool
	for _, row := range rows {
		stale = append(stale, row.Stale)
	}
	if diff := cmp.Diff([]bool{false, false, true, true, true}, stale); diff != "" {
		t.Errorf("stale rows (-want +got):\n%s", diff)
	}
	at.set(func(a *scriptedAccount) { a.clusters = all })
	r.refresh(t, r.svc, id)
	if sync := r.sync(t, r.svc, id); sync.Vanished != 0 {
		t.Errorf("%d vanished after all came back", sync.Vanished)
	}
}

// Two of four, or two of two, are few enough to ask for one by one; and clusters that were being
// deleted do not count as vanished.
func TestFewOrExpectedAbsencesAreNoVanishing(t *testing.T) {
	r := newRig(t)
	few, atFew := r.account(t, "Few", Production)
	atFew.add(2)
	leaving, atLeaving := r.account(t, "Leaving", Production)
	atLeaving.add(4)
	atLeaving.set(func(a *scriptedAccount) {
		for _, c := range a.clusters {
			c.Phase = "CLUSTER_PHASE_DELETING"
		}
	})
	r.refresh(t, r.svc, few, leaving)
	for _, at := range []*scriptedAccount{atFew, atLeaving} {
		at.set(func(a *scriptedAccount) { a.clusters = nil })
	}
	r.refresh(t, r.svc, few, leaving)
	for _, id := range []uuid.UUID{few, leaving} {
		if n, v := len(r.stored(t, id)), r.sync(t, r.svc, id).Vanished; n != 0 || v != 0 {
			t.Errorf("%d clusters and %d vanished, want 0 and 0", n, v)
		}
	}
}

// A refresh that began before an act of ours stored the cluster must not bring the old state back,
// nor call a new cluster missing.
func TestReadBegunBeforeOurWriteIsDropped(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(3)
	r.refresh(t, r.svc, id)
	ours := func(clusterID, name string) cloudapi.Cluster {
		raw := fmt.Sprintf(`{"id":%q,"accountId":%q,"name":%q,"state":{"phase":"CLUSTER_PHASE_DELETING"}}`, clusterID, at.id, name)
		c, err := cloudapi.DecodeCluster(cloudapi.Current, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	fresh := uuid.NewString()
	var once sync.Once
	at.set(func(a *scriptedAccount) {
		known := a.clusters[0].ID
		a.clusters[0].Name, a.clusters[1].Name = "stale-read", "renamed"
		a.onList = func() {
			once.Do(func() {
				for clusterID, name := range map[string]string{known: "ours", fresh: "fresh"} {
					if err := r.svc.storeCluster(context.Background(), id, ours(clusterID, name)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	})
	r.refresh(t, r.svc, id)
	if diff := cmp.Diff([]string{"cluster-002", "fresh", "ours", "renamed"}, r.stored(t, id)); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	if _, gets := at.seen(); gets != 0 {
		t.Errorf("a cluster we just wrote was looked for as missing")
	}
	// The next read is newer than our write and counts again.
	r.refresh(t, r.svc, id)
	if got := r.stored(t, id); slices.Contains(got, "ours") || !slices.Contains(got, "stale-read") || slices.Contains(got, "fresh") {
		t.Errorf("clusters after the next refresh: %v", got)
	}
}

func TestStoreGone(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(2)
	r.refresh(t, r.svc, id)
	if err := r.svc.storeGone(t.Context(), id, at.clusters[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := r.stored(t, id); len(got) != 1 {
		t.Errorf("clusters: %v", got)
	}
	r.exec(t, `UPDATE clusters SET gone_at = now() - interval '31 days' WHERE gone_at IS NOT NULL`)
	if err := r.svc.forgetGone(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM clusters`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	if err := r.svc.storeCluster(t.Context(), uuid.New(), cloudapi.Cluster{ID: "x", Raw: []byte("{}")}); !errors.Is(err, ErrNotFound) {
		t.Errorf("storing a cluster of no account: %v, want ErrNotFound", err)
	}
}

func TestDisabledAccountIsNotRefreshed(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	r.refresh(t, r.svc, id)
	r.exec(t, `UPDATE accounts SET enabled = false`)
	r.exec(t, `UPDATE refresh SET next_at = now()`)
	if n, err := r.svc.refreshOnce(t.Context()); n != 0 || err != nil {
		t.Errorf("%d accounts refreshed, %v", n, err)
	}
	if !r.sync(t, r.svc, id).Stale {
		t.Error("a disabled account is not marked stale")
	}
}

func TestAccountRemovedDuringARefresh(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	at.set(func(a *scriptedAccount) {
		a.onList = func() { r.exec(t, `DELETE FROM accounts WHERE id = $1`, id) }
	})
	r.refresh(t, r.svc, id)
	if n := value[int](t, r, `SELECT (SELECT count(*) FROM clusters) + (SELECT count(*) FROM refresh)`); n != 0 {
		t.Errorf("%d rows of a removed account", n)
	}
	if logged := r.logged.String(); strings.Contains(logged, "panic") || strings.Contains(logged, "not stored") {
		t.Errorf("logged: %s", logged)
	}
}

func TestPackagesNameWhatIsBookedAndNeverFailARefresh(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(2)
	at.set(func(a *scriptedAccount) { a.clusters[1].RAM, a.clusters[1].CPU, a.clusters[1].Disk = 16, 4, 64 })
	r.refresh(t, r.svc, id)
	rows := func() []ClusterRow {
		rows, err := r.svc.firstClusters(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if got := rows(); got[0].Package != "" || got[0].RAMMiB != 0 || got[1].RAMMiB != 16384 || got[1].CPUMilli != 4000 || got[1].DiskMiB != 65536 {
		t.Errorf("without a catalogue: %+v", got)
	}
	if sync := r.sync(t, r.svc, id); sync.Error != "" {
		t.Errorf("the catalogue failed the refresh: %q", sync.Error)
	}
	at.set(func(a *scriptedAccount) {
		a.packages = `{"items":[{"id":"00000000-0000-4000-8000-000000000001","name":"mx2","resourceConfiguration":{"ram":"8GiB","cpu":"1000m","disk":"32GiB"}}]}`
	})
	r.refresh(t, r.svc, id) // a failure is remembered for a minute
	if got := rows(); got[0].Package != "" {
		t.Errorf("asked again at once: %+v", got[0])
	}
	r.clock.advance(time.Minute)
	r.refresh(t, r.svc, id)
	want := [][4]any{{"mx2", int64(8192), int64(1000), int64(32768)}, {"mx2", int64(16384), int64(4000), int64(65536)}}
	for i, row := range rows() {
		if got := [4]any{row.Package, row.RAMMiB, row.CPUMilli, row.DiskMiB}; got != want[i] {
			t.Errorf("cluster %d: %v, want %v", i, got, want[i])
		}
	}
	// The catalogue fails again: what is known stays, also for a cluster that changed.
	r.clock.advance(10 * time.Minute)
	at.set(func(a *scriptedAccount) { a.packages = ""; a.clusters[0].Name = "cluster-000x" })
	booked := at.booked
	r.refresh(t, r.svc, id)
	if got := rows()[0]; got.Package != "mx2" || got.RAMMiB != 8192 {
		t.Errorf("after the catalogue failed: %+v", got)
	}
	if at.booked != booked+1 {
		t.Errorf("packages asked for %d times, want once for two clusters", at.booked-booked)
	}
}

// What upstream puts into its texts must neither break the refresh nor reach Postgres as it is.
func TestHostileTextsAreStored(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	at.set(func(a *scriptedAccount) {
		c := a.clusters[0]
		c.Name = "a\x00b\u202e<script>%_\\" + strings.Repeat("n", 5000)
		c.Labels = map[string]string{"k\x00": "v\xff", "": ""}
		c.Region, c.Version = strings.Repeat("r", 5000), "v9999999999.1.1"
		c.Nodes, c.RAM = 2, 1e300
	})
	r.refresh(t, r.svc, id)
	if sync := r.sync(t, r.svc, id); sync.Error != "" {
		t.Fatalf("the refresh failed: %s", sync.Error)
	}
	if n := len(r.stored(t, id)); n != 1 {
		t.Errorf("%d clusters, want 1", n)
	}
}

func TestKeyIsInNoRowAndNoLogLine(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	r.refresh(t, r.svc, id)
	at.set(func(a *scriptedAccount) { a.status = http.StatusForbidden })
	r.refresh(t, r.svc, id)
	if everything := r.dump(t) + r.logged.String(); strings.Contains(everything, at.key) || !strings.Contains(everything, at.id) {
		t.Error("the key is stored or logged, or the dump is empty")
	}
}

// The sandbox speaks both generations as Qdrant Cloud does: every cluster of every account arrives.
func TestRefreshesFromTheSandbox(t *testing.T) {
	s := newStage(t)
	legacy := 0
	for _, f := range s.sandbox.Fixtures() {
		account, err := s.svc.Create(t.Context(), member("admins"), newAccountOf(f, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if account.Generation == cloudapi.PAV1 {
			legacy++
		}
	}
	s.snapshot()
	page, err := s.svc.Fleet(t.Context(), viewer(), FleetQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	if legacy == 0 || len(page.Accounts) < 4 || len(page.Rows) < 30 {
		t.Errorf("%d accounts, %d of them legacy, %d clusters", len(page.Accounts), legacy, len(page.Rows))
	}
	for _, a := range page.Accounts {
		if a.Clusters == 0 || a.Sync.Error != "" || a.Sync.Stale {
			t.Errorf("%s: %d clusters, %+v", a.Name, a.Clusters, a.Sync)
		}
	}
	for _, row := range page.Rows {
		if row.Name == "" || row.Cloud == "" || row.Region == "" || row.Version == "" || row.Nodes == 0 || row.CreatedAt == nil {
			t.Errorf("a row lacks something: %+v", row)
		}
		if row.Package == "" || row.RAMMiB == 0 || row.CPUMilli == 0 || row.DiskMiB == 0 {
			t.Errorf("%s of %s: package %q, %d MiB, %d m, %d MiB", row.Name, row.AccountName, row.Package, row.RAMMiB, row.CPUMilli, row.DiskMiB)
		}
		if _, err := s.svc.Cluster(t.Context(), viewer(), row.ref()); err != nil {
			t.Errorf("%s: %v", row.Name, err)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	sorted := []string{"", "latest", "v1.9.0", "v1.9.1", "v1.10.0-dev", "v1.10.0", "v1.10.10", "v2.0.0", "v10.0"}
	for i := 1; i < len(sorted); i++ {
		if a, b := versionOrder(sorted[i-1]), versionOrder(sorted[i]); a >= b {
			t.Errorf("%q (%s) does not sort before %q (%s)", sorted[i-1], a, sorted[i], b)
		}
	}
}

func TestRefreshesNotifyWithIDsOnly(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	conn, err := r.db.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `LISTEN quartermaster`); err != nil {
		t.Fatal(err)
	}
	r.refresh(t, r.svc, id)
	told, err := conn.Conn().WaitForNotification(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := "clusters " + id.String() + " " + value[string](t, r, `SELECT cluster_id FROM clusters`); told.Payload != want {
		t.Errorf("payload %q, want %q", told.Payload, want)
	}
	r.refresh(t, r.svc, id) // nothing changed: nobody is woken
	at.set(func(a *scriptedAccount) { a.status = http.StatusForbidden })
	r.refresh(t, r.svc, id)
	if _, err := conn.Conn().WaitForNotification(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT 1`); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if extra, err := conn.Conn().WaitForNotification(soon); err == nil {
		t.Errorf("one notification too many: %q", extra.Payload)
	}
}
