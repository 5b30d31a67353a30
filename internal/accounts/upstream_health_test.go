package accounts

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

// resting is a replica whose calls for an account rest that long after five failures.
func (s *stage) resting(rest time.Duration) *Service {
	s.t.Helper()
	return s.replica(func(c *Config) {
		client, err := cloudapi.New(cloudapi.Config{CurrentURL: s.upstream, PAURL: s.upstream, Rest: rest})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(client.Close)
		c.Cloud = client
	})
}

// TestActWhileCallsRest fails at once, is recorded as failed and not as unknown, and says when it is
// tried again; another account's act is done; when upstream answers again so is this one's.
func TestActWhileCallsRest(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	other := s.register(s.fixture(func(f sandbox.Fixture) bool {
		return f.Generation == "current" && f.CloudAccountID != account.CloudAccountID
	}), "Other")
	ref, otherRef := s.inPhase(account.ID, cloudapi.PhaseHealthy), s.inPhase(other.ID, cloudapi.PhaseHealthy)
	svc, by := s.resting(time.Second), member("operators")
	s.fault(map[string]any{"account": account.CloudAccountID, "kind": "status", "status": 500})
	for range 5 {
		if err := svc.RestartCluster(t.Context(), by, ref); err == nil {
			t.Fatal("no error")
		}
	}
	_, before := s.calls()
	err := svc.RestartCluster(t.Context(), by, ref)
	if e, ok := cloudapi.AsError(err); !ok || !e.Resting || e.RetryAfter <= 0 {
		t.Errorf("while calls rest: %v", err)
	}
	if _, after := s.calls(); after != before {
		t.Error("it was sent")
	}
	events := s.eventsOf(ActClusterRestart)
	if last := events[len(events)-1]; last.Phase != audit.PhaseOutcome || last.Outcome != audit.Failed || !strings.Contains(last.Reason, "this call was not") {
		t.Errorf("outcome %+v", last)
	}
	if err := svc.RestartCluster(t.Context(), by, otherRef); err != nil {
		t.Errorf("another account: %v", err)
	}
	page, err := svc.UpstreamHealth(t.Context(), member("admins"), AccountsQuery{Text: account.CloudAccountID})
	if err != nil || len(page.Accounts) != 1 || page.Accounts[0].Health.Breaker != cloudapi.Open || len(page.Accounts[0].Health.Recent) == 0 {
		t.Errorf("health: %+v %v", page, err)
	}
	s.ask(http.MethodDelete, "faults", nil, nil)
	s.eventually("the account's acts are done again", func() bool { return svc.RestartCluster(t.Context(), by, ref) == nil })
}

// TestManyLookAtOneCluster: whoever opens the form of a cluster at the same time is shown the answer to
// one call; an act is still decided on a read of its own.
func TestManyLookAtOneCluster(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref, by := s.inPhase(account.ID, cloudapi.PhaseHealthy), member("operators")
	if _, err := s.svc.AskClusterUpdate(t.Context(), by, ref); err != nil { // the catalogue is remembered now
		t.Fatal(err)
	}
	s.ask(http.MethodDelete, "calls", nil, nil)
	s.fault(map[string]any{"account": account.CloudAccountID, "operation": "GetCluster", "kind": "latency", "latency_ms": 1000})
	var viewers sync.WaitGroup
	for range 20 {
		viewers.Go(func() {
			if _, err := s.svc.AskClusterUpdate(t.Context(), by, ref); err != nil {
				t.Error(err)
			}
		})
	}
	viewers.Wait()
	if n := s.counted()[account.CloudAccountID]["GetCluster"]; n != 1 {
		t.Errorf("20 viewers were %d calls", n)
	}
	for range 2 {
		viewers.Go(func() { _, _ = s.svc.labelsNow(t.Context(), by, ref) })
	}
	viewers.Wait()
	if n := s.counted()[account.CloudAccountID]["GetCluster"]; n != 3 {
		t.Errorf("%d calls, want one more for each read that an act is decided on", n)
	}
}

// TestUpstreamHealthIsScoped: whoever may read one account is told of that one.
func TestUpstreamHealthIsScoped(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.register(s.legacy(), "Old")
	by := member("nobody")
	told := func() (names []string) {
		t.Helper()
		page, err := s.svc.UpstreamHealth(t.Context(), by, AccountsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Accounts {
			names = append(names, a.Account.Name)
		}
		return names
	}
	if got := told(); len(got) != 0 {
		t.Errorf("without rights: %v", got)
	}
	s.scopedTo(by, access.Scope{Accounts: []uuid.UUID{account.ID}}, access.ReadAccount)
	if got := told(); len(got) != 1 || got[0] != "Search" {
		t.Errorf("with a right on one account: %v", got)
	}
	by = member("admins")
	if got := told(); len(got) != 2 {
		t.Errorf("an administrator: %v", got)
	}
	if err := s.svc.Remove(t.Context(), by, account.ID, AccountRemoval{Confirm: "Search"}); err != nil {
		t.Fatal(err)
	}
	if _, called := s.svc.cfg.Cloud.Health(account.ID.String()); called {
		t.Error("the client remembers an account that was removed")
	}
}

// TestRefreshWaitsForTheBreaker: a refresh that met an open breaker comes back no sooner than it lets a call through.
func TestRefreshWaitsForTheBreaker(t *testing.T) {
	s := &Service{cfg: Config{PollMin: time.Second, PollMax: time.Minute}}
	resting := &cloudapi.Error{Kind: cloudapi.Unavailable, Resting: true, RetryAfter: 42 * time.Second}
	if got := s.waitAfter(resting, 1); got != 42*time.Second {
		t.Errorf("waits %s", got)
	}
}

// TestOneBadAccountInFifty: the refresh of 46 accounts takes the same time whether four others are well,
// or two hang and two fail.
func TestOneBadAccountInFifty(t *testing.T) {
	round := func(bad bool) time.Duration {
		r := newRig(t)
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		var good []uuid.UUID
		for i := range 50 {
			id, at := r.account(t, fmt.Sprint("Account ", i), Production)
			at.add(1)
			at.set(func(a *scriptedAccount) {
				a.onList = func() { time.Sleep(50 * time.Millisecond) }
				switch {
				case bad && i < 2:
					a.hang = release
				case bad && i < 4:
					a.status = 503
				}
			})
			if i >= 4 {
				good = append(good, id)
			}
		}
		s := r.replica(t, func(c *Config) { c.PollMin, c.PollMax = time.Minute, time.Minute })
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		start := time.Now()
		go func() { defer close(ended); s.refreshLoop(ctx) }()
		for deadline := start.Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if value[int](t, r, fmt.Sprintf(`SELECT count(*) FROM refresh WHERE kind = 'clusters' AND ok_at IS NOT NULL AND account_id IN ('%s')`, joinIDs(good))) == len(good) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("not fresh in half a minute")
			}
		}
		took := time.Since(start)
		stop()
		<-ended
		return took
	}
	round(false)
	quiet, beside := round(false), round(true)
	floor := (46 + steadyWorkers - 1) / steadyWorkers * 50
	t.Logf("46 accounts were fresh after %s beside four bad ones, after %s beside none; the floor is %d ms", beside, quiet, floor)
	if beside > quiet*5/4+150*time.Millisecond {
		t.Errorf("46 accounts took %s beside four bad ones, and %s beside none", beside, quiet)
	}
}

func joinIDs(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, "','")
}

// TestHealthTellsNoWordsAboutClusters: who may read an account and not its clusters sees how its calls go, and not what
// upstream said, which may name a cluster.
func TestHealthTellsNoWordsAboutClusters(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	s.fault(map[string]any{"account": account.CloudAccountID, "kind": "status", "status": 500})
	if err := s.svc.RestartCluster(t.Context(), member("admins"), ref); err == nil {
		t.Fatal("no error")
	}
	by := member("scoped")
	recentOf := func(permissions ...string) cloudapi.Failure {
		s.scopedTo(by, access.Scope{Accounts: []uuid.UUID{account.ID}}, permissions...)
		readRights(t, s.svc)
		page, err := s.svc.UpstreamHealth(t.Context(), by, AccountsQuery{})
		if err != nil || len(page.Accounts) != 1 || len(page.Accounts[0].Health.Recent) == 0 {
			t.Fatalf("%+v, %v", page, err)
		}
		return page.Accounts[0].Health.Recent[0]
	}
	if f := recentOf(access.ReadAccount, access.ReadClusters); f.Words == "" || f.TraceID == "" {
		t.Errorf("who may read the clusters is told %+v", f)
	}
	if f := recentOf(access.ReadAccount); f.Words != "" || f.TraceID != "" || f.Status == 0 {
		t.Errorf("who may not is told %+v", f)
	}
	if f := recentOf(access.ReadAccount, access.ReadClusters); f.Words == "" {
		t.Errorf("who may afterwards is told %+v", f)
	}
}
