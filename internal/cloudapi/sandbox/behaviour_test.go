package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSeed: the content people start with.
func TestSeed(t *testing.T) {
	b := setup(t)
	var clusters, registered, legacy, spare int
	phases, clouds := map[string]int{}, map[string]int{}
	for _, f := range b.Fixtures() {
		list := b.call(f, "GET", clustersPath(f), nil).want(t, 200)
		items, _ := list.get("items").([]any)
		clusters += len(items)
		for i := range items {
			phases[list.get("items", i, "state", "phase").(string)]++
			clouds[list.get("items", i, "cloudProviderId").(string)]++
		}
		if f.Registered {
			registered++
		}
		if f.Generation == "pa-v1" {
			legacy++
			mine := b.call(f, "GET", "/pa/v1/accounts/"+f.CloudAccountID+"/clusters", nil).want(t, 200)
			var rows []any
			if err := json.Unmarshal(mine.body, &rows); err != nil || len(rows) != len(items) {
				t.Errorf("pa/v1 shows %d of %d clusters (%v)", len(rows), len(items), err)
			}
		}
		if f.Spare {
			spare++
		}
		if !isUUID(strings.Split(f.ManagementKey, "|")[0]) || !matches(`^(?i)[a-z0-9-]{36}\|.{40,64}$`, f.ManagementKey) {
			t.Error("a fixture's key does not look like one")
		}
	}
	if clusters < 34 || registered != 3 || legacy != 1 || spare != 1 || len(phases) < 8 || len(clouds) != 4 {
		t.Errorf("%d clusters, %d registered, %d legacy, %d spare, phases %v, clouds %v", clusters, registered, legacy, spare, phases, clouds)
	}
	again := setup(t)
	if diff := cmp.Diff(b.Fixtures(), again.Fixtures()); diff != "" {
		t.Errorf("the same seed makes something else:\n%s", diff)
	}
	other := setup(t, func(c *Config) { c.Seed = 8 })
	if other.Fixtures()[0].ManagementKey == b.Fixtures()[0].ManagementKey {
		t.Error("another seed has the same key")
	}
}

func TestGeneratedContent(t *testing.T) {
	b := setup(t, func(c *Config) { c.Accounts, c.Clusters = 20, 205 })
	total := 0
	for _, a := range b.accounts {
		total += len(a.clusters)
	}
	if len(b.accounts) != 20 || total != 205 {
		t.Errorf("%d accounts with %d clusters", len(b.accounts), total)
	}
	f := b.fixture(3)
	b.call(f, "GET", clustersPath(f), nil).want(t, 200)
}

// TestAuthentication tells 401 from 403 in both generations.
func TestAuthentication(t *testing.T) {
	b := setup(t)
	f, other := b.fixture(0), b.fixture(1)
	path, legacy := clustersPath(f), "/pa/v1/accounts/"+f.CloudAccountID+"/clusters"
	narrow := b.ctl("POST", "keys", map[string]any{"account": f.CloudAccountID, "permissions": []string{"read:account"}}).get("management_key").(string)
	for _, c := range []struct {
		auth string
		want int
	}{
		{"", 401}, {"apikey", 401}, {"Bearer " + f.ManagementKey, 401}, {"apikey " + f.ManagementKey + "x", 401}, {"apikey wrong", 401},
		{"apikey " + other.ManagementKey, 403}, {"apikey " + narrow, 403}, {"apikey " + f.ManagementKey, 200}, {"ApiKey " + f.ManagementKey, 200},
	} {
		for _, p := range []string{path, legacy} {
			got := b.send(b.server.URL, c.auth, "GET", p, nil)
			if got.status != c.want {
				t.Errorf("%.12s on %s: %d, want %d", c.auth, p, got.status, c.want)
			}
			if bytes.Contains(got.body, []byte(f.ManagementKey)) {
				t.Error("an answer repeats a key")
			}
		}
	}
	b.send(b.server.URL, "", "GET", "/api/booking/v1/packages?cloudProviderId=aws&cloudProviderRegionId=eu-central-1", nil).want(t, 200)
	perms := b.send(b.server.URL, "apikey "+narrow, "GET", "/api/iam/v1/accounts/"+f.CloudAccountID+"/effective-permissions", nil).want(t, 200)
	if got := perms.get("permissions", 0, "value"); got != "read:account" || perms.get("permissions", 1) != nil {
		t.Errorf("effective permissions: %s", perms.body)
	}
	missing := b.send(b.server.URL, "apikey "+narrow, "POST", "/api/cluster/v1/accounts/"+f.CloudAccountID+"/backups/"+f.CloudAccountID+"/clusters?clusterName=abcd", nil).want(t, 403)
	for _, p := range []string{"restore:backups", "write:clusters"} {
		if !strings.Contains(missing.get("message").(string), p) {
			t.Errorf("the refusal does not name %s: %s", p, missing.body)
		}
	}
	b.ctl("POST", "keys", map[string]any{"revoke": narrow})
	if got := b.send(b.server.URL, "apikey "+narrow, "GET", "/api/account/v1/accounts", nil); got.status != 401 {
		t.Errorf("a revoked key answers %d", got.status)
	}
}

func TestRoutingAnswersLikeTheGateway(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	for _, c := range []struct {
		method, path string
		status       int
		code         any
	}{
		{"GET", "/api/nothing", 404, float64(5)},
		{"PATCH", clustersPath(f), 501, float64(12)},
		{"GET", clustersPath(f) + "//", 404, float64(5)},
		{"GET", clustersPath(f) + "/not-a-uuid", 400, float64(3)},
		{"GET", clustersPath(f) + "/%2e%2e", 400, float64(3)},
		{"GET", clustersPath(f) + "/00000000-0000-4000-8000-000000000000", 404, float64(5)},
		{"GET", clustersPath(f) + "/suggest-name", 200, nil},
		{"GET", "/pa/v1/nothing", 404, nil},
		{"PUT", "/pa/v1/booking/packages", 405, nil},
		{"POST", clustersPath(f), 400, float64(3)},
	} {
		got := b.call(f, c.method, c.path, nil)
		if got.status != c.status || got.get("code") != c.code {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
		}
	}
	for _, body := range []string{"{", "[]", `{"cluster":1}`, `{"cluster":{"name":"a","name":"b"}}`, `{"cluster":{}} x`, strings.Repeat(`{"cluster":`, 200), "\xff"} {
		if got := b.call(f, "POST", clustersPath(f), body); got.status != 400 {
			t.Errorf("%.30q: %d", body, got.status)
		}
	}
	big := `{"x":"` + strings.Repeat("a", maxBody) + `"}`
	if got := b.call(f, "POST", clustersPath(f), big); got.status != 429 {
		t.Errorf("a body over the limit: %d", got.status)
	}
}

// newCluster is a valid specification.
func newCluster(name string) map[string]any {
	return map[string]any{
		"name": name, "cloudProviderId": "aws", "cloudProviderRegionId": "eu-central-1",
		"configuration": map[string]any{"numberOfNodes": 2, "packageId": idOf("package", "aws", "mx2")},
	}
}

// edit returns a specification with a value changed at a dotted path; nil deletes.
func edit(spec map[string]any, path string, value any) map[string]any {
	out := map[string]any{}
	for k, v := range spec {
		out[k] = v
	}
	first, rest, nested := strings.Cut(path, ".")
	switch {
	case nested:
		sub, _ := out[first].(map[string]any)
		out[first] = edit(sub, rest, value)
	case value == nil:
		delete(out, first)
	default:
		out[first] = value
	}
	return out
}

func (b *bench) create(f Fixture, spec map[string]any) reply {
	b.t.Helper()
	return b.call(f, "POST", clustersPath(f), map[string]any{"cluster": spec})
}

func (b *bench) update(f Fixture, id string, spec map[string]any, mask string) reply {
	b.t.Helper()
	body := map[string]any{"cluster": spec}
	if mask != "" {
		body["updateMask"] = mask
	}
	return b.call(f, "PUT", clustersPath(f)+"/"+id, body)
}

// ready creates a cluster and waits until it is healthy.
func (b *bench) ready(f Fixture, spec map[string]any) string {
	b.t.Helper()
	id := b.create(f, spec).want(b.t, 200).get("cluster", "id").(string)
	b.clock = b.clock.Add(time.Minute)
	if p := b.phase(f, id); p != "HEALTHY" {
		b.t.Fatalf("a minute after its creation the cluster is %s", p)
	}
	return id
}

// TestLifeOfACluster follows one from its creation to its end.
func TestLifeOfACluster(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	created := b.create(f, newCluster("life")).want(t, 200)
	id := created.get("cluster", "id").(string)
	if created.get("cluster", "state", "phase") != "CLUSTER_PHASE_CREATING" || created.get("cluster", "state", "endpoint", "url") != nil ||
		created.get("cluster", "configuration", "version") != "v1.17.2" {
		t.Errorf("just created: %s", created.body)
	}
	step := func(after time.Duration, want string, up any) {
		t.Helper()
		b.clock = b.clock.Add(after)
		got := b.cluster(f, id).want(t, 200)
		if got.get("cluster", "state", "phase") != "CLUSTER_PHASE_"+want || got.get("cluster", "state", "nodesUp") != up {
			t.Errorf("want %s with %v nodes: %s", want, up, got.body)
		}
	}
	act := func(name string, want int) {
		t.Helper()
		b.call(f, "POST", clustersPath(f)+"/"+id+"/"+name, nil).want(t, want)
	}
	act("restart", 400) // not while it is being created
	step(50*time.Second, "HEALTHY", float64(2))
	if url := b.cluster(f, id).get("cluster", "state", "endpoint", "url"); url != "https://"+id+".eu-central-1.aws.cloud.qdrant.io" {
		t.Errorf("endpoint %v", url)
	}
	act("unsuspend", 400)
	act("restart", 200)
	act("restart", 400)
	step(time.Second, "UPDATING", float64(1))
	if b.cluster(f, id).get("cluster", "state", "restartedAt") == nil {
		t.Error("restartedAt is not set")
	}
	legacy := b.call(f, "GET", "/pa/v1/accounts/"+f.CloudAccountID+"/clusters/"+id, nil).want(t, 200)
	if legacy.get("state", "phase") != "Restarting" {
		t.Errorf("pa/v1 says %v", legacy.get("state", "phase"))
	}
	step(time.Minute, "HEALTHY", float64(2))
	act("suspend", 200)
	step(0, "SUSPENDING", float64(2))
	step(time.Minute, "SUSPENDED", nil)
	act("suspend", 400)
	act("unsuspend", 200)
	step(time.Second, "RESUMING", nil)
	step(time.Minute, "HEALTHY", float64(2))
	b.update(f, id, map[string]any{"configuration": map[string]any{"numberOfNodes": 3}}, "configuration.numberOfNodes").want(t, 200)
	step(0, "SCALING", float64(2))
	step(time.Minute, "HEALTHY", float64(3))
	b.call(f, "DELETE", clustersPath(f)+"/"+id+"?deleteBackups=true", nil).want(t, 200)
	deleting := b.cluster(f, id).want(t, 200)
	if deleting.get("cluster", "state", "phase") != "CLUSTER_PHASE_DELETING" || deleting.get("cluster", "deletedAt") == nil {
		t.Errorf("while it is deleted: %s", deleting.body)
	}
	b.call(f, "DELETE", clustersPath(f)+"/"+id, nil).want(t, 400)
	b.clock = b.clock.Add(time.Minute)
	if got := b.cluster(f, id); got.status != 404 || got.get("code") != float64(5) {
		t.Errorf("when it is gone: %d %s", got.status, got.body)
	}
}

// TestRefusals: what the platform refuses beyond the rules of single fields.
func TestRefusals(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	hybrid := ""
	for id := range b.accounts[f.CloudAccountID].environments {
		hybrid = id
	}
	for _, c := range []struct {
		what, path string
		value      any
		field      string
	}{
		{"unknown provider", "cloudProviderId", "ibm", "cluster.cloud_provider_id"},
		{"unknown region", "cloudProviderRegionId", "mars-1", "cluster.cloud_provider_region_id"},
		{"unknown package", "configuration.packageId", f.CloudAccountID, "cluster.configuration.package_id"},
		{"another provider's package", "configuration.packageId", idOf("package", "gcp", "mx2"), "cluster.configuration.package_id"},
		{"deactivated package", "configuration.packageId", idOf("package", "aws", "gpx1"), "cluster.configuration.package_id"},
		{"two nodes of a free package", "configuration.packageId", idOf("package", "aws", "free2"), "cluster.configuration.number_of_nodes"},
		{"unknown release", "configuration.version", "v9.9.9", "cluster.configuration.version"},
		{"ended release", "configuration.version", "v1.12.6", "cluster.configuration.version"},
		{"withdrawn release", "configuration.version", "v1.17.0", "cluster.configuration.version"},
		{"hybrid only service type", "configuration.serviceType", "CLUSTER_SERVICE_TYPE_NODE_PORT", "cluster.configuration.service_type"},
		{"hybrid only log level", "configuration.databaseConfiguration", map[string]any{"logLevel": "DATABASE_CONFIGURATION_LOG_LEVEL_INFO"}, "cluster.configuration.database_configuration.log_level"},
		{"hybrid only storage class", "configuration.clusterStorageConfiguration", map[string]any{"databaseStorageClass": "fast"}, "cluster.configuration.cluster_storage_configuration.database_storage_class"},
		{"GPU without a GPU package", "configuration.gpuType", "CLUSTER_CONFIGURATION_GPU_TYPE_NVIDIA", "cluster.configuration.gpu_type"},
		{"read-only id", "id", f.CloudAccountID, ""},
		{"read-only state", "state", map[string]any{"phase": "CLUSTER_PHASE_HEALTHY"}, ""},
	} {
		got := b.create(f, edit(newCluster("refused"), c.path, c.value))
		field, _ := got.get("details", 0, "fieldViolations", 0, "field").(string)
		if got.status != 400 || got.get("code") != float64(3) || field != c.field {
			t.Errorf("%s: %d at %q: %s", c.what, got.status, field, got.body)
		}
	}
	ignored := b.create(f, edit(newCluster("ignored"), "configuration.nodeSelector", []any{map[string]any{"key": "a", "value": "b"}})).want(t, 200)
	if ignored.get("cluster", "configuration", "nodeSelector") != nil {
		t.Error("a setting ignored for managed clusters was kept")
	}
	onHybrid := edit(edit(newCluster("on-hybrid"), "cloudProviderId", "hybrid"), "cloudProviderRegionId", hybrid)
	onHybrid = edit(edit(onHybrid, "configuration.packageId", idOf("package", "hybrid", "mx2")), "configuration.serviceType", "CLUSTER_SERVICE_TYPE_NODE_PORT")
	b.create(f, onHybrid).want(t, 200)
	if got := b.create(f, edit(newCluster("closed"), "cloudProviderRegionId", "ap-south-1")); got.status != 400 || got.get("code") != float64(9) {
		t.Errorf("a region that is not available: %s", got.body)
	}
	if got := b.create(f, edit(newCluster("many"), "configuration.numberOfNodes", 11)); got.status != 400 || got.get("code") != float64(9) {
		t.Errorf("more nodes than the quota: %s", got.body)
	}
}

func TestQuotaOfClusters(t *testing.T) {
	b := setup(t)
	f := b.fixture(3)
	quota := int(b.call(f, "GET", "/api/quota/v1/accounts/"+f.CloudAccountID+"/quotas", nil).want(t, 200).get("maxClusters").(float64))
	have := len(b.accounts[f.CloudAccountID].clusters)
	for i := have; i < quota; i++ {
		b.create(f, newCluster(fmt.Sprintf("fill-%d", i))).want(t, 200)
	}
	if got := b.create(f, newCluster("too-many")); got.status != 400 || got.get("code") != float64(9) {
		t.Errorf("over the quota: %d %s", got.status, got.body)
	}
	free := edit(edit(newCluster("second-free"), "configuration.packageId", idOf("package", "aws", "free2")), "configuration.numberOfNodes", 1)
	if got := b.create(f, free); got.status != 400 {
		t.Errorf("a second free cluster: %d", got.status)
	}
}

// TestUpdate: full replacement, masks, immutable fields, disks and versions.
func TestUpdate(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	spec := edit(edit(newCluster("updated"), "labels", []any{map[string]any{"key": "team", "value": "a"}}), "configuration.additionalResources", map[string]any{"disk": 8})
	spec = edit(edit(spec, "configuration.version", "v1.16.3"), "configuration.allowedIpSourceRanges", []any{"203.0.113.0/24"})
	id := b.ready(f, spec)

	renamed := b.update(f, id, map[string]any{"name": "renamed"}, "name").want(t, 200)
	if renamed.get("cluster", "name") != "renamed" || renamed.get("cluster", "labels", 0, "value") != "a" ||
		renamed.get("cluster", "state", "phase") != "CLUSTER_PHASE_HEALTHY" {
		t.Errorf("a masked rename: %s", renamed.body)
	}
	replaced := b.update(f, id, edit(edit(spec, "labels", nil), "configuration.allowedIpSourceRanges", nil), "").want(t, 200)
	if replaced.get("cluster", "labels") != nil || replaced.get("cluster", "configuration", "allowedIpSourceRanges") != nil || replaced.get("cluster", "name") != "updated" {
		t.Errorf("a replacement keeps what was left out: %s", replaced.body)
	}
	b.clock = b.clock.Add(time.Minute)

	var whole map[string]any
	if err := json.Unmarshal(b.cluster(f, id).want(t, 200).body, &whole); err != nil {
		t.Fatal(err)
	}
	asRead := whole["cluster"].(map[string]any)
	b.lax = true // the definition of the body has no id, yet clients send what they read
	same := b.update(f, id, asRead, "").want(t, 200)
	b.lax = false
	if diff := cmp.Diff(asRead, same.get("cluster")); diff != "" {
		t.Errorf("sending back what was read changed it:\n%s", diff)
	}
	for _, c := range []struct {
		path  string
		value any
	}{
		{"cloudProviderId", "gcp"}, {"cloudProviderRegionId", "us-east-1"}, {"configuration.additionalResources", map[string]any{"disk": 7}},
		{"configuration.additionalResources", nil}, {"configuration.version", "v1.15.5"}, {"configuration.packageId", idOf("package", "aws", "mx1")},
		{"configuration.packageId", idOf("package", "aws", "mx8-premium")}, {"configuration", nil}, {"name", "x"},
	} {
		if got := b.update(f, id, edit(spec, c.path, c.value), ""); got.status != 400 {
			t.Errorf("%s to %v: %d %s", c.path, c.value, got.status, got.body)
		}
	}
	for _, mask := range []string{"nothing", "configuration.nothing", "labels.key", "name,,labels", "configuration.number_of_nodes"} {
		b.lax = true
		if got := b.update(f, id, map[string]any{"name": "masked"}, mask); got.status != 400 {
			t.Errorf("mask %q: %d", mask, got.status)
		}
		b.lax = false
	}
	up := b.update(f, id, map[string]any{"configuration": map[string]any{"version": "v1.17.2"}}, "configuration.version").want(t, 200)
	if up.get("cluster", "state", "phase") != "CLUSTER_PHASE_UPGRADING" || up.get("cluster", "state", "version") != "v1.16.3" {
		t.Errorf("an upgrade: %s", up.body)
	}
	if got := b.update(f, id, map[string]any{"configuration": map[string]any{"numberOfNodes": 3}}, "configuration.numberOfNodes"); got.status != 400 || got.get("code") != float64(9) {
		t.Errorf("scaling while upgrading: %d", got.status)
	}
	b.clock = b.clock.Add(time.Minute)
	if v := b.cluster(f, id).get("cluster", "state", "version"); v != "v1.17.2" {
		t.Errorf("after the upgrade it runs %v", v)
	}
	bigger := b.update(f, id, map[string]any{"configuration": map[string]any{"packageId": idOf("package", "aws", "mx4")}}, "configuration.packageId,configuration.additionalResources").want(t, 200)
	if bigger.get("cluster", "configuration", "additionalResources") != nil {
		t.Error("a masked field that was not sent is still there")
	}
}

func TestPaging(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	all, _ := b.call(f, "GET", clustersPath(f), nil).want(t, 200).get("items").([]any)
	var seen []any
	token := ""
	for range 20 {
		path := clustersPath(f) + "?pageSize=5"
		if token != "" {
			path += "&pageToken=" + token
		}
		page := b.call(f, "GET", path, nil).want(t, 200)
		items, _ := page.get("items").([]any)
		seen = append(seen, items...)
		if page.get("totalSize") != float64(len(all)) {
			t.Errorf("totalSize %v", page.get("totalSize"))
		}
		next, ok := page.get("nextPageToken").(string)
		if !ok {
			break
		}
		token = next
	}
	if diff := cmp.Diff(all, seen); diff != "" {
		t.Errorf("pages together differ from the whole:\n%s", diff)
	}
	for _, query := range []string{"?pageSize=6&pageToken=" + token, "?pageSize=5&cloudProviderId=aws&pageToken=" + token, "?pageSize=5&pageToken=bm9uc2Vuc2U", "?pageSize=0", "?pageSize=251", "?pageSize=five", "?pageSize=5&pageSize=6"} {
		if got := b.call(f, "GET", clustersPath(f)+query, nil); got.status != 400 {
			t.Errorf("%s: %d", query, got.status)
		}
	}
	other := b.fixture(1)
	if got := b.call(other, "GET", clustersPath(other)+"?pageSize=5&pageToken="+token, nil); got.status != 400 {
		t.Errorf("another account's token: %d", got.status)
	}
	filtered := b.call(f, "GET", clustersPath(f)+"?cloudProviderId=gcp&cloudProviderRegionId=europe-west3", nil).want(t, 200)
	if items, _ := filtered.get("items").([]any); len(items) != 2 {
		t.Errorf("the filter finds %d", len(items))
	}
}

// TestStateIsKept: a second start continues where the first ended; a damaged file is one error.
func TestStateIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	kept := func(c *Config) { c.StatePath = path }
	b := setup(t, kept)
	f := b.fixture(0)
	id := b.create(f, newCluster("kept")).want(t, 200).get("cluster", "id").(string)
	key := b.call(f, "POST", "/api/auth/v1/accounts/"+f.CloudAccountID+"/management-keys", map[string]any{"managementKey": map[string]any{}}).want(t, 200).get("managementKey", "key").(string)
	b.ctl("POST", "clock", map[string]any{"advance": "1h"})
	before := map[string]json.RawMessage{}
	for _, fx := range b.Fixtures() {
		before[fx.Name] = b.call(fx, "GET", clustersPath(fx), nil).want(t, 200).body
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the state file: %v %v", info, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(key)) || bytes.Contains(data, []byte(f.ManagementKey)) {
		t.Error("the state file holds a key")
	}
	clock := b.clock
	second := setup(t, kept, func(c *Config) { c.Seed, c.Now = 99, func() time.Time { return clock } })
	if diff := cmp.Diff(b.Fixtures(), second.Fixtures()); diff != "" {
		t.Errorf("fixtures changed:\n%s", diff)
	}
	for _, fx := range second.Fixtures() {
		if got := second.call(fx, "GET", clustersPath(fx), nil).want(t, 200); !bytes.Equal(got.body, before[fx.Name]) {
			t.Errorf("%s: the clusters changed between two starts", fx.Name)
		}
	}
	if p := second.phase(f, id); p != "HEALTHY" {
		t.Errorf("the cluster is %s", p)
	}
	if got := second.send(second.server.URL, "apikey "+key, "GET", "/api/account/v1/accounts", nil); got.status != 200 {
		t.Errorf("a key made before the restart answers %d", got.status)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	nodes := bytes.Replace(data, []byte(`"nodes":3`), []byte(`"nodes":3000000000`), 1)
	noKey := `{"version":1,"accounts":[{"id":"` + f.CloudAccountID + `","resource":{},"management_keys":[null]}]}`
	for _, damage := range []string{"", "{", `{"version":2}`, `{"version":1,"accounts":[{"id":"x"}]}`, string(data[:len(data)/2]), string(nodes), noKey} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{StatePath: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a damaged file: %v", err)
		}
	}
}

// TestOneSandboxAStateFile: a second one is refused while the first runs, and not afterwards; what a
// killed one left half written is cleared away.
func TestOneSandboxAStateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	half := filepath.Join(dir, ".state.json-123")
	if err := os.WriteFile(half, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := New(Config{StatePath: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half written file: %v", err)
	}
	if second, err := New(Config{StatePath: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a second sandbox on the same file: %v", err)
		_ = second.Close()
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := New(Config{StatePath: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Close(), third.Close()); err != nil {
		t.Error(err)
	}
}

// TestRollingChange: each node starts once, at its turn, and not anew whenever somebody looks.
func TestRollingChange(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.ready(f, newCluster("rolling"))
	b.call(f, "POST", clustersPath(f)+"/"+id+"/restart", nil).want(t, 200)
	began := b.clock
	starts := map[int]map[any]bool{0: {}, 1: {}}
	for b.phase(f, id) == "UPDATING" {
		b.clock = b.clock.Add(time.Second)
		got := b.cluster(f, id)
		for n := range starts {
			starts[n][got.get("cluster", "state", "nodes", n, "startedAt")] = true
		}
	}
	if b.clock.Sub(began) < 5*time.Second {
		t.Fatalf("the restart took %s", b.clock.Sub(began))
	}
	for n, seen := range starts {
		if len(seen) > 3 { // before, at its turn, and at the end
			t.Errorf("node %d started at %v", n, seen)
		}
	}
}

// TestSeedIsPossible: nothing runs a release from before it was out, and zones are named as each
// provider names them.
func TestSeedIsPossible(t *testing.T) {
	b := setup(t)
	for _, a := range b.accounts {
		for _, c := range a.clusters {
			if out := b.clock.Add(-released(c.running.Version)); c.nodesSince.Before(out) || c.nodesSince.Before(c.createdAt) || c.nodesSince.After(b.clock) {
				t.Errorf("%s: its nodes run %s since %s; it was created %s", c.name(), c.running.Version, c.nodesSince, c.createdAt)
			}
		}
	}
	for provider, want := range map[string]string{providerAWS: "r1b", providerGCP: "r1-b", providerAzure: "r1-2"} {
		c := &cluster{spec: msg{"cloud_provider_id": provider, "cloud_provider_region_id": "r1"}}
		if got := c.zone(1); got != want {
			t.Errorf("%s: zone %s, want %s", provider, got, want)
		}
	}
}

// TestStateIsSavedSoonAfterAChange does not wait for Close.
func TestStateIsSavedSoonAfterAChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	b := setup(t, func(c *Config) { c.StatePath = path })
	f := b.fixture(0)
	id := b.create(f, newCluster("soon")).want(t, 200).get("cluster", "id").(string)
	deadline := time.Now().Add(5 * time.Second)
	for {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(id)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the change was not saved")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestManagementKeys(t *testing.T) {
	var logged bytes.Buffer
	b := setup(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	f := b.fixture(0)
	path := "/api/auth/v1/accounts/" + f.CloudAccountID + "/management-keys"
	made := b.call(f, "POST", path, map[string]any{"managementKey": map[string]any{}}).want(t, 200)
	key, id := made.get("managementKey", "key").(string), made.get("managementKey", "id").(string)
	if !strings.HasPrefix(key, made.get("managementKey", "prefix").(string)) {
		t.Error("the prefix is not the key's")
	}
	list := b.call(f, "GET", path, nil).want(t, 200)
	if bytes.Contains(list.body, []byte(key)) || !bytes.Contains(list.body, []byte(id)) {
		t.Errorf("the list: %s", list.body)
	}
	fresh := Fixture{CloudAccountID: f.CloudAccountID, ManagementKey: key}
	b.call(fresh, "DELETE", path+"/"+id, nil).want(t, 200)
	b.call(fresh, "GET", path, nil).want(t, 401)
	b.call(f, "DELETE", path+"/"+id, nil).want(t, 404)
	if strings.Contains(logged.String(), key) || strings.Contains(logged.String(), f.ManagementKey) {
		t.Error("a key was logged")
	}
}

// TestSpellings: the same cluster in every way a gateway may write it.
func TestSpellings(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	quote := map[string]any{"cloudProviderId": "aws", "cloudProviderRegionId": "eu-central-1", "numberOfNodes": 3, "packageId": idOf("package", "aws", "mx2")}
	ask := func() (string, string) {
		t.Helper()
		c := b.call(f, "GET", clustersPath(f)+"?pageSize=1", nil).want(t, 200)
		q := b.call(f, "POST", "/api/booking/v1/accounts/"+f.CloudAccountID+"/quote", quote).want(t, 200)
		return string(c.body), string(q.body)
	}
	plain, price := ask()
	if !strings.Contains(price, `"originalPricePerHour":"28272"`) || strings.Contains(plain, "null") || strings.Contains(plain, "gpuType") {
		t.Errorf("by default: %s %s", plain, price)
	}
	b.lax = true
	for _, c := range []struct {
		set  map[string]any
		want []string
	}{
		{map[string]any{"unset": "null"}, []string{`"gpuType":null`, `"deletedAt":null`, `"nodeSelector":null`}},
		{map[string]any{"unset": "gateway"}, []string{`"deletedAt":null`, `"nodeSelector":[]`, `"reason":""`, `"complimentary":0`}},
		{map[string]any{"unset": "zero"}, []string{`"deletedAt":"0001-01-01T00:00:00Z"`, `"gpuType":"CLUSTER_CONFIGURATION_GPU_TYPE_UNSPECIFIED"`}},
		{map[string]any{"unset": "empty"}, []string{`"deletedAt":""`, `"gpuType":""`}},
		{map[string]any{"numeric_int64": true}, []string{`"originalPricePerHour":28272`}},
		{map[string]any{"snake_case": true}, []string{`"cloud_provider_region_id":"eu-central-1"`}},
		{map[string]any{"numeric_enums": true}, []string{`"phase":12`}},
	} {
		b.ctl("POST", "spelling", c.set)
		cluster, price := ask()
		for _, w := range c.want {
			if !strings.Contains(cluster+price, w) {
				t.Errorf("%v lacks %s: %.1500s %s", c.set, w, cluster, price)
			}
		}
	}
	b.ctl("POST", "spelling", map[string]any{})
	if again, _ := ask(); again != plain {
		t.Error("the default does not come back")
	}
}

// TestBothSpellingsAreRead: requests may use either name, numbers as text, and null for unset.
func TestBothSpellingsAreRead(t *testing.T) {
	b := setup(t)
	b.lax = true
	f := b.fixture(0)
	body := fmt.Sprintf(`{"cluster":{"name":"snake","cloud_provider_id":"aws","cloud_provider_region_id":"us-east-1","unknown":{"x":[1]},"labels":null,
		"configuration":{"number_of_nodes":"1","package_id":%q,"restart_policy":1,"reserved_cpu_percentage":25}}}`, strings.ToUpper(idOf("package", "aws", "mx2")))
	got := b.call(f, "POST", clustersPath(f), body).want(t, 200)
	if got.get("cluster", "configuration", "restartPolicy") != "CLUSTER_CONFIGURATION_RESTART_POLICY_ROLLING" || got.get("cluster", "configuration", "numberOfNodes") != float64(1) {
		t.Errorf("%s", got.body)
	}
	b.call(f, "GET", clustersPath(f)+"?page_size=2&unknown=1", nil).want(t, 200)
}

func TestCreateFromBackup(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	backups := b.call(f, "GET", "/api/cluster/backup/v1/accounts/"+f.CloudAccountID+"/backups", nil).want(t, 200)
	items, _ := backups.get("items").([]any)
	tried := map[bool]bool{}
	for i := range items {
		ok := backups.get("items", i, "status") == "BACKUP_STATUS_SUCCEEDED"
		if tried[ok] {
			continue
		}
		tried[ok] = true
		path := "/api/cluster/v1/accounts/" + f.CloudAccountID + "/backups/" + backups.get("items", i, "id").(string) + "/clusters?clusterName="
		if !ok {
			b.call(f, "POST", path+"restored", nil).want(t, 400)
			continue
		}
		b.call(f, "POST", path+"abc", nil).want(t, 400) // four characters here, two elsewhere
		made := b.call(f, "POST", path+"restored", nil).want(t, 200)
		if made.get("cluster", "name") != "restored" || made.get("cluster", "state", "phase") != "CLUSTER_PHASE_CREATING" {
			t.Errorf("%s", made.body)
		}
	}
	if !tried[true] || !tried[false] {
		t.Errorf("the seed lacks a kind of backup: %v", tried)
	}
}

// TestEveryReadAnswers calls each rpc that only reads, with the ids the listings give.
func TestEveryReadAnswers(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	acc := f.CloudAccountID
	first := func(path string, field ...any) string {
		t.Helper()
		s, _ := b.call(f, "GET", path, nil).want(t, 200).get(append([]any{"items", 0}, field...)...).(string)
		return s
	}
	id := b.clusterNamed(f, "recommendations-eu")
	place := "cloudProviderId=aws&cloudProviderRegionId=eu-central-1"
	pkgID := first("/api/booking/v1/accounts/"+acc+"/packages?"+place, "id")
	user := first("/api/iam/v1/accounts/"+acc+"/users", "id")
	role := first("/api/iam/v1/accounts/"+acc+"/roles", "id")
	schedule := first("/api/cluster/backup/v1/accounts/"+acc+"/backup_schedules", "id")
	scheduled := first("/api/cluster/backup/v1/accounts/"+acc+"/backup_schedules", "clusterId")
	backup := first("/api/cluster/backup/v1/accounts/"+acc+"/backups?pageSize=1", "id")
	invite := first("/api/account/v1/accounts/"+acc+"/invites?statuses=ACCOUNT_INVITE_STATUS_PENDING", "id")
	hybrid := first("/api/platform/v1/accounts/"+acc+"/cloud-providers/hybrid/regions", "id")
	for _, path := range []string{
		"/api/account/v1/accounts", "/api/account/v1/accounts/" + acc, "/api/account/v1/accounts/" + acc + "/invites/" + invite,
		"/api/account/v1/accounts/" + acc + "/members", "/api/account/v1/accounts/" + acc + "/members/" + user,
		"/api/account/v1/suggest-company?name=northwind", "/api/iam/v1/accounts/" + acc + "/permissions", "/api/iam/v1/accounts/" + acc + "/effective-permissions",
		"/api/iam/v1/accounts/" + acc + "/roles/" + role, "/api/iam/v1/accounts/" + acc + "/users/" + user + "/roles", "/api/iam/v1/accounts/" + acc + "/roles/" + role + "/users",
		"/api/booking/v1/accounts/" + acc + "/packages/" + pkgID + "?" + place, "/api/booking/v1/packages?" + place + "&minResources.ram=16GiB&gpu=false",
		"/api/booking/v1/accounts/" + acc + "/packages?cloudProviderId=hybrid&tier=PACKAGE_TIER_STANDARD", "/api/booking/v1/accounts/" + acc + "/inference-models?" + place,
		"/api/booking/v1/accounts/" + acc + "/packages?" + place + "&statuses=PACKAGE_STATUS_DEACTIVATED&statuses=PACKAGE_STATUS_ACTIVE&multiAz=true&tier=PACKAGE_TIER_PREMIUM",
		"/api/booking/v1/accounts/" + acc + "/storage-tiers?" + place, "/api/platform/v1/cloud-providers", "/api/platform/v1/accounts/" + acc + "/cloud-providers",
		"/api/platform/v1/cloud-providers/gcp/regions", "/api/platform/v1/cloud-providers/gcp/regions/us-east4", "/api/platform/v1/accounts/" + acc + "/cloud-providers/azure/regions",
		"/api/platform/v1/accounts/" + acc + "/cloud-providers/hybrid/regions/" + hybrid, "/api/quota/v1/accounts/" + acc + "/quotas",
		"/api/cluster/v1/accounts/" + acc + "/releases", "/api/cluster/v1/accounts/" + acc + "/releases?clusterId=" + id, "/api/cluster/v1/accounts/" + acc + "/releases/v1.17.2",
		clustersPath(f) + "/" + id + "/downscale-risk?packageId=" + idOf("package", "aws", "mx8"), "/api/cluster/auth/v1/accounts/" + acc + "/database-api-keys",
		"/api/cluster/auth/v2/accounts/" + acc + "/database-api-keys?clusterId=" + id, "/api/cluster/backup/v1/accounts/" + acc + "/backups/" + backup,
		"/api/cluster/backup/v1/accounts/" + acc + "/backup_restores", "/api/cluster/backup/v1/accounts/" + acc + "/backup_schedules/" + schedule + "?clusterId=" + scheduled,
	} {
		if got := b.call(f, "GET", path, nil); got.status != 200 || len(got.body) < 3 && !strings.Contains(path, "restores") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if at := b.call(f, "GET", "/api/cluster/v1/accounts/"+acc+"/releases?clusterId="+id, nil); slices.Contains([]any{"v1.15.5", "v1.16.3", "v1.17.0", "v1.18.0"}, at.get("items", 0, "version")) {
		t.Errorf("update options: %s", at.body)
	}
	account := map[string]any{"name": "Renamed account"}
	renamed := b.call(f, "PUT", "/api/account/v1/accounts/"+acc, map[string]any{"account": account, "updateMask": "name"}).want(t, 200)
	if renamed.get("account", "name") != "Renamed account" || renamed.get("account", "company") == nil {
		t.Errorf("%s", renamed.body)
	}
	b.call(f, "PUT", "/api/account/v1/accounts/"+acc, map[string]any{"account": map[string]any{"externalOwnerId": "auth0|someone"}, "updateMask": "externalOwnerId"}).want(t, 403)
	b.call(f, "DELETE", "/api/account/v1/accounts/"+acc+"/invites/"+invite, nil).want(t, 200)
	b.call(f, "POST", "/api/booking/v1/accounts/"+acc+"/backup-quote", map[string]any{"cloudProviderId": "aws", "cloudProviderRegionId": "eu-central-1", "backupSizeGib": 100}).want(t, http.StatusOK)
}
