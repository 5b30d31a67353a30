package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
)

// randomFaults have calls meet faults at random. What becomes of a call follows from the seed, its account, its
// operation and how many of those came before, and not from what other accounts do at the same time: so the same
// seed does the same to an account in each run, as far as it is asked the same.
type randomFaults struct {
	Seed      uint64   `json:"seed"`
	Share     float64  `json:"share"`      // of the calls, from 0, which is none, to 1
	Kinds     []string `json:"kinds"`      // empty: those of randomKinds
	LatencyMS int      `json:"latency_ms"` // most that a fault of kind latency waits; zero: 500

	met map[callOf]uint64
}

// callOf is what calls are counted by.
type callOf struct{ account, operation string }

// faultKinds are the kinds of faults.
func faultKinds() []string { return append(randomKinds(), "half_page", "empty_list") }

// randomKinds are those that happen at random when none are named: what shows that it is a fault. Lists that are short do not.
func randomKinds() []string {
	return []string{"latency", "hang", "status", "retry_after", "truncated", "malformed", "huge", "close", "lost_answer", "html"}
}

// randomStatuses are those that a fault of kind status answers at random: trouble of the service, too many calls, and a
// key that is refused. Not 404, with which a service would say that something does not exist.
func randomStatuses() []int {
	return []int{
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusForbidden,
	}
}

func (r *randomFaults) check() error {
	if r.Share < 0 || r.Share > 1 { // NaN does not come out of JSON
		return errors.New("share must be from 0 to 1")
	}
	if r.LatencyMS < 0 || r.LatencyMS > maxLatencyMS {
		return fmt.Errorf("latency_ms must be from 0 to %d", maxLatencyMS)
	}
	for _, kind := range r.Kinds {
		if !slices.Contains(faultKinds(), kind) {
			return fmt.Errorf("kinds must be among %v", faultKinds())
		}
	}
	return nil
}

// next is the fault that the next call of an operation meets; nil for none.
func (r *randomFaults) next(account, operation string) *fault {
	if r == nil || r.Share == 0 {
		return nil
	}
	of := callOf{account, operation}
	n := r.met[of]
	r.met[of] = n + 1
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s/%s", account, operation, binary.BigEndian.AppendUint64(nil, n)) // a hash never fails
	random := rand.New(rand.NewPCG(r.Seed, h.Sum64()))
	if random.Float64() >= r.Share {
		return nil
	}
	kinds := r.Kinds
	if len(kinds) == 0 {
		kinds = randomKinds()
	}
	f := &fault{Kind: kinds[random.IntN(len(kinds))]}
	switch f.Kind {
	case "status":
		f.Status = randomStatuses()[random.IntN(len(randomStatuses()))]
	case "retry_after":
		f.RetryAfter = "1"
	case "latency":
		most := r.LatencyMS
		if most == 0 {
			most = 500
		}
		f.LatencyMS = 1 + random.IntN(most)
	}
	return f
}

// controlRandom sets what happens at random; a share of 0 ends it.
func (s *Sandbox) controlRandom(req *http.Request) (any, error) {
	var r randomFaults
	if err := readControl(req, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, refuseControl("%s", err)
	}
	r.met = map[callOf]uint64{}
	s.random = &r
	return nil, nil
}
