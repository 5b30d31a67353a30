package accounts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// Break-glass is the way in when the identity provider is away: whoever can run the program where the console's
// key and database are has a link printed that signs in an administrator. What is guaranteed:
//
//   - A link works once and for ten minutes. Only a keyed hash of it is stored, in a row that another keyed
//     hash seals: who can write to the database can neither make one nor use one again.
//   - Its making and its use are recorded before anything is printed or anybody signed in.
//   - While such a session lives every member is told so on every page.
//   - Its rights belong to a session row that this file made. No identity provider can vouch for one, because
//     InternalIssuer is no URL and acceptable refuses it.
const (
	BreakGlassLinkLife = 10 * time.Minute // of a link, from its making to its use
	BreakGlassLife     = time.Hour        // of a session, however much it is used

	breakGlassSubject = "break-glass:" // followed by the link's id
	breakGlassRole    = "break-glass"
)

// What a link's hashes are for.
const (
	forLink    = "break-glass link"
	forLinkRow = "break-glass row"
)

// ErrLinkRefused is a break-glass link that was used, is too old, or is none of ours; which of them is not told.
var ErrLinkRefused = errors.New("the break-glass link is not valid")

// isBreakGlass reports whether the actor is the bearer of a session that a break-glass link gave.
func isBreakGlass(by audit.Actor) bool {
	return by.Issuer == InternalIssuer && by.Via == audit.ViaBrowser && by.Session != "" && strings.HasPrefix(by.Subject, breakGlassSubject)
}

// BreakGlass reports whether a break-glass link gave the session, and not the identity provider. Its claims are made_by,
// reason and break_glass_link then.
func (s Session) BreakGlass() bool {
	return s.Issuer == InternalIssuer && strings.HasPrefix(s.Subject, breakGlassSubject)
}

// BreakGlassLink is a way in that was just made. Token is in it and nowhere else.
type BreakGlassLink struct {
	Token     string
	ExpiresAt time.Time
}

// linkRow is a link as stored, without its token.
type linkRow struct {
	ID        uuid.UUID
	Mark      string
	Reason    string
	MadeBy    string
	CreatedAt time.Time
	ExpiresAt time.Time
}

func (s *Service) linkMark(hash []byte, row linkRow) (string, error) {
	sealed, err := json.Marshal([]any{hash, row.ID, row.Reason, row.MadeBy, row.CreatedAt.UnixMicro(), row.ExpiresAt.UnixMicro()})
	if err != nil {
		return "", fmt.Errorf("sealing a break-glass link's row: %w", err)
	}
	return hex.EncodeToString(s.keyedHash(forLinkRow, string(sealed))[:16]), nil
}

// MakeBreakGlassLink makes a link for the command line, and records break_glass.create in the same transaction.
// *InvalidError when the reason is missing, too long or no text, *ForbiddenError for whoever is not the
// command line, ErrAuditUnavailable, ErrUnavailable.
func (s *Service) MakeBreakGlassLink(ctx context.Context, by audit.Actor, reason string) (BreakGlassLink, error) {
	if by.Issuer != InternalIssuer || by.Via != audit.ViaCLI {
		return BreakGlassLink{}, &ForbiddenError{Act: ActBreakGlassCreate.Name, Missing: "the command line of the console’s machine"}
	}
	reason = tidy(reason)
	if problem := textProblem(reason, reasonLength, false); problem != "" {
		return BreakGlassLink{}, invalidField("reason", problem)
	}
	if reason == "" {
		return BreakGlassLink{}, invalidField("reason", "Give a reason.")
	}
	now := s.now()
	token, hash := s.newToken(forLink)
	row := linkRow{ID: s.newID(), Reason: reason, MadeBy: cut(by.Name, maxName), CreatedAt: now, ExpiresAt: now.Add(BreakGlassLinkLife)}
	var err error
	if row.Mark, err = s.linkMark(hash, row); err != nil {
		return BreakGlassLink{}, err
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `
			INSERT INTO break_glass_links (id, token_hash, mark, reason, made_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			row.ID, hash, row.Mark, row.Reason, row.MadeBy, row.CreatedAt, row.ExpiresAt); err != nil {
			return err
		}
		on := target{Kind: KindBreakGlass, ID: row.ID.String(), Name: row.MadeBy}
		return s.recordLast(ctx, tx, singleEvent(on, by, ActBreakGlassCreate, audit.Change{
			"reason": {nil, reason}, "expires_at": {nil, row.ExpiresAt.Format(time.RFC3339)},
		}))
	})
	if err != nil {
		return BreakGlassLink{}, dbError("making a break-glass link", err)
	}
	return BreakGlassLink{Token: token, ExpiresAt: row.ExpiresAt}, nil
}

// UseBreakGlassLink signs the bearer of a link in, and returns the session's token. The link is used up in the
// transaction that stores the session and records session.login, with the link's reason. A session
// that by was signed in with ends. ErrLinkRefused, ErrAuditUnavailable, ErrUnavailable.
func (s *Service) UseBreakGlassLink(ctx context.Context, by audit.Actor, token string) (sessionToken string, err error) {
	hash, ok := s.tokenHash(forLink, token)
	if !ok {
		return "", ErrLinkRefused
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT id, mark, reason, made_by, created_at, expires_at FROM break_glass_links WHERE token_hash = $1 AND used_at IS NULL`, hash)
	if err != nil {
		return "", dbError("reading a break-glass link", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[linkRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrLinkRefused
	}
	if err != nil {
		return "", dbError("reading a break-glass link", err)
	}
	mark, err := s.linkMark(hash, row)
	if err != nil {
		return "", err
	}
	now := s.now()
	if mark != row.Mark {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "break-glass link was not made by this console, or was altered since",
			slog.String("link", row.ID.String()), slog.String("request_id", by.RequestID))
		return "", ErrLinkRefused
	}
	// A link that begins later was made while a clock was ahead.
	if !now.Before(row.ExpiresAt) || row.CreatedAt.After(now.Add(clockAhead)) {
		return "", ErrLinkRefused
	}
	name := "Break-glass (" + row.MadeBy + ")"
	id := Identity{
		Issuer: InternalIssuer, Subject: breakGlassSubject + row.ID.String(), Name: cut(name, maxName), Groups: []string{}, AuthTime: &now,
		Claims: map[string]string{"break_glass_link": row.ID.String(), "made_by": row.MadeBy, "reason": row.Reason},
	}
	token, err = s.openSession(ctx, by, id, opening{
		life:   min(BreakGlassLife, s.cfg.SessionMax),
		change: audit.Change{"break_glass_link": {nil, row.ID.String()}, "reason": {nil, row.Reason}},
		first: func(ctx context.Context, tx pgx.Tx) error {
			used, err := tx.Exec(ctx, `UPDATE break_glass_links SET used_at = $2 WHERE id = $1 AND used_at IS NULL`, row.ID, now)
			if err == nil && used.RowsAffected() == 0 {
				return ErrLinkRefused // by another request, meanwhile
			}
			return err
		},
	})
	s.breakGlass.forget()
	return token, err
}

// BreakGlassSession is a live session that a break-glass link gave.
type BreakGlassSession struct {
	ID         uuid.UUID
	Link       uuid.UUID // that gave it
	Name       string    // with who made the link
	Reason     string
	IP         string
	UserAgent  string
	CreatedAt  time.Time
	LastSeenAt time.Time
	ExpiresAt  time.Time
}

// BreakGlassSessions lists the live sessions of break-glass links, newest first, for those who may end them.
func (s *Service) BreakGlassSessions(ctx context.Context, by audit.Actor) ([]BreakGlassSession, error) {
	if err := s.read(ctx, by, ActBreakGlassRead, installation(KindBreakGlass)); err != nil {
		return nil, err
	}
	return s.readBreakGlass(ctx)
}

// readBreakGlass reads only sessions that a link gave: what every page tells everybody is not for whoever can
// write a row.
func (s *Service) readBreakGlass(ctx context.Context) ([]BreakGlassSession, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT `+sessionColumns+`, token_hash FROM sessions
		WHERE issuer = $1 AND ended_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 200`, InternalIssuer)
	if err != nil {
		return nil, dbError("reading break-glass sessions", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[sealedRow])
	if err != nil {
		return nil, dbError("reading break-glass sessions", err)
	}
	all := make([]BreakGlassSession, 0, len(stored))
	for _, row := range stored {
		mark, err := s.markOf(row.TokenHash, row.sessionRow)
		if err != nil {
			return nil, err
		}
		if mark != row.Mark {
			continue
		}
		all = append(all, BreakGlassSession{
			ID: row.ID, Link: linkOf(row.Subject), Name: row.Name, Reason: row.Claims["reason"], IP: row.IP, UserAgent: row.UserAgent,
			CreatedAt: row.CreatedAt, LastSeenAt: row.LastSeenAt, ExpiresAt: row.ExpiresAt,
		})
	}
	return s.liveBreakGlass(all), nil
}

// sealedRow is a session with what its mark is over.
type sealedRow struct {
	sessionRow
	TokenHash []byte
}

// liveBreakGlass leaves out those whose time is up.
func (s *Service) liveBreakGlass(all []BreakGlassSession) []BreakGlassSession {
	now := s.now()
	live := make([]BreakGlassSession, 0, len(all))
	for _, one := range all {
		if s.live(sessionRow{CreatedAt: one.CreatedAt, LastSeenAt: one.LastSeenAt, ExpiresAt: one.ExpiresAt}, now) {
			live = append(live, one)
		}
	}
	return live
}

// EndBreakGlass ends a session that a break-glass link gave. Records break_glass.end in the same transaction.
// ErrNotFound when there is no such session, or it has ended.
func (s *Service) EndBreakGlass(ctx context.Context, by audit.Actor, id uuid.UUID) error {
	if err := s.authorize(ctx, by, ActBreakGlassEnd, installation(KindBreakGlass)); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		row := sessionRow{ID: id}
		err := tx.QueryRow(ctx, endSessions("", `id = $3 AND issuer = $4`), s.now(), "revoked", id, InternalIssuer).Scan(&row.Mark, &row.Name)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		event := s.sessionEvent(by, ActBreakGlassEnd, row)
		event.Change = audit.Change{"session": {row.Mark, nil}}
		return s.recordLast(ctx, tx, event)
	})
	s.breakGlass.forget()
	if err != nil {
		return dbError("ending a break-glass session", err)
	}
	return nil
}

// breakGlassEvery is how old what every page says of break-glass sessions may be. Of what this process does it
// knows at once.
const breakGlassEvery = 2 * time.Second

// breakGlassTimeout bounds the look, for which a page waits.
const breakGlassTimeout = time.Second

// breakGlassLook is the last look at the sessions, for the banner of every page.
type breakGlassLook struct {
	mu       sync.Mutex
	at       time.Time
	sessions []BreakGlassSession
}

// forget has the next page look again.
func (l *breakGlassLook) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}

// breakGlassLeft has the banner go with the session of its actor.
func (s *Service) breakGlassLeft(by audit.Actor) {
	if isBreakGlass(by) {
		s.breakGlass.forget()
	}
}

// BreakGlassInUse returns the live break-glass sessions for the banner that every member sees: names, reasons and
// times, no addresses. When the database cannot tell it is what was last known.
func (s *Service) BreakGlassInUse(ctx context.Context) []BreakGlassSession {
	l := &s.breakGlass
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := s.now(); l.at.IsZero() || elapsed(now, l.at, breakGlassEvery) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), breakGlassTimeout) // others wait for it too
		defer cancel()
		sessions, err := s.readBreakGlass(ctx)
		if err != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "break-glass sessions not read", slog.Any("error", err))
		} else {
			l.sessions = sessions
		}
		l.at = now
	}
	live := s.liveBreakGlass(l.sessions)
	for i := range live {
		live[i].IP, live[i].UserAgent = "", ""
	}
	return live
}
