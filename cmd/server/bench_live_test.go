package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/devenv"
)

// What R3 is measured with: fifty accounts whose every call takes 50 ms.
const (
	troubledAccounts = 50
	hungAccounts     = 2
	failingAccounts  = 2
	upstreamLatency  = 50 * time.Millisecond
)

// liveWorld is a console over a sandbox of this process whose faults can be set.
type liveWorld struct {
	*served
	box     *sandbox.Sandbox
	control string
	db      *pgxpool.Pool
	console *launched
	v       *visitor

	path, upstream string
}

// openLiveWorld starts a console that knows a generated fleet. settings are variables besides, by name and value.
func openLiveWorld(t *testing.T, accountCount, clusterCount int, settings ...string) *liveWorld {
	t.Helper()
	s := prepareServe(t)
	box, err := sandbox.New(sandbox.Config{Seed: 11, Accounts: accountCount, Clusters: clusterCount, ControlToken: sandboxToken})
	if err != nil {
		t.Fatal(err)
	}
	upstream := listening(t, box.Handler())
	w := &liveWorld{served: s, box: box, control: listening(t, box.Control())}
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatalf("migrate up: exit code %d: %s", got.code, got.stderr)
	}
	w.db = openPool(t, s.env["QM_DATABASE_URL"])
	known := make([]sandboxAccount, 0, accountCount)
	for _, f := range box.Fixtures() {
		known = append(known, sandboxAccount{cloud: f.CloudAccountID, key: f.ManagementKey, name: f.Name})
	}
	registerAll(t, s, w.db, upstream, known)
	w.upstream, w.path = upstream, binary(t)
	w.launch(t, settings...)
	w.v = newVisitor(t, s.base).signIn(admin)
	waitForFresh(t, w.db, accountCount)
	return w
}

// launch starts a console, and waits until it is ready.
func (w *liveWorld) launch(t *testing.T, settings ...string) {
	t.Helper()
	w.console = launch(t, w.path, w.with([]string{"QM_MIGRATE_DATABASE_URL"}, append([]string{
		"QM_CLOUD_API_URL", w.upstream, "QM_CLOUD_PA_URL", w.upstream, "QM_VIEWER_GROUPS", devenv.ViewerGroup, "QM_UPSTREAM_RPS", "500",
	}, settings...)...))
	w.console.waitReady(t, w.base)
}

// tell asks something of the sandbox's control surface.
func (w *liveWorld) tell(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(method, w.control+"/_sandbox/"+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+sandboxToken)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	told, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s %v", method, path, answer.StatusCode, told, err)
	}
	return told
}

// trouble is R3: how long it takes until the accounts that are well are fresh again when all are due at once and some
// hang or fail, of which the console knows nothing yet, and the page meanwhile.
func (b *bench) trouble(t *testing.T) {
	count := troubledAccounts
	if !b.full {
		count = 12
	}
	const patience = "1s" // how long a call that hangs is waited for; longer than the rest takes
	w := openLiveWorld(t, count, 10*count, "QM_POLL_MIN", "30m", "QM_POLL_MAX", "1h", "QM_UPSTREAM_READ_TIMEOUT", patience)
	bad := w.box.Fixtures()[count-hungAccounts-failingAccounts:]
	good := count - len(bad)
	floor := math.Ceil(float64(good)/accounts.RefreshWorkers) * upstreamLatency.Seconds()
	slow := map[string]any{"kind": "latency", "latency_ms": upstreamLatency.Milliseconds()}
	// Everybody is well, and has answered, so that no breaker remembers the round before.
	heal := func() (page float64) {
		w.tell(t, http.MethodDelete, "faults", nil)
		w.tell(t, http.MethodPost, "faults", slow)
		w.closeBreakers(t)
		_, page = w.refreshAll(t, count)
		return page
	}
	fail := func() (took, page float64) {
		w.tell(t, http.MethodDelete, "faults", nil)
		for i, f := range bad {
			kind := map[string]any{"account": f.CloudAccountID, "kind": "hang"}
			if i >= hungAccounts {
				kind = map[string]any{"account": f.CloudAccountID, "kind": "status", "status": 500}
			}
			w.tell(t, http.MethodPost, "faults", kind)
		}
		w.tell(t, http.MethodPost, "faults", slow)
		return w.refreshAll(t, good)
	}
	heal()
	fail()
	var fresh, pages []pair
	for range b.rounds {
		well := heal()
		took, ill := fail()
		fresh = append(fresh, pair{took, floor})
		pages = append(pages, pair{ill, well})
	}
	holds, limit := atMost(1.3)
	b.ratio("R3 46 good of 50 accounts fresh, 2 hung and 2 failing", fresh, holds, limit, inMillis)
	holds, limit = atMost(1.25)
	b.ratio("R3 the fleet page meanwhile, to none hung or failing", pages, holds, limit, inMillis)
	w.console.end(t)
	w.tell(t, http.MethodDelete, "faults", nil)
	b.calls(t, w)
}

// closeBreakers has the accounts that failed asked again until they answer. One whose breaker is open is not sent anything, and
// would be due next after twice QM_POLL_MIN, which is long here.
func (w *liveWorld) closeBreakers(t *testing.T) {
	t.Helper()
	waitWithin(t, time.Minute, "every account answers again", func() bool {
		var failing, asked int
		return w.db.QueryRow(t.Context(), `WITH again AS (
			UPDATE refresh SET next_at = clock_timestamp() WHERE failures > 0 RETURNING 1)
			SELECT (SELECT count(*) FROM again), (SELECT count(*) FROM refresh WHERE lease_until > clock_timestamp())`).Scan(&failing, &asked) == nil && failing+asked == 0
	})
}

// refreshAll has every account due at once, and waits until so many are fresh. It returns how long that took, from when
// the first was begun, and how long the page took meanwhile, in seconds.
func (w *liveWorld) refreshAll(t *testing.T, want int) (took, page float64) {
	t.Helper()
	waitUntil(t, "nothing is being refreshed", func() bool {
		var leased int
		return w.db.QueryRow(t.Context(), `SELECT count(*) FROM refresh WHERE kind = 'clusters' AND lease_until > clock_timestamp()`).Scan(&leased) == nil && leased == 0
	})
	watched := watchPage(w.v, "/clusters", 5*time.Millisecond)
	var since time.Time
	// The console learns of it when it looks next, within a second.
	if err := w.db.QueryRow(t.Context(), `WITH due AS (
		UPDATE refresh SET next_at = clock_timestamp(), failures = 0 WHERE kind = 'clusters' RETURNING 1) SELECT clock_timestamp() FROM due`).Scan(&since); err != nil {
		t.Fatal(err)
	}
	for {
		var fresh int
		var first *time.Time
		var now time.Time
		if err := w.db.QueryRow(t.Context(), `
			SELECT count(*) FILTER (WHERE ok_at > $1), min(ok_at) FILTER (WHERE ok_at > $1), clock_timestamp() FROM refresh WHERE kind = 'clusters'`, since).Scan(&fresh, &first, &now); err != nil {
			t.Fatal(err)
		}
		if fresh >= want {
			return now.Sub(*first).Seconds(), median(watched.end(t))
		}
		if now.Sub(since) > time.Minute {
			t.Fatalf("%d of %d accounts are fresh after a minute; of the others: %s", fresh, want, w.notFresh(t, since))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// notFresh says what became of the accounts that were not read since then.
func (w *liveWorld) notFresh(t *testing.T, since time.Time) string {
	t.Helper()
	var words string
	if err := w.db.QueryRow(t.Context(), `
		SELECT coalesce(string_agg(format('%s: started %s, failed %s, %s failures, next in %s, lease %s, "%s"', account_id,
			ok_at - $1, failed_at - $1, failures, next_at - clock_timestamp(), lease_until, error), '; '), 'none')
		FROM refresh WHERE kind = 'clusters' AND ok_at <= $1`, since).Scan(&words); err != nil {
		t.Fatal(err)
	}
	return words
}

// live measures how soon pages show a change: SSE.
func (b *bench) live(t *testing.T) {
	interval, clients, changes := time.Second, 500, 24
	if !b.full {
		interval, clients, changes = 200*time.Millisecond, 20, 2
	}
	w := openLiveWorld(t, 4, 40, "QM_POLL_MIN", interval.String(), "QM_POLL_MAX", interval.String())
	b.changedRows(t, w, interval, clients, changes)
	w.console.end(t)
}

// members signs people in who may read everything.
func (w *liveWorld) members(t *testing.T, n int) []*visitor {
	t.Helper()
	all := make([]*visitor, n)
	for i := range all {
		all[i] = newVisitor(t, w.base).signIn(crowdMember(i))
	}
	return all
}

// streamsEach is how many streams a member of the bench has open; the console allows twice as many.
const streamsEach = 10

// changedRows is SSE: a cluster changes upstream, and each client has its row in the page, having been told to look.
func (b *bench) changedRows(t *testing.T, w *liveWorld, interval time.Duration, clients, changes int) {
	people := w.members(t, (clients+streamsEach-1)/streamsEach)
	row := w.v.get("/clusters?phase=HEALTHY").byTestID("cluster-row")[0]
	var cloud string
	if err := w.db.QueryRow(t.Context(), `SELECT cloud_account_id FROM accounts WHERE id = $1`, row["data-account"]).Scan(&cloud); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	seen := make(chan sight, 10*clients)
	var open atomic.Int64
	for i := range clients {
		watcher := newLiveClient(people[i/streamsEach], i, row["data-cluster"])
		running.Go(func() {
			if err := watcher.follow(ctx, &open, seen); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	waitUntil(t, "all streams are open", func() bool { return open.Load() == int64(clients) || t.Failed() })
	var took []float64
	phases := []string{"SUSPENDED", "HEALTHY"}
	for n := range changes {
		phase := phases[n%2]
		time.Sleep(time.Duration(rand.Float64() * 2 * float64(interval))) // at no particular moment between two polls
		began := time.Now()
		w.tell(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": cloud, "cluster": row["data-cluster"], "phase": phase})
		timeout := time.After(2*interval + 20*time.Second)
		// Each client counts once: one that is told again, as of the alert that follows, stands for no other.
		shown := make([]bool, clients)
		for missing := clients; missing > 0; {
			select {
			case s := <-seen:
				if s.phase != phase || s.at.Before(began) || shown[s.client] {
					continue
				}
				shown[s.client] = true
				took = append(took, s.at.Sub(began).Seconds())
				missing--
			case <-timeout:
				t.Fatalf("%d of %d clients do not show the change", missing, clients)
			}
		}
	}
	most := interval + 250*time.Millisecond
	b.absolute(fmt.Sprintf("SSE change upstream to changed row, %d clients, 95th percentile", clients), []float64{percentile(took, 95)}, most.Seconds(), inMillis)
	line := &b.lines[len(b.lines)-1]
	line.floor, line.spread, line.noisy = inMillis(interval.Seconds()), inMillis(slices.Min(took))+"–"+inMillis(slices.Max(took)), true
}

// sight is that a client has a phase in its row.
type sight struct {
	client int
	phase  string
	at     time.Time
}

// liveClient does what a page of the fleet does: it reads the stream, and asks for the list when the stream says so.
type liveClient struct {
	number  int
	visitor *visitor
	load    *load
	mark    []byte // what stands before the phase of the cluster in the list
}

func newLiveClient(v *visitor, number int, cluster string) *liveClient {
	request, err := http.NewRequest(http.MethodGet, v.base+"/clusters", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("HX-Request", "true")
	request.Header.Set("HX-Target", "fleet")
	request.Header.Set("X-Quartermaster-Background", "1")
	for _, c := range v.http.Jar.Cookies(request.URL) {
		request.AddCookie(c)
	}
	return &liveClient{number: number, visitor: v, load: newLoad(request), mark: []byte(`data-cluster="` + cluster + `" data-phase="`)}
}

// follow reads the stream until ctx ends, and tells each phase that the list shows.
func (l *liveClient) follow(ctx context.Context, open *atomic.Int64, seen chan<- sight) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.visitor.base+"/live", nil)
	if err != nil {
		return err
	}
	request.Header.Set("HX-Request", "true")
	request.Header.Set("X-Quartermaster-Background", "1")
	for _, c := range l.visitor.http.Jar.Cookies(request.URL) {
		request.AddCookie(c)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the stream answers %d", answer.StatusCode)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	open.Add(1)
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		event, named := strings.CutPrefix(lines.Text(), "event: ")
		if !named || event == "beat" {
			continue
		}
		if event == "end" {
			return errors.New("the stream ended")
		}
		phase, err := l.look(ctx, client)
		if err != nil {
			return err
		}
		seen <- sight{l.number, phase, time.Now()}
	}
	return nil
}

// look asks for the list and returns the phase in the row.
func (l *liveClient) look(ctx context.Context, client *http.Client) (string, error) {
	request := l.load.parsed.Clone(ctx)
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the list answers %d: %w", answer.StatusCode, err)
	}
	_, after, found := bytes.Cut(body, l.mark)
	if !found {
		return "", errors.New("the list does not show the cluster")
	}
	phase, _, _ := bytes.Cut(after, []byte(`"`))
	return string(phase), nil
}

// calls compares how often upstream is called while a hundred people look at pages all the time with how often it is
// while nobody does; and, of pages that read through to upstream, with how often it is while one of them looks.
// Accounts are polled every five seconds instead of once a minute, so that a short while has as many polls as some minutes do.
func (b *bench) calls(t *testing.T, w *liveWorld) {
	interval, window, viewers := 5*time.Second, 25*time.Second, 100
	if !b.full {
		interval, window, viewers = 200*time.Millisecond, time.Second, 10
	}
	w.launch(t, "QM_POLL_MIN", interval.String(), "QM_POLL_MAX", interval.String())
	if _, err := w.db.Exec(t.Context(), `UPDATE refresh SET next_at = clock_timestamp(), failures = 0`); err != nil {
		t.Fatal(err)
	}
	people := w.members(t, 10)
	rows := w.v.get("/clusters").byTestID("cluster-row")
	account, cluster := "/accounts/"+rows[0]["data-account"], "/accounts/"+rows[0]["data-account"]+"/clusters/"+rows[0]["data-cluster"]
	time.Sleep(interval) // what the start asked for besides is over
	nobody := w.callsIn(t, window)
	looked := w.callsWhile(t, window, viewers, people, []string{
		"/clusters", "/accounts", account, cluster, cluster + "/backups", cluster + "/history", "/alerts", "/keys", "/backups",
	})
	equal := func(v float64) bool { return v >= 0.9 && v <= 1.05 }
	show := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	b.ratio(fmt.Sprintf("upstream calls while %d viewers look, to none looking", viewers), []pair{{sumOf(looked), sumOf(nobody)}}, equal, "1, within 0.90–1.05", show)

	// Nothing is polled meanwhile; and in accounts that nobody has looked at like this before, for what is read through
	// is remembered for a while.
	w.console.end(t)
	if _, err := w.db.Exec(t.Context(), `UPDATE refresh SET next_at = clock_timestamp() + interval '30 minutes'`); err != nil {
		t.Fatal(err)
	}
	w.launch(t, "QM_POLL_MIN", "30m", "QM_POLL_MAX", "1h")
	var fresh []element
	for _, row := range rows {
		if row["data-account"] != rows[0]["data-account"] && (len(fresh) == 0 || row["data-account"] != fresh[0]["data-account"]) && len(fresh) < 2 {
			fresh = append(fresh, row)
		}
	}
	if len(fresh) < 2 {
		t.Fatal("the first page of the fleet is of fewer than three accounts")
	}
	through := func(viewers int, row element) float64 {
		cloud, cluster := "", "/accounts/"+row["data-account"]+"/clusters/"+row["data-cluster"]
		if err := w.db.QueryRow(t.Context(), `SELECT cloud_account_id FROM accounts WHERE id = $1`, row["data-account"]).Scan(&cloud); err != nil {
			t.Fatal(err)
		}
		// Not the form that changes a cluster: it shows the cluster as it is at that moment, so only those who open it at
		// once share a call.
		return w.callsWhile(t, window, viewers, people, []string{cluster + "/keys", "/packages?account=" + row["data-account"]})[cloud]
	}
	one := through(1, fresh[0])
	holds, limit := atMost(1.5)
	b.ratio(fmt.Sprintf("upstream calls of an account while %d look at what is read through, to one looking", viewers), []pair{{through(viewers, fresh[1]), one}}, holds, limit, show)
	w.console.end(t)
}

// callsIn returns how often upstream is called in a while, by the account at Qdrant Cloud.
func (w *liveWorld) callsIn(t *testing.T, window time.Duration) map[string]float64 {
	t.Helper()
	count := func() map[string]float64 {
		var told struct {
			Accounts map[string]map[string]int `json:"accounts"`
		}
		if err := json.Unmarshal(w.tell(t, http.MethodGet, "calls", nil), &told); err != nil {
			t.Fatal(err)
		}
		calls := map[string]float64{}
		for account, operations := range told.Accounts {
			calls[account] = float64(sum(operations))
		}
		return calls
	}
	before := count()
	time.Sleep(window)
	after := count()
	for account, n := range before {
		after[account] -= n
	}
	return after
}

func sumOf(calls map[string]float64) (all float64) {
	for _, n := range calls {
		all += n
	}
	return all
}

// callsWhile is callsIn while so many look at the targets, each at one every two seconds.
func (w *liveWorld) callsWhile(t *testing.T, window time.Duration, viewers int, people []*visitor, targets []string) map[string]float64 {
	t.Helper()
	var stop atomic.Bool
	var looking sync.WaitGroup
	defer looking.Wait()
	defer stop.Store(true)
	for i := range viewers {
		v := people[i%len(people)]
		looking.Go(func() {
			if viewers > 1 {
				time.Sleep(rand.N(2 * time.Second)) // not all at once
			}
			for n := i; !stop.Load(); n++ {
				target := targets[n%len(targets)]
				request, err := v.request(http.MethodGet, target, nil)
				if err == nil {
					var got page
					if got, err = v.send(request); err == nil && got.status != http.StatusOK {
						err = fmt.Errorf("%s answers %d", target, got.status)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(min(window/time.Duration(len(targets)), 2*time.Second))
			}
		})
	}
	return w.callsIn(t, window)
}
