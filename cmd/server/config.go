package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Config is every variable the program knows, as the text that was given. A flag wins over the
// environment, where the variable is QM_ and the flag's name in capitals, with _ for -.
//
// Tags: name is the flag; help is the one line of documentation, repeated by the README, which a test compares;
// preset is the value when nothing is given, dev the one when it is the dev command; for names the commands that use it (a flag given
// to another command is a mistake); secret marks what must not be a process argument and so has
// no flag, but a _FILE variant, whose field stands below it.
type Config struct {
	Addr           string `name:"addr" preset:":8080" dev:"127.0.0.1:8080" for:"serve dev sandbox check healthcheck" help:"Address the console listens on; dev: 127.0.0.1:8080. The sandbox command takes it as a flag only."`
	MetricsAddr    string `name:"metrics-addr" preset:"127.0.0.1:9090" dev:"127.0.0.1:0" for:"serve dev check" help:"Address of /metrics, which asks nobody who they are; dev: a free port of 127.0.0.1."`
	BaseURL        string `name:"base-url" for:"serve check healthcheck breakglass" help:"Where browsers find the console, https://host or http://localhost:port; the redirect address is this plus /auth/callback."`
	TLSCert        string `name:"tls-cert" for:"serve check healthcheck" help:"PEM file of the certificate chain, when the console serves https itself."`
	TLSKey         string `name:"tls-key" for:"serve check healthcheck" help:"PEM file of the certificate's private key."`
	TrustedProxies string `name:"trusted-proxies" for:"serve check" help:"Addresses or CIDR ranges, separated by commas, whose X-Forwarded-For is believed."`
	CAFile         string `name:"ca-file" for:"serve check" help:"PEM file of certificate authorities to trust, besides the system's, for the identity provider and the Cloud API."`
	Contact        string `name:"contact" for:"serve dev check" help:"Whom members without any rights are told to ask, separated by commas; the admin groups and e-mails when empty."`

	DatabaseURL            string `name:"database-url" kong:"-" secret:"" for:"serve dev migrate check audit breakglass" help:"Postgres address the console works with, as a role that can append to the log but not change it; dev: in a container only."`
	DatabaseURLFile        string `name:"database-url-file" for:"serve dev migrate check audit breakglass" help:"File that holds QM_DATABASE_URL."`
	MigrateDatabaseURL     string `name:"migrate-database-url" kong:"-" secret:"" for:"serve migrate check" help:"Postgres address of the schema's owner; when serve has it, it migrates by itself."`
	MigrateDatabaseURLFile string `name:"migrate-database-url-file" for:"serve migrate check" help:"File that holds QM_MIGRATE_DATABASE_URL."`

	OIDCIssuer           string `name:"oidc-issuer" for:"serve check" help:"Issuer of the identity provider, exactly as its discovery document spells it."`
	OIDCClientID         string `name:"oidc-client-id" for:"serve check" help:"The console's client id at the identity provider."`
	OIDCClientSecret     string `name:"oidc-client-secret" kong:"-" secret:"" for:"serve check" help:"The console's client secret; empty for a public client."`
	OIDCClientSecretFile string `name:"oidc-client-secret-file" for:"serve check" help:"File that holds QM_OIDC_CLIENT_SECRET."`
	OIDCScopes           string `name:"oidc-scopes" preset:"openid profile email" for:"serve check" help:"Scopes asked for, separated by spaces."`
	OIDCGroupsClaim      string `name:"oidc-groups-claim" preset:"groups" for:"serve check" help:"Claim of the ID token that lists a member's groups: its name, or a path with dots into other claims."`
	AdminGroups          string `name:"admin-groups" for:"serve check" help:"Groups, separated by commas, whose members may do everything."`
	AdminEmails          string `name:"admin-emails" for:"serve check" help:"Verified e-mail addresses, separated by commas, that may do everything."`
	AuditorGroups        string `name:"auditor-groups" for:"serve check" help:"Groups that may read everything, the audit log included."`
	OperatorGroups       string `name:"operator-groups" for:"serve check" help:"Groups that may read everything but the audit log, and work on clusters, keys and backups."`
	ViewerGroups         string `name:"viewer-groups" for:"serve check" help:"Groups that may read everything but the audit log and payment data."`

	KEK     string `name:"kek" kong:"-" secret:"" for:"serve check keys breakglass" help:"Key that wraps the sealing keys: file:///path or base64: followed by 32 bytes."`
	KEKFile string `name:"kek-file" for:"serve check keys breakglass" help:"File that holds QM_KEK."`

	CloudAPIURL          string `name:"cloud-api-url" preset:"https://api.cloud.qdrant.io" for:"serve dev check" help:"Where the current Qdrant Cloud API is; dev: the sandbox."`
	CloudPAURL           string `name:"cloud-pa-url" preset:"https://cloud.qdrant.io" for:"serve dev check" help:"Where the legacy pa/v1 API is, without /pa/v1; dev: the sandbox."`
	UpstreamRPS          string `name:"upstream-rps" preset:"5" for:"serve dev check" help:"Most requests a second to the Cloud API for one account; counts in each console."`
	UpstreamReadTimeout  string `name:"upstream-read-timeout" preset:"10s" for:"serve dev check" help:"Longest wait for a reading call of the Cloud API."`
	UpstreamWriteTimeout string `name:"upstream-write-timeout" preset:"30s" for:"serve dev check" help:"Longest wait for a changing call of the Cloud API."`
	UpstreamLogsTimeout  string `name:"upstream-logs-timeout" preset:"20s" for:"serve dev check" help:"Longest wait for a call of the Cloud API that reads logs."`
	UpstreamRest         string `name:"upstream-rest" preset:"5s" for:"serve dev check" help:"How long calls for an account rest after five in a row failed; doubles, up to a minute, while they go on failing."`

	SessionIdle       string `name:"session-idle" preset:"30m" for:"serve dev check" help:"A session unused for so long has ended."`
	SessionMax        string `name:"session-max" preset:"12h" for:"serve dev check" help:"A session ends after so long, however much it is used."`
	StepUpAfter       string `name:"step-up-after" preset:"10m" for:"serve dev check" help:"An act that asks for a fresh sign-in takes one at the identity provider that is not older."`
	AuditUnknownAfter string `name:"audit-unknown-after" preset:"2m" for:"serve dev check" help:"An act begun so long ago and without an outcome reads unknown and is looked for upstream."`
	PollMin           string `name:"poll-min" preset:"2s" for:"serve dev check" help:"Shortest time between two refreshes of an account, while something in it moves."`
	PollMax           string `name:"poll-max" preset:"60s" for:"serve dev check" help:"Longest time between two refreshes of an account that is well."`
	GoneFor           string `name:"gone-for" preset:"168h" for:"serve dev check" help:"How long a cluster that Qdrant Cloud does not know any more stays visible as gone."`
	StateCheckAfter   string `name:"state-check-after" preset:"1m" for:"serve dev check" help:"How long after its start the console compares accounts, keys and rights in the tables with the log for the first time."`
	StateCheckEvery   string `name:"state-check-every" preset:"24h" for:"serve dev check" help:"How often it does so again."`
	DrainDelay        string `name:"drain-delay" preset:"5s" dev:"0s" for:"serve dev check" help:"How long the console goes on serving after a signal to stop, no longer ready, so that a load balancer notices; dev: 0s."`
	DrainTimeout      string `name:"drain-timeout" preset:"20s" dev:"10s" for:"serve dev sandbox check" help:"How long requests in flight may then take to end; dev: 10s."`

	LogLevel  string `name:"log-level" preset:"info" for:"serve dev sandbox migrate check audit breakglass" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string `name:"log-format" preset:"auto" for:"serve dev sandbox migrate check audit breakglass" help:"json, text, or auto: text for dev on a terminal, json otherwise."`

	TracesURL         string `name:"traces-url" for:"serve dev check" help:"Where traces are sent by OTLP over HTTP, such as http://127.0.0.1:4318; nowhere when empty."`
	TracesRatio       string `name:"traces-ratio" preset:"1" for:"serve dev check" help:"Share of requests that is traced, from 0 to 1."`
	TracesHeaders     string `name:"traces-headers" kong:"-" secret:"" for:"serve dev check" help:"Headers for the collector of traces, as name=value separated by commas; over https or on this machine only."`
	TracesHeadersFile string `name:"traces-headers-file" for:"serve dev check" help:"File that holds QM_TRACES_HEADERS."`

	DevDir              string `name:"dev-dir" preset:".quartermaster" for:"dev breakglass" help:"Folder where dev keeps its database, keys and sandbox; breakglass reads it with --dev only."`
	DevContainer        string `name:"dev-container" preset:"no" for:"dev" help:"yes, in a container only: QM_ADDR and QM_DEV_IDP_ADDR may be all its addresses, and the database is that of QM_DATABASE_URL, made by migrate up --for-dev."`
	DevPGPort           string `name:"dev-pg-port" preset:"0" for:"dev" help:"Port of dev's Postgres; 0 takes a free one and keeps it."`
	DevIDPAddr          string `name:"dev-idp-addr" preset:"127.0.0.1:8081" for:"dev" help:"Address of dev's identity provider."`
	SandboxAddr         string `name:"sandbox-addr" preset:"127.0.0.1:8082" for:"dev sandbox" help:"Address of the Cloud API stand-in."`
	SandboxControlAddr  string `name:"sandbox-control-addr" preset:"127.0.0.1:8083" for:"dev sandbox" help:"Address of the stand-in's control surface, for tests."`
	SandboxControlToken string `name:"sandbox-control-token" kong:"-" secret:"" for:"sandbox" help:"Bearer token of the control surface; a new one is made and printed when empty."`
	SandboxTokenFile    string `name:"sandbox-control-token-file" for:"sandbox" help:"File that holds QM_SANDBOX_CONTROL_TOKEN."`
}

// variable is one field of Config.
type variable struct {
	Name     string // QM_DATABASE_URL
	Flag     string // database-url; what the command line calls it
	Default  string
	Dev      string // what dev has instead of Default, when it is something else
	Help     string
	Commands []string
	Secret   bool

	index int
}

// file returns the name of the variable that holds the path of a file with the value.
func (v variable) file() string { return v.Name + "_FILE" }

// usedBy reports whether the command reads the variable.
func (v variable) usedBy(command string) bool {
	first, _, _ := strings.Cut(command, " ")
	return slices.Contains(v.Commands, first)
}

// variables lists the fields of Config in their order.
func variables() []variable {
	t := reflect.TypeFor[Config]()
	all := make([]variable, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		_, secret := tag.Lookup("secret")
		flag := tag.Get("name")
		all = append(all, variable{
			Name: "QM_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")), Flag: flag, Default: tag.Get("preset"), Dev: tag.Get("dev"), Help: tag.Get("help"),
			Commands: strings.Fields(tag.Get("for")), Secret: secret, index: i,
		})
	}
	return all
}

// environment is the process's environment, as os.Environ gives it.
type environment []string

// get returns a variable, empty when it is not set: set to nothing and not set are the same here.
func (e environment) get(name string) string {
	for _, line := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return value
		}
	}
	return ""
}

// names lists the names that are set to something and begin with prefix.
func (e environment) names(prefix string) []string {
	var names []string
	for _, line := range e {
		if name, value, ok := strings.Cut(line, "="); ok && value != "" && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// problems collects everything that is wrong with a configuration, so that it is told at once.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// configError is a configuration that the program cannot start with.
type configError struct{ problems problems }

func (e *configError) Error() string {
	if len(e.problems) == 1 {
		return "the configuration has a problem:\n  - " + e.problems[0]
	}
	return fmt.Sprintf("the configuration has %d problems:\n  - %s", len(e.problems), strings.Join(e.problems, "\n  - "))
}

// given says which variables were given by somebody, rather than by default.
type given map[string]bool

// resolve fills what no flag gave from the environment, the _FILE variants and the defaults. It
// names variables that do not exist and flags that the command does not use.
func (c *Config) resolve(command string, env environment) (given, problems) {
	var found problems
	was := given{}
	value := reflect.ValueOf(c).Elem()
	known := map[string]bool{}
	all := variables()
	for _, v := range all {
		known[v.Name] = true
		field := value.Field(v.index)
		if field.String() != "" {
			if !v.usedBy(command) {
				found.add("--%s is not used by %s", v.Flag, command)
			}
			was[v.Name] = true
			continue
		}
		if s := env.get(v.Name); s != "" {
			field.SetString(s)
			was[v.Name] = true
		}
	}
	for _, v := range all {
		field := value.Field(v.index)
		if v.Secret && v.usedBy(command) {
			readSecret(v, field, value, all, was, &found)
		}
		if field.String() == "" && command == "dev" {
			field.SetString(v.Dev)
		}
		if field.String() == "" {
			field.SetString(v.Default)
		}
	}
	for _, name := range env.names("QM_") {
		if !known[name] {
			found.add("%s is not a variable of this program; the nearest is %s", name, nearest(name, all))
		}
	}
	return was, found
}

// readSecret takes a secret from its file, when it was given so.
func readSecret(v variable, field, value reflect.Value, all []variable, was given, found *problems) {
	i := slices.IndexFunc(all, func(o variable) bool { return o.Name == v.file() })
	path := value.Field(all[i].index).String()
	if path == "" {
		return
	}
	if field.String() != "" {
		found.add("%s and %s are both set; set one of them", v.Name, v.file())
		return
	}
	content, err := os.ReadFile(path)
	switch {
	case err != nil && !filepath.IsAbs(path) && errors.Is(err, fs.ErrNotExist):
		// It may be the secret itself, put into the wrong variable.
		found.add("%s names no file: its value, which is not shown here, does not begin with /, and there is no such file in this folder", v.file())
		return
	case err != nil:
		found.add("%s: %v", v.file(), err)
		return
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		found.add("%s: %s is empty", v.file(), path)
		return
	}
	field.SetString(secret)
	was[v.Name] = true
}

// nearest returns the name with the fewest edits to the one given.
func nearest(name string, all []variable) string {
	best, distance := "", 0
	for _, v := range all {
		if d := edits(name, v.Name); best == "" || d < distance {
			best, distance = v.Name, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
