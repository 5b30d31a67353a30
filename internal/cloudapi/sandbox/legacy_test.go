package sandbox

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func legacyPath(f Fixture) string { return "/pa/v1/accounts/" + f.CloudAccountID }

// legacySpec is a ClusterSchema with every member that Terraform's provider 1.3.1 sends when it makes
// a cluster: the id is the zero UUID, and what it does not know is null.
func legacySpec(f Fixture, name string) map[string]any {
	return map[string]any{
		"id": "00000000-0000-0000-0000-000000000000", "created_at": nil, "marked_for_deletion_at": nil, "private_region_id": nil, "url": nil,
		"account_id": f.CloudAccountID, "name": name, "cloud_provider": "aws", "cloud_region": "eu-central-1",
		"configuration": map[string]any{
			"id": nil, "created_at": nil, "number_of_nodes": 1, "version": "latest",
			"node_configuration": map[string]any{
				"package_id":              idOf("package", "aws", "mx2"),
				"resource_configurations": []any{map[string]any{"amount": 8, "resource_type": "disk", "resource_unit": "Gi"}},
			},
		},
	}
}

// TestLegacyLife does all ten operations of pa/v1, with exactly 200 and 204.
func TestLegacyLife(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	packages := b.call(f, "GET", "/pa/v1/booking/packages?provider=aws&region=eu-central-1", nil).want(t, 200)
	var offered []struct {
		Name  string `json:"name"`
		Price int    `json:"unit_int_price_per_hour"`
	}
	if err := json.Unmarshal(packages.body, &offered); err != nil {
		t.Fatal(err)
	}
	prices := map[string]int{}
	for _, p := range offered {
		prices[p.Name] = p.Price
	}
	if free, ok := prices["free2"]; prices["mx2"] != 9424 || !ok || free != 0 {
		t.Errorf("packages: %v", prices)
	}
	made := b.call(f, "POST", legacyPath(f)+"/clusters", legacySpec(f, "terraformed")).want(t, 200)
	id := made.get("id").(string)
	if made.get("state", "phase") != "Creating" || made.get("url") != nil || made.get("configuration", "version") != "v1.17.2" {
		t.Errorf("created: %s", made.body)
	}
	b.clock = b.clock.Add(time.Minute)
	spec := legacySpec(f, "terraformed-2")
	spec["state"], spec["id"] = map[string]any{"nodes_up": 0}, id // the provider sends the whole object back
	spec["configuration"].(map[string]any)["number_of_nodes"] = 2
	changed := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, spec).want(t, 200)
	if changed.get("name") != "terraformed-2" || changed.get("state", "phase") != "Scaling" {
		t.Errorf("changed: %s", changed.body)
	}
	b.clock = b.clock.Add(time.Minute)
	got := b.call(f, "GET", legacyPath(f)+"/clusters/"+id, nil).want(t, 200)
	if got.get("state", "nodes_up") != float64(2) || got.get("resources", "disk", "extra") != float64(8) || got.get("resources", "cpu", "base") != float64(1000) {
		t.Errorf("got: %s", got.body)
	}
	key := b.call(f, "POST", legacyPath(f)+"/auth/api-keys", map[string]any{"cluster_ids": []any{id}}).want(t, 200)
	token, keyID := key.get("token").(string), key.get("id").(string)
	list := b.call(f, "GET", legacyPath(f)+"/auth/api-keys?cluster_id="+id, nil).want(t, 200)
	var keys []map[string]any
	if err := json.Unmarshal(list.body, &keys); err != nil || len(keys) != 1 || keys[0]["token"] != nil || keys[0]["prefix"] != token[:8] {
		t.Errorf("keys: %v %s", err, list.body)
	}
	b.call(f, "PUT", legacyPath(f)+"/auth/api-keys/"+keyID, map[string]any{"cluster_ids": []any{id}}).want(t, 200)
	b.call(f, "PUT", legacyPath(f)+"/auth/api-keys/"+keyID, map[string]any{"cluster_ids": []any{f.CloudAccountID}}).want(t, 422)
	b.call(f, "DELETE", legacyPath(f)+"/auth/api-keys/"+keyID, nil).want(t, 204)
	b.call(f, "DELETE", legacyPath(f)+"/auth/api-keys/"+keyID, nil).want(t, 404)
	if end := b.call(f, "DELETE", legacyPath(f)+"/clusters/"+id+"?delete_backups=true", nil).want(t, 204); len(end.body) != 0 {
		t.Errorf("204 with a body: %s", end.body)
	}
	going := b.call(f, "GET", legacyPath(f)+"/clusters/"+id, nil).want(t, 200)
	if going.get("marked_for_deletion_at") == nil || going.get("state", "phase") != nil {
		t.Errorf("while it is deleted: %s", going.body)
	}
	b.clock = b.clock.Add(time.Minute)
	b.call(f, "GET", legacyPath(f)+"/clusters/"+id, nil).want(t, 404)
	chosen := "0b1c6f60-4f0e-4b52-8bb0-1a2f3b9c9d10"
	if again := b.call(f, "POST", legacyPath(f)+"/clusters?cluster_id="+chosen, legacySpec(f, "chosen")).want(t, 200); again.get("id") != chosen {
		t.Errorf("the chosen id was not used: %s", again.body)
	}
	b.call(f, "POST", legacyPath(f)+"/clusters?cluster_id="+chosen, legacySpec(f, "chosen")).want(t, 409)
}

// TestLegacyRefusals: 422 with FastAPI's detail and the place of what is wrong.
func TestLegacyRefusals(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	for _, c := range []struct {
		path  string
		value any
		loc   string
	}{
		{"name", nil, "[body name]"}, {"name", 5, "[body name]"}, {"name", "two words", "[body name]"}, {"account_id", nil, "[body account_id]"},
		{"account_id", "x", "[body account_id]"}, {"account_id", b.fixture(0).CloudAccountID, "[body account_id]"}, {"cloud_provider", "ibm", "[body cloud_provider]"},
		{"cloud_region", nil, "[body cloud_region]"}, {"configuration", nil, "[body configuration]"}, {"configuration", []any{}, "[body configuration]"},
		{"configuration.number_of_nodes", "many", "[body configuration number_of_nodes]"}, {"configuration.number_of_nodes", 0, "[body configuration number_of_nodes]"},
		{"configuration.node_configuration.package_id", nil, "[body configuration node_configuration package_id]"},
		{"configuration.node_configuration.package_id", f.CloudAccountID, "[body configuration node_configuration package_id]"},
		{"configuration.node_configuration.resource_configurations", []any{map[string]any{"amount": 1, "resource_type": "cpu", "resource_unit": "m"}}, "[body configuration node_configuration resource_configurations 0]"},
		{"configuration.version", "v1.2", "[body configuration version]"}, {"configuration.allowed_ip_source_ranges", []any{"nowhere"}, "[body configuration allowed_ip_source_ranges 0]"},
		{"configuration.tolerations", []any{map[string]any{"operator": "Maybe"}}, "[body configuration tolerations 0 operator]"},
		{"cloud_provider", "private", "[body private_region_id]"},
	} {
		got := b.call(f, "POST", legacyPath(f)+"/clusters", edit(legacySpec(f, "refused"), c.path, c.value))
		if loc := fmt.Sprint(got.get("detail", 0, "loc")); got.status != 422 || loc != c.loc {
			t.Errorf("%s = %v: %d at %s, want %s: %s", c.path, c.value, got.status, loc, c.loc, got.body)
		}
	}
	for path, want := range map[string]int{
		"/pa/v1/booking/packages": 422, "/pa/v1/booking/packages?provider=aws&region=nowhere": 422, "/pa/v1/accounts/x/clusters": 422,
		legacyPath(f) + "/clusters/x": 422, legacyPath(f) + "/clusters/00000000-0000-4000-8000-000000000000": 404, legacyPath(f) + "/auth/api-keys?cluster_id=x": 422,
	} {
		if got := b.call(f, "GET", path, nil); got.status != want {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	b.call(f, "POST", legacyPath(f)+"/clusters", "{").want(t, 422)
	b.call(f, "POST", legacyPath(f)+"/auth/api-keys", map[string]any{"cluster_ids": []any{}}).want(t, 422)
	b.call(f, "POST", legacyPath(f)+"/auth/api-keys", map[string]any{"cluster_ids": []any{f.CloudAccountID}}).want(t, 404)
	id := b.clusterNamed(f, "market-reports")
	b.call(f, "DELETE", legacyPath(f)+"/clusters/"+id+"?delete_backups=perhaps", nil).want(t, 422)
}

// TestLegacyUpdateKeepsWhatItCannotSay: labels and newer settings survive a PATCH.
func TestLegacyUpdateKeepsWhatItCannotSay(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	for _, name := range []string{"product-search-apac", "legal-archive"} {
		id := b.clusterNamed(f, name)
		before := b.cluster(f, id)
		mine := b.call(f, "GET", legacyPath(f)+"/clusters/"+id, nil).want(t, 200)
		mine.json["name"] = name + "-renamed"
		b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, mine.json).want(t, 200)
		after := b.cluster(f, id)
		if after.get("cluster", "name") != name+"-renamed" || after.get("cluster", "state", "phase") != "CLUSTER_PHASE_HEALTHY" {
			t.Errorf("after the rename: %s", after.body)
		}
		want, got := before.get("cluster", "labels"), after.get("cluster", "labels")
		if fmt.Sprint(want) != fmt.Sprint(got) || fmt.Sprint(before.get("cluster", "configuration")) != fmt.Sprint(after.get("cluster", "configuration")) {
			t.Errorf("%s changed more than its name:\n%s\n%s", name, before.body, after.body)
		}
	}
}

// TestLegacyNulls: a whole object with null for everything that may be null changes nothing but what
// it says, and "latest" is the default release then too.
func TestLegacyNulls(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	id := b.clusterNamed(f, "analyst-chat")
	whole := b.call(f, "GET", legacyPath(f)+"/clusters/"+id, nil).want(t, 200).json
	before := fmt.Sprint(whole["configuration"])
	for _, path := range []string{"id", "created_at", "private_region_id", "marked_for_deletion_at", "url", "configuration.id", "configuration.created_at", "configuration.version"} {
		first, rest, nested := strings.Cut(path, ".")
		if nested {
			whole[first].(map[string]any)[rest] = nil
		} else {
			whole[first] = nil
		}
	}
	whole["configuration"].(map[string]any)["qdrant_configuration"] = map[string]any{
		"collection": map[string]any{"replication_factor": nil, "write_consistency_factor": nil, "vectors": map[string]any{"on_disk": nil}},
		"log_level":  nil, "service": map[string]any{"jwt_rbac": nil, "enable_tls": nil},
	}
	changed := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, whole).want(t, 200)
	if changed.get("id") != id || changed.get("configuration", "version") != "v1.15.5" || changed.get("configuration", "allowed_ip_source_ranges", 0) == nil {
		t.Errorf("before %s, after %s", before, changed.body)
	}
	b.clock = b.clock.Add(time.Minute)
	whole["configuration"].(map[string]any)["version"] = "latest"
	if got := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, whole).want(t, 200); got.get("configuration", "version") != "v1.17.2" || got.get("state", "phase") != "Upgrading" {
		t.Errorf("to the latest: %s", got.body)
	}
	for path, value := range map[string]any{"id": "x", "created_at": "yesterday", "marked_for_deletion_at": 5, "url": 5} {
		got := b.call(f, "PATCH", legacyPath(f)+"/clusters/"+id, edit(whole, path, value))
		if got.status != 422 || got.get("detail", 0, "loc", 1) != path {
			t.Errorf("%s = %v: %d %s", path, value, got.status, got.body)
		}
	}
}

// TestLegacyKeys: keys of several clusters; PUT changes nothing, and says so when it is asked to.
func TestLegacyKeys(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	one, two, going := b.clusterNamed(f, "market-reports"), b.clusterNamed(f, "analyst-chat"), b.clusterNamed(f, "quarterly-backfill")
	path := legacyPath(f) + "/auth/api-keys"
	made := b.call(f, "POST", path, map[string]any{"id": nil, "created_at": nil, "prefix": nil, "token": nil, "cluster_ids": []any{one, two}}).want(t, 200)
	id, token := made.get("id").(string), made.get("token").(string)
	if !strings.HasPrefix(token, made.get("prefix").(string)) {
		t.Errorf("made: %.8s, prefix %v", token, made.get("prefix"))
	}
	put := func(body map[string]any) reply { t.Helper(); return b.call(f, "PUT", path+"/"+id, body) }
	same := put(map[string]any{"cluster_ids": []any{two, one}, "prefix": "another"}).want(t, 200)
	if fmt.Sprint(same.get("cluster_ids")) != fmt.Sprint([]any{one, two}) || same.get("prefix") != made.get("prefix") || same.get("token") != nil {
		t.Errorf("after a PUT: %s", same.body)
	}
	for _, c := range []struct {
		body map[string]any
		loc  string
	}{
		{map[string]any{"cluster_ids": []any{one}}, "[body cluster_ids]"}, {map[string]any{"cluster_ids": []any{one, going}}, "[body cluster_ids]"},
		{map[string]any{}, "[body cluster_ids]"}, {map[string]any{"cluster_ids": []any{}}, "[body cluster_ids]"}, {map[string]any{"cluster_ids": "all"}, "[body cluster_ids]"},
		{map[string]any{"cluster_ids": []any{one, "x"}}, "[body cluster_ids 1]"}, {map[string]any{"cluster_ids": []any{one, two}, "id": "x"}, "[body id]"},
		{map[string]any{"cluster_ids": []any{one, two}, "created_at": "x"}, "[body created_at]"}, {map[string]any{"cluster_ids": []any{one, two}, "prefix": 5}, "[body prefix]"},
	} {
		if got := put(c.body); got.status != 422 || fmt.Sprint(got.get("detail", 0, "loc")) != c.loc {
			t.Errorf("%v: %d %s", c.body, got.status, got.body)
		}
	}
	b.call(f, "PUT", path+"/unknown", map[string]any{"cluster_ids": []any{one}}).want(t, 404)
	current := b.call(f, "GET", keysPath(f, 1)+"?clusterId="+one, nil).want(t, 200)
	if !strings.Contains(string(current.body), id) || strings.Contains(string(current.body), token) {
		t.Errorf("the current API lists %s", current.body)
	}
	b.call(f, "DELETE", keysPath(f, 1)+"/"+id, nil).want(t, 200) // the same keys in both generations
	b.call(f, "DELETE", path+"/"+id, nil).want(t, 404)

	b.call(f, "DELETE", legacyPath(f)+"/clusters/"+going, nil).want(t, 204)
	b.call(f, "POST", path, map[string]any{"cluster_ids": []any{one, going}}).want(t, 400)
	if got := b.call(f, "POST", path, map[string]any{"cluster_ids": []any{newID()}}); got.status != 404 || got.get("detail") != "E1015 Cluster not found" {
		t.Errorf("an unknown cluster: %d %s", got.status, got.body)
	}
	elsewhere := b.fixture(0)
	unseen := b.clusterNamed(elsewhere, "pricing-experiments") // in a region that pa/v1 does not know
	b.call(elsewhere, "POST", legacyPath(elsewhere)+"/auth/api-keys", map[string]any{"cluster_ids": []any{unseen}}).want(t, 404)
	b.makeKey(elsewhere, 1, map[string]any{"clusterIds": []any{unseen}}).want(t, 200)
}
