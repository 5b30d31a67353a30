// Package audit is the record of who did what: it appends events, lists and exports them, and
// proves that none was changed, removed or put in between.
//
// An event is kept as canonical JSON (see Encode) under a gapless number. Each carries
// leaf = SHA256(0x00, number, recorded_at, body) and chain = SHA256(0x01, chain before, leaf), where
// number and recorded_at in microseconds since 1970 are 8 bytes, big-endian. Database functions
// make them; the console's role can append and read and nothing else, and triggers stop the
// owner of the tables as well.
//
// What is promised: an event that Append or Record reported as written is durable, and a change
// of any recorded byte is found by Verify. What is not: a database superuser who rewrites the
// log from some event to its end, chain and head included, is found only by comparing with a chain
// value kept elsewhere, such as an export.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// ErrUnwritable is what errors of Append and Record wrap: the event is not known to be in the
// log, so what it tells of must not happen. It may still turn out to be there when the
// connection broke in the moment of the commit.
var ErrUnwritable = errors.New("the audit log cannot be written")

// ErrNotOpen is what errors of Append and Record wrap besides, when the event is an outcome and its
// operation was never attempted or has its outcome already. What upstream told is refused only
// when it was told before; it is taken also after an outcome that was inferred, which List hides
// from then on.
var ErrNotOpen = errors.New("the operation is not open")

// ErrNoEvent says that no event has the number asked for.
var ErrNoEvent = errors.New("no such event")

var (
	errClosed = errors.New("the log is closed")
	errFull   = errors.New("too many events are waiting")
)

// Bounds of the appender. A batch stays far below what audit.append and one statement take.
const (
	queueLength   = 4096
	batchEvents   = 256
	batchBytes    = 2 << 20
	commitTimeout = 5 * time.Second
	// maxGather is the longest that a commit waits for those who shared the one before it.
	maxGather = 2 * time.Millisecond
)

// defaultUnknownAfter is how long an attempt may stay open before it reads unknown.
const defaultUnknownAfter = 2 * time.Minute

// Config is what a Log needs.
type Config struct {
	// DatabaseURL is the app role's; the appender opens its own pool of two with a lock timeout of 2 s.
	// Required.
	DatabaseURL string
	// DB serves the reads. Required to read.
	DB *pgxpool.Pool
	// UnknownAfter is how long an attempt without outcome reads pending; 0 is two minutes.
	UnknownAfter time.Duration
	// Logger tells when partitions cannot be made ahead; nil discards.
	Logger *slog.Logger
	// Registerer takes the log's metrics; nil: they are counted and not registered.
	Registerer prometheus.Registerer
	// Now is the clock for Event.At; nil is time.Now.
	Now func() time.Time
}

// Log appends to and reads the audit log. It is safe for concurrent use.
type Log struct {
	db           *pgxpool.Pool
	pool         *pgxpool.Pool // of the appender
	logger       *slog.Logger
	now          func() time.Time
	unknownAfter time.Duration
	metrics      *metrics

	queue chan *waiting
	stop  context.CancelFunc
	ended sync.WaitGroup

	queued   atomic.Int64  // events that were handed to the appender and that it has not begun to commit
	turn     sync.Mutex    // held by whoever commits; guards the next two
	together int           // events that were under way when the last commit ended
	long     time.Duration // that it took

	mu     sync.RWMutex // guards closed against a send on the closed queue
	closed bool
}

// waiting is an event on its way into the log.
type waiting struct {
	ctx  context.Context
	body []byte
	done chan result // of capacity one
}

type result struct {
	seq int64
	err error
}

// freshAnswer is for how long a connection that answered is taken to be alive.
const freshAnswer = 50 * time.Millisecond

// Open starts the appender. Close ends it after what is waiting was committed. The database need
// not be reachable: each Append tells for itself.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	settings, err := pgxpool.ParseConfig(cfg.DatabaseURL)
	if err != nil {
		return nil, fmt.Errorf("reading the log's database address: %w", err)
	}
	settings.MinConns, settings.MinIdleConns, settings.MaxConns = 0, 0, 2
	settings.ConnConfig.ConnectTimeout = 2 * time.Second
	// A dead connection must not cost an event, and an event whose connection broke cannot be
	// sent again, because it might be written already. So each is tried first, but one that has
	// just answered: trying that again would tell nothing, and costs a fifth of an append.
	settings.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > freshAnswer }
	// A statement that takes too long is cancelled at the server rather than cut off, so that its
	// end is known; the connection is cut when the server does not react.
	settings.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: time.Second}
	}
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("preparing the log's connections: %w", err)
	}
	l := &Log{
		db: cfg.DB, pool: pool, logger: cfg.Logger, now: cfg.Now, unknownAfter: cfg.UnknownAfter,
		queue: make(chan *waiting, queueLength),
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.unknownAfter == 0 {
		l.unknownAfter = defaultUnknownAfter
	}
	l.metrics = l.newMetrics()
	if err := l.metrics.register(cfg.Registerer); err != nil {
		pool.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.ended.Go(l.appendWaiting)
	l.ended.Go(func() { l.keepPartitions(background) })
	return l, nil
}

// Close commits what is waiting and ends the appender. Append fails from then on.
func (l *Log) Close() {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	if !already {
		close(l.queue)
	}
	l.mu.Unlock()
	l.stop()
	l.ended.Wait()
	l.turn.Lock() // one who writes alone may be committing
	defer l.turn.Unlock()
	l.pool.Close()
}

// Append commits one event, together with whatever else is waiting, and returns its number once it is durable.
// Errors wrap ErrUnwritable. A database that answers nothing costs at most five seconds, and five
// more when the commit before this one waits as well. ctx can end it earlier while others write, and the
// event may then be written or not; a commit that is the caller's alone goes on to its end.
func (l *Log) Append(ctx context.Context, e Event) (seq int64, err error) {
	defer func() { l.metrics.count(1, err) }()
	w := &waiting{ctx: ctx, body: Encode(l.completed(e)), done: make(chan result, 1)}
	r := result{err: l.submit(w)}
	if r.err == nil {
		r = l.await(w)
	}
	if r.err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnwritable, r.err)
	}
	return r.seq, nil
}

// submit commits the event of one who writes alone, and hands any other to the appender.
func (l *Log) submit(w *waiting) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if !l.takeTurn() {
		return l.enqueue(w)
	}
	defer l.turn.Unlock()
	l.commit([]*waiting{w})
	return nil
}

func (l *Log) await(w *waiting) result {
	select {
	case r := <-w.done: // what is known counts, also when the caller has gone meanwhile
		return r
	default:
	}
	select {
	case r := <-w.done:
		return r
	case <-w.ctx.Done():
		return result{err: w.ctx.Err()}
	}
}

// takeTurn takes the turn to commit when nobody else writes: waking the appender and being woken by
// it takes time and gains nothing then. Where others write as well, sharing a commit is worth more.
func (l *Log) takeTurn() bool {
	if !l.turn.TryLock() {
		return false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed || l.together > 1 || l.queued.Load() > 0 {
		l.turn.Unlock()
		return false
	}
	return true
}

func (l *Log) enqueue(w *waiting) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return errClosed
	}
	l.queued.Add(1)
	select {
	case l.queue <- w:
		return nil
	default:
		l.queued.Add(-1)
		return errFull
	}
}

// Record appends events inside the caller's transaction. It must be the last statement before the commit, because it holds the log's lock until then.
// Errors wrap ErrUnwritable, and the transaction can only be rolled back then.
func (l *Log) Record(ctx context.Context, tx pgx.Tx, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	bodies := make([][]byte, len(events))
	for i, e := range events {
		bodies[i] = Encode(l.completed(e))
	}
	begun := time.Now()
	_, err := tx.Exec(ctx, `SELECT audit.append($1)`, bodies)
	l.metrics.took(begun)
	l.metrics.count(len(events), named(err))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnwritable, named(err))
	}
	return nil
}

// completed fills what Append and Record promise to.
func (l *Log) completed(e Event) Event {
	if e.ID == uuid.Nil {
		// NewV7 fails only without a source of randomness; then the program cannot go on at all.
		e.ID = uuid.Must(uuid.NewV7())
	}
	if e.At.IsZero() {
		e.At = l.now()
	}
	e.Schema = SchemaVersion
	return e
}

// appendWaiting commits for all but one who writes alone. While it waits for the database, events
// gather and share the next commit.
func (l *Log) appendWaiting() {
	for first := range l.queue {
		l.turn.Lock()
		batch := l.gather(first, l.together, min(l.long/2, maxGather))
		l.queued.Add(-int64(len(batch)))
		l.commit(batch)
		l.turn.Unlock()
	}
}

// gather returns the event and what else is waiting. Whoever shared the last commit was answered at
// once and may have more to say in a moment, as an attempt is followed by its outcome: without waiting
// for them the first to come back would have a commit alone, and the others the one after it. One who
// writes alone waits for nobody.
func (l *Log) gather(first *waiting, together int, wait time.Duration) []*waiting {
	batch, size := []*waiting{first}, len(first.body)
	var late <-chan time.Time
	for len(batch) < batchEvents && size < batchBytes {
		select {
		case w, open := <-l.queue:
			if !open {
				return batch
			}
			batch, size = append(batch, w), size+len(w.body)
			continue
		default:
		}
		if len(batch) >= together {
			return batch
		}
		if late == nil {
			late = time.After(wait)
		}
		select {
		case w, open := <-l.queue:
			if !open {
				return batch
			}
			batch, size = append(batch, w), size+len(w.body)
		case <-late:
			return batch
		}
	}
	return batch
}

// commit writes the batch and answers each of its waiters. The caller has the turn. No context of a
// waiter ends it, since that would cost the others their events.
func (l *Log) commit(batch []*waiting) {
	defer func(start time.Time) { l.together, l.long = len(batch)+int(l.queued.Load()), time.Since(start) }(time.Now())
	var wanted []*waiting
	for _, w := range batch {
		// Nobody waits any more, so what the event tells of does not happen.
		if err := w.ctx.Err(); err != nil {
			w.done <- result{err: err}
			continue
		}
		wanted = append(wanted, w)
	}
	if len(wanted) == 0 {
		return
	}
	first, err := l.write(wanted)
	if len(wanted) > 1 && isContentError(err) {
		// One event is at fault and took back the others; alone, only it fails.
		for _, w := range wanted {
			seq, err := l.write([]*waiting{w})
			w.done <- result{seq: seq, err: err}
		}
		return
	}
	for i, w := range wanted {
		w.done <- result{seq: first + int64(i), err: err}
	}
}

func (l *Log) write(batch []*waiting) (first int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	bodies := make([][]byte, len(batch))
	for i, w := range batch {
		bodies[i] = w.body
	}
	defer l.metrics.took(time.Now())
	for try := 0; ; try++ {
		err = l.pool.QueryRow(ctx, `SELECT audit.append($1)`, bodies).Scan(&first)
		// A connection that died while idle: nothing was sent, so nothing can be there twice.
		if err != nil && pgconn.SafeToRetry(err) && try < 2 && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("appending %d events: %w", len(batch), named(err))
		}
		return first, nil
	}
}

// codeNotOpen is what audit.append refuses a second outcome with.
const codeNotOpen = "QM001"

// named marks errors of audit.append that callers branch on.
func named(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == codeNotOpen {
		return fmt.Errorf("%w: %w", ErrNotOpen, err)
	}
	return err
}

// isContentError tells errors that lie in what was to be written from those of the database's
// state: data exceptions, violated constraints and operations that have ended.
func isContentError(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (strings.HasPrefix(pgErr.Code, "22") || strings.HasPrefix(pgErr.Code, "23") || pgErr.Code == codeNotOpen)
}

// keepPartitions makes partitions ahead, at the start and daily. Appending makes a missing one
// itself, so a failure here costs nothing yet.
func (l *Log) keepPartitions(ctx context.Context) {
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	for {
		if err := l.EnsurePartitions(ctx); err != nil && ctx.Err() == nil {
			l.logger.WarnContext(ctx, "the audit log's next partition could not be made ahead", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-daily.C:
		}
	}
}

// EnsurePartitions makes the partition of the next event and the one after it.
func (l *Log) EnsurePartitions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if _, err := l.pool.Exec(ctx, `SELECT audit.ensure_partitions()`); err != nil {
		return fmt.Errorf("making the log's partitions: %w", err)
	}
	return nil
}
