package access

// What an identity provider vouches for, and a grant may name.
const (
	ByGroup  = "group"
	ByEmail  = "email"
	ByMember = "member" // issuer and subject
)

// Reasons why what a provider vouched for gives nothing.
const (
	NothingNamesIt = "No grant names it."
	NotVerified    = "The identity provider does not say that the address is verified, so it counts for nothing."
	OtherProvider  = "It is of another identity provider than the one whose groups and addresses count."
)

// Row is one value that a provider vouched for and what it gives: either Gives, or Why not.
type Row struct {
	By    string // ByGroup, ByEmail or ByMember
	Value string // empty for the member
	Gives []Grant
	Why   string // nothing is given because of this; empty when something is
	// Bound is set where grants to an address became its member's own, which Why tells of.
	Bound bool
}

// Explain tells of each group of the member, and of the address, what it gives and why. granted are the
// grants the member holds besides those of configuration. Together the rows hold every
// grant of both, each once. Those that give something come first, then those that do not, each in
// the order the provider told them; the member's own grants, then groups, then the address.
func (c Configured) Explain(m Member, granted ...Grant) []Row {
	var own, address []Grant
	byGroup := map[string][]Grant{}
	for _, g := range append(c.Grants(m), granted...) {
		switch {
		case g.ByAddress:
			address = append(address, g)
		case g.Via != "":
			byGroup[g.Via] = append(byGroup[g.Via], g)
		default:
			own = append(own, g)
		}
	}
	var giving, rest []Row
	add := func(r Row) {
		if len(r.Gives) > 0 {
			r.Why = ""
			giving = append(giving, r)
			return
		}
		rest = append(rest, r)
	}
	if len(own) > 0 {
		add(Row{By: ByMember, Gives: own})
	}
	why := NothingNamesIt
	if c.Issuer != "" && m.Issuer != c.Issuer {
		why = OtherProvider
	}
	for _, group := range m.Groups {
		add(Row{By: ByGroup, Value: group, Gives: byGroup[group], Why: why})
		delete(byGroup, group) // a group that is told twice gives once
	}
	if m.Email != "" {
		if why == NothingNamesIt && !m.EmailVerified {
			why = NotVerified
		}
		add(Row{By: ByEmail, Value: m.Email, Gives: address, Why: why})
	}
	return append(giving, rest...)
}
