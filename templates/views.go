// Package templates holds the pages as templ components, and the plain values they show. It
// imports nothing of the domain, so that no page can print what it was not handed as text.
//
//go:generate go tool templ generate
package templates

import "time"

// Page is what every page needs around its content.
type Page struct {
	Title   string
	BodyID  string // <body id>, a hook for tests
	Section string // clusters, accounts, audit, admin, me: which item of the navigation is current
	Member  *Member
	Flash   string
	Dev     bool          // made by dev: a banner says so
	Legacy  *LegacyNotice // of an account of the first API generation; nil for every other page
	StepUp  *StepUp       // the act that the page asks about needs a fresh sign-in; nil when it does not, or there is one
	// BreakGlass are the live sessions that a break-glass link gave; every page says so.
	BreakGlass []BreakGlassNotice
	Now        time.Time
	Again      bool            // its address can be asked again for the same page
	Unverified *UnverifiedView // for those who may do something about it; nil when every row verifies
	// ReviewDue is since when the next access review is overdue, for those who can do it; zero when it is not.
	ReviewDue time.Time
}

// UnverifiedView tells of rows that rights follow from and that the console did not write.
type UnverifiedView struct {
	Unexplained int    // rows that the log does not explain, beside those
	CheckHref   string // where these are listed; empty for who may not see it
	Rows        int
	LogHref     string // empty for those who may not read the log
}

// BreakGlassNotice is somebody who works without the identity provider.
type BreakGlassNotice struct {
	Name, Reason string
	Since, Until time.Time
	End          string // path posted to, for those who may end it
	Did          string // page of what was done, for the same
}

// BreakGlassView is the page of a break-glass link.
type BreakGlassView struct {
	Page     Page
	Action   string
	Link     string // the token
	Life     string // of the session
	LinkLife string
}

// StepUp is a fresh sign-in that is due before an act.
type StepUp struct {
	Href   string     // leads there and back
	After  string     // how long a sign-in is fresh
	Since  *time.Time // when the member signed in at the provider; nil when that is not known
	Untold bool       // the provider does not tell such times
}

// Member is who is signed in, as the page's header shows it.
type Member struct {
	Name, Email string
	Roles       []string
	MayAudit    bool
	MayManage   bool   // accounts:manage
	Counts      bool   // the navigation counts the alerts that fire
	Firing      int    // them; FiringCap+1: more than that
	Admin       []Link // pages for those who administer the console
}

// ErrorView is an error page.
type ErrorView struct {
	Page      Page
	Status    int
	Heading   string // what happened
	Detail    string // what to do
	Reason    string // upstream's own words, when there are any
	Refusal   *RefusalView
	RequestID string
	RetryPath string // empty: no retry link
	SignIn    bool   // offer the sign-in link
	StepUp    string // leads through a fresh sign-in and back; empty when that does not help
	MyRights  string // the page of how the member's rights come about; empty where it is no matter of rights
	Back      *Link  // the cluster or account that the page is about
}

// SignInView is the sign-in page.
type SignInView struct {
	Page         Page
	ProviderDown bool
	Provider     string // host of the issuer
	Message      string
	Contact      []string // whom to ask about what the message says
	Href         string   // continues at the provider; empty while it is down
	RequestID    string
}

// NoRightsView is what a member with no rights at all sees.
type NoRightsView struct {
	Page       Page
	Again      string // the page that was asked for
	Claims     []Pair
	GroupClaim string
	MoreClaims int      // are not kept
	Problems   []string // with the groups claim
	Mapping    Mapping
	Contact    []string // whom to ask: groups or e-mail addresses that administer this console
}

// Pair is a name and a value.
type Pair struct{ Name, Value string }
