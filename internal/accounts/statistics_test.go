package accounts

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestStatisticsFollowTheFleet: a page of a fleet that was filled a moment ago is read by an index, not by sorting all of it.
func TestStatisticsFollowTheFleet(t *testing.T) {
	r := newRig(t)
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.WithoutCancel(t.Context()))
	if _, err := owner.Exec(t.Context(), `ALTER TABLE clusters SET (autovacuum_enabled = false)`); err != nil { // the server would do it by itself
		t.Fatal(err)
	}
	id, _ := r.account(t, "Account", Production)
	const clusters = 3000
	r.fill(t, id, clusters)
	plan := func() (estimated float64, sorted bool) {
		t.Helper()
		var raw []byte
		if err := r.db.Pool.QueryRow(t.Context(), `EXPLAIN (FORMAT JSON) SELECT c.name FROM clusters c WHERE c.gone_at IS NULL
			ORDER BY lower(c.name) COLLATE "C", c.account_id, c.cluster_id LIMIT 101`).Scan(&raw); err != nil {
			t.Fatal(err)
		}
		var told []struct {
			Plan struct {
				Plans []struct {
					Rows float64 `json:"Plan Rows"`
				}
			}
		}
		if err := json.Unmarshal(raw, &told); err != nil {
			t.Fatal(err)
		}
		return told[0].Plan.Plans[0].Rows, strings.Contains(string(raw), `"Sort"`)
	}
	if estimated, sorted := plan(); estimated > clusters/10 || !sorted {
		t.Fatalf("without statistics Postgres takes %.0f clusters for there, and sorts: %v; nothing is to be mended", estimated, sorted)
	}
	// How much was written Postgres hears within a second or so of the one who wrote.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err := r.svc.analyzeSnapshots(t.Context()); err != nil {
			t.Fatal(err)
		}
		estimated, sorted := plan()
		if estimated > clusters/2 && !sorted {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Postgres takes %.0f clusters for there, and sorts: %v", estimated, sorted)
		}
	}
}

// TestStatisticsAreAllThatTheConsoleMayAsk: the function is no way for the app role to have anything else done as the owner.
func TestStatisticsAreAllThatTheConsoleMayAsk(t *testing.T) {
	r := newRig(t)
	for _, statement := range []string{`REINDEX TABLE clusters`, `ALTER TABLE clusters SET (fillfactor = 50)`} {
		if _, err := r.db.Pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s: the console may", statement)
		}
	}
	// What stands in front of the tables, and of the functions, for one who may create temporary ones, is not looked at.
	for _, trap := range []string{`CREATE TEMP TABLE clusters (a int)`, `CREATE TEMP TABLE pg_class (oid oid)`} {
		if _, err := r.db.Pool.Exec(t.Context(), trap); err != nil && !strings.Contains(err.Error(), "42501") {
			t.Fatal(err)
		}
	}
	if err := r.svc.analyzeSnapshots(t.Context()); err != nil {
		t.Error(err)
	}
}
