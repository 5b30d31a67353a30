package accounts

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSharedReadsBeginAfterTheyWereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written, reads atomic.Int64
		shared := &sharedReads[int64]{}
		read := func(context.Context) (int64, error) {
			reads.Add(1)
			saw := written.Load()
			time.Sleep(time.Millisecond) // what is written meanwhile is not seen
			return saw, nil
		}
		const people, times = 20, 30
		var running sync.WaitGroup
		for range people {
			running.Go(func() {
				for range times {
					time.Sleep(rand.N(3 * time.Millisecond))
					mine := written.Add(1)
					if saw, err := shared.do(t.Context(), "fleet", read); err != nil || saw < mine {
						t.Errorf("read %d, %v after %d was written", saw, err, mine)
					}
				}
			})
		}
		running.Wait()
		synctest.Wait()
		if n := reads.Load(); n > people*times/2 {
			t.Errorf("%d reads for %d people who asked %d times: they share none", n, people, times)
		}
		if len(shared.next) != 0 {
			t.Errorf("%d keys are kept when nobody reads", len(shared.next))
		}
	})
}

func TestSharedReadsOfOthersAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &sharedReads[string]{}
		for _, key := range []string{"a", "b", "c"} {
			for range 3 {
				go func() {
					got, err := shared.do(t.Context(), key, func(context.Context) (string, error) {
						time.Sleep(time.Second)
						return key, nil
					})
					if got != key || err != nil {
						t.Errorf("%s reads %q, %v", key, got, err)
					}
				}()
			}
		}
		began := time.Now()
		synctest.Wait()
		time.Sleep(2500 * time.Millisecond) // two each: nobody waits for another key
		synctest.Wait()
		if len(shared.next) != 0 {
			t.Errorf("after %s %d keys are still read", time.Since(began), len(shared.next))
		}
	})
}

func TestSharedReadsOutliveWhoAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &sharedReads[string]{}
		read := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(time.Second):
				return "read", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		var failed error
		go func() { _, failed = shared.do(first, "fleet", read) }()
		synctest.Wait()
		for range 2 {
			go func() {
				if got, err := shared.do(t.Context(), "fleet", read); got != "read" || err != nil {
					t.Errorf("another reads %q, %v", got, err)
				}
			}()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if !errors.Is(failed, context.Canceled) {
			t.Errorf("who left is told %v", failed)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(shared.next) != 0 {
			t.Error("a read did not end")
		}
	})
}

// TestSharedReadsEndWithTheLastWhoWaits: what nobody waits for any more takes nothing from the others.
func TestSharedReadsEndWithTheLastWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &sharedReads[string]{}
		began, ended := 0, 0
		read := func(ctx context.Context) (string, error) {
			began++
			<-ctx.Done()
			ended++
			return "", ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		go func() { _, _ = shared.do(ctx, "fleet", read) }()
		synctest.Wait()
		for range 3 {
			go func() { _, _ = shared.do(ctx, "fleet", read) }()
		}
		synctest.Wait()
		if began != 1 || ended != 0 {
			t.Fatalf("%d began, %d ended", began, ended)
		}
		at := time.Now()
		leave()
		synctest.Wait()
		// The second may have begun: those who wait for it may leave after the one who waited for the first.
		if ended != began || !time.Now().Equal(at) || len(shared.next) != 0 {
			t.Errorf("when all have left %d have begun and %d ended, %d keys are kept", began, ended, len(shared.next))
		}
		if got, err := shared.do(t.Context(), "fleet", func(context.Context) (string, error) { return "read", nil }); got != "read" || err != nil {
			t.Errorf("who comes later reads %q, %v", got, err)
		}
	})
}

func TestSharedReadsThatHangOrPanicEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &sharedReads[string]{}
		_, err := shared.do(t.Context(), "hangs", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read that hangs: %v", err)
		}
		if got, err := shared.do(t.Context(), "panics", func(context.Context) (string, error) { panic("broken") }); err == nil {
			t.Errorf("a read that panics returns %q", got)
		}
		if got, err := shared.do(t.Context(), "panics", func(context.Context) (string, error) { return "well", nil }); got != "well" || err != nil {
			t.Errorf("the one after it: %q, %v", got, err)
		}
	})
}

// TestSharedReadsHaveTheirOwnTime: a read that had to wait for a slow one has as much time as that had.
func TestSharedReadsHaveTheirOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads sharedReads[int]
		slow := func(ctx context.Context) (int, error) {
			select {
			case <-time.After(sharedReadTimeout - time.Second):
				return 1, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		failed := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := reads.do(t.Context(), "one", slow)
				failed <- err
			}()
			synctest.Wait()
		}
		for range 2 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	})
}
