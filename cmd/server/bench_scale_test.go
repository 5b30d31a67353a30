package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// What a fleet of a thousand accounts and a hundred thousand clusters may cost.
const (
	scaleAccounts, scaleClusters = 1000, 100_000

	mostSandboxStart = 20.0  // seconds
	mostScalePage    = 0.150 // seconds
	mostFresh        = 120.0 // seconds
	mostScaleMemory  = 512 << 20
	mostMeanwhile    = 2.0 // times the page's p95 when nothing is refreshed
)

// scale measures a fleet of a thousand accounts in a sandbox that is another process: how long the sandbox takes to
// start, how long until every account is fresh in a console that has read none of them, its memory and the page of
// the fleet meanwhile, and then the page in twenty ways to filter and sort it.
func (b *bench) scale(t *testing.T) {
	accountCount, clusterCount := scaleAccounts, scaleClusters
	if !b.full {
		accountCount, clusterCount = 10, 300
	}
	path, s := binary(t), prepareServe(t)
	box := launchSandbox(t, path, accountCount, clusterCount)
	b.absolute("sandbox with 1,000 accounts and 100,000 clusters: start", []float64{box.start.Seconds()}, mostSandboxStart, inSeconds)
	t.Logf("the sandbox has %.0f MiB in memory", box.memory(t, 0)/(1<<20))
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatalf("migrate up: exit code %d: %s", got.code, got.stderr)
	}
	db := openPool(t, s.env["QM_DATABASE_URL"])
	registerAll(t, s, db, box.url, box.accounts)

	// Polling, its concurrency and its budget are as they are by default.
	upstream := []string{"QM_CLOUD_API_URL", box.url, "QM_CLOUD_PA_URL", box.url}
	console := launch(t, path, s.with([]string{"QM_MIGRATE_DATABASE_URL"}, upstream...))
	console.waitReady(t, s.base)
	v := newVisitor(t, s.base).signIn(admin)
	watched := watchPage(v, "/clusters", 25*time.Millisecond)
	most := watchMemory(t, console)
	took := waitForFresh(t, db, accountCount)
	meanwhile, filled := watched.end(t), most()
	b.absolute("1,000 accounts: all fresh, from none", []float64{took.Seconds()}, mostFresh, inSeconds)
	b.absolute("1,000 accounts: memory of serve meanwhile (RSS)", []float64{filled}, mostScaleMemory, inMiB)
	console.end(t)

	// From here on nothing is refreshed.
	console = launch(t, path, s.with([]string{"QM_MIGRATE_DATABASE_URL"}, append(upstream, "QM_POLL_MIN", "1h", "QM_POLL_MAX", "1h")...))
	console.waitReady(t, s.base)
	if _, err := db.Exec(t.Context(), `UPDATE refresh SET next_at = clock_timestamp() + interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	if _, err := openPool(t, s.env["QM_MIGRATE_DATABASE_URL"]).Exec(t.Context(), `VACUUM (ANALYZE) clusters`); err != nil { // as the server does by itself within a minute
		t.Fatal(err)
	}
	v.get("/clusters")
	watched = watchPage(v, "/clusters", 25*time.Millisecond)
	time.Sleep(2 * b.round)
	quiet := watched.end(t)
	holds, limit := atMost(mostMeanwhile)
	b.ratio("1,000 accounts: 95th percentile of the page meanwhile, to when nothing is refreshed", []pair{{percentile(meanwhile, 95), percentile(quiet, 95)}}, holds, limit, inMillis)

	// Once more, with everything known: that is how a console spends its days.
	var since time.Time
	if err := db.QueryRow(t.Context(), `WITH due AS (
		UPDATE refresh SET next_at = clock_timestamp() WHERE kind = 'clusters' RETURNING 1) SELECT clock_timestamp() FROM due`).Scan(&since); err != nil {
		t.Fatal(err)
	}
	watched = watchPage(v, "/clusters", 25*time.Millisecond)
	waitWithin(t, 3*time.Minute, "every account was read again", func() bool {
		var stale int
		return db.QueryRow(t.Context(), `SELECT count(*) FROM refresh WHERE kind = 'clusters' AND ok_at <= $1`, since).Scan(&stale) == nil && stale == 0
	})
	again := time.Since(since)
	meanwhile = watched.end(t)
	b.absolute("1,000 accounts: all fresh again", []float64{again.Seconds()}, mostFresh, inSeconds)
	b.ratio("1,000 accounts: 95th percentile of the page meanwhile, to when nothing is refreshed, again", []pair{{percentile(meanwhile, 95), percentile(quiet, 95)}}, holds, limit, inMillis)
	b.pagesAtScale(t, v, db)
	console.end(t)
}

func inSeconds(v float64) string { return fmt.Sprintf("%.1f s", v) }

// percentile of values, in any order.
func percentile(values []float64, p int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// sandboxProcess is `quartermaster sandbox` as a process of its own.
type sandboxProcess struct {
	*launched
	url      string
	control  string
	start    time.Duration // until it has told its accounts and answers
	accounts []sandboxAccount
}

// sandboxAccount is an account as the sandbox prints it.
type sandboxAccount struct{ cloud, key, name string }

// sandboxLine is what the sandbox prints of an account of the current API.
var sandboxLine = regexp.MustCompile(`(?m)^  current  account (\S+)  key (\S+)  (.+)$`)

// sandboxToken opens the control surface of a sandboxProcess.
const sandboxToken = "control"

func launchSandbox(t *testing.T, path string, accountCount, clusterCount int) *sandboxProcess {
	t.Helper()
	addr, control := freeAddress(t), freeAddress(t)
	env := []string{"QM_SANDBOX_ADDR=" + addr, "QM_SANDBOX_CONTROL_ADDR=" + control, "QM_SANDBOX_CONTROL_TOKEN=" + sandboxToken, "QM_LOG_LEVEL=warn"}
	p := &sandboxProcess{
		launched: launch(t, path, env, "sandbox", "--seed", "7", "--accounts", strconv.Itoa(accountCount), "--clusters", strconv.Itoa(clusterCount)),
		url:      "http://" + addr, control: "http://" + control,
	}
	for ; ; time.Sleep(10 * time.Millisecond) {
		raw, err := os.ReadFile(p.log)
		if err != nil {
			t.Fatal(err)
		}
		if told := sandboxLine.FindAllStringSubmatch(string(raw), -1); len(told) == accountCount {
			for _, line := range told {
				p.accounts = append(p.accounts, sandboxAccount{line[1], line[2], line[3]})
			}
			break
		}
		if time.Since(p.started) > startTime {
			t.Fatalf("the sandbox is not ready after %s\n%s", startTime, raw)
		}
	}
	answer, err := http.Get(p.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	p.start = time.Since(p.started)
	return p
}

// domainOf is the domain over the same database as a console that is not running, to prepare what is measured.
func domainOf(t *testing.T, s *served, db *pgxpool.Pool, upstream string) *accounts.Service {
	t.Helper()
	kek, err := vault.ParseKEK(s.env["QM_KEK"])
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := vault.Open(t.Context(), db, kek, nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: s.env["QM_DATABASE_URL"], DB: db})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	client, err := cloudapi.New(cloudapi.Config{CurrentURL: mustURL(upstream), PAURL: mustURL(upstream)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return accounts.New(accounts.Config{
		DB: db, Log: log, Vault: sealing, Cloud: client, Logger: slog.New(slog.DiscardHandler), Now: time.Now, Rights: access.Configured{Issuer: s.env["QM_OIDC_ISSUER"]},
	})
}

// registerAll registers a sandbox's accounts. No console runs meanwhile, so that none of them is read.
func registerAll(t *testing.T, s *served, db *pgxpool.Pool, upstream string, known []sandboxAccount) {
	t.Helper()
	domain := domainOf(t, s, db, upstream)
	environments := []accounts.Environment{accounts.Production, accounts.Production, accounts.Staging, accounts.Production, accounts.Development}
	began := time.Now()
	var adding errgroup.Group
	adding.SetLimit(8)
	for i, a := range known {
		adding.Go(func() error {
			_, err := domain.Create(t.Context(), accounts.JobActor("bench"), accounts.NewAccount{
				Generation: cloudapi.Current, Key: cloudapi.NewSecret([]byte(a.key)), Name: a.name, Environment: environments[i%len(environments)], Owner: "Platform team",
			})
			return err
		})
	}
	if err := adding.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d accounts registered in %s", len(known), time.Since(began).Round(time.Millisecond))
}

// waitForFresh waits until every account has been read, and returns how long that took from now.
func waitForFresh(t *testing.T, db *pgxpool.Pool, count int) time.Duration {
	t.Helper()
	began := time.Now()
	for fresh, told := 0, 0; ; time.Sleep(100 * time.Millisecond) {
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM refresh WHERE kind = 'clusters' AND ok_at IS NOT NULL`).Scan(&fresh); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if fresh == count {
			return took
		}
		if s := int(took / (10 * time.Second)); s > told {
			told = s
			t.Logf("%d of %d accounts are fresh after %s", fresh, count, took.Round(time.Second))
		}
		if took > 10*time.Minute {
			t.Fatalf("%d of %d accounts are fresh after %s", fresh, count, took)
		}
	}
}

// watchMemory begins to look at the memory of a process. What it returns ends that, and returns the most that was seen.
func watchMemory(t *testing.T, p *launched) func() float64 {
	t.Helper()
	stop, most := make(chan struct{}), make(chan float64)
	go func() {
		seen := 0.0
		for {
			out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
			kib, parseErr := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
			if err == nil && parseErr == nil {
				seen = max(seen, kib*1024)
			}
			select {
			case <-stop:
				most <- seen
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() float64 {
		close(stop)
		return <-most
	}
}

// pageWatch asks for a page again and again, as somebody does who looks at it.
type pageWatch struct {
	stop   chan struct{}
	ended  sync.WaitGroup
	took   []float64 // seconds
	failed error
}

// watchPage begins to ask for a page, with a pause between two requests.
func watchPage(v *visitor, target string, pause time.Duration) *pageWatch {
	w := &pageWatch{stop: make(chan struct{})}
	l := loadOf(v, target)
	w.ended.Go(func() {
		conn, err := net.Dial("tcp", l.address)
		if err != nil {
			w.failed = err
			return
		}
		defer conn.Close()
		in := bufio.NewReaderSize(conn, 64<<10)
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(pause):
			}
			sent := time.Now()
			if _, err := l.once(conn, in); err != nil {
				w.failed = err
				return
			}
			w.took = append(w.took, time.Since(sent).Seconds())
		}
	})
	return w
}

// end ends the watch and returns how long each request took.
func (w *pageWatch) end(t *testing.T) []float64 {
	t.Helper()
	close(w.stop)
	w.ended.Wait()
	if w.failed != nil || len(w.took) == 0 {
		t.Fatalf("%d requests, %v", len(w.took), w.failed)
	}
	return w.took
}

// loadOf is a request of a signed-in member for an address of the console, not compressed.
func loadOf(v *visitor, target string) *load {
	request, err := http.NewRequest(http.MethodGet, v.base+target, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	for _, c := range v.http.Jar.Cookies(request.URL) {
		request.AddCookie(c)
	}
	return newLoad(request)
}

// scaleWays are twenty ways to look at the fleet: every sort and every kind of filter, those among them that were
// slowest of all 700 that TestFleetPageAtScale asks for.
func scaleWays(account string) []url.Values {
	way := func(sort, dir string, filter ...string) url.Values {
		q := url.Values{"sort": {sort}, "dir": {dir}}
		for i := 0; i < len(filter); i += 2 {
			q.Set(filter[i], filter[i+1])
		}
		return q
	}
	return []url.Values{
		way("name", "asc"), way("name", "asc", "q", "recommendations"), way("name", "desc", "q", "assistant"), way("name", "asc", "q", "us"),
		way("name", "asc", "q", "zz"), way("name", "desc", "phase", "FAILED_TO_SYNC"), way("account", "asc"), way("account", "desc", "q", "eu-central voice"),
		way("account", "asc", "phase", "RECOVERY_MODE"), way("environment", "desc", "q", "arch"), way("environment", "asc", "environment", "development", "cloud", "gcp"),
		way("phase", "desc", "q", "team=search"), way("cloud", "asc", "version", "v1.11.5"), way("region", "desc", "q", "chat-memory"),
		way("version", "asc", "q", "nothing-like-it"), way("nodes", "desc", "region", "eu-central-1", "q", "news"), way("package", "asc", "account", account),
		way("package", "desc", "q", "cost-centre=cc-042"), way("created", "desc", "q", "canary", "phase", "SUSPENDED"), way("created", "asc", "environment", "staging"),
	}
}

// pagesAtScale is S1: the page of the fleet in twenty ways, each by its median of a few requests; the slowest counts.
func (b *bench) pagesAtScale(t *testing.T, v *visitor, db *pgxpool.Pool) {
	var account string
	if err := db.QueryRow(context.WithoutCancel(t.Context()), `SELECT id::text FROM accounts ORDER BY name OFFSET (SELECT count(*) / 2 FROM accounts) LIMIT 1`).Scan(&account); err != nil {
		t.Fatal(err)
	}
	ways := scaleWays(account)
	loads := make([]*load, len(ways))
	for i, way := range ways {
		loads[i] = loadOf(v, "/clusters?"+way.Encode())
	}
	conn, err := net.Dial("tcp", loads[0].address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	slowest, of := make([]float64, b.rounds), make([]float64, len(ways))
	for round := -1; round < b.rounds; round++ {
		for i, l := range loads {
			took := make([]float64, 3)
			for n := range took {
				sent := time.Now()
				if _, err := l.once(conn, in); err != nil {
					t.Fatal(err)
				}
				took[n] = time.Since(sent).Seconds()
			}
			if round >= 0 { // the one before warms caches and does not count
				slowest[round] = max(slowest[round], median(took))
				of[i] = max(of[i], median(took))
			}
		}
	}
	for i, way := range ways {
		t.Logf("S1 %s %s", inMillis(of[i]), way.Encode())
	}
	b.absolute("S1 fleet page, 100,000 clusters, slowest of 20 filters and sorts", slowest, mostScalePage, inMillis)
	b.lines[len(b.lines)-1].noisy = true
}
