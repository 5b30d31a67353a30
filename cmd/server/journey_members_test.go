package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestMembersAreBlocked blocks members who are signed in and at work, in a real browser with scripts and without, and
// sees that their next request is refused and that the keys they have seen are listed.
func TestMembersAreBlocked(t *testing.T) {
	axe, err := os.ReadFile("../../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is not installed; run npm ci in the folder static: %v", err)
	}
	st := openStage(t)
	path, _ := st.newCluster(t, production, "blocked-at-work")
	worker := st.signIn(t, operator).withoutRedirects()
	ask := worker.get(path + "/keys/new")
	form := ask.form(t, path+"/keys")
	form.values.Set("name", "kept by oscar")
	form.values.Set("access", "read-only")
	secret := st.secretOf(t, worker.post(path+"/keys", form.values))
	looking := st.signIn(t, viewer).withoutRedirects()

	for _, one := range []struct {
		scripts bool
		email   string
		at      *visitor
		key     string
	}{{true, operator, worker, "kept by oscar"}, {false, viewer, looking, ""}} {
		s, finish := openBrowser(t, st.about.URL, one.scripts)
		s.signIn(admin, "clusters-index")
		s.do(chromedp.Click(chromedp.CSS("details.pop summary")), chromedp.Click(chromedp.CSS(`details.pop a[href="/admin/members"]`)), chromedp.WaitVisible(chromedp.CSS("body#members-index")))
		s.do(chromedp.SendKeys(chromedp.CSS("#q-q"), one.email), chromedp.Click(chromedp.CSS(`#filters button[type="submit"]`)))
		s.until(`document.querySelectorAll('[data-testid="member-row"]').length === 1`)
		if one.scripts {
			s.isAccessible(string(axe))
		}
		s.click(`[data-testid="member-row"] a.rowlnk`, "member-show")
		s.says(one.email, "Sessions", "Sign-ins of late", "Signed in")
		if one.scripts {
			s.isAccessible(string(axe))
		}
		if got := one.at.get("/clusters"); got.status != http.StatusOK {
			t.Fatalf("%s is at work and gets %d", one.email, got.status)
		}
		s.click(`main a[href$="/block"]`, "member-block")
		s.do(chromedp.Click(chromedp.CSS(`main button[type="submit"]`)), chromedp.WaitVisible(chromedp.CSS("#f-confirm-error")))
		s.says("Nothing was changed.", "Say why")
		if one.scripts {
			s.isAccessible(string(axe))
		}
		s.do(chromedp.SendKeys(chromedp.CSS("#f-reason"), "Left the team."), chromedp.SendKeys(chromedp.CSS("#f-confirm"), one.email))
		s.click(`main button[type="submit"]`, "member-keys")
		s.says("Blocked. 1 session ended.", "Left the team.", "Keys they may still use")
		if one.key != "" {
			s.says(one.key, "1 key may still work in their hands.")
			if n := linksBeside(s, one.key); n != 2 {
				t.Errorf("%d ways lead to do something about the key, want rotate and delete", n)
			}
		}
		if text := s.text(); strings.Contains(text, secret) {
			t.Error("the page tells the key's secret")
		}
		if one.scripts {
			s.isAccessible(string(axe))
		}
		for _, at := range []string{"/clusters", "/me", path} {
			if got := one.at.get(at); got.status != http.StatusSeeOther || !strings.HasPrefix(got.header.Get("Location"), "/login") {
				t.Errorf("the blocked member gets %d at %s", got.status, at)
			}
		}
		again := newVisitor(t, st.about.URL)
		again.try(http.MethodGet, "/login?login_hint="+one.email, nil)
		if got := again.withoutRedirects().get("/clusters"); got.status == http.StatusOK {
			t.Errorf("the blocked member %s signed in again", one.email)
		}
		if n := st.events(t, `act = 'member.block' AND outcome = 'ok' AND actor_email = $1`, admin); n == 0 {
			t.Error("the block is not on record")
		}
		finish()
	}
}

// linksBeside counts the links beside a key.
func linksBeside(s *surfer, key string) int {
	return ask[int](s, `[...document.querySelectorAll('[data-testid="seen-key"]')].find(r => r.textContent.includes("`+key+`")).querySelectorAll("td.act-cell a").length`)
}
