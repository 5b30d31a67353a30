package accounts

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// asSuper runs statements with every right.
func (r *rig) asSuper(t testing.TB, statements ...string) {
	t.Helper()
	super, err := pgx.Connect(t.Context(), r.db.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = super.Close(t.Context()) }()
	for _, statement := range statements {
		if _, err := super.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// best is how long something takes when nothing comes between.
func best(t testing.TB, do func() error) time.Duration {
	t.Helper()
	least := time.Hour
	for range 5 {
		began := time.Now()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		least = min(least, time.Since(began))
	}
	return least
}

// crowd are n members, sub-0 to the last, whom the rig does not know yet.
func crowd(n int) []Identity {
	ids := make([]Identity, n)
	for i := range ids {
		ids[i] = vera()
		ids[i].Subject = fmt.Sprintf("sub-%d", i)
	}
	return ids
}

// TestRobustManySessionsTellNoAuthTime: whether a provider tells the time of sign-ins is found at once among 100,000
// sessions, also where none of them has one.
func TestRobustManySessionsTellNoAuthTime(t *testing.T) {
	r := newRig(t)
	r.manySessions(t, 100, r.clock.Now().Add(-24*time.Hour), crowd(1000)...)
	r.asSuper(t, `UPDATE sessions SET auth_time = now(), prompted = true WHERE random() < 0.1`, `VACUUM ANALYZE sessions`)
	took := best(t, func() error {
		told, err := r.svc.TellsAuthTime(t.Context(), vera().Issuer)
		if told {
			t.Error("an answer to prompt=login counts as a time that was told")
		}
		return err
	})
	reading := best(t, func() error {
		var n int
		return r.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM sessions WHERE claims IS NOT NULL`).Scan(&n)
	})
	t.Logf("100,000 sessions without a time: %v; reading them: %v", took, reading)
	if took > reading/5 {
		t.Errorf("it takes %v, and reading them all takes %v", took, reading)
	}
	r.asSuper(t, `UPDATE sessions SET prompted = false WHERE id = (SELECT id FROM sessions WHERE prompted LIMIT 1)`)
	if told, err := r.svc.TellsAuthTime(t.Context(), vera().Issuer); err != nil || !told {
		t.Errorf("one of 100,000 sessions has a time: %v, %v", told, err)
	}
}

// TestRobustWhoIsLeftIsFoundWithoutReadingEverybody: with a thousand members of two thousand groups each, whether an
// administrator is left after a change takes no time to speak of while other changes wait for it: the one who makes the change
// is, or one of those who were here last.
func TestRobustWhoIsLeftIsFoundWithoutReadingEverybody(t *testing.T) {
	r := newRig(t)
	_, ada := signIn(t, r, membersAdmin("ada"))
	r.manySessions(t, 1, r.clock.Now().Add(-24*time.Hour), crowd(1000)...)
	r.asSuper(t, `UPDATE members SET groups = (SELECT array_agg('group-' || g) FROM generate_series(1, 2000) g) WHERE subject <> 'sub-ada'`, `VACUUM ANALYZE members`)
	asks := func(by audit.Actor, change rightsWithout) func() error {
		return func() error {
			return pgx.BeginFunc(t.Context(), r.db.Pool, func(tx pgx.Tx) error {
				book, err := r.svc.lockRights(t.Context(), tx)
				if err != nil {
					return err
				}
				return r.svc.leavesAnAdmin(t.Context(), tx, book, by, change)
			})
		}
	}
	other := rightsWithout{blocked: principal{vera().Issuer, "sub-7"}}
	stranger := ada
	stranger.Subject, stranger.Groups = "sub-8", nil // whom a grant lets block, say
	self := best(t, asks(ada, other))
	another := best(t, asks(stranger, other))
	// The last one, who was seen long before everybody else: all are read, and it is found out.
	r.asSuper(t, `UPDATE members SET last_seen = '2020-01-01' WHERE subject = 'sub-ada'`)
	if err := asks(stranger, other)(); err != nil {
		t.Errorf("with the administrator last in the list: %v", err)
	}
	var conflict *ConflictError
	if err := asks(stranger, rightsWithout{blocked: principal{ada.Issuer, ada.Subject}})(); !errors.As(err, &conflict) {
		t.Errorf("the last administrator can be blocked: %v", err)
	}
	everybody := best(t, func() error {
		if err := asks(ada, rightsWithout{blocked: principal{ada.Issuer, ada.Subject}})(); !errors.As(err, &conflict) {
			t.Errorf("the last administrator can block themselves: %v", err)
		}
		return nil
	})
	t.Logf("who asks is left: %v; another is: %v; nobody is: %v", self, another, everybody)
	if self > everybody/10 || another > everybody/2 {
		t.Errorf("it takes %v when who asks is left, and %v when another is; with everybody read it takes %v", self, another, everybody)
	}
}

// TestRobustMembersOfAGroupAreThoseOfTheLastSignIn counts what the list of members has, and reads no session for it.
func TestRobustMembersOfAGroupAreThoseOfTheLastSignIn(t *testing.T) {
	r := newRig(t)
	signIn(t, r, vera()) // viewers, everyone
	again := vera()
	again.Groups = []string{"everyone"}
	signIn(t, r, again)
	signIn(t, r, membersAdmin("ada"))
	old := vera()
	old.Subject = "sub-old"
	signIn(t, r, old)
	r.asSuper(t, `UPDATE members SET last_seen = last_seen - interval '31 days' WHERE subject = 'sub-old'`, `DELETE FROM form_tokens`, `DELETE FROM sessions`)
	rows := []GroupRow{{Issuer: vera().Issuer, Value: "viewers"}, {Issuer: vera().Issuer, Value: "everyone"}, {Issuer: vera().Issuer, Value: "admins"}, {Issuer: "https://other.example.test", Value: "admins"}}
	if err := r.svc.countMembers(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 1, 0} {
		if rows[i].Members != want {
			t.Errorf("%s of %s has %d members, want %d", rows[i].Value, rows[i].Issuer, rows[i].Members, want)
		}
	}
}

// TestRobustGrantsThatBindNothingCostNoSignIn: a grant to an address that has expired, that the member gave to
// themselves, or that was forged, does not have each of their sign-ins take the lock of the rights, after which every process
// reads them anew.
func TestRobustGrantsThatBindNothingCostNoSignIn(t *testing.T) {
	r := newRig(t)
	id := vera()
	id.EmailVerified = true
	address := strings.ToLower(id.Email)
	put := func(change func(*grantRow), forged bool) {
		t.Helper()
		row := grantRow{
			ID: r.svc.newID(), SubjectKind: SubjectEmail, Issuer: id.Issuer, Subject: address, Role: "viewer", ScopeKind: string(access.ScopeEverything),
			Reason: "test", CreatedAt: r.clock.now, GrantedBy: "Ada",
		}
		change(&row)
		mac := r.svc.cfg.Vault.MAC(row.place(), row.says())
		if forged {
			mac = []byte("forged")
		}
		r.exec(t, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
			row.ID, row.SubjectKind, row.Issuer, row.Subject, row.Role, row.ScopeKind, row.Scope, row.ExpiresAt, row.Reason, row.BoundFrom,
			row.CreatedAt, row.GrantedBy, row.GrantedByIssuer, row.GrantedBySubject, mac)
	}
	ended := r.clock.now.Add(-time.Minute)
	put(func(g *grantRow) { g.ExpiresAt = &ended }, false)
	put(func(g *grantRow) { g.GrantedByIssuer, g.GrantedBySubject = id.Issuer, id.Subject }, false)
	put(func(*grantRow) {}, true)
	version := func() int64 { return value[int64](t, r, `SELECT version FROM rights_version`) }
	before := version()
	for range 3 {
		signIn(t, r, id)
	}
	if after := version(); after != before {
		t.Errorf("three sign-ins changed the rights %d times", after-before)
	}
	put(func(*grantRow) {}, false)
	before = version()
	signIn(t, r, id)
	if bound := value[int](t, r, `SELECT count(*) FROM grants WHERE bound_from IS NOT NULL`); bound != 1 || version() == before {
		t.Errorf("%d grants were bound, want 1", bound)
	}
	before = version()
	signIn(t, r, id)
	if version() != before {
		t.Error("a sign-in after that changed the rights")
	}
}
