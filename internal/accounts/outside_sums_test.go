package accounts

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// keyUpstream answers the database keys of the rig's one account: items of version 2, and of version 1.
type keyUpstream struct {
	mu           sync.Mutex
	named, admin []map[string]any
}

func (k *keyUpstream) set(named, admin []map[string]any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.named, k.admin = named, admin
}

// serveKeys has the rig's upstream answer keys, too.
func (r *rig) serveKeys(t testing.TB) *keyUpstream {
	t.Helper()
	k, others := &keyUpstream{}, r.up.server.Config.Handler
	mux := http.NewServeMux()
	serve := func(op cloudapi.Op, of func() []map[string]any) {
		mux.HandleFunc(op.Method+" "+op.Path, func(w http.ResponseWriter, _ *http.Request) {
			k.mu.Lock()
			defer k.mu.Unlock()
			answer(w, http.StatusOK, map[string]any{"items": of()})
		})
	}
	serve(cloudapi.OpListDatabaseAPIKeysV2, func() []map[string]any { return k.named })
	serve(cloudapi.OpListDatabaseAPIKeysV1, func() []map[string]any { return k.admin })
	mux.Handle("/", others)
	r.up.server.Config.Handler = mux
	return k
}

// readKeysNow reads the keys of all accounts, as a refresh does that is due.
func (r *rig) readKeysNow(t testing.TB) {
	t.Helper()
	r.exec(t, `UPDATE refresh SET next_at = clock_timestamp() WHERE kind = 'keys'`)
	if _, err := r.svc.readKindOnce(t.Context(), kindKeys); err != nil {
		t.Fatal(err)
	}
}

func clusterKey(name, cluster string) map[string]any {
	return map[string]any{"id": uuid.NewSHA1(uuid.Nil, []byte(name)).String(), "name": name, "clusterId": cluster, "postfix": "abc123"}
}

func adminKeyOf(name string, clusters ...string) map[string]any {
	return map[string]any{"id": uuid.NewSHA1(uuid.Nil, []byte(name)).String(), "prefix": name, "clusterIds": clusters}
}

// newKeyRig is a rig with one account of n clusters, whose keys were listed once: from then on differences are told.
func newKeyRig(t *testing.T, n int, first ...map[string]any) (*rig, *keyUpstream, uuid.UUID, []string) {
	t.Helper()
	r := newRig(t)
	r.svc.refreshing.settleOwn = 0
	up := r.serveKeys(t)
	id, at := r.account(t, "One", Production)
	at.add(n)
	r.refresh(t, r.svc, id)
	r.exec(t, `UPDATE management_keys SET permissions = '{read:clusters,read:api_keys}' WHERE account_id = $1`, id)
	var clusters []string
	for _, c := range at.clusters {
		clusters = append(clusters, c.ID)
	}
	for i := range first {
		if first[i]["clusterId"] == "" {
			first[i]["clusterId"] = clusters[0]
		}
	}
	up.set(first, nil)
	r.readKeysNow(t)
	return r, up, id, clusters
}

// TestKeyOfAllClustersIsStoredAndTold: a key that names more clusters than a refresh has events is on the radar after one listing,
// told once, noted at each of its clusters, and the account is not read again at once. Its deletion likewise.
func TestKeyOfAllClustersIsStoredAndTold(t *testing.T) {
	r, up, id, clusters := newKeyRig(t, maxOutsideEvents+1)
	wide := adminKeyOf("wide-key", clusters...)
	up.set(nil, []map[string]any{wide})
	r.readKeysNow(t)
	if n := value[int](t, r, `SELECT cardinality(clusters) FROM database_keys WHERE account_id = $1`, id); n != len(clusters) {
		t.Errorf("the key is stored with %d of %d clusters", n, len(clusters))
	}
	told := r.events(t, ActAccountChangedOutside.Name)
	if len(told) != 1 || told[0].Target.Kind != KindAccount || !strings.Contains(fmt.Sprint(told[0].Change["keys_made"][1]), "wide-key… opens 501 clusters") {
		t.Errorf("told %+v", told)
	}
	if value[bool](t, r, `SELECT next_at < clock_timestamp() + $2::interval / 2 FROM refresh WHERE account_id = $1 AND kind = 'keys'`, id, r.svc.cfg.PollMax) {
		t.Error("the keys are read again at once")
	}
	page, err := r.svc.KeyRadar(t.Context(), viewer(), RadarQuery{})
	if err != nil || len(page.Keys) != 1 || len(page.Keys[0].Opens) != 5 || page.Keys[0].Hidden != len(clusters)-5 {
		t.Errorf("on the radar is %+v, %v", page.Keys, err)
	}
	history, err := r.svc.ClusterHistory(t.Context(), viewer(), ClusterRef{AccountID: id, ClusterID: clusters[7]}, "")
	if err != nil || history.Untold == nil || history.Untold.Changes != 1 {
		t.Errorf("the history of one of the clusters says %+v, %v", history.Untold, err)
	}
	r.readKeysNow(t)
	up.set(nil, nil)
	for range 3 {
		r.readKeysNow(t)
	}
	told = r.events(t, ActAccountChangedOutside.Name)
	if len(told) != 2 || !strings.Contains(fmt.Sprint(told[1].Change["keys_deleted"][0]), "wide-key… opens 501 clusters") {
		t.Errorf("after its deletion told %+v", told)
	}
	if n := value[int](t, r, `SELECT count(*) FROM database_keys`); n != 0 {
		t.Errorf("%d keys are known still", n)
	}
}

// TestKeyThatNamesAClusterAgainAndAgain counts it once.
func TestKeyThatNamesAClusterAgainAndAgain(t *testing.T) {
	r, up, id, clusters := newKeyRig(t, 2)
	up.set(nil, []map[string]any{adminKeyOf("repeats", slices.Repeat(clusters[:1], maxOutsideEvents+1)...)})
	r.readKeysNow(t)
	if n := value[int](t, r, `SELECT cardinality(clusters) FROM database_keys WHERE account_id = $1`, id); n != 1 {
		t.Errorf("the key is stored with %d clusters", n)
	}
	if told := r.events(t, ActClusterKeysOutside.Name); len(told) != 1 || told[0].Target.ID != clusters[0] {
		t.Errorf("told %+v", told)
	}
}

// TestKeysThatDoNotFitInOneRoundAreToldInTheNext: nothing waits for ever, whatever the order.
func TestKeysThatDoNotFitInOneRoundAreToldInTheNext(t *testing.T) {
	r, up, id, clusters := newKeyRig(t, 700)
	var keys []map[string]any
	for i := range 7 {
		keys = append(keys, adminKeyOf(fmt.Sprintf("key-%d", i), clusters[i*100:i*100+100]...))
	}
	up.set(nil, keys)
	r.readKeysNow(t)
	r.readKeysNow(t)
	if n := value[int](t, r, `SELECT count(*) FROM database_keys WHERE account_id = $1`, id); n != len(keys) {
		t.Errorf("%d of %d keys are stored", n, len(keys))
	}
	if told := value[int](t, r, `SELECT count(*) FROM audit.events WHERE act = $1`, ActClusterKeysOutside.Name); told != len(clusters) {
		t.Errorf("%d of %d clusters are told of", told, len(clusters))
	}
}

// TestKeyThatCannotBeReadIsCountedAndNotDeleted: a key of a kind that is not known here is said on the page, and one that turns into
// one is not told as deleted; others are.
func TestKeyThatCannotBeReadIsCountedAndNotDeleted(t *testing.T) {
	known, other := clusterKey("known", ""), clusterKey("other", "")
	r, up, id, clusters := newKeyRig(t, 1, known, other)
	whole := map[string]any{"id": uuid.NewString(), "name": "opens the whole account"}
	up.set([]map[string]any{known, other, whole}, nil)
	r.readKeysNow(t)
	trouble := func() string {
		t.Helper()
		page, err := r.svc.KeyRadar(t.Context(), viewer(), RadarQuery{})
		if err != nil || len(page.Trouble) > 1 {
			t.Fatalf("trouble %+v, %v", page.Trouble, err)
		}
		if len(page.Trouble) == 0 {
			return ""
		}
		return page.Trouble[0].Error
	}
	if words := trouble(); !strings.Contains(words, "could not read 1 of the keys") || !strings.Contains(words, "a key names no cluster") {
		t.Errorf("the page says %q", words)
	}
	stored := func() []string {
		t.Helper()
		rows := value[[]string](t, r, `SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM database_keys WHERE account_id = $1`, id)
		return rows
	}
	turned := map[string]any{"id": known["id"], "name": "known", "scope": "everything"}
	up.set([]map[string]any{turned, other}, nil)
	for range 4 {
		r.readKeysNow(t)
	}
	if got := stored(); !slices.Equal(got, []string{"known", "other"}) {
		t.Errorf("stored are %q", got)
	}
	if told := r.events(t, ActClusterKeysOutside.Name); len(told) != 0 {
		t.Errorf("told %+v", told)
	}
	// Of one without an id nobody knows which it is, so nothing is missing.
	up.set([]map[string]any{clusterKey("new", clusters[0]), {"name": "of a new kind"}}, nil)
	for range 4 {
		r.readKeysNow(t)
	}
	if got := stored(); !slices.Equal(got, []string{"known", "new", "other"}) {
		t.Errorf("with one that has no id stored are %q", got)
	}
	// One that can be told from the others keeps nobody from seeing that another went.
	up.set([]map[string]any{turned, clusterKey("new", clusters[0])}, nil)
	for range 4 {
		r.readKeysNow(t)
	}
	if got := stored(); !slices.Equal(got, []string{"known", "new"}) {
		t.Errorf("after a deletion stored are %q", got)
	}
	if told := r.events(t, ActClusterKeysOutside.Name); len(told) != 2 {
		t.Errorf("told %+v", told)
	}
}

// TestKeyOfMoreClustersThanAreKeptSaysSo.
func TestKeyOfMoreClustersThanAreKeptSaysSo(t *testing.T) {
	r, up, id, _ := newKeyRig(t, 1)
	var ids []string
	for range 1001 {
		ids = append(ids, uuid.NewString())
	}
	up.set(nil, []map[string]any{adminKeyOf("huge", ids...)})
	r.readKeysNow(t)
	if words := value[string](t, r, `SELECT error FROM refresh WHERE account_id = $1 AND kind = 'keys'`, id); !strings.Contains(words, "Of 1 admin keys not all clusters are shown") {
		t.Errorf("the page says %q", words)
	}
	if n := value[int](t, r, `SELECT cardinality(clusters) FROM database_keys WHERE account_id = $1`, id); n != 1000 {
		t.Errorf("%d clusters are kept", n)
	}
}

// TestOutsideChangesHaveABudget: an account whose clusters change at each refresh has a bounded number of events in the log, every change is
// either told or counted, whoever may read a cluster is told that there were more, and the next hour begins anew.
func TestOutsideChangesHaveABudget(t *testing.T) {
	r := newRig(t)
	r.svc.refreshing.settleOwn, r.svc.outsideBudget = 0, 50
	id, at := r.account(t, "Flips", Production)
	at.add(20)
	r.refresh(t, r.svc, id)
	flips := 0
	flip := func() {
		t.Helper()
		flips++
		at.set(func(a *scriptedAccount) {
			for _, c := range a.clusters {
				c.Nodes = 3 + flips%2
			}
		})
		r.refresh(t, r.svc, id)
	}
	for range 30 {
		flip()
	}
	sums := func() (events, changes int) {
		t.Helper()
		for _, e := range r.events(t, ActAccountChangedOutside.Name) {
			events++
			n, _ := e.Change["changes_not_told"][1].(interface{ Int64() (int64, error) })
			count, err := n.Int64()
			if err != nil {
				t.Fatal(err)
			}
			changes += int(count)
		}
		return events, changes
	}
	for range 3 { // however often it is looked
		if err := r.svc.tellSums(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	single := len(r.events(t, ActClusterChangedOutside.Name))
	events, summed := sums()
	if single != 50-50/spareBudget || events != 1 || single+summed != 30*20 {
		t.Errorf("%d changes: %d told one by one, %d in %d sums", 30*20, single, summed, events)
	}
	sum := r.events(t, ActAccountChangedOutside.Name)[0]
	if names := sum.Change["of_clusters"][1]; len(anyList(names)) != 20 || sum.Reason == "" || sum.Account.Name != "Flips" || sum.Target.ID != id.String() {
		t.Errorf("the sum is %+v", sum)
	}
	noted := 0
	for _, c := range at.clusters {
		h, err := r.svc.ClusterHistory(t.Context(), viewer(), ClusterRef{AccountID: id, ClusterID: c.ID}, "")
		if err != nil || h.Untold == nil || h.Untold.FirstAt.After(h.Untold.LastAt) {
			t.Fatalf("the history says %+v, %v", h.Untold, err)
		}
		noted += h.Untold.Changes
	}
	if noted != summed {
		t.Errorf("%d changes are noted at clusters, %d are summed", noted, summed)
	}
	// The list has the sum, and it is acknowledged by who may change all clusters of the account.
	admin := member("admins")
	list, err := r.svc.OutsideChanges(t.Context(), admin, OutsideQuery{Open: true})
	if err != nil || len(list.Changes) == 0 || list.Changes[0].Act != ActAccountChangedOutside.Name {
		t.Fatalf("the list begins with %+v, %v", list.Changes[:min(1, len(list.Changes))], err)
	}
	if done, err := r.svc.AcknowledgeOutside(t.Context(), admin, list.Changes[0].Seq, "A script of ours"); err != nil || !done {
		t.Errorf("acknowledging it: %v, %v", done, err)
	}

	// What comes within ten minutes is told after these; a removed account's, too.
	flip()
	if err := r.svc.tellSums(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, _ := sums(); again != 1 {
		t.Errorf("%d sums within ten minutes", again)
	}
	r.exec(t, `UPDATE outside_sums SET summed_at = summed_at - interval '10 minutes'`)
	if err := r.svc.tellSums(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, all := sums(); again != 2 || all != summed+20 {
		t.Errorf("%d sums of %d changes", again, all)
	}
	r.exec(t, `UPDATE outside_sums SET hour_from = hour_from - interval '1 hour'`)
	flip()
	if n := len(r.events(t, ActClusterChangedOutside.Name)); n != single+20 {
		t.Errorf("in the next hour %d changes are told one by one, there were %d", n, single)
	}
	r.exec(t, `UPDATE outside_sums SET hour_from = hour_from - interval '1 hour', summed_at = summed_at - interval '1 hour'`)
	r.exec(t, `DELETE FROM clusters`)
	if err := r.svc.tellSums(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.svc.forgetUntold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT (SELECT count(*) FROM outside_sums) + (SELECT count(*) FROM outside_untold)`); n != 0 {
		t.Errorf("%d rows are left that say nothing any more", n)
	}
}

// TestSettingsDoNotSpendTheWholeBudget: whoever changes settings of many clusters does not thereby make a cluster without an event.
func TestSettingsDoNotSpendTheWholeBudget(t *testing.T) {
	r := newRig(t)
	r.svc.refreshing.settleOwn, r.svc.outsideBudget = 0, 10
	id, at := r.account(t, "Flips", Production)
	at.add(20)
	r.refresh(t, r.svc, id)
	for nodes := range 3 {
		at.set(func(a *scriptedAccount) {
			for _, c := range a.clusters {
				c.Nodes = 4 + nodes
			}
		})
		r.refresh(t, r.svc, id)
	}
	if n := len(r.events(t, ActClusterChangedOutside.Name)); n != 8 {
		t.Fatalf("%d of 60 changed settings are told one by one", n)
	}
	at.add(1)
	r.refresh(t, r.svc, id)
	told := r.events(t, ActClusterChangedOutside.Name)
	if made := slices.ContainsFunc(told, func(e audit.Event) bool { _, is := e.Change["exists"]; return is }); !made || len(told) != 9 {
		t.Errorf("%d are told, the new cluster among them: %v", len(told), made)
	}
}

// TestOutsideSumsAreToldOnce, whichever replica does it, and never without the log.
func TestOutsideSumsAreToldOnce(t *testing.T) {
	s, account := newOutsideStage(t)
	s.exec(s.db.OwnerURL, `INSERT INTO outside_sums (account_id, account_name, hour_from, told, untold, untold_from, untold_clusters)
		VALUES ($1, 'Search', clock_timestamp(), 1000, 7, clock_timestamp(), '{orders}')`, account.ID)
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	if err := s.svc.tellSums(t.Context()); err == nil {
		t.Error("told without the log")
	}
	if !s.yes(`SELECT untold = 7 AND summed_at IS NULL FROM outside_sums`) {
		t.Error("the count is lost")
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	var all sync.WaitGroup
	for _, svc := range []*Service{s.svc, s.replica(nil), s.replica(nil)} {
		all.Go(func() {
			if err := svc.tellSums(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	events := s.eventsOf(ActAccountChangedOutside)
	if len(events) != 1 || events[0].Phase != audit.PhaseSingle || events[0].Outcome != audit.OK || events[0].Account.ID != account.ID.String() {
		t.Errorf("events %+v", events)
	}
	// Who may read one cluster's log is not told of the account's.
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	by := member("nobody")
	by.Subject = "scoped"
	s.scopedTo(by, access.Scope{Clusters: []access.ClusterRef{clusterRefOf(ref)}}, access.AuditRead, access.ReadClusters, access.WriteClusters)
	if list := s.outsideOf(by, OutsideQuery{}); len(list) != 0 {
		t.Errorf("who may read one cluster's log sees %+v", list)
	}
	whole := s.outsideOf(s.signedIn("auditors"), OutsideQuery{})
	if len(whole) != 1 {
		t.Fatalf("the list has %+v", whole)
	}
	if c, err := s.svc.OutsideChange(t.Context(), s.signedIn("auditors"), whole[0].Seq); err != nil || c.Acknowledge.Offered || !strings.Contains(c.Acknowledge.Reason, "on the account") {
		t.Errorf("%+v, %v", c.Acknowledge, err)
	}
}

func clusterRefOf(ref ClusterRef) access.ClusterRef {
	return access.ClusterRef{AccountID: ref.AccountID, ClusterID: ref.ClusterID}
}

// TestKeysOfManyClustersThatWent: more clusters go at once than a refresh asks about. Their keys went along with them, and nobody is said to
// have deleted those, whatever the listing of clusters has noticed yet.
func TestKeysOfManyClustersThatWent(t *testing.T) {
	const went = maxLookups + 5
	first := make([]map[string]any, 3*went)
	r, up, id, clusters := newKeyRig(t, len(first))
	for i, c := range clusters {
		first[i] = clusterKey(fmt.Sprint("key ", i), c)
	}
	up.set(first, nil)
	r.readKeysNow(t)
	before := len(r.events(t, ActClusterKeysOutside.Name))
	var at *scriptedAccount
	for _, at = range r.up.byKey {
	}
	at.set(func(a *scriptedAccount) { a.clusters = a.clusters[went:] })
	up.set(first[went:], nil)
	for range 4 {
		r.readKeysNow(t)
	}
	if told := r.events(t, ActClusterKeysOutside.Name); len(told) != before {
		t.Errorf("%d events are told of keys whose clusters went", len(told)-before)
	}
	r.refresh(t, r.svc, id)
	for range 3 {
		r.readKeysNow(t)
	}
	if told := r.events(t, ActClusterKeysOutside.Name); len(told) != before {
		t.Errorf("%d events are told when the clusters are known to be gone", len(told)-before)
	}
	if n := value[int](t, r, `SELECT count(*) FROM database_keys`); n != len(clusters)-went {
		t.Errorf("%d keys are known still", n)
	}
}

// TestKeyThatAnActOfOursMayHaveMade: one that is like what an act of unknown outcome asked for is told with that reason, another is not.
func TestKeyThatAnActOfOursMayHaveMade(t *testing.T) {
	r, up, id, clusters := newKeyRig(t, 2)
	asked := audit.Event{
		ID: uuid.Must(uuid.NewV7()), Operation: uuid.Must(uuid.NewV7()), Act: ActKeyCreate.Name, Phase: audit.PhaseAttempt, Actor: viewer(), At: r.clock.Now(), Outcome: "",
		Account: audit.Ref{ID: id.String(), Name: "One"}, Target: audit.Target{Kind: KindKey, Name: "wished"}, Change: audit.Change{changeCluster: {nil, clusters[0]}},
	}
	if _, err := r.log.Append(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	asked.ID, asked.Phase, asked.Outcome, asked.Reason, asked.Change, asked.Inferred = uuid.Must(uuid.NewV7()), audit.PhaseOutcome, audit.Unknown, "Nobody knows.", nil, true
	if _, err := r.log.Append(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	other := clusterKey("wished", clusters[1])
	other["id"] = uuid.NewString()
	up.set([]map[string]any{clusterKey("wished", clusters[0]), other}, nil)
	for range 3 {
		r.readKeysNow(t)
	}
	reasons := map[string]string{}
	for _, e := range r.events(t, ActClusterKeysOutside.Name) {
		reasons[e.Target.ID] = e.Reason
	}
	if len(reasons) != 2 || !strings.Contains(reasons[clusters[0]], "outcome is not known") || reasons[clusters[1]] != "" {
		t.Errorf("told with %q", reasons)
	}
}
