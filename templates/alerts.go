package templates

import (
	"strings"
	"time"
)

// AlertsView is the page of alerts over all accounts.
type AlertsView struct {
	Page    Page
	Tabs    []Tab
	Self    string // path and query that show just this
	Text    string
	Selects []Select
	Active  bool
	Rows    []AlertRow
	First   string
	Next    string

	Firing, Resolved int // all that the member may see
	// Clusters is how many have alerts at all, Unread of how many they were never read, Failing of how many they could not all be read last.
	Clusters, Unread, Failing int
	OldestAt                  time.Time // when those were read that were read longest ago; zero: none were
}

// AlertRow is an alert.
type AlertRow struct {
	Severity             string // CRITICAL, WARNING, INFO, or upstream's word
	Firing               bool
	State                string
	Title, Description   string
	Type                 string
	Cluster, ClusterHref string
	ClusterID            string
	Account, AccountHref string
	Environment          string
	Since                time.Time
	LastFiringAt         time.Time
	ReadAt               time.Time
	Failed               bool // the cluster's alerts could not all be read last
}

// alertTone is the tone of an alert: that of its severity while it fires.
func alertTone(r AlertRow) string {
	if !r.Firing {
		return toneOff
	}
	switch r.Severity {
	case "CRITICAL":
		return toneBad
	case "INFO":
		return toneBusy
	}
	return toneWarn
}

// alertState names the state of an alert; one that is not known here is said as it came.
func alertState(r AlertRow) string {
	if r.State == "" {
		return "State not told"
	}
	return Words(r.State)
}

// severityWord names a severity; one that is not known here is said as it came.
func severityWord(severity string) string {
	if severity == "" {
		return "Not told"
	}
	return Words(severity)
}

// alertTitle is upstream's title, or its type in words.
func alertTitle(r AlertRow) string {
	if strings.TrimSpace(r.Title) != "" {
		return r.Title
	}
	if r.Type != "" {
		return Words(r.Type)
	}
	return "Alert"
}

// unreadWords says of how many clusters alerts were never read; empty when there are none.
func unreadWords(n int) string {
	if n == 0 {
		return ""
	}
	return CountUpTo(n) + plural(n, " cluster") + pick(n == 1, " was", " were") + " not read yet. "
}

// FiringCap is up to how many alerts the navigation counts.
const FiringCap = 99

// firingWord is how many alerts fire, for the navigation.
func firingWord(n int) string {
	if n > FiringCap {
		return "99+"
	}
	return thousands(n)
}
