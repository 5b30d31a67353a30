package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/dbtest"
	"quartermaster/internal/devenv"
)

// Waits of the console in this file, much shorter than its own.
const (
	readWait  = time.Second
	writeWait = 1500 * time.Millisecond
	pageWait  = 2*readWait + writeWait + 2*time.Second // an act reads, writes and reads; the rest is for a busy machine
	knownWait = 3 * time.Second                        // a page of what is known waits for nobody; the time is for a busy machine
)

// badWeek is a serve in a world whose parts can be broken one by one.
type badWeek struct {
	*served
	*stage
	postgres *dbtest.Server
	owner    *pgxpool.Pool
	people   map[string]*visitor
	restarts map[string]string // operation ids of faultsOnActs, by the failure's name
}

// TestBadDays breaks one part of the world after the other under a running console: the Cloud API
// in each way it can fail, its keys, Postgres, the log, and the identity provider. The rest goes on.
func TestBadDays(t *testing.T) {
	w := openBadWeek(t)
	w.provider.CloseClientConnections()
	w.provider.Close() // nobody who is signed in notices; its sign-in page is looked at in the end

	t.Run("every fault is among them", w.everyFailure)
	t.Run("acts", w.faultsOnActs)
	t.Run("a change whose answer is lost", w.lostChange)
	t.Run("listings", w.faultsOnListings)
	t.Run("what is read beside clusters", w.faultsBesideClusters)
	t.Run("a key whose answer is lost", w.keyAnswerLost)
	t.Run("a refused key", w.refusedKey)
	t.Run("the log cannot be written", w.logCannotBeWritten)
	t.Run("Postgres", w.withoutPostgres)
	t.Run("the identity provider", w.withoutProvider)
	t.Run("lost answers are found out", w.lostAnswersFoundOut)
	t.Run("the log is whole", func(t *testing.T) { logIsWhole(t, w.stage) })
}

func openBadWeek(t *testing.T) *badWeek {
	t.Helper()
	w, env := prepareBadWeek(t, dbtest.NewServer(t))
	w.start(env)
	w.moveIn(t)
	return w
}

// prepareBadWeek makes the world around serve and an environment for it, on a Postgres of its own.
func prepareBadWeek(t *testing.T, postgres *dbtest.Server) (*badWeek, environment) {
	t.Helper()
	w := &badWeek{served: prepareServe(t), postgres: postgres, people: map[string]*visitor{}, restarts: map[string]string{}}
	db := w.postgres.New(t)
	w.stage = w.asStage(t, db.AppURL)
	w.owner = openPool(t, db.SuperURL)
	return w, w.with(nil,
		"QM_DATABASE_URL", db.AppURL, "QM_MIGRATE_DATABASE_URL", db.OwnerURL, "QM_LOG_LEVEL", "warn", "QM_OPERATOR_GROUPS", devenv.OperatorGroup, "QM_AUDITOR_GROUPS", devenv.AuditorGroup,
		"QM_POLL_MIN", "100ms", "QM_POLL_MAX", "400ms", "QM_UPSTREAM_RPS", "500", "QM_AUDIT_UNKNOWN_AFTER", "2s",
		"QM_UPSTREAM_READ_TIMEOUT", readWait.String(), "QM_UPSTREAM_WRITE_TIMEOUT", writeWait.String(), "QM_UPSTREAM_REST", "100ms")
}

// moveIn signs members in and registers the accounts.
func (w *badWeek) moveIn(t *testing.T) {
	t.Helper()
	for _, member := range []string{admin, operator, auditor} {
		w.people[member] = w.signIn(t, member)
	}
	w.register(t, w.people[admin], w.box)
}

// fault makes the Cloud API fail for an account until done is called.
func (w *badWeek) fault(t *testing.T, account, operation string, how map[string]any) (done func()) {
	t.Helper()
	body := map[string]any{"account": w.accounts[account].cloud, "operation": operation}
	for k, v := range how {
		body[k] = v
	}
	w.control(t, http.MethodPost, "faults", body)
	return func() { w.control(t, http.MethodDelete, "faults", nil) }
}

// failure is one way in which the Cloud API fails, and what the console makes of it.
type failure struct {
	name    string
	how     map[string]any
	status  int    // of the page that answers an act
	heading string // of that page
	lost    bool   // whether it was done is not known
	done    bool   // the act was done although it failed
	listing string // what the fleet says of an account that cannot be listed
}

func failures() []failure {
	const (
		lost   = "Qdrant Cloud cannot be reached"
		sense  = "Qdrant Cloud gave an answer that makes no sense"
		refuse = "Qdrant Cloud does not accept this account's key"
	)
	return []failure{
		{"slow beyond the deadline", map[string]any{"kind": "latency", "latency_ms": 5000}, 503, lost, true, false, "in time"},
		{"hangs", map[string]any{"kind": "hang"}, 503, lost, true, false, "in time"},
		{"401", map[string]any{"kind": "status", "status": 401}, 502, refuse, false, false, "refuses the key"},
		{"403", map[string]any{"kind": "status", "status": 403}, 502, "This account's key may not do that at Qdrant Cloud", false, false, "may not list clusters"},
		{"404", map[string]any{"kind": "status", "status": 404}, 404, "Qdrant Cloud does not know it any more", false, false, "404"},
		{"409", map[string]any{"kind": "status", "status": 409}, 409, "Not possible right now", false, false, "409"},
		{"429", map[string]any{"kind": "status", "status": 429}, 503, "Too many calls to Qdrant Cloud", false, false, "429"},
		{"429 for two seconds", map[string]any{"kind": "retry_after", "retry_after": "2"}, 503, "Too many calls to Qdrant Cloud", false, false, "429"},
		{"500", map[string]any{"kind": "status", "status": 500}, 503, lost, false, false, "500"},
		{"503", map[string]any{"kind": "status", "status": 503}, 503, lost, false, false, "503"},
		{"half an answer", map[string]any{"kind": "truncated"}, 503, lost, true, true, ""},
		{"no JSON", map[string]any{"kind": "malformed"}, 502, sense, true, false, ""},
		{"100 MiB", map[string]any{"kind": "huge"}, 502, sense, true, false, "larger than"},
		{"hangs up", map[string]any{"kind": "close"}, 503, lost, true, false, ""},
		{"done, and the answer lost", map[string]any{"kind": "lost_answer"}, 503, lost, true, true, ""},
		{"a proxy's page", map[string]any{"kind": "html"}, 503, lost, true, false, ""},
	}
}

// everyFailure: what fails here are all kinds of faults that the sandbox has.
func (w *badWeek) everyFailure(t *testing.T) {
	request, err := http.NewRequest(http.MethodPost, w.about.SandboxControlURL+"/_sandbox/faults", strings.NewReader(`{"kind":"unheard of"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.about.SandboxControlToken)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`one of \[([a-z_ ]+)\]`).FindSubmatch(said)
	if kinds == nil {
		t.Fatalf("the sandbox does not say which kinds of faults it has: %d %s", answer.StatusCode, said)
	}
	for _, kind := range strings.Fields(string(kinds[1])) {
		if kind == "half_page" || kind == "empty_list" { // those answer well; what a short list concludes is tested by itself
			continue
		}
		if !slices.ContainsFunc(failures(), func(f failure) bool { return f.how["kind"] == kind }) {
			t.Errorf("no failure is of the kind %s", kind)
		}
	}
}

// faultsOnActs restarts a cluster while the Cloud API fails in each way.
func (w *badWeek) faultsOnActs(t *testing.T) {
	v := w.people[operator]
	shared, sharedID := w.newCluster(t, staging, "restarted-on-bad-days")
	for i, f := range failures() {
		path, id := shared, sharedID
		if f.lost { // what became of it can only be told when nobody acts on the cluster afterwards
			path, id = w.newCluster(t, staging, fmt.Sprintf("lost-on-a-bad-day-%d", i))
		}
		done := w.fault(t, staging, "RestartCluster", f.how)
		calls := w.callsOf(t, w.accounts[staging].cloud)["RestartCluster"]
		first := w.lastSeq(t)
		begun := time.Now()
		var got page
		grown := memoryWhile(func() { got = v.post(path+"/restart", nil) })
		took := time.Since(begun)
		if got.status != f.status || !strings.Contains(got.text(), f.heading) || !strings.HasSuffix(strings.TrimSpace(got.body), "</html>") || got.bodyID() != "error" {
			t.Errorf("%s: %d after %s, want %d and %q:\n%s", f.name, got.status, took, f.status, f.heading, got.text())
		}
		if told := strings.Contains(got.text(), "it may have been done"); told != f.lost {
			t.Errorf("%s: the page says that it may have been done: %t, want %t", f.name, told, f.lost)
		}
		if took > pageWait {
			t.Errorf("%s: the page took %s", f.name, took)
		}
		if grown > 64<<20 {
			t.Errorf("%s: memory grew by %d MiB", f.name, grown>>20)
		}
		if n := w.callsOf(t, w.accounts[staging].cloud)["RestartCluster"] - calls; n != 1 {
			t.Errorf("%s: the Cloud API was asked %d times to restart", f.name, n)
		}
		done()
		wantOutcomes := map[string]int{"failed": 1}
		if f.lost {
			wantOutcomes = map[string]int{}
		}
		outcomes := w.outcomesSince(t, first, id)
		if fmt.Sprint(outcomes) != fmt.Sprint(wantOutcomes) {
			t.Errorf("%s: outcomes %v, want %v", f.name, outcomes, wantOutcomes)
		}
		var operation string
		if err := w.db.QueryRow(t.Context(), `SELECT operation_id::text FROM audit.events WHERE phase = 'attempt' AND target_id = $1 AND seq > $2`, id, first).Scan(&operation); err != nil {
			t.Errorf("%s: looking for the attempt: %v", f.name, err)
		}
		w.restarts[f.name] = operation
		w.control(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": w.accounts[staging].cloud, "cluster": id, "phase": "HEALTHY"})
	}
	// Others, and reading, were well all along and are now.
	for _, path := range []string{"/clusters", shared, "/accounts"} {
		if got := v.get(path); got.status != http.StatusOK {
			t.Errorf("%s answers %d", path, got.status)
		}
	}
}

func (w *badWeek) lastSeq(t *testing.T) int { return w.events(t, "true") }

// outcomesSince counts how operations on a cluster ended that began after an event, as far as upstream told: on a machine that
// is busy the reconciler may have inferred more meanwhile.
func (w *badWeek) outcomesSince(t *testing.T, seq int, id string) map[string]int {
	t.Helper()
	outcomes := map[string]int{}
	for _, o := range []string{"ok", "failed", "unknown"} {
		if n := w.events(t, `phase = 'outcome' AND NOT inferred AND outcome = $1 AND target_id = $2 AND operation_id IN (SELECT operation_id FROM audit.events WHERE seq > $3 AND phase = 'attempt')`, o, id, seq); n > 0 {
			outcomes[o] = n
		}
	}
	return outcomes
}

// memoryWhile returns by how much the heap grew at most while something was done.
func memoryWhile(do func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most.Store(max(most.Load(), now.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	do()
	close(stop)
	<-stopped
	return max(most.Load(), before.HeapAlloc) - before.HeapAlloc
}

// faultsOnListings lets one account fail to list its clusters in each way: they stay, marked stale
// with the reason, and the others stay fresh.
func (w *badWeek) faultsOnListings(t *testing.T) {
	v := w.people[operator]
	bad, good := w.accounts[staging], w.accounts[production]
	all := 0 // clusters that the account has, and so must go on being shown
	if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM clusters WHERE account_id::text = $1 AND gone_at IS NULL`, bad.id).Scan(&all); err != nil || all < 11 {
		t.Fatalf("the account has %d clusters, want 11 at least: %v", all, err)
	}
	for _, f := range failures() {
		w.refreshNow(t, bad.id)
		w.waitFor(t, "the account is well before it fails: "+f.name, `SELECT error = '' AND failures = 0 FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, bad.id)
		begun := w.databaseTime(t)
		done := w.fault(t, staging, "ListClusters", f.how)
		w.waitFor(t, "the failed refresh is stored: "+f.name, `SELECT error <> '' FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, bad.id)
		asked := time.Now()
		fleet := v.get("/clusters")
		if took := time.Since(asked); fleet.status != http.StatusOK || took > knownWait {
			t.Errorf("%s: the fleet answers %d after %s", f.name, fleet.status, took)
		}
		var trouble string
		for _, n := range elements(fleet.root, "li") {
			if attributeOf(n, "data-testid") == "account-trouble" && attributeOf(n, "data-account") == bad.id {
				trouble = textOf(n)
			}
		}
		if !strings.Contains(trouble, "cannot be refreshed") || !strings.Contains(trouble, f.listing) {
			t.Errorf("%s: the fleet says %q of the account, and should tell of %q", f.name, trouble, f.listing)
		}
		kept, stale := 0, 0
		for _, row := range elements(fleet.root, "tr") {
			switch attributeOf(row, "data-account") {
			case bad.id:
				kept++
				if strings.Contains(textOf(row), "stale") {
					stale++
				}
			case good.id:
				if strings.Contains(textOf(row), "stale") {
					t.Errorf("%s: a cluster of another account is stale: %s", f.name, textOf(row))
				}
			}
		}
		if kept != all || stale != kept {
			t.Errorf("%s: %d clusters of the account are shown, %d of them stale; want all %d", f.name, kept, stale, all)
		}
		w.waitFor(t, "the other account goes on: "+f.name, `SELECT ok_at > $2 AND error = '' FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, good.id, begun)
		done()
	}
	w.refreshNow(t, bad.id)
	w.waitFor(t, "the account is well again", `SELECT error = '' FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, bad.id)
}

// faultsBesideClusters lets one account fail to list its keys, alerts and backups in each way: what was read stays, the pages say
// that it is not fresh, its clusters and the other accounts go on, nothing is taken for changed outside, and all of it is well again by
// itself.
func (w *badWeek) faultsBesideClusters(t *testing.T) {
	bad, good := w.accounts[staging], w.accounts[production]
	_, id := w.newCluster(t, staging, "unwell-on-bad-days")
	for _, change := range []map[string]any{{"act": "create_key", "name": "kept"}, {"act": "create_backup", "name": "kept"}, {"act": "phase", "phase": "NOT_READY"}} {
		change["account"], change["cluster"] = bad.cloud, id
		w.control(t, http.MethodPost, "outside", change)
	}
	const kept = `SELECT (SELECT count(*) FROM database_keys WHERE account_id::text = $1 AND missing_at IS NULL),
		(SELECT count(*) FROM backups WHERE account_id::text = $1), (SELECT count(*) FROM cluster_alerts WHERE account_id::text = $1 AND state = 'FIRING')`
	// The console plans to read these of a new account within a minute.
	if _, err := w.owner.Exec(t.Context(), `INSERT INTO refresh (account_id, kind, created_at, next_at)
		SELECT id, kind, clock_timestamp(), clock_timestamp() FROM accounts, unnest('{keys,alerts,backups}'::text[]) kind WHERE id::text = ANY($1)
		ON CONFLICT DO NOTHING`, []string{bad.id, good.id}); err != nil {
		t.Fatal(err)
	}
	w.waitFor(t, "a key, a backup and an alert are known", `SELECT EXISTS (SELECT FROM database_keys WHERE $2 = ANY(clusters)) AND EXISTS (SELECT FROM backups WHERE cluster_id = $2)
		AND EXISTS (SELECT FROM cluster_alerts WHERE account_id::text = $1 AND cluster_id = $2 AND state = 'FIRING')`, bad.id, id)
	const well = `SELECT bool_and(error = '' AND failures = 0) AND NOT EXISTS (SELECT FROM cluster_reads WHERE account_id::text = $1 AND error <> '') FROM refresh WHERE account_id::text = $1`
	count := func() (n [3]int) {
		t.Helper()
		if err := w.db.QueryRow(t.Context(), kept, bad.id).Scan(&n[0], &n[1], &n[2]); err != nil {
			t.Fatal(err)
		}
		return n
	}
	outside := `act LIKE '%changed_outside'`
	for _, f := range failures() {
		w.refreshNow(t, bad.id)
		w.waitFor(t, "the account is well before it fails: "+f.name, well, bad.id)
		before, changes := count(), w.events(t, outside)
		begun := w.databaseTime(t)
		w.fault(t, staging, "ListDatabaseApiKeysV2", f.how)
		w.fault(t, staging, "ListClusterAlerts", f.how)
		done := w.fault(t, staging, "ListBackups", f.how) // ends all three
		w.waitFor(t, "keys and backups were not read: "+f.name, `SELECT bool_and(error <> '') FROM refresh WHERE account_id::text = $1 AND kind IN ('keys', 'backups')`, bad.id)
		w.waitFor(t, "alerts were not read: "+f.name, `SELECT EXISTS (SELECT FROM cluster_reads WHERE account_id::text = $1 AND kind = 'alerts' AND error <> '')
			OR EXISTS (SELECT FROM refresh WHERE account_id::text = $1 AND kind = 'alerts' AND error <> '')`, bad.id)
		for _, path := range []string{"/alerts", "/keys", "/backups"} {
			asked := time.Now()
			got := w.people[operator].get(path)
			if took := time.Since(asked); got.status != http.StatusOK || took > knownWait {
				t.Errorf("%s: %s answers %d after %s", f.name, path, got.status, took)
			}
			words := f.listing
			if f.name == "403" {
				words = "may not"
			}
			if path != "/alerts" && !strings.Contains(got.text(), words) { // of alerts each cluster has words of its own
				t.Errorf("%s: %s does not say %q:\n%.1500s", f.name, path, words, got.text())
			}
		}
		w.waitFor(t, "its clusters go on: "+f.name, `SELECT ok_at > $2 AND error = '' FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, bad.id, w.databaseTime(t))
		w.waitFor(t, "the other account goes on: "+f.name, `SELECT bool_and(ok_at > $2 AND error = '') FROM refresh WHERE account_id::text = $1`, good.id, begun)
		if after := count(); after != before {
			t.Errorf("%s: there were %v keys, backups and alerts that fire, and there are %v", f.name, before, after)
		}
		if n := w.events(t, outside) - changes; n != 0 {
			t.Errorf("%s: %d changes made outside were invented", f.name, n)
		}
		done()
	}
	w.refreshNow(t, bad.id)
	w.waitFor(t, "everything of the account is well again", well, bad.id)
}

// refreshNow takes back what an account waits for after failures.
func (w *badWeek) refreshNow(t *testing.T, account string) {
	t.Helper()
	if _, err := w.owner.Exec(t.Context(), `UPDATE refresh SET next_at = clock_timestamp(), failures = 0 WHERE account_id::text = $1 AND error <> ''`, account); err != nil {
		t.Fatal(err)
	}
}

func (w *badWeek) databaseTime(t *testing.T) time.Time {
	t.Helper()
	var now time.Time
	if err := w.db.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&now); err != nil {
		t.Fatal(err)
	}
	return now
}

// refusedKey revokes the key of one account.
func (w *badWeek) refusedKey(t *testing.T) {
	old := w.accounts[legacy]
	var key string
	for _, f := range w.box.Fixtures() {
		if f.CloudAccountID == old.cloud {
			key = f.ManagementKey
		}
	}
	w.control(t, http.MethodPost, "keys", map[string]any{"revoke": key})
	v := w.people[operator]
	waitUntil(t, "the account's page says that its key is refused", func() bool {
		return strings.Contains(v.get("/accounts/"+old.id).text(), "Qdrant Cloud refuses the key")
	})
	list := v.get("/accounts")
	for _, row := range elements(list.root, "tr") {
		id := attributeOf(row, "data-account")
		if refused := strings.Contains(textOf(row), "Key refused"); id != "" && refused != (id == old.id) {
			t.Errorf("the list says of %s: %s", id, textOf(row))
		}
	}
	path, id := w.cluster(t, "market-reports")
	got := v.post(path+"/delete", url.Values{"confirm": {"market-reports"}, "delete_backups": {"no"}})
	if got.status != http.StatusBadGateway || !strings.Contains(got.text(), "does not accept this account's key") {
		t.Errorf("an act with the refused key: %d\n%s", got.status, got.text())
	}
	if n := w.events(t, `target_id = $1 AND phase = 'outcome' AND outcome = 'failed'`, id); n != 1 {
		t.Errorf("%d outcomes", n)
	}
	if got := v.get(path); got.status != http.StatusOK || !strings.Contains(got.text(), "market-reports") {
		t.Errorf("the cluster's page answers %d", got.status)
	}
}

// logCannotBeWritten tries acts while the log takes nothing: they are not done.
func (w *badWeek) logCannotBeWritten(t *testing.T) {
	path, _ := w.newCluster(t, production, "not-restarted-unrecorded")
	for name, breakLog := range map[string]func() (mend func()){
		"the right to append is revoked": func() func() {
			w.exec(t, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app, PUBLIC`)
			return func() { w.exec(t, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`) }
		},
		"the log is locked": func() func() {
			tx, err := w.owner.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), `SELECT 1 FROM audit.head FOR UPDATE`); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := tx.Rollback(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		before := w.changes(t)
		mend := breakLog()
		begun := time.Now()
		for _, act := range []struct {
			path string
			form url.Values
		}{{path + "/restart", nil}, {path + "/suspend", nil}, {path + "/delete", url.Values{"confirm": {"not-restarted-unrecorded"}, "delete_backups": {"yes"}}}} {
			got := w.people[admin].post(act.path, act.form)
			if got.status != http.StatusServiceUnavailable || !strings.Contains(got.text(), "The audit log cannot be written") {
				t.Errorf("%s: %s answers %d\n%s", name, act.path, got.status, got.text())
			}
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s: three refusals took %s", name, took)
		}
		if got := w.people[operator].get("/clusters"); got.status != http.StatusOK {
			t.Errorf("%s: the fleet answers %d", name, got.status)
		}
		mend()
		if after := w.changes(t); after != before {
			t.Errorf("%s: the Cloud API was asked for %d changes", name, after-before)
		}
	}
	if got := w.people[admin].withoutRedirects().post(path+"/restart", nil); got.status != http.StatusSeeOther {
		t.Errorf("the restart afterwards answers %d\n%s", got.status, got.text())
	}
}

func (w *badWeek) exec(t *testing.T, statement string) {
	t.Helper()
	if _, err := w.owner.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// changes counts the calls that change something at the Cloud API.
func (w *badWeek) changes(t *testing.T) int {
	t.Helper()
	n := 0
	for operation, count := range w.calls(t) {
		if slices.Contains([]string{"UpdateCluster", "RestartCluster", "SuspendCluster", "UnsuspendCluster", "DeleteCluster", "delete_cluster", "DeleteManagementKey"}, operation) {
			n += count
		}
	}
	return n
}

// withoutPostgres stops and crashes the database under the console.
func (w *badWeek) withoutPostgres(t *testing.T) {
	v := w.people[operator]
	path, _ := w.newCluster(t, production, "not-restarted-without-postgres")
	for name, end := range map[string]func(testing.TB){"stopped": w.postgres.Stop, "crashed": w.postgres.Crash} {
		before := w.changes(t)
		end(t)
		for _, r := range []struct{ method, path string }{{"GET", "/clusters"}, {"GET", path}, {"GET", "/audit"}, {"GET", "/me"}, {"POST", path + "/restart"}, {"GET", "/login"}} {
			begun := time.Now()
			got := v.try(r.method, r.path, nil)
			if took := time.Since(begun); got.status != http.StatusServiceUnavailable || took > 5*time.Second || !strings.HasSuffix(strings.TrimSpace(got.body), "</html>") {
				t.Errorf("%s: %s %s answers %d after %s\n%s", name, r.method, r.path, got.status, took, got.text())
			}
			if _, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil {
				t.Errorf("%s: %s %s says no time to come back: %q", name, r.method, r.path, got.header.Get("Retry-After"))
			}
			if strings.Contains(got.body, "SQLSTATE") || strings.Contains(got.body, "dial tcp") || strings.Contains(got.body, "quartermaster_app") {
				t.Errorf("%s: %s %s tells of the inside:\n%s", name, r.method, r.path, got.text())
			}
		}
		if got := v.get("/readyz"); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: /readyz answers %d", name, got.status)
		}
		if got := v.get("/healthz"); got.status != http.StatusOK {
			t.Errorf("%s: /healthz answers %d", name, got.status)
		}
		if after := w.changes(t); after != before {
			t.Errorf("%s: the Cloud API was asked for %d changes", name, after-before)
		}
		w.postgres.Start(t)
		w.owner.Reset()
		w.db.Reset()
		waitUntil(t, "the console is ready again", func() bool { return v.get("/readyz").status == http.StatusOK })
		if got := v.get("/clusters"); got.status != http.StatusOK || got.bodyID() != "clusters-index" {
			t.Errorf("%s: afterwards the fleet answers %d at %s", name, got.status, got.url)
		}
		now := w.databaseTime(t)
		w.waitFor(t, "refreshes go on", `SELECT ok_at > $2 FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, w.accounts[production].id, now)
	}
	if got := v.withoutRedirects().post(path+"/restart", nil); got.status != http.StatusSeeOther {
		t.Errorf("the restart afterwards answers %d\n%s", got.status, got.text())
	}
}

// withoutProvider looks at the sign-in page of a provider that has been away since the beginning.
func (w *badWeek) withoutProvider(t *testing.T) {
	stranger := newVisitor(t, w.base)
	for _, path := range []string{"/login", "/login?go=1", "/clusters"} {
		var got page
		waitUntil(t, "the sign-in page says that the provider is away", func() bool {
			begun := time.Now()
			got = stranger.withoutRedirects().get(path)
			if path == "/clusters" {
				got = stranger.get(path)
			}
			if took := time.Since(begun); took > 6*time.Second {
				t.Errorf("%s took %s", path, took)
			}
			return got.status == http.StatusServiceUnavailable
		})
		if got.bodyID() != "sign-in" || !strings.Contains(got.text(), "cannot be reached, so nobody can sign in now") {
			t.Errorf("%s answers %d:\n%s", path, got.status, got.text())
		}
	}
	for member, v := range w.people {
		if got := v.get("/clusters"); got.status != http.StatusOK || got.bodyID() != "clusters-index" {
			t.Errorf("%s, who is signed in, gets %d", member, got.status)
		}
	}
	if got := stranger.get("/readyz"); got.status != http.StatusOK {
		t.Errorf("/readyz depends on the provider: %d", got.status)
	}
}

// lostAnswersFoundOut waits until the reconciler has ended what the faults left open.
func (w *badWeek) lostAnswersFoundOut(t *testing.T) {
	w.waitFor(t, "no operation is open", `SELECT NOT EXISTS (SELECT FROM audit.open_operations)`)
	for _, f := range failures() {
		if !f.lost {
			continue
		}
		var outcome, inferred string
		if err := w.db.QueryRow(t.Context(), `SELECT outcome, coalesce(convert_from(body, 'UTF8')::jsonb->>'inferred', '') FROM audit.events WHERE phase = 'outcome' AND operation_id::text = $1`,
			w.restarts[f.name]).Scan(&outcome, &inferred); err != nil {
			t.Errorf("%s: looking for the outcome: %v", f.name, err)
			continue
		}
		if inferred != "true" || f.done != (outcome == "ok") {
			t.Errorf("%s: the outcome that was found out is %s (inferred: %s), and the restart was done: %t", f.name, outcome, inferred, f.done)
		}
	}
	for _, row := range w.people[auditor].get("/audit?act=cluster.restart").byTestID("audit-row") {
		if row["data-outcome"] == "pending" {
			t.Errorf("the log shows %v", row)
		}
	}
}
