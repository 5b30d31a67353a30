package audit

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Log appends to and reads the audit log.
type Log struct{}

// Config is what a Log needs.
type Config struct {
	// DatabaseURL is the app role's; the appender opens its own pool of two with a lock timeout of 2 s.
	DatabaseURL string
	// DB serves the reads.
	DB *pgxpool.Pool
}

// Open starts the appender. Close ends it after what is waiting was committed.
func Open(ctx context.Context, cfg Config) (*Log, error) { panic("stub") }

// Close commits what is waiting and ends the appender.
func (l *Log) Close() { panic("stub") }

// Append commits one event, together with whatever else is waiting, and returns its number once it is durable.
func (l *Log) Append(ctx context.Context, e Event) (seq int64, err error) { panic("stub") }

// Record appends events inside the caller's transaction. It must be the last statement before the commit, because it holds the log's lock until then.
func (l *Log) Record(ctx context.Context, tx pgx.Tx, events ...Event) error { panic("stub") }

// Stored is an event as the log keeps it.
type Stored struct {
	Event
	Seq        int64
	RecordedAt time.Time
	Body       []byte // the canonical bytes that are hashed
	Leaf       [32]byte
	Chain      [32]byte
}

// Operation is one row of the audit page: the event that tells how it ended, or its attempt while it is open.
type Operation struct {
	Stored
	Status string // ok, failed, denied, unknown, pending
}

// Query filters operations. Zero values do not filter.
type Query struct {
	Text     string // in names, ids, reason
	Member   string // actor's e-mail, name or subject
	Account  string // account id
	Act      string
	Outcome  string // ok, failed, denied, unknown, pending
	From, To time.Time
	After    int64 // keyset: only operations with a smaller seq
	Limit    int   // 0: 50
	// TargetKind and TargetID narrow to one thing's history.
	TargetKind, TargetID string
	UnknownAfter         time.Duration
}

// Page is one page of operations, newest first. Next is 0 on the last.
type Page struct {
	Operations []Operation
	Next       int64
}

// Detail is one event with the others of its operation, oldest first.
type Detail struct {
	Operation
	Others []Stored
	Proof  string // "verified" or what is wrong with leaf or chain at this event
}

// Report is what a verification found.
type Report struct {
	Events      int64
	First, Last int64
	LastChain   [32]byte
	Problems    []Problem
	Took        time.Duration
}

// Problem is one place where the log does not add up.
type Problem struct {
	Seq  int64
	What string
}

// OpenOperation is an attempt without an outcome.
type OpenOperation struct {
	Operation uuid.UUID
	Attempt   Stored
}
