package templates

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Tones of a state: how it is coloured. The word always stands beside the colour.
const (
	toneOK   = "tone-ok"
	toneBusy = "tone-busy"
	toneWarn = "tone-warn"
	toneBad  = "tone-bad"
	toneOff  = "tone-off"
)

// phaseTone is the tone of a cluster's phase, upper case without the enum's prefix.
func phaseTone(phase string) string {
	switch phase {
	case "HEALTHY":
		return toneOK
	case "CREATING", "UPDATING", "SCALING", "UPGRADING", "SUSPENDING", "RESUMING", "DELETING", "RESTARTING", "RESTORING", "BACKUP_RUNNING":
		return toneBusy
	case "NOT_READY", "RECOVERY_MODE", "MANUAL_MAINTENANCE", "UNKNOWN":
		return toneWarn
	case "SUSPENDED", "UNSPECIFIED", "":
		return toneOff
	case "NOT_FOUND":
		return toneBad
	}
	if strings.HasPrefix(phase, "FAILED_TO_") {
		return toneBad
	}
	return toneWarn // a word that this release does not know deserves a look
}

// nodeTone is the tone of a node's state.
func nodeTone(state string) string {
	switch state {
	case "HEALTHY":
		return toneOK
	case "STARTING", "RECOVERING":
		return toneBusy
	case "SUSPENDED", "":
		return toneOff
	case "UNHEALTHY":
		return toneBad
	}
	return toneWarn
}

// outcomeTone is the tone of an operation's status.
func outcomeTone(status string) string {
	switch status {
	case "ok":
		return toneOK
	case "failed", "denied":
		return toneBad
	case "pending":
		return toneBusy
	case "unknown":
		return toneWarn
	}
	return toneOff
}

// capabilityTone is the tone of a capability's status.
func capabilityTone(status string) string {
	switch strings.ToUpper(status) {
	case "ENABLED", "AVAILABLE", "SUPPORTED", "POSSIBLE":
		return toneOK
	case "":
		return toneOff
	}
	if strings.Contains(strings.ToUpper(status), "NOT") || strings.Contains(strings.ToUpper(status), "DIS") || strings.HasPrefix(strings.ToUpper(status), "UN") {
		return toneOff
	}
	return toneOK
}

// Words turns an upper case enum value into a sentence: NOT_READY becomes "Not ready". What is not
// such a value is returned as it is.
func Words(value string) string {
	if value == "" || strings.ToUpper(value) != value || strings.ContainsFunc(value, unicode.IsSpace) {
		return value
	}
	words := strings.ToLower(strings.ReplaceAll(value, "_", " "))
	first, size := utf8.DecodeRuneInString(words)
	return string(unicode.ToUpper(first)) + words[size:]
}

func phaseWord(phase string) string {
	if phase == "" {
		return "No state told"
	}
	return Words(phase)
}

// Ago says how long before now t was, in one unit rounded down, or how long after it. Scripts on the
// page repeat it every second with the same rule.
func Ago(now, t time.Time) string {
	words := span(now, t)
	switch {
	case words == "now":
		return words
	case now.Before(t):
		return "in " + words
	}
	return words + " ago"
}

// span is the length of time between now and t, in one unit: of what was rounded down, and of what is to come to the
// nearest, so that a week which has just begun is 7 days.
func span(now, t time.Time) string {
	s := int64(now.Sub(t).Abs() / time.Second)
	if s < 5 {
		return "now"
	}
	for _, u := range []struct {
		size int64
		unit string
	}{{31536000, "y"}, {2592000, "mo"}, {86400, "d"}, {3600, "h"}, {60, "min"}} {
		if s >= u.size {
			if t.After(now) {
				s += u.size / 2
			}
			return strconv.FormatInt(s/u.size, 10) + " " + u.unit
		}
	}
	return strconv.FormatInt(s, 10) + " s"
}

// exact is a time as people quote it.
func exact(t time.Time) string { return t.UTC().Format(exactLayout) }

const exactLayout = "2006-01-02 15:04:05 UTC"

// MiB says an amount of memory or disk. Zero, which means that nobody told, is a dash.
func MiB(n int64) string {
	switch {
	case n <= 0:
		return "–"
	case n < 1024:
		return fmt.Sprintf("%d MiB", n)
	case n < 1024*1024:
		return trimZero(float64(n)/1024) + " GiB"
	}
	return trimZero(float64(n)/1024/1024) + " TiB"
}

// CPU says an amount of processor in cores, from thousandths of one. Zero is a dash.
func CPU(milli int64) string {
	if milli <= 0 {
		return "–"
	}
	return trimZero(float64(milli)/1000) + " vCPU"
}

// Amount says a number with at most two decimals.
func Amount(n float64) string { return trimZero(n) }

func trimZero(n float64) string {
	s := strconv.FormatFloat(n, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Count says a number with its noun: "1 cluster", "1,204 clusters".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// CountCap is up to how many clusters are counted; a number above it says that there are more.
const CountCap = 2000

// CountUpTo is a count that may have stopped at the cap: "1,234", "2,000+".
func CountUpTo(n int) string {
	if n > CountCap {
		return thousands(CountCap) + "+"
	}
	return thousands(n)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	if n < 0 {
		return s
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// initials are one or two letters of a name, for the menu's button.
func initials(name string) string {
	fields := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	var out []rune
	for _, f := range fields {
		if len(out) == 2 {
			break
		}
		first, _ := utf8.DecodeRuneInString(f)
		out = append(out, unicode.ToUpper(first))
	}
	if len(out) == 0 {
		return "?"
	}
	return string(out)
}

// ActWords says what an act does, for headings: cluster.restart becomes "Restart cluster".
func ActWords(act string) string {
	kind, verb, ok := strings.Cut(act, ".")
	if !ok {
		return act
	}
	if act == "cluster.unsuspend" {
		verb = "resume" // as the buttons call it
	}
	return Words(strings.ToUpper(verb)) + " " + strings.ReplaceAll(kind, "_", " ")
}

// ItOrThem stands for n things of one kind.
func ItOrThem(n int) string { return pick(n == 1, "it", "them") }

func pick(when bool, yes, no string) string {
	if when {
		return yes
	}
	return no
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// isUUID reports whether s looks like a UUID in its usual spelling.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (c == '-') || !hyphen && !unicode.Is(unicode.ASCII_Hex_Digit, c) {
			return false
		}
	}
	return true
}

// nameParts cuts a name after its dots and slashes.
func nameParts(name string) []string {
	var parts []string
	for rest := name; rest != ""; {
		i := strings.IndexAny(rest, "./@=") + 1
		if i == 0 {
			i = len(rest)
		}
		parts, rest = append(parts, rest[:i]), rest[i:]
	}
	return parts
}

// fieldWords is a field of a change as people read it.
func fieldWords(field string) string { return strings.ReplaceAll(field, "_", " ") }

// capital is a word as it begins a sentence.
func capital(word string) string {
	first, size := utf8.DecodeRuneInString(word)
	return string(unicode.ToUpper(first)) + word[size:]
}

// Span says a length of time as people do where it is a round one: 10 minutes, 1 hour.
func Span(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		unit string
	}{{time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d >= u.size && d%u.size == 0 {
			return Count(int(d/u.size), u.unit)
		}
	}
	return d.String()
}
