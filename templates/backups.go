package templates

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// BackupsView is the page of clusters over all accounts by how their backups stand.
type BackupsView struct {
	Page     Page
	Tabs     []Tab
	Self     string // path and query that show just this
	Text     string
	State    string // that the list is narrowed to; empty: none
	States   []BackupsState
	Selects  []Select
	Active   bool
	Rows     []BackupsRow
	First    string
	Next     string
	Unread   int // clusters whose backups were not listed yet
	Trouble  []RadarTrouble
	OldestAt time.Time // when those were listed that were listed longest ago; zero: none were
}

// BackupsState is one of the ways clusters stand with their backups, with how many do.
type BackupsState struct {
	Label, Href string
	Clusters    int
	Current     bool
	Tone        string
}

// BackupsRow is a cluster.
type BackupsRow struct {
	Cluster, Href        string // of its backups
	ClusterID            string
	Account, AccountHref string
	Environment          string
	Stands               BackupsStand
	Schedules            []ScheduleLine // the first few
	MoreSchedules        int            // how many more there are; more than 97: so many at least
	SchedulesHidden      bool           // the member may not read them here
	ReadAt               time.Time
	Stale                bool
}

// BackupsStand is how a cluster stands with its backups.
type BackupsStand struct {
	Legacy      bool   // its API has none
	Unsupported string // why upstream offers it none; empty: it does
	Unread      bool
	Production  bool

	None, Failed, Overdue, Unscheduled bool

	LastAt     time.Time // of the newest that has ended
	LastStatus string
	LastOKAt   time.Time // of the newest that succeeded; zero: none did
	Running    int
	DueAt      time.Time // when the one should have come that is overdue
}

// ScheduleLine is a schedule in few words.
type ScheduleLine struct {
	Cron, Status string
	Next         time.Time // zero: not known, or never
}

// ClusterBackupsView is the page of the backups of a cluster.
type ClusterBackupsView struct {
	Page            Page
	Crumbs          []Link
	Tabs            []Tab
	Self            string
	AccountID       string
	Cluster         string
	Gone            bool
	Lacking         string // why its API has none; empty: it has
	Stands          BackupsStand
	ReadAt          time.Time // zero: never
	Stale           bool
	Error           string // why the last listing failed or is not whole
	Schedules       []BackupScheduleRow
	MoreSchedules   bool   // there are others
	SchedulesHidden string // why schedules are not told; empty: they are
	Rows            []BackupRow
	First           string
	Next            string
}

// BackupRow is a backup.
type BackupRow struct {
	ID, Name, StoredAs string
	Status             string
	CreatedAt          time.Time
	DeletedAt          time.Time
	Took               time.Duration // 0: it has not ended, or is not told
	KeptUntil          time.Time     // zero: until somebody deletes it
	ByHand             bool
	Schedule           string // name of the one that made it; empty where it is not told
}

// BackupScheduleRow is a schedule.
type BackupScheduleRow struct {
	ID, Name, Cron, Status string
	Next                   time.Time // zero: not known, or never
	LastRunAt              time.Time
	Retention              time.Duration // 0: until somebody deletes them
	DeletedAt              time.Time
}

// toned is a word with the tone of its state.
type toned struct{ tone, word string }

// states are the words for how a cluster stands, the worst first.
func (s BackupsStand) states() []toned {
	var out []toned
	add := func(is bool, tone, word string) {
		if is {
			out = append(out, toned{tone, word})
		}
	}
	switch {
	case s.Legacy || s.Unsupported != "":
		return []toned{{toneOff, "Not offered"}}
	case s.Unread:
		return []toned{{toneOff, "Not listed yet"}}
	}
	add(s.None && !s.untold(), pick(s.Production, toneBad, toneWarn), "No backup")
	add(s.untold(), toneWarn, "Backups not known")
	add(s.Failed && !s.untold(), backupTone(s.LastStatus), pick(backupTone(s.LastStatus) == toneBad, "Last failed", "Last: "+strings.ToLower(backupWord(s.LastStatus))))
	add(s.Overdue, toneWarn, "Overdue")
	add(s.Unscheduled, toneWarn, "No schedule")
	add(len(out) == 0, toneOK, "Backed up")
	add(s.Running > 0, toneBusy, "Being made")
	return out
}

// untold reports whether nobody knows of a backup that succeeded because the region does not tell: there may be one.
func (s BackupsStand) untold() bool { return s.None && s.LastStatus == "UNKNOWN" }

// why says what stands behind a state where the word is not enough.
func (s BackupsStand) why() string {
	switch {
	case s.Legacy:
		return "The legacy API has no backups."
	case s.Unsupported != "":
		return s.Unsupported
	case s.None && s.LastStatus != "" && !s.Failed:
		return "The last one: " + strings.ToLower(backupWord(s.LastStatus)) + "."
	}
	return ""
}

// BackupTones are the tones of the ways clusters stand, by their names in the address.
func BackupTones(state string) string {
	switch state {
	case "none", "failed":
		return toneBad
	case "fine":
		return toneOK
	case "unable":
		return toneOff
	}
	return toneWarn
}

// moreSchedules counts the schedules of a cluster that are not listed.
func moreSchedules(n int) string {
	if n > 97 {
		return "at least " + strconv.Itoa(n) + " more"
	}
	return strconv.Itoa(n) + " more"
}

// backupTone is the tone of a backup's status.
func backupTone(status string) string {
	switch status {
	case "SUCCEEDED":
		return toneOK
	case "RUNNING":
		return toneBusy
	case "FAILED", "FAILED_TO_SYNC", "NOT_FOUND":
		return toneBad
	}
	return toneWarn
}

// backupWord names a backup's status.
func backupWord(status string) string {
	switch status {
	case "", "UNSPECIFIED":
		return "Not told"
	case "NOT_FOUND":
		return "Missing in its region"
	case "UNKNOWN":
		return "Region does not tell"
	}
	return Words(status)
}

// backupExplained says what a status means, where the word is not enough.
func backupExplained(status string) string {
	switch status {
	case "SKIPPED":
		return "It had nothing suitable to back up."
	case "FAILED_TO_SYNC":
		return "An error in the cluster's region."
	}
	return ""
}

// scheduleTone is the tone of a schedule's status.
func scheduleTone(status string) string {
	switch status {
	case "ACTIVE":
		return toneOK
	case "DISABLED":
		return toneOff
	case "FAILED_TO_SYNC", "NOT_FOUND":
		return toneBad
	}
	return toneWarn
}

// scheduleWord names a schedule's status.
func scheduleWord(status string) string {
	switch status {
	case "", "UNSPECIFIED":
		return "Not told"
	case "NOT_FOUND":
		return "Missing in its region"
	}
	return Words(status)
}

// tookWords is a length of time in at most two units.
func tookWords(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d <= 0:
		return "–"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// keptWords is for how long backups are kept.
func keptWords(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "until somebody deletes them"
	case d%day == 0:
		return Count(int(d/day), "day")
	}
	return Span(d)
}

var weekdayNames = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

// cronWords says a schedule in words where it is one of the usual kinds; else nothing.
func cronWords(cron string) string {
	cron = strings.TrimSpace(cron)
	switch cron {
	case "@hourly":
		return "every hour"
	case "@daily":
		cron = "0 0 * * *"
	case "@weekly":
		cron = "0 0 * * 0"
	case "@monthly":
		cron = "0 0 1 * *"
	}
	if length, is := strings.CutPrefix(cron, "@every "); is {
		if d, err := time.ParseDuration(length); err == nil && d > 0 {
			return "every " + Span(d)
		}
		return ""
	}
	f := strings.Fields(cron)
	if len(f) != 5 || f[3] != "*" {
		return ""
	}
	number := func(text string, most int) (int, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= 0 && n <= most
	}
	minute, ok := number(f[0], 59)
	if !ok {
		return ""
	}
	if f[1] == "*" && f[2] == "*" && f[4] == "*" {
		return fmt.Sprintf("every hour at minute %d", minute)
	}
	hour, ok := number(f[1], 23)
	if !ok {
		return ""
	}
	at := fmt.Sprintf(" at %02d:%02d UTC", hour, minute)
	switch {
	case f[2] == "*" && f[4] == "*":
		return "every day" + at
	case f[2] == "*":
		if weekday, ok := number(f[4], 7); ok {
			return "every " + weekdayNames[weekday] + at
		}
	case f[4] == "*":
		if of, ok := number(f[2], 31); ok && of > 0 {
			return fmt.Sprintf("on day %d of each month%s", of, at)
		}
	}
	return ""
}
