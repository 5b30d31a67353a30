package accounts

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

func browser() audit.Actor {
	return audit.Actor{IP: "192.0.2.7", UserAgent: "Firefox", RequestID: "req-1", Via: audit.ViaBrowser}
}

func vera() Identity {
	return Identity{
		Issuer: "https://idp.example.test", Subject: "sub-vera", Name: "Vera Viewer", Email: "vera@example.test", EmailVerified: true,
		Groups: []string{"viewers", "everyone"}, SID: "sid-1", IDToken: "canary-id-token", Claims: map[string]string{"sub": "sub-vera"},
	}
}

// signIn signs the identity in and returns the token and the actor of its requests.
func signIn(t *testing.T, r *rig, id Identity) (string, audit.Actor) {
	t.Helper()
	token, err := r.svc.SignIn(t.Context(), browser(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, by, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	return token, by
}

func wantNoSession(t *testing.T, s *Service, token string) {
	t.Helper()
	if _, _, err := s.Authenticate(t.Context(), browser(), token); !errors.Is(err, ErrNoSession) {
		t.Errorf("Authenticate: %v, want ErrNoSession", err)
	}
}

func TestSignInGivesASessionAndRecordsIt(t *testing.T) {
	r := newRig(t)
	token, by := signIn(t, r, vera())

	session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	want := Session{
		Issuer: "https://idp.example.test", Subject: "sub-vera", Name: "Vera Viewer", Email: "vera@example.test",
		Groups: []string{"viewers", "everyone"}, Roles: []string{"viewer"}, CreatedAt: r.clock.now, LastSeenAt: r.clock.now,
		ExpiresAt: r.clock.now.Add(12 * time.Hour), IP: "192.0.2.7", UserAgent: "Firefox", Current: true,
		Claims: map[string]string{"sub": "sub-vera"},
	}
	if diff := cmp.Diff(want, session, cmpopts.IgnoreFields(Session{}, "ID", "Permissions"), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
	if session.ID == uuid.Nil || len(session.Permissions) == 0 {
		t.Errorf("session has id %v and %d permissions", session.ID, len(session.Permissions))
	}

	wantActor := audit.Actor{
		Issuer: "https://idp.example.test", Subject: "sub-vera", Name: "Vera Viewer", Email: "vera@example.test", Roles: []string{"viewer"},
		Via: audit.ViaBrowser, IP: "192.0.2.7", UserAgent: "Firefox", RequestID: "req-1", EmailVerified: true,
		Groups: []string{"viewers", "everyone"},
	}
	if diff := cmp.Diff(wantActor, by, cmpopts.IgnoreFields(audit.Actor{}, "Session"), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("actor (-want +got):\n%s", diff)
	}
	if _, err := hex.DecodeString(by.Session); err != nil || len(by.Session) != 32 || strings.Contains(token, by.Session) {
		t.Errorf("Actor.Session is %q", by.Session)
	}

	events := r.events(t, "session.login")
	if len(events) != 1 {
		t.Fatalf("%d login events, want 1", len(events))
	}
	wantEvent := audit.Event{
		Act: "session.login", Phase: audit.PhaseSingle, Outcome: audit.OK,
		Actor: audit.Actor{
			Issuer: by.Issuer, Subject: by.Subject, Name: by.Name, Email: by.Email, EmailVerified: true, Roles: by.Roles, Session: by.Session,
			Via: audit.ViaBrowser, IP: by.IP, UserAgent: by.UserAgent, RequestID: by.RequestID,
		},
		Target: audit.Target{Kind: "session", ID: session.ID.String(), Name: "Vera Viewer"},
		Change: audit.Change{"groups": {nil, []any{"viewers", "everyone"}}, "groups_count": {nil, json.Number("2")}},
	}
	if diff := cmp.Diff(wantEvent, events[0], cmpopts.IgnoreFields(audit.Event{}, "ID", "Schema", "At"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestNoTokenIsStoredInClear(t *testing.T) {
	r := newRig(t)
	token, by := signIn(t, r, vera())
	form, err := r.svc.FormToken(t.Context(), by, ActAccountCreate.Name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	everything := r.dump(t) + r.logged.String()
	for name, secret := range map[string]string{
		"session token": token, "session token's bytes": hex.EncodeToString(raw), "form token": form, "ID token": "canary-id-token",
		"ID token's bytes": hex.EncodeToString([]byte("canary-id-token")),
	} {
		if strings.Contains(everything, secret) {
			t.Errorf("the %s is stored in clear", name)
		}
	}
	if !strings.Contains(everything, by.Session) {
		t.Error("the dump does not hold the session's mark, so it proves nothing")
	}
}

// dump returns every row of every table as text.
func (r *rig) dump(t *testing.T) string {
	t.Helper()
	rows, err := r.db.Pool.Query(t.Context(), `
		SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, table := range tables {
		all.WriteString(value[string](t, r, `SELECT coalesce(string_agg(x::text, E'\n'), '') FROM `+table+` x`))
	}
	return all.String()
}

func TestSessionEndsWhenIdle(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	for range 4 { // kept alive by use, past the idle limit
		r.clock.advance(20 * time.Minute)
		if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.advance(30 * time.Minute)
	wantNoSession(t, r.svc, token)
}

// TestBackgroundDoesNotKeepASessionAlive proves that what a page asks by itself is answered, and
// leaves the idle limit where the member's last own request put it.
func TestBackgroundDoesNotKeepASessionAlive(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	seen := r.clock.now
	for range 5 {
		r.clock.advance(5 * time.Minute)
		session, by, err := r.svc.AuthenticateQuietly(t.Context(), browser(), token)
		if err != nil {
			t.Fatal(err)
		}
		if !session.LastSeenAt.Equal(seen) || by.Subject != vera().Subject {
			t.Errorf("last seen %v by %q, want %v by %q", session.LastSeenAt, by.Subject, seen, vera().Subject)
		}
	}
	if got := value[time.Time](t, r, `SELECT last_seen_at FROM sessions`); !got.Equal(seen) {
		t.Errorf("last_seen_at is %v, want %v", got, seen)
	}
	r.clock.advance(5 * time.Minute)
	if _, _, err := r.svc.AuthenticateQuietly(t.Context(), browser(), token); !errors.Is(err, ErrNoSession) {
		t.Errorf("after the idle limit: %v, want ErrNoSession", err)
	}
	wantNoSession(t, r.svc, token)
}

func TestSessionEndsAtItsAbsoluteLimit(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	for elapsed := time.Duration(0); elapsed < 12*time.Hour-20*time.Minute; elapsed += 20 * time.Minute {
		r.clock.advance(20 * time.Minute)
		if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
			t.Fatalf("after %v: %v", elapsed, err)
		}
	}
	r.clock.advance(20 * time.Minute)
	wantNoSession(t, r.svc, token)
}

func TestShorterLimitsActOnLiveSessions(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	r.clock.advance(10 * time.Minute)
	wantNoSession(t, r.replica(t, func(c *Config) { c.SessionMax = 5 * time.Minute }), token)
	wantNoSession(t, r.replica(t, func(c *Config) { c.SessionIdle = 5 * time.Minute }), token)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Error(err)
	}
}

func TestLastSeenIsWrittenOnceAMinute(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	written := func() string { return value[string](t, r, `SELECT xmin::text FROM sessions`) }
	first := written()
	r.clock.advance(59 * time.Second)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Fatal(err)
	}
	if written() != first {
		t.Error("the row was written within a minute")
	}
	r.clock.advance(time.Second)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Fatal(err)
	}
	if got := value[time.Time](t, r, `SELECT last_seen_at FROM sessions`); !got.Equal(r.clock.now) {
		t.Errorf("last seen %v, want %v", got, r.clock.now)
	}
}

func TestConfigurationActsAtTheNextRequest(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	promoted := r.replica(t, func(c *Config) { c.Rights.AdminGroups = []string{"everyone"} })
	session, by, err := promoted.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"platform admin", "viewer"}
	if !cmp.Equal(session.Roles, want) || !cmp.Equal(by.Roles, want) {
		t.Errorf("roles %v and %v, want %v", session.Roles, by.Roles, want)
	}
	none := r.replica(t, func(c *Config) { c.Rights.ViewerGroups = nil })
	if session, _, err = none.Authenticate(t.Context(), browser(), token); err != nil || len(session.Permissions) != 0 {
		t.Errorf("%d permissions and error %v after the group lost its role", len(session.Permissions), err)
	}
}

// A token that cannot be ours must not reach the database: here there is none to reach.
func TestHostileTokensNeverReachTheDatabase(t *testing.T) {
	r := newRig(t)
	token, _ := signIn(t, r, vera())
	gone := r.replica(t, nil)
	gone.cfg.DB = nil // any use panics
	for _, hostile := range []string{
		"", "x", token[:42], token + "A", token[:42] + "=", token[:42] + "+", token[:42] + "/", token[:42] + "\x00",
		strings.Repeat("A", 42) + "\n", "\r\n" + strings.Repeat("A", 41), // decoders pass over line ends
		strings.Repeat("A", 1<<20), strings.Repeat("é", 21) + "a", "' OR 1=1 --",
	} {
		wantNoSession(t, gone, hostile)
	}
	wantNoSession(t, r.svc, strings.Repeat("A", 43)) // well formed and nobody's
	form, err := r.svc.FormToken(t.Context(), audit.Actor{Issuer: "i", Subject: "s", Session: "none"}, "a")
	if !errors.Is(err, ErrNoSession) {
		t.Errorf("a form token %q, %v without a session", form, err)
	}
}

func TestFormTokenIsNoSessionToken(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	form, err := r.svc.FormToken(t.Context(), by, ActAccountCreate.Name)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, r.svc, form)
}

func TestSignInRotatesTheToken(t *testing.T) {
	r := newRig(t)
	first, by := signIn(t, r, vera())
	again := browser()
	again.Session = by.Session
	second, err := r.svc.SignIn(t.Context(), again, vera())
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("the same token again")
	}
	wantNoSession(t, r.svc, first)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), second); err != nil {
		t.Error(err)
	}
	events := r.events(t, "session.login")
	if diff := cmp.Diff([2]any{by.Session, nil}, events[1].Change["replaced_session"]); diff != "" {
		t.Errorf("change (-want +got):\n%s", diff)
	}
	if n := value[int](t, r, `SELECT count(*) FROM members`); n != 1 {
		t.Errorf("%d members, want 1", n)
	}
}

func TestSignOutEndsTheSessionAndGivesTheIDToken(t *testing.T) {
	r := newRig(t)
	token, by := signIn(t, r, vera())
	idToken, err := r.svc.SignOut(t.Context(), by)
	if err != nil || idToken != "canary-id-token" {
		t.Fatalf("SignOut: %q, %v", idToken, err)
	}
	wantNoSession(t, r.svc, token)
	if kept := value[bool](t, r, `SELECT id_token_sealed IS NOT NULL FROM sessions`); kept {
		t.Error("the ID token outlives the session")
	}
	if _, err := r.svc.SignOut(t.Context(), by); !errors.Is(err, ErrNoSession) {
		t.Errorf("second SignOut: %v, want ErrNoSession", err)
	}
	events := r.events(t, "session.logout")
	if len(events) != 1 || events[0].Outcome != audit.OK || events[0].Actor.Session != by.Session || events[0].Target.Kind != "session" {
		t.Errorf("logout events: %+v", events)
	}
}

func TestSignOutWhoseIDTokenDoesNotOpenStillEndsTheSession(t *testing.T) {
	r := newRig(t)
	token, by := signIn(t, r, vera())
	r.exec(t, `UPDATE sessions SET id_token_sealed = '\x00'`)
	if idToken, err := r.svc.SignOut(t.Context(), by); err != nil || idToken != "" {
		t.Errorf("SignOut: %q, %v", idToken, err)
	}
	wantNoSession(t, r.svc, token)
}

func TestMembersSeeAndEndOnlyTheirOwnSessions(t *testing.T) {
	r := newRig(t)
	first, by := signIn(t, r, vera())
	r.clock.advance(time.Second)
	second, _ := signIn(t, r, vera())
	other := vera()
	other.Subject = "sub-otto"
	othersToken, otherBy := signIn(t, r, other)

	sessions, err := r.svc.Sessions(t.Context(), by)
	if err != nil || len(sessions) != 2 || sessions[0].Current || !sessions[1].Current {
		t.Fatalf("sessions: %+v, %v", sessions, err)
	}
	if err := r.svc.EndSession(t.Context(), otherBy, sessions[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("another member ends it: %v, want ErrNotFound", err)
	}
	if err := r.svc.EndSession(t.Context(), by, sessions[0].ID); err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, r.svc, second)
	for _, token := range []string{first, othersToken} {
		if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
			t.Error(err)
		}
	}
	if err := r.svc.EndSession(t.Context(), by, sessions[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("ended twice: %v, want ErrNotFound", err)
	}
	events := r.events(t, "session.revoke")
	if len(events) != 1 || events[0].Target.ID != sessions[0].ID.String() || events[0].Actor.Session != by.Session || events[0].Outcome != audit.OK {
		t.Errorf("revoke events: %+v", events)
	}
}

// Nothing of a session changes when its event cannot be written.
func TestSessionsDoNotChangeWithoutTheLog(t *testing.T) {
	r := newRig(t)
	token, by := signIn(t, r, vera())
	session, _, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the database goes with the test
	if _, err := owner.Exec(t.Context(), `REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA audit FROM quartermaster_app, PUBLIC`); err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.SignIn(t.Context(), browser(), vera()); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("SignIn: %v, want ErrAuditUnavailable", err)
	}
	if _, err := r.svc.SignOut(t.Context(), by); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("SignOut: %v, want ErrAuditUnavailable", err)
	}
	if err := r.svc.EndSession(t.Context(), by, session.ID); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("EndSession: %v, want ErrAuditUnavailable", err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NULL`); n != 1 {
		t.Errorf("%d live sessions, want 1", n)
	}
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Error(err)
	}
}

// Somebody holds the log's lock: signing in gives up after the log's two seconds instead of hanging.
func TestSignInWhileTheLogIsLocked(t *testing.T) {
	r := newRig(t)
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the database goes with the test
	if _, err := owner.Exec(t.Context(), `BEGIN; SELECT * FROM audit.head FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.SignIn(within(t), browser(), vera()); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("SignIn: %v, want ErrAuditUnavailable", err)
	}
	if n := value[int](t, r, `SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM members)`); n != 0 {
		t.Errorf("%d rows were stored without their event", n)
	}
}

func TestWhatDecidesRightsIsNeverAlteredToFit(t *testing.T) {
	r := newRig(t)
	id := vera()
	id.Groups = []string{"admins\x00", "adm\xffins", strings.Repeat("g", 300), "", "viewers"}
	id.Email = "boss@example.test\x00"
	id.Name = "Ev\x00il \xff" + strings.Repeat("n", 3000)
	id.Claims = map[string]string{"bad\x00name": "x", "long": strings.Repeat("v", 9000), "nul": "a\x00b"}
	_, by := signIn(t, r, id)
	if diff := cmp.Diff([]string{"viewers"}, by.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	if by.Email != "" || by.EmailVerified {
		t.Errorf("e-mail %q, verified %v", by.Email, by.EmailVerified)
	}
	for name, broken := range map[string]func(*Identity){
		"no issuer":      func(id *Identity) { id.Issuer = "" },
		"no subject":     func(id *Identity) { id.Subject = "" },
		"our own issuer": func(id *Identity) { id.Issuer = InternalIssuer },
		"NUL in subject": func(id *Identity) { id.Subject = "a\x00b" },
		"long subject":   func(id *Identity) { id.Subject = strings.Repeat("s", 256) },
	} {
		id := vera()
		broken(&id)
		_, err := r.svc.SignIn(t.Context(), browser(), id)
		if _, ok := errors.AsType[*InvalidError](err); !ok {
			t.Errorf("%s: %v, want *InvalidError", name, err)
		}
	}
}

func TestCleaningEndsAndForgetsSessions(t *testing.T) {
	r := newRig(t)
	_, by := signIn(t, r, vera())
	if _, err := r.svc.FormToken(t.Context(), by, "account.create"); err != nil {
		t.Fatal(err)
	}
	if err := r.svc.cleanSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NULL`); n != 1 {
		t.Fatal("a live session was ended")
	}
	r.clock.advance(13 * time.Hour)
	if err := r.svc.cleanSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL AND end_reason = 'expired' AND id_token_sealed IS NULL`); n != 1 {
		t.Error("an expired session was not ended")
	}
}

// TestOldSessionsAreForgotten works with real times, because the database tells by its own clock.
func TestOldSessionsAreForgotten(t *testing.T) {
	r := newRig(t)
	for _, age := range []time.Duration{29 * 24 * time.Hour, 32 * 24 * time.Hour} {
		r.clock.now = time.Now().Add(-age)
		_, by := signIn(t, r, vera())
		if _, err := r.svc.FormToken(t.Context(), by, "account.create"); err != nil {
			t.Fatal(err)
		}
		r.clock.advance(13 * time.Hour)
		if err := r.svc.cleanSessions(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.now = time.Now()
	if err := r.svc.cleanSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL`); n != 1 {
		t.Errorf("%d sessions left, want the one that ended less than 30 days ago", n)
	}
	if n := value[int](t, r, `SELECT count(*) FROM form_tokens`); n != 0 {
		t.Errorf("%d form tokens left", n)
	}
}

func TestFailedSignInsAreSummed(t *testing.T) {
	r := newRig(t)
	for i := range 1000 {
		by := browser()
		by.IP = fmt.Sprintf("198.51.100.%d", i%100)
		r.svc.SignInFailed(t.Context(), by, "state does not match")
	}
	r.svc.SignInFailed(t.Context(), browser(), "nonce does not match")
	if n := len(r.events(t, "session.login")); n != 0 {
		t.Fatalf("strangers wrote %d events themselves", n)
	}
	r.svc.flushSignInFailures(t.Context(), false)
	events := r.events(t, "session.login")
	if len(events) != 2 {
		t.Fatalf("%d events, want one a cause", len(events))
	}
	counts := map[int]audit.Event{events[0].Count: events[0], events[1].Count: events[1]}
	many, one := counts[1000], counts[1]
	if many.Reason != "state does not match; from 198.51.100.0 (10), 198.51.100.1 (10), 198.51.100.10 (10) and 97 other addresses" || many.Actor.IP != "" {
		t.Errorf("summed event: %q from %q", many.Reason, many.Actor.IP)
	}
	if one.Reason != "nonce does not match" || one.Actor.IP != "192.0.2.7" || one.Outcome != audit.Failed || one.Phase != audit.PhaseSingle {
		t.Errorf("single event: %+v", one)
	}

	r.svc.SignInFailed(t.Context(), browser(), "nonce does not match")
	r.svc.flushSignInFailures(t.Context(), false)
	if n := len(r.events(t, "session.login")); n != 2 {
		t.Errorf("%d events within the same minute, want 2", n)
	}
	r.clock.advance(time.Minute)
	r.svc.flushSignInFailures(t.Context(), false)
	if n := len(r.events(t, "session.login")); n != 3 {
		t.Errorf("%d events after a minute, want 3", n)
	}
}

func TestFailedSignInsTakeBoundedMemory(t *testing.T) {
	var sums signInFailures
	for i := range 100_000 {
		sums.add(audit.Actor{IP: fmt.Sprint("address ", i)}, fmt.Sprint("cause ", i%1000))
	}
	if len(sums.causes) > maxCauses+1 {
		t.Errorf("%d causes are kept", len(sums.causes))
	}
	for _, sum := range sums.causes {
		if len(sum.addresses) > maxAddresses {
			t.Errorf("%d addresses are kept", len(sum.addresses))
		}
	}
	total := 0
	for _, e := range sums.due(time.Now(), true) {
		total += e.Count
	}
	if total != 100_000 {
		t.Errorf("%d failures counted, want all", total)
	}
}

func TestLastSeenStaysWhenASessionEnds(t *testing.T) {
	for how, end := range map[string]func(r *rig, ada, by audit.Actor) error{
		"signed out": func(r *rig, _, by audit.Actor) error { _, err := r.svc.SignOut(t.Context(), by); return err },
		"ended by themselves": func(r *rig, _, by audit.Actor) error {
			return r.svc.EndSession(t.Context(), by, value[uuid.UUID](t, r, `SELECT id FROM sessions WHERE mark = $1`, by.Session))
		},
		"ended by an administrator": func(r *rig, ada, by audit.Actor) error {
			_, err := r.svc.EndMemberSessions(t.Context(), ada, by.Issuer, by.Subject)
			return err
		},
		"expired": func(r *rig, _, _ audit.Actor) error {
			r.clock.advance(13 * time.Hour)
			return r.svc.cleanSessions(t.Context())
		},
	} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			_, ada := signIn(t, r, membersAdmin("ada"))
			token, by := signIn(t, r, vera())
			r.clock.advance(7 * time.Minute)
			if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
				t.Fatal(err)
			}
			used := r.clock.now
			r.clock.advance(time.Minute)
			if err := end(r, ada, by); err != nil {
				t.Fatal(err)
			}
			if got := value[time.Time](t, r, `SELECT last_seen FROM members WHERE subject = $1`, by.Subject); !got.Equal(used) {
				t.Errorf("the member was last seen %v, want %v, the last use of the session", got, used)
			}
		})
	}
}
