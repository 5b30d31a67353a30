package sandbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestRandomWalk sends hundreds of random requests to one account, right and wrong ones, about
// clusters, their keys and their backups, through both generations, while the clock moves. Whatever happens, every answer keeps to the
// definitions (send checks that), nothing is a 5xx, and the invariants hold.
func TestRandomWalk(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &walk{bench: setup(t), rng: rand.New(rand.NewPCG(seed, seed)), disks: map[string]float64{}, gone: map[string]bool{}, seen: map[string]int{}, secrets: map[string]string{}}
			w.f = w.fixture(0)
			for range 400 {
				w.step()
			}
			w.invariants()
			if len(w.secrets) == 0 {
				t.Error("the walk never made a key")
			}
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
	// secrets are the keys that were made, by id, whose secrets nothing may show again.
	secrets map[string]string
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
	if w.rng.IntN(40) == 0 {
		w.clock = w.clock.Add(time.Duration(w.rng.IntN(72)) * time.Hour)
	}
	switch w.rng.IntN(25) {
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
	case 14, 15:
		key := newKey(id, pick(w, "walk one", "walk-two", "x", "a/b"))
		key["accessRules"] = pick(w, []any{}, []any{globalRule("READ_ONLY")}, []any{collectionRule("products", "READ_WRITE"), collectionRule("x", "READ_ONLY")}, []any{globalRule("MANAGE"), collectionRule("x", "READ_ONLY")})
		key = edit(key, "expiresAt", pick[any](w, nil, w.clock.Add(time.Minute).Format(time.RFC3339), w.clock.Add(-time.Minute).Format(time.RFC3339)))
		got = w.makeKey(w.f, 2, key)
		w.remember(got.get("databaseApiKey", "id"), got.get("databaseApiKey", "key"))
	case 16:
		got = w.makeKey(w.f, 1, map[string]any{"clusterIds": []any{id, w.some()}})
		w.remember(got.get("databaseApiKey", "id"), got.get("databaseApiKey", "key"))
	case 17:
		got = w.call(w.f, "POST", legacyPath(w.f)+"/auth/api-keys", map[string]any{"cluster_ids": pick(w, []any{id}, []any{})})
		w.remember(got.get("id"), got.get("token"))
	case 19:
		got = w.makeBackup(w.f, id, pick(w, "walk-backup", "walk-other", "x", "two words"), map[string]any{"retentionPeriod": pick(w, "86400s", "172800s", "1s")})
	case 20:
		got = w.makeSchedule(w.f, id, pick(w, "@hourly", "*/30 * * * *", "@every 5h", "*****", "x"), pick(w, map[string]any{"retentionPeriod": "86400s"}, nil))
	case 21:
		got = w.call(w.f, "DELETE", backupsPath(w.f)+"/"+w.someBackup()+pick(w, "", "?force=true"), nil)
	case 22:
		got = w.call(w.f, "POST", backupsPath(w.f)+"/"+w.someBackup()+"/restore", nil)
	case 23:
		schedule, cluster := w.someSchedule(id)
		change := map[string]any{"clusterId": cluster, "schedule": pick(w, "@every 2h", "0 0 31 2 *", "61 * * * *")}
		got = w.call(w.f, "PUT", schedulesPath(w.f)+"/"+schedule, map[string]any{"backupSchedule": change, "updateMask": pick(w, "schedule", "", "displayName")})
	case 24:
		schedule, _ := w.someSchedule(id)
		got = w.call(w.f, "DELETE", schedulesPath(w.f)+"/"+schedule+pick(w, "", "?deleteBackups=true"), nil)
	case 18:
		key := "/" + w.someKey()
		got = w.call(w.f, "DELETE", pick(w, keysPath(w.f, 1)+key, keysPath(w.f, 2)+key, keysPath(w.f, 2)+key+"?clusterId="+id, legacyPath(w.f)+"/auth/api-keys"+key), nil)
	}
	w.seen[fmt.Sprint(got.status)]++
	if got.status >= 500 {
		w.t.Fatalf("%d %s", got.status, got.body)
	}
	if w.rng.IntN(5) == 0 {
		w.invariants()
	}
}

func (w *walk) remember(id, secret any) {
	if s, ok := secret.(string); ok {
		w.secrets[id.(string)] = s
	}
}

// someBackup returns the id of a backup, mostly one that exists.
func (w *walk) someBackup() string {
	a := w.look(w.f)
	if len(a.backups) == 0 || w.rng.IntN(20) == 0 {
		return newID()
	}
	return a.backups[w.rng.IntN(len(a.backups))].id.String()
}

// someSchedule returns the ids of a schedule and of its cluster, mostly ones that exist.
func (w *walk) someSchedule(cluster string) (id, of string) {
	a := w.look(w.f)
	if len(a.schedules) == 0 || w.rng.IntN(20) == 0 {
		return newID(), cluster
	}
	sch := a.schedules[w.rng.IntN(len(a.schedules))]
	return sch.id.String(), sch.cluster
}

// backupInvariants: schedules are of clusters that are there, no schedule has more backups than are kept or one beyond its
// retention, and a cluster is restored while one of its restores runs.
func (w *walk) backupInvariants(clusters map[string]bool) {
	w.t.Helper()
	a := w.look(w.f)
	for _, sch := range a.schedules {
		if !clusters[sch.cluster] {
			w.t.Errorf("schedule %s is of the cluster %s, which is not there", sch.id, sch.cluster)
		}
	}
	w.call(w.f, "GET", backupsPath(w.f)+"?pageSize=20", nil).want(w.t, 200)
	now, count := w.now(), map[uuid.UUID]int{}
	for _, x := range a.backups {
		count[x.schedule]++
		if x.made.After(now) || x.retention > 0 && !x.made.Add(x.retention).After(now) || x.ends.Before(x.made) {
			w.t.Errorf("at %s there is a backup that was made at %s, ended at %s and is kept for %s", now, x.made, x.ends, x.retention)
		}
	}
	delete(count, uuid.Nil)
	for schedule, n := range count {
		if n > keptBackups {
			w.t.Errorf("schedule %s has %d backups", schedule, n)
		}
	}
	for _, x := range a.restores {
		c := a.clusters[x.cluster.String()]
		if now.Before(x.ends) && (c == nil || c.restore != x || c.phase != phaseUpdating && c.phase != phaseCreating) {
			w.t.Errorf("restore %s runs and its cluster does not: %+v", x.id, c)
		}
	}
}

// someKey returns the id of a key of either version.
func (w *walk) someKey() string {
	ids := append(w.keyIDs(w.f, 1, ""), w.keyIDs(w.f, 2, "")...)
	slices.Sort(ids)
	if len(ids) == 0 {
		return newID()
	}
	return pick(w, ids...)
}

// keyInvariants: keys belong to clusters that are there, no more of them than the quota, and no
// listing shows a secret.
func (w *walk) keyInvariants(clusters map[string]bool) {
	w.t.Helper()
	count := map[string]int{}
	check := func(path, cluster string) {
		if !clusters[cluster] {
			w.t.Errorf("%s has a key for the cluster %s, which is not there", path, cluster)
		}
		count[path+cluster]++
	}
	v1, v2 := w.call(w.f, "GET", keysPath(w.f, 1), nil).want(w.t, 200), w.call(w.f, "GET", keysPath(w.f, 2), nil).want(w.t, 200)
	items, _ := v1.get("items").([]any)
	for i := range items {
		for _, id := range v1.get("items", i, "clusterIds").([]any) {
			check("v1/", id.(string))
		}
	}
	items, _ = v2.get("items").([]any)
	for i := range items {
		check("v2/", v2.get("items", i, "clusterId").(string))
	}
	legacy := w.call(w.f, "GET", legacyPath(w.f)+"/auth/api-keys", nil).want(w.t, 200)
	for id, secret := range w.secrets {
		for _, list := range []reply{v1, v2, legacy} {
			if bytes.Contains(list.body, []byte(secret)) {
				w.t.Errorf("a listing shows the secret of key %s", id)
			}
		}
	}
	for where, n := range count {
		if quota := w.accounts[w.f.CloudAccountID].quotas.DatabaseKeys; n > quota {
			w.t.Errorf("%d keys at %s, the quota is %d", n, where, quota)
		}
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
	w.keyInvariants(here)
	w.backupInvariants(here)
	quota := w.accounts[w.f.CloudAccountID].quotas.Clusters
	if len(items) > quota {
		w.t.Errorf("%d clusters, the quota is %d", len(items), quota)
	}
}
