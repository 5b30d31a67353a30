package devenv

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// The roles that StartPostgres makes.
const (
	superUser = "postgres"
	ownerUser = "quartermaster_owner"
)

// startTimeout bounds the wait for a started server, crash recovery included.
const startTimeout = 60 * time.Second

// PostgresConfig says where a server lives and how it runs.
type PostgresConfig struct {
	// Dir keeps data, password and log. It is made when missing. Required.
	Dir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Log receives one line for each slow step (making the database, fetching binaries); nil
	// discards them. The server's own log is postgres.log beside DataDir.
	Log io.Writer
	// Settings are server settings such as fsync. They are given on the command line of each
	// start and win over the ones that StartPostgres itself gives.
	Settings map[string]string
	// EndWithParent stops the server at once and deletes Dir when this process ends without
	// having called Stop, however it ends. For tests; dev keeps its data.
	EndWithParent bool
	// Environment is added to the server's, which has nothing of this process's. For tests that turn
	// its clock.
	Environment []string
}

// Postgres is a running server on 127.0.0.1 that only this program's passwords open.
type Postgres struct {
	// DataDir is where the data is. It is not below PostgresConfig.Dir when the unprivileged
	// account that the server runs under cannot enter that folder.
	DataDir string
	Port    int
	// PID of the server's first process. It changes with Restart.
	PID int

	cfg      PostgresConfig
	root     string
	binaries string
	account  *account
	password string
	lock     *os.File

	mu       sync.Mutex
	done     chan struct{}
	watchdog *exec.Cmd
	alarm    io.Closer
}

// PortBusyError says that something else listens on the port asked for.
type PortBusyError struct{ Port int }

func (e *PortBusyError) Error() string {
	return fmt.Sprintf("port %d on 127.0.0.1, asked for by Postgres, is busy: stop what listens there or choose another port", e.Port)
}

// FolderInUseError says that another process runs a server from the same folder.
type FolderInUseError struct{ Dir string }

func (e *FolderInUseError) Error() string {
	return fmt.Sprintf("the Postgres of %s belongs to another running program: stop it or choose another folder", e.Dir)
}

// StartPostgres starts a server whose data outlives it, making the data first when there is none. Passwords are generated once and kept
// beside the data, readable by the owner only. A server that was left running or was killed is taken over: it is
// ended properly, and its data kept. Started as root, it runs under the account postgres, else nobody.
//
// Each error is one sentence that says what to do.
func StartPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	if cfg.Dir == "" {
		return nil, errors.New("Postgres needs a folder for its data")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the folder for Postgres: %w", err)
	}
	cfg.Dir = dir
	p := &Postgres{cfg: cfg}
	if p.account, err = serverAccount(); err != nil {
		return nil, err
	}
	if p.root, err = placeFor(ctx, dir, p.account); err != nil {
		return nil, err
	}
	p.DataDir = filepath.Join(p.root, "data")
	if p.lock, err = lockFolder(filepath.Join(p.root, "lock")); err != nil {
		return nil, err
	}
	if err := p.prepare(ctx); err != nil {
		p.lock.Close()
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		p.lock.Close()
		return nil, err
	}
	return p, nil
}

func (p *Postgres) prepare(ctx context.Context) error {
	var err error
	if p.binaries, err = findBinaries(); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(p.cfg.Log, "No Postgres is installed here: fetching one")
		p.binaries, err = fetchBinaries(filepath.Join(p.root, "postgres"))
	}
	if err != nil {
		return err
	}
	if p.password, err = keptPassword(filepath.Join(p.root, "password"), p.account); err != nil {
		return err
	}
	if err := p.endLeftover(ctx); err != nil {
		return err
	}
	return p.initialise(ctx)
}

// OwnerURL is the address of a database for the role that owns the schema. The role may create
// roles and databases, as migrations need, and is no superuser.
func (p *Postgres) OwnerURL(database string) string {
	return p.url(ownerUser, p.ownerPassword(), database)
}

// SuperURL is the address of a database for the superuser.
func (p *Postgres) SuperURL(database string) string { return p.url(superUser, p.password, database) }

func (p *Postgres) url(name, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(name, password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (p *Postgres) ownerPassword() string { return p.DerivePassword(ownerUser) }

// DerivePassword gives a password for another role: always the same for one data folder, and of
// no help in finding the others.
func (p *Postgres) DerivePassword(role string) string {
	mac := hmac.New(sha256.New, []byte(p.password))
	mac.Write([]byte(role))
	return hex.EncodeToString(mac.Sum(nil))
}

// CreateDatabase makes a database owned by the owner role, unless it exists.
func (p *Postgres) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, p.SuperURL("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to make database %s: %w", name, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil {
		return fmt.Errorf("looking for database %s: %w", name, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()+` OWNER `+ownerUser); err != nil {
		return fmt.Errorf("making database %s: %w", name, err)
	}
	return nil
}

// Done is closed when the server has ended, for whatever reason. Restart makes a new one.
func (p *Postgres) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Stop ends the server and lets go of its folder. Connections are cut, what was committed is safe. When ctx ends first the server
// is ended the hard way, which costs the next start a recovery and no data.
func (p *Postgres) Stop(ctx context.Context) error {
	err := p.end(ctx, syscall.SIGINT)
	if p.lock != nil {
		p.lock.Close()
		p.lock = nil
	}
	return err
}

// Pause ends the server as Stop does and keeps the folder, so that Restart can start it again.
func (p *Postgres) Pause(ctx context.Context) error { return p.end(ctx, syscall.SIGINT) }

// Crash kills the server and every process of it, as a power failure would.
func (p *Postgres) Crash() error {
	p.mu.Lock()
	pid := p.PID
	p.mu.Unlock()
	// Held still, the first process starts no others while they are counted; without the first,
	// the others would go on serving for a moment.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("crashing Postgres (process %d): %w", pid, err)
	}
	children, err := childrenOf(pid)
	if err != nil {
		return errors.Join(err, p.end(context.Background(), syscall.SIGKILL))
	}
	for _, child := range children {
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("crashing Postgres (process %d): %w", child, err)
		}
	}
	return p.end(context.Background(), syscall.SIGKILL)
}

func childrenOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return childrenByPS(pid)
	}
	var children []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// The name, in parentheses, may hold anything; state and parent follow it.
		var child, parent int
		var state string
		if _, err := fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent); err != nil || parent != pid {
			continue
		}
		if _, err := fmt.Sscan(string(text), &child); err == nil {
			children = append(children, child)
		}
	}
	return children, nil
}

func childrenByPS(pid int) ([]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the processes of Postgres: %w", err)
	}
	var children []int
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err != nil {
			return nil, fmt.Errorf("listing the processes of Postgres: %w", err)
		}
		if parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}

// Restart starts the server again on the same port, after ending it when it runs.
func (p *Postgres) Restart(ctx context.Context) error {
	if p.lock == nil {
		return errors.New("restarting Postgres: it was stopped for good")
	}
	if err := p.end(ctx, syscall.SIGINT); err != nil {
		return err
	}
	return p.start(ctx)
}

func (p *Postgres) end(ctx context.Context, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dismissWatchdog()
	if p.done == nil {
		return nil
	}
	for _, sig := range []syscall.Signal{sig, syscall.SIGQUIT, syscall.SIGKILL} {
		select {
		case <-p.done:
			return nil
		default:
		}
		if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending Postgres (process %d): %w", p.PID, err)
		}
		if sig == syscall.SIGKILL {
			<-p.done
			return nil
		}
		select {
		case <-p.done:
			return nil
		case <-ctx.Done():
			// The next signal is harder; give it a moment of its own.
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
		}
	}
	return nil
}

func (p *Postgres) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := p.startOnce(ctx)
		var early *earlyEndError
		if errors.As(err, &early) && early.retry && ctx.Err() == nil {
			// The processes of a killed server need a moment to notice.
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		return err
	}
}

type earlyEndError struct {
	log   string
	retry bool
}

func (e *earlyEndError) Error() string {
	return "Postgres ended while starting; its log says: " + e.log
}

func (p *Postgres) startOnce(ctx context.Context) error {
	// A fixed port stays fixed over restarts, and so does a free one once it was chosen.
	chosen := p.Port
	if chosen == 0 {
		chosen = p.cfg.Port
	}
	port, err := usablePort(chosen)
	if err != nil {
		return err
	}
	p.Port = port
	logPath := filepath.Join(p.root, "postgres.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of Postgres: %w", err)
	}
	defer log.Close()
	cmd := p.command("postgres", p.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Postgres: %w", err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	p.done, p.PID = done, cmd.Process.Pid
	if p.cfg.EndWithParent {
		if err := p.callWatchdog(); err != nil {
			_ = cmd.Process.Kill()
			return err
		}
	}
	if err := p.waitReady(ctx, done, logPath); err != nil {
		p.dismissWatchdog()
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		<-done
		return err
	}
	return nil
}

func (p *Postgres) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(p.Port),
		"unix_socket_directories": "",
		"password_encryption":     "scram-sha-256",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		// A failed statement can hold a secret; the error itself tells enough.
		"log_min_error_statement": "panic",
	}
	for name, value := range p.cfg.Settings {
		settings[name] = value
	}
	args := []string{"-D", p.DataDir}
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

func (p *Postgres) waitReady(ctx context.Context, done <-chan struct{}, logPath string) error {
	for {
		err := p.ensureOwner(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-done:
			text := lastLines(logPath)
			return &earlyEndError{log: text, retry: strings.Contains(text, "pre-existing shared memory block")}
		case <-ctx.Done():
			return fmt.Errorf("Postgres did not become ready in time (%w): %w", ctx.Err(), err)
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (p *Postgres) ensureOwner(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.SuperURL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, ownerUser).Scan(&exists); err != nil {
		return err
	}
	if exists {
		return nil
	}
	_, err = conn.Exec(ctx, `CREATE ROLE `+ownerUser+` LOGIN CREATEROLE CREATEDB PASSWORD '`+p.ownerPassword()+`'`)
	return err
}

// callWatchdog starts a shell that waits for the end of this process, which closes the pipe
// between them, and then ends the server.
func (p *Postgres) callWatchdog() error {
	const script = `cat >/dev/null; kill -QUIT "$1" 2>/dev/null
while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(p.PID), p.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("guarding Postgres: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("guarding Postgres: %w", err)
	}
	p.watchdog, p.alarm = cmd, pipe
	return nil
}

func (p *Postgres) dismissWatchdog() {
	if p.watchdog == nil {
		return
	}
	// The whole group, because cat outlives its shell otherwise; before the pipe closes, so that
	// the shell has no chance to act.
	_ = syscall.Kill(-p.watchdog.Process.Pid, syscall.SIGKILL)
	_ = p.alarm.Close()
	_ = p.watchdog.Wait()
	p.watchdog, p.alarm = nil, nil
}

func (p *Postgres) initialise(ctx context.Context) error {
	have, err := os.ReadFile(filepath.Join(p.DataDir, "PG_VERSION"))
	if err == nil {
		return p.checkVersion(ctx, strings.TrimSpace(string(have)))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the data folder of Postgres: %w", err)
	}
	fmt.Fprintln(p.cfg.Log, "Making the database in "+p.root)
	// Made under another name first: an interrupted attempt must not look like data.
	fresh := p.DataDir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clearing an unfinished data folder: %w", err)
	}
	args := []string{
		"-D", fresh, "--username=" + superUser, "--pwfile=" + filepath.Join(p.root, "password"),
		"--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums",
	}
	if p.cfg.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	// C.UTF-8 orders alike everywhere; where the system lacks it, C orders by bytes as well.
	var out []byte
	for _, locale := range []string{"C.UTF-8", "C"} {
		out, err = p.command("initdb", append(args, "--locale="+locale)...).CombinedOutput()
		if err == nil {
			break
		}
		if err := os.RemoveAll(fresh); err != nil {
			return fmt.Errorf("clearing an unfinished data folder: %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("making the data folder of Postgres failed: %s", complaint(string(out)))
	}
	if err := os.Rename(fresh, p.DataDir); err != nil {
		return fmt.Errorf("putting the data folder of Postgres in place: %w", err)
	}
	return nil
}

func (p *Postgres) checkVersion(ctx context.Context, have string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(p.binaries, "postgres"), "--version").Output()
	if err != nil {
		return fmt.Errorf("asking Postgres for its version: %w", err)
	}
	if fields := strings.Fields(string(out)); len(fields) >= 3 {
		if major, _, _ := strings.Cut(fields[2], "."); major != have {
			return fmt.Errorf("the data in %s was made by Postgres %s and %s is version %s: install Postgres %s or move the folder away",
				p.DataDir, have, p.binaries, major, have)
		}
	}
	return nil
}

// endLeftover ends a server that an earlier process of this program left on the same data.
func (p *Postgres) endLeftover(ctx context.Context) error {
	path := filepath.Join(p.DataDir, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what the last Postgres left: %w", err)
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(first)))
	if err == nil && pid > 1 && servesFolder(ctx, pid, p.DataDir) {
		fmt.Fprintf(p.cfg.Log, "Taking over from a Postgres that was left running (process %d)\n", pid)
		return endProcess(ctx, pid)
	}
	// The number belongs to nobody or to a stranger; a server would refuse to start in the
	// second case.
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing what a killed Postgres left: %w", err)
	}
	return nil
}

// servesFolder tells whether a process is a Postgres that has dir as its data folder.
func servesFolder(ctx context.Context, pid int, dir string) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil {
		return cwd == dir // a server works inside its data folder
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), dir)
}

func endProcess(ctx context.Context, pid int) error {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := syscall.Kill(pid, sig); errors.Is(err, syscall.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("ending the Postgres that was left running (process %d): %w", pid, err)
		}
		for range 200 {
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("ending the Postgres that was left running (process %d): %w", pid, ctx.Err())
			case <-time.After(25 * time.Millisecond):
			}
		}
	}
	return fmt.Errorf("the Postgres that was left running (process %d) does not end: stop it yourself", pid)
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.binaries, name), args...)
	// Nothing of this program's environment, which may hold secrets.
	cmd.Env = append([]string{"PATH=" + p.binaries + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}, p.cfg.Environment...)
	cmd.Dir = p.root
	cmd.SysProcAttr = p.account.attributes()
	return cmd
}

// account is the unprivileged account a server runs under; nil is the account of this process.
type account struct {
	name     string
	uid, gid uint32
}

func (a *account) attributes() *syscall.SysProcAttr {
	// Its own group: a Ctrl-C in the terminal is for this program, which then ends the server.
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("Postgres refuses to run as root and there is neither an account postgres nor nobody: start this as another user")
}

// placeFor makes the folder that holds data, password and log: dir, or a stand-in for it below
// /var/tmp when the server's account cannot enter dir.
func placeFor(ctx context.Context, dir string, a *account) (string, error) {
	if err := makeFolder(dir, a); err != nil {
		return "", err
	}
	if a == nil || canUse(ctx, dir, a) {
		return dir, nil
	}
	digest := sha256.Sum256([]byte(dir))
	other := filepath.Join("/var/tmp", "quartermaster-postgres-"+hex.EncodeToString(digest[:8]))
	if err := makeFolder(other, a); err != nil {
		return "", err
	}
	if !canUse(ctx, other, a) {
		return "", fmt.Errorf("the account %s, which Postgres runs under, can use neither %s nor %s: open one of them", a.name, dir, other)
	}
	return other, nil
}

func makeFolder(dir string, a *account) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("the folder for Postgres cannot be made: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the folder for Postgres cannot be made: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("the folder for Postgres cannot be read: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder, so Postgres cannot keep its data there", dir)
	}
	owner, isUnix := info.Sys().(*syscall.Stat_t)
	want := uint32(os.Geteuid())
	if isUnix && owner.Uid != want && (a == nil || owner.Uid != a.uid) {
		return fmt.Errorf("%s belongs to another user, so Postgres does not trust it: remove it or choose another folder", dir)
	}
	if a != nil {
		if err := os.Chown(dir, int(a.uid), int(a.gid)); err != nil {
			return fmt.Errorf("giving %s to the account %s: %w", dir, a.name, err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("closing %s to others: %w", dir, err)
	}
	return nil
}

func canUse(ctx context.Context, dir string, a *account) bool {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `cd -- "$1" && test -w .`, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = a.attributes()
	return cmd.Run() == nil
}

func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the folder for Postgres cannot be written: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, &FolderInUseError{Dir: filepath.Dir(path)}
	}
	return f, nil
}

func keptPassword(path string, a *account) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(text)) > 0 {
		return string(bytes.TrimSpace(text)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the password of Postgres: %w", err)
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keeping the password of Postgres: %w", err)
	}
	if a != nil {
		if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
			return "", fmt.Errorf("keeping the password of Postgres: %w", err)
		}
	}
	return password, nil
}

func usablePort(port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return 0, &PortBusyError{Port: port}
	}
	if err != nil {
		return 0, fmt.Errorf("Postgres cannot listen on 127.0.0.1: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// complaint leaves out of initdb's output what it says when all is well.
func complaint(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		for _, mark := range []string{"FATAL:", "PANIC:", "ERROR:", "HINT:", "error:"} {
			if strings.Contains(line, mark) {
				lines = append(lines, strings.TrimSpace(line))
				break
			}
		}
	}
	if len(lines) == 0 {
		return lastOf(output)
	}
	return strings.Join(lines, "; ")
}

func lastLines(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return lastOf(string(text))
}

func lastOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	return strings.Join(lines, "; ")
}
