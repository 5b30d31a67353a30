package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	reconcileEvery = 15 * time.Second
	settleEvery    = time.Second
	flushEvery     = time.Second
	cleanEvery     = time.Hour
	// retryFirst and retryLongest bound the wait of a job that failed.
	retryFirst   = time.Second
	retryLongest = 30 * time.Second
	// flushTimeout is what Run spends at its end on leases and on refusals that are being recorded, and then
	// on refusals and failed sign-ins that are summed.
	flushTimeout = 5 * time.Second
	readyTimeout = 2 * time.Second
)

// Run refreshes snapshots, tells watches of changes, reconciles open operations, records how long work ended, cleans up and
// compares the tables with the log until ctx ends. It returns when everything it started has ended, with nil; the leases it held are given back
// then. When Postgres is gone it goes on trying. The log makes its own partitions.
func (s *Service) Run(ctx context.Context) error {
	var running sync.WaitGroup
	s.planState()
	endless := func(name string, loop func(ctx context.Context)) {
		running.Go(func() {
			s.repeat(ctx, name, retryFirst, func(ctx context.Context) error {
				loop(ctx)
				return nil
			})
		})
	}
	endless("refresh clusters", s.refreshLoop)
	for _, k := range s.otherKinds() {
		endless("refresh "+k.name, func(ctx context.Context) { s.kindLoop(ctx, k) })
	}
	endless("listen for changes", s.listenLoop)
	endless("tell of changes", s.tellLoop)
	for _, job := range []struct {
		name  string
		every time.Duration
		do    func(ctx context.Context) error
	}{
		{"reconcile open operations", max(min(reconcileEvery, s.cfg.UnknownAfter/2), flushEvery), s.reconcileOnce},
		{"record the ends of long work", settleEvery, s.settleOnce},
		{"record summed events", flushEvery, s.flushSums},
		{"plan what is read next to clusters", planEvery, s.planKinds},
		{"find what is seen by labels", labelledEvery, s.findLabelled},
		{"clean up sessions", cleanEvery, s.cleanSessions},
		{"tell sums of changes made outside", sumsEvery, s.tellSums},
		{"forget clusters", cleanEvery, s.forgetGone},
		{"forget notes of clusters", cleanEvery, s.forgetUntold},
		{"analyze tables of snapshots", statisticsEvery, s.analyzeSnapshots},
		{"compare the tables with the log", min(stateWake, s.cfg.StateAfter, s.cfg.StateEvery), s.watchState},
	} {
		running.Go(func() { s.repeat(ctx, job.name, job.every, job.do) })
	}
	running.Wait()

	var leaving sync.WaitGroup
	leaving.Go(func() { s.waitForRefusals(ctx) })
	s.letGoOfLeases(ctx)
	leaving.Wait()
	last, cancel := detached(ctx, flushTimeout)
	defer cancel()
	s.flushDenials(last, true)
	s.flushSignInFailures(last, true)
	return nil
}

// waitForRefusals waits until the refusals that are recorded beside their answers are in the log, or were
// given back to be flushed.
func (s *Service) waitForRefusals(ctx context.Context) {
	ctx, cancel := detached(ctx, flushTimeout)
	defer cancel()
	if err := s.beside.wait(ctx); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "refusals are still being recorded", slog.Any("error", err))
	}
}

// letGoOfLeases gives back every lease of this process when its workers have ended: those that they
// could not give back, or never heard of, would keep the accounts from others until they expire.
func (s *Service) letGoOfLeases(ctx context.Context) {
	ctx, cancel := detached(ctx, flushTimeout)
	defer cancel()
	if _, err := s.cfg.DB.Exec(ctx, `UPDATE refresh SET lease_until = NULL, lease_owner = '' WHERE starts_with(lease_owner, $1) OR starts_with(lease_owner, $2)`,
		s.cfg.Owner+"/", s.kindOwner()); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "leases are held until they expire", slog.Any("error", err))
	}
}

// Underway lists the operations that this process has begun and not ended.
func (s *Service) Underway() []uuid.UUID {
	ids := []uuid.UUID{}
	s.underway.Range(func(id, _ any) bool {
		ids = append(ids, id.(uuid.UUID))
		return true
	})
	return ids
}

// repeat does a job at once and then at each interval until ctx ends. One that fails is tried
// again sooner; the first failure in a row and the success after it are logged.
func (s *Service) repeat(ctx context.Context, name string, every time.Duration, do func(ctx context.Context) error) {
	failures := 0
	s.metrics.jobsFailed.WithLabelValues(name) // a rate needs the zero
	for ctx.Err() == nil {
		wait := every
		err := guarded(ctx, do)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.metrics.jobsFailed.WithLabelValues(name).Inc()
			wait = min(every, retryLongest, retryFirst<<min(failures, 10))
			if failures == 0 {
				s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "job failed, trying again", slog.String("job", name), slog.Any("error", err))
			}
			failures++
		case failures > 0:
			s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "job works again", slog.String("job", name), slog.Int("failures", failures))
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// guarded does a job and makes an error of a panic: one broken job must not end the program.
func guarded(ctx context.Context, do func(ctx context.Context) error) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = &panicError{broken, string(debug.Stack())}
		}
	}()
	return do(ctx)
}

// panicError is what guarded makes of a panic.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// beginBeside begins work that nobody waits for. When it panics that is logged.
func (s *Service) beginBeside(ctx context.Context, work func(ctx context.Context)) {
	ctx = context.WithoutCancel(ctx)
	s.beside.start(func() {
		err := guarded(ctx, func(ctx context.Context) error {
			work(ctx)
			return nil
		})
		if err != nil {
			s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "work that nobody waits for failed", slog.Any("error", err))
		}
	})
}

// flushSums records what was summed and whose minute is over.
func (s *Service) flushSums(ctx context.Context) error {
	s.flushDenials(ctx, false)
	s.flushSignInFailures(ctx, false)
	return nil
}

// Ready reports whether Postgres answers and the schema fits. The vault is open or there would be
// no Service. ErrUnavailable when Postgres does not answer within two seconds.
func (s *Service) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := s.cfg.DB.Ping(ctx); err != nil {
		return fmt.Errorf("asking Postgres: %w: %w", ErrUnavailable, err)
	}
	if s.cfg.CheckSchema == nil {
		return nil
	}
	if err := s.cfg.CheckSchema(ctx, s.cfg.DB); err != nil {
		return fmt.Errorf("checking the schema: %w", err)
	}
	return nil
}
