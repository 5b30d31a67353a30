package web

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// strangersCallback is a callback with a state and a cookie that a stranger made up.
func strangersCallback(c *console, from string) *http.Request {
	state := strings.Repeat("A", 26)
	r := c.request(http.MethodGet, pathCallback+"?"+url.Values{"state": {state}, "code": {"made-up"}, "iss": {c.idp.URL}}.Encode(), "")
	r.AddCookie(&http.Cookie{Name: c.cookies.login + state[:stateNameSize], Value: state + ".n." + strings.Repeat("v", 43) + ".L2NsdXN0ZXJz"})
	r.RemoteAddr = from
	return r
}

func TestSignInsFromOneAddressAreBounded(t *testing.T) {
	c := newConsole(t)
	asked := 0
	c.idp.token = func(http.ResponseWriter) bool { asked++; return false }
	for i := range signInBurst {
		if w := c.serve(strangersCallback(c, "192.0.2.7:1234")); w.Code != http.StatusBadRequest {
			t.Fatalf("sign-in %d answers %d", i, w.Code)
		}
	}
	w := c.serve(strangersCallback(c, "192.0.2.7:4321"))
	wantStatus(t, w, http.StatusTooManyRequests)
	if !strings.Contains(w.Body.String(), "too many sign-ins") || w.Header().Get("Retry-After") == "" {
		t.Errorf("Retry-After %q, page:\n%s", w.Header().Get("Retry-After"), w.Body)
	}
	if asked != signInBurst {
		t.Errorf("the provider was asked %d times, want %d", asked, signInBurst)
	}
	if w := c.serve(strangersCallback(c, "192.0.2.8:1234")); w.Code != http.StatusBadRequest {
		t.Errorf("another address answers %d", w.Code)
	}
	c.clock.advance(2 * time.Second)
	if w := c.serve(strangersCallback(c, "192.0.2.7:1234")); w.Code != http.StatusBadRequest {
		t.Errorf("after a pause the address answers %d", w.Code)
	}
}

func TestSignInRateTakesBoundedMemory(t *testing.T) {
	var r signInRate
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	address := netip.MustParseAddr("10.0.0.0")
	for range maxSignInAddresses {
		address = address.Next()
		if !r.allow(address.String(), now) {
			t.Fatalf("%s is refused", address)
		}
	}
	for i := range 2 * signInBurst {
		address = address.Next()
		if got := r.allow(address.String(), now); got != (i < signInBurst) {
			t.Fatalf("new address %d: %v", i, got)
		}
	}
	if len(r.addresses) != maxSignInAddresses {
		t.Errorf("%d addresses are kept", len(r.addresses))
	}
	if !r.allow(address.Next().String(), now.Add(time.Minute)) || len(r.addresses) != 1 {
		t.Errorf("after a minute %d addresses are kept, want the one that came", len(r.addresses))
	}
}

func TestSignInsCountByNetwork(t *testing.T) {
	for _, same := range [][2]string{{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"}, {"", "nonsense"}} {
		if network(same[0]) != network(same[1]) {
			t.Errorf("%q and %q count apart", same[0], same[1])
		}
	}
	for _, apart := range [][2]string{{"2001:db8:1:2::1", "2001:db8:1:3::1"}, {"192.0.2.1", "192.0.2.2"}, {"192.0.2.1", ""}} {
		if network(apart[0]) == network(apart[1]) {
			t.Errorf("%q and %q count as one", apart[0], apart[1])
		}
	}
}
