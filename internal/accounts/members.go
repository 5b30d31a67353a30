package accounts

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

const (
	// membersLimit is how many members a page of the list has.
	membersLimit = 100
	// memberActive is how long ago a member who counts as active was last seen at most.
	memberActive = 30 * 24 * time.Hour
	// groupsListed bounds the groups that the page of a member shows, groupsNamed those in the list.
	groupsListed = 200
	groupsNamed  = 3
	// memberSessions bounds the sessions that the page of a member shows, and marks that an event names.
	memberSessions = 100
	// memberHistory bounds the sign-ins that the page of a member shows.
	memberHistory = 25
)

// forMember is what the id of a member is hashed for.
const forMember = "member"

// The states that the list of members can be narrowed to.
const (
	MembersBlocked  = "blocked"
	MembersActive   = "active"    // seen within 30 days
	MembersQuiet    = "quiet"     // not seen for 30 days
	MembersSignedIn = "signed-in" // have a session now
)

// MemberQuery is what the list of members may be asked. Zero values do not filter.
type MemberQuery struct {
	Text  string // every word is in name, e-mail or subject
	State string
	// Group narrows to those whose last sign-in named it; GroupIssuer to those of this provider, when it is given.
	Group, GroupIssuer string

	After string // id of the last member of the page before; ErrBadCursor when there is none
	Limit int    // 0: 100
}

// MemberPage is one page of the list of members, by name.
type MemberPage struct {
	Members []Member
	Next    string // for After; empty on the last page
	Total   int    // that match
	All     int
}

// Member is a person who has signed in at least once.
type Member struct {
	ID              string // keyed hash of issuer and subject
	Issuer, Subject string
	Name, Email     string
	EmailVerified   bool
	Groups          []string // of the last sign-in: of a list the first few, of a page the first 200
	GroupCount      int
	FirstSeen       time.Time
	LastSeen        time.Time // last sign-in, or use of a live session
	Sessions        int       // live
	Block           *Block    // nil: not blocked
	Roles           []HeldRole
}

// ConfirmWord is what is typed to confirm an act on the member: the e-mail address, else the name.
func (m Member) ConfirmWord() string {
	return cmp.Or(strings.TrimSpace(m.Email), strings.TrimSpace(m.Name), m.Subject)
}

// Block says since when a member is blocked, by whom and why.
type Block struct {
	Since  time.Time
	By     string
	Reason string
	// Unverified marks a row that this console did not write. It blocks, and says nothing that counts.
	Unverified bool
	// Withheld marks a block that only the log tells of: the row that took it away counts for nothing, or there is none.
	Withheld bool
}

// HeldRole is a role that a member holds now, by configuration and grants, with the groups of their last
// sign-in; of a blocked member, what they would hold. A session keeps the groups that it began with.
type HeldRole struct {
	Name       string
	Everything bool
	Scopes     int // grants on less than everything
}

// HeldGrant is one grant that a member holds now.
type HeldGrant struct {
	ID        uuid.UUID // nil: from configuration
	RoleID    string
	Role      string
	Scope     access.Scope
	ScopeKind access.ScopeKind
	ScopeText string // as the grant has it; of an account or a cluster their names, where the reader may see them
	Source    string // who gave it, or which part of the configuration
	Via       string // group or address
	ByAddress bool   // Via is an address
	ExpiresAt *time.Time
	MayOpen   bool // the reader may open the grant, or of one from configuration its row in the list
	MayRole   bool // the reader may open the role
}

// MemberSession is a live session of a member.
type MemberSession struct {
	ID                               uuid.UUID
	IP, UserAgent                    string
	CreatedAt, LastSeenAt, ExpiresAt time.Time
	Current                          bool // of who asks
}

// MemberEvent is what the log tells of a member's sign-ins and sessions, and of blocks.
type MemberEvent struct {
	Seq       int64
	At        time.Time
	Act       string
	Outcome   audit.Outcome
	Reason    string
	Count     int    // summed into one
	By        string // empty: the member
	IP        string
	UserAgent string
}

// MemberDetail is the page of a member.
type MemberDetail struct {
	Member
	Self     bool
	Holds    []HeldGrant
	Live     []MemberSession // newest first, at most 100
	History  []MemberEvent   // newest first
	MayAudit bool            // the reader may open events of the log
	Offers   map[string]Offer
}

// memberRow is a member as listed.
type memberRow struct {
	Issuer, Subject, Name, Email string
	EmailVerified                bool
	Shown                        []string // of the groups
	Granted                      []string // of the groups, those that anything is granted to
	GroupCount                   int
	FirstSeen, LastSeen          time.Time
	Sessions                     int
	SessionSeen                  *time.Time
}

// liveSession is the condition that a session is live, for s; the arguments are named.
const liveSession = `s.ended_at IS NULL AND s.created_at < @ahead AND s.expires_at > @now AND s.created_at > @oldest AND s.last_seen_at > @idle`

func (s *Service) liveArguments() pgx.NamedArgs {
	now := s.now()
	return pgx.NamedArgs{"now": now, "ahead": now.Add(s.cfg.SessionMax), "oldest": now.Add(-s.cfg.SessionMax), "idle": now.Add(-s.cfg.SessionIdle)}
}

// aMember is the condition that m is somebody whom an identity provider vouched for: whom a break-glass link let in is no
// member, and their session is listed elsewhere.
const aMember = `m.issuer <> '` + InternalIssuer + `'`

// selectMembers reads memberRow; conditions on m follow. Of groups only those are read that matter here: a member may
// be in ten thousand.
const selectMembers = `
	SELECT m.issuer, m.subject, m.name, m.email, m.email_verified, m.groups[1:@shown] AS shown,
		ARRAY(SELECT DISTINCT g FROM unnest(m.groups) g WHERE g = ANY(@granted::text[])) AS granted,
		cardinality(m.groups) AS group_count, m.first_seen, m.last_seen, live.sessions, live.session_seen
	FROM members m
	CROSS JOIN LATERAL (
		SELECT count(*)::int AS sessions, max(s.last_seen_at) AS session_seen FROM sessions s
		WHERE s.issuer = m.issuer AND s.subject = m.subject AND ` + liveSession + `
	) live`

// MemberID names a member in addresses: a keyed hash, so that neither addresses nor the logs of proxies hold who it
// is, and nobody can guess one.
func (s *Service) MemberID(issuer, subject string) string {
	return hex.EncodeToString(s.keyedHash(forMember, issuer+"\x00"+subject)[:16])
}

// isMemberID reports whether text may be the id of a member.
func isMemberID(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 16 && text == strings.ToLower(text)
}

// memberTarget is a member as a target. Members are of no account, so only scope Everything reaches them.
func memberTarget(m Member) target { return target{Kind: KindMember, ID: m.Subject, Name: m.Name} }

// MaySeeMembers reports whether the actor may list members and open their pages; for links.
func (s *Service) MaySeeMembers(by audit.Actor) bool {
	return s.rights(by).Allows(ActMemberRead.Needs, installation(KindMember).access())
}

// MemberNamed returns issuer and subject of a member by id, for those who may do the act on members now:
// *ForbiddenError for everybody else, whether there is such a member or not, and ErrNotFound.
func (s *Service) MemberNamed(ctx context.Context, by audit.Actor, act Act, id string) (issuer, subject string, err error) {
	return s.memberFor(ctx, by, act, id, s.permit) // the act itself asks for a fresh sign-in, once its form was read
}

func (s *Service) memberFor(ctx context.Context, by audit.Actor, act Act, id string, may func(context.Context, audit.Actor, Act, target) error) (issuer, subject string, err error) {
	m, err := s.memberNamed(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", "", err
	}
	if err := may(ctx, by, act, memberTarget(m)); err != nil {
		return "", "", err
	}
	return m.Issuer, m.Subject, err
}

// memberNamed finds a member by id, with their name. Ids are not stored, because then somebody could store another:
// members are thousands at most, and hashing each takes a millionth of a second.
func (s *Service) memberNamed(ctx context.Context, id string) (Member, error) {
	if !isMemberID(id) {
		return Member{}, ErrNotFound
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT m.issuer, m.subject, m.name FROM members m WHERE `+aMember)
	if err != nil {
		return Member{}, dbError("looking for a member", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m Member
		if err := rows.Scan(&m.Issuer, &m.Subject, &m.Name); err != nil {
			return Member{}, dbError("looking for a member", err)
		}
		if s.MemberID(m.Issuer, m.Subject) == id {
			return m, nil
		}
	}
	if err := rows.Err(); err != nil {
		return Member{}, dbError("looking for a member", err)
	}
	return Member{}, ErrNotFound
}

// Members lists who has signed in here. Nobody but who may see members everywhere sees any.
func (s *Service) Members(ctx context.Context, by audit.Actor, q MemberQuery) (MemberPage, error) {
	if err := s.read(ctx, by, ActMemberRead, installation(KindMember)); err != nil {
		return MemberPage{}, err
	}
	book, err := s.currentBook(ctx)
	if err != nil {
		return MemberPage{}, err
	}
	args := s.memberArguments(book, groupsNamed)
	where := s.memberConditions(q, book, args)
	order := ""
	if q.After != "" {
		who, err := s.memberNamed(ctx, q.After)
		if errors.Is(err, ErrNotFound) {
			return MemberPage{}, ErrBadCursor
		}
		if err != nil {
			return MemberPage{}, err
		}
		args["after_issuer"], args["after_subject"] = who.Issuer, who.Subject
		order = ` AND (lower(m.name) COLLATE "C", m.issuer, m.subject) > (
			SELECT lower(a.name) COLLATE "C", a.issuer, a.subject FROM members a WHERE a.issuer = @after_issuer AND a.subject = @after_subject)`
	}
	limit := q.Limit
	if limit <= 0 {
		limit = membersLimit
	}
	args["limit"] = limit + 1
	var page MemberPage
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page = MemberPage{}
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM members m WHERE `+aMember).Scan(&page.All); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM members m WHERE `+where, args).Scan(&page.Total); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectMembers+` WHERE `+where+order+` ORDER BY lower(m.name) COLLATE "C", m.issuer, m.subject LIMIT @limit`, args)
		if err != nil {
			return err
		}
		found, err := collectMany[memberRow](rows)
		if err != nil {
			return err
		}
		more := len(found) > limit
		for _, row := range found[:min(limit, len(found))] {
			page.Members = append(page.Members, s.member(row, book))
		}
		if more {
			page.Next = page.Members[limit-1].ID
		}
		return s.addBlocks(ctx, tx, page.Members, book)
	})
	if err != nil {
		return MemberPage{}, dbError("listing members", err)
	}
	return page, nil
}

// memberArguments are those of selectMembers.
func (s *Service) memberArguments(book *rightsBook, shown int) pgx.NamedArgs {
	args := s.liveArguments()
	args["shown"], args["granted"] = shown, s.grantedGroups(book)
	return args
}

// grantedGroups are the groups that anything is granted to, whoever's provider names them.
func (s *Service) grantedGroups(book *rightsBook) []string {
	groups := []string{}
	for who := range book.subjectGroups() {
		groups = append(groups, who.name)
	}
	for _, g := range s.cfg.Rights.All() {
		if !g.Email {
			groups = append(groups, g.Via)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// memberConditions are the conditions of a query on m, and adds their arguments.
func (s *Service) memberConditions(q MemberQuery, book *rightsBook, args pgx.NamedArgs) string {
	where := []string{aMember}
	args["active"] = s.now().Add(-memberActive)
	switch q.State {
	case "":
	case MembersBlocked:
		var issuers, subjects []string
		for who, blocked := range book.blocked {
			if blocked {
				issuers, subjects = append(issuers, who.issuer), append(subjects, who.name)
			}
		}
		args["blocked_issuers"], args["blocked_subjects"] = issuers, subjects
		where = append(where, `(m.issuer, m.subject) IN (SELECT * FROM unnest(@blocked_issuers::text[], @blocked_subjects::text[]))`)
	case MembersActive:
		where = append(where, `m.last_seen >= @active`)
	case MembersQuiet:
		where = append(where, `m.last_seen < @active`)
	case MembersSignedIn:
		where = append(where, `EXISTS (SELECT FROM sessions s WHERE s.issuer = m.issuer AND s.subject = m.subject AND `+liveSession+`)`)
	default:
		where = append(where, "false")
	}
	if !wellFormed(q.Text, maxFilter) || !wellFormed(q.Group, maxGroup) || !wellFormed(q.GroupIssuer, maxIssuer) {
		return "false"
	}
	if q.Group != "" {
		args["group"], args["group_issuer"] = q.Group, q.GroupIssuer
		where = append(where, `@group = ANY(m.groups) AND (@group_issuer = '' OR m.issuer = @group_issuer)`)
	}
	for i, word := range strings.Fields(q.Text) {
		if i == maxWords {
			break
		}
		name := fmt.Sprintf("word%d", i)
		args[name] = "%" + escapeLike(word) + "%"
		where = append(where, `(m.name || E'\n' || m.email || E'\n' || m.subject) ILIKE @`+name)
	}
	return strings.Join(where, " AND ")
}

// member is the row as pages show it, without whether it is blocked.
func (s *Service) member(row memberRow, book *rightsBook) Member {
	m := Member{
		ID: s.MemberID(row.Issuer, row.Subject), Issuer: row.Issuer, Subject: row.Subject, Name: row.Name, Email: row.Email,
		EmailVerified: row.EmailVerified, Groups: row.Shown, GroupCount: row.GroupCount, FirstSeen: row.FirstSeen, LastSeen: row.LastSeen,
		Sessions: row.Sessions,
	}
	if row.SessionSeen != nil && row.SessionSeen.After(m.LastSeen) {
		m.LastSeen = *row.SessionSeen
	}
	for _, g := range s.heldBy(row, book) {
		i := slices.IndexFunc(m.Roles, func(r HeldRole) bool { return r.Name == g.Role.Name })
		if i < 0 {
			i = len(m.Roles)
			m.Roles = append(m.Roles, HeldRole{Name: g.Role.Name})
		}
		if g.Scope.Everything {
			m.Roles[i].Everything = true
		} else {
			m.Roles[i].Scopes++
		}
	}
	slices.SortFunc(m.Roles, func(a, b HeldRole) int { return strings.Compare(a.Name, b.Name) })
	return m
}

// heldBy returns the grants that count for a member now, blocked or not, by the groups of their last sign-in.
func (s *Service) heldBy(row memberRow, book *rightsBook) []access.Grant {
	m := access.Member{Issuer: row.Issuer, Email: row.Email, EmailVerified: row.EmailVerified, Groups: row.Granted}
	return append(s.cfg.Rights.Grants(m), book.of(m, row.Subject, s.now())...)
}

// currentBook is what rights follow from now.
func (s *Service) currentBook(ctx context.Context) (*rightsBook, error) {
	if err := s.freshRights(ctx); err != nil {
		return nil, err
	}
	return s.keeper.book.Load(), nil
}

// addBlocks says of the members whether they are blocked. The book decides, and the rows tell the rest.
func (s *Service) addBlocks(ctx context.Context, db querier, members []Member, book *rightsBook) error {
	at := map[principal]int{}
	var issuers, subjects []string
	for i, m := range members {
		who := principal{m.Issuer, m.Subject}
		if book.blocked[who] {
			at[who] = i
			issuers, subjects = append(issuers, m.Issuer), append(subjects, m.Subject)
			members[i].Block = &Block{Withheld: true} // until a row says more
		}
	}
	if len(at) == 0 {
		return nil
	}
	rows, err := db.Query(ctx, `
		SELECT DISTINCT ON (issuer, subject) `+memberStandingColumns+` FROM member_standings
		WHERE (issuer, subject) IN (SELECT * FROM unnest($1::text[], $2::text[])) ORDER BY issuer, subject, version DESC`, issuers, subjects)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[memberStanding])
	if err != nil {
		return err
	}
	for _, row := range found {
		block := &members[at[principal{row.Issuer, row.Subject}]].Block
		switch {
		case !row.verifies(s):
			*block = &Block{Unverified: true}
		case row.Blocked:
			*block = &Block{Since: row.WrittenAt, By: row.WrittenBy, Reason: row.Reason}
		}
	}
	return nil
}

// oneMember reads a member with its row; ErrNotFound.
func (s *Service) oneMember(ctx context.Context, db querier, book *rightsBook, issuer, subject string) (Member, memberRow, error) {
	args := s.memberArguments(book, groupsListed)
	args["issuer"], args["subject"] = issuer, subject
	if issuer == InternalIssuer || !wellFormed(issuer, maxIssuer) || !wellFormed(subject, maxSubject) {
		return Member{}, memberRow{}, ErrNotFound
	}
	rows, err := db.Query(ctx, selectMembers+` WHERE m.issuer = @issuer AND m.subject = @subject`, args)
	if err != nil {
		return Member{}, memberRow{}, dbError("reading a member", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[memberRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return Member{}, memberRow{}, ErrNotFound
	}
	if err != nil {
		return Member{}, memberRow{}, dbError("reading a member", err)
	}
	one := []Member{s.member(row, book)}
	if err := s.addBlocks(ctx, db, one, book); err != nil {
		return Member{}, memberRow{}, dbError("reading whether a member is blocked", err)
	}
	return one[0], row, nil
}

// Member returns the page of a member: what they hold, where they are signed in, and what the log tells of their
// sign-ins. *ForbiddenError for who may not see members, whether there is such a member or not; ErrNotFound.
func (s *Service) Member(ctx context.Context, by audit.Actor, issuer, subject string) (MemberDetail, error) {
	if err := s.read(ctx, by, ActMemberRead, installation(KindMember)); err != nil {
		return MemberDetail{}, err
	}
	book, err := s.currentBook(ctx)
	if err != nil {
		return MemberDetail{}, err
	}
	m, row, err := s.oneMember(ctx, s.cfg.DB, book, issuer, subject)
	if err != nil {
		return MemberDetail{}, err
	}
	d := MemberDetail{
		Member: m, Self: issuer == by.Issuer && subject == by.Subject,
		MayAudit: s.rights(by).Allows(ActAuditRead.Needs, installation(KindAudit).access()),
	}
	if d.Holds, err = s.memberHolds(ctx, by, row, book); err != nil {
		return MemberDetail{}, err
	}
	if d.Live, err = s.memberSessions(ctx, by, m); err != nil {
		return MemberDetail{}, err
	}
	if d.History, err = s.memberEvents(ctx, m); err != nil {
		return MemberDetail{}, err
	}
	d.Offers = s.memberOffers(by, d)
	return d, nil
}

// AskMember is Member for a page that asks before an act. Who may not do the act is refused here, and recorded, as the
// act itself would; *ConflictError when it is not offered. That a fresh sign-in is missing is no refusal yet: the act's
// offer says so.
func (s *Service) AskMember(ctx context.Context, by audit.Actor, act Act, id string) (MemberDetail, error) {
	issuer, subject, err := s.memberFor(ctx, by, act, id, s.permit)
	if err != nil {
		return MemberDetail{}, err
	}
	d, err := s.Member(ctx, by, issuer, subject)
	if err != nil {
		return MemberDetail{}, err
	}
	return d, conflictUnless(d.Offers[act.Name])
}

// memberOffers says what can be done to the member.
func (s *Service) memberOffers(by audit.Actor, d MemberDetail) map[string]Offer {
	offers := map[string]Offer{}
	for _, act := range []Act{ActMemberBlock, ActMemberUnblock, ActMemberSignOut} {
		reason := ""
		if missing := s.rightsFor(by, act).Missing(act.Needs, memberTarget(d.Member).access()); missing != "" {
			reason = fmt.Sprintf("You need %s.", missing)
		}
		if act.Name == ActMemberBlock.Name && d.Self {
			reason = notOneself
		}
		if act.Name == ActMemberUnblock.Name && d.Block == nil {
			reason = "They are not blocked."
		}
		if act.Name == ActMemberSignOut.Name && len(d.Live) == 0 {
			reason = "They are signed in nowhere."
		}
		offers[act.Name] = Offer{Act: act.Name, Offered: reason == "", Reason: reason, StepUp: s.stepUpDue(by, act, memberTarget(d.Member))}
	}
	return offers
}

// memberHolds are the grants of a member, the widest first. Accounts and clusters are named for who may read them.
func (s *Service) memberHolds(ctx context.Context, by audit.Actor, row memberRow, book *rightsBook) ([]HeldGrant, error) {
	stored := map[uuid.UUID]grantRow{}
	for _, g := range book.grants {
		stored[g.row.ID] = g.row
	}
	var held []HeldGrant
	rights := s.rights(by)
	for _, g := range s.heldBy(row, book) {
		h := HeldGrant{ID: g.ID, RoleID: g.Role.ID, Role: g.Role.Name, Scope: g.Scope, ScopeKind: access.ScopeEverything, Source: g.Source, Via: g.Via, ByAddress: g.ByAddress}
		if kept, ok := stored[g.ID]; ok {
			h.ScopeKind, h.ScopeText, h.ExpiresAt = access.ScopeKind(kept.ScopeKind), kept.Scope, kept.ExpiresAt
		}
		h.MayOpen, h.MayRole = rights.Within(access.GrantsManage, g.Scope), rights.Holds(access.GrantsManage)
		held = append(held, h)
	}
	kinds := access.ScopeKinds()
	slices.SortStableFunc(held, func(a, b HeldGrant) int {
		return cmp.Or(slices.Index(kinds, a.ScopeKind)-slices.Index(kinds, b.ScopeKind), strings.Compare(a.Role, b.Role))
	})
	return held, s.nameScopes(ctx, by, held)
}

// nameScopes puts names in the place of ids of accounts and clusters that the reader may read.
func (s *Service) nameScopes(ctx context.Context, by audit.Actor, held []HeldGrant) error {
	var refs []access.ClusterRef
	for _, h := range held {
		for _, id := range h.Scope.Accounts {
			refs = append(refs, access.ClusterRef{AccountID: id})
		}
		refs = append(refs, h.Scope.Clusters...)
	}
	places, err := s.placesOf(ctx, refs)
	if err != nil {
		return err
	}
	rights := s.rights(by)
	for i, h := range held {
		for _, id := range h.Scope.Accounts {
			if on := places.account(id); rights.Allows(ActAccountRead.Needs, on.access()) && on.Name != "" {
				held[i].ScopeText = on.Name
			}
		}
		for _, ref := range h.Scope.Clusters {
			on := places.cluster(ref)
			if rights.Allows(ActClusterRead.Needs, on.access()) && on.Name != "" && on.Account.Name != "" {
				held[i].ScopeText = on.Account.Name + " / " + on.Name
			}
		}
	}
	return nil
}

// memberSessions lists the live sessions of a member, newest first.
func (s *Service) memberSessions(ctx context.Context, by audit.Actor, m Member) ([]MemberSession, error) {
	args := s.liveArguments()
	args["issuer"], args["subject"], args["limit"], args["mark"] = m.Issuer, m.Subject, memberSessions, by.Session
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT s.id, s.ip, s.user_agent, s.created_at, s.last_seen_at, s.expires_at, s.mark = @mark AS current FROM sessions s
		WHERE s.issuer = @issuer AND s.subject = @subject AND `+liveSession+` ORDER BY s.created_at DESC, s.id DESC LIMIT @limit`, args)
	if err != nil {
		return nil, dbError("reading a member's sessions", err)
	}
	sessions, err := collectMany[MemberSession](rows)
	if err != nil {
		return nil, dbError("reading a member's sessions", err)
	}
	return sessions, nil
}

// memberEvents is what the log tells of the member's sign-ins and sessions, and of what others did to those.
func (s *Service) memberEvents(ctx context.Context, m Member) ([]MemberEvent, error) {
	own, _, err := s.cfg.Log.ByActor(ctx, audit.ActorQuery{
		Issuer: m.Issuer, Subject: m.Subject, Limit: memberHistory,
		Acts: []string{ActSessionLogin.Name, ActSessionLogout.Name, ActSessionRevoke.Name},
	})
	if err != nil {
		return nil, dbError("reading a member's sign-ins", err)
	}
	page, err := s.cfg.Log.List(ctx, audit.Query{TargetKind: KindMember, TargetID: m.Subject, Limit: memberHistory})
	if err != nil {
		return nil, dbError("reading what was done to a member", err)
	}
	all := own
	for _, o := range page.Operations {
		if changedTo(o.Change, changeIssuer) == m.Issuer {
			all = append(all, o.Stored)
		}
	}
	slices.SortFunc(all, func(a, b audit.Stored) int { return cmp.Compare(b.Seq, a.Seq) })
	events := []MemberEvent{}
	for _, e := range all[:min(len(all), memberHistory)] {
		one := MemberEvent{
			Seq: e.Seq, At: e.RecordedAt, Act: e.Act, Outcome: e.Outcome, Reason: e.Reason, Count: e.Count, IP: e.Actor.IP, UserAgent: e.Actor.UserAgent,
		}
		if e.Actor.Issuer != m.Issuer || e.Actor.Subject != m.Subject {
			one.By = cmp.Or(e.Actor.Name, e.Actor.Email, e.Actor.Subject)
		}
		events = append(events, one)
	}
	return events, nil
}
