package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ActorQuery asks for what one actor did or tried.
type ActorQuery struct {
	Issuer, Subject string
	Acts            []string
	Done            bool // only what was done with success
	Limit           int  // at most 500
}

// ByActor gives single events and outcomes of the acts, newest first. What was inferred gives way to what the same
// operation told after it. more reports whether there are others, older ones.
func (l *Log) ByActor(ctx context.Context, q ActorQuery) (events []Stored, more bool, err error) {
	limit := min(max(q.Limit, 1), maxLimit)
	events, err = l.told(ctx, `
		e.actor_subject = @subject AND e.actor_issuer = @issuer AND e.act = ANY(@acts) AND (e.outcome = 'ok' OR NOT @done)`,
		`e.seq DESC LIMIT @limit`,
		pgx.NamedArgs{
			"subject": visible(q.Subject, maxName), "issuer": visible(q.Issuer, maxName), "acts": q.Acts, "done": q.Done, "limit": limit + 1,
		})
	if err != nil {
		return nil, false, fmt.Errorf("reading what an actor did: %w", err)
	}
	if len(events) > limit {
		return events[:limit], true, nil
	}
	return events, false, nil
}

// DoneTo gives what was done with success by one of the acts to things of the kinds with one of the ids, in whichever
// account, oldest first.
func (l *Log) DoneTo(ctx context.Context, kinds, acts, targetIDs []string) ([]Stored, error) {
	ids := make([]string, len(targetIDs))
	for i, id := range targetIDs {
		ids[i] = visible(id, maxName)
	}
	events, err := l.told(ctx, `e.target_kind = ANY(@kinds) AND e.target_id = ANY(@ids) AND e.act = ANY(@acts) AND e.outcome = 'ok'`, `e.seq`,
		pgx.NamedArgs{"kinds": kinds, "ids": ids, "acts": acts})
	if err != nil {
		return nil, fmt.Errorf("reading what was done to things: %w", err)
	}
	return events, nil
}

// told reads single events and outcomes that meet the condition, one an operation.
func (l *Log) told(ctx context.Context, condition, order string, args pgx.NamedArgs) ([]Stored, error) {
	rows, err := l.db.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE `+condition+` AND e.phase IN ('outcome', 'single')
			AND NOT (e.inferred AND EXISTS (SELECT FROM audit.events told
				WHERE told.operation_id = e.operation_id AND told.phase = 'outcome' AND NOT told.inferred))
		ORDER BY `+order, args)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return nil, err
	}
	events := make([]Stored, len(found))
	for i, r := range found {
		events[i] = r.stored()
	}
	return events, nil
}
