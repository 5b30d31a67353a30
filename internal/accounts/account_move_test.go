package accounts

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// moveStage is a console with one account, in staging, and an administrator whose rights the test sets.
func moveStage(t *testing.T) (s *stage, account Account, by audit.Actor, holds func(access.Scope)) {
	s = newStage(t)
	account = s.register(s.current(), "Search")
	by = member("scoped")
	return s, account, by, func(scope access.Scope) {
		s.scopedTo(by, scope, access.AccountsManage, access.ReadAccount)
	}
}

func moveTo(s *stage, account Account, environment Environment) AccountEdit {
	now := s.account(account).Account
	edit := AccountEdit{Revision: now.Revision(), AccountDetails: detailsOf(now)}
	edit.Environment = environment
	return edit
}

// TestMoveNeedsTheRightOnBothSides: an administrator of an environment moves no account into one where they hold nothing, nor
// one out of an environment that is not theirs; who holds both may, and the account itself is enough.
func TestMoveNeedsTheRightOnBothSides(t *testing.T) {
	s, account, by, holds := moveStage(t)
	for name, tt := range map[string]struct {
		scope   access.Scope
		to      Environment
		missing string
		hidden  bool
	}{
		"into one that is not theirs":           {access.Scope{Environments: []string{"staging"}}, Production, "accounts:manage in production", false},
		"into one that nobody holds":            {access.Scope{Environments: []string{"staging", "development"}}, Other, "accounts:manage in other", false},
		"out of one that is not theirs":         {access.Scope{Environments: []string{"production"}}, Production, "", true},
		"out of one, with a cluster of it":      {access.Scope{Environments: []string{"production"}, Clusters: []access.ClusterRef{{AccountID: account.ID, ClusterID: "c"}}}, Production, "", true},
		"staying, with another account besides": {access.Scope{Environments: []string{"staging"}, Accounts: []uuid.UUID{uuid.New()}}, Development, "accounts:manage in development", false},
	} {
		holds(tt.scope)
		before := len(s.eventsOf(ActAccountEdit))
		err := s.svc.EditAccount(t.Context(), by, account.ID, moveTo(s, account, tt.to))
		refused, forbidden := errors.AsType[*ForbiddenError](err)
		if tt.hidden && err != ErrNotFound || !tt.hidden && (!forbidden || refused.Missing != tt.missing) { //nolint:errorlint // byte for byte the same
			t.Errorf("%s: %v", name, err)
		}
		if now := s.account(account).Environment; now != Staging {
			t.Fatalf("%s: the account is of %s", name, now)
		}
		if !tt.hidden && !tt.scope.None() && len(s.eventsOf(ActAccountEdit)) == 0 {
			t.Errorf("%s: %d events before, nothing is on record", name, before)
		}
	}
	for name, tt := range map[string]struct {
		scope access.Scope
		to    Environment
	}{
		"both":        {access.Scope{Environments: []string{"staging", "production"}}, Production},
		"the account": {access.Scope{Accounts: []uuid.UUID{account.ID}}, Development},
		"everything":  {access.Scope{Everything: true}, Other},
	} {
		holds(tt.scope)
		s.moveQuietly(account.ID, Staging)
		if err := s.svc.EditAccount(t.Context(), by, account.ID, moveTo(s, account, tt.to)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if now := s.account(account).Environment; now != tt.to {
			t.Errorf("%s: the account is of %s", name, now)
		}
	}
	holds(access.Scope{Environments: []string{"other"}})
	edit := moveTo(s, account, s.account(account).Environment)
	edit.Note = "no move"
	s.moveQuietly(account.ID, Other)
	edit.Environment = Other
	edit.Revision = s.account(account).Revision()
	if err := s.svc.EditAccount(t.Context(), by, account.ID, edit); err != nil {
		t.Errorf("an edit without a move: %v", err)
	}
}

// TestMoveMeanwhileShowsNothing: when somebody moves the account out of the member's reach between the form and
// its post, the member is told that there is none, and not what it has become.
func TestMoveMeanwhileShowsNothing(t *testing.T) {
	s, account, by, holds := moveStage(t)
	holds(access.Scope{Environments: []string{"staging"}})
	edit := moveTo(s, account, Staging)
	edit.Note = "mine"
	// The move commits after the right was asked for and before the row is locked.
	mover, err := s.db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	moved, err := accountByID(t.Context(), mover, account.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	moved.Environment, moved.Note = Production, "canary"
	if _, err := mover.Exec(t.Context(), `UPDATE accounts SET environment = 'production', note = 'canary' WHERE id = $1`, account.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.certify(t.Context(), mover, moved); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- s.svc.EditAccount(t.Context(), by, account.ID, edit) }()
	s.eventually("the edit waits for the row", func() bool {
		var waiting bool
		if err := s.db.Pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting
	})
	if err := mover.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != ErrNotFound { //nolint:errorlint // byte for byte the same as for one that is not there
		t.Errorf("%v, want ErrNotFound", err)
	}
	if now := s.account(account).Note; now != "canary" {
		t.Errorf("the note is %q", now)
	}
	// Within the member's reach the same tells what it has become.
	holds(access.Scope{Environments: []string{"staging", "production"}})
	if _, ok := errors.AsType[*AccountChangedError](s.svc.EditAccount(t.Context(), by, account.ID, edit)); !ok {
		t.Error("a stale form is taken")
	}
}
