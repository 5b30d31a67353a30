package accounts

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

// session signs a member of the group in, for acts with form tokens.
func (s *stage) session(group string) audit.Actor {
	s.t.Helper()
	by := member(group)
	at := s.clock.now()
	token, err := s.svc.SignIn(s.t.Context(), by, Identity{Issuer: by.Issuer, Subject: by.Subject, Name: by.Name, Email: by.Email, Groups: by.Groups, AuthTime: &at})
	if err != nil {
		s.t.Fatal(err)
	}
	_, by, err = s.svc.Authenticate(s.t.Context(), by, token)
	if err != nil {
		s.t.Fatal(err)
	}
	return by
}

func (s *stage) token(by audit.Actor, act Act) string {
	s.t.Helper()
	token, err := s.svc.FormToken(s.t.Context(), by, act.Name)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// keyOf has the sandbox make a key of an account; nil permissions are all.
func (s *stage) keyOf(cloudAccount string, permissions []string) string {
	s.t.Helper()
	var made struct {
		ManagementKey string `json:"management_key"`
	}
	body := map[string]any{"account": cloudAccount}
	if permissions != nil {
		body["permissions"] = permissions
	}
	s.ask(http.MethodPost, "keys", body, &made)
	return made.ManagementKey
}

func pasted(key, token string) ReplacementKey {
	return ReplacementKey{Key: cloudapi.NewSecret([]byte(key)), FormToken: token}
}

// works fails the test when the account's stored key does not open it upstream, or there are several
// in use.
func (s *stage) works(account Account) {
	s.t.Helper()
	up, err := s.svc.connect(s.t.Context(), account.ID, "works")
	if err != nil {
		s.t.Fatalf("the account has no key to use: %v", err)
	}
	if _, err := up.cloud.ListClusters(s.t.Context(), ""); err != nil {
		s.t.Errorf("the account's key does not work: %v", err)
	}
}

// listed returns upstream's keys of the account, asked with the key in use.
func (s *stage) listed(account Account) []cloudapi.ManagementKey {
	s.t.Helper()
	up, err := s.svc.connect(s.t.Context(), account.ID, "listed")
	if err != nil {
		s.t.Fatal(err)
	}
	keys, err := up.cloud.ManagementKeys(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

func lists(t *testing.T, permissions []string) any {
	t.Helper()
	list := make([]any, len(permissions))
	for i, p := range permissions {
		list[i] = p
	}
	return list
}

func TestAPastedKeyReplacesTheOldOne(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	fresh := s.keyOf(account.CloudAccountID, []string{"read:clusters", "read:management_keys", "delete:management_keys"})
	token := s.token(by, ActAccountKey)
	for range 2 { // a second post of the form replaces nothing and answers the same
		old, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(" "+fresh+"\n", token))
		if err != nil || old != account.Key.ID {
			t.Fatalf("replaced %s, %v; want the old key %s", old, err, account.Key.ID)
		}
	}
	s.works(account)
	now := s.account(account)
	if now.Key.Prefix != fresh[:8] || now.Key.Provenance != "pasted" || !slices.Equal(now.Key.Permissions, []string{"delete:management_keys", "read:clusters", "read:management_keys"}) {
		t.Errorf("the key is %+v", now.Key)
	}
	if len(now.OldKeys) != 1 || now.OldKeys[0].ID != account.Key.ID || now.OldKeys[0].Unseen || !slices.Contains(now.OldKeys[0].Lost, "write:clusters") || slices.Contains(now.OldKeys[0].Lost, "read:clusters") {
		t.Errorf("old keys %+v", now.OldKeys)
	}

	attempt := audit.Event{
		Act: "account.key", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target: audit.Target{Kind: "account", ID: account.ID.String(), Name: "Search"},
		Change: audit.Change{
			"management_key": {"[changed]", "[changed]"}, "management_key_id": {account.Key.ID.String(), now.Key.ID.String()},
			"management_key_prefix": {account.Key.Prefix, fresh[:8]},
		},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome = audit.PhaseOutcome, audit.OK
	outcome.Upstream = audit.Upstream{RPC: cloudapi.OpListEffectivePermissions.RPC, Status: 200}
	outcome.Change = audit.Change{
		"management_key_permissions":      {lists(t, account.Key.Permissions), lists(t, now.Key.Permissions)},
		"management_key_permissions_lost": {lists(t, now.OldKeys[0].Lost), nil},
	}
	for name, values := range attempt.Change {
		outcome.Change[name] = values
	}
	wantOperation(t, s.eventsOf(ActAccountKey), attempt, outcome)
	if dump := s.dump(); strings.Contains(dump, fresh) {
		t.Error("the pasted key is somewhere in clear")
	}
}

func TestAKeyThatDoesNotDoIsRefused(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	legacy := s.register(s.legacy(), "Old")
	by := s.session("admins")
	other := s.fixture(func(f sandbox.Fixture) bool { return f.Spare })
	poor := s.keyOf(account.CloudAccountID, []string{"write:clusters"})
	for _, tt := range []struct {
		name, key, words string
		of               Account
		tried            bool
	}{
		{"nothing", "", "Paste a management key.", account, false},
		{"a word", "short", "too short", account, false},
		{"the key in use", s.current().ManagementKey, "This is the key in use.", account, false},
		{"the legacy key in use", s.legacy().ManagementKey, "This is the key in use.", legacy, false},
		{"another account's", other.ManagementKey, "does not open this account", account, true},
		{"another account's, legacy", other.ManagementKey, "Qdrant Cloud refuses the key", legacy, true},
		{"nobody's", "canary-wrong-key-0123456789", "Qdrant Cloud refuses the key", account, true},
		{"one without read:clusters", poor, "lacks read:clusters", account, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls, _ := s.calls()
			before := len(s.eventsOf(ActAccountKey))
			_, err := s.svc.ReplaceKey(t.Context(), by, tt.of.ID, pasted(tt.key, s.token(by, ActAccountKey)))
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok || !strings.Contains(invalid.Fields["management_key"], tt.words) || len(invalid.Fields) != 1 {
				t.Fatalf("err = %v, %+v", err, invalid)
			}
			after, _ := s.calls()
			events := s.eventsOf(ActAccountKey)[before:]
			if tt.tried {
				if len(events) != 2 || events[1].Outcome != audit.Failed || events[1].Reason == "" || events[1].Upstream.RPC == "" {
					t.Errorf("events %+v", events)
				}
			} else if after != calls || len(events) != 0 {
				t.Errorf("%d calls, %d events for a key that need not be tried", after-calls, len(events))
			}
			if now := s.account(tt.of); now.Key.ID != tt.of.Key.ID || len(now.OldKeys) != 0 {
				t.Errorf("the account's key is %+v", now.Key)
			}
		})
	}
	if dump := s.dump(); strings.Contains(dump, "canary-wrong-key") || strings.Contains(dump, poor) {
		t.Error("a refused key was kept")
	}
}

func TestADisabledAccountIsRepairedWithAnotherKey(t *testing.T) {
	s := newStage(t)
	by := s.session("admins")
	for _, f := range []sandbox.Fixture{s.current(), s.legacy()} {
		account := s.register(f, f.Name)
		if err := s.svc.Disable(t.Context(), by, account.ID); err != nil {
			t.Fatal(err)
		}
		s.ask(http.MethodPost, "keys", map[string]any{"revoke": f.ManagementKey}, nil)
		fresh := s.keyOf(f.CloudAccountID, nil)
		if _, err := s.svc.MintKey(t.Context(), by, account.ID, s.token(by, ActManagementKeyCreate)); err == nil {
			t.Error("a disabled account's key was used to make one")
		}
		if _, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(fresh, s.token(by, ActAccountKey))); err != nil {
			t.Fatalf("%s: %v", f.Generation, err)
		}
		if s.account(account).Enabled {
			t.Error("replacing the key enabled the account")
		}
		if err := s.svc.Enable(t.Context(), by, account.ID); err != nil {
			t.Fatal(err)
		}
		s.works(account)
	}
}

func TestAKeyIsReplacedFromWhatItWasTriedFor(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	first, second := s.keyOf(account.CloudAccountID, nil), s.keyOf(account.CloudAccountID, nil)
	stored, err := accountByID(t.Context(), s.db.Pool, account.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.svc.keyCandidate(t.Context(), by, stored, cloudapi.NewSecret([]byte(second)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(first, s.token(by, ActAccountKey))); err != nil {
		t.Fatal(err)
	}
	_, err = s.svc.storeReplacement(t.Context(), by, stored, c, s.token(by, ActAccountKey), audit.Event{})
	if _, conflict := errors.AsType[*ConflictError](err); !conflict {
		t.Errorf("a key was put in place of one that was replaced meanwhile: %v", err)
	}
	if now := s.account(account); now.Key.Prefix != first[:8] || len(now.OldKeys) != 1 {
		t.Errorf("the account has %+v and %d old keys", now.Key, len(now.OldKeys))
	}
}

func TestAMintedKeyIsUsedAndSeenByNobody(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	before := s.listed(account)
	token := s.token(by, ActManagementKeyCreate)
	for range 2 {
		old, err := s.svc.MintKey(t.Context(), by, account.ID, token)
		if err != nil || old != account.Key.ID {
			t.Fatalf("minted in place of %s, %v", old, err)
		}
	}
	s.works(account)
	after := s.listed(account)
	if len(after) != len(before)+1 {
		t.Fatalf("%d keys upstream, %d before", len(after), len(before))
	}
	now := s.account(account)
	if now.Key.Provenance != "minted" || now.Key.UpstreamID == "" || len(now.OldKeys) != 1 || now.OldKeys[0].ID != account.Key.ID || len(now.OldKeys[0].Lost) != 0 {
		t.Errorf("key %+v, old %+v", now.Key, now.OldKeys)
	}

	attempt := audit.Event{
		Act: "management_key.create", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "management_key", ID: now.Key.ID.String()},
		Upstream: audit.Upstream{RPC: cloudapi.OpCreateManagementKey.RPC, KeyID: account.Key.ID.String()},
		Change:   audit.Change{"management_key_id": {nil, now.Key.ID.String()}, "management_key_provenance": {nil, "minted"}},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Upstream.Status, outcome.Target.Name = audit.PhaseOutcome, audit.OK, 200, now.Key.Prefix
	outcome.Change = audit.Change{
		"management_key_id": {nil, now.Key.ID.String()}, "management_key_provenance": {nil, "minted"},
		"management_key_prefix": {nil, now.Key.Prefix}, "upstream_key_id": {nil, now.Key.UpstreamID},
	}
	made := s.eventsOf(ActManagementKeyCreate)
	wantOperation(t, made, attempt, outcome)
	replaced := s.eventsOf(ActAccountKey)
	want := audit.Event{
		Act: "account.key", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by, Account: attempt.Account, Parent: made[0].Operation,
		Target: audit.Target{Kind: "account", ID: account.ID.String(), Name: "Search"},
		Change: audit.Change{
			"management_key": {"[changed]", "[changed]"}, "management_key_id": {account.Key.ID.String(), now.Key.ID.String()},
			"management_key_prefix": {account.Key.Prefix, now.Key.Prefix}, "management_key_provenance": {"pasted", "minted"}, "upstream_key_id": {nil, now.Key.UpstreamID},
		},
	}
	if len(replaced) != 1 {
		t.Fatalf("%d events of account.key", len(replaced))
	}
	if diff := cmp.Diff(want, replaced[0], plainEvent()); diff != "" {
		t.Errorf("account.key (-want +got)\n%s", diff)
	}

	up, err := s.svc.connect(t.Context(), account.ID, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if up.keyID != now.Key.ID {
		t.Errorf("acts use the key %s", up.keyID)
	}
	if secret := s.unsealed(now.Key.ID); len(secret) < 30 || strings.Contains(s.dump(), secret) {
		t.Error("the minted key is somewhere in clear")
	}
	// A key that was minted mints the next one.
	if _, err := s.svc.MintKey(t.Context(), by, account.ID, s.token(by, ActManagementKeyCreate)); err != nil {
		t.Errorf("minting again: %v", err)
	}
	s.works(account)
}

// unsealed opens a stored key, as connect does.
func (s *stage) unsealed(id uuid.UUID) string {
	s.t.Helper()
	var sealed []byte
	if err := s.db.Pool.QueryRow(s.t.Context(), `SELECT sealed FROM management_keys WHERE id = $1`, id).Scan(&sealed); err != nil {
		s.t.Fatal(err)
	}
	plain, err := s.svc.cfg.Vault.Open(vault.ManagementKeys, keyPlace(id), sealed)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(plain)
}

func TestWhereNoKeyIsMinted(t *testing.T) {
	s := newStage(t)
	by := s.session("admins")
	legacy := s.register(s.legacy(), "Old")
	f := s.current()
	f.ManagementKey = s.keyOf(f.CloudAccountID, []string{"read:clusters"})
	poor := s.register(f, "Poor")
	_, changing := s.calls()
	for _, tt := range []struct {
		of    Account
		words string
	}{{legacy, "pa/v1"}, {poor, "lacks write:management_keys"}} {
		_, err := s.svc.MintKey(t.Context(), by, tt.of.ID, s.token(by, ActManagementKeyCreate))
		if conflict, ok := errors.AsType[*ConflictError](err); !ok || !strings.Contains(conflict.Reason, tt.words) {
			t.Errorf("%s: %v", tt.of.Name, err)
		}
	}
	if _, after := s.calls(); after != changing || len(s.eventsOf(ActManagementKeyCreate)) != 0 {
		t.Error("it was tried all the same")
	}
}

// armed is a replica whose clock does something once, the first time it is read after upstream was
// asked to change something: in MintKey that is after the key was made and sealed.
func (s *stage) armed(do func()) *Service {
	_, before := s.calls()
	done := false
	return s.replica(func(c *Config) {
		c.UnknownAfter = time.Millisecond
		c.Now = func() time.Time {
			if !done {
				if _, now := s.calls(); now > before {
					done = true
					do()
				}
			}
			return s.clock.now()
		}
	})
}

// TestCutWhileAKeyIsMinted ends MintKey at each step. The account has a key that works each time, and a
// key that was made is found and can be deleted.
func TestCutWhileAKeyIsMinted(t *testing.T) {
	revoke := `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`
	grant := `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`
	for _, tt := range []struct {
		name string
		cut  func(s *stage, mint func(*Service) error) // ends a mint midway
		made bool
	}{
		{"after the attempt", func(s *stage, mint func(*Service) error) {
			s.fault(map[string]any{"operation": "CreateManagementKey", "kind": "close", "times": 1})
			mint(s.replica(soon)) //nolint:errcheck // it fails, and what it left behind is looked at
		}, false},
		{"after upstream made it", func(s *stage, mint func(*Service) error) {
			s.fault(map[string]any{"operation": "CreateManagementKey", "kind": "lost_answer", "times": 1})
			mint(s.replica(soon)) //nolint:errcheck // as above
		}, true},
		{"after it was sealed", func(s *stage, mint func(*Service) error) {
			defer func() { recover() }()           //nolint:errcheck // the cut
			mint(s.armed(func() { panic("cut") })) //nolint:errcheck // as above
		}, true},
		{"before the commit", func(s *stage, mint func(*Service) error) {
			err := mint(s.armed(func() { s.exec(s.db.OwnerURL, revoke) }))
			s.exec(s.db.OwnerURL, grant)
			if _, ok := errors.AsType[*UnusedKeyError](err); !ok {
				s.t.Errorf("a key was made and could not be stored: %v", err)
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			account := s.register(s.current(), "Search")
			by := s.session("admins")
			token := s.token(by, ActManagementKeyCreate)
			before := s.listed(account)
			tt.cut(s, func(svc *Service) error {
				_, err := svc.MintKey(t.Context(), by, account.ID, token)
				return err
			})
			s.works(account)
			if now := s.account(account); now.Key.ID != account.Key.ID || len(now.OldKeys) != 0 {
				t.Errorf("the key in use is %s, old keys %+v", now.Key.ID, now.OldKeys)
			}
			attempts := s.eventsOf(ActManagementKeyCreate)
			if len(attempts) != 1 {
				t.Fatalf("events %+v", attempts)
			}
			// The same form makes nothing more, whatever became of it.
			if _, err := s.svc.MintKey(t.Context(), by, account.ID, token); err == nil && tt.name != "before the commit" {
				t.Error("the same form was taken again")
			}
			if made := len(s.listed(account)) - len(before); made != map[bool]int{true: 1}[tt.made] {
				t.Errorf("%d keys were made", made)
			}

			got := s.reconciled(s.replica(soon), attempts[0].Operation)
			want := map[bool]audit.Outcome{true: audit.OK, false: audit.Failed}[tt.made]
			if len(got) != 2 || got[1].Outcome != want || !got[1].Inferred {
				t.Fatalf("events %+v", got)
			}
			s.works(account)
			now := s.account(account)
			if !tt.made {
				if len(now.OldKeys) != 0 {
					t.Errorf("a key is shown that was not made: %+v", now.OldKeys)
				}
				return
			}
			if len(now.OldKeys) != 1 || !now.OldKeys[0].Unseen || now.OldKeys[0].UpstreamID == "" || now.OldKeys[0].ID.String() != attempts[0].Target.ID {
				t.Fatalf("the key that was made is not shown: %+v", now.OldKeys)
			}
			if got[1].Change["upstream_key_id"] != [2]any{nil, now.OldKeys[0].UpstreamID} {
				t.Errorf("the outcome does not name it: %+v", got[1].Change)
			}
			if err := s.svc.DeleteOldKey(t.Context(), by, account.ID, now.OldKeys[0].ID, now.OldKeys[0].Prefix); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, s.listed(account)); diff != "" {
				t.Errorf("upstream's keys (-before +after)\n%s", diff)
			}
			if left := s.account(account).OldKeys; len(left) != 0 {
				t.Errorf("still shown: %+v", left)
			}
		})
	}
}

func TestAMintedKeyThatCannotBeTriedIsNotUsed(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	token := s.token(by, ActManagementKeyCreate)
	s.fault(map[string]any{"operation": "ListEffectivePermissions", "kind": "status", "status": 403, "times": 1})
	_, err := s.svc.MintKey(t.Context(), by, account.ID, token)
	if unused, ok := errors.AsType[*UnusedKeyError](err); !ok || unused.Reason == "" {
		t.Fatalf("err = %v", err)
	}
	s.works(account)
	now := s.account(account)
	if now.Key.ID != account.Key.ID || len(now.OldKeys) != 1 || !now.OldKeys[0].Unseen {
		t.Errorf("key %s, old %+v", now.Key.ID, now.OldKeys)
	}
	made, replaced := s.eventsOf(ActManagementKeyCreate), s.eventsOf(ActAccountKey)
	if len(made) != 2 || made[1].Outcome != audit.OK || len(replaced) != 1 || replaced[0].Outcome != audit.Failed || replaced[0].Parent != made[0].Operation || replaced[0].Reason == "" || len(replaced[0].Change) != 0 {
		t.Errorf("events %+v, %+v", made, replaced)
	}
	before := len(s.listed(account))
	if old, err := s.svc.MintKey(t.Context(), by, account.ID, token); err != nil || old != account.Key.ID {
		t.Errorf("the same form again: %s, %v", old, err)
	}
	if after := len(s.listed(account)); after != before {
		t.Errorf("the same form made %d more keys", after-before)
	}
}

func TestAKeyMintedWhileAnotherWasPastedIsNotUsed(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	token, paste := s.token(by, ActManagementKeyCreate), s.token(by, ActAccountKey)
	fresh := s.keyOf(account.CloudAccountID, nil)
	svc := s.armed(func() {
		if _, err := s.svc.ReplaceKey(context.Background(), by, account.ID, pasted(fresh, paste)); err != nil {
			t.Error(err)
		}
	})
	_, err := svc.MintKey(t.Context(), by, account.ID, token)
	if _, ok := errors.AsType[*UnusedKeyError](err); !ok {
		t.Errorf("err = %v", err)
	}
	s.works(account)
	if now := s.account(account); now.Key.Prefix != fresh[:8] || len(now.OldKeys) != 2 {
		t.Errorf("key %+v, old %+v", now.Key, now.OldKeys)
	}
}

func TestTheOldKeyIsDeletedUpstream(t *testing.T) {
	s := newStage(t)
	f := s.current()
	account := s.register(f, "Search")
	by := s.session("admins")
	if _, err := s.svc.MintKey(t.Context(), by, account.ID, s.token(by, ActManagementKeyCreate)); err != nil {
		t.Fatal(err)
	}
	now := s.account(account)
	for _, confirm := range []string{"", "x", strings.ToUpper(account.Key.Prefix) + "x"} {
		if _, invalid := errors.AsType[*InvalidError](s.svc.DeleteOldKey(t.Context(), by, account.ID, account.Key.ID, confirm)); !invalid {
			t.Errorf("deleted with %q typed", confirm)
		}
	}
	for range 2 { // a second post deletes nothing
		if err := s.svc.DeleteOldKey(t.Context(), by, account.ID, account.Key.ID, account.Key.Prefix); err != nil {
			t.Fatal(err)
		}
	}
	s.works(account)
	got := s.eventsOf(ActManagementKeyDelete)
	attempt := audit.Event{
		Act: "management_key.delete", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "management_key", ID: account.Key.ID.String(), Name: account.Key.Prefix},
		Upstream: audit.Upstream{RPC: cloudapi.OpDeleteManagementKey.RPC, KeyID: now.Key.ID.String()},
		Change:   audit.Change{"management_key_prefix": {account.Key.Prefix, nil}},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, 200
	outcome.Change = audit.Change{"management_key_prefix": {account.Key.Prefix, nil}, "upstream_key_id": got[len(got)-1].Change["upstream_key_id"]}
	wantOperation(t, got, attempt, outcome)
	if left := s.account(account).OldKeys; len(left) != 0 {
		t.Errorf("still shown: %+v", left)
	}
	if _, err := s.svc.Create(t.Context(), by, newAccountOf(f, "Again")); err == nil || !strings.Contains(formReason(err), "refuses the key") {
		t.Errorf("the old key still opens the account: %v", err)
	}
	if err := s.svc.DeleteOldKey(t.Context(), by, account.ID, now.Key.ID, now.Key.Prefix); !errors.Is(err, ErrNotFound) {
		t.Errorf("the key in use: %v, want ErrNotFound", err)
	}
}

func TestTheKeyInUseIsNeverDeleted(t *testing.T) {
	up := func(keys ...string) (listed []cloudapi.ManagementKey) {
		for _, k := range keys {
			id, prefix, _ := strings.Cut(k, ":")
			listed = append(listed, cloudapi.ManagementKey{ID: id, Prefix: prefix})
		}
		return listed
	}
	for name, tt := range map[string]struct {
		listed     []cloudapi.ManagementKey
		old, inUse ManagementKey
		want       string
	}{
		"told by prefix":                  {up("1:aaaa1111", "2:bbbb2222"), ManagementKey{Prefix: "aaaa1111"}, ManagementKey{Prefix: "bbbb2222"}, "1"},
		"told by id":                      {up("1:aaaa", "2:aaaa"), ManagementKey{UpstreamID: "1"}, ManagementKey{UpstreamID: "2"}, "1"},
		"the same id":                     {up("1:aaaa"), ManagementKey{UpstreamID: "1"}, ManagementKey{UpstreamID: "1"}, ""},
		"only the one in use is listed":   {up("2:aaaa2222"), ManagementKey{Prefix: "aaaa"}, ManagementKey{Prefix: "aaaa2222"}, ""},
		"the one in use begins like it":   {up("1:aaaa1111"), ManagementKey{Prefix: "aaaa1111"}, ManagementKey{Prefix: "aaaa1111"}, ""},
		"the id in use under old letters": {up("2:aaaa1111"), ManagementKey{Prefix: "aaaa1111"}, ManagementKey{UpstreamID: "2"}, ""},
		"several":                         {up("1:aaaa1111", "3:aaaa1111"), ManagementKey{Prefix: "aaaa1111"}, ManagementKey{Prefix: "bbbb"}, ""},
		"none":                            {up("2:bbbb2222"), ManagementKey{Prefix: "aaaa1111"}, ManagementKey{Prefix: "bbbb2222"}, ""},
		"upstream tells three letters":    {up("1:aaa", "2:bbb"), ManagementKey{Prefix: "aaaa1111"}, ManagementKey{Prefix: "bbbb2222"}, ""},
	} {
		got, err := listedOldKey(tt.listed, tt.old, tt.inUse)
		if _, conflict := errors.AsType[*ConflictError](err); got.ID != tt.want || conflict == (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got.ID, err)
		}
	}
}

func TestALostDeletionOfAnOldKeyIsFound(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.session("admins")
	if _, err := s.svc.MintKey(t.Context(), by, account.ID, s.token(by, ActManagementKeyCreate)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind string
		want audit.Outcome
		left int
	}{{"close", audit.Failed, 1}, {"lost_answer", audit.OK, 0}} {
		s.fault(map[string]any{"operation": "DeleteManagementKey", "kind": tt.kind, "times": 1})
		before := len(s.eventsOf(ActManagementKeyDelete))
		if err := s.svc.DeleteOldKey(t.Context(), by, account.ID, account.Key.ID, account.Key.Prefix); err == nil {
			t.Fatalf("%s: no error", tt.kind)
		}
		s.works(account)
		events := s.eventsOf(ActManagementKeyDelete)[before:]
		if len(events) != 1 {
			t.Fatalf("%s: events %+v", tt.kind, events)
		}
		got := s.reconciled(s.replica(soon), events[0].Operation)
		if len(got) != 2 || got[1].Outcome != tt.want || !got[1].Inferred {
			t.Errorf("%s: %+v", tt.kind, got)
		}
		s.works(account)
		if old := s.account(account).OldKeys; len(old) != tt.left {
			t.Errorf("%s: old keys %+v", tt.kind, old)
		}
	}
}

func TestAnOldKeyIsDismissed(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	by := s.session("admins")
	if _, err := s.svc.ReplaceKey(t.Context(), by, account.ID, pasted(s.keyOf(account.CloudAccountID, nil), s.token(by, ActAccountKey))); err != nil {
		t.Fatal(err)
	}
	err := s.svc.DeleteOldKey(t.Context(), by, account.ID, account.Key.ID, account.Key.Prefix)
	if conflict, ok := errors.AsType[*ConflictError](err); !ok || !strings.Contains(conflict.Reason, "pa/v1") {
		t.Errorf("deleting over pa/v1: %v", err)
	}
	for range 2 {
		if err := s.svc.DismissOldKey(t.Context(), by, account.ID, account.Key.ID); err != nil {
			t.Fatal(err)
		}
	}
	got := s.eventsOf(ActManagementKeyDismiss)
	want := audit.Event{
		Act: "management_key.dismiss", Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Old"},
		Target: audit.Target{Kind: "management_key", ID: account.Key.ID.String(), Name: account.Key.Prefix}, Change: audit.Change{"management_key_prefix": {account.Key.Prefix, nil}},
	}
	if len(got) != 1 {
		t.Fatalf("events %+v", got)
	}
	if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if left := s.account(account).OldKeys; len(left) != 0 {
		t.Errorf("still shown: %+v", left)
	}
	if err := s.svc.DismissOldKey(t.Context(), by, account.ID, uuid.New()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key of no row: %v", err)
	}
}

// TestWhoMayNotChangeAccounts refuses every act on an account and its keys to those without the right,
// once in the log however often it is tried, and asks nothing of upstream.
func TestWhoMayNotChangeAccounts(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	legacy := s.register(s.legacy(), "Old")
	calls, _ := s.calls()
	for _, group := range []string{"viewers", "operators", "auditors"} {
		by := member(group)
		for act, do := range s.accountActs(account, legacy, by, by) {
			for range 2 {
				if _, forbidden := errors.AsType[*ForbiddenError](do(t.Context())); !forbidden {
					t.Errorf("%s as %s was not refused", act, group)
				}
			}
		}
		for _, act := range []Act{ActAccountEdit, ActAccountKey, ActAccountSwitch, ActManagementKeyCreate, ActManagementKeyDelete, ActManagementKeyDismiss} {
			n := 0
			for _, e := range s.eventsOf(act) {
				if e.Outcome == audit.Denied && e.Actor.Subject == by.Subject {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s as %s: %d refusals on record, want one", act.Name, group, n)
			}
		}
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("%d calls upstream", after-calls)
	}
}

// accountActs are the acts of this file and its neighbours, with tokens of owner's session.
func (s *stage) accountActs(account, legacy Account, by, owner audit.Actor) map[string]func(context.Context) error {
	token := func(act Act) string {
		if owner.Session == member("admins").Session {
			return "no-session"
		}
		return s.token(owner, act)
	}
	paste, mint := token(ActAccountKey), token(ActManagementKeyCreate)
	fresh := s.keyOf(account.CloudAccountID, nil)
	return map[string]func(context.Context) error{
		"edit": func(ctx context.Context) error {
			d := detailsOf(account)
			d.Note = "changed"
			return s.svc.EditAccount(ctx, by, account.ID, AccountEdit{account.Revision(), d})
		},
		"replace": func(ctx context.Context) error {
			_, err := s.svc.ReplaceKey(ctx, by, account.ID, pasted(fresh, paste))
			return err
		},
		"mint": func(ctx context.Context) error {
			_, err := s.svc.MintKey(ctx, by, account.ID, mint)
			return err
		},
		"delete the old": func(ctx context.Context) error {
			return s.svc.DeleteOldKey(ctx, by, account.ID, account.Key.ID, account.Key.Prefix)
		},
		"dismiss the old": func(ctx context.Context) error { return s.svc.DismissOldKey(ctx, by, account.ID, account.Key.ID) },
		"switch":          func(ctx context.Context) error { return s.svc.SwitchAccount(ctx, by, legacy.ID, AccountSwitch{}) },
		"preview": func(ctx context.Context) error {
			_, err := s.svc.PreviewSwitch(ctx, by, legacy.ID)
			return err
		},
	}
}

func TestNoAccountChangesWithoutItsEvent(t *testing.T) {
	s := newStage(t)
	by := s.session("admins")
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	if _, err := s.svc.MintKey(t.Context(), by, account.ID, s.token(by, ActManagementKeyCreate)); err != nil {
		t.Fatal(err)
	}
	acts := s.accountActs(account, legacy, by, by)
	delete(acts, "preview") // only reads
	before := s.ownRows()
	calls, _ := s.calls()
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	for name, do := range acts {
		if err := do(t.Context()); !errors.Is(err, ErrAuditUnavailable) {
			t.Errorf("%s: %v, want ErrAuditUnavailable", name, err)
		}
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	if after, _ := s.calls(); after != calls {
		t.Errorf("%d upstream calls were made", after-calls)
	}
	if after := s.ownRows(); after != before {
		t.Errorf("something changed:\n%s", cmp.Diff(before, after))
	}
	// Nothing was used up: the same forms do it once the log can be written again.
	for _, name := range []string{"edit", "replace", "switch"} {
		if err := acts[name](t.Context()); err != nil {
			t.Errorf("%s after it was mended: %v", name, err)
		}
	}
}
