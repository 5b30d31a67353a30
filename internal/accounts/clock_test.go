package accounts

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/dbtest"
)

const year = 365 * 24 * time.Hour

// newClockStage is a stage whose Postgres has a clock that the test turns. Refreshes are as often as they are in a real console.
func newClockStage(t *testing.T) (*stage, *dbtest.Clock) {
	t.Helper()
	t.Parallel()
	server, clock := dbtest.NewServerWithClock(t)
	return newStageOn(t, server.New(t), func(c *Config) { c.PollMin, c.PollMax, c.UnknownAfter = 2*time.Second, time.Minute, time.Millisecond }), clock
}

// yes reads one truth.
func (s *stage) yes(sql string, args ...any) (yes bool) {
	s.t.Helper()
	if err := s.db.Pool.QueryRow(s.t.Context(), sql, args...).Scan(&yes); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return yes
}

// due counts the accounts that a worker may take now, and gives them back.
func (s *stage) due() int {
	s.t.Helper()
	leases, err := s.svc.lease(s.t.Context(), false, 100)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range leases {
		s.svc.giveBack(s.t.Context(), l, 0)
	}
	return len(leases)
}

// inOrder fails the test when the log's times run back, its numbers have a gap, or it does not verify.
func (s *stage) inOrder() {
	s.t.Helper()
	if !s.yes(`SELECT bool_and(recorded_at >= before) IS NOT FALSE AND count(*) = max(seq) FROM (SELECT seq, recorded_at, lag(recorded_at) OVER (ORDER BY seq) AS before FROM audit.events) e`) {
		s.t.Error("the log's times run back, or a number is missing")
	}
	page, err := s.log.List(s.t.Context(), audit.Query{Limit: 500})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 1; i < len(page.Operations); i++ {
		if page.Operations[i].Seq >= page.Operations[i-1].Seq {
			s.t.Errorf("the page shows event %d below %d", page.Operations[i].Seq, page.Operations[i-1].Seq)
		}
	}
	if report, err := audit.Verify(s.t.Context(), s.db.Pool, 1, nil); err != nil || !report.OK() {
		s.t.Errorf("the log does not verify: %+v, %v", report, err)
	}
}

// TestPostgresClockThatWasAhead leaves behind what a console leaves while Postgres' clock is ahead, and sets it right: nothing
// waits for that time to come.
func TestPostgresClockThatWasAhead(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"a year": year, "a day": 24 * time.Hour, "an hour": time.Hour} {
		t.Run(name, func(t *testing.T) {
			s, clock := newClockStage(t)
			account := s.register(s.current(), "Search")
			by := member("operators")

			clock.Turn(t, ahead)
			if n := s.due(); n != 1 {
				t.Errorf("with the clock ahead %d accounts are due, want 1", n)
			}
			s.snapshot()
			acted := s.inPhase(account.ID, cloudapi.PhaseHealthy)
			if err := s.svc.RestartCluster(t.Context(), by, acted); err != nil { // written_at and busy_until are ahead now
				t.Fatal(err)
			}
			leases, err := s.svc.lease(t.Context(), false, 1) // and a lease, of a worker that will never give it back
			if err != nil || len(leases) != 1 {
				t.Fatalf("%d leases, %v", len(leases), err)
			}
			known, err := s.svc.loadCluster(t.Context(), s.inPhase(account.ID, cloudapi.PhaseSuspended))
			if err != nil {
				t.Fatal(err)
			}
			during := s.attempt(ActClusterUnsuspend, known.on)

			clock.Turn(t, 0)
			if n := s.due(); n != 1 {
				t.Fatalf("a lease and a next refresh that are ahead stop refreshes: %d accounts are due", n)
			}
			if _, err := s.svc.refreshOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !s.yes(`SELECT next_at < clock_timestamp() + interval '2 minutes' AND ok_at <= clock_timestamp() FROM refresh WHERE kind = 'clusters'`) {
				t.Error("the next refresh or the last is still ahead")
			}
			// What our act wrote then is older than what upstream says now.
			s.ask(http.MethodPost, "outside", map[string]any{"act": "phase", "account": account.CloudAccountID, "cluster": acted.ClusterID, "phase": "NOT_READY"}, nil)
			s.refreshNow()
			if !s.yes(`SELECT phase = 'NOT_READY' FROM clusters WHERE cluster_id = $1`, acted.ClusterID) {
				t.Error("a cluster that was acted on while the clock was ahead is not refreshed")
			}
			s.ask(http.MethodPost, "outside", map[string]any{"act": "delete_cluster", "account": account.CloudAccountID, "cluster": acted.ClusterID, "at_once": true}, nil)
			s.refreshNow()
			if !s.yes(`SELECT gone_at IS NOT NULL FROM clusters WHERE cluster_id = $1`, acted.ClusterID) {
				t.Error("and when it is deleted nobody notices")
			}

			// The log goes on at the time it had reached. What it holds open is looked for all the same, and judged by the right time.
			healthy := s.inPhase(account.ID, cloudapi.PhaseHealthy)
			if known, err = s.svc.loadCluster(t.Context(), healthy); err != nil {
				t.Fatal(err)
			}
			after := s.attempt(ActClusterRestart, known.on)
			up, err := s.svc.connect(t.Context(), account.ID, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := up.conn.Do(t.Context(), cloudapi.OpRestartCluster, cloudapi.Params{"cluster_id": healthy.ClusterID}, nil, nil); err != nil {
				t.Fatal(err)
			}
			s.eventually("both are ended", func() bool {
				if err := s.svc.reconcileOnce(t.Context()); err != nil {
					t.Fatal(err)
				}
				return s.yes(`SELECT NOT EXISTS (SELECT FROM audit.open_operations)`)
			})
			for _, e := range s.events() {
				want, asked := map[uuid.UUID]audit.Outcome{during.Operation: audit.Failed, after.Operation: audit.OK}[e.Operation]
				if asked && e.Phase == audit.PhaseOutcome && e.Outcome != want {
					t.Errorf("%s reads %s (%s), want %s", e.Act, e.Outcome, e.Reason, want)
				}
			}
			// And what is done now comes to its end.
			s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
			s.refreshNow()
			if err := s.svc.SuspendCluster(t.Context(), by, s.inPhase(account.ID, cloudapi.PhaseHealthy)); err != nil {
				t.Fatal(err)
			}
			s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
			clock.Turn(t, 2*time.Minute) // an act's longest time is over
			s.refreshNow()
			if err := s.svc.settleOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := s.settledOf(ActClusterSuspend); len(got) != 1 || got[0].Outcome != audit.OK {
				t.Errorf("the end of what is done now: %+v", got)
			}
			s.inOrder()
		})
	}
}

// refreshNow refreshes every account as a wake-up would: what is written ahead in its rows stays.
func (s *stage) refreshNow() {
	s.t.Helper()
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp()`)
	if n, err := s.svc.refreshOnce(s.t.Context()); err != nil || n == 0 {
		s.t.Fatalf("%d accounts were refreshed: %v", n, err)
	}
}

// TestPostgresClockSetBack sets it back under a console: an hour, a day and a year.
func TestPostgresClockSetBack(t *testing.T) {
	s, clock := newClockStage(t)
	account := s.register(s.current(), "Search")
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, year} {
		clock.Turn(t, -back)
		if n := s.due(); n != 1 {
			t.Errorf("%s back: %d accounts are due", back, n)
		}
		s.refreshNow()
		ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
		if err := s.svc.SuspendCluster(t.Context(), member("operators"), ref); err != nil {
			t.Fatal(err)
		}
		s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
		clock.Turn(t, -back+2*time.Minute) // an act's longest time is over
		s.refreshNow()
		if !s.yes(`SELECT phase = 'SUSPENDED' FROM clusters WHERE cluster_id = $1`, ref.ClusterID) {
			t.Errorf("%s back: what was done is not refreshed", back)
		}
		if n := s.owed(); n > 0 {
			if err := s.svc.settleOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.owed(); n > 0 {
			t.Errorf("%s back: %d ends are not recorded", back, n)
		}
		s.inOrder()
	}
}

// TestOurClockThatWasAhead turns the console's own clock a year ahead and back. Nothing made then lives longer than it should.
func TestOurClockThatWasAhead(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "One", Production)
	token, by := signIn(t, r, vera())
	form, err := r.svc.FormToken(t.Context(), by, "account.create")
	if err != nil {
		t.Fatal(err)
	}
	cleaned := func() {
		if err := r.svc.cleanSessions(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	r.clock.advance(year)
	wantNoSession(t, r.svc, token) // it has expired, and its member signs in again
	cleaned()
	later, laterBy := signIn(t, r, vera())
	r.svc.SignInFailed(t.Context(), browser(), "a cause")
	r.svc.flushSignInFailures(t.Context(), false)
	r.svc.denied(t.Context(), laterBy, ActClusterDelete, target{Kind: KindCluster, ID: "c"}, "write:clusters")
	r.exec(t, `UPDATE management_keys SET probed_at = $2 WHERE account_id = $1`, id, r.clock.Now())

	r.clock.advance(-year)
	wantNoSession(t, r.svc, later) // it would end in a year
	if sessions, err := r.svc.Sessions(t.Context(), by); err != nil || len(sessions) != 0 {
		t.Errorf("%d sessions are listed: %v", len(sessions), err)
	}
	cleaned()
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NULL`); n != 0 {
		t.Errorf("%d sessions live on", n)
	}
	again, againBy := signIn(t, r, vera())
	if _, err := r.svc.useToken(t, againBy, form); err == nil {
		t.Error("the form of a session that has ended is taken")
	}
	r.svc.SignInFailed(t.Context(), browser(), "a cause")
	r.svc.flushSignInFailures(t.Context(), false)
	r.svc.denied(t.Context(), laterBy, ActClusterDelete, target{Kind: KindCluster, ID: "c"}, "write:clusters")
	for act, want := range map[string]int{"session.login": 5, "cluster.delete": 2} { // three sign-ins and two failures
		if n := value[int](t, r, `SELECT count(*) FROM audit.events WHERE act = $1`, act); n != want {
			t.Errorf("%d events of %s, want %d", n, act, want)
		}
	}
	up, err := r.svc.connect(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	r.svc.probeAgain(t.Context(), up)
	if !value[bool](t, r, `SELECT probed_at <= $2 FROM management_keys WHERE account_id = $1`, id, r.clock.Now()) {
		t.Error("what the key may do is not read again for a year")
	}

	// An hour back ends nobody's session, and does not make it longer than that hour.
	r.clock.advance(-time.Hour)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), again); err != nil {
		t.Errorf("an hour back: %v", err)
	}
	form, err = r.svc.FormToken(t.Context(), againBy, "account.create")
	if err != nil {
		t.Fatal(err)
	}
	r.clock.advance(-time.Hour)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), again); err != nil {
		t.Errorf("two hours back: %v", err)
	}
	if already, err := r.svc.useToken(t, againBy, form); err != nil || already != "" {
		t.Errorf("a form of an hour ahead: %q, %v", already, err)
	}
	r.clock.advance(31 * time.Minute)
	wantNoSession(t, r.svc, again) // idle since the clock was set back
}

// useToken takes a form's token.
func (s *Service) useToken(t *testing.T, by audit.Actor, token string) (already string, err error) {
	t.Helper()
	return s.formResult(t.Context(), by, Act{Name: "account.create"}, token)
}

// TestListsOfKeysAfterAClockThatWasAhead: a list is not kept for a year.
func TestListsOfKeysAfterAClockThatWasAhead(t *testing.T) {
	var r keyrings
	now := time.Now().UTC().Truncate(time.Microsecond) // as the service's clock gives it, without a monotonic part
	ring := r.at(ringAt{}, now)
	r.keep(ring, 0, keyList{}, 0, now.Add(year).Add(keysLife))
	if _, _, usable := r.known(ring, now, 0); usable {
		t.Error("a list that was read a year ahead is used")
	}
	r.keep(ring, 0, keyList{}, 0, now.Add(keysLife))
	if _, _, usable := r.known(ring, now, 0); !usable {
		t.Error("a list that was just read is not used")
	}
}

// TestAnAttemptOfWhenAllClocksWereAhead: upstream's times tell nothing about it, so no verdict rests on them.
func TestAnAttemptOfWhenAllClocksWereAhead(t *testing.T) {
	s, clock := newClockStage(t)
	account := s.register(s.current(), "Search")
	known, err := s.svc.loadCluster(t.Context(), s.inPhase(account.ID, cloudapi.PhaseHealthy))
	if err != nil {
		t.Fatal(err)
	}
	clock.Turn(t, year)
	e := known.on.event(member("operators"), ActClusterRestart)
	e.Phase, e.Operation, e.At = audit.PhaseAttempt, uuid.New(), time.Now().Add(year)
	if _, err := s.log.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	clock.Turn(t, 0)
	if page, err := s.log.List(t.Context(), audit.Query{Act: ActClusterRestart.Name}); err != nil || len(page.Operations) != 1 || page.Operations[0].Status != "unknown" {
		t.Errorf("the page shows %+v, %v", page.Operations, err)
	}
	got := s.reconciled(s.svc, e.Operation)
	if len(got) != 2 || got[1].Outcome != audit.Unknown || got[1].Reason != clockReason {
		t.Errorf("%+v", got)
	}
}
