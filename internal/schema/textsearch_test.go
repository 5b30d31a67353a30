package schema_test

import (
	"io/fs"
	"strings"
	"testing"

	"quartermaster/internal/dbtest"
	"quartermaster/internal/schema"
	"quartermaster/migrations"
)

// refuseExtension makes the server refuse CREATE EXTENSION with a code, as one does whose files are not there.
func refuseExtension(t *testing.T, db *dbtest.DB, code string) {
	t.Helper()
	run(t, db.SuperURL, `CREATE FUNCTION refuse_extension() RETURNS event_trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'extension "pg_trgm" is not available' USING ERRCODE = '`+code+`'; END $$`)
	run(t, db.SuperURL, `CREATE EVENT TRIGGER refuse_extension ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION refuse_extension()`)
}

func slowSearch(t *testing.T, address string) string {
	t.Helper()
	slow, err := schema.SlowSearch(t.Context(), connect(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return slow
}

func TestTextSearchHasItsIndex(t *testing.T) {
	if slow := slowSearch(t, dbtest.New(t).AppURL); slow != "" {
		t.Errorf("right after the migrations: %s", slow)
	}
}

// TestMigrationsDoWithoutTrigrams: what the extension needs is missing, and comes later.
func TestMigrationsDoWithoutTrigrams(t *testing.T) {
	for name, code := range map[string]string{"not installed": "0A000", "not installed, in older words": "58P01", "not allowed": "42501"} {
		t.Run(name, func(t *testing.T) {
			db := dbtest.NewEmpty(t)
			cfg := schema.Config{OwnerURL: db.OwnerURL, AppURL: db.AppURL}
			refuseExtension(t, db, code)
			up(t, cfg)
			if err := schema.Check(t.Context(), connect(t, db.AppURL)); err != nil {
				t.Errorf("the schema is not whole: %v", err)
			}
			if slow := slowSearch(t, db.AppURL); !strings.Contains(slow, "pg_trgm") || !strings.Contains(slow, "migrate up") {
				t.Errorf("the absence is told as %q", slow)
			}
			up(t, cfg) // still without
			run(t, db.SuperURL, `DROP EVENT TRIGGER refuse_extension`)
			up(t, cfg)
			if slow := slowSearch(t, db.AppURL); slow != "" {
				t.Errorf("migrated again with the extension there: %s", slow)
			}
		})
	}
}

// TestOtherFailuresOfTheIndexAreTold: only absence is passed over.
func TestOtherFailuresOfTheIndexAreTold(t *testing.T) {
	db := dbtest.NewEmpty(t)
	refuseExtension(t, db, "53100")
	if err := schema.Up(t.Context(), schema.Config{OwnerURL: db.OwnerURL}); err == nil {
		t.Error("a full disk was taken for a missing extension")
	}
}

// TestTrigramsInAnotherSchema: a superuser has put the extension elsewhere, and it stays theirs.
func TestTrigramsInAnotherSchema(t *testing.T) {
	db := dbtest.NewEmpty(t)
	run(t, db.SuperURL, `CREATE SCHEMA extensions`)
	run(t, db.SuperURL, `CREATE EXTENSION pg_trgm SCHEMA extensions`)
	cfg := schema.Config{OwnerURL: db.OwnerURL, AppURL: db.AppURL}
	up(t, cfg)
	if slow := slowSearch(t, db.AppURL); slow == "" {
		t.Error("an index was made with what the owner may not use")
	}
	run(t, db.SuperURL, `GRANT USAGE ON SCHEMA extensions TO PUBLIC`)
	up(t, cfg)
	if slow := slowSearch(t, db.AppURL); slow != "" {
		t.Errorf("the owner may use it: %s", slow)
	}
	all, err := fs.Glob(migrations.FS, "*.up.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Down(t.Context(), cfg, len(all)); err != nil {
		t.Fatalf("going down: %v", err)
	}
	var kept bool
	if err := connect(t, db.SuperURL).QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')`).Scan(&kept); err != nil || !kept {
		t.Errorf("the superuser's extension is gone, or %v", err)
	}
}
