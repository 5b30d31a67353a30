package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// lateFor is how long an operation whose outcome was inferred may still take effect: its call may have been on the way.
const lateFor = 10 * time.Minute

// ClusterOperations gives the operations that may be why clusters of an account are not as they were, each with its
// attempt and outcomes, oldest first; those of the caller's transaction and all committed before it asks. These are:
// open ones; those that ended with an event of a higher number than after, or so recently; those whose outcome was inferred a few minutes ago; and
// those that made or deleted one of the clusters, however long ago. With an empty id among the clusters, also those
// that make one which they cannot name yet.
func (l *Log) ClusterOperations(ctx context.Context, tx pgx.Tx, account string, clusters []string, after int64, recent time.Duration) (map[uuid.UUID][]Stored, error) {
	ids := make([]string, len(clusters))
	for i, id := range clusters {
		ids[i] = visible(id, maxName)
	}
	rows, err := tx.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE e.phase IN ('attempt', 'outcome') AND e.operation_id = ANY (ARRAY(
			SELECT done.operation_id FROM audit.events done
			WHERE done.target_kind = 'cluster' AND done.target_id = ANY(@ids) AND done.account_id = @account AND done.phase = 'outcome'
				AND (done.seq > @after OR done.target_id <> '' AND done.act IN ('cluster.create', 'cluster.delete')
					OR done.recorded_at > clock_timestamp() - CASE WHEN done.inferred THEN @late::interval ELSE @recent::interval END
						AND done.recorded_at < clock_timestamp() + interval '1 minute')
			UNION
			SELECT o.operation_id FROM audit.open_operations o JOIN audit.events begun ON begun.seq = o.seq
			WHERE o.target_kind = 'cluster' AND o.target_id = ANY(@ids) AND begun.account_id = @account
		))
		ORDER BY e.seq`,
		pgx.NamedArgs{"ids": ids, "account": visible(account, maxName), "after": after, "late": lateFor, "recent": recent})
	if err != nil {
		return nil, fmt.Errorf("reading operations on clusters: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return nil, fmt.Errorf("reading operations on clusters: %w", err)
	}
	operations := map[uuid.UUID][]Stored{}
	for _, r := range found {
		e := r.stored()
		operations[e.Operation] = append(operations[e.Operation], e)
	}
	return operations, nil
}

// FollowersIn gives for each of the events the first of an act that names it as its parent, as far as it is in the part. An event
// that has none is not in the answer.
func FollowersIn(ctx context.Context, db querier, events []uuid.UUID, act string, part *Part) (map[uuid.UUID]Stored, error) {
	args := pgx.NamedArgs{"events": events, "act": searchable(act)}
	rows, err := db.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE e.parent_id = ANY(@events::uuid[]) AND e.act = @act AND `+part.condition(args)+` ORDER BY e.seq`, args)
	if err != nil {
		return nil, fmt.Errorf("reading what followed events: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return nil, fmt.Errorf("reading what followed events: %w", err)
	}
	followers := make(map[uuid.UUID]Stored, len(found))
	for _, r := range found {
		e := r.stored()
		if _, earlier := followers[e.Parent]; !earlier {
			followers[e.Parent] = e
		}
	}
	return followers, nil
}
