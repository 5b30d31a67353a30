package sandbox

import (
	"slices"
	"strings"
	"time"
)

// backupSucceeded is the number of BACKUP_STATUS_SUCCEEDED.
const backupSucceeded enumValue = 4

// listMessages serves a paged listing of stored messages, filtered by the request's fields of the
// same name.
func (r *request) listMessages(stored map[string]msg, requestType string, filters ...string) (msg, error) {
	items := slices.DeleteFunc(ordered(stored), func(m msg) bool {
		for _, f := range filters {
			if r.in.has(f) && m.str(f) != strings.ToLower(r.in.str(f)) {
				return true
			}
		}
		return false
	})
	keys := make([]string, len(items))
	for i, m := range items {
		keys[i] = m.when("created_at").Format(time.RFC3339Nano) + m.str("id")
	}
	from, to, out, err := r.page(keys, requestType)
	if err != nil {
		return nil, err
	}
	out["items"] = anys(items[from:to])
	return out, nil
}

func (r *request) listBackups() (msg, error) {
	return r.listMessages(r.account.backups, "cluster.backup.v1.ListBackupsRequest", "cluster_id", "backup_schedule_id")
}

func (r *request) listRestores() (msg, error) {
	return r.listMessages(r.account.restores, "cluster.backup.v1.ListBackupRestoresRequest", "cluster_id")
}

func (r *request) listSchedules() (msg, error) {
	return r.listMessages(r.account.schedules, "cluster.backup.v1.ListBackupSchedulesRequest", "cluster_id")
}

func (r *request) getBackup() (msg, error) {
	b := r.account.backups[strings.ToLower(r.in.str("backup_id"))]
	if b == nil {
		return nil, notFound("backup", r.in.str("backup_id"))
	}
	return msg{"backup": b}, nil
}

func (r *request) getSchedule() (msg, error) {
	s := r.account.schedules[strings.ToLower(r.in.str("backup_schedule_id"))]
	if s == nil || s.str("cluster_id") != strings.ToLower(r.in.str("cluster_id")) {
		return nil, notFound("backup schedule", r.in.str("backup_schedule_id"))
	}
	return msg{"backup_schedule": s}, nil
}
