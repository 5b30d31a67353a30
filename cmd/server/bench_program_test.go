package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quartermaster/internal/cloudapi/sandbox"
)

// What the fleet's page is measured with.
const (
	fleetClusters = 200
	fleetClients  = 8
)

// What a start, an idle console and a first visit may cost.
const (
	mostStart  = 1.0 // seconds
	mostMemory = 64 << 20
	mostBytes  = 100 << 10
)

// program measures the built program with `serve`: its start, its memory, the bytes of a first
// visit, and the page of the fleet under load.
func (b *bench) program(t *testing.T) {
	s := prepareServe(t)
	box, err := sandbox.New(sandbox.Config{Seed: 7, Accounts: 4, Clusters: fleetClusters})
	if err != nil {
		t.Fatal(err)
	}
	upstream := listening(t, box.Handler())
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatalf("migrate up: exit code %d: %s", got.code, got.stderr)
	}
	// Snapshots are warm and stay as they are: reading upstream is not what is measured.
	env := s.with([]string{"QM_MIGRATE_DATABASE_URL"}, "QM_CLOUD_API_URL", upstream, "QM_CLOUD_PA_URL", upstream,
		"QM_UPSTREAM_RPS", "500", "QM_POLL_MIN", "10m", "QM_POLL_MAX", "10m")
	path := binary(t)

	console := launch(t, path, env)
	console.waitReady(t, s.base)
	v := newVisitor(t, s.base).signIn(admin)
	for _, f := range box.Fixtures() {
		added := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": f.ManagementKey, "environment": f.Environment})
		if added.bodyID() != "account-show" {
			t.Fatalf("adding %s: %d\n%s", f.Name, added.status, added.text())
		}
	}
	waitUntil(t, "all clusters are known", func() bool {
		return strings.Contains(v.get("/clusters").text(), strconv.Itoa(fleetClusters)+" clusters")
	})
	console.end(t)

	starts := make([]float64, max(3, b.rounds))
	for i := range starts {
		console = launch(t, path, env)
		starts[i] = console.waitReady(t, s.base).Seconds()
		if i < len(starts)-1 {
			console.end(t)
		}
	}
	b.absolute("start to ready, with a current schema", starts, mostStart, inMillis)
	b.absolute("first visit: page and assets, compressed", []float64{firstVisit(t, v)}, mostBytes, inKiB)
	b.absolute("memory of an idle console (RSS)", []float64{console.memory(t, b.round)}, mostMemory, inMiB)
	b.fleet(t, s, v)
	console.end(t)
}

// launched is the built program as a process of its own, its log in a file.
type launched struct {
	cmd     *exec.Cmd
	log     string
	started time.Time
	ended   bool
}

func launch(t *testing.T, path string, env []string, args ...string) *launched {
	t.Helper()
	if len(args) == 0 {
		args = []string{"serve"}
	}
	p := &launched{cmd: exec.Command(path, args...), log: filepath.Join(t.TempDir(), "log")}
	out, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, out
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(t) })
	return p
}

// waitReady waits until the program says that it is ready, and returns how long that took.
func (p *launched) waitReady(t *testing.T, base string) time.Duration {
	t.Helper()
	for {
		answer, err := http.Get(base + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return time.Since(p.started)
			}
		}
		if time.Since(p.started) > startTime {
			raw, _ := os.ReadFile(p.log)
			t.Fatalf("%s is not ready after %s\n%s", p.cmd, startTime, raw)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// end stops the program as a service manager does. It may be called twice.
func (p *launched) end(t *testing.T) {
	t.Helper()
	if p.ended {
		return
	}
	p.ended = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		raw, _ := os.ReadFile(p.log)
		t.Errorf("%s: %v\n%s", p.cmd, err, raw)
	}
}

// memory is the most that the program has in memory while nobody asks anything.
func (p *launched) memory(t *testing.T, long time.Duration) float64 {
	t.Helper()
	most := 0.0
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
		if err != nil {
			t.Fatalf("asking ps for the memory of a process: %v", err)
		}
		kib, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, kib*1024)
		if time.Since(start) >= long {
			return most
		}
	}
}

// firstVisit returns how many bytes the page of the fleet and all it loads have on the wire, for a
// browser that has none of it yet. Headers are not counted.
func firstVisit(t *testing.T, v *visitor) float64 {
	t.Helper()
	wire := func(path string) (int, http.Header) {
		request, err := http.NewRequest(http.MethodGet, v.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd") // set here, so that nothing is unpacked on the way
		answer, err := v.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		n, err := io.Copy(io.Discard, answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, answer.StatusCode, err)
		}
		return int(n), answer.Header
	}
	page := v.get("/clusters")
	if rows := len(page.byTestID("cluster-row")); rows != 100 {
		t.Fatalf("the first page has %d rows", rows)
	}
	total, _ := wire("/clusters")
	assets := 0
	for _, kind := range [][2]string{{"link", "href"}, {"script", "src"}, {"img", "src"}} {
		for _, e := range elements(page.root, kind[0]) {
			address := attributeOf(e, kind[1])
			if address == "" {
				continue
			}
			n, header := wire(address)
			if n > 1<<10 && header.Get("Content-Encoding") == "" {
				t.Errorf("%s is not compressed", address)
			}
			total += n
			assets++
		}
	}
	if assets < 4 {
		t.Errorf("the page loads %d assets: style sheet, two scripts and icon were expected", assets)
	}
	return float64(total)
}

// fleet measures the page of the fleet, as a signed-in member gets it, against the floor: net/http,
// one SELECT of the rows that the page shows, a buffer written by hand, the same bytes.
func (b *bench) fleet(t *testing.T, s *served, v *visitor) {
	request, err := http.NewRequest(http.MethodGet, v.base+"/clusters", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.http.Jar.Cookies(request.URL) {
		request.AddCookie(c)
	}
	floor := startFloor(t, s.env["QM_DATABASE_URL"], v.get("/clusters").body)
	for _, plain := range []bool{true, false} {
		words := "not compressed"
		request.Header.Set("Accept-Encoding", "identity")
		if !plain {
			words = "compressed"
			request.Header.Set("Accept-Encoding", "gzip")
		}
		ours, theirs := newLoad(request), newLoad(request)
		theirs.address = floor
		var slowest []pair
		fastest := b.pairs(
			func() float64 {
				r := ours.run(t, b.round/2)
				slowest = append(slowest, pair{ours: r.p99})
				return r.rate
			},
			func() float64 {
				r := theirs.run(t, b.round/2)
				slowest[len(slowest)-1].floor = r.p99
				return r.rate
			})
		if a, b := float64(ours.bytes), float64(theirs.bytes); plain && (a > b*1.02 || b > a*1.02) {
			t.Errorf("the console answers %.0f bytes and the floor %.0f: that is no floor", a, b)
		}
		holds, limit := atLeast(0.35)
		b.ratio("R1 fleet page, requests a second, "+words, fastest, holds, limit, perSecond)
		holds, limit = atMost(3)
		b.ratio("R1 fleet page, 99th percentile, "+words, slowest[1:], holds, limit, inMillis)
	}
}

// load sends one request again and again, over connections that are kept.
type load struct {
	address string
	request []byte
	parsed  *http.Request
	bytes   int64 // of an answer's body
}

func newLoad(r *http.Request) *load {
	var raw bytes.Buffer
	if err := r.Write(&raw); err != nil {
		panic(err) // into memory
	}
	return &load{address: r.URL.Host, request: raw.Bytes(), parsed: r}
}

type loadResult struct{ rate, p99 float64 }

// run loads the address for a while, with a client for each connection. Clients are raw connections
// because a whole HTTP client costs more than the floor does.
func (l *load) run(t *testing.T, long time.Duration) loadResult {
	t.Helper()
	took := make([][]float64, fleetClients)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range took {
		wg.Go(func() {
			conn, err := net.Dial("tcp", l.address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 64<<10)
			for time.Since(start) < long {
				sent := time.Now()
				n, err := l.once(conn, in)
				if err != nil {
					t.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(sent).Seconds())
				if i == 0 {
					l.bytes = n
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start).Seconds()
	all := slices.Concat(took...)
	if t.Failed() || len(all) == 0 {
		t.FailNow()
	}
	slices.Sort(all)
	return loadResult{rate: float64(len(all)) / elapsed, p99: all[len(all)*99/100]}
}

func (l *load) once(conn net.Conn, in *bufio.Reader) (int64, error) {
	if _, err := conn.Write(l.request); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(in, l.parsed)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d", l.address, answer.StatusCode)
	}
	return n, err
}
