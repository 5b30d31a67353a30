package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"quartermaster/internal/cloudapi"
)

const (
	rulesFile     = "../../deploy/prometheus/quartermaster.rules.yml"
	dashboardFile = "../../deploy/prometheus/dashboard.json"
	operationsDoc = "../../docs/operations.md"
)

// series is what a scrape tells of one metric: the values of each label.
type series map[string]map[string]bool

// scrape reads a metrics address.
func scrape(t *testing.T, address string, into map[string]series) {
	t.Helper()
	answer := newVisitor(t, "http://"+address).get("/metrics")
	line := regexp.MustCompile(`(?m)^([a-z_][a-z0-9_]*)(?:\{(.*)\})? [^ ]+$`)
	label := regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
	for _, m := range line.FindAllStringSubmatch(answer.body, -1) {
		if into[m[1]] == nil {
			into[m[1]] = series{}
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if into[m[1]][l[1]] == nil {
				into[m[1]][l[1]] = map[string]bool{}
			}
			into[m[1]][l[1]][l[2]] = true
		}
	}
}

// TestAlertsAndDashboardSpeakOfWhatIsThere scrapes the running program, once with a certificate of its
// own and once in use, and holds rules, dashboard and operations guide against what it tells.
func TestAlertsAndDashboardSpeakOfWhatIsThere(t *testing.T) {
	s := prepareServe(t)
	metrics := freeAddress(t)
	found := map[string]series{}
	plain, probe := s.base, s.probe
	s.base = strings.Replace(s.base, "http://", "https://", 1)
	s.start(s.with(nil, append(s.serveTLS(), "QM_METRICS_ADDR", metrics, "QM_BASE_URL", s.base)...))
	scrape(t, metrics, found)
	s.stop()
	s.base, s.probe = plain, probe
	s.start(s.with(nil, "QM_METRICS_ADDR", metrics))
	s.works()
	scrape(t, metrics, found)
	for name, want := range map[string]string{"qm_database_up": "", "qm_state_accounts": "ok", "qm_audit_events_total": "written", "qm_sign_ins_total": "ok", "qm_task_failures_total": ""} {
		if found[name] == nil || want != "" && !slices.ContainsFunc(slices.Collect(maps.Values(found[name])), func(v map[string]bool) bool { return v[want] }) {
			t.Errorf("%s is not scraped, or not with %q: %v", name, want, found[name])
		}
	}
	rules := readText(t, rulesFile)
	for _, e := range rulesExpressions(rules) {
		speaksOf(t, "the rules", e, found, rules)
	}
	expressions := dashboardExpressions(t)
	if len(expressions) < 20 {
		t.Errorf("the dashboard has only %d expressions", len(expressions))
	}
	for _, e := range expressions {
		speaksOf(t, "the dashboard", e, found, rules)
	}
	guide := readText(t, operationsDoc)
	for name := range found {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "qm_") && !strings.Contains(guide, "`"+base+"`") {
			t.Errorf("docs/operations.md does not explain %s", base)
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// rulesExpressions cuts the expressions out of the rules file; promtool reads it properly.
func rulesExpressions(rules string) []string {
	var found []string
	for _, part := range regexp.MustCompile(`(?m)^ +expr: `).Split(rules, -1)[1:] {
		end := regexp.MustCompile(`(?m)^ +(- record|- alert|for|labels|annotations|- name):`).FindStringIndex(part)
		if end == nil {
			end = []int{len(part)}
		}
		found = append(found, part[:end[0]])
	}
	return found
}

func dashboardExpressions(t *testing.T) []string {
	t.Helper()
	var board struct {
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, dashboardFile)), &board); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range board.Panels {
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("the panel %q says nothing of itself or shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			found = append(found, target.Expr)
		}
	}
	return found
}

// speaksOf checks names, labels and closed sets of label values in an expression.
func speaksOf(t *testing.T, where, expression string, found map[string]series, rules string) {
	t.Helper()
	selector := regexp.MustCompile(`(quartermaster:[a-z0-9_:]+|\b(?:qm|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	ofPrometheus := map[string]bool{"job": true, "instance": true, "le": true}
	labels := map[string]bool{}
	for _, m := range selector.FindAllStringSubmatch(expression, -1) {
		name := m[1]
		if strings.HasPrefix(name, "quartermaster:") {
			if !strings.Contains(rules, "record: "+name+"\n") {
				t.Errorf("%s speak of %s, which no rule records", where, name)
			}
			continue
		}
		if found[name] == nil {
			t.Errorf("%s speak of %s, which the program does not tell", where, name)
			continue
		}
		for l := range found[name] {
			labels[l] = true
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if ofPrometheus[l[1]] {
				continue
			}
			values := found[name][l[1]]
			if values == nil {
				t.Errorf("%s ask for %s by %s, which it does not have", where, name, l[1])
			}
			switch {
			case l[1] == "kind":
				for _, kind := range strings.Split(l[3], "|") {
					if !slices.Contains(upstreamKinds, kind) {
						t.Errorf("%s ask for the kind %q, which no answer of the Cloud API has", where, kind)
					}
				}
			case l[2] == "=" && !values[l[3]]:
				t.Errorf("%s ask for %s with %s=%q; there are %v", where, name, l[1], l[3], slices.Sorted(maps.Keys(values)))
			}
		}
	}
	for _, m := range regexp.MustCompile(`\bby \(([^)]*)\)`).FindAllStringSubmatch(expression, -1) {
		for _, l := range strings.Split(m[1], ",") {
			if l = strings.TrimSpace(l); !labels[l] && !ofPrometheus[l] {
				t.Errorf("%s group by %s, which nothing in %s has", where, l, expression)
			}
		}
	}
}

// upstreamKinds are the values of the label kind of qm_upstream_requests_total.
var upstreamKinds = []string{
	"ok", "held_back", string(cloudapi.Unauthenticated), string(cloudapi.Forbidden), string(cloudapi.NotFound), string(cloudapi.Invalid),
	string(cloudapi.Conflict), string(cloudapi.RateLimited), string(cloudapi.Unavailable), string(cloudapi.Malformed),
}

// TestEveryAlertHasARunbook follows each alert to its section of the guide, and each link of the guide
// to what it names.
func TestEveryAlertHasARunbook(t *testing.T) {
	rules, guide := readText(t, rulesFile), readText(t, operationsDoc)
	anchors := anchorsOf(guide)
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(alerts) < 10 {
		t.Fatalf("only %d alerts found", len(alerts))
	}
	for _, a := range alerts {
		want := "docs/operations.md#" + strings.ToLower(a[1])
		if !strings.Contains(rules, "runbook: "+want+"\n") || !anchors[strings.ToLower(a[1])] {
			t.Errorf("%s does not lead to a section of docs/operations.md", a[1])
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(guide, -1) {
		target := guide
		if m[1] != "" {
			if strings.Contains(m[1], "://") {
				continue
			}
			content, err := os.ReadFile("../../docs/" + m[1])
			if err != nil {
				t.Errorf("a link of the guide leads nowhere: %s", m[0])
				continue
			}
			target = string(content)
		}
		if m[2] != "" && !anchorsOf(target)[m[2]] {
			t.Errorf("a link of the guide leads to no heading: %s", m[0])
		}
	}
}

// TestLogLinesOfTheGuideAreWritten looks in the source for each line that the guide has people watch for: whoever
// words one anew must not silence somebody's alert.
func TestLogLinesOfTheGuideAreWritten(t *testing.T) {
	_, section, _ := strings.Cut(readText(t, operationsDoc), "\n## Log lines\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var source strings.Builder
	for _, root := range []string{".", "../../internal"} {
		if err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				source.WriteString(readText(t, path))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	lines := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*`) \\| (?:ERROR|WARN) \\|").FindAllStringSubmatch(section, -1) {
		for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			lines++
			if !strings.Contains(source.String(), `"`+text[1]) {
				t.Errorf("docs/operations.md tells of a line that nothing writes: %s", text[1])
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines found in docs/operations.md", lines)
	}
}

// anchorsOf are the anchors that a site makes of a document's headings.
func anchorsOf(markdown string) map[string]bool {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(markdown, -1) {
		text := strings.ToLower(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(m[1], ""))
		found[strings.ReplaceAll(text, " ", "-")] = true
	}
	return found
}
