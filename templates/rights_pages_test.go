package templates

import (
	"strings"
	"testing"
)

// TestRolesSayWhereTheyHold: each role has its own place beside it, so that one narrow grant does not make a role that
// holds everywhere look narrow, and what a wider grant of the role covers is left out.
func TestRolesSayWhereTheyHold(t *testing.T) {
	m := Mapping{Giving: []MappingRow{
		{What: "group", Value: "admins", Gives: []Giving{{Role: "platform admin", Where: everywhere}}},
		{What: "group", Value: "engineering", Gives: []Giving{{Role: "viewer", Where: "staging"}, {Role: "operator", Where: "staging"}}},
		{What: "the member", Gives: []Giving{{Role: "viewer", Where: "cluster orders"}, {Role: "operator", Where: everywhere}, {Role: "viewer", Where: "staging"}}},
	}}
	_, got := rendered(t, mappedRoles([]string{"operator", "platform admin", "viewer"}, m, "Why"))
	for _, want := range []string{">operator · everywhere<", ">platform admin · everywhere<", ">viewer · staging, cluster orders<"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not said:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Not everywhere") || strings.Contains(got, "says where") {
		t.Errorf("all places are named, and the table is said to know more:\n%s", got)
	}

	many := Mapping{Giving: []MappingRow{{Gives: []Giving{{Role: "viewer", Where: "1 cluster"}, {Role: "viewer", Where: "1 cluster"}, {Role: "viewer", Where: "staging"}, {Role: "viewer", Where: "account Search"}}}}}
	if _, got := rendered(t, mappedRoles([]string{"viewer"}, many, "Why")); !strings.Contains(got, ">viewer · 4 places<") || !strings.Contains(got, `href="#mapping"`) {
		t.Errorf("many places read\n%s", got)
	}
	if got := (Mapping{}).withPlaces([]string{"break-glass"}); len(got) != 1 || got[0] != "break-glass" {
		t.Errorf("a role of no grant reads %q", got)
	}
}
