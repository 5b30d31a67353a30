package templates

import "time"

// AccountsView is the list of accounts.
type AccountsView struct {
	Page     Page
	Rows     []AccountRow
	Filter   AccountsFilter
	Total    int // that match
	All      int // that the member may see
	First    string
	Next     string
	MayAdd   bool
	Contact  []string // whom to ask for an account
	Clusters int      // that the member may see, where they may see no account
}

// AccountsFilter is what the list is narrowed by. A list that is short needs none.
type AccountsFilter struct {
	Shown bool
	Text  string
	State Select
}

// AccountRow is one account of the list.
type AccountRow struct {
	ID, Name, Href string
	CloudAccountID string
	Environment    string
	Owner          string
	Legacy         bool
	Enabled        bool
	Clusters       int
	ClustersHref   string
	KeyPrefix      string
	KeyRefused     string
	RotateBy       *time.Time
	OKAt           *time.Time
	Error          string
	Stale          bool
	Vanished       int
}

// AccountFormView is the form that adds an account.
type AccountFormView struct {
	Page       Page
	Crumbs     []Link
	FormToken  string
	Generation string
	CloudID    string
	Name       string
	Env        string
	Owner      string
	Note       string
	RotateBy   string
	Choices    []Choice          // accounts that the pasted key opens, when there are several
	Errors     map[string]string // by form field; "" is the form
	KeyAgain   bool              // a key was pasted before and is not shown again
	Upstream   string            // what Qdrant Cloud said to the key
}

// AccountView is the page of one account.
type AccountView struct {
	Page           Page
	Crumbs         []Link
	ID, Name       string
	CloudAccountID string
	UpstreamName   string
	OwnerEmail     string
	Environment    string
	Owner, Note    string
	RotateBy       *time.Time
	Enabled        bool
	Legacy         bool
	CreatedAt      time.Time
	CreatedBy      string
	Offers         []Offer
	WhoCanHref     string // who can touch the account; empty for those who may not ask

	Key         KeyView
	KeyOffers   []Offer // what can be done with the key
	OldKeys     []OldKeyView
	KeyProbedAt *time.Time
	KeyRefused  string
	Permissions []PermissionGroup
	PermsTold   bool   // the Cloud API told what the key may do
	NotOffered  []Pair // acts that the account cannot be worked on with, and why

	OKAt         *time.Time
	FailedAt     *time.Time
	Error        string
	Stale        bool
	Vanished     int
	UpstreamHref string // how its calls go

	Clusters     int
	ClustersHref string
	Rows         []FleetRow
}
