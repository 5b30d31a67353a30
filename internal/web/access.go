package web

import (
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
	Account string `form:"account"`
	Cluster string `form:"cluster"`
	Issuer  string `form:"issuer"`
	Subject string `form:"subject"`
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
	switch {
	case q.Account != "":
		return s.showWhoCan(c, q)
	case q.Issuer+q.Subject != "":
		return s.showWhatCan(c, q)
	}
	return s.askAccess(c)
}

// askAccess shows the two questions.
func (s *Server) askAccess(c echo.Context) error {
	ctx, by := c.Request().Context(), actorFrom(c)
	v := templates.AccessView{Page: s.page(c, "Access", "access-ask", "admin"), Heading: "Access"}
	list, err := s.accounts.AccountsPage(ctx, by, accounts.AccountsQuery{})
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	for _, a := range list.Accounts {
		v.Accounts = append(v.Accounts, templates.Choice{Value: a.ID.String(), Label: a.Name})
	}
	if s.accounts.May(by, access.GrantsManage) {
		page, err := s.accounts.Grants(ctx, by, accounts.GrantQuery{SubjectKind: accounts.SubjectMember})
		if err != nil {
			return fmt.Errorf("list grants of members: %w", err)
		}
		for _, g := range page.Grants {
			who := grantRow(g).Who
			if !slices.Contains(v.People, who) {
				v.People = append(v.People, who)
			}
		}
		slices.SortFunc(v.People, func(a, b templates.SubjectView) int {
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
	}
	if s.accounts.May(by, access.MembersManage) {
		v.MorePeople = templates.Link{Label: "All members", Href: pathMembers}
	}
	return s.render(c, http.StatusOK, templates.Access(v))
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
		v.Holders = append(v.Holders, holderView(h))
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

func holderView(h accounts.Holder) templates.HolderView {
	v := templates.HolderView{
		Who:         templates.SubjectView{Kind: h.Kind, Name: h.Name, Issuer: h.Issuer},
		Permissions: permissionGroups(h.Permissions), Few: inShort(h.Permissions), Blocked: h.Blocked, Part: h.Part,
	}
	if h.Kind == accounts.SubjectMember {
		v.Who.Detail, v.Who.Href = h.Subject, accessOfMember(h.Issuer, h.Subject)
	}
	for _, g := range h.Grants {
		row := grantRow(g)
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
		Who: &templates.SubjectView{Kind: accounts.SubjectMember, Name: a.Name, Detail: a.Subject, Issuer: a.Issuer},
	}
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
		row := grantRow(g)
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
	if err != nil || why.Allowed {
		return nil
	}
	v := &templates.RefusalView{Where: why.Where, Held: permissionGroups(why.Held)}
	for _, p := range strings.FieldsFunc(why.Missing, func(r rune) bool { return strings.ContainsRune(" ()", r) }) {
		if says := permissionSays(p); says != "" {
			v.Missing = append(v.Missing, templates.Pair{Name: p, Value: says})
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
