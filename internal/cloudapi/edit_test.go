package cloudapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// maker makes random resources and edits; the same seed makes the same.
type maker struct{ *rand.Rand }

func newMaker(seed uint64) maker { return maker{rand.New(rand.NewPCG(seed, 7))} }

func (m maker) yes() bool { return m.IntN(2) == 0 }

// unknown is a value of a member that no client has heard of.
func (m maker) unknown(depth int) any {
	switch m.IntN(8) {
	case 0:
		return fmt.Sprint(m.Int64()) // int64 as a string
	case 1:
		return json.Number(fmt.Sprint(m.Int64()))
	case 2:
		return json.Number(fmt.Sprint(m.Float64() * 1e9))
	case 3:
		return []any{true, false, nil}[m.IntN(3)]
	case 4:
		return []string{"", "<script>", "a\"b\\c\n", "ümlaut", "NEW_ENUM_VALUE_" + fmt.Sprint(m.IntN(9))}[m.IntN(5)]
	}
	if depth > 3 {
		return "deep"
	}
	if m.yes() {
		list := make([]any, m.IntN(3))
		for i := range list {
			list[i] = m.unknown(depth + 1)
		}
		return list
	}
	object := map[string]any{}
	m.strange(object, depth+1)
	return object
}

// strange adds members that no client has heard of, some under names that are known elsewhere.
func (m maker) strange(object map[string]any, depth int) {
	for range m.IntN(4) {
		object[[]string{"futureMember", "later_member", "x-Odd Name", "новое", "aB1", "disk2", "labels2", "spec"}[m.IntN(8)]+fmt.Sprint(m.IntN(3))] = m.unknown(depth)
	}
}

// enumValue is a value of a setting by name, by number, or one that is new.
func (m maker) enumValue(member string) any {
	of := settingEnums[member]
	i := m.IntN(len(of.names))
	switch m.IntN(3) {
	case 0:
		return json.Number(fmt.Sprint(i + 1))
	case 1:
		return of.prefix + "NEW"
	}
	return of.prefix + of.names[i]
}

// member adds a documented member, or leaves it out.
func (m maker) member(object map[string]any, name string, value any) {
	if m.IntN(4) > 0 {
		object[name] = value
	}
}

func (m maker) number(most int) any {
	n := fmt.Sprint(m.IntN(most) + 1)
	if m.yes() {
		return n
	}
	return json.Number(n)
}

func (m maker) labelled() []any {
	list := []any{}
	for i := range m.IntN(4) {
		pair := map[string]any{"key": fmt.Sprintf("key-%d", i), "value": fmt.Sprintf("value-%d", m.IntN(3))}
		m.strange(pair, 2)
		list = append(list, pair)
	}
	return list
}

// cluster is a resource as a later release of the API may have it, with some members in snake_case.
func (m maker) cluster(generation Generation) map[string]any {
	object := func(fill func(map[string]any)) map[string]any {
		o := map[string]any{}
		fill(o)
		m.strange(o, 1)
		return o
	}
	if generation == PAV1 {
		return m.legacyCluster(object)
	}
	made := object(func(c map[string]any) {
		c["id"] = clusterID
		m.member(c, "name", "name-"+fmt.Sprint(m.IntN(3)))
		m.member(c, "costAllocationLabel", "cc-"+fmt.Sprint(m.IntN(3)))
		m.member(c, "labels", m.labelled())
		c["state"] = object(func(s map[string]any) { s["phase"] = "CLUSTER_PHASE_HEALTHY" })
		m.member(c, "configuration", object(func(conf map[string]any) {
			m.member(conf, "numberOfNodes", m.number(9))
			m.member(conf, "packageId", accountID)
			m.member(conf, "version", "v1.15.4")
			m.member(conf, "lastModifiedAt", "2026-01-02T03:04:05.678Z")
			m.member(conf, "allowedIpSourceRanges", []any{"192.0.2.0/24"})
			m.member(conf, "restartPolicy", m.enumValue("restartPolicy"))
			m.member(conf, "rebalanceStrategy", m.enumValue("rebalanceStrategy"))
			m.member(conf, "additionalResources", object(func(o map[string]any) { m.member(o, "disk", m.number(64)) }))
			m.member(conf, "databaseConfiguration", object(func(db map[string]any) {
				m.member(db, "logLevel", m.enumValue("logLevel"))
				m.member(db, "collection", object(func(o map[string]any) {
					m.member(o, "replicationFactor", m.number(3))
					m.member(o, "writeConsistencyFactor", m.number(3))
					m.member(o, "vectors", object(func(o map[string]any) { m.member(o, "onDisk", m.yes()) }))
				}))
			}))
		}))
	})
	return m.spellings(made)
}

func (m maker) legacyCluster(object func(func(map[string]any)) map[string]any) map[string]any {
	return object(func(c map[string]any) {
		c["id"], c["account_id"] = clusterID, accountID
		m.member(c, "name", "name-"+fmt.Sprint(m.IntN(3)))
		m.member(c, "url", nil)
		c["state"] = object(func(s map[string]any) { s["phase"] = "Healthy" })
		m.member(c, "configuration", object(func(conf map[string]any) {
			m.member(conf, "number_of_nodes", m.number(9))
			m.member(conf, "version", "v1.15.4")
			m.member(conf, "allowed_ip_source_ranges", []any{"192.0.2.0/24"})
			m.member(conf, "node_configuration", object(func(o map[string]any) {
				m.member(o, "package_id", accountID)
				m.member(o, "resource_configurations", []any{
					object(func(r map[string]any) { r["resource_type"], r["amount"] = "snapshot", m.number(9) }), legacyDisk(m.IntN(9) + 1),
				})
			}))
			m.member(conf, "qdrant_configuration", object(func(db map[string]any) {
				m.member(db, "collection", object(func(o map[string]any) {
					m.member(o, "replication_factor", m.number(3))
					m.member(o, "write_consistency_factor", nil)
					m.member(o, "vectors", object(func(o map[string]any) { m.member(o, "on_disk", m.yes()) }))
				}))
			}))
		}))
	})
}

// spellings writes some members of each object in snake_case.
func (m maker) spellings(object map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range sortedNames(object) {
		v := object[name]
		if inner, ok := v.(map[string]any); ok && !strings.HasPrefix(name, "future") {
			v = m.spellings(inner)
		}
		if m.yes() && !strings.ContainsAny(name, " _") {
			name = snakeCase(name)
		}
		out[name] = v
	}
	return out
}

// edit is a random edit with at least one setting.
func (m maker) edit(generation Generation) ClusterEdit {
	var e ClusterEdit
	for e.Empty() {
		maybe(m, &e.Name, "new-name", "n2")
		maybe(m, &e.Nodes, 1, 12)
		maybe(m, &e.PackageID, clusterID, accountID)
		maybe(m, &e.Version, "v1.17.2", "latest")
		maybe(m, &e.AdditionalDiskGiB, 0, 7)
		maybe(m, &e.AllowedIPs, nil, []string{"198.51.100.0/24", "203.0.113.1/32"})
		maybe(m, &e.ReplicationFactor, 0, 2)
		maybe(m, &e.WriteConsistencyFactor, 0, 1)
		maybe(m, &e.VectorsOnDisk, false, true)
		if generation == PAV1 {
			continue
		}
		maybe(m, &e.Labels, nil, []Label{{"key-1", "value-0"}, {"new", "<b>"}, {"key-0", "changed"}})
		maybe(m, &e.CostAllocationLabel, "", "cc-new")
		maybe(m, &e.RestartPolicy, "", "PARALLEL")
		maybe(m, &e.RebalanceStrategy, "", "DISABLED")
	}
	return e
}

func maybe[T any](m maker, into **T, values ...T) {
	if m.IntN(3) == 0 {
		*into = &values[m.IntN(len(values))]
	}
}

// paths are where each setting of an edit stands, and whether it is taken away.
func (e ClusterEdit) paths(generation Generation) map[string]bool {
	paths := map[string]bool{}
	add := func(set, cleared bool, current, legacy string) {
		switch {
		case !set:
		case generation == Current:
			paths[current] = cleared
		default:
			paths[legacy] = cleared
		}
	}
	const c = "configuration."
	add(e.Name != nil, false, "name", "name")
	add(e.Labels != nil, false, "labels", "")
	add(e.CostAllocationLabel != nil, e.CostAllocationLabel != nil && *e.CostAllocationLabel == "", "costAllocationLabel", "")
	add(e.Nodes != nil, false, c+"numberOfNodes", c+"number_of_nodes")
	add(e.PackageID != nil, false, c+"packageId", c+"node_configuration.package_id")
	add(e.Version != nil, false, c+"version", c+"version")
	add(e.AdditionalDiskGiB != nil, false, c+"additionalResources.disk", c+"node_configuration.resource_configurations")
	add(e.AllowedIPs != nil, false, c+"allowedIpSourceRanges", c+"allowed_ip_source_ranges")
	add(e.ReplicationFactor != nil, e.ReplicationFactor != nil && *e.ReplicationFactor == 0, c+"databaseConfiguration.collection.replicationFactor", c+"qdrant_configuration.collection.replication_factor")
	add(e.WriteConsistencyFactor != nil, e.WriteConsistencyFactor != nil && *e.WriteConsistencyFactor == 0, c+"databaseConfiguration.collection.writeConsistencyFactor", c+"qdrant_configuration.collection.write_consistency_factor")
	add(e.VectorsOnDisk != nil, false, c+"databaseConfiguration.collection.vectors.onDisk", c+"qdrant_configuration.collection.vectors.on_disk")
	add(e.RestartPolicy != nil, e.RestartPolicy != nil && *e.RestartPolicy == "", c+"restartPolicy", "")
	add(e.RebalanceStrategy != nil, e.RebalanceStrategy != nil && *e.RebalanceStrategy == "", c+"rebalanceStrategy", "")
	return paths
}

// flat is a resource as its scalars and lists by path, names as written. Objects without members are
// there, too.
func flat(v any) map[string]string {
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		object, ok := v.(map[string]any)
		if !ok || len(object) == 0 {
			text, err := json.Marshal(v)
			if err != nil {
				text = []byte(err.Error())
			}
			out[path] = string(text)
			return
		}
		for name, inner := range object {
			walk(strings.TrimPrefix(path+"."+name, "."), inner)
		}
	}
	walk("", v)
	return out
}

// documentedPath is a path by the documented names.
func documentedPath(generation Generation, path string) string {
	if generation == PAV1 {
		return path
	}
	parts := strings.Split(path, ".")
	for i := range parts {
		parts[i] = lowerCamel(parts[i])
	}
	return strings.Join(parts, ".")
}

// apply makes an edit as UpdateCluster does.
func (e ClusterEdit) apply(generation Generation, raw json.RawMessage) (map[string]any, []string, error) {
	if generation == PAV1 {
		resource, err := e.applyLegacy(raw)
		return resource, nil, err
	}
	return e.applyCurrent(raw)
}

// TestAnEditChangesWhatWasAskedAndNothingElse applies random edits to random resources full of what
// this release has never heard of.
func TestAnEditChangesWhatWasAskedAndNothingElse(t *testing.T) {
	for _, generation := range []Generation{Current, PAV1} {
		for seed := range uint64(1500) {
			m := newMaker(seed)
			made := m.cluster(generation)
			read, err := DecodeCluster(generation, mustMarshal(t, made))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			e := m.edit(generation)
			checkEdit(t, generation, read, e)
			if t.Failed() {
				t.Fatalf("%s, seed %d: %s\nedited by %+v", generation, seed, read.Raw, e)
			}
		}
	}
}

// checkEdit applies an edit and compares the resource before and after.
func checkEdit(t *testing.T, generation Generation, read Cluster, e ClusterEdit) {
	t.Helper()
	resource, mask, err := e.apply(generation, read.Raw)
	if err != nil {
		t.Fatal(err)
	}
	wanted := e.paths(generation)
	if generation == Current {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(wanted)), slices.Sorted(slices.Values(mask))); diff != "" {
			t.Errorf("mask (-want +got)\n%s", diff)
		}
	}
	before, after := flat(mustParse(t, read.Raw)), flat(resource)
	asked := func(path string) bool {
		path = documentedPath(generation, path)
		for wanted := range wanted {
			// What was no object on the way to a setting becomes one.
			if path == wanted || strings.HasPrefix(wanted, path+".") || strings.HasPrefix(path, wanted+".") {
				return true
			}
		}
		return false
	}
	for path, value := range before {
		if got, there := after[path]; !asked(path) && (!there || got != value) {
			t.Errorf("%s was %s and is %s", path, value, got)
		}
	}
	for path, value := range after {
		if _, there := before[path]; !asked(path) && !there {
			t.Errorf("%s appeared: %s", path, value)
		}
	}
	spelt := map[string]int{}
	for path := range after {
		if wanted, is := wanted[documentedPath(generation, path)]; is {
			spelt[documentedPath(generation, path)]++
			if wanted && generation == Current {
				t.Errorf("%s was to be taken away", path)
			}
		}
	}
	for path, n := range spelt {
		if n > 1 {
			t.Errorf("%s is there in %d spellings", path, n)
		}
	}
	again, err := DecodeCluster(generation, mustMarshal(t, resource))
	if err != nil {
		t.Fatal(err)
	}
	wantSettings(t, e, read, again)
}

// wantSettings checks that each setting reads as it was asked for, and the others as before.
func wantSettings(t *testing.T, e ClusterEdit, before, after Cluster) {
	t.Helper()
	want := before
	override(&want.Name, e.Name)
	override(&want.Labels, e.Labels)
	override(&want.CostAllocationLabel, e.CostAllocationLabel)
	override(&want.Configuration.Nodes, e.Nodes)
	override(&want.Configuration.PackageID, e.PackageID)
	override(&want.Configuration.Version, e.Version)
	override(&want.Configuration.AdditionalDiskGiB, e.AdditionalDiskGiB)
	override(&want.Configuration.AllowedIPs, e.AllowedIPs)
	override(&want.Configuration.ReplicationFactor, e.ReplicationFactor)
	override(&want.Configuration.WriteConsistencyFactor, e.WriteConsistencyFactor)
	override(&want.Configuration.VectorsOnDisk, e.VectorsOnDisk)
	override(&want.Configuration.RestartPolicy, e.RestartPolicy)
	override(&want.Configuration.RebalanceStrategy, e.RebalanceStrategy)
	if diff := cmp.Diff(want, after, withoutRaw, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Configuration{}, "Settings")); diff != "" {
		t.Errorf("decoded (-want +got)\n%s", diff)
	}
}

func override[T any](into *T, wanted *T) {
	if wanted != nil {
		*into = *wanted
	}
}

func TestLabelsThatStayKeepWhatIsUnknownOfThem(t *testing.T) {
	read := json.RawMessage(`{"id":"x","labels":[{"key":"a","value":"1","color":"red"},{"key":"b","value":"2","color":"blue"},{"key":"c","value":"3"}]}`)
	labels := []Label{{"b", "2"}, {"a", "changed"}, {"new", "4"}}
	resource, mask, err := ClusterEdit{Labels: &labels}.applyCurrent(read)
	if err != nil || !slices.Equal(mask, []string{"labels"}) {
		t.Fatal(mask, err)
	}
	want := `[{"color":"blue","key":"b","value":"2"},{"color":"red","key":"a","value":"changed"},{"key":"new","value":"4"}]`
	if got := string(mustMarshal(t, resource["labels"])); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAnEditOfNothingIsNoEdit(t *testing.T) {
	for _, generation := range []Generation{Current, PAV1} {
		if _, _, err := (ClusterEdit{}).apply(generation, json.RawMessage(`{"id":"x"}`)); err == nil {
			t.Errorf("%s: nothing was to be changed, and an empty mask replaces everything", generation)
		}
	}
}

// TestRevision: it is the same however a cluster is spelt and whatever its state, and another one
// after any change else.
func TestRevision(t *testing.T) {
	for _, generation := range []Generation{Current, PAV1} {
		for seed := range uint64(400) {
			m := newMaker(seed)
			made := m.cluster(generation)
			revision := revisionOf(t, generation, made)
			if generation == Current {
				respelt := respell(respell(made, lowerCamel, unchanged), same[string], func(member string, v any) any {
					return respeltValue(settingEnums[member], v)
				})
				if got := revisionOf(t, generation, respelt); got != revision {
					t.Fatalf("seed %d: spelt differently it is another revision\n%s\n%s", seed, mustMarshal(t, made), mustMarshal(t, respelt))
				}
			}
			unset := maps.Clone(made)
			unset["anUnsetOne"], unset["anUnsetList"], unset["anUnsetTime"], unset["anUnsetEnum"], unset["anUnsetMessage"] = nil, []any{}, "0001-01-01T00:00:00Z", "A_UNSPECIFIED", map[string]any{"x": 0, "y": ""}
			if got := revisionOf(t, generation, unset); got != revision {
				t.Fatalf("seed %d: what is not set makes another revision", seed)
			}
			moved := maps.Clone(made)
			moved["state"] = map[string]any{"phase": "SOMETHING", "nodesUp": 7}
			if got := revisionOf(t, generation, moved); got != revision {
				t.Fatalf("seed %d: the state makes another revision", seed)
			}
			for path := range flat(made) {
				if strings.HasPrefix(path, "state.") || path == "state" || path == "id" || generation == PAV1 && path == "url" {
					continue
				}
				changed := mustParse(t, mustMarshal(t, made)).(map[string]any)
				setPath(changed, strings.Split(path, "."), "changed by somebody")
				if revisionOf(t, generation, changed) == revision {
					t.Fatalf("seed %d: %s was changed and the revision stays", seed, path)
				}
			}
		}
	}
	long := map[string]any{"id": "x", "note": strings.Repeat("a", 3000)}
	longer := map[string]any{"id": "x", "note": strings.Repeat("a", 3000) + "b"}
	if revisionOf(t, Current, long) == revisionOf(t, Current, longer) {
		t.Error("the end of a long text makes no other revision")
	}
	if got := (Cluster{Raw: json.RawMessage("[]")}).Revision(); got != "" {
		t.Errorf("what is no resource has the revision %s", got)
	}
}

// respeltValue writes an enum the other way, and a number as a string.
func respeltValue(of enum, v any) any {
	text := scalar(v)
	if len(of.names) > 0 {
		for i, name := range of.names {
			if text == of.prefix+name {
				return json.Number(fmt.Sprint(i + 1))
			}
			if text == fmt.Sprint(i+1) {
				return of.prefix + name
			}
		}
	}
	if number, is := v.(json.Number); is {
		return number.String()
	}
	return v
}

func setPath(object map[string]any, path []string, value any) {
	// A name may hold dots itself.
	for n := len(path); n > 0; n-- {
		name := strings.Join(path[:n], ".")
		inner, there := object[name]
		if !there {
			continue
		}
		if next, isObject := inner.(map[string]any); isObject && n < len(path) && len(next) > 0 {
			setPath(next, path[n:], value)
			return
		}
		object[name] = value
		return
	}
}

func revisionOf(t *testing.T, generation Generation, resource any) string {
	t.Helper()
	c, err := DecodeCluster(generation, mustMarshal(t, resource))
	if err != nil {
		t.Fatal(err)
	}
	revision := c.Revision()
	if len(revision) != 32 {
		t.Fatalf("revision %q", revision)
	}
	return revision
}

// FuzzClusterEdit: whatever upstream answers, an edit changes what was asked and nothing else, and the
// revision is that of what is kept.
func FuzzClusterEdit(f *testing.F) {
	f.Add(true, uint64(1), []byte(fullCluster))
	f.Add(false, uint64(2), []byte(fullLegacy))
	f.Add(true, uint64(3), []byte(`{"id":"x","configuration":null,"labels":[1,{"key":"a"},null]}`))
	f.Add(true, uint64(4), []byte(`{"id":"x","configuration":[],"labels":"no list","number_of_nodes":{}}`))
	f.Add(false, uint64(5), []byte(`{"id":"x","configuration":{"node_configuration":{"resource_configurations":[{"resource_type":"disk"},7]}}}`))
	f.Fuzz(func(t *testing.T, current bool, seed uint64, raw []byte) {
		generation := PAV1
		if current {
			generation = Current
		}
		read, err := DecodeCluster(generation, raw)
		if err != nil {
			return
		}
		revision := read.Revision()
		again, err := DecodeCluster(generation, read.Raw)
		if err != nil || revision == "" || again.Revision() != revision {
			t.Fatalf("revisions %q and %q, %v", revision, again.Revision(), err)
		}
		e := newMaker(seed).edit(generation)
		resource, _, err := e.apply(generation, read.Raw)
		if err != nil {
			t.Fatal(err)
		}
		after, err := DecodeCluster(generation, mustMarshal(t, resource))
		if err != nil {
			t.Fatalf("what is sent does not decode: %v", err)
		}
		if e.Name != nil && after.Name != *e.Name || e.Nodes != nil && after.Configuration.Nodes != *e.Nodes || e.Version != nil && after.Configuration.Version != *e.Version {
			t.Fatalf("%+v made %s", e, after.Raw)
		}
		before, sent := flat(mustParse(t, read.Raw)), flat(resource)
		for path, value := range before {
			asked := false
			for wanted := range e.paths(generation) {
				documented := documentedPath(generation, path)
				asked = asked || documented == wanted || strings.HasPrefix(wanted, documented+".") || strings.HasPrefix(documented, wanted+".")
			}
			if got, there := sent[path]; !asked && (!there || got != value) {
				t.Fatalf("%s was %s and is %s", path, value, got)
			}
		}
	})
}
