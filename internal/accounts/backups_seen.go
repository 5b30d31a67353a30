package accounts

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi"
)

// Backups and schedules are listed account by account, whole or not at all: a listing of which a page fails changes nothing. What
// appears and disappears in them is no event of the log. Beside the rows of the listing one row a cluster says what they come to,
// so that a page over all accounts reads one row a cluster.

const (
	// maxListedBackups bounds a listing of backups, and one of schedules. Past it it is not believed.
	maxListedBackups = 50_000
	// maxListedText bounds the bytes of text of a listing, and past largeText a listing is large: largeLists of all accounts are held
	// by a process at a time.
	maxListedText = 24 << 20
	largeText     = 4 << 20
	largeLists    = 2
	// backupsSoon is how much sooner than at rest an account is read while one of its backups is made.
	backupsSoon = 6
	// overdueAfter is how long after its time a backup may still come before its schedule counts as late.
	overdueAfter = 30 * time.Minute
	// earlyRun is how much before its time a backup may come and be the one of that time: the clocks are two.
	earlyRun = 2 * time.Minute
	// aheadAtMost is how far upstream's clock may be ahead. A later time is not believed.
	aheadAtMost = 5 * time.Minute
	// leastRetention is the shortest time that upstream keeps a backup.
	leastRetention = 24 * time.Hour
)

// seenBackup is a backup as the table backups has it.
type seenBackup struct {
	BackupID   string
	ClusterID  string
	Name       string
	StoredAs   string
	Status     string
	ScheduleID string
	CreatedAt  *time.Time
	DeletedAt  *time.Time
	Took       *time.Duration
	Retention  *time.Duration
}

// seenSchedule is a schedule as the table backup_schedules has it.
type seenSchedule struct {
	ScheduleID string
	ClusterID  string
	Name       string
	Cron       string
	Status     string
	CreatedAt  *time.Time
	DeletedAt  *time.Time
	Retention  *time.Duration
	WatchedAt  time.Time  `json:"-"`        // since when no backup of it can have come and gone unseen
	LastRunAt  *time.Time `json:"-"`        // of the newest backup of it that was ever seen and came to an end, good or bad
	RunningAt  *time.Time `db:"-" json:"-"` // of the newest that is being made
}

func seenMoment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Microsecond)
	return &t
}

func seenLength(d time.Duration) *time.Duration {
	if d == 0 {
		return nil
	}
	return &d
}

func seenBackupOf(b cloudapi.Backup) seenBackup {
	return seenBackup{
		BackupID: plain(b.ID), ClusterID: plain(b.ClusterID), Name: plain(b.DisplayName), StoredAs: plain(b.Name), Status: plain(b.Status), ScheduleID: plain(b.ScheduleID),
		CreatedAt: seenMoment(b.CreatedAt), DeletedAt: seenMoment(b.DeletedAt), Took: seenLength(b.Duration), Retention: seenLength(b.Retention),
	}
}

func seenScheduleOf(s cloudapi.BackupSchedule) seenSchedule {
	return seenSchedule{
		ScheduleID: plain(s.ID), ClusterID: plain(s.ClusterID), Name: plain(s.Name), Cron: plain(s.Cron), Status: plain(s.Status),
		CreatedAt: seenMoment(s.CreatedAt), DeletedAt: seenMoment(s.DeletedAt), Retention: seenLength(s.Retention),
	}
}

func sameMoment(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

func sameLength(a, b *time.Duration) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func (b seenBackup) text() int {
	return len(b.BackupID) + len(b.ClusterID) + len(b.Name) + len(b.StoredAs) + len(b.Status) + len(b.ScheduleID)
}

func (s seenSchedule) text() int {
	return len(s.ScheduleID) + len(s.ClusterID) + len(s.Name) + len(s.Cron) + len(s.Status)
}

// made is when the backup was made, as far as that can be believed; nil: nobody knows.
func (b seenBackup) made(l lease) *time.Time {
	if b.CreatedAt == nil || b.CreatedAt.After(l.StartedAt.Add(aheadAtMost)) {
		return nil
	}
	return b.CreatedAt
}

// ended reports whether the backup of a schedule's time came and is told for itself, good or bad. One that was skipped, or of which
// nobody knows what became, is not what the schedule promises.
func (b seenBackup) ended() bool {
	return b.Status == cloudapi.BackupSucceeded || IsFailedBackup(b.Status)
}

func (b seenBackup) same(o seenBackup) bool {
	return b.ClusterID == o.ClusterID && b.Name == o.Name && b.StoredAs == o.StoredAs && b.Status == o.Status && b.ScheduleID == o.ScheduleID &&
		sameMoment(b.CreatedAt, o.CreatedAt) && sameMoment(b.DeletedAt, o.DeletedAt) && sameLength(b.Took, o.Took) && sameLength(b.Retention, o.Retention)
}

func (s seenSchedule) same(o seenSchedule) bool {
	return s.ClusterID == o.ClusterID && s.Name == o.Name && s.Cron == o.Cron && s.Status == o.Status &&
		sameMoment(s.CreatedAt, o.CreatedAt) && sameMoment(s.DeletedAt, o.DeletedAt) && sameLength(s.Retention, o.Retention) &&
		s.WatchedAt.Equal(o.WatchedAt) && sameMoment(s.LastRunAt, o.LastRunAt)
}

// active reports whether the schedule makes backups.
func (s seenSchedule) active() bool {
	return s.Status == cloudapi.ScheduleActive && s.DeletedAt == nil
}

// overdueAt is from when on the schedule is late when no backup of it comes; nil where that is not known.
func (s seenSchedule) overdueAt() *time.Time {
	tab, ok := parseCrontab(s.Cron)
	if !ok || !s.active() {
		return nil
	}
	from := s.CreatedAt
	for _, later := range []*time.Time{s.LastRunAt, s.RunningAt, s.unseenUntil()} {
		if later != nil && (from == nil || later.After(*from)) {
			from = later
		}
	}
	if from == nil {
		return nil
	}
	due, known := tab.after(from.Add(earlyRun))
	if !known {
		return nil
	}
	due = due.Add(overdueAfter)
	return &due
}

// unseenUntil is until when backups of the schedule may have come and gone before anybody looked here.
func (s seenSchedule) unseenUntil() *time.Time {
	if s.Retention == nil || s.WatchedAt.IsZero() {
		return nil
	}
	until := s.WatchedAt.Add(-*s.Retention)
	return &until
}

// backupReading is what one reading found. partly says that something may be missing in it, of which nothing is concluded.
type backupReading struct {
	backups   []seenBackup
	schedules []seenSchedule
	unlisted  string // why schedules are not among it; empty: they are
	partly    bool
	paged     bool // a list had several pages, between which it may have changed
	unread    int  // so many were listed and could not be read
	digest    []byte
}

// sealed is the reading with its digest.
func (r backupReading) sealed() (_ backupReading, err error) {
	sum := sha256.New()
	encoder := json.NewEncoder(sum) // one by one: all of them in one text would be as much again
	for _, b := range r.backups {
		err = errors.Join(err, encoder.Encode(b))
	}
	for _, one := range r.schedules {
		err = errors.Join(err, encoder.Encode(one))
	}
	if err = errors.Join(err, encoder.Encode([]any{len(r.backups), len(r.schedules), r.unlisted, r.unread})); err != nil {
		return r, fmt.Errorf("encoding what was read: %w", err)
	}
	r.digest = sum.Sum(nil)
	return r, nil
}

// with is the reading with what only an earlier one had.
func (r backupReading) with(earlier backupReading) (backupReading, error) {
	r.backups = joinListings(r.backups, earlier.backups, func(b seenBackup) string { return b.BackupID })
	r.schedules = joinListings(r.schedules, earlier.schedules, func(s seenSchedule) string { return s.ScheduleID })
	return r.sealed()
}

// joinListings is a listing with what only an earlier one had, by id.
func joinListings[T any](now, earlier []T, id func(T) string) []T {
	byID := map[string]T{}
	for _, one := range slices.Concat(earlier, now) {
		byID[id(one)] = one
	}
	return inOrderOf(byID)
}

func inOrderOf[T any](byID map[string]T) []T {
	all := make([]T, 0, len(byID))
	for _, key := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, byID[key])
	}
	return all
}

// refreshBackups lists the backups and schedules of an account, and stores what is different.
func (s *Service) refreshBackups(ctx context.Context, l lease, up *link) (time.Duration, error) {
	held := &heldList{places: s.refreshing.largeLists}
	defer held.release()
	read, err := s.readBackups(ctx, l, up, held)
	if err != nil {
		return 0, err
	}
	next := s.cfg.PollMax
	if slices.ContainsFunc(read.backups, func(b seenBackup) bool { return b.Status == cloudapi.BackupRunning }) {
		next = max(s.cfg.PollMax/backupsSoon, s.cfg.PollMin)
	}
	quiet, err := s.backupsAsBefore(ctx, l, read)
	if err != nil || quiet {
		return next, err
	}
	known, err := s.knownBackups(ctx, l.AccountID)
	if err != nil {
		return 0, err
	}
	judged := judgeBackups(l, read, known)
	if read.paged && len(judged.deleteBackups)+len(judged.deleteSchedules) > 0 {
		// What moves to a page that was read already is in none. So only what a second listing lacks, too, is gone.
		again, err := s.readBackups(ctx, l, up, held)
		if err != nil {
			return 0, err
		}
		if read, err = again.with(read); err != nil {
			return 0, err
		}
		judged = judgeBackups(l, read, known)
	}
	return next, s.storeBackups(ctx, l, read, judged)
}

// readBackups asks upstream.
func (s *Service) readBackups(ctx context.Context, l lease, up *link, held *heldList) (read backupReading, err error) {
	backups, err := wholeListing(ctx, "backups", held, up.cloud.Backups, seenBackupOf, func(b seenBackup) string { return b.BackupID })
	if err != nil {
		return backupReading{}, err
	}
	read = backupReading{backups: backups.items, partly: backups.partly, paged: backups.pages > 1, unread: backups.unread}
	schedules, err := s.readSchedules(ctx, l, up, held)
	switch {
	case err == nil:
		read.schedules, read.unread = schedules.items, read.unread+schedules.unread
		read.partly, read.paged = read.partly || schedules.partly, read.paged || schedules.pages > 1
	case lacksRight(err): // then the backups are still worth having
		read.unlisted = kindWords(err)
	default:
		return backupReading{}, err
	}
	return read.sealed()
}

func (s *Service) readSchedules(ctx context.Context, l lease, up *link, held *heldList) (whole[seenSchedule], error) {
	account, err := accountByID(ctx, s.cfg.DB, l.AccountID, false)
	if err != nil {
		return whole[seenSchedule]{}, err
	}
	if lacking := keyLacks(account.Key, cloudapi.OpListBackupSchedules.Permissions); len(lacking) > 0 {
		return whole[seenSchedule]{}, &lackingError{lacking}
	}
	return wholeListing(ctx, "backup schedules", held, up.cloud.BackupSchedules, seenScheduleOf, func(s seenSchedule) string { return s.ScheduleID })
}

// lacksRight reports whether a read failed because the key may not do it.
func lacksRight(err error) bool {
	if _, known := errors.AsType[*lackingError](err); known {
		return true
	}
	refused, ok := cloudapi.AsError(err)
	return ok && refused.Kind == cloudapi.Forbidden
}

// whole is a listing of which every page was read.
type whole[T any] struct {
	items  []T // by id
	pages  int
	unread int
	partly bool // upstream counts more than it listed, or some could not be read
}

// heldList is what one account's listings may hold: past a size it has one of the process's places, until it is released.
type heldList struct {
	places chan struct{}
	has    bool
}

// holds waits for a place when so many bytes need one. errBusy when none comes.
func (h *heldList) holds(ctx context.Context, bytes int) error {
	if bytes <= largeText || h.has {
		return nil
	}
	select {
	case h.places <- struct{}{}:
		h.has = true
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: the long lists of other accounts are held", errBusy)
	}
}

func (h *heldList) release() {
	if h.has {
		<-h.places
		h.has = false
	}
}

// wholeListing reads all pages of a list. What moves to a later page meanwhile is there twice; the later one is newer.
func wholeListing[From any, T interface{ text() int }](ctx context.Context, what string, held *heldList, list func(context.Context, string) (cloudapi.Listing[From], error), seen func(From) T, id func(T) string) (whole[T], error) {
	var all whole[T]
	byID, asked := map[string]T{}, map[string]bool{}
	told, bytes := 0, 0
	for token := ""; ; {
		page, err := list(ctx, token)
		if err != nil {
			return whole[T]{}, err
		}
		for _, item := range page.Items {
			one := seen(item)
			byID[id(one)] = one
			bytes += one.text()
		}
		all.pages++
		all.unread += page.Unreadable
		told = cmp.Or(page.Total, told)
		switch {
		case len(byID)+all.unread > maxListedBackups || bytes > maxListedText:
			return whole[T]{}, &listingError{"Qdrant Cloud listed more " + what + " than the console takes."}
		case page.Next == "":
			all.items = inOrderOf(byID)
			all.partly = all.unread > 0 || len(byID) < told
			return all, nil
		case asked[page.Next] || len(asked) == maxPages:
			return whole[T]{}, &listingError{"Qdrant Cloud's list of " + what + " does not end."}
		}
		asked[page.Next] = true
		token = page.Next
		if err := held.holds(ctx, bytes); err != nil {
			return whole[T]{}, err
		}
	}
}

// backupsAsBefore stores only when it was read, when that is all there is to store: the listing is the one before, every cluster was
// looked at as it is, and none became late. After a day without a listing backups may have come and gone, so it is compared.
func (s *Service) backupsAsBefore(ctx context.Context, l lease, read backupReading) (bool, error) {
	if l.OKAt == nil || l.Failures > 0 || l.unwatched() {
		return false, nil
	}
	var before []byte
	var looked bool
	if err := s.cfg.DB.QueryRow(ctx, `
		SELECT r.digest, NOT EXISTS (
			SELECT FROM clusters c LEFT JOIN cluster_backups b ON b.account_id = c.account_id AND b.cluster_id = c.cluster_id
			WHERE c.account_id = r.account_id AND c.gone_at IS NULL AND (b.cluster_digest IS DISTINCT FROM c.digest OR b.overdue <> coalesce(b.overdue_at < $3, false)))
		FROM refresh r WHERE r.account_id = $1 AND r.kind = $2`, l.AccountID, kindBackups, l.StartedAt).Scan(&before, &looked); err != nil {
		return false, fmt.Errorf("reading the digest of the backups: %w", err)
	}
	if !looked || !bytes.Equal(before, read.digest) {
		return false, nil
	}
	if _, err := s.cfg.DB.Exec(ctx, `UPDATE refresh SET ok_at = $4 WHERE account_id = $1 AND kind = $2 AND lease_owner = $3`, l.AccountID, kindBackups, l.Owner, l.StartedAt); err != nil {
		return false, fmt.Errorf("storing that backups are as they were: %w", err)
	}
	return true, nil
}

// unwatched reports whether a backup may have come and gone since the last listing.
func (l lease) unwatched() bool { return l.OKAt == nil || l.StartedAt.Sub(*l.OKAt) >= leastRetention }

// knownBackups is what is stored of an account.
type knownBackups struct {
	backups   map[string]seenBackup
	schedules map[string]seenSchedule
	clusters  []knownBackupCluster // those that are there, by id
}

// knownBackupCluster is a cluster with what is stored of its backups.
type knownBackupCluster struct {
	id          string
	digest      []byte
	unsupported *string // as the cluster is now
	stored      *backupSum
}

// backupSum is a row of cluster_backups: what the backups of a cluster come to.
type backupSum struct {
	digest      []byte
	unsupported *string
	lastAt      *time.Time
	lastStatus  string
	lastOKAt    *time.Time
	running     int
	schedules   int
	overdueAt   *time.Time
	overdue     bool // at the time of the listing
}

// same reports whether two come to the same for people.
func (b backupSum) same(o backupSum) bool {
	return (b.unsupported == nil) == (o.unsupported == nil) && (b.unsupported == nil || *b.unsupported == *o.unsupported) && b.lastStatus == o.lastStatus &&
		sameMoment(b.lastAt, o.lastAt) && sameMoment(b.lastOKAt, o.lastOKAt) && b.running == o.running && b.schedules == o.schedules && sameMoment(b.overdueAt, o.overdueAt) && b.overdue == o.overdue
}

func (s *Service) knownBackups(ctx context.Context, accountID uuid.UUID) (knownBackups, error) {
	known := knownBackups{backups: map[string]seenBackup{}, schedules: map[string]seenSchedule{}}
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT backup_id, cluster_id, name, stored_as, status, schedule_id, created_at, deleted_at, took, retention FROM backups WHERE account_id = $1`, accountID)
	if err != nil {
		return known, fmt.Errorf("reading known backups: %w", err)
	}
	backups, err := pgx.CollectRows(rows, pgx.RowToStructByName[seenBackup])
	if err != nil {
		return known, fmt.Errorf("reading known backups: %w", err)
	}
	for _, b := range backups {
		known.backups[b.BackupID] = b
	}
	rows, err = s.cfg.DB.Query(ctx, `
		SELECT schedule_id, cluster_id, name, cron, status, created_at, deleted_at, retention, watched_at, last_run_at FROM backup_schedules WHERE account_id = $1`, accountID)
	if err != nil {
		return known, fmt.Errorf("reading known schedules: %w", err)
	}
	schedules, err := pgx.CollectRows(rows, pgx.RowToStructByName[seenSchedule])
	if err != nil {
		return known, fmt.Errorf("reading known schedules: %w", err)
	}
	for _, one := range schedules {
		known.schedules[one.ScheduleID] = one
	}
	known.clusters, err = s.knownBackupClusters(ctx, accountID)
	return known, err
}

// knownBackupClusters reads the clusters of an account. Only of those that are not as they were looked at last, what the Cloud API
// answered is read, one after the other.
func (s *Service) knownBackupClusters(ctx context.Context, accountID uuid.UUID) (clusters []knownBackupCluster, err error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT c.cluster_id, c.digest, CASE WHEN b.cluster_digest IS DISTINCT FROM c.digest THEN c.raw END, b.cluster_id IS NOT NULL, b.cluster_digest, b.unsupported,
			b.last_at, coalesce(b.last_status, ''), b.last_ok_at, coalesce(b.running, 0), coalesce(b.schedules, 0), b.overdue_at, coalesce(b.overdue, false)
		FROM clusters c LEFT JOIN cluster_backups b ON b.account_id = c.account_id AND b.cluster_id = c.cluster_id
		WHERE c.account_id = $1 AND c.gone_at IS NULL ORDER BY c.cluster_id`, accountID)
	if err != nil {
		return nil, fmt.Errorf("reading clusters with backups: %w", err)
	}
	var id string
	var digest, raw []byte
	var looked bool
	var sum backupSum
	_, err = pgx.ForEachRow(rows, []any{&id, &digest, &raw, &looked, &sum.digest, &sum.unsupported, &sum.lastAt, &sum.lastStatus, &sum.lastOKAt, &sum.running, &sum.schedules, &sum.overdueAt, &sum.overdue}, func() error {
		c := knownBackupCluster{id: id, digest: bytes.Clone(digest), unsupported: sum.unsupported}
		if looked {
			stored := sum
			stored.digest = bytes.Clone(sum.digest)
			c.stored = &stored
		}
		if raw != nil {
			c.unsupported = backupsUnsupported(raw)
		}
		clusters = append(clusters, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading clusters with backups: %w", err)
	}
	return clusters, nil
}

// backupsUnsupported says why upstream offers a cluster no backups; nil where it does, or does not tell.
func backupsUnsupported(raw []byte) *string {
	cluster, err := cloudapi.DecodeCluster(cloudapi.Current, raw)
	if err != nil { // it was stored, so it could be read: by another release
		return nil
	}
	for _, c := range cluster.State.Capabilities {
		if c.Name == "backup" && c.Status == "NOT_SUPPORTED" {
			why := cut(plain(cmp.Or(c.Reason, "Qdrant Cloud offers no backups for it.")), maxSnapshotText)
			return &why
		}
	}
	return nil
}

// judgedBackups is what there is to store after a reading.
type judgedBackups struct {
	writeBackups    []seenBackup
	writeSchedules  []seenSchedule
	deleteBackups   []string
	deleteSchedules []string
	sums            map[string]backupSum // by cluster
	changed         map[string]bool      // clusters of which people see something different
}

// judgeBackups compares a reading with what is known.
func judgeBackups(l lease, read backupReading, known knownBackups) judgedBackups {
	judged := judgedBackups{sums: map[string]backupSum{}, changed: map[string]bool{}}
	now, listed := map[string][]seenBackup{}, map[string]bool{}
	for _, b := range read.backups {
		listed[b.BackupID] = true
		now[b.ClusterID] = append(now[b.ClusterID], b)
		if was, stored := known.backups[b.BackupID]; !stored || !b.same(was) {
			judged.writeBackups = append(judged.writeBackups, b)
			judged.changed[b.ClusterID], judged.changed[was.ClusterID] = true, true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(known.backups)) {
		b := known.backups[id]
		switch {
		case listed[id]:
		case read.partly:
			now[b.ClusterID] = append(now[b.ClusterID], b)
		default:
			judged.deleteBackups = append(judged.deleteBackups, id)
			judged.changed[b.ClusterID] = true
		}
	}
	schedules := judged.schedules(l, read, known, now)
	for _, c := range known.clusters {
		sum := sumBackups(l, now[c.id], schedules[c.id])
		sum.digest, sum.unsupported = c.digest, c.unsupported
		if c.stored == nil || !sum.same(*c.stored) {
			judged.changed[c.id] = true
		} else if bytes.Equal(c.stored.digest, c.digest) {
			continue
		}
		judged.sums[c.id] = sum
	}
	delete(judged.changed, "")
	return judged
}

// schedules compares the schedules, and returns those that there are by cluster.
func (j *judgedBackups) schedules(l lease, read backupReading, known knownBackups, backups map[string][]seenBackup) map[string][]seenSchedule {
	ran, running := map[string]*time.Time{}, map[string]*time.Time{}
	for _, of := range backups {
		for _, b := range of {
			into := ran
			switch made := b.made(l); {
			case b.ScheduleID == "" || made == nil:
				continue
			case b.Status == cloudapi.BackupRunning:
				into = running
				fallthrough
			case b.ended():
				if into[b.ScheduleID] == nil || made.After(*into[b.ScheduleID]) {
					into[b.ScheduleID] = made
				}
			}
		}
	}
	there, listed := slices.Clone(read.schedules), map[string]bool{}
	for _, one := range read.schedules {
		listed[one.ScheduleID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(known.schedules)) {
		switch one := known.schedules[id]; {
		case listed[id]:
		case read.partly || read.unlisted != "":
			there = append(there, one)
		default:
			j.deleteSchedules = append(j.deleteSchedules, id)
			j.changed[one.ClusterID] = true
		}
	}
	by := map[string][]seenSchedule{}
	for _, one := range there {
		was, stored := known.schedules[one.ScheduleID]
		one.WatchedAt, one.LastRunAt, one.RunningAt = was.WatchedAt, was.LastRunAt, running[one.ScheduleID]
		if one.LastRunAt != nil && one.LastRunAt.After(l.StartedAt.Add(aheadAtMost)) { // as another release stored it
			one.LastRunAt = nil
		}
		if !stored || l.unwatched() {
			one.WatchedAt = l.StartedAt.UTC().Truncate(time.Microsecond)
		}
		if at := ran[one.ScheduleID]; at != nil && (one.LastRunAt == nil || at.After(*one.LastRunAt)) {
			one.LastRunAt = at
		}
		if !stored || !one.same(was) {
			j.writeSchedules = append(j.writeSchedules, one)
			j.changed[one.ClusterID], j.changed[was.ClusterID] = true, true
		}
		by[one.ClusterID] = append(by[one.ClusterID], one)
	}
	return by
}

// sumBackups says what the backups and schedules of one cluster come to. What is being deleted is no backup to count on, and one from
// the future is of a time that nobody knows.
func sumBackups(l lease, backups []seenBackup, schedules []seenSchedule) backupSum {
	var sum backupSum
	epoch := time.Time{}
	at := func(b seenBackup) *time.Time {
		if made := b.made(l); made != nil {
			return made
		}
		return &epoch
	}
	for _, b := range backups {
		switch {
		case b.DeletedAt != nil:
			continue
		case b.Status == cloudapi.BackupRunning:
			sum.running++
			continue
		case sum.lastStatus == "" || at(b).After(*sum.lastAt):
			sum.lastAt, sum.lastStatus = at(b), cmp.Or(b.Status, "UNSPECIFIED")
		}
		if b.Status == cloudapi.BackupSucceeded && (sum.lastOKAt == nil || at(b).After(*sum.lastOKAt)) {
			sum.lastOKAt = at(b)
		}
	}
	for _, one := range schedules {
		if !one.active() {
			continue
		}
		sum.schedules++
		if due := one.overdueAt(); due != nil && (sum.overdueAt == nil || due.Before(*sum.overdueAt)) {
			sum.overdueAt = due
		}
	}
	sum.overdue = sum.overdueAt != nil && sum.overdueAt.Before(l.StartedAt)
	return sum
}

// queueBackups stores backups by one statement: one a row would take a large account longer than a transaction may.
func queueBackups(batch *pgx.Batch, l lease, write []seenBackup) {
	if len(write) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO backups (account_id, backup_id, cluster_id, name, stored_as, status, schedule_id, created_at, deleted_at, took, retention)
		SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::interval[], $11::interval[])
		ON CONFLICT ON CONSTRAINT backups_pkey DO UPDATE SET cluster_id = excluded.cluster_id, name = excluded.name, stored_as = excluded.stored_as,
			status = excluded.status, schedule_id = excluded.schedule_id, created_at = excluded.created_at, deleted_at = excluded.deleted_at,
			took = excluded.took, retention = excluded.retention`,
		l.AccountID, column(write, func(b seenBackup) string { return b.BackupID }), column(write, func(b seenBackup) string { return b.ClusterID }),
		column(write, func(b seenBackup) string { return b.Name }), column(write, func(b seenBackup) string { return b.StoredAs }),
		column(write, func(b seenBackup) string { return b.Status }), column(write, func(b seenBackup) string { return b.ScheduleID }),
		column(write, func(b seenBackup) *time.Time { return b.CreatedAt }), column(write, func(b seenBackup) *time.Time { return b.DeletedAt }),
		column(write, func(b seenBackup) *time.Duration { return b.Took }), column(write, func(b seenBackup) *time.Duration { return b.Retention }))
}

// queueSchedules stores schedules by one statement.
func queueSchedules(batch *pgx.Batch, l lease, write []seenSchedule) {
	if len(write) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO backup_schedules (account_id, schedule_id, cluster_id, name, cron, status, created_at, deleted_at, retention, watched_at, last_run_at)
		SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::interval[], $10::timestamptz[], $11::timestamptz[])
		ON CONFLICT ON CONSTRAINT backup_schedules_pkey DO UPDATE SET cluster_id = excluded.cluster_id, name = excluded.name, cron = excluded.cron,
			status = excluded.status, created_at = excluded.created_at, deleted_at = excluded.deleted_at, retention = excluded.retention,
			watched_at = excluded.watched_at, last_run_at = excluded.last_run_at`,
		l.AccountID, column(write, func(s seenSchedule) string { return s.ScheduleID }), column(write, func(s seenSchedule) string { return s.ClusterID }),
		column(write, func(s seenSchedule) string { return s.Name }), column(write, func(s seenSchedule) string { return s.Cron }),
		column(write, func(s seenSchedule) string { return s.Status }), column(write, func(s seenSchedule) *time.Time { return s.CreatedAt }),
		column(write, func(s seenSchedule) *time.Time { return s.DeletedAt }), column(write, func(s seenSchedule) *time.Duration { return s.Retention }),
		column(write, func(s seenSchedule) time.Time { return s.WatchedAt }), column(write, func(s seenSchedule) *time.Time { return s.LastRunAt }))
}

// queueSums stores what clusters' backups come to by one statement. A cluster that went meanwhile has nothing to be stored at.
func queueSums(batch *pgx.Batch, l lease, sums map[string]backupSum) {
	if len(sums) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(sums))
	write := make([]backupSum, len(ids))
	for i, id := range ids {
		write[i] = sums[id]
	}
	batch.Queue(`
		INSERT INTO cluster_backups (account_id, cluster_id, cluster_digest, unsupported, last_at, last_status, last_ok_at, running, schedules, overdue_at, overdue)
		SELECT c.account_id, c.cluster_id, n.digest, n.unsupported, n.last_at, n.last_status, n.last_ok_at, n.running, n.schedules, n.overdue_at, n.overdue
		FROM unnest($2::text[], $3::bytea[], $4::text[], $5::timestamptz[], $6::text[], $7::timestamptz[], $8::integer[], $9::integer[], $10::timestamptz[], $11::boolean[])
			n (cluster_id, digest, unsupported, last_at, last_status, last_ok_at, running, schedules, overdue_at, overdue)
		JOIN clusters c ON c.account_id = $1 AND c.cluster_id = n.cluster_id ORDER BY c.cluster_id FOR KEY SHARE OF c
		ON CONFLICT ON CONSTRAINT cluster_backups_pkey DO UPDATE SET cluster_digest = excluded.cluster_digest, unsupported = excluded.unsupported,
			last_at = excluded.last_at, last_status = excluded.last_status, last_ok_at = excluded.last_ok_at, running = excluded.running,
			schedules = excluded.schedules, overdue_at = excluded.overdue_at, overdue = excluded.overdue`,
		l.AccountID, ids, column(write, func(b backupSum) []byte { return b.digest }), column(write, func(b backupSum) *string { return b.unsupported }),
		column(write, func(b backupSum) *time.Time { return b.lastAt }), column(write, func(b backupSum) string { return b.lastStatus }),
		column(write, func(b backupSum) *time.Time { return b.lastOKAt }), column(write, func(b backupSum) int32 { return count(b.running) }),
		column(write, func(b backupSum) int32 { return count(b.schedules) }), column(write, func(b backupSum) *time.Time { return b.overdueAt }),
		column(write, func(b backupSum) bool { return b.overdue }))
}

// column is one field of each row.
func column[Row, T any](rows []Row, of func(Row) T) []T {
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = of(row)
	}
	return out
}

// storeBackups stores what is different in one transaction.
func (s *Service) storeBackups(ctx context.Context, l lease, read backupReading, judged judgedBackups) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	batch := &pgx.Batch{}
	queueBackups(batch, l, judged.writeBackups)
	queueSchedules(batch, l, judged.writeSchedules)
	if len(judged.deleteBackups) > 0 {
		batch.Queue(`DELETE FROM backups WHERE account_id = $1 AND backup_id = ANY($2)`, l.AccountID, judged.deleteBackups)
	}
	if len(judged.deleteSchedules) > 0 {
		batch.Queue(`DELETE FROM backup_schedules WHERE account_id = $1 AND schedule_id = ANY($2)`, l.AccountID, judged.deleteSchedules)
	}
	queueSums(batch, l, judged.sums)
	digest := read.digest
	if read.partly && read.unread == 0 || slices.ContainsFunc(read.backups, func(b seenBackup) bool { return b.CreatedAt != nil && b.made(l) == nil }) {
		digest = nil // the next listing may be whole, and what is in the future now is not for ever
	}
	batch.Queue(`UPDATE refresh SET ok_at = $3, digest = $4, error = $5 WHERE account_id = $1 AND kind = $2`, l.AccountID, kindBackups, l.StartedAt, digest, cut(read.words(), maxSnapshotText))
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, kindBackups, l); err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("storing backups: %w", err)
		}
		if len(judged.changed) > 0 || l.OKAt == nil || l.Failures > 0 {
			return notifyClusters(ctx, tx, l.AccountID, slices.Sorted(maps.Keys(judged.changed))...)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing the list of backups: %w", err)
	}
	return nil
}

// words say for people what could not be read.
func (r backupReading) words() string {
	switch {
	case r.unlisted != "":
		return "Schedules could not be listed: " + r.unlisted
	case r.unread > 0:
		return fmt.Sprintf("The console could not read %d of the backups and schedules that Qdrant Cloud listed.", r.unread)
	}
	return ""
}
