package web

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/templates"
)

const (
	pathGrants   = "/admin/grants"
	pathGrantNew = "/admin/grants/new"
)

func grantPath(id uuid.UUID) string { return pathGrants + "/" + id.String() }

// grantID reads the grant of the path. What is no id is no grant.
func grantID(c echo.Context) (uuid.UUID, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return uuid.Nil, fmt.Errorf("grant in the path: %w", accounts.ErrNotFound)
	}
	return id, nil
}

// grantsQuery is what the address of the list of grants may say.
type grantsQuery struct {
	Text        string `form:"q"`
	State       string `form:"state"`
	SubjectKind string `form:"subject_kind"`
	Subject     string `form:"subject"`
	Role        string `form:"role"`
	ScopeKind   string `form:"scope_kind"`
	Scope       string `form:"scope"`
	After       string `form:"after"`
}

// address is the canonical address of the list narrowed like this.
func (q grantsQuery) address() string {
	return withQuery(pathGrants, given(
		param{"q", q.Text}, param{"state", q.State}, param{"subject_kind", q.SubjectKind}, param{"subject", q.Subject}, param{"role", q.Role},
		param{"scope_kind", q.ScopeKind}, param{"scope", q.Scope}, param{"after", q.After},
	))
}

// from is the address of the page that comes after a place of the list; the first one after none.
func (q grantsQuery) from(after string) string {
	q.After = after
	return q.address()
}

func (q grantsQuery) domain() accounts.GrantQuery {
	return accounts.GrantQuery{
		Text: q.Text, State: q.State, SubjectKind: q.SubjectKind, Subject: q.Subject, Role: q.Role, ScopeKind: q.ScopeKind, Scope: q.Scope, After: q.After,
	}
}

// handleGrants handles GET /admin/grants.
func (s *Server) handleGrants(c echo.Context) error {
	var q grantsQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = cut(strings.TrimSpace(q.Text), 200)
	ctx, by := c.Request().Context(), actorFrom(c)
	page, err := s.accounts.Grants(ctx, by, q.domain())
	if err != nil {
		return fmt.Errorf("list grants: %w", err)
	}
	roles, err := s.accounts.Roles(ctx, by)
	if err != nil {
		return fmt.Errorf("list roles: %w", err)
	}
	v := templates.GrantsView{
		Page: s.page(c, "Grants", "grants-index", "admin"), Total: page.Total, May: true,
		Filter: grantsFilter(q, page.State, roles),
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	for _, g := range page.Grants {
		v.Rows = append(v.Rows, s.grantRow(c, g))
	}
	// Who just gave a right to an address looks for it here.
	if !v.Filter.Active && q.After == "" {
		waiting, err := s.accounts.Grants(ctx, by, accounts.GrantQuery{State: accounts.GrantsPending})
		if err != nil {
			return fmt.Errorf("count grants that wait: %w", err)
		}
		v.Waiting, v.WaitingHref = waiting.Total, grantsQuery{State: accounts.GrantsPending}.address()
	}
	return s.render(c, http.StatusOK, templates.Grants(v))
}

func grantsFilter(q grantsQuery, state string, roles []accounts.RoleDetail) templates.GrantsFilter {
	choose := func(name, label, all, chosen string, choices ...templates.Choice) templates.Select {
		for i := range choices {
			choices[i].Selected = choices[i].Value == chosen
		}
		return templates.Select{Name: name, Label: label, Any: all, Choices: choices}
	}
	named := make([]templates.Choice, 0, len(roles))
	for _, r := range roles {
		named = append(named, templates.Choice{Value: r.ID, Label: r.Name})
	}
	f := templates.GrantsFilter{
		Text: q.Text, Active: q.Text+q.SubjectKind+q.Subject+q.Role+q.ScopeKind+q.Scope != "" || state != accounts.GrantsLive,
		State: choose("state", "State", "", state,
			templates.Choice{Value: accounts.GrantsLive, Label: "In force"}, templates.Choice{Value: accounts.GrantsPending, Label: "Waiting"},
			templates.Choice{Value: accounts.GrantsExpired, Label: "Expired"}, templates.Choice{Value: accounts.GrantsEnded, Label: "Ended"},
			templates.Choice{Value: accounts.GrantsAll, Label: "All"}),
		SubjectKind: choose("subject_kind", "To", "Anybody", q.SubjectKind,
			templates.Choice{Value: accounts.SubjectGroup, Label: "Groups"}, templates.Choice{Value: accounts.SubjectMember, Label: "Members"},
			templates.Choice{Value: accounts.SubjectEmail, Label: "Addresses"}),
		Role: choose("role", "Role", "Any", q.Role, named...),
		Kind: choose("scope_kind", "Where", "Anywhere", q.ScopeKind, scopeKinds()...),
	}
	// What no field of the form asks is kept, and said.
	if q.Subject != "" {
		f.Hidden, f.Only = append(f.Hidden, templates.Pair{Name: "subject", Value: q.Subject}), append(f.Only, "to "+q.Subject)
	}
	if q.Scope != "" {
		f.Hidden, f.Only = append(f.Hidden, templates.Pair{Name: "scope", Value: q.Scope}), append(f.Only, "on "+q.Scope)
	}
	return f
}

// scopeKinds are the kinds of scope as a person chooses among them, from the widest to the narrowest.
func scopeKinds() []templates.Choice {
	words := map[access.ScopeKind]string{
		access.ScopeEverything: "Everything", access.ScopeEnvironment: "An environment", access.ScopeAccount: "An account",
		access.ScopeCluster: "One cluster", access.ScopeLabels: "Clusters by label",
	}
	var kinds []templates.Choice
	for _, kind := range access.ScopeKinds() {
		kinds = append(kinds, templates.Choice{Value: string(kind), Label: words[kind]})
	}
	return kinds
}

// subjectView is whom a grant is for, with the ways to them that this member may go.
func (s *Server) subjectView(c echo.Context, kind, issuer, subject, name, email string) templates.SubjectView {
	v := templates.SubjectView{Kind: kind, Name: cmp.Or(name, subject), Issuer: issuer}
	members := s.accounts.MaySeeMembers(actorFrom(c))
	switch kind {
	case accounts.SubjectMember:
		v.Detail, v.Href = cmp.Or(email, subject), accessOfMember(issuer, subject)
		if members {
			v.Page = memberPath(s.accounts.MemberID(issuer, subject))
		}
	case accounts.SubjectGroup:
		v.Href = groupPath(issuer, subject)
		if members {
			v.Members = membersQuery{Group: subject, Issuer: issuer}.address()
		}
	}
	return v
}

// grantRow is a grant as lists show it.
func (s *Server) grantRow(c echo.Context, g accounts.Grant) templates.GrantRow {
	row := templates.GrantRow{
		Who:  s.subjectView(c, g.SubjectKind, g.Issuer, g.Subject, g.SubjectName, g.SubjectEmail),
		Role: g.Role.Name, RoleHref: rolePath(g.Role.ID), Where: grantPlace(string(g.ScopeKind), g.Scope, g.ScopeName),
		ExpiresAt: g.ExpiresAt, Reason: g.Reason, GivenAt: g.CreatedAt, GivenBy: g.GrantedBy,
		Configured: g.Configured, Variable: strings.TrimPrefix(g.Source, "from configuration, "), State: grantState(g),
		Blocked: g.Blocked, Nobody: g.Nobody, EndedAt: g.EndedAt, EndedBy: g.EndedBy, EndReason: g.EndReason,
	}
	if g.BoundFrom != nil {
		row.Follows = grantPath(*g.BoundFrom)
	}
	if g.ID != uuid.Nil {
		row.ID = g.ID.String()
	}
	if g.MayEnd || g.EndedAt != nil { // else the grant has no page for this member
		row.Href = grantPath(g.ID)
	}
	return row
}

func grantState(g accounts.Grant) string {
	switch {
	case g.Bound:
		return "bound"
	case g.EndedAt != nil:
		return "ended"
	case g.Unverified:
		return "unverified"
	case g.Expired:
		return "expired"
	case g.Pending:
		return "pending"
	}
	return "live"
}

// grantPlace is where a grant holds. words are the domain's, which begin with the kind; the page shows
// that in a quieter hand. A place whose name is not told is no link.
func grantPlace(kind, scope, words string) templates.PlaceView {
	w := templates.PlaceView{Kind: kind}
	for _, prefix := range []string{"environment ", "account ", "cluster ", "clusters labelled "} {
		if rest, ok := strings.CutPrefix(words, prefix); ok {
			words = rest
			break
		}
	}
	w.Name = words
	if words == scope {
		return w
	}
	account, cluster, _ := strings.Cut(scope, "/")
	id, err := uuid.Parse(account)
	switch {
	case err != nil:
	case kind == string(access.ScopeAccount):
		w.Href = accountPath(id)
	case kind == string(access.ScopeCluster):
		w.Href = clusterPath(id, cluster)
	}
	return w
}

// grantTitle names a grant in one line.
func grantTitle(row templates.GrantRow, words string) string {
	return row.Who.Name + ": " + row.Role + " on " + words
}

// handleGrant handles GET /admin/grants/{id}.
func (s *Server) handleGrant(c echo.Context) error {
	id, err := grantID(c)
	if err != nil {
		return err
	}
	g, err := s.accounts.Grant(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("read grant: %w", err)
	}
	row, effective := s.grantRow(c, g), access.Effective(g.Role.Permissions, g.ScopeKind)
	v := templates.GrantView{
		Page:   s.page(c, grantTitle(row, g.ScopeName), "grant-show", "admin"),
		Crumbs: []templates.Link{{Label: "Grants", Href: pathGrants}}, Grant: row, Description: g.Role.Description,
		Permissions: permissionGroups(effective), WithoutEffect: len(g.Role.Permissions) - len(effective),
		Offers: []templates.Offer{{Label: "Take it back", Href: grantPath(id) + "/delete", Danger: true, Offered: g.MayEnd, Reason: g.WhyNotEnd}},
	}
	if row.State == "ended" || row.State == "expired" {
		v.Offers = nil // there is nothing to take back
		if s.accounts.May(actorFrom(c), access.GrantsManage) {
			v.Offers = []templates.Offer{{Label: "Give it again", Href: giveAgain(g), Offered: true}}
		}
	}
	if to := g.BoundTo; to != nil {
		bound := s.grantRow(c, *to)
		v.Grant.Bound = &templates.BoundView{Who: bound.Who, Href: bound.Href}
	}
	if v.Page.Member.MayAudit {
		v.LogHref = auditQuery{Text: id.String()}.address()
	}
	return s.render(c, http.StatusOK, templates.Grant(v))
}

// giveAgain is the form of a new grant, with what a former one gave. Until when and why are asked anew.
func giveAgain(g accounts.Grant) string {
	subject := g.Subject
	if g.SubjectKind == accounts.SubjectMember {
		subject = g.Issuer + "|" + g.Subject
	}
	return withQuery(pathGrantNew, given(
		param{"subject_kind", g.SubjectKind}, param{"subject", subject}, param{"role", g.Role.ID}, param{"scope_kind", string(g.ScopeKind)}, param{"scope", g.Scope},
	))
}

// grantEndForm is what a browser may say about taking a grant back.
type grantEndForm struct {
	Reason string `form:"reason"`
}

// handleGrantEndForm handles GET /admin/grants/{id}/delete.
func (s *Server) handleGrantEndForm(c echo.Context) error {
	id, err := grantID(c)
	if err != nil {
		return err
	}
	g, err := s.accounts.Grant(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("read grant: %w", err)
	}
	if !g.MayEnd {
		return s.redirect(c, grantPath(id), g.WhyNotEnd)
	}
	var form grantEndForm
	takeTyped(s, c, &form)
	return s.renderGrantEnd(c, http.StatusOK, g, form, nil)
}

func (s *Server) renderGrantEnd(c echo.Context, status int, g accounts.Grant, form grantEndForm, invalid map[string]string) error {
	row, self := s.grantRow(c, g), grantPath(g.ID)
	who := row.Who.Name
	if g.SubjectKind == accounts.SubjectGroup {
		who = "The group " + who
	}
	v := templates.ConfirmView{
		Page:   s.page(c, "Take this right back?", "grant-delete", "admin"),
		Crumbs: []templates.Link{{Label: "Grants", Href: pathGrants}, {Label: grantTitle(row, g.ScopeName), Href: self}},
		Lead:   who + " loses the role " + row.Role + " on " + g.ScopeName + ".",
		Points: []string{
			"It acts at the next request of everyone it reaches, and ends pages that refresh themselves.",
			"What they may do through other grants stays. Keys that they made or saw go on working: rotate those that should not.",
		},
		Beside: s.keysOf(c, g.SubjectKind, g.Issuer, g.Subject, row.Who.Name),
		Action: self + "/delete", Back: self, Button: "Take it back", Danger: true, Errors: invalid,
		Fields: []templates.Field{{Name: "reason", Label: "Why?", Value: cut(form.Reason, 2000), Hint: "Kept with the grant and in the log."}},
	}
	v.Page.StepUp = s.freshSignIn(c, accounts.ActGrantDelete)
	return s.render(c, status, templates.Confirm(v))
}

// keysOf leads to the keys that a member may have, for those who may see them; nil for a group or an address.
func (s *Server) keysOf(c echo.Context, kind, issuer, subject, name string) *templates.Link {
	if kind != accounts.SubjectMember || !s.accounts.MayEverywhere(actorFrom(c), accounts.ActMemberRead) {
		return nil
	}
	return &templates.Link{Label: "Keys that " + name + " may have", Href: memberPath(s.accounts.MemberID(issuer, subject)) + "/keys"}
}

// freshSignIn is what the page of an act on grants or roles says of the fresh sign-in; nil when none is due.
func (s *Server) freshSignIn(c echo.Context, act accounts.Act) *templates.StepUp {
	return s.stepUp(c, accounts.Offer{Act: act.Name, Offered: true, StepUp: s.accounts.FreshSignInDue(actorFrom(c), act)})
}

// handleGrantEnd handles POST /admin/grants/{id}/delete.
func (s *Server) handleGrantEnd(c echo.Context) error {
	id, err := grantID(c)
	if err != nil {
		return err
	}
	var form grantEndForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.EndGrant(ctx, by, id, form.Reason)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		g, err := s.accounts.Grant(ctx, by, id)
		if err != nil {
			return fmt.Errorf("read grant: %w", err)
		}
		return s.renderGrantEnd(c, http.StatusUnprocessableEntity, g, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("end grant: %w", err)
	}
	return s.redirect(c, grantPath(id), "Taken back. It counts no more from the next request on.")
}

// grantForm is what a browser may say about a new grant.
type grantForm struct {
	SubjectKind string `form:"subject_kind"`
	Subject     string `form:"subject"`
	Role        string `form:"role"`
	ScopeKind   string `form:"scope_kind"`
	Scope       string `form:"scope"`
	Lasts       string `form:"lasts"` // in place of an end: for how long from now
	ExpiresAt   string `form:"expires_at"`
	Reason      string `form:"reason"`
	FormToken   string `form:"form_token"`
}

// lasting are the lengths of time that the form offers.
var lasting = []struct {
	value, label string
	length       time.Duration
}{
	{"1d", "1 day", 24 * time.Hour}, {"7d", "1 week", 7 * 24 * time.Hour}, {"30d", "30 days", 30 * 24 * time.Hour}, {"90d", "90 days", 90 * 24 * time.Hour},
}

// newGrant is what the form asks for. A length of time counts from now; it and an end contradict each other.
func (f grantForm) newGrant(now time.Time) (accounts.NewGrant, map[string]string) {
	n := accounts.NewGrant{
		SubjectKind: f.SubjectKind, Subject: f.Subject, Role: f.Role, ScopeKind: f.ScopeKind, Scope: f.Scope,
		ExpiresAt: f.ExpiresAt, Reason: f.Reason, FormToken: f.FormToken,
	}
	if f.Lasts == "" {
		return n, nil
	}
	if f.ExpiresAt != "" {
		return n, map[string]string{"expires_at": "Choose one: for how long, or until when."}
	}
	for _, l := range lasting {
		if l.value == f.Lasts {
			n.ExpiresAt = now.Add(l.length).UTC().Format(time.RFC3339)
			return n, nil
		}
	}
	return n, map[string]string{"lasts": "Choose one of the list, or give an end."}
}

// handleGrantNew handles GET /admin/grants/new. The address may say what is chosen already, so that a
// page about a place or a person can lead here.
func (s *Server) handleGrantNew(c echo.Context) error {
	var form grantForm
	if err := bindQuery(c, &form); err != nil {
		return err
	}
	form.FormToken, form.Reason = "", ""
	takeTyped(s, c, &form)
	return s.renderGrantForm(c, http.StatusOK, form, nil)
}

// handleGrantPreview handles POST /admin/grants/new: the same form again, as it was typed, with the choices
// for the kinds that are chosen. It gives nothing.
func (s *Server) handleGrantPreview(c echo.Context) error {
	var form grantForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	return s.renderGrantForm(c, http.StatusOK, form, nil)
}

// handleGrantCreate handles POST /admin/grants.
func (s *Server) handleGrantCreate(c echo.Context) error {
	var form grantForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	n, invalid := form.newGrant(s.now())
	if len(invalid) > 0 {
		return s.renderGrantForm(c, http.StatusUnprocessableEntity, form, invalid)
	}
	g, err := s.accounts.CreateGrant(c.Request().Context(), actorFrom(c), n)
	if e, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderGrantForm(c, http.StatusUnprocessableEntity, form, maps.Clone(e.Fields))
	}
	// What one may not give is said in the form, so that it can be made smaller.
	if e, ok := errors.AsType[*accounts.ForbiddenError](err); ok {
		why := "You may not give this. It needs " + e.Missing + "."
		if !strings.HasPrefix(e.Missing, "another administrator") {
			why += " One gives only what one holds, where one holds it."
		}
		return s.renderGrantForm(c, http.StatusForbidden, form, map[string]string{"": why})
	}
	if err != nil {
		return fmt.Errorf("create grant: %w", err)
	}
	message := "Given. It counts from the next request on."
	if g.Pending {
		message = "Given. It waits for the first sign-in with this address."
	}
	return s.redirect(c, grantPath(g.ID), message)
}

// renderGrantForm shows the form, with the choices for the kinds that are chosen.
func (s *Server) renderGrantForm(c echo.Context, status int, form grantForm, invalid map[string]string) error {
	choices, err := s.accounts.GrantForm(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("read what can be given: %w", err)
	}
	if form.FormToken == "" || invalid["form_token"] != "" {
		form.FormToken = choices.FormToken
	}
	tooOld := invalid["form_token"] != "" && len(invalid) == 1 // and nothing that says more
	if invalid["form_token"] != "" {
		delete(invalid, "form_token")
	}
	if tooOld {
		invalid[""] = "This form was too old, so it was not sent on. It is fresh now: look at it and send it once more."
	}
	kinds := offeredKinds(choices)
	form.tidy(kinds)
	v := templates.GrantFormView{
		Page: s.page(c, "Give a right", "grant-new", "admin"), Crumbs: []templates.Link{{Label: "Grants", Href: pathGrants}},
		Action: pathGrants, Self: pathGrantNew, Back: pathGrants, FormToken: form.FormToken, Errors: invalid,
		SubjectKind: form.SubjectKind, Subject: form.Subject, Role: form.Role, ScopeKind: form.ScopeKind, Scope: form.Scope,
		Lasts: form.Lasts, ExpiresAt: form.ExpiresAt, Reason: form.Reason, Kinds: kinds,
		Subjects: offeredSubjects(choices, form), Places: offeredPlaces(choices, form), More: choices.Cut,
		Endings: []templates.Choice{{Value: "", Label: "No end", Selected: form.Lasts == ""}},
	}
	v.Page.StepUp = s.freshSignIn(c, accounts.ActGrantCreate)
	for _, l := range lasting {
		v.Endings = append(v.Endings, templates.Choice{Value: l.value, Label: l.label, Selected: l.value == form.Lasts})
	}
	for _, r := range choices.Roles {
		v.Roles = append(v.Roles, templates.Choice{Value: r.ID, Label: r.Name, Hint: r.Description, Selected: r.ID == form.Role})
	}
	if len(v.Roles) == 0 {
		v.CannotAll = "One gives only what one holds, and you hold no whole role in a place where you may give rights."
	}
	for i := range v.Kinds {
		v.Kinds[i].Selected = v.Kinds[i].Value == form.ScopeKind
	}
	return s.render(c, status, templates.GrantForm(v))
}

// tidy chooses the kinds that are not chosen: what is most often meant. A scope of a kind that is not
// offered is asked for anew.
func (f *grantForm) tidy(kinds []templates.Choice) {
	if f.SubjectKind != accounts.SubjectMember && f.SubjectKind != accounts.SubjectEmail {
		f.SubjectKind = accounts.SubjectGroup
	}
	offered := func(kind string) bool {
		return slices.ContainsFunc(kinds, func(c templates.Choice) bool { return c.Value == kind })
	}
	if offered(f.ScopeKind) {
		return
	}
	f.ScopeKind, f.Scope = kinds[len(kinds)-1].Value, ""
	if offered(string(access.ScopeCluster)) {
		f.ScopeKind = string(access.ScopeCluster)
	}
}

// offeredKinds are the kinds of scope in which the member may give anything. By labels may always be tried:
// which labels one may give on, the domain alone can tell.
func offeredKinds(choices accounts.GrantForm) []templates.Choice {
	return slices.DeleteFunc(scopeKinds(), func(c templates.Choice) bool {
		switch access.ScopeKind(c.Value) {
		case access.ScopeEverything:
			return !choices.Everything
		case access.ScopeEnvironment:
			return len(choices.Environments) == 0
		case access.ScopeAccount:
			return len(choices.Accounts) == 0
		case access.ScopeCluster:
			return len(choices.Clusters) == 0
		case access.ScopeLabels:
		}
		return false
	})
}

// offeredSubjects are whom the form offers. A member who was chosen and is not among them stays chosen.
func offeredSubjects(choices accounts.GrantForm, form grantForm) []templates.Choice {
	var out []templates.Choice
	switch form.SubjectKind {
	case accounts.SubjectGroup:
		for _, g := range choices.Groups {
			out = append(out, templates.Choice{Value: g})
		}
	case accounts.SubjectMember:
		known := form.Subject == ""
		for _, m := range choices.Members {
			label := m.Name
			if m.Email != "" && m.Email != m.Name {
				label += ", " + m.Email
			}
			chosen := form.Subject == m.Subject
			known = known || chosen
			out = append(out, templates.Choice{Value: m.Subject, Label: label, Selected: chosen})
		}
		if !known {
			out = append(out, templates.Choice{Value: form.Subject, Label: form.Subject, Selected: true})
		}
	}
	return out
}

// offeredPlaces are the places of the kind that is chosen, clusters by their accounts.
func offeredPlaces(choices accounts.GrantForm, form grantForm) []templates.PlaceGroup {
	var all []templates.Choice
	switch access.ScopeKind(form.ScopeKind) {
	case access.ScopeEnvironment:
		for _, e := range choices.Environments {
			all = append(all, templates.Choice{Value: string(e), Label: string(e), Selected: string(e) == form.Scope})
		}
	case access.ScopeAccount:
		for _, a := range choices.Accounts {
			all = append(all, templates.Choice{Value: a.Scope, Label: a.Name, Selected: a.Scope == form.Scope})
		}
	case access.ScopeCluster:
		return offeredClusters(choices.Clusters, form.Scope)
	case access.ScopeEverything, access.ScopeLabels:
		return nil
	}
	return []templates.PlaceGroup{{Choices: all}}
}

func offeredClusters(clusters []accounts.GrantPlace, chosen string) []templates.PlaceGroup {
	by := map[string][]templates.Choice{}
	for _, p := range clusters {
		account := cmp.Or(p.AccountName, "Of other accounts")
		by[account] = append(by[account], templates.Choice{Value: p.Scope, Label: p.Name, Selected: p.Scope == chosen})
	}
	var groups []templates.PlaceGroup
	for _, account := range slices.Sorted(maps.Keys(by)) {
		groups = append(groups, templates.PlaceGroup{Label: account, Choices: by[account]})
	}
	return groups
}
