package cloudapi

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBudgets bounds the limiters kept; the one idle longest makes room, and starts full again.
const maxBudgets = 4096

// budgets holds one limiter an account.
type budgets struct {
	rps float64
	now func() time.Time

	mu     sync.Mutex
	byName map[string]*budget
}

type budget struct {
	limiter *rate.Limiter
	used    time.Time
}

func newBudgets(rps float64, now func() time.Time) *budgets {
	return &budgets{rps: rps, now: now, byName: map[string]*budget{}}
}

// reserve takes a turn in the named budget and says how long to wait for it; giveBack returns it
// unused. Without a limit there is no wait.
func (b *budgets) reserve(name string) (wait time.Duration, giveBack func()) {
	if b.rps <= 0 || name == "" {
		return 0, func() {}
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.byName[name]
	if kept == nil {
		if len(b.byName) >= maxBudgets {
			b.dropIdlest()
		}
		kept = &budget{limiter: rate.NewLimiter(rate.Limit(b.rps), max(1, int(math.Ceil(b.rps))))}
		b.byName[name] = kept
	}
	kept.used = now
	reservation := kept.limiter.ReserveN(now, 1)
	return reservation.DelayFrom(now), func() { reservation.CancelAt(now) }
}

func (b *budgets) dropIdlest() {
	var idlest string
	var since time.Time
	for name, kept := range b.byName {
		if idlest == "" || kept.used.Before(since) {
			idlest, since = name, kept.used
		}
	}
	delete(b.byName, idlest)
}
