package accounts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/audit"
)

func TestASearchIsRecordedOncePerQueryAndSession(t *testing.T) {
	s := newStage(t)
	by := member("auditors")
	search := func(by audit.Actor, q audit.Query) {
		t.Helper()
		if _, err := s.svc.SearchLog(t.Context(), by, q); err != nil {
			t.Fatal(err)
		}
	}
	search(by, audit.Query{})
	search(by, audit.Query{After: 10, Limit: 5})
	if n := len(s.eventsOf(ActAuditSearch)); n != 0 {
		t.Errorf("the plain list is recorded %d times", n)
	}
	q := audit.Query{Text: "ada", From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	search(by, q)
	search(by, q)
	q.After = 3
	search(by, q)
	got := s.eventsOf(ActAuditSearch)
	if len(got) != 1 {
		t.Fatalf("%d events, want one", len(got))
	}
	want := audit.Event{
		Act: "audit.search", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by, Target: audit.Target{Kind: "audit"},
		Change: audit.Change{"q": {nil, "ada"}, "from": {nil, "2026-11-01T00:00:00Z"}},
	}
	if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	q.Text = "adam"
	search(by, q)
	by.Session = "another"
	search(by, q)
	if n := len(s.eventsOf(ActAuditSearch)); n != 3 {
		t.Errorf("%d events, want three: another query, another session", n)
	}
}

// TestSlowSearchesLeaveTheDatabaseToOthers holds the table that searches read. Each search takes a
// connection, and without a bound a few of them would take all.
func TestSlowSearchesLeaveTheDatabaseToOthers(t *testing.T) {
	s := newStage(t)
	by, q := member("auditors"), audit.Query{Text: "ada"}
	if _, err := s.svc.SearchLog(t.Context(), by, q); err != nil { // on record, so that it needs no further line
		t.Fatal(err)
	}
	owner := s.connect(s.db.OwnerURL)
	if _, err := owner.Exec(t.Context(), `BEGIN; LOCK TABLE audit.events IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	const all = 12
	answers := make(chan error, all)
	ctx, cancel := context.WithTimeout(t.Context(), searchWait+2*time.Second)
	defer cancel()
	for range all {
		go func() {
			_, err := s.svc.SearchLog(ctx, by, q)
			answers <- err
		}()
	}
	for range all - searchesAtOnce {
		if err := <-answers; !errors.Is(err, ErrRateLimited) {
			t.Errorf("a search among many: %v, want ErrRateLimited", err)
		}
		if _, err := s.svc.List(ctx, by); err != nil {
			t.Errorf("listing accounts meanwhile: %v", err)
		}
	}
	for range searchesAtOnce {
		if err := <-answers; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnavailable) {
			t.Errorf("a search that took too long: %v, want DeadlineExceeded alone", err)
		}
	}
	if _, err := owner.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.SearchLog(t.Context(), by, q); err != nil {
		t.Errorf("a search afterwards: %v", err)
	}
}

func TestALongTextIsNotSearchedFor(t *testing.T) {
	s := newStage(t)
	for _, q := range []audit.Query{{Text: strings.Repeat("a", longestSearch+1)}, {Member: strings.Repeat("a", longestSearch+1)}} {
		var refused *InvalidError
		if _, err := s.svc.SearchLog(t.Context(), member("auditors"), q); !errors.As(err, &refused) {
			t.Errorf("%v, want InvalidError", err)
		}
	}
	if n := len(s.eventsOf(ActAuditSearch)); n != 0 {
		t.Errorf("%d searches are on record", n)
	}
}

func TestASearchThatCannotBeRecordedIsNotAnswered(t *testing.T) {
	s := newStage(t)
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	var group sync.WaitGroup
	for range 20 { // none may rest on the line that another is about to fail to write
		group.Go(func() {
			if page, err := s.svc.SearchLog(t.Context(), member("auditors"), audit.Query{Text: "x"}); !errors.Is(err, ErrAuditUnavailable) || len(page.Operations) != 0 {
				t.Errorf("%d operations, %v", len(page.Operations), err)
			}
		})
	}
	group.Wait()
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	if _, err := s.svc.SearchLog(t.Context(), member("auditors"), audit.Query{Text: "x"}); err != nil {
		t.Error(err)
	}
	if n := len(s.eventsOf(ActAuditSearch)); n != 1 {
		t.Errorf("%d events, want one", n)
	}
}

func TestSearchesTakeBoundedMemory(t *testing.T) {
	var m searches
	for i := range 3 * maxSearches {
		m.remember(sha256.Sum256(fmt.Append(nil, i)))
	}
	if len(m.recorded) > maxSearches {
		t.Errorf("%d searches are remembered", len(m.recorded))
	}
}

func TestEventsAreReadAndTheLogIsVerified(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("auditors")
	page, err := s.svc.SearchLog(t.Context(), by, audit.Query{Act: "account.create"})
	if err != nil || len(page.Operations) != 1 || page.Operations[0].Status != "ok" {
		t.Fatalf("%+v, %v", page, err)
	}
	detail, err := s.svc.LogEvent(t.Context(), by, page.Operations[0].Seq)
	if err != nil || detail.Target.ID != account.ID.String() || len(detail.Others) != 1 || detail.Proof != "verified" {
		t.Errorf("%+v, %v", detail, err)
	}
	for _, seq := range []int64{0, -1, 1 << 40} {
		if _, err := s.svc.LogEvent(t.Context(), by, seq); !errors.Is(err, ErrNotFound) {
			t.Errorf("event %d: %v", seq, err)
		}
	}
	report, err := s.svc.VerifyLog(t.Context(), by)
	if err != nil || !report.OK() || report.Events != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	s.svc.verifying.Lock()
	_, err = s.svc.VerifyLog(t.Context(), by)
	if _, busy := errors.AsType[*ConflictError](err); !busy {
		t.Errorf("while another verification runs: %v, want *ConflictError", err)
	}
	s.svc.verifying.Unlock()
	if got := s.eventsOf(ActAuditVerify); len(got) != 1 || got[0].Outcome != audit.OK || got[0].Actor.Subject != by.Subject {
		t.Errorf("events %+v", got)
	}
	for name, call := range map[string]func(audit.Actor) error{
		"search": func(by audit.Actor) error { _, err := s.svc.SearchLog(t.Context(), by, audit.Query{}); return err },
		"event":  func(by audit.Actor) error { _, err := s.svc.LogEvent(t.Context(), by, 1); return err },
		"verify": func(by audit.Actor) error { _, err := s.svc.VerifyLog(t.Context(), by); return err },
	} {
		if _, forbidden := errors.AsType[*ForbiddenError](call(member("operators"))); !forbidden {
			t.Errorf("an operator may %s", name)
		}
	}
}

func TestAStartWithAnotherConfigurationIsRecordedByName(t *testing.T) {
	s := newStage(t)
	config := map[string]string{"QM_BASE_URL": "https://a.example.test", "QM_OIDC_CLIENT_SECRET": "canary-client-secret", "QM_ADDR": ":8080"}
	start := func() int {
		t.Helper()
		if err := s.svc.RecordStart(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		return len(s.eventsOf(ActConfigChanged))
	}
	if n := start(); n != 0 {
		t.Errorf("the first start recorded %d events", n)
	}
	if n := start(); n != 0 {
		t.Errorf("the same configuration recorded %d events", n)
	}
	config = maps.Clone(config)
	config["QM_OIDC_CLIENT_SECRET"], config["QM_KEK"] = "canary-other-secret", "canary-kek"
	delete(config, "QM_ADDR")
	if n := start(); n != 1 {
		t.Fatalf("%d events, want one", n)
	}
	want := audit.Event{
		Act: "config.changed", Phase: audit.PhaseSingle, Outcome: audit.OK, Target: audit.Target{Kind: "config"},
		Actor:  audit.Actor{Issuer: "quartermaster", Subject: "start", Name: "start", Via: audit.ViaJob},
		Change: audit.Change{"QM_OIDC_CLIENT_SECRET": {"[changed]", "[changed]"}, "QM_KEK": {nil, "[changed]"}, "QM_ADDR": {"[changed]", nil}},
	}
	if diff := cmp.Diff(want, s.eventsOf(ActConfigChanged)[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if strings.Contains(s.dump(), "canary-") {
		t.Error("a value was kept")
	}
	if n := start(); n != 1 {
		t.Errorf("%d events after a start without a change", n)
	}

	// When the event cannot be written, the digests are not either, and the next start records it.
	config = maps.Clone(config)
	config["QM_ADDR"] = ":9090"
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	if err := s.svc.RecordStart(context.Background(), config); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("err = %v", err)
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	if n := start(); n != 2 {
		t.Errorf("%d events, want two", n)
	}
}

func TestWarningsAreACopy(t *testing.T) {
	s := New(Config{Warnings: []string{"The owner's credentials are in this process."}})
	s.AuditWarnings()[0] = "x"
	if got := s.AuditWarnings(); !slices.Equal(got, []string{"The owner's credentials are in this process."}) {
		t.Errorf("%v", got)
	}
}
