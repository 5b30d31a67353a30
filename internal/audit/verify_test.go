package audit_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
)

// sequence appends events 1 to 7: an attempt that stays open, an operation, and single ones.
func (b *bundle) sequence(t *testing.T) {
	t.Helper()
	operation := uuid.Must(uuid.NewV7())
	for _, e := range []audit.Event{
		{Act: "cluster.delete", Phase: audit.PhaseAttempt, Operation: uuid.Must(uuid.NewV7()), Target: audit.Target{Kind: "cluster", ID: "open"}},
		{Act: "cluster.restart", Phase: audit.PhaseAttempt, Operation: operation},
		full(),
		{Act: "cluster.restart", Phase: audit.PhaseOutcome, Outcome: audit.OK, Operation: operation},
		full(), single("test.six"), single("test.seven"),
	} {
		b.append(t, e)
	}
}

func TestVerifyNamesWhatWasChanged(t *testing.T) {
	b := setup(t)
	b.sequence(t)
	b.super(t, `CREATE SCHEMA kept`, `CREATE TABLE kept.events AS TABLE audit.events`,
		`CREATE TABLE kept.head AS TABLE audit.head`, `CREATE TABLE kept.open_operations AS TABLE audit.open_operations`)
	undo := []string{
		`DELETE FROM audit.events`, `INSERT INTO audit.events TABLE kept.events`,
		`DELETE FROM audit.head`, `INSERT INTO audit.head TABLE kept.head`,
		`DELETE FROM audit.open_operations`, `INSERT INTO audit.open_operations TABLE kept.open_operations`,
	}
	flip := func(column string) string {
		return `UPDATE audit.events SET ` + column + ` = set_byte(` + column + `, 20, get_byte(` + column + `, 20) # 1) WHERE seq = 5`
	}
	for name, test := range map[string]struct {
		damage string
		seq    int64
		what   string
	}{
		"body":             {flip("body"), 5, "leaf"},
		"leaf":             {flip("leaf"), 5, "leaf"},
		"chain":            {flip("chain"), 5, "chain"},
		"recorded_at":      {`UPDATE audit.events SET recorded_at = recorded_at + interval '1 microsecond' WHERE seq = 5`, 5, "leaf"},
		"id":               {`UPDATE audit.events SET id = gen_random_uuid() WHERE seq = 5`, 5, "column id"},
		"act":              {`UPDATE audit.events SET act = 'cluster.read' WHERE seq = 5`, 5, "column act"},
		"phase":            {`UPDATE audit.events SET phase = 'single' WHERE seq = 5`, 5, "column phase"},
		"outcome":          {`UPDATE audit.events SET outcome = 'ok' WHERE seq = 5`, 5, "column outcome"},
		"inferred":         {`UPDATE audit.events SET inferred = NOT inferred WHERE seq = 5`, 5, "column inferred"},
		"operation_id":     {`UPDATE audit.events SET operation_id = NULL WHERE seq = 5`, 5, "column operation_id"},
		"parent_id":        {`UPDATE audit.events SET parent_id = NULL WHERE seq = 5`, 5, "column parent_id"},
		"actor_issuer":     {`UPDATE audit.events SET actor_issuer = 'x' WHERE seq = 5`, 5, "column actor_issuer"},
		"actor_subject":    {`UPDATE audit.events SET actor_subject = 'x' WHERE seq = 5`, 5, "column actor_subject"},
		"actor_name":       {`UPDATE audit.events SET actor_name = 'x' WHERE seq = 5`, 5, "column actor_name"},
		"actor_email":      {`UPDATE audit.events SET actor_email = 'x' WHERE seq = 5`, 5, "column actor_email"},
		"account_id":       {`UPDATE audit.events SET account_id = 'x' WHERE seq = 5`, 5, "column account_id"},
		"target_kind":      {`UPDATE audit.events SET target_kind = 'x' WHERE seq = 5`, 5, "column target_kind"},
		"target_id":        {`UPDATE audit.events SET target_id = 'x' WHERE seq = 5`, 5, "column target_id"},
		"request_id":       {`UPDATE audit.events SET request_id = 'x' WHERE seq = 5`, 5, "column request_id"},
		"search":           {`UPDATE audit.events SET search = '' WHERE seq = 5`, 5, "column search"},
		"deleted":          {`DELETE FROM audit.events WHERE seq = 5`, 5, "event 5 is missing"},
		"first deleted":    {`DELETE FROM audit.events WHERE seq = 1`, 1, "events 1 to 1 are missing at the beginning"},
		"tail deleted":     {`DELETE FROM audit.events WHERE seq >= 6`, 6, "events 6 to 7 are missing"},
		"all deleted":      {`DELETE FROM audit.events`, 1, "events 1 to 7 are missing"},
		"head put back":    {`UPDATE audit.head SET seq = 5`, 6, "events 6 to 7 are beyond the head"},
		"head chain":       {`UPDATE audit.head SET chain = sha256('x')`, 7, "head has another chain"},
		"head time":        {`UPDATE audit.head SET recorded_at = recorded_at + interval '1 second'`, 7, "head has another time"},
		"two swapped":      {`UPDATE audit.events a SET body = b.body FROM audit.events b WHERE a.seq + b.seq = 13 AND a.seq IN (6, 7)`, 6, "leaf"},
		"open hidden":      {`DELETE FROM audit.open_operations`, 1, "not listed as open"},
		"open made up":     {`INSERT INTO audit.open_operations VALUES (gen_random_uuid(), 4, now(), '', '')`, 4, "listed as open"},
		"rewritten leaves": {`UPDATE audit.events SET body = '{}', leaf = sha256('\x00'::bytea || int8send(seq) || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint) || '{}'::bytea) WHERE seq = 5`, 5, "chain"},
	} {
		t.Run(name, func(t *testing.T) {
			b.super(t, undo...)
			b.verifies(t)
			b.super(t, test.damage)
			report, err := b.log.Verify(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if report.OK() {
				t.Fatal("the damage was not found")
			}
			if p := report.Problems[0]; p.Seq != test.seq || !strings.Contains(p.What, test.what) {
				t.Errorf("the first problem is %d %q, want %d and %q", p.Seq, p.What, test.seq, test.what)
			}
			if len(report.Problems) > 3 {
				t.Errorf("one damage is told %d times: %v", len(report.Problems), report.Problems)
			}
			if test.seq != 5 || strings.HasPrefix(name, "deleted") {
				return
			}
			if d := b.get(t, 5); d.Proof == "verified" {
				t.Error("the page of the event says verified")
			}
			if d := b.get(t, 4); d.Proof != "verified" {
				t.Errorf("the page of the event before says %q", d.Proof)
			}
		})
	}
}

func TestVerifyFromTheMiddleTellsProgress(t *testing.T) {
	b := setup(t)
	b.sequence(t)
	var reached int64
	report, err := audit.Verify(t.Context(), b.Pool, 3, func(seq int64) { reached = seq })
	if err != nil {
		t.Fatal(err)
	}
	whole, err := b.log.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.First != 3 || report.Last != 7 || report.Events != 5 || reached != 7 || report.LastChain != whole.LastChain {
		t.Errorf("report %+v, progress %d", report, reached)
	}
}

func TestExportVerifiesWithoutDatabase(t *testing.T) {
	b := setup(t)
	b.sequence(t)
	// What the app role could append past this program must survive the way through a file too.
	odd := []byte("{\"id\": \"018f3c3e-0000-7000-8000-000000000001\",\n \"phase\": \"single\", \"x\": \"<\u2028>\"}")
	if _, err := b.Pool.Exec(t.Context(), `SELECT audit.append($1)`, [][]byte{odd}); err != nil {
		t.Fatal(err)
	}
	export := func(from, to int64) []byte {
		var out bytes.Buffer
		if _, err := b.log.Export(t.Context(), &out, from, to); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	whole, err := b.log.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := export(0, 0)
	report, err := audit.VerifyExport(bytes.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.Events != 8 || report.LastChain != whole.LastChain {
		t.Errorf("report %+v", report)
	}
	part, err := audit.VerifyExport(bytes.NewReader(export(3, 5)), nil)
	if err != nil || !part.OK() || part.First != 3 || part.Last != 5 {
		t.Errorf("a part: %+v, %v", part, err)
	}

	lines := strings.SplitAfter(string(text), "\n")
	for name, damaged := range map[string]string{
		"changed name":   strings.Replace(string(text), "Ada Lovelace", "Eve Lovelace", 1),
		"cut":            strings.Join(lines[:5], ""),
		"line missing":   strings.Join(append(append([]string{}, lines[:4]...), lines[5:]...), ""),
		"lines swapped":  strings.Join([]string{lines[0], lines[2], lines[1]}, "") + strings.Join(lines[3:], ""),
		"line doubled":   strings.Join([]string{lines[0], lines[1], lines[1]}, "") + strings.Join(lines[2:], ""),
		"last forgotten": strings.Join(append(append([]string{}, lines[:8]...), lines[9:]...), ""),
		"other number":   strings.Replace(string(text), `"seq":8`, `"seq":9`, 1),
		"no first line":  strings.Join(lines[1:], ""),
		"empty":          "",
		"more after it":  string(text) + lines[1],
	} {
		report, err := audit.VerifyExport(strings.NewReader(damaged), nil)
		if err == nil && report.OK() {
			t.Errorf("%s: was not found", name)
		}
	}
}

func FuzzVerifyExport(f *testing.F) {
	zero := strings.Repeat("00", 32)
	head := fmt.Sprintf(`{"format":"quartermaster-audit/1","first":1,"previous":"%s"}`, zero)
	f.Add([]byte(head + "\n" + fmt.Sprintf(`{"end":true,"events":0,"last":0,"chain":"%s"}`, zero)))
	f.Add([]byte(head + "\n" + fmt.Sprintf(`{"seq":1,"recorded_at":"2026-01-01T00:00:00.000000Z","leaf":"00","chain":"%s","body":{}}`, zero)))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := audit.VerifyExport(bytes.NewReader(data), nil)
		if err == nil && report.OK() && report.Events > 0 && report.LastChain == [32]byte{} {
			t.Error("events verified without a chain")
		}
	})
}
