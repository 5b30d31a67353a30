package templates

import "time"

// HistoryView is the page of what was done to a cluster and its keys.
type HistoryView struct {
	Page    Page
	Crumbs  []Link
	Tabs    []Tab
	Cluster string
	Legacy  bool
	Gone    bool
	Untold  *UntoldView // nil: nothing
	Rows    []HistoryRow
	First   string
	Next    string
}

// UntoldView says how many changes made outside are not among the rows.
type UntoldView struct {
	Changes         int
	FirstAt, LastAt time.Time
}

// HistoryRow is one operation.
type HistoryRow struct {
	Act      string
	Href     string // of the event in the log, for those who may read it there; else empty
	Outcome  string
	Reason   string
	Inferred bool
	By       string
	Email    string
	Via      string
	At       time.Time
	Key      string // the key that it was done to; empty for the cluster itself
	Changes  []ChangeView
}

// fewChanges is how many changed fields a row of the history shows at once.
const fewChanges = 3

// historyAct says what was done. What was found changed elsewhere is no act of anybody's here.
func historyAct(act string) string {
	switch act {
	case "cluster.changed_outside":
		return "Changed outside this console"
	case "cluster.keys_changed_outside":
		return "Keys changed outside this console"
	case "account.changed_outside":
		return "More changed outside this console"
	case "cluster.acknowledge_outside":
		return "Acknowledged a change made outside"
	}
	return ActWords(act)
}
