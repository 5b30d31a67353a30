package main

import (
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestKilledBetweenAttemptAndOutcome kills the program while the Cloud API has not answered an act
// yet. The next start shows the act as open and finds out what became of it.
func TestKilledBetweenAttemptAndOutcome(t *testing.T) {
	path, dir := binary(t), dataFolder(t)
	first := startProcess(t, path, dir, nil)
	v := first.signIn(t, operator)
	row := restartable(t, v)
	cluster := "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]
	subject := subjectOf(t, v)
	first.control(t, http.MethodPost, "faults", map[string]any{"operation": "RestartCluster", "kind": "hang"})
	ended := make(chan error, 1)
	go func() {
		answer, err := v.http.PostForm(v.base+cluster+"/restart", url.Values{})
		if err == nil {
			err = answer.Body.Close()
		}
		ended <- err
	}()
	waitUntil(t, "the Cloud API is asked to restart", func() bool { return first.calls(t)["RestartCluster"] == 1 })
	first.kill()
	if err := <-ended; err == nil {
		t.Error("the act was answered although the program was killed")
	}

	second := startProcess(t, path, dir, nil, "QM_AUDIT_UNKNOWN_AFTER=8s")
	st := &stage{devProgram: &second.devProgram, db: openPool(t, second.about.DatabaseURL)}
	if got := subjectOf(t, second.signIn(t, operator)); got != subject {
		t.Errorf("the operator is somebody else after the second start: %s, before %s", got, subject)
	}
	log := second.signIn(t, auditor)
	entry := func() element {
		rows := log.get("/audit?act=cluster.restart").byTestID("audit-row")
		if len(rows) != 1 {
			t.Fatalf("the log shows %v", rows)
		}
		return rows[0]
	}
	if got := entry()["data-outcome"]; got != "pending" && got != "unknown" {
		t.Errorf("after the second start the act reads %s", got)
	}
	// The session outlived the kill, and the page tells of what is open.
	if page := v.get(cluster); page.status != http.StatusOK || !strings.Contains(page.text(), "Oscar Operator") {
		t.Errorf("the cluster's page (%d) does not tell whose restart is open:\n%s", page.status, page.text())
	}
	waitUntil(t, "the reconciler has concluded", func() bool {
		return st.events(t, `act = 'cluster.restart' AND phase = 'outcome' AND convert_from(body, 'UTF8')::jsonb->>'inferred' = 'true'`) == 1
	})
	if got := entry()["data-outcome"]; got != "failed" && got != "unknown" {
		t.Errorf("the act that was never carried out reads %s", got)
	}
	if n := st.events(t, `act = 'cluster.restart'`); n != 2 {
		t.Errorf("%d events tell of the restart, want 2", n)
	}
	if n := second.calls(t)["RestartCluster"]; n != 0 {
		t.Errorf("the restart was asked for again %d times", n)
	}
	verify := exec.Command(path, "audit", "verify")
	verify.Env = []string{"QM_DATABASE_URL=" + second.about.DatabaseURL}
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "whole and unchanged") {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	second.stop()
	nothingListens(t, second.about)
}

// subjectOf is what the identity provider calls the member.
func subjectOf(t *testing.T, v *visitor) string {
	t.Helper()
	p := v.get("/me")
	for _, n := range elements(p.root, "button") {
		if attributeOf(n, "aria-label") == "Copy subject" {
			return attributeOf(n, "data-copy")
		}
	}
	t.Fatalf("%s (%d) shows no subject:\n%s", p.url, p.status, p.text())
	return ""
}

// twoCopies signs in to two devs with one browser, whose cookies know no ports.
func twoCopies(t *testing.T, st *stage) {
	other := startDev(t)
	one := st.signIn(t, viewer)
	two := &visitor{t: t, base: other.about.URL, http: &http.Client{Jar: one.http.Jar, Timeout: 30 * time.Second}}
	if got := two.get("/login?login_hint=" + url.QueryEscape(operator)); got.bodyID() != "clusters-index" {
		t.Fatalf("signing in to the second ended at %s", got.url)
	}
	for name, v := range map[string]*visitor{"first": one, "second": two} {
		if got := v.withoutRedirects().get("/clusters"); got.status != http.StatusOK {
			t.Errorf("after signing in to both, the %s answers %d", name, got.status)
		}
	}
	two.post("/logout", nil)
	if got := two.withoutRedirects().get("/clusters"); got.status != http.StatusSeeOther {
		t.Errorf("after signing out of the second, it answers %d", got.status)
	}
	if got := one.withoutRedirects().get("/clusters"); got.status != http.StatusOK {
		t.Errorf("after signing out of the second, the first answers %d", got.status)
	}
}
