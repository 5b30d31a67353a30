package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

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

// What an open attempt reads, besides the outcomes.
const (
	statusPending = "pending"
	statusUnknown = string(Unknown)
)

// Query filters operations. Zero values do not filter.
type Query struct {
	Text     string // in names, ids, reason; upper and lower case are alike
	Member   string // part of the actor's e-mail, name or subject
	Account  string // account id
	Act      string
	Outcome  string    // ok, failed, denied, unknown, pending
	From, To time.Time // of recording; To itself is excluded
	After    int64     // keyset: only operations with a smaller seq
	Limit    int       // 0: 50; at most 500
	// TargetKind and TargetID narrow to one thing's history.
	TargetKind, TargetID string
	UnknownAfter         time.Duration // 0: the log's own
	// Unfollowed is an act: only events that no event of it names as its parent.
	Unfollowed string
	// Part is what the reader may see. Nil is everything, events of no account included.
	Part *Part
}

const (
	defaultLimit = 50
	maxLimit     = 500
)

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

// OpenOperation is an attempt without an outcome.
type OpenOperation struct {
	Operation uuid.UUID
	Attempt   Stored
}

// storedRow is what every read selects; storedColumns are its columns, of audit.events as e.
type storedRow struct {
	Seq        int64
	RecordedAt time.Time
	Body       []byte
	Leaf       []byte
	Chain      []byte
}

const storedColumns = `e.seq, e.recorded_at, e.body, e.leaf, e.chain`

func (r storedRow) stored() Stored {
	s := Stored{Seq: r.Seq, RecordedAt: r.RecordedAt.UTC(), Body: r.Body}
	copy(s.Leaf[:], r.Leaf)
	copy(s.Chain[:], r.Chain)
	e, err := Decode(r.Body)
	if err != nil {
		// Shown rather than hidden: a body that is no event is a finding.
		e = Event{Act: "unreadable", Reason: err.Error()}
	}
	s.Event = e
	return s
}

// List gives one page of operations: outcomes, single events and the attempts that are open. An
// operation has one row.
func (l *Log) List(ctx context.Context, q Query) (Page, error) {
	where, args := l.conditions(q)
	page, err := l.page(ctx, q.Limit, args, func() string { return q.Part.among(q, where, args) })
	if err != nil {
		return Page{}, fmt.Errorf("listing the log: %w", err)
	}
	return page, nil
}

// page reads the newest operations that meet the condition, of at most limit and one more, which it finds
// in the arguments.
func (l *Log) page(ctx context.Context, limit int, args pgx.NamedArgs, condition func() string) (Page, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	args["limit"] = limit + 1
	type row struct {
		storedRow
		Status string
	}
	var found []row
	statement := pageOf(condition())
	read := func(db querier) error {
		rows, err := db.Query(ctx, statement, args)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, pgx.RowToStructByName[row])
		return err
	}
	var err error
	if args["part_accounts"] == nil {
		err = read(l.db)
	} else {
		err = pgx.BeginTxFunc(ctx, l.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if err := withoutJIT(ctx, tx); err != nil {
				return err
			}
			return read(tx)
		})
	}
	if err != nil {
		return Page{}, err
	}
	var page Page
	if len(found) > limit {
		found = found[:limit]
		page.Next = found[limit-1].Seq
	}
	page.Operations = make([]Operation, len(found))
	for i, r := range found {
		page.Operations[i] = Operation{Stored: r.stored(), Status: r.Status}
	}
	return page, nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// withoutJIT is for statements about a part of the log: Postgres overrates what many accounts cost, and would compile for
// longer than it runs.
func withoutJIT(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SET LOCAL jit = off`); err != nil {
		return fmt.Errorf("preparing to read a part of the log: %w", err)
	}
	return nil
}

// pageOf is the statement that reads a page.
func pageOf(condition string) string {
	return `
		SELECT ` + storedColumns + `, ` + statusOf + ` AS status
		FROM audit.events e LEFT JOIN audit.open_operations o ON o.seq = e.seq
		WHERE ` + condition + `
		ORDER BY e.seq DESC
		LIMIT @limit`
}

// attemptedAt is when an open operation o began, whose attempt is e. recorded_at stands still ahead after the database's
// clock was ahead; then the console's time counts, and when that was ahead too the attempt is old.
const attemptedAt = `CASE WHEN o.recorded_at <= clock_timestamp() + interval '1 minute' THEN o.recorded_at
	WHEN (convert_from(e.body, 'UTF8')::jsonb ->> 'at')::timestamptz <= clock_timestamp() + interval '1 minute' THEN (convert_from(e.body, 'UTF8')::jsonb ->> 'at')::timestamptz
	ELSE '-infinity' END`

// statusOf is how an event reads on the page; o is its row among the open operations, if any.
const statusOf = `CASE WHEN o.seq IS NULL THEN e.outcome
	WHEN ` + attemptedAt + ` < clock_timestamp() - @unknown_after::interval THEN 'unknown'
	ELSE 'pending' END`

func (l *Log) conditions(q Query) ([]string, pgx.NamedArgs) {
	after := q.UnknownAfter
	if after == 0 {
		after = l.unknownAfter
	}
	args := pgx.NamedArgs{"unknown_after": after}
	where := []string{
		`(e.phase IN ('outcome', 'single') OR o.seq IS NOT NULL)`,
		// One row an operation: what was inferred gives way to what was told after it.
		`NOT (e.inferred AND EXISTS (SELECT FROM audit.events told
			WHERE told.operation_id = e.operation_id AND told.phase = 'outcome' AND NOT told.inferred))`,
	}
	add := func(set bool, condition, name string, value any) {
		if set {
			where = append(where, condition)
			args[name] = value
		}
	}
	add(q.Text != "", inSearch(q.Text, "text"), "text", contains(q.Text))
	// What search does not hold, none of the three does, and one look costs less than three.
	add(q.Member != "", inSearch(q.Member, "member")+` AND (e.actor_email ILIKE @member OR e.actor_name ILIKE @member OR e.actor_subject ILIKE @member)`,
		"member", contains(q.Member))
	add(q.Account != "", `e.account_id = @account`, "account", searchable(q.Account))
	add(q.Act != "", `e.act = @act`, "act", searchable(q.Act))
	add(!q.From.IsZero(), `e.recorded_at >= @from`, "from", q.From)
	add(!q.To.IsZero(), `e.recorded_at < @to`, "to", q.To)
	add(q.After > 0, `e.seq < @after`, "after", q.After)
	add(q.TargetKind != "", `e.target_kind = @target_kind`, "target_kind", searchable(q.TargetKind))
	add(q.TargetID != "", `e.target_id = @target_id`, "target_id", searchable(q.TargetID))
	add(q.Unfollowed != "", `NOT EXISTS (SELECT FROM audit.events f WHERE f.parent_id = e.id AND f.act = @unfollowed)`, "unfollowed", searchable(q.Unfollowed))
	switch q.Outcome {
	case "":
	case statusPending:
		where = append(where, `o.seq IS NOT NULL AND `+statusOf+` = 'pending'`)
	case statusUnknown:
		// Written so that neither half reads the whole log.
		where = append(where, `(e.outcome = 'unknown' OR e.seq = ANY (ARRAY(SELECT open.seq FROM audit.open_operations open))) AND `+statusOf+` = 'unknown'`)
	default:
		add(true, `o.seq IS NULL AND e.outcome = @outcome`, "outcome", searchable(q.Outcome))
	}
	return where, args
}

// searchable writes text as the log has it; raw, it could hold what Postgres refuses.
func searchable(s string) string { return visible(s, maxMessage) }

// inSearch is the condition that the column search contains an argument made by contains. The
// column is in lower case as far as it is ASCII, and there LIKE is many times faster than ILIKE.
func inSearch(text, argument string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		return `e.search ILIKE @` + argument
	}
	return `e.search LIKE @` + argument
}

// contains is a LIKE pattern for text anywhere, whatever its case in ASCII.
func contains(s string) string {
	s = lowerASCII(s)
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(searchable(s)) + "%"
}

// Get gives one event in full, whatever its phase. ErrNoEvent when there is none of that number.
func (l *Log) Get(ctx context.Context, seq int64) (Detail, error) { return l.GetIn(ctx, seq, nil) }

// GetIn is Get for a reader who may see a part of the log; nil is all of it. One outside is not there, and
// is looked for in the same way; nor are the other events of an operation that are outside.
func (l *Log) GetIn(ctx context.Context, seq int64, part *Part) (Detail, error) {
	args := pgx.NamedArgs{"seq": seq, "unknown_after": l.unknownAfter}
	rows, err := l.db.Query(ctx, `
		SELECT `+storedColumns+`, `+statusOf+` AS status, `+columnList+`,
			(SELECT before.chain FROM audit.events before WHERE before.seq = e.seq - 1) AS previous
		FROM audit.events e LEFT JOIN audit.open_operations o ON o.seq = e.seq
		WHERE e.seq = @seq AND `+part.condition(args), args)
	if err != nil {
		return Detail{}, fmt.Errorf("reading event %d: %w", seq, err)
	}
	type row struct {
		storedRow
		columns
		Status   string
		Previous []byte
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[row])
	if errors.Is(err, pgx.ErrNoRows) {
		return Detail{}, fmt.Errorf("reading event %d: %w", seq, ErrNoEvent)
	}
	if err != nil {
		return Detail{}, fmt.Errorf("reading event %d: %w", seq, err)
	}
	d := Detail{Operation: Operation{Stored: found.stored(), Status: found.Status}}
	d.Proof = proof(found.storedRow, found.columns, found.Previous)
	if d.Event.Operation == uuid.Nil {
		return d, nil
	}
	d.Others, err = l.others(ctx, d.Event.Operation, seq, part)
	return d, err
}

func (l *Log) others(ctx context.Context, operation uuid.UUID, but int64, part *Part) ([]Stored, error) {
	args := pgx.NamedArgs{"operation": operation, "but": but, "limit": maxLimit}
	rows, err := l.db.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE e.operation_id = @operation AND e.seq <> @but AND `+part.condition(args)+` ORDER BY e.seq LIMIT @limit`, args)
	if err != nil {
		return nil, fmt.Errorf("reading the events of operation %s: %w", operation, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return nil, fmt.Errorf("reading the events of operation %s: %w", operation, err)
	}
	others := make([]Stored, len(found))
	for i, r := range found {
		others[i] = r.stored()
	}
	return others, nil
}

// Operation gives the events of an operation, oldest first, at most 500; none when the log has none.
func (l *Log) Operation(ctx context.Context, id uuid.UUID) ([]Stored, error) {
	return l.others(ctx, id, 0, nil)
}

// OpenOperations gives the attempts without an outcome that were made longer ago than
// olderThan and have a number above after, oldest first, at most 500.
func (l *Log) OpenOperations(ctx context.Context, olderThan time.Duration, after int64) ([]OpenOperation, error) {
	return l.openOperations(ctx, attemptedAt+` <= clock_timestamp() - @older_than::interval AND o.seq > @after`,
		pgx.NamedArgs{"older_than": olderThan, "after": after})
}

// PendingFor gives the attempts on one target that have no outcome yet, oldest first.
func (l *Log) PendingFor(ctx context.Context, targetKind, targetID string) ([]OpenOperation, error) {
	return l.openOperations(ctx, `o.target_kind = @kind AND o.target_id = @id`,
		pgx.NamedArgs{"kind": visible(targetKind, maxName), "id": visible(targetID, maxName)})
}

func (l *Log) openOperations(ctx context.Context, where string, args pgx.NamedArgs) ([]OpenOperation, error) {
	args["limit"] = maxLimit
	rows, err := l.db.Query(ctx, `
		SELECT o.operation_id, `+storedColumns+`
		FROM audit.open_operations o JOIN audit.events e ON e.seq = o.seq
		WHERE `+where+` ORDER BY o.seq LIMIT @limit`, args)
	if err != nil {
		return nil, fmt.Errorf("reading open operations: %w", err)
	}
	type row struct {
		OperationID uuid.UUID
		storedRow
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return nil, fmt.Errorf("reading open operations: %w", err)
	}
	open := make([]OpenOperation, len(found))
	for i, r := range found {
		open[i] = OpenOperation{Operation: r.OperationID, Attempt: r.stored()}
	}
	return open, nil
}
