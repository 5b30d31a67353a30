package templates

import "time"

// OutsideView is the list of changes that nobody made with this console.
type OutsideView struct {
	Page    Page
	Tabs    []Tab
	Account Select
	State   Select
	Active  bool // the list is narrowed
	Part    bool
	Rows    []OutsideRow
	First   string
	Next    string
}

// OutsideRow is one change.
type OutsideRow struct {
	Seq          int64
	Href         string
	What         string // created, changed or deleted, keys changed, more changed
	Cluster      string // or of how many the account is told
	ClusterHref  string
	Account      string
	NoticedAt    time.Time
	Reason       string
	Changes      []ChangeView
	Acknowledged *AcknowledgedView // nil: by nobody
}

// AcknowledgedView says who has looked at a change, and what they said.
type AcknowledgedView struct {
	By, Email, Note string
	At              time.Time
	Href            string // of the event
}

// OutsideChangeView is the page of one change, with the form that acknowledges it.
type OutsideChangeView struct {
	Page        Page
	Crumbs      []Link
	Change      OutsideRow
	EventHref   string
	HistoryHref string
	Action      string // where the form goes; empty when it is not offered
	Reason      string // why not
	Note        string // as typed
	Errors      map[string]string
}

// outsideTone is the tone of a kind of change.
func outsideTone(what string) string {
	switch what {
	case "deleted":
		return toneBad
	case "created":
		return toneBusy
	}
	return toneWarn
}
