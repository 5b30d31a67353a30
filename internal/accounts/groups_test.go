package accounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/accounts/access"
)

// manyGroups returns n groups of the length, the last of which is one that configuration names.
func manyGroups(n, length int) []string {
	groups := make([]string, n)
	for i := range groups {
		groups[i] = fmt.Sprintf("/engineering/%0*d", length-len("/engineering/"), i)
	}
	groups[n-1] = "viewers"
	return groups
}

// TestGroupsTenThousand: a member of 10,000 groups has the rights that any one of them gives, keeps
// each, and the log says how many there were.
func TestGroupsTenThousand(t *testing.T) {
	r := newRig(t)
	id := vera()
	id.Groups = manyGroups(10_000, 60)
	id.Reading = Reading{Claim: "groups", State: GroupsListed, Received: 10_000}
	token, by := signIn(t, r, id)
	session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(by.Groups, id.Groups) || session.Overage || len(session.Reading.Problems()) > 0 {
		t.Errorf("%d groups of 10,000, overage %v, %q", len(by.Groups), session.Overage, session.Reading.Problems())
	}
	if !slices.Equal(session.Roles, []string{"viewer"}) {
		t.Errorf("roles %v: the last group gives viewer", session.Roles)
	}
	event := r.events(t, "session.login")[0]
	names, _ := event.Change["groups"][1].([]any)
	if len(names) < 500 || len(names) > 1000 || names[0] != "viewers" || names[len(names)-1] != "…" {
		t.Errorf("the event names %d groups, first %v", len(names), names[0])
	}
	if got := fmt.Sprint(event.Change["groups_count"][1]); got != "10000" {
		t.Errorf("the event counts %s groups", got)
	}
	if n := value[int](t, r, `SELECT count(*) FROM group_values`); n != 10_000 {
		t.Errorf("%d values are kept", n)
	}
	rows := r.svc.Explain(by)
	if len(rows) != 10_001 || rows[0].Value != "viewers" || rows[0].Gives[0].Role.ID != "viewer" || rows[0].Gives[0].Source != "from configuration, QM_VIEWER_GROUPS" {
		t.Errorf("%d rows, first %+v", len(rows), rows[0])
	}
}

// TestGroupsPastTheBounds: what is not kept is counted, said and gives nothing; what is kept counts.
func TestGroupsPastTheBounds(t *testing.T) {
	for name, groups := range map[string][]string{
		"number": append(manyGroups(maxGroups, 20), "admins"),
		"bytes":  append(manyGroups(5000, 250), "admins"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			id := vera()
			id.Groups, id.Reading = groups, Reading{Claim: "groups", State: GroupsListed, Received: len(groups)}
			token, by := signIn(t, r, id)
			session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
			if err != nil {
				t.Fatal(err)
			}
			lost := len(groups) - len(by.Groups)
			if lost == 0 || session.Reading.LeftOut != lost || !session.Overage {
				t.Errorf("%d lost, reading %+v, overage %v, roles %v", lost, session.Reading, session.Overage, session.Roles)
			}
			for _, role := range []string{"admin", "viewer"} { // each group that is kept counts, and no other
				if slices.ContainsFunc(session.Roles, func(r string) bool { return strings.HasSuffix(r, role) }) != slices.Contains(by.Groups, role+"s") {
					t.Errorf("roles %v of %d groups", session.Roles, len(by.Groups))
				}
			}
			if said := strings.Join(session.Reading.Problems(), " "); !strings.Contains(said, fmt.Sprintf("%d of %d in groups", lost, len(groups))) && !strings.Contains(said, fmt.Sprintf("%s of %d", countValues(lost), len(groups))) {
				t.Errorf("said: %s", said)
			}
			if got := fmt.Sprint(r.events(t, "session.login")[0].Change["groups_not_kept"][1]); got != fmt.Sprint(lost) {
				t.Errorf("the event tells of %s, want %d", got, lost)
			}
			if logged := r.logged.String(); !strings.Contains(logged, `"cause":"too many groups"`) || strings.Contains(logged, "/engineering/") {
				t.Errorf("logged: %s", logged)
			}
		})
	}
}

func TestGroupsThatCannotBeKeptAreCounted(t *testing.T) {
	r := newRig(t)
	id := vera()
	id.Groups = []string{"viewers", "viewers", "", "a\x00b", strings.Repeat("g", 257), "b\xff", strings.Repeat("g", 256)}
	id.Reading = Reading{Claim: "groups", State: GroupsListed, Received: 9, NotText: 2}
	token, _ := signIn(t, r, id)
	session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	want := Reading{Claim: "groups", State: GroupsListed, Received: 9, NotText: 2, Repeated: 1, Unusable: 4}
	if fmt.Sprint(session.Reading) != fmt.Sprint(want) || len(session.Groups) != 2 {
		t.Errorf("reading %+v, groups %q", session.Reading, session.Groups)
	}
	if got := len(session.Reading.Problems()); got != 2 {
		t.Errorf("%d problems told: %q", got, session.Reading.Problems())
	}
}

// TestGroupsOverageGivesNothing: an overage is logged, is in the event and on the session, and gives no right.
func TestGroupsOverageGivesNothing(t *testing.T) {
	r := newRig(t)
	id := vera()
	id.Groups, id.Email, id.Reading = nil, "", Reading{Claim: "groups", State: GroupsMissing, Overage: "_claim_names"}
	token, by := signIn(t, r, id)
	session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil || !session.Overage || len(session.Permissions) != 0 || len(by.Roles) != 0 {
		t.Errorf("%v: overage %v, permissions %v", err, session.Overage, session.Permissions)
	}
	if got := r.events(t, "session.login")[0].Change["groups_overage"][1]; got != "_claim_names" {
		t.Errorf("the event says %v", got)
	}
	if !strings.Contains(r.logged.String(), `"cause":"groups left out by the provider"`) {
		t.Errorf("logged: %s", r.logged)
	}
}

func TestGroupsSeen(t *testing.T) {
	r := newRig(t)
	for i, groups := range [][]string{{"viewers", "staff"}, {"staff", "sales"}, {"staff"}} {
		id := vera()
		id.Subject, id.Groups = fmt.Sprint("subject-", i), groups
		signIn(t, r, id)
	}
	again := vera()
	again.Subject, again.Groups = "subject-2", []string{"sales"}
	r.clock.advance(2 * time.Hour)
	signIn(t, r, again)
	admin := vera()
	admin.Subject, admin.Groups = "admin", []string{"admins"}
	_, by := signIn(t, r, admin)
	page, err := r.svc.Groups(t.Context(), by, GroupsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range page.Rows {
		role := ""
		if len(row.Gives) > 0 {
			role = row.Gives[0].Role.ID + " " + row.Gives[0].Source
		}
		got = append(got, fmt.Sprintf("%s %d %s %s", row.Value, row.Members, row.LastSeen.Sub(row.FirstSeen), role))
	}
	want := []string{"admins 1 0s platform-admin from configuration, QM_ADMIN_GROUPS", "sales 2 2h0m0s ", "staff 2 0s ", "viewers 1 0s viewer from configuration, QM_VIEWER_GROUPS"}
	if !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
	if page.Total != 4 || page.All != 4 || page.Full || len(page.NeverSeen) != 0 {
		t.Errorf("page %+v", page)
	}
	page, err = r.svc.Groups(t.Context(), by, GroupsQuery{Text: "STA", Limit: 1})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].Value != "staff" || page.Total != 1 || page.Next != [2]string{} {
		t.Errorf("search: %+v, %v", page, err)
	}
	var all []string
	q := GroupsQuery{Limit: 3}
	for {
		page, err := r.svc.Groups(t.Context(), by, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			all = append(all, row.Value)
		}
		if q.After = page.Next; q.After == [2]string{} {
			break
		}
	}
	if !slices.Equal(all, []string{"admins", "sales", "staff", "viewers"}) {
		t.Errorf("page by page: %q", all)
	}

	r.clock.advance(370 * 24 * time.Hour)
	if err := r.svc.cleanSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM group_values`); n != 0 {
		t.Errorf("%d values are kept for more than a year", n)
	}
}

func TestGroupsClaimsThatWereOffAreCounted(t *testing.T) {
	r := newRig(t)
	for i, reading := range []Reading{
		{Claim: "groups", State: GroupsMissing, Overage: "hasgroups"}, {Claim: "groups", State: GroupsMissing}, {Claim: "groups", State: GroupsMissing},
		{Claim: "groups", State: GroupsWrongType, Got: "an object"}, {Claim: "groups", State: GroupsListed, Received: 3, NotText: 1},
	} {
		id := vera()
		id.Subject, id.Groups, id.Reading = fmt.Sprint("subject-", i), nil, reading
		signIn(t, r, id)
	}
	admin := vera()
	admin.Groups, admin.Reading = []string{"admins"}, Reading{Claim: "groups", State: GroupsWrongType, Got: "a number"}
	signIn(t, r, admin)
	admin.Reading = Reading{Claim: "groups", State: GroupsListed, Received: 1}
	r.clock.advance(time.Second)
	_, by := signIn(t, r, admin)
	page, err := r.svc.Groups(t.Context(), by, GroupsQuery{})
	if want := (ClaimsSeen{Members: 6, Overage: 1, Missing: 2, WrongType: 1, NotGroups: 1}); err != nil || page.Claims != want {
		t.Errorf("%+v, %v; want %+v", page.Claims, err, want)
	}
	if !strings.Contains(r.logged.String(), `"cause":"groups claim is an object"`) {
		t.Errorf("logged: %s", r.logged)
	}
}

func TestGroupsNobodySawAreTold(t *testing.T) {
	r := newRig(t)
	admin := vera()
	admin.Groups = []string{"admins"}
	_, by := signIn(t, r, admin)
	page, err := r.svc.Groups(t.Context(), by, GroupsQuery{})
	if err != nil || len(page.NeverSeen) != 1 || page.NeverSeen[0].Value != "viewers" || page.NeverSeen[0].Gives[0].Role.ID != "viewer" {
		t.Errorf("never seen: %+v, %v", page.NeverSeen, err)
	}
}

// TestGroupsSeenAreBounded: past the bound the values of a sign-in are not kept, and the sign-in counts all the same.
func TestGroupsSeenAreBounded(t *testing.T) {
	r := newRig(t)
	if _, err := r.db.Pool.Exec(t.Context(), `INSERT INTO group_values SELECT $1, 'x' || n, $2, $2 FROM generate_series(1, $3) n`, vera().Issuer, r.clock.Now(), maxGroupValues-1); err != nil {
		t.Fatal(err)
	}
	id := vera()
	id.Groups = []string{"admins", "b", "c"}
	_, by := signIn(t, r, id)
	page, err := r.svc.Groups(t.Context(), by, GroupsQuery{})
	if err != nil || page.All != maxGroupValues || !page.Full {
		t.Errorf("%d kept, full %v, %v", page.All, page.Full, err)
	}
}

func TestGroupsAreForThoseWhoGrant(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	_, err := r.svc.Groups(t.Context(), by, GroupsQuery{})
	if _, ok := errors.AsType[*ForbiddenError](err); !ok {
		t.Errorf("listing: %v", err)
	}
	_, err = r.svc.TryClaims(t.Context(), by, vera())
	if _, ok := errors.AsType[*ForbiddenError](err); !ok {
		t.Errorf("trying: %v", err)
	}
	if n := len(r.events(t, "group.read")); n != 1 {
		t.Errorf("%d refusals are recorded, want one that stands for both", n)
	}
}

// TestGroupsTrialChangesNothing: a dry run tells what a sign-in would give, and neither stores nor logs anything.
func TestGroupsTrialChangesNothing(t *testing.T) {
	r := newRig(t)
	admin := vera()
	admin.Groups = []string{"admins"}
	_, by := signIn(t, r, admin)
	tables := []string{"members", "sessions", "group_values", "audit.events"}
	count := func() (all []int) {
		for _, table := range tables {
			all = append(all, value[int](t, r, `SELECT count(*) FROM `+table))
		}
		return all
	}
	before := count()
	canary := Identity{
		Issuer: vera().Issuer, Subject: "canary-subject", Name: "Canary", Email: "canary@example.test", EmailVerified: true,
		Groups: []string{"canary-group", "viewers", ""}, Reading: Reading{Claim: "groups", State: GroupsListed, Received: 3}, Claims: map[string]string{"secret": "canary-claim"},
	}
	trial, err := r.svc.TryClaims(t.Context(), by, canary)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(trial.Roles, []string{"viewer"}) || trial.Rows[0].Value != "viewers" || len(trial.Rows) != 3 || trial.Identity.Reading.Unusable != 1 {
		t.Errorf("trial %+v", trial)
	}
	if got := count(); !slices.Equal(got, before) {
		t.Errorf("rows of %v: %v, before %v", tables, got, before)
	}
	if strings.Contains(r.logged.String(), "canary") || strings.Contains(r.logged.String(), "Canary") {
		t.Errorf("logged: %s", r.logged)
	}
}

// TestGroupsOfASessionBeforeThisRelease: the previous program writes no reading, and its sessions go on.
func TestGroupsOfASessionBeforeThisRelease(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	r.execAsOwner(t, `UPDATE sessions SET reading = DEFAULT`)
	session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil || session.Reading.State != GroupsNotTold || len(session.Reading.Problems()) != 0 {
		t.Errorf("%v: %+v", err, session.Reading)
	}
}

// BenchmarkAuthenticate tells what the number of groups costs at each request.
func BenchmarkAuthenticate(b *testing.B) {
	for _, n := range []int{10, 200, 1000, 10_000} {
		b.Run(fmt.Sprint(n, "-groups"), func(b *testing.B) {
			r := newRig(b)
			id := vera()
			id.Groups = manyGroups(n, 40)
			token, err := r.svc.SignIn(b.Context(), browser(), id)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, _, err := r.svc.Authenticate(b.Context(), browser(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestGroupsReadingSurvivesJSON(t *testing.T) {
	want := Reading{Claim: "a.b", Path: []string{"a", "b"}, State: GroupsListed, Overage: "hasgroups", Received: 9, NotText: 1, Repeated: 2, Unusable: 3, LeftOut: 4, Joined: true, ClaimsLeftOut: 5, Got: "x"}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Reading
	if err := json.Unmarshal(text, &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestGroupsExplainStoredGrants: what was granted to a group or a member is explained beside what
// configuration gives, in the dry run and in the list, and a grant to a group that nobody saw is told.
func TestGroupsExplainStoredGrants(t *testing.T) {
	s := newStage(t)
	who := outsider("team-search", "staff")
	s.put(s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeEnvironment, "staging"))
	s.put(s.signedGrant(SubjectMember, who.Subject, "operator", access.ScopeEnvironment, "staging"))
	s.put(s.signedGrant(SubjectGroup, "team-unheard-of", "viewer", access.ScopeEnvironment, "staging"))
	unsigned := s.signedGrant(SubjectGroup, "staff", "platform-admin", access.ScopeEnvironment, "staging")
	unsigned.MAC[0] ^= 1
	s.put(unsigned)
	s.rightsNow(who)
	trial, err := s.svc.TryClaims(t.Context(), JobActor("test"), Identity{Issuer: who.Issuer, Subject: who.Subject, Groups: who.Groups})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range trial.Rows {
		line := row.By + " " + row.Value + ":"
		for _, g := range row.Gives {
			line += fmt.Sprintf(" %s %s %v", g.Role.ID, g.Source, g.Scope.Environments)
		}
		got = append(got, line+row.Why)
	}
	want := []string{"member : operator granted by Test [staging]", "group team-search: viewer granted by Test [staging]", "group staff:No grant names it."}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	if !slices.Equal(trial.Roles, []string{"operator", "viewer"}) {
		t.Errorf("roles %v", trial.Roles)
	}
	page, err := s.svc.Groups(t.Context(), JobActor("test"), GroupsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(page.NeverSeen, func(g GroupRow) bool { return g.Value == "team-unheard-of" && len(g.Gives) == 1 }) {
		t.Errorf("never seen: %+v", page.NeverSeen)
	}
}
