package accounts

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// catalogueLife is how long a list of packages is used before it is asked for again.
	catalogueLife = 5 * time.Minute
	// catalogueRetry is how long a list that could not be read is not asked for again.
	catalogueRetry = time.Minute
	// catalogueTimeout bounds what a refresh spends on packages.
	catalogueTimeout = 5 * time.Second
	// maxCatalogues bounds the memory that lists of packages take.
	maxCatalogues = 4096
)

// shelf is where packages are offered: they differ from region to region, and from account to account.
type shelf struct {
	account          uuid.UUID
	provider, region string
}

// catalogue remembers the packages of each account and region for five minutes.
type catalogue struct {
	mu      sync.Mutex
	shelves map[shelf]*packageList
}

// packageList is what is known of one shelf. Whoever reads it from upstream holds the lock, so
// that it is read once however many ask.
type packageList struct {
	mu    sync.Mutex
	sizes map[string]nodeSize // by package id; kept over a failure
	until time.Time
}

// sizes returns the packages of a shelf by their id. When they cannot be read it returns those
// read before, perhaps none: a name that is missing must not fail a refresh.
func (c *catalogue) sizes(ctx context.Context, from cloud, at shelf, now func() time.Time, logger *slog.Logger) map[string]nodeSize {
	list := c.list(at, now())
	list.mu.Lock()
	defer list.mu.Unlock()
	if now().Before(list.until) {
		return list.sizes
	}
	packages, err := from.Packages(ctx, at.provider, at.region)
	if err != nil {
		list.until = now().Add(catalogueRetry)
		logger.LogAttrs(ctx, slog.LevelWarn, "packages not read", slog.String("account", at.account.String()),
			slog.String("provider", at.provider), slog.String("region", at.region), slog.Any("error", err))
		return list.sizes
	}
	list.sizes = make(map[string]nodeSize, len(packages))
	for _, p := range packages {
		list.sizes[p.ID] = nodeSize{name: cut(p.Name, maxName), ramMiB: max(p.RAMMiB, 0), cpuMilli: max(p.CPUMilli, 0), diskMiB: max(p.DiskMiB, 0)}
	}
	list.until = now().Add(catalogueLife)
	return list.sizes
}

func (c *catalogue) list(at shelf, now time.Time) *packageList {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shelves == nil || len(c.shelves) >= maxCatalogues {
		c.forget(now)
	}
	list := c.shelves[at]
	if list == nil {
		list = &packageList{}
		c.shelves[at] = list
	}
	return list
}

// forget drops what has expired, and everything when that is not enough.
func (c *catalogue) forget(now time.Time) {
	maps.DeleteFunc(c.shelves, func(_ shelf, list *packageList) bool {
		if !list.mu.TryLock() {
			return false // being read
		}
		defer list.mu.Unlock()
		return !now.Before(list.until)
	})
	if c.shelves == nil || len(c.shelves) >= maxCatalogues {
		c.shelves = map[shelf]*packageList{}
	}
}
