package sandbox

import (
	"slices"
	"strings"
	"testing"

	"quartermaster/internal/cloudapi"
)

// fixtureOf returns the first account of a generation.
func (b *bench) fixtureOf(g cloudapi.Generation) Fixture {
	b.t.Helper()
	i := slices.IndexFunc(b.Fixtures(), func(f Fixture) bool { return f.Generation == string(g) })
	if i < 0 {
		b.t.Fatalf("no account of %s", g)
	}
	return b.Fixtures()[i]
}

// TestNewClustersKeepToTheDefinitions sends every setting of a new cluster through both generations: requests
// and answers are as published, and the cluster is as asked for.
func TestNewClustersKeepToTheDefinitions(t *testing.T) {
	b := setup(t)
	conn, _ := b.client(b.fixtureOf(cloudapi.Current))
	api := cloudapi.NewCurrentAPI(conn)
	providers, err := api.Providers(t.Context())
	if err != nil || len(providers) == 0 {
		t.Fatalf("%v, %v", providers, err)
	}
	environments, err := api.Regions(t.Context(), "hybrid")
	if err != nil || len(environments) == 0 {
		t.Fatalf("%v, %v", environments, err)
	}
	releases, err := api.Releases(t.Context(), "")
	if err != nil || !slices.ContainsFunc(releases, func(r cloudapi.Release) bool { return r.Default }) {
		t.Fatalf("%v, %v", releases, err)
	}
	if name, err := api.SuggestClusterName(t.Context()); err != nil || name == "" {
		t.Errorf("suggested %q, %v", name, err)
	}
	if q, err := api.Quotas(t.Context()); err != nil || q.Clusters == 0 || q.ClusterNodes == 0 {
		t.Errorf("quotas %+v, %v", q, err)
	}
	sized := func(provider, region, name string) string {
		t.Helper()
		packages, err := api.Packages(t.Context(), provider, region)
		if err != nil {
			t.Fatal(err)
		}
		return packages[slices.IndexFunc(packages, func(p cloudapi.Package) bool { return p.Name == name })].ID
	}
	managed, hybrid, seconds := sized("aws", "eu-central-1", "mx1"), sized("hybrid", "", "mx1"), 300
	for _, q := range []cloudapi.QuoteFor{
		{CloudProvider: "aws", Region: "eu-central-1", PackageID: managed, Nodes: 3},
		{CloudProvider: "aws", Region: "eu-central-1", PackageID: managed, Nodes: 1, AdditionalDiskGiB: 10, StorageTier: "PERFORMANCE"},
		{CloudProvider: "hybrid", Region: environments[0].ID, PackageID: hybrid, Nodes: 1},
	} {
		if quote, err := api.Quote(t.Context(), q); err != nil || quote.Currency != "USD" || quote.DiscountedPerHour == 0 {
			t.Errorf("%+v: %+v, %v", q, quote, err)
		}
	}
	for _, n := range []cloudapi.NewCluster{
		{Name: "least", CloudProvider: "aws", Region: "eu-central-1", PackageID: managed, Nodes: 1},
		{
			Name: "most", CloudProvider: "aws", Region: "eu-central-1", PackageID: managed, Nodes: 2, Version: "v1.16.3", AdditionalDiskGiB: 8, StorageTier: "BALANCED",
			Labels: []cloudapi.Label{{Key: "team", Value: "<b>"}}, CostAllocationLabel: "cc-1", AllowedIPs: []string{"192.0.2.0/24"},
		},
		{Name: "hybrid", CloudProvider: "hybrid", Region: environments[0].ID, PackageID: hybrid, Nodes: 1, Hybrid: &cloudapi.HybridOptions{
			ServiceType: "NODE_PORT", NodeSelector: []cloudapi.Label{{Key: "disk", Value: "ssd"}}, Annotations: []cloudapi.Label{{Key: "a", Value: "b"}},
			ServiceAnnotations: []cloudapi.Label{{Key: "lb", Value: "in"}}, PodLabels: []cloudapi.Label{{Key: "p", Value: "q"}},
			Tolerations: []cloudapi.Toleration{
				{Key: "a", Operator: "EQUAL", Value: "b", Effect: "NO_SCHEDULE"}, {Key: "c", Operator: "EXISTS"}, {Key: "d", Operator: "EXISTS", Effect: "NO_EXECUTE", Seconds: &seconds},
			},
			ReservedCPUPercentage: 10, ReservedMemoryPercentage: 20, DatabaseStorageClass: "fast", SnapshotStorageClass: "slow", VolumeSnapshotClass: "csi",
		}},
	} {
		made, err := api.CreateCluster(t.Context(), n)
		if err != nil {
			t.Errorf("%s: %v", n.Name, err)
			continue
		}
		asked := made.Configuration
		if made.Name != n.Name || made.Region != n.Region || asked.Nodes != n.Nodes || asked.AdditionalDiskGiB != n.AdditionalDiskGiB || !slices.Equal(made.Labels, n.Labels) ||
			!slices.Equal(asked.AllowedIPs, n.AllowedIPs) || asked.StorageTier != n.StorageTier || made.CostAllocationLabel != n.CostAllocationLabel {
			t.Errorf("%s became %+v", n.Name, made)
		}
	}
}

// TestNewLegacyClustersKeepToTheDefinition does the same for pa/v1; a hybrid one is refused by an account
// without environments, and its request is as published all the same.
func TestNewLegacyClustersKeepToTheDefinition(t *testing.T) {
	b := setup(t)
	conn, sent := b.client(b.fixtureOf(cloudapi.PAV1))
	api := cloudapi.NewLegacyAPI(conn)
	packages, err := api.Packages(t.Context(), "aws", "eu-central-1")
	if err != nil {
		t.Fatal(err)
	}
	size := packages[slices.IndexFunc(packages, func(p cloudapi.Package) bool { return p.Name == "mx1" })].ID
	for _, n := range []cloudapi.NewCluster{
		{Name: "least", CloudProvider: "aws", Region: "eu-central-1", PackageID: size, Nodes: 1},
		{Name: "latest", CloudProvider: "aws", Region: "eu-central-1", PackageID: size, Nodes: 1, Version: "latest"},
		{Name: "most", CloudProvider: "aws", Region: "eu-central-1", PackageID: size, Nodes: 2, Version: "v1.16.3", AdditionalDiskGiB: 8, AllowedIPs: []string{"192.0.2.0/24"}},
	} {
		if made, err := api.CreateCluster(t.Context(), n); err != nil || made.Name != n.Name || made.Configuration.Nodes != n.Nodes || made.Configuration.AdditionalDiskGiB != n.AdditionalDiskGiB {
			t.Errorf("%s: %+v, %v", n.Name, made, err)
		}
	}
	const environment = "11111111-2222-4333-8444-555555555555"
	_, err = api.CreateCluster(t.Context(), cloudapi.NewCluster{
		Name: "hybrid", CloudProvider: "hybrid", Region: environment, PackageID: size, Nodes: 1,
		Hybrid: &cloudapi.HybridOptions{NodeSelector: []cloudapi.Label{{Key: "a", Value: "b"}}, Tolerations: []cloudapi.Toleration{{Key: "k", Operator: "EXISTS", Effect: "NO_EXECUTE"}}},
	})
	if refused, ok := cloudapi.AsError(err); !ok || refused.Kind != cloudapi.Invalid {
		t.Errorf("hybrid: %v", err)
	}
	body := sent()[len(sent())-1]
	for _, want := range []string{`"cloud_provider":"private"`, `"cloud_region":"private"`, `"private_region_id":"` + environment + `"`, `"node_selector":{"a":"b"}`, `"operator":"Exists"`, `"effect":"NoExecute"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
}
