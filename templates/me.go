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
	Groups      []string
	GroupClaim  string
	Overage     bool
	SignedInAt  time.Time
	AuthTime    *time.Time
	Prompted    bool // AuthTime is when the provider answered a request to sign in anew
	Claims      []Pair
	Sessions    []SessionRow
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
