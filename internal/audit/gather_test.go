package audit

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestGather proves who shares a commit, and that nobody waits for longer than they may.
func TestGather(t *testing.T) {
	const wait = 2 * time.Millisecond
	for name, test := range map[string]struct {
		together int
		after    []time.Duration // when events come, besides the first
		closes   bool
		want     int
		took     time.Duration
	}{
		"one who writes alone waits for nobody":      {together: 1, want: 1},
		"what is there already is taken":             {together: 1, after: []time.Duration{0, 0}, want: 3},
		"those of the last commit are waited for":    {together: 3, after: []time.Duration{time.Millisecond, 3 * time.Millisecond / 2}, want: 3, took: 3 * time.Millisecond / 2},
		"but not for longer than it may take":        {together: 3, after: []time.Duration{time.Millisecond, 5 * time.Millisecond}, want: 2, took: wait},
		"whoever comes while waiting is taken":       {together: 2, after: []time.Duration{0, 0, 0}, want: 4},
		"a log that closes commits what it has":      {together: 9, closes: true, want: 1},
		"a commit has a bound, and is not too large": {together: 1 << 20, after: make([]time.Duration, batchEvents+5), want: batchEvents},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &Log{queue: make(chan *waiting, queueLength)}
				for _, after := range test.after {
					if after == 0 {
						l.queue <- &waiting{}
						continue
					}
					time.AfterFunc(after, func() { l.queue <- &waiting{} })
				}
				if test.closes {
					close(l.queue)
				}
				start := time.Now()
				if got := len(l.gather(&waiting{}, test.together, wait)); got != test.want {
					t.Errorf("%d events share the commit, want %d", got, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("it waited for %s, want %s", took, test.took)
				}
				time.Sleep(10 * time.Millisecond) // until all timers have fired; the time is synctest's
			})
		})
	}
}
