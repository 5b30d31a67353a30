package accounts

import (
	"slices"

	"quartermaster/internal/cloudapi"
)

// pa/v1 lists neither providers nor regions: its definition names them, and what names of regions
// belong to which provider is known from the providers themselves. eu-central, which no provider has,
// is left out. A hybrid environment's id it cannot list either.
var legacyPlaces = []struct {
	provider cloudapi.Provider
	regions  []string
}{
	{cloudapi.Provider{ID: "aws", Name: "Amazon Web Services", Available: true}, []string{
		"us-east-1", "us-west-1", "us-west-2", "eu-central-1", "eu-west-2", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2",
	}},
	{cloudapi.Provider{ID: "gcp", Name: "Google Cloud", Available: true}, []string{"us-east4", "europe-west3"}},
	{cloudapi.Provider{ID: "azure", Name: "Microsoft Azure", Available: true}, []string{"eastus", "germanywestcentral", "uksouth", "southeastasia"}},
}

func legacyProviders() []cloudapi.Provider {
	providers := make([]cloudapi.Provider, len(legacyPlaces))
	for i, p := range legacyPlaces {
		providers[i] = p.provider
	}
	return providers
}

func legacyRegions(provider string) []cloudapi.Region {
	var regions []cloudapi.Region
	for _, p := range legacyPlaces {
		if p.provider.ID != provider {
			continue
		}
		for _, id := range p.regions {
			regions = append(regions, cloudapi.Region{ID: id, Name: id, Provider: provider, Available: true})
		}
	}
	return regions
}

// legacyFormProviders are the providers that a cluster can be asked for at through pa/v1. It calls hybrid private.
func legacyFormProviders() []cloudapi.Provider {
	return append(legacyProviders(), cloudapi.Provider{ID: hybridProvider, Name: "Hybrid Cloud", Available: true})
}

// legacyPlaceProblem says what is wrong with a provider and a region that pa/v1 has no name for. Those of
// hybrid are the account's environments, which pa/v1 does not tell.
func legacyPlaceProblem(provider, region string) (field, problem string) {
	switch {
	case !slices.ContainsFunc(legacyProviders(), func(p cloudapi.Provider) bool { return p.ID == provider }):
		return "cloud_provider", "The legacy pa/v1 API has no such cloud provider."
	case !slices.ContainsFunc(legacyRegions(provider), func(r cloudapi.Region) bool { return r.ID == region }):
		return "region", "The legacy pa/v1 API has no such region of this provider."
	}
	return "", ""
}
