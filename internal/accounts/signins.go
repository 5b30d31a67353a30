package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"quartermaster/internal/audit"
)

const (
	// failureWindow is how long failed sign-ins of one cause are summed.
	failureWindow = time.Minute
	// maxCauses and maxAddresses bound the memory that strangers can take.
	maxCauses    = 32
	maxAddresses = 256
	// addressesNamed is how many addresses a summed event names.
	addressesNamed = 3
	otherCauses    = "other causes"
)

// signInFailures sums failed sign-ins. Nothing that a stranger does writes to the log: the sums
// are written by Run, one event a minute and cause, whatever their number.
type signInFailures struct {
	mu     sync.Mutex
	causes map[string]*signInFailure
}

// signInFailure is the sum of one cause.
type signInFailure struct {
	last      audit.Actor
	count     int
	addresses map[string]int
	more      bool // addresses past the bound were not kept apart
	written   time.Time
}

// SignInFailed counts a failed sign-in. Run records the sum as one failed session.login a minute
// and cause, with the addresses it came from. cause is a short text of ours, never the provider's.
func (s *Service) SignInFailed(_ context.Context, by audit.Actor, cause string) {
	s.metrics.signIns.WithLabelValues("failed").Inc()
	s.signIns.add(by, cut(cause, maxName))
}

func (f *signInFailures) add(by audit.Actor, cause string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.causes == nil {
		f.causes = map[string]*signInFailure{}
	}
	sum := f.causes[cause]
	if sum == nil {
		if len(f.causes) >= maxCauses {
			cause = otherCauses
			sum = f.causes[cause]
		}
		if sum == nil {
			sum = &signInFailure{}
			f.causes[cause] = sum
		}
	}
	if sum.addresses == nil {
		sum.addresses = map[string]int{}
	}
	sum.count++
	sum.last = by
	if _, known := sum.addresses[by.IP]; known || len(sum.addresses) < maxAddresses {
		sum.addresses[by.IP]++
	} else {
		sum.more = true
	}
}

// due takes out the sums that may be written now: those of which nothing was written for a
// minute, or all of them. A cause that stays quiet for a minute is forgotten.
func (f *signInFailures) due(now time.Time, everything bool) []audit.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var events []audit.Event
	for cause, sum := range f.causes {
		if !everything && !elapsed(now, sum.written, failureWindow) {
			continue
		}
		if sum.count == 0 {
			delete(f.causes, cause)
			continue
		}
		events = append(events, sum.event(cause))
		*sum = signInFailure{written: now}
	}
	return events
}

func (sum *signInFailure) event(cause string) audit.Event {
	e := audit.Event{
		Act: ActSessionLogin.Name, Phase: audit.PhaseSingle, Outcome: audit.Failed, Count: sum.count,
		Reason: cause, Actor: sum.last, Target: audit.Target{Kind: KindSession},
	}
	if len(sum.addresses) > 1 {
		e.Actor.IP, e.Actor.UserAgent, e.Actor.RequestID = "", "", ""
		e.Reason = fmt.Sprintf("%s; from %s", cause, sum.from())
	}
	return e
}

// from names the addresses with the most failures and says how many more there are.
func (sum *signInFailure) from() string {
	text := ""
	left := len(sum.addresses)
	named := map[string]bool{}
	for range min(addressesNamed, left) {
		worst := ""
		for address, n := range sum.addresses {
			if !named[address] && (worst == "" || n > sum.addresses[worst] || n == sum.addresses[worst] && address < worst) {
				worst = address
			}
		}
		named[worst] = true
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s (%d)", worst, sum.addresses[worst])
		left--
	}
	switch {
	case sum.more:
		return fmt.Sprintf("%s and more than %d other addresses", text, left)
	case left > 0:
		return fmt.Sprintf("%s and %d other addresses", text, left)
	}
	return text
}

// flushSignInFailures records the sums whose minute is over; with everything set all of them. A
// sum that cannot be written is logged and lost: keeping it would only grow.
func (s *Service) flushSignInFailures(ctx context.Context, everything bool) {
	for _, e := range s.signIns.due(s.now(), everything) {
		if _, err := s.cfg.Log.Append(ctx, e); err != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "failed sign-ins not recorded",
				slog.String("cause", e.Reason), slog.Int("count", e.Count), slog.Any("error", err))
		}
	}
}
