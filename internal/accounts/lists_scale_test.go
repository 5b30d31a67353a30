package accounts

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/dbtest"
)

// listsSize is the fleet of these tests; TEST_FLEET=1000x100000 makes another one to look at by hand.
func listsSize(t *testing.T) (accounts, each int) {
	t.Helper()
	accounts, each = 100, 50
	if text := os.Getenv("TEST_FLEET"); text != "" {
		a, c, _ := strings.Cut(text, "x")
		var errA, errC error
		accounts, errA = strconv.Atoi(a)
		each, errC = strconv.Atoi(c)
		if errA != nil || errC != nil {
			t.Fatalf("TEST_FLEET=%q is not like 1000x100000", text)
		}
		each /= accounts
	}
	return accounts, each
}

// newListsFleet is a rig with so many accounts, and in each so many clusters with backups, schedules, alerts and keys.
func newListsFleet(t *testing.T, accounts, each int) *rig {
	t.Helper()
	r := newRig(t)
	r.exec(t, `
		INSERT INTO accounts (id, generation, cloud_account_id, upstream_name, owner_email, name, environment, owner, note, enabled,
			created_at, created_by, created_by_issuer, created_by_subject, updated_at)
		SELECT gen_random_uuid(), CASE WHEN i % 7 = 0 THEN 'pa-v1' ELSE 'current' END, gen_random_uuid()::text, 'Unit', '', 'Unit ' || lpad(((i * 37) % $1)::text, 4, '0'),
			(ARRAY['production', 'staging', 'development'])[i % 3 + 1], '', '', true, now(), 'test', 'quartermaster', 'test', now() FROM generate_series(1, $1) i`, accounts)
	r.exec(t, `INSERT INTO refresh (account_id, kind, created_at, next_at, ok_at) SELECT id, kind, now(), now() + interval '1 hour', now()
		FROM accounts, unnest('{clusters,backups,keys,alerts}'::text[]) kind`)
	r.exec(t, `
		INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id,
			package, ram_mib, cpu_milli, disk_mib, endpoint, labels, search, created_at, raw, digest, seen_at, changed_at, gone_at)
		SELECT a.id, gen_random_uuid()::text, 'name-' || i || '-' || left(a.cloud_account_id, 4), (ARRAY['HEALTHY', 'SCALING', 'SUSPENDED'])[i % 3 + 1], '',
			'aws', 'region-' || i % 5, 'v1', 'v1', 1, 1, 'p', 'mx', 1024, 1000, 4096, '', jsonb_build_object('team', 'team-' || i % 50),
			'name-' || i || '-' || left(a.cloud_account_id, 4) || E'\nteam=team-' || i % 50, now(),
			convert_to('{"id":"' || (SELECT string_agg(gen_random_uuid()::text, '') FROM generate_series(1, 40) WHERE i > 0) || '"}', 'UTF8'), '\x00', now(), now(),
			CASE WHEN i % 100 = 99 THEN now() END
		FROM accounts a, generate_series(1, $1) i`, each)
	r.exec(t, `
		INSERT INTO cluster_backups (account_id, cluster_id, cluster_digest, unsupported, last_at, last_status, last_ok_at, running, schedules, overdue_at, overdue)
		SELECT account_id, cluster_id, '\x00', CASE WHEN n = 1 THEN 'Free clusters have none.' END,
			CASE WHEN n > 4 THEN now() - n * interval '1 hour' END, CASE WHEN n <= 4 THEN '' WHEN n % 11 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END,
			CASE WHEN n > 4 THEN now() - n * interval '1 hour' END, 0, CASE WHEN n % 13 = 0 THEN 0 ELSE 1 END, now() + (n - 10) * interval '1 hour', n < 10
		FROM (SELECT c.*, abs(hashtext(c.cluster_id)) % 101 AS n FROM clusters c JOIN accounts a ON a.id = c.account_id WHERE a.generation = 'current') c`)
	r.exec(t, `
		INSERT INTO backup_schedules (account_id, schedule_id, cluster_id, name, cron, status, created_at, watched_at)
		SELECT account_id, gen_random_uuid()::text, cluster_id, 'nightly', '0 2 * * *', 'ACTIVE', now(), now() FROM cluster_backups WHERE schedules > 0`)
	r.exec(t, `
		INSERT INTO cluster_reads (account_id, cluster_id, kind, next_at, ok_at)
		SELECT account_id, cluster_id, 'alerts', now(), now() - abs(hashtext(cluster_id)) % 100 * interval '1 second' FROM cluster_backups`)
	r.exec(t, `
		INSERT INTO cluster_alerts (account_id, cluster_id, alert_id, type, severity, rank, state, title, description, since)
		SELECT account_id, cluster_id, gen_random_uuid()::text, 'OOM', (ARRAY['INFO', 'WARNING', 'CRITICAL'])[n % 3 + 1], n % 3 + 1, CASE WHEN n % 5 = 0 THEN 'FIRING' ELSE 'RESOLVED' END,
			'Trouble ' || n, 'Something is wrong with it.', now() - n * interval '1 minute'
		FROM (SELECT b.*, abs(hashtext(cluster_id)) % 100 AS n FROM cluster_backups b) b`)
	r.exec(t, `
		INSERT INTO database_keys (account_id, admin, key_id, name, mark, clusters, access, created_by, created_at, expires_at, seen_at)
		SELECT account_id, false, gen_random_uuid()::text, 'key ' || n, 'mark', ARRAY[cluster_id], '{manage everything}', 'maker@example.test', now(),
			CASE WHEN n % 4 > 0 THEN now() + (n - 10) * interval '1 day' END, now()
		FROM (SELECT b.*, abs(hashtext(cluster_id)) % 100 AS n FROM cluster_backups b) b`)
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(t.Context()) //nolint:errcheck // the database goes with the test
	for _, table := range []string{"accounts", "refresh", "clusters", "cluster_backups", "backup_schedules", "cluster_reads", "cluster_alerts", "database_keys"} {
		if _, err := owner.Exec(t.Context(), `VACUUM (ANALYZE) `+table); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// onListsFleet is the rig on a fleet that was filled before, of which TEST_LISTS_DATABASE is the address, to look at plans by hand.
func onListsFleet(t *testing.T) *rig {
	t.Helper()
	address := os.Getenv("TEST_LISTS_DATABASE")
	if address == "" {
		accounts, each := listsSize(t)
		return newListsFleet(t, accounts, each)
	}
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return newRigOn(t, &dbtest.DB{AppURL: address, OwnerURL: address, Pool: pool})
}

// TestBackupsPageReadsWhatItShows: however large the fleet, a page of the list of backups reads of it about as much as it shows and no
// more than is counted, so the time it takes does not grow with the fleet. What is counted here are rows that Postgres went through,
// which are the same on a busy machine.
func TestBackupsPageReadsWhatItShows(t *testing.T) {
	r := onListsFleet(t)
	queries := []BackupsQuery{{}, {Environment: "production"}, {Text: "name-1"}, {Text: "na"}, {Text: "team=team-7"}, {State: BackupsFailed, Environment: "staging"}}
	for _, state := range BackupStates {
		queries = append(queries, BackupsQuery{State: state})
	}
	for _, q := range queries {
		best := time.Hour
		for round := 0; round == 0 || best > raceFactor*30*time.Millisecond && round < 2; round++ {
			at := cursor{}
			for pages := range 3 {
				err := pgx.BeginFunc(t.Context(), r.db.Pool, func(tx pgx.Tx) error {
					accounts, err := r.svc.fleetAccounts(t.Context(), tx, access.Scope{Everything: true})
					if err != nil {
						return err
					}
					everything := reach{everything: true}
					judged, page := judgedClusters{in: everything, scheduled: everything, accounts: accounts.all}, BackupsPage{}
					var before, after int64
					const rows = `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables WHERE relname IN ('clusters', 'cluster_backups')`
					if err := tx.QueryRow(t.Context(), rows).Scan(&before); err != nil {
						return err
					}
					began := time.Now()
					if err := r.svc.backupRows(t.Context(), tx, &page, judged, q, at, "q"); err != nil {
						return err
					}
					best = min(best, time.Since(began))
					if err := tx.QueryRow(t.Context(), rows).Scan(&after); err != nil {
						return err
					}
					_, few, err := judged.find(t.Context(), tx, q)
					if err != nil {
						return err
					}
					bound := int64(2*CountCap + 10*backupsLimit) // what is looked for at first, and the pieces of a page
					if few {                                     // all of them are looked at
						bound = 6 * CountCap
					}
					if read := after - before; read > bound {
						t.Errorf("%+v: page %d reads %d rows", BackupsQuery{Text: q.Text, State: q.State, Environment: q.Environment}, pages+1, read)
					}
					if page.Next == "" {
						return nil
					}
					q.After = page.Next
					at, err = r.svc.decodeCursor(page.Next, "q")
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if q.After == "" {
					break
				}
			}
			q.After = ""
		}
		t.Logf("%8v %+v", best.Round(100*time.Microsecond), q)
	}
}
