package templates

import "time"

// RadarView is the page of database keys over all accounts, by when they end.
type RadarView struct {
	Page     Page
	Tabs     []Tab
	Self     string
	Text     string
	Account  Select
	End      string // that the list is narrowed to; empty: none
	Ends     []RadarEnd
	Active   bool
	Rows     []RadarRow
	First    string
	Next     string
	Trouble  []RadarTrouble
	OldestAt time.Time // when those keys were listed that were listed longest ago; zero: none were
}

// RadarEnd is one of the times when keys end, with how many do.
type RadarEnd struct {
	Label, Href string
	Keys        int
	Current     bool
	Tone        string
}

// RadarTrouble is an account whose keys could not be read.
type RadarTrouble struct {
	Name, Href, Error string
	OKAt              time.Time
}

// RadarRow is a key.
type RadarRow struct {
	ID, Name, Mark       string
	Admin                bool
	ExpiresAt            time.Time // zero: never
	Opens                []Link    // the keys of each cluster that the member may read
	Hidden               int
	Access               []string
	Creator              string
	Here                 bool
	CreatedAt            time.Time
	Account, AccountHref string
	Environment          string
	ReadAt               time.Time
	Stale, Missing       bool
}

// RadarTones are the tones of when keys end, by its name in the address.
func RadarTones(end string) string {
	switch end {
	case "expired":
		return toneBad
	case "later":
		return toneOK
	}
	return toneWarn
}
