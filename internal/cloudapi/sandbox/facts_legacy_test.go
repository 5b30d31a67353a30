package sandbox

import (
	"fmt"
	"strings"
	"testing"
)

// TestFactsLegacyPlaces: each step to what is wrong is an element of loc, by the names of pa/v1.
func TestFactsLegacyPlaces(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	hybridFixture := b.fixture(0)
	environment := b.accounts[hybridFixture.CloudAccountID].clusters[b.clusterNamed(hybridFixture, "legal-archive")].region()
	onHybrid := func(spec map[string]any) map[string]any {
		spec["account_id"], spec["cloud_provider"], spec["cloud_region"], spec["private_region_id"] = hybridFixture.CloudAccountID, "private", "private", environment
		return edit(spec, "configuration.node_configuration.package_id", idOf("package", "hybrid", "mx2"))
	}
	for _, c := range []struct {
		path  string
		value any
		loc   string
	}{
		{"configuration.node_configuration.package_id", f.CloudAccountID, `["body" "configuration" "node_configuration" "package_id"]`},
		{"configuration.number_of_nodes", 0, `["body" "configuration" "number_of_nodes"]`},
		{"configuration.version", "v1.2", `["body" "configuration" "version"]`},
		{"configuration.allowed_ip_source_ranges", []any{"192.0.2.0/24", "nowhere"}, `["body" "configuration" "allowed_ip_source_ranges" '\x01']`},
		{"configuration.cluster_annotations", map[string]any{"a b": "c"}, `["body" "configuration" "cluster_annotations"]`},
		{"configuration.node_selector", map[string]any{"a b": "c"}, `["body" "configuration" "node_selector"]`},
		{"configuration.qdrant_configuration", map[string]any{"collection": map[string]any{"write_consistency_factor": 0}}, `["body" "configuration" "qdrant_configuration" "collection" "write_consistency_factor"]`},
		{"configuration.qdrant_configuration", map[string]any{"service": map[string]any{"api_key": map[string]any{"secretKeyRef": map[string]any{"name": "", "key": "k"}}}}, `["body" "configuration" "qdrant_configuration" "service" "api_key" "secretKeyRef" "name"]`},
		{"configuration.node_configuration.resource_configurations", []any{map[string]any{"amount": 99999, "resource_type": "disk", "resource_unit": "Gi"}}, `["body" "configuration" "node_configuration" "resource_configurations"]`},
		{"cloud_region", "us-east4", `["body" "cloud_region"]`},
	} {
		got := b.call(f, "POST", legacyPath(f)+"/clusters", edit(legacySpec(f, "refused"), c.path, c.value))
		loc, _ := got.get("detail", 0, "loc").([]any)
		for i, element := range loc {
			if n, is := element.(float64); is {
				loc[i] = rune(n)
			}
		}
		if text := fmt.Sprintf("%q", loc); got.status != 422 || text != c.loc {
			t.Errorf("%s = %v: %d at %s, want %s: %.300s", c.path, c.value, got.status, text, c.loc, got.body)
		}
	}
	for _, c := range []struct {
		path  string
		value any
	}{{"private_region_id", environment}, {"cloud_provider", "aws"}, {"cloud_region", "eu-central-1"}} {
		spec := legacySpec(hybridFixture, "two-places")
		if c.path != "private_region_id" {
			spec = onHybrid(spec)
		}
		spec[c.path] = c.value
		if got := b.call(hybridFixture, "POST", legacyPath(hybridFixture)+"/clusters", spec); got.status != 422 {
			t.Errorf("a cluster in two places by its %s: %d %.300s", c.path, got.status, got.body)
		}
	}
	b.call(hybridFixture, "POST", legacyPath(hybridFixture)+"/clusters", onHybrid(legacySpec(hybridFixture, "one-place"))).want(t, 200)
}

// TestFactsLegacyDiskIsInGi: its unit is not that of cores.
func TestFactsLegacyDiskIsInGi(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	wrong := []any{map[string]any{"amount": 64, "resource_type": "disk", "resource_unit": "m"}}
	spec := edit(legacySpec(f, "thousandths"), "configuration.node_configuration.resource_configurations", wrong)
	id := b.clusterNamed(f, "market-reports")
	for method, path := range map[string]string{"POST": "/clusters", "PATCH": "/clusters/" + id} {
		got := b.call(f, method, legacyPath(f)+path, spec)
		if got.status != 422 || fmt.Sprint(got.get("detail", 0, "loc")) != "[body configuration node_configuration resource_configurations 0 resource_unit]" {
			t.Errorf("%s: %d %.300s", method, got.status, got.body)
		}
	}
}

// TestFactsLegacyNullsAreNamed: what the schema does not say may be null may be left out only.
func TestFactsLegacyNullsAreNamed(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	id := b.clusterNamed(f, "market-reports")
	for _, path := range []string{
		"cloud_provider", "cloud_region", "configuration.node_selector", "configuration.tolerations", "configuration.cluster_annotations",
		"configuration.allowed_ip_source_ranges", "configuration.qdrant_configuration", "configuration.node_configuration.resource_configurations",
		"configuration.qdrant_configuration.collection", "configuration.qdrant_configuration.service", "configuration.qdrant_configuration.tls",
		"configuration.qdrant_configuration.collection.vectors", "configuration.qdrant_configuration.service.api_key",
	} {
		spec := edit(legacySpec(f, "market-reports"), path, map[string]any{})
		whole := spec
		steps := strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			whole, _ = whole[step].(map[string]any)
		}
		whole[steps[len(steps)-1]] = nil
		want := "[body"
		for _, step := range steps {
			want += " " + step
		}
		got := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, spec)
		if got.status != 422 || fmt.Sprint(got.get("detail", 0, "loc")) != want+"]" {
			t.Errorf("%s null: %d %.300s", path, got.status, got.body)
		}
	}
	seconds := edit(legacySpec(f, "market-reports"), "configuration.tolerations", []any{map[string]any{"operator": "Exists", "effect": "NoExecute", "toleration_seconds": -1}})
	if got := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, seconds); got.status != 422 {
		t.Errorf("-1 seconds: %d %.300s", got.status, got.body)
	}
}

// TestFactsLegacyTellsJWT: its schema has a place for it, beside what else is asked of a database.
func TestFactsLegacyTellsJWT(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	for name, want := range map[string]bool{"product-search-apac": true, "hr-knowledge-base": false} {
		got := b.call(f, "GET", legacyPath(f)+"/clusters/"+b.clusterNamed(f, name), nil).want(t, 200)
		if got.get("configuration", "qdrant_configuration", "service", "jwt_rbac") != want {
			t.Errorf("%s: %s", name, got.body)
		}
	}
}
