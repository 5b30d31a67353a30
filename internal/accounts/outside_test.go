package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// newOutsideStage is a stage that waits for nothing after an act of ours: what upstream answers is never old there.
func newOutsideStage(t *testing.T) (*stage, Account) {
	s := newStage(t)
	s.svc.refreshing.settleOwn = 0
	return s, s.register(s.current(), "Search")
}

// noticed returns what was told of changes made outside: cluster, then field and both values.
func (s *stage) noticed() []string {
	s.t.Helper()
	var told []string
	for _, e := range s.eventsOf(ActClusterChangedOutside) {
		told = append(told, outsideText(s.t, e))
	}
	return told
}

func outsideText(t testing.TB, e audit.Event) string {
	t.Helper()
	change, err := json.Marshal(e.Change)
	if err != nil {
		t.Fatal(err)
	}
	return e.Target.Name + " " + string(change)
}

// told fails the test when other changes than these were told since the first few, in any order.
func (s *stage) told(since int, want ...string) {
	s.t.Helper()
	got := s.noticed()[since:]
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.t.Errorf("told of changes made outside (-want +got)\n%s", diff)
	}
}

// judgedAll fails the test when something waits to be judged.
func (s *stage) judgedAll() {
	s.t.Helper()
	var n int
	if err := s.db.Pool.QueryRow(s.t.Context(), `SELECT count(*) FROM clusters WHERE base IS NOT NULL`).Scan(&n); err != nil || n > 0 {
		s.t.Errorf("%d clusters are not judged, %v", n, err)
	}
}

func TestOutsideChangesAreToldOnce(t *testing.T) {
	s, account := newOutsideStage(t)
	s.told(0) // what was there at the first listing is nobody's change
	change := s.made(account, "orders", "mx1", 1)
	doomed := s.made(account, "doomed", "mx1", 1)
	packages := [2]string{s.packageNamed(change, "mx1"), s.packageNamed(change, "mx2")}
	made := func(name string) string {
		return fmt.Sprintf(`%s {"exists":[false,true],"name":[null,%q],"nodes":[null,1],"package_id":[null,%q],"version":[null,"v1.15.5"]}`, name, name, packages[0])
	}
	s.told(0, made("orders"), made("doomed"))

	replicas := []*Service{s.svc, s.replica(nil), s.replica(nil)}
	poll := func() {
		t.Helper()
		s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp()`)
		var all sync.WaitGroup
		for _, svc := range replicas {
			all.Go(func() {
				if _, err := svc.refreshOnce(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	for _, one := range []struct {
		ref  ClusterRef
		what map[string]any
		want []string
	}{
		{change, map[string]any{"act": "rename", "name": "orders-2"}, []string{`orders-2 {"name":["orders","orders-2"]}`}},
		{change, map[string]any{"act": "labels", "labels": map[string]string{"team": "search", "env": "prod"}}, []string{`orders-2 {"labels":[null,["env=prod","team=search"]]}`}},
		{change, map[string]any{"act": "labels", "labels": map[string]string{"env": "prod"}}, []string{`orders-2 {"labels":[["env=prod","team=search"],["env=prod"]]}`}},
		{change, map[string]any{"act": "scale", "nodes": 3, "package": "mx2"}, []string{fmt.Sprintf(`orders-2 {"nodes":[1,3],"package_id":[%q,%q]}`, packages[0], packages[1])}},
		{change, map[string]any{"act": "upgrade", "version": "v1.16.3"}, []string{`orders-2 {"version":["v1.15.5","v1.16.3"]}`}},
		{doomed, map[string]any{"act": "delete_cluster"}, nil}, // it is being deleted, or was said to be
		{doomed, map[string]any{"act": "delete_cluster", "at_once": true}, []string{fmt.Sprintf(`doomed {"exists":[true,false],"name":["doomed",null],"nodes":[1,null],"package_id":[%q,null],"version":["v1.15.5",null]}`, packages[0])}},
	} {
		before := len(s.noticed())
		s.outside(account, one.ref, one.what)
		if one.want != nil && one.ref != doomed {
			s.outside(account, one.ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
		}
		for range 3 { // again and again nothing more is told
			poll()
		}
		s.told(before, one.want...)
	}
	for _, e := range s.eventsOf(ActClusterChangedOutside) {
		if e.Phase != audit.PhaseSingle || e.Outcome != audit.OK || e.Account != (audit.Ref{ID: account.ID.String(), Name: "Search"}) || e.Target.Kind != KindCluster ||
			e.Target.ID == "" || e.Actor.Issuer != InternalIssuer || e.Actor.Via != audit.ViaJob || e.Reason != "" {
			t.Errorf("event %+v", e)
		}
	}
	s.judgedAll()

	// The cluster's own page of history has them, newest first.
	history := s.historyOf(member("viewers"), change)
	if len(history) != 6 || history[0].Act != ActClusterChangedOutside.Name || history[0].Change["version"][1] != "v1.16.3" {
		t.Errorf("history %+v", history)
	}
}

func TestOutsideChangesOfALegacyAccount(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	name := s.nameOf(ref)
	s.outside(account, ref, map[string]any{"act": "rename", "name": "renamed"})
	s.snapshot()
	s.snapshot()
	s.told(0, fmt.Sprintf(`renamed {"name":[%q,"renamed"]}`, name))
}

// TestOutsideComparesNoTwoAPIs: rows of two generations are never compared, and the comparison goes on after.
func TestOutsideComparesNoTwoAPIs(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	by := s.signedIn("admins")
	preview, err := s.svc.PreviewSwitch(t.Context(), by, account.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.svc.SwitchAccount(t.Context(), by, account.ID, AccountSwitch{Seen: preview.Seen, Accepted: true}); err != nil {
		t.Fatal(err)
	}
	s.snapshot()
	s.told(0)
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	name := s.nameOf(ref)
	s.outside(account, ref, map[string]any{"act": "rename", "name": "renamed"})
	s.snapshot()
	s.told(0, fmt.Sprintf(`renamed {"name":[%q,"renamed"]}`, name))
}

// TestOutsideOwnActsAreNotTold has each act of ours done and finished between two listings.
func TestOutsideOwnActsAreNotTold(t *testing.T) {
	s, account := newOutsideStage(t)
	ref := s.made(account, "orders", "mx1", 1)
	before := len(s.noticed())
	by := s.signedIn("operators")
	update := func(fields map[string]string) {
		t.Helper()
		if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, fields)); err != nil {
			t.Fatal(err)
		}
	}
	update(map[string]string{"name": "orders-2", "labels": "b=2\na=1", "allowed_ips": "198.51.100.0/24\n192.0.2.0/24"})
	s.snapshot()
	s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
	update(map[string]string{"nodes": "3", "package_id": s.packageNamed(ref, "mx2")})
	s.snapshot()
	s.snapshot()
	n := s.opened(by, account, "ours")
	n.Labels, n.AllowedIPs, n.AdditionalDiskGiB = "z=1\na=2", "198.51.100.0/24\n192.0.2.0/24", "4"
	made, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
	if err != nil {
		t.Fatal(err)
	}
	mine := ClusterRef{AccountID: account.ID, ClusterID: made.ClusterID}
	s.snapshot()
	s.snapshot()
	s.told(before)

	// A deletion takes its time. The cluster is gone many listings after the act has ended.
	s.outside(account, mine, map[string]any{"act": "phase", "phase": "HEALTHY"})
	no := false
	if err := s.svc.DeleteCluster(t.Context(), s.session("admins"), mine, ClusterDeletion{Confirm: "ours", DeleteBackups: &no}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.snapshot()
	}
	s.outside(account, mine, map[string]any{"act": "delete_cluster", "at_once": true})
	s.snapshot()
	if !s.yes(`SELECT gone_at IS NOT NULL FROM clusters WHERE cluster_id = $1`, mine.ClusterID) {
		t.Fatal("the cluster is not gone")
	}
	s.told(before)
	s.judgedAll()
}

// TestOutsideWhatAnActReadIsStillTold: an act, and the form of one, read upstream and store what they read. What somebody else had
// changed by then is told all the same, also when the act finds the cluster gone.
func TestOutsideWhatAnActReadIsStillTold(t *testing.T) {
	s, account := newOutsideStage(t)
	one, other := s.made(account, "one", "mx1", 1), s.made(account, "other", "mx1", 1)
	before := len(s.noticed())
	s.outside(account, one, map[string]any{"act": "rename", "name": "one-2"})
	s.form(one, nil) // reads it
	s.outside(account, other, map[string]any{"act": "scale", "nodes": 3})
	s.outside(account, other, map[string]any{"act": "phase", "phase": "HEALTHY"})
	if err := s.svc.RestartCluster(t.Context(), member("operators"), other); err != nil {
		t.Fatal(err)
	}
	s.told(before)
	s.snapshot()
	s.snapshot()
	s.told(before, `one-2 {"name":["one","one-2"]}`, `other {"nodes":[1,3]}`)

	before = len(s.noticed())
	s.outside(account, one, map[string]any{"act": "delete_cluster", "at_once": true})
	if err := s.svc.SuspendCluster(t.Context(), member("operators"), one); err == nil {
		t.Fatal("a cluster that is gone was suspended")
	}
	s.snapshot()
	s.snapshot()
	if got := s.noticed()[before:]; len(got) != 1 || !strings.HasPrefix(got[0], `one-2 {"exists":[true,false]`) {
		t.Errorf("told %q", got)
	}
	s.judgedAll()
}

// TestOutsideAndOwnChangesAtOnce: of one cluster, between two listings.
func TestOutsideAndOwnChangesAtOnce(t *testing.T) {
	s, account := newOutsideStage(t)
	by := s.signedIn("operators")
	for name, tt := range map[string]struct {
		do   func(ref ClusterRef)
		want []string
	}{
		"different settings": {func(ref ClusterRef) {
			form := s.form(ref, map[string]string{"nodes": "3"})
			if err := s.svc.UpdateCluster(t.Context(), by, ref, form); err != nil {
				t.Fatal(err)
			}
			s.outside(account, ref, map[string]any{"act": "rename", "name": "theirs"})
		}, []string{`theirs {"name":["NAME","theirs"]}`}},
		"ours, then theirs": {func(ref ClusterRef) {
			if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"name": "ours"})); err != nil {
				t.Fatal(err)
			}
			s.outside(account, ref, map[string]any{"act": "rename", "name": "theirs"})
		}, []string{`theirs {"name":["ours","theirs"]}`}},
		"theirs, then ours": {func(ref ClusterRef) {
			s.outside(account, ref, map[string]any{"act": "rename", "name": "theirs"})
			if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"name": "ours"})); err != nil {
				t.Fatal(err)
			}
		}, []string{`ours {"name":["NAME","theirs"]}`}},
		"theirs, ours, theirs": {func(ref ClusterRef) {
			s.outside(account, ref, map[string]any{"act": "rename", "name": "theirs"})
			if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"name": "ours"})); err != nil {
				t.Fatal(err)
			}
			s.outside(account, ref, map[string]any{"act": "rename", "name": "again"})
		}, []string{`again {"name":["NAME","theirs"]}`, `again {"name":["ours","again"]}`}},
		"back to what it was": {func(ref ClusterRef) {
			if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"nodes": "3"})); err != nil {
				t.Fatal(err)
			}
			s.snapshot()
			s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
			s.outside(account, ref, map[string]any{"act": "scale", "nodes": 1})
		}, []string{`NAME {"nodes":[3,1]}`}},
		"ours, and back": {func(ref ClusterRef) {
			if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"name": "ours"})); err != nil {
				t.Fatal(err)
			}
			s.outside(account, ref, map[string]any{"act": "rename", "name": "c-ours-and-back"})
		}, []string{`NAME {"name":["ours","NAME"]}`}},
	} {
		t.Run(name, func(t *testing.T) {
			called := "c-" + strings.NewReplacer(" ", "-", ",", "").Replace(name)
			ref := s.made(account, called, "mx1", 1)
			before := len(s.noticed())
			tt.do(ref)
			s.snapshot()
			s.snapshot()
			var want []string
			for _, w := range tt.want {
				want = append(want, strings.ReplaceAll(w, "NAME", called))
			}
			s.told(before, want...)
			s.judgedAll()
		})
	}
}

// TestOutsideALostAnswer: while nobody knows what became of an act of ours nothing is told, and afterwards what was somebody else's.
func TestOutsideALostAnswer(t *testing.T) {
	s, account := newOutsideStage(t)
	by, reconciler := s.signedIn("operators"), s.replica(soon)
	for name, tt := range map[string]struct {
		kind string
		then map[string]any
		want []string
	}{
		"carried out":                   {"lost_answer", nil, nil},
		"not carried out":               {"close", nil, nil},
		"carried out, and theirs":       {"lost_answer", map[string]any{"act": "scale", "nodes": 3}, []string{`NAME-ours {"nodes":[1,3]}`}},
		"not carried out, and the same": {"close", map[string]any{"act": "rename", "name": "SAME"}, nil},
		"not carried out, and another":  {"close", map[string]any{"act": "rename", "name": "theirs"}, []string{`theirs {"name":["NAME","theirs"]}`}},
	} {
		t.Run(name, func(t *testing.T) {
			called := "l-" + strings.NewReplacer(" ", "-", ",", "").Replace(name)
			ref := s.made(account, called, "mx1", 1)
			before := len(s.noticed())
			form := s.form(ref, map[string]string{"name": called + "-ours"})
			s.fault(map[string]any{"operation": "UpdateCluster", "kind": tt.kind, "times": 1})
			if err := s.svc.UpdateCluster(t.Context(), by, ref, form); err == nil {
				t.Fatal("the answer was not lost")
			}
			if tt.then != nil {
				if tt.then["name"] == "SAME" {
					tt.then["name"] = called + "-ours"
				}
				s.outside(account, ref, tt.then)
			}
			for range 3 {
				s.snapshot()
			}
			s.told(before)
			open, err := s.log.PendingFor(t.Context(), KindCluster, ref.ClusterID)
			if err != nil || len(open) != 1 {
				t.Fatalf("%d open acts, %v", len(open), err)
			}
			s.reconciled(reconciler, open[0].Operation)
			s.snapshot()
			s.snapshot()
			var want []string
			for _, w := range tt.want {
				want = append(want, strings.ReplaceAll(w, "NAME", called))
			}
			s.told(before, want...)
			if strings.HasSuffix(name, "another") {
				if e := s.eventsOf(ActClusterChangedOutside); !strings.Contains(e[len(e)-1].Reason, "was to change name as well") {
					t.Errorf("that it may be ours is not said: %q", e[len(e)-1].Reason)
				}
			}
			s.judgedAll()
		})
	}
}

func TestOutsideALostCreate(t *testing.T) {
	s, account := newOutsideStage(t)
	by, reconciler := s.signedIn("operators"), s.replica(soon)
	s.fault(map[string]any{"operation": "CreateCluster", "kind": "lost_answer", "times": 1})
	if made, err := s.svc.CreateCluster(t.Context(), by, account.ID, s.opened(by, account, "mine")); err != nil || made.ClusterID != "" {
		t.Fatalf("%+v, %v", made, err)
	}
	var got struct{ Cluster string }
	s.ask(http.MethodPost, "outside", map[string]any{"act": "create_cluster", "account": account.CloudAccountID, "name": "theirs", "package": "mx1", "nodes": 1}, &got)
	s.snapshot()
	s.snapshot()
	s.told(0) // which of them is ours nobody knows
	attempts := s.eventsOf(ActClusterCreate)
	s.reconciled(reconciler, attempts[0].Operation)
	s.snapshot()
	s.snapshot()
	if told := s.noticed(); len(told) != 1 || !strings.HasPrefix(told[0], `theirs {"exists":[false,true]`) {
		t.Errorf("told %q", told)
	}
	s.judgedAll()
}

// TestOutsideOwnActRacingAPoll has acts of ours and listings at the same time, many times, with delays at each step of both and answers
// that get lost. Nothing that we did is told as somebody else's.
func TestOutsideOwnActRacingAPoll(t *testing.T) {
	s, account := newOutsideStage(t)
	by := s.signedIn("operators")
	replicas := []*Service{s.svc, s.replica(soon), s.replica(nil)}
	for _, svc := range replicas {
		svc.refreshing.settleOwn = 20 * time.Millisecond // as much longer than the sandbox takes as ten seconds are than Qdrant Cloud does
	}
	refs := []ClusterRef{s.made(account, "one", "mx1", 1), s.made(account, "two", "mx1", 1)}
	before := len(s.noticed())
	random := rand.New(rand.NewPCG(6, 19))
	ctx, stop := context.WithCancel(t.Context())
	var polling sync.WaitGroup
	for _, svc := range replicas {
		polling.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.db.Pool.Exec(ctx, `UPDATE refresh SET next_at = clock_timestamp()`); err != nil {
					return
				}
				if _, err := svc.refreshOnce(ctx); err != nil {
					return
				}
			}
		})
	}
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds {
		ref := refs[i%2]
		for _, operation := range []string{"ListClusters", "GetCluster", "UpdateCluster", "CreateCluster"} {
			if random.IntN(2) == 0 {
				s.fault(map[string]any{"operation": operation, "kind": "latency", "latency_ms": 1 + random.IntN(40), "times": 1 + random.IntN(2)})
			}
		}
		if i%10 == 3 {
			s.fault(map[string]any{"operation": "UpdateCluster", "kind": "lost_answer", "times": 1})
		}
		if i%10 == 7 {
			n := s.opened(by, account, "made-"+strconv.Itoa(i))
			if _, err := s.svc.CreateCluster(ctx, by, account.ID, n); err != nil {
				t.Fatal(err)
			}
			continue
		}
		u, err := s.svc.AskClusterUpdate(ctx, by, ref)
		if conflict, ok := errors.AsType[*ConflictError](err); ok { // it moves
			t.Log(conflict.Reason)
			s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		form := ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"name": fmt.Sprintf("n-%d", i), "labels": fmt.Sprintf("round=%d", i)}}
		if err := s.svc.UpdateCluster(ctx, by, ref, form); err != nil && i%10 != 3 {
			if _, stale := errors.AsType[*StaleError](err); !stale {
				t.Log(err)
			}
		}
	}
	stop()
	polling.Wait()
	s.ask(http.MethodDelete, "faults", nil, nil)
	s.exec(s.db.AppURL, `UPDATE refresh SET lease_until = NULL, lease_owner = '', failures = 0`)
	time.Sleep(50 * time.Millisecond)
	if err := replicas[1].reconcileOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	s.snapshot()
	s.snapshot()
	s.told(before)
	s.judgedAll()
}

// TestOutsideNothingIsToldThatCannotBeRecorded: without the log what was read is not stored either, and the next listing tells it.
func TestOutsideNothingIsToldThatCannotBeRecorded(t *testing.T) {
	s, account := newOutsideStage(t)
	ref := s.made(account, "orders", "mx1", 1)
	before := len(s.noticed())
	s.outside(account, ref, map[string]any{"act": "rename", "name": "orders-2"})
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	s.snapshot()
	if name := s.nameOf(ref); name != "orders" {
		t.Errorf("without the log the name was stored: %q", name)
	}
	if !s.yes(`SELECT failures = 1 AND error LIKE '%could not be recorded%' FROM refresh WHERE kind = 'clusters'`) {
		t.Error("the account does not say that its refresh failed, and why")
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	s.snapshot()
	s.snapshot()
	s.told(before, `orders-2 {"name":["orders","orders-2"]}`)
}

// TestOutsideAWorkerThatDies between reading and storing has stored nothing and told nothing; the next tells it once, and when
// the first comes back after all it stores nothing.
func TestOutsideAWorkerThatDies(t *testing.T) {
	s, account := newOutsideStage(t)
	ref := s.made(account, "orders", "mx1", 1)
	before := len(s.noticed())
	s.outside(account, ref, map[string]any{"act": "rename", "name": "orders-2"})
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp()`)
	leases, err := s.svc.lease(t.Context(), false, 1)
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	up, err := s.svc.connect(t.Context(), account.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	listed, _, err := listClusters(t.Context(), up.cloud)
	if err != nil {
		t.Fatal(err)
	}
	known, err := s.svc.knownClusters(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.told(before)
	s.snapshot() // the lease has run out
	s.told(before, `orders-2 {"name":["orders","orders-2"]}`)
	if err := s.svc.storeListing(t.Context(), leases[0], known, s.svc.snapshots(t.Context(), up, listed, known), absence{}); !errors.Is(err, errLeaseLost) {
		t.Errorf("the first worker: %v", err)
	}
	s.told(before, `orders-2 {"name":["orders","orders-2"]}`)
}

// TestOutsideAKeyThatIsGivenBack: while nothing can be read nothing is told, and what changed meanwhile is told once.
func TestOutsideAKeyThatIsGivenBack(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(4)
	r.refresh(t, r.svc, id)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable} {
		at.set(func(a *scriptedAccount) { a.status = status })
		r.refresh(t, r.svc, id)
		r.refresh(t, r.svc, id)
	}
	at.set(func(a *scriptedAccount) { a.status, a.clusters[1].Name = 0, "renamed" })
	r.refresh(t, r.svc, id)
	r.refresh(t, r.svc, id)
	r.outsideTold(t, `renamed {"name":["cluster-001","renamed"]}`)
}

func (r *rig) outsideTold(t testing.TB, want ...string) {
	t.Helper()
	var got []string
	for _, e := range r.events(t, ActClusterChangedOutside.Name) {
		got = append(got, outsideText(t, e))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("told of changes made outside (-want +got)\n%s", diff)
	}
}

// TestOutsideHalfPagesTellNothing, nor do a listing that changes between its pages, one that leaves clusters out, most of an account
// missing at once, and an answer that says nothing of a configuration.
func TestOutsideHalfPagesTellNothing(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(8)
	at.set(func(a *scriptedAccount) { a.pageSize = 3 })
	r.refresh(t, r.svc, id)
	all := at.clusters
	for name, broken := range map[string]func(a *scriptedAccount){
		"half a listing":       func(a *scriptedAccount) { a.failPage = 2 },
		"pages in a circle":    func(a *scriptedAccount) { a.repeat = true },
		"left out":             func(a *scriptedAccount) { a.hidden[all[2].ID], a.hidden[all[5].ID] = true, true },
		"most of them missing": func(a *scriptedAccount) { a.clusters = all[:2] },
		"all of them missing":  func(a *scriptedAccount) { a.clusters = nil },
		"unreadable":           func(a *scriptedAccount) { all[3].Extra = map[string]any{"x": nested(100)} },
		"no configuration":     func(a *scriptedAccount) { all[4].Extra = map[string]any{"configuration": map[string]any{}} },
		"turned around between its pages": func(a *scriptedAccount) {
			a.onList = func() { at.set(func(a *scriptedAccount) { slices.Reverse(a.clusters) }) }
		},
	} {
		at.set(broken)
		r.refresh(t, r.svc, id)
		r.refresh(t, r.svc, id)
		if n := len(r.events(t, ActClusterChangedOutside.Name)); n > 0 {
			t.Errorf("%s: %d changes were told", name, n)
		}
		at.set(func(a *scriptedAccount) {
			a.failPage, a.repeat, a.hidden, a.onList, a.clusters = 0, false, map[string]bool{}, nil, all
			all[3].Extra, all[4].Extra = nil, nil
		})
		r.refresh(t, r.svc, id)
	}
	r.outsideTold(t)
	at.set(func(a *scriptedAccount) { all[4].Name = "renamed" })
	r.refresh(t, r.svc, id)
	r.outsideTold(t, `renamed {"name":["cluster-004","renamed"]}`)
	if n := value[int](t, r, `SELECT count(*) FROM clusters WHERE base IS NOT NULL`); n > 0 {
		t.Errorf("%d clusters are not judged", n)
	}
}

// TestOutsideOwnChangeOfAClusterThatWasMissing: the row is older than the act, and the act than the last listing.
func TestOutsideOwnChangeOfAClusterThatWasMissing(t *testing.T) {
	r := newRig(t)
	r.svc.refreshing.settleOwn = 0
	id, at := r.account(t, "One", Production)
	at.add(2)
	r.refresh(t, r.svc, id)
	at.set(func(a *scriptedAccount) { a.clusters[0].Extra = map[string]any{"x": nested(100)} })
	r.refresh(t, r.svc, id)
	account, err := accountByID(t.Context(), r.db.Pool, id, false)
	if err != nil {
		t.Fatal(err)
	}
	ours := target{Account: account.ref(), Kind: KindCluster, ID: at.clusters[0].ID, Name: "cluster-000"}.event(viewer(), ActClusterUpdate)
	ours.Phase, ours.Operation, ours.Change = audit.PhaseAttempt, uuid.New(), audit.Change{"name": {"cluster-000", "ours"}}
	ended := ours
	ended.Phase, ended.Outcome = audit.PhaseOutcome, audit.OK
	for _, e := range []audit.Event{ours, ended} {
		if _, err := r.log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	at.set(func(a *scriptedAccount) { a.clusters[0].Name = "ours" })
	r.refresh(t, r.svc, id)
	r.refresh(t, r.svc, id)
	at.set(func(a *scriptedAccount) { a.clusters[0].Extra = nil })
	r.refresh(t, r.svc, id)
	r.refresh(t, r.svc, id)
	r.outsideTold(t)
}

// TestOutsideMoreThanOneRefreshTells: what is beyond is told by the next.
func TestOutsideMoreThanOneRefreshTells(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(maxOutsideEvents + 30)
	r.refresh(t, r.svc, id)
	at.set(func(a *scriptedAccount) {
		for _, c := range a.clusters {
			c.Labels = map[string]string{"team": "x"}
		}
	})
	told := func() int {
		return value[int](t, r, `SELECT count(*) FROM audit.events WHERE act = $1`, ActClusterChangedOutside.Name)
	}
	r.refresh(t, r.svc, id)
	if n := told(); n != maxOutsideEvents {
		t.Errorf("the first refresh told %d", n)
	}
	r.refresh(t, r.svc, id)
	r.refresh(t, r.svc, id)
	if n := told(); n != maxOutsideEvents+30 {
		t.Errorf("told %d, want each of %d once", n, maxOutsideEvents+30)
	}
}

// TestOutsideALogThatIsAhead: its time stands still after a clock that was ahead. Neither is an act of ours told, nor does one
// keep what others do from being told until that time has come.
func TestOutsideALogThatIsAhead(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "orders", "mx1", 1)
	before := len(s.noticed())
	s.exec(s.db.OwnerURL, `UPDATE audit.head SET recorded_at = clock_timestamp() + interval '1 year'`)
	by := member("operators")
	if err := s.svc.UpdateCluster(t.Context(), by, ref, s.form(ref, map[string]string{"name": "ours"})); err != nil {
		t.Fatal(err)
	}
	s.outside(account, ref, map[string]any{"act": "labels", "labels": map[string]string{"by": "them"}})
	s.snapshot()
	s.told(before, `ours {"labels":[null,["by=them"]]}`)
}

// TestOutsideRightAfterAnActOfOurs nothing is judged: upstream may still answer what was before it.
func TestOutsideRightAfterAnActOfOurs(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	r.refresh(t, r.svc, id)
	account, err := accountByID(t.Context(), r.db.Pool, id, false)
	if err != nil {
		t.Fatal(err)
	}
	on := target{Account: account.ref(), Kind: KindCluster, ID: at.clusters[0].ID, Name: "cluster-000"}
	ours := on.event(viewer(), ActClusterUpdate)
	ours.Phase, ours.Operation, ours.Change = audit.PhaseAttempt, uuid.New(), audit.Change{"nodes": {3, 5}}
	if _, err := r.log.Append(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	at.set(func(a *scriptedAccount) { a.clusters[0].Nodes = 5 })
	up, err := r.svc.connect(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	now, err := up.cloud.Cluster(t.Context(), on.ID)
	if err != nil {
		t.Fatal(err)
	}
	ours.Phase, ours.Outcome = audit.PhaseOutcome, audit.OK
	if _, err := r.log.Append(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	if err := r.svc.storeCluster(t.Context(), id, now); err != nil {
		t.Fatal(err)
	}
	for _, nodes := range []int{3, 5, 3, 5} { // what a copy of upstream's that lags behind says
		at.set(func(a *scriptedAccount) { a.clusters[0].Nodes = nodes })
		r.refresh(t, r.svc, id)
	}
	r.svc.refreshing.settleOwn = 0
	r.refresh(t, r.svc, id)
	r.outsideTold(t)
	at.set(func(a *scriptedAccount) { a.clusters[0].Nodes = 3 })
	r.refresh(t, r.svc, id)
	r.outsideTold(t, `cluster-000 {"nodes":[5,3]}`)
}

// TestOutsideOldRowsAreNotCompared: what a program stored that did not compare is where comparing begins.
func TestOutsideOldRowsAreNotCompared(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(2)
	r.refresh(t, r.svc, id)
	r.exec(t, `UPDATE refresh SET log_seq = NULL`)
	at.set(func(a *scriptedAccount) { a.clusters[0].Name = "renamed" })
	r.refresh(t, r.svc, id)
	r.outsideTold(t)
	at.set(func(a *scriptedAccount) { a.clusters[0].Name = "again" })
	r.refresh(t, r.svc, id)
	r.outsideTold(t, `again {"name":["renamed","again"]}`)
}
