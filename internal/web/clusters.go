package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// How often a cluster's page asks for itself again.
const (
	refreshMoving  = "2s"
	refreshResting = "15s"
)

// Both count up to the same number; this does not compile when they differ.
var _ = [1]struct{}{}[accounts.CountCap-templates.CountCap]

// fleetQuery is what the address of the fleet may say.
type fleetQuery struct {
	Text        string `form:"q"`
	Account     string `form:"account"`
	Environment string `form:"environment"`
	Phase       string `form:"phase"`
	Cloud       string `form:"cloud"`
	Region      string `form:"region"`
	Version     string `form:"version"`
	Sort        string `form:"sort"`
	Dir         string `form:"dir"`
	After       string `form:"after"`
}

// fleetColumn is a column of the fleet: the keys that it can be sorted by, each with its label.
type fleetColumn struct {
	sorts   [][2]string
	numeric bool
}

var fleetColumns = []fleetColumn{
	{sorts: [][2]string{{"name", "Name"}}},
	{sorts: [][2]string{{"phase", "Phase"}}},
	{sorts: [][2]string{{"account", "Account"}}},
	{sorts: [][2]string{{"environment", "Environment"}}},
	{sorts: [][2]string{{"cloud", "Cloud"}, {"region", "Region"}}},
	{sorts: [][2]string{{"version", "Version"}}, numeric: true},
	{sorts: [][2]string{{"nodes", "Nodes"}}, numeric: true},
	{sorts: [][2]string{{"package", "Package, each node"}}, numeric: true},
	{sorts: [][2]string{{"created", "Created"}}, numeric: true},
}

// tidy drops what is not understood and says so.
func (q *fleetQuery) tidy() (notes []string) {
	q.Text = strings.TrimSpace(q.Text)
	if q.Account != "" {
		if _, err := uuid.Parse(q.Account); err != nil {
			notes = append(notes, "The account in the address is not an account’s id, so it was left out.")
			q.Account = ""
		}
	}
	known := slices.ContainsFunc(fleetColumns, func(c fleetColumn) bool {
		return slices.ContainsFunc(c.sorts, func(sort [2]string) bool { return sort[0] == q.Sort })
	})
	if q.Sort != "" && !known {
		notes = append(notes, "The list cannot be sorted by what the address says, so it is sorted by name.")
		q.Sort, q.Dir, q.After = "", "", ""
	}
	if q.Dir != "" && q.Dir != "asc" && q.Dir != "desc" {
		notes = append(notes, "The direction in the address is neither asc nor desc, so it is ascending.")
		q.Dir, q.After = "", ""
	}
	return notes
}

// address is the canonical address of the fleet narrowed and sorted like this.
func (q fleetQuery) address() string {
	return withQuery(pathHome, given(
		param{"q", q.Text}, param{"account", q.Account}, param{"environment", q.Environment}, param{"phase", q.Phase}, param{"cloud", q.Cloud},
		param{"region", q.Region}, param{"version", q.Version}, param{"sort", q.Sort}, param{"dir", q.Dir}, param{"after", q.After},
	))
}

// from is the address of the page that comes after a place of the list; the first one after none.
func (q fleetQuery) from(after string) string {
	q.After = after
	return q.address()
}

func (q fleetQuery) filtered() bool {
	return q.Text+q.Account+q.Environment+q.Phase+q.Cloud+q.Region+q.Version != ""
}

func (q fleetQuery) columns() []templates.Column {
	out := make([]templates.Column, 0, len(fleetColumns))
	for _, c := range fleetColumns {
		column := templates.Column{Numeric: c.numeric}
		for _, sort := range c.sorts {
			column.Sorts = append(column.Sorts, q.sort(sort[0], sort[1]))
		}
		out = append(out, column)
	}
	return out
}

// sort is one way to sort the fleet: again by what it is sorted by turns the direction.
func (q fleetQuery) sort(key, label string) templates.Sort {
	sorted, desc := q.Sort, q.Dir == "desc"
	if sorted == "" {
		sorted = "name"
	}
	by := q
	by.Sort, by.Dir, by.After = key, "asc", ""
	way := templates.Sort{Label: label}
	switch {
	case key == sorted && desc:
		way.Order = "descending"
	case key == sorted:
		way.Order, by.Dir = "ascending", "desc"
	}
	way.Href = by.address()
	return way
}

// handleFleet handles GET /clusters.
func (s *Server) handleFleet(c echo.Context) error {
	var q fleetQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	notes := q.tidy()
	page, err := s.accounts.Fleet(c.Request().Context(), actorFrom(c), accounts.FleetQuery{
		Text: q.Text, Account: q.Account, Environment: q.Environment, Phase: q.Phase, Cloud: q.Cloud,
		Region: q.Region, Version: q.Version, Sort: q.Sort, Dir: q.Dir, After: q.After,
	})
	if err != nil {
		return fmt.Errorf("list clusters: %w", err)
	}
	view := fleetView(s.page(c, "Clusters", "clusters-index", "clusters"), q, page)
	view.Notes, view.Contact, view.SlowSearch = notes, s.opts.Contact, page.SlowSearch
	view.ShortText = accounts.IsShortText(q.Text)
	view.Offers = newClusterOffer(sessionFrom(c).Permissions, page.Accounts)
	if wantsPart(c) {
		c.Response().Header().Set("HX-Replace-Url", view.Self)
		return s.render(c, http.StatusOK, templates.FleetRegion(view))
	}
	return s.render(c, http.StatusOK, templates.Fleet(view))
}

func fleetView(p templates.Page, q fleetQuery, page accounts.FleetPage) templates.FleetView {
	v := templates.FleetView{
		Page: p, Self: q.address(), Clear: pathHome, Columns: q.columns(), Total: page.Total, All: page.All,
		MayAdd: p.Member != nil && p.Member.MayManage,
		Filter: templates.FleetFilter{Text: q.Text, Active: q.filtered()},
	}
	v.Filter.Selects = []templates.Select{
		accountSelect(page.Accounts, q.Account),
		filterSelect("environment", "Environment", "Any", page.Choices.Environments, q.Environment, plain),
		filterSelect("phase", "Phase", "Any", page.Choices.Phases, q.Phase, templates.Words),
		filterSelect("cloud", "Cloud", "Any", page.Choices.Clouds, q.Cloud, plain),
		filterSelect("region", "Region", "Any", page.Choices.Regions, q.Region, plain),
		filterSelect("version", "Version", "Any", page.Choices.Versions, q.Version, plain),
	}
	for _, h := range []templates.Pair{{Name: "sort", Value: q.Sort}, {Name: "dir", Value: q.Dir}} {
		if h.Value != "" {
			v.Filter.Hidden = append(v.Filter.Hidden, h)
		}
	}
	v.First, v.Next = pageLinks(q.After, page.Next, q.from)
	stale, hidden := map[uuid.UUID]string{}, map[uuid.UUID]bool{}
	for _, a := range page.Accounts {
		v.Accounts = append(v.Accounts, accountStrip(a))
		stale[a.ID], hidden[a.ID] = staleReason(a), a.Hidden
	}
	v.Rows = make([]templates.FleetRow, len(page.Rows))
	for i, r := range page.Rows {
		v.Rows[i] = fleetRow(r, stale[r.AccountID])
		if hidden[r.AccountID] {
			v.Rows[i].AccountHref = ""
		}
	}
	for _, r := range page.Gone {
		row := fleetRow(r, stale[r.AccountID])
		if shown, listed := hidden[r.AccountID]; shown || !listed {
			row.AccountHref = ""
		}
		v.Gone = append(v.Gone, row)
	}
	v.GoneMore = page.GoneMore
	return v
}

func accountStrip(a accounts.Account) templates.AccountStrip {
	return templates.AccountStrip{
		ID: a.ID.String(), Name: a.Name, Href: accountHref(a), Environment: string(a.Environment), Clusters: a.Clusters,
		Legacy: a.Generation == cloudapi.PAV1, Disabled: !a.Enabled, OKAt: a.Sync.OKAt, Error: asSentence(a.Sync.Error),
		Stale: a.Sync.Stale, Vanished: a.Sync.Vanished,
	}
}

// staleReason says why what an account tells may no longer be so; empty when it is fresh.
func staleReason(a accounts.Account) string {
	switch {
	case !a.Enabled:
		return "The account is disabled, so it is not asked."
	case a.Sync.Error != "":
		return asSentence(a.Sync.Error)
	case a.Sync.Stale:
		return "The account has not given a complete answer for a while."
	}
	return ""
}

func fleetRow(r accounts.ClusterRow, accountStale string) templates.FleetRow {
	account := r.AccountID.String()
	row := templates.FleetRow{
		AccountID: account, AccountName: r.AccountName, AccountHref: pathAccounts + "/" + account,
		Environment: string(r.Environment), Legacy: r.Generation == cloudapi.PAV1,
		ClusterID: r.ClusterID, Name: named(r.Name, r.ClusterID), Href: clusterPath(r.AccountID, r.ClusterID),
		Phase: string(r.Phase), Reason: r.Reason, Cloud: r.Cloud, Region: r.Region, Version: r.Version,
		NodesUp: r.NodesUp, Nodes: r.Nodes, Package: r.Package,
		RAM: templates.MiB(r.RAMMiB), CPU: templates.CPU(r.CPUMilli), Disk: templates.MiB(r.DiskMiB),
		CreatedAt: timeOf(r.CreatedAt), SeenAt: r.SeenAt, GoneAt: timeOf(r.GoneAt),
	}
	if r.Stale {
		row.Stale = accountStale
		if row.Stale == "" {
			row.Stale = "It was not in the account’s last answer."
		}
	}
	return row
}

func named(name, id string) string {
	if strings.TrimSpace(name) == "" {
		return id
	}
	return name
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// asSentence ends words for people with a full stop, so that others can follow them.
func asSentence(words string) string {
	words = strings.TrimSpace(words)
	if words == "" || strings.HasSuffix(words, ".") || strings.HasSuffix(words, "!") || strings.HasSuffix(words, "?") {
		return words
	}
	return words + "."
}

func plain(value string) string { return value }

// filterSelect is a list of values that occur. A value from the address that does not occur stays
// in the list, so that the page shows what it was narrowed by.
func filterSelect(name, label, anyWord string, values []string, chosen string, word func(string) string) templates.Select {
	s := templates.Select{Name: name, Label: label, Any: anyWord}
	found := chosen == ""
	for _, v := range values {
		found = found || v == chosen
		s.Choices = append(s.Choices, templates.Choice{Value: v, Label: word(v), Selected: v == chosen})
	}
	if !found {
		s.Choices = append(s.Choices, templates.Choice{Value: chosen, Label: word(chosen), Selected: true})
	}
	return s
}

func accountSelect(list []accounts.Account, chosen string) templates.Select {
	s := templates.Select{Name: "account", Label: "Account", Any: "Any"}
	found := chosen == ""
	for _, a := range list {
		id := a.ID.String()
		found = found || id == chosen
		s.Choices = append(s.Choices, templates.Choice{Value: id, Label: a.Name, Selected: id == chosen})
	}
	if !found {
		s.Choices = append(s.Choices, templates.Choice{Value: chosen, Label: chosen, Selected: true})
	}
	return s
}

// accountHref leads to the account's page; empty for a member who may not open it.
func accountHref(a accounts.Account) string {
	if a.Hidden {
		return ""
	}
	return accountPath(a.ID)
}

func accountPath(id uuid.UUID) string { return pathAccounts + "/" + id.String() }

func clusterPath(account uuid.UUID, cluster string) string {
	return accountPath(account) + "/clusters/" + url.PathEscape(cluster)
}

// accountID reads the account of a path. What is no id of ours is not found, like one that does
// not exist.
func accountID(c echo.Context) (uuid.UUID, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil || id.String() != c.Param("id") {
		return uuid.UUID{}, fmt.Errorf("account in the path: %w", accounts.ErrNotFound)
	}
	return id, nil
}

// maxClusterID is more than an id of either API generation has.
const maxClusterID = 128

func clusterRef(c echo.Context) (accounts.ClusterRef, error) {
	account, err := accountID(c)
	if err != nil {
		return accounts.ClusterRef{}, err
	}
	cluster, err := url.PathUnescape(c.Param("cluster"))
	if err != nil || cluster == "" || len(cluster) > maxClusterID || hasControl(cluster) {
		return accounts.ClusterRef{}, fmt.Errorf("cluster in the path: %w", accounts.ErrNotFound)
	}
	return accounts.ClusterRef{AccountID: account, ClusterID: cluster}, nil
}

// handleCluster handles GET /accounts/{id}/clusters/{cluster}.
func (s *Server) handleCluster(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	d, err := s.accounts.Cluster(c.Request().Context(), actorFrom(c), ref)
	if err != nil {
		return fmt.Errorf("read cluster: %w", err)
	}
	view := clusterView(s.accountPage(c, d.Account, named(d.Cluster.Name, ref.ClusterID), "cluster-show", "clusters"), ref, d)
	view.WhoCanHref = s.whoCanHref(c, ref)
	if wantsPart(c) {
		return s.render(c, http.StatusOK, templates.ClusterRegion(view))
	}
	return s.render(c, http.StatusOK, templates.Cluster(view))
}

func clusterView(p templates.Page, ref accounts.ClusterRef, d accounts.ClusterDetail) templates.ClusterView {
	k, state, conf := d.Cluster, d.Cluster.State, d.Cluster.Configuration
	v := templates.ClusterView{
		Page: p, Self: clusterPath(ref.AccountID, ref.ClusterID), Crumbs: clusterCrumbs(d.Account),
		Name: named(k.Name, ref.ClusterID), ID: ref.ClusterID, AccountID: ref.AccountID.String(), Phase: string(state.Phase), Reason: state.Reason,
		Moving: state.Phase.Moving(), Gone: d.Gone, GoneAt: timeOf(d.Row.GoneAt), ShownUntil: d.ShownUntil, SeenAt: d.SeenAt,
		AccountName: d.Account.Name, AccountHref: accountHref(d.Account), Environment: string(d.Account.Environment),
		CloudAccountID: d.Account.CloudAccountID, Legacy: d.Account.Generation == cloudapi.PAV1,
		Cloud: k.CloudProvider, Region: k.Region, CreatedAt: k.CreatedAt, DeletedAt: k.DeletedAt,
		CostAllocationLabel: k.CostAllocationLabel,
		Endpoint:            state.EndpointURL, RESTPort: state.RESTPort, GRPCPort: state.GRPCPort,
		RESTURL: portURL(state.EndpointURL, state.RESTPort), GRPCTarget: portHost(state.EndpointURL, state.GRPCPort),
		Version: state.Version, WantedVersion: conf.Version, NodesUp: state.NodesUp, Nodes: conf.Nodes, RestartedAt: state.RestartedAt,
		JWT: onOff(state.JWTRBAC), Package: d.Row.Package, PackageID: conf.PackageID,
		RAM: templates.MiB(d.Row.RAMMiB), CPU: templates.CPU(d.Row.CPUMilli), Disk: templates.MiB(d.Row.DiskMiB),
		AdditionalDiskGiB: conf.AdditionalDiskGiB, AllowedIPs: conf.AllowedIPs, ModifiedAt: conf.LastModifiedAt,
		Raw: indented(k.Raw),
	}
	if v.Version == "" {
		v.Version = conf.Version
	}
	if d.Row.Stale && !d.Gone {
		v.Stale = staleReason(d.Account)
		if v.Stale == "" {
			v.Stale = "It was not in the account’s last answer."
		}
	}
	for _, l := range k.Labels {
		v.Labels = append(v.Labels, templates.Pair{Name: l.Key, Value: l.Value})
	}
	for _, set := range conf.Settings {
		v.Settings = append(v.Settings, templates.Pair{Name: set.Name, Value: set.Value})
	}
	for _, r := range state.Resources {
		v.Resources = append(v.Resources, templates.ResourceView{
			Name: r.Name, Unit: r.Unit, Base: r.Base, Complimentary: r.Complimentary, Additional: r.Additional, Reserved: r.Reserved, Available: r.Available,
		})
	}
	for _, n := range state.Nodes {
		v.NodeRows = append(v.NodeRows, nodeView(n))
	}
	for _, a := range state.Capabilities {
		v.Capabilities = append(v.Capabilities, templates.CapabilityView{Name: a.Name, Status: a.Status, Reason: a.Reason})
	}
	for _, pending := range d.Pending {
		v.Pending = append(v.Pending, templates.PendingView{Act: pending.Act, By: pending.By, Since: pending.Since, Unknown: pending.Unknown})
	}
	v.Offers = clusterOffers(ref, d)
	v.Tabs = clusterTabs(v.Self, v.Self)
	v.Every = refreshEvery(d)
	return v
}

// refreshEvery is how often the page asks for itself: quickly while something is under way, never
// for a cluster that is gone.
func refreshEvery(d accounts.ClusterDetail) string {
	switch {
	case d.Gone:
		return ""
	case d.Cluster.State.Phase.Moving() || slices.ContainsFunc(d.Pending, func(p accounts.PendingAct) bool { return !p.Unknown }):
		return refreshMoving
	}
	return refreshResting
}

func clusterCrumbs(a accounts.Account) []templates.Link {
	return []templates.Link{{Label: "Clusters", Href: pathHome}, {Label: a.Name, Href: accountHref(a)}}
}

func nodeView(n cloudapi.Node) templates.NodeView {
	v := templates.NodeView{Name: n.Name, State: n.State, Version: n.Version, Zone: n.AvailabilityZone, Endpoint: n.EndpointURL, StartedAt: n.StartedAt}
	if why := n.NotReady; why != nil {
		for _, p := range []templates.Pair{{Name: why.Condition, Value: why.ConditionMessage}, {Name: why.Event, Value: why.EventMessage}} {
			if p.Name != "" || p.Value != "" {
				v.NotReady = append(v.NotReady, p)
			}
		}
		v.Actions = why.Actions
	}
	return v
}

// clusterOffers lists the acts of a cluster's page. Suspend and resume share one place.
func clusterOffers(ref accounts.ClusterRef, d accounts.ClusterDetail) []templates.Offer {
	if d.Gone {
		return nil
	}
	self := clusterPath(ref.AccountID, ref.ClusterID)
	offer := func(act, label, verb string) templates.Offer {
		o := d.Offers[act]
		return templates.Offer{Label: label, Href: self + "/" + verb, Offered: o.Offered, Reason: o.Reason, Why: whyHref(ref, o)}
	}
	change := offer(accounts.ActClusterUpdate.Name, "Change", "update")
	restart := offer(accounts.ActClusterRestart.Name, "Restart", "restart")
	turn := offer(accounts.ActClusterSuspend.Name, "Suspend", "suspend")
	if phase := d.Cluster.State.Phase; phase == cloudapi.PhaseSuspended || phase == cloudapi.PhaseFailedToResume || phase == cloudapi.PhaseResuming {
		turn = offer(accounts.ActClusterUnsuspend.Name, "Resume", "unsuspend")
		turn.Post, turn.Primary = true, true
	}
	remove := offer(accounts.ActClusterDelete.Name, "Delete", "delete")
	remove.Danger = true
	return []templates.Offer{change, restart, turn, remove}
}

func onOff(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "enabled"
	}
	return "not enabled"
}

// portURL is the endpoint with the port of the REST interface.
func portURL(endpoint string, port int) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || port == 0 {
		return endpoint
	}
	u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(port))
	return u.String()
}

// portHost is the endpoint's host with the port of the gRPC interface.
func portHost(endpoint string, port int) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || port == 0 {
		return endpoint
	}
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(port))
}

func indented(raw json.RawMessage) string {
	var buf bytes.Buffer
	if len(raw) == 0 || json.Indent(&buf, raw, "", "  ") != nil {
		return string(raw)
	}
	return buf.String()
}

// clusterToAsk reads the cluster that a confirming page is about, and refuses when the act is not
// offered: a page that asks for an act it will refuse is no use.
func (s *Server) clusterToAsk(c echo.Context, act accounts.Act) (accounts.ClusterRef, accounts.ClusterDetail, error) {
	ref, err := clusterRef(c)
	if err != nil {
		return ref, accounts.ClusterDetail{}, err
	}
	d, err := s.accounts.AskCluster(c.Request().Context(), actorFrom(c), act, ref)
	if err != nil {
		return ref, d, fmt.Errorf("read cluster: %w", err)
	}
	return ref, d, nil
}

func clusterConfirm(p templates.Page, ref accounts.ClusterRef, d accounts.ClusterDetail, verb string) templates.ConfirmView {
	self := clusterPath(ref.AccountID, ref.ClusterID)
	return templates.ConfirmView{
		Page: p, Crumbs: append(clusterCrumbs(d.Account), templates.Link{Label: named(d.Cluster.Name, ref.ClusterID), Href: self}),
		Action: self + "/" + verb, Back: self, Kind: "cluster",
	}
}

// handleClusterRestartForm handles GET /accounts/{id}/clusters/{cluster}/restart.
func (s *Server) handleClusterRestartForm(c echo.Context) error {
	ref, d, err := s.clusterToAsk(c, accounts.ActClusterRestart)
	if err != nil {
		return err
	}
	name := named(d.Cluster.Name, ref.ClusterID)
	v := clusterConfirm(s.accountPage(c, d.Account, "Restart "+name, "cluster-restart", "clusters"), ref, d, "restart")
	v.Lead = fmt.Sprintf("Every node of the cluster %s in %s is restarted.", name, d.Account.Name)
	v.Points = restartPoints(d.Cluster)
	v.Button = "Restart cluster"
	return s.render(c, http.StatusOK, templates.Confirm(v))
}

func restartPoints(k cloudapi.Cluster) []string {
	points := []string{"Its data stays."}
	if k.Configuration.Nodes < 2 {
		return append(points, "It has one node, so it does not answer until that node is back.")
	}
	return append(points, "Collections with one replica do not answer while their node restarts.")
}

// handleClusterRestart handles POST /accounts/{id}/clusters/{cluster}/restart.
func (s *Server) handleClusterRestart(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	if err := s.accounts.RestartCluster(c.Request().Context(), actorFrom(c), ref); err != nil {
		return fmt.Errorf("restart cluster: %w", err)
	}
	return s.redirect(c, clusterPath(ref.AccountID, ref.ClusterID), "Restart asked for. This page follows it.")
}

// handleClusterSuspendForm handles GET /accounts/{id}/clusters/{cluster}/suspend.
func (s *Server) handleClusterSuspendForm(c echo.Context) error {
	ref, d, err := s.clusterToAsk(c, accounts.ActClusterSuspend)
	if err != nil {
		return err
	}
	name := named(d.Cluster.Name, ref.ClusterID)
	v := clusterConfirm(s.accountPage(c, d.Account, "Suspend "+name, "cluster-suspend", "clusters"), ref, d, "suspend")
	v.Lead = fmt.Sprintf("The cluster %s in %s is stopped until somebody resumes it.", name, d.Account.Name)
	v.Points = []string{"It does not answer until then.", "Suspending deletes nothing: it can be resumed from its page."}
	v.Button, v.Danger = "Suspend cluster", true
	return s.render(c, http.StatusOK, templates.Confirm(v))
}

// handleClusterSuspend handles POST /accounts/{id}/clusters/{cluster}/suspend.
func (s *Server) handleClusterSuspend(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	if err := s.accounts.SuspendCluster(c.Request().Context(), actorFrom(c), ref); err != nil {
		return fmt.Errorf("suspend cluster: %w", err)
	}
	return s.redirect(c, clusterPath(ref.AccountID, ref.ClusterID), "Suspension asked for. This page follows it.")
}

// handleClusterUnsuspend handles POST /accounts/{id}/clusters/{cluster}/unsuspend.
func (s *Server) handleClusterUnsuspend(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	if err := s.accounts.UnsuspendCluster(c.Request().Context(), actorFrom(c), ref); err != nil {
		return fmt.Errorf("resume cluster: %w", err)
	}
	return s.redirect(c, clusterPath(ref.AccountID, ref.ClusterID), "Resuming asked for. This page follows it.")
}

// clusterDeletionForm is what a browser may say about deleting a cluster.
type clusterDeletionForm struct {
	Confirm       string `form:"confirm"`
	DeleteBackups string `form:"delete_backups"` // yes, no, or nothing chosen
}

// choice is the answer to the question about backups; nil when none was given.
func (f clusterDeletionForm) choice() *bool {
	if f.DeleteBackups != "yes" && f.DeleteBackups != "no" {
		return nil
	}
	yes := f.DeleteBackups == "yes"
	return &yes
}

// handleClusterDeleteForm handles GET /accounts/{id}/clusters/{cluster}/delete.
func (s *Server) handleClusterDeleteForm(c echo.Context) error {
	ref, d, err := s.clusterToAsk(c, accounts.ActClusterDelete)
	if err != nil {
		return err
	}
	var form clusterDeletionForm
	takeTyped(s, c, &form)
	return s.renderClusterDelete(c, http.StatusOK, ref, d, form, nil)
}

func (s *Server) renderClusterDelete(c echo.Context, status int, ref accounts.ClusterRef, d accounts.ClusterDetail, form clusterDeletionForm, invalid map[string]string) error {
	name := named(d.Cluster.Name, ref.ClusterID)
	v := clusterConfirm(s.accountPage(c, d.Account, "Delete "+name, "cluster-delete", "clusters"), ref, d, "delete")
	v.Page.StepUp = s.stepUp(c, d.Offers[accounts.ActClusterDelete.Name])
	v.Lead = fmt.Sprintf("The cluster %s in %s is deleted with all its collections.", name, d.Account.Name)
	v.Points = []string{"Whatever uses its endpoint stops working at once.", "Its database keys stop working."}
	v.Warning = "A deleted cluster cannot be brought back. Only a backup can, and only if you keep the backups."
	v.Button, v.Danger, v.Confirm = "Delete cluster", true, name
	v.Errors = invalid
	v.Typed = cut(form.Confirm, 300)
	v.Radios = []templates.Radios{{
		Name: "delete_backups", Legend: "What about its backups?", Error: invalid["delete_backups"], Focus: invalid["delete_backups"] != "",
		Choices: []templates.Choice{
			{Value: "no", Label: "Keep the backups", Hint: "They stay in the account, and are charged for.", Selected: form.DeleteBackups == "no"},
			{Value: "yes", Label: "Delete the backups, too", Hint: "Nothing of the cluster remains.", Selected: form.DeleteBackups == "yes"},
		},
	}}
	if !d.Backups.Offered {
		v.Radios[0].Hint = "Deleting the backups, too, is not offered. " + d.Backups.Reason
		v.Radios[0].Choices = v.Radios[0].Choices[:1]
	}
	return s.render(c, status, templates.Confirm(v))
}

// handleClusterDelete handles POST /accounts/{id}/clusters/{cluster}/delete.
func (s *Server) handleClusterDelete(c echo.Context) error {
	ref, err := clusterRef(c)
	if err != nil {
		return err
	}
	var form clusterDeletionForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	ctx, by := c.Request().Context(), actorFrom(c)
	err = s.accounts.DeleteCluster(ctx, by, ref, accounts.ClusterDeletion{Confirm: form.Confirm, DeleteBackups: form.choice()})
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		d, err := s.accounts.Cluster(ctx, by, ref)
		if err != nil {
			return fmt.Errorf("read cluster: %w", err)
		}
		return s.renderClusterDelete(c, http.StatusUnprocessableEntity, ref, d, form, invalid.Fields)
	}
	if err != nil {
		return fmt.Errorf("delete cluster: %w", err)
	}
	return s.redirect(c, clusterPath(ref.AccountID, ref.ClusterID), "Deletion asked for. This page follows it.")
}
