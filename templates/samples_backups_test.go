package templates

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
)

func backupPages() map[string]templ.Component {
	none := sampleBackups()
	none.Rows, none.Next, none.Trouble, none.Unread, none.OldestAt = nil, "", nil, 0, time.Time{}
	match := none
	match.Active, match.State = true, "overdue"
	match.States = append([]BackupsState{}, none.States...)
	match.States[2].Current = true

	full := sampleClusterBackups()
	empty := full
	empty.Rows, empty.Schedules, empty.Next, empty.Stands, empty.Error, empty.Stale = nil, nil, "", BackupsStand{None: true, Unscheduled: true, Production: true}, "", false
	unsupported := empty
	unsupported.Stands = BackupsStand{Unsupported: "Free clusters have no backups."}
	never := empty
	never.ReadAt, never.Stands, never.Error = time.Time{}, BackupsStand{Unread: true}, "The account's key lacks read:backups."
	legacy := empty
	legacy.Lacking, legacy.Stands, legacy.ReadAt = "The legacy pa/v1 API has no backups.", BackupsStand{Legacy: true}, time.Time{}
	hidden := full
	hidden.Schedules, hidden.SchedulesHidden, hidden.Stands, hidden.Gone = nil, "You need read:backup_schedules here to see its schedules.", BackupsStand{}, true
	silent := full
	silent.Stands, silent.Error, silent.Stale = BackupsStand{Production: true, None: true, Failed: true, LastStatus: "UNKNOWN", LastAt: before(7 * time.Hour)}, "", false
	end := empty
	end.First, end.Stands = "/accounts/1/clusters/c/backups", BackupsStand{}
	return map[string]templ.Component{
		"backups": Backups(sampleBackups()), "backups-none": Backups(none), "backups-no-match": Backups(match),
		"cluster-backups": ClusterBackups(full), "cluster-backups-none": ClusterBackups(empty), "cluster-backups-unsupported": ClusterBackups(unsupported),
		"cluster-backups-never": ClusterBackups(never), "cluster-backups-legacy": ClusterBackups(legacy), "cluster-backups-hidden": ClusterBackups(hidden), "cluster-backups-end": ClusterBackups(end),
		"cluster-backups-silent": ClusterBackups(silent),
	}
}

func sampleBackups() BackupsView {
	page := samplePage("Backups", "backups-index", "alerts")
	page.Member.Firing = 3
	row := func(name string, stands BackupsStand, schedules ...ScheduleLine) BackupsRow {
		stands.Production = true
		return BackupsRow{
			Cluster: name, Href: "/accounts/1/clusters/c/backups", ClusterID: "c", Account: "Search production", AccountHref: "/accounts/1", Environment: "production",
			Stands: stands, Schedules: schedules, ReadAt: before(40 * time.Second),
		}
	}
	nightly := ScheduleLine{Cron: "0 2 * * *", Status: "ACTIVE", Next: sampleNow.Add(17 * time.Hour)}
	v := BackupsView{
		Page: page, Tabs: []Tab{{Label: "Alerts", Href: "/alerts"}, {Label: "Key radar", Href: "/keys"}, {Label: "Backups", Href: "/backups", Current: true}}, Self: "/backups", OldestAt: before(2 * time.Minute), Next: "/backups?after=x", Unread: 12,
		Selects: []Select{
			{Name: "environment", Label: "Environment", Any: "Any", Choices: []Choice{{Value: "production", Label: "production"}}},
			{Name: "account", Label: "Account", Any: "Any", Choices: []Choice{{Value: "1", Label: "Search production"}}},
		},
		Trouble: []RadarTrouble{{Name: "Recommendations", Href: "/accounts/2", Error: "The account's key lacks read:backups."}, {Name: "Archive", OKAt: before(3 * time.Hour)}},
		Rows: []BackupsRow{
			row("search-main", BackupsStand{None: true, Unscheduled: true}),
			row("orders", BackupsStand{None: true, LastStatus: "SKIPPED", LastAt: before(day)}, nightly),
			row("products", BackupsStand{Failed: true, Overdue: true, LastStatus: "FAILED", LastAt: before(2 * day), LastOKAt: before(3 * day), DueAt: before(7 * time.Hour)}, nightly, ScheduleLine{Cron: "*/20 1-5 * * 1,3", Status: "FAILED_TO_SYNC"}),
			row("this-is-a-cluster-name-as-long-as-the-cloud-api-ever-allows-64ch", BackupsStand{Unscheduled: true, LastStatus: "SUCCEEDED", LastAt: before(20 * day), LastOKAt: before(20 * day)}),
			row("images", BackupsStand{LastStatus: "SUCCEEDED", LastAt: before(7 * time.Hour), LastOKAt: before(7 * time.Hour), Running: 1}, nightly),
			row("texts", BackupsStand{LastStatus: "SUCCEEDED", LastAt: before(7 * time.Hour), LastOKAt: before(7 * time.Hour)}),
			row("new-one", BackupsStand{Unread: true}),
			row("trial", BackupsStand{Unsupported: "Free clusters have no backups."}),
			row("old-vectors", BackupsStand{Legacy: true}),
		},
	}
	for i, label := range []string{"No backup", "Last failed", "Overdue", "No schedule", "Backed up", "Not offered"} {
		v.States = append(v.States, BackupsState{Label: label, Href: "/backups?state=x", Clusters: i * 700, Tone: BackupTones([]string{"none", "failed", "overdue", "unscheduled", "fine", "unable"}[i])})
	}
	v.Rows[5].SchedulesHidden, v.Rows[5].AccountHref, v.Rows[5].Environment, v.Rows[5].Stale = true, "", "staging", true
	v.Rows[6].ReadAt = time.Time{}
	return v
}

func sampleClusterBackups() ClusterBackupsView {
	tabs := append([]Tab{}, historyTabs...)
	tabs[2].Current, tabs[3].Current = true, false
	v := ClusterBackupsView{
		Page: samplePage("Backups of search-main", "cluster-backups", "clusters"), Cluster: "search-main", Tabs: tabs, Self: "/accounts/1/clusters/c/backups", AccountID: "1",
		Crumbs: []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}, {"search-main", "/accounts/1/clusters/c"}},
		Stands: BackupsStand{Production: true, Failed: true, Overdue: true, LastStatus: "FAILED", LastAt: before(7 * time.Hour), LastOKAt: before(31 * time.Hour), DueAt: before(time.Hour)},
		ReadAt: before(9 * time.Minute), Stale: true, Error: "Qdrant Cloud did not answer in time.", Next: "/accounts/1/clusters/c/backups?after=x",
		Schedules: []BackupScheduleRow{
			{ID: "s-1", Name: "nightly", Cron: "0 2 * * *", Status: "ACTIVE", Next: sampleNow.Add(17 * time.Hour), LastRunAt: before(7 * time.Hour), Retention: 7 * day},
			{ID: "s-2", Name: "a-name-of-a-schedule-that-is-as-long-as-names-of-schedules-may-be", Cron: "0,10,20,30,40,50 1-5 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * 1", Status: "FAILED_TO_SYNC", Retention: 365 * day},
			{ID: "s-3", Cron: "@every 36h", Status: "DISABLED", Retention: day}, {ID: "s-4", Name: "when it starts", Cron: "@reboot", Status: "ACTIVE", DeletedAt: before(time.Minute)},
		},
	}
	for i, status := range []string{"RUNNING", "FAILED", "SUCCEEDED", "SKIPPED", "FAILED_TO_SYNC", "NOT_FOUND", "UNKNOWN"} {
		r := BackupRow{
			ID: "b-" + strconv.Itoa(i), Name: "nightly", StoredAs: "search-main-2026-11-2" + strconv.Itoa(i) + "-02-00", Status: status, CreatedAt: before(time.Duration(i)*day + 7*time.Hour),
			KeptUntil: sampleNow.Add(time.Duration(7-i)*day - 7*time.Hour), Schedule: "nightly",
		}
		if i > 0 {
			r.Took = time.Duration(i*i*i*i) * 47 * time.Second
		}
		v.Rows = append(v.Rows, r)
	}
	v.Rows[2].Name, v.Rows[2].ByHand, v.Rows[2].Schedule, v.Rows[2].KeptUntil = "before-the-great-migration-of-all-collections-to-the-new-embedding", true, "", time.Time{}
	v.Rows[3].Schedule, v.Rows[4].DeletedAt = "", before(time.Hour)
	return v
}

// TestBackupWords: how a cluster stands is said by the worst first, and usual schedules are words.
func TestBackupWords(t *testing.T) {
	for cron, want := range map[string]string{
		"0 2 * * *": "every day at 02:00 UTC", "15 * * * *": "every hour at minute 15", "30 4 * * 7": "every Sunday at 04:30 UTC", "0 0 1 * *": "on day 1 of each month at 00:00 UTC",
		"@daily": "every day at 00:00 UTC", "@hourly": "every hour", "@weekly": "every Sunday at 00:00 UTC", "@monthly": "on day 1 of each month at 00:00 UTC", "@every 90m": "every 90 minutes",
		"*/5 * * * *": "", "0 2 1 * 1": "", "0 2 * 1 *": "", "0 0 2 * * *": "", "60 2 * * *": "", "0 2 0 * *": "", "@reboot": "", "@every x": "", "": "", "0 -2 * * *": "",
	} {
		if got := cronWords(cron); got != want {
			t.Errorf("%q is %q, want %q", cron, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "–", 9 * time.Second: "9 s", 90*time.Second + 400*time.Millisecond: "1 min 30 s", 3*time.Hour + 5*time.Minute: "3 h 5 min", -time.Second: "–"} {
		if got := tookWords(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "until somebody deletes them", 24 * time.Hour: "1 day", 30 * 24 * time.Hour: "30 days", 36 * time.Hour: "36 hours"} {
		if got := keptWords(d); got != want {
			t.Errorf("kept for %v is %q, want %q", d, got, want)
		}
	}
	for want, stands := range map[string]BackupsStand{
		"tone-bad No backup, tone-warn No schedule":    {None: true, Unscheduled: true, Production: true},
		"tone-warn No backup":                          {None: true},
		"tone-warn Backups not known":                  {None: true, Failed: true, Production: true, LastStatus: "UNKNOWN"},
		"tone-bad Last failed, tone-warn Overdue":      {Failed: true, Overdue: true, LastStatus: "FAILED"},
		"tone-ok Backed up, tone-busy Being made":      {Running: 2},
		"tone-off Not offered":                         {Legacy: true, None: true},
		"tone-off Not listed yet":                      {Unread: true},
		"tone-bad No backup, tone-bad Last failed":     {None: true, Failed: true, Production: true, LastStatus: "NOT_FOUND"},
		"tone-warn No backup, tone-busy Being made":    {None: true, Running: 1},
		"tone-warn No schedule, tone-busy Being made ": {Unscheduled: true, Running: 1},
	} {
		var said []string
		for _, one := range stands.states() {
			said = append(said, one.tone+" "+one.word)
		}
		if got := strings.Join(said, ", "); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %q, want %q", stands, got, want)
		}
	}
}

// TestClusterWithoutBackupsSaysWhy: each reason for an empty page is a sentence, and no empty table.
func TestClusterWithoutBackupsSaysWhy(t *testing.T) {
	pages := backupPages()
	for name, want := range map[string]string{
		"cluster-backups-none": "No backup of this cluster is kept.", "cluster-backups-unsupported": "Free clusters have no backups.", "cluster-backups-never": "have not been listed yet",
		"cluster-backups-legacy": "The legacy pa/v1 API has no backups.", "cluster-backups-end": "Nothing further back", "cluster-backups-hidden": "You need read:backup_schedules here",
		"cluster-backups-silent": "Whether one of them can be restored is not known.",
	} {
		root, text := rendered(t, pages[name])
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", name, want)
		}
		for _, n := range elements(root) {
			if n.Data == "tbody" && n.FirstChild == nil {
				t.Errorf("%s has an empty table", name)
			}
		}
	}
	for _, hook := range []string{"backup-failed", "backup-overdue", "backups-trouble"} {
		root, _ := rendered(t, pages["cluster-backups"])
		found := false
		for _, n := range elements(root) {
			value, _ := attr(n, "data-testid")
			found = found || value == hook
		}
		if !found {
			t.Errorf("the full page lacks %s", hook)
		}
	}
}
