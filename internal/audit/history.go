package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// OutcomesOf gives what is on record as done with success to things of one kind in an account, oldest
// first. What was inferred gives way to what the same operation told after it. Without ids it is
// nothing.
func (l *Log) OutcomesOf(ctx context.Context, account, targetKind string, targetIDs []string) ([]Stored, error) {
	ids := make([]string, len(targetIDs))
	for i, id := range targetIDs {
		ids[i] = visible(id, maxName)
	}
	rows, err := l.db.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE e.target_kind = @kind AND e.target_id = ANY(@ids) AND e.account_id = @account AND e.phase = 'outcome' AND e.outcome = 'ok'
			AND NOT (e.inferred AND EXISTS (SELECT FROM audit.events told
				WHERE told.operation_id = e.operation_id AND told.phase = 'outcome' AND NOT told.inferred))
		ORDER BY e.seq`, pgx.NamedArgs{"kind": visible(targetKind, maxName), "ids": ids, "account": visible(account, maxName)})
	if err != nil {
		return nil, fmt.Errorf("reading outcomes: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return nil, fmt.Errorf("reading outcomes: %w", err)
	}
	outcomes := make([]Stored, len(found))
	for i, r := range found {
		outcomes[i] = r.stored()
	}
	return outcomes, nil
}

// UnknownSince gives the attempts on things of one kind in an account of which it was concluded after a time that nobody knows how they
// ended, and of which nothing else was told since; the oldest first, at most 500.
func (l *Log) UnknownSince(ctx context.Context, account, targetKind string, since time.Time) ([]Stored, error) {
	rows, err := l.db.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE e.phase = 'attempt' AND e.operation_id = ANY (ARRAY(
			SELECT done.operation_id FROM audit.events done
			WHERE done.account_id = @account AND done.target_kind = @kind AND done.phase = 'outcome' AND done.outcome = 'unknown' AND done.recorded_at > @since
				AND NOT EXISTS (SELECT FROM audit.events told WHERE told.operation_id = done.operation_id AND told.seq > done.seq AND told.phase = 'outcome')
			ORDER BY done.seq DESC LIMIT 500))
		ORDER BY e.seq`, pgx.NamedArgs{"kind": visible(targetKind, maxName), "account": visible(account, maxName), "since": since})
	if err != nil {
		return nil, fmt.Errorf("reading unknown outcomes: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return nil, fmt.Errorf("reading unknown outcomes: %w", err)
	}
	attempts := make([]Stored, len(found))
	for i, r := range found {
		attempts[i] = r.stored()
	}
	return attempts, nil
}

// LastOf returns the number of the last event about an account, 0 when there is none. Whoever remembers
// something of the account can tell by it whether anything was done there since, by whichever process.
func (l *Log) LastOf(ctx context.Context, account string) (seq int64, err error) {
	if err := l.db.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM audit.events WHERE account_id = $1`, visible(account, maxName)).Scan(&seq); err != nil {
		return 0, fmt.Errorf("reading the last event about an account: %w", err)
	}
	return seq, nil
}
