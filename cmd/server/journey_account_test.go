package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// ownKey makes a management key at the Cloud API that a journey pastes. It must be found nowhere.
func (st *stage) ownKey(t *testing.T, cloudAccount string) string {
	t.Helper()
	key := st.mint(t, cloudAccount)
	st.sessions.mu.Lock()
	defer st.sessions.mu.Unlock()
	st.pasted = append(st.pasted, key)
	return key
}

// accountGetsBetter is what an administrator does with an account of the old API: describes it, gives it
// another key, moves it to the current API, and has a key made that nobody sees.
func accountGetsBetter(t *testing.T, st *stage, scripts bool) {
	st.spare.Lock()
	defer st.spare.Unlock()
	s, finish := openBrowser(t, st.about.URL, scripts)
	s.signIn(admin, "clusters-index")
	account := s.addsLegacyAccount(st)
	s.editsAccount(account)
	s.replacesKey(st, account)
	s.movesAccount(st, account)
	s.mintsKey(st, account)
	s.open(account+"/delete", "account-delete")
	s.do(chromedp.Click(chromedp.CSS(`input[name="delete_key"][value="yes"]`)), chromedp.SendKeys(chromedp.CSS("#f-confirm"), "Attic"))
	s.click(`form[action="`+account+`/delete"] button[type="submit"]`, "accounts-index")
	s.signOut()
	finish()
	id := strings.TrimPrefix(account, "/accounts/")
	for act, want := range map[string]int{"account.edit": 2, "account.key": 3, "account.switch": 2, "management_key.create": 2, "management_key.delete": 4, "management_key.dismiss": 1} {
		if got := st.events(t, `act = $1 AND account_id = $2`, act, id); got != want {
			t.Errorf("%d events of %s, want %d", got, act, want)
		}
	}
	if got := st.events(t, `account_id = $1 AND phase IN ('outcome', 'single') AND outcome <> 'ok'`, id); got != 0 {
		t.Errorf("%d acts are on record as not done", got)
	}
}

// addsLegacyAccount registers the spare account through pa/v1 and returns the path of its page.
func (s *surfer) addsLegacyAccount(st *stage) string {
	s.t.Helper()
	s.open("/accounts/new", "account-new")
	s.do(
		chromedp.Click(chromedp.CSS(`input[name="generation"][value="pa-v1"]`)),
		chromedp.SendKeys(chromedp.CSS("#f-management_key"), st.about.Spare.ManagementKey),
		chromedp.SendKeys(chromedp.CSS("#f-cloud_account_id"), st.about.Spare.CloudAccountID),
		chromedp.SendKeys(chromedp.CSS("#f-name"), "Cellar"),
		chromedp.Click(chromedp.CSS(`input[name="environment"][value="other"]`)),
	)
	s.click(`form[action="/accounts"] button[type="submit"]`, "account-show")
	s.says("announced the end of this API for 2025-11-01", "Move this account to the current API", "Pasted by Ada Admin", "has no restart")
	account := mustURL(ask[string](s, "location.href")).Path
	waitUntil(s.t, "the account's clusters are known", func() bool {
		s.open(account, "account-show")
		return ask[int](s, `document.querySelectorAll('[data-testid="account-cluster"]').length`) > 0
	})
	cluster := ask[string](s, `document.querySelector('[data-testid="account-cluster"] a').getAttribute("href")`)
	s.open(cluster, "cluster-show")
	s.says("announced the end of this API for 2025-11-01", "Move this account to the current API")
	s.open(account, "account-show")
	return account
}

// fill puts a value into a field in place of what is there, with scripts on or off.
func (s *surfer) fill(field, value string) {
	s.t.Helper()
	ask[string](s, fmt.Sprintf(`document.querySelector("#f-%s").value = %q`, field, value))
}

// editsAccount renames the account, and goes on where somebody else has changed it meanwhile.
func (s *surfer) editsAccount(account string) {
	s.t.Helper()
	s.link(account+"/edit", "account-edit")
	s.fill("name", "")
	s.do(chromedp.Click(chromedp.CSS(`form[action="` + account + `/edit"] button[type="submit"]`)))
	s.until(`!!document.querySelector("#f-name-error")`)
	stale := ask[string](s, `document.querySelector('input[name="revision"]').value`)
	s.fill("name", "Attic")
	s.fill("owner", "Platform")
	s.click(`form[action="`+account+`/edit"] button[type="submit"]`, "account-show")
	s.says("Attic", "Platform", "Account changed.")

	s.link(account+"/edit", "account-edit")
	s.fill("note", "mine")
	s.fill("owner", "Team Search")
	ask[string](s, `document.querySelector('input[name="revision"]').value = "`+stale+`"`)
	s.do(chromedp.Click(chromedp.CSS(`form[action="` + account + `/edit"] button[type="submit"]`)))
	s.until(`!!document.querySelector('[data-testid="both-sides"]')`)
	s.says("Somebody changed the account", "Platform", "Team Search", "mine")
	s.click(`form[action="`+account+`/edit"] button[type="submit"]`, "account-show")
	s.says("Team Search", "mine")
}

// replacesKey pastes another key. The old one cannot be deleted through pa/v1, so it is dismissed.
func (s *surfer) replacesKey(st *stage, account string) {
	s.t.Helper()
	key := st.ownKey(s.t, st.about.Spare.CloudAccountID)
	s.link(account+"/key", "account-key")
	s.do(chromedp.SendKeys(chromedp.CSS("#f-management_key"), st.about.Spare.ManagementKey), chromedp.Click(chromedp.CSS(`form[action="`+account+`/key"] button[type="submit"]`)))
	s.until(`!!document.querySelector("#f-management_key-error")`)
	s.says("This is the key in use.")
	if typed := ask[string](s, `document.querySelector("#f-management_key").value`); typed != "" {
		s.t.Errorf("the page has sent the key back: %d characters", len(typed))
	}
	s.do(chromedp.SendKeys(chromedp.CSS("#f-management_key"), key))
	s.click(`form[action="`+account+`/key"] button[type="submit"]`, "account-old-key")
	s.says("The account works with its new key", "cannot delete a management key")
	s.click(`form[action$="/dismiss"] button`, "account-show")
	s.says(key[:8])
	s.do(chromedp.NavigateBack(), chromedp.WaitVisible(chromedp.CSS("body#error"))) // the old key is not known any more
	s.open(account, "account-show")
	if strings.Contains(ask[string](s, "document.documentElement.outerHTML"), key) {
		s.t.Error("the account's page holds the key")
	}
}

// movesAccount compares both APIs and moves the account, after which it can do more.
func (s *surfer) movesAccount(st *stage, account string) {
	s.t.Helper()
	s.click(`[data-testid="legacy-banner"] a`, "account-switch")
	s.says("Both tell the same", "Northwind Research")
	if n := ask[int](s, `document.querySelectorAll('[data-testid="switch-row"][data-differs="false"]').length`); n != 5 {
		s.t.Errorf("%d clusters are the same through both APIs, want 5", n)
	}
	s.click(`form[action="`+account+`/switch"] button[type="submit"]`, "account-show")
	s.says("works through the current API", "Northwind Research")
	if n := ask[int](s, `document.querySelectorAll('[data-testid="legacy-banner"]').length`); n != 0 {
		s.t.Error("the banner is still there")
	}
	if n := ask[int](s, `document.querySelectorAll('[data-testid="account-cluster"]').length`); n != 5 {
		s.t.Errorf("%d clusters are shown after the move, want 5", n)
	}
	cluster := ask[string](s, `document.querySelector('[data-testid="account-cluster"][data-phase="HEALTHY"] a').getAttribute("href")`)
	s.open(cluster, "cluster-show")
	if n := ask[int](s, `document.querySelectorAll('main a[href$="/restart"]').length`); n != 1 {
		s.t.Error("a restart is not offered after the move")
	}
	s.open(account, "account-show")
}

// mintsKey has a key made in place of the pasted one, reloads and goes back, and deletes the old key.
func (s *surfer) mintsKey(st *stage, account string) {
	s.t.Helper()
	cloud := st.about.Spare.CloudAccountID
	made, deleted := st.callsOf(s.t, cloud)["CreateManagementKey"], st.callsOf(s.t, cloud)["DeleteManagementKey"]
	s.link(account+"/key/mint", "account-mint")
	s.click(`form[action="`+account+`/key/mint"] button[type="submit"]`, "account-old-key")
	s.do(chromedp.NavigateBack(), chromedp.WaitVisible(chromedp.CSS("body#account-mint")))
	if form := ask[string](s, `document.querySelector('input[name="form_token"]').value`); form == "" {
		s.t.Error("the form has no token")
	}
	s.open(account, "account-show")
	s.says("Minted here for Ada Admin", "Nobody has seen it.", "Old keys, still valid at Qdrant Cloud")
	if n := st.callsOf(s.t, cloud)["CreateManagementKey"]; n != made+1 {
		s.t.Errorf("%d keys were made", n-made)
	}
	s.click(`[data-testid="old-key"] a`, "account-old-key")
	s.do(chromedp.SendKeys(chromedp.CSS("#f-confirm"), "nonsense"), chromedp.Click(chromedp.CSS(`form[action$="/delete"] button[type="submit"]`)))
	s.until(`!!document.querySelector("#f-confirm-error")`)
	prefix := ask[string](s, `document.querySelector("dl.facts code").textContent`)
	s.fill("confirm", strings.TrimSuffix(prefix, "…"))
	s.click(`form[action$="/delete"] button[type="submit"]`, "account-show")
	s.says("The old key is deleted at Qdrant Cloud")
	if n := st.callsOf(s.t, cloud)["DeleteManagementKey"]; n != deleted+1 {
		s.t.Errorf("%d keys were deleted", n-deleted)
	}
	if n := ask[int](s, `document.querySelectorAll('[data-testid="old-key"]').length`); n != 0 {
		s.t.Errorf("%d old keys are shown", n)
	}
}

// mintedTwice sends the form that makes a key twice at once, and once more, by requests of its own.
func mintedTwice(t *testing.T, st *stage) {
	st.spare.Lock()
	defer st.spare.Unlock()
	v := st.signIn(t, admin)
	cloud := st.about.Spare.CloudAccountID
	added := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": st.about.Spare.ManagementKey, "environment": "other"})
	if added.bodyID() != "account-show" {
		t.Fatalf("the account was not added: %s", added.text())
	}
	account := added.url.Path
	before := st.callsOf(t, cloud)["CreateManagementKey"]
	form := v.get(account+"/key/mint").form(t, account+"/key/mint")
	ended := make(chan page, 2)
	for range 2 {
		go func() { ended <- v.post(account+"/key/mint", form.values) }()
	}
	for range 2 {
		if got := <-ended; got.status >= 500 {
			t.Errorf("%d:\n%s", got.status, got.text())
		}
	}
	again := v.post(account+"/key/mint", form.values)
	if again.bodyID() != "account-old-key" {
		t.Errorf("sent once more, the form ends at %s: %s", again.url, again.text())
	}
	if n := st.callsOf(t, cloud)["CreateManagementKey"]; n != before+1 {
		t.Errorf("%d keys were made by one form", n-before)
	}
	if got := v.post(account+"/key/mint", url.Values{"form_token": {"nonsense"}}); got.status != http.StatusUnprocessableEntity || got.bodyID() != "account-mint" {
		t.Errorf("a token of nobody's: %d", got.status)
	}
	v.submit(v.get(account+"/delete"), account+"/delete", map[string]string{"confirm": "Northwind Research", "delete_key": "yes"})
	if got := v.get(account); got.status != http.StatusNotFound {
		t.Errorf("the account is still there: %d", got.status)
	}
}

// TestKilledWhileAKeyIsMinted kills the program at the two moments at which it waits for the Cloud API:
// before a key is made, and when it was made and is tried. The account's key works after each start, and
// the key that was made is shown as one that nobody has seen, and deleted.
func TestKilledWhileAKeyIsMinted(t *testing.T) {
	path := binary(t)
	for _, tt := range []struct {
		waits string
		made  bool
	}{{"CreateManagementKey", false}, {"ListEffectivePermissions", true}} {
		t.Run(tt.waits, func(t *testing.T) {
			dir := dataFolder(t)
			first := startProcess(t, path, dir, nil)
			v := first.signIn(t, admin)
			st := &stage{devProgram: &first.devProgram, db: openPool(t, first.about.DatabaseURL)}
			var account, cloud string
			if err := st.db.QueryRow(t.Context(), `SELECT '/accounts/' || id, cloud_account_id FROM accounts WHERE name = $1`, production).Scan(&account, &cloud); err != nil {
				t.Fatal(err)
			}
			st.waitFor(t, "the clusters are known", `SELECT count(*) > 0 FROM clusters JOIN accounts ON accounts.id = account_id WHERE accounts.name = $1`, production)
			keys := func() int { return strings.Count(fileOf(t, dir, "sandbox.json"), `"hash"`) }
			form := v.get(account+"/key/mint").form(t, account+"/key/mint")
			before, asked := keys(), first.callsOf(t, cloud)[tt.waits]
			first.control(t, http.MethodPost, "faults", map[string]any{"operation": tt.waits, "account": cloud, "kind": "hang"})
			ended := make(chan error, 1)
			go func() {
				answer, err := v.http.PostForm(v.base+account+"/key/mint", form.values)
				if err == nil {
					err = answer.Body.Close()
				}
				ended <- err
			}()
			waitUntil(t, "the Cloud API is asked", func() bool { return first.callsOf(t, cloud)[tt.waits] > asked })
			if tt.made {
				waitUntil(t, "the Cloud API has kept the key", func() bool { return keys() == before+1 })
			}
			first.kill()
			if err := <-ended; err == nil {
				t.Error("the form was answered although the program was killed")
			}

			second := startProcess(t, path, dir, nil, "QM_AUDIT_UNKNOWN_AFTER=1s")
			st = &stage{devProgram: &second.devProgram, db: openPool(t, second.about.DatabaseURL)}
			st.waitFor(t, "the reconciler has concluded", `SELECT count(*) = 2 FROM audit.events WHERE act = 'management_key.create'`)
			if got := st.events(t, `act = 'management_key.create' AND phase = 'outcome' AND outcome = $1`, map[bool]string{true: "ok", false: "failed"}[tt.made]); got != 1 {
				t.Errorf("%d outcomes are as they should be", got)
			}
			shown := v.get(account)
			old := shown.byTestID("old-key")
			if !strings.Contains(shown.text(), "Pasted by") || !strings.Contains(shown.text(), "Working") {
				t.Errorf("the account does not work with its old key:\n%s", shown.text())
			}
			if tt.made {
				if len(old) != 1 || old[0]["data-unseen"] != "true" {
					t.Fatalf("the key that was made is not shown: %v", old)
				}
				deleteAt := account + "/key/old/" + old[0]["data-key"] + "/delete"
				asks := v.get(deleteAt)
				prefix := strings.TrimSuffix(textOf(elements(asks.byID("main"), "code")[0]), "…")
				if got := v.submit(asks, deleteAt, map[string]string{"confirm": prefix}); got.bodyID() != "account-show" || len(got.byTestID("old-key")) != 0 {
					t.Errorf("after deleting it: %s\n%s", got.url, got.text())
				}
			} else if len(old) != 0 {
				t.Errorf("keys are shown that were not made: %v", old)
			}
			waitUntil(t, "the Cloud API has the keys that it had", func() bool { return keys() == before })
			// And a key can be made now.
			if got := v.submit(v.get(account+"/key/mint"), account+"/key/mint", nil); got.bodyID() != "account-old-key" {
				t.Errorf("minting after the start: %s\n%s", got.url, got.text())
			}
			second.stop()
		})
	}
}

func fileOf(t *testing.T, dir, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
