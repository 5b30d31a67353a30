package sandbox

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// refusal wants both generations to refuse the same request, pa/v1 with these words.
func (b *bench) refusal(what string, current, legacy reply, status int, code float64, words string) {
	b.t.Helper()
	if current.status != status || current.get("code") != code {
		b.t.Errorf("%s: %d %s", what, current.status, current.body)
	}
	if legacy.status != status || legacy.get("detail") != words {
		b.t.Errorf("%s on pa/v1: %d %s, want %s", what, legacy.status, legacy.body, words)
	}
}

// TestAccountConditions: quotas, payment and entitlement refuse in both generations, with pa/v1's
// codes, and put back they refuse nothing.
func TestAccountConditions(t *testing.T) {
	b := setup(t)
	f := b.fixture(1)
	set := func(change map[string]any) reply {
		t.Helper()
		change["account"] = f.CloudAccountID
		return b.ctl("POST", "account", change)
	}
	present := set(map[string]any{})
	legacyCreate := func(change func(map[string]any)) reply {
		t.Helper()
		spec := legacySpec(f, "refused")
		if change != nil {
			change(spec)
		}
		return b.call(f, "POST", legacyPath(f)+"/clusters", spec)
	}
	id := b.ready(f, newCluster("conditions"))
	have := len(b.accounts[f.CloudAccountID].clusters)

	set(map[string]any{"quotas": map[string]any{"clusters": have}})
	b.refusal("clusters", b.create(f, newCluster("refused")), legacyCreate(nil), 400, 9, "E1018 Cluster limit reached")
	set(map[string]any{"quotas": map[string]any{"clusters": have + 10, "nodes": 2}})
	b.refusal("nodes", b.create(f, edit(newCluster("refused"), "configuration.numberOfNodes", 3)),
		legacyCreate(func(s map[string]any) { s["configuration"].(map[string]any)["number_of_nodes"] = 3 }), 400, 9, "E1024 Invalid cluster scaling values")
	set(map[string]any{"quotas": map[string]any{"nodes": 10, "free_clusters": 0}})
	free := edit(edit(newCluster("refused"), "configuration.packageId", idOf("package", "aws", "free2")), "configuration.numberOfNodes", 1)
	b.refusal("free clusters", b.create(f, free), legacyCreate(func(s map[string]any) {
		s["configuration"].(map[string]any)["node_configuration"] = map[string]any{"package_id": idOf("package", "aws", "free2")}
	}), 400, 9, "E1019 Free cluster limit reached")

	set(map[string]any{"payment": "missing", "quotas": map[string]any{"free_clusters": 5}})
	b.refusal("payment", b.create(f, newCluster("refused")), legacyCreate(nil), 400, 9, "E1022 Payment details missing or outdated")
	b.create(f, free).want(t, 200)
	nodes := func(n int) reply {
		t.Helper()
		return b.update(f, id, map[string]any{"configuration": map[string]any{"numberOfNodes": n}}, "configuration.numberOfNodes")
	}
	if got := nodes(3); got.status != 400 || got.get("message") != "Payment details missing or outdated" {
		t.Errorf("more nodes: %d %s", got.status, got.body)
	}
	b.update(f, id, map[string]any{"name": "renamed"}, "name").want(t, 200)
	nodes(1).want(t, 200)
	b.clock = b.clock.Add(time.Minute)

	set(map[string]any{"payment": "ok", "entitled": false})
	b.refusal("entitlement", b.create(f, newCluster("refused")), legacyCreate(nil), 403, 7, "E1040 Account is not entitled to do the requested action")
	b.makeKey(f, 2, newKey(id, "refused")).want(t, 403)
	if got := nodes(2); got.status != 403 || got.get("message") != "Account is not entitled to do the requested action" {
		t.Errorf("an update: %d %s", got.status, got.body)
	}
	b.cluster(f, id).want(t, 200)
	b.call(f, "DELETE", clustersPath(f)+"/"+id, nil).want(t, 200)

	if again := set(map[string]any{"entitled": true, "quotas": present.get("quotas")}); !bytes.Equal(again.body, present.body) {
		t.Errorf("put back: %s, before: %s", again.body, present.body)
	}
	b.create(f, newCluster("allowed")).want(t, 200)
	other := b.fixture(0)
	set(map[string]any{"entitled": false})
	b.create(other, newCluster("allowed")).want(t, 200) // each account by itself
}

// TestCatalogueChanges: a region, a package and a release go away between two calls and come back.
func TestCatalogueChanges(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	running := b.ready(f, edit(newCluster("runs-on"), "configuration.version", "v1.16.3"))
	change := func(set map[string]any) { t.Helper(); b.ctl("POST", "catalogue", set) }
	create := func(path string, value any) reply {
		t.Helper()
		return b.create(f, edit(newCluster("catalogue"), path, value))
	}
	legacy := func(change func(map[string]any)) reply {
		t.Helper()
		spec := legacySpec(f, "catalogue")
		change(spec)
		return b.call(f, "POST", legacyPath(f)+"/clusters", spec)
	}
	region := func() any {
		return b.call(f, "GET", "/api/platform/v1/accounts/"+f.CloudAccountID+"/cloud-providers/aws/regions/eu-central-1", nil).want(t, 200).get("region", "available")
	}

	change(map[string]any{"region_unavailable": map[string]any{"provider": "aws", "region": "eu-central-1"}})
	b.refusal("region", create("name", "catalogue"), legacy(func(map[string]any) {}), 400, 9, "E1021 No region cluster available yet")
	if region() != nil {
		t.Error("the region is still available")
	}
	change(map[string]any{"restore": true, "package_deactivated": map[string]any{"provider": "aws", "name": "mx2"}})
	if region() != true {
		t.Error("the region did not come back")
	}
	if got := create("name", "catalogue"); got.status != 400 || got.get("details", 0, "fieldViolations", 0, "field") != "cluster.configuration.package_id" {
		t.Errorf("package: %d %s", got.status, got.body)
	}
	if got := legacy(func(map[string]any) {}); got.status != 422 || fmt.Sprint(got.get("detail", 0, "loc")) != "[body configuration node_configuration package_id]" {
		t.Errorf("package on pa/v1: %d %s", got.status, got.body)
	}
	packages := b.call(f, "GET", "/api/booking/v1/accounts/"+f.CloudAccountID+"/packages?cloudProviderId=aws&cloudProviderRegionId=us-east-1", nil).want(t, 200)
	if bytes.Contains(packages.body, []byte(`"mx2"`)) {
		t.Error("the package is still listed")
	}
	b.update(f, running, map[string]any{"configuration": map[string]any{"numberOfNodes": 3}}, "configuration.numberOfNodes").want(t, 200) // who has it keeps it
	b.clock = b.clock.Add(time.Minute)

	change(map[string]any{"restore": true, "release_end_of_life": "v1.17.2"})
	b.refusalVersion(create("configuration.version", "v1.17.2"), legacy(func(s map[string]any) { s["configuration"].(map[string]any)["version"] = "v1.17.2" }))
	if got := create("name", "catalogue").want(t, 200); got.get("cluster", "configuration", "version") != "v1.17.1" {
		t.Errorf("the default did not move: %s", got.body)
	}
	releases := b.call(f, "GET", "/api/cluster/v1/accounts/"+f.CloudAccountID+"/releases", nil).want(t, 200)
	if n := bytes.Count(releases.body, []byte(`"default":true`)); n != 1 {
		t.Errorf("%d releases are the default: %s", n, releases.body)
	}
	options := b.call(f, "GET", "/api/cluster/v1/accounts/"+f.CloudAccountID+"/releases?clusterId="+running, nil).want(t, 200)
	if options.get("items", 0, "version") != "v1.17.1" || options.get("items", 1) != nil {
		t.Errorf("update options: %s", options.body)
	}
	change(map[string]any{"restore": true})
	create("name", "catalogue").want(t, 200)
	if b.accounts[f.CloudAccountID].clusters[running].config().str("version") != "v1.16.3" {
		t.Error("a running cluster changed")
	}
}

// refusalVersion wants a release refused at its field, or with its code.
func (b *bench) refusalVersion(current, legacy reply) {
	b.t.Helper()
	if field := current.get("details", 0, "fieldViolations", 0, "field"); field != "cluster.configuration.version" {
		b.t.Errorf("release at %v", field)
	}
	b.refusal("release", current, legacy, 400, 3, "E1039 Invalid Qdrant version")
}

// TestLegacyDownscale: a disk that would shrink has a code of its own on pa/v1, and an account that
// is not the key's is refused as everywhere.
func TestLegacyDownscale(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	id := b.clusterNamed(f, "news-clustering")
	mine := b.call(f, "GET", legacyPath(f)+"/clusters/"+id, nil).want(t, 200).json
	smaller := edit(mine, "configuration.node_configuration.resource_configurations", []any{map[string]any{"amount": 8, "resource_type": "disk", "resource_unit": "Gi"}})
	if got := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, smaller); got.status != 400 || got.get("detail") != "E1043 Downscaling not supported" {
		t.Errorf("a smaller disk: %d %s", got.status, got.body)
	}
	if got := b.send(b.server.URL, "apikey wrong", "GET", legacyPath(f)+"/clusters", nil); got.status != 401 || got.get("detail") != "E1013 Invalid auth token" {
		t.Errorf("a wrong key: %d %s", got.status, got.body)
	}
}

// TestQuotasNeedPermission: each quota is zero to a key without the permission it is documented for.
func TestQuotasNeedPermission(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	path := "/api/quota/v1/accounts/" + f.CloudAccountID + "/quotas"
	for _, c := range []struct {
		permissions []string
		want        []any // clusters, nodes, free clusters, keys
	}{
		{allPermissions(), []any{float64(26), float64(10), float64(1), float64(20)}},
		{[]string{"write:clusters"}, []any{float64(26), float64(10), float64(1), nil}},
		{[]string{"read:api_keys"}, []any{nil, nil, nil, float64(20)}},
		{[]string{"read:clusters"}, []any{nil, nil, nil, nil}},
	} {
		key := b.ctl("POST", "keys", map[string]any{"account": f.CloudAccountID, "permissions": c.permissions}).get("management_key").(string)
		q := b.call(Fixture{CloudAccountID: f.CloudAccountID, ManagementKey: key}, "GET", path, nil).want(t, 200)
		got := []any{q.get("maxClusters"), q.get("maxClusterNodes"), q.get("maxFreeTierClusters"), q.get("maxClusterDatabaseApiKeys")}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.permissions, got, c.want)
		}
	}
}

// TestReleasesAscend: oldest first, one default, and for a cluster only what it can be updated to.
func TestReleasesAscend(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	path := "/api/cluster/v1/accounts/" + f.CloudAccountID + "/releases"
	read := func(query string) (versions []string, words map[any]int) {
		t.Helper()
		list := b.call(f, "GET", path+query, nil).want(t, 200)
		words = map[any]int{}
		items, _ := list.get("items").([]any)
		for i := range items {
			versions = append(versions, list.get("items", i, "version").(string))
			for _, name := range []string{"default", "endOfLife", "unavailable"} {
				if list.get("items", i, name) == true {
					words[name]++
				}
			}
		}
		return versions, words
	}
	all, words := read("")
	if !slices.IsSortedFunc(all, func(a, b string) int {
		if olderVersion(a, b) {
			return -1
		}
		return 1
	}) {
		t.Errorf("the order is %v", all)
	}
	if words["default"] != 1 || words["endOfLife"] == 0 || words["unavailable"] == 0 {
		t.Errorf("releases: %v", words)
	}
	options, words := read("?clusterId=" + b.clusterNamed(f, "catalogue-dedup"))
	if !slices.Equal(options, []string{"v1.16.3", "v1.17.1", "v1.17.2"}) || words["endOfLife"]+words["unavailable"] > 0 {
		t.Errorf("update options of a cluster at v1.15.5: %v %v", options, words)
	}
	if none, _ := read("?clusterId=" + b.clusterNamed(f, "product-search-eu")); len(none) > 0 {
		t.Errorf("update options of a cluster at the newest: %v", none)
	}
	b.call(f, "GET", path+"?clusterId="+newID(), nil).want(t, 404)
}

// TestDownscaleRisk: none where nothing is reduced, whatever the phase; unknown or exceeded otherwise.
func TestDownscaleRisk(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	status := func(cluster, provider, name string) any {
		t.Helper()
		got := b.call(f, "GET", clustersPath(f)+"/"+b.clusterNamed(f, cluster)+"/downscale-risk?packageId="+idOf("package", provider, name), nil).want(t, 200)
		if got.get("downscaleRisks", 0, "resource") != "CLUSTER_DOWNSCALE_RISK_RESOURCE_MEMORY" || got.get("downscaleRisks", 1) != nil {
			t.Errorf("%s", got.body)
		}
		return got.get("downscaleRisks", 0, "status")
	}
	for _, c := range []struct{ cluster, provider, name, want string }{
		{"product-search-apac", "aws", "mx16", "NO_RISK"}, {"product-search-apac", "aws", "mx32", "NO_RISK"},
		{"product-search-apac", "aws", "mx1", "USAGE_EXCEEDS_TARGET"}, // 15 of 100 of 64 GiB are more than 4
		{"recommendations-us", "gcp", "mx16", "USAGE_UNKNOWN"}, {"recommendations-us", "gcp", "mx32", "NO_RISK"},
	} {
		if got := status(c.cluster, c.provider, c.name); got != "CLUSTER_DOWNSCALE_RISK_STATUS_"+c.want {
			t.Errorf("%s to %s: %v, want %s", c.cluster, c.name, got, c.want)
		}
	}
}

// TestPricesDifferByRegion, in listings of both generations and in quotes, and by kind of package.
func TestPricesDifferByRegion(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	base := "/api/booking/v1/accounts/" + f.CloudAccountID
	prices := func(region string) map[string]float64 {
		t.Helper()
		out := map[string]float64{}
		for _, tier := range []string{"STANDARD", "PREMIUM"} {
			list := b.call(f, "GET", base+"/packages?cloudProviderId=aws&cloudProviderRegionId="+region+"&tier=PACKAGE_TIER_"+tier, nil).want(t, 200)
			items, _ := list.get("items").([]any)
			for i := range items {
				out[list.get("items", i, "name").(string)], _ = list.get("items", i, "unitIntPricePerHour").(float64)
			}
		}
		return out
	}
	here, there := prices("eu-central-1"), prices("ap-southeast-2")
	if here["mx2"] != 9424 || there["mx2"] <= here["mx2"] || here["gpu1"] == 0 || here["mx8-premium"] <= here["mx8"] || here["free2"] != 0 {
		t.Errorf("Frankfurt %v, Sydney %v", here, there)
	}
	quote := func(region, name string, nodes int) reply {
		t.Helper()
		return b.call(f, "POST", base+"/quote", map[string]any{
			"cloudProviderId": "aws", "cloudProviderRegionId": region, "numberOfNodes": nodes, "packageId": idOf("package", "aws", name), "additionalDiskGib": 10,
		}).want(t, 200)
	}
	if got := quote("ap-southeast-2", "mx2", 3); got.get("originalPricePerHour") != fmt.Sprint(3*(int(there["mx2"])+10*diskPrice)) || got.get("discountPercentage") != nil {
		t.Errorf("a quote: %s", got.body)
	}
	premium := quote("ap-southeast-2", "mx8-premium", 2)
	whole := 2 * (int(there["mx8-premium"]) + 10*diskPrice)
	if premium.get("originalPricePerHour") != fmt.Sprint(whole) || premium.get("discountPercentage") != float64(premiumDiscount) ||
		premium.get("discountedPricePerHour") != fmt.Sprint(whole-whole*premiumDiscount/100) {
		t.Errorf("a quote with discount: %s", premium.body)
	}
	legacy := b.call(f, "GET", "/pa/v1/booking/packages?provider=aws&region=ap-southeast-2", nil).want(t, 200)
	if !bytes.Contains(legacy.body, []byte(fmt.Sprintf(`"unit_int_price_per_hour":%d`, int(there["mx2"])))) {
		t.Errorf("pa/v1: %s", legacy.body)
	}
}

// TestLastManagementKey: a key may delete itself, also when no other is left.
func TestLastManagementKey(t *testing.T) {
	b := setup(t)
	f := b.fixture(1)
	path := "/api/auth/v1/accounts/" + f.CloudAccountID + "/management-keys"
	list := b.call(f, "GET", path, nil).want(t, 200)
	items, _ := list.get("items").([]any)
	var own string
	for i := range items {
		id := list.get("items", i, "id").(string)
		if list.get("items", i, "prefix") == f.ManagementKey[:12] {
			own = id
			continue
		}
		b.call(f, "DELETE", path+"/"+id, nil).want(t, 200)
	}
	b.call(f, "DELETE", path+"/"+own, nil).want(t, 200)
	b.call(f, "GET", path, nil).want(t, 401)
	if n := len(b.accounts[f.CloudAccountID].managementKeys); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
