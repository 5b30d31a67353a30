package schema

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// scramIterations is the server's own default.
const scramIterations = 4096

// ensureRoles makes the roles that migrations grant to, and the app's login with membership in
// its role. The caller holds the lock of alone.
func ensureRoles(ctx context.Context, owner *pgx.ConnConfig, cfg Config) error {
	conn, err := pgx.ConnectConfig(ctx, owner)
	if err != nil {
		return fmt.Errorf("connecting as the schema's owner: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, role := range []string{RoleApp, RoleAuditor, RoleRetention} {
		if err := ensureGroup(ctx, conn, role); err != nil {
			return err
		}
	}
	if cfg.AppURL == "" {
		return nil
	}
	app, err := pgx.ParseConfig(cfg.AppURL)
	if err != nil {
		return badAddress("app", err)
	}
	if app.User == owner.User {
		return nil
	}
	return ensureLogin(ctx, conn, app)
}

func ensureGroup(ctx context.Context, conn *pgx.Conn, role string) error {
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role).Scan(&exists); err != nil {
		return fmt.Errorf("looking for role %s: %w", role, err)
	}
	if exists {
		return nil
	}
	_, err := conn.Exec(ctx, `CREATE ROLE `+pgx.Identifier{role}.Sanitize()+` NOLOGIN`)
	if isCode(err, "42710") || isCode(err, "23505") {
		return nil // made meanwhile by somebody who does not know the lock
	}
	if err != nil {
		return fmt.Errorf("making role %s (the owner needs CREATEROLE, or an administrator makes it beforehand): %w", role, err)
	}
	return nil
}

func ensureLogin(ctx context.Context, conn *pgx.Conn, app *pgx.ConnConfig) error {
	name := pgx.Identifier{app.User}.Sanitize()
	var powerful, member bool
	var through string // a role it belongs to and that can do more than the console may
	err := conn.QueryRow(ctx, `
		SELECT r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls, pg_has_role(r.oid, $2, 'MEMBER'),
			coalesce((SELECT min(g.rolname) FROM pg_roles g WHERE g.oid <> r.oid AND pg_has_role(r.oid, g.oid, 'MEMBER')
				AND (g.rolname = ANY($3) OR g.rolsuper OR g.rolcreaterole)), '')
		FROM pg_roles r WHERE r.rolname = $1`, app.User, RoleApp,
		[]string{conn.Config().User, "pg_write_all_data", "pg_write_server_files", "pg_execute_server_program"}).Scan(&powerful, &member, &through)
	exists := true
	if errors.Is(err, pgx.ErrNoRows) {
		exists, err = false, nil
	}
	if err != nil {
		return fmt.Errorf("looking for the app's role %s: %w", app.User, err)
	}
	if powerful {
		return fmt.Errorf("the app's role %s can do more than the console may (superuser, CREATEROLE, REPLICATION or BYPASSRLS): name a plain role, which is made when it is missing", app.User)
	}
	if through != "" {
		return fmt.Errorf("the app's role %s belongs to %s and so can do more than the console may: take it out (REVOKE), or name a plain role, which is made when it is missing", app.User, through)
	}
	switch {
	case !exists:
		err = makeLogin(ctx, conn, app, `CREATE ROLE `+name+` LOGIN`)
	case loginRefused(ctx, app):
		err = makeLogin(ctx, conn, app, `ALTER ROLE `+name+` LOGIN`)
	}
	if err != nil {
		return fmt.Errorf("making the app's role %s able to sign in: %w", app.User, err)
	}
	if member {
		return nil
	}
	if _, err := conn.Exec(ctx, `GRANT `+RoleApp+` TO `+name); err != nil {
		return fmt.Errorf("granting %s to %s: %w", RoleApp, app.User, err)
	}
	return nil
}

// loginRefused tells whether the server refuses the app's password. Other failures are none of
// this function's business: the app itself will meet them.
func loginRefused(ctx context.Context, app *pgx.ConnConfig) bool {
	conn, err := pgx.ConnectConfig(ctx, app)
	if err != nil {
		return isCode(err, "28P01") || isCode(err, "28000")
	}
	conn.Close(context.WithoutCancel(ctx))
	return false
}

func makeLogin(ctx context.Context, conn *pgx.Conn, app *pgx.ConnConfig, statement string) error {
	if app.Password == "" {
		_, err := conn.Exec(ctx, statement) // it signs in by certificate or by the system's account
		return err
	}
	verifier, err := scramVerifier(app.Password)
	if err != nil {
		return err
	}
	// The verifier has only base64, digits, $ and :, so quoting it is plain.
	_, err = conn.Exec(ctx, statement+` PASSWORD '`+verifier+`'`)
	return err
}

// scramVerifier computes what Postgres stores for a SCRAM-SHA-256 password (RFC 5803), so that
// the plain one never leaves this process. Clients prepare passwords beyond ASCII in different
// ways before hashing; such a password is refused rather than stored as one that might not open.
func scramVerifier(password string) (string, error) {
	for _, r := range password {
		if r < 0x20 || r > 0x7e {
			return "", errors.New("its password must consist of printable ASCII characters")
		}
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("salting a password: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	storedKey := sha256.Sum256(hmacSHA256(salted, "Client Key"))
	serverKey := hmacSHA256(salted, "Server Key")
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, encode(salt), encode(storedKey[:]), encode(serverKey)), nil
}

func hmacSHA256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
