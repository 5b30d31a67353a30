package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// adminLasts is how long the right to do everything must last to count as somebody being left who has
// it: one that ends today leaves nobody tomorrow.
const adminLasts = 24 * time.Hour

// rightsWithout is a change that takes rights away.
type rightsWithout struct {
	grant   uuid.UUID    // is ended
	blocked principal    // is blocked
	role    *access.Role // is so from now on; one that is deleted has no permissions
}

// without returns the book as it would be after the change.
func (b *rightsBook) without(change rightsWithout) *rightsBook {
	after := *b
	if change.grant != uuid.Nil {
		after.grants = slices.Clone(b.grants)
		for i, g := range after.grants {
			if g.row.ID == change.grant {
				after.grants[i].row.Role = "" // which no role is called
			}
		}
	}
	if change.blocked != (principal{}) {
		after.blocked = map[principal]bool{change.blocked: true}
		for who := range b.blocked {
			after.blocked[who] = true
		}
	}
	if change.role != nil {
		after.roles = map[string]access.Role{}
		for id, role := range b.roles {
			after.roles[id] = role
		}
		after.roles[change.role.ID] = *change.role
	}
	return &after
}

// touchesOwn reports whether the change can take a permission of the console itself from anybody.
func (b *rightsBook) touchesOwn(change rightsWithout) bool {
	if change.blocked != (principal{}) {
		return true
	}
	own := func(p string) bool { return slices.Contains(access.Own(), p) }
	if change.role != nil {
		return slices.ContainsFunc(b.roles[change.role.ID].Permissions, func(p string) bool { return own(p) && !slices.Contains(change.role.Permissions, p) })
	}
	i := slices.IndexFunc(b.grants, func(g storedGrant) bool { return g.row.ID == change.grant })
	return i >= 0 && slices.ContainsFunc(b.roles[b.grants[i].row.Role].Permissions, own)
}

// doesEverything reports whether rights give every permission of the console itself everywhere, which
// is what it takes to give any right back to anybody.
func doesEverything(rights access.Rights) bool {
	return len(lacksWithin(rights, access.Own(), access.Scope{Everything: true})) == 0
}

// leavesAnAdmin refuses a change, with *ConflictError, after which nobody would be left who may do
// everything. book is what lockRights returned in the transaction that makes the change. What must be
// left, for a day at least:
//
//   - a person: somebody who has signed in, is not blocked, and may do everything by their own grants,
//     by configuration, or by the groups of their last sign-in. Where there was none before, none is
//     asked for, and neither of the console's own actors, such as its command line;
//   - and in any case a member, a group or a configured address that is given everything.
//
// So the last platform admin can neither take their own right back nor block themselves, and nobody
// else can do it to them.
func (s *Service) leavesAnAdmin(ctx context.Context, tx pgx.Tx, book *rightsBook, by audit.Actor, change rightsWithout) error {
	if !book.touchesOwn(change) {
		return nil
	}
	after := book.without(change)
	if s.givesEverything(book) && !s.givesEverything(after) {
		return &ConflictError{Reason: "Nobody would be left who may do everything here. Make somebody else platform admin first, on everything and without end."}
	}
	if by.Issuer == InternalIssuer {
		return nil
	}
	before, left := false, false
	at := s.now().Add(adminLasts)
	err := lastSignIns(ctx, tx, by, s.grantedGroups(book), func(m lastSignIn) bool {
		if m.Issuer == by.Issuer && m.Subject == by.Subject {
			m.Groups, m.Email, m.EmailVerified = by.Groups, by.Email, by.EmailVerified // of this session, which may be another than the last
		}
		left = doesEverything(s.rightsBy(after, m.actor(), at))
		before = before || doesEverything(s.rightsBy(book, m.actor(), at))
		return !left
	})
	if err != nil {
		return err
	}
	if before && !left {
		return &ConflictError{Reason: "No person would be left who may do everything here: a group or an address counts once somebody has signed in with it. Make somebody else platform admin first, and let them sign in."}
	}
	return nil
}

// givesEverything reports whether anybody at all is given everything: by configuration, or as a member
// or group by the book.
func (s *Service) givesEverything(book *rightsBook) bool {
	if slices.ContainsFunc(s.cfg.Rights.All(), func(c access.ConfiguredGrant) bool {
		return c.Via != "" && doesEverything(access.NewRights(c.Grant).In(book.environments))
	}) {
		return true
	}
	at := s.now().Add(adminLasts)
	for who := range book.members {
		if doesEverything(s.rightsBy(book, audit.Actor{Issuer: who.issuer, Subject: who.name}, at)) {
			return true
		}
	}
	for group := range book.subjectGroups() {
		// A member of the group, whoever that is.
		if s.vouches(group.issuer) && doesEverything(access.NewRights(book.of(access.Member{Issuer: group.issuer, Groups: []string{group.name}}, "", at)...).In(book.environments)) {
			return true
		}
	}
	return false
}

// lastSignIn is a member with the groups of their last sign-in, those that anything is granted to.
type lastSignIn struct {
	Issuer        string
	Subject       string
	Name          string
	Email         string
	EmailVerified bool
	Groups        []string
	LastSeen      time.Time
}

func (m lastSignIn) actor() audit.Actor {
	return audit.Actor{Issuer: m.Issuer, Subject: m.Subject, Name: m.Name, Email: m.Email, EmailVerified: m.EmailVerified, Groups: m.Groups}
}

// signInsAtFirst is how many members are read at first; each reading after is four times as long.
const signInsAtFirst = 100

// lastSignIns calls visit for members until it returns false: for the one who asks first, and then from who was seen last.
// Who asks is nearly always enough, and others wait for the answer; so it reads no more of the rest than is
// needed, and of their groups only the given: a member may be in ten thousand. Who asks may be visited twice.
func lastSignIns(ctx context.Context, db querier, by audit.Actor, groups []string, visit func(lastSignIn) bool) error {
	const columns = `SELECT issuer, subject, name, email, email_verified, last_seen, ARRAY(SELECT g FROM unnest(groups) g WHERE g = ANY($1::text[])) AS groups FROM members`
	read := func(sql string, args ...any) ([]lastSignIn, error) {
		rows, err := db.Query(ctx, columns+sql, append([]any{groups}, args...)...)
		if err != nil {
			return nil, fmt.Errorf("reading who signed in: %w", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByName[lastSignIn])
		if err != nil {
			return nil, fmt.Errorf("reading who signed in: %w", err)
		}
		return found, nil
	}
	found, err := read(` WHERE issuer = $2 AND subject = $3`, by.Issuer, by.Subject)
	if err != nil {
		return err
	}
	for _, m := range found {
		if !visit(m) {
			return nil
		}
	}
	var after lastSignIn
	for limit := signInsAtFirst; ; limit *= 4 {
		found, err := read(` WHERE issuer <> $2 AND ($3 OR (last_seen, issuer, subject) < ($4, $5, $6)) ORDER BY last_seen DESC, issuer DESC, subject DESC LIMIT $7`,
			InternalIssuer, after.Issuer == "", after.LastSeen, after.Issuer, after.Subject, limit) // a way in past the provider is no person
		if err != nil {
			return err
		}
		for _, m := range found {
			if !visit(m) {
				return nil
			}
		}
		if len(found) < limit {
			return nil
		}
		after = found[len(found)-1]
	}
}
