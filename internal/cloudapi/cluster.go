package cloudapi

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of one cluster.
const (
	maxNodes    = 10_000
	maxDiskGiB  = 1 << 30
	maxLabels   = 100
	maxIPs      = 500
	maxSettings = 500
	maxActions  = 20 // of a node that is not ready
)

// DecodeCluster decodes one cluster as the generation writes it: an item of a listing, the cluster of
// GetCluster, or Cluster.Raw. It fails on what is no JSON object, names no id, or is too large to be
// kept; a member that makes no sense is as if it were not there. In Raw, NUL, half surrogate pairs
// and broken UTF-8 become U+FFFD, so that jsonb takes it.
func DecodeCluster(generation Generation, raw []byte) (Cluster, error) {
	n, err := parseNode(raw)
	if err != nil {
		return Cluster{}, fmt.Errorf("cluster: %w", err)
	}
	id, err := n.id()
	if err != nil {
		return Cluster{}, fmt.Errorf("cluster: %w", err)
	}
	var cluster Cluster
	switch generation {
	case Current:
		cluster = currentCluster(n)
	case PAV1:
		cluster = legacyCluster(n)
	default:
		return Cluster{}, fmt.Errorf("cluster of an unknown generation %q", generation)
	}
	cluster.ID, cluster.Generation = id, generation
	cluster.Raw, err = storable(raw, n.members)
	return cluster, err
}

func currentCluster(n node) Cluster {
	return Cluster{
		AccountID:           n.text("accountId"),
		Name:                n.words("name"),
		CreatedAt:           n.time("createdAt"),
		DeletedAt:           n.time("deletedAt"),
		CloudProvider:       n.words("cloudProviderId"),
		Region:              n.words("cloudProviderRegionId"),
		Labels:              labels(n.objects("labels")),
		CostAllocationLabel: n.words("costAllocationLabel"),
		Configuration:       currentConfiguration(n.object("configuration")),
		State:               currentState(n.object("state")),
	}
}

func currentConfiguration(n node) Configuration {
	collection := n.object("databaseConfiguration").object("collection")
	return Configuration{
		LastModifiedAt:    n.time("lastModifiedAt"),
		Nodes:             n.count("numberOfNodes", maxNodes),
		Version:           n.words("version"),
		PackageID:         n.words("packageId"),
		AdditionalDiskGiB: n.object("additionalResources").count("disk", maxDiskGiB),
		AllowedIPs:        texts(n.list("allowedIpSourceRanges"), maxIPs),

		ReplicationFactor:      collection.count("replicationFactor", maxNodes),
		WriteConsistencyFactor: collection.count("writeConsistencyFactor", maxNodes),
		VectorsOnDisk:          collection.object("vectors").bool("onDisk"),
		RestartPolicy:          n.enum("restartPolicy", settingEnums["restartPolicy"]),
		RebalanceStrategy:      n.enum("rebalanceStrategy", settingEnums["rebalanceStrategy"]),
		StorageTier:            n.object("clusterStorageConfiguration").enum("storageTierType", enumStorageTier),

		Settings: settings(Current, n, "lastModifiedAt", "numberOfNodes", "version", "packageId",
			"additionalResources.disk", "allowedIpSourceRanges"),
	}
}

func currentState(n node) State {
	endpoint := n.object("endpoint")
	state := State{
		Phase:       Phase(cut(n.enum("phase", enumPhase), 64)),
		Reason:      n.words("reason"),
		Version:     n.words("version"),
		NodesUp:     n.count("nodesUp", maxNodes),
		RestartedAt: n.time("restartedAt"),
		EndpointURL: endpoint.address("url"),
		RESTPort:    port(endpoint, "restPort"),
		GRPCPort:    port(endpoint, "grpcPort"),
		JWTRBAC:     n.told("jwtRbac"),
		Resources:   currentResources(n.object("resources")),
	}
	members := n.objects("nodes")
	for _, member := range members[:min(maxNodes, len(members))] {
		state.Nodes = append(state.Nodes, currentNode(member))
	}
	capabilities := n.object("capabilities")
	scalability := capabilities.object("scalabilityInfo")
	if len(scalability.members) == 0 {
		scalability = n.object("scalabilityInfo") // where it was before capabilities
	}
	for _, c := range []struct {
		name   string
		node   node
		status enum
	}{
		{"disk_expansion", capabilities.object("diskExpansion"), enumDiskExpansion},
		{"backup", capabilities.object("backup"), enumBackupSupport},
		{"scalability", scalability, enumScalability},
	} {
		if status := c.node.enum("status", c.status); status != "" {
			state.Capabilities = append(state.Capabilities, Capability{Name: c.name, Status: status, Reason: c.node.words("reason")})
		}
	}
	return state
}

func currentNode(n node) Node {
	decoded := Node{
		Name:             n.words("name"),
		State:            n.enum("state", enumNodeState),
		Version:          n.words("version"),
		AvailabilityZone: n.words("availabilityZone"),
		EndpointURL:      n.object("endpoint").address("url"),
		StartedAt:        n.time("startedAt"),
	}
	why := n.object("notReadyInfo")
	notReady := NotReady{
		Condition:        why.enum("condition", enumNotReady),
		ConditionMessage: why.words("conditionMessage"),
		Event:            why.enum("event", enumTermination),
		EventMessage:     why.words("eventMessage"),
	}
	actions := why.objects("actions")
	for _, action := range actions[:min(maxActions, len(actions))] {
		kind := action.enum("kind", enumNodeAction)
		if words := orString(action.words("description"), kind); words != "" {
			notReady.Actions = append(notReady.Actions, words)
		}
	}
	if notReady.Condition != "" || notReady.ConditionMessage != "" || notReady.Event != "" || notReady.EventMessage != "" || len(notReady.Actions) > 0 {
		decoded.NotReady = &notReady
	}
	return decoded
}

func currentResources(n node) []Resource {
	var resources []Resource
	for _, kind := range []struct{ name, member, unit string }{
		{"ram", "ram", "GiB"}, {"cpu", "cpu", "cores"}, {"disk", "disk", "GiB"}, {"gpu", "gpu", ""}, {"gpu_ram", "gpuRam", "GiB"},
	} {
		of := n.object(kind.member)
		r := Resource{Name: kind.name, Unit: kind.unit, Base: of.number("base"), Complimentary: of.number("complimentary"),
			Additional: of.number("additional"), Reserved: of.number("reserved"), Available: of.number("available")}
		if r != (Resource{Name: kind.name, Unit: kind.unit}) {
			resources = append(resources, r)
		}
	}
	return resources
}

func legacyCluster(n node) Cluster {
	cluster := Cluster{
		AccountID:     n.text("account_id"),
		Name:          n.words("name"),
		CreatedAt:     n.time("created_at"),
		DeletedAt:     n.time("marked_for_deletion_at"),
		CloudProvider: n.words("cloud_provider"),
		Region:        n.words("cloud_region"),
		Configuration: legacyConfiguration(n.object("configuration")),
		State:         legacyState(n.object("state")),
	}
	if cluster.CloudProvider == legacyHybrid || cluster.CloudProvider == "" && n.words("private_region_id") != "" {
		cluster.CloudProvider = hybrid
		cluster.Region = orString(n.words("private_region_id"), cluster.Region)
	}
	cluster.State.Resources = legacyResources(n.object("resources"))
	cluster.State.JWTRBAC = n.object("configuration").object("qdrant_configuration").object("service").told("jwt_rbac")
	if cluster.State.EndpointURL == "" {
		cluster.State.EndpointURL = n.address("url")
	}
	if !cluster.DeletedAt.IsZero() {
		cluster.State.Phase = PhaseDeleting // pa/v1 has the date and no word for it
	}
	return cluster
}

// pa/v1's name for what the current API calls hybrid, as provider and as region.
const (
	hybrid       = "hybrid"
	legacyHybrid = "private"
)

func legacyConfiguration(n node) Configuration {
	ofNode := n.object("node_configuration")
	collection := n.object("qdrant_configuration").object("collection")
	disk := 0
	for _, r := range ofNode.objects("resource_configurations") {
		if r.text("resource_type") == "disk" {
			disk = r.count("amount", maxDiskGiB)
		}
	}
	return Configuration{
		Nodes:             n.count("number_of_nodes", maxNodes),
		Version:           n.words("version"),
		PackageID:         ofNode.words("package_id"),
		AdditionalDiskGiB: disk,
		AllowedIPs:        texts(n.list("allowed_ip_source_ranges"), maxIPs),

		ReplicationFactor:      collection.count("replication_factor", maxNodes),
		WriteConsistencyFactor: collection.count("write_consistency_factor", maxNodes),
		VectorsOnDisk:          collection.object("vectors").bool("on_disk"),

		Settings: settings(PAV1, n, "number_of_nodes", "version", "node_configuration.package_id",
			"node_configuration.resource_configurations", "allowed_ip_source_ranges"),
	}
}

func legacyState(n node) State {
	return State{
		Phase:       legacyPhase(n.text("phase")),
		Reason:      n.words("reason"),
		Version:     n.words("version"),
		NodesUp:     n.count("nodes_up", maxNodes),
		RestartedAt: n.time("restarted_at"),
		EndpointURL: n.address("endpoint"),
	}
}

// legacyResources reads pa/v1's resources. Units are not documented; packages give cpu in
// thousandths of a core and the rest in GiB, and so it is read here.
func legacyResources(n node) []Resource {
	var resources []Resource
	for _, kind := range []struct {
		name, unit string
		per        float64
	}{{"ram", "GiB", 1}, {"cpu", "cores", 1000}, {"disk", "GiB", 1}} {
		of := n.object(kind.name)
		r := Resource{Name: kind.name, Unit: kind.unit, Base: of.number("base") / kind.per,
			Complimentary: of.number("complimentary") / kind.per, Additional: of.number("extra") / kind.per}
		if r != (Resource{Name: kind.name, Unit: kind.unit}) {
			resources = append(resources, r)
		}
	}
	return resources
}

// legacyPhase maps pa/v1's FailedToCreate to FAILED_TO_CREATE. A word it does not have is kept.
func legacyPhase(word string) Phase {
	word = cut(word, 64)
	phase := Phase(strings.TrimPrefix(strings.ToUpper(snakeCase(word)), "_"))
	if slices.Contains(enumPhase.names, string(phase)) {
		return phase
	}
	switch phase {
	case PhaseRestarting, PhaseFailedToRestart, PhaseRestoring, PhaseFailedToRestore, PhaseBackupRunning,
		PhaseFailedToBackup, PhaseFailedToScale, PhaseFailedToUpgrade:
		return phase
	}
	return Phase(word)
}

func labels(pairs []node) []Label {
	var labels []Label
	for _, pair := range pairs[:min(maxLabels, len(pairs))] {
		if key := pair.words("key"); key != "" {
			labels = append(labels, Label{Key: key, Value: pair.words("value")})
		}
	}
	return labels
}

func texts(list []any, most int) []string {
	var texts []string
	for _, item := range list[:min(most, len(list))] {
		if text := scalar(item); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

func port(n node, name string) int {
	if p := n.integer(name); p > 0 && p < 1<<16 {
		return int(p)
	}
	return 0
}

// settings flattens a configuration. Names are the documented ones (lowerCamel for the current API,
// whichever the gateway used), lists of scalars are joined, lists of key and value become names;
// what is null, zero, false or empty is left out, for the gateway may write unset members so.
func settings(generation Generation, n node, besides ...string) []Setting {
	var found []Setting
	var walk func(name string, member string, v any)
	walk = func(name, member string, v any) {
		if slices.Contains(besides, name) || len(found) >= maxSettings {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			for _, key := range sortedNames(v) {
				spelt := key
				if generation == Current {
					spelt = lowerCamel(key)
				}
				walk(strings.TrimPrefix(name+"."+spelt, "."), spelt, v[key])
			}
		case []any:
			walkList(name, v, walk, func(value string) { found = append(found, Setting{Name: cut(name, 512), Value: value}) })
		default:
			if value := settingValue(generation, node{map[string]any{member: v}}, member); value != "" {
				found = append(found, Setting{Name: cut(name, 512), Value: value})
			}
		}
	}
	walk("", "", n.members)
	slices.SortFunc(found, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// walkList flattens one list: scalars joined into one value, pairs by their key, the rest by position.
func walkList(name string, list []any, walk func(name, member string, v any), joined func(value string)) {
	var scalars []string
	for i, item := range list {
		object, isObject := item.(map[string]any)
		if !isObject {
			if text := scalar(item); text != "" {
				scalars = append(scalars, text)
			}
			continue
		}
		pair := node{object}
		if key := pair.words("key"); key != "" && len(object) <= 2 && (len(object) == 1 || object["value"] != nil) {
			walk(name+"."+key, "value", object["value"])
			continue
		}
		walk(fmt.Sprintf("%s.%d", name, i), "", item)
	}
	if len(scalars) > 0 {
		joined(cut(strings.Join(scalars, ", "), maxText))
	}
}

func settingValue(generation Generation, n node, member string) string {
	if of, known := settingEnums[member]; known && generation == Current {
		return n.enum(member, of)
	}
	switch value := n.text(member); value {
	case "0", "false":
		return ""
	default:
		if strings.HasSuffix(value, "_UNSPECIFIED") {
			return ""
		}
		return value
	}
}

func sortedNames(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
