package main

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// consoleNames are what the proxy's configuration calls the three.
var consoleNames = [3]string{"one", "two", "three"}

// TestReplicas runs several consoles as one: nothing depends on which of them answers, nothing is
// done twice, nothing is lost when one is replaced, and what a killed one leaves is taken over.
func TestReplicas(t *testing.T) {
	w := openSquadron(t)
	t.Run("one session everywhere", w.oneSessionEverywhere)
	t.Run("limits of a session hold everywhere", w.limitsHoldEverywhere)
	t.Run("one form at two at once", w.oneFormAtTwo)
	t.Run("each account is listed once an interval", w.listedOnceAnInterval)
	t.Run("a rolling restart under load", w.rollingRestart)
	t.Run("a console that stops", w.stopping)
	t.Run("an act that is cut off", w.cutOff)
	t.Run("a refresh that is stopped or killed", w.refreshTakenOver)
	t.Run("the log is whole", func(t *testing.T) { logIsWhole(t, w.stage) })
}

// oneSessionEverywhere signs in across consoles, reads from each, and signs out on one of them.
func (w *squadron) oneSessionEverywhere(t *testing.T) {
	// Begun on the first, finished on the second: the transport goes on with each request.
	v := w.signInAs(t, operator, 0, 1, 2)
	if n := v.http.Transport.(*inTurn).n.Load(); n != 3 { // the beginning, the answer of the provider, the first page
		t.Errorf("the sign-in took %d requests to consoles, so they did not see one each", n)
	}
	var names []string
	for _, c := range v.http.Jar.(*cookiejar.Jar).Cookies(mustURL(w.base)) {
		names = append(names, c.Name)
	}
	if !slices.Contains(names, "__Host-qm_session") || strings.Contains(strings.Join(names, " "), "login") {
		t.Errorf("afterwards the browser keeps the cookies %v", names)
	}
	other := w.signInAs(t, viewer, 2, 0, 1)
	for range 2 {
		for i := range w.addrs {
			for _, path := range []string{"/clusters", "/accounts", "/me"} {
				if page := w.at(v, i).get(path); page.status != http.StatusOK || !strings.Contains(page.body, "Oscar Operator") {
					t.Errorf("console %d answers %s with %d", i, path, page.status)
				}
			}
		}
	}
	// A key of one console's making is in the list of the others at once.
	path, _ := w.newCluster(t, staging, "keys-everywhere")
	for i := range w.addrs {
		w.at(v, i).get(path + "/keys") // each remembers that there is none
	}
	form := w.at(v, 0).get(path+"/keys/new").form(t, path+"/keys")
	for field, value := range goodKey("seen everywhere") {
		form.values.Set(field, value)
	}
	w.secretOf(t, w.at(v, 1).post(path+"/keys", form.values))
	for i := range w.addrs {
		if rows := w.at(v, i).get(path + "/keys").byTestID("key-row"); len(rows) != 1 {
			t.Errorf("console %d lists %d keys", i, len(rows))
		}
	}

	thief := w.keeping(v)
	if got := w.at(thief, 0).get("/clusters"); got.status != http.StatusOK {
		t.Fatalf("a copy of the cookie is answered with %d", got.status)
	}
	out := w.at(v, 2).withoutRedirects().post("/logout", nil)
	if out.status != http.StatusSeeOther {
		t.Fatalf("signing out answers %d", out.status)
	}
	for i := range w.addrs {
		if page := w.at(thief, i).get("/clusters"); page.status != http.StatusSeeOther {
			t.Errorf("after signing out, console %d answers %d", i, page.status)
		}
		if page := w.at(other, i).get("/clusters"); page.bodyID() != "clusters-index" {
			t.Errorf("after somebody else signed out, console %d sends a viewer to %s", i, page.url)
		}
	}
}

// limitsHoldEverywhere: a session that is used anywhere is in use everywhere, one that is used nowhere
// ends everywhere, and its longest life counts from the sign-in.
func (w *squadron) limitsHoldEverywhere(t *testing.T) {
	v := w.signInAs(t, operator, 0)
	idle := func(d time.Duration) {
		t.Helper()
		if _, err := w.db.Exec(t.Context(), `UPDATE sessions SET last_seen_at = now() - $1::interval WHERE email = $2 AND ended_at IS NULL`, d, operator); err != nil {
			t.Fatal(err)
		}
	}
	v = w.keeping(v)
	answers := func(i int) int { return w.at(v, i).get("/clusters").status }
	idle(29 * time.Minute)
	if got := answers(0); got != http.StatusOK {
		t.Fatalf("after 29 minutes: %d", got)
	}
	w.waitFor(t, "the second console hears of the use of the first", `SELECT bool_and(last_seen_at > now() - interval '5 minutes') FROM sessions WHERE email = $1 AND ended_at IS NULL`, operator)
	idle(31 * time.Minute)
	for i := range w.addrs {
		if got := answers(i); got != http.StatusSeeOther {
			t.Errorf("after 31 minutes console %d answers %d", i, got)
		}
	}

	// A console whose sessions live shortly, in place of the third.
	const life = 5 * time.Second
	w.stop(t, 2)
	w.start(t, 2, "QM_SESSION_MAX", life.String(), "QM_SESSION_IDLE", life.String())
	begun := time.Now()
	v = w.keeping(w.signInAs(t, viewer, 2))
	used := 0
	waitUntil(t, "the session has ended, although it is used", func() bool {
		if answers(used%2) != http.StatusOK {
			return true
		}
		used++
		return false
	})
	if took := time.Since(begun); used == 0 || took < life {
		t.Errorf("it ended after %s and %d uses", took, used)
	}
	for i := range 2 {
		if got := answers(i); got != http.StatusSeeOther {
			t.Errorf("afterwards console %d answers %d", i, got)
		}
	}
	w.stop(t, 2)
	w.start(t, 2)
}

// kept are cookies that somebody took a copy of: no answer takes them away.
type kept []*http.Cookie

func (k kept) Cookies(*url.URL) []*http.Cookie     { return k }
func (k kept) SetCookies(*url.URL, []*http.Cookie) {}

// keeping is a browser with the cookies that another has now.
func (w *squadron) keeping(v *visitor) *visitor {
	client := *v.http
	client.Jar = kept(v.http.Jar.Cookies(mustURL(w.base)))
	return (&visitor{t: v.t, base: v.base, http: &client}).withoutRedirects()
}

// oneFormAtTwo posts forms to two consoles at the very same moment, and once more to the third.
func (w *squadron) oneFormAtTwo(t *testing.T) {
	const rounds = 4
	v := w.signInAs(t, admin, 0, 1, 2).withoutRedirects()
	both := func(path string, values url.Values) (answers [2]page) {
		t.Helper()
		var group sync.WaitGroup
		gate := make(chan struct{})
		for i := range answers {
			group.Go(func() {
				<-gate
				answers[i] = w.at(v, i).withoutRedirects().post(path, values)
			})
		}
		close(gate)
		group.Wait()
		return answers
	}
	filled := func(page, action string, fill map[string]string) url.Values {
		t.Helper()
		f := v.get(page).form(t, action)
		for field, value := range fill {
			f.values.Set(field, value)
		}
		return f.values
	}

	cluster, _ := w.newCluster(t, staging, "forms-at-two")
	account := "/accounts/" + w.accounts[staging].id
	for round := range rounds {
		name := fmt.Sprintf("at-two-%d", round)
		values := filled(account+"/clusters/new?cloud_provider=aws&region=eu-central-1", account+"/clusters", map[string]string{"name": name})
		for i, got := range both(account+"/clusters", values) {
			if got.status != http.StatusSeeOther {
				t.Errorf("a new cluster: console %d answers %d:\n%s", i, got.status, got.text())
			}
		}
		again := w.at(v, 2).withoutRedirects().post(account+"/clusters", values)
		if where := again.header.Get("Location"); again.status != http.StatusSeeOther || !strings.HasPrefix(where, account+"/clusters/") {
			t.Errorf("the third post of a new cluster: %d to %q", again.status, where)
		}
		if n := w.madeOf(t, staging, name); n != 1 {
			t.Errorf("%d clusters are called %s", n, name)
		}

		values = filled(cluster+"/keys/new", cluster+"/keys", goodKey(name))
		shown := 0
		for i, got := range both(cluster+"/keys", values) {
			switch got.status {
			case http.StatusOK:
				w.secretOf(t, got)
				shown++
			case http.StatusSeeOther:
			default:
				t.Errorf("a new key: console %d answers %d:\n%s", i, got.status, got.text())
			}
		}
		if keys := len(v.get(cluster + "/keys").byTestID("key-row")); shown != 1 || keys != round+1 {
			t.Errorf("the secret was shown %d times, and there are %d keys after %d forms", shown, keys, round+1)
		}
	}

	var spare map[string]string
	for _, f := range w.box.Fixtures() {
		if f.Spare {
			spare = map[string]string{"generation": f.Generation, "management_key": f.ManagementKey, "cloud_account_id": f.CloudAccountID, "name": f.Name, "environment": f.Environment}
		}
	}
	places := map[string]bool{}
	for i, got := range both("/accounts", filled("/accounts/new", "/accounts", spare)) {
		if got.status != http.StatusSeeOther {
			t.Errorf("a new account: console %d answers %d:\n%s", i, got.status, got.text())
		}
		places[got.header.Get("Location")] = true
	}
	var registered int
	if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM accounts WHERE name = $1`, spare["name"]).Scan(&registered); err != nil {
		t.Fatal(err)
	}
	if registered != 1 || len(places) != 1 {
		t.Errorf("%d accounts were registered, and the two answers lead to %v", registered, places)
	}
}

// listings are the operations that list an account's clusters.
func (w *squadron) listings(t *testing.T, cloudAccount string) int {
	calls := w.callsOf(t, cloudAccount)
	return calls["ListClusters"] + calls["list_clusters"]
}

// listedOnceAnInterval counts, while nobody does anything, how often the Cloud API is asked. An
// interval is half a second, a fifth less at the least.
func (w *squadron) listedOnceAnInterval(t *testing.T) {
	begun := time.Now()
	w.control(t, http.MethodDelete, "calls", nil)
	waitUntil(t, "each account is listed eight times", func() bool {
		for _, g := range w.accounts {
			if w.listings(t, g.cloud) < 8 {
				return false
			}
		}
		return true
	})
	for name, g := range w.accounts {
		n := w.listings(t, g.cloud)
		// One may have been due at the beginning.
		if most := int(time.Since(begun)/(400*time.Millisecond)) + 1; n > most {
			t.Errorf("%s was listed %d times in %s by three consoles, want at most %d", name, n, time.Since(begun), most)
		}
	}
}

// shift is people who work through the proxy.
type shift struct {
	*crowd
	pages   atomic.Int64
	keys    atomic.Int64 // whose secret was shown
	done    atomic.Int64 // restarts
	refused atomic.Int64 // restarts of what restarts already
}

// reads opens a page again and again.
func (l *shift) reads(v *visitor, path, body string) {
	l.works(func(int) {
		if got := l.asks(v, http.MethodGet, path, nil); got.status != 0 {
			l.pages.Add(1)
			if got.status != http.StatusOK || got.bodyID() != body {
				l.fails("%s answers %d, %s", path, got.status, got.bodyID())
			}
		}
	})
}

// makesKeys opens the form of a new key, sends it, and has the secret shown.
func (l *shift) makesKeys(v *visitor, path, name string) {
	l.works(func(n int) {
		ask := l.asks(v, http.MethodGet, path+"/keys/new", nil)
		if ask.status == 0 {
			return
		}
		forms := ask.forms()
		at := slices.IndexFunc(forms, func(f form) bool { return f.action == path+"/keys" })
		if at < 0 {
			l.fails("the form of a new key: %d, %s\n%.600s", ask.status, ask.url, ask.text())
			return
		}
		values := forms[at].values
		for field, value := range goodKey(fmt.Sprintf("%s %d", name, n)) {
			values.Set(field, value)
		}
		switch got := l.asks(v, http.MethodPost, path+"/keys", values); {
		case got.status == http.StatusOK && got.bodyID() == "key-secret":
			l.keys.Add(1)
		case got.status != 0:
			l.fails("a new key: %d, %s\n%.600s", got.status, got.url, got.text())
		}
	})
}

// restarts restarts a cluster, also while it restarts.
func (l *shift) restarts(v *visitor, path string) {
	v = v.withoutRedirects()
	l.works(func(int) {
		switch got := l.asks(v, http.MethodPost, path+"/restart", nil); got.status {
		case http.StatusSeeOther:
			l.done.Add(1)
		case http.StatusConflict:
			l.refused.Add(1)
		case 0:
		default:
			l.fails("a restart: %d\n%.600s", got.status, got.text())
		}
	})
}

// begins signs people in through the proxy and has them work.
func (w *squadron) begins(t *testing.T) *shift {
	t.Helper()
	l := &shift{crowd: newCrowd(t)}
	keys, _ := w.newCluster(t, production, "under-load-keys")
	moving, _ := w.newCluster(t, staging, "under-load-restarts")
	other, _ := w.newCluster(t, production, "under-load-too")
	l.reads(w.signInAs(t, viewer), "/clusters", "clusters-index")
	l.reads(w.signInAs(t, auditor), "/audit", "audit-index")
	l.reads(w.signInAs(t, viewer), moving, "cluster-show")
	for i := range 2 {
		l.makesKeys(w.signInAs(t, operator), keys, fmt.Sprintf("load %d", i))
	}
	l.restarts(w.signInAs(t, operator), moving)
	l.restarts(w.signInAs(t, admin), other)
	return l
}

// rollingRestart replaces one console after the other, first of three and then of two, while people work.
func (w *squadron) rollingRestart(t *testing.T) {
	w.stopAll(t)
	settings := w.settings
	w.settings = append(slices.Clone(settings), "QM_DRAIN_DELAY", "3s")
	defer func() { w.settings = settings }()
	for i := range w.members {
		w.launch(t, i)
	}
	w.ready(t)
	p := w.openProxy(t)
	for _, name := range consoleNames {
		p.thinks(t, name, "UP")
	}
	var before int
	if err := w.db.QueryRow(t.Context(), `SELECT coalesce(max(seq), 0) FROM audit.events`).Scan(&before); err != nil {
		t.Fatal(err)
	}
	l := w.begins(t)
	progress := func(since int64) { // everybody gets on with it
		t.Helper()
		waitUntil(t, "people get on with their work", func() bool { return l.pages.Load()+l.keys.Load() > since+30 })
	}
	replace := func(i int, again bool) {
		t.Helper()
		progress(l.pages.Load() + l.keys.Load())
		logged := w.stop(t, i)
		for _, bad := range []string{"cut off", "not recorded", "not kept", "cannot be written", "panic", "closed pool", "log is closed"} {
			if strings.Contains(logged, bad) {
				t.Errorf("console %d tells of something that is %s:\n%s", i, bad, linesWith(logged, bad))
			}
		}
		if again {
			w.start(t, i)
			p.thinks(t, consoleNames[i], "UP")
		}
	}
	replace(0, true)
	replace(1, true)
	replace(2, false) // from here on there are two
	replace(0, true)
	progress(l.pages.Load() + l.keys.Load())
	l.end(t)

	if t.Failed() {
		t.Logf("the proxy said:\n%.5000s", linesWith(p.output.String(), " 503 "))
	}
	for name, got := range p.consoles(t) {
		if slices.Contains(consoleNames[:], name) && (got["stot"] == "0" || got["stot"] == "") {
			t.Errorf("the console %s got no request", name)
		}
	}
	t.Logf("%d pages, %d keys, %d restarts, %d of them refused", l.pages.Load(), l.keys.Load(), l.done.Load()+l.refused.Load(), l.refused.Load())
	w.waitFor(t, "every end of work is on record", `SELECT NOT EXISTS (SELECT FROM long_work)`)
	for _, want := range []struct {
		what, where string
		count       int64
	}{
		{"keys begun", `act = 'key.create' AND phase = 'attempt'`, l.keys.Load()},
		{"keys made", `act = 'key.create' AND phase = 'outcome' AND outcome = 'ok' AND NOT inferred`, l.keys.Load()},
		{"restarts begun", `act = 'cluster.restart' AND phase = 'attempt'`, l.done.Load() + l.refused.Load()},
		{"restarts done", `act = 'cluster.restart' AND phase = 'outcome' AND outcome = 'ok' AND NOT inferred`, l.done.Load()},
		{"restarts refused", `act = 'cluster.restart' AND phase = 'outcome' AND outcome = 'failed' AND NOT inferred`, l.refused.Load()},
		{"ends of restarts", `act = 'cluster.restart' AND phase = 'settled'`, l.done.Load()},
	} {
		if got := w.events(t, `seq > $1 AND `+want.where, before); int64(got) != want.count {
			t.Errorf("the log tells of %d %s, people of %d", got, want.what, want.count)
		}
	}
	logIsWhole(t, w.stage)
	w.stopAll(t)
}

// linesWith returns the lines of a log that hold a text.
func linesWith(log, text string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// begun is an act that was sent and waits for the Cloud API.
type begun struct {
	cluster string // id
	answer  chan *http.Response
	err     chan error
}

// beginRestart sends a restart to a console and returns when the Cloud API has it.
func (w *squadron) beginRestart(t *testing.T, i int, name string, fault map[string]any) begun {
	t.Helper()
	path, id := w.newCluster(t, production, name)
	v := w.signInAs(t, operator, i).withoutRedirects()
	before := w.calls(t)["RestartCluster"]
	fault["operation"], fault["times"] = "RestartCluster", 1
	w.control(t, http.MethodPost, "faults", fault)
	b := begun{cluster: id, answer: make(chan *http.Response, 1), err: make(chan error, 1)}
	go func() {
		answer, err := v.http.PostForm(v.base+path+"/restart", url.Values{})
		if err != nil {
			b.err <- err
			return
		}
		_ = answer.Body.Close()
		b.answer <- answer
	}()
	waitUntil(t, "the Cloud API is asked to restart", func() bool { return w.calls(t)["RestartCluster"] > before })
	return b
}

// stopping looks at one console from the signal to its end, with an act under way that takes longer
// than a load balancer needs to notice.
func (w *squadron) stopping(t *testing.T) {
	w.start(t, 0, "QM_DRAIN_DELAY", "3s")
	m := w.members[0]
	reader := w.signInAs(t, viewer, 0)
	act := w.beginRestart(t, 0, "stopping", map[string]any{"kind": "latency", "latency_ms": 4500})
	m.signal(t, syscall.SIGTERM)
	waitUntil(t, "it is not ready", func() bool { return m.probe("/readyz") == http.StatusServiceUnavailable })
	if got := m.probe("/healthz"); got != http.StatusOK {
		t.Errorf("/healthz answers %d while it stops", got)
	}
	answer, err := reader.http.Get(reader.base + "/clusters") // over a connection that was open
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("while it stops, a page is answered with %d; the connection closes: %v", answer.StatusCode, answer.Close)
	}
	select {
	case answer := <-act.answer:
		if answer.StatusCode != http.StatusSeeOther {
			t.Errorf("the act under way is answered with %d", answer.StatusCode)
		}
	case err := <-act.err:
		t.Errorf("the act under way is not answered: %v", err)
	}
	if code := m.wait(t); code != exitOK {
		t.Errorf("it ended with code %d\n%s", code, m.output)
	}
	w.members[0] = nil
	if got := m.probe("/healthz"); got != 0 {
		t.Errorf("after its end something answers %d", got)
	}
	if n := w.events(t, `act = 'cluster.restart' AND target_id = $1 AND phase = 'outcome' AND outcome = 'ok' AND NOT inferred`, act.cluster); n != 1 {
		t.Errorf("%d outcomes of the act under way are on record\n%s", n, m.output)
	}
	if log := m.output.String(); !strings.Contains(log, "console stops: no longer ready") || strings.Contains(log, "cut off") {
		t.Errorf("it logged:\n%s", log)
	}
}

// cutOff has the Cloud API not answer an act while its console is stopped, told twice to stop, or
// killed. Another one finds out what became of it, once.
func (w *squadron) cutOff(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(t *testing.T, m *member)
		code  int
		tells bool
	}{
		"stopped": {func(t *testing.T, m *member) { m.signal(t, syscall.SIGTERM) }, exitOK, true},
		"told twice": {func(t *testing.T, m *member) {
			m.signal(t, syscall.SIGTERM)
			waitUntil(t, "it stops", func() bool { return strings.Contains(m.output.String(), "console stops") })
			m.signal(t, syscall.SIGTERM)
		}, -1, false},
		"killed": {func(t *testing.T, m *member) { m.signal(t, syscall.SIGKILL) }, -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			w.stopAll(t)
			delay := "0s"
			if !test.tells {
				delay = "1m"
			}
			w.start(t, 0, "QM_DRAIN_DELAY", delay, "QM_DRAIN_TIMEOUT", "500ms")
			m := w.members[0]
			act := w.beginRestart(t, 0, "cut-off-"+strings.ReplaceAll(name, " ", "-"), map[string]any{"kind": "hang"})
			test.end(t, m)
			if err := <-act.err; err == nil {
				t.Error("the act was answered")
			}
			if code := m.wait(t); code != test.code {
				t.Errorf("it ended with code %d, want %d\n%s", code, test.code, m.output)
			}
			w.members[0] = nil
			var operation string
			if err := w.db.QueryRow(t.Context(), `SELECT operation_id::text FROM audit.open_operations WHERE target_id = $1`, act.cluster).Scan(&operation); err != nil {
				t.Fatalf("the operation is not open: %v", err)
			}
			if told := linesWith(m.output.String(), "cut off"); strings.Contains(told, `"operations":["`+operation+`"]`) != test.tells {
				t.Errorf("it logged:\n%s", m.output)
			}
			for i := range w.members {
				w.launch(t, i, "QM_AUDIT_UNKNOWN_AFTER", "1s")
			}
			w.ready(t)
			w.waitFor(t, "one of them has concluded", `SELECT NOT EXISTS (SELECT FROM audit.open_operations WHERE operation_id::text = $1)`, operation)
			if n := w.events(t, `operation_id::text = $1 AND phase = 'outcome' AND inferred`, operation); n != 1 {
				t.Errorf("%d outcomes were inferred", n)
			}
			if n := w.events(t, `operation_id::text = $1`, operation); n != 2 {
				t.Errorf("%d events tell of the act, want its attempt and its outcome", n)
			}
		})
	}
}

// refreshTakenOver has the Cloud API not answer a listing while its console is stopped or killed.
func (w *squadron) refreshTakenOver(t *testing.T) {
	g := w.accounts[staging]
	hang := func(t *testing.T) int {
		t.Helper()
		w.stopAll(t)
		w.start(t, 0)
		w.control(t, http.MethodPost, "faults", map[string]any{"account": g.cloud, "operation": "ListClusters", "kind": "hang", "times": 1})
		waitUntil(t, "its listing hangs", func() bool {
			return strings.Contains(string(w.control(t, http.MethodGet, "faults", nil)), `"faults":[]`)
		})
		return w.listings(t, g.cloud)
	}
	okAfter := func(t *testing.T, what string, moment time.Time) {
		t.Helper()
		w.waitFor(t, what, `SELECT coalesce(ok_at > $2, false) FROM refresh WHERE kind = 'clusters' AND account_id::text = $1`, g.id, moment)
	}
	now := func(t *testing.T) (at time.Time) {
		t.Helper()
		if err := w.db.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	t.Run("stopped", func(t *testing.T) {
		hang(t)
		w.start(t, 1)
		w.stop(t, 0)
		okAfter(t, "the other one refreshes the account, although the lease was for a minute", now(t)) // and this waits for less
	})
	t.Run("killed", func(t *testing.T) {
		listed := hang(t)
		w.start(t, 1)
		w.start(t, 2)
		w.killed(0)
		// What else it was reading at that moment would be the dead one's for a minute, too.
		if _, err := w.db.Exec(t.Context(), `UPDATE refresh SET lease_until = clock_timestamp() WHERE account_id::text <> $1`, g.id); err != nil {
			t.Fatal(err)
		}
		// Others are refreshed; this one belongs to the dead for a minute.
		since := now(t)
		w.waitFor(t, "the other accounts are refreshed twice", `SELECT bool_and(ok_at > $2) FROM refresh WHERE kind = 'clusters' AND account_id::text = ANY($1)`,
			[]string{w.accounts[production].id, w.accounts[legacy].id}, since.Add(time.Second))
		if n := w.listings(t, g.cloud); n != listed {
			t.Errorf("the account was listed %d times while the lease was held", n-listed)
		}
		if _, err := w.db.Exec(t.Context(), `UPDATE refresh SET lease_until = clock_timestamp() WHERE account_id::text = $1`, g.id); err != nil { // the minute is over
			t.Fatal(err)
		}
		okAfter(t, "another one takes over", now(t))
	})
}
