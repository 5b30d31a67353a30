package sandbox

import "strings"

// checkSpec decides whether a cluster may be specified like this, beyond the rules of single
// fields, and returns the configuration with what the platform fills in. old is the cluster that
// is being updated, or nil.
func (r *request) checkSpec(spec msg, old *cluster) (msg, error) {
	provider, region := spec.str("cloud_provider_id"), spec.str("cloud_provider_region_id")
	if err := r.checkPlace(provider, region, old); err != nil {
		return nil, err
	}
	config := spec.sub("configuration").clone()
	if provider != providerHybrid {
		if err := managedOnly(config); err != nil {
			return nil, err
		}
	}
	if err := r.checkVersion(config, old); err != nil {
		return nil, err
	}
	size, err := r.checkPackage(config, provider, region, old)
	if err != nil {
		return nil, err
	}
	if err := checkDisk(r.catalogue, config, size, old); err != nil {
		return nil, err
	}
	tier := config.sub("cluster_storage_configuration").enum("storage_tier_type")
	if _, known := r.schema.enums["common.v1.StorageTierType"].names[int32(tier)]; !known || size.free && tier > storageCostOptimised {
		return nil, invalidField("cluster.configuration.cluster_storage_configuration.storage_tier_type", "the package does not offer this storage tier")
	}
	if config.has("gpu_type") && size.gpuMilli == 0 && provider != providerHybrid {
		return nil, invalidField("cluster.configuration.gpu_type", "the package has no GPU")
	}
	return config, nil
}

// checkPlace checks provider and region, which never change.
func (r *request) checkPlace(provider, region string, old *cluster) error {
	if old != nil {
		if provider != old.provider() {
			return invalidField("cluster.cloud_provider_id", "the cloud provider cannot be changed")
		}
		if region != old.region() {
			return invalidField("cluster.cloud_provider_region_id", "the cloud provider region cannot be changed")
		}
		return nil
	}
	if _, ok := r.catalogue.provider(provider); !ok {
		return invalidField("cluster.cloud_provider_id", "there is no cloud provider %q", provider)
	}
	found, ok := r.region(provider, region)
	if !ok {
		return invalidField("cluster.cloud_provider_region_id", "cloud provider %s has no region %q", provider, region)
	}
	if !found.flag("available") {
		return legacyWords(legacyNoRegion, refuse(codeFailedPrecondition, "region %s of %s takes no clusters now", region, provider))
	}
	return nil
}

// region finds a managed region, or a hybrid environment of the request's account.
func (r *request) region(provider, id string) (msg, bool) {
	if provider != providerHybrid {
		return r.catalogue.region(provider, id)
	}
	if r.account == nil {
		return nil, false
	}
	env, ok := r.account.environments[strings.ToLower(id)]
	return env, ok
}

// managedOnly treats what only hybrid clusters have: the fields documented as ignored for managed
// clusters are dropped, the others are refused.
func managedOnly(config msg) error {
	for _, ignored := range []string{"node_selector", "tolerations", "annotations", "service_annotations", "pod_labels", "topology_spread_constraints"} {
		delete(config, ignored)
	}
	if database := config.sub("database_configuration"); database.sub("audit_logging").has("trust_forwarded_headers") {
		audit := database.sub("audit_logging").clone()
		delete(audit, "trust_forwarded_headers")
		config["database_configuration"] = database.with("audit_logging", audit)
	}
	var given []string
	for _, path := range [][]string{
		{"service_type"},
		{"gpu_configuration"},
		{"database_configuration", "log_level"},
		{"database_configuration", "tls"},
		{"database_configuration", "service", "api_key"},
		{"database_configuration", "service", "read_only_api_key"},
		{"database_configuration", "service", "enable_tls"},
		{"cluster_storage_configuration", "database_storage_class"},
		{"cluster_storage_configuration", "snapshot_storage_class"},
		{"cluster_storage_configuration", "volume_snapshot_class"},
		{"cluster_storage_configuration", "volume_attributes_class"},
	} {
		m := config
		for _, name := range path[:len(path)-1] {
			m = m.sub(name)
		}
		if m.has(path[len(path)-1]) {
			given = append(given, "cluster.configuration."+strings.Join(path, "."))
		}
	}
	if len(given) == 0 {
		return nil
	}
	violations := make([]violation, len(given))
	for i, field := range given {
		violations[i] = violation{Field: field, Description: "this setting is for hybrid cloud clusters only"}
	}
	return invalid(violations)
}

// checkVersion fills in the version and refuses unknown, withdrawn, ended and older ones.
func (r *request) checkVersion(config msg, old *cluster) error {
	const field = "cluster.configuration.version"
	version := config.str("version")
	switch {
	case version == "" && old != nil:
		version = old.config().str("version")
	case version == "" || version == "latest":
		version = r.catalogue.defaultVersion()
	}
	config["version"] = version
	if old != nil && version == old.config().str("version") {
		return nil // a cluster may stay where it is
	}
	refused := func(format string, args ...any) error {
		return legacyWords(legacyVersion, invalidField(field, format, args...))
	}
	release, ok := r.catalogue.release(version)
	switch {
	case !ok:
		return refused("there is no release %s", version)
	case release.flag("end_of_life"):
		return refused("release %s has reached its end of life", version)
	case release.flag("unavailable"):
		return refused("release %s is not available", version)
	case old != nil && olderVersion(version, old.running.Version):
		return refused("version %s is older than %s, which is running: downgrades are not supported", version, old.running.Version)
	}
	return nil
}

func (r *request) checkPackage(config msg, provider, region string, old *cluster) (*pkg, error) {
	const field = "cluster.configuration.package_id"
	id := strings.ToLower(config.str("package_id"))
	config["package_id"] = id
	size := r.catalogue.packages[id]
	if size == nil || !r.catalogue.offered(size, provider, region) {
		return nil, invalidField(field, "there is no package %s in region %s of %s", id, region, provider)
	}
	if size.status != packageActive && (old == nil || old.config().str("package_id") != id) {
		return nil, invalidField(field, "package %s is deactivated", size.name)
	}
	if size.free && config.uint("number_of_nodes") != 1 {
		return nil, invalidField("cluster.configuration.number_of_nodes", "free clusters have one node")
	}
	if old != nil {
		if was := r.catalogue.packages[old.config().str("package_id")]; was != nil && was.multiAZ != size.multiAZ {
			return nil, invalidField(field, "a cluster cannot move between multi-AZ and other packages")
		}
	}
	return size, nil
}

// checkDisk refuses to shrink disks, which are the package's and the additional ones together.
func checkDisk(cat *catalogue, config msg, size *pkg, old *cluster) error {
	const field = "cluster.configuration.additional_resources.disk"
	extra := int64(config.sub("additional_resources").uint("disk"))
	if size.free && extra > 0 {
		return invalidField(field, "free clusters have a fixed disk")
	}
	if extra > 16384 {
		return invalidField(field, "at most 16384 GiB can be added")
	}
	if old == nil {
		return nil
	}
	was := old.running.DiskGiB
	if before := cat.packages[old.running.Package]; before != nil {
		was += before.diskGiB
	}
	if now := size.diskGiB + extra; now < was {
		return legacyWords(legacyDownscale, invalidField(field, "disk cannot be downscaled from %d GiB to %d GiB", was, now))
	}
	return nil
}

// checkQuota bounds clusters, nodes of one cluster, and free clusters. old is the cluster being
// updated, or nil.
func (r *request) checkQuota(config msg, old *cluster) error {
	q := r.account.quotas
	if nodes := config.uint("number_of_nodes"); nodes > uint64(q.Nodes) {
		return legacyWords(legacyScaling, refuse(codeFailedPrecondition, "quota exceeded: a cluster of this account may have %d nodes", q.Nodes))
	}
	free := 0
	for _, c := range r.account.clusters {
		if size := r.catalogue.packages[c.config().str("package_id")]; size != nil && size.free && c != old {
			free++
		}
	}
	if size := r.catalogue.packages[config.str("package_id")]; size.free && free >= q.FreeClusters {
		return legacyWords(legacyFree, refuse(codeFailedPrecondition, "quota exceeded: this account may have %d free clusters", q.FreeClusters))
	}
	if old == nil && len(r.account.clusters) >= q.Clusters {
		return legacyWords(legacyClusters, refuse(codeFailedPrecondition, "quota exceeded: this account may have %d clusters", q.Clusters))
	}
	return nil
}

// checkEntitled refuses accounts that may look but not act.
func (r *request) checkEntitled() error {
	if r.account.notEntitled {
		return legacyWords(legacyNotEntitled, refuse(codePermissionDenied, "Account is not entitled to do the requested action"))
	}
	return nil
}

// checkPayment refuses what would cost more an hour than before while payment details are missing.
// old is the cluster being updated, or nil.
func (r *request) checkPayment(spec, config msg, old *cluster) error {
	if !r.account.paymentMissing {
		return nil
	}
	before := int64(0)
	if old != nil {
		before = r.catalogue.hourly(old.config(), old.region())
	}
	if r.catalogue.hourly(config, spec.str("cloud_provider_region_id")) > before {
		return legacyWords(legacyPayment, refuse(codeFailedPrecondition, "Payment details missing or outdated"))
	}
	return nil
}
