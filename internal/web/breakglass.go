package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// pathBreakGlass is where a break-glass link leads; the command line prints it with ?link= and the token.
const pathBreakGlass = "/break-glass"

// pathBreakGlassUse is, with the id of a link, the page of what was done with it.
const pathBreakGlassUse = "/admin/break-glass"

// BreakGlassPath is the path of a link that signs in without the identity provider.
func BreakGlassPath(token string) string { return pathBreakGlass + "?link=" + token }

// breakGlassForm is what the page of a link sends.
type breakGlassForm struct {
	Link cloudapi.Secret `form:"link"`
}

// handleBreakGlassForm handles GET /break-glass. It says what the link does and does nothing yet, so that a mail
// program or a chat that looks at links does not use it up. Whether the link is valid is not looked up.
func (s *Server) handleBreakGlassForm(c echo.Context) error {
	link := c.QueryParam("link")
	if link == "" || len(link) > maxSessionToken || hasControl(link) {
		return &problem{status: http.StatusBadRequest, heading: "This link is not whole",
			detail: "Open all of the link that quartermaster breakglass printed."}
	}
	return s.render(c, http.StatusOK, templates.BreakGlass(templates.BreakGlassView{
		Page: s.page(c, "Sign in without the identity provider", "break-glass", ""), Action: pathBreakGlass, Link: link,
		Life: templates.Span(accounts.BreakGlassLife), LinkLife: templates.Span(accounts.BreakGlassLinkLife),
	}))
}

// handleBreakGlass handles POST /break-glass: it signs the bearer of the link in.
func (s *Server) handleBreakGlass(c echo.Context) error {
	var form breakGlassForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	if !s.signIns.allow(c.RealIP(), s.now()) {
		return s.signInFailed(c, tooManySignIns())
	}
	by, err := s.signedInBefore(c)
	if err != nil {
		return err
	}
	token, err := s.accounts.UseBreakGlassLink(c.Request().Context(), by, string(form.Link.Reveal()))
	if errors.Is(err, accounts.ErrLinkRefused) {
		return s.signInFailed(c, &signInError{cause: "break-glass link refused", status: http.StatusForbidden,
			words: "This link is not valid: it was used already, is older than " + templates.Span(accounts.BreakGlassLinkLife) + ", or was not made for this console. Have another one printed."})
	}
	if err != nil {
		return fmt.Errorf("use a break-glass link: %w", err)
	}
	s.setCookie(c, s.cookies.session, token, accounts.BreakGlassLife)
	return s.redirect(c, pathHome, "You are signed in without the identity provider. Sign out as soon as you are done.")
}

// handleBreakGlassEnd handles POST /break-glass/{id}/end.
func (s *Server) handleBreakGlassEnd(c echo.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil || id.String() != c.Param("id") {
		return fmt.Errorf("session in the path: %w", accounts.ErrNotFound)
	}
	by, next := actorFrom(c), pathHome
	for _, one := range s.accounts.BreakGlassInUse(c.Request().Context()) {
		if one.ID == id && s.accounts.May(by, accounts.ActBreakGlassRead.Needs.All[0]) {
			next = pathBreakGlassUse + "/" + one.Link.String() // what it left
		}
	}
	if err := s.accounts.EndBreakGlass(c.Request().Context(), by, id); err != nil {
		return fmt.Errorf("end a break-glass session: %w", err)
	}
	return s.redirect(c, next, "The break-glass session has ended.")
}

// handleBreakGlassUse handles GET /admin/break-glass/{id}: one link, and what was done with it.
func (s *Server) handleBreakGlassUse(c echo.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil || id.String() != c.Param("id") {
		id = uuid.Nil // of which there is none, and which is refused as any other
	}
	d, err := s.accounts.BreakGlass(c.Request().Context(), actorFrom(c), id)
	if err != nil {
		return fmt.Errorf("read a break-glass link: %w", err)
	}
	v := templates.BreakGlassUseView{
		Page:   s.page(c, "Break-glass link of "+d.MadeBy, "break-glass-use", sectionAdmin),
		Crumbs: []templates.Link{membersCrumb()}, Row: s.breakGlassRow(d.BreakGlassUse), More: d.More, Others: d.Others,
	}
	if d.MayAudit {
		v.LogHref = auditQuery{Member: d.Subject}.address()
	}
	for _, left := range d.Left {
		row := breakGlassLeftRow(left)
		if d.MayAudit {
			row.LogHref = pathAudit + "/events/" + strconv.FormatInt(left.Seq, 10)
		}
		if left.Stands {
			v.Stand++
		}
		v.Left = append(v.Left, row)
	}
	return s.render(c, http.StatusOK, templates.BreakGlassUse(v))
}

// breakGlassRow is a link as lists show it.
func (s *Server) breakGlassRow(u accounts.BreakGlassUse) templates.BreakGlassRow {
	row := templates.BreakGlassRow{
		Href: pathBreakGlassUse + "/" + u.ID.String(), User: u.MadeBy, Reason: u.Reason, PrintedAt: u.CreatedAt, UsableUntil: u.ExpiresAt, UsedAt: u.UsedAt, State: "ended", Until: u.EndedAt,
	}
	if i := strings.LastIndex(u.MadeBy, "@"); i > 0 {
		row.User, row.Host = u.MadeBy[:i], u.MadeBy[i+1:]
	}
	switch {
	case u.Session != nil:
		row.State, row.Until, row.LastSeen = "live", &u.Session.ExpiresAt, &u.Session.LastSeenAt
		row.IP, row.Browser = u.Session.IP, browserName(u.Session.UserAgent)
		row.End = pathBreakGlass + "/" + u.Session.ID.String() + "/end"
	case u.Usable(s.now()):
		row.State = "usable"
	case u.UsedAt == nil:
		row.State = "unused"
	}
	return row
}

// breakGlassLeftRow says what was done, what is the case now, and what takes it back.
func breakGlassLeftRow(l accounts.BreakGlassLeft) templates.BreakGlassLeftRow {
	words := map[string]struct{ did, stands, over string }{
		accounts.ActGrantCreate.Name:   {"Gave", "in force", "no longer in force"},
		accounts.ActGrantDelete.Name:   {"Took back", "taken back", "in force again"},
		accounts.ActRoleCreate.Name:    {"Made the role", "there", "removed since"},
		accounts.ActRoleEdit.Name:      {"Changed the role", "there", "removed since"},
		accounts.ActRoleDelete.Name:    {"Removed the role", "removed", "there again"},
		accounts.ActMemberBlock.Name:   {"Blocked", "blocked", "unblocked since"},
		accounts.ActMemberUnblock.Name: {"Unblocked", "may sign in", "blocked since"},
	}[l.Act]
	row := templates.BreakGlassLeftRow{What: words.did, Name: l.Name, At: l.At, Stands: l.Stands, Now: words.over}
	if l.Stands {
		row.Now = words.stands
	}
	if !l.MayOpen {
		return row
	}
	undo := func(act accounts.Act, label, verb string) {
		if l.Act == act.Name && l.Stands {
			row.Undo = templates.Link{Label: label, Href: row.Href + verb}
		}
	}
	switch l.Kind {
	case accounts.KindGrant:
		row.Href = pathGrants + "/" + l.ID
		undo(accounts.ActGrantCreate, "Take it back", "/delete")
	case accounts.KindRole:
		row.Href = rolePath(l.ID)
		undo(accounts.ActRoleCreate, "Remove", "/delete")
		undo(accounts.ActRoleEdit, "Edit", "/edit")
	case accounts.KindMember:
		row.Href = memberPath(l.ID)
		undo(accounts.ActMemberBlock, "Unblock", "/unblock")
		undo(accounts.ActMemberUnblock, "Block", "/block")
	}
	return row
}

// breakGlassInUse is what every page says while somebody is signed in by a break-glass link.
func (s *Server) breakGlassInUse(c echo.Context, mayEnd bool) []templates.BreakGlassNotice {
	if isDatabaseTrouble(c) {
		return nil
	}
	var all []templates.BreakGlassNotice
	for _, one := range s.accounts.BreakGlassInUse(c.Request().Context()) {
		n := templates.BreakGlassNotice{Name: one.Name, Reason: one.Reason, Since: one.CreatedAt, Until: one.ExpiresAt}
		if mayEnd {
			n.End, n.Did = pathBreakGlass+"/"+one.ID.String()+"/end", pathBreakGlassUse+"/"+one.Link.String()
		}
		all = append(all, n)
	}
	return all
}
