package templates

import "time"

// BreakGlassRow is a break-glass link that was printed, and the session that it gave.
type BreakGlassRow struct {
	Href        string
	User, Host  string // who ran the command
	Reason      string
	PrintedAt   time.Time
	UsableUntil time.Time
	UsedAt      *time.Time
	State       string     // live, usable, ended, unused
	Until       *time.Time // of the session that lives, or when it ended
	IP, Browser string     // of the session that lives
	LastSeen    *time.Time
	End         string // path posted to, while the session lives
}

// stateWord says what became of the link.
func (r BreakGlassRow) stateWord() string {
	switch r.State {
	case "live":
		return "In use"
	case "usable":
		return "Not used yet"
	case "unused":
		return "Never used"
	}
	return "Ended"
}

func (r BreakGlassRow) stateTone() string {
	switch r.State {
	case "live":
		return toneBad
	case "usable":
		return toneWarn
	}
	return toneOff
}

// BreakGlassLeftRow is something that was done with a link and outlives its session.
type BreakGlassLeftRow struct {
	What    string // in words
	Name    string
	Href    string // empty: the reader may not open it, or it is gone
	At      time.Time
	LogHref string
	Stands  bool
	Now     string // what is the case now, in words
	Undo    Link   // no Href: there is nothing to take back here
}

// BreakGlassUseView is the page of one link.
type BreakGlassUseView struct {
	Page    Page
	Crumbs  []Link
	Row     BreakGlassRow
	Left    []BreakGlassLeftRow
	Stand   int // how many of them count yet
	More    bool
	Others  int    // other changes
	LogHref string // empty: the reader may not read the log
}

// splitBreakGlass parts what can be used or is in use from what is over.
func splitBreakGlass(rows []BreakGlassRow) (now, past []BreakGlassRow) {
	for _, r := range rows {
		if r.State == "live" || r.State == "usable" {
			now = append(now, r)
		} else {
			past = append(past, r)
		}
	}
	return now, past
}

func leftTone(stands bool) string {
	if stands {
		return toneWarn
	}
	return toneOff
}
