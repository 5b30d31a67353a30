package accounts

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// changeIssuer tells with the target of an event about a member whose provider it is: subjects are unique only there.
const changeIssuer = "issuer"

// Why a member cannot be blocked, whoever asks.
const (
	notOneself   = "You cannot block yourself. Another administrator can."
	notThisBlock = "The newest row that says whether this member is blocked was not written by this console, and no row can follow it. Whoever owns the database has to look at it."
)

// MemberBlock says why a member is blocked.
type MemberBlock struct {
	Reason  string
	Confirm string // must be the member's ConfirmWord
}

// Block keeps a member out: their sessions end in the same transaction, with the event, and no request of theirs is
// answered any more, nor is a sign-in, until somebody unblocks them. One who is blocked already stays as they are, and
// only sessions that are left end. ended is how many sessions ended.
//
// *InvalidError when the reason is missing or the confirmation is not the member's; *ConflictError when it is oneself
// or the last platform admin; ErrNotFound.
func (s *Service) Block(ctx context.Context, by audit.Actor, issuer, subject string, b MemberBlock) (ended int, err error) {
	if err := s.authorize(ctx, by, ActMemberBlock, target{Kind: KindMember, ID: subject}); err != nil {
		return 0, err
	}
	if issuer == by.Issuer && subject == by.Subject {
		return 0, s.refuseBlock(ctx, by, target{Kind: KindMember, ID: subject, Name: by.Name}, notOneself)
	}
	reason, problem := blockReason(b.Reason)
	var lastAdmin *ConflictError
	on := target{Kind: KindMember, ID: subject}
	err = s.changeStanding(ctx, issuer, subject, "blocked", func(ctx context.Context, tx pgx.Tx, change standingChange) error {
		if err := s.stillEverywhere(change.book, by, ActMemberBlock, on); err != nil {
			return err
		}
		on = memberTarget(change.member)
		invalid := map[string]string{}
		if problem != "" {
			invalid["reason"] = problem
		}
		if strings.TrimSpace(b.Confirm) != change.member.ConfirmWord() {
			invalid["confirm"] = "This is not the member’s e-mail address or name, as it is written above."
		}
		if len(invalid) > 0 {
			return &InvalidError{Fields: invalid}
		}
		if err := s.leavesAnAdmin(ctx, tx, change.book, by, rightsWithout{blocked: principal{issuer, subject}}); err != nil {
			lastAdmin, _ = errors.AsType[*ConflictError](err)
			return err
		}
		said := audit.Change{changeIssuer: {issuer, issuer}}
		if !change.last.Blocked || !change.last.verifies(s) {
			if err := s.insertMemberStanding(ctx, tx, by, change, true, reason, said); err != nil {
				return err
			}
		}
		ended = len(change.ended)
		addEnded(said, change.ended)
		if len(said) == 1 {
			return nil // blocked already, and signed in nowhere
		}
		return s.recordLast(ctx, tx, singleEvent(on, by, ActMemberBlock, said))
	})
	if lastAdmin != nil {
		return 0, s.refuseBlock(ctx, by, on, lastAdmin.Reason)
	}
	if err != nil {
		return 0, s.refused(ctx, by, ActMemberBlock, err)
	}
	return ended, s.freshRights(ctx)
}

// Unblock lets a member in again. When they are not blocked nothing changes and nothing is recorded. reason may be
// empty.
func (s *Service) Unblock(ctx context.Context, by audit.Actor, issuer, subject, reason string) error {
	if err := s.authorize(ctx, by, ActMemberUnblock, target{Kind: KindMember, ID: subject}); err != nil {
		return err
	}
	reason = tidy(reason)
	if problem := textProblem(reason, reasonLength, true); problem != "" {
		return invalidField("reason", problem)
	}
	err := s.changeStanding(ctx, issuer, subject, "", func(ctx context.Context, tx pgx.Tx, change standingChange) error {
		if err := s.stillEverywhere(change.book, by, ActMemberUnblock, target{Kind: KindMember, ID: subject}); err != nil {
			return err
		}
		if who := (principal{issuer, subject}); !change.book.blocked[who] && (change.last.Version == 0 || !change.last.Blocked && change.last.verifies(s)) {
			return nil
		}
		said := audit.Change{changeIssuer: {issuer, issuer}}
		if err := s.insertMemberStanding(ctx, tx, by, change, false, reason, said); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(memberTarget(change.member), by, ActMemberUnblock, said))
	})
	if err != nil {
		return s.refused(ctx, by, ActMemberUnblock, err)
	}
	return s.freshRights(ctx)
}

// blockReason is the reason as it is kept, and what is wrong with it.
func blockReason(typed string) (reason, problem string) {
	reason = tidy(typed)
	if reason == "" {
		return "", "Say why, for whoever reads it in the log later."
	}
	return reason, textProblem(reason, reasonLength, true)
}

// refuseBlock records that a block was refused whoever asks, and returns the refusal.
func (s *Service) refuseBlock(ctx context.Context, by audit.Actor, on target, reason string) error {
	by.Groups = nil
	e := singleEvent(on, by, ActMemberBlock, nil)
	e.At, e.Outcome, e.Reason = s.now(), audit.Denied, reason
	if e, now := s.denials.add(s.cfg.Now(), e); now {
		s.appendDenial(ctx, e)
	}
	return &ConflictError{Reason: reason}
}

// standingChange is what a change of whether a member is blocked begins with.
type standingChange struct {
	member Member
	last   memberStanding // Version 0: there is none
	book   *rightsBook
	ended  []string // marks of the sessions that ended
}

// changeStanding does what changes whether a member is blocked, in a transaction that nothing else which changes rights
// runs beside. The member's row is locked, so that a sign-in of theirs comes before it as a whole, or after it; with why
// their sessions end, as those are then. Locks are taken in the order in which a sign-in takes them.
func (s *Service) changeStanding(ctx context.Context, issuer, subject, why string, do func(ctx context.Context, tx pgx.Tx, change standingChange) error) error {
	if !wellFormed(issuer, maxIssuer) || !wellFormed(subject, maxSubject) {
		return ErrNotFound
	}
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM members WHERE issuer = $1 AND subject = $2 FOR UPDATE`, issuer, subject); err != nil {
			return err
		}
		var change standingChange
		var err error
		if change.book, err = s.lockRights(ctx, tx); err != nil {
			return err
		}
		if why != "" {
			if change.ended, err = s.endSessionsOf(ctx, tx, issuer, subject, why); err != nil {
				return err
			}
		}
		if change.member, _, err = s.oneMember(ctx, tx, change.book, issuer, subject); err != nil {
			return err
		}
		if change.last, err = lastMemberStanding(ctx, tx, issuer, subject); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return do(ctx, tx, change)
	})
	if violates(err, "member_standings_member_key") {
		return &ConflictError{Reason: "Somebody else changed this member meanwhile. Look at the present state."}
	}
	if err != nil {
		return dbError("changing whether a member is blocked", err)
	}
	return nil
}

func (r memberStanding) verifies(s *Service) bool {
	return s.cfg.Vault.Verify(r.place(), r.says(), r.MAC)
}

// lastMemberStanding returns the newest row on whether a member is blocked; ErrNotFound when there is none.
func lastMemberStanding(ctx context.Context, db querier, issuer, subject string) (memberStanding, error) {
	rows, err := db.Query(ctx, `SELECT `+memberStandingColumns+` FROM member_standings WHERE issuer = $1 AND subject = $2 ORDER BY version DESC LIMIT 1`, issuer, subject)
	if err != nil {
		return memberStanding{}, fmt.Errorf("reading whether a member is blocked: %w", err)
	}
	last, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[memberStanding])
	if errors.Is(err, pgx.ErrNoRows) {
		return memberStanding{}, ErrNotFound
	}
	if err != nil {
		return memberStanding{}, fmt.Errorf("reading whether a member is blocked: %w", err)
	}
	return last, nil
}

// insertMemberStanding stores the next version and adds to the change what it says.
func (s *Service) insertMemberStanding(ctx context.Context, tx pgx.Tx, by audit.Actor, of standingChange, blocked bool, reason string, change audit.Change) error {
	last := of.last
	if last.Version == math.MaxInt32 {
		return &ConflictError{Reason: notThisBlock}
	}
	next := memberStanding{
		ID: s.newID(), Issuer: of.member.Issuer, Subject: of.member.Subject, Version: last.Version + 1, Blocked: blocked, Reason: reason, WrittenAt: s.now(),
		WrittenBy: cut(by.Name, maxName), WrittenByIssuer: by.Issuer, WrittenBySubject: by.Subject,
	}
	if _, err := tx.Exec(ctx, `INSERT INTO member_standings (`+memberStandingColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		next.ID, next.Issuer, next.Subject, next.Version, next.Blocked, next.Reason, next.WrittenAt, next.WrittenBy, next.WrittenByIssuer, next.WrittenBySubject,
		s.cfg.Vault.MAC(next.place(), next.says())); err != nil {
		return fmt.Errorf("storing whether a member is blocked: %w", err)
	}
	change["standing_id"], change["version"], change["blocked"] = [2]any{nil, next.ID.String()}, [2]any{last.Version, next.Version}, [2]any{!blocked, blocked}
	if reason != "" {
		change["reason"] = [2]any{nil, reason}
	}
	if last.Version > 0 && !last.verifies(s) { // it blocked, whatever it says
		change["blocked"], change["verified"] = [2]any{true, blocked}, [2]any{false, true}
	}
	return nil
}

// endSessionsOf ends the sessions of a member, or those named, and returns their marks.
func (s *Service) endSessionsOf(ctx context.Context, tx pgx.Tx, issuer, subject, why string, only ...uuid.UUID) ([]string, error) {
	if only == nil {
		only = []uuid.UUID{}
	}
	// Locked in one order, so that two who end the same sessions wait for each other and not in a ring.
	rows, err := tx.Query(ctx, endSessions(`theirs AS MATERIALIZED (
			SELECT id FROM sessions WHERE ended_at IS NULL AND issuer = $3 AND subject = $4 AND (id = ANY($5) OR cardinality($5::uuid[]) = 0) ORDER BY id FOR UPDATE
		),`, `id = ANY(ARRAY(SELECT id FROM theirs))`),
		s.now(), why, issuer, subject, only)
	if err != nil {
		return nil, fmt.Errorf("ending sessions: %w", err)
	}
	marks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (mark string, err error) {
		return mark, row.Scan(&mark, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("ending sessions: %w", err)
	}
	slices.Sort(marks)
	return marks, nil
}

// addEnded adds to a change which sessions ended, by what the log calls them.
func addEnded(change audit.Change, marks []string) {
	if len(marks) > 0 {
		change["sessions_ended"] = [2]any{nil, len(marks)}
		change["sessions"] = [2]any{marks[:min(len(marks), memberSessions)], nil}
	}
}

// EndMemberSessions ends the live sessions of a member, or those named, and records member.sign_out in the same
// transaction. They may sign in again. ended is how many ended; ErrNotFound when there is no such member, or a session
// was named and none of those is theirs and live.
func (s *Service) EndMemberSessions(ctx context.Context, by audit.Actor, issuer, subject string, only ...uuid.UUID) (ended int, err error) {
	if err := s.authorize(ctx, by, ActMemberSignOut, target{Kind: KindMember, ID: subject}); err != nil {
		return 0, err
	}
	book, err := s.currentBook(ctx)
	if err != nil {
		return 0, err
	}
	m, _, err := s.oneMember(ctx, s.cfg.DB, book, issuer, subject)
	if err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		marks, err := s.endSessionsOf(ctx, tx, issuer, subject, "revoked", only...)
		if err != nil {
			return err
		}
		ended = len(marks)
		if ended == 0 && len(only) > 0 {
			return ErrNotFound
		}
		if ended == 0 {
			return nil
		}
		change := audit.Change{changeIssuer: {issuer, issuer}}
		addEnded(change, marks)
		return s.recordLast(ctx, tx, singleEvent(memberTarget(m), by, ActMemberSignOut, change))
	})
	if err != nil {
		return 0, dbError("ending a member's sessions", err)
	}
	return ended, nil
}
