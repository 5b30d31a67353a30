package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gateConn is a connection of the account with that budget.
func gateConn(u *testUpstream, budget string, adjust ...func(*ConnConfig)) *Conn {
	cfg := ConnConfig{Generation: Current, CloudAccountID: accountID, Key: NewSecret([]byte(canaryKey)), Budget: budget}
	for _, a := range adjust {
		a(&cfg)
	}
	return u.client.Connect(cfg)
}

func background(c *ConnConfig) { c.Background = true }
func shared(c *ConnConfig)     { c.Share = true }

func gateRead(ctx context.Context, c *Conn) error {
	_, err := c.Do(ctx, OpListClusters, nil, nil, nil)
	return err
}

func gateAct(ctx context.Context, c *Conn) error {
	return NewCurrentAPI(c).RestartCluster(ctx, clusterID)
}

// breaking has a breaker that opens after three failures and rests for that long.
func breaking(rest time.Duration) func(*Config) {
	return func(c *Config) { c.BreakAfter, c.Rest = 3, rest }
}

// eventually waits for what happens in another goroutine.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in ten seconds not: %s", what)
		}
	}
}

// TestBreakerOpens: after so many failures in a row nothing is sent, neither reads nor acts, and the
// error says so in words, when it is tried again, and that nothing was sent. Other accounts are called.
func TestBreakerOpens(t *testing.T) {
	for name, failing := range map[string]http.HandlerFunc{
		"500":   answering(500, `{"code":13,"message":"out of disk"}`),
		"503":   answering(503, `{"code":14,"message":"out of disk"}`),
		"HTML":  answering(502, "<html>"),
		"close": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"hang":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, failing, breaking(time.Hour), func(c *Config) { c.ReadTimeout, c.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond })
			u.server.Config.ErrorLog = discardLog()
			conn := gateConn(u, "bad")
			for range 3 {
				if e := failed(t, gateRead(t.Context(), conn)); e.Kind != Unavailable || e.Resting {
					t.Errorf("before: %+v", e)
				}
			}
			before := u.count()
			for _, call := range []func(context.Context, *Conn) error{gateRead, gateAct} {
				start := time.Now()
				e := failed(t, call(t.Context(), conn))
				if e.Kind != Unavailable || !e.Resting || e.Status != 0 || e.OutcomeUnknown || e.RetryAfter < 40*time.Minute || e.RetryAfter > 80*time.Minute {
					t.Errorf("while resting: %+v", e)
				}
				if !strings.Contains(e.Public(), "this call was not") || !strings.Contains(e.Public(), "tries again at ") {
					t.Errorf("words: %s", e.Public())
				}
				if took := time.Since(start); took > 50*time.Millisecond {
					t.Errorf("failed after %s, want at once", took)
				}
			}
			if u.count() != before {
				t.Errorf("%d requests were sent by a resting account", u.count()-before)
			}
			if e := failed(t, gateRead(t.Context(), gateConn(u, "another"))); e.Resting {
				t.Error("another account rests, too")
			}
			h, _ := u.client.Health("bad")
			if h.Breaker != Open || h.RetryAt.IsZero() || h.Failures < 3 || len(h.Recent) == 0 || h.Recent[0].Words == "" || h.Failed == 0 || !h.AnsweredAt.IsZero() {
				t.Errorf("health: %+v", h)
			}
		})
	}
}

// TestBreakerHalfOpen: after its rest one read at a time finds out; an act is always tried; what is
// answered closes the breaker, and what fails makes it rest twice as long.
func TestBreakerHalfOpen(t *testing.T) {
	var well atomic.Bool
	arrived, let := make(chan struct{}, 10), make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			answer(w, 500, `{}`)
			return
		}
		arrived <- struct{}{}
		<-let
		answer(w, 404, `{"code":5,"message":"it answers"}`)
	}, breaking(100*time.Millisecond))
	u.client.gates.random = func() float64 { return .5 }
	conn := gateConn(u, "a")
	for range 3 {
		_ = gateRead(t.Context(), conn)
	}
	rested := func() bool { h, _ := u.client.Health("a"); return h.Breaker == HalfOpen }
	eventually(t, "half-open", rested)
	if e := failed(t, gateRead(t.Context(), conn)); e.Resting || e.Status != 500 {
		t.Fatalf("the first after the rest: %+v", e)
	}
	if h, _ := u.client.Health("a"); h.Breaker != Open || time.Until(h.RetryAt) < 120*time.Millisecond {
		t.Errorf("after a vain try: %+v, want to rest 200 ms", h)
	}
	eventually(t, "half-open again", rested)

	well.Store(true)
	ended := make(chan error, 3)
	go func() { ended <- gateRead(t.Context(), conn) }()
	<-arrived
	before := u.count()
	if e := failed(t, gateRead(t.Context(), conn)); !e.Resting || e.RetryAfter != time.Second || !strings.Contains(e.Public(), "right now") {
		t.Errorf("a second read meanwhile: %+v", e)
	}
	if u.count() != before {
		t.Error("it was sent")
	}
	go func() { ended <- gateAct(t.Context(), conn) }()
	<-arrived // an act is tried
	close(let)
	for range 2 {
		if e := failed(t, <-ended); e.Kind != NotFound {
			t.Error(e)
		}
	}
	if h, _ := u.client.Health("a"); h.Breaker != Closed || h.Failures != 0 || h.AnsweredAt.IsZero() {
		t.Errorf("answered: %+v", h)
	}
	if e := failed(t, gateRead(t.Context(), conn)); e.Kind != NotFound {
		t.Error(e)
	}
}

// TestBreakerHalfOpenGivenUp: one who gives up while finding out leaves the next one to find out.
func TestBreakerHalfOpenGivenUp(t *testing.T) {
	var hang atomic.Bool
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			<-r.Context().Done()
			return
		}
		answer(w, 500, `{}`)
	}, breaking(20*time.Millisecond))
	conn := gateConn(u, "a")
	for range 3 {
		_ = gateRead(t.Context(), conn)
	}
	eventually(t, "half-open", func() bool { h, _ := u.client.Health("a"); return h.Breaker == HalfOpen })
	hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if e := failed(t, gateRead(ctx, conn)); !errors.Is(e, context.DeadlineExceeded) {
		t.Error(e)
	}
	hang.Store(false)
	if e := failed(t, gateRead(t.Context(), conn)); e.Resting || e.Status != 500 {
		t.Errorf("the next: %+v", e)
	}
}

// TestBreakerStaysClosed: what upstream answers, and what a caller did not wait for, opens nothing.
func TestBreakerStaysClosed(t *testing.T) {
	for _, status := range []int{200, 400, 401, 403, 404, 409, 422, 429} {
		u := newUpstream(t, answering(status, `{"code":3}`), breaking(time.Hour))
		conn := gateConn(u, "a")
		for range 8 {
			_ = gateRead(t.Context(), conn)
			_ = gateAct(t.Context(), conn)
		}
		if h, _ := u.client.Health("a"); h.Breaker != Closed || h.Failures != 0 {
			t.Errorf("%d: %+v", status, h)
		}
	}
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, breaking(time.Hour))
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_ = gateRead(ctx, gateConn(u, "a"))
		cancel()
	}
	if h, _ := u.client.Health("a"); h.Breaker != Closed || h.Failures != 0 {
		t.Errorf("callers that waited 5 ms: %+v", h)
	}
}

// TestPlacesOfAnAccount: of an account that hangs only so many calls are under way; polling leaves
// places for people, looking leaves some for acts. When it has failed too often those that wait fail at once.
func TestPlacesOfAnAccount(t *testing.T) {
	var under, acts atomic.Int32
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			acts.Add(1)
		}
		under.Add(1)
		defer under.Add(-1)
		<-r.Context().Done()
	}, breaking(time.Hour), func(c *Config) { c.ReadTimeout, c.WriteTimeout = 700*time.Millisecond, 700*time.Millisecond })
	var calls sync.WaitGroup
	start := time.Now()
	send := func(n int, call func(context.Context, *Conn) error, adjust ...func(*ConnConfig)) {
		for range n {
			calls.Go(func() { _ = call(t.Context(), gateConn(u, "hung", adjust...)) })
		}
	}
	settled := func(n int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d calls under way, and not %d", n, under.Load()), func() bool { return under.Load() == n })
		time.Sleep(20 * time.Millisecond)
		if got := under.Load(); got != n {
			t.Errorf("%d calls under way, want %d", got, n)
		}
	}
	send(30, gateRead, background)
	settled(6)
	send(30, gateRead)
	settled(10)
	send(30, gateAct)
	settled(12)
	calls.Wait()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("90 calls of an account that hangs took %s", took)
	}
	if n := u.count(); n > 24 {
		t.Errorf("%d requests sent, want those under way and few more", n)
	}
}

// TestPeopleBeforePolling: with a budget spent and a queue of polling, a person's read and act go
// before all of it, and polling goes on among a crowd of people.
func TestPeopleBeforePolling(t *testing.T) {
	var mu sync.Mutex
	var order []string
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		order = append(order, strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(r.UserAgent(), "quartermaster/1.2.3"), " (request "), ")"))
		mu.Unlock()
		answer(w, 200, `{"items":[]}`)
	}, func(c *Config) { c.RPS = 50 })
	as := func(name string, more ...func(*ConnConfig)) *Conn {
		return gateConn(u, "a", append(more, func(c *ConnConfig) { c.RequestID = name })...)
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(order) }
	waiting := func() int { h, _ := u.client.Health("a"); return h.Waiting }
	var calls sync.WaitGroup
	for range 150 {
		calls.Go(func() { _ = gateRead(t.Context(), as("poll", background)) })
	}
	eventually(t, "a queue", func() bool { return count() >= 49 && waiting() > 50 })
	before := count()
	start := time.Now()
	if err := gateAct(t.Context(), as("act")); err != nil {
		t.Fatal(err)
	}
	if err := gateRead(t.Context(), as("read")); err != nil {
		t.Fatal(err)
	}
	if took, between := time.Since(start), count()-before; took > 300*time.Millisecond || between > 12 {
		t.Errorf("an act and a read took %s and %d turns behind a queue of polling", took, between)
	}
	for range 100 {
		calls.Go(func() { _ = gateRead(t.Context(), as("read")) })
	}
	calls.Wait()
	mu.Lock()
	defer mu.Unlock()
	from := before + 20
	if polls := strings.Count(strings.Join(order[from:from+60], " "), "poll"); polls < 6 || polls > 30 {
		t.Errorf("of 60 turns polling had %d while 100 people waited, want about a fifth", polls)
	}
}

// TestTooManyRequestsHoldsPollingBack: a 429 with Retry-After keeps polling away, and not a person's act.
func TestTooManyRequestsHoldsPollingBack(t *testing.T) {
	var first atomic.Bool
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(false, true) {
			w.Header().Set("Retry-After", "1")
			answer(w, 429, `{"code":8}`)
			return
		}
		answer(w, 200, `{"items":[]}`)
	})
	start := time.Now()
	if err := gateAct(t.Context(), gateConn(u, "a")); err == nil {
		t.Error("an act was repeated")
	}
	if err := gateAct(t.Context(), gateConn(u, "a")); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("acts took %s", took)
	}
	if err := gateRead(t.Context(), gateConn(u, "a", background)); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("polling went on after %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := gateRead(ctx, gateConn(u, "b", background)); err != nil {
		t.Errorf("another account: %v", err)
	}
}

// TestHeldBackPollingFindsNothingOut: polling that a 429 keeps away, on an account whose breaker is half-open, does not
// keep people from finding out: their reads are sent. Where its time would come after its deadline it is refused at once.
func TestHeldBackPollingFindsNothingOut(t *testing.T) {
	for _, held := range []struct {
		name    string
		seconds string
		waits   bool
	}{{"longer than its deadline", "60", false}, {"for two seconds", "2", true}} {
		t.Run(held.name, func(t *testing.T) {
			t.Parallel()
			var well, busy atomic.Bool
			u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				switch {
				case busy.CompareAndSwap(true, false):
					w.Header().Set("Retry-After", held.seconds)
					answer(w, 429, `{"code":8}`)
				case !well.Load():
					answer(w, 503, `{}`)
				default:
					answer(w, 200, `{"items":[]}`)
				}
			}, breaking(20*time.Millisecond))
			busy.Store(true)
			if e := failed(t, gateAct(t.Context(), gateConn(u, "a"))); e.Kind != RateLimited {
				t.Fatal(e)
			}
			start := time.Now()
			for range 3 {
				_ = gateRead(t.Context(), gateConn(u, "a"))
			}
			eventually(t, "half-open", func() bool { h, _ := u.client.Health("a"); return h.Breaker == HalfOpen })
			well.Store(true)

			polled := make(chan error, 1)
			go func() { polled <- gateRead(t.Context(), gateConn(u, "a", background)) }()
			if held.waits {
				eventually(t, "polling waits", func() bool { h, _ := u.client.Health("a"); return h.Waiting == 1 })
			} else {
				e := failed(t, <-polled)
				if e.Kind != RateLimited || e.RetryAfter < 30*time.Second || !strings.Contains(e.Public(), "asked for fewer calls") {
					t.Errorf("polling: %+v", e)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("polling was refused after %s, want at once", took)
				}
			}
			if err := gateRead(t.Context(), gateConn(u, "a")); err != nil {
				t.Errorf("a person's read: %v", err)
			}
			if h, _ := u.client.Health("a"); h.Breaker != Closed {
				t.Errorf("it answered: %+v", h)
			}
			if !held.waits {
				return
			}
			if err := <-polled; err != nil {
				t.Errorf("polling: %v", err)
			}
			if took := time.Since(start); took < 1500*time.Millisecond {
				t.Errorf("polling went on after %s", took)
			}
		})
	}
}

// TestOneBadAccount: 46 accounts are asked in the same time whether twelve others are well or hang and fail, of which each
// wants more calls at once than it has places, and all together more than there are connections.
func TestOneBadAccount(t *testing.T) {
	const latency = 50 * time.Millisecond
	var bad atomic.Bool
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		agent := r.UserAgent()
		switch {
		case bad.Load() && strings.Contains(agent, "hung"):
			<-r.Context().Done()
			return
		case bad.Load() && strings.Contains(agent, "failing"):
			answer(w, 503, `{}`)
			return
		}
		time.Sleep(latency)
		answer(w, 200, `{"items":[]}`)
	}, func(c *Config) { c.BreakAfter, c.ReadTimeout = 5, 2*time.Second })
	round := func() time.Duration {
		as := func(budget, name string) *Conn {
			return gateConn(u, budget, func(c *ConnConfig) { c.RequestID = name })
		}
		others := sync.WaitGroup{}
		for i := range 12 {
			name := []string{"hung", "hung", "failing"}[i%3]
			for range 40 {
				others.Go(func() { _ = gateRead(t.Context(), as(fmt.Sprint(name, i), name)) })
			}
		}
		time.Sleep(10 * time.Millisecond)
		start := time.Now()
		var good sync.WaitGroup
		for i := range 46 {
			good.Go(func() {
				for range 4 {
					if err := gateRead(t.Context(), as(fmt.Sprint("good", i), "good")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		good.Wait()
		took := time.Since(start)
		others.Wait()
		return took
	}
	round() // connections
	quiet := round()
	bad.Store(true)
	if took := round(); took > quiet*5/4+20*time.Millisecond {
		t.Errorf("the good accounts took %s beside twelve bad ones, and %s beside none", took, quiet)
	}
}

// TestLogsHaveTheirDeadline, reads and acts theirs, body included.
func TestLogsHaveTheirDeadline(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		for r.Context().Err() == nil { // a body that drips
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}, func(c *Config) {
		c.ReadTimeout, c.LogsTimeout, c.WriteTimeout = 100*time.Millisecond, 300*time.Millisecond, 500*time.Millisecond
	})
	logs := OpGetCluster
	logs.Logs = true
	for want, op := range map[time.Duration]Op{100 * time.Millisecond: OpGetCluster, 300 * time.Millisecond: logs, 500 * time.Millisecond: OpRestartCluster} {
		start := time.Now()
		e := failed(t, do(u, op, Params{"cluster_id": clusterID}, nil))
		if took := time.Since(start); !e.Timeout || took < want || took > want+150*time.Millisecond {
			t.Errorf("%+v after %s, want %s", e, took, want)
		}
	}
}

// TestAccountMetrics: an account has two counters and its breaker, until it is forgotten.
func TestAccountMetrics(t *testing.T) {
	u := newUpstream(t, answering(500, `{}`), breaking(time.Hour))
	for range 4 {
		_ = gateRead(t.Context(), gateConn(u, "one"))
	}
	read := func() map[string]float64 {
		families, err := u.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]float64{}
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "qm_upstream_account_") {
				m := f.GetMetric()[0]
				found[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return found
	}
	got := read()
	if len(got) != 3 || got["qm_upstream_account_requests_total one"] != 3 || got["qm_upstream_account_failures_total one"] != 3 || got["qm_upstream_account_breaker one"] != 2 {
		t.Errorf("%v", got)
	}
	if n := u.counted()["current resting ListClusters"]; n != 1 {
		t.Errorf("%v calls were counted as resting", n)
	}
	u.client.Forget("one")
	if got := read(); len(got) != 0 {
		t.Errorf("%v of an account that was removed", got)
	}
}
