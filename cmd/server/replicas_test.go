package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quartermaster/internal/devenv"
)

// squadron is several `quartermaster serve` over one database, one identity provider and one Cloud
// API, found under one address: each is a process of its own, so that signals are real.
type squadron struct {
	*served
	*stage
	path     string // of the program
	settings []string
	addrs    [3]string
	members  [3]*member // nil while not running
	direct   *http.Transport
	cert     string
	key      string
}

// member is one of them.
type member struct {
	addr   string
	cmd    *exec.Cmd
	output *lockedBuffer
	ended  chan int
}

// openSquadron makes the world and starts three at the same time on a database that none has seen.
func openSquadron(t *testing.T) *squadron {
	t.Helper()
	addr := freeAddress(t)
	w := &squadron{served: prepareServeAs(t, addr, "https://"+addr, 40), path: binary(t)}
	w.cert, w.key = selfSigned(t)
	w.direct = &http.Transport{TLSClientConfig: trusting(t, w.cert), MaxIdleConnsPerHost: 100}
	t.Cleanup(w.direct.CloseIdleConnections)
	if got := runProgram(t, w.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	w.stage = w.asStage(t, w.env["QM_DATABASE_URL"])
	w.settings = []string{
		"QM_OPERATOR_GROUPS", devenv.OperatorGroup, "QM_AUDITOR_GROUPS", devenv.AuditorGroup, "QM_VIEWER_GROUPS", devenv.ViewerGroup,
		"QM_TRUSTED_PROXIES", "127.0.0.1", "QM_POLL_MIN", "500ms", "QM_POLL_MAX", "500ms", "QM_UPSTREAM_RPS", "500",
	}
	for i := range w.addrs {
		w.addrs[i] = freeAddress(t)
		w.launch(t, i)
	}
	w.ready(t)
	w.registerAccounts(t)
	return w
}

// launch starts one; more are variables besides those that all have, by name and value.
func (w *squadron) launch(t *testing.T, i int, more ...string) {
	t.Helper()
	m := &member{addr: w.addrs[i], output: &lockedBuffer{}, cmd: exec.Command(w.path, "serve")}
	m.cmd.Env = w.with([]string{"QM_MIGRATE_DATABASE_URL"}, append(append([]string{"QM_ADDR", m.addr}, w.settings...), more...)...)
	m.cmd.Stdout, m.cmd.Stderr = m.output, m.output
	m.ended = started(t, m.cmd)
	w.t.Cleanup(func() { m.kill() })
	w.members[i] = m
}

// start is launch that returns when it is ready.
func (w *squadron) start(t *testing.T, i int, more ...string) {
	t.Helper()
	w.launch(t, i, more...)
	w.members[i].ready(t)
}

// ready waits for all that run.
func (w *squadron) ready(t *testing.T) {
	t.Helper()
	for _, m := range w.members {
		if m != nil {
			m.ready(t)
		}
	}
}

// stop ends one as whoever replaces it does, and expects it to end well. It returns what it logged.
func (w *squadron) stop(t *testing.T, i int) string {
	t.Helper()
	m := w.members[i]
	m.signal(t, syscall.SIGTERM)
	if code := m.wait(t); code != exitOK {
		t.Errorf("console %d ended with code %d\n%s", i, code, m.output)
	}
	w.members[i] = nil
	return m.output.String()
}

// killed ends one as a power failure would.
func (w *squadron) killed(i int) {
	w.members[i].kill()
	w.members[i] = nil
}

// stopAll ends those that run. Of the leases that one held which was killed before, the minute is over.
func (w *squadron) stopAll(t *testing.T) {
	t.Helper()
	for i := range w.members {
		if w.members[i] != nil {
			w.stop(t, i)
		}
	}
	if _, err := w.db.Exec(t.Context(), `UPDATE refresh SET lease_until = clock_timestamp() WHERE lease_until > clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
}

func (m *member) ready(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(startTime)
	for m.probe("/readyz") != http.StatusOK {
		select {
		case code := <-m.ended:
			m.ended <- code
			t.Fatalf("serve ended with code %d\n%s", code, m.output)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("serve is not ready after %s\n%s", startTime, m.output)
		}
	}
}

// probe asks over a connection of its own, as health checks do. 0 is no answer.
func (m *member) probe(path string) int {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + m.addr + path)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func (m *member) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Fatalf("sending %s: %v", s, err)
	}
}

// wait returns the exit code, -1 when a signal ended the process.
func (m *member) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-m.ended:
		m.ended <- code
		return code
	case <-time.After(stopTime):
		t.Fatalf("serve did not stop in %s\n%s", stopTime, m.output)
		return 0
	}
}

func (m *member) kill() {
	_ = m.cmd.Process.Kill() // it may have ended
	code := <-m.ended
	m.ended <- code
}

// inTurn sends what is for the console to one console after the other, whatever they are behind.
type inTurn struct {
	w     *squadron
	order []int
	n     atomic.Int64
}

func (d *inTurn) RoundTrip(r *http.Request) (*http.Response, error) {
	host := mustURL(d.w.base).Host
	if r.URL.Host != host {
		return d.w.direct.RoundTrip(r)
	}
	i := d.order[int(d.n.Add(1)-1)%len(d.order)]
	sent := r.Clone(r.Context())
	sent.URL.Scheme, sent.URL.Host, sent.Host = "http", d.w.addrs[i], host
	answer, err := d.w.direct.RoundTrip(sent)
	if answer != nil {
		answer.Request = r
	}
	return answer, err
}

// visitorOf is a browser whose requests go to these consoles in turn; without any, to the address
// that all share.
func (w *squadron) visitorOf(t *testing.T, order ...int) *visitor {
	t.Helper()
	if len(order) > 0 {
		return newVisitorOver(t, w.base, &inTurn{w: w, order: order})
	}
	return newVisitorOver(t, w.base, w.direct)
}

// at is the same browser with its requests going to other consoles.
func (w *squadron) at(v *visitor, order ...int) *visitor {
	client := *v.http
	client.Transport = &inTurn{w: w, order: order}
	return &visitor{t: v.t, base: v.base, http: &client}
}

func (w *squadron) signInAs(t *testing.T, member string, order ...int) *visitor {
	t.Helper()
	return w.visitorOf(t, order...).signIn(member)
}

// registerAccounts adds the accounts, with room for what tests make.
func (w *squadron) registerAccounts(t *testing.T) {
	t.Helper()
	w.register(t, w.signInAs(t, admin, 0, 1, 2), w.box)
	for _, g := range w.accounts {
		w.control(t, http.MethodPost, "account", map[string]any{"account": g.cloud, "quotas": map[string]any{"clusters": 500, "nodes": 20, "database_keys": 1000, "free_clusters": 10}})
	}
}

// proxy is HAProxy with the configuration that is shipped.
type proxy struct {
	socket string
	output *lockedBuffer
}

// openProxy starts it at the address that people use.
func (w *squadron) openProxy(t *testing.T) *proxy {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/haproxy")
	}
	if err != nil {
		t.Fatal("haproxy is not installed (make test installs it on Debian and Ubuntu)")
	}
	dir := dataFolder(t)
	p := &proxy{socket: filepath.Join(dir, "haproxy.sock"), output: &lockedBuffer{}}
	pair := filepath.Join(dir, "console.pem")
	var content []byte
	for _, path := range []string{w.cert, w.key} {
		part, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, part...)
	}
	// Besides what is shipped only a socket, by which the test hears what the proxy thinks.
	watched := filepath.Join(dir, "watched.cfg")
	for path, content := range map[string][]byte{pair: content, watched: []byte("global\n    stats socket " + p.socket + " mode 600\n    stats timeout 30s\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-db", "-f", "../../deploy/haproxy.cfg", "-f", watched)
	cmd.Env = []string{
		"HAPROXY_BIND=" + mustURL(w.base).Host, "HAPROXY_CERTIFICATE=" + pair, "HAPROXY_RETRIES=0", // it forgives nothing
		"CONSOLE_ONE=" + w.addrs[0], "CONSOLE_TWO=" + w.addrs[1], "CONSOLE_THREE=" + w.addrs[2],
	}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what went wrong is in its output
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	waitUntil(t, "the proxy answers", func() bool {
		conn, err := net.Dial("unix", p.socket)
		if err == nil {
			_ = conn.Close()
		}
		select {
		case <-ended:
			t.Fatalf("the proxy did not start:\n%s", p.output)
		default:
		}
		return err == nil
	})
	return p
}

// consoles tells what the proxy thinks of each: UP or DOWN, and how many requests it got.
func (p *proxy) consoles(t *testing.T) map[string]map[string]string {
	t.Helper()
	conn, err := net.Dial("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprint(conn, "show stat\n"); err != nil {
		t.Fatal(err)
	}
	told, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(told, []byte("# ")))).ReadAll()
	if err != nil {
		t.Fatalf("what the proxy tells cannot be read: %v\n%s", err, told)
	}
	all := map[string]map[string]string{}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[name] = line[i]
		}
		if row["pxname"] == "consoles" {
			all[row["svname"]] = row
		}
	}
	return all
}

// thinks waits until the proxy thinks so of a console.
func (p *proxy) thinks(t *testing.T, console, status string) {
	t.Helper()
	waitUntil(t, "the proxy takes "+console+" for "+status, func() bool { return p.consoles(t)[console]["status"] == status })
}
