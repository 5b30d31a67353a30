package accounts

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// Bounds of what is listed of break-glass links and of what was done with one.
const (
	breakGlassListed   = 50
	breakGlassLeftMost = 200
)

// BreakGlassUse is a link that was printed, and the session that it gave.
type BreakGlassUse struct {
	ID        uuid.UUID // of the link; what was done with it is on record as done by break-glass:ID
	MadeBy    string    // user of the operating system and host
	Reason    string
	CreatedAt time.Time
	ExpiresAt time.Time  // until when it could be used
	UsedAt    *time.Time // nil: not used
	EndedAt   *time.Time // of its session, where that is still known
	Session   *BreakGlassSession
}

// Usable reports whether somebody may yet sign in by the link.
func (u BreakGlassUse) Usable(now time.Time) bool { return u.UsedAt == nil && now.Before(u.ExpiresAt) }

// BreakGlassLeft is something that was done with a link and outlives its session.
type BreakGlassLeft struct {
	Seq    int64
	At     time.Time
	Act    string
	Kind   string // KindGrant, KindRole or KindMember
	ID     string // of the grant or role; of a member the id that addresses have
	Name   string
	Stands bool // it still counts, as far as one look at it tells
	// MayOpen is set where the reader may open it.
	MayOpen bool
}

// BreakGlassDetail is one link, its session, and what that left.
type BreakGlassDetail struct {
	BreakGlassUse
	Left     []BreakGlassLeft // newest first
	More     bool             // it left more than is listed
	Others   int              // other changes that came to pass, at accounts and clusters for example; at most 200 are counted
	Subject  string           // under which the log has all of it
	MayAudit bool
}

// linkUse is a link as stored, with what its mark is over and what became of its session.
type linkUse struct {
	linkRow
	TokenHash []byte
	UsedAt    *time.Time
	EndedAt   *time.Time
}

// BreakGlassUses lists the links that were printed, newest first, 50 at most, with the sessions that live, for those
// who may end them. A row that this console did not make is not among them.
func (s *Service) BreakGlassUses(ctx context.Context, by audit.Actor) ([]BreakGlassUse, error) {
	if err := s.read(ctx, by, ActBreakGlassRead, installation(KindBreakGlass)); err != nil {
		return nil, err
	}
	return s.breakGlassUses(ctx, uuid.Nil)
}

// breakGlassUses reads one link, or the newest.
func (s *Service) breakGlassUses(ctx context.Context, id uuid.UUID) ([]BreakGlassUse, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT l.id, l.mark, l.reason, l.made_by, l.created_at, l.expires_at, l.token_hash, l.used_at,
			(SELECT max(s.ended_at) FROM sessions s WHERE s.issuer = $1 AND s.subject = $2 || l.id::text) AS ended_at
		FROM break_glass_links l WHERE $3::uuid = $4::uuid OR l.id = $3 ORDER BY l.created_at DESC, l.id DESC LIMIT $5`,
		InternalIssuer, breakGlassSubject, id, uuid.Nil, breakGlassListed)
	if err != nil {
		return nil, dbError("reading break-glass links", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[linkUse])
	if err != nil {
		return nil, dbError("reading break-glass links", err)
	}
	live, err := s.readBreakGlass(ctx)
	if err != nil {
		return nil, err
	}
	uses := make([]BreakGlassUse, 0, len(stored))
	for _, row := range stored {
		mark, err := s.linkMark(row.TokenHash, row.linkRow)
		if err != nil {
			return nil, err
		}
		if mark != row.Mark {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "break-glass link was not made by this console, or was altered since", slog.String("link", row.ID.String()))
			continue
		}
		u := BreakGlassUse{
			ID: row.ID, MadeBy: row.MadeBy, Reason: row.Reason, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt, UsedAt: row.UsedAt, EndedAt: row.EndedAt,
		}
		if i := slices.IndexFunc(live, func(l BreakGlassSession) bool { return l.Link == row.ID }); i >= 0 {
			u.Session, u.EndedAt = &live[i], nil
		}
		uses = append(uses, u)
	}
	return uses, nil
}

// leftActs are those whose effect on rights outlives the session.
func leftActs() []string {
	return actNames(ActGrantCreate, ActGrantDelete, ActRoleCreate, ActRoleEdit, ActRoleDelete, ActMemberBlock, ActMemberUnblock)
}

func actNames(acts ...Act) []string {
	names := make([]string, len(acts))
	for i, a := range acts {
		names[i] = a.Name
	}
	return names
}

// BreakGlass returns one link with what was done with it, from the log. ErrNotFound when there is none;
// *ForbiddenError for who may not end such sessions, whether there is or not.
func (s *Service) BreakGlass(ctx context.Context, by audit.Actor, id uuid.UUID) (BreakGlassDetail, error) {
	if err := s.read(ctx, by, ActBreakGlassRead, installation(KindBreakGlass)); err != nil {
		return BreakGlassDetail{}, err
	}
	if id == uuid.Nil {
		return BreakGlassDetail{}, ErrNotFound
	}
	book, err := s.currentBook(ctx)
	if err != nil {
		return BreakGlassDetail{}, err
	}
	uses, err := s.breakGlassUses(ctx, id)
	if err != nil {
		return BreakGlassDetail{}, err
	}
	if len(uses) == 0 {
		return BreakGlassDetail{}, ErrNotFound
	}
	d := BreakGlassDetail{
		BreakGlassUse: uses[0], Subject: breakGlassSubject + id.String(), MayAudit: s.rights(by).Allows(ActAuditRead.Needs, installation(KindAudit).access()),
	}
	done, more, err := s.cfg.Log.ByActor(ctx, audit.ActorQuery{Issuer: InternalIssuer, Subject: d.Subject, Acts: leftActs(), Done: true, Limit: breakGlassLeftMost})
	if err != nil {
		return BreakGlassDetail{}, dbError("reading what was done with a break-glass link", err)
	}
	d.More = more
	for _, e := range done {
		left, err := s.breakGlassLeftBy(ctx, by, book, e)
		if err != nil {
			return BreakGlassDetail{}, err
		}
		d.Left = append(d.Left, left)
	}
	others, _, err := s.cfg.Log.ByActor(ctx, audit.ActorQuery{Issuer: InternalIssuer, Subject: d.Subject, Acts: otherChanges(), Done: true, Limit: breakGlassLeftMost})
	if err != nil {
		return BreakGlassDetail{}, dbError("reading what was done with a break-glass link", err)
	}
	d.Others = len(others)
	return d, nil
}

// otherChanges are the acts that change something besides rights and sessions.
func otherChanges() []string {
	var names []string
	for _, a := range Acts() {
		own := a.TargetKind == KindSession || a.TargetKind == KindBreakGlass || a.TargetKind == KindAudit
		if a.Mutates && !own && !slices.Contains(leftActs(), a.Name) {
			names = append(names, a.Name)
		}
	}
	return names
}

// breakGlassLeftBy is what one event left, and whether it still stands.
func (s *Service) breakGlassLeftBy(ctx context.Context, by audit.Actor, book *rightsBook, e audit.Stored) (BreakGlassLeft, error) {
	left := BreakGlassLeft{Seq: e.Seq, At: e.RecordedAt, Act: e.Act, Kind: e.Target.Kind, ID: e.Target.ID, Name: e.Target.Name}
	switch e.Target.Kind {
	case KindGrant:
		return left, s.lookAtLeftGrant(ctx, by, book, &left)
	case KindRole:
		_, there := book.roles[e.Target.ID]
		left.Stands = there == (e.Act != ActRoleDelete.Name)
		left.MayOpen = there && s.rights(by).Holds(access.GrantsManage)
	case KindMember:
		issuer := changedTo(e.Change, changeIssuer)
		blocked := book.blocked[principal{issuer, e.Target.ID}]
		left.Stands = blocked == (e.Act == ActMemberBlock.Name)
		left.Name = cmp.Or(e.Target.Name, e.Target.ID)
		if left.MayOpen = issuer != ""; left.MayOpen {
			left.ID = s.MemberID(issuer, e.Target.ID)
		}
	}
	return left, nil
}

// lookAtLeftGrant tells whether the grant counts. One to an address that was bound since goes on as its member's own.
func (s *Service) lookAtLeftGrant(ctx context.Context, by audit.Actor, book *rightsBook, left *BreakGlassLeft) error {
	left.Name = "a grant" // its name on record tells of places that the reader may not know
	id, err := uuid.Parse(left.ID)
	if err != nil {
		return nil //nolint:nilerr // an event names what it names; there is no such grant to look at
	}
	row, err := grantByID(ctx, s.cfg.DB, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(book.grants, func(g storedGrant) bool { return g.row.BoundFrom != nil && *g.row.BoundFrom == id }); i >= 0 && left.Act == ActGrantCreate.Name {
		row = endedGrantRow{grantRow: book.grants[i].row}
		left.ID = row.ID.String()
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, []endedGrantRow{row})
	if err != nil {
		return err
	}
	counts := row.EndedAt == nil && storedGrant{row: row.grantRow}.live(s.now())
	left.Stands = counts == (left.Act == ActGrantCreate.Name)
	left.MayOpen, left.Name = look.manages(row.grantRow), look.target(row.grantRow).Name
	return nil
}

// linkOf is the link that gave a session; nil when the subject is none.
func linkOf(subject string) uuid.UUID {
	id, err := uuid.Parse(strings.TrimPrefix(subject, breakGlassSubject))
	if err != nil {
		return uuid.Nil
	}
	return id
}
