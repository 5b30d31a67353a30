package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fullCluster is a cluster of the current API with every member that is decoded, as the gateway
// documents itself: lowerCamel, enums by name.
const fullCluster = `{
	"id": "3e1f0a9b-5c7d-4e2f-8b6a-0c1d2e3f4a5b", "accountId": "7c9d2f4e-8a31-4b7e-9c55-1d2e3f4a5b6c",
	"createdAt": "2025-03-04T05:06:07.123456789Z", "deletedAt": "2026-01-02T03:04:05Z", "name": "search-prod",
	"cloudProviderId": "hybrid", "cloudProviderRegionId": "0b2a4f7c-3f1a-4a55-9d8e-2f0f7a3c1d10",
	"labels": [{"key": "team", "value": "search"}, {"key": "tier", "value": "gold"}], "costAllocationLabel": "cost/center-7",
	"configuration": {
		"lastModifiedAt": "2025-03-05T00:00:00Z", "numberOfNodes": 3, "version": "v1.15.4",
		"packageId": "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b", "additionalResources": {"disk": 64},
		"databaseConfiguration": {
			"collection": {"replicationFactor": 2, "writeConsistencyFactor": 1, "vectors": {"onDisk": true}},
			"service": {"apiKey": {"name": "secret-name", "key": "secret-member"}}, "logLevel": "DATABASE_CONFIGURATION_LOG_LEVEL_WARN"
		},
		"nodeSelector": [{"key": "disk.kind/x", "value": "nvme"}],
		"tolerations": [{"key": "dedicated", "operator": "TOLERATION_OPERATOR_EQUAL", "value": "qdrant", "effect": "TOLERATION_EFFECT_NO_EXECUTE", "tolerationSeconds": "60"}],
		"allowedIpSourceRanges": ["10.0.0.0/8", "192.0.2.0/24"], "serviceType": "CLUSTER_SERVICE_TYPE_LOAD_BALANCER",
		"reservedCpuPercentage": 20, "restartPolicy": "CLUSTER_CONFIGURATION_RESTART_POLICY_ROLLING",
		"clusterStorageConfiguration": {"storageTierType": "STORAGE_TIER_TYPE_PERFORMANCE"}, "someNewMember": {"deepList": ["a", "b"]}
	},
	"state": {
		"version": "v1.15.3", "nodesUp": 2, "restartedAt": "2025-06-01T10:00:00.5Z", "phase": "CLUSTER_PHASE_NOT_READY", "reason": "one node is down",
		"endpoint": {"url": "https://x.eu-central-1.aws.cloud.example.test", "restPort": 6333, "grpcPort": 6334},
		"resources": {"ram": {"base": 8, "reserved": 0.5, "available": 7.5}, "cpu": {"base": 0.5}, "disk": {"base": 32, "complimentary": 4, "additional": 64}, "gpuRam": {"base": 16}},
		"jwtRbac": true,
		"nodes": [
			{"name": "node-0", "state": "CLUSTER_NODE_STATE_HEALTHY", "version": "v1.15.3", "availabilityZone": "a", "startedAt": "2025-06-01T10:00:00Z", "endpoint": {"url": "https://node-0.example.test"}},
			{"name": "node-1", "state": "CLUSTER_NODE_STATE_UNHEALTHY", "notReadyInfo": {
				"condition": "CLUSTER_NODE_NOT_READY_CONDITION_CONTAINER_RESTARTING", "conditionMessage": "restarts again and again",
				"event": "CLUSTER_NODE_TERMINATION_EVENT_OUT_OF_MEMORY", "eventMessage": "killed",
				"actions": [{"kind": "CLUSTER_NODE_ACTION_KIND_SCALE_VERTICALLY", "description": "take a larger package"}, {"kind": "CLUSTER_NODE_ACTION_KIND_DOCUMENTATION"}]}}
		],
		"capabilities": {
			"diskExpansion": {"status": "CLUSTER_DISK_EXPANSION_SUPPORT_STATUS_SUPPORTED"},
			"backup": {"status": "CLUSTER_BACKUP_SUPPORT_STATUS_NOT_SUPPORTED", "reason": "no snapshots"},
			"scalabilityInfo": {"status": "CLUSTER_SCALABILITY_STATUS_SCALABLE"}}
	}
}`

func wantFullCluster() Cluster {
	yes := true
	return Cluster{
		Generation: Current,
		ID:         clusterID, AccountID: accountID, Name: "search-prod",
		CreatedAt: time.Date(2025, 3, 4, 5, 6, 7, 123456789, time.UTC), DeletedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		CloudProvider: "hybrid", Region: "0b2a4f7c-3f1a-4a55-9d8e-2f0f7a3c1d10",
		Labels: []Label{{"team", "search"}, {"tier", "gold"}}, CostAllocationLabel: "cost/center-7",
		Configuration: Configuration{
			LastModifiedAt: time.Date(2025, 3, 5, 0, 0, 0, 0, time.UTC), Nodes: 3, Version: "v1.15.4",
			PackageID: "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b", AdditionalDiskGiB: 64, AllowedIPs: []string{"10.0.0.0/8", "192.0.2.0/24"},
			ReplicationFactor: 2, WriteConsistencyFactor: 1, VectorsOnDisk: true, RestartPolicy: "ROLLING", StorageTier: "PERFORMANCE",
			Settings: []Setting{
				{"clusterStorageConfiguration.storageTierType", "PERFORMANCE"},
				{"databaseConfiguration.collection.replicationFactor", "2"},
				{"databaseConfiguration.collection.vectors.onDisk", "true"},
				{"databaseConfiguration.collection.writeConsistencyFactor", "1"},
				{"databaseConfiguration.logLevel", "WARN"},
				{"databaseConfiguration.service.apiKey.key", "secret-member"},
				{"databaseConfiguration.service.apiKey.name", "secret-name"},
				{"nodeSelector.disk.kind/x", "nvme"},
				{"reservedCpuPercentage", "20"},
				{"restartPolicy", "ROLLING"},
				{"serviceType", "LOAD_BALANCER"},
				{"someNewMember.deepList", "a, b"},
				{"tolerations.0.effect", "NO_EXECUTE"},
				{"tolerations.0.key", "dedicated"},
				{"tolerations.0.operator", "EQUAL"},
				{"tolerations.0.tolerationSeconds", "60"},
				{"tolerations.0.value", "qdrant"},
			},
		},
		State: State{
			Phase: PhaseNotReady, Reason: "one node is down", Version: "v1.15.3", NodesUp: 2, RestartedAt: time.Date(2025, 6, 1, 10, 0, 0, 5e8, time.UTC),
			EndpointURL: "https://x.eu-central-1.aws.cloud.example.test", RESTPort: 6333, GRPCPort: 6334, JWTRBAC: &yes,
			Resources: []Resource{
				{Name: "ram", Unit: "GiB", Base: 8, Reserved: 0.5, Available: 7.5},
				{Name: "cpu", Unit: "cores", Base: 0.5},
				{Name: "disk", Unit: "GiB", Base: 32, Complimentary: 4, Additional: 64},
				{Name: "gpu_ram", Unit: "GiB", Base: 16},
			},
			Nodes: []Node{
				{Name: "node-0", State: "HEALTHY", Version: "v1.15.3", AvailabilityZone: "a", EndpointURL: "https://node-0.example.test", StartedAt: time.Date(2025, 6, 1, 10, 0, 0, 0, time.UTC)},
				{Name: "node-1", State: "UNHEALTHY", NotReady: &NotReady{Condition: "CONTAINER_RESTARTING", ConditionMessage: "restarts again and again",
					Event: "OUT_OF_MEMORY", EventMessage: "killed", Actions: []string{"take a larger package", "DOCUMENTATION"}}},
			},
			Capabilities: []Capability{{"disk_expansion", "SUPPORTED", ""}, {"backup", "NOT_SUPPORTED", "no snapshots"}, {"scalability", "SCALABLE", ""}},
		},
	}
}

var withoutRaw = cmpopts.IgnoreFields(Cluster{}, "Raw")

// respell rewrites a JSON tree: name maps member names, value maps what is neither list nor object.
func respell(v any, name func(string) string, value func(member string, v any) any) any {
	var walk func(member string, v any) any
	walk = func(member string, v any) any {
		switch v := v.(type) {
		case map[string]any:
			respelt := map[string]any{}
			for key, item := range v {
				respelt[name(key)] = walk(key, item)
			}
			return respelt
		case []any:
			respelt := make([]any, len(v))
			for i := range v {
				respelt[i] = walk(member, v[i])
			}
			return respelt
		}
		return value(member, v)
	}
	return walk("", v)
}

func same[T any](v T) T               { return v }
func unchanged(_ string, v any) any   { return v }
func tree(t *testing.T, s string) any { return mustParse(t, []byte(s)) }

func mustParse(t *testing.T, raw []byte) any {
	t.Helper()
	parsed, err := parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestSpellings: however the gateway spells it, it is the same cluster.
func TestSpellings(t *testing.T) {
	numbers := map[string]int{
		"DATABASE_CONFIGURATION_LOG_LEVEL_WARN": 4, "TOLERATION_OPERATOR_EQUAL": 2, "TOLERATION_EFFECT_NO_EXECUTE": 3, "CLUSTER_SERVICE_TYPE_LOAD_BALANCER": 3,
		"CLUSTER_CONFIGURATION_RESTART_POLICY_ROLLING": 1, "STORAGE_TIER_TYPE_PERFORMANCE": 3, "CLUSTER_PHASE_NOT_READY": 13,
		"CLUSTER_NODE_STATE_HEALTHY": 2, "CLUSTER_NODE_STATE_UNHEALTHY": 3, "CLUSTER_NODE_NOT_READY_CONDITION_CONTAINER_RESTARTING": 3,
		"CLUSTER_NODE_TERMINATION_EVENT_OUT_OF_MEMORY": 1, "CLUSTER_NODE_ACTION_KIND_SCALE_VERTICALLY": 1, "CLUSTER_NODE_ACTION_KIND_DOCUMENTATION": 2,
		"CLUSTER_DISK_EXPANSION_SUPPORT_STATUS_SUPPORTED": 1, "CLUSTER_BACKUP_SUPPORT_STATUS_NOT_SUPPORTED": 2, "CLUSTER_SCALABILITY_STATUS_SCALABLE": 2,
	}
	used := map[string]bool{}
	byNumber := func(_ string, v any) any {
		if name, ok := v.(string); ok && numbers[name] > 0 {
			used[name] = true
			return numbers[name]
		}
		return v
	}
	quoted := func(_ string, v any) any {
		if number, ok := v.(json.Number); ok {
			return number.String()
		}
		return v
	}
	unquoted := func(_ string, v any) any {
		if v == "60" {
			return json.Number("60")
		}
		return v
	}
	for name, variant := range map[string]any{
		"as documented":      tree(t, fullCluster),
		"snake_case":         respell(tree(t, fullCluster), snakeCase, unchanged),
		"enums by number":    respell(tree(t, fullCluster), same[string], byNumber),
		"numbers as strings": respell(tree(t, fullCluster), same[string], quoted),
		"strings as numbers": respell(tree(t, fullCluster), same[string], unquoted),
		"all at once":        respell(respell(tree(t, fullCluster), snakeCase, byNumber), same[string], quoted),
	} {
		got, err := DecodeCluster(Current, mustMarshal(t, variant))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(wantFullCluster(), got, withoutRaw); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(used) != len(numbers) {
		t.Errorf("only %d of %d enum values were tried by number", len(used), len(numbers))
	}
}

// TestUnset: absent, null, zero, empty and unspecified are the same cluster.
func TestUnset(t *testing.T) {
	zero := func(member string, v any) any {
		switch v := v.(type) {
		case json.Number:
			return json.Number("0")
		case bool:
			return false
		case string:
			if i := strings.LastIndex(v, "_"); i > 0 && v == strings.ToUpper(v) && member != "id" {
				return "SOME_ENUM_UNSPECIFIED"
			}
		}
		return ""
	}
	base := map[string]any{"id": clusterID, "accountId": accountID}
	empty := func(v any) any {
		variant := v.(map[string]any)
		maps.Copy(variant, base)
		return variant
	}
	want := Cluster{Generation: Current, ID: clusterID, AccountID: accountID}
	nulls := map[string]any{}
	for key := range tree(t, fullCluster).(map[string]any) {
		nulls[key] = nil
	}
	zeros := respell(tree(t, fullCluster), same[string], zero).(map[string]any)
	// Lists that are there have items; an unset list is an empty one.
	zeros["labels"] = []any{}
	zeros["state"].(map[string]any)["nodes"] = []any{}
	delete(zeros["state"].(map[string]any), "jwtRbac")
	for name, variant := range map[string]any{
		"absent":    empty(map[string]any{}),
		"null":      empty(nulls),
		"deep null": empty(respell(tree(t, fullCluster), same[string], func(string, any) any { return nil }).(map[string]any)),
		"zero":      empty(zeros),
		"times":     empty(map[string]any{"createdAt": "0001-01-01T00:00:00Z", "deletedAt": "1970-01-01T00:00:00Z"}),
	} {
		if name == "deep null" {
			variant.(map[string]any)["state"].(map[string]any)["nodes"] = nil
		}
		got, err := DecodeCluster(Current, mustMarshal(t, variant))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got, withoutRaw); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// fullLegacy is a cluster of pa/v1 with every member that is decoded.
const fullLegacy = `{
	"id": "3e1f0a9b-5c7d-4e2f-8b6a-0c1d2e3f4a5b", "account_id": "7c9d2f4e-8a31-4b7e-9c55-1d2e3f4a5b6c",
	"created_at": "2024-03-04T05:06:07.123456", "name": "legacy-search", "cloud_provider": "private", "cloud_region": "private",
	"private_region_id": "0b2a4f7c-3f1a-4a55-9d8e-2f0f7a3c1d10", "marked_for_deletion_at": null, "url": "https://fallback.example.test",
	"configuration": {
		"id": "11111111-5c7d-4e2f-8b6a-0c1d2e3f4a5b", "number_of_nodes": 2, "version": "v1.9.0",
		"node_configuration": {"package_id": "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b", "resource_configurations": [{"amount": 16, "resource_type": "disk", "resource_unit": "Gi"}]},
		"qdrant_configuration": {"collection": {"replication_factor": 2}, "log_level": "INFO", "service": {"jwt_rbac": false, "enable_tls": true}},
		"node_selector": {"disk_kind": "nvme"}, "tolerations": [{"key": "dedicated", "operator": "Exists"}], "allowed_ip_source_ranges": ["10.0.0.0/8"]
	},
	"resources": {"cpu": {"base": 1000, "complimentary": 0, "extra": 500}, "ram": {"base": 8}, "disk": {"base": 32, "extra": 16}},
	"state": {"endpoint": "https://y.example.test", "nodes_up": 2, "phase": "FailedToSync", "reason": "because", "restarted_at": "2024-04-01T00:00:00+02:00", "version": "v1.8.4"}
}`

// TestLegacyCluster: pa/v1's words become the current ones.
func TestLegacyCluster(t *testing.T) {
	no := false
	want := Cluster{
		Generation: PAV1,
		ID:         clusterID, AccountID: accountID, Name: "legacy-search", CreatedAt: time.Date(2024, 3, 4, 5, 6, 7, 123456000, time.UTC),
		CloudProvider: "hybrid", Region: "0b2a4f7c-3f1a-4a55-9d8e-2f0f7a3c1d10",
		Configuration: Configuration{
			Nodes: 2, Version: "v1.9.0", PackageID: "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b", AdditionalDiskGiB: 16, ReplicationFactor: 2, AllowedIPs: []string{"10.0.0.0/8"},
			Settings: []Setting{
				{"id", "11111111-5c7d-4e2f-8b6a-0c1d2e3f4a5b"},
				{"node_selector.disk_kind", "nvme"},
				{"qdrant_configuration.collection.replication_factor", "2"},
				{"qdrant_configuration.log_level", "INFO"},
				{"qdrant_configuration.service.enable_tls", "true"},
				{"tolerations.0.key", "dedicated"},
				{"tolerations.0.operator", "Exists"},
			},
		},
		State: State{
			Phase: PhaseFailedToSync, Reason: "because", Version: "v1.8.4", NodesUp: 2, RestartedAt: time.Date(2024, 3, 31, 22, 0, 0, 0, time.UTC),
			EndpointURL: "https://y.example.test", JWTRBAC: &no,
			Resources: []Resource{
				{Name: "ram", Unit: "GiB", Base: 8}, {Name: "cpu", Unit: "cores", Base: 1, Additional: 0.5}, {Name: "disk", Unit: "GiB", Base: 32, Additional: 16},
			},
		},
	}
	got, err := DecodeCluster(PAV1, []byte(fullLegacy))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, withoutRaw); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	marked, err := DecodeCluster(PAV1, []byte(`{"id":"x","cloud_provider":"aws","cloud_region":"us-east-1","url":"https://z.example.test","marked_for_deletion_at":"2025-01-01T00:00:00Z","state":{"phase":"Healthy"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if marked.State.Phase != PhaseDeleting || marked.CloudProvider != "aws" || marked.Region != "us-east-1" || marked.State.EndpointURL != "https://z.example.test" {
		t.Errorf("%+v", marked)
	}
}

// TestLegacyPhases: every word of the definition becomes one of our phases; another is kept.
func TestLegacyPhases(t *testing.T) {
	words := "Creating FailedToCreate Updating FailedToUpdate Scaling FailedToScale Upgrading FailedToUpgrade Suspending Suspended " +
		"FailedToSuspend Resuming FailedToResume Restarting FailedToRestart Restoring FailedToRestore BackupRunning FailedToBackup " +
		"Healthy NotReady RecoveryMode ManualMaintenance FailedToSync NotFound Unknown"
	phases := []Phase{PhaseCreating, PhaseFailedToCreate, PhaseUpdating, PhaseFailedToUpdate, PhaseScaling, PhaseFailedToScale, PhaseUpgrading,
		PhaseFailedToUpgrade, PhaseSuspending, PhaseSuspended, PhaseFailedToSuspend, PhaseResuming, PhaseFailedToResume, PhaseRestarting,
		PhaseFailedToRestart, PhaseRestoring, PhaseFailedToRestore, PhaseBackupRunning, PhaseFailedToBackup, PhaseHealthy, PhaseNotReady,
		PhaseRecoveryMode, PhaseManualMaintenance, PhaseFailedToSync, PhaseNotFound, PhaseUnknown}
	for i, word := range strings.Fields(words) {
		if got := legacyPhase(word); got != phases[i] {
			t.Errorf("%s is %s, want %s", word, got, phases[i])
		}
	}
	for _, word := range []string{"", "SomethingNew", "<b>"} {
		if got := legacyPhase(word); got != Phase(word) {
			t.Errorf("%q became %q", word, got)
		}
	}
	for raw, want := range map[string]Phase{`"CLUSTER_PHASE_NEW"`: "NEW", `99`: "99", `"CLUSTER_PHASE_UNSPECIFIED"`: "", `0`: "", `null`: "", `"19"`: PhaseUnknown} {
		cluster, err := DecodeCluster(Current, []byte(`{"id":"x","state":{"phase":`+raw+`}}`))
		if err != nil || cluster.State.Phase != want {
			t.Errorf("%s is %q, %v", raw, cluster.State.Phase, err)
		}
	}
}

// TestEndpoints: an address that is shown as a link is https with a host, or not there.
func TestEndpoints(t *testing.T) {
	for address, want := range map[string]string{
		"https://x.example.test:6333":                   "https://x.example.test:6333",
		"HTTPS://x.example.test":                        "https://x.example.test",
		"http://x.example.test":                         "",
		"http://127.0.0.1":                              "",
		"javascript:alert(1)":                           "",
		"javascript://x.example.test/%0aalert(1)":       "",
		"data:text/html,x":                              "",
		"//x.example.test":                              "",
		"x.example.test":                                "",
		"https://":                                      "",
		"https:///path":                                 "",
		"https://user:pw@x.example.test":                "",
		"https://x.example.test/ y":                     "",
		"https://x\n.example.test":                      "",
		"https://" + strings.Repeat("x", 600) + ".test": "",
		"": "",
	} {
		raw := mustMarshal(t, map[string]any{"id": "x", "state": map[string]any{"endpoint": map[string]any{"url": address, "restPort": 70000, "grpcPort": -1},
			"nodes": []any{map[string]any{"endpoint": map[string]any{"url": address}}}}})
		cluster, err := DecodeCluster(Current, raw)
		if err != nil {
			t.Fatal(err)
		}
		if cluster.State.EndpointURL != want || cluster.State.Nodes[0].EndpointURL != want {
			t.Errorf("%q became %q", address, cluster.State.EndpointURL)
		}
		if cluster.State.RESTPort != 0 || cluster.State.GRPCPort != 0 {
			t.Errorf("ports %d, %d", cluster.State.RESTPort, cluster.State.GRPCPort)
		}
		legacy, err := DecodeCluster(PAV1, mustMarshal(t, map[string]any{"id": "x", "url": address, "state": map[string]any{"endpoint": address}}))
		if err != nil || legacy.State.EndpointURL != want {
			t.Errorf("pa/v1: %q became %q, %v", address, legacy.State.EndpointURL, err)
		}
	}
}

// TestRawIsStorable: Raw keeps what is unknown, loses only space, and can be kept as jsonb.
func TestRawIsStorable(t *testing.T) {
	for in, want := range map[string]string{
		"{ \"id\" : \"x\",\n\"unknown\": [1.50, 12345678901234567890, \"<é>\"] }": `{"id":"x","unknown":[1.50,12345678901234567890,"<é>"]}`,
		`{"id":"x","a":"b\u0000c","d\u0000":"\u00e9"}`:                            `{"a":"b` + "\uFFFD" + `c","d` + "\uFFFD" + `":"é","id":"x"}`,
		`{"id":"x","a":"\ud800","b":"\uD83D\uDE00","n":1.50}`:                     `{"a":"` + "\uFFFD" + `","b":"😀","id":"x","n":1.50}`,
		`{"id":"first","id":"x"}`:                                                 `{"id":"first","id":"x"}`,
	} {
		cluster, err := DecodeCluster(Current, []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if string(cluster.Raw) != want || cluster.ID != "x" {
			t.Errorf("%s became %s, id %s", in, cluster.Raw, cluster.ID)
		}
	}
}

// TestBounds: no string, list or number of one cluster grows without end.
func TestBounds(t *testing.T) {
	long := strings.Repeat("ы", 100_000)
	many := func(item any) []any {
		items := make([]any, 2000)
		for i := range items {
			items[i] = item
		}
		return items
	}
	raw := mustMarshal(t, map[string]any{"id": "x", "name": long, "labels": many(map[string]any{"key": "k", "value": "v"}),
		"configuration": map[string]any{"allowedIpSourceRanges": many("10.0.0.0/8"), "nodeSelector": many(map[string]any{"key": "k", "value": "v"}), "x": many("scalar scalar")},
		"state":         map[string]any{"reason": long, "phase": long[:1000]}})
	cluster, err := DecodeCluster(Current, raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(cluster.Name) > maxText || !utf8.ValidString(cluster.Name) || len(cluster.State.Reason) > maxText || len(cluster.State.Phase) > 64 ||
		len(cluster.Labels) != maxLabels || len(cluster.Configuration.AllowedIPs) != maxIPs || len(cluster.Configuration.Settings) > maxSettings+1 {
		t.Errorf("name %d, phase %d, labels %d, addresses %d, settings %d", len(cluster.Name), len(cluster.State.Phase), len(cluster.Labels), len(cluster.Configuration.AllowedIPs), len(cluster.Configuration.Settings))
	}
	for _, setting := range cluster.Configuration.Settings {
		if len(setting.Value) > maxText || len(setting.Name) > 512 {
			t.Errorf("setting of %d and %d bytes", len(setting.Name), len(setting.Value))
		}
	}
	for name, hostile := range map[string]string{
		"too large":    `{"id":"x","y":"` + strings.Repeat("y", maxResource) + `"}`,
		"no object":    `[]`,
		"null":         `null`,
		"nothing":      ``,
		"two":          `{"id":"x"}{"id":"y"}`,
		"no id":        `{"name":"x"}`,
		"id of dots":   `{"id":".."}`,
		"id of spaces": `{"id":"a b"}`,
		"id of a list": `{"id":["x"]}`,
		"endless id":   `{"id":"` + strings.Repeat("x", 129) + `"}`,
	} {
		if cluster, err := DecodeCluster(Current, []byte(hostile)); err == nil {
			t.Errorf("%s: decoded as %+v", name, cluster)
		}
	}
	if _, err := DecodeCluster("other", []byte(`{"id":"x"}`)); err == nil {
		t.Error("an unknown generation was decoded")
	}
}

// answers serves one body for each path and query.
func answers(bodies map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if body, ok := bodies[r.Method+" "+r.RequestURI]; ok {
			answer(w, 200, body)
			return
		}
		answer(w, 404, `{"code":5,"message":"no such path: `+r.Method+" "+r.RequestURI+`"}`)
	}
}

// TestUnreadableClusters: one cluster of an unknown shape hides none of the others, and is told; one
// of another account, or nothing that can be read, makes the whole page Malformed.
func TestUnreadableClusters(t *testing.T) {
	const good, twice = `{"id":"good","name":"first"}`, `{"id":"good","name":"second"}`
	odd := `{"id":"odd","state":{"nodesUp":-1,"nodes":"none","phase":{}},"configuration":{"numberOfNodes":4000000000}}`
	deep := `{"id":"deep","y":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `}`
	large := `{"id":"large","y":"` + strings.Repeat("y", maxResource) + `"}`
	const nameless, path, number, foreign = `{"name":"x"}`, `{"id":"../x"}`, `7`, `{"id":"good","accountId":"` + clusterID + `","account_id":"` + clusterID + `"}`
	for _, c := range []struct {
		name       string
		items      []string
		clusters   []string
		unreadable []string // ids
	}{
		{"all kinds", []string{nameless, good, deep, odd, twice, large, path, number, `null`}, []string{"good first", "odd "}, []string{"", "deep", "large", "", "", ""}},
		{"nothing", nil, nil, nil},
		{"nothing readable", []string{deep, path}, nil, nil},
		{"another account's", []string{good, deep, foreign}, nil, nil},
	} {
		list := "[" + strings.Join(c.items, ",") + "]"
		u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/pa/") {
				answer(w, 200, list)
				return
			}
			answer(w, 200, `{"items":`+list+`,"nextPageToken":""}`)
		})
		for generation, listing := range map[Generation]func(context.Context, string) (ClusterPage, error){
			Current: NewCurrentAPI(u.conn(Current)).ListClusters, PAV1: NewLegacyAPI(u.conn(PAV1)).ListClusters,
		} {
			page, err := listing(t.Context(), "")
			if c.clusters == nil && len(c.items) > 0 {
				if e := failed(t, err); e.Kind != Malformed {
					t.Errorf("%s, %s: %v", c.name, generation, e)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s, %s: %v", c.name, generation, err)
			}
			var clusters, unreadable []string
			for _, cluster := range page.Clusters {
				clusters = append(clusters, cluster.ID+" "+cluster.Name)
			}
			for _, left := range page.Unreadable {
				unreadable = append(unreadable, left.ID)
				if left.Reason == "" || utf8.RuneCountInString(left.Reason) > maxMessageRunes {
					t.Errorf("%s, %s: reason %q", c.name, generation, left.Reason)
				}
			}
			if diff := cmp.Diff(c.clusters, clusters) + cmp.Diff(c.unreadable, unreadable); diff != "" {
				t.Errorf("%s, %s:\n%s", c.name, generation, diff)
			}
		}
	}
}

// TestUnreadableItems: the same of every other list, where what is left out is not told.
func TestUnreadableItems(t *testing.T) {
	const good, bad = `{"id":"good","version":"v1","value":"read:x"}`, `{"id":"a b","value":""}`
	lists := map[string]func(*testUpstream) (int, error){
		"accounts": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).Accounts(t.Context()))
		},
		"permissions": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).Permissions(t.Context()))
		},
		"keys": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).ManagementKeys(t.Context()))
		},
		"packages": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).Packages(t.Context(), "aws", "x"))
		},
		"providers": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).Providers(t.Context()))
		},
		"regions": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).Regions(t.Context(), "aws"))
		},
		"releases": func(u *testUpstream) (int, error) {
			return counting(NewCurrentAPI(u.conn(Current)).Releases(t.Context(), ""))
		},
		"legacy": func(u *testUpstream) (int, error) {
			return counting(NewLegacyAPI(u.conn(PAV1)).Packages(t.Context(), "aws", "x"))
		},
	}
	for name, list := range lists {
		for items, want := range map[string]int{good + "," + bad + ",1": 1, "": 0, bad: -1} {
			u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/pa/") {
					answer(w, 200, "["+items+"]")
					return
				}
				answer(w, 200, `{"items":[`+items+`],"permissions":[`+items+`]}`)
			})
			got, err := list(u)
			if want < 0 {
				if e := failed(t, err); e.Kind != Malformed {
					t.Errorf("%s, nothing readable: %v", name, e)
				}
				continue
			}
			if err != nil || got != want {
				t.Errorf("%s of %s: %d, %v", name, items, got, err)
			}
		}
	}
}

func counting[T any](items []T, err error) (int, error) { return len(items), err }

// TestCurrentAPI: every list of the current API, from the wire to our types.
func TestCurrentAPI(t *testing.T) {
	const account = "/accounts/" + accountID
	u := newUpstream(t, answers(map[string]string{
		"GET /api/account/v1/accounts":                                           `{"items":[{"id":"` + accountID + `","name":"Acme","ownerEmail":"o@example.test","createdAt":"2025-01-02T03:04:05Z"}]}`,
		"GET /api/iam/v1" + account + "/effective-permissions":                   `{"permissions":[{"value":"write:clusters"},{"value":"read:clusters","category":"Clusters"},{"value":"read:clusters"}]}`,
		"GET /api/cluster/v1" + account + "/clusters?pageSize=250":               `{"items":[` + fullCluster + `],"totalSize":2,"nextPageToken":"two"}`,
		"GET /api/cluster/v1" + account + "/clusters?pageSize=250&pageToken=two": `{"items":[{"id":"y"}],"next_page_token":""}`,
		"GET /api/cluster/v1" + account + "/clusters?pageSize=250&pageToken=own": `{"nextPageToken":"own"}`,
		"GET /api/cluster/v1" + account + "/clusters/" + clusterID:               `{"cluster":` + fullCluster + `}`,
		"GET /api/cluster/v1" + account + "/clusters/another":                    `{"cluster":` + fullCluster + `}`,
		"GET /api/cluster/v1" + account + "/clusters/none":                       `{"cluster":null}`,
		"GET /api/auth/v1" + account + "/management-keys":                        `{"items":[{"id":"k1","accountId":"` + accountID + `","prefix":"0b2a4f7c","createdAt":"2025-01-02T03:04:05Z","key":"never looked at"}]}`,
		"DELETE /api/auth/v1" + account + "/management-keys/k1":                  `{}`,
		"GET /api/booking/v1" + account + "/packages?cloudProviderId=aws&cloudProviderRegionId=eu-central-1&statuses=PACKAGE_STATUS_ACTIVE&statuses=PACKAGE_STATUS_DEACTIVATED&tier=PACKAGE_TIER_STANDARD": `{"items":[{"id":"p2","name":"old1","type":"paid","resourceConfiguration":{"ram":"2GiB","cpu":"500m","disk":"8GiB"},"currency":"USD","status":2,"tier":"PACKAGE_TIER_STANDARD"}]}`,
		"GET /api/booking/v1" + account + "/packages?cloudProviderId=aws&cloudProviderRegionId=eu-central-1&statuses=PACKAGE_STATUS_ACTIVE&statuses=PACKAGE_STATUS_DEACTIVATED&tier=PACKAGE_TIER_PREMIUM":  `{"items":[{"id":"p1","name":"mx2","type":"paid","resourceConfiguration":{"ram":"8GiB","cpu":"1000m","disk":"0.5TiB"},"currency":"USD","unitIntPricePerHour":"9424","status":"PACKAGE_STATUS_ACTIVE","tier":2,"multiAz":true}]}`,
		"GET /api/booking/v1" + account + "/packages?cloudProviderId=hybrid&statuses=PACKAGE_STATUS_ACTIVE&statuses=PACKAGE_STATUS_DEACTIVATED&tier=PACKAGE_TIER_STANDARD":                                 `{"items":null}`,
		"GET /api/booking/v1" + account + "/packages?cloudProviderId=hybrid&statuses=PACKAGE_STATUS_ACTIVE&statuses=PACKAGE_STATUS_DEACTIVATED&tier=PACKAGE_TIER_PREMIUM":                                  `{"items":null}`,
		"GET /api/platform/v1" + account + "/cloud-providers":             `{"items":[{"id":"aws","name":"AWS","available":true},{"id":"gcp","name":"GCP"}]}`,
		"GET /api/platform/v1" + account + "/cloud-providers/aws/regions": `{"items":[{"id":"eu-central-1","name":"Frankfurt","provider":"aws","country_iso_code":"DE","available":true}]}`,
		"GET /api/cluster/v1" + account + "/releases":                     `{"items":[{"version":"v1.15.4","default":true,"releaseNotesUrl":"javascript:alert(1)"},{"version":"v1.1.0","endOfLife":true,"remarks":"old","releaseNotesUrl":"https://example.test/notes"}]}`,
	}))
	ctx, api, at := t.Context(), NewCurrentAPI(u.conn(Current)), time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	identifying := NewCurrentAPI(u.client.Connect(ConnConfig{Generation: Current, Key: NewSecret([]byte(canaryKey))}))

	full, second := wantFullCluster(), Cluster{Generation: Current, ID: "y", AccountID: accountID}
	wants(t, "accounts", []Account{{ID: accountID, Name: "Acme", OwnerEmail: "o@example.test", CreatedAt: at}})(identifying.Accounts(ctx))
	wants(t, "permissions", []string{"read:clusters", "write:clusters"})(api.Permissions(ctx))
	wants(t, "first page", ClusterPage{Clusters: []Cluster{full}, Next: "two"})(api.ListClusters(ctx, ""))
	wants(t, "second page", ClusterPage{Clusters: []Cluster{second}})(api.ListClusters(ctx, "two"))
	wants(t, "cluster", full)(api.Cluster(ctx, clusterID))
	wants(t, "keys", []ManagementKey{{ID: "k1", Prefix: "0b2a4f7c", CreatedAt: at}})(api.ManagementKeys(ctx))
	wants(t, "packages", []Package{{ID: "p2", Name: "old1", Type: "paid", Tier: "STANDARD", Currency: "USD", Status: "DEACTIVATED", CPUMilli: 500, RAMMiB: 2048, DiskMiB: 8192}, {
		ID: "p1", Name: "mx2", Type: "paid", Tier: "PREMIUM", Currency: "USD", Status: "ACTIVE",
		CPUMilli: 1000, RAMMiB: 8192, DiskMiB: 512 * 1024, PricePerHourMillicents: 9424, MultiAZ: true}})(api.Packages(ctx, "aws", "eu-central-1"))
	wants(t, "hybrid packages", []Package(nil))(api.Packages(ctx, "hybrid", ""))
	wants(t, "providers", []Provider{{ID: "aws", Name: "AWS", Available: true}, {ID: "gcp", Name: "GCP"}})(api.Providers(ctx))
	wants(t, "regions", []Region{{ID: "eu-central-1", Name: "Frankfurt", Provider: "aws", Country: "DE", Available: true}})(api.Regions(ctx, "aws"))
	wants(t, "releases", []Release{{Version: "v1.15.4", Default: true}, {Version: "v1.1.0", EndOfLife: true, Remarks: "old", NotesURL: "https://example.test/notes"}})(api.Releases(ctx, ""))
	if err := api.DeleteManagementKey(ctx, "k1"); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"a page that names itself": errOf(api.ListClusters(ctx, "own")),
		"another cluster":          errOf(api.Cluster(ctx, "another")),
		"no cluster":               errOf(api.Cluster(ctx, "none")),
	} {
		if e := failed(t, err); e.Kind != Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e := failed(t, errOf(api.Cluster(ctx, "missing"))); e.Kind != NotFound {
		t.Errorf("missing: %v", e)
	}
}

func errOf[T any](_ T, err error) error { return err }

func wants[T any](t *testing.T, what string, want T) func(T, error) {
	t.Helper()
	return func(got T, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if diff := cmp.Diff(want, got, withoutRaw); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// TestLegacyAPI: the same for what pa/v1 has.
func TestLegacyAPI(t *testing.T) {
	const account = "/pa/v1/accounts/" + accountID
	bodies := map[string]string{
		"GET " + account + "/clusters":              `[` + fullLegacy + `,{"id":"y"}]`,
		"GET " + account + "/clusters/" + clusterID: fullLegacy,
		"GET " + account + "/clusters/another":      fullLegacy,
		"GET /pa/v1/booking/packages?provider=aws&region=us-east-1": `[{"id":"p1","name":"mx2","currency":"usd","unit_int_price_per_hour":9424,"resource_configurations":[
			{"amount":8,"resource_type":"ram","resource_unit":"Gi"},{"amount":1000,"resource_type":"cpu","resource_unit":"m"},{"amount":32,"resource_type":"disk","resource_unit":"Gi"}]},
			{"id":"p2","name":"free","currency":"usd","unit_int_price_per_hour":null,"resource_configurations":[]}]`,
	}
	u := newUpstream(t, answers(bodies))
	ctx, api := t.Context(), NewLegacyAPI(u.conn(PAV1))
	page, err := api.ListClusters(ctx, "")
	if err != nil || len(page.Clusters) != 2 || page.Next != "" || page.Clusters[0].Name != "legacy-search" || page.Clusters[1].AccountID != accountID {
		t.Errorf("%+v, %v", page, err)
	}
	cluster, err := api.Cluster(ctx, clusterID)
	if err != nil || cluster.State.Phase != PhaseFailedToSync {
		t.Errorf("%+v, %v", cluster, err)
	}
	wants(t, "packages", []Package{
		{ID: "p1", Name: "mx2", Type: "paid", Currency: "USD", CPUMilli: 1000, RAMMiB: 8192, DiskMiB: 32768, PricePerHourMillicents: 9424},
		{ID: "p2", Name: "free", Type: "free", Currency: "USD"},
	})(api.Packages(ctx, "aws", "us-east-1"))
	if e := failed(t, errOf(api.Cluster(ctx, "another"))); e.Kind != Malformed {
		t.Errorf("another cluster: %v", e)
	}
	// null is no list here: every cluster of the account would seem to be gone.
	for _, body := range []string{"null", "{}", "", `{"detail":"x"}`, "[", `[{"id":"a b"}]`} {
		bodies["GET "+account+"/clusters"] = body
		if e := failed(t, errOf(api.ListClusters(ctx, ""))); e.Kind != Malformed {
			t.Errorf("%s: %v", body, e)
		}
	}
}

// TestQuantities reads sizes of packages.
func TestQuantities(t *testing.T) {
	for in, want := range map[string]int64{"1GiB": 1024, "8Gi": 8192, "512MiB": 512, "0.5GiB": 512, "1TiB": 1 << 20, " 4 GiB ": 4096,
		"": 0, "GiB": 0, "-1GiB": 0, "1": 0, "1e9GiB": 0, "1.2.3GiB": 0, "99999999999999999999TiB": 0} {
		if got := mebibytes(in); got != want {
			t.Errorf("mebibytes(%q) is %d, want %d", in, got, want)
		}
	}
	for in, want := range map[string]int64{"500m": 500, "2": 2000, "0.5": 500, "": 0, "m": 0, "-1": 0, "1x": 0} {
		if got := milli(in); got != want {
			t.Errorf("milli(%q) is %d, want %d", in, got, want)
		}
	}
}

// FuzzDecodeCluster: whatever a cluster is, it decodes to something that can be kept and shown, and
// what was kept decodes to the same again.
func FuzzDecodeCluster(f *testing.F) {
	f.Add(true, []byte(fullCluster))
	f.Add(false, []byte(fullLegacy))
	f.Add(true, []byte(`{"id":"x","a":"\u0000","b":"\ud800","c":1e400}`))
	f.Add(true, []byte(`{"id":"x","state":{"nodesUp":"9e99","phase":-1,"endpoint":{"url":"javascript:x"}}}`))
	f.Add(false, []byte(`{"id":"x","state":{"phase":"ЫЫ"},"configuration":{"tolerations":[{"key":"a","value":{}}]}}`))
	f.Add(true, []byte("{\"id\":\"x\",\"name\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, current bool, raw []byte) {
		generation := PAV1
		if current {
			generation = Current
		}
		cluster, err := DecodeCluster(generation, raw)
		if err != nil {
			return
		}
		if !isIdentifier(cluster.ID) || cluster.State.NodesUp < 0 || cluster.Configuration.Nodes < 0 {
			t.Fatalf("%+v", cluster)
		}
		if url := cluster.State.EndpointURL; url != "" && !strings.HasPrefix(url, "https://") {
			t.Fatalf("endpoint %q", url)
		}
		if !json.Valid(cluster.Raw) || !utf8.Valid(cluster.Raw) || bytes.Contains(cluster.Raw, []byte(`\u0000`)) && !bytes.Contains(cluster.Raw, []byte(`\\u0000`)) {
			t.Fatalf("raw %q", cluster.Raw)
		}
		if text := fmt.Sprintf("%+v", cluster.State) + cluster.Name; strings.Contains(text, "\x00") || !utf8.ValidString(text) {
			t.Fatalf("%q", text)
		}
		again, err := DecodeCluster(generation, cluster.Raw)
		if err != nil {
			t.Fatalf("what was kept does not decode: %v", err)
		}
		if diff := cmp.Diff(cluster, again, cmpopts.IgnoreFields(Cluster{}, "Raw")); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestNamesLookLikeThemselves: a name that turns its neighbours around, or holds what nobody sees,
// could pass for another one on a page that asks whether to delete it.
func TestNamesLookLikeThemselves(t *testing.T) {
	raw := `{"id":"c-1","accountId":"a-1","name":"\u202ednuora\u200b","labels":[{"key":"a\u2066b","value":"c\u0007d"}],
		"state":{"phase":"CLUSTER_PHASE_HEALTHY","reason":"one\ntwo\u2029three"}}`
	got, err := DecodeCluster(Current, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != `\u202ednuora\u200b` || got.State.Reason != "one\ntwo"+`\u2029three` {
		t.Errorf("name %q, reason %q", got.Name, got.State.Reason)
	}
	if diff := cmp.Diff([]Label{{Key: `a\u2066b`, Value: `c\u0007d`}}, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(got.Raw), "\u202e") && !strings.Contains(string(got.Raw), `\u202e`) {
		t.Errorf("Raw lost what was received: %s", got.Raw)
	}
	if long, err := DecodeCluster(Current, []byte(`{"id":"c-1","name":"`+strings.Repeat(`\u202e`, maxText)+`"}`)); err != nil || len(long.Name) > maxText {
		t.Errorf("a name of %d bytes, %v", len(long.Name), err)
	}
}
