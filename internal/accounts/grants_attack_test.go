package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// grantsField is two accounts of different environments with clusters, and people.
type grantsField struct {
	*rig
	t          testing.TB
	prod, dev  uuid.UUID // accounts
	prodAt     *scriptedAccount
	devAt      *scriptedAccount
	admin      audit.Actor
	accountAdm audit.Actor // account admin of prod
}

func newGrantsField(t testing.TB) *grantsField {
	t.Helper()
	f := &grantsField{rig: newRig(t), t: t}
	f.svc = f.replica(t, func(c *Config) { c.StepUpAfter = 24 * time.Hour }) // the clock is moved
	f.prod, f.prodAt = f.account(t, "Search", Production)
	f.dev, f.devAt = f.account(t, "Ads", Development)
	for _, at := range []*scriptedAccount{f.prodAt, f.devAt} {
		at.add(2)
		at.set(func(a *scriptedAccount) { a.clusters[0].Labels = map[string]string{"team": "search"} })
	}
	f.refresh(t, f.svc, f.prod, f.dev)
	f.admin = f.grantee(t, "ada", "admins")
	f.accountAdm = f.grantee(t, "otto", "ops")
	f.give(t, f.admin, SubjectMember, "otto", "account-admin", access.ScopeAccount, f.prod.String())
	return f
}

// try creates a grant as somebody.
func (f *grantsField) try(by audit.Actor, kind, subject, role string, scopeKind access.ScopeKind, scope string) error {
	_, err := f.svc.CreateGrant(f.t.Context(), by, NewGrant{SubjectKind: kind, Subject: subject, Role: role, ScopeKind: string(scopeKind), Scope: scope, Reason: "attack"})
	return err
}

// wantForbidden fails unless the error names what is missing, and the refusal is on record with the act.
func (f *grantsField) wantForbidden(what string, err error, act Act, missing string) {
	f.t.Helper()
	forbidden, ok := errors.AsType[*ForbiddenError](err)
	if !ok || forbidden.Act != act.Name || !strings.Contains(forbidden.Missing, missing) {
		f.t.Errorf("%s: %v %v, want it refused for lack of %s", what, err, fieldsOfInvalid(err), missing)
		return
	}
	f.svc.flushDenials(f.t.Context(), true)
	events := f.events(f.t, act.Name)
	for _, e := range events {
		if e.Outcome == audit.Denied && strings.Contains(e.Reason, missing) {
			return
		}
	}
	f.t.Errorf("%s: the refusal is not on record: %+v", what, events)
}

// role makes a role of the team's own.
func (f *grantsField) role(name string, permissions ...string) string {
	f.t.Helper()
	role, err := f.svc.CreateRole(f.t.Context(), f.admin, NewRole{Name: name, Permissions: permissions})
	if err != nil {
		f.t.Fatal(err, fieldsOfInvalid(err))
	}
	return role.ID
}

func TestGrantGivingWhatOneLacks(t *testing.T) {
	f := newGrantsField(t)
	f.wantForbidden("members:manage", f.try(f.accountAdm, SubjectGroup, "g", "platform-admin", access.ScopeAccount, f.prod.String()), ActGrantCreate, access.MembersManage)
	f.wantForbidden("keys:rotate", f.try(f.accountAdm, SubjectGroup, "g", f.role("rotator", access.KeysRotate), access.ScopeAccount, f.prod.String()), ActGrantCreate, access.KeysRotate)
	granter := f.grantee(t, "gus")
	f.give(t, f.admin, SubjectMember, "gus", f.role("granter", access.GrantsManage, access.ReadAccount), access.ScopeEverything, "")
	f.wantForbidden("a viewer's rights", f.try(granter, SubjectGroup, "g", "viewer", access.ScopeAccount, f.prod.String()), ActGrantCreate, access.ReadClusters)
	writer := f.grantee(t, "wim")
	f.give(t, f.admin, SubjectMember, "wim", "operator", access.ScopeEverything, "")
	f.wantForbidden("without managing grants", f.try(writer, SubjectGroup, "g", "viewer", access.ScopeAccount, f.prod.String()), ActGrantCreate, access.GrantsManage)
	// What one holds in one place and manages grants in another is held together nowhere.
	f.give(t, f.admin, SubjectMember, "gus", "viewer", access.ScopeAccount, f.prod.String())
	f.wantForbidden("held elsewhere", f.try(granter, SubjectGroup, "g", "viewer", access.ScopeAccount, f.dev.String()), ActGrantCreate, access.ReadClusters)
	if err := f.try(granter, SubjectGroup, "g", "viewer", access.ScopeAccount, f.prod.String()); err != nil {
		t.Errorf("what is held and managed there: %v", err)
	}
}

func TestGrantOutsideOnesScope(t *testing.T) {
	f := newGrantsField(t)
	f.give(t, f.admin, SubjectMember, "otto", "viewer", access.ScopeEverything, "") // so that all of it may be read
	for _, tt := range []struct {
		kind  access.ScopeKind
		scope string
	}{
		{access.ScopeEverything, ""}, {access.ScopeEnvironment, "production"}, {access.ScopeEnvironment, "development"}, {access.ScopeAccount, f.dev.String()},
		{access.ScopeCluster, f.dev.String() + "/" + f.devAt.clusters[0].ID}, {access.ScopeLabels, "team=search"},
	} {
		f.wantForbidden(string(tt.kind)+" "+tt.scope, f.try(f.accountAdm, SubjectGroup, "g", "viewer", tt.kind, tt.scope), ActGrantCreate, access.GrantsManage)
	}
	for _, inside := range []string{f.prodAt.clusters[0].ID, f.prodAt.clusters[1].ID} {
		if err := f.try(f.accountAdm, SubjectGroup, "g", "account-admin", access.ScopeCluster, f.prod.String()+"/"+inside); err != nil {
			t.Errorf("a cluster of the own account: %v", err)
		}
	}
}

func TestGrantToOneself(t *testing.T) {
	f := newGrantsField(t)
	oneself := "nobody gives rights to themselves"
	for _, subject := range []string{"otto", grantsIssuer + "|otto", "otto@example.test", "OTTO@EXAMPLE.test"} {
		f.wantForbidden("as "+subject, f.try(f.accountAdm, SubjectMember, subject, "viewer", access.ScopeAccount, f.prod.String()), ActGrantCreate, oneself)
	}
	f.wantForbidden("by an own group", f.try(f.accountAdm, SubjectGroup, "ops", "viewer", access.ScopeAccount, f.prod.String()), ActGrantCreate, oneself)
	f.wantForbidden("as platform admin", f.try(f.admin, SubjectGroup, "admins", "viewer", access.ScopeEverything, ""), ActGrantCreate, oneself)
	// An address that is not verified yet: it may be so at the next sign-in.
	_, unverified := f.granteeAt(t, f.svc, Identity{Issuer: grantsIssuer, Subject: "uma", Email: "Uma@new.test", Groups: []string{"admins"}})
	f.wantForbidden("by an own address", f.try(unverified, SubjectMember, "uma@new.test", "viewer", access.ScopeEverything, ""), ActGrantCreate, oneself)
	if n := f.grantsStored(t); n != 1 {
		t.Errorf("%d grants", n)
	}
}

// TestGrantOfARoleThatGrewMeanwhile: who may change roles adds to one that nobody has what they do not hold, and an
// administrator sends a form that was opened before. Nothing is given until it was opened again.
func TestGrantOfARoleThatGrewMeanwhile(t *testing.T) {
	f := newGrantsField(t)
	granter := f.grantee(t, "gus", "gang")
	f.give(t, f.admin, SubjectMember, "gus", f.role("granter", access.GrantsManage, access.ReadClusters), access.ScopeEverything, "")
	helper := f.role("helper", access.ReadClusters)
	open := func() string {
		t.Helper()
		f.clock.advance(time.Second)
		token, err := f.svc.FormToken(t.Context(), f.admin, ActGrantCreate.Name)
		if err != nil {
			t.Fatal(err)
		}
		f.clock.advance(time.Second)
		return token
	}
	send := func(token string) error {
		_, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{SubjectKind: SubjectGroup, Subject: "gang", Role: helper, ScopeKind: string(access.ScopeEverything), Reason: "r", FormToken: token})
		return err
	}
	old := open()
	if err := f.svc.EditRole(t.Context(), granter, helper, RoleEdit{Version: 1, Name: "helper", Permissions: []string{access.ReadClusters, access.KeysRotate}}); err != nil {
		t.Fatal(err)
	}
	before := f.grantsStored(t)
	invalid, ok := errors.AsType[*InvalidError](send(old))
	if !ok || invalid.Fields["role"] == "" || invalid.Fields["form_token"] == "" || f.grantsStored(t) != before {
		t.Errorf("the form from before: %+v, %d grants, were %d", invalid, f.grantsStored(t), before)
	}
	if err := send(open()); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

// TestGrantToAnAddressOfOnesOwnLater: whoever gives rights to an address and makes it their own afterwards
// does not get them.
func TestGrantToAnAddressOfOnesOwnLater(t *testing.T) {
	f := newGrantsField(t)
	g := f.give(t, f.accountAdm, SubjectMember, "second@example.test", "viewer", access.ScopeAccount, f.prod.String())
	f.granteeAt(t, f.svc, Identity{Issuer: grantsIssuer, Subject: "otto", Email: "second@example.test", EmailVerified: true})
	if got, err := f.svc.Grant(t.Context(), f.admin, g.ID); err != nil || !got.Pending || len(f.events(t, ActGrantBind.Name)) != 0 {
		t.Errorf("bound to who gave it: %+v, %v", got, err)
	}
}

func TestGrantViaARoleEdit(t *testing.T) {
	f := newGrantsField(t)
	granter := f.grantee(t, "gus", "gang")
	granting := f.role("granter", access.GrantsManage, access.ReadClusters)
	f.give(t, f.admin, SubjectMember, "gus", granting, access.ScopeEverything, "")
	f.give(t, f.admin, SubjectMember, "gus", "operator", access.ScopeAccount, f.prod.String())
	helper := f.role("helper", access.ReadClusters)
	edit := func(by audit.Actor, id string, permissions ...string) error {
		now, err := f.svc.Role(t.Context(), f.admin, id)
		if err != nil {
			t.Fatal(err)
		}
		return f.svc.EditRole(t.Context(), by, id, RoleEdit{Version: now.Version, Name: now.Name, Permissions: permissions})
	}
	f.give(t, f.admin, SubjectGroup, "helpers", helper, access.ScopeAccount, f.prod.String())
	if err := edit(granter, helper, access.ReadClusters, access.WriteClusters); err != nil {
		t.Errorf("what is held wherever the role is given: %v", err)
	}
	f.wantForbidden("what is held nowhere", edit(granter, helper, access.ReadClusters, access.WriteClusters, access.KeysRotate), ActRoleEdit, access.KeysRotate)
	f.give(t, f.admin, SubjectMember, "waiting@example.test", helper, access.ScopeAccount, f.dev.String())
	f.wantForbidden("what is not held where the role waits for its member",
		edit(granter, helper, access.ReadClusters, access.WriteClusters, access.DeleteClusters), ActRoleEdit, access.DeleteClusters+" on account "+f.dev.String())
	f.wantForbidden("a role that one holds", edit(granter, granting, access.GrantsManage, access.ReadClusters, access.WriteClusters), ActRoleEdit, "nobody gives rights to themselves")
	gangs := f.role("gang's", access.ReadClusters)
	f.give(t, f.admin, SubjectGroup, "gang", gangs, access.ScopeAccount, f.prod.String())
	if err := edit(granter, gangs, access.ReadClusters, access.WriteClusters); err == nil || !strings.Contains(err.Error(), "nobody gives rights to themselves") {
		t.Errorf("a role that one's group holds: %v", err)
	}
	f.wantForbidden("without managing grants everywhere", edit(f.accountAdm, helper, access.ReadClusters), ActRoleEdit, access.GrantsManage)
	if err := edit(granter, granting, access.GrantsManage); err != nil {
		t.Errorf("taking away from a role that one holds: %v", err)
	}
}

func TestGrantByLabelWiderThanOnesOwn(t *testing.T) {
	f := newGrantsField(t)
	by := f.grantee(t, "lea")
	role := f.role("label admin", access.GrantsManage, access.ReadClusters)
	f.give(t, f.admin, SubjectMember, "lea", role, access.ScopeLabels, "team=search")
	for _, wider := range []string{"team in (search,ads)", "team=ads", "tier=gold", "Team=search"} {
		f.wantForbidden(wider, f.try(by, SubjectGroup, "g", role, access.ScopeLabels, wider), ActGrantCreate, access.GrantsManage)
	}
	// A label is taken away by who may change the cluster; a grant on the cluster would stay.
	f.wantForbidden("a cluster with the label", f.try(by, SubjectGroup, "g", role, access.ScopeCluster, f.prod.String()+"/"+f.prodAt.clusters[0].ID), ActGrantCreate, access.GrantsManage)
	for _, within := range []string{"team=search", "tier=gold, team == search"} {
		if err := f.try(by, SubjectGroup, "g", role, access.ScopeLabels, within); err != nil {
			t.Errorf("%s: %v", within, err)
		}
	}
}

func TestGrantViaAnEnvironment(t *testing.T) {
	f := newGrantsField(t)
	f.give(t, f.admin, SubjectMember, "otto", "viewer", access.ScopeEverything, "")
	f.wantForbidden("the environment of the own account", f.try(f.accountAdm, SubjectGroup, "g", "viewer", access.ScopeEnvironment, "production"), ActGrantCreate, access.GrantsManage)
	by := f.grantee(t, "eve")
	f.give(t, f.admin, SubjectMember, "eve", "account-admin", access.ScopeEnvironment, "development")
	if err := f.try(by, SubjectGroup, "g", "viewer", access.ScopeAccount, f.dev.String()); err != nil {
		t.Errorf("an account of the own environment: %v", err)
	}
	// Somebody writes into the database that the account is of another environment.
	f.exec(t, `UPDATE accounts SET environment = 'development' WHERE id = $1`, f.prod)
	if err := f.try(by, SubjectGroup, "g", "viewer", access.ScopeAccount, f.prod.String()); fieldsOfInvalid(err)["scope"] != noSuchAccount {
		t.Errorf("an account that was moved by hand: %v", err)
	}
}

func TestGrantOnWhatOneMayNotRead(t *testing.T) {
	f := newGrantsField(t)
	hidden := f.dev.String() + "/" + f.devAt.clusters[0].ID
	for _, tt := range []struct {
		kind             access.ScopeKind
		exists, missing  string
		words, denialsOf string
	}{
		{access.ScopeAccount, f.dev.String(), uuid.NewString(), noSuchAccount, "account Ads"},
		{access.ScopeCluster, hidden, uuid.NewString() + "/" + uuid.NewString(), noSuchCluster, "cluster cluster-000"},
		{access.ScopeCluster, hidden, f.prod.String() + "/" + uuid.NewString(), noSuchCluster, "cluster cluster-000"},
	} {
		exists := f.try(f.accountAdm, SubjectGroup, "g", "viewer", tt.kind, tt.exists)
		missing := f.try(f.accountAdm, SubjectGroup, "g", "viewer", tt.kind, tt.missing)
		if diff := cmp.Diff(fieldsOfInvalid(missing), fieldsOfInvalid(exists)); diff != "" || fieldsOfInvalid(exists)["scope"] != tt.words {
			t.Errorf("%s: told apart (-missing +existing)\n%s", tt.kind, diff)
		}
	}
	recorded := func() bool {
		f.svc.flushDenials(t.Context(), true)
		for _, e := range f.events(t, ActGrantCreate.Name) {
			if e.Outcome == audit.Denied && e.Target.Name == "cluster cluster-000" && e.Account.ID == f.dev.String() {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(5 * time.Second); !recorded(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the refusal is not on record")
		}
	}
	if n := f.grantsStored(t); n != 1 {
		t.Errorf("%d grants", n)
	}
}

// TestGrantWhileOnesRightIsTakenBack: a right is being taken back while its holder gives it on.
func TestGrantWhileOnesRightIsTakenBack(t *testing.T) {
	f := newGrantsField(t)
	page, err := f.svc.Grants(t.Context(), f.admin, GrantQuery{Subject: "otto"})
	if err != nil || len(page.Grants) != 1 {
		t.Fatal(page, err)
	}
	given := make(chan error, 1)
	err = pgx.BeginFunc(within(t), f.db.Pool, func(tx pgx.Tx) error {
		if _, err := f.svc.lockRights(t.Context(), tx); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), `UPDATE grants SET ended_at = now(), ended_by = 'ada' WHERE id = $1`, page.Grants[0].ID); err != nil {
			return err
		}
		go func() {
			given <- f.try(f.accountAdm, SubjectGroup, "g", "viewer", access.ScopeAccount, f.prod.String())
		}()
		f.waitsForRights(t, 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = <-given
	if fieldsOfInvalid(err)["scope"] != noSuchAccount || f.grantsStored(t) != 1 {
		t.Errorf("given meanwhile: %v, %d grants", err, f.grantsStored(t))
	}
}

// waitsForRights returns once n connections wait for the lock of the rights.
func (r *rig) waitsForRights(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if value[int](t, r, `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for the lock")
		}
	}
}

// TestGrantsAndTakingBackAtOnce: whichever of both is first, what was given was held when it was given.
func TestGrantsAndTakingBackAtOnce(t *testing.T) {
	f := newGrantsField(t)
	other := f.replica(t, nil)
	for i := range 12 {
		subject := fmt.Sprintf("racer%d", i)
		by := f.grantee(t, subject)
		own := f.give(t, f.admin, SubjectMember, subject, "account-admin", access.ScopeAccount, f.prod.String())
		var running sync.WaitGroup
		running.Go(func() {
			if err := other.EndGrant(t.Context(), f.admin, own.ID, ""); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() {
			_ = f.try(by, SubjectGroup, "group of "+subject, "viewer", access.ScopeAccount, f.prod.String()) // either may be first
		})
		running.Wait()
	}
	page, err := f.log.List(t.Context(), audit.Query{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	ended := map[string]bool{}
	for i := len(page.Operations) - 1; i >= 0; i-- { // oldest first
		switch e := page.Operations[i].Event; {
		case e.Act == ActGrantDelete.Name && e.Outcome == audit.OK:
			ended[fmt.Sprint(e.Change["subject"][0])] = true
		case e.Act == ActGrantCreate.Name && e.Outcome == audit.OK && ended[e.Actor.Subject]:
			t.Errorf("%s gave rights after theirs were taken back", e.Actor.Subject)
		}
	}
	if len(ended) != 12 {
		t.Errorf("%d were ended", len(ended))
	}
}

func TestGrantWaitsForAVerifiedAddressAndBindsOnce(t *testing.T) {
	f := newGrantsField(t)
	g, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{
		SubjectKind: SubjectMember, Subject: "New.Person@Example.test", Role: "viewer", ScopeKind: "account", Scope: f.prod.String(), ExpiresAt: "2026-12-24T18:00", Reason: "joins on Monday",
	})
	if err != nil || !g.Pending || g.SubjectKind != SubjectEmail || g.Subject != "new.person@example.test" || g.Issuer != grantsIssuer {
		t.Fatalf("%+v, %v", g, err)
	}
	expired, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{
		SubjectKind: SubjectMember, Subject: "new.person@example.test", Role: "operator", ScopeKind: "everything", ExpiresAt: "2026-11-23T10:00", Reason: "short",
	})
	if err != nil {
		t.Fatal(err)
	}
	f.clock.advance(2 * time.Hour)
	may := func(by audit.Actor) bool {
		return f.svc.rights(by).Allows(ActAccountRead.Needs, access.Target{AccountID: f.prod})
	}
	person := Identity{Issuer: grantsIssuer, Subject: "impostor", Email: "new.person@example.test"}
	if _, by := f.granteeAt(t, f.svc, person); may(by) {
		t.Error("an address that nobody vouches for took the grant")
	}
	person.Issuer, person.EmailVerified = "https://other.example.test", true
	if _, by := f.granteeAt(t, f.svc, person); may(by) {
		t.Error("another provider's address took the grant")
	}

	// Two people whom the provider gives the same address come at once, to two replicas.
	other := f.replica(t, nil)
	people := []Identity{
		{Issuer: grantsIssuer, Subject: "first", Name: "First", Email: "NEW.person@example.test", EmailVerified: true},
		{Issuer: grantsIssuer, Subject: "second", Name: "Second", Email: "new.person@example.test", EmailVerified: true},
	}
	var running sync.WaitGroup
	actors := make([]audit.Actor, 2)
	for i, s := range []*Service{f.svc, other} {
		running.Go(func() { _, actors[i] = f.granteeAt(t, s, people[i]) })
	}
	running.Wait()
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if may(actors[0]) == may(actors[1]) {
		t.Fatalf("bound to %v and %v", may(actors[0]), may(actors[1]))
	}
	winner := actors[0]
	if may(actors[1]) {
		winner = actors[1]
	}
	for range 2 {
		f.granteeAt(t, f.svc, Identity{Issuer: grantsIssuer, Subject: "third", Email: "new.person@example.test", EmailVerified: true})
		f.granteeAt(t, f.svc, Identity{Issuer: grantsIssuer, Subject: winner.Subject, Email: "new.person@example.test", EmailVerified: true})
	}

	events := f.events(t, ActGrantBind.Name)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	want := audit.Event{
		Act: "grant.bind", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: winner, Account: audit.Ref{ID: f.prod.String(), Name: "Search"},
		Target: audit.Target{Kind: "grant", ID: events[0].Target.ID, Name: "viewer for " + winner.Name + " on account Search"},
		Change: audit.Change{
			"subject_kind": {"email", "member"}, "issuer": {nil, grantsIssuer}, "subject": {"new.person@example.test", winner.Subject}, "role": {nil, "viewer"},
			"scope_kind": {nil, "account"}, "scope": {nil, f.prod.String()}, "reason": {nil, "joins on Monday"}, "expires_at": {nil, "2026-12-24T18:00:00Z"},
			"bound_from": {nil, g.ID.String()}, "granted_by": {nil, "Name of ada"},
		},
	}
	if diff := cmp.Diff(want, events[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	bound, err := f.svc.Grant(t.Context(), f.admin, uuid.MustParse(events[0].Target.ID))
	if err != nil || bound.BoundFrom == nil || *bound.BoundFrom != g.ID || bound.GrantedBy != "Name of ada" || bound.Unverified || bound.SubjectKind != SubjectMember || bound.Subject != winner.Subject {
		t.Errorf("bound %+v, %v", bound, err)
	}
	if was, err := f.svc.Grant(t.Context(), f.admin, g.ID); err != nil || was.EndedAt == nil || was.EndReason != "bound" || was.Pending {
		t.Errorf("the address's grant %+v, %v", was, err)
	}
	if left, err := f.svc.Grant(t.Context(), f.admin, expired.ID); err != nil || left.EndedAt != nil || !left.Expired {
		t.Errorf("one that had expired %+v, %v", left, err)
	}
	for _, id := range []uuid.UUID{bound.ID, expired.ID} {
		if err := f.svc.EndGrant(t.Context(), f.admin, id, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestGrantCountsUntilTheSecondOfItsEnd(t *testing.T) {
	f := newGrantsField(t)
	by := f.grantee(t, "eve")
	_, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{
		SubjectKind: SubjectMember, Subject: "eve", Role: "viewer", ScopeKind: "account", Scope: f.prod.String(), ExpiresAt: "2026-11-23T09:10:00Z", Reason: "ten minutes",
	})
	if err != nil {
		t.Fatal(err)
	}
	may := func() bool { return f.svc.rights(by).Allows(ActAccountRead.Needs, access.Target{AccountID: f.prod}) }
	f.clock.advance(10*time.Minute - time.Microsecond)
	if !may() {
		t.Error("it does not count until its end")
	}
	f.clock.advance(time.Microsecond)
	if may() {
		t.Error("it counts at its end")
	}
	page, err := f.svc.Grants(t.Context(), f.admin, GrantQuery{State: GrantsExpired})
	if err != nil || len(page.Grants) != 1 || !page.Grants[0].Expired || !page.Grants[0].MayEnd {
		t.Errorf("as expired: %+v, %v", page, err)
	}
	for end, problem := range map[string]bool{
		"2026-11-23T09:10:00Z": true, "2026-11-23T09:10:01Z": false, "2026-11-23T11:10:00+02:00": true, "2026-11-23": false, "2026-11-22": true,
		"2036-11-23": true, "2036-11-22": false, "soon": true, "2026-02-31": true, "'; DROP TABLE grants; --": true,
	} {
		_, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{SubjectKind: SubjectGroup, Subject: "g", Role: "viewer", ScopeKind: "everything", ExpiresAt: end, Reason: "r"})
		if (fieldsOfInvalid(err)["expires_at"] != "") != problem || !problem && err != nil {
			t.Errorf("%s: %v %v", end, err, fieldsOfInvalid(err))
		}
	}
}

// TestGrantIsNoLongerThanWhatItIsGivenFrom: two who hold a right for a week cannot give it to each other for
// ever.
func TestGrantIsNoLongerThanWhatItIsGivenFrom(t *testing.T) {
	f := newGrantsField(t)
	by := f.grantee(t, "temp")
	if _, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{
		SubjectKind: SubjectMember, Subject: "temp", Role: "account-admin", ScopeKind: "account", Scope: f.prod.String(), ExpiresAt: "2026-11-30", Reason: "a week",
	}); err != nil {
		t.Fatal(err)
	}
	try := func(end string) error {
		_, err := f.svc.CreateGrant(t.Context(), by, NewGrant{
			SubjectKind: SubjectGroup, Subject: "g", Role: "viewer", ScopeKind: "account", Scope: f.prod.String(), ExpiresAt: end, Reason: "r",
		})
		return err
	}
	for _, end := range []string{"", "2026-12-01", "2026-12-01T00:00:00Z"} {
		if got, want := fieldsOfInvalid(try(end))["expires_at"], "You hold this here until 2026-11-30 23:59 UTC only. Let this end by then."; got != want {
			t.Errorf("until %q: %q, want %q", end, got, want)
		}
	}
	for _, end := range []string{"2026-11-30", "2026-11-24"} {
		if err := try(end); err != nil {
			t.Errorf("until %s: %v", end, err)
		}
	}
	// Nor by adding to a role that is given for longer.
	role := f.role("helper", access.ReadClusters)
	f.give(t, f.admin, SubjectGroup, "g", role, access.ScopeAccount, f.prod.String())
	if _, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{
		SubjectKind: SubjectMember, Subject: "temp", Role: "platform-admin", ScopeKind: "everything", ExpiresAt: "2026-11-30", Reason: "a week",
	}); err != nil {
		t.Fatal(err)
	}
	f.wantForbidden("adding to a role", f.svc.EditRole(t.Context(), by, role, RoleEdit{Version: 1, Name: "helper", Permissions: []string{access.ReadClusters, access.WriteClusters}}),
		ActRoleEdit, access.WriteClusters)
}

func TestRoleIsNotDeletedWhileItIsUsed(t *testing.T) {
	f := newGrantsField(t)
	role := f.role("helper", access.ReadClusters)
	g := f.give(t, f.admin, SubjectMember, "waiting@example.test", role, access.ScopeEverything, "")
	if _, ok := errors.AsType[*ConflictError](f.svc.DeleteRole(t.Context(), f.admin, role)); !ok {
		t.Error("deleted while a grant waits with it")
	}
	// A grant of the role is being made while it is deleted.
	other := f.role("other", access.ReadClusters)
	deleted := make(chan error, 1)
	err := pgx.BeginFunc(within(t), f.db.Pool, func(tx pgx.Tx) error {
		if _, err := f.svc.lockRights(t.Context(), tx); err != nil {
			return err
		}
		if err := f.svc.insertGrant(t.Context(), tx, grantRow{
			ID: uuid.New(), SubjectKind: SubjectGroup, Issuer: grantsIssuer, Subject: "g", Role: other, ScopeKind: "everything", Reason: "r", CreatedAt: f.clock.now,
		}); err != nil {
			return err
		}
		go func() { deleted <- f.svc.DeleteRole(t.Context(), f.admin, other) }()
		f.waitsForRights(t, 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*ConflictError](<-deleted); !ok {
		t.Error("deleted while a grant was made with it")
	}
	if err := f.svc.EndGrant(t.Context(), f.admin, g.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.svc.DeleteRole(t.Context(), f.admin, role); err != nil {
		t.Errorf("once nothing names it: %v", err)
	}
	if was, err := f.svc.Grant(t.Context(), f.admin, g.ID); err != nil || was.Role.Name != "helper" {
		t.Errorf("what ended has lost its role's name: %+v, %v", was, err)
	}
	if err := f.try(f.admin, SubjectGroup, "g", role, access.ScopeEverything, ""); fieldsOfInvalid(err)["role"] == "" {
		t.Errorf("given although it is no more: %v", err)
	}
}

func TestLastAdminStays(t *testing.T) {
	onlyGranted := func(c *Config) { c.Rights = access.Configured{Issuer: grantsIssuer} }
	setup := func(t *testing.T) (*rig, *Service, Grant, audit.Actor) {
		r := newRig(t)
		s := r.replica(t, onlyGranted)
		first := r.grantee(t, "root")
		r.svc = s
		cli := audit.Actor{Issuer: InternalIssuer, Subject: "root", Name: "root", Via: audit.ViaCLI}
		return r, s, r.give(t, cli, SubjectMember, "root", "platform-admin", access.ScopeEverything, ""), first
	}
	wantStays := func(t *testing.T, r *rig, what string, err error) {
		t.Helper()
		if _, ok := errors.AsType[*ConflictError](err); !ok {
			t.Errorf("%s: %v, want that it is refused", what, err)
		}
	}
	cli := audit.Actor{Issuer: InternalIssuer, Subject: "root", Name: "root", Via: audit.ViaCLI}

	t.Run("own grant", func(t *testing.T) {
		r, s, own, root := setup(t)
		wantStays(t, r, "alone", s.EndGrant(t.Context(), root, own.ID, ""))
		wantStays(t, r, "from the command line, when nobody at all would be left", s.EndGrant(t.Context(), cli, own.ID, ""))
		r.give(t, root, SubjectGroup, "bosses", "platform-admin", access.ScopeEverything, "")
		wantStays(t, r, "with a group of nobody", s.EndGrant(t.Context(), root, own.ID, ""))
		second := r.grantee(t, "second")
		if _, err := s.CreateGrant(t.Context(), root, NewGrant{
			SubjectKind: SubjectMember, Subject: "second", Role: "platform-admin", ScopeKind: "everything", ExpiresAt: "2026-11-24T08:59:00Z", Reason: "r",
		}); err != nil {
			t.Fatal(err)
		}
		wantStays(t, r, "with somebody for less than a day", s.EndGrant(t.Context(), root, own.ID, ""))
		wantStays(t, r, "by the one for less than a day", s.EndGrant(t.Context(), second, own.ID, ""))
		r.give(t, root, SubjectMember, "unknown@example.test", "platform-admin", access.ScopeEverything, "")
		wantStays(t, r, "with an address of nobody", s.EndGrant(t.Context(), root, own.ID, ""))
		boss := r.grantee(t, "boss", "bosses")
		if err := s.EndGrant(t.Context(), root, own.ID, "leaves"); err != nil {
			t.Errorf("with somebody else there: %v", err)
		}
		if !doesEverything(s.rights(boss)) {
			t.Error("the other one may not do everything")
		}
	})
	t.Run("a role", func(t *testing.T) {
		r, s, own, root := setup(t)
		all := append(access.Own(), access.Upstream()...)
		role, err := s.CreateRole(t.Context(), root, NewRole{Name: "root role", Permissions: all})
		if err != nil {
			t.Fatal(err)
		}
		r.give(t, cli, SubjectMember, "root", role.ID, access.ScopeEverything, "")
		if err := s.EndGrant(t.Context(), root, own.ID, ""); err != nil {
			t.Fatalf("held twice: %v", err)
		}
		wantStays(t, r, "taken from the role", s.EditRole(t.Context(), root, role.ID, RoleEdit{Version: 1, Name: "root role", Permissions: access.Upstream()}))
		if err := s.EditRole(t.Context(), root, role.ID, RoleEdit{Version: 1, Name: "root role", Permissions: access.Own()}); err != nil {
			t.Errorf("what is not of the console itself: %v", err)
		}
	})
	t.Run("two at once", func(t *testing.T) {
		r, s, own, root := setup(t)
		second := r.grantee(t, "second")
		theirs := r.give(t, root, SubjectMember, "second", "platform-admin", access.ScopeEverything, "")
		other := r.replica(t, onlyGranted)
		errs := make([]error, 2)
		var running sync.WaitGroup
		running.Go(func() { errs[0] = s.EndGrant(t.Context(), root, own.ID, "") })
		running.Go(func() { errs[1] = other.EndGrant(t.Context(), second, theirs.ID, "") })
		running.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("%v and %v", errs[0], errs[1])
		}
	})
	t.Run("blocking", func(t *testing.T) {
		r, s, _, root := setup(t)
		second := r.grantee(t, "second")
		r.give(t, root, SubjectMember, "second", "platform-admin", access.ScopeEverything, "")
		check := func(by audit.Actor, who ...string) (err error) {
			begin := pgx.BeginFunc(t.Context(), r.db.Pool, func(tx pgx.Tx) error {
				book, lockErr := s.lockRights(t.Context(), tx)
				if lockErr != nil {
					return lockErr
				}
				for _, subject := range who[:len(who)-1] {
					book = book.without(rightsWithout{blocked: principal{grantsIssuer, subject}})
				}
				err = s.leavesAnAdmin(t.Context(), tx, book, by, rightsWithout{blocked: principal{grantsIssuer, who[len(who)-1]}})
				return errNothingToDo
			})
			if !errors.Is(begin, errNothingToDo) {
				t.Fatal(begin)
			}
			return err
		}
		if err := check(root, "second"); err != nil {
			t.Errorf("one of two: %v", err)
		}
		wantStays(t, r, "the last of two", check(second, "root", "second"))
	})
}

// grantsHostile are texts that hurt where they are not treated as text.
var grantsHostile = []string{
	`'; DROP TABLE grants; --`, `" onmouseover="x`, `<script>alert(1)</script>`, `{{.}}`, "${jndi:ldap://x}", `%s%n`, `\u0000`, "a\x00b", "a\x1b[31m", "\xff\xfe",
	"\u202egnp.exe", "../../etc/passwd", "=1+1", "a\r\nSet-Cookie: x=y", strings.Repeat("x", 5000), "\u2028", "%00", "*", "everything", "' OR '1'='1",
}

func TestGrantsTakeHostileTextAsText(t *testing.T) {
	f := newGrantsField(t)
	valid := NewGrant{SubjectKind: SubjectGroup, Subject: "g", Role: "viewer", ScopeKind: "account", Scope: f.prod.String(), ExpiresAt: "2026-12-24", Reason: "r"}
	for _, text := range grantsHostile {
		for field, set := range map[string]func(*NewGrant){
			"subject_kind": func(n *NewGrant) { n.SubjectKind = text }, "subject": func(n *NewGrant) { n.Subject = text }, "role": func(n *NewGrant) { n.Role = text },
			"subject of a member": func(n *NewGrant) { n.SubjectKind, n.Subject = SubjectMember, text }, "address": func(n *NewGrant) { n.SubjectKind, n.Subject = SubjectMember, text+"@example.test" },
			"both": func(n *NewGrant) { n.SubjectKind, n.Subject = SubjectMember, text+"|"+text }, "scope_kind": func(n *NewGrant) { n.ScopeKind = text },
			"account": func(n *NewGrant) { n.Scope = text }, "cluster": func(n *NewGrant) { n.ScopeKind, n.Scope = "cluster", f.prod.String()+"/"+text },
			"environment": func(n *NewGrant) { n.ScopeKind, n.Scope = "environment", text }, "labels": func(n *NewGrant) { n.ScopeKind, n.Scope = "labels", "team="+text },
			"expires_at": func(n *NewGrant) { n.ExpiresAt = text }, "reason": func(n *NewGrant) { n.Reason = text }, "form_token": func(n *NewGrant) { n.FormToken = text },
		} {
			n := valid
			set(&n)
			g, err := f.svc.CreateGrant(t.Context(), f.admin, n)
			_, invalid := errors.AsType[*InvalidError](err)
			switch {
			case err != nil && !invalid:
				t.Errorf("%s %q: %v", field, text, err)
			case err == nil && (field == "reason" && g.Reason != tidy(text) || field == "subject" && g.Subject != strings.TrimSpace(text)):
				t.Errorf("%s %q is kept as %q, %q", field, text, g.Reason, g.Subject)
			case err == nil && g.Unverified:
				t.Errorf("%s %q: what was stored is not what was written", field, text)
			}
		}
		if _, err := f.svc.Grants(t.Context(), f.admin, GrantQuery{Text: text, Subject: text, Role: text, Scope: text, State: text, SubjectKind: text, ScopeKind: text}); err != nil {
			t.Errorf("listing by %q: %v", text, err)
		}
		if _, err := f.svc.Grants(t.Context(), f.admin, GrantQuery{After: text}); !errors.Is(err, ErrBadCursor) {
			t.Errorf("cursor %q: %v", text, err)
		}
		role, err := f.svc.CreateRole(t.Context(), f.admin, NewRole{Name: text, Description: text, Permissions: []string{access.ReadClusters}})
		if _, invalid := errors.AsType[*InvalidError](err); err != nil && !invalid || err == nil && role.Name != tidy(text) {
			t.Errorf("role %q: %v", text, err)
		}
		if _, err := f.svc.CreateRole(t.Context(), f.admin, NewRole{Name: "n", Permissions: []string{text}}); fieldsOfInvalid(err)["permissions"] == "" {
			t.Errorf("permission %q: %v", text, err)
		}
		for name, do := range map[string]func() error{
			"role":        func() error { _, err := f.svc.Role(t.Context(), f.admin, text); return err },
			"edit role":   func() error { return f.svc.EditRole(t.Context(), f.admin, text, RoleEdit{}) },
			"delete role": func() error { return f.svc.DeleteRole(t.Context(), f.admin, text) },
			"what can":    func() error { _, err := f.svc.WhatCan(t.Context(), f.admin, text, text); return err },
			"who can": func() error {
				_, err := f.svc.WhoCan(t.Context(), f.admin, ClusterRef{AccountID: f.prod, ClusterID: text})
				return err
			},
			"why": func() error { _, err := f.svc.WhyMay(t.Context(), f.admin, text, ClusterRef{}); return err },
		} {
			if err := do(); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s %q: %v", name, text, err)
			}
		}
	}
	if unverified := f.svc.UnverifiedRows(); len(unverified) != 0 {
		t.Errorf("unverified %v", unverified)
	}
}

func TestGrantsAreNotChangedWithoutTheLog(t *testing.T) {
	f := newGrantsField(t)
	g := f.give(t, f.admin, SubjectMember, "waiting@example.test", "viewer", access.ScopeEverything, "")
	used, idle := f.role("used", access.ReadClusters), f.role("idle", access.ReadClusters)
	f.give(t, f.admin, SubjectGroup, "g", used, access.ScopeEverything, "")
	token, err := f.svc.FormToken(t.Context(), f.admin, ActGrantCreate.Name)
	if err != nil {
		t.Fatal(err)
	}
	rows := func() string {
		return value[string](t, f.rig, `SELECT coalesce((SELECT jsonb_agg(g ORDER BY g.id) FROM grants g), '[]')::text || coalesce((SELECT jsonb_agg(r ORDER BY r.id, r.version) FROM roles r), '[]')::text
			|| (SELECT count(*) FROM sessions)::text || (SELECT count(*) FROM form_tokens WHERE used_at IS NOT NULL)::text || (SELECT version FROM rights_version)::text`)
	}
	before := rows()
	owner, err := pgx.Connect(t.Context(), f.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background()) //nolint:errcheck // the test has what it wanted
	if _, err := owner.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"grant.create": func() error {
			_, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{SubjectKind: SubjectGroup, Subject: "g", Role: "viewer", ScopeKind: "everything", Reason: "r", FormToken: token})
			return err
		},
		"grant.delete": func() error { return f.svc.EndGrant(t.Context(), f.admin, g.ID, "") },
		"grant.bind": func() error {
			_, err := f.svc.SignIn(t.Context(), audit.Actor{Via: audit.ViaBrowser}, Identity{Issuer: grantsIssuer, Subject: "w", Email: "waiting@example.test", EmailVerified: true})
			return err
		},
		"role.create": func() error {
			_, err := f.svc.CreateRole(t.Context(), f.admin, NewRole{Name: "more", Permissions: []string{access.ReadClusters}})
			return err
		},
		"role.edit": func() error {
			return f.svc.EditRole(t.Context(), f.admin, used, RoleEdit{Version: 1, Name: "used", Permissions: []string{access.ReadAccount}})
		},
		"role.delete": func() error { return f.svc.DeleteRole(t.Context(), f.admin, idle) },
	} {
		if err := do(); !errors.Is(err, ErrAuditUnavailable) {
			t.Errorf("%s: %v, want ErrAuditUnavailable", name, err)
		}
	}
	if after := rows(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

func TestBlockedMemberDoesNotSignIn(t *testing.T) {
	f := newGrantsField(t)
	who := Identity{Issuer: grantsIssuer, Subject: "otto", Name: "Otto", Email: "otto@example.test", EmailVerified: true}
	standing := memberStanding{ID: uuid.New(), Issuer: grantsIssuer, Subject: "otto", Version: 1, Blocked: true, Reason: "left", WrittenAt: f.clock.now}
	f.exec(t, `INSERT INTO member_standings (`+memberStandingColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', '', $8)`,
		standing.ID, standing.Issuer, standing.Subject, standing.Version, standing.Blocked, standing.Reason, standing.WrittenAt, f.svc.cfg.Vault.MAC(standing.place(), standing.says()))
	by := audit.Actor{Via: audit.ViaBrowser, IP: "192.0.2.7", RequestID: "req-1"}
	sessions := value[int](t, f.rig, `SELECT count(*)::int FROM sessions`)
	for range 3 {
		if _, err := f.svc.SignIn(t.Context(), by, who); !errors.Is(err, ErrBlocked) {
			t.Fatalf("signed in: %v", err)
		}
	}
	if n := value[int](t, f.rig, `SELECT count(*)::int FROM sessions`); n != sessions {
		t.Errorf("%d sessions, %d before", n, sessions)
	}
	denied := func() []audit.Event {
		var denied []audit.Event
		for _, e := range f.events(t, ActSessionLogin.Name) {
			if e.Outcome == audit.Denied {
				denied = append(denied, e)
			}
		}
		return denied
	}
	want := audit.Event{
		Act: "session.login", Phase: audit.PhaseSingle, Outcome: audit.Denied, Reason: "The member is blocked.", Count: 1,
		Actor:  audit.Actor{Issuer: grantsIssuer, Subject: "otto", Name: "Otto", Email: "otto@example.test", Via: audit.ViaBrowser, IP: "192.0.2.7", RequestID: "req-1"},
		Target: audit.Target{Kind: "session", Name: "Otto"},
	}
	got := denied()
	if len(got) != 1 {
		t.Fatalf("%d events", len(got))
	}
	got[0].Count = max(got[0].Count, 1)
	if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	f.clock.advance(time.Minute + time.Second)
	f.svc.flushDenials(t.Context(), false)
	if got := denied(); len(got) != 2 || got[1].Count != 2 {
		t.Errorf("the others are not summed: %+v", got)
	}
	// A row that does not verify blocks as well, and the database itself refuses the rest.
	f.exec(t, `INSERT INTO member_standings (`+memberStandingColumns+`) VALUES ($1, $2, 'ada', 1, false, '', now(), '', '', '', '')`, uuid.New(), grantsIssuer)
	if _, err := f.svc.SignIn(t.Context(), by, Identity{Issuer: grantsIssuer, Subject: "ada"}); !errors.Is(err, ErrBlocked) {
		t.Errorf("with a row that somebody wrote: %v", err)
	}
	_, err := f.db.Pool.Exec(t.Context(), `INSERT INTO sessions (id, token_hash, mark, issuer, subject, name, email, email_verified, groups, overage, claims, sid, ip, user_agent, created_at, last_seen_at, expires_at)
		SELECT gen_random_uuid(), sha256('x'), 'x', issuer, subject, name, email, email_verified, '{}', false, '{}', '', '', '', now(), now(), now() FROM members WHERE subject = 'otto'`)
	if !refusedAsBlocked(err) {
		t.Errorf("another program's session: %v", err)
	}
}

// TestForgedGrantIsNotListed: whoever writes a row into the database, only who manages grants everywhere
// sees it, and ends it.
func TestForgedGrantIsNotListed(t *testing.T) {
	f := newGrantsField(t)
	id := uuid.New()
	f.exec(t, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, 'member', $2, 'otto', 'platform-admin', 'account', $3, NULL, 'forged', NULL, now(), 'x', 'x', 'x', '\x00')`, id, grantsIssuer, f.prod.String())
	page, err := f.svc.Grants(t.Context(), f.admin, GrantQuery{State: GrantsAll, Text: "forged"})
	if err != nil || page.Total != 0 {
		t.Errorf("listed: %+v, %v", page, err)
	}
	if _, err := f.svc.Grant(t.Context(), f.accountAdm, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("seen by who manages a part: %v", err)
	}
	if g, err := f.svc.Grant(t.Context(), f.admin, id); err != nil || !g.Unverified || !g.MayEnd {
		t.Errorf("%+v, %v", g, err)
	}
	if err := f.svc.EndGrant(t.Context(), f.accountAdm, id, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("ended by who manages a part: %v", err)
	}
	if err := f.svc.EndGrant(t.Context(), f.admin, id, "forged"); err != nil {
		t.Error(err)
	}
	if err := f.svc.freshRights(t.Context()); err != nil || len(f.svc.UnverifiedRows()) != 0 {
		t.Errorf("still there: %v, %v", f.svc.UnverifiedRows(), err)
	}
}
