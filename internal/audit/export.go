package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// exportFormat names the format in an export's first line.
const exportFormat = "quartermaster-audit/1"

// maxExportLine bounds a line of an export: a body, in base64 at worst, and the rest.
const maxExportLine = 256 << 10

// exportHeader is the first line of an export, exportTrailer its last, exportLine each between.
type exportHeader struct {
	Format   string `json:"format"`
	First    int64  `json:"first"`    // number of the first event
	Previous string `json:"previous"` // chain value before it, hex
}

type exportLine struct {
	Seq        int64           `json:"seq"`
	RecordedAt string          `json:"recorded_at"` // UTC, microseconds
	Leaf       string          `json:"leaf"`        // hex
	Chain      string          `json:"chain"`       // hex
	Body       json.RawMessage `json:"body,omitempty"`
	// RawBody stands in for a body that cannot be a value on one line.
	RawBody []byte `json:"raw_body,omitempty"`
}

type exportTrailer struct {
	End    bool   `json:"end"`
	Events int64  `json:"events"`
	Last   int64  `json:"last"`
	Chain  string `json:"chain"` // of the last event, hex
}

// Export writes the events from number from to number to (0: to the head), inclusive, as lines
// of JSON with all that is needed to verify them without a database: see VerifyExport. It streams
// and holds no more than one event in memory. An export that ends early has no last line and is
// refused by VerifyExport.
func Export(ctx context.Context, db *pgxpool.Pool, w io.Writer, from, to int64) (events int64, err error) {
	err = readSnapshot(ctx, db, func(tx pgx.Tx) error {
		events, err = exportIn(ctx, tx, w, max(from, 1), to)
		return err
	})
	if err != nil {
		return events, fmt.Errorf("exporting the log: %w", err)
	}
	return events, nil
}

// Export writes events of the log, see the function of that name.
func (l *Log) Export(ctx context.Context, w io.Writer, from, to int64) (events int64, err error) {
	return Export(ctx, l.db, w, from, to)
}

func exportIn(ctx context.Context, tx pgx.Tx, w io.Writer, from, to int64) (int64, error) {
	if to == 0 {
		h, err := readHead(ctx, tx)
		if err != nil {
			return 0, err
		}
		to = h.Seq
	}
	previous, err := chainBefore(ctx, tx, from)
	if err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false) // it would change the bytes that are hashed
	if err := enc.Encode(exportHeader{Format: exportFormat, First: from, Previous: hex.EncodeToString(previous)}); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, `SELECT `+storedColumns+` FROM audit.events e WHERE e.seq BETWEEN $1 AND $2 ORDER BY e.seq`, from, to)
	if err != nil {
		return 0, fmt.Errorf("reading events: %w", err)
	}
	defer rows.Close()
	trailer := exportTrailer{End: true, Last: from - 1, Chain: hex.EncodeToString(previous)}
	for rows.Next() {
		e, err := pgx.RowToStructByName[storedRow](rows)
		if err != nil {
			return trailer.Events, fmt.Errorf("reading events: %w", err)
		}
		line := exportLine{
			Seq: e.Seq, RecordedAt: e.RecordedAt.UTC().Format(timeLayout),
			Leaf: hex.EncodeToString(e.Leaf), Chain: hex.EncodeToString(e.Chain),
		}
		line.Body, line.RawBody = inline(e.Body)
		if err := enc.Encode(line); err != nil {
			return trailer.Events, err
		}
		trailer.Events++
		trailer.Last, trailer.Chain = e.Seq, line.Chain
	}
	if err := rows.Err(); err != nil {
		return trailer.Events, fmt.Errorf("reading events: %w", err)
	}
	if err := enc.Encode(trailer); err != nil {
		return trailer.Events, err
	}
	return trailer.Events, out.Flush()
}

// inline gives the body as a value on a line, or raw where its bytes would not be kept there.
func inline(body []byte) (value json.RawMessage, raw []byte) {
	if sameInline(body) {
		return body, nil
	}
	return nil, body
}

// sameInline tells whether a body keeps its bytes as a JSON value inside a line: the encoder
// drops white space and escapes two separators.
func sameInline(body []byte) bool {
	var compact bytes.Buffer
	if !utf8.Valid(body) || json.Compact(&compact, body) != nil {
		return false
	}
	return bytes.Equal(compact.Bytes(), body) && !bytes.ContainsAny(body, "\u2028\u2029")
}

// VerifyExport checks an export as Verify checks the log, as far as a file can tell: numbers,
// times, leaves and chain between its first event and its last. The chain value before the first
// must be compared with another source when First is not 1. progress may be nil.
func VerifyExport(r io.Reader, progress func(seq int64)) (Report, error) {
	started := time.Now()
	var report Report
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxExportLine)
	w, err := exportStart(lines, &report)
	if err != nil {
		return Report{}, fmt.Errorf("verifying an export: %w", err)
	}
	ended := false
	for lines.Scan() {
		if ended {
			return Report{}, errors.New("verifying an export: something follows its last line")
		}
		ended, err = exportStep(w, lines.Bytes())
		if err != nil {
			return Report{}, fmt.Errorf("verifying an export: the line after event %d: %w", w.next-1, err)
		}
		if progress != nil && report.Events%progressEvery == 0 {
			progress(w.next - 1)
		}
	}
	if err := lines.Err(); err != nil {
		return Report{}, fmt.Errorf("verifying an export: the line after event %d: %w", w.next-1, err)
	}
	if !ended {
		report.problem(w.next, "the export ends early: its last line is missing")
	}
	report.Took = time.Since(started)
	return report, nil
}

func exportStart(lines *bufio.Scanner, report *Report) (*walk, error) {
	if !lines.Scan() {
		return nil, cmpErr(lines.Err(), errors.New("it is empty"))
	}
	var h exportHeader
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil || h.Format != exportFormat {
		return nil, errors.New("its first line is not that of an export of this program")
	}
	previous, err := hex.DecodeString(h.Previous)
	if err != nil || len(previous) != sha256.Size || h.First < 1 {
		return nil, errors.New("its first line does not say where it begins")
	}
	if zero := make([]byte, sha256.Size); h.First == 1 && !bytes.Equal(previous, zero) {
		report.problem(1, "the export claims events before the first one")
	}
	return &walk{report: report, next: h.First, chain: previous}, nil
}

// exportStep checks one line and tells whether it was the last.
func exportStep(w *walk, text []byte) (ended bool, err error) {
	var trailer exportTrailer
	if err := json.Unmarshal(text, &trailer); err != nil {
		return false, err
	}
	if trailer.End {
		compareTrailer(trailer, w)
		return true, nil
	}
	var line exportLine
	if err := json.Unmarshal(text, &line); err != nil {
		return false, err
	}
	at, err := time.Parse(timeLayout, line.RecordedAt)
	if err != nil {
		return false, fmt.Errorf("reading recorded_at: %w", err)
	}
	leaf, err := hex.DecodeString(line.Leaf)
	if err != nil {
		return false, fmt.Errorf("reading leaf: %w", err)
	}
	chain, err := hex.DecodeString(line.Chain)
	if err != nil {
		return false, fmt.Errorf("reading chain: %w", err)
	}
	body := []byte(line.Body)
	if line.RawBody != nil {
		body = line.RawBody
	}
	w.step(line.Seq, at, body, leaf, chain)
	return false, nil
}

func compareTrailer(t exportTrailer, w *walk) {
	switch {
	case t.Events != w.report.Events || t.Last != w.next-1:
		w.report.problem(w.next, "the export has %d events up to %d and says it has %d up to %d", w.report.Events, w.next-1, t.Events, t.Last)
	case t.Chain != hex.EncodeToString(w.chain):
		w.report.problem(w.next-1, "the export's last line has another chain value than its last event")
	}
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
