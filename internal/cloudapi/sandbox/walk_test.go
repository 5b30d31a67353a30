package sandbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRandomWalk sends hundreds of random requests to one account, right and wrong ones, through
// both generations, while the clock moves. Whatever happens, every answer keeps to the
// definitions (send checks that), nothing is a 5xx, and the invariants hold.
func TestRandomWalk(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &walk{bench: setup(t), rng: rand.New(rand.NewPCG(seed, seed)), disks: map[string]float64{}, gone: map[string]bool{}, seen: map[string]int{}}
			w.f = w.fixture(0)
			for range 400 {
				w.step()
			}
			w.invariants()
			for _, want := range []string{"200", "204", "400", "404", "422"} {
				if w.seen[want] == 0 {
					t.Errorf("the walk never saw %s: %v", want, w.seen)
				}
			}
		})
	}
}

type walk struct {
	*bench
	rng   *rand.Rand
	f     Fixture
	disks map[string]float64 // disk of a cluster when last seen
	gone  map[string]bool    // clusters that were not there any more
	seen  map[string]int
}

func pick[T any](w *walk, list ...T) T { return list[w.rng.IntN(len(list))] }

// some returns the id of a cluster, mostly one that exists.
func (w *walk) some() string {
	if w.rng.IntN(20) == 0 {
		return newID()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for id := range w.accounts[w.f.CloudAccountID].clusters {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return newID()
	}
	return pick(w, ids...)
}

func (w *walk) step() {
	id, path := w.some(), clustersPath(w.f)
	w.clock = w.clock.Add(time.Duration(w.rng.IntN(12)) * time.Second)
	var got reply
	switch w.rng.IntN(14) {
	case 0, 1:
		spec := newCluster(pick(w, "walk-a", "walk-b", "x", "two words"))
		spec = edit(spec, "configuration.numberOfNodes", pick(w, 1, 2, 3, 0, 99))
		spec = edit(spec, "configuration.packageId", idOf("package", "aws", pick(w, "mx1", "mx2", "free2", "gpx1")))
		spec = edit(spec, "configuration.additionalResources", map[string]any{"disk": w.rng.IntN(3) * 10})
		got = w.create(w.f, spec)
	case 2:
		got = w.update(w.f, id, map[string]any{"configuration": map[string]any{"numberOfNodes": w.rng.IntN(5)}}, "configuration.numberOfNodes")
	case 3:
		got = w.update(w.f, id, map[string]any{"configuration": map[string]any{"additionalResources": map[string]any{"disk": w.rng.IntN(4) * 10}}}, "configuration.additionalResources.disk")
	case 4:
		got = w.update(w.f, id, map[string]any{"configuration": map[string]any{"version": pick(w, "v1.17.2", "v1.17.1", "v1.16.3", "latest", "v0.0.1", "x")}}, "configuration.version")
	case 5:
		got = w.update(w.f, id, newCluster("walk-replaced"), "")
	case 6, 7:
		got = w.call(w.f, "POST", path+"/"+id+"/"+pick(w, "restart", "suspend", "unsuspend", "enable-jwt"), nil)
	case 8:
		got = w.call(w.f, "DELETE", path+"/"+id+pick(w, "", "?deleteBackups=true", "?force=true"), nil)
	case 9:
		got = w.call(w.f, "POST", legacyPath(w.f)+"/clusters", edit(legacySpec(w.f, "walk-legacy"), pick(w, "name", "configuration.number_of_nodes"), pick[any](w, "walk-l", 2, nil)))
	case 10:
		got = w.call(w.f, "DELETE", legacyPath(w.f)+"/clusters/"+id, nil)
	case 11:
		got = w.call(w.f, "GET", legacyPath(w.f)+"/clusters", nil)
	case 12:
		got = w.call(w.f, "GET", path+fmt.Sprintf("?pageSize=%d", 1+w.rng.IntN(4)), nil)
	case 13:
		got = w.call(w.f, "GET", path+"/"+id, nil)
	}
	w.seen[fmt.Sprint(got.status)]++
	if got.status >= 500 {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	if w.rng.IntN(5) == 0 {
		w.invariants()
	}
}

// invariants: what is true of every listing.
func (w *walk) invariants() {
	w.t.Helper()
	list := w.call(w.f, "GET", clustersPath(w.f), nil).want(w.t, 200)
	items, _ := list.get("items").([]any)
	here := map[string]bool{}
	for i := range items {
		at := func(path ...any) any { return list.get(append([]any{"items", i}, path...)...) }
		id, phase := at("id").(string), strings.TrimPrefix(at("state", "phase").(string), "CLUSTER_PHASE_")
		here[id] = true
		if w.gone[id] {
			w.t.Errorf("cluster %s came back", id)
		}
		up, _ := at("state", "nodesUp").(float64)
		nodes, _ := at("state", "nodes").([]any)
		asked, _ := at("configuration", "numberOfNodes").(float64)
		healthy := 0
		for n := range nodes {
			if at("state", "nodes", n, "state") == "CLUSTER_NODE_STATE_HEALTHY" {
				healthy++
			}
		}
		if int(up) != healthy {
			w.t.Errorf("%s: nodesUp %v, %d healthy", id, up, healthy)
		}
		if phase == "HEALTHY" && up != asked || phase == "SUSPENDED" && up != 0 {
			w.t.Errorf("%s is %s with %v of %v nodes", id, phase, up, asked)
		}
		if (phase == "DELETING") != (at("deletedAt") != nil) {
			w.t.Errorf("%s is %s with deletedAt %v", id, phase, at("deletedAt"))
		}
		base, _ := at("state", "resources", "disk", "base").(float64)
		extra, _ := at("state", "resources", "disk", "additional").(float64)
		if disk := base + extra; disk < w.disks[id] {
			w.t.Errorf("the disk of %s shrank from %v to %v", id, w.disks[id], disk)
		} else {
			w.disks[id] = disk
		}
	}
	for id := range w.disks {
		if !here[id] {
			w.gone[id] = true
		}
	}
	quota := w.accounts[w.f.CloudAccountID].quotas.Clusters
	if len(items) > quota {
		w.t.Errorf("%d clusters, the quota is %d", len(items), quota)
	}
}
