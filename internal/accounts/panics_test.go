package accounts

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/cloudapi"
)

// brokenCloud panics at the alerts of every cluster.
type brokenCloud struct{ cloud }

func (brokenCloud) Alerts(context.Context, string) (cloudapi.AlertList, error) {
	panic("the answer is nothing that anybody thought of")
}

// TestPanicsInAnAnswerFailOneRefresh: also where clusters of an account are read side by side. The process goes on.
func TestPanicsInAnAnswerFailOneRefresh(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(5)
	r.refresh(t, r.svc, id)
	k := r.svc.kindNamed(kindAlerts)
	k.read = func(ctx context.Context, l lease, up *link) (time.Duration, error) {
		up.cloud = brokenCloud{up.cloud}
		return r.svc.refreshAlerts(ctx, l, up)
	}
	if err := r.svc.planKinds(t.Context()); err != nil {
		t.Fatal(err)
	}
	leases, err := r.svc.leaseKind(t.Context(), k, false, 10)
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	r.svc.refreshKind(t.Context(), k, leases[0])
	if words := value[string](t, r, `SELECT error FROM refresh WHERE account_id = $1 AND kind = 'alerts' AND failures = 1 AND lease_until IS NULL`, id); words != "The console failed on the answer; its log tells more." {
		t.Errorf("the account says %q", words)
	}
	if logged := r.logged.String(); !strings.Contains(logged, "refresh panicked") || !strings.Contains(logged, "nothing that anybody thought of") {
		t.Error("nothing about it in the log lines")
	}
}

// TestPanicsInALoopBeginItAnew: the one that tells of changes goes on, and everybody looks, because what was to be told is lost.
func TestPanicsInALoopBeginItAnew(t *testing.T) {
	l := newLiveRig(t)
	s := l.replica(t, nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	liveWait(t, "listening", s.listens)
	by, session, _ := l.as(t, "vera", "viewers")
	w, err := s.Watch(by, session, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	s.hub.mu.Lock()
	broken := &Watch{session: uuid.New(), scope: w.scope} // of no hub
	s.hub.join(broken)
	s.hub.mu.Unlock()
	liveWait(t, "it panicked", func() bool { return strings.Contains(l.logged.String(), `"job":"tell of changes"`) })
	s.hub.mu.Lock()
	s.hub.forget(broken)
	s.hub.mu.Unlock()
	if n := news(t, w); !n.Look {
		t.Errorf("told %+v", n)
	}
	s.hub.add(change{account: uuid.New(), at: s.now()})
	if n := news(t, w); n.Look || len(n.Accounts) != 1 {
		t.Errorf("afterwards told %+v", n)
	}
}

// TestPanicsBesideAnAnswerAreLogged.
func TestPanicsBesideAnAnswerAreLogged(t *testing.T) {
	r := newRig(t)
	r.svc.beginBeside(t.Context(), func(context.Context) { panic("nobody waits for it") })
	if err := r.svc.beside.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.logged.String(), "nobody waits for it") {
		t.Error("nothing about it in the log lines")
	}
}
