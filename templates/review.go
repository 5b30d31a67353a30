package templates

import "time"

// ReviewView is the page of an access review: who could do what at a moment, and how far the review has come.
type ReviewView struct {
	Page    Page
	Tabs    []Tab
	At      string // the date as asked, for the field; empty for now
	AtError string
	Moment  time.Time // of what is shown
	Past    bool
	Config  []ReviewConfigView // changed since

	Member, Group     string
	Account, Role     Select
	Undecided, Unused bool
	Rows              []ReviewRow
	Total, All        int
	Members           int
	First, Next       string
	Narrowed          bool
	Self              string // the address of what is shown, to come back to
	Clear             string // the address of all lines at that moment
	Chosen            []string

	Gone      []DecidedRow // revoked in the review under way
	Open      *ReviewOpenView
	Last      *SignedRow
	MayDecide bool
	WhyNot    string
	StepUp    bool
	Offers    []Offer
	Problem   string
}

// chosen reports whether a line was ticked before a fresh sign-in.
func (v ReviewView) chosen(token string) bool {
	for _, t := range v.Chosen {
		if t == token {
			return true
		}
	}
	return false
}

// ticks reports whether lines can be chosen.
func (v ReviewView) ticks() bool { return v.Open != nil && v.MayDecide && !v.Past }

// toKeep reports whether any line shown can be ticked.
func (v ReviewView) toKeep() bool {
	for _, r := range v.Rows {
		if r.Decided == nil {
			return true
		}
	}
	return false
}

// ReviewOpenView is a review under way.
type ReviewOpenView struct {
	StartedAt                time.Time
	StartedBy                string
	Undecided, Kept, Revoked int
}

// ReviewConfigView is a change of the configuration.
type ReviewConfigView struct {
	At    time.Time
	Names string
}

// ReviewRow is one line.
type ReviewRow struct {
	Key         string
	Token       string
	Kind        string // member, group, address
	Name        string
	Href        string // what one member could do; empty for others
	Members     []Link
	More        int // members that are not named
	None        string
	Role        string
	Permissions []PermissionGroup
	Where       string
	GrantedBy   string
	Reason      string
	Since       time.Time
	ExpiresAt   *time.Time
	Source      string // of a configured one
	Pending     bool
	LastUse     *time.Time
	ReadOnly    bool
	Own         bool
	Decided     *ReviewDecidedView
	Changed     string
	Revoke      string // page that asks before; empty when it cannot be revoked here
	GrantHref   string
}

// givenLately reports whether the grant was younger, at the time that is looked at, than what use is looked for in, so that no use says little.
func (r ReviewRow) givenLately(asOf time.Time) bool {
	return !r.Since.IsZero() && asOf.Sub(r.Since) < 90*24*time.Hour
}

// ReviewDecidedView says who kept a line.
type ReviewDecidedView struct {
	At       time.Time
	By, Note string
	Own      bool
}

// SignedRow is a review that was signed off.
type SignedRow struct {
	Seq, Href                 string
	StartedAt, AsOf, SignedAt time.Time
	StartedBy, SignedBy, Note string
	DueOn                     time.Time
	Overdue                   bool
	Lines, Kept, Revoked, Own int
	KeptDigest, RevokedDigest string
	AsOfHref                  string
	Page                      string // that tells its lines
}

// DecidedRow is a line and what was decided on it.
type DecidedRow struct {
	Key, Kind, Name, Href, Role, Where string
	Gives                              string // in one sentence, where the rest is not known any more
	Revoked                            bool
	At                                 time.Time
	By, Note                           string
	Own                                bool
}

// SignedReviewView is one review that was signed off.
type SignedReviewView struct {
	Page   Page
	Crumbs []Link
	Row    SignedRow
	Rows   []DecidedRow
	Whole  bool // the lines are, by their digests, those of the sign-off
	Offers []Offer
}

// SignedView lists reviews that were signed off.
type SignedView struct {
	Page Page
	Tabs []Tab
	Rows []SignedRow
}

// ReviewSignView asks before a review is signed off.
type ReviewSignView struct {
	Page      Page
	Crumbs    []Link
	Open      ReviewOpenView
	Lines     int
	Own       int
	Note, Due string
	Errors    map[string]string
	Undecided string // address of the lines without a decision
	Back      string
}

func (v ReviewSignView) problems() []Link {
	var out []Link
	for _, name := range []string{"", "note", "due_on"} {
		if e := v.Errors[name]; e != "" {
			l := Link{Label: e}
			if name != "" {
				l.Href = "#f-" + name
			}
			out = append(out, l)
		}
	}
	return out
}

// ReviewRevokeView asks before the grant of a line is taken back.
type ReviewRevokeView struct {
	Page   Page
	Crumbs []Link
	Row    ReviewRow
	Keys   *Link // those that a member may have
	Action string
	Back   string
	Reason string
	Errors map[string]string
}

func (v ReviewRevokeView) problems() []Link {
	if e := v.Errors["reason"]; e != "" {
		return []Link{{Label: e, Href: "#f-reason"}}
	}
	return nil
}

// ReviewMembersView lists who had signed in by a moment.
type ReviewMembersView struct {
	Page        Page
	Tabs        []Tab
	At          string
	AtError     string
	Moment      time.Time
	Past        bool
	Text        string
	Rows        []ReviewPersonRow
	Total, All  int
	First, Next string
	Clear       string
}

// ReviewPersonRow is a member as of a moment.
type ReviewPersonRow struct {
	Name, Email, Subject, Href string
	Blocked                    bool
	Groups                     []string
	MoreGroups                 int
	Roles                      []string
	Lines                      int
	LastSignIn                 time.Time
}

// ReviewRightsView is what somebody could do, or what could be done in an account, at a moment.
type ReviewRightsView struct {
	Page    Page
	Crumbs  []Link
	Heading string
	Lead    string
	At      string
	AtError string
	Moment  time.Time
	Past    bool
	Action  string // of the date's form
	Groups  []string
	OfOne   bool // member; else of an account
	Places  []ReviewPlaceRow
	Rows    []ReviewRow
	More    int
	Config  []ReviewConfigView
}

// ReviewPlaceRow is what somebody could do in one place.
type ReviewPlaceRow struct {
	Who, WhoHref string
	Where        string
	WhereHref    string
	Permissions  []PermissionGroup
}

// ReviewBeforeLogView is a review as of a moment before the log begins.
type ReviewBeforeLogView struct {
	Page       Page
	Crumbs     []Link
	Tabs       []Tab
	Action     string
	At         string
	AtError    string
	Begins     time.Time
	BeginsHref string
}
