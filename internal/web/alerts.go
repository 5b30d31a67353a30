package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

const (
	pathAlerts = "/alerts"
	pathFiring = "/alerts/firing"
	pathRadar  = "/keys"

	sectionAlerts = "alerts"
)

// alertTabs lead to the pages about what wants attention.
func alertTabs(c echo.Context, current string) []templates.Tab {
	tabs := []templates.Tab{{Label: "Alerts", Href: pathAlerts, Current: current == pathAlerts}}
	if slices.Contains(sessionFrom(c).Permissions, access.ReadAPIKeys) {
		tabs = append(tabs, templates.Tab{Label: "Key radar", Href: pathRadar, Current: current == pathRadar})
	}
	if slices.Contains(sessionFrom(c).Permissions, access.ReadBackups) {
		tabs = append(tabs, templates.Tab{Label: "Backups", Href: pathBackups, Current: current == pathBackups})
	}
	return tabs
}

// alertsQuery is what the address of the alerts may say.
type alertsQuery struct {
	Text     string `form:"q"`
	State    string `form:"state"`
	Severity string `form:"severity"`
	Account  string `form:"account"`
	After    string `form:"after"`
}

func (q alertsQuery) from(after string) string {
	return withQuery(pathAlerts, given(param{"q", q.Text}, param{"state", q.State}, param{"severity", q.Severity}, param{"account", q.Account}, param{"after", after}))
}

// handleAlerts handles GET /alerts.
func (s *Server) handleAlerts(c echo.Context) error {
	var q alertsQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = strings.TrimSpace(q.Text)
	page, err := s.accounts.Alerts(c.Request().Context(), actorFrom(c), accounts.AlertsQuery{
		Text: q.Text, State: q.State, Severity: q.Severity, Account: q.Account, After: q.After,
	})
	if err != nil {
		return fmt.Errorf("list alerts: %w", err)
	}
	v := templates.AlertsView{
		Page: s.page(c, "Alerts", "alerts-index", sectionAlerts), Tabs: alertTabs(c, pathAlerts), Self: q.from(q.After), Text: q.Text,
		Active: q.Text+q.State+q.Severity+q.Account != "", Firing: page.Firing, Resolved: page.Resolved,
		Clusters: page.Clusters, Unread: page.Unread, Failing: page.Failing, OldestAt: timeOf(page.OldestAt),
		Selects: []templates.Select{
			filterSelect("state", "State", "Any", []string{cloudapi.AlertFiring, cloudapi.AlertResolved}, q.State, templates.Words),
			filterSelect("severity", "Severity", "Any", accounts.AlertSeverities, q.Severity, templates.Words),
			accountSelect(page.Accounts, q.Account),
		},
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	href := s.accountLinks(c)
	for _, a := range page.Alerts {
		v.Rows = append(v.Rows, templates.AlertRow{
			Severity: a.Severity, Firing: a.Fires(), State: a.State, Title: a.Title, Description: a.Description, Type: a.Type,
			Cluster: named(a.ClusterName, a.ClusterID), ClusterHref: clusterPath(a.AccountID, a.ClusterID), ClusterID: a.ClusterID,
			Account: a.AccountName, AccountHref: href(a.AccountID, a.Environment), Environment: string(a.Environment), Since: a.Since,
			LastFiringAt: timeOf(a.LastFiringAt), ReadAt: timeOf(a.ReadAt), Failed: a.Failed,
		})
	}
	if wantsPart(c) {
		c.Response().Header().Set("HX-Replace-Url", v.Self)
		return s.render(c, http.StatusOK, templates.AlertsRegion(v))
	}
	return s.render(c, http.StatusOK, templates.Alerts(v))
}

// handleAlertsFiring handles GET /alerts/firing: the count of the navigation, for a page that is open. Nobody is refused it:
// who may read no alert has none.
func (s *Server) handleAlertsFiring(c echo.Context) error {
	n, err := s.accounts.FiringAlertsNow(c.Request().Context(), actorFrom(c), templates.FiringCap)
	if err != nil {
		return fmt.Errorf("count alerts: %w", err)
	}
	return s.render(c, http.StatusOK, templates.FiringCount(n))
}

// accountLinks leads to accounts, and nowhere for those whose own page the member may not open.
func (s *Server) accountLinks(c echo.Context) func(uuid.UUID, accounts.Environment) string {
	by := actorFrom(c)
	return func(id uuid.UUID, environment accounts.Environment) string {
		if !s.accounts.MayOpenAccount(by, id, environment) {
			return ""
		}
		return accountPath(id)
	}
}

// radarQuery is what the address of the key radar may say.
type radarQuery struct {
	Text    string `form:"q"`
	End     string `form:"end"`
	Account string `form:"account"`
	After   string `form:"after"`
}

func (q radarQuery) from(after string) string {
	return withQuery(pathRadar, given(param{"q", q.Text}, param{"end", q.End}, param{"account", q.Account}, param{"after", after}))
}

// radarEnds are the words for when keys end, the most urgent first.
var radarEnds = map[accounts.KeyEnd]string{
	accounts.KeyExpired: "Expired", accounts.KeyEndsWeek: "In 7 days", accounts.KeyEndsMonth: "In 30 days", accounts.KeyEndsLater: "Later", accounts.KeyEndsNever: "Never",
}

// handleKeyRadar handles GET /keys.
func (s *Server) handleKeyRadar(c echo.Context) error {
	var q radarQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = strings.TrimSpace(q.Text)
	page, err := s.accounts.KeyRadar(c.Request().Context(), actorFrom(c), accounts.RadarQuery{Text: q.Text, End: accounts.KeyEnd(q.End), Account: q.Account, After: q.After})
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	v := templates.RadarView{
		Page: s.page(c, "Key radar", "keys-index", sectionAlerts), Tabs: alertTabs(c, pathRadar), Self: q.from(q.After), Text: q.Text, End: q.End,
		Account: accountSelect(page.Accounts, q.Account), Active: q.Text+q.End+q.Account != "", OldestAt: timeOf(page.OldestAt),
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	for _, end := range accounts.KeyEnds {
		to := radarQuery{End: string(end), Account: q.Account, Text: q.Text}
		current := q.End == string(end)
		if current {
			to.End = "" // again leads back to all
		}
		v.Ends = append(v.Ends, templates.RadarEnd{Label: radarEnds[end], Href: to.from(""), Keys: page.Counts[end], Current: current, Tone: templates.RadarTones(string(end))})
	}
	href := s.accountLinks(c)
	environments := map[uuid.UUID]accounts.Environment{}
	for _, a := range page.Accounts {
		environments[a.ID] = a.Environment
	}
	for _, t := range page.Trouble {
		v.Trouble = append(v.Trouble, templates.RadarTrouble{Name: t.Name, Href: href(t.AccountID, environments[t.AccountID]), Error: asSentence(t.Error), OKAt: timeOf(t.OKAt)})
	}
	for _, k := range page.Keys {
		row := templates.RadarRow{
			ID: k.KeyID, Name: k.Name, Mark: k.Mark, Admin: k.Admin, ExpiresAt: timeOf(k.ExpiresAt), Hidden: k.Hidden, Access: k.Access,
			Creator: k.Creator, Here: k.Here, CreatedAt: timeOf(k.CreatedAt), Account: k.AccountName, AccountHref: href(k.AccountID, k.Environment),
			Environment: string(k.Environment), ReadAt: timeOf(k.ReadAt), Stale: k.Stale, Missing: k.Missing,
		}
		for _, opened := range k.Opens {
			row.Opens = append(row.Opens, templates.Link{Label: opened.Name, Href: clusterPath(k.AccountID, opened.ID) + "/keys"})
		}
		v.Rows = append(v.Rows, row)
	}
	if wantsPart(c) {
		c.Response().Header().Set("HX-Replace-Url", v.Self)
		return s.render(c, http.StatusOK, templates.RadarRegion(v))
	}
	return s.render(c, http.StatusOK, templates.KeyRadar(v))
}
