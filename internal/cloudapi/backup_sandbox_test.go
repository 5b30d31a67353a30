package cloudapi_test

import (
	"context"
	"testing"
	"time"

	"quartermaster/internal/cloudapi"
)

// TestBackupsOfTheSandbox: what the stand-in lists is read whole, by pages, of all clusters of an account at once.
func TestBackupsOfTheSandbox(t *testing.T) {
	w := newWorld(t)
	for _, f := range w.sandbox.Fixtures() {
		if f.Generation != "current" || !f.Registered {
			continue
		}
		api := cloudapi.NewCurrentAPI(w.client.Connect(cloudapi.ConnConfig{Generation: cloudapi.Current, CloudAccountID: f.CloudAccountID, Key: cloudapi.NewSecret([]byte(f.ManagementKey))}))
		backups, schedules := everyPage(t, api.Backups), everyPage(t, api.BackupSchedules)
		if len(schedules) == 0 || len(backups) == 0 {
			t.Errorf("%s: %d backups, %d schedules", f.Name, len(backups), len(schedules))
		}
		of := map[string]string{}
		for _, s := range schedules {
			if s.Status == "" || s.Cron == "" || s.Retention < 24*time.Hour || s.CreatedAt.IsZero() {
				t.Errorf("%+v", s)
			}
			of[s.ID] = s.ClusterID
		}
		for _, b := range backups {
			if b.Name == "" || b.DisplayName == "" || b.CreatedAt.IsZero() || b.Status == "" || b.Status == cloudapi.BackupSucceeded && b.Duration == 0 || of[b.ScheduleID] != "" && of[b.ScheduleID] != b.ClusterID {
				t.Errorf("%+v", b)
			}
		}
		everyPage(t, api.BackupRestores)
		return
	}
	t.Fatal("the sandbox has no account of the current API")
}

func everyPage[T any](t *testing.T, list func(context.Context, string) (cloudapi.Listing[T], error)) (all []T) {
	t.Helper()
	for token := ""; ; {
		page, err := list(t.Context(), token)
		if err != nil || page.Unreadable != 0 {
			t.Fatalf("%d unreadable, %v", page.Unreadable, err)
		}
		all = append(all, page.Items...)
		if token = page.Next; token == "" {
			if page.Total != len(all) {
				t.Errorf("%d of %d were listed", len(all), page.Total)
			}
			return all
		}
	}
}
