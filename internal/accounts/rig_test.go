package accounts

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/dbtest"
)

// rig is a Service over a real database and an upstream that does what the test says.
type rig struct {
	db     *dbtest.DB
	log    *audit.Log
	clock  *stubClock
	logged *lockedBuffer
	up     *scriptedUpstream
	svc    *Service
}

// stubClock is a clock that only the test moves.
type stubClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *stubClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stubClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lockedBuffer keeps what was logged.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newRig(t testing.TB) *rig { return newRigOn(t, dbtest.New(t)) }

func newRigOn(t testing.TB, db *dbtest.DB) *rig {
	t.Helper()
	r := &rig{
		db: db, clock: &stubClock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}, logged: &lockedBuffer{}, up: newScriptedUpstream(t),
	}
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: db.AppURL, DB: db.Pool, Now: r.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	r.log = log
	r.svc = r.replica(t, nil)
	return r
}

// replica returns another Service over the same database, as another process would be.
func (r *rig) replica(t testing.TB, change func(*Config)) *Service {
	t.Helper()
	opened, err := vault.Open(t.Context(), r.db.Pool, vault.NewKEK([32]byte{1, 2, 3}), AdoptAccounts)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(r.up.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(r.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client, err := cloudapi.New(cloudapi.Config{CurrentURL: address, PAURL: address, ReadTimeout: 5 * time.Second, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	cfg := Config{
		DB: r.db.Pool, Log: r.log, Cloud: client, Vault: opened, Logger: logger,
		Rights:      access.Configured{AdminGroups: []string{"admins"}, ViewerGroups: []string{"viewers"}},
		SessionIdle: 30 * time.Minute, SessionMax: 12 * time.Hour, UnknownAfter: 2 * time.Minute,
		PollMin: 2 * time.Second, PollMax: time.Minute, Now: r.clock.Now,
	}
	if change != nil {
		change(&cfg)
	}
	return readRights(t, New(cfg))
}

// readRights has the Service know the rights, as it does once somebody has signed in: a test names actors itself.
func readRights(t testing.TB, s *Service) *Service {
	t.Helper()
	if err := s.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// account registers an account and makes its refresh due, without an upstream call.
func (r *rig) account(t testing.TB, name string, environment Environment) (id uuid.UUID, at *scriptedAccount) {
	t.Helper()
	id = uuid.Must(uuid.NewV7())
	keyID := uuid.Must(uuid.NewV7())
	at = r.up.account(t)
	sealed, err := r.svc.cfg.Vault.Seal(vault.ManagementKeys, keyPlace(keyID), []byte(at.key))
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), r.db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `
			INSERT INTO accounts (id, generation, cloud_account_id, upstream_name, owner_email, name, environment, owner, note, enabled,
				created_at, created_by, created_by_issuer, created_by_subject, updated_at)
			VALUES ($1, 'current', $2, $3, '', $3, $4, '', '', true, now(), 'test', 'quartermaster', 'test', now())`,
			id, at.id, name, environment); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), `
			INSERT INTO management_keys (id, account_id, prefix, sealed, provenance, permissions, added_at, added_by)
			VALUES ($1, $2, $3, $4, 'pasted', '{read:clusters,write:clusters}', now(), 'test')`, keyID, id, at.key[:8], sealed); err != nil {
			return err
		}
		if err := r.svc.certify(t.Context(), tx, Account{ID: id, CloudAccountID: at.id, Generation: cloudapi.Current, Environment: environment}); err != nil {
			return err
		}
		return r.svc.scheduleRefresh(t.Context(), tx, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, at
}

// refreshOnce refreshes every account that is due, and returns how many there were.
func (s *Service) refreshOnce(ctx context.Context) (int, error) {
	var all []lease
	for _, troubled := range []bool{false, true} {
		leases, err := s.lease(ctx, troubled, maxListed)
		if err != nil {
			return 0, err
		}
		all = append(all, leases...)
	}
	var running sync.WaitGroup
	for _, l := range all {
		running.Go(func() { s.refresh(ctx, l) })
	}
	running.Wait()
	return len(all), nil
}

// refresh makes the account due and refreshes whatever is due.
func (r *rig) refresh(t testing.TB, s *Service, due ...uuid.UUID) {
	t.Helper()
	r.exec(t, `UPDATE refresh SET next_at = now() WHERE account_id = ANY($1)`, due)
	n, err := s.refreshOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n < len(due) {
		t.Fatalf("%d accounts were refreshed, %d were due", n, len(due))
	}
}

func (r *rig) exec(t testing.TB, sql string, arguments ...any) {
	t.Helper()
	if _, err := r.db.Pool.Exec(t.Context(), sql, arguments...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// value reads one value.
func value[T any](t testing.TB, r *rig, sql string, arguments ...any) T {
	t.Helper()
	var v T
	if err := r.db.Pool.QueryRow(t.Context(), sql, arguments...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// sync is how fresh the account is.
func (r *rig) sync(t testing.TB, s *Service, id uuid.UUID) Sync {
	t.Helper()
	one := []Account{{ID: id}}
	if err := s.addSync(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	return one[0].Sync
}

// events reads the log, oldest first, and drops what varies from run to run.
func (r *rig) events(t testing.TB, act string) []audit.Event {
	t.Helper()
	page, err := r.log.List(t.Context(), audit.Query{Act: act, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	var events []audit.Event
	for i := len(page.Operations) - 1; i >= 0; i-- {
		events = append(events, page.Operations[i].Event)
	}
	return events
}

// viewer is a member who may read every cluster.
func viewer() audit.Actor {
	return audit.Actor{Issuer: "https://idp.example.test", Subject: "v", Name: "Vera Viewer", Groups: []string{"viewers"}, Via: audit.ViaBrowser}
}

// scriptedUpstream is the Cloud API as one test needs it.
type scriptedUpstream struct {
	server *httptest.Server
	mu     sync.Mutex
	byKey  map[string]*scriptedAccount
}

// scriptedAccount is one account of it. Fields are changed through set.
type scriptedAccount struct {
	up  *scriptedUpstream
	id  string
	key string

	clusters []*scriptedCluster // what exists
	hidden   map[string]bool    // exists and is not listed
	pageSize int                // 0: all at once
	status   int                // of every answer, when not 0
	failPage int                // this page, from 1, answers 500
	repeat   bool               // the last page names the first as the next
	hang     chan struct{}      // listing waits until it is closed
	entered  chan struct{}      // receives once for every listing that began
	packages string             // answer of ListPackages; empty: 500
	onList   func()             // runs in each listing, before it is answered

	lists, gets, booked, inside, most int
	sent                              []map[string]any // bodies of changes, numbers as written
}

type scriptedCluster struct {
	ID, Name, Phase, Provider, Region, Version, Package string
	Nodes, Up                                           int
	RAM, CPU, Disk                                      float64
	Labels                                              map[string]string
	Created                                             time.Time
	Extra                                               map[string]any
}

func newScriptedUpstream(t testing.TB) *scriptedUpstream {
	up := &scriptedUpstream{byKey: map[string]*scriptedAccount{}}
	mux := http.NewServeMux()
	mux.HandleFunc(cloudapi.OpListClusters.Method+" "+cloudapi.OpListClusters.Path, up.list)
	mux.HandleFunc(cloudapi.OpGetCluster.Method+" "+cloudapi.OpGetCluster.Path, up.get)
	mux.HandleFunc("PUT /api/cluster/v1/accounts/{account_id}/clusters/{cluster_id}", up.update)
	mux.HandleFunc(cloudapi.OpListEffectivePermissions.Method+" "+cloudapi.OpListEffectivePermissions.Path, up.permissions)
	mux.HandleFunc(cloudapi.OpListPackages.Method+" "+cloudapi.OpListPackages.Path, up.listPackages)
	up.server = httptest.NewServer(mux)
	t.Cleanup(up.server.Close)
	return up
}

func (up *scriptedUpstream) account(testing.TB) *scriptedAccount {
	up.mu.Lock()
	defer up.mu.Unlock()
	a := &scriptedAccount{up: up, id: uuid.NewString(), key: "canary-" + uuid.NewString(), hidden: map[string]bool{}}
	up.byKey[a.key] = a
	return a
}

func (a *scriptedAccount) set(change func(*scriptedAccount)) {
	a.up.mu.Lock()
	defer a.up.mu.Unlock()
	change(a)
}

// add gives the account n healthy clusters.
func (a *scriptedAccount) add(n int) {
	a.set(func(a *scriptedAccount) {
		for range n {
			i := len(a.clusters)
			a.clusters = append(a.clusters, &scriptedCluster{
				ID: uuid.NewString(), Name: fmt.Sprintf("cluster-%03d", i), Phase: "CLUSTER_PHASE_HEALTHY", Provider: "aws", Region: "eu-central-1",
				Version: "v1.15.4", Package: "00000000-0000-4000-8000-000000000001", Nodes: 3, Up: 3,
				Created: time.Date(2025, 1, 1, i, 0, 0, 0, time.UTC),
			})
		}
	})
}

func (a *scriptedAccount) seen() (lists, gets int) {
	a.up.mu.Lock()
	defer a.up.mu.Unlock()
	return a.lists, a.gets
}

func (c *scriptedCluster) json(account string) map[string]any {
	labels := []map[string]string{}
	for k, v := range c.Labels {
		labels = append(labels, map[string]string{"key": k, "value": v})
	}
	body := map[string]any{
		"id": c.ID, "accountId": account, "name": c.Name, "createdAt": c.Created.Format(time.RFC3339), "cloudProviderId": c.Provider,
		"cloudProviderRegionId": c.Region, "labels": labels,
		"configuration": map[string]any{"numberOfNodes": c.Nodes, "version": c.Version, "packageId": c.Package},
		"state": map[string]any{
			"phase": c.Phase, "version": c.Version, "nodesUp": c.Up, "endpoint": map[string]any{"url": "https://" + c.ID + ".eu.aws.cloud.qdrant.io"},
			"resources": map[string]any{"ram": map[string]any{"base": c.RAM}, "cpu": map[string]any{"base": c.CPU}, "disk": map[string]any{"base": c.Disk}},
		},
	}
	for k, v := range c.Extra {
		body[k] = v
	}
	return body
}

// enter finds the account of a request and answers what every operation answers.
func (up *scriptedUpstream) enter(w http.ResponseWriter, req *http.Request) *scriptedAccount {
	up.mu.Lock()
	defer up.mu.Unlock()
	_, key, _ := bytesCut(req.Header.Get("Authorization"))
	a := up.byKey[key]
	if a == nil || a.id != req.PathValue("account_id") {
		answer(w, http.StatusUnauthorized, map[string]any{"code": 16, "message": "invalid api key"})
		return nil
	}
	if a.status != 0 {
		answer(w, a.status, map[string]any{"code": 16, "message": "upstream says " + strconv.Itoa(a.status)})
		return nil
	}
	return a
}

func bytesCut(header string) (scheme, key string, found bool) {
	b, k, ok := bytes.Cut([]byte(header), []byte(" "))
	return string(b), string(k), ok
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client has gone
}

func (up *scriptedUpstream) list(w http.ResponseWriter, req *http.Request) {
	a := up.enter(w, req)
	if a == nil {
		return
	}
	up.mu.Lock()
	a.lists++
	a.inside++
	a.most = max(a.most, a.inside)
	hang, entered, onList := a.hang, a.entered, a.onList
	up.mu.Unlock()
	defer func() {
		up.mu.Lock()
		a.inside--
		up.mu.Unlock()
	}()
	if entered != nil {
		entered <- struct{}{}
	}
	if hang != nil {
		select {
		case <-hang:
		case <-req.Context().Done():
			return
		}
	}
	up.mu.Lock()
	var items []map[string]any
	for _, c := range a.clusters {
		if !a.hidden[c.ID] {
			items = append(items, c.json(a.id))
		}
	}
	page, _ := strconv.Atoi(req.URL.Query().Get("pageToken"))
	size, next := len(items), ""
	if a.pageSize > 0 {
		size = a.pageSize
	}
	from, to := min(page*size, len(items)), min((page+1)*size, len(items))
	if to < len(items) {
		next = strconv.Itoa(page + 1)
	} else if a.repeat {
		next = "1"
	}
	fail := a.failPage == page+1
	up.mu.Unlock()
	if onList != nil {
		onList()
	}
	if fail {
		answer(w, http.StatusBadRequest, map[string]any{"code": 13, "message": "page failed"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"items": items[from:to], "nextPageToken": next, "totalSize": len(items)})
}

func (up *scriptedUpstream) get(w http.ResponseWriter, req *http.Request) {
	a := up.enter(w, req)
	if a == nil {
		return
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	a.gets++
	for _, c := range a.clusters {
		if c.ID == req.PathValue("cluster_id") {
			answer(w, http.StatusOK, map[string]any{"cluster": c.json(a.id)})
			return
		}
	}
	answer(w, http.StatusNotFound, map[string]any{"code": 5, "message": "cluster not found"})
}

// update keeps what is sent; a change takes effect as it is sent.
func (up *scriptedUpstream) update(w http.ResponseWriter, req *http.Request) {
	a := up.enter(w, req)
	if a == nil {
		return
	}
	var body map[string]any
	decoder := json.NewDecoder(req.Body)
	decoder.UseNumber()
	err := decoder.Decode(&body)
	up.mu.Lock()
	defer up.mu.Unlock()
	a.sent = append(a.sent, body)
	for _, c := range a.clusters {
		if resource, ok := body["cluster"].(map[string]any); ok && err == nil && c.ID == req.PathValue("cluster_id") {
			c.Extra = resource
			answer(w, http.StatusOK, map[string]any{"cluster": c.json(a.id)})
			return
		}
	}
	answer(w, http.StatusBadRequest, map[string]any{"code": 3, "message": "no such cluster, or no JSON"})
}

func (up *scriptedUpstream) permissions(w http.ResponseWriter, req *http.Request) {
	if up.enter(w, req) != nil {
		answer(w, http.StatusOK, map[string]any{"permissions": []map[string]string{{"value": "read:clusters"}, {"value": "read:backups"}}})
	}
}

func (up *scriptedUpstream) listPackages(w http.ResponseWriter, req *http.Request) {
	a := up.enter(w, req)
	if a == nil {
		return
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if req.URL.Query().Get("tier") != "PACKAGE_TIER_PREMIUM" {
		a.booked++ // each tier takes a call
	}
	if a.packages == "" {
		answer(w, http.StatusBadRequest, map[string]any{"code": 13, "message": "no packages today"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(a.packages)) //nolint:errcheck // the client has gone
}

// within fails the test when ctx's work takes longer than a test should; it is no part of any promise.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
