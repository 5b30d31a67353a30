package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// AccountDetails is what the team says of an account.
type AccountDetails struct {
	Name        string
	Environment Environment
	Owner       string // who is responsible
	Note        string
	RotateBy    string // date, 2006-01-02, or empty
}

// AccountEdit is what an account is to be like. Revision is that of the account as the member saw it.
type AccountEdit struct {
	Revision string
	AccountDetails
}

// AccountChangedError says that somebody changed the account after the member had read it. Now is what
// it is like by now; what the member wants they know themselves.
type AccountChangedError struct{ Now Account }

func (e *AccountChangedError) Error() string { return "the account was changed meanwhile" }

// Revision stands for what can be edited of the account: it differs when any of that differs.
func (a Account) Revision() string {
	text, _ := json.Marshal([]any{a.Name, a.Environment, a.Owner, a.Note, dateOrNil(a.RotateBy)}) //nolint:errchkjson // strings only
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// describe puts what a member says of an account into a, and says what is wrong with it, by the same
// rules for a new account and an edited one. A day that is gone by may stay, but not be given anew.
func (s *Service) describe(a *Account, d AccountDetails, say func(field, problem string)) {
	now, before := s.now(), a.RotateBy
	a.Name, a.Environment, a.Owner, a.Note, a.RotateBy = tidy(d.Name), d.Environment, tidy(d.Owner), tidy(d.Note), nil
	say("name", textProblem(a.Name, nameLength, false))
	say("owner", textProblem(a.Owner, ownerLength, false))
	say("note", textProblem(a.Note, noteLength, true))
	if !slices.Contains(Environments, d.Environment) {
		say("environment", "Choose production, staging, development or other.")
	}
	if d.RotateBy == "" {
		return
	}
	day, err := time.Parse(time.DateOnly, d.RotateBy)
	kept := before != nil && day.Equal(*before)
	switch {
	case err != nil:
		say("rotate_by", "Give a date as in 2027-01-31.")
	case !kept && (!day.After(now) || day.Year() > now.Year()+100):
		say("rotate_by", "Give a day after today.")
	default:
		a.RotateBy = &day
	}
}

// EditAccount changes what the team says of an account and records account.edit in the same
// transaction. When nothing differs nothing is recorded. *InvalidError tells everything that is wrong
// with the form, *AccountChangedError that the revision is not the account's any more, *StepUpError that
// another environment takes a fresh sign-in, or the saving of a row that somebody altered.
//
// An account that changes its environment leaves the reach of some and comes into that of others, so the right is asked for
// on it in both: *ForbiddenError, which names the environment, when it is missing in the new one.
func (s *Service) EditAccount(ctx context.Context, by audit.Actor, id uuid.UUID, e AccountEdit) error {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, by, ActAccountEdit, accountTarget(account.ref())); err != nil {
		return err
	}
	invalid := map[string]string{}
	say := func(field, problem string) {
		if problem != "" && invalid[field] == "" {
			invalid[field] = problem
		}
	}
	if e.Revision == "" {
		say("", "The form does not say which state of the account it changes. Open it again.")
	}
	edited := account
	s.describe(&edited, e.AccountDetails, say)
	if edited.Name == "" {
		say("name", "Give a name.")
	}
	if len(invalid) > 0 {
		return &InvalidError{Fields: invalid}
	}
	stale := false
	if err := s.authorizeMove(ctx, by, ActAccountEdit, account, edited.Environment); err != nil {
		return err
	}
	var moved *Account
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		before, err := accountByID(ctx, tx, id, true)
		if err != nil {
			return err
		}
		if before.Environment != account.Environment { // somebody else moved it, perhaps out of the member's reach
			moved = &before
			return errMovedMeanwhile
		}
		after := before
		after.Name, after.Environment, after.Owner, after.Note, after.RotateBy = edited.Name, edited.Environment, edited.Owner, edited.Note, edited.RotateBy
		change := accountChange(&before, &after)
		if err := s.explainAltered(ctx, tx, before, change); err != nil {
			return err
		}
		if len(change) == 0 {
			return nil
		}
		if before.Revision() != e.Revision {
			return &AccountChangedError{Now: before}
		}
		// Here, where the row is locked: elsewhere it might have another environment by now. Saving a row that was altered
		// makes certain what it says, which is as good as changing it.
		_, moves := change["environment"]
		_, altered := change["verified"]
		if (moves || altered) && s.stepUpDue(by, ActAccountEdit, accountTarget(before.ref())) {
			stale = true
			return &StepUpError{Act: ActAccountEdit.Name, After: s.cfg.StepUpAfter}
		}
		if _, err := tx.Exec(ctx, `
			UPDATE accounts SET name = $2, environment = $3, owner = $4, note = $5, rotate_by = $6, updated_at = $7 WHERE id = $1`,
			id, after.Name, string(after.Environment), after.Owner, after.Note, after.RotateBy, s.now()); err != nil {
			return err
		}
		if err := s.certify(ctx, tx, after); err != nil {
			return err
		}
		if err := notifyClusters(ctx, tx, id); err != nil { // pages name the account and its environment
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(accountTarget(after.ref()), by, ActAccountEdit, change))
	})
	switch {
	case stale:
		return s.refuseStale(ctx, by, ActAccountEdit, accountTarget(account.ref()))
	case errors.Is(err, errMovedMeanwhile):
		if err := s.freshRights(ctx); err != nil { // they know the account as it was
			return err
		}
		if err := s.authorize(ctx, by, ActAccountEdit, accountTarget(moved.ref())); err != nil {
			return err
		}
		return &AccountChangedError{Now: *moved}
	case violates(err, "accounts_name_key"):
		return invalidField("name", "An account has this name already; give another.")
	case err != nil:
		return dbError(ActAccountEdit.Name, err)
	}
	return nil
}

var errMovedMeanwhile = errors.New("the account is of another environment by now")

// authorizeMove asks for the right on the account as it is to be, when it is to be of another environment than it certainly
// is. The move gives the account to everybody with a grant on that environment, the member included, so it takes every right
// that those grants give, for as long as they do: nobody comes by a right, gives one or keeps one by moving an account to where it
// is held. The member was allowed on it as it is, so a refusal hides nothing: *ForbiddenError, and it is recorded.
func (s *Service) authorizeMove(ctx context.Context, by audit.Actor, act Act, account Account, to Environment) error {
	on := accountTarget(account.ref())
	rights, book, from := s.rights(by), s.keeper.book.Load(), account.Environment
	if book != nil {
		from = Environment(book.environments[account.ID])
	}
	if to == from {
		return nil
	}
	refused := &ForbiddenError{Act: act.Name}
	if !rights.AllowsAsMoved(act.Needs, on.access(), string(to)) {
		refused.Missing = act.Needs.String() + " in " + string(to)
	} else {
		lacking, tooSoon := s.lacksToBring(by, book, book.onEnvironment(string(to), s.now()), on)
		if len(lacking) == 0 {
			return nil
		}
		refused.Missing = strings.Join(lacking, " and ")
		refused.Reason = "Who has a grant on the environment " + string(to) + " would come by a right on this account that you do not hold."
		if tooSoon {
			refused.Reason = "Who has a grant on the environment " + string(to) + " would hold a right on this account for longer than you hold it."
		}
	}
	s.denied(ctx, by, act, on, refused.Missing)
	return refused
}

// onEnvironment are the live grants on an environment.
func (b *rightsBook) onEnvironment(environment string, now time.Time) []storedGrant {
	if b == nil {
		return nil
	}
	var grants []storedGrant
	for _, g := range b.grants {
		if g.live(now) && slices.Contains(g.scope.Environments, environment) {
			grants = append(grants, g)
		}
	}
	return grants
}
