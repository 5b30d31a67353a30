package templates

import "time"

// LegacyNotice is told on every page of an account of the first API generation, and of what is in it.
type LegacyNotice struct {
	SwitchHref string   // for those who may move the account
	Contact    []string // whom the others may ask
}

// AccountEditView is the form that edits an account.
type AccountEditView struct {
	Page     Page
	Crumbs   []Link
	Self     string // path of the account
	Revision string
	Name     string
	Env      string
	Owner    string
	Note     string
	RotateBy string
	Errors   map[string]string // by form field; "" is the form
	// Changed is what somebody else changed meanwhile: the form has what the member wants, and sending it
	// once more stores that.
	Changed []ChangedField
}

// ChangedField is a field that is not what the member saw: what it is now, and what the form says.
type ChangedField struct{ Name, Now, Wanted string }

// AccountKeyView asks for a management key in place of the one in use, or whether one is to be made.
type AccountKeyView struct {
	Page      Page
	Crumbs    []Link
	Self      string // path of the account
	FormToken string
	Name      string
	Key       KeyView
	Other     Offer // the other way to another key
	Enabled   bool
	Errors    map[string]string // by form field; "" is the form
	KeyAgain  bool              // a key was pasted before and is not shown again
}

// KeyView is what may be known of a management key.
type KeyView struct {
	Prefix  string
	Minted  bool // made here
	Unseen  bool // made here, and its secret was lost
	AddedAt time.Time
	AddedBy string
}

// OldKeyView is a management key that is not in use any more.
type OldKeyView struct {
	KeyView
	ID, Href  string
	RetiredAt time.Time
	Lost      []string // permissions that it has and the key in use has not
}

// OldKeyPage asks whether an old key is deleted at Qdrant Cloud.
type OldKeyPage struct {
	Page     Page
	Crumbs   []Link
	Self     string // path of the account
	Name     string // of the account
	InUse    KeyView
	Old      OldKeyView
	Delete   Offer
	Dismiss  string // path posted to when it is gone already
	Typed    string
	Errors   map[string]string
	Overdue  *time.Time // the day by which a key was to be rotated, gone by
	EditHref string
}

// AccountSwitchView compares what the two APIs tell of an account.
type AccountSwitchView struct {
	Page         Page
	Crumbs       []Link
	Self         string // path of the account
	Name         string
	Blocked      string // why it cannot be moved now; the rest is empty then
	UpstreamName string
	OwnerEmail   string
	NotAble      []string
	LegacyError  string // why the legacy API did not tell its clusters; what the console knew stands there then
	Rows         []SwitchRow
	Differences  int
	Seen         string
	Errors       map[string]string
}

// SwitchRow is a cluster as the two APIs list it; empty where one does not list it.
type SwitchRow struct {
	ID, Legacy, Current string
	InLegacy, InCurrent bool
}

func (r SwitchRow) differs() bool {
	return !r.InLegacy || !r.InCurrent || r.Legacy != r.Current
}
