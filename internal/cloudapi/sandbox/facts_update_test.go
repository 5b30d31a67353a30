package sandbox

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"quartermaster/internal/cloudapi"
)

// TestFactsAnUpdateIsValidAsItComes: what a mask does not name keeps to the rules, too, and so does what is read-only; and then the whole.
func TestFactsAnUpdateIsValidAsItComes(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "support-assistant")
	whole, _ := b.cluster(f, id).want(t, 200).get("cluster").(map[string]any)
	for _, in := range []string{"id", "accountId"} {
		delete(whole, in) // in the path
	}
	for _, c := range []struct {
		what    string
		cluster map[string]any
		mask    string
		field   string // that breaks a rule; empty: accepted
	}{
		{"the whole as it was read", whole, "", ""},
		{"the whole with a mask", edit(whole, "name", "renamed"), "name", ""},
		{"only what the mask names", map[string]any{"name": "renamed-again"}, "name", ""},
		{"an endpoint without a URL", map[string]any{"name": "renamed", "state": map[string]any{"endpoint": map[string]any{"restPort": 6333, "grpcPort": 6334}}}, "name", "cluster.state.endpoint.url"},
		{"an endpoint without a URL, no mask", edit(whole, "state.endpoint", map[string]any{"restPort": 6333, "grpcPort": 6334}), "", "cluster.state.endpoint.url"},
		{"a port of 0", edit(whole, "state.endpoint.restPort", 0), "name", "cluster.state.endpoint.rest_port"},
		{"more nodes than 0, unnamed", map[string]any{"name": "renamed", "configuration": map[string]any{"numberOfNodes": 2, "packageId": "mx2"}}, "name", "cluster.configuration.package_id"},
		{"a label without a key, unnamed", map[string]any{"name": "renamed", "labels": []any{map[string]any{"value": "v"}}}, "name", "cluster.labels[0].key"},
		{"the mask takes what is needed away", map[string]any{"name": "renamed"}, "configuration", "cluster.configuration"},
		{"the mask takes a number away", map[string]any{"configuration": map[string]any{}}, "configuration.numberOfNodes", "cluster.configuration.number_of_nodes"},
	} {
		body := map[string]any{"cluster": c.cluster}
		if c.mask != "" {
			body["updateMask"] = c.mask
		}
		got := b.call(f, "PUT", clustersPath(f)+"/"+id, body)
		var fields []string
		list, _ := got.get("details", 0, "fieldViolations").([]any)
		for i := range list {
			fields = append(fields, text(got, "details", 0, "fieldViolations", i, "field"))
		}
		if c.field == "" && got.status != 200 || c.field != "" && (got.status != 400 || !slices.Contains(fields, c.field)) {
			t.Errorf("%s: %d at %q: %s", c.what, got.status, fields, got.body[:min(len(got.body), 300)])
		}
	}
}

// TestFactsTheClientSendsNothingReadOnly: an edit has the whole of what may be written, and nothing else.
func TestFactsTheClientSendsNothingReadOnly(t *testing.T) {
	for _, spelling := range []Spelling{{}, {SnakeCase: true}, {Unset: "empty"}, {Unset: "zero"}, {Unset: "null"}, {Unset: "gateway"}} {
		b := setup(t, func(c *Config) { c.Spelling = spelling })
		b.lax = true
		f := b.fixture(0)
		b.create(f, newCluster("just-begun")).want(t, 200)
		for _, name := range []string{"product-search-eu", "just-begun", "legal-archive", "recommendations-us"} {
			server, sent := b.plainClient(f)
			api := cloudapi.NewCurrentAPI(server)
			read, err := api.Cluster(t.Context(), b.clusterNamed(f, name))
			if err != nil {
				t.Fatal(err)
			}
			b.clock = b.clock.Add(time.Second)
			if _, err := api.UpdateCluster(t.Context(), read, cloudapi.ClusterEdit{Labels: to([]cloudapi.Label{{Key: "a", Value: "b"}})}); err != nil {
				t.Errorf("%+v, %s: %v", spelling, name, err)
			}
			var body struct {
				Cluster map[string]json.RawMessage
			}
			if err := json.Unmarshal([]byte(sent()[len(sent())-1]), &body); err != nil {
				t.Fatal(err)
			}
			var config map[string]json.RawMessage
			if err := json.Unmarshal(body.Cluster["configuration"], &config); err != nil {
				t.Fatal(err)
			}
			for _, member := range slices.Collect(maps.Keys(body.Cluster)) {
				if slices.Contains([]string{"id", "accountId", "account_id", "createdAt", "created_at", "deletedAt", "deleted_at", "state"}, member) {
					t.Errorf("%+v, %s: the client sends %s", spelling, name, member)
				}
			}
			for _, member := range []string{"lastModifiedAt", "last_modified_at"} {
				if config[member] != nil {
					t.Errorf("%+v, %s: the client sends %s", spelling, name, member)
				}
			}
			if len(config) < 3 {
				t.Errorf("%+v, %s: the client sends %s", spelling, name, body.Cluster["configuration"])
			}
		}
	}
}
