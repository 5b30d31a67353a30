package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// historyOf is the whole history of a cluster, page after page.
func (s *stage) historyOf(by audit.Actor, ref ClusterRef) (entries []HistoryEntry) {
	s.t.Helper()
	for after := ""; ; {
		h, err := s.svc.ClusterHistory(s.t.Context(), by, ref, after)
		if err != nil {
			s.t.Fatal(err)
		}
		entries = append(entries, h.Entries...)
		if after = h.Next; after == "" {
			return entries
		}
	}
}

func historyActs(entries []HistoryEntry) (acts []string) {
	for _, e := range entries {
		acts = append(acts, e.Act+" "+e.Status)
	}
	return acts
}

// TestHistoryTellsWhatWasDone: acts on the cluster and its keys with who, what and when, the newest first, failed ones
// too; no refusals, nothing of other clusters, and not from where or in which session.
func TestHistoryTellsWhatWasDone(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref, other := s.keyed(account, "with-keys"), s.inPhase(account.ID, cloudapi.PhaseSuspended)
	by := s.signedIn("operators")
	by.EmailVerified = true
	key := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "ingest")).Key
	if err := s.svc.DeleteKey(t.Context(), by, ref, key.ID, key.Postfix); err != nil {
		t.Fatal(err)
	}
	s.fault(map[string]any{"operation": "RestartCluster", "kind": "status", "status": 400, "times": 1})
	if err := s.svc.RestartCluster(t.Context(), by, ref); err == nil {
		t.Fatal("the restart was not refused")
	}
	if err := s.svc.UnsuspendCluster(t.Context(), by, other); err != nil {
		t.Fatal(err)
	}
	if err := s.svc.RestartCluster(t.Context(), member("viewers"), ref); !isForbidden(err) {
		t.Fatal(err)
	}
	entries := s.historyOf(member("viewers"), ref)
	if diff := cmp.Diff([]string{"cluster.restart failed", "key.delete ok", "key.create ok", "cluster.changed_outside ok"}, historyActs(entries)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	newest := entries[1]
	if newest.By != by.Name || newest.Email != by.Email || newest.Key != "ingest" || newest.At.IsZero() || newest.Seq != 0 || newest.Change["name"] != [2]any{"ingest", nil} {
		t.Errorf("%+v", newest)
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{by.IP, by.UserAgent, by.Session, by.RequestID} {
		if hidden == "" || strings.Contains(string(text), hidden) {
			t.Errorf("the history tells %q: %s", hidden, text)
		}
	}
	// To a reader of the log each leads to its event.
	for _, e := range s.historyOf(member("auditors"), ref) {
		if d, err := s.svc.LogEvent(t.Context(), member("auditors"), e.Seq); err != nil || d.Act != e.Act {
			t.Errorf("%+v leads to %+v, %v", e, d, err)
		}
	}
}

// TestHistoryIsForWhoMayReadTheCluster: everybody else is told that there is nothing, as for a cluster that does not exist.
func TestHistoryIsForWhoMayReadTheCluster(t *testing.T) {
	s := newLogScopeStage(t)
	absent := ClusterRef{AccountID: s.theirs.ID, ClusterID: uuid.NewString()}
	for name, scope := range s.logScopes() {
		s.grant(scope, access.ReadClusters)
		if entries := s.historyOf(s.scoped, s.myOne); !slices.Contains(historyActs(entries), "cluster.restart ok") {
			t.Errorf("%s: %v", name, historyActs(entries))
		}
		for _, ref := range []ClusterRef{s.theirOne, absent, {AccountID: uuid.New(), ClusterID: s.theirOne.ClusterID}, {AccountID: s.mine.ID, ClusterID: s.theirOne.ClusterID}} {
			if h, err := s.svc.ClusterHistory(t.Context(), s.scoped, ref, ""); err != ErrNotFound || len(h.Entries) != 0 { //nolint:errorlint // byte for byte the same
				t.Errorf("%s: %v: %v", name, ref, err)
			}
		}
	}
	// The whole log is no right to a cluster.
	s.grant(access.Scope{Everything: true}, access.AuditRead)
	if _, err := s.svc.ClusterHistory(t.Context(), s.scoped, s.myOne, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("with audit:read alone: %v", err)
	}
}

// TestHistoryOfAKeyOfSeveralClusters: it is in the history of each, and where a reader may not see a cluster it is counted
// and not named. In the log its event is for those who may see all of them.
func TestHistoryOfAKeyOfSeveralClusters(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	clusters, err := s.svc.clusterTargets(t.Context(), account)
	if err != nil || len(clusters) < 2 {
		t.Fatal(len(clusters), err)
	}
	here, there := ClusterRef{account.ID, clusters[0].ID}, ClusterRef{account.ID, clusters[1].ID}
	by := s.signedIn("operators")
	s.createKey(by, here, NewKey{Clusters: []string{here.ClusterID, there.ClusterID}, FormToken: s.token(by, ActAdminKeyCreate)})
	scoped := member("scoped")
	grant := func(refs ...ClusterRef) {
		scope := access.Scope{}
		for _, r := range refs {
			scope.Clusters = append(scope.Clusters, access.ClusterRef(r))
		}
		s.scopedTo(scoped, scope, access.ReadClusters, access.AuditRead)
	}
	for _, tt := range []struct {
		see  []ClusterRef
		read ClusterRef
		log  int
	}{{[]ClusterRef{here}, here, 0}, {[]ClusterRef{there}, there, 0}, {[]ClusterRef{here, there}, there, 1}} {
		grant(tt.see...)
		entries := s.historyOf(scoped, tt.read)
		if len(entries) != 1 || entries[0].Act != "admin_key.create" {
			t.Fatalf("%v: %+v", tt.see, entries)
		}
		told := fmt.Sprint(entries[0].Change, entries[0].Seq)
		for i, ref := range []ClusterRef{here, there} {
			if seen := slices.Contains(tt.see, ref); strings.Contains(told, ref.ClusterID) && !seen || clusters[i].Name != "" && strings.Contains(told, clusters[i].Name) != seen {
				t.Errorf("%v: cluster %d, to be seen %v: %s", tt.see, i, seen, told)
			}
		}
		if hidden := len(tt.see) == 1; strings.Contains(told, "1 more") != hidden || (entries[0].Seq == 0) != hidden {
			t.Errorf("%v: %s", tt.see, told)
		}
		page, err := s.svc.SearchLog(t.Context(), scoped, audit.Query{Act: "admin_key.create"})
		if err != nil || len(page.Operations) != tt.log {
			t.Errorf("%v: the log tells %d, %v", tt.see, len(page.Operations), err)
		}
	}
}

// TestHistoryPages: a place in one cluster's list is none in another's.
func TestHistoryPages(t *testing.T) {
	s := newLogScopeStage(t)
	var events []audit.Event
	for i := range 2*historyLimit + 10 {
		events = append(events, audit.Event{
			Act: "cluster.restart", Phase: audit.PhaseSingle, Outcome: audit.OK, Reason: fmt.Sprint(i), Account: audit.Ref{ID: s.mine.ID.String()},
			Target: audit.Target{Kind: KindCluster, ID: s.myOne.ClusterID},
		})
	}
	for _, e := range events {
		if err := s.svc.appendEvent(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	by := member("viewers")
	entries := s.historyOf(by, s.myOne)
	if len(entries) < len(events) || entries[0].Reason != fmt.Sprint(len(events)-1) || entries[len(events)-1].Reason != "0" {
		t.Errorf("%d entries", len(entries))
	}
	h, err := s.svc.ClusterHistory(t.Context(), by, s.myOne, "")
	if err != nil || len(h.Entries) != historyLimit {
		t.Fatal(len(h.Entries), err)
	}
	for _, after := range []string{"x", "0", "-1", h.Next + "A", h.Next[1:]} {
		if _, err := s.svc.ClusterHistory(t.Context(), by, s.myOne, after); !errors.Is(err, ErrBadCursor) {
			t.Errorf("%q: %v", after, err)
		}
	}
	if _, err := s.svc.ClusterHistory(t.Context(), by, s.theirOne, h.Next); !errors.Is(err, ErrBadCursor) {
		t.Errorf("another cluster's place: %v", err)
	}
}
