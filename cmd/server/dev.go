package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/devenv"
)

const (
	devDatabase     = "quartermaster"
	devRole         = "quartermaster_console"
	devClient       = "quartermaster"
	devFile         = "dev.json"
	devSeed         = 1
	devFirstRefresh = 15 * time.Second // longest wait for a full first page
	devStopTime     = 20 * time.Second // for Postgres to end
)

// devProblems refuses what would make dev something else than a closed world on this machine. In
// a container that world ends at what the container publishes, and its database is another container's.
func (p *program) devProblems() problems {
	var found problems
	contained := p.line.DevContainer == "yes"
	if contained && !p.inContainer() {
		found.add("QM_DEV_CONTAINER is yes, but this is not a container of Docker or Podman, and dev must not be reachable from other machines; unset it")
	}
	for _, name := range p.env.names("QM_OIDC_") {
		found.add("%s is set, but dev has its own identity provider; unset it, or use serve", name)
	}
	for _, name := range []string{"QM_KEK", "QM_KEK_FILE"} {
		if p.env.get(name) != "" {
			found.add("%s is set, but dev makes its own key and must not touch what another one seals; unset it, or use serve", name)
		}
	}
	for _, name := range []string{"QM_MIGRATE_DATABASE_URL", "QM_MIGRATE_DATABASE_URL_FILE", "QM_DATABASE_URL", "QM_DATABASE_URL_FILE"} {
		switch migrates := strings.HasPrefix(name, "QM_MIGRATE_"); {
		case p.env.get(name) == "" && (!p.given[name] || !strings.HasSuffix(name, "_FILE")): // a flag names a file, too
		case !contained:
			found.add("%s is set, but dev starts its own Postgres and touches no other; unset it, or use serve", name)
		case migrates:
			found.add("%s is set, but in a container dev does not migrate; unset it, and run migrate up --for-dev beforehand", name)
		}
	}
	for name, addr := range map[string]string{
		"QM_ADDR": p.line.Addr, "QM_METRICS_ADDR": p.line.MetricsAddr, "QM_DEV_IDP_ADDR": p.line.DevIDPAddr,
		"QM_SANDBOX_ADDR": p.line.SandboxAddr, "QM_SANDBOX_CONTROL_ADDR": p.line.SandboxControlAddr,
	} {
		if contained && (name == "QM_ADDR" || name == "QM_DEV_IDP_ADDR") && everyAddress(addr) {
			continue
		}
		if err := devenv.CheckLoopback(addr); err != nil {
			found.add("%s: %v, and dev must not be reachable from other machines", name, err)
		}
	}
	for name, address := range map[string]string{"QM_CLOUD_API_URL": p.line.CloudAPIURL, "QM_CLOUD_PA_URL": p.line.CloudPAURL} {
		if u, err := url.Parse(address); p.given[name] && err == nil && !isLoopback(u.Hostname()) {
			found.add("%s is not on this machine, and dev must not use real accounts; unset it, or use serve", name)
		}
	}
	slices.Sort(found)
	return found
}

// inContainer tells whether Docker or Podman has left its mark on this file system.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// everyAddress tells whether a listener there could be reached under every address of its host.
func everyAddress(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "" || ip != nil && ip.IsUnspecified())
}

// devDescription is dev.json: what a tester needs to use a running dev.
type devDescription struct {
	URL                 string   `json:"url"`
	MetricsURL          string   `json:"metrics_url"`
	Issuer              string   `json:"issuer"`
	SandboxURL          string   `json:"sandbox_url"`
	SandboxControlURL   string   `json:"sandbox_control_url"`
	SandboxControlToken string   `json:"sandbox_control_token"`
	DatabaseURL         string   `json:"database_url"`
	MigrateDatabaseURL  string   `json:"migrate_database_url"`
	Members             []string `json:"members"`
	Spare               devSpare `json:"spare"`
}

// devSpare is an account of the sandbox that is not registered yet, to try adding one. Its key
// opens nothing but the sandbox.
type devSpare struct {
	Generation     string `json:"generation"`
	CloudAccountID string `json:"cloud_account_id"`
	ManagementKey  string `json:"management_key"`
}

// devWorld is everything that dev started, to be ended in reverse.
type devWorld struct {
	settings Settings
	stdout   io.Writer
	logger   *slog.Logger
	folder   *devenv.Folder
	stops    []func() error
	failed   chan error
	about    devDescription

	accounts, clusters int // of a new sandbox; 0: the tour
}

// dev runs the closed world until ctx ends.
func (p *program) dev(ctx context.Context) (err error) {
	var found problems
	w := &devWorld{
		settings: p.settings, stdout: p.stdout, logger: newLogger(p.command, p.settings, p.stderr), failed: make(chan error, 3),
		accounts: int(found.number("accounts", p.line.Dev.Accounts, mostSandboxAccounts)),
		clusters: int(found.number("clusters", p.line.Dev.Clusters, mostSandboxClusters)),
	}
	if len(found) > 0 {
		return &configError{found}
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	c, err := w.start(ctx, p.given)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	return w.run(ctx, c)
}

// later remembers how to end what was just started.
func (w *devWorld) later(stop func() error) { w.stops = append(w.stops, stop) }

func (w *devWorld) stop() error {
	var errs []error
	for _, stop := range slices.Backward(w.stops) {
		errs = append(errs, stop())
	}
	w.stops = nil
	return errors.Join(errs...)
}

func (w *devWorld) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(w.stdout, format+"\n", args...)
}

// start brings everything up to a console that is ready to run. Addresses are taken first, so
// that a busy one is told before anything slow begins.
func (w *devWorld) start(ctx context.Context, was given) (*console, error) {
	var err error
	if w.folder, err = devenv.OpenFolder(w.settings.DevDir); err != nil {
		return nil, err
	}
	w.later(w.folder.Close)
	// Whoever waits for dev.json must not find that of an earlier start.
	if err := os.Remove(w.folder.File(devFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the %s of an earlier start: %w", devFile, err)
	}
	listeners, err := w.listenAll(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.describe(listeners); err != nil {
		return nil, err
	}
	box, err := w.startSandbox(listeners)
	if err != nil {
		return nil, err
	}
	if !was["QM_CLOUD_API_URL"] {
		w.settings.CloudAPIURL = mustURL(w.about.SandboxURL)
	}
	if !was["QM_CLOUD_PA_URL"] {
		w.settings.CloudPAURL = mustURL(w.about.SandboxURL)
	}
	if err := w.startProvider(listeners["identity provider"]); err != nil {
		return nil, err
	}
	if w.settings.DevContainer {
		w.about.DatabaseURL = w.settings.DatabaseURL
	} else if err := w.startPostgres(ctx); err != nil {
		return nil, err
	}
	c, err := openConsole(ctx, w.settings, true, listeners["console"], listeners["metrics"], w.logger)
	if err != nil {
		return nil, err
	}
	if was["QM_CLOUD_API_URL"] || was["QM_CLOUD_PA_URL"] {
		w.progress("Accounts are not added by themselves, because the Cloud API is another one than dev's sandbox.")
		w.about.Spare = devSpare{}
	} else if err := w.register(ctx, c, box.Fixtures()); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// listenAll opens the five listeners. Port 0 means the one that was used last time, when it is free.
func (w *devWorld) listenAll(ctx context.Context) (map[string]net.Listener, error) {
	s := w.settings
	all := map[string]net.Listener{}
	for _, l := range []struct{ name, variable, addr string }{
		{"console", "QM_ADDR", s.Addr},
		{"metrics", "QM_METRICS_ADDR", s.MetricsAddr},
		{"identity provider", "QM_DEV_IDP_ADDR", s.DevIDPAddr},
		{"sandbox", "QM_SANDBOX_ADDR", s.SandboxAddr},
		{"sandbox control", "QM_SANDBOX_CONTROL_ADDR", s.SandboxControlAddr},
	} {
		listener, err := w.listen(ctx, l.name, l.variable, l.addr)
		if err != nil {
			return nil, err
		}
		w.later(func() error { return ignoreClosed(listener.Close()) })
		all[l.name] = listener
		if err := w.folder.KeepPort(l.name, portOf(listener)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (w *devWorld) listen(ctx context.Context, name, variable, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	if host == "localhost" {
		host = "127.0.0.1" // the issuer and the console must be on an address that does not depend on a resolver
	}
	if last := w.folder.Port(name); port == "0" && last != 0 {
		var config net.ListenConfig
		if l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(last))); err == nil {
			return l, nil
		}
	}
	return listen(ctx, variable, net.JoinHostPort(host, port))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// describe settles the addresses. The console is at localhost and the issuer at 127.0.0.1, which
// are two sites to a browser, as they are in a real installation.
func (w *devWorld) describe(listeners map[string]net.Listener) error {
	secrets := w.folder.Secrets()
	issuer := listeners["identity provider"].Addr().String()
	if everyAddress(issuer) {
		issuer = net.JoinHostPort("127.0.0.1", strconv.Itoa(portOf(listeners["identity provider"])))
	}
	w.about = devDescription{
		URL:                 "http://localhost:" + strconv.Itoa(portOf(listeners["console"])),
		MetricsURL:          "http://" + listeners["metrics"].Addr().String() + "/metrics",
		Issuer:              "http://" + issuer,
		SandboxURL:          "http://" + listeners["sandbox"].Addr().String(),
		SandboxControlURL:   "http://" + listeners["sandbox control"].Addr().String(),
		SandboxControlToken: secrets.ControlToken,
	}
	for _, m := range devenv.Members() {
		w.about.Members = append(w.about.Members, m.Email)
	}
	kek, err := vault.ParseKEK(secrets.KEK)
	if err != nil {
		return fmt.Errorf("the key in %s cannot be used: %w", w.folder.Path, err)
	}
	s := &w.settings
	s.KEK = kek
	s.BaseURL = mustURL(w.about.URL)
	s.Issuer, s.ClientID, s.ClientSecret = w.about.Issuer, devClient, cloudapi.NewSecret([]byte(secrets.ClientSecret))
	s.Scopes, s.GroupsClaim = []string{"openid", "profile", "email"}, "groups"
	s.Rights = access.Configured{
		Issuer:      s.Issuer,
		AdminGroups: []string{devenv.AdminGroup}, OperatorGroups: []string{devenv.OperatorGroup},
		ViewerGroups: []string{devenv.ViewerGroup}, AuditorGroups: []string{devenv.AuditorGroup},
	}
	if len(s.Contact) == 0 {
		s.Contact = []string{"admin@example.test"}
	}
	return nil
}

// mustURL parses an address made here from a listener.
func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(fmt.Sprintf("an address made of a listener's own is not one: %v", err))
	}
	return u
}

func (w *devWorld) startSandbox(listeners map[string]net.Listener) (*sandbox.Sandbox, error) {
	box, err := sandbox.New(sandbox.Config{
		Seed: devSeed, Accounts: w.accounts, Clusters: w.clusters, StatePath: w.folder.File("sandbox.json"), Logger: w.logger.With("part", "sandbox"), Now: time.Now, ControlToken: w.about.SandboxControlToken,
	})
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	w.later(box.Close)
	w.serve("sandbox", listeners["sandbox"], box.Handler())
	w.serve("sandbox control", listeners["sandbox control"], box.Control())
	for _, f := range box.Fixtures() {
		if f.Spare {
			w.about.Spare = devSpare{Generation: f.Generation, CloudAccountID: f.CloudAccountID, ManagementKey: f.ManagementKey}
		}
	}
	return box, nil
}

func (w *devWorld) startProvider(listener net.Listener) error {
	provider, err := devenv.NewProvider(devenv.ProviderConfig{
		Issuer: w.about.Issuer, ClientID: devClient, ClientSecret: w.folder.Secrets().ClientSecret,
		RedirectURI: w.about.URL + "/auth/callback", LogoutURI: w.about.URL + "/login",
		KeyPath: w.folder.File("provider-key.pem"), Members: devenv.Members(), Logger: w.logger.With("part", "identity provider"),
	})
	if err != nil {
		return fmt.Errorf("starting the identity provider: %w", err)
	}
	w.serve("identity provider", listener, provider)
	return nil
}

// serve answers on a listener until stop.
func (w *devWorld) serve(name string, listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(w.logger.Handler(), slog.LevelDebug)}
	go func() {
		if err := serveError(name, server.Serve(listener)); err != nil {
			w.failed <- err
		}
	}()
	w.later(server.Close)
}

// startPostgres starts the server and settles who connects as whom.
func (w *devWorld) startPostgres(ctx context.Context) error {
	port := w.settings.DevPGPort
	if port == 0 {
		port = w.folder.Port("postgres")
	}
	config := devenv.PostgresConfig{Dir: w.folder.File("postgres"), Port: port, Log: w.stdout}
	pg, err := devenv.StartPostgres(ctx, config)
	if _, busy := errors.AsType[*devenv.PortBusyError](err); busy && w.settings.DevPGPort == 0 {
		config.Port = 0 // nobody asked for this very port
		pg, err = devenv.StartPostgres(ctx, config)
	}
	if err != nil {
		return err
	}
	told := w.tellOfPostgresEnd(pg)
	w.later(func() error {
		told()
		stopping, cancel := context.WithTimeout(context.Background(), devStopTime)
		defer cancel()
		return pg.Stop(stopping)
	})
	if err := w.folder.KeepPort("postgres", pg.Port); err != nil {
		return err
	}
	if err := pg.CreateDatabase(ctx, devDatabase); err != nil {
		return err
	}
	if !strings.HasPrefix(pg.DataDir, w.folder.Path) {
		w.progress("Postgres runs under an account that cannot enter %s; its files are in %s", w.folder.Path, pg.DataDir)
	}
	app := mustURL(pg.OwnerURL(devDatabase))
	app.User = url.UserPassword(devRole, pg.DerivePassword(devRole))
	w.settings.MigrateDatabaseURL, w.settings.DatabaseURL = pg.OwnerURL(devDatabase), app.String()
	w.about.MigrateDatabaseURL, w.about.DatabaseURL = w.settings.MigrateDatabaseURL, w.settings.DatabaseURL
	return nil
}

// tellOfPostgresEnd says so when the server ends and nobody asked it to; the pages alone would only
// say that the database is away. It is not started again: whoever ended it may be trying just
// that. Call the result before the server is stopped on purpose.
func (w *devWorld) tellOfPostgresEnd(pg *devenv.Postgres) (enough func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-stop:
		case <-pg.Done():
			w.progress("Postgres has ended by itself, and without it the console cannot work; what it said last is in %s. Press Ctrl-C and start again: what was saved is kept.",
				filepath.Join(filepath.Dir(pg.DataDir), "postgres.log"))
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// register adds the fixture accounts that are not there yet, as a member would: through the
// domain, with their events.
func (w *devWorld) register(ctx context.Context, c *console, fixtures []sandbox.Fixture) error {
	actor := accounts.JobActor("dev")
	present, err := c.service.List(ctx, actor)
	if err != nil {
		return fmt.Errorf("listing the accounts: %w", err)
	}
	if len(present) > 0 {
		return nil // a later start: what a member removed stays removed
	}
	for _, f := range fixtures {
		if !f.Registered {
			continue
		}
		_, err := c.service.Create(ctx, actor, accounts.NewAccount{
			Generation: cloudapi.Generation(f.Generation), Key: cloudapi.NewSecret([]byte(f.ManagementKey)), CloudAccountID: f.CloudAccountID,
			Name: f.Name, Environment: accounts.Environment(f.Environment), Owner: "Platform team", Note: "Registered by quartermaster dev.",
		})
		if err != nil {
			return fmt.Errorf("registering the account %s: %w", f.Name, err)
		}
	}
	return nil
}

// run serves until ctx ends, and tells the people at the terminal when the first page is full.
func (w *devWorld) run(ctx context.Context, c *console) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-w.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx) }()
	if err := w.waitForFirstRefresh(ctx, c.pool); err != nil && ctx.Err() == nil {
		w.logger.Warn("the first page is not full yet", "error", err)
	}
	var err error
	if ctx.Err() == nil {
		err = w.announce()
		if err != nil {
			cancel(err)
		}
	}
	var e error
	select {
	case e = <-ended:
	case <-ctx.Done():
		w.progress("Stopping.")
		e = <-ended
	}
	if err == nil {
		err = e
	}
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// waitForFirstRefresh waits until every enabled account was read once, or tried. The pool may be
// closed meanwhile, when the console stops.
func (w *devWorld) waitForFirstRefresh(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, devFirstRefresh)
	defer cancel()
	for {
		var waiting int
		err := pool.QueryRow(ctx, `SELECT count(*) FROM refresh WHERE kind = 'clusters' AND ok_at IS NULL AND failed_at IS NULL`).Scan(&waiting)
		if err != nil {
			return fmt.Errorf("asking for the first refresh: %w", err)
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d accounts were not read in %s", waiting, devFirstRefresh)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// announce writes dev.json and tells where everything is.
func (w *devWorld) announce() error {
	raw, err := json.MarshalIndent(w.about, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", devFile, err)
	}
	path := w.folder.File(devFile)
	if err := devenv.WriteFile(path, append(raw, '\n')); err != nil {
		return err
	}
	w.progress("\nQuartermaster is running at %s\n", w.about.URL)
	w.progress("Sign in as one of these (no password):")
	for _, m := range devenv.Members() {
		w.progress("  %-23s %s", m.Email, m.About)
	}
	if spare := w.about.Spare; spare.ManagementKey != "" { // a sandbox of a size that was asked for has none
		w.progress("\nAn account to add (it exists in the sandbox only):")
		w.progress("  API             %s", spare.Generation)
		w.progress("  account id      %s", spare.CloudAccountID)
		w.progress("  management key  %s", spare.ManagementKey)
	}
	w.progress("\nData folder %s, addresses and keys for tests in %s. Ctrl-C stops everything.\n", w.folder.Path, path)
	return nil
}
