package web

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one address may come back from the provider. Each time the console asks the provider
// for tokens and the log grows by a line, for whoever made up a cookie or signs in without end. An
// office behind one address that signs in at nine fits in.
const (
	signInBurst  = 120
	signInPerSec = 1
)

// maxSignInAddresses bounds the memory that addresses take. Past it, new ones share one rate.
const maxSignInAddresses = 10_000

// signInRate bounds sign-ins by address.
type signInRate struct {
	mu        sync.Mutex
	addresses map[netip.Prefix]*rate.Limiter
	others    *rate.Limiter
}

// allow counts one sign-in from the address and reports whether it may go on.
func (r *signInRate) allow(address string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limiter(network(address), now).AllowN(now, 1)
}

func (r *signInRate) limiter(from netip.Prefix, now time.Time) *rate.Limiter {
	if known := r.addresses[from]; known != nil {
		return known
	}
	if r.addresses == nil {
		r.addresses, r.others = map[netip.Prefix]*rate.Limiter{}, rate.NewLimiter(signInPerSec, signInBurst)
	}
	if len(r.addresses) >= maxSignInAddresses {
		for address, known := range r.addresses {
			if known.TokensAt(now) >= signInBurst {
				delete(r.addresses, address) // a new one would allow as much
			}
		}
	}
	if len(r.addresses) >= maxSignInAddresses {
		return r.others
	}
	fresh := rate.NewLimiter(signInPerSec, signInBurst)
	r.addresses[from] = fresh
	return fresh
}

// network is what counts as one address: of IPv6 the 64 bits that somebody is given at least. What
// is no address counts as one, too.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	prefix, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// tooManySignIns refuses a sign-in before the provider is asked.
func tooManySignIns() *signInError {
	return &signInError{cause: "too many sign-ins from one address", status: http.StatusTooManyRequests,
		words: "There were too many sign-ins from your address, so this one was not finished. Wait a minute, then begin again."}
}
