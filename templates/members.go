package templates

import (
	"strconv"
	"time"
)

// MembersView is the list of members.
type MembersView struct {
	Page        Page
	Text        string
	State       Select
	Rows        []MemberRow
	Total, All  int
	First, Next string
	Narrowed    bool
	BreakGlass  []BreakGlassRow // printed links, those whose session lives first
	Group       string          // that all of them were in at their last sign-in; empty: whoever
	GroupIssuer string
}

// MemberRow is a member in the list.
type MemberRow struct {
	ID, Href      string
	Name, Email   string
	EmailVerified bool
	Subject       string
	Groups        []string // the first few
	MoreGroups    int
	FirstSeen     time.Time
	LastSeen      time.Time
	Sessions      int
	Roles         []string // with where they hold
	Blocked       bool
	Block         BlockView
	Self          bool
}

// BlockView says since when a member is blocked, by whom and why.
type BlockView struct {
	Since      time.Time
	By, Reason string
	Unverified bool // a row that the console did not write blocks
	Withheld   bool // the log blocks, against what the row says
}

// Unexplained reports whether nobody is known who blocked.
func (b BlockView) Unexplained() bool { return b.Unverified || b.Withheld }

// MemberView is the page of a member.
type MemberView struct {
	Page        Page
	Crumbs      []Link
	Tabs        []Tab
	Offers      []Offer
	Row         MemberRow
	Issuer      string
	Groups      []string
	GroupCount  int
	GroupClaim  string
	Holds       []HeldView
	Sessions    []SessionRow
	MoreSession int    // live ones that are not listed
	MayEnd      bool   // the sessions
	ReachHref   string // says where they may do what; empty: the reader may not ask
	Events      []MemberEventView
}

// HeldView is a grant that the member holds.
type HeldView struct {
	Role      string
	RoleHref  string // empty: the reader may not open it
	Grant     Link   // the grant, or of one from configuration its row in the list; no Href: the reader may not
	Where     string // kind of the scope in words
	Scope     string // what of that kind; empty for everything
	Source    string
	Via       string
	ExpiresAt *time.Time
}

// MemberEventView is a sign-in, or what was done to the member.
type MemberEventView struct {
	Seq       string
	Href      string // empty: the reader may not read the log
	At        time.Time
	What      string
	Status    string // ok, failed, denied
	Reason    string
	By        string // empty: the member
	IP        string
	Browser   string
	UserAgent string
}

// MemberKeysView lists the keys whose secret a member may have.
type MemberKeysView struct {
	Page   Page
	Crumbs []Link
	Tabs   []Tab
	Row    MemberRow
	Open   []SeenKeyView // may still open something
	Closed []SeenKeyView
	Hidden int
	More   bool
}

// SeenKeyView is a key whose secret a member may have.
type SeenKeyView struct {
	ID          string
	Name        string
	Kind        string // in words
	Account     string
	AccountHref string
	Cluster     string
	ClusterHref string
	Got         string // how they came to it, in words
	At          time.Time
	State       string // there, retired, deleted, ended, lost, unseen, unknown
	InUse       bool   // a management key that the console works with
	EndsAt      *time.Time
	ClosedAt    *time.Time
	ClosedBy    string
	Links       []Link // what to do about it
}

// MemberActView asks before a member is blocked, or let in again.
type MemberActView struct {
	Page    Page
	Crumbs  []Link
	Lead    string
	Points  []string
	Warning string
	Action  string
	Button  string
	Danger  bool
	Back    string
	Reason  string // typed
	Needed  bool   // the reason
	Confirm string // what must be typed; empty when nothing must
	Typed   string
	Errors  map[string]string
}

func (v MemberActView) reason() Field {
	hint := "It stands in the audit log and on the member’s page."
	return Field{
		Name: "reason", Label: "Reason", Type: "textarea", Value: v.Reason, Hint: hint, Error: v.Errors["reason"], Required: v.Needed,
		Focus: v.Errors["reason"] != "",
	}
}

func (v MemberActView) problems() []Link {
	var out []Link
	if e := v.Errors[""]; e != "" {
		out = append(out, Link{Label: e})
	}
	for _, f := range []string{"reason", "confirm"} {
		if e := v.Errors[f]; e != "" {
			out = append(out, Link{Label: e, Href: "#f-" + f})
		}
	}
	return out
}

// sessionsOf counts the live sessions of a member, for a column.
func sessionsOf(n int) string {
	if n == 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

// words say what is known of the key.
func (k SeenKeyView) words() (state, tone, note string) {
	switch k.State {
	case "there":
		if k.InUse {
			return "In use here", toneWarn, "This console works with it. Replace it, then delete it."
		}
		return "Works", toneWarn, ""
	case "retired":
		return "Not in use here", toneWarn, "It is valid at Qdrant Cloud until somebody deletes it there."
	case "deleted":
		if k.ClosedBy == "" {
			return "Deleted", toneOff, ""
		}
		return "Deleted", toneOff, "by " + k.ClosedBy
	case "ended":
		return "Expired", toneOff, ""
	case "lost":
		return "Cluster is gone", toneOff, ""
	case "unseen":
		return "Nobody saw it", toneOff, "The answer that held its secret was lost."
	}
	return "Not known", toneWarn, "The account was removed here. Look in Qdrant’s own console."
}
