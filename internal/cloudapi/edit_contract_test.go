package cloudapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestUnsetSettingsAreThoseOfTheDefinitions: every optional setting of a cluster whose zero breaks a rule is taken out of what is sent
// back, and no other.
func TestUnsetSettingsAreThoseOfTheDefinitions(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(specs(t), "messages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var defined struct {
		Messages map[string]struct {
			Fields []struct {
				JSON, Type string
				Optional   bool
				Rules      map[string]any
			}
		}
	}
	if err := json.Unmarshal(raw, &defined); err != nil {
		t.Fatal(err)
	}
	const of = "qdrant.cloud.cluster.v1.Cluster"
	seen, want := map[string]bool{}, []string{}
	var walk func(string)
	walk = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, f := range defined.Messages[name].Fields {
			if name == of && f.JSON == "state" {
				continue
			}
			walk(f.Type)
			if _, isEnum := settingEnums[f.JSON]; isEnum || !f.Optional {
				continue
			}
			for kind, rule := range f.Rules {
				rules, _ := rule.(map[string]any) // others are of no interest
				_, pattern := rules["pattern"]
				_, length := rules["minLen"]
				low, bounded := rules["gte"].(float64)
				_, above := rules["gt"]
				if kind == "string" && (length || pattern && f.JSON != "value") || bounded && low > 0 || above {
					want = append(want, f.JSON)
				}
			}
		}
	}
	walk(of)
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(neverZero)); !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("defined %s\nours    %s", strings.Join(want, " "), strings.Join(got, " "))
	}
}
