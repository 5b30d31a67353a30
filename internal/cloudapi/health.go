package cloudapi

import (
	"slices"
	"strings"
	"time"
)

// keptFailures is how many failures of an account are kept.
const keptFailures = 5

// Health is how calls of one account go, as this process knows it since it began calling.
type Health struct {
	Breaker  BreakerState
	Failures int       // calls in a row that failed
	RetryAt  time.Time // when an open breaker lets a call through again; zero otherwise
	InFlight int
	Waiting  int
	// LastMinute is how many requests were sent in the last 60 s, to within 5 s; MostAMinute how many may be, 0: any number.
	LastMinute  int
	MostAMinute int
	Requests    uint64 // sent
	Failed      uint64 // of those without an answer of upstream's own: not reached, broken off, too slow, 5xx
	AnsweredAt  time.Time
	Recent      []Failure // newest first
}

// Failure is a call that tells of trouble with an account. Its words are those of Error.Public.
type Failure struct {
	At      time.Time
	Op      string
	Kind    Kind
	Status  int
	Words   string
	TraceID string
}

// Health returns how calls go for the account of that budget; false when there were none of late.
func (c *Client) Health(budget string) (Health, bool) {
	g := c.gates.find(budget)
	if g == nil {
		return Health{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := c.now()
	h := Health{
		Breaker: g.breaker.state(now), Failures: g.breaker.failures, InFlight: g.inFlight, Waiting: g.waits(),
		LastMinute: g.history.lastMinute(now), MostAMinute: int(60 * c.gates.rps),
		Requests: g.history.requests, Failed: g.history.failed, AnsweredAt: g.history.answeredAt, Recent: slices.Clone(g.history.recent),
	}
	if h.Breaker == Open {
		h.RetryAt = g.breaker.until
	}
	return h, true
}

// Forget drops what is known of an account that was removed, its metrics included.
func (c *Client) Forget(budget string) { c.gates.forget(budget) }

// history is what was sent for an account. The gate's lock guards it.
type history struct {
	requests, failed uint64
	slots            [12]int   // requests by five seconds, a ring over a minute
	slot             int64     // the latest slot, in five seconds since 1970
	answeredAt       time.Time // upstream's last answer of its own
	recent           []Failure
}

const slotTime = 5 * time.Second

func (h *history) turnTo(now time.Time) {
	slot, n := now.UnixNano()/int64(slotTime), int64(len(h.slots))
	if passed := slot - h.slot; passed < 0 || passed >= n { // or the clock was turned back
		clear(h.slots[:])
	} else {
		for s := h.slot + 1; s <= slot; s++ {
			h.slots[s%n] = 0
		}
	}
	h.slot = slot
}

func (h *history) lastMinute(now time.Time) (n int) {
	h.turnTo(now)
	for _, sent := range h.slots {
		n += sent
	}
	return n
}

// sent notes a request on the wire and what became of it.
func (g *gate) sent(op Op, failed *Error) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now, h := g.all.now(), &g.history
	h.turnTo(now)
	h.slots[h.slot%int64(len(h.slots))]++
	h.requests++
	if failed == nil || failed.Kind != Unavailable && failed.Status != 0 {
		h.answeredAt = now
	}
	if failed == nil {
		return
	}
	switch failed.Kind {
	case Unavailable:
		h.failed++
	case RateLimited, Malformed, Unauthenticated, Forbidden:
	default:
		return // what a person asked for was not possible: the account is well
	}
	h.recent = slices.Insert(h.recent, 0, Failure{At: now, Op: op.Name, Kind: failed.Kind, Status: failed.Status, Words: failed.Public(), TraceID: failed.TraceID})
	h.recent = h.recent[:min(len(h.recent), keptFailures)]
}

// sentenceOf ends words with a full stop, so that others can follow.
func sentenceOf(words string) string {
	words = strings.TrimSpace(words)
	if words == "" || strings.HasSuffix(words, ".") || strings.HasSuffix(words, "…") {
		return words
	}
	return words + "."
}
