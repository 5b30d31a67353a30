package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// liveRig is a rig of which one replica listens and tells, without refreshing by itself.
type liveRig struct {
	*rig
	svc *Service
}

func newLiveRig(t *testing.T) *liveRig {
	t.Helper()
	r := newRig(t)
	r.clock.advance(time.Since(r.clock.Now())) // what the database writes and what the console remembers are compared
	r.svc.cfg.Rights.Issuer = ""
	l := &liveRig{rig: r, svc: r.svc}
	l.run(t, l.svc)
	return l
}

// run has a replica listen until the test ends, and waits until it does.
func (l *liveRig) run(t *testing.T, s *Service) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { s.listenLoop(ctx); ended <- struct{}{} }()
	go func() { s.tellLoop(ctx); ended <- struct{}{} }()
	t.Cleanup(func() {
		stop()
		<-ended
		<-ended
	})
	liveWait(t, "listening", s.listens)
}

// liveWait waits until something is so.
func liveWait(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func (s *Service) listens() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return !s.hub.since.IsZero() && !s.hub.owed
}

// as signs a member in.
func (l *liveRig) as(t *testing.T, subject string, groups ...string) (audit.Actor, Session, string) {
	t.Helper()
	token, err := l.svc.SignIn(t.Context(), audit.Actor{}, Identity{Issuer: "https://idp.example.test", Subject: subject, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	session, by, err := l.svc.Authenticate(t.Context(), audit.Actor{}, token)
	if err != nil {
		t.Fatal(err)
	}
	return by, session, token
}

func (l *liveRig) watch(t *testing.T, by audit.Actor, session Session, after time.Time) *Watch {
	t.Helper()
	w, err := l.svc.Watch(by, session, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// change makes the account's clusters different and stores what is listed then.
func (l *liveRig) change(t *testing.T, id uuid.UUID, at *scriptedAccount, phase string) {
	t.Helper()
	at.set(func(a *scriptedAccount) {
		for _, c := range a.clusters {
			c.Phase = phase
		}
	})
	l.refresh(t, l.svc, id)
}

// news waits for what the watch is told next.
func news(t *testing.T, w *Watch) News {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case <-w.Ready():
			if n, ok := w.Next(time.Now()); ok {
				return n
			}
		case <-timeout:
			t.Fatal("the watch is told nothing")
		}
	}
}

// silent fails the test when the watch is told something in a while.
func silent(t *testing.T, w *Watch, why string) {
	t.Helper()
	select {
	case <-w.Ready():
		if n, ok := w.Next(time.Now()); ok {
			t.Errorf("%s, and it was told %+v", why, n)
		}
	case <-time.After(300 * time.Millisecond):
	}
}

func TestLiveTellsOfAChangeOnEveryReplica(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	at.add(3)
	by, session, _ := l.as(t, "vera", "viewers")
	w := l.watch(t, by, session, time.Time{})
	other := l.replica(t, nil)
	l.refresh(t, other, id) // another process found it
	if n := news(t, w); n.Look || !slices.Equal(n.Accounts, []uuid.UUID{id}) {
		t.Errorf("told %+v", n)
	}
	l.refresh(t, other, id)
	silent(t, w, "nothing changed")
	l.change(t, id, at, "CLUSTER_PHASE_SUSPENDED")
	if n := news(t, w); n.Look || !slices.Equal(n.Accounts, []uuid.UUID{id}) {
		t.Errorf("told %+v", n)
	}
}

// TestLiveTellsOfAnEditedAccount: pages name the account and its environment.
func TestLiveTellsOfAnEditedAccount(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	at.add(1)
	l.refresh(t, l.svc, id)
	by, session, _ := l.as(t, "vera", "viewers")
	w := l.watch(t, by, session, time.Time{})
	admin, _, _ := l.as(t, "ada", "admins")
	account, err := l.svc.Account(t.Context(), admin, id)
	if err != nil {
		t.Fatal(err)
	}
	edit := AccountEdit{AccountDetails: AccountDetails{Name: "Renamed", Environment: account.Environment}, Revision: account.Revision()}
	if err := l.svc.EditAccount(t.Context(), admin, id, edit); err != nil {
		t.Fatal(err)
	}
	if n := news(t, w); n.Look || !slices.Equal(n.Accounts, []uuid.UUID{id}) {
		t.Errorf("told %+v", n)
	}
}

// TestLiveNotifyLost: what was said while the dedicated connection was dead is lost, so everybody is told to look
// again, and who comes back is as well.
func TestLiveNotifyLost(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	at.add(1)
	l.refresh(t, l.svc, id)
	by, session, _ := l.as(t, "vera", "viewers")
	before := l.svc.now()
	w := l.watch(t, by, session, time.Time{})
	killed := value[int](t, l.rig, `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()`, listenerName)
	if killed != 1 {
		t.Fatalf("%d connections killed", killed)
	}
	l.change(t, id, at, "CLUSTER_PHASE_SUSPENDED")
	for n := news(t, w); !n.Look; n = news(t, w) {
		if len(n.Accounts) != 1 { // the last that the connection heard before it died
			t.Fatalf("told %+v", n)
		}
	}
	liveWait(t, "listening again", l.svc.listens)
	if n := news(t, l.watch(t, by, session, before)); !n.Look {
		t.Errorf("who comes back is told %+v", n)
	}
	l.change(t, id, at, "CLUSTER_PHASE_HEALTHY")
	if n := news(t, w); n.Look || len(n.Accounts) != 1 {
		t.Errorf("after the connection is back: %+v", n)
	}
	if !strings.Contains(l.logged.String(), "changes are not heard of") {
		t.Error("nothing about it in the log lines")
	}
}

// TestLiveComingBack: who says when they last looked is told of what changed since, and to look when that is not known.
func TestLiveComingBack(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	at.add(1)
	by, session, _ := l.as(t, "vera", "viewers")
	l.refresh(t, l.svc, id)
	liveWait(t, "the change is remembered", func() bool { l.svc.hub.mu.Lock(); defer l.svc.hub.mu.Unlock(); return len(l.svc.hub.recent) == 1 })
	l.clock.advance(time.Minute)
	l.svc.hub.mu.Lock()
	l.svc.hub.since = l.svc.hub.since.Add(-time.Hour)
	l.svc.hub.mu.Unlock()
	silent(t, l.watch(t, by, session, l.svc.now()), "nothing changed since")
	if n := news(t, l.watch(t, by, session, l.svc.now().Add(-2*time.Minute))); n.Look || len(n.Accounts) != 1 {
		t.Errorf("two minutes ago: %+v", n)
	}
	if n := news(t, l.watch(t, by, session, l.svc.now().Add(-2*time.Hour))); !n.Look {
		t.Errorf("two hours ago: %+v", n)
	}
	silent(t, l.watch(t, by, session, l.svc.now().Add(recentMargin)), "a replica whose clock is a little ahead")
	if n := news(t, l.watch(t, by, session, l.svc.now().Add(time.Hour))); !n.Look || n.At.After(l.svc.now()) {
		t.Errorf("a time to come, from a clock that was set right: %+v", n)
	}
}

// TestLiveSaysNoMoreThanWasJudged: while it cannot be asked who may be told, no later time is said. Whoever comes back with the last one
// is told of what happened meanwhile.
func TestLiveSaysNoMoreThanWasJudged(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	at.add(1)
	l.refresh(t, l.svc, id)
	by, session, _ := l.as(t, "vera", "viewers")
	w := l.watch(t, by, session, time.Time{})
	liveWait(t, "everything is judged", func() bool {
		l.svc.hub.mu.Lock()
		defer l.svc.hub.mu.Unlock()
		return len(l.svc.hub.arrived) == 0 && !l.svc.hub.judging && !l.svc.hub.owed
	})
	l.svc.hub.mu.Lock()
	l.svc.hub.since = l.svc.hub.since.Add(-time.Hour)
	l.svc.hub.mu.Unlock()
	w.Next(l.svc.now())
	before := w.Until(l.svc.now())
	if !before.Equal(l.svc.now()) {
		t.Errorf("%s is said at %s", before, l.svc.now())
	}
	conn, err := pgx.Connect(t.Context(), l.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // it ends the lock
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	l.svc.hub.add(change{account: id, at: l.svc.now()})
	l.clock.advance(time.Minute)
	if now := w.Until(l.svc.now()); !now.Equal(before) {
		t.Errorf("%s is said while it is judged, want %s", now, before)
	}
	w.Close()
	again := l.watch(t, by, session, before)
	if now := again.Until(l.svc.now()); !now.Equal(before) {
		t.Errorf("who comes back meanwhile is said %s, want %s", now, before)
	}
	if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if n := news(t, again); len(n.Accounts) != 1 && !n.Look {
		t.Errorf("who comes back is told %+v", n)
	}
	liveWait(t, "later times are said again", func() bool { return again.Until(l.svc.now()).Equal(l.svc.now()) })
}

// TestLiveSlowWatchDoesNotGrow: who takes nothing is told to look once, however much there was.
func TestLiveSlowWatchDoesNotGrow(t *testing.T) {
	l := newLiveRig(t)
	by, session, _ := l.as(t, "vera", "viewers")
	w := l.watch(t, by, session, time.Time{})
	for range 10 * maxUntold {
		l.svc.hub.add(change{account: uuid.New(), at: l.svc.now()})
	}
	liveWait(t, "told to look", func() bool { l.svc.hub.mu.Lock(); defer l.svc.hub.mu.Unlock(); return w.look })
	l.svc.hub.mu.Lock()
	kept := len(w.accounts)
	l.svc.hub.mu.Unlock()
	if n := news(t, w); kept > maxUntold || !n.Look || len(n.Accounts) != 0 {
		t.Errorf("kept %d, told %+v", kept, n)
	}
	for range 3 * maxRecent {
		l.svc.hub.add(change{account: uuid.New(), at: l.svc.now()})
	}
	l.svc.hub.mu.Lock()
	defer l.svc.hub.mu.Unlock()
	if len(l.svc.hub.recent) > maxRecent || len(l.svc.hub.arrived) > maxRecent {
		t.Errorf("the hub keeps %d and %d", len(l.svc.hub.recent), len(l.svc.hub.arrived))
	}
}

// TestLiveEndsWithTheLastRight: a grant that is taken back ends the watch of who may read nothing else, and none begins;
// who may still read something else is told to look.
func TestLiveEndsWithTheLastRight(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	other, _ := l.account(t, "Two", Staging)
	at.add(1)
	admin := JobActor("test")
	give := func(subject string, account uuid.UUID) uuid.UUID {
		t.Helper()
		g, err := l.svc.CreateGrant(t.Context(), admin, NewGrant{
			SubjectKind: SubjectMember, Subject: "https://idp.example.test|" + subject, Role: "viewer", ScopeKind: string(access.ScopeAccount), Scope: account.String(), Reason: "to look",
		})
		if err != nil {
			t.Fatal(err)
		}
		return g.ID
	}
	l.as(t, "ones") // so that the member is known
	l.as(t, "boths")
	one, both := give("ones", id), give("boths", id)
	give("boths", other)
	by, session, _ := l.as(t, "ones")
	w := l.watch(t, by, session, time.Time{})
	byBoth, sessionBoth, _ := l.as(t, "boths")
	still := l.watch(t, byBoth, sessionBoth, time.Time{})
	for _, g := range []uuid.UUID{one, both} {
		if err := l.replica(t, nil).EndGrant(t.Context(), admin, g, "no longer"); err != nil {
			t.Fatal(err)
		}
	}
	if n := news(t, w); n.End != WatchNothing || n.Look || len(n.Accounts) > 0 {
		t.Errorf("told %+v", n)
	}
	if _, err := l.svc.Watch(by, session, time.Time{}); !errors.Is(err, ErrNothingToTell) {
		t.Errorf("a watch begins without a right: %v", err)
	}
	if n := news(t, still); n.End != "" || !n.Look || !n.Rights {
		t.Errorf("who may read another account is told %+v", n)
	}
}

// TestLiveTellsOfOtherRights: when a member may do less, or more, and reads the same as before, their pages are told that
// what they offer may be out of date; others are not.
func TestLiveTellsOfOtherRights(t *testing.T) {
	l := newLiveRig(t)
	id, _ := l.account(t, "One", Production)
	admin := JobActor("test")
	l.as(t, "ones")
	give := func(role string) uuid.UUID {
		t.Helper()
		g, err := l.svc.CreateGrant(t.Context(), admin, NewGrant{
			SubjectKind: SubjectMember, Subject: "https://idp.example.test|ones", Role: role, ScopeKind: string(access.ScopeAccount), Scope: id.String(), Reason: "to work",
		})
		if err != nil {
			t.Fatal(err)
		}
		return g.ID
	}
	give("viewer")
	more := give("operator")
	by, session, _ := l.as(t, "ones")
	w := l.watch(t, by, session, time.Time{})
	byOther, sessionOther, _ := l.as(t, "vera", "viewers")
	other := l.watch(t, byOther, sessionOther, time.Time{})
	if err := l.svc.EndGrant(t.Context(), admin, more, "no longer"); err != nil {
		t.Fatal(err)
	}
	if n := news(t, w); n.End != "" || !n.Look || !n.Rights {
		t.Errorf("with less: told %+v", n)
	}
	give("operator")
	if n := news(t, w); n.End != "" || !n.Look || !n.Rights {
		t.Errorf("with more: told %+v", n)
	}
	silent(t, other, "somebody else's rights changed")
}

// TestLiveEndsWithTheSession: however a session ends, its watches end, and nothing is told in between.
func TestLiveEndsWithTheSession(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, l *liveRig, by audit.Actor, session Session) error{
		"signed out": func(t *testing.T, l *liveRig, by audit.Actor, _ Session) error {
			_, err := l.svc.SignOut(t.Context(), by)
			return err
		},
		"ended elsewhere": func(t *testing.T, l *liveRig, by audit.Actor, session Session) error {
			return l.replica(t, nil).EndSession(t.Context(), by, session.ID)
		},
		"idle": func(_ *testing.T, l *liveRig, _ audit.Actor, _ Session) error {
			l.clock.advance(31 * time.Minute)
			return nil
		},
		"expired": func(_ *testing.T, l *liveRig, _ audit.Actor, _ Session) error {
			l.clock.advance(13 * time.Hour)
			return nil
		},
		"blocked": func(t *testing.T, l *liveRig, by audit.Actor, _ Session) error {
			l.svc.keeper.book.Load().blocked[principal{by.Issuer, by.Subject}] = true
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLiveRig(t)
			by, session, _ := l.as(t, "vera", "viewers")
			w := l.watch(t, by, session, time.Time{})
			if err := end(t, l, by, session); err != nil {
				t.Fatal(err)
			}
			l.svc.hub.add(change{account: uuid.New(), at: l.svc.now()})
			if n := news(t, w); n.End != WatchSessionEnded || len(n.Accounts) > 0 || n.Look {
				t.Errorf("told %+v", n)
			}
			l.svc.hub.mu.Lock()
			defer l.svc.hub.mu.Unlock()
			if len(l.svc.hub.watches) != 0 {
				t.Error("the watch is kept")
			}
		})
	}
}

// TestLiveKeepsNoSessionAlive: a watch is no activity.
func TestLiveKeepsNoSessionAlive(t *testing.T) {
	l := newLiveRig(t)
	by, session, _ := l.as(t, "vera", "viewers")
	seen := value[time.Time](t, l.rig, `SELECT last_seen_at FROM sessions WHERE id = $1`, session.ID)
	w := l.watch(t, by, session, time.Time{})
	l.clock.advance(20 * time.Minute)
	l.svc.hub.add(change{account: uuid.New(), at: l.svc.now()})
	news(t, w)
	if now := value[time.Time](t, l.rig, `SELECT last_seen_at FROM sessions WHERE id = $1`, session.ID); !now.Equal(seen) {
		t.Errorf("last seen %s, was %s", now, seen)
	}
}

// TestLiveTellsWhatMayBeRead: an account's changes wake those who may read the account, or one of the clusters that
// changed; others learn nothing, not even that something happened.
func TestLiveTellsWhatMayBeRead(t *testing.T) {
	l := newLiveRig(t)
	id, at := l.account(t, "One", Production)
	l.account(t, "Two", Staging)
	at.add(2)
	at.set(func(a *scriptedAccount) { a.clusters[0].Labels = map[string]string{"team": "search"} })
	l.refresh(t, l.svc, id)
	liveWait(t, "the refresh is heard, and not later", func() bool {
		l.svc.hub.mu.Lock()
		defer l.svc.hub.mu.Unlock()
		return len(l.svc.hub.arrived) == 0 && slices.ContainsFunc(l.svc.hub.recent, func(c change) bool { return len(c.clusters) == 2 })
	})
	mine, theirs := value[string](t, l.rig, `SELECT cluster_id FROM clusters WHERE labels ->> 'team' = 'search'`), value[string](t, l.rig, `SELECT cluster_id FROM clusters WHERE labels ->> 'team' IS NULL`)
	grant := func(subject, kind, scope string) (audit.Actor, Session) {
		if scope != "" {
			n := NewGrant{SubjectKind: SubjectMember, Subject: "https://idp.example.test|" + subject, Role: "viewer", ScopeKind: kind, Scope: scope, Reason: "test"}
			if _, err := l.svc.CreateGrant(t.Context(), JobActor("test"), n); err != nil {
				t.Fatal(err)
			}
		}
		by, session, _ := l.as(t, subject)
		return by, session
	}
	watches := map[string]*Watch{}
	for _, g := range [][3]string{
		{"whole", "account", id.String()}, {"environment", "environment", "production"}, {"cluster", "cluster", id.String() + "/" + mine},
		{"labels", "labels", "team=search"}, {"other", "cluster", id.String() + "/" + theirs}, {"elsewhere", "environment", "staging"}, {"nobody", "", ""},
	} {
		l.as(t, g[0]) // so that the member is known
		by, session := grant(g[0], g[1], g[2])
		if g[0] == "nobody" {
			if _, err := l.svc.Watch(by, session, time.Time{}); !errors.Is(err, ErrNothingToTell) {
				t.Errorf("who may read nothing watches: %v", err)
			}
			continue
		}
		watches[g[0]] = l.watch(t, by, session, time.Time{})
	}
	told := func(what string, clusters []string, want ...string) {
		t.Helper()
		l.svc.hub.add(change{account: id, clusters: clusters, at: l.svc.now()})
		for name, w := range watches {
			if slices.Contains(want, name) {
				if n := news(t, w); n.Look || !slices.Equal(n.Accounts, []uuid.UUID{id}) {
					t.Errorf("%s: %s is told %+v", what, name, n)
				}
			}
		}
		for name, w := range watches {
			if n, ok := w.Next(time.Now()); ok {
				t.Errorf("%s: %s is told %+v", what, name, n)
			}
		}
	}
	told("mine", []string{mine}, "whole", "environment", "cluster", "labels")
	told("theirs", []string{theirs}, "whole", "environment", "other")
	told("both", []string{mine, theirs}, "whole", "environment", "cluster", "labels", "other")
	told("the account itself", nil, "whole", "environment")

	// Rights that change act from then on, and whoever they are of looks again.
	l.exec(t, `UPDATE grants SET ended_at = now(), end_reason = 'test' WHERE subject = 'cluster'`)
	if n := news(t, watches["cluster"]); n.End != WatchNothing {
		t.Errorf("who lost a right is told %+v", n)
	}
	delete(watches, "cluster")
	told("mine, of which one lost the right", []string{mine}, "whole", "environment", "labels")

	// Who comes back is told no more than who stayed.
	for name, w := range watches {
		back := l.watch(t, w.by, Session{ID: w.session}, l.svc.now().Add(-time.Second))
		liveWait(t, "the past is judged", func() bool {
			l.svc.hub.mu.Lock()
			defer l.svc.hub.mu.Unlock()
			return back.look || len(l.svc.hub.arrived) == 0
		})
		if name == "elsewhere" {
			time.Sleep(200 * time.Millisecond)
			if n, ok := back.Next(time.Now()); ok && len(n.Accounts) > 0 {
				t.Errorf("%s comes back and is told %+v", name, n)
			}
		}
	}
}

func TestLiveIsBounded(t *testing.T) {
	l := newLiveRig(t)
	by, session, _ := l.as(t, "vera", "viewers")
	for range maxWatchesEach {
		l.watch(t, by, session, time.Time{})
	}
	if _, err := l.svc.Watch(by, session, time.Time{}); !errors.Is(err, ErrRateLimited) {
		t.Errorf("one more: %v", err)
	}
	other, theirs, _ := l.as(t, "victor", "viewers")
	w := l.watch(t, other, theirs, time.Time{})
	l.svc.StopWatching()
	if n := news(t, w); n.End != WatchStopped {
		t.Errorf("told %+v", n)
	}
	if _, err := l.svc.Watch(by, session, time.Time{}); !errors.Is(err, ErrStopping) {
		t.Errorf("after the stop: %v", err)
	}
}

// TestLivePayloadsFit: whatever ids there are, Postgres takes what is said, and it is read as it was written.
func TestLivePayloadsFit(t *testing.T) {
	id := uuid.New()
	var clusters []string
	for i := range 20_000 {
		clusters = append(clusters, fmt.Sprintf("%036d", i))
	}
	payloads := clusterPayloads(id, append([]string{"", "a b", "line\nbreak", strings.Repeat("x", 129)}, clusters...))
	var read []string
	for _, p := range payloads {
		c, ok := readChange(p, time.Time{})
		if !ok || c.account != id || len(p) > maxPayload {
			t.Fatalf("%d bytes, %v, of %s", len(p), ok, c.account)
		}
		read = append(read, c.clusters...)
	}
	if len(payloads) != maxClusterPayloads || !slices.Equal(read, clusters[:len(read)]) || len(read) < 3000 {
		t.Errorf("%d payloads, %d ids", len(payloads), len(read))
	}
	for _, p := range []string{"", "clusters", "clusters x", "echo " + id.String(), "keys " + id.String()} {
		if c, ok := readChange(p, time.Time{}); ok {
			t.Errorf("%q is read as %+v", p, c)
		}
	}
	if c, ok := readChange("clusters "+id.String(), time.Time{}); !ok || len(c.clusters) != 0 { // of the release before
		t.Errorf("%+v, %v", c, ok)
	}
}
