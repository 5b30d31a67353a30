package main

import (
	"strings"
	"testing"
)

func TestCheckGroupsClaim(t *testing.T) {
	for _, tt := range []struct {
		claim  string
		listed []string
		known  bool
	}{
		{"groups", nil, true},
		{"groups", []string{"sub", "groups"}, true},
		{"groups", []string{"sub", "groupsx"}, false},
		{"realm_access.roles", []string{"sub", "realm_access"}, true},
		{"realm_access.roles", []string{"sub", "realm"}, false},
		{"https://example.test/groups", []string{"sub"}, false},
		{"https://example.test/app.groups", []string{"https://example.test/app"}, true},
	} {
		got := checkGroupsClaim(tt.claim, tt.listed)
		if known := !strings.Contains(got.what, "does not list"); got.wrong || known != tt.known {
			t.Errorf("%s of %q: %+v", tt.claim, tt.listed, got)
		}
	}
}
