package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// holdLog keeps everybody from writing to the log until the returned function is called.
func holdLog(t *testing.T, r *rig) (letGo func()) {
	t.Helper()
	owner, err := pgx.Connect(t.Context(), r.db.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	for _, statement := range []string{`BEGIN`, `SELECT FROM audit.head FOR UPDATE`} {
		if _, err := owner.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if _, err := owner.Exec(context.Background(), `ROLLBACK`); err != nil {
			t.Error(err)
		}
	}
}

// TestRobustARefusalOfTheLastMomentIsRecorded: a refusal that is recorded beside its answer, while the log is
// held by somebody else, is in the log when the process has ended in order.
func TestRobustARefusalOfTheLastMomentIsRecorded(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "Secret", Production)
	if err := r.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	letGo := holdLog(t, r)
	request, answered := context.WithCancel(t.Context())
	if _, err := r.svc.Account(request, outsider("nobodies"), id); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Account: %v, want ErrNotFound", err)
	}
	answered() // the browser has its answer, and its request is over
	ctx, stop := context.WithCancel(within(t))
	stop()
	ended := make(chan error, 1)
	go func() { ended <- r.svc.Run(ctx) }()
	released := make(chan struct{})
	go func() {
		defer close(released)
		for !strings.Contains(r.logged.String(), "refusal not recorded") { // the log gave up waiting once
			time.Sleep(20 * time.Millisecond)
		}
		letGo()
	}()
	err := <-ended
	<-released
	if err != nil {
		t.Fatal(err)
	}
	r.log.Close() // as the program does next
	if n := value[int](t, r, `SELECT count(*) FROM audit.events WHERE act = 'account.read' AND outcome = 'denied'`); n != 1 {
		t.Errorf("%d refusals were recorded, want 1", n)
	}
}

// TestRobustTheEndWaitsForTheLogABoundedTime: a log that nobody can write to does not keep a process from ending, however
// many refusals are summed.
func TestRobustTheEndWaitsForTheLogABoundedTime(t *testing.T) {
	r := newRig(t)
	letGo := holdLog(t, r)
	defer letGo()
	for i := range 300 {
		e := audit.Event{Act: "account.read", Outcome: audit.Denied, Target: audit.Target{Kind: KindAccount, ID: fmt.Sprint(i)}}
		r.svc.denials.add(r.clock.Now(), e)
		r.svc.denials.add(r.clock.Now(), e)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	ended := make(chan error, 1)
	go func() { ended <- r.svc.Run(ctx) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(3 * flushTimeout):
		t.Fatal("the process does not end")
	}
	if lost := strings.Count(r.logged.String(), "refusal not recorded"); lost != 300 {
		t.Errorf("the log of the program tells of %d of 300 refusals that were not recorded", lost)
	}
}

func TestRobustWorkBesideIsWaitedFor(t *testing.T) {
	var b beside
	if err := b.wait(t.Context()); err != nil {
		t.Errorf("nothing runs: %v", err)
	}
	hold := make(chan struct{})
	b.start(func() { <-hold })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited for what runs: %v", err)
	}
	go func() {
		b.start(func() {})
		close(hold)
	}()
	if err := b.wait(within(t)); err != nil {
		t.Error(err)
	}
}

// TestRobustNobodyHasRightsThatWereNotRead: as long as the rights were never read nobody has any, not even by configuration,
// because it is not known who is blocked.
func TestRobustNobodyHasRightsThatWereNotRead(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "Secret", Staging)
	admin := member("admins")
	signedIn := membersAdmin("admins")
	signedIn.Issuer, signedIn.Subject = admin.Issuer, admin.Subject
	signIn(t, r, signedIn)
	if _, err := r.svc.Block(t.Context(), JobActor("test"), admin.Issuer, admin.Subject, blockFor(signedIn)); err != nil {
		t.Fatal(err)
	}
	fresh := New(r.svc.cfg) // a process that has read nothing yet
	if rights := fresh.rights(admin); !rights.Empty() {
		t.Errorf("a member who is blocked has %v", rights.Permissions())
	}
	if rights := fresh.rights(viewer()); !rights.Empty() {
		t.Errorf("before the rights were read there are %v", rights.Permissions())
	}
	if _, err := fresh.Account(t.Context(), admin, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Account: %v, want ErrNotFound", err)
	}
	if !fresh.asksFresh(Act{StepUp: StepUpInProduction}, accountTarget(accountRef{ID: uuid.New(), Environment: Staging})) {
		t.Error("an account of which nothing is certain yet does not count as one of production")
	}
	if fresh.rights(JobActor("test")).Empty() {
		t.Error("the console's own jobs have no rights")
	}
	if err := fresh.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fresh.rights(viewer()).Empty() || !fresh.rights(admin).Empty() {
		t.Error("the rights are not those that were read")
	}
}
