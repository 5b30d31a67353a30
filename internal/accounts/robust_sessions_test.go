package accounts

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// manySessions stores n sessions of each of the members, as sign-ins would have, but for their marks.
func (r *rig) manySessions(t testing.TB, n int, at time.Time, ids ...Identity) {
	t.Helper()
	for _, id := range ids {
		r.exec(t, `INSERT INTO members (issuer, subject, name, email, email_verified, first_seen, last_seen) VALUES ($1, $2, $3, $4, true, $5, $5) ON CONFLICT DO NOTHING`,
			id.Issuer, id.Subject, id.Name, id.Email, at)
		r.exec(t, `INSERT INTO sessions (id, token_hash, mark, issuer, subject, name, email, email_verified, groups, overage, claims, sid, ip, user_agent,
				created_at, last_seen_at, expires_at)
			SELECT gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), md5(gen_random_uuid()::text), $1, $2, $3, $4, true, '{viewers}', false, '{"sub": "x"}', '', '192.0.2.1', 'Browser',
				$5::timestamptz + make_interval(secs => i), $5::timestamptz + make_interval(secs => i), $5::timestamptz + interval '12 hours' FROM generate_series(1, $6) i`,
			id.Issuer, id.Subject, id.Name, id.Email, at, n)
	}
}

// TestRobustEndingSessionsNeverDeadlocks: the sessions of a member end by an administrator's hand, several times at
// once, while the hourly cleaning of several replicas ends what has expired. None is the victim of a deadlock, and
// nothing waits for the cleaning to end all of its rows.
func TestRobustEndingSessionsNeverDeadlocks(t *testing.T) {
	r := newRig(t)
	other := r.replica(t, nil)
	_, ada := signIn(t, r, membersAdmin("ada"))
	for round := range 6 {
		r.manySessions(t, 1500, r.clock.Now().Add(-24*time.Hour), vera()) // expired, and not ended yet
		var together sync.WaitGroup
		for _, s := range []*Service{r.svc, other} {
			together.Go(func() {
				if err := s.cleanSessions(t.Context()); err != nil {
					t.Errorf("round %d: cleaning: %v", round, err)
				}
			})
			together.Go(func() {
				if _, err := s.EndMemberSessions(t.Context(), ada, vera().Issuer, vera().Subject); err != nil {
					t.Errorf("round %d: ending: %v", round, err)
				}
			})
		}
		together.Wait()
		if err := r.svc.cleanSessions(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NULL AND subject = $1`, vera().Subject); left != 0 {
			t.Errorf("round %d: %d sessions go on", round, left)
		}
	}
	if strings.Contains(r.logged.String(), "deadlock") {
		t.Error("the log tells of a deadlock")
	}
}
