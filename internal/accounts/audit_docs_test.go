package accounts

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const eventsDoc = "../../docs/audit-events.md"

// TestAuditEventsDoc fails when docs/audit-events.md is not what the act table, the list of fields
// and the columns of an export make. `make docs` writes it anew.
func TestAuditEventsDoc(t *testing.T) {
	want := auditEventsDoc(t)
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(eventsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(eventsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/audit-events.md is not current: run make docs and commit the result")
	}
}

func auditEventsDoc(t *testing.T) string {
	var doc strings.Builder
	say := func(text string) { doc.WriteString(text + "\n") }
	table := func(heads ...string) func(cells ...string) {
		row := func(cells ...string) {
			for i, c := range cells {
				cells[i] = strings.ReplaceAll(c, "|", `\|`)
			}
			say("| " + strings.Join(cells, " | ") + " |")
		}
		row(slices.Clone(heads)...)
		say("|" + strings.Repeat("---|", len(heads)))
		return row
	}

	say(docHead)
	row := table("act", "target", "right", "fresh sign-in", "changes", "current API", "pa/v1")
	for _, a := range slices.SortedFunc(slices.Values(Acts()), func(a, b Act) int { return strings.Compare(a.Name, b.Name) }) {
		right := "none: one's own, or the console's"
		if !a.Self {
			right = "`" + strings.Join(append(slices.Clone(a.Needs.All), a.Needs.Any...), "`, `") + "`"
			if len(a.Needs.Any) > 0 {
				right = a.Needs.String()
			}
		}
		changes := ""
		if a.Mutates {
			changes = "yes"
		}
		fresh := map[StepUp]string{StepUpAlways: "yes", StepUpInProduction: "in production", StepUpOfEnvironment: "for another environment"}[a.stepUp()]
		row("`"+a.Name+"`", a.TargetKind, right, fresh, changes, operationOf(a, cloudapi.Current), operationOf(a, cloudapi.PAV1))
	}

	say(docWords)
	for _, words := range []struct{ kind, heading string }{{"Phase", "phase"}, {"Outcome", "outcome"}, {"Via", "via"}} {
		row := table(words.heading, "meaning")
		for _, c := range constants(t, words.kind) {
			row("`"+c[0]+"`", c[1])
		}
		say("")
	}
	say(docBody)
	row = table("field", "type", "meaning")
	for _, f := range audit.Fields() {
		row("`"+f.Name+"`", f.Type, f.Meaning)
	}
	say(docCSV)
	row = table("column", "type", "meaning")
	for _, c := range audit.Columns() {
		row("`"+c.Name+"`", c.Type, c.Meaning)
	}
	say(docNDJSON)
	return strings.TrimSuffix(doc.String(), "\n")
}

// operationOf says what an act comes down to in a generation.
func operationOf(a Act, g cloudapi.Generation) string {
	op := a.Op(g)
	switch {
	case op != nil:
		return fmt.Sprintf("`%s %s`", op.Method, op.Path)
	case a.Lacking[g] != "":
		return a.Lacking[g]
	}
	return ""
}

// constants reads the constants of a type of package audit, each with the comment beside it, so
// that the words and their meanings stand in one place.
func constants(t *testing.T, kind string) (found [][2]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../audit/event.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != kind {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if meaning := strings.TrimSpace(spec.Comment.Text()); err == nil && meaning != "" {
			found = append(found, [2]string{value, meaning})
			return true
		}
		t.Errorf("nothing beside %s says what it means", spec.Names[0].Name)
		return true
	})
	if len(found) < 3 {
		t.Errorf("%d constants of %s were found", len(found), kind)
	}
	return found
}

const docHead = `# Events of the audit log, and exports of them

This file is made by ` + "`make docs`" + ` from the act table, the list of fields and the columns of an export. A test fails when it is not current.

## Acts

What an event can tell of. An act that changes something is an attempt before the Cloud API is called and an outcome after it, or a single
event written together with the change. Any other act is recorded when it is refused; besides, ` + "`audit.search`" + ` once for each query of a session, ` + "`audit.verify` and `audit.export`" + ` always.
Both columns on the right are empty for an act of the console alone. Where a fresh sign-in is asked for, one older than ` + "`QM_STEP_UP_AFTER`" + ` is refused, and recorded as ` + "`denied`" + `. Events of earlier releases may name acts that are no longer here.
`

const docWords = `
## Words

An operation is one attempt, one outcome, and perhaps the end of long work, joined by ` + "`operation_id`" + `; or a single event. The audit page and the exports list one row
an operation. While it is open its status is ` + "`pending`, and `unknown`" + ` once ` + "`QM_AUDIT_UNKNOWN_AFTER`" + ` has passed.
`

const docBody = `## The body of an event

Canonical JSON (RFC 8785). What is empty, zero or false is left out. Times are UTC with microseconds, as in ` + "`2026-11-23T09:00:00.000001Z`" + `. Integers beyond 2^53 are text.
Control characters, invalid UTF-8 and characters that reorder or hide text are written out, as in ` + "`\\u000a`" + `; names end at 256 bytes, other texts at 2 KiB, with a mark.
`

const docCSV = `
## Exports

` + "`/audit/export?format=csv`" + ` and ` + "`/audit/export?format=ndjson`" + ` give what the audit page lists for the same query, ` + "`q, member, account, act, outcome, from, to`" + `: all pages of it, in
the same order, newest first, as it was at one moment. A name in the query that is none of these, and a value that cannot be right, is refused. It needs ` + "`audit:export`" + `. Each export is
an event itself, ` + "`audit.export`" + ` with the query and the format, written before the first byte is sent; an export that its own query fits lists itself. It says that this part of the log was taken away, not how much of
it arrived. A process runs two exports at a time; each has at most 15 minutes, and a client that takes nothing for 30 seconds is cut off.

An export that breaks off, for whatever reason, ends without the proper end of an HTTP answer, so that clients report an error (curl: exit code 18 or 92; browsers: a failed download) and do not keep it as complete.
As NDJSON it also lacks its last line. It also breaks off when the member's session or right ends meanwhile, within a second of the next piece. The whole log, from the first event to the last with every event of an operation, comes from ` + "`quartermaster audit export`" + `, which can be verified without a database.

Who holds ` + "`audit:export`" + ` on single environments, accounts or clusters gets the events of these, and nothing of others. Such a file is called ` + "`quartermaster-audit-part-…`" + `, and says in itself that it is
a part: as CSV in a last column ` + "`part_of_the_log`" + `, as NDJSON in its last line. It cannot be verified as a chain. Each event in it can be proven by its leaf, which equals that of the same number in the whole log.

### CSV

For reading. RFC 4180 in UTF-8 without a byte order mark: lines end with CR LF, the first holds the names of the columns, every cell is in quotes. New columns may be added between releases; their names do not change.

So that no spreadsheet runs what somebody typed as a formula, an apostrophe is put at the beginning of a cell, and after a semicolon in it, where ` + "`= + - @`" + ` or a full-width or small form of them follows, after blanks or quotes or not, and where an
apostrophe stands already. Taking one apostrophe away in these places gives back what was recorded. The exact evidence is NDJSON.
`

const docNDJSON = `
### NDJSON

The exact evidence: one JSON object a line, ` + "`body`" + ` with the very bytes that were hashed. Beside it are ` + "`seq, recorded_at, status, attempt_seq, attempted_at, leaf, chain`" + ` with the meaning they have as columns;
` + "`raw_body`" + `, in base64, stands in for a body that cannot be a value on one line. The last line is

` + "```" + `
{"end":true,"format":"quartermaster-audit-operations/1","operations":12,"log_seq":345,"log_chain":"..."}
` + "```" + `

with the number of lines before it, and the number and chain value of the log's last event at that moment, to be compared with what ` + "`quartermaster audit verify`" + ` prints. A file without that line is not whole.
In an export of a part ` + "`part`" + ` with ` + "`accounts`, `clusters` and a `note`" + ` stands in place of the last two.

To check a line: ` + "`leaf`" + ` is SHA-256 of a zero byte, ` + "`seq`" + ` and ` + "`recorded_at`" + ` in microseconds since 1970 as 8 bytes each, big-endian, and the body. ` + "`chain`" + ` is SHA-256 of a byte 1, the chain value of the event ` + "`seq - 1`" + ` and ` + "`leaf`" + `; a filtered
export rarely holds that event, the whole log does.
`
