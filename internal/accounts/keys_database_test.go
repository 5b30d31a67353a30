package accounts

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// signedIn is someone of a group with a session, as forms with tokens need it.
func (s *stage) signedIn(group string) audit.Actor {
	s.t.Helper()
	at := s.clock.now()
	token, err := s.svc.SignIn(s.t.Context(), browser(), Identity{
		AuthTime: &at,
		Issuer:   "https://id.example.test", Subject: "sub-" + group, Name: "Name of " + group, Email: group + "@example.test", EmailVerified: true, Groups: []string{group},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	_, by, err := s.svc.Authenticate(s.t.Context(), browser(), token)
	if err != nil {
		s.t.Fatal(err)
	}
	return by
}

// keyed returns a healthy cluster of an account that takes keys with a name, made by somebody else, so
// that it has none yet.
func (s *stage) keyed(account Account, name string) ClusterRef {
	s.t.Helper()
	var made struct{ Cluster string }
	s.ask(http.MethodPost, "outside", map[string]any{"act": "create_cluster", "account": account.CloudAccountID, "name": name}, &made)
	s.ask(http.MethodPost, "outside", map[string]any{"act": "phase", "account": account.CloudAccountID, "cluster": made.Cluster, "phase": "HEALTHY"}, nil)
	s.snapshot()
	return ClusterRef{AccountID: account.ID, ClusterID: made.Cluster}
}

// newKey is a good form, with a token of the act.
func (s *stage) newKey(by audit.Actor, act Act, name string) NewKey {
	s.t.Helper()
	days := "30"
	return NewKey{Name: name, ExpiresInDays: &days, Access: KeyReads, FormToken: s.token(by, act)}
}

func (s *stage) createKey(by audit.Actor, ref ClusterRef, n NewKey) MadeKey {
	s.t.Helper()
	made, err := s.svc.CreateKey(s.t.Context(), by, ref, n)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

func (s *stage) keys(by audit.Actor, ref ClusterRef) ClusterKeys {
	s.t.Helper()
	list, err := s.svc.Keys(s.t.Context(), by, ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// rowOf returns a key of a list.
func rowOf(t *testing.T, list ClusterKeys, id string) ClusterKey {
	t.Helper()
	for _, k := range list.Keys {
		if k.ID == id {
			return k
		}
	}
	t.Fatalf("the key %s is not among %d keys", id, len(list.Keys))
	return ClusterKey{}
}

// elsewhere has somebody else do something in the account.
func (s *stage) elsewhere(account Account, what map[string]any, out any) {
	s.t.Helper()
	what["account"] = account.CloudAccountID
	s.ask(http.MethodPost, "outside", what, out)
	s.svc.keyrings.drop(account.ID) // ten seconds have passed
}

func TestAKeyIsMadeAndRecordedFieldByField(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	n := s.newKey(by, ActKeyCreate, " ingest pipeline ")
	n.Access, n.Collections = KeyOfCollections, "events=read\r\n\r\n features = read-write "
	made := s.createKey(by, ref, n)
	secret := string(made.Secret.Reveal())
	if made.Again || !strings.HasPrefix(secret, "eyJhb") || made.Key.Name != "ingest pipeline" || !strings.HasSuffix(secret, made.Key.Postfix) {
		t.Fatalf("made %+v", made.Key)
	}
	end := s.clock.at.UTC().Truncate(time.Second).AddDate(0, 0, 30)
	if !made.Key.ExpiresAt.Equal(end) {
		t.Errorf("it ends at %s, want %s", made.Key.ExpiresAt, end)
	}
	lines := []any{"events=read", "features=read-write"}
	attempt := audit.Event{
		Act: "key.create", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "key", Name: "ingest pipeline"},
		Upstream: audit.Upstream{RPC: cloudapi.OpCreateDatabaseAPIKeyV2.RPC, KeyID: account.Key.ID.String()},
		Change:   audit.Change{"cluster_id": {nil, ref.ClusterID}, "name": {nil, "ingest pipeline"}, "access": {nil, lines}, "expires_at": {nil, end.Format(time.RFC3339)}},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Target.ID, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, made.Key.ID, http.StatusOK
	outcome.Change = audit.Change{"postfix": {nil, made.Key.Postfix}}
	for field, values := range attempt.Change {
		outcome.Change[field] = values
	}
	wantOperation(t, s.eventsOf(ActKeyCreate), attempt, outcome)

	k := rowOf(t, s.keys(by, ref), made.Key.ID)
	if k.Creator != "Name of operators" || !k.Here || k.NobodySaw || !k.Offers["key.delete"].Offered || !k.Offers["key.rotate"].Offered {
		t.Errorf("listed as %+v", k)
	}
	if diff := cmp.Diff([]string{"events=read", "features=read-write"}, accessLines(k.Access)); diff != "" {
		t.Error(diff)
	}
	if dump := s.dump(); strings.Contains(dump, secret) || strings.Contains(dump, secret[len(secret)-20:]) {
		t.Error("the secret is in a table, the log, an event or a metric")
	}
}

func TestAKeyThatNeverEnds(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	n, never := s.newKey(by, ActKeyCreate, "for ever"), ""
	n.ExpiresInDays, n.Access = &never, KeyManages
	made := s.createKey(by, ref, n)
	events := s.eventsOf(ActKeyCreate)
	if !made.Key.ExpiresAt.IsZero() || len(events) != 2 || events[1].Change["expires_at"][1] != "never" {
		t.Errorf("it ends %v, and the log says %v", made.Key.ExpiresAt, events)
	}
}

// TestOneFormMakesOneKey sends the same form again, also when its key is gone by then.
func TestOneFormMakesOneKey(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	n := s.newKey(by, ActKeyCreate, "only once")
	made := s.createKey(by, ref, n)
	for _, then := range []func(){func() {}, func() {
		if err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, KeyMark(made.Key)); err != nil {
			t.Fatal(err)
		}
	}} {
		then()
		if again := s.createKey(by, ref, n); !again.Again || again.Unsure || !again.Secret.IsZero() {
			t.Errorf("the same form again: %+v", again)
		}
	}
	if n := len(s.eventsOf(ActKeyCreate)); n != 2 {
		t.Errorf("%d events of making a key, want 2", n)
	}
	stranger := s.newKey(by, ActKeyRotate, "another form")
	_, err := s.svc.CreateKey(t.Context(), by, ref, stranger)
	wantFormRefused(t, err)
}

func TestWhatBreaksARuleIsNotSent(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	calls, _ := s.calls()
	written := len(s.events())
	text := func(v string) *string { return &v }
	many := strings.Repeat("c=read\n", 1)
	for i := range 20 {
		many += "c" + strings.Repeat("x", i+1) + "=read\n"
	}
	for name, tt := range map[string]struct {
		change func(*NewKey)
		field  string
	}{
		"a short name":             {func(n *NewKey) { n.Name = "abc" }, "name"},
		"a long name":              {func(n *NewKey) { n.Name = strings.Repeat("a", 129) }, "name"},
		"a name with a line":       {func(n *NewKey) { n.Name = "two\nlines" }, "name"},
		"a name with a quote":      {func(n *NewKey) { n.Name = "'; touch x" }, "name"},
		"a name in Greek":          {func(n *NewKey) { n.Name = "κλειδί" }, "name"},
		"spaces for a name":        {func(n *NewKey) { n.Name = "      " }, "name"},
		"no field for the end":     {func(n *NewKey) { n.ExpiresInDays = nil }, "expires_in_days"},
		"no days":                  {func(n *NewKey) { n.ExpiresInDays = text("0") }, "expires_in_days"},
		"too many days":            {func(n *NewKey) { n.ExpiresInDays = text("3651") }, "expires_in_days"},
		"half a day":               {func(n *NewKey) { n.ExpiresInDays = text("1.5") }, "expires_in_days"},
		"a sign":                   {func(n *NewKey) { n.ExpiresInDays = text("+5") }, "expires_in_days"},
		"a space for never":        {func(n *NewKey) { n.ExpiresInDays = text(" ") }, "expires_in_days"},
		"a huge number":            {func(n *NewKey) { n.ExpiresInDays = text("99999999999999999999") }, "expires_in_days"},
		"no access":                {func(n *NewKey) { n.Access = "" }, "access"},
		"an access of its own":     {func(n *NewKey) { n.Access = "MANAGE" }, "access"},
		"collections, none named":  {func(n *NewKey) { n.Access = KeyOfCollections }, "collections"},
		"collections and manage":   {func(n *NewKey) { n.Access, n.Collections = KeyManages, "events=read" }, "collections"},
		"a line without access":    {func(n *NewKey) { n.Access, n.Collections = KeyOfCollections, "events" }, "collections"},
		"an access that is none":   {func(n *NewKey) { n.Access, n.Collections = KeyOfCollections, "events=write" }, "collections"},
		"a collection twice":       {func(n *NewKey) { n.Access, n.Collections = KeyOfCollections, "e=read\ne=read-write" }, "collections"},
		"a collection with a path": {func(n *NewKey) { n.Access, n.Collections = KeyOfCollections, "../e=read" }, "collections"},
		"a long collection":        {func(n *NewKey) { n.Access, n.Collections = KeyOfCollections, strings.Repeat("e", 256)+"=read" }, "collections"},
		"21 collections":           {func(n *NewKey) { n.Access, n.Collections = KeyOfCollections, many }, "collections"},
	} {
		n := s.newKey(by, ActKeyCreate, "good name")
		tt.change(&n)
		_, err := s.svc.CreateKey(t.Context(), by, ref, n)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || len(invalid.Fields) != 1 || invalid.Fields[tt.field] == "" {
			t.Errorf("%s: %v %+v, want a message at %s alone", name, err, invalid, tt.field)
		}
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("upstream was asked %d times", after-calls)
	}
	if got := len(s.events()); got != written {
		t.Errorf("%d events were written", got-written)
	}
}

func TestARefusedKeyCanBeAskedForAgain(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	s.ask(http.MethodPost, "account", map[string]any{"account": account.CloudAccountID, "quotas": map[string]any{"database_keys": 0}}, nil)
	n := s.newKey(by, ActKeyCreate, "over the quota")
	_, err := s.svc.CreateKey(t.Context(), by, ref, n)
	if e, ok := cloudapi.AsError(err); !ok || e.Kind != cloudapi.Conflict {
		t.Fatalf("over the quota: %v", err)
	}
	events := s.eventsOf(ActKeyCreate)
	if len(events) != 2 || events[1].Outcome != audit.Failed || !strings.Contains(events[1].Reason, "quota") {
		t.Errorf("events %+v", events)
	}
	s.ask(http.MethodPost, "account", map[string]any{"account": account.CloudAccountID, "quotas": map[string]any{"database_keys": 9}}, nil)
	if made := s.createKey(by, ref, n); made.Again {
		t.Error("the form was used up by a refusal")
	}
}

func TestKeysOfAClusterAreListed(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := member("viewers")
	if list := s.keys(by, ref); len(list.Keys) != 0 {
		t.Fatalf("a new cluster has %d keys", len(list.Keys))
	}
	var made struct{ Key string }
	s.elsewhere(account, map[string]any{"act": "create_key", "cluster": ref.ClusterID, "name": "made elsewhere", "days": 3}, &made)
	k := rowOf(t, s.keys(by, ref), made.Key)
	if k.Here || k.Creator == "" || k.Creator != k.CreatedBy || k.NobodySaw {
		t.Errorf("a key made elsewhere is listed as %+v", k)
	}
	for _, act := range []string{"key.delete", "key.rotate"} {
		if k.Offers[act].Offered || !strings.Contains(k.Offers[act].Reason, "delete:api_keys") {
			t.Errorf("%s is offered to a viewer: %+v", act, k.Offers[act])
		}
	}
	// Within ten seconds upstream is not asked again; an act of ours has it asked at once.
	before, _ := s.calls()
	s.keys(by, ref)
	if after, _ := s.calls(); after != before {
		t.Errorf("%d calls for a list that is fresh", after-before)
	}
	s.clock.at = s.clock.at.Add(keysLife)
	s.keys(by, ref)
	if after, _ := s.calls(); after != before+2 {
		t.Errorf("%d calls for a list that is too old, want one for each version", after-before)
	}
}

func TestAListThatWasReadBeforeAChangeIsNotKept(t *testing.T) {
	var rings keyrings
	now := time.Now()
	at := ringAt{account: uuid.New()}
	ring := rings.at(at, now)
	_, version, _ := rings.known(ring, now, 7)
	rings.drop(at.account)
	rings.keep(ring, version, keyList{}, 7, now.Add(keysLife))
	if _, _, fresh := rings.known(ring, now, 7); fresh {
		t.Error("a list from before the change is shown after it")
	}
	_, version, _ = rings.known(ring, now, 7)
	rings.keep(ring, version, keyList{}, 7, now.Add(keysLife))
	if _, _, fresh := rings.known(rings.at(at, now), now, 7); !fresh {
		t.Error("a list from after the change is not kept")
	}
	if _, _, fresh := rings.known(ring, now, 8); fresh {
		t.Error("a list from before an event is shown after it")
	}
}

// What one replica does to keys, the others list at once; what nobody touches they do not ask for again.
func TestAReplicaListsKeysThatAnotherMade(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	other := s.replica(nil)
	listed := func(of *Service) []string {
		t.Helper()
		list, err := of.Keys(t.Context(), member("viewers"), ref)
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, k := range list.Keys {
			ids = append(ids, k.ID)
		}
		return ids
	}
	before := listed(other)
	asked, _ := s.calls()
	again := listed(other)
	if now, _ := s.calls(); !slices.Equal(again, before) || now != asked {
		t.Errorf("%d calls for what nobody touched; %v, then %v", now-asked, before, again)
	}
	by := s.signedIn("operators")
	made := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "made elsewhere"))
	if after := listed(other); !slices.Contains(after, made.Key.ID) {
		t.Errorf("the other replica lists %v, not %s", after, made.Key.ID)
	}
}

func TestAdminKeysAreListedWithTheirClusters(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	list := s.adminKeyed(account)
	found := false
	for _, k := range list.Keys {
		if !k.Admin {
			continue
		}
		found = true
		if len(k.Opens)+k.Hidden != len(k.Clusters) || k.Hidden != 0 || KeyMark(k.DatabaseKey) != k.Prefix {
			t.Errorf("an admin key of %d clusters is listed as %+v", len(k.Clusters), k)
		}
	}
	if !found {
		t.Fatal("no admin key is listed")
	}
	// The API of the old keys may end before the other.
	s.fault(map[string]any{"operation": "ListDatabaseApiKeysV1", "kind": "status", "status": 404, "times": 1})
	s.svc.keyrings.drop(account.ID)
	less := s.keys(member("viewers"), ClusterRef{AccountID: account.ID, ClusterID: list.Cluster.ID})
	if less.AdminsFailed == "" || len(less.Keys) >= len(list.Keys) {
		t.Errorf("without the old API: %d of %d keys, %q", len(less.Keys), len(list.Keys), less.AdminsFailed)
	}
}

// adminKeyed returns the keys of a cluster that an admin key of several opens.
func (s *stage) adminKeyed(account Account) ClusterKeys {
	s.t.Helper()
	rows, err := s.db.Pool.Query(s.t.Context(), `SELECT cluster_id FROM clusters WHERE account_id = $1`, account.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		list := s.keys(member("viewers"), ClusterRef{AccountID: account.ID, ClusterID: id})
		for _, k := range list.Keys {
			if k.Admin && len(k.Clusters) > 1 {
				return list
			}
		}
	}
	s.t.Fatal("no cluster has an admin key of several")
	return ClusterKeys{}
}

func TestAKeyIsDeletedAndRecordedFieldByField(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	made := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "to be deleted"))
	_, before := s.calls()
	for _, confirm := range []string{"", "to be deleted", made.Key.Postfix + " ", strings.ToUpper(made.Key.Postfix) + "x"} {
		err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, confirm)
		if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Fields["confirm"] == "" {
			t.Errorf("confirmed with %q: %v", confirm, err)
		}
	}
	if _, after := s.calls(); after != before {
		t.Error("upstream was asked to delete")
	}
	if err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, made.Key.Postfix); err != nil {
		t.Fatal(err)
	}
	attempt := audit.Event{
		Act: "key.delete", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "key", ID: made.Key.ID, Name: "to be deleted"},
		Upstream: audit.Upstream{RPC: cloudapi.OpDeleteDatabaseAPIKeyV2.RPC, KeyID: account.Key.ID.String()},
		Change: audit.Change{
			"cluster_id": {ref.ClusterID, nil}, "name": {"to be deleted", nil}, "postfix": {made.Key.Postfix, nil},
			"access": {[]any{"read-only"}, nil}, "expires_at": {made.Key.ExpiresAt.Format(time.RFC3339), nil},
		},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, http.StatusOK
	wantOperation(t, s.eventsOf(ActKeyDelete), attempt, outcome)
	if list := s.keys(by, ref); len(list.Keys) != 0 {
		t.Errorf("%d keys are still listed", len(list.Keys))
	}
	if err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, made.Key.Postfix); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted again: %v", err)
	}
}

func TestAKeyThatSomebodyElseDeleted(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	made := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "gone elsewhere"))
	s.keys(by, ref) // remembered
	s.ask(http.MethodPost, "outside", map[string]any{"act": "delete_key", "account": account.CloudAccountID, "cluster": ref.ClusterID, "key": made.Key.ID}, nil)
	err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, made.Key.Postfix)
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Reason != goneMeanwhile {
		t.Errorf("deleting what is gone: %v", err)
	}
	if events := s.eventsOf(ActKeyDelete); len(events) != 2 || events[1].Outcome != audit.Failed || events[1].Reason != goneMeanwhile {
		t.Errorf("events %+v", events)
	}
}

// TestARotation makes a successor, sees the rotation pending, and ends it.
func TestARotation(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	by := s.signedIn("operators")
	n := s.newKey(by, ActKeyCreate, "data science")
	n.Access, n.Collections = KeyOfCollections, "events=read\nfeatures=read-write"
	old := s.createKey(by, ref, n).Key
	if days := LifetimeDays(old); days != "30" {
		t.Errorf("the form of the successor says %s days", days)
	}
	days := "7"
	form := Rotation{Name: old.Name, ExpiresInDays: &days, FormToken: s.token(by, ActKeyRotate)}
	made, err := s.svc.RotateKey(t.Context(), by, ref, old.ID, form)
	if err != nil {
		t.Fatal(err)
	}
	if made.Key.ID == old.ID || made.Secret.IsZero() || made.Replaces.ID != old.ID || !cmp.Equal(made.Key.Access, old.Access) {
		t.Errorf("the successor is %+v", made.Key)
	}
	end := s.clock.at.UTC().Truncate(time.Second).AddDate(0, 0, 7)
	lines := []any{"events=read", "features=read-write"}
	attempt := audit.Event{
		Act: "key.rotate", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "key", Name: "data science"},
		Upstream: audit.Upstream{RPC: cloudapi.OpCreateDatabaseAPIKeyV2.RPC, KeyID: account.Key.ID.String()},
		Change: audit.Change{
			"cluster_id": {nil, ref.ClusterID}, "name": {nil, "data science"}, "access": {nil, lines}, "expires_at": {nil, end.Format(time.RFC3339)},
			"successor_of": {nil, old.ID},
		},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Target.ID, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, made.Key.ID, http.StatusOK
	outcome.Change = audit.Change{"postfix": {nil, made.Key.Postfix}}
	for field, values := range attempt.Change {
		outcome.Change[field] = values
	}
	rotation := s.eventsOf(ActKeyRotate)
	wantOperation(t, rotation, attempt, outcome)

	list := s.keys(by, ref)
	if a, b := rowOf(t, list, old.ID), rowOf(t, list, made.Key.ID); a.Successor != made.Key.ID || b.SuccessorOf != old.ID || a.Offers["key.rotate"].Offered || !b.Offers["key.rotate"].Offered {
		t.Errorf("while it is pending: %+v and %+v", a, b)
	}
	if again, err := s.svc.RotateKey(t.Context(), by, ref, old.ID, form); err != nil || !again.Again || again.Unsure {
		t.Errorf("the same form again: %+v, %v", again, err)
	}
	form.FormToken = s.token(by, ActKeyRotate)
	_, err = s.svc.RotateKey(t.Context(), by, ref, old.ID, form)
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || !strings.Contains(conflict.Reason, "successor already") {
		t.Errorf("rotated twice: %v", err)
	}

	if err := s.svc.DeleteKey(t.Context(), by, ref, old.ID, old.Postfix); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.eventsOf(ActKeyDelete) {
		if e.Parent != rotation[0].Operation {
			t.Errorf("deleting the old key belongs to %s, not to the rotation %s", e.Parent, rotation[0].Operation)
		}
	}
	if k := rowOf(t, s.keys(by, ref), made.Key.ID); k.SuccessorOf != "" {
		t.Error("the rotation is still pending")
	}
}

// TestARotationEndsWithEitherKey has somebody else delete one of its keys.
func TestARotationEndsWithEitherKey(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	rotate := func(ref ClusterRef) (old, successor cloudapi.DatabaseKey) {
		old = s.createKey(by, ref, s.newKey(by, ActKeyCreate, "data science")).Key
		never := ""
		made, err := s.svc.RotateKey(t.Context(), by, ref, old.ID, Rotation{Name: old.Name, ExpiresInDays: &never, FormToken: s.token(by, ActKeyRotate)})
		if err != nil {
			t.Fatal(err)
		}
		return old, made.Key
	}
	ref := s.keyed(account, "old-key-goes")
	old, successor := rotate(ref)
	s.elsewhere(account, map[string]any{"act": "delete_key", "cluster": ref.ClusterID, "key": old.ID}, nil)
	if k := rowOf(t, s.keys(by, ref), successor.ID); k.SuccessorOf != "" || !k.Offers["key.rotate"].Offered {
		t.Errorf("with the old key gone: %+v", k)
	}
	ref = s.keyed(account, "successor-goes")
	old, successor = rotate(ref)
	s.elsewhere(account, map[string]any{"act": "delete_key", "cluster": ref.ClusterID, "key": successor.ID}, nil)
	if k := rowOf(t, s.keys(by, ref), old.ID); k.Successor != "" || !k.Offers["key.rotate"].Offered {
		t.Errorf("with the successor gone: %+v", k)
	}
	// A key that goes in the moment between the list and the making has no successor made.
	s.ask(http.MethodPost, "outside", map[string]any{"act": "delete_key", "account": account.CloudAccountID, "cluster": ref.ClusterID, "key": old.ID}, nil)
	days := "5"
	_, err := s.svc.RotateKey(t.Context(), by, ref, old.ID, Rotation{Name: old.Name, ExpiresInDays: &days, FormToken: s.token(by, ActKeyRotate)})
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Reason != goneMeanwhile {
		t.Errorf("rotating what is gone: %v", err)
	}
}

func TestKeysAreForThoseWhoMay(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.keyed(account, "with-keys")
	operator := s.signedIn("operators")
	key := s.createKey(operator, ref, s.newKey(operator, ActKeyCreate, "not yours")).Key
	calls, _ := s.calls()
	viewer, stranger := member("viewers"), member("sales")
	n := NewKey{Name: "a viewer's"}
	acts := map[string]struct {
		missing string
		do      func(audit.Actor, ClusterRef) error
	}{
		"key.create": {"write:api_keys", func(by audit.Actor, ref ClusterRef) error {
			_, err := s.svc.CreateKey(t.Context(), by, ref, n)
			return err
		}},
		"key.create page": {"write:api_keys", func(by audit.Actor, ref ClusterRef) error {
			_, err := s.svc.AskNewKey(t.Context(), by, ref)
			return err
		}},
		"key.rotate": {"write:api_keys and delete:api_keys", func(by audit.Actor, ref ClusterRef) error {
			_, err := s.svc.RotateKey(t.Context(), by, ref, key.ID, Rotation{})
			return err
		}},
		"key.delete": {"delete:api_keys", func(by audit.Actor, ref ClusterRef) error {
			return s.svc.DeleteKey(t.Context(), by, ref, key.ID, key.Postfix)
		}},
		"key.delete page": {"delete:api_keys", func(by audit.Actor, ref ClusterRef) error {
			_, err := s.svc.AskKeyDelete(t.Context(), by, ref, key.ID)
			return err
		}},
		"admin_key.update": {"write:api_keys", func(by audit.Actor, ref ClusterRef) error {
			return s.svc.UpdateAdminKey(t.Context(), by, ref, key.ID, nil)
		}},
	}
	for act, tt := range acts {
		err := tt.do(viewer, ref)
		if refused, ok := errors.AsType[*ForbiddenError](err); !ok || refused.Missing != tt.missing {
			t.Errorf("%s as a viewer: %v", act, err)
		}
		for _, hidden := range []ClusterRef{ref, {AccountID: ref.AccountID, ClusterID: uuid.NewString()}} {
			if err := tt.do(stranger, hidden); err != ErrNotFound { //nolint:errorlint // byte for byte the same for what exists and what does not
				t.Errorf("%s as a stranger: %v", act, err)
			}
		}
	}
	if _, err := s.svc.Keys(t.Context(), stranger, ref); err != ErrNotFound { //nolint:errorlint // as above
		t.Errorf("the list as a stranger: %v", err)
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("refusals caused %d upstream calls", after-calls)
	}
	denied := map[string]int{}
	for _, e := range s.events() {
		if e.Outcome == audit.Denied && e.Actor.Subject == viewer.Subject {
			denied[e.Act]++
			if e.Target.Kind != KindCluster || e.Target.ID != ref.ClusterID {
				t.Errorf("the refusal of %s names %+v", e.Act, e.Target)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"key.create": 1, "key.rotate": 1, "key.delete": 1, "admin_key.update": 1}, denied); diff != "" {
		t.Errorf("refusals on record (-want +got)\n%s", diff)
	}
}

func TestNoKeyIsTouchedWhenTheEventCannotBeWritten(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	legacy := s.register(s.legacy(), "Old")
	ref, by := s.keyed(account, "with-keys"), s.signedIn("operators")
	old := s.inPhase(legacy.ID, cloudapi.PhaseHealthy)
	key := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "stays")).Key
	admin := s.createKey(by, old, NewKey{Clusters: []string{old.ClusterID}, FormToken: s.token(by, ActAdminKeyCreate)}).Key
	create, create2, rotate := s.newKey(by, ActKeyCreate, "is not made"), s.token(by, ActAdminKeyCreate), s.token(by, ActKeyRotate)
	s.keys(by, ref)
	s.keys(by, old)
	_, changing := s.calls()
	events := len(s.events())
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	days := "9"
	for act, do := range map[string]func(context.Context) error{
		"key.create": func(ctx context.Context) error { _, err := s.svc.CreateKey(ctx, by, ref, create); return err },
		"admin_key.create": func(ctx context.Context) error {
			_, err := s.svc.CreateKey(ctx, by, old, NewKey{Clusters: []string{old.ClusterID}, FormToken: create2})
			return err
		},
		"key.rotate": func(ctx context.Context) error {
			_, err := s.svc.RotateKey(ctx, by, ref, key.ID, Rotation{Name: key.Name, ExpiresInDays: &days, FormToken: rotate})
			return err
		},
		"key.delete":       func(ctx context.Context) error { return s.svc.DeleteKey(ctx, by, ref, key.ID, key.Postfix) },
		"admin_key.delete": func(ctx context.Context) error { return s.svc.DeleteKey(ctx, by, old, admin.ID, admin.Prefix) },
		"admin_key.update": func(ctx context.Context) error { return s.svc.UpdateAdminKey(ctx, by, old, admin.ID, admin.Clusters) },
	} {
		if err := do(t.Context()); !errors.Is(err, ErrAuditUnavailable) {
			t.Errorf("%s: %v, want ErrAuditUnavailable", act, err)
		}
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	if _, after := s.calls(); after != changing {
		t.Errorf("%d changing calls were made", after-changing)
	}
	if after := len(s.events()); after != events {
		t.Errorf("%d events were written", after-events)
	}
	if made := s.createKey(by, ref, create); made.Again {
		t.Error("the form was used up although nothing was made")
	}
}

func TestAdminKeysOfPAV1(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	by := s.signedIn("operators")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	form, err := s.svc.AskNewKey(t.Context(), by, ref)
	if err != nil || !form.Admin() || len(form.Choices) < 2 || form.Choices[0].ID != ref.ClusterID || !form.Choices[0].Here {
		t.Fatalf("form %+v, %v", form, err)
	}
	calls, _ := s.calls()
	for name, clusters := range map[string][]string{"none": nil, "another only": {form.Choices[1].ID}, "one that does not exist": {ref.ClusterID, uuid.NewString()}} {
		_, err := s.svc.CreateKey(t.Context(), by, ref, NewKey{Clusters: clusters, FormToken: form.FormToken})
		if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Fields["clusters"] == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, _ := s.calls(); after != calls {
		t.Error("upstream was asked for what breaks a rule")
	}
	several := []string{form.Choices[1].ID, ref.ClusterID, ref.ClusterID}
	made := s.createKey(by, ref, NewKey{Clusters: several, FormToken: form.FormToken})
	secret := string(made.Secret.Reveal())
	sorted := sortedOnce([]string{form.Choices[1].ID, ref.ClusterID})
	ids := []any{sorted[0], sorted[1]}
	if !made.Key.Admin || len(made.Key.Clusters) != 2 || !strings.HasPrefix(secret, made.Key.Prefix) || strings.Contains(s.dump(), secret) {
		t.Errorf("made %+v", made.Key)
	}
	attempt := audit.Event{
		Act: "admin_key.create", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Old"},
		Target: audit.Target{Kind: "admin_key"}, Upstream: audit.Upstream{RPC: cloudapi.OpPACreateAPIKey.RPC, KeyID: account.Key.ID.String()},
		Change: audit.Change{"cluster_id": {nil, ref.ClusterID}, "cluster_ids": {nil, ids}},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, http.StatusOK
	outcome.Target.ID, outcome.Target.Name = made.Key.ID, made.Key.Prefix+"…"
	outcome.Change = audit.Change{"cluster_id": {nil, ref.ClusterID}, "cluster_ids": {nil, ids}, "prefix": {nil, made.Key.Prefix}}
	wantOperation(t, s.eventsOf(ActAdminKeyCreate), attempt, outcome)
	if k := rowOf(t, s.keys(by, ref), made.Key.ID); k.Creator != "Name of operators" || len(k.Opens) != 2 || !k.Offers["admin_key.update"].Offered {
		t.Errorf("listed as %+v", k)
	}

	if err := s.svc.UpdateAdminKey(t.Context(), by, ref, made.Key.ID, several); err != nil {
		t.Fatalf("sending the clusters as they are: %v", err)
	}
	attempt.Act, attempt.Target, attempt.Upstream.RPC = "admin_key.update", outcome.Target, cloudapi.OpPAUpdateAPIKey.RPC
	attempt.Change = audit.Change{"cluster_ids": {ids, ids}}
	updated := attempt
	updated.Phase, updated.Outcome, updated.Upstream.Status = audit.PhaseOutcome, audit.OK, http.StatusOK
	wantOperation(t, s.eventsOf(ActAdminKeyUpdate), attempt, updated)
	err = s.svc.UpdateAdminKey(t.Context(), by, ref, made.Key.ID, []string{ref.ClusterID})
	if e, ok := cloudapi.AsError(err); !ok || e.Kind != cloudapi.Invalid {
		t.Errorf("sending other clusters: %v", err)
	}

	if err := s.svc.DeleteKey(t.Context(), by, ref, made.Key.ID, made.Key.Prefix); err != nil {
		t.Fatal(err)
	}
	attempt.Act, attempt.Upstream.RPC, attempt.Change = "admin_key.delete", cloudapi.OpPADeleteAPIKey.RPC, audit.Change{"cluster_ids": {ids, nil}, "prefix": {made.Key.Prefix, nil}}
	deleted := attempt
	deleted.Phase, deleted.Outcome, deleted.Upstream.Status = audit.PhaseOutcome, audit.OK, http.StatusNoContent
	wantOperation(t, s.eventsOf(ActAdminKeyDelete), attempt, deleted)

	_, err = s.svc.RotateKey(t.Context(), by, ref, made.Key.ID, Rotation{})
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Reason != noNamedKeys {
		t.Errorf("rotating in pa/v1: %v", err)
	}
}

func TestAnAdminKeyOfTheCurrentAPICanBeDeleted(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	list := s.adminKeyed(account)
	ref, by := ClusterRef{AccountID: account.ID, ClusterID: list.Cluster.ID}, s.signedIn("operators")
	for _, k := range list.Keys {
		if !k.Admin {
			continue
		}
		_, err := s.svc.AskRotation(t.Context(), by, ref, k.ID)
		if _, ok := errors.AsType[*ConflictError](err); !ok {
			t.Errorf("rotating an admin key: %v", err)
		}
		if err := s.svc.DeleteKey(t.Context(), by, ref, k.ID, k.Prefix); err != nil {
			t.Errorf("deleting an admin key: %v", err)
		}
	}
	for _, k := range s.keys(by, ref).Keys {
		if k.Admin {
			t.Errorf("still listed: %+v", k)
		}
	}
	if n := len(s.eventsOf(ActAdminKeyDelete)); n < 2 {
		t.Errorf("%d events", n)
	}
}

// TestAnAdminKeyNeedsTheRightOnEachCluster: whoever may act on one cluster must not reach another
// through a key that opens both.
func TestAnAdminKeyNeedsTheRightOnEachCluster(t *testing.T) {
	account := uuid.New()
	on := func(id string) target { return target{Account: accountRef{ID: account}, Kind: KindCluster, ID: id} }
	rights := access.NewRights(
		access.Grant{Role: access.Operator(), Scope: access.Scope{Clusters: []access.ClusterRef{{AccountID: account, ClusterID: "mine"}, {AccountID: account, ClusterID: "ours"}}}},
		access.Grant{Role: access.Viewer(), Scope: access.Scope{Clusters: []access.ClusterRef{{AccountID: account, ClusterID: "seen"}}}},
	)
	for name, tt := range map[string]struct {
		opened []target
		want   string
	}{
		"its own":            {[]target{on("mine"), on("ours")}, ""},
		"one only seen":      {[]target{on("mine"), on("seen")}, "delete:api_keys on every cluster that the key opens"},
		"one that is hidden": {[]target{on("hidden"), on("mine")}, "delete:api_keys on every cluster that the key opens"},
	} {
		if got := missingOnAny(rights, ActAdminKeyDelete, tt.opened); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	var may []string
	for _, c := range mayOn(rights, ActAdminKeyCreate, []target{on("mine"), on("seen"), on("hidden"), on("ours")}) {
		may = append(may, c.ID)
	}
	if diff := cmp.Diff([]string{"mine", "ours"}, may); diff != "" {
		t.Errorf("a key may be made for (-want +got)\n%s", diff)
	}
}

func TestSuccessorsAreMadeOfWhatIsUnderstood(t *testing.T) {
	for name, tt := range map[string]struct {
		access cloudapi.KeyAccess
		want   bool
	}{
		"manage":                 {cloudapi.KeyAccess{Global: cloudapi.AccessManage}, true},
		"read":                   {cloudapi.KeyAccess{Global: cloudapi.AccessReadOnly}, true},
		"a collection":           {cloudapi.KeyAccess{Collections: []cloudapi.CollectionAccess{{Collection: "a", Access: cloudapi.AccessReadWrite}}}, true},
		"nothing":                {cloudapi.KeyAccess{}, false},
		"both":                   {cloudapi.KeyAccess{Global: cloudapi.AccessReadOnly, Collections: []cloudapi.CollectionAccess{{Collection: "a", Access: cloudapi.AccessReadOnly}}}, false},
		"a rule of another kind": {cloudapi.KeyAccess{Global: cloudapi.AccessManage, Unreadable: true}, false},
		"another word":           {cloudapi.KeyAccess{Global: "METRICS_READ_ONLY"}, false},
		"an odd collection":      {cloudapi.KeyAccess{Collections: []cloudapi.CollectionAccess{{Collection: "a b", Access: cloudapi.AccessReadOnly}}}, false},
	} {
		if got := repeatable(tt.access); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
