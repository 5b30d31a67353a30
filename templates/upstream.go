package templates

import (
	"strconv"
	"time"
)

// UpstreamView is the page of how calls to the Cloud API go, by account.
type UpstreamView struct {
	Page  Page
	Rows  []UpstreamRow
	Shown bool // whether the list can be narrowed
	Text  string
	State Select
	Total int // that match
	All   int // that the member may see
	First string
	Next  string
}

// UpstreamRow is one account.
type UpstreamRow struct {
	ID, Name, Href string
	Legacy         bool
	Enabled        bool
	KeyRefused     string
	OKAt           *time.Time
	Error          string
	Stale          bool
	Beside         []UpstreamKind // what is read beside clusters

	Called      bool   // this console has called for it in the last hour; the rest is empty otherwise
	Breaker     string // closed, half_open, open
	RetryAt     time.Time
	InARow      int
	UnderWay    int
	Waiting     int
	LastMinute  int
	MostAMinute int // 0: any number
	Requests    int
	Failed      int
	AnsweredAt  time.Time
	Recent      []UpstreamFailure
}

// UpstreamKind is how one kind of what is read beside clusters is read.
type UpstreamKind struct {
	Kind    string
	OKAt    time.Time // zero: never
	Failing bool
	Error   string // also of a reading that was not whole; empty when all is well
}

// UpstreamFailure is a call that failed.
type UpstreamFailure struct {
	At      time.Time
	Op      string
	Kind    string
	Status  int
	Words   string
	TraceID string
}

// state is the tone and word of how calls go.
func (r UpstreamRow) state() (tone, word string) {
	switch {
	case !r.Enabled:
		return toneOff, "Disabled"
	case !r.Called:
		return toneOff, "Not called lately"
	case r.Breaker == "open":
		return toneBad, "Calls rest"
	case r.Breaker == "half_open":
		return toneWarn, "To be tried"
	case r.KeyRefused != "":
		return toneBad, "Key refused"
	case r.InARow > 0:
		return toneWarn, "Failing"
	case r.slowedDown():
		return toneWarn, "Told to slow down"
	}
	return toneOK, "Answering"
}

// explains says what the state means, where the word is not enough.
func (r UpstreamRow) explains() string {
	switch {
	case !r.Enabled || !r.Called:
		return ""
	case r.Breaker == "open":
		return "After " + strconv.Itoa(r.InARow) + " failures in a row nothing is sent until " + r.RetryAt.UTC().Format("15:04:05") + " UTC."
	case r.Breaker == "half_open":
		return "The next call finds out whether it answers again."
	case r.KeyRefused != "":
		return r.KeyRefused
	case r.InARow > 0:
		return strconv.Itoa(r.InARow) + " in a row failed; after five, calls rest."
	}
	return ""
}

// slowedDown reports whether the latest answer was that there are too many calls.
func (r UpstreamRow) slowedDown() bool {
	return len(r.Recent) > 0 && r.Recent[0].Kind == "rate_limited" && !r.Recent[0].At.Before(r.AnsweredAt)
}

func (r UpstreamRow) budget() string {
	if r.MostAMinute == 0 {
		return thousands(r.LastMinute)
	}
	return thousands(r.LastMinute) + " of " + thousands(r.MostAMinute)
}

func (f UpstreamFailure) what() string {
	what := f.Op + ": " + spaced(f.Kind)
	if f.Status != 0 {
		what += ", HTTP " + strconv.Itoa(f.Status)
	}
	return what
}

func spaced(kind string) string {
	b := []byte(kind)
	for i := range b {
		if b[i] == '_' {
			b[i] = ' '
		}
	}
	return string(b)
}
