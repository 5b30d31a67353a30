package web

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts"
)

var grantToken = regexp.MustCompile(`name="form_token" value="([^"]+)"`)

// tokenAt is the token of the form at an address.
func (b *browser) tokenAt(path string) string {
	b.t.Helper()
	w := b.visit(path)
	wantStatus(b.t, w, http.StatusOK)
	m := grantToken.FindStringSubmatch(w.Body.String())
	if m == nil {
		b.t.Fatalf("%s has no token", path)
	}
	return m[1]
}

// newGrantForm is a form that gives the group contractors the role viewer in staging.
func (b *browser) newGrantForm(change map[string]string) url.Values {
	b.t.Helper()
	form := url.Values{
		"subject_kind": {"group"}, "subject": {"contractors"}, "role": {"viewer"}, "scope_kind": {"environment"}, "scope": {"staging"},
		"lasts": {""}, "expires_at": {""}, "reason": {"OPS-7"}, "form_token": {b.tokenAt(pathGrantNew)},
	}
	for name, value := range change {
		form.Set(name, value)
	}
	return form
}

func wantSaid(t *testing.T, w *httptest.ResponseRecorder, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(w.Body.String(), word) {
			t.Errorf("%q is not said (status %d):\n%s", word, w.Code, cut(w.Body.String()[strings.Index(w.Body.String(), "<main"):], 3000))
		}
	}
}

// TestGrantFormSaysWhatIsWrong sends forms that are wrong in one field each: the form comes back with 422, what
// was typed in it, and the field marked; nothing is given.
func TestGrantFormSaysWhatIsWrong(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("admins")
	for field, change := range map[string]map[string]string{
		"subject_kind": {"subject_kind": "robot"},
		"subject":      {"subject": " "},
		"role":         {"role": "emperor"},
		"scope_kind":   {"scope_kind": "galaxy"},
		"scope":        {"scope": "moon"},
		"expires_at":   {"expires_at": "2001-01-01"},
		"reason":       {"reason": ""},
		"lasts":        {"lasts": "1 fortnight"},
	} {
		w := b.post(pathGrants, b.newGrantForm(change).Encode())
		if w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", field, w.Code)
			continue
		}
		wantSaid(t, w, `id="grant-new"`, "Nothing was given.", `id="f-`+field+`-error"`)
		if field != "reason" {
			wantSaid(t, w, "OPS-7")
		}
		if field != "subject" && field != "subject_kind" {
			wantSaid(t, w, `value="contractors"`)
		}
	}
	both := b.post(pathGrants, b.newGrantForm(map[string]string{"lasts": "7d", "expires_at": "2030-01-01"}).Encode())
	wantStatus(t, both, http.StatusUnprocessableEntity)
	wantSaid(t, both, "Choose one: for how long, or until when.")
	old := b.post(pathGrants, b.newGrantForm(map[string]string{"form_token": "used up"}).Encode())
	wantStatus(t, old, http.StatusUnprocessableEntity)
	wantSaid(t, old, "This form was too old", `value="contractors"`)
	if m := grantToken.FindStringSubmatch(old.Body.String()); m == nil || m[1] == "used up" {
		t.Error("the form that is too old is not fresh when it is shown again")
	}
	preview := b.post(pathGrantNew, url.Values{"subject_kind": {"email"}, "scope_kind": {"labels"}, "scope": {"team=search"}, "reason": {"typed"}}.Encode())
	wantStatus(t, preview, http.StatusOK)
	wantSaid(t, preview, `value="team=search"`, "E-mail address", ">typed</textarea>")
	var n int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM grants`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d grants were given (%v)", n, err)
	}
}

// TestGrantIsGivenOnceAndTakenBack sends one form twice, and looks at the grant's pages on the way.
func TestGrantIsGivenOnceAndTakenBack(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("admins")
	form := b.newGrantForm(map[string]string{"lasts": "7d"}).Encode()
	first, second := b.post(pathGrants, form), b.post(pathGrants, form)
	wantStatus(t, first, http.StatusSeeOther)
	wantStatus(t, second, http.StatusSeeOther)
	at := first.Header().Get("Location")
	if second.Header().Get("Location") != at || !strings.HasPrefix(at, pathGrants+"/") {
		t.Fatalf("sent twice, the form leads to %q and %q", at, second.Header().Get("Location"))
	}
	var ends time.Time
	if err := db.Pool.QueryRow(t.Context(), `SELECT expires_at FROM grants`).Scan(&ends); err != nil || !ends.Equal(c.clock.Now().Add(7*24*time.Hour)) {
		t.Errorf("it ends at %v, not in a week (%v)", ends, err)
	}
	page := b.visit(at)
	wantStatus(t, page, http.StatusOK)
	wantSaid(t, page, "contractors: viewer on environment staging", "Why may they?", "OPS-7", "Member admins", at+"/delete")
	list := b.visit(pathGrants)
	wantSaid(t, list, `data-subject="contractors"`, "QM_ADMIN_GROUPS", "data-configured")
	if narrowed := b.visit(pathGrants + "?subject_kind=member").Body.String(); strings.Contains(narrowed, "grant-row") || !strings.Contains(narrowed, "No grant fits") {
		t.Error("the list is not narrowed to members")
	}
	wantStatus(t, b.visit(pathGrants+"?after=x"), http.StatusBadRequest)

	ask := b.visit(at + "/delete")
	wantStatus(t, ask, http.StatusOK)
	wantSaid(t, ask, "The group contractors loses the role viewer on environment staging.")
	long := b.post(at+"/delete", url.Values{"reason": {strings.Repeat("x", 600)}}.Encode())
	wantStatus(t, long, http.StatusUnprocessableEntity)
	wantSaid(t, long, `id="f-reason-error"`, "Nothing was changed.")
	wantStatus(t, b.post(at+"/delete", "reason=done"), http.StatusSeeOther)
	ended := b.visit(at)
	wantSaid(t, ended, "Ended", "done", "Taken back.", "Why could they?", "Would have ended", "What it allowed there", "Give it again")
	if strings.Contains(ended.Body.String(), "Take it back") {
		t.Error("what has ended can be taken back")
	}
	again := regexp.MustCompile(`href="(/admin/grants/new\?[^"]+)"`).FindStringSubmatch(ended.Body.String())
	if again == nil {
		t.Fatal("what has ended cannot be given again")
	}
	wantSaid(t, b.visit(html.UnescapeString(again[1])), `value="contractors"`, `name="role" value="viewer" checked`, "staging")
	if w := b.visit(at + "/delete"); w.Code != http.StatusSeeOther {
		t.Errorf("one that has ended is asked about: %d", w.Code)
	}
	wantSaid(t, b.visit(pathGrants+"?state=ended"), `data-state="ended"`)
}

// TestRefusalsSayWhy: a refusal names the missing right, which roles have it, what the member holds and whom to
// ask; what one may not give is said in the form.
func TestRefusalsSayWhy(t *testing.T) {
	c, _ := newFullConsole(t, func(o *Options) { o.Contact = []string{"platform-team"} })
	for _, path := range []string{pathGrants, pathGrantNew, pathRoles, pathRoleNew, pathGrants + "/" + uuid.NewString(), "/audit", pathAccountNew} {
		w := c.as("viewers").visit(path)
		wantStatus(t, w, http.StatusForbidden)
		wantSaid(t, w, "Why may I not?", "<code", "platform admin", "read", "platform-team", `href="/me" data-testid="my-rights"`)
	}
	part := c.as("viewers").request(http.MethodGet, "/audit", "")
	part.Header.Set("HX-Request", "true")
	b := c.as("viewers")
	if w := b.send(part); !strings.Contains(w.Body.String(), "audit:read") || strings.Contains(w.Body.String(), "<main") {
		t.Errorf("a part of a page that is refused: %d\n%s", w.Code, w.Body)
	}

	admin := c.as("admins")
	own := admin.post(pathGrants, admin.newGrantForm(map[string]string{"subject": "admins"}).Encode())
	wantStatus(t, own, http.StatusForbidden)
	wantSaid(t, own, `id="grant-new"`, "you are in the group admins and nobody gives rights to themselves", `value="admins"`, "OPS-7")
	unknown := admin.visit(pathGrants + "/" + uuid.NewString())
	wantStatus(t, unknown, http.StatusNotFound)
	if strings.Contains(unknown.Body.String(), "Why may I not?") {
		t.Error("what does not exist is explained")
	}
}

// TestRolePages makes a role as a copy, changes it, and removes it.
func TestRolePages(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	copied := b.visit(pathRoleNew + "?from=operator")
	wantStatus(t, copied, http.StatusOK)
	wantSaid(t, copied, "Starts as a copy of operator", `value="write:clusters" checked`, "Read the logs of clusters, in which data may stand.")
	wantStatus(t, b.visit(pathRoleNew+"?from=none"), http.StatusNotFound)

	form := url.Values{"name": {"Operator"}, "description": {""}, "from": {"operator"}, "form_token": {b.tokenAt(pathRoleNew)}}
	wrong := b.post(pathRoles, form.Encode())
	wantStatus(t, wrong, http.StatusUnprocessableEntity)
	wantSaid(t, wrong, `id="f-name-error"`, `id="f-permissions-error"`, "Starts as a copy of operator", "removed")
	form.Set("name", "On call")
	form["permissions"] = []string{"read:clusters", "logs:read"}
	made := b.post(pathRoles, form.Encode())
	wantStatus(t, made, http.StatusSeeOther)
	at := made.Header().Get("Location")
	page := b.visit(at)
	wantStatus(t, page, http.StatusOK)
	wantSaid(t, page, "/admin/grants/new?role=", "On call", "2 permissions", "Compared with another role", "More than", at+"/edit")
	wantSaid(t, b.visit(at+"?compare=auditor"), "Less than auditor", "audit:export")
	wantSaid(t, b.visit(pathRoles+"/viewer"), "built in", "This role is built in and stays as it is.")
	wantStatus(t, b.visit(pathRoles+"/viewer/edit"), http.StatusSeeOther)

	give := b.newGrantForm(map[string]string{"role": path.Base(at)})
	c.clock.advance(time.Second)
	edit := url.Values{"name": {"On call"}, "permissions": {"read:clusters"}, "version": {"1"}}
	wantStatus(t, b.post(at, edit.Encode()), http.StatusSeeOther)
	// A form that was opened before the role was changed shows itself again, fresh.
	refused := b.post(pathGrants, give.Encode())
	wantStatus(t, refused, http.StatusUnprocessableEntity)
	wantSaid(t, refused, `id="f-role-error"`, "This role was changed after the form was opened.", `value="contractors"`)
	if m := grantToken.FindStringSubmatch(refused.Body.String()); m == nil || m[1] == give.Get("form_token") {
		t.Error("the form is not fresh when it is shown again")
	} else {
		give.Set("form_token", m[1])
		given := b.post(pathGrants, give.Encode())
		wantStatus(t, given, http.StatusSeeOther)
		wantStatus(t, b.post(given.Header().Get("Location")+"/delete", "reason=done"), http.StatusSeeOther)
	}
	edit["permissions"] = []string{"read:clusters", "write:clusters"}
	stale := b.post(at, edit.Encode())
	wantStatus(t, stale, http.StatusConflict)
	wantSaid(t, stale, "changed this role meanwhile", `name="version" value="2"`, `value="write:clusters" checked`)
	edit.Set("name", "")
	edit.Set("version", "2")
	nameless := b.post(at, edit.Encode())
	wantStatus(t, nameless, http.StatusUnprocessableEntity)
	wantSaid(t, nameless, `id="f-name-error"`)

	ask := b.visit(at + "/delete")
	wantSaid(t, ask, "Remove On call", `name="confirm"`)
	unsure := b.post(at+"/delete", "confirm=on+call")
	wantStatus(t, unsure, http.StatusUnprocessableEntity)
	wantStatus(t, b.post(at+"/delete", "confirm=On+call"), http.StatusSeeOther)
	wantStatus(t, b.visit(at), http.StatusNotFound)
}

// TestUnverifiedRowsAreToldOnEveryPage: a grant that somebody wrote into the database beside the console is told
// of to those who may look into it, and to nobody else.
func TestUnverifiedRowsAreToldOnEveryPage(t *testing.T) {
	c, db := newFullConsole(t)
	if strings.Contains(c.as("admins").visit("/clusters").Body.String(), "data-testid=\"unverified\"") {
		t.Fatal("a banner without a reason")
	}
	if _, err := db.Pool.Exec(t.Context(), `INSERT INTO grants (id, subject_kind, issuer, subject, role, scope_kind, scope, reason, created_at, granted_by, granted_by_issuer, granted_by_subject, mac)
		VALUES ($1, 'group', $2, 'viewers', 'platform-admin', 'everything', '', 'x', now(), 'x', 'x', 'x', '\x00')`, uuid.New(), c.idp.URL); err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]bool{"admins": true, "auditors": true, "operators": false, "viewers": false} {
		b := c.as(group)
		for _, path := range []string{"/clusters", "/me", "/nothing-there"} {
			w := b.visit(path)
			if got := strings.Contains(w.Body.String(), "1 row of the rights was not written by this console or was altered: it counts for nothing."); got != want {
				t.Errorf("%s at %s: told is %v, want %v", group, path, got, want)
			}
		}
		if want {
			wantSaid(t, b.visit("/clusters"), `href="/audit?act=rights.unverified"`)
		}
		if group == "viewers" {
			wantStatus(t, b.visit(pathGrants), http.StatusForbidden)
		}
	}
	wantSaid(t, c.as("auditors").visit("/audit?act=rights.unverified"), `data-act="rights.unverified"`)
}

// TestAccessAnswersBothQuestions asks what a person can touch, and about what is not there.
func TestAccessAnswersBothQuestions(t *testing.T) {
	c, _ := newFullConsole(t)
	c.as("viewers")
	b := c.as("admins")
	wantSaid(t, b.visit(pathAccess), "Who can touch this?", "What can this person touch?")
	w := b.visit(accessOfMember(c.idp.URL, "subject-viewers"))
	wantStatus(t, w, http.StatusOK)
	wantSaid(t, w, "What can Member viewers touch?", "viewers@example.test", "QM_VIEWER_GROUPS", `data-testid="reach-row"`, "/admin/grants/new?")
	wantSaid(t, b.visit(pathMembers), `aria-label="Administration"`)
	c.as("sales")
	wantSaid(t, b.visit(pathGroups), `aria-label="Administration"`, "/admin/grants/new?subject=sales&amp;subject_kind=group")
	missing, garbage := b.visit(pathAccess+"?account="+uuid.NewString()), b.visit(pathAccess+"?account=x")
	wantStatus(t, missing, http.StatusNotFound)
	wantStatus(t, garbage, http.StatusNotFound)
	wantStatus(t, b.visit(accessOfMember(c.idp.URL, "nobody")), http.StatusNotFound)
	wantStatus(t, c.as("viewers").visit(accessOfMember(c.idp.URL, "subject-admins")), http.StatusForbidden)
	for _, path := range []string{pathAccess, pathAccess + "?place=x"} { // who may ask nothing is not told that there is nothing
		wantStatus(t, c.as("viewers").visit(path), http.StatusForbidden)
	}
}

// TestGrantAsksForAFreshSignIn: the form says so before anything is typed; a form that is sent all the same is
// refused, leads through a sign-in and back to itself, and is filled in as it was.
func TestGrantAsksForAFreshSignIn(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("admins")
	form := b.newGrantForm(nil).Encode()
	c.clock.advance(11 * time.Minute)
	page := b.visit(pathGrantNew)
	wantStatus(t, page, http.StatusOK)
	wantSaid(t, page, "step_up=1")
	if strings.Contains(page.Body.String(), "grant-form") {
		t.Error("the form is shown although it would be refused")
	}
	r := b.request(http.MethodPost, pathGrants, form)
	r.Header.Set("Referer", testBase+pathGrantNew)
	refused := b.send(r)
	wantStatus(t, refused, http.StatusForbidden)
	wantSaid(t, refused, "This needs a fresh sign-in", url.QueryEscape(pathGrantNew))
	wantStatus(t, b.signIn("/login?step_up=1&return_to="+url.QueryEscape(pathGrantNew)), http.StatusSeeOther)
	again := b.visit(pathGrantNew)
	wantStatus(t, again, http.StatusOK)
	wantSaid(t, again, `value="contractors"`, "OPS-7", "grant-form")
	var n int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM grants`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d grants were given (%v)", n, err)
	}
}

// TestAccessFindsAPlaceByWhatIsTyped: an id, a name or the address of a page leads to the one place; several are offered; and
// what may not be asked about is answered to the byte as what is not there.
func TestAccessFindsAPlaceByWhatIsTyped(t *testing.T) {
	w := newTwoTeams(t, "cluster")
	m := w.teams[0]
	b := w.signedIn(m.plain(), "x", "x@example.test", "admins")
	cluster := w.column(`SELECT name FROM clusters WHERE cluster_id = $1`, m.clusters[0])[0]
	answer := accessTo(accounts.ClusterRef{AccountID: m.account, ClusterID: m.clusters[0]})
	for _, typed := range []string{m.clusters[0], cluster, " " + strings.ToUpper(cluster), testBase + m.path() + "/history?x=1"} {
		r := b.visit(pathAccess + "?" + url.Values{"place": {typed}}.Encode())
		if r.Code != http.StatusSeeOther || r.Header().Get("Location") != answer {
			t.Errorf("%q leads to %d %s, want %s", typed, r.Code, r.Header().Get("Location"), answer)
		}
	}
	wantSaid(t, b.visit(answer), `id="access-who"`, "Who can touch "+cluster)
	account := b.visit(pathAccess + "?account=" + m.account.String())
	wantSaid(t, account, "Only one cluster of it", `<option value="`+m.clusters[0]+`">`)
	several := b.visit(pathAccess + "?place=-")
	wantStatus(t, several, http.StatusOK)
	wantSaid(t, several, "Which one?", `data-testid="found-place"`, m.clusters[0])

	theirs := w.other(m).clusters[0]
	own := m.tries
	missing := strings.Repeat("0", len(theirs)-1) + "1"
	body := func(typed string) string {
		r := own.visit(pathAccess + "?place=" + url.QueryEscape(typed))
		wantStatus(t, r, http.StatusNotFound)
		return strings.ReplaceAll(regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|data-now="[^"]*"`).ReplaceAllString(strings.ReplaceAll(r.Body.String(), typed, ""), ""), url.QueryEscape(typed), "")
	}
	if body(theirs) != body(missing) {
		t.Error("a cluster that one may not ask about is told from one that is not there")
	}
	if r := own.visit(pathAccess + "?place=" + m.clusters[0]); r.Header().Get("Location") != answer {
		t.Errorf("who manages the cluster is led to %d %s", r.Code, r.Header().Get("Location"))
	}
}

// TestGroupsLeadToTheirMembers and grants to their member, for who may see members.
func TestGroupsLeadToTheirMembers(t *testing.T) {
	c, _ := newFullConsole(t)
	c.as("viewers")
	c.as("sales")
	b := c.as("admins")
	of := membersQuery{Group: "viewers", Issuer: c.idp.URL}.address()
	list := b.visit(of)
	wantStatus(t, list, http.StatusOK)
	wantSaid(t, list, "Member viewers", `data-testid="of-group"`, `name="group" value="viewers"`)
	if strings.Contains(list.Body.String(), "Member sales") {
		t.Error("the list has somebody who is not in the group")
	}
	wantSaid(t, b.visit(pathGroups), strings.ReplaceAll(of, "&", "&amp;"))
	wantSaid(t, b.visit(pathGrants), `href="/admin/members?group=viewers`, "its members")
	wantStatus(t, c.as("viewers").visit(of), http.StatusForbidden)

	given := b.post(pathGrants, b.newGrantForm(map[string]string{"subject_kind": "member", "subject": c.idp.URL + "|subject-sales"}).Encode())
	wantStatus(t, given, http.StatusSeeOther)
	grant := given.Header().Get("Location")
	member := membersHref(t, b, "Member sales")
	wantSaid(t, b.visit(grant), `href="`+member+`"`)
	wantSaid(t, b.visit(member), `href="`+grant+`"`, `href="/admin/roles/viewer"`, "The grant")
	viewers := b.visit(membersHref(t, b, "Member viewers")).Body.String()
	row := "/admin/grants?role=viewer&amp;subject=viewers&amp;subject_kind=group"
	if !strings.Contains(viewers, row) {
		t.Error("what comes from configuration leads to no row of it")
	}
	wantSaid(t, b.visit(strings.ReplaceAll(row, "&amp;", "&")), "QM_VIEWER_GROUPS", "1 grant")
}

// TestGrantToAnAddressSaysWhoseItBecame on its page, in the list, and to the member.
func TestGrantToAnAddressSaysWhoseItBecame(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	given := b.post(pathGrants, b.newGrantForm(map[string]string{"subject_kind": "email", "subject": "sales@example.test"}).Encode())
	wantStatus(t, given, http.StatusSeeOther)
	grant := given.Header().Get("Location")
	wantSaid(t, b.visit(grant), "Nobody yet.", "Waits")
	sales := c.as("sales")
	page := b.visit(grant)
	wantSaid(t, page, "Bound to a member", "Member sales", "their own grant", membersHref(t, b, "Member sales"))
	if strings.Contains(page.Body.String(), "Nobody yet") {
		t.Error("the page says that nobody has it")
	}
	wantSaid(t, b.visit(pathGrants+"?state=ended"), `data-state="bound"`)
	me := sales.visit(pathMe)
	wantSaid(t, me, "became their own at their sign-in of")
	if strings.Contains(me.Body.String(), "sales@example.test</code> gives nothing") {
		t.Error("the member is told that their address gives nothing")
	}
}

// TestWhyIsExplainedWithoutATry: an act that is not offered leads to what is missing and whom to ask, and no refusal is on
// record for that; of what one may not read nothing is told.
func TestWhyIsExplainedWithoutATry(t *testing.T) {
	c, db := newFullConsole(t, func(o *Options) { o.Contact = []string{"platform-team"} })
	b := c.as("viewers")
	why := whyHref(accounts.ClusterRef{}, accounts.Offer{Act: accounts.ActAuditExport.Name, Reason: "You need audit:export here."})
	page := b.visit(why)
	wantStatus(t, page, http.StatusOK)
	wantSaid(t, page, "Export audit: why may I not?", "audit:export", "platform-team", `href="/me" data-testid="my-rights"`)
	wantSaid(t, c.as("admins").visit(why), "You may do this now: nothing is missing.")
	if got := whyHref(accounts.ClusterRef{}, accounts.Offer{Act: "cluster.restart", Reason: "The cluster is suspended: resume it first."}); got != "" {
		t.Errorf("a reason that is no right's leads to %q", got)
	}
	for _, query := range []string{"", "?act=nothing", "?act=cluster.restart&account=x", "?act=cluster.restart&cluster=c1", "?act=cluster.restart&cluster=c1&account=" + uuid.NewString()} {
		wantStatus(t, b.visit(pathWhy+query), http.StatusNotFound)
	}
	var n int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE outcome = 'denied' AND act = 'audit.export'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d refusals are on record (%v)", n, err)
	}
}

// TestTakingBackLeadsToKeys: keys outlive a right, so who takes one back from a member is led to those they may have.
func TestTakingBackLeadsToKeys(t *testing.T) {
	c, _ := newFullConsole(t)
	c.as("viewers")
	b := c.as("admins")
	given := b.post(pathGrants, b.newGrantForm(map[string]string{"subject_kind": "member", "subject": c.idp.URL + "|subject-viewers"}).Encode())
	wantStatus(t, given, http.StatusSeeOther)
	keys := memberPath(c.accounts.MemberID(c.idp.URL, "subject-viewers")) + "/keys"
	at := given.Header().Get("Location")
	wantSaid(t, b.visit(at+"/delete"), `href="`+keys+`"`, "Keys that Member viewers may have")
	wantStatus(t, b.post(pathReview+"/start", ""), http.StatusSeeOther)
	wantSaid(t, b.visit(pathReview+"/lines/"+strings.TrimPrefix(at, pathGrants+"/")+"/revoke"), `href="`+keys+`"`)
	group := b.post(pathGrants, b.newGrantForm(nil).Encode())
	if strings.Contains(b.visit(group.Header().Get("Location")+"/delete").Body.String(), `data-testid="beside"`) {
		t.Error("the keys of a group are led to")
	}
}
