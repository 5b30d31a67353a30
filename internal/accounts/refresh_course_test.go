package accounts

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestCourseOfARefresh follows refreshes through the places of a process: each holds one at a time, those that hang hold none that
// others need, and when all have ended no place is taken.
func TestCourseOfARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prepared := make(chan struct{}, 4)
		s := stages{asking: make(chan struct{}, 2), slow: make(chan struct{}, 1), storing: make(chan struct{}, 1)}
		places := func(want ...int) {
			t.Helper()
			synctest.Wait()
			if got := []int{len(prepared), len(s.asking), len(s.slow), len(s.storing)}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("prepared, asking, slow and storing are %v, want %v", got, want)
			}
		}
		var of [4]*course
		for i := range of {
			prepared <- struct{}{}
			of[i] = s.begin(prepared, func() {})
		}
		asked := make(chan error, 2)
		for _, c := range of[:2] {
			if err := c.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		places(2, 2, 0, 0)
		go func() { asked <- of[2].ask(t.Context()) }()
		places(2, 2, 0, 0)
		of[0].answered()
		if err := <-asked; err != nil { // in the place that became free
			t.Fatal(err)
		}
		places(1, 2, 0, 1)
		of[1].answered() // nobody else may store now, so it keeps its place
		places(1, 2, 0, 1)
		time.Sleep(yieldAfter) // the third is not answered in time
		places(1, 1, 1, 1)
		if err := of[3].ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(yieldAfter) // nor the fourth, and there is no place among the slow ones
		places(0, 2, 1, 1)
		for _, c := range of {
			c.end()
		}
		places(0, 0, 0, 0)

		s.asking <- struct{}{}
		s.asking <- struct{}{}
		prepared <- struct{}{}
		late := s.begin(prepared, func() {})
		soon, cancel := context.WithTimeout(t.Context(), prepareTimeout)
		defer cancel()
		if err := late.ask(soon); !errors.Is(err, errBusy) {
			t.Errorf("without a place: %v", err)
		}
		late.end()
		places(0, 2, 0, 0)
	})
}

// TestPeopleGoFirst: heavy work waits while somebody waits for an answer, until nobody does, and not for ever.
func TestPeopleGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Service{refreshing: refreshing{heavy: make(chan struct{}, 1), turnWait: turnWait}}
		waits := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			done, err := s.takeTurn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			done()
			if took := time.Since(start); took != want {
				t.Errorf("waits %s, want %s", took, want)
			}
		}
		waits(0)
		first, second := s.Answering(), s.Answering()
		first()
		time.AfterFunc(peopleFirst/3, second)
		waits(peopleFirst / 3)
		waits(0)
		third := s.Answering()
		waits(peopleFirst)
		third()
		waits(0)
	})
}

// TestBusyConsoleBlamesNobody: an account whose listing was read, and for which this process has no time, is not called failing, nor
// Qdrant Cloud slow; it is due again after the shortest interval.
func TestBusyConsoleBlamesNobody(t *testing.T) {
	for name, of := range map[string]struct {
		clusters int
		extra    string
	}{"much to store": {manyRows + 1, ""}, "much to decode": {1, string(make([]byte, 8<<10))}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			id, at := r.account(t, "Large", Production)
			at.add(of.clusters)
			at.set(func(a *scriptedAccount) { a.clusters[0].Extra = map[string]any{"x": of.extra, "y": of.extra} })
			r.svc.refreshing.turnWait = 20 * time.Millisecond
			for range cap(r.svc.refreshing.heavy) {
				r.svc.refreshing.heavy <- struct{}{}
			}
			r.refresh(t, r.svc, id)
			if n := value[int](t, r, `SELECT count(*) FROM refresh WHERE kind = 'clusters' AND failures = 0 AND error = '' AND failed_at IS NULL AND lease_until IS NULL
				AND next_at > now() AND next_at < now() + interval '5 seconds'`); n != 1 {
				t.Errorf("a busy console left %s", value[string](t, r, `SELECT to_jsonb(f)::text FROM refresh f WHERE kind = 'clusters'`))
			}
			for range cap(r.svc.refreshing.heavy) {
				<-r.svc.refreshing.heavy
			}
			r.refresh(t, r.svc, id)
			if n := len(r.stored(t, id)); n != of.clusters {
				t.Errorf("%d clusters are stored when there is time", n)
			}
		})
	}
}
