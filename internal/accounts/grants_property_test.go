package accounts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// grantsModel is what the console should hold, kept and read in the plainest way there is.
type grantsModel struct {
	roles  map[string][]string // permissions by id
	grants map[uuid.UUID]modelGrant
	places []access.Target
}

type modelGrant struct {
	who, role string // who: member or group
	kind      access.ScopeKind
	scope     string
	ends      time.Time // zero: never
}

// covers is the meaning of scopes, in the words of the documentation.
func (g modelGrant) covers(t access.Target) bool {
	switch g.kind {
	case access.ScopeEverything:
		return true
	case access.ScopeEnvironment:
		return t.AccountID != uuid.Nil && t.Environment == g.scope
	case access.ScopeAccount:
		return t.AccountID.String() == g.scope
	case access.ScopeCluster:
		return t.ClusterID != "" && t.AccountID.String()+"/"+t.ClusterID == g.scope
	}
	if t.AccountID == uuid.Nil {
		return false
	}
	for part := range strings.SplitSeq(g.scope, ",") { // the test writes no "in"
		key, value, _ := strings.Cut(part, "=")
		if t.Labels[key] != value {
			return false
		}
	}
	return true
}

// right is one permission on one place at one time.
type right struct {
	permission string
	place      int
	later      bool // past the end of every grant that has one
}

// reach is every right that a member has, alone and by groups.
func (m *grantsModel) reach(names ...string) map[right]bool {
	reach := map[right]bool{}
	for _, g := range m.grants {
		if !slices.Contains(names, g.who) {
			continue
		}
		for i, t := range m.places {
			if !g.covers(t) {
				continue
			}
			for _, p := range m.roles[g.role] {
				reach[right{p, i, false}] = true
				if g.ends.IsZero() {
					reach[right{p, i, true}] = true
				}
			}
		}
	}
	return reach
}

// TestNoSequenceOfGrantsYieldsARightThatNobodyWithItGave has people who are no platform admins give, take back
// and edit roles at random, and after each step compares what everybody may do, now and later, on what
// exists and on what may exist later, with what they could before: whatever somebody gained, who acted
// had, and managed grants there.
func TestNoSequenceOfGrantsYieldsARightThatNobodyWithItGave(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	steps, done, gained := 400, 0, 0
	if testing.Short() {
		steps = 200
	}
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's choices
	t.Logf("seed %d", seed)
	f := newGrantsField(t)
	m := &grantsModel{roles: map[string][]string{}, grants: map[uuid.UUID]modelGrant{}}
	for _, r := range access.BuiltIn() {
		m.roles[r.ID] = r.Permissions
	}
	roleNames := map[string]string{}
	newRole := func(name string, permissions ...string) string {
		id := f.role(name, permissions...)
		m.roles[id], roleNames[id] = permissions, name
		return id
	}
	ownRoles := []string{
		newRole("granter", access.GrantsManage, access.ReadClusters), newRole("writer", access.ReadClusters, access.WriteClusters),
		newRole("keys", access.ReadAPIKeys, access.WriteAPIKeys, access.GrantsManage), newRole("log", access.AuditRead),
	}
	for _, account := range []struct {
		id  uuid.UUID
		env string
		at  *scriptedAccount
	}{{f.prod, "production", f.prodAt}, {f.dev, "development", f.devAt}, {uuid.New(), "production", nil}, {uuid.New(), "staging", nil}} {
		on := access.Target{AccountID: account.id, Environment: account.env}
		m.places = append(m.places, on)
		clusters := []access.Target{{ClusterID: "to come"}, {ClusterID: "to come", Labels: map[string]string{"team": "search", "tier": "gold"}}, {ClusterID: "to come", Labels: map[string]string{"team": "ads"}}}
		if account.at != nil {
			for _, c := range account.at.clusters {
				clusters = append(clusters, access.Target{ClusterID: c.ID, Labels: c.Labels}, access.Target{ClusterID: c.ID, Labels: map[string]string{"tier": "gold"}})
			}
		}
		for _, c := range clusters {
			c.AccountID, c.Environment = on.AccountID, on.Environment
			m.places = append(m.places, c)
		}
	}
	m.places = append(m.places, access.Target{})

	people := []string{"otto", "bea", "cem", "dan", "eve", "fay"}
	groupOf := map[string]string{"otto": "ops", "bea": "g1", "cem": "g2", "dan": "g1", "eve": "g3", "fay": "g2"}
	actors := map[string]audit.Actor{"otto": f.accountAdm}
	for _, name := range people[1:] {
		actors[name] = f.grantee(t, name, groupOf[name])
	}
	keep := func(g Grant) {
		who := g.Subject
		if g.SubjectKind == SubjectGroup {
			who = "group " + g.Subject
		}
		kept := modelGrant{who: who, role: g.Role.ID, kind: g.ScopeKind, scope: g.Scope}
		if g.ExpiresAt != nil {
			kept.ends = *g.ExpiresAt
		}
		m.grants[g.ID] = kept
	}
	page, err := f.svc.Grants(t.Context(), f.admin, GrantQuery{Subject: "otto"})
	if err != nil {
		t.Fatal(err)
	}
	keep(page.Grants[0])
	cluster := f.prod.String() + "/" + f.prodAt.clusters[0].ID
	start := []NewGrant{
		{SubjectKind: SubjectMember, Subject: "otto", Role: "account-admin", ScopeKind: "account", Scope: f.prod.String()},
		{SubjectKind: SubjectMember, Subject: "bea", Role: ownRoles[0], ScopeKind: "everything"},
		{SubjectKind: SubjectMember, Subject: "bea", Role: "viewer", ScopeKind: "environment", Scope: "production"},
		{SubjectKind: SubjectMember, Subject: "cem", Role: "account-admin", ScopeKind: "environment", Scope: "development"},
		{SubjectKind: SubjectMember, Subject: "dan", Role: ownRoles[2], ScopeKind: "labels", Scope: "team=search"},
		{SubjectKind: SubjectMember, Subject: "eve", Role: ownRoles[2], ScopeKind: "cluster", Scope: cluster},
		{SubjectKind: SubjectGroup, Subject: "g2", Role: ownRoles[1], ScopeKind: "account", Scope: f.prod.String()},
		{SubjectKind: SubjectMember, Subject: "otto", Role: "operator", ScopeKind: "everything"},
		{SubjectKind: SubjectMember, Subject: "fay", Role: "account-admin", ScopeKind: "account", Scope: f.prod.String(), ExpiresAt: "2026-12-24"},
		{SubjectKind: SubjectMember, Subject: "bea", Role: "operator", ScopeKind: "everything", ExpiresAt: "2026-12-24"},
	}
	byAdmin := func(n NewGrant) {
		n.Reason = "r"
		g, err := f.svc.CreateGrant(t.Context(), f.admin, n)
		if err != nil {
			t.Fatal(err)
		}
		keep(g)
	}
	for _, n := range start {
		byAdmin(n)
	}

	reaches := func() map[string]map[right]bool {
		all := map[string]map[right]bool{}
		for _, name := range people {
			all[name] = m.reach(name, "group "+groupOf[name])
		}
		for _, group := range []string{"g1", "g2", "g3", "g4"} { // whoever joins them
			all["group "+group] = m.reach("group " + group)
		}
		return all
	}
	scopes := []struct {
		kind access.ScopeKind
		text string
	}{
		{access.ScopeEverything, ""}, {access.ScopeEnvironment, "production"}, {access.ScopeEnvironment, "development"}, {access.ScopeAccount, f.prod.String()},
		{access.ScopeAccount, f.dev.String()}, {access.ScopeCluster, cluster}, {access.ScopeCluster, f.dev.String() + "/" + f.devAt.clusters[1].ID},
		{access.ScopeLabels, "team=search"}, {access.ScopeLabels, "team=search,tier=gold"}, {access.ScopeLabels, "tier=gold"},
	}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	allRoles := append([]string{"viewer", "operator", "key-manager", "account-admin"}, ownRoles...)
	// act does something at random as somebody and brings the model up to date; what it is to what was done.
	act := func(name string) (what string, err error) {
		by := actors[name]
		switch random.IntN(20) {
		case 0:
			for id, g := range m.grants { // in random order
				what = fmt.Sprintf("%s ends %v", name, g)
				if err = f.svc.EndGrant(t.Context(), by, id, "r"); err == nil {
					delete(m.grants, id)
				}
				return what, err
			}
			return "nothing", nil
		case 1, 2, 3:
			id := pick(ownRoles)
			now, err := f.svc.Role(t.Context(), f.admin, id)
			if err != nil {
				t.Fatal(err)
			}
			permissions := slices.Clone(now.Permissions)
			if p := pick([]string{access.ReadClusters, access.WriteClusters, access.GrantsManage, access.ReadAPIKeys, access.KeysRotate, access.AuditRead}); slices.Contains(permissions, p) && len(permissions) > 1 {
				permissions = slices.DeleteFunc(permissions, func(q string) bool { return p == q })
			} else if !slices.Contains(permissions, p) {
				permissions = append(permissions, p)
			}
			what = fmt.Sprintf("%s makes %s %v", name, now.Name, permissions)
			if err = f.svc.EditRole(t.Context(), by, id, RoleEdit{Version: now.Version, Name: now.Name, Permissions: permissions}); err == nil {
				m.roles[id] = permissions
			}
			return what, err
		}
		scope := scopes[random.IntN(len(scopes))]
		n := NewGrant{SubjectKind: SubjectMember, Subject: pick(people), Role: pick(allRoles), ScopeKind: string(scope.kind), Scope: scope.text, Reason: "r"}
		if random.IntN(3) == 0 {
			n.SubjectKind, n.Subject = SubjectGroup, pick([]string{"g1", "g2", "g3", "g4"})
		}
		n.ExpiresAt = pick([]string{"", "", "2026-12-01", "2026-12-31"})
		g, err := f.svc.CreateGrant(t.Context(), by, n)
		if err == nil {
			keep(g)
		}
		return fmt.Sprintf("%s gives %s %s %s on %s %s until %q", name, n.Role, n.SubjectKind, n.Subject, n.ScopeKind, n.Scope, n.ExpiresAt), err
	}
	before := reaches()
	for step := range steps {
		if step%10 == 0 { // what was taken back is given anew, or there would soon be nothing to give
			byAdmin(start[random.IntN(len(start))])
			before = reaches()
		}
		name := pick(people)
		what, err := act(name)
		if err != nil {
			_, forbidden := errors.AsType[*ForbiddenError](err)
			_, invalid := errors.AsType[*InvalidError](err)
			_, conflict := errors.AsType[*ConflictError](err)
			if !forbidden && !invalid && !conflict && !errors.Is(err, ErrNotFound) {
				t.Fatalf("%s: %v", what, err)
			}
			continue
		}
		done++
		after := reaches()
		for who, reach := range after {
			for r := range reach {
				if before[who][r] {
					continue
				}
				gained++
				place := m.places[r.place]
				manages := right{access.GrantsManage, r.place, false}
				if !before[name][r] || !before[name][manages] {
					t.Fatalf("%s: %s gained %s on %+v (later %v), which %s had: %v, managing grants there: %v",
						what, who, r.permission, place, r.later, name, before[name][r], before[name][manages])
				}
				if who == name {
					t.Fatalf("%s: who acted gained %s on %+v", what, r.permission, place)
				}
			}
		}
		before = after
	}
	// The console and the model agree on what everybody may do.
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range people {
		for i, place := range m.places {
			if _, known := f.svc.keeper.book.Load().environments[place.AccountID]; !known && place.AccountID != uuid.Nil {
				continue // an account to come is of no environment yet
			}
			for _, p := range append(access.Own(), access.ReadClusters, access.WriteClusters, access.DeleteClusters, access.WriteAPIKeys) {
				if got := f.svc.rights(actors[name]).Allows(access.Needs(p), place); got != before[name][right{p, i, false}] {
					t.Errorf("%s: %s on %+v: %v", name, p, place, got)
				}
			}
		}
	}
	if done < steps/30 || gained < 50 {
		t.Errorf("of %d steps %d were done, and %d rights gained: too few to show anything", steps, done, gained)
	}
	t.Logf("%d of %d steps done, %d rights gained", done, steps, gained)
}
