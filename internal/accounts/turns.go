package accounts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/audit"
)

const (
	// listingsEach is how many lists over all accounts one member may have read at once, and fewer where there are not more places.
	listingsEach = 2
	// listingWait is how long a list waits for others' to be read, and listingTime bounds the reading of one.
	listingWait = 2 * time.Second
	listingTime = 10 * time.Second
)

// turns bounds the reads that hold a connection to Postgres for long, all together and of one member: whoever asks for many lists
// at once must not take the connections from those who sign in, act or look at something small.
type turns struct {
	places chan struct{} // holds one for each read that runs

	mu    sync.Mutex
	lanes map[principal]*lane
}

// lane is one member's share.
type lane struct {
	places chan struct{}
	users  int // guarded by turns.mu: who run or wait
}

// newTurns leaves one connection to everybody else.
func newTurns(db *pgxpool.Pool) *turns {
	most := 1
	if db != nil { // else a Service that reads nothing
		most = max(1, int(db.Config().MaxConns)-1)
	}
	return &turns{places: make(chan struct{}, most), lanes: map[principal]*lane{}}
}

// place waits for one until ctx ends.
func (t *turns) place(ctx context.Context) (done func(), err error) {
	select {
	case t.places <- struct{}{}:
		return func() { <-t.places }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for others' reads: %w", ctx.Err())
	}
}

// enter joins the member's lane; leave is to be called once.
func (t *turns) enter(who principal) (l *lane, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l = t.lanes[who]
	if l == nil {
		l = &lane{places: make(chan struct{}, max(1, min(listingsEach, cap(t.places)-1)))}
		t.lanes[who] = l
	}
	l.users++
	return l, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(t.lanes, who)
		}
	}
}

// listing waits for the turn of a member's list over all accounts. Its context ends with the time for one, and done is to be called when
// it is read. ErrRateLimited when others' take too long.
func (t *turns) listing(ctx context.Context, by audit.Actor) (_ context.Context, done func(), err error) {
	waiting, stop := context.WithTimeout(ctx, listingWait)
	defer stop()
	mine, leave := t.enter(principal{by.Issuer, by.Subject})
	limited := func(cause error) error {
		if ctx.Err() == nil {
			cause = ErrRateLimited
		}
		return fmt.Errorf("waiting for other lists: %w", cause)
	}
	select {
	case mine.places <- struct{}{}:
	case <-waiting.Done():
		leave()
		return nil, nil, limited(waiting.Err())
	}
	back, err := t.place(waiting)
	if err != nil {
		<-mine.places
		leave()
		return nil, nil, limited(err)
	}
	reading, cancel := context.WithTimeout(ctx, listingTime)
	return reading, func() {
		cancel()
		back()
		<-mine.places
		leave()
	}, nil
}
