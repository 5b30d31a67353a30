package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const (
	// appendTimeout bounds one write to the log; the appender itself gives up after 5 s.
	appendTimeout = 7 * time.Second
	// callTimeout bounds everything a call does upstream, reading before and after included.
	callTimeout = 45 * time.Second
)

// detached returns a context that outlives the client's request by at most d: what has begun is
// finished and recorded also when the browser has gone.
func detached(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}

// operation is one act that is about to be performed.
type operation struct {
	id       uuid.UUID // made by perform when it is zero
	parent   uuid.UUID // the operation it is a part of; optional
	act      Act
	on       target
	intended audit.Change
	opens    []target          // clusters that the act reaches besides, each of which needs the right
	labels   map[string]string // that the cluster is to have; nil: they stay
}

// done is what a call did. A thing that upstream made is named here, for the attempt could not.
type done struct {
	change   audit.Change
	id, name string // of the target; empty: as the attempt had them
	// keep stores what follows from it here, in the transaction that records the outcome, and returns
	// the events of that, which are recorded after the outcome. Optional.
	keep func(ctx context.Context, tx pgx.Tx) ([]audit.Event, error)
}

// perform is the one way through for every change upstream and every answer that carries a
// secret. In this order:
//
//  1. The actor is authorised, where their right rests on labels on those that upstream tells now; a
//     refusal is recorded and is the error.
//  2. The attempt is recorded with what is intended. When that fails the error is
//     ErrAuditUnavailable and upstream is not called.
//  3. The key is unsealed and call runs, with a deadline and detached from the client's context.
//     No transaction and no pooled connection is held meanwhile. Before an act whose work goes on
//     after the answer it is noted that its end is to be recorded (see settle.go).
//  4. The outcome is recorded, with the change that call returns. When call fails upstream's
//     reason is recorded and the error is returned as it came.
//
// A mutating call whose answer was lost has no outcome: the operation stays open, is shown as
// pending and then unknown, and the reconciler looks upstream what became of it. The same happens
// when the outcome cannot be written, and when call panics after a mutating call. An error that
// call returns after a mutating call that succeeded would be recorded as a failure, so call must
// not return one.
//
// What call wants to be kept is stored with the outcome or not at all; when it cannot be stored that
// is the error, and the operation stays open.
//
// A disabled account and an act that its API generation lacks are *ConflictError, before anything
// is recorded.
func (s *Service) perform(ctx context.Context, by audit.Actor, op operation, call func(ctx context.Context, up *link) (done, error)) error {
	act, on := op.act, op.on
	if err := s.authorizeOperation(ctx, by, op); err != nil {
		return err
	}
	if reason := notPossible(act, on.Account); reason != "" {
		return &ConflictError{Reason: reason}
	}

	attempt := on.event(by, act)
	attempt.Phase, attempt.Operation, attempt.Parent, attempt.Change = audit.PhaseAttempt, op.id, op.parent, op.intended
	if attempt.Operation == uuid.Nil {
		attempt.Operation = s.newID()
	}
	attempt.Upstream.RPC, attempt.Upstream.KeyID = act.Op(on.Account.Generation).RPC, on.Account.KeyID.String()
	s.underway.Store(attempt.Operation, struct{}{})
	defer s.underway.Delete(attempt.Operation)
	if err := s.appendEvent(ctx, attempt); err != nil {
		return err
	}
	outcome := attempt
	outcome.Phase = audit.PhaseOutcome
	if err := ctx.Err(); err != nil {
		outcome.Outcome, outcome.Reason = audit.Failed, "The request ended before upstream was called."
		s.appendOutcome(ctx, outcome)
		return fmt.Errorf("%s: %w", act.Name, err)
	}

	callCtx, cancel := detached(ctx, callTimeout)
	defer cancel()
	up, err := s.connect(callCtx, on.Account.ID, by.RequestID)
	if err != nil {
		outcome.Outcome, outcome.Reason = audit.Failed, "The management key could not be used."
		s.appendOutcome(ctx, outcome)
		return err
	}
	outcome.Upstream.KeyID = up.keyID.String()
	if act.GoesOn {
		if err := s.noteLongWork(callCtx, attempt.Operation); err != nil {
			outcome.Outcome, outcome.Reason = audit.Failed, "The console could not note that the end of the work is to be recorded."
			s.appendOutcome(ctx, outcome)
			return err
		}
	}

	finished := false
	defer func() {
		// A panic. Only when nothing that changes was sent is it certain that nothing was changed.
		if calls := up.conn.Calls(); !finished && !changing(calls) {
			outcome.Outcome, outcome.Reason = audit.Failed, "The console failed while it acted."
			outcome.Upstream = upstreamOf(outcome.Upstream, calls)
			s.appendOutcome(ctx, outcome)
		}
	}()
	did, err := call(callCtx, up)
	finished = true

	calls := up.conn.Calls()
	outcome.Upstream = upstreamOf(outcome.Upstream, calls)
	s.noteKey(callCtx, up, err)
	switch {
	case err == nil:
		outcome.Outcome, outcome.Change = audit.OK, did.change
		if did.id != "" {
			outcome.Target.ID, outcome.Target.Name = did.id, did.name
		}
		if did.keep != nil {
			return s.keepOutcome(ctx, outcome, did.keep)
		}
	case answerLost(calls):
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "answer lost, operation left open",
			slog.String("act", act.Name), slog.String("operation", outcome.Operation.String()), slog.String("request_id", by.RequestID))
		return err
	default:
		outcome.Outcome, outcome.Reason = audit.Failed, reasonOf(err)
	}
	s.appendOutcome(ctx, outcome)
	return err
}

// notPossible says why the act cannot be done in the account at all, whoever asks.
func notPossible(act Act, a accountRef) string {
	if act.Op(a.Generation) == nil {
		if reason := act.Lacking[a.Generation]; reason != "" {
			return reason
		}
		return fmt.Sprintf("%s is no operation of this account's API.", act.Name)
	}
	if !a.Enabled {
		return disabledReason
	}
	return ""
}

// appendEvent records one event. It finishes also when the client has gone, so that a caller who
// returns knows whether the line is there. Errors are ErrAuditUnavailable.
func (s *Service) appendEvent(ctx context.Context, e audit.Event) error {
	ctx, cancel := detached(ctx, appendTimeout)
	defer cancel()
	if _, err := s.cfg.Log.Append(ctx, e); err != nil {
		return fmt.Errorf("recording %s %s: %w: %w", e.Phase, e.Act, ErrAuditUnavailable, err)
	}
	return nil
}

// appendOutcome records how an operation ended. When that fails the operation stays open and the
// reconciler ends it, so the failure is logged and not returned: what upstream did is done.
func (s *Service) appendOutcome(ctx context.Context, e audit.Event) {
	if err := s.appendEvent(ctx, e); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "outcome not recorded",
			slog.String("act", e.Act), slog.String("operation", e.Operation.String()), slog.String("outcome", string(e.Outcome)),
			slog.String("request_id", e.Actor.RequestID), slog.Any("error", err))
	}
}

// keepOutcome records how an operation ended in one transaction with what is kept of it.
func (s *Service) keepOutcome(ctx context.Context, outcome audit.Event, keep func(ctx context.Context, tx pgx.Tx) ([]audit.Event, error)) error {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		following, err := keep(ctx, tx)
		if err != nil {
			return err
		}
		return s.recordLast(ctx, tx, outcome, following...)
	})
	if err != nil {
		return dbError("keeping what "+outcome.Act+" has done", err)
	}
	return nil
}

// begin records the attempt of an act that the console does by itself once upstream was asked. It
// returns the outcome as a failure, to be completed; end must be called when it was recorded, or when
// nobody knows whether it was.
func (s *Service) begin(ctx context.Context, attempt audit.Event) (outcome audit.Event, end func(), err error) {
	attempt.Phase, attempt.Operation = audit.PhaseAttempt, s.newID()
	s.underway.Store(attempt.Operation, struct{}{})
	end = func() { s.underway.Delete(attempt.Operation) }
	if err := s.appendEvent(ctx, attempt); err != nil {
		end()
		return audit.Event{}, nil, err
	}
	outcome = attempt
	outcome.Phase, outcome.Outcome = audit.PhaseOutcome, audit.Failed
	return outcome, end, nil
}

// unsettled reports whether a transaction that failed may have been committed all the same. Then the
// operation is closed if it was, and else the reconciler closes it.
func unsettled(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrAuditUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// upstreamOf adds what the calls tell to u: the last one that changes something counts, else the
// last one.
func upstreamOf(u audit.Upstream, calls []cloudapi.Call) audit.Upstream {
	if len(calls) == 0 {
		return u
	}
	told := calls[len(calls)-1]
	for _, c := range calls {
		if c.Op.Mutates {
			told = c
		}
	}
	u.RPC, u.Status, u.TraceID, u.LatencyMS = told.Op.RPC, told.Status, told.TraceID, told.Latency.Milliseconds()
	return u
}

// changing reports whether a call that changes something was made.
func changing(calls []cloudapi.Call) bool {
	return slices.ContainsFunc(calls, func(c cloudapi.Call) bool { return c.Op.Mutates })
}

// answerLost reports whether a changing call may have been carried out although it failed: no
// answer of upstream's own came, or one of success that could not be read.
func answerLost(calls []cloudapi.Call) bool {
	for _, c := range calls {
		if e, ok := cloudapi.AsError(c.Err); c.Op.Mutates && ok && lost(e) {
			return true
		}
	}
	return false
}

// lost reports whether a call that failed may have been carried out.
func lost(e *cloudapi.Error) bool {
	return e.OutcomeUnknown || e.Kind == cloudapi.Malformed && e.Status/100 == 2
}

// reasonOf is what the log and the page say of a failure: upstream's own words where there are
// some, and never the error's text, which may say more than people should read.
func reasonOf(err error) string {
	if upstream, ok := cloudapi.AsError(err); ok {
		return upstream.Public()
	}
	if unsupported, ok := errors.AsType[*cloudapi.UnsupportedError](err); ok {
		return unsupported.Reason
	}
	if conflict, ok := errors.AsType[*ConflictError](err); ok {
		return conflict.Reason
	}
	if _, stale := errors.AsType[*StaleError](err); stale {
		return "The cluster was changed by somebody else meanwhile."
	}
	if _, invalid := errors.AsType[*InvalidError](err); invalid {
		return "What was asked for is not offered."
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "The deadline passed."
	}
	return "The console failed; its log tells more."
}

// newID returns a UUIDv7. Its time part is the machine's clock; the log's order does not rest on it.
func (s *Service) newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
