package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/schema"
	"quartermaster/internal/web"
)

// How long a start waits for a Postgres that does not answer yet, and how often it asks.
const (
	databaseWait  = 60 * time.Second
	databaseRetry = time.Second
)

// console is the running console: what serve and dev have in common.
type console struct {
	settings Settings
	dev      bool
	logger   *slog.Logger

	pool    *pgxpool.Pool
	log     *audit.Log
	service *accounts.Service
	web     *web.Server
	traced  func(context.Context) // sends the traces that are left

	listener net.Listener
	metrics  net.Listener
	draining atomic.Bool
}

// openConsole connects everything. The listeners are taken over: close ends them as well.
func openConsole(ctx context.Context, s Settings, dev bool, listener, metrics net.Listener, logger *slog.Logger) (*console, error) {
	c := &console{settings: s, dev: dev, logger: logger, listener: listener, metrics: metrics}
	if err := c.open(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *console) open(ctx context.Context) error {
	s := c.settings
	warnings, err := c.openDatabase(ctx)
	if err != nil {
		return err
	}
	sealing, err := vault.Open(ctx, c.pool, s.KEK, accounts.AdoptAccounts)
	if err != nil {
		return kekError(s, err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c.registerMetrics(registry)
	c.log, err = audit.Open(ctx, audit.Config{DatabaseURL: s.DatabaseURL, DB: c.pool, Registerer: registry})
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	traces, stopTraces, err := openTraces(ctx, s, c.logger)
	if err != nil {
		return err
	}
	c.traced = stopTraces
	cloud, err := cloudapi.New(cloudapi.Config{
		CurrentURL: s.CloudAPIURL, PAURL: s.CloudPAURL, RootCAs: s.RootCAs, Version: versionText(), RPS: s.UpstreamRPS,
		ReadTimeout: s.UpstreamReadTimeout, WriteTimeout: s.UpstreamWriteTimeout, LogsTimeout: s.UpstreamLogsTimeout, Rest: s.UpstreamRest,
		Registerer: registry, Logger: c.logger, Tracer: traces.Tracer("quartermaster/internal/cloudapi"),
	})
	if err != nil {
		return fmt.Errorf("making the Cloud API client: %w", err)
	}
	c.service = accounts.New(accounts.Config{
		DB: c.pool, Log: c.log, Cloud: cloud, Vault: sealing, Rights: s.Rights, Logger: c.logger,
		SessionIdle: s.SessionIdle, SessionMax: s.SessionMax, StepUpAfter: s.StepUpAfter, UnknownAfter: s.UnknownAfter, PollMin: s.PollMin, PollMax: s.PollMax,
		GoneFor: s.GoneFor, UpstreamRPS: s.UpstreamRPS, StateAfter: s.StateAfter, StateEvery: s.StateEvery,
		Warnings: warnings, CheckSchema: func(ctx context.Context, db *pgxpool.Pool) error { return schema.Check(ctx, db) },
		SlowSearch: func(ctx context.Context, db *pgxpool.Pool) (string, error) { return schema.SlowSearch(ctx, db) },
		Tracer:     traces.Tracer("quartermaster/internal/accounts"),
	})
	if err := c.service.RegisterMetrics(registry); err != nil {
		return err
	}
	c.web, err = web.New(web.Options{
		Accounts: c.service, BaseURL: s.BaseURL, Issuer: s.Issuer, ClientID: s.ClientID, ClientSecret: s.ClientSecret, Scopes: s.Scopes,
		GroupsClaim: s.GroupsClaim, RootCAs: s.RootCAs, TrustedProxies: s.TrustedProxies, Contact: s.Contact, Dev: c.dev,
		Version: versionText(), Logger: c.logger, Registry: registry, SessionMax: s.SessionMax,
		Tracer: traces.Tracer("quartermaster/internal/web"),
	})
	if err != nil {
		return fmt.Errorf("laying out the console's pages: %w", err)
	}
	if err := c.service.RecordStart(ctx, s.Digests); err != nil {
		return fmt.Errorf("recording the start: %w", err)
	}
	return nil
}

// openDatabase connects, migrates where it was told to, and refuses a database of the wrong kind
// or age. It returns what the audit page must warn of.
func (c *console) openDatabase(ctx context.Context) ([]string, error) {
	s := c.settings
	var err error
	if c.pool, err = pgxpool.New(ctx, s.DatabaseURL); err != nil {
		return nil, errors.New("QM_DATABASE_URL cannot be used to connect") // pgx repeats the address
	}
	var warnings []string
	if s.MigrateDatabaseURL != "" {
		if warnings, err = c.migrate(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.waitForDatabase(ctx, c.pool); err != nil {
		return nil, err
	}
	if err := c.checkSchema(ctx); err != nil {
		return nil, err
	}
	if err := checkMaker(ctx, c.pool, c.dev); err != nil {
		return nil, err
	}
	slow, err := schema.SlowSearch(ctx, c.pool)
	if err != nil {
		return nil, err
	}
	if slow != "" {
		c.logger.Warn(slow)
	}
	return warnings, nil
}

// checkSchema refuses a schema that this program does not work on. The previous release works on the
// one after its own: that is the way back from an update, and worth a line for whoever took it.
func (c *console) checkSchema(ctx context.Context) error {
	state, err := schema.Status(ctx, c.pool)
	if err != nil {
		return err
	}
	if !state.Works() {
		return &schema.MismatchError{State: state}
	}
	if state.Newer() {
		c.logger.Warn("the schema was made by a newer release, and this one works on it", "schema", state.Version, "program", state.Wanted)
	}
	return nil
}

var (
	errMadeByDev    = errors.New("this database was made by quartermaster dev, or for it, whose keys protect nothing; serve needs a database of its own")
	errNotMadeByDev = errors.New("this database was not made by quartermaster dev, which touches no other")
)

// migrate brings the schema up with the owner's credentials.
func (c *console) migrate(ctx context.Context) ([]string, error) {
	s := c.settings
	config := schema.Config{OwnerURL: s.MigrateDatabaseURL, AppURL: s.DatabaseURL, DevMade: c.dev}
	same, err := config.SameUser()
	if err != nil {
		return nil, err
	}
	owner, err := pgxpool.New(ctx, s.MigrateDatabaseURL)
	if err != nil {
		return nil, errors.New("QM_MIGRATE_DATABASE_URL cannot be used to connect")
	}
	defer owner.Close()
	if err := c.waitForDatabase(ctx, owner); err != nil {
		return nil, err
	}
	if err := checkMakerFirst(ctx, owner, c.dev); err != nil {
		return nil, err
	}
	if err := schema.Up(ctx, config); err != nil {
		return nil, err
	}
	switch {
	case c.dev:
		return nil, nil
	case same:
		return []string{"The console works as the owner of its own database, so it could change the audit log."}, nil
	default:
		return []string{"The credentials of the database's owner are in the running console (QM_MIGRATE_DATABASE_URL), so whoever takes it over could change the audit log."}, nil
	}
}

// checkMaker refuses a database of the other kind.
func checkMaker(ctx context.Context, db schema.Querier, dev bool) error {
	made, err := schema.MadeByDev(ctx, db)
	switch {
	case err != nil:
		return err
	case made && !dev:
		return errMadeByDev
	case !made && dev:
		return errNotMadeByDev
	}
	return nil
}

// checkMakerFirst refuses a database of the other kind before anything in it is changed. Where
// nobody has said yet whose it is, also because a first migration was cut off, whoever migrates
// it will.
func checkMakerFirst(ctx context.Context, owner schema.Querier, dev bool) error {
	state, err := schema.Status(ctx, owner)
	if err != nil || state.Version == 0 || state.Dirty {
		return err
	}
	if err := checkMaker(ctx, owner, dev); !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return nil
}

// waitForDatabase returns when the server answers. A server that answers with a refusal, such as
// a wrong password, is not waited for.
func (c *console) waitForDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, databaseWait)
	defer cancel()
	for told := false; ; {
		err := pool.Ping(ctx)
		if err == nil {
			return nil
		}
		config := pool.Config().ConnConfig
		where := fmt.Sprintf("%s:%d as %s", config.Host, config.Port, config.User)
		if refusal, ok := errors.AsType[*pgconn.PgError](err); ok && refusal.Code != "57P03" { // cannot_connect_now
			return fmt.Errorf("the database at %s refuses: %s", where, refusal.Message)
		}
		if !told {
			c.logger.Warn("waiting for the database", "at", where)
			told = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the database at %s does not answer", where)
		case <-time.After(databaseRetry):
		}
	}
}

// run serves until ctx ends or something essential fails, then stops in order: readiness, new
// connections, requests in flight, background work with its leases, log, database. drain.go tells
// of the first three.
func (c *console) run(ctx context.Context) error {
	defer c.close()
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	work, background := errgroup.WithContext(background)
	work.Go(func() error { return ignoreEnd(c.service.Run(background)) })
	work.Go(func() error { return ignoreEnd(c.web.Run(background)) })

	server := c.web.HTTPServer(c.listener.Addr().String())
	server.Handler = c.letGo(server.Handler)
	metrics := c.web.MetricsServer()
	listener := c.listener
	if c.settings.TLS != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*c.settings.TLS}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	failed := make(chan error, 3)
	go func() { failed <- serveError("console", server.Serve(listener)) }()
	go func() { failed <- serveError("metrics", metrics.Serve(c.metrics)) }()
	go func() {
		if err := work.Wait(); err != nil {
			failed <- fmt.Errorf("background work ended: %w", err)
		}
	}()
	c.logger.Info("console started", "url", c.settings.BaseURL.String(), "address", c.listener.Addr().String(), "metrics", c.metrics.Addr().String(), "version", versionText())

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	c.draining.Store(true)
	c.web.EndStreams() // browsers go to another console, or ask as if there were no streams
	if err == nil {
		err = c.leave(failed)
	}
	err = errors.Join(err, c.endRequests(context.WithoutCancel(ctx), server))
	err = errors.Join(err, metrics.Close())
	stopBackground()
	if e := work.Wait(); e != nil && err == nil {
		err = e
	}
	c.logger.Info("console stopped")
	return err
}

// close lets go of everything, in the reverse order of open.
func (c *console) close() {
	if c.traced != nil {
		c.traced(context.Background())
		c.traced = nil
	}
	if c.log != nil {
		c.log.Close()
		c.log = nil
	}
	if c.pool != nil {
		c.pool.Close()
		c.pool = nil
	}
	for _, l := range []net.Listener{c.listener, c.metrics} {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			c.logger.Warn("closing a listener", "error", err)
		}
	}
}

func serveError(what string, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving the %s: %w", what, err)
}

// ignoreEnd makes of an orderly end no error.
func ignoreEnd(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
