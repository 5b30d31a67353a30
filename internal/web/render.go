package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/static"
	"quartermaster/templates"
)

// render renders a component into a buffer, then answers with status: a component that fails
// midway becomes an error page and never half a page.
func (s *Server) render(c echo.Context, status int, page templ.Component) error {
	if may, ok := c.Get(keyCompressed).(bool); ok && may {
		return s.renderCompressed(c, status, page)
	}
	var buf bytes.Buffer
	if err := page.Render(c.Request().Context(), &buf); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	return sendPage(c, status, buf.Bytes())
}

func sendPage(c echo.Context, status int, page []byte) error {
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(page)))
	return c.HTMLBlob(status, page)
}

// compressor is what rendering and compressing one page needs. It is used again: making one costs
// more than a page does.
type compressor struct {
	page   bytes.Buffer
	packed bytes.Buffer
	writer *gzip.Writer
}

// maxKept bounds the buffers that wait for another page.
const maxKept = 1 << 20

// renderCompressed is render for pages without secrets: nothing of one may stay in a buffer that is
// used again.
func (s *Server) renderCompressed(c echo.Context, status int, page templ.Component) error {
	z, ok := s.compressors.Get().(*compressor)
	if !ok {
		z = &compressor{}
	}
	z.page.Reset()
	z.packed.Reset()
	defer func() {
		if z.page.Cap() <= maxKept {
			s.compressors.Put(z)
		}
	}()
	if err := page.Render(c.Request().Context(), &z.page); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	c.Response().Header().Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	if !static.AcceptsGzip(c.Request().Header.Get(echo.HeaderAcceptEncoding)) {
		return sendPage(c, status, z.page.Bytes())
	}
	if err := z.compress(); err != nil {
		return fmt.Errorf("compress page: %w", err)
	}
	c.Response().Header().Set(echo.HeaderContentEncoding, "gzip")
	return sendPage(c, status, z.packed.Bytes())
}

func (z *compressor) compress() (err error) {
	if z.writer == nil {
		// The fastest level: the better ones make a list of clusters a fifth smaller and take twice as long.
		if z.writer, err = gzip.NewWriterLevel(&z.packed, gzip.BestSpeed); err != nil {
			return err
		}
	}
	z.writer.Reset(&z.packed)
	if _, err := z.writer.Write(z.page.Bytes()); err != nil {
		return err
	}
	return z.writer.Close()
}

// flashAge is how long a message waits for its page.
const flashAge = time.Minute

// maxFlash bounds a message, in characters.
const maxFlash = 200

// redirect answers 303 to a path of ours and shows message once on the page that follows; an empty
// message shows nothing. htmx is told to load the page as a whole.
func (s *Server) redirect(c echo.Context, path, message string) error {
	if !isLocalPath(path) {
		return fmt.Errorf("redirect to %q: not a path of ours", cut(path, 100))
	}
	if message != "" {
		s.setCookie(c, s.cookies.flash, encodeFlash(message), flashAge)
	}
	if isHX(c) {
		c.Response().Header().Set("HX-Redirect", path)
		return c.NoContent(http.StatusOK)
	}
	return c.Redirect(http.StatusSeeOther, path)
}

func encodeFlash(message string) string {
	runes := []rune(strings.ToValidUTF8(message, "\uFFFD"))
	if len(runes) > maxFlash {
		runes = append(runes[:maxFlash-1], '…')
	}
	return base64.RawURLEncoding.EncodeToString([]byte(string(runes)))
}

// decodeFlash returns the message of a cookie, or nothing when it cannot be one of ours. It is
// shown as text: whoever can write our cookies could otherwise only put words on a page.
func decodeFlash(value string) string {
	if len(value) > 4*maxFlash*4/3+4 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || !utf8.Valid(raw) || utf8.RuneCount(raw) > maxFlash {
		return ""
	}
	message := string(raw)
	if strings.ContainsFunc(message, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return message
}

// takeFlash returns the waiting message and forgets it. Parts of pages that htmx asks for leave it
// to the next whole page.
func (s *Server) takeFlash(c echo.Context) string {
	if wantsPart(c) || isBackground(c) {
		return ""
	}
	cookie, err := c.Cookie(s.cookies.flash)
	if err != nil {
		return ""
	}
	s.dropCookie(c, s.cookies.flash)
	return decodeFlash(cookie.Value)
}

// page returns what every page needs around its content. bodyID is the page's hook for tests,
// section the current item of the navigation.
func (s *Server) page(c echo.Context, title, bodyID, section string) templates.Page {
	p := templates.Page{
		Title:   title,
		BodyID:  bodyID,
		Section: section,
		Flash:   s.takeFlash(c),
		Dev:     s.opts.Dev,
		Now:     s.now(),
		Again:   section != "" && !isUnsafe(c.Request().Method), // what tells of an error is the same for every method
	}
	if session, ok := optionalSession(c); ok {
		p.Member = &templates.Member{
			Name:      session.Name,
			Email:     session.Email,
			Roles:     session.Roles,
			MayAudit:  slices.Contains(session.Permissions, "audit:read"),
			MayManage: slices.Contains(session.Permissions, "accounts:manage"),
			Admin:     s.adminLinks(actorFrom(c), session.Permissions),
		}
		if len(session.Permissions) > 0 {
			p.BreakGlass = s.breakGlassInUse(c, p.Member.MayManage)
		}
		if p.Member.Counts = section != "" && slices.Contains(session.Permissions, access.ReadClusters); p.Member.Counts {
			p.Member.Firing = s.firing(c)
		}
		if section == sectionAdmin {
			p.ReviewDue = s.reviewDue(c, session.Permissions)
		}
	}
	p.Unverified = s.unverified(c)
	return p
}

// firingWithin bounds the count of alerts, which no page waits for longer.
const firingWithin = 500 * time.Millisecond

// firing counts the alerts that fire, for the navigation of whole pages. Where that fails the page is shown without.
func (s *Server) firing(c echo.Context) int {
	if wantsPart(c) {
		return 0
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), firingWithin)
	defer cancel()
	n, err := s.accounts.FiringAlerts(ctx, actorFrom(c), templates.FiringCap)
	if err != nil {
		noteError(c, err)
		return 0
	}
	return n
}

// unverified tells of rows that rights follow from and that this console did not write, to those who may look
// into it.
func (s *Server) unverified(c echo.Context) *templates.UnverifiedView {
	session, ok := optionalSession(c)
	if !ok {
		return nil
	}
	may := func(permission string) bool { return slices.Contains(session.Permissions, permission) }
	rows := len(s.accounts.UnverifiedRows())
	unexplained, more := s.accounts.Unexplained()
	if rows+len(unexplained)+more == 0 || !may(access.AuditRead) && !may(access.GrantsManage) && !may(access.MembersManage) {
		return nil
	}
	u := &templates.UnverifiedView{Rows: rows, Unexplained: len(unexplained) + more}
	if may(access.AuditRead) {
		u.LogHref = auditQuery{Act: accounts.ActRightsUnverified.Name}.address()
		if u.Unexplained > 0 && s.accounts.ReadsWholeLog(actorFrom(c)) {
			u.CheckHref = pathAuditVerify
		}
	}
	return u
}

// maxLocalPath bounds addresses that travel in cookies and queries, in bytes.
const maxLocalPath = 2000

// isLocalPath reports whether p is a path of this console that a redirect may lead to. Browsers
// read "//host" and "/\host" as other hosts and drop tabs and line breaks while they read.
func isLocalPath(p string) bool {
	if len(p) > maxLocalPath || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return false
	}
	if strings.Contains(p, "\\") || hasControl(p) || !utf8.ValidString(p) {
		return false
	}
	u, err := url.Parse(p)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && isCanonicalPath(u)
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

// cut bounds a text that a client chose, in bytes, on a character's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
