package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// The cloud providers.
const (
	providerAWS    = "aws"
	providerGCP    = "gcp"
	providerAzure  = "azure"
	providerHybrid = "hybrid"
)

// Numbers of PackageStatus, PackageTier and StorageTierType.
const (
	packageActive      enumValue = 1
	packageDeactivated enumValue = 2

	tierStandard enumValue = 1
	tierPremium  enumValue = 2

	storageCostOptimised enumValue = 1
	storageBalanced      enumValue = 2
	storagePerformance   enumValue = 3
)

// catalogue is what the platform offers to everyone: providers, regions, packages and releases.
// It does not depend on the seed, so that ids of packages are the same in every sandbox.
type catalogue struct {
	providers []msg
	regions   map[string][]msg // by provider
	packages  map[string]*pkg  // by id
	ordered   []*pkg
	levels    map[string]int64 // prices of a region in per cent, by region
	releases  []msg            // oldest first, as listed
}

// pkg is a size of node with its price at one provider.
type pkg struct {
	id, name, provider  string
	free                bool
	cpuMilli            int64
	ramGiB, diskGiB     int64
	gpuMilli, gpuRAMGiB int64
	price               int64 // millicents an hour and node, in a region at level 100
	status, tier        enumValue
	multiAZ             bool
}

// idOf returns the same UUID for the same words.
func idOf(words ...string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("quartermaster-sandbox/"+strings.Join(words, "/"))).String()
}

func newCatalogue() *catalogue {
	c := &catalogue{regions: map[string][]msg{}, packages: map[string]*pkg{}, levels: map[string]int64{}}
	for _, p := range []struct{ id, name string }{
		{providerAWS, "Amazon Web Services"}, {providerGCP, "Google Cloud"}, {providerAzure, "Microsoft Azure"}, {providerHybrid, "Hybrid Cloud"},
	} {
		provider := msg{"id": p.id, "name": p.name, "available": true}
		if p.id != providerHybrid {
			provider["free_tier"] = true
		}
		c.providers = append(c.providers, provider)
	}
	for _, r := range []struct {
		provider, id, name, country, continent string
		level                                  int64
		free, closed                           bool
	}{
		{providerAWS, "us-east-1", "N. Virginia", "US", "North America", 92, true, false},
		{providerAWS, "us-west-1", "N. California", "US", "North America", 104, false, false},
		{providerAWS, "us-west-2", "Oregon", "US", "North America", 92, true, false},
		{providerAWS, "eu-central-1", "Frankfurt", "DE", "Europe", 100, true, false},
		{providerAWS, "eu-west-1", "Ireland", "IE", "Europe", 96, false, false},
		{providerAWS, "eu-west-2", "London", "GB", "Europe", 101, true, false},
		{providerAWS, "ap-northeast-1", "Tokyo", "JP", "Asia", 112, true, false},
		{providerAWS, "ap-south-1", "Mumbai", "IN", "Asia", 95, false, true},
		{providerAWS, "ap-southeast-1", "Singapore", "SG", "Asia", 108, false, false},
		{providerAWS, "ap-southeast-2", "Sydney", "AU", "Oceania", 114, true, false},
		{providerGCP, "us-east4", "N. Virginia", "US", "North America", 93, true, false},
		{providerGCP, "europe-west3", "Frankfurt", "DE", "Europe", 100, true, false},
		{providerGCP, "asia-southeast1", "Singapore", "SG", "Asia", 107, false, false},
		{providerAzure, "eastus", "Virginia", "US", "North America", 92, false, false},
		{providerAzure, "germanywestcentral", "Frankfurt", "DE", "Europe", 100, false, false},
		{providerAzure, "uksouth", "London", "GB", "Europe", 103, false, false},
		{providerAzure, "southeastasia", "Singapore", "SG", "Asia", 106, false, false},
	} {
		region := msg{
			"id": r.id, "name": r.name, "provider": r.provider, "country_iso_code": r.country, "geographical_sub_region": r.continent,
			"capabilities": msg{"volume_snapshot": true, "volume_expansion": true},
		}
		if r.free {
			region["free_tier"] = true
		}
		if !r.closed {
			region["available"] = true
		}
		c.regions[r.provider] = append(c.regions[r.provider], region)
		c.levels[r.id] = r.level
	}
	c.addPackages()
	c.addReleases()
	return c
}

func (c *catalogue) addPackages() {
	sizes := []pkg{
		{name: "free2", free: true, cpuMilli: 500, ramGiB: 1, diskGiB: 4},
		{name: "mx1", cpuMilli: 500, ramGiB: 4, diskGiB: 16, price: 4712},
		{name: "mx2", cpuMilli: 1000, ramGiB: 8, diskGiB: 32, price: 9424},
		{name: "mx4", cpuMilli: 2000, ramGiB: 16, diskGiB: 64, price: 18848},
		{name: "mx8", cpuMilli: 4000, ramGiB: 32, diskGiB: 128, price: 37696},
		{name: "mx16", cpuMilli: 8000, ramGiB: 64, diskGiB: 256, price: 75392},
		{name: "mx32", cpuMilli: 16000, ramGiB: 128, diskGiB: 512, price: 150784},
		{name: "cx2", cpuMilli: 2000, ramGiB: 8, diskGiB: 32, price: 12730},
		{name: "cx4", cpuMilli: 4000, ramGiB: 16, diskGiB: 64, price: 25460},
		{name: "cx8", cpuMilli: 8000, ramGiB: 32, diskGiB: 128, price: 50920},
		{name: "mx8-premium", cpuMilli: 4000, ramGiB: 32, diskGiB: 128, price: 56544, tier: tierPremium, multiAZ: true},
		{name: "mx16-premium", cpuMilli: 8000, ramGiB: 64, diskGiB: 256, price: 113088, tier: tierPremium, multiAZ: true},
		{name: "gpu1", cpuMilli: 8000, ramGiB: 32, diskGiB: 128, gpuMilli: 1000, gpuRAMGiB: 16, price: 98200},
		{name: "gpx1", cpuMilli: 500, ramGiB: 2, diskGiB: 8, price: 2890, status: packageDeactivated},
	}
	surcharge := map[string]int64{providerAWS: 100, providerGCP: 102, providerAzure: 108, providerHybrid: 40}
	for _, provider := range []string{providerAWS, providerGCP, providerAzure, providerHybrid} {
		for _, p := range sizes {
			if p.gpuMilli > 0 && provider != providerAWS || provider == providerHybrid && (p.free || p.multiAZ) {
				continue
			}
			if p.status == 0 {
				p.status = packageActive
			}
			if p.tier == 0 {
				p.tier = tierStandard
			}
			p.id, p.provider, p.price = idOf("package", provider, p.name), provider, p.price*surcharge[provider]/100
			c.packages[p.id] = &p
			c.ordered = append(c.ordered, &p)
		}
	}
}

// outOfSLA is the remark of releases at their end of life.
const outOfSLA = "No longer covered by the SLA."

func (c *catalogue) addReleases() {
	for _, r := range []struct {
		version, remarks            string
		isDefault, eol, unavailable bool
	}{
		{version: "v1.8.4", remarks: outOfSLA, eol: true},
		{version: "v1.9.7", remarks: outOfSLA, eol: true},
		{version: "v1.11.5", remarks: outOfSLA, eol: true},
		{version: "v1.12.6", remarks: outOfSLA, eol: true},
		{version: "v1.13.6"},
		{version: "v1.14.1"},
		{version: "v1.15.5"},
		{version: "v1.16.3"},
		{version: "v1.17.0", remarks: "Withdrawn, use v1.17.1 or later.", unavailable: true},
		{version: "v1.17.1"},
		{version: "v1.17.2", isDefault: true},
		{version: "v1.18.0", remarks: "Being rolled out.", unavailable: true},
	} {
		release := msg{"version": r.version, "release_notes_url": "https://github.com/qdrant/qdrant/releases/tag/" + r.version}
		for name, set := range map[string]bool{"default": r.isDefault, "end_of_life": r.eol, "unavailable": r.unavailable} {
			if set {
				release[name] = true
			}
		}
		if r.remarks != "" {
			release["remarks"] = r.remarks
		}
		c.releases = append(c.releases, release)
	}
}

// provider returns a provider by id.
func (c *catalogue) provider(id string) (msg, bool) {
	i := slices.IndexFunc(c.providers, func(p msg) bool { return p.str("id") == id })
	if i < 0 {
		return nil, false
	}
	return c.providers[i], true
}

// region returns a managed region.
func (c *catalogue) region(provider, id string) (msg, bool) {
	regions := c.regions[provider]
	i := slices.IndexFunc(regions, func(r msg) bool { return r.str("id") == id })
	if i < 0 {
		return nil, false
	}
	return regions[i], true
}

// pkgNamed returns a package by provider and name, or nil.
func (c *catalogue) pkgNamed(provider, name string) *pkg {
	return c.packages[idOf("package", provider, name)]
}

// offered reports whether p can be booked in a region: free packages only in free regions.
func (c *catalogue) offered(p *pkg, provider, region string) bool {
	if p.provider != provider {
		return false
	}
	if provider == providerHybrid {
		return true
	}
	r, ok := c.region(provider, region)
	return ok && (!p.free || r.flag("free_tier"))
}

// restoring is the package that best holds what ran on a package: the same, or where it cannot be booked any more the cheapest one that
// has as much of everything but disk, of which more can be added. It is nil when there is none.
func (c *catalogue) restoring(size *pkg, region string) *pkg {
	bookable := func(p *pkg) bool { return p.status == packageActive && c.offered(p, p.provider, region) }
	if size == nil || bookable(size) {
		return size
	}
	var best *pkg
	for _, p := range c.ordered {
		if p.provider == size.provider && !p.free && p.cpuMilli >= size.cpuMilli && p.ramGiB >= size.ramGiB && p.gpuMilli >= size.gpuMilli && p.gpuRAMGiB >= size.gpuRAMGiB &&
			p.multiAZ == size.multiAZ && (best == nil || p.price < best.price) && bookable(p) {
			best = p
		}
	}
	return best
}

// priced returns a package at its price in a region; hybrid environments are at level 100.
func (c *catalogue) priced(p *pkg, region string) *pkg {
	out := *p
	if level, ok := c.levels[region]; ok {
		out.price = p.price * level / 100
	}
	return &out
}

// hourly is the price of a configuration in a region in millicents an hour, before any discount.
func (c *catalogue) hourly(config msg, region string) int64 {
	size := c.packages[config.str("package_id")]
	if size == nil {
		return 0
	}
	disk := int64(config.sub("additional_resources").uint("disk"))
	tier := config.sub("cluster_storage_configuration").enum("storage_tier_type")
	return c.priced(size, region).hourly(int64(config.uint("number_of_nodes")), disk, tier)
}

// hourly is the price of nodes with so many GiB of additional disk and a storage tier.
func (p *pkg) hourly(nodes, diskGiB int64, tier enumValue) int64 {
	return nodes * (p.price + diskGiB*diskPrice + p.storageSurcharge(tier))
}

// release returns a release by version; "latest" is the default one.
func (c *catalogue) release(version string) (msg, bool) {
	for _, r := range c.releases {
		if r.str("version") == version || version == "latest" && r.flag("default") {
			return r, true
		}
	}
	return nil, false
}

func (c *catalogue) defaultVersion() string {
	r, _ := c.release("latest")
	return r.str("version")
}

// olderVersion compares two versions v1.2.3 by number.
func olderVersion(a, b string) bool {
	parts := func(v string) []int {
		var out []int
		for _, p := range strings.Split(strings.TrimPrefix(v, "v"), ".") {
			n, _ := strconv.Atoi(p) // a part that is no number counts as zero
			out = append(out, n)
		}
		return out
	}
	return slices.Compare(parts(a), parts(b)) < 0
}

// resource is the booking.v1.Package of p.
func (p *pkg) resource() msg {
	config := msg{
		"ram": fmt.Sprintf("%dGiB", p.ramGiB), "cpu": fmt.Sprintf("%dm", p.cpuMilli), "disk": fmt.Sprintf("%dGiB", p.diskGiB),
	}
	if p.gpuMilli > 0 {
		config["gpu"], config["gpu_ram"] = fmt.Sprintf("%dm", p.gpuMilli), fmt.Sprintf("%dGiB", p.gpuRAMGiB)
	}
	m := msg{
		"id": p.id, "name": p.name, "type": "paid", "resource_configuration": config, "currency": "USD",
		"status": p.status, "tier": p.tier,
		"available_storage_tier_configurations": []any{msg{"storage_tier_type": storageCostOptimised}},
	}
	if p.free {
		m["type"] = "free"
		return m
	}
	m["unit_int_price_per_hour"] = p.price
	m["available_additional_resources"] = msg{"disk_price_per_hour": uint64(diskPrice)}
	m["available_storage_tier_configurations"] = []any{
		msg{"storage_tier_type": storageCostOptimised},
		msg{"storage_tier_type": storageBalanced, "price_per_hour": uint64(p.price / 10)},
		msg{"storage_tier_type": storagePerformance, "price_per_hour": uint64(p.price / 4)},
	}
	if p.multiAZ {
		m["multi_az"] = true
	}
	return m
}

// storageSurcharge is what a storage tier adds to an hour of one node, in millicents.
func (p *pkg) storageSurcharge(tier enumValue) int64 {
	switch tier {
	case storageBalanced:
		return p.price / 10
	case storagePerformance:
		return p.price / 4
	}
	return 0
}

// diskPrice is the price of one additional GiB of disk an hour and node, in millicents.
const diskPrice = 14

// permission is one right of the platform with the category it is shown under.
type permission struct{ value, category string }

// permissionCatalogue lists the permissions that the rpcs of the current API ask for.
func permissionCatalogue() []permission {
	var out []permission
	add := func(category string, values ...string) {
		for _, v := range values {
			out = append(out, permission{v, category})
		}
	}
	add("Account", "read:account", "write:account", "delete:account")
	add("Backup", "read:backups", "write:backups", "delete:backups", "restore:backups")
	add("Backup Schedule", "read:backup_schedules", "write:backup_schedules", "delete:backup_schedules")
	add("Cluster", "read:clusters", "write:clusters", "delete:clusters")
	add("Cluster Data", "read:cluster_data", "write:cluster_data")
	add("Database API Key", "read:api_keys", "write:api_keys", "delete:api_keys")
	add("Hybrid Cloud", "read:hybrid_cloud_environments", "write:hybrid_cloud_environments", "delete:hybrid_cloud_environments")
	add("Invite", "read:invites", "write:invites", "delete:invites")
	add("Management Key", "read:management_keys", "write:management_keys", "delete:management_keys")
	add("Payment", "read:payment_information", "write:payment_information")
	add("Profile", "read:profile")
	add("Role", "read:roles", "write:roles", "delete:roles")
	add("Serverless", "read:serverless_spaces", "write:serverless_spaces", "delete:serverless_spaces",
		"read:serverless_api_keys", "write:serverless_api_keys", "delete:serverless_api_keys",
		"read:serverless_backups", "write:serverless_backups", "delete:serverless_backups", "restore:serverless_backups",
		"read:serverless_backup_schedules", "write:serverless_backup_schedules", "delete:serverless_backup_schedules")
	add("User", "read:users", "delete:users")
	return out
}

// allPermissions are the values of the permission catalogue.
func allPermissions() []string {
	var out []string
	for _, p := range permissionCatalogue() {
		out = append(out, p.value)
	}
	return out
}

// permissionMessages are permissions as iam.v1.Permission, in the catalogue's order.
func permissionMessages(values []string) []any {
	var out []any
	for _, p := range permissionCatalogue() {
		if slices.Contains(values, p.value) {
			out = append(out, msg{"value": p.value, "category": p.category})
		}
	}
	return out
}
