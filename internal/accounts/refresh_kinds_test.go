package accounts

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// kindNamed is one of the kinds that are read next to clusters.
func (s *Service) kindNamed(name string) otherKind {
	kinds := s.otherKinds()
	return kinds[slices.IndexFunc(kinds, func(k otherKind) bool { return k.name == name })]
}

// readKindOnce reads a kind of every account where it is due, and returns how many there were.
func (s *Service) readKindOnce(ctx context.Context, name string) (int, error) {
	k := s.kindNamed(name)
	if err := s.planKinds(ctx); err != nil {
		return 0, err
	}
	read := 0
	for _, troubled := range []bool{false, true} {
		leases, err := s.leaseKind(ctx, k, troubled, 1000)
		if err != nil {
			return read, err
		}
		var running sync.WaitGroup
		for _, l := range leases {
			running.Go(func() { s.refreshKind(ctx, k, l) })
		}
		running.Wait()
		read += len(leases)
	}
	return read, nil
}

// readsKind reads a kind of all accounts now.
func (s *stage) readsKind(name string, services ...*Service) {
	s.t.Helper()
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp() WHERE kind = $1`, name)
	if name == kindAlerts {
		s.exec(s.db.AppURL, `UPDATE cluster_reads SET next_at = clock_timestamp()`)
	}
	if len(services) == 0 {
		services = []*Service{s.svc}
	}
	var all sync.WaitGroup
	for _, svc := range services {
		all.Go(func() {
			if _, err := svc.readKindOnce(s.t.Context(), name); err != nil {
				s.t.Error(err)
			}
		})
	}
	all.Wait()
}

// kindState is how a kind of an account is: whether it was ever read, failures in a row, and the words.
func (s *stage) kindState(account Account, kind string) (ok bool, failures int, words string) {
	s.t.Helper()
	if err := s.db.Pool.QueryRow(s.t.Context(), `SELECT ok_at IS NOT NULL, failures, error FROM refresh WHERE account_id = $1 AND kind = $2`, account.ID, kind).Scan(&ok, &failures, &words); err != nil {
		s.t.Fatal(err)
	}
	return ok, failures, words
}

// keysTold is what was told of keys made and deleted outside: cluster, then what.
func (s *stage) keysTold() []string {
	s.t.Helper()
	told := []string{}
	for _, e := range s.eventsOf(ActClusterKeysOutside) {
		for what, names := range map[string]any{"made": e.Change["keys_made"][1], "deleted": e.Change["keys_deleted"][0]} {
			for _, name := range anyList(names) {
				text, _, _ := strings.Cut(fmt.Sprint(name), " (…")
				told = append(told, e.Target.Name+" "+what+" "+text)
			}
		}
	}
	slices.Sort(told)
	return told
}

func anyList(v any) []any {
	list, _ := v.([]any)
	return list
}

func (s *stage) wantKeysTold(what string, want ...string) {
	s.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, s.keysTold(), cmpopts.EquateEmpty()); diff != "" {
		s.t.Errorf("%s: told of keys (-want +got)\n%s", what, diff)
	}
}

// TestKeysMadeOutside: what was there at first is nobody's change; what somebody makes or deletes elsewhere is told once, whichever
// replica reads it, on the cluster's own history; our own keys are never told; and keys that go with their cluster are not
// told of apart from it.
func TestKeysMadeOutside(t *testing.T) {
	s := newStage(t)
	s.svc.refreshing.settleOwn = 0
	account := s.register(s.current(), "Search")
	ref, doomed := s.keyed(account, "with-keys"), s.keyed(account, "doomed-cluster")
	by := s.signedIn("operators")
	replicas := []*Service{s.svc, s.replica(nil), s.replica(nil)}
	poll := func() {
		for range 3 {
			s.readsKind(kindKeys, replicas...)
		}
	}
	poll()
	s.wantKeysTold("the first listing")

	var made struct{ Key string }
	s.elsewhere(account, map[string]any{"act": "create_key", "cluster": ref.ClusterID, "name": "made elsewhere", "days": 3}, &made)
	poll()
	s.wantKeysTold("somebody made one", "with-keys made made elsewhere")
	var event audit.Event
	for _, e := range s.eventsOf(ActClusterKeysOutside) {
		event = e
	}
	if event.Phase != audit.PhaseSingle || event.Outcome != audit.OK || event.Target != (audit.Target{Kind: KindCluster, ID: ref.ClusterID, Name: "with-keys"}) ||
		event.Account != (audit.Ref{ID: account.ID.String(), Name: "Search"}) || event.Actor.Name != "refresh" || len(event.Change) != 1 {
		t.Errorf("event %+v", event)
	}
	if entries := historyActs(s.historyOf(by, ref)); !slices.Contains(entries, "cluster.keys_changed_outside ok") {
		t.Errorf("the history of the cluster has %q", entries)
	}

	own := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "made here"))
	poll()
	s.wantKeysTold("we made one", "with-keys made made elsewhere")
	if err := s.svc.DeleteKey(t.Context(), by, ref, own.Key.ID, KeyMark(own.Key)); err != nil {
		t.Fatal(err)
	}
	poll()
	s.wantKeysTold("we deleted one", "with-keys made made elsewhere")

	s.elsewhere(account, map[string]any{"act": "delete_key", "cluster": ref.ClusterID, "key": made.Key}, nil)
	s.readsKind(kindKeys)
	s.wantKeysTold("one listing without it", "with-keys made made elsewhere")
	poll()
	s.wantKeysTold("somebody deleted one", "with-keys deleted made elsewhere", "with-keys made made elsewhere")

	s.elsewhere(account, map[string]any{"act": "create_key", "cluster": doomed.ClusterID, "name": "goes along"}, nil)
	poll()
	told := append(s.keysTold()[:0:0], s.keysTold()...)
	s.outside(account, doomed, map[string]any{"act": "delete_cluster", "at_once": true})
	poll()
	poll()
	s.wantKeysTold("a cluster went", told...)
	var left int
	if err := s.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM database_keys WHERE $1 = ANY(clusters)`, doomed.ClusterID).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d keys of the cluster that went are known still, %v", left, err)
	}
}

// TestAdminKeysMadeOutside: the same on pa/v1, whose keys may open several clusters; it is told on each.
func TestAdminKeysMadeOutside(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	s.readsKind(kindKeys)
	s.wantKeysTold("the first listing")
	var victim seenKey
	for _, k := range s.storedKeys(account) {
		if len(k.Clusters) > 1 {
			victim = k
		}
	}
	if victim.KeyID == "" {
		t.Fatal("there is no key of several clusters")
	}
	s.elsewhere(account, map[string]any{"act": "delete_key", "cluster": victim.Clusters[0], "key": victim.KeyID}, nil)
	s.readsKind(kindKeys)
	s.readsKind(kindKeys)
	if told := s.keysTold(); len(told) != len(victim.Clusters) || !strings.Contains(told[0], " deleted "+victim.Mark+"…") {
		t.Errorf("told %q of a key of %d clusters", told, len(victim.Clusters))
	}
	// It has nothing else to be read.
	if n, err := s.svc.readKindOnce(t.Context(), kindAlerts); err != nil || n != 0 {
		t.Errorf("alerts were read of %d accounts, %v", n, err)
	}
}

func (s *stage) storedKeys(account Account) []seenKey {
	s.t.Helper()
	known, err := s.svc.knownKeys(s.t.Context(), account.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	var keys []seenKey
	for _, k := range known {
		keys = append(keys, k)
	}
	return keys
}

// TestOwnKeyRacesAPoll: keys that are made and deleted here while listings run are never told as somebody else's, and a
// key of somebody else that an open act might have made is told as soon as the act has ended.
func TestOwnKeyRacesAPoll(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	s.readsKind(kindKeys)
	replicas := []*Service{s.svc, s.replica(nil)}
	done := make(chan struct{})
	var polling sync.WaitGroup
	polling.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				s.readsKind(kindKeys, replicas...)
			}
		}
	})
	for i := range 12 {
		made := s.createKey(by, ref, s.newKey(by, ActKeyCreate, fmt.Sprintf("own-key-%d", i)))
		if i%2 == 0 {
			if err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, KeyMark(made.Key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(done)
	polling.Wait()
	for range 3 {
		s.readsKind(kindKeys)
	}
	s.wantKeysTold("only ours")

	attempt := s.attemptKey(by, ref, "the attempt")
	s.elsewhere(account, map[string]any{"act": "create_key", "cluster": ref.ClusterID, "name": "perhaps ours"}, nil)
	s.readsKind(kindKeys)
	s.readsKind(kindKeys)
	s.wantKeysTold("while the act is open")
	attempt.ID, attempt.Phase, attempt.Outcome = uuid.Nil, audit.PhaseOutcome, audit.Failed
	if _, err := s.log.Append(t.Context(), attempt); err != nil {
		t.Fatal(err)
	}
	s.readsKind(kindKeys)
	s.wantKeysTold("the act has ended and made nothing", "with-keys made perhaps ours")
}

// TestKeysOfAnotherListing: a listing that is older than our own deletion of a key tells nothing of somebody else.
func TestKeysOfAnotherListing(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	own := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "deleted meanwhile"))
	s.readsKind(kindKeys)
	k := s.svc.kindNamed(kindKeys)
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp()`)
	leases, err := s.svc.leaseKind(t.Context(), k, false, 10)
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases, %v", len(leases), err)
	}
	up, err := s.svc.connect(t.Context(), account.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	// What upstream lists before the deletion is judged after it, and after another replica saw the key gone.
	old, err := readKeys(t.Context(), up.cloud, account.Generation)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.svc.DeleteKey(t.Context(), by, ref, own.Key.ID, KeyMark(own.Key)); err != nil {
		t.Fatal(err)
	}
	s.exec(s.db.AppURL, `DELETE FROM database_keys WHERE key_id = $1`, own.Key.ID)
	read := keyReading{listed: map[keyAt]seenKey{}}
	for _, one := range old.keys {
		read.listed[seenKeyOf(one).at()] = seenKeyOf(one)
	}
	known, err := s.svc.knownKeys(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	judged, err := s.svc.judgeKeys(t.Context(), leases[0], up, read, known)
	if err != nil || len(judged.events) != 0 || !judged.waits || len(judged.write) != 0 {
		t.Errorf("judged %+v, %v", judged, err)
	}
}

// TestHalfAListOfKeysConcludesNothing: an answer that breaks off, one page that leaves out most of the keys, and one listing without
// a key tell of no deletion; a key that comes back was never away.
func TestHalfAListOfKeysConcludesNothing(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.readsKind(kindKeys)
	all := s.storedKeys(account)
	if len(all) < 6 {
		t.Fatalf("only %d keys", len(all))
	}
	for _, kind := range []string{"malformed", "truncated", "close"} {
		s.fault(map[string]any{"account": account.CloudAccountID, "operation": "ListDatabaseApiKeysV2", "kind": kind, "times": 5})
		s.readsKind(kindKeys)
		if _, failures, words := s.kindState(account, kindKeys); failures == 0 || words == "" {
			t.Errorf("%s: %d failures, %q", kind, failures, words)
		}
		s.ask(http.MethodDelete, "faults", nil, nil)
	}
	s.readsKind(kindKeys)
	if got := s.storedKeys(account); len(got) != len(all) {
		t.Errorf("%d keys are known, there were %d", len(got), len(all))
	}

	up, err := s.svc.connect(t.Context(), account.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	l := lease{AccountID: account.ID, Generation: account.Generation, OKAt: &s.clock.at, StartedAt: time.Now()}
	judge := func(list []seenKey) judgedKeys {
		t.Helper()
		read := keyReading{listed: map[keyAt]seenKey{}}
		for _, k := range list {
			k.MissingAt = nil
			read.listed[k.at()] = k
		}
		known, err := s.svc.knownKeys(t.Context(), account.ID)
		if err != nil {
			t.Fatal(err)
		}
		judged, err := s.svc.judgeKeys(t.Context(), l, up, read, known)
		if err != nil {
			t.Fatal(err)
		}
		return judged
	}
	if got := judge(all[:1]); len(got.events)+len(got.deleted) != 0 || len(got.missing) != len(all)-1 {
		t.Errorf("most are missing: %d events, %d deleted, %d missing", len(got.events), len(got.deleted), len(got.missing))
	}
	s.exec(s.db.AppURL, `UPDATE database_keys SET missing_at = clock_timestamp() - interval '14 minutes' WHERE key_id <> $1`, all[0].KeyID)
	if got := judge(all[:1]); len(got.events)+len(got.deleted) != 0 || !got.undone {
		t.Errorf("most are missing for 14 minutes: %d events, %d deleted", len(got.events), len(got.deleted))
	}
	if got := judge(all); len(got.events)+len(got.deleted) != 0 || len(got.write) != len(all)-1 {
		t.Errorf("all are back: %d events, %d deleted, %d written", len(got.events), len(got.deleted), len(got.write))
	}
	s.exec(s.db.AppURL, `UPDATE database_keys SET missing_at = clock_timestamp() - interval '16 minutes' WHERE key_id <> $1`, all[0].KeyID)
	if got := judge(all[:1]); len(got.events) == 0 || len(got.deleted) != len(all)-1 {
		t.Errorf("most are missing for 16 minutes: %d events, %d deleted", len(got.events), len(got.deleted))
	}
	// Where only the admin keys cannot be listed nothing is concluded of them.
	s.fault(map[string]any{"account": account.CloudAccountID, "operation": "ListDatabaseApiKeysV1", "kind": "status", "status": 500})
	s.readsKind(kindKeys)
	s.readsKind(kindKeys)
	if _, failures, words := s.kindState(account, kindKeys); failures != 0 || !strings.Contains(words, "Admin keys could not be listed") {
		t.Errorf("admin keys fail: %d failures, %q", failures, words)
	}
	if got := s.storedKeys(account); len(got) != len(all) {
		t.Errorf("%d keys are known, there were %d", len(got), len(all))
	}
	s.wantKeysTold("nothing was deleted")
}

// TestAKindThatFailsAlone: keys that fail, for which the key has no right, or that hang disturb neither clusters nor alerts,
// and the other way round; what was known stays.
func TestAKindThatFailsAlone(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.readsKind(kindKeys)
	s.readsKind(kindAlerts)
	for fails, op := range map[string]string{kindKeys: "ListDatabaseApiKeysV2", kindAlerts: "ListClusterAlerts"} {
		s.fault(map[string]any{"account": account.CloudAccountID, "operation": op, "kind": "status", "status": 403})
		before := len(s.storedKeys(account))
		for _, kind := range []string{kindKeys, kindAlerts} {
			s.readsKind(kind)
			_, failures, words := s.kindState(account, kind)
			if (failures > 0) != (kind == fails) || (words != "") != (kind == fails) {
				t.Errorf("while %s fails, %s has %d failures, %q", fails, kind, failures, words)
			}
		}
		s.snapshot()
		if _, failures, words := s.kindState(account, kindClusters); failures > 0 || words != "" {
			t.Errorf("while %s fails, clusters have %d failures, %q", fails, failures, words)
		}
		detail, err := s.svc.Account(t.Context(), member("admins"), account.ID)
		if err != nil || detail.Key.Refused != "" || detail.Sync.Stale {
			t.Errorf("while %s fails, the account says %q, %+v, %v", fails, detail.Key.Refused, detail.Sync, err)
		}
		if after := len(s.storedKeys(account)); after != before {
			t.Errorf("while %s fails, %d of %d keys are known", fails, after, before)
		}
		s.ask(http.MethodDelete, "faults", nil, nil)
		s.readsKind(fails)
		if _, failures, words := s.kindState(account, fails); failures > 0 || words != "" {
			t.Errorf("%s works again and has %d failures, %q", fails, failures, words)
		}
	}
	s.exec(s.db.AppURL, `UPDATE management_keys SET permissions = '{read:clusters}' WHERE account_id = $1`, account.ID)
	calls, _ := s.calls()
	s.readsKind(kindKeys)
	if now, _ := s.calls(); now != calls {
		t.Errorf("%d calls for what the key is known not to be allowed", now-calls)
	}
	if _, failures, words := s.kindState(account, kindKeys); failures != 1 || words != "The account's key lacks read:api_keys." {
		t.Errorf("without the right: %d failures, %q", failures, words)
	}
}

// alertUpstream answers the alerts of the rig's clusters.
type alertUpstream struct {
	mu   sync.Mutex
	hang string // this cluster's are never answered
	read []string
}

func (a *alertUpstream) serve(w http.ResponseWriter, req *http.Request) {
	id := req.PathValue("cluster_id")
	a.mu.Lock()
	a.read = append(a.read, id)
	hangs := a.hang == id
	a.mu.Unlock()
	if hangs {
		<-req.Context().Done()
		return
	}
	answer(w, http.StatusOK, map[string]any{"alerts": []any{map[string]any{
		"id": uuid.NewSHA1(uuid.Nil, []byte(id)).String(), "type": "CLUSTER_ALERT_TYPE_OOM", "severity": 3, "title": "Out of memory", "state": "CLUSTER_ALERT_STATE_FIRING",
		"lastFiringAt": time.Now().UTC().Format(time.RFC3339),
	}}})
}

func (a *alertUpstream) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.read)
}

// serveAlerts has the rig's upstream answer alerts, too.
func (r *rig) serveAlerts(t testing.TB) *alertUpstream {
	a, clusters := &alertUpstream{}, r.up.server.Config.Handler
	mux := http.NewServeMux()
	mux.HandleFunc(cloudapi.OpListClusterAlerts.Method+" "+cloudapi.OpListClusterAlerts.Path, a.serve)
	mux.Handle("/", clusters)
	r.up.server.Config.Handler = mux
	return a
}

// TestAlertsOfAHangingClusterDelayNoOther: while upstream does not answer for one cluster, the alerts of the others are stored,
// and the next round does not wait for it again.
func TestAlertsOfAHangingClusterDelayNoOther(t *testing.T) {
	r := newRig(t)
	up := r.serveAlerts(t)
	id, at := r.account(t, "One", Production)
	at.add(8)
	r.refresh(t, r.svc, id)
	hung := at.clusters[2].ID
	up.hang = hung
	ended := make(chan error, 1)
	go func() {
		_, err := r.svc.readKindOnce(t.Context(), kindAlerts)
		ended <- err
	}()
	stored := func() int { return value[int](t, r, `SELECT count(*) FROM cluster_alerts WHERE state = 'FIRING'`) }
	began := time.Now()
	for stored() < 7 {
		if time.Since(began) > 4*time.Second {
			t.Fatalf("alerts of %d of 7 clusters are stored while one hangs", stored())
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("the round has ended although a cluster hangs: %v", err)
	default:
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if failures := value[int](t, r, `SELECT failures FROM cluster_reads WHERE cluster_id = $1`, hung); failures != 1 {
		t.Errorf("the hanging cluster has %d failures", failures)
	}
	if value[int](t, r, `SELECT failures FROM refresh WHERE kind = 'alerts'`) != 0 {
		t.Error("the account counts as failing because of one cluster")
	}
	before := len(up.seen())
	r.exec(t, `UPDATE refresh SET next_at = now() WHERE kind = 'alerts'`)
	r.exec(t, `UPDATE cluster_reads SET next_at = now() WHERE failures = 0`)
	if _, err := r.svc.readKindOnce(t.Context(), kindAlerts); err != nil {
		t.Fatal(err)
	}
	if again := up.seen()[before:]; len(again) != 7 || slices.Contains(again, hung) {
		t.Errorf("the next round read %d clusters, the hanging one among them: %t", len(again), slices.Contains(again, hung))
	}
	up.mu.Lock()
	up.hang = ""
	up.mu.Unlock()
	r.exec(t, `UPDATE refresh SET next_at = now() WHERE kind = 'alerts'`)
	r.exec(t, `UPDATE cluster_reads SET next_at = now()`)
	if _, err := r.svc.readKindOnce(t.Context(), kindAlerts); err != nil || stored() != 8 {
		t.Errorf("answering again, %d of 8 are stored, %v", stored(), err)
	}
}

// TestAlertsUrgentFirst: of more clusters than a round reads those that are not well come first, the others get their quarter, and
// after enough rounds each was read.
func TestAlertsUrgentFirst(t *testing.T) {
	r := newRig(t)
	up := r.serveAlerts(t)
	id, at := r.account(t, "One", Production)
	at.add(40)
	at.set(func(a *scriptedAccount) {
		for i := range 18 {
			a.clusters[2*i].Phase = "CLUSTER_PHASE_NOT_READY"
		}
	})
	r.refresh(t, r.svc, id)
	if !value[bool](t, r, `SELECT unhealthy FROM refresh WHERE kind = 'clusters'`) {
		t.Error("the account is not known to be unwell")
	}
	sick := map[string]bool{}
	for i := range 18 {
		sick[at.clusters[2*i].ID] = true
	}
	// Nothing fires, so that only phases are urgent.
	svc := r.replica(t, func(c *Config) { c.UpstreamRPS = 4 }) // 8 a round
	rounds := [][]string{}
	for range 6 {
		before := len(up.seen())
		r.exec(t, `UPDATE refresh SET next_at = now() WHERE kind = 'alerts'`)
		if _, err := svc.readKindOnce(t.Context(), kindAlerts); err != nil {
			t.Fatal(err)
		}
		rounds = append(rounds, up.seen()[before:])
		r.exec(t, `DELETE FROM cluster_alerts`)
	}
	urgent := 0
	for _, c := range rounds[0] {
		if sick[c] {
			urgent++
		}
	}
	if len(rounds[0]) != 8 || urgent < 5 || urgent > 7 {
		t.Errorf("the first round read %d clusters, %d of them urgent", len(rounds[0]), urgent)
	}
	all := map[string]bool{}
	for _, round := range rounds {
		for _, c := range round {
			if all[c] {
				t.Errorf("a cluster was read twice before each was read")
			}
			all[c] = true
		}
	}
	if len(all) != 40 {
		t.Errorf("%d of 40 clusters were read in %d rounds", len(all), len(rounds))
	}
}

// TestAlertsFireAndResolve: since says from when an alert is as it is, nothing is written while it stays so, and what
// upstream does not list any more is resolved.
func TestAlertsFireAndResolve(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "troubled", "mx1", 1)
	s.outside(account, ref, map[string]any{"act": "phase", "phase": "NOT_READY"})
	s.snapshot()
	read := func() (state string, since time.Time, version string) {
		t.Helper()
		s.readsKind(kindAlerts)
		for range 5 { // as many rounds as there are clusters
			s.readsKind(kindAlerts)
		}
		if err := s.db.Pool.QueryRow(t.Context(), `SELECT state, since, xmin::text FROM cluster_alerts WHERE cluster_id = $1 AND type = 'QDRANT_CLUSTER_UNHEALTHY'`, ref.ClusterID).Scan(&state, &since, &version); err != nil {
			t.Fatal(err)
		}
		return state, since, version
	}
	state, since, version := read()
	if state != "FIRING" {
		t.Fatalf("it is %s", state)
	}
	s.ask(http.MethodPost, "clock", map[string]any{"advance": "10m"}, nil)
	if state, again, same := read(); state != "FIRING" || !again.Equal(since) || same != version {
		t.Errorf("still firing: %s since %s (was %s), written again: %t", state, again, since, same != version)
	}
	s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
	state, resolved, _ := read()
	if state != "RESOLVED" || !resolved.After(since) {
		t.Errorf("healthy again: %s since %s", state, resolved)
	}
	s.ask(http.MethodPost, "clock", map[string]any{"advance": "100h"}, nil)
	if state, still, _ := read(); state != "RESOLVED" || !still.Equal(resolved) {
		t.Errorf("not listed any more: %s since %s", state, still)
	}
	s.exec(s.db.AppURL, `UPDATE cluster_alerts SET since = since - interval '8 days'`)
	s.readsKind(kindAlerts)
	var left int
	if err := s.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM cluster_alerts WHERE cluster_id = $1 AND type = 'QDRANT_CLUSTER_UNHEALTHY'`, ref.ClusterID).Scan(&left); err != nil || left != 0 {
		t.Errorf("after a week %d are left, %v", left, err)
	}
}

// TestWhatIsDueHasItsTurn: with fewer workers than there is due, production, the unwell and what is on screen come first, and
// what is long overdue before them.
func TestWhatIsDueHasItsTurn(t *testing.T) {
	r := newRig(t)
	names := map[uuid.UUID]string{}
	account := func(name string, e Environment) uuid.UUID {
		id, _ := r.account(t, name, e)
		names[id] = name
		return id
	}
	account("plain", Development)
	account("production", Production)
	sick, shown, old := account("unwell", Development), account("shown", Staging), account("overdue", Development)
	r.exec(t, `UPDATE refresh SET next_at = now() - interval '30 seconds'`)
	r.exec(t, `UPDATE refresh SET unhealthy = true WHERE account_id = $1`, sick)
	r.exec(t, `UPDATE refresh SET next_at = now() - interval '10 minutes' WHERE account_id = $1`, old)
	r.svc.hub.join(&Watch{scope: &access.Scope{Accounts: []uuid.UUID{shown}}})
	var order []string
	for range names {
		leases, err := r.svc.lease(t.Context(), false, 1)
		if err != nil || len(leases) != 1 {
			t.Fatalf("%d leases, %v", len(leases), err)
		}
		order = append(order, names[leases[0].AccountID])
	}
	if got := strings.Join(order, " "); order[0] != "overdue" || order[1] != "shown" || order[4] != "plain" {
		t.Errorf("the order is %s", got)
	}
}

// TestWhatIsSeenByLabelsIsOnScreen: an account goes first when one who sees clusters of it by their labels has a page open.
func TestWhatIsSeenByLabelsIsOnScreen(t *testing.T) {
	r := newRig(t)
	shown, _ := r.account(t, "shown", Development)
	other, _ := r.account(t, "other", Production)
	r.fill(t, shown, 3)
	r.fill(t, other, 3)
	r.exec(t, `UPDATE clusters SET labels = '{"team": "search"}' WHERE account_id = $1`, shown)
	selector, err := access.ParseSelector("team=search")
	if err != nil {
		t.Fatal(err)
	}
	look := func() []uuid.UUID {
		t.Helper()
		if err := r.svc.findLabelled(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.svc.onScreen().accounts
	}
	if got := look(); len(got) != 0 {
		t.Errorf("nobody looks: %v", got)
	}
	watch := &Watch{scope: &access.Scope{Labels: []access.Selector{selector}}}
	r.svc.hub.join(watch)
	if got := look(); len(got) != 1 || got[0] != shown {
		t.Errorf("one looks who sees by labels: %v, want %s", got, shown)
	}
	r.exec(t, `UPDATE clusters SET labels = '{}'`)
	if got := look(); len(got) != 0 {
		t.Errorf("the label is gone: %v", got)
	}
	r.svc.hub.forget(watch)
	r.exec(t, `UPDATE clusters SET labels = '{"team": "search"}'`)
	if got := look(); len(got) != 0 {
		t.Errorf("the page is closed: %v", got)
	}
}

// TestKindsBesideClustersWaitForThem: while clusters of more accounts are due than there are workers, one account of each other kind
// is read a second, and as many as there are places when that is over.
func TestKindsBesideClustersWaitForThem(t *testing.T) {
	r := newRig(t)
	const accounts = 40
	hold := make(chan struct{})
	for i := range accounts {
		_, at := r.account(t, fmt.Sprint("Account ", i), Production)
		at.set(func(a *scriptedAccount) { a.onList = func() { <-hold } })
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.svc.refreshLoop(ctx) }()
	defer func() { stop(); <-ended }()
	behind := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); r.svc.refreshing.behind.Load() != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("clusters are behind: %v", !want)
			}
		}
	}
	behind(true)
	slots := make(chan struct{}, kindWorkers)
	if n := r.svc.kindPlaces(slots, time.Now()); n != 0 {
		t.Errorf("%d places while clusters wait, a moment after the last", n)
	}
	long := time.Now().Add(-2 * besideClusters)
	if n := r.svc.kindPlaces(slots, long); n != 1 {
		t.Errorf("%d places while clusters wait, long after the last", n)
	}
	slots <- struct{}{}
	if n := r.svc.kindPlaces(slots, long); n != 0 {
		t.Errorf("%d places beside the one that is taken", n)
	}
	close(hold)
	behind(false)
	if n := r.svc.kindPlaces(slots, long); n != kindWorkers-1 {
		t.Errorf("%d places when no cluster waits", n)
	}
}
