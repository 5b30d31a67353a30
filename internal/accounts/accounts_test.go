package accounts

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

func TestCreateStoresAndRecords(t *testing.T) {
	s := newStage(t)
	by, f := member("admins"), s.current()
	account, err := s.svc.Create(t.Context(), by, NewAccount{
		Generation: cloudapi.Current, Key: cloudapi.NewSecret([]byte(" " + f.ManagementKey + "\n")), Name: " Search ", Environment: Production,
		Owner: "Team Search", Note: "Line one\r\nLine two", RotateBy: s.clock.at.AddDate(0, 3, 0).Format(time.DateOnly),
	})
	if err != nil {
		t.Fatal(err)
	}
	if account.Name != "Search" || account.CloudAccountID != f.CloudAccountID || account.UpstreamName == "" || account.Note != "Line one\nLine two" ||
		account.Key.Prefix != f.ManagementKey[:8] || account.Key.Provenance != "pasted" || len(account.Key.Permissions) < 10 || account.Key.ProbedAt == nil {
		t.Errorf("account %+v", account)
	}
	detail, err := s.svc.Account(t.Context(), by, account.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(account.Key.Permissions, detail.Key.Permissions); diff != "" || detail.RotateBy == nil || !detail.RotateBy.Equal(*account.RotateBy) || !detail.Enabled {
		t.Errorf("read back %+v\n%s", detail.Account, diff)
	}
	if detail.Legacy || len(detail.NotAble) != 0 {
		t.Errorf("legacy %v, not able %v", detail.Legacy, detail.NotAble)
	}

	attempt := audit.Event{
		Act: "account.create", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target: audit.Target{Kind: "account", ID: account.ID.String(), Name: "Search"},
		Change: audit.Change{
			"generation": {nil, "current"}, "name": {nil, "Search"}, "environment": {nil, "production"}, "owner": {nil, "Team Search"},
			"note": {nil, `Line one\u000aLine two`}, "rotate_by": {nil, account.RotateBy.Format(time.DateOnly)}, "enabled": {nil, true},
			"management_key": {"[changed]", "[changed]"}, "management_key_id": {nil, account.Key.ID.String()},
			"management_key_prefix": {nil, account.Key.Prefix}, "management_key_provenance": {nil, "pasted"},
		},
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome = audit.PhaseOutcome, audit.OK
	outcome.Upstream = audit.Upstream{RPC: cloudapi.OpListEffectivePermissions.RPC, Status: 200}
	outcome.Change = audit.Change{"cloud_account_id": {nil, f.CloudAccountID}, "upstream_name": {nil, account.UpstreamName}, "owner_email": {nil, account.OwnerEmail}}
	for name, values := range attempt.Change {
		outcome.Change[name] = values
	}
	permissions := make([]any, len(account.Key.Permissions))
	for i, p := range account.Key.Permissions {
		permissions[i] = p
	}
	outcome.Change["management_key_permissions"] = [2]any{nil, permissions}
	if account.OwnerEmail == "" {
		delete(outcome.Change, "owner_email")
	}
	wantOperation(t, s.eventsOf(ActAccountCreate), attempt, outcome)
}

func TestDisableEnableAndRemoveAreRecorded(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("admins")
	event := func(act string, change audit.Change) audit.Event {
		return audit.Event{
			Act: act, Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
			Target: audit.Target{Kind: "account", ID: account.ID.String(), Name: "Search"}, Change: change,
		}
	}
	one := func(act Act, want audit.Event) {
		t.Helper()
		got := s.eventsOf(act)
		if len(got) != 1 {
			t.Fatalf("%s: %d events, want one", act.Name, len(got))
		}
		if diff := cmp.Diff(want, got[0], plainEvent()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", act.Name, diff)
		}
	}
	for range 2 { // the second time nothing changes and nothing is recorded
		if err := s.svc.Disable(t.Context(), by, account.ID); err != nil {
			t.Fatal(err)
		}
	}
	one(ActAccountDisable, event("account.disable", audit.Change{"enabled": {true, false}}))
	if _, err := s.svc.connect(t.Context(), account.ID, ""); err == nil {
		t.Error("a disabled account's key is still used")
	}
	for range 2 {
		if err := s.svc.Enable(t.Context(), by, account.ID); err != nil {
			t.Fatal(err)
		}
	}
	one(ActAccountEnable, event("account.enable", audit.Change{"enabled": {false, true}}))

	for _, confirm := range []string{"", "search", "Search "} {
		if _, invalid := errors.AsType[*InvalidError](s.svc.Remove(t.Context(), by, account.ID, AccountRemoval{Confirm: confirm})); !invalid {
			t.Errorf("removed with the name typed as %q", confirm)
		}
	}
	if err := s.svc.Remove(t.Context(), by, account.ID, AccountRemoval{Confirm: "Search"}); err != nil {
		t.Fatal(err)
	}
	gone := s.eventsOf(ActAccountDelete)
	if len(gone) != 1 || gone[0].Change["name"] != [2]any{"Search", nil} || gone[0].Change["management_key"] != [2]any{"[changed]", "[changed]"} ||
		gone[0].Change["cloud_account_id"] != [2]any{account.CloudAccountID, nil} {
		t.Errorf("account.delete: %+v", gone)
	}
	gone[0].Change = nil
	if diff := cmp.Diff(event("account.delete", nil), gone[0], plainEvent()); diff != "" {
		t.Errorf("account.delete (-want +got)\n%s", diff)
	}
	for _, table := range []string{"accounts", "management_keys", "clusters", "refresh"} {
		var n int
		if err := s.db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows left in %s (%v)", n, table, err)
		}
	}
	if err := s.svc.Disable(t.Context(), by, account.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("disable after removal: %v", err)
	}
	// The key stays valid upstream, so the account can be registered again.
	again := s.register(s.current(), "Zo\u00eb")
	if err := s.svc.Remove(t.Context(), by, again.ID, AccountRemoval{Confirm: "Zoe\u0308"}); err != nil {
		t.Errorf("the same name typed on another keyboard: %v", err)
	}
}

func TestRemoveWithTheKeyDeletesItUpstreamFirst(t *testing.T) {
	s := newStage(t)
	f := s.current()
	account := s.register(f, "Search")
	by := member("admins")
	remove := AccountRemoval{Confirm: "Search", DeleteKeyUpstream: true}

	s.fault(map[string]any{"operation": "DeleteManagementKey", "kind": "status", "status": 500, "times": 1})
	if err := s.svc.Remove(t.Context(), by, account.ID, remove); err == nil {
		t.Fatal("removed although the key was not deleted")
	}
	if _, err := s.svc.Account(t.Context(), by, account.ID); err != nil {
		t.Errorf("the account is gone although its key is not: %v", err)
	}
	if err := s.svc.Remove(t.Context(), by, account.ID, remove); err != nil {
		t.Fatal(err)
	}
	got := s.eventsOf(ActManagementKeyDelete)
	if len(got) != 4 || got[1].Outcome != audit.Failed || got[1].Upstream.Status != 500 {
		t.Fatalf("events %+v", got)
	}
	want := audit.Event{
		Act: "management_key.delete", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "management_key", ID: account.Key.ID.String(), Name: account.Key.Prefix},
		Upstream: audit.Upstream{RPC: cloudapi.OpDeleteManagementKey.RPC, KeyID: account.Key.ID.String()},
		Change:   audit.Change{"management_key_prefix": {account.Key.Prefix, nil}},
	}
	outcome := want
	outcome.Phase, outcome.Outcome, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, 200
	outcome.Change = audit.Change{"management_key_prefix": {account.Key.Prefix, nil}, "upstream_key_id": got[3].Change["upstream_key_id"]}
	wantOperation(t, got[2:], want, outcome)
	if outcome.Change["upstream_key_id"][0] == nil {
		t.Error("the outcome does not say which key was deleted")
	}
	if len(s.eventsOf(ActAccountDelete)) != 1 {
		t.Error("account.delete is not recorded")
	}
	if _, err := s.svc.Create(t.Context(), by, newAccountOf(f, "Again")); err == nil {
		t.Error("the key still works upstream")
	}
}

func TestOwnKeyIsCertainOrNothing(t *testing.T) {
	key := func(prefixes ...string) (keys []cloudapi.ManagementKey) {
		for _, p := range prefixes {
			keys = append(keys, cloudapi.ManagementKey{ID: "id-" + p, Prefix: p})
		}
		return keys
	}
	for name, tt := range map[string]struct {
		keys []cloudapi.ManagementKey
		want string
	}{
		"longer upstream":  {key("abcd1234ffff", "bbbb"), "id-abcd1234ffff"},
		"shorter upstream": {key("abcd", "bbbb"), "id-abcd"},
		"the same":         {key("abcd1234"), "id-abcd1234"},
		"none":             {key("bbbb1234"), ""},
		"no keys":          {nil, ""},
		"ambiguous":        {key("abcd", "abcd12"), ""},
		"empty prefix":     {key(""), ""},
		"too short":        {key("abc"), ""},
	} {
		got, err := listedKey(tt.keys, ManagementKey{Prefix: "abcd1234"}, "")
		if got.ID != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got.ID, err)
		}
	}
	if got, err := listedKey(key("abcd"), ManagementKey{}, ""); err == nil {
		t.Errorf("an empty prefix finds %v", got)
	}
}

func TestABadFormIsToldWholeAndNothingIsSent(t *testing.T) {
	s := newStage(t)
	good := newAccountOf(s.current(), "Search")
	long := strings.Repeat("x", 2001)
	for name, tt := range map[string]struct {
		change func(*NewAccount)
		fields []string
	}{
		"nothing at all": {func(n *NewAccount) { *n = NewAccount{} }, []string{"environment", "generation", "management_key"}},
		"everything wrong": {func(n *NewAccount) {
			*n = NewAccount{Generation: cloudapi.PAV1, CloudAccountID: "x", Name: "", Environment: "prod", Owner: long, Note: "a\x00", RotateBy: "tomorrow", Key: cloudapi.NewSecret([]byte("short"))}
		}, []string{"cloud_account_id", "environment", "management_key", "name", "note", "owner", "rotate_by"}},
		"unknown generation":    {func(n *NewAccount) { n.Generation = "v3" }, []string{"generation"}},
		"environment by case":   {func(n *NewAccount) { n.Environment = "Production" }, []string{"environment"}},
		"long name":             {func(n *NewAccount) { n.Name = strings.Repeat("é", 65) }, []string{"name"}},
		"name in two lines":     {func(n *NewAccount) { n.Name = "a\nb" }, []string{"name"}},
		"blank name":            {func(n *NewAccount) { n.Name = "\u3164" }, []string{"name"}},
		"name like another":     {func(n *NewAccount) { n.Name = "Search\ufe0f" }, []string{"name"}},
		"name that turns round": {func(n *NewAccount) { n.Name = "a\u202eb" }, []string{"name"}},
		"name that is no text":  {func(n *NewAccount) { n.Name = "a\xffb" }, []string{"name"}},
		"rotate by today":       {func(n *NewAccount) { n.RotateBy = s.clock.at.Format(time.DateOnly) }, []string{"rotate_by"}},
		"rotate by no day":      {func(n *NewAccount) { n.RotateBy = "2027-02-30" }, []string{"rotate_by"}},
		"rotate in a long time": {func(n *NewAccount) { n.RotateBy = "9999-12-31" }, []string{"rotate_by"}},
		"key with a space":      {func(n *NewAccount) { n.Key = cloudapi.NewSecret([]byte("abcdefgh ijklmnop")) }, []string{"management_key"}},
		"key with a line break": {func(n *NewAccount) { n.Key = cloudapi.NewSecret([]byte("abcdefgh\r\nX-Header: y")) }, []string{"management_key"}},
		"key without ASCII":     {func(n *NewAccount) { n.Key = cloudapi.NewSecret([]byte("abcdefghé")) }, []string{"management_key"}},
		"huge key":              {func(n *NewAccount) { n.Key = cloudapi.NewSecret([]byte(strings.Repeat("k", 5000))) }, []string{"management_key"}},
		"pa/v1 id in braces": {func(n *NewAccount) {
			n.Generation, n.CloudAccountID = cloudapi.PAV1, "{11111111-2222-4333-8444-555555555555}"
		}, []string{"cloud_account_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := good
			tt.change(&n)
			_, err := s.svc.Create(t.Context(), member("admins"), n)
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok {
				t.Fatalf("err = %v", err)
			}
			want := map[string]bool{}
			for _, f := range tt.fields {
				want[f] = true
			}
			for field := range invalid.Fields {
				if !want[field] {
					t.Errorf("also complains of %s: %s", field, invalid.Fields[field])
				}
				delete(want, field)
			}
			if len(want) > 0 {
				t.Errorf("does not complain of %v: %v", want, invalid.Fields)
			}
		})
	}
	if calls, _ := s.calls(); calls != 0 || len(s.events()) != 0 {
		t.Errorf("%d upstream calls, %d events", calls, len(s.events()))
	}
}

func TestAKeyThatIsNotTakenIsRecordedWithoutIt(t *testing.T) {
	s := newStage(t)
	f := s.current()
	var weak struct {
		ManagementKey string `json:"management_key"`
	}
	s.ask(http.MethodPost, "keys", map[string]any{"account": f.CloudAccountID, "permissions": []string{"write:clusters"}}, &weak)
	key := func(k string) func(*NewAccount) {
		return func(n *NewAccount) { n.Key = cloudapi.NewSecret([]byte(k)) }
	}
	for name, tt := range map[string]struct {
		of     sandbox.Fixture
		change func(*NewAccount)
		field  string
		words  string
	}{
		"wrong key":          {f, key("canary-wrong-key-0123456789"), "management_key", "Qdrant Cloud refuses the key: "},
		"no read:clusters":   {f, key(weak.ManagementKey), "management_key", "lacks read:clusters"},
		"another account":    {f, func(n *NewAccount) { n.CloudAccountID = uuid.NewString() }, "cloud_account_id", "does not open"},
		"pa/v1, wrong key":   {s.legacy(), key("canary-wrong-key-0123456789"), "management_key", "refuses the key"},
		"pa/v1, another one": {s.legacy(), func(n *NewAccount) { n.CloudAccountID = f.CloudAccountID }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.eventsOf(ActAccountCreate))
			n := newAccountOf(tt.of, "Search")
			tt.change(&n)
			_, err := s.svc.Create(t.Context(), member("admins"), n)
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok || tt.field != "" && !strings.Contains(invalid.Fields[tt.field], tt.words) {
				t.Fatalf("err = %v, fields %v", err, invalid)
			}
			got := s.eventsOf(ActAccountCreate)[before:]
			if len(got) != 2 || got[1].Outcome != audit.Failed || got[1].Reason == "" || got[1].Upstream.RPC == "" {
				t.Errorf("events %+v", got)
			}
		})
	}
	var n int
	if err := s.db.Pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM management_keys)`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows were stored (%v)", n, err)
	}
	if dump := s.dump(); strings.Contains(dump, "canary-wrong-key") || strings.Contains(dump, weak.ManagementKey) {
		t.Error("a refused key was kept")
	}
}

func TestAnUpstreamThatFailsIsNoFaultOfTheForm(t *testing.T) {
	s := newStage(t)
	s.fault(map[string]any{"kind": "status", "status": 503})
	_, err := s.svc.Create(t.Context(), member("admins"), newAccountOf(s.current(), "Search"))
	if e, ok := cloudapi.AsError(err); !ok || e.Kind != cloudapi.Unavailable {
		t.Errorf("err = %v", err)
	}
	if got := s.eventsOf(ActAccountCreate); len(got) != 2 || got[1].Outcome != audit.Failed || got[1].Upstream.Status != 503 {
		t.Errorf("events %+v", got)
	}
}

func TestAnAccountIsRegisteredOnce(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("admins")
	reason := func(n NewAccount) (string, string) {
		t.Helper()
		_, err := s.svc.Create(t.Context(), by, n)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || len(invalid.Fields) != 1 {
			t.Fatalf("err = %v", err)
		}
		for field, words := range invalid.Fields {
			return field, words
		}
		return "", ""
	}
	if field, words := reason(newAccountOf(s.current(), "Twice")); field != "management_key" || !strings.Contains(words, "as Search") {
		t.Errorf("the same account: %s: %s", field, words)
	}
	// A key opens its account over both generations; it is one account all the same.
	other := newAccountOf(s.current(), "Twice")
	other.Generation, other.CloudAccountID = cloudapi.PAV1, strings.ToUpper(other.CloudAccountID)
	if field, words := reason(other); field != "cloud_account_id" || !strings.Contains(words, "as Search") {
		t.Errorf("over pa/v1: %s: %s", field, words)
	}
	if field, _ := reason(newAccountOf(s.legacy(), "SEARCH")); field != "name" {
		t.Errorf("the same name in other letters: %s", field)
	}
	for _, e := range s.eventsOf(ActAccountCreate)[2:] {
		if e.Phase == audit.PhaseOutcome && (e.Outcome != audit.Failed || e.Reason == "") {
			t.Errorf("outcome %s: %s", e.Outcome, e.Reason)
		}
	}

	spare := s.fixture(func(f sandbox.Fixture) bool { return f.Spare })
	var group sync.WaitGroup
	made := make(chan Account, 8)
	for range 8 {
		group.Go(func() {
			if a, err := s.svc.Create(t.Context(), by, newAccountOf(spare, "Spare")); err == nil {
				made <- a
			}
		})
	}
	group.Wait()
	if len(made) != 1 {
		t.Errorf("%d of 8 at once were stored, want one", len(made))
	}
	list, err := s.svc.List(t.Context(), by)
	if err != nil || len(list) != 2 || list[0].ID != account.ID {
		t.Errorf("list %v, %v", list, err)
	}
}

func TestAKeyOfSeveralAccountsAsksWhich(t *testing.T) {
	ids := []string{uuid.NewString(), uuid.NewString()}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var body any = map[string]any{"permissions": []map[string]string{{"value": "read:clusters"}}}
		if r.URL.Path == "/api/account/v1/accounts" {
			body = map[string]any{"items": []map[string]string{{"id": ids[0], "name": "One"}, {"id": ids[1], "name": "Two\u0007 "}}}
		}
		json.NewEncoder(w).Encode(body) //nolint:errcheck // the client has gone
	}))
	t.Cleanup(upstream.Close)
	s := newStage(t)
	address, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.upstream = address
	svc := s.replica(nil)
	n := NewAccount{Generation: cloudapi.Current, Key: cloudapi.NewSecret([]byte("canary-key-of-two-accounts")), Environment: Other}
	_, err = svc.Create(t.Context(), member("admins"), n)
	choose, ok := errors.AsType[*ChooseAccountError](err)
	if !ok {
		t.Fatalf("err = %v", err)
	}
	// The client writes out what does not print, so that no name hides anything.
	if diff := cmp.Diff([]CloudAccount{{ids[0], "One"}, {ids[1], `Two\u0007`}}, choose.Accounts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	n.CloudAccountID = ids[1]
	account, err := svc.Create(t.Context(), member("admins"), n)
	if err != nil || account.CloudAccountID != ids[1] || account.Name != `Two\u0007` {
		t.Errorf("%+v, %v", account, err)
	}
}

func TestAFormPostedAgainMakesNothing(t *testing.T) {
	s := newStage(t)
	token, err := s.svc.SignIn(t.Context(), member(""), Identity{Issuer: "https://id.example.test", Subject: "a", Name: "Ada", Groups: []string{"admins"}})
	if err != nil {
		t.Fatal(err)
	}
	_, by, err := s.svc.Authenticate(t.Context(), member(""), token)
	if err != nil {
		t.Fatal(err)
	}
	n := newAccountOf(s.current(), "Search")
	if n.FormToken, err = s.svc.FormToken(t.Context(), by, "account.create"); err != nil {
		t.Fatal(err)
	}
	first, err := s.svc.Create(t.Context(), by, n)
	if err != nil {
		t.Fatal(err)
	}
	calls, _ := s.calls()
	events := len(s.events())
	second, err := s.svc.Create(t.Context(), by, n)
	if err != nil || second.ID != first.ID {
		t.Errorf("second post: %s, %v; want %s", second.ID, err, first.ID)
	}
	if after, _ := s.calls(); after != calls || len(s.events()) != events {
		t.Errorf("the second post made %d calls and %d events", after-calls, len(s.events())-events)
	}
	if n.FormToken, err = s.svc.FormToken(t.Context(), by, "cluster.delete"); err != nil {
		t.Fatal(err)
	}
	if _, invalid := errors.AsType[*InvalidError](func() error { _, err := s.svc.Create(t.Context(), by, n); return err }()); !invalid {
		t.Error("a token of another form was taken")
	}

	// Two posts of one form at once: one account, and both are led to it.
	spare := newAccountOf(s.fixture(func(f sandbox.Fixture) bool { return f.Spare }), "Spare")
	if spare.FormToken, err = s.svc.FormToken(t.Context(), by, "account.create"); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	ids := make([]uuid.UUID, 4)
	for i := range ids {
		group.Go(func() {
			a, err := s.svc.Create(t.Context(), by, spare)
			if err != nil {
				t.Error(err)
			}
			ids[i] = a.ID
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] || id == uuid.Nil {
			t.Errorf("the posts made %v", ids)
		}
	}
	open, err := s.log.OpenOperations(t.Context(), -time.Hour, 0)
	if err != nil || len(open) != 0 {
		t.Errorf("%d operations are left open, %v", len(open), err)
	}
}

func TestTheKeyIsNowhereInTheClear(t *testing.T) {
	s := newStage(t)
	f, old := s.current(), s.legacy()
	account := s.register(f, "Search")
	s.register(old, "Old")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	by := member("operators")
	s.fault(map[string]any{"operation": "RestartCluster", "kind": "status", "status": 500, "times": 1})
	failed := s.svc.RestartCluster(t.Context(), by, ref)
	if failed == nil {
		t.Fatal("the fault did nothing")
	}
	if err := s.svc.RestartCluster(t.Context(), by, ref); err != nil {
		t.Fatal(err)
	}
	again, err := s.svc.Create(t.Context(), member("admins"), newAccountOf(f, "Twice"))
	if err == nil {
		t.Fatalf("registered twice: %v", again)
	}
	if err := s.svc.Remove(t.Context(), member("admins"), account.ID, AccountRemoval{Confirm: "Search"}); err != nil {
		t.Fatal(err)
	}
	all := s.dump() + failed.Error() + err.Error()
	for _, key := range []string{f.ManagementKey, old.ManagementKey} {
		for _, form := range []string{key, key[len(key)-20:], hex.EncodeToString([]byte(key)), hex.EncodeToString([]byte(key[9:29])), base64.StdEncoding.EncodeToString([]byte(key))[:40]} {
			if strings.Contains(all, form) {
				t.Errorf("the key is found as %.12s...", form)
			}
		}
	}
	if !strings.Contains(all, old.ManagementKey[:8]) {
		t.Error("the dump does not hold the rows it is meant to search")
	}
}

func TestASealedKeyMovedToAnotherAccountDoesNotOpen(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.register(s.legacy(), "Old")
	s.exec(s.db.OwnerURL, `UPDATE management_keys SET sealed = (SELECT sealed FROM management_keys WHERE account_id <> $1) WHERE account_id = $1`, account.ID)
	calls, _ := s.calls()
	err := s.svc.RestartCluster(t.Context(), member("operators"), s.inPhase(account.ID, cloudapi.PhaseHealthy))
	if err == nil {
		t.Error("another account's key was used")
	}
	if after, _ := s.calls(); after != calls {
		t.Error("upstream was called")
	}
	if got := s.eventsOf(ActClusterRestart); len(got) != 2 || got[1].Outcome != audit.Failed {
		t.Errorf("events %+v", got)
	}
}

func TestOffersSayWhy(t *testing.T) {
	s := newStage(t)
	account, old := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	offers := func(by audit.Actor, id uuid.UUID) map[string]Offer {
		t.Helper()
		detail, err := s.svc.Account(t.Context(), by, id)
		if err != nil {
			t.Fatal(err)
		}
		return detail.Offers
	}
	want := func(o Offer, words string) {
		t.Helper()
		if o.Offered != (words == "") || !strings.Contains(o.Reason, words) || o.Act == "" {
			t.Errorf("%+v, want reason with %q", o, words)
		}
	}
	admin := offers(member("admins"), account.ID)
	want(admin["account.disable"], "")
	want(admin["account.enable"], "enabled already")
	want(admin["account.delete"], "")
	want(admin["management_key.delete"], "")
	for _, o := range offers(member("viewers"), account.ID) {
		if o.Act == ActClusterCreate.Name {
			want(o, "You need write:clusters")
		} else {
			want(o, "You need accounts:manage")
		}
	}
	want(offers(member("admins"), old.ID)["management_key.delete"], "legacy pa/v1")
	if err := s.svc.Disable(t.Context(), member("admins"), account.ID); err != nil {
		t.Fatal(err)
	}
	admin = offers(member("admins"), account.ID)
	want(admin["account.disable"], "disabled already")
	want(admin["account.enable"], "")
	want(admin["management_key.delete"], "disabled")
}

func TestPermissionsOfAKeyAreReadAgain(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.exec(s.db.AppURL, `UPDATE management_keys SET permissions = '{}'`)
	read := func() int {
		t.Helper()
		up, err := s.svc.connect(t.Context(), account.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		s.svc.probeAgain(t.Context(), up)
		a, err := accountByID(t.Context(), s.db.Pool, account.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		return len(a.Key.Permissions)
	}
	if n := read(); n != 0 {
		t.Errorf("read too soon: %d permissions", n)
	}
	s.clock.at = s.clock.at.Add(probeEvery + time.Second)
	if n := read(); n < 10 {
		t.Errorf("%d permissions after the time was over", n)
	}
	calls, _ := s.calls()
	read()
	if after, _ := s.calls(); after != calls {
		t.Error("read again at once")
	}
}

func TestAccountsOfAScope(t *testing.T) {
	s := newStage(t)
	a, b := s.register(s.current(), "A"), s.register(s.legacy(), "B")
	s.exec(s.db.OwnerURL, `UPDATE accounts SET environment = 'production' WHERE id = $1`, b.ID)
	for name, tt := range map[string]struct {
		scope access.Scope
		want  []string
	}{
		"everything":   {access.Scope{Everything: true}, []string{"A", "B"}},
		"nothing":      {access.Scope{}, nil},
		"environment":  {access.Scope{Environments: []string{"production"}}, []string{"B"}},
		"account":      {access.Scope{Accounts: []uuid.UUID{a.ID}}, []string{"A"}},
		"both":         {access.Scope{Accounts: []uuid.UUID{a.ID}, Environments: []string{"production"}}, []string{"A", "B"}},
		"only cluster": {access.Scope{Clusters: []access.ClusterRef{{AccountID: a.ID, ClusterID: "c"}}}, nil},
	} {
		found, err := s.svc.accountsIn(context.Background(), tt.scope)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range found {
			names = append(names, f.Name)
		}
		if diff := cmp.Diff(tt.want, names); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
