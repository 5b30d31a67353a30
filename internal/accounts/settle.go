package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// An act whose work goes on after upstream's answer gets one settled event when a snapshot read after
// its outcome shows the end. A row of long_work stands for the event that is owed: it is inserted
// before the call, and deleted in the transaction that records the event. So the event is recorded
// once, whichever replica sees the end and wherever one is killed.

const (
	// settleGrace is how long a phase that is neither moving nor the end that was wanted may pass by
	// itself: upstream may not have begun yet, or a node may not have come back.
	settleGrace = 15 * time.Minute
	// stillActing is how long after its beginning an act may still tell how it ended, although
	// something else was inferred.
	stillActing = callTimeout + 2*appendTimeout
)

// noteLongWork notes that the end of an operation's work is to be recorded.
func (s *Service) noteLongWork(ctx context.Context, operation uuid.UUID) error {
	if _, err := s.cfg.DB.Exec(ctx, `INSERT INTO long_work (operation_id) VALUES ($1)`, operation); err != nil {
		return dbError("noting long work", err)
	}
	return nil
}

// longWork is an operation whose end is to be recorded.
type longWork struct {
	OperationID uuid.UUID
	BegunAt     time.Time
}

// ending is how an operation's work ended.
type ending struct {
	outcome audit.Outcome // empty: it has not ended
	reason  string
	phase   any  // at the end; nil when the cluster is gone or nobody knows
	nothing bool // there was no work
}

// settleOnce records how work has ended that was under way. Problems with one operation are logged
// and do not keep the others from being looked at. Replicas may do it at once.
func (s *Service) settleOnce(ctx context.Context) error {
	rows, err := s.cfg.DB.Query(ctx, `SELECT operation_id, begun_at FROM long_work ORDER BY begun_at, operation_id`)
	if err != nil {
		return dbError("finding long work", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[longWork])
	if err != nil {
		return dbError("finding long work", err)
	}
	for _, w := range all {
		if ctx.Err() != nil {
			return fmt.Errorf("settling: %w", ctx.Err())
		}
		if err := s.settle(ctx, w); err != nil && ctx.Err() == nil { // else it is left to the next process
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "end of work not recorded", slog.String("operation", w.OperationID.String()), slog.Any("error", err))
		}
	}
	return nil
}

// settle looks at one operation's work.
func (s *Service) settle(ctx context.Context, w longWork) error {
	events, err := s.cfg.Log.Operation(ctx, w.OperationID)
	if err != nil {
		return dbError("reading the operation", err)
	}
	outcome, ended := outcomeOf(events)
	if !ended {
		return nil // the reconciler ends it first
	}
	e, err := s.endingOf(ctx, w, outcome)
	switch {
	case err != nil:
		return err
	case e.nothing:
		return s.forgetWork(ctx, w, nil)
	case e.outcome == "":
		return nil
	}
	settled := outcome.Event
	settled.ID, settled.At, settled.Phase, settled.Inferred = uuid.Nil, time.Time{}, audit.PhaseSettled, false
	settled.Outcome, settled.Reason, settled.Actor.Via = e.outcome, e.reason, audit.ViaJob
	settled.Upstream = audit.Upstream{KeyID: outcome.Upstream.KeyID}
	settled.Change = audit.Change{
		"phase":            {outcome.Change["phase"][0], e.phase},
		"duration_seconds": {nil, int64(s.ageOf(events[0]) / time.Second)},
	}
	return s.forgetWork(ctx, w, &settled)
}

// outcomeOf returns how upstream answered: what was told counts more than what was inferred.
func outcomeOf(events []audit.Stored) (audit.Stored, bool) {
	last, found := audit.Stored{}, false
	for _, e := range events {
		if e.Phase == audit.PhaseOutcome && (!found || last.Inferred) {
			last, found = e, true
		}
	}
	return last, found
}

// forgetWork deletes the row and records the event with it. Only one of two replicas finds the row.
func (s *Service) forgetWork(ctx context.Context, w longWork, settled *audit.Event) error {
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		deleted, err := tx.Exec(ctx, `DELETE FROM long_work WHERE operation_id = $1`, w.OperationID)
		if err != nil || deleted.RowsAffected() == 0 || settled == nil {
			return err
		}
		return s.recordLast(ctx, tx, *settled)
	})
	if err != nil {
		return dbError("recording the end of work", err)
	}
	return nil
}

// endingOf tells from the snapshot how the work of an operation with this outcome has ended.
func (s *Service) endingOf(ctx context.Context, w longWork, outcome audit.Stored) (ending, error) {
	if outcome.Outcome != audit.OK {
		// The process that acted may still tell better.
		return ending{nothing: !outcome.Inferred || elapsed(s.now(), w.BegunAt, stillActing)}, nil
	}
	seen, err := s.seenAfter(ctx, w, outcome)
	if errors.Is(err, ErrNotFound) {
		return ending{outcome: audit.Unknown, reason: "The account is no longer registered here, so nobody looks at its clusters."}, nil
	}
	if err != nil {
		return ending{}, err
	}
	age := s.ageOf(outcome)
	e := ending{}
	if seen.told {
		e = endOfWork(outcome.Act, outcome.Change["phase"][0], seen, age)
	}
	if e.outcome == audit.Failed {
		// Somebody may have done something else with it meanwhile, and this is that act's doing.
		followed, err := s.otherActSince(ctx, audit.OpenOperation{Operation: w.OperationID, Attempt: outcome})
		if err != nil {
			return ending{}, err
		}
		if followed {
			e.outcome, e.reason = audit.Unknown, "Another act on the cluster followed, so its state no longer tells. "+e.reason
		}
	}
	if e.outcome == "" && age > giveUpAfter {
		return ending{outcome: audit.Unknown, reason: "After a day the end was not seen.", phase: seen.shown()}, nil
	}
	return e, nil
}

// seen is a cluster as it was read after an outcome.
type seen struct {
	told   bool // otherwise nothing was read yet
	gone   bool
	phase  cloudapi.Phase
	reason string
}

func (c seen) shown() any {
	if c.gone || c.phase == "" {
		return nil
	}
	return string(c.phase)
}

// seenAfter returns the cluster an outcome is about from its snapshot. It tells nothing until a complete listing
// that began after the outcome has been stored: upstream's answer to a read right after an act may be
// older than the act. When the log's time stands still ahead, the act's longest time after its beginning counts instead.
// ErrNotFound when the account is not registered any more.
func (s *Service) seenAfter(ctx context.Context, w longWork, outcome audit.Stored) (seen, error) {
	accountID, err := uuid.Parse(outcome.Account.ID)
	if err != nil {
		return seen{}, ErrNotFound
	}
	if _, err := accountByID(ctx, s.cfg.DB, accountID, false); err != nil {
		return seen{}, err
	}
	var c seen
	err = s.cfg.DB.QueryRow(ctx, `
		SELECT c.gone_at IS NOT NULL, c.phase, c.reason,
			coalesce(
				r.ok_at > CASE WHEN $3 <= clock_timestamp() THEN $3 WHEN $4 <= clock_timestamp() THEN $4 + $5::interval ELSE '-infinity' END
				AND (c.written_at IS NULL OR c.written_at < r.ok_at OR c.written_at > clock_timestamp() + interval '5 minutes') AND c.missing_at IS NULL, false)
		FROM clusters c LEFT JOIN refresh r ON r.account_id = c.account_id AND r.kind = 'clusters'
		WHERE c.account_id = $1 AND c.cluster_id = $2`, accountID, outcome.Target.ID, outcome.RecordedAt, w.BegunAt, stillActing).Scan(&c.gone, &c.phase, &c.reason, &c.told)
	if errors.Is(err, pgx.ErrNoRows) {
		return seen{}, nil // not listed yet
	}
	if err != nil {
		return seen{}, dbError("reading the cluster", err)
	}
	c.told = c.told || c.gone
	return c, nil
}

// endOfWork tells whether what is seen of a cluster is the end of an act's work, and which. before is the phase
// that the outcome says it was in before, age how long ago the outcome is.
func endOfWork(act string, before any, c seen, age time.Duration) ending {
	was, _ := before.(string)
	wanted := []cloudapi.Phase{cloudapi.PhaseHealthy}
	switch {
	case act == ActClusterSuspend.Name:
		wanted = []cloudapi.Phase{cloudapi.PhaseSuspended}
	case act == ActClusterDelete.Name:
		wanted = nil
	case act == ActClusterUpdate.Name && cloudapi.Phase(was) == cloudapi.PhaseSuspended:
		wanted = append(wanted, cloudapi.PhaseSuspended) // it takes effect when the cluster is resumed
	}
	failed := ending{outcome: audit.Failed, reason: strings.TrimSpace(fmt.Sprintf("Upstream shows the cluster as %s. %s", c.phase, c.reason)), phase: c.shown()}
	unchanged := cloudapi.Phase(was) == c.phase
	switch {
	case c.gone && act == ActClusterDelete.Name:
		return ending{outcome: audit.OK}
	case c.gone:
		return ending{outcome: audit.Failed, reason: "Upstream does not know the cluster any more."}
	case slices.Contains(wanted, c.phase):
		return ending{outcome: audit.OK, phase: c.shown()}
	case c.phase.Moving():
		return ending{}
	case strings.HasPrefix(string(c.phase), "FAILED_TO_") && !unchanged:
		return failed
	case age < settleGrace:
		return ending{}
	case act == ActClusterUpdate.Name && unchanged && !strings.HasPrefix(string(c.phase), "FAILED_TO_"):
		return ending{outcome: audit.OK, phase: c.shown()} // what was wrong with it before still is
	}
	return failed
}
