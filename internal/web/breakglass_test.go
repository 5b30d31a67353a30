package web

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
)

func (c *console) breakGlassLink() string {
	c.t.Helper()
	by := audit.Actor{Issuer: accounts.InternalIssuer, Subject: "cli:root@host-1", Name: "root@host-1", Via: audit.ViaCLI}
	link, err := c.accounts.MakeBreakGlassLink(c.t.Context(), by, "Provider <down>")
	if err != nil {
		c.t.Fatal(err)
	}
	return link.Token
}

// TestBreakGlassWithTheProviderAway goes from the link to an act that asks for a fresh sign-in.
func TestBreakGlassWithTheProviderAway(t *testing.T) {
	c, a := stepUpConsole(t)
	viewer := c.as("viewers")
	admin := c.as("admins")
	stranger := c.as("strangers")
	c.idp.setDown(true)
	link := c.breakGlassLink()
	b := c.browser()
	for range 3 { // as a mail program does, and a chat
		w := b.visit(BreakGlassPath(link))
		wantStatus(t, w, http.StatusOK)
		wantWords(t, w, true, "Sign in as administrator")
		if b.cookie(b.cookies.session) != "" {
			t.Fatal("looking at the link signed in")
		}
	}
	for _, w := range []*browser{viewer, admin} {
		wantWords(t, w.visit("/clusters"), false, "Break-glass access is in use")
	}

	w := b.post(pathBreakGlass, "link="+url.QueryEscape(link))
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != pathHome {
		t.Errorf("leads to %q", got)
	}
	// Everybody is told, on every page, also where something is not found.
	for name, who := range map[string]*browser{"viewer": viewer, "admin": admin, "break-glass": b} {
		for _, page := range []string{"/clusters", "/accounts", "/packages", "/me", "/nothing-here"} {
			w := who.visit(page)
			if !strings.Contains(w.Body.String(), "Break-glass access is in use") || !strings.Contains(w.Body.String(), "Provider &lt;down&gt;") {
				t.Errorf("%s is not told on %s", name, page)
			}
			if may := strings.Contains(w.Body.String(), "/end\""); page != "/me" && may != (name != "viewer") {
				t.Errorf("%s may end it on %s: %v", name, page, may)
			}
		}
	}
	wantWords(t, stranger.visit("/clusters"), false, "Provider &lt;down&gt;")
	wantWords(t, c.browser().visit("/login"), false, "Provider &lt;down&gt;")

	// Its sign-in is fresh for its time.
	c.clock.advance(25 * time.Minute)
	page := accountPath(a.ID) + "/delete"
	wantWords(t, b.visit(page), true, `name="confirm"`)
	wantStatus(t, b.post(page, "confirm=Shop&delete_key=no"), http.StatusSeeOther)

	w = b.post(pathLogout, "")
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != pathLogin {
		t.Errorf("signed out to %q", got)
	}
	wantWords(t, admin.visit("/clusters"), false, "Break-glass access is in use")
	again := c.browser().post(pathBreakGlass, "link="+url.QueryEscape(link))
	wantStatus(t, again, http.StatusForbidden)
	wantWords(t, again, true, "This link is not valid")
	if strings.Contains(c.logs.String(), link) {
		t.Error("the link is in the log")
	}
}

func TestBreakGlassIsEndedByAnAdmin(t *testing.T) {
	c, _ := stepUpConsole(t)
	viewer, admin := c.as("viewers"), c.as("admins")
	b := c.browser()
	wantStatus(t, b.post(pathBreakGlass, "link="+url.QueryEscape(c.breakGlassLink())), http.StatusSeeOther)
	body := admin.visit("/clusters").Body.String()
	_, rest, _ := strings.Cut(body, `action="/break-glass/`)
	id, _, _ := strings.Cut(rest, "/end")
	end := pathBreakGlass + "/" + id + "/end"
	wantStatus(t, viewer.post(end, ""), http.StatusForbidden)
	cross := admin.request(http.MethodPost, end, "")
	cross.Header.Set("Sec-Fetch-Site", "cross-site")
	wantStatus(t, admin.send(cross), http.StatusForbidden)
	wantStatus(t, b.visit("/clusters"), http.StatusOK)
	wantStatus(t, admin.post(end, ""), http.StatusSeeOther)
	wantStatus(t, b.visit("/clusters"), http.StatusSeeOther)
	wantStatus(t, admin.post(end, ""), http.StatusNotFound)
}

func TestBreakGlassLinkOfAnotherSite(t *testing.T) {
	c, _ := stepUpConsole(t)
	link := c.breakGlassLink()
	b := c.browser()
	r := b.request(http.MethodPost, pathBreakGlass, "link="+url.QueryEscape(link))
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	wantStatus(t, b.send(r), http.StatusForbidden)
	for _, bad := range []string{"", "link=", "link=x", "link=" + strings.Repeat("A", 43), "link=a&link=b"} {
		if w := b.post(pathBreakGlass, bad); w.Code < 400 || b.cookie(b.cookies.session) != "" {
			t.Errorf("%q: %d", bad, w.Code)
		}
	}
	for _, bad := range []string{pathBreakGlass, BreakGlassPath(""), BreakGlassPath(strings.Repeat("A", 300)), BreakGlassPath("%00")} {
		wantStatus(t, b.visit(bad), http.StatusBadRequest)
	}
	wantWords(t, b.visit(BreakGlassPath(url.QueryEscape(`"><script>canary`))), false, "<script>canary")
	wantStatus(t, b.post(pathBreakGlass, "link="+url.QueryEscape(link)), http.StatusSeeOther) // unharmed
}

// TestBreakGlassLinksAreTriedNoFasterThanSignIns guesses.
func TestBreakGlassLinksAreTriedNoFasterThanSignIns(t *testing.T) {
	c, _ := stepUpConsole(t)
	b := c.browser()
	refused := 0
	for range signInBurst + 5 {
		if b.post(pathBreakGlass, "link=x").Code == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("%d of %d were refused", refused, signInBurst+5)
	}
}

// TestBreakGlassReplacesTheSessionOfTheBrowser signs in as a member first.
func TestBreakGlassReplacesTheSessionOfTheBrowser(t *testing.T) {
	c, _ := stepUpConsole(t)
	b := c.as("viewers")
	member := b.cookie(b.cookies.session)
	wantStatus(t, b.post(pathBreakGlass, "link="+url.QueryEscape(c.breakGlassLink())), http.StatusSeeOther)
	if _, _, err := c.accounts.Authenticate(context.Background(), audit.Actor{}, member); err == nil {
		t.Error("the member's session goes on")
	}
	me := b.visit("/me")
	wantWords(t, me, true, "Break-glass (root@host-1)")
	// It is the link that gives the rights, and not what a provider says.
	wantSaid(t, me, "Through a break-glass link printed by root on host-1: Provider &lt;down&gt;.")
	wantWords(t, me, false, "identity provider says of you")
	wantWords(t, me, false, "named by your provider")
}

// TestBreakGlassIsListedApart: the page of members says who printed a link, why, and until when its session lasts; what the
// session gave is listed with the way to take it back; nobody else is told, whether there is such a link or not.
func TestBreakGlassIsListedApart(t *testing.T) {
	c, _ := stepUpConsole(t)
	viewer, admin := c.as("viewers"), c.as("admins")
	wantWords(t, admin.visit(pathMembers), false, "Break-glass links")
	link := c.breakGlassLink()
	wantSaid(t, admin.visit(pathMembers), "Break-glass links", `data-state="usable"`, "on host host-1", "Provider &lt;down&gt;")
	b := c.browser()
	wantStatus(t, b.post(pathBreakGlass, "link="+url.QueryEscape(link)), http.StatusSeeOther)
	given := b.post(pathGrants, b.newGrantForm(nil).Encode())
	wantStatus(t, given, http.StatusSeeOther)
	grant := given.Header().Get("Location")

	list := admin.visit(pathMembers)
	wantSaid(t, list, `data-state="live"`, "/end\"")
	_, rest, _ := strings.Cut(list.Body.String(), `href="`+pathBreakGlassUse+"/")
	id, _, _ := strings.Cut(rest, `"`)
	use := pathBreakGlassUse + "/" + id
	page := admin.visit(use)
	wantStatus(t, page, http.StatusOK)
	wantSaid(t, page, "root", "host-1", "Provider &lt;down&gt;", "End this session", "Gave", "viewer for group contractors", "in force", `href="`+grant+`"`, `href="`+grant+`/delete"`, "1 change of these still stands.", "Everything it did, in the audit log")
	if strings.Contains(page.Body.String(), link) {
		t.Error("the page has the link")
	}
	for _, narrowed := range []string{"?q=x", "?group=viewers"} {
		wantWords(t, admin.visit(pathMembers+narrowed), false, "Printed on the server by")
	}

	end := regexp.MustCompile(`action="(/break-glass/[^"]+/end)"`).FindStringSubmatch(page.Body.String())
	over := admin.post(end[1], "")
	wantStatus(t, over, http.StatusSeeOther)
	if at := over.Header().Get("Location"); at != use {
		t.Errorf("ending it leads to %q, want %q, which says what it left", at, use)
	}
	wantStatus(t, admin.post(grant+"/delete", "reason="), http.StatusSeeOther)
	ended := admin.visit(use)
	wantSaid(t, ended, "None of this counts any more.", "no longer in force", "Ended")
	wantWords(t, ended, false, "End this session")
	wantSaid(t, admin.visit(pathMembers), "1 earlier link", "None is in use.")

	missing := strings.Repeat("0", 8) + "-0000-7000-8000-000000000001"
	for _, other := range []string{id, missing, "x", strings.ToUpper(id)} {
		wantStatus(t, viewer.visit(pathBreakGlassUse+"/"+other), http.StatusForbidden)
		if other != id {
			wantStatus(t, admin.visit(pathBreakGlassUse+"/"+other), http.StatusNotFound)
		}
	}
}
