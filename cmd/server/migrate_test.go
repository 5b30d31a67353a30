package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/dbtest"
)

// runContained runs dev as in a container.
func runContained(t *testing.T, database string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &program{env: devEnvironment(dataFolder(t), "QM_DEV_CONTAINER=yes", "QM_DATABASE_URL="+database), stdout: &stdout, stderr: &stderr, inContainer: func() bool { return true }}
	if _, err := p.parse(context.Background(), []string{"dev"}); err != nil {
		t.Fatal(err)
	}
	return result{code: p.fail(p.dev(ctx)), stdout: stdout.String(), stderr: stderr.String()}
}

// A database is of one kind from its first migration on. Each kind refuses the other before it changes anything.
func TestDatabasesForDevAndForServeStayApart(t *testing.T) {
	migrate := func(db *dbtest.DB, args ...string) result {
		return runProgram(t, environment{"QM_DATABASE_URL=" + db.AppURL, "QM_MIGRATE_DATABASE_URL=" + db.OwnerURL}, append([]string{"migrate"}, args...)...)
	}
	serve := func(db *dbtest.DB) result {
		env := goodEnvironment()
		env["QM_DATABASE_URL"], env["QM_ADDR"], env["QM_METRICS_ADDR"] = db.AppURL, "127.0.0.1:0", "127.0.0.1:0"
		return runProgram(t, environmentOf(env), "serve")
	}
	expect := func(what string, got result, code int, words string) {
		t.Helper()
		if got.code != code || !strings.Contains(got.stderr, words) {
			t.Errorf("%s: exit code %d, want %d and %q: %s%s", what, got.code, code, words, got.stdout, got.stderr)
		}
	}
	const madeByDev, notMadeByDev = "made by quartermaster dev, or for it", "not made by quartermaster dev"

	ours, devs := dbtest.NewEmpty(t), dbtest.NewEmpty(t)
	expect("dev without a schema", runContained(t, devs.AppURL), exitFailed, "the database has no schema yet")
	expect("up", migrate(ours, "up"), exitOK, "")
	expect("up for dev", migrate(devs, "up", "--for-dev"), exitOK, "")
	expect("up for dev again", migrate(devs, "up", "--for-dev"), exitOK, "")

	// Something is left to do, so that a refusal in time can be told from one after the deed.
	expect("down", migrate(ours, "down"), exitOK, "")
	expect("down", migrate(devs, "down"), exitOK, "")
	expect("up for dev of a real database", migrate(ours, "up", "--for-dev"), exitFailed, notMadeByDev)
	expect("up of a database for dev", migrate(devs, "up"), exitFailed, madeByDev)
	for _, db := range []*dbtest.DB{ours, devs} {
		expect("status", migrate(db, "status"), exitFailed, "run quartermaster migrate up")
	}
	expect("up", migrate(ours, "up"), exitOK, "")
	expect("up for dev", migrate(devs, "up", "--for-dev"), exitOK, "")

	expect("dev on a real database", runContained(t, ours.AppURL), exitFailed, notMadeByDev)
	expect("serve on a database for dev", serve(devs), exitFailed, madeByDev)
}

// Of two that make one database at the same moment, for dev and not, the one that comes second is told.
func TestDatabaseIsOfOneKindWhoeverIsFirst(t *testing.T) {
	db := dbtest.NewEmpty(t)
	env := environment{"QM_DATABASE_URL=" + db.AppURL, "QM_MIGRATE_DATABASE_URL=" + db.OwnerURL}
	results := make(chan result, 2)
	go func() { results <- runProgram(t, env, "migrate", "up") }()
	go func() { results <- runProgram(t, env, "migrate", "up", "--for-dev") }()
	a, b := <-results, <-results
	if a.code == b.code || a.code+b.code != exitFailed || !strings.Contains(a.stderr+b.stderr, "made by quartermaster dev") {
		t.Errorf("exit codes %d and %d: %s%s", a.code, b.code, a.stderr, b.stderr)
	}
}

// A first migration that was cut off before it said whose the database is can be repeated.
func TestMigrateUpGoesOnAfterACutFirstMigration(t *testing.T) {
	db := dbtest.New(t)
	env := environment{"QM_DATABASE_URL=" + db.AppURL, "QM_MIGRATE_DATABASE_URL=" + db.OwnerURL}
	super := openPool(t, db.SuperURL)
	if _, err := super.Exec(t.Context(), `DELETE FROM installation`); err != nil {
		t.Fatal(err)
	}
	if got := runContained(t, db.AppURL); got.code != exitFailed {
		t.Errorf("dev took a database that nobody had said anything of: %s", got.stdout)
	}
	if got := runProgram(t, env, "migrate", "up"); got.code != exitOK {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	var made bool
	if err := super.QueryRow(t.Context(), `SELECT made_by_dev FROM installation`).Scan(&made); err != nil || made {
		t.Errorf("made by dev: %v, %v", made, err)
	}
}
