package accounts

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func (r *rig) execAsOwner(t *testing.T, statement string) {
	t.Helper()
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.WithoutCancel(t.Context())) }()
	if tag, err := owner.Exec(t.Context(), statement); err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%s: %d rows, %v", statement, tag.RowsAffected(), err)
	}
}

// TestSessionRowThatSignInDidNotWriteIsNoSession gives a member's own token to rows that were made
// by hand: the token is real, and only the row says who its bearer is.
func TestSessionRowThatSignInDidNotWriteIsNoSession(t *testing.T) {
	for name, columns := range map[string]string{
		"groups":         `groups = ARRAY['admins']`,
		"verified email": `email = 'admin@example.test', email_verified = true`,
		"name":           `name = 'Ada Admin'`,
		"subject":        `subject = 'sub-ada'`,
		"longer life":    `expires_at = expires_at + interval '1 year', created_at = created_at + interval '1 year'`,
		"fresh sign-in":  `auth_time = created_at`,
		"another id":     `id = gen_random_uuid()`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ada := vera()
			ada.Subject = "sub-ada"
			signIn(t, r, ada)
			token, _ := signIn(t, r, vera())
			// The schema's owner, because the console's role may change none of these.
			r.execAsOwner(t, `UPDATE sessions SET `+columns+` WHERE subject = 'sub-vera'`)
			wantNoSession(t, r.svc, token)
			if !strings.Contains(r.logged.String(), "session row was not written by a sign-in") {
				t.Error("the log does not tell of it")
			}
		})
	}
}

func TestSessionWithEveryClaimIsStillItself(t *testing.T) {
	r := newRig(t)
	id := vera()
	at := r.clock.now.Add(-time.Hour).Add(123456789 * time.Nanosecond)
	id.AuthTime, id.Name, id.Groups = &at, "Vera \u2028 \xff <&> Ωmega", nil
	if _, by := signIn(t, r, id); by.Subject != id.Subject {
		t.Errorf("signed in as %q", by.Subject)
	}
}

// TestEndedSessionCannotBeRevived tries with the rights of the console's own role.
func TestEndedSessionCannotBeRevived(t *testing.T) {
	r := newRig(t)
	token, by := signIn(t, r, vera())
	if _, err := r.svc.SignOut(t.Context(), by); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE sessions SET ended_at = NULL, end_reason = ''`,
		`UPDATE sessions SET ended_at = '1970-01-01'`,
		`UPDATE sessions SET id_token_sealed = '\x00'`,
		`DELETE FROM sessions`,
		`TRUNCATE sessions CASCADE`,
	} {
		if _, err := r.db.Pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("the app role may: %s", statement)
		}
	}
	if _, err := r.db.Pool.Exec(t.Context(), `SELECT forget_sessions()`); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions`); n != 1 {
		t.Error("a session was forgotten that had just ended")
	}
	wantNoSession(t, r.svc, token)
}

// TestBackdatedEndForgetsNothing: with an end in the past a row could be forgotten and written again.
func TestBackdatedEndForgetsNothing(t *testing.T) {
	r := newRig(t)
	r.clock.now = time.Now()
	signIn(t, r, vera())
	r.exec(t, `UPDATE sessions SET ended_at = '1970-01-01'`)
	r.exec(t, `SELECT forget_sessions()`)
	if n := value[int](t, r, `SELECT count(*) FROM sessions`); n != 1 {
		t.Errorf("%d sessions left, want 1", n)
	}
}
