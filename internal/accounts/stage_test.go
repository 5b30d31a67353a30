package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/dbtest"
)

// stage is a Service over a real database and the sandbox Cloud API, for tests of acts.
type stage struct {
	t       testing.TB
	db      *dbtest.DB
	log     *audit.Log
	svc     *Service
	clock   *stageClock
	logged  *bytes.Buffer
	metrics *prometheus.Registry

	sandbox  *sandbox.Sandbox
	upstream *url.URL
	control  string
}

// stageClock is the console's clock; only the test moves it. The database and the sandbox have
// their own.
type stageClock struct{ at time.Time }

func (c *stageClock) now() time.Time { return c.at }

const stageToken = "control-token"

// newStage also lets the test run beside others: each has a database and an upstream of its own.
func newStage(t *testing.T) *stage {
	t.Helper()
	t.Parallel()
	return newStageOn(t, dbtest.New(t), nil)
}

func newStageOn(t testing.TB, db *dbtest.DB, change func(*Config)) *stage {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{Seed: 1, ControlToken: stageToken})
	if err != nil {
		t.Fatal(err)
	}
	api, control := httptest.NewServer(box.Handler()), httptest.NewServer(box.Control())
	t.Cleanup(api.Close)
	t.Cleanup(control.Close)
	upstream, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, db: db, clock: &stageClock{time.Now().UTC()}, logged: &bytes.Buffer{}, metrics: prometheus.NewRegistry(),
		sandbox: box, upstream: upstream, control: control.URL,
	}
	s.log, err = audit.Open(t.Context(), audit.Config{DatabaseURL: db.AppURL, DB: db.Pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.log.Close)
	s.svc = s.replica(change)
	return s
}

// replica is another process over the same database and upstream.
func (s *stage) replica(change func(*Config)) *Service {
	s.t.Helper()
	opened, err := vault.Open(s.t.Context(), s.db.Pool, vault.NewKEK([32]byte{7}), AdoptAccounts)
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := cloudapi.New(cloudapi.Config{CurrentURL: s.upstream, PAURL: s.upstream, Registerer: s.metrics, WriteTimeout: 3 * time.Second})
	if err != nil {
		// A second replica in one process shares the metrics of the first.
		client, err = cloudapi.New(cloudapi.Config{CurrentURL: s.upstream, PAURL: s.upstream, WriteTimeout: 3 * time.Second})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	cfg := Config{
		DB: s.db.Pool, Log: s.log, Cloud: client, Vault: opened, Logger: slog.New(slog.NewJSONHandler(s.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Rights: access.Configured{
			AdminGroups: []string{"admins"}, AuditorGroups: []string{"auditors"}, OperatorGroups: []string{"operators"}, ViewerGroups: []string{"viewers"},
		},
		SessionIdle: time.Hour, SessionMax: time.Hour, UnknownAfter: time.Minute, PollMin: time.Hour, PollMax: time.Hour, Now: s.clock.now,
	}
	if change != nil {
		change(&cfg)
	}
	return readRights(s.t, New(cfg))
}

// member is someone of a group, in a browser.
func member(group string) audit.Actor {
	return audit.Actor{
		Issuer: "https://id.example.test", Subject: "sub-" + group, Name: "Name of " + group, Email: group + "@example.test",
		Session: "5e5510", Via: audit.ViaBrowser, IP: "192.0.2.1", UserAgent: "Browser/1", RequestID: "req-" + group, Groups: []string{group},
		SignedInAt: time.Now(),
	}
}

// fixture returns one of the sandbox's accounts that match.
func (s *stage) fixture(match func(sandbox.Fixture) bool) sandbox.Fixture {
	s.t.Helper()
	for _, f := range s.sandbox.Fixtures() {
		if match(f) {
			return f
		}
	}
	s.t.Fatal("the sandbox has no such account")
	return sandbox.Fixture{}
}

func (s *stage) current() sandbox.Fixture {
	return s.fixture(func(f sandbox.Fixture) bool { return f.Generation == "current" })
}

func (s *stage) legacy() sandbox.Fixture {
	return s.fixture(func(f sandbox.Fixture) bool { return f.Generation == "pa-v1" })
}

func newAccountOf(f sandbox.Fixture, name string) NewAccount {
	return NewAccount{
		Generation: cloudapi.Generation(f.Generation), Key: cloudapi.NewSecret([]byte(f.ManagementKey)), CloudAccountID: f.CloudAccountID,
		Name: name, Environment: Staging,
	}
}

// register adds an account and makes its first snapshot.
func (s *stage) register(f sandbox.Fixture, name string) Account {
	s.t.Helper()
	account, err := s.svc.Create(s.t.Context(), member("admins"), newAccountOf(f, name))
	if err != nil {
		s.t.Fatal(err)
	}
	s.snapshot()
	return account
}

// snapshot refreshes every account that is due, and makes all due.
func (s *stage) snapshot() {
	s.t.Helper()
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp(), lease_until = NULL`)
	if _, err := s.svc.refreshOnce(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// inPhase returns a cluster of the account in the phase, from the snapshot.
func (s *stage) inPhase(account uuid.UUID, phase cloudapi.Phase) ClusterRef {
	s.t.Helper()
	ref := ClusterRef{AccountID: account}
	err := s.db.Pool.QueryRow(s.t.Context(), `SELECT cluster_id FROM clusters WHERE account_id = $1 AND phase = $2 AND gone_at IS NULL ORDER BY cluster_id LIMIT 1`,
		account, string(phase)).Scan(&ref.ClusterID)
	if err != nil {
		s.t.Fatalf("a cluster in phase %s: %v", phase, err)
	}
	return ref
}

func (s *stage) nameOf(ref ClusterRef) string {
	s.t.Helper()
	known, err := s.svc.loadCluster(s.t.Context(), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return known.name
}

// events returns the whole log, oldest first.
func (s *stage) events() []audit.Event {
	s.t.Helper()
	rows, err := s.db.Pool.Query(s.t.Context(), `SELECT body FROM audit.events ORDER BY seq`)
	if err != nil {
		s.t.Fatal(err)
	}
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		s.t.Fatal(err)
	}
	events := make([]audit.Event, len(bodies))
	for i, body := range bodies {
		if events[i], err = audit.Decode(body); err != nil {
			s.t.Fatal(err)
		}
	}
	return events
}

// eventsOf returns the events of one act.
func (s *stage) eventsOf(act Act) []audit.Event {
	s.t.Helper()
	var of []audit.Event
	for _, e := range s.events() {
		if e.Act == act.Name {
			of = append(of, e)
		}
	}
	return of
}

// calls returns how many calls the sandbox counted, and how many of them change something.
func (s *stage) calls() (total, mutating int) {
	s.t.Helper()
	var counted struct{ Total, Mutating int }
	s.ask(http.MethodGet, "calls", nil, &counted)
	return counted.Total, counted.Mutating
}

// ask uses the sandbox's control surface.
func (s *stage) ask(method, path string, body, out any) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.control+"/_sandbox/"+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+stageToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		s.t.Fatalf("sandbox control %s: %d %s %v", path, resp.StatusCode, answer, err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stage) fault(fields map[string]any) {
	s.t.Helper()
	s.ask(http.MethodPost, "faults", fields, nil)
}

// exec runs SQL as whoever the address names.
func (s *stage) exec(address, sql string, args ...any) {
	s.t.Helper()
	conn := s.connect(address)
	defer conn.Close(context.Background()) //nolint:errcheck // the test has what it wanted
	if _, err := conn.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *stage) connect(address string) *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), address)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// dump is every row of every table as text, and everything logged and measured.
func (s *stage) dump() string {
	s.t.Helper()
	conn := s.connect(s.db.SuperURL)
	defer conn.Close(context.Background()) //nolint:errcheck // only read
	rows, err := conn.Query(s.t.Context(), `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
		WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'`)
	if err != nil {
		s.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 8 {
		s.t.Fatalf("%d tables: %v", len(tables), err)
	}
	var all strings.Builder
	for _, table := range tables {
		rows, err := conn.Query(s.t.Context(), fmt.Sprintf(`SELECT t::text FROM %s t`, table))
		if err != nil {
			s.t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	for _, e := range s.events() {
		fmt.Fprintf(&all, "%+v\n", e)
	}
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintln(&all, families)
	all.WriteString(s.logged.String())
	return all.String()
}

// eventually polls until ok, for ten seconds at most.
func (s *stage) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s", what)
		}
	}
}
