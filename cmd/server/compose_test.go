package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/accounts/vault"
)

// imageUser is who the image's program runs as.
const imageUser = "65532:65532"

// makeSecrets runs deploy/make-secrets and returns what is in the folder afterwards.
func makeSecrets(t *testing.T, folder, clientSecret string) map[string]string {
	t.Helper()
	script := exec.Command("../../deploy/make-secrets", folder)
	script.Stdin = strings.NewReader(clientSecret)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("make-secrets: %v\n%s", err, out)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, entry := range entries {
		raw, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		content[entry.Name()] = string(raw)
	}
	return content
}

func TestSecretsAreMadeOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "secrets")
	first := makeSecrets(t, folder, "from the provider\n")
	names := slices.Sorted(maps.Keys(first))
	if want := []string{"database-url", "kek", "oidc-client-secret", "owner-password", "owner-url", "postgres-password"}; !slices.Equal(names, want) {
		t.Errorf("made %v, want %v", names, want)
	}
	if first["oidc-client-secret"] != "from the provider" {
		t.Errorf("the client secret is %q", first["oidc-client-secret"])
	}
	if _, err := vault.ParseKEK(strings.TrimSpace(first["kek"])); err != nil {
		t.Errorf("the key: %v", err)
	}
	if owner := mustURL(strings.TrimSpace(first["owner-url"])); owner.User.String() != "quartermaster_owner:"+first["owner-password"] || len(first["owner-password"]) != 48 {
		t.Errorf("the owner's address and password do not fit: %s, %s", first["owner-url"], first["owner-password"])
	}
	if len(first["postgres-password"]) != 48 || first["postgres-password"] == first["owner-password"] {
		t.Errorf("the superuser's password is %q, the owner's %q", first["postgres-password"], first["owner-password"])
	}
	if mustURL(strings.TrimSpace(first["database-url"])).User.Username() == "quartermaster_owner" || strings.Contains(first["database-url"], first["owner-password"]) {
		t.Errorf("the console would be the owner: %s", first["database-url"])
	}
	// Nobody else gets into the folder; a container's user, whoever that is, reads the file mounted into it.
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}

	if err := os.Remove(filepath.Join(folder, "database-url")); err != nil {
		t.Fatal(err)
	}
	second := makeSecrets(t, folder, "another\n")
	for name, value := range second {
		if same := value == first[name]; same == (name == "database-url") {
			t.Errorf("a second run: %s is the same: %v", name, same)
		}
	}
	if elsewhere := makeSecrets(t, filepath.Join(t.TempDir(), "secrets"), ""); elsewhere["kek"] == first["kek"] || elsewhere["owner-password"] == first["owner-password"] {
		t.Error("two installations have secrets in common")
	}

	if err := os.Remove(filepath.Join(folder, "owner-password")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("../../deploy/make-secrets", folder).CombinedOutput(); err == nil || !strings.Contains(string(out), "put the password that is in the address") {
		t.Errorf("a password that is gone: %v\n%s", err, out)
	}
}

// TestInitScriptIsReadable: in a clone that was made with umask 077, the image of Postgres could not run its script.
func TestInitScriptIsReadable(t *testing.T) {
	clone := t.TempDir()
	for _, name := range []string{"make-secrets", "postgres-init.sh"} {
		content, err := os.ReadFile("../../deploy/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(clone, name), content, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(filepath.Join(clone, "make-secrets")).CombinedOutput(); err != nil {
		t.Fatalf("make-secrets: %v\n%s", err, out)
	}
	if info, err := os.Stat(filepath.Join(clone, "postgres-init.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the script: %v, %v", info.Mode(), err)
	}
}

// ownership tells who owns the database and what is in it, and everything of theirs that runs with a superuser's rights.
const ownership = `
	SELECT concat_ws(', ', 'database ' || (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()),
		'tables ' || (SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE schemaname IN ('public', 'audit')),
		'audit.append ' || (SELECT string_agg(pg_get_userbyid(proowner) || ' ' || prosecdef, ' ') FROM pg_proc WHERE oid::regproc::text = 'audit.append'),
		'of superusers ' || (SELECT count(*) FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
			WHERE p.pronamespace IN ('public'::regnamespace, 'audit'::regnamespace) AND p.prosecdef AND r.rolsuper),
		'owner ' || (SELECT concat_ws(' ', rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls) FROM pg_roles WHERE rolname = 'quartermaster_owner'))`

const ownedByOwner = "database quartermaster_owner, tables quartermaster_owner, audit.append quartermaster_owner true, of superusers 0, owner f t f f f"

// TestInitScriptMakesAnOwner runs deploy/postgres-init.sh as the image of Postgres does, on a server that logs all it is told.
func TestInitScriptMakesAnOwner(t *testing.T) {
	if _, err := exec.LookPath("psql"); err != nil {
		t.Skip("NOT RUN: psql is not in PATH")
	}
	c := bareCluster(t, map[string]string{"log_statement": "all", "log_min_duration_statement": "0", "log_min_error_statement": "error"})
	c.do(c.super, `DROP ROLE quartermaster_owner`) // the one of quartermaster dev
	const password = `it's "quoted" \ $HOME :x`
	file := filepath.Join(t.TempDir(), "owner-password")
	script := func(content string) (string, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("../../deploy/postgres-init.sh")
		cmd.Env = append(c.variables(c.super), "POSTGRES_USER=postgres", "POSTGRES_DB=postgres", "OWNER_PASSWORD_FILE="+file)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := script(""); err == nil || !strings.Contains(out, "is empty") {
		t.Errorf("without a password: %v\n%s", err, out)
	}
	if out, err := script(password + "\n"); err != nil || out != "" {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := script(password); err == nil || !strings.Contains(out, "already exists") {
		t.Errorf("a second time: %v\n%s", err, out)
	}
	c.ownerURL, c.appURL = c.address("quartermaster_owner", password), c.address("quartermaster_console", "console")
	s := prepareServe(t)
	s.on(c)
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatalf("migrate up as the new owner: exit code %d\n%s", got.code, got.stderr)
	}
	if got, err := c.ask(c.ownerURL, ownership); err != nil || got != ownedByOwner {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, ownedByOwner)
	}
	log, err := os.ReadFile(c.log)
	if err != nil || !strings.Contains(string(log), `role "quartermaster_owner" already exists`) || !strings.Contains(string(log), "statement: ") {
		t.Fatalf("the server's log does not tell of it: %v\n%s", err, log)
	}
	if strings.Contains(string(log), "$HOME") {
		t.Error("the password is in the server's log")
	}
}

// A variable that the compose file does not pass on would be ignored without a word.
func TestComposeFilePassesEveryVariableOn(t *testing.T) {
	file, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, console, _ := strings.Cut(string(file), "\n  console:\n")
	console, _, found := strings.Cut(console, "\nsecrets:\n")
	if !found {
		t.Fatal("the console's part was not found")
	}
	var want, got []string
	for _, v := range variables() {
		switch {
		case !v.usedBy("serve"), strings.HasSuffix(v.Name, "_FILE") && v.Name != "QM_CA_FILE":
		case v.Name == "QM_MIGRATE_DATABASE_URL": // the owner's; see the service migrate
		case v.Secret:
			want = append(want, v.file())
		default:
			want = append(want, v.Name)
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^      (QM_[A-Z_]+):`).FindAllStringSubmatch(console, -1) {
		got = append(got, match[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the compose file's variables are not those of serve (-serve +file):\n%s", diff)
	}
}

// docker runs the client and returns what it printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("docker", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// container is what the engine says of one.
type container struct {
	ID           string `json:"Id"`
	Name         string
	RestartCount int
	State        struct {
		Status    string
		ExitCode  int
		StartedAt string
		Health    struct{ Status string }
	}
	Config struct {
		User string
		Env  []string
	}
	HostConfig struct {
		ReadonlyRootfs       bool
		CapDrop, SecurityOpt []string
		Memory, NanoCpus     int64
		PidsLimit            int64
		Privileged           bool
		CapAdd               []string
	}
	Mounts []struct {
		Source, Destination, Type string
		RW                        bool
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostIp, HostPort string } //nolint:revive // the engine's spelling
	}
}

func inspect(t *testing.T, id string) container {
	t.Helper()
	var all []container
	if err := json.Unmarshal([]byte(docker(t, "inspect", id)), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspecting %s: %v", id, err)
	}
	return all[0]
}

// project is an installation by compose, with ports and secrets of its own.
type project struct {
	t       *testing.T
	name    string
	options []string
	env     []string
	secrets map[string]string
}

// newProject prepares an installation and takes it down with the test, whatever has become of it.
func newProject(t *testing.T, name string, env []string, options ...string) *project {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "secrets")
	p := &project{t: t, name: fmt.Sprintf("%s-%d", name, os.Getpid()), options: options, secrets: makeSecrets(t, folder, "client-secret\n")}
	p.env = append([]string{"COMPOSE_PROJECT_NAME=" + p.name, "QUARTERMASTER_IMAGE=" + os.Getenv("TEST_IMAGE"), "POSTGRES_IMAGE=" + os.Getenv("TEST_POSTGRES_IMAGE"), "QUARTERMASTER_SECRETS=" + folder}, env...)
	volumes := docker(t, "volume", "ls", "--quiet")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what the containers said:\n%s", p.try("logs", "--no-color", "--tail=60").stdout)
		}
		p.run("down", "--volumes", "--timeout=60")
		for what, args := range map[string][]string{"containers": {"ps", "--all", "--quiet"}, "networks": {"network", "ls", "--quiet"}} {
			if left := docker(t, append(args, "--filter", "label=com.docker.compose.project="+p.name)...); left != "" {
				t.Errorf("%s are left: %s", what, left)
			}
		}
		if left := docker(t, "volume", "ls", "--quiet"); left != volumes {
			t.Errorf("volumes are left:\n%s\nbefore:\n%s", left, volumes)
		}
	})
	return p
}

// try runs compose and returns how it ended.
func (p *project) try(args ...string) result {
	p.t.Helper()
	words := append(strings.Fields(os.Getenv("TEST_COMPOSE")), p.options...)
	words = append(words, args...)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		p.t.Fatalf("%v: %v", words, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// run runs compose and expects it to end well.
func (p *project) run(args ...string) string {
	p.t.Helper()
	got := p.try(args...)
	if got.code != 0 {
		p.t.Fatalf("compose %v ended with %d:\n%s%s", args, got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// containers are those of a service, ended ones too.
func (p *project) containers(service string) []container {
	p.t.Helper()
	var all []container
	ids := docker(p.t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service="+service, "--filter", "label=com.docker.compose.oneoff=False")
	for _, id := range strings.Fields(ids) {
		all = append(all, inspect(p.t, id))
	}
	return all
}

func (p *project) container(service string) container {
	p.t.Helper()
	all := p.containers(service)
	if len(all) != 1 {
		p.t.Fatalf("%d containers of %s", len(all), service)
	}
	return all[0]
}

// foreign runs a command of the image once, against this project's database, and expects a refusal.
func (p *project) foreign(want string, env []string, command ...string) {
	p.t.Helper()
	args := []string{"run", "--rm", "--network", p.name + "_database"}
	for _, e := range env {
		args = append(args, "--env", e)
	}
	out, err := exec.Command("docker", append(append(args, os.Getenv("TEST_IMAGE")), command...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		p.t.Errorf("%v: %v, want %q:\n%s", command, err, want, out)
	}
}

// eventually is waitUntil for what containers do, which takes longer.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	waitWithin(t, startTime, what, holds)
}

func status(address string) int {
	answer, err := http.Get(address)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// freePorts returns n ports in a row that nobody listened on a moment ago.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		_, text, _ := net.SplitHostPort(freeAddress(t))
		first, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		free := first+n < 65536
		for i := 1; i < n && free; i++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+i)))
			if free = err == nil; free {
				_ = l.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

// hardened expects what every container is allowed, and that the owner's password is in none but those named.
func (p *project) hardened(service string, mayOwn bool, mounts ...string) {
	t := p.t
	t.Helper()
	for _, c := range p.containers(service) {
		h := c.HostConfig
		if !h.ReadonlyRootfs || h.Privileged || len(h.CapAdd) > 0 || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Contains(h.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: root file system read-only %v, capabilities dropped %v and added %v, %v", c.Name, h.ReadonlyRootfs, h.CapDrop, h.CapAdd, h.SecurityOpt)
		}
		if h.Memory == 0 || h.NanoCpus == 0 || h.PidsLimit == 0 {
			t.Errorf("%s has no limits: memory %d, cpu %d, processes %d", c.Name, h.Memory, h.NanoCpus, h.PidsLimit)
		}
		if want := map[string]string{"postgres": "postgres"}[service]; c.Config.User != want && (want != "" || c.Config.User != imageUser) {
			t.Errorf("%s runs as %q", c.Name, c.Config.User)
		}
		owns := strings.Contains(strings.Join(c.Config.Env, "\n"), p.secrets["owner-password"])
		var got []string
		for _, m := range c.Mounts {
			if strings.HasPrefix(m.Destination, "/run/secrets/") {
				got = append(got, filepath.Base(m.Destination))
				if m.RW {
					t.Errorf("%s can write %s", c.Name, m.Destination)
				}
				raw, err := os.ReadFile(m.Source)
				if err != nil {
					t.Fatal(err)
				}
				owns = owns || strings.Contains(string(raw), p.secrets["owner-password"])
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, mounts) {
			t.Errorf("%s has the secrets %v, want %v", c.Name, got, mounts)
		}
		if owns != mayOwn {
			t.Errorf("%s has the owner's password: %v", c.Name, owns)
		}
		if service != "postgres" && slices.Contains(got, "postgres-password") {
			t.Errorf("%s has the superuser's password", c.Name)
		}
		for _, bindings := range c.NetworkSettings.Ports {
			for _, b := range bindings {
				if b.HostIp != "127.0.0.1" {
					t.Errorf("%s is published on %q", c.Name, b.HostIp)
				}
			}
		}
	}
}

// owned expects that the schema's owner is no superuser, that everything belongs to it, and that the first start told no secrets.
func (p *project) owned() {
	p.t.Helper()
	id := p.container("postgres").ID
	if got := docker(p.t, "exec", id, "psql", "-U", "postgres", "-d", "quartermaster", "-AtXc", ownership); got != ownedByOwner {
		p.t.Errorf("ownership in the database:\ngot  %s\nwant %s", got, ownedByOwner)
	}
	said, err := exec.Command("docker", "logs", id).CombinedOutput()
	if err != nil || !bytes.Contains(said, []byte("quartermaster.sh")) {
		p.t.Errorf("the log of Postgres does not tell of the script: %v\n%s", err, said)
	}
	for _, name := range []string{"owner-password", "postgres-password"} {
		if bytes.Contains(said, []byte(p.secrets[name])) {
			p.t.Errorf("%s is in the log of Postgres", name)
		}
	}
}

// backedUpAndRestored does what docs/operations.md says under "In containers", by the function that is printed there.
func (p *project) backedUpAndRestored() {
	t := p.t
	t.Helper()
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^in_postgres\(\) \{\n(.*\n)+?\}\n`).FindString(string(manual))
	const compose, backups = "docker compose -f deploy/compose.yaml", "$PWD/backup"
	if !strings.Contains(function, compose) || !strings.Contains(function, backups) {
		t.Fatalf("docs/operations.md has another function:\n%s", function)
	}
	function = strings.ReplaceAll(function, compose, os.Getenv("TEST_COMPOSE")+" "+strings.Join(p.options, " "))
	function = strings.ReplaceAll(function, backups, t.TempDir())
	inPostgres := func(command string) string {
		t.Helper()
		cmd := exec.Command("bash", "-c", function+"in_postgres "+command)
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append(os.Environ(), p.env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("in_postgres %s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	if out := inPostgres("/deploy/backup.sh /backup/file"); !strings.Contains(out, "the log up to event ") {
		t.Errorf("the backup says:\n%s", out)
	}
	for _, statement := range []string{"DROP DATABASE quartermaster", "CREATE DATABASE quartermaster OWNER quartermaster_owner"} {
		docker(t, "exec", p.container("postgres").ID, "psql", "-U", "postgres", "-qXc", statement)
	}
	if out := inPostgres("/deploy/restore.sh /backup/file"); !strings.Contains(out, "the log up to event ") {
		t.Errorf("the restore says:\n%s", out)
	}
	p.owned()
}

// TestCompose builds on what .ci/containers has made: a Docker engine, the console's image and one
// of Postgres.
func TestCompose(t *testing.T) {
	if os.Getenv("TEST_COMPOSE") == "" {
		t.Skip("NOT RUN: TEST_COMPOSE is not set; .ci/containers sets it and runs the compose files and the image")
	}
	t.Run("image", imageHasWhatItNeeds)
	t.Run("try-out", tryOut)
	t.Run("production", productionCompose)
}

// imageHasWhatItNeeds looks at every file of the image.
func imageHasWhatItNeeds(t *testing.T) {
	image := os.Getenv("TEST_IMAGE")
	var about []struct {
		Size   int64
		Config struct {
			User        string
			Env         []string
			Labels      map[string]string
			Healthcheck struct{ Test []string }
		}
	}
	if err := json.Unmarshal([]byte(docker(t, "image", "inspect", image)), &about); err != nil || len(about) != 1 {
		t.Fatal(err)
	}
	t.Logf("%s has %.1f MB", image, float64(about[0].Size)/1e6)
	if about[0].Size > 40e6 {
		t.Errorf("the image has %d bytes", about[0].Size)
	}
	config := about[0].Config
	if config.User != imageUser || !slices.Equal(config.Healthcheck.Test, []string{"CMD", "/quartermaster", "healthcheck"}) {
		t.Errorf("user %q, health check %v", config.User, config.Healthcheck.Test)
	}
	for _, label := range []string{"title", "description", "licenses", "version", "revision", "created"} {
		if value := config.Labels["org.opencontainers.image."+label]; value == "" || value == "unknown" {
			t.Errorf("the label %s is %q", label, value)
		}
	}
	if said := docker(t, "run", "--rm", image, "version"); said != "quartermaster "+config.Labels["org.opencontainers.image.version"] {
		t.Errorf("it says %q, the label %q", said, config.Labels["org.opencontainers.image.version"])
	}

	id := docker(t, "create", image)
	defer docker(t, "rm", id)
	export := exec.Command("docker", "export", id)
	raw, err := export.Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := regexp.MustCompile(`^(quartermaster|LICENSE|THIRD_PARTY_NOTICES\.txt|etc/ssl/certs/ca-certificates\.crt|usr/share/zoneinfo/.+)$`)
	engines := regexp.MustCompile(`^(\.dockerenv|dev/console|etc/(hosts|hostname|resolv\.conf|mtab))$`)
	found := map[string]int64{}
	for files := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			if data := h.Name == "var/lib/quartermaster/"; h.Uid != 0 || data != (h.Mode&0o7777 == 0o1777) || !data && h.Mode&0o022 != 0 {
				t.Errorf("the folder %s belongs to %d with mode %o", h.Name, h.Uid, h.Mode)
			}
			continue
		}
		if engines.MatchString(h.Name) {
			continue
		}
		if !ours.MatchString(h.Name) || h.Typeflag != tar.TypeReg || h.Uid != 0 || h.Mode&0o6022 != 0 {
			t.Errorf("%s is in the image: type %c, owner %d, mode %o", h.Name, h.Typeflag, h.Uid, h.Mode)
		}
		found[h.Name] = h.Size
		if h.Name == "quartermaster" {
			program, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			isStatic(t, program)
		}
	}
	for _, name := range []string{"quartermaster", "LICENSE", "THIRD_PARTY_NOTICES.txt", "etc/ssl/certs/ca-certificates.crt", "usr/share/zoneinfo/Europe/Berlin", "usr/share/zoneinfo/UTC"} {
		if found[name] == 0 {
			t.Errorf("%s is not in the image", name)
		}
	}
}

func isStatic(t *testing.T, program []byte) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %v", part.Type)
		}
	}
}

// TestTryOutMeetsNoRealInstallation: what a shell has for a real installation goes before tryout.env, so the command itself names
// project and secrets.
func TestTryOutMeetsNoRealInstallation(t *testing.T) {
	cmd := exec.Command("make", "-n", "--no-print-directory", "-o", "image", "tryout", "COMPOSE=compose")
	cmd.Dir = "../.."
	// The tests may themselves have been started by make, with flags that are not meant for this one.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "COMPOSE_PROJECT_NAME=quartermaster", "QUARTERMASTER_SECRETS=/etc/quartermaster", "QUARTERMASTER_PUBLISH=443")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "QUARTERMASTER_SECRETS=./tryout-secrets compose -p quartermaster-tryout ") {
		t.Errorf("%v:\n%s", err, out)
	}
	guard, _, _ := strings.Cut(string(out), "\n")
	cmd = exec.Command("sh", "-c", guard)
	cmd.Env = []string{"QUARTERMASTER_PUBLISH=443"}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "for this machine only") {
		t.Errorf("published to everybody: %v:\n%s", err, out)
	}
}

// tryOut does with the try-out what a newcomer would: sign in, restart a cluster, look at the log,
// stop and come back. Meanwhile its Postgres goes away.
func tryOut(t *testing.T) {
	first := freePorts(t, 2)
	console, issuer := strconv.Itoa(first), strconv.Itoa(first+1)
	p := newProject(t, "qm-test-tryout", []string{"QUARTERMASTER_PUBLISH=127.0.0.1:" + console, "QUARTERMASTER_PORT=" + console, "TRYOUT_IDP_PORT=" + issuer},
		"--env-file", "deploy/tryout.env", "-f", "deploy/compose.yaml", "-f", "deploy/compose.tryout.yaml")
	begun := time.Now()
	p.run("up", "-d")
	dev := &devProgram{t: t, about: devDescription{URL: "http://localhost:" + console, Issuer: "http://127.0.0.1:" + issuer}}
	eventually(t, "the try-out is healthy", func() bool { return p.container("console").State.Health.Status == "healthy" })
	t.Logf("healthy after %s", time.Since(begun).Round(100*time.Millisecond))
	running := p.container("console")
	if c := p.container("migrate"); c.State.Status != "exited" || c.State.ExitCode != 0 {
		t.Errorf("the migration: %s with %d", c.State.Status, c.State.ExitCode)
	}
	p.hardened("console", false, "database-url", "kek", "oidc-client-secret")
	p.hardened("migrate", true, "database-url", "owner-url")
	p.hardened("postgres", true, "owner-password", "postgres-password")
	p.owned()

	v := dev.signIn(t, operator)
	row := restartable(t, v)
	cluster := "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]
	if done := v.post(cluster+"/restart", nil); done.status != http.StatusOK || done.url.Path != cluster {
		t.Fatalf("the restart ended at %s with %d:\n%.2000s", done.url, done.status, done.body)
	}
	expectRestarts := func() {
		t.Helper()
		restarts := 0
		for _, event := range dev.signIn(t, auditor).get("/audit?act=cluster.restart").byTestID("audit-row") {
			if event["data-act"] == "cluster.restart" && event["data-outcome"] == "ok" && strings.Contains(event["data-actor"], "operator") {
				restarts++
			}
		}
		if restarts != 1 {
			t.Errorf("%d restarts in the log, want 1", restarts)
		}
	}
	expectRestarts()
	if out := docker(t, "exec", running.ID, "/quartermaster", "audit", "verify"); !strings.Contains(out, "whole and unchanged") {
		t.Errorf("audit verify: %s", out)
	}

	ready := dev.about.URL + "/readyz"
	p.run("stop", "postgres")
	eventually(t, "the console says that its database is away", func() bool { return status(ready) == http.StatusServiceUnavailable })
	p.run("start", "postgres")
	eventually(t, "the console is ready again", func() bool { return status(ready) == http.StatusOK })
	if now := p.container("console"); now.ID != running.ID || now.State.StartedAt != running.State.StartedAt || now.RestartCount != 0 {
		t.Errorf("the console did not live through it: started %s, now %s", running.State.StartedAt, now.State.StartedAt)
	}
	if got := v.get("/clusters"); got.bodyID() != "clusters-index" {
		t.Errorf("the session did not outlive the database's restart: %s, status %d", got.url, got.status)
	}
	expectRestarts()

	database := "QM_DATABASE_URL=" + strings.TrimSpace(p.secrets["database-url"])
	serve := append(environmentOf(goodEnvironment()), database)
	p.foreign("made by quartermaster dev, or for it", serve, "serve")
	p.foreign("made by quartermaster dev, or for it", []string{database, "QM_MIGRATE_DATABASE_URL=" + strings.TrimSpace(p.secrets["owner-url"])}, "migrate", "up")

	p.run("stop")
	for _, service := range []string{"console", "postgres"} {
		if c := p.container(service); c.State.Status != "exited" || c.State.ExitCode != 0 {
			t.Errorf("%s stopped with %s and %d", service, c.State.Status, c.State.ExitCode)
		}
	}
	p.run("up", "-d")
	eventually(t, "the try-out is ready again", func() bool { return status(ready) == http.StatusOK })
	if got := v.get("/clusters"); got.bodyID() != "clusters-index" || len(got.byTestID("cluster-row")) < 26 {
		t.Errorf("the second start is another world: %s, status %d", got.url, got.status)
	}
	expectRestarts()
}

// productionCompose starts three consoles as a team would, with an identity provider that cannot be
// reached: they are ready and say so.
func productionCompose(t *testing.T) {
	first := freePorts(t, 3)
	file := filepath.Join(t.TempDir(), "env") // as deploy/.env
	settings := func(lines ...string) {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	published := "QUARTERMASTER_PUBLISH=127.0.0.1:" + strconv.Itoa(first) + "-" + strconv.Itoa(first+2)
	settings(published)
	p := newProject(t, "qm-test-production", nil, "--env-file", file, "-f", "deploy/compose.yaml")
	p.run("config", "--quiet")

	p.run("up", "-d", "postgres", "migrate")
	eventually(t, "the migration ended", func() bool { return p.container("migrate").State.Status == "exited" })
	if c := p.container("migrate"); c.State.ExitCode != 0 {
		t.Fatalf("the migration ended with %d", c.State.ExitCode)
	}
	p.hardened("migrate", true, "database-url", "owner-url")
	p.hardened("postgres", true, "owner-password", "postgres-password")
	p.owned()
	p.backedUpAndRestored()

	missing := p.try("run", "--rm", "--no-deps", "-T", "console")
	if missing.code != exitMisused {
		t.Errorf("without settings: exit code %d", missing.code)
	}
	for _, name := range []string{"QM_BASE_URL is needed by serve", "QM_OIDC_ISSUER is needed by serve", "QM_OIDC_CLIENT_ID is needed by serve", "nobody would have any rights"} {
		if !strings.Contains(missing.stdout+missing.stderr, name) {
			t.Errorf("without settings: %q is not in:\n%s%s", name, missing.stdout, missing.stderr)
		}
	}

	settings(published, "QM_BASE_URL=https://console.example.test", "QM_OIDC_ISSUER=https://login.example.test", "QM_OIDC_CLIENT_ID=quartermaster", "QM_ADMIN_GROUPS=admins")
	p.run("up", "-d", "--scale", "console=3")
	for i := range 3 {
		base := "http://127.0.0.1:" + strconv.Itoa(first+i)
		eventually(t, base+" is ready", func() bool { return status(base+"/readyz") == http.StatusOK })
		request, err := http.NewRequest(http.MethodGet, base+"/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "console.example.test"
		if page := newVisitor(t, base).do(request); page.status != http.StatusServiceUnavailable || page.bodyID() != "sign-in" {
			t.Errorf("%s: the sign-in page without a provider: status %d, body %q", base, page.status, page.bodyID())
		}
	}
	p.hardened("console", false, "database-url", "kek", "oidc-client-secret")
	consoles := p.containers("console")
	if len(consoles) != 3 {
		t.Fatalf("%d consoles", len(consoles))
	}
	eventually(t, "all are healthy", func() bool {
		return !slices.ContainsFunc(p.containers("console"), func(c container) bool { return c.State.Health.Status != "healthy" })
	})
	// Everybody may write in the folder: nothing but the read-only file system stands in the way.
	write := exec.Command("docker", "exec", consoles[0].ID, "/quartermaster", "audit", "export", "--output", "/var/lib/quartermaster/log")
	if out, err := write.CombinedOutput(); err == nil || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("writing a file: %v\n%s", err, out)
	}

	database := "QM_DATABASE_URL=" + strings.TrimSpace(p.secrets["database-url"])
	owner := "QM_MIGRATE_DATABASE_URL=" + strings.TrimSpace(p.secrets["owner-url"])
	p.foreign("not made by quartermaster dev", []string{"QM_DEV_CONTAINER=yes", database, "QM_DEV_DIR=/var/lib/quartermaster"}, "dev")
	p.foreign("not made by quartermaster dev", []string{database, owner}, "migrate", "up", "--for-dev")

	p.run("stop")
	for _, c := range append(p.containers("console"), p.container("postgres")) {
		if c.State.Status != "exited" || c.State.ExitCode != 0 {
			t.Errorf("%s stopped with %s and %d", c.Name, c.State.Status, c.State.ExitCode)
		}
	}
}
