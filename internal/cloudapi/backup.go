package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The statuses of a Backup.
const (
	BackupRunning      = "RUNNING"
	BackupSkipped      = "SKIPPED" // it had no suitable target
	BackupFailed       = "FAILED"
	BackupSucceeded    = "SUCCEEDED"
	BackupFailedToSync = "FAILED_TO_SYNC" // an error in the cluster's region
	BackupNotFound     = "NOT_FOUND"      // it should be in the cluster's region and is not
	BackupUnknown      = "UNKNOWN"        // the region has not told for a while
)

// The statuses of a BackupSchedule.
const (
	ScheduleActive       = "ACTIVE"
	ScheduleFailedToSync = "FAILED_TO_SYNC"
	ScheduleNotFound     = "NOT_FOUND"
	ScheduleDisabled     = "DISABLED"
)

// Backup is a backup of a cluster. Upstream does not tell how large one is.
type Backup struct {
	ID          string
	ClusterID   string
	Name        string // generated; it never changes
	DisplayName string // for people; not unique
	Status      string // one of the constants, or one that is not known here
	CreatedAt   time.Time
	DeletedAt   time.Time     // when its deletion began; zero: it did not
	Duration    time.Duration // of making it; 0 until it has ended
	ScheduleID  string        // of the schedule that made it; empty: none did
	Retention   time.Duration // after which it is deleted; 0: it is kept until somebody deletes it
}

// BackupSchedule makes backups of a cluster.
type BackupSchedule struct {
	ID        string
	ClusterID string
	Name      string // may be empty
	Cron      string // a crontab line, or such as @daily
	Status    string // one of the constants, or one that is not known here
	CreatedAt time.Time
	DeletedAt time.Time     // when its deletion began; zero: it did not
	Retention time.Duration // of its backups; 0: until somebody deletes them
}

// BackupRestore is the bringing back of a backup into a cluster.
type BackupRestore struct {
	ID        string
	ClusterID string
	BackupID  string
	Status    string // RUNNING, FAILED, SUCCEEDED, FAILED_TO_SYNC, NOT_FOUND, SKIPPED, or one that is not known here
	CreatedAt time.Time
	DeletedAt time.Time // zero: it was not deleted
}

// Listing is one page of a list that upstream gives in pages.
type Listing[T any] struct {
	Items      []T
	Unreadable int    // so many more were listed and cannot be read
	Total      int    // how many there are on all pages, as upstream tells with this page; 0: not told
	Next       string // token of the next page; empty on the last
}

// Backups returns a page of the account's backups, of all its clusters and of those that are no more, oldest first; an empty
// token asks for the first. A page is Malformed that gives its own token, holds what is another account's, or of which
// not one item can be read.
func (api *CurrentAPI) Backups(ctx context.Context, pageToken string) (Listing[Backup], error) {
	return pageOf(ctx, api.conn, OpListBackups, pageToken, func(n node) (Backup, error) {
		id, err := n.id()
		b := Backup{
			ID: id, ClusterID: n.text("clusterId"), Name: n.words("name"), Status: n.enum("status", enumBackupStatus), CreatedAt: n.time("createdAt"),
			DeletedAt: n.time("deletedAt"), Duration: n.duration("backupDuration"), ScheduleID: n.text("backupScheduleId"), Retention: n.duration("retentionPeriod"),
		}
		b.DisplayName = orString(n.words("displayName"), b.Name)
		if err == nil && !isIdentifier(b.ClusterID) {
			err = errors.New("a backup is of no cluster")
		}
		if b.ScheduleID != "" && !isIdentifier(b.ScheduleID) {
			b.ScheduleID = ""
		}
		return b, err
	})
}

// BackupSchedules returns a page of the schedules of all clusters of the account, as Backups does.
func (api *CurrentAPI) BackupSchedules(ctx context.Context, pageToken string) (Listing[BackupSchedule], error) {
	return pageOf(ctx, api.conn, OpListBackupSchedules, pageToken, func(n node) (BackupSchedule, error) {
		id, err := n.id()
		s := BackupSchedule{
			ID: id, ClusterID: n.text("clusterId"), Name: n.words("displayName"), Cron: n.words("schedule"), Status: n.enum("status", enumScheduleStatus),
			CreatedAt: n.time("createdAt"), DeletedAt: n.time("deletedAt"), Retention: n.duration("retentionPeriod"),
		}
		if err == nil && !isIdentifier(s.ClusterID) {
			err = errors.New("a schedule is of no cluster")
		}
		return s, err
	})
}

// BackupRestores returns a page of the restores of all clusters of the account, as Backups does.
func (api *CurrentAPI) BackupRestores(ctx context.Context, pageToken string) (Listing[BackupRestore], error) {
	return pageOf(ctx, api.conn, OpListBackupRestores, pageToken, func(n node) (BackupRestore, error) {
		id, err := n.id()
		r := BackupRestore{
			ID: id, ClusterID: n.text("clusterId"), BackupID: n.text("backupId"), Status: n.enum("status", enumRestoreStatus),
			CreatedAt: n.time("createdAt"), DeletedAt: n.time("deletedAt"),
		}
		if err == nil && (!isIdentifier(r.ClusterID) || !isIdentifier(r.BackupID)) {
			err = errors.New("a restore is of no cluster or of no backup")
		}
		return r, err
	})
}

// Backups is not in pa/v1.
func (*LegacyAPI) Backups(context.Context, string) (Listing[Backup], error) {
	return Listing[Backup]{}, lacks("Backups", "backups")
}

// BackupSchedules is not in pa/v1.
func (*LegacyAPI) BackupSchedules(context.Context, string) (Listing[BackupSchedule], error) {
	return Listing[BackupSchedule]{}, lacks("BackupSchedules", "backup schedules")
}

// BackupRestores is not in pa/v1.
func (*LegacyAPI) BackupRestores(context.Context, string) (Listing[BackupRestore], error) {
	return Listing[BackupRestore]{}, lacks("BackupRestores", "restores of backups")
}

// pageOf asks for one page of an operation that lists what belongs to the account, and decodes each item. One that cannot be
// read is counted, so that a single novelty upstream hides nothing else.
func pageOf[T any](ctx context.Context, conn *Conn, op Op, pageToken string, decode func(node) (T, error)) (Listing[T], error) {
	query := url.Values{"pageSize": {strconv.Itoa(pageSize)}}
	if pageToken != "" {
		query.Set("pageToken", pageToken)
	}
	answer, err := conn.Do(ctx, op, nil, query, nil)
	if err != nil {
		return Listing[T]{}, err
	}
	done, err := conn.decoding(ctx, answer)
	if err != nil {
		return Listing[T]{}, err
	}
	defer done()
	var page Listing[T]
	var first error // why the first of those that cannot be read cannot
	rest, err := members(answer.Body, "items", func(raw json.RawMessage) error {
		n, err := parseNode(raw)
		if err == nil {
			if account := n.text("accountId"); account != "" && !strings.EqualFold(account, conn.cfg.CloudAccountID) {
				return fmt.Errorf("one item: %w", errOtherAccount)
			}
			var item T
			if item, err = decode(n); err == nil {
				page.Items = append(page.Items, item)
				return nil
			}
		}
		page.Unreadable++
		if first == nil {
			first = err
		}
		return nil
	})
	if err == nil && len(page.Items) == 0 {
		err = first
	}
	if err == nil {
		page.Next, err = nextPage(rest)
	}
	if err == nil && page.Next != "" && page.Next == pageToken {
		err = errors.New("the page names itself as the next")
	}
	if err != nil {
		return Listing[T]{}, conn.misshapen(op, answer, err)
	}
	page.Total = totalOf(rest)
	return page, nil
}

// totalOf is how many items upstream says that there are; 0 where it does not, or says nonsense.
func totalOf(rest map[string]json.RawMessage) int {
	told := node{members: map[string]any{}}
	for _, name := range []string{"totalSize", "total_size"} {
		if value, err := parse(rest[name]); err == nil {
			told.members[name] = value
		}
	}
	return told.count("totalSize", maxTotal)
}

// maxTotal is more than any list has that is believed.
const maxTotal = 1 << 30
