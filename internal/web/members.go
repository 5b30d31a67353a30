package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/templates"
)

const pathMembers = "/admin/members"

// memberRoutes are the pages about members, and what can be done to them.
func (s *Server) memberRoutes() []route {
	const member = pathMembers + "/:member"
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{Method: get, Path: pathMembers, Handler: s.handleMembers},
		{Method: get, Path: member, Handler: s.handleMember},
		{Method: get, Path: member + "/keys", Handler: s.handleMemberKeys},
		{Method: get, Path: member + "/block", Handler: s.handleMemberBlockForm},
		{Method: post, Path: member + "/block", Handler: s.handleMemberBlock},
		{Method: get, Path: member + "/unblock", Handler: s.handleMemberUnblockForm},
		{Method: post, Path: member + "/unblock", Handler: s.handleMemberUnblock},
		{Method: post, Path: member + "/sessions/end", Handler: s.handleMemberSessionsEnd},
		{Method: post, Path: member + "/sessions/:id/end", Handler: s.handleMemberSessionEnd},
	}
}

// memberPath is the page of a member. Who it is does not stand in the address: addresses end up in the logs of proxies.
func memberPath(id string) string { return pathMembers + "/" + id }

// membersQuery is what the address of the list of members may say.
type membersQuery struct {
	Text   string `form:"q"`
	State  string `form:"state"`
	Group  string `form:"group"`  // that the last sign-in named
	Issuer string `form:"issuer"` // of the group
	After  string `form:"after"`
}

func memberStates() []templates.Choice {
	return []templates.Choice{
		{Value: accounts.MembersSignedIn, Label: "Signed in now"},
		{Value: accounts.MembersActive, Label: "Signed in within 30 days"},
		{Value: accounts.MembersQuiet, Label: "Not for 30 days"},
		{Value: accounts.MembersBlocked, Label: "Blocked"},
	}
}

// address is the canonical address of the list narrowed like this.
func (q membersQuery) address() string {
	return withQuery(pathMembers, given(param{"q", q.Text}, param{"state", q.State}, param{"group", q.Group}, param{"issuer", q.Issuer}, param{"after", q.After}))
}

// from is the address of the page that comes after a place of the list; the first one after none.
func (q membersQuery) from(after string) string {
	q.After = after
	return q.address()
}

// handleMembers handles GET /admin/members.
func (s *Server) handleMembers(c echo.Context) error {
	var q membersQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = strings.TrimSpace(q.Text)
	states := memberStates()
	if i := slices.IndexFunc(states, func(s templates.Choice) bool { return s.Value == q.State }); i >= 0 {
		states[i].Selected = true
	} else {
		q.State = ""
	}
	by := actorFrom(c)
	page, err := s.accounts.Members(c.Request().Context(), by, accounts.MemberQuery{Text: q.Text, State: q.State, Group: q.Group, GroupIssuer: q.Issuer, After: q.After})
	if err != nil {
		return fmt.Errorf("list members: %w", err)
	}
	v := templates.MembersView{
		Page: s.page(c, "Members", "members-index", sectionAdmin), Text: q.Text, Total: page.Total, All: page.All, Narrowed: q.Text+q.State+q.Group != "",
		Group: cut(q.Group, 300), GroupIssuer: cut(q.Issuer, 300),
		State: templates.Select{Name: "state", Label: "State", Any: "Any", Choices: states},
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	if !v.Narrowed && q.After == "" {
		uses, err := s.accounts.BreakGlassUses(c.Request().Context(), by)
		if err != nil {
			return fmt.Errorf("list break-glass links: %w", err)
		}
		for _, u := range uses {
			v.BreakGlass = append(v.BreakGlass, s.breakGlassRow(u))
		}
	}
	for _, m := range page.Members {
		v.Rows = append(v.Rows, memberRow(m, m.Issuer == by.Issuer && m.Subject == by.Subject))
	}
	return s.render(c, http.StatusOK, templates.Members(v))
}

// sectionAdmin is the section of the pages for those who administer the console.
const sectionAdmin = "admin"

func memberRow(m accounts.Member, self bool) templates.MemberRow {
	r := templates.MemberRow{
		ID: m.ID, Href: memberPath(m.ID), Name: m.Name, Email: m.Email, EmailVerified: m.EmailVerified, Subject: m.Subject,
		Groups: m.Groups, MoreGroups: m.GroupCount - len(m.Groups), FirstSeen: m.FirstSeen, LastSeen: m.LastSeen, Sessions: m.Sessions, Self: self,
	}
	for _, held := range m.Roles {
		r.Roles = append(r.Roles, heldWords(held))
	}
	if m.Block != nil {
		r.Blocked = true
		r.Block = templates.BlockView{Since: m.Block.Since, By: m.Block.By, Reason: m.Block.Reason, Unverified: m.Block.Unverified, Withheld: m.Block.Withheld}
	}
	return r
}

// heldWords says where a role is held.
func heldWords(r accounts.HeldRole) string {
	switch {
	case r.Everything:
		return r.Name
	case r.Scopes == 1:
		return r.Name + " in 1 place"
	}
	return r.Name + " in " + strconv.Itoa(r.Scopes) + " places"
}

// memberFrom is the member that the address names, read for an act.
func (s *Server) memberFrom(c echo.Context, act accounts.Act) (issuer, subject string, err error) {
	issuer, subject, err = s.accounts.MemberNamed(c.Request().Context(), actorFrom(c), act, c.Param("member"))
	if err != nil {
		return "", "", fmt.Errorf("find member: %w", err)
	}
	return issuer, subject, nil
}

func membersCrumb() templates.Link { return templates.Link{Label: "Members", Href: pathMembers} }

func memberTabs(id, current string) []templates.Tab {
	tabs := []templates.Tab{{Label: "Access and sessions", Href: memberPath(id)}, {Label: "Keys they may have", Href: memberPath(id) + "/keys"}}
	for i := range tabs {
		tabs[i].Current = tabs[i].Href == current
	}
	return tabs
}

// handleMember handles GET /admin/members/{member}.
func (s *Server) handleMember(c echo.Context) error {
	issuer, subject, err := s.memberFrom(c, accounts.ActMemberRead)
	if err != nil {
		return err
	}
	d, err := s.accounts.Member(c.Request().Context(), actorFrom(c), issuer, subject)
	if err != nil {
		return fmt.Errorf("read member: %w", err)
	}
	return s.render(c, http.StatusOK, templates.MemberPage(s.memberView(c, d)))
}

func (s *Server) memberView(c echo.Context, d accounts.MemberDetail) templates.MemberView {
	v := templates.MemberView{
		Page: s.page(c, d.Name, "member-show", sectionAdmin), Crumbs: []templates.Link{membersCrumb()}, Tabs: memberTabs(d.ID, memberPath(d.ID)),
		Row: memberRow(d.Member, d.Self), Issuer: d.Issuer, Groups: d.Groups, GroupCount: d.GroupCount, GroupClaim: s.opts.GroupsClaim,
		Offers: memberOffers(d), MayEnd: d.Offers[accounts.ActMemberSignOut.Name].Offered, MoreSession: max(d.Sessions-len(d.Live), 0),
	}
	v.ReachHref = accessOfMember(d.Issuer, d.Subject) // who may open this page may ask that
	for _, h := range d.Holds {
		where, scope := heldPlace(h)
		held := templates.HeldView{Role: h.Role, Where: where, Scope: scope, Source: h.Source, Via: h.Via, ExpiresAt: h.ExpiresAt}
		if h.MayRole {
			held.RoleHref = rolePath(h.RoleID)
		}
		if h.MayOpen {
			held.Grant = grantOf(h)
		}
		v.Holds = append(v.Holds, held)
	}
	for _, one := range d.Live {
		v.Sessions = append(v.Sessions, templates.SessionRow{
			ID: one.ID.String(), Current: one.Current, Browser: browserName(one.UserAgent), UserAgent: one.UserAgent, IP: one.IP,
			CreatedAt: one.CreatedAt, LastSeenAt: one.LastSeenAt, ExpiresAt: one.ExpiresAt,
		})
	}
	for _, e := range d.History {
		row := templates.MemberEventView{
			Seq: strconv.FormatInt(e.Seq, 10), At: e.At, What: memberEventWords(e), Status: string(e.Outcome), Reason: e.Reason, By: e.By, IP: e.IP, UserAgent: e.UserAgent,
		}
		if e.UserAgent != "" {
			row.Browser = browserName(e.UserAgent)
		}
		if d.MayAudit {
			row.Href = pathAudit + "/events/" + row.Seq
		}
		v.Events = append(v.Events, row)
	}
	return v
}

// memberEventWords says what an event about a member's sessions tells.
func memberEventWords(e accounts.MemberEvent) string {
	words := map[string]string{
		accounts.ActSessionLogin.Name: "Signed in", accounts.ActSessionLogout.Name: "Signed out", accounts.ActSessionRevoke.Name: "Ended another session",
		accounts.ActMemberBlock.Name: "Blocked", accounts.ActMemberUnblock.Name: "Unblocked", accounts.ActMemberSignOut.Name: "Sessions ended",
	}[e.Act]
	if e.Outcome != "ok" && e.Act == accounts.ActSessionLogin.Name {
		words = "Sign-in"
	}
	return cmp.Or(words, templates.ActWords(e.Act))
}

// grantOf leads to the grant that something is held by. One from configuration has no page, and is a row of the list.
func grantOf(h accounts.HeldGrant) templates.Link {
	if h.ID != uuid.Nil {
		return templates.Link{Label: "The grant", Href: grantPath(h.ID)}
	}
	kind := accounts.SubjectGroup
	if h.ByAddress {
		kind = accounts.SubjectEmail
	}
	return templates.Link{Label: "Its row in the grants", Href: grantsQuery{SubjectKind: kind, Subject: h.Via, Role: h.RoleID}.address()}
}

// heldPlace says where a grant holds: the kind of its scope, and what of that kind.
func heldPlace(h accounts.HeldGrant) (where, scope string) {
	switch h.ScopeKind {
	case access.ScopeEverything:
		return "Everything", ""
	case access.ScopeEnvironment:
		return "Environment", h.ScopeText
	case access.ScopeAccount:
		return "Account", h.ScopeText
	case access.ScopeCluster:
		return "Cluster", h.ScopeText
	case access.ScopeLabels:
		return "Clusters with", h.ScopeText
	}
	return string(h.ScopeKind), h.ScopeText
}

// memberOffers lists the acts of a member's page. Block and unblock share one place.
func memberOffers(d accounts.MemberDetail) []templates.Offer {
	offer := func(act accounts.Act, label, verb string) templates.Offer {
		o := d.Offers[act.Name]
		return templates.Offer{Label: label, Href: memberPath(d.ID) + "/" + verb, Offered: o.Offered, Reason: o.Reason}
	}
	if d.Block != nil {
		return []templates.Offer{offer(accounts.ActMemberUnblock, "Unblock", "unblock")}
	}
	block := offer(accounts.ActMemberBlock, "Block", "block")
	block.Danger = true
	return []templates.Offer{block}
}

// handleMemberKeys handles GET /admin/members/{member}/keys.
func (s *Server) handleMemberKeys(c echo.Context) error {
	issuer, subject, err := s.memberFrom(c, accounts.ActMemberRead)
	if err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	d, err := s.accounts.Member(ctx, by, issuer, subject)
	if err != nil {
		return fmt.Errorf("read member: %w", err)
	}
	seen, err := s.accounts.MemberKeys(ctx, by, issuer, subject)
	if err != nil {
		return fmt.Errorf("list a member's keys: %w", err)
	}
	self := memberPath(d.ID)
	v := templates.MemberKeysView{
		Page:   s.page(c, "Keys that "+d.Name+" may have", "member-keys", sectionAdmin),
		Crumbs: []templates.Link{membersCrumb()}, Tabs: memberTabs(d.ID, self+"/keys"), Row: memberRow(d.Member, d.Self), Hidden: seen.Hidden, More: seen.More,
	}
	for _, k := range seen.Keys {
		if k.Open() {
			v.Open = append(v.Open, seenKeyView(k))
		} else {
			v.Closed = append(v.Closed, seenKeyView(k))
		}
	}
	return s.render(c, http.StatusOK, templates.MemberKeys(v))
}

func seenKeyView(k accounts.SeenKey) templates.SeenKeyView {
	v := templates.SeenKeyView{
		ID: k.ID, Name: k.Name, Account: k.AccountName, Cluster: k.ClusterName, At: k.At, EndsAt: k.EndsAt, ClosedAt: k.ClosedAt,
		Kind: map[string]string{
			accounts.KindKey: "Database key", accounts.KindAdminKey: "Admin key", accounts.KindManagementKey: "Management key",
		}[k.Kind],
		Got: "made by them",
	}
	switch k.Act {
	case accounts.ActKeyRotate.Name:
		v.Got = "made by them in a rotation"
	case accounts.ActAccountCreate.Name, accounts.ActAccountKey.Name, accounts.ActAccountSwitch.Name:
		v.Got = "pasted by them"
	}
	v.State, v.InUse, v.ClosedBy = k.State, k.InUse, k.ClosedBy
	if k.Kind == accounts.KindManagementKey {
		v.Name += "…"
	}
	if k.AccountGone {
		return v
	}
	v.AccountHref = accountPath(k.AccountID)
	ref := accounts.ClusterRef{AccountID: k.AccountID, ClusterID: k.ClusterID}
	if k.ClusterID != "" && k.State != accounts.KeyLost {
		v.ClusterHref = keysPath(ref)
	}
	link := func(may bool, label, href string) {
		if may {
			v.Links = append(v.Links, templates.Link{Label: label, Href: href})
		}
	}
	if k.Kind == accounts.KindManagementKey {
		link(k.MayRotate, "Replace", accountPath(k.AccountID)+"/key")
		link(k.MayDelete, "Delete", accountPath(k.AccountID)+"/key/old/"+k.ID+"/delete")
		return v
	}
	link(k.MayRotate, "Rotate", keyPath(ref, k.ID)+"/rotate")
	link(k.MayDelete, "Delete", keyPath(ref, k.ID)+"/delete")
	return v
}

// memberBlockForm is what a browser may say about a block.
type memberBlockForm struct {
	Reason  string `form:"reason"`
	Confirm string `form:"confirm"`
}

// handleMemberBlockForm handles GET /admin/members/{member}/block.
func (s *Server) handleMemberBlockForm(c echo.Context) error {
	d, err := s.accounts.AskMember(c.Request().Context(), actorFrom(c), accounts.ActMemberBlock, c.Param("member"))
	if err != nil {
		return fmt.Errorf("read member: %w", err)
	}
	var form memberBlockForm
	takeTyped(s, c, &form)
	return s.renderMemberBlock(c, http.StatusOK, d, form, nil)
}

func (s *Server) renderMemberBlock(c echo.Context, status int, d accounts.MemberDetail, form memberBlockForm, invalid map[string]string) error {
	self := memberPath(d.ID)
	seen, err := s.accounts.MemberKeys(c.Request().Context(), actorFrom(c), d.Issuer, d.Subject)
	if err != nil {
		return fmt.Errorf("list a member's keys: %w", err)
	}
	v := templates.MemberActView{
		Page: s.page(c, "Block "+d.Name, "member-block", sectionAdmin), Crumbs: []templates.Link{membersCrumb(), {Label: d.Name, Href: self}},
		Lead: fmt.Sprintf("%s is kept out of this console until somebody unblocks them.", d.Name),
		Points: []string{
			sessionsEnd(d.Sessions),
			"They cannot sign in, whatever their identity provider says of them.",
			"Their grants stay as they are, and count again once they are unblocked.",
		},
		Action: self + "/block", Button: "Block member", Danger: true, Back: self, Needed: true,
		Confirm: d.ConfirmWord(), Reason: cut(form.Reason, 4000), Typed: cut(form.Confirm, 300), Errors: invalid,
	}
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActMemberBlock.Name])
	if n := seen.Open() + seen.Hidden; n > 0 {
		v.Warning = templates.Count(n, "key") + " that they made or pasted here may go on working at Qdrant Cloud. The next page lists them, to be rotated or deleted."
	}
	return s.render(c, status, templates.MemberAct(v))
}

func sessionsEnd(n int) string {
	switch n {
	case 0:
		return "They are signed in nowhere now."
	case 1:
		return "Their session ends at once, with the next request it makes."
	}
	return fmt.Sprintf("Their %d sessions end at once, with the next request each makes.", n)
}

// handleMemberBlock handles POST /admin/members/{member}/block.
func (s *Server) handleMemberBlock(c echo.Context) error {
	var form memberBlockForm // read first: it is kept for after a fresh sign-in
	if err := bindForm(c, &form); err != nil {
		return err
	}
	issuer, subject, err := s.memberFrom(c, accounts.ActMemberBlock)
	if err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	ended, err := s.accounts.Block(ctx, by, issuer, subject, accounts.MemberBlock{Reason: form.Reason, Confirm: form.Confirm})
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		d, err := s.accounts.Member(ctx, by, issuer, subject)
		if err != nil {
			return fmt.Errorf("read member: %w", err)
		}
		return s.renderMemberBlock(c, http.StatusUnprocessableEntity, d, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("block member: %w", err)
	}
	return s.redirect(c, memberPath(s.accounts.MemberID(issuer, subject))+"/keys",
		"Blocked. "+templates.Count(ended, "session")+" ended. Look at the keys they may still have.")
}

// memberUnblockForm is what a browser may say about letting a member in again.
type memberUnblockForm struct {
	Reason string `form:"reason"`
}

// handleMemberUnblockForm handles GET /admin/members/{member}/unblock.
func (s *Server) handleMemberUnblockForm(c echo.Context) error {
	d, err := s.accounts.AskMember(c.Request().Context(), actorFrom(c), accounts.ActMemberUnblock, c.Param("member"))
	if err != nil {
		return fmt.Errorf("read member: %w", err)
	}
	var form memberUnblockForm
	takeTyped(s, c, &form)
	return s.renderMemberUnblock(c, http.StatusOK, d, form, nil)
}

func (s *Server) renderMemberUnblock(c echo.Context, status int, d accounts.MemberDetail, form memberUnblockForm, invalid map[string]string) error {
	self := memberPath(d.ID)
	v := templates.MemberActView{
		Page: s.page(c, "Unblock "+d.Name, "member-unblock", sectionAdmin), Crumbs: []templates.Link{membersCrumb(), {Label: d.Name, Href: self}},
		Lead:   fmt.Sprintf("%s may sign in again.", d.Name),
		Points: []string{"What they may do then follows from their groups at that sign-in, and from the grants that they hold."},
		Action: self + "/unblock", Button: "Unblock member", Back: self, Reason: cut(form.Reason, 4000), Errors: invalid,
	}
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActMemberUnblock.Name])
	return s.render(c, status, templates.MemberAct(v))
}

// handleMemberUnblock handles POST /admin/members/{member}/unblock.
func (s *Server) handleMemberUnblock(c echo.Context) error {
	var form memberUnblockForm // read first: it is kept for after a fresh sign-in
	if err := bindForm(c, &form); err != nil {
		return err
	}
	issuer, subject, err := s.memberFrom(c, accounts.ActMemberUnblock)
	if err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.Unblock(ctx, by, issuer, subject, form.Reason)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		d, err := s.accounts.Member(ctx, by, issuer, subject)
		if err != nil {
			return fmt.Errorf("read member: %w", err)
		}
		return s.renderMemberUnblock(c, http.StatusUnprocessableEntity, d, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("unblock member: %w", err)
	}
	return s.redirect(c, memberPath(s.accounts.MemberID(issuer, subject)), "Unblocked. They may sign in again.")
}

// handleMemberSessionsEnd handles POST /admin/members/{member}/sessions/end.
func (s *Server) handleMemberSessionsEnd(c echo.Context) error { return s.endMemberSessions(c) }

// handleMemberSessionEnd handles POST /admin/members/{member}/sessions/{id}/end.
func (s *Server) handleMemberSessionEnd(c echo.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return fmt.Errorf("session in the path: %w", accounts.ErrNotFound)
	}
	return s.endMemberSessions(c, id)
}

func (s *Server) endMemberSessions(c echo.Context, only ...uuid.UUID) error {
	issuer, subject, err := s.memberFrom(c, accounts.ActMemberSignOut)
	if err != nil {
		return err
	}
	ended, err := s.accounts.EndMemberSessions(c.Request().Context(), actorFrom(c), issuer, subject, only...)
	if err != nil {
		return fmt.Errorf("end a member's sessions: %w", err)
	}
	return s.redirect(c, memberPath(s.accounts.MemberID(issuer, subject)), templates.Count(ended, "session")+" ended.")
}
