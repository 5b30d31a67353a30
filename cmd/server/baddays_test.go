package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// servedProcess is a `quartermaster serve` that runs as a process of its own, so that its memory,
// descriptors and goroutines are its alone.
type servedProcess struct {
	*served
	cmd     *exec.Cmd
	metrics string // address of its /metrics
}

// startProcess runs serve from the binary and waits until it is ready. files is how many
// descriptors it may have; 0 leaves what this process may have.
func (s *served) startProcess(path string, files int, env environment) *servedProcess {
	s.t.Helper()
	p := &servedProcess{served: s, metrics: freeAddress(s.t), cmd: exec.Command(path, "serve")}
	if files > 0 {
		// Both limits: Go raises the soft one to the hard one.
		p.cmd = exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" serve`, files), path)
	}
	p.cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "QM_METRICS_ADDR="+p.metrics)
	p.cmd.Stdout, p.cmd.Stderr = s.output, s.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.ended = started(s.t, p.cmd)
	s.cancel = func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }
	s.t.Cleanup(s.stop)
	s.waitReady()
	return p
}

// metric reads one number of /metrics; the sum when there are several of the name.
func (p *servedProcess) metric(t *testing.T, name string) float64 {
	t.Helper()
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	sum, found := 0.0, false
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "{") {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum, found = sum+value, true
	}
	if !found {
		t.Fatalf("/metrics has no %s", name)
	}
	return sum
}

// serveTLS makes a certificate that the probe trusts from now on. It returns the variables that name it.
func (s *served) serveTLS() []string {
	s.t.Helper()
	cert, key := selfSigned(s.t)
	s.probe = clientThatTrusts(s.t, cert)
	return []string{"QM_TLS_CERT", cert, "QM_TLS_KEY", key}
}

// signInAs signs a member in over whatever the probe speaks.
func (s *served) signInAs(t *testing.T, member string) *visitor {
	t.Helper()
	return newVisitorOver(t, s.base, s.probe.Transport).signIn(member)
}
