package accounts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/cloudapi"
)

func TestWhatIsTypedAboutClusters(t *testing.T) {
	for name, right := range map[string]bool{
		"ab": true, "A-1_b": true, strings.Repeat("n", 64): true,
		"": false, "a": false, strings.Repeat("n", 65): false, "a b": false, "a.b": false, "ab\n": false, "äb": false, "a'; touch x": false, "<b>": false,
	} {
		if got := clusterNameProblem(name) == ""; got != right {
			t.Errorf("name %q is right: %v, want %v", name, got, right)
		}
	}
	for label, right := range map[string]bool{
		"": true, "team": true, "example.com/team.a_b-c": true, "-team": false, "team-": false, "a/b/c": false, "te am": false, strings.Repeat("x", 254): false,
	} {
		if got := costLabelProblem(label) == ""; got != right {
			t.Errorf("cost label %q is right: %v, want %v", label, got, right)
		}
	}
	for version, right := range map[string]bool{"": true, "latest": true, "v1.15.4": true, "1.15.4": false, "v1.15": false, "v1.15.4\n": false} {
		if got := versionProblem(version) == ""; got != right {
			t.Errorf("version %q is right: %v, want %v", version, got, right)
		}
	}
}

func TestTypedLabels(t *testing.T) {
	labels, problem := parseLabels("\n team = search \r\nexample.com/tier=gold=yes\nempty=\n\n")
	want := []cloudapi.Label{{Key: "team", Value: "search"}, {Key: "example.com/tier", Value: "gold=yes"}, {Key: "empty"}}
	if diff := cmp.Diff(want, labels); problem != "" || diff != "" {
		t.Errorf("%s (-want +got)\n%s", problem, diff)
	}
	if again, _ := parseLabels(labelLines(labels)); cmp.Diff(want, again) != "" {
		t.Errorf("written and read again they are %v", again)
	}
	for text, line := range map[string]string{
		"team": "Line 1", "a=1\n=2": "Line 2", "a=1\nb=2\na=3": "Line 3", "-a=1": "Line 1", "a=\x01": "Line 1", "a=" + strings.Repeat("v", 1025): "Line 1",
		strings.Repeat("k", 254) + "=v": "Line 1", strings.Repeat("a=1\n", 11): "At most 10",
	} {
		if _, problem := parseLabels(text); !strings.HasPrefix(problem, line) {
			t.Errorf("%.40q: %q, want %q", text, problem, line)
		}
	}
}

func TestTypedRanges(t *testing.T) {
	ranges, problem := parseIPRanges("10.0.0.0/8\r\n 192.0.2.7 \n\n0.0.0.0/0")
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.0.2.7/32", "0.0.0.0/0"}, ranges); problem != "" || diff != "" {
		t.Errorf("%s (-want +got)\n%s", problem, diff)
	}
	for text, want := range map[string]string{
		"10.0.0.1/8": "Line 1: the range begins at 10.0.0.0/8.", "10.0.0.0/33": "Line 1", "::1/128": "Line 1", "010.0.0.0/8": "Line 1", "10.0.0.0/8\nhost": "Line 2",
		"10.0.0.0/8\n10.0.0.0/8": "Line 2: this range is there already.", strings.Repeat("10.0.0.0/8\n", 41): "At most 40",
	} {
		if _, problem := parseIPRanges(text); !strings.HasPrefix(problem, want) {
			t.Errorf("%.40q: %q, want %q", text, problem, want)
		}
	}
}
