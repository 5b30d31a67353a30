package accounts

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"quartermaster/internal/cloudapi"
)

// The rules of the Cloud API for what people type about clusters, from its published definitions
// (cluster.v1 and common.v1 of v0.173.0). They are checked here first, so that a mistake is told at its
// field and nothing is asked of upstream. Upstream has the last word.
const (
	maxClusterLabels = 10
	maxLabelKey      = 253 // characters
	maxLabelValue    = 1024
	maxIPRanges      = 40
	maxClusterNodes  = 1000 // more than any quota gives
	maxExtraDiskGiB  = 16384
)

var (
	clusterNamePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{2,64}$`)
	qualifiedName      = regexp.MustCompile(`^([a-z0-9A-Z]([-a-z0-9A-Z]*[a-z0-9A-Z])?(\.[a-z0-9A-Z]([-a-z0-9A-Z]*[a-z0-9A-Z])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$`)
	clusterVersion     = regexp.MustCompile(`^(v\d+\.\d+\.\d+|latest)$`)
)

// clusterNameProblem says what is wrong with a cluster's name; empty: nothing.
func clusterNameProblem(name string) string {
	if clusterNamePattern.MatchString(name) {
		return ""
	}
	return "2 to 64 letters, digits, - and _."
}

// costLabelProblem says what is wrong with a cost allocation label that is not empty.
func costLabelProblem(label string) string {
	if label == "" || len(label) <= maxLabelKey && qualifiedName.MatchString(label) {
		return ""
	}
	return "At most 253 letters, digits, -, _ and dots, with a letter or digit at both ends; a domain and / may stand before it."
}

// typedLines are the lines of a text field that hold something, without space around them.
func typedLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// parseLabels reads lines of key=value. problem says what is wrong, and in which line.
func parseLabels(text string) (labels []cloudapi.Label, problem string) {
	return parsePairs(text, maxClusterLabels, "labels")
}

// parsePairs reads at most so many lines of key=value, which people call what says.
func parsePairs(text string, most int, what string) (labels []cloudapi.Label, problem string) {
	lines := typedLines(text)
	if len(lines) > most {
		return nil, fmt.Sprintf("At most %d %s.", most, what)
	}
	for i, line := range lines {
		key, value, found := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !found:
			problem = "write key=value."
		case len(key) > maxLabelKey || !qualifiedName.MatchString(key):
			problem = "a key has at most 253 letters, digits, -, _ and dots, with a letter or digit at both ends; a domain and / may stand before it."
		case slices.ContainsFunc(labels, func(l cloudapi.Label) bool { return l.Key == key }):
			problem = "this key is there already."
		case textProblem(value, maxLabelValue, false) != "":
			problem = "a value has at most 1024 characters that print."
		}
		if problem != "" {
			return nil, fmt.Sprintf("Line %d: %s", i+1, problem)
		}
		labels = append(labels, cloudapi.Label{Key: key, Value: value})
	}
	return labels, ""
}

// labelLines is the reverse of parseLabels.
func labelLines(labels []cloudapi.Label) string {
	return strings.Join(pairTexts(labels), "\n")
}

// parseIPRanges reads lines of IPv4 ranges such as 192.0.2.0/24. A single address is a range of one.
func parseIPRanges(text string) (ranges []string, problem string) {
	lines := typedLines(text)
	if len(lines) > maxIPRanges {
		return nil, fmt.Sprintf("At most %d ranges.", maxIPRanges)
	}
	for i, line := range lines {
		prefix, err := netip.ParsePrefix(line)
		if address, failed := netip.ParseAddr(line); failed == nil {
			prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		switch {
		case err != nil || !prefix.Addr().Is4():
			problem = "write an IPv4 range, as in 192.0.2.0/24."
		case prefix != prefix.Masked():
			problem = fmt.Sprintf("the range begins at %s.", prefix.Masked())
		case slices.Contains(ranges, prefix.String()):
			problem = "this range is there already."
		}
		if problem != "" {
			return nil, fmt.Sprintf("Line %d: %s", i+1, problem)
		}
		ranges = append(ranges, prefix.String())
	}
	return ranges, ""
}

// countProblem says why a typed number is not one from least to most.
func countProblem(n, least, most int) string {
	if n < least || n > most {
		return fmt.Sprintf("A whole number from %d to %d.", least, most)
	}
	return ""
}

// versionProblem says what is wrong with a version that is not empty.
func versionProblem(version string) string {
	if version == "" || utf8.ValidString(version) && clusterVersion.MatchString(version) {
		return ""
	}
	return "Choose one of the versions."
}
