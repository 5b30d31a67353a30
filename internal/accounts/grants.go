package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// Grant is a grant as those may see it who manage grants everywhere in its scope.
type Grant struct {
	ID           uuid.UUID // nil for one from configuration
	SubjectKind  string    // SubjectMember, SubjectGroup, SubjectEmail
	Issuer       string
	Subject      string
	SubjectName  string // of a member, as last signed in; else the subject
	SubjectEmail string // of a member, as last signed in; may be empty
	Role         access.Role
	ScopeKind    access.ScopeKind
	Scope        string // in the one spelling that ParseScope makes
	ScopeName    string // in words for people
	ExpiresAt    *time.Time
	Reason       string
	BoundFrom    *uuid.UUID // the grant to an address that this one follows
	CreatedAt    time.Time
	GrantedBy    string // name at the time
	Configured   bool   // from configuration, and ended there only
	Source       string // of a configured one: the variable
	Pending      bool   // waits for the first sign-in with the address
	Expired      bool
	Blocked      bool // it is in force for a member who is blocked, and so counts for nothing
	Nobody       bool // it is for a group that no sign-in has named; told of a page of the list, and of one grant
	EndedAt      *time.Time
	EndedBy      string
	EndReason    string
	Bound        bool   // it was for an address, and ended because a member who signed in with it has one like it since
	BoundTo      *Grant // that one; of one grant that was asked for by itself
	Unverified   bool   // the row was altered since the console wrote it, and counts for nothing
	MayEnd       bool
	WhyNotEnd    string // in words for people; empty when MayEnd
}

// NewGrant is a grant as the form sends it.
type NewGrant struct {
	SubjectKind string // member or group
	Subject     string // issuer|subject of a member or the member's address; the group's value
	Role        string // id of a role
	ScopeKind   string
	Scope       string
	ExpiresAt   string // date, or date and time in UTC; empty: without end
	Reason      string
	FormToken   string // of the form for grant.create; empty when no form was sent
}

// Bounds on what a grant says, in characters.
const (
	reasonLength = 500
	longestScope = 1000
	// longestGrant is how far in the future an end may be, in years.
	longestGrant = 10
)

// wantedGrant is what a form asks for, once it was found to be well formed.
type wantedGrant struct {
	row     grantRow
	scope   access.Scope
	role    access.Role
	account accountRef // of an account's or a cluster's scope
	name    string     // of the subject
	where   string     // the scope in words
}

func (w wantedGrant) target() target {
	return grantTarget(w.row, w.role.Name, w.name, w.where, w.account)
}

// grantTarget is a grant as a target: its name says it as it was at the time.
func grantTarget(row grantRow, role, subject, where string, account accountRef) target {
	t := target{Account: account, Kind: KindGrant, Name: role + " for " + subject + " on " + where}
	if row.ID != uuid.Nil {
		t.ID = row.ID.String()
	}
	return t
}

// grantChange tells all that a grant's row says, as what comes to be or, with ended, as what was.
func grantChange(row grantRow, ended bool) audit.Change {
	change := audit.Change{}
	tell := func(name string, value any) {
		if ended {
			change[name] = [2]any{value, nil}
		} else {
			change[name] = [2]any{nil, value}
		}
	}
	tell("subject_kind", row.SubjectKind)
	tell("issuer", row.Issuer)
	tell("subject", row.Subject)
	tell("role", row.Role)
	tell("scope_kind", row.ScopeKind)
	tell("scope", row.Scope)
	tell("reason", row.Reason)
	if row.ExpiresAt != nil {
		tell("expires_at", row.ExpiresAt.UTC().Format(time.RFC3339Nano))
	}
	if row.BoundFrom != nil {
		tell("bound_from", row.BoundFrom.String())
	}
	return change
}

// CreateGrant gives a role to a member or a group within a scope and records grant.create in the same
// transaction. An address that nobody has signed in with gets a grant that waits for its member.
//
// One can give only what one holds oneself, everywhere in the scope and until the grant ends, and
// manages grants there; and never to oneself. That is decided on the rights as they are in the
// transaction, so that a right which is being taken back is not given meanwhile.
//
// *InvalidError tells everything that is wrong with the form, and that an account or cluster does not
// exist or may not be seen, in the same words. *ForbiddenError names what is missing.
func (s *Service) CreateGrant(ctx context.Context, by audit.Actor, n NewGrant) (Grant, error) {
	if err := s.managesGrants(ctx, by, ActGrantCreate); err != nil {
		return Grant{}, err
	}
	if err := s.demandFresh(ctx, by, ActGrantCreate, installation(KindGrant)); err != nil {
		return Grant{}, err
	}
	var made uuid.UUID
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var err error
		if made, err = s.madeByForm(ctx, tx, by, ActGrantCreate, n.FormToken); err != nil || made != uuid.Nil {
			return err
		}
		book, err := s.lockRights(ctx, tx)
		if err != nil {
			return err
		}
		want, err := s.wanted(ctx, tx, by, book, n)
		if err != nil {
			return err
		}
		if err := s.roleAsChosen(ctx, tx, want.role, n.FormToken); err != nil {
			return err
		}
		if err := s.mayGive(by, book, want); err != nil {
			return err
		}
		want.row.ID = s.newID()
		made = want.row.ID
		if err := s.insertGrant(ctx, tx, want.row); err != nil {
			return err
		}
		if err := s.formMade(ctx, tx, n.FormToken, made); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(want.target(), by, ActGrantCreate, grantChange(want.row, false)))
	})
	if err != nil {
		return Grant{}, s.refused(ctx, by, ActGrantCreate, err)
	}
	return s.grantMade(ctx, by, made)
}

// roleAsChosen refuses to give a role that was changed after the form was opened in which it was chosen: whoever changes a role
// that nobody has yet needs to hold nothing of what they add to it, and whoever gives it must have been able to see that.
// *InvalidError, for which the form's token is too old as well.
func (s *Service) roleAsChosen(ctx context.Context, tx pgx.Tx, role access.Role, formToken string) error {
	hash, ok := s.tokenHash(forForm, formToken)
	if formToken == "" || !ok || isBuiltIn(role.ID) {
		return nil
	}
	var changed bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM form_tokens f JOIN roles r ON r.written_at > f.created_at WHERE f.token_hash = $1 AND r.id = $2 AND r.version > 1)`,
		hash, role.ID).Scan(&changed)
	if err != nil || !changed {
		return err
	}
	return &InvalidError{Fields: map[string]string{
		"role":       "This role was changed after the form was opened. Look at what it allows now.",
		"form_token": "This form is older than the role. Open it again and send it once more.",
	}}
}

// grantMade returns a grant to who made it, also when what they may see was taken back meanwhile.
func (s *Service) grantMade(ctx context.Context, by audit.Actor, id uuid.UUID) (Grant, error) {
	if err := s.freshRights(ctx); err != nil {
		return Grant{}, err
	}
	row, err := grantByID(ctx, s.cfg.DB, id)
	if err != nil {
		return Grant{}, err
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, s.keeper.book.Load(), []endedGrantRow{row})
	if err != nil {
		return Grant{}, err
	}
	return look.grant(row), nil
}

// managesGrants refuses who manages grants nowhere. Where they do is decided for each grant.
func (s *Service) managesGrants(ctx context.Context, by audit.Actor, act Act) error {
	if err := s.freshRights(ctx); err != nil {
		return err
	}
	if s.rights(by).Holds(access.GrantsManage) {
		return nil
	}
	return s.refuse(ctx, by, act, installation(act.TargetKind), access.GrantsManage)
}

// refuse records that the actor may not do the act and returns what they are told.
func (s *Service) refuse(ctx context.Context, by audit.Actor, act Act, on target, missing string) error {
	s.denied(ctx, by, act, on, missing)
	return &ForbiddenError{Act: act.Name, Missing: missing}
}

// refusal is found out inside a transaction, and recorded once that is rolled back: waiting for the log
// must not keep other changes of rights waiting.
type refusal struct {
	on      target
	missing string
	instead error // what the actor is told, where a refusal would tell that there is something; nil: *ForbiddenError
}

func (r *refusal) Error() string { return "needs " + r.missing }

// errNothingToDo rolls a transaction back that found the work done.
var errNothingToDo = errors.New("nothing to do")

// refused returns the error of a transaction as the domain's, and records what was refused in it.
func (s *Service) refused(ctx context.Context, by audit.Actor, act Act, err error) error {
	r, ok := errors.AsType[*refusal](err)
	switch {
	case errors.Is(err, errNothingToDo):
		return nil
	case !ok:
		return dbError(act.Name, err)
	case r.instead != nil:
		s.deniedBeside(ctx, by, act, r.on, r.missing)
		return r.instead
	}
	return s.refuse(ctx, by, act, r.on, r.missing)
}

// anotherAdministrator begins what is missing when nobody but somebody else may do it.
const anotherAdministrator = "another administrator"

// mayGive decides delegation by the book.
func (s *Service) mayGive(by audit.Actor, book *rightsBook, want wantedGrant) error {
	if toOneself(by, want.row) {
		because := "nobody gives rights to themselves"
		if want.row.SubjectKind == SubjectGroup {
			because = "you are in the group " + want.row.Subject + " and " + because
		}
		return &refusal{on: want.target(), missing: anotherAdministrator + ", because " + because}
	}
	needed := append([]string{access.GrantsManage}, want.role.Permissions...)
	if lacking := lacksWithin(s.rightsBy(book, by, s.now()), needed, want.scope); len(lacking) > 0 {
		return &refusal{on: want.target(), missing: strings.Join(lacking, " and ") + " on " + want.where}
	}
	// A right that ends is given no longer than it is held: two who hold one for a week could otherwise
	// give it to each other for ever.
	if lacking := lacksWithin(s.rightsBy(book, by, lastMoment(want.row.ExpiresAt)), needed, want.scope); len(lacking) > 0 {
		return invalidField("expires_at", "You hold this here until "+s.heldUntil(by, book, needed, want.scope).UTC().Format("2006-01-02 15:04")+" UTC only. Let this end by then.")
	}
	return nil
}

// heldUntil is when the first of the permissions, all of which the actor holds now everywhere in the scope, ends there.
// Zero when none of the book's grants ends it.
func (s *Service) heldUntil(by audit.Actor, book *rightsBook, permissions []string, scope access.Scope) time.Time {
	var ends []time.Time
	for _, g := range book.grants {
		if g.row.ExpiresAt != nil && g.live(s.now()) {
			ends = append(ends, *g.row.ExpiresAt)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	// Rights only become fewer as grants end, so it is the first end after which something lacks.
	first := sort.Search(len(ends), func(i int) bool { return len(lacksWithin(s.rightsBy(book, by, ends[i]), permissions, scope)) > 0 })
	if first == len(ends) {
		return time.Time{}
	}
	return ends[first]
}

// lastMoment is a moment just before the end, or far away when there is none.
func lastMoment(end *time.Time) time.Time {
	if end == nil {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return end.Add(-time.Microsecond)
}

// lacksWithin names the permissions that are not held everywhere in the scope, sorted.
func lacksWithin(rights access.Rights, permissions []string, scope access.Scope) []string {
	var lacking []string
	for _, p := range permissions {
		if !rights.Within(p, scope) {
			lacking = append(lacking, p)
		}
	}
	slices.Sort(lacking)
	return slices.Compact(lacking)
}

// lacksToBring names the permissions that the actor would give without holding them, by bringing the target into the
// scopes of grants: what those give must be held on the target as it is, now and, tooSoon, for as long as they last.
func (s *Service) lacksToBring(by audit.Actor, book *rightsBook, into []storedGrant, on target) (lacking []string, tooSoon bool) {
	lacksAt := func(moment func(g storedGrant) time.Time) []string {
		held := map[time.Time]access.Rights{}
		var lacking []string
		for _, g := range into {
			at := moment(g)
			rights, known := held[at]
			if !known {
				rights = s.rightsBy(book, by, at)
				held[at] = rights
			}
			for _, p := range book.roles[g.row.Role].Permissions {
				if !rights.Allows(access.Needs(p), on.access()) {
					lacking = append(lacking, p)
				}
			}
		}
		slices.Sort(lacking)
		return slices.Compact(lacking)
	}
	now := s.now()
	if lacking := lacksAt(func(storedGrant) time.Time { return now }); len(lacking) > 0 {
		return lacking, false
	}
	lacking = lacksAt(func(g storedGrant) time.Time { return lastMoment(g.row.ExpiresAt) })
	return lacking, len(lacking) > 0
}

// toOneself reports whether a grant would be the actor's own: to them, to a group of their session, or
// to their address, whether it is verified or not.
func toOneself(by audit.Actor, row grantRow) bool {
	if row.Issuer != by.Issuer {
		return false
	}
	switch row.SubjectKind {
	case SubjectMember:
		return row.Subject == by.Subject
	case SubjectGroup:
		return slices.Contains(by.Groups, row.Subject)
	}
	return by.Email != "" && access.FoldASCII(by.Email) == row.Subject
}

// insertGrant stores a grant with its authentication code.
func (s *Service) insertGrant(ctx context.Context, tx pgx.Tx, row grantRow) error {
	if _, err := tx.Exec(ctx, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		row.ID, row.SubjectKind, row.Issuer, row.Subject, row.Role, row.ScopeKind, row.Scope, row.ExpiresAt, row.Reason, row.BoundFrom,
		row.CreatedAt, row.GrantedBy, row.GrantedByIssuer, row.GrantedBySubject, s.cfg.Vault.MAC(row.place(), row.says())); err != nil {
		return fmt.Errorf("storing the grant: %w", err)
	}
	return nil
}

// EndGrant takes a grant back and records grant.delete in the same transaction. It needs the right to
// manage grants everywhere in the grant's scope, and not the rights that the grant gives. A grant that
// has expired or waits for its member can be ended as well; one that has ended stays as it is, and
// nothing is recorded.
//
// ErrNotFound when there is no such grant or it may not be seen, *ConflictError when nobody would be
// left who may do everything, *InvalidError when the reason is not fit to be kept.
func (s *Service) EndGrant(ctx context.Context, by audit.Actor, id uuid.UUID, reason string) error {
	return s.endGrant(ctx, by, id, reason, uuid.Nil)
}

// endGrant is EndGrant as a part of a larger act, when parent names one.
func (s *Service) endGrant(ctx context.Context, by audit.Actor, id uuid.UUID, reason string, parent uuid.UUID) error {
	if err := s.managesGrants(ctx, by, ActGrantDelete); err != nil {
		return err
	}
	if err := s.demandFresh(ctx, by, ActGrantDelete, installation(KindGrant)); err != nil {
		return err
	}
	reason = tidy(reason)
	if problem := textProblem(reason, reasonLength, true); problem != "" {
		return invalidField("reason", problem)
	}
	var hide func() error
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		book, err := s.lockRights(ctx, tx)
		if err != nil {
			return err
		}
		row, err := grantByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if !s.grantSight(by, book).manages(row.grantRow) {
			hide = func() error { return s.hiddenGrant(ctx, by, ActGrantDelete, book, row) }
			return ErrNotFound
		}
		look, err := s.lookAt(ctx, tx, by, book, []endedGrantRow{row})
		if err != nil {
			return err
		}
		on := look.target(row.grantRow)
		if row.EndedAt != nil {
			return errNothingToDo
		}
		if err := s.leavesAnAdmin(ctx, tx, book, by, rightsWithout{grant: row.ID}); err != nil {
			return err
		}
		ended, err := tx.Exec(ctx, `UPDATE grants SET ended_at = $2, ended_by = $3, end_reason = $4 WHERE id = $1 AND ended_at IS NULL`,
			id, s.now(), nameOf(by), reason)
		if err != nil {
			return fmt.Errorf("ending the grant: %w", err)
		}
		if ended.RowsAffected() != 1 {
			return errors.New("ending the grant: it is not there")
		}
		change := grantChange(row.grantRow, true)
		change["end_reason"] = [2]any{nil, reason}
		e := singleEvent(on, by, ActGrantDelete, change)
		e.Parent = parent
		return s.recordLast(ctx, tx, e)
	})
	if hide != nil {
		return hide()
	}
	if err != nil {
		return s.refused(ctx, by, ActGrantDelete, err)
	}
	return nil
}

// endedGrantRow is a grant as stored, with how it ended.
type endedGrantRow struct {
	grantRow
	EndedAt   *time.Time
	EndedBy   string
	EndReason string
}

const endedGrantColumns = grantColumns + `, ended_at, ended_by, end_reason`

// grantByID returns a grant whoever asks and whether or not it verifies; ErrNotFound when there is none.
func grantByID(ctx context.Context, db querier, id uuid.UUID) (endedGrantRow, error) {
	rows, err := db.Query(ctx, `SELECT `+endedGrantColumns+` FROM grants WHERE id = $1`, id)
	if err != nil {
		return endedGrantRow{}, dbError("reading the grant", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[endedGrantRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return endedGrantRow{}, ErrNotFound
	}
	if err != nil {
		return endedGrantRow{}, dbError("reading the grant", err)
	}
	return row, nil
}
