package main

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

// TestDiskFullUnderTheLog fills the disk that the log is on: nothing is done without a record, looking goes on, and so does
// everything else by itself when there is room.
func TestDiskFullUnderTheLog(t *testing.T) {
	postgres := dbtest.NewServer(t)
	space := postgres.Tablespace(t, "qm_log", 12<<20)
	w, env := prepareBadWeek(t, postgres)
	w.exec(t, `SELECT audit.move_log('qm_log')`)
	// A vacuum in the middle would clear what failed appends left behind, and a few small events would fit again.
	w.exec(t, `ALTER TABLE audit.events_000000 SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)`)
	w.start(env)
	w.moveIn(t)
	path, _ := w.newCluster(t, production, "not-restarted-on-a-full-disk")

	space.Fill(t)
	w.useUpTheLog(t)
	before := w.changes(t)
	const told = "The audit log cannot be written"
	for _, r := range []struct {
		member, method, path string
		form                 url.Values
		status               int
		says                 string
	}{
		{operator, "POST", path + "/restart", nil, 503, told},
		{operator, "POST", path + "/suspend", nil, 503, told},
		{admin, "POST", path + "/delete", url.Values{"confirm": {"not-restarted-on-a-full-disk"}, "delete_backups": {"yes"}}, 503, told},
		{auditor, "POST", path + "/restart", nil, 403, "You may not do this"}, // a refusal needs no record to be one
		{operator, "GET", "/clusters", nil, 200, "not-restarted-on-a-full-disk"},
		{operator, "GET", path, nil, 200, "not-restarted-on-a-full-disk"},
		{operator, "GET", "/accounts", nil, 200, production},
		{operator, "GET", "/me", nil, 200, "Oscar Operator"},
		{auditor, "GET", "/audit", nil, 200, "Auditor"},
		{auditor, "GET", "/audit?q=canary", nil, 503, told}, // searching is an act
		{auditor, "GET", "/audit/export?format=csv", nil, 503, told},
		{operator, "GET", "/readyz", nil, 200, "ready"},
		{operator, "POST", "/logout", nil, 503, told},
		{operator, "GET", "/clusters", nil, 200, "not-restarted-on-a-full-disk"}, // and so is signed in still
	} {
		begun := time.Now()
		got := w.people[r.member].try(r.method, r.path, r.form)
		if got.status != r.status || !strings.Contains(got.text(), r.says) || time.Since(begun) > 5*time.Second {
			t.Errorf("%s %s as %s: %d after %s, want %d and %q:\n%s", r.method, r.path, r.member, got.status, time.Since(begun), r.status, r.says, got.text())
		}
		if strings.Contains(got.body, "53100") || strings.Contains(got.body, "pg_tblspc") {
			t.Errorf("%s %s tells of the inside:\n%s", r.method, r.path, got.text())
		}
	}
	if n := w.changes(t) - before; n > 0 {
		t.Errorf("the Cloud API was asked for %d changes", n)
	}
	stranger := newVisitor(t, w.base)
	if got := stranger.get("/login?login_hint=" + url.QueryEscape(admin)); got.status != http.StatusServiceUnavailable || !strings.Contains(got.text(), told) {
		t.Errorf("a sign-in that cannot be recorded: %d at %s\n%s", got.status, got.url, got.text())
	}
	if got := stranger.withoutRedirects().get("/me"); got.status != http.StatusSeeOther {
		t.Errorf("the stranger is signed in without a record: %d", got.status)
	}
	w.waitFor(t, "refreshes go on", `SELECT count(*) = 3 FROM refresh WHERE kind = 'clusters' AND ok_at > $1`, w.databaseTime(t))

	space.Empty(t)
	if got := w.people[operator].withoutRedirects().post(path+"/restart", nil); got.status != http.StatusSeeOther {
		t.Errorf("the restart when there is room: %d\n%s", got.status, got.text())
	}
	if got := stranger.get("/login?login_hint=" + url.QueryEscape(admin)); got.status != http.StatusOK || got.bodyID() != "clusters-index" {
		t.Errorf("the sign-in when there is room: %d at %s\n%s", got.status, got.url, got.text())
	}
	w.waitFor(t, "no operation is open", `SELECT NOT EXISTS (SELECT FROM audit.open_operations)`)
	// The refusal is kept for a minute, or until the console stops.
	w.stop()
	if n := w.events(t, `outcome = 'denied' AND act = 'cluster.restart' AND actor_email = $1`, auditor); n != 1 {
		t.Errorf("%d events tell of the refusal", n)
	}
	logIsWhole(t, w.stage)
}

// TestDiskFullUnderPostgres fills the disk of Postgres' write-ahead log until Postgres ends itself. With room and a start
// of Postgres all goes on.
func TestDiskFullUnderPostgres(t *testing.T) {
	postgres := dbtest.NewServer(t)
	space := postgres.SmallWAL(t, 96<<20)
	w, env := prepareBadWeek(t, postgres)
	w.start(env)
	w.moveIn(t)
	path, _ := w.newCluster(t, production, "not-restarted-without-postgres-disk")
	space.Fill(t)
	waitUntil(t, "Postgres has no room for its log", func() bool {
		_, err := w.owner.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS filling (i int); INSERT INTO filling SELECT generate_series(1, 100000); SELECT pg_switch_wal()`)
		return err != nil
	})
	before := w.changes(t)
	got := w.people[operator].try("POST", path+"/restart", nil)
	if got.status != http.StatusServiceUnavailable || w.changes(t) != before {
		t.Errorf("an act answers %d, and the Cloud API was asked for %d changes", got.status, w.changes(t)-before)
	}
	space.Empty(t)
	postgres.Stop(t) // whether it ended or starts over and over
	postgres.Start(t)
	w.owner.Reset()
	w.db.Reset()
	waitUntil(t, "the console is ready again", func() bool { return w.people[operator].get("/readyz").status == http.StatusOK })
	if got := w.people[operator].withoutRedirects().post(path+"/restart", nil); got.status != http.StatusSeeOther {
		t.Errorf("the restart when there is room: %d\n%s", got.status, got.text())
	}
	logIsWhole(t, w.stage)
}

// useUpTheLog appends until no event fits any more. One that fails may have found no room in one page of one index only, and
// each connection keeps to a page of the table: so events of several kinds and sizes must fail on several new connections.
func (w *badWeek) useUpTheLog(t *testing.T) {
	t.Helper()
	// The console's connections have pages of their own with room in them; new ones do not.
	w.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	w.db.Reset()
	for i, quiet := 0, 0; quiet < 4; i++ {
		if i > 200 {
			t.Fatal("the log can still be written on a full disk")
		}
		quiet++
		if w.fillTheLog(t) > 0 {
			quiet = 0
		}
	}
	waitUntil(t, "the console has connected again", func() bool {
		return w.people[operator].get("/clusters").status == http.StatusOK && w.people[operator].get("/readyz").status == http.StatusOK
	})
}

// fillTheLog appends on new connections until twenty events in a row do not fit, and returns how many did.
func (w *badWeek) fillTheLog(t *testing.T) (written int) {
	t.Helper()
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: w.about.DatabaseURL, DB: w.db})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for failures := 0; failures < 20; {
		e := audit.Event{Act: "test.filling", Phase: audit.PhaseSingle, Outcome: audit.OK}
		if n := failures + written; n%2 == 0 {
			e.Act, e.Operation, e.Parent = []string{"session.login", "session.logout", "audit.search", "cluster.restart"}[n/2%4], uuid.New(), uuid.New()
			e.Target = audit.Target{Kind: []string{"session", "cluster", "log"}[n/2%3], ID: uuid.NewString()}
			e.Account.ID, e.Actor.Subject, e.Actor.Issuer = uuid.NewString(), uuid.NewString(), w.provider.URL
		}
		if _, err := log.Append(t.Context(), e); err == nil {
			failures, written = 0, written+1
		} else if failures++; !errors.Is(err, audit.ErrUnwritable) || !strings.Contains(err.Error(), "53100") {
			t.Fatalf("appending on a full disk: %v", err)
		}
	}
	return written
}
