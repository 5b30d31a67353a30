package accounts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// NewCluster is what a member asks a new cluster to be like, as it was typed.
type NewCluster struct {
	Name                string
	CloudProvider       string
	Region              string // of hybrid: the environment's id
	PackageID           string
	Nodes               string
	Version             string // empty: upstream's default
	AdditionalDiskGiB   string // empty: none
	StorageTier         string // empty: upstream's default
	Labels              string // lines key=value
	CostAllocationLabel string
	AllowedIPs          string // lines, each an IPv4 range
	Hybrid              NewHybrid
	FormToken           string
}

// MadeCluster is what became of a form that asks for a cluster.
type MadeCluster struct {
	// ClusterID is empty while nobody knows: upstream's answer was lost, or the first post of the
	// form is still under way. The reconciler finds out.
	ClusterID string
	// Before is set when an earlier post of the same form asked for it.
	Before bool
}

// maxPlace bounds a provider's id and a region's.
const maxPlace = 64

var storageTiers = []string{"COST_OPTIMISED", "BALANCED", "PERFORMANCE"}

// CreateCluster asks upstream for a cluster, once for each form however often it is sent. The snapshot is
// stored at once, so that the cluster has its page.
//
// ErrNotFound when the account may not be read, *ForbiddenError; *ConflictError when the account cannot have
// clusters made; *InvalidError tells everything that breaks a rule, and upstream was not asked;
// *RefusedError is what upstream said against it, and nothing was made; ErrAuditUnavailable.
func (s *Service) CreateCluster(ctx context.Context, by audit.Actor, accountID uuid.UUID, n NewCluster) (MadeCluster, error) {
	account, err := s.accountToFill(ctx, by, accountID)
	if err != nil {
		return MadeCluster{}, err
	}
	asked, err := n.checked(account.Generation)
	if err != nil {
		return MadeCluster{}, err
	}
	op := operation{
		id: s.newID(), act: ActClusterCreate, intended: createChange(asked),
		on: target{Account: account.ref(), Kind: KindCluster, Name: asked.Name, Labels: labelsOf(asked.Labels)},
	}
	id, before, err := s.once(ctx, by, ActClusterCreate, n.FormToken, op.id, func() (string, error) {
		return s.createCluster(ctx, by, op, asked)
	})
	switch upstream, ok := cloudapi.AsError(err); {
	case err == nil:
		return MadeCluster{ClusterID: id, Before: before}, nil
	case mayBeDone(err):
		return MadeCluster{}, nil // perform has logged it
	case ok:
		s.refreshing.catalogue.drop(account.ID) // what it offered may be what was refused
		return MadeCluster{}, refused(upstream, createFields)
	}
	return MadeCluster{}, err
}

// createCluster makes the cluster of an operation and returns its id.
func (s *Service) createCluster(ctx context.Context, by audit.Actor, op operation, asked cloudapi.NewCluster) (string, error) {
	var made cloudapi.Cluster
	err := s.perform(ctx, by, op, func(ctx context.Context, up *link) (done, error) {
		var err error
		if made, err = up.cloud.CreateCluster(ctx, asked); err != nil {
			return done{}, fmt.Errorf("%s: %w", op.act.Name, err)
		}
		change := maps.Clone(op.intended)
		change["phase"] = [2]any{nil, string(made.State.Phase)}
		if made.Configuration.Version != "" {
			change["version"] = [2]any{nil, made.Configuration.Version}
		}
		return done{change: change, id: made.ID, name: made.Name}, nil
	})
	if err != nil {
		return "", err
	}
	s.keepSnapshot(ctx, ClusterRef{AccountID: op.on.Account.ID, ClusterID: made.ID}, &made, false)
	return made.ID, nil
}

// accountToFill returns an account in which the member may make clusters, if only with some labels, and
// which can have some made.
func (s *Service) accountToFill(ctx context.Context, by audit.Actor, id uuid.UUID) (Account, error) {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return Account{}, err
	}
	on := accountTarget(account.ref())
	if !s.mayFill(by, account.ref()) {
		return Account{}, s.authorize(ctx, by, ActClusterCreate, on)
	}
	if reason := s.notOffered(by, ActClusterCreate, on, "", account.Key); reason != "" {
		return Account{}, &ConflictError{Reason: reason}
	}
	return account, nil
}

// checked reads what was typed, all of it, by the rules of the Cloud API. *InvalidError tells everything
// that is wrong.
func (n NewCluster) checked(g cloudapi.Generation) (cloudapi.NewCluster, error) {
	invalid := map[string]string{}
	say := func(field, problem string) {
		if problem != "" && invalid[field] == "" {
			invalid[field] = problem
		}
	}
	asked := cloudapi.NewCluster{
		Name: strings.TrimSpace(n.Name), CloudProvider: n.CloudProvider, Region: strings.TrimSpace(n.Region), PackageID: n.PackageID,
		Version: strings.TrimSpace(n.Version), StorageTier: n.StorageTier, CostAllocationLabel: strings.TrimSpace(n.CostAllocationLabel),
	}
	say("name", clusterNameProblem(asked.Name))
	field, problem := placeProblem(g, asked.CloudProvider, asked.Region)
	say(field, problem)
	if id, err := uuid.Parse(asked.PackageID); err != nil || !strings.EqualFold(id.String(), asked.PackageID) {
		say("package_id", "Choose a package.")
	}
	asked.Nodes = typedNumber(n.Nodes, 1, maxClusterNodes, 0, func(p string) { say("nodes", p) })
	say("nodes", countProblem(asked.Nodes, 1, maxClusterNodes))
	say("version", versionProblem(asked.Version))
	asked.AdditionalDiskGiB = typedNumber(n.AdditionalDiskGiB, 0, maxExtraDiskGiB, 0, func(p string) { say("additional_disk_gib", p) })
	if asked.StorageTier != "" && !slices.Contains(storageTiers, asked.StorageTier) {
		say("storage_tier", "Choose one of the speeds.")
	}
	asked.Labels, problem = parseLabels(n.Labels)
	say("labels", problem)
	say("cost_allocation_label", costLabelProblem(asked.CostAllocationLabel))
	asked.AllowedIPs, problem = parseIPRanges(n.AllowedIPs)
	say("allowed_ips", problem)
	if g == cloudapi.PAV1 {
		for field, given := range map[string]bool{
			"labels": len(asked.Labels) > 0, "cost_allocation_label": asked.CostAllocationLabel != "", "storage_tier": asked.StorageTier != "",
		} {
			if given {
				say(field, "The legacy pa/v1 API cannot set this.")
			}
		}
	}
	asked.Hybrid = n.Hybrid.options(g, asked.CloudProvider == hybridProvider, say)
	if len(invalid) > 0 {
		return cloudapi.NewCluster{}, &InvalidError{Fields: invalid}
	}
	return asked, nil
}

// placeProblem says what is wrong with a provider and a region, and with which of the two.
func placeProblem(g cloudapi.Generation, provider, region string) (field, problem string) {
	legal := func(text string) bool { return text != "" && textProblem(text, maxPlace, false) == "" }
	switch {
	case !legal(provider) || len(provider) < 3:
		return "cloud_provider", "Choose a cloud provider."
	case provider == hybridProvider:
		if id, err := uuid.Parse(region); err != nil || !strings.EqualFold(id.String(), region) {
			return "region", "Choose an environment: its id is like 11111111-2222-4333-8444-555555555555."
		}
	case g == cloudapi.PAV1:
		return legacyPlaceProblem(provider, region)
	case !legal(region):
		return "region", "Choose a region."
	}
	return "", ""
}

// createChange is what the log says that was asked for.
func createChange(n cloudapi.NewCluster) audit.Change {
	change := audit.Change{
		"name": {nil, n.Name}, "cloud_provider": {nil, n.CloudProvider}, "region": {nil, n.Region}, "package_id": {nil, n.PackageID}, "nodes": {nil, n.Nodes},
	}
	add := func(name string, value any, given bool) {
		if given {
			change[name] = [2]any{nil, value}
		}
	}
	text := func(name, value string) { add(name, value, value != "") }
	pairs := func(name string, of []cloudapi.Label) { add(name, pairTexts(of), len(of) > 0) }
	text("version", n.Version)
	add("additional_disk_gib", n.AdditionalDiskGiB, n.AdditionalDiskGiB > 0)
	text("storage_tier", n.StorageTier)
	pairs("labels", n.Labels)
	text("cost_allocation_label", n.CostAllocationLabel)
	add("allowed_ips", n.AllowedIPs, len(n.AllowedIPs) > 0)
	if h := n.Hybrid; h != nil {
		text("service_type", h.ServiceType)
		pairs("node_selector", h.NodeSelector)
		pairs("annotations", h.Annotations)
		pairs("service_annotations", h.ServiceAnnotations)
		pairs("pod_labels", h.PodLabels)
		add("tolerations", tolerationTexts(h.Tolerations), len(h.Tolerations) > 0)
		add("reserved_cpu_percentage", h.ReservedCPUPercentage, h.ReservedCPUPercentage > 0)
		add("reserved_memory_percentage", h.ReservedMemoryPercentage, h.ReservedMemoryPercentage > 0)
		text("database_storage_class", h.DatabaseStorageClass)
		text("snapshot_storage_class", h.SnapshotStorageClass)
		text("volume_snapshot_class", h.VolumeSnapshotClass)
	}
	return change
}

func pairTexts(pairs []cloudapi.Label) []string {
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = p.Key + "=" + p.Value
	}
	return texts
}

// tolerationTexts is the reverse of parseTolerations.
func tolerationTexts(tolerations []cloudapi.Toleration) []string {
	texts := make([]string, len(tolerations))
	for i, t := range tolerations {
		texts[i] = t.Key
		if t.Operator == "EQUAL" {
			texts[i] += "=" + t.Value
		}
		for typed, effect := range tolerationEffects {
			if effect == t.Effect && effect != "" {
				texts[i] += ":" + typed
			}
		}
		if t.Seconds != nil {
			texts[i] += fmt.Sprintf(":%d", *t.Seconds)
		}
	}
	return texts
}
