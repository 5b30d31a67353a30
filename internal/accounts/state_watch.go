package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// A comparison of the tables with the log is due at a time; whether one is, is asked once a stateWake. Where the last
// one found something, the next comes after stateAgain, so that what was put right does not stay on every page.
const (
	defaultStateAfter = time.Minute
	defaultStateEvery = 24 * time.Hour
	stateWake         = time.Minute
	stateAgain        = 10 * time.Minute
	stateLock         = 0x716d5374617465 // "qmState", of the advisory lock
)

// withheld is what rows say and the log takes back: they count for nothing although their codes are right, because
// an event ended, narrowed, removed or blocked what they say. The version of a row goes with it, so that the next row
// that the console writes counts; 0 is no row.
type withheld struct {
	grants   map[uuid.UUID]bool
	roles    map[string]int
	blocked  map[principal]int
	accounts map[uuid.UUID]int // the version is that of its standing
}

func (w *withheld) grant(id uuid.UUID) bool { return w != nil && w.grants[id] }

func (w *withheld) role(id string, version int) bool {
	if w == nil {
		return false
	}
	at, held := w.roles[id]
	return held && at == version
}

func (w *withheld) block(who principal, version int) bool {
	if w == nil {
		return false
	}
	at, held := w.blocked[who]
	return held && at == version
}

func (w *withheld) account(id uuid.UUID, version int) bool {
	if w == nil {
		return false
	}
	at, held := w.accounts[id]
	return held && at == version
}

func nothingHeld() *withheld {
	return &withheld{grants: map[uuid.UUID]bool{}, roles: map[string]int{}, blocked: map[principal]int{}, accounts: map[uuid.UUID]int{}}
}

// heldRow is a row that is withheld, as the event tells that found it.
type heldRow struct {
	version         int
	issuer, subject string // of a member
}

const changeHeld, changeSubject = "withheld_version", "subject"

func (h heldRow) into(change audit.Change) {
	change[changeHeld] = [2]any{nil, h.version}
	if h.subject != "" {
		change[changeIssuer], change[changeSubject] = [2]any{nil, h.issuer}, [2]any{nil, h.subject}
	}
}

// read adds what an event says that found a row.
func (w *withheld) read(e audit.Stored) {
	said := values{}.after(e.Change)
	if _, held := e.Change[changeHeld]; !held {
		return
	}
	switch said.text("kind") {
	case KindGrant:
		if id, err := uuid.Parse(e.Target.ID); err == nil {
			w.grants[id] = true
		}
	case KindRole:
		w.roles[e.Target.ID] = said.number(changeHeld)
	case KindAccount:
		if id, err := uuid.Parse(e.Target.ID); err == nil {
			w.accounts[id] = said.number(changeHeld)
		}
	case KindMember:
		w.blocked[principal{said.text(changeIssuer), said.text(changeSubject)}] = said.number(changeHeld)
	}
}

// join adds what another comparison withheld.
func (w *withheld) join(other *withheld) {
	if other == nil {
		return
	}
	for id := range other.grants {
		w.grants[id] = true
	}
	for id, version := range other.roles {
		if _, held := w.roles[id]; !held {
			w.roles[id] = version
		}
	}
	for id, version := range other.accounts {
		if _, held := w.accounts[id]; !held {
			w.accounts[id] = version
		}
	}
	for who, version := range other.blocked {
		if _, held := w.blocked[who]; !held {
			w.blocked[who] = version
		}
	}
}

// StateCheck is what one comparison of the tables with the log found, and whether the log itself added up when it was
// last read as a whole.
type StateCheck struct {
	At    time.Time
	Took  time.Duration
	State StateReport
}

// stateWatch is what this process knows of rows that the log does not explain.
type stateWatch struct {
	mu       sync.Mutex // held by a comparison
	due      time.Time  // of the next one; the zero time: none was planned yet
	chainDue time.Time  // of the next reading of the whole log
	chain    []StateProblem
	seen     int64 // newest event about such rows when the last comparison began
	last     atomic.Pointer[StateCheck]
}

// planState makes the first comparison due, some time after the start: readiness does not wait for it, and neither
// does whoever starts.
func (s *Service) planState() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if s.state.due.IsZero() {
		s.state.due = s.cfg.Now().Add(s.cfg.StateAfter)
	}
}

// watchState compares the tables with the log when that is due, or when another process has recorded what it found:
// then this one looks for itself.
func (s *Service) watchState(ctx context.Context) error {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if s.cfg.Now().Before(s.state.due) {
		if s.state.last.Load() == nil {
			return nil // the first is to come
		}
		newest, err := s.newestFinding(ctx)
		if err != nil || newest <= s.state.seen {
			return err
		}
	}
	return s.compareState(ctx)
}

// newestFinding is the number of the newest event about rows that were not verified or not explained.
func (s *Service) newestFinding(ctx context.Context) (seq int64, err error) {
	if err := s.cfg.DB.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM audit.events WHERE act = $1`, ActRightsUnverified.Name).Scan(&seq); err != nil {
		return 0, fmt.Errorf("looking for what other replicas found: %w", err)
	}
	return seq, nil
}

// compareState compares, withholds what the log takes back, and records what is new and what is right again. One
// process at a time does it; the others find in the log what it recorded, so that a finding is one event.
func (s *Service) compareState(ctx context.Context) error {
	// The lock is that of a transaction which does nothing else, so that it also holds through a pooler, and Postgres
	// frees it whatever becomes of this process. Between its statements that transaction has no snapshot.
	return pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var mine bool
		if err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(stateLock)).Scan(&mine); err != nil {
			return fmt.Errorf("taking turns in comparing the tables with the log: %w", err)
		}
		if !mine {
			return nil // it is still due when the job wakes next
		}
		return s.compareAlone(ctx)
	})
}

func (s *Service) compareAlone(ctx context.Context) error {
	now, started := s.cfg.Now(), time.Now()
	if err := s.freshRights(ctx); err != nil {
		return err
	}
	if !now.Before(s.state.chainDue) {
		report, err := audit.Verify(ctx, s.cfg.DB, 1, nil)
		if err != nil {
			return fmt.Errorf("verifying the log before the tables are compared with it: %w", err)
		}
		s.state.chain, s.state.chainDue = chainProblems(report), now.Add(s.cfg.StateEvery)
	}
	r, err := VerifyState(ctx, s.cfg.DB)
	if err != nil {
		return err
	}
	if len(s.state.chain) > 0 {
		r.withheld.join(s.keeper.withheld.Load()) // a log that does not add up gives nothing back
	}
	r.Problems = slices.Concat(s.state.chain, r.Problems)
	if err := s.withhold(ctx, r.withheld); err != nil {
		return err
	}
	s.state.last.Store(&StateCheck{At: now, Took: time.Since(started), State: r})
	s.state.due = now.Add(s.cfg.StateEvery)
	if !r.OK() {
		s.state.due = now.Add(min(s.cfg.StateEvery, stateAgain))
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "the log does not explain what is in the tables", slog.Int("rows", len(r.Problems)+r.More))
	}
	if err := s.recordState(ctx, r); err != nil {
		return err
	}
	s.state.seen, err = s.newestFinding(ctx)
	return err
}

// chainProblems is the first place where the log does not add up: what follows from it may be thousands.
func chainProblems(r audit.Report) []StateProblem {
	if r.OK() {
		return nil
	}
	return []StateProblem{{Kind: KindAudit, Name: "audit log", What: "the log does not add up: " + r.Problems[0].What, Event: r.Problems[0].Seq}}
}

// withhold has rights follow from what is withheld from now on. Everybody who asks afterwards is answered by that.
func (s *Service) withhold(ctx context.Context, held *withheld) error {
	if before := s.keeper.withheld.Load(); before == nil || !held.same(before) {
		s.keeper.withheld.Store(held)
		return s.rereadRights(ctx)
	}
	return nil
}

func (w *withheld) same(other *withheld) bool { return fmt.Sprint(*w) == fmt.Sprint(*other) } // maps print in the order of their keys

// finding is a problem as events tell it: the same for as long as the same is wrong.
type finding string

func (p StateProblem) finding() finding {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{p.Kind, p.ID, p.What}))
	return finding(hex.EncodeToString(sum[:12]))
}

// Fields of the events about rows that the log does not explain.
const (
	changeFinding = "finding" // which one
	changeProblem = "problem" // what is wrong
)

// recordState records what was found and is not on record, and what is on record and is right again. As much as takes
// no time to speak of is recorded at once, and the rest after the next comparison. Rows without the right code are on
// record for that already.
func (s *Service) recordState(ctx context.Context, r StateReport) error {
	open, err := s.openFindings(ctx)
	if err != nil {
		return err
	}
	told := 0
	found := map[finding]bool{}
	for _, p := range r.Problems {
		id := p.finding()
		found[id] = true
		if _, known := open[id]; known || s.unverifiedRow(p) || told == unverifiedTold {
			continue
		}
		told++
		e := singleEvent(target{Kind: KindRights, ID: p.ID, Name: p.Kind + " " + p.Name}, JobActor("rights"), ActRightsUnverified,
			audit.Change{"kind": {nil, p.Kind}, changeFinding: {nil, string(id)}, changeProblem: {nil, p.String()}})
		if p.held != nil {
			p.held.into(e.Change)
		}
		e.Outcome, e.Reason = audit.Failed, "The log does not explain it: "+p.String()+"."
		if p.Kind == KindAudit {
			e.Reason = "Event " + strconv.FormatInt(p.Event, 10) + ": " + p.What + "."
		}
		if p.Kind == KindAccount {
			e.Account = audit.Ref{ID: p.ID, Name: p.Name}
		}
		if err := s.appendEvent(ctx, e); err != nil {
			return fmt.Errorf("recording a row that the log does not explain: %w", err)
		}
	}
	if r.More > 0 {
		return nil // what is not listed may be wrong still
	}
	for _, id := range sortedFindings(open) {
		if before := open[id]; !found[id] && told < unverifiedTold {
			told++
			e := singleEvent(target{Kind: KindRights, ID: before.Target.ID, Name: before.Target.Name}, JobActor("rights"), ActRightsUnverified,
				audit.Change{changeFinding: {string(id), nil}, changeProblem: {before.Change[changeProblem][1], nil}})
			e.Account, e.Reason = before.Account, "It is as the log says again."
			if err := s.appendEvent(ctx, e); err != nil {
				return fmt.Errorf("recording that the log explains a row again: %w", err)
			}
		}
	}
	return nil
}

// openFindings are the findings on record of which no later event says that they are right again. They are read from
// the log because that is what nobody can alter unnoticed, and every replica shares it.
func (s *Service) openFindings(ctx context.Context) (map[finding]audit.Stored, error) {
	open := map[finding]audit.Stored{}
	err := audit.ReplayEnds(ctx, s.cfg.DB, []string{ActRightsUnverified.Name}, func(e audit.Stored) error {
		sides := e.Change[changeFinding]
		if was, ok := sides[0].(string); ok {
			delete(open, finding(was))
		}
		if is, ok := sides[1].(string); ok {
			open[finding(is)] = e
		}
		return nil
	})
	return open, err
}

// restoreWithheld makes of what is on record what a process withholds before it has compared anything itself, so that
// what the log takes back does not count again for a while whenever a console starts.
func (s *Service) restoreWithheld(ctx context.Context) error {
	if s.keeper.withheld.Load() != nil {
		return nil
	}
	open, err := s.openFindings(ctx)
	if err != nil {
		return err
	}
	held := nothingHeld()
	for _, e := range open {
		held.read(e)
	}
	s.keeper.withheld.CompareAndSwap(nil, held)
	return nil
}

func sortedFindings(open map[finding]audit.Stored) []finding {
	var ids []finding
	for id := range open {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b finding) int { return int(open[a].Seq - open[b].Seq) })
	return ids
}

// unverifiedRow reports whether the problem is about a row that counts for nothing because of its code.
func (s *Service) unverifiedRow(p StateProblem) bool {
	return slices.ContainsFunc(s.UnverifiedRows(), func(u Unverified) bool { return u.Kind == p.Kind && u.ID == p.ID })
}

// Unexplained lists the rows that the log does not explain, as the last comparison of this process found them, without
// those that UnverifiedRows has; more is how many there are beside those listed.
func (s *Service) Unexplained() (rows []StateProblem, more int) {
	last := s.state.last.Load()
	if last == nil {
		return nil, 0
	}
	return slices.DeleteFunc(slices.Clone(last.State.Problems), s.unverifiedRow), last.State.More
}

// checkTables compares the tables with the log because somebody asked. What it finds that the job did not is on the
// console's record within a minute.
func (s *Service) checkTables(ctx context.Context) (StateCheck, error) {
	check, started := StateCheck{At: s.cfg.Now()}, time.Now()
	var err error
	if check.State, err = VerifyState(ctx, s.cfg.DB); err != nil {
		return StateCheck{}, err
	}
	check.Took = time.Since(started)
	go s.lookAgain(check.State)
	return check, nil
}

// lookAgain makes the job's own comparison due when another one found something else than that did.
func (s *Service) lookAgain(found StateReport) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	known := map[finding]bool{}
	if last := s.state.last.Load(); last != nil {
		for _, p := range last.State.Problems {
			if p.Kind != KindAudit {
				known[p.finding()] = true
			}
		}
	}
	same := len(known) == len(found.Problems)
	for _, p := range found.Problems {
		same = same && known[p.finding()]
	}
	if !same {
		s.state.due = s.cfg.Now()
	}
}
