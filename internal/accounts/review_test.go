package accounts

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// reviewField is two accounts that the log knows, and an admin. Its clock is about that of the database.
type reviewField struct {
	*rig
	t         *testing.T
	prod, dev uuid.UUID
	ada       audit.Actor
}

func newReviewField(t *testing.T) *reviewField {
	t.Helper()
	f := &reviewField{rig: newRig(t), t: t}
	f.clock.advance(time.Since(f.clock.now))
	f.prod, f.dev = f.known("Search", Production), f.known("Ads", Development)
	f.ada = f.grantee(t, "ada", "admins")
	return f
}

// grantee signs somebody in, at the identity provider just now.
func (f *reviewField) grantee(t testing.TB, subject string, groups ...string) audit.Actor {
	t.Helper()
	by := f.rig.grantee(t, subject, groups...)
	by.SignedInAt = f.clock.Now()
	return by
}

// known registers an account with the event of it.
func (f *reviewField) known(name string, environment Environment) uuid.UUID {
	f.t.Helper()
	id, _ := f.account(f.t, name, environment)
	on := accountTarget(accountRef{ID: id, Name: name})
	if err := f.svc.appendEvent(f.t.Context(), singleEvent(on, JobActor("test"), ActAccountCreate, audit.Change{"name": {nil, name}, "environment": {nil, string(environment)}})); err != nil {
		f.t.Fatal(err)
	}
	return id
}

// moment is now, as the log tells time.
func (f *reviewField) moment() time.Time {
	return value[time.Time](f.t, f.rig, `SELECT clock_timestamp()`)
}

func (f *reviewField) review(by audit.Actor, q ReviewQuery) AccessReview {
	f.t.Helper()
	got, err := f.svc.AccessReview(f.t.Context(), by, q)
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

// line finds a line by the grant's subject and role.
func (f *reviewField) line(by audit.Actor, subject, role string) ReviewLine {
	f.t.Helper()
	for _, l := range f.review(by, ReviewQuery{}).Lines {
		if l.Subject == subject && l.Role.ID == role {
			return l
		}
	}
	f.t.Fatalf("there is no line of %s as %s", subject, role)
	return ReviewLine{}
}

func (f *reviewField) begin(by audit.Actor) OpenReview {
	f.t.Helper()
	open, err := f.svc.StartReview(f.t.Context(), by)
	if err != nil {
		f.t.Fatal(err)
	}
	return open
}

func (f *reviewField) keep(by audit.Actor, lines ...ReviewLine) KeptLines {
	f.t.Helper()
	var tokens []string
	for _, l := range lines {
		tokens = append(tokens, l.Token)
	}
	did, err := f.svc.KeepLines(f.t.Context(), by, tokens, "")
	if err != nil {
		f.t.Fatal(err, fieldsOfInvalid(err))
	}
	return did
}

// notebook is what a person with a notebook would know.
type notebook struct {
	grants map[string]notedGrant
	roles  map[string][]string // permissions by id
	groups map[string][]string // of each member at their last sign-in
	names  map[uuid.UUID]string
}

type notedGrant struct {
	kind, subject, role string
	where               func(m notebook) string
	expires             *time.Time
}

// lines say who could do what at a time.
func (m notebook) lines(at time.Time) []string {
	var all []string
	for id, g := range m.grants {
		if g.expires != nil && !at.Before(*g.expires) {
			continue
		}
		var members []string
		for member, groups := range m.groups {
			if g.kind == SubjectMember && g.subject == member || g.kind == SubjectGroup && slices.Contains(groups, g.subject) {
				members = append(members, "Name of "+member)
			}
		}
		slices.Sort(members)
		all = append(all, fmt.Sprintf("%s: %s %s %v as %s %v on %s", id, g.kind, g.subject, members, g.role, m.roles[g.role], g.where(m)))
	}
	slices.Sort(all)
	return all
}

func (m notebook) copied() notebook {
	return notebook{grants: maps.Clone(m.grants), roles: maps.Clone(m.roles), groups: maps.Clone(m.groups), names: maps.Clone(m.names)}
}

// TestReviewAsOfARecordedHistory lets grants, roles, accounts and groups change, and asks at each moment again what was so then.
func TestReviewAsOfARecordedHistory(t *testing.T) {
	f := newReviewField(t)
	m := notebook{
		grants: map[string]notedGrant{}, roles: map[string][]string{"viewer": access.Viewer().Permissions}, groups: map[string][]string{"ada": {"admins"}},
		names: map[uuid.UUID]string{f.prod: "Search", f.dev: "Ads"},
	}
	type asked struct {
		what string
		at   time.Time
		want []string
	}
	var moments []asked
	note := func(what string) {
		at := f.moment()
		moments = append(moments, asked{what, at, m.copied().lines(at)})
	}
	give := func(kind, subject, role string, scopeKind access.ScopeKind, scope string, where func(notebook) string) Grant {
		g := f.give(t, f.ada, kind, subject, role, scopeKind, scope)
		m.grants[g.ID.String()] = notedGrant{kind: g.SubjectKind, subject: g.Subject, role: g.Role.ID, where: where}
		return g
	}
	on := func(id uuid.UUID) func(notebook) string {
		return func(m notebook) string { return "account " + m.names[id] }
	}
	fixed := func(words string) func(notebook) string { return func(notebook) string { return words } }
	signIn := func(who string, groups ...string) {
		f.grantee(t, who, groups...)
		m.groups[who] = groups
	}

	note("nothing given")
	signIn("vera", "ops", "everybody")
	give(SubjectMember, "vera@example.test", "viewer", access.ScopeAccount, f.prod.String(), on(f.prod))
	note("a grant to a member")
	role, err := f.svc.CreateRole(t.Context(), f.ada, NewRole{Name: "Restarters", Permissions: []string{access.WriteClusters}})
	if err != nil {
		t.Fatal(err)
	}
	m.roles[role.ID] = []string{access.WriteClusters}
	group := give(SubjectGroup, "ops", role.ID, access.ScopeEnvironment, "production", fixed("environment production"))
	note("a grant of an own role to a group")
	signIn("otto", "ops")
	note("somebody comes into the group")
	if err := f.svc.EditRole(t.Context(), f.ada, role.ID, RoleEdit{Version: 1, Name: "Restarters", Permissions: []string{access.WriteClusters, access.DeleteClusters}}); err != nil {
		t.Fatal(err)
	}
	m.roles[role.ID] = []string{access.DeleteClusters, access.WriteClusters}
	note("the role is edited")
	signIn("vera", "everybody")
	note("somebody leaves the group")
	give(SubjectMember, "later@example.test", "viewer", access.ScopeLabels, "team=search", fixed("clusters labelled team=search"))
	note("a grant waits for its member")
	account, err := accountByID(t.Context(), f.db.Pool, f.prod, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.svc.EditAccount(t.Context(), f.ada, f.prod, AccountEdit{Revision: account.Revision(), AccountDetails: AccountDetails{Name: "Searching", Environment: Staging}}); err != nil {
		t.Fatal(err, fieldsOfInvalid(err))
	}
	m.names[f.prod] = "Searching"
	note("an account is renamed and moved")
	soon := f.clock.now.Add(time.Hour).UTC().Truncate(time.Second)
	g, err := f.svc.CreateGrant(t.Context(), f.ada, NewGrant{
		SubjectKind: SubjectGroup, Subject: "everybody", Role: "viewer", ScopeKind: "account", Scope: f.dev.String(), ExpiresAt: soon.Format(time.RFC3339), Reason: "for an hour",
	})
	if err != nil {
		t.Fatal(err, fieldsOfInvalid(err))
	}
	m.grants[g.ID.String()] = notedGrant{kind: SubjectGroup, subject: "everybody", role: "viewer", where: on(f.dev), expires: &soon}
	note("a grant for an hour")
	moments = append(moments, asked{"an hour later", soon, m.copied().lines(soon)}, asked{"a moment before", soon.Add(-time.Microsecond), m.copied().lines(soon.Add(-time.Microsecond))})
	if err := f.svc.EndGrant(t.Context(), f.ada, group.ID, ""); err != nil {
		t.Fatal(err)
	}
	delete(m.grants, group.ID.String())
	note("a grant ends")
	later := f.grantee(t, "later")
	m.groups["later"] = nil
	for id, g := range m.grants {
		if g.kind == SubjectEmail {
			delete(m.grants, id)
			bound := value[string](t, f.rig, `SELECT id::text FROM grants WHERE bound_from = $1`, id)
			g.kind, g.subject = SubjectMember, later.Subject
			m.grants[bound] = g
		}
	}
	note("a grant is bound")
	moments = moments[:len(moments):len(moments)]
	for i, want := range moments {
		if want.what == "an hour later" || want.what == "a moment before" {
			// Asked of the log as it is now, in which more has happened than the notebook knew.
			want.want = m.copied().lines(want.at)
		}
		got := f.review(f.ada, ReviewQuery{At: want.at})
		var lines []string
		for _, l := range got.Lines {
			if l.Configured {
				continue
			}
			var members []string
			for _, who := range l.Members {
				members = append(members, who.Name)
			}
			slices.Sort(members)
			lines = append(lines, fmt.Sprintf("%s: %s %s %v as %s %v on %s", l.Key, l.SubjectKind, l.Subject, members, l.Role.ID, l.Role.Permissions, l.ScopeName))
		}
		slices.Sort(lines)
		if diff := cmp.Diff(want.want, lines); diff != "" {
			t.Errorf("%d, %s (-notebook +log)\n%s", i, want.what, diff)
		}
		if !got.Past || got.Open != nil || !got.At.Equal(want.at) {
			t.Errorf("%s: past %v, open %v, at %v", want.what, got.Past, got.Open, got.At)
		}
	}

	before := moments[3].at // vera and otto in the group, the account in production
	rights, err := f.svc.ReviewMemberRights(t.Context(), f.ada, before, f.svc.MemberID(grantsIssuer, "vera"))
	if err != nil {
		t.Fatal(err)
	}
	if got := placesOfTest(rights.Places); !slices.Contains(got, "Search: "+strings.Join(append(slices.Clone(access.Viewer().Permissions), access.WriteClusters), " ")) {
		t.Errorf("what vera could do then: %q", got)
	}
	if slices.Contains(rights.Who.Groups, "ops") != true {
		t.Errorf("groups then: %v", rights.Who.Groups)
	}
	rights, err = f.svc.ReviewMemberRights(t.Context(), f.ada, time.Time{}, f.svc.MemberID(grantsIssuer, "vera"))
	if err != nil {
		t.Fatal(err)
	}
	if got := placesOfTest(rights.Places); !slices.Contains(got, "Searching: "+strings.Join(access.Viewer().Permissions, " ")) {
		t.Errorf("what vera can do now: %q", got)
	}
	who, err := f.svc.ReviewAccountRights(t.Context(), f.ada, before, f.prod)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range who.Places {
		names = append(names, p.Member.Name)
	}
	if diff := cmp.Diff([]string{"Name of ada", "Name of otto", "Name of vera"}, names); diff != "" {
		t.Errorf("who could do something in the account (-want +got)\n%s", diff)
	}
	people, err := f.svc.ReviewMembers(t.Context(), f.ada, ReviewMembersQuery{At: moments[1].at})
	if err != nil || people.All != 2 || len(people.Members) != 2 || people.Members[1].Name != "Name of vera" || !slices.Equal(people.Members[1].Groups, []string{"everybody", "ops"}) {
		t.Errorf("members then: %+v, %v", people, err)
	}
	if _, err := f.svc.ReviewMemberRights(t.Context(), f.ada, moments[0].at, f.svc.MemberID(grantsIssuer, "vera")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a member who had not signed in: %v", err)
	}
}

func placesOfTest(places []ReviewPlace) []string {
	var all []string
	for _, p := range places {
		sorted := slices.Sorted(slices.Values(p.Permissions))
		all = append(all, p.Account.Name+p.Cluster+p.Labels+": "+strings.Join(sorted, " "))
	}
	return all
}

func TestReviewFromStartToSignOff(t *testing.T) {
	f := newReviewField(t)
	grace := f.grantee(t, "grace", "admins")
	vera := f.grantee(t, "vera")
	kept := f.give(t, f.ada, SubjectMember, "vera", "viewer", access.ScopeAccount, f.dev.String())
	gone := f.give(t, f.ada, SubjectMember, "vera", "operator", access.ScopeAccount, f.prod.String())
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	on := access.Target{AccountID: f.prod}
	if !f.svc.rights(vera).Allows(ActClusterUpdate.Needs, on) {
		t.Fatal("the grant does not count")
	}
	if _, err := f.svc.KeepLines(t.Context(), f.ada, []string{"x"}, ""); !errors.Is(err, errNoReview) {
		t.Errorf("deciding without a review: %v", err)
	}
	open := f.begin(f.ada)
	if again := f.begin(grace); again.ID != open.ID || len(f.events(t, ActReviewStart.Name)) != 1 {
		t.Errorf("a second reviewer begins another review: %v %v", again, open)
	}
	if _, err := f.svc.SignReview(t.Context(), f.ada, SignOff{}); !reviewConflict(err) || len(f.events(t, ActReviewSign.Name)) != 0 {
		t.Errorf("signed off with lines undecided: %v", err)
	}
	line := f.line(f.ada, "vera", "viewer")
	if did := f.keep(f.ada, line, line); did.Kept != 1 {
		t.Errorf("%+v", did)
	}
	if did := f.keep(grace, line); did.Kept != 1 || len(f.events(t, ActReviewDecide.Name)) != 1 {
		t.Errorf("keeping what is kept: %+v, %d events", did, len(f.events(t, ActReviewDecide.Name)))
	}
	name := "access review of " + open.StartedAt.Format(time.DateOnly)
	r := mustAsOf(t, f)
	i := slices.IndexFunc(r.lines, func(l *reviewLine) bool { return l.Key == kept.ID.String() })
	decided := f.events(t, ActReviewDecide.Name)
	plainNumbers(decided)
	want := audit.Event{
		Act: "review.decide", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: f.ada, Parent: open.ID, Target: audit.Target{Kind: "review", ID: open.ID.String(), Name: name},
		Change: audit.Change{
			"decision": {nil, "keep"}, "line": {nil, kept.ID.String()}, "gives": {nil, "viewer for Name of vera on account Ads"}, "digest": {nil, r.lines[i].digest},
			"members": {nil, []any{"vera"}}, "members_count": {nil, 1.0}, "members_digest": {nil, r.lines[i].knows()},
		},
	}
	if diff := cmp.Diff([]audit.Event{want}, decided, plainEvent()); diff != "" {
		t.Errorf("review.decide (-want +got)\n%s", diff)
	}

	if err := f.svc.RevokeLine(t.Context(), grace, gone.ID.String(), " moved on "); err != nil {
		t.Fatal(err)
	}
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.svc.rights(vera).Allows(ActClusterUpdate.Needs, on) {
		t.Error("the right is there at the next request")
	}
	ended := f.events(t, ActGrantDelete.Name)
	if len(ended) != 1 || ended[0].Parent != open.ID || ended[0].Change["end_reason"] != [2]any{nil, name + ": moved on"} || ended[0].Target.ID != gone.ID.String() {
		t.Fatalf("grant.delete: %+v", ended)
	}
	if err := f.svc.RevokeLine(t.Context(), grace, "configured-000000000000000000000000", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoking what is configured: %v", err)
	}

	var rest []ReviewLine
	for _, l := range f.review(f.ada, ReviewQuery{Undecided: true}).Lines {
		if !l.Configured {
			t.Errorf("undecided: %+v", l)
		}
		rest = append(rest, l)
	}
	// The lines of configuration concern both admins, so it takes a third.
	third := f.grantee(t, "third")
	f.give(t, f.ada, SubjectMember, "third", "platform-admin", access.ScopeEverything, "")
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if did := f.keep(third, rest...); did.Kept != len(rest) {
		t.Errorf("%+v of %d", did, len(rest))
	}
	if gone := f.review(f.ada, ReviewQuery{}).Gone; len(gone) != 1 || gone[0].Line.SubjectName != "Name of vera" || gone[0].Note != "moved on" || gone[0].By != "Name of grace" {
		t.Errorf("what was revoked is shown as %+v while the review is open", gone)
	}
	if did := f.keep(third, f.line(third, "third", "platform-admin")); did.Own != 1 || did.Kept != 0 {
		t.Errorf("keeping one's own: %+v", did)
	}
	f.keep(f.ada, f.line(f.ada, "third", "platform-admin"))
	if got := f.review(f.ada, ReviewQuery{}); got.Undecided != 0 || got.Kept != got.All || got.Revoked != 1 {
		t.Fatalf("%d undecided, %d kept of %d, %d revoked", got.Undecided, got.Kept, got.All, got.Revoked)
	}
	if _, err := f.svc.SignReview(t.Context(), f.ada, SignOff{DueOn: "2020-01-01"}); fieldsOfInvalid(err)["due_on"] == "" {
		t.Errorf("due in the past: %v", err)
	}
	signed, err := f.svc.SignReview(t.Context(), f.ada, SignOff{Note: "All well."})
	if err != nil {
		t.Fatal(err)
	}
	lines := f.review(f.ada, ReviewQuery{}).Lines
	var keys []string
	for _, l := range lines {
		keys = append(keys, l.Key)
	}
	slices.Sort(keys)
	list := make([]any, len(keys))
	for i, k := range keys {
		list[i] = k
	}
	events := f.events(t, ActReviewSign.Name)
	plainNumbers(events)
	due := f.clock.now.UTC().Add(90 * 24 * time.Hour).Format(time.DateOnly)
	want = audit.Event{
		Act: "review.sign", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: f.ada, Parent: open.ID, Target: audit.Target{Kind: "review", ID: open.ID.String(), Name: name},
		Change: audit.Change{
			"as_of": {nil, signed.AsOf.UTC().Format(time.RFC3339Nano)}, "lines": {nil, float64(len(keys))}, "kept": {nil, float64(len(keys))}, "revoked": {nil, 1.0}, "own": {nil, 0.0},
			"kept_lines": {nil, list}, "kept_digest": {nil, listDigest(keys)}, "revoked_lines": {nil, []any{gone.ID.String()}}, "revoked_digest": {nil, listDigest([]string{gone.ID.String()})},
			"due_on": {nil, due}, "note": {nil, "All well."},
		},
	}
	if diff := cmp.Diff([]audit.Event{want}, events, plainEvent()); diff != "" {
		t.Errorf("review.sign (-want +got)\n%s", diff)
	}
	past, err := f.svc.SignedReviews(t.Context(), f.ada)
	if err != nil || len(past) != 1 || past[0].SignedBy != "Name of ada" || past[0].Kept != len(keys) || past[0].Revoked != 1 || past[0].DueOn.Format(time.DateOnly) != due || past[0].Seq == 0 {
		t.Errorf("%+v, %v", past, err)
	}
	if _, err := f.svc.SignReview(t.Context(), f.ada, SignOff{}); !errors.Is(err, errNoReview) {
		t.Errorf("signed off twice: %v", err)
	}
	f.readsSigned(open.ID, keys, gone.ID.String())
	if overdue, err := f.svc.ReviewOverdue(t.Context()); overdue != nil || err != nil {
		t.Errorf("overdue at once: %v %v", overdue, err)
	}
	f.clock.advance(92 * 24 * time.Hour)
	if overdue, err := f.svc.ReviewOverdue(t.Context()); overdue == nil || err != nil {
		t.Errorf("not overdue after 92 days: %v %v", overdue, err)
	}
}

// readsSigned reads a review that was signed off: every line with who, role, where, what was decided, by whom and why.
func (f *reviewField) readsSigned(id uuid.UUID, kept []string, revoked string) {
	t := f.t
	t.Helper()
	signed, err := f.svc.SignedReviewNamed(t.Context(), f.ada, id)
	if err != nil || !signed.Whole || len(signed.Lines) != len(kept)+1 {
		t.Fatalf("%d lines, whole %v, %v", len(signed.Lines), signed.Whole, err)
	}
	var keys []string
	for _, l := range signed.Lines[:len(kept)] {
		if keys = append(keys, l.Line.Key); l.Revoked || l.By == "" || l.At.IsZero() || l.Line.SubjectName == "" || l.Line.Role.Name == "" || l.Line.ScopeName == "" {
			t.Errorf("kept: %+v", l)
		}
	}
	slices.Sort(keys)
	if !slices.Equal(keys, kept) {
		t.Errorf("kept %q, want %q", keys, kept)
	}
	last := signed.Lines[len(kept)]
	if l := last.Line; l.Key != revoked || !last.Revoked || last.By != "Name of grace" || last.Note != "moved on" || l.SubjectName != "Name of vera" || l.Role.Name != "operator" || l.ScopeName != "account Search" {
		t.Errorf("revoked: %+v", last)
	}
	if _, err := f.svc.SignedReviewNamed(t.Context(), f.ada, uuid.New()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a review that is none: %v", err)
	}
	var file bytes.Buffer
	if err := f.svc.ExportSignedReview(t.Context(), f.ada, id, &file); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&file).ReadAll()
	if err != nil || len(rows) != len(kept)+2 || !slices.Equal(rows[0], SignedReviewColumns()) || rows[len(rows)-1][9] != "revoked" || rows[len(rows)-1][12] != "moved on" {
		t.Errorf("the file: %q, %v", rows, err)
	}
	if _, err := f.svc.SignedReviewNamed(t.Context(), f.grantee(t, "outsider"), id); err == nil {
		t.Error("everybody reads it")
	}
}

func reviewConflict(err error) bool {
	_, ok := errors.AsType[*ConflictError](err)
	return ok
}

func mustAsOf(t *testing.T, f *reviewField) *reviewed {
	t.Helper()
	var r *reviewed
	err := pgx.BeginFunc(t.Context(), f.db.Pool, func(tx pgx.Tx) (err error) {
		r, err = f.svc.asOf(t.Context(), tx, time.Time{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReviewLinesThatChangedAreUndecidedAgain(t *testing.T) {
	f := newReviewField(t)
	f.grantee(t, "vera", "ops")
	f.grantee(t, "otto", "ops")
	role, err := f.svc.CreateRole(t.Context(), f.ada, NewRole{Name: "Restarters", Permissions: []string{access.WriteClusters}})
	if err != nil {
		t.Fatal(err)
	}
	f.give(t, f.ada, SubjectGroup, "ops", role.ID, access.ScopeAccount, f.prod.String())
	f.begin(f.ada)
	line := func() ReviewLine { return f.line(f.ada, "ops", role.ID) }
	shown := line()
	f.keep(f.ada, shown)
	if line().Decided == nil {
		t.Fatal("it is not kept")
	}
	f.grantee(t, "otto", "other")
	if l := line(); l.Decided == nil || l.MemberCount != 1 {
		t.Errorf("somebody left the group: %+v", l)
	}
	f.grantee(t, "nina", "ops")
	if l := line(); l.Decided != nil || l.Changed == "" {
		t.Errorf("somebody came into the group: %+v", l)
	}
	if did := f.keep(f.ada, shown); did.Changed != 1 || did.Kept != 0 {
		t.Errorf("keeping the line as it was shown before: %+v", did)
	}
	f.keep(f.ada, line())
	if err := f.svc.EditRole(t.Context(), f.ada, role.ID, RoleEdit{Version: 1, Name: "Restarters", Permissions: []string{access.WriteClusters, access.DeleteClusters}}); err != nil {
		t.Fatal(err)
	}
	if l := line(); l.Decided != nil || l.Changed == "" {
		t.Errorf("the role gives more: %+v", l)
	}
	f.keep(f.ada, line())
	f.clock.advance(91 * 24 * time.Hour)
	if l := line(); l.Decided != nil || l.Changed == "" {
		t.Errorf("kept too long ago: %+v", l)
	}
}

func TestReviewOnesOwnLine(t *testing.T) {
	f := newReviewField(t)
	f.begin(f.ada)
	own := f.line(f.ada, "admins", "platform-admin")
	if !own.Own || !own.Configured {
		t.Fatalf("%+v", own)
	}
	if did := f.keep(f.ada, own); did.Kept != 1 || did.Own != 0 {
		t.Fatalf("the only administrator cannot keep what is theirs: %+v", did)
	}
	if l := f.line(f.ada, "admins", "platform-admin"); l.Decided == nil || !l.Decided.Own {
		t.Errorf("it is not marked: %+v", l.Decided)
	}
	f.give(t, f.ada, SubjectMember, "vera@example.test", "platform-admin", access.ScopeEverything, "")
	vera := f.grantee(t, "vera")
	if did := f.keep(f.ada, f.line(f.ada, "admins", "platform-admin")); did.Own != 1 || !slices.Equal(did.Others, []string{"Name of vera"}) {
		t.Errorf("somebody else could decide: %+v", did)
	}
	if did := f.keep(vera, f.line(vera, "admins", "platform-admin")); did.Kept != 1 {
		t.Errorf("%+v", did)
	}
	if l := f.line(f.ada, "admins", "platform-admin"); l.Decided == nil || l.Decided.Own || l.Decided.By != "Name of vera" {
		t.Errorf("the other's decision does not count: %+v", l.Decided)
	}
}

func TestReviewIsForWhoMayReadIt(t *testing.T) {
	f := newReviewField(t)
	f.give(t, f.ada, SubjectGroup, "auditing", "auditor", access.ScopeEverything, "")
	f.give(t, f.ada, SubjectGroup, "local", "account-admin", access.ScopeAccount, f.prod.String())
	aud, local, stranger := f.grantee(t, "aud", "auditing"), f.grantee(t, "local", "local"), f.grantee(t, "stranger")
	f.begin(f.ada)
	line := f.line(f.ada, "auditing", "auditor")
	if got := f.review(aud, ReviewQuery{}); got.MayDecide || got.WhyNot == "" || !got.Export.Offered {
		t.Errorf("an auditor: %+v", got)
	}
	stale := f.ada
	stale.SignedInAt = f.clock.now.Add(-time.Hour)
	wants := func(what string, by audit.Actor, err error, act Act) {
		t.Helper()
		forbidden, ok := errors.AsType[*ForbiddenError](err)
		step, stepUp := errors.AsType[*StepUpError](err)
		if !(ok && forbidden.Act == act.Name && by.Subject != "ada") && !(stepUp && step.Act == act.Name && by.Subject == "ada") {
			t.Errorf("%s: %v", what, err)
		}
		f.svc.flushDenials(t.Context(), true)
		if !slices.ContainsFunc(f.events(t, act.Name), func(e audit.Event) bool { return e.Outcome == audit.Denied && e.Actor.Subject == by.Subject }) {
			t.Errorf("%s: the refusal is not on record", what)
		}
	}
	for _, by := range []audit.Actor{local, stranger} {
		_, err := f.svc.AccessReview(t.Context(), by, ReviewQuery{})
		wants("read", by, err, ActReviewRead)
		wants("export", by, f.svc.ExportReview(t.Context(), by, time.Time{}, ReviewCSV, &bytes.Buffer{}), ActReviewExport)
	}
	for _, by := range []audit.Actor{aud, local, stranger, stale} {
		_, err := f.svc.KeepLines(t.Context(), by, []string{line.Token}, "")
		wants("keep", by, err, ActReviewDecide)
		wants("revoke", by, f.svc.RevokeLine(t.Context(), by, line.Key, ""), ActReviewDecide)
		_, err = f.svc.SignReview(t.Context(), by, SignOff{})
		wants("sign", by, err, ActReviewSign)
	}
	wants("export", stale, f.svc.ExportReview(t.Context(), stale, time.Time{}, ReviewCSV, &bytes.Buffer{}), ActReviewExport)
	if f.line(f.ada, "auditing", "auditor").Decided != nil || len(f.events(t, ActGrantDelete.Name)) != 0 {
		t.Error("something was decided all the same")
	}
}

func TestReviewChangesNothingWithoutTheLog(t *testing.T) {
	f := newReviewField(t)
	g := f.give(t, f.ada, SubjectGroup, "ops", "viewer", access.ScopeEverything, "")
	begun := newReviewField(t)
	open := f.begin(f.ada)
	line := f.line(f.ada, "ops", "viewer")
	withoutLog := func(f *reviewField) { membersWithoutLog(t, f.rig) }
	withoutLog(f)
	withoutLog(begun)
	for what, err := range map[string]error{
		"start":  func() error { _, err := begun.svc.StartReview(t.Context(), begun.ada); return err }(),
		"keep":   func() error { _, err := f.svc.KeepLines(t.Context(), f.ada, []string{line.Token}, ""); return err }(),
		"revoke": f.svc.RevokeLine(t.Context(), f.ada, line.Key, ""),
	} {
		if !errors.Is(err, ErrAuditUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var out bytes.Buffer
	if err := f.svc.ExportReview(t.Context(), f.ada, time.Time{}, ReviewJSON, &out); !errors.Is(err, ErrAuditUnavailable) || out.Len() > 0 {
		t.Errorf("export: %v, %d bytes", err, out.Len())
	}
	if got := f.review(f.ada, ReviewQuery{}); got.Open == nil || got.Open.ID != open.ID || got.Kept != 0 {
		t.Errorf("%+v", got.Open)
	}
	if value[bool](t, f.rig, `SELECT ended_at IS NOT NULL FROM grants WHERE id = $1`, g.ID) {
		t.Error("the grant ended")
	}
	if got := begun.review(begun.ada, ReviewQuery{}); got.Open != nil {
		t.Error("a review was begun")
	}
}

// TestReviewGoesByTheLog puts rows into the tables beside the log.
func TestReviewGoesByTheLog(t *testing.T) {
	f := newReviewField(t)
	f.grantTo(t, "ada", "viewer", access.ScopeEverything, "", nil)
	f.exec(t, `INSERT INTO members (issuer, subject, name, email, email_verified, first_seen, last_seen) VALUES ($1, 'ghost', 'Ghost', '', false, now(), now())`, grantsIssuer)
	got := f.review(f.ada, ReviewQuery{})
	if got.Members != 1 || slices.ContainsFunc(got.Lines, func(l ReviewLine) bool { return !l.Configured }) {
		t.Errorf("what the log does not tell is in the review: %d members, %+v", got.Members, got.Lines)
	}
}

func TestReviewLastUse(t *testing.T) {
	f := newReviewField(t)
	vera := f.grantee(t, "vera", "ops")
	on := func(subject, role string, kind access.ScopeKind, scope string) Grant {
		return f.give(t, f.ada, SubjectMember, subject, role, kind, scope)
	}
	prod, dev := on("vera", "operator", access.ScopeAccount, f.prod.String()), on("vera", "operator", access.ScopeAccount, f.dev.String())
	env, reads := on("vera", "operator", access.ScopeEnvironment, "production"), on("vera", "viewer", access.ScopeAccount, f.dev.String())
	f.grantee(t, "vera", "ops")
	refused := singleEvent(target{Account: accountRef{ID: f.dev}, Kind: KindCluster, ID: "c2"}, vera, ActClusterRestart, nil)
	refused.Outcome = audit.Denied
	for _, e := range []audit.Event{
		singleEvent(target{Account: accountRef{ID: f.prod, Name: "Search"}, Kind: KindKey, ID: "k", Name: "key"}, vera, ActKeyDelete, audit.Change{"cluster_id": {"c1", nil}}), refused,
	} {
		if err := f.svc.appendEvent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	used := map[uuid.UUID]bool{}
	for _, l := range f.review(f.ada, ReviewQuery{Member: "vera"}).Lines {
		used[l.Grant] = l.LastUse != nil
	}
	if diff := cmp.Diff(map[uuid.UUID]bool{prod.ID: true, dev.ID: false, env.ID: true, reads.ID: true}, used); diff != "" {
		t.Errorf("used (-want +got)\n%s", diff)
	}
	unused := f.review(f.ada, ReviewQuery{Unused: true, Member: "vera"})
	if len(unused.Lines) != 1 || unused.Lines[0].Grant != dev.ID {
		t.Errorf("unused: %+v", unused.Lines)
	}
	if n := len(f.review(f.ada, ReviewQuery{Account: f.prod.String(), Role: "operator"}).Lines); n != 2 {
		t.Errorf("%d lines of operators that reach the account", n)
	}
	if n := len(f.review(f.ada, ReviewQuery{At: f.moment().Add(91 * 24 * time.Hour), Unused: true, Member: "vera"}).Lines); n != 4 {
		t.Errorf("%d lines are unused 91 days later", n)
	}
}

// TestReviewCountsUseOfTheGrantOnly: what somebody did before a grant was given is no use of it, and a role that reads and
// takes the log away is used by who signs in.
func TestReviewCountsUseOfTheGrantOnly(t *testing.T) {
	f := newReviewField(t)
	vera := f.grantee(t, "vera", "ops")
	restart := func() {
		t.Helper()
		on := target{Account: accountRef{ID: f.prod, Name: "Search"}, Kind: KindCluster, ID: "c1", Name: "c1"}
		if err := f.svc.appendEvent(t.Context(), singleEvent(on, vera, ActClusterRestart, nil)); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	for _, role := range []string{"operator", "auditor"} {
		f.give(t, f.ada, SubjectMember, "vera", role, access.ScopeAccount, f.prod.String())
	}
	for _, role := range []string{"operator", "auditor"} {
		if l := f.line(f.ada, "vera", role); l.LastUse != nil {
			t.Errorf("%s was used at %v, and given at %v", role, l.LastUse, l.Since)
		}
	}
	f.grantee(t, "vera", "ops")
	if f.line(f.ada, "vera", "operator").LastUse != nil {
		t.Error("signing in is a use of a role that changes things")
	}
	if l := f.line(f.ada, "vera", "auditor"); l.LastUse == nil || !l.ReadOnly {
		t.Errorf("an auditor who signs in does not use the role: %+v", l)
	}
	restart()
	if f.line(f.ada, "vera", "operator").LastUse == nil {
		t.Error("a restart after the grant is no use of it")
	}
}

func TestReviewTakesHostileTextAsText(t *testing.T) {
	f := newReviewField(t)
	hostile := []string{`'; DROP TABLE grants; --`, `<script>alert(1)</script>`, `=cmd|' /C calc'!A0`, `%_\`, "\x00", "ops\u202e", strings.Repeat("x", 5000)}
	f.grantee(t, "=vera", "=HYPERLINK(\"http://x\")")
	f.give(t, f.ada, SubjectGroup, `=HYPERLINK("http://x")`, "viewer", access.ScopeEverything, "")
	f.begin(f.ada)
	for _, text := range hostile {
		for _, q := range []ReviewQuery{{Member: text}, {Group: text}, {Account: text}, {Role: text}} {
			if _, err := f.svc.AccessReview(t.Context(), f.ada, q); err != nil {
				t.Errorf("%+v: %v", q, err)
			}
		}
		if _, err := f.svc.AccessReview(t.Context(), f.ada, ReviewQuery{After: text}); !errors.Is(err, ErrBadCursor) {
			t.Errorf("cursor %.20q: %v", text, err)
		}
		if did, err := f.svc.KeepLines(t.Context(), f.ada, []string{text}, ""); err != nil || did.Changed != 1 {
			t.Errorf("keeping %.20q: %+v, %v", text, did, err)
		}
		if err := f.svc.RevokeLine(t.Context(), f.ada, text, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("revoking %.20q: %v", text, err)
		}
	}
	var out bytes.Buffer
	if err := f.svc.ExportReview(t.Context(), f.ada, time.Time{}, ReviewCSV, &out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v\n%s", len(rows), err, out.String())
	}
	at := func(column string) int { return slices.Index(rows[0], column) }
	if got := rows[3]; got[at("subject")] != `'=HYPERLINK("http://x")` || !strings.HasPrefix(got[at("members")], "Name of =vera") || got[at("role")] != "viewer" || got[at("scope_name")] != "everything" {
		t.Errorf("%q", got)
	}
	if got := rows[1]; got[at("configured")] != "QM_ADMIN_GROUPS" || got[at("grant_id")] != "" {
		t.Errorf("%q", got)
	}
	out.Reset()
	if err := f.svc.ExportReview(t.Context(), f.ada, f.moment(), ReviewJSON, &out); err != nil {
		t.Fatal(err)
	}
	var doc reviewDocument
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || doc.Format != reviewFormat || len(doc.Lines) != 3 || len(doc.Members) != 2 {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if l := doc.Lines[2]; l.Subject != `=HYPERLINK("http://x")` || len(l.Members) != 1 || l.Members[0].Subject != "=vera" || len(l.Permissions) == 0 {
		t.Errorf("%+v", l)
	}
	if events := f.events(t, ActReviewExport.Name); len(events) != 2 || events[0].Change["format"] != [2]any{nil, "csv"} {
		t.Errorf("%+v", events)
	}
	if err := f.svc.ExportReview(t.Context(), f.ada, time.Time{}, "xml", &out); fieldsOfInvalid(err)["format"] == "" {
		t.Errorf("another format: %v", err)
	}
}

func TestReviewTellsWhatConfigurationChangedSince(t *testing.T) {
	f := newReviewField(t)
	for _, config := range []map[string]string{{"QM_ADMIN_GROUPS": "a"}, {"QM_ADMIN_GROUPS": "b"}} {
		if err := f.svc.RecordStart(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	after := f.moment()
	before := value[time.Time](t, f.rig, `SELECT recorded_at - interval '1 microsecond' FROM audit.events WHERE act = 'config.changed'`)
	if got := f.review(f.ada, ReviewQuery{At: before}).Config; len(got) != 1 || !slices.Equal(got[0].Names, []string{"QM_ADMIN_GROUPS"}) {
		t.Errorf("%+v", got)
	}
	if got := f.review(f.ada, ReviewQuery{At: after}).Config; len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestReviewAtScale has 1,000 members with several sign-ins each, and 5,000 grants.
func TestReviewAtScale(t *testing.T) {
	f := newReviewField(t)
	const members, grants = 1000, 5000
	var events []audit.Event
	as := func(i int) audit.Actor {
		return audit.Actor{Issuer: grantsIssuer, Subject: fmt.Sprintf("m%04d", i), Name: fmt.Sprintf("Member %04d", i), Email: fmt.Sprintf("m%04d@example.test", i), EmailVerified: true, Via: audit.ViaBrowser}
	}
	for range 5 {
		for i := range members {
			events = append(events, singleEvent(target{Kind: KindSession, ID: "s"}, as(i), ActSessionLogin, audit.Change{"groups": {nil, audit.Names{fmt.Sprintf("g%02d", i%50), "everybody"}}, "groups_count": {nil, 2}}))
		}
	}
	for i := range grants {
		row := grantRow{ID: uuid.Must(uuid.NewV7()), SubjectKind: SubjectMember, Issuer: grantsIssuer, Subject: as(i % members).Subject, Role: "operator", ScopeKind: "account", Scope: f.prod.String(), Reason: "r"}
		switch {
		case i%10 == 0:
			row.SubjectKind, row.Subject = SubjectGroup, fmt.Sprintf("g%02d", i%50)
		case i%25 == 1:
			row.ScopeKind, row.Scope = "labels", fmt.Sprintf("team=t%d", i)
		case i%7 == 0:
			row.ScopeKind, row.Scope = "cluster", fmt.Sprintf("%s/c%d", f.prod, i)
		}
		events = append(events, singleEvent(target{Kind: KindGrant, ID: row.ID.String()}, f.ada, ActGrantCreate, grantChange(row, false)))
	}
	for batch := range slices.Chunk(events, 500) {
		if err := pgx.BeginFunc(t.Context(), f.db.Pool, func(tx pgx.Tx) error { return f.log.Record(t.Context(), tx, batch...) }); err != nil {
			t.Fatal(err)
		}
	}
	f.exec(t, `ANALYZE audit.events`)
	f.begin(f.ada)
	timed := func(do func()) time.Duration {
		best := time.Hour
		for range 3 {
			begun := time.Now()
			do()
			best = min(best, time.Since(begun))
		}
		return best
	}
	// What it takes to read the same events and do nothing with them, for a machine that has other things to do.
	floor := timed(func() {
		if err := pgx.BeginFunc(t.Context(), f.db.Pool, func(tx pgx.Tx) error {
			return audit.Replay(t.Context(), tx, []string{ActGrantCreate.Name}, time.Time{}, func(audit.Stored) error { return nil })
		}); err != nil {
			t.Fatal(err)
		}
	})
	most := max(2*time.Second, 8*floor) * raceFactor
	t.Logf("reading the grants: %v", floor)
	fastest := func(what string, do func()) {
		t.Helper()
		took := timed(do)
		t.Logf("%s: %v", what, took)
		if took > most {
			t.Errorf("%s takes %v, more than %v", what, took, most)
		}
	}
	var got AccessReview
	fastest("the first page", func() { got = f.review(f.ada, ReviewQuery{}) })
	if got.All != grants+2 || len(got.Lines) != 100 || got.Next == "" || got.Members != members+1 {
		t.Fatalf("%d lines, %d on the page, %d members", got.All, len(got.Lines), got.Members)
	}
	seen := map[string]bool{}
	for q := (ReviewQuery{Group: "g0"}); ; {
		page := f.review(f.ada, q)
		for _, l := range page.Lines {
			if seen[l.Key] {
				t.Fatalf("%s is there twice", l.Key)
			}
			seen[l.Key] = true
		}
		if q.After = page.Next; q.After == "" {
			if len(seen) != page.Total {
				t.Errorf("%d lines on the pages, %d in all", len(seen), page.Total)
			}
			break
		}
	}
	fastest("unused, undecided", func() { f.review(f.ada, ReviewQuery{Unused: true, Undecided: true}) })
	fastest("one member", func() {
		if _, err := f.svc.ReviewMemberRights(context.Background(), f.ada, time.Time{}, f.svc.MemberID(grantsIssuer, "m0007")); err != nil {
			t.Fatal(err)
		}
	})
	fastest("one account", func() {
		if _, err := f.svc.ReviewAccountRights(context.Background(), f.ada, time.Time{}, f.prod); err != nil {
			t.Fatal(err)
		}
	})
	fastest("deciding on a page", func() { f.keep(f.ada, got.Lines[2:]...) })
	var out bytes.Buffer
	fastest("the export", func() {
		out.Reset()
		if err := f.svc.ExportReview(context.Background(), f.ada, time.Time{}, ReviewJSON, &out); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("export: %d bytes", out.Len())
}
