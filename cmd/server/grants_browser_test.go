package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestGrantsInTheBrowser gives a group the role viewer on one cluster for a week and takes it back, in a
// real browser with scripts and without: a member of the group sees that cluster and nothing else, and
// from the next request on nothing at all.
func TestGrantsInTheBrowser(t *testing.T) {
	st := openStage(t)
	path, id := st.cluster(t, "product-search-eu")
	other, _ := st.cluster(t, "catalogue-dedup")
	for _, scripts := range []bool{true, false} {
		name := "with scripts"
		if !scripts {
			name = "without scripts"
		}
		t.Run(name, func(t *testing.T) {
			s, finish := openBrowser(t, st.about.URL, scripts)
			defer finish()
			s.signIn(admin, "clusters-index")
			s.open("/admin/grants", "grants-index")
			s.says("from configuration", "QM_ADMIN_GROUPS")
			s.link("/admin/grants/new", "grant-new")
			s.givesViewer(st.accounts[production].id+"/"+id, "search-team")
			s.says("In force", "search-team", "OPS-1412", "in 7 d", "Why may they?")
			grant := ask[string](s, `location.pathname`)

			nora, done := openBrowser(t, st.about.URL, scripts)
			defer done()
			nora.signIn(nobody, "clusters-index")
			if got := ask[int](nora, rows); got != 1 || !strings.Contains(nora.text(), "product-search-eu") {
				t.Errorf("%d clusters, want product-search-eu only:\n%s", got, nora.text())
			}
			nora.open(path, "cluster-show")
			if ask[bool](nora, `!!document.querySelector('main a[href^="/admin/access"]')`) {
				t.Error("a viewer is led to who can touch the cluster")
			}
			nora.open(other, "error")
			nora.says("404")
			nora.open(path+"/delete", "error")
			nora.says("403", "Why may I not?", "delete:clusters", "Delete clusters.", "operator", "read:", "Whom to ask")
			nora.open("/admin/grants", "error")
			nora.says("403", "grants:manage", "account admin")

			s.open(path, "cluster-show")
			s.click(`main a[href^="/admin/access"]`, "access-who")
			s.says("Who can touch product-search-eu?", "search-team", "Looks only.", "viewer on cluster product-search-eu")
			s.open("/admin/access", "access-ask")
			s.do(chromedp.SendKeys(chromedp.CSS("#q-place"), "PRODUCT-search-eu\n"), chromedp.WaitVisible(chromedp.CSS("body#access-who")))
			s.says("Who can touch product-search-eu?", "search-team")
			s.open("/admin/access", "access-ask")
			s.selects("environment", "production")
			s.click(`form:has([name="environment"]) button`, "access-who")
			s.says("Who can touch the environment production?", "search-team", "On a part of it only", "platform-admins")
			s.open("/admin/access", "access-ask")
			s.do(chromedp.SendKeys(chromedp.CSS("#q-group"), "Search-team\n"), chromedp.WaitVisible(chromedp.CSS("#q-group-error")))
			s.says("letter case included")
			s.open("/admin/access", "access-ask")
			s.do(chromedp.SendKeys(chromedp.CSS("#q-group"), "search-team\n"), chromedp.WaitVisible(chromedp.CSS("body#group-show")))
			s.says("Group search-team", "viewer", "product-search-eu", "OPS-1412", "Who was seen with it", "Nora Nobody")
			s.open("/admin/access?account="+st.accounts[production].id, "access-who")
			s.selects("cluster", id)
			s.again(`form[aria-label="One cluster of it"] button`)
			s.says("Who can touch product-search-eu?")
			s.click(`[data-subject="search-team"] a[href^="/admin/members?group=search-team"]`, "members-index")
			s.says("Only those whose last sign-in named the group search-team", "Nora Nobody", "1 member of")
			s.click(`[data-testid="member-row"] a.rowlnk`, "member-show")
			s.says("viewer", "product-search-eu", "search-team")
			s.link(grant, "grant-show")
			s.link(grant+"/delete", "grant-delete")
			s.says("The group search-team loses the role viewer on cluster product-search-eu")
			s.types("reason", "the slow queries are found")
			s.click("main form button.btn-danger", "grant-show")
			s.says("Taken back", "Ended", "the slow queries are found")

			nora.do(chromedp.Navigate(st.about.URL + path))
			nora.until(`document.body && document.body.id === "no-rights"`)
		})
	}

	t.Run("a grant that does not exist is one that may not be seen", func(t *testing.T) {
		v := st.visitor(t, admin)
		for _, path := range []string{"/admin/grants/01930000-0000-7000-8000-000000000001", "/admin/grants/x", "/admin/roles/none", "/admin/access?account=x", "/admin/access?issuer=a&subject=b"} {
			if got := v.try(http.MethodGet, path, nil); got.status != http.StatusNotFound {
				t.Errorf("%s: %d", path, got.status)
			}
		}
	})
}

// givesViewer fills the form of a new grant, as a person does: first what is asked for, then the choices.
func (s *surfer) givesViewer(scope, group string) {
	s.t.Helper()
	s.do(chromedp.Click(chromedp.CSS(`input[name="scope_kind"][value="account"]`)))
	if s.scripts {
		s.until(`!!document.querySelector('label[for="f-scope"]') && document.querySelector('label[for="f-scope"]').innerText.startsWith("Account")`)
	}
	s.do(chromedp.Click(chromedp.CSS(`input[name="scope_kind"][value="cluster"]`)))
	if s.scripts {
		s.until(`document.querySelector('label[for="f-scope"]').innerText.startsWith("Cluster")`)
	} else {
		s.again(`button[formaction="/admin/grants/new"]`)
		s.until(`document.querySelector('label[for="f-scope"]').innerText.startsWith("Cluster")`)
	}
	s.types("subject", group)
	s.do(chromedp.Click(chromedp.CSS(`input[name="role"][value="viewer"]`)))
	s.selects("scope", scope)
	s.selects("lasts", "7d")
	s.types("reason", "OPS-1412: look into the slow queries")
	s.click("main form button.btn-primary", "grant-show")
}

// selects chooses from a list by its value.
func (s *surfer) selects(name, value string) {
	s.t.Helper()
	ok := ask[bool](s, `(() => { const list = document.querySelector('select[name="`+name+`"]'); list.value = "`+value+`"; return list.value === "`+value+`"; })()`)
	if !ok {
		s.t.Fatalf("the list %s has no %s", name, value)
	}
}
