package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

const pathUpstream = "/admin/upstream"

// notToldOfClusters stands for what upstream said where the member may not read every cluster of the account.
const notToldOfClusters = "What Qdrant Cloud said is told to those who may read every cluster of the account"

// upstreamOf is the page narrowed to one account.
func upstreamOf(a accounts.Account) string {
	return withQuery(pathUpstream, url.Values{"q": {a.CloudAccountID}})
}

// handleUpstream handles GET /admin/upstream.
func (s *Server) handleUpstream(c echo.Context) error {
	var q accountsQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = strings.TrimSpace(q.Text)
	if q.State != stateTrouble {
		q.State = ""
	}
	page, err := s.accounts.UpstreamHealth(c.Request().Context(), actorFrom(c), accounts.AccountsQuery{Text: q.Text, Trouble: q.State == stateTrouble, After: q.After})
	if err != nil {
		return fmt.Errorf("list how calls go: %w", err)
	}
	v := templates.UpstreamView{
		Page: s.page(c, "Upstream", "upstream-index", sectionAdmin), Total: page.Total, All: page.All,
		Shown: page.All > fewAccounts || q.Text+q.State != "", Text: q.Text,
		State: templates.Select{Name: "state", Label: "State", Any: "Any", Choices: []templates.Choice{
			{Value: stateTrouble, Label: "Needs a look", Selected: q.State == stateTrouble},
		}},
	}
	v.First, v.Next = pageLinks(q.After, page.Next, func(after string) string {
		q.After = after
		return q.addressOf(pathUpstream)
	})
	for _, a := range page.Accounts {
		v.Rows = append(v.Rows, upstreamRow(a))
	}
	return s.render(c, http.StatusOK, templates.Upstream(v))
}

func upstreamRow(a accounts.AccountHealth) templates.UpstreamRow {
	h := a.Health
	r := templates.UpstreamRow{
		ID: a.Account.ID.String(), Name: a.Account.Name, Href: accountPath(a.Account.ID), Legacy: a.Account.Generation == cloudapi.PAV1,
		Enabled: a.Account.Enabled, OKAt: a.Account.Sync.OKAt, Error: a.Account.Sync.Error, Stale: a.Account.Sync.Stale, KeyRefused: a.Account.Key.Refused,
		Called: a.Called, Breaker: string(h.Breaker), RetryAt: h.RetryAt, InARow: h.Failures, UnderWay: h.InFlight, Waiting: h.Waiting,
		LastMinute: h.LastMinute, MostAMinute: h.MostAMinute, Requests: int(h.Requests), Failed: int(h.Failed), AnsweredAt: h.AnsweredAt,
	}
	for _, k := range a.Beside {
		r.Beside = append(r.Beside, templates.UpstreamKind{Kind: k.Kind, OKAt: timeOf(k.OKAt), Failing: k.Failures > 0, Error: asSentence(k.Error)})
	}
	for _, f := range h.Recent {
		r.Recent = append(r.Recent, templates.UpstreamFailure{At: f.At, Op: f.Op, Kind: string(f.Kind), Status: f.Status, Words: asSentence(cmp.Or(f.Words, notToldOfClusters)), TraceID: f.TraceID})
	}
	return r
}
