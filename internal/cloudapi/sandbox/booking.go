package sandbox

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// listProviders serves ListCloudProviders and ListGlobalCloudProviders. Hybrid is available to
// accounts that have an environment.
func (r *request) listProviders() (msg, error) {
	var items []any
	for _, p := range r.catalogue.providers {
		if p.str("id") == providerHybrid && r.account != nil && len(r.account.environments) == 0 {
			p = p.clone()
			delete(p, "available")
		}
		items = append(items, p)
	}
	return msg{"items": items}, nil
}

// listRegions serves ListCloudProviderRegions and ListGlobalCloudProviderRegions.
func (r *request) listRegions() (msg, error) {
	provider := r.in.str("cloud_provider_id")
	if _, ok := r.catalogue.provider(provider); !ok {
		return nil, notFound("cloud provider", provider)
	}
	if provider == providerHybrid && r.account != nil {
		return msg{"items": anys(ordered(r.account.environments))}, nil
	}
	return msg{"items": anys(r.catalogue.regions[provider])}, nil
}

// getRegion serves GetCloudProviderRegion and GetGlobalCloudProviderRegion.
func (r *request) getRegion() (msg, error) {
	provider := r.in.str("cloud_provider_id")
	if _, ok := r.catalogue.provider(provider); !ok {
		return nil, notFound("cloud provider", provider)
	}
	found, ok := r.region(provider, r.in.str("region_id"))
	if !ok {
		return nil, notFound("cloud provider region", r.in.str("region_id"))
	}
	return msg{"region": found}, nil
}

// place checks the provider and region of a booking request. In hybrid the region may be left out.
func (r *request) place() (provider, region string, err error) {
	provider, region = r.in.str("cloud_provider_id"), r.in.str("cloud_provider_region_id")
	if _, ok := r.catalogue.provider(provider); !ok {
		return "", "", notFound("cloud provider", provider)
	}
	if provider == providerHybrid && (region == "" || r.account == nil) {
		return provider, region, nil
	}
	if _, ok := r.region(provider, region); !ok {
		return "", "", notFound("cloud provider region", region)
	}
	return provider, region, nil
}

// listPackages serves ListPackages and ListGlobalPackages. Without statuses only active packages
// are listed, and without a tier those of the account's own, or where there is none the standard ones.
func (r *request) listPackages() (msg, error) {
	provider, region, err := r.place()
	if err != nil {
		return nil, err
	}
	least, err := r.minResources()
	if err != nil {
		return nil, err
	}
	statuses, tier := r.in.list("statuses"), tierStandard
	switch {
	case r.in.has("tier"):
		tier = r.in.enum("tier")
	case r.account != nil:
		tier = r.account.tier
	}
	var items []any
	for _, p := range r.catalogue.ordered {
		switch {
		case !r.catalogue.offered(p, provider, region):
		case len(statuses) == 0 && p.status != packageActive:
		case len(statuses) > 0 && !slices.Contains(statuses, any(p.status)):
		case p.ramGiB*1024 < least.ramMiB || p.cpuMilli < least.cpuMilli || p.diskGiB*1024 < least.diskMiB || p.gpuMilli < least.gpuMilli:
		case r.in.has("multi_az") && r.in.flag("multi_az") != p.multiAZ:
		case r.in.has("gpu") && r.in.flag("gpu") != (p.gpuMilli > 0):
		case p.tier != tier:
		default:
			items = append(items, r.catalogue.priced(p, region).resource())
		}
	}
	return msg{"items": items}, nil
}

type resources struct{ ramMiB, cpuMilli, diskMiB, gpuMilli int64 }

func (r *request) minResources() (resources, error) {
	var out resources
	filter := r.in.sub("min_resources")
	for name, target := range map[string]*int64{"ram": &out.ramMiB, "disk": &out.diskMiB, "cpu": &out.cpuMilli, "gpu": &out.gpuMilli} {
		if !filter.has(name) {
			continue
		}
		n, ok := quantity(filter.str(name))
		if !ok {
			return resources{}, invalidField("min_resources."+name, "%q is no quantity like 8GiB or 500m", filter.str(name))
		}
		*target = n
	}
	return out, nil
}

// quantity reads 8GiB or 512MiB as MiB, 500m as thousandths, and 2 as 2000 thousandths.
func quantity(s string) (int64, bool) {
	for _, unit := range []struct {
		suffix string
		factor float64
	}{{"GiB", 1024}, {"Gi", 1024}, {"MiB", 1}, {"Mi", 1}, {"m", 1}, {"", 1000}} {
		if number, ok := strings.CutSuffix(s, unit.suffix); ok {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || n < 0 || n > 1e9 {
				return 0, false
			}
			return int64(n * unit.factor), true
		}
	}
	return 0, false
}

func (r *request) getPackage() (msg, error) {
	provider, region, err := r.place()
	if err != nil {
		return nil, err
	}
	p := r.catalogue.packages[strings.ToLower(r.in.str("id"))]
	if p == nil || !r.catalogue.offered(p, provider, region) {
		return nil, notFound("package", r.in.str("id"))
	}
	return msg{"package": r.catalogue.priced(p, region).resource()}, nil
}

// premiumDiscount is what every quote of the sandbox takes off premium packages, in per cent.
const premiumDiscount = 10

func (r *request) getQuote() (msg, error) {
	provider, region, err := r.place()
	if err != nil {
		return nil, err
	}
	p := r.catalogue.packages[strings.ToLower(r.in.str("package_id"))]
	if p == nil || !r.catalogue.offered(p, provider, region) {
		return nil, notFound("package", r.in.str("package_id"))
	}
	p = r.catalogue.priced(p, region)
	nodes, disk, tier := int64(r.in.uint("number_of_nodes")), int64(r.in.uint("additional_disk_gib")), r.in.enum("storage_tier_type")
	discount := int64(0)
	if p.tier == tierPremium {
		discount = premiumDiscount
	}
	out := price(p.hourly(nodes, disk, tier), discount)
	out["currency"] = "USD"
	out["package"] = price(nodes*p.price, discount)
	if disk > 0 {
		out["extra_disk"] = price(nodes*disk*diskPrice, discount)
	}
	if extra := p.storageSurcharge(tier); extra > 0 {
		out["disk_speed"] = price(nodes*extra, discount)
	}
	return out, nil
}

// price is what PriceBreakdown and the quotes share, in millicents an hour.
func price(perHour, discountPercent int64) msg {
	m := msg{}
	if perHour > 0 {
		m["original_price_per_hour"] = perHour
		m["discounted_price_per_hour"] = perHour - perHour*discountPercent/100
	}
	if discountPercent > 0 {
		m["discount_percentage"] = float64(discountPercent)
	}
	return m
}

// backupPrice is the price of one GiB of backup an hour, in millicents.
const backupPrice = 6

func (r *request) getBackupQuote() (msg, error) {
	if _, _, err := r.place(); err != nil {
		return nil, err
	}
	size := int64(max(r.in.uint("backup_size_gib"), 1))
	out := price(min(size, math.MaxInt32)*backupPrice, 0)
	out["currency"] = "USD"
	return out, nil
}

func (r *request) listStorageTiers() (msg, error) {
	if _, _, err := r.place(); err != nil {
		return nil, err
	}
	return msg{"items": []any{
		msg{"storage_tier_type": storageCostOptimised}, msg{"storage_tier_type": storageBalanced}, msg{"storage_tier_type": storagePerformance},
	}}, nil
}

func (r *request) listInferenceModels() (msg, error) {
	if r.in.str("cloud_provider_id") == providerHybrid {
		return nil, invalidField("cloud_provider_id", "value must not be hybrid")
	}
	if _, _, err := r.place(); err != nil {
		return nil, err
	}
	model := func(name, title, vendor string, kind, modality enumValue, dimensions, tokens, price uint64) msg {
		m := msg{
			"id": idOf("model", name), "name": name, "title": title, "description": title + " by " + vendor + ".",
			"vector_type": kind, "modality": modality, "vendor": vendor, "max_tokens_per_request": tokens,
		}
		if dimensions > 0 {
			m["dimensionality"] = dimensions
		}
		if price > 0 {
			m["unit_int_price"] = price
		}
		return m
	}
	return msg{"items": []any{
		model("sentence-transformers/all-minilm-l6-v2", "all-MiniLM-L6-v2", "Sentence Transformers", 1, 1, 384, 256, 1),
		model("mixedbread-ai/mxbai-embed-large-v1", "mxbai-embed-large-v1", "Mixedbread", 1, 1, 1024, 512, 4),
		model("qdrant/bm25", "BM25", "Qdrant", 2, 1, 0, 8192, 0),
		model("qdrant/clip-vit-b-32-vision", "CLIP ViT-B-32 vision", "OpenAI", 1, 2, 512, 77, 2),
	}}, nil
}
