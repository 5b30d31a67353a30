package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

// log measures audited changes: an attempt and then an outcome, each durable before the next is
// begun. The floor commits the same two rows into a table with the same columns and indexes, by
// plain inserts of ready values, with as many connections as there are writers.
func (b *bench) log(t *testing.T) {
	server := dbtest.NewDurableServer(t)
	b.changesOn(t, server, "one writer", 1, 0, 0.5)
	b.changesOn(t, server, "one writer, a commit takes 1 ms longer", 1, time.Millisecond, 0.7)
	b.changesOn(t, server, "eight writers", 8, 0, 0.5)
}

// changesOn measures in a database of its own. Postgres waits for longer before each commit, as a disk
// does that is slower to keep something than this machine's.
func (b *bench) changesOn(t *testing.T, server *dbtest.Server, words string, writers int, longer time.Duration, least float64) {
	ctx := t.Context()
	db := server.New(t)
	super := openPool(t, db.SuperURL)
	for _, setting := range []string{"commit_siblings = 0", fmt.Sprintf("commit_delay = %d", longer.Microseconds())} {
		if _, err := super.Exec(ctx, `ALTER DATABASE `+pgx.Identifier{db.Name}.Sanitize()+` SET `+setting); err != nil {
			t.Fatal(err)
		}
	}
	log, err := audit.Open(ctx, audit.Config{DatabaseURL: db.AppURL, DB: db.Pool})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	owner := openPool(t, db.OwnerURL)
	if _, err := owner.Exec(ctx, `CREATE TABLE public.plain_events (LIKE audit.events INCLUDING ALL); CREATE SEQUENCE public.plain_seq CACHE 1;
		ALTER TABLE public.plain_events ALTER seq SET DEFAULT nextval('public.plain_seq')`); err != nil {
		t.Fatal(err)
	}
	settings, err := pgxpool.ParseConfig(db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	settings.MinConns, settings.MaxConns = 8, 8
	plain, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()

	audited := func() error {
		e := sampleEvent()
		if _, err := log.Append(ctx, e); err != nil {
			return err
		}
		_, err := log.Append(ctx, outcomeOf(e))
		return err
	}
	example := sampleEvent()
	attempt, outcome := audit.Encode(example), audit.Encode(outcomeOf(example))
	inserted := func() error {
		e := example
		e.Operation = uuid.Must(uuid.NewV7())
		if err := insertPlain(ctx, plain, e, attempt); err != nil {
			return err
		}
		return insertPlain(ctx, plain, outcomeOf(e), outcome)
	}
	holds, limit := atLeast(least)
	b.ratio("R4 audited changes, "+words, b.pairs(
		func() float64 { return b.changes(t, writers, audited) },
		func() float64 { return b.changes(t, writers, inserted) },
	), holds, limit, perSecond)
	report, err := log.Verify(ctx, nil)
	if err != nil || !report.OK() {
		t.Errorf("the log that was measured is not whole: %+v, %v", report, err)
	}
}

// changes has writers change something one after the other, and returns changes a second.
func (b *bench) changes(t *testing.T, writers int, change func() error) float64 {
	t.Helper()
	var done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range writers {
		wg.Go(func() {
			for time.Since(start) < b.round/2 {
				if err := change(); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() == 0 {
		t.Fatal("nothing was written")
	}
	return float64(done.Load()) / time.Since(start).Seconds()
}

// sampleEvent is the attempt of an act as the console records it.
func sampleEvent() audit.Event {
	return audit.Event{
		Act: "cluster.update", Phase: audit.PhaseAttempt, Operation: uuid.Must(uuid.NewV7()),
		Actor: audit.Actor{
			Issuer: "https://login.example.com/realms/platform", Subject: "6f1c5f1e-7d0a-4f7e-9a51-0d6f2d1b7a10", Name: "Ada Example", Email: "ada@example.com", EmailVerified: true,
			Roles: []string{"operator"}, Session: "0123456789abcdef0123456789abcdef", Via: audit.ViaBrowser, IP: "192.0.2.10",
			UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", RequestID: uuid.NewString(),
		},
		Account: audit.Ref{ID: "019a0000-0000-7000-8000-000000000001", Name: "Northwind Search Production"},
		Target:  audit.Target{Kind: "cluster", ID: "6f1c5f1e-7d0a-4f7e-9a51-000000000001", Name: "recommendations"},
		Change:  audit.Change{"nodes": {1, 3}, "package": {"mx1", "mx2"}},
	}
}

func outcomeOf(e audit.Event) audit.Event {
	e.ID, e.Phase, e.Outcome = uuid.Nil, audit.PhaseOutcome, audit.OK
	e.Upstream = audit.Upstream{RPC: "qdrant.cloud.cluster.v1.ClusterService/UpdateCluster", KeyID: e.Account.ID, Status: 200, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", LatencyMS: 41}
	return e
}

var emptyHash = make([]byte, 32)

// insertPlain commits one row as a program without proof would.
func insertPlain(ctx context.Context, db *pgxpool.Pool, e audit.Event, body []byte) error {
	id := uuid.Must(uuid.NewV7())
	search := id.String() + "\n" + e.Act + "\n" + e.Operation.String() + "\n" + e.Actor.RequestID + "\n" + e.Actor.Subject + "\n" + e.Actor.Name + "\n" + e.Actor.Email + "\n" +
		e.Actor.IP + "\n" + e.Account.ID + "\n" + e.Account.Name + "\n" + e.Target.ID + "\n" + e.Target.Name
	if _, err := db.Exec(ctx, `
		INSERT INTO public.plain_events (recorded_at, body, leaf, chain, id, act, phase, outcome, inferred, operation_id, actor_issuer, actor_subject,
			actor_name, actor_email, account_id, target_kind, target_id, request_id, search)
		VALUES (clock_timestamp(), $1, $2, $2, $3, $4, $5, $6, false, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		body, emptyHash, id, e.Act, string(e.Phase), string(e.Outcome), e.Operation, e.Actor.Issuer, e.Actor.Subject,
		e.Actor.Name, e.Actor.Email, e.Account.ID, e.Target.Kind, e.Target.ID, e.Actor.RequestID, search); err != nil {
		return fmt.Errorf("inserting a plain row: %w", err)
	}
	return nil
}
