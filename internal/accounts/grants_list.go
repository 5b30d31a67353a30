package accounts

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// The states that a list of grants can be narrowed to.
const (
	GrantsLive    = "live" // what counts now
	GrantsPending = "pending"
	GrantsExpired = "expired"
	GrantsEnded   = "ended" // taken back or bound
	GrantsAll     = "all"
)

const (
	grantsLimit = 100
	// maxEndedGrants bounds how many of those that ended are looked through, the newest first.
	maxEndedGrants = 20_000
)

// GrantQuery is what /admin/grants may be asked. Zero values do not filter.
type GrantQuery struct {
	Text        string // in who, role, where, reason and grantor
	SubjectKind string
	Subject     string
	Role        string // id
	ScopeKind   string
	Scope       string
	State       string // one of the states; GrantsLive when empty or another
	After       string // opaque, from GrantPage.Next; ErrBadCursor when it is not
}

// GrantPage is one page of the list of grants, the newest first after those from configuration.
type GrantPage struct {
	Grants []Grant
	Next   string // empty on the last page
	Total  int    // that match and may be seen, all pages
	State  string // that was listed
}

// grantSight decides what somebody may see of grants. It reads nothing and knows no names.
type grantSight struct {
	s        *Service
	book     *rightsBook
	rights   access.Rights
	verified map[uuid.UUID]bool // what was found of rows so far
}

// grantLook shows grants to somebody by the names that were read for them; without, by their ids.
type grantLook struct {
	*grantSight
	now      time.Time
	members  map[principal]string
	emails   map[principal]string
	accounts map[uuid.UUID]accountRef
	clusters map[access.ClusterRef]namedCluster
}

type namedCluster struct {
	name   string
	labels map[string]string
}

// grantSight is what the actor may see of grants now.
func (s *Service) grantSight(by audit.Actor, book *rightsBook) *grantSight {
	return &grantSight{s: s, book: book, rights: s.rightsBy(book, by, s.now()), verified: map[uuid.UUID]bool{}}
}

// unnamed shows grants by their ids.
func (d *grantSight) unnamed() *grantLook {
	return &grantLook{
		grantSight: d, now: d.s.now(), members: map[principal]string{}, emails: map[principal]string{},
		accounts: map[uuid.UUID]accountRef{}, clusters: map[access.ClusterRef]namedCluster{},
	}
}

// lookAt shows the grants to the actor, by the names of whom and of what they are for.
func (s *Service) lookAt(ctx context.Context, db querier, by audit.Actor, book *rightsBook, rows []endedGrantRow) (*grantLook, error) {
	l := s.grantSight(by, book).unnamed()
	return l, l.readNames(ctx, db, rows)
}

// readNames reads the names that belong to the grants.
func (l *grantLook) readNames(ctx context.Context, db querier, rows []endedGrantRow) error {
	var issuers, subjects []string
	var accounts []uuid.UUID
	var clusters []string
	for _, row := range rows {
		if row.SubjectKind == SubjectMember {
			issuers, subjects = append(issuers, row.Issuer), append(subjects, row.Subject)
		}
		scope, _, err := access.ParseScope(access.ScopeKind(row.ScopeKind), row.Scope)
		if err != nil {
			continue
		}
		accounts = append(accounts, scope.Accounts...)
		for _, ref := range scope.Clusters {
			accounts, clusters = append(accounts, ref.AccountID), append(clusters, ref.ClusterID)
		}
	}
	if err := l.nameMembers(ctx, db, issuers, subjects); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return nil
	}
	return l.namePlaces(ctx, db, accounts, clusters)
}

func (l *grantLook) nameMembers(ctx context.Context, db querier, issuers, subjects []string) error {
	if len(issuers) == 0 {
		return nil
	}
	rows, err := db.Query(ctx, `SELECT `+knownMemberColumns+` FROM members WHERE (issuer, subject) IN (SELECT * FROM unnest($1::text[], $2::text[]))`, issuers, subjects)
	if err != nil {
		return dbError("reading the names of members", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[knownMember])
	if err != nil {
		return dbError("reading the names of members", err)
	}
	for _, m := range found {
		who := principal{m.Issuer, m.Subject}
		l.members[who], l.emails[who] = m.shownName(), shown(m.Email, 128)
	}
	return nil
}

func (l *grantLook) namePlaces(ctx context.Context, db querier, accounts []uuid.UUID, clusters []string) error {
	rows, err := db.Query(ctx, selectAccounts+` WHERE a.id = ANY($1)`, accounts)
	if err != nil {
		return dbError("reading the names of accounts", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[accountRow])
	if err != nil {
		return dbError("reading the names of accounts", err)
	}
	for _, row := range found {
		l.accounts[row.ID] = row.account().ref()
	}
	rows, err = db.Query(ctx, `SELECT account_id, cluster_id, name, labels FROM clusters WHERE account_id = ANY($1) AND cluster_id = ANY($2)`, accounts, nonNil(clusters))
	if err != nil {
		return dbError("reading the names of clusters", err)
	}
	var ref access.ClusterRef
	var c namedCluster
	_, err = pgx.ForEachRow(rows, []any{&ref.AccountID, &ref.ClusterID, &c.name, &c.labels}, func() error {
		l.clusters[ref] = c
		c.labels = nil
		return nil
	})
	if err != nil {
		return dbError("reading the names of clusters", err)
	}
	return nil
}

// verifies reports whether the console wrote the row.
func (d *grantSight) verifies(row grantRow) bool {
	verified, known := d.verified[row.ID]
	if !known {
		verified = d.s.cfg.Vault.Verify(row.place(), row.says(), row.MAC) && !d.s.keeper.withheld.Load().grant(row.ID)
		d.verified[row.ID] = verified
	}
	return verified
}

// manages reports whether the actor may see the grant and take it back. Of a row that does not verify
// nobody knows where it belongs, so only who manages grants everywhere may.
func (d *grantSight) manages(row grantRow) bool {
	scope, _, err := access.ParseScope(access.ScopeKind(row.ScopeKind), row.Scope)
	if err != nil || !d.verifies(row) {
		scope = access.Scope{Everything: true}
	}
	return d.rights.Within(access.GrantsManage, scope)
}

// place returns the account of a grant's scope, and the scope in words. Names are told of what the
// actor may read.
func (l *grantLook) place(row grantRow) (account accountRef, where string) {
	kind := access.ScopeKind(row.ScopeKind)
	scope, _, err := access.ParseScope(kind, row.Scope)
	if err != nil {
		return accountRef{}, row.ScopeKind + " " + row.Scope
	}
	var accountName, clusterName string
	for _, id := range scope.Accounts {
		account = l.accounts[id]
	}
	for _, ref := range scope.Clusters {
		account = l.accounts[ref.AccountID]
		c := l.clusters[ref]
		on := target{Account: account, Kind: KindCluster, ID: ref.ClusterID, Labels: c.labels}
		if l.rights.Allows(ActClusterRead.Needs, on.access()) {
			clusterName = c.name
		}
	}
	if account.ID != uuid.Nil && l.rights.Allows(ActAccountRead.Needs, accountTarget(account).access()) || clusterName != "" {
		accountName = account.Name
	}
	return account, whereWords(kind, row.Scope, accountName, clusterName)
}

func (l *grantLook) subjectName(row grantRow) string {
	if row.SubjectKind == SubjectMember {
		return cmp.Or(l.members[principal{row.Issuer, row.Subject}], row.Subject)
	}
	return row.Subject
}

func (l *grantLook) role(id string) access.Role {
	if role, known := l.book.roles[id]; known {
		return role
	}
	if role, known := l.book.deleted[id]; known {
		return role
	}
	if role, known := l.book.held[id]; known {
		return role
	}
	return access.Role{ID: id, Name: id}
}

func (l *grantLook) target(row grantRow) target {
	account, where := l.place(row)
	subject := l.subjectName(row)
	if row.SubjectKind == SubjectGroup {
		subject = "group " + subject
	}
	return grantTarget(row, l.role(row.Role).Name, subject, where, account)
}

// grant is the row as the actor may see it.
func (l *grantLook) grant(row endedGrantRow) Grant {
	_, where := l.place(row.grantRow)
	g := Grant{
		ID: row.ID, SubjectKind: row.SubjectKind, Issuer: row.Issuer, Subject: row.Subject, SubjectName: l.subjectName(row.grantRow),
		Role: l.role(row.Role), ScopeKind: access.ScopeKind(row.ScopeKind), Scope: row.Scope, ScopeName: where, ExpiresAt: row.ExpiresAt,
		Reason: row.Reason, BoundFrom: row.BoundFrom, CreatedAt: row.CreatedAt, GrantedBy: row.GrantedBy,
		Pending: row.SubjectKind == SubjectEmail && row.EndedAt == nil, Expired: row.EndedAt == nil && !storedGrant{row: row.grantRow}.live(l.now),
		EndedAt: row.EndedAt, EndedBy: row.EndedBy, EndReason: row.EndReason, Bound: row.SubjectKind == SubjectEmail && row.EndedAt != nil && row.EndReason == endedBound,
		Unverified: !l.verifies(row.grantRow),
		Blocked:    row.SubjectKind == SubjectMember && l.book.blocked[principal{row.Issuer, row.Subject}],
	}
	if row.SubjectKind == SubjectMember {
		g.SubjectEmail = l.emails[principal{row.Issuer, row.Subject}]
	}
	switch {
	case g.EndedAt != nil:
		g.WhyNotEnd = "It has ended."
	case !l.manages(row.grantRow):
		g.WhyNotEnd = "It needs the right " + access.GrantsManage + " on " + where + "."
	default:
		g.MayEnd = true
	}
	return g
}

// configuredGrant is a grant of the configuration as lists show it.
func (s *Service) configuredGrant(c access.ConfiguredGrant) Grant {
	g := Grant{
		SubjectKind: SubjectGroup, Issuer: s.cfg.Rights.Issuer, Subject: c.Via, SubjectName: c.Via, Role: c.Role, ScopeKind: access.ScopeEverything,
		ScopeName: "everything", Configured: true, Source: c.Source, WhyNotEnd: "It comes " + c.Source + ", and is ended there.",
	}
	if c.Email {
		g.SubjectKind = SubjectEmail
	}
	return g
}

// Grant returns one grant; ErrNotFound when there is none or it may not be seen.
func (s *Service) Grant(ctx context.Context, by audit.Actor, id uuid.UUID) (Grant, error) {
	if err := s.managesGrants(ctx, by, ActGrantRead); err != nil {
		return Grant{}, err
	}
	book := s.keeper.book.Load()
	row, err := grantByID(ctx, s.cfg.DB, id)
	if err != nil {
		return Grant{}, err
	}
	if !s.grantSight(by, book).manages(row.grantRow) {
		return Grant{}, s.hiddenGrant(ctx, by, ActGrantRead, book, row)
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, []endedGrantRow{row})
	if err != nil {
		return Grant{}, err
	}
	g := look.grant(row)
	if g.Bound {
		g.BoundTo, err = s.boundTo(ctx, by, book, id)
		g.Bound = g.BoundTo != nil // anybody may have given this for the reason of an end
	}
	if err != nil {
		return Grant{}, err
	}
	one := []Grant{g}
	err = s.addNobody(ctx, one)
	return one[0], err
}

// addNobody tells of the grants to groups which name one that no sign-in has named, as far as that is kept: for a year.
func (s *Service) addNobody(ctx context.Context, grants []Grant) error {
	var issuers, values []string
	for _, g := range grants {
		if g.SubjectKind == SubjectGroup {
			issuers, values = append(issuers, g.Issuer), append(values, g.Subject)
		}
	}
	if len(values) == 0 {
		return nil
	}
	// Of a provider that names more groups than are kept nobody knows which were never named.
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT DISTINCT named.issuer, named.value FROM unnest($1::text[], $2::text[]) AS named (issuer, value)
		WHERE NOT EXISTS (SELECT FROM group_values seen WHERE seen.value = named.value AND (named.issuer = '' OR seen.issuer = named.issuer))
			AND NOT EXISTS (SELECT FROM (SELECT issuer FROM group_values GROUP BY issuer HAVING count(*) >= $3) many WHERE named.issuer IN ('', many.issuer))`,
		issuers, values, maxGroupValues)
	if err != nil {
		return dbError("reading which groups were named", err)
	}
	never := map[principal]bool{}
	var who principal
	if _, err := pgx.ForEachRow(rows, []any{&who.issuer, &who.name}, func() error { never[who] = true; return nil }); err != nil {
		return dbError("reading which groups were named", err)
	}
	for i, g := range grants {
		grants[i].Nobody = g.SubjectKind == SubjectGroup && never[principal{g.Issuer, g.Subject}]
	}
	return nil
}

// hiddenGrant answers who may not see a grant as if there were none, after as long: what the record of it says is looked
// up beside.
func (s *Service) hiddenGrant(ctx context.Context, by audit.Actor, act Act, book *rightsBook, row endedGrantRow) error {
	s.beginBeside(ctx, func(ctx context.Context) {
		look, err := s.lookAt(ctx, s.cfg.DB, by, book, []endedGrantRow{row})
		if err != nil {
			look = s.grantSight(by, book).unnamed()
		}
		s.denied(ctx, by, act, look.target(row.grantRow), access.GrantsManage)
	})
	return ErrNotFound
}

// boundTo is the grant of the member to whom one to an address was bound; nil when it is not there.
func (s *Service) boundTo(ctx context.Context, by audit.Actor, book *rightsBook, id uuid.UUID) (*Grant, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+endedGrantColumns+` FROM grants WHERE bound_from = $1`, id)
	if err != nil {
		return nil, dbError("reading whom a grant was bound to", err)
	}
	found, err := collectMany[endedGrantRow](rows)
	if err != nil {
		return nil, dbError("reading whom a grant was bound to", err)
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, found)
	if err != nil {
		return nil, err
	}
	for _, row := range found {
		if look.verifies(row.grantRow) {
			g := look.grant(row)
			return &g, nil
		}
	}
	return nil, nil
}

// Grants lists the grants in whose scope the actor manages grants, and to who does so everywhere those
// from configuration. A row that the console did not write is not among them.
func (s *Service) Grants(ctx context.Context, by audit.Actor, q GrantQuery) (GrantPage, error) {
	if err := s.managesGrants(ctx, by, ActGrantRead); err != nil {
		return GrantPage{}, err
	}
	book := s.keeper.book.Load()
	if !slices.Contains([]string{GrantsPending, GrantsExpired, GrantsEnded, GrantsAll}, q.State) {
		q.State = GrantsLive
	}
	digest, at, err := s.grantsCursor(q)
	if err != nil {
		return GrantPage{}, err
	}
	rows, err := s.grantRows(ctx, book, q.State)
	if err != nil {
		return GrantPage{}, err
	}
	look, err := s.lookAt(ctx, s.cfg.DB, by, book, rows)
	if err != nil {
		return GrantPage{}, err
	}
	page := GrantPage{State: q.State}
	for _, g := range s.configuredFor(look, q) {
		page.Total++
		if q.After == "" {
			page.Grants = append(page.Grants, g)
		}
	}
	words := strings.Fields(strings.ToLower(q.Text))
	words = words[:min(len(words), maxWords)]
	rows = slices.DeleteFunc(rows, func(row endedGrantRow) bool {
		return !q.admits(row.grantRow) || !q.inState(row, look.now) || !look.manages(row.grantRow) || len(words) > 0 && !look.grant(row).mentions(words)
	})
	page.Total += len(rows)
	slices.SortFunc(rows, func(a, b endedGrantRow) int { return -a.order(b.CreatedAt.UnixMicro(), b.ID) })
	if q.After != "" {
		rows = slices.DeleteFunc(rows, func(row endedGrantRow) bool { return row.order(at.Number, at.Account) >= 0 })
	}
	if len(rows) > grantsLimit {
		rows = rows[:grantsLimit]
		last := rows[grantsLimit-1]
		if page.Next, err = s.encodeCursor(cursor{Query: digest, Number: last.CreatedAt.UnixMicro(), Account: last.ID}); err != nil {
			return GrantPage{}, err
		}
	}
	for _, row := range rows {
		page.Grants = append(page.Grants, look.grant(row))
	}
	return page, s.addNobody(ctx, page.Grants)
}

// SeesAllGrants reports whether no grant is hidden from the actor.
func (s *Service) SeesAllGrants(by audit.Actor) bool {
	return s.rights(by).Within(access.GrantsManage, access.Scope{Everything: true})
}

// grantsCursor reads the place that the list goes on from.
func (s *Service) grantsCursor(q GrantQuery) (digest string, at cursor, err error) {
	body, err := json.Marshal([]any{"grants", q.Text, q.SubjectKind, q.Subject, q.Role, q.ScopeKind, q.Scope, q.State})
	if err != nil {
		return "", cursor{}, fmt.Errorf("encoding the query: %w", err)
	}
	digest = hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8])
	if q.After != "" {
		at, err = s.decodeCursor(q.After, digest)
	}
	return digest, at, err
}

// grantRows are the rows that can be in a state. Those that have not ended are in the book.
func (s *Service) grantRows(ctx context.Context, book *rightsBook, state string) ([]endedGrantRow, error) {
	var all []endedGrantRow
	if state != GrantsEnded {
		for _, g := range book.grants {
			all = append(all, endedGrantRow{grantRow: g.row})
		}
	}
	if state != GrantsEnded && state != GrantsAll {
		return all, nil
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+endedGrantColumns+` FROM grants WHERE ended_at IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT $1`, maxEndedGrants)
	if err != nil {
		return nil, dbError("reading grants that ended", err)
	}
	ended, err := collectMany[endedGrantRow](rows)
	if err != nil {
		return nil, dbError("reading grants that ended", err)
	}
	// What somebody wrote into the database beside the console never was a grant.
	ended = slices.DeleteFunc(ended, func(row endedGrantRow) bool { return !s.cfg.Vault.Verify(row.place(), row.says(), row.MAC) })
	return append(all, ended...), nil
}

// configuredFor are the configured grants that match, for who manages grants everywhere.
func (s *Service) configuredFor(look *grantLook, q GrantQuery) []Grant {
	if !look.rights.Within(access.GrantsManage, access.Scope{Everything: true}) || q.State != GrantsLive && q.State != GrantsAll {
		return nil
	}
	words := strings.Fields(strings.ToLower(q.Text))
	words = words[:min(len(words), maxWords)]
	var found []Grant
	for _, c := range s.cfg.Rights.All() {
		g := s.configuredGrant(c)
		row := grantRow{SubjectKind: g.SubjectKind, Subject: g.Subject, Role: g.Role.ID, ScopeKind: string(g.ScopeKind), Scope: g.Scope}
		if q.admits(row) && g.mentions(words) {
			found = append(found, g)
		}
	}
	return found
}

// admits reports whether the row passes the filters on what rows say.
func (q GrantQuery) admits(row grantRow) bool {
	for _, filter := range [][2]string{
		{q.SubjectKind, row.SubjectKind}, {q.Subject, row.Subject}, {q.Role, row.Role}, {q.ScopeKind, row.ScopeKind}, {q.Scope, row.Scope},
	} {
		if filter[0] != "" && filter[0] != filter[1] {
			return false
		}
	}
	return true
}

// inState reports whether the grant is in the state that is listed.
func (q GrantQuery) inState(row endedGrantRow, now time.Time) bool {
	ended, live, pending := row.EndedAt != nil, storedGrant{row: row.grantRow}.live(now), row.SubjectKind == SubjectEmail
	switch q.State {
	case GrantsPending:
		return !ended && pending && live
	case GrantsExpired:
		return !ended && !live
	case GrantsEnded:
		return ended
	case GrantsAll:
		return true
	}
	return !ended && !pending && live
}

// mentions reports whether every word is in what people see of the grant.
func (g Grant) mentions(words []string) bool {
	text := strings.ToLower(strings.Join([]string{g.Subject, g.SubjectName, g.Role.Name, g.ScopeName, g.Scope, g.Reason, g.GrantedBy, g.Source}, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// order compares where the grant is in the order of creation with a place in it.
func (r grantRow) order(createdAt int64, id uuid.UUID) int {
	return cmp.Or(cmp.Compare(r.CreatedAt.UnixMicro(), createdAt), bytes.Compare(r.ID[:], id[:]))
}
