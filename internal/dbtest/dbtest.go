// Package dbtest gives each test a real Postgres database with the current schema: a clone of a
// template that was migrated once. It is imported by tests only.
//
// The server is the one of TEST_DATABASE_URL (a superuser's address), else a container of
// TEST_POSTGRES_IMAGE, else one of the official image when a Docker engine answers and has it, else
// one started from installed binaries for this process. What was asked for by name is used or fails;
// there is no going on with something else. A test that cannot have a database fails; it is never skipped. What this process
// started ends with it, also when it is killed.
package dbtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/schema"
	"quartermaster/migrations"
)

// The roles tests work as. They are made on whatever server the tests use.
const (
	ownerRole    = "quartermaster_test_owner"
	appRole      = "quartermaster_test_app"
	testPassword = "quartermaster-test"
)

// DB is a database of one test.
type DB struct {
	AppURL   string        // the role that serve works as
	OwnerURL string        // the role that owns the schema
	SuperURL string        // a superuser, for damage that no role of ours can do
	Pool     *pgxpool.Pool // app role
	Name     string
}

// New gives the test a freshly migrated database, which is dropped when the test ends.
func New(t testing.TB) *DB {
	t.Helper()
	s, err := sharedServer()
	if err != nil {
		t.Fatalf("a test database cannot be had: %v", err)
	}
	return s.clone(t, "template")
}

// NewEmpty gives the test a database without schema, owned by the owner role. AppURL names a
// role that exists; Pool is nil.
func NewEmpty(t testing.TB) *DB {
	t.Helper()
	s, err := sharedServer()
	if err != nil {
		t.Fatalf("a test database cannot be had: %v", err)
	}
	return s.clone(t, "")
}

// Main runs the tests of a package and ends the server they used. Call it from TestMain:
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
// Without it the server ends a moment after the process.
func Main(m *testing.M) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "ending the test database server:", err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

// server is where databases are made.
type server struct {
	superURL string
	stop     func(context.Context) error

	templateOnce sync.Once
	templateErr  error
}

var (
	sharedMu  sync.Mutex
	shared    *server
	sharedErr error
)

// sharedServer is the one server of this process, started when the first test asks.
func sharedServer() (*server, error) {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil && sharedErr == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		shared, sharedErr = findServer(ctx)
	}
	return shared, sharedErr
}

func stopShared() error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil || shared.stop == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := shared.stop(ctx)
	shared, sharedErr = nil, errors.New("the test database server has ended")
	return err
}

func findServer(ctx context.Context) (*server, error) {
	if address := os.Getenv("TEST_DATABASE_URL"); address != "" {
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			return nil, errors.New("TEST_DATABASE_URL must be an address like postgres://user:password@host:5432/postgres")
		}
		return &server{superURL: address}, nil
	}
	if s, err := containerServer(ctx); s != nil || err != nil {
		return s, err
	}
	return installedServer(ctx)
}

// clone makes a database from a template of this server; from none when template is empty.
func (s *server) clone(t testing.TB, template string) *DB {
	t.Helper()
	ctx := context.Background()
	s.templateOnce.Do(func() { s.templateErr = s.ensureTemplate(ctx) })
	if s.templateErr != nil {
		t.Fatalf("migrating the template of test databases: %v", s.templateErr)
	}
	name := "qm_test_" + strings.ToLower(rand.Text()[:16])
	statement := `CREATE DATABASE ` + name + ` OWNER ` + ownerRole
	if template != "" {
		statement += ` TEMPLATE ` + templateName()
	}
	if err := s.exec(ctx, statement); err != nil {
		t.Fatalf("cloning the template of test databases: %v", err)
	}
	db := &DB{
		Name:     name,
		AppURL:   withLogin(s.superURL, appRole, name),
		OwnerURL: withLogin(s.superURL, ownerRole, name),
		SuperURL: withDatabase(s.superURL, name),
	}
	t.Cleanup(func() {
		if db.Pool != nil {
			db.Pool.Close()
		}
		if err := s.exec(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	if template == "" {
		return db
	}
	pool, err := pgxpool.New(ctx, db.AppURL)
	if err != nil {
		t.Fatalf("connecting to the test's database: %v", err)
	}
	db.Pool = pool
	return db
}

func (s *server) exec(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.superURL)
	if err != nil {
		return fmt.Errorf("connecting to the test database server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// ensureTemplate makes and migrates the template under a lock of the server, because the
// packages' test processes share one when TEST_DATABASE_URL is set.
func (s *server) ensureTemplate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.superURL)
	if err != nil {
		return fmt.Errorf("connecting to the test database server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('quartermaster test template', 0))`); err != nil {
		return fmt.Errorf("waiting for another test process: %w", err)
	}
	for _, role := range []string{ownerRole + ` LOGIN CREATEROLE CREATEDB`, appRole + ` LOGIN`} {
		_, err := conn.Exec(ctx, `CREATE ROLE `+role+` PASSWORD '`+testPassword+`'`)
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "42710" {
			continue
		}
		if err != nil {
			return fmt.Errorf("making the tests' roles: %w", err)
		}
	}
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, templateName()).Scan(&exists); err != nil {
		return fmt.Errorf("looking for the template: %w", err)
	}
	if exists {
		return nil
	}
	// Migrated under another name, so that an interrupted attempt is never cloned.
	unfinished := templateName() + "_new"
	for _, statement := range []string{
		`DROP DATABASE IF EXISTS ` + unfinished + ` WITH (FORCE)`,
		`CREATE DATABASE ` + unfinished + ` OWNER ` + ownerRole,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("making the template: %w", err)
		}
	}
	if err := schema.Up(ctx, schema.Config{
		OwnerURL: withLogin(s.superURL, ownerRole, unfinished),
		AppURL:   withLogin(s.superURL, appRole, unfinished),
	}); err != nil {
		return err
	}
	// A connection that is just being closed must not stop the renaming.
	if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, unfinished); err != nil {
		return fmt.Errorf("finishing the template: %w", err)
	}
	for try := 0; ; try++ {
		_, err := conn.Exec(ctx, `ALTER DATABASE `+unfinished+` RENAME TO `+templateName())
		if err == nil {
			return nil
		}
		if try == 100 {
			return fmt.Errorf("finishing the template: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// templateName holds a digest of all migrations: another schema is another template.
func templateName() string { return "qm_template_" + migrationsDigest() }

var migrationsDigest = sync.OnceValue(func() string {
	h := sha256.New()
	names, err := fs.Glob(migrations.FS, "*.up.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		text, err := migrations.FS.ReadFile(name)
		if err != nil {
			panic(err) // embedded, so it is there
		}
		fmt.Fprintf(h, "%s %d\n", name, len(text))
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
})

func withLogin(address, role, database string) string {
	u := mustParse(withDatabase(address, database))
	u.User = url.UserPassword(role, testPassword)
	return u.String()
}

func withDatabase(address, database string) string {
	u := mustParse(address)
	u.Path = "/" + database
	return u.String()
}

func mustParse(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		panic("dbtest: an address that was checked is none") // and not printed: it holds a password
	}
	return u
}
