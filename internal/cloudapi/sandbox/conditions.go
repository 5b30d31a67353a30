package sandbox

import (
	"net/http"
	"slices"
)

// accountConditions is what POST /_sandbox/account sets; what is left out stays as it is.
type accountConditions struct {
	Account string `json:"account"`
	Quotas  struct {
		Clusters     *int `json:"clusters"`
		Nodes        *int `json:"nodes"`
		DatabaseKeys *int `json:"database_keys"`
		FreeClusters *int `json:"free_clusters"`
	} `json:"quotas"`
	Tier     string `json:"tier"`    // standard or premium
	Payment  string `json:"payment"` // ok or missing
	Entitled *bool  `json:"entitled"`
}

// controlAccount changes what an account may do and answers with all of it, so that a test can put
// things back. What the account has already stays, also where it is more than a new quota.
func (s *Sandbox) controlAccount(req *http.Request) (any, error) {
	var in accountConditions
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	a := s.accounts[in.Account]
	if a == nil {
		return nil, refuseControl("there is no account %q", in.Account)
	}
	quotas, err := in.quotas(a.quotas)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "ok", "missing"}, in.Payment) {
		return nil, refuseControl("payment must be ok or missing, not %q", in.Payment)
	}
	if !slices.Contains([]string{"", "standard", "premium"}, in.Tier) {
		return nil, refuseControl("tier must be standard or premium, not %q", in.Tier)
	}
	a.quotas = quotas
	switch in.Tier {
	case "standard":
		a.tier = tierStandard
	case "premium":
		a.tier = tierPremium
	}
	if in.Payment != "" {
		a.paymentMissing = in.Payment == "missing"
	}
	if in.Entitled != nil {
		a.notEntitled = !*in.Entitled
	}
	s.changed()
	payment, tier := "ok", "standard"
	if a.paymentMissing {
		payment = "missing"
	}
	if a.tier == tierPremium {
		tier = "premium"
	}
	return map[string]any{"quotas": a.quotas, "tier": tier, "payment": payment, "entitled": !a.notEntitled}, nil
}

// quotas returns present with the given limits in it.
func (in accountConditions) quotas(present quotas) (quotas, error) {
	for _, q := range []struct {
		name   string
		given  *int
		target *int
	}{
		{"clusters", in.Quotas.Clusters, &present.Clusters},
		{"nodes", in.Quotas.Nodes, &present.Nodes},
		{"database_keys", in.Quotas.DatabaseKeys, &present.DatabaseKeys},
		{"free_clusters", in.Quotas.FreeClusters, &present.FreeClusters},
	} {
		if q.given == nil {
			continue
		}
		if *q.given < 0 || *q.given > maxNodes {
			return quotas{}, refuseControl("the quota %s must be from 0 to %d", q.name, maxNodes)
		}
		*q.target = *q.given
	}
	return present, nil
}

// catalogueChange is what POST /_sandbox/catalogue takes away from everybody.
type catalogueChange struct {
	Restore bool `json:"restore"` // first puts back all that was taken away
	Region  *struct {
		Provider string `json:"provider"`
		Region   string `json:"region"`
	} `json:"region_unavailable"`
	Package *struct {
		Provider string `json:"provider"`
		Name     string `json:"name"`
	} `json:"package_deactivated"`
	Release string `json:"release_end_of_life"`
}

// controlCatalogue takes a region, a package or a release away. It lasts until it is restored, or
// until the next start: the catalogue is no part of the state.
func (s *Sandbox) controlCatalogue(req *http.Request) (any, error) {
	var in catalogueChange
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	cat := newCatalogue()
	if !in.Restore {
		cat = s.catalogue.copy()
	}
	if in.Region != nil && !cat.closeRegion(in.Region.Provider, in.Region.Region) {
		return nil, refuseControl("there is no region %q of %q", in.Region.Region, in.Region.Provider)
	}
	if in.Package != nil && !cat.deactivate(in.Package.Provider, in.Package.Name) {
		return nil, refuseControl("there is no package %q of %q", in.Package.Name, in.Package.Provider)
	}
	if in.Release != "" && !cat.endRelease(in.Release) {
		return nil, refuseControl("there is no release %q", in.Release)
	}
	s.catalogue = cat
	return nil, nil
}

// copy returns a catalogue that can be changed without changing c.
func (c *catalogue) copy() *catalogue {
	out := *c
	out.regions, out.packages, out.ordered = map[string][]msg{}, map[string]*pkg{}, nil
	for provider, regions := range c.regions {
		out.regions[provider] = slices.Clone(regions)
	}
	for _, p := range c.ordered {
		size := *p
		out.packages[p.id] = &size
		out.ordered = append(out.ordered, &size)
	}
	out.releases = slices.Clone(c.releases)
	return &out
}

// closeRegion makes a managed region take no more clusters and reports whether there is one.
func (c *catalogue) closeRegion(provider, id string) bool {
	for i, region := range c.regions[provider] {
		if region.str("id") == id {
			closed := region.clone()
			delete(closed, "available")
			c.regions[provider][i] = closed
			return true
		}
	}
	return false
}

// deactivate makes a package one that cannot be booked any more and reports whether there is one.
func (c *catalogue) deactivate(provider, name string) bool {
	p := c.pkgNamed(provider, name)
	if p == nil {
		return false
	}
	p.status = packageDeactivated
	return true
}

// endRelease ends the life of a release and reports whether there is one. The default moves on to
// the newest that can still be had.
func (c *catalogue) endRelease(version string) bool {
	i := slices.IndexFunc(c.releases, func(r msg) bool { return r.str("version") == version })
	if i < 0 {
		return false
	}
	ended := c.releases[i].with("end_of_life", true)
	ended["remarks"] = outOfSLA
	wasDefault := ended.flag("default")
	delete(ended, "default")
	c.releases[i] = ended
	if !wasDefault {
		return true
	}
	for n, r := range slices.Backward(c.releases) {
		if !r.flag("end_of_life") && !r.flag("unavailable") {
			c.releases[n] = r.with("default", true)
			break
		}
	}
	return true
}
