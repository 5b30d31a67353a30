package accounts

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// TestGrantToAnAddressThatWasWrittenIntoTheDatabase: with the console's own database role somebody writes the address
// of a colleague beside their own name, and waits for what is granted to it.
func TestGrantToAnAddressThatWasWrittenIntoTheDatabase(t *testing.T) {
	f := newGrantsField(t)
	mallory := f.grantee(t, "mallory")
	f.exec(t, `UPDATE members SET email = 'new.admin@example.test', email_verified = true, name = 'New Admin' WHERE subject = 'mallory'`)
	g := f.give(t, f.admin, SubjectMember, "new.admin@example.test", "platform-admin", access.ScopeEverything, "")
	if g.SubjectKind != SubjectEmail || !g.Pending {
		t.Errorf("the grant is for %s %s", g.SubjectKind, g.Subject)
	}
	if f.svc.May(mallory, access.GrantsManage) {
		t.Error("who wrote the address manages grants")
	}
	// Sessions that no sign-in wrote say nothing either.
	f.exec(t, `
		INSERT INTO sessions (id, token_hash, mark, issuer, subject, name, email, email_verified, groups, overage, claims, sid, ip, user_agent, created_at, last_seen_at, expires_at)
		SELECT gen_random_uuid(), sha256('x'), 'forged', issuer, subject, name, email, true, '{}', false, '{}', '', '', '', now() + interval '1 day', now(), now() + interval '2 days'
		FROM members WHERE subject = 'mallory'`)
	if g = f.give(t, f.admin, SubjectMember, "New.Admin@example.test", "viewer", access.ScopeEverything, ""); g.SubjectKind != SubjectEmail {
		t.Errorf("by a forged session the grant is for %s %s", g.SubjectKind, g.Subject)
	}
	// Whom it is for gets it, and is found by the address from then on.
	real := f.grantee(t, "new.admin")
	if !f.svc.May(real, access.GrantsManage) {
		t.Error("the real one holds nothing")
	}
	if g = f.give(t, f.admin, SubjectMember, "new.admin@example.test", "auditor", access.ScopeEverything, ""); g.SubjectKind != SubjectMember || g.Subject != "new.admin" {
		t.Errorf("the grant is for %s %s", g.SubjectKind, g.Subject)
	}
}

// TestBreakGlassExportEndsWithItsSession: a long answer to a session that a link gave ends when that session does.
func TestBreakGlassExportEndsWithItsSession(t *testing.T) {
	for name, end := range map[string]func(r *rig, by audit.Actor) error{
		"signed out": func(r *rig, by audit.Actor) error { _, err := r.svc.SignOut(t.Context(), by); return err },
		"time is up": func(r *rig, _ audit.Actor) error { r.clock.advance(BreakGlassLife); return nil },
	} {
		r := newRig(t)
		_, by := useLink(t, r.svc, breakGlassLink(t, r.svc))
		w := r.svc.watch(by, ActAuditExport, nil)
		if err := w.ask(t.Context()); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		if err := end(r, by); err != nil {
			t.Fatal(err)
		}
		if err := w.ask(t.Context()); !errors.Is(err, ErrNoSession) {
			t.Errorf("%s: the export goes on: %v", name, err)
		}
	}
	r := newRig(t)
	if err := r.svc.sessionLives(t.Context(), commandLine()); err != nil {
		t.Errorf("the command line: %v", err)
	}
}

// TestMoveToWhereOneHoldsMore: who may edit an account moves it into an environment in which they, or others, hold rights
// that they do not hold on it.
func TestMoveToWhereOneHoldsMore(t *testing.T) {
	f := newGrantsField(t)
	mallory := f.grantee(t, "mallory")
	registrar := f.role("registrar", access.AccountsManage, access.ReadAccount)
	f.give(t, f.admin, SubjectMember, "mallory", registrar, access.ScopeAccount, f.prod.String())
	f.give(t, f.admin, SubjectMember, "mallory", "operator", access.ScopeEnvironment, "development")
	account, err := accountByID(t.Context(), f.db.Pool, f.prod, false)
	if err != nil {
		t.Fatal(err)
	}
	edit := AccountEdit{Revision: account.Revision(), AccountDetails: detailsOf(account)}
	edit.Environment = Development
	err = f.svc.EditAccount(t.Context(), mallory, f.prod, edit)
	f.wantForbidden("moving an account to oneself", err, ActAccountEdit, access.WriteClusters)
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.svc.rights(mallory).Allows(access.Needs(access.DeleteClusters), access.Target{AccountID: f.prod}) {
		t.Error("the move gave them the clusters")
	}
	// Who holds on the account all that the environment's grants give may move it.
	f.give(t, f.admin, SubjectMember, "mallory", "operator", access.ScopeAccount, f.prod.String())
	if err := f.svc.EditAccount(t.Context(), mallory, f.prod, edit); err != nil {
		t.Errorf("with the rights held there: %v", err)
	}
}

// TestAlteredEnvironmentIsAMove: an environment that was written into the database is not made certain by who may not
// move the account there, nor without a fresh sign-in.
func TestAlteredEnvironmentIsAMove(t *testing.T) {
	f := newGrantsField(t)
	mallory := f.grantee(t, "mallory")
	f.give(t, f.admin, SubjectMember, "mallory", f.role("registrar", access.AccountsManage, access.ReadAccount), access.ScopeAccount, f.prod.String())
	f.give(t, f.admin, SubjectMember, "mallory", "operator", access.ScopeEnvironment, "development")
	f.exec(t, `UPDATE accounts SET environment = 'development' WHERE id = '`+f.prod.String()+`'`)
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	account, err := accountByID(t.Context(), f.db.Pool, f.prod, false)
	if err != nil {
		t.Fatal(err)
	}
	edit := AccountEdit{Revision: account.Revision(), AccountDetails: detailsOf(account)}
	edit.Note = "a harmless note"
	if err := f.svc.EditAccount(t.Context(), mallory, f.prod, edit); err == nil || !strings.Contains(err.Error(), access.WriteClusters) {
		t.Errorf("who may not move it: %v", err)
	}
	stale := f.admin
	stale.SignedInAt = f.clock.Now().Add(-48 * time.Hour)
	if _, ok := errors.AsType[*StepUpError](f.svc.EditAccount(t.Context(), stale, f.prod, edit)); !ok {
		t.Error("the altered environment is saved without a fresh sign-in")
	}
	if err := f.svc.EditAccount(t.Context(), f.admin, f.prod, edit); err != nil {
		t.Errorf("an administrator who has signed in freshly: %v", err)
	}
}

// TestManyForgedRowsStallNobody: with the console's own database role somebody writes thousands of grants. They count for nothing,
// do not fill the log, and nobody waits while they are told of, least of all while the log cannot be written.
func TestManyForgedRowsStallNobody(t *testing.T) {
	f := newGrantsField(t)
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	forge := `INSERT INTO grants (id, subject_kind, issuer, subject, role, scope_kind, scope, reason, created_at, granted_by, granted_by_issuer, granted_by_subject, mac)
		SELECT gen_random_uuid(), 'group', 'x', 'y', 'viewer', 'everything', '', 'r', now(), 'a', 'b', 'c', '\x00' FROM generate_series(1, 500)`
	before := len(f.events(t, ActRightsUnverified.Name))
	f.exec(t, forge)
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(f.events(t, ActRightsUnverified.Name)) - before; n != unverifiedTold {
		t.Errorf("%d events", n)
	}
	if n := len(f.svc.UnverifiedRows()); n != 500 {
		t.Errorf("the banner counts %d rows", n)
	}
	holder, err := pgx.Connect(t.Context(), f.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close(context.WithoutCancel(t.Context())) }()
	if _, err := holder.Exec(t.Context(), `BEGIN; SELECT FROM audit.head FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	f.exec(t, forge)
	told := make(chan error, 1)
	go func() { told <- f.svc.freshRights(t.Context()) }()
	for len(f.svc.UnverifiedRows()) < 1000 {
		time.Sleep(10 * time.Millisecond)
	}
	f.exec(t, `UPDATE grants SET end_reason = '' WHERE false`) // a change, so that the next request reads, too
	began := time.Now()
	if _, err := f.svc.newerRights(t.Context(), value[int64](t, f.rig, `SELECT version FROM rights_version`)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("another request waited %v", took)
	}
	if err := <-told; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it was tried for %v to tell of the rows", took)
	}
}

// TestAnotherProviderLeavesNoAdmin: after the console was given another identity provider, whom the one before vouched for
// has no right any more, and does not count as who is left to do everything.
func TestAnotherProviderLeavesNoAdmin(t *testing.T) {
	f := newGrantsField(t)
	_, olga := f.granteeAt(t, f.svc, Identity{Issuer: "https://before.example.test", Subject: "olga", Name: "Olga", Groups: []string{"admins"}})
	ada := f.grantee(t, "ada")
	f.give(t, f.admin, SubjectMember, "https://before.example.test|olga", "platform-admin", access.ScopeEverything, "")
	otto := f.grantee(t, "otto")
	f.give(t, f.admin, SubjectMember, "otto", "platform-admin", access.ScopeEverything, "")
	after := f.replica(t, func(c *Config) { c.StepUpAfter, c.Rights = 24*time.Hour, access.Configured{Issuer: grantsIssuer} })
	if err := after.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after.May(olga, access.GrantsManage) {
		t.Error("the session of the provider before still manages grants")
	}
	if !after.May(otto, access.GrantsManage) || after.May(ada, access.GrantsManage) {
		t.Fatal("otto is not the only one left")
	}
	page, err := after.Grants(t.Context(), otto, GrantQuery{Subject: "otto"})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(page.Grants, func(g Grant) bool { return g.Role.ID == "platform-admin" })
	if _, ok := errors.AsType[*ConflictError](after.EndGrant(t.Context(), otto, page.Grants[i].ID, "")); !ok {
		t.Error("the last administrator who can sign in took their own right back")
	}
}
