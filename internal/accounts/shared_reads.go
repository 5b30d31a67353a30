package accounts

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// sharedReadTimeout bounds a read that several wait for, from when it begins.
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
	read    func() (T, error)
	cancel  context.CancelFunc // ends it
	waiting int                // guarded by sharedReads.mu
	done    chan struct{}
	value   T
	err     error
}

// do returns what read returns, which is done once for all who wait with the same key. It returns ctx's error when that
// ends first; the read goes on as long as somebody waits.
func (s *sharedReads[T]) do(ctx context.Context, key string, read func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	mine, busy := s.next[key]
	if mine == nil {
		of, cancel := context.WithCancel(context.WithoutCancel(ctx)) // all who wait
		mine = &sharedRead[T]{cancel: cancel, done: make(chan struct{}), read: func() (value T, err error) {
			bounded, end := context.WithTimeout(of, sharedReadTimeout)
			defer end()
			err = guarded(bounded, func(ctx context.Context) (err error) {
				value, err = read(ctx)
				return err
			})
			return value, err
		}}
		if s.next == nil {
			s.next = map[string]*sharedRead[T]{}
		}
		s.next[key] = mine
	}
	mine.waiting++
	if !busy {
		go s.work(key)
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		s.leave(key, mine)
		var none T
		return none, fmt.Errorf("waiting for what others read too: %w", ctx.Err())
	}
}

// leave is that one does not wait any more. A read that nobody waits for ends, or does not begin.
func (s *sharedReads[T]) leave(key string, from *sharedRead[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.waiting--; from.waiting > 0 {
		return
	}
	from.cancel()
	if s.next[key] == from {
		s.next[key] = nil
	}
}

// work does the reads of a key one after the other until nobody waits for another.
func (s *sharedReads[T]) work(key string) {
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
		this.do()
	}
}

// do does the read. One that panics fails: the process is that of everybody.
func (r *sharedRead[T]) do() {
	defer r.cancel()
	defer close(r.done)
	r.value, r.err = r.read()
}
