package accounts

import (
	"slices"

	"quartermaster/internal/cloudapi"
)

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

// legacyFormLacks says what a new cluster cannot be asked to have through pa/v1.
var legacyFormLacks = []string{
	"The legacy pa/v1 API tells neither providers, regions nor versions, so these are those it was published with.",
	"It has no labels, no cost allocation label and no speeds of disk, and of hybrid settings only node selector, tolerations and annotations.",
	"It gives no quote, suggests no name, and tells no quota.",
}
