package accounts

import (
	"slices"
	"strings"

	"quartermaster/internal/cloudapi"
)

// RefusedError is upstream's refusal of what a form asked for. Nothing was made or changed.
type RefusedError struct {
	// Fields says by form field what is wrong, in our words around upstream's; "" is the form itself.
	Fields map[string]string
	// Upstream is the refusal itself.
	Upstream *cloudapi.Error
}

func (e *RefusedError) Error() string { return "refused: " + e.Upstream.Error() }

// Unwrap returns upstream's refusal.
func (e *RefusedError) Unwrap() error { return e.Upstream }

// refused words upstream's refusal of a form. fields names the form's field for a part of upstream's path; a
// violation of anything else is told above the form.
func refused(upstream *cloudapi.Error, fields map[string]string) *RefusedError {
	e := &RefusedError{Fields: map[string]string{}, Upstream: upstream}
	for _, v := range upstream.Fields {
		field := fieldOf(v.Field, fields)
		if e.Fields[field] == "" {
			e.Fields[field] = says(v.Message)
		}
	}
	if len(e.Fields) == 0 {
		field, words := refusalWords(upstream)
		e.Fields[fields[field]] = words
	}
	return e
}

// fieldOf finds the form's field for a path such as cluster.labels[0].key, in either of the gateway's
// spellings, the most particular part first.
func fieldOf(path string, fields map[string]string) string {
	spelt := strings.NewReplacer("_", "")
	for _, part := range slices.Backward(strings.Split(path, ".")) {
		name, _, _ := strings.Cut(part, "[")
		for member, field := range fields {
			if strings.EqualFold(spelt.Replace(member), spelt.Replace(name)) {
				return field
			}
		}
	}
	return ""
}

// says quotes upstream.
func says(words string) string {
	return "Qdrant Cloud says: “" + strings.TrimSuffix(strings.TrimSpace(words), ".") + "”."
}

// refusalWords says what a refusal means that names no field, what to do, and which of upstream's fields it is about
// if one. The codes are those that an older revision of pa/v1 lists; how the current API words the same is not
// documented, so its words decide where they are plain.
func refusalWords(e *cloudapi.Error) (field, words string) {
	said := strings.ToLower(e.Public())
	answered := !slices.Contains([]cloudapi.Kind{cloudapi.Unauthenticated, cloudapi.Unavailable, cloudapi.Malformed}, e.Kind) // what was asked
	is := func(texts ...string) bool {
		return answered && slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(said, t) })
	}
	quote := " " + says(e.Public())
	switch {
	case e.Resting:
		return "", e.Public() + " Then send the form once more." // our own words, so they are not quoted
	case is("quota", "limit reached", "e1018", "e1019", "e1024"):
		return "", "The account’s quota does not allow it. Delete what is no longer needed, ask for less, or have Qdrant raise the quota." + quote
	case is("payment", "e1022"):
		return "", "Payment details are missing or out of date. The account’s owner can renew them in Qdrant’s own console, under Billing." + quote
	case is("not entitled", "e1040"):
		return "", "This account is not entitled to it. Its owner can ask Qdrant’s support; another package or provider may be possible." + quote
	case is("region", "e1021"):
		return "cloud_provider_region_id", "Nothing can be made in this region now. Choose another." + quote
	case is("version", "release", "e1039"):
		return "version", "This version cannot be had any more. Choose another." + quote
	case is("package"):
		return "package_id", "This package cannot be had any more. Choose another." + quote
	}
	switch e.Kind {
	case cloudapi.Unauthenticated:
		return "", "Qdrant Cloud does not accept this account’s key. The account’s page shows its state and what to do." + quote
	case cloudapi.Forbidden:
		return "", "This account’s key may not do that at Qdrant Cloud. The account’s page shows what its key may do." + quote
	case cloudapi.RateLimited:
		return "", "There are too many calls to Qdrant Cloud now. Wait a moment, then send the form once more." + quote
	case cloudapi.Unavailable, cloudapi.Malformed:
		return "", "Qdrant Cloud cannot be reached, or fails. Send the form once more in a moment." + quote
	case cloudapi.Conflict:
		return "", "Qdrant Cloud does not allow it in the present state." + quote
	}
	return "", "Qdrant Cloud refused what was asked." + quote
}

// createFields are the fields of the form for a new cluster, by the names of both generations.
var createFields = map[string]string{
	"name": "name", "cloud_provider_id": "cloud_provider", "cloud_provider": "cloud_provider", "cloud_provider_region_id": "region", "cloud_region": "region",
	"private_region_id": "region", "package_id": "package_id", "number_of_nodes": "nodes", "version": "version", "disk": "additional_disk_gib",
	"resource_configurations": "additional_disk_gib", "storage_tier_type": "storage_tier", "labels": "labels", "cost_allocation_label": "cost_allocation_label",
	"allowed_ip_source_ranges": "allowed_ips", "service_type": "service_type", "node_selector": "node_selector", "tolerations": "tolerations",
	"annotations": "annotations", "cluster_annotations": "annotations", "service_annotations": "service_annotations", "pod_labels": "pod_labels",
	"reserved_cpu_percentage": "reserved_cpu_percentage", "reserved_memory_percentage": "reserved_memory_percentage",
	"database_storage_class": "database_storage_class", "snapshot_storage_class": "snapshot_storage_class", "volume_snapshot_class": "volume_snapshot_class",
}

// updateFields are those of the form that changes a cluster.
var updateFields = map[string]string{
	"name": "name", "labels": "labels", "cost_allocation_label": "cost_allocation_label", "package_id": "package_id", "number_of_nodes": "nodes",
	"disk": "additional_disk_gib", "additional_resources": "additional_disk_gib", "resource_configurations": "additional_disk_gib", "version": "version",
	"allowed_ip_source_ranges": "allowed_ips", "replication_factor": "replication_factor", "write_consistency_factor": "write_consistency_factor",
	"on_disk": "vectors_on_disk", "restart_policy": "restart_policy", "rebalance_strategy": "rebalance_strategy",
}
