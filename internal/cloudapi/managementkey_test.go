package cloudapi_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"quartermaster/internal/cloudapi"
)

// TestSandboxMintsManagementKeys makes a key as the console does and asks with it what the console asks
// of a key before it is used. The sandbox takes requests only as the published definition has them.
func TestSandboxMintsManagementKeys(t *testing.T) {
	w := newWorld(t)
	f := w.fixture(cloudapi.Current)
	api := cloudapi.NewCurrentAPI(w.connect(f))
	before := must(t, result(api.ManagementKeys(t.Context())))
	made, secret, err := api.CreateManagementKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if made.ID == "" || made.CreatedAt.IsZero() || !strings.HasPrefix(string(secret.Reveal()), made.Prefix) || len(made.Prefix) < 4 {
		t.Errorf("made %+v, a secret of %d bytes", made, len(secret.Reveal()))
	}
	f.ManagementKey = string(secret.Reveal())
	fresh := cloudapi.NewCurrentAPI(w.connect(f))
	if accounts := must(t, result(fresh.Accounts(t.Context()))); len(accounts) != 1 || accounts[0].ID != f.CloudAccountID {
		t.Errorf("the new key opens %+v", accounts)
	}
	if old, now := must(t, result(api.Permissions(t.Context()))), must(t, result(fresh.Permissions(t.Context()))); len(old) == 0 || len(now) != len(old) {
		t.Errorf("the new key may do %v, the old one %v", now, old)
	}
	if err := fresh.DeleteManagementKey(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if after := must(t, result(api.ManagementKeys(t.Context()))); len(after) != len(before) {
		t.Errorf("%d keys afterwards, %d before", len(after), len(before))
	}

	w.control("/_sandbox/faults", `{"operation":"CreateManagementKey","kind":"lost_answer","times":1}`)
	if _, _, err := api.CreateManagementKey(t.Context()); !upstreamError(t, err).OutcomeUnknown {
		t.Errorf("a lost answer: %v", err)
	}
	if after := must(t, result(api.ManagementKeys(t.Context()))); len(after) != len(before)+1 {
		t.Errorf("a lost answer left %d keys, %d before: it must be asked for once", len(after), len(before))
	}
	_, _, err = cloudapi.NewLegacyAPI(w.connect(w.fixture(cloudapi.PAV1))).CreateManagementKey(t.Context())
	if _, lacks := errors.AsType[*cloudapi.UnsupportedError](err); !lacks {
		t.Errorf("pa/v1: %v", err)
	}
}

// TestAMintedKeyThatMakesNoSense proves that an answer that cannot be used is an error which may have
// made something, and that no error shows the secret.
func TestAMintedKeyThatMakesNoSense(t *testing.T) {
	const account = "11111111-2222-4333-8444-555555555555"
	key := func(members string) string { return `{"managementKey":{` + members + `}}` }
	for name, tt := range map[string]struct {
		body string
		ok   bool
	}{
		"as documented":      {key(`"id":"k1","accountId":"` + account + `","prefix":"cana","key":"canary-secret"`), true},
		"snake case":         {`{"management_key":{"id":"k1","account_id":"` + account + `","prefix":"cana","key":"canary-secret"}}`, true},
		"no secret":          {key(`"id":"k1","prefix":"cana"`), false},
		"an empty secret":    {key(`"id":"k1","key":""`), false},
		"a secret of lines":  {key(`"id":"k1","key":"canary\nsecret"`), false},
		"a secret in object": {key(`"id":"k1","key":{"value":"canary-secret"}`), false},
		"no id":              {key(`"key":"canary-secret"`), false},
		"another account":    {key(`"id":"k1","accountId":"99999999-2222-4333-8444-555555555555","key":"canary-secret"`), false},
		"nothing":            {`{}`, false},
		"no JSON":            {`<html>canary-secret</html>`, false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				if sent, err := io.ReadAll(r.Body); err != nil || string(sent) != `{"managementKey":{}}` {
					t.Errorf("sent %s, %v", sent, err)
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, tt.body) //nolint:errcheck // the client has gone
			}))
			defer server.Close()
			base, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			client, err := cloudapi.New(cloudapi.Config{CurrentURL: base, PAURL: base})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			conn := client.Connect(cloudapi.ConnConfig{Generation: cloudapi.Current, CloudAccountID: account, Key: cloudapi.NewSecret([]byte("in-use-key"))})
			made, secret, err := cloudapi.NewCurrentAPI(conn).CreateManagementKey(t.Context())
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
			if tt.ok {
				if err != nil || made.ID != "k1" || string(secret.Reveal()) != "canary-secret" {
					t.Errorf("made %+v, %v", made, err)
				}
				return
			}
			if e := upstreamError(t, err); e.Kind != cloudapi.Malformed || e.Status != http.StatusOK || strings.Contains(err.Error(), "canary") {
				t.Errorf("err = %v", err)
			}
			if !secret.IsZero() {
				t.Error("a secret came with an error")
			}
		})
	}
}
