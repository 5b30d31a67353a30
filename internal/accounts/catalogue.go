package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const (
	// catalogueLife is how long what can be booked is used before it is asked for again.
	catalogueLife = 5 * time.Minute
	// catalogueRetry is how long a refresh does not ask again for a list that could not be read.
	catalogueRetry = time.Minute
	// catalogueTimeout bounds what a refresh spends on packages.
	catalogueTimeout = 5 * time.Second
	// maxCatalogues bounds the memory that lists take, maxSizes that of packages by their ids.
	maxCatalogues = 4096
	maxSizes      = 20_000
)

// The kinds of lists in the catalogue.
const (
	shelfProviders = "providers"
	shelfRegions   = "regions"
	shelfPackages  = "packages"
	shelfReleases  = "releases"
	shelfQuotas    = "quotas"
)

// shelf is one list of the catalogue. Lists differ from account to account, and with the API and the
// key that they are read with.
type shelf struct {
	account          uuid.UUID
	key              uuid.UUID
	generation       cloudapi.Generation
	kind             string
	provider, region string
	cluster          string // of releases: what this cluster can be updated to
}

// catalogue remembers what can be booked, for five minutes.
type catalogue struct {
	mu      sync.Mutex
	shelves map[shelf]*list
	sizes   map[packageID]packageSize
}

// packageID names a package, which is the same in whichever account it is read: a refresh need not ask
// each account for what another one told.
type packageID struct {
	generation cloudapi.Generation
	id         string
}

type packageSize struct {
	nodeSize
	until time.Time // when it is too old
}

// list is what is known of one shelf. Whoever reads it from upstream holds the turn, so that it is
// read once however many ask.
type list struct {
	turn        chan struct{} // of capacity one
	value       any           // kept over a failure; nil: never read
	until       time.Time     // when value is too old
	failedUntil time.Time     // when a refresh may ask again after a failure
}

// remembered returns the list of a shelf, from upstream when it is not known or too old. A failure is
// the caller's, and the next one asks again.
func remembered[T any](ctx context.Context, c *catalogue, at shelf, now func() time.Time, read func(context.Context) (T, error)) (T, error) {
	var none T
	l := c.list(at, now())
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for the list of %s: %w", at.kind, ctx.Err())
	}
	if known, ok := l.value.(T); ok && fresh(now(), l.until, catalogueLife) {
		return known, nil
	}
	value, err := read(ctx)
	if err != nil {
		l.failedUntil = now().Add(catalogueRetry)
		return none, err
	}
	l.value, l.until, l.failedUntil = value, now().Add(catalogueLife), time.Time{}
	return value, nil
}

// size returns a package of a shelf, for a refresh; any account may have told it. When the list cannot
// be read the one read before counts, if any, and it is not asked for again for a minute: a name that is
// missing must not fail a refresh.
func (c *catalogue) size(ctx context.Context, from cloud, at shelf, id string, now func() time.Time, logger *slog.Logger) (nodeSize, bool) {
	if size, known := c.told(packageID{at.generation, id}, now()); known {
		return size, true
	}
	packages, waits := c.before(at, now())
	if !waits {
		read, err := remembered(ctx, c, at, now, func(ctx context.Context) ([]cloudapi.Package, error) {
			return from.Packages(ctx, at.provider, at.region)
		})
		if err == nil {
			packages = read
			c.tell(at.generation, read, now())
		} else {
			logger.LogAttrs(ctx, slog.LevelWarn, "packages not read", slog.String("account", at.account.String()),
				slog.String("provider", at.provider), slog.String("region", at.region), slog.Any("error", err))
		}
	}
	i := slices.IndexFunc(packages, func(p cloudapi.Package) bool { return p.ID == id })
	if i < 0 {
		return nodeSize{}, false
	}
	return sizeOf(packages[i]), true
}

func sizeOf(p cloudapi.Package) nodeSize {
	return nodeSize{name: cut(p.Name, maxName), ramMiB: max(p.RAMMiB, 0), cpuMilli: max(p.CPUMilli, 0), diskMiB: max(p.DiskMiB, 0)}
}

// told returns the size of a package when any account told it lately.
func (c *catalogue) told(id packageID, now time.Time) (nodeSize, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size, known := c.sizes[id]
	return size.nodeSize, known && fresh(now, size.until, catalogueLife)
}

func (c *catalogue) tell(generation cloudapi.Generation, packages []cloudapi.Package, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sizes == nil || len(c.sizes)+len(packages) > maxSizes {
		c.sizes = map[packageID]packageSize{}
	}
	for _, p := range packages[:min(len(packages), maxSizes)] {
		c.sizes[packageID{generation, p.ID}] = packageSize{sizeOf(p), now.Add(catalogueLife)}
	}
}

// before returns the packages that were read before, however old, and whether a failure is so recent
// that a refresh does not ask. While somebody else reads the shelf nothing is known of it.
func (c *catalogue) before(at shelf, now time.Time) (packages []cloudapi.Package, waits bool) {
	l := c.list(at, now)
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	default:
		return nil, false
	}
	packages, _ = l.value.([]cloudapi.Package)
	return packages, fresh(now, l.failedUntil, catalogueRetry)
}

// remaining returns what was read of a shelf before, however old, and asks nobody.
func remaining[T any](c *catalogue, at shelf, now time.Time) (value T, known bool) {
	l := c.list(at, now)
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		value, known = l.value.(T)
	default: // being read
	}
	return value, known
}

func (c *catalogue) list(at shelf, now time.Time) *list {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shelves == nil || len(c.shelves) >= maxCatalogues {
		c.forget(now)
	}
	l := c.shelves[at]
	if l == nil {
		l = &list{turn: make(chan struct{}, 1)}
		c.shelves[at] = l
	}
	return l
}

// drop forgets the lists of an account, because one of them told what was not so.
func (c *catalogue) drop(account uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.shelves, func(at shelf, _ *list) bool { return at.account == account })
}

// forget drops what has expired, and everything when that is not enough.
func (c *catalogue) forget(now time.Time) {
	maps.DeleteFunc(c.shelves, func(_ shelf, l *list) bool {
		select {
		case l.turn <- struct{}{}:
			defer func() { <-l.turn }()
			return !fresh(now, l.until, catalogueLife)
		default:
			return false // being read
		}
	})
	if c.shelves == nil || len(c.shelves) >= maxCatalogues {
		c.shelves = map[shelf]*list{}
	}
}

// shelf names a list of the account's own.
func (a accountRef) shelf(kind string) shelf {
	return shelf{account: a.ID, key: a.KeyID, generation: a.Generation, kind: kind}
}

// packagePlace is where packages are offered to a cluster of that place: the region of a hybrid one is an
// environment, and packages are offered to all of them.
func packagePlace(provider, region string) (string, string) {
	if provider == hybridProvider {
		return provider, ""
	}
	return provider, region
}

func (a accountRef) packageShelf(provider, region string) shelf {
	at := a.shelf(shelfPackages)
	at.provider, at.region = provider, region
	return at
}

func (a accountRef) releaseShelf(cluster string) shelf {
	at := a.shelf(shelfReleases)
	at.cluster = cluster
	return at
}

// notRead logs why a list could not be read, unless the API has none, and says it for people.
func (s *Service) notRead(ctx context.Context, a Account, list string, err error) string {
	if _, lacking := errors.AsType[*cloudapi.UnsupportedError](err); !lacking {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "list not read", slog.String("account", a.ID.String()), slog.String("list", list), slog.Any("error", err))
	}
	return reasonOf(err)
}

// consult reads a list of the catalogue for a member who was authorised before. Errors are those of
// connect and of the Cloud API.
func consult[T any](ctx context.Context, s *Service, by audit.Actor, at shelf, ask func(context.Context, cloud) (T, error)) (T, error) {
	return remembered(ctx, &s.refreshing.catalogue, at, s.cfg.Now, func(ctx context.Context) (T, error) {
		var none T
		up, err := s.connectFor(ctx, at.account, toShow, by.RequestID)
		if err != nil {
			return none, err
		}
		value, err := ask(ctx, up.cloud)
		s.noteKey(ctx, up, err)
		return value, err
	})
}

func (s *Service) providersOf(ctx context.Context, by audit.Actor, a Account) ([]cloudapi.Provider, error) {
	if a.Generation == cloudapi.PAV1 {
		return legacyProviders(), nil
	}
	return consult(ctx, s, by, a.ref().shelf(shelfProviders), func(ctx context.Context, up cloud) ([]cloudapi.Provider, error) { return up.Providers(ctx) })
}

func (s *Service) regionsOf(ctx context.Context, by audit.Actor, a Account, provider string) ([]cloudapi.Region, error) {
	if a.Generation == cloudapi.PAV1 {
		return legacyRegions(provider), nil
	}
	at := a.ref().shelf(shelfRegions)
	at.provider = provider
	return consult(ctx, s, by, at, func(ctx context.Context, up cloud) ([]cloudapi.Region, error) { return up.Regions(ctx, provider) })
}

func (s *Service) packagesOf(ctx context.Context, by audit.Actor, a Account, provider, region string) ([]cloudapi.Package, error) {
	at := a.ref().packageShelf(provider, region)
	return consult(ctx, s, by, at, func(ctx context.Context, up cloud) ([]cloudapi.Package, error) {
		return up.Packages(ctx, provider, region)
	})
}

// releasesOf lists the versions a new cluster can have, or for a cluster those it can be updated to.
func (s *Service) releasesOf(ctx context.Context, by audit.Actor, a Account, cluster string) ([]cloudapi.Release, error) {
	at := a.ref().releaseShelf(cluster)
	return consult(ctx, s, by, at, func(ctx context.Context, up cloud) ([]cloudapi.Release, error) { return up.Releases(ctx, cluster) })
}

func (s *Service) quotasOf(ctx context.Context, by audit.Actor, a Account) (cloudapi.Quotas, error) {
	return consult(ctx, s, by, a.ref().shelf(shelfQuotas), func(ctx context.Context, up cloud) (cloudapi.Quotas, error) { return up.Quotas(ctx) })
}
