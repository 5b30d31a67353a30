package templates

func sampleClusterForm() ClusterFormView {
	v := ClusterFormView{
		Page: samplePage("New cluster", "cluster-new", "clusters"), Crumbs: []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/0192"}},
		AccountName: "Search production", Environment: "production", Action: "/accounts/0192/clusters", Self: "/accounts/0192/clusters/new", Back: "/accounts/0192",
		FormToken: "t0k3n", CloudProvider: "aws", Region: "eu-central-1", Name: "amber-falcon", PackageID: "p1", Nodes: "3", DiskGiB: "100", Version: "v1.17.2",
		Providers: []PlaceChoice{{Value: "aws", Label: "Amazon Web Services (aws)", Selected: true}, {Value: "gcp", Label: "Google Cloud (gcp)"}, {Value: "hybrid", Label: "Hybrid Cloud (hybrid), takes no clusters now", Closed: true}},
		Regions:   []PlaceChoice{{Value: "eu-central-1", Label: "Frankfurt (eu-central-1)", Selected: true}, {Value: "us-east-1", Label: "N. Virginia (us-east-1)"}},
		Releases:  []Choice{{Value: "v1.17.2", Label: "v1.17.2 (default)"}, {Value: "v1.16.3", Label: "v1.16.3"}},
		Tiers:     []string{"COST_OPTIMISED", "BALANCED", "PERFORMANCE"},
		Quotas:    []string{"The account may have 20 clusters and is known to have 14.", "A cluster may have 10 nodes."},
		Notes:     []string{"The provider has no region mars, so eu-central-1 is chosen."},
		Price: NewPriceView{
			Self: "/accounts/0192/clusters/quote", PerHour: "$0.28272", PerMonth: "$206.39", Listed: "$229.32", Discount: "10 %", Package: "mx2", Nodes: 3,
			Parts: []Pair{{"Package", "$196.39"}, {"Additional disk", "$10.00"}},
		},
	}
	for i, name := range []string{"free2", "mx1", "mx2", "mx16-premium", "gpu1"} {
		v.Packages = append(v.Packages, PackageOption{
			ID: name, Name: name, Selected: i == 2, Free: i == 0, RAM: MiB(int64(1024 << i)), CPU: CPU(int64(500 << i)), Disk: MiB(int64(4096 << i)), MultiAZ: i == 3, Tier: "Standard",
			PerHour: "$0.09424", PerMonth: "$68.80", DiskPerMonth: "$0.10", GPU: pick(i == 4, "1 GPU, 16 GiB", ""), Speeds: []string{"Balanced $6.88", "Performance $17.20"},
		})
	}
	return v
}

// sampleWrongClusterForm is a hybrid form with everything wrong.
func sampleWrongClusterForm() ClusterFormView {
	v := sampleClusterForm()
	v.CloudProvider, v.Hybrid = "hybrid", true
	v.StorageClasses, v.VolumeSnapshotClasses = []string{"gp3"}, []string{"csi-snapshots"}
	v.Errors = map[string]string{"": "The account’s quota does not allow it. Qdrant Cloud says: “quota exceeded”."}
	for _, f := range clusterFields {
		v.Errors[f] = "This is not right."
	}
	v.Price = NewPriceView{Self: v.Price.Self, Problem: "Choose a package and give the number of nodes and of additional GiB: then the price is told."}
	return v
}

// sampleUnreadClusterForm is a legacy form of which no list could be read.
func sampleUnreadClusterForm() ClusterFormView {
	v := sampleClusterForm()
	v.Legacy, v.Hybrid, v.CloudProvider, v.Packages, v.Releases, v.Tiers, v.Quotas = true, true, "hybrid", nil, nil, nil, nil
	v.Lacks = []string{"The legacy pa/v1 API tells neither providers, regions nor versions.", "It has no labels."}
	v.Unread = map[string]string{"cloud_provider": "Qdrant Cloud cannot be reached.", "package_id": "Qdrant Cloud cannot be reached.", "version": "Qdrant Cloud cannot be reached.", "name": "None.", "quotas": "None."}
	v.Price.Estimate = "The legacy pa/v1 API gives no quote, so this is the package’s price, without any discount."
	return v
}

func sampleClusterAccounts() ClusterAccountsView {
	return ClusterAccountsView{
		Page: samplePage("New cluster", "cluster-new-account", "clusters"), Crumbs: []Link{{"Clusters", "/clusters"}},
		Accounts: []ClusterAccount{
			{ID: "0192", Name: "Search production", Environment: "production", Clusters: 14, Href: "/accounts/0192/clusters/new"},
			{ID: "0193", Name: "Legacy vectors", Environment: "staging", Legacy: true, Clusters: 1, Reason: "The account is disabled: its key is not used."},
		},
	}
}
