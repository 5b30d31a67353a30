package cloudapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ClusterEdit is what is to be different about a cluster. Nil leaves a setting as it is; a pointer to
// the zero value takes it away where upstream allows that.
type ClusterEdit struct {
	Name                *string
	Labels              *[]Label
	CostAllocationLabel *string

	Nodes             *int
	PackageID         *string
	Version           *string
	AdditionalDiskGiB *int
	AllowedIPs        *[]string

	ReplicationFactor      *int // of new collections
	WriteConsistencyFactor *int // of new collections
	VectorsOnDisk          *bool
	RestartPolicy          *string // ROLLING, PARALLEL, AUTOMATIC
	RebalanceStrategy      *string // BY_COUNT, BY_SIZE, BY_COUNT_AND_SIZE, DISABLED
}

// Empty reports whether nothing is to be different.
func (e ClusterEdit) Empty() bool { return e == ClusterEdit{} }

// UpdateCluster changes a cluster as it was read. The whole of what can be written goes back as it came, with
// what is unknown here, and the edit made in it; the mask names what was edited, so that upstream takes
// nothing else from it. There is no version check upstream: what somebody changed between read and
// mask stays, but for the same setting. It is sent once.
func (api *CurrentAPI) UpdateCluster(ctx context.Context, read Cluster, e ClusterEdit) (Cluster, error) {
	resource, mask, err := e.applyCurrent(read.Raw)
	if err != nil {
		return Cluster{}, &Error{Kind: Invalid, Op: OpUpdateCluster, Message: "The cluster as it was read cannot be edited."}
	}
	for _, inPath := range []string{"id", "accountId", "account_id"} {
		delete(resource, inPath) // the path says them, and the published body has no place for them
	}
	dropReadOnly(resource)
	dropUnset(resource)
	answer, err := api.conn.Do(ctx, OpUpdateCluster, Params{"cluster.id": read.ID}, nil, map[string]any{"cluster": resource, "updateMask": strings.Join(mask, ",")})
	if err != nil {
		return Cluster{}, err
	}
	rest, err := members(answer.Body, "", nil)
	if err != nil {
		return Cluster{}, api.conn.misshapen(OpUpdateCluster, answer, err)
	}
	return api.conn.oneCluster(OpUpdateCluster, answer, rest["cluster"], read.ID)
}

// UpdateCluster changes a cluster as it was read: pa/v1 takes the whole schema, and has no member for
// labels, the cost label and the two policies, which are *UnsupportedError.
func (api *LegacyAPI) UpdateCluster(ctx context.Context, read Cluster, e ClusterEdit) (Cluster, error) {
	if e.Labels != nil || e.CostAllocationLabel != nil {
		return Cluster{}, lacks("UpdateCluster", "labels")
	}
	if e.RestartPolicy != nil || e.RebalanceStrategy != nil {
		return Cluster{}, lacks("UpdateCluster", "policies of restart and rebalancing")
	}
	resource, err := e.applyLegacy(read.Raw)
	if err != nil {
		return Cluster{}, &Error{Kind: Invalid, Op: OpPAUpdateCluster, Message: "The cluster as it was read cannot be edited."}
	}
	answer, err := api.conn.Do(ctx, OpPAUpdateCluster, Params{"cluster_id": read.ID}, nil, resource)
	if err != nil {
		return Cluster{}, err
	}
	return api.conn.oneCluster(OpPAUpdateCluster, answer, answer.Body, read.ID)
}

// dropReadOnly takes out what only upstream writes. The mask does not name it, and the rules of the API hold for it all the same: a
// state as upstream tells it, with an endpoint that has no URL yet, would have the whole refused.
func dropReadOnly(resource map[string]any) {
	for _, name := range []string{"state", "createdAt", "created_at", "deletedAt", "deleted_at"} {
		delete(resource, name)
	}
	if configuration, ok := resource["configuration"].(map[string]any); ok {
		delete(configuration, "lastModifiedAt")
		delete(configuration, "last_modified_at")
	}
}

// neverZero are the settings that may be left out, and that no rule of the API allows to be "" or 0; the enums of settingEnums are the same.
var neverZero = []string{
	"version", "costAllocationLabel", "reservedCpuPercentage", "reservedMemoryPercentage", "replicationFactor", "writeConsistencyFactor", "maxLogFiles",
	"databaseStorageClass", "snapshotStorageClass", "volumeSnapshotClass", "volumeAttributesClass", "parallelIndexes", "groupsCount", "maxSkew",
}

// dropUnset takes out what the gateway wrote only because it is not set, where it does so: sent back it would be set, and break the rules
// for what is set. What is not known here stays as it is.
func dropUnset(v any) {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(name string, member any) bool {
			name = lowerCamel(name)
			_, isEnum := settingEnums[name]
			switch text := scalar(member); {
			case member == "":
				return isEnum || slices.Contains(neverZero, name) || strings.HasSuffix(name, "At")
			case text == "0" && name == "tolerationSeconds": // a time, for the one effect that has such
				return node{v}.enum("effect", settingEnums["effect"]) != "NO_EXECUTE"
			case text == "0":
				return isEnum || slices.Contains(neverZero, name)
			default:
				return isEnum && strings.HasSuffix(text, "_UNSPECIFIED")
			}
		})
		for _, member := range v {
			dropUnset(member)
		}
	case []any:
		for _, item := range v {
			dropUnset(item)
		}
	}
}

// applyCurrent makes the edit in a resource of the current API and returns it with the mask.
func (e ClusterEdit) applyCurrent(raw json.RawMessage) (resource map[string]any, mask []string, err error) {
	n, err := parseNode(raw)
	if err != nil {
		return nil, nil, err
	}
	set := func(value any, path ...string) {
		put(n.members, value, path)
		mask = append(mask, strings.Join(path, "."))
	}
	if e.Name != nil {
		set(*e.Name, "name")
	}
	if e.Labels != nil {
		set(keptPairs(n.objects("labels"), *e.Labels), "labels")
	}
	if e.CostAllocationLabel != nil {
		set(orAbsent(*e.CostAllocationLabel), "costAllocationLabel")
	}
	if e.Nodes != nil {
		set(*e.Nodes, "configuration", "numberOfNodes")
	}
	if e.PackageID != nil {
		set(*e.PackageID, "configuration", "packageId")
	}
	if e.Version != nil {
		set(*e.Version, "configuration", "version")
	}
	if e.AdditionalDiskGiB != nil {
		set(*e.AdditionalDiskGiB, "configuration", "additionalResources", "disk")
	}
	if e.AllowedIPs != nil {
		set(stringList(*e.AllowedIPs), "configuration", "allowedIpSourceRanges")
	}
	if e.ReplicationFactor != nil {
		set(orAbsent(*e.ReplicationFactor), "configuration", "databaseConfiguration", "collection", "replicationFactor")
	}
	if e.WriteConsistencyFactor != nil {
		set(orAbsent(*e.WriteConsistencyFactor), "configuration", "databaseConfiguration", "collection", "writeConsistencyFactor")
	}
	if e.VectorsOnDisk != nil {
		set(*e.VectorsOnDisk, "configuration", "databaseConfiguration", "collection", "vectors", "onDisk")
	}
	if e.RestartPolicy != nil {
		set(orAbsent(prefixed("restartPolicy", *e.RestartPolicy)), "configuration", "restartPolicy")
	}
	if e.RebalanceStrategy != nil {
		set(orAbsent(prefixed("rebalanceStrategy", *e.RebalanceStrategy)), "configuration", "rebalanceStrategy")
	}
	if len(mask) == 0 {
		return nil, nil, errors.New("nothing is to be changed") // an empty mask would replace everything
	}
	return n.members, mask, nil
}

// applyLegacy makes the edit in a ClusterSchema.
func (e ClusterEdit) applyLegacy(raw json.RawMessage) (map[string]any, error) {
	if e.Empty() {
		return nil, errors.New("nothing is to be changed")
	}
	n, err := parseNode(raw)
	if err != nil {
		return nil, err
	}
	set := func(value any, path ...string) { put(n.members, value, path) }
	if e.Name != nil {
		set(*e.Name, "name")
	}
	if e.Nodes != nil {
		set(*e.Nodes, "configuration", "number_of_nodes")
	}
	if e.PackageID != nil {
		set(*e.PackageID, "configuration", "node_configuration", "package_id")
	}
	if e.Version != nil {
		set(*e.Version, "configuration", "version")
	}
	if e.AdditionalDiskGiB != nil {
		ofNode := n.object("configuration").object("node_configuration")
		others := slices.DeleteFunc(slices.Clone(ofNode.list("resource_configurations")), func(item any) bool {
			object, ok := item.(map[string]any)
			return ok && node{object}.text("resource_type") == "disk"
		})
		if *e.AdditionalDiskGiB > 0 {
			others = append(others, legacyDisk(*e.AdditionalDiskGiB))
		}
		set(others, "configuration", "node_configuration", "resource_configurations")
	}
	if e.AllowedIPs != nil {
		set(stringList(*e.AllowedIPs), "configuration", "allowed_ip_source_ranges")
	}
	if e.ReplicationFactor != nil {
		set(orNull(*e.ReplicationFactor), "configuration", "qdrant_configuration", "collection", "replication_factor")
	}
	if e.WriteConsistencyFactor != nil {
		set(orNull(*e.WriteConsistencyFactor), "configuration", "qdrant_configuration", "collection", "write_consistency_factor")
	}
	if e.VectorsOnDisk != nil {
		set(*e.VectorsOnDisk, "configuration", "qdrant_configuration", "collection", "vectors", "on_disk")
	}
	return n.members, nil
}

// absent is the value of a member that is taken away.
type absent struct{}

func orAbsent[T comparable](value T) any {
	var zero T
	if value == zero {
		return absent{}
	}
	return value
}

func orNull(value int) any {
	if value == 0 {
		return nil
	}
	return value
}

func prefixed(member, value string) string {
	if value == "" {
		return ""
	}
	return settingEnums[member].prefix + value
}

// keptPairs is a list of KeyValue in which each pair that was there before is still what it was, with
// all that is unknown here.
func keptPairs(before []node, wanted []Label) []any {
	list := pairList(wanted)
	for i, l := range wanted {
		was := slices.IndexFunc(before, func(n node) bool { return n.words("key") == l.Key })
		if was < 0 {
			continue
		}
		if before[was].words("value") != l.Value {
			put(before[was].members, l.Value, []string{"value"})
		}
		list[i] = before[was].members
	}
	return list
}

func stringList(values []string) []any {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// put sets what a path leads to, by the spelling of each member that is there already.
func put(object map[string]any, value any, path []string) {
	name := spelt(object, path[0])
	if len(path) == 1 {
		if value == (absent{}) {
			delete(object, name)
		} else {
			object[name] = value
		}
		return
	}
	inner, isObject := object[name].(map[string]any)
	if !isObject {
		if value == (absent{}) {
			return
		}
		inner = map[string]any{}
		object[name] = inner
	}
	put(inner, value, path[1:])
}

// spelt is how the object writes a member: the gateway may answer in either spelling, and a member that
// is there in both would be refused.
func spelt(object map[string]any, name string) string {
	if _, there := object[name]; there {
		return name
	}
	if other := snakeCase(name); other != name {
		if _, there := object[other]; there {
			return other
		}
	}
	return name
}

// Revision identifies what was asked of a cluster: two reads with the same one differ at most in state
// and in how the gateway spells them. It tells a form that was filled in before somebody else changed
// the cluster. What is null, zero, false or empty counts as absent.
func (c Cluster) Revision() string {
	n, err := parseNode(c.Raw)
	if err != nil {
		return ""
	}
	state := []string{"state"}
	if c.Generation == PAV1 {
		state = []string{"state", "resources", "url"}
	}
	members := maps.Clone(n.members)
	for _, name := range state {
		delete(members, name)
	}
	var b bytes.Buffer
	writeObject(&b, c.Generation, members)
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:16])
}

// writeSettled writes the value of a member in one spelling, and reports whether there is anything in it.
func writeSettled(b *bytes.Buffer, generation Generation, member string, v any) bool {
	text := ""
	switch v := v.(type) {
	case map[string]any:
		return writeObject(b, generation, v)
	case []any:
		if len(v) == 0 {
			return false
		}
		b.WriteByte('[')
		for _, item := range v {
			writeSettled(b, generation, member, item)
			b.WriteByte(',')
		}
		b.WriteByte(']')
		return true
	case string:
		text = v
	default:
		text = scalar(v)
	}
	if of, known := settingEnums[member]; known && generation == Current {
		text = node{map[string]any{member: text}}.enum(member, of)
	}
	if slices.Contains([]string{"", "0", "false", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"}, text) || strings.HasSuffix(text, "_UNSPECIFIED") {
		return false
	}
	b.WriteString(strconv.Quote(text))
	return true
}

// writeObject writes members by their documented names. Two spellings of one name are both written.
func writeObject(b *bytes.Buffer, generation Generation, object map[string]any) bool {
	documented := func(name string) string {
		if generation == Current {
			return lowerCamel(name)
		}
		return name
	}
	names := slices.SortedFunc(maps.Keys(object), func(x, y string) int {
		return cmp.Or(strings.Compare(documented(x), documented(y)), strings.Compare(x, y))
	})
	there := false
	b.WriteByte('{')
	for _, name := range names {
		start := b.Len()
		b.WriteString(strconv.Quote(documented(name)) + ":")
		if !writeSettled(b, generation, documented(name), object[name]) {
			b.Truncate(start)
			continue
		}
		b.WriteByte(',')
		there = true
	}
	b.WriteByte('}')
	return there
}
