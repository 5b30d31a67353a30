package accounts

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// GroupAccess is what a group can touch.
type GroupAccess struct {
	Issuer    string
	Group     string
	Grants    []Grant // that count now, those of configuration first
	Scopes    []ScopeAccess
	FirstSeen time.Time // zero: no sign-in named it, as far as that is kept
	LastSeen  time.Time
	Partial   bool // there may be more that the actor may not see
}

// GroupCan tells what a group can touch: the grants to it, the permissions by scope, and when sign-ins named it. An empty
// issuer is the console's own identity provider. Who manages members, or grants, everywhere sees all of it; who manages
// grants in a part sees what lies there. ErrNotFound when neither a grant nor a sign-in that the actor may know of names it.
func (s *Service) GroupCan(ctx context.Context, by audit.Actor, issuer, group string) (GroupAccess, error) {
	if err := s.freshRights(ctx); err != nil {
		return GroupAccess{}, err
	}
	rights := s.rights(by)
	all := rights.Allows(ActGroupRead.Needs, installation(KindGroup).access())
	if !all && !rights.Holds(access.GrantsManage) {
		return GroupAccess{}, s.refuse(ctx, by, ActGrantRead, installation(KindGrant), access.GrantsManage)
	}
	if issuer == "" {
		issuer = s.issuerFor(by)
	}
	if !wellFormed(issuer, maxIssuer) || !wellFormed(group, maxGroup) || group == "" {
		return GroupAccess{}, ErrNotFound
	}
	a := GroupAccess{Issuer: issuer, Group: group, Partial: !all}
	var err error
	if a.Grants, err = s.grantsOfGroup(ctx, by, issuer, group, all); err != nil {
		return GroupAccess{}, err
	}
	if all {
		err := s.cfg.DB.QueryRow(ctx, `SELECT first_seen, last_seen FROM group_values WHERE issuer = $1 AND value = $2`, issuer, group).Scan(&a.FirstSeen, &a.LastSeen)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return GroupAccess{}, dbError("reading when the group was seen", err)
		}
	}
	if len(a.Grants) == 0 && a.FirstSeen.IsZero() {
		return GroupAccess{}, ErrNotFound
	}
	a.Scopes = scopesOf(a.Grants)
	return a, s.addNobody(ctx, a.Grants)
}

// grantsOfGroup are the grants to a group that count now and that the actor may see; all of them with all.
func (s *Service) grantsOfGroup(ctx context.Context, by audit.Actor, issuer, group string, all bool) ([]Grant, error) {
	book := s.keeper.book.Load()
	var grants []Grant
	for _, c := range s.cfg.Rights.All() {
		if all && !c.Email && c.Via == group && (s.cfg.Rights.Issuer == "" || s.cfg.Rights.Issuer == issuer) {
			grants = append(grants, s.configuredGrant(c))
		}
	}
	var rows []endedGrantRow
	sight := s.grantSight(by, book)
	for _, held := range book.of(access.Member{Issuer: issuer, Groups: []string{group}}, "", s.now()) {
		i := slices.IndexFunc(book.grants, func(g storedGrant) bool { return g.row.ID == held.ID })
		if i >= 0 && (all || sight.manages(book.grants[i].row)) {
			rows = append(rows, endedGrantRow{grantRow: book.grants[i].row})
		}
	}
	if len(rows) == 0 {
		return grants, nil // no name is read: how long it takes tells nothing of grants elsewhere
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, rows)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		grants = append(grants, look.grant(row))
	}
	return grants, nil
}
