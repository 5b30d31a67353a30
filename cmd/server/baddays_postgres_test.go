package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"quartermaster/internal/dbtest"
)

// The longest that a page may take while Postgres is away, on a busy machine, and the longest until the
// console is ready after it has come back.
const (
	loadWait  = 12 * time.Second
	readyWait = 10 * time.Second
)

// stress is members who read pages and make acts.
type stress struct {
	*crowd
	good    atomic.Int64 // pages as they should be, and acts that were done
	refused atomic.Int64 // honest 503s
	done    atomic.Int64 // acts answered with 303
}

// startLoad has four readers and three actors work until end.
func (w *badWeek) startLoad(t *testing.T) *stress {
	t.Helper()
	l := &stress{crowd: newCrowd(t)}
	production, _ := w.newCluster(t, production, "read-under-load")
	for i, paths := range [][]string{{"/clusters", production}, {"/clusters?q=search", "/accounts"}, {"/audit", "/me"}, {"/clusters", "/readyz"}} {
		v := w.people[[]string{operator, operator, auditor, operator}[i]]
		l.works(func(n int) { l.try(v, http.MethodGet, paths[n%len(paths)]) })
	}
	for i := range 3 {
		path, cluster := w.newCluster(t, staging, fmt.Sprintf("restarted-under-load-%d", i))
		healthy := map[string]any{"act": "phase", "account": w.accounts[staging].cloud, "cluster": cluster, "phase": "HEALTHY"}
		l.works(func(int) {
			w.control(t, http.MethodPost, "outside", healthy)
			l.try(w.people[operator], http.MethodPost, path+"/restart")
		})
	}
	return l
}

var requestIDText = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// try sends one request. Its answer must be a whole good page, or a 503 that says so with the request's id.
func (l *stress) try(v *visitor, method, path string) {
	begun := time.Now()
	got := l.asks(v.withoutRedirects(), method, path, nil)
	took, id := time.Since(begun), got.header.Get("X-Request-Id")
	whole := strings.HasSuffix(strings.TrimSpace(got.body), "</html>") || path == "/readyz" || got.status == http.StatusSeeOther
	switch {
	case got.status == 0: // noted
	case took > loadWait || !requestIDText.MatchString(id) || !whole:
		l.fails("%s %s: %d after %s: id %q\n%.300s", method, path, got.status, took, id, got.body)
	case method == http.MethodPost && got.status == http.StatusSeeOther:
		l.done.Add(1)
		l.good.Add(1)
	case got.status == http.StatusOK && method == http.MethodGet, got.status == http.StatusConflict && method == http.MethodPost:
		l.good.Add(1)
	case got.status == http.StatusServiceUnavailable && (path == "/readyz" || strings.Contains(got.body, id)):
		l.refused.Add(1)
	default:
		l.fails("%s %s: %d\n%.1000s", method, path, got.status, got.body)
	}
}

// connections counts what the console has open at Postgres.
func (w *badWeek) connections(t *testing.T) (n int) {
	t.Helper()
	if err := w.owner.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE usename = (SELECT usename FROM pg_stat_activity WHERE pid = $1)`, w.appPID(t)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *badWeek) appPID(t *testing.T) (pid int) {
	t.Helper()
	if err := w.db.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestPostgresRestartedUnderLoad stops and crashes Postgres while members read and act.
func TestPostgresRestartedUnderLoad(t *testing.T) {
	w, env := prepareBadWeek(t, dbtest.NewServer(t))
	p := w.startProcess(binary(t), 0, env)
	w.moveIn(t)
	l := w.startLoad(t)
	waitUntil(t, "the load is on", func() bool { return l.done.Load() > 20 && l.good.Load() > 200 })
	goroutines, files, connections := p.metric(t, "go_goroutines"), p.metric(t, "process_open_fds"), w.connections(t)

	for _, day := range []struct {
		name string
		end  func(testing.TB)
	}{{"stopped", w.postgres.Stop}, {"crashed", w.postgres.Crash}, {"stopped again", w.postgres.Stop}} {
		refused := l.refused.Load()
		day.end(t)
		waitUntil(t, day.name+": the console refuses", func() bool { return l.refused.Load() > refused+20 })
		w.postgres.Start(t)
		begun := time.Now()
		w.owner.Reset()
		w.db.Reset()
		waitUntil(t, day.name+": the console is ready again", func() bool {
			answer, err := w.probe.Get(w.base + "/readyz")
			return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
		})
		done := l.done.Load()
		waitUntil(t, day.name+": acts are done again", func() bool { return l.done.Load() > done+5 })
		if took := time.Since(begun); took > readyWait {
			t.Errorf("%s: work went on %s after Postgres was back", day.name, took)
		} else {
			t.Logf("%s: work went on %s after Postgres was back", day.name, took.Round(time.Millisecond))
		}
		now := w.databaseTime(t)
		w.waitFor(t, day.name+": refreshes go on", `SELECT count(*) = 3 FROM refresh WHERE kind = 'clusters' AND ok_at > $1`, now)
	}
	waitUntil(t, "goroutines, descriptors and connections are as many as before", func() bool {
		return p.metric(t, "go_goroutines") <= goroutines+10 && p.metric(t, "process_open_fds") <= files+10 && w.connections(t) <= connections+4
	})
	l.end(t)
	t.Logf("%d good answers, %d refusals, %d acts done", l.good.Load(), l.refused.Load(), l.done.Load())

	// Whatever reached upstream was written down before, and what was answered as done has its outcome.
	calls := w.callsOf(t, w.accounts[staging].cloud)["RestartCluster"]
	w.waitFor(t, "no operation is open", `SELECT NOT EXISTS (SELECT FROM audit.open_operations)`)
	attempts := w.events(t, `act = 'cluster.restart' AND phase = 'attempt'`)
	outcomes := w.events(t, `act = 'cluster.restart' AND phase = 'outcome'`)
	ok := w.events(t, `act = 'cluster.restart' AND phase = 'outcome' AND outcome = 'ok'`)
	// An outcome that could not be written is looked for, and the restart after it hides what became of this one: at most one for each
	// of three actors and three ends.
	unknown := w.events(t, `act = 'cluster.restart' AND phase = 'outcome' AND outcome = 'unknown' AND inferred`)
	told := fmt.Sprintf("%d restarts reached the Cloud API and %d members were told that it was done; the log has %d attempts and %d outcomes, %d of them ok and %d unknown",
		calls, l.done.Load(), attempts, outcomes, ok, unknown)
	if calls > attempts || attempts != outcomes || int64(ok+unknown) < l.done.Load() || unknown > 9 {
		t.Error(told)
	}
	t.Log(told)
	logIsWhole(t, w.stage)
}
