package accounts

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// sharedReadTimeout bounds a read that several wait for, and which therefore does not end with the request of one.
const sharedReadTimeout = 15 * time.Second

// sharedReads does equal reads that are asked for at once only once. What is asked for while an equal read is under way waits
// for that to end, and all who wait share the one that begins then. So a read always begins after it was asked for: nobody
// is given what was so before they asked, and who was just told of a change sees it. One who asks alone waits for nobody.
//
// What is returned is shared: nobody may change it.
type sharedReads[T any] struct {
	mu   sync.Mutex
	next map[string]*sharedRead[T] // by what is read, while a read of it is under way; nil: nobody waits for another
}

// sharedRead is one read, for all who wait for it.
type sharedRead[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// do returns what read returns, which is done once for all who wait with the same key. It returns ctx's error when that
// ends first; the read goes on for the others.
func (s *sharedReads[T]) do(ctx context.Context, key string, read func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	mine, busy := s.next[key]
	if mine == nil {
		mine = &sharedRead[T]{done: make(chan struct{})}
		if s.next == nil {
			s.next = map[string]*sharedRead[T]{}
		}
		s.next[key] = mine
	}
	if !busy {
		go s.work(context.WithoutCancel(ctx), key, read)
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("waiting for what others read too: %w", ctx.Err())
	}
}

// work does the reads of a key one after the other until nobody waits for another.
func (s *sharedReads[T]) work(ctx context.Context, key string, read func(context.Context) (T, error)) {
	for {
		s.mu.Lock()
		this := s.next[key]
		if this == nil {
			delete(s.next, key)
			s.mu.Unlock()
			return
		}
		s.next[key] = nil
		s.mu.Unlock()
		s.once(ctx, this, read)
	}
}

// once does a read. One that panics fails: the process is that of everybody.
func (s *sharedReads[T]) once(ctx context.Context, this *sharedRead[T], read func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(ctx, sharedReadTimeout)
	defer cancel()
	defer close(this.done)
	this.err = guarded(ctx, func(ctx context.Context) (err error) {
		this.value, err = read(ctx)
		return err
	})
}
