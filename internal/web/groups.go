package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

const (
	pathGroups    = "/admin/groups"
	pathGroupsTry = "/admin/groups/try"
	pathGroup     = "/admin/groups/show"
)

// Bounds of what is shown and taken.
const (
	maxNothingShown = 500       // groups that give nothing, on one page
	maxPasted       = 768 << 10 // bytes of pasted claims; an ID token that is read holds no more
	maxGroupMembers = 20        // of a group, on its page
)

// groupPath is the page of a group; an empty issuer is the console's own provider.
func groupPath(issuer, group string) string {
	return withQuery(pathGroup, given(param{"group", group}, param{"issuer", issuer}))
}

// adminLinks are the pages for those who administer the console, as far as the member may open them: some are about
// everything, and not for who holds the right in a part of the console.
func (s *Server) adminLinks(by audit.Actor, permissions []string) []templates.Link {
	var links []templates.Link
	everywhere := func(act accounts.Act) bool { return s.accounts.MayEverywhere(by, act) }
	manages, members := slices.Contains(permissions, access.GrantsManage), slices.Contains(permissions, access.MembersManage)
	if manages {
		links = append(links, templates.Link{Label: "Grants", Href: pathGrants}, templates.Link{Label: "Roles", Href: pathRoles})
	}
	if manages || members {
		links = append(links, templates.Link{Label: "Access", Href: pathAccess})
	}
	if everywhere(accounts.ActMemberRead) {
		links = append(links, templates.Link{Label: "Members", Href: pathMembers})
	}
	if everywhere(accounts.ActGroupRead) {
		links = append(links, templates.Link{Label: "Groups", Href: pathGroups})
	}
	if everywhere(accounts.ActReviewRead) {
		links = append(links, templates.Link{Label: "Access review", Href: pathReview})
	}
	if slices.Contains(permissions, access.AccountsManage) {
		links = append(links, templates.Link{Label: "Upstream", Href: pathUpstream})
	}
	return links
}

// groupsForm is the query of the page.
type groupsForm struct {
	Text   string `form:"q"`
	After  string `form:"after"`
	Issuer string `form:"issuer"`
}

// handleGroups handles GET /admin/groups.
func (s *Server) handleGroups(c echo.Context) error {
	var form groupsForm
	if err := bindQuery(c, &form); err != nil {
		return err
	}
	text := cut(strings.TrimSpace(form.Text), 200)
	page, err := s.accounts.Groups(c.Request().Context(), actorFrom(c), accounts.GroupsQuery{Text: text, After: [2]string{form.After, form.Issuer}})
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	v := templates.GroupsView{
		Page: s.page(c, "Groups", "admin-groups", "admin"), Text: text, Total: page.Total, All: page.All, Full: page.Full,
		Claim: s.opts.GroupsClaim, Rows: seenGroups(page.Rows), NeverSeen: seenGroups(page.NeverSeen), MoreNeverSeen: page.MoreNeverSeen,
	}
	if by := actorFrom(c); s.accounts.May(by, access.GrantsManage) {
		for i, g := range v.Rows {
			// Nobody gives a right to a group of their own.
			if g.Issuer == s.provider.issuer && !slices.Contains(by.Groups, g.Value) {
				v.Rows[i].GiveHref = withQuery(pathGrantNew, url.Values{"subject_kind": {accounts.SubjectGroup}, "subject": {g.Value}})
			}
		}
	}
	if s.accounts.MaySeeMembers(actorFrom(c)) {
		for i, g := range v.Rows {
			v.Rows[i].OfHref = membersQuery{Group: g.Value, Issuer: g.Issuer}.address()
		}
	}
	v.Troubles = claimTroubles(page.Claims, s.opts.GroupsClaim)
	v.Providers = slices.ContainsFunc(page.Rows, func(g accounts.GroupRow) bool { return g.Issuer != s.provider.issuer })
	at := func(after [2]string) string {
		query := url.Values{}
		for name, value := range map[string]string{"q": text, "after": after[0], "issuer": after[1]} {
			if value != "" {
				query.Set(name, value)
			}
		}
		return strings.TrimSuffix(pathGroups+"?"+query.Encode(), "?")
	}
	if form.After != "" {
		v.First = at([2]string{})
	}
	if page.Next != [2]string{} {
		v.Next = at(page.Next)
	}
	return s.render(c, http.StatusOK, templates.Groups(v))
}

// handleGroup handles GET /admin/groups/show: what a group gives, and who was seen with it.
func (s *Server) handleGroup(c echo.Context) error {
	var q struct {
		Group  string `form:"group"`
		Issuer string `form:"issuer"`
	}
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	by := actorFrom(c)
	a, err := s.accounts.GroupCan(c.Request().Context(), by, q.Issuer, q.Group)
	if err != nil {
		return fmt.Errorf("what the group can touch: %w", err)
	}
	v := templates.GroupView{
		Page: s.page(c, "Group "+a.Group, "group-show", sectionAdmin), Group: a.Group, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen, Partial: a.Partial,
		Crumbs: []templates.Link{{Label: "Access", Href: pathAccess}},
	}
	if s.accounts.MayEverywhere(by, accounts.ActGroupRead) {
		v.Crumbs = []templates.Link{{Label: "Groups", Href: pathGroups}}
	}
	if a.Issuer != s.provider.issuer {
		v.Issuer = a.Issuer
	}
	// Nobody gives a right to a group of their own, and a grant names one of the console's own provider.
	if s.accounts.May(by, access.GrantsManage) && v.Issuer == "" && !slices.Contains(by.Groups, a.Group) {
		v.GiveHref = withQuery(pathGrantNew, url.Values{"subject_kind": {accounts.SubjectGroup}, "subject": {a.Group}})
	}
	for _, g := range a.Grants {
		row := s.grantRow(c, g)
		row.Who.Href, row.Who.Members = "", ""        // this page
		if !s.accounts.May(by, access.GrantsManage) { // roles have no page for them
			row.RoleHref = ""
		}
		v.Grants = append(v.Grants, row)
	}
	for _, one := range a.Scopes {
		v.Reach = append(v.Reach, templates.ReachView{Where: grantPlace(string(one.Kind), one.Scope, one.Name), Permissions: permissionGroups(one.Permissions)})
	}
	if v.SeesMembers = s.accounts.MaySeeMembers(by); v.SeesMembers {
		page, err := s.accounts.Members(c.Request().Context(), by, accounts.MemberQuery{Group: a.Group, GroupIssuer: a.Issuer, Limit: maxGroupMembers})
		if err != nil {
			return fmt.Errorf("list members of the group: %w", err)
		}
		for _, m := range page.Members {
			v.Members = append(v.Members, memberRow(m, m.Issuer == by.Issuer && m.Subject == by.Subject))
		}
		v.MemberCount, v.AllMembers = page.Total, membersQuery{Group: a.Group, Issuer: a.Issuer}.address()
	}
	return s.render(c, http.StatusOK, templates.Group(v))
}

// claimTroubles says what was wrong with the groups claim, and of how many members.
func claimTroubles(seen accounts.ClaimsSeen, claim string) []string {
	var all []string
	say := func(members int, words string) {
		if members > 0 {
			all = append(all, fmt.Sprintf("%d of %s: %s", members, templates.Count(seen.Members, "member"), words))
		}
	}
	say(seen.Overage, "the provider left groups out, because there are too many of them.")
	say(seen.Missing, "the ID token had no claim "+claim+".")
	say(seen.WrongType, "the claim "+claim+" was neither a list nor a text, so no group was read.")
	say(seen.NotGroups, "values in "+claim+" are no names of groups, or several in one text.")
	say(seen.LeftOut, "more groups than the console keeps.")
	return all
}

func seenGroups(rows []accounts.GroupRow) []templates.SeenGroup {
	all := make([]templates.SeenGroup, 0, len(rows))
	for _, r := range rows {
		all = append(all, templates.SeenGroup{
			Issuer: r.Issuer, Value: r.Value, Href: groupPath(r.Issuer, r.Value), Gives: givings(r.Gives, nil), Members: r.Members, FirstSeen: r.FirstSeen, LastSeen: r.LastSeen,
		})
	}
	return all
}

func givings(all []access.Grant, named placeNames) []templates.Giving {
	out := make([]templates.Giving, 0, len(all))
	for _, g := range all {
		out = append(out, templates.Giving{Role: g.Role.Name, Where: scopeWords(g.Scope, named), Source: g.Source})
	}
	return out
}

// placeNames tells what an account or cluster is called; empty when that is not known.
type placeNames func(accountID uuid.UUID, clusterID string) string

// mostNamed is how many places one page looks up to call them by their names.
const mostNamed = 20

// namesFor are the names of the places that the member may read.
func (s *Server) namesFor(c echo.Context) placeNames {
	ctx, by, asked := c.Request().Context(), actorFrom(c), 0
	return func(accountID uuid.UUID, clusterID string) string {
		if asked++; asked > mostNamed {
			return ""
		}
		if clusterID == "" {
			if d, err := s.accounts.Account(ctx, by, accountID); err == nil {
				return d.Name
			}
			return ""
		}
		if d, err := s.accounts.Cluster(ctx, by, accounts.ClusterRef{AccountID: accountID, ClusterID: clusterID}); err == nil {
			return d.Cluster.Name
		}
		return ""
	}
}

// scopeWords says in short where a grant holds. A place without a name is counted. Without names it tells
// no labels either.
func scopeWords(scope access.Scope, named placeNames) string {
	switch {
	case scope.Everything:
		return "everything"
	case scope.None():
		return "nowhere"
	}
	var parts []string
	if len(scope.Environments) > 0 {
		parts = append(parts, strings.Join(scope.Environments, ", "))
	}
	places := func(noun string, n int, at func(i int) string) {
		unnamed := 0
		for i := range n {
			name := ""
			if named != nil {
				name = at(i)
			}
			if name == "" {
				unnamed++
			} else {
				parts = append(parts, noun+" "+name)
			}
		}
		if unnamed > 0 {
			parts = append(parts, templates.Count(unnamed, noun))
		}
	}
	places("account", len(scope.Accounts), func(i int) string { return named(scope.Accounts[i], "") })
	places("cluster", len(scope.Clusters), func(i int) string { return named(scope.Clusters[i].AccountID, scope.Clusters[i].ClusterID) })
	for _, selector := range scope.Labels {
		if named == nil {
			parts = append(parts, "by labels")
			break
		}
		parts = append(parts, "clusters labelled "+selector.String())
	}
	return strings.Join(parts, ", ")
}

// mappingOf is the table that tells how rights come about.
func mappingOf(rows []access.Row, named placeNames) templates.Mapping {
	var m templates.Mapping
	for _, r := range rows {
		what := "group"
		switch r.By {
		case access.ByEmail:
			what = "e-mail address"
		case access.ByMember:
			what = "the member"
		}
		row := templates.MappingRow{What: what, Value: r.Value, Gives: givings(r.Gives, named), Why: r.Why, Bound: r.Bound}
		switch {
		case len(r.Gives) > 0:
			m.Giving = append(m.Giving, row)
		case r.By == access.ByGroup && len(m.Nothing) >= maxNothingShown:
			m.More++
		default:
			m.Nothing = append(m.Nothing, row)
		}
	}
	return m
}

// claimsForm is a dry run.
type claimsForm struct {
	Claims string `form:"claims"`
}

// handleGroupsTry handles GET /admin/groups/try.
func (s *Server) handleGroupsTry(c echo.Context) error {
	if err := s.accounts.MayTryClaims(c.Request().Context(), actorFrom(c)); err != nil {
		return fmt.Errorf("try claims: %w", err)
	}
	return s.showClaims(c, http.StatusOK, templates.ClaimsTryView{})
}

// handleGroupsTryClaims handles POST /admin/groups/try. What was pasted is in the answer and nowhere else.
func (s *Server) handleGroupsTryClaims(c echo.Context) error {
	// The right comes first: what is wrong with the claims is not told to those who may not try any.
	if err := s.accounts.MayTryClaims(c.Request().Context(), actorFrom(c)); err != nil {
		return fmt.Errorf("try claims: %w", err)
	}
	var form claimsForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	v := templates.ClaimsTryView{Form: templates.ClaimsForm{Pasted: form.Claims}}
	if looksLikeToken([]byte(form.Claims)) {
		v.Form = templates.ClaimsForm{Error: "There is a token in this, so it was thrown away unread. Paste only the payload, which is JSON: a token can be used by whoever has it."}
		return s.showClaims(c, http.StatusUnprocessableEntity, v)
	}
	all, problem := pastedClaims(form.Claims)
	if problem != "" {
		v.Form.Error = problem
		return s.showClaims(c, http.StatusUnprocessableEntity, v)
	}
	id := identityOf(all, s.provider.groupsClaim)
	// What the console's own provider would vouch for; anything else is refused before it gets so far.
	id.Issuer, id.Subject = s.provider.issuer, textOf(all["sub"])
	if id.Subject == "" || len(id.Subject) > maxSubject || hasControl(id.Subject) {
		id.Subject = "pasted"
	}
	trial, err := s.accounts.TryClaims(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("try claims: %w", err)
	}
	v.Result = &templates.ClaimsResult{
		Refused: s.provider.refusals(all), Problems: trial.Identity.Reading.Problems(), Email: trial.Identity.Email, Verified: trial.Identity.EmailVerified,
		Groups: len(trial.Identity.Groups), Path: strings.Join(trial.Identity.Reading.Path, " → "), Roles: trial.Roles,
		Permissions: permissionGroups(trial.Permissions), Mapping: mappingOf(trial.Rows, nil),
	}
	return s.showClaims(c, http.StatusOK, v)
}

func (s *Server) showClaims(c echo.Context, status int, v templates.ClaimsTryView) error {
	v.Page = s.page(c, "What would somebody get?", "admin-groups-try", "admin")
	v.Crumbs = []templates.Link{{Label: "Groups", Href: pathGroups}}
	v.Claim = s.opts.GroupsClaim
	return s.render(c, status, templates.ClaimsTry(v))
}

// pastedClaims reads an ID token's payload. What is wrong with it is said without quoting it.
func pastedClaims(text string) (all map[string]json.RawMessage, problem string) {
	if strings.TrimSpace(text) == "" {
		return nil, "Paste the claims."
	}
	if len(text) > maxPasted {
		return nil, "This is over 768 KiB, more than an ID token that is read can hold."
	}
	dec := json.NewDecoder(strings.NewReader(text))
	err := dec.Decode(&all)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return nil, "There is more after the JSON object. Paste one object."
		}
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := []byte(text[:min(max(int(syntax.Offset)-1, 0), len(text))])
		return nil, fmt.Sprintf("This is not JSON: line %d cannot be read.", 1+bytes.Count(before, []byte("\n")))
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, "This is not JSON: it ends too early."
	case err != nil, all == nil:
		return nil, "This is JSON, but not an object of claims."
	}
	return all, ""
}

// refusals tells why a token with these claims would not sign anybody in, as far as claims alone
// can tell. What is not among them counts as left out of what was pasted.
func (p *provider) refusals(all map[string]json.RawMessage) []string {
	var why []string
	if raw, told := all["iss"]; told && textOf(raw) != p.issuer {
		why = append(why, "iss is not "+p.issuer+", the only provider that this console trusts.")
	}
	if raw, told := all["aud"]; told {
		var several []string
		if json.Unmarshal(raw, &several) != nil {
			several = []string{textOf(raw)}
		}
		if !slices.Contains(several, p.clientID) {
			why = append(why, "aud does not name "+p.clientID+", this console: the token is for another application.")
		}
	}
	if !sourcesFit(all) {
		why = append(why, "_claim_names and _claim_sources do not fit each other.")
	}
	if raw, told := all["sub"]; told {
		if sub := textOf(raw); sub == "" || len(sub) > maxSubject || hasControl(sub) {
			why = append(why, "sub is not a text of 1 to 255 bytes.")
		}
	}
	return why
}

// sourcesFit reports whether each claim that is to be had elsewhere has its source, as verifying an ID token asks.
func sourcesFit(all map[string]json.RawMessage) bool {
	var names map[string]string
	var sources map[string]struct{}
	for claim, into := range map[string]any{"_claim_names": &names, "_claim_sources": &sources} {
		if raw, told := all[claim]; told && json.Unmarshal(raw, into) != nil {
			return false
		}
	}
	for _, source := range names {
		if _, ok := sources[source]; !ok {
			return false
		}
	}
	return true
}
