package accounts

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// membersSeen lists a member's keys as text, in their order.
func membersSeen(t *testing.T, s *Service, by audit.Actor, of audit.Actor) (lines []string, seen SeenKeys) {
	t.Helper()
	seen, err := s.MemberKeys(t.Context(), by, of.Issuer, of.Subject)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range seen.Keys {
		line := fmt.Sprintf("%s %s %s", k.Kind, k.Name, k.State)
		if k.InUse {
			line += " in use"
		}
		if k.MayRotate {
			line += " rotate"
		}
		if k.MayDelete {
			line += " delete"
		}
		lines = append(lines, line)
	}
	return lines, seen
}

// TestMembersKeysAreThoseTheyMadeOrPasted goes through what can become of a key, each as the console itself records it.
func TestMembersKeysAreThoseTheyMadeOrPasted(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search") // by somebody else
	ref := s.keyed(account, "with-keys")
	by, admin := s.signedIn("operators"), s.signedIn("admins")
	first := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "first"))
	second := s.createKey(by, ref, s.newKey(by, ActKeyCreate, "second"))
	s.createKey(admin, ref, s.newKey(admin, ActKeyCreate, "not theirs"))
	if err := s.svc.DeleteKey(t.Context(), admin, ref, second.Key.ID, KeyMark(second.Key)); err != nil {
		t.Fatal(err)
	}
	days := "30"
	if _, err := s.svc.RotateKey(t.Context(), by, ref, first.Key.ID, Rotation{Name: "third", ExpiresInDays: &days, FormToken: s.token(by, ActKeyRotate)}); err != nil {
		t.Fatal(err)
	}
	lines, seen := membersSeen(t, s.svc, admin, by)
	want := []string{"key third there rotate delete", "key first there rotate delete", "key second deleted"}
	if !slices.Equal(lines, want) || seen.Open() != 2 || seen.Hidden != 0 || seen.More {
		t.Errorf("keys %q, want %q; %+v", lines, want, seen)
	}
	if k := seen.Keys[2]; k.ClosedBy != "Name of admins" || k.ClosedAt == nil || k.ClusterID != ref.ClusterID || k.ClusterName != "with-keys" || k.AccountName != "Search" {
		t.Errorf("the deleted key: %+v", k)
	}
	if k := seen.Keys[1]; k.EndsAt == nil || !k.EndsAt.Equal(first.Key.ExpiresAt) {
		t.Errorf("the first key: %+v", k)
	}
	s.clock.at = s.clock.at.Add(31 * 24 * time.Hour)
	if lines, _ := membersSeen(t, s.svc, admin, by); !slices.Equal(lines, []string{"key third ended", "key second deleted", "key first ended"}) {
		t.Errorf("a month later: %q", lines)
	}
}

// TestMembersManagementKeys: a pasted key is in use, then replaced, then gone; one that was minted here nobody saw.
func TestMembersManagementKeys(t *testing.T) {
	s := newStage(t)
	by := s.session("admins")
	n := newAccountOf(s.current(), "Search")
	n.FormToken = s.token(by, ActAccountCreate)
	account, err := s.svc.Create(t.Context(), by, n)
	if err != nil {
		t.Fatal(err)
	}
	first := account.Key.Prefix
	if lines, _ := membersSeen(t, s.svc, by, by); !slices.Equal(lines, []string{"management_key " + first + " there in use rotate"}) {
		t.Errorf("after pasting: %q", lines)
	}
	key := s.keyOf(account.CloudAccountID, []string{"read:clusters"})
	if _, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(key, s.token(by, ActAccountKey))); err != nil {
		t.Fatal(err)
	}
	second := prefixInUse(t, s, account.ID)
	lines, seen := membersSeen(t, s.svc, by, by)
	if !slices.Equal(lines, []string{"management_key " + second + " there in use rotate", "management_key " + first + " retired delete"}) || seen.Open() != 2 {
		t.Errorf("after replacing: %q", lines)
	}
	old := uuid.MustParse(seen.Keys[1].ID)
	if err := s.svc.DismissOldKey(t.Context(), by, account.ID, old); err != nil {
		t.Fatal(err)
	}
	lines, seen = membersSeen(t, s.svc, by, by)
	if !slices.Equal(lines, []string{"management_key " + second + " there in use rotate", "management_key " + first + " deleted"}) || seen.Keys[1].ClosedBy == "" {
		t.Errorf("after dismissing: %q", lines)
	}
	if err := s.svc.Remove(t.Context(), by, account.ID, AccountRemoval{Confirm: "Search"}); err != nil {
		t.Fatal(err)
	}
	lines, seen = membersSeen(t, s.svc, by, by)
	if !slices.Equal(lines, []string{"management_key " + second + " unknown", "management_key " + first + " deleted"}) || !seen.Keys[0].AccountGone || seen.Keys[0].AccountName != "Search" {
		t.Errorf("after removing the account: %q %+v", lines, seen.Keys)
	}
}

// prefixInUse is the prefix of the key in use.
func prefixInUse(t *testing.T, s *stage, account uuid.UUID) (prefix string) {
	t.Helper()
	if err := s.db.Pool.QueryRow(t.Context(), `SELECT prefix FROM management_keys WHERE account_id = $1 AND retired_at IS NULL`, account).Scan(&prefix); err != nil {
		t.Fatal(err)
	}
	return prefix
}

// TestMembersKeysOfWhatTheReaderMayNotSeeAreCounted: who may see members and nothing else learns no name of a key,
// a cluster or an account.
func TestMembersKeysOfWhatTheReaderMayNotSeeAreCounted(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "canary-account")
	ref := s.keyed(account, "canary-cluster")
	by := s.signedIn("operators")
	s.createKey(by, ref, s.newKey(by, ActKeyCreate, "canary-key"))
	other := s.register(s.legacy(), "canary-other")
	role := uuid.Must(uuid.NewV7())
	row := roleRow{ID: role, Version: 1, Name: "people", Permissions: []string{access.MembersManage}, WrittenAt: s.clock.at.UTC().Truncate(time.Microsecond)}
	s.exec(s.db.AppURL, `INSERT INTO roles (`+roleColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, row.ID, row.Version, row.Name, row.Description,
		row.Permissions, row.Deleted, row.WrittenAt, row.WrittenBy, row.WrittenByIssuer, row.WrittenBySubject, s.svc.cfg.Vault.MAC(row.place(), row.says()))
	grant := func(role string, kind access.ScopeKind, scope string) {
		g := grantRow{
			ID: uuid.Must(uuid.NewV7()), SubjectKind: SubjectGroup, Issuer: by.Issuer, Subject: "people", Role: role, ScopeKind: string(kind), Scope: scope,
			Reason: "test", CreatedAt: row.WrittenAt,
		}
		s.exec(s.db.AppURL, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
			g.ID, g.SubjectKind, g.Issuer, g.Subject, g.Role, g.ScopeKind, g.Scope, g.ExpiresAt, g.Reason, g.BoundFrom,
			g.CreatedAt, g.GrantedBy, g.GrantedByIssuer, g.GrantedBySubject, s.svc.cfg.Vault.MAC(g.place(), g.says()))
	}
	grant(role.String(), access.ScopeEverything, "")
	grant("viewer", access.ScopeAccount, other.ID.String())
	reader := s.signedIn("people")
	lines, seen := membersSeen(t, s.svc, reader, by)
	if len(lines) != 0 || seen.Hidden != 1 {
		t.Errorf("keys %q and %d hidden", lines, seen.Hidden)
	}
	d, err := s.svc.Member(t.Context(), reader, by.Issuer, by.Subject)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v %+v", d, seen); strings.Contains(text, "canary") {
		t.Errorf("a name is told: %s", text)
	}
	if d.MayAudit {
		t.Error("they may not read the log")
	}
	// With a right on the very cluster they see its key, and may not rotate it.
	grant("viewer", access.ScopeCluster, account.ID.String()+"/"+ref.ClusterID)
	reader = s.signedIn("people")
	if lines, seen := membersSeen(t, s.svc, reader, by); !slices.Equal(lines, []string{"key canary-key there"}) || seen.Hidden != 0 {
		t.Errorf("keys %q and %d hidden", lines, seen.Hidden)
	}
}
