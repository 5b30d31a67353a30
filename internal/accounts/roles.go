package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// RoleDetail is a role as those see it who manage grants anywhere.
type RoleDetail struct {
	access.Role
	BuiltIn   bool
	Uses      int // grants that the actor may see, that name it and have neither ended nor expired; those that wait and those from configuration included
	Version   int // 0 of a built-in role
	WrittenAt time.Time
	WrittenBy string
	MayEdit   bool
	WhyNot    string // in words for people; empty when MayEdit
	MayDelete bool
	// WhyNotDelete in words for people; empty when MayDelete.
	WhyNotDelete string
	MayGive      bool // the actor can give it somewhere
	Withheld     bool // it allows nothing, because the log takes back what its row says
}

// NewRole is a role as its form sends it.
type NewRole struct {
	Name        string
	Description string
	Permissions []string
	FormToken   string // of the form for role.create; empty when no form was sent
}

// RoleEdit is what a role is to be like. Version is that of the role as the member saw it.
type RoleEdit struct {
	Version     int
	Name        string
	Description string
	Permissions []string
}

// RoleChangedError says that somebody changed the role after the member had read it.
type RoleChangedError struct{ Now RoleDetail }

func (e *RoleChangedError) Error() string { return "the role was changed meanwhile" }

const (
	roleNameLength        = 64
	roleDescriptionLength = 500
	// maxRoles bounds the roles of the team's own, which are all read whenever rights change.
	maxRoles = 500
)

func (r roleRow) access() access.Role {
	return access.Role{ID: r.ID.String(), Name: r.Name, Description: r.Description, Permissions: r.Permissions}
}

func (r roleRow) target() target { return target{Kind: KindRole, ID: r.ID.String(), Name: r.Name} }

// CreateRole makes a role of the team's own and records role.create in the same transaction. It gives
// nothing to anybody, so its permissions need not be the actor's; giving it does. *InvalidError tells
// everything that is wrong with the form.
func (s *Service) CreateRole(ctx context.Context, by audit.Actor, n NewRole) (RoleDetail, error) {
	if err := s.freshRights(ctx); err != nil {
		return RoleDetail{}, err
	}
	if err := s.authorize(ctx, by, ActRoleCreate, installation(KindRole)); err != nil {
		return RoleDetail{}, err
	}
	var made uuid.UUID
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var err error
		if made, err = s.madeByForm(ctx, tx, by, ActRoleCreate, n.FormToken); err != nil || made != uuid.Nil {
			return err
		}
		book, err := s.lockRights(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.stillEverywhere(book, by, ActRoleCreate, installation(KindRole)); err != nil {
			return err
		}
		row := s.writtenRole(by, s.newID(), 1, n.Name, n.Description, n.Permissions)
		if err := checkRole(book, row); err != nil {
			return err
		}
		if len(book.roles)-len(access.BuiltIn()) >= maxRoles {
			return invalidField("", fmt.Sprintf("There are %d roles already. Delete one that nobody uses first.", maxRoles))
		}
		made = row.ID
		if err := s.insertRole(ctx, tx, row); err != nil {
			return err
		}
		if err := s.formMade(ctx, tx, n.FormToken, made); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(row.target(), by, ActRoleCreate, roleChange(roleRow{}, row)))
	})
	if err != nil {
		return RoleDetail{}, s.refused(ctx, by, ActRoleCreate, err)
	}
	if err := s.freshRights(ctx); err != nil {
		return RoleDetail{}, err
	}
	row, err := s.lastRole(ctx, s.cfg.DB, made.String())
	if err != nil {
		return RoleDetail{}, err
	}
	return s.roleDetail(s.keeper.book.Load(), by, row), nil
}

// EditRole changes a role and records role.edit in the same transaction; when nothing differs nothing is
// recorded. Adding a permission is giving it wherever the role is given: the actor must hold it
// everywhere there and as long as the grants last, and must not hold the role themselves.
//
// *RoleChangedError when the version is not the role's any more, *ConflictError when nobody would be left
// who may do everything.
func (s *Service) EditRole(ctx context.Context, by audit.Actor, id string, e RoleEdit) error {
	return s.changeRole(ctx, by, ActRoleEdit, id, func(tx pgx.Tx, book *rightsBook, before roleRow) (roleRow, audit.Change, error) {
		after := s.writtenRole(by, before.ID, before.Version+1, e.Name, e.Description, e.Permissions)
		if err := checkRole(book, after); err != nil {
			return roleRow{}, nil, err
		}
		said := before
		if _, held := book.held[id]; held { // what its row says does not count: all of it is given anew
			said.Name, said.Permissions = "", nil
		}
		change := roleChange(said, after)
		if len(change) == 1 { // the version
			return roleRow{}, nil, errNothingToDo
		}
		if e.Version != before.Version {
			return roleRow{}, nil, &RoleChangedError{Now: s.roleDetail(book, by, before)}
		}
		if err := s.mayAdd(book, by, said, after); err != nil {
			return roleRow{}, nil, err
		}
		role := after.access()
		return after, change, s.leavesAnAdmin(ctx, tx, book, by, rightsWithout{role: &role})
	})
}

// DeleteRole deletes a role that no grant names which has neither ended nor expired, and records
// role.delete in the same transaction. *ConflictError while one does.
func (s *Service) DeleteRole(ctx context.Context, by audit.Actor, id string) error {
	return s.changeRole(ctx, by, ActRoleDelete, id, func(_ pgx.Tx, book *rightsBook, before roleRow) (roleRow, audit.Change, error) {
		if uses := len(book.uses(id, s.now())); uses > 0 {
			return roleRow{}, nil, &ConflictError{Reason: inUse(uses)}
		}
		after := s.writtenRole(by, before.ID, before.Version+1, before.Name, before.Description, before.Permissions)
		after.Deleted = true
		change := audit.Change{"version": {before.Version, after.Version}}
		for name, value := range map[string]any{"name": before.Name, "description": before.Description, "permissions": before.Permissions} {
			change[name] = [2]any{value, nil}
		}
		return after, change, nil
	})
}

// changeRole writes the next version of a role of the team's own, which next decides on by the rights under
// their lock, and records the act in the same transaction.
func (s *Service) changeRole(ctx context.Context, by audit.Actor, act Act, id string,
	next func(tx pgx.Tx, book *rightsBook, before roleRow) (roleRow, audit.Change, error),
) error {
	if err := s.freshRights(ctx); err != nil {
		return err
	}
	on, err := s.ownRole(ctx, by, act, id)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		book, err := s.lockRights(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.stillEverywhere(book, by, act, on); err != nil {
			return err
		}
		before, err := s.lastRole(ctx, tx, id)
		if err != nil {
			return err
		}
		after, change, err := next(tx, book, before)
		if err != nil {
			return err
		}
		if err := s.insertRole(ctx, tx, after); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(after.target(), by, act, change))
	})
	if err != nil {
		return s.refused(ctx, by, act, err)
	}
	return nil
}

func inUse(uses int) string {
	if uses == 1 {
		return "One grant names this role. End it first."
	}
	return strconv.Itoa(uses) + " grants name this role. End them first."
}

// ownRole returns a role of the team's own as a target that the actor may do the act to.
// ErrNotFound when there is none, *ConflictError for a built-in one.
func (s *Service) ownRole(ctx context.Context, by audit.Actor, act Act, id string) (target, error) {
	if err := s.managesGrants(ctx, by, act); err != nil {
		return target{}, err
	}
	book := s.keeper.book.Load()
	role, known := book.roles[id]
	if held, there := book.held[id]; there {
		role, known = held, true
	}
	if !known {
		return target{}, ErrNotFound
	}
	on := target{Kind: KindRole, ID: id, Name: role.Name}
	if err := s.authorize(ctx, by, act, on); err != nil {
		return target{}, err
	}
	if isBuiltIn(id) {
		return target{}, &ConflictError{Reason: builtInReason}
	}
	return on, nil
}

const builtInReason = "This role is built in and stays as it is. Copy it, and change the copy."

// builtInRoles are the ids of the roles that always exist. Making these roles is work, and decisions ask for the ids.
var builtInRoles = func() map[string]bool {
	ids := map[string]bool{}
	for _, role := range access.BuiltIn() {
		ids[role.ID] = true
	}
	return ids
}()

func isBuiltIn(id string) bool { return builtInRoles[id] }

// stillEverywhere decides by the book once more what authorize decided before the transaction.
func (s *Service) stillEverywhere(book *rightsBook, by audit.Actor, act Act, on target) error {
	if rights := s.rightsBy(book, by, s.now()); !rights.Allows(act.Needs, on.access()) {
		return &refusal{on: on, missing: rights.Missing(act.Needs, on.access())}
	}
	return nil
}

// mayAdd decides whether the actor may give what the edit adds to everybody who has the role.
func (s *Service) mayAdd(book *rightsBook, by audit.Actor, before, after roleRow) error {
	added := slices.DeleteFunc(slices.Clone(after.Permissions), func(p string) bool { return slices.Contains(before.Permissions, p) })
	if len(added) == 0 {
		return nil
	}
	for _, g := range book.uses(before.ID.String(), s.now()) {
		if toOneself(by, g.row) {
			return &refusal{on: after.target(), missing: "another administrator, because you hold this role and nobody gives rights to themselves"}
		}
		if lacking := lacksWithin(s.rightsBy(book, by, lastMoment(g.row.ExpiresAt)), added, g.scope); len(lacking) > 0 {
			where := whereWords(access.ScopeKind(g.row.ScopeKind), g.row.Scope, "", "")
			return &refusal{on: after.target(), missing: strings.Join(lacking, " and ") + " on " + where + ", where this role is given, for as long as it is"}
		}
	}
	return nil
}

// uses returns the grants that name a role and count now or may count later: those that wait for their
// member included, those that have expired not.
func (b *rightsBook) uses(id string, now time.Time) []storedGrant {
	var uses []storedGrant
	for _, g := range b.grants {
		if g.row.Role == id && g.live(now) {
			uses = append(uses, g)
		}
	}
	return uses
}

// writtenRole is a version of a role as its form says.
func (s *Service) writtenRole(by audit.Actor, id uuid.UUID, version int, name, description string, permissions []string) roleRow {
	sorted := slices.Clone(permissions)
	slices.Sort(sorted)
	return roleRow{
		ID: id, Version: version, Name: tidy(name), Description: tidy(description), Permissions: nonNil(slices.Compact(sorted)), WrittenAt: s.now(),
		WrittenBy: nameOf(by), WrittenByIssuer: by.Issuer, WrittenBySubject: by.Subject,
	}
}

// checkRole says everything that is wrong with a role.
func checkRole(book *rightsBook, row roleRow) error {
	invalid := map[string]string{}
	if problem := textProblem(row.Name, roleNameLength, false); problem != "" {
		invalid["name"] = problem
	}
	if row.Name == "" {
		invalid["name"] = "Give a name."
	}
	if problem := textProblem(row.Description, roleDescriptionLength, true); problem != "" {
		invalid["description"] = problem
	}
	for id, role := range book.roles {
		folded := access.FoldASCII(row.Name)
		if id != row.ID.String() && row.Name != "" && (folded == access.FoldASCII(role.Name) || folded == access.FoldASCII(id)) {
			invalid["name"] = "A role is called that already; give another name."
		}
	}
	known := append(access.Upstream(), access.Own()...)
	if len(row.Permissions) == 0 {
		invalid["permissions"] = "Choose at least one permission."
	}
	if slices.ContainsFunc(row.Permissions, func(p string) bool { return !slices.Contains(known, p) }) {
		invalid["permissions"] = "There is no such permission. Choose among those of the form."
	}
	if len(invalid) > 0 {
		return &InvalidError{Fields: invalid}
	}
	return nil
}

// roleChange tells what differs; of a new role all that it says.
func roleChange(before, after roleRow) audit.Change {
	change := audit.Change{"version": {before.Version, after.Version}}
	isNew := before.Version == 0
	if isNew {
		change["version"] = [2]any{nil, after.Version}
	}
	for name, v := range map[string][2]string{"name": {before.Name, after.Name}, "description": {before.Description, after.Description}} {
		switch {
		case isNew:
			change[name] = [2]any{nil, v[1]}
		case v[0] != v[1]:
			change[name] = [2]any{v[0], v[1]}
		}
	}
	switch {
	case isNew:
		change["permissions"] = [2]any{nil, after.Permissions}
	case !slices.Equal(before.Permissions, after.Permissions):
		change["permissions"] = [2]any{before.Permissions, after.Permissions}
	}
	return change
}

func (s *Service) insertRole(ctx context.Context, tx pgx.Tx, row roleRow) error {
	if _, err := tx.Exec(ctx, `INSERT INTO roles (`+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		row.ID, row.Version, row.Name, row.Description, row.Permissions, row.Deleted, row.WrittenAt, row.WrittenBy, row.WrittenByIssuer,
		row.WrittenBySubject, s.cfg.Vault.MAC(row.place(), row.says())); err != nil {
		return fmt.Errorf("storing the role: %w", err)
	}
	return nil
}

// lastRole returns the newest version of a role of the team's own; ErrNotFound when there is none, it was
// deleted, or that version does not verify.
func (s *Service) lastRole(ctx context.Context, db querier, id string) (roleRow, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return roleRow{}, ErrNotFound
	}
	rows, err := db.Query(ctx, `SELECT `+roleColumns+` FROM roles WHERE id = $1 ORDER BY version DESC LIMIT 1`, parsed)
	if err != nil {
		return roleRow{}, dbError("reading the role", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[roleRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return roleRow{}, ErrNotFound
	}
	if err != nil {
		return roleRow{}, dbError("reading the role", err)
	}
	if row.Deleted || !s.cfg.Vault.Verify(row.place(), row.says(), row.MAC) {
		return roleRow{}, ErrNotFound
	}
	return row, nil
}

// Roles lists the roles there are, to who manages grants anywhere: the built-in ones from the one that may
// least, then the team's own by name.
func (s *Service) Roles(ctx context.Context, by audit.Actor) ([]RoleDetail, error) {
	if err := s.managesGrants(ctx, by, ActRoleRead); err != nil {
		return nil, err
	}
	book := s.keeper.book.Load()
	rows, err := s.cfg.DB.Query(ctx, newestRoles)
	if err != nil {
		return nil, dbError("reading the roles", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[roleRow])
	if err != nil {
		return nil, dbError("reading the roles", err)
	}
	stored = slices.DeleteFunc(stored, func(row roleRow) bool {
		return row.Deleted || !s.cfg.Vault.Verify(row.place(), row.says(), row.MAC)
	})
	slices.SortFunc(stored, func(a, b roleRow) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	var roles []RoleDetail
	for _, role := range access.BuiltIn() {
		roles = append(roles, s.builtInDetail(book, by, role))
	}
	for _, row := range stored {
		roles = append(roles, s.roleDetail(book, by, row))
	}
	return roles, nil
}

// Role returns one role; ErrNotFound when there is none.
func (s *Service) Role(ctx context.Context, by audit.Actor, id string) (RoleDetail, error) {
	if err := s.managesGrants(ctx, by, ActRoleRead); err != nil {
		return RoleDetail{}, err
	}
	book := s.keeper.book.Load()
	if isBuiltIn(id) {
		return s.builtInDetail(book, by, book.roles[id]), nil
	}
	row, err := s.lastRole(ctx, s.cfg.DB, id)
	if err != nil {
		return RoleDetail{}, err
	}
	return s.roleDetail(book, by, row), nil
}

// AskRole makes the token of the form for a new role, for those who may make one. Others are refused,
// and that is recorded.
func (s *Service) AskRole(ctx context.Context, by audit.Actor) (formToken string, err error) {
	if err := s.permit(ctx, by, ActRoleCreate, installation(KindRole)); err != nil {
		return "", err
	}
	return s.FormToken(ctx, by, ActRoleCreate.Name)
}

func (s *Service) builtInDetail(book *rightsBook, by audit.Actor, role access.Role) RoleDetail {
	d := RoleDetail{Role: role, BuiltIn: true, WhyNot: builtInReason, WhyNotDelete: builtInReason}
	rights := s.rightsBy(book, by, s.now())
	d.Uses, d.MayGive = s.usesSeen(book, rights, role.ID), canGiveSomewhere(rights, role)
	return d
}

func (s *Service) roleDetail(book *rightsBook, by audit.Actor, row roleRow) RoleDetail {
	rights := s.rightsBy(book, by, s.now())
	d := RoleDetail{
		Role: row.access(), Version: row.Version, WrittenAt: row.WrittenAt, WrittenBy: row.WrittenBy,
		Uses: s.usesSeen(book, rights, row.ID.String()), MayGive: canGiveSomewhere(rights, row.access()),
	}
	if _, held := book.held[row.ID.String()]; held {
		d.MayGive, d.Withheld = false, true
	}
	everywhere := rights.Allows(ActRoleEdit.Needs, row.target().access())
	d.MayEdit, d.MayDelete = everywhere, everywhere && d.Uses == 0
	switch {
	case !everywhere:
		d.WhyNot = "It needs the right " + access.GrantsManage + " everywhere."
		d.WhyNotDelete = d.WhyNot
	case d.Uses > 0:
		d.WhyNotDelete = inUse(d.Uses)
	}
	return d
}

// usesSeen counts the uses of a role that the actor may see.
func (s *Service) usesSeen(book *rightsBook, rights access.Rights, id string) int {
	n := 0
	for _, g := range book.uses(id, s.now()) {
		if rights.Within(access.GrantsManage, g.scope) {
			n++
		}
	}
	if rights.Within(access.GrantsManage, access.Scope{Everything: true}) {
		for _, c := range s.cfg.Rights.All() {
			if c.Role.ID == id {
				n++
			}
		}
	}
	return n
}

// canGiveSomewhere reports whether there is a scope in which everything that giving the role needs is held.
func canGiveSomewhere(rights access.Rights, role access.Role) bool {
	return len(role.Permissions) > 0 && !rights.Visible(access.Needs(append([]string{access.GrantsManage}, role.Permissions...)...)).None()
}
