package accounts

import (
	"time"

	"quartermaster/internal/audit"
)

// Clocks are set ahead by mistake, and set right again. What was stored meanwhile is ahead then, and must not be waited
// for. So wherever a stored time is compared, one that is further ahead than it can come to be by itself counts as long
// past. Leases, refreshes and snapshots go by the database's clock, sessions and forms by the console's. The log's
// recorded_at never runs back: after such a day it stands still until that time has come. What goes by the
// time of an event therefore asks here.

// clockAhead is how far ahead a stored time may be without a clock having been wrong: replicas, and a refresh whose
// transaction came late, differ by less. Queries have it as an interval of five minutes.
const clockAhead = 5 * time.Minute

// elapsed reports whether d has passed since then. A time that is more than d ahead is of a clock that was.
func elapsed(now, then time.Time, d time.Duration) bool {
	since := now.Sub(then)
	return since >= d || since <= -d
}

// fresh reports whether something that is kept for life, until a time, may still be used.
func fresh(now, until time.Time, life time.Duration) bool {
	left := until.Sub(now)
	return left > 0 && left <= life
}

// ageOf is how long ago an event came about: by the console's clock that built it, else by the database's. When both were
// ahead it is past every act's end, and not so old that it is given up.
func (s *Service) ageOf(e audit.Stored) time.Duration {
	now := s.now()
	for _, at := range []time.Time{e.At, e.RecordedAt} {
		if age := now.Sub(at); !at.IsZero() && age > -clockAhead {
			return max(age, 0)
		}
	}
	return settleGrace
}

// cameAbout is when an event came about, to be compared with what upstream tells: when it was recorded, or earlier when
// the log's time stood still. It reports false when every clock was ahead, so that times tell nothing.
func (s *Service) cameAbout(e audit.Stored) (time.Time, bool) {
	at := e.RecordedAt
	if !e.At.IsZero() && e.At.Before(at.Add(-time.Minute)) {
		at = e.At
	}
	return at, at.Before(s.now().Add(clockAhead))
}

// clockReason is the reason of an outcome that only times could have told.
const clockReason = "The clocks were ahead when it was attempted, so upstream's times do not tell."
