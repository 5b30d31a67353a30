package accounts

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// regionsAtOnce is how many regions' packages are asked for at the same time.
const regionsAtOnce = 4

// PackageQuery is what /packages may be asked. Zero values do not filter.
type PackageQuery struct {
	Account   uuid.UUID // zero: the first enabled account
	Provider  string    // empty: the first
	Region    string    // empty: all of the provider's
	MinRAMMiB int64
	MinCPU    int64 // thousandths of a core
	GPU       bool  // only with one
	MultiAZ   bool  // only those
	Tier      string
	Sort      string // price (default), package, region, ram, cpu, disk, gpu
	Dir       string // asc (default), desc
}

// PackageOffer is a package in a region.
type PackageOffer struct {
	cloudapi.Package
	Region     cloudapi.Region
	Cheapest   bool    // other regions ask for more, and none for less
	Over       float64 // per cent over the cheapest region
	Compared   bool    // it is offered in another region too
	Currencies bool    // the regions ask for it in different currencies, so they are not compared
}

// PackagesPage is what can be booked in one account with one provider, and for how much.
type PackagesPage struct {
	Accounts  []Account // that the member may look at
	Account   Account   // the chosen one; zero when there is none
	Providers []cloudapi.Provider
	Provider  string
	Regions   []cloudapi.Region
	Tiers     []string // that occur
	Offers    []PackageOffer
	All       int // before filters of size, tier and kind
	// Failure says why nothing could be read, in words for people; Missing does for single regions.
	Failure string
	Missing map[string]string
	Create  Offer // whether the member can make a cluster there
}

// Packages lists what can be booked. What upstream does not tell is told in the page and is no error,
// so that one region that does not answer hides no other. ErrNotFound for an account that does not
// exist or may not be read.
func (s *Service) Packages(ctx context.Context, by audit.Actor, q PackageQuery) (PackagesPage, error) {
	var page PackagesPage
	var err error
	if scope := s.visible(by, ActPackageRead); !scope.None() {
		if page.Accounts, err = s.accountsIn(ctx, scope); err != nil {
			return PackagesPage{}, err
		}
	}
	if err := s.chooseAccount(ctx, by, q.Account, &page); err != nil || page.Account.ID == uuid.Nil {
		return page, err
	}
	page.Create = s.offers(by, accountTarget(page.Account.ref()), "", page.Account.Key)[ActClusterCreate.Name]
	if page.Providers, err = s.providersOf(ctx, by, page.Account); err != nil {
		page.Failure = reasonOf(err)
		return page, nil
	}
	if page.Provider = q.Provider; !slices.ContainsFunc(page.Providers, func(p cloudapi.Provider) bool { return p.ID == q.Provider }) {
		if page.Provider = ""; len(page.Providers) > 0 {
			page.Provider = page.Providers[0].ID
		}
	}
	if page.Provider == "" {
		return page, nil
	}
	if page.Regions, err = s.regionsOf(ctx, by, page.Account, page.Provider); err != nil {
		page.Failure = reasonOf(err)
		return page, nil
	}
	s.readOffers(ctx, by, &page)
	compareRegions(page.Offers)
	page.All = len(page.Offers)
	for _, o := range page.Offers {
		if o.Tier != "" && !slices.Contains(page.Tiers, o.Tier) {
			page.Tiers = append(page.Tiers, o.Tier)
		}
	}
	slices.Sort(page.Tiers)
	page.Offers = slices.DeleteFunc(page.Offers, func(o PackageOffer) bool { return !q.wants(o) })
	q.sort(page.Offers)
	return page, nil
}

// chooseAccount finds the account of the query among those that may be read.
func (s *Service) chooseAccount(ctx context.Context, by audit.Actor, id uuid.UUID, page *PackagesPage) error {
	i := slices.IndexFunc(page.Accounts, func(a Account) bool { return a.ID == id || id == uuid.Nil && a.Enabled })
	if i >= 0 {
		page.Account = page.Accounts[i]
		return nil
	}
	if id == uuid.Nil {
		return nil
	}
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	on := target{Account: account.ref(), Kind: KindAccount, ID: id.String(), Name: account.Name}
	if err := s.read(ctx, by, ActPackageRead, on); err != nil {
		return err
	}
	page.Account = account
	return nil
}

// readOffers reads the packages of each region that takes clusters, a few regions at once.
func (s *Service) readOffers(ctx context.Context, by audit.Actor, page *PackagesPage) {
	places := page.Regions
	if page.Provider == hybridProvider {
		places = []cloudapi.Region{{Provider: hybridProvider, Available: true}} // packages are the same in every environment
	}
	read := make([][]cloudapi.Package, len(places))
	failed := make([]error, len(places))
	turns := make(chan struct{}, regionsAtOnce)
	var running sync.WaitGroup
	for i, r := range places {
		if !r.Available {
			continue
		}
		running.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			failed[i] = guarded(ctx, func(ctx context.Context) (err error) {
				read[i], err = s.packagesOf(ctx, by, page.Account, page.Provider, r.ID)
				return err
			})
		})
	}
	running.Wait()
	for i, r := range places {
		if broken, did := errors.AsType[*panicError](failed[i]); did {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "reading packages panicked", slog.String("region", r.ID), slog.Any("error", broken))
		}
		if failed[i] != nil {
			if page.Missing == nil {
				page.Missing = map[string]string{}
			}
			page.Missing[r.ID] = reasonOf(failed[i])
		}
		for _, p := range read[i] {
			if !p.Deactivated() {
				page.Offers = append(page.Offers, PackageOffer{Package: p, Region: r})
			}
		}
	}
}

// hybridProvider is the provider whose regions are an account's own environments.
const hybridProvider = "hybrid"

// compareRegions finds for each package, by its name, where it is cheapest.
func compareRegions(offers []PackageOffer) {
	type prices struct {
		least, most int64
		currency    string
		regions     int
		mixed       bool
	}
	of := map[string]*prices{}
	for _, o := range offers {
		p := of[o.Name]
		if p == nil {
			p = &prices{least: o.PricePerHourMillicents, most: o.PricePerHourMillicents, currency: o.Currency}
			of[o.Name] = p
		}
		p.least, p.most = min(p.least, o.PricePerHourMillicents), max(p.most, o.PricePerHourMillicents)
		p.mixed = p.mixed || p.currency != o.Currency
		p.regions++
	}
	for i := range offers {
		o, p := &offers[i], of[offers[i].Name]
		o.Compared, o.Currencies = p.regions > 1, p.mixed
		if p.mixed || p.regions < 2 {
			continue
		}
		o.Cheapest = o.PricePerHourMillicents == p.least && p.most > p.least
		if p.least > 0 {
			o.Over = float64(o.PricePerHourMillicents-p.least) * 100 / float64(p.least)
		}
	}
}

func (q PackageQuery) wants(o PackageOffer) bool {
	return (q.Region == "" || o.Region.ID == q.Region) && o.RAMMiB >= q.MinRAMMiB && o.CPUMilli >= q.MinCPU &&
		(!q.GPU || o.GPUMilli > 0) && (!q.MultiAZ || o.MultiAZ) && (q.Tier == "" || o.Tier == q.Tier)
}

// sort orders by what was asked for, then by price, name and region, so that equal rows have one order.
func (q PackageQuery) sort(offers []PackageOffer) {
	by := map[string]func(a, b PackageOffer) int{
		"package": func(a, b PackageOffer) int { return strings.Compare(a.Name, b.Name) },
		"region":  func(a, b PackageOffer) int { return strings.Compare(a.Region.ID, b.Region.ID) },
		"ram":     func(a, b PackageOffer) int { return cmp.Compare(a.RAMMiB, b.RAMMiB) },
		"cpu":     func(a, b PackageOffer) int { return cmp.Compare(a.CPUMilli, b.CPUMilli) },
		"disk":    func(a, b PackageOffer) int { return cmp.Compare(a.DiskMiB, b.DiskMiB) },
		"gpu":     func(a, b PackageOffer) int { return cmp.Compare(a.GPUMilli, b.GPUMilli) },
	}[q.Sort]
	price := func(a, b PackageOffer) int { return cmp.Compare(a.PricePerHourMillicents, b.PricePerHourMillicents) }
	if by == nil {
		by = price
	}
	slices.SortStableFunc(offers, func(a, b PackageOffer) int {
		first := by(a, b)
		if q.Dir == "desc" {
			first = -first
		}
		return cmp.Or(first, price(a, b), strings.Compare(a.Name, b.Name), strings.Compare(a.Region.ID, b.Region.ID))
	})
}
