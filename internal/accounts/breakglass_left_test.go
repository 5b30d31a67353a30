package accounts

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
)

// leftLines is what a link left, in words.
func leftLines(d BreakGlassDetail) []string {
	var lines []string
	for _, l := range d.Left {
		words := l.Act + " " + l.Name
		if l.Stands {
			words += " (stands)"
		}
		if l.MayOpen {
			words += " (opens)"
		}
		lines = append(lines, words)
	}
	return lines
}

// TestBreakGlassLeavesBehind gives rights with a break-glass session, ends it, and sees in the list of what it left which of
// them go on, until each is taken back.
func TestBreakGlassLeavesBehind(t *testing.T) {
	f := newGrantsField(t)
	f.svc = f.replica(t, func(c *Config) { c.StepUpAfter, c.Rights.Issuer = 24*time.Hour, grantsIssuer })
	otto := f.grantee(t, "otto2")
	link := breakGlassLink(t, f.svc)
	uses, err := f.svc.BreakGlassUses(t.Context(), f.admin)
	if err != nil || len(uses) != 1 || !uses[0].Usable(f.clock.Now()) || uses[0].Session != nil || uses[0].MadeBy != "root@host-1" || uses[0].Reason != "The provider is down" {
		t.Fatalf("before it is used: %+v, %v", uses, err)
	}
	_, glass := useLink(t, f.svc, link)
	f.clock.advance(time.Second)
	g := f.give(t, glass, SubjectGroup, "night", "operator", access.ScopeAccount, f.prod.String())
	pending, err := f.svc.CreateGrant(t.Context(), glass, NewGrant{SubjectKind: SubjectEmail, Subject: "new@example.test", Role: "viewer", ScopeKind: "everything", Reason: "x"})
	if err != nil {
		t.Fatal(err)
	}
	role, err := f.svc.CreateRole(t.Context(), glass, NewRole{Name: "night watch", Permissions: []string{access.ReadClusters}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.svc.Block(t.Context(), glass, otto.Issuer, otto.Subject, MemberBlock{Reason: "odd", Confirm: "otto2@example.test"}); err != nil {
		t.Fatal(err, fieldsOfInvalid(err))
	}

	uses, err = f.svc.BreakGlassUses(t.Context(), f.admin)
	if err != nil || len(uses) != 1 || uses[0].Session == nil || uses[0].Session.IP != "192.0.2.7" {
		t.Fatalf("in use: %+v, %v", uses, err)
	}
	if err := f.svc.EndBreakGlass(t.Context(), f.admin, uses[0].Session.ID); err != nil {
		t.Fatal(err)
	}
	id := uses[0].ID
	read := func() BreakGlassDetail {
		t.Helper()
		d, err := f.svc.BreakGlass(t.Context(), f.admin, id)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := read()
	if d.Session != nil || d.EndedAt == nil || d.UsedAt == nil || d.Others != 0 || !d.MayAudit {
		t.Errorf("ended: %+v", d.BreakGlassUse)
	}
	const gave, mail = "grant.create operator for group night on account Search", "grant.create viewer for new@example.test on everything"
	want := []string{"member.block Name of otto2 (stands) (opens)", "role.create night watch (stands) (opens)", mail + " (stands) (opens)", gave + " (stands) (opens)"}
	if diff := cmp.Diff(want, leftLines(d)); diff != "" {
		t.Errorf("left behind (-want +got)\n%s", diff)
	}
	if d.Left[0].ID != f.svc.MemberID(otto.Issuer, otto.Subject) {
		t.Errorf("the member is %s", d.Left[0].ID)
	}

	// The grant to an address is bound meanwhile, and goes on as its member's.
	newcomer := vera()
	newcomer.Issuer, newcomer.Subject, newcomer.Email, newcomer.EmailVerified, newcomer.Name, newcomer.Groups = grantsIssuer, "newcomer", "new@example.test", true, "New", nil
	if _, err := f.svc.SignIn(t.Context(), browser(), newcomer); err != nil {
		t.Fatal(err)
	}
	d = read()
	if got := leftLines(d)[2]; got != "grant.create viewer for New on everything (stands) (opens)" || d.Left[2].ID == pending.ID.String() {
		t.Errorf("bound: %s, %s", got, d.Left[2].ID)
	}
	if err := f.svc.EndGrant(t.Context(), f.admin, uuid.MustParse(d.Left[2].ID), ""); err != nil {
		t.Fatal(err)
	}
	if err := f.svc.EndGrant(t.Context(), f.admin, g.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.svc.DeleteRole(t.Context(), f.admin, role.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.svc.Unblock(t.Context(), f.admin, otto.Issuer, otto.Subject, ""); err != nil {
		t.Fatal(err)
	}
	for _, line := range leftLines(read()) {
		if strings.Contains(line, "(stands)") {
			t.Errorf("taken back, and yet: %s", line)
		}
	}
}

// TestBreakGlassListsAreForWhoManagesMembers: nobody else is told of links, or whether there is one; names of places are
// told to who may read them; and a row that the console did not make is no link.
func TestBreakGlassListsAreForWhoManagesMembers(t *testing.T) {
	f := newGrantsField(t)
	f.give(t, f.admin, SubjectGroup, "leads", f.role("lead", access.MembersManage), access.ScopeEverything, "")
	lead := f.grantee(t, "lea", "leads")
	_, glass := useLink(t, f.svc, breakGlassLink(t, f.svc))
	f.give(t, glass, SubjectGroup, "night", "operator", access.ScopeAccount, f.prod.String())
	uses, err := f.svc.BreakGlassUses(t.Context(), lead)
	if err != nil || len(uses) != 1 {
		t.Fatalf("%+v, %v", uses, err)
	}
	for _, id := range []uuid.UUID{uses[0].ID, uuid.New(), uuid.Nil} {
		_, err := f.svc.BreakGlass(t.Context(), f.accountAdm, id)
		if forbidden, ok := errors.AsType[*ForbiddenError](err); !ok || forbidden.Missing != access.MembersManage {
			t.Errorf("%s for who manages one account: %v", id, err)
		}
		if _, err := f.svc.BreakGlass(t.Context(), f.admin, id); (err == nil) != (id == uses[0].ID) || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := f.svc.BreakGlassUses(t.Context(), f.accountAdm); err == nil {
		t.Error("who manages one account is told of links")
	}
	d, err := f.svc.BreakGlass(t.Context(), lead, uses[0].ID)
	if err != nil || len(d.Left) != 1 || strings.Contains(d.Left[0].Name, "Search") || d.Left[0].MayOpen || d.MayAudit {
		t.Errorf("who may not read the account is told %+v, %v", d, err)
	}
	f.exec(t, `INSERT INTO break_glass_links (id, token_hash, mark, reason, made_by, created_at, expires_at) VALUES (gen_random_uuid(), '\x000102030405060708090a0b0c0d0e0f', 'made-up', 'Call this number', 'x@y', now(), now())`)
	if uses, err := f.svc.BreakGlassUses(t.Context(), f.admin); err != nil || len(uses) != 1 {
		t.Errorf("a row written beside the console is listed: %+v, %v", uses, err)
	}
}
