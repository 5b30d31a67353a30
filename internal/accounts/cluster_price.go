package accounts

import (
	"context"
	"math"
	"slices"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// ClusterPrice is what a cluster costs, or would cost, in millicents an hour for all of its nodes.
type ClusterPrice struct {
	Currency        string
	PerHour         int64 // what is charged
	Listed          int64 // before the discount
	DiscountPercent float64
	Package         string
	Nodes           int
	Parts           []PricePart
	Estimate        string // why it was computed here and not quoted; empty for a quote
	WithoutDisk     bool   // the price of additional disk is not told, and not in it
	Problem         string // why there is no price; empty when there is one
}

// PricePart is a part of a price.
type PricePart struct {
	Name    string // package, disk, speed
	PerHour int64
}

// price is that of a new cluster as chosen so far.
func (s *Service) price(ctx context.Context, by audit.Actor, a Account, asked NewCluster, packages []cloudapi.Package) ClusterPrice {
	p, q, ok := asked.priced(packages)
	if !ok {
		return ClusterPrice{Problem: notChosen}
	}
	up, err := s.connectFor(ctx, a.ID, toShow, by.RequestID)
	if err != nil {
		return estimated(p, q, s.notQuoted(ctx, a, err))
	}
	return s.priceOf(ctx, a, up.cloud, p, q)
}

// priceAgain is the price in a form that was not taken: upstream is not asked for a quote.
func priceAgain(asked NewCluster, packages []cloudapi.Package) ClusterPrice {
	p, q, ok := asked.priced(packages)
	if !ok {
		return ClusterPrice{Problem: notChosen}
	}
	return estimated(p, q, "Computed from the prices of package and disk, without any discount, until the form is right.")
}

const notChosen = "Choose a package and give the number of nodes and of additional GiB: then the price is told."

// priced is what of a choice has a price; ok is false while there is too little of it.
func (n NewCluster) priced(packages []cloudapi.Package) (p cloudapi.Package, q cloudapi.QuoteFor, ok bool) {
	wrong := false
	say := func(problem string) { wrong = wrong || problem != "" }
	nodes := typedNumber(n.Nodes, 1, maxClusterNodes, 0, say)
	disk := typedNumber(n.AdditionalDiskGiB, 0, maxExtraDiskGiB, 0, say)
	i := slices.IndexFunc(packages, func(p cloudapi.Package) bool { return p.ID == n.PackageID })
	if wrong || nodes == 0 || i < 0 {
		return cloudapi.Package{}, cloudapi.QuoteFor{}, false
	}
	q = cloudapi.QuoteFor{
		CloudProvider: n.CloudProvider, Region: n.Region, PackageID: packages[i].ID, Nodes: nodes, AdditionalDiskGiB: disk, StorageTier: n.StorageTier,
	}
	if !slices.Contains(storageTiers, q.StorageTier) {
		q.StorageTier = ""
	}
	return packages[i], q, true
}

// priceOf asks upstream for a quote. Where the API or the key gives none the price is computed from what
// the package costs.
func (s *Service) priceOf(ctx context.Context, a Account, from cloud, p cloudapi.Package, q cloudapi.QuoteFor) ClusterPrice {
	quote, err := from.Quote(ctx, q)
	if err != nil {
		return estimated(p, q, s.notQuoted(ctx, a, err))
	}
	return quoted(quote, p, q)
}

// notQuoted says why a price is computed here.
func (s *Service) notQuoted(ctx context.Context, a Account, err error) string {
	if a.Generation == cloudapi.PAV1 {
		return "The legacy pa/v1 API gives no quote, so this is the package’s price, without any discount."
	}
	return "There is no quote, so this is computed from the prices of package and disk, without any discount: " + s.notRead(ctx, a, "quote", err)
}

func quoted(quote cloudapi.Quote, p cloudapi.Package, q cloudapi.QuoteFor) ClusterPrice {
	price := ClusterPrice{
		Currency: quote.Currency, PerHour: quote.DiscountedPerHour, Listed: quote.OriginalPerHour, DiscountPercent: quote.DiscountPercent,
		Package: p.Name, Nodes: q.Nodes,
	}
	for _, part := range []struct {
		name string
		of   *cloudapi.Price
	}{{"package", quote.Package}, {"disk", quote.ExtraDisk}, {"speed", quote.DiskSpeed}} {
		if part.of != nil {
			price.Parts = append(price.Parts, PricePart{part.name, part.of.DiscountedPerHour})
		}
	}
	return price
}

// estimated computes a price from what upstream lists; why says why there is no quote.
func estimated(p cloudapi.Package, q cloudapi.QuoteFor, why string) ClusterPrice {
	nodes, disk := int64(q.Nodes), int64(q.AdditionalDiskGiB)
	times := func(n, millicents int64) int64 { return n * min(max(millicents, 0), math.MaxInt64>>32) } // n is below 2^25
	price := ClusterPrice{Currency: p.Currency, Package: p.Name, Nodes: q.Nodes, Estimate: why}
	add := func(name string, perHour int64) {
		price.Parts = append(price.Parts, PricePart{name, perHour})
		price.PerHour += perHour
		price.Listed += perHour
	}
	add("package", times(nodes, p.PricePerHourMillicents))
	switch {
	case disk > 0 && p.DiskPricePerHourMillicents > 0:
		add("disk", times(nodes*disk, p.DiskPricePerHourMillicents))
	case disk > 0:
		price.WithoutDisk = true
		price.Estimate += " Qdrant Cloud does not tell what additional disk costs, which comes on top."
	}
	for _, tier := range p.StorageTiers {
		if tier.Name == q.StorageTier && tier.PricePerHourMillicents > 0 {
			add("speed", times(nodes, tier.PricePerHourMillicents))
		}
	}
	return price
}
