package accounts

import (
	"context"
	"math"
	"slices"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// ClusterPlan is what a change to a cluster would do.
type ClusterPlan struct {
	ClusterUpdate
	Wanted    map[string]string // the settings as they would be, as the form shows them
	Differing []string          // their names, in the order of the form

	PackageBefore, PackageAfter cloudapi.Package
	PriceBefore, PriceAfter     *ClusterPrice // nil: not known

	// Smaller is set when the new package has less of something. Then Risks is what upstream says to
	// that, and RisksUnknown why it says nothing.
	Smaller      bool
	Risks        []cloudapi.DownscaleRisk
	RisksUnknown string
}

// ClusterPrice is what a cluster costs an hour, in millicents, with all of its nodes.
type ClusterPrice struct {
	Currency string
	PerHour  int64
	// Estimated is set when upstream gave no quote and the package's list price is taken; WithoutDisk
	// when the additional disk is not in it, because its price is not told.
	Estimated, WithoutDisk bool
}

// PlanClusterUpdate compares a cluster with what a form asks for. It reads upstream and changes nothing.
// Errors are those of UpdateCluster.
func (s *Service) PlanClusterUpdate(ctx context.Context, by audit.Actor, ref ClusterRef, form ClusterUpdateForm) (ClusterPlan, error) {
	known, err := s.clusterFor(ctx, by, ActClusterUpdate, ref)
	if err != nil {
		return ClusterPlan{}, err
	}
	wanted, err := s.readForm(ctx, known.account, ref, form)
	if err != nil {
		return ClusterPlan{}, err
	}
	page, err := s.AskClusterUpdate(ctx, by, ref)
	if err != nil {
		return ClusterPlan{}, err
	}
	if page.Revision != form.Revision {
		return ClusterPlan{}, page.stale(form)
	}
	edit, err := page.narrow(wanted)
	if err != nil {
		return ClusterPlan{}, err
	}
	before := settingsOf(page.Cluster)
	after := before.with(edit)
	plan := ClusterPlan{ClusterUpdate: page, Wanted: after.texts(), Differing: page.differing(edit)}
	plan.PackageBefore, _ = page.packageOf(before.PackageID)
	plan.PackageAfter, _ = page.packageOf(after.PackageID)
	plan.Smaller = smaller(plan.PackageBefore, plan.PackageAfter)
	up, err := s.connect(ctx, known.account.ID, by.RequestID)
	if err != nil {
		return ClusterPlan{}, err
	}
	plan.PriceBefore, plan.PriceAfter = s.prices(ctx, up.cloud, page, before, after)
	if plan.Smaller {
		if plan.Risks, err = up.cloud.DownscaleRisks(ctx, ref.ClusterID, after.PackageID); err != nil {
			s.unread(ctx, known.account, "downscale risks", err)
			plan.RisksUnknown = reasonOf(err)
		}
	}
	return plan, nil
}

// smaller reports whether a package has less of something than the one before.
func smaller(before, after cloudapi.Package) bool {
	return before.ID != after.ID &&
		(after.RAMMiB < before.RAMMiB || after.CPUMilli < before.CPUMilli || after.DiskMiB < before.DiskMiB || after.GPUMilli < before.GPUMilli)
}

// prices are what a cluster costs before and after a change: both as quoted, or both by the list, so
// that the difference is one of like with like.
func (s *Service) prices(ctx context.Context, from cloud, u ClusterUpdate, before, after clusterSettings) (was, is *ClusterPrice) {
	quoted := make([]*ClusterPrice, 0, 2)
	for _, settings := range []clusterSettings{before, after} {
		if price := s.quoted(ctx, from, u, settings); price != nil {
			quoted = append(quoted, price)
		}
	}
	if len(quoted) == 2 {
		return quoted[0], quoted[1]
	}
	return u.estimated(before), u.estimated(after)
}

func (s *Service) quoted(ctx context.Context, from cloud, u ClusterUpdate, settings clusterSettings) *ClusterPrice {
	provider, region := placeOf(u.Cluster)
	quote, err := from.Quote(ctx, cloudapi.QuoteFor{
		CloudProvider: provider, Region: region, PackageID: settings.PackageID, Nodes: settings.Nodes,
		AdditionalDiskGiB: settings.AdditionalDiskGiB, StorageTier: u.Cluster.Configuration.StorageTier,
	})
	if err != nil {
		s.unread(ctx, u.Account, "quote", err)
		return nil
	}
	return &ClusterPrice{Currency: quote.Currency, PerHour: quote.DiscountedPerHour}
}

// estimated is the price by the list; nil where the package has none.
func (u ClusterUpdate) estimated(settings clusterSettings) *ClusterPrice {
	p, known := u.packageOf(settings.PackageID)
	if !known || p.Currency == "" {
		return nil
	}
	aNode := p.PricePerHourMillicents
	if i := slices.IndexFunc(p.StorageTiers, func(t cloudapi.StorageTier) bool { return t.Name == u.Cluster.Configuration.StorageTier }); i >= 0 {
		aNode += p.StorageTiers[i].PricePerHourMillicents
	}
	disk := int64(settings.AdditionalDiskGiB)
	if disk > 0 && p.DiskPricePerHourMillicents > math.MaxInt32/disk || aNode > math.MaxInt32 {
		return nil // no price that anybody asks
	}
	aNode += disk * p.DiskPricePerHourMillicents
	return &ClusterPrice{
		Currency: p.Currency, PerHour: aNode * int64(settings.Nodes), Estimated: true,
		WithoutDisk: disk > 0 && p.DiskPricePerHourMillicents == 0,
	}
}
