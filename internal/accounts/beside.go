package accounts

import (
	"context"
	"sync"
)

// beside is work that was begun without anybody waiting for it. Other than a sync.WaitGroup it may be
// waited for while more is begun.
type beside struct {
	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when nothing runs any more; nil while nobody waits
}

// start begins work.
func (b *beside) start(work func()) {
	b.mu.Lock()
	b.running++
	b.mu.Unlock()
	go func() {
		defer b.ended()
		work()
	}()
}

func (b *beside) ended() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	if b.running == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// wait returns when nothing runs, or when ctx ends.
func (b *beside) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.running == 0 {
		b.mu.Unlock()
		return nil
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
