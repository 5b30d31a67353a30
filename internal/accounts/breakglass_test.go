package accounts

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

func commandLine() audit.Actor {
	return audit.Actor{Issuer: InternalIssuer, Subject: "cli:root@host-1", Name: "root@host-1", Via: audit.ViaCLI}
}

// breakGlassLink makes a link, and the session it gives when use is set.
func breakGlassLink(t *testing.T, s *Service) BreakGlassLink {
	t.Helper()
	link, err := s.MakeBreakGlassLink(t.Context(), commandLine(), " The provider is down ")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func useLink(t *testing.T, s *Service, link BreakGlassLink) (string, audit.Actor) {
	t.Helper()
	token, err := s.UseBreakGlassLink(t.Context(), browser(), link.Token)
	if err != nil {
		t.Fatal(err)
	}
	_, by, err := s.Authenticate(t.Context(), browser(), token)
	if err != nil {
		t.Fatal(err)
	}
	return token, by
}

func TestBreakGlassFromTheCommandLineToTheEnd(t *testing.T) {
	r := newRig(t)
	link := breakGlassLink(t, r.svc)
	if !link.ExpiresAt.Equal(r.clock.now.Add(10 * time.Minute)) {
		t.Errorf("the link ends at %v", link.ExpiresAt)
	}
	made := r.events(t, "break_glass.create")
	if len(made) != 1 {
		t.Fatalf("%d events of the making", len(made))
	}
	want := audit.Event{
		Act: "break_glass.create", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: commandLine(),
		Target: audit.Target{Kind: "break_glass", ID: made[0].Target.ID, Name: "root@host-1"},
		Change: audit.Change{"reason": {nil, "The provider is down"}, "expires_at": {nil, "2026-11-23T09:10:00Z"}},
	}
	if diff := cmp.Diff(want, made[0], cmpopts.IgnoreFields(audit.Event{}, "ID", "Schema", "At"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if in := r.svc.BreakGlassInUse(t.Context()); len(in) != 0 {
		t.Errorf("in use before it is used: %+v", in)
	}

	token, by := useLink(t, r.svc, link)
	if !strings.HasPrefix(by.Subject, "break-glass:") || by.Issuer != InternalIssuer || by.Name != "Break-glass (root@host-1)" || by.Via != audit.ViaBrowser {
		t.Errorf("the actor is %+v", by)
	}
	if diff := cmp.Diff([]string{"break-glass"}, by.Roles); diff != "" {
		t.Errorf("roles: %s", diff)
	}
	for _, act := range Acts() {
		if !act.Self && !r.svc.rights(by).Allows(act.Needs, installation(act.TargetKind).access()) {
			t.Errorf("it may not %s", act.Name)
		}
	}
	logins := r.events(t, "session.login")
	if len(logins) != 1 || logins[0].Change["reason"] != [2]any{nil, "The provider is down"} || logins[0].Change["break_glass_link"] != [2]any{nil, made[0].Target.ID} {
		t.Errorf("sign-ins: %+v", logins)
	}
	if _, err := r.svc.UseBreakGlassLink(t.Context(), browser(), link.Token); !errors.Is(err, ErrLinkRefused) {
		t.Errorf("used twice: %v", err)
	}
	in := r.svc.BreakGlassInUse(t.Context())
	if len(in) != 1 || in[0].Reason != "The provider is down" || !in[0].CreatedAt.Equal(r.clock.now) || in[0].IP != "" || in[0].UserAgent != "" {
		t.Errorf("in use: %+v", in)
	}

	// It is fresh for its time, and its time is an hour.
	r.clock.advance(25 * time.Minute)
	if _, _, err := r.svc.Authenticate(t.Context(), browser(), token); err != nil {
		t.Fatal(err)
	}
	r.clock.advance(25 * time.Minute)
	_, by, err := r.svc.Authenticate(t.Context(), browser(), token)
	if err != nil || !r.svc.isFresh(by) {
		t.Errorf("after 50 minutes: fresh %v, %v", r.svc.isFresh(by), err)
	}
	r.clock.advance(11 * time.Minute)
	wantNoSession(t, r.svc, token)
	if in := r.svc.BreakGlassInUse(t.Context()); len(in) != 0 {
		t.Errorf("in use after its time: %+v", in)
	}
}

func TestBreakGlassLinkThatIsNotValid(t *testing.T) {
	r := newRig(t)
	link := breakGlassLink(t, r.svc)
	other, _ := r.svc.newToken(forLink)
	form, _ := r.svc.newToken(forForm)
	for name, token := range map[string]string{"none": "", "nonsense": "x", "another": other, "a form's": form, "longer": link.Token + "A", "with a line end": link.Token[:42] + "\n"} {
		if _, err := r.svc.UseBreakGlassLink(t.Context(), browser(), token); !errors.Is(err, ErrLinkRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantNoSession(t, r.svc, link.Token) // a link is no session
	r.clock.advance(10 * time.Minute)
	if _, err := r.svc.UseBreakGlassLink(t.Context(), browser(), link.Token); !errors.Is(err, ErrLinkRefused) {
		t.Errorf("after its time: %v", err)
	}
}

func TestBreakGlassLinkIsForTheCommandLine(t *testing.T) {
	r := newRig(t)
	link := breakGlassLink(t, r.svc)
	_, glass := useLink(t, r.svc, link)
	admin := audit.Actor{Issuer: "https://idp.example.test", Subject: "a", Via: audit.ViaBrowser, Groups: []string{"admins"}}
	said := commandLine()
	said.Issuer = admin.Issuer
	for name, by := range map[string]audit.Actor{"an admin": admin, "a job": JobActor("x"), "break-glass": glass, "who says cli": said, "nobody": {}} {
		if _, err := r.svc.MakeBreakGlassLink(t.Context(), by, "because"); err == nil {
			t.Errorf("%s made a link", name)
		}
	}
	for name, reason := range map[string]string{"none": "", "blank": " \n", "too long": strings.Repeat("ü", 501), "no text": "a\x00b", "not UTF-8": "\xff"} {
		if _, err := r.svc.MakeBreakGlassLink(t.Context(), commandLine(), reason); err == nil {
			t.Errorf("reason %s: a link was made", name)
		}
	}
	if n := value[int](t, r, `SELECT count(*) FROM break_glass_links`); n != 1 {
		t.Errorf("%d links", n)
	}
}

// TestBreakGlassIsNothingThatAProviderCanGive has a provider vouch for what only a link gives.
func TestBreakGlassIsNothingThatAProviderCanGive(t *testing.T) {
	r := newRig(t)
	id := vera()
	id.Issuer, id.Subject = InternalIssuer, "break-glass:"+uuid.NewString()
	if _, err := r.svc.SignIn(t.Context(), browser(), id); err == nil {
		t.Error("signed in with the console's own issuer")
	}
	id.Issuer = "https://idp.example.test"
	if _, by := signIn(t, r, id); isBreakGlass(by) || len(by.Roles) != 1 || by.Roles[0] != "viewer" {
		t.Errorf("a member with that subject: %+v", by)
	}
}

// TestBreakGlassByWritingToTheDatabase tries with the rights of the console's role, and what those do not
// allow with the owner's.
func TestBreakGlassByWritingToTheDatabase(t *testing.T) {
	r := newRig(t)
	used := breakGlassLink(t, r.svc)
	useLink(t, r.svc, used)
	for _, statement := range []string{
		`UPDATE break_glass_links SET used_at = NULL`,
		`UPDATE break_glass_links SET used_at = now()`,
		`UPDATE break_glass_links SET expires_at = now() + interval '1 day'`,
		`UPDATE break_glass_links SET reason = 'x'`,
		`DELETE FROM break_glass_links`,
		`TRUNCATE break_glass_links`,
	} {
		if _, err := r.db.Pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("the console's role may: %s", statement)
		}
	}

	// A token of the attacker's own choice, hashed as the console would, and every column but the seal.
	token, hash := r.svc.newToken(forLink)
	r.exec(t, `INSERT INTO break_glass_links (id, token_hash, mark, reason, made_by, created_at, expires_at)
		SELECT gen_random_uuid(), $1, mark, reason, made_by, created_at, expires_at FROM break_glass_links LIMIT 1`, hash)
	if _, err := r.svc.UseBreakGlassLink(t.Context(), browser(), token); !errors.Is(err, ErrLinkRefused) {
		t.Errorf("a row made by SQL: %v", err)
	}
	if !strings.Contains(r.logged.String(), "break-glass link was not made by this console") {
		t.Error("the log does not tell of it")
	}
	for _, columns := range []string{`expires_at = expires_at + interval '1 day'`, `reason = 'tests'`, `made_by = 'ada'`, `id = gen_random_uuid()`, `created_at = created_at - interval '1 s'`} {
		link := breakGlassLink(t, r.svc)
		tokenHash, _ := r.svc.tokenHash(forLink, link.Token)
		r.execAsOwner(t, `UPDATE break_glass_links SET `+columns+` WHERE token_hash = '\x`+hex.EncodeToString(tokenHash)+`'`)
		if _, err := r.svc.UseBreakGlassLink(t.Context(), browser(), link.Token); !errors.Is(err, ErrLinkRefused) {
			t.Errorf("%s: %v", columns, err)
		}
	}
	// A member's session row turned into one of a link's.
	mine, _ := signIn(t, r, vera())
	r.execAsOwner(t, `INSERT INTO members (issuer, subject, name, email, email_verified, first_seen, last_seen) VALUES ('quartermaster', 'break-glass:x', 'x', '', false, now(), now())`)
	r.execAsOwner(t, `UPDATE sessions SET issuer = 'quartermaster', subject = 'break-glass:x' WHERE subject = 'sub-vera'`)
	wantNoSession(t, r.svc, mine)
}

// TestBreakGlassLinkGivesOneSessionHoweverManyUseIt uses one from many places at once.
func TestBreakGlassLinkGivesOneSessionHoweverManyUseIt(t *testing.T) {
	r := newRig(t)
	link := breakGlassLink(t, r.svc)
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := r.svc.UseBreakGlassLink(t.Context(), browser(), link.Token)
			done <- err
		}()
	}
	good := 0
	for range 8 {
		switch err := <-done; {
		case err == nil:
			good++
		case !errors.Is(err, ErrLinkRefused):
			t.Error(err)
		}
	}
	if n := value[int](t, r, `SELECT count(*) FROM sessions`); good != 1 || n != 1 {
		t.Errorf("%d signed in, %d sessions", good, n)
	}
}

func TestBreakGlassSessionsAreListedAndEndedByAdmins(t *testing.T) {
	r := newRig(t)
	token, glass := useLink(t, r.svc, breakGlassLink(t, r.svc))
	ada := vera()
	ada.Subject, ada.Groups = "sub-ada", []string{"admins"}
	_, admin := signIn(t, r, ada)
	_, veraBy := signIn(t, r, vera())
	if _, err := r.svc.BreakGlassSessions(t.Context(), veraBy); err == nil {
		t.Error("a viewer sees the list")
	}
	list, err := r.svc.BreakGlassSessions(t.Context(), admin)
	if err != nil || len(list) != 1 || list[0].IP != "192.0.2.7" || list[0].Name != glass.Name {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := r.svc.EndBreakGlass(t.Context(), veraBy, list[0].ID); err == nil {
		t.Error("a viewer ended it")
	}
	mine, err := r.svc.Sessions(t.Context(), admin)
	if err != nil || len(mine) != 1 {
		t.Fatalf("%+v, %v", mine, err)
	}
	if err := r.svc.EndBreakGlass(t.Context(), admin, mine[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a member's session: %v", err)
	}
	if len(r.svc.BreakGlassInUse(t.Context())) != 1 {
		t.Error("not in use")
	}
	if err := r.svc.EndBreakGlass(t.Context(), admin, list[0].ID); err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, r.svc, token)
	if len(r.svc.BreakGlassInUse(t.Context())) != 0 {
		t.Error("still in use")
	}
	if err := r.svc.EndBreakGlass(t.Context(), admin, list[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("ended twice: %v", err)
	}
	ended := r.events(t, "break_glass.end")
	if len(ended) != 2 || ended[1].Outcome != audit.OK || ended[1].Actor.Subject != "sub-ada" || ended[1].Change["session"] != [2]any{glass.Session, nil} || ended[0].Outcome != audit.Denied {
		t.Errorf("events: %+v", ended)
	}
}

// TestBreakGlassEndsWhatIsUnderWay: a download that runs ends with the session, as a member's does.
func TestBreakGlassEndsWhatIsUnderWay(t *testing.T) {
	r := newRig(t)
	_, glass := useLink(t, r.svc, breakGlassLink(t, r.svc))
	ada := vera()
	ada.Subject, ada.Groups = "sub-ada", []string{"admins"}
	_, admin := signIn(t, r, ada)
	r.svc.recheck = 0
	running := r.svc.watch(glass, ActAuditExport, nil)
	if err := running.check(t.Context()); err != nil {
		t.Fatalf("while the session lives: %v", err)
	}
	list, err := r.svc.BreakGlassSessions(t.Context(), admin)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := r.svc.EndBreakGlass(t.Context(), admin, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := running.check(t.Context()); !errors.Is(err, ErrNoSession) {
		t.Errorf("once the session was ended: %v, want ErrNoSession", err)
	}
	if err := r.svc.watch(commandLine(), ActAuditExport, nil).check(t.Context()); err != nil {
		t.Errorf("the command line has no session, and is refused: %v", err)
	}
}

// TestBreakGlassNothingIsMadeThatCannotBeRecorded takes the log away.
func TestBreakGlassNothingIsMadeThatCannotBeRecorded(t *testing.T) {
	r := newRig(t)
	link := breakGlassLink(t, r.svc)
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.WithoutCancel(t.Context())) }()
	if _, err := owner.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`); err != nil {
		t.Fatal(err)
	}
	if _, err := r.svc.MakeBreakGlassLink(t.Context(), commandLine(), "because"); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("making: %v", err)
	}
	if _, err := r.svc.UseBreakGlassLink(t.Context(), browser(), link.Token); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("using: %v", err)
	}
	if n := value[int](t, r, `SELECT (SELECT count(*) FROM break_glass_links) + (SELECT count(*) FROM sessions)`); n != 1 {
		t.Errorf("%d rows", n)
	}
	if _, err := owner.Exec(t.Context(), `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`); err != nil {
		t.Fatal(err)
	}
	useLink(t, r.svc, link)
}

// TestBreakGlassIsNeitherForgedNorKeptOut: whoever has the program's database password can put no words on everybody's
// pages as a break-glass session, and cannot block the way in that is for when nothing else works.
func TestBreakGlassIsNeitherForgedNorKeptOut(t *testing.T) {
	s := newStage(t)
	s.exec(s.db.AppURL, `INSERT INTO members (issuer, subject, name, email, email_verified, first_seen, last_seen) VALUES ('quartermaster', 'break-glass:x', 'X', '', false, now(), now())`)
	s.exec(s.db.AppURL, `INSERT INTO sessions (id, token_hash, mark, issuer, subject, name, email, email_verified, groups, overage, claims, sid, ip, user_agent, created_at, last_seen_at, expires_at)
		VALUES (gen_random_uuid(), '\x000102030405060708090a0b0c0d0e0f', 'made-up', 'quartermaster', 'break-glass:x', 'X', '', false, '{}', false, '{"reason": "Call this number"}', '', '', '',
			now(), now(), now() + interval '1 hour')`)
	if found, err := s.svc.readBreakGlass(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("everybody would be told of %+v, %v", found, err)
	}
	s.exec(s.db.AppURL, `INSERT INTO member_standings (`+memberStandingColumns+`) VALUES (gen_random_uuid(), 'quartermaster', 'break-glass:x', 1, true, '', now(), '', '', '', '')`)
	if blocked, err := s.svc.standsBlocked(t.Context(), s.db.Pool, principal{InternalIssuer, "break-glass:x"}); err != nil || blocked {
		t.Errorf("a break-glass session is kept out: %v, %v", blocked, err)
	}
}
