package accounts

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
)

// The kinds of subjects of a grant.
const (
	SubjectMember = "member"
	SubjectGroup  = "group"
	SubjectEmail  = "email" // waits for the first sign-in with this address, and is then a member's
)

// grantRow is a grant as stored.
type grantRow struct {
	ID               uuid.UUID `db:"id"`
	SubjectKind      string
	Issuer           string
	Subject          string
	Role             string
	ScopeKind        string
	Scope            string
	ExpiresAt        *time.Time
	Reason           string
	BoundFrom        *uuid.UUID
	CreatedAt        time.Time
	GrantedBy        string
	GrantedByIssuer  string
	GrantedBySubject string
	MAC              []byte `db:"mac"`
}

const grantColumns = `id, subject_kind, issuer, subject, role, scope_kind, scope, expires_at, reason, bound_from, created_at,
	granted_by, granted_by_issuer, granted_by_subject, mac`

func (r grantRow) place() vault.RowID {
	return vault.RowID{Table: "grants", ID: r.ID, Field: "mac", Version: 1}
}

func (r grantRow) says() []byte {
	return authenticates(r.SubjectKind, r.Issuer, r.Subject, r.Role, r.ScopeKind, r.Scope, microseconds(r.ExpiresAt), r.Reason, r.BoundFrom,
		r.CreatedAt.UnixMicro(), r.GrantedBy, r.GrantedByIssuer, r.GrantedBySubject)
}

// roleRow is one version of a role of the team's own.
type roleRow struct {
	ID               uuid.UUID `db:"id"`
	Version          int
	Name             string
	Description      string
	Permissions      []string
	Deleted          bool
	WrittenAt        time.Time
	WrittenBy        string
	WrittenByIssuer  string
	WrittenBySubject string
	MAC              []byte `db:"mac"`
}

const roleColumns = `id, version, name, description, permissions, deleted, written_at, written_by, written_by_issuer, written_by_subject, mac`

// newestRoles reads the newest version of each role. An older one never counts, whatever the newest is worth.
const newestRoles = `SELECT DISTINCT ON (id) ` + roleColumns + ` FROM roles ORDER BY id, version DESC`

func (r roleRow) place() vault.RowID {
	return vault.RowID{Table: "roles", ID: r.ID, Field: "mac", Version: max(r.Version, 1)}
}

func (r roleRow) says() []byte {
	return authenticates(r.Name, r.Description, r.Permissions, r.Deleted, r.WrittenAt.UnixMicro(), r.WrittenBy, r.WrittenByIssuer, r.WrittenBySubject)
}

// memberStanding says whether a member is blocked.
type memberStanding struct {
	ID               uuid.UUID `db:"id"`
	Issuer           string
	Subject          string
	Version          int
	Blocked          bool
	Reason           string
	WrittenAt        time.Time
	WrittenBy        string
	WrittenByIssuer  string
	WrittenBySubject string
	MAC              []byte `db:"mac"`
}

const memberStandingColumns = `id, issuer, subject, version, blocked, reason, written_at, written_by, written_by_issuer, written_by_subject, mac`

// newestMemberStandings reads the newest standing of each member, as newestRoles does for roles.
const newestMemberStandings = `SELECT DISTINCT ON (issuer, subject) ` + memberStandingColumns + ` FROM member_standings ORDER BY issuer, subject, version DESC`

func (r memberStanding) place() vault.RowID {
	return vault.RowID{Table: "member_standings", ID: r.ID, Field: "mac", Version: max(r.Version, 1)}
}

func (r memberStanding) says() []byte {
	return authenticates(r.Issuer, r.Subject, r.Blocked, r.Reason, r.WrittenAt.UnixMicro(), r.WrittenBy, r.WrittenByIssuer, r.WrittenBySubject)
}

// principal is who a grant is to: a member by issuer and subject, or a group by issuer and value.
type principal struct{ issuer, name string }

// Unverified is a row that the console did not write, or that was altered since. It grants nothing.
type Unverified struct {
	Kind string // KindGrant, KindRole, KindMember, KindAccount
	ID   string
	Name string // as the row says
}

// rightsBook is everything that rights follow from beside configuration, as it was at one version. It
// never changes; a new one takes its place. Only rows that verify are in it.
type rightsBook struct {
	version int64

	grants       []storedGrant
	verified     map[string]int              // indexes of grants, by the bytes of their rows
	members      map[principal][]int         // indexes of grants
	groups       map[string]map[string][]int // by issuer and group
	roles        map[string]access.Role      // by id, built in and own
	deleted      map[string]access.Role      // of the team's own that are no more, for lists of what was
	held         map[string]access.Role      // of the team's own that the log takes back, for who looks at them
	blocked      map[principal]bool
	environments map[uuid.UUID]string // of accounts, where certain
	labelKeys    map[string]bool      // keys of labels that live grants go by
	unverified   []Unverified
}

// newBook returns a book in which nobody was granted anything.
func newBook() *rightsBook {
	b := &rightsBook{
		members: map[principal][]int{}, groups: map[string]map[string][]int{}, roles: map[string]access.Role{}, deleted: map[string]access.Role{}, held: map[string]access.Role{},
		blocked: map[principal]bool{}, environments: map[uuid.UUID]string{}, labelKeys: map[string]bool{}, verified: map[string]int{},
	}
	for _, role := range access.BuiltIn() {
		b.roles[role.ID] = role
	}
	return b
}

// storedGrant is a grant with its role and scope read.
type storedGrant struct {
	row    grantRow
	scope  access.Scope
	source string // for people
	bytes  string // the row as the database sent it
}

// live reports whether the grant counts now.
func (g storedGrant) live(now time.Time) bool {
	return g.row.ExpiresAt == nil || now.Before(*g.row.ExpiresAt)
}

// of returns the grants that a member holds now: their own and their groups'.
func (b *rightsBook) of(m access.Member, subject string, now time.Time) []access.Grant {
	return b.add(nil, m, subject, now)
}

// add appends what of returns to what is held otherwise.
func (b *rightsBook) add(held []access.Grant, m access.Member, subject string, now time.Time) []access.Grant {
	if b == nil {
		return held
	}
	add := func(indexes []int, via string) {
		held = slices.Grow(held, len(indexes))
		for _, i := range indexes {
			g := &b.grants[i]
			role, known := b.roles[g.row.Role]
			if known && g.live(now) {
				held = append(held, access.Grant{Role: role, Scope: g.scope, ID: g.row.ID, Source: g.source, Via: via})
			}
		}
	}
	add(b.members[principal{m.Issuer, subject}], "")
	if groups := b.groups[m.Issuer]; len(groups) > 0 {
		seen := map[string]bool{}
		for _, group := range m.Groups { // there may be ten thousand, and grants to few of them
			if given := groups[group]; len(given) > 0 && group != "" && !seen[group] {
				seen[group] = true
				add(given, group)
			}
		}
	}
	return held
}

// subjectGroups are the groups that there are grants to.
func (b *rightsBook) subjectGroups() iter.Seq[principal] {
	return func(yield func(principal) bool) {
		for issuer, groups := range b.groups {
			for group := range groups {
				if !yield(principal{issuer, group}) {
					return
				}
			}
		}
	}
}

// rightsKeeper holds the book that counts.
type rightsKeeper struct {
	book    atomic.Pointer[rightsBook]
	reading sync.Mutex
	told    sync.Map // Unverified rows that are on record
	// withheld is what the log takes back, as the last comparison with it found; nil before the first.
	withheld atomic.Pointer[withheld]
}

// keepRights makes sure that what rights follow from is at least as new as the version.
func (s *Service) keepRights(ctx context.Context, version int64) error {
	if book := s.keeper.book.Load(); book != nil && book.version >= version {
		return nil
	}
	book, err := s.newerRights(ctx, version)
	if err != nil {
		return fmt.Errorf("reading the rights: %w", unavailable(err))
	}
	s.tellUnverified(ctx, book.unverified) // others do not wait for the log
	return nil
}

// newerRights makes what rights follow from at least as new as the version, for one request at a time.
func (s *Service) newerRights(ctx context.Context, version int64) (*rightsBook, error) {
	s.keeper.reading.Lock()
	defer s.keeper.reading.Unlock()
	if book := s.keeper.book.Load(); book != nil && book.version >= version {
		return book, nil
	}
	if err := s.restoreWithheld(ctx); err != nil {
		return nil, err
	}
	book, err := s.readRights(ctx)
	if err != nil {
		return nil, err
	}
	s.keeper.book.Store(book)
	return book, nil
}

// rereadRights reads what rights follow from although it has not changed, because what is withheld has.
func (s *Service) rereadRights(ctx context.Context) error {
	s.keeper.reading.Lock()
	defer s.keeper.reading.Unlock()
	book, err := s.readRights(ctx)
	if err != nil {
		return fmt.Errorf("reading the rights: %w", unavailable(err))
	}
	s.keeper.book.Store(book)
	return nil
}

// freshRights reads what rights follow from when it has changed; for what goes on without a request.
func (s *Service) freshRights(ctx context.Context) error {
	var version int64
	if err := s.cfg.DB.QueryRow(ctx, `SELECT version FROM rights_version`).Scan(&version); err != nil {
		return fmt.Errorf("reading the version of the rights: %w", unavailable(err))
	}
	return s.keepRights(ctx, version)
}

// readRights reads all of it as it is at one moment.
func (s *Service) readRights(ctx context.Context) (*rightsBook, error) {
	b := newBook()
	err := pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT version FROM rights_version`).Scan(&b.version); err != nil {
			return err
		}
		return s.readBook(ctx, tx, b)
	})
	return b, err
}

// readBook reads into b what rights follow from. The transaction keeps changes of it away, or sees none.
func (s *Service) readBook(ctx context.Context, tx pgx.Tx, b *rightsBook) error {
	for _, read := range []func(context.Context, pgx.Tx, *rightsBook) error{s.readRoles, s.readGrants, s.readBlocked, s.readEnvironments} {
		if err := read(ctx, tx, b); err != nil {
			return err
		}
	}
	return nil
}

// lockRights keeps every other change of what rights follow from away until the transaction ends,
// whichever program makes it, and returns what they follow from now. What is decided on that is still
// so when the transaction is committed.
func (s *Service) lockRights(ctx context.Context, tx pgx.Tx) (*rightsBook, error) {
	// The statement changes no row. Its trigger counts a change all the same, and so locks the row in
	// which every change is counted; the console's role may not lock that row itself.
	if _, err := tx.Exec(ctx, `UPDATE grants SET end_reason = end_reason WHERE false`); err != nil {
		return nil, fmt.Errorf("locking the rights: %w", err)
	}
	b := newBook()
	if err := tx.QueryRow(ctx, `SELECT version FROM rights_version`).Scan(&b.version); err != nil {
		return nil, fmt.Errorf("locking the rights: %w", err)
	}
	if known := s.keeper.book.Load(); known != nil && known.version == b.version-1 { // but for our own counting
		return known, nil
	}
	if err := s.readBook(ctx, tx, b); err != nil {
		return nil, fmt.Errorf("reading the rights: %w", err)
	}
	return b, nil
}

// readRoles reads the newest version of each role. Where that does not verify there is no such role,
// whatever an older version said.
func (s *Service) readRoles(ctx context.Context, tx pgx.Tx, b *rightsBook) error {
	rows, err := tx.Query(ctx, newestRoles)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[roleRow])
	if err != nil {
		return err
	}
	held := s.keeper.withheld.Load()
	for _, row := range stored {
		switch {
		case !s.cfg.Vault.Verify(row.place(), row.says(), row.MAC):
			b.unverified = append(b.unverified, Unverified{Kind: KindRole, ID: row.ID.String(), Name: row.Name})
		default:
			into := b.roles
			switch {
			case row.Deleted:
				into = b.deleted
			case held.role(row.ID.String(), row.Version):
				into = b.held
			}
			permissions := slices.Clone(row.Permissions)
			slices.Sort(permissions)
			into[row.ID.String()] = access.Role{ID: row.ID.String(), Name: row.Name, Description: row.Description, Permissions: permissions}
		}
	}
	return nil
}

// readGrants reads the grants that have not ended. One that has expired stays among them, for lists. A row whose bytes,
// its code among them, are those of a row that verified for the book that counts is that row: a change of one grant
// leaves thousands as they were, and only what is new is decoded and verified.
func (s *Service) readGrants(ctx context.Context, tx pgx.Tx, b *rightsBook) error {
	rows, err := tx.Query(ctx, `SELECT `+grantColumns+` FROM grants WHERE ended_at IS NULL ORDER BY created_at, id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	before, held := s.keeper.book.Load(), s.keeper.withheld.Load()
	var bytes []byte
	for rows.Next() {
		bytes = appendRow(bytes[:0], rows.RawValues())
		if g, verified := before.grantOf(bytes); verified {
			if !held.grant(g.row.ID) {
				b.enter(g)
			}
			continue
		}
		row, err := pgx.RowToStructByName[grantRow](rows)
		if err != nil {
			return err
		}
		scope, _, err := access.ParseScope(access.ScopeKind(row.ScopeKind), row.Scope)
		if err != nil || !s.cfg.Vault.Verify(row.place(), row.says(), row.MAC) {
			b.unverified = append(b.unverified, Unverified{Kind: KindGrant, ID: row.ID.String(), Name: row.Subject})
			continue
		}
		if held.grant(row.ID) {
			continue
		}
		b.enter(storedGrant{row: row, scope: scope, source: "granted by " + row.GrantedBy, bytes: string(bytes)})
	}
	return rows.Err()
}

// appendRow appends the values of a row, so that no two different rows give the same bytes.
func appendRow(to []byte, values [][]byte) []byte {
	for _, v := range values {
		if v == nil {
			to = binary.AppendVarint(to, -1)
			continue
		}
		to = append(binary.AppendVarint(to, int64(len(v))), v...)
	}
	return to
}

// grantOf returns the grant of a row that verified.
func (b *rightsBook) grantOf(bytes []byte) (storedGrant, bool) {
	if b == nil {
		return storedGrant{}, false
	}
	i, verified := b.verified[string(bytes)]
	if !verified {
		return storedGrant{}, false
	}
	return b.grants[i], true
}

// enter puts a grant that verified into the book.
func (b *rightsBook) enter(g storedGrant) {
	i := len(b.grants)
	b.grants = append(b.grants, g)
	b.verified[g.bytes] = i
	switch who := (principal{g.row.Issuer, g.row.Subject}); g.row.SubjectKind {
	case SubjectMember:
		b.members[who] = append(b.members[who], i)
	case SubjectGroup:
		if b.groups[who.issuer] == nil {
			b.groups[who.issuer] = map[string][]int{}
		}
		b.groups[who.issuer][who.name] = append(b.groups[who.issuer][who.name], i)
	}
	for _, l := range g.scope.Labels {
		for _, key := range l.Keys() {
			b.labelKeys[key] = true
		}
	}
}

// readBlocked reads who is blocked. A newest row that does not verify blocks.
func (s *Service) readBlocked(ctx context.Context, tx pgx.Tx, b *rightsBook) error {
	rows, err := tx.Query(ctx, newestMemberStandings)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[memberStanding])
	if err != nil {
		return err
	}
	held := s.keeper.withheld.Load()
	if held != nil {
		for who := range held.blocked {
			if held.block(who, 0) {
				b.blocked[who] = true // until a row says otherwise
			}
		}
	}
	for _, row := range stored {
		who := principal{row.Issuer, row.Subject}
		verifies := row.verifies(s)
		if !verifies {
			b.unverified = append(b.unverified, Unverified{Kind: KindMember, ID: row.ID.String(), Name: row.Subject})
		}
		delete(b.blocked, who)
		if row.Blocked || !verifies || held.block(who, row.Version) {
			b.blocked[who] = true
		}
	}
	return nil
}

// readEnvironments reads of which environment accounts are, where their rows say what is certain and the log does not
// take it back.
func (s *Service) readEnvironments(ctx context.Context, tx pgx.Tx, b *rightsBook) error {
	rows, err := tx.Query(ctx, `
		SELECT a.id, a.name, a.environment AS claimed, a.generation AS claimed_generation, a.cloud_account_id AS claimed_cloud_account,
			coalesce(s.version, 0) AS version, coalesce(s.cloud_account_id, '') AS cloud_account_id, coalesce(s.generation, '') AS generation,
			coalesce(s.environment, '') AS environment, coalesce(s.written_at, 'epoch') AS written_at, s.mac
		FROM accounts a
		LEFT JOIN LATERAL (SELECT * FROM account_standings s WHERE s.account_id = a.id ORDER BY s.version DESC LIMIT 1) s ON true
		ORDER BY a.id`)
	if err != nil {
		return err
	}
	type claim struct {
		ID                                                    uuid.UUID `db:"id"`
		Name, Claimed, ClaimedGeneration, ClaimedCloudAccount string
		Version                                               int
		CloudAccountID, Generation, Environment               string
		WrittenAt                                             time.Time
		MAC                                                   []byte `db:"mac"`
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[claim])
	if err != nil {
		return err
	}
	held := s.keeper.withheld.Load()
	for _, row := range stored {
		standing := accountStanding{
			AccountID: row.ID, Version: max(row.Version, 1), CloudAccountID: row.CloudAccountID, Generation: row.Generation,
			Environment: row.Environment, WrittenAt: row.WrittenAt, MAC: row.MAC,
		}
		if row.Version == 0 || row.Claimed != row.Environment || row.ClaimedGeneration != row.Generation || row.ClaimedCloudAccount != row.CloudAccountID ||
			!standing.verifies(s.cfg.Vault) {
			b.unverified = append(b.unverified, Unverified{Kind: KindAccount, ID: row.ID.String(), Name: row.Name})
			continue
		}
		if !held.account(row.ID, row.Version) {
			b.environments[row.ID] = row.Environment
		}
	}
	return nil
}

// unverifiedTold bounds how many rows that do not verify one reading records: whoever can write some can write a million,
// and a request waits for it. The banner counts them all, and VerifyState names each.
const unverifiedTold = 50

// tellUnverified records rows that do not verify, each once in each process, also after a restart. What
// cannot be recorded now, or is too much for one reading, is told with the next one.
func (s *Service) tellUnverified(ctx context.Context, found []Unverified) {
	told := 0
	for _, u := range found {
		if told == unverifiedTold {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "there are more rows of the rights that count for nothing", slog.Int("unverified", len(found)))
			return
		}
		if _, known := s.keeper.told.LoadOrStore(u, true); known {
			continue
		}
		told++
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "a row of the rights was not written by this console, or was altered since, and counts for nothing",
			slog.String("kind", u.Kind), slog.String("id", u.ID))
		e := singleEvent(target{Kind: KindRights, ID: u.ID, Name: u.Kind + " " + u.Name}, JobActor("rights"), ActRightsUnverified, audit.Change{"kind": {nil, u.Kind}})
		if u.Kind == KindAccount {
			e.Account = audit.Ref{ID: u.ID, Name: u.Name}
		}
		e.Outcome, e.Reason = audit.Failed, "The row does not carry this console's authentication code. It grants nothing."
		if err := s.appendEvent(ctx, e); err != nil {
			s.keeper.told.Delete(u)
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "an unverified row was not recorded", slog.String("id", u.ID), slog.Any("error", err))
			return // nor would the others be, and each try takes its time
		}
	}
}

// UnverifiedRows are the rows of the rights that count for nothing because the console did not write
// them or they were altered since; for the banner.
func (s *Service) UnverifiedRows() []Unverified {
	if book := s.keeper.book.Load(); book != nil {
		return slices.Clone(book.unverified)
	}
	return nil
}
