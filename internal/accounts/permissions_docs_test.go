package accounts

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/cloudapi"
)

// A small universe: one account of an environment, two of its clusters, and an account elsewhere.
var (
	hereAccount  = uuid.MustParse("0191d000-0000-7000-8000-0000000000aa")
	thereAccount = uuid.MustParse("0191d000-0000-7000-8000-0000000000bb")
	universe     = map[uuid.UUID]string{hereAccount: "production", thereAccount: "staging"}
)

const (
	inside  = "inside"  // the target lies in the scope
	partly  = "partly"  // the scope reaches into the target, or one of two clusters that a key opens
	outside = "outside" // the target does not touch the scope
)

// related are the things that an act on the kind is done to, in a relation to a scope of the kind: an act
// is allowed when it is on each. nil: there is no such relation.
func related(kind string, scope access.ScopeKind, relation string) []target {
	here := accountRef{ID: hereAccount, Environment: Production, Generation: cloudapi.Current}
	there := accountRef{ID: thereAccount, Environment: Staging, Generation: cloudapi.Current}
	search, ads := map[string]string{"team": "search", "tier": "gold"}, map[string]string{"team": "ads", "tier": "gold"}
	cluster := func(a accountRef, id string, labels map[string]string) target {
		return target{Account: a, Kind: KindCluster, ID: id, Labels: labels}
	}
	inScope := cluster(here, "c1", search) // the scopes below are made so that this is in every one of them
	switch kind {
	case KindCluster, KindAlert, KindBackup, KindKey, KindAdminKey:
		switch relation {
		case inside:
			return []target{inScope}
		case outside:
			if scope == access.ScopeEverything {
				return nil
			}
			elsewhere := there
			if scope == access.ScopeCluster || scope == access.ScopeLabels {
				elsewhere = here // the other cluster of the same account
			}
			return []target{cluster(elsewhere, "c2", ads)}
		case partly:
			if scope == access.ScopeEverything || kind != KindAdminKey {
				return nil
			}
			outsideToo := related(kind, scope, outside)
			return append([]target{inScope}, outsideToo...)
		}
	case KindAccount, KindManagementKey, KindPackage:
		narrow := scope == access.ScopeCluster || scope == access.ScopeLabels
		switch {
		case relation == inside && !narrow, relation == partly && narrow:
			return []target{accountTarget(here)}
		case relation == outside && scope != access.ScopeEverything:
			return []target{accountTarget(there)}
		}
	default: // the console as a whole: every scope but everything is only a part of it
		if relation == inside && scope == access.ScopeEverything || relation == partly && scope != access.ScopeEverything {
			return []target{installation(kind)}
		}
	}
	return nil
}

func scopeAround(t *testing.T, kind access.ScopeKind) access.Scope {
	t.Helper()
	text := map[access.ScopeKind]string{
		access.ScopeEverything: "", access.ScopeEnvironment: "production", access.ScopeAccount: hereAccount.String(),
		access.ScopeCluster: hereAccount.String() + "/c1", access.ScopeLabels: "team=search",
	}[kind]
	scope, _, err := access.ParseScope(kind, text)
	if err != nil {
		t.Fatal(err)
	}
	return scope
}

// TestThePermissionMatrix tries every act with every built-in role in every kind of scope, with a target
// inside, outside and partly in it, and compares with two rules that are written down here apart from
// the code: the role holds what the act needs, and the target is wholly inside.
func TestThePermissionMatrix(t *testing.T) {
	tried := 0
	for _, act := range Acts() {
		for _, role := range access.BuiltIn() {
			for _, kind := range access.ScopeKinds() {
				rights := access.NewRights(access.Grant{Role: role, Scope: scopeAround(t, kind)}).In(universe)
				for _, escapes := range []bool{act.Escapes, true} {
					effective := rights
					if escapes {
						effective = rights.Wide()
					}
					for _, relation := range []string{inside, partly, outside} {
						things := related(act.TargetKind, kind, relation)
						if len(things) == 0 {
							continue
						}
						tried++
						got := !slices.ContainsFunc(things, func(on target) bool { return !effective.Allows(act.Needs, on.access()) })
						want := !act.Self && roleMeets(role, act) && relation == inside && !(escapes && (kind == access.ScopeCluster || kind == access.ScopeLabels))
						if got != want {
							t.Errorf("%s as %s on %s, %s, escapes %v: allowed %v, want %v", act.Name, role.Name, kind, relation, escapes, got, want)
						}
					}
				}
			}
		}
	}
	if tried < 4000 {
		t.Errorf("only %d combinations were tried", tried)
	}
}

// roleMeets reads a requirement plainly.
func roleMeets(role access.Role, act Act) bool {
	has := func(p string) bool { return slices.Contains(role.Permissions, p) }
	for _, p := range act.Needs.All {
		if !has(p) {
			return false
		}
	}
	return (len(act.Needs.All) > 0 || len(act.Needs.Any) > 0) && (len(act.Needs.Any) == 0 || slices.ContainsFunc(act.Needs.Any, has))
}

// TestPermissionsDoc keeps docs/permissions.md what the act table and the roles say.
func TestPermissionsDoc(t *testing.T) {
	const path = "../../docs/permissions.md"
	doc := permissionsDoc(t)
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(path, []byte(doc), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
		return
	}
	stored, err := os.ReadFile(path)
	if err != nil || string(stored) != doc {
		t.Errorf("%s is not current: run make docs and commit the result (%v)", path, err)
	}
}

func permissionsDoc(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Who may do what

Made from the act table and the built-in roles by ` + "`make docs`" + `; a test compares. Every combination below is tried by
` + "`TestThePermissionMatrix`" + `.

A member may do an act when one of their grants has a role that holds what the act needs **and** a scope that the target
lies wholly in. Grants add up: for an act that needs two permissions each may come from another grant. Nothing else allows
anything.

## Acts and built-in roles

"On" is what the right must hold on: who holds it on less is refused, whatever the role. "Its part" is whatever the member's scopes cover.

| act | needs | on | `)
	roles := access.BuiltIn()
	for i, role := range roles {
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(role.Name)
	}
	b.WriteString(" |\n|---|---|---|" + strings.Repeat("---|", len(roles)) + "\n")
	for _, act := range Acts() {
		if act.Self {
			continue
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |", act.Name, act.Needs, heldOn(act))
		for _, role := range roles {
			mark := " "
			if roleMeets(role, act) {
				mark = "yes"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		b.WriteString("\n")
	}
	b.WriteString(`
Acts that ask for no right, because one does them to one's own session or the console does them by itself: `)
	var own []string
	for _, act := range Acts() {
		if act.Self {
			own = append(own, "`"+act.Name+"`")
		}
	}
	b.WriteString(strings.Join(own, ", ") + ".\n\n## Scopes and targets\n\nWhether a target lies in a scope:\n\n| target | scope |")
	relations := []string{inside, partly, outside}
	for _, r := range relations {
		b.WriteString(" " + r + " |")
	}
	b.WriteString("\n|---|---|---|---|---|\n")
	for _, kind := range []string{KindCluster, KindAdminKey, KindAccount, KindGrant} {
		words := map[string]string{
			KindCluster: "a cluster, and a key of it", KindAdminKey: "a key of two clusters", KindAccount: "an account, its management keys, its packages",
			KindGrant: "the console as a whole",
		}[kind]
		for _, scope := range access.ScopeKinds() {
			rights := access.NewRights(access.Grant{Role: access.PlatformAdmin(), Scope: scopeAround(t, scope)}).In(universe)
			fmt.Fprintf(&b, "| %s | %s |", words, scope)
			for _, relation := range relations {
				things := related(kind, scope, relation)
				allowed := "no"
				if len(things) == 0 {
					allowed = "–"
				} else if !slices.ContainsFunc(things, func(on target) bool { return !rights.Allows(access.Needs(access.ReadClusters), on.access()) }) {
					allowed = "yes"
				}
				fmt.Fprintf(&b, " %s |", allowed)
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(`
"Partly" is a scope that is narrower than the target (one cluster of the account, one account of the console), or a key of
several clusters of which one is outside. "–" does not occur.

Acts that hand out power past this console (marked ` + "`escapes`" + ` in the act table) are never allowed by a cluster or label scope.

## What the roles hold

`)
	for _, role := range roles {
		fmt.Fprintf(&b, "- **%s**: %s\n", role.Name, role.Description)
		fmt.Fprintf(&b, "  `%s`\n", strings.Join(role.Permissions, "`, `"))
	}
	return b.String()
}

// heldOn says in words what the right to do an act must be held on.
func heldOn(act Act) string {
	switch {
	case act.Name == ActAuditVerify.Name, act.Name == ActAccountCreate.Name:
		return "everything"
	case act.TargetKind == KindAudit, act.Name == ActRoleRead.Name:
		return "its part"
	case act.TargetKind == KindCluster, act.TargetKind == KindAlert, act.TargetKind == KindBackup, act.TargetKind == KindKey, act.TargetKind == KindAdminKey:
		return "the cluster"
	case act.TargetKind == KindAccount, act.TargetKind == KindManagementKey, act.TargetKind == KindPackage:
		return "the account"
	case act.TargetKind == KindGrant:
		return "the grant's scope"
	}
	return "everything"
}
