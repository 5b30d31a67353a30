package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/schema"
)

// The tests in this file are about two releases and one database: a program meets the schema of the
// release before its own, and of the one after.

// ownerDoes runs statements as the schema's owner.
func (s *served) ownerDoes(statements ...string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.env["QM_MIGRATE_DATABASE_URL"])
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) }()
	for _, statement := range statements {
		if _, err := conn.Exec(s.t.Context(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// works fails the test unless somebody can sign in, add an account when there is none, restart a cluster, and
// read in the log how that ended. It returns how many restarts the log knows.
func (s *served) works() (restarts int) {
	s.t.Helper()
	v := newVisitor(s.t, s.base).signIn(admin)
	if len(v.get("/accounts").byTestID("account-row")) == 0 {
		for _, f := range s.box.Fixtures() {
			if f.Registered && f.Generation == "current" {
				added := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{
					"generation": f.Generation, "management_key": f.ManagementKey, "name": f.Name, "environment": f.Environment,
				})
				if added.bodyID() != "account-show" {
					s.t.Fatalf("adding %s ended at %s with %d:\n%.2000s", f.Name, added.url, added.status, added.body)
				}
				break
			}
		}
	}
	// What is listed may be older than what the Cloud API knows, above all after a restore: then it
	// refuses, and the next refresh tells why.
	waitUntil(s.t, "a cluster is restarted", func() bool {
		for _, row := range v.get("/clusters?phase=HEALTHY").byTestID("cluster-row") {
			cluster := "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]
			if done := v.post(cluster+"/restart", nil); done.status == http.StatusOK && done.url.Path == cluster {
				return true
			}
		}
		return false
	})
	for _, event := range v.get("/audit?act=cluster.restart").byTestID("audit-row") {
		if event["data-outcome"] == "ok" {
			restarts++
		}
	}
	if restarts == 0 {
		s.t.Fatal("the log does not tell of the restart")
	}
	return restarts
}

func TestServeRefusesThePreviousSchema(t *testing.T) {
	s := prepareServe(t)
	owner := []string{"QM_MIGRATE_DATABASE_URL"}
	for _, args := range [][]string{{"migrate", "up"}, {"migrate", "down"}} {
		if got := runProgram(t, s.with(nil), args...); got.code != exitOK {
			t.Fatalf("%v: exit code %d: %s", args, got.code, got.stderr)
		}
	}
	for _, args := range [][]string{{"serve"}, {"audit", "verify"}, {"migrate", "status"}} {
		got := runProgram(t, s.with(owner), args...)
		if got.code != exitFailed || !strings.Contains(got.stderr, "and this program needs") || !strings.Contains(got.stderr, "run quartermaster migrate up") {
			t.Errorf("%v on the previous schema: exit code %d: %s", args, got.code, got.stderr)
		}
	}
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	s.start(s.with(owner))
	s.works()
	s.stop()
}

// nextRelease is a migration as a later release may bring it: a column in every table, a table of
// its own, and nothing taken away.
var nextRelease = []string{
	`DO $$
	DECLARE t record;
	BEGIN
		FOR t IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname IN ('public', 'audit') AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'schema_migrations'
		LOOP
			EXECUTE format('ALTER TABLE %s ADD COLUMN of_the_next_release text NOT NULL DEFAULT ''new''', t.name);
		END LOOP;
	END $$`,
	`CREATE TABLE made_by_the_next_release (id uuid PRIMARY KEY)`,
	`UPDATE schema_migrations SET version = version + 1`,
}

// TestServeWorksOnTheNextSchema is the way back from an update: this program, as the previous
// release, on the schema of the next one.
func TestServeWorksOnTheNextSchema(t *testing.T) {
	s := prepareServe(t)
	owner := []string{"QM_MIGRATE_DATABASE_URL"}
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	s.start(s.with(owner))
	before := s.works()
	s.ownerDoes(nextRelease...)
	if now := s.works(); now <= before { // during the update
		t.Errorf("%d restarts in the log, %d before", now, before)
	}
	s.stop()

	s.start(s.with(owner)) // after it
	if now := s.works(); now <= before+1 {
		t.Errorf("%d restarts in the log, %d before", now, before+1)
	}
	if out := s.output.String(); !strings.Contains(out, "the schema was made by a newer release, and this one works on it") {
		t.Errorf("the program does not say that the schema is newer:\n%s", out)
	}
	for _, args := range [][]string{{"migrate", "up"}, {"migrate", "status"}, {"audit", "verify"}, {"check"}} {
		if got := runProgram(t, s.with(nil), args...); got.code != exitOK {
			t.Errorf("%v on the next schema: exit code %d: %s%s", args, got.code, got.stdout, got.stderr)
		}
	}

	// A release that takes away what this program needs says so; nothing half works then.
	s.ownerDoes(`UPDATE schema_compatibility SET oldest_program = (SELECT version FROM schema_migrations)`)
	if answer, err := http.Get(s.base + "/readyz"); err != nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readiness on a schema that takes this program no more: %v, %v", answer, err)
	} else if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	s.stop()
	for _, args := range [][]string{{"serve"}, {"migrate", "up"}} {
		env := s.with(nil)
		if args[0] == "serve" {
			env = s.with(owner)
		}
		if got := runProgram(t, env, args...); got.code != exitFailed || !strings.Contains(got.stderr, "start the newer one") {
			t.Errorf("%v: exit code %d: %s", args, got.code, got.stderr)
		}
	}
}

// TestPreviousProgramOnThisSchema runs the program of the previous release, built from history, on what
// this one migrates.
func TestPreviousProgramOnThisSchema(t *testing.T) {
	path := os.Getenv("TEST_PREVIOUS_BINARY")
	if path == "" {
		t.Skip("NOT RUN: TEST_PREVIOUS_BINARY names no program; .ci/run builds it from history")
	}
	s := prepareServe(t)
	owner := []string{"QM_MIGRATE_DATABASE_URL"}
	delete(s.env, "QM_DRAIN_DELAY") // a variable that the previous program may not know, and so refuses
	previous := func(args ...string) (string, error) {
		cmd := exec.Command(path, args...)
		cmd.Env = s.with(nil)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := previous("migrate", "up"); err != nil {
		t.Fatalf("migrating with the previous program: %v\n%s", err, out)
	}
	s.startProcess(path, 0, s.with(owner))
	s.works()
	was := schemaOf(t, s)
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	if now := schemaOf(t, s); now.Version <= was.Version {
		t.Fatalf("the previous program has schema %d and this one %d: it is no previous one", was.Version, now.Version)
	}
	s.works() // the previous program still runs, as during an update
	s.stop()
	s.start(s.with(owner))
	s.works()
	s.stop()

	// Programs of before schema version 8 refuse to start on a newer schema; the later ones must start.
	if was.Version < 8 {
		if out, err := previous("serve"); err == nil || !strings.Contains(out, "newer program") {
			t.Errorf("the previous program on the newer schema: %v\n%s", err, out)
		}
		t.Logf("the previous program has schema version %d and does not start on a newer one; it ran on while this one migrated", was.Version)
		return
	}
	s.startProcess(path, 0, s.with(owner))
	s.works()
	s.stop()
}

// schemaOf reads which schema the database has.
func schemaOf(t *testing.T, s *served) schema.State {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.env["QM_MIGRATE_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	state, err := schema.Status(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return state
}
