package cloudapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
)

// flightKey tells reads apart that must not share an answer: by address, which names operation, account
// and parameters, by body, by key, and by the changes that began or ended before. So an answer that was
// begun before a change of the account's is never given to who asks after it.
type flightKey struct {
	op      string
	address string
	body    [sha256.Size]byte
	key     [sha256.Size]byte
	changes int
}

// flight is a read under way with those who wait for it. Nobody's giving up ends it for the others.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int // guarded by the gate's lock

	answer Answer
	failed *Error
}

// share sends a read, or waits for an equal one that is under way. The read goes on until its own
// deadline while anybody waits.
func (c *Conn) share(ctx context.Context, op Op, request outgoing) (Answer, *Error) {
	g := c.client.gates.at(c.cfg.Budget)
	key := flightKey{op: op.Name, address: request.address, body: sha256.Sum256(request.body), key: sha256.Sum256(request.key)}
	g.mu.Lock()
	key.changes = g.changes
	f, under := g.flights[key]
	if under {
		c.client.metrics.shared.WithLabelValues(op.Name).Inc()
	} else {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), cancel: cancel}
		g.flights[key] = f
		go c.fly(own, op, request, g, key, f)
	}
	f.waiting++
	g.mu.Unlock()

	select {
	case <-f.done:
		answer := f.answer
		answer.Body = bytes.Clone(answer.Body)
		return answer, f.failed
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if g.flights[key] == f {
			delete(g.flights, key)
		}
	}
	return Answer{}, &Error{Kind: Unavailable, Op: op, Timeout: errors.Is(ctx.Err(), context.DeadlineExceeded),
		cause: &callError{text: ctx.Err().Error(), is: ctx.Err()}}
}

func (c *Conn) fly(ctx context.Context, op Op, request outgoing, g *gate, key flightKey, f *flight) {
	defer f.cancel()
	defer func() {
		// This goroutine has nobody above it who would catch it.
		if broken := recover(); broken != nil {
			c.client.log.Error("a call to the Cloud API panicked", "op", op.Name, "panic", fmt.Sprint(broken))
			f.failed = &Error{Kind: Malformed, Op: op, Message: "The console failed on the call; its log tells more."}
		}
		g.mu.Lock()
		if g.flights[key] == f {
			delete(g.flights, key)
		}
		g.mu.Unlock()
		close(f.done)
	}()
	f.answer, f.failed = c.send(ctx, op, request)
}

// changed notes that a change begins or ends: reads after it share no answer with those before.
func (g *gate) changed() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changes++
}
