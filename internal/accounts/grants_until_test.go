package accounts

import (
	"errors"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// grantUntil stores a grant that ends, whoever could have given it.
func (s *stage) grantUntil(by audit.Actor, role string, kind access.ScopeKind, scope string, end time.Time) {
	s.t.Helper()
	row := s.signedGrant(SubjectMember, by.Subject, role, kind, scope)
	row.Issuer, row.ExpiresAt = by.Issuer, &end
	row.MAC = s.svc.cfg.Vault.MAC(row.place(), row.says())
	s.put(row)
	readRights(s.t, s.svc)
}

// TestLabelsKeepNoRightThatEnds: who holds a right for a day does not label a cluster into where they, or somebody
// else, hold it for longer.
func TestLabelsKeepNoRightThatEnds(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Shared")
	by, other := s.signedIn("sales"), s.signedIn("finance")
	end := s.clock.at.Add(24 * time.Hour).Truncate(time.Microsecond)
	s.grantUntil(by, "account-admin", access.ScopeAccount, account.ID.String(), end)
	s.grant(by, "operator", access.ScopeLabels, "owner=sales")
	s.grant(other, "viewer", access.ScopeLabels, "shown=yes")
	s.grantUntil(other, "viewer", access.ScopeLabels, "day=one", end)
	s.grantUntil(other, "viewer", access.ScopeLabels, "day=two", end.Add(time.Microsecond))
	ref := s.labelled(account, "ours", nil)
	u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
	if err != nil {
		t.Fatal(err)
	}
	change := func(labels string) error {
		return s.svc.UpdateCluster(t.Context(), by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"labels": labels}})
	}
	before := s.updates()
	for _, labels := range []string{"owner=sales", "shown=yes", "day=two"} {
		refused := labelForbidden(t, labels, change(labels), "")
		if !strings.Contains(refused.Reason, "for longer than you hold it") {
			t.Errorf("%s: the words are %q", labels, refused.Reason)
		}
	}
	if s.updates() != before {
		t.Error("a refused change was sent")
	}
	if err := change("day=one"); err != nil {
		t.Errorf("into a grant that ends when one's own right does: %v", err)
	}
}

// TestMoveKeepsNoRightThatEnds: who administers an account for a day does not move it to where they, or somebody else,
// hold rights for longer.
func TestMoveKeepsNoRightThatEnds(t *testing.T) {
	s, account, by, holds := moveStage(t)
	holds(access.Scope{})
	end := s.clock.at.Add(24 * time.Hour).Truncate(time.Microsecond)
	s.grantUntil(by, "account-admin", access.ScopeAccount, account.ID.String(), end)
	s.grant(by, "account-admin", access.ScopeEnvironment, "development")
	err := s.svc.EditAccount(t.Context(), by, account.ID, moveTo(s, account, Development))
	refused, forbidden := errors.AsType[*ForbiddenError](err)
	if !forbidden || !strings.Contains(refused.Reason, "for longer than you hold it") {
		t.Errorf("into an environment that one holds for good: %v", err)
	}
	if now := s.account(account).Environment; now != Staging {
		t.Fatalf("the account is of %s", now)
	}
	if err := s.svc.EditAccount(t.Context(), by, account.ID, moveTo(s, account, Other)); err != nil {
		t.Errorf("into an environment that no grant names: %v", err)
	}
}
