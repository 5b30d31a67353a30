package devenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// childFolder names the folder in which this test binary, started again by a test, starts a
// server and waits to be killed.
const childFolder = "DEVENV_TEST_POSTGRES_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		p, err := StartPostgres(context.Background(), PostgresConfig{
			Dir: dir, Settings: quick(), EndWithParent: os.Getenv(childFolder+"_KEEP") == "",
		})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID)
		select {}
	}
	os.Exit(m.Run())
}

func quick() map[string]string {
	return map[string]string{"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}
}

// openFolder is a temporary folder that the server's account can pass through, unlike T.TempDir
// of root.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "quartermaster-devenv-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func startTest(t *testing.T, cfg PostgresConfig) *Postgres {
	t.Helper()
	if cfg.Settings == nil {
		cfg.Settings = quick()
	}
	p, err := StartPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	t.Cleanup(func() { stopTest(t, p) })
	return p
}

func stopTest(t *testing.T, p *Postgres) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func query(t *testing.T, address, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer conn.Close(context.Background())
	var out string
	if err := conn.QueryRow(t.Context(), statement).Scan(&out); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return out
}

func remember(t *testing.T, p *Postgres) {
	t.Helper()
	if err := p.CreateDatabase(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	query(t, p.OwnerURL("kept"), `SELECT set_config('x.y', 'z', false)`)
	conn, err := pgx.Connect(t.Context(), p.OwnerURL("kept"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE note AS SELECT 'still here' AS text`); err != nil {
		t.Fatal(err)
	}
}

func wantRemembered(t *testing.T, p *Postgres) {
	t.Helper()
	if got := query(t, p.OwnerURL("kept"), `SELECT text FROM note`); got != "still here" {
		t.Errorf("the data says %q", got)
	}
}

func TestPostgresIsClosedAndKeepsItsData(t *testing.T) {
	dir := filepath.Join(openFolder(t), "made", "postgres")
	p := startTest(t, PostgresConfig{Dir: dir})
	for setting, want := range map[string]string{
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "data_checksums": "on", "fsync": "off",
		"password_encryption": "scram-sha-256", "server_encoding": "UTF8",
	} {
		if got := query(t, p.SuperURL("postgres"), `SELECT current_setting('`+setting+`')`); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := query(t, p.OwnerURL("postgres"), `SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user`); got != "false" {
		t.Error("the owner is a superuser")
	}
	for _, password := range []string{"", "postgres"} {
		conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", password, p.Port))
		if err == nil {
			conn.Close(context.Background())
			t.Errorf("password %q opens the server", password)
		}
	}
	for path, want := range map[string]fs.FileMode{".": 0o700, "password": 0o600, "data": 0o700, "postgres.log": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want mode %o (%v)", path, info.Mode(), want, err)
		}
	}
	if group, err := syscall.Getpgid(p.PID); err != nil || group == syscall.Getpgrp() {
		t.Errorf("the server is in this process's group (%v)", err)
	}
	remember(t, p)
	stopTest(t, p)
	wantGone(t, p.PID)
	wantRemembered(t, startTest(t, PostgresConfig{Dir: dir}))
}

func wantGone(t *testing.T, pid int) {
	t.Helper()
	for range 400 {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestPostgresComesBackFromACrash(t *testing.T) {
	dir := filepath.Join(openFolder(t), "postgres")
	p := startTest(t, PostgresConfig{Dir: dir})
	remember(t, p)
	port := p.Port
	if err := p.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRemembered(t, p)
	if p.Port != port {
		t.Errorf("the port changed from %d to %d", port, p.Port)
	}
	if err := p.Crash(); err != nil {
		t.Fatal(err)
	}
	stopTest(t, p)
	// The number in what the crash left may belong to anybody by now.
	left := filepath.Join(p.DataDir, "postmaster.pid")
	text, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if err := os.WriteFile(left, []byte(strconv.Itoa(os.Getppid())+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRemembered(t, startTest(t, PostgresConfig{Dir: dir}))
}

func TestPostgresLeftRunningIsTakenOver(t *testing.T) {
	dir := filepath.Join(openFolder(t), "postgres")
	first := startTest(t, PostgresConfig{Dir: dir})
	remember(t, first)
	stopTest(t, first)
	child, pid := startChild(t, dir, true)
	var inUse *FolderInUseError
	if _, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir, Settings: quick()}); !errors.As(err, &inUse) {
		t.Errorf("while another program runs it: %v", err)
	}
	kill(t, child)
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the server ended with its parent: %v", err)
	}
	p := startTest(t, PostgresConfig{Dir: dir})
	wantGone(t, pid)
	wantRemembered(t, p)
}

func TestPostgresEndsWithItsParentWhenAsked(t *testing.T) {
	dir := filepath.Join(openFolder(t), "postgres")
	child, pid := startChild(t, dir, false)
	kill(t, child)
	wantGone(t, pid)
	for range 400 {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Error("its folder is still there")
}

// startChild starts this test binary again with a server in dir and gives the server's process.
func startChild(t *testing.T, dir string, keep bool) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	if keep {
		cmd.Env = append(cmd.Env, childFolder+"_KEEP=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, convErr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || convErr != nil {
		t.Fatalf("the child says %q (%v)", line, err)
	}
	return cmd, pid
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says killed
}

func TestPostgresSaysWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().(*net.TCPAddr).Port
	base := openFolder(t)
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cfg   PostgresConfig
		words string
	}{
		"busy port":      {PostgresConfig{Dir: filepath.Join(base, "a"), Port: port, Settings: quick()}, fmt.Sprintf("port %d", port)},
		"file":           {PostgresConfig{Dir: file}, "is not a folder"},
		"below a file":   {PostgresConfig{Dir: filepath.Join(file, "x")}, "cannot be made"},
		"no folder":      {PostgresConfig{}, "needs a folder"},
		"wrong settings": {PostgresConfig{Dir: filepath.Join(base, "a"), Settings: map[string]string{"fsync": "maybe"}}, "fsync"},
	} {
		p, err := StartPostgres(t.Context(), test.cfg)
		if err == nil {
			stopTest(t, p)
		}
		if err == nil || !strings.Contains(err.Error(), test.words) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, test.words)
		}
	}
}

func TestPostgresOfAnotherVersionIsRefused(t *testing.T) {
	dir := filepath.Join(openFolder(t), "postgres")
	p := startTest(t, PostgresConfig{Dir: dir})
	stopTest(t, p)
	if err := os.WriteFile(filepath.Join(p.DataDir, "PG_VERSION"), []byte("9.6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := StartPostgres(t.Context(), PostgresConfig{Dir: dir, Settings: quick()}); err == nil || !strings.Contains(err.Error(), "was made by Postgres 9.6") {
		t.Errorf("got %v", err)
	}
}

func TestPostgresOfRootGoesWhereItsAccountCan(t *testing.T) {
	closed := openFolder(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	p := startTest(t, PostgresConfig{Dir: filepath.Join(closed, "postgres")})
	inside := strings.HasPrefix(p.DataDir, closed)
	if root := os.Geteuid() == 0; root == inside {
		t.Errorf("as user %d the data is in %s", os.Geteuid(), p.DataDir)
	}
	if !inside {
		t.Cleanup(func() {
			if err := os.RemoveAll(filepath.Dir(p.DataDir)); err != nil {
				t.Error(err)
			}
		})
		if owner := query(t, p.SuperURL("postgres"), `SELECT current_setting('data_directory')`); owner != p.DataDir {
			t.Errorf("the server works in %s, told was %s", owner, p.DataDir)
		}
	}
	stopTest(t, p)
}

func TestBinariesAreFoundByVersion(t *testing.T) {
	base := t.TempDir()
	t.Setenv("PATH", "")
	if dir, err := newestBinaries([]string{filepath.Join(base, "*", "bin")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %q, %v where there is nothing", dir, err)
	}
	for _, version := range []string{"9.6", "15", "18", "17"} {
		bin := filepath.Join(base, version, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"postgres", "initdb"} {
			if name == "initdb" && version == "18" {
				continue // half an installation is none
			}
			if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir, err := newestBinaries([]string{filepath.Join(base, "*", "bin")})
	if err != nil || dir != filepath.Join(base, "17", "bin") {
		t.Errorf("found %q, %v, want version 17", dir, err)
	}
}

func TestComplaintIsWhatWentWrongOnly(t *testing.T) {
	for output, want := range map[string]string{
		"creating configuration files ... ok\nrunning bootstrap script ... 2026-11-23 FATAL:  could not extend file\n2026-11-23 HINT:  Check free disk space.\nchild process exited with exit code 1\n": "running bootstrap script ... 2026-11-23 FATAL:  could not extend file; 2026-11-23 HINT:  Check free disk space.",
		"The files will be owned by user postgres.\ninitdb: error: could not create directory":                                                                                                          "initdb: error: could not create directory",
		"something\nelse\n": "something; else",
		"":                  "",
	} {
		if got := complaint(output); got != want {
			t.Errorf("of %q was left %q, want %q", output, got, want)
		}
	}
}
