package accounts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// alertsLimit is how many alerts a page has.
const alertsLimit = 100

// AlertSeverities are those that are known here, the worst first.
var AlertSeverities = []string{cloudapi.AlertCritical, cloudapi.AlertWarning, cloudapi.AlertInfo}

// AlertsQuery is what /alerts may be asked. Zero values do not filter.
type AlertsQuery struct {
	Text     string // in the alert's title, and in what the fleet's text search finds
	State    string // FIRING: all that is not resolved; RESOLVED
	Severity string
	Account  string // id
	After    string // opaque, from AlertsPage.Next; ErrBadCursor when it is not
}

// AlertRow is an alert of a cluster.
type AlertRow struct {
	AccountID    uuid.UUID
	AccountName  string
	Environment  Environment
	ClusterID    string
	ClusterName  string
	AlertID      string
	Type         string
	Severity     string
	Rank         int
	State        string
	Title        string
	Description  string
	LastFiringAt *time.Time // of one that is resolved, as upstream tells it
	Since        time.Time  // when it was first read to be in this state
	ReadAt       *time.Time // when the alerts of its cluster were last read
	Failed       bool       // the last reading of them failed, or was not whole
}

// Fires reports whether the alert is one to look at: whatever is not known to be resolved.
func (a AlertRow) Fires() bool { return a.State != cloudapi.AlertResolved }

// AlertsPage is one page of alerts, those that fire first, the worst and the latest of them first.
type AlertsPage struct {
	Alerts   []AlertRow
	Next     string // empty on the last page
	Firing   int    // all that fire and that the member may see, whatever the query; more than CountCap: so many at least
	Resolved int
	Accounts []Account // to choose from; without their keys
	// Clusters is how many clusters have alerts at all: those of enabled accounts of the current API, as far as the member may see them.
	// Unread are those of them whose alerts were never read, Failing those whose last reading failed or was not whole. OldestAt is when those were
	// read that were read longest ago; nil where they are more than can be counted. Counts as above.
	Clusters, Unread, Failing int
	OldestAt                  *time.Time
}

// Alerts lists the alerts of all clusters that the member may read, from what was last read of each. ErrBadCursor when After is
// no cursor of this query, ErrRateLimited, ErrUnavailable.
func (s *Service) Alerts(ctx context.Context, by audit.Actor, q AlertsQuery) (AlertsPage, error) {
	body, err := json.Marshal([]any{"alerts", q.Text, q.State, q.Severity, q.Account})
	if err != nil {
		return AlertsPage{}, fmt.Errorf("encoding the query: %w", err)
	}
	query, at := hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8]), cursor{}
	if q.After != "" {
		if at, err = s.decodeCursor(q.After, query); err != nil {
			return AlertsPage{}, err
		}
	}
	scope := s.visible(by, ActAlertRead)
	if scope.None() {
		return AlertsPage{}, nil
	}
	ctx, done, err := s.turns.listing(ctx, by)
	if err != nil {
		return AlertsPage{}, err
	}
	defer done()
	var page AlertsPage
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page = AlertsPage{}
		in, err := reachOf(ctx, tx, scope)
		if err != nil {
			return err
		}
		accounts, err := s.fleetAccounts(ctx, tx, scope)
		if err != nil {
			return err
		}
		page.Accounts = accounts.all
		if err := s.alertRows(ctx, tx, &page, in, q, at, query); err != nil {
			return err
		}
		return countAlerts(ctx, tx, &page, in)
	})
	if err != nil {
		return AlertsPage{}, dbError("reading alerts", err)
	}
	return page, nil
}

// alertTables has the alerts of clusters that are read: nobody reads those of an account that is disabled, and what they would tell for ever is
// how it was on that day.
const alertTables = `
	FROM cluster_alerts x
	JOIN clusters c ON c.account_id = x.account_id AND c.cluster_id = x.cluster_id AND c.gone_at IS NULL
	JOIN accounts a ON a.id = x.account_id AND a.enabled`

// alertOpen is 1 for an alert that fires, which is one that is not known to be resolved, and 0 for another.
const alertOpen = `(CASE WHEN x.state = 'RESOLVED' THEN 0 ELSE 1 END)`

// alertKeys are what alerts are ordered by, each downwards.
const alertKeys = alertOpen + `, x.rank, x.since, x.account_id, x.cluster_id, x.alert_id`

// alertRows reads one page, and one row more to learn whether another follows.
func (s *Service) alertRows(ctx context.Context, tx pgx.Tx, page *AlertsPage, in reach, q AlertsQuery, at cursor, query string) error {
	on := &conditions{}
	on.where("true")
	on.at(in, "x.account_id", "x.cluster_id")
	if !on.matchesAlert(q) {
		return nil
	}
	if q.After != "" {
		since, err := time.Parse(time.RFC3339Nano, at.Text)
		if err != nil {
			return ErrBadCursor
		}
		on.where(`(`+alertKeys+`) < (?::integer, ?::smallint, ?::timestamptz, ?::uuid, ?::text, ?::text)`,
			at.Number/firingPlace, at.Number%firingPlace, since, at.Account, at.Cluster, at.Name)
	}
	rows, err := tx.Query(ctx, `
		SELECT x.account_id, a.name AS account_name, a.environment, x.cluster_id, c.name AS cluster_name, x.alert_id, x.type, x.severity, x.rank, x.state, x.title,
			x.description, x.last_firing_at, x.since, r.ok_at AS read_at, coalesce(r.failures > 0 OR r.error <> '', false) AS failed`+alertTables+`
		LEFT JOIN cluster_reads r ON r.account_id = x.account_id AND r.cluster_id = x.cluster_id AND r.kind = 'alerts'
		WHERE `+on.String()+`
		ORDER BY `+strings.ReplaceAll(alertKeys, ", ", " DESC, ")+` DESC LIMIT `+strconv.Itoa(alertsLimit+1), planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("listing alerts: %w", err)
	}
	if page.Alerts, err = collectMany[AlertRow](rows); err != nil {
		return fmt.Errorf("listing alerts: %w", err)
	}
	if len(page.Alerts) > alertsLimit {
		page.Alerts = page.Alerts[:alertsLimit]
		last := page.Alerts[alertsLimit-1]
		place := cursor{Query: query, Number: int64(last.Rank), Text: last.Since.UTC().Format(time.RFC3339Nano), Account: last.AccountID, Cluster: last.ClusterID, Name: last.AlertID}
		if last.Fires() {
			place.Number += firingPlace
		}
		if page.Next, err = s.encodeCursor(place); err != nil {
			return err
		}
	}
	return nil
}

// firingPlace is what the number of a place is at least when it is among the alerts that fire.
const firingPlace = 100

// openAlerts adds the condition that an alert fires, or that it does not.
func (c *conditions) openAlerts(fires bool) {
	open := 0
	if fires {
		open = 1
	}
	c.where(alertOpen + " = " + strconv.Itoa(open))
}

// matchesAlert adds the filters; false when nothing can match.
func (c *conditions) matchesAlert(q AlertsQuery) bool {
	if q.State != "" {
		if !slices.Contains([]string{cloudapi.AlertFiring, cloudapi.AlertResolved}, q.State) {
			return false
		}
		c.openAlerts(q.State == cloudapi.AlertFiring)
	}
	if q.Severity != "" {
		rank := slices.Index(AlertSeverities, q.Severity)
		if rank < 0 {
			return false
		}
		c.where("x.rank = ?", len(AlertSeverities)-rank)
	}
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		if err != nil {
			return false
		}
		c.where("x.account_id = ?", id)
	}
	if !wellFormed(q.Text, maxFilter) {
		return false
	}
	for i, word := range strings.Fields(strings.ToLower(q.Text)) {
		if i == maxWords {
			break
		}
		like := "%" + escapeLike(word) + "%"
		c.where("(c.search LIKE ? OR lower(x.title) LIKE ?)", like, like)
	}
	return true
}

// countAlerts counts what fires, what is resolved, and how the reading goes.
func countAlerts(ctx context.Context, tx pgx.Tx, page *AlertsPage, in reach) error {
	var err error
	if page.Firing, err = alertsInState(ctx, tx, in, true, CountCap); err != nil {
		return err
	}
	if page.Resolved, err = alertsInState(ctx, tx, in, false, CountCap); err != nil {
		return err
	}
	on := &conditions{}
	on.where("c.gone_at IS NULL AND a.generation = 'current' AND a.enabled")
	on.at(in, "c.account_id", "c.cluster_id")
	if err := tx.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE read.ok_at IS NULL), count(*) FILTER (WHERE read.failures > 0 OR read.error <> ''), min(read.ok_at) FROM (
			SELECT r.ok_at, r.failures, r.error FROM clusters c JOIN accounts a ON a.id = c.account_id
			LEFT JOIN cluster_reads r ON r.account_id = c.account_id AND r.cluster_id = c.cluster_id AND r.kind = 'alerts'
			WHERE `+on.String()+` LIMIT `+strconv.Itoa(CountCap+1)+`) read`, planned(on.arguments)...).Scan(&page.Clusters, &page.Unread, &page.Failing, &page.OldestAt); err != nil {
		return fmt.Errorf("counting clusters whose alerts are read: %w", err)
	}
	if page.Clusters > CountCap { // of which nobody knows which they are
		page.OldestAt = nil
	}
	return nil
}

// alertsInState counts alerts that fire, or that do not, up to one more than most.
func alertsInState(ctx context.Context, tx pgx.Tx, in reach, firing bool, most int) (n int, err error) {
	on := &conditions{}
	on.openAlerts(firing)
	on.at(in, "x.account_id", "x.cluster_id")
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT`+alertTables+`
		WHERE `+on.String()+` LIMIT `+strconv.Itoa(most+1)+`) counted`, planned(on.arguments)...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting alerts: %w", err)
	}
	return n, nil
}

// FiringAlerts counts the alerts that fire and that the member may see, up to one more than most. It goes through what fires, and
// not through what the member may see: every page asks for it. It may be a few seconds old, and is never one of other rights than the
// member has now.
func (s *Service) FiringAlerts(ctx context.Context, by audit.Actor, most int) (int, error) {
	if n, known := s.firing.known(principal{by.Issuer, by.Subject}, s.visible(by, ActAlertRead), most, s.now()); known {
		return n, nil
	}
	return s.FiringAlertsNow(ctx, by, most)
}

// FiringAlertsNow is FiringAlerts for a page that was told that something changed: it is never older than the call. Those who may see the
// same and ask at once are counted for once.
func (s *Service) FiringAlertsNow(ctx context.Context, by audit.Actor, most int) (int, error) {
	scope := s.visible(by, ActAlertRead)
	if scope.None() {
		return 0, nil
	}
	labels := make([]string, len(scope.Labels))
	for i, l := range scope.Labels {
		labels[i] = l.String()
	}
	key, err := json.Marshal([]any{scope.Everything, scope.Environments, scope.Accounts, scope.Clusters, labels, most})
	if err != nil {
		return 0, fmt.Errorf("encoding what is counted: %w", err)
	}
	got, err := s.firingReads.do(ctx, string(key), func(ctx context.Context) (firingCount, error) { return s.countFiring(ctx, scope, most) })
	if err == nil && !reflect.DeepEqual(got.scope, scope) { // whatever the key forgot of the scope
		got, err = s.countFiring(ctx, scope, most)
	}
	if err != nil {
		return 0, dbError("counting alerts", err)
	}
	s.firing.keep(principal{by.Issuer, by.Subject}, got)
	return got.n, nil
}

// countFiring counts what fires in a scope, up to one more than most.
func (s *Service) countFiring(ctx context.Context, scope access.Scope, most int) (firingCount, error) {
	c := firingCount{scope: scope, most: most, at: s.now(), turn: s.firing.turns.Add(1)}
	on := &conditions{}
	on.openAlerts(true)
	if err := on.within(scope); err != nil {
		return c, err
	}
	err := s.cfg.DB.QueryRow(ctx, `SELECT count(*) FROM (SELECT`+alertTables+`
		WHERE `+on.String()+` LIMIT `+strconv.Itoa(most+1)+`) counted`, planned(on.arguments)...).Scan(&c.n)
	return c, err
}

const (
	// firingLife is how long a member's count of what fires is used.
	firingLife = 5 * time.Second
	// maxFiring bounds the counts that are kept.
	maxFiring = 4096
)

// firingCounts remembers what was counted for members.
type firingCounts struct {
	turns atomic.Int64 // numbers counts in the order in which they began

	mu sync.Mutex
	of map[principal]firingCount
}

type firingCount struct {
	scope   access.Scope
	most, n int
	at      time.Time // when counting began
	turn    int64
}

func (f *firingCounts) known(who principal, scope access.Scope, most int, now time.Time) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, counted := f.of[who]
	return c.n, counted && c.most == most && fresh(now, c.at.Add(firingLife), firingLife) && reflect.DeepEqual(c.scope, scope)
}

// keep keeps a count unless one is kept that began later.
func (f *firingCounts) keep(who principal, c firingCount) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of[who].turn > c.turn {
		return
	}
	if f.of == nil || len(f.of) >= maxFiring {
		f.of = map[principal]firingCount{}
	}
	f.of[who] = c
}
