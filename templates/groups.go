package templates

import (
	"slices"
	"strings"
	"time"
)

// MappingRow is one thing that the identity provider vouches for, and what it gives.
type MappingRow struct {
	What  string // group, e-mail address
	Value string
	Gives []Giving
	Why   string // nothing is given because of this
	Bound bool   // Why says what became of it
}

// Giving is a role, where it holds and where it comes from.
type Giving struct {
	Role, Where, Source string
	Href                string     // of the place; empty where it has no page or its name is not told
	Until               *time.Time // nil: no end
	Why                 string     // of a grant, as it was given; empty for configuration
}

// everywhere is where a grant without bounds holds.
const everywhere = "everything"

// mostPlaces is how many places of one role are named beside it; past it they are counted.
const mostPlaces = 3

// places are where each role holds, in the order of the table. A role that holds everywhere holds nowhere else besides.
func (m Mapping) places() map[string][]string {
	all := map[string][]string{}
	for _, row := range m.Giving {
		for _, g := range row.Gives {
			// "1 cluster" stands for one that is not named here: the next such may be another.
			counted := g.Where != "" && g.Where[0] >= '0' && g.Where[0] <= '9'
			if counted || !slices.Contains(all[g.Role], g.Where) {
				all[g.Role] = append(all[g.Role], g.Where)
			}
		}
	}
	for role, places := range all {
		if slices.Contains(places, everywhere) {
			all[role] = []string{"everywhere"}
		}
	}
	return all
}

// withPlaces are the roles, each with where it holds: "viewer · staging, cluster orders".
func (m Mapping) withPlaces(roles []string) []string {
	at := m.places()
	out := make([]string, 0, len(roles))
	for _, role := range roles {
		places := at[role]
		switch {
		case len(places) == 0:
			out = append(out, role)
		case len(places) > mostPlaces:
			out = append(out, role+" · "+Count(len(places), "place"))
		default:
			out = append(out, role+" · "+strings.Join(places, ", "))
		}
	}
	return out
}

// fewNamed reports whether a role holds in more places than are named beside it.
func (m Mapping) fewNamed() bool {
	for _, places := range m.places() {
		if len(places) > mostPlaces {
			return true
		}
	}
	return false
}

// Mapping is how what a provider vouches for becomes rights.
type Mapping struct {
	Giving  []MappingRow
	Nothing []MappingRow // as many as are shown
	More    int          // that give nothing either and are not shown
	Terms   bool         // Until and Why of what is given are known
	Now     time.Time    // with Terms
}

// gives counts the grants.
func (m Mapping) gives() int {
	n := 0
	for _, r := range m.Giving {
		n += len(r.Gives)
	}
	return n
}

// groups are those that give nothing.
func (m Mapping) groups() []string {
	var all []string
	for _, r := range m.Nothing {
		if r.What == "group" {
			all = append(all, r.Value)
		}
	}
	return all
}

// others are those that give nothing for a reason of their own.
func (m Mapping) others() []MappingRow {
	var all []MappingRow
	for _, r := range m.Nothing {
		if r.What != "group" {
			all = append(all, r)
		}
	}
	return all
}

// GroupsView is the list of values that sign-ins named in the groups claim.
type GroupsView struct {
	Page          Page
	Text          string
	Rows          []SeenGroup
	Providers     bool // there are several, so each row says whose it is
	Total         int
	All           int
	Full          bool
	First         string
	Next          string
	NeverSeen     []SeenGroup
	MoreNeverSeen int
	Troubles      []string // with the groups claim of recent sign-ins
	Claim         string
	Form          ClaimsForm
}

// SeenGroup is one value of the groups claim.
type SeenGroup struct {
	Issuer    string
	Value     string
	Href      string // its page
	Gives     []Giving
	GiveHref  string // gives it a right; empty: the reader may not
	Members   int
	OfHref    string // lists them; empty: the reader may not see members
	FirstSeen time.Time
	LastSeen  time.Time
}

// GroupView is what one group gives, and who was seen with it.
type GroupView struct {
	Page        Page
	Crumbs      []Link
	Group       string
	Issuer      string // of a group that is not of the console's own provider
	FirstSeen   time.Time
	LastSeen    time.Time // zero: no sign-in named it
	Partial     bool      // the reader may not see all of it
	Reach       []ReachView
	Grants      []GrantRow
	GiveHref    string
	SeesMembers bool
	Members     []MemberRow // the first of them
	MemberCount int
	AllMembers  string // the list of them
}

// ClaimsForm takes pasted claims.
type ClaimsForm struct {
	Pasted string
	Error  string
}

// ClaimsTryView is what somebody with the pasted claims would get.
type ClaimsTryView struct {
	Page     Page
	Crumbs   []Link
	Form     ClaimsForm
	Result   *ClaimsResult // nil: not tried yet, or not readable
	Claim    string
	Provider string
}

// ClaimsResult is the answer of a dry run.
type ClaimsResult struct {
	Refused     []string // why a sign-in with these claims would be refused
	Problems    []string // with the groups claim
	Email       string
	Verified    bool
	Groups      int
	Path        string
	Roles       []string
	Permissions []PermissionGroup
	Mapping     Mapping
}
