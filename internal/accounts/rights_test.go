package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// outsider is a member whom configuration gives nothing.
func outsider(groups ...string) audit.Actor {
	by := member("nobody-in-particular")
	by.Groups = groups
	return by
}

// signedGrant is a grant as the console writes it: everything but the event beside it.
func (s *stage) signedGrant(kind, subject, role string, scope access.ScopeKind, where string) grantRow {
	s.t.Helper()
	_, where, err := access.ParseScope(scope, where)
	if err != nil {
		s.t.Fatal(err)
	}
	row := grantRow{
		ID: uuid.Must(uuid.NewV7()), SubjectKind: kind, Issuer: outsider().Issuer, Subject: subject, Role: role, ScopeKind: string(scope), Scope: where,
		Reason: "test", CreatedAt: s.svc.now(), GrantedBy: "Test", GrantedByIssuer: InternalIssuer, GrantedBySubject: "test",
	}
	row.MAC = s.svc.cfg.Vault.MAC(row.place(), row.says())
	return row
}

// put stores a grant through the app role, as somebody could who has the program's database password.
func (s *stage) put(row grantRow) {
	s.t.Helper()
	s.exec(s.db.AppURL, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		row.ID, row.SubjectKind, row.Issuer, row.Subject, row.Role, row.ScopeKind, row.Scope, row.ExpiresAt, row.Reason, row.BoundFrom, row.CreatedAt,
		row.GrantedBy, row.GrantedByIssuer, row.GrantedBySubject, row.MAC)
}

// rightsNow are the rights at the next request.
func (s *stage) rightsNow(by audit.Actor) access.Rights {
	s.t.Helper()
	if err := s.svc.freshRights(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	return s.svc.rights(by)
}

func TestAGrantActsAtTheNextRequest(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "A")
	other := s.register(s.legacy(), "B")
	by := outsider("team-search")
	read := func(a Account) bool {
		return s.rightsNow(by).Allows(ActClusterRead.Needs, accountTarget(a.ref()).access())
	}
	if read(account) {
		t.Fatal("somebody without a grant may read")
	}
	row := s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeAccount, account.ID.String())
	s.put(row)
	if !read(account) || read(other) {
		t.Error("the grant does not act, or acts elsewhere")
	}
	s.exec(s.db.AppURL, `UPDATE grants SET ended_at = now() WHERE id = $1`, row.ID)
	if read(account) {
		t.Error("an ended grant acts")
	}
	soon := s.clock.at.Add(time.Minute)
	row = s.signedGrant(SubjectMember, by.Subject, "viewer", access.ScopeAccount, account.ID.String())
	row.ExpiresAt = &soon
	row.MAC = s.svc.cfg.Vault.MAC(row.place(), row.says())
	s.put(row)
	if !read(account) {
		t.Error("a grant that ends in a minute does not act")
	}
	s.clock.at = soon
	if read(account) {
		t.Error("a grant acts in the moment of its end")
	}
}

// TestRowsWrittenBySQLGainNothing: whoever has the program's own database password, or the owner's,
// cannot give themselves a right. Each way ends with the member as poor as before, a banner and an event.
func TestRowsWrittenBySQLGainNothing(t *testing.T) {
	by := outsider("team-search")
	forged := func(s *stage, change func(*grantRow)) {
		row := s.signedGrant(SubjectGroup, "another-team", "platform-admin", access.ScopeEverything, "")
		change(&row)
		s.put(row)
	}
	for name, attack := range map[string]struct {
		kind string
		do   func(s *stage, account Account)
	}{
		"a grant without a code": {KindGrant, func(s *stage, _ Account) {
			forged(s, func(r *grantRow) { r.Subject, r.MAC = "team-search", []byte{} })
		}},
		"a grant with a code that was made up": {KindGrant, func(s *stage, _ Account) {
			forged(s, func(r *grantRow) { r.Subject, r.MAC = "team-search", make([]byte, 32) })
		}},
		"another's grant made one's own": {KindGrant, func(s *stage, _ Account) { forged(s, func(r *grantRow) { r.Subject = "team-search" }) }},
		"a grant copied under another id": {KindGrant, func(s *stage, _ Account) {
			forged(s, func(r *grantRow) { r.Subject, r.ID = "another-team", uuid.Must(uuid.NewV7()) })
		}},
		"a grant of one's own with a better role": {KindGrant, func(s *stage, account Account) {
			row := s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeAccount, uuid.NewString())
			row.Role = "platform-admin"
			s.put(row)
		}},
		"a grant of one's own with a wider scope": {KindGrant, func(s *stage, _ Account) {
			row := s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeAccount, uuid.NewString())
			row.ScopeKind, row.Scope = "everything", ""
			s.put(row)
		}},
		"a grant whose scope is shifted into another field": {KindGrant, func(s *stage, _ Account) {
			row := s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeEnvironment, "production")
			row.ScopeKind, row.Scope = "everything", ""
			row.Reason = "production" + row.Reason
			s.put(row)
		}},
		"a role under a built-in's name": {KindRole, func(s *stage, _ Account) {
			s.put(s.signedGrant(SubjectGroup, "team-search", "6b0e3a3c-0000-7000-8000-000000000001", access.ScopeEverything, ""))
			s.exec(s.db.AppURL, `INSERT INTO roles (id, version, name, description, permissions, deleted, written_at, written_by, written_by_issuer, written_by_subject, mac)
				VALUES ('6b0e3a3c-0000-7000-8000-000000000001', 1, 'viewer', '', '{read:clusters}', false, now(), '', '', '', '\x00')`)
		}},
		"a new version of a role that was signed": {KindRole, func(s *stage, _ Account) {
			row := roleRow{ID: uuid.Must(uuid.NewV7()), Version: 1, Name: "reader", Permissions: []string{"read:profile"}, WrittenAt: s.svc.now()}
			insert := `INSERT INTO roles (` + roleColumns + `) VALUES ($1, $2, $3, '', $4, false, $5, '', '', '', $6)`
			s.exec(s.db.AppURL, insert, row.ID, 1, row.Name, row.Permissions, row.WrittenAt, s.svc.cfg.Vault.MAC(row.place(), row.says()))
			s.put(s.signedGrant(SubjectGroup, "team-search", row.ID.String(), access.ScopeEverything, ""))
			s.exec(s.db.AppURL, insert, row.ID, 2, row.Name, []string{"read:clusters"}, row.WrittenAt, s.svc.cfg.Vault.MAC(row.place(), row.says()))
		}},
		"the environment of an account": {KindAccount, func(s *stage, account Account) {
			s.put(s.signedGrant(SubjectGroup, "team-search", "platform-admin", access.ScopeEnvironment, "development"))
			s.exec(s.db.AppURL, `UPDATE accounts SET environment = 'development' WHERE id = $1`, account.ID)
		}},
		"what is certain of an account": {KindAccount, func(s *stage, account Account) {
			s.put(s.signedGrant(SubjectGroup, "team-search", "platform-admin", access.ScopeEnvironment, "development"))
			s.exec(s.db.AppURL, `INSERT INTO account_standings SELECT account_id, version + 1, cloud_account_id, generation, 'development', written_at, mac FROM account_standings WHERE account_id = $1`, account.ID)
			s.exec(s.db.AppURL, `UPDATE accounts SET environment = 'development' WHERE id = $1`, account.ID)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			account := s.register(s.current(), "A")
			attack.do(s, account)
			rights := s.rightsNow(by)
			for _, on := range []access.Target{{}, accountTarget(account.ref()).access(), {AccountID: account.ID, ClusterID: "c", Environment: "development"}} {
				if rights.Allows(ActClusterRead.Needs, on) || rights.Allows(ActGrantCreate.Needs, on) {
					t.Errorf("it gives %v on %+v", rights.Permissions(), on)
				}
			}
			if found := s.svc.UnverifiedRows(); len(found) != 1 || found[0].Kind != attack.kind {
				t.Errorf("the banner would tell of %+v", found)
			}
			events := s.eventsOf(ActRightsUnverified)
			if len(events) != 1 || events[0].Outcome != audit.Failed || !strings.HasPrefix(events[0].Target.Name, attack.kind+" ") {
				t.Fatalf("recorded %+v", events)
			}
			s.rightsNow(by)
			s.exec(s.db.AppURL, `INSERT INTO member_standings (`+memberStandingColumns+`) VALUES ($1, 'https://other.example.test', 'x', 1, true, '', now(), '', '', '', '')`, uuid.New())
			s.rightsNow(by)
			if again := s.eventsOf(ActRightsUnverified); len(again) != 2 { // the row above is the second
				t.Errorf("%d events after the rights were read again", len(again))
			}
		})
	}
}

// TestManyRowsWrittenBySQLHoldNobodyUp: of thousands of rows that do not verify as many are recorded at a reading as take
// no time to speak of, and the rest at the next ones.
func TestManyRowsWrittenBySQLHoldNobodyUp(t *testing.T) {
	s := newStage(t)
	const forged = 2*unverifiedTold + 1
	s.exec(s.db.AppURL, `INSERT INTO grants (`+grantColumns+`)
		SELECT gen_random_uuid(), 'group', 'https://idp.example.test', 'team-search', 'platform-admin', 'everything', '', NULL, 'r', NULL, now(), '', '', '', '\x00'
		FROM generate_series(1, $1)`, forged)
	for reading, want := range []int{unverifiedTold, 2 * unverifiedTold, forged, forged} {
		if reading > 0 {
			s.exec(s.db.AppURL, `UPDATE grants SET end_reason = end_reason WHERE false`) // counts as a change
		}
		if !s.rightsNow(outsider("team-search")).Empty() {
			t.Fatal("a forged row gives something")
		}
		if found := s.svc.UnverifiedRows(); len(found) != forged {
			t.Errorf("the banner would tell of %d rows, want %d", len(found), forged)
		}
		if n := len(s.eventsOf(ActRightsUnverified)); n != want {
			t.Errorf("reading %d: %d events, want %d", reading+1, n, want)
		}
	}
}

// TestWhatWasCannotBePutBack: rows are only added to, whatever the database's password allows beside.
func TestWhatWasCannotBePutBack(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "A")
	live := s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeEverything, "")
	s.put(live)
	ended := s.signedGrant(SubjectGroup, "team-ads", "viewer", access.ScopeEverything, "")
	s.put(ended)
	s.exec(s.db.AppURL, `UPDATE grants SET ended_at = now() WHERE id = $1`, ended.ID)
	for _, as := range []string{s.db.AppURL, s.db.OwnerURL} {
		conn := s.connect(as)
		for _, attack := range []string{
			`UPDATE grants SET ended_at = NULL WHERE subject = 'team-ads'`,
			`DELETE FROM grants WHERE subject = 'team-ads'`,
			`TRUNCATE grants`,
			`UPDATE account_standings SET environment = 'development'`,
			`DELETE FROM account_standings`,
			`DELETE FROM member_standings`,
			`UPDATE member_standings SET blocked = false`,
			`UPDATE roles SET permissions = '{}'`,
			`DELETE FROM roles`,
		} {
			if _, err := conn.Exec(t.Context(), attack); err == nil {
				t.Errorf("%s is possible", attack)
			}
		}
	}
	if _, err := s.connect(s.db.AppURL).Exec(t.Context(), `UPDATE grants SET role = 'platform-admin'`); err == nil {
		t.Error("the program's role can change a grant")
	}
	if _, err := s.connect(s.db.AppURL).Exec(t.Context(), `UPDATE rights_version SET version = version - 1`); err == nil {
		t.Error("the program's role can turn the version back")
	}
	_ = account
}

// TestAStandingThatDoesNotVerifyBlocks: when in doubt, refuse.
func TestAStandingThatDoesNotVerifyBlocks(t *testing.T) {
	s := newStage(t)
	by := member("admins")
	if s.rightsNow(by).Empty() {
		t.Fatal("the admin has nothing")
	}
	s.exec(s.db.AppURL, `INSERT INTO member_standings (`+memberStandingColumns+`) VALUES ($1, $2, $3, 1, false, '', now(), '', '', '', '\x01')`, uuid.New(), by.Issuer, by.Subject)
	if !s.rightsNow(by).Empty() {
		t.Error("a standing that the console did not write counts")
	}
}

// TestAnAlteredAccountIsNotWorkedWith: a key goes only to the API that it was given for.
func TestAnAlteredAccountIsNotWorkedWith(t *testing.T) {
	for name, alter := range map[string]string{
		"generation":     `UPDATE accounts SET generation = 'pa-v1' WHERE id = $1`,
		"not registered": `INSERT INTO account_standings SELECT account_id, version + 1, cloud_account_id, generation, environment, written_at, '' FROM account_standings WHERE account_id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			account := s.register(s.current(), "A")
			s.works(account)
			s.exec(s.db.AppURL, alter, account.ID)
			before, _ := s.calls()
			_, err := s.svc.connect(t.Context(), account.ID, "req")
			if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Reason != alteredReason {
				t.Errorf("connecting says %v", err)
			}
			if after, _ := s.calls(); after != before {
				t.Error("upstream was called")
			}
		})
	}
}

// TestAnAdministratorSavesWhatWasAltered: the account works again when somebody with the right to has
// looked at it, and the log says what was made certain by that.
func TestAnAdministratorSavesWhatWasAltered(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "A")
	was := account.Environment
	s.exec(s.db.AppURL, `UPDATE accounts SET environment = 'development' WHERE id = $1`, account.ID)
	s.rightsNow(member("admins"))
	now := s.account(account)
	edit := AccountEdit{Revision: now.Revision(), AccountDetails: AccountDetails{Name: now.Name, Environment: now.Environment, Owner: now.Owner, Note: now.Note}}
	stale := member("admins")
	stale.SignedInAt = time.Time{}
	err := s.svc.EditAccount(t.Context(), stale, account.ID, edit)
	if _, asked := errors.AsType[*StepUpError](err); !asked {
		t.Errorf("with a sign-in of long ago: %v, want *StepUpError", err)
	}
	if s.rightsNow(stale); len(s.svc.UnverifiedRows()) != 1 {
		t.Error("an altered environment is made certain without a fresh sign-in")
	}
	if err := s.svc.EditAccount(t.Context(), member("admins"), account.ID, edit); err != nil {
		t.Fatal(err)
	}
	s.rightsNow(member("admins"))
	if found := s.svc.UnverifiedRows(); len(found) != 0 {
		t.Errorf("still not certain: %v", found)
	}
	events := s.eventsOf(ActAccountEdit)
	change := events[len(events)-1].Change
	if got := fmt.Sprint(change["environment"]); got != fmt.Sprint([2]any{string(was), "development"}) || fmt.Sprint(change["verified"]) != "[false true]" {
		t.Errorf("the event says %v", change)
	}
}
