package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/templates"
)

const pathAccess = "/admin/access"

// accessQuery is what the address may ask: about a place, or about a person.
type accessQuery struct {
	Place       string `form:"place"` // id or name of an account or cluster, as somebody typed it
	Environment string `form:"environment"`
	Account     string `form:"account"`
	Cluster     string `form:"cluster"`
	Issuer      string `form:"issuer"`
	Subject     string `form:"subject"`
	Group       string `form:"group"` // as somebody typed it; its page is below pathGroups
}

func (q accessQuery) address() string {
	return withQuery(pathAccess, given(param{"account", q.Account}, param{"cluster", q.Cluster}, param{"issuer", q.Issuer}, param{"subject", q.Subject}))
}

// accessOfMember is the page of what a member can touch.
func accessOfMember(issuer, subject string) string {
	return accessQuery{Issuer: issuer, Subject: subject}.address()
}

// accessTo is the page of who can touch an account, or a cluster of it.
func accessTo(ref accounts.ClusterRef) string {
	return accessQuery{Account: ref.AccountID.String(), Cluster: ref.ClusterID}.address()
}

// handleAccess handles GET /admin/access.
func (s *Server) handleAccess(c echo.Context) error {
	var q accessQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Place, q.Group = strings.TrimSpace(q.Place), strings.TrimSpace(q.Group)
	switch {
	case q.Environment != "":
		return s.showWhoCanIn(c, accounts.Environment(q.Environment))
	case q.Group != "":
		return s.findGroup(c, q.Group)
	case q.Account != "":
		return s.showWhoCan(c, q)
	case q.Issuer+q.Subject != "":
		return s.showWhatCan(c, q)
	case q.Place != "":
		return s.findPlace(c, q.Place)
	}
	return s.askAccess(c, http.StatusOK, templates.AccessView{})
}

// findPlace leads to the answer for the one place that the text names, and shows the question again with what
// fits where there are several, or none. A place that one may not ask about is none.
func (s *Server) findPlace(c echo.Context, text string) error {
	places, more, err := s.accounts.PlacesToAsk(c.Request().Context(), actorFrom(c), accounts.PlaceQuery{Text: placeTyped(text)})
	if err != nil {
		return fmt.Errorf("look for the place: %w", err)
	}
	exact := slices.DeleteFunc(slices.Clone(places), func(p accounts.Place) bool { return !p.Exact })
	switch {
	case len(exact) == 1:
		return s.redirect(c, accessTo(exact[0].Ref), "")
	case len(places) == 1:
		return s.redirect(c, accessTo(places[0].Ref), "")
	}
	v := templates.AccessView{Typed: cut(text, 200), MoreFound: more}
	for _, p := range places {
		v.Found = append(v.Found, templates.FoundPlace{Name: p.Name, Href: accessTo(p.Ref), Cluster: p.Ref.ClusterID != "", Account: p.AccountName, ID: cmp.Or(p.Ref.ClusterID, p.Ref.AccountID.String())})
	}
	if len(places) == 0 {
		v.NotFound = "No account or cluster that you may ask about has this ID, or this in its name."
		return s.askAccess(c, http.StatusNotFound, v)
	}
	return s.askAccess(c, http.StatusOK, v)
}

// findGroup leads to the page of the group that the text names, and shows the question again when there is none.
func (s *Server) findGroup(c echo.Context, text string) error {
	_, err := s.accounts.GroupCan(c.Request().Context(), actorFrom(c), "", text)
	if errors.Is(err, accounts.ErrNotFound) {
		return s.askAccess(c, http.StatusNotFound, templates.AccessView{
			TypedGroup: cut(text, 200), NoGroup: "No grant and no sign-in that you may see names a group exactly like this, letter case included.",
		})
	}
	if err != nil {
		return fmt.Errorf("look for the group: %w", err)
	}
	return s.redirect(c, groupPath("", text), "")
}

// placeTyped is the id in the address of a page, when somebody pasted that, and else the text.
func placeTyped(text string) string {
	for _, before := range []string{"/clusters/", pathAccounts + "/"} {
		if _, rest, ok := strings.Cut(text, before); ok {
			id, _, _ := strings.Cut(rest, "/")
			id, _, _ = strings.Cut(id, "?")
			return id
		}
	}
	return text
}

// askAccess shows the two questions, with what v has of a search for a place.
func (s *Server) askAccess(c echo.Context, status int, v templates.AccessView) error {
	ctx, by := c.Request().Context(), actorFrom(c)
	v.Page, v.Heading = s.page(c, "Access", "access-ask", "admin"), "Access"
	for _, e := range s.accounts.EnvironmentsToAsk(by) {
		v.Environments = append(v.Environments, templates.Choice{Value: string(e), Label: templates.Words(string(e))})
	}
	places, more, err := s.accounts.PlacesToAsk(ctx, by, accounts.PlaceQuery{})
	if err != nil {
		return fmt.Errorf("list accounts and clusters: %w", err)
	}
	v.MorePlaces = more
	for _, p := range places {
		if p.Ref.ClusterID == "" {
			v.Accounts = append(v.Accounts, templates.Choice{Value: p.Ref.AccountID.String(), Label: p.Name})
		} else {
			v.Clusters++
		}
	}
	if v.SeesGrants = s.accounts.May(by, access.GrantsManage); v.SeesGrants {
		page, err := s.accounts.Grants(ctx, by, accounts.GrantQuery{SubjectKind: accounts.SubjectMember})
		if err != nil {
			return fmt.Errorf("list grants of members: %w", err)
		}
		for _, g := range page.Grants {
			who := s.grantRow(c, g).Who
			if !slices.Contains(v.People, who) {
				v.People = append(v.People, who)
			}
		}
		if v.Groups, err = s.grantedGroups(c); err != nil {
			return err
		}
		slices.SortFunc(v.People, func(a, b templates.SubjectView) int {
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
	}
	if s.accounts.May(by, access.MembersManage) {
		v.MorePeople = templates.Link{Label: "All members", Href: pathMembers}
	}
	return s.render(c, status, templates.Access(v))
}

// showWhoCan answers who can touch an account or a cluster.
func (s *Server) showWhoCan(c echo.Context, q accessQuery) error {
	id, err := uuid.Parse(q.Account)
	if err != nil {
		return fmt.Errorf("account in the query: %w", accounts.ErrNotFound)
	}
	ref := accounts.ClusterRef{AccountID: id, ClusterID: q.Cluster}
	ctx, by := c.Request().Context(), actorFrom(c)
	holders, err := s.accounts.WhoCan(ctx, by, ref)
	if err != nil {
		return fmt.Errorf("who can touch it: %w", err)
	}
	name, crumbs, err := s.placeNamed(c, ref)
	if err != nil {
		return err
	}
	v := templates.AccessView{
		Page: s.page(c, "Who can touch "+name+"?", "access-who", "admin"), Crumbs: crumbs, Heading: "Who can touch " + name + "?", Asked: true,
		Lead: "Everyone whom a grant in force reaches here. Whoever is in one of the groups counts, once they have signed in with it.",
	}
	if s.accounts.May(by, access.GrantsManage) {
		v.GiveHref = giveOn(ref)
	}
	for _, h := range holders {
		v.Holders = append(v.Holders, s.holderView(c, h))
	}
	if q.Cluster == "" {
		clusters, more, err := s.accounts.PlacesToAsk(ctx, by, accounts.PlaceQuery{Account: id})
		if err != nil {
			return fmt.Errorf("list the account's clusters: %w", err)
		}
		v.Account, v.MorePlaces = q.Account, more
		for _, p := range clusters {
			v.Narrow = append(v.Narrow, templates.Choice{Value: p.Ref.ClusterID, Label: p.Name})
		}
	}
	return s.render(c, http.StatusOK, templates.Access(v))
}

// grantedGroups are the groups that the first grants name which the member may see, each once.
func (s *Server) grantedGroups(c echo.Context) ([]string, error) {
	page, err := s.accounts.Grants(c.Request().Context(), actorFrom(c), accounts.GrantQuery{SubjectKind: accounts.SubjectGroup})
	if err != nil {
		return nil, fmt.Errorf("list grants of groups: %w", err)
	}
	var groups []string
	for _, g := range page.Grants {
		groups = append(groups, g.Subject)
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// showWhoCanIn answers who can touch an environment.
func (s *Server) showWhoCanIn(c echo.Context, environment accounts.Environment) error {
	by := actorFrom(c)
	holders, err := s.accounts.WhoCanIn(c.Request().Context(), by, environment)
	if err != nil {
		return fmt.Errorf("who can touch it: %w", err)
	}
	heading := "Who can touch the environment " + string(environment) + "?"
	v := templates.AccessView{
		Page: s.page(c, heading, "access-who", "admin"), Crumbs: []templates.Link{{Label: "Access", Href: pathAccess}}, Heading: heading, Asked: true,
		Lead:      "Everyone whom a grant in force reaches here: all of it, with the accounts that come into it later, or a part. Whoever is in one of the groups counts, once they have signed in with it.",
		PartWords: "On a part of it only: the grants beside say which.",
	}
	if s.accounts.May(by, access.GrantsManage) {
		v.GiveHref = withQuery(pathGrantNew, url.Values{"scope_kind": {string(access.ScopeEnvironment)}, "scope": {string(environment)}})
	}
	for _, h := range holders {
		v.Holders = append(v.Holders, s.holderView(c, h))
	}
	return s.render(c, http.StatusOK, templates.Access(v))
}

// placeNamed is the name of an account or cluster that the member may read, with the way back to it.
func (s *Server) placeNamed(c echo.Context, ref accounts.ClusterRef) (string, []templates.Link, error) {
	ctx, by := c.Request().Context(), actorFrom(c)
	if ref.ClusterID != "" {
		d, err := s.accounts.Cluster(ctx, by, ref)
		if err != nil {
			return "", nil, fmt.Errorf("read cluster: %w", err)
		}
		return d.Cluster.Name, []templates.Link{{Label: "Clusters", Href: pathHome}, {Label: d.Cluster.Name, Href: clusterPath(ref.AccountID, ref.ClusterID)}}, nil
	}
	d, err := s.accounts.Account(ctx, by, ref.AccountID)
	if err != nil {
		return "", nil, fmt.Errorf("read account: %w", err)
	}
	return d.Name, accountCrumbs(d.Account), nil
}

// giveOn is the form of a new grant on an account or a cluster.
func giveOn(ref accounts.ClusterRef) string {
	kind, scope := access.ScopeAccount, ref.AccountID.String()
	if ref.ClusterID != "" {
		kind, scope = access.ScopeCluster, scope+"/"+ref.ClusterID
	}
	return withQuery(pathGrantNew, url.Values{"scope_kind": {string(kind)}, "scope": {scope}})
}

func (s *Server) holderView(c echo.Context, h accounts.Holder) templates.HolderView {
	v := templates.HolderView{
		Who:         s.subjectView(c, h.Kind, h.Issuer, h.Subject, h.Name, h.Email),
		Permissions: permissionGroups(h.Permissions), Few: inShort(h.Permissions), Blocked: h.Blocked, Part: h.Part,
		Members: h.Members, MoreMembers: h.MemberCount - len(h.Members),
	}
	for _, g := range h.Grants {
		row := s.grantRow(c, g)
		row.Who = templates.SubjectView{} // the row of the table says it
		v.Grants = append(v.Grants, row)
	}
	return v
}

// weighty are the permissions that are told first of whoever can touch something, in the order in which
// they are.
var weighty = []struct{ permission, does string }{
	{access.WriteClusters, "changes clusters"}, {access.DeleteClusters, "deletes clusters"}, {access.WriteAPIKeys, "makes keys"},
	{access.DeleteAPIKeys, "deletes keys"}, {"restore:backups", "restores backups"}, {access.LogsRead, "reads logs"},
	{access.AccountsManage, "manages the account and its key"}, {access.GrantsManage, "gives rights"},
}

// inShort says what of a set of permissions matters most.
func inShort(permissions []string) []string {
	var does []string
	for _, w := range weighty {
		if slices.Contains(permissions, w.permission) {
			does = append(does, w.does)
		}
	}
	if len(does) > 0 {
		does[0] = strings.ToUpper(does[0][:1]) + does[0][1:]
	}
	return does
}

// showWhatCan answers what a person can touch.
func (s *Server) showWhatCan(c echo.Context, q accessQuery) error {
	by := actorFrom(c)
	a, err := s.accounts.WhatCan(c.Request().Context(), by, q.Issuer, q.Subject)
	if err != nil {
		return fmt.Errorf("what they can touch: %w", err)
	}
	v := templates.AccessView{
		Page:   s.page(c, "What can "+a.Name+" touch?", "access-what", "admin"),
		Crumbs: []templates.Link{{Label: "Access", Href: pathAccess}}, Heading: "What can " + a.Name + " touch?", Asked: true,
	}
	who := s.subjectView(c, accounts.SubjectMember, a.Issuer, a.Subject, a.Name, a.Email)
	v.Who = &who
	about := []string{}
	if a.Email != "" && a.Email != a.Name {
		about = append(about, a.Email)
	}
	about = append(about, "known to "+a.Issuer+" as "+a.Subject)
	v.Lead = strings.Join(about, ", ") + ". Groups are those of the last sign-in."
	if a.Blocked {
		v.Notes = append(v.Notes, a.Name+" is blocked: nothing of this counts.")
	}
	if a.Partial {
		v.Notes = append(v.Notes, "You see what lies where you give rights. There may be more elsewhere.")
	}
	if s.accounts.May(by, access.GrantsManage) && (a.Issuer != by.Issuer || a.Subject != by.Subject) {
		v.GiveHref = withQuery(pathGrantNew, url.Values{"subject_kind": {accounts.SubjectMember}, "subject": {a.Issuer + "|" + a.Subject}})
	}
	for _, g := range a.Grants {
		row := s.grantRow(c, g)
		if !s.accounts.May(by, access.GrantsManage) { // roles have no page for them
			row.RoleHref = ""
		}
		v.Grants = append(v.Grants, row)
	}
	for _, one := range a.Scopes {
		v.Reach = append(v.Reach, templates.ReachView{Where: grantPlace(string(one.Kind), one.Scope, one.Name), Permissions: permissionGroups(one.Permissions)})
	}
	return s.render(c, http.StatusOK, templates.Access(v))
}

// whoCanHref leads from the page of an account or a cluster to who can touch it, for those who may ask.
func (s *Server) whoCanHref(c echo.Context, ref accounts.ClusterRef) string {
	if !s.accounts.MayAskWhoCan(c.Request().Context(), actorFrom(c), ref) {
		return ""
	}
	return accessTo(ref)
}

// refusal explains a refusal: what is missing, what would give it, what the member holds there and whom to
// ask. nil where there is no more to say than that, or the explanation cannot be had: the refusal stands.
func (s *Server) refusal(c echo.Context, err error) *templates.RefusalView {
	forbidden, ok := errors.AsType[*accounts.ForbiddenError](err)
	if !ok {
		return nil
	}
	by, ok := optionalActor(c)
	if !ok {
		return nil
	}
	why, err := s.accounts.WhyMay(c.Request().Context(), by, forbidden.Act, refusedRef(c))
	if err == nil && why.Allowed && forbidden.Missing == access.GrantsManage { // the act would be allowed, but for what it would do to rights
		why, err = s.accounts.WhyMay(c.Request().Context(), by, accounts.ActGrantCreate.Name, refusedRef(c))
	}
	if err != nil || why.Allowed {
		return nil
	}
	return s.refusalView(why)
}

func (s *Server) refusalView(why accounts.Why) *templates.RefusalView {
	v := &templates.RefusalView{Where: why.Where, Held: permissionGroups(why.Held)}
	for _, p := range strings.FieldsFunc(why.Missing, func(r rune) bool { return strings.ContainsRune(" ()", r) }) {
		if says := permissionSays(p); says != "" {
			v.Missing = append(v.Missing, templates.Pair{Name: p, Value: says})
		}
	}
	for i, m := range v.Missing {
		if why.Whole && slices.Contains(why.Somewhere, m.Name) {
			v.Missing[i].Value = strings.TrimSpace(m.Value + " You hold it on a part of the console; this needs it on everything.")
		}
	}
	if len(v.Missing) == 0 {
		v.Missing = []templates.Pair{{Name: why.Missing}}
	}
	for _, r := range why.Roles {
		v.Roles = append(v.Roles, templates.Pair{Name: r.Name, Value: r.Description})
	}
	for _, h := range why.Givers {
		v.Ask = append(v.Ask, h.Name)
	}
	if len(v.Ask) == 0 {
		v.Ask = s.opts.Contact
	}
	return v
}

// pathWhy explains an act that is not offered.
const pathWhy = "/me/why"

// whyHref leads from an act that is not offered for want of a right to what is missing and whom to ask. It is no try:
// nothing of it is recorded as a refusal.
func whyHref(ref accounts.ClusterRef, o accounts.Offer) string {
	if !o.Lacking() {
		return ""
	}
	q := given(param{"act", o.Act}, param{"cluster", ref.ClusterID})
	if ref.AccountID != uuid.Nil {
		q.Set("account", ref.AccountID.String())
	}
	return withQuery(pathWhy, q)
}

// handleWhy handles GET /me/why.
func (s *Server) handleWhy(c echo.Context) error {
	var q struct {
		Act     string `form:"act"`
		Account string `form:"account"`
		Cluster string `form:"cluster"`
	}
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	ref := accounts.ClusterRef{ClusterID: q.Cluster}
	if q.Account+q.Cluster != "" {
		var err error
		if ref.AccountID, err = uuid.Parse(q.Account); err != nil || ref.AccountID == uuid.Nil {
			return fmt.Errorf("account in the query: %w", accounts.ErrNotFound)
		}
	}
	why, err := s.accounts.WhyMay(c.Request().Context(), actorFrom(c), q.Act, ref)
	if err != nil {
		return fmt.Errorf("why they may not: %w", err)
	}
	v := templates.WhyNotView{Page: s.page(c, templates.ActWords(why.Act)+": why may I not?", "why-not", ""), Back: backTo(ref)}
	if !why.Allowed {
		v.Refusal = s.refusalView(why)
	}
	return s.render(c, http.StatusOK, templates.WhyNot(v))
}

// wayBack leads from a refusal to the account or cluster that it is about.
func wayBack(c echo.Context) *templates.Link { return backTo(refusedRef(c)) }

func backTo(ref accounts.ClusterRef) *templates.Link {
	switch {
	case ref.ClusterID != "":
		return &templates.Link{Label: "Back to the cluster", Href: clusterPath(ref.AccountID, ref.ClusterID)}
	case ref.AccountID != uuid.Nil:
		return &templates.Link{Label: "Back to the account", Href: accountPath(ref.AccountID)}
	}
	return nil
}

// refusedRef is the account or cluster that the address of the request is about; zero for none.
func refusedRef(c echo.Context) accounts.ClusterRef {
	if !strings.HasPrefix(c.Path(), pathAccounts+"/:id") {
		return accounts.ClusterRef{}
	}
	id, err := accountID(c)
	if err != nil {
		return accounts.ClusterRef{}
	}
	ref := accounts.ClusterRef{AccountID: id}
	if cluster, err := url.PathUnescape(c.Param("cluster")); err == nil {
		ref.ClusterID = cluster
	}
	return ref
}
