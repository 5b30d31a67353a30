package accounts

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestListingThatChangesBetweenPages: while pages are read a cluster goes, so that another one moves up to a page that was
// read already and is on none; and one that is new moves others down, so that one is on two. Nobody is gone but the one that
// went, and nobody is there twice.
func TestListingThatChangesBetweenPages(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(6)
	at.set(func(a *scriptedAccount) { a.pageSize = 2 })
	r.refresh(t, r.svc, id)
	all := slices.Clone(at.clusters)
	once := func(change func(a *scriptedAccount)) {
		at.set(func(a *scriptedAccount) {
			a.onList = func() {
				at.set(func(a *scriptedAccount) {
					if a.onList != nil {
						a.onList = nil
						change(a)
					}
				})
			}
		})
	}
	stored := func() (ids []string) {
		rows, err := r.db.Pool.Query(t.Context(), `SELECT cluster_id FROM clusters WHERE gone_at IS NULL`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var one string
			if err := rows.Scan(&one); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, one)
		}
		slices.Sort(ids)
		return ids
	}
	want := func(clusters ...*scriptedCluster) (ids []string) {
		for _, c := range clusters {
			ids = append(ids, c.ID)
		}
		slices.Sort(ids)
		return ids
	}

	once(func(a *scriptedAccount) { a.clusters = slices.Clone(all[1:]) }) // after the first page was made
	r.refresh(t, r.svc, id)
	r.refresh(t, r.svc, id)
	if got := stored(); !slices.Equal(got, want(all[1:]...)) {
		t.Errorf("after one has gone: %v, want %v", got, want(all[1:]...))
	}
	fresh := *all[1]
	fresh.ID, fresh.Name = uuid.NewString(), "new"
	once(func(a *scriptedAccount) { a.clusters = append([]*scriptedCluster{&fresh}, a.clusters...) })
	r.refresh(t, r.svc, id)
	if got := stored(); !slices.Equal(got, want(all[1:]...)) && !slices.Equal(got, want(append([]*scriptedCluster{&fresh}, all[1:]...)...)) {
		t.Errorf("while one is new: %v", got)
	}
	r.refresh(t, r.svc, id)
	if got := stored(); !slices.Equal(got, want(append([]*scriptedCluster{&fresh}, all[1:]...)...)) {
		t.Errorf("after one is new: %v", got)
	}
	if n := value[int](t, r, `SELECT count(*) FROM clusters WHERE missing_at IS NOT NULL`); n != 0 {
		t.Errorf("%d clusters are missing", n)
	}
	var told []string
	for _, e := range r.events(t, ActClusterChangedOutside.Name) {
		told = append(told, fmt.Sprint(e.Target.Name, e.Change["exists"]))
	}
	slices.Sort(told)
	if want := []string{"cluster-000[true false]", "new[false true]"}; !slices.Equal(told, want) {
		t.Errorf("told of changes made outside: %v, want %v", told, want)
	}
}

// TestLiveBrowserThatSleptAnHour: a browser that takes nothing for an hour makes nothing grow, however much happens; when it is
// back it is told to look at everything, because nobody remembers an hour. Where the session has ended meanwhile, that is all
// it is told.
func TestLiveBrowserThatSleptAnHour(t *testing.T) {
	l := newLiveRig(t)
	l.svc.cfg.SessionIdle = 2 * time.Hour
	by, session, _ := l.as(t, "vera", "viewers")
	slept := l.svc.now()
	w := l.watch(t, by, session, time.Time{})
	for range 60 {
		l.clock.advance(time.Minute)
		for range 10 {
			l.svc.hub.add(change{account: uuid.New(), at: l.svc.now()})
		}
		liveWait(t, "what arrived is judged", func() bool { l.svc.hub.mu.Lock(); defer l.svc.hub.mu.Unlock(); return len(l.svc.hub.arrived) == 0 })
	}
	l.svc.hub.mu.Lock()
	kept, remembered := len(w.accounts), len(l.svc.hub.recent)
	l.svc.hub.mu.Unlock()
	if kept > maxUntold || remembered > 10*int(recentTime/time.Minute)+10 {
		t.Errorf("%d accounts are kept for who sleeps, %d changes are remembered", kept, remembered)
	}
	if n := news(t, w); !n.Look || len(n.Accounts) != 0 || n.End != "" {
		t.Errorf("the stream that was open says %+v", n)
	}
	w.Close()
	if n := news(t, l.watch(t, by, session, slept)); !n.Look || n.End != "" {
		t.Errorf("who comes back is told %+v", n)
	}
	again := l.watch(t, by, session, l.svc.now())
	l.clock.advance(time.Hour + time.Minute) // nobody has asked for anything for longer than the limit
	if n := news(t, again); n.End != WatchSessionEnded {
		t.Errorf("after the session ended: %+v", n)
	}
}

// TestLargeListingsTakeTurns: a listing of which much is to be stored waits while another one is, and one of which little is
// does not.
func TestLargeListingsTakeTurns(t *testing.T) {
	r := newRig(t)
	small, few := r.account(t, "Small", Production)
	few.add(manyRows)
	large, many := r.account(t, "Large", Production)
	many.add(manyRows + 1)
	for range cap(r.svc.refreshing.heavy) {
		r.svc.refreshing.heavy <- struct{}{}
	}
	count := func(id uuid.UUID) int {
		return value[int](t, r, `SELECT count(*) FROM clusters WHERE account_id = $1`, id)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := r.svc.refreshOnce(t.Context())
		ended <- err
	}()
	liveWait(t, "the small listing is stored", func() bool { return count(small) == manyRows })
	liveWait(t, "the large listing waits for its turn", func() bool {
		stacks := make([]byte, 1<<22)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("accounts.(*Service).takeTurn("))
	})
	if n := count(large); n != 0 {
		t.Errorf("%d clusters of the large listing are stored before its turn", n)
	}
	for range cap(r.svc.refreshing.heavy) {
		<-r.svc.refreshing.heavy
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := count(large); n != manyRows+1 {
		t.Errorf("%d clusters of the large listing are stored after its turn", n)
	}
}
