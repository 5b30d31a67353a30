package templates

var updateCrumbs = []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}, {"search-main", "/accounts/1/clusters/c"}}

// sampleUpdate is the form that changes a cluster, and with what is wrong in it the same once more.
func sampleUpdate(wrong map[string]string) ClusterUpdateView {
	field := func(name, label, value, hint string) UpdateField {
		return UpdateField{Field: Field{Name: name, Label: label, Value: value, Hint: hint, Error: wrong[name]}}
	}
	labels := field("labels", "Labels", "team=search\ntier=gold", "One a line, as in team=search. At most 10.")
	labels.Type, labels.Focus = "textarea", wrong != nil
	size := field("package_id", "Package", "p1", "What each node has. The price is of one node.")
	size.Choices = []Choice{
		{Value: "p1", Label: "mx3-gpx3, as it is", Hint: "32 GiB RAM · 8 vCPU · 128 GiB disk · $0.37696 an hour · $275.18 a month", Selected: true},
		{Value: "p2", Label: "mx16", Hint: "64 GiB RAM · 8 vCPU · 256 GiB disk · $0.75392 an hour · $550.36 a month"},
	}
	version := field("version", "Version", "v1.15.4", "")
	version.Choices = []Choice{{Value: "v1.15.4", Label: "v1.15.4, as it is", Selected: true}, {Value: "v1.17.2", Label: "v1.17.2, the default"}}
	policy := field("restart_policy", "Restart policy", "", "")
	policy.NotOffered, policy.Shown = "The legacy pa/v1 API has no restart policy.", "Qdrant’s default"
	v := ClusterUpdateView{
		Page: samplePage("Change search-main", "cluster-update", "clusters"), Crumbs: updateCrumbs, Name: "search-main", Errors: wrong,
		Action: "/accounts/1/clusters/c/update/review", Back: "/accounts/1/clusters/c", Legacy: wrong != nil,
		Hidden: []Pair{{"revision", "6f1a"}, {"started", `{"name":"search-main"}`}},
		Sections: []UpdateSection{
			{ID: "about", Heading: "Name and labels", Fields: []UpdateField{field("name", "Name", "search-main", "2 to 64 letters, digits, - and _."), labels}},
			{ID: "size", Heading: "Size", Fields: []UpdateField{size, field("nodes", "Nodes", "3", "From 1 to 12, the account’s quota.")}},
			{ID: "software", Heading: "Version", Fields: []UpdateField{version}},
			{ID: "policies", Heading: "Policies", Fields: []UpdateField{policy}},
		},
	}
	if wrong != nil {
		v.Upstream = "quota exceeded: a cluster of this account may have 3 nodes"
	}
	return v
}

func sampleReview() ClusterReviewView {
	return ClusterReviewView{
		Page: samplePage("Apply changes to search-main?", "cluster-update-review", "clusters"), Crumbs: updateCrumbs, Name: "search-main", Production: "Search production",
		Rows: []ChangeRow{
			{"labels", "Labels", "team=search\ntier=gold", "team=search"},
			{"package_id", "Package", "mx8 · 32 GiB RAM · 4 vCPU · 128 GiB disk", "mx16 · 64 GiB RAM · 8 vCPU · 256 GiB disk"},
			{"nodes", "Nodes", "3", "5"},
		},
		Price: PriceView{
			Known: true, BeforeHour: "$1.13088", BeforeMonth: "$825.54", AfterHour: "$3.7696", AfterMonth: "$2,751.81",
			Tone: toneWarn, Word: "Costs more", DifferHour: "+$2.63872", DifferMonth: "+$1,926.27",
		},
		Points: []string{"Its nodes restart.", "Collections with one replica do not answer while their node restarts."},
		Hidden: []Pair{{"revision", "6f1a"}, {"nodes", "5"}}, Apply: "/accounts/1/clusters/c/update", Edit: "/accounts/1/clusters/c/update/review", Back: "/accounts/1/clusters/c",
	}
}

func sampleSmaller() ClusterReviewView {
	v := sampleReview()
	v.Production = ""
	v.Warnings = []string{"The new package has less than the present one. A cluster that needs more than its nodes have stops answering."}
	v.Risks = []RiskView{{toneBad, "Memory: more is used than the package has", "The nodes use 21.4 GiB of memory, package mx4 has 16 GiB."}, {toneOK, "Memory: no risk found", ""}}
	v.Price = PriceView{Note: "Qdrant Cloud does not tell the price of a package."}
	return v
}

func sampleStale() ClusterStaleView {
	return ClusterStaleView{
		Page: samplePage("search-main was changed meanwhile", "cluster-update-stale", "clusters"), Crumbs: updateCrumbs, Name: "search-main", Started: true, Left: true,
		Rows: []StaleRow{
			{Field: "labels", Label: "Labels", Started: "team=search\ntier=gold", Now: "team=others", Wanted: "team=search", Wished: true},
			{Field: "nodes", Label: "Nodes", Started: "3", Now: "5"},
		},
		Hidden: []Pair{{"revision", "7a2b"}, {"labels", "team=search"}}, Review: "/accounts/1/clusters/c/update/review", Back: "/accounts/1/clusters/c",
	}
}

func sampleStaleDone() ClusterStaleView {
	v := sampleStale()
	v.Started, v.Left, v.Rows = false, false, v.Rows[:1]
	return v
}
