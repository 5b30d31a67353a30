package templates

import (
	"slices"
	"time"
)

// FleetView is the list of clusters.
type FleetView struct {
	Page       Page
	Self       string // path and query that show just this
	Clear      string // path without filters
	Filter     FleetFilter
	Columns    []Column
	Rows       []FleetRow
	Gone       []FleetRow // clusters that are no more, the latest first
	GoneMore   int        // how many more of them there are
	Accounts   []AccountStrip
	Total      int // that match
	All        int // that the member may see
	First      string
	Next       string
	Notes      []string // what of the address was not understood
	ShortText  bool     // the search is found at the beginning of names only
	SlowSearch string   // why the text search reads everything, for those who may mend it
	MayAdd     bool
	Contact    []string // whom to ask for an account
	Offers     []Offer
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
	GoneAt                              time.Time // zero: it is there
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

const (
	// fewAccounts is up to how many accounts the fleet lists with their age, fewTroubles of how many that
	// need a look it says so one by one. More are summed up: the fleet itself must stay in sight.
	fewAccounts = 8
	fewTroubles = 3
	// Bounds of that sum.
	maxTroubleGroups = 10
	maxTroubleNames  = 12
)

// troubleGroup are accounts that need a look for the same reason.
type troubleGroup struct {
	Words    string
	Accounts []AccountStrip
	More     int // that are not named
}

// troubleGroups puts accounts together that share a reason, the largest group first.
func troubleGroups(trouble []AccountStrip) []troubleGroup {
	var groups []troubleGroup
	at := map[string]int{}
	for _, a := range trouble {
		words := a.why()
		i, known := at[words]
		if !known && len(groups) >= maxTroubleGroups-1 {
			words = "Other reasons."
			i, known = at[words]
		}
		if !known {
			i = len(groups)
			at[words] = i
			groups = append(groups, troubleGroup{Words: words})
		}
		if g := &groups[i]; len(g.Accounts) < maxTroubleNames {
			g.Accounts = append(g.Accounts, a)
		} else {
			g.More++
		}
	}
	slices.SortStableFunc(groups, func(a, b troubleGroup) int { return len(b.Accounts) + b.More - len(a.Accounts) - a.More })
	return groups
}

func (a AccountStrip) why() string {
	switch {
	case a.Disabled:
		return "Disabled, so the key is not used."
	case a.Error != "":
		return a.Error
	case a.Vanished > 0:
		return "Suddenly left out many clusters; nothing is concluded from that."
	}
	return "Has not answered for a while."
}

// oldest is the oldest complete answer of the accounts; nil when one has never answered.
func oldest(accounts []AccountStrip) *time.Time {
	at := accounts[0].OKAt
	for _, a := range accounts {
		if a.OKAt == nil || at == nil {
			return nil
		}
		if a.OKAt.Before(*at) {
			at = a.OKAt
		}
	}
	return at
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
	WhoCanHref string // who can touch the cluster; empty for those who may not ask
	Page       Page
	Self       string
	Crumbs     []Link
	Tabs       []Tab
	Name       string
	ID         string
	AccountID  string
	Phase      string
	Reason     string
	Moving     bool
	Every      string // how often the page asks for itself again, as htmx spells it; empty: not at all
	Stale      string
	Gone       bool
	GoneAt     time.Time // when it was noticed
	ShownUntil time.Time // of one that is gone
	SeenAt     time.Time
	Offers     []Offer
	Pending    []PendingView

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
