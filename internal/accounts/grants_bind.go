package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// endedBound is why a grant to an address ended that became its member's.
const endedBound = "bound"

// bindGrants makes the grants that wait for the address of a sign-in the member's own, and returns a
// grant.bind event for each. Only an address that the provider vouches for counts, and each grant is
// bound once, to whoever comes first; the address has no right from then on. What the member gave to
// their own address stays as it is and gives nothing.
func (s *Service) bindGrants(ctx context.Context, tx pgx.Tx, by audit.Actor, row sessionRow) ([]audit.Event, error) {
	if !row.EmailVerified || row.Email == "" {
		return nil, nil
	}
	address := access.FoldASCII(row.Email)
	// As the rights were when the sign-in began: one that is made meanwhile waits for the next. Those that have expired, that the
	// member gave to their own address, or that the console did not write make no sign-in wait for others.
	if !slices.ContainsFunc(s.keeper.book.Load().grants, func(g storedGrant) bool { return g.waitsFor(row, address) }) {
		return nil, nil
	}
	book, err := s.lockRights(ctx, tx) // another sign-in with this address may be under way
	if err != nil {
		return nil, err
	}
	var bound []endedGrantRow
	for _, g := range book.grants {
		if !g.waitsFor(row, address) {
			continue
		}
		pending := g.row
		ended, err := tx.Exec(ctx, `UPDATE grants SET ended_at = $2, ended_by = $3, end_reason = $4 WHERE id = $1 AND ended_at IS NULL`,
			pending.ID, row.CreatedAt, nameOf(by), endedBound)
		if err != nil {
			return nil, fmt.Errorf("ending the grant to an address: %w", err)
		}
		if ended.RowsAffected() != 1 {
			return nil, errors.New("ending the grant to an address: it is not there")
		}
		own := pending
		own.ID, own.SubjectKind, own.Subject, own.BoundFrom, own.CreatedAt = s.newID(), SubjectMember, row.Subject, &pending.ID, row.CreatedAt
		if err := s.insertGrant(ctx, tx, own); err != nil {
			return nil, err
		}
		bound = append(bound, endedGrantRow{grantRow: own})
	}
	look, err := s.lookAt(ctx, tx, JobActor("rights"), book, bound)
	if err != nil {
		return nil, err
	}
	events := make([]audit.Event, len(bound))
	for i, b := range bound {
		change := grantChange(b.grantRow, false)
		change["subject_kind"], change["subject"] = [2]any{SubjectEmail, SubjectMember}, [2]any{address, row.Subject}
		change["granted_by"] = [2]any{nil, b.GrantedBy}
		events[i] = singleEvent(look.target(b.grantRow), by, ActGrantBind, change)
	}
	return events, nil
}

// waitsFor reports whether the grant becomes the member's who signs in with the address.
func (g storedGrant) waitsFor(row sessionRow, address string) bool {
	return g.row.SubjectKind == SubjectEmail && g.row.Issuer == row.Issuer && g.row.Subject == address && g.live(row.CreatedAt) &&
		(g.row.GrantedByIssuer != row.Issuer || g.row.GrantedBySubject != row.Subject)
}

// standsBlocked reports whether a member is blocked now. A newest row that does not verify blocks.
func (s *Service) standsBlocked(ctx context.Context, db querier, who principal) (bool, error) {
	if who.issuer == InternalIssuer { // nobody is blocked who comes when nothing else works
		return false, nil
	}
	last, err := lastMemberStanding(ctx, db, who.issuer, who.name)
	if errors.Is(err, ErrNotFound) {
		return s.keeper.withheld.Load().block(who, 0), nil
	}
	return err == nil && (last.Blocked || !last.verifies(s) || s.keeper.withheld.Load().block(who, last.Version)), err
}

// refusedAsBlocked reports whether the database refused to begin a session because its member is blocked.
func refusedAsBlocked(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == "QM002"
}

// deniedSignIn records that a blocked member tried to sign in, summed as every refusal is.
func (s *Service) deniedSignIn(ctx context.Context, by audit.Actor, row sessionRow) {
	s.metrics.signIns.WithLabelValues("failed").Inc()
	e := s.sessionEvent(identify(by, row), ActSessionLogin, row)
	e.Actor.Session, e.Actor.Groups, e.Target.ID = "", nil, "" // there is no session
	e.At, e.Outcome, e.Reason = s.now(), audit.Denied, "The member is blocked."
	if e, now := s.denials.add(s.cfg.Now(), e); now {
		s.appendDenial(ctx, e)
	}
}
