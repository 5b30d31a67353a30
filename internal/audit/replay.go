package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// replayBatch is how many events are read at once.
const replayBatch = 1000

// Replay calls f with the events of these acts that came to pass, oldest first: single events and
// outcomes that are ok, recorded at or before the time; the zero time is now. An error of f ends it and
// is returned as it is.
func Replay(ctx context.Context, tx pgx.Tx, acts []string, until time.Time, f func(Stored) error) error {
	for after := int64(0); ; {
		rows, err := tx.Query(ctx, `
			SELECT `+storedColumns+` FROM audit.events e
			WHERE e.act = ANY($1) AND e.seq > $2 AND e.outcome = 'ok' AND e.phase IN ('single', 'outcome') AND e.recorded_at <= coalesce($3::timestamptz, 'infinity')
			ORDER BY e.seq LIMIT $4`, acts, after, timeOrNil(until), replayBatch)
		if err != nil {
			return fmt.Errorf("replaying the log: %w", err)
		}
		read, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
		if err != nil {
			return fmt.Errorf("replaying the log: %w", err)
		}
		for _, row := range read {
			after = row.Seq
			if err := f(row.stored()); err != nil {
				return err
			}
		}
		if len(read) < replayBatch {
			return nil
		}
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
