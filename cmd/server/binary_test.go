package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests in this file run the built program as a process of its own: TEST_BINARY, or one that
// is built here.

// binary returns the path of the program.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("TEST_BINARY"); path != "" {
		return path
	}
	path := filepath.Join(dataFolder(t), "quartermaster")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return path
}

// process is a running `quartermaster dev`.
type process struct {
	devProgram
	cmd *exec.Cmd
}

// startProcess runs dev from the binary. as names another account; nil is this one. more are
// variables such as QM_POLL_MIN=200ms.
func startProcess(t *testing.T, path, dir string, as *syscall.Credential, more ...string) *process {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, devFile)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	p := &process{devProgram: devProgram{t: t, dir: dir, output: &lockedBuffer{}}, cmd: exec.Command(path, "dev")}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, devEnvironment(dir, more...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	p.ended = started(t, p.cmd)
	p.cancel = func() { _ = p.cmd.Process.Signal(os.Interrupt) }
	t.Cleanup(p.kill)
	about, err := waitForDescription(dir, p.ended)
	if err != nil {
		t.Fatalf("dev did not start: %v\n%s", err, p.output)
	}
	p.about = about
	return p
}

// started starts a program and returns where its exit code will be: -1 when a signal ended it.
func started(t *testing.T, cmd *exec.Cmd) (ended chan int) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = make(chan int, 1)
	go func() {
		_ = cmd.Wait() // the code tells
		ended <- cmd.ProcessState.ExitCode()
	}()
	return ended
}

// kill ends the process the hard way when it still runs.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		code := <-p.ended
		p.ended <- code
	}
}

// nothingListens fails the test when something of a stopped dev still answers.
func nothingListens(t *testing.T, about devDescription) {
	t.Helper()
	for _, address := range []string{about.URL, about.MetricsURL, about.Issuer, about.SandboxURL, about.SandboxControlURL, about.DatabaseURL} {
		conn, err := net.DialTimeout("tcp", mustURL(address).Host, time.Second)
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s still answers after the stop", mustURL(address).Host)
		}
	}
}

func TestBinary(t *testing.T) {
	path := binary(t)
	t.Run("sign in, restart a cluster, verify the log", func(t *testing.T) { signInRestartVerify(t, path) })
	t.Run("a start after kill -9 takes over", func(t *testing.T) { takesOverAfterKill(t, path) })
	t.Run("nobody reads what it prints", func(t *testing.T) { outlivesItsReader(t, path) })
	t.Run("as an ordinary user", func(t *testing.T) { runsAsOrdinaryUser(t, path) })
}

// outlivesItsReader is `quartermaster dev | head -1`.
func outlivesItsReader(t *testing.T, path string) {
	dir := dataFolder(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "dev")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, devEnvironment(dir)...)
	cmd.Stdout, cmd.Stderr = write, write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{devProgram: devProgram{t: t, dir: dir, output: &lockedBuffer{}}, cmd: cmd}
	p.ended = started(t, cmd)
	t.Cleanup(p.kill)
	if err := errors.Join(write.Close(), read.Close()); err != nil {
		t.Fatal(err)
	}
	if p.about, err = waitForDescription(dir, p.ended); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-p.ended; code != exitOK {
		t.Errorf("it ended with %d", code)
	} else {
		p.ended <- code
	}
	nothingListens(t, p.about)
}

func signInRestartVerify(t *testing.T, path string) {
	p := startProcess(t, path, dataFolder(t), nil)
	v := p.signIn(t, "operator@example.test")
	row := restartable(t, v)
	cluster := "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]
	if done := v.post(cluster+"/restart", nil); done.status != http.StatusOK || done.url.Path != cluster {
		t.Fatalf("the restart ended at %s with %d:\n%.2000s", done.url, done.status, done.body)
	}
	if got := p.calls(t)["RestartCluster"]; got != 1 {
		t.Errorf("the Cloud API was asked %d times to restart", got)
	}

	found := false
	for _, event := range p.signIn(t, "auditor@example.test").get("/audit?act=cluster.restart").byTestID("audit-row") {
		found = found || (event["data-act"] == "cluster.restart" && event["data-outcome"] == "ok" && strings.Contains(event["data-actor"], "operator"))
	}
	if !found {
		t.Error("the restart is not on the audit page")
	}

	verify := exec.Command(path, "audit", "verify")
	verify.Env = []string{"QM_DATABASE_URL=" + p.about.DatabaseURL}
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "whole and unchanged") {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	p.stop()
	nothingListens(t, p.about)
}

// restartable finds a healthy cluster of an account on the current API.
func restartable(t *testing.T, v *visitor) element {
	t.Helper()
	for _, row := range v.get("/clusters?phase=HEALTHY").byTestID("cluster-row") {
		page := v.get("/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"])
		if page.status == http.StatusOK && strings.Contains(page.body, "/restart") {
			return row
		}
	}
	t.Fatal("no cluster offers a restart")
	return nil
}

// calls returns how often each operation of the sandbox was called, over all accounts.
func (p *devProgram) calls(t *testing.T) map[string]int {
	t.Helper()
	var counts struct {
		Accounts map[string]map[string]int `json:"accounts"`
	}
	if err := json.Unmarshal(p.control(t, http.MethodGet, "calls", nil), &counts); err != nil {
		t.Fatal(err)
	}
	total := map[string]int{}
	for _, operations := range counts.Accounts {
		for name, n := range operations {
			total[name] += n
		}
	}
	return total
}

// control speaks to the sandbox's control surface and returns what it answered.
func (p *devProgram) control(t *testing.T, method, what string, body any) []byte {
	t.Helper()
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	request, err := http.NewRequest(method, p.about.SandboxControlURL+"/_sandbox/"+what, &content)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.about.SandboxControlToken)
	v := newVisitor(t, p.about.SandboxControlURL)
	answer := v.do(request)
	if answer.status >= 300 {
		t.Fatalf("the sandbox's control surface answers %d to %s: %s", answer.status, what, answer.body)
	}
	return []byte(answer.body)
}

func takesOverAfterKill(t *testing.T, path string) {
	dir := dataFolder(t)
	first := startProcess(t, path, dir, nil)
	v := first.signIn(t, "admin@example.test")
	first.kill()
	second := startProcess(t, path, dir, nil)
	if second.about.DatabaseURL != first.about.DatabaseURL || second.about.URL != first.about.URL {
		t.Errorf("the second start is another world:\n%+v\n%+v", first.about, second.about)
	}
	if page := v.get("/clusters"); page.bodyID() != "clusters-index" {
		t.Errorf("the session did not outlive the kill: %s, status %d", page.url, page.status)
	}
	second.stop()
	nothingListens(t, second.about)
}

func runsAsOrdinaryUser(t *testing.T, path string) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root can start a program as somebody else; the other tests ran as an ordinary user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("TEST_BINARY") != "" {
		path = copyForOthers(t, path)
	}
	dir := dataFolder(t)
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, path, dir, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)})
	if rows := p.signIn(t, "viewer@example.test").get("/clusters").byTestID("cluster-row"); len(rows) == 0 {
		t.Error("no cluster on the first page")
	}
	p.stop()
	nothingListens(t, p.about)
}

// copyForOthers copies the program to where other accounts can run it.
func copyForOthers(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dataFolder(t), "quartermaster")
	if err := os.WriteFile(copied, content, 0o755); err != nil { // another account must be able to run it
		t.Fatal(err)
	}
	return copied
}

func TestStopLetsAnActEnd(t *testing.T) {
	dev := startDev(t)
	v := dev.signIn(t, "operator@example.test")
	row := restartable(t, v)
	dev.control(t, http.MethodPost, "faults", map[string]any{"operation": "RestartCluster", "kind": "latency", "latency_ms": 1500})
	cluster := "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]
	answered := make(chan int, 1)
	v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	go func() {
		answer, err := v.http.PostForm(v.base+cluster+"/restart", url.Values{})
		if err != nil {
			answered <- 0
			return
		}
		_ = answer.Body.Close()
		answered <- answer.StatusCode
	}()
	for deadline := time.Now().Add(10 * time.Second); dev.calls(t)["RestartCluster"] == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the restart never reached the Cloud API")
		}
	}
	dev.stop()
	if status := <-answered; status != http.StatusSeeOther {
		t.Errorf("the act under way was answered with %d", status)
	}
	again := startDevIn(t, dev.dir)
	ok := 0
	for _, event := range again.signIn(t, "auditor@example.test").get("/audit?act=cluster.restart").byTestID("audit-row") {
		if event["data-outcome"] == "ok" {
			ok++
		}
	}
	if ok != 1 {
		t.Errorf("%d restarts with an outcome, want 1", ok)
	}
}
