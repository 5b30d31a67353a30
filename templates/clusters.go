package templates

import "time"

// FleetView is the list of clusters.
type FleetView struct {
	Page     Page
	Self     string // path and query that show just this
	Clear    string // path without filters
	Filter   FleetFilter
	Columns  []Column
	Rows     []FleetRow
	Accounts []AccountStrip
	Total    int // that match
	All      int // that the member may see
	First    string
	Next     string
	Notes    []string // what of the address was not understood
	MayAdd   bool
	Contact  []string // whom to ask for an account
	Offers   []Offer
}

// FleetFilter is what the fleet is narrowed by.
type FleetFilter struct {
	Text    string
	Selects []Select
	Hidden  []Pair // sort and dir, so that a filter keeps them
	Active  bool
}

// FleetRow is one cluster of the fleet.
type FleetRow struct {
	AccountID, AccountName, AccountHref string
	Environment                         string
	Legacy                              bool
	ClusterID, Name, Href               string
	Phase, Reason                       string
	Cloud, Region, Version              string
	NodesUp, Nodes                      int
	Package, RAM, CPU, Disk             string
	CreatedAt                           time.Time
	Stale                               string // why the row may no longer be so; empty when it is fresh
	SeenAt                              time.Time
}

// AccountStrip is an account above the fleet: how fresh what it tells is.
type AccountStrip struct {
	ID, Name, Href, Environment string
	Clusters                    int
	Legacy                      bool
	Disabled                    bool
	OKAt                        *time.Time
	Error                       string
	Stale                       bool
	Vanished                    int
}

func (a AccountStrip) trouble() bool {
	return a.Disabled || a.Error != "" || a.Stale || a.Vanished > 0
}

func (v FleetView) troubled() (trouble, fine []AccountStrip) {
	for _, a := range v.Accounts {
		if a.trouble() {
			trouble = append(trouble, a)
		} else {
			fine = append(fine, a)
		}
	}
	return trouble, fine
}

// ClusterView is the page of one cluster.
type ClusterView struct {
	Page    Page
	Self    string
	Crumbs  []Link
	Tabs    []Tab
	Name    string
	ID      string
	Phase   string
	Reason  string
	Moving  bool
	Every   string // how often the page asks for itself again, as htmx spells it; empty: not at all
	Stale   string
	Gone    bool
	SeenAt  time.Time
	Offers  []Offer
	Pending []PendingView

	AccountName, AccountHref, Environment string
	CloudAccountID                        string
	Legacy                                bool

	Cloud, Region       string
	CreatedAt           time.Time
	DeletedAt           time.Time
	CostAllocationLabel string
	Labels              []Pair

	Endpoint            string
	RESTPort, GRPCPort  int
	RESTURL, GRPCTarget string

	Version, WantedVersion string
	NodesUp, Nodes         int
	RestartedAt            time.Time
	JWT                    string
	Package, PackageID     string
	RAM, CPU, Disk         string // a node
	AdditionalDiskGiB      int
	AllowedIPs             []string
	ModifiedAt             time.Time
	Settings               []Pair
	Resources              []ResourceView
	NodeRows               []NodeView
	Capabilities           []CapabilityView
	Raw                    string // the whole answer, indented
}

// PendingView is an act on the cluster that has no outcome yet.
type PendingView struct {
	Act, By string
	Since   time.Time
	Unknown bool
}

// ResourceView is one resource of each node.
type ResourceView struct {
	Name, Unit                                           string
	Base, Complimentary, Additional, Reserved, Available float64
}

// NodeView is one node.
type NodeView struct {
	Name, State, Version, Zone, Endpoint string
	StartedAt                            time.Time
	NotReady                             []Pair
	Actions                              []string
}

// CapabilityView is something a cluster can or cannot do now.
type CapabilityView struct{ Name, Status, Reason string }
