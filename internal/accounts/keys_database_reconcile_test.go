package accounts

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// TestAKeyWhoseAnswerWasLostIsFound loses the answer of each way to make a key. It is made once, found,
// and listed as a key whose secret nobody saw.
func TestAKeyWhoseAnswerWasLostIsFound(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	by := s.signedIn("operators")
	ref, days := s.keyed(account, "with-keys"), "30"
	old := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "to be rotated")).Key
	ofLegacy := s.inPhase(legacy.ID, cloudapi.PhaseHealthy)
	for _, tt := range []struct {
		act       Act
		operation string
		ref       ClusterRef
		send      func(token string) (MadeKey, error)
	}{
		{ActKeyCreate, "CreateDatabaseApiKeyV2", ref, func(token string) (MadeKey, error) {
			return svc.CreateKey(t.Context(), by, ref, NewKey{Name: "lost key", ExpiresInDays: &days, Access: KeyManages, FormToken: token})
		}},
		{ActKeyRotate, "CreateDatabaseApiKeyV2", ref, func(token string) (MadeKey, error) {
			return svc.RotateKey(t.Context(), by, ref, old.ID, Rotation{Name: "to be rotated", ExpiresInDays: &days, FormToken: token})
		}},
		{ActAdminKeyCreate, "create_api_key", ofLegacy, func(token string) (MadeKey, error) {
			return svc.CreateKey(t.Context(), by, ofLegacy, NewKey{Clusters: []string{ofLegacy.ClusterID}, FormToken: token})
		}},
	} {
		t.Run(tt.act.Name, func(t *testing.T) {
			token := s.token(by, tt.act)
			s.fault(map[string]any{"operation": tt.operation, "kind": "lost_answer", "times": 1})
			_, before := s.calls()
			if _, err := tt.send(token); !mayBeDone(err) {
				t.Fatalf("the answer was not lost: %v", err)
			}
			page, err := svc.Keys(t.Context(), by, tt.ref)
			if err != nil || len(page.Pending) != 1 || page.Pending[0].Act != tt.act.Name {
				t.Errorf("pending %+v, %v", page.Pending, err)
			}
			if again, err := tt.send(token); err != nil || !again.Again || !again.Unsure {
				t.Errorf("sent again before it is known: %+v, %v", again, err)
			}
			events := s.eventsOf(tt.act)
			open := events[len(events)-1]
			got := s.reconciled(svc, open.Operation)
			if len(got) != 2 || got[1].Outcome != audit.OK || !got[1].Inferred || got[1].Reason != "The key exists, and nobody saw its secret." || got[1].Target.ID == "" {
				t.Fatalf("events %+v", got)
			}
			if _, after := s.calls(); after != before+1 {
				t.Errorf("%d changing calls, want one", after-before)
			}
			page, err = svc.Keys(t.Context(), by, tt.ref)
			if err != nil || len(page.Pending) != 0 {
				t.Errorf("afterwards %+v, %v", page.Pending, err)
			}
			k := rowOf(t, page, got[1].Target.ID)
			if !k.NobodySaw || k.Creator != "Name of operators" || tt.act.Name == ActKeyRotate.Name && k.SuccessorOf != old.ID {
				t.Errorf("listed as %+v", k)
			}
			if again, err := tt.send(token); err != nil || !again.Again || again.Unsure {
				t.Errorf("sent again when it is known: %+v, %v", again, err)
			}
			for _, o := range s.eventsOf(tt.act) {
				if o.Operation == open.Operation && o.Phase == audit.PhaseOutcome && o.Change["cluster_id"][1] != tt.ref.ClusterID {
					t.Errorf("the outcome does not say which cluster: %v", o.Change)
				}
			}
		})
	}
}

// attemptKey leaves the attempt to make a key, as a process does that was killed in between.
func (s *stage) attemptKey(by audit.Actor, ref ClusterRef, name string) audit.Event {
	s.t.Helper()
	known, err := s.svc.loadCluster(s.t.Context(), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	e := known.key(KindKey, "", name).event(by, ActKeyCreate)
	e.Phase, e.Operation, e.Change = audit.PhaseAttempt, uuid.New(), askedChange(cloudapi.NewDatabaseKey{Cluster: ref.ClusterID, Name: name})
	if _, err := s.log.Append(s.t.Context(), e); err != nil {
		s.t.Fatal(err)
	}
	return e
}

func TestWhatBecameOfAKeyIsToldFromTheList(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	elsewhere := func(ref ClusterRef, name string) {
		s.elsewhere(account, map[string]any{"act": "create_key", "cluster": ref.ClusterID, "name": name, "days": 3}, nil)
	}
	ref, other := s.keyed(account, "with-keys"), s.keyed(account, "other-cluster")
	for name, tt := range map[string]struct {
		then func(key string)
		want audit.Outcome
	}{
		"none":                        {nil, audit.Failed},
		"one":                         {func(key string) { elsewhere(ref, key) }, audit.OK},
		"two":                         {func(key string) { elsewhere(ref, key); elsewhere(ref, key) }, audit.Unknown},
		"one of another name":         {func(key string) { elsewhere(ref, key+"2") }, audit.Failed},
		"one of another cluster":      {func(key string) { elsewhere(other, key) }, audit.Failed},
		"one that was made here":      {func(key string) { s.createKey(by, ref, s.newKey(by, ActKeyCreate, key)) }, audit.Failed},
		"one and one that we know of": {func(key string) { s.createKey(by, ref, s.newKey(by, ActKeyCreate, key)); elsewhere(ref, key) }, audit.OK},
	} {
		t.Run(name, func(t *testing.T) {
			key := "key " + strings.ReplaceAll(name, " ", "-")
			attempt := s.attemptKey(by, ref, key)
			if tt.then != nil {
				tt.then(key)
			}
			_, changing := s.calls()
			got := s.reconciled(svc, attempt.Operation)
			if len(got) != 2 || got[1].Outcome != tt.want || !got[1].Inferred || got[1].Reason == "" {
				t.Errorf("events %+v, want %s", got, tt.want)
			}
			if _, after := s.calls(); after != changing {
				t.Error("the reconciler changed something upstream")
			}
		})
	}
}

// TestAKeyFromBeforeTheAttemptIsNotIt: an older key of the same name says nothing of a lost answer.
func TestAKeyFromBeforeTheAttemptIsNotIt(t *testing.T) {
	o := audit.OpenOperation{Attempt: audit.Stored{Event: audit.Event{
		Target: audit.Target{Kind: KindKey, Name: "same name"}, Change: audit.Change{"cluster_id": {nil, "c"}},
	}}}
	s := newStage(t)
	o.Attempt.RecordedAt = s.clock.at
	older := cloudapi.DatabaseKey{ID: "k", Name: "same name", Clusters: []string{"c"}, CreatedAt: s.clock.at.Add(-2 * clockSkew)}
	v, err := s.svc.lookForNewKey(t.Context(), ActKeyCreate, o, []cloudapi.DatabaseKey{older})
	if err != nil || v.outcome != audit.Failed {
		t.Errorf("%+v, %v", v, err)
	}
	older.CreatedAt = s.clock.at.Add(-clockSkew / 2)
	if v, err := s.svc.lookForNewKey(t.Context(), ActKeyCreate, o, []cloudapi.DatabaseKey{older}); err != nil || v.outcome != audit.OK || v.id != "k" {
		t.Errorf("within the clocks' difference: %+v, %v", v, err)
	}
}

func TestAFormWhoseKeyWasNotMadeWorksAgain(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	ref := s.keyed(account, "with-keys")
	n := s.newKey(by, ActKeyCreate, "not made at first")
	s.fault(map[string]any{"operation": "CreateDatabaseApiKeyV2", "kind": "close", "times": 1})
	if _, err := svc.CreateKey(t.Context(), by, ref, n); !mayBeDone(err) {
		t.Fatalf("the answer was not lost: %v", err)
	}
	s.ask(http.MethodDelete, "faults", nil, nil)
	if got := s.reconciled(svc, s.eventsOf(ActKeyCreate)[0].Operation); len(got) != 2 || got[1].Outcome != audit.Failed {
		t.Fatalf("events %+v", got)
	}
	if made, err := svc.CreateKey(t.Context(), by, ref, n); err != nil || made.Again || made.Secret.IsZero() {
		t.Errorf("the form again: %+v, %v", made, err)
	}
}

func TestALostDeletionIsToldFromTheList(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	by := s.signedIn("operators")
	ref := s.keyed(account, "with-keys")
	ofLegacy := s.inPhase(legacy.ID, cloudapi.PhaseHealthy)
	for _, tt := range []struct {
		act             Act
		operation, kind string
		want            audit.Outcome
	}{
		{act: ActKeyDelete, operation: "DeleteDatabaseApiKeyV2", kind: "lost_answer", want: audit.OK},
		{act: ActKeyDelete, operation: "DeleteDatabaseApiKeyV2", kind: "close", want: audit.Failed},
		{act: ActAdminKeyDelete, operation: "delete_api_key", kind: "lost_answer", want: audit.OK},
		{act: ActAdminKeyDelete, operation: "delete_api_key", kind: "close", want: audit.Failed},
	} {
		t.Run(tt.act.Name+" "+tt.kind, func(t *testing.T) {
			at, n := ref, s.newKey(by, ActKeyCreate, "to be deleted")
			if tt.act.Name == ActAdminKeyDelete.Name {
				at, n = ofLegacy, NewKey{Clusters: []string{ofLegacy.ClusterID}, FormToken: s.token(by, ActAdminKeyCreate)}
			}
			key := s.createKey(by, at, n).Key
			s.fault(map[string]any{"operation": tt.operation, "kind": tt.kind, "times": 1})
			if err := svc.DeleteKey(t.Context(), by, at, key.ID, KeyMark(key)); !mayBeDone(err) {
				t.Fatalf("the answer was not lost: %v", err)
			}
			s.ask(http.MethodDelete, "faults", nil, nil)
			events := s.eventsOf(tt.act)
			got := s.reconciled(svc, events[len(events)-1].Operation)
			if len(got) != 2 || got[1].Outcome != tt.want || !got[1].Inferred {
				t.Errorf("events %+v, want %s", got, tt.want)
			}
		})
	}
}
