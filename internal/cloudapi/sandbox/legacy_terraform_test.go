package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// What Terraform's provider 1.3.1, the last client of pa/v1, sends: members in the order of their
// names, null for what it does not know, an empty list where there is no disk, and of a configuration
// nothing but nodes, version, package and disk.
const (
	terraformCreate = `{"account_id":"{account}","cloud_provider":"{provider}","cloud_region":"{region}","configuration":{"created_at":null,"id":null,` +
		`"node_configuration":{"package_id":"{package}","resource_configurations":[{disk}]},"number_of_nodes":{nodes},"version":"latest"},"created_at":null,` +
		`"id":"00000000-0000-0000-0000-000000000000","marked_for_deletion_at":null,"name":"{name}","private_region_id":{environment},"url":null}`
	terraformUpdate = `{"account_id":"{account}","cloud_provider":"{provider}","cloud_region":"{region}","configuration":{"created_at":null,"id":null,` +
		`"node_configuration":{"package_id":"{package}","resource_configurations":[{disk}]},"number_of_nodes":{nodes},"version":"{version}"},"created_at":"{created}",` +
		`"id":"{id}","marked_for_deletion_at":null,"name":"{name}","private_region_id":{environment},"url":{url}}`
	terraformKey = `{"cluster_ids":["{id}"],"created_at":null,"id":null,"prefix":null,"token":null}`
)

// terraform is what the provider remembers of one cluster, and sends.
type terraform map[string]string

func (m terraform) body(template string) string {
	for name, value := range m {
		template = strings.ReplaceAll(template, "{"+name+"}", value)
	}
	return template
}

func terraformDisk(gib int) string {
	return fmt.Sprintf(`{"amount":%d,"resource_type":"disk","resource_unit":"Gi"}`, gib)
}

// remember takes over what the provider stores of an answer; it keeps times to the second.
func (m terraform) remember(t *testing.T, answer reply) {
	t.Helper()
	created, err := time.Parse(time.RFC3339, answer.get("created_at").(string))
	if err != nil {
		t.Fatal(err)
	}
	m["id"], m["created"] = answer.get("id").(string), created.Format(time.RFC3339)
	m["account"], m["name"] = answer.get("account_id").(string), answer.get("name").(string)
	m["provider"], m["region"] = answer.get("cloud_provider").(string), answer.get("cloud_region").(string)
	m["version"], m["nodes"] = answer.get("configuration", "version").(string), fmt.Sprint(answer.get("configuration", "number_of_nodes"))
	m["package"] = answer.get("configuration", "node_configuration", "package_id").(string)
	for name, value := range map[string]any{"environment": answer.get("private_region_id"), "url": answer.get("url")} {
		if m[name] = "null"; value != nil {
			m[name] = fmt.Sprintf("%q", value)
		}
	}
	m["disk"] = ""
	if amount, ok := answer.get("configuration", "node_configuration", "resource_configurations", 0, "amount").(float64); ok {
		m["disk"] = terraformDisk(int(amount))
	}
}

// isJSON checks what the provider's client looks at before it reads an answer: exactly 200, and a
// content type of JSON.
func isJSON(t *testing.T, answer reply) reply {
	t.Helper()
	answer.want(t, 200)
	if got := answer.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	return answer
}

// isEmpty checks a deletion's answer: exactly 204, without a body or a type of one.
func isEmpty(t *testing.T, answer reply) {
	t.Helper()
	answer.want(t, 204)
	if len(answer.body) != 0 || answer.header.Get("Content-Type") != "" {
		t.Errorf("204 with %q of type %q", answer.body, answer.header.Get("Content-Type"))
	}
}

func hasMembers(t *testing.T, what string, object any, want ...string) {
	t.Helper()
	m, _ := object.(map[string]any)
	if got := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
		t.Errorf("members of %s: %q, want %q", what, got, want)
	}
}

func isClusterSchema(t *testing.T, answer reply) reply {
	t.Helper()
	isJSON(t, answer)
	hasMembers(t, "a cluster", answer.get(), "account_id", "cloud_provider", "cloud_region", "configuration", "created_at", "id",
		"marked_for_deletion_at", "name", "private_region_id", "resources", "state", "url")
	hasMembers(t, "its state", answer.get("state"), "endpoint", "nodes_up", "phase", "reason", "restarted_at", "version")
	return answer
}

func listOf(t *testing.T, answer reply) []map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal(isJSON(t, answer).body, &list); err != nil || list == nil {
		t.Fatalf("no list: %v in %.200s", err, answer.body)
	}
	return list
}

// TestTerraformClusters: a cluster's life as the provider leads it, each body as it sends it.
func TestTerraformClusters(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	path := legacyPath(f) + "/clusters"
	mine := terraform{"account": f.CloudAccountID, "provider": "aws", "region": "eu-central-1", "name": "planned", "nodes": "1", "environment": "null", "disk": ""}
	for _, p := range listOf(t, b.call(f, "GET", "/pa/v1/booking/packages?provider=aws&region=eu-central-1", nil)) {
		hasMembers(t, "a package", p, "currency", "id", "name", "resource_configurations", "unit_int_price_per_hour")
		if p["name"] == "mx2" {
			mine["package"] = p["id"].(string)
		}
	}

	made := isClusterSchema(t, b.call(f, "POST", path, mine.body(terraformCreate)))
	if id := made.get("id"); id == "00000000-0000-0000-0000-000000000000" || !isUUID(id.(string)) {
		t.Errorf("made under the id %v", id)
	}
	hasMembers(t, "a new configuration", made.get("configuration"), "created_at", "id", "node_configuration", "number_of_nodes", "version")
	mine.remember(t, made)
	if mine["version"] != "v1.17.2" || mine["url"] != "null" {
		t.Errorf("remembered: %v", mine)
	}
	b.clock = b.clock.Add(time.Minute)
	mine.remember(t, isClusterSchema(t, b.call(f, "GET", path+"/"+mine["id"], nil)))
	if mine["url"] == "null" {
		t.Error("a running cluster has no url")
	}

	for _, c := range []struct {
		member, value string
		phase         string
		nodes, disk   float64
	}{
		{"nodes", "2", "Scaling", 2, 0}, {"disk", terraformDisk(8), "Scaling", 2, 8}, {"disk", terraformDisk(16), "Scaling", 2, 16},
		{"name", "planned-2", "Healthy", 2, 16}, {"version", "latest", "Healthy", 2, 16},
	} {
		mine[c.member] = c.value
		changed := isClusterSchema(t, b.call(f, "PATCH", path+"/"+mine["id"], mine.body(terraformUpdate)))
		if changed.get("id") != mine["id"] || changed.get("name") != mine["name"] || changed.get("state", "phase") != c.phase {
			t.Errorf("%s = %s: %s", c.member, c.value, changed.body)
		}
		b.clock = b.clock.Add(time.Minute)
		got := isClusterSchema(t, b.call(f, "GET", path+"/"+mine["id"], nil))
		if got.get("state", "nodes_up") != c.nodes || got.get("resources", "disk", "extra") != c.disk || got.get("configuration", "version") != "v1.17.2" {
			t.Errorf("%s = %s, later: %s", c.member, c.value, got.body)
		}
		mine.remember(t, got)
	}
	mine["disk"] = "" // the list is empty then: the disk is to go
	if got := b.call(f, "PATCH", path+"/"+mine["id"], mine.body(terraformUpdate)); got.status != 400 || got.get("detail") != "E1043 Downscaling not supported" {
		t.Errorf("without its disk: %d %s", got.status, got.body)
	}

	before := len(listOf(t, b.call(f, "GET", path, nil)))
	isEmpty(t, b.call(f, "DELETE", path+"/"+mine["id"]+"?delete_backups=true", nil))
	b.clock = b.clock.Add(time.Minute)
	if after := len(listOf(t, b.call(f, "GET", path, nil))); after != before-1 {
		t.Errorf("%d clusters before, %d after", before, after)
	}
}

// TestTerraformHybrid: a cluster in a private region, and the list of those.
func TestTerraformHybrid(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	path := legacyPath(f) + "/clusters"
	environment := b.call(f, "GET", path+"/"+b.clusterNamed(f, "legal-archive"), nil).want(t, 200).get("private_region_id").(string)
	mine := terraform{
		"account": f.CloudAccountID, "provider": "private", "region": "private", "name": "planned", "nodes": "1",
		"environment": fmt.Sprintf("%q", environment), "disk": terraformDisk(8), "package": idOf("package", "hybrid", "mx2"),
	}
	before := listOf(t, b.call(f, "GET", path+"?private_region_id="+environment, nil))
	mine.remember(t, isClusterSchema(t, b.call(f, "POST", path, mine.body(terraformCreate))))
	b.clock = b.clock.Add(time.Minute)
	mine["name"] = "planned-2"
	mine.remember(t, isClusterSchema(t, b.call(f, "PATCH", path+"/"+mine["id"], mine.body(terraformUpdate))))
	if mine["environment"] != fmt.Sprintf("%q", environment) || mine["provider"] != "private" || mine["region"] != "private" {
		t.Errorf("after the rename: %v", mine)
	}
	after := listOf(t, b.call(f, "GET", path+"?private_region_id="+environment, nil))
	if len(before) == 0 || len(after) != len(before)+1 {
		t.Errorf("%d in the private region before, %d after", len(before), len(after))
	}
	for _, c := range after {
		if c["private_region_id"] != environment {
			t.Errorf("%v is in %v", c["name"], c["private_region_id"])
		}
	}
	if none := listOf(t, b.call(f, "GET", path+"?private_region_id="+newID(), nil)); len(none) != 0 {
		t.Errorf("in an unknown private region: %v", none)
	}
	isEmpty(t, b.call(f, "DELETE", path+"/"+mine["id"]+"?delete_backups=true", nil))
}

// TestTerraformChangesNothingElse: every cluster that the old API shows stays as it is when the
// provider sends back what it read. It knows neither allowed addresses nor node selectors nor
// tolerations, and must not take them away.
func TestTerraformChangesNothingElse(t *testing.T) {
	b := setup(t)
	told := map[string]bool{}
	for _, f := range b.Fixtures() {
		for _, c := range listOf(t, b.call(f, "GET", legacyPath(f)+"/clusters", nil)) {
			path := legacyPath(f) + "/clusters/" + c["id"].(string)
			before := b.call(f, "GET", path, nil).want(t, 200)
			for name := range c["configuration"].(map[string]any) {
				told[name] = true
			}
			mine := terraform{}
			mine.remember(t, before)
			if after := b.call(f, "PATCH", path, mine.body(terraformUpdate)).want(t, 200); string(after.body) != string(before.body) {
				t.Errorf("%s changed:\n%s\n%s", c["name"], before.body, after.body)
			}
		}
	}
	for _, name := range []string{"allowed_ip_source_ranges", "node_selector", "tolerations", "qdrant_configuration"} {
		if !told[name] {
			t.Errorf("no cluster has %s, so nothing was tried", name)
		}
	}
}

// TestLegacyEmptyClears: what a body names as empty is taken away.
func TestLegacyEmptyClears(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	path := legacyPath(f) + "/clusters/" + b.clusterNamed(f, "legal-archive")
	for name, empty := range map[string]any{"allowed_ip_source_ranges": []any{}, "node_selector": map[string]any{}, "tolerations": []any{}} {
		whole := b.call(f, "GET", path, nil).want(t, 200)
		if whole.get("configuration", name) == nil {
			t.Fatalf("there is no %s: %s", name, whole.body)
		}
		kept := b.call(f, "PATCH", path, edit(whole.json, "configuration."+name, nil)).want(t, 200)
		if kept.get("configuration", name) == nil {
			t.Errorf("%s = null took it away", name)
		}
		cleared := b.call(f, "PATCH", path, edit(whole.json, "configuration."+name, empty)).want(t, 200)
		if cleared.get("configuration", name) != nil {
			t.Errorf("%s is left: %s", name, cleared.body)
		}
		b.clock = b.clock.Add(time.Minute)
	}
}

// TestLegacyVersionBlank: no version is null or left out; an empty one is refused.
func TestLegacyVersionBlank(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	path := legacyPath(f) + "/clusters/" + b.clusterNamed(f, "market-reports")
	mine := terraform{}
	mine.remember(t, b.call(f, "GET", path, nil).want(t, 200))
	mine["version"] = ""
	got := b.call(f, "PATCH", path, mine.body(terraformUpdate)).want(t, 422)
	if loc := fmt.Sprint(got.get("detail", 0, "loc")); loc != "[body configuration version]" {
		t.Errorf("at %s", loc)
	}
}

// TestLegacyOnDiskUnset: an unset choice is null in the answer, and not false.
func TestLegacyOnDiskUnset(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	for _, choice := range []any{nil, true, false} {
		vectors := map[string]any{"collection": map[string]any{"replication_factor": nil, "write_consistency_factor": nil, "vectors": map[string]any{"on_disk": choice}}}
		made := b.call(f, "POST", legacyPath(f)+"/clusters", edit(legacySpec(f, "on-disk"), "configuration.qdrant_configuration", vectors)).want(t, 200)
		said, there := made.get("configuration", "qdrant_configuration", "collection", "vectors").(map[string]any)["on_disk"]
		if !there || said != choice {
			t.Errorf("on_disk %v became %v", choice, said)
		}
		b.call(f, "DELETE", legacyPath(f)+"/clusters/"+made.get("id").(string), nil).want(t, 204)
		b.clock = b.clock.Add(time.Minute)
	}
}

// TestTerraformKeys: a key's life. The provider never changes one; the call for it exists all the
// same, and its client sends the key as it was listed.
func TestTerraformKeys(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	path := legacyPath(f) + "/auth/api-keys"
	mine := terraform{"account": f.CloudAccountID, "provider": "aws", "region": "eu-central-1", "name": "planned", "nodes": "1", "environment": "null",
		"disk": "", "package": idOf("package", "aws", "mx2")}
	mine.remember(t, isClusterSchema(t, b.call(f, "POST", legacyPath(f)+"/clusters", mine.body(terraformCreate))))

	members := []string{"cluster_ids", "created_at", "id", "prefix", "token"}
	made := isJSON(t, b.call(f, "POST", path, mine.body(terraformKey))) // at once, while the cluster is being created
	hasMembers(t, "a new key", made.get(), members...)
	token, ok := made.get("token").(string)
	if prefix, _ := made.get("prefix").(string); !ok || prefix == "" || !strings.HasPrefix(token, prefix) || fmt.Sprint(made.get("cluster_ids")) != "["+mine["id"]+"]" {
		t.Errorf("made with prefix %v for %v", made.get("prefix"), made.get("cluster_ids"))
	}
	all := b.call(f, "GET", path, nil)
	var listed map[string]any
	for _, key := range listOf(t, all) {
		hasMembers(t, "a listed key", key, members...)
		if key["token"] != nil {
			t.Errorf("the token of %v is listed", key["id"])
		}
		if key["id"] == made.get("id") {
			listed = key
		}
	}
	if listed["prefix"] != made.get("prefix") || listed["created_at"] != made.get("created_at") || strings.Contains(string(all.body), token) {
		t.Errorf("listed: %v", listed)
	}
	if own := listOf(t, b.call(f, "GET", path+"?cluster_id="+mine["id"], nil)); len(own) != 1 || own[0]["id"] != made.get("id") {
		t.Errorf("of the cluster: %v", own)
	}
	same := isJSON(t, b.call(f, "PUT", path+"/"+made.get("id").(string), listed))
	hasMembers(t, "a key after PUT", same.get(), members...)
	isEmpty(t, b.call(f, "DELETE", path+"/"+made.get("id").(string), nil))
	if own := listOf(t, b.call(f, "GET", path+"?cluster_id="+mine["id"], nil)); len(own) != 0 {
		t.Errorf("after the deletion: %v", own)
	}
	isEmpty(t, b.call(f, "DELETE", legacyPath(f)+"/clusters/"+mine["id"]+"?delete_backups=true", nil))
}

// TestTerraformErrors: what the provider shows of a refusal is there: the list of 422, and for the
// rest the status and the request's id.
func TestTerraformErrors(t *testing.T) {
	b := setup(t)
	f := b.fixture(2)
	path := legacyPath(f) + "/clusters"
	mine := terraform{"account": f.CloudAccountID, "provider": "aws", "region": "eu-central-1", "name": "two words", "nodes": "1", "environment": "null",
		"disk": "", "package": idOf("package", "aws", "mx2")}
	invalid := b.call(f, "POST", path, mine.body(terraformCreate)).want(t, 422)
	hasMembers(t, "what is wrong", invalid.get("detail", 0), "loc", "msg", "type")
	for status, got := range map[int]reply{
		401: b.send(b.server.URL, "apikey wrong", "GET", path, nil),
		404: b.call(f, "GET", path+"/"+newID(), nil),
	} {
		if got.want(t, status); got.header.Get("X-Qd-Request-Id") == "" {
			t.Errorf("%d without an id", status)
		}
	}
}
