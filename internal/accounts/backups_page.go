package accounts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// backupsLimit is how many clusters, and how many backups, a page has.
const backupsLimit = 100

// BackupState is how a cluster stands with its backups. A cluster may be in several.
type BackupState string

// How clusters stand with their backups.
const (
	BackupsNone        BackupState = "none"        // no backup has succeeded, of those that are kept
	BackupsFailed      BackupState = "failed"      // the last one that ended has not succeeded, whatever became of it
	BackupsOverdue     BackupState = "overdue"     // none came when the schedule says
	BackupsUnscheduled BackupState = "unscheduled" // no schedule is active
	BackupsFine        BackupState = "fine"        // none of these
	BackupsUnable      BackupState = "unable"      // upstream offers the cluster no backups
)

// BackupStates lists them, the most urgent first.
var BackupStates = []BackupState{BackupsNone, BackupsFailed, BackupsOverdue, BackupsUnscheduled, BackupsFine, BackupsUnable}

// BackupsQuery is what /backups may be asked. Zero values do not filter.
type BackupsQuery struct {
	Text        string // in what the fleet's text search finds
	State       BackupState
	Account     string // id
	Environment string
	After       string // opaque, from BackupsPage.Next; ErrBadCursor when it is not
}

// BackupsRow is a cluster and what its backups come to, as they were last listed.
type BackupsRow struct {
	AccountID   uuid.UUID
	AccountName string
	Environment Environment
	ClusterID   string
	ClusterName string
	Legacy      bool // its API has no backups
	Unread      bool // its backups were not listed yet
	ReadAt      *time.Time
	Stale       bool   // the last listing failed, or is long ago
	Unsupported string // why upstream offers it none; empty: it does

	None, Failed, Overdue, Unscheduled bool

	LastAt     *time.Time // of the newest that has ended
	LastStatus string     // of the same; empty: there is none
	LastOKAt   *time.Time `db:"last_ok_at"` // of the newest that succeeded
	Running    int
	DueAt      *time.Time // when the backup should have come that is overdue

	Scheduled bool             // whether the member may read schedules here; else these are empty
	Schedules []ScheduledState `db:"-"`
	// MoreSchedules is how many more there are; more than 97: so many at least.
	MoreSchedules int `db:"-"`
}

// ScheduledState is a schedule as a list of clusters tells it.
type ScheduledState struct {
	Name, Cron, Status string
	Next               *time.Time // nil: not known, or never
}

// BackupsPage is one page of clusters by how much their backups worry: production without any first, then those whose last one
// failed, those overdue, others without any, and those without a schedule; of the others those first whose last is oldest.
type BackupsPage struct {
	Rows     []BackupsRow
	Next     string              // empty on the last page
	Counts   map[BackupState]int // of all that the member may see; may be a few seconds old
	Unread   int                 // so many were not listed yet
	Accounts []Account           // to choose from; without their keys
	Trouble  []ReadTrouble
	OldestAt *time.Time // when the accounts' backups were listed that were listed longest ago
}

// What a member must hold on a cluster to see its backups over all accounts, and its schedules with them.
var (
	backupsNeed   = access.Needs(access.ReadBackups, access.ReadClusters)
	schedulesNeed = access.Needs(access.ReadBackups, access.ReadClusters, access.ReadBackupSchedules)
)

// failedBackup are the statuses of a backup that nobody can restore.
var failedBackup = []string{cloudapi.BackupFailed, cloudapi.BackupFailedToSync, cloudapi.BackupNotFound}

// Backups lists all clusters whose backups the member may read, with what these come to, from what was last listed of each account.
// ErrBadCursor when After is no cursor of this query, ErrRateLimited, ErrUnavailable.
func (s *Service) Backups(ctx context.Context, by audit.Actor, q BackupsQuery) (BackupsPage, error) {
	body, err := json.Marshal([]any{"backups", q.Text, q.State, q.Account, q.Environment})
	if err != nil {
		return BackupsPage{}, fmt.Errorf("encoding the query: %w", err)
	}
	query, at := hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8]), cursor{}
	if q.After != "" {
		if at, err = s.decodeCursor(q.After, query); err != nil {
			return BackupsPage{}, err
		}
	}
	rights := s.rights(by)
	scope := rights.Visible(backupsNeed)
	if scope.None() {
		return BackupsPage{}, nil
	}
	ctx, done, err := s.turns.listing(ctx, by)
	if err != nil {
		return BackupsPage{}, err
	}
	defer done()
	of := rights.Visible(schedulesNeed)
	who, now := principal{by.Issuer, by.Subject}, s.now()
	counted, known := s.standing.known(who, scope, of, now)
	var page BackupsPage
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page = BackupsPage{Counts: counted.counts, Unread: counted.unread}
		in, err := reachOf(ctx, tx, scope)
		if err != nil {
			return err
		}
		scheduled, err := reachOf(ctx, tx, of)
		if err != nil {
			return err
		}
		accounts, err := s.fleetAccounts(ctx, tx, scope)
		if err != nil {
			return err
		}
		page.Accounts = accounts.all
		judged := judgedClusters{in: in, scheduled: scheduled, accounts: accounts.all}
		if err := s.backupRows(ctx, tx, &page, judged, q, at, query); err != nil {
			return err
		}
		if err := addSchedules(ctx, tx, page.Rows); err != nil {
			return err
		}
		if !known {
			if err := judged.count(ctx, tx, &page); err != nil {
				return err
			}
		}
		page.Trouble, page.OldestAt, err = s.readTrouble(ctx, tx, kindBackups, accounts)
		return err
	})
	if err != nil {
		return BackupsPage{}, dbError("reading backups", err)
	}
	if !known {
		s.standing.keep(who, standingCount{scope: scope, scheduled: of, counts: page.Counts, unread: page.Unread, until: now.Add(standingLife)})
	}
	page.Counts = maps.Clone(page.Counts)
	return page, nil
}

const (
	// standingLife is how long a member's counts of how clusters stand are used: every cluster is gone through for them.
	standingLife = 5 * time.Second
	// maxStanding bounds the counts that are kept.
	maxStanding = 4096
)

// standingCounts remembers what was counted for members, never under other rights than they have now.
type standingCounts struct {
	mu sync.Mutex
	of map[principal]standingCount
}

type standingCount struct {
	scope, scheduled access.Scope
	counts           map[BackupState]int // not changed any more
	unread           int
	until            time.Time
}

func (c *standingCounts) known(who principal, scope, scheduled access.Scope, now time.Time) (standingCount, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one, counted := c.of[who]
	if !counted || !fresh(now, one.until, standingLife) || !reflect.DeepEqual(one.scope, scope) || !reflect.DeepEqual(one.scheduled, scheduled) {
		return standingCount{}, false
	}
	return one, true
}

func (c *standingCounts) keep(who principal, one standingCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxStanding {
		c.of = map[principal]standingCount{}
	}
	c.of[who] = one
}

// judgedClusters are the clusters of a reach with how they stand. Where schedules may not be read, nothing follows from them.
type judgedClusters struct {
	in, scheduled reach
	accounts      []Account // in which the reach has clusters
}

// from is what to select from as j: the clusters at these places. Each OFFSET 0 keeps Postgres from writing out what is computed
// there wherever it is used, which is many times.
func (j judgedClusters) from(on *conditions, places []pgtype.TID) string {
	on.arguments = append(on.arguments, places)
	at := "$" + strconv.Itoa(len(on.arguments))
	sched := j.scheduledOf(on, "c.account_id", "c.cluster_id")
	return `(
		SELECT k.*, NOT (none OR failed OR overdue OR unscheduled) AS calm,
			CASE WHEN none AND production THEN 9 WHEN failed THEN 7 + production::integer WHEN overdue THEN 5 + production::integer WHEN none THEN 4
				WHEN unscheduled THEN 2 + production::integer WHEN able THEN 1 WHEN unread OR legacy THEN -1 ELSE 0 END AS worry
		FROM (
			SELECT c.*, able AND standing & 8 > 0 AS none, able AND standing & 4 > 0 AS failed,
				able AND scheduled AND standing & 2 > 0 AS overdue, able AND scheduled AND standing & 1 > 0 AS unscheduled
			FROM (
				SELECT c.account_id, c.cluster_id, a.environment = 'production' AS production, a.generation <> 'current' AS legacy,
					a.generation = 'current' AND b.cluster_id IS NULL AS unread, r.ok_at AS read_at, coalesce(r.failures, 0) AS failures,
					coalesce(b.standing, -1) AS standing, coalesce(b.standing, -1) >= 0 AS able,
					CASE WHEN b.standing = -1 THEN b.unsupported END AS unsupported, b.last_at, b.last_status, b.last_ok_at, b.running, b.overdue_at,
					` + sched + ` AS scheduled
				FROM clusters c JOIN accounts a ON a.id = c.account_id
				LEFT JOIN refresh r ON r.account_id = c.account_id AND r.kind = 'backups'
				LEFT JOIN LATERAL (SELECT * FROM cluster_backups b WHERE b.account_id = c.account_id AND b.cluster_id = c.cluster_id OFFSET 0) b ON a.generation = 'current'
				WHERE c.ctid = ANY(` + at + `::tid[]) OFFSET 0
			) c
			OFFSET 0
		) k
	) j`
}

// backupStateIs is the condition on j of each state.
var backupStateIs = map[BackupState]string{
	BackupsNone: "j.none", BackupsFailed: "j.failed", BackupsOverdue: "j.overdue", BackupsUnscheduled: "j.unscheduled",
	BackupsFine: "j.able AND j.calm", BackupsUnable: "NOT j.able AND NOT j.unread",
}

// backupRows reads one page, and one row more to learn whether another follows.
func (s *Service) backupRows(ctx context.Context, tx pgx.Tx, page *BackupsPage, judged judgedClusters, q BackupsQuery, at cursor, query string) error {
	if _, known := backupStateIs[q.State]; q.State != "" && !known {
		return nil
	}
	found, few, err := judged.find(ctx, tx, q)
	if err != nil {
		return err
	}
	if !few {
		if found, err = judged.walk(ctx, tx, q, at, backupsLimit+1); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	on := &conditions{arguments: []any{s.staleAfter()}}
	from := judged.from(on, found)
	on.where("true")
	if q.State != "" {
		on.where(backupStateIs[q.State])
	}
	const keys = `-j.worry, coalesce(j.last_ok_at, '-infinity'::timestamptz), j.account_id, j.cluster_id`
	if q.After != "" {
		on.where(`(`+keys+`) > (?::integer, ?::text::timestamptz, ?::uuid, ?::text)`, -at.Number, at.Text, at.Account, at.Cluster)
	}
	rows, err := tx.Query(ctx, `
		SELECT j.account_id, a.name AS account_name, a.environment, j.cluster_id, c.name AS cluster_name, j.legacy, j.unread, j.read_at, coalesce(j.unsupported, '') AS unsupported,
			NOT a.enabled OR j.failures > 0 OR coalesce(j.read_at, '-infinity') < clock_timestamp() - $1::interval AS stale,
			j.none, j.failed, j.overdue, j.unscheduled,
			j.last_at, coalesce(j.last_status, '') AS last_status, j.last_ok_at, coalesce(j.running, 0) AS running,
			CASE WHEN j.overdue THEN j.overdue_at END AS due_at, j.scheduled, j.worry
		FROM (SELECT j.* FROM `+from+` WHERE `+on.String()+` ORDER BY `+keys+` LIMIT `+strconv.Itoa(backupsLimit+1)+`) j
		JOIN accounts a ON a.id = j.account_id JOIN clusters c ON c.account_id = j.account_id AND c.cluster_id = j.cluster_id
		ORDER BY `+keys, planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("listing clusters by their backups: %w", err)
	}
	type row struct {
		BackupsRow
		Worry int64
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return fmt.Errorf("listing clusters by their backups: %w", err)
	}
	if len(list) > backupsLimit {
		list = list[:backupsLimit]
		last := list[backupsLimit-1]
		place := cursor{Query: query, Number: last.Worry, Text: "-infinity", Account: last.AccountID, Cluster: last.ClusterID}
		if last.LastOKAt != nil {
			place.Text = last.LastOKAt.UTC().Format(time.RFC3339Nano)
		}
		if page.Next, err = s.encodeCursor(place); err != nil {
			return err
		}
	}
	for _, r := range list {
		if r.DueAt != nil {
			due := r.DueAt.Add(-overdueAfter)
			r.DueAt = &due
		}
		page.Rows = append(page.Rows, r.BackupsRow)
	}
	return nil
}

// addSchedules adds to each cluster of a page the schedules that there are, where they may be read.
func addSchedules(ctx context.Context, tx pgx.Tx, page []BackupsRow) error {
	var accounts []uuid.UUID
	var clusters []string
	at := map[ClusterRef]int{}
	for i, r := range page {
		if r.Scheduled {
			accounts, clusters = append(accounts, r.AccountID), append(clusters, r.ClusterID)
			at[ClusterRef{AccountID: r.AccountID, ClusterID: r.ClusterID}] = i
		}
	}
	if len(clusters) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		SELECT p.account_id, s.*, clock_timestamp() AS now FROM unnest($1::uuid[], $2::text[]) p (account_id, cluster_id),
			LATERAL (SELECT `+scheduleColumns+`, count(*) OVER () AS there FROM (
				SELECT * FROM backup_schedules s WHERE s.account_id = p.account_id AND s.cluster_id = p.cluster_id AND `+scheduleGoes+` = 0
				ORDER BY `+scheduleOrder+` LIMIT `+strconv.Itoa(maxSchedulesCounted+1)+`) s ORDER BY `+scheduleOrder+` LIMIT `+strconv.Itoa(fewSchedules)+`) s`, accounts, clusters)
	if err != nil {
		return fmt.Errorf("reading the schedules of clusters: %w", err)
	}
	type row struct {
		seenSchedule
		AccountID uuid.UUID
		There     int
		Now       time.Time
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return fmt.Errorf("reading the schedules of clusters: %w", err)
	}
	for _, r := range found {
		i := at[ClusterRef{AccountID: r.AccountID, ClusterID: r.ClusterID}]
		page[i].Schedules = append(page[i].Schedules, ScheduledState{Name: r.Name, Cron: r.Cron, Status: r.Status, Next: r.next(r.Now)})
		page[i].MoreSchedules = max(0, r.There-fewSchedules)
	}
	return nil
}

const (
	// fewSchedules is how many schedules of each cluster the list of clusters shows, and maxSchedulesCounted up to how many it counts.
	fewSchedules        = 3
	maxSchedulesCounted = 100

	// scheduleOrder is the order of schedules, those first that are not being deleted, for which scheduleGoes is 0.
	scheduleGoes  = `(CASE WHEN s.deleted_at IS NULL THEN 0 ELSE 1 END)`
	scheduleOrder = scheduleGoes + `, s.created_at, s.schedule_id`
)

const scheduleColumns = `schedule_id, cluster_id, name, cron, status, created_at, deleted_at, retention, watched_at, last_run_at`

// next is when the schedule makes its next backup; nil where it makes none or that is not known.
func (s seenSchedule) next(now time.Time) *time.Time {
	tab, ok := parseCrontab(s.Cron)
	if !ok || !s.active() {
		return nil
	}
	from := now
	if tab.every > 0 {
		last := s.LastRunAt
		if last == nil {
			last = s.CreatedAt
		}
		if last == nil {
			return nil
		}
		from = *last
	}
	at, known := tab.after(from)
	if !known {
		return nil
	}
	return &at
}

// ClusterBackups is a page of the backups of a cluster, newest first, and its schedules, as they were last listed.
type ClusterBackups struct {
	Cluster ClusterDetail
	Lacking string // why its API has none; empty: it has, and else the rest says nothing
	// Stands is how the cluster stands with its backups; of one that is gone, only when they were read.
	Stands    BackupsRow
	Error     string // why the last listing failed or is not whole, in words for people
	Backups   []ClusterBackup
	Next      string            // opaque; empty on the last page
	Schedules []ClusterSchedule // the first 100
	// MoreSchedules reports whether there are others.
	MoreSchedules bool
	// Unscheduled says why schedules are not told: the member may not read them. Empty: they are told.
	Unscheduled string
}

// ClusterBackup is a backup.
type ClusterBackup struct {
	ID, Name  string
	StoredAs  string // the name that upstream generated
	Status    string
	CreatedAt *time.Time
	DeletedAt *time.Time     // when its deletion began
	Took      *time.Duration // nil: it has not ended, or upstream does not tell
	KeptUntil *time.Time     // nil: until somebody deletes it, or not known
	Retention *time.Duration // nil: until somebody deletes it
	ByHand    bool           // no schedule made it
	Schedule  string         // the name of the one that made it, where it is there and may be read
}

// ClusterSchedule is a schedule.
type ClusterSchedule struct {
	ID, Name, Cron, Status string
	CreatedAt              *time.Time
	DeletedAt              *time.Time
	Retention              *time.Duration
	Next                   *time.Time // nil: not known, or never
	LastRunAt              *time.Time // of the newest backup of it that was ever seen to end, good or bad
}

// ClusterBackups returns the backups of a cluster from what was last listed. ErrNotFound when the cluster does not exist or may not
// be read, *ForbiddenError when its backups may not, ErrBadCursor when after is no place in this list.
func (s *Service) ClusterBackups(ctx context.Context, by audit.Actor, ref ClusterRef, after string) (ClusterBackups, error) {
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return ClusterBackups{}, err
	}
	if err := s.read(ctx, by, ActBackupRead, known.on); err != nil {
		return ClusterBackups{}, err
	}
	body, err := json.Marshal([]any{"backups", ref.AccountID, ref.ClusterID})
	if err != nil {
		return ClusterBackups{}, fmt.Errorf("encoding the query: %w", err)
	}
	query, at := hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8]), cursor{}
	if after != "" {
		if at, err = s.decodeCursor(after, query); err != nil {
			return ClusterBackups{}, err
		}
	}
	var page ClusterBackups
	if page.Cluster, err = s.Cluster(ctx, by, ref); err != nil {
		return ClusterBackups{}, err
	}
	if page.Lacking = ActBackupRead.Lacking[known.account.Generation]; page.Lacking != "" {
		return page, nil
	}
	rights := s.rights(by)
	scheduled := rights.Missing(access.Needs(access.ReadBackupSchedules), known.on.access())
	if scheduled != "" {
		page.Unscheduled = "You need " + scheduled + " here to see its schedules."
	}
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page.Backups, page.Next, page.Schedules, page.MoreSchedules, page.Stands = nil, "", nil, false, BackupsRow{}
		if err := s.standsWith(ctx, tx, &page, ref, known.account, scheduled == ""); err != nil {
			return err
		}
		schedules, err := schedulesOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		if page.MoreSchedules = len(schedules) > maxSchedulesCounted; page.MoreSchedules {
			schedules = schedules[:maxSchedulesCounted]
		}
		names := map[string]string{}
		if scheduled == "" {
			for _, one := range schedules {
				names[one.ScheduleID] = named(one.Name, one.Cron)
				page.Schedules = append(page.Schedules, ClusterSchedule{
					ID: one.ScheduleID, Name: one.Name, Cron: one.Cron, Status: one.Status, CreatedAt: one.CreatedAt, DeletedAt: one.DeletedAt,
					Retention: one.Retention, Next: one.next(one.Now), LastRunAt: one.LastRunAt,
				})
			}
		}
		return s.backupsOf(ctx, tx, &page, ref, at, query, names)
	})
	if err != nil {
		return ClusterBackups{}, dbError("reading the backups of a cluster", err)
	}
	// What went wrong may be told of other clusters.
	if page.Error != "" && !rights.Allows(backupsNeed, accountTarget(known.account.ref()).access()) {
		page.Error = "The account's backups could not all be listed."
	}
	return page, nil
}

// standsWith reads how one cluster stands.
func (s *Service) standsWith(ctx context.Context, tx pgx.Tx, page *ClusterBackups, ref ClusterRef, of Account, scheduled bool) error {
	one := reach{clusterOf: []uuid.UUID{ref.AccountID}, clusters: []string{ref.ClusterID}, accounts: []uuid.UUID{}}
	judged := judgedClusters{in: one, accounts: []Account{of}, scheduled: reach{accounts: []uuid.UUID{}, clusterOf: []uuid.UUID{}, clusters: []string{}}}
	if scheduled {
		judged.scheduled = one
	}
	on := &BackupsPage{}
	if err := s.backupRows(ctx, tx, on, judged, BackupsQuery{}, cursor{}, ""); err != nil {
		return err
	}
	if len(on.Rows) == 1 {
		page.Stands = on.Rows[0]
	}
	err := tx.QueryRow(ctx, `SELECT ok_at, failures > 0 OR coalesce(ok_at, '-infinity') < clock_timestamp() - $3::interval, error FROM refresh WHERE account_id = $1 AND kind = $2`,
		ref.AccountID, kindBackups, s.staleAfter()).Scan(&page.Stands.ReadAt, &page.Stands.Stale, &page.Error)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("reading how fresh backups are: %w", err)
	}
	return nil
}

type scheduleNow struct {
	seenSchedule
	Now time.Time
}

func schedulesOf(ctx context.Context, tx pgx.Tx, ref ClusterRef) ([]scheduleNow, error) {
	rows, err := tx.Query(ctx, `
		SELECT `+scheduleColumns+`, clock_timestamp() AS now FROM backup_schedules s WHERE account_id = $1 AND cluster_id = $2
		ORDER BY `+scheduleOrder+` LIMIT `+strconv.Itoa(maxSchedulesCounted+1), ref.AccountID, ref.ClusterID)
	if err != nil {
		return nil, fmt.Errorf("reading schedules: %w", err)
	}
	schedules, err := pgx.CollectRows(rows, pgx.RowToStructByName[scheduleNow])
	if err != nil {
		return nil, fmt.Errorf("reading schedules: %w", err)
	}
	return schedules, nil
}

// backupsOf reads one page of the backups of a cluster, and one more to learn whether another follows.
func (s *Service) backupsOf(ctx context.Context, tx pgx.Tx, page *ClusterBackups, ref ClusterRef, at cursor, query string, schedules map[string]string) error {
	const created = `coalesce(created_at, '-infinity'::timestamptz)`
	on := &conditions{}
	on.where("account_id = ? AND cluster_id = ?", ref.AccountID, ref.ClusterID)
	if at.Query != "" {
		on.where(`(`+created+`, backup_id) < (?::text::timestamptz, ?::text)`, at.Text, at.Name)
	}
	rows, err := tx.Query(ctx, `
		SELECT backup_id, cluster_id, name, stored_as, status, schedule_id, created_at, deleted_at, took, retention FROM backups
		WHERE `+on.String()+` ORDER BY `+created+` DESC, backup_id DESC LIMIT `+strconv.Itoa(backupsLimit+1), on.arguments...)
	if err != nil {
		return fmt.Errorf("reading backups: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[seenBackup])
	if err != nil {
		return fmt.Errorf("reading backups: %w", err)
	}
	if len(found) > backupsLimit {
		found = found[:backupsLimit]
		last := found[backupsLimit-1]
		place := cursor{Query: query, Text: "-infinity", Name: last.BackupID}
		if last.CreatedAt != nil {
			place.Text = last.CreatedAt.UTC().Format(time.RFC3339Nano)
		}
		if page.Next, err = s.encodeCursor(place); err != nil {
			return err
		}
	}
	for _, b := range found {
		one := ClusterBackup{
			ID: b.BackupID, Name: b.Name, StoredAs: b.StoredAs, Status: b.Status, CreatedAt: b.CreatedAt, DeletedAt: b.DeletedAt, Took: b.Took, Retention: b.Retention,
			ByHand: b.ScheduleID == "", Schedule: schedules[b.ScheduleID],
		}
		if b.CreatedAt != nil && b.Retention != nil {
			until := b.CreatedAt.Add(*b.Retention)
			one.KeptUntil = &until
		}
		page.Backups = append(page.Backups, one)
	}
	return nil
}

// IsFailedBackup reports whether a backup of the status is one that nobody can restore.
func IsFailedBackup(status string) bool { return slices.Contains(failedBackup, status) }
