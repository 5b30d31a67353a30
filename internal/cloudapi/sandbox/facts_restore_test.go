package sandbox

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func (b *bench) fromBackup(f Fixture, backup, name string) reply {
	b.t.Helper()
	return b.call(f, "POST", strings.TrimSuffix(clustersPath(f), "/clusters")+"/backups/"+backup+"/clusters?clusterName="+name, nil)
}

// madeBackup makes a backup that has succeeded.
func (b *bench) madeBackup(f Fixture, cluster, name string) string {
	b.t.Helper()
	id := text(b.makeBackup(f, cluster, name, nil).want(b.t, 200), "backup", "id")
	b.clock = b.clock.Add(3 * time.Hour)
	return id
}

// restores lists the statuses of the restores into a cluster.
func (b *bench) restoresOf(f Fixture, cluster string) (out []string) {
	b.t.Helper()
	list := b.call(f, "GET", "/api/cluster/backup/v1/accounts/"+f.CloudAccountID+"/backup_restores?clusterId="+cluster, nil).want(b.t, 200)
	items, _ := list.get("items").([]any)
	for i := range items {
		out = append(out, strings.TrimPrefix(text(list, "items", i, "status"), "BACKUP_RESTORE_STATUS_"))
	}
	return out
}

// TestFactsThePackageOfARestore is one that can be booked: the recorded one while it can be, then the least that holds as much.
func TestFactsThePackageOfARestore(t *testing.T) {
	b := setup(t)
	f := b.fixture(1)
	backup := b.madeBackup(f, b.ready(f, edit(edit(newCluster("mx2-cluster"), "configuration.packageId", idOf("package", "aws", "mx2")), "configuration.additionalResources", map[string]any{"disk": 40})), "of-mx2")
	packageOf := func() string {
		return text(b.call(f, "GET", backupsPath(f)+"/"+backup, nil).want(t, 200), "backup", "clusterInfo", "restorePackageId")
	}
	if got := packageOf(); got != idOf("package", "aws", "mx2") {
		t.Errorf("while mx2 can be booked: %s", got)
	}
	b.ctl("POST", "catalogue", map[string]any{"package_deactivated": map[string]any{"provider": "aws", "name": "mx2"}})
	if got := packageOf(); got != idOf("package", "aws", "cx2") {
		t.Errorf("when it cannot: %s", got)
	}
	made := b.fromBackup(f, backup, "restored").want(t, 200)
	if text(made, "cluster", "configuration", "packageId") != idOf("package", "aws", "cx2") || made.get("cluster", "configuration", "additionalResources", "disk") != float64(40) {
		t.Errorf("restored with another package: %s", made.body)
	}
	b.ctl("POST", "catalogue", map[string]any{"package_deactivated": map[string]any{"provider": "aws", "name": "cx2"}})
	made = b.fromBackup(f, backup, "restored-again").want(t, 200)
	if text(made, "cluster", "configuration", "packageId") != idOf("package", "aws", "mx4") || made.get("cluster", "configuration", "additionalResources", "disk") != float64(8) {
		t.Errorf("restored with a larger package: %s", made.body)
	}
	for _, p := range b.catalogue.ordered {
		if p.provider == providerAWS {
			b.ctl("POST", "catalogue", map[string]any{"package_deactivated": map[string]any{"provider": "aws", "name": p.name}})
		}
	}
	if got := packageOf(); got != "" {
		t.Errorf("when none can be booked: %s", got)
	}
	if got := b.fromBackup(f, backup, "no-package"); got.status != 400 || got.get("code") != float64(codeFailedPrecondition) {
		t.Errorf("when none can be booked: %d %s", got.status, got.body)
	}
}

// TestFactsARestoreIntoANewClusterFails, as it does into the one that was backed up.
func TestFactsARestoreIntoANewClusterFails(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	source := b.clusterNamed(f, "support-assistant")
	backup := b.madeBackup(f, source, "of-it")
	b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, "cluster": source, "fail_restores": 1})
	id := text(b.fromBackup(f, backup, "will-fail").want(t, 200), "cluster", "id")
	if got := b.restoresOf(f, id); len(got) != 1 || got[0] != "RUNNING" {
		t.Errorf("at first: %v", got)
	}
	b.clock = b.clock.Add(time.Hour)
	if got := b.restoresOf(f, id); len(got) != 1 || got[0] != "FAILED" {
		t.Errorf("an hour later: %v", got)
	}
	if got := b.cluster(f, id).want(t, 200); b.phase(f, id) != "FAILED_TO_CREATE" || text(got, "cluster", "state", "reason") == "" {
		t.Errorf("the cluster: %s", got.body)
	}
	id = text(b.fromBackup(f, backup, "will-work").want(t, 200), "cluster", "id")
	b.clock = b.clock.Add(time.Hour)
	if got := b.restoresOf(f, id); len(got) != 1 || got[0] != "SUCCEEDED" || b.phase(f, id) != "HEALTHY" {
		t.Errorf("the next one: %v, %s", got, b.phase(f, id))
	}
	b.call(f, "DELETE", clustersPath(f)+"/"+id, nil).want(t, 200)
}

// TestFactsABackupThatIsBeingRestoredStays, also when its schedule is deleted with its backups.
func TestFactsABackupThatIsBeingRestoredStays(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "support-assistant")
	schedule := text(b.makeSchedule(f, cluster, "0 * * * *", nil).want(t, 200), "backupSchedule", "id")
	b.clock = b.clock.Add(5 * time.Hour)
	backup := text(b.call(f, "GET", backupsPath(f)+"?backupScheduleId="+schedule, nil).want(t, 200), "items", 0, "id")
	b.call(f, "POST", backupsPath(f)+"/"+backup+"/restore", nil).want(t, 200)
	path := schedulesPath(f) + "/" + schedule + "?deleteBackups=true"
	for _, path := range []string{backupsPath(f) + "/" + backup, path} {
		if got := b.call(f, "DELETE", path, nil); got.status != 400 || got.get("code") != float64(codeFailedPrecondition) {
			t.Errorf("DELETE %s: %d %s", path, got.status, got.body)
		}
	}
	if got := b.call(f, "GET", schedulesPath(f)+"/"+schedule+"?clusterId="+cluster, nil).want(t, 200); text(got, "backupSchedule", "deletedAt") != "" {
		t.Errorf("the schedule: %s", got.body)
	}
	b.clock = b.clock.Add(3 * time.Hour)
	b.call(f, "DELETE", path, nil).want(t, 200)
}

// TestFactsOthersChangeBackups: the acts of somebody else on backups and schedules.
func TestFactsOthersChangeBackups(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "support-assistant")
	backup := b.madeBackup(f, cluster, "of-it")
	schedule := text(b.makeSchedule(f, cluster, "0 1 * * *", map[string]any{"retentionPeriod": "172800s"}).want(t, 200), "backupSchedule", "id")
	outside := func(status int, in map[string]any) reply {
		t.Helper()
		in["account"] = f.CloudAccountID
		got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/outside", in)
		if got.status != status {
			t.Errorf("%v: %d %s", in, got.status, got.body)
		}
		return got
	}
	outside(http.StatusOK, map[string]any{"act": "rename_backup", "cluster": cluster, "backup": backup, "name": "renamed"})
	if got := b.call(f, "GET", backupsPath(f)+"/"+backup, nil).want(t, 200); text(got, "backup", "displayName") != "renamed" {
		t.Errorf("%s", got.body)
	}
	outside(http.StatusUnprocessableEntity, map[string]any{"act": "rename_backup", "cluster": cluster, "backup": backup, "name": "no"})
	outside(http.StatusUnprocessableEntity, map[string]any{"act": "rename_backup", "cluster": cluster, "backup": newID(), "name": "renamed"})

	outside(http.StatusOK, map[string]any{"act": "update_schedule", "cluster": cluster, "schedule": schedule, "cron": "30 2 * * *", "days": 3})
	got := b.call(f, "GET", schedulesPath(f)+"/"+schedule+"?clusterId="+cluster, nil).want(t, 200)
	if text(got, "backupSchedule", "schedule") != "30 2 * * *" || text(got, "backupSchedule", "retentionPeriod") != "259200s" || text(got, "backupSchedule", "displayName") != "made-in-a-test" {
		t.Errorf("%s", got.body)
	}
	outside(http.StatusOK, map[string]any{"act": "update_schedule", "cluster": cluster, "schedule": schedule, "name": "another-name"})
	got = b.call(f, "GET", schedulesPath(f)+"/"+schedule+"?clusterId="+cluster, nil).want(t, 200)
	if text(got, "backupSchedule", "schedule") != "30 2 * * *" || text(got, "backupSchedule", "retentionPeriod") != "259200s" || text(got, "backupSchedule", "displayName") != "another-name" {
		t.Errorf("%s", got.body)
	}
	outside(http.StatusUnprocessableEntity, map[string]any{"act": "update_schedule", "cluster": cluster, "schedule": schedule, "cron": "at night"})

	made := outside(http.StatusOK, map[string]any{"act": "create_cluster_from_backup", "backup": backup, "name": "made-of-it"})
	if id := text(made, "cluster"); b.phase(f, id) != "CREATING" {
		t.Errorf("%s", made.body)
	}
	outside(http.StatusUnprocessableEntity, map[string]any{"act": "create_cluster_from_backup", "backup": backup, "name": "no"})
}
