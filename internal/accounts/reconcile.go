package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const (
	// giveUpAfter is how long the reconciler tries to ask upstream what became of an operation.
	giveUpAfter = 24 * time.Hour
	// lookTimeout bounds one look upstream.
	lookTimeout = 20 * time.Second
	// clockSkew is how far upstream's clock may be behind the database's.
	clockSkew = 5 * time.Second
)

// verdict is what became of an operation whose outcome is missing.
type verdict struct {
	outcome audit.Outcome // empty: it cannot be told yet
	reason  string
	calls   []cloudapi.Call
	change  audit.Change // what was found to be changed; nil: what was intended
	// id and name are of a thing that was made, which the attempt could not name yet.
	id, name string
	// keep stores what was found, with the outcome; nil for nothing.
	keep func(ctx context.Context, tx pgx.Tx) ([]audit.Event, error)
}

// reconcileOnce ends operations that were attempted longer ago than UnknownAfter and have no
// outcome: the console died between the two, upstream's answer was lost, or the outcome could not be
// written. It looks upstream what became of each and records that, marked as inferred. What
// cannot be told is recorded as unknown; what cannot be asked now is left for the next time, for
// a day. Replicas may reconcile at once: each operation gets one outcome. An act that another replica
// is still busy with may be concluded too early when UnknownAfter is shorter than acts take; what
// it tells in the end then stands in place of what was inferred. Problems with one operation are
// logged and do not keep the others from being looked at.
func (s *Service) reconcileOnce(ctx context.Context) error {
	refused := map[string]bool{} // accounts that could not be asked in this round
	for reached := int64(0); ; {
		// Page by page: many that cannot be told now must not hide those behind them.
		open, err := s.cfg.Log.OpenOperations(ctx, s.cfg.UnknownAfter, reached)
		if err != nil {
			return dbError("finding open operations", err)
		}
		if len(open) == 0 {
			return nil
		}
		if err := s.reconcile(ctx, open, refused); err != nil {
			return err
		}
		reached = open[len(open)-1].Attempt.Seq
	}
}

// reconcile ends those of the open operations that can be ended now, and adds to refused the
// accounts that could not be asked.
func (s *Service) reconcile(ctx context.Context, open []audit.OpenOperation, refused map[string]bool) error {
	for _, o := range open {
		if ctx.Err() != nil {
			return fmt.Errorf("reconciling: %w", ctx.Err())
		}
		if _, ours := s.underway.Load(o.Operation); ours {
			continue
		}
		v := verdict{}
		if !refused[o.Attempt.Account.ID] {
			var asked bool
			v, asked = s.investigate(ctx, o)
			refused[o.Attempt.Account.ID] = !asked
		}
		if v.outcome == "" {
			if s.ageOf(o.Attempt) < giveUpAfter {
				continue
			}
			v.outcome, v.reason = audit.Unknown, "Upstream did not tell for a day."
		}
		if err := s.conclude(ctx, o, v); err != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "operation not reconciled",
				slog.String("act", o.Attempt.Act), slog.String("operation", o.Operation.String()), slog.Any("error", err))
		}
	}
	return nil
}

// conclude records the outcome, unless the operation has got one meanwhile: from another replica,
// or from the process that acted, when that took longer than UnknownAfter. The log decides which
// came first, so an operation never gets two.
func (s *Service) conclude(ctx context.Context, o audit.OpenOperation, v verdict) error {
	e := o.Attempt.Event
	e.ID, e.At, e.Phase = uuid.Nil, time.Time{}, audit.PhaseOutcome
	e.Outcome, e.Reason, e.Inferred = v.outcome, v.reason, true
	e.Actor.Via = audit.ViaJob
	e.Upstream = upstreamOf(e.Upstream, v.calls)
	if v.id != "" {
		e.Target.ID, e.Target.Name = v.id, v.name
	}
	if v.change != nil {
		e.Change = v.change
	}
	var err error
	if v.keep != nil {
		err = s.keepOutcome(ctx, e, v.keep)
	} else {
		err = s.appendEvent(ctx, e)
	}
	switch {
	case errors.Is(err, audit.ErrNotOpen):
		return nil
	case err != nil:
		return err
	}
	// The form may be sent again when it has made nothing, and tells what it has made otherwise.
	if v.outcome == audit.Failed || v.id != "" {
		s.endForm(ctx, o.Operation, v.id)
	}
	return nil
}

// investigate finds out what became of an operation. An empty outcome means ask again later; asked is
// false when the account could not be asked at all, so that its other operations need not try now.
func (s *Service) investigate(ctx context.Context, o audit.OpenOperation) (v verdict, asked bool) {
	act, known := ActNamed(o.Attempt.Act)
	if !known {
		return verdict{outcome: audit.Unknown, reason: "This release does not know the act."}, true
	}
	if reason := notStored(act); reason != "" {
		return verdict{outcome: audit.Failed, reason: reason}, true
	}
	accountID, err := uuid.Parse(o.Attempt.Account.ID)
	if err != nil {
		return verdict{outcome: audit.Unknown, reason: "The attempt names no account."}, true
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	up, err := s.connectFor(ctx, accountID, inBackground, "reconcile-"+o.Operation.String())
	if errors.Is(err, ErrNotFound) {
		return verdict{outcome: audit.Unknown, reason: "The account is no longer registered here, so upstream cannot be asked."}, true
	}
	if err != nil {
		s.cannotLook(ctx, o, err)
		return verdict{}, false
	}
	v, err = s.look(ctx, act, o, up)
	s.noteKey(ctx, up, err)
	v.calls = up.conn.Calls()
	if err != nil && v.outcome == "" {
		s.cannotLook(ctx, o, err)
	}
	_, unclear := errors.AsType[*listingError](err) // it answered, and not about this
	return v, v.outcome != "" || unclear
}

// notStored says what an act has not done that is without an outcome and stores what it does together
// with its outcome; empty for acts that upstream must be asked about.
func notStored(act Act) string {
	switch act.Name {
	case ActAccountCreate.Name:
		return "The account was not stored."
	case ActAccountKey.Name:
		return "The key was not replaced."
	case ActAccountSwitch.Name:
		return "The account was not moved."
	}
	return ""
}

// cannotLook logs why an operation is left for later. A disabled account is nobody's fault, and neither
// is the end of this process.
func (s *Service) cannotLook(ctx context.Context, o audit.OpenOperation, err error) {
	level := slog.LevelWarn
	if _, disabled := errors.AsType[*ConflictError](err); disabled || errors.Is(err, context.Canceled) {
		level = slog.LevelDebug
	}
	s.cfg.Logger.LogAttrs(ctx, level, "upstream cannot be asked what became of an operation",
		slog.String("act", o.Attempt.Act), slog.String("operation", o.Operation.String()), slog.Any("error", err))
}

// look asks upstream.
func (s *Service) look(ctx context.Context, act Act, o audit.OpenOperation, up *link) (verdict, error) {
	switch {
	case act.Name == ActManagementKeyDelete.Name:
		return s.lookForKey(ctx, o, up)
	case act.Name == ActManagementKeyCreate.Name:
		return s.lookForMintedKey(ctx, o, up)
	case act.Name == ActClusterCreate.Name:
		return s.lookForNewCluster(ctx, o, up)
	case act.TargetKind == KindKey, act.TargetKind == KindAdminKey:
		return s.lookForDatabaseKey(ctx, act, o, up)
	case act.TargetKind != KindCluster:
		return verdict{outcome: audit.Unknown, reason: "There is no way to ask what became of it."}, nil
	}
	cluster, err := up.cloud.Cluster(ctx, o.Attempt.Target.ID)
	if e, ok := cloudapi.AsError(err); ok && e.Kind == cloudapi.NotFound {
		if act.Name == ActClusterDelete.Name {
			return verdict{outcome: audit.OK, reason: "Upstream does not know the cluster any more."}, nil
		}
		return verdict{outcome: audit.Unknown, reason: "The cluster does not exist any more."}, nil
	}
	if err != nil {
		return verdict{}, fmt.Errorf("reading the cluster: %w", err)
	}
	// Asked after the cluster was read: an act that shaped what was read has its attempt in the
	// log by now.
	followed, err := s.otherActSince(ctx, o)
	if err != nil {
		return verdict{}, err
	}
	if followed {
		return verdict{outcome: audit.Unknown, reason: "Another act on the cluster followed, so its state no longer tells."}, nil
	}
	if act.Name == ActClusterUpdate.Name {
		return updateVerdict(o.Attempt.Change, cluster), nil
	}
	attempted, told := s.cameAbout(o.Attempt)
	if !told && act.Name == ActClusterRestart.Name {
		return verdict{outcome: audit.Unknown, reason: clockReason}, nil
	}
	return clusterVerdict(act, cluster, attempted), nil
}

// updateVerdict compares what was intended with the settings that the cluster has.
func updateVerdict(intended audit.Change, c cloudapi.Cluster) verdict {
	now := settingsOf(c)
	before, after := 0, 0
	for _, f := range clusterFields() {
		values, meant := intended[f.name]
		if !meant {
			continue
		}
		is := asRecorded(f.value(now))
		switch was, wanted := asRecorded(values[0]), asRecorded(values[1]); {
		case was == wanted: // both cut alike: it tells nothing
		case is == wanted:
			after++
		case is == was:
			before++
		}
	}
	switch {
	case after > 0 && after == len(intended):
		return verdict{outcome: audit.OK, reason: "Upstream shows the cluster as it was to be."}
	case before > 0 && before == len(intended):
		return verdict{outcome: audit.Failed, reason: "Upstream shows the cluster as it was before."}
	}
	return verdict{outcome: audit.Unknown, reason: "Upstream shows the cluster neither as it was before nor as it was to be."}
}

// asRecorded is a value as the log keeps it, so that it can be compared with one from there.
func asRecorded(value any) string {
	kept, err := audit.Decode(audit.Encode(audit.Event{Change: audit.Change{"value": {nil, value}}}))
	if err != nil {
		return ""
	}
	text, err := json.Marshal(kept.Change["value"][1])
	if err != nil {
		return ""
	}
	return string(text)
}

// otherActSince reports whether the log has another act on the same target, begun or ended after
// the attempt, that changed it or may have.
func (s *Service) otherActSince(ctx context.Context, o audit.OpenOperation) (bool, error) {
	q := audit.Query{TargetKind: o.Attempt.Target.Kind, TargetID: o.Attempt.Target.ID, Account: o.Attempt.Account.ID}
	for {
		page, err := s.cfg.Log.List(ctx, q)
		if err != nil {
			return false, dbError("looking for other acts on the target", err)
		}
		for _, other := range page.Operations {
			if other.Seq <= o.Attempt.Seq {
				return false, nil
			}
			act, known := ActNamed(other.Act)
			changed := other.Outcome != audit.Failed && other.Outcome != audit.Denied
			if other.Operation != o.Operation && changed && (act.Mutates || !known) {
				return true, nil
			}
		}
		if page.Next == 0 {
			return false, nil
		}
		q.After = page.Next
	}
}

// clusterVerdict tells from a cluster's state what became of an act attempted at the given time.
func clusterVerdict(act Act, c cloudapi.Cluster, attempted time.Time) verdict {
	phase := c.State.Phase
	now := fmt.Sprintf("Upstream shows the cluster as %s.", phase)
	switch act.Name {
	case ActClusterDelete.Name:
		if phase == cloudapi.PhaseDeleting || phase == cloudapi.PhaseNotFound || !c.DeletedAt.IsZero() {
			return verdict{outcome: audit.OK, reason: now}
		}
		return verdict{outcome: audit.Failed, reason: now}
	case ActClusterSuspend.Name:
		switch phase {
		case cloudapi.PhaseSuspending, cloudapi.PhaseSuspended:
			return verdict{outcome: audit.OK, reason: now}
		case cloudapi.PhaseResuming, cloudapi.PhaseUnknown:
			return verdict{outcome: audit.Unknown, reason: now}
		}
		return verdict{outcome: audit.Failed, reason: now}
	case ActClusterUnsuspend.Name:
		switch phase {
		case cloudapi.PhaseSuspended, cloudapi.PhaseFailedToResume:
			return verdict{outcome: audit.Failed, reason: now}
		case cloudapi.PhaseSuspending, cloudapi.PhaseUnknown:
			return verdict{outcome: audit.Unknown, reason: now}
		}
		return verdict{outcome: audit.OK, reason: now}
	case ActClusterRestart.Name:
		switch restarted := c.State.RestartedAt; {
		case restarted.IsZero():
			return verdict{outcome: audit.Unknown, reason: "Upstream does not tell when the cluster was restarted."}
		case restarted.After(attempted.Add(-clockSkew)):
			return verdict{outcome: audit.OK, reason: "Upstream shows a restart at " + restarted.UTC().Format(time.RFC3339) + "."}
		default:
			return verdict{outcome: audit.Failed, reason: "Upstream shows no restart since."}
		}
	}
	return verdict{outcome: audit.Unknown, reason: "There is no way to tell from the cluster's state."}
}
