package main

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"golang.org/x/net/html"
)

// everyLink follows every link from the first page as those who see most and least of the acts:
// each leads to a page that is well made. One page of each kind is looked at in a browser, too.
func everyLink(t *testing.T, st *stage) {
	st.visitor(t, viewer) // so that there is somebody to be blocked
	for _, member := range []string{admin, viewer} {
		pages := st.crawl(t, member)
		kinds := map[string]string{}
		for _, p := range pages {
			if p.status != http.StatusOK {
				t.Errorf("as %s: %s answers %d", member, p.url, p.status)
				continue
			}
			wellMade(t, p)
			if kinds[p.bodyID()] == "" {
				kinds[p.bodyID()] = p.url.RequestURI()
			}
		}
		want := []string{"accounts-index", "account-show", "clusters-index", "cluster-show", "keys-index", "me-show", "backups-index", "cluster-backups"}
		if member == admin {
			want = append(want, "account-new", "account-delete", "account-edit", "account-key", "account-mint", "account-switch", "cluster-update", "cluster-restart", "cluster-suspend", "cluster-delete", "audit-index", "audit-event", "key-new", "key-rotate", "key-update", "key-delete",
				"members-index", "member-show", "member-keys", "member-block")
		}
		for _, kind := range want {
			if kinds[kind] == "" {
				t.Errorf("no link leads %s to a page %s; %d pages were found", member, kind, len(pages))
			}
		}
		if member == admin {
			kinds["error"] = "/nowhere"
			accessible(t, st, kinds)
		}
	}
	wellMade(t, st.visitor(t, admin).get("/nowhere"))
	wellMade(t, st.visitor(t, nobody).get("/clusters"))
	wellMade(t, newVisitor(t, st.about.URL).get("/login"))
}

// crawl follows links from /clusters as a member, and returns every page once. Clusters and
// accounts that other journeys make and remove are left out, and of each kind of listing and
// event some are enough.
func (st *stage) crawl(t *testing.T, member string) []page {
	t.Helper()
	const variants = 25 // addresses that differ only in their query, or events
	v := st.visitor(t, member)
	seeded := st.seeded(t)
	number := regexp.MustCompile(`/[0-9]+$`)
	seen, variant := map[string]bool{}, map[string]int{}
	queue := []string{"/clusters"}
	var pages []page
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		p := v.get(at)
		pages = append(pages, p)
		for _, href := range p.links() {
			u, err := url.Parse(href)
			if err != nil || u.Host != "" || u.Path == "" {
				continue // a place on the same page; wellMade looks at the others
			}
			if strings.HasSuffix(u.Path, "/export") {
				continue // a file and no page; tests of their own look at them
			}
			kind := number.ReplaceAllString(u.Path, "/N")
			if parts := strings.Split(u.Path, "/"); len(parts) > 2 && parts[1] == "accounts" && !seeded[parts[2]] && parts[2] != "new" || len(parts) > 4 && parts[3] == "clusters" && !seeded[parts[4]] {
				continue
			}
			if account := u.Query().Get("account"); account != "" && !seeded[account] {
				continue
			}
			u.Fragment = ""
			if key := u.String(); !seen[key] && variant[kind] < variants {
				seen[key] = true
				variant[kind]++
				queue = append(queue, key)
			}
		}
	}
	return pages
}

// seeded returns the ids of the accounts and clusters that no journey changes.
func (st *stage) seeded(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, g := range st.accounts {
		ids[g.id] = true
	}
	rows, err := st.db.Query(t.Context(), `SELECT cluster_id FROM clusters JOIN accounts ON accounts.id = account_id WHERE accounts.name = $1 AND clusters.name NOT LIKE 'journey-%' OR clusters.name LIKE '%-staging'`, legacy)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id] = true
	}
	return ids
}

// wellMade checks a page's structure and what its headers promise.
func wellMade(t *testing.T, p page) {
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf(p.url.RequestURI()+": "+format, args...)
	}
	policy := p.header.Get("Content-Security-Policy")
	if policy == "" || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
		wrong("the content policy is %q", policy)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
		if !strings.Contains(p.header.Get(name), want) {
			wrong("%s is %q", name, p.header.Get(name))
		}
	}
	count := map[string]int{}
	ids := map[string]int{}
	level := 0
	for _, n := range elements(p.root, "") {
		count[n.Data]++
		if id := attributeOf(n, "id"); id != "" {
			ids[id]++
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
				wrong("<%s> has the attribute %s", n.Data, a.Key)
			}
		}
		if n.Data == "style" || n.Data == "script" && attributeOf(n, "src") == "" {
			wrong("there is an inline <%s>", n.Data)
		}
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' && !within(n, "dialog") {
			if now := int(n.Data[1] - '0'); now > level+1 {
				wrong("heading %q jumps from level %d to %d", textOf(n), level, now)
			} else {
				level = now
			}
		}
	}
	for tag, want := range map[string]int{"h1": 1, "main": 1, "title": 1, "footer": 1} {
		if count[tag] != want {
			wrong("%d <%s>", count[tag], tag)
		}
	}
	if p.bodyID() == "" {
		wrong("the body has no id")
	}
	for id, n := range ids {
		if n > 1 {
			wrong("%d elements have the id %s", n, id)
		}
	}
	names := map[string]bool{}
	for _, n := range elements(p.root, "") {
		checkReferences(n, ids, wrong)
		if n.Data == "nav" {
			if name := attributeOf(n, "aria-label"); name == "" || names[name] {
				wrong("a <nav> has no name of its own: %q", name)
			} else {
				names[name] = true
			}
		}
	}
	for _, f := range p.forms() {
		for name := range f.names {
			if !f.labelled[name] {
				wrong("the field %s of the form for %s has no label", name, f.action)
			}
		}
	}
}

// checkReferences checks that an element refers to what is there.
func checkReferences(n *html.Node, ids map[string]int, wrong func(string, ...any)) {
	for _, name := range []string{"for", "aria-labelledby", "aria-describedby", "aria-controls"} {
		for _, id := range strings.Fields(attributeOf(n, name)) {
			if ids[id] == 0 {
				wrong("%s of <%s> names %s, which is not there", name, n.Data, id)
			}
		}
	}
	if href, ok := attribute(n, "href"); ok && n.Data == "a" {
		switch {
		case strings.HasPrefix(href, "#"):
			if ids[href[1:]] == 0 {
				wrong("a link leads to %s, which is not there", href)
			}
		case !strings.HasPrefix(href, "/") || strings.HasPrefix(href, "//"):
			wrong("a link leads away: %s", href)
		}
	}
}

// accessible has axe look at a page of each kind, in both colour schemes and on a phone.
func accessible(t *testing.T, st *stage, kinds map[string]string) {
	source := axeSource(t)
	s, finish := openBrowser(t, st.about.URL, true)
	s.do(chromedp.EmulateViewport(1280, 900))
	s.open("/login?login_hint="+url.QueryEscape(admin), "clusters-index")
	var order []string
	for kind := range kinds {
		order = append(order, kind)
	}
	slices.Sort(order)
	for _, kind := range order {
		s.open(kinds[kind], kind)
		s.isAccessible(source)
	}
	s.signOut()
	s.open("/login", "sign-in")
	s.isAccessible(source)
	s.signIn(nobody, "no-rights")
	s.isAccessible(source)
	finish()
}

// axeSource is the script that finds what assistive technology stumbles over.
func axeSource(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("../../static/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is not installed; run npm ci in the folder static: %v", err)
	}
	return string(source)
}

// isAccessible looks at the present page.
func (s *surfer) isAccessible(axe string) {
	s.t.Helper()
	ask[int](s, axe+";0")
	where := ask[string](s, "location.pathname")
	for _, at := range []struct {
		scheme string
		width  int64
	}{{"light", 1280}, {"dark", 1280}, {"light", 360}} {
		s.do(chromedp.EmulateViewport(at.width, 900), asksFor(at.scheme))
		for _, v := range s.violations() {
			s.t.Errorf("%s, %s, %d wide: %s", where, at.scheme, at.width, v)
		}
		if wide := ask[float64](s, "document.scrollingElement.scrollWidth - innerWidth"); wide > 0 {
			s.t.Errorf("%s is %v pixels wider than a window of %d", where, wide, at.width)
		}
	}
	s.do(chromedp.EmulateViewport(1280, 900), asksFor("light"))
}

// violations is what axe finds on the present page.
func (s *surfer) violations() []string {
	s.t.Helper()
	const run = `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + " " + n.target.join(" ") + ": " + n.failureSummary)))`
	found, err := chromedp.Run(s.ctx, chromedp.Evaluate[[]string](run, chromedp.EvalAwaitPromise))
	if err != nil {
		s.t.Fatalf("running axe: %v", err)
	}
	return found
}
