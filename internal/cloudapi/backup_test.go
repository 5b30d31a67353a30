package cloudapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBackupLists: backups, schedules and restores from the wire to our types, by pages; what is unset, numbers for enums and both
// spellings of names are understood.
func TestBackupLists(t *testing.T) {
	const at, of = "/api/cluster/backup/v1/accounts/" + accountID, `"accountId":"` + accountID + `","clusterId":"` + clusterID + `"`
	u := newUpstream(t, answers(map[string]string{
		"GET " + at + "/backups?pageSize=250": `{"items":[
			{"id":"b-1",` + of + `,"createdAt":"2025-01-02T03:04:05Z","name":"generated","displayName":"nightly","status":"BACKUP_STATUS_SUCCEEDED",
				"backupDuration":"90.500s","backupScheduleId":"s-1","retentionPeriod":"604800s","clusterInfo":{"name":"x"},"price":{"currency":"USD"}},
			{"id":"b-2","cluster_id":"` + clusterID + `","created_at":"2025-01-02T03:04:05Z","name":"generated","status":1,"backup_duration":null,"retention_period":"-1s"},
			{"id":"b-3",` + of + `,"status":"BACKUP_STATUS_NEW_WORD","backupScheduleId":"../x","deletedAt":"2025-01-02T03:04:05Z"},
			{"id":"b-4","clusterId":""}, 1
		],"totalSize":"7","nextPageToken":"two"}`,
		"GET " + at + "/backups?pageSize=250&pageToken=two":   `{"items":null,"total_size":7}`,
		"GET " + at + "/backups?pageSize=250&pageToken=own":   `{"items":[],"nextPageToken":"own"}`,
		"GET " + at + "/backups?pageSize=250&pageToken=other": `{"items":[{"id":"b","clusterId":"c","accountId":"somebody-else"}]}`,
		"GET " + at + "/backups?pageSize=250&pageToken=bad":   `{"items":[{"id":"a b","clusterId":"c"}]}`,
		"GET " + at + "/backup_schedules?pageSize=250": `{"items":[
			{"id":"s-1",` + of + `,"createdAt":"2025-01-02T03:04:05Z","schedule":"0 2 * * *","retentionPeriod":"86400s","status":4,"displayName":"nightly"},{"id":"s-2","clusterId":"c"}]}`,
		"GET " + at + "/backup_restores?pageSize=250": `{"items":[
			{"id":"r-1",` + of + `,"createdAt":"2025-01-02T03:04:05Z","backupId":"b-1","status":"BACKUP_RESTORE_STATUS_SKIPPED"},{"id":"r-2","clusterId":"c"}]}`,
	}))
	ctx, api, when := t.Context(), NewCurrentAPI(u.conn(Current)), time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	wants(t, "backups", Listing[Backup]{Total: 7, Next: "two", Unreadable: 2, Items: []Backup{
		{ID: "b-1", ClusterID: clusterID, Name: "generated", DisplayName: "nightly", Status: BackupSucceeded, CreatedAt: when, Duration: 90*time.Second + 500*time.Millisecond, ScheduleID: "s-1", Retention: 7 * 24 * time.Hour},
		{ID: "b-2", ClusterID: clusterID, Name: "generated", DisplayName: "generated", Status: BackupRunning, CreatedAt: when},
		{ID: "b-3", ClusterID: clusterID, Status: "NEW_WORD", DeletedAt: when},
	}})(api.Backups(ctx, ""))
	wants(t, "the second page", Listing[Backup]{Total: 7})(api.Backups(ctx, "two"))
	wants(t, "schedules", Listing[BackupSchedule]{Items: []BackupSchedule{
		{ID: "s-1", ClusterID: clusterID, Name: "nightly", Cron: "0 2 * * *", Status: ScheduleDisabled, CreatedAt: when, Retention: 24 * time.Hour}, {ID: "s-2", ClusterID: "c"},
	}})(api.BackupSchedules(ctx, ""))
	wants(t, "restores", Listing[BackupRestore]{Unreadable: 1, Items: []BackupRestore{
		{ID: "r-1", ClusterID: clusterID, BackupID: "b-1", Status: "SKIPPED", CreatedAt: when},
	}})(api.BackupRestores(ctx, ""))
	for _, token := range []string{"own", "other", "bad"} {
		if e := failed(t, errOf(api.Backups(ctx, token))); e.Kind != Malformed {
			t.Errorf("page %s: %v", token, e)
		}
	}

	legacy := NewLegacyAPI(u.conn(PAV1))
	for what, err := range map[string]error{
		"backups": errOf(legacy.Backups(ctx, "")), "schedules": errOf(legacy.BackupSchedules(ctx, "")), "restores": errOf(legacy.BackupRestores(ctx, "")),
	} {
		if lacking, ok := errors.AsType[*UnsupportedError](err); !ok || !strings.HasPrefix(lacking.Reason, "The legacy pa/v1 API has no ") {
			t.Errorf("%s of pa/v1: %v", what, err)
		}
	}
}

// TestHostileBackupLists: nonsense is an error or left out, and never a panic or a time that cannot be stored.
func TestHostileBackupLists(t *testing.T) {
	body := ""
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, body) })
	api := NewCurrentAPI(u.conn(Current))
	for _, body = range []string{"", "null", "[]", `{"items":{}}`, `{"items":[`, `{"items":[{}]}`, `{"items":[{"id":"x"}]}`, `{"items":[],"items":[]}`, `{"nextPageToken":7}`} {
		for what, list := range map[string]func(context.Context, string) error{
			"backups":   func(ctx context.Context, token string) error { return errOf(api.Backups(ctx, token)) },
			"schedules": func(ctx context.Context, token string) error { return errOf(api.BackupSchedules(ctx, token)) },
			"restores":  func(ctx context.Context, token string) error { return errOf(api.BackupRestores(ctx, token)) },
		} {
			if e := failed(t, list(t.Context(), "")); e.Kind != Malformed {
				t.Errorf("%s of %s: %v", what, body, e)
			}
		}
	}
	for text, want := range map[string]time.Duration{
		"86400s": 24 * time.Hour, "0s": 0, "1.5s": 1500 * time.Millisecond, "-1s": 0, "1e9s": 0, "9999999999999999999999s": 0, "s": 0, "1m": 0, "1.2.3s": 0, "": 0, "Infs": 0, "0x1p1s": 0,
	} {
		body = `{"items":[{"id":"b","clusterId":"c","retentionPeriod":"` + text + `","createdAt":"9999-99-99T00:00:00Z"}],"totalSize":-1}`
		page, err := api.Backups(t.Context(), "")
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("%s: %+v, %v", text, page, err)
		}
		if got := page.Items[0]; got.Retention != want || !got.CreatedAt.IsZero() || page.Total != 0 {
			t.Errorf("%s is %v, created %v, total %d", text, got.Retention, got.CreatedAt, page.Total)
		}
	}
}
