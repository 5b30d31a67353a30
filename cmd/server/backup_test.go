package main

import (
	"context"
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/devenv"
)

// cluster is a Postgres server of its own, as initdb leaves it: no role of the console is on it.
type cluster struct {
	t        *testing.T
	super    string // address of the superuser
	log      string // the server's own, a file
	ownerURL string
	appURL   string
}

// newCluster starts one and does what the README tells an administrator to do.
func newCluster(t *testing.T, owner, app string) *cluster {
	t.Helper()
	c := bareCluster(t, nil)
	password := rand.Text()
	c.do(c.super, `CREATE ROLE `+owner+` LOGIN CREATEROLE PASSWORD '`+password+`'`, `CREATE DATABASE quartermaster OWNER `+owner)
	c.ownerURL, c.appURL = c.address(owner, password), c.address(app, rand.Text())
	return c
}

// bareCluster starts one with settings of its own.
func bareCluster(t *testing.T, settings map[string]string) *cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := map[string]string{"fsync": "off"}
	maps.Copy(all, settings)
	p, err := devenv.StartPostgres(ctx, devenv.PostgresConfig{Dir: filepath.Join(dataFolder(t), "pg"), Settings: all, EndWithParent: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return &cluster{t: t, super: p.SuperURL("postgres"), log: filepath.Join(filepath.Dir(p.DataDir), "postgres.log")}
}

func (c *cluster) address(role, password string) string {
	u := *mustURL(c.super)
	u.User, u.Path = url.UserPassword(role, password), "/quartermaster"
	return u.String()
}

func (c *cluster) do(address string, statements ...string) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), address)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) }()
	for _, statement := range statements {
		if _, err := conn.Exec(c.t.Context(), statement); err != nil {
			c.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// ask returns the one text that a query gives.
func (c *cluster) ask(address, query string) (answer string, err error) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), address)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) }()
	err = conn.QueryRow(c.t.Context(), query).Scan(&answer)
	return answer, err
}

// script runs a script of deploy as somebody who has the variables of an address.
func (c *cluster) script(address, name string, args ...string) (string, error) {
	c.t.Helper()
	cmd := exec.Command("../../deploy/"+name, args...)
	cmd.Env = c.variables(address)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// variables are those by which Postgres' programs find an address.
func (c *cluster) variables(address string) []string {
	c.t.Helper()
	u := mustURL(address)
	password, _ := u.User.Password()
	file := filepath.Join(c.t.TempDir(), "pgpass")
	if err := os.WriteFile(file, []byte("*:*:*:*:"+password+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return []string{
		"PATH=" + os.Getenv("PATH"), "PGHOST=" + u.Hostname(), "PGPORT=" + u.Port(), "PGUSER=" + u.User.Username(),
		"PGDATABASE=" + strings.TrimPrefix(u.Path, "/"), "PGPASSFILE=" + file,
	}
}

// on lets the console of s work on a cluster.
func (s *served) on(c *cluster) {
	s.env["QM_DATABASE_URL"], s.env["QM_MIGRATE_DATABASE_URL"] = c.appURL, c.ownerURL
}

// catalog says of everything in the schemas who owns it and who may do what with it, and which triggers,
// functions and constraints there are. The owner's own name is left out.
const catalog = `
	SELECT coalesce(string_agg(replace(line, current_user, 'OWNER'), E'\n' ORDER BY line), '') FROM (
		SELECT 'schema ' || nspname || ' ' || coalesce((SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(nspacl) a), '') AS line
			FROM pg_namespace WHERE nspname IN ('public', 'audit')
		UNION ALL
		SELECT 'table ' || c.oid::regclass || ' ' || c.relkind::text || ' ' || pg_get_userbyid(c.relowner) || ' ' || coalesce((SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(c.relacl) a), '')
			FROM pg_class c WHERE c.relnamespace IN ('public'::regnamespace, 'audit'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'S', 'i', 'I')
		UNION ALL
		SELECT 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(a.attacl) x), '')
			FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace IN ('public'::regnamespace, 'audit'::regnamespace) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
		UNION ALL
		SELECT 'function ' || p.oid::regprocedure || ' ' || pg_get_userbyid(p.proowner) || ' ' || p.prosecdef || ' ' || coalesce(p.proconfig::text, '') || ' ' || coalesce((SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(p.proacl) a), '') || ' ' || md5(p.prosrc)
			FROM pg_proc p WHERE p.pronamespace IN ('public'::regnamespace, 'audit'::regnamespace)
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
		UNION ALL
		SELECT 'trigger ' || tgrelid::regclass || ' ' || tgenabled::text || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL
		SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace IN ('public'::regnamespace, 'audit'::regnamespace)
		UNION ALL
		SELECT 'installation ' || id || ' ' || made_by_dev FROM installation
	) all_lines`

// attemptAgain writes the attempt of a restart once more, as another operation.
const attemptAgain = `
	SELECT audit.append(ARRAY[convert_to(replace(replace(convert_from(body, 'UTF8'), operation_id::text, gen_random_uuid()::text), id::text, gen_random_uuid()::text), 'UTF8')])::text
	FROM audit.events WHERE act = 'cluster.restart' AND phase = 'attempt' ORDER BY seq LIMIT 1`

// TestBackupAndRestore loses a server with the database on it, and goes on elsewhere.
func TestBackupAndRestore(t *testing.T) {
	for _, program := range []string{"pg_dump", "pg_restore", "psql"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: %s is not in PATH", program)
		}
	}
	s := prepareServe(t)
	owner := []string{"QM_MIGRATE_DATABASE_URL"}
	old := newCluster(t, "old_owner", "old_console")
	s.on(old)
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	s.start(s.with(owner))
	s.works()
	insider := newVisitor(t, s.base).signIn(admin)

	// An act is under way while the backup is taken: its attempt is in the log, and its end is not.
	if _, err := old.ask(old.appURL, attemptAgain); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "quartermaster.dump")
	said, err := old.script(old.ownerURL, "backup.sh", file)
	if err != nil || chainIn(said) == "" {
		t.Fatalf("backup.sh: %v\n%s", err, said)
	}
	s.works() // what is done after the backup is lost
	if later := runProgram(t, s.with(owner), "audit", "verify").stdout; chainIn(later) == chainIn(said) {
		t.Error("the log did not go on after the backup")
	}
	s.stop()
	catalogBefore, err := old.ask(old.ownerURL, catalog)
	if err != nil {
		t.Fatal(err)
	}

	t.Run("the file", func(t *testing.T) { backupFile(t, old, file) })

	// The new server has another owner's name, another login and other passwords.
	fresh := newCluster(t, "qm_owner", "qm_console")
	t.Run("what is refused", func(t *testing.T) { restoreRefuses(t, fresh, file) })
	t.Run("cut off", func(t *testing.T) { restoreCutOff(t, fresh, file) })
	restored, err := fresh.script(fresh.ownerURL, "restore.sh", file)
	if err != nil || chainIn(restored) != chainIn(said) {
		t.Fatalf("restore.sh: %v\n%s\nthe backup said:\n%s", err, restored, said)
	}
	s.on(fresh)
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	if got := runProgram(t, s.with(owner), "audit", "verify"); got.code != exitOK || chainIn(got.stdout) != chainIn(said) {
		t.Errorf("audit verify after the restore: exit code %d: %s%s\nthe backup said:\n%s", got.code, got.stdout, got.stderr, said)
	}
	catalogAfter, err := fresh.ask(fresh.ownerURL, catalog)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(catalogBefore, "\n"), strings.Split(catalogAfter, "\n")); diff != "" || len(catalogAfter) < 5000 {
		t.Errorf("owners, rights, triggers or functions changed by the restore (-before +after):\n%s", diff)
	}
	for name, address := range map[string]string{"console": fresh.appURL, "owner": fresh.ownerURL} {
		if _, err := fresh.ask(address, `UPDATE audit.events SET act = 'x' RETURNING act`); err == nil {
			t.Errorf("the %s can change an event after the restore", name)
		}
	}

	t.Run("without the key", func(t *testing.T) {
		got := runProgram(t, s.with(owner, "QM_KEK", "base64:"+strings.Repeat("A", 43)+"="), "serve")
		if got.code != exitFailed || !strings.Contains(got.stderr, "need the key encryption key with fingerprint") {
			t.Errorf("another key: exit code %d: %s", got.code, got.stderr)
		}
		if got := runProgram(t, s.with(append(owner, "QM_KEK")), "serve"); got.code != exitMisused || !strings.Contains(got.stderr, "QM_KEK") {
			t.Errorf("no key: exit code %d: %s", got.code, got.stderr)
		}
	})

	if open, err := fresh.ask(fresh.appURL, `SELECT count(*)::text FROM audit.open_operations`); err != nil || open != "1" {
		t.Errorf("%s operations are open after the restore, %v", open, err)
	}
	s.start(s.with(owner, "QM_AUDIT_UNKNOWN_AFTER", "1s"))
	if page := insider.withoutRedirects().get("/clusters"); page.status != http.StatusSeeOther || !strings.HasPrefix(page.header.Get("Location"), "/login") {
		t.Errorf("a session of before the restore is answered with %d", page.status)
	}
	before := s.works() // the management key opens: the restart reaches the Cloud API
	if before < 2 {
		t.Errorf("%d restarts in the log after the restore, want the one of before the backup and a new one", before)
	}
	waitUntil(t, "the operation that was open in the backup is closed", func() bool {
		open, err := fresh.ask(fresh.appURL, `SELECT count(*)::text FROM audit.open_operations`)
		return err == nil && open == "0"
	})
	s.stop()
	if got := runProgram(t, s.with(owner), "audit", "verify"); got.code != exitOK {
		t.Errorf("audit verify in the end: exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
}

// backupFile looks at what backup.sh left behind.
func backupFile(t *testing.T, c *cluster, file string) {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", info.Mode(), err)
	}
	if out, err := c.script(c.ownerURL, "backup.sh", file); err == nil || !strings.Contains(out, "exists already") {
		t.Errorf("a backup over another: %v\n%s", err, out)
	}
	elsewhere := filepath.Join(filepath.Dir(file), "never.dump")
	if out, err := c.script(c.super, "backup.sh", elsewhere); err == nil || !strings.Contains(out, "no log in it") {
		t.Errorf("a backup of another database: %v\n%s", err, out)
	}
	wrong := strings.Replace(c.ownerURL, ":"+passwordOf(c.ownerURL)+"@", ":wrong@", 1)
	if out, err := c.script(wrong, "backup.sh", elsewhere); err == nil {
		t.Errorf("a backup with a wrong password succeeds:\n%s", out)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("besides the backup there is something left: %v, %v", entries, err)
	}
}

func passwordOf(address string) string {
	password, _ := mustURL(address).User.Password()
	return password
}

// restoreRefuses tries what must not change the database.
func restoreRefuses(t *testing.T, c *cluster, file string) {
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.dump")
	if err := os.WriteFile(cut, content[:len(content)*9/10], 0o600); err != nil {
		t.Fatal(err)
	}
	super := *mustURL(c.super)
	super.Path = "/quartermaster"
	for name, test := range map[string]struct{ address, file, want string }{
		"cut off":       {c.ownerURL, cut, "cut off, or no backup"},
		"no such file":  {c.ownerURL, filepath.Join(t.TempDir(), "none"), "cannot be read"},
		"as superuser":  {super.String(), file, "not as a superuser"},
		"no arguments":  {c.ownerURL, "", "usage"},
		"not a backup":  {c.ownerURL, "backup_test.go", "no backup"},
		"wrong address": {strings.Replace(c.ownerURL, ":"+passwordOf(c.ownerURL)+"@", ":wrong@", 1), file, "the database cannot be asked"},
	} {
		if out, err := c.script(test.address, "restore.sh", test.file); err == nil || !strings.Contains(out, test.want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if tables, err := c.ask(c.ownerURL, `SELECT count(*)::text FROM pg_class WHERE relnamespace = 'public'::regnamespace`); err != nil || tables != "0" {
		t.Errorf("a refused restore left %s tables, %v", tables, err)
	}
	c.do(c.ownerURL, `CREATE TABLE mine ()`)
	if out, err := c.script(c.ownerURL, "restore.sh", file); err == nil || !strings.Contains(out, "not empty") {
		t.Errorf("into a database that is not empty: %v\n%s", err, out)
	}
	c.do(c.ownerURL, `DROP TABLE mine`)
}

// restoreCutOff ends restore.sh right after what it restored is there for everybody. A console that comes then, or
// whoever goes on from there by hand, must not find sessions that were ended since the backup.
func restoreCutOff(t *testing.T, c *cluster, file string) {
	c.do(c.super, `CREATE DATABASE cutoff OWNER qm_owner`)
	u := *mustURL(c.ownerURL)
	u.Path = "/cutoff"
	real, err := exec.LookPath("pg_restore")
	if err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	script := "#!/bin/sh\ncase \" $* \" in *\" --single-transaction \"*) " + real + " \"$@\"; kill -9 $PPID;; *) exec " + real + " \"$@\";; esac\n"
	if err := os.WriteFile(filepath.Join(programs, "pg_restore"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	if out, err := c.script(u.String(), "restore.sh", file); err == nil {
		t.Errorf("restore.sh was not cut off:\n%s", out)
	}
	if accounts, err := c.ask(u.String(), `SELECT count(*)::text FROM accounts`); err != nil || accounts == "0" {
		t.Errorf("%s accounts were restored, %v", accounts, err)
	}
	if living, err := c.ask(u.String(), `SELECT count(*)::text FROM sessions WHERE ended_at IS NULL`); err != nil || living != "0" {
		t.Errorf("%s sessions live again, %v", living, err)
	}
}
