package access

import "slices"

// What an identity provider vouches for, and a grant may name.
const (
	ByGroup = "group"
	ByEmail = "email"
)

// Reasons why what a provider vouched for gives nothing.
const (
	NothingNamesIt = "No grant names it."
	NotVerified    = "The identity provider does not say that the address is verified, so it counts for nothing."
	OtherProvider  = "It is of another identity provider than the one whose groups and addresses count."
)

// Given is one grant, and where it comes from.
type Given struct {
	Role   string
	Scope  Scope
	Source string // names it for people: the variable of a grant from configuration
}

// Row is one value that a provider vouched for and what it gives: either Gives, or Why not.
type Row struct {
	By    string // ByGroup or ByEmail
	Value string
	Gives []Given
	Why   string // nothing is given because of this; empty when something is
}

// configuredGroups are the variables that give a role to groups, in the order of the README.
func (c Configured) configuredGroups() []configuredGroups {
	return []configuredGroups{
		{"QM_ADMIN_GROUPS", Admin, c.AdminGroups},
		{"QM_AUDITOR_GROUPS", Auditor, c.AuditorGroups},
		{"QM_OPERATOR_GROUPS", Operator, c.OperatorGroups},
		{"QM_VIEWER_GROUPS", Viewer, c.ViewerGroups},
	}
}

type configuredGroups struct {
	variable string
	role     func() Role
	groups   []string
}

// Explain tells of each group of the member, and of the address, what it gives and why. The roles
// in it are exactly those of For. Rows that give something come first, then those that do not, each in the order
// the provider told them, groups before the address.
func (c Configured) Explain(m Member) []Row {
	named := map[string][]Given{}
	if c.counts(m.Issuer) {
		for _, from := range c.configuredGroups() {
			for _, group := range from.groups {
				given := Given{Role: from.role().Name, Scope: Scope{Everything: true}, Source: from.variable}
				if group != "" && !slices.ContainsFunc(named[group], func(g Given) bool { return g.Source == given.Source }) {
					named[group] = append(named[group], given)
				}
			}
		}
	}
	var giving, rest []Row
	add := func(r Row) {
		if len(r.Gives) > 0 {
			giving = append(giving, r)
			return
		}
		rest = append(rest, r)
	}
	for _, group := range m.Groups {
		row := Row{By: ByGroup, Value: group, Gives: named[group]}
		if len(row.Gives) == 0 {
			row.Why = c.whyNot(m)
		}
		add(row)
	}
	if m.Email != "" {
		add(c.explainEmail(m))
	}
	return append(giving, rest...)
}

func (c Configured) explainEmail(m Member) Row {
	row := Row{By: ByEmail, Value: m.Email}
	switch {
	case !c.counts(m.Issuer):
		row.Why = OtherProvider
	case !m.EmailVerified:
		row.Why = NotVerified
	case slices.ContainsFunc(c.AdminEmails, func(e string) bool { return lowerASCII(e) == lowerASCII(m.Email) }):
		row.Gives = []Given{{Role: Admin().Name, Scope: Scope{Everything: true}, Source: "QM_ADMIN_EMAILS"}}
	default:
		row.Why = NothingNamesIt
	}
	return row
}

func (c Configured) whyNot(m Member) string {
	if !c.counts(m.Issuer) {
		return OtherProvider
	}
	return NothingNamesIt
}

// counts reports whether what the issuer vouches for decides anything.
func (c Configured) counts(issuer string) bool { return c.Issuer == "" || issuer == c.Issuer }

// GroupsNamed returns every group that configuration gives a role, sorted, each once.
func (c Configured) GroupsNamed() []string {
	var all []string
	for _, from := range c.configuredGroups() {
		all = append(all, from.groups...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(g string) bool { return g == "" })
}
