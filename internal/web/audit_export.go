package web

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

// exportForm is what the address of an export says besides the log's own query.
type exportForm struct {
	Format string `form:"format"`
}

// mediaType is that of a format; empty when there is no such format.
func mediaType(f audit.Format) string {
	switch f {
	case audit.CSV:
		return "text/csv; charset=utf-8"
	case audit.NDJSON:
		return "application/x-ndjson"
	}
	return ""
}

// handleAuditExport handles GET /audit/export: the operations that the log's page lists for the same
// query, all of them, as a file. HEAD takes nothing away, so it is answered without an export.
func (s *Server) handleAuditExport(c echo.Context) error {
	ctx, by := c.Request().Context(), actorFrom(c)
	whole, err := s.accounts.AskExport(ctx, by)
	if err != nil {
		return fmt.Errorf("ask for an export of the log: %w", err)
	}
	format, query, err := readExport(c)
	if err != nil {
		return err
	}
	name := "quartermaster-audit-"
	if !whole {
		name += "part-"
	}
	name += s.now().UTC().Format("20060102T150405Z") + "." + string(format)
	d := &download{c: c, control: http.NewResponseController(c.Response()), stall: s.exportStall, media: mediaType(format), name: name}
	if c.Request().Method == http.MethodHead {
		d.begin()
		return nil
	}
	if err := d.allow(d.untilEnd()); err != nil {
		return err
	}
	if err := s.accounts.ExportLog(ctx, by, query, format, d); err != nil {
		return fmt.Errorf("export log: %w: %w", errBrokeOff, err)
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("export log: %w: %w", errBrokeOff, err)
	}
	return nil
}

// readExport reads what is to be exported. Unlike the page it takes nothing that it does not know: a
// misspelt filter would export more than was meant, and a misspelt outcome an empty file that
// looks like a finding.
func readExport(c echo.Context) (audit.Format, audit.Query, error) {
	var q auditQuery
	var form exportForm
	if err := bindQuery(c, &q); err != nil {
		return "", audit.Query{}, err
	}
	if err := bindQuery(c, &form); err != nil {
		return "", audit.Query{}, err
	}
	for name := range c.QueryParams() {
		if !slices.Contains([]string{"format", "q", "member", "account", "act", "outcome", "from", "to"}, name) {
			return "", audit.Query{}, badForm("the query of an export has no " + cut(name, 100))
		}
	}
	query, invalid, err := q.query()
	if err != nil {
		return "", audit.Query{}, err
	}
	format := audit.Format(form.Format)
	_, noAccount := uuid.Parse(q.Account)
	switch {
	case mediaType(format) == "":
		return "", audit.Query{}, notExported("An export has one of two formats: csv or ndjson.")
	case len(invalid) > 0:
		return "", audit.Query{}, notExported("A date of the search is not right.")
	case q.Outcome != "" && !slices.Contains(auditOutcomes, q.Outcome):
		return "", audit.Query{}, notExported("There is no such outcome.")
	case q.Account != "" && noAccount != nil:
		return "", audit.Query{}, notExported("The account is not named by its ID.")
	}
	return format, query, nil
}

func notExported(why string) error {
	return &problem{status: http.StatusUnprocessableEntity, heading: "Nothing was exported",
		detail: why + " Go back to the log, correct the search and export from there."}
}

// exportOffers are the links of the log's page that take away what it lists, however many pages. Where a
// fresh sign-in is due they lead through one, and on to the export.
func exportOffers(q auditQuery, valid bool, offer accounts.Offer) []templates.Offer {
	q.After = ""
	reason := offer.Reason
	if offer.Offered && !valid {
		reason = "The search is not right, so there is nothing to export."
	}
	link := func(label string, format audit.Format) templates.Offer {
		href := q.exportAddress(format)
		if offer.StepUp {
			href = stepUpPath(href)
		}
		return templates.Offer{Label: label, Href: href, Offered: reason == "", Reason: reason}
	}
	return []templates.Offer{link("Export as CSV", audit.CSV), link("Export as NDJSON", audit.NDJSON)}
}

// exportAddress is where the log narrowed like this is exported.
func (q auditQuery) exportAddress(format audit.Format) string {
	v := q.values()
	v.Set("format", string(format))
	return withQuery(pathAuditExport, v)
}

// errBrokeOff is what errors of a download wrap: when some of it was sent, the answer must not end
// as a whole one does.
var errBrokeOff = errors.New("the file broke off")

// download sends a file of unknown length. Each piece has to be taken within stall, and all of them
// before the request's own time is up; a client that does neither is cut off. Until the first
// piece nothing is sent, so that what fails before becomes a page.
type download struct {
	c       echo.Context
	control *http.ResponseController
	stall   time.Duration
	media   string
	name    string
}

func (d *download) begin() {
	h := d.c.Response().Header()
	h.Set(echo.HeaderContentType, d.media)
	h.Set(echo.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": d.name}))
	d.c.Response().WriteHeader(http.StatusOK)
}

func (d *download) Write(p []byte) (int, error) {
	if !d.c.Response().Committed {
		d.begin()
	}
	if err := d.allow(d.stall); err != nil {
		return 0, err
	}
	n, err := d.c.Response().Write(p)
	if err != nil {
		return n, err
	}
	// The next piece may take long to find, which is not the client's fault; over HTTP/2 a deadline
	// ends the answer also while nothing is written.
	return n, d.allow(d.untilEnd())
}

// end sends what the server still holds.
func (d *download) end() error {
	if err := d.allow(d.stall); err != nil {
		return err
	}
	if err := d.control.Flush(); err != nil {
		return fmt.Errorf("send the end of the export: %w", err)
	}
	return nil
}

// untilEnd is what is left of the request's time, and a moment for the page that says it is up.
func (d *download) untilEnd() time.Duration {
	end, ok := d.c.Request().Context().Deadline()
	if !ok {
		return d.stall
	}
	return time.Until(end) + d.stall
}

// allow gives the client so long to take what is written next, in place of the server's WriteTimeout,
// which is meant for pages.
func (d *download) allow(span time.Duration) error {
	if err := d.control.SetWriteDeadline(time.Now().Add(min(span, d.untilEnd()))); err != nil {
		return fmt.Errorf("set the time for the export: %w", err)
	}
	return nil
}
