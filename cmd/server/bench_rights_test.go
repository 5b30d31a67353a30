package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi/sandbox"
)

// scopedGroup is the group that the scoped member's rights come from, and scopedMember one who is in it and in none that
// configuration names.
const (
	scopedGroup  = "search-team"
	scopedMember = "nobody@example.test"
)

// rights measures what fine rights cost: the page of the fleet for a member who sees some accounts, some clusters and
// some by their labels, and how long it takes to know whether somebody may do something, with 5,000 grants to 1,000
// members.
func (b *bench) rights(t *testing.T) {
	accountCount, clusterCount, grantCount := 100, 5000, 5000
	if !b.full {
		accountCount, clusterCount, grantCount = 10, 300, 400
	}
	s := prepareServe(t)
	box, err := sandbox.New(sandbox.Config{Seed: 7, Accounts: accountCount, Clusters: clusterCount})
	if err != nil {
		t.Fatal(err)
	}
	upstream := listening(t, box.Handler())
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatalf("migrate up: exit code %d: %s", got.code, got.stderr)
	}
	console := launch(t, binary(t), s.with([]string{"QM_MIGRATE_DATABASE_URL"}, "QM_CLOUD_API_URL", upstream, "QM_CLOUD_PA_URL", upstream,
		"QM_UPSTREAM_RPS", "500", "QM_POLL_MIN", "10m", "QM_POLL_MAX", "10m"))
	console.waitReady(t, s.base)
	v := newVisitor(t, s.base).signIn(admin)
	for _, f := range box.Fixtures() {
		v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": f.ManagementKey, "environment": f.Environment})
	}
	db := openPool(t, s.env["QM_DATABASE_URL"])
	waitUntil(t, "all clusters are known", func() bool {
		var known int
		return db.QueryRow(t.Context(), `SELECT count(*) FROM clusters`).Scan(&known) == nil && known == clusterCount
	})
	if _, err := db.Exec(t.Context(), `UPDATE clusters SET labels = labels || jsonb_build_object('team', 'team-' || abs(hashtext(cluster_id)) % 200)`); err != nil {
		t.Fatal(err)
	}
	if _, err := openPool(t, s.env["QM_MIGRATE_DATABASE_URL"]).Exec(t.Context(), `VACUUM (ANALYZE) clusters`); err != nil {
		t.Fatal(err)
	}
	by, service := grantMany(t, s, db, grantCount)
	b.scopedPage(t, s, v)
	console.end(t)

	times := make([]float64, b.rounds)
	for i := range times {
		took := make([]float64, 301)
		for n := range took {
			began := time.Now()
			if err := service.AskVerify(t.Context(), by); err != nil {
				t.Fatal(err)
			}
			took[n] = time.Since(began).Seconds()
		}
		times[i] = median(took)
	}
	b.absolute("authorize, 300 grants and 10,000 groups", times, 1e-3, inMicros)
	b.lines[len(b.lines)-1].noisy = true
}

// grantMany makes the grants: to the scoped group, to a member who has 300 of them, and to a thousand others. It returns
// that member, who is in 10,000 groups and whose last grant lets them read the log, and a service that knows of all.
func grantMany(t *testing.T, s *served, db *pgxpool.Pool, count int) (audit.Actor, *accounts.Service) {
	t.Helper()
	issuer := s.env["QM_OIDC_ISSUER"]
	kek, err := vault.ParseKEK(s.env["QM_KEK"])
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := vault.Open(t.Context(), db, kek, nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), audit.Config{DatabaseURL: s.env["QM_DATABASE_URL"], DB: db})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	service := accounts.New(accounts.Config{
		DB: db, Log: log, Vault: sealing, Logger: slog.New(slog.DiscardHandler), Now: time.Now, Rights: access.Configured{Issuer: issuer},
	})

	type granted struct{ kind, subject, role, scopeKind, scope string }
	var grants []granted
	for i := range 20 {
		grants = append(grants, granted{"group", scopedGroup, "viewer", "labels", fmt.Sprintf("team=team-%d", i)})
	}
	some := func(n int, column string) (found []string) {
		rows, err := db.Query(t.Context(), `SELECT DISTINCT `+column+` AS found FROM clusters ORDER BY found LIMIT $1`, n)
		if err == nil {
			found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, account := range some(3, "account_id::text") {
		grants = append(grants, granted{"group", scopedGroup, "viewer", "account", account})
	}
	clusters := some(5000, "account_id || '/' || cluster_id")
	for i := range 5 {
		grants = append(grants, granted{"group", scopedGroup, "viewer", "cluster", clusters[len(clusters)-1-i]})
	}
	for i := range 299 {
		grants = append(grants, granted{"member", "most", "account-admin", "cluster", clusters[i%len(clusters)]})
	}
	for i := len(grants); i < count-1; i++ {
		role, kind, scope := "operator", "cluster", clusters[i%len(clusters)]
		if i%28 == 0 {
			kind, scope = "labels", fmt.Sprintf("team=team-%d", i%200)
		}
		grants = append(grants, granted{"member", fmt.Sprintf("member-%d", i%1000), role, kind, scope})
	}
	grants = append(grants, granted{"member", "most", "auditor", "everything", ""})

	at := time.Now().UTC().Truncate(time.Microsecond)
	_, err = db.CopyFrom(t.Context(), pgx.Identifier{"grants"}, []string{
		"id", "subject_kind", "issuer", "subject", "role", "scope_kind", "scope", "reason", "created_at", "granted_by", "granted_by_issuer", "granted_by_subject", "mac",
	}, pgx.CopyFromSlice(len(grants), func(i int) ([]any, error) {
		g, id := grants[i], uuid.Must(uuid.NewV7())
		// As the console writes it. What does not verify gives nothing, and the pages below tell.
		says, err := json.Marshal([]any{g.kind, issuer, g.subject, g.role, g.scopeKind, g.scope, nil, "bench", nil, at.UnixMicro(), "bench", accounts.InternalIssuer, "bench"})
		return []any{id, g.kind, issuer, g.subject, g.role, g.scopeKind, g.scope, "bench", at, "bench", accounts.InternalIssuer, "bench",
			sealing.MAC(vault.RowID{Table: "grants", ID: id, Field: "mac", Version: 1}, says)}, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = service.CreateGrant(t.Context(), accounts.JobActor("bench"), accounts.NewGrant{ // which reads the others
		SubjectKind: accounts.SubjectGroup, Subject: "another-team", Role: "viewer", ScopeKind: "everything", Reason: "bench",
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(service.UnverifiedRows()); n != 0 {
		t.Fatalf("%d rows do not verify", n)
	}
	groups := make([]string, 10_000)
	for i := range groups {
		groups[i] = fmt.Sprintf("group-%d", i)
	}
	return audit.Actor{Issuer: issuer, Subject: "most", Via: audit.ViaBrowser, Groups: groups}, service
}

// scopedPage measures the page of the fleet as a scoped member gets it against an admin's, one request after the other.
func (b *bench) scopedPage(t *testing.T, s *served, v *visitor) {
	scoped := newVisitor(t, s.base).signIn(scopedMember)
	if text := scoped.get("/clusters").text(); !strings.Contains(text, "clusters") || len(scoped.get("/clusters").byTestID("cluster-row")) == 0 {
		t.Fatalf("the scoped member sees nothing:\n%.2000s", text)
	}
	load := func(v *visitor) *load {
		request, err := http.NewRequest(http.MethodGet, v.base+"/clusters", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept-Encoding", "identity")
		for _, c := range v.http.Jar.Cookies(request.URL) {
			request.AddCookie(c)
		}
		return newLoad(request)
	}
	theirs, admins := load(scoped), load(v)
	pairs := b.pairs(
		func() float64 { return theirs.middle(t, b.round/2) },
		func() float64 { return admins.middle(t, b.round/2) })
	holds, limit := atMost(1.25)
	b.ratio("R5 fleet page of a scoped member, to an admin's", pairs, holds, limit, inMillis)
}

// middle is the median time of one request after another over one connection, in seconds.
func (l *load) middle(t *testing.T, long time.Duration) float64 {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	var took []float64
	for start := time.Now(); len(took) == 0 || time.Since(start) < long; {
		sent := time.Now()
		if _, err := l.once(conn, in); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(sent).Seconds())
	}
	return median(took)
}
