package accounts

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// manyByEnvironment is a Service at which so many members of a group watch that has been granted staging, in which so many accounts are.
func manyByEnvironment(tb testing.TB, watches, accounts int) (*Service, *rightsBook, []*Watch) {
	tb.Helper()
	s := New(Config{})
	book := newBook()
	for range accounts {
		book.environments[uuid.New()] = string(Staging)
	}
	book.grants = []storedGrant{{row: grantRow{ID: uuid.New(), Role: "viewer"}, scope: access.Scope{Environments: []string{string(Staging)}}}}
	book.groups["https://idp.example.test"] = map[string][]int{"stagers": {0}}
	s.keeper.book.Store(book)
	all := make([]*Watch, watches)
	for i := range all {
		by := audit.Actor{Issuer: "https://idp.example.test", Subject: fmt.Sprint(i), Groups: []string{"stagers"}}
		w, err := s.Watch(by, Session{ID: uuid.New()}, s.now())
		if err != nil {
			tb.Fatal(err)
		}
		all[i] = w
	}
	return s, book, all
}

// BenchmarkLiveByEnvironment is what each second and each lease costs while 500 members watch by environment, besides the question.
func BenchmarkLiveByEnvironment(b *testing.B) {
	s, book, all := manyByEnvironment(b, 500, 500)
	b.Run("audiences", func(b *testing.B) {
		for b.Loop() {
			for _, w := range all {
				s.audienceOf(w, book, s.now())
			}
		}
	})
	b.Run("onScreen", func(b *testing.B) {
		for b.Loop() {
			s.onScreen()
		}
	})
}

// byLabels signs a member in who sees the clusters of one team.
func (l *liveRig) byLabels(t *testing.T, subject string) (audit.Actor, Session) {
	t.Helper()
	l.as(t, subject) // so that the member is known
	n := NewGrant{SubjectKind: SubjectMember, Subject: "https://idp.example.test|" + subject, Role: "viewer", ScopeKind: "labels", Scope: "team=search", Reason: "test"}
	if _, err := l.svc.CreateGrant(t.Context(), JobActor("test"), n); err != nil {
		t.Fatal(err)
	}
	by, session, _ := l.as(t, subject)
	return by, session
}

// TestLiveManyWhoComeBackAskLittle: what a watch is told of that comes back is each account and cluster once, and when that is much it looks
// instead; and however many come back at once, they ask for the labels of a bounded number of clusters.
func TestLiveManyWhoComeBackAskLittle(t *testing.T) {
	l := newLiveRig(t)
	by, session := l.byLabels(t, "labels")
	fill := func(changes, clusters int) {
		l.svc.hub.mu.Lock()
		defer l.svc.hub.mu.Unlock()
		l.svc.hub.recent = nil
		l.svc.hub.since = l.svc.now().Add(-time.Hour)
		account := uuid.New()
		for i := range changes {
			c := change{account: account, at: l.svc.now().Add(-time.Minute)}
			for k := range 200 {
				c.clusters = append(c.clusters, fmt.Sprint((200*i+k)%clusters))
			}
			l.svc.hub.recent = append(l.svc.hub.recent, c)
		}
	}
	fill(maxJudged/200, maxBacklog)
	w, err := l.svc.Watch(by, session, l.svc.now().Add(-4*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	// Only the hub's loop may look at a backlog, so another one is made here.
	once := &Watch{}
	l.svc.hub.mu.Lock()
	recent := slices.Clone(l.svc.hub.recent)
	l.svc.hub.mu.Unlock()
	if !once.remembers(recent, l.svc.now().Add(-4*time.Minute)) || len(once.backlog) != 1 || len(once.backlog[0].clusters) != maxBacklog {
		t.Errorf("%d accounts are remembered of %d changes in one", len(once.backlog), len(recent))
	}
	for i := range maxWatchesEach - 1 {
		if fill(maxJudged/200, maxBacklog+1); i%2 > 0 { // or much of little
			fill(maxRecent, 1)
		}
		w := l.watch(t, by, session, l.svc.now().Add(-4*time.Minute))
		if n, ok := w.Next(time.Now()); !ok || !n.Look {
			t.Errorf("who missed much is told %+v", n)
		}
	}

	// A hundred with as much as each may have: what does not fit looks.
	var many []*Watch
	heard := map[uuid.UUID]audience{}
	for i := range 100 {
		w := &Watch{hub: l.svc.hub, session: uuid.New(), accounts: map[uuid.UUID]bool{}, ready: make(chan struct{}, 1)}
		c := change{account: uuid.New()}
		for k := range maxBacklog {
			c.clusters = append(c.clusters, fmt.Sprint(i, "-", k))
		}
		w.backlog = []change{c}
		many, heard[w.session] = append(many, w), audience{live: true, scope: &access.Scope{Labels: []access.Selector{{}}}}
	}
	l.svc.labelsToJudge(t.Context(), heard, many, nil) // the answer may be late on a busy machine
	late := 0
	for _, w := range many {
		if w.late {
			late++
		}
	}
	if late < 100-maxJudged/maxBacklog-1 || late == 100 {
		t.Errorf("%d of 100 look instead", late)
	}
}

// TestLiveEndsAlsoWhenLabelsCannotBeRead: while the table of clusters is locked, sessions that ended end their streams, who may read whole
// accounts is told, and who sees by labels is told to look.
func TestLiveEndsAlsoWhenLabelsCannotBeRead(t *testing.T) {
	l := newLiveRig(t)
	by, session := l.byLabels(t, "labels")
	labels := l.watch(t, by, session, time.Time{})
	wholeBy, wholeSession, _ := l.as(t, "vera", "viewers")
	whole := l.watch(t, wholeBy, wholeSession, time.Time{})
	leaving, theirs, _ := l.as(t, "leaving", "viewers")
	ends := l.watch(t, leaving, theirs, time.Time{})
	conn, err := pgx.Connect(t.Context(), l.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // it ends the lock
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE clusters IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	account := uuid.New()
	if _, err := l.svc.SignOut(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.svc.hub.add(change{account: account, clusters: []string{"one"}, at: l.svc.now()})
	if n := news(t, ends); n.End != WatchSessionEnded {
		t.Errorf("whose session ended is told %+v", n)
	}
	if n := news(t, whole); n.Look || !slices.Equal(n.Accounts, []uuid.UUID{account}) {
		t.Errorf("who may read everything is told %+v", n)
	}
	if n := news(t, labels); !n.Look {
		t.Errorf("who sees by labels is told %+v", n)
	}
	if took := time.Since(began); took > standingEvery+labelsTimeout+time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestLiveByEnvironmentIsCheap: what is worked out for a watch is kept while the member's rights are the same, and made anew when they are not.
func TestLiveByEnvironmentIsCheap(t *testing.T) {
	s, book, all := manyByEnvironment(t, 10, 50)
	for _, w := range all {
		if to := s.audienceOf(w, book, s.now()); to.scope != w.scope {
			t.Error("a scope is worked out that is known")
		}
	}
	if look := s.onScreen(); look.everything || len(look.accounts) != 50 {
		t.Errorf("on screen are %d accounts", len(look.accounts))
	}
	all[0].Close()
	if look := s.onScreen(); len(look.accounts) != 50 {
		t.Errorf("on screen are %d accounts", len(look.accounts))
	}
	moved := *book
	moved.environments = map[uuid.UUID]string{uuid.New(): string(Staging)}
	for _, w := range all[1:] {
		to := s.audienceOf(w, &moved, s.now())
		if len(to.scope.Accounts) != 1 {
			t.Fatalf("by another book the scope is %+v", to.scope)
		}
		w.sees(to)
	}
	if look := s.onScreen(); len(look.accounts) != 1 {
		t.Errorf("on screen are %d accounts", len(look.accounts))
	}
	ended := s.now().Add(-time.Second)
	moved.grants = []storedGrant{{row: grantRow{ID: moved.grants[0].row.ID, Role: "viewer", ExpiresAt: &ended}, scope: moved.grants[0].scope}}
	if to := s.audienceOf(all[1], &moved, s.now()); !to.scope.None() {
		t.Errorf("after the grant ended the scope is %+v", to.scope)
	}
	for _, w := range all {
		w.Close()
	}
	if look := s.onScreen(); len(look.accounts)+len(look.environments) != 0 {
		t.Errorf("nobody looks at %+v", look)
	}
}
