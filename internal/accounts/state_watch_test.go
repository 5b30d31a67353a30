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

// watched is a stage whose tables are as the log says, with what an owner of the database could put back.
type watched struct {
	*stage
	by, reader audit.Actor
	account    Account
	grant      uuid.UUID // of the group readers to view everything
	role       string    // of the team's own
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	return newWatchedOn(t, newStage(t))
}

func newWatchedOn(t *testing.T, s *stage) *watched {
	t.Helper()
	w := &watched{stage: s}
	w.account = w.register(w.current(), "A")
	w.by, w.reader = w.session("admins"), w.session("readers")
	role, err := w.svc.CreateRole(t.Context(), w.by, NewRole{Name: "On call", Permissions: []string{access.ReadAccount, access.ReadClusters, access.WriteClusters}})
	if err != nil {
		t.Fatal(err)
	}
	w.role = role.ID
	w.grant = w.give("viewer")
	return w
}

func (w *watched) give(role string) uuid.UUID {
	w.t.Helper()
	g, err := w.svc.CreateGrant(w.t.Context(), w.by, NewGrant{SubjectKind: SubjectGroup, Subject: "readers", Role: role, ScopeKind: string(access.ScopeEverything), Reason: "to look"})
	if err != nil {
		w.t.Fatal(err)
	}
	return g.ID
}

func (w *watched) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// asOwner does with the owner's password what the triggers would refuse, and has every console read the rights again.
func (w *watched) asOwner(table, sql string, args ...any) {
	w.t.Helper()
	w.exec(w.db.OwnerURL, `ALTER TABLE `+table+` DISABLE TRIGGER USER`)
	w.exec(w.db.OwnerURL, sql, args...)
	w.exec(w.db.OwnerURL, `ALTER TABLE `+table+` ENABLE TRIGGER USER`)
	w.exec(w.db.OwnerURL, `UPDATE rights_version SET version = version + 1`)
}

// may reports whether the reader may do what needs the right, at the next request.
func (w *watched) may(permission string) bool {
	w.t.Helper()
	return w.rightsNow(w.reader).Allows(access.Needs(permission), accountTarget(w.account.ref()).access())
}

// compares has a console compare, as its job does when that is due.
func (w *watched) compares(s *Service) {
	w.t.Helper()
	s.state.due = time.Time{}
	w.must(s.watchState(w.t.Context()))
}

// told is what is on record about rows, one line an event.
func (w *watched) told() []string {
	w.t.Helper()
	lines := []string{}
	for _, e := range w.eventsOf(ActRightsUnverified) {
		lines = append(lines, fmt.Sprintf("%s %s: %s", e.Outcome, strings.Fields(e.Target.Name)[0], e.Reason))
	}
	return lines
}

func (w *watched) wantTold(want ...string) {
	w.t.Helper()
	got := w.told()
	if len(got) != len(want) {
		w.t.Fatalf("on record %q, want %d events", got, len(want))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			w.t.Errorf("on record %q, want %q", got[i], want[i])
		}
	}
}

// wantBanner fails unless the console would tell of as many rows.
func (w *watched) wantBanner(s *Service, rows int) {
	w.t.Helper()
	if found, more := s.Unexplained(); len(found)+more != rows {
		w.t.Errorf("the banner would tell of %v, want %d rows", found, rows)
	}
}

// TestAnEndedGrantThatLivesAgain: the owner of the database takes back that a grant ended. Its code is right, so it
// counts, until the console compares; then it gives nothing, which is one event however often and by however many it is
// found, and gone when an administrator has ended it again.
func TestAnEndedGrantThatLivesAgain(t *testing.T) {
	w := newWatched(t)
	w.compares(w.svc)
	w.wantTold()
	w.must(w.svc.EndGrant(t.Context(), w.by, w.grant, "No longer."))
	w.asOwner("grants", `UPDATE grants SET ended_at = NULL, ended_by = '', end_reason = '' WHERE id = $1`, w.grant)
	if !w.may(access.ReadClusters) {
		t.Fatal("the attack does nothing, and proves nothing")
	}
	w.compares(w.svc)
	if w.may(access.ReadClusters) {
		t.Error("the grant counts after it was found")
	}
	found := "failed grant: The log does not explain it: an event ended it, and its row says that it has not ended"
	w.wantTold(found)
	w.wantBanner(w.svc, 1)
	if g, err := w.svc.Grant(t.Context(), w.by, w.grant); err != nil || !g.Unverified || !g.MayEnd {
		t.Errorf("its page says %+v, %v", g, err)
	}

	w.compares(w.svc)
	other := w.replica(nil)
	other.planState()
	w.compares(other)
	w.wantBanner(other, 1)
	w.wantTold(found)

	w.must(w.svc.EndGrant(t.Context(), w.by, w.grant, "Once more."))
	w.compares(w.svc)
	w.wantTold(found, "ok grant: It is as the log says again.")
	w.wantBanner(w.svc, 0)
	w.must(other.watchState(t.Context())) // not due, but there is news
	w.wantBanner(other, 0)
	w.compares(w.svc)
	w.wantTold(found, "ok grant")
}

// TestWhatIsWithheldStaysSoThroughARestart: a console that starts withholds what is on record before it has compared.
func TestWhatIsWithheldStaysSoThroughARestart(t *testing.T) {
	w := newWatched(t)
	w.must(w.svc.EndGrant(t.Context(), w.by, w.grant, ""))
	w.asOwner("grants", `UPDATE grants SET ended_at = NULL WHERE id = $1`, w.grant)
	w.compares(w.svc)
	w.svc = w.replica(nil)
	if w.may(access.ReadClusters) {
		t.Error("after a restart the grant counts")
	}
}

// TestABlockThatWasLifted takes away the row that blocks a member, and in turn the row after one that does not.
func TestABlockThatWasLifted(t *testing.T) {
	for name, before := range map[string]func(w *watched){
		"the only row": func(*watched) {},
		"the third row": func(w *watched) {
			_, err := w.svc.Block(t.Context(), w.by, w.reader.Issuer, w.reader.Subject, MemberBlock{Reason: "x", Confirm: w.reader.Email})
			w.must(err)
			w.must(w.svc.Unblock(t.Context(), w.by, w.reader.Issuer, w.reader.Subject, ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t)
			before(w)
			_, err := w.svc.Block(t.Context(), w.by, w.reader.Issuer, w.reader.Subject, MemberBlock{Reason: "Left.", Confirm: w.reader.Email})
			w.must(err)
			w.asOwner("member_standings", `DELETE FROM member_standings WHERE version = (SELECT max(version) FROM member_standings)`)
			if !w.may(access.ReadClusters) {
				t.Fatal("the attack does nothing, and proves nothing")
			}
			w.compares(w.svc)
			if w.may(access.ReadClusters) {
				t.Error("the member may read after it was found")
			}
			id := Identity{Issuer: w.reader.Issuer, Subject: w.reader.Subject, Name: w.reader.Name, Email: w.reader.Email, Groups: w.reader.Groups}
			if _, err := w.svc.SignIn(t.Context(), member("readers"), id); err == nil {
				t.Error("the member signed in")
			}
			if m, err := w.svc.Member(t.Context(), w.by, w.reader.Issuer, w.reader.Subject); err != nil || m.Block == nil || !m.Block.Withheld || m.Block.Unverified || m.Block.By != "" {
				t.Errorf("their page says %+v, %v; that the log blocks them is wanted", m.Block, err)
			}
			w.wantTold("failed member: The log does not explain it: an event blocked the member")
			w.svc = w.replica(nil)
			if w.may(access.ReadClusters) {
				t.Error("the member may read after a restart")
			}
			// An administrator says how it is to be.
			w.must(w.svc.Unblock(t.Context(), w.by, w.reader.Issuer, w.reader.Subject, "Back."))
			if !w.may(access.ReadClusters) {
				t.Error("the member is kept out although an administrator let them in")
			}
			w.compares(w.svc)
			w.wantTold("failed member", "ok member: It is as the log says again.")
			w.wantBanner(w.svc, 0)
		})
	}
}

// TestAnOlderRoleThatCameBack takes away the version that narrowed a role, and the one that removed it.
func TestAnOlderRoleThatCameBack(t *testing.T) {
	w := newWatched(t)
	w.give(w.role)
	narrowed := RoleEdit{Version: 1, Name: "On call", Permissions: []string{access.ReadAccount, access.ReadClusters}}
	w.must(w.svc.EditRole(t.Context(), w.by, w.role, narrowed))
	w.asOwner("roles", `DELETE FROM roles WHERE version = 2`)
	if !w.may(access.WriteClusters) {
		t.Fatal("the attack does nothing, and proves nothing")
	}
	w.compares(w.svc)
	if w.may(access.WriteClusters) {
		t.Error("what was taken out of the role counts after it was found")
	}
	w.wantTold("failed role: The log does not explain it: more than the events leave of it: permissions")
	if r, err := w.svc.Role(t.Context(), w.by, w.role); err != nil || !r.Withheld || r.MayGive {
		t.Errorf("its page says %+v, %v; that it is withheld is wanted", r, err)
	}
	w.must(w.svc.EditRole(t.Context(), w.by, w.role, narrowed))
	if w.may(access.WriteClusters) || !w.may(access.ReadClusters) {
		t.Errorf("after it was saved again: %v", w.rightsNow(w.reader).Permissions())
	}
	w.compares(w.svc)
	w.wantTold("failed role", "ok role")
	if r, err := w.svc.Role(t.Context(), w.by, w.role); err != nil || r.Withheld {
		t.Errorf("its page says %+v, %v; saved, it is like any other", r, err)
	}

	gone, err := w.svc.CreateRole(t.Context(), w.by, NewRole{Name: "Gone", Permissions: []string{access.ReadAccount}})
	w.must(err)
	w.must(w.svc.DeleteRole(t.Context(), w.by, gone.ID))
	w.asOwner("roles", `DELETE FROM roles WHERE id = $1 AND deleted`, gone.ID)
	w.compares(w.svc)
	w.wantTold("failed role", "ok role", "failed role: The log does not explain it: an event removed it, and it is there")
	if _, known := w.svc.keeper.book.Load().roles[gone.ID]; known {
		t.Error("the removed role can be given")
	}
	w.must(w.svc.DeleteRole(t.Context(), w.by, gone.ID))
	w.compares(w.svc)
	w.wantBanner(w.svc, 0)
}

// TestAnAccountThatIsInItsOldEnvironmentAgain: the owner of the database takes away the row that a move wrote, and puts the
// account back. Once that is found, grants on the old environment give nothing on it and its key is not used, until an
// administrator saves the account: as it is, or as the log says.
func TestAnAccountThatIsInItsOldEnvironmentAgain(t *testing.T) {
	for name, saved := range map[string]Environment{"as it was found": Staging, "as the log says": Production} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t)
			w.must(w.svc.EndGrant(t.Context(), w.by, w.grant, "Only staging from here on."))
			_, err := w.svc.CreateGrant(t.Context(), w.by, NewGrant{SubjectKind: SubjectGroup, Subject: "readers", Role: "viewer", ScopeKind: string(access.ScopeEnvironment), Scope: string(Staging), Reason: "to look"})
			w.must(err)
			if !w.may(access.ReadClusters) {
				t.Fatal("the grant on the environment gives nothing, and proves nothing")
			}
			save := func(to Environment) {
				t.Helper()
				account, err := w.svc.Account(t.Context(), w.by, w.account.ID)
				w.must(err)
				w.must(w.svc.EditAccount(t.Context(), w.by, w.account.ID, AccountEdit{AccountDetails: AccountDetails{Name: account.Name, Environment: to}, Revision: account.Revision()}))
			}
			save(Production)
			w.compares(w.svc)
			w.wantTold()
			w.asOwner("account_standings", `DELETE FROM account_standings WHERE version = (SELECT max(version) FROM account_standings)`)
			w.asOwner("accounts", `UPDATE accounts SET environment = 'staging'`)
			if !w.may(access.ReadClusters) {
				t.Fatal("the attack does nothing, and proves nothing")
			}
			w.compares(w.svc)
			if w.may(access.ReadClusters) {
				t.Error("the grant on the old environment counts after it was found")
			}
			if _, err := w.svc.connect(t.Context(), w.account.ID, "request"); err == nil {
				t.Error("its key is used")
			}
			w.wantTold("failed account: The log does not explain it: not as the events say: environment")
			w.svc = w.replica(nil)
			if w.may(access.ReadClusters) {
				t.Error("after a restart the grant counts")
			}
			save(saved)
			if may := w.may(access.ReadClusters); may != (saved == Staging) {
				t.Errorf("saved as of %s the member of staging may read: %v", saved, may)
			}
			if _, err := w.svc.connect(t.Context(), w.account.ID, "request"); err != nil {
				t.Errorf("its key is not used after it was saved: %v", err)
			}
			w.compares(w.svc)
			w.wantTold("failed account", "ok account")
			w.wantBanner(w.svc, 0)
		})
	}
}

// TestSavingAWithheldRoleGivesAllOfIt: who may save a role and holds little cannot, by saving it as it came back, give
// others what the log had taken out of it.
func TestSavingAWithheldRoleGivesAllOfIt(t *testing.T) {
	w := newWatched(t)
	w.give(w.role)
	manager, err := w.svc.CreateRole(t.Context(), w.by, NewRole{Name: "Manager", Permissions: []string{access.GrantsManage, access.ReadAccount, access.ReadClusters}})
	w.must(err)
	_, err = w.svc.CreateGrant(t.Context(), w.by, NewGrant{SubjectKind: SubjectGroup, Subject: "managers", Role: manager.ID, ScopeKind: string(access.ScopeEverything), Reason: "r"})
	w.must(err)
	w.must(w.svc.EditRole(t.Context(), w.by, w.role, RoleEdit{Version: 1, Name: "On call", Permissions: []string{access.ReadAccount, access.ReadClusters}}))
	w.asOwner("roles", `DELETE FROM roles WHERE version = 2`)
	w.compares(w.svc)
	by := w.session("managers")
	err = w.svc.EditRole(t.Context(), by, w.role, RoleEdit{Version: 1, Name: "On call", Permissions: []string{access.ReadAccount, access.ReadClusters, access.WriteClusters}})
	if !isForbidden(err) {
		t.Errorf("with what came back: %v", err)
	}
	err = w.svc.EditRole(t.Context(), by, w.role, RoleEdit{Version: 2, Name: "On call", Permissions: []string{access.ReadClusters}})
	if changed, ok := errors.AsType[*RoleChangedError](err); !ok || changed.Now.Name != "On call" || len(changed.Now.Permissions) == 0 {
		t.Errorf("with another version: %v, %+v", err, changed)
	}
	w.must(w.svc.EditRole(t.Context(), by, w.role, RoleEdit{Version: 1, Name: "On call", Permissions: []string{access.ReadAccount, access.ReadClusters}}))
	if w.may(access.WriteClusters) || !w.may(access.ReadClusters) {
		t.Errorf("after it was saved: %v", w.rightsNow(w.reader).Permissions())
	}
}

// TestWhatNoCodeCovers: whether an account is enabled, and which of its keys is in use, no code says. The comparison
// finds both, and withholds nothing.
func TestWhatNoCodeCovers(t *testing.T) {
	for name, attack := range map[string]struct{ do, undo, want string }{
		"enabled": {`UPDATE accounts SET enabled = NOT enabled`, `UPDATE accounts SET enabled = NOT enabled`,
			"failed account: The log does not explain it: not as the events say: enabled"},
		"the key before is in use": {`UPDATE management_keys SET retired_at = CASE WHEN retired_at IS NULL THEN now() END`, `UPDATE management_keys SET retired_at = CASE WHEN retired_at IS NULL THEN now() END`,
			"failed management_key: The log does not explain it: it is in use, and the events put another key in its place"},
		"no key is in use": {`UPDATE management_keys SET retired_at = '2001-01-01' WHERE retired_at IS NULL`, `UPDATE management_keys SET retired_at = NULL WHERE retired_at = '2001-01-01'`,
			"failed management_key: The log does not explain it: the events put it to use, and its account has no key in use"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t)
			_, err := w.svc.MintKey(t.Context(), w.by, w.account.ID, w.token(w.by, ActManagementKeyCreate))
			w.must(err)
			w.compares(w.svc)
			w.wantTold()
			w.exec(w.db.OwnerURL, `DROP INDEX management_keys_one_in_use`) // an owner can, and swaps in one statement
			w.exec(w.db.AppURL, attack.do)
			w.compares(w.svc)
			w.compares(w.svc)
			w.wantTold(attack.want)
			w.wantBanner(w.svc, 1)
			if !w.may(access.ReadClusters) {
				t.Error("rights went with it")
			}
			w.exec(w.db.AppURL, attack.undo)
			w.compares(w.svc)
			w.wantBanner(w.svc, 0)
			if n := len(w.told()); n != 2 {
				t.Errorf("on record %v", w.told())
			}
		})
	}
}

// TestARowWithTheWrongCodeIsToldOnce: a row that counts for nothing because of its code is on record for that, and
// the comparison does not tell it once more.
func TestARowWithTheWrongCodeIsToldOnce(t *testing.T) {
	w := newWatched(t)
	forged := w.signedGrant(SubjectGroup, "readers", "platform-admin", access.ScopeEverything, "")
	forged.MAC = []byte{0}
	w.put(forged)
	w.compares(w.svc)
	w.compares(w.svc)
	w.wantTold("failed grant: The row does not carry this console's authentication code.")
	w.wantBanner(w.svc, 0)
	if len(w.svc.UnverifiedRows()) != 1 {
		t.Error("the banner does not tell of it")
	}
	// One with the right code and no event counts, and is told.
	w.put(w.signedGrant(SubjectGroup, "readers", "operator", access.ScopeEverything, ""))
	w.compares(w.svc)
	w.wantTold("failed grant", "failed grant: The log does not explain it: no event gives it.")
	if !w.may(access.WriteClusters) {
		t.Error("a row that no event takes back was withheld")
	}
}

// TestALogThatDoesNotAddUp: the event that ended a grant is taken out of the log, so that the row seems right. The log
// is told, and what was withheld before stays so.
func TestALogThatDoesNotAddUp(t *testing.T) {
	w := newWatched(t)
	w.must(w.svc.EndGrant(t.Context(), w.by, w.grant, ""))
	w.asOwner("grants", `UPDATE grants SET ended_at = NULL WHERE id = $1`, w.grant)
	w.compares(w.svc)
	w.wantTold("failed grant")
	w.exec(w.db.SuperURL, `ALTER TABLE audit.events DISABLE TRIGGER USER`)
	w.exec(w.db.SuperURL, `ALTER TABLE audit.events_000000 DISABLE TRIGGER USER`)
	w.exec(w.db.SuperURL, `DELETE FROM audit.events WHERE act = 'grant.delete'`)
	w.svc.state.chainDue = time.Time{}
	w.compares(w.svc)
	w.wantTold("failed grant", "failed audit: Event ", "ok grant")
	if !strings.Contains(w.told()[1], "the log does not add up: event ") {
		t.Errorf("on record %q", w.told()[1])
	}
	w.wantBanner(w.svc, 1)
	if w.may(access.ReadClusters) {
		t.Error("a log that does not add up gave a right back")
	}
	w.compares(w.svc)
	w.wantTold("failed grant", "failed audit", "ok grant")
}

// TestReplicasCompareOneAtATime: two consoles that find the same at once record it once.
func TestReplicasCompareOneAtATime(t *testing.T) {
	w := newWatched(t)
	w.exec(w.db.AppURL, `UPDATE accounts SET enabled = false`)
	all := []*Service{w.svc, w.replica(nil), w.replica(nil), w.replica(nil)}
	failed := make(chan error)
	for _, s := range all {
		go func() {
			var err error
			for err == nil && s.state.last.Load() == nil {
				err = s.watchState(context.Background())
			}
			failed <- err
		}()
	}
	for range all {
		w.must(<-failed)
	}
	w.wantTold("failed account")
	for _, s := range all {
		w.wantBanner(s, 1)
	}
}

// TestTheComparisonIsDueAfterTheStart: not at once, and then once a day.
func TestTheComparisonIsDueAfterTheStart(t *testing.T) {
	w := newWatched(t)
	w.exec(w.db.AppURL, `UPDATE accounts SET enabled = false`)
	w.svc.planState()
	for _, step := range []struct {
		after time.Duration
		found int
	}{{0, 0}, {defaultStateAfter - time.Second, 0}, {time.Second, 1}} {
		w.clock.at = w.clock.at.Add(step.after)
		w.must(w.svc.watchState(t.Context()))
		w.wantBanner(w.svc, step.found)
	}
	w.exec(w.db.AppURL, `UPDATE accounts SET enabled = true`)
	w.clock.at = w.clock.at.Add(stateAgain)
	w.must(w.svc.watchState(t.Context()))
	w.wantBanner(w.svc, 0)
	w.exec(w.db.AppURL, `UPDATE accounts SET enabled = false`)
	w.clock.at = w.clock.at.Add(defaultStateEvery - time.Second)
	w.must(w.svc.watchState(t.Context()))
	w.wantBanner(w.svc, 0)
	w.clock.at = w.clock.at.Add(time.Second)
	w.must(w.svc.watchState(t.Context()))
	w.wantBanner(w.svc, 1)
	w.exec(w.db.AppURL, `UPDATE accounts SET name = 'Another'`)
	// Somebody who checks makes it due when the result is another.
	if _, err := w.svc.VerifyLog(t.Context(), member("auditors")); err != nil {
		t.Fatal(err)
	}
	w.eventually("the job looks again", func() bool {
		w.must(w.svc.watchState(t.Context()))
		rows, _ := w.svc.Unexplained()
		return len(rows) == 1 && strings.Contains(rows[0].What, "name")
	})
}
