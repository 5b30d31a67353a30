package accounts

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

func TestReady(t *testing.T) {
	r := newRig(t)
	if err := r.svc.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := errors.New("the schema is of another version")
	other := r.replica(t, func(c *Config) {
		c.CheckSchema = func(context.Context, *pgxpool.Pool) error { return wrong }
	})
	if err := other.Ready(t.Context()); !errors.Is(err, wrong) {
		t.Errorf("Ready: %v, want %v", err, wrong)
	}
}

// Postgres goes away and comes back: requests are told so meanwhile, and Run goes on without a restart.
func TestPostgresGoneAndBack(t *testing.T) {
	server := dbtest.NewServer(t)
	r := newRigOn(t, server.New(t))
	id, at := r.account(t, "One", Production)
	at.add(1)
	token, by := signIn(t, r, vera())
	s := r.replica(t, func(c *Config) { c.PollMin, c.PollMax = 40*time.Millisecond, 100*time.Millisecond })
	ctx, stop := context.WithCancel(within(t))
	running := make(chan error, 1)
	go func() { running <- s.Run(ctx) }()
	until := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			select {
			case <-ctx.Done():
				t.Fatalf("waiting until %s: %s", what, r.logged.String())
			case <-time.After(20 * time.Millisecond): // nothing to wait on: another process changes its mind
			}
		}
	}
	refreshedAfter := func(than int) func() bool {
		return func() bool { lists, _ := at.seen(); return lists > than }
	}
	until("the account is refreshed", refreshedAfter(1))

	server.Crash(t)
	if err := s.Ready(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Ready: %v, want ErrUnavailable", err)
	}
	if _, _, err := s.Authenticate(t.Context(), browser(), token); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Authenticate: %v, want ErrUnavailable", err)
	}
	if _, err := s.SignIn(t.Context(), browser(), vera()); !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("SignIn: %v, want ErrUnavailable", err)
	}
	if _, err := s.Fleet(t.Context(), viewer(), FleetQuery{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Fleet: %v, want ErrUnavailable", err)
	}
	if _, err := s.Cluster(t.Context(), viewer(), ClusterRef{AccountID: id, ClusterID: "x"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Cluster: %v, want ErrUnavailable", err)
	}
	if _, err := s.FormToken(t.Context(), by, "account.create"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("FormToken: %v, want ErrUnavailable", err)
	}
	until("Run notices", func() bool { return strings.Contains(r.logged.String(), "refreshes not leased") })

	server.Start(t)
	until("it is ready again", func() bool { return s.Ready(t.Context()) == nil })
	r.exec(t, `UPDATE refresh SET lease_until = NULL`) // a lease that died with the server would expire after a minute
	lists, _ := at.seen()
	until("it refreshes again", refreshedAfter(lists))
	if _, _, err := s.Authenticate(t.Context(), browser(), token); err != nil {
		t.Errorf("the session did not outlive the crash: %v", err)
	}
	stop()
	if err := <-running; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunWritesSumsAtItsEnd(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(within(t))
	stop()
	for range 3 {
		r.svc.SignInFailed(t.Context(), browser(), "state does not match")
	}
	if err := r.svc.Run(ctx); err != nil {
		t.Fatal(err)
	}
	events := r.events(t, "session.login")
	if len(events) != 1 || events[0].Count != 3 || events[0].Outcome != audit.Failed {
		t.Errorf("events: %+v", events)
	}
}

// A lease that the database grants while the process stops is given back. The trigger stands for a
// grant that comes too late to be cancelled.
func TestALeaseGrantedWhileRunEndsIsGivenBack(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	at.add(1)
	owner, err := pgx.Connect(t.Context(), r.db.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.Background()) }()
	for _, statement := range []string{
		`CREATE FUNCTION granted_late() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				PERFORM pg_advisory_xact_lock(1);
				RETURN NEW;
			EXCEPTION WHEN query_canceled THEN
				RETURN NEW;
			END $$`,
		`CREATE TRIGGER granted_late BEFORE UPDATE ON refresh FOR EACH ROW WHEN (NEW.lease_owner <> '') EXECUTE FUNCTION granted_late()`,
		`SELECT pg_advisory_lock(1)`,
	} {
		if _, err := owner.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(within(t))
	ended := make(chan error, 1)
	go func() { ended <- r.svc.Run(ctx) }()
	granting := func() bool {
		return value[bool](t, r, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory')`)
	}
	for !granting() {
		if ctx.Err() != nil {
			t.Fatal("nothing is being leased")
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if _, err := owner.Exec(t.Context(), `SELECT pg_advisory_unlock(1)`); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if held := value[bool](t, r, `SELECT lease_until IS NOT NULL FROM refresh WHERE account_id = $1 AND kind = 'clusters'`, id); held {
		t.Error("the account is leased by a process that has ended")
	}
}

func TestAJobThatPanicsIsTriedAgain(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(within(t))
	times := 0
	r.svc.repeat(ctx, "test", time.Millisecond, func(context.Context) error {
		times++
		switch times {
		case 1:
			panic("broken")
		case 2:
			return errors.New("failed")
		case 3:
			return nil
		}
		stop()
		return nil
	})
	logged := r.logged.String()
	if times != 4 || strings.Count(logged, "job failed") != 1 || strings.Count(logged, "job works again") != 1 {
		t.Errorf("%d times, logged %s", times, logged)
	}
}
