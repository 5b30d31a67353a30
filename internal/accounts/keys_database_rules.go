package accounts

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"quartermaster/internal/cloudapi"
)

// The rules of the Cloud API for database keys (cluster.auth.v2 of v0.173.0), checked here first, so
// that a mistake is told at its field and nothing is asked of upstream. Of white space a name may hold
// the space only: what else upstream takes cannot be seen in a list.
const (
	maxKeyDays        = 3650
	maxKeyCollections = 20

	// DefaultKeyDays is how long a key lives unless somebody says otherwise.
	DefaultKeyDays = 90
)

var (
	keyNamePattern        = regexp.MustCompile(`^[\w -]{4,128}$`)
	collectionNamePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,255}$`)
	daysPattern           = regexp.MustCompile(`^[0-9]{1,5}$`)
)

// What a key may do, as forms say it.
const (
	KeyManages       = "manage"
	KeyReads         = "read-only"
	KeyOfCollections = "collections"
)

// How a line says what a key may do with one collection.
const (
	lineReads  = "read"
	lineWrites = "read-write"
)

// NewKey is what a member gives to make a key of a cluster: name, end and access of one with a name,
// clusters of an admin key.
type NewKey struct {
	Name          string
	ExpiresInDays *string // as typed: empty is never, nil is that the form did not ask
	Access        string  // KeyManages, KeyReads or KeyOfCollections
	Collections   string  // lines name=read or name=read-write
	Clusters      []string
	FormToken     string
}

// asked is what the Cloud API is asked for, or *InvalidError.
func (n NewKey) asked(cluster string, now time.Time) (cloudapi.NewDatabaseKey, error) {
	invalid := map[string]string{}
	say := func(field, problem string) {
		if problem != "" {
			invalid[field] = problem
		}
	}
	key := cloudapi.NewDatabaseKey{Cluster: cluster, Name: strings.TrimSpace(n.Name)}
	say("name", keyNameProblem(key.Name))
	var problem string
	key.ExpiresAt, problem = keyEnd(n.ExpiresInDays, now)
	say("expires_in_days", problem)
	var field string
	key.Access, field, problem = keyAccess(n.Access, n.Collections)
	say(field, problem)
	if len(invalid) > 0 {
		return cloudapi.NewDatabaseKey{}, &InvalidError{Fields: invalid}
	}
	return key, nil
}

func keyNameProblem(name string) string {
	if keyNamePattern.MatchString(name) {
		return ""
	}
	return "A name has 4 to 128 letters, digits, spaces, - and _."
}

// keyEnd reads in how many days a key ends. Empty is never; a form that does not say is not taken for
// a wish that the key never ends.
func keyEnd(days *string, now time.Time) (end time.Time, problem string) {
	if days == nil {
		return time.Time{}, "Say when the key ends: a number of days, or nothing for never."
	}
	if *days == "" {
		return time.Time{}, ""
	}
	n, err := strconv.Atoi(*days)
	if err != nil || !daysPattern.MatchString(*days) || n < 1 || n > maxKeyDays {
		return time.Time{}, fmt.Sprintf("Give a whole number of days from 1 to %d, or nothing for a key that never ends.", maxKeyDays)
	}
	return now.UTC().Truncate(time.Second).AddDate(0, 0, n), ""
}

// keyAccess reads what a key may do; field is the one that problem is about.
func keyAccess(access, collections string) (granted cloudapi.KeyAccess, field, problem string) {
	if access != KeyOfCollections && len(typedLines(collections)) > 0 && (access == KeyManages || access == KeyReads) {
		// Somebody who named collections must not get a key to all of them.
		return granted, "collections", "Only for a key to single collections: choose that above, or empty this field."
	}
	switch access {
	case KeyManages:
		return cloudapi.KeyAccess{Global: cloudapi.AccessManage}, "", ""
	case KeyReads:
		return cloudapi.KeyAccess{Global: cloudapi.AccessReadOnly}, "", ""
	case KeyOfCollections:
		granted.Collections, problem = parseCollections(collections)
		return granted, "collections", problem
	}
	return granted, "access", "Choose what the key may do."
}

// parseCollections reads lines of name=read or name=read-write.
func parseCollections(text string) (rules []cloudapi.CollectionAccess, problem string) {
	lines := typedLines(text)
	switch {
	case len(lines) == 0:
		return nil, "Name at least one collection."
	case len(lines) > maxKeyCollections:
		return nil, fmt.Sprintf("At most %d collections.", maxKeyCollections)
	}
	for i, line := range lines {
		name, may, _ := strings.Cut(line, "=")
		rule := cloudapi.CollectionAccess{Collection: strings.TrimSpace(name), Access: collectionAccessOf(strings.TrimSpace(may))}
		switch {
		case rule.Access == "":
			problem = "write name=read or name=read-write."
		case !collectionNamePattern.MatchString(rule.Collection):
			problem = "a collection's name has at most 255 letters, digits, -, _ and dots."
		case slices.ContainsFunc(rules, func(r cloudapi.CollectionAccess) bool { return r.Collection == rule.Collection }):
			problem = "this collection is there already."
		}
		if problem != "" {
			return nil, fmt.Sprintf("Line %d: %s", i+1, problem)
		}
		rules = append(rules, rule)
	}
	return rules, ""
}

func collectionAccessOf(typed string) string {
	switch typed {
	case lineReads:
		return cloudapi.AccessReadOnly
	case lineWrites:
		return cloudapi.AccessReadWrite
	}
	return ""
}

// accessLines tells what a key may do as forms and the log spell it.
func accessLines(a cloudapi.KeyAccess) []string {
	var lines []string
	switch a.Global {
	case "":
	case cloudapi.AccessManage:
		lines = append(lines, KeyManages)
	case cloudapi.AccessReadOnly:
		lines = append(lines, KeyReads)
	default:
		lines = append(lines, a.Global)
	}
	for _, c := range a.Collections {
		may := c.Access
		switch c.Access {
		case cloudapi.AccessReadOnly:
			may = lineReads
		case cloudapi.AccessReadWrite:
			may = lineWrites
		}
		lines = append(lines, c.Collection+"="+may)
	}
	if a.Unreadable {
		lines = append(lines, "unknown")
	}
	return lines
}

// repeatable reports whether all of what a key may do is understood here, so that another with the
// same rules can be asked for.
func repeatable(a cloudapi.KeyAccess) bool {
	if a.Unreadable || len(a.Collections) > maxKeyCollections || (a.Global == "") == (len(a.Collections) == 0) {
		return false
	}
	if a.Global != "" && a.Global != cloudapi.AccessManage && a.Global != cloudapi.AccessReadOnly {
		return false
	}
	return !slices.ContainsFunc(a.Collections, func(c cloudapi.CollectionAccess) bool {
		return c.Access != cloudapi.AccessReadOnly && c.Access != cloudapi.AccessReadWrite || !collectionNamePattern.MatchString(c.Collection)
	})
}

// LifetimeDays is for how many days a key was made, as the form of its successor says it; empty for
// one that never ends.
func LifetimeDays(k cloudapi.DatabaseKey) string {
	if k.ExpiresAt.IsZero() {
		return ""
	}
	if k.CreatedAt.IsZero() {
		return strconv.Itoa(DefaultKeyDays)
	}
	days := int((k.ExpiresAt.Sub(k.CreatedAt) + 12*time.Hour) / (24 * time.Hour))
	return strconv.Itoa(min(max(days, 1), maxKeyDays))
}
