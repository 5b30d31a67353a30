package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

const pathClusterNew = "/clusters/new"

// clusterForm is what a browser may say about a new cluster.
type clusterForm struct {
	Name                string `form:"name"`
	CloudProvider       string `form:"cloud_provider"`
	Region              string `form:"region"`
	PackageID           string `form:"package_id"`
	Nodes               string `form:"nodes"`
	Version             string `form:"version"`
	AdditionalDiskGiB   string `form:"additional_disk_gib"`
	StorageTier         string `form:"storage_tier"`
	Labels              string `form:"labels"`
	CostAllocationLabel string `form:"cost_allocation_label"`
	AllowedIPs          string `form:"allowed_ips"`

	ServiceType        string `form:"service_type"`
	NodeSelector       string `form:"node_selector"`
	Tolerations        string `form:"tolerations"`
	Annotations        string `form:"annotations"`
	ServiceAnnotations string `form:"service_annotations"`
	PodLabels          string `form:"pod_labels"`
	ReservedCPU        string `form:"reserved_cpu_percentage"`
	ReservedMemory     string `form:"reserved_memory_percentage"`

	DatabaseStorageClass string `form:"database_storage_class"`
	SnapshotStorageClass string `form:"snapshot_storage_class"`
	VolumeSnapshotClass  string `form:"volume_snapshot_class"`

	FormToken string `form:"form_token"`
}

func (f clusterForm) newCluster() accounts.NewCluster {
	return accounts.NewCluster{
		Name: f.Name, CloudProvider: f.CloudProvider, Region: f.Region, PackageID: f.PackageID, Nodes: f.Nodes, Version: f.Version,
		AdditionalDiskGiB: f.AdditionalDiskGiB, StorageTier: f.StorageTier, Labels: f.Labels, CostAllocationLabel: f.CostAllocationLabel,
		AllowedIPs: f.AllowedIPs, FormToken: f.FormToken,
		Hybrid: accounts.NewHybrid{
			ServiceType: f.ServiceType, NodeSelector: f.NodeSelector, Tolerations: f.Tolerations, Annotations: f.Annotations,
			ServiceAnnotations: f.ServiceAnnotations, PodLabels: f.PodLabels, ReservedCPU: f.ReservedCPU, ReservedMemory: f.ReservedMemory,
			DatabaseStorageClass: f.DatabaseStorageClass, SnapshotStorageClass: f.SnapshotStorageClass, VolumeSnapshotClass: f.VolumeSnapshotClass,
		},
	}
}

// clusterPlace is what the address of the form may say.
type clusterPlace struct {
	CloudProvider string `form:"cloud_provider"`
	Region        string `form:"region"`
	PackageID     string `form:"package_id"`
}

// priceQuery is what the address of a price says: everything it depends on, and no token.
type priceQuery struct {
	CloudProvider     string `form:"cloud_provider"`
	Region            string `form:"region"`
	PackageID         string `form:"package_id"`
	Nodes             string `form:"nodes"`
	AdditionalDiskGiB string `form:"additional_disk_gib"`
	StorageTier       string `form:"storage_tier"`
}

func clusterNewPath(account uuid.UUID) string { return accountPath(account) + "/clusters/new" }

// clusterOffer leads from an account's page to a new cluster in it.
func clusterOffer(d accounts.AccountDetail) templates.Offer {
	o := d.Offers[accounts.ActClusterCreate.Name]
	return templates.Offer{Label: "New cluster", Href: clusterNewPath(d.ID), Primary: d.Enabled, Offered: o.Offered, Reason: o.Reason, Why: whyHref(accounts.ClusterRef{AccountID: d.ID}, o)}
}

// newClusterOffer leads from the fleet to a new cluster. Which accounts can have one the next page tells.
func newClusterOffer(permissions []string, list []accounts.Account) []templates.Offer {
	o := templates.Offer{Label: "New cluster", Href: pathClusterNew, Primary: true, Offered: true}
	switch right := accounts.ActClusterCreate.Needs.All[0]; {
	case len(list) == 0:
		return nil
	case !slices.Contains(permissions, right):
		o.Offered, o.Reason = false, "You need "+right+"."
	case !slices.ContainsFunc(list, func(a accounts.Account) bool { return !a.Hidden }):
		o.Offered, o.Reason = false, "A cluster is made in an account, and you can work on no whole one."
	}
	return []templates.Offer{o}
}

// handleClusterNewChoose handles GET /clusters/new: in which account? With one only it leads on.
func (s *Server) handleClusterNewChoose(c echo.Context) error {
	list, err := s.accounts.FillableAccounts(c.Request().Context(), actorFrom(c))
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	if len(list) == 1 && list[0].Offer.Offered {
		return s.redirect(c, clusterNewPath(list[0].Account.ID), "")
	}
	p := s.page(c, "New cluster", "cluster-new-account", "clusters")
	v := templates.ClusterAccountsView{Page: p, Crumbs: []templates.Link{{Label: "Clusters", Href: pathHome}}, MayAdd: p.Member.MayManage, Contact: s.opts.Contact}
	if len(list) == 0 {
		if v.Clusters, err = s.clustersSeen(c); err != nil {
			return err
		}
	}
	for _, a := range list {
		v.Accounts = append(v.Accounts, templates.ClusterAccount{
			ID: a.Account.ID.String(), Name: a.Account.Name, Environment: string(a.Account.Environment), Legacy: a.Account.Generation == cloudapi.PAV1,
			Clusters: a.Account.Clusters, Href: clusterNewPath(a.Account.ID), Reason: a.Offer.Reason,
		})
	}
	return s.render(c, http.StatusOK, templates.ClusterAccounts(v))
}

// handleClusterNew handles GET /accounts/{id}/clusters/new.
func (s *Server) handleClusterNew(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var place clusterPlace
	if err := bindQuery(c, &place); err != nil {
		return err
	}
	return s.renderClusterNew(c, http.StatusOK, id, clusterForm{CloudProvider: place.CloudProvider, Region: place.Region, PackageID: place.PackageID}, nil)
}

// handleClusterPreview handles POST /accounts/{id}/clusters/new: the same form again, as it was typed and
// with the price of what is chosen. It makes nothing.
func (s *Server) handleClusterPreview(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form clusterForm
	if err := bindForm(c, &form); err != nil {
		return err
	}
	return s.renderClusterNew(c, http.StatusOK, id, form, nil)
}

// handleClusterQuote handles GET /accounts/{id}/clusters/quote.
func (s *Server) handleClusterQuote(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var q priceQuery
	if err := bindQuery(c, &q); err != nil {
		return err
	}
	price, err := s.accounts.PriceNewCluster(c.Request().Context(), actorFrom(c), id, accounts.NewCluster{
		CloudProvider: q.CloudProvider, Region: q.Region, PackageID: q.PackageID, Nodes: q.Nodes, AdditionalDiskGiB: q.AdditionalDiskGiB, StorageTier: q.StorageTier,
	})
	if err != nil {
		return fmt.Errorf("price cluster: %w", err)
	}
	return s.render(c, http.StatusOK, templates.ClusterPrice(newPriceView(price, accountPath(id)+"/clusters/quote")))
}

// handleClusterCreate handles POST /accounts/{id}/clusters.
func (s *Server) handleClusterCreate(c echo.Context) error {
	id, err := accountID(c)
	if err != nil {
		return err
	}
	var form clusterForm // only what a browser may set
	if err := bindForm(c, &form); err != nil {
		return err
	}
	made, err := s.accounts.CreateCluster(c.Request().Context(), actorFrom(c), id, form.newCluster())
	if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
		return s.renderClusterNew(c, http.StatusUnprocessableEntity, id, form, invalid.Fields)
	}
	if forbidden, ok := errors.AsType[*accounts.ForbiddenError](err); ok && forbidden.Field != "" {
		return s.renderClusterNew(c, http.StatusForbidden, id, form, map[string]string{forbidden.Field: forbiddenField(forbidden)})
	}
	if refused, ok := errors.AsType[*accounts.RefusedError](err); ok {
		noteError(c, err)
		return s.renderClusterNew(c, refusedStatus(refused), id, form, refused.Fields)
	}
	if err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	switch {
	case made.ClusterID == "":
		return s.redirect(c, fleetOf(id), "Whether the cluster is being made is not known yet: Qdrant Cloud’s answer is missing. It is looked for, and nothing is asked for twice.")
	case made.Before:
		return s.redirect(c, clusterPath(id, made.ClusterID), "This form has made this cluster already. Nothing was made twice.")
	}
	return s.redirect(c, clusterPath(id, made.ClusterID), "Cluster asked for. This page follows it until it is ready; you can leave and come back.")
}

// refusedStatus is the status of a form that upstream refused.
func refusedStatus(refused *accounts.RefusedError) int {
	switch refused.Upstream.Kind {
	case cloudapi.Invalid, cloudapi.NotFound:
		return http.StatusUnprocessableEntity
	case cloudapi.Conflict, cloudapi.Forbidden:
		return http.StatusConflict
	}
	return explain(refused.Upstream).status
}

// renderClusterNew shows the form as it was sent. A token that is too old is replaced, so that sending
// again works.
func (s *Server) renderClusterNew(c echo.Context, status int, id uuid.UUID, form clusterForm, invalid map[string]string) error {
	invalid = maps.Clone(invalid)
	ctx, by := c.Request().Context(), actorFrom(c)
	var err error
	if form.FormToken, err = s.freshToken(c, accounts.ActClusterCreate, form.FormToken, invalid, "look through it and send it once more."); err != nil {
		return err
	}
	asked, err := s.accounts.AskClusterCreate(ctx, by, id, form.newCluster(), len(invalid) > 0)
	if err != nil {
		return fmt.Errorf("ask for a cluster: %w", err)
	}
	v := clusterFormView(s.page(c, "New cluster", "cluster-new", "clusters"), asked)
	v.Errors = invalid
	return s.render(c, status, templates.ClusterForm(v))
}

func clusterFormView(p templates.Page, f accounts.ClusterForm) templates.ClusterFormView {
	a, n, self := f.Account, f.Asked, accountPath(f.Account.ID)
	v := templates.ClusterFormView{
		Page: p, Crumbs: clusterCrumbs(a), AccountName: a.Name, Environment: string(a.Environment), Legacy: a.Generation == cloudapi.PAV1,
		Action: self + "/clusters", Self: clusterNewPath(a.ID), Back: self, FormToken: n.FormToken,
		Hybrid: n.CloudProvider == "hybrid", CloudProvider: n.CloudProvider, Region: n.Region,
		Name: n.Name, PackageID: n.PackageID, Nodes: n.Nodes, Version: n.Version, DiskGiB: n.AdditionalDiskGiB, StorageTier: n.StorageTier,
		Labels: n.Labels, CostAllocationLabel: n.CostAllocationLabel, AllowedIPs: n.AllowedIPs,
		ServiceType: n.Hybrid.ServiceType, NodeSelector: n.Hybrid.NodeSelector, Tolerations: n.Hybrid.Tolerations, Annotations: n.Hybrid.Annotations,
		ServiceAnnotations: n.Hybrid.ServiceAnnotations, PodLabels: n.Hybrid.PodLabels, ReservedCPU: n.Hybrid.ReservedCPU, ReservedMemory: n.Hybrid.ReservedMemory,
		DatabaseStorageClass: n.Hybrid.DatabaseStorageClass, SnapshotStorageClass: n.Hybrid.SnapshotStorageClass, VolumeSnapshotClass: n.Hybrid.VolumeSnapshotClass,
		Unread: f.Problems, Lacks: f.Lacks, Notes: f.Notes, Quotas: quotaWords(f), Price: newPriceView(f.Price, self+"/clusters/quote"),
	}
	for _, provider := range f.Providers {
		v.Providers = append(v.Providers, placeChoice(provider.ID, provider.Name, provider.Available, n.CloudProvider))
	}
	for _, region := range f.Regions {
		v.Regions = append(v.Regions, placeChoice(region.ID, region.Name, region.Available, n.Region))
		if region.ID == n.Region {
			v.StorageClasses, v.VolumeSnapshotClasses = region.StorageClasses, region.VolumeSnapshotClasses
		}
	}
	for _, size := range f.Packages {
		v.Packages = append(v.Packages, packageOption(size, n.PackageID))
		for _, tier := range size.StorageTiers {
			v.AddTier(tier.Name)
		}
	}
	for _, release := range f.Releases {
		label := release.Version
		if release.Default {
			label += " (default)"
		}
		v.Releases = append(v.Releases, templates.Choice{Value: release.Version, Label: label, Selected: release.Version == n.Version})
	}
	return v
}

// placeChoice is a provider or a region to choose. One that takes no clusters now is not offered, unless it
// is what was chosen.
func placeChoice(id, name string, available bool, chosen string) templates.PlaceChoice {
	label := name
	if !strings.EqualFold(name, id) && name != "" {
		label = name + " (" + id + ")"
	}
	if label == "" {
		label = id
	}
	if !available {
		label += ", takes no clusters now"
	}
	return templates.PlaceChoice{Value: id, Label: label, Selected: id == chosen, Closed: !available && id != chosen}
}

func packageOption(p cloudapi.Package, chosen string) templates.PackageOption {
	o := templates.PackageOption{
		ID: p.ID, Name: named(p.Name, p.ID), Selected: p.ID == chosen, Free: p.Type == "free",
		RAM: templates.MiB(p.RAMMiB), CPU: templates.CPU(p.CPUMilli), Disk: templates.MiB(p.DiskMiB), MultiAZ: p.MultiAZ, Tier: templates.Words(p.Tier),
		PerHour: templates.PerHour(p.PricePerHourMillicents, p.Currency), PerMonth: templates.PerMonth(p.PricePerHourMillicents, p.Currency),
	}
	if p.GPUMilli > 0 {
		o.GPU = templates.Amount(float64(p.GPUMilli)/1000) + " GPU, " + templates.MiB(p.GPURAMMiB)
	}
	if p.DiskPricePerHourMillicents > 0 {
		o.DiskPerMonth = templates.PerMonth(p.DiskPricePerHourMillicents, p.Currency)
	}
	for _, tier := range p.StorageTiers {
		if tier.PricePerHourMillicents > 0 {
			o.Speeds = append(o.Speeds, templates.TierWords(tier.Name)+" "+templates.PerMonth(tier.PricePerHourMillicents, p.Currency))
		}
	}
	return o
}

// quotaWords say what the account may have, as far as upstream tells.
func quotaWords(f accounts.ClusterForm) []string {
	var words []string
	if q := f.Quotas.Clusters; q > 0 {
		words = append(words, fmt.Sprintf("The account may have %s and is known to have %s.", templates.Count(q, "cluster"), templates.CountUpTo(f.Account.Clusters)))
	}
	if q := f.Quotas.ClusterNodes; q > 0 {
		words = append(words, fmt.Sprintf("A cluster may have %s.", templates.Count(q, "node")))
	}
	if q := f.Quotas.FreeClusters; q > 0 {
		words = append(words, fmt.Sprintf("%s may be free.", templates.Count(q, "cluster")))
	}
	return words
}

func newPriceView(p accounts.ClusterPrice, self string) templates.NewPriceView {
	v := templates.NewPriceView{Self: self, Problem: p.Problem, Estimate: p.Estimate, Package: p.Package, Nodes: p.Nodes}
	if p.Problem != "" {
		return v
	}
	v.PerHour, v.PerMonth = templates.PerHour(p.PerHour, p.Currency), templates.PerMonth(p.PerHour, p.Currency)
	if p.Listed != p.PerHour {
		v.Listed = templates.PerMonth(p.Listed, p.Currency)
		v.Discount = templates.Amount(p.DiscountPercent) + " %"
	}
	names := map[string]string{"package": "Package", "disk": "Additional disk", "speed": "Disk speed"}
	for _, part := range p.Parts {
		v.Parts = append(v.Parts, templates.Pair{Name: names[part.Name], Value: templates.PerMonth(part.PerHour, p.Currency)})
	}
	return v
}
