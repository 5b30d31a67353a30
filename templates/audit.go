package templates

import (
	"strings"
	"time"
)

// AuditView is the list of operations.
type AuditView struct {
	Page     Page
	Tabs     []Tab
	Filter   AuditFilter
	Rows     []AuditRow
	First    string
	Next     string
	Notes    []string
	Warnings []string
	Exports  []Offer // of what is listed, as files
	Part     bool    // the member sees a part of the log, which cannot be checked as a whole
}

// AuditFilter is what the list is narrowed by, as it was typed.
type AuditFilter struct {
	Text, Member, From, To string
	Account, Act, Outcome  Select
	Errors                 map[string]string // by field
	Active                 bool
}

// AuditRow is one operation: how it ended, or its attempt while it is open.
type AuditRow struct {
	Seq        int64
	Href       string
	RecordedAt time.Time
	Act        string
	Outcome    string
	Reason     string
	Count      int
	Inferred   bool
	Actor      ActorView
	Account    string
	TargetKind string
	TargetName string
	TargetHref string
}

// ActorView is who acted.
type ActorView struct {
	Name, Email, Subject, Issuer string
	Roles                        []string
	Via                          string
	Session                      string
	IP, UserAgent                string
}

// Shown is how the actor is named in a list.
func (a ActorView) Shown() string {
	switch {
	case a.Name != "":
		return a.Name
	case a.Email != "":
		return a.Email
	case a.Subject != "":
		return a.Subject
	}
	return "nobody signed in"
}

// Key identifies the actor in data-actor: the e-mail address, or the subject where there is none.
func (a ActorView) Key() string {
	if a.Email != "" {
		return a.Email
	}
	return a.Subject
}

// EventView is the page of one event.
type EventView struct {
	Page       Page
	Crumbs     []Link
	Seq        int64
	ID         string
	Act        string
	Phase      string
	Outcome    string
	Reason     string
	Count      int
	Inferred   bool
	At         time.Time
	RecordedAt time.Time
	Operation  string
	Parent     string
	RequestID  string
	Actor      ActorView

	AccountID, AccountName           string
	TargetKind, TargetID, TargetName string
	RPC, KeyID, TraceID              string
	UpstreamStatus                   int
	LatencyMS                        int64
	Changes                          []ChangeView
	Verified                         bool
	Proof                            string
	Leaf, Chain                      string
	Body                             string
	Others                           []EventRow
	Part                             bool       // as AuditView has it
	Check                            *CheckView // of the whole log; nil until somebody asks for it
}

// stepWords says what a step of an operation tells.
func stepWords(phase string) string {
	switch phase {
	case "attempt":
		return "what was about to be asked for"
	case "outcome":
		return "how Qdrant Cloud answered"
	case "settled":
		return "how the work ended that went on after the answer"
	}
	return ""
}

// LogCheckView is the page that checks the whole log.
type LogCheckView struct {
	Page   Page
	Crumbs []Link
	Check  *CheckView  // nil until somebody asks for it
	Known  *TablesView // what the console found by itself; nil when it is nothing
}

// TablesView is what comparing the tables with the log found.
type TablesView struct {
	Accounts, Keys, Grants, Roles, Blocks int
	At                                    time.Time
	Took                                  string
	Problems                              []UnexplainedRow
	More                                  int // problems beyond those listed
}

// UnexplainedRow is one row that the log does not explain.
type UnexplainedRow struct {
	Kind, Name, What string
	Seq              int64  // of the event that speaks of it; 0 for none
	Href             string // of that event
	Withheld         bool   // it counts for nothing
}

// sentence is what is wrong, as a sentence.
func (r UnexplainedRow) sentence() string {
	if r.What == "" {
		return ""
	}
	return strings.ToUpper(r.What[:1]) + r.What[1:] + ". "
}

func (v TablesView) problems() int { return len(v.Problems) + v.More }

func (v TablesView) result() string { return pick(v.problems() > 0, "problems", "ok") }

// CheckView is what a check of the whole log found.
type CheckView struct {
	TooLong     bool // it was given up: nothing else but Took is set
	Events      int64
	First, Last int64
	Chain       string // the last chain value, in hexadecimal digits
	At          time.Time
	Took        string
	Problems    []ProblemView
	More        int64 // problems beyond those listed
	Tables      *TablesView
}

// ProblemView is one place where the log does not add up.
type ProblemView struct {
	Seq  int64
	Href string
	What string
}

func (v CheckView) problems() int { return len(v.Problems) + int(v.More) }

func (v CheckView) result() string {
	switch {
	case v.TooLong:
		return "too-long"
	case v.problems() > 0:
		return "problems"
	}
	return "ok"
}

// ChangeView is one field before and after.
type ChangeView struct{ Field, Before, After string }

// EventRow is one event of an operation.
type EventRow struct {
	Seq        int64
	Href       string
	Phase      string
	Outcome    string
	RecordedAt time.Time
	Reason     string
	Current    bool
}
