package audit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

// TestTheLogOnItsOwnTablespace moves the log to a small disk of its own: everything of it is there, also the partitions that are made later. When
// the disk is full nothing is appended and the rest of the database goes on; afterwards the log is whole.
func TestTheLogOnItsOwnTablespace(t *testing.T) {
	server := dbtest.NewServer(t)
	space := server.Tablespace(t, "qm_log", 12<<20)
	db := server.New(t)
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: db.AppURL, DB: db.Pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	if _, err := log.Append(t.Context(), single("test.before")); err != nil {
		t.Fatal(err)
	}
	if err := try(t, db.AppURL, `SELECT audit.move_log('qm_log')`); err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("the console's role may move the log: %v", err)
	}
	for _, statement := range []string{`SELECT audit.move_log('qm_log')`, `SELECT audit.ensure_partition(7000000)`} {
		if err := try(t, db.OwnerURL, statement); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := func() []string {
		rows, err := db.Pool.Query(t.Context(), `
			SELECT c.oid::regclass::text FROM pg_class c
			WHERE (c.relnamespace = 'audit'::regnamespace OR c.oid IN (SELECT reltoastrelid FROM pg_class WHERE relnamespace = 'audit'::regnamespace))
				AND c.relkind IN ('r', 'p', 'i', 'I', 't') AND c.reltablespace <> (SELECT oid FROM pg_tablespace WHERE spcname = 'qm_log')`)
		if err != nil {
			t.Fatal(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if names := elsewhere(); len(names) > 0 {
		t.Errorf("not on the log's tablespace: %v", names)
	}

	space.Fill(t)
	appended := 0
	for ; appended < 2000; appended++ { // there is room left in the pages that exist
		if _, err = log.Append(t.Context(), single("test.filling")); err != nil {
			break
		}
	}
	if !errors.Is(err, audit.ErrUnwritable) || !strings.Contains(err.Error(), "53100") {
		t.Fatalf("after %d events on a full disk: %v", appended, err)
	}
	if _, err := db.Pool.Exec(t.Context(), `UPDATE installation SET config = '{}'`); err != nil {
		t.Errorf("the rest of the database: %v", err)
	}
	if page, err := log.List(t.Context(), audit.Query{}); err != nil || len(page.Operations) == 0 {
		t.Errorf("reading the log: %v", err)
	}
	space.Empty(t)
	seq, err := log.Append(t.Context(), single("test.after"))
	if err != nil || seq != int64(appended)+2 {
		t.Errorf("after there is room: event %d, want %d: %v", seq, appended+2, err)
	}
	report, err := audit.Verify(t.Context(), db.Pool, 1, nil)
	if err != nil || !report.OK() || report.Last != seq {
		t.Errorf("%+v, %v", report, err)
	}
	// Back again, as an operator would who gives the disk up.
	// Whoever appends cannot choose where a partition goes.
	if err := try(t, db.OwnerURL, `SELECT audit.move_log('pg_default')`, `SET default_tablespace = 'qm_log'`, `SELECT audit.ensure_partition(8000000)`); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE reltablespace = (SELECT oid FROM pg_tablespace WHERE spcname = 'qm_log')`).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d tables and indexes are still on the log's tablespace: %v", left, err)
	}
}
