// Package access decides what a member may do. It is pure: rights in, an answer out, no clock, no
// database, no log.
//
// What is guaranteed: nothing is allowed that no grant allows. A requirement that names no
// permission allows nobody, a target outside every scope allows nobody, and a group or an address
// counts only when it is exactly the configured one.
package access

import (
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

// Target is what an act is done to. A field that does not apply is zero: an account has no
// ClusterID, and the installation itself has neither, so only scope Everything reaches it.
type Target struct {
	AccountID   uuid.UUID
	Environment string
	ClusterID   string
	Labels      map[string]string
}

// ClusterRef names a cluster in a scope.
type ClusterRef struct {
	AccountID uuid.UUID
	ClusterID string
}

// Scope is where a permission holds: everything, or the union of what is listed. The zero Scope
// is nowhere.
type Scope struct {
	Everything   bool
	Environments []string
	Accounts     []uuid.UUID
	Clusters     []ClusterRef
}

// None reports whether the scope is nowhere.
func (s Scope) None() bool {
	return !s.Everything && len(s.Environments) == 0 && len(s.Accounts) == 0 && len(s.Clusters) == 0
}

// Covers reports whether the target lies in the scope. An account is not covered by a scope that
// lists only clusters of it.
func (s Scope) Covers(t Target) bool {
	if s.Everything {
		return true
	}
	if t.AccountID == uuid.Nil {
		return false
	}
	if t.Environment != "" && slices.Contains(s.Environments, t.Environment) {
		return true
	}
	if slices.Contains(s.Accounts, t.AccountID) {
		return true
	}
	return t.ClusterID != "" && slices.Contains(s.Clusters, ClusterRef{t.AccountID, t.ClusterID})
}

// union returns where either scope is.
func (s Scope) union(o Scope) Scope {
	if s.Everything || o.Everything {
		return Scope{Everything: true}
	}
	return Scope{
		Environments: join(s.Environments, o.Environments),
		Accounts:     join(s.Accounts, o.Accounts),
		Clusters:     join(s.Clusters, o.Clusters),
	}
}

// intersect returns where both scopes certainly are. Whether an account is of an environment is
// not known here, so that combination is left out: the result may be too small, never too large.
func (s Scope) intersect(o Scope) Scope {
	if s.Everything {
		return o
	}
	if o.Everything {
		return s
	}
	both := Scope{
		Environments: common(s.Environments, o.Environments),
		Accounts:     common(s.Accounts, o.Accounts),
		Clusters:     common(s.Clusters, o.Clusters),
	}
	for _, pair := range [][2]Scope{{s, o}, {o, s}} {
		for _, c := range pair[0].Clusters {
			if slices.Contains(pair[1].Accounts, c.AccountID) {
				both.Clusters = join(both.Clusters, []ClusterRef{c})
			}
		}
	}
	return both
}

func join[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func common[T comparable](a, b []T) []T {
	var out []T
	for _, v := range a {
		if slices.Contains(b, v) && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// Grant gives the permissions of a role within a scope.
type Grant struct {
	Role  Role
	Scope Scope
}

// Rights are everything a member may do: the sum of grants. The zero Rights allow nothing.
type Rights struct{ grants []Grant }

// NewRights returns the rights that the grants add up to. A grant whose scope is nowhere gives
// nothing, not even the name of its role.
func NewRights(grants ...Grant) Rights {
	var r Rights
	for _, g := range grants {
		if !g.Scope.None() && len(g.Role.Permissions) > 0 {
			r.grants = append(r.grants, g)
		}
	}
	return r
}

// Allows reports whether the requirement is met on the target.
func (r Rights) Allows(need Requirement, on Target) bool {
	return r.met(need, func(permission string) bool { return r.scope(permission).Covers(on) })
}

// Missing names what is missing on the target, for people; empty when the requirement is met.
func (r Rights) Missing(need Requirement, on Target) string {
	if r.Allows(need, on) {
		return ""
	}
	var lacking Requirement
	for _, p := range need.All {
		if !r.scope(p).Covers(on) {
			lacking.All = append(lacking.All, p)
		}
	}
	if !slices.ContainsFunc(need.Any, func(p string) bool { return r.scope(p).Covers(on) }) {
		lacking.Any = need.Any
	}
	if words := lacking.String(); words != "" {
		return words
	}
	return "a right that nobody holds"
}

// Visible returns where the requirement is met, for lists. For a requirement of one permission it
// is exact; for several it may leave out what Allows would allow, and never the reverse.
func (r Rights) Visible(need Requirement) Scope {
	if len(need.All) == 0 && len(need.Any) == 0 {
		return Scope{}
	}
	where := Scope{Everything: true}
	for _, p := range need.All {
		where = where.intersect(r.scope(p))
	}
	if len(need.Any) > 0 {
		var anywhere Scope
		for _, p := range need.Any {
			anywhere = anywhere.union(r.scope(p))
		}
		where = where.intersect(anywhere)
	}
	return where
}

// Holds reports whether the permission is held anywhere at all.
func (r Rights) Holds(permission string) bool { return !r.scope(permission).None() }

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
	var all []string
	for _, g := range r.grants {
		all = append(all, g.Role.Permissions...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Empty reports whether nothing is allowed anywhere.
func (r Rights) Empty() bool { return len(r.grants) == 0 }

// scope is where one permission holds.
func (r Rights) scope(permission string) Scope {
	var where Scope
	for _, g := range r.grants {
		if slices.Contains(g.Role.Permissions, permission) {
			where = where.union(g.Scope)
		}
	}
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
