package accounts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"quartermaster/internal/audit"
)

// maxSearches bounds the memory for searches that were recorded. Past it all are forgotten and
// recorded again, which costs a few lines in the log and loses none.
const maxSearches = 10_000

// A search may read the whole log, and each other one is a line more in it. These bounds leave the database to everybody else meanwhile,
// and the log readable.
const (
	searchesAtOnce = 2
	// searchesAMinute is how many different searches a member may make.
	searchesAMinute = 30
	searchWait      = 2 * time.Second  // until another's search has ended
	searchTime      = 15 * time.Second // of one search
	longestSearch   = 200              // bytes of a text to look for: matching takes its length times the log's
)

// searches remembers which searches of each session are on record, and lets a few run at once.
type searches struct {
	mu       sync.Mutex
	recorded map[searchKey]struct{}
	made     map[principal]searchCount
	running  chan struct{}
}

// searchCount is how many searches a member had recorded within a minute.
type searchCount struct {
	since time.Time
	n     int
}

// searchTurn waits for a place among the searches that run. The caller gives it back with done. ErrRateLimited when others' take too long.
func (s *Service) searchTurn(ctx context.Context) (done func(), err error) {
	m := &s.searches
	m.mu.Lock()
	if m.running == nil {
		m.running = make(chan struct{}, searchesAtOnce)
	}
	running := m.running
	m.mu.Unlock()
	waiting, stop := context.WithTimeout(ctx, searchWait)
	defer stop()
	limited := func() error {
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for other searches: %w", ctx.Err())
		}
		return fmt.Errorf("waiting for other searches: %w", ErrRateLimited)
	}
	select {
	case running <- struct{}{}:
	case <-waiting.Done():
		return nil, limited()
	}
	back, err := s.turns.place(waiting)
	if err != nil {
		<-running
		return nil, limited()
	}
	return func() {
		back()
		<-running
	}, nil
}

// admit counts a search that is to be recorded; false when the member has made too many.
func (m *searches) admit(who principal, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, counted := m.made[who]
	if !counted || elapsed(now, c.since, time.Minute) {
		c = searchCount{since: now}
	}
	if c.n++; c.n > searchesAMinute {
		return false
	}
	if m.made == nil || len(m.made) >= maxSearches {
		m.made = map[principal]searchCount{}
	}
	m.made[who] = c
	return true
}

// searchKey is a digest of member, session and query.
type searchKey [sha256.Size]byte

func (m *searches) known(key searchKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.recorded[key]
	return known
}

func (m *searches) remember(key searchKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.recorded == nil || len(m.recorded) >= maxSearches {
		m.recorded = map[searchKey]struct{}{}
	}
	m.recorded[key] = struct{}{}
}

// SearchLog lists operations, newest first. Records audit.search per distinct query and session
// before it answers, once but for searches made at the same moment; paging through the results and the unfiltered list are no searches.
// Who may read a part of the log finds what is in it and nothing else, whatever q.Part says.
// ErrAuditUnavailable when the search cannot be recorded, *InvalidError when a text to look for is
// too long, ErrRateLimited when others' searches take too long or the member makes too many, context.DeadlineExceeded when this
// one does.
func (s *Service) SearchLog(ctx context.Context, by audit.Actor, q audit.Query) (audit.Page, error) {
	part, err := s.logFor(ctx, by, ActAuditRead)
	if err != nil {
		return audit.Page{}, err
	}
	q.Part = part
	if err := checkSearch(q); err != nil {
		return audit.Page{}, err
	}
	if asked := searchChange(q); len(asked) > 0 {
		if err := s.noteSearch(ctx, by, asked); err != nil {
			return audit.Page{}, err
		}
		done, err := s.searchTurn(ctx)
		if err != nil {
			return audit.Page{}, err
		}
		defer done()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, searchTime)
		defer cancel()
	}
	q.UnknownAfter = s.cfg.UnknownAfter
	page, err := s.cfg.Log.List(ctx, q)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return audit.Page{}, fmt.Errorf("searching the log: %w", ctx.Err()) // the database is there, and slow
	}
	if err != nil {
		return audit.Page{}, dbError("searching the log", err)
	}
	return page, nil
}

// noteSearch records a search, once in a session. ErrRateLimited when the member makes too many different ones.
func (s *Service) noteSearch(ctx context.Context, by audit.Actor, asked audit.Change) error {
	key := searchKey(sha256.Sum256(fmt.Appendf(nil, "%q", []string{by.Issuer, by.Subject, by.Session, fmt.Sprint(asked)})))
	if s.searches.known(key) {
		return nil
	}
	if !s.searches.admit(principal{by.Issuer, by.Subject}, s.now()) {
		return fmt.Errorf("recording more than %d searches in a minute: %w", searchesAMinute, ErrRateLimited)
	}
	if err := s.appendEvent(ctx, singleEvent(installation(KindAudit), by, ActAuditSearch, asked)); err != nil {
		return err
	}
	s.searches.remember(key) // not before: the same search at the same moment must not rest on a line that fails
	return nil
}

func checkSearch(q audit.Query) error {
	if max(len(q.Text), len(q.Member)) > longestSearch {
		return &InvalidError{Fields: map[string]string{"": fmt.Sprintf("A text to look for has at most %d characters.", longestSearch)}}
	}
	return nil
}

// searchChange is what was asked, as the log keeps it; empty for the unfiltered list.
func searchChange(q audit.Query) audit.Change {
	asked := audit.Change{}
	for name, value := range map[string]string{
		"q": q.Text, "member": q.Member, "account": q.Account, "act": q.Act, "outcome": q.Outcome,
		"target_kind": q.TargetKind, "target_id": q.TargetID, "from": timeText(q.From), "to": timeText(q.To),
	} {
		if value != "" {
			asked[name] = [2]any{nil, value}
		}
	}
	return asked
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// LogEvent returns one event with the other events of its operation; ErrNotFound when there is none. To a reader of a
// part of the log one outside is none: it is looked for in the same way, and since nobody knows afterwards which
// of both it was, both are recorded as a refusal, without the number.
func (s *Service) LogEvent(ctx context.Context, by audit.Actor, seq int64) (audit.Detail, error) {
	part, err := s.logFor(ctx, by, ActAuditRead)
	if err != nil {
		return audit.Detail{}, err
	}
	detail, err := s.cfg.Log.GetIn(ctx, seq, part)
	if errors.Is(err, audit.ErrNoEvent) {
		if part != nil {
			s.deniedBeside(ctx, by, ActAuditRead, installation(KindAudit), ActAuditRead.Needs.String()+" on an event that was asked for, or there is none")
		}
		return audit.Detail{}, ErrNotFound
	}
	if err != nil {
		return audit.Detail{}, dbError("reading an event", err)
	}
	return detail, nil
}

// LogCheck is what a check of the log found, and what comparing the tables with it did.
type LogCheck struct {
	audit.Report
	Tables StateCheck
}

// VerifyLog checks the whole chain, compares the tables with what the log says, and returns what was found. Records
// audit.verify with the result. ErrAuditUnavailable, with the report, when that cannot be recorded. It reads the whole
// log, so each process does it once at a time: *ConflictError meanwhile.
func (s *Service) VerifyLog(ctx context.Context, by audit.Actor) (LogCheck, error) {
	if err := s.authorize(ctx, by, ActAuditVerify, installation(KindAudit)); err != nil {
		return LogCheck{}, err
	}
	if !s.verifying.TryLock() {
		return LogCheck{}, &ConflictError{Reason: "The log is being checked already. Wait until that check has ended, then ask again."}
	}
	defer s.verifying.Unlock()
	var report LogCheck
	var err error
	if report.Report, err = s.cfg.Log.Verify(ctx, nil); err != nil {
		return LogCheck{}, dbError("verifying the log", err)
	}
	if report.Tables, err = s.checkTables(ctx); err != nil {
		return LogCheck{}, dbError("comparing the tables with the log", err)
	}
	tables := report.Tables.State
	e := singleEvent(installation(KindAudit), by, ActAuditVerify, audit.Change{"events": {nil, report.Events}, "rows": {nil, tables.Rows()}})
	if n := len(tables.Problems) + tables.More; n > 0 {
		e.Outcome, e.Reason = audit.Failed, strconv.Itoa(n)+" rows that the log does not explain; the first is "+tables.Problems[0].Kind+" "+tables.Problems[0].ID+"."
	}
	if n := len(report.Problems); n > 0 {
		e.Outcome, e.Reason = audit.Failed, strings.TrimSpace(strconv.Itoa(n)+" problems; the first is at event "+strconv.FormatInt(report.Problems[0].Seq, 10)+". "+e.Reason)
	}
	if err := s.appendEvent(ctx, e); err != nil {
		return report, err
	}
	return report, nil
}

// AuditWarnings are what the audit page must warn of, e.g. owner credentials in this process.
func (s *Service) AuditWarnings() []string { return append([]string(nil), s.cfg.Warnings...) }
