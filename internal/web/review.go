package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/templates"
)

const (
	pathReview        = "/admin/review"
	pathReviewSign    = pathReview + "/sign"
	pathReviewSigned  = pathReview + "/signed"
	pathReviewMembers = pathReview + "/members"
	pathReviewExport  = pathReview + "/export"
)

// reviewRoutes are the pages of access reviews.
func (s *Server) reviewRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{Method: get, Path: pathReview, Handler: s.handleReview},
		{Method: post, Path: pathReview + "/start", Handler: s.handleReviewStart},
		{Method: post, Path: pathReview + "/keep", Handler: s.handleReviewKeep},
		{Method: get, Path: pathReview + "/lines/:line/revoke", Handler: s.handleReviewRevokeForm},
		{Method: post, Path: pathReview + "/lines/:line/revoke", Handler: s.handleReviewRevoke},
		{Method: get, Path: pathReviewSign, Handler: s.handleReviewSignForm},
		{Method: post, Path: pathReviewSign, Handler: s.handleReviewSign},
		{Method: get, Path: pathReviewSigned, Handler: s.handleReviewSigned},
		{Method: get, Path: pathReviewSigned + "/:review", Handler: s.handleReviewSignedOne},
		{Method: get, Path: pathReviewSigned + "/:review/export", Handler: s.handleReviewSignedExport},
		{Method: get, Path: pathReviewMembers, Handler: s.handleReviewMembers},
		{Method: get, Path: pathReviewMembers + "/:member", Handler: s.handleReviewMember},
		{Method: get, Path: pathReview + "/accounts/:id", Handler: s.handleReviewAccount},
		{Method: get, Path: pathReviewExport, Handler: s.handleReviewExport},
	}
}

// reviewQuery is what the address of a review may say.
type reviewQuery struct {
	At        string `form:"at"`
	Member    string `form:"member"`
	Group     string `form:"group"`
	Account   string `form:"account"`
	Role      string `form:"role"`
	Undecided bool   `form:"undecided"`
	Unused    bool   `form:"unused"`
	After     string `form:"after"`
}

// address is the canonical address of a page of the review.
func (q reviewQuery) address() string {
	v := given(
		param{"at", q.At}, param{"member", q.Member}, param{"group", q.Group}, param{"account", q.Account}, param{"role", q.Role}, param{"after", q.After},
	)
	for name, set := range map[string]bool{"undecided": q.Undecided, "unused": q.Unused} {
		if set {
			v.Set(name, "on")
		}
	}
	return withQuery(pathReview, v)
}

// from is the address of the page that comes after a place of the list; the first one after none.
func (q reviewQuery) from(after string) string {
	q.After = after
	return q.address()
}

// reviewMoment reads the moment that is asked about: the end of what is named, and now for today. A later day is a failure.
func (s *Server) reviewMoment(text string) (at time.Time, failure string) {
	at, err := readMoment(text, true)
	if err != nil {
		return time.Time{}, "Give a day as in 2027-01-31, or a day with a time as in 2027-01-31T14:30."
	}
	if !at.Before(s.now()) {
		if begins, err := readMoment(text, false); err == nil && begins.After(s.now()) {
			return time.Time{}, "That is still to come, so what follows is as it is now."
		}
		return time.Time{}, ""
	}
	return at, ""
}

// reviewDateField is the moment for the field of the form: a whole day as a day.
func reviewDateField(text string) string { return cut(strings.TrimSpace(text), 200) }

// utcWords is a time for people, as pages show it.
func utcWords(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// renderBeforeLog answers a question about a moment before the log begins, with the way to its beginning.
func (s *Server) renderBeforeLog(c echo.Context, at, self string, tabs []templates.Tab, e *accounts.BeforeLogError) error {
	begins := e.Begins.UTC().Truncate(time.Second).Add(time.Second).Format(time.RFC3339)
	return s.render(c, http.StatusUnprocessableEntity, templates.ReviewBeforeLog(templates.ReviewBeforeLogView{
		Page: s.page(c, "Access review", "review-before-log", sectionAdmin), Tabs: tabs, Crumbs: []templates.Link{reviewCrumb()}, Action: self, At: reviewDateField(at),
		AtError: "The log begins at " + utcWords(e.Begins) + ".", Begins: e.Begins, BeginsHref: atQuery(self, begins),
	}))
}

func atQuery(path, at string) string {
	return withQuery(path, given(param{"at", at}))
}

func reviewTabs(current, at string) []templates.Tab {
	tabs := []templates.Tab{{Label: "Line by line", Href: pathReview}, {Label: "By member", Href: pathReviewMembers}, {Label: "Signed off", Href: pathReviewSigned}}
	for i, t := range tabs {
		tabs[i].Current = t.Href == current
		if t.Href != pathReviewSigned {
			tabs[i].Href = atQuery(t.Href, at)
		}
	}
	return tabs
}

func reviewCrumb() templates.Link { return templates.Link{Label: "Access review", Href: pathReview} }

// handleReview handles GET /admin/review.
func (s *Server) handleReview(c echo.Context) error {
	var q reviewQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	var typed keepForm
	takeTyped(s, c, &typed)
	return s.renderReview(c, http.StatusOK, q, typed.Lines, "")
}

func (s *Server) renderReview(c echo.Context, status int, q reviewQuery, chosen []string, problem string) error {
	for _, text := range []*string{&q.Member, &q.Group, &q.Account, &q.Role, &q.At} {
		*text = cut(strings.TrimSpace(*text), 200)
	}
	at, failure := s.reviewMoment(q.At)
	if failure != "" {
		status = http.StatusUnprocessableEntity
	}
	r, err := s.accounts.AccessReview(c.Request().Context(), actorFrom(c), accounts.ReviewQuery{
		At: at, Member: q.Member, Group: q.Group, Account: q.Account, Role: q.Role, Undecided: q.Undecided, Unused: q.Unused, After: q.After,
	})
	if before, ok := errors.AsType[*accounts.BeforeLogError](err); ok {
		return s.renderBeforeLog(c, q.At, pathReview, reviewTabs(pathReview, ""), before)
	}
	if err != nil {
		return fmt.Errorf("read review: %w", err)
	}
	v := templates.ReviewView{
		Page: s.page(c, "Access review", "review-index", sectionAdmin), Tabs: reviewTabs(pathReview, q.At), At: reviewDateField(q.At), AtError: failure, Moment: r.At, Past: r.Past,
		Member: q.Member, Group: q.Group, Undecided: q.Undecided, Unused: q.Unused, Total: r.Total, All: r.All, Members: r.Members,
		Self: q.address(), Clear: reviewQuery{At: q.At}.address(), Chosen: chosen, MayDecide: r.MayDecide, WhyNot: r.WhyNot, Problem: problem,
		Config: configChanges(r.Config), Last: s.lastSigned(r.Last), Offers: s.reviewExports(q.At, r.Export),
	}
	v.Account, v.Role = reviewSelects(q, r)
	if r.Open != nil {
		v.Open = &templates.ReviewOpenView{StartedAt: r.Open.StartedAt, StartedBy: r.Open.StartedBy, Undecided: r.Undecided, Kept: r.Kept, Revoked: r.Revoked}
	}
	if r.MayDecide && r.StepUp && !r.Past {
		v.Page.StepUp = s.stepUp(c, accounts.Offer{StepUp: true})
		if c.Request().Method != http.MethodGet {
			v.Page.StepUp.Href = stepUpPath(q.address())
		}
	}
	v.First, v.Next = pageLinks(q.After, r.Next, q.from)
	for _, line := range r.Lines {
		v.Rows = append(v.Rows, reviewRow(line, q.At, r.Past))
	}
	for _, line := range r.Gone {
		v.Gone = append(v.Gone, decidedRow(line))
	}
	return s.render(c, status, templates.Review(v))
}

func configChanges(all []accounts.ReviewConfigChange) []templates.ReviewConfigView {
	var out []templates.ReviewConfigView
	for _, change := range all {
		out = append(out, templates.ReviewConfigView{At: change.At, Names: strings.Join(change.Names, ", ")})
	}
	return out
}

func reviewSelects(q reviewQuery, r accounts.AccessReview) (account, role templates.Select) {
	account = templates.Select{Name: "account", Label: "Account", Any: "Any"}
	for _, a := range r.Accounts {
		account.Choices = append(account.Choices, templates.Choice{Value: a.ID.String(), Label: cmp.Or(a.Name, a.ID.String()), Selected: a.ID.String() == q.Account})
	}
	role = templates.Select{Name: "role", Label: "Role", Any: "Any"}
	for _, one := range r.Roles {
		role.Choices = append(role.Choices, templates.Choice{Value: one.ID, Label: cmp.Or(one.Name, one.ID), Selected: one.ID == q.Role})
	}
	return account, role
}

// reviewExports are the links that take the review away. Where a fresh sign-in is due they lead through one.
func (s *Server) reviewExports(at string, offer accounts.Offer) []templates.Offer {
	link := func(label string, format accounts.ReviewFormat) templates.Offer {
		v := url.Values{"format": {string(format)}}
		if at != "" {
			v.Set("at", at)
		}
		href := withQuery(pathReviewExport, v)
		if offer.StepUp {
			href = stepUpPath(href)
		}
		return templates.Offer{Label: label, Href: href, Offered: offer.Offered, Reason: offer.Reason}
	}
	return []templates.Offer{link("Export as CSV", accounts.ReviewCSV), link("Export as JSON", accounts.ReviewJSON)}
}

func reviewMemberPath(id, at string) string { return atQuery(pathReviewMembers+"/"+id, at) }

func reviewRow(l accounts.ReviewLine, at string, past bool) templates.ReviewRow {
	row := templates.ReviewRow{
		Key: l.Key, Token: l.Token, Kind: map[string]string{accounts.SubjectMember: "member", accounts.SubjectGroup: "group", accounts.SubjectEmail: "address"}[l.SubjectKind],
		Name: l.SubjectName, More: max(l.MemberCount-len(l.Members), 0), Role: cmp.Or(l.Role.Name, l.Role.ID), Permissions: permissionGroups(l.Role.Permissions),
		Where: l.ScopeName, GrantedBy: l.GrantedBy, Reason: l.Reason, Since: l.Since, ExpiresAt: l.ExpiresAt, Source: l.Source, Pending: l.Pending,
		LastUse: l.LastUse, ReadOnly: l.ReadOnly, Own: l.Own, Changed: l.Changed,
	}
	for _, m := range l.Members {
		label := m.Name
		if m.Blocked {
			label += " (blocked)"
		}
		row.Members = append(row.Members, templates.Link{Label: label, Href: reviewMemberPath(m.ID, at)})
	}
	switch {
	case l.SubjectKind == accounts.SubjectMember && len(row.Members) == 1:
		row.Href, row.Members = row.Members[0].Href, nil
		row.Name = l.SubjectName
		if l.Members[0].Blocked {
			row.None = "blocked, so it gives nothing now"
		}
	case len(row.Members) == 0 && !l.Pending:
		row.None = "nobody who has signed in"
	}
	if l.Decided != nil {
		row.Decided = &templates.ReviewDecidedView{At: l.Decided.At, By: l.Decided.By, Note: l.Decided.Note, Own: l.Decided.Own}
	}
	if !l.Configured && !past {
		row.Revoke = pathReview + "/lines/" + url.PathEscape(l.Key) + "/revoke"
	}
	return row
}

func (s *Server) lastSigned(r *accounts.SignedReview) *templates.SignedRow {
	if r == nil {
		return nil
	}
	row := s.signedRow(*r, false)
	return &row
}

func (s *Server) signedRow(r accounts.SignedReview, mayAudit bool) templates.SignedRow {
	row := templates.SignedRow{
		Seq: strconv.FormatInt(r.Seq, 10), StartedAt: r.StartedAt, AsOf: r.AsOf, SignedAt: r.SignedAt, StartedBy: r.StartedBy, SignedBy: r.SignedBy, Note: r.Note,
		DueOn: r.DueOn, Overdue: r.Due(s.now()), Lines: r.Lines, Kept: r.Kept, Revoked: r.Revoked, Own: r.Own, KeptDigest: r.KeptDigest, RevokedDigest: r.RevokedDigest,
		AsOfHref: atQuery(pathReview, r.AsOf.UTC().Format(time.RFC3339)), Page: reviewSignedPath(r.ID),
	}
	if mayAudit {
		row.Href = pathAudit + "/events/" + row.Seq
	}
	return row
}

// handleReviewStart handles POST /admin/review/start.
func (s *Server) handleReviewStart(c echo.Context) error {
	if _, err := s.accounts.StartReview(c.Request().Context(), actorFrom(c)); err != nil {
		return fmt.Errorf("begin review: %w", err)
	}
	return s.redirect(c, pathReview, "An access review is under way. Decide line by line; you can come back to it.")
}

// keepForm is which lines stay.
type keepForm struct {
	Lines []string `form:"line"`
	Note  string   `form:"note"`
	Back  string   `form:"back"`
}

// reviewBack is the page of the review that a form came from.
func reviewBack(back string) (reviewQuery, string) {
	u, err := url.Parse(back)
	if err != nil || !isLocalPath(back) || u.Path != pathReview {
		return reviewQuery{}, pathReview
	}
	var q reviewQuery
	if bindValues(u.Query(), reflect.ValueOf(&q).Elem()) != nil {
		return reviewQuery{}, pathReview
	}
	return q, q.address()
}

// handleReviewKeep handles POST /admin/review/keep.
func (s *Server) handleReviewKeep(c echo.Context) error {
	var form keepForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	q, back := reviewBack(form.Back)
	did, err := s.accounts.KeepLines(c.Request().Context(), actorFrom(c), form.Lines, form.Note)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderReview(c, http.StatusUnprocessableEntity, q, form.Lines, cmp.Or(invalid.Fields["line"], invalid.Fields["note"]))
	}
	if err != nil {
		return fmt.Errorf("keep lines: %w", err)
	}
	return s.redirect(c, back, keptWords(did))
}

// keptWords says what became of lines that were to be kept.
func keptWords(did accounts.KeptLines) string {
	words := templates.Count(did.Kept, "line") + " kept."
	if did.Changed > 0 {
		words += " " + templates.Count(did.Changed, "line") + " not: changed or gone since you opened the page. Look again."
	}
	if did.Own > 0 {
		words += " " + templates.Count(did.Own, "line") + " not: your own. Somebody else decides on those, such as " + strings.Join(did.Others, ", ") + "."
	}
	return words
}

// revokeForm is why a grant ends.
type revokeForm struct {
	Reason string `form:"reason"`
}

// handleReviewRevokeForm handles GET /admin/review/lines/{line}/revoke.
func (s *Server) handleReviewRevokeForm(c echo.Context) error {
	var form revokeForm
	takeTyped(s, c, &form)
	return s.renderRevoke(c, http.StatusOK, form, nil)
}

func (s *Server) renderRevoke(c echo.Context, status int, form revokeForm, invalid map[string]string) error {
	line, err := s.accounts.ReviewLineNow(c.Request().Context(), actorFrom(c), c.Param("line"))
	if err != nil {
		return fmt.Errorf("read line: %w", err)
	}
	v := templates.ReviewRevokeView{
		Page: s.page(c, "Revoke this grant?", "review-revoke", sectionAdmin), Crumbs: []templates.Link{reviewCrumb()}, Row: reviewRow(line, "", false),
		Back: pathReview, Reason: cut(form.Reason, 4000), Errors: invalid,
	}
	v.Action, v.Keys = v.Row.Revoke, s.keysOf(c, line.SubjectKind, line.Issuer, line.Subject, line.SubjectName)
	v.Page.StepUp = s.stepUp(c, accounts.Offer{StepUp: s.accounts.ReviewStepUp(actorFrom(c))})
	return s.render(c, status, templates.ReviewRevoke(v))
}

// handleReviewRevoke handles POST /admin/review/lines/{line}/revoke.
func (s *Server) handleReviewRevoke(c echo.Context) error {
	var form revokeForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	err := s.accounts.RevokeLine(c.Request().Context(), actorFrom(c), c.Param("line"), form.Reason)
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderRevoke(c, http.StatusUnprocessableEntity, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("revoke line: %w", err)
	}
	return s.redirect(c, pathReview, "The grant has ended.")
}

// signForm is what a sign-off says.
type signForm struct {
	Note  string `form:"note"`
	DueOn string `form:"due_on"`
}

// handleReviewSignForm handles GET /admin/review/sign.
func (s *Server) handleReviewSignForm(c echo.Context) error {
	form := signForm{DueOn: s.now().UTC().AddDate(0, 0, 90).Format(time.DateOnly)}
	takeTyped(s, c, &form)
	return s.renderSign(c, http.StatusOK, form, nil)
}

func (s *Server) renderSign(c echo.Context, status int, form signForm, invalid map[string]string) error {
	p, err := s.accounts.AskSignReview(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("read review: %w", err)
	}
	v := templates.ReviewSignView{
		Page: s.page(c, "Sign off the access review", "review-sign", sectionAdmin), Crumbs: []templates.Link{reviewCrumb()}, Lines: p.All, Own: p.Own,
		Open: templates.ReviewOpenView{StartedAt: p.Open.StartedAt, StartedBy: p.Open.StartedBy, Undecided: p.Undecided, Kept: p.Kept, Revoked: p.Revoked},
		Note: cut(form.Note, 4000), Due: cut(form.DueOn, 100), Errors: invalid, Undecided: reviewQuery{Undecided: true}.address(), Back: pathReview,
	}
	v.Page.StepUp = s.stepUp(c, accounts.Offer{StepUp: s.accounts.ReviewStepUp(actorFrom(c))})
	return s.render(c, status, templates.ReviewSign(v))
}

// handleReviewSign handles POST /admin/review/sign.
func (s *Server) handleReviewSign(c echo.Context) error {
	var form signForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	signed, err := s.accounts.SignReview(c.Request().Context(), actorFrom(c), accounts.SignOff{Note: form.Note, DueOn: form.DueOn})
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderSign(c, http.StatusUnprocessableEntity, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("sign review: %w", err)
	}
	return s.redirect(c, reviewSignedPath(signed.ID), "Signed off. The next review is due on "+signed.DueOn.Format(time.DateOnly)+".")
}

// handleReviewSigned handles GET /admin/review/signed.
func (s *Server) handleReviewSigned(c echo.Context) error {
	by := actorFrom(c)
	all, err := s.accounts.SignedReviews(c.Request().Context(), by)
	if err != nil {
		return fmt.Errorf("list reviews: %w", err)
	}
	v := templates.SignedView{Page: s.page(c, "Reviews that were signed off", "review-signed", sectionAdmin), Tabs: reviewTabs(pathReviewSigned, "")}
	for _, r := range all {
		v.Rows = append(v.Rows, s.signedRow(r, s.accounts.ReadsWholeLog(by)))
	}
	return s.render(c, http.StatusOK, templates.SignedReviews(v))
}

func reviewSignedPath(id uuid.UUID) string { return pathReviewSigned + "/" + id.String() }

// reviewID is the review of the address; the zero id, which none has, when it is not spelt as one.
func reviewID(c echo.Context) uuid.UUID {
	id, err := uuid.Parse(c.Param("review"))
	if err != nil || id.String() != c.Param("review") {
		return uuid.Nil
	}
	return id
}

// handleReviewSignedOne handles GET /admin/review/signed/{review}.
func (s *Server) handleReviewSignedOne(c echo.Context) error {
	by := actorFrom(c)
	r, err := s.accounts.SignedReviewNamed(c.Request().Context(), by, reviewID(c))
	if err != nil {
		return fmt.Errorf("read review: %w", err)
	}
	export := s.accounts.ReviewExportOffer(by)
	v := templates.SignedReviewView{
		Page:   s.page(c, "Access review of "+r.Review.StartedAt.UTC().Format(time.DateOnly), "review-signed-one", sectionAdmin),
		Crumbs: []templates.Link{reviewCrumb(), {Label: "Signed off", Href: pathReviewSigned}}, Row: s.signedRow(r.Review, s.accounts.ReadsWholeLog(by)), Whole: r.Whole,
		Offers: []templates.Offer{{Label: "Export as CSV", Href: reviewSignedPath(r.Review.ID) + "/export", Offered: export.Offered, Reason: export.Reason}},
	}
	if export.Offered && export.StepUp {
		v.Offers[0].Href = stepUpPath(v.Offers[0].Href)
	}
	for _, line := range r.Lines {
		v.Rows = append(v.Rows, decidedRow(line))
	}
	return s.render(c, http.StatusOK, templates.SignedReview(v))
}

func decidedRow(l accounts.DecidedLine) templates.DecidedRow {
	row := reviewRow(l.Line, "", true)
	return templates.DecidedRow{
		Key: row.Key, Kind: row.Kind, Name: row.Name, Href: row.Href, Role: row.Role, Where: row.Where, Gives: l.Gives, Revoked: l.Revoked, At: l.At, By: l.By, Note: l.Note, Own: l.Own,
	}
}

// handleReviewSignedExport handles GET /admin/review/signed/{review}/export. HEAD takes nothing away.
func (s *Server) handleReviewSignedExport(c echo.Context) error {
	ctx, by, id := c.Request().Context(), actorFrom(c), reviewID(c)
	if err := s.accounts.AskReviewExport(ctx, by); err != nil {
		return fmt.Errorf("ask for an export of the review: %w", err)
	}
	r, err := s.accounts.SignedReviewNamed(ctx, by, id)
	if err != nil {
		return fmt.Errorf("read review: %w", err)
	}
	d := &download{c: c, control: http.NewResponseController(c.Response()), stall: s.exportStall, media: "text/csv; charset=utf-8",
		name: "quartermaster-review-" + r.Review.SignedAt.UTC().Format("20060102T150405Z") + ".csv"}
	if c.Request().Method == http.MethodHead {
		d.begin()
		return nil
	}
	if err := d.allow(d.untilEnd()); err != nil {
		return err
	}
	if err := s.accounts.ExportSignedReview(ctx, by, id, d); err != nil {
		return fmt.Errorf("export review: %w: %w", errBrokeOff, err)
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("export review: %w: %w", errBrokeOff, err)
	}
	return nil
}

// reviewMembersQuery is what the address of the members of a review may say.
type reviewMembersQuery struct {
	At    string `form:"at"`
	Text  string `form:"q"`
	After string `form:"after"`
}

func (q reviewMembersQuery) address() string {
	return withQuery(pathReviewMembers, given(param{"at", q.At}, param{"q", q.Text}, param{"after", q.After}))
}

// handleReviewMembers handles GET /admin/review/members.
func (s *Server) handleReviewMembers(c echo.Context) error {
	var q reviewMembersQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text, q.At = cut(strings.TrimSpace(q.Text), 200), cut(strings.TrimSpace(q.At), 200)
	at, failure := s.reviewMoment(q.At)
	page, err := s.accounts.ReviewMembers(c.Request().Context(), actorFrom(c), accounts.ReviewMembersQuery{At: at, Text: q.Text, After: q.After})
	if before, ok := errors.AsType[*accounts.BeforeLogError](err); ok {
		return s.renderBeforeLog(c, q.At, pathReviewMembers, reviewTabs(pathReviewMembers, ""), before)
	}
	if err != nil {
		return fmt.Errorf("list members of review: %w", err)
	}
	v := templates.ReviewMembersView{
		Page: s.page(c, "Members in the review", "review-members", sectionAdmin), Tabs: reviewTabs(pathReviewMembers, q.At), At: reviewDateField(q.At), AtError: failure,
		Moment: page.At, Past: page.Past, Text: q.Text, Total: page.Total, All: page.All, Clear: reviewMembersQuery{At: q.At}.address(),
	}
	if q.After != "" {
		v.First = reviewMembersQuery{At: q.At, Text: q.Text}.address()
	}
	if page.Next != "" {
		v.Next = reviewMembersQuery{At: q.At, Text: q.Text, After: page.Next}.address()
	}
	const named = 5
	for _, m := range page.Members {
		v.Rows = append(v.Rows, templates.ReviewPersonRow{
			Name: m.Name, Email: m.Email, Subject: m.Subject, Href: reviewMemberPath(m.ID, q.At), Blocked: m.Blocked, Groups: m.Groups[:min(len(m.Groups), named)],
			MoreGroups: max(len(m.Groups)-named, 0), Roles: m.Roles, Lines: m.Lines, LastSignIn: m.LastSignIn,
		})
	}
	return s.render(c, statusOf(failure), templates.ReviewMembers(v))
}

func statusOf(failure string) int {
	if failure != "" {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

// atForm is the moment in the address of what somebody could do.
type atForm struct {
	At string `form:"at"`
}

// handleReviewMember handles GET /admin/review/members/{member}.
func (s *Server) handleReviewMember(c echo.Context) error {
	return s.reviewRights(c, pathReviewMembers+"/"+url.PathEscape(c.Param("member")), func(at time.Time) (accounts.ReviewRights, error) {
		return s.accounts.ReviewMemberRights(c.Request().Context(), actorFrom(c), at, c.Param("member"))
	})
}

// handleReviewAccount handles GET /admin/review/accounts/{id}.
func (s *Server) handleReviewAccount(c echo.Context) error {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil || id.String() != c.Param("id") {
		id = uuid.Nil // which no account has
	}
	return s.reviewRights(c, pathReview+"/accounts/"+url.PathEscape(c.Param("id")), func(at time.Time) (accounts.ReviewRights, error) {
		return s.accounts.ReviewAccountRights(c.Request().Context(), actorFrom(c), at, id)
	})
}

func (s *Server) reviewRights(c echo.Context, self string, read func(at time.Time) (accounts.ReviewRights, error)) error {
	var form atForm
	if err := bindQuery(c, &form); err != nil {
		return err
	}
	at, failure := s.reviewMoment(form.At)
	r, err := read(at)
	if before, ok := errors.AsType[*accounts.BeforeLogError](err); ok {
		return s.renderBeforeLog(c, form.At, self, nil, before)
	}
	if err != nil {
		return fmt.Errorf("read rights of review: %w", err)
	}
	v := templates.ReviewRightsView{
		Crumbs: []templates.Link{{Label: "Access review", Href: atQuery(pathReview, form.At)}}, At: reviewDateField(form.At), AtError: failure, Moment: r.At, Past: r.Past,
		Action: self, More: r.More, Config: configChanges(r.Config), Heading: r.Who.Name, OfOne: r.Account.ID == uuid.Nil, Groups: r.Who.Groups,
		Lead: "What follows from their own grants and from those of their groups, in each account and cluster.",
	}
	if !v.OfOne {
		v.Heading, v.Lead = r.Account.Name, "Who could do what in this account, by the groups of their last sign-in."
	} else {
		v.Crumbs = append(v.Crumbs, templates.Link{Label: "Members", Href: atQuery(pathReviewMembers, form.At)})
		if r.Who.Blocked {
			v.Lead = "Blocked, so nothing of this counts until they are unblocked."
		}
	}
	v.Page = s.page(c, v.Heading, "review-rights", sectionAdmin)
	for _, p := range r.Places {
		v.Places = append(v.Places, reviewPlace(p, v.OfOne, form.At))
	}
	for _, line := range r.Lines {
		v.Rows = append(v.Rows, reviewRow(line, form.At, r.Past))
	}
	return s.render(c, statusOf(failure), templates.ReviewRights(v))
}

func reviewPlace(p accounts.ReviewPlace, ofOne bool, at string) templates.ReviewPlaceRow {
	row := templates.ReviewPlaceRow{Permissions: permissionGroups(p.Permissions), Where: "This console"}
	if p.Account.ID != uuid.Nil {
		account := cmp.Or(p.Account.Name, p.Account.ID.String())
		row.Where = "Account " + account
		switch {
		case p.Labels != "":
			row.Where += ", clusters labelled " + p.Labels
		case p.Cluster != "":
			row.Where += ", cluster " + p.Cluster
		}
		if ofOne {
			row.WhereHref = atQuery(pathReview+"/accounts/"+p.Account.ID.String(), at)
		}
	}
	if !ofOne {
		row.Who, row.WhoHref = p.Member.Name, reviewMemberPath(p.Member.ID, at)
	}
	return row
}

// handleReviewExport handles GET /admin/review/export. HEAD takes nothing away, so it is answered without an export.
func (s *Server) handleReviewExport(c echo.Context) error {
	ctx, by := c.Request().Context(), actorFrom(c)
	if err := s.accounts.AskReviewExport(ctx, by); err != nil {
		return fmt.Errorf("ask for an export of the review: %w", err)
	}
	var form exportForm
	var moment atForm
	if err := bindQuery(c, &form); err != nil {
		return err
	}
	if err := bindQuery(c, &moment); err != nil {
		return err
	}
	for name := range c.QueryParams() {
		if !slices.Contains([]string{"format", "at"}, name) {
			return badForm("the query of an export has no " + cut(name, 100))
		}
	}
	at, failure := s.reviewMoment(moment.At)
	media := map[accounts.ReviewFormat]string{accounts.ReviewCSV: "text/csv; charset=utf-8", accounts.ReviewJSON: "application/json"}[accounts.ReviewFormat(form.Format)]
	switch {
	case failure != "":
		return reviewNotExported("The date is not right.")
	case media == "":
		return reviewNotExported("An export has one of two formats: csv or json.")
	}
	of := s.now()
	if !at.IsZero() {
		of = at
	}
	d := &download{c: c, control: http.NewResponseController(c.Response()), stall: s.exportStall, media: media,
		name: "quartermaster-access-" + of.UTC().Format("20060102T150405Z") + "." + form.Format}
	if c.Request().Method == http.MethodHead {
		d.begin()
		return nil
	}
	if err := d.allow(d.untilEnd()); err != nil {
		return err
	}
	if err := s.accounts.ExportReview(ctx, by, at, accounts.ReviewFormat(form.Format), d); err != nil {
		return fmt.Errorf("export review: %w: %w", errBrokeOff, err)
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("export review: %w: %w", errBrokeOff, err)
	}
	return nil
}

func reviewNotExported(why string) error {
	return &problem{status: http.StatusUnprocessableEntity, heading: "Nothing was exported", detail: why + " Go back to the review and export from there."}
}

// reviewDue is since when the next access review is overdue, for who can do one; zero when it is not, or cannot be told.
func (s *Server) reviewDue(c echo.Context, permissions []string) time.Time {
	if !slices.Contains(permissions, access.GrantsManage) || isDatabaseTrouble(c) {
		return time.Time{}
	}
	last, err := s.accounts.ReviewOverdue(c.Request().Context())
	if err != nil || last == nil {
		return time.Time{}
	}
	return last.DueOn
}
