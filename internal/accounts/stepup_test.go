package accounts

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// TestStepUpIsAskedOfTheActsThatTheTableMarks holds the list against the table, so that no act loses its mark
// unnoticed.
func TestStepUpIsAskedOfTheActsThatTheTableMarks(t *testing.T) {
	production := target{Account: accountRef{ID: uuid.New(), Environment: Production}}
	staging := target{Account: accountRef{ID: uuid.New(), Environment: Staging}}
	always := []string{"account.delete", "account.key", "account.switch", "account.edit", "management_key.create", "management_key.delete", "audit.export",
		"grant.create", "grant.delete", "role.create", "role.edit", "role.delete", "member.block", "member.unblock",
		"review.export", "review.decide", "review.sign"}
	s := certainOf(&Service{}, production, staging)
	for _, act := range Acts() {
		want := slices.Contains(always, act.Name) || act.Escapes
		if s.asksFresh(act, staging) != want {
			t.Errorf("%s in staging asks for a fresh sign-in: %v", act.Name, !want)
		}
		want = want || slices.Contains([]string{"cluster.delete", "key.delete", "admin_key.delete"}, act.Name)
		if s.asksFresh(act, production) != want {
			t.Errorf("%s in production asks for a fresh sign-in: %v", act.Name, !want)
		}
	}
	if !s.asksFresh(Act{Escapes: true}, staging) {
		t.Error("an act that hands out power past this console asks for no fresh sign-in")
	}
}

func TestStepUpFreshness(t *testing.T) {
	r := newRig(t)
	now := r.clock.Now()
	by := audit.Actor{Issuer: "https://idp.example.test", Subject: "a", Via: audit.ViaBrowser, Groups: []string{"admins"}}
	at := func(d time.Duration) audit.Actor { by := by; by.SignedInAt = now.Add(d); return by }
	for name, c := range map[string]struct {
		by   audit.Actor
		want bool
	}{
		"just now":            {at(0), true},
		"within the limit":    {at(-10*time.Minute + time.Microsecond), true},
		"at the limit":        {at(-10 * time.Minute), false},
		"long ago":            {at(-time.Hour), false},
		"not known":           {by, false},
		"of a clock far away": {at(time.Hour), false},
		"a job":               {JobActor("poll"), true},
		"the command line":    {audit.Actor{Issuer: InternalIssuer, Subject: "cli", Via: audit.ViaCLI}, true},
		"a token":             {audit.Actor{Issuer: "https://idp.example.test", Subject: "a", Via: audit.ViaToken}, false},
		"who says job":        {audit.Actor{Issuer: "https://idp.example.test", Subject: "a", Via: audit.ViaJob}, false},
		"console in browser":  {audit.Actor{Issuer: InternalIssuer, Subject: "x", Via: audit.ViaBrowser}, false},
	} {
		if got := r.svc.isFresh(c.by); got != c.want {
			t.Errorf("%s: fresh is %v", name, got)
		}
	}
}

// TestStepUpSignedInAt is from what the identity provider told to what counts as the moment of the sign-in.
func TestStepUpSignedInAt(t *testing.T) {
	r := newRig(t)
	now := r.clock.Now()
	before, after := now.Add(-5*time.Minute), now.Add(5*time.Minute)
	for name, c := range map[string]struct {
		at       *time.Time
		prompted bool
		want     time.Time
	}{
		"told":                 {&before, false, before},
		"in the future":        {&after, false, now},
		"not told":             {nil, false, time.Time{}},
		"not told, prompted":   {&before, true, before},
		"prompted and no time": {nil, true, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			id := vera()
			id.AuthTime, id.Prompted = c.at, c.prompted
			token, by := signIn(t, r, id)
			if !by.SignedInAt.Equal(c.want) {
				t.Errorf("signed in at %v, want %v", by.SignedInAt, c.want)
			}
			session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.prompted && c.at != nil; session.Prompted != want {
				t.Errorf("prompted is %v", session.Prompted)
			}
		})
	}
}

// TestStepUpRowSaysPromptedOnlyBySeal alters the column with the owner's rights.
func TestStepUpRowSaysPromptedOnlyBySeal(t *testing.T) {
	for _, prompted := range []bool{true, false} {
		r := newRig(t)
		id, at := vera(), r.clock.Now()
		id.AuthTime, id.Prompted = &at, prompted
		token, _ := signIn(t, r, id)
		r.execAsOwner(t, `UPDATE sessions SET prompted = NOT prompted WHERE subject = 'sub-vera'`)
		wantNoSession(t, r.svc, token)
	}
}

func TestStepUpTellsAuthTime(t *testing.T) {
	r := newRig(t)
	id, at := vera(), r.clock.Now()
	told := func(want bool) {
		t.Helper()
		if got, err := r.svc.TellsAuthTime(t.Context(), id.Issuer); err != nil || got != want {
			t.Errorf("tells auth_time: %v, %v", got, err)
		}
	}
	signIn(t, r, id)
	told(false)
	id.AuthTime, id.Prompted = &at, true
	signIn(t, r, id)
	told(false)
	id.Prompted = false
	signIn(t, r, id)
	told(true)
	id.Issuer = "https://other.example.test"
	told(false)
}

// wantStepUp checks a refusal for want of a fresh sign-in, and its event.
func (s *stage) wantStepUp(err error, act Act) {
	s.t.Helper()
	e, ok := errors.AsType[*StepUpError](err)
	if !ok || e.Act != act.Name || e.After != 10*time.Minute {
		s.t.Fatalf("%s: %v, want a StepUpError", act.Name, err)
	}
	for _, e := range s.events() {
		if e.Act == act.Name && e.Outcome == audit.Denied && e.Reason == "needs a fresh sign-in" && e.Actor.Subject == "sub-admins" {
			return
		}
	}
	s.t.Errorf("%s: the refusal was not recorded", act.Name)
}

func TestStepUpRefusesEveryActItIsAskedOf(t *testing.T) {
	s := newStage(t)
	a := s.register(s.current(), "Stepped")
	stale := member("admins")
	stale.SignedInAt = s.clock.now().Add(-11 * time.Minute)
	ctx := t.Context()

	_, err := s.svc.ReplaceKey(ctx, stale, a.ID, ReplacementKey{})
	s.wantStepUp(err, ActAccountKey)
	_, err = s.svc.MintKey(ctx, stale, a.ID, "")
	s.wantStepUp(err, ActManagementKeyCreate)
	s.wantStepUp(s.svc.Remove(ctx, stale, a.ID, AccountRemoval{Confirm: a.Name}), ActAccountDelete)
	s.wantStepUp(s.svc.SwitchAccount(ctx, stale, a.ID, AccountSwitch{}), ActAccountSwitch)
	s.wantStepUp(s.svc.ExportLog(ctx, stale, audit.Query{}, audit.CSV, nil), ActAuditExport)
	_, err = s.svc.AskExport(ctx, stale)
	s.wantStepUp(err, ActAuditExport)

	d, err := s.svc.Account(ctx, stale, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	edit := AccountEdit{Revision: d.Revision(), AccountDetails: AccountDetails{Name: d.Name, Environment: Development, Owner: d.Owner, Note: d.Note}}
	s.wantStepUp(s.svc.EditAccount(ctx, stale, a.ID, edit), ActAccountEdit)
	if now, err := s.svc.Account(ctx, stale, a.ID); err != nil || now.Environment != d.Environment {
		t.Errorf("the environment is %v, %v", now.Environment, err)
	}

	// What does not ask is done all the same, and asking before an act is no refusal.
	edit.Environment, edit.Note = d.Environment, "another note"
	if err := s.svc.EditAccount(ctx, stale, a.ID, edit); err != nil {
		t.Errorf("edit without another environment: %v", err)
	}
	asked, err := s.svc.AskAccount(ctx, stale, ActAccountDelete, a.ID)
	if err != nil || !asked.Offers[ActAccountDelete.Name].StepUp {
		t.Errorf("asking before the removal: %+v, %v", asked.Offers[ActAccountDelete.Name], err)
	}
	fresh := member("admins")
	if asked, err = s.svc.AskAccount(ctx, fresh, ActAccountDelete, a.ID); err != nil || asked.Offers[ActAccountDelete.Name].StepUp {
		t.Errorf("asking with a fresh sign-in: %+v, %v", asked.Offers[ActAccountDelete.Name], err)
	}
	if err := s.svc.Remove(ctx, fresh, a.ID, AccountRemoval{Confirm: a.Name}); err != nil {
		t.Errorf("removal with a fresh sign-in: %v", err)
	}
}

// certainOf has the Service be certain of which environment the targets' accounts are.
func certainOf(s *Service, of ...target) *Service {
	book := newBook()
	for _, on := range of {
		book.environments[on.Account.ID] = string(on.Account.Environment)
	}
	s.keeper.book.Store(book)
	return s
}

// TestStepUpTellsNothingToThoseWithoutTheRight wants the answer that they get with a fresh sign-in.
func TestStepUpTellsNothingToThoseWithoutTheRight(t *testing.T) {
	s := newStage(t)
	a := s.register(s.current(), "Stepped")
	for _, group := range []string{"viewers", "strangers"} {
		for _, age := range []time.Duration{0, time.Hour} {
			by := member(group)
			by.SignedInAt = s.clock.now().Add(-age)
			err := s.svc.Remove(t.Context(), by, a.ID, AccountRemoval{Confirm: a.Name})
			if _, asked := errors.AsType[*StepUpError](err); err == nil || asked {
				t.Errorf("%s, %v after the sign-in: %v", group, age, err)
			}
			if _, forbidden := errors.AsType[*ForbiddenError](err); forbidden != (group == "viewers") {
				t.Errorf("%s: %v", group, err)
			}
		}
	}
}

// TestStepUpOfClustersIsForProductionOnly deletes one of each.
func TestStepUpOfClustersIsForProductionOnly(t *testing.T) {
	s := &Service{cfg: Config{Rights: access.Configured{AdminGroups: []string{"admins"}}, StepUpAfter: time.Minute, Now: time.Now}}
	by := member("admins")
	by.SignedInAt = time.Now().Add(-time.Hour)
	for _, environment := range append([]Environment{""}, Environments...) {
		on := target{Account: accountRef{ID: uuid.New(), Environment: environment}, Kind: KindCluster, ID: "c"}
		if due := certainOf(s, on).stepUpDue(by, ActClusterDelete, on); due != (environment == Production || environment == "") {
			t.Errorf("in %s: a fresh sign-in is due: %v", environment, due)
		}
	}
}

// TestStepUpIsAskedWhereTheEnvironmentIsNotCertain alters an account's row with the owner's rights.
func TestStepUpIsAskedWhereTheEnvironmentIsNotCertain(t *testing.T) {
	s := newStage(t)
	a := s.register(s.current(), "Stepped")
	stale := member("admins")
	stale.SignedInAt = s.clock.now().Add(-time.Hour)
	due := func() bool {
		t.Helper()
		if err := s.svc.freshRights(t.Context()); err != nil {
			t.Fatal(err)
		}
		d, err := s.svc.Account(t.Context(), stale, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s.svc.stepUpDue(stale, ActClusterDelete, target{Account: d.ref(), Kind: KindCluster, ID: "c"})
	}
	if a.Environment != Production && due() {
		t.Errorf("due in %s", a.Environment)
	}
	s.exec(s.db.OwnerURL, `UPDATE accounts SET environment = CASE environment WHEN 'development' THEN 'other' ELSE 'development' END WHERE id = $1`, a.ID)
	s.exec(s.db.OwnerURL, `UPDATE rights_version SET version = version + 1`)
	if !due() {
		t.Error("not due after the environment was altered by SQL")
	}
}
