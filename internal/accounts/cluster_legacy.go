package accounts

import "quartermaster/internal/cloudapi"

// legacyProviders are what pa/v1's enum of cloud providers has; it calls hybrid private.
var legacyProviders = []cloudapi.Provider{
	{ID: "aws", Name: "Amazon Web Services", Available: true}, {ID: "gcp", Name: "Google Cloud", Available: true},
	{ID: "azure", Name: "Microsoft Azure", Available: true}, {ID: hybridProvider, Name: "Hybrid Cloud", Available: true},
}

// legacyRegions are what pa/v1's enum of regions has, by the provider that has a region of the name. The enum
// also has eu-central, which is none of theirs.
var legacyRegions = map[string][]string{
	"aws":   {"us-east-1", "us-west-1", "us-west-2", "eu-central-1", "eu-west-2", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2"},
	"gcp":   {"us-east4", "europe-west3"},
	"azure": {"eastus", "germanywestcentral", "uksouth", "southeastasia"},
}

// legacyRegionsOf lists the regions of a provider. Those of hybrid are the account's environments, which
// pa/v1 does not tell.
func legacyRegionsOf(provider string) []cloudapi.Region {
	var regions []cloudapi.Region
	for _, id := range legacyRegions[provider] {
		regions = append(regions, cloudapi.Region{ID: id, Name: id, Provider: provider, Available: true})
	}
	return regions
}

// legacyLacks says what a new cluster cannot be asked to have through pa/v1.
var legacyLacks = []string{
	"The legacy pa/v1 API tells neither providers, regions nor versions, so these are those it was published with.",
	"It has no labels, no cost allocation label and no speeds of disk, and of hybrid settings only node selector, tolerations and annotations.",
	"It gives no quote, suggests no name, and tells no quota.",
}
