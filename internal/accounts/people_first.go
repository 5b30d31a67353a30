package accounts

import (
	"context"
	"sync"
	"time"
)

// peopleFirst is how long heavy work in the background waits at most for a moment in which nobody waits for a page. Where there is
// no such moment, because many people are at work, it goes on all the same.
const peopleFirst = 30 * time.Millisecond

// attention knows whether people wait for an answer.
type attention struct {
	mu      sync.Mutex
	waiting int
	none    chan struct{} // closed when nobody waits any more; nil: nobody wants to know
}

// Answering says that somebody waits for an answer, until the function it returns is called. Heavy work in the background, as taking a
// large listing is, begins when nobody does: on a small machine one listing takes as long as a page.
func (s *Service) Answering() (answered func()) {
	a := &s.attention
	a.mu.Lock()
	a.waiting++
	a.mu.Unlock()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.waiting--; a.waiting == 0 && a.none != nil {
			close(a.none)
			a.none = nil
		}
	}
}

// lull waits until nobody waits for an answer, at most for so long, or until ctx ends.
func (a *attention) lull(ctx context.Context, most time.Duration) {
	a.mu.Lock()
	if a.waiting == 0 {
		a.mu.Unlock()
		return
	}
	if a.none == nil {
		a.none = make(chan struct{})
	}
	none := a.none
	a.mu.Unlock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-none:
	case <-timer.C:
	case <-ctx.Done():
	}
}
