package templates

import "time"

// MeView is what the console knows of the member who looks at it.
type MeView struct {
	Page        Page
	Name, Email string
	Subject     string
	Issuer      string
	Roles       []string
	Permissions []PermissionGroup
	Verified    bool // the e-mail address
	Groups      int  // how many are known
	GroupClaim  string
	GroupPath   string   // where the claim was found, when inside others
	Problems    []string // with the groups claim
	Mapping     Mapping
	BreakGlass  *BreakGlassOwn // set when a break-glass link signed the member in: then nothing else gives them rights
	SignedInAt  time.Time
	AuthTime    *time.Time
	Prompted    bool // AuthTime is when the provider answered a request to sign in anew
	Claims      []Pair
	MoreClaims  int // are not kept
	Sessions    []SessionRow
}

// BreakGlassOwn is the break-glass link that somebody is signed in by.
type BreakGlassOwn struct {
	MadeBy, Reason string // the reason is a sentence
	Until          time.Time
}

// PermissionGroup is what a member may do with one kind of thing.
type PermissionGroup struct {
	Kind  string
	Verbs []string
}

// SessionRow is one signed-in browser.
type SessionRow struct {
	ID         string
	Current    bool
	Browser    string // a short name of it
	UserAgent  string
	IP         string
	CreatedAt  time.Time
	LastSeenAt time.Time
	ExpiresAt  time.Time
}

// countVerbs counts permissions.
func countVerbs(groups []PermissionGroup) int {
	n := 0
	for _, g := range groups {
		n += len(g.Verbs)
	}
	return n
}
