package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/templates"
)

const pathOutside = "/audit/outside"

func outsidePath(seq int64) string { return pathOutside + "/" + strconv.FormatInt(seq, 10) }

// auditTabs lead to the pages about what happened.
func auditTabs(current string) []templates.Tab {
	return []templates.Tab{
		{Label: "Log", Href: pathAudit, Current: current == pathAudit},
		{Label: "Changed outside", Href: pathOutside, Current: current == pathOutside},
	}
}

// outsideQuery is what the address of the list may say.
type outsideQuery struct {
	Account string `form:"account"`
	State   string `form:"state"` // open: acknowledged by nobody
	After   string `form:"after"`
}

const outsideOpen = "open"

func (q outsideQuery) from(after string) string {
	return withQuery(pathOutside, given(param{"account", q.Account}, param{"state", q.State}, param{"after", after}))
}

// handleOutside handles GET /audit/outside.
func (s *Server) handleOutside(c echo.Context) error {
	var q outsideQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	asked := accounts.OutsideQuery{Account: q.Account, Open: q.State == outsideOpen}
	if q.After != "" {
		var err error
		if asked.After, err = strconv.ParseInt(q.After, 10, 64); err != nil || asked.After <= 0 {
			return fmt.Errorf("place in the list: %w", accounts.ErrBadCursor)
		}
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	page, err := s.accounts.OutsideChanges(ctx, by, asked)
	if err != nil {
		return fmt.Errorf("list changes made outside: %w", err)
	}
	reach, err := s.accounts.LogReach(ctx, by)
	if err != nil {
		return fmt.Errorf("read what of the log may be seen: %w", err)
	}
	v := templates.OutsideView{
		Page: s.page(c, "Changed outside", "audit-outside", "audit"), Tabs: auditTabs(pathOutside), Account: logAccountSelect(reach.Accounts, q.Account),
		State: filterSelect("state", "Acknowledged", "Any", []string{outsideOpen}, q.State, outsideStateWord), Active: q.Account+q.State != "", Part: !reach.Whole,
	}
	next := ""
	if page.Next != 0 {
		next = strconv.FormatInt(page.Next, 10)
	}
	v.First, v.Next = pageLinks(q.After, next, q.from)
	for _, change := range page.Changes {
		v.Rows = append(v.Rows, outsideRow(change))
	}
	return s.render(c, http.StatusOK, templates.Outside(v))
}

func outsideStateWord(state string) string {
	if state == outsideOpen {
		return "Not yet"
	}
	return plain(state)
}

func outsideRow(c accounts.OutsideChange) templates.OutsideRow {
	row := templates.OutsideRow{
		Seq: c.Seq, Href: outsidePath(c.Seq), What: "changed", Cluster: named(c.Target.Name, c.Target.ID), ClusterHref: targetPath(c.Event),
		Account: named(c.Account.Name, c.Account.ID), NoticedAt: c.RecordedAt, Reason: c.Reason,
	}
	for _, view := range changeViews(c.Act, c.Change) {
		if view.Field != "exists" {
			row.Changes = append(row.Changes, view)
		}
	}
	switch exists := c.Change["exists"]; {
	case c.Act == accounts.ActAccountChangedOutside.Name:
		row.Cluster, row.What = "Several clusters", "more changed"
		if _, sum := c.Change["changes_not_told"]; !sum {
			row.What = "keys changed"
		}
	case c.Act == accounts.ActClusterKeysOutside.Name:
		row.What = "keys changed"
	case exists[1] == true:
		row.What = "created"
	case exists[0] == true:
		row.What = "deleted"
	}
	if a := c.Acknowledged; a != nil {
		row.Acknowledged = &templates.AcknowledgedView{By: a.By, Email: a.Email, Note: a.Note, At: a.At, Href: eventPath(a.Seq)}
	}
	return row
}

// handleOutsideChange handles GET /audit/outside/{seq}.
func (s *Server) handleOutsideChange(c echo.Context) error {
	return s.renderOutsideChange(c, http.StatusOK, acknowledgeForm{}, nil)
}

func (s *Server) renderOutsideChange(c echo.Context, status int, form acknowledgeForm, invalid map[string]string) error {
	seq, err := eventNumber(c.Param("seq"))
	if err != nil {
		return err
	}
	change, err := s.accounts.OutsideChange(c.Request().Context(), actorFrom(c), seq)
	if err != nil {
		return fmt.Errorf("read a change made outside: %w", err)
	}
	v := templates.OutsideChangeView{
		Change: outsideRow(change), EventHref: eventPath(seq), Reason: change.Acknowledge.Reason, Note: cut(form.Note, 2000), Errors: invalid,
		Crumbs: []templates.Link{{Label: "Audit", Href: pathAudit}, {Label: "Changed outside", Href: pathOutside}},
	}
	title := v.Change.Cluster + " was " + v.Change.What + " outside"
	if change.Act == accounts.ActClusterKeysOutside.Name {
		title = "Keys of " + v.Change.Cluster + " were changed outside"
	}
	several := change.Act == accounts.ActAccountChangedOutside.Name
	if several {
		title = "Several clusters of " + v.Change.Account + " were changed outside"
	}
	v.Page = s.page(c, title, "audit-outside-change", "audit")
	if id, err := uuid.Parse(change.Account.ID); err == nil && !several {
		v.HistoryHref = historyPath(accounts.ClusterRef{AccountID: id, ClusterID: change.Target.ID})
	}
	if change.Acknowledge.Offered && change.Acknowledged == nil {
		v.Action = outsidePath(seq) + "/acknowledge"
	}
	return s.render(c, status, templates.OutsideChange(v))
}

// acknowledgeForm is what a browser may say about a change made outside.
type acknowledgeForm struct {
	Note string `form:"note"`
}

// handleOutsideAcknowledge handles POST /audit/outside/{seq}/acknowledge.
func (s *Server) handleOutsideAcknowledge(c echo.Context) error {
	seq, err := eventNumber(c.Param("seq"))
	if err != nil {
		return err
	}
	var form acknowledgeForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	recorded, err := s.accounts.AcknowledgeOutside(c.Request().Context(), actorFrom(c), seq, form.Note)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderOutsideChange(c, http.StatusUnprocessableEntity, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("acknowledge a change made outside: %w", err)
	}
	if !recorded {
		return s.redirect(c, outsidePath(seq), "The change was acknowledged before.")
	}
	return s.redirect(c, withQuery(pathOutside, url.Values{"state": {outsideOpen}}), "The change is acknowledged.")
}
