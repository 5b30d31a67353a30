// Package access decides what a member may do. It is pure: rights in, an answer out, no clock, no
// database, no log.
//
// What is guaranteed: nothing is allowed that no grant allows. A requirement that names no
// permission allows nobody, a target outside every scope allows nobody, and a group or an address
// counts only when it is exactly the one that configuration or a grant names.
package access

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Requirement is what an act asks for on its target: every permission of All, and at least one of
// Any when Any is not empty. The zero Requirement is never met.
type Requirement struct{ All, Any []string }

// Needs returns the requirement of all the given permissions.
func Needs(permissions ...string) Requirement { return Requirement{All: permissions} }

// String names the requirement for people: "read:clusters", "a and b", "a or b".
func (r Requirement) String() string {
	all, anyOf := strings.Join(r.All, " and "), strings.Join(r.Any, " or ")
	switch {
	case anyOf == "":
		return all
	case all == "":
		return anyOf
	default:
		return all + " and (" + anyOf + ")"
	}
}

// Grant gives the permissions of a role within a scope.
type Grant struct {
	Role  Role
	Scope Scope
	// ID names a stored grant; nil for one from configuration, which Source tells of.
	ID uuid.UUID
	// Source says for people where it comes from: "from configuration, QM_ADMIN_GROUPS".
	Source string
	// Via is how the member comes to it: the group or address it was given to; empty for the member.
	Via string
	// ByAddress is set when Via is an e-mail address and not a group.
	ByAddress bool
}

// Rights are everything a member may do: the sum of grants. The zero Rights allow nothing.
type Rights struct {
	grants []Grant
	// environments of the accounts, as far as they are certain. nil: what a target says of itself counts.
	environments map[uuid.UUID]string
}

// NewRights returns the rights that the grants add up to. A grant whose scope is nowhere gives
// nothing, not even the name of its role.
func NewRights(grants ...Grant) Rights {
	r := Rights{grants: make([]Grant, 0, len(grants))}
	for _, g := range grants {
		if !g.Scope.None() && len(g.Role.Permissions) > 0 {
			r.grants = append(r.grants, g)
		}
	}
	return r
}

// In returns the same rights where only these accounts are of an environment, whatever a target says
// of itself. The map is not copied and must not change.
func (r Rights) In(environments map[uuid.UUID]string) Rights {
	if environments == nil {
		environments = map[uuid.UUID]string{}
	}
	r.environments = environments
	return r
}

// Wide returns the rights without those on single clusters and by labels: what may hand out power
// past the console is never allowed by less than a whole account.
func (r Rights) Wide() Rights {
	wide := Rights{environments: r.environments}
	for _, g := range r.grants {
		if g.Scope = g.Scope.wide(); !g.Scope.None() {
			wide.grants = append(wide.grants, g)
		}
	}
	return wide
}

// Allows reports whether the requirement is met on the target.
func (r Rights) Allows(need Requirement, on Target) bool {
	on = r.placed(on)
	return r.met(need, func(permission string) bool { return r.holds(permission, on) })
}

// AllowsAsMoved is Allows for an account that is about to be of another environment than it is.
func (r Rights) AllowsAsMoved(need Requirement, on Target, environment string) bool {
	on.Environment = environment
	return r.met(need, func(permission string) bool { return r.holds(permission, on) })
}

// placed is the target in the environment that is certain.
func (r Rights) placed(on Target) Target {
	if r.environments != nil {
		on.Environment = r.environments[on.AccountID]
	}
	return on
}

// holds reports whether a grant gives the permission on the target.
func (r Rights) holds(permission string, on Target) bool {
	for i := range r.grants { // there may be hundreds, most of them elsewhere
		if g := &r.grants[i]; g.Scope.Covers(on) && slices.Contains(g.Role.Permissions, permission) {
			return true
		}
	}
	return false
}

// Missing names what is missing on the target, for people; empty when the requirement is met.
func (r Rights) Missing(need Requirement, on Target) string {
	if r.Allows(need, on) {
		return ""
	}
	on = r.placed(on)
	var lacking Requirement
	for _, p := range need.All {
		if !r.holds(p, on) {
			lacking.All = append(lacking.All, p)
		}
	}
	if !slices.ContainsFunc(need.Any, func(p string) bool { return r.holds(p, on) }) {
		lacking.Any = need.Any
	}
	if words := lacking.String(); words != "" {
		return words
	}
	return "a right that nobody holds"
}

// Why returns the grants that together meet the requirement on the target, and those that would do so
// as well; none when it is not met.
func (r Rights) Why(need Requirement, on Target) []Grant {
	if !r.Allows(need, on) {
		return nil
	}
	on = r.placed(on)
	asked := append(slices.Clone(need.All), need.Any...)
	var why []Grant
	for _, g := range r.grants {
		if g.Scope.Covers(on) && slices.ContainsFunc(asked, func(p string) bool { return slices.Contains(g.Role.Permissions, p) }) {
			why = append(why, g)
		}
	}
	return why
}

// Visible returns where the requirement is met, for lists. For a requirement of one permission it
// is exact; for several it may leave out what Allows would allow, and never the reverse. Where it is
// certain which accounts are of an environment, they are listed in its place.
func (r Rights) Visible(need Requirement) Scope {
	if len(need.All) == 0 && len(need.Any) == 0 {
		return Scope{}
	}
	where := Scope{Everything: true}
	for _, p := range need.All {
		where = where.intersect(r.scope(p))
	}
	if len(need.Any) > 0 {
		anywhere := make([]Scope, len(need.Any))
		for i, p := range need.Any {
			anywhere[i] = r.scope(p)
		}
		where = where.intersect(union(anywhere...))
	}
	return where
}

// Holds reports whether the permission is held anywhere at all.
func (r Rights) Holds(permission string) bool {
	return slices.ContainsFunc(r.grants, func(g Grant) bool { return slices.Contains(g.Role.Permissions, permission) })
}

// Somewhere reports whether what is asked for is held at all, each permission wherever it is.
func (r Rights) Somewhere(need Requirement) bool { return r.met(need, r.Holds) }

// Within reports whether the permission is held everywhere in the scope.
func (r Rights) Within(permission string, scope Scope) bool {
	return r.given(permission).Contains(scope, func(account uuid.UUID) string { return r.environments[account] })
}

// Grants returns the grants that the rights are the sum of.
func (r Rights) Grants() []Grant { return slices.Clone(r.grants) }

// Roles returns the names of the roles held, sorted, each once.
func (r Rights) Roles() []string {
	names := make([]string, 0, len(r.grants))
	for _, g := range r.grants {
		names = append(names, g.Role.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Permissions returns every permission held anywhere, sorted, each once.
func (r Rights) Permissions() []string {
	all := map[string]bool{}
	for _, g := range r.grants {
		for _, p := range g.Role.Permissions {
			all[p] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Empty reports whether nothing is allowed anywhere.
func (r Rights) Empty() bool { return len(r.grants) == 0 }

// given is where grants give the permission, as they say it.
func (r Rights) given(permission string) Scope {
	var scopes []Scope
	for i := range r.grants {
		if g := &r.grants[i]; slices.Contains(g.Role.Permissions, permission) {
			scopes = append(scopes, g.Scope)
		}
	}
	return union(scopes...)
}

// scope is where one permission holds.
func (r Rights) scope(permission string) Scope {
	where := r.given(permission)
	if r.environments == nil || where.Everything || len(where.Environments) == 0 {
		return where
	}
	var accounts []uuid.UUID
	for _, id := range slices.SortedFunc(maps.Keys(r.environments), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) {
		if e := r.environments[id]; e != "" && slices.Contains(where.Environments, e) {
			accounts = append(accounts, id)
		}
	}
	where.Environments, where.Accounts = nil, join(where.Accounts, accounts)
	return where
}

// met is the one place that reads a Requirement as allowed.
func (r Rights) met(need Requirement, holds func(permission string) bool) bool {
	if len(need.All) == 0 && len(need.Any) == 0 {
		return false
	}
	for _, p := range need.All {
		if !holds(p) {
			return false
		}
	}
	return len(need.Any) == 0 || slices.ContainsFunc(need.Any, holds)
}
