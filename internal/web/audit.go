package web

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

const (
	pathAudit       = "/audit"
	pathAuditVerify = "/audit/verify"
	pathAuditExport = "/audit/export"
)

// auditQuery is what the address of the log may say.
type auditQuery struct {
	Text    string `form:"q"`
	Member  string `form:"member"`
	Account string `form:"account"`
	Act     string `form:"act"`
	Outcome string `form:"outcome"`
	From    string `form:"from"`
	To      string `form:"to"`
	After   string `form:"after"`
}

var auditOutcomes = []string{"ok", "failed", "denied", "unknown", "pending"}

// address is the canonical address of the log narrowed like this.
func (q auditQuery) address() string { return withQuery(pathAudit, q.values()) }

// from is the address of the page that comes after a place of the list; the first one after none.
func (q auditQuery) from(after string) string {
	q.After = after
	return q.address()
}

func (q auditQuery) values() url.Values {
	return given(
		param{"q", q.Text}, param{"member", q.Member}, param{"account", q.Account}, param{"act", q.Act}, param{"outcome", q.Outcome},
		param{"from", q.From}, param{"to", q.To}, param{"after", q.After},
	)
}

func (q auditQuery) filtered() bool {
	return q.Text+q.Member+q.Account+q.Act+q.Outcome+q.From+q.To != ""
}

// query reads the dates and the place in the list. invalid is by field.
func (q auditQuery) query() (out audit.Query, invalid map[string]string, err error) {
	invalid = map[string]string{}
	out = audit.Query{Text: strings.TrimSpace(q.Text), Member: strings.TrimSpace(q.Member), Account: q.Account, Act: q.Act, Outcome: q.Outcome}
	if out.From, err = readMoment(q.From, false); err != nil {
		invalid["from"] = "Give a day as in 2027-01-31, or a day with a time as in 2027-01-31T14:30."
	}
	if out.To, err = readMoment(q.To, true); err != nil {
		invalid["to"] = "Give a day as in 2027-01-31, or a day with a time as in 2027-01-31T14:30."
	}
	if len(invalid) == 0 && !out.From.IsZero() && !out.To.IsZero() && out.To.Before(out.From) {
		invalid["to"] = "This is before the beginning."
	}
	if q.After != "" {
		if out.After, err = strconv.ParseInt(q.After, 10, 64); err != nil || out.After <= 0 {
			return out, invalid, fmt.Errorf("place in the list: %w", accounts.ErrBadCursor)
		}
	}
	return out, invalid, nil
}

// readMoment reads a day or a day with a time, in UTC. The end of a span includes what was named:
// the whole day, the whole minute.
func readMoment(text string, end bool) (time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}, nil
	}
	var err error
	for _, f := range []struct {
		layout string
		span   time.Duration
	}{
		{time.DateOnly, 24 * time.Hour}, {"2006-01-02T15:04", time.Minute}, {"2006-01-02T15:04:05", time.Second}, {time.RFC3339, time.Second},
	} {
		var t time.Time
		if t, err = time.Parse(f.layout, text); err == nil {
			if end {
				t = t.Add(f.span - time.Microsecond)
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("read moment: %w", err)
}

// momentField is a moment as an input of the type datetime-local shows it; what is none stays as
// it was typed.
func momentField(text string, end bool) string {
	t, err := readMoment(text, end)
	if err != nil || t.IsZero() {
		return cut(text, 200)
	}
	return t.Format("2006-01-02T15:04")
}

// handleAudit handles GET /audit.
func (s *Server) handleAudit(c echo.Context) error {
	var q auditQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	query, invalid, err := q.query()
	if err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	status, page := http.StatusOK, audit.Page{}
	if len(invalid) > 0 {
		status = http.StatusUnprocessableEntity
		if err := s.accounts.AskLog(ctx, by); err != nil {
			return fmt.Errorf("ask for the log: %w", err)
		}
	} else if page, err = s.accounts.SearchLog(ctx, by, query); err != nil {
		return fmt.Errorf("search log: %w", err)
	}
	reach, err := s.accounts.LogReach(ctx, by)
	if err != nil {
		return fmt.Errorf("read what of the log may be seen: %w", err)
	}
	v := auditView(s.page(c, "Audit", "audit-index", "audit"), q, reach, page)
	v.Filter.Errors, v.Part, v.Tabs = invalid, !reach.Whole, auditTabs(pathAudit)
	if reach.Whole { // they tell of the installation
		v.Warnings = s.accounts.AuditWarnings()
	}
	v.Exports = exportOffers(q, len(invalid) == 0, reach.Export.Offer)
	if len(invalid) > 0 {
		v.Notes = append(v.Notes, "Nothing was searched: a date is not right.")
	}
	return s.render(c, status, templates.Audit(v))
}

func auditView(p templates.Page, q auditQuery, reach accounts.LogReach, page audit.Page) templates.AuditView {
	v := templates.AuditView{Page: p, Filter: templates.AuditFilter{
		Text: q.Text, Member: q.Member, From: momentField(q.From, false), To: momentField(q.To, true), Active: q.filtered(),
		Account: logAccountSelect(reach.Accounts, q.Account),
		Act:     filterSelect("act", "Act", "Any", reach.Acts(), q.Act, plain),
		Outcome: filterSelect("outcome", "Outcome", "Any", auditOutcomes, q.Outcome, plain),
	}}
	var next string
	if page.Next != 0 {
		next = strconv.FormatInt(page.Next, 10)
	}
	v.First, v.Next = pageLinks(q.After, next, q.from)
	for _, o := range page.Operations {
		v.Rows = append(v.Rows, auditRow(o))
	}
	return v
}

// logAccountSelect lists the accounts that events can be narrowed to. One that is no more can still be asked for.
func logAccountSelect(list []accounts.LogAccount, chosen string) templates.Select {
	var all []accounts.Account
	for _, a := range list {
		all = append(all, accounts.Account{ID: a.ID, Name: a.Name})
	}
	return accountSelect(all, chosen)
}

func auditRow(o audit.Operation) templates.AuditRow {
	return templates.AuditRow{
		Seq: o.Seq, Href: eventPath(o.Seq), RecordedAt: o.RecordedAt, Act: o.Act, Outcome: o.Status, Reason: o.Reason, Count: o.Count,
		Inferred: o.Inferred, Actor: actorView(o.Actor), Account: named(o.Account.Name, o.Account.ID),
		TargetKind: o.Target.Kind, TargetName: named(o.Target.Name, o.Target.ID), TargetHref: targetPath(o.Event),
	}
}

func actorView(a audit.Actor) templates.ActorView {
	return templates.ActorView{
		Name: a.Name, Email: claimed(a), Subject: a.Subject, Issuer: a.Issuer, Roles: a.Roles, Via: string(a.Via),
		Session: a.Session, IP: a.IP, UserAgent: a.UserAgent,
	}
}

// claimed is the actor's e-mail, and says so when nobody but the actor vouches for it.
func claimed(a audit.Actor) string {
	if a.Email == "" || a.EmailVerified {
		return a.Email
	}
	return a.Email + " (not verified)"
}

func eventPath(seq int64) string { return "/audit/events/" + strconv.FormatInt(seq, 10) }

// targetPath is where the target of an event is looked at; empty when it has no page. It may be
// gone by now, then the page says so.
func targetPath(e audit.Event) string {
	switch e.Target.Kind {
	case accounts.KindAccount:
		if id, err := uuid.Parse(e.Target.ID); err == nil {
			return accountPath(id)
		}
	case accounts.KindCluster:
		if id, err := uuid.Parse(e.Account.ID); err == nil && e.Target.ID != "" {
			return clusterPath(id, e.Target.ID)
		}
	}
	return ""
}

// eventNumber reads the number of an event. What is none is not found, like one that does not exist.
func eventNumber(text string) (int64, error) {
	seq, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seq <= 0 {
		return 0, fmt.Errorf("number of the event: %w", accounts.ErrNotFound)
	}
	return seq, nil
}

// handleEvent handles GET /audit/events/{seq}.
func (s *Server) handleEvent(c echo.Context) error {
	seq, err := eventNumber(c.Param("seq"))
	if err != nil {
		return err
	}
	d, err := s.accounts.LogEvent(c.Request().Context(), actorFrom(c), seq)
	if err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	return s.render(c, http.StatusOK, templates.Event(s.eventView(c, d)))
}

func (s *Server) eventView(c echo.Context, d audit.Detail) templates.EventView {
	v := eventView(s.page(c, fmt.Sprintf("Event %d, %s", d.Seq, d.Act), "audit-event", "audit"), d)
	v.Part = !s.accounts.ReadsWholeLog(actorFrom(c))
	return v
}

// handleAuditVerifyForm handles GET /audit/verify.
func (s *Server) handleAuditVerifyForm(c echo.Context) error {
	if err := s.accounts.AskVerify(c.Request().Context(), actorFrom(c)); err != nil {
		return fmt.Errorf("ask for a check of the log: %w", err)
	}
	return s.renderLogCheck(c, http.StatusOK, nil)
}

func (s *Server) renderLogCheck(c echo.Context, status int, check *templates.CheckView) error {
	return s.render(c, status, templates.LogCheck(templates.LogCheckView{
		Page: s.page(c, "Check of the log", "audit-verify", "audit"), Crumbs: []templates.Link{{Label: "Audit", Href: pathAudit}}, Check: check,
		Known: s.unexplained(),
	}))
}

// verifyForm is what a browser may say about checking the log.
type verifyForm struct {
	Event string `form:"event"` // number of the event whose page shows the result; empty for a page of its own
}

// handleAuditVerify handles POST /audit/verify. It answers with the result and not with a redirect:
// the result is kept nowhere but in the log.
func (s *Server) handleAuditVerify(c echo.Context) error {
	var form verifyForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	seq, err := eventNumber(form.Event)
	if form.Event != "" && err != nil {
		return err
	}
	status, check, err := s.checkLog(c)
	if err != nil {
		return err
	}
	if form.Event == "" {
		return s.renderLogCheck(c, status, &check)
	}
	d, err := s.accounts.LogEvent(c.Request().Context(), actorFrom(c), seq)
	if err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	v := s.eventView(c, d)
	v.Check = &check
	return s.render(c, status, templates.Event(v))
}

// checkLog has the whole log checked, for at most checkTime and one at a time: a check reads all
// there is. A log that is too long for that is no error; the page says how to check it.
func (s *Server) checkLog(c echo.Context) (status int, check templates.CheckView, err error) {
	if err := s.accounts.AskVerify(c.Request().Context(), actorFrom(c)); err != nil {
		return 0, check, fmt.Errorf("check log: %w", err)
	}
	if !s.checking.TryLock() {
		return 0, check, &problem{status: http.StatusConflict, heading: "The log is being checked already",
			detail: "Somebody asked for it a moment ago. Wait until that check has ended, then ask again."}
	}
	defer s.checking.Unlock()
	ctx, cancel := context.WithTimeout(c.Request().Context(), s.checkTime)
	defer cancel()
	started := s.now()
	report, err := s.accounts.VerifyLog(ctx, actorFrom(c))
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		noteError(c, err)
		return http.StatusServiceUnavailable, templates.CheckView{TooLong: true, Took: tookText(s.checkTime)}, nil
	}
	if err != nil {
		return 0, check, fmt.Errorf("check log: %w", err)
	}
	return http.StatusOK, checkView(report, started), nil
}

func tablesView(compared accounts.StateCheck) *templates.TablesView {
	r := compared.State
	v := &templates.TablesView{
		Accounts: r.Accounts, Keys: r.Keys, Grants: r.Grants, Roles: r.Roles, Blocks: r.Blocks, At: compared.At, Took: tookText(compared.Took), More: r.More,
	}
	for _, p := range r.Problems {
		v.Problems = append(v.Problems, unexplainedView(p))
	}
	return v
}

func unexplainedView(p accounts.StateProblem) templates.UnexplainedRow {
	row := templates.UnexplainedRow{Kind: strings.ReplaceAll(p.Kind, "_", " "), Name: named(p.Name, p.ID), What: p.What, Seq: p.Event, Withheld: p.Withheld()}
	if p.Event > 0 {
		row.Href = eventPath(p.Event)
	}
	return row
}

// unexplained lists what the console itself found when it last compared; nil when that is nothing.
func (s *Server) unexplained() *templates.TablesView {
	rows, more := s.accounts.Unexplained()
	if len(rows)+more == 0 {
		return nil
	}
	v := &templates.TablesView{More: more}
	for _, p := range rows {
		v.Problems = append(v.Problems, unexplainedView(p))
	}
	return v
}

func checkView(r accounts.LogCheck, at time.Time) templates.CheckView {
	v := templates.CheckView{
		Events: r.Events, First: r.First, Last: r.Last, Chain: hex.EncodeToString(r.LastChain[:]), At: at, Took: tookText(r.Took), More: r.More,
		Tables: tablesView(r.Tables),
	}
	for _, p := range r.Problems {
		v.Problems = append(v.Problems, templates.ProblemView{Seq: p.Seq, Href: eventPath(p.Seq), What: p.What})
	}
	return v
}

// tookText says a duration: milliseconds below a second, tenths of seconds above.
func tookText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
}

func eventView(p templates.Page, d audit.Detail) templates.EventView {
	e := d.Event
	v := templates.EventView{
		Page: p, Crumbs: []templates.Link{{Label: "Audit", Href: pathAudit}},
		Seq: d.Seq, ID: e.ID.String(), Act: e.Act, Phase: string(e.Phase), Outcome: d.Status, Reason: e.Reason, Count: e.Count,
		Inferred: e.Inferred, At: e.At, RecordedAt: d.RecordedAt, Operation: idOrNone(e.Operation), Parent: idOrNone(e.Parent),
		RequestID: e.Actor.RequestID, Actor: actorView(e.Actor),
		AccountID: e.Account.ID, AccountName: e.Account.Name, TargetKind: e.Target.Kind, TargetID: e.Target.ID, TargetName: e.Target.Name,
		RPC: e.Upstream.RPC, KeyID: e.Upstream.KeyID, TraceID: e.Upstream.TraceID, UpstreamStatus: e.Upstream.Status, LatencyMS: e.Upstream.LatencyMS,
		Verified: d.Proof == proofVerified, Proof: d.Proof, Leaf: hex.EncodeToString(d.Leaf[:]), Chain: hex.EncodeToString(d.Chain[:]),
		Body: indented(d.Body),
	}
	v.Changes = changeViews(e.Act, e.Change)
	events := append(slices.Clone(d.Others), d.Stored)
	slices.SortFunc(events, func(a, b audit.Stored) int { return int(a.Seq - b.Seq) })
	for _, o := range events {
		v.Others = append(v.Others, templates.EventRow{
			Seq: o.Seq, Href: eventPath(o.Seq), Phase: string(o.Phase), Outcome: string(o.Outcome), RecordedAt: o.RecordedAt, Reason: o.Reason,
			Current: o.Seq == d.Seq,
		})
	}
	return v
}

// changeViews lists what an act changed, by field.
func changeViews(act string, change audit.Change) []templates.ChangeView {
	var views []templates.ChangeView
	for _, field := range slices.Sorted(maps.Keys(change)) {
		both := change[field]
		if both[0] == audit.Redacted && strings.HasSuffix(act, ".create") {
			both[0] = nil // what is made new held no secret before
		}
		if both[1] == audit.Redacted && strings.HasSuffix(act, ".delete") {
			both[1] = nil // and what is gone holds none
		}
		views = append(views, templates.ChangeView{Field: field, Before: changeText(both[0]), After: changeText(both[1])})
	}
	return views
}

// proofVerified is what audit.Detail says of an event whose leaf and chain fit.
const proofVerified = "verified"

func idOrNone(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

// changeText shows one side of a change. A missing value is empty, so that it reads as a dash.
func changeText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []string:
		return strings.Join(v, ", ")
	case []any:
		parts := make([]string, 0, len(v))
		for _, p := range v {
			parts = append(parts, changeText(p))
		}
		return strings.Join(parts, ", ")
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return fmt.Sprint(value)
	}
	return strings.TrimSpace(buf.String())
}
