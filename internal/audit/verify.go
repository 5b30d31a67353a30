package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Report is what a verification found.
type Report struct {
	Events      int64
	First, Last int64
	LastChain   [32]byte // to be kept elsewhere: it stands for everything up to Last
	Problems    []Problem
	More        int64 // problems beyond those listed
	Took        time.Duration
}

// OK is true when everything adds up.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Problem is one place where the log does not add up.
type Problem struct {
	Seq  int64
	What string
}

// maxProblems bounds a report; one change early in a log is one problem, not one an event.
const maxProblems = 100

// progressEvery is how many events pass between two calls of a progress function.
const progressEvery = 10_000

func (r *Report) problem(seq int64, format string, args ...any) {
	if len(r.Problems) == maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, Problem{Seq: seq, What: fmt.Sprintf(format, args...)})
}

func leafOf(seq int64, recordedAt time.Time, body []byte) [32]byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[1:], uint64(seq))
	binary.BigEndian.PutUint64(head[9:], uint64(recordedAt.UnixMicro()))
	h := sha256.New()
	h.Write(head[:])
	h.Write(body)
	return [32]byte(h.Sum(nil))
}

func chainOf(previous []byte, leaf [32]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{1})
	h.Write(previous)
	h.Write(leaf[:])
	return [32]byte(h.Sum(nil))
}

// walk checks events one after the other, as they come from the database or an export.
type walk struct {
	report     *Report
	next       int64
	chain      []byte
	recordedAt time.Time
}

// step checks one event against the ones before it. After a problem it goes on from what the
// event claims, so that each change is told once. genuine is false when the body is not the one
// that was recorded, so that it is no measure for anything else.
func (w *walk) step(seq int64, recordedAt time.Time, body, leaf, chain []byte) (genuine bool) {
	switch {
	case seq == w.next+1 && w.report.Events > 0:
		w.report.problem(w.next, "event %d is missing", w.next)
	case seq > w.next && w.report.Events > 0:
		w.report.problem(w.next, "events %d to %d are missing", w.next, seq-1)
	case seq > w.next:
		w.report.problem(w.next, "events %d to %d are missing at the beginning", w.next, seq-1)
	case seq < w.next:
		w.report.problem(seq, "the number comes again or out of order")
	}
	missing := seq != w.next
	if recordedAt.Before(w.recordedAt) {
		w.report.problem(seq, "it was recorded before the event preceding it")
	}
	computed := leafOf(seq, recordedAt, body)
	genuine = bytes.Equal(computed[:], leaf)
	if !genuine {
		w.report.problem(seq, "body, time or number are not those that were recorded: the leaf does not fit")
	}
	var claimed [32]byte
	copy(claimed[:], leaf)
	if expected := chainOf(w.chain, claimed); !missing && !bytes.Equal(expected[:], chain) {
		w.report.problem(seq, "the chain from the event before to this one is broken")
	}
	if w.report.Events == 0 {
		w.report.First = seq
	}
	w.report.Events++
	w.report.Last, w.next = seq, seq+1
	w.chain, w.recordedAt = bytes.Clone(chain), recordedAt
	copy(w.report.LastChain[:], chain)
	return genuine
}

// columnList selects the query columns by the names of the fields of columns.
const columnList = `e.id::text AS id, e.act, e.phase, e.outcome, e.inferred::text AS inferred,
	coalesce(e.operation_id::text, '') AS operation_id, coalesce(e.parent_id::text, '') AS parent_id, e.actor_issuer, e.actor_subject, e.actor_name, e.actor_email,
	e.account_id, e.target_kind, e.target_id, e.request_id, e.search`

// Verify walks the log from event number from (0 or 1: the first) to the head: numbers without
// gap, times in order, every leaf and chain, query columns that agree with the body, the head,
// and, when it begins at the first event, the list of open operations. The role of db needs to
// read only. progress may be nil; it is told the number reached now and then.
//
// A log that does not add up is no error: the report lists what is wrong. An error means that the log could not be read to its end.
func Verify(ctx context.Context, db *pgxpool.Pool, from int64, progress func(seq int64)) (Report, error) {
	started := time.Now()
	var r Report
	err := readSnapshot(ctx, db, func(tx pgx.Tx) error {
		return verifyIn(ctx, tx, max(from, 1), progress, &r)
	})
	r.Took = time.Since(started)
	if err != nil {
		return Report{}, fmt.Errorf("verifying the log: %w", err)
	}
	return r, nil
}

// Verify walks the whole log, see the function of that name.
func (l *Log) Verify(ctx context.Context, progress func(seq int64)) (Report, error) {
	return Verify(ctx, l.db, 1, progress)
}

// readSnapshot runs f on one consistent state of the database.
func readSnapshot(ctx context.Context, db *pgxpool.Pool, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}

type head struct {
	Seq        int64
	RecordedAt time.Time
	Chain      []byte
}

func readHead(ctx context.Context, tx pgx.Tx) (head, error) {
	var h head
	if err := tx.QueryRow(ctx, `SELECT seq, recorded_at, chain FROM audit.head`).Scan(&h.Seq, &h.RecordedAt, &h.Chain); err != nil {
		return head{}, fmt.Errorf("reading the head: %w", err)
	}
	return h, nil
}

// chainBefore is the chain value that event number from builds on.
func chainBefore(ctx context.Context, tx pgx.Tx, from int64) ([]byte, error) {
	if from <= 1 {
		return make([]byte, sha256.Size), nil
	}
	var chain []byte
	err := tx.QueryRow(ctx, `SELECT chain FROM audit.events WHERE seq = $1`, from-1).Scan(&chain)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("event %d, before the first one wanted: %w", from-1, ErrNoEvent)
	}
	if err != nil {
		return nil, fmt.Errorf("reading event %d: %w", from-1, err)
	}
	return chain, nil
}

func verifyIn(ctx context.Context, tx pgx.Tx, from int64, progress func(int64), r *Report) error {
	h, err := readHead(ctx, tx)
	if err != nil {
		return err
	}
	chain, err := chainBefore(ctx, tx, from)
	if err != nil {
		return err
	}
	open := map[string]int64{} // operation to the number of its attempt
	w := &walk{report: r, next: from, chain: chain}
	rows, err := tx.Query(ctx, `SELECT `+storedColumns+`, `+columnList+` FROM audit.events e WHERE e.seq >= $1 ORDER BY e.seq`, from)
	if err != nil {
		return fmt.Errorf("reading events: %w", err)
	}
	defer rows.Close()
	type row struct {
		storedRow
		columns
	}
	for rows.Next() {
		e, err := pgx.RowToStructByName[row](rows)
		if err != nil {
			return fmt.Errorf("reading events: %w", err)
		}
		genuine := w.step(e.Seq, e.RecordedAt, e.Body, e.Leaf, e.Chain)
		if parsed, err := parseWire(e.Body); err != nil {
			r.problem(e.Seq, "the body is not an event")
		} else {
			want := columnsOf(parsed)
			if name := e.differing(want); genuine && name != "" {
				r.problem(e.Seq, "the query column %s is not what the body says", name)
			}
			follow(open, want, e.Seq)
		}
		if progress != nil && r.Events%progressEvery == 0 {
			progress(e.Seq)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading events: %w", err)
	}
	if progress != nil {
		progress(w.next - 1)
	}
	compareHead(h, w)
	if from > 1 {
		return nil
	}
	return compareOpen(ctx, tx, open, r)
}

// follow keeps the list of open operations as audit.append does.
func follow(open map[string]int64, c columns, seq int64) {
	switch Phase(c.Phase) {
	case PhaseAttempt:
		if _, there := open[c.OperationID]; c.OperationID != "" && !there {
			open[c.OperationID] = seq
		}
	case PhaseOutcome:
		delete(open, c.OperationID)
	}
}

func compareHead(h head, w *walk) {
	last := w.next - 1
	switch {
	case h.Seq > last:
		w.report.problem(last+1, "events %d to %d are missing: the head counts them", last+1, h.Seq)
	case h.Seq < last:
		w.report.problem(h.Seq+1, "events %d to %d are beyond the head", h.Seq+1, last)
	case !bytes.Equal(h.Chain, w.chain):
		w.report.problem(last, "the head has another chain value than the last event")
	case w.report.Events > 0 && !h.RecordedAt.Equal(w.recordedAt):
		w.report.problem(last, "the head has another time than the last event")
	}
}

func compareOpen(ctx context.Context, tx pgx.Tx, open map[string]int64, r *Report) error {
	rows, err := tx.Query(ctx, `SELECT operation_id, seq FROM audit.open_operations ORDER BY seq`)
	if err != nil {
		return fmt.Errorf("reading open operations: %w", err)
	}
	var id uuid.UUID
	var seq int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &seq}, func() error {
		if attempt, there := open[id.String()]; !there || attempt != seq {
			r.problem(seq, "it is listed as open and is not")
		}
		delete(open, id.String())
		return nil
	}); err != nil {
		return fmt.Errorf("reading open operations: %w", err)
	}
	for _, seq := range slices.Sorted(maps.Values(open)) {
		r.problem(seq, "the attempt has no outcome and is not listed as open")
	}
	return nil
}

// verified is the Proof of an event that adds up.
const verified = "verified"

// proof checks one event alone, against the chain value of the one before.
func proof(r storedRow, c columns, previous []byte) string {
	if r.Seq == 1 {
		previous = make([]byte, sha256.Size)
	}
	if previous == nil {
		return "the event before is missing"
	}
	var report Report
	(&walk{report: &report, next: r.Seq, chain: previous}).step(r.Seq, r.RecordedAt, r.Body, r.Leaf, r.Chain)
	if !report.OK() {
		return report.Problems[0].What
	}
	parsed, err := parseWire(r.Body)
	if err != nil {
		return "the body is not an event"
	}
	if name := c.differing(columnsOf(parsed)); name != "" {
		return "the query column " + name + " is not what the body says"
	}
	return verified
}
