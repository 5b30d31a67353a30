// Package schema brings a database to the schema that this binary was built for and makes the
// roles that the schema grants to. It guarantees that two processes may do so at once, that a
// plain password never reaches the server, and that a schema of another release is told in
// words before anything works on it.
package schema

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"quartermaster/migrations"
)

// The roles without login that migrations grant to.
const (
	RoleApp       = "quartermaster_app"
	RoleAuditor   = "quartermaster_auditor"
	RoleRetention = "quartermaster_retention"
)

// oldestServer is the first Postgres version whose public schema is closed by default.
const oldestServer = 150000

// Config says which database is meant and who works on it.
type Config struct {
	// OwnerURL is the role that will own the schema; it needs CREATEROLE while roles are
	// missing. Required.
	OwnerURL string
	// AppURL is the role that serve works as; made when missing. Empty makes none.
	AppURL string
	// DevMade is recorded when the installation row is written, and never changed after.
	DevMade bool
}

// SameUser tells whether the console would work as the owner of its schema, who can lift every
// right that is withheld from it. It is allowed, and worth a warning.
func (c Config) SameUser() (bool, error) {
	owner, err := pgx.ParseConfig(c.OwnerURL)
	if err != nil {
		return false, badAddress("owner", err)
	}
	app, err := pgx.ParseConfig(c.AppURL)
	if err != nil {
		return false, badAddress("app", err)
	}
	return owner.User == app.User, nil
}

// badAddress keeps the address itself out of the error: it may hold a password.
func badAddress(whose string, err error) error {
	return fmt.Errorf("the %s's database address cannot be read: %w", whose, err)
}

// Up makes the roles, applies what is missing and writes the installation row. It changes
// nothing when all is there, nor when a newer program made a schema that this one works on. That
// pg_trgm cannot be had is no error: SlowSearch tells.
func Up(ctx context.Context, cfg Config) error {
	owner, err := pgx.ParseConfig(cfg.OwnerURL)
	if err != nil {
		return badAddress("owner", err)
	}
	return alone(ctx, owner, func() error {
		if err := ensureRoles(ctx, owner, cfg); err != nil {
			return err
		}
		if done, err := byNewerProgram(ctx, owner); done || err != nil {
			return err
		}
		if err := migrated(ctx, owner, (*migrate.Migrate).Up); err != nil {
			return err
		}
		if err := ensureTextSearch(ctx, owner); err != nil {
			return err
		}
		return ensureInstallation(ctx, owner, cfg.DevMade)
	})
}

// Down takes back the last steps migrations and their data. The roles stay.
func Down(ctx context.Context, cfg Config, steps int) error {
	if steps < 1 {
		return errors.New("taking back migrations: at least one step is needed")
	}
	owner, err := pgx.ParseConfig(cfg.OwnerURL)
	if err != nil {
		return badAddress("owner", err)
	}
	return alone(ctx, owner, func() error {
		return migrated(ctx, owner, func(m *migrate.Migrate) error { return m.Steps(-steps) })
	})
}

// State is what a database says of its schema.
type State struct {
	Version int  // 0: nothing was applied yet
	Wanted  int  // the version this binary was built for
	Dirty   bool // a migration stopped in the middle
	Oldest  int  // of a newer schema: the oldest version whose programs work on it; 0 otherwise
}

// Newer tells that a later release migrated the database.
func (s State) Newer() bool { return !s.Dirty && s.Version > s.Wanted }

// Works tells whether this program works on the schema: it is its own, or a newer one that says so,
// as replicas meet during an update and as the previous release meets when it is started again.
func (s State) Works() bool {
	return !s.Dirty && (s.Version == s.Wanted || s.Newer() && s.Wanted >= s.Oldest)
}

// MismatchError says that a database and this binary do not fit each other.
type MismatchError struct{ State }

func (e *MismatchError) Error() string {
	switch {
	case e.Dirty:
		return fmt.Sprintf("a migration to schema version %d stopped in the middle: look at its error, repair the database or restore it, then run quartermaster migrate up", e.Version)
	case e.Version == 0:
		return "the database has no schema yet: run quartermaster migrate up"
	case e.Version < e.Wanted:
		return fmt.Sprintf("the database has schema version %d and this program needs %d: run quartermaster migrate up", e.Version, e.Wanted)
	default:
		return fmt.Sprintf("the database has schema version %d, made by a newer program, and takes programs from version %d on; this one knows %d: start the newer one", e.Version, e.Oldest, e.Wanted)
	}
}

// Querier is what Status, Check and MadeByDev need: a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

var _ Querier = (*pgxpool.Pool)(nil)

// Status reads which schema a database has.
func Status(ctx context.Context, db Querier) (State, error) {
	s := State{}
	var err error
	if s.Wanted, err = wanted(); err != nil {
		return State{}, err
	}
	err = db.QueryRow(ctx, `SELECT version, dirty FROM public.schema_migrations LIMIT 1`).Scan(&s.Version, &s.Dirty)
	if errors.Is(err, pgx.ErrNoRows) || isCode(err, "42P01") {
		return s, nil
	}
	if isCode(err, "42501") {
		return State{}, errors.New("the role in use may not read the schema version: run quartermaster migrate up with this role as the app's, which gives it its rights")
	}
	if err != nil {
		return State{}, fmt.Errorf("reading the schema version: %w", err)
	}
	if !s.Newer() {
		return s, nil
	}
	err = db.QueryRow(ctx, `SELECT oldest_program FROM public.schema_compatibility`).Scan(&s.Oldest)
	if errors.Is(err, pgx.ErrNoRows) || isCode(err, "42P01") || isCode(err, "42501") {
		s.Oldest = s.Version // it does not say, so it takes no other program than its own
		return s, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("reading which programs the schema takes: %w", err)
	}
	return s, nil
}

// Check gives a *MismatchError unless this binary works on the schema that the database has.
func Check(ctx context.Context, db Querier) error {
	s, err := Status(ctx, db)
	if err != nil {
		return err
	}
	if !s.Works() {
		return &MismatchError{State: s}
	}
	return nil
}

// MadeByDev tells whether the dev command made this database.
func MadeByDev(ctx context.Context, db Querier) (bool, error) {
	var made bool
	if err := db.QueryRow(ctx, `SELECT made_by_dev FROM public.installation`).Scan(&made); err != nil {
		return false, fmt.Errorf("reading who made the database: %w", err)
	}
	return made, nil
}

// SlowSearch says why the text search has no index and how it gets one; empty when it has one.
func SlowSearch(ctx context.Context, db Querier) (string, error) {
	var indexed, installed bool
	if err := db.QueryRow(ctx, `
		SELECT indexed, NOT indexed AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') -- which reads a folder of the server
		FROM (SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('public.clusters_by_text') AND indisvalid) AS indexed) i`).Scan(&indexed, &installed); err != nil {
		return "", fmt.Errorf("looking for the index of the text search: %w", err)
	}
	const slow = "The text search has no index, so it reads every cluster: "
	switch {
	case indexed:
		return "", nil
	case installed:
		return slow + "let the database's owner create the extension pg_trgm, or have a superuser create it, then run quartermaster migrate up.", nil
	}
	return slow + "the extension pg_trgm is not installed on the database server. It is in PostgreSQL's contrib package; install that, then run quartermaster migrate up.", nil
}

// ensureTextSearch makes the index of the text search when what it needs was installed after the
// migration that would have made it.
func ensureTextSearch(ctx context.Context, owner *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, owner)
	if err != nil {
		return fmt.Errorf("connecting as the schema's owner: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `SELECT public.ensure_text_search()`); err != nil {
		return fmt.Errorf("making the index of the text search: %w", err)
	}
	return nil
}

// alone runs f while no other process of any database on the server does the same: roles belong
// to the whole server.
func alone(ctx context.Context, owner *pgx.ConnConfig, f func() error) error {
	shared := owner.Copy()
	shared.Database = "postgres"
	conn, err := pgx.ConnectConfig(ctx, shared)
	if isCode(err, "3D000") || isCode(err, "42501") || isCode(err, "28000") {
		// Some hosts close that database; the lock then covers the owner's own.
		conn, err = pgx.ConnectConfig(ctx, owner)
	}
	if err != nil {
		return fmt.Errorf("connecting as the schema's owner: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var version int
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return fmt.Errorf("asking the server for its version: %w", err)
	}
	if version < oldestServer {
		return fmt.Errorf("the database server is version %d: at least %d is needed", version/10000, oldestServer/10000)
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('quartermaster schema', 0))`); err != nil {
		return fmt.Errorf("waiting for another migration to end: %w", err)
	}
	return f() // closing the connection gives the lock back
}

// byNewerProgram tells whether there is nothing to migrate because a newer program did it. It gives
// a *MismatchError when this one does not work on what that made.
func byNewerProgram(ctx context.Context, owner *pgx.ConnConfig) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, owner)
	if err != nil {
		return false, fmt.Errorf("connecting as the schema's owner: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	state, err := Status(ctx, conn)
	if err == nil && state.Newer() && !state.Works() {
		err = &MismatchError{State: state}
	}
	return state.Newer(), err
}

// migrated runs step under golang-migrate on connections of its own. When ctx ends, it stops
// after the migration that is running.
func migrated(ctx context.Context, owner *pgx.ConnConfig, step func(*migrate.Migrate) error) error {
	source, err := iofs.New(migrations.FS, ".")
	if err != nil {
		return fmt.Errorf("reading the migrations in this binary: %w", err)
	}
	settings := owner.Copy()
	settings.RuntimeParams["search_path"] = "public"
	db := stdlib.OpenDB(*settings)
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{})
	if err != nil {
		return errors.Join(fmt.Errorf("preparing to migrate: %w", err), db.Close())
	}
	m, err := migrate.NewWithInstance("iofs", source, "pgx5", driver)
	if err != nil {
		return errors.Join(fmt.Errorf("preparing to migrate: %w", err), driver.Close())
	}
	unhook := context.AfterFunc(ctx, func() { m.GracefulStop <- true })
	err = errors.Join(step(m), ctx.Err())
	unhook()
	if errors.Is(err, migrate.ErrNoChange) {
		err = ctx.Err()
	}
	var dirty migrate.ErrDirty
	if errors.As(err, &dirty) {
		err = &MismatchError{State: State{Version: dirty.Version, Dirty: true}}
	}
	sourceErr, dbErr := m.Close()
	if err = errors.Join(err, sourceErr, dbErr); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

func ensureInstallation(ctx context.Context, owner *pgx.ConnConfig, devMade bool) error {
	conn, err := pgx.ConnectConfig(ctx, owner)
	if err != nil {
		return fmt.Errorf("connecting as the schema's owner: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("naming the installation: %w", err)
	}
	if _, err := conn.Exec(ctx, `
		INSERT INTO public.installation (id, made_by_dev) VALUES ($1, $2)
		ON CONFLICT (only_row) DO NOTHING`, id, devMade); err != nil {
		return fmt.Errorf("recording the installation: %w", err)
	}
	return nil
}

// wanted is the highest version among the embedded migrations.
func wanted() (int, error) {
	names, err := fs.Glob(migrations.FS, "*.up.sql")
	if err != nil {
		return 0, fmt.Errorf("reading the migrations in this binary: %w", err)
	}
	highest := 0
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return 0, fmt.Errorf("migration %s in this binary has no number: %w", name, err)
		}
		highest = max(highest, version)
	}
	return highest, nil
}

func isCode(err error, code string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code
}
