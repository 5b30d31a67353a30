package accounts

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/audit"
)

// details is what the team says of an account, as its form would be sent untouched.
func detailsOf(a Account) AccountDetails {
	d := AccountDetails{Name: a.Name, Environment: a.Environment, Owner: a.Owner, Note: a.Note}
	if a.RotateBy != nil {
		d.RotateBy = a.RotateBy.Format(time.DateOnly)
	}
	return d
}

func (s *stage) account(a Account) AccountDetail {
	s.t.Helper()
	d, err := s.svc.Account(s.t.Context(), member("admins"), a.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func TestAnEditIsStoredAndRecorded(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("admins")
	edit := AccountEdit{Revision: account.Revision(), AccountDetails: AccountDetails{
		Name: " Search EU ", Environment: Production, Owner: "Team Search", Note: "one\r\ntwo", RotateBy: s.clock.at.AddDate(0, 1, 0).Format(time.DateOnly),
	}}
	for range 2 { // a second post of the same form changes and records nothing
		if err := s.svc.EditAccount(t.Context(), by, account.ID, edit); err != nil {
			t.Fatal(err)
		}
	}
	want := audit.Event{
		Act: "account.edit", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search EU"},
		Target: audit.Target{Kind: "account", ID: account.ID.String(), Name: "Search EU"},
		Change: audit.Change{
			"name": {"Search", "Search EU"}, "environment": {"staging", "production"}, "owner": {"", "Team Search"}, "note": {"", `one\u000atwo`},
			"rotate_by": {nil, edit.RotateBy},
		},
	}
	got := s.eventsOf(ActAccountEdit)
	if len(got) != 1 {
		t.Fatalf("%d events, want one: %+v", len(got), got)
	}
	if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	after := s.account(account).Account
	edit.Name, edit.Note = "Search EU", "one\ntwo"
	if diff := cmp.Diff(edit.AccountDetails, detailsOf(after)); diff != "" || after.Key.ID != account.Key.ID {
		t.Errorf("stored (-want +got)\n%s", diff)
	}

	// A day that is gone by may stay while something else is changed.
	s.clock.at = s.clock.at.AddDate(0, 2, 0)
	edit.Revision, edit.Note = after.Revision(), "overdue"
	if err := s.svc.EditAccount(t.Context(), by, account.ID, edit); err != nil {
		t.Errorf("with a day gone by that was there before: %v", err)
	}
	edit.RotateBy = s.clock.at.AddDate(0, -2, 0).Format(time.DateOnly)
	if _, invalid := errors.AsType[*InvalidError](s.svc.EditAccount(t.Context(), by, account.ID, edit)); !invalid {
		t.Error("another day gone by was taken")
	}
}

func TestAnEditIsCheckedAsANewAccountIs(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.register(s.legacy(), "Old")
	for name, tt := range map[string]struct {
		change func(*AccountEdit)
		fields []string
	}{
		"no revision":    {func(e *AccountEdit) { e.Revision = "" }, []string{""}},
		"no name":        {func(e *AccountEdit) { e.Name = " " }, []string{"name"}},
		"another's name": {func(e *AccountEdit) { e.Name = "OLD" }, []string{"name"}},
		"everything wrong": {func(e *AccountEdit) {
			e.AccountDetails = AccountDetails{Name: strings.Repeat("n", 65), Environment: "prod", Owner: "a\nb", Note: "\x00", RotateBy: "soon"}
		}, []string{"environment", "name", "note", "owner", "rotate_by"}},
		"today": {func(e *AccountEdit) { e.RotateBy = s.clock.at.Format(time.DateOnly) }, []string{"rotate_by"}},
	} {
		edit := AccountEdit{Revision: account.Revision(), AccountDetails: detailsOf(account)}
		tt.change(&edit)
		invalid, ok := errors.AsType[*InvalidError](s.svc.EditAccount(t.Context(), member("admins"), account.ID, edit))
		if !ok {
			t.Errorf("%s: taken", name)
			continue
		}
		if diff := cmp.Diff(tt.fields, sortedFields(invalid)); diff != "" {
			t.Errorf("%s: complains of other fields (-want +got)\n%s", name, diff)
		}
	}
	if got := s.eventsOf(ActAccountEdit); len(got) != 0 {
		t.Errorf("events %+v", got)
	}
}

func sortedFields(e *InvalidError) []string {
	var fields []string
	for f := range e.Fields {
		fields = append(fields, f)
	}
	return sortedOnce(fields)
}

func TestAStaleEditShowsBothSides(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("admins")
	theirs, ours := AccountEdit{account.Revision(), detailsOf(account)}, AccountEdit{account.Revision(), detailsOf(account)}
	theirs.Owner, ours.Note = "Platform", "mine"
	if err := s.svc.EditAccount(t.Context(), by, account.ID, theirs); err != nil {
		t.Fatal(err)
	}
	changed, ok := errors.AsType[*AccountChangedError](s.svc.EditAccount(t.Context(), by, account.ID, ours))
	if !ok || changed.Now.Owner != "Platform" || changed.Now.Note != "" {
		t.Fatalf("stale: %+v, %v", changed, ok)
	}
	ours.Revision = changed.Now.Revision()
	if err := s.svc.EditAccount(t.Context(), by, account.ID, ours); err != nil {
		t.Errorf("with the present revision: %v", err)
	}
	if got := s.account(account); got.Note != "mine" || got.Owner != "" {
		t.Errorf("stored %q, %q", got.Note, got.Owner)
	}
	// What is no matter of the form does not make it stale.
	ours.Revision, ours.Note = s.account(account).Revision(), "again"
	if err := s.svc.Disable(t.Context(), by, account.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.EditAccount(t.Context(), by, account.ID, ours); err != nil {
		t.Errorf("after it was disabled: %v", err)
	}
}
