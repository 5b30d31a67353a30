package accounts

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/audit"
)

func TestAnExportIsRecordedWithWhatWasAsked(t *testing.T) {
	s := newStage(t)
	by := member("auditors")
	s.register(s.current(), "Search")
	q := audit.Query{
		Text: "search", Member: "admins", Act: "account.create", Outcome: "ok",
		From: time.Now().Add(-time.Hour).Truncate(time.Second).UTC(), To: time.Now().Add(time.Hour).Truncate(time.Second).UTC(), After: 1,
	}
	var out bytes.Buffer
	if err := s.svc.ExportLog(t.Context(), by, q, audit.NDJSON, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var first struct {
		Status string
		Body   struct{ Act string }
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 2 || first.Status != "ok" || first.Body.Act != "account.create" {
		t.Errorf("%v, %d lines: %s", err, len(lines), out.String())
	}
	want := audit.Event{
		Act: "audit.export", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by, Target: audit.Target{Kind: "audit"},
		Change: audit.Change{
			"format": {nil, "ndjson"}, "q": {nil, "search"}, "member": {nil, "admins"}, "act": {nil, "account.create"}, "outcome": {nil, "ok"},
			"from": {nil, q.From.Format(time.RFC3339)}, "to": {nil, q.To.Format(time.RFC3339)},
		},
	}
	got := s.eventsOf(ActAuditExport)
	if len(got) != 1 {
		t.Fatalf("%d events, want one", len(got))
	}
	if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(s.eventsOf(ActAuditSearch)); n != 0 {
		t.Errorf("the export left %d searches besides", n)
	}
	// Unlike a search, each export is an event of its own, and one that lists itself.
	out.Reset()
	if err := s.svc.ExportLog(t.Context(), by, audit.Query{Act: "audit.export"}, audit.CSV, &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\r\n"); n != 3 {
		t.Errorf("%d lines, want the columns, both exports:\n%s", n, out.String())
	}
}

func TestAnExportThatCannotBeRecordedSendsNothing(t *testing.T) {
	s := newStage(t)
	s.register(s.current(), "Search")
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	var out bytes.Buffer
	if err := s.svc.ExportLog(t.Context(), member("auditors"), audit.Query{}, audit.CSV, &out); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("err = %v, want ErrAuditUnavailable", err)
	}
	if out.Len() != 0 {
		t.Errorf("%d bytes were sent:\n%s", out.Len(), out.String())
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	if err := s.svc.ExportLog(t.Context(), member("auditors"), audit.Query{}, audit.CSV, &out); err != nil || out.Len() == 0 {
		t.Errorf("afterwards: %d bytes, %v", out.Len(), err)
	}
}

func TestWhoMayExport(t *testing.T) {
	s := newStage(t)
	for _, group := range []string{"viewers", "operators", "strangers"} {
		by := member(group)
		var out bytes.Buffer
		err := s.svc.ExportLog(t.Context(), by, audit.Query{}, audit.CSV, &out)
		if refused, ok := errors.AsType[*ForbiddenError](err); !ok || refused.Missing != "audit:export" || out.Len() != 0 {
			t.Errorf("%s: %v with %d bytes", group, err, out.Len())
		}
		if _, err := s.svc.AskExport(t.Context(), by); err == nil {
			t.Errorf("%s may ask for an export", group)
		}
		if offer := s.svc.exportReach(by); offer.Offered || offer.Reason != "You need audit:export here." {
			t.Errorf("%s is offered %+v", group, offer)
		}
	}
	got := s.eventsOf(ActAuditExport)
	if len(got) != 3 {
		t.Fatalf("%d events, want one a member", len(got))
	}
	want := audit.Event{
		Act: "audit.export", Phase: audit.PhaseSingle, Outcome: audit.Denied, Reason: "needs audit:export", Count: 1,
		Actor: member("viewers"), Target: audit.Target{Kind: "audit"},
	}
	if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, group := range []string{"auditors", "admins"} {
		if whole, err := s.svc.AskExport(t.Context(), member(group)); err != nil || !whole {
			t.Errorf("%s: whole %v, %v", group, whole, err)
		}
		if offer := s.svc.exportReach(member(group)); !offer.Offered || offer.Reason != "" {
			t.Errorf("%s is offered %+v", group, offer)
		}
	}
}

func TestAnExportThatMakesNoSenseIsNotRecorded(t *testing.T) {
	s := newStage(t)
	for name, ask := range map[string]struct {
		q audit.Query
		f audit.Format
	}{
		"a long text":   {audit.Query{Text: strings.Repeat("a", longestSearch+1)}, audit.CSV},
		"a long member": {audit.Query{Member: strings.Repeat("a", longestSearch+1)}, audit.CSV},
		"no format":     {audit.Query{}, ""},
		"another one":   {audit.Query{}, "xlsx"},
	} {
		var out bytes.Buffer
		if err := s.svc.ExportLog(t.Context(), member("auditors"), ask.q, ask.f, &out); out.Len() != 0 || !isInvalid(err) {
			t.Errorf("%s: %v with %d bytes, want *InvalidError", name, err, out.Len())
		}
	}
	if n := len(s.eventsOf(ActAuditExport)); n != 0 {
		t.Errorf("%d exports are on record", n)
	}
}

func isInvalid(err error) bool {
	_, ok := errors.AsType[*InvalidError](err)
	return ok
}

// heldWriter lets nothing through until it is released.
type heldWriter struct{ entered, release chan struct{} }

func (w *heldWriter) Write(p []byte) (int, error) {
	select {
	case w.entered <- struct{}{}:
	default:
	}
	<-w.release
	return len(p), nil
}

// TestFewExportsAtOnce has readers that stopped: who comes later is told to wait, nothing is recorded
// for them, and everybody else has their connections.
func TestFewExportsAtOnce(t *testing.T) {
	s := newStage(t)
	by := member("auditors")
	held := &heldWriter{entered: make(chan struct{}, exportsAtOnce), release: make(chan struct{})}
	ended := make(chan error, exportsAtOnce)
	for range exportsAtOnce {
		go func() { ended <- s.svc.ExportLog(t.Context(), by, audit.Query{}, audit.CSV, held) }()
	}
	for range exportsAtOnce {
		<-held.entered
	}
	var out bytes.Buffer
	if err := s.svc.ExportLog(t.Context(), by, audit.Query{}, audit.CSV, &out); !errors.Is(err, ErrRateLimited) || out.Len() != 0 {
		t.Errorf("one more export: %v, want ErrRateLimited", err)
	}
	if n := len(s.eventsOf(ActAuditExport)); n != exportsAtOnce {
		t.Errorf("%d events, want %d", n, exportsAtOnce)
	}
	if n := s.db.Pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("the exports hold %d connections of the pool", n)
	}
	close(held.release)
	for range exportsAtOnce {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := s.svc.ExportLog(t.Context(), by, audit.Query{}, audit.CSV, &out); err != nil {
		t.Errorf("an export afterwards: %v", err)
	}
}

// brokenWriter is a connection whose client has gone.
type brokenWriter struct{}

var errGone = errors.New("gone")

func (brokenWriter) Write([]byte) (int, error) { return 0, errGone }

func TestAReaderWhoLeavesIsNotTheDatabasesFault(t *testing.T) {
	s := newStage(t)
	if err := s.svc.ExportLog(t.Context(), member("auditors"), audit.Query{}, audit.CSV, brokenWriter{}); !errors.Is(err, errGone) || errors.Is(err, ErrUnavailable) {
		t.Errorf("err = %v", err)
	}
	if n := len(s.eventsOf(ActAuditExport)); n != 1 {
		t.Errorf("%d events, want one: it was on its way", n)
	}
}
