package schema_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"quartermaster/internal/dbtest"
	"quartermaster/internal/schema"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, address, statement string) {
	t.Helper()
	if _, err := connect(t, address).Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// newLogin is the address of a role that does not exist yet.
func newLogin(t *testing.T, db *dbtest.DB, password string) (address, role string) {
	t.Helper()
	u, err := url.Parse(db.AppURL)
	if err != nil {
		t.Fatal(err)
	}
	role = "qm_test_role_" + strings.ToLower(rand.Text()[:12])
	u.User = url.UserPassword(role, password)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), db.SuperURL)
		if err != nil {
			t.Errorf("dropping role %s: %v", role, err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), `DROP ROLE IF EXISTS `+role); err != nil {
			t.Errorf("dropping role %s: %v", role, err)
		}
	})
	return u.String(), role
}

func up(t *testing.T, cfg schema.Config) {
	t.Helper()
	if err := schema.Up(t.Context(), cfg); err != nil {
		t.Fatalf("migrating: %v", err)
	}
}

func TestManyProcessesMigrateAtOnce(t *testing.T) {
	one, two := dbtest.NewEmpty(t), dbtest.NewEmpty(t)
	login, _ := newLogin(t, one, "a 'quoted' pass\\word\"")
	other, err := url.Parse(login)
	if err != nil {
		t.Fatal(err)
	}
	other.Path = "/" + two.Name
	var wg sync.WaitGroup
	for range 4 {
		for _, cfg := range []schema.Config{
			{OwnerURL: one.OwnerURL, AppURL: login},
			{OwnerURL: two.OwnerURL, AppURL: other.String()},
		} {
			wg.Go(func() {
				if err := schema.Up(t.Context(), cfg); err != nil {
					t.Errorf("migrating: %v", err)
				}
			})
		}
	}
	wg.Wait()
	for _, address := range []string{login, other.String()} {
		conn := connect(t, address)
		if err := schema.Check(t.Context(), conn); err != nil {
			t.Error(err)
		}
		if made, err := schema.MadeByDev(t.Context(), conn); err != nil || made {
			t.Errorf("made by dev: %v, %v", made, err)
		}
		var installations int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM installation`).Scan(&installations); err != nil || installations != 1 {
			t.Errorf("%d installations, %v", installations, err)
		}
	}
}

func TestPlainPasswordNeverReachesTheServer(t *testing.T) {
	db := dbtest.NewEmpty(t)
	login, role := newLogin(t, db, "canary-password")
	up(t, schema.Config{OwnerURL: db.OwnerURL, AppURL: login})
	super := connect(t, db.SuperURL)
	var stored string
	if err := super.QueryRow(t.Context(), `SELECT rolpassword FROM pg_authid WHERE rolname = $1`, role).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "SCRAM-SHA-256$4096:") || strings.Contains(stored, "canary") {
		t.Errorf("stored as %q", stored)
	}
	connect(t, login) // the server takes the password for the verifier

	var powers bool
	if err := super.QueryRow(t.Context(), `SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = $1`, role).Scan(&powers); err != nil || powers {
		t.Errorf("the app's role has powers: %v, %v", powers, err)
	}

	// Running it again changes nothing; a changed password is taken over.
	up(t, schema.Config{OwnerURL: db.OwnerURL, AppURL: login})
	var again string
	if err := super.QueryRow(t.Context(), `SELECT rolpassword FROM pg_authid WHERE rolname = $1`, role).Scan(&again); err != nil || again != stored {
		t.Errorf("a second run stored another verifier (%v)", err)
	}
	changed := strings.Replace(login, "canary-password", "changed-password", 1)
	up(t, schema.Config{OwnerURL: db.OwnerURL, AppURL: changed})
	connect(t, changed)
}

func TestErrorsHoldNoPassword(t *testing.T) {
	db := dbtest.NewEmpty(t)
	login, _ := newLogin(t, db, "canary-pässword")
	for name, cfg := range map[string]schema.Config{
		"owner unreadable": {OwnerURL: "postgres://u:canary-password@host:port/x"},
		"app unreadable":   {OwnerURL: db.OwnerURL, AppURL: "postgres://u:canary-password@host:port/x"},
		"not ASCII":        {OwnerURL: db.OwnerURL, AppURL: login},
		"wrong owner":      {OwnerURL: strings.Replace(db.OwnerURL, "quartermaster-test@", "canary-password@", 1)},
	} {
		if err := schema.Up(t.Context(), cfg); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPowerfulAppRoleIsRefused(t *testing.T) {
	db := dbtest.NewEmpty(t)
	if err := schema.Up(t.Context(), schema.Config{OwnerURL: db.OwnerURL, AppURL: db.SuperURL}); err == nil || !strings.Contains(err.Error(), "superuser") {
		t.Errorf("got %v, want a refusal", err)
	}
}

// TestAppRoleOfAPowerfulGroupIsRefused is about rights that come through membership: they would
// write the log past audit.append, or lift its triggers.
func TestAppRoleOfAPowerfulGroupIsRefused(t *testing.T) {
	db := dbtest.NewEmpty(t)
	owner, err := url.Parse(db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	between := "qm_test_role_" + strings.ToLower(rand.Text()[:12])
	run(t, db.SuperURL, `CREATE ROLE `+between+` NOLOGIN`)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), db.SuperURL)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), `DROP ROLE `+between); err != nil {
			t.Error(err)
		}
	})
	run(t, db.SuperURL, `GRANT pg_write_all_data TO `+between)
	for _, group := range []string{owner.User.Username(), "pg_write_all_data", between} {
		login, role := newLogin(t, db, "secret")
		run(t, db.SuperURL, `CREATE ROLE `+role+` LOGIN`)
		run(t, db.SuperURL, `GRANT `+group+` TO `+role)
		if err := schema.Up(t.Context(), schema.Config{OwnerURL: db.OwnerURL, AppURL: login}); err == nil || !strings.Contains(err.Error(), "belongs to") {
			t.Errorf("member of %s: got %v, want a refusal", group, err)
		}
	}
}

func TestOneUserForBothIsAllowedAndTold(t *testing.T) {
	db := dbtest.NewEmpty(t)
	cfg := schema.Config{OwnerURL: db.OwnerURL, AppURL: db.OwnerURL, DevMade: true}
	up(t, cfg)
	if same, err := cfg.SameUser(); err != nil || !same {
		t.Errorf("SameUser: %v, %v", same, err)
	}
	cfg.AppURL = db.AppURL
	if same, err := cfg.SameUser(); err != nil || same {
		t.Errorf("SameUser of two: %v, %v", same, err)
	}
	cfg.DevMade = false
	up(t, cfg)
	if made, err := schema.MadeByDev(t.Context(), connect(t, db.AppURL)); err != nil || !made {
		t.Errorf("made by dev: %v, %v; the first migration decides", made, err)
	}
}

func TestCheckTellsWhatDoesNotFit(t *testing.T) {
	for name, test := range map[string]struct {
		damage string
		words  string
		newer  bool
	}{
		"none":             {`DELETE FROM schema_migrations`, "no schema yet", false},
		"older":            {`UPDATE schema_migrations SET version = 1`, "needs", false},
		"too new":          {`UPDATE schema_compatibility SET oldest_program = 998; UPDATE schema_migrations SET version = 999`, "takes programs from version 998 on", true},
		"newer and silent": {`DROP TABLE schema_compatibility; UPDATE schema_migrations SET version = 999`, "takes programs from version 999 on", true},
		"dirty":            {`UPDATE schema_migrations SET dirty = true`, "stopped in the middle", false},
	} {
		db := dbtest.New(t)
		if err := schema.Check(t.Context(), db.Pool); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		run(t, db.OwnerURL, test.damage)
		err := schema.Check(t.Context(), db.Pool)
		var mismatch *schema.MismatchError
		if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), test.words) || mismatch.Newer() != test.newer {
			t.Errorf("%s: %v", name, err)
		}
		if test.newer || name == "dirty" {
			// Whoever reads it must learn the same, above all which programs the schema takes.
			if err := schema.Up(t.Context(), schema.Config{OwnerURL: db.OwnerURL}); !errors.As(err, &mismatch) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("%s: migrating up gives %v", name, err)
			}
		}
	}
	empty := dbtest.NewEmpty(t)
	if err := schema.Check(t.Context(), connect(t, empty.OwnerURL)); err == nil || !strings.Contains(err.Error(), "no schema yet") {
		t.Errorf("empty database: %v", err)
	}
	run(t, empty.OwnerURL, `CREATE TABLE schema_migrations (version bigint, dirty boolean)`)
	if err := schema.Check(t.Context(), connect(t, empty.AppURL)); err == nil || !strings.Contains(err.Error(), "may not read") {
		t.Errorf("unreadable version: %v", err)
	}
}

// TestANewerSchemaThatTakesThisProgram is the way back from an update: the release before it starts
// again, and its migrate up has nothing to do.
func TestANewerSchemaThatTakesThisProgram(t *testing.T) {
	db := dbtest.New(t)
	run(t, db.OwnerURL, `UPDATE schema_migrations SET version = 999`)
	if err := schema.Check(t.Context(), db.Pool); err != nil {
		t.Errorf("checking: %v", err)
	}
	up(t, schema.Config{OwnerURL: db.OwnerURL, AppURL: db.AppURL})
	if s, err := schema.Status(t.Context(), db.Pool); err != nil || s.Version != 999 || !s.Works() || !s.Newer() {
		t.Errorf("after migrating up: %+v, %v", s, err)
	}
}

func TestEveryMigrationGoesBackAndForth(t *testing.T) {
	db := dbtest.NewEmpty(t)
	cfg := schema.Config{OwnerURL: db.OwnerURL, AppURL: db.AppURL}
	up(t, cfg)
	owner := connect(t, db.OwnerURL)
	state, err := schema.Status(t.Context(), owner)
	if err != nil || state.Version != state.Wanted || state.Dirty {
		t.Fatalf("after up: %+v, %v", state, err)
	}
	before := objects(t, owner)
	for state.Version > 0 {
		if err := schema.Down(t.Context(), cfg, 1); err != nil {
			t.Fatalf("down: %v", err)
		}
		was := state.Version
		if state, err = schema.Status(t.Context(), owner); err != nil || state.Version >= was {
			t.Fatalf("after down from %d: %+v, %v", was, state, err)
		}
	}
	if left := objects(t, owner); left != "public.schema_migrations" {
		t.Errorf("left after going down: %s", left)
	}
	up(t, cfg)
	if after := objects(t, owner); after != before {
		t.Errorf("after down and up:\n%s\nbefore:\n%s", after, before)
	}
	if err := schema.Down(t.Context(), cfg, 0); err == nil {
		t.Error("zero steps down were taken")
	}
}

func objects(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var names string
	if err := conn.QueryRow(t.Context(), `
		SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM (
			SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'S')
			UNION ALL
			SELECT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema') all_names`).Scan(&names); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAppRoleMakesNothing(t *testing.T) {
	db := dbtest.New(t)
	for _, statement := range []string{
		`CREATE TABLE public.mine ()`, `CREATE SCHEMA mine`, `CREATE ROLE mine`, `DROP TABLE installation`,
		`DELETE FROM installation`, `UPDATE installation SET made_by_dev = true`, `UPDATE schema_migrations SET version = 1`,
	} {
		_, err := db.Pool.Exec(t.Context(), statement)
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "42501" {
			t.Errorf("%s: got %v, want a refusal", statement, err)
		}
	}
	if _, err := db.Pool.Exec(t.Context(), `UPDATE installation SET config = '{"QM_ADDR": "digest"}'`); err != nil {
		t.Errorf("the one column it may write: %v", err)
	}
}
