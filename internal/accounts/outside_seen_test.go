package accounts

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// outsideOf returns the changes that a member is shown.
func (s *stage) outsideOf(by audit.Actor, q OutsideQuery) []OutsideChange {
	s.t.Helper()
	page, err := s.svc.OutsideChanges(s.t.Context(), by, q)
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Changes
}

func TestOutsideAcknowledgedOnce(t *testing.T) {
	s, account := newOutsideStage(t)
	ref := s.made(account, "orders", "mx1", 1)
	s.outside(account, ref, map[string]any{"act": "rename", "name": "orders-2"})
	s.snapshot()
	admin := s.signedIn("admins")
	list := s.outsideOf(admin, OutsideQuery{Open: true})
	if len(list) != 2 || list[0].Change["name"] != [2]any{"orders", "orders-2"} || list[0].Acknowledged != nil {
		t.Fatalf("list %+v", list)
	}
	seq := list[0].Seq
	for _, note := range []string{"", " \r\n\t ", strings.Repeat("x", maxAcknowledgement+1), "a\x00b", "a\u202eb"} {
		_, err := s.svc.AcknowledgeOutside(t.Context(), admin, seq, note)
		if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Fields["note"] == "" {
			t.Errorf("note %.20q: %v", note, err)
		}
	}

	// Many post at once, on three replicas. One of them counts.
	replicas := []*Service{s.svc, s.replica(nil), s.replica(nil)}
	var recorded atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			done, err := replicas[i%3].AcknowledgeOutside(t.Context(), admin, seq, fmt.Sprintf(" The migration\r\nof %d ", i))
			if err != nil {
				t.Error(err)
			}
			if done {
				recorded.Add(1)
			}
		})
	}
	all.Wait()
	events := s.eventsOf(ActClusterAcknowledge)
	if recorded.Load() != 1 || len(events) != 1 {
		t.Fatalf("%d recorded, %d events", recorded.Load(), len(events))
	}
	e := events[0]
	note, _ := e.Change["note"][1].(string)
	if e.Parent != list[0].ID || e.Phase != audit.PhaseSingle || e.Outcome != audit.OK || e.Actor.Subject != admin.Subject || e.Target != list[0].Target ||
		e.Account != list[0].Account || !strings.HasPrefix(note, `The migration\u000aof `) && !strings.HasPrefix(note, "The migration\nof ") {
		t.Errorf("event %+v", e)
	}
	if open := s.outsideOf(admin, OutsideQuery{Open: true}); len(open) != 1 || open[0].Seq == seq {
		t.Errorf("open are %+v", open)
	}
	all2 := s.outsideOf(s.signedIn("auditors"), OutsideQuery{})
	if len(all2) != 2 || all2[0].Acknowledged == nil || all2[0].Acknowledged.By != admin.Name || all2[0].Acknowledged.Seq == 0 {
		t.Errorf("the list does not tell who acknowledged it: %+v", all2)
	}

	// Nothing is acknowledged that cannot be recorded.
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	if done, err := s.svc.AcknowledgeOutside(t.Context(), admin, list[1].Seq, "x"); done || !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("without the log: %v, %v", done, err)
	}
}

// TestOutsideWhoMayLookAndAcknowledge: the log's scope shows a change, and the right to change the cluster acknowledges it.
func TestOutsideWhoMayLookAndAcknowledge(t *testing.T) {
	s, account := newOutsideStage(t)
	mine, other := s.made(account, "mine", "mx1", 1), s.made(account, "other", "mx1", 1)
	seqs := map[string]int64{}
	for _, c := range s.outsideOf(s.signedIn("admins"), OutsideQuery{}) {
		seqs[c.Target.ID] = c.Seq
	}
	by := member("nobody")
	by.Subject = "scoped"
	scope := access.Scope{Clusters: []access.ClusterRef{{AccountID: account.ID, ClusterID: mine.ClusterID}}}
	s.scopedTo(by, scope, access.AuditRead, access.ReadClusters)
	if list := s.outsideOf(by, OutsideQuery{}); len(list) != 1 || list[0].Target.ID != mine.ClusterID {
		t.Errorf("who may read one cluster's log sees %+v", list)
	}
	_, hidden := s.svc.OutsideChange(t.Context(), by, seqs[other.ClusterID])
	_, absent := s.svc.OutsideChange(t.Context(), by, 1<<40)
	if hidden != ErrNotFound || absent != ErrNotFound { //nolint:errorlint // byte for byte the same
		t.Errorf("another's change: %v; none: %v", hidden, absent)
	}
	if _, err := s.svc.AcknowledgeOutside(t.Context(), by, seqs[other.ClusterID], "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("acknowledging another's: %v", err)
	}
	c, err := s.svc.OutsideChange(t.Context(), by, seqs[mine.ClusterID])
	if err != nil || c.Acknowledge.Offered || !strings.Contains(c.Acknowledge.Reason, access.WriteClusters) {
		t.Errorf("%+v, %v", c.Acknowledge, err)
	}
	if _, err := s.svc.AcknowledgeOutside(t.Context(), by, seqs[mine.ClusterID], "x"); !isForbidden(err) {
		t.Errorf("without the right to change it: %v", err)
	}
	if got := s.deniedFor(ActClusterAcknowledge, 1); len(got) == 0 {
		t.Error("the refusal is not recorded")
	}
	s.scopedTo(by, scope, access.AuditRead, access.ReadClusters, access.WriteClusters)
	if done, err := s.svc.AcknowledgeOutside(t.Context(), by, seqs[mine.ClusterID], "x"); err != nil || !done {
		t.Errorf("with it: %v, %v", done, err)
	}

	// Other events of the log are no changes made outside, whoever asks.
	for seq := range s.events() {
		e, err := s.svc.OutsideChange(t.Context(), member("admins"), int64(seq+1))
		if err == nil && e.Act != ActClusterChangedOutside.Name {
			t.Errorf("event %d is shown as a change made outside: %+v", seq+1, e)
		}
	}
	for _, viewer := range []audit.Actor{member("viewers"), member("strangers")} {
		if _, err := s.svc.OutsideChanges(t.Context(), viewer, OutsideQuery{}); !isForbidden(err) {
			t.Errorf("%s: %v", viewer.Name, err)
		}
	}
}

// TestOutsideNarrowedToAnAccountIsASearch, and is recorded once in a session.
func TestOutsideNarrowedToAnAccountIsASearch(t *testing.T) {
	s, account := newOutsideStage(t)
	s.made(account, "orders", "mx1", 1)
	by := s.signedIn("auditors")
	before := len(s.eventsOf(ActAuditSearch))
	s.outsideOf(by, OutsideQuery{})
	s.outsideOf(by, OutsideQuery{Open: true})
	if n := len(s.eventsOf(ActAuditSearch)) - before; n != 0 {
		t.Errorf("the list is recorded as %d searches", n)
	}
	for range 2 {
		if list := s.outsideOf(by, OutsideQuery{Account: account.ID.String()}); len(list) != 1 {
			t.Errorf("list %+v", list)
		}
	}
	for _, none := range []string{"x", "%", uuid.NewString(), strings.Repeat("x", 4000)} { // what is no id at all is not looked for
		if list := s.outsideOf(by, OutsideQuery{Account: none}); len(list) != 0 {
			t.Errorf("of account %.20s, which does not exist: %+v", none, list)
		}
	}
	if list := s.outsideOf(by, OutsideQuery{Account: "{" + strings.ToUpper(account.ID.String()) + "}"}); len(list) != 1 {
		t.Errorf("list %+v", list)
	}
	if n := len(s.eventsOf(ActAuditSearch)) - before; n != 2 {
		t.Errorf("%d searches are recorded, want one for each account", n)
	}
}
