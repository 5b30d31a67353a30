package audit

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Format is how operations are written out.
type Format string

// The formats.
const (
	CSV    Format = "csv"    // for reading: RFC 4180, every cell quoted and harmless in a spreadsheet
	NDJSON Format = "ndjson" // for evidence: one JSON object a line, with the bytes that are hashed
)

// Formats lists them.
func Formats() []Format { return []Format{CSV, NDJSON} }

const (
	operationsFormat = "quartermaster-audit-operations/1"
	operationsBatch  = 500      // rows of one statement
	operationsChunk  = 32 << 10 // bytes of one write
	closingTime      = time.Second
)

// ExportOperations writes the operations that List would give for q, all pages of them, in the same
// order and as they are at one moment: what is appended meanwhile is not there, nor half there.
// It holds one operation and little more in memory. Nothing is written to w before the
// first operations were read.
//
// An export as NDJSON that ended early has no last line. One as CSV looks whole: whoever passes it
// on must tell that it broke off when an error is returned.
//
// One of a part of the log says so in itself: as NDJSON in its last line, which tells neither the last number nor the last
// chain value of the log, as CSV in a column of its own. What can still be proven by it is each event: its leaf is
// over its number, time and body, and equals that of the same number in the whole log.
func (l *Log) ExportOperations(ctx context.Context, q Query, f Format, w io.Writer) (operations int64, err error) {
	err = readApart(ctx, l.db, func(tx pgx.Tx) error {
		operations, err = l.exportOperationsIn(ctx, tx, q, f, w)
		return err
	})
	if err != nil {
		return operations, fmt.Errorf("exporting operations: %w", err)
	}
	return operations, nil
}

// readApart is readSnapshot on a connection that leaves the pool for good: an export takes as long
// as its reader does, and must not keep from the console a connection that others wait for.
func readApart(ctx context.Context, db *pgxpool.Pool, f func(pgx.Tx) error) error {
	pooled, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	conn := pooled.Hijack()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTime)
		defer cancel()
		_ = conn.Close(ctx) // it was only read from
	}()
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}

func (l *Log) exportOperationsIn(ctx context.Context, tx pgx.Tx, q Query, f Format, w io.Writer) (operations int64, err error) {
	head, err := readHead(ctx, tx)
	if err != nil {
		return 0, err
	}
	if q.Part != nil {
		if err := withoutJIT(ctx, tx); err != nil {
			return 0, err
		}
	}
	out := bufio.NewWriterSize(w, operationsChunk)
	lines, err := newOperationWriter(f, out, q.Part)
	if err != nil {
		return 0, err
	}
	if err := lines.begin(); err != nil {
		return 0, err
	}
	for {
		read, last, err := l.exportBatch(ctx, tx, q, lines)
		operations += read
		if err != nil {
			return operations, err
		}
		if read < operationsBatch {
			break
		}
		q.After = last
	}
	if err := lines.end(head, operations); err != nil {
		return operations, err
	}
	return operations, out.Flush()
}

// listed is an operation with its attempt, when it had one.
type listed struct {
	Operation
	AttemptSeq  int64
	AttemptedAt time.Time
}

// exportBatch writes the next operations below q.After. In batches the database finds them in their
// order, as it does for the page, and never sorts the whole log.
func (l *Log) exportBatch(ctx context.Context, tx pgx.Tx, q Query, lines operationWriter) (read, last int64, err error) {
	where, args := l.conditions(q)
	args["limit"] = operationsBatch
	ctx, cancel := context.WithCancel(ctx)
	rows, err := tx.Query(ctx, `
		SELECT `+storedColumns+`, `+statusOf+` AS status, coalesce(a.seq, 0) AS attempt_seq, a.recorded_at AS attempted_at
		FROM audit.events e LEFT JOIN audit.open_operations o ON o.seq = e.seq
		LEFT JOIN LATERAL (
			SELECT began.seq, began.recorded_at FROM audit.events began
			WHERE began.operation_id = e.operation_id AND began.phase = 'attempt' AND began.seq <= e.seq
			ORDER BY began.seq LIMIT 1
		) a ON true
		WHERE `+q.Part.among(q, where, args)+`
		ORDER BY e.seq DESC
		LIMIT @limit`, args)
	if err != nil {
		cancel()
		return 0, 0, fmt.Errorf("reading operations: %w", err)
	}
	defer rows.Close()
	defer cancel() // before Close, which would read what is left
	type row struct {
		storedRow
		Status      string
		AttemptSeq  int64
		AttemptedAt *time.Time
	}
	for rows.Next() {
		r, err := pgx.RowToStructByName[row](rows)
		if err != nil {
			return read, last, fmt.Errorf("reading operations: %w", err)
		}
		o := listed{Operation: Operation{Stored: r.stored(), Status: r.Status}, AttemptSeq: r.AttemptSeq}
		if r.AttemptedAt != nil {
			o.AttemptedAt = r.AttemptedAt.UTC()
		}
		if err := lines.operation(o); err != nil {
			return read, last, err
		}
		read, last = read+1, r.Seq
	}
	if err := rows.Err(); err != nil {
		return read, last, fmt.Errorf("reading operations: %w", err)
	}
	return read, last, nil
}

// operationWriter is one format.
type operationWriter interface {
	begin() error
	operation(listed) error
	end(head head, operations int64) error
}

// partColumn is the last column of an export of a part as CSV, and partNote what it and NDJSON say.
const (
	partColumn = "part_of_the_log"
	partNote   = "This is a part of the log. Each event can be proven by its leaf; that none is missing, and the chain, only with the whole log."
)

func newOperationWriter(f Format, w *bufio.Writer, part *Part) (operationWriter, error) {
	switch f {
	case CSV:
		columns := Columns()
		if part != nil {
			columns = append(columns, Column{Name: partColumn, text: func(listed) string { return partNote }})
		}
		return &csvOperations{w: w, columns: columns}, nil
	case NDJSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false) // it would change the bytes that are hashed
		return ndjsonOperations{enc, part}, nil
	}
	return nil, fmt.Errorf("no format is called %q", string(f))
}

// Column is one column of an export as CSV.
type Column struct {
	Name, Type, Meaning string
	text                func(listed) string
}

// Columns lists the columns of an export as CSV, in their order: what the log says of the event,
// the event's own fields, and what proves it.
func Columns() []Column {
	columns := []Column{
		{"seq", "integer", "number of the event that the page lists: the outcome, the single event, or the attempt while the operation is open", func(o listed) string { return integerText(o.Seq) }},
		{"recorded_at", "time", "when the database took the event; never runs backwards", func(o listed) string { return momentText(o.RecordedAt) }},
		{"status", "text", "how the operation reads on the page: its outcome, or `pending` or `unknown` while it is open", func(o listed) string { return o.Status }},
		{"attempt_seq", "integer", "number of the operation's attempt; empty for a single event", func(o listed) string { return integerText(o.AttemptSeq) }},
		{"attempted_at", "time", "when the database took the attempt", func(o listed) string { return momentText(o.AttemptedAt) }},
	}
	for _, f := range Fields() {
		columns = append(columns, Column{strings.ReplaceAll(f.Name, ".", "_"), f.Type, f.Meaning, func(o listed) string { return f.text(o.Event) }})
	}
	return append(columns,
		Column{"leaf", "64 hexadecimal digits", "SHA-256 over number, time and body of the event", func(o listed) string { return hex.EncodeToString(o.Leaf[:]) }},
		Column{"chain", "64 hexadecimal digits", "SHA-256 over the chain value of the event before and this leaf", func(o listed) string { return hex.EncodeToString(o.Chain[:]) }},
	)
}

// csvOperations writes RFC 4180. Every cell is quoted, so that no program takes a semicolon or a tab
// in it for the end of the cell.
type csvOperations struct {
	w       *bufio.Writer
	columns []Column
}

func (c *csvOperations) begin() error {
	return c.record(func(column Column) string { return column.Name })
}

func (c *csvOperations) operation(o listed) error {
	return c.record(func(column Column) string { return harmless(column.text(o)) })
}

func (c *csvOperations) end(head, int64) error { return nil }

// record writes one line. A bufio.Writer keeps its first error, so the last write tells of all.
func (c *csvOperations) record(cell func(Column) string) error {
	for i, column := range c.columns {
		writeCell(c.w, i, cell(column))
	}
	_, err := c.w.WriteString("\r\n")
	return err
}

func writeCell(w *bufio.Writer, i int, cell string) {
	if i > 0 {
		_ = w.WriteByte(',')
	}
	_ = w.WriteByte('"')
	_, _ = w.WriteString(strings.ReplaceAll(cell, `"`, `""`))
	_ = w.WriteByte('"')
}

// WriteCSV writes one line of RFC 4180 as exports of the log are written: every cell is quoted, and harmless in a
// spreadsheet. A bufio.Writer keeps its first error, which the last line returns at the latest.
func WriteCSV(w *bufio.Writer, cells ...string) error {
	for i, cell := range cells {
		writeCell(w, i, harmless(cell))
	}
	_, err := w.WriteString("\r\n")
	return err
}

// harmless keeps spreadsheets from running a cell as a formula. Controls are written out, as the
// log does already. An apostrophe goes before whatever could begin a formula, at the beginning of
// the cell and after each semicolon, which many spreadsheets take for the end of a cell even where
// the comma is; and before an apostrophe there, so that taking one away gives back what was.
func harmless(cell string) string {
	parts := strings.Split(visible(cell, 4*maxBody), ";")
	for i, part := range parts {
		if beginsFormula(part) {
			parts[i] = "'" + part
		}
	}
	return strings.Join(parts, ";")
}

// beginsFormula looks past what spreadsheets drop or do not show: blanks, joiners and quotes.
func beginsFormula(s string) bool {
	if strings.HasPrefix(s, "'") {
		return true
	}
	s = strings.TrimLeftFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Mn) || r == '"' })
	first, _ := utf8.DecodeRuneInString(s)
	return s != "" && strings.ContainsRune("=+-@＝＋－＠﹦﹢﹣﹫−", first)
}

// operationLine is one line of an export as NDJSON, operationsEnd its last.
type operationLine struct {
	Seq         int64           `json:"seq"`
	RecordedAt  string          `json:"recorded_at"`
	Status      string          `json:"status"`
	AttemptSeq  int64           `json:"attempt_seq,omitempty"`
	AttemptedAt string          `json:"attempted_at,omitempty"`
	Leaf        string          `json:"leaf"`
	Chain       string          `json:"chain"`
	Body        json.RawMessage `json:"body,omitempty"`
	RawBody     []byte          `json:"raw_body,omitempty"` // instead, for a body that cannot be a value on one line
}

type operationsEnd struct {
	End        bool   `json:"end"`
	Format     string `json:"format"`
	Operations int64  `json:"operations"`
	LogSeq     int64  `json:"log_seq,omitempty"`   // of the log's last event at that moment
	LogChain   string `json:"log_chain,omitempty"` // and its chain value
	// Part is set instead of both in an export of a part.
	Part *exportedPart `json:"part,omitempty"`
}

// exportedPart says of what an export is a part of the log.
type exportedPart struct {
	Accounts []string  `json:"accounts"`
	Clusters []Cluster `json:"clusters"`
	Note     string    `json:"note"`
}

type ndjsonOperations struct {
	enc  *json.Encoder
	part *Part
}

func (ndjsonOperations) begin() error { return nil }

func (n ndjsonOperations) operation(o listed) error {
	line := operationLine{
		Seq: o.Seq, RecordedAt: momentText(o.RecordedAt), Status: o.Status, AttemptSeq: o.AttemptSeq, AttemptedAt: momentText(o.AttemptedAt),
		Leaf: hex.EncodeToString(o.Leaf[:]), Chain: hex.EncodeToString(o.Chain[:]),
	}
	line.Body, line.RawBody = inline(o.Body)
	if err := n.enc.Encode(line); err != nil {
		return fmt.Errorf("writing event %d: %w", o.Seq, err)
	}
	return nil
}

func (n ndjsonOperations) end(h head, operations int64) error {
	end := operationsEnd{End: true, Format: operationsFormat, Operations: operations}
	if n.part == nil {
		end.LogSeq, end.LogChain = h.Seq, hex.EncodeToString(h.Chain)
	} else {
		end.Part = &exportedPart{Accounts: append([]string{}, n.part.Accounts...), Clusters: append([]Cluster{}, n.part.Clusters...), Note: partNote}
	}
	return n.enc.Encode(end)
}
