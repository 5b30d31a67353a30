package accounts

import (
	"context"
	"errors"
	"sync"
	"time"
)

// stages are places of refreshes in a process, by what a refresh is doing. Each takes as many as it has room for.
type stages struct {
	asking  chan struct{} // upstream is asked; nil: from the place where a refresh begins
	slow    chan struct{} // upstream takes long to answer
	storing chan struct{} // upstream has answered; nil: storing keeps the place it is in
}

// course is how one refresh goes through the stages. It holds one place at a time, and gives it back when it has the next
// one: so accounts are prepared while others wait for upstream, those that hang take no place from those that answer,
// and upstream need not wait for Postgres. Methods of nil do nothing.
type course struct {
	of    stages
	moved func() // a place is free
	slow  *time.Timer

	mu   sync.Mutex
	held chan struct{} // nil: ended
}

// errBusy ends a refresh that this process has too much to do for. It says nothing about the account.
var errBusy = errors.New("the console has too much to do")

// begin begins a course with a place that is taken already.
func (s *stages) begin(held chan struct{}, moved func()) *course {
	return &course{of: *s, held: held, moved: moved}
}

// ask waits until upstream may be asked. Whoever is not answered within yieldAfter makes room for others, as long as there is a
// place among the slow ones. errBusy when ctx ends before.
func (c *course) ask(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if c.of.asking != nil {
		select {
		case c.of.asking <- struct{}{}:
			c.leave(c.of.asking)
		case <-ctx.Done():
			return errBusy
		}
	}
	c.slow = time.AfterFunc(yieldAfter, func() { c.try(c.of.slow) })
	return nil
}

// answered says that upstream has answered, and storing begins.
func (c *course) answered() {
	if c == nil {
		return
	}
	c.slow.Stop()
	c.try(c.of.storing)
}

// end gives the place back.
func (c *course) end() {
	if c.slow != nil {
		c.slow.Stop()
	}
	c.leave(nil)
}

// try takes a place in a stage that has one, and else keeps the one it has.
func (c *course) try(stage chan struct{}) {
	select {
	case stage <- struct{}{}:
		if !c.leave(stage) {
			<-stage
		}
	default: // also where there is no such stage
	}
}

// leave gives back the place that is held for one that was taken; false when there was none any more.
func (c *course) leave(next chan struct{}) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return false
	}
	<-c.held
	c.held = next
	c.moved()
	return true
}
