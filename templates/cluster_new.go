package templates

import "slices"

// ClusterFormView is the form that asks for a cluster.
type ClusterFormView struct {
	Page                     Page
	Crumbs                   []Link
	AccountName, Environment string
	Legacy                   bool
	Hybrid                   bool   // the chosen provider is hybrid
	Action                   string // path that makes the cluster
	Self                     string // path that shows the form again
	Back                     string
	FormToken                string

	Providers, Regions    []PlaceChoice
	Packages              []PackageOption
	Releases              []Choice
	Tiers                 []string // speeds of disk that some package offers
	StorageClasses        []string
	VolumeSnapshotClasses []string
	Price                 NewPriceView
	Unread                map[string]string // by field: why its list could not be read
	Lacks                 []string          // what this API cannot be asked
	Notes                 []string
	Quotas                []string
	Errors                map[string]string // by field; "" is the form

	// As typed or chosen.
	Name, CloudProvider, Region, PackageID, Nodes, Version, DiskGiB, StorageTier string
	Labels, CostAllocationLabel, AllowedIPs                                      string
	ServiceType, NodeSelector, Tolerations, Annotations, ServiceAnnotations      string
	PodLabels, ReservedCPU, ReservedMemory                                       string
	DatabaseStorageClass, SnapshotStorageClass, VolumeSnapshotClass              string
}

// AddTier adds a speed of disk once.
func (v *ClusterFormView) AddTier(tier string) {
	if tier != "" && !slices.Contains(v.Tiers, tier) {
		v.Tiers = append(v.Tiers, tier)
	}
}

// PlaceChoice is a provider or a region.
type PlaceChoice struct {
	Value, Label string
	Selected     bool
	Closed       bool // takes no clusters now
}

// PackageOption is a size of node that can be chosen.
type PackageOption struct {
	ID, Name          string
	Selected, Free    bool
	RAM, CPU, Disk    string
	GPU               string // empty: none
	MultiAZ           bool
	Tier              string
	PerHour, PerMonth string // of one node
	DiskPerMonth      string // of one additional GiB on one node; empty: none can be added, or not told
	Speeds            []string
}

// zones says how a package is spread and of which tier it is. An API that tells no tier does not tell
// zones either.
func (p PackageOption) zones() string {
	switch {
	case p.MultiAZ && p.Tier == "":
		return "several zones"
	case p.MultiAZ:
		return "several zones, " + p.Tier
	case p.Tier == "":
		return "–"
	}
	return "one zone, " + p.Tier
}

// NewPriceView is what the chosen cluster would cost.
type NewPriceView struct {
	Self              string // path that tells it
	Problem           string // why it is not told
	PerHour, PerMonth string
	Listed, Discount  string // a month before the discount, and how much it is; empty: none
	Package           string
	Nodes             int
	Parts             []Pair // each a month
	Estimate          string // why it is computed and not quoted
}

// ClusterAccountsView asks in which account a cluster is to be made.
type ClusterAccountsView struct {
	Page     Page
	Crumbs   []Link
	Accounts []ClusterAccount
	MayAdd   bool
	Contact  []string
	Clusters int // that the member may see, where they may see no account
}

// ClusterAccount is an account in which a cluster could be made.
type ClusterAccount struct {
	ID, Name, Environment string
	Legacy                bool
	Clusters              int
	Href                  string
	Reason                string // why it cannot; empty when it can
}

// TierWords names a speed of disk.
func TierWords(tier string) string {
	if tier == "COST_OPTIMISED" {
		return "Cost-optimised"
	}
	return Words(tier)
}

// clusterFields is the order of the fields on the page: the first that is wrong gets the focus.
var clusterFields = []string{
	"cloud_provider", "region", "name", "package_id", "storage_tier", "nodes", "additional_disk_gib", "version", "allowed_ips", "labels", "cost_allocation_label",
	"service_type", "node_selector", "tolerations", "annotations", "service_annotations", "pod_labels", "reserved_cpu_percentage",
	"reserved_memory_percentage", "database_storage_class", "snapshot_storage_class", "volume_snapshot_class",
}

func (v ClusterFormView) focus(field string) bool {
	for _, f := range clusterFields {
		if v.Errors[f] != "" {
			return f == field
		}
	}
	return false
}

func (v ClusterFormView) problems() []Link {
	var out []Link
	if e := v.Errors[""]; e != "" {
		out = append(out, Link{Label: e})
	}
	for _, f := range clusterFields {
		if e := v.Errors[f]; e != "" {
			out = append(out, Link{Label: e, Href: "#f-" + f})
		}
	}
	for _, f := range sortedKeys(v.Errors) {
		if f != "" && !slices.Contains(clusterFields, f) {
			out = append(out, Link{Label: v.Errors[f]})
		}
	}
	return out
}

// field is a field of the form with what is wrong with it.
func (v ClusterFormView) field(f Field) Field {
	f.Error, f.Focus, f.Autocomplete = v.Errors[f.Name], v.focus(f.Name), "off"
	return f
}

// choose is a list of the form with what is wrong with it.
func (v ClusterFormView) choose(name, label, hint, anyWord, chosen string, choices []Choice) formChoice {
	found := chosen == "" && anyWord != ""
	for i, c := range choices {
		choices[i].Selected = c.Value == chosen
		found = found || c.Value == chosen
	}
	if !found && chosen != "" {
		choices = append(choices, Choice{Value: chosen, Label: chosen, Selected: true})
	}
	return formChoice{Field: v.field(Field{Name: name, Label: label, Hint: hint}), Any: anyWord, Choices: choices}
}

// formChoice is a labelled list in a form.
type formChoice struct {
	Field
	Any     string // words of the empty choice; none when empty
	Choices []Choice
	Price   bool // the price depends on it
}

func (v ClusterFormView) tiers() formChoice {
	var choices []Choice
	for _, t := range v.Tiers {
		choices = append(choices, Choice{Value: t, Label: TierWords(t)})
	}
	c := v.choose("storage_tier", "Speed of the disks", "What each costs stands beside the packages. Not every package offers all.", "As the package has it", v.StorageTier, choices)
	c.Price = true
	return c
}

func (v ClusterFormView) versions() formChoice {
	return v.choose("version", "Version of Qdrant", "", pick(len(v.Releases) == 0 || v.Version == "", "Qdrant Cloud’s default", ""), v.Version, v.Releases)
}

func (v ClusterFormView) serviceTypes() formChoice {
	return v.choose("service_type", "Service type", "", "The environment’s default", v.ServiceType, []Choice{
		{Value: "CLUSTER_IP", Label: "Cluster IP"}, {Value: "NODE_PORT", Label: "Node port"}, {Value: "LOAD_BALANCER", Label: "Load balancer"},
	})
}

func (v ClusterFormView) classes(name, label, chosen string, offered []string) formChoice {
	var choices []Choice
	for _, c := range offered {
		choices = append(choices, Choice{Value: c, Label: c})
	}
	return v.choose(name, label, "", "The environment’s default", chosen, choices)
}
