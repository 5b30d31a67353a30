package accounts

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/audit"
)

// TestWhatNobodyHasHeardOfSurvivesAChange sends random changes of resources with members of a later
// release through form, act and client: what arrives upstream is what was read and can be written, but for what was asked,
// and the mask names just that.
func TestWhatNobodyHasHeardOfSurvivesAChange(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "Search", Staging)
	by := audit.Actor{Issuer: "https://idp.example.test", Subject: "a", Name: "Ada Admin", Groups: []string{"admins"}, Via: audit.ViaBrowser}
	paths := map[string]string{ // where upstream has a setting
		"name": "name", "labels": "labels", "cost_allocation_label": "costAllocationLabel", "nodes": "configuration.numberOfNodes",
		"additional_disk_gib": "configuration.additionalResources.disk", "allowed_ips": "configuration.allowedIpSourceRanges",
		"replication_factor":       "configuration.databaseConfiguration.collection.replicationFactor",
		"write_consistency_factor": "configuration.databaseConfiguration.collection.writeConsistencyFactor",
		"vectors_on_disk":          "configuration.databaseConfiguration.collection.vectors.onDisk",
		"restart_policy":           "configuration.restartPolicy", "rebalance_strategy": "configuration.rebalanceStrategy",
	}
	values := map[string]string{
		"name": "changed", "labels": "a=b\nnew=x", "cost_allocation_label": "cc", "nodes": "7", "additional_disk_gib": "99", "allowed_ips": "203.0.113.0/24",
		"replication_factor": "5", "write_consistency_factor": "4", "vectors_on_disk": "yes", "restart_policy": "AUTOMATIC", "rebalance_strategy": "BY_COUNT",
	}
	names := slices.Sorted(maps.Keys(paths))
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 3))
		at.set(func(a *scriptedAccount) { a.clusters, a.sent = nil, nil })
		at.add(1)
		var before map[string]any
		at.set(func(a *scriptedAccount) {
			before = a.clusters[0].json(a.id)
			strange(random, before, 0)
			a.clusters[0].Extra = before
		})
		r.refresh(t, r.svc, id)
		r.exec(t, `UPDATE management_keys SET permissions = '{read:clusters,write:clusters}'`)
		ref := ClusterRef{AccountID: id, ClusterID: at.clusters[0].ID}
		page, err := r.svc.AskClusterUpdate(t.Context(), by, ref)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		form := ClusterUpdateForm{Revision: page.Revision, Started: EncodeStarted(page.Values), Fields: maps.Clone(page.Values)}
		var mask []string
		for _, name := range names {
			if random.IntN(3) == 0 {
				form.Fields[name] = values[name]
				mask = append(mask, paths[name])
			}
		}
		if mask == nil {
			continue
		}
		if err := r.svc.UpdateCluster(t.Context(), by, ref, form); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var sent []map[string]any
		at.set(func(a *scriptedAccount) { sent = a.sent })
		if len(sent) != 1 {
			t.Fatalf("seed %d: %d changes were sent", seed, len(sent))
		}
		told, _ := sent[0]["updateMask"].(string)
		if diff := cmp.Diff(slices.Sorted(slices.Values(mask)), slices.Sorted(slices.Values(strings.Split(told, ",")))); diff != "" {
			t.Errorf("seed %d: mask (-want +got)\n%s", seed, diff)
		}
		was, is := leaves(t, before), leaves(t, sent[0]["cluster"])
		for path, value := range was {
			if got := is[path]; got != value && !askedFor(mask, path) && !onlyUpstreamWrites(path) {
				t.Errorf("seed %d: %s was %s and is sent as %s", seed, path, value, got)
			}
		}
		for path := range is {
			if _, there := was[path]; (!there || onlyUpstreamWrites(path)) && !askedFor(mask, path) {
				t.Errorf("seed %d: %s is sent and nobody asked for it", seed, path)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// strange adds members that this release has never heard of, at every depth.
func strange(random *rand.Rand, object map[string]any, depth int) {
	for _, inner := range object {
		if next, ok := inner.(map[string]any); ok {
			strange(random, next, depth+1)
		}
	}
	for i := range random.IntN(3) {
		var value any
		switch random.IntN(6) {
		case 0:
			value = fmt.Sprint(random.Int64())
		case 1:
			value = random.IntN(9)
		case 2:
			value = "SOME_NEW_ENUM_" + fmt.Sprint(random.IntN(3))
		case 3:
			value = []any{map[string]any{"a_b": 1.5}, "x", nil, false}
		case 4:
			value = "<b>\"';\n"
		default:
			next := map[string]any{}
			if depth < 4 {
				strange(random, next, depth+1)
			}
			value = next
		}
		object[[]string{"laterMember", "later_still", "x.y"}[random.IntN(3)]+fmt.Sprint(i)] = value
	}
}

// onlyUpstreamWrites reports whether a path leads to what is read-only, or is in the address of a change.
func onlyUpstreamWrites(path string) bool {
	return slices.Contains([]string{"id", "accountId", "createdAt", "deletedAt", "state", "configuration.lastModifiedAt"}, path) || strings.HasPrefix(path, "state.")
}

// leaves are the scalars, lists and empty objects of a resource, by path.
func leaves(t *testing.T, v any) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		object, ok := v.(map[string]any)
		if ok && len(object) > 0 {
			for name, inner := range object {
				walk(strings.TrimPrefix(path+"."+name, "."), inner)
			}
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[path] = string(text)
	}
	walk("", v)
	return out
}

// askedFor reports whether a path is one that was asked for, below it, or on the way to it.
func askedFor(mask []string, path string) bool {
	return slices.ContainsFunc(mask, func(asked string) bool {
		return path == asked || strings.HasPrefix(path, asked+".") || strings.HasPrefix(asked, path+".")
	})
}
