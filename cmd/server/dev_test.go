package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/devenv"
)

func TestDevFirstStart(t *testing.T) {
	dev := startDev(t)

	t.Run("dev.json is complete and private", func(t *testing.T) {
		info, err := os.Stat(filepath.Join(dev.dir, devFile))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("dev.json is %v", info.Mode())
		}
		a := dev.about
		for name, value := range map[string]string{
			"url": a.URL, "metrics_url": a.MetricsURL, "issuer": a.Issuer, "sandbox_url": a.SandboxURL, "sandbox_control_url": a.SandboxControlURL,
			"sandbox_control_token": a.SandboxControlToken, "database_url": a.DatabaseURL, "migrate_database_url": a.MigrateDatabaseURL,
			"spare.generation": a.Spare.Generation, "spare.cloud_account_id": a.Spare.CloudAccountID, "spare.management_key": a.Spare.ManagementKey,
		} {
			if value == "" {
				t.Errorf("%s is missing", name)
			}
		}
		if len(a.Members) != 5 {
			t.Errorf("members: %v", a.Members)
		}
	})

	t.Run("what is printed", func(t *testing.T) {
		out := dev.output.String()
		for _, want := range append([]string{dev.about.URL, dev.about.Spare.ManagementKey, dev.dir}, dev.about.Members...) {
			if !strings.Contains(out, want) {
				t.Errorf("%q was not printed:\n%s", want, out)
			}
		}
	})

	t.Run("probes and metrics", func(t *testing.T) {
		for _, address := range []string{dev.about.URL + "/healthz", dev.about.URL + "/readyz", dev.about.MetricsURL} {
			answer, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s answers %d", address, answer.StatusCode)
			}
		}
	})

	t.Run("each member signs in", func(t *testing.T) {
		for _, m := range devenv.Members() {
			v := dev.signIn(t, m.Email)
			fleet := v.get("/clusters")
			if m.Email == "nobody@example.test" {
				if fleet.status != http.StatusForbidden || len(fleet.byTestID("cluster-row")) > 0 || !strings.Contains(fleet.body, "engineering") {
					t.Errorf("%s: status %d, %d clusters; the page should show the groups received", m.Email, fleet.status, len(fleet.byTestID("cluster-row")))
				}
				continue
			}
			if fleet.status != http.StatusOK || fleet.bodyID() != "clusters-index" || len(fleet.byTestID("cluster-row")) < 26 {
				t.Errorf("%s: status %d, body %q, %d clusters", m.Email, fleet.status, fleet.bodyID(), len(fleet.byTestID("cluster-row")))
			}
			log := v.get("/audit")
			mayAudit := m.Email == "admin@example.test" || m.Email == "auditor@example.test"
			if got := log.status == http.StatusOK; got != mayAudit {
				t.Errorf("%s: the audit page answers %d", m.Email, log.status)
			}
			if out := v.post("/logout", nil); out.status != http.StatusOK || out.url.Path != "/login" {
				t.Errorf("%s: sign-out ended at %s with %d", m.Email, out.url, out.status)
			}
			if after := v.get("/clusters"); after.url.Host == mustURL(dev.about.URL).Host && after.bodyID() == "clusters-index" {
				t.Errorf("%s: the session outlived the sign-out", m.Email)
			}
		}
	})

	t.Run("three accounts are registered, with events", func(t *testing.T) {
		v := dev.signIn(t, "admin@example.test")
		if rows := v.get("/accounts").byTestID("account-row"); len(rows) != 3 {
			t.Errorf("%d accounts", len(rows))
		}
		made := 0
		for _, row := range v.get("/audit?act=account.create").byTestID("audit-row") {
			if row["data-act"] == "account.create" && row["data-outcome"] == "ok" {
				made++
			}
		}
		if made != 3 {
			t.Errorf("%d account.create events", made)
		}
	})

	t.Run("a second dev on the folder refuses", func(t *testing.T) {
		got := runProgram(t, devEnvironment(dev.dir), "dev")
		if got.code != exitFailed || !strings.Contains(got.stderr, "is in use by process") || strings.Count(strings.TrimSpace(got.stderr), "\n") != 0 {
			t.Errorf("exit code %d: %s", got.code, got.stderr)
		}
	})

	t.Run("serve refuses the database of dev", func(t *testing.T) {
		env := goodEnvironment()
		env["QM_DATABASE_URL"], env["QM_ADDR"], env["QM_METRICS_ADDR"] = dev.about.DatabaseURL, "127.0.0.1:0", "127.0.0.1:0"
		got := runProgram(t, environmentOf(env), "serve")
		if got.code != exitFailed || !strings.Contains(got.stderr, "made by quartermaster dev") {
			t.Errorf("exit code %d: %s", got.code, got.stderr)
		}
	})

	t.Run("127.0.0.1 leads to localhost", func(t *testing.T) {
		v := newVisitor(t, strings.Replace(dev.about.URL, "localhost", "127.0.0.1", 1))
		if got := v.get("/login"); got.url.Host != mustURL(dev.about.URL).Host {
			t.Errorf("ended at %s", got.url)
		}
	})
}

func TestDevSecondStartContinues(t *testing.T) {
	dir := dataFolder(t)
	first := startDevIn(t, dir)
	v := first.signIn(t, "viewer@example.test")
	rows := v.get("/clusters").byTestID("cluster-row")
	first.stop()
	if _, err := net.DialTimeout("tcp", mustURL(first.about.URL).Host, time.Second); err == nil {
		t.Error("the console still listens after the stop")
	}
	if conn, err := pgx.Connect(context.Background(), first.about.DatabaseURL); err == nil {
		t.Error("Postgres still answers after the stop")
		_ = conn.Close(context.Background())
	}

	begun := time.Now()
	second := startDevIn(t, dir)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the second start took %s", took)
	}
	if second.about.URL != first.about.URL || second.about.Spare != first.about.Spare || second.about.DatabaseURL != first.about.DatabaseURL {
		t.Errorf("the second start is another world:\n%+v\n%+v", first.about, second.about)
	}
	again := v.get("/clusters")
	if again.bodyID() != "clusters-index" || len(again.byTestID("cluster-row")) != len(rows) {
		t.Errorf("the session or the clusters did not outlive the start: %s, status %d, %d of %d clusters", again.url, again.status, len(again.byTestID("cluster-row")), len(rows))
	}
}

func TestDevSaysWhatIsInTheWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env  environment
		want string
	}{
		"a busy port":     {devEnvironment(t.TempDir(), "QM_ADDR="+taken.Addr().String()), "the address " + taken.Addr().String() + " is in use by another program; stop it, or set QM_ADDR"},
		"a closed folder": {devEnvironment(filepath.Join(file, "data")), "cannot be made"},
	} {
		got := runProgram(t, test.env, "dev")
		if got.code != exitFailed || !strings.Contains(got.stderr, test.want) || strings.Count(strings.TrimSpace(got.stderr), "\n") != 0 {
			t.Errorf("%s: exit code %d: %s", name, got.code, got.stderr)
		}
	}
}

func TestDevTellsThatPostgresEnded(t *testing.T) {
	dev := startDev(t)
	raw, err := os.ReadFile(filepath.Join(dev.dir, "postgres", "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	const sentence = "Postgres has ended by itself"
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(dev.output.String(), sentence); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it was not said:\n%s", dev.output)
		}
	}
	dev.stop() // which expects exit code 0
	if !strings.Contains(dev.output.String(), "Stopping.\n") {
		t.Errorf("it was not said that it stops:\n%s", dev.output)
	}
	again := startDevIn(t, dev.dir)
	again.stop()
	if strings.Contains(again.output.String(), sentence) {
		t.Errorf("an orderly stop is told as a mishap:\n%s", again.output)
	}
}

func TestBrowserFirstPage(t *testing.T) {
	dev := startDev(t)
	tab := browser(t)
	inBrowser(t, tab,
		chromedp.Navigate(dev.about.URL+"/login"),
		chromedp.Click(chromedp.CSS(`a[href^="/login?"], a[href*="go=1"]`)),
		chromedp.WaitVisible(chromedp.CSS(`button[value="viewer@example.test"]`)),
		chromedp.Click(chromedp.CSS(`button[value="viewer@example.test"]`)),
		chromedp.WaitVisible(chromedp.CSS(`body#clusters-index [data-testid="cluster-row"]`)),
	)
	count, err := chromedp.Run(tab, chromedp.Evaluate[int](`document.querySelectorAll('[data-testid="cluster-row"]').length`))
	if err != nil {
		t.Fatal(err)
	}
	if count < 26 {
		t.Errorf("the first page shows %d clusters", count)
	}
}

func TestDevAsRootWherePostgresCannotEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root runs Postgres under another account")
	}
	dir := filepath.Join(t.TempDir(), "data") // below a folder that only root may enter
	dev := startDevIn(t, dir)
	_, after, found := strings.Cut(dev.output.String(), "its files are in ")
	elsewhere, _, _ := strings.Cut(after, "\n")
	if !found || !strings.HasPrefix(elsewhere, "/var/tmp/") {
		t.Fatalf("it was not said where Postgres keeps its files:\n%s", dev.output)
	}
	dev.stop()
	if err := os.RemoveAll(filepath.Dir(elsewhere)); err != nil {
		t.Error(err)
	}
}

// TestDevOfAnySize: a new data folder can have as many accounts and clusters as one asks for.
func TestDevOfAnySize(t *testing.T) {
	dir := dataFolder(t)
	dev := startDevWith(t, dir, []string{"--accounts", "3", "--clusters", "12"})
	v := dev.signIn(t, "viewer@example.test")
	if got := len(v.get("/accounts").byTestID("account-row")); got != 3 {
		t.Errorf("%d accounts", got)
	}
	if got := len(v.get("/clusters").byTestID("cluster-row")); got != 12 {
		t.Errorf("%d clusters", got)
	}
	if strings.Contains(dev.output.String(), "An account to add") {
		t.Errorf("an account is offered that is not there:\n%s", dev.output)
	}
	if got := runProgram(t, devEnvironment(dir), "dev", "--accounts", "many", "--clusters=-1"); got.code != exitMisused || strings.Count(got.stderr, "\n  - ") != 2 {
		t.Errorf("wrong numbers: exit code %d: %s", got.code, got.stderr)
	}
}

// TestDevWithAnotherCloudAPI: the keys of dev's own sandbox open nothing elsewhere, so none is added.
func TestDevWithAnotherCloudAPI(t *testing.T) {
	box, err := sandbox.New(sandbox.Config{Seed: 9, Accounts: 1, Clusters: 1})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(box.Handler())
	defer api.Close()
	dev := startDev(t, "QM_CLOUD_API_URL="+api.URL)
	v := dev.signIn(t, "viewer@example.test")
	if got := len(v.get("/accounts").byTestID("account-row")); got != 0 {
		t.Errorf("%d accounts", got)
	}
	if !strings.Contains(dev.output.String(), "Accounts are not added by themselves") {
		t.Errorf("it is not said:\n%s", dev.output)
	}
}
