package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
)

// exportedLine is a line of an export as NDJSON, as somebody else would read it.
type exportedLine struct {
	Seq         int64           `json:"seq"`
	RecordedAt  time.Time       `json:"recorded_at"`
	Status      string          `json:"status"`
	AttemptSeq  int64           `json:"attempt_seq"`
	AttemptedAt time.Time       `json:"attempted_at"`
	Leaf        string          `json:"leaf"`
	Chain       string          `json:"chain"`
	Body        json.RawMessage `json:"body"`

	End        bool   `json:"end"`
	Format     string `json:"format"`
	Operations int64  `json:"operations"`
	LogSeq     int64  `json:"log_seq"`
	LogChain   string `json:"log_chain"`
}

func (b *bundle) exportOperations(t *testing.T, q audit.Query, f audit.Format) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := b.log.ExportOperations(t.Context(), q, f, &out)
	if err != nil {
		t.Fatalf("exporting %+v as %s: %v", q, f, err)
	}
	if lines := bytes.Count(out.Bytes(), []byte("\n")); int64(lines) != n+1 { // header or last line
		t.Errorf("%d operations in %d lines", n, lines)
	}
	return out.Bytes()
}

func exportedLines(t *testing.T, text []byte) (operations []exportedLine, end exportedLine) {
	t.Helper()
	for line := range bytes.Lines(text) {
		var l exportedLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		operations = append(operations, l)
	}
	if len(operations) == 0 || !operations[len(operations)-1].End {
		t.Fatalf("there is no last line:\n%.500s", text)
	}
	return operations[:len(operations)-1], operations[len(operations)-1]
}

// exportedRows reads an export as CSV by its columns' names.
func exportedRows(t *testing.T, text []byte) []map[string]string {
	t.Helper()
	if !bytes.HasSuffix(text, []byte("\r\n")) || bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) {
		t.Error("lines do not end with CR LF")
	}
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range audit.Columns() {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff(names, records[0]); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	var rows []map[string]string
	for _, r := range records[1:] {
		row := map[string]string{}
		for i, cell := range r {
			row[records[0][i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// TestExportTellsAnOperation compares every cell of a full event, and has somebody else compute its leaf.
func TestExportTellsAnOperation(t *testing.T) {
	b := setup(t)
	e := full()
	e.Phase, e.Outcome, e.Operation, e.Parent = audit.PhaseAttempt, "", uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	e.At = time.Date(2026, 11, 23, 9, 0, 0, 1000, time.UTC)
	e.ID = uuid.Must(uuid.NewV7())
	first := b.get(t, b.append(t, e))
	e.Phase, e.Outcome, e.ID = audit.PhaseOutcome, audit.OK, uuid.Must(uuid.NewV7())
	stored := b.get(t, b.append(t, e))

	rows := exportedRows(t, b.exportOperations(t, audit.Query{}, audit.CSV))
	if len(rows) != 1 {
		t.Fatalf("%d rows, want one an operation", len(rows))
	}
	const layout = "2006-01-02T15:04:05.000000Z"
	change, err := json.Marshal(stored.Change)
	if err != nil {
		t.Fatal(err)
	}
	flag := func(set bool) string { return map[bool]string{true: "true"}[set] }
	number := func(n int64) string {
		return strings.TrimSuffix(strconv.FormatInt(n, 10), map[bool]string{true: "0"}[n == 0])
	}
	want := map[string]string{
		"seq": "2", "recorded_at": stored.RecordedAt.Format(layout), "status": "ok", "attempt_seq": "1", "attempted_at": first.RecordedAt.Format(layout),
		"id": e.ID.String(), "schema": "1", "at": e.At.Format(layout), "act": e.Act, "phase": "outcome", "outcome": "ok", "reason": e.Reason,
		"count": number(int64(e.Count)), "inferred": flag(e.Inferred), "operation_id": e.Operation.String(), "parent_id": e.Parent.String(), "request_id": e.Actor.RequestID,
		"actor_issuer": e.Actor.Issuer, "actor_subject": e.Actor.Subject, "actor_name": e.Actor.Name, "actor_email": e.Actor.Email,
		"actor_email_verified": flag(e.Actor.EmailVerified), "actor_roles": strings.Join(e.Actor.Roles, ", "), "actor_session": e.Actor.Session, "actor_via": string(e.Actor.Via),
		"source_ip": e.Actor.IP, "source_user_agent": e.Actor.UserAgent, "account_id": e.Account.ID, "account_name": e.Account.Name,
		"target_kind": e.Target.Kind, "target_id": e.Target.ID, "target_name": e.Target.Name,
		"upstream_rpc": e.Upstream.RPC, "upstream_key_id": e.Upstream.KeyID, "upstream_status": number(int64(e.Upstream.Status)),
		"upstream_trace_id": e.Upstream.TraceID, "upstream_latency_ms": number(e.Upstream.LatencyMS), "change": string(change),
		"leaf": hex.EncodeToString(stored.Leaf[:]), "chain": hex.EncodeToString(stored.Chain[:]),
	}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Errorf("as CSV (-want +got):\n%s", diff)
	}

	lines, end := exportedLines(t, b.exportOperations(t, audit.Query{}, audit.NDJSON))
	wantLine := exportedLine{
		Seq: 2, RecordedAt: stored.RecordedAt, Status: "ok", AttemptSeq: 1, AttemptedAt: first.RecordedAt,
		Leaf: want["leaf"], Chain: want["chain"], Body: stored.Body,
	}
	if diff := cmp.Diff([]exportedLine{wantLine}, lines); diff != "" {
		t.Errorf("as NDJSON (-want +got):\n%s", diff)
	}
	var hashed [17]byte
	binary.BigEndian.PutUint64(hashed[1:], uint64(lines[0].Seq))
	binary.BigEndian.PutUint64(hashed[9:], uint64(lines[0].RecordedAt.UnixMicro()))
	if leaf := sha256.Sum256(append(hashed[:], lines[0].Body...)); hex.EncodeToString(leaf[:]) != lines[0].Leaf {
		t.Error("the leaf does not follow from the line")
	}
	wantEnd := exportedLine{End: true, Format: "quartermaster-audit-operations/1", Operations: 1, LogSeq: 2, LogChain: want["chain"]}
	if diff := cmp.Diff(wantEnd, end); diff != "" {
		t.Errorf("last line (-want +got):\n%s", diff)
	}
}

func TestExportOfAnOpenOperation(t *testing.T) {
	b := setup(t)
	b.append(t, audit.Event{Act: "cluster.restart", Phase: audit.PhaseAttempt, Operation: uuid.Must(uuid.NewV7())})
	for after, want := range map[time.Duration]string{0: "pending", time.Nanosecond: "unknown"} {
		rows := exportedRows(t, b.exportOperations(t, audit.Query{UnknownAfter: after}, audit.CSV))
		if len(rows) != 1 || rows[0]["status"] != want || rows[0]["outcome"] != "" || rows[0]["attempt_seq"] != "1" || rows[0]["attempted_at"] != rows[0]["recorded_at"] {
			t.Errorf("%+v, want %s", rows, want)
		}
	}
}

func TestExportOfNothing(t *testing.T) {
	b := setup(t)
	if rows := exportedRows(t, b.exportOperations(t, audit.Query{}, audit.CSV)); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
	lines, end := exportedLines(t, b.exportOperations(t, audit.Query{}, audit.NDJSON))
	if len(lines) != 0 || end.Operations != 0 || end.LogSeq != 0 {
		t.Errorf("%d lines, %+v", len(lines), end)
	}
	if _, err := b.log.ExportOperations(t.Context(), audit.Query{}, "xml", io.Discard); err == nil {
		t.Error("a format that nobody knows was written")
	}
}

// appendMany appends n events quickly, in the largest pieces that the database takes.
func (b *bundle) appendMany(t *testing.T, n int, event func(i int) audit.Event) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var bodies [][]byte
		for i := from; i < min(from+1000, n); i++ {
			e := event(i)
			e.ID = uuid.Must(uuid.NewV7())
			bodies = append(bodies, audit.Encode(e))
		}
		if _, err := b.Pool.Exec(t.Context(), `SELECT audit.append($1)`, bodies); err != nil {
			t.Fatal(err)
		}
	}
}

// appendPadded appends so many operations of more than a thousand bytes, a third of each of three acts.
func (b *bundle) appendPadded(t *testing.T, n int) {
	t.Helper()
	padding := strings.Repeat("x", 1000)
	b.appendMany(t, n, func(i int) audit.Event {
		return audit.Event{Act: fmt.Sprintf("test.act%d", i%3), Phase: audit.PhaseSingle, Outcome: audit.OK, Reason: padding, Target: audit.Target{Kind: "cluster", ID: strconv.Itoa(i)}}
	})
}

// TestExportIsThePagesList: what an export gives is, in its order and without a gap, what paging through the list gives.
func TestExportIsThePagesList(t *testing.T) {
	b := setup(t)
	b.appendPadded(t, 20_000)
	for _, q := range []audit.Query{{}, {Act: "test.act1"}, {Text: "nothing has it"}, {TargetKind: "cluster", TargetID: "777"}} {
		var want []int64
		for page := q; ; {
			page.Limit = 500
			p := b.list(t, page)
			for _, o := range p.Operations {
				want = append(want, o.Seq)
			}
			if page.After = p.Next; p.Next == 0 {
				break
			}
		}
		var got []int64
		lines, end := exportedLines(t, b.exportOperations(t, q, audit.NDJSON))
		for _, l := range lines {
			got = append(got, l.Seq)
		}
		if !slices.Equal(want, got) || end.Operations != int64(len(want)) {
			t.Errorf("%+v: %d operations, the list has %d", q, len(got), len(want))
		}
	}
}

// TestExportInLittleMemory exports 20,000 operations while another is appended: that one is not among them, and memory
// does not grow with what is exported.
func TestExportInLittleMemory(t *testing.T) {
	b := setupAlone(t)
	const all = 20_000
	b.appendPadded(t, all)
	counting := &measuringWriter{do: func(pieces int) {
		if pieces == 3 { // the snapshot is taken
			b.append(t, audit.Event{Act: "test.late", Phase: audit.PhaseSingle, Outcome: audit.OK})
		}
	}}
	n, err := b.log.ExportOperations(t.Context(), audit.Query{}, audit.NDJSON, counting)
	if err != nil || n != all || counting.late {
		t.Errorf("%d operations, what came late is there: %v, %v", n, counting.late, err)
	}
	if counting.bytes < 20<<20 {
		t.Fatalf("only %d bytes were written", counting.bytes)
	}
	later := counting.inUse[len(counting.inUse)/2:]
	slices.Sort(later)
	if kept := later[len(later)/2]; kept > 8<<20 {
		t.Errorf("%d bytes more were in use while %d were exported", kept, counting.bytes)
	}
}

// measuringWriter looks at the memory in use now and then.
type measuringWriter struct {
	do            func(pieces int)
	pieces, bytes int
	first         int64
	inUse         []int64 // more than at the first piece, now and then
	late          bool
}

func (w *measuringWriter) Write(p []byte) (int, error) {
	w.pieces++
	w.bytes += len(p)
	w.do(w.pieces)
	w.late = w.late || bytes.Contains(p, []byte("test.late"))
	if w.pieces%100 == 1 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if w.pieces == 1 {
			w.first = int64(m.HeapAlloc)
		}
		w.inUse = append(w.inUse, int64(m.HeapAlloc)-w.first)
	}
	return len(p), nil
}

// TestExportIsOfOneMoment ends an operation in the middle of an export: it is there once, as it was.
func TestExportIsOfOneMoment(t *testing.T) {
	b := setup(t)
	attempt := audit.Event{Act: "cluster.restart", Phase: audit.PhaseAttempt, Operation: uuid.Must(uuid.NewV7())}
	b.append(t, attempt) // the oldest, so the last to be exported
	b.appendMany(t, 2000, func(int) audit.Event { return single("test.one") })
	w := &measuringWriter{do: func(pieces int) {
		if pieces == 1 {
			attempt.Phase, attempt.Outcome = audit.PhaseOutcome, audit.OK
			b.append(t, attempt)
		}
	}}
	var text bytes.Buffer
	if _, err := b.log.ExportOperations(t.Context(), audit.Query{}, audit.NDJSON, io.MultiWriter(w, &text)); err != nil {
		t.Fatal(err)
	}
	lines, _ := exportedLines(t, text.Bytes())
	if last := lines[len(lines)-1]; len(lines) != 2001 || last.Seq != 1 || last.Status != "pending" {
		t.Errorf("%d operations, the last is %d %s", len(lines), last.Seq, last.Status)
	}
	if p := b.list(t, audit.Query{Limit: 1}); p.Operations[0].Status != "ok" {
		t.Errorf("the list has not noticed: %v", statuses(p))
	}
}

// failingWriter takes some pieces and then fails.
type failingWriter struct{ left int }

var errFull = errors.New("full")

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestExportEndsWithItsReader proves that an export whose reader fails or leaves holds nothing of the
// database afterwards, and that a reader who takes long keeps no connection of the pool.
func TestExportEndsWithItsReader(t *testing.T) {
	b := setup(t)
	b.appendMany(t, 3000, func(int) audit.Event { return single("test.one") })
	if _, err := b.log.ExportOperations(t.Context(), audit.Query{}, audit.CSV, &failingWriter{left: 2}); !errors.Is(err, errFull) {
		t.Errorf("a reader that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	slow := &measuringWriter{do: func(pieces int) {
		if pieces == 2 {
			if n := b.Pool.Stat().AcquiredConns(); n != 0 {
				t.Errorf("%d connections of the pool are taken", n)
			}
			cancel()
		}
	}}
	if _, err := b.log.ExportOperations(ctx, audit.Query{}, audit.CSV, slow); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader that leaves: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var busy int
		err := b.Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`).Scan(&busy)
		if err == nil && busy == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are at work still, %v", busy, err)
		}
	}
}

// TestExportIsHarmlessInASpreadsheet has names and reasons that are formulas. Parsed as spreadsheets
// do, also by those that part cells at semicolons, no cell begins one; and what stood there can be
// had back.
func TestExportIsHarmlessInASpreadsheet(t *testing.T) {
	b := setup(t)
	hostile := []string{
		`=1+1`, `+1`, `-1`, `@SUM(A1)`, "\t=1", "\r=1", "\n=1", ` =1`, "\u00a0=1", "\u200d=1", "＝1+1", "＋1", "－1", "＠x", "−1", `'=1`, `"=1"`, ` "" =1`,
		`=cmd|'/c calc'!A1`, `x;=1+1;y`, `x; "=1+1";y`, `x;'y`, "x\x00=1", `=HYPERLINK("http://evil.example";"x")`, `harmless`, `a, "b"; c`, `-`,
	}
	for _, s := range hostile {
		b.append(t, audit.Event{
			Act: s, Phase: audit.PhaseSingle, Outcome: audit.Outcome(s), Reason: s, Actor: audit.Actor{Subject: s, Name: s, Email: s, UserAgent: s, Roles: []string{s}},
			Account: audit.Ref{ID: s, Name: s}, Target: audit.Target{Kind: s, ID: s, Name: s}, Change: audit.Change{s: {s, []string{s}}},
		})
	}
	text := b.exportOperations(t, audit.Query{}, audit.CSV)
	rows := exportedRows(t, text)
	slices.Reverse(rows)
	if len(rows) != len(hostile) {
		t.Fatalf("%d rows, want %d", len(rows), len(hostile))
	}
	for i, row := range rows {
		recorded := b.get(t, int64(i+1))
		if got := undone(row["reason"]); got != recorded.Reason {
			t.Errorf("%q came out as %q, which reads %q", recorded.Reason, row["reason"], got)
		}
		for name, cell := range row {
			for _, part := range strings.Split(cell, ";") {
				if s := strings.TrimLeft(part, " \u00a0\u200d\""); s != "" && strings.ContainsAny(s[:1], "=+-@\t\r\n") || strings.HasPrefix(s, "＝") || strings.HasPrefix(s, "＋") || strings.HasPrefix(s, "－") || strings.HasPrefix(s, "＠") {
					t.Errorf("%s of %q begins a formula: %q", name, hostile[i], cell)
				}
			}
			if strings.ContainsAny(cell, "\x00\t\r\n") {
				t.Errorf("%s of %q holds a control: %q", name, hostile[i], cell)
			}
		}
	}
	if plain := rows[slices.Index(hostile, "harmless")]["reason"]; plain != "harmless" {
		t.Errorf("a harmless cell reads %q", plain)
	}
	// A program that parts cells at semicolons and is lenient with quotes.
	semicolons := csv.NewReader(bytes.NewReader(text))
	semicolons.Comma, semicolons.LazyQuotes, semicolons.FieldsPerRecord = ';', true, -1
	records, err := semicolons.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		for _, cell := range record {
			if s := strings.TrimLeft(cell, " \""); s != "" && strings.ContainsAny(s[:1], "=+-@") {
				t.Errorf("parted at semicolons, a cell is %q", cell)
			}
		}
	}
}

// undone takes away what an export put before what could begin a formula, as docs/audit-events.md says.
func undone(cell string) string {
	parts := strings.Split(cell, ";")
	for i := range parts {
		parts[i] = strings.TrimPrefix(parts[i], "'")
	}
	return strings.Join(parts, ";")
}
