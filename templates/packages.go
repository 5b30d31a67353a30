package templates

// PackagesView is the page of packages and prices.
type PackagesView struct {
	Page     Page
	Filter   FleetFilter
	GPU      bool // filters that are on
	MultiAZ  bool
	MinRAM   string
	MinCPU   string
	Invalid  map[string]string
	Clear    string
	Columns  []Column
	Rows     []PackageRow
	All      int
	Notes    []string // what could not be read
	Failure  string   // why nothing could be
	NoPlace  bool     // the account has no provider
	Provider string
	MayAdd   bool
	Contact  []string
	Clusters int  // that the member may see, where they may see no account
	None     bool // no account may be looked at
	Create   Offer
}

// PackageRow is one package in one region.
type PackageRow struct {
	ID, Name, Tier, Region, RegionName string
	RAM, CPU, Disk, GPU                string
	MultiAZ, Free                      bool
	Hour, Month                        string
	ExtraDisk                          string // price of one additional GiB, a month
	Against                            string // how it compares with other regions, in words
	Cheapest                           bool
	Create                             string // address of the form with this chosen; empty when it is not offered
}
