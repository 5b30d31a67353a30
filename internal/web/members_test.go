package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// membersHref finds the page of a member in the list.
func membersHref(t *testing.T, b *browser, name string) string {
	t.Helper()
	w := b.visit("/admin/members?q=" + url.QueryEscape(name))
	wantStatus(t, w, http.StatusOK)
	found := regexp.MustCompile(`href="(/admin/members/[0-9a-f]{32})">` + regexp.QuoteMeta(name)).FindStringSubmatch(w.Body.String())
	if found == nil {
		t.Fatalf("%s is not listed:\n%s", name, w.Body)
	}
	return found[1]
}

// TestMembersBlockInTheBrowser leads an administrator from the list to a block and back.
func TestMembersBlockInTheBrowser(t *testing.T) {
	c, _ := newFullConsole(t, func(o *Options) { o.Contact = []string{"platform-team"} })
	viewer := c.as("viewers")
	admin := c.as("admins")
	page := membersHref(t, admin, "Member viewers")
	w := admin.visit(page)
	wantStatus(t, w, http.StatusOK)
	for _, want := range []string{"viewers@example.test", "subject-viewers", "QM_VIEWER_GROUPS", `action="` + page + `/sessions/end"`, `href="` + page + `/block"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	wantSaid(t, w, "they can sign in again at once. Block keeps them out.")
	wantStatus(t, admin.visit(page+"/block"), http.StatusOK)
	w = admin.post(page+"/block", "reason=&confirm=x%3Cscript%3E")
	wantStatus(t, w, http.StatusUnprocessableEntity)
	if body := w.Body.String(); !strings.Contains(body, "Say why") || !strings.Contains(body, "x&lt;script&gt;") || strings.Contains(body, "x<script>") {
		t.Errorf("the form that was wrong:\n%s", body)
	}
	wantStatus(t, viewer.visit("/me"), http.StatusOK)
	w = admin.post(page+"/block", "reason=Left&confirm=viewers%40example.test")
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != page+"/keys" {
		t.Errorf("led to %s", got)
	}
	w = admin.visit(page + "/keys")
	wantStatus(t, w, http.StatusOK)
	for _, want := range []string{"Blocked. 1 session ended.", "Blocked by Member admins", "Left"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page of keys lacks %q", want)
		}
	}
	w = viewer.visit("/me")
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); !strings.HasPrefix(got, "/login") {
		t.Errorf("the blocked member is led to %s", got)
	}
	c.idp.claims = func(m map[string]any) {
		m["sub"], m["name"], m["email"], m["groups"] = "subject-viewers", "Member viewers", "viewers@example.test", []string{"viewers"}
	}
	w = viewer.signIn("/login?go=1")
	if at := w.Header().Get("Location"); w.Code != http.StatusSeeOther || at != "/login?why=blocked" {
		t.Errorf("the blocked member signed in: %d to %s", w.Code, at)
	}
	for range 2 { // it can be loaded again
		wantSaid(t, viewer.visit("/login?why=blocked"), "Your access to this console was blocked.", "platform-team")
	}
	wantStatus(t, viewer.visit("/me"), http.StatusSeeOther)

	w = admin.post(page+"/block", "reason=Again&confirm=viewers%40example.test")
	wantStatus(t, w, http.StatusSeeOther)
	wantStatus(t, admin.visit(page+"/unblock"), http.StatusOK)
	wantStatus(t, admin.post(page+"/unblock", "reason="), http.StatusSeeOther)
	wantStatus(t, viewer.signIn("/login?go=1"), http.StatusSeeOther)
	wantStatus(t, viewer.visit("/me"), http.StatusOK)
	wantStatus(t, admin.post(page+"/sessions/end", ""), http.StatusSeeOther)
	wantStatus(t, viewer.visit("/me"), http.StatusSeeOther)
}

func TestMembersPagesThatAreNotThere(t *testing.T) {
	c, _ := newFullConsole(t)
	viewer, admin := c.as("viewers"), c.as("admins")
	page := membersHref(t, admin, "Member viewers")
	missing := "/admin/members/" + strings.Repeat("0", 32)
	refusal := func(path, method string) string {
		t.Helper()
		w := viewer.visit(path)
		if method == http.MethodPost {
			w = viewer.post(path, "reason=x&confirm=y")
		}
		wantStatus(t, w, http.StatusForbidden)
		// What differs from one refusal to another is the request's id and the time.
		body := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|data-now="[^"]*"`).ReplaceAllString(w.Body.String(), "")
		return strings.ReplaceAll(body, path, "")
	}
	for _, below := range []string{"", "/keys", "/block", "/unblock"} {
		if refusal(page+below, http.MethodGet) != refusal(missing+below, http.MethodGet) {
			t.Errorf("%s tells whether there is such a member", below)
		}
	}
	for _, below := range []string{"/block", "/unblock", "/sessions/end", "/sessions/01930000-0000-7000-8000-000000000001/end"} {
		if refusal(page+below, http.MethodPost) != refusal(missing+below, http.MethodPost) {
			t.Errorf("%s tells whether there is such a member", below)
		}
		wantStatus(t, admin.post(missing+below, "reason=x&confirm=y"), http.StatusNotFound)
	}
	for _, odd := range []string{missing, page + "0", "/admin/members/x", strings.ToUpper(page), page + "/keys/x", "/admin/members/%00", "/admin/members/..%2f..%2fme"} {
		if w := admin.visit(odd); w.Code != http.StatusNotFound && w.Code != http.StatusBadRequest {
			t.Errorf("%s answers %d", odd, w.Code)
		}
	}
	for _, session := range []string{"x", "01930000-0000-7000-8000-000000000001"} {
		wantStatus(t, admin.post(page+"/sessions/"+session+"/end", ""), http.StatusNotFound)
	}
	wantStatus(t, viewer.visit("/me"), http.StatusOK)
	wantStatus(t, admin.visit("/admin/members?after=x"), http.StatusBadRequest)
	wantStatus(t, admin.visit("/admin/members?state=odd&q=%25"), http.StatusOK)
	self := membersHref(t, admin, "Member admins")
	wantStatus(t, admin.visit(self+"/block"), http.StatusConflict)
	wantStatus(t, admin.post(self+"/block", "reason=x&confirm=admins%40example.test"), http.StatusConflict)
}
