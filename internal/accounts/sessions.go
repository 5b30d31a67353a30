package accounts

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
)

// tokenBytes is the length of the random part of a token: 256 bits.
const tokenBytes = 32

// What a token is for. It is hashed with the token, so that one kind never passes as another.
const (
	forSession = "session"
	forForm    = "form"
	forCursor  = "cursor"
	forRow     = "session row"
)

// Bounds on what an identity provider may make us keep, in bytes.
const (
	maxIssuer     = 1024
	maxSubject    = 255
	maxName       = 256
	maxEmail      = 320
	maxGroup      = 256
	maxGroups     = 20_000
	maxGroupBytes = 1 << 20 // of all groups together
	maxClaims     = 50
	maxClaim      = 500
	maxSID        = 256
	maxIDToken    = 64 << 10
	maxUserAgent  = 512
)

// sessionColumns belong to sessionRow.
const sessionColumns = `id, mark, issuer, subject, name, email, email_verified, groups, overage, reading, claims, auth_time, prompted, ip, user_agent,
	created_at, last_seen_at, expires_at`

// listedColumns are the same without what may be large.
const listedColumns = `id, mark, issuer, subject, name, email, email_verified, '{}'::text[] AS groups, overage, '{}'::jsonb AS reading, '{}'::jsonb AS claims,
	auth_time, prompted, ip, user_agent, created_at, last_seen_at, expires_at`

// sessionRow is a session as stored, without its token and ID token.
type sessionRow struct {
	ID            uuid.UUID
	Mark          string
	Issuer        string
	Subject       string
	Name          string
	Email         string
	EmailVerified bool
	Groups        []string
	Overage       bool
	Reading       Reading
	Claims        map[string]string
	AuthTime      *time.Time
	Prompted      bool
	IP            string
	UserAgent     string
	CreatedAt     time.Time
	LastSeenAt    time.Time
	ExpiresAt     time.Time
}

// authenticatedRow is the row of a token, with the version of what rights follow from.
type authenticatedRow struct {
	sessionRow
	RightsVersion int64
}

// newToken returns 256 random bits for a browser, and the keyed hash that is stored in their place.
func (s *Service) newToken(use string) (token string, hash []byte) {
	random := make([]byte, tokenBytes)
	rand.Read(random) //nolint:errcheck // it never returns an error; the program ends instead
	token = base64.RawURLEncoding.EncodeToString(random)
	return token, s.keyedHash(use, token)
}

// tokenHash returns the hash of a token that a browser sent. ok is false when no token of ours
// looks like it; such a token never reaches the database.
func (s *Service) tokenHash(use, token string) (hash []byte, ok bool) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return nil, false
	}
	// The length once more: the decoder passes over line ends.
	if bits, err := base64.RawURLEncoding.Strict().DecodeString(token); err != nil || len(bits) != tokenBytes {
		return nil, false
	}
	return s.keyedHash(use, token), true
}

func (s *Service) keyedHash(use, text string) []byte {
	return s.cfg.Vault.HashToken([]byte(use + "\x00" + text))
}

// markOf is what the log and Actor.Session call a session, and the seal of its row: a keyed hash
// over everything in it that says who the bearer of the token is and for how long. Whoever can
// write to the database could give a token of theirs another's groups, and cannot make the mark
// that belongs to them. It is of no use as a token.
func (s *Service) markOf(tokenHash []byte, row sessionRow) (string, error) {
	fields := []any{
		tokenHash, row.ID, row.Issuer, row.Subject, row.Name, row.Email, row.EmailVerified, row.Groups, microseconds(row.AuthTime),
		row.CreatedAt.UnixMicro(), row.ExpiresAt.UnixMicro(),
	}
	if row.Prompted { // only where it is set: the release before this one seals rows without it
		fields = append(fields, "prompted")
	}
	sealed, err := json.Marshal(fields)
	if err != nil {
		return "", fmt.Errorf("sealing a session's row: %w", err)
	}
	return hex.EncodeToString(s.keyedHash(forRow, string(sealed))[:16]), nil
}

// SignIn stores a session for the identity and returns its token, to be kept in a cookie. The
// token is always a new one; a session that by was signed in with ends. Records session.login in
// the same transaction, and grant.bind for each grant that waited for the member's address.
// *InvalidError when the identity has no usable issuer or subject, ErrBlocked when the member is
// blocked, ErrAuditUnavailable, ErrUnavailable.
func (s *Service) SignIn(ctx context.Context, by audit.Actor, id Identity) (token string, err error) {
	id, err = acceptable(id)
	if err != nil {
		return "", err
	}
	return s.openSession(ctx, by, id, opening{life: s.cfg.SessionMax})
}

// opening is what differs between the ways to a session.
type opening struct {
	life   time.Duration                              // the absolute limit
	change audit.Change                               // recorded with session.login
	first  func(ctx context.Context, tx pgx.Tx) error // in the transaction, before anything is stored; optional
}

// openSession stores a session for an identity that was found to be good.
func (s *Service) openSession(ctx context.Context, by audit.Actor, id Identity, o opening) (token string, err error) {
	now := s.now()
	token, hash := s.newToken(forSession)
	row := sessionRow{
		ID: s.newID(), Issuer: id.Issuer, Subject: id.Subject, Name: id.Name, Email: id.Email,
		EmailVerified: id.EmailVerified, Groups: id.Groups, Overage: id.Reading.Incomplete(), Reading: id.Reading, Claims: id.Claims, AuthTime: id.AuthTime, Prompted: id.Prompted,
		IP: cut(by.IP, maxName), UserAgent: cut(by.UserAgent, maxUserAgent), CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(o.life),
	}
	if row.Mark, err = s.markOf(hash, row); err != nil {
		return "", err
	}
	claims, err := json.Marshal(row.Claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	var sealed []byte
	if id.IDToken != "" {
		if sealed, err = s.cfg.Vault.Seal(vault.IDTokens, idTokenPlace(row.ID), []byte(id.IDToken)); err != nil {
			return "", fmt.Errorf("sealing the ID token: %w", err)
		}
	}
	if err := s.freshRights(ctx); err != nil { // the event tells roles, and groups that give something first
		return "", fmt.Errorf("signing in: %w", err)
	}
	event := s.sessionEvent(s.actorOf(by, row), ActSessionLogin, row)
	event.Change = s.groupsChange(row)
	maps.Copy(event.Change, o.change)
	replaced := by.Session
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if o.first != nil {
			if err := o.first(ctx, tx); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO members (issuer, subject, name, email, email_verified, first_seen, last_seen) VALUES ($1, $2, $3, $4, $5, $6, $6)
			ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE SET
				name = excluded.name, email = excluded.email, email_verified = excluded.email_verified, last_seen = excluded.last_seen`,
			row.Issuer, row.Subject, row.Name, row.Email, row.EmailVerified, now); err != nil {
			return fmt.Errorf("storing the member: %w", err)
		}
		if blocked, err := s.standsBlocked(ctx, tx, principal{row.Issuer, row.Subject}); err != nil || blocked {
			return cmp.Or(err, ErrBlocked)
		}
		// Before sessions are touched: who blocks a member locks the rights first as well.
		bound, err := s.bindGrants(ctx, tx, event.Actor, row)
		if err != nil {
			return fmt.Errorf("binding what was granted to the address: %w", err)
		}
		if replaced != "" {
			ended, err := tx.Exec(ctx, endSessions("", `mark = $3`), now, "replaced", replaced)
			if err != nil {
				return fmt.Errorf("ending the session before: %w", err)
			}
			if ended.RowsAffected() > 0 {
				event.Change["replaced_session"] = [2]any{replaced, nil}
			}
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO sessions (
				id, token_hash, mark, issuer, subject, name, email, email_verified, groups, overage, claims, auth_time, sid,
				id_token_sealed, ip, user_agent, created_at, last_seen_at, expires_at, reading, prompted)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17, $18, $19, $20)`,
			row.ID, hash, row.Mark, row.Issuer, row.Subject, row.Name, row.Email, row.EmailVerified, row.Groups, row.Overage,
			string(claims), row.AuthTime, id.SID, sealed, row.IP, row.UserAgent, now, row.ExpiresAt, row.Reading, row.Prompted); err != nil {
			return fmt.Errorf("storing the session: %w", err)
		}
		if err := noteGroups(ctx, tx, row); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, event, bound...)
	})
	if errors.Is(err, ErrBlocked) || refusedAsBlocked(err) {
		s.deniedSignIn(ctx, by, row)
		return "", fmt.Errorf("signing in: %w", ErrBlocked)
	}
	if err != nil {
		return "", fmt.Errorf("signing in: %w", unavailable(err))
	}
	s.metrics.signIns.WithLabelValues("ok").Inc()
	if cause := row.Reading.cause(); cause != "" {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "groups of a sign-in are not all known", slog.String("cause", cause),
			slog.String("claim", row.Reading.Claim), slog.Int("received", row.Reading.Received), slog.Int("kept", len(row.Groups)),
			slog.String("issuer", row.Issuer), slog.String("subject", row.Subject), slog.String("request_id", by.RequestID))
	}
	return token, nil
}

// acceptable returns the identity as far as it can be kept. What decides rights is never altered
// to fit: an address or a group that is not well formed is left out.
func acceptable(id Identity) (Identity, error) {
	if id.Issuer == "" || id.Subject == "" || !wellFormed(id.Issuer, maxIssuer) || !wellFormed(id.Subject, maxSubject) || id.Issuer == InternalIssuer {
		return Identity{}, &InvalidError{Fields: map[string]string{"": "The identity provider told no usable issuer and subject."}}
	}
	if !wellFormed(id.Email, maxEmail) {
		id.Email, id.EmailVerified = "", false
	}
	id.Name = cut(id.Name, maxName)
	id.Name = cmp.Or(id.Name, id.Email, id.Subject)
	id.Groups = usableGroups(id.Groups, &id.Reading)
	claims := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(id.Claims)) {
		if len(claims) < maxClaims && wellFormed(name, maxName) {
			claims[name] = cut(id.Claims[name], maxClaim)
		}
	}
	id.Claims = claims
	if !wellFormed(id.SID, maxSID) {
		id.SID = ""
	}
	if len(id.IDToken) > maxIDToken {
		id.IDToken = ""
	}
	if id.AuthTime != nil && (id.AuthTime.Year() < 1970 || id.AuthTime.Year() > 9999) {
		id.AuthTime = nil
	}
	id.Prompted = id.Prompted && id.AuthTime != nil
	return id, nil
}

// wellFormed reports whether the text can be stored as it is.
func wellFormed(text string, longest int) bool {
	return len(text) <= longest && utf8.ValidString(text) && !slices.Contains([]byte(text), 0)
}

// cut makes text fit to store; for what is shown and decides nothing.
func cut(text string, longest int) string {
	text = plain(text)
	if len(text) <= longest {
		return text
	}
	for !utf8.RuneStart(text[longest]) {
		longest--
	}
	return text[:longest]
}

func idTokenPlace(session uuid.UUID) vault.RowID {
	return vault.RowID{Table: "sessions", ID: session, Field: "id_token_sealed", Version: 1}
}

// endSessions is the statement that ends live sessions, at $1 and for the reason $2, and returns mark and name of each.
// first are queries that the condition names, each with its comma. The ID token goes with the session. Its last use
// stays with the member, whose "last seen" must not go back when a session ends. A member whose row is being written is
// left out, so that nobody waits in a ring: a sign-in, which writes a later time, or another ending.
func endSessions(first, condition string) string {
	return `
		WITH ` + first + `
		ended AS (
			UPDATE sessions SET ended_at = $1, end_reason = $2, id_token_sealed = NULL WHERE ended_at IS NULL AND ` + condition + `
			RETURNING mark, name, issuer, subject, last_seen_at
		), used AS (
			SELECT issuer, subject, least(max(last_seen_at), $1) AS at FROM ended GROUP BY issuer, subject
		), free AS MATERIALIZED (
			SELECT m.issuer, m.subject, used.at FROM members m JOIN used USING (issuer, subject)
			WHERE m.last_seen < used.at FOR NO KEY UPDATE OF m SKIP LOCKED
		), noted AS (
			UPDATE members m SET last_seen = free.at FROM free WHERE m.issuer = free.issuer AND m.subject = free.subject
		)
		SELECT mark, name FROM ended`
}

// Authenticate returns the session of a token and its actor; ErrNoSession when there is none, or it
// has ended or expired, ErrUnavailable when that cannot be told. by carries ip, user agent and
// request id; the rest is filled in. Rights follow from configuration and grants at the time of the
// call and from the groups as received at the sign-in; a blocked member has no session. The member
// counts as active: the idle limit starts anew.
func (s *Service) Authenticate(ctx context.Context, by audit.Actor, token string) (Session, audit.Actor, error) {
	return s.authenticate(ctx, by, token, true)
}

// AuthenticateQuietly is Authenticate for what a page asks by itself while nobody need be there: it
// leaves the idle limit as it is, so that an open page does not keep a session alive.
func (s *Service) AuthenticateQuietly(ctx context.Context, by audit.Actor, token string) (Session, audit.Actor, error) {
	return s.authenticate(ctx, by, token, false)
}

// authenticateTimeout bounds what every request begins with, so that with a database that hangs each of them
// is refused soon, and not when its own time is up.
const authenticateTimeout = 5 * time.Second

func (s *Service) authenticate(ctx context.Context, by audit.Actor, token string, active bool) (Session, audit.Actor, error) {
	hash, ok := s.tokenHash(forSession, token)
	if !ok {
		return Session{}, audit.Actor{}, ErrNoSession
	}
	ctx, cancel := context.WithTimeout(ctx, authenticateTimeout)
	defer cancel()
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+sessionColumns+`, (SELECT version FROM rights_version) AS rights_version
		FROM sessions WHERE token_hash = $1 AND ended_at IS NULL`, hash)
	if err != nil {
		return Session{}, audit.Actor{}, fmt.Errorf("reading the session: %w", unavailable(err))
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[authenticatedRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return Session{}, audit.Actor{}, ErrNoSession
	}
	if err != nil {
		return Session{}, audit.Actor{}, fmt.Errorf("reading the session: %w", unavailable(err))
	}
	mark, err := s.markOf(hash, row.sessionRow)
	if err != nil {
		return Session{}, audit.Actor{}, err
	}
	if mark != row.Mark {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "session row was not written by a sign-in, or was altered since",
			slog.String("session", row.ID.String()), slog.String("subject", row.Subject), slog.String("request_id", by.RequestID))
		return Session{}, audit.Actor{}, ErrNoSession
	}
	now := s.now()
	if !s.live(row.sessionRow, now) {
		return Session{}, audit.Actor{}, ErrNoSession
	}
	if err := s.keepRights(ctx, row.RightsVersion); err != nil {
		return Session{}, audit.Actor{}, err
	}
	if row.Issuer != InternalIssuer && s.keeper.book.Load().blocked[principal{row.Issuer, row.Subject}] { // their sessions end, but for one that begins at that moment
		return Session{}, audit.Actor{}, ErrNoSession
	}
	if active && elapsed(now, row.LastSeenAt, s.seenEvery()) {
		if _, err := s.cfg.DB.Exec(ctx, `
			UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND ended_at IS NULL AND (last_seen_at < $2 OR last_seen_at >= $3)`,
			row.ID, now, now.Add(s.seenEvery())); err != nil {
			return Session{}, audit.Actor{}, fmt.Errorf("noting that the session is in use: %w", unavailable(err))
		}
		row.LastSeenAt = now
	}
	by = s.actorOf(by, row.sessionRow)
	return s.session(row.sessionRow, by), by, nil
}

// live reports whether neither limit has passed. A limit that was shortened in the configuration
// acts on sessions that exist. One that begins later than another would end is of a clock that was ahead.
func (s *Service) live(row sessionRow, now time.Time) bool {
	return row.CreatedAt.Before(now.Add(s.cfg.SessionMax)) && now.Before(row.ExpiresAt) && now.Before(row.CreatedAt.Add(s.cfg.SessionMax)) && now.Before(row.LastSeenAt.Add(s.cfg.SessionIdle))
}

// seenEvery is how often last_seen_at is written: once a minute, and more often only when the idle
// limit is so short that a minute would matter.
func (s *Service) seenEvery() time.Duration { return min(time.Minute, s.cfg.SessionIdle/10) }

// actorOf fills in who the session's member is, and their roles.
func (s *Service) actorOf(by audit.Actor, row sessionRow) audit.Actor {
	by = identify(by, row)
	by.Roles = s.rights(by).Roles()
	return by
}

// identify fills in who the session's member is. When they signed in is what the identity provider told, and
// never later than the session began; nothing when it did not tell, because a session there may be old.
func identify(by audit.Actor, row sessionRow) audit.Actor {
	by.Issuer, by.Subject, by.Name, by.Email = row.Issuer, row.Subject, row.Name, row.Email
	by.EmailVerified, by.Groups, by.Session = row.EmailVerified, row.Groups, row.Mark
	if by.Via == "" {
		by.Via = audit.ViaBrowser
	}
	by.SignedInAt = time.Time{}
	if row.AuthTime != nil {
		by.SignedInAt = *row.AuthTime
		if row.AuthTime.After(row.CreatedAt) {
			by.SignedInAt = row.CreatedAt
		}
	}
	return by
}

// session is the row as its member may see it. by is who asks, and has the rights of the member.
func (s *Service) session(row sessionRow, by audit.Actor) Session {
	rights := s.rights(identify(audit.Actor{}, row))
	return Session{
		ID: row.ID, Issuer: row.Issuer, Subject: row.Subject, Name: row.Name, Email: row.Email, Groups: row.Groups,
		Roles: rights.Roles(), AuthTime: row.AuthTime, Prompted: row.Prompted, CreatedAt: row.CreatedAt, LastSeenAt: row.LastSeenAt, ExpiresAt: row.ExpiresAt,
		IP: row.IP, UserAgent: row.UserAgent, Current: row.Mark == by.Session, Overage: row.Overage, Reading: row.Reading,
		Permissions: rights.Permissions(), Claims: row.Claims,
	}
}

// sessionEvent is a single event about the session.
func (s *Service) sessionEvent(by audit.Actor, act Act, row sessionRow) audit.Event {
	return audit.Event{
		Act: act.Name, Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by,
		Target: audit.Target{Kind: KindSession, ID: row.ID.String(), Name: row.Name},
	}
}

// SignOut ends the session of by and returns the ID token for the provider's logout, empty when
// none was kept or it does not open. Records session.logout in the same transaction. ErrNoSession
// when the session has ended already.
func (s *Service) SignOut(ctx context.Context, by audit.Actor) (idToken string, err error) {
	var row sessionRow
	var sealed []byte
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT id, mark, name, id_token_sealed FROM sessions WHERE mark = $1 AND issuer = $2 AND subject = $3 AND ended_at IS NULL FOR UPDATE`,
			by.Session, by.Issuer, by.Subject).Scan(&row.ID, &row.Mark, &row.Name, &sealed)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoSession
		}
		if err != nil {
			return fmt.Errorf("reading the session: %w", err)
		}
		if _, err := tx.Exec(ctx, endSessions("", `id = $3`), s.now(), "logout", row.ID); err != nil {
			return fmt.Errorf("ending the session: %w", err)
		}
		return s.recordLast(ctx, tx, s.sessionEvent(by, ActSessionLogout, row))
	})
	s.breakGlassLeft(by)
	if err != nil {
		return "", fmt.Errorf("signing out: %w", unavailable(err))
	}
	if len(sealed) == 0 {
		return "", nil
	}
	opened, err := s.cfg.Vault.Open(vault.IDTokens, idTokenPlace(row.ID), sealed)
	if err != nil {
		// The session has ended; only the provider's own logout has to ask the member.
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "ID token does not open", slog.String("session", row.Mark), slog.Any("error", err))
		return "", nil
	}
	return string(opened), nil
}

// Sessions lists the member's own live sessions, newest first, without their groups and claims, and with no
// rights but those of the session that asks: there may be many sessions, and much in each.
func (s *Service) Sessions(ctx context.Context, by audit.Actor) ([]Session, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT `+listedColumns+` FROM sessions WHERE issuer = $1 AND subject = $2 AND ended_at IS NULL
		ORDER BY created_at DESC, id DESC LIMIT 200`, by.Issuer, by.Subject)
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", unavailable(err))
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[sessionRow])
	if err != nil {
		return nil, fmt.Errorf("reading sessions: %w", unavailable(err))
	}
	now := s.now()
	sessions := make([]Session, 0, len(stored))
	for _, row := range stored {
		if s.live(row, now) {
			if row.Mark == by.Session {
				row.Groups = by.Groups
			}
			sessions = append(sessions, s.session(row, by))
		}
	}
	return sessions, nil
}

// EndSession ends one of the member's own sessions. Records session.revoke in the same
// transaction. ErrNotFound when it is not theirs, does not exist or has ended.
func (s *Service) EndSession(ctx context.Context, by audit.Actor, id uuid.UUID) error {
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		row := sessionRow{ID: id}
		err := tx.QueryRow(ctx, endSessions("", `id = $3 AND issuer = $4 AND subject = $5`),
			s.now(), "revoked", id, by.Issuer, by.Subject).Scan(&row.Mark, &row.Name)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("ending the session: %w", err)
		}
		event := s.sessionEvent(by, ActSessionRevoke, row)
		event.Change = audit.Change{"session": {row.Mark, nil}}
		return s.recordLast(ctx, tx, event)
	})
	s.breakGlassLeft(by)
	if err != nil {
		return fmt.Errorf("revoking a session: %w", unavailable(err))
	}
	return nil
}

// cleanSessions ends what has expired, and deletes sessions and form tokens that nobody needs any more. It waits for
// nobody: a session that is being ended or used is left to them, and is nothing once it has expired, ended or not.
func (s *Service) cleanSessions(ctx context.Context) error {
	now := s.now()
	if _, err := s.cfg.DB.Exec(ctx, endSessions(`expired AS MATERIALIZED (
			SELECT id FROM sessions WHERE ended_at IS NULL AND (expires_at <= $1 OR created_at <= $3 OR last_seen_at <= $4 OR created_at >= $5)
			FOR UPDATE SKIP LOCKED
		),`, `id = ANY(ARRAY(SELECT id FROM expired))`),
		now, "expired", now.Add(-s.cfg.SessionMax), now.Add(-s.cfg.SessionIdle), now.Add(s.cfg.SessionMax)); err != nil {
		return fmt.Errorf("ending expired sessions: %w", err)
	}
	if _, err := s.cfg.DB.Exec(ctx, `DELETE FROM form_tokens WHERE created_at < $1`, now.Add(-formTokenKept)); err != nil {
		return fmt.Errorf("deleting old form tokens: %w", err)
	}
	if err := s.forgetGroups(ctx); err != nil {
		return err
	}
	if _, err := s.cfg.DB.Exec(ctx, `SELECT forget_sessions()`); err != nil {
		return fmt.Errorf("deleting old sessions: %w", err)
	}
	return nil
}

// recordLast records events in a transaction. It must be the last statement before the commit.
func (s *Service) recordLast(ctx context.Context, tx pgx.Tx, first audit.Event, more ...audit.Event) error {
	if err := s.cfg.Log.Record(ctx, tx, append([]audit.Event{first}, more...)...); err != nil {
		return fmt.Errorf("recording %s: %w: %w", first.Act, ErrAuditUnavailable, err)
	}
	return nil
}

// now is the time to the microsecond, which is what the database keeps.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }
