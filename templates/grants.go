package templates

import (
	"slices"
	"strings"
	"time"
)

// GrantsView is the list of grants.
type GrantsView struct {
	Page        Page
	Filter      GrantsFilter
	Rows        []GrantRow
	Total       int // that fit, configured ones among them
	First       string
	Next        string
	May         bool // give rights, somewhere
	Waiting     int  // for the first sign-in with an address, and so not among those in force
	WaitingHref string
}

// GrantsFilter is what the list is narrowed by.
type GrantsFilter struct {
	Text                           string
	State, SubjectKind, Role, Kind Select
	Hidden                         []Pair   // what else the address narrows by
	Only                           []string // that, in words
	Active                         bool
}

// GrantRow is one grant: who may do what, where, until when, and why.
type GrantRow struct {
	ID         string // empty for one from configuration
	Href       string
	Who        SubjectView
	Role       string
	RoleHref   string
	Where      PlaceView
	ExpiresAt  *time.Time
	Reason     string
	GivenAt    time.Time
	GivenBy    string
	Configured bool
	Variable   string // of the configuration
	State      string // live, pending, expired, ended, unverified, bound
	Blocked    bool   // the member is, so that while live it counts for nothing
	Nobody     bool   // no sign-in has named the group yet
	EndedAt    *time.Time
	EndedBy    string
	EndReason  string
	Follows    string // the grant to an address that was bound to this member
	Bound      *BoundView
}

// BoundView is to whom a grant to an address was bound.
type BoundView struct {
	Who  SubjectView
	Href string // the member's own grant; empty where it cannot be opened
}

// SubjectView is whom a grant is for.
type SubjectView struct {
	Kind, Name string
	Detail     string // the e-mail address, else the subject, beside a name
	Issuer     string
	Href       string // all that this subject can touch; empty where that is not told
	Page       string // of the member; empty for who may not open it
	Members    string // of the group, the list of them; empty for who may not see it
}

// kindWord says what kind of subject it is.
func (s SubjectView) kindWord() string {
	switch s.Kind {
	case "group":
		return "group"
	case "email":
		return "e-mail address"
	}
	return "member"
}

// PlaceView is where a grant holds.
type PlaceView struct {
	Kind, Name string
	Href       string
}

// kindWord says what kind of place it is, before its name.
func (p PlaceView) kindWord() string {
	switch p.Kind {
	case "everything":
		return ""
	case "labels":
		return "clusters labelled"
	}
	return p.Kind
}

// stateTone is the tone of a grant's state.
func (r GrantRow) stateTone() string {
	switch {
	case r.State == "live" && r.Blocked:
		return toneWarn
	case r.State == "live" && r.Nobody:
		return toneOff
	}
	switch r.State {
	case "live":
		return toneOK
	case "pending":
		return toneBusy
	case "unverified":
		return toneBad
	}
	return toneOff
}

func (r GrantRow) stateWord() string {
	switch {
	case r.State == "live" && r.Blocked:
		return "In force · member blocked"
	case r.State == "live" && r.Nobody:
		return "In force · nobody yet"
	}
	switch r.State {
	case "live":
		return "In force"
	case "pending":
		return "Waits"
	case "expired":
		return "Expired"
	case "unverified":
		return "Altered"
	case "bound":
		return "Bound to a member"
	}
	return "Ended"
}

// over reports whether the grant has ended or expired, so that it gives nothing any more.
func (r GrantRow) over() bool {
	return r.State == "ended" || r.State == "expired" || r.State == "bound"
}

// endedEarly reports whether the grant was ended before the end that it was given with.
func (r GrantRow) endedEarly() bool {
	return r.EndedAt != nil && r.ExpiresAt != nil && r.EndedAt.Before(*r.ExpiresAt)
}

// GrantView is the page of one grant.
type GrantView struct {
	Page        Page
	Crumbs      []Link
	Grant       GrantRow
	Description string // of the role
	Permissions []PermissionGroup
	// WithoutEffect is how many permissions of the role take no effect where the grant holds.
	WithoutEffect int
	Offers        []Offer
	LogHref       string // what the log has on it; empty for who may not read the log
}

// GrantFormView gives a right. What is chosen of the kinds decides what is asked next.
type GrantFormView struct {
	Page      Page
	Crumbs    []Link
	Action    string
	Self      string // the same form again, as it was typed
	Back      string
	FormToken string
	Errors    map[string]string // by form field; "" is the form

	SubjectKind, Subject string
	Role                 string
	ScopeKind, Scope     string
	Lasts, ExpiresAt     string
	Reason               string

	Subjects  []Choice // members, or groups that were seen, to choose from or to type past
	Roles     []Choice
	Kinds     []Choice // of scopes within one's own rights
	Places    []PlaceGroup
	More      bool // there are more places than the list has
	Endings   []Choice
	CannotAll string // why there is nothing to give; the form is not shown then
}

// PlaceGroup is a part of a list of places; Label is empty for a list without parts.
type PlaceGroup struct {
	Label   string
	Choices []Choice
}

// grantFields are the fields in the order of the page: the first that is wrong gets the focus.
func grantFields() []string {
	return []string{"subject_kind", "subject", "role", "scope_kind", "scope", "lasts", "expires_at", "reason"}
}

func (v GrantFormView) focus(field string) bool { return firstWrong(grantFields(), v.Errors) == field }

func (v GrantFormView) problems() []Link { return problemLinks(grantFields(), v.Errors) }

// field fills in what is wrong with a field, and whether it gets the focus.
func (v GrantFormView) field(f Field) Field {
	f.Error, f.Focus = v.Errors[f.Name], v.focus(f.Name)
	return f
}

func (v GrantFormView) radios(r Radios) Radios {
	r.Error, r.Focus = v.Errors[r.Name], v.focus(r.Name)
	return r
}

// firstWrong is the first of the fields that is wrong, or empty.
func firstWrong(fields []string, errors map[string]string) string {
	for _, f := range fields {
		if errors[f] != "" {
			return f
		}
	}
	return ""
}

// problemLinks lists what is wrong in a form, in the order of its fields; what belongs to no field
// stands first and last.
func problemLinks(fields []string, errors map[string]string) []Link {
	var out []Link
	known := map[string]bool{"": true}
	if e := errors[""]; e != "" {
		out = append(out, Link{Label: e})
	}
	for _, f := range fields {
		known[f] = true
		if e := errors[f]; e != "" {
			out = append(out, Link{Label: e, Href: "#f-" + f})
		}
	}
	for _, f := range sortedKeys(errors) {
		if !known[f] && errors[f] != "" {
			out = append(out, Link{Label: errors[f]})
		}
	}
	return out
}

func (v GrantFormView) subjectKinds() Radios {
	r := Radios{Name: "subject_kind", Legend: "To whom?", Choices: []Choice{
		{Value: "group", Label: "A group", Hint: "Everyone whose sign-in names it."},
		{Value: "member", Label: "A member", Hint: "Somebody who has signed in here."},
		{Value: "email", Label: "An e-mail address", Hint: "Somebody who has not, perhaps."},
	}}
	for i := range r.Choices {
		r.Choices[i].Selected = r.Choices[i].Value == v.SubjectKind
	}
	return v.radios(r)
}

func (v GrantFormView) subject() Field {
	f := Field{Name: "subject", Value: v.Subject, Required: true, Autocomplete: "off"}
	switch v.SubjectKind {
	case "member":
		f.Label, f.Hint = "Member", "Who has not signed in yet is not in the list: use their e-mail address."
	case "email":
		f.Label, f.Type, f.Mono = "E-mail address", "email", false
		f.Hint = "When nobody has signed in with it, the right waits for whoever first does, verified by your identity provider. It is theirs from then on, and no longer the address’s."
	default:
		f.Label, f.Mono = "Group", true
		f.Hint = "Exactly as your identity provider names it, letter case included."
	}
	return v.field(f)
}

func (v GrantFormView) places() Field {
	f := Field{Name: "scope", Value: v.Scope, Required: true, Autocomplete: "off"}
	switch v.ScopeKind {
	case "environment":
		f.Label, f.Hint = "Environment", "Every account of it, those added later as well."
	case "account":
		f.Label, f.Hint = "Account", "The account and every cluster in it, later ones as well."
	case "cluster":
		f.Label, f.Hint = "Cluster", "This cluster and nothing else of its account."
	case "labels":
		f.Label, f.Mono, f.Placeholder = "Labels", true, "team=search"
		f.Hint = "Clusters that have all of these: team=search, or several joined by commas: team in (search,ads),tier=gold. From then on only members with grants:manage may change these labels."
	}
	return v.field(f)
}

// WhyNotView answers why the member may not do something, which they did not try.
type WhyNotView struct {
	Page    Page
	Crumbs  []Link
	Refusal *RefusalView // nil: they may
	Back    *Link        // the cluster or account that it is about
}

// AccessView answers who can touch something, or what somebody can touch.
type AccessView struct {
	Page    Page
	Crumbs  []Link
	Heading string
	Lead    string

	// One of the two answers, or the question when both are nil.
	Holders []HolderView
	Grants  []GrantRow   // of the one who is asked about
	Reach   []ReachView  // where they may do what
	Who     *SubjectView // who is asked about
	Notes   []string
	Asked   bool // something was asked, though the answer may be nobody

	PartWords string // of who can touch a part only; empty: on some clusters

	Account string   // that was asked about
	Narrow  []Choice // its clusters

	Environments []Choice // to ask about
	Groups       []string // to ask about, those that grants name
	TypedGroup   string
	NoGroup      string // why the group that was typed is none

	Accounts   []Choice // to ask about
	Clusters   int      // how many may be asked about
	MorePlaces bool     // there are more accounts or clusters than that
	Typed      string   // what was looked for
	Found      []FoundPlace
	MoreFound  bool
	NotFound   string
	People     []SubjectView
	SeesGrants bool   // else who has one is not told
	MorePeople Link   // where everybody is
	GiveHref   string // gives a right to whom or where was asked
	Back       string
}

// FoundPlace is an account or cluster that fits what was typed.
type FoundPlace struct {
	Name, Href, ID string
	Cluster        bool
	Account        string // of a cluster, where it may be told
}

// HolderView is somebody who can touch what is asked about, and through which grants.
type HolderView struct {
	Who         SubjectView
	Grants      []GrantRow
	Permissions []PermissionGroup
	Few         []string // the permissions that matter most, in words
	Members     []string // of a group, the first by name
	MoreMembers int
	Blocked     bool // nothing of it counts while it is so
	Part        bool // of an account only some clusters, and not the account itself
}

// ReachView is one place, and what may be done there.
type ReachView struct {
	Where       PlaceView
	Permissions []PermissionGroup
}

// RefusalView says of a refusal what is missing, what would give it, what one holds, and whom to ask.
type RefusalView struct {
	Act     string // in words
	Missing []Pair // permissions with what they allow
	Where   string // what the act is done to
	Roles   []Pair // that would give it, with what else they allow
	Held    []PermissionGroup
	Ask     []string // people and groups who could give it
}

// joined is a list of short words in one line.
func joined(words []string) string { return strings.Join(words, ", ") }

// sentenceList joins what somebody may do into one sentence.
func sentenceList(words []string) string {
	switch len(words) {
	case 0:
		return "Looks only."
	case 1:
		return words[0] + "."
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1] + "."
}

// adminTabs are the pages of the administration, as far as the member may open them.
func adminTabs(p Page, current string) []Tab {
	if p.Member == nil {
		return nil
	}
	var tabs []Tab
	for _, l := range p.Member.Admin {
		tabs = append(tabs, Tab{Label: l.Label, Href: l.Href, Current: l.Href == current})
	}
	return tabs
}

// byVerbs turns permissions around: what may be done, and to which kinds of things. Kind of what it returns
// is the verbs in words, Verbs are the kinds. What may be done most with stands first.
func byVerbs(groups []PermissionGroup) []PermissionGroup {
	var out []PermissionGroup
	var verbs []int
	for _, g := range groups {
		does := joined(g.Verbs)
		i := slices.IndexFunc(out, func(o PermissionGroup) bool { return o.Kind == does })
		if i < 0 {
			i = slices.IndexFunc(verbs, func(n int) bool { return n < len(g.Verbs) })
			if i < 0 {
				i = len(out)
			}
			out, verbs = slices.Insert(out, i, PermissionGroup{Kind: does}), slices.Insert(verbs, i, len(g.Verbs))
		}
		out[i].Verbs = append(out[i].Verbs, g.Kind)
	}
	return out
}
