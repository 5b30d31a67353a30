package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func backupsPath(f Fixture) string {
	return "/api/cluster/backup/v1/accounts/" + f.CloudAccountID + "/backups"
}

func schedulesPath(f Fixture) string {
	return "/api/cluster/backup/v1/accounts/" + f.CloudAccountID + "/backup_schedules"
}

func (b *bench) makeBackup(f Fixture, cluster, name string, more map[string]any) reply {
	b.t.Helper()
	backup := map[string]any{"clusterId": cluster, "displayName": name}
	for k, v := range more {
		backup[k] = v
	}
	return b.call(f, "POST", backupsPath(f), map[string]any{"backup": backup})
}

func (b *bench) makeSchedule(f Fixture, cluster, when string, more map[string]any) reply {
	b.t.Helper()
	schedule := map[string]any{"clusterId": cluster, "displayName": "made-in-a-test", "schedule": when}
	for k, v := range more {
		schedule[k] = v
	}
	return b.call(f, "POST", schedulesPath(f), map[string]any{"backupSchedule": schedule})
}

// backupsOf lists backups, narrowed by a query: when they were made and their statuses, the oldest first.
func (b *bench) backupsOf(f Fixture, query string) (out []string) {
	b.t.Helper()
	list := b.call(f, "GET", backupsPath(f)+"?"+query, nil).want(b.t, 200)
	items, _ := list.get("items").([]any)
	for i := range items {
		out = append(out, fmt.Sprint(list.get("items", i, "createdAt"), " ", strings.TrimPrefix(list.get("items", i, "status").(string), "BACKUP_STATUS_")))
	}
	return out
}

func text(r reply, path ...any) string {
	s, _ := r.get(path...).(string)
	return s
}

// TestLifeOfABackup follows one from its creation to its end.
func TestLifeOfABackup(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "session-vectors")
	b.clock = b.clock.Add(time.Hour) // it has stopped scaling
	made := b.makeBackup(f, cluster, "before-the-move", map[string]any{"retentionPeriod": "172800s"}).want(t, 200)
	id := text(made, "backup", "id")
	if text(made, "backup", "status") != "BACKUP_STATUS_RUNNING" || made.get("backup", "backupDuration") != nil || made.get("backup", "price") != nil || made.get("backup", "backupScheduleId") != nil ||
		text(made, "backup", "name") == "" || text(made, "backup", "clusterInfo", "configuration", "version") != "v1.17.2" || text(made, "backup", "clusterInfo", "name") != "session-vectors" {
		t.Errorf("just made: %s", made.body)
	}
	b.clock = b.clock.Add(time.Hour)
	done := b.call(f, "GET", backupsPath(f)+"/"+id, nil).want(t, 200)
	took, err := time.ParseDuration(text(done, "backup", "backupDuration"))
	if text(done, "backup", "status") != "BACKUP_STATUS_SUCCEEDED" || err != nil || took <= 0 || took > time.Hour || text(done, "backup", "price", "originalPricePerHour") == "" {
		t.Errorf("when it is done: %s", done.body)
	}
	large := b.makeBackup(f, b.clusterNamed(f, "recommendations-eu"), "a-large-one", nil).want(t, 200)
	b.clock = b.clock.Add(took)
	if got := b.call(f, "GET", backupsPath(f)+"/"+text(large, "backup", "id"), nil); text(got, "backup", "status") != "BACKUP_STATUS_RUNNING" {
		t.Errorf("a backup of 384 GiB on three nodes takes no longer than one of a small cluster: %s", got.body)
	}

	changed := done.get("backup").(map[string]any)
	changed["displayName"], changed["retentionPeriod"], changed["status"] = "renamed", "86400s", "BACKUP_STATUS_FAILED"
	delete(changed, "id") // it is in the path
	delete(changed, "accountId")
	updated := b.call(f, "PATCH", backupsPath(f)+"/"+id, map[string]any{"backup": changed}).want(t, 200)
	if text(updated, "backup", "displayName") != "renamed" || text(updated, "backup", "retentionPeriod") != "172800s" || text(updated, "backup", "status") != "BACKUP_STATUS_SUCCEEDED" ||
		text(updated, "backup", "name") != text(made, "backup", "name") {
		t.Errorf("more than the display name changed: %s", updated.body)
	}

	b.call(f, "DELETE", backupsPath(f)+"/"+id+"?force=true", nil).want(t, 200) // force is ignored for managed clusters
	if got := b.call(f, "GET", backupsPath(f)+"/"+id, nil).want(t, 200); got.get("backup", "deletedAt") == nil {
		t.Errorf("while it is deleted: %s", got.body)
	}
	b.call(f, "DELETE", backupsPath(f)+"/"+id, nil).want(t, 400)
	b.call(f, "POST", backupsPath(f)+"/"+id+"/restore", nil).want(t, 400)
	b.call(f, "PATCH", backupsPath(f)+"/"+id, map[string]any{"backup": changed}).want(t, 400)
	b.clock = b.clock.Add(deletionTakes)
	b.call(f, "GET", backupsPath(f)+"/"+id, nil).want(t, 404)

	kept := text(b.makeBackup(f, cluster, "for-a-day", map[string]any{"retentionPeriod": "86400s"}).want(t, 200), "backup", "id")
	forever := text(b.makeBackup(f, cluster, "for-ever", nil).want(t, 200), "backup", "id")
	b.clock = b.clock.Add(day - time.Second)
	b.call(f, "GET", backupsPath(f)+"/"+kept, nil).want(t, 200)
	b.clock = b.clock.Add(time.Second)
	b.call(f, "GET", backupsPath(f)+"/"+kept, nil).want(t, 404)
	b.clock = b.clock.Add(9 * 365 * day)
	b.call(f, "GET", backupsPath(f)+"/"+forever, nil).want(t, 200)

	hybrid := b.clusterNamed(f, "legal-archive")
	id = text(b.makeBackup(f, hybrid, "by-force", nil).want(t, 200), "backup", "id")
	b.call(f, "DELETE", backupsPath(f)+"/"+id+"?force=true", nil).want(t, 200)
	b.call(f, "GET", backupsPath(f)+"/"+id, nil).want(t, 404)
}

// TestBackupsRefuse: who may not have backups or change them, and why.
func TestBackupsRefuse(t *testing.T) {
	b := setup(t)
	f, staging := b.fixture(0), b.fixture(1)
	good := b.clusterNamed(f, "product-search-eu")
	precondition := func(what string, got reply) {
		t.Helper()
		if got.status != 400 || got.get("code") != float64(codeFailedPrecondition) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	free := b.clusterNamed(staging, "docs-search-staging")
	precondition("a backup of a free cluster", b.makeBackup(staging, free, "of-free", nil))
	precondition("a schedule of a free cluster", b.makeSchedule(staging, free, "@daily", nil))
	precondition("a backup of a suspended cluster", b.makeBackup(f, b.clusterNamed(f, "pricing-experiments"), "suspended", nil))
	b.makeSchedule(f, b.clusterNamed(f, "pricing-experiments"), "@daily", nil).want(t, 200)
	b.makeBackup(f, newID(), "of-nothing", nil).want(t, 404)
	b.makeSchedule(f, newID(), "@daily", nil).want(t, 404)
	b.makeBackup(f, b.clusterNamed(staging, "upgrade-canary"), "of-others", nil).want(t, 404)
	for _, when := range []string{"0 25 * * *", "0 0 0 * *", "*****", "9-5 * * * *", "@dailyfoo", "no @every 0s"} { // the pattern has room for each
		got := b.makeSchedule(f, good, when, nil)
		if field := got.get("details", 0, "fieldViolations", 0, "field"); got.status != 400 || field != "backup_schedule.schedule" {
			t.Errorf("%q: %d %s", when, got.status, got.body)
		}
	}
	sch := text(b.makeSchedule(f, good, "@daily", nil).want(t, 200), "backupSchedule", "id")
	moved := map[string]any{"clusterId": b.clusterNamed(f, "product-search-us"), "schedule": "@daily", "displayName": "moved"}
	b.call(f, "PUT", schedulesPath(f)+"/"+sch, map[string]any{"backupSchedule": moved}).want(t, 400)
	b.call(f, "GET", schedulesPath(f)+"/"+sch+"?clusterId="+b.clusterNamed(f, "product-search-us"), nil).want(t, 404)
	running := text(b.makeBackup(f, good, "running", nil).want(t, 200), "backup", "id")
	precondition("a restore of a backup that is running", b.call(f, "POST", backupsPath(f)+"/"+running+"/restore", nil))

	b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID, "payment": "missing"})
	precondition("a backup without payment details", b.makeBackup(f, good, "unpaid", nil))
	b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID, "payment": "ok", "entitled": false})
	b.makeBackup(f, good, "not-entitled", nil).want(t, 403)
	b.makeSchedule(f, good, "@daily", nil).want(t, 403)
	b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID, "entitled": true})

	// Each call asks for its own permission.
	for _, c := range []struct{ permission, method, path string }{
		{"write:backups", "POST", backupsPath(f)}, {"write:backups", "PATCH", backupsPath(f) + "/" + running}, {"delete:backups", "DELETE", backupsPath(f) + "/" + running},
		{"restore:backups", "POST", backupsPath(f) + "/" + running + "/restore"}, {"read:backups", "GET", backupsPath(f)},
		{"read:backups", "GET", strings.TrimSuffix(backupsPath(f), "backups") + "backup_restores"},
		{"write:backup_schedules", "POST", schedulesPath(f)}, {"write:backup_schedules", "PUT", schedulesPath(f) + "/" + sch},
		{"delete:backup_schedules", "DELETE", schedulesPath(f) + "/" + sch}, {"read:backup_schedules", "GET", schedulesPath(f)},
	} {
		others := slices.DeleteFunc(allPermissions(), func(p string) bool { return p == c.permission })
		key := text(b.ctl("POST", "keys", map[string]any{"account": f.CloudAccountID, "permissions": others}), "management_key")
		if got := b.send(b.server.URL, "apikey "+key, c.method, c.path, nil); got.status != http.StatusForbidden || !strings.Contains(string(got.body), c.permission) {
			t.Errorf("%s %s without %s: %d %s", c.method, c.path, c.permission, got.status, got.body)
		}
	}
}

// TestSchedulesComeRound: a backup each time the clock passes a schedule's time, and its retention takes the old ones away.
func TestSchedulesComeRound(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "image-similarity")
	b.clock = b.clock.Add(30 * time.Minute) // 12:30
	made := b.makeSchedule(f, cluster, "0 */6 * * *", map[string]any{"retentionPeriod": "86400s"}).want(t, 200)
	sch := text(made, "backupSchedule", "id")
	if text(made, "backupSchedule", "status") != "BACKUP_SCHEDULE_STATUS_ACTIVE" {
		t.Errorf("%s", made.body)
	}
	mine := "backupScheduleId=" + sch
	want := func(list ...string) {
		t.Helper()
		if diff := cmp.Diff(list, b.backupsOf(f, mine)); diff != "" {
			t.Errorf("at %s (-want +got):\n%s", b.clock.Format(time.RFC3339), diff)
		}
	}
	want()
	b.clock = time.Date(2026, 9, 1, 18, 0, 0, 0, time.UTC)
	want("2026-09-01T18:00:00Z RUNNING")
	b.clock = time.Date(2026, 9, 2, 6, 0, 5, 0, time.UTC)
	want("2026-09-01T18:00:00Z SUCCEEDED", "2026-09-02T00:00:00Z SUCCEEDED", "2026-09-02T06:00:00Z RUNNING")
	b.clock = time.Date(2026, 9, 2, 18, 0, 0, 0, time.UTC)
	want("2026-09-02T00:00:00Z SUCCEEDED", "2026-09-02T06:00:00Z SUCCEEDED", "2026-09-02T12:00:00Z SUCCEEDED", "2026-09-02T18:00:00Z RUNNING")
	b.clock = time.Date(2027, 9, 2, 18, 0, 0, 0, time.UTC)
	want("2027-09-02T00:00:00Z SUCCEEDED", "2027-09-02T06:00:00Z SUCCEEDED", "2027-09-02T12:00:00Z SUCCEEDED", "2027-09-02T18:00:00Z RUNNING")

	// A mask changes what it names, and only of later backups; without one everything is replaced.
	change := func(schedule map[string]any, mask string) reply {
		t.Helper()
		schedule["clusterId"] = cluster
		return b.call(f, "PUT", schedulesPath(f)+"/"+sch, map[string]any{"backupSchedule": schedule, "updateMask": mask}).want(t, 200)
	}
	if got := change(map[string]any{"displayName": "renamed"}, "displayName"); text(got, "backupSchedule", "displayName") != "renamed" || text(got, "backupSchedule", "schedule") != "0 */6 * * *" {
		t.Errorf("%s", got.body)
	}
	if got := change(map[string]any{"schedule": "0 0 * * *"}, ""); got.get("backupSchedule", "displayName") != nil || got.get("backupSchedule", "retentionPeriod") != nil {
		t.Errorf("%s", got.body)
	}
	b.clock = time.Date(2027, 9, 5, 0, 0, 0, 0, time.UTC)
	want("2027-09-03T00:00:00Z SUCCEEDED", "2027-09-04T00:00:00Z SUCCEEDED", "2027-09-05T00:00:00Z RUNNING")

	// A cluster that is suspended is no target.
	b.clock = b.clock.Add(6 * time.Hour)
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/suspend", nil).want(t, 200)
	b.clock = time.Date(2027, 9, 6, 1, 0, 0, 0, time.UTC)
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/unsuspend", nil).want(t, 200)
	b.clock = time.Date(2027, 9, 7, 1, 0, 0, 0, time.UTC)
	want("2027-09-03T00:00:00Z SUCCEEDED", "2027-09-04T00:00:00Z SUCCEEDED", "2027-09-05T00:00:00Z SUCCEEDED", "2027-09-06T00:00:00Z SKIPPED", "2027-09-07T00:00:00Z SUCCEEDED")

	// Without retention there is still an end.
	b.clock = b.clock.AddDate(2, 0, 0)
	if all := b.backupsOf(f, mine); len(all) != keptBackups || all[keptBackups-1] != "2029-09-07T00:00:00Z SUCCEEDED" {
		t.Errorf("%d backups, the last one %s", len(all), all[len(all)-1])
	}

	b.call(f, "DELETE", schedulesPath(f)+"/"+sch, nil).want(t, 200)
	b.call(f, "DELETE", schedulesPath(f)+"/"+sch, nil).want(t, 400)
	if got := b.call(f, "GET", schedulesPath(f)+"/"+sch+"?clusterId="+cluster, nil).want(t, 200); got.get("backupSchedule", "deletedAt") == nil {
		t.Errorf("while it is deleted: %s", got.body)
	}
	b.clock = b.clock.Add(10 * day)
	b.call(f, "GET", schedulesPath(f)+"/"+sch+"?clusterId="+cluster, nil).want(t, 404)
	if all := b.backupsOf(f, mine); len(all) != keptBackups {
		t.Errorf("%d backups are left of a schedule that was deleted without them", len(all))
	}
	other := text(b.makeSchedule(f, cluster, "@every 1h", nil).want(t, 200), "backupSchedule", "id")
	b.clock = b.clock.Add(3 * time.Hour)
	if all := b.backupsOf(f, "backupScheduleId="+other); len(all) != 3 {
		t.Errorf("%v", all)
	}
	b.call(f, "DELETE", schedulesPath(f)+"/"+other+"?deleteBackups=true", nil).want(t, 200)
	b.clock = b.clock.Add(deletionTakes)
	if all := b.backupsOf(f, "backupScheduleId="+other); len(all) != 0 {
		t.Errorf("%v are left of a schedule that was deleted with them", all)
	}
}

// TestDeletionOfAClusterAndItsBackups: its schedules go with it, its backups where that was asked for; those that were running failed.
func TestDeletionOfAClusterAndItsBackups(t *testing.T) {
	for _, path := range []string{"?deleteBackups=false", "?deleteBackups=true", "?delete_backups=false", "?delete_backups=true"} {
		with, legacy := strings.HasSuffix(path, "true"), strings.Contains(path, "_")
		b := setup(t)
		f := b.fixture(0)
		cluster := b.clusterNamed(f, "product-search-eu")
		had := b.backupsOf(f, "clusterId="+cluster)
		running := text(b.makeBackup(f, cluster, "running", nil).want(t, 200), "backup", "id")
		b.makeSchedule(f, cluster, "* * * * *", nil).want(t, 200)
		if legacy {
			b.call(f, "DELETE", legacyPath(f)+"/clusters/"+cluster+path, nil).want(t, 204)
		} else {
			b.call(f, "DELETE", clustersPath(f)+"/"+cluster+path, nil).want(t, 200)
		}
		b.clock = b.clock.Add(time.Hour)
		left := b.backupsOf(f, "clusterId="+cluster)
		if schedules := b.call(f, "GET", schedulesPath(f)+"?clusterId="+cluster, nil); schedules.get("items", 0) != nil {
			t.Errorf("a schedule outlived its cluster: %s", schedules.body)
		}
		if with {
			if len(left) != 0 {
				t.Errorf("backups outlived their cluster: %v", left)
			}
			continue
		}
		if len(had) != 3 || len(left) != len(had)+1 {
			t.Errorf("%v became %v", had, left)
		}
		got := b.call(f, "GET", backupsPath(f)+"/"+running, nil).want(t, 200)
		if text(got, "backup", "status") != "BACKUP_STATUS_FAILED" || got.get("backup", "backupDuration") == nil && !strings.Contains(string(got.body), `"0s"`) || text(got, "backup", "clusterInfo", "name") != "product-search-eu" {
			t.Errorf("%s", got.body)
		}
		b.call(f, "POST", backupsPath(f)+"/"+running+"/restore", nil).want(t, 400)
	}
}

// TestRestores: a cluster is busy while a backup is restored to it, and pa/v1 has words for that.
func TestRestores(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "product-search-eu")
	legacyPhase := func() any {
		t.Helper()
		return b.call(f, "GET", legacyPath(f)+"/clusters/"+cluster, nil).want(t, 200).get("state", "phase")
	}
	status := func(n int) string {
		t.Helper()
		list := b.call(f, "GET", "/api/cluster/backup/v1/accounts/"+f.CloudAccountID+"/backup_restores?clusterId="+cluster, nil).want(t, 200)
		return strings.TrimPrefix(text(list, "items", n, "status"), "BACKUP_RESTORE_STATUS_")
	}
	restore := func(id string, want int) {
		t.Helper()
		b.call(f, "POST", backupsPath(f)+"/"+id+"/restore", nil).want(t, want)
	}
	id := text(b.makeBackup(f, cluster, "to-restore", nil).want(t, 200), "backup", "id")
	if phase, old := b.phase(f, cluster), legacyPhase(); phase != "HEALTHY" || old != "BackupRunning" {
		t.Errorf("while it is backed up: %s, and in pa/v1 %s", phase, old)
	}
	b.clock = b.clock.Add(time.Hour)
	restore(id, 200)
	restore(id, 400) // not while one is running
	b.call(f, "DELETE", backupsPath(f)+"/"+id, nil).want(t, 400)
	b.call(f, "POST", clustersPath(f)+"/"+cluster+"/restart", nil).want(t, 400)
	if phase, old := b.phase(f, cluster), legacyPhase(); phase != "UPDATING" || old != "Restoring" || status(0) != "RUNNING" {
		t.Errorf("while it is restored: %s, in pa/v1 %s, the restore is %s", phase, old, status(0))
	}
	b.clock = b.clock.Add(time.Hour)
	if phase := b.phase(f, cluster); phase != "HEALTHY" || status(0) != "SUCCEEDED" {
		t.Errorf("afterwards: %s, the restore %s", phase, status(0))
	}
	b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, "cluster": cluster, "fail_restores": 1})
	restore(id, 200)
	b.clock = b.clock.Add(time.Hour)
	if phase, old := b.phase(f, cluster), legacyPhase(); phase != "FAILED_TO_UPDATE" || old != "FailedToRestore" || status(1) != "FAILED" {
		t.Errorf("after one that failed: %s, in pa/v1 %s, the restore %s", phase, old, status(1))
	}
	restore(id, 200)
	b.clock = b.clock.Add(time.Hour)
	if phase := b.phase(f, cluster); phase != "HEALTHY" || status(2) != "SUCCEEDED" {
		t.Errorf("after the next one: %s, the restore %s", phase, status(2))
	}
	restore(id, 200)
	b.call(f, "DELETE", clustersPath(f)+"/"+cluster, nil).want(t, 200)
	b.clock = b.clock.Add(time.Hour)
	if status(3) != "FAILED" {
		t.Errorf("when its cluster was deleted it is %s", status(3))
	}
	made := b.call(f, "POST", "/api/cluster/v1/accounts/"+f.CloudAccountID+"/backups/"+id+"/clusters?clusterName=from-backup", nil).want(t, 200)
	cluster = text(made, "cluster", "id")
	if status(0) != "RUNNING" {
		t.Errorf("while a cluster is made of a backup: %s", status(0))
	}
	b.clock = b.clock.Add(time.Minute)
	if phase := b.phase(f, cluster); phase != "HEALTHY" || status(0) != "SUCCEEDED" {
		t.Errorf("when it is made: %s, the restore %s", phase, status(0))
	}
}

// TestBackupsFailOnDemand: the next ones of a cluster, by hand or by schedule, in the order of their times.
func TestBackupsFailOnDemand(t *testing.T) {
	for _, steps := range []int{1, 400} {
		b := setup(t)
		f := b.fixture(0)
		cluster := b.clusterNamed(f, "image-similarity")
		b.makeSchedule(f, cluster, "0 */2 * * *", nil).want(t, 200)
		b.makeSchedule(f, cluster, "30 */3 * * *", nil).want(t, 200)
		answer := b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, "cluster": cluster, "fail_backups": 4})
		if answer.get("fail_backups") != float64(4) || answer.get("fail_restores") != float64(0) {
			t.Errorf("%s", answer.body)
		}
		byHand := text(b.makeBackup(f, cluster, "by-hand", nil).want(t, 200), "backup", "id")
		for range steps {
			b.clock = b.clock.Add(20 * time.Hour / time.Duration(steps))
			b.look(f)
		}
		if got := b.call(f, "GET", backupsPath(f)+"/"+byHand, nil); text(got, "backup", "status") != "BACKUP_STATUS_FAILED" {
			t.Errorf("%s", got.body)
		}
		var failed []string
		for _, line := range b.backupsOf(f, "clusterId="+cluster) {
			if at, ok := strings.CutSuffix(line, " FAILED"); ok && !strings.Contains(at, "T12:00:00Z") {
				failed = append(failed, at)
			}
		}
		// The seed has one that failed two days before.
		if diff := cmp.Diff([]string{"2026-09-01T12:30:00Z", "2026-09-01T14:00:00Z", "2026-09-01T15:30:00Z"}, slices.DeleteFunc(failed, func(at string) bool { return strings.HasPrefix(at, "2026-08") })); diff != "" {
			t.Errorf("in %d steps (-want +got):\n%s", steps, diff)
		}
	}
}

// TestOneLeapIsManySteps: moving the clock far and looking once shows the same as looking all the time, whatever happens between.
func TestOneLeapIsManySteps(t *testing.T) {
	for seed := range uint64(4) {
		leaps, steps := setup(t), setup(t)
		rng := rand.New(rand.NewPCG(seed, 9))
		f := leaps.fixture(0)
		clusters := []string{"product-search-eu", "product-search-us", "legal-archive", "image-similarity", "pricing-experiments"}
		both := func(method, path string, body any) (status int) {
			t.Helper()
			x, y := leaps.call(f, method, path, body), steps.call(f, method, path, body)
			if x.status != y.status {
				t.Fatalf("%s %s: %d after a leap, %d after steps", method, path, x.status, y.status)
			}
			return x.status
		}
		pickOne := func(list ...string) string { return list[rng.IntN(len(list))] }
		for range 14 {
			cluster := leaps.clusterNamed(f, clusters[rng.IntN(len(clusters))])
			if steps.accounts[f.CloudAccountID].clusters[cluster] == nil {
				t.Fatalf("only one has %s", cluster)
			}
			switch rng.IntN(7) {
			case 0, 1, 2:
				more := map[string]any{}
				if rng.IntN(3) > 0 {
					more["retentionPeriod"] = fmt.Sprintf("%ds", 86400*(1+rng.IntN(30)))
				}
				body := map[string]any{"clusterId": cluster, "displayName": "property", "schedule": pickOne("* * * * *", "*/7 1-5 * * *", "0 3 * * *", "30 4 1 * *", "@every 95m", "0 0 29 2 *", "@weekly", "*/20 * * * * *")}
				for k, v := range more {
					body[k] = v
				}
				both("POST", schedulesPath(f), map[string]any{"backupSchedule": body})
			case 3:
				if both("POST", clustersPath(f)+"/"+cluster+"/unsuspend", nil) != 200 {
					both("POST", clustersPath(f)+"/"+cluster+"/"+pickOne("suspend", "suspend", "restart"), nil)
				}
			case 4:
				n := 1 + rng.IntN(5)
				for _, b := range []*bench{leaps, steps} {
					b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, "cluster": cluster, "fail_backups": n})
				}
			case 5: // the same schedule of both: the ids of two sandboxes differ
				n := rng.IntN(4)
				for _, b := range []*bench{leaps, steps} {
					list := b.call(f, "GET", schedulesPath(f), nil)
					if id := text(list, "items", n, "id"); id != "" {
						b.call(f, "PUT", schedulesPath(f)+"/"+id, map[string]any{"backupSchedule": map[string]any{"clusterId": text(list, "items", n, "clusterId"), "schedule": "15 */5 * * *"}, "updateMask": "schedule"})
					}
				}
			case 6:
				n := rng.IntN(9)
				for _, b := range []*bench{leaps, steps} {
					if id := b.nthBackup(f, n); id != "" {
						b.call(f, "DELETE", backupsPath(f)+"/"+id, nil).want(t, 200)
					}
				}
			}
			far := []time.Duration{time.Minute, time.Hour, 3 * day, 30 * day, 365 * day}[rng.IntN(5)].Truncate(time.Second)
			leaps.clock = leaps.clock.Add(far)
			for end := steps.clock.Add(far); steps.clock.Before(end); {
				steps.clock = steps.clock.Add(min(end.Sub(steps.clock), far/30+time.Duration(rng.IntN(5))*time.Second+time.Second))
				steps.look(f)
			}
			if diff := cmp.Diff(leaps.seen(f), steps.seen(f)); diff != "" {
				t.Fatalf("seed %d at %s (-leap +steps):\n%.3000s", seed, leaps.clock, diff)
			}
		}
		if diff := cmp.Diff(leaps.shown(f), steps.shown(f)); diff != "" {
			t.Fatalf("seed %d at %s (-leap +steps):\n%.3000s", seed, leaps.clock, diff)
		}
	}
}

// nthBackup is the id of the nth backup that is not being deleted, in an order that random ids have no part in; empty: there is none.
func (b *bench) nthBackup(f Fixture, n int) string {
	b.t.Helper()
	a := b.look(f)
	var all []string
	for _, backup := range a.backups {
		i := slices.IndexFunc(a.schedules, func(sch *schedule) bool { return sch.id == backup.schedule })
		if i >= 0 && backup.deleted.IsZero() {
			all = append(all, backup.made.Format(time.RFC3339)+backup.of.id+a.schedules[i].made.Format(time.RFC3339Nano)+" "+backup.id.String())
		}
	}
	if slices.Sort(all); n >= len(all) {
		return ""
	}
	return all[n][strings.LastIndex(all[n], " ")+1:]
}

// look brings an account up to now, as any request does.
func (b *bench) look(f Fixture) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[f.CloudAccountID]
	b.settle(a, b.now())
	return a
}

// seen brings an account up to now and returns what it then has, without the ids that are made at random.
func (b *bench) seen(f Fixture) (out []string) {
	b.t.Helper()
	a := b.look(f)
	for _, c := range a.clusters {
		out = append(out, fmt.Sprint(c.id, c.phase, c.reason, c.since, c.until, c.running, c.past, c.failBackups, c.failRestores))
	}
	for _, x := range a.backups {
		out = append(out, fmt.Sprint(x.of.id, x.display, x.retention, x.made, x.ends, x.deleted, x.status))
	}
	for _, sch := range a.schedules {
		out = append(out, fmt.Sprint(sch.cluster, sch.text, sch.made, sch.deleted))
	}
	slices.Sort(out) // of the same moment, ids at random decide
	return out
}

// shown is what listings show of an account, without the ids that are made at random.
func (b *bench) shown(f Fixture) (out []string) {
	b.t.Helper()
	for _, path := range []string{clustersPath(f), backupsPath(f), schedulesPath(f), "/api/cluster/backup/v1/accounts/" + f.CloudAccountID + "/backup_restores"} {
		b.lax = true // comparing hundreds of backups with the definitions takes long
		list := b.call(f, "GET", path, nil).want(b.t, 200)
		b.lax = false
		items, _ := list.get("items").([]any)
		for _, item := range items {
			m := item.(map[string]any)
			if path != clustersPath(f) {
				for _, random := range []string{"id", "name", "backupScheduleId"} {
					delete(m, random)
				}
			}
			line, err := json.Marshal(m)
			if err != nil {
				b.t.Fatal(err)
			}
			out = append(out, string(line))
		}
	}
	slices.Sort(out) // of the same moment, ids at random decide
	return out
}

// TestALeapIsCheap: moving the clock touches no account, and reading one afterwards costs what there is to see and not the time between.
func TestALeapIsCheap(t *testing.T) {
	b := setup(t, func(c *Config) { c.Accounts, c.Clusters = 20, 400 })
	a := b.accounts[b.fixture(0).CloudAccountID]
	for _, sch := range a.schedules {
		sch.cron, _ = parseCron("* * * * *")
	}
	cost := func(far time.Duration) float64 {
		t.Helper()
		b.ctl("POST", "clock", map[string]any{"advance": far.String()})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.settle(a, b.now())
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs - before.Mallocs)
	}
	b.settle(a, b.now())
	week := cost(7 * day)
	if years := cost(9 * 365 * day); years > 1.2*week || week < keptBackups {
		t.Errorf("nine years take %.0f allocations, a week takes %.0f", years, week)
	}
	if most := keptBackups * len(a.schedules); len(a.backups) > most {
		t.Errorf("%d backups, at the most %d can be kept", len(a.backups), most)
	}
	for id, other := range b.accounts {
		if id != a.id && (len(other.backups) > 0 || other.settled.After(b.clock)) {
			t.Fatalf("account %s was touched", id)
		}
	}
}

// TestBackupsAreKept: a state file holds all of it, and what happened since it was written follows.
func TestBackupsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	clock := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	open := func() *bench {
		t.Helper()
		return setup(t, func(c *Config) { c.StatePath, c.Now = path, func() time.Time { return clock } })
	}
	b := open()
	f := b.fixture(0)
	cluster, doomed := b.clusterNamed(f, "product-search-eu"), b.clusterNamed(f, "image-similarity")
	b.makeBackup(f, cluster, "by-hand", map[string]any{"retentionPeriod": "864000s"}).want(t, 200)
	b.makeSchedule(f, cluster, "@every 7h", nil).want(t, 200)
	b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, "cluster": cluster, "fail_backups": 2})
	b.call(f, "DELETE", clustersPath(f)+"/"+doomed, nil).want(t, 200)
	clock = clock.Add(time.Hour)
	b.call(f, "POST", backupsPath(f)+"/"+text(b.call(f, "GET", backupsPath(f)+"?clusterId="+cluster, nil), "items", 1, "id")+"/restore", nil).want(t, 200)
	before := b.shown(f)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := open()
	if diff := cmp.Diff(before, again.shown(f)); diff != "" {
		t.Errorf("another start (-before +after):\n%.2000s", diff)
	}
	clock = clock.Add(3 * day)
	later := again.shown(f)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	third := open()
	if diff := cmp.Diff(later, third.shown(f)); diff != "" {
		t.Errorf("a third start (-before +after):\n%.2000s", diff)
	}

	// A file of the layout before: messages, and nothing of up to when they are settled.
	messages := map[string]json.RawMessage{}
	for name, path := range map[string]string{"backups": backupsPath(f), "schedules": schedulesPath(f), "restores": "/api/cluster/backup/v1/accounts/" + f.CloudAccountID + "/backup_restores"} {
		var list struct{ Items json.RawMessage }
		if err := json.Unmarshal(third.call(f, "GET", path, nil).want(t, 200).body, &list); err != nil {
			t.Fatal(err)
		}
		messages[name] = list.Items
	}
	clock = clock.Add(time.Hour) // nothing is running any more
	want := third.shown(f)
	if err := third.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, item := range file["accounts"].([]any) {
		a := item.(map[string]any)
		for _, name := range []string{"settled", "backups", "schedules", "restores"} {
			delete(a, name)
		}
		if a["id"] == f.CloudAccountID {
			for name, list := range messages {
				a["messages"].(map[string]any)[name] = list
			}
		}
	}
	if data, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.TrimSpace(data), 0o600); err != nil {
		t.Fatal(err)
	}
	old := open()
	if diff := cmp.Diff(want, old.shown(f)); diff != "" {
		t.Errorf("a file of the layout before (-want +got):\n%.2000s", diff)
	}
}

// TestBackupsMadeByOthers: the control surface makes and deletes them as somebody in Qdrant's own console does.
func TestBackupsMadeByOthers(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "product-search-eu")
	do := func(act string, more map[string]any) reply {
		t.Helper()
		body := map[string]any{"act": act, "account": f.CloudAccountID, "cluster": cluster}
		for k, v := range more {
			body[k] = v
		}
		return b.ctl("POST", "outside", body)
	}
	id := text(do("create_backup", map[string]any{"name": "of-others", "days": 3}), "backup")
	sch := text(do("create_schedule", map[string]any{"name": "of-others", "schedule": "@hourly"}), "schedule")
	b.clock = b.clock.Add(time.Hour)
	if got := b.call(f, "GET", backupsPath(f)+"/"+id, nil).want(t, 200); text(got, "backup", "retentionPeriod") != "259200s" {
		t.Errorf("%s", got.body)
	}
	do("restore_backup", map[string]any{"backup": id})
	if phase := b.phase(f, cluster); phase != "UPDATING" {
		t.Errorf("while others restore it is %s", phase)
	}
	b.clock = b.clock.Add(time.Hour)
	do("delete_backup", map[string]any{"backup": id})
	do("delete_schedule", map[string]any{"schedule": sch, "delete_backups": true})
	b.clock = b.clock.Add(time.Minute)
	b.call(f, "GET", backupsPath(f)+"/"+id, nil).want(t, 404)
	if all := b.backupsOf(f, "backupScheduleId="+sch); len(all) != 0 {
		t.Errorf("%v", all)
	}
	for _, wrong := range []map[string]any{
		{"act": "create_backup", "name": "x"}, {"act": "create_schedule", "name": "good", "schedule": "bad"}, {"act": "delete_backup", "backup": "bad"},
		{"act": "delete_schedule", "schedule": id}, {"act": "restore_backup", "backup": id}, {"act": "create_backup", "name": "good", "days": -1},
	} {
		wrong["account"], wrong["cluster"] = f.CloudAccountID, cluster
		if got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/outside", wrong); got.status != 422 {
			t.Errorf("%v: %d %s", wrong, got.status, got.body)
		}
	}
	for _, wrong := range []map[string]any{
		{"account": "nobody", "cluster": cluster}, {"account": f.CloudAccountID, "cluster": newID()},
		{"account": f.CloudAccountID, "cluster": cluster, "fail_backups": -1}, {"account": f.CloudAccountID, "cluster": cluster, "fail_restores": 401},
	} {
		if got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/backups", wrong); got.status != 422 {
			t.Errorf("%v: %d %s", wrong, got.status, got.body)
		}
	}
}
