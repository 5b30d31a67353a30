package accounts

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
)

// compared is what comparing the tables with the log says now, one line a problem.
func (s *stage) compared() []string {
	s.t.Helper()
	report, err := VerifyState(s.t.Context(), s.db.Pool)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := []string{}
	for _, p := range report.Problems {
		lines = append(lines, p.Kind+": "+p.What)
	}
	slices.Sort(lines)
	return lines
}

// TestTheLogExplainsAccountsAndKeys takes accounts through everything that may happen to them.
func TestTheLogExplainsAccountsAndKeys(t *testing.T) {
	s := newStage(t)
	by := s.session("admins")
	a, b := s.register(s.current(), "A"), s.register(s.legacy(), "B")
	if found := s.compared(); len(found) != 0 {
		t.Fatalf("after they were registered: %v", found)
	}
	if err := s.svc.Disable(t.Context(), by, b.ID); err != nil {
		t.Fatal(err)
	}
	now := s.account(a)
	edit := AccountEdit{Revision: now.Revision(), AccountDetails: AccountDetails{Name: "A renamed", Environment: Development, Owner: "someone", Note: strings.Repeat("ä", 1999)}}
	if err := s.svc.EditAccount(t.Context(), by, a.ID, edit); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.MintKey(t.Context(), by, a.ID, s.token(by, ActManagementKeyCreate)); err != nil {
		t.Fatal(err)
	}
	if found := s.compared(); len(found) != 0 {
		t.Errorf("after they were worked on: %v", found)
	}
	if err := s.svc.Remove(t.Context(), by, b.ID, AccountRemoval{Confirm: "B"}); err != nil {
		t.Fatal(err)
	}
	if found := s.compared(); len(found) != 0 {
		t.Errorf("after one was removed: %v", found)
	}
}

// TestRowsThatNoEventExplains alters the tables as their owner could who knows everything but the log's
// past: each row is named.
func TestRowsThatNoEventExplains(t *testing.T) {
	for name, attack := range map[string]struct{ sql, want string }{
		"an account moved":          {`UPDATE accounts SET environment = 'development'`, "account: not as the events say: environment"},
		"an account of another API": {`UPDATE accounts SET generation = 'pa-v1'`, "account: not as the events say: generation"},
		"an account enabled":        {`UPDATE accounts SET enabled = NOT enabled`, "account: not as the events say: enabled"},
		"an account taken away":     {`DELETE FROM accounts`, "account: the events say that it is registered"},
		"an account added": {`INSERT INTO accounts SELECT gen_random_uuid(), generation, 'x', upstream_name, owner_email, 'X', environment, owner, note, rotate_by, enabled, created_at,
			created_by, created_by_issuer, created_by_subject, updated_at FROM accounts`, "account: no event registers it"},
		"a key added": {`INSERT INTO management_keys (id, account_id, prefix, sealed, provenance, added_at, added_by, retired_at)
			SELECT gen_random_uuid(), account_id, prefix, sealed, provenance, now(), '', now() FROM management_keys`, "management_key: no event stores it"},
		"a key moved": {`UPDATE management_keys SET id = gen_random_uuid()`, "management_key: no event stores it"},
		"a grant added": {`INSERT INTO grants (id, subject_kind, issuer, subject, role, scope_kind, scope, reason, created_at, granted_by, granted_by_issuer, granted_by_subject, mac)
			VALUES (gen_random_uuid(), 'group', 'i', 'g', 'viewer', 'everything', '', 'r', now(), '', '', '', '')`, "grant: no event gives it"},
		"a role added":     {`INSERT INTO roles VALUES (gen_random_uuid(), 1, 'r', '', '{}', false, now(), '', '', '', '')`, "role: no event makes it"},
		"a member blocked": {`INSERT INTO member_standings VALUES (gen_random_uuid(), 'i', 's', 1, true, '', now(), '', '', '', '')`, "member: no event blocks"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.register(s.current(), "A")
			s.exec(s.db.OwnerURL, attack.sql)
			found := s.compared()
			if !slices.ContainsFunc(found, func(line string) bool { return strings.HasPrefix(line, attack.want) }) {
				t.Errorf("found %v, want %q", found, attack.want)
			}
		})
	}
}

// TestASignedRowIsExplainedByTheLogOnly: one who has the console's own key can sign a row; the log still
// does not know it.
func TestASignedRowIsExplainedByTheLogOnly(t *testing.T) {
	s := newStage(t)
	s.put(s.signedGrant(SubjectGroup, "team-search", "viewer", access.ScopeAccount, uuid.NewString()))
	if found := s.compared(); len(found) != 1 || found[0] != "grant: no event gives it" {
		t.Errorf("found %v", found)
	}
}
