package sandbox

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// outsidePhase puts a cluster into a phase.
func (b *bench) outsidePhase(f Fixture, cluster, phase string) {
	b.t.Helper()
	b.ctl("POST", "outside", map[string]any{"act": "phase", "account": f.CloudAccountID, "cluster": cluster, "phase": phase})
}

// statusOf is the status of a backup without its prefix, or the HTTP status where it is not found.
func (b *bench) statusOf(f Fixture, backup string) string {
	b.t.Helper()
	r := b.call(f, "GET", backupsPath(f)+"/"+backup, nil)
	if r.status != 200 {
		return "not found"
	}
	return strings.TrimPrefix(text(r, "backup", "status"), "BACKUP_STATUS_")
}

// TestFactsForceIsIgnoredOnManagedClusters: the cluster is deleted as without it, which is what one must be warned of.
func TestFactsForceIsIgnoredOnManagedClusters(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "product-search-eu")
	b.call(f, "DELETE", clustersPath(f)+"/"+id+"?force=true", nil).want(t, 200)
	if got := b.cluster(f, id).want(t, 200); text(got, "cluster", "state", "phase") != "CLUSTER_PHASE_DELETING" || text(got, "cluster", "deletedAt") == "" {
		t.Errorf("after the deletion: %s", got.body)
	}
	b.clock = b.clock.Add(time.Minute)
	if got := b.phase(f, id); got != "404" {
		t.Errorf("a minute later it is %s", got)
	}
}

// TestFactsForceRemovesHybridClustersInEveryPhase: it is the client that offers it for the phase UNKNOWN only.
func TestFactsForceRemovesHybridClustersInEveryPhase(t *testing.T) {
	for _, phase := range phaseNames()[1:] {
		b := setup(t)
		f := b.fixture(0)
		id := b.clusterNamed(f, "legal-archive")
		b.outsidePhase(f, id, phase)
		b.call(f, "DELETE", clustersPath(f)+"/"+id+"?force=true", nil).want(t, 200)
		if got := b.phase(f, id); got != "404" {
			t.Errorf("removed in phase %s it is %s", phase, got)
		}
	}
}

// TestFactsADeletionWaitsForTheAgent: a hybrid cluster whose agent is silent stays until it is removed by force, and so do its backups.
func TestFactsADeletionWaitsForTheAgent(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "legal-archive")
	kept, removed := text(b.makeBackup(f, id, "kept", nil), "backup", "id"), text(b.makeBackup(f, id, "removed", nil), "backup", "id")
	b.clock = b.clock.Add(time.Hour)
	b.outsidePhase(f, id, "UNKNOWN")
	b.call(f, "DELETE", backupsPath(f)+"/"+kept, nil).want(t, 200)
	b.call(f, "DELETE", backupsPath(f)+"/"+removed, nil).want(t, 200)
	b.clock = b.clock.Add(time.Hour)
	if got := b.call(f, "GET", backupsPath(f)+"/"+kept, nil).want(t, 200); text(got, "backup", "deletedAt") == "" {
		t.Errorf("a backup that is being deleted: %s", got.body)
	}
	b.call(f, "DELETE", backupsPath(f)+"/"+removed+"?force=true", nil).want(t, 200)
	if got := b.statusOf(f, removed); got != "not found" {
		t.Errorf("a backup that was removed by force is %s", got)
	}

	b.call(f, "DELETE", clustersPath(f)+"/"+id, nil).want(t, 200)
	b.clock = b.clock.Add(24 * time.Hour)
	for range 2 {
		if got := b.cluster(f, id).want(t, 200); text(got, "cluster", "state", "phase") != "CLUSTER_PHASE_DELETING" || text(got, "cluster", "deletedAt") == "" {
			t.Errorf("a day after its deletion began: %s", got.body)
		}
	}
	b.call(f, "DELETE", clustersPath(f)+"/"+id, nil).want(t, 400)
	b.call(f, "DELETE", clustersPath(f)+"/"+id+"?force=true", nil).want(t, 200)
	if got := b.phase(f, id); got != "404" {
		t.Errorf("removed by force it is %s", got)
	}
}

// TestFactsADeletionEndsWhenTheAgentIsBack: then it confirms what was asked for meanwhile.
func TestFactsADeletionEndsWhenTheAgentIsBack(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "legal-archive")
	backup := text(b.makeBackup(f, id, "old-one", nil), "backup", "id")
	b.clock = b.clock.Add(time.Hour)
	b.outsidePhase(f, id, "UNKNOWN")
	b.call(f, "DELETE", backupsPath(f)+"/"+backup, nil).want(t, 200)
	b.clock = b.clock.Add(time.Hour)
	b.outsidePhase(f, id, "HEALTHY")
	if got := b.statusOf(f, backup); got != "not found" {
		t.Errorf("the backup is %s", got)
	}
	b.outsidePhase(f, id, "UNKNOWN")
	b.call(f, "DELETE", clustersPath(f)+"/"+id, nil).want(t, 200)
	b.outsidePhase(f, id, "DELETING")
	b.clock = b.clock.Add(time.Minute)
	if got := b.phase(f, id); got != "404" {
		t.Errorf("the cluster is %s", got)
	}
}

// TestFactsBackupsOfASilentAgentAreUnknown: those of hybrid clusters only, and until the agent reports again.
func TestFactsBackupsOfASilentAgentAreUnknown(t *testing.T) {
	path := t.TempDir() + "/state.json"
	b := setup(t, func(c *Config) { c.StatePath = path })
	f := b.fixture(0)
	hybrid, managed := b.clusterNamed(f, "legal-archive"), b.clusterNamed(f, "product-search-eu")
	made := map[string]string{}
	for name, id := range map[string]string{"hybrid": hybrid, "managed": managed} {
		made[name] = text(b.makeBackup(f, id, "one-of-"+name, nil).want(t, 200), "backup", "id")
		b.makeSchedule(f, id, "5 12 * * *", nil).want(t, 200)
		b.outsidePhase(f, id, "UNKNOWN")
	}
	b.clock = b.clock.Add(10 * time.Minute)
	if got := b.statusOf(f, made["hybrid"]); got != "UNKNOWN" {
		t.Errorf("of the hybrid cluster: %s", got)
	}
	if got := b.statusOf(f, made["managed"]); got != "SUCCEEDED" {
		t.Errorf("of the managed cluster: %s", got)
	}
	if got := b.makeBackup(f, hybrid, "another", nil); got.status != 400 {
		t.Errorf("backing up a cluster whose agent is silent: %d", got.status)
	}
	if got := b.backupsOf(f, "clusterId="+hybrid); slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, " UNKNOWN") }) || !slices.Contains(got, "2026-09-01T12:05:00Z UNKNOWN") {
		t.Errorf("of the hybrid cluster: %v", got)
	}
	if got := b.backupsOf(f, "clusterId="+managed); slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, " UNKNOWN") }) {
		t.Errorf("of the managed cluster: %v", got)
	}
	b.outsidePhase(f, hybrid, "HEALTHY")
	b.clock = b.clock.Add(time.Hour)
	if got := b.statusOf(f, made["hybrid"]); got != "SUCCEEDED" {
		t.Errorf("when the agent is back: %s", got)
	}
	if got := b.backupsOf(f, "clusterId="+hybrid); !slices.Contains(got, "2026-09-01T12:05:00Z SUCCEEDED") {
		t.Errorf("when the agent is back: %v", got)
	}
}

// TestFactsEveryStatusOfBackupsOccurs: each value of the three enums is set, read in the list and by itself, and kept.
func TestFactsEveryStatusOfBackupsOccurs(t *testing.T) {
	path := t.TempDir() + "/state.json"
	inFile := func(c *Config) { c.StatePath = path }
	b := setup(t, inFile)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "legal-archive")
	backup := text(b.makeBackup(f, cluster, "a-backup", nil).want(t, 200), "backup", "id")
	schedule := text(b.makeSchedule(f, cluster, "5 12 * * *", nil).want(t, 200), "backupSchedule", "id")
	b.clock = b.clock.Add(time.Hour)
	b.call(f, "POST", backupsPath(f)+"/"+backup+"/restore", nil).want(t, 200)
	b.clock = b.clock.Add(3 * time.Hour)
	restores := "/api/cluster/backup/v1/accounts/" + f.CloudAccountID + "/backup_restores?clusterId=" + cluster
	restore := text(b.call(f, "GET", restores, nil).want(t, 200), "items", 0, "id")
	for enum, of := range map[string]struct {
		set, prefix string
		id          string
		read        []func(b *bench) string
	}{
		"cluster.backup.v1.BackupStatus": {"backup", "BACKUP_STATUS_", backup, []func(b *bench) string{
			func(b *bench) string {
				return text(b.call(f, "GET", backupsPath(f)+"/"+backup, nil).want(t, 200), "backup", "status")
			},
			func(b *bench) string { return byID(b.call(f, "GET", backupsPath(f), nil).want(t, 200), backup) },
		}},
		"cluster.backup.v1.BackupScheduleStatus": {"schedule", "BACKUP_SCHEDULE_STATUS_", schedule, []func(b *bench) string{
			func(b *bench) string {
				return text(b.call(f, "GET", schedulesPath(f)+"/"+schedule+"?clusterId="+cluster, nil).want(t, 200), "backupSchedule", "status")
			},
			func(b *bench) string { return byID(b.call(f, "GET", schedulesPath(f), nil).want(t, 200), schedule) },
		}},
		"cluster.backup.v1.BackupRestoreStatus": {"restore", "BACKUP_RESTORE_STATUS_", restore, []func(b *bench) string{
			func(b *bench) string { return byID(b.call(f, "GET", restores, nil).want(t, 200), restore) },
		}},
	} {
		for name, number := range b.schema.enums[enum].numbers {
			if number == 0 {
				continue
			}
			b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, of.set: of.id, "status": strings.TrimPrefix(name, of.prefix)})
			for i, read := range of.read {
				if got := read(b); got != name {
					t.Errorf("%s set to %s reads %s (%d)", of.set, name, got, i)
				}
			}
			data, err := b.encodeState()
			if err != nil {
				t.Fatal(err)
			}
			again, err := b.decodeState(data)
			if err != nil {
				t.Fatal(err)
			}
			if got := again.accounts[f.CloudAccountID].statusWithID(of.id, b.now()); got != enumValue(number) {
				t.Errorf("%s set to %s is kept as %d", of.set, name, got)
			}
		}
	}
	for _, c := range []map[string]any{
		{"backup": backup, "status": "BROKEN"}, {"backup": "none", "status": "FAILED"}, {"schedule": schedule, "status": "SUCCEEDED"},
		{"restore": restore, "status": ""}, {"backup": backup, "schedule": schedule, "status": "NOT_FOUND"}, {"status": "FAILED"},
	} {
		c["account"] = f.CloudAccountID
		if got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/backups", c); got.status != 422 {
			t.Errorf("%v: %d %s", c, got.status, got.body)
		}
	}
	managed := text(b.makeBackup(f, b.clusterNamed(f, "product-search-eu"), "managed-one", nil).want(t, 200), "backup", "id")
	unknown := map[string]any{"account": f.CloudAccountID, "backup": managed, "status": "UNKNOWN"}
	if got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/backups", unknown); got.status != 422 {
		t.Errorf("a backup of a managed cluster as UNKNOWN: %d", got.status)
	}
}

// statusWithID is the status of the backup, schedule or restore with an id.
func (a *account) statusWithID(id string, now time.Time) enumValue {
	for _, b := range a.backups {
		if b.id.String() == id {
			return b.statusAt(now)
		}
	}
	for _, sch := range a.schedules {
		if sch.id.String() == id {
			return sch.statusIn(a)
		}
	}
	for _, x := range a.restores {
		if x.id.String() == id {
			return x.message(a.id, now).enum("status")
		}
	}
	return 0
}

// byID is the status of the item of a list that has an id.
func byID(r reply, id string) string {
	items, _ := r.get("items").([]any)
	for i := range items {
		if text(r, "items", i, "id") == id {
			return text(r, "items", i, "status")
		}
	}
	return "not listed"
}

// TestFactsASchedulesStatus follows its cluster, and one that is disabled or missing makes nothing.
func TestFactsASchedulesStatus(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	cluster := b.clusterNamed(f, "legal-archive")
	schedule := text(b.makeSchedule(f, cluster, "0 * * * *", nil).want(t, 200), "backupSchedule", "id")
	status := func() string {
		return strings.TrimPrefix(byID(b.call(f, "GET", schedulesPath(f), nil).want(t, 200), schedule), "BACKUP_SCHEDULE_STATUS_")
	}
	for phase, want := range map[string]string{"FAILED_TO_SYNC": "FAILED_TO_SYNC", "NOT_FOUND": "NOT_FOUND", "HEALTHY": "ACTIVE", "SUSPENDED": "ACTIVE"} {
		b.outsidePhase(f, cluster, phase)
		if got := status(); got != want {
			t.Errorf("of a cluster that is %s: %s", phase, got)
		}
	}
	b.outsidePhase(f, cluster, "HEALTHY")
	made := func() int { return len(b.backupsOf(f, "backupScheduleId="+schedule)) }
	for _, c := range []struct {
		status string
		makes  int
	}{{"DISABLED", 0}, {"ACTIVE", 3}, {"NOT_FOUND", 0}, {"FAILED_TO_SYNC", 3}, {"ACTIVE", 3}} {
		before := made()
		b.ctl("POST", "backups", map[string]any{"account": f.CloudAccountID, "schedule": schedule, "status": c.status})
		b.clock = b.clock.Add(3 * time.Hour)
		if got := made() - before; got != c.makes {
			t.Errorf("%s it made %d backups in three hours, want %d", c.status, got, c.makes)
		}
	}
}

// TestFactsNoManagedClusterCannotBeScheduled: that condition is reported of hybrid clusters only.
func TestFactsNoManagedClusterCannotBeScheduled(t *testing.T) {
	hybrid := 0
	for _, b := range []*bench{setup(t), setup(t, func(c *Config) { c.Accounts, c.Clusters = 20, 400 })} {
		for _, a := range b.accounts {
			for _, c := range a.clusters {
				for _, info := range c.sick {
					if info.enum("condition") != 1 {
						continue
					}
					if c.provider() != providerHybrid {
						t.Errorf("a node of %s cannot be scheduled", c.name())
					}
					hybrid++
				}
			}
		}
	}
	if hybrid == 0 {
		t.Error("no node of a hybrid cluster cannot be scheduled")
	}
}
