package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// result is what one run of the program said and returned.
type result struct {
	code           int
	stdout, stderr string
}

// runProgram runs the program to its end.
func runProgram(t *testing.T, env environment, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	code := run(ctx, args, env, &stdout, &stderr)
	return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

// goodEnvironment is the least that serve starts with.
func goodEnvironment() map[string]string {
	return map[string]string{
		"QM_BASE_URL":       "https://console.example.com",
		"QM_DATABASE_URL":   "postgres://app:pw@127.0.0.1:5432/quartermaster",
		"QM_OIDC_ISSUER":    "https://login.example.com",
		"QM_OIDC_CLIENT_ID": "quartermaster",
		"QM_ADMIN_GROUPS":   "admins",
		"QM_KEK":            "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	}
}

func environmentOf(values map[string]string) environment {
	var env environment
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return env
}

// configure resolves and validates as the program does.
func configure(command string, values map[string]string) (Settings, problems) {
	var c Config
	was, found := c.resolve(command, environmentOf(values))
	s, more := c.validate(command, was)
	return s, append(found, more...)
}

func TestConfigGoodIsAccepted(t *testing.T) {
	s, found := configure("serve", goodEnvironment())
	if len(found) != 0 {
		t.Fatalf("problems: %q", found)
	}
	if s.BaseURL.String() != "https://console.example.com" || s.SessionIdle != 30*time.Minute || s.SessionMax != 12*time.Hour ||
		s.UnknownAfter != 2*time.Minute || s.PollMin != 2*time.Second || s.PollMax != time.Minute || s.GoneFor != 7*24*time.Hour || s.UpstreamRPS != 5 || s.Addr != ":8080" {
		t.Errorf("the defaults are not those of the README: %+v", s)
	}
	if diff := cmp.Diff([]string{"admins"}, s.Contact); diff != "" {
		t.Errorf("contact (-want +got):\n%s", diff)
	}
}

func TestConfigEachProblemIsNamed(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		set  map[string]string
		want string
	}{
		"base url with http":        {map[string]string{"QM_BASE_URL": "http://console.example.com"}, "QM_BASE_URL: http://console.example.com is not on this machine, so it must be https"},
		"base url with a path":      {map[string]string{"QM_BASE_URL": "https://x.example.com/console"}, "QM_BASE_URL: the console must have a host of its own"},
		"base url with a query":     {map[string]string{"QM_BASE_URL": "https://x.example.com/?a=b"}, "QM_BASE_URL: the address must not hold a query"},
		"base url with a password":  {map[string]string{"QM_BASE_URL": "https://u:p@x.example.com"}, "QM_BASE_URL: the address must not hold a user or password"},
		"base url of another kind":  {map[string]string{"QM_BASE_URL": "javascript:alert(1)"}, "QM_BASE_URL: "},
		"issuer with http":          {map[string]string{"QM_OIDC_ISSUER": "http://login.example.com"}, "QM_OIDC_ISSUER: "},
		"upstream with http":        {map[string]string{"QM_CLOUD_API_URL": "http://api.example.com"}, "QM_CLOUD_API_URL: "},
		"upstream with a path":      {map[string]string{"QM_CLOUD_API_URL": "https://api.example.com/v1"}, "QM_CLOUD_API_URL: give scheme and host only"},
		"no base url":               {map[string]string{"QM_BASE_URL": ""}, "QM_BASE_URL is needed by serve"},
		"no key":                    {map[string]string{"QM_KEK": ""}, "QM_KEK is needed by serve"},
		"a short key":               {map[string]string{"QM_KEK": "base64:AAEC"}, "QM_KEK: "},
		"no database":               {map[string]string{"QM_DATABASE_URL": ""}, "QM_DATABASE_URL is needed by serve"},
		"no database address":       {map[string]string{"QM_DATABASE_URL": "postgres://app:hunter2@h:port/x"}, "QM_DATABASE_URL is not a Postgres address"},
		"no duration":               {map[string]string{"QM_POLL_MAX": "60"}, `QM_POLL_MAX: "60" is not a duration`},
		"no pause":                  {map[string]string{"QM_DRAIN_DELAY": "5"}, `QM_DRAIN_DELAY: "5" is not a duration`},
		"a negative pause":          {map[string]string{"QM_DRAIN_DELAY": "-1s"}, `QM_DRAIN_DELAY: "-1s" is not a duration`},
		"a negative duration":       {map[string]string{"QM_SESSION_MAX": "-1h"}, "QM_SESSION_MAX: "},
		"poll limits crossed":       {map[string]string{"QM_POLL_MIN": "2m"}, "QM_POLL_MIN (2m0s) is longer than QM_POLL_MAX (1m0s)"},
		"session limits crossed":    {map[string]string{"QM_SESSION_IDLE": "13h"}, "QM_SESSION_IDLE (13h0m0s) is longer"},
		"no number":                 {map[string]string{"QM_UPSTREAM_RPS": "NaN"}, "QM_UPSTREAM_RPS: "},
		"no share of requests":      {map[string]string{"QM_TRACES_RATIO": "1.5"}, "QM_TRACES_RATIO: "},
		"no collector":              {map[string]string{"QM_TRACES_URL": "collector:4318"}, "QM_TRACES_URL: "},
		"secret headers in clear":   {map[string]string{"QM_TRACES_URL": "http://collector:4318", "QM_TRACES_HEADERS": "a=b"}, "QM_TRACES_URL: http://collector:4318 is not on this machine"},
		"no header":                 {map[string]string{"QM_TRACES_HEADERS": "authorization"}, "QM_TRACES_HEADERS: header 1 is not name=value"},
		"no proxy range":            {map[string]string{"QM_TRUSTED_PROXIES": "10.0.0.0/8, all"}, `QM_TRUSTED_PROXIES: "all"`},
		"a lone certificate":        {map[string]string{"QM_TLS_CERT": "x.pem"}, "QM_TLS_CERT and QM_TLS_KEY belong together"},
		"no authorities":            {map[string]string{"QM_CA_FILE": filepath.Join(dir, "none")}, "QM_CA_FILE: "},
		"no address":                {map[string]string{"QM_ADDR": "8080"}, "QM_ADDR: "},
		"no level":                  {map[string]string{"QM_LOG_LEVEL": "loud"}, "QM_LOG_LEVEL: "},
		"a misspelt name":           {map[string]string{"QM_SESION_IDLE": "1h"}, "QM_SESION_IDLE is not a variable of this program; the nearest is QM_SESSION_IDLE"},
		"secret given twice":        {map[string]string{"QM_KEK_FILE": empty}, "QM_KEK and QM_KEK_FILE are both set"},
		"an empty secret file":      {map[string]string{"QM_OIDC_CLIENT_SECRET_FILE": empty}, "QM_OIDC_CLIENT_SECRET_FILE: " + empty + " is empty"},
		"a secret file not there":   {map[string]string{"QM_OIDC_CLIENT_SECRET_FILE": filepath.Join(dir, "none")}, "QM_OIDC_CLIENT_SECRET_FILE: "},
		"a secret for its file":     {map[string]string{"QM_OIDC_CLIENT_SECRET_FILE": "hunter2"}, "QM_OIDC_CLIENT_SECRET_FILE names no file: its value, which is not shown"},
		"a key for its file":        {map[string]string{"QM_KEK": "", "QM_KEK_FILE": "base64:aHVudGVy/Mg=="}, "QM_KEK_FILE names no file: its value, which is not shown"},
		"a key file not there":      {map[string]string{"QM_KEK": "", "QM_KEK_FILE": filepath.Join(dir, "none")}, "QM_KEK_FILE: "},
		"nobody with rights":        {map[string]string{"QM_ADMIN_GROUPS": " , "}, "nobody would have any rights"},
		"a file variant of a plain": {map[string]string{"QM_ADDR_FILE": "x"}, "QM_ADDR_FILE is not a variable"},
		"no time to step up":        {map[string]string{"QM_STEP_UP_AFTER": "0s"}, "QM_STEP_UP_AFTER: "},
		"a variable of no time":     {map[string]string{"QM_STEP_DOWN_AFTER": "10m"}, "QM_STEP_DOWN_AFTER is not a variable"},
	} {
		t.Run(name, func(t *testing.T) {
			env := goodEnvironment()
			for k, v := range test.set {
				env[k] = v
			}
			_, found := configure("serve", env)
			if len(found) != 1 || !strings.HasPrefix(found[0], test.want) {
				t.Errorf("problems are %q, want one that begins with %q", found, test.want)
			}
		})
	}
}

func TestConfigAllProblemsAreToldAtOnceWithoutValuesOfSecrets(t *testing.T) {
	env := environmentOf(map[string]string{
		"QM_KEK": "base64:canary-kek", "QM_DATABASE_URL": "postgres://app:canary-pw@h:port/x", "QM_BASE_URL": "console",
		"QM_POLL_MIN": "soon", "QM_OIDC_CLIENT_SECRET": "canary-secret",
	})
	got := runProgram(t, env, "serve", "--session-max", "never")
	if got.code != exitMisused {
		t.Errorf("exit code %d, want %d", got.code, exitMisused)
	}
	for _, name := range []string{"QM_KEK", "QM_DATABASE_URL", "QM_BASE_URL", "QM_POLL_MIN", "QM_SESSION_MAX", "QM_OIDC_ISSUER", "QM_OIDC_CLIENT_ID", "nobody"} {
		if !strings.Contains(got.stderr, "\n  - "+name) {
			t.Errorf("%s is not named in:\n%s", name, got.stderr)
		}
	}
	if strings.Contains(got.stdout+got.stderr, "canary") {
		t.Errorf("a secret was printed:\n%s", got.stderr)
	}
}

func TestConfigSecretFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(path, []byte("postgres://app:pw@127.0.0.1/fromfile\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := goodEnvironment()
	delete(env, "QM_DATABASE_URL")
	env["QM_DATABASE_URL_FILE"] = path
	s, found := configure("serve", env)
	if len(found) != 0 || s.DatabaseURL != "postgres://app:pw@127.0.0.1/fromfile" {
		t.Errorf("database is %q, problems %q", s.DatabaseURL, found)
	}
	if s.Digests["QM_DATABASE_URL"] == "" || strings.Contains(strings.Join(mapValues(s.Digests), " "), "postgres") {
		t.Errorf("digests: %v", s.Digests)
	}
}

func mapValues(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func TestConfigSecretsHaveNoFlag(t *testing.T) {
	got := runProgram(t, environmentOf(goodEnvironment()), "serve", "--kek", "base64:x")
	if got.code != exitMisused || !strings.Contains(got.stderr, "unknown flag --kek") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
}

func TestConfigEachCommandAsksForItsOwn(t *testing.T) {
	for command, want := range map[string]problems{
		"version":      nil,
		"dev":          nil,
		"sandbox":      nil,
		"healthcheck":  nil,
		"audit verify": {"QM_DATABASE_URL is needed by audit verify"},
		"migrate up":   {"QM_DATABASE_URL is needed by migrate up", "QM_MIGRATE_DATABASE_URL is needed by migrate up"},
	} {
		if _, found := configure(command, nil); !cmp.Equal(want, found) {
			t.Errorf("%s: problems %q, want %q", command, found, want)
		}
	}
	got := runProgram(t, nil, "sandbox", "--oidc-issuer", "https://login.example.com")
	if got.code != exitMisused || !strings.Contains(got.stderr, "--oidc-issuer is not used by sandbox") {
		t.Errorf("a flag of another command: exit code %d: %s", got.code, got.stderr)
	}
}

func TestConfigFlagWinsOverEnvironment(t *testing.T) {
	c := Config{PollMax: "5s"}
	was, found := c.resolve("serve", environment{"QM_POLL_MAX=9s", "QM_POLL_MIN=1s"})
	if len(found) != 0 || c.PollMax != "5s" || c.PollMin != "1s" || !was["QM_POLL_MAX"] || was["QM_ADDR"] {
		t.Errorf("poll max %q, poll min %q, given %v, problems %q", c.PollMax, c.PollMin, was, found)
	}
}

func TestDevRefusesAnythingButItsOwnWorld(t *testing.T) {
	for name, value := range map[string]string{
		"QM_OIDC_ISSUER": "https://login.example.com", "QM_OIDC_CLIENT_SECRET_FILE": "/x", "QM_KEK": "base64:x", "QM_DATABASE_URL": "postgres://h/x",
		"QM_CLOUD_API_URL": "https://api.cloud.qdrant.io", "QM_CLOUD_PA_URL": "https://cloud.qdrant.io", "QM_ADDR": "0.0.0.0:8080", "QM_DEV_IDP_ADDR": ":8081",
		"QM_SANDBOX_ADDR": "10.0.0.1:1", "QM_METRICS_ADDR": "example.test:1", "QM_SANDBOX_CONTROL_ADDR": "[::]:1",
	} {
		dir := t.TempDir()
		got := runProgram(t, environment{name + "=" + value, "QM_DEV_DIR=" + dir}, "dev")
		if got.code != exitMisused || !strings.Contains(got.stderr, "\n  - "+strings.TrimSuffix(name, "_FILE")) {
			t.Errorf("%s=%s: exit code %d: %s", name, value, got.code, got.stderr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s=%s: the folder was touched: %v %v", name, value, left, err)
		}
	}
}

// A key that was put after "file:" by mistake is not repeated, and neither is what a terminal would act on.
func TestKEKInAWrongPlaceIsNotRepeated(t *testing.T) {
	secret := "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="
	for _, value := range []string{"file:" + secret, "file://" + secret, "FILE:" + secret, secret, "file:///x\n\x1b[31m" + secret} {
		got := runProgram(t, environment{"QM_KEK=" + value}, "keys", "fingerprint")
		if got.code != exitMisused || !strings.Contains(got.stderr, "QM_KEK: ") || strings.Contains(got.stderr, secret) {
			t.Errorf("%q: exit code %d: %q", value, got.code, got.stderr)
		}
	}
}

// parseDev says what dev finds wrong with an environment and flags, in a container or not.
func parseDev(contained bool, env environment, flags ...string) string {
	p := &program{env: env, stdout: io.Discard, stderr: io.Discard, inContainer: func() bool { return contained }}
	if _, err := p.parse(context.Background(), append([]string{"dev"}, flags...)); err != nil {
		return err.Error()
	}
	return ""
}

func TestDevListensForOthersInAContainerOnly(t *testing.T) {
	good := []string{"QM_DEV_CONTAINER=yes", "QM_ADDR=:8080", "QM_DEV_IDP_ADDR=0.0.0.0:8081", "QM_DATABASE_URL=postgres://app@postgres/quartermaster"}
	if got := parseDev(true, good); got != "" {
		t.Errorf("in a container: %s", got)
	}
	if got := parseDev(true, append(good, "QM_ADDR=127.0.0.1:8080")); got != "" {
		t.Errorf("on loopback in a container: %s", got)
	}
	file := filepath.Join(t.TempDir(), "database-url")
	if err := os.WriteFile(file, []byte("postgres://app@postgres/quartermaster"), 0o600); err != nil {
		t.Fatal(err)
	}
	flag := "--database-url-file=" + file
	if got := parseDev(true, append(good, "QM_DATABASE_URL="), flag); got != "" {
		t.Errorf("in a container, with a flag: %s", got)
	}
	if got := parseDev(true, nil, flag); !strings.Contains(got, "QM_DATABASE_URL_FILE is set, but dev starts its own Postgres") {
		t.Errorf("not told, with a database by a flag: %q", got)
	}
	for name, test := range map[string]struct {
		contained bool
		set       []string
		want      string
	}{
		"told so, but on a machine":    {false, nil, "QM_DEV_CONTAINER is yes, but this is not a container"},
		"in a container, but not told": {true, []string{"QM_DEV_CONTAINER=no"}, `QM_ADDR: ":8080" is not a loopback address`},
		"not told, with a database":    {true, []string{"QM_DEV_CONTAINER="}, "QM_DATABASE_URL is set, but dev starts its own Postgres"},
		"without a database":           {true, []string{"QM_DATABASE_URL="}, "QM_DATABASE_URL is needed by dev"},
		"a word":                       {true, []string{"QM_DEV_CONTAINER=true"}, `QM_DEV_CONTAINER: "true" is none of no, yes`},
		"the owner's address":          {true, []string{"QM_MIGRATE_DATABASE_URL=postgres://owner@postgres/quartermaster"}, "QM_MIGRATE_DATABASE_URL is set, but in a container dev does not migrate"},
		"the owner's address, a file":  {true, []string{"QM_MIGRATE_DATABASE_URL_FILE=/x"}, "QM_MIGRATE_DATABASE_URL_FILE is set, but in a container"},
		"one address":                  {true, []string{"QM_ADDR=10.0.0.1:8080"}, `QM_ADDR: "10.0.0.1:8080" is not a loopback address`},
		"a name":                       {true, []string{"QM_DEV_IDP_ADDR=console:8081"}, `QM_DEV_IDP_ADDR: "console:8081" is not a loopback address`},
		"the metrics":                  {true, []string{"QM_METRICS_ADDR=:9090"}, `QM_METRICS_ADDR: ":9090" is not a loopback address`},
		"the sandbox":                  {true, []string{"QM_SANDBOX_ADDR=:8082"}, `QM_SANDBOX_ADDR: ":8082" is not a loopback address`},
		"the sandbox's control":        {true, []string{"QM_SANDBOX_CONTROL_ADDR=[::]:8083"}, `QM_SANDBOX_CONTROL_ADDR: "[::]:8083" is not a loopback address`},
		"a real provider":              {true, []string{"QM_OIDC_ISSUER=https://login.example.com"}, "QM_OIDC_ISSUER is set, but dev has its own"},
		"a real key":                   {true, []string{"QM_KEK_FILE=/run/secrets/kek"}, "QM_KEK_FILE is set, but dev makes its own"},
		"a real Cloud API":             {true, []string{"QM_CLOUD_API_URL=https://api.cloud.qdrant.io"}, "QM_CLOUD_API_URL is not on this machine"},
	} {
		if got := parseDev(test.contained, append(good, test.set...)); !strings.Contains(got, "\n  - "+test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestHelpShowsOnlyTheCommandsOwnFlags(t *testing.T) {
	got := runProgram(t, nil, "serve", "--help")
	if got.code != exitOK || !strings.Contains(got.stdout, "--base-url") || strings.Contains(got.stdout, "--dev-dir") {
		t.Errorf("exit code %d:\n%s", got.code, got.stdout)
	}
	if got := runProgram(t, nil); got.code != exitMisused {
		t.Errorf("no command: exit code %d", got.code)
	}
	if got := runProgram(t, nil, "version"); got.code != exitOK || !strings.HasPrefix(got.stdout, "quartermaster ") {
		t.Errorf("version: exit code %d: %s", got.code, got.stdout)
	}
}

// readmeRow is a variable's row of the README's table.
func readmeRow(v variable) string {
	value := "`" + v.Default + "`"
	if v.Default == "" {
		value = ""
	}
	help := v.Help
	if v.Secret {
		help += " Or in a file: `" + v.file() + "`."
	}
	return "| `" + v.Name + "` | " + value + " | " + strings.Join(v.Commands, ", ") + " | " + help + " |"
}

func TestREADMEListsEveryVariable(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, v := range variables() {
		if !strings.HasSuffix(v.Name, "_FILE") || v.Name == "QM_CA_FILE" {
			want = append(want, readmeRow(v))
		}
	}
	for line := range strings.Lines(string(readme)) {
		if strings.HasPrefix(line, "| `QM_") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the README's table is not the program's (-program +README):\n%s", diff)
	}
}
