package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// shortSoak is how long the soak in the ordinary tests takes; SOAK=10m makes a long one.
	shortSoak = 20 * time.Second
	// soakShare is of how many calls one meets a fault.
	soakShare = 0.15
	// soakKills is how often a console is killed.
	soakKills = 5 * time.Second
	// soakEach is how many clusters people work on, and as many are changed by somebody else.
	soakEach = 3
)

// soak is three consoles that live through faults of every kind at random. Two of them are killed and started again
// in turn; the third one is watched for what it keeps.
type soak struct {
	*squadron
	random  *rand.Rand
	metrics string // address of the third console's metrics
	from    int64  // the log's last event when it began

	kept    []footprint // by the third console, at moments of the soak
	own     []soaked    // changed by people through the consoles, and by nobody else
	outside []soaked    // changed by somebody else, and by nobody here
	unwell  soaked      // moves between phases, and nothing else of it changes
	phase   string      // of unwell
	keys    []soakedKey // database keys that somebody else made
	backups []string    // ids of backups that somebody else made
	sent    atomic.Int64
	short   bool // nobody waits for the leases of dead consoles
}

// soakedKey is a database key that somebody else made, and may have deleted.
type soakedKey struct {
	cluster, id, name string
	deleted           bool
}

// soaked is a cluster of it.
type soaked struct{ path, id, name string }

// TestSoak has every fault of the sandbox happen at random, by a seed, while people look and act, somebody else changes
// clusters, and consoles are killed and started. In the end nothing may have been lost or doubled: each act has
// its attempt and its outcome, and was sent once; each change made outside, of clusters and of their database keys, is told once, and none
// is invented; every account is well again by itself in everything that is read of it, and what is known of keys, alerts and
// backups is what there is; and the console that ran all the time keeps no more and no more. The first third of the soak fills
// caches and pools; then what it keeps is flat: the least of the last third is no more than the least of the second one, in
// memory that was alive after a collection of garbage, in resident memory and in goroutines; see flat. SOAK is how long it goes on, SOAK_SEED makes the same
// faults again.
func TestSoak(t *testing.T) {
	long, seed := shortSoak, uint64(time.Now().UnixNano()%1_000_000)
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK is how long it takes, such as 10m: %v", err)
		}
	}
	if text := os.Getenv("SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SOAK_SEED is a number: %v", err)
		}
	}
	t.Logf("SOAK=%s SOAK_SEED=%d", long, seed)
	s := openSoak(t, seed)
	s.short = long < 2*time.Minute
	s.control(t, http.MethodPost, "random", map[string]any{"seed": seed, "share": soakShare, "latency_ms": 300})
	people := newCrowd(t)
	s.look(t, people)
	s.act(t, people)
	people.works(func(int) {
		now, err := s.keeps()
		if err != nil {
			people.fails("%v", err)
			return
		}
		s.kept = append(s.kept, now)
		time.Sleep(keepsEvery)
	})
	kills := s.disturb(t, long)
	people.end(t)
	s.control(t, http.MethodDelete, "faults", nil)
	s.recovers(t)
	s.nothingIsLost(t)
	s.outsideIsToldOnce(t)
	s.keysAreToldOnce(t)
	t.Logf("%d kills; %d calls at the sandbox", kills, sum(s.calls(t)))
	for _, wrong := range flat(s.kept) {
		t.Error(wrong)
	}
	if len(s.kept) < fewSamples {
		return
	}
	busy, quiet := thirds(s.kept), s.quiet(t)
	for i, third := range busy {
		t.Logf("third %d keeps %s", i+1, third)
	}
	t.Logf("afterwards it keeps %s", quiet)
	if quiet.goroutines > busy[1].goroutines+20 {
		t.Errorf("%d goroutines afterwards, at the least %d while people worked", quiet.goroutines, busy[1].goroutines)
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func openSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{squadron: openSquadron(t), random: rand.New(rand.NewPCG(seed, 2)), metrics: freeAddress(t)}
	// Patience as short as the soak.
	s.settings = append(s.settings, "QM_UPSTREAM_READ_TIMEOUT", "1s", "QM_UPSTREAM_WRITE_TIMEOUT", "1s", "QM_UPSTREAM_REST", "500ms", "QM_AUDIT_UNKNOWN_AFTER", "3s", "QM_POLL_MAX", "1s")
	for i := range soakEach {
		path, id := s.newCluster(t, production, fmt.Sprintf("soak-own-%d", i))
		s.own = append(s.own, soaked{path, id, fmt.Sprintf("soak-own-%d", i)})
		path, id = s.newCluster(t, production, fmt.Sprintf("soak-outside-%d", i))
		s.outside = append(s.outside, soaked{path, id, fmt.Sprintf("soak-outside-%d", i)})
	}
	s.unwell.path, s.unwell.id = s.newCluster(t, production, "soak-unwell")
	s.phase = "HEALTHY"
	s.control(t, http.MethodPost, "account", map[string]any{"account": s.accounts[production].cloud, "quotas": map[string]any{"database_keys": 100}})
	s.stopAll(t)
	for i := range s.members {
		more := []string{}
		if i == 2 {
			more = []string{"QM_METRICS_ADDR", s.metrics, "GOGC", strconv.Itoa(soakGC)} // collects often, so that what is alive is told often
		}
		s.launch(t, i, more...)
	}
	s.ready(t)
	s.waitFor(t, "every change so far is told", `SELECT NOT EXISTS (SELECT FROM clusters WHERE base IS NOT NULL)`)
	s.waitFor(t, "everything was read once", `SELECT bool_and(ok_at IS NOT NULL) FROM refresh`)
	if err := s.db.QueryRow(t.Context(), `SELECT seq FROM audit.head`).Scan(&s.from); err != nil {
		t.Fatal(err)
	}
	return s
}

// look has people look at pages of the console that is never killed: whatever upstream does, they are answered.
func (s *soak) look(t *testing.T, people *crowd) {
	for i := range 4 {
		v := s.signInAs(t, viewer, 2)
		targets := []string{"/clusters", s.own[i%soakEach].path, "/accounts", s.outside[i%soakEach].path, "/clusters?q=soak"}
		people.works(func(n int) {
			target := targets[n%len(targets)]
			if got := people.asks(v, http.MethodGet, target, nil); got.status != http.StatusOK && got.status != 0 {
				people.fails("%s is answered with %d", target, got.status)
			}
		})
	}
}

// act has people restart clusters through those consoles that are killed, which may leave them without an answer, and change
// labels through the third.
func (s *soak) act(t *testing.T, people *crowd) {
	for i := range 2 {
		v := s.signInAs(t, operator, 2)
		at := s.at(v, i)
		people.works(func(n int) {
			request, err := at.request(http.MethodPost, s.own[n%soakEach].path+"/restart", url.Values{})
			if err != nil {
				people.fails("%v", err)
				return
			}
			request.GetBody = nil // a browser sends no form again
			s.sent.Add(1)
			_, _ = at.send(request) // the console may be dead, or upstream: the log tells
			time.Sleep(200 * time.Millisecond)
		})
	}
	v := s.signInAs(t, operator, 2)
	people.works(func(n int) {
		c := s.own[n%soakEach]
		form := people.asks(v, http.MethodGet, c.path+"/update", nil)
		if form.status != http.StatusOK || form.bodyID() != "cluster-update" {
			return // upstream does not tell what there is to choose from
		}
		review := v.submit(form, c.path+"/update/review", map[string]string{"labels": fmt.Sprintf("round=r%d", n)})
		if review.status != http.StatusOK || review.bodyID() != "cluster-update-review" {
			return
		}
		s.sent.Add(1)
		v.submit(review, c.path+"/update", nil)
		time.Sleep(300 * time.Millisecond)
	})
}

// disturb has somebody else change clusters, and kills consoles and starts them again, for so long. It returns how many it killed.
func (s *soak) disturb(t *testing.T, long time.Duration) (kills int) {
	t.Helper()
	began, kill, running := time.Now(), time.Now().Add(soakKills/2), true
	for n := 0; time.Since(began) < long; n++ {
		c := &s.outside[s.random.IntN(soakEach)]
		change := map[string]any{"account": s.accounts[production].cloud, "cluster": c.id}
		if s.random.IntN(2) == 0 {
			change["act"], change["labels"] = "labels", map[string]string{"by": fmt.Sprintf("others-%d", n)}
		} else {
			c.name = fmt.Sprintf("soak-outside-%d", n)
			change["act"], change["name"] = "rename", c.name
		}
		s.control(t, http.MethodPost, "outside", change)
		switch n % 4 {
		case 0:
			s.changeKeys(t, n, *c)
		case 2:
			s.changeBeside(t, n, *c)
		}
		time.Sleep(time.Duration(200+s.random.IntN(400)) * time.Millisecond)
		if time.Now().Before(kill) {
			continue
		}
		i := kills % 2
		if running {
			s.killed(i)
			kills++
			kill, running = time.Now().Add(soakKills/3), false
			continue
		}
		i = (kills - 1) % 2
		s.launch(t, i)
		kill, running = time.Now().Add(soakKills*2/3), true
	}
	for i := range s.members {
		if s.members[i] == nil {
			s.launch(t, i)
		}
	}
	s.ready(t)
	return kills
}

const (
	// soakKeys is how many database keys of somebody else's there are at most at a time, and soakBackups how many backups they make.
	soakKeys    = 6
	soakBackups = 9
)

// changeKeys has somebody else make a database key, or delete one that was made before.
func (s *soak) changeKeys(t *testing.T, n int, c soaked) {
	t.Helper()
	living := []*soakedKey{}
	for i := range s.keys {
		if !s.keys[i].deleted {
			living = append(living, &s.keys[i])
		}
	}
	change := map[string]any{"account": s.accounts[production].cloud}
	if len(living) == soakKeys || len(living) > 2 && s.random.IntN(2) == 0 {
		k := living[s.random.IntN(len(living))]
		change["act"], change["cluster"], change["key"] = "delete_key", k.cluster, k.id
		s.control(t, http.MethodPost, "outside", change)
		k.deleted = true
		return
	}
	name := fmt.Sprintf("soak-key-%d", n)
	change["act"], change["cluster"], change["name"] = "create_key", c.id, name
	var made struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(s.control(t, http.MethodPost, "outside", change), &made); err != nil {
		t.Fatal(err)
	}
	s.keys = append(s.keys, soakedKey{cluster: c.id, id: made.Key, name: name})
}

// changeBeside has somebody else make a backup, and a cluster fall ill or become well again.
func (s *soak) changeBeside(t *testing.T, n int, c soaked) {
	t.Helper()
	if s.phase = "NOT_READY"; s.random.IntN(2) == 0 {
		s.phase = "HEALTHY"
	}
	s.control(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": s.accounts[production].cloud, "cluster": s.unwell.id, "phase": s.phase})
	if len(s.backups) == soakBackups {
		return
	}
	var made struct {
		Backup string `json:"backup"`
	}
	if err := json.Unmarshal(s.control(t, http.MethodPost, "outside", map[string]any{
		"act": "create_backup", "account": s.accounts[production].cloud, "cluster": c.id, "name": fmt.Sprintf("soak-backup-%d", n),
	}), &made); err != nil {
		t.Fatal(err)
	}
	s.backups = append(s.backups, made.Backup)
}

// recovers waits until every account is well in everything that is read of it, all acts have ended, what was read is judged, and
// what there is upstream is known; nobody helps, but for the minute that leases of dead consoles are held, which a short
// soak does not wait for.
func (s *soak) recovers(t *testing.T) {
	t.Helper()
	if s.short {
		if _, err := s.db.Exec(t.Context(), `UPDATE refresh SET lease_until = clock_timestamp() WHERE lease_until > clock_timestamp() + interval '45 seconds'`); err != nil {
			t.Fatal(err)
		}
	}
	var since time.Time
	if err := s.db.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&since); err != nil {
		t.Fatal(err)
	}
	waitWithin(t, 3*time.Minute, "every account is well by itself", func() bool {
		var well bool
		err := s.db.QueryRow(t.Context(), `SELECT bool_and(ok_at > $1 AND failures = 0 AND error = '') FROM refresh`, since).Scan(&well)
		return err == nil && well
	})
	waitWithin(t, 2*time.Minute, "all acts have ended, and all changes are judged", func() bool {
		var ended bool
		err := s.db.QueryRow(t.Context(), `SELECT NOT EXISTS (SELECT FROM audit.open_operations) AND NOT EXISTS (SELECT FROM clusters WHERE base IS NOT NULL)`).Scan(&ended)
		return err == nil && ended
	})
	for _, c := range s.outside {
		s.waitFor(t, "the console knows what "+c.name+" is called", `SELECT EXISTS (SELECT FROM clusters WHERE cluster_id = $1 AND name = $2)`, c.id, c.name)
	}
	names := []string{}
	for _, k := range s.keys {
		if !k.deleted {
			names = append(names, k.name)
		}
	}
	slices.Sort(names)
	s.waitFor(t, "the console knows the keys", `SELECT coalesce(array_agg(name ORDER BY name COLLATE "C"), '{}') = $1 FROM database_keys WHERE name LIKE 'soak-key-%'`, names)
	s.waitFor(t, "the console knows the backups", `SELECT count(*) = cardinality($1::text[]) FROM backups WHERE backup_id = ANY($1)`, s.backups)
	firing := 0
	if s.phase == "NOT_READY" {
		firing = 1
	}
	s.waitFor(t, "the console knows which alerts fire", `SELECT count(*) = $2 FROM cluster_alerts WHERE cluster_id = $1 AND state = 'FIRING'`, s.unwell.id, firing)
}

// nothingIsLost: each act has one attempt and one outcome, or one more where the first was inferred; upstream was asked
// once for each at the most; and the log is whole.
func (s *soak) nothingIsLost(t *testing.T) {
	t.Helper()
	rows, err := s.db.Query(t.Context(), `
		SELECT operation_id::text, count(*) FILTER (WHERE phase = 'attempt'), count(*) FILTER (WHERE phase = 'outcome' AND NOT inferred),
			count(*) FILTER (WHERE phase = 'outcome' AND inferred)
		FROM audit.events WHERE seq > $1 AND act IN ('cluster.restart', 'cluster.update') AND phase IN ('attempt', 'outcome') GROUP BY 1`, s.from)
	if err != nil {
		t.Fatal(err)
	}
	var operation string
	var attempts, told, inferred, all int
	if _, err := pgx.ForEachRow(rows, []any{&operation, &attempts, &told, &inferred}, func() error {
		all++
		if attempts != 1 || told > 1 || inferred > 1 || told+inferred == 0 {
			t.Errorf("operation %s has %d attempts, %d outcomes that were told and %d that were inferred", operation, attempts, told, inferred)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	calls := s.calls(t)
	asked := calls["RestartCluster"] + calls["UpdateCluster"]
	t.Logf("%d acts were sent by people, %d are in the log, upstream was asked %d times", s.sent.Load(), all, asked)
	if all == 0 || int64(all) > s.sent.Load() {
		t.Errorf("%d acts are in the log, %d were sent", all, s.sent.Load())
	}
	if asked > all {
		t.Errorf("upstream was asked %d times to change something, and there are %d attempts", asked, all)
	}
	verify := exec.Command(s.path, "audit", "verify")
	verify.Env = s.with(nil)
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "whole and unchanged") {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// outsideIsToldOnce: what is told of a cluster that somebody else changed leads from what it was, step by step, to what it is; of
// one that was changed here nothing is told.
func (s *soak) outsideIsToldOnce(t *testing.T) {
	t.Helper()
	for _, c := range s.own {
		if n := s.events(t, `seq > $1 AND act = 'cluster.changed_outside' AND target_id = $2`, s.from, c.id); n != 0 {
			t.Errorf("%d changes made outside were invented of %s", n, c.name)
		}
	}
	known := []string{}
	for i, c := range s.outside {
		known = append(known, c.id)
		rows, err := s.db.Query(t.Context(), `
			SELECT convert_from(body, 'UTF8')::jsonb->'change' FROM audit.events WHERE seq > $1 AND act = 'cluster.changed_outside' AND target_id = $2 ORDER BY seq`, s.from, c.id)
		if err != nil {
			t.Fatal(err)
		}
		is := map[string]string{"name": fmt.Sprintf("soak-outside-%d", i)}
		told := 0
		var raw []byte
		if _, err := pgx.ForEachRow(rows, []any{&raw}, func() error {
			told++
			var change map[string][2]json.RawMessage
			if err := json.Unmarshal(raw, &change); err != nil {
				return err
			}
			for field, sides := range change {
				var before, after string
				if json.Unmarshal(sides[0], &before) != nil {
					before = string(sides[0])
				}
				if json.Unmarshal(sides[1], &after) != nil {
					after = string(sides[1])
				}
				if was, known := is[field]; known && was != before || before == after {
					t.Errorf("%s of %s: told from %q to %q, and it was %q", field, c.id, before, after, was)
				}
				is[field] = after
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if is["name"] != c.name {
			t.Errorf("the last name that was told of %s is %q, and it is called %q", c.id, is["name"], c.name)
		}
		if told == 0 {
			t.Errorf("nothing was told of %s", c.name)
		}
	}
	if n := s.events(t, `seq > $1 AND act = 'cluster.changed_outside' AND target_id <> ALL($2)`, s.from, known); n != 0 {
		t.Errorf("%d changes were told of clusters that nobody changed", n)
	}
}

// toldKey finds the name of a key in what an event tells of keys.
var toldKey = regexp.MustCompile(`soak-key-\d+`)

// keysAreToldOnce: of a key that somebody else made and that is there in the end it is told once that it was made; of one that was
// deleted both is told once, or neither where nobody saw it; and nothing is told of any other key.
func (s *soak) keysAreToldOnce(t *testing.T) {
	t.Helper()
	made, deleted := map[string]int{}, map[string]int{}
	clusters := map[string]string{} // by key
	for _, k := range s.keys {
		clusters[k.name] = k.cluster
	}
	rows, err := s.db.Query(t.Context(), `
		SELECT target_id, convert_from(body, 'UTF8')::jsonb->'change' FROM audit.events WHERE seq > $1 AND act = 'cluster.keys_changed_outside' ORDER BY seq`, s.from)
	if err != nil {
		t.Fatal(err)
	}
	var target string
	var raw []byte
	if _, err := pgx.ForEachRow(rows, []any{&target, &raw}, func() error {
		var change map[string][2]json.RawMessage
		if err := json.Unmarshal(raw, &change); err != nil {
			return err
		}
		told := 0
		for field, of := range map[string]map[string]int{"keys_made": made, "keys_deleted": deleted} {
			for _, side := range change[field] {
				for _, name := range toldKey.FindAllString(string(side), -1) {
					told++
					of[name]++
					if clusters[name] != target {
						t.Errorf("a key is told of cluster %s that is none of it: %s", target, raw)
					}
				}
			}
		}
		if told == 0 {
			t.Errorf("a change of keys that nobody made is told of %s: %s", target, raw)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, k := range s.keys {
		n, gone := made[k.name], deleted[k.name]
		seen += n
		if want := fmt.Sprintf("%d times made, %d times deleted", n, gone); k.deleted && (n != gone || n > 1) || !k.deleted && (n != 1 || gone != 0) {
			t.Errorf("%s, which was deleted in the end: %t, is told as %s", k.name, k.deleted, want)
		}
	}
	t.Logf("%d keys were made by somebody else, %d were seen", len(s.keys), seen)
	if len(s.keys) == 0 {
		t.Error("no key was made")
	}
}

// footprint is what a process keeps: memory that was alive after the last collection of garbage, resident memory, goroutines.
type footprint struct{ live, resident, goroutines int }

func (f footprint) String() string {
	return fmt.Sprintf("%.2f MiB alive, %.1f MiB resident, %d goroutines", float64(f.live)/(1<<20), float64(f.resident)/(1<<20), f.goroutines)
}

const (
	// keepsEvery is how often the third console is asked what it keeps.
	keepsEvery = 250 * time.Millisecond
	// soakGC is GOGC of the third console.
	soakGC = 100
	// fewSamples would prove nothing.
	fewSamples = 30
)

// least is the least of each: what is under way at a moment is not kept.
func least(all []footprint) footprint {
	l := all[0]
	for _, f := range all {
		l = footprint{min(l.live, f.live), min(l.resident, f.resident), min(l.goroutines, f.goroutines)}
	}
	return l
}

// thirds returns the least that was kept in each third of a soak that has samples enough.
func thirds(all []footprint) (out [3]footprint) {
	for i := range out {
		out[i] = least(all[i*len(all)/3 : (i+1)*len(all)/3])
	}
	return out
}

// flat returns what grew from the second third to the last one, and is empty where nothing did. In ten minutes it sees a leak of less than
// 10 KiB a second, and of one goroutine in twenty seconds. Resident memory is what the system has given and takes back late, so
// that is only a coarse check.
func flat(all []footprint) (grew []string) {
	if len(all) < fewSamples {
		return []string{fmt.Sprintf("%d samples prove nothing", len(all))}
	}
	third := thirds(all)
	for _, of := range []struct {
		what               string
		was, is, allowance int
	}{
		{"bytes alive after collection", third[1].live, third[2].live, third[1].live/25 + 1<<20},
		{"bytes of resident memory", third[1].resident, third[2].resident, third[1].resident/10 + 8<<20},
		{"goroutines", third[1].goroutines, third[2].goroutines, 8},
	} {
		if of.is > of.was+of.allowance {
			grew = append(grew, fmt.Sprintf("%d %s in the second third, %d in the last one", of.was, of.what, of.is))
		}
	}
	return grew
}

// TestSoakSeesLeaks: noise is no growth, and a slow leak is.
func TestSoakSeesLeaks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	run := func(live, resident, goroutines float64) []string { // what leaks in a second
		var all []footprint
		for second := range 600 {
			warm := min(1, float64(second)/100)
			all = append(all, footprint{
				int((5+3*warm+3*random.Float64())*(1<<20) + live*float64(second)), int((60+20*warm+30*random.Float64())*(1<<20) + resident*float64(second)),
				int(40+10*warm+20*random.Float64()) + int(goroutines*float64(second)),
			})
		}
		return flat(all)
	}
	if grew := run(0, 0, 0); len(grew) != 0 {
		t.Errorf("noise: %q", grew)
	}
	for what, grew := range map[string][]string{"bytes alive": run(10<<10, 0, 0), "bytes of resident": run(0, 150<<10, 0), "goroutines": run(0, 0, 0.05)} {
		if len(grew) != 1 || !strings.Contains(grew[0], what) {
			t.Errorf("a leak of %s: %q", what, grew)
		}
	}
	if grew := flat(make([]footprint, fewSamples-1)); len(grew) != 1 {
		t.Error("too few samples are taken for a proof")
	}
}

var (
	goroutinesLine = regexp.MustCompile(`(?m)^go_goroutines (\S+)$`)
	residentLine   = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)
	nextLine       = regexp.MustCompile(`(?m)^go_memstats_next_gc_bytes (\S+)$`)
)

// keeps asks the third console what it keeps.
func (s *soak) keeps() (now footprint, err error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		return now, err
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return now, err
	}
	for line, into := range map[*regexp.Regexp]*int{goroutinesLine: &now.goroutines, residentLine: &now.resident, nextLine: &now.live} {
		found := line.FindSubmatch(body)
		if found == nil {
			return now, fmt.Errorf("no %s among the metrics", line)
		}
		v, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return now, err
		}
		*into = int(v)
	}
	now.live = now.live * 100 / (100 + soakGC) // the next collection is when the heap has grown by GOGC per cent of what was alive after the last one
	return now, nil
}

// quiet returns the least of some moments.
func (s *soak) quiet(t *testing.T) footprint {
	t.Helper()
	all := make([]footprint, 10)
	for i := range all {
		var err error
		if all[i], err = s.keeps(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return least(all)
}
