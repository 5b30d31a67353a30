package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// replayBatch is how many events are read at once.
const replayBatch = 1000

// Replay calls f with the events of these acts that came to pass, oldest first: single events and
// outcomes that are ok, recorded at or before the time; the zero time is now. An error of f ends it and
// is returned as it is.
func Replay(ctx context.Context, tx pgx.Tx, acts []string, until time.Time, f func(Stored) error) error {
	return replay(ctx, tx, `e.act = ANY($1) AND e.seq > $2 AND e.outcome = 'ok' AND e.phase IN ('single', 'outcome') AND e.recorded_at <= coalesce($4::timestamptz, 'infinity')`,
		acts, f, timeOrNil(until))
}

// Begins is when the oldest event that the log holds was recorded; the zero time while it holds none.
func Begins(ctx context.Context, tx pgx.Tx) (time.Time, error) {
	var at time.Time
	err := tx.QueryRow(ctx, `SELECT recorded_at FROM audit.events ORDER BY seq LIMIT 1`).Scan(&at)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, fmt.Errorf("reading when the log begins: %w", err)
	}
	return at, nil
}

// ReplayTo calls f with the same events as Replay does, up to the one of a number. Each batch is read by a statement of
// its own, which holds no lock and no snapshot when it has ended: what is in the log up to a number does not change.
func ReplayTo(ctx context.Context, db *pgxpool.Pool, acts []string, last int64, f func(Stored) error) error {
	return replay(ctx, db, `e.act = ANY($1) AND e.seq > $2 AND e.outcome = 'ok' AND e.phase IN ('single', 'outcome') AND e.seq <= $4`, acts, f, last)
}

// ReplayEnds calls f with the single events and outcomes of the acts, however they ended, oldest first.
func ReplayEnds(ctx context.Context, db *pgxpool.Pool, acts []string, f func(Stored) error) error {
	return replay(ctx, db, `e.act = ANY($1) AND e.seq > $2 AND e.phase IN ('single', 'outcome')`, acts, f)
}

// replay reads events in batches. The condition has the acts as $1, the number after which a batch begins as $2, and
// what more it needs from $4 on.
func replay(ctx context.Context, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, condition string, acts []string, f func(Stored) error, more ...any) error {
	for after := int64(0); ; {
		rows, err := db.Query(ctx, `SELECT `+storedColumns+` FROM audit.events e WHERE `+condition+` ORDER BY e.seq LIMIT $3`,
			append([]any{acts, after, replayBatch}, more...)...)
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

// ReplayPart calls f with the single events and outcomes of one larger act that came to pass, oldest first: those that
// name it as their parent.
func ReplayPart(ctx context.Context, tx pgx.Tx, parent uuid.UUID, f func(Stored) error) error {
	rows, err := tx.Query(ctx, `
		SELECT `+storedColumns+` FROM audit.events e
		WHERE e.parent_id = $1 AND e.outcome = 'ok' AND e.phase IN ('single', 'outcome') ORDER BY e.seq`, parent)
	if err != nil {
		return fmt.Errorf("replaying a part of the log: %w", err)
	}
	read, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return fmt.Errorf("replaying a part of the log: %w", err)
	}
	for _, row := range read {
		if err := f(row.stored()); err != nil {
			return err
		}
	}
	return nil
}

// LastByActor calls f with the newest event of the act that came to pass by each actor, recorded at or before the time;
// the zero time is now. Actors of the issuer that is left out have none. It goes from actor to actor by the index, so that
// what it costs grows with their number and not with how often each did it.
func LastByActor(ctx context.Context, tx pgx.Tx, act, leftOut string, until time.Time, f func(Stored)) error {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE actors AS (
			(SELECT e.actor_subject AS subject, e.actor_issuer AS issuer FROM audit.events e ORDER BY e.actor_subject, e.actor_issuer LIMIT 1)
			UNION ALL
			SELECT next.subject, next.issuer FROM actors a CROSS JOIN LATERAL (
				SELECT e.actor_subject AS subject, e.actor_issuer AS issuer FROM audit.events e
				WHERE (e.actor_subject, e.actor_issuer) > (a.subject, a.issuer) ORDER BY e.actor_subject, e.actor_issuer LIMIT 1
			) next
		)
		SELECT last.* FROM actors a CROSS JOIN LATERAL (
			SELECT `+storedColumns+` FROM audit.events e
			WHERE e.actor_subject = a.subject AND e.actor_issuer = a.issuer AND e.act = $1 AND e.outcome = 'ok' AND e.phase IN ('single', 'outcome')
				AND e.recorded_at <= coalesce($3::timestamptz, 'infinity')
			ORDER BY e.seq DESC LIMIT 1
		) last
		WHERE a.issuer <> $2`, act, leftOut, timeOrNil(until))
	if err != nil {
		return fmt.Errorf("reading the last events of each actor: %w", err)
	}
	read, err := pgx.CollectRows(rows, pgx.RowToStructByName[storedRow])
	if err != nil {
		return fmt.Errorf("reading the last events of each actor: %w", err)
	}
	for _, row := range read {
		f(row.stored())
	}
	return nil
}

// Activity is when an actor last did something, or tried, in one place. Refusals are none.
type Activity struct {
	Issuer, Subject string
	Account         string // empty: in no account
	Cluster         string // that the event, or a key that it is about, belongs to; empty: none, or several
	Act             string // set only for the acts that are told apart
	Last            time.Time
}

// ActivityBetween gives what actors did after one time and until another, one row an actor and place; those of the acts in
// apart have rows of their own. Events of the issuer that is left out are not read.
func ActivityBetween(ctx context.Context, tx pgx.Tx, after, until time.Time, apart []string, leftOut string) ([]Activity, error) {
	if err := withoutJIT(ctx, tx); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		SELECT e.actor_issuer AS issuer, e.actor_subject AS subject, e.account_id AS account,
			CASE WHEN `+isCluster+` THEN e.target_id
				WHEN `+isKey+` THEN coalesce(convert_from(e.body, 'UTF8')::jsonb #>> '{change,cluster_id,1}', convert_from(e.body, 'UTF8')::jsonb #>> '{change,cluster_id,0}', '')
				ELSE '' END AS cluster,
			CASE WHEN e.act = ANY($3::text[]) THEN e.act ELSE '' END AS act, max(e.recorded_at) AS last
		FROM audit.events e
		WHERE e.recorded_at > $1 AND e.recorded_at <= $2 AND e.outcome <> 'denied' AND e.phase IN ('single', 'outcome') AND e.actor_issuer <> $4
		GROUP BY 1, 2, 3, 4, 5`, after, until, apart, leftOut)
	if err != nil {
		return nil, fmt.Errorf("reading what actors did: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Activity])
	if err != nil {
		return nil, fmt.Errorf("reading what actors did: %w", err)
	}
	return found, nil
}

// NamesOf gives the name that things of a kind had at a time, where an event until then tells it; the zero time is now.
func NamesOf(ctx context.Context, tx pgx.Tx, kind string, ids []string, until time.Time) (map[Cluster]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT ON (e.account_id, e.target_id) e.account_id, e.target_id, coalesce(convert_from(e.body, 'UTF8')::jsonb #>> '{target,name}', '')
		FROM unnest($2::text[]) AS wanted (id) JOIN audit.events e ON e.target_kind = $1 AND e.target_id = wanted.id
		WHERE e.phase <> 'attempt' AND e.recorded_at <= coalesce($3::timestamptz, 'infinity')
		ORDER BY e.account_id, e.target_id, e.seq DESC`, kind, ids, timeOrNil(until))
	if err != nil {
		return nil, fmt.Errorf("reading names in the log: %w", err)
	}
	names := map[Cluster]string{}
	var of Cluster
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&of.Account, &of.ID, &name}, func() error {
		names[of] = name
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading names in the log: %w", err)
	}
	return names, nil
}
