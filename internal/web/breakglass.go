package web

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// pathBreakGlass is where a break-glass link leads; the command line prints it with ?link= and the token.
const pathBreakGlass = "/break-glass"

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
	if err := s.accounts.EndBreakGlass(c.Request().Context(), actorFrom(c), id); err != nil {
		return fmt.Errorf("end a break-glass session: %w", err)
	}
	return s.redirect(c, pathHome, "The break-glass session has ended.")
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
			n.End = pathBreakGlass + "/" + one.ID.String() + "/end"
		}
		all = append(all, n)
	}
	return all
}
