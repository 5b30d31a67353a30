package cloudapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
)

// flightUpstream answers when it is let, and tells what arrives and what is given up.
type flightUpstream struct {
	*testUpstream
	arrived, gaveUp, let chan struct{}
}

func newFlightUpstream(t *testing.T) *flightUpstream {
	f := &flightUpstream{arrived: make(chan struct{}, 1000), gaveUp: make(chan struct{}, 1000), let: make(chan struct{})}
	f.testUpstream = newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		f.arrived <- struct{}{}
		if r.Method != http.MethodGet {
			answer(w, 200, `{}`)
			return
		}
		select {
		case <-f.let:
			answer(w, 200, `{"items":[]}`)
		case <-r.Context().Done():
			f.gaveUp <- struct{}{}
		}
	})
	return f
}

func (f *flightUpstream) waiters(budget string) (n int) {
	g := f.client.gates.at(budget)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, flight := range g.flights {
		n += flight.waiting
	}
	return n
}

// TestHundredViewers who look at the same at once are one call upstream.
func TestHundredViewers(t *testing.T) {
	f := newFlightUpstream(t)
	var viewers sync.WaitGroup
	for range 100 {
		viewers.Go(func() {
			conn := gateConn(f.testUpstream, "a", shared)
			a, err := conn.Do(t.Context(), OpListClusters, nil, nil, nil)
			if err != nil || string(a.Body) != `{"items":[]}` || len(conn.Calls()) != 1 {
				t.Errorf("%q %v", a.Body, err)
			}
			a.Body[0] = 'x' // each has bytes of its own
		})
	}
	eventually(t, "a hundred wait", func() bool { return f.waiters("a") == 100 })
	close(f.let)
	viewers.Wait()
	if f.count() != 1 {
		t.Errorf("%d requests", f.count())
	}
	if err := gateRead(t.Context(), gateConn(f.testUpstream, "a", shared)); err != nil || f.count() != 2 {
		t.Errorf("a later one: %v, %d requests; an answer is not kept", err, f.count())
	}
}

// TestNotShared: reads of another account, key, operation or parameter, those that did not ask for it,
// and what changes something have their own answers.
func TestNotShared(t *testing.T) {
	f := newFlightUpstream(t)
	u := f.testUpstream
	otherKey := func(c *ConnConfig) { c.Key = NewSecret([]byte("another-key")) }
	otherAccount := func(c *ConnConfig) { c.CloudAccountID = clusterID }
	var calls sync.WaitGroup
	for _, call := range []func() error{
		func() error { return gateRead(t.Context(), gateConn(u, "a", shared)) },
		func() error { return gateRead(t.Context(), gateConn(u, "b", shared)) },
		func() error { return gateRead(t.Context(), gateConn(u, "a", shared, otherKey)) },
		func() error { return gateRead(t.Context(), gateConn(u, "a", shared, otherAccount)) },
		func() error { return gateRead(t.Context(), gateConn(u, "a")) },
		func() error { return gateRead(t.Context(), gateConn(u, "a")) },
		func() error { return gateRead(t.Context(), gateConn(u, "", shared)) },
		func() error { return gateRead(t.Context(), gateConn(u, "", shared)) },
		func() error {
			_, err := gateConn(u, "a", shared).Do(t.Context(), OpListClusters, nil, url.Values{"pageSize": {"10"}}, nil)
			return err
		},
		func() error {
			_, err := gateConn(u, "a", shared).Do(t.Context(), OpGetCluster, Params{"cluster_id": clusterID}, nil, nil)
			return err
		},
		func() error {
			_, err := gateConn(u, "a", shared).Do(t.Context(), OpGetCluster, Params{"cluster_id": accountID}, nil, nil)
			return err
		},
	} {
		calls.Go(func() { _ = call() })
	}
	for range 11 {
		<-f.arrived
	}
	close(f.let)
	calls.Wait()
	for range 2 {
		calls.Go(func() { _ = gateAct(t.Context(), gateConn(u, "a", shared)) })
	}
	calls.Wait()
	if f.count() != 13 {
		t.Errorf("%d requests, want 13", f.count())
	}
}

// TestViewerLeaves: one who gives up ends the call for nobody else, also who began it; when all have
// given up, so is the call.
func TestViewerLeaves(t *testing.T) {
	f := newFlightUpstream(t)
	first, leave := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() { left <- gateRead(first, gateConn(f.testUpstream, "a", shared)) }()
	<-f.arrived
	go func() { stayed <- gateRead(t.Context(), gateConn(f.testUpstream, "a", shared)) }()
	eventually(t, "two wait", func() bool { return f.waiters("a") == 2 })
	leave()
	if e := failed(t, <-left); e.Kind != Unavailable || e.Timeout || !errors.Is(e, context.Canceled) {
		t.Errorf("who left: %+v", e)
	}
	f.let <- struct{}{}
	if err := <-stayed; err != nil {
		t.Errorf("who stayed: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for range 5 {
		go func() { left <- gateRead(ctx, gateConn(f.testUpstream, "a", shared)) }()
	}
	for range 5 {
		if e := failed(t, <-left); !e.Timeout || !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%+v", e)
		}
	}
	<-f.gaveUp
	if h, _ := f.client.Health("a"); h.Breaker != Closed || h.Failures != 0 {
		t.Errorf("who gives up tells nothing of the account: %+v", h)
	}
}

// TestReadAfterOwnWrite is not answered with what was begun before the write, or while it was under way.
func TestReadAfterOwnWrite(t *testing.T) {
	f := newFlightUpstream(t)
	ended := make(chan error, 3)
	read := func() { ended <- gateRead(t.Context(), gateConn(f.testUpstream, "a", shared)) }
	go read()
	<-f.arrived
	if err := gateAct(t.Context(), gateConn(f.testUpstream, "a")); err != nil {
		t.Fatal(err)
	}
	<-f.arrived
	go read()
	<-f.arrived // a call of its own
	g := f.client.gates.at("a")
	g.changed() // a change begins
	go read()
	<-f.arrived
	g.changed() // and ends
	close(f.let)
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
