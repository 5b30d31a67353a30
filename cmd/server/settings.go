package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/net/http/httpguts"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/cloudapi"
)

// Settings is a configuration that was found to be right, as values. A command finds in it what
// Config says is for that command; the rest is zero.
type Settings struct {
	Addr           string
	MetricsAddr    string
	BaseURL        *url.URL
	TLS            *tls.Certificate // nil: plain http
	TrustedProxies []netip.Prefix
	RootCAs        *x509.CertPool // nil: the system's
	Contact        []string

	DatabaseURL        string
	MigrateDatabaseURL string

	Issuer       string
	ClientID     string
	ClientSecret cloudapi.Secret
	Scopes       []string
	GroupsClaim  string
	Rights       access.Configured

	KEK       vault.KEK
	KEKSource string // variable and file that it came from, for errors

	CloudAPIURL          *url.URL
	CloudPAURL           *url.URL
	UpstreamRPS          float64
	UpstreamReadTimeout  time.Duration
	UpstreamWriteTimeout time.Duration
	UpstreamLogsTimeout  time.Duration
	UpstreamRest         time.Duration

	SessionIdle  time.Duration
	SessionMax   time.Duration
	StepUpAfter  time.Duration
	UnknownAfter time.Duration
	PollMin      time.Duration
	PollMax      time.Duration
	GoneFor      time.Duration
	StateAfter   time.Duration
	StateEvery   time.Duration
	DrainDelay   time.Duration // may be zero
	DrainTimeout time.Duration

	LogLevel  slog.Level
	LogFormat string

	TracesURL     *url.URL // nil: no traces are sent
	TracesRatio   float64
	TracesHeaders map[string]string // secrets

	DevDir              string
	DevContainer        bool
	DevPGPort           int
	DevIDPAddr          string
	SandboxAddr         string
	SandboxControlAddr  string
	SandboxControlToken string

	// Digests tells for each variable that was given a digest of its value, so that a start with a
	// changed configuration can be noticed without keeping the values.
	Digests map[string]string
}

// validate turns the resolved configuration into settings. Every problem of every variable the
// command uses is collected.
func (c *Config) validate(command string, was given) (Settings, problems) {
	r := reader{command: command, config: c, was: was}
	s := Settings{
		Addr:           r.address("QM_ADDR", c.Addr),
		MetricsAddr:    r.address("QM_METRICS_ADDR", c.MetricsAddr),
		BaseURL:        r.baseURL("QM_BASE_URL", c.BaseURL),
		TLS:            r.certificate(),
		TrustedProxies: r.prefixes("QM_TRUSTED_PROXIES", c.TrustedProxies),
		RootCAs:        r.authorities("QM_CA_FILE", c.CAFile),

		DatabaseURL:        r.database("QM_DATABASE_URL", c.DatabaseURL),
		MigrateDatabaseURL: r.database("QM_MIGRATE_DATABASE_URL", c.MigrateDatabaseURL),

		Issuer:       r.issuer("QM_OIDC_ISSUER", c.OIDCIssuer),
		ClientID:     r.needed("QM_OIDC_CLIENT_ID", c.OIDCClientID),
		ClientSecret: cloudapi.NewSecret([]byte(c.OIDCClientSecret)),
		Scopes:       strings.Fields(c.OIDCScopes),
		GroupsClaim:  c.OIDCGroupsClaim,
		Rights: access.Configured{
			Issuer:      c.OIDCIssuer,
			AdminGroups: list(c.AdminGroups), AdminEmails: list(c.AdminEmails), AuditorGroups: list(c.AuditorGroups),
			OperatorGroups: list(c.OperatorGroups), ViewerGroups: list(c.ViewerGroups),
		},
		KEK:       r.kek("QM_KEK", c.KEK),
		KEKSource: c.kekSource(),

		CloudAPIURL:          r.upstream("QM_CLOUD_API_URL", c.CloudAPIURL),
		CloudPAURL:           r.upstream("QM_CLOUD_PA_URL", c.CloudPAURL),
		UpstreamRPS:          r.rate("QM_UPSTREAM_RPS", c.UpstreamRPS),
		UpstreamReadTimeout:  r.duration("QM_UPSTREAM_READ_TIMEOUT", c.UpstreamReadTimeout),
		UpstreamWriteTimeout: r.duration("QM_UPSTREAM_WRITE_TIMEOUT", c.UpstreamWriteTimeout),
		UpstreamLogsTimeout:  r.duration("QM_UPSTREAM_LOGS_TIMEOUT", c.UpstreamLogsTimeout),
		UpstreamRest:         r.duration("QM_UPSTREAM_REST", c.UpstreamRest),
		SessionIdle:          r.duration("QM_SESSION_IDLE", c.SessionIdle),
		SessionMax:           r.duration("QM_SESSION_MAX", c.SessionMax),
		StepUpAfter:          r.duration("QM_STEP_UP_AFTER", c.StepUpAfter),
		UnknownAfter:         r.duration("QM_AUDIT_UNKNOWN_AFTER", c.AuditUnknownAfter),
		PollMin:              r.duration("QM_POLL_MIN", c.PollMin),
		PollMax:              r.duration("QM_POLL_MAX", c.PollMax),
		GoneFor:              r.duration("QM_GONE_FOR", c.GoneFor),
		StateAfter:           r.duration("QM_STATE_CHECK_AFTER", c.StateCheckAfter),
		StateEvery:           r.duration("QM_STATE_CHECK_EVERY", c.StateCheckEvery),
		DrainDelay:           r.pause("QM_DRAIN_DELAY", c.DrainDelay),
		DrainTimeout:         r.duration("QM_DRAIN_TIMEOUT", c.DrainTimeout),

		LogLevel:  r.level("QM_LOG_LEVEL", c.LogLevel),
		LogFormat: r.oneOf("QM_LOG_FORMAT", c.LogFormat, "auto", "json", "text"),

		TracesURL:     r.collector("QM_TRACES_URL", c.TracesURL, c.TracesHeaders != ""),
		TracesRatio:   r.ratio("QM_TRACES_RATIO", c.TracesRatio),
		TracesHeaders: r.headers("QM_TRACES_HEADERS", c.TracesHeaders),

		DevDir:              c.DevDir,
		DevContainer:        r.oneOf("QM_DEV_CONTAINER", c.DevContainer, "no", "yes") == "yes",
		DevPGPort:           r.port("QM_DEV_PG_PORT", c.DevPGPort),
		DevIDPAddr:          r.address("QM_DEV_IDP_ADDR", c.DevIDPAddr),
		SandboxAddr:         r.address("QM_SANDBOX_ADDR", c.SandboxAddr),
		SandboxControlAddr:  r.address("QM_SANDBOX_CONTROL_ADDR", c.SandboxControlAddr),
		SandboxControlToken: c.SandboxControlToken,
	}
	s.Contact = list(c.Contact)
	if len(s.Contact) == 0 {
		s.Contact = append(list(c.AdminGroups), list(c.AdminEmails)...)
	}
	r.together(s)
	s.Digests = c.digests(was)
	return s, r.found
}

// digests returns for each variable that was given the hex SHA-256 of name and value. A database
// URL or KEK has enough entropy in it not to be guessed from that, and the store keys it again.
func (c *Config) digests(was given) map[string]string {
	value := reflect.ValueOf(c).Elem()
	digests := map[string]string{}
	for _, v := range variables() {
		if was[v.Name] {
			sum := sha256.Sum256([]byte(v.Name + "\x00" + value.Field(v.index).String()))
			digests[v.Name] = hex.EncodeToString(sum[:])
		}
	}
	return digests
}

// list splits at commas and drops what is empty.
func list(s string) []string {
	var all []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// reader parses values and collects what is wrong with them.
type reader struct {
	command string
	config  *Config
	was     given
	found   problems
}

// uses reports whether the command reads the variable; the values of others are not looked at.
func (r *reader) uses(name string) bool {
	for _, v := range variables() {
		if v.Name == name {
			return v.usedBy(r.command)
		}
	}
	return false
}

// needs reports whether the command cannot do without the variable.
func (r *reader) needs(name string) bool {
	switch name {
	case "QM_BASE_URL":
		return r.command == "serve" || r.command == "check" || r.command == "breakglass"
	case "QM_OIDC_ISSUER", "QM_OIDC_CLIENT_ID":
		return r.command == "serve" || r.command == "check"
	case "QM_KEK":
		return r.command == "serve" || r.command == "check" || r.command == "keys fingerprint" || r.command == "breakglass"
	case "QM_DATABASE_URL":
		if r.command == "dev" {
			return r.config.DevContainer == "yes"
		}
		return r.command != "audit verify file" && r.command != "migrate down" && r.command != "keys fingerprint" && r.command != "breakglass dev"
	case "QM_MIGRATE_DATABASE_URL":
		return r.command == "migrate up" || r.command == "migrate down"
	}
	return false
}

func (r *reader) needed(name, value string) string {
	// A file that was named and cannot be read is a problem that was told already.
	if value == "" && r.uses(name) && r.needs(name) && !r.was[name+"_FILE"] {
		r.found.add("%s is needed by %s", name, r.command)
	}
	return value
}

// skip reports whether there is nothing to parse.
func (r *reader) skip(name, value string) bool {
	return !r.uses(name) || r.needed(name, value) == ""
}

func (r *reader) address(name, value string) string {
	if r.skip(name, value) {
		return value
	}
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		r.found.add("%s: %q is not host:port", name, value)
		return value
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		r.found.add("%s: %q is not a port from 0 to 65535", name, port)
	}
	return value
}

func (r *reader) port(name, value string) int {
	if r.skip(name, value) {
		return 0
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 65535 {
		r.found.add("%s: %q is not a port from 0 to 65535", name, value)
	}
	return n
}

// httpURL parses an absolute http or https address. http is accepted for loopback only: what is
// sent there would be readable by everybody in between.
func (r *reader) httpURL(name, value string) *url.URL {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		r.found.add("%s: %q is not an address such as https://console.example.com", name, printable(value))
		return nil
	case u.User != nil:
		r.found.add("%s: the address must not hold a user or password", name)
		return nil
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		r.found.add("%s: the address must not hold a query or fragment", name)
		return nil
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		r.found.add("%s: %s is not on this machine, so it must be https", name, u)
		return nil
	}
	return u
}

// printable cuts a value that is shown in a problem.
func printable(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (r *reader) baseURL(name, value string) *url.URL {
	if r.skip(name, value) {
		return nil
	}
	u := r.httpURL(name, value)
	if u == nil {
		return nil
	}
	if u.Path != "" && u.Path != "/" {
		r.found.add("%s: the console must have a host of its own; the path %q cannot be used", name, u.Path)
		return nil
	}
	u.Path = ""
	return u
}

func (r *reader) issuer(name, value string) string {
	if !r.skip(name, value) {
		r.httpURL(name, value)
	}
	return value
}

func (r *reader) upstream(name, value string) *url.URL {
	if r.skip(name, value) {
		return nil
	}
	u := r.httpURL(name, value)
	if u == nil {
		return nil
	}
	if name == "QM_CLOUD_PA_URL" {
		u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/pa/v1")
	}
	if u.Path != "" && u.Path != "/" {
		r.found.add("%s: give scheme and host only, without the path %q", name, u.Path)
		return nil
	}
	u.Path = ""
	return u
}

func (r *reader) database(name, value string) string {
	if r.skip(name, value) {
		return value
	}
	// The parser's own words repeat the address, password and all.
	if _, err := pgxpool.ParseConfig(value); err != nil {
		r.found.add("%s is not a Postgres address such as postgres://user:password@host:5432/database?sslmode=verify-full", name)
	}
	return value
}

func (r *reader) duration(name, value string) time.Duration {
	if r.skip(name, value) {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		r.found.add("%s: %q is not a duration above zero such as 90s or 12h", name, printable(value))
	}
	return d
}

// pause is a duration that may be zero.
func (r *reader) pause(name, value string) time.Duration {
	if r.skip(name, value) {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		r.found.add("%s: %q is not a duration such as 0s or 5s", name, printable(value))
	}
	return d
}

func (r *reader) rate(name, value string) float64 {
	if r.skip(name, value) {
		return 0
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || !(f > 0 && f <= 10000) {
		r.found.add("%s: %q is not a number above 0 and up to 10000", name, printable(value))
	}
	return f
}

func (r *reader) ratio(name, value string) float64 {
	if r.skip(name, value) {
		return 0
	}
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		r.found.add("%s: %q is not a number from 0 to 1", name, printable(value))
	}
	return f
}

// collector is the address of a collector of traces, to which a path is added when it has none. It may be reached in the
// clear, as in a network of containers, as long as nothing secret goes there.
func (r *reader) collector(name, value string, secret bool) *url.URL {
	if r.skip(name, value) {
		return nil
	}
	u, err := url.Parse(value)
	if err == nil && u.Scheme == "http" && !secret && !isLoopback(u.Hostname()) {
		secure := *u
		secure.Scheme = "https"
		if r.httpURL(name, secure.String()) == nil {
			return nil
		}
	} else if u = r.httpURL(name, value); u == nil {
		return nil
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u
}

// headers are pairs of name and value. What is wrong with them is told without them.
func (r *reader) headers(name, value string) map[string]string {
	if r.skip(name, value) {
		return nil
	}
	headers := map[string]string{}
	for i, pair := range list(value) {
		header, content, _ := strings.Cut(pair, "=")
		if header, content = strings.TrimSpace(header), strings.TrimSpace(content); content == "" || !httpguts.ValidHeaderFieldName(header) || !httpguts.ValidHeaderFieldValue(content) {
			r.found.add("%s: header %d is not name=value", name, i+1)
			continue
		}
		headers[header] = content
	}
	return headers
}

func (r *reader) level(name, value string) slog.Level {
	var level slog.Level
	if !r.skip(name, value) {
		if err := level.UnmarshalText([]byte(value)); err != nil {
			r.found.add("%s: %q is none of debug, info, warn, error", name, printable(value))
		}
	}
	return level
}

func (r *reader) oneOf(name, value string, choices ...string) string {
	if r.skip(name, value) {
		return value
	}
	for _, c := range choices {
		if c == value {
			return value
		}
	}
	r.found.add("%s: %q is none of %s", name, printable(value), strings.Join(choices, ", "))
	return value
}

func (r *reader) prefixes(name, value string) []netip.Prefix {
	if r.skip(name, value) {
		return nil
	}
	var all []netip.Prefix
	for _, part := range list(value) {
		if ip, err := netip.ParseAddr(part); err == nil {
			all = append(all, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			r.found.add("%s: %q is not an address or a range such as 10.0.0.0/8", name, printable(part))
			continue
		}
		all = append(all, p.Masked())
	}
	return all
}

func (r *reader) certificate() *tls.Certificate {
	c := r.config
	if !r.uses("QM_TLS_CERT") || (c.TLSCert == "" && c.TLSKey == "") {
		return nil
	}
	if c.TLSCert == "" || c.TLSKey == "" {
		r.found.add("QM_TLS_CERT and QM_TLS_KEY belong together; one of them is missing")
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		r.found.add("QM_TLS_CERT and QM_TLS_KEY: %v", err)
		return nil
	}
	return &pair
}

func (r *reader) authorities(name, value string) *x509.CertPool {
	if r.skip(name, value) {
		return nil
	}
	content, err := os.ReadFile(value)
	if err != nil {
		r.found.add("%s: %v", name, err)
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(content) {
		r.found.add("%s: %s holds no PEM certificate", name, value)
		return nil
	}
	return pool
}

func (r *reader) kek(name, value string) vault.KEK {
	if r.skip(name, value) {
		return vault.KEK{}
	}
	kek, err := vault.ParseKEK(value)
	if err != nil {
		r.found.add("%s: %v", r.config.kekSource(), err)
	}
	return kek
}

// kekSource names the variable that the key encryption key came from, and its file. The value may be the key itself,
// also by mistake after "file:", so only what is the name of a file is repeated.
func (c *Config) kekSource() string {
	if c.KEKFile != "" {
		return fmt.Sprintf("QM_KEK_FILE (%s)", c.KEKFile)
	}
	if u, err := url.Parse(c.KEK); err == nil && u.Scheme == "file" && u.Host == "" && path.IsAbs(u.Path) {
		return fmt.Sprintf("QM_KEK (%s)", c.KEK)
	}
	return "QM_KEK"
}

// together checks what only two values can break.
func (r *reader) together(s Settings) {
	if r.uses("QM_POLL_MIN") && s.PollMin > 0 && s.PollMax > 0 && s.PollMin > s.PollMax {
		r.found.add("QM_POLL_MIN (%s) is longer than QM_POLL_MAX (%s)", s.PollMin, s.PollMax)
	}
	if r.uses("QM_SESSION_IDLE") && s.SessionIdle > 0 && s.SessionMax > 0 && s.SessionIdle > s.SessionMax {
		r.found.add("QM_SESSION_IDLE (%s) is longer than QM_SESSION_MAX (%s)", s.SessionIdle, s.SessionMax)
	}
	if r.uses("QM_TLS_CERT") && s.TLS != nil && s.BaseURL != nil && s.BaseURL.Scheme != "https" {
		r.found.add("QM_TLS_CERT is set, so QM_BASE_URL must begin with https://")
	}
	if r.command != "serve" && r.command != "check" {
		return
	}
	rights := s.Rights
	if len(rights.AdminGroups)+len(rights.AdminEmails)+len(rights.AuditorGroups)+len(rights.OperatorGroups)+len(rights.ViewerGroups) == 0 {
		r.found.add("nobody would have any rights: set at least one of QM_ADMIN_GROUPS, QM_ADMIN_EMAILS, QM_AUDITOR_GROUPS, QM_OPERATOR_GROUPS, QM_VIEWER_GROUPS")
	}
}
