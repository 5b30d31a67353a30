package accounts

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"quartermaster/internal/cloudapi"
)

func TestSettingsOfUpstreamsPaths(t *testing.T) {
	for path, want := range map[string]string{
		"cluster.name": "name", "name": "name", "cluster.configuration.number_of_nodes": "nodes", "configuration.numberOfNodes": "nodes",
		"configuration.node_configuration.package_id": "package_id", "cluster.configuration.additional_resources.disk": "additional_disk_gib",
		"configuration.node_configuration.resource_configurations.0.amount": "additional_disk_gib", "cluster.configuration.allowed_ip_source_ranges[2]": "allowed_ips",
		"cluster.labels[0].key": "labels", "cluster.cost_allocation_label": "cost_allocation_label", "configuration.version": "version",
		"cluster.configuration.database_configuration.collection.vectors.on_disk": "vectors_on_disk", "update_mask": "", "": "", "cluster.id": "",
	} {
		if got := fieldOf(path, updateFields); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
	for _, setting := range ClusterSettingNames() {
		if !slices.Contains(slices.Collect(maps.Values(updateFields)), setting) {
			t.Errorf("a refusal of %s is not told at its field", setting)
		}
	}
}

// TestRefusalsAreToldInTheForm: what upstream says against a form comes back to it, with what to do.
func TestRefusalsAreToldInTheForm(t *testing.T) {
	for name, tt := range map[string]struct {
		refused     cloudapi.Error
		field, says string
	}{
		"invalid":     {cloudapi.Error{Kind: cloudapi.Invalid, Message: "x", Fields: []cloudapi.FieldError{{Field: "cluster.configuration.version", Message: "release v1 has reached its end of life"}}}, "version", "Qdrant Cloud says: “release v1 has reached its end of life”."},
		"quota":       {cloudapi.Error{Kind: cloudapi.Conflict, Message: "quota exceeded: a cluster of this account may have 3 nodes"}, "", "quota"},
		"exhausted":   {cloudapi.Error{Kind: cloudapi.RateLimited, Status: 429, Message: "Quota exceeded"}, "", "quota"},
		"payment":     {cloudapi.Error{Kind: cloudapi.Conflict, Message: "Payment details missing or outdated"}, "", "Payment"},
		"legacy":      {cloudapi.Error{Kind: cloudapi.Conflict, Message: "E1022 Payment"}, "", "Payment"},
		"entitled":    {cloudapi.Error{Kind: cloudapi.Forbidden, Message: "Account is not entitled to do the requested action"}, "", "entitled"},
		"phase":       {cloudapi.Error{Kind: cloudapi.Conflict, Message: "cluster cannot be updated"}, "", "present state"},
		"forbidden":   {cloudapi.Error{Kind: cloudapi.Forbidden, Message: "permission denied"}, "", "key may not do that"},
		"too many":    {cloudapi.Error{Kind: cloudapi.RateLimited, Status: 429, Message: "slow down"}, "", "too many calls"},
		"unavailable": {cloudapi.Error{Kind: cloudapi.Unavailable, Message: "quota service down"}, "", "cannot be reached"},
	} {
		if got := refused(&tt.refused, updateFields).Fields; len(got) != 1 || !strings.Contains(got[tt.field], tt.says) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
