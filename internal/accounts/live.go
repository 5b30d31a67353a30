package accounts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

const (
	// maxWatches and maxWatchesEach bound the watches of a process, and of one member in it.
	maxWatches     = 2000
	maxWatchesEach = 20
	// maxUntold is how many accounts a watch keeps that were not taken yet. Past it whoever watches looks at everything.
	maxUntold = 64
	// standingEvery is how often it is asked whether the sessions that watch have ended.
	standingEvery = time.Second
	// gatherTime is how long changes are gathered after some were told, so that a thousand accounts are not a
	// thousand questions about sessions.
	gatherTime = 25 * time.Millisecond
	// standingTimeout bounds such a question, and labelsTimeout the one for labels: those who do not go by labels must not
	// wait long for it.
	standingTimeout = 5 * time.Second
	labelsTimeout   = time.Second
	// maxJudged bounds the clusters of which labels are asked for at once, and maxBacklog those that one who comes back is told of. Past it
	// they look at everything.
	maxJudged  = 10_000
	maxBacklog = 500
	// maxRecent and recentTime bound what is remembered for those who come back.
	maxRecent  = 4096
	recentTime = 5 * time.Minute
	// recentMargin is how much earlier than they say those who come back are told from: clocks of replicas differ, and a
	// change may be under way while a page is made.
	recentMargin = 2 * time.Second
)

// ErrStopping: the console is stopping and takes no new watches.
var ErrStopping = errors.New("the console is stopping")

// ErrNothingToTell: the member may read no cluster, so there is nothing to watch.
var ErrNothingToTell = errors.New("there is nothing that the member may be told")

// change says that something of an account's snapshot changed.
type change struct {
	account  uuid.UUID
	clusters []string // of them; none when it is about the account itself
	at       time.Time
}

// WatchEnd is why a watch ended.
type WatchEnd string

// The ends.
const (
	WatchSessionEnded WatchEnd = "session" // it ended, expired, or its member was blocked
	WatchNothing      WatchEnd = "nothing" // the member may read no cluster any more
	WatchStopped      WatchEnd = "stopped" // the console stops; another may be asked
)

// News is what there is to look at again. It names nothing that the member may not read.
type News struct {
	At       time.Time   // see Watch.Until
	Accounts []uuid.UUID // some of whose clusters changed
	Look     bool        // everything: it is not known what changed
	Rights   bool        // with Look: what the member may do changed, so what a page offers may be out of date
	End      WatchEnd    // not empty: there will be no more
}

// Watch tells one page, or several that share it, that something changed which the member may read. What changed is
// read as always, by the way that decides on rights; a Watch decides only who is woken.
type Watch struct {
	hub     *hub
	by      audit.Actor
	session uuid.UUID
	ready   chan struct{} // holds one when there is news

	// Under hub.mu.
	accounts map[uuid.UUID]bool
	look     bool
	rights   bool // with look
	end      WatchEnd
	until    time.Time // see Until
	unjudged bool      // there is something of before the watch began, or after, that was not judged

	// Only the hub's loop touches these, and whoever makes the watch before it is known.
	backlog []change // remembered ones that were not judged yet, one an account
	late    bool     // what was remembered could not be judged: they are to look as soon as it is known that they may
	book    *rightsBook
	scope   *access.Scope  // where they may read clusters by that book
	grants  []access.Grant // what the member's rights are the sum of
}

// Ready delivers a value when Next has news.
func (w *Watch) Ready() <-chan struct{} { return w.ready }

// Next takes what there is; false when there is nothing.
func (w *Watch) Next(now time.Time) (News, bool) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	n := News{At: w.upTo(now), Look: w.look, Rights: w.look && w.rights, End: w.end}
	if !w.look {
		n.Accounts = slices.Collect(maps.Keys(w.accounts))
	}
	w.look, w.rights = false, false
	clear(w.accounts)
	return n, n.Look || n.End != "" || len(n.Accounts) > 0
}

// Until is up to when the member was told, or will be by Next, of everything that was heard of: whoever comes back later says it. It stands
// still while something is being judged, or nothing is heard.
func (w *Watch) Until(now time.Time) time.Time {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.upTo(now)
}

// upTo is Until for who holds hub.mu.
func (w *Watch) upTo(now time.Time) time.Time {
	if h := w.hub; !h.since.IsZero() && !h.owed && !h.judging && len(h.arrived) == 0 && !w.unjudged {
		w.until = now
	}
	return w.until
}

// Close ends the watch.
func (w *Watch) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.forget(w)
}

// join adds a watch. The caller holds hub.mu.
func (h *hub) join(w *Watch) {
	h.watches[w] = struct{}{}
	h.seen = nil
}

// forget takes a watch away. The caller holds hub.mu.
func (h *hub) forget(w *Watch) {
	if _, there := h.watches[w]; there {
		delete(h.watches, w)
		h.seen = nil
	}
}

// wake says that there is news. The caller holds hub.mu.
func (w *Watch) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// tell adds an account; a watch that is not emptied in time is told to look instead, so that it never grows. The
// caller holds hub.mu.
func (w *Watch) tell(account uuid.UUID) {
	if w.look || w.end != "" {
		return
	}
	w.accounts[account] = true
	if len(w.accounts) > maxUntold {
		w.hub.behind.Inc()
		w.lookAgain()
		return
	}
	w.wake()
}

func (w *Watch) lookAgain() {
	w.look = true
	clear(w.accounts)
	w.wake()
}

// hub hands changes to watches. It never waits for one.
type hub struct {
	behind    prometheus.Counter
	listening prometheus.Gauge
	open      prometheus.GaugeFunc

	mu      sync.Mutex
	watches map[*Watch]struct{}
	stopped bool
	since   time.Time // every change after it is in recent; zero while nothing is heard
	recent  []change
	arrived []change      // not judged yet
	judging bool          // what arrived before
	owed    bool          // everybody is to look again as soon as it can be judged who may
	wake    chan struct{} // there is something to judge
	seen    *access.Scope // see union; nil: the watches are other ones, or look at something else
}

// union is what all watches together look at; Everything says nothing of the rest. Nobody may change it.
func (h *hub) union() access.Scope {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		all := h.gather()
		h.seen = &all
	}
	return *h.seen
}

// gather makes the union. The caller holds hub.mu.
func (h *hub) gather() access.Scope {
	environments, accounts, labels := map[string]bool{}, map[uuid.UUID]bool{}, map[string]access.Selector{}
	for w := range h.watches {
		if w.scope.Everything {
			return access.Scope{Everything: true}
		}
	}
	for w := range h.watches {
		for _, e := range w.scope.Environments {
			environments[e] = true
		}
		for _, id := range w.scope.Accounts {
			accounts[id] = true
		}
		for _, c := range w.scope.Clusters {
			accounts[c.AccountID] = true
		}
		for _, l := range w.scope.Labels {
			labels[l.String()] = l
		}
	}
	all := access.Scope{Environments: slices.Sorted(maps.Keys(environments)), Accounts: slices.Collect(maps.Keys(accounts))}
	slices.SortFunc(all.Accounts, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	for _, text := range slices.Sorted(maps.Keys(labels)) {
		all.Labels = append(all.Labels, labels[text])
	}
	return all
}

func newHub() *hub {
	h := &hub{watches: map[*Watch]struct{}{}, wake: make(chan struct{}, 1)}
	h.behind = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "qm_live_behind_total", Help: "Streams to browsers that took their news too slowly and were told to look at everything instead.",
	})
	h.listening = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "qm_live_listening", Help: "1 while the dedicated connection to Postgres hears of changes; else pages look by themselves.",
	})
	h.open = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "qm_live_streams", Help: "Open streams to browsers.",
	}, func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(len(h.watches))
	})
	return h
}

func (h *hub) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// add takes a change that was heard of.
func (h *hub) add(c change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent = append(h.recent, c)
	old := max(len(h.recent)-maxRecent, 0)
	for old < len(h.recent) && c.at.Sub(h.recent[old].at) > recentTime {
		old++
	}
	if old > 0 {
		if h.recent[old-1].at.After(h.since) {
			h.since = h.recent[old-1].at
		}
		h.recent = slices.Delete(h.recent, 0, old)
	}
	h.arrived = append(h.arrived, c)
	if len(h.arrived) > maxRecent { // judging hangs
		h.arrived, h.owed = nil, true
	}
	h.nudge()
}

// hears begins anew: what was said before since may have been missed.
func (h *hub) hears(since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.owed = since, true
	h.listening.Set(1)
	h.nudge()
}

// deaf: from now on changes are missed.
func (h *hub) deaf() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since, h.recent = time.Time{}, nil
	h.listening.Set(0)
}

// Watch begins to tell the session's member of changes to what they may read. after is when they last looked: what
// changed since is told at once, and when that is not known they are told to look; zero: nothing is told of before.
// ErrRateLimited when they, or all together, watch too often already; ErrNothingToTell; ErrStopping.
func (s *Service) Watch(by audit.Actor, session Session, after time.Time) (*Watch, error) {
	w := &Watch{hub: s.hub, by: by, session: session.ID, ready: make(chan struct{}, 1), accounts: map[uuid.UUID]bool{}}
	heard := s.audienceOf(w, s.keeper.book.Load(), s.now())
	if heard.scope.None() {
		return nil, ErrNothingToTell
	}
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	w.sees(heard)
	if h.stopped {
		return nil, ErrStopping
	}
	theirs := 0
	for other := range h.watches {
		if other.by.Issuer == by.Issuer && other.by.Subject == by.Subject {
			theirs++
		}
	}
	if theirs >= maxWatchesEach || len(h.watches) >= maxWatches {
		return nil, fmt.Errorf("%d streams of the member, %d in all: %w", theirs, len(h.watches), ErrRateLimited)
	}
	w.until = s.now()
	if !after.IsZero() {
		ahead := after.After(w.until.Add(recentMargin)) // of a clock that was set right, or another console's
		w.until, after = after, after.Add(-recentMargin)
		if known := !h.since.IsZero() && !after.Before(h.since); !known || ahead || !w.remembers(h.recent, after) {
			w.until = s.now()
			w.lookAgain()
		}
		w.unjudged = len(w.backlog) > 0
	}
	h.join(w)
	return w, nil
}

// remembers makes the backlog of what is remembered since a time: each account once, each cluster once. It is false when that is so much that
// looking at everything is less. Nobody is woken for it: the next second does.
func (w *Watch) remembers(recent []change, after time.Time) bool {
	at := map[uuid.UUID]int{}
	seen := map[access.ClusterRef]bool{}
	gone := 0 // through: everybody waits for it
	for _, c := range recent {
		if !c.at.After(after) {
			continue
		}
		if gone += len(c.clusters); gone > maxJudged {
			w.backlog = nil
			return false
		}
		i, known := at[c.account]
		if !known {
			i = len(w.backlog)
			at[c.account] = i
			w.backlog = append(w.backlog, change{account: c.account, at: c.at})
		}
		for _, id := range c.clusters {
			if ref := (access.ClusterRef{AccountID: c.account, ClusterID: id}); !seen[ref] {
				seen[ref] = true
				w.backlog[i].clusters = append(w.backlog[i].clusters, id)
			}
		}
		if len(w.backlog) > maxUntold || len(seen) > maxBacklog {
			w.backlog = nil
			return false
		}
	}
	return true
}

// StopWatching ends all watches and takes no new ones: what would go on for ever must not hold up a stop.
func (s *Service) StopWatching() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	for w := range h.watches {
		w.finish(WatchStopped)
	}
}

// finish ends the watch. The caller holds hub.mu.
func (w *Watch) finish(why WatchEnd) {
	if w.end == "" {
		w.end, w.look = why, false
		clear(w.accounts)
		w.wake()
	}
	w.hub.forget(w)
}

// tellLoop judges who is told what, until ctx ends.
func (s *Service) tellLoop(ctx context.Context) {
	defer func() { // where it panicked, what was to be told is not known any more
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		s.hub.owed = true
	}()
	ticks := time.NewTicker(standingEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-s.hub.wake:
		}
		s.tellOnce(ctx)
		pause := time.NewTimer(gatherTime)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// audience is what one session may be told.
type audience struct {
	rights access.Rights
	book   *rightsBook
	scope  *access.Scope
	grants []access.Grant
	live   bool
}

// audienceOf is what a watch's member may be told by a book at a time. Where they hold what they held, their scope is the one that
// the watch has: making it anew for hundreds of members and accounts each second costs more than everything else here.
func (s *Service) audienceOf(w *Watch, book *rightsBook, now time.Time) audience {
	rights := s.rightsBy(book, w.by, now)
	to := audience{rights: rights, book: book, grants: rights.Grants(), live: true}
	if w.scope != nil && w.book == book && reflect.DeepEqual(w.grants, to.grants) {
		to.scope = w.scope
		return to
	}
	scope := rights.Visible(ActClusterRead.Needs)
	to.scope = &scope
	return to
}

// sees keeps what was judged of the member. The caller holds hub.mu.
func (w *Watch) sees(to audience) {
	if w.scope != to.scope {
		w.hub.seen = nil
	}
	w.book, w.scope, w.grants = to.book, to.scope, to.grants
}

// tellOnce ends watches whose session has ended or whose member may read nothing any more, and tells the others what arrived and they may
// read now. Neither waits for labels. When it cannot be asked who may be told, because Postgres does not answer, nobody is told anything,
// and everybody looks again afterwards.
func (s *Service) tellOnce(ctx context.Context) {
	h := s.hub
	h.mu.Lock()
	arrived, everything := h.arrived, h.owed
	h.arrived, h.owed, h.judging = nil, false, true
	watches := slices.Collect(maps.Keys(h.watches))
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.judging = false
		for _, w := range watches {
			w.unjudged = w.late || len(w.backlog) > 0
		}
	}()
	if len(watches) == 0 {
		return
	}
	heard, err := s.audiences(ctx, watches)
	if err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.owed = h.owed || everything || len(arrived) > 0
		for _, w := range watches {
			w.late, w.backlog = w.late || len(w.backlog) > 0, nil
		}
		return
	}
	watches = h.standing(watches, heard, everything)
	if everything {
		return
	}
	labels, known := s.labelsToJudge(ctx, heard, watches, arrived)
	told := make([][]uuid.UUID, len(watches))
	of := map[uuid.UUID][]uuid.UUID{} // by session: several pages may share one
	for i, w := range watches {
		to := heard[w.session]
		if !known && len(to.scope.Labels) > 0 {
			continue
		}
		accounts, judged := of[w.session]
		if !judged {
			accounts = to.readable(arrived, labels)
			of[w.session] = accounts
		}
		told[i] = accounts
		if len(w.backlog) > 0 {
			told[i] = append(to.readable(w.backlog, labels), accounts...)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, w := range watches {
		if !known && len(heard[w.session].scope.Labels) > 0 && (len(arrived) > 0 || len(w.backlog) > 0) {
			w.lookAgain()
		}
		w.backlog = nil
		for _, account := range told[i] {
			w.tell(account)
		}
	}
}

// standing ends the watches whose time is over, tells those to look who must for another reason than what arrived, and returns those that
// may be told of that.
func (h *hub) standing(watches []*Watch, heard map[uuid.UUID]audience, everything bool) []*Watch {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(watches, func(w *Watch) bool {
		to := heard[w.session]
		if !to.live {
			w.finish(WatchSessionEnded)
			return true
		}
		if to.scope.None() {
			w.finish(WatchNothing)
			return true
		}
		switch {
		case !reflect.DeepEqual(w.grants, to.grants):
			w.rights = true
			w.lookAgain()
		case everything || w.late || !reflect.DeepEqual(*w.scope, *to.scope):
			w.lookAgain()
		}
		if w.late = false; everything {
			w.backlog = nil
		}
		w.sees(to)
		return false
	})
}

// audiences asks which sessions are live, and what their members may read now.
func (s *Service) audiences(ctx context.Context, watches []*Watch) (map[uuid.UUID]audience, error) {
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	by := map[uuid.UUID]*Watch{}
	for _, w := range watches {
		by[w.session] = w
	}
	if err := s.freshRights(ctx); err != nil {
		return nil, err
	}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT id, created_at, last_seen_at, expires_at FROM sessions WHERE id = ANY($1) AND ended_at IS NULL`, slices.Collect(maps.Keys(by)))
	if err != nil {
		return nil, fmt.Errorf("reading sessions that watch: %w", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[sessionRow])
	if err != nil {
		return nil, fmt.Errorf("reading sessions that watch: %w", err)
	}
	now, book := s.now(), s.keeper.book.Load()
	heard := map[uuid.UUID]audience{}
	for _, row := range stored {
		w := by[row.ID]
		blocked := w.by.Issuer != InternalIssuer && book.blocked[principal{w.by.Issuer, w.by.Subject}]
		if s.live(row, now) && !blocked {
			heard[row.ID] = s.audienceOf(w, book, now)
		}
	}
	return heard, nil
}

// labelsToJudge reads the labels of the clusters that changed, when somebody's rights go by labels. It is false when they are not known:
// Postgres does not answer in time, or too much arrived. One whose backlog does not fit besides looks at everything the next time.
func (s *Service) labelsToJudge(ctx context.Context, heard map[uuid.UUID]audience, watches []*Watch, arrived []change) (labels map[access.ClusterRef]map[string]string, known bool) {
	asked := map[access.ClusterRef]bool{}
	add := func(changes []change) bool {
		for _, c := range changes {
			for _, id := range c.clusters {
				asked[access.ClusterRef{AccountID: c.account, ClusterID: id}] = true
				if len(asked) > maxJudged+maxBacklog {
					return false
				}
			}
		}
		return true
	}
	for i, byLabels := 0, false; i < len(watches); i++ {
		w := watches[i]
		if len(heard[w.session].scope.Labels) == 0 {
			continue
		}
		if !byLabels {
			if byLabels = true; !add(arrived) {
				return nil, false
			}
		}
		if len(w.backlog) > 0 && (len(asked) > maxJudged || !add(w.backlog)) {
			w.late, w.backlog = true, nil
		}
	}
	if len(asked) == 0 {
		return nil, true
	}
	labels, err := s.labelsOf(ctx, asked)
	return labels, err == nil
}

func (s *Service) labelsOf(ctx context.Context, asked map[access.ClusterRef]bool) (map[access.ClusterRef]map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, labelsTimeout)
	defer cancel()
	accounts, clusters := make([]uuid.UUID, 0, len(asked)), make([]string, 0, len(asked))
	for ref := range asked {
		accounts, clusters = append(accounts, ref.AccountID), append(clusters, ref.ClusterID)
	}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT c.account_id, c.cluster_id, c.labels FROM clusters c
		JOIN unnest($1::uuid[], $2::text[]) AS t (account_id, cluster_id) ON c.account_id = t.account_id AND c.cluster_id = t.cluster_id`, accounts, clusters)
	if err != nil {
		return nil, fmt.Errorf("reading labels of what changed: %w", err)
	}
	labels := map[access.ClusterRef]map[string]string{}
	var ref access.ClusterRef
	var has map[string]string
	_, err = pgx.ForEachRow(rows, []any{&ref.AccountID, &ref.ClusterID, &has}, func() error {
		labels[ref] = maps.Clone(has)
		clear(has)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading labels of what changed: %w", err)
	}
	return labels, nil
}

// readable returns the accounts of those changes that the audience may read. Who may read some clusters of an account
// is told of those only: when others change, or the account itself, nothing wakes them.
func (a audience) readable(changes []change, labels map[access.ClusterRef]map[string]string) []uuid.UUID {
	var accounts []uuid.UUID
	for _, c := range changes {
		if len(accounts) > maxUntold { // whoever is told of so many looks at everything
			break
		}
		may := a.rights.Allows(ActClusterRead.Needs, access.Target{AccountID: c.account}) ||
			slices.ContainsFunc(c.clusters, func(id string) bool {
				return a.rights.Allows(ActClusterRead.Needs, access.Target{
					AccountID: c.account, ClusterID: id, Labels: labels[access.ClusterRef{AccountID: c.account, ClusterID: id}],
				})
			})
		if may && !slices.Contains(accounts, c.account) {
			accounts = append(accounts, c.account)
		}
	}
	return accounts
}
