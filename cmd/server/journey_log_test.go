package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// manyRestartsAtOnce restarts ten clusters 200 times at once from several sessions: each is
// answered, and each leaves its two events.
func manyRestartsAtOnce(t *testing.T, st *stage) {
	const clusters, restarts = 10, 200
	var paths, ids []string
	for i := range clusters {
		path, id := st.newCluster(t, staging, fmt.Sprintf("at-once-%d", i))
		paths, ids = append(paths, path), append(ids, id)
	}
	sessions := []*visitor{st.signIn(t, operator), st.signIn(t, operator), st.signIn(t, operator), st.signIn(t, admin), st.signIn(t, admin)}
	var all sync.WaitGroup
	var done, conflicts atomic.Int32
	for i := range restarts {
		all.Go(func() {
			v := sessions[i%len(sessions)].withoutRedirects()
			request, err := http.NewRequest(http.MethodPost, v.base+paths[i%clusters]+"/restart", nil)
			if err != nil {
				t.Error(err)
				return
			}
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Sec-Fetch-Site", "same-origin")
			answer, err := v.http.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = answer.Body.Close() }()
			switch answer.StatusCode {
			case http.StatusSeeOther:
				done.Add(1)
			case http.StatusConflict: // it restarts already
				conflicts.Add(1)
			default:
				t.Errorf("restart %d: %d", i, answer.StatusCode)
			}
		})
	}
	all.Wait()
	if done.Load() < clusters || done.Load()+conflicts.Load() != restarts {
		t.Errorf("%d restarts were done and %d refused", done.Load(), conflicts.Load())
	}
	const acts = `act = 'cluster.restart' AND target_id = ANY($1) AND phase = $2 AND ($3 = '' OR outcome = $3)`
	for _, want := range []struct {
		phase, outcome string
		count          int
	}{{"attempt", "", restarts}, {"outcome", "", restarts}, {"outcome", "ok", int(done.Load())}, {"outcome", "failed", int(conflicts.Load())}} {
		if got := st.events(t, acts, ids, want.phase, want.outcome); got != want.count {
			t.Errorf("%d events %s %s, want %d", got, want.phase, want.outcome, want.count)
		}
	}
	var odd int
	if err := st.db.QueryRow(t.Context(), `
		SELECT count(*) FROM (
			SELECT operation_id FROM audit.events WHERE act = 'cluster.restart' AND target_id = ANY($1) GROUP BY operation_id
			HAVING count(*) FILTER (WHERE phase <> 'settled') <> 2 OR count(*) FILTER (WHERE phase = 'attempt') <> 1 OR max(seq) FILTER (WHERE phase = 'attempt') > min(seq) FILTER (WHERE phase = 'outcome')
		) o`, ids).Scan(&odd); err != nil {
		t.Fatal(err)
	}
	if odd != 0 {
		t.Errorf("%d operations have not one attempt and then one outcome", odd)
	}
}

// logIsWhole checks what has to hold of the log whatever was done.
func logIsWhole(t *testing.T, st *stage) {
	st.waitFor(t, "no operation is open", `SELECT NOT EXISTS (SELECT FROM audit.open_operations)`)
	for what, query := range map[string]string{
		"a gap in the numbers":               `SELECT count(*) = max(seq) AND min(seq) = 1 FROM audit.events`,
		"an operation ended twice":           `SELECT NOT EXISTS (SELECT FROM audit.events WHERE phase = 'outcome' GROUP BY operation_id HAVING count(*) > 1)`,
		"work that ended twice":              `SELECT NOT EXISTS (SELECT FROM audit.events WHERE phase = 'settled' GROUP BY operation_id HAVING count(*) > 1)`,
		"an end of work before its outcome":  `SELECT NOT EXISTS (SELECT FROM audit.events e WHERE phase = 'settled' AND NOT EXISTS (SELECT FROM audit.events o WHERE o.operation_id = e.operation_id AND o.phase = 'outcome' AND o.seq < e.seq))`,
		"an outcome without an attempt":      `SELECT NOT EXISTS (SELECT FROM audit.events o WHERE phase = 'outcome' AND NOT EXISTS (SELECT FROM audit.events a WHERE a.operation_id = o.operation_id AND a.phase = 'attempt' AND a.seq < o.seq))`,
		"an attempt without an outcome":      `SELECT NOT EXISTS (SELECT FROM audit.events a WHERE phase = 'attempt' AND NOT EXISTS (SELECT FROM audit.events o WHERE a.operation_id = o.operation_id AND o.phase = 'outcome'))`,
		"an event of an act without a name":  `SELECT NOT EXISTS (SELECT FROM audit.events WHERE act !~ '^[a-z_]+\.[a-z_]+$')`,
		"an act of a member without session": `SELECT NOT EXISTS (SELECT FROM audit.events WHERE convert_from(body, 'UTF8')::jsonb->'actor'->>'via' = 'browser' AND phase IN ('attempt', 'outcome') AND coalesce(convert_from(body, 'UTF8')::jsonb->'actor'->>'session', '') = '')`,
	} {
		var well bool
		if err := st.db.QueryRow(t.Context(), query).Scan(&well); err != nil {
			t.Errorf("%s: %v", what, err)
		} else if !well {
			t.Errorf("the log has %s", what)
		}
	}
	got := runProgram(t, environment{"QM_DATABASE_URL=" + st.about.DatabaseURL}, "audit", "verify", "--state")
	if got.code != exitOK || !strings.Contains(got.stdout, "whole and unchanged") || !strings.Contains(got.stdout, "The log explains every row.") {
		t.Errorf("audit verify: exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
}
