package accounts

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// reviewWindow is how far back a use of a right is looked for; what is older is unused.
const reviewWindow = 90 * 24 * time.Hour

// reviewed is who could do what at one moment, as the log says. Grants of configuration are those of the running one,
// because the log does not keep what configuration said.
type reviewed struct {
	s        *Service
	ledger   *ledger
	at       time.Time // grants that had expired by then are none
	past     bool
	lines    []*reviewLine
	byMember map[principal][]*reviewLine
	accounts map[uuid.UUID]string // names, as they were then
	clusters map[access.ClusterRef]string
	config   []ReviewConfigChange
	used     reviewUse
}

// reviewLine is one grant that counted at the moment.
type reviewLine struct {
	ReviewLine
	scope access.Scope
	who   []principal // whom it concerns: members who had signed in by then, sorted
}

// asOf reads who could do what at a time; the zero time is now. *BeforeLogError for one before the log begins: that nothing
// is known is not that nobody had rights.
func (s *Service) asOf(ctx context.Context, tx pgx.Tx, at time.Time) (*reviewed, error) {
	r := &reviewed{
		s: s, ledger: newLedger(), at: at, past: !at.IsZero(), byMember: map[principal][]*reviewLine{},
		accounts: map[uuid.UUID]string{}, clusters: map[access.ClusterRef]string{},
	}
	if !r.past {
		r.at = s.now()
	} else if begins, err := audit.Begins(ctx, tx); err != nil {
		return nil, err
	} else if at.Before(begins) {
		return nil, &BeforeLogError{Begins: begins}
	}
	acts := slices.DeleteFunc(ledgerActs(), func(name string) bool { return name == ActSessionLogin.Name })
	err := audit.Replay(ctx, tx, acts, at, func(e audit.Stored) error {
		r.ledger.apply(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Of sign-ins the last one of each member counts, and there are many more than of anything else.
	if err := audit.LastByActor(ctx, tx, ActSessionLogin.Name, InternalIssuer, at, r.ledger.apply); err != nil {
		return nil, err
	}
	for id, a := range r.ledger.accounts {
		if parsed, err := uuid.Parse(id); err == nil {
			r.accounts[parsed] = a.text("name")
		}
	}
	r.readLines()
	if err := r.namePlaces(ctx, tx, r.lines, at); err != nil {
		return nil, err
	}
	if r.past {
		if err := r.readConfigChanges(ctx, tx, at); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// readUse reads when rights were last used, as far as the window reaches.
func (r *reviewed) readUse(ctx context.Context, tx pgx.Tx) error {
	until := r.at
	if !r.past {
		until = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	found, err := audit.ActivityBetween(ctx, tx, r.at.Add(-reviewWindow), until, []string{ActSessionLogin.Name, ActSessionLogout.Name}, InternalIssuer)
	if err != nil {
		return err
	}
	r.used = reviewUse{}
	for _, a := range found {
		r.used.note(a)
	}
	for _, line := range r.lines {
		line.LastUse = r.lastUse(line)
	}
	return nil
}

// readLines makes a line of each grant that counted.
func (r *reviewed) readLines() {
	groups := map[principal][]principal{}
	addresses := map[string][]principal{} // verified ones, folded
	for who, m := range r.ledger.members {
		if m.loginSeq == 0 {
			continue // blocked before their first sign-in
		}
		for _, group := range m.groups {
			groups[principal{who.issuer, group}] = append(groups[principal{who.issuer, group}], who)
		}
		if m.verified && m.email != "" {
			addresses[access.FoldASCII(m.email)] = append(addresses[access.FoldASCII(m.email)], who)
		}
	}
	for id, g := range r.ledger.grants {
		if line := r.storedLine(id, g, groups); line != nil {
			r.lines = append(r.lines, line)
		}
	}
	for _, c := range r.s.cfg.Rights.All() {
		r.lines = append(r.lines, r.configuredLine(c, groups, addresses))
	}
	for _, line := range r.lines {
		sortPrincipals(line.who)
		line.who = slices.Compact(line.who)
		line.MemberCount = len(line.who)
		for _, who := range line.who {
			r.byMember[who] = append(r.byMember[who], line)
		}
		line.ReadOnly = !slices.ContainsFunc(line.Role.Permissions, func(p string) bool { return !readsOnly(p) })
		line.digest = line.says()
	}
	slices.SortFunc(r.lines, func(a, b *reviewLine) int { return strings.Compare(a.order, b.order) })
}

func comparePrincipals(a, b principal) int {
	return cmp.Or(strings.Compare(a.issuer, b.issuer), strings.Compare(a.name, b.name))
}

func sortPrincipals(all []principal) { slices.SortFunc(all, comparePrincipals) }

// readsOnly reports whether nothing is changed by what a permission allows. Reading leaves no event; taking the log away
// does, but who may do it mostly reads.
func readsOnly(permission string) bool {
	return strings.HasPrefix(permission, "read:") || permission == access.AuditRead || permission == access.AuditExport || permission == access.LogsRead
}

// storedLine is the line of a grant of the ledger; nil when it did not count.
func (r *reviewed) storedLine(id string, g *ledgerGrant, groups map[principal][]principal) *reviewLine {
	if g.endedSeq > 0 {
		return nil
	}
	line := r.grantLine(id, g, groups)
	if line == nil || line.ExpiresAt != nil && !line.ExpiresAt.IsZero() && !r.at.Before(*line.ExpiresAt) {
		return nil
	}
	return line
}

// grantLine is the line of a grant of the ledger, whether or not it counted; nil when its id is none.
func (r *reviewed) grantLine(id string, g *ledgerGrant, groups map[principal][]principal) *reviewLine {
	grant, err := uuid.Parse(id)
	if err != nil {
		return nil
	}
	line := &reviewLine{ReviewLine: ReviewLine{
		Key: id, Grant: grant, SubjectKind: g.text("subject_kind"), Issuer: g.text("issuer"), Subject: g.text("subject"), Role: r.role(g.text("role")),
		ScopeKind: access.ScopeKind(g.text("scope_kind")), Scope: g.text("scope"), Reason: g.text("reason"), Since: g.made.RecordedAt,
		GrantedBy: cmp.Or(g.text("granted_by"), nameOf(g.by)),
	}}
	if text := g.text("expires_at"); text != "" {
		end, _ := time.Parse(time.RFC3339Nano, text) // zero when it is no time: then it does not end
		line.ExpiresAt = &end
	}
	// A scope that is not understood gives nothing; the line is shown all the same.
	if scope, _, err := access.ParseScope(line.ScopeKind, line.Scope); err == nil {
		line.scope = scope
	}
	who := principal{line.Issuer, line.Subject}
	line.SubjectName = line.Subject
	switch line.SubjectKind {
	case SubjectMember:
		line.SubjectName = r.memberName(who)
		line.who = []principal{who}
		if m := r.ledger.members[who]; m == nil || m.loginSeq == 0 {
			line.who = nil
		}
	case SubjectGroup:
		line.who = slices.Clone(groups[who])
	default:
		line.Pending = true
	}
	line.order = "1" + access.FoldASCII(line.SubjectName) + "\x00" + line.Key
	return line
}

// configuredLine is the line of a grant that configuration gives now.
func (r *reviewed) configuredLine(c access.ConfiguredGrant, groups map[principal][]principal, addresses map[string][]principal) *reviewLine {
	sum := sha256.Sum256(authenticates(c.Source, c.Via, c.Role.ID))
	line := &reviewLine{scope: c.Scope, ReviewLine: ReviewLine{
		Key: configuredKey + hex.EncodeToString(sum[:12]), SubjectKind: SubjectGroup, Issuer: r.s.cfg.Rights.Issuer, Subject: c.Via, SubjectName: c.Via,
		Role: c.Role, ScopeKind: access.ScopeEverything, Configured: true, Source: strings.TrimPrefix(c.Source, "from configuration, "),
	}}
	if c.Email {
		line.SubjectKind = SubjectEmail
		for _, who := range addresses[access.FoldASCII(c.Via)] {
			if line.Issuer == "" || who.issuer == line.Issuer {
				line.who = append(line.who, who)
			}
		}
	} else {
		for who, members := range groups {
			if who.name == c.Via && (line.Issuer == "" || who.issuer == line.Issuer) {
				line.who = append(line.who, members...)
			}
		}
	}
	line.order = "0" + line.Source + "\x00" + access.FoldASCII(c.Via) + "\x00" + line.Key
	return line
}

// role is a role with its permissions as they were.
func (r *reviewed) role(id string) access.Role {
	for _, role := range access.BuiltIn() {
		if role.ID == id {
			return role
		}
	}
	own := r.ledger.roles[id]
	if own == nil {
		return access.Role{ID: id, Name: id}
	}
	role := access.Role{ID: id, Name: own.text("name"), Description: own.text("description")}
	if own.deletedSeq == 0 {
		role.Permissions = own.list("permissions")
	}
	return role
}

func (r *reviewed) memberName(who principal) string {
	if m := r.ledger.members[who]; m != nil {
		return cmp.Or(m.name, m.email, who.name)
	}
	return who.name
}

// says is a digest of what the line gives to whom, but for who is in a group: a reviewer keeps that, and a line that
// says something else has not been decided.
func (l *reviewLine) says() string {
	sum := sha256.Sum256(authenticates(l.Key, l.SubjectKind, l.Issuer, l.Subject, l.Role.ID, l.Role.Permissions, string(l.ScopeKind), l.Scope, microseconds(l.ExpiresAt)))
	return hex.EncodeToString(sum[:])
}

// knows is a digest of whom the line concerns.
func (l *reviewLine) knows() string {
	var text strings.Builder
	for _, who := range l.who {
		fmt.Fprintf(&text, "%q %q\n", who.issuer, who.name)
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:])
}

// token is what a form sends for the line as it was shown.
func (l *reviewLine) token() string {
	sum := sha256.Sum256([]byte(l.digest + l.knows()))
	return l.Key + "." + hex.EncodeToString(sum[:8])
}

// words say the line in the log.
func (l *reviewLine) words() string {
	subject := l.SubjectName
	switch l.SubjectKind {
	case SubjectGroup:
		subject = "group " + subject
	case SubjectEmail:
		subject = "address " + subject
	}
	return l.Role.Name + " for " + subject + " on " + l.ScopeName
}

// namePlaces puts names into scopes: as the log had them at the time, else as they are known now.
func (r *reviewed) namePlaces(ctx context.Context, tx pgx.Tx, lines []*reviewLine, at time.Time) error {
	var accounts []uuid.UUID
	var ids []string
	for _, line := range lines {
		accounts = append(accounts, line.scope.Accounts...)
		for _, ref := range line.scope.Clusters {
			accounts, ids = append(accounts, ref.AccountID), append(ids, ref.ClusterID)
		}
	}
	rows, err := tx.Query(ctx, `SELECT id, name FROM accounts WHERE id = ANY($1)`, nonNil(accounts))
	if err != nil {
		return err
	}
	var id uuid.UUID
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		if r.accounts[id] == "" {
			r.accounts[id] = name
		}
		return nil
	}); err != nil {
		return err
	}
	if len(ids) > 0 {
		if err := r.nameClusters(ctx, tx, ids, at); err != nil {
			return err
		}
	}
	for _, line := range lines {
		var account, cluster string
		for _, id := range line.scope.Accounts {
			account = r.accounts[id]
		}
		for _, ref := range line.scope.Clusters {
			account, cluster = r.accounts[ref.AccountID], r.clusters[ref]
		}
		line.ScopeName = whereWords(line.ScopeKind, line.Scope, account, cluster)
	}
	return nil
}

func (r *reviewed) nameClusters(ctx context.Context, tx pgx.Tx, ids []string, at time.Time) error {
	rows, err := tx.Query(ctx, `SELECT account_id, cluster_id, name FROM clusters WHERE cluster_id = ANY($1)`, ids)
	if err != nil {
		return err
	}
	var ref access.ClusterRef
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&ref.AccountID, &ref.ClusterID, &name}, func() error {
		r.clusters[ref] = name
		return nil
	}); err != nil {
		return err
	}
	named, err := audit.NamesOf(ctx, tx, KindCluster, ids, at)
	if err != nil {
		return err
	}
	for of, name := range named {
		account, err := uuid.Parse(of.Account)
		if err == nil && name != "" {
			r.clusters[access.ClusterRef{AccountID: account, ClusterID: of.ID}] = name
		}
	}
	return nil
}

// readConfigChanges reads what changed in the configuration since.
func (r *reviewed) readConfigChanges(ctx context.Context, tx pgx.Tx, at time.Time) error {
	return audit.Replay(ctx, tx, []string{ActConfigChanged.Name}, time.Time{}, func(e audit.Stored) error {
		if e.RecordedAt.After(at) {
			r.config = append(r.config, ReviewConfigChange{At: e.RecordedAt, Names: slices.Sorted(maps.Keys(e.Change))})
		}
		return nil
	})
}

// environments are those of the accounts that there were.
func (r *reviewed) environments() map[uuid.UUID]string {
	of := map[uuid.UUID]string{}
	for id, a := range r.ledger.accounts {
		if parsed, err := uuid.Parse(id); err == nil && a.removedSeq == 0 {
			of[parsed] = a.text("environment")
		}
	}
	return of
}

// rights are those of a member, by the groups of their last sign-in.
func (r *reviewed) rights(who principal, environments map[uuid.UUID]string) access.Rights {
	if m := r.ledger.members[who]; m == nil || m.blocked {
		return access.Rights{}
	}
	var grants []access.Grant
	for _, line := range r.byMember[who] {
		g := access.Grant{Role: line.Role, Scope: line.scope, ID: line.Grant, Source: "granted by " + line.GrantedBy}
		if line.Configured {
			g.Source = "from configuration, " + line.Source
		}
		if line.SubjectKind != SubjectMember {
			g.Via = line.Subject
		}
		grants = append(grants, g)
	}
	return access.NewRights(grants...).In(environments)
}

// reviewUse is when each member last did something: anywhere, in each account, at each cluster, and when they signed in.
type reviewUse map[principal]*memberUse

type memberUse struct {
	anywhere, signedIn time.Time
	accounts           map[string]time.Time
	clusters           map[[2]string]time.Time
}

func (u reviewUse) note(a audit.Activity) {
	m := u[principal{a.Issuer, a.Subject}]
	if m == nil {
		m = &memberUse{accounts: map[string]time.Time{}, clusters: map[[2]string]time.Time{}}
		u[principal{a.Issuer, a.Subject}] = m
	}
	if a.Act != "" {
		m.signedIn = later(m.signedIn, a.Last)
		return
	}
	m.anywhere = later(m.anywhere, a.Last)
	if a.Account != "" {
		m.accounts[a.Account] = later(m.accounts[a.Account], a.Last)
		if a.Cluster != "" {
			m.clusters[[2]string{a.Account, a.Cluster}] = later(m.clusters[[2]string{a.Account, a.Cluster}], a.Last)
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lastUse is the last event within the window of somebody whom the line concerns, after the grant was given and inside its
// scope where events tell of accounts and clusters; nil when there is none. What only reads leaves no event, so for that
// signing in counts.
func (r *reviewed) lastUse(line *reviewLine) *time.Time {
	var last time.Time
	for _, who := range line.who {
		m := r.used[who]
		if m == nil {
			continue
		}
		if line.ReadOnly {
			last = later(last, m.signedIn)
		}
		switch line.ScopeKind {
		case access.ScopeEnvironment:
			for id, at := range m.accounts {
				if a := r.ledger.accounts[id]; a != nil && a.text("environment") == line.Scope {
					last = later(last, at)
				}
			}
		case access.ScopeAccount:
			last = later(last, m.accounts[line.Scope])
		case access.ScopeCluster:
			account, cluster, _ := strings.Cut(line.Scope, "/")
			last = later(last, m.clusters[[2]string{account, cluster}])
		default:
			last = later(last, m.anywhere)
		}
	}
	if last.IsZero() || !last.After(line.Since) { // before that it was another right that was used
		return nil
	}
	return &last
}

// compareUUIDs orders ids as the database does.
func compareUUIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }
