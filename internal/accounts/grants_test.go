package accounts

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

const grantsIssuer = "https://idp.example.test"

// grantee signs somebody in and returns them as the actor of their requests.
func (r *rig) grantee(t testing.TB, subject string, groups ...string) audit.Actor {
	t.Helper()
	_, by := r.granteeAt(t, r.svc, Identity{
		Issuer: grantsIssuer, Subject: subject, Name: "Name of " + subject, Email: subject + "@example.test", EmailVerified: true, Groups: groups,
	})
	return by
}

func (r *rig) granteeAt(t testing.TB, s *Service, id Identity) (string, audit.Actor) {
	t.Helper()
	if id.AuthTime == nil {
		now := r.clock.Now()
		id.AuthTime = &now // acts on grants ask for a fresh sign-in
	}
	token, err := s.SignIn(t.Context(), audit.Actor{Via: audit.ViaBrowser, IP: "192.0.2.7", UserAgent: "Browser/1", RequestID: "req-" + id.Subject}, id)
	if err != nil {
		t.Fatal(err)
	}
	_, by, err := s.Authenticate(t.Context(), audit.Actor{Via: audit.ViaBrowser, IP: "192.0.2.7", UserAgent: "Browser/1", RequestID: "req-" + id.Subject}, token)
	if err != nil {
		t.Fatal(err)
	}
	return token, by
}

// give creates a grant that must succeed.
func (r *rig) give(t testing.TB, by audit.Actor, kind, subject, role string, scopeKind access.ScopeKind, scope string) Grant {
	t.Helper()
	g, err := r.svc.CreateGrant(t.Context(), by, NewGrant{
		SubjectKind: kind, Subject: subject, Role: role, ScopeKind: string(scopeKind), Scope: scope, Reason: "for the test",
	})
	if err != nil {
		t.Fatalf("%s %s as %s on %s %s: %v %+v", kind, subject, role, scopeKind, scope, err, fieldsOfInvalid(err))
	}
	return g
}

func fieldsOfInvalid(err error) map[string]string {
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		return invalid.Fields
	}
	return nil
}

// grantsStored counts the grants there are, ended ones too.
func (r *rig) grantsStored(t testing.TB) int {
	return value[int](t, r, `SELECT count(*)::int FROM grants`)
}

// TestGrantIsToldOfTheFirstSignInAfterAStart: what the log says of a sign-in follows from the rights as they are, also
// in a process that nobody has asked anything yet.
func TestGrantIsToldOfTheFirstSignInAfterAStart(t *testing.T) {
	r := newRig(t)
	admin := r.grantee(t, "ada", "admins")
	r.give(t, admin, SubjectGroup, "team", access.Operator().ID, access.ScopeEverything, "")
	started := r.replica(t, nil)
	now := r.clock.Now()
	if _, err := started.SignIn(t.Context(), browser(), Identity{Issuer: grantsIssuer, Subject: "olga", Name: "Olga", Groups: []string{"a-group", "team"}, AuthTime: &now}); err != nil {
		t.Fatal(err)
	}
	events := r.events(t, ActSessionLogin.Name)
	last := events[len(events)-1]
	if diff := cmp.Diff([]string{access.Operator().Name}, last.Actor.Roles); diff != "" {
		t.Errorf("roles on record (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([2]any{nil, []any{"team", "a-group"}}, last.Change["groups"]); diff != "" {
		t.Errorf("what gives something does not come first (-want +got)\n%s", diff)
	}
}

func TestGrantIsStoredRecordedAndActs(t *testing.T) {
	r := newRig(t)
	account, at := r.account(t, "Search", Staging)
	at.add(2)
	r.refresh(t, r.svc, account)
	cluster := at.clusters[0]
	admin, vera := r.grantee(t, "ada", "admins"), r.grantee(t, "vera")
	ref := ClusterRef{AccountID: account, ClusterID: cluster.ID}
	if _, err := r.svc.Cluster(t.Context(), vera, ref); !errors.Is(err, ErrNotFound) {
		t.Fatalf("before: %v", err)
	}

	token, err := r.svc.FormToken(t.Context(), admin, ActGrantCreate.Name)
	if err != nil {
		t.Fatal(err)
	}
	form := NewGrant{
		SubjectKind: SubjectMember, Subject: " VERA@example.test ", Role: "viewer", ScopeKind: "cluster", Scope: account.String() + " / " + cluster.ID,
		ExpiresAt: "2026-11-30", Reason: " on call\r\nthis week ", FormToken: token,
	}
	got, err := r.svc.CreateGrant(t.Context(), admin, form)
	if err != nil {
		t.Fatal(err, fieldsOfInvalid(err))
	}
	end := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	want := Grant{
		ID: got.ID, SubjectKind: SubjectMember, Issuer: grantsIssuer, Subject: "vera", SubjectName: "Name of vera", SubjectEmail: "vera@example.test", Role: access.Viewer(),
		ScopeKind: access.ScopeCluster, Scope: account.String() + "/" + cluster.ID, ScopeName: "cluster cluster-000 of account Search",
		ExpiresAt: &end, Reason: "on call\nthis week", CreatedAt: r.clock.now, GrantedBy: "Name of ada", MayEnd: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	again, err := r.svc.CreateGrant(t.Context(), admin, form)
	if err != nil || again.ID != got.ID || r.grantsStored(t) != 1 {
		t.Errorf("the form sent again: %v, %v, %d grants", again.ID, err, r.grantsStored(t))
	}
	if d, err := r.svc.Cluster(t.Context(), vera, ref); err != nil || d.Row.Name != "cluster-000" {
		t.Errorf("with the grant: %v", err)
	}
	if _, err := r.svc.Cluster(t.Context(), vera, ClusterRef{AccountID: account, ClusterID: at.clusters[1].ID}); !errors.Is(err, ErrNotFound) {
		t.Errorf("another cluster: %v", err)
	}

	events := r.events(t, ActGrantCreate.Name)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	wantEvent := audit.Event{
		Act: "grant.create", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: admin, Account: audit.Ref{ID: account.String(), Name: "Search"},
		Target: audit.Target{Kind: "grant", ID: got.ID.String(), Name: "viewer for Name of vera on cluster cluster-000 of account Search"},
		Change: audit.Change{
			"subject_kind": {nil, "member"}, "issuer": {nil, grantsIssuer}, "subject": {nil, "vera"}, "role": {nil, "viewer"}, "scope_kind": {nil, "cluster"},
			"scope": {nil, want.Scope}, "reason": {nil, `on call\u000athis week`}, "expires_at": {nil, "2026-11-30T23:59:59Z"},
		},
	}
	if diff := cmp.Diff(wantEvent, events[0], plainEvent()); diff != "" {
		t.Errorf("event (-want +got)\n%s", diff)
	}

	if err := r.svc.EndGrant(t.Context(), admin, got.ID, " done "); err != nil {
		t.Fatal(err)
	}
	if err := r.svc.EndGrant(t.Context(), admin, got.ID, "again"); err != nil {
		t.Fatal(err)
	}
	if err := r.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.Cluster(t.Context(), vera, ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("after it was taken back: %v", err)
	}
	events = r.events(t, ActGrantDelete.Name)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	wantEvent.Act = "grant.delete"
	for name, v := range wantEvent.Change {
		wantEvent.Change[name] = [2]any{v[1], nil}
	}
	wantEvent.Change["end_reason"] = [2]any{nil, "done"}
	if diff := cmp.Diff(wantEvent, events[0], plainEvent()); diff != "" {
		t.Errorf("event (-want +got)\n%s", diff)
	}
	ended, err := r.svc.Grant(t.Context(), admin, got.ID)
	if err != nil || ended.EndedAt == nil || ended.EndedBy != "Name of ada" || ended.EndReason != "done" || ended.MayEnd || ended.WhyNotEnd == "" {
		t.Errorf("as it ended: %+v, %v", ended, err)
	}
}
