package web

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

func historyPath(ref accounts.ClusterRef) string {
	return clusterPath(ref.AccountID, ref.ClusterID) + "/history"
}

// historyQuery is what the address of a cluster's history may say.
type historyQuery struct {
	After string `form:"after"`
}

// handleClusterHistory handles GET /accounts/{id}/clusters/{cluster}/history.
func (s *Server) handleClusterHistory(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	var q historyQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	h, err := s.accounts.ClusterHistory(c.Request().Context(), actorFrom(c), ref, q.After)
	if err != nil {
		return fmt.Errorf("read the history of a cluster: %w", err)
	}
	title := "History of " + named(h.Cluster.Cluster.Name, ref.ClusterID)
	return s.render(c, http.StatusOK, templates.History(historyView(s.accountPage(c, h.Cluster.Account, title, "cluster-history", "clusters"), ref, q, h)))
}

func historyView(p templates.Page, ref accounts.ClusterRef, q historyQuery, h accounts.ClusterHistory) templates.HistoryView {
	v := templates.HistoryView{
		Page: p, Crumbs: keysCrumbs(ref, h.Cluster.Account, h.Cluster.Cluster), Tabs: clusterTabs(clusterPath(ref.AccountID, ref.ClusterID), historyPath(ref)),
		Cluster: named(h.Cluster.Cluster.Name, ref.ClusterID), Legacy: h.Cluster.Account.Generation == cloudapi.PAV1, Gone: h.Cluster.Gone,
	}
	if q.After != "" {
		v.First = historyPath(ref)
	} else if u := h.Untold; u != nil {
		v.Untold = &templates.UntoldView{Changes: u.Changes, FirstAt: u.FirstAt, LastAt: u.LastAt}
	}
	if h.Next != "" {
		v.Next = withQuery(historyPath(ref), url.Values{"after": {h.Next}})
	}
	for _, e := range h.Entries {
		row := templates.HistoryRow{
			Act: e.Act, Outcome: e.Status, Reason: e.Reason, Inferred: e.Inferred, By: e.By, Email: e.Email, Via: string(e.Via), At: e.At, Key: e.Key,
			Changes: changeViews(e.Act, e.Change),
		}
		if e.Seq > 0 {
			row.Href = eventPath(e.Seq)
		}
		if accounts.IsOutside(e.Act) { // the actor is who noticed
			row.By, row.Via = "not known", ""
			if e.Seq > 0 {
				row.Href = outsidePath(e.Seq)
			}
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}
