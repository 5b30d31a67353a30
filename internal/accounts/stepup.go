package accounts

import (
	"context"
	"time"

	"quartermaster/internal/audit"
)

// StepUp is when an act asks for a fresh sign-in.
type StepUp int

// When a fresh sign-in is asked for.
const (
	StepUpNever         StepUp = iota
	StepUpAlways               // wherever the act is done
	StepUpInProduction         // on an account of production, and on what is in it
	StepUpOfEnvironment        // when the account's environment becomes another; EditAccount asks for it itself
)

// defaultStepUpAfter is Config.StepUpAfter when it is not given.
const defaultStepUpAfter = 10 * time.Minute

// freshSignIn is what a refusal says is missing.
const freshSignIn = "a fresh sign-in"

// StepUpError says that the actor holds the right, and that their sign-in is too long ago for the act,
// or that it is not known how long.
type StepUpError struct {
	Act   string
	After time.Duration // how long a sign-in is fresh
}

func (e *StepUpError) Error() string {
	return e.Act + " needs a sign-in within the last " + e.After.String()
}

// stepUp is when the act asks for a fresh sign-in.
func (a Act) stepUp() StepUp {
	if a.Escapes {
		return StepUpAlways
	}
	return a.StepUp
}

// asksFresh reports whether the act may ask for a fresh sign-in on the target. An account whose environment is
// not certain counts as one of production, so that nothing is gained by altering its row.
func (s *Service) asksFresh(act Act, on target) bool {
	switch act.stepUp() {
	case StepUpNever:
		return false
	case StepUpInProduction:
		var environment Environment // not certain, as long as the rights were never read
		if book := s.keeper.book.Load(); book != nil {
			environment = Environment(book.environments[on.Account.ID])
		}
		return environment == Production || environment == ""
	case StepUpAlways, StepUpOfEnvironment:
		return true
	}
	return true
}

// isFresh reports whether the actor's sign-in at the identity provider is recent enough. When it is not
// known it is not. Jobs and the command line sign in nowhere, and the sign-in by a break-glass link counts for the
// hour that its session lasts: there is no provider to go back to.
func (s *Service) isFresh(by audit.Actor) bool {
	if by.Issuer == InternalIssuer && (by.Via == audit.ViaJob || by.Via == audit.ViaCLI) {
		return true
	}
	return isBreakGlass(by) || !by.SignedInAt.IsZero() && !elapsed(s.now(), by.SignedInAt, s.cfg.StepUpAfter)
}

// StepUpAfter is how long a sign-in is fresh.
func (s *Service) StepUpAfter() time.Duration { return s.cfg.StepUpAfter }

// stepUpDue reports whether the actor has to sign in anew before the act is done on the target. Of
// account.edit: before the environment is changed.
func (s *Service) stepUpDue(by audit.Actor, act Act, on target) bool {
	return s.asksFresh(act, on) && !s.isFresh(by)
}

// FreshSignInDue reports whether the actor has to sign in anew before they do an act on the console as a whole;
// for pages, which say so before anything is typed.
func (s *Service) FreshSignInDue(by audit.Actor, act Act) bool {
	return s.stepUpDue(by, act, installation(act.TargetKind))
}

// demandFresh refuses an act that asks for a fresh sign-in when the actor's is not, and records that.
func (s *Service) demandFresh(ctx context.Context, by audit.Actor, act Act, on target) error {
	if act.stepUp() == StepUpOfEnvironment || !s.stepUpDue(by, act, on) {
		return nil
	}
	return s.refuseStale(ctx, by, act, on)
}

// refuseStale records that a fresh sign-in is missing, and returns *StepUpError.
func (s *Service) refuseStale(ctx context.Context, by audit.Actor, act Act, on target) error {
	s.denied(ctx, by, act, on, freshSignIn)
	return &StepUpError{Act: act.Name, After: s.cfg.StepUpAfter}
}

// TellsAuthTime reports whether the issuer is known to tell when people signed in there: a session of the last
// weeks was begun with such a time.
func (s *Service) TellsAuthTime(ctx context.Context, issuer string) (bool, error) {
	told := false
	err := s.cfg.DB.QueryRow(ctx, `SELECT EXISTS (SELECT FROM sessions WHERE issuer = $1 AND auth_time IS NOT NULL AND NOT prompted)`, issuer).Scan(&told)
	if err != nil {
		return false, dbError("looking for sign-ins with their time", err)
	}
	return told, nil
}
