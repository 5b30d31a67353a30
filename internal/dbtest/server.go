package dbtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"quartermaster/internal/devenv"
)

// serverSettings make a server fast. Its data does not outlive the machine, but does outlive a crash
// of the server: a commit that was answered is there afterwards, as in real life.
func serverSettings() map[string]string {
	return map[string]string{
		"fsync":              "off",
		"full_page_writes":   "off",
		"max_connections":    "300",
		"shared_buffers":     "48MB",
		"max_wal_size":       "256MB",
		"autovacuum_naptime": "60s",
		"log_min_messages":   "warning",
		"bgwriter_delay":     "1s",
		"checkpoint_timeout": "30min",
	}
}

// Server is a private server of one test, for tests of bad days.
type Server struct {
	server   *server
	postgres *devenv.Postgres
}

// NewServer starts a private server from installed binaries. It ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return newServer(t, serverSettings())
}

// NewDurableServer is NewServer with what Postgres does by default so that commits outlive a power
// failure, for measurements.
func NewDurableServer(t testing.TB) *Server {
	t.Helper()
	return newServer(t, map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "log_min_messages": "warning"})
}

func newServer(t testing.TB, settings map[string]string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return newServerIn(ctx, t, settings)
}

func newServerIn(ctx context.Context, t testing.TB, settings map[string]string, environment ...string) *Server {
	t.Helper()
	p, err := startInstalled(ctx, settings, environment...)
	if err != nil {
		t.Fatalf("a test database server cannot be had: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := endInstalled(ctx, p); err != nil {
			t.Errorf("ending the test's database server: %v", err)
		}
	})
	return &Server{server: &server{superURL: p.SuperURL("postgres")}, postgres: p}
}

// New gives a freshly migrated database of this server.
func (s *Server) New(t testing.TB) *DB {
	t.Helper()
	db := s.server.clone(t, "template")
	// The test may leave the server down; its databases go with it, so dropping them has to wait
	// for a running one.
	t.Cleanup(func() { s.Start(t) })
	return db
}

// Stop ends the server as an administrator would.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.postgres.Pause(ctx); err != nil {
		t.Fatalf("stopping the test's database server: %v", err)
	}
}

// Crash kills the server as a power failure would.
func (s *Server) Crash(t testing.TB) {
	t.Helper()
	if err := s.postgres.Crash(); err != nil {
		t.Fatalf("crashing the test's database server: %v", err)
	}
}

// Start starts the server on the same port again. It does nothing while the server runs.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	select {
	case <-s.postgres.Done():
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.postgres.Restart(ctx); err != nil {
		t.Fatalf("starting the test's database server again: %v", err)
	}
}

func installedServer(ctx context.Context) (*server, error) {
	p, err := startInstalled(ctx, serverSettings())
	if err != nil {
		return nil, err
	}
	return &server{
		superURL: p.SuperURL("postgres"),
		stop:     func(ctx context.Context) error { return endInstalled(ctx, p) },
	}, nil
}

func endInstalled(ctx context.Context, p *devenv.Postgres) error {
	return errors.Join(p.Stop(ctx), os.RemoveAll(filepath.Dir(p.DataDir)))
}

// startInstalled starts a server on a copy of a prepared one: a data folder with the migrated
// template in it, made once for each schema and kept in the temporary folder.
func startInstalled(ctx context.Context, settings map[string]string, environment ...string) (*devenv.Postgres, error) {
	base, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	prepared, err := prepare(ctx, base)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(base, "run-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the test database server: %w", err)
	}
	if err := os.Remove(dir); err != nil {
		return nil, fmt.Errorf("making a folder for the test database server: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-Rp", prepared, dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copying the prepared test database server: %w: %s", err, out)
	}
	p, err := devenv.StartPostgres(ctx, devenv.PostgresConfig{Dir: dir, Settings: settings, EndWithParent: true, Environment: environment})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, nil
}

// cacheFolder is this user's alone, because what lies in it is trusted. As root it can be passed
// through, but not listed, by the account that the server runs under.
func cacheFolder() (string, error) {
	temp := os.TempDir()
	if os.Getuid() == 0 && !passable(temp) {
		temp = "/var/tmp" // the server's account could not get to the other one
	}
	base := filepath.Join(temp, "quartermaster-test-postgres-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(base, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("making the folder of test database servers: %w", err)
	}
	info, err := os.Lstat(base)
	if err != nil {
		return "", fmt.Errorf("looking at the folder of test database servers: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || info.Mode().Perm()&0o022 != 0 || ok && int(owner.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder that only this user can write: remove it", base)
	}
	return base, nil
}

// passable tells whether every account can pass through a folder.
func passable(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// prepare gives the folder of a stopped server that has the template of the current schema.
func prepare(ctx context.Context, base string) (string, error) {
	key := sha256.Sum256([]byte(templateName() + devenv.BinariesVersion(ctx) + runtime.GOOS))
	dir := filepath.Join(base, "prepared-"+hex.EncodeToString(key[:8]))
	lock, err := os.OpenFile(filepath.Join(base, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("locking the folder of test database servers: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking the folder of test database servers: %w", err)
	}
	if now := time.Now(); os.Chtimes(dir, now, now) == nil { // it is there, and wanted today
		return dir, nil
	}
	if err := forget(base); err != nil {
		return "", err
	}
	fresh := dir + ".new"
	p, err := devenv.StartPostgres(ctx, devenv.PostgresConfig{Dir: fresh, Settings: serverSettings(), EndWithParent: true})
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(fresh))
	}
	s := &server{superURL: p.SuperURL("postgres")}
	err = errors.Join(s.ensureTemplate(ctx), p.Stop(ctx))
	if err != nil {
		return "", errors.Join(fmt.Errorf("preparing a test database server: %w", err), os.RemoveAll(fresh))
	}
	if err := os.Rename(fresh, dir); err != nil {
		return "", fmt.Errorf("preparing a test database server: %w", err)
	}
	return dir, nil
}

// forget removes prepared servers of earlier schemas that nobody asked for in six hours.
func forget(base string) error {
	old, err := filepath.Glob(filepath.Join(base, "prepared-*"))
	if err != nil {
		return fmt.Errorf("looking for old test database servers: %w", err)
	}
	for _, dir := range old {
		info, err := os.Stat(dir)
		if err == nil && time.Since(info.ModTime()) > 6*time.Hour {
			err = os.RemoveAll(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing an old test database server: %w", err)
		}
	}
	return nil
}

// containerServer starts a server in a container. It gives nil when there is no Docker engine, or
// one without the image, unless TEST_POSTGRES_IMAGE asks for a container in so many words.
func containerServer(ctx context.Context) (*server, error) {
	image := os.Getenv("TEST_POSTGRES_IMAGE")
	wanted := image != ""
	if !dockerAnswers(ctx) {
		if wanted {
			return nil, fmt.Errorf("TEST_POSTGRES_IMAGE is %s, but no Docker engine answers", image)
		}
		return nil, nil
	}
	if !wanted {
		image = "postgres:18"
	}
	container, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        image,
			ExposedPorts: []string{"5432/tcp"},
			Env:          map[string]string{"POSTGRES_PASSWORD": testPassword},
			Cmd:          []string{"postgres", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300"},
			WaitingFor:   wait.ForLog("database system is ready to accept connections").WithOccurrence(2).WithStartupTimeout(2 * time.Minute),
		},
	})
	if err != nil && wanted {
		err = fmt.Errorf("starting a container of TEST_POSTGRES_IMAGE: %w", err)
		if container != nil {
			err = errors.Join(err, container.Terminate(ctx))
		}
		return nil, err
	}
	if err != nil {
		// An engine without the image and without a way to get it is as good as none.
		fmt.Fprintf(os.Stderr, "the test database cannot run in a container, trying installed binaries: %v\n", err)
		if container != nil {
			return nil, container.Terminate(ctx)
		}
		return nil, nil
	}
	endpoint, err := container.PortEndpoint(ctx, "5432/tcp", "")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking for the container's port: %w", err), container.Terminate(ctx))
	}
	return &server{
		superURL: "postgres://postgres:" + testPassword + "@" + endpoint + "/postgres?sslmode=disable",
		stop:     func(ctx context.Context) error { return container.Terminate(ctx) },
	}, nil
}

// dockerAnswers looks before testcontainers does, which takes seconds to give up.
func dockerAnswers(ctx context.Context) bool {
	if os.Getenv("DOCKER_HOST") == "" && os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" {
		sockets := []string{"/var/run/docker.sock"}
		if home, err := os.UserHomeDir(); err == nil {
			sockets = append(sockets, filepath.Join(home, ".docker/run/docker.sock"), filepath.Join(home, ".docker/desktop/docker.sock"))
		}
		if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
			sockets = append(sockets, filepath.Join(run, "docker.sock"))
		}
		found := false
		for _, path := range sockets {
			info, err := os.Stat(path)
			found = found || err == nil && info.Mode()&fs.ModeSocket != 0
		}
		if !found {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	client, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return false
	}
	defer client.Close()
	return true
}
