package templates

import "time"

// KeysView is the page of the keys of a cluster.
type KeysView struct {
	Page         Page
	Crumbs       []Link
	Tabs         []Tab
	Cluster      string
	Legacy       bool
	Gone         bool
	AdminsFailed string // why the admin keys could not be listed
	Unreadable   bool   // the account has keys that the console cannot read
	Offers       []Offer
	Pending      []PendingKeyView
	Rows         []KeyRow
}

// PendingKeyView is a key of which it is not known yet whether it was made.
type PendingKeyView struct {
	Name, By string
	Since    time.Time
	Unknown  bool
}

// How soon a key ends.
const (
	EndExpired = "expired"
	EndDay     = "day"
	EndWeek    = "week"
	EndMonth   = "month"
	EndLater   = "later"
	EndNever   = "never"
)

// EndOf tells how soon a key ends; the zero time is never.
func EndOf(now, end time.Time) string {
	left := end.Sub(now)
	switch {
	case end.IsZero():
		return EndNever
	case left <= 0:
		return EndExpired
	case left <= 24*time.Hour:
		return EndDay
	case left <= 7*24*time.Hour:
		return EndWeek
	case left <= 30*24*time.Hour:
		return EndMonth
	}
	return EndLater
}

// endState is how an end is shown; there is no word for one that is far.
func endState(end string) (tone, word string) {
	switch end {
	case EndNever:
		return toneWarn, "Never ends"
	case EndExpired:
		return toneBad, "Expired"
	case EndDay:
		return toneBad, "Ends within a day"
	case EndWeek:
		return toneWarn, "Ends within 7 days"
	case EndMonth:
		return toneWarn, "Ends within 30 days"
	}
	return toneOK, ""
}

// KeyRow is one key of a cluster.
type KeyRow struct {
	ID, Name  string
	Mark      string // what is seen of its secret
	Admin     bool   // of the old kind
	Access    []string
	Creator   string
	NobodySaw bool
	CreatedAt time.Time
	ExpiresAt time.Time
	Opens     []Link // clusters of an admin key
	Hidden    int    // how many more it opens
	Note      string // what a rotation waits for
	OldHref   string // deletes the key that this one replaces
	Why       []string
	Acts      []Offer
}

// expires is the end as machines read it.
func (r KeyRow) expires() string {
	if r.ExpiresAt.IsZero() {
		return EndNever
	}
	return r.ExpiresAt.UTC().Format(time.RFC3339)
}

// Checks is a question with several answers at once.
type Checks struct {
	Name, Legend, Hint, Error string
	Choices                   []Choice
	Focus                     bool
}

// KeyFormView makes a key, or its successor.
type KeyFormView struct {
	Page        Page
	Crumbs      []Link
	Action      string
	Back        string
	Lead        string
	Points      []string
	Warning     string
	FormToken   string
	Admin       bool // an admin key: clusters are chosen and nothing else
	Rotation    bool // access is that of the key it replaces
	Name        string
	Days        string
	Access      string
	Collections string
	Rules       []string // what the successor may do
	Clusters    Checks
	Button      string
	Errors      map[string]string // by field; "" is the form
	Said        string            // what Qdrant Cloud said
}

func (v KeyFormView) order() []string {
	return []string{"name", "expires_in_days", "access", "collections", "clusters"}
}

func (v KeyFormView) focus(field string) bool {
	for _, f := range v.order() {
		if v.Errors[f] != "" {
			return f == field
		}
	}
	return false
}

func (v KeyFormView) problems() []Link {
	var out []Link
	if e := v.Errors[""]; e != "" {
		out = append(out, Link{Label: e})
	}
	known := map[string]bool{"": true}
	for _, f := range v.order() {
		known[f] = true
		if e := v.Errors[f]; e != "" {
			out = append(out, Link{Label: e, Href: "#f-" + f})
		}
	}
	for _, f := range sortedKeys(v.Errors) {
		if !known[f] {
			out = append(out, Link{Label: v.Errors[f]})
		}
	}
	return out
}

func (v KeyFormView) name() Field {
	return Field{Name: "name", Label: "Name", Value: v.Name, Required: true, Error: v.Errors["name"], Focus: v.focus("name"), Autocomplete: "off",
		Hint: "What will use it, so that others know whom it hurts when it is deleted: 4 to 128 letters, digits, spaces, - and _."}
}

func (v KeyFormView) days() Field {
	return Field{Name: "expires_in_days", Label: "Ends after days", Value: v.Days, Error: v.Errors["expires_in_days"], Focus: v.focus("expires_in_days"), Autocomplete: "off",
		Hint: "1 to 3650. Left empty, the key never ends: it works until somebody deletes it."}
}

func (v KeyFormView) access() Radios {
	return Radios{Name: "access", Legend: "What may it do?", Error: v.Errors["access"], Focus: v.focus("access"), Choices: []Choice{
		{Value: "manage", Label: "Manage", Hint: "Everything in the cluster: read, write, delete, and its collections.", Selected: v.Access == "manage"},
		{Value: "read-only", Label: "Read only", Hint: "Read all collections and change nothing.", Selected: v.Access == "read-only"},
		{Value: "collections", Label: "Single collections", Hint: "Only the collections named below.", Selected: v.Access == "collections"},
	}}
}

func (v KeyFormView) collections() Field {
	return Field{Name: "collections", Label: "Collections", Type: "textarea", Value: v.Collections, Mono: true, Error: v.Errors["collections"], Focus: v.focus("collections"),
		Hint: "For a key to single collections: one a line, as products=read or events=read-write. At most 20."}
}

func (v KeyFormView) clusters() Checks {
	c := v.Clusters
	c.Error, c.Focus = v.Errors["clusters"], v.focus("clusters")
	return c
}

// KeySecretView is the one page that shows a key.
type KeySecretView struct {
	Page      Page
	Crumbs    []Link
	Name      string
	Cluster   string
	Secret    string
	Curl      string // tries the key, without the key in it; empty where the endpoint is not fit for a shell
	Admin     bool
	Access    []string
	ExpiresAt time.Time
	Old       string // the key that this one replaces
	OldHref   string // deletes it
	Back      string
}
