package accounts

import (
	"cmp"
	"context"

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
	if edit.Labels != nil {
		on := known.on.labelled(labelsOf(page.Cluster.Labels))
		if err := s.authorizeLabels(ctx, by, ActClusterUpdate, on, labelsOf(*edit.Labels)); err != nil {
			return ClusterPlan{}, err
		}
	}
	before := settingsOf(page.Cluster)
	after := before.with(edit)
	plan := ClusterPlan{ClusterUpdate: page, Wanted: after.texts(), Differing: page.differing(edit)}
	plan.PackageBefore, _ = page.packageOf(before.PackageID)
	plan.PackageAfter, _ = page.packageOf(after.PackageID)
	plan.Smaller = smaller(plan.PackageBefore, plan.PackageAfter)
	up, err := s.connectFor(ctx, known.account.ID, toShow, by.RequestID)
	if err != nil {
		return ClusterPlan{}, err
	}
	plan.PriceBefore, plan.PriceAfter = s.prices(ctx, up.cloud, page, before, after)
	if plan.Smaller {
		if plan.Risks, err = up.cloud.DownscaleRisks(ctx, ref.ClusterID, after.PackageID); err != nil {
			plan.RisksUnknown = s.notRead(ctx, known.account, "downscale risks", err)
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
	old, wanted := u.quoteFor(before), u.quoteFor(after)
	packageBefore, known := u.packageOf(before.PackageID)
	packageAfter, knownToo := u.packageOf(after.PackageID)
	first, second := s.priceOf(ctx, u.Account, from, packageBefore, old), s.priceOf(ctx, u.Account, from, packageAfter, wanted)
	if first.Estimate == "" && second.Estimate == "" {
		return &first, &second
	}
	why := cmp.Or(first.Estimate, second.Estimate)
	if known && packageBefore.Currency != "" {
		was = &ClusterPrice{}
		*was = estimated(packageBefore, old, why)
	}
	if knownToo && packageAfter.Currency != "" {
		is = &ClusterPrice{}
		*is = estimated(packageAfter, wanted, why)
	}
	return was, is
}

func (u ClusterUpdate) quoteFor(settings clusterSettings) cloudapi.QuoteFor {
	provider, region := packagePlace(u.Cluster.CloudProvider, u.Cluster.Region)
	return cloudapi.QuoteFor{
		CloudProvider: provider, Region: region, PackageID: settings.PackageID, Nodes: settings.Nodes,
		AdditionalDiskGiB: settings.AdditionalDiskGiB, StorageTier: u.Cluster.Configuration.StorageTier,
	}
}
