package cloudapi

import (
	"context"
	"errors"
	"net/url"
	"strconv"
)

// NewCluster is what is asked for when a cluster is made. Zero values leave a setting to upstream.
type NewCluster struct {
	Name                string
	CloudProvider       string // aws, gcp, azure, hybrid
	Region              string // for hybrid the id of the environment
	PackageID           string
	Nodes               int
	Version             string // v1.15.4, or empty for upstream's default
	AdditionalDiskGiB   int    // of each node, beyond the package's
	StorageTier         string // COST_OPTIMISED, BALANCED, PERFORMANCE
	Labels              []Label
	CostAllocationLabel string
	AllowedIPs          []string // CIDR ranges
	Hybrid              *HybridOptions
}

// HybridOptions are settings that only clusters of a hybrid environment have.
type HybridOptions struct {
	ServiceType               string // CLUSTER_IP, NODE_PORT, LOAD_BALANCER
	NodeSelector, Annotations []Label
	ServiceAnnotations        []Label
	PodLabels                 []Label
	Tolerations               []Toleration
	ReservedCPUPercentage     int // 1 to 80; 0: upstream's default
	ReservedMemoryPercentage  int // 1 to 80; 0: upstream's default
	DatabaseStorageClass      string
	SnapshotStorageClass      string
	VolumeSnapshotClass       string
}

// Toleration lets a hybrid cluster's nodes run where a taint keeps others away.
type Toleration struct {
	Key      string
	Operator string // EXISTS, EQUAL
	Value    string // of EQUAL
	Effect   string // NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE; empty: all
	Seconds  *int   // of NO_EXECUTE
}

// CreateCluster makes a cluster. It is sent once and never again: where the answer is lost (OutcomeUnknown)
// the cluster may exist, and only a listing tells.
func (api *CurrentAPI) CreateCluster(ctx context.Context, n NewCluster) (Cluster, error) {
	answer, err := api.conn.Do(ctx, OpCreateCluster, nil, nil, map[string]any{"cluster": n.current()})
	if err != nil {
		return Cluster{}, err
	}
	return api.conn.clusterIn(OpCreateCluster, answer)
}

// clusterIn decodes an answer of the form {"cluster": {...}}, whichever cluster it is.
func (c *Conn) clusterIn(op Op, answer Answer) (Cluster, error) {
	rest, err := members(answer.Body, "", nil)
	if err != nil {
		return Cluster{}, c.misshapen(op, answer, err)
	}
	if len(rest["cluster"]) == 0 {
		return Cluster{}, c.misshapen(op, answer, errors.New("there is no cluster in it"))
	}
	cluster, err := c.decodeCluster(rest["cluster"])
	if err != nil {
		return Cluster{}, c.misshapen(op, answer, err)
	}
	return cluster, nil
}

// SuggestClusterName returns a name that upstream thinks up. It needs no permission.
func (api *CurrentAPI) SuggestClusterName(ctx context.Context) (string, error) {
	answer, err := api.conn.Do(ctx, OpSuggestClusterName, nil, nil, nil)
	if err != nil {
		return "", err
	}
	n, err := parseNode(answer.Body)
	if err == nil && n.words("name") == "" {
		err = errors.New("there is no name in it")
	}
	if err != nil {
		return "", api.conn.misshapen(OpSuggestClusterName, answer, err)
	}
	return n.words("name"), nil
}

// current is the cluster as CreateClusterRequest wants it: no read-only member, nothing that is unset.
func (n NewCluster) current() map[string]any {
	configuration := map[string]any{"numberOfNodes": n.Nodes, "packageId": n.PackageID}
	given(configuration, "version", n.Version)
	if n.AdditionalDiskGiB > 0 {
		configuration["additionalResources"] = map[string]any{"disk": n.AdditionalDiskGiB}
	}
	if len(n.AllowedIPs) > 0 {
		configuration["allowedIpSourceRanges"] = n.AllowedIPs
	}
	storage := map[string]any{}
	if n.StorageTier != "" {
		storage["storageTierType"] = "STORAGE_TIER_TYPE_" + n.StorageTier
	}
	if n.Hybrid != nil {
		n.Hybrid.current(configuration, storage)
	}
	if len(storage) > 0 {
		configuration["clusterStorageConfiguration"] = storage
	}
	cluster := map[string]any{
		"name": n.Name, "cloudProviderId": n.CloudProvider, "cloudProviderRegionId": n.Region, "configuration": configuration,
	}
	givenPairs(cluster, "labels", n.Labels)
	given(cluster, "costAllocationLabel", n.CostAllocationLabel)
	return cluster
}

func (h HybridOptions) current(configuration, storage map[string]any) {
	if h.ServiceType != "" {
		configuration["serviceType"] = "CLUSTER_SERVICE_TYPE_" + h.ServiceType
	}
	givenPairs(configuration, "nodeSelector", h.NodeSelector)
	givenPairs(configuration, "annotations", h.Annotations)
	givenPairs(configuration, "serviceAnnotations", h.ServiceAnnotations)
	givenPairs(configuration, "podLabels", h.PodLabels)
	if h.ReservedCPUPercentage > 0 {
		configuration["reservedCpuPercentage"] = h.ReservedCPUPercentage
	}
	if h.ReservedMemoryPercentage > 0 {
		configuration["reservedMemoryPercentage"] = h.ReservedMemoryPercentage
	}
	given(storage, "databaseStorageClass", h.DatabaseStorageClass)
	given(storage, "snapshotStorageClass", h.SnapshotStorageClass)
	given(storage, "volumeSnapshotClass", h.VolumeSnapshotClass)
	var tolerations []any
	for _, t := range h.Tolerations {
		one := map[string]any{"operator": "TOLERATION_OPERATOR_" + t.Operator}
		given(one, "key", t.Key)
		given(one, "value", t.Value)
		if t.Effect != "" {
			one["effect"] = "TOLERATION_EFFECT_" + t.Effect
		}
		if t.Seconds != nil {
			one["tolerationSeconds"] = strconv.Itoa(*t.Seconds) // a uint64, which the gateway spells as a string
		}
		tolerations = append(tolerations, one)
	}
	if len(tolerations) > 0 {
		configuration["tolerations"] = tolerations
	}
}

// CreateCluster makes a cluster. What pa/v1 has no member for (labels, a storage tier, most of hybrid's
// settings) is *UnsupportedError, and nothing is sent.
func (api *LegacyAPI) CreateCluster(ctx context.Context, n NewCluster) (Cluster, error) {
	body, err := n.legacy(api.conn.cfg.CloudAccountID)
	if err != nil {
		return Cluster{}, err
	}
	answer, err := api.conn.Do(ctx, OpPACreateCluster, nil, nil, body)
	if err != nil {
		return Cluster{}, err
	}
	cluster, err := api.conn.decodeCluster(answer.Body)
	if err != nil {
		return Cluster{}, api.conn.misshapen(OpPACreateCluster, answer, err)
	}
	return cluster, nil
}

// SuggestClusterName is not in pa/v1.
func (*LegacyAPI) SuggestClusterName(context.Context) (string, error) {
	return "", lacks("SuggestClusterName", "suggestion of names")
}

// legacy is the cluster as ClusterSchema.
func (n NewCluster) legacy(account string) (map[string]any, error) {
	switch {
	case len(n.Labels) > 0:
		return nil, lacks("CreateCluster", "labels")
	case n.CostAllocationLabel != "":
		return nil, lacks("CreateCluster", "cost allocation label")
	case n.StorageTier != "":
		return nil, lacks("CreateCluster", "storage tiers")
	}
	ofNode := map[string]any{"package_id": n.PackageID}
	if n.AdditionalDiskGiB > 0 {
		ofNode["resource_configurations"] = []any{legacyDisk(n.AdditionalDiskGiB)}
	}
	configuration := map[string]any{"number_of_nodes": n.Nodes, "node_configuration": ofNode}
	given(configuration, "version", n.Version)
	if len(n.AllowedIPs) > 0 {
		configuration["allowed_ip_source_ranges"] = n.AllowedIPs
	}
	cluster := map[string]any{
		"account_id": account, "name": n.Name, "cloud_provider": n.CloudProvider, "cloud_region": n.Region, "configuration": configuration,
	}
	if n.CloudProvider == hybrid {
		cluster["cloud_provider"], cluster["cloud_region"], cluster["private_region_id"] = legacyHybrid, legacyHybrid, n.Region
	}
	if n.Hybrid != nil {
		if err := n.Hybrid.legacy(configuration); err != nil {
			return nil, err
		}
	}
	return cluster, nil
}

func (h HybridOptions) legacy(configuration map[string]any) error {
	if h.ServiceType != "" || len(h.ServiceAnnotations) > 0 || len(h.PodLabels) > 0 || h.ReservedCPUPercentage > 0 || h.ReservedMemoryPercentage > 0 ||
		h.DatabaseStorageClass != "" || h.SnapshotStorageClass != "" || h.VolumeSnapshotClass != "" {
		return lacks("CreateCluster", "settings of services, pods and storage")
	}
	for name, pairs := range map[string][]Label{"node_selector": h.NodeSelector, "cluster_annotations": h.Annotations} {
		if len(pairs) == 0 {
			continue
		}
		object := map[string]any{}
		for _, p := range pairs {
			object[p.Key] = p.Value
		}
		configuration[name] = object
	}
	var tolerations []any
	for _, t := range h.Tolerations {
		one := map[string]any{"operator": legacyOperator[t.Operator]}
		given(one, "key", t.Key)
		given(one, "value", t.Value)
		given(one, "effect", legacyEffect[t.Effect])
		if t.Seconds != nil {
			one["toleration_seconds"] = *t.Seconds
		}
		tolerations = append(tolerations, one)
	}
	if len(tolerations) > 0 {
		configuration["tolerations"] = tolerations
	}
	return nil
}

// pa/v1's words for a toleration.
var (
	legacyOperator = map[string]string{"EXISTS": "Exists", "EQUAL": "Equal"}
	legacyEffect   = map[string]string{"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}
)

func legacyDisk(gib int) map[string]any {
	return map[string]any{"amount": gib, "resource_type": "disk", "resource_unit": "Gi"}
}

// given sets a member that is not empty.
func given(object map[string]any, name, value string) {
	if value != "" {
		object[name] = value
	}
}

func givenPairs(object map[string]any, name string, pairs []Label) {
	if len(pairs) > 0 {
		object[name] = pairList(pairs)
	}
}

// pairList is a list of KeyValue.
func pairList(pairs []Label) []any {
	list := make([]any, len(pairs))
	for i, p := range pairs {
		list[i] = map[string]any{"key": p.Key, "value": p.Value}
	}
	return list
}

// Quote is what a cluster would cost, in millicents an hour for all of its nodes.
type Quote struct {
	Currency                      string
	OriginalPerHour               int64
	DiscountedPerHour             int64 // what is charged; equal to OriginalPerHour without a discount
	DiscountPercent               float64
	Package, ExtraDisk, DiskSpeed *Price // nil: not told
}

// Price is one part of a Quote.
type Price struct {
	OriginalPerHour, DiscountedPerHour int64
	DiscountPercent                    float64
}

// QuoteFor names what is to be priced.
type QuoteFor struct {
	CloudProvider, Region, PackageID string
	Nodes, AdditionalDiskGiB         int
	StorageTier                      string
}

// Quote asks what a cluster would cost, the account's discounts included. It changes nothing upstream
// and needs write:clusters there.
func (api *CurrentAPI) Quote(ctx context.Context, q QuoteFor) (Quote, error) {
	body := map[string]any{
		"cloudProviderId": q.CloudProvider, "numberOfNodes": q.Nodes, "packageId": q.PackageID, "additionalDiskGib": q.AdditionalDiskGiB,
	}
	given(body, "cloudProviderRegionId", q.Region)
	if q.StorageTier != "" {
		body["storageTierType"] = "STORAGE_TIER_TYPE_" + q.StorageTier
	}
	answer, err := api.conn.Do(ctx, OpGetQuote, nil, nil, body)
	if err != nil {
		return Quote{}, err
	}
	n, err := parseNode(answer.Body)
	if err != nil {
		return Quote{}, api.conn.misshapen(OpGetQuote, answer, err)
	}
	whole := price(n)
	return Quote{
		Currency: n.words("currency"), OriginalPerHour: whole.OriginalPerHour, DiscountedPerHour: whole.DiscountedPerHour, DiscountPercent: whole.DiscountPercent,
		Package: pricePart(n, "package"), ExtraDisk: pricePart(n, "extraDisk"), DiskSpeed: pricePart(n, "diskSpeed"),
	}, nil
}

// Quote is not in pa/v1.
func (*LegacyAPI) Quote(context.Context, QuoteFor) (Quote, error) {
	return Quote{}, lacks("Quote", "quotes")
}

// price reads a price. The gateway leaves out what is zero, so a discounted price that is not told is
// the original one, but for a discount of everything.
func price(n node) Price {
	p := Price{OriginalPerHour: max(0, n.integer("originalPricePerHour")), DiscountedPerHour: max(0, n.integer("discountedPricePerHour")), DiscountPercent: n.number("discountPercentage")}
	if p.DiscountPercent < 0 || p.DiscountPercent > 100 {
		p.DiscountPercent = 0
	}
	if p.DiscountedPerHour == 0 && p.DiscountPercent < 100 {
		p.DiscountedPerHour = p.OriginalPerHour
	}
	return p
}

func pricePart(n node, name string) *Price {
	part := n.object(name)
	if len(part.members) == 0 {
		return nil
	}
	p := price(part)
	return &p
}

// Quotas are how much an account may have. 0 is also what upstream says to a key that may not know.
type Quotas struct {
	Clusters, ClusterNodes, FreeClusters int
}

// Quotas returns the account's quotas. It needs no permission.
func (api *CurrentAPI) Quotas(ctx context.Context) (Quotas, error) {
	answer, err := api.conn.Do(ctx, OpGetAccountQuotas, nil, nil, nil)
	if err != nil {
		return Quotas{}, err
	}
	n, err := parseNode(answer.Body)
	if err != nil {
		return Quotas{}, api.conn.misshapen(OpGetAccountQuotas, answer, err)
	}
	const most = 1 << 31
	return Quotas{
		Clusters: n.count("maxClusters", most), ClusterNodes: n.count("maxClusterNodes", most),
		FreeClusters: n.count("maxFreeTierClusters", most),
	}, nil
}

// Quotas is not in pa/v1.
func (*LegacyAPI) Quotas(context.Context) (Quotas, error) { return Quotas{}, lacks("Quotas", "quotas") }

// DownscaleRisk is what upstream says may happen when a cluster gets a smaller package.
type DownscaleRisk struct {
	Resource string // MEMORY
	Status   string // NO_RISK, USAGE_EXCEEDS_TARGET, USAGE_UNKNOWN; a new word is kept
	Reason   string
}

// DownscaleRisks asks what a change to the package risks. It changes nothing.
func (api *CurrentAPI) DownscaleRisks(ctx context.Context, cluster, packageID string) ([]DownscaleRisk, error) {
	return listOf(ctx, api.conn, OpGetClusterDownscaleRisk, Params{"cluster_id": cluster}, url.Values{"packageId": {packageID}}, "downscaleRisks", func(n node) (DownscaleRisk, error) {
		return DownscaleRisk{Resource: n.enum("resource", enumRiskResource), Status: n.enum("status", enumRiskStatus), Reason: n.words("reason")}, nil
	})
}

// DownscaleRisks is not in pa/v1.
func (*LegacyAPI) DownscaleRisks(context.Context, string, string) ([]DownscaleRisk, error) {
	return nil, lacks("DownscaleRisks", "check of what a smaller package risks")
}
