package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// Holder is somebody who can touch something, and by what.
type Holder struct {
	Kind        string // SubjectMember, SubjectGroup, SubjectEmail (of a configured address)
	Issuer      string
	Subject     string
	Name        string
	Email       string // of a member; may be empty
	Blocked     bool   // the grants count for nothing while it is so
	Part        bool   // of an account: not the account itself, but clusters of it
	Grants      []Grant
	Permissions []string // sorted; of Part: on some clusters
	// Members are the first of who is in the group by their last sign-in and not blocked, by name, and MemberCount is how
	// many there are. Only for who manages grants or members everywhere.
	Members     []string
	MemberCount int
}

// maxHolderMembers is how many members of a group are named.
const maxHolderMembers = 5

// WhoCan tells who can touch an account, or a cluster when the reference names one: members and groups by
// the grants that count now, and what configuration gives. It is for who manages grants or members there.
// ErrNotFound when the account or cluster does not exist or may not be read.
func (s *Service) WhoCan(ctx context.Context, by audit.Actor, ref ClusterRef) ([]Holder, error) {
	if err := s.freshRights(ctx); err != nil {
		return nil, err
	}
	on, _, err := s.readable(ctx, by, ref)
	if err != nil {
		return nil, err
	}
	if !s.overseesOn(by, on) {
		return nil, s.refuse(ctx, by, ActGrantRead, on, access.GrantsManage)
	}
	holders, err := s.holdersOf(ctx, by, on)
	if err != nil {
		return nil, err
	}
	return holders, s.addHolderMembers(ctx, by, holders)
}

// WhoCanIn tells who can touch an environment: all of its accounts with what is in them, those that come into it later
// included, or a part of it. It is for who manages grants or members in all of it. ErrNotFound for what is none of
// Environments.
func (s *Service) WhoCanIn(ctx context.Context, by audit.Actor, environment Environment) ([]Holder, error) {
	if !slices.Contains(Environments, environment) {
		return nil, ErrNotFound
	}
	if err := s.freshRights(ctx); err != nil {
		return nil, err
	}
	if !s.overseesIn(by, environment) {
		return nil, s.refuse(ctx, by, ActGrantRead, installation(KindGrant), access.GrantsManage)
	}
	book := s.keeper.book.Load()
	within, err := s.withinEnvironment(ctx, book, environment)
	if err != nil {
		return nil, err
	}
	holders, err := s.holders(ctx, by, book, within)
	if err != nil {
		return nil, err
	}
	return holders, s.addHolderMembers(ctx, by, holders)
}

// EnvironmentsToAsk are those of which WhoCanIn would tell the actor who can touch them.
func (s *Service) EnvironmentsToAsk(by audit.Actor) []Environment {
	return slices.DeleteFunc(slices.Clone(Environments), func(e Environment) bool { return !s.overseesIn(by, e) })
}

// overseesIn reports whether the actor may see who can touch the environment.
func (s *Service) overseesIn(by audit.Actor, environment Environment) bool {
	rights, all := s.rights(by), access.Scope{Environments: []string{string(environment)}}
	return rights.Within(access.GrantsManage, all) || rights.Within(access.MembersManage, all)
}

// addHolderMembers names who is in the groups among the holders.
func (s *Service) addHolderMembers(ctx context.Context, by audit.Actor, holders []Holder) error {
	rights, everything := s.rights(by), access.Scope{Everything: true}
	var values []string
	for _, h := range holders {
		if h.Kind == SubjectGroup {
			values = append(values, h.Subject)
		}
	}
	if len(values) == 0 || !rights.Within(access.MembersManage, everything) && !rights.Within(access.GrantsManage, everything) {
		return nil
	}
	var issuers, subjects []string
	for who, blocked := range s.keeper.book.Load().blocked {
		if blocked {
			issuers, subjects = append(issuers, who.issuer), append(subjects, who.name)
		}
	}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT m.issuer, named.value, count(*), (array_agg(coalesce(nullif(m.name, ''), nullif(m.email, ''), m.subject) ORDER BY lower(m.name), m.subject))[1:$4]
		FROM members m, LATERAL (SELECT DISTINCT g AS value FROM unnest(m.groups) g WHERE g = ANY($1)) named
		WHERE (m.issuer, m.subject) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))
		GROUP BY m.issuer, named.value`, values, nonNil(issuers), nonNil(subjects), maxHolderMembers)
	if err != nil {
		return dbError("reading who is in groups", err)
	}
	var issuer, value string
	var n int
	var names []string
	if _, err := pgx.ForEachRow(rows, []any{&issuer, &value, &n, &names}, func() error {
		for i := range holders {
			h := &holders[i]
			if h.Kind != SubjectGroup || h.Subject != value || h.Issuer != "" && h.Issuer != issuer {
				continue
			}
			h.MemberCount += n
			for _, name := range names[:min(len(names), maxHolderMembers-len(h.Members))] {
				h.Members = append(h.Members, shown(name, 128))
			}
		}
		return nil
	}); err != nil {
		return dbError("reading who is in groups", err)
	}
	return nil
}

// overseesOn reports whether the actor may see who can touch the target.
func (s *Service) overseesOn(by audit.Actor, on target) bool {
	return s.rights(by).Allows(access.Requirement{Any: []string{access.GrantsManage, access.MembersManage}}, on.access())
}

// MayAskWhoCan reports whether the actor may ask who can touch an account or cluster; for links.
func (s *Service) MayAskWhoCan(ctx context.Context, by audit.Actor, ref ClusterRef) bool {
	on, err := s.placeOf(ctx, ref)
	return err == nil && s.overseesOn(by, on)
}

// placeOf is an account or cluster as a target, whoever asks; ErrNotFound when there is none.
func (s *Service) placeOf(ctx context.Context, ref ClusterRef) (target, error) {
	if ref.ClusterID != "" {
		known, err := s.loadCluster(ctx, ref)
		return known.on, err
	}
	account, err := accountByID(ctx, s.cfg.DB, ref.AccountID, false)
	if err != nil {
		return target{}, err
	}
	return accountTarget(account.ref()), nil
}

// readable is placeOf for what the actor may read, with the act that reads it.
func (s *Service) readable(ctx context.Context, by audit.Actor, ref ClusterRef) (target, Act, error) {
	on, err := s.placeOf(ctx, ref)
	if err != nil {
		return target{}, Act{}, err
	}
	reading, _ := readOf(on.Kind)
	return on, reading, s.authorize(ctx, by, reading, on)
}

// asked is what is asked about: whether a scope reaches all of it, or else a part.
type asked struct{ whole, part func(access.Scope) bool }

// holdersOf are those whose grants reach an account or cluster.
func (s *Service) holdersOf(ctx context.Context, by audit.Actor, on target) ([]Holder, error) {
	book := s.keeper.book.Load()
	place := on.access()
	place.Environment = book.environments[place.AccountID] // where it is certain
	inside, err := s.clustersOf(ctx, on)
	if err != nil {
		return nil, err
	}
	return s.holders(ctx, by, book, asked{
		whole: func(scope access.Scope) bool { return scope.Covers(place) },
		part:  func(scope access.Scope) bool { return slices.ContainsFunc(inside, scope.Covers) },
	})
}

// withinEnvironment is an environment as what is asked about: its accounts where that is certain, and what is in them.
func (s *Service) withinEnvironment(ctx context.Context, book *rightsBook, environment Environment) (asked, error) {
	var ids []uuid.UUID
	for id, of := range book.environments {
		if of == string(environment) {
			ids = append(ids, id)
		}
	}
	// There may be a hundred thousand clusters in it, and far fewer different labels.
	rows, err := s.cfg.DB.Query(ctx, `SELECT DISTINCT labels FROM clusters WHERE account_id = ANY($1) AND gone_at IS NULL`, ids)
	if err != nil {
		return asked{}, dbError("reading the environment's clusters", err)
	}
	labelled, err := pgx.CollectRows(rows, pgx.RowTo[map[string]string])
	if err != nil {
		return asked{}, dbError("reading the environment's clusters", err)
	}
	there, err := s.grantedClusters(ctx, book, ids)
	if err != nil {
		return asked{}, err
	}
	all := access.Scope{Environments: []string{string(environment)}}
	return asked{
		whole: func(scope access.Scope) bool { return scope.Contains(all, nil) },
		part: func(scope access.Scope) bool {
			return slices.ContainsFunc(scope.Accounts, func(id uuid.UUID) bool { return slices.Contains(ids, id) }) ||
				slices.ContainsFunc(scope.Clusters, func(ref access.ClusterRef) bool { return there[ref] }) ||
				slices.ContainsFunc(scope.Labels, func(l access.Selector) bool { return slices.ContainsFunc(labelled, l.Matches) })
		},
	}, nil
}

// grantedClusters are the clusters of the accounts that a grant names and that exist.
func (s *Service) grantedClusters(ctx context.Context, book *rightsBook, accounts []uuid.UUID) (map[access.ClusterRef]bool, error) {
	var of []uuid.UUID
	var ids []string
	for _, g := range book.grants {
		for _, ref := range g.scope.Clusters {
			if slices.Contains(accounts, ref.AccountID) {
				of, ids = append(of, ref.AccountID), append(ids, ref.ClusterID)
			}
		}
	}
	there := map[access.ClusterRef]bool{}
	if len(ids) == 0 {
		return there, nil
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT account_id, cluster_id FROM clusters WHERE gone_at IS NULL AND (account_id, cluster_id) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))`, of, ids)
	if err != nil {
		return nil, dbError("reading the clusters that grants name", err)
	}
	var ref access.ClusterRef
	if _, err := pgx.ForEachRow(rows, []any{&ref.AccountID, &ref.ClusterID}, func() error { there[ref] = true; return nil }); err != nil {
		return nil, dbError("reading the clusters that grants name", err)
	}
	return there, nil
}

// holders are those whose grants reach what is asked about, members first, by name.
func (s *Service) holders(ctx context.Context, by audit.Actor, book *rightsBook, about asked) ([]Holder, error) {
	now := s.now()
	var rows []endedGrantRow
	part := map[uuid.UUID]bool{}
	for _, g := range book.grants {
		if _, known := book.roles[g.row.Role]; !known || !g.live(now) || g.row.SubjectKind == SubjectEmail {
			continue
		}
		whole := about.whole(g.scope)
		if !whole && !about.part(g.scope) {
			continue
		}
		part[g.row.ID] = !whole
		rows = append(rows, endedGrantRow{grantRow: g.row})
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, rows)
	if err != nil {
		return nil, err
	}
	var all []Holder
	add := func(g Grant, part bool) {
		i := slices.IndexFunc(all, func(h Holder) bool { return h.Kind == g.SubjectKind && h.Issuer == g.Issuer && h.Subject == g.Subject })
		if i < 0 {
			i = len(all)
			all = append(all, Holder{Kind: g.SubjectKind, Issuer: g.Issuer, Subject: g.Subject, Name: g.SubjectName, Email: g.SubjectEmail, Part: true,
				Blocked: g.SubjectKind == SubjectMember && book.blocked[principal{g.Issuer, g.Subject}]})
		}
		h := &all[i]
		h.Part = h.Part && part
		h.Grants = append(h.Grants, g)
		h.Permissions = append(h.Permissions, access.Effective(g.Role.Permissions, g.ScopeKind)...)
	}
	for _, row := range rows {
		add(look.grant(row), part[row.ID])
	}
	for _, c := range s.cfg.Rights.All() {
		add(s.configuredGrant(c), false)
	}
	for i := range all {
		slices.Sort(all[i].Permissions)
		all[i].Permissions = slices.Compact(all[i].Permissions)
	}
	kinds := []string{SubjectMember, SubjectGroup, SubjectEmail}
	slices.SortFunc(all, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.Issuer+"\n"+a.Subject, b.Issuer+"\n"+b.Subject))
	})
	return all, nil
}

// clustersOf returns the clusters of an account as rights see them; none for a cluster.
func (s *Service) clustersOf(ctx context.Context, on target) ([]access.Target, error) {
	if on.Kind != KindAccount {
		return nil, nil
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT cluster_id, labels FROM clusters WHERE account_id = $1 AND gone_at IS NULL`, on.Account.ID)
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	var inside []access.Target
	one := access.Target{AccountID: on.Account.ID}
	_, err = pgx.ForEachRow(rows, []any{&one.ClusterID, &one.Labels}, func() error {
		inside = append(inside, one)
		one.Labels = nil
		return nil
	})
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	return inside, nil
}

// MemberAccess is what a person can touch.
type MemberAccess struct {
	Issuer  string
	Subject string
	Name    string
	Email   string
	Blocked bool
	Groups  []string // of the last sign-in, those by which something is held that is seen here
	Grants  []Grant  // that count for them now, their groups' and the configuration's included
	Scopes  []ScopeAccess
	Partial bool // there may be more that the actor may not see
}

// ScopeAccess is what somebody may do within one scope.
type ScopeAccess struct {
	Kind        access.ScopeKind
	Scope       string
	Name        string   // in words
	Permissions []string // sorted
}

// WhatCan tells what a person can touch: their grants, and the permissions by scope. Groups are those of the
// last sign-in. Who manages members, or grants, everywhere sees all of it; who manages grants in a part
// sees what lies there. ErrNotFound when nobody of that name has signed in, or the actor sees nothing of them.
func (s *Service) WhatCan(ctx context.Context, by audit.Actor, issuer, subject string) (MemberAccess, error) {
	if err := s.freshRights(ctx); err != nil {
		return MemberAccess{}, err
	}
	rights := s.rights(by)
	everything := access.Scope{Everything: true}
	all := rights.Within(access.MembersManage, everything) || rights.Within(access.GrantsManage, everything)
	if !all && !rights.Holds(access.GrantsManage) {
		return MemberAccess{}, s.refuse(ctx, by, ActGrantRead, installation(KindGrant), access.GrantsManage)
	}
	m, err := lastSignInOf(ctx, s.cfg.DB, issuer, subject)
	if err != nil {
		return MemberAccess{}, err
	}
	book := s.keeper.book.Load()
	a := MemberAccess{
		Issuer: m.Issuer, Subject: m.Subject, Name: knownMember{Name: m.Name, Email: m.Email, Subject: m.Subject}.shownName(), Email: m.Email,
		Blocked: book.blocked[principal{m.Issuer, m.Subject}], Partial: !all,
	}
	if a.Grants, err = s.grantsOf(ctx, by, book, m, all); err != nil {
		return MemberAccess{}, err
	}
	if !all && len(a.Grants) == 0 {
		return MemberAccess{}, ErrNotFound
	}
	for _, g := range a.Grants {
		if g.SubjectKind == SubjectGroup && !slices.Contains(a.Groups, g.Subject) {
			a.Groups = append(a.Groups, g.Subject)
		}
	}
	a.Scopes = scopesOf(a.Grants)
	return a, nil
}

// scopesOf sums up by scope what grants allow, the widest kind first.
func scopesOf(grants []Grant) []ScopeAccess {
	var all []ScopeAccess
	for _, g := range grants {
		i := slices.IndexFunc(all, func(s ScopeAccess) bool { return s.Kind == g.ScopeKind && s.Scope == g.Scope })
		if i < 0 {
			i = len(all)
			all = append(all, ScopeAccess{Kind: g.ScopeKind, Scope: g.Scope, Name: g.ScopeName})
		}
		all[i].Permissions = append(all[i].Permissions, access.Effective(g.Role.Permissions, g.ScopeKind)...)
	}
	for i := range all {
		slices.Sort(all[i].Permissions)
		all[i].Permissions = slices.Compact(all[i].Permissions)
	}
	slices.SortStableFunc(all, func(x, y ScopeAccess) int {
		return cmp.Or(cmp.Compare(slices.Index(access.ScopeKinds(), x.Kind), slices.Index(access.ScopeKinds(), y.Kind)), strings.Compare(x.Name, y.Name))
	})
	return all
}

// grantsOf are the grants that count for a member now and that the actor may see; all of them with all.
func (s *Service) grantsOf(ctx context.Context, by audit.Actor, book *rightsBook, m lastSignIn, all bool) ([]Grant, error) {
	asMember := memberOf(m.actor())
	var rows []endedGrantRow
	sight := s.grantSight(by, book)
	for _, held := range book.of(asMember, m.Subject, s.now()) {
		i := slices.IndexFunc(book.grants, func(g storedGrant) bool { return g.row.ID == held.ID })
		if i >= 0 && (all || sight.manages(book.grants[i].row)) {
			rows = append(rows, endedGrantRow{grantRow: book.grants[i].row})
		}
	}
	var grants []Grant
	if all {
		for _, c := range s.cfg.Rights.All() {
			if slices.ContainsFunc(s.cfg.Rights.Grants(asMember), func(g access.Grant) bool { return g.Source == c.Source && g.Via == c.Via }) {
				grants = append(grants, s.configuredGrant(c))
			}
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

// lastSignInOf returns a member with their last groups; ErrNotFound when nobody of that name signed in.
func lastSignInOf(ctx context.Context, db querier, issuer, subject string) (lastSignIn, error) {
	if !wellFormed(issuer, maxIssuer) || !wellFormed(subject, maxSubject) {
		return lastSignIn{}, ErrNotFound
	}
	rows, err := db.Query(ctx, `SELECT issuer, subject, name, email, email_verified, groups, last_seen FROM members WHERE issuer = $1 AND subject = $2`, issuer, subject)
	if err != nil {
		return lastSignIn{}, dbError("reading the member", err)
	}
	m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[lastSignIn])
	if errors.Is(err, pgx.ErrNoRows) {
		return lastSignIn{}, ErrNotFound
	}
	if err != nil {
		return lastSignIn{}, dbError("reading the member", err)
	}
	return m, nil
}

// Why says why somebody may do an act on something, or what is missing.
type Why struct {
	Act     string
	Where   string // in words
	Needs   string // as Requirement tells it
	Allowed bool
	Grants  []Grant       // that allow it together
	Missing string        // empty when allowed
	Held    []string      // permissions that the actor holds there, sorted
	Roles   []access.Role // that would give what is missing
	// Whole says that it is about the console as a whole; Somewhere are the permissions that the actor holds on a part of it.
	Whole     bool
	Somewhere []string
	// Givers are whom to ask: who manages grants there. Only for those who may see members and grants there;
	// others are told GiversHidden.
	Givers       []Holder
	GiversHidden bool
}

// WhyMay tells the actor why they may do an act on an account or cluster, or what is missing and who could
// give it. ErrNotFound when there is no such act, or the actor may not read the target. With the zero
// reference it is about the console as a whole.
func (s *Service) WhyMay(ctx context.Context, by audit.Actor, actName string, ref ClusterRef) (Why, error) {
	act, known := ActNamed(actName)
	if !known || act.Self {
		return Why{}, ErrNotFound
	}
	if err := s.freshRights(ctx); err != nil {
		return Why{}, err
	}
	on, where := installation(act.TargetKind), "the console as a whole"
	if ref.AccountID != uuid.Nil {
		var err error
		if on, _, err = s.readable(ctx, by, ref); err != nil {
			return Why{}, err
		}
		where = "account " + on.Account.Name
		if on.Kind == KindCluster {
			where = "cluster " + on.Name
			if s.rights(by).Allows(ActAccountRead.Needs, accountTarget(on.Account).access()) {
				where += " of account " + on.Account.Name
			}
		}
	}
	rights := s.rightsFor(by, act)
	why := Why{Whole: ref.AccountID == uuid.Nil, Somewhere: rights.Permissions(), Act: act.Name, Where: where, Needs: act.Needs.String(), Allowed: rights.Allows(act.Needs, on.access())}
	for _, p := range rights.Permissions() {
		if rights.Allows(access.Needs(p), on.access()) {
			why.Held = append(why.Held, p)
		}
	}
	switch on.Kind {
	case KindCluster:
		why.Held = access.Effective(why.Held, access.ScopeCluster)
	case KindAccount:
		why.Held = access.Effective(why.Held, access.ScopeAccount)
	}
	if why.Allowed {
		var err error
		why.Grants, err = s.grantsBehind(ctx, by, rights.Why(act.Needs, on.access()))
		return why, err
	}
	why.Missing = rights.Missing(act.Needs, on.access())
	for _, role := range sortedRoles(s.keeper.book.Load()) {
		if !isBuiltIn(role.ID) && !rights.Holds(access.GrantsManage) {
			continue // what roles the team made is for who gives them
		}
		with := access.NewRights(append(rights.Grants(), access.Grant{Role: role, Scope: access.Scope{Everything: true}})...)
		if with.Allows(act.Needs, on.access()) {
			why.Roles = append(why.Roles, role)
		}
	}
	if !s.overseesOn(by, on) {
		why.GiversHidden = true
		return why, nil
	}
	holders, err := s.holdersOf(ctx, by, on)
	if err != nil {
		return Why{}, err
	}
	why.Givers = slices.DeleteFunc(holders, func(h Holder) bool {
		return h.Part || h.Blocked || !slices.Contains(h.Permissions, access.GrantsManage)
	})
	return why, nil
}

// grantsBehind are the actor's own grants as they may see them: whose they are, and by whom.
func (s *Service) grantsBehind(ctx context.Context, by audit.Actor, held []access.Grant) ([]Grant, error) {
	book := s.keeper.book.Load()
	var grants []Grant
	var rows []endedGrantRow
	for _, g := range held {
		if g.ID == uuid.Nil {
			for _, c := range s.cfg.Rights.All() {
				if c.Source == g.Source && c.Via == g.Via {
					grants = append(grants, s.configuredGrant(c))
				}
			}
			continue
		}
		if i := slices.IndexFunc(book.grants, func(b storedGrant) bool { return b.row.ID == g.ID }); i >= 0 {
			rows = append(rows, endedGrantRow{grantRow: book.grants[i].row})
		}
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, rows)
	if err != nil {
		return nil, fmt.Errorf("reading the grants behind a right: %w", err)
	}
	for _, row := range rows {
		grants = append(grants, look.grant(row))
	}
	return grants, nil
}

// sortedRoles are the roles there are: built in, then the team's own by name.
func sortedRoles(book *rightsBook) []access.Role {
	roles := access.BuiltIn()
	var own []access.Role
	for id, role := range book.roles {
		if !isBuiltIn(id) {
			own = append(own, role)
		}
	}
	slices.SortFunc(own, func(a, b access.Role) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
	})
	return append(roles, own...)
}

// GrantForm is what the form for a new grant offers. Each list is bounded; what is not in it can be typed.
type GrantForm struct {
	FormToken    string
	Roles        []access.Role // that the actor can give somewhere
	Everything   bool          // the actor manages grants everywhere
	Environments []Environment // in which the actor manages grants
	Accounts     []GrantPlace
	Clusters     []GrantPlace
	Members      []GrantMember
	Groups       []string
	Cut          bool // a list has more than is offered
}

// GrantPlace is an account or cluster that a grant can be for; Scope is what the form sends.
type GrantPlace struct {
	Scope       string
	Name        string
	AccountName string // of a cluster, where the actor may read the account
}

// GrantMember is somebody to give rights to; Subject is what the form sends.
type GrantMember struct{ Subject, Name, Email string }

// maxGrantChoices bounds each list of the form.
const maxGrantChoices = 500

// GrantForm returns the choices of the form for a new grant and its token. Who manages grants in a part of
// the console is offered what lies there: no member, group, account or cluster of others.
func (s *Service) GrantForm(ctx context.Context, by audit.Actor) (GrantForm, error) {
	if err := s.managesGrants(ctx, by, ActGrantCreate); err != nil {
		return GrantForm{}, err
	}
	rights, book := s.rights(by), s.keeper.book.Load()
	form := GrantForm{Everything: rights.Within(access.GrantsManage, access.Scope{Everything: true})}
	for _, role := range sortedRoles(book) {
		if canGiveSomewhere(rights, role) {
			form.Roles = append(form.Roles, role)
		}
	}
	for _, e := range Environments {
		if rights.Within(access.GrantsManage, access.Scope{Environments: []string{string(e)}}) {
			form.Environments = append(form.Environments, e)
		}
	}
	for _, fill := range []func(context.Context, audit.Actor, access.Rights, *rightsBook, *GrantForm) error{s.offerPlaces, s.offerSubjects} {
		if err := fill(ctx, by, rights, book, &form); err != nil {
			return GrantForm{}, err
		}
	}
	var err error
	form.FormToken, err = s.FormToken(ctx, by, ActGrantCreate.Name)
	return form, err
}

// offerPlaces fills in where the actor manages grants and what they may read there.
func (s *Service) offerPlaces(ctx context.Context, _ audit.Actor, rights access.Rights, _ *rightsBook, form *GrantForm) error {
	accounts, err := s.accountsIn(ctx, rights.Visible(access.Needs(access.GrantsManage, access.ReadAccount)))
	if err != nil {
		return err
	}
	for _, a := range accounts {
		form.Accounts = append(form.Accounts, GrantPlace{Scope: a.ID.String(), Name: a.Name})
	}
	// Both conditions are exact, so that no more is read than is offered: rights by labels give nobody the right to give
	// others a cluster, because labels change.
	on := &conditions{}
	on.where("c.gone_at IS NULL")
	gives := rights.Visible(access.Needs(access.GrantsManage))
	gives.Labels = nil
	for _, scope := range []access.Scope{gives, rights.Visible(ActClusterRead.Needs)} {
		if err := on.within(scope); err != nil {
			return err
		}
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT c.account_id, c.cluster_id, c.name, c.labels, a.name FROM clusters c JOIN accounts a ON a.id = c.account_id
		WHERE `+on.String()+` ORDER BY lower(c.name) COLLATE "C", c.account_id, c.cluster_id LIMIT `+strconv.Itoa(maxGrantChoices+1), planned(on.arguments)...)
	if err != nil {
		return dbError("reading clusters", err)
	}
	var one access.Target
	var name, accountName string
	_, err = pgx.ForEachRow(rows, []any{&one.AccountID, &one.ClusterID, &name, &one.Labels, &accountName}, func() error {
		on := one
		one.Labels = nil
		ref := access.Scope{Clusters: []access.ClusterRef{{AccountID: on.AccountID, ClusterID: on.ClusterID}}}
		if !rights.Allows(ActClusterRead.Needs, on) || !rights.Within(access.GrantsManage, ref) { // decided here, whatever was read
			return nil
		}
		place := GrantPlace{Scope: on.AccountID.String() + "/" + on.ClusterID, Name: name}
		if rights.Allows(ActAccountRead.Needs, access.Target{AccountID: on.AccountID}) {
			place.AccountName = accountName
		}
		form.Clusters = append(form.Clusters, place)
		return nil
	})
	if err != nil {
		return dbError("reading clusters", err)
	}
	form.Accounts, form.Clusters = form.cut(form.Accounts), form.cut(form.Clusters)
	return nil
}

func (f *GrantForm) cut(places []GrantPlace) []GrantPlace {
	f.Cut = f.Cut || len(places) > maxGrantChoices
	return places[:min(len(places), maxGrantChoices)]
}

// offerSubjects fills in whom to give to: to who manages grants everywhere all who have signed in, and else
// those who have a grant in the actor's scope.
func (s *Service) offerSubjects(ctx context.Context, by audit.Actor, rights access.Rights, book *rightsBook, form *GrantForm) error {
	var issuers, subjects []string
	for _, g := range book.grants {
		switch {
		case !rights.Within(access.GrantsManage, g.scope):
		case g.row.SubjectKind == SubjectMember:
			issuers, subjects = append(issuers, g.row.Issuer), append(subjects, g.row.Subject)
		case g.row.SubjectKind == SubjectGroup && g.row.Issuer == s.issuerFor(by):
			form.Groups = append(form.Groups, g.row.Subject)
		}
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+knownMemberColumns+` FROM members
		WHERE issuer <> $5 AND ($1 OR (issuer, subject) IN (SELECT * FROM unnest($2::text[], $3::text[]))) ORDER BY lower(name), issuer, subject LIMIT $4`,
		form.Everything, nonNil(issuers), nonNil(subjects), maxGrantChoices+1, InternalIssuer)
	if err != nil {
		return dbError("reading who signed in", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowToStructByName[knownMember])
	if err != nil {
		return dbError("reading who signed in", err)
	}
	for _, m := range known {
		if m.Issuer != by.Issuer || m.Subject != by.Subject { // nobody gives rights to themselves
			form.Members = append(form.Members, GrantMember{Subject: m.Issuer + "|" + m.Subject, Name: m.shownName(), Email: m.Email})
		}
	}
	if form.Everything {
		for _, c := range s.cfg.Rights.All() {
			if !c.Email && c.Via != "" {
				form.Groups = append(form.Groups, c.Via)
			}
		}
		seen, err := s.seenGroups(ctx, s.issuerFor(by))
		if err != nil {
			return err
		}
		form.Groups = append(form.Groups, seen...)
	}
	slices.Sort(form.Groups)
	form.Groups = slices.DeleteFunc(slices.Compact(form.Groups), func(g string) bool { return slices.Contains(by.Groups, g) })
	form.Cut = form.Cut || len(form.Members) > maxGrantChoices || len(form.Groups) > maxGrantChoices
	form.Members, form.Groups = form.Members[:min(len(form.Members), maxGrantChoices)], form.Groups[:min(len(form.Groups), maxGrantChoices)]
	return nil
}

// seenGroups are the groups that sign-ins named, the last ones first, as many as the form offers.
func (s *Service) seenGroups(ctx context.Context, issuer string) ([]string, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT value FROM group_values WHERE issuer = $1 ORDER BY last_seen DESC, value LIMIT $2`, issuer, maxGrantChoices+1)
	if err != nil {
		return nil, dbError("reading seen groups", err)
	}
	seen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, dbError("reading seen groups", err)
	}
	return seen, nil
}
