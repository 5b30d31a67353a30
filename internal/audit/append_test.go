package audit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

// super runs statements as a superuser, with triggers off: what an intruder on the server can do.
func (b *bundle) super(t *testing.T, statements ...string) {
	t.Helper()
	b.run(t, b.SuperURL, append([]string{`SET session_replication_role = replica`}, statements...)...)
}

func (b *bundle) run(t *testing.T, address string, statements ...string) {
	t.Helper()
	if err := try(t, address, statements...); err != nil {
		t.Fatal(err)
	}
}

func try(t *testing.T, address string, statements ...string) error {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func single(act string) audit.Event {
	return audit.Event{Act: act, Phase: audit.PhaseSingle, Outcome: audit.OK}
}

func TestConcurrentAppendersLoseAndDoubleNothing(t *testing.T) {
	b := setup(t)
	second := b.open(t) // another process on the same database
	const writers, each = 200, 5
	var mu sync.Mutex
	told := map[int64]string{}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			log := b.log
			if i%2 == 1 {
				log = second
			}
			for j := range each {
				act := fmt.Sprintf("test.%d.%d", i, j)
				seq, err := log.Append(t.Context(), single(act))
				mu.Lock()
				if err != nil {
					t.Errorf("%s: %v", act, err)
				} else if before, taken := told[seq]; taken {
					t.Errorf("%d was told to %s and to %s", seq, before, act)
				}
				told[seq] = act
				mu.Unlock()
			}
		})
	}
	wg.Wait()

	rows, err := b.Pool.Query(t.Context(), `SELECT seq, act FROM audit.events ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[int64]string{}
	var seq, want int64
	var act string
	if _, err := pgx.ForEachRow(rows, []any{&seq, &act}, func() error {
		if want++; seq != want {
			t.Errorf("number %d comes after %d", seq, want-1)
		}
		stored[seq] = act
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(stored) != writers*each {
		t.Errorf("%d events are stored, want %d", len(stored), writers*each)
	}
	if diff := cmp.Diff(told, stored); diff != "" {
		t.Errorf("numbers told and stored differ (-told +stored):\n%s", diff)
	}
	b.verifies(t)
}

func (b *bundle) verifies(t *testing.T) {
	t.Helper()
	report, err := b.log.Verify(t.Context(), nil)
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	if !report.OK() {
		t.Errorf("the log does not verify: %v", report.Problems)
	}
}

func TestNobodyChangesTheLog(t *testing.T) {
	b := setup(t)
	b.append(t, single("test.one"))
	for _, role := range []struct{ name, url string }{{"app", b.AppURL}, {"owner", b.OwnerURL}, {"superuser", b.SuperURL}} {
		for _, table := range []string{"audit.events", "audit.events_000000"} {
			for _, statement := range []string{
				`UPDATE ` + table + ` SET act = 'forged'`,
				`UPDATE ` + table + ` SET act = 'forged' WHERE false`,
				`DELETE FROM ` + table,
				`TRUNCATE ` + table,
			} {
				wantRefused(t, role.name, try(t, role.url, statement))
			}
		}
	}
	for _, statement := range []string{
		`INSERT INTO audit.open_operations VALUES (gen_random_uuid(), 1, now(), '', '')`,
		`DELETE FROM audit.open_operations`,
		`UPDATE audit.head SET seq = 7`,
		`DELETE FROM audit.head`,
		`INSERT INTO audit.events SELECT * FROM audit.events`,
		`SELECT audit.ensure_partition(5)`,
		`DROP TABLE audit.events`,
		`DROP TRIGGER refuse_change ON audit.events`,
		`CREATE TABLE audit.mine ()`,
		`CREATE TABLE public.mine ()`,
		`ALTER FUNCTION audit.append(bytea[]) RESET ALL`,
		`SET session_replication_role = replica`,
	} {
		wantRefused(t, "app", try(t, b.AppURL, statement))
	}
	wantRefused(t, "owner", try(t, b.OwnerURL, `TRUNCATE audit.head`))
	wantRefused(t, "owner", try(t, b.OwnerURL, `DELETE FROM audit.head`))
	b.verifies(t)
}

func wantRefused(t *testing.T, role string, err error) {
	t.Helper()
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42501" {
		t.Errorf("%s: got %v, want a refusal (42501)", role, err)
	}
}

func TestAppendRefusesWhatIsNoEvent(t *testing.T) {
	b := setup(t)
	ok := []byte(`{"id":"018f3c3e-0000-7000-8000-000000000001","phase":"single"}`)
	long := append([]byte(`{"id":"018f3c3e-0000-7000-8000-000000000001","phase":"single","x":"`), make([]byte, 64<<10)...)
	for name, bodies := range map[string][][]byte{
		"nothing":        {},
		"empty":          {{}},
		"null":           {nil},
		"not JSON":       {[]byte("hello")},
		"a list":         {[]byte(`[1]`)},
		"a number":       {[]byte(`1`)},
		"invalid UTF-8":  {[]byte("{\"a\":\"\xff\"}")},
		"NUL":            {[]byte(`{"id":"018f3c3e-0000-7000-8000-000000000001","phase":"single","a":"\u0000"}`)},
		"too long":       {long},
		"no id":          {[]byte(`{"phase":"single"}`)},
		"unknown phase":  {[]byte(`{"id":"018f3c3e-0000-7000-8000-000000000001","phase":"later"}`)},
		"bad among good": {ok, []byte(`[]`), ok},
		"bad operation":  {[]byte(`{"id":"018f3c3e-0000-7000-8000-000000000001","phase":"single","operation_id":"x"}`)},
		"too many":       make([][]byte, 1001),
	} {
		if _, err := b.Pool.Exec(t.Context(), `SELECT audit.append($1)`, bodies); err == nil {
			t.Errorf("%s: was appended", name)
		}
	}
	if _, err := b.Pool.Exec(t.Context(), `SELECT audit.append($1)`, [][]byte{ok}); err != nil {
		t.Errorf("a good event was refused: %v", err)
	}
	b.verifies(t)
}

func TestAppendRightRevoked(t *testing.T) {
	b := setup(t)
	b.run(t, b.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	if _, err := b.log.Append(t.Context(), single("test.one")); !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("got %v, want ErrUnwritable", err)
	}
	err := pgx.BeginFunc(t.Context(), b.Pool, func(tx pgx.Tx) error { return b.log.Record(t.Context(), tx, single("test.two")) })
	if !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("Record: got %v, want ErrUnwritable", err)
	}
	b.run(t, b.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	b.append(t, single("test.three"))
}

func TestHeldLockFailsInTwoSeconds(t *testing.T) {
	b := setup(t)
	tx, err := b.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // after a failure; else it has ended
	if err := b.log.Record(t.Context(), tx, single("test.holder")); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	_, err = b.log.Append(t.Context(), single("test.waiter"))
	if took := time.Since(started); took < time.Second || took > 8*time.Second {
		t.Errorf("it took %s, want about 2s", took)
	}
	if !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("got %v, want ErrUnwritable", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seq := b.append(t, single("test.after")); seq != 2 {
		t.Errorf("the event after is number %d, want 2", seq)
	}
}

// TestOneWhoStallsLosesTheLock is about a process that was stopped, or cut off from the server,
// between Record and its commit: it must not keep every other from acting.
func TestOneWhoStallsLosesTheLock(t *testing.T) {
	b := setup(t)
	tx, err := b.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // its connection is gone by then
	if err := b.log.Record(t.Context(), tx, single("test.stalled")); err != nil {
		t.Fatal(err)
	}
	for started := time.Now(); ; {
		seq, err := b.log.Append(t.Context(), single("test.after"))
		if err == nil {
			if seq != 1 {
				t.Errorf("number %d: what was never committed is there", seq)
			}
			break
		}
		if time.Since(started) > 15*time.Second {
			t.Fatalf("the log is held for ever: %v", err)
		}
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("the stalled transaction was committed")
	}
	// A session that ended its transaction in time is as before.
	var timeout string
	if err := b.Pool.QueryRow(t.Context(), `SHOW idle_in_transaction_session_timeout`).Scan(&timeout); err != nil || timeout != "0" {
		t.Errorf("the timeout is %q afterwards, %v", timeout, err)
	}
	b.verifies(t)
}

func TestRecordSharesTheFateOfItsTransaction(t *testing.T) {
	b := setup(t)
	undo := errors.New("undo")
	for _, fate := range []error{undo, nil} {
		err := pgx.BeginFunc(t.Context(), b.Pool, func(tx pgx.Tx) error {
			if err := b.log.Record(t.Context(), tx, single("test.one"), single("test.two")); err != nil {
				return err
			}
			return fate
		})
		if !errors.Is(err, fate) {
			t.Fatal(err)
		}
	}
	page, err := b.log.List(t.Context(), audit.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2 test.two", "1 test.one"}, briefly(page)); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

func briefly(p audit.Page) []string {
	var out []string
	for _, o := range p.Operations {
		out = append(out, fmt.Sprintf("%d %s", o.Seq, o.Act))
	}
	return out
}

func TestServerGoneAndBack(t *testing.T) {
	t.Parallel()
	server := dbtest.NewServer(t)
	b := &bundle{DB: server.New(t)}
	b.log = b.open(t)
	b.append(t, single("test.before"))
	written := int64(1)
	for name, down := range map[string]func(testing.TB){"stopped": server.Stop, "crashed": server.Crash} {
		down(t)
		if _, err := b.log.Append(t.Context(), single("test.lost")); !errors.Is(err, audit.ErrUnwritable) {
			t.Errorf("%s: got %v, want ErrUnwritable", name, err)
		}
		server.Start(t)
		if seq := b.append(t, single("test.again")); seq != written+1 {
			t.Errorf("%s: the next event is number %d, want %d: what was told as written is gone", name, seq, written+1)
		}
		written++
	}
	b.verifies(t)
}

func TestOnePoisonedEventDoesNotTakeItsNeighbours(t *testing.T) {
	b := setup(t)
	// No event of ours can be refused for its content, so the database gets a rule that does.
	b.run(t, b.OwnerURL, `ALTER TABLE audit.events ADD CONSTRAINT poison CHECK (act <> 'test.poison')`)
	// The held lock makes them gather, so that they come in one batch.
	tx, err := b.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // after a failure; else it has ended
	if _, err := tx.Exec(t.Context(), `SELECT audit.append($1)`, [][]byte{audit.Encode(single("test.holder"))}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			act := "test.good"
			if i == 7 {
				act = "test.poison"
			}
			_, err := b.log.Append(t.Context(), single(act))
			if poisoned := act == "test.poison"; poisoned != errors.Is(err, audit.ErrUnwritable) || !poisoned && err != nil {
				t.Errorf("%s: %v", act, err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // only makes the batch likelier; every order must pass
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	b.verifies(t)
}

func TestWaiterThatLeavesIsNotRecorded(t *testing.T) {
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.log.Append(ctx, single("test.left")); !errors.Is(err, context.Canceled) || !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("got %v, want both ErrUnwritable and the reason", err)
	}
	if seq := b.append(t, single("test.next")); seq != 1 {
		t.Errorf("the next event is number %d: the one nobody waited for was written", seq)
	}
}

// TestWhoeverLeavesCostsTheOthersNothing has the first of three, who writes alone and commits for itself,
// leave while it does, and the second while it waits behind.
func TestWhoeverLeavesCostsTheOthersNothing(t *testing.T) {
	b := setup(t)
	tx, err := b.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // after a failure; else it has ended
	if err := b.log.Record(t.Context(), tx, single("test.holder")); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		seq int64
		err error
	}
	appending := func(ctx context.Context, act string) chan answer {
		told := make(chan answer, 1)
		go func() {
			seq, err := b.log.Append(ctx, single(act))
			told <- answer{seq, err}
		}()
		return told
	}
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	first := appending(leaving, "test.first")
	deadline := time.Now().Add(10 * time.Second)
	for waits := 0; waits == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the append does not come to wait for the lock")
		}
		if err := b.Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	second, third := appending(leaving, "test.second"), appending(t.Context(), "test.third")
	leave()
	if got := <-second; !errors.Is(got.err, context.Canceled) {
		t.Errorf("the second, who left while waiting, was told %+v", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-first; got.err != nil || got.seq != 2 {
		t.Errorf("the first, who left while committing, was told %+v, want number 2", got)
	}
	if got := <-third; got.err != nil || got.seq != 3 {
		t.Errorf("the third, who stayed, was told %+v, want number 3", got)
	}
	b.verifies(t)
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	b := setup(t)
	log := b.open(t)
	tx, err := b.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }() // after a failure; else it has ended
	if _, err := tx.Exec(t.Context(), `SELECT seq FROM audit.head FOR SHARE`); err == nil {
		t.Fatal("the app role may lock the head without appending")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	const events = 50
	var wg sync.WaitGroup
	failures := make(chan error, events)
	for range events {
		wg.Go(func() {
			_, err := log.Append(t.Context(), single("test.waiting"))
			failures <- err
		})
	}
	var written int64
	for range events / 2 {
		if err := <-failures; err != nil {
			t.Error(err)
		}
		written++
	}
	log.Close()
	log.Close() // twice is allowed
	wg.Wait()
	close(failures)
	for err := range failures {
		if err == nil {
			written++
		} else if !errors.Is(err, audit.ErrUnwritable) {
			t.Error(err)
		}
	}
	var stored int64
	if err := b.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events`).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if stored != written {
		t.Errorf("%d events are stored and %d were told as written", stored, written)
	}
	if _, err := log.Append(t.Context(), single("test.late")); !errors.Is(err, audit.ErrUnwritable) {
		t.Errorf("after Close: got %v, want ErrUnwritable", err)
	}
}

func TestClockSetBackKeepsTimesInOrder(t *testing.T) {
	b := setup(t)
	b.append(t, single("test.before"))
	// The same as a clock that was an hour ahead until now.
	b.super(t, `UPDATE audit.head SET recorded_at = clock_timestamp() + interval '1 hour'`)
	one := b.get(t, b.append(t, single("test.one")))
	two := b.get(t, b.append(t, single("test.two")))
	if one.RecordedAt.Before(time.Now().Add(50*time.Minute)) || two.RecordedAt.Before(one.RecordedAt) {
		t.Errorf("recorded at %s and %s: the time went back", one.RecordedAt, two.RecordedAt)
	}
	b.verifies(t)
}

func TestPartitionBoundary(t *testing.T) {
	b := setup(t)
	chain := `decode(repeat('00', 32), 'hex')`
	for _, at := range []string{"999998", "1999998"} { // the second one's next partition is missing
		b.super(t, `DELETE FROM audit.open_operations`, `UPDATE audit.head SET chain = `+chain+`, seq = `+at)
		bodies := make([][]byte, 4)
		for i := range bodies {
			e := single("test.boundary")
			e.ID = uuid.New()
			bodies[i] = audit.Encode(e)
		}
		var first int64
		if err := b.Pool.QueryRow(t.Context(), `SELECT audit.append($1)`, bodies).Scan(&first); err != nil {
			t.Fatalf("appending over the boundary: %v", err)
		}
		report, err := audit.Verify(t.Context(), b.Pool, first+1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !report.OK() || report.Events != 3 {
			t.Errorf("after %s: %+v", at, report)
		}
	}
	for _, partition := range []string{"audit.events_000000", "audit.events_000001", "audit.events_000002"} {
		var count int64
		if err := b.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE tableoid = $1::regclass`, partition).Scan(&count); err != nil {
			t.Fatal(err)
		}
		if count == 0 {
			t.Errorf("%s is empty", partition)
		}
		wantRefused(t, "owner", try(t, b.OwnerURL, `DELETE FROM `+partition))
		wantRefused(t, "owner", try(t, b.OwnerURL, `TRUNCATE `+partition))
		wantRefused(t, "owner", try(t, b.OwnerURL, `UPDATE `+partition+` SET act = ''`))
	}
	if err := b.log.EnsurePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ahead bool
	if err := b.Pool.QueryRow(t.Context(), `SELECT to_regclass('audit.events_000003') IS NOT NULL`).Scan(&ahead); err != nil {
		t.Fatal(err)
	}
	if !ahead {
		t.Error("the next partition was not made ahead")
	}
}
