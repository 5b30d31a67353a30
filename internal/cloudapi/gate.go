package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How much of an account's calls there is at once. A class may take its own share and those of the
// classes after it, so that what polls never keeps a person waiting for a place.
const (
	maxInFlight = 12  // calls of an account under way; reads take at most 10 of them, background 6
	maxWaiting  = 256 // calls of an account and class that wait; one more is refused at once
	// fairShare is how many turns in a row people take while background waits: then it has one, so
	// that an account that people are busy with is still polled.
	fairShare = 4

	maxRest     = time.Minute // longest rest of a breaker, however often the account failed
	maxHeldBack = time.Minute // longest that background keeps away after a 429, whatever Retry-After says

	// maxGates bounds the accounts that are kept; the one idle longest makes room, and starts anew.
	maxGates = 4096
	// keptIdle is how long an account is kept that nothing is called for: those that were removed go.
	keptIdle = time.Hour
)

// class says who waits for a call. Lower ones go first.
type class int

const (
	acting  class = iota // a person's act
	looking              // a person reads
	polling              // nobody waits
	classes
)

var shareOf = [classes]int{acting: maxInFlight, looking: 10, polling: 6}

// gates holds one gate an account.
type gates struct {
	rps        float64
	breakAfter int           // failed calls in a row
	rest       time.Duration // the first one
	now        func() time.Time
	random     func() float64 // in [0, 1)

	mu     sync.Mutex
	byName map[string]*gate
}

// gate is what every call of one account goes through: a limit of calls a second, places for calls
// under way, and a breaker. One account's trouble stays behind its own gate.
type gate struct {
	all     *gates
	limiter *rate.Limiter // nil: no limit
	// reserve are the tokens that background leaves, so that a person's call finds one at once.
	reserve float64

	mu         sync.Mutex
	used       time.Time
	inFlight   int
	waiting    [classes][]*ticket
	passedOver int         // turns that people took while background waited
	timer      *time.Timer // hands out turns when there is a token again; nil: none set
	heldBack   time.Time   // background keeps away until then, because upstream said 429

	breaker breaker
	flights map[flightKey]*flight
	changes int // calls that change something, counted when they begin and when they end
	history history
}

// ticket is a call that waits for its turn.
type ticket struct {
	class class
	probe bool        // set with the turn
	ready chan *Error // nil: go
}

// turn is the right to send, until it is given back by gate.leave. The zero turn is of no gate.
type turn struct {
	gate  *gate
	probe bool // the call finds out whether an account that failed answers again
}

func newGates(cfg Config, now func() time.Time, random func() float64) *gates {
	after := cfg.BreakAfter
	if after <= 0 {
		after = 5
	}
	return &gates{rps: cfg.RPS, breakAfter: after, rest: orDuration(cfg.Rest, 5*time.Second), now: now, random: random, byName: map[string]*gate{}}
}

// at returns the gate of an account; nil without a name.
func (b *gates) at(name string) *gate {
	if name == "" {
		return nil
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.byName[name]
	if g == nil {
		if len(b.byName) >= maxGates {
			b.dropIdlest()
		}
		g = &gate{all: b, flights: map[flightKey]*flight{}}
		if b.rps > 0 {
			burst := max(1, int(math.Ceil(b.rps)))
			g.limiter = rate.NewLimiter(rate.Limit(b.rps), burst)
			if burst > 1 {
				g.reserve = 1
			}
		}
		b.byName[name] = g
	}
	g.mu.Lock()
	g.used = now
	g.mu.Unlock()
	return g
}

func (b *gates) dropIdlest() {
	var idlest string
	var since time.Time
	for name, g := range b.byName {
		if used, busy := g.lastUsed(); !busy && (idlest == "" || used.Before(since)) {
			idlest, since = name, used
		}
	}
	delete(b.byName, idlest)
}

// each calls f for every account that was called in the last hour, and forgets the others.
func (b *gates) each(f func(name string, g *gate)) {
	now := b.now()
	b.mu.Lock()
	kept := make(map[string]*gate, len(b.byName))
	for name, g := range b.byName {
		if used, busy := g.lastUsed(); !busy && now.Sub(used) > keptIdle {
			delete(b.byName, name)
			continue
		}
		kept[name] = g
	}
	b.mu.Unlock()
	for name, g := range kept {
		f(name, g)
	}
}

func (b *gates) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byName, name)
}

func (b *gates) find(name string) *gate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byName[name]
}

func (g *gate) lastUsed() (at time.Time, busy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.used, g.inFlight > 0 || len(g.flights) > 0 || g.waits() > 0
}

func (g *gate) waits() (n int) {
	for _, queue := range g.waiting {
		n += len(queue)
	}
	return n
}

// enter waits for a turn: a token of the budget and a place among the calls under way. It refuses at
// once where the turn would come after ctx's deadline, too many wait already, or the breaker lets none
// through. A breaker that lets one through to find out is asked again when its turn comes: who waits
// finds out nothing, and must not keep others from it.
func (g *gate) enter(ctx context.Context, op Op, who class) (turn, *Error) {
	if err := ctx.Err(); err != nil {
		return turn{}, givenUp(op, err)
	}
	if g == nil {
		return turn{}, nil
	}
	g.mu.Lock()
	now := g.all.now()
	if resting := g.breaker.refuses(now, who); resting != nil {
		g.mu.Unlock()
		resting.Op = op
		return turn{}, resting
	}
	wait := g.estimate(now, who)
	deadline, bounded := ctx.Deadline()
	if len(g.waiting[who]) >= maxWaiting || bounded && wait > 0 && time.Until(deadline) <= wait {
		refused := g.crowded(now, op, who, wait)
		g.mu.Unlock()
		return turn{}, refused
	}
	t := &ticket{class: who, ready: make(chan *Error, 1)}
	g.waiting[who] = append(g.waiting[who], t)
	g.handOut(now)
	g.mu.Unlock()

	select {
	case refused := <-t.ready:
		return g.ticketed(t, op, refused)
	case <-ctx.Done():
	}
	g.mu.Lock()
	if g.drop(t) {
		refused := g.crowded(g.all.now(), op, who, 0)
		g.mu.Unlock()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return turn{}, refused
		}
		return turn{}, givenUp(op, ctx.Err())
	}
	g.mu.Unlock()
	refused := <-t.ready // the turn came at the same moment
	entered, failed := g.ticketed(t, op, refused)
	if failed != nil {
		return entered, failed
	}
	g.leave(entered, told{})
	return turn{}, givenUp(op, ctx.Err())
}

func (g *gate) ticketed(t *ticket, op Op, refused *Error) (turn, *Error) {
	if refused != nil {
		named := *refused
		named.Op = op
		return turn{}, &named
	}
	return turn{gate: g, probe: t.probe}, nil
}

func (g *gate) drop(t *ticket) bool {
	i := slices.Index(g.waiting[t.class], t)
	if i < 0 {
		return false
	}
	g.waiting[t.class] = slices.Delete(g.waiting[t.class], i, i+1)
	return true
}

// estimate is how long a call waits at least: for its token behind those that go before it, and as
// polling for what a 429 asked for.
func (g *gate) estimate(now time.Time, who class) time.Duration {
	if who == polling {
		return max(g.tokenIn(now, who), g.heldBack.Sub(now))
	}
	return g.tokenIn(now, who)
}

func (g *gate) tokenIn(now time.Time, who class) time.Duration {
	if g.limiter == nil {
		return 0
	}
	need := 1.0
	for c := acting; c <= who; c++ {
		need += float64(len(g.waiting[c]))
	}
	if who == polling {
		need += g.reserve
	}
	missing := need - g.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / g.all.rps * float64(time.Second))
}

// handOut gives turns to those who wait, as far as there are tokens and places.
func (g *gate) handOut(now time.Time) {
	for {
		who, wait, some := g.next(now)
		if !some {
			return
		}
		if wait > 0 {
			g.wakeIn(wait)
			return
		}
		t := g.waiting[who][0]
		g.waiting[who] = slices.Delete(g.waiting[who], 0, 1)
		probe, resting := g.breaker.admit(now, who)
		if resting != nil {
			t.ready <- resting
			continue
		}
		t.probe = probe
		if g.limiter != nil {
			g.limiter.AllowN(now, 1)
		}
		switch {
		case who == polling:
			g.passedOver = 0
		case len(g.waiting[polling]) > 0:
			g.passedOver++
		}
		g.inFlight++
		t.ready <- nil
	}
}

// next is whose turn it is, and how long that takes; some is false when nobody can have one before a
// call ends.
func (g *gate) next(now time.Time) (who class, wait time.Duration, some bool) {
	mayPoll := len(g.waiting[polling]) > 0 && g.inFlight < shareOf[polling]
	overdue := mayPoll && g.passedOver >= fairShare && !now.Before(g.heldBack)
	for c := acting; c < classes; c++ {
		if overdue {
			c = polling
		}
		if len(g.waiting[c]) == 0 || g.inFlight >= shareOf[c] {
			continue
		}
		if c == polling {
			wait = g.heldBack.Sub(now)
		}
		if g.limiter != nil {
			need := 1.0
			if c == polling && !overdue {
				need += g.reserve
			}
			if missing := need - g.limiter.TokensAt(now); missing > 1e-9 {
				wait = max(wait, time.Duration(missing/g.all.rps*float64(time.Second))+time.Microsecond)
			}
		}
		return c, max(wait, 0), true
	}
	return 0, 0, false
}

func (g *gate) wakeIn(wait time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.handOut(g.all.now())
	})
}

// told is what a call told about its account.
type told struct {
	answered bool // upstream answered: with success, or that it will not
	failed   *Error
}

// leave gives a turn back, with what the call told. Neither answered nor failed leaves the breaker as it is.
func (g *gate) leave(t turn, what told) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.all.now()
	g.inFlight--
	g.breaker.withdraw(t.probe)
	g.judge(now, what)
	g.handOut(now)
}

// learn takes what a call told that has no turn any more.
func (g *gate) learn(what told) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.judge(g.all.now(), what)
}

func (g *gate) judge(now time.Time, what told) {
	switch {
	case what.failed != nil:
		if g.breaker.fail(now, what.failed, g.all) {
			g.turnAway(now)
		}
	case what.answered:
		g.breaker.answered()
	}
}

// turnAway refuses everyone who waits, because the breaker opened.
func (g *gate) turnAway(now time.Time) {
	for c := range g.waiting {
		for _, t := range g.waiting[c] {
			t.ready <- g.breaker.refusal(now)
		}
		g.waiting[c] = nil
	}
}

// holdBack keeps background away for as long as upstream asked with 429.
func (g *gate) holdBack(d time.Duration) {
	if g == nil || d <= 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := g.all.now().Add(min(d, maxHeldBack)); until.After(g.heldBack) {
		g.heldBack = until
	}
}

func givenUp(op Op, err error) *Error {
	return &Error{Kind: Unavailable, Op: op, Timeout: errors.Is(err, context.DeadlineExceeded), Message: "The call was given up before it was sent.", cause: err}
}

// crowded is what a call is told whose turn did not come, or would come too late.
func (g *gate) crowded(now time.Time, op Op, who class, wait time.Duration) *Error {
	words := "Too many calls for this account are waiting; this one was not sent."
	if until := g.heldBack.Sub(now); who == polling && until > 0 {
		words, wait = "Qdrant Cloud asked for fewer calls of this account (HTTP 429); this one was not sent.", max(wait, until)
	}
	return &Error{Kind: RateLimited, Op: op, RetryAfter: max(wait, time.Second).Truncate(time.Second), Message: words}
}

// BreakerState says whether calls of an account are sent.
type BreakerState string

// The states.
const (
	Closed   BreakerState = "closed"    // calls are sent
	HalfOpen BreakerState = "half_open" // one call at a time is sent, to find out; a person's acts all are
	Open     BreakerState = "open"      // nothing is sent: calls fail at once
)

// breaker keeps calls away from an account that failed so many times in a row. The gate's lock guards it.
//
// Open, everything fails at once, also a person's act: nothing was sent, so it may be sent again without
// doubt, and the error says when. Half-open, one reading call at a time finds out; a person's act is
// always tried, because whoever sends it is better served by upstream's own answer.
type breaker struct {
	failures int       // in a row
	tripped  bool      // open or half-open
	until    time.Time // open until then
	rest     time.Duration
	probes   int // calls that find out now
	words    string
}

func (b *breaker) state(now time.Time) BreakerState {
	switch {
	case !b.tripped:
		return Closed
	case now.Before(b.until):
		return Open
	}
	return HalfOpen
}

// refuses says why a call is not let through now; nil when it is.
func (b *breaker) refuses(now time.Time, who class) *Error {
	switch state := b.state(now); {
	case state == Closed, state == HalfOpen && (who == acting || b.probes == 0):
		return nil
	}
	return b.refusal(now)
}

// admit lets a call through or says why not. One that finds out is a probe.
func (b *breaker) admit(now time.Time, who class) (probe bool, refused *Error) {
	if refused := b.refuses(now, who); refused != nil {
		return false, refused
	}
	if b.state(now) == Closed {
		return false, nil
	}
	b.probes++
	return true, nil
}

// refusal is what a call is told that is not sent.
func (b *breaker) refusal(now time.Time) *Error {
	words := fmt.Sprintf("%s So nothing is sent for this account for now, and this call was not: %d in a row failed.", b.words, b.failures)
	wait := b.until.Sub(now)
	if wait > 0 {
		words += " The console tries again at " + b.until.Add(time.Second-1).UTC().Format("15:04:05") + " UTC."
	} else {
		wait = time.Second
		words += " The console is trying again right now."
	}
	return &Error{Kind: Unavailable, Resting: true, RetryAfter: (wait + time.Second - 1).Truncate(time.Second), Message: clean(words, maxMessageRunes)}
}

func (b *breaker) withdraw(probe bool) {
	if probe && b.probes > 0 {
		b.probes--
	}
}

func (b *breaker) answered() { *b = breaker{probes: b.probes} }

// fail counts a failed call and reports whether the breaker opened now.
func (b *breaker) fail(now time.Time, failed *Error, all *gates) bool {
	b.failures++
	b.words = clean(sentenceOf(failed.Public()), maxMessageRunes/2)
	if b.state(now) == Open || b.state(now) == Closed && b.failures < all.breakAfter {
		return false
	}
	if b.rest == 0 {
		b.rest = all.rest
	} else {
		b.rest = min(2*b.rest, max(maxRest, all.rest))
	}
	b.tripped = true
	b.until = now.Add(max(time.Duration(float64(b.rest)*(0.8+0.4*all.random())), min(failed.RetryAfter, maxRest)))
	return true
}
