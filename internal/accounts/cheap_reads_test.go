package accounts

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/cloudapi"
)

// queryCount counts the statements that name something, and the rows that they gave.
type queryCount struct {
	names   string
	n, rows atomic.Int64
}

type countedQuery struct{}

func (q *queryCount) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if !strings.Contains(data.SQL, q.names) {
		return ctx
	}
	q.n.Add(1)
	return context.WithValue(ctx, countedQuery{}, true)
}

func (q *queryCount) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if ctx.Value(countedQuery{}) != nil {
		q.rows.Add(data.CommandTag.RowsAffected())
	}
}

// counted is a replica whose statements are counted that hold the text.
func (r *rig) counted(t *testing.T, names string) (*Service, *queryCount) {
	t.Helper()
	count := &queryCount{names: names}
	config := r.db.Pool.Config().Copy()
	config.ConnConfig.Tracer = count
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return r.replica(t, func(c *Config) { c.DB = pool }), count
}

// TestWhatCanAsksNoMoreAboutWhoHasGrantsElsewhere than about who never signed in: how long it takes would tell that they are known.
func TestWhatCanAsksNoMoreAboutWhoHasGrantsElsewhere(t *testing.T) {
	f := newGrantsField(t)
	f.grantee(t, "elsewhere")
	f.give(t, f.admin, SubjectMember, "elsewhere", "viewer", access.ScopeAccount, f.dev.String())
	f.grantee(t, "here")
	f.give(t, f.admin, SubjectMember, "here", "viewer", access.ScopeAccount, f.prod.String())
	svc, count := f.counted(t, "SELECT")
	asked := map[string]int64{}
	for _, subject := range []string{"elsewhere", "nobody", "here"} {
		if err := svc.freshRights(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := count.n.Load()
		_, err := svc.WhatCan(t.Context(), f.accountAdm, grantsIssuer, subject)
		if (err == nil) != (subject == "here") {
			t.Errorf("%s: %v", subject, err)
		}
		asked[subject] = count.n.Load() - before
	}
	if asked["elsewhere"] != asked["nobody"] || asked["here"] <= asked["nobody"] {
		t.Errorf("so many statements: %v", asked)
	}
}

// TestGrantFormReadsNoMoreClustersThanItOffers: who manages grants in one account has none of the others read, and who manages them
// everywhere no more than the form holds.
func TestGrantFormReadsNoMoreClustersThanItOffers(t *testing.T) {
	f := newGrantsField(t)
	f.fill(t, f.dev, 2*maxGrantChoices)
	svc, count := f.counted(t, "FROM clusters c JOIN accounts a")
	for by, want := range map[string]int64{"otto": 2, "ada": maxGrantChoices + 1} {
		who := f.admin
		if by == "otto" {
			who = f.accountAdm
		}
		before := count.rows.Load()
		form, err := svc.GrantForm(t.Context(), who)
		if err != nil || len(form.Clusters) != int(min(want, maxGrantChoices)) || form.Cut != (want > maxGrantChoices) {
			t.Errorf("%s is offered %d clusters, cut %v, %v", by, len(form.Clusters), form.Cut, err)
		}
		if read := count.rows.Load() - before; read != want {
			t.Errorf("for %s %d clusters are read", by, read)
		}
	}
}

// TestFiringIsCountedOnceForAllWhoSeeTheSame, also when they ask at once; and a count that began earlier never replaces a later one.
func TestFiringIsCountedOnceForAllWhoSeeTheSame(t *testing.T) {
	r := newRig(t)
	svc, count := r.counted(t, "cluster_alerts")
	conn, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background()) //nolint:errcheck // the test has what it wanted
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE cluster_alerts IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	const all = 20
	var asking sync.WaitGroup
	for i := range all {
		by := viewer()
		by.Subject = uuid.NewString()
		asking.Go(func() {
			if i > 0 {
				liveWait(t, "the first is counted", func() bool { return count.n.Load() > 0 })
			}
			if _, err := svc.FiringAlertsNow(t.Context(), by, 99); err != nil {
				t.Error(err)
			}
		})
	}
	waiting := func() (n int) {
		svc.firingReads.mu.Lock()
		defer svc.firingReads.mu.Unlock()
		for _, read := range svc.firingReads.next {
			if read != nil {
				n += read.waiting
			}
		}
		return n
	}
	liveWait(t, "the others wait", func() bool { return waiting() == all-1 })
	if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	asking.Wait()
	if n := count.n.Load(); n != 2 {
		t.Errorf("%d members are counted for %d times", all, n)
	}

	who := principal{"i", "s"}
	svc.firing.keep(who, firingCount{n: 2, at: svc.now(), turn: 1000})
	svc.firing.keep(who, firingCount{n: 1, at: svc.now(), turn: 999})
	if n, known := svc.firing.known(who, access.Scope{}, 0, svc.now()); !known || n != 2 {
		t.Errorf("%d is kept, %v", n, known)
	}
}

// TestAlertsOfWhatIsNotWellFirstOnEverybodysScreen: while somebody looks at everything, a cluster that is not well is read before
// a hundred that are.
func TestAlertsOfWhatIsNotWellFirstOnEverybodysScreen(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(100)
	at.set(func(a *scriptedAccount) { a.clusters[70].Phase = "CLUSTER_PHASE_NOT_READY" })
	r.refresh(t, r.svc, id)
	r.exec(t, `INSERT INTO cluster_reads (account_id, cluster_id, kind, next_at, ok_at) SELECT account_id, cluster_id, 'alerts', now(), now() - interval '1 hour' FROM clusters`)
	r.exec(t, `UPDATE cluster_reads SET ok_at = now() - interval '1 minute' WHERE cluster_id = $1`, at.clusters[70].ID)
	l := lease{AccountID: id}
	due := func() []string {
		t.Helper()
		ids, err := r.svc.alertsDue(t.Context(), l, 8)
		if err != nil || len(ids) != 8 {
			t.Fatalf("%d are due, %v", len(ids), err)
		}
		return ids
	}
	r.svc.hub.join(&Watch{scope: &access.Scope{Everything: true}})
	if ids := due(); ids[0] != at.clusters[70].ID {
		t.Errorf("it is number %d of those that are due", slices.Index(ids, at.clusters[70].ID))
	}
	// Nothing is left out for ever: what is well and on nobody's screen has its turn, when it is late enough.
	r.svc.hub.seen = nil
	clear(r.svc.hub.watches)
	late := at.clusters[3].ID
	r.exec(t, `UPDATE clusters SET phase = 'NOT_READY'`)
	r.exec(t, `UPDATE clusters SET phase = 'HEALTHY' WHERE cluster_id = $1`, late)
	if ids := due(); !slices.Contains(ids, late) {
		t.Error("one that is well is not read beside many that are not")
	}
}

// TestLongWordsFitIntoAnIndex: two columns, of which one may grow by half when its case is folded, fit into an index together with the
// ids of account and cluster.
func TestLongWordsFitIntoAnIndex(t *testing.T) {
	long := strings.Repeat("x", 5000)
	sn := snapshotOf(cloudapi.Cluster{
		ID: long[:128], Name: strings.Repeat("Ⱥ", 2500), CloudProvider: long, Region: long,
		State: cloudapi.State{Phase: cloudapi.Phase(long), Version: long}, Configuration: cloudapi.Configuration{Version: long},
	}, nodeSize{})
	for column, text := range map[string]string{"cloud": sn.cloud, "region": sn.region, "phase": string(sn.phase), "version": sn.versionOrder} {
		if bytes := len(text) + len(strings.ToLower(sn.name)) + len(sn.clusterID) + 16; text == "" || bytes > 2500 {
			t.Errorf("%s and name make %d bytes of an index", column, bytes)
		}
	}
}
