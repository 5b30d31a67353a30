package accounts

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// backupsFleet is a fleet whose backups were read: one-a is overdue, one-b's last one failed; two is of pa/v1.
func backupsFleet(t *testing.T) seenFleet {
	f := newSeenFleet(t)
	f.exec(f.db.AppURL, `INSERT INTO refresh (account_id, kind, created_at, next_at, ok_at) VALUES ($1, 'backups', now(), now() + interval '1 hour', now())
		ON CONFLICT ON CONSTRAINT refresh_pkey DO UPDATE SET ok_at = now(), next_at = now() + interval '1 hour'`, f.one.ID)
	f.rawClusters()
	f.stands("one-a", "SUCCEEDED", of(2*24*time.Hour), 1, of(time.Hour))
	f.stands("one-b", "FAILED", of(5*time.Hour), 0, nil)
	f.stands("one-gone", "FAILED", nil, 0, nil)
	for _, name := range []string{"one-a", "one-b", "one-gone"} {
		for n, status := range []string{"SUCCEEDED", "FAILED"} {
			f.exec(f.db.AppURL, `
				INSERT INTO backups (account_id, backup_id, cluster_id, name, stored_as, status, schedule_id, created_at, took, retention)
				VALUES ($1, $2, $3, $4, 'stored', $5, $6, now() - $7::interval, interval '90 seconds', interval '168 hours')`,
				f.one.ID, uuid.NewString(), f.ids[name].ClusterID, "backup of "+name, status, map[int]string{0: "schedule-" + name}[n], time.Duration(n+1)*time.Hour)
		}
		f.exec(f.db.AppURL, `
			INSERT INTO backup_schedules (account_id, schedule_id, cluster_id, name, cron, status, created_at, retention, watched_at, last_run_at)
			VALUES ($1, $2, $3, $4, '0 2 * * *', 'ACTIVE', now() - interval '30 days', interval '168 hours', now() - interval '30 days', now() - interval '1 day')`,
			f.one.ID, "schedule-"+name, f.ids[name].ClusterID, "schedule of "+name)
	}
	return f
}

// rawClusters gives the clusters an answer of the Cloud API that says who they are.
func (f seenFleet) rawClusters() {
	f.t.Helper()
	f.exec(f.db.AppURL, `UPDATE clusters SET raw = convert_to('{"id": "' || cluster_id || '"}', 'UTF8')`)
}

// stands stores what the backups of a cluster come to: the status of the last, how long ago one succeeded and one became overdue.
func (f seenFleet) stands(name, last string, ok *time.Duration, schedules int, overdue *time.Duration) {
	f.t.Helper()
	f.exec(f.db.AppURL, `
		INSERT INTO cluster_backups (account_id, cluster_id, cluster_digest, last_at, last_status, last_ok_at, running, schedules, overdue_at, overdue)
		VALUES ($1, $2, '\x00', now() - interval '1 hour', $3, now() - $4::interval, 0, $5, now() - $6::interval, coalesce($6::interval > interval '0', false))`,
		f.ids[name].AccountID, f.ids[name].ClusterID, last, ok, schedules, overdue)
}

// standing is a page in short: the clusters, what worries about each, and their schedules.
func standing(page BackupsPage) []string {
	out := []string{}
	for _, r := range page.Rows {
		words := []string{r.ClusterName}
		for word, is := range map[string]bool{"none": r.None, "failed": r.Failed, "overdue": r.Overdue, "unscheduled": r.Unscheduled, "legacy": r.Legacy, "unread": r.Unread, "unsupported": r.Unsupported != "", "hidden": !r.Scheduled} {
			if is {
				words = append(words, word)
			}
		}
		slices.Sort(words[1:])
		for _, one := range r.Schedules {
			words = append(words, one.Name)
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// TestBackupsOnlyOfReadableClusters: rows, counts and filters are narrowed by rights on backups and on clusters; schedules, and what
// follows from them, by the right on schedules; and what is gone is left out.
func TestBackupsOnlyOfReadableClusters(t *testing.T) {
	f := backupsFleet(t)
	by := member("nobody")
	list := func(q BackupsQuery) ([]string, BackupsPage) {
		t.Helper()
		page, err := f.svc.Backups(t.Context(), by, q)
		if err != nil {
			t.Fatal(err)
		}
		return standing(page), page
	}
	rows := map[string]string{"one-a": "one-a overdue schedule of one-a", "one-b": "one-b failed unscheduled schedule of one-b", "two-a": "two-a legacy"}
	for name, scope := range seenScopes {
		where, clusters := scope(f)
		f.scopedTo(by, where, access.ReadClusters, access.ReadBackups, access.ReadBackupSchedules)
		want := []string{}
		for _, c := range clusters {
			want = append(want, rows[c])
		}
		got, page := list(BackupsQuery{})
		for _, c := range clusters {
			if c == "one-a" && page.Counts[BackupsOverdue] != 1 || c == "one-b" && (page.Counts[BackupsFailed] != 1 || page.Counts[BackupsUnscheduled] != 1) {
				t.Errorf("%s: counted %v", name, page.Counts)
			}
		}
		if sum := page.Counts[BackupsFailed] + page.Counts[BackupsOverdue] + page.Counts[BackupsUnable] + page.Counts[BackupsFine] + page.Counts[BackupsNone]; sum != len(clusters) {
			t.Errorf("%s: counted %v of %d clusters", name, page.Counts, len(clusters))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		// Without the right on schedules nothing follows from them.
		f.scopedTo(by, where, access.ReadClusters, access.ReadBackups)
		got, page = list(BackupsQuery{})
		for i := range got {
			if strings.Contains(got[i], "schedule of") || strings.Contains(got[i], "overdue") || strings.Contains(got[i], "unscheduled") || !strings.Contains(got[i], "hidden") {
				t.Errorf("%s without the right on schedules: %q", name, got[i])
			}
		}
		if page.Counts[BackupsOverdue]+page.Counts[BackupsUnscheduled] != 0 || len(got) != len(clusters) {
			t.Errorf("%s without the right on schedules: %d rows, counted %v", name, len(got), page.Counts)
		}
		if got, _ := list(BackupsQuery{State: BackupsOverdue}); len(got) != 0 {
			t.Errorf("%s without the right on schedules finds %q by them", name, got)
		}
		for _, half := range [][]string{{access.ReadClusters, access.ReadBackupSchedules}, {access.ReadBackups, access.ReadBackupSchedules}} {
			f.scopedTo(by, where, half...)
			if got, page := list(BackupsQuery{}); len(got) != 0 || len(page.Accounts) != 0 || len(page.Counts) != 0 {
				t.Errorf("%s with %q: %q, %v", name, half, got, page.Counts)
			}
		}
	}
	f.scopedTo(by, access.Scope{Everything: true}, access.ReadClusters, access.ReadBackups, access.ReadBackupSchedules)
	for _, one := range []struct {
		q    BackupsQuery
		want int
	}{
		{BackupsQuery{State: BackupsFailed}, 1}, {BackupsQuery{State: BackupsOverdue}, 1}, {BackupsQuery{State: BackupsUnscheduled}, 1}, {BackupsQuery{State: BackupsNone}, 0},
		{BackupsQuery{State: BackupsFine}, 0}, {BackupsQuery{State: BackupsUnable}, 1}, {BackupsQuery{State: "no"}, 0}, {BackupsQuery{State: "\x00"}, 0},
		{BackupsQuery{Account: f.two.ID.String()}, 1}, {BackupsQuery{Account: "x"}, 0}, {BackupsQuery{Account: uuid.NewString()}, 0},
		{BackupsQuery{Environment: string(Staging)}, 3}, {BackupsQuery{Environment: string(Production)}, 0}, {BackupsQuery{Environment: "\x00"}, 0},
		{BackupsQuery{Text: "ONE-B"}, 1}, {BackupsQuery{Text: "one-gone"}, 0}, {BackupsQuery{Text: "%"}, 0}, {BackupsQuery{Text: "\x00"}, 0},
	} {
		if got, _ := list(one.q); len(got) != one.want {
			t.Errorf("%+v: %q, want %d", one.q, got, one.want)
		}
	}
	if _, err := f.svc.Backups(t.Context(), by, BackupsQuery{After: "x"}); !errors.Is(err, ErrBadCursor) {
		t.Errorf("a bad place answers %v", err)
	}
}

// TestBackupsByWhatWorries: production without a backup comes first, then what has not succeeded last, what is overdue, others without any,
// what has no schedule; and a cluster that was not read is not said to be without.
func TestBackupsByWhatWorries(t *testing.T) {
	f := newSeenFleet(t)
	f.exec(f.db.AppURL, `DELETE FROM clusters`)
	f.exec(f.db.AppURL, `INSERT INTO refresh (account_id, kind, created_at, next_at, ok_at) VALUES ($1, 'backups', now(), now() + interval '1 hour', now())
		ON CONFLICT ON CONSTRAINT refresh_pkey DO UPDATE SET ok_at = now()`, f.one.ID)
	add := func(name string) {
		ref := ClusterRef{AccountID: f.one.ID, ClusterID: uuid.NewString()}
		f.ids[name] = ref
		f.exec(f.db.AppURL, `
			INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id, package, ram_mib, cpu_milli,
				disk_mib, endpoint, labels, search, raw, digest, seen_at, changed_at)
			VALUES ($1, $2, $3, 'HEALTHY', '', 'aws', 'eu', 'v1', 'v1', 1, 1, 'p', 'p', 1, 1, 1, '', '{}', $3, '{}', '\x00', now(), now())`, ref.AccountID, ref.ClusterID, name)
	}
	for _, name := range []string{"fine", "older", "unread", "none", "failed", "overdue", "not yet", "unscheduled", "free", "skipped"} {
		add(name)
	}
	day := 24 * time.Hour
	f.stands("fine", "SUCCEEDED", of(time.Hour), 1, nil)
	f.stands("older", "SUCCEEDED", of(2*day), 1, nil)
	f.stands("none", "", nil, 1, nil)
	f.stands("failed", "FAILED_TO_SYNC", of(day), 1, of(time.Hour))
	f.stands("overdue", "SUCCEEDED", of(day), 1, of(time.Minute))
	f.stands("not yet", "SUCCEEDED", of(3*day), 1, of(-time.Hour))
	f.stands("unscheduled", "SUCCEEDED", of(time.Minute), 0, nil)
	f.stands("free", "", nil, 0, nil)
	f.stands("skipped", "SKIPPED", of(90*time.Minute), 1, nil)
	f.exec(f.db.AppURL, `UPDATE cluster_backups SET unsupported = 'Free clusters have no backups.' WHERE cluster_id = $1`, f.ids["free"].ClusterID)
	order := func() (names []string) {
		t.Helper()
		page, err := f.svc.Backups(t.Context(), member("admins"), BackupsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Rows {
			names = append(names, r.ClusterName)
		}
		return names
	}
	if diff := gocmp.Diff([]string{"failed", "skipped", "overdue", "none", "unscheduled", "not yet", "older", "fine", "free", "unread"}, order()); diff != "" {
		t.Errorf("of staging (-want +got)\n%s", diff)
	}
	f.exec(f.db.OwnerURL, `UPDATE accounts SET environment = 'production'`)
	if got := order(); !slices.Equal(got[:5], []string{"none", "failed", "skipped", "overdue", "unscheduled"}) {
		t.Errorf("of production: %q", got)
	}
	page, err := f.svc.Backups(t.Context(), member("admins"), BackupsQuery{})
	want := map[BackupState]int{BackupsNone: 1, BackupsFailed: 2, BackupsOverdue: 2, BackupsUnscheduled: 1, BackupsFine: 3, BackupsUnable: 1}
	if diff := gocmp.Diff(want, page.Counts); diff != "" || err != nil || page.Unread != 1 {
		t.Errorf("%d not read, %v, counted (-want +got)\n%s", page.Unread, err, diff)
	}
	// What is late was decided when the account was read last, and it is told how long ago that is.
	f.exec(f.db.AppURL, `UPDATE refresh SET ok_at = now() - interval '30 minutes', failures = 9, error = 'It is down.' WHERE kind = 'backups'`)
	f.exec(f.db.AppURL, `UPDATE cluster_backups SET overdue = false WHERE overdue_at > now() - interval '30 minutes'`)
	page, err = f.svc.Backups(t.Context(), member("admins"), BackupsQuery{State: BackupsOverdue})
	if got := standing(page); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "failed") || !page.Rows[0].Stale || len(page.Trouble) != 1 || page.Trouble[0].Error != "It is down." {
		t.Errorf("unread for half an hour: %q, trouble %+v, %v", got, page.Trouble, err)
	}
}

// TestBackupsArePagedOnce: pages go on where the last ended, across what worries and among equal times.
func TestBackupsArePagedOnce(t *testing.T) {
	f := newSeenFleet(t)
	f.exec(f.db.AppURL, `
		INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id, package, ram_mib, cpu_milli,
			disk_mib, endpoint, labels, search, raw, digest, seen_at, changed_at)
		SELECT $1, 'c' || i, 'name', 'HEALTHY', '', 'aws', 'eu', 'v1', 'v1', 1, 1, 'p', 'p', 1, 1, 1, '', '{}', 'many', '{}', '\x00', now(), now() FROM generate_series(1, 330) i`, f.one.ID)
	f.exec(f.db.AppURL, `
		INSERT INTO cluster_backups (account_id, cluster_id, cluster_digest, last_status, last_ok_at, running, schedules)
		SELECT $1, 'c' || i, '\x00', (ARRAY['SUCCEEDED', 'FAILED', 'SKIPPED'])[i % 3 + 1], CASE WHEN i % 5 > 0 THEN now() - (i % 7) * interval '1 minute' END, 0, i % 2 FROM generate_series(1, 330) i`, f.one.ID)
	seen := map[string]bool{}
	q, pages := BackupsQuery{Text: "many"}, 0
	for {
		page, err := f.svc.Backups(t.Context(), member("admins"), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, r := range page.Rows {
			if seen[r.ClusterID] {
				t.Fatalf("%s is there twice", r.ClusterID)
			}
			seen[r.ClusterID] = true
		}
		if q.After = page.Next; q.After == "" {
			break
		}
		if _, err := f.svc.Backups(t.Context(), member("admins"), BackupsQuery{After: page.Next}); !errors.Is(err, ErrBadCursor) {
			t.Fatalf("the place of another query answers %v", err)
		}
	}
	if len(seen) != 330 || pages != 4 {
		t.Errorf("%d clusters on %d pages", len(seen), pages)
	}

	f.rawClusters()
	ref := f.ids["one-a"]
	f.exec(f.db.AppURL, `
		INSERT INTO backups (account_id, backup_id, cluster_id, name, stored_as, status, schedule_id, created_at)
		SELECT $1, 'b' || i, $2, 'n', '', 'SUCCEEDED', '', CASE WHEN i % 4 > 0 THEN now() - (i % 9) * interval '1 day' END FROM generate_series(1, 230) i`, ref.AccountID, ref.ClusterID)
	seen, pages = map[string]bool{}, 0
	var last *time.Time
	for after := ""; ; {
		page, err := f.svc.ClusterBackups(t.Context(), member("admins"), ref, after)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, b := range page.Backups {
			if seen[b.ID] || last != nil && b.CreatedAt != nil && b.CreatedAt.After(*last) {
				t.Fatalf("%s is there twice, or not in order", b.ID)
			}
			seen[b.ID], last = true, b.CreatedAt
		}
		if after = page.Next; after == "" {
			break
		}
		if _, err := f.svc.ClusterBackups(t.Context(), member("admins"), f.ids["one-b"], after); !errors.Is(err, ErrBadCursor) {
			t.Fatalf("the place in another cluster's backups answers %v", err)
		}
	}
	if len(seen) != 230 || pages != 3 {
		t.Errorf("%d backups on %d pages", len(seen), pages)
	}
}

// TestClusterBackupsAreOfTheCluster: a member sees the backups of a cluster where they hold both rights, is told which right is missing
// where they may read the cluster, and else that there is no such cluster; nothing is asked of upstream.
func TestClusterBackupsAreOfTheCluster(t *testing.T) {
	f := backupsFleet(t)
	by := member("nobody")
	calls, _ := f.calls()
	one := func(name string) access.Scope {
		return access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(f.ids[name])}}
	}
	f.scopedTo(by, one("one-a"), access.ReadClusters, access.ReadBackups, access.ReadBackupSchedules)
	page, err := f.svc.ClusterBackups(t.Context(), by, f.ids["one-a"], "")
	if err != nil || len(page.Backups) != 2 || len(page.Schedules) != 1 {
		t.Fatalf("%d backups, %d schedules, %v", len(page.Backups), len(page.Schedules), err)
	}
	newest := page.Backups[0]
	if newest.Name != "backup of one-a" || newest.Status != "SUCCEEDED" || newest.Schedule != "schedule of one-a" || *newest.Took != 90*time.Second || newest.KeptUntil.Sub(*newest.CreatedAt) != 7*24*time.Hour {
		t.Errorf("the newest is %+v", newest)
	}
	if !page.Backups[1].ByHand || !page.Stands.Overdue || page.Stands.DueAt == nil || page.Stands.ReadAt == nil || page.Schedules[0].Next == nil || !page.Schedules[0].Next.After(time.Now()) {
		t.Errorf("stands %+v, schedule %+v", page.Stands, page.Schedules[0])
	}
	for _, name := range []string{"one-b", "two-a"} {
		if _, err := f.svc.ClusterBackups(t.Context(), by, f.ids[name], ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s answers %v", name, err)
		}
	}
	f.scopedTo(by, one("one-a"), access.ReadClusters, access.ReadBackups)
	page, err = f.svc.ClusterBackups(t.Context(), by, f.ids["one-a"], "")
	if err != nil || len(page.Backups) != 2 || page.Backups[0].Schedule != "" || len(page.Schedules) != 0 || page.Stands.Overdue || page.Unscheduled != "You need read:backup_schedules here to see its schedules." {
		t.Errorf("without the right on schedules: %+v, %v", page, err)
	}
	f.scopedTo(by, one("one-a"), access.ReadClusters, access.ReadBackupSchedules)
	_, err = f.svc.ClusterBackups(t.Context(), by, f.ids["one-a"], "")
	if forbidden, ok := errors.AsType[*ForbiddenError](err); !ok || forbidden.Missing != access.ReadBackups {
		t.Errorf("without the right on backups: %v", err)
	}
	denied := f.eventsOf(ActBackupRead)
	if last := denied[len(denied)-1]; last.Outcome != audit.Denied || last.Target.ID != f.ids["one-a"].ClusterID {
		t.Errorf("the refusal is recorded as %+v", last)
	}
	if now, _ := f.calls(); now != calls {
		t.Errorf("upstream was called %d times", now-calls)
	}
	// What is gone shows the backups that are there still; pa/v1 has none, and says so.
	page, err = f.svc.ClusterBackups(t.Context(), member("admins"), f.ids["one-gone"], "")
	if err != nil || !page.Cluster.Gone || len(page.Backups) != 2 || page.Stands.ReadAt == nil {
		t.Errorf("a cluster that is gone: %+v, %v", page, err)
	}
	page, err = f.svc.ClusterBackups(t.Context(), member("admins"), f.ids["two-a"], "")
	if err != nil || page.Lacking != "The legacy pa/v1 API has no backups." || len(page.Backups) != 0 {
		t.Errorf("of pa/v1: %+v, %v", page, err)
	}
	// What went wrong with the account may be about other clusters.
	f.exec(f.db.AppURL, `UPDATE refresh SET failures = 1, error = 'secret of another cluster' WHERE kind = 'backups'`)
	f.scopedTo(by, one("one-a"), access.ReadClusters, access.ReadBackups)
	if page, err := f.svc.ClusterBackups(t.Context(), by, f.ids["one-a"], ""); err != nil || page.Error == "" || strings.Contains(page.Error, "secret") || !page.Stands.Stale {
		t.Errorf("to one who sees one cluster: %q, %v", page.Error, err)
	}
	if page, err := f.svc.ClusterBackups(t.Context(), member("admins"), f.ids["one-a"], ""); err != nil || page.Error != "secret of another cluster" {
		t.Errorf("to one who sees all: %q, %v", page.Error, err)
	}
	for _, id := range []string{uuid.NewString(), "", "\x00", strings.Repeat("x", 5000)} {
		if _, err := f.svc.ClusterBackups(t.Context(), member("admins"), ClusterRef{AccountID: f.one.ID, ClusterID: id}, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("%.20q answers %v", id, err)
		}
	}
}

// TestUpstreamTellsEachKind: how keys, alerts and backups are read stands beside how the clusters are, and what went wrong is told
// only to who may read every cluster of the account.
func TestUpstreamTellsEachKind(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	old := s.register(s.legacy(), "Old")
	for _, kind := range []string{kindKeys, kindAlerts, kindBackups} {
		s.readsKind(kind)
	}
	s.fault(map[string]any{"account": account.CloudAccountID, "operation": "ListBackups", "kind": "status", "status": http.StatusForbidden})
	s.readsKind(kindBackups)
	kinds := func(by audit.Actor, of Account) (out []string) {
		t.Helper()
		page, err := s.svc.UpstreamHealth(t.Context(), by, AccountsQuery{Text: of.CloudAccountID})
		if err != nil || len(page.Accounts) != 1 {
			t.Fatalf("%d accounts, %v", len(page.Accounts), err)
		}
		for _, k := range page.Accounts[0].Beside {
			out = append(out, fmt.Sprintf("%s %t %d", k.Kind, k.OKAt != nil, k.Failures))
			if k.Failures > 0 && !strings.Contains(k.Error, map[bool]string{true: "The key may not read this", false: "The last reading failed"}[by.Groups[0] == "admins"]) {
				t.Errorf("%v is told %q", by.Groups, k.Error)
			}
		}
		return out
	}
	if got := kinds(member("admins"), account); !slices.Equal(got, []string{"keys true 0", "alerts true 0", "backups true 1"}) {
		t.Errorf("of the current API: %q", got)
	}
	if got := kinds(member("admins"), old); !slices.Equal(got, []string{"keys true 0"}) {
		t.Errorf("of pa/v1: %q", got)
	}
	someone := member("nobody")
	s.scopedTo(someone, access.Scope{Accounts: []uuid.UUID{account.ID}}, access.ReadAccount)
	if got := kinds(someone, account); !slices.Equal(got, []string{"keys true 0", "alerts true 0", "backups true 1"}) {
		t.Errorf("to one who may read no cluster: %q", got)
	}
}

// TestBackupCountsFollowRights: counts are used again for a few seconds, and never once the member's rights are others.
func TestBackupCountsFollowRights(t *testing.T) {
	f := backupsFleet(t)
	by := member("nobody")
	count := func() int {
		t.Helper()
		page, err := f.svc.Backups(t.Context(), by, BackupsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		failed := page.Counts[BackupsFailed]
		page.Counts[BackupsFailed] = 99 // whoever has a page may do what they like with it
		return failed
	}
	f.scopedTo(by, access.Scope{Accounts: []uuid.UUID{f.one.ID}}, access.ReadClusters, access.ReadBackups)
	if n := count(); n != 1 {
		t.Errorf("%d have failed", n)
	}
	f.exec(f.db.AppURL, `UPDATE cluster_backups SET last_status = 'FAILED'`)
	if n := count(); n != 1 {
		t.Errorf("%d are counted at once", n)
	}
	f.clock.at = f.clock.at.Add(standingLife)
	if n := count(); n != 2 {
		t.Errorf("%d are counted later", n)
	}
	f.scopedTo(by, access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(f.ids["one-b"])}}, access.ReadClusters, access.ReadBackups)
	if n := count(); n != 1 {
		t.Errorf("%d are counted with other rights", n)
	}
}

// TestBackupsWalkAsTheySort: going through the list piece by piece, as of a large fleet, finds the same clusters in the same order as
// looking at all of them, for every scope, state and filter, from each page on.
func TestBackupsWalkAsTheySort(t *testing.T) {
	r := newListsFleet(t, 14, 40)
	ids := func(query string) (found []uuid.UUID) {
		rows, err := r.db.Pool.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		if found, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			t.Fatal(err)
		}
		return found
	}
	r.exec(t, `DELETE FROM cluster_backups WHERE abs(hashtext(cluster_id)) % 17 = 3`)
	r.exec(t, `UPDATE cluster_backups SET last_ok_at = CASE WHEN abs(hashtext(cluster_id)) % 3 > 0 THEN date_trunc('day', last_ok_at) END, overdue = abs(hashtext(cluster_id)) % 7 = 0`)
	all := ids(`SELECT id FROM accounts ORDER BY id`)
	refs, err := pgx.CollectRows(func() pgx.Rows {
		rows, err := r.db.Pool.Query(t.Context(), `SELECT account_id, cluster_id FROM clusters WHERE abs(hashtext(cluster_id)) % 5 = 0`)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}(), pgx.RowToStructByPos[access.ClusterRef])
	if err != nil {
		t.Fatal(err)
	}
	everything, some, picked := access.Scope{Everything: true}, access.Scope{Accounts: all[:9]}, access.Scope{Accounts: all[:3], Clusters: refs}
	queries := []BackupsQuery{{}, {Account: all[4].String()}, {Environment: "production"}, {Environment: "staging", State: BackupsFailed}, {Text: "name-1"}, {Text: "na", State: BackupsNone}, {Text: "no such"}}
	for _, state := range BackupStates {
		queries = append(queries, BackupsQuery{State: state})
	}
	for _, scopes := range []struct{ in, scheduled access.Scope }{{everything, everything}, {everything, access.Scope{}}, {everything, some}, {some, some}, {picked, some}, {some, picked}} {
		err := pgx.BeginFunc(t.Context(), r.db.Pool, func(tx pgx.Tx) error {
			in, err := reachOf(t.Context(), tx, scopes.in)
			if err != nil {
				return err
			}
			scheduled, err := reachOf(t.Context(), tx, scopes.scheduled)
			if err != nil {
				return err
			}
			accounts, err := r.svc.fleetAccounts(t.Context(), tx, scopes.in)
			if err != nil {
				return err
			}
			j := judgedClusters{in: in, scheduled: scheduled, accounts: accounts.all}
			for _, q := range queries {
				var sorted []BackupsRow
				var walked []pgtype.TID
				at, rest := cursor{}, q
				for {
					page := BackupsPage{}
					if err := r.svc.backupRows(t.Context(), tx, &page, j, rest, at, "q"); err != nil {
						return err
					}
					sorted = append(sorted, page.Rows...)
					places, err := j.walk(t.Context(), tx, q, at, backupsLimit)
					if err != nil {
						return err
					}
					walked = append(walked, places...)
					if page.Next == "" {
						break
					}
					if at, err = r.svc.decodeCursor(page.Next, "q"); err != nil {
						return err
					}
					rest.After = page.Next
				}
				for i, row := range sorted {
					var id string
					if i < len(walked) {
						if err := tx.QueryRow(t.Context(), `SELECT cluster_id FROM clusters WHERE ctid = $1`, walked[i]).Scan(&id); err != nil {
							return err
						}
					}
					if id != row.ClusterID {
						t.Fatalf("%+v of %+v: %d of %d are walked; at %d the walk has %q and not %s, which stands %+v", q, scopes, len(walked), len(sorted), i, id, row.ClusterID, row)
					}
				}
				if len(walked) != len(sorted) || q == (BackupsQuery{}) && len(sorted) == 0 {
					t.Errorf("%+v: %d are walked of %d", q, len(walked), len(sorted))
				}
			}
			counted, want := BackupsPage{}, map[BackupState]int{}
			if err := j.count(t.Context(), tx, &counted); err != nil {
				return err
			}
			for _, state := range BackupStates {
				places, err := j.walk(t.Context(), tx, BackupsQuery{State: state}, cursor{}, 10_000)
				if err != nil {
					return err
				}
				want[state] = len(places)
			}
			if diff := gocmp.Diff(want, counted.Counts); diff != "" {
				t.Errorf("counted (-want +got)\n%s", diff)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestBackupsOfManySchedules: whoever makes thousands of schedules of a cluster fills no page with them, and keeps none waiting.
func TestBackupsOfManySchedules(t *testing.T) {
	f := backupsFleet(t)
	ref := f.ids["one-b"]
	f.exec(f.db.AppURL, `
		INSERT INTO backup_schedules (account_id, schedule_id, cluster_id, name, cron, status, created_at, watched_at, deleted_at)
		SELECT $1, 'many-' || i, $2, 'many ' || i, '0 0 30 2 *', 'ACTIVE', now() + i * interval '1 second', now(), CASE WHEN i % 2 = 0 THEN now() END FROM generate_series(1, 5000) i`, ref.AccountID, ref.ClusterID)
	page, err := f.svc.Backups(t.Context(), member("admins"), BackupsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Rows {
		want, more := 1, 0
		switch r.ClusterName {
		case "one-b":
			want, more = fewSchedules, maxSchedulesCounted+1-fewSchedules
		case "two-a":
			want = 0
		}
		if len(r.Schedules) != want || r.MoreSchedules != more {
			t.Errorf("%s has %d schedules and %d more", r.ClusterName, len(r.Schedules), r.MoreSchedules)
		}
		if r.ClusterName == "one-b" && r.Schedules[0].Name != "schedule of one-b" {
			t.Errorf("the first one is %q", r.Schedules[0].Name)
		}
	}
	one, err := f.svc.ClusterBackups(t.Context(), member("admins"), ref, "")
	if err != nil || len(one.Schedules) != maxSchedulesCounted || !one.MoreSchedules || one.Schedules[0].DeletedAt != nil {
		t.Errorf("its own page has %d, and more: %t, %v", len(one.Schedules), one.MoreSchedules, err)
	}
}
