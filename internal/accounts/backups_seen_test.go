package accounts

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/cloudapi"
)

// backupUpstream answers backups and schedules of the rig's accounts, by pages of two.
type backupUpstream struct {
	mu        sync.Mutex
	backups   []map[string]any
	schedules []map[string]any
	failPage  int    // this page of backups, from 1, answers 500
	status    int    // of every answer about backups, when not 0
	forbidden bool   // schedules answer 403
	total     int    // is told; 0: the number there is
	onPage    func() // runs before each page of backups
	calls     []string
}

func (u *backupUpstream) set(change func(*backupUpstream)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u)
}

func (u *backupUpstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	calls := u.calls
	u.calls = nil
	return calls
}

func (u *backupUpstream) list(items *[]map[string]any, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.calls = append(u.calls, name)
		from := 0
		if token := r.URL.Query().Get("pageToken"); token != "" {
			if _, err := fmt.Sscan(token, &from); err != nil {
				panic(err)
			}
		}
		if name == "backups" && u.onPage != nil {
			u.onPage()
		}
		switch {
		case u.status != 0:
			answer(w, u.status, map[string]any{"message": "no"})
			return
		case name == "schedules" && u.forbidden:
			answer(w, http.StatusForbidden, map[string]any{"code": 7, "message": "no"})
			return
		case name == "backups" && u.failPage == from/2+1:
			answer(w, http.StatusInternalServerError, map[string]any{"message": "no"})
			return
		}
		from = min(from, len(*items))
		to := min(from+2, len(*items))
		page := map[string]any{"items": (*items)[from:to], "totalSize": max(u.total, len(*items))}
		if to < len(*items) {
			page["nextPageToken"] = fmt.Sprint(to)
		}
		answer(w, http.StatusOK, page)
	}
}

// serveBackups has the rig's upstream answer backups, too.
func (r *rig) serveBackups(t testing.TB) *backupUpstream {
	t.Helper()
	u, others := &backupUpstream{}, r.up.server.Config.Handler
	mux := http.NewServeMux()
	mux.HandleFunc(cloudapi.OpListBackups.Method+" "+cloudapi.OpListBackups.Path, u.list(&u.backups, "backups"))
	mux.HandleFunc(cloudapi.OpListBackupSchedules.Method+" "+cloudapi.OpListBackupSchedules.Path, u.list(&u.schedules, "schedules"))
	mux.Handle("/", others)
	r.up.server.Config.Handler = mux
	return u
}

// backup adds one of a cluster that was made so long ago, and returns its id.
func (u *backupUpstream) backup(cluster, status, schedule string, ago time.Duration) string {
	id := uuid.NewString()
	b := map[string]any{
		"id": id, "clusterId": cluster, "name": "generated-" + id[:4], "displayName": "nightly", "status": "BACKUP_STATUS_" + status,
		"createdAt": time.Now().Add(-ago).UTC().Format(time.RFC3339Nano), "retentionPeriod": "604800s",
	}
	if schedule != "" {
		b["backupScheduleId"] = schedule
	}
	if status != "RUNNING" {
		b["backupDuration"] = "90s"
	}
	u.set(func(u *backupUpstream) { u.backups = append(u.backups, b) })
	return id
}

// schedule adds one of a cluster that was made so long ago, and returns its id.
func (u *backupUpstream) schedule(cluster, cron, retention string, ago time.Duration) string {
	id := uuid.NewString()
	u.set(func(u *backupUpstream) {
		u.schedules = append(u.schedules, map[string]any{
			"id": id, "clusterId": cluster, "schedule": cron, "status": "BACKUP_SCHEDULE_STATUS_ACTIVE", "displayName": "nightly",
			"createdAt": time.Now().Add(-ago).UTC().Format(time.RFC3339Nano), "retentionPeriod": retention,
		})
	})
	return id
}

// backupRig is a rig with one account of three clusters whose backups can be read.
type backupRig struct {
	*rig
	t        *testing.T
	up       *backupUpstream
	account  uuid.UUID
	clusters []string
}

func newBackupRig(t *testing.T) *backupRig {
	r := newRig(t)
	b := &backupRig{rig: r, t: t, up: r.serveBackups(t)}
	id, at := r.account(t, "One", Production)
	at.add(3)
	r.refresh(t, r.svc, id)
	r.exec(t, `UPDATE management_keys SET permissions = '{read:clusters,read:backups,read:backup_schedules}'`) // it was asked for
	b.account = id
	for _, c := range at.clusters {
		b.clusters = append(b.clusters, c.ID)
	}
	return b
}

// poll reads the backups of the account now.
func (b *backupRig) poll() {
	b.t.Helper()
	b.exec(b.t, `UPDATE refresh SET next_at = now() WHERE kind = 'backups'`)
	if _, err := b.svc.readKindOnce(b.t.Context(), kindBackups); err != nil {
		b.t.Fatal(err)
	}
}

// state is failures in a row and the words of the account's refresh of backups.
func (b *backupRig) state() (failures int, words string) {
	b.t.Helper()
	return value[int](b.t, b.rig, `SELECT failures FROM refresh WHERE kind = 'backups'`), value[string](b.t, b.rig, `SELECT error FROM refresh WHERE kind = 'backups'`)
}

// sum is what the backups of a cluster come to.
func (b *backupRig) sum(cluster string) string {
	b.t.Helper()
	return value[string](b.t, b.rig, `
		SELECT concat_ws(' ', coalesce(nullif(last_status, ''), 'NOTHING'), CASE WHEN last_ok_at IS NOT NULL THEN 'ok' END, CASE WHEN running > 0 THEN running || ' running' END,
			CASE WHEN schedules > 0 THEN schedules || ' schedules' END, CASE WHEN overdue THEN 'overdue' END, unsupported)
		FROM cluster_backups WHERE cluster_id = $1`, cluster)
}

func (b *backupRig) stored() int {
	b.t.Helper()
	return value[int](b.t, b.rig, `SELECT count(*) FROM backups`)
}

// hears listens to what is notified, and returns what takes it.
func (b *backupRig) hears() func() []string {
	b.t.Helper()
	conn, err := b.db.Pool.Acquire(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Release)
	if _, err := conn.Exec(b.t.Context(), `LISTEN quartermaster`); err != nil {
		b.t.Fatal(err)
	}
	return func() (said []string) {
		for {
			soon, cancel := context.WithTimeout(b.t.Context(), 100*time.Millisecond)
			told, err := conn.Conn().WaitForNotification(soon)
			cancel()
			if err != nil {
				return said
			}
			said = append(said, told.Payload)
		}
	}
}

// TestBackupsOfAnAccountAreOneListing: all clusters' backups and schedules come with one listing of each, are stored with what they
// come to, and nothing is written again, nor told, while it stays as it is.
func TestBackupsOfAnAccountAreOneListing(t *testing.T) {
	b := newBackupRig(t)
	nightly := b.up.schedule(b.clusters[0], "0 2 * * *", "604800s", 30*24*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", nightly, 26*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", nightly, 2*time.Hour)
	b.up.backup(b.clusters[1], "SUCCEEDED", "", 50*time.Hour)
	b.up.backup(b.clusters[1], "FAILED", "", time.Hour)
	b.up.backup(uuid.NewString(), "SUCCEEDED", "", time.Hour) // of a cluster that is no more
	b.poll()
	if calls := b.up.asked(); !slices.Equal(calls, []string{"backups", "backups", "backups", "schedules"}) {
		t.Errorf("asked for %q", calls)
	}
	if n := b.stored(); n != 5 {
		t.Errorf("%d backups are stored", n)
	}
	for i, want := range []string{"SUCCEEDED ok 1 schedules", "FAILED ok", "NOTHING"} {
		if got := b.sum(b.clusters[i]); got != want {
			t.Errorf("cluster %d: %q, want %q", i, got, want)
		}
	}
	if failures, words := b.state(); failures != 0 || words != "" {
		t.Errorf("%d failures, %q", failures, words)
	}

	heard := b.hears()
	const rows = `SELECT string_agg(xmin::text, ',' ORDER BY 1) FROM (SELECT xmin FROM backups UNION ALL SELECT xmin FROM backup_schedules UNION ALL SELECT xmin FROM cluster_backups) x`
	before := value[string](t, b.rig, rows)
	b.poll()
	if got := value[string](t, b.rig, rows); got != before {
		t.Error("what stayed as it was is written again")
	}
	if said := heard(); len(said) != 0 {
		t.Errorf("told %q though nothing changed", said)
	}
	b.up.backup(b.clusters[2], "RUNNING", "", time.Minute)
	b.poll()
	if got := b.sum(b.clusters[2]); got != "NOTHING 1 running" {
		t.Errorf("while one runs: %q", got)
	}
	if said := heard(); len(said) != 1 || !strings.HasSuffix(said[0], b.clusters[2]) || strings.Contains(said[0], b.clusters[0]) {
		t.Errorf("told %q", said)
	}
	if wait := value[float64](t, b.rig, `SELECT extract(epoch FROM next_at - clock_timestamp())::float8 FROM refresh WHERE kind = 'backups'`); wait > 15 {
		t.Errorf("while one runs the next reading is in %v s", wait)
	}
	if len(b.events(t, "")) != len(b.events(t, ActConfigChanged.Name)) {
		t.Errorf("backups are events: %v", b.events(t, ""))
	}
}

// TestHalfAListingOfBackupsChangesNothing: a page that fails, an answer that is refused and a list that does not end leave what
// is known, and say so; other kinds go on.
func TestHalfAListingOfBackupsChangesNothing(t *testing.T) {
	b := newBackupRig(t)
	for range 5 {
		b.up.backup(b.clusters[0], "SUCCEEDED", "", time.Hour)
	}
	b.poll()
	b.up.set(func(u *backupUpstream) { u.backups = u.backups[:3] })
	for what, break_ := range map[string]func(*backupUpstream){
		"the second page fails": func(u *backupUpstream) { u.failPage = 2 },
		"refused":               func(u *backupUpstream) { u.status = http.StatusForbidden },
		"slow down":             func(u *backupUpstream) { u.status = http.StatusTooManyRequests },
	} {
		b.up.set(break_)
		b.poll()
		if failures, words := b.state(); failures == 0 || words == "" {
			t.Errorf("%s: %d failures, %q", what, failures, words)
		}
		if n := b.stored(); n != 5 {
			t.Errorf("%s: %d backups are known", what, n)
		}
		if value[int](t, b.rig, `SELECT failures FROM refresh WHERE kind = 'clusters'`) != 0 {
			t.Errorf("%s: clusters fail, too", what)
		}
		b.up.set(func(u *backupUpstream) { u.failPage, u.status = 0, 0 })
	}
	b.poll()
	if failures, words := b.state(); failures != 0 || words != "" || b.stored() != 3 {
		t.Errorf("well again: %d failures, %q, %d backups", failures, words, b.stored())
	}
}

// TestBackupsListedWhileTheyChange: what moves between pages while they are read, so that no page has it, is not taken for deleted; nor
// is what is missing where upstream counts more than it lists.
func TestBackupsListedWhileTheyChange(t *testing.T) {
	b := newBackupRig(t)
	ids := []string{}
	for range 5 {
		ids = append(ids, b.up.backup(b.clusters[0], "SUCCEEDED", "", time.Hour))
	}
	b.poll()
	known := func(id string) bool {
		return value[int](t, b.rig, `SELECT count(*) FROM backups WHERE backup_id = $1`, id) == 1
	}
	// After the first page the first backup goes and another comes: the third is on no page.
	pages := 0
	b.up.set(func(u *backupUpstream) {
		u.onPage = func() {
			if pages++; pages == 2 {
				u.backups = append(slices.Clone(u.backups[1:]), map[string]any{"id": "new", "clusterId": b.clusters[0], "status": 4})
			}
		}
	})
	b.poll()
	if pages != 6 || !known(ids[2]) || !known("new") || !known(ids[0]) {
		t.Errorf("%d pages were read; the one that moved is known: %t, the new one: %t, the one that was on a page: %t", pages, known(ids[2]), known("new"), known(ids[0]))
	}
	b.poll()
	if b.stored() != 5 || known(ids[0]) {
		t.Errorf("%d backups are known after two listings without the one that went", b.stored())
	}

	b.up.set(func(u *backupUpstream) { u.onPage, u.backups, u.total = nil, u.backups[:2], 5 })
	b.poll()
	if b.stored() != 5 {
		t.Errorf("%d backups are known when upstream lists 2 and counts 5", b.stored())
	}
	b.up.set(func(u *backupUpstream) { u.total = 0 })
	b.poll()
	if b.stored() != 2 {
		t.Errorf("%d backups are known when upstream lists 2", b.stored())
	}
}

// TestBackupsWithoutTheirSchedules: a key that may read backups and not schedules has its backups read; it is told, and what was known
// of schedules stays. One that may read neither is not asked for.
func TestBackupsWithoutTheirSchedules(t *testing.T) {
	b := newBackupRig(t)
	nightly := b.up.schedule(b.clusters[0], "0 2 * * *", "604800s", 30*24*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", nightly, time.Hour)
	b.poll()
	b.up.set(func(u *backupUpstream) { u.forbidden = true })
	b.up.backup(b.clusters[0], "FAILED", nightly, time.Minute)
	b.poll()
	if failures, words := b.state(); failures != 0 || !strings.HasPrefix(words, "Schedules could not be listed: ") {
		t.Errorf("upstream refuses: %d failures, %q", failures, words)
	}
	if got := b.sum(b.clusters[0]); got != "FAILED ok 1 schedules" {
		t.Errorf("the cluster stands with %q", got)
	}
	b.up.asked()
	b.exec(t, `UPDATE management_keys SET permissions = '{read:clusters,read:backups}'`)
	b.poll()
	if _, words := b.state(); words != "Schedules could not be listed: The account's key lacks read:backup_schedules." {
		t.Errorf("the key is known to lack it: %q", words)
	}
	if calls := b.up.asked(); slices.Contains(calls, "schedules") {
		t.Errorf("asked for %q", calls)
	}
	b.exec(t, `UPDATE management_keys SET permissions = '{read:clusters}'`)
	b.poll()
	if failures, words := b.state(); failures != 1 || words != "The account's key lacks read:backups." {
		t.Errorf("without any right: %d failures, %q", failures, words)
	}
	if calls := b.up.asked(); len(calls) != 0 {
		t.Errorf("asked for %q", calls)
	}
}

// TestBackupScheduleIsOverdue: late is a schedule of which no backup came half an hour after its time, whatever came of the
// backup; not one whose backups are kept so briefly that they may have come and gone unseen.
func TestBackupScheduleIsOverdue(t *testing.T) {
	b := newBackupRig(t)
	hourly := b.up.schedule(b.clusters[0], "@every 1h", "86400s", 48*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", hourly, 80*time.Minute)
	late := b.up.schedule(b.clusters[1], "@every 1h", "86400s", 48*time.Hour)
	b.up.backup(b.clusters[1], "FAILED", late, 3*time.Hour)
	b.up.backup(b.clusters[1], "SUCCEEDED", "", 10*time.Minute) // by hand: the schedule is late still
	b.up.schedule(b.clusters[2], "@every 72h", "86400s", 100*24*time.Hour)
	b.poll()
	for i, want := range []string{"SUCCEEDED ok 1 schedules", "SUCCEEDED ok 1 schedules overdue", "NOTHING 1 schedules"} {
		if got := b.sum(b.clusters[i]); got != want {
			t.Errorf("cluster %d: %q, want %q", i, got, want)
		}
	}
	// Watched for long enough, it is late.
	b.exec(t, `UPDATE backup_schedules SET watched_at = now() - interval '4 days' WHERE cluster_id = $1`, b.clusters[2])
	b.exec(t, `UPDATE refresh SET digest = NULL WHERE kind = 'backups'`)
	b.poll()
	if got := b.sum(b.clusters[2]); got != "NOTHING 1 schedules overdue" {
		t.Errorf("after four days: %q", got)
	}
	// A day in which nobody looked may have had one.
	b.exec(t, `UPDATE refresh SET ok_at = now() - interval '25 hours' WHERE kind = 'backups'`)
	b.poll()
	if got := b.sum(b.clusters[2]); got != "NOTHING 1 schedules" {
		t.Errorf("after a day without a listing: %q", got)
	}
	// A disabled one is none.
	b.up.set(func(u *backupUpstream) { u.schedules[1]["status"] = "BACKUP_SCHEDULE_STATUS_DISABLED" })
	b.poll()
	if got := b.sum(b.clusters[1]); got != "SUCCEEDED ok" {
		t.Errorf("disabled: %q", got)
	}
}

// TestBackupsFollowTheCluster: a cluster that comes is looked at with the next reading, one that upstream offers no backups says why, and
// one that goes takes what its backups come to along.
func TestBackupsFollowTheCluster(t *testing.T) {
	b := newBackupRig(t)
	b.poll()
	b.rig.up.mu.Lock()
	for _, at := range b.rig.up.byKey {
		at.clusters[1].Extra = map[string]any{"state": map[string]any{"phase": "CLUSTER_PHASE_HEALTHY", "capabilities": map[string]any{"backup": map[string]any{"status": "CLUSTER_BACKUP_SUPPORT_STATUS_NOT_SUPPORTED", "reason": "Free clusters have no backups."}}}}
		at.clusters = append(at.clusters, &scriptedCluster{ID: "c-new", Name: "new", Phase: "CLUSTER_PHASE_HEALTHY", Provider: "aws", Region: "eu", Version: "v1", Package: "p", Nodes: 1, Up: 1})
	}
	b.rig.up.mu.Unlock()
	b.refresh(t, b.svc, b.account)
	b.poll()
	if got := b.sum("c-new"); got != "NOTHING" {
		t.Errorf("the new one: %q", got)
	}
	if got := b.sum(b.clusters[1]); got != "NOTHING Free clusters have no backups." {
		t.Errorf("the one without: %q", got)
	}
	b.exec(t, `DELETE FROM clusters WHERE cluster_id = 'c-new'`)
	if n := value[int](t, b.rig, `SELECT count(*) FROM cluster_backups`); n != 3 {
		t.Errorf("%d rows are left of three clusters", n)
	}
}

// TestBackupsOfARevokedKey: the account says so, what was known stays, and given back it recovers by itself. An account of pa/v1 is
// not asked at all.
func TestBackupsOfARevokedKey(t *testing.T) {
	s := newStage(t)
	s.register(s.legacy(), "Old")
	account := s.register(s.current(), "Search")
	s.readsKind(kindBackups)
	count := func() (n int) {
		if err := s.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM backups`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := count()
	if all == 0 {
		t.Fatal("the sandbox has no backups")
	}
	var kinds int
	if err := s.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM refresh WHERE kind = 'backups'`).Scan(&kinds); err != nil || kinds != 1 {
		t.Errorf("%d accounts have backups to be read, %v", kinds, err)
	}
	s.fault(map[string]any{"account": account.CloudAccountID, "operation": "ListBackups", "kind": "status", "status": 401})
	s.readsKind(kindBackups)
	if ok, failures, words := s.kindState(account, kindBackups); !ok || failures == 0 || words == "" || count() != all {
		t.Errorf("%d failures, %q, %d of %d backups", failures, words, count(), all)
	}
	s.ask(http.MethodDelete, "faults", nil, nil)
	s.exec(s.db.AppURL, `UPDATE management_keys SET refused = ''`)
	s.readsKind(kindBackups)
	if _, failures, words := s.kindState(account, kindBackups); failures != 0 || words != "" || count() != all {
		t.Errorf("recovered: %d failures, %q, %d backups", failures, words, count())
	}
	page, err := s.svc.Backups(t.Context(), member("viewers"), BackupsQuery{})
	if err != nil || len(page.Rows) == 0 || page.Counts[BackupsUnable] == 0 {
		t.Errorf("%d rows, %v, %v", len(page.Rows), page.Counts, err)
	}
}

// TestScheduleBecomesOverdueInAQuietListing: a listing that says what the last one said finds what is late by now, and tells.
func TestScheduleBecomesOverdueInAQuietListing(t *testing.T) {
	b := newBackupRig(t)
	hourly := b.up.schedule(b.clusters[0], "@every 1h", "86400s", 48*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", hourly, 10*time.Minute)
	b.poll()
	b.poll()
	if got := b.sum(b.clusters[0]); got != "SUCCEEDED ok 1 schedules" {
		t.Fatalf("in time: %q", got)
	}
	heard := b.hears()
	b.exec(t, `UPDATE cluster_backups SET overdue_at = now() - interval '1 second' WHERE cluster_id = $1`, b.clusters[0])
	b.exec(t, `UPDATE backup_schedules SET last_run_at = now() - interval '2 hours'`)
	b.up.set(func(u *backupUpstream) {
		u.backups[0]["createdAt"] = time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339Nano)
	})
	b.poll()
	if got := b.sum(b.clusters[0]); got != "SUCCEEDED ok 1 schedules overdue" {
		t.Errorf("late: %q", got)
	}
	if said := heard(); len(said) != 1 || !strings.HasSuffix(said[0], b.clusters[0]) {
		t.Errorf("told %q", said)
	}
}

// TestBackupsFromTheFuture: a backup of a time to come, by upstream's clock or its malice, is none that came and not the freshest, and
// when it is gone nothing of it is left; one a little ahead is taken.
func TestBackupsFromTheFuture(t *testing.T) {
	b := newBackupRig(t)
	hourly := b.up.schedule(b.clusters[0], "@every 1h", "86400s", 48*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", hourly, 3*time.Hour)
	b.up.backup(b.clusters[0], "SUCCEEDED", hourly, -73*365*24*time.Hour)
	near := b.up.schedule(b.clusters[1], "@every 1h", "86400s", 48*time.Hour)
	b.up.backup(b.clusters[1], "SUCCEEDED", near, -time.Minute)
	b.exec(t, `UPDATE backup_schedules SET last_run_at = '2099-01-01'`)
	b.poll()
	b.exec(t, `UPDATE backup_schedules SET last_run_at = '2099-01-01' WHERE schedule_id = $1`, hourly) // as another release stored it
	b.up.set(func(u *backupUpstream) { u.schedules[0]["displayName"] = "renamed" })
	b.poll()
	if got := b.sum(b.clusters[0]); got != "SUCCEEDED ok 1 schedules overdue" {
		t.Errorf("with one of 2099: %q", got)
	}
	if future := value[int](t, b.rig, `SELECT count(*) FROM cluster_backups WHERE last_ok_at > now() + interval '1 hour' OR last_at > now() + interval '1 hour'`); future != 0 {
		t.Error("the future one is the freshest")
	}
	if got := b.sum(b.clusters[1]); got != "SUCCEEDED ok 1 schedules" {
		t.Errorf("with one a minute ahead: %q", got)
	}
	b.up.set(func(u *backupUpstream) { u.backups = slices.Delete(u.backups, 1, 2) })
	b.poll()
	if got := b.sum(b.clusters[0]); got != "SUCCEEDED ok 1 schedules overdue" {
		t.Errorf("once it is gone: %q", got)
	}
}

// TestSkippedBackupsAreNone: a schedule of which each backup is skipped, or of which nobody knows what became, is late, and its cluster
// is not backed up, whatever succeeded long ago; one that is being made is not late.
func TestSkippedBackupsAreNone(t *testing.T) {
	b := newBackupRig(t)
	for i, status := range []string{"SKIPPED", "UNKNOWN", "RUNNING"} {
		nightly := b.up.schedule(b.clusters[i], "@every 24h", "604800s", 30*24*time.Hour)
		b.up.backup(b.clusters[i], "SUCCEEDED", nightly, 97*time.Hour)
		for day := range 4 {
			if status != "RUNNING" || day == 0 {
				b.up.backup(b.clusters[i], status, nightly, time.Duration(day)*24*time.Hour+time.Hour)
			}
		}
	}
	b.poll()
	for i, want := range []string{"SKIPPED ok 1 schedules overdue", "UNKNOWN ok 1 schedules overdue", "SUCCEEDED ok 1 running 1 schedules"} {
		if got := b.sum(b.clusters[i]); got != want {
			t.Errorf("cluster %d: %q, want %q", i, got, want)
		}
	}
	page, err := b.svc.Backups(t.Context(), viewer(), BackupsQuery{State: BackupsFine})
	if err != nil || len(page.Rows) != 1 || page.Rows[0].ClusterID != b.clusters[2] || page.Counts[BackupsFailed] != 2 {
		t.Errorf("well are %v, counted %v, %v", standing(page), page.Counts, err)
	}
	// One that was being made and is skipped then has not come either.
	b.up.set(func(u *backupUpstream) { u.backups[len(u.backups)-1]["status"] = "BACKUP_STATUS_SKIPPED" })
	b.poll()
	if got := b.sum(b.clusters[2]); got != "SKIPPED ok 1 schedules overdue" {
		t.Errorf("skipped after it was begun: %q", got)
	}
}

// TestBackupsOfManyBytesAreNotBelieved: what is kept of a listing is bounded in bytes, whatever upstream writes into it, and one account's
// large listing waits for the process's other large ones.
func TestBackupsOfManyBytesAreNotBelieved(t *testing.T) {
	long := strings.Repeat("n", 1000)
	pages := func(n, each int) func(context.Context, string) (cloudapi.Listing[cloudapi.Backup], error) {
		return func(_ context.Context, token string) (cloudapi.Listing[cloudapi.Backup], error) {
			var page cloudapi.Listing[cloudapi.Backup]
			at := 0
			if token != "" {
				if _, err := fmt.Sscan(token, &at); err != nil {
					return page, err
				}
			}
			for i := range each {
				page.Items = append(page.Items, cloudapi.Backup{ID: fmt.Sprint(at*each + i), ClusterID: "c", Name: long, DisplayName: long})
			}
			if at+1 < n {
				page.Next = fmt.Sprint(at + 1)
			}
			return page, nil
		}
	}
	list := func(ctx context.Context, held *heldList, n int) error {
		_, err := wholeListing(ctx, "backups", held, pages(n, 250), seenBackupOf, func(b seenBackup) string { return b.BackupID })
		return err
	}
	places := make(chan struct{}, 1)
	large, small := &heldList{places: places}, &heldList{places: places}
	if err := list(t.Context(), large, 20); err != nil || !large.has {
		t.Fatalf("a large one: %v, has a place: %t", err, large.has)
	}
	if err := list(t.Context(), small, 2); err != nil || small.has {
		t.Errorf("a small one beside it: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := list(soon, &heldList{places: places}, 20); err == nil {
		t.Error("another large one has no place and is read")
	}
	large.release()
	if err := list(t.Context(), large, 20); err != nil {
		t.Errorf("once there is a place: %v", err)
	}
	if err := list(t.Context(), large, 100); err == nil || !strings.Contains(refreshWords(err), "more backups than the console takes") {
		t.Errorf("50 MB: %v", err)
	}
}
