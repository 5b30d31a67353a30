package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/templates"
)

const pathBackups = "/backups"

func clusterBackupsPath(ref accounts.ClusterRef) string {
	return clusterPath(ref.AccountID, ref.ClusterID) + pathBackups
}

// backupsQuery is what the address of the backups over all accounts may say.
type backupsQuery struct {
	Text        string `form:"q"`
	State       string `form:"state"`
	Account     string `form:"account"`
	Environment string `form:"environment"`
	After       string `form:"after"`
}

func (q backupsQuery) from(after string) string {
	return withQuery(pathBackups, given(param{"q", q.Text}, param{"state", q.State}, param{"account", q.Account}, param{"environment", q.Environment}, param{"after", after}))
}

// backupStates are the words for how clusters stand with their backups.
var backupStates = map[accounts.BackupState]string{
	accounts.BackupsNone: "No backup", accounts.BackupsFailed: "Last failed", accounts.BackupsOverdue: "Overdue", accounts.BackupsUnscheduled: "No schedule",
	accounts.BackupsFine: "Backed up", accounts.BackupsUnable: "Not offered",
}

// handleBackups handles GET /backups.
func (s *Server) handleBackups(c echo.Context) error {
	var q backupsQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	q.Text = strings.TrimSpace(q.Text)
	page, err := s.accounts.Backups(c.Request().Context(), actorFrom(c), accounts.BackupsQuery{
		Text: q.Text, State: accounts.BackupState(q.State), Account: q.Account, Environment: q.Environment, After: q.After,
	})
	if err != nil {
		return fmt.Errorf("list backups: %w", err)
	}
	v := templates.BackupsView{
		Page: s.page(c, "Backups", "backups-index", sectionAlerts), Tabs: alertTabs(c, pathBackups), Self: q.from(q.After), Text: q.Text, State: q.State,
		Active: q.Text+q.State+q.Account+q.Environment != "", Unread: page.Unread, OldestAt: timeOf(page.OldestAt),
		Selects: []templates.Select{
			filterSelect("environment", "Environment", "Any", environmentsOf(page.Accounts), q.Environment, func(environment string) string { return environment }),
			accountSelect(page.Accounts, q.Account),
		},
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	for _, state := range accounts.BackupStates {
		to := backupsQuery{State: string(state), Account: q.Account, Environment: q.Environment, Text: q.Text}
		current := q.State == string(state)
		if current {
			to.State = "" // again leads back to all
		}
		v.States = append(v.States, templates.BackupsState{
			Label: backupStates[state], Href: to.from(""), Clusters: page.Counts[state], Current: current, Tone: templates.BackupTones(string(state)),
		})
	}
	href := s.accountLinks(c)
	environments := map[uuid.UUID]accounts.Environment{}
	for _, a := range page.Accounts {
		environments[a.ID] = a.Environment
	}
	for _, t := range page.Trouble {
		v.Trouble = append(v.Trouble, templates.RadarTrouble{Name: t.Name, Href: href(t.AccountID, environments[t.AccountID]), Error: asSentence(t.Error), OKAt: timeOf(t.OKAt)})
	}
	for _, r := range page.Rows {
		row := templates.BackupsRow{
			Cluster: named(r.ClusterName, r.ClusterID), ClusterID: r.ClusterID, Href: clusterBackupsPath(accounts.ClusterRef{AccountID: r.AccountID, ClusterID: r.ClusterID}),
			Account: r.AccountName, AccountHref: href(r.AccountID, r.Environment), Environment: string(r.Environment), Stands: backupsStand(r),
			SchedulesHidden: !r.Scheduled, ReadAt: timeOf(r.ReadAt), Stale: r.Stale,
		}
		row.MoreSchedules = r.MoreSchedules
		for _, one := range r.Schedules {
			row.Schedules = append(row.Schedules, templates.ScheduleLine{Cron: one.Cron, Status: one.Status, Next: timeOf(one.Next)})
		}
		v.Rows = append(v.Rows, row)
	}
	if wantsPart(c) {
		c.Response().Header().Set("HX-Replace-Url", v.Self)
		return s.render(c, http.StatusOK, templates.BackupsRegion(v))
	}
	return s.render(c, http.StatusOK, templates.Backups(v))
}

// environmentsOf are the environments of accounts, each once, in the order of all there are.
func environmentsOf(list []accounts.Account) []string {
	has := map[accounts.Environment]bool{}
	for _, a := range list {
		has[a.Environment] = true
	}
	var out []string
	for _, e := range accounts.Environments {
		if has[e] {
			out = append(out, string(e))
		}
	}
	return out
}

func backupsStand(r accounts.BackupsRow) templates.BackupsStand {
	return templates.BackupsStand{
		Legacy: r.Legacy, Unsupported: r.Unsupported, Unread: r.Unread, Production: r.Environment == accounts.Production,
		None: r.None, Failed: r.Failed, Overdue: r.Overdue, Unscheduled: r.Unscheduled,
		LastAt: timeOf(r.LastAt), LastStatus: r.LastStatus, LastOKAt: timeOf(r.LastOKAt), Running: r.Running, DueAt: timeOf(r.DueAt),
	}
}

// clusterBackupsQuery is what the address of a cluster's backups may say.
type clusterBackupsQuery struct {
	After string `form:"after"`
}

// handleClusterBackups handles GET /accounts/{id}/clusters/{cluster}/backups.
func (s *Server) handleClusterBackups(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	var q clusterBackupsQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	page, err := s.accounts.ClusterBackups(c.Request().Context(), actorFrom(c), ref, q.After)
	if err != nil {
		return fmt.Errorf("read the backups of a cluster: %w", err)
	}
	title := "Backups of " + named(page.Cluster.Cluster.Name, ref.ClusterID)
	v := clusterBackupsView(s.accountPage(c, page.Cluster.Account, title, "cluster-backups", "clusters"), ref, q, page)
	if wantsPart(c) {
		return s.render(c, http.StatusOK, templates.ClusterBackupsRegion(v))
	}
	return s.render(c, http.StatusOK, templates.ClusterBackups(v))
}

func clusterBackupsView(p templates.Page, ref accounts.ClusterRef, q clusterBackupsQuery, page accounts.ClusterBackups) templates.ClusterBackupsView {
	self := clusterBackupsPath(ref)
	v := templates.ClusterBackupsView{
		Page: p, Crumbs: keysCrumbs(ref, page.Cluster.Account, page.Cluster.Cluster), Tabs: clusterTabs(clusterPath(ref.AccountID, ref.ClusterID), self),
		Self: withQuery(self, given(param{"after", q.After})), AccountID: ref.AccountID.String(), Cluster: named(page.Cluster.Cluster.Name, ref.ClusterID), Gone: page.Cluster.Gone,
		Lacking: page.Lacking, Stands: backupsStand(page.Stands), ReadAt: timeOf(page.Stands.ReadAt), Stale: page.Stands.Stale, Error: asSentence(page.Error),
		SchedulesHidden: page.Unscheduled,
	}
	v.Stands.Legacy = page.Lacking != ""
	if q.After != "" {
		v.First = self
	}
	if page.Next != "" {
		v.Next = withQuery(self, url.Values{"after": {page.Next}})
	}
	v.MoreSchedules = page.MoreSchedules
	for _, one := range page.Schedules {
		row := templates.BackupScheduleRow{ID: one.ID, Name: one.Name, Cron: one.Cron, Status: one.Status, Next: timeOf(one.Next), LastRunAt: timeOf(one.LastRunAt), DeletedAt: timeOf(one.DeletedAt)}
		if one.Retention != nil {
			row.Retention = *one.Retention
		}
		v.Schedules = append(v.Schedules, row)
	}
	for _, b := range page.Backups {
		row := templates.BackupRow{
			ID: b.ID, Name: b.Name, StoredAs: b.StoredAs, Status: b.Status, CreatedAt: timeOf(b.CreatedAt), DeletedAt: timeOf(b.DeletedAt), KeptUntil: timeOf(b.KeptUntil),
			ByHand: b.ByHand, Schedule: b.Schedule,
		}
		if b.Took != nil {
			row.Took = *b.Took
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}
