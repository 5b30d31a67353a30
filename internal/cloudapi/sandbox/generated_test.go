package sandbox

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestGeneratedFleet: one seed makes one fleet, whichever start it is, with everything that a list is narrowed by.
func TestGeneratedFleet(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	made := func(seed int64) (*Sandbox, []string) {
		box, err := New(Config{Seed: seed, Accounts: 40, Clusters: 2000, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { box.Close() }) //nolint:errcheck // it keeps no file
		var content []string
		for id, a := range box.accounts {
			for _, c := range a.clusters {
				content = append(content, fmt.Sprint(id, c.id, c.name(), c.phase, c.provider(), c.region(), c.running, c.createdAt, c.spec["labels"]))
			}
		}
		slices.Sort(content)
		return box, content
	}
	box, first := made(4)
	if _, again := made(4); !slices.Equal(first, again) {
		t.Error("the same seed made another fleet")
	}
	if _, other := made(5); slices.Equal(first, other) {
		t.Error("another seed made the same fleet")
	}
	kinds := map[string]map[any]int{"phase": {}, "cloud": {}, "region": {}, "version": {}, "nodes": {}}
	total := 0
	for _, a := range box.accounts {
		total += len(a.clusters)
		for _, c := range a.clusters {
			kinds["phase"][c.phase]++
			kinds["cloud"][c.provider()]++
			kinds["region"][c.region()]++
			kinds["version"][c.running.Version]++
			kinds["nodes"][c.running.Nodes]++
		}
	}
	if total != 2000 || len(box.Fixtures()) != 40 {
		t.Errorf("%d clusters in %d accounts", total, len(box.Fixtures()))
	}
	for kind, least := range map[string]int{"phase": 5, "cloud": 3, "region": 8, "version": 6, "nodes": 4} {
		if len(kinds[kind]) < least {
			t.Errorf("%s: only %v", kind, kinds[kind])
		}
	}
}
