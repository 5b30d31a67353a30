package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// Bounds of the table of seen groups, which tells what values there are and gives no right.
const (
	maxGroupValues  = 50_000               // of an issuer; past it new ones are not kept until others are forgotten
	groupValuesKept = 366 * 24 * time.Hour // since a sign-in named it last
	maxNeverSeen    = 50                   // listed
	groupSeenEvery  = time.Hour            // last_seen is this exact
)

// noteGroups keeps the values that a sign-in named.
func noteGroups(ctx context.Context, tx pgx.Tx, row sessionRow) error {
	if len(row.Groups) == 0 {
		return nil
	}
	values := slices.Sorted(slices.Values(row.Groups)) // in one order everywhere, so that sign-ins at once do not wait for each other in a ring
	if _, err := tx.Exec(ctx, `
		INSERT INTO group_values (issuer, value, first_seen, last_seen)
		SELECT $1, fresh.value, $3, $3 FROM unnest($2::text[]) WITH ORDINALITY AS fresh (value, place)
		WHERE NOT EXISTS (SELECT FROM group_values known WHERE known.issuer = $1 AND known.value = fresh.value)
		ORDER BY fresh.place LIMIT greatest(0, $4 - (SELECT count(*) FROM group_values WHERE issuer = $1))
		ON CONFLICT ON CONSTRAINT group_values_pkey DO NOTHING`, row.Issuer, values, row.CreatedAt, maxGroupValues); err != nil {
		return fmt.Errorf("keeping which groups there are: %w", err)
	}
	// Rows that another sign-in is writing are passed over: it writes the same.
	if _, err := tx.Exec(ctx, `
		UPDATE group_values SET last_seen = $3 WHERE (issuer, value) IN (
			SELECT issuer, value FROM group_values WHERE issuer = $1 AND value = ANY($2) AND last_seen < $4 FOR UPDATE SKIP LOCKED)`,
		row.Issuer, values, row.CreatedAt, row.CreatedAt.Add(-groupSeenEvery)); err != nil {
		return fmt.Errorf("keeping which groups there are: %w", err)
	}
	return nil
}

// forgetGroups deletes values that no sign-in named for a year.
func (s *Service) forgetGroups(ctx context.Context) error {
	if _, err := s.cfg.DB.Exec(ctx, `DELETE FROM group_values WHERE last_seen < $1`, s.now().Add(-groupValuesKept)); err != nil {
		return fmt.Errorf("deleting old group values: %w", err)
	}
	return nil
}

// groupsChange is what the log keeps of a sign-in's groups: those that give something first, then
// as many as an event holds, and how many there are.
func (s *Service) groupsChange(row sessionRow) audit.Change {
	names := make(audit.Names, 0, len(row.Groups))
	for _, r := range s.explain(identify(audit.Actor{}, row)) {
		if r.By == access.ByGroup {
			names = append(names, r.Value)
		}
	}
	change := audit.Change{"groups": {nil, names}, "groups_count": {nil, len(row.Groups)}}
	if row.Reading.Overage != "" {
		change["groups_overage"] = [2]any{nil, row.Reading.Overage}
	}
	if lost := row.Reading.NotText + row.Reading.Unusable + row.Reading.LeftOut; lost > 0 {
		change["groups_not_kept"] = [2]any{nil, lost}
	}
	if row.Reading.State == GroupsWrongType {
		change["groups_claim"] = [2]any{nil, row.Reading.Got}
	}
	return change
}

// Explain tells of each group and of the address of the member what it gives now, and why.
func (s *Service) Explain(by audit.Actor) []access.Row { return s.explain(by) }

// GrantTerms is until when and why a grant was given.
type GrantTerms struct {
	ExpiresAt *time.Time
	Reason    string
}

// TermsOf tells until when and why the grants in rows of Explain were given, by their ids; those of configuration have none.
func (s *Service) TermsOf(rows []access.Row) map[uuid.UUID]GrantTerms {
	terms := map[uuid.UUID]GrantTerms{}
	for _, r := range rows {
		for _, g := range r.Gives {
			if g.ID != uuid.Nil {
				terms[g.ID] = GrantTerms{}
			}
		}
	}
	if book := s.keeper.book.Load(); book != nil && len(terms) > 0 {
		for _, g := range book.grants {
			if _, asked := terms[g.row.ID]; asked {
				terms[g.row.ID] = GrantTerms{ExpiresAt: g.row.ExpiresAt, Reason: g.row.Reason}
			}
		}
	}
	return terms
}

// explain tells where the rights of a member come from.
func (s *Service) explain(by audit.Actor) []access.Row {
	m, book := memberOf(by), s.keeper.book.Load()
	rows := s.cfg.Rights.Explain(m, book.of(m, by.Subject, s.now())...)
	bound := book.lastBound(principal{by.Issuer, by.Subject})
	for i, r := range rows {
		if r.By == access.ByEmail && r.Why == access.NothingNamesIt && !bound.IsZero() {
			rows[i].Why, rows[i].Bound = "What was granted to an address of this member became their own at their sign-in of "+bound.UTC().Format("2 January 2006, 15:04 UTC")+". It does not depend on the address any more.", true
		}
	}
	return rows
}

// lastBound is when a grant to an address was last bound to the member, of those that were not taken back; zero for never.
func (b *rightsBook) lastBound(who principal) time.Time {
	var last time.Time
	if b == nil {
		return last
	}
	for _, i := range b.members[who] {
		if row := b.grants[i].row; row.BoundFrom != nil && row.CreatedAt.After(last) {
			last = row.CreatedAt
		}
	}
	return last
}

// GroupsQuery asks for a page of the groups seen. Zero values do not filter.
type GroupsQuery struct {
	Text  string    // part of the name, letter case aside
	After [2]string // value and issuer of the last row of the page before
	Limit int       // 0: 100
}

// GroupRow is one value of the groups claim.
type GroupRow struct {
	Issuer    string
	Value     string
	FirstSeen time.Time
	LastSeen  time.Time
	// Members is how many had it at their last sign-in, of those who signed in during the last 30 days.
	Members int
	Gives   []access.Grant
}

// GroupsPage is one page of the groups seen.
type GroupsPage struct {
	Rows   []GroupRow
	Next   [2]string // After of the next page; zero on the last
	Total  int       // values that match, all pages
	All    int       // values kept
	Full   bool      // no new value is kept, because there are so many
	Claims ClaimsSeen
	// NeverSeen are groups that a grant names and no sign-in did; MoreNeverSeen is how many more.
	NeverSeen     []GroupRow
	MoreNeverSeen int
}

// ClaimsSeen counts members by what became of the groups claim at their last sign-in, of those who
// signed in during the last 30 days.
type ClaimsSeen struct {
	Members   int
	Overage   int // the provider left groups out
	Missing   int // no such claim, and no overage either
	WrongType int // neither a list nor a text
	NotGroups int // values in it that count for nothing
	LeftOut   int // more than is kept
}

// Groups lists the values that sign-ins named in the groups claim, and what each gives.
func (s *Service) Groups(ctx context.Context, by audit.Actor, q GroupsQuery) (GroupsPage, error) {
	if err := s.read(ctx, by, ActGroupRead, installation(KindGroup)); err != nil {
		return GroupsPage{}, err
	}
	var page GroupsPage
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	err := s.cfg.DB.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE strpos(lower(value), lower($1)) > 0), coalesce(max(held) >= $2, false)
		FROM (SELECT value, count(*) OVER (PARTITION BY issuer) AS held FROM group_values) v`, q.Text, maxGroupValues).Scan(&page.All, &page.Total, &page.Full)
	if err != nil {
		return GroupsPage{}, fmt.Errorf("counting groups: %w", unavailable(err))
	}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT issuer, value, first_seen, last_seen, 0 AS members FROM group_values
		WHERE strpos(lower(value), lower($1)) > 0 AND (value COLLATE "C", issuer COLLATE "C") > ($2, $3)
		ORDER BY value COLLATE "C", issuer COLLATE "C" LIMIT $4`, q.Text, q.After[0], q.After[1], limit+1)
	if err != nil {
		return GroupsPage{}, fmt.Errorf("reading groups: %w", unavailable(err))
	}
	page.Rows, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (GroupRow, error) {
		var r GroupRow
		return r, row.Scan(&r.Issuer, &r.Value, &r.FirstSeen, &r.LastSeen, &r.Members)
	})
	if err != nil {
		return GroupsPage{}, fmt.Errorf("reading groups: %w", unavailable(err))
	}
	if len(page.Rows) > limit {
		page.Rows = page.Rows[:limit]
		page.Next = [2]string{page.Rows[limit-1].Value, page.Rows[limit-1].Issuer}
	}
	if err := s.countMembers(ctx, page.Rows); err != nil {
		return GroupsPage{}, err
	}
	for i, r := range page.Rows {
		page.Rows[i].Gives = s.gives(r.Issuer, r.Value)
	}
	if page.Claims, err = s.claimsSeen(ctx); err != nil {
		return GroupsPage{}, err
	}
	page.NeverSeen, page.MoreNeverSeen, err = s.neverSeen(ctx)
	return page, err
}

// gives is what one group gives those who are in it.
func (s *Service) gives(issuer, group string) []access.Grant {
	return s.explain(audit.Actor{Issuer: issuer, Groups: []string{group}})[0].Gives
}

// countMembers fills in how many members each group had at their last sign-in.
func (s *Service) countMembers(ctx context.Context, groups []GroupRow) error {
	values := make([]string, 0, len(groups))
	for _, g := range groups {
		values = append(values, g.Value)
	}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT m.issuer, named.value, count(DISTINCT m.subject) FROM members m, unnest(m.groups) AS named (value)
		WHERE m.last_seen > $2 AND named.value = ANY($1) GROUP BY m.issuer, named.value`, values, s.now().Add(-30*24*time.Hour))
	if err != nil {
		return fmt.Errorf("counting members of groups: %w", unavailable(err))
	}
	var issuer, value string
	var members int
	count := map[[2]string]int{}
	if _, err := pgx.ForEachRow(rows, []any{&issuer, &value, &members}, func() error { count[[2]string{issuer, value}] = members; return nil }); err != nil {
		return fmt.Errorf("counting members of groups: %w", unavailable(err))
	}
	for i, g := range groups {
		groups[i].Members = count[[2]string{g.Issuer, g.Value}]
	}
	return nil
}

// claimsSeen counts how the groups claim was read of late.
func (s *Service) claimsSeen(ctx context.Context) (ClaimsSeen, error) {
	var c ClaimsSeen
	err := s.cfg.DB.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE reading ? 'overage'), count(*) FILTER (WHERE reading->>'state' = 'missing' AND NOT reading ? 'overage'),
			count(*) FILTER (WHERE reading->>'state' = 'wrong_type'), count(*) FILTER (WHERE reading ? 'not_text' OR reading ? 'unusable' OR reading ? 'joined'),
			count(*) FILTER (WHERE reading ? 'left_out')
		FROM (SELECT DISTINCT ON (issuer, subject) reading FROM sessions WHERE created_at > $1 ORDER BY issuer, subject, created_at DESC) last`,
		s.now().Add(-30*24*time.Hour)).Scan(&c.Members, &c.Overage, &c.Missing, &c.WrongType, &c.NotGroups, &c.LeftOut)
	if err != nil {
		return ClaimsSeen{}, fmt.Errorf("counting how claims were read: %w", unavailable(err))
	}
	return c, nil
}

// neverSeen are the groups that a grant names and no sign-in did, and how many more there are.
func (s *Service) neverSeen(ctx context.Context) (groups []GroupRow, more int, err error) {
	var issuers, values []string
	for _, g := range s.cfg.Rights.All() {
		if !g.Email && !slices.Contains(values, g.Via) {
			issuers, values = append(issuers, s.cfg.Rights.Issuer), append(values, g.Via)
		}
	}
	if book := s.keeper.book.Load(); book != nil {
		for group := range book.subjectGroups() {
			issuers, values = append(issuers, group.issuer), append(values, group.name)
		}
	}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT DISTINCT named.value COLLATE "C", named.issuer FROM unnest($1::text[], $2::text[]) AS named (issuer, value)
		WHERE NOT EXISTS (SELECT FROM group_values seen WHERE seen.value = named.value AND (named.issuer = '' OR seen.issuer = named.issuer)) ORDER BY 1, 2`,
		issuers, values)
	if err != nil {
		return nil, 0, fmt.Errorf("reading groups: %w", unavailable(err))
	}
	groups, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (GroupRow, error) {
		var r GroupRow
		return r, row.Scan(&r.Value, &r.Issuer)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading groups: %w", unavailable(err))
	}
	if more = len(groups) - maxNeverSeen; more > 0 {
		groups = groups[:maxNeverSeen]
	}
	for i, g := range groups {
		groups[i].Gives = s.gives(g.Issuer, g.Value)
	}
	return groups, max(more, 0), nil
}

// MayTryClaims returns nil when the member may ask what claims would give.
func (s *Service) MayTryClaims(ctx context.Context, by audit.Actor) error {
	return s.read(ctx, by, ActGroupRead, installation(KindGroup))
}

// Trial is what somebody with an identity would get.
type Trial struct {
	Identity    Identity // as far as a sign-in would keep it
	Rows        []access.Row
	Roles       []string
	Permissions []string
}

// TryClaims tells what a sign-in of the identity would give and why. Nothing is stored or logged, and nobody is
// signed in. *InvalidError when a sign-in would be refused for want of an issuer or subject.
func (s *Service) TryClaims(ctx context.Context, by audit.Actor, id Identity) (Trial, error) {
	if err := s.read(ctx, by, ActGroupRead, installation(KindGroup)); err != nil {
		return Trial{}, err
	}
	id, err := acceptable(id)
	if err != nil {
		return Trial{}, err
	}
	who := audit.Actor{Issuer: id.Issuer, Subject: id.Subject, Email: id.Email, EmailVerified: id.EmailVerified, Groups: id.Groups, Via: audit.ViaBrowser}
	rights := s.rights(who)
	return Trial{Identity: id, Rows: s.explain(who), Roles: rights.Roles(), Permissions: rights.Permissions()}, nil
}
