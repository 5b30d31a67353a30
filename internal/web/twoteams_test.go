package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/dbtest"
)

// team is one of two teams that must never see a byte of each other. Everything that is only theirs
// has their canary in it, or is one of their ids.
type team struct {
	name     string // the canary
	browser  *browser
	account  uuid.UUID
	shared   bool // the account is the other team's, too
	clusters []string
	keys     []string
	ids      map[string][]string // what else may stand in an address, by kind
	canaries []string
}

// ref is the path of one of the team's clusters.
func (m *team) path() string { return clusterPath(m.account, m.clusters[0]) }

// twoTeams is a console with two teams, told apart by a kind of scope.
type twoTeams struct {
	*console
	db      *dbtest.DB
	control string
	teams   [2]*team
}

const twoTeamsToken = "control"

// newTwoTeams makes both teams: an account each, or two clusters each in one account, with canaries in every
// field; keys, sign-ins, grants and acts. Each is account admin of its own, which is the most that a
// scope can give.
func newTwoTeams(t *testing.T, kind string) *twoTeams {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{Seed: 1, ControlToken: twoTeamsToken})
	if err != nil {
		t.Fatal(err)
	}
	api, control := httptest.NewServer(box.Handler()), httptest.NewServer(box.Control())
	t.Cleanup(api.Close)
	t.Cleanup(control.Close)
	upstream, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	w := &twoTeams{control: control.URL}
	w.console, w.db = newFullConsoleAt(t, upstream, 1000)
	var fixtures []sandbox.Fixture
	for _, f := range box.Fixtures() {
		if f.Generation == "current" {
			fixtures = append(fixtures, f)
		}
	}
	for i, name := range []string{"zqalpha", "zqbeta"} {
		w.teams[i] = &team{name: name, ids: map[string][]string{}, canaries: []string{name}}
	}
	if kind == "cluster" || kind == "labels" {
		shared := w.register(fixtures[0], "Shared", "zqalpha zqbeta", accounts.Staging)
		for _, m := range w.teams {
			m.account, m.shared = shared.ID, true
		}
	} else {
		for i, m := range w.teams {
			environment := []accounts.Environment{accounts.Staging, accounts.Production}[i]
			if kind == "account" {
				environment = accounts.Staging
			}
			account := w.register(fixtures[i], m.name+"-account", m.name, environment)
			m.account = account.ID
			m.canaries = append(m.canaries, account.ID.String(), account.CloudAccountID, account.Key.ID.String(), account.Key.Prefix)
		}
	}
	for i, m := range w.teams {
		cloud := fixtures[i].CloudAccountID
		if m.shared {
			cloud = fixtures[0].CloudAccountID
		}
		for n := range 2 {
			var made struct{ Cluster, ID, Key string }
			w.outside(map[string]any{"act": "create_cluster", "account": cloud, "name": fmt.Sprintf("%s-%d", m.name, n)}, &made)
			w.outside(map[string]any{"act": "phase", "account": cloud, "cluster": made.Cluster, "phase": "HEALTHY", "reason": m.name + " reason"}, nil)
			w.outside(map[string]any{"act": "labels", "account": cloud, "cluster": made.Cluster, "labels": map[string]string{"team": m.name, m.name: m.name}}, nil)
			w.outside(map[string]any{"act": "create_key", "account": cloud, "cluster": made.Cluster, "name": fmt.Sprintf("%s-key-%d", m.name, n)}, nil)
			m.clusters = append(m.clusters, made.Cluster)
		}
		m.canaries = append(m.canaries, m.clusters...)
	}
	w.refreshAll()
	for _, m := range w.teams {
		w.signIn(m)
		scope := map[string]string{
			"environment": map[bool]string{true: "staging", false: "production"}[m.name == "zqalpha"], "account": m.account.String(),
			"labels": "team=" + m.name,
		}[kind]
		if kind == "cluster" {
			for _, id := range m.clusters {
				w.grant(m, kind, m.account.String()+"/"+id)
			}
		} else {
			w.grant(m, kind, scope)
		}
	}
	// The rest that the team does itself, so that it stands in the log: in its name, on its own.
	for _, m := range w.teams {
		wantStatus(t, m.browser.post(m.path()+"/restart", "a=b"), http.StatusSeeOther)
		wantStatus(t, m.browser.post(clusterPath(m.account, m.clusters[1])+"/suspend", "a=b"), http.StatusSeeOther)
		wantStatus(t, m.browser.visit(m.path()+"/keys"), http.StatusOK)
		m.keys = keysIn(m.browser.visit(m.path() + "/keys").Body.String())
		if len(m.keys) == 0 {
			t.Fatal("the team's cluster has no key")
		}
		m.canaries = append(m.canaries, m.keys...)
	}
	for _, m := range w.teams {
		m.ids["grant"] = w.column(`SELECT id::text FROM grants WHERE subject LIKE '%' || $1 || '%'`, m.name)
		m.ids["session"] = w.column(`SELECT id::text FROM sessions WHERE subject LIKE '%' || $1 || '%'`, m.name)
		m.ids["event"] = w.column(`SELECT seq::text FROM audit.events WHERE convert_from(body, 'UTF8') LIKE '%' || $1 || '%'
			AND convert_from(body, 'UTF8') NOT LIKE '%' || $2 || '%'`, m.name, w.other(m).name)
		if len(m.ids["grant"]) == 0 || len(m.ids["session"]) == 0 || len(m.ids["event"]) < 4 {
			t.Fatalf("too little of %s: %v", m.name, m.ids)
		}
		m.canaries = append(m.canaries, m.ids["grant"]...)
		m.canaries = append(m.canaries, m.ids["session"]...)
		// What filters offer, and what only lists show.
		w.sql(`UPDATE clusters SET cloud = $2, region = $2, version = $2, version_order = $2, package = $2, phase = upper($2), endpoint = 'https://' || $2 WHERE cluster_id = ANY($1)`,
			m.clusters, m.name)
	}
	return w
}

// keysIn are the ids of the keys that a page links to.
func keysIn(body string) (ids []string) {
	for _, found := range regexp.MustCompile(`/keys/([0-9a-fA-F-]{36})/`).FindAllStringSubmatch(body, -1) {
		if !slices.Contains(ids, found[1]) {
			ids = append(ids, found[1])
		}
	}
	return ids
}

func (w *twoTeams) other(m *team) *team {
	if w.teams[0] == m {
		return w.teams[1]
	}
	return w.teams[0]
}

func (w *twoTeams) register(f sandbox.Fixture, name, canary string, environment accounts.Environment) accounts.Account {
	w.t.Helper()
	account, err := w.accounts.Create(w.t.Context(), accounts.JobActor("test"), accounts.NewAccount{
		Generation: cloudapi.Generation(f.Generation), Key: cloudapi.NewSecret([]byte(f.ManagementKey)),
		Name: name, Environment: environment, Owner: canary + " owner", Note: canary + " note",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.sql(`UPDATE accounts SET upstream_name = $2, owner_email = $3 WHERE id = $1`, account.ID, canary+" upstream", strings.ReplaceAll(canary, " ", "-")+"@owner.example")
	return account
}

// signIn has the team's member sign in, so that they are known.
func (w *twoTeams) signIn(m *team) {
	w.t.Helper()
	w.idp.claims = func(c map[string]any) {
		c["sub"], c["name"], c["email"], c["email_verified"], c["groups"] = m.name+"-subject", m.name+" member", m.name+"@example.test", true, []string{m.name + "-group"}
	}
	m.browser = w.browser()
	wantStatus(w.t, m.browser.signIn("/login?go=1"), http.StatusSeeOther)
}

// grant gives the team's member account admin, and its group viewer.
func (w *twoTeams) grant(m *team, kind, scope string) {
	w.t.Helper()
	for _, n := range []accounts.NewGrant{
		{SubjectKind: accounts.SubjectMember, Subject: w.idp.URL + "|" + m.name + "-subject", Role: "account-admin"},
		{SubjectKind: accounts.SubjectGroup, Subject: m.name + "-group", Role: "viewer"},
		{SubjectKind: accounts.SubjectMember, Subject: m.name + "-waits@example.test", Role: "viewer"},
	} {
		n.ScopeKind, n.Scope, n.Reason = kind, scope, m.name+" reason"
		by := accounts.JobActor("test")
		if _, err := w.accounts.CreateGrant(w.t.Context(), by, n); err != nil {
			w.t.Fatalf("grant of %s %s: %v", kind, scope, err)
		}
	}
}

func (w *twoTeams) sql(statement string, arguments ...any) {
	w.t.Helper()
	if _, err := w.db.Pool.Exec(w.t.Context(), statement, arguments...); err != nil {
		w.t.Fatalf("%s: %v", statement, err)
	}
}

func (w *twoTeams) column(query string, arguments ...any) (values []string) {
	w.t.Helper()
	rows, err := w.db.Pool.Query(w.t.Context(), query, arguments...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			w.t.Fatal(err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return values
}

func (w *twoTeams) outside(what map[string]any, out any) {
	w.t.Helper()
	body, err := json.Marshal(what)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.control+"/_sandbox/outside", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+twoTeamsToken)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		w.t.Fatalf("%v: %d", what, resp.StatusCode)
	}
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			w.t.Fatal(err)
		}
	}
}

// refreshAll reads every account once.
func (w *twoTeams) refreshAll() {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.accounts.Run(ctx) }()
	waitFor(w.t, time.Minute, "every account to be read", func() bool {
		var left, missing int
		err := w.db.Pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM refresh WHERE ok_at IS NULL)`).Scan(&left)
		for _, m := range w.teams {
			for _, id := range m.clusters {
				var n int
				if w.db.Pool.QueryRow(ctx, `SELECT count(*) FROM clusters WHERE cluster_id = $1 AND labels ? 'team'`, id).Scan(&n) != nil || n == 0 {
					missing++
				}
			}
		}
		return err == nil && left+missing == 0
	})
	stop()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
}

// told is everything that an answer says.
func told(r *httptest.ResponseRecorder) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Code)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.Header() {
			if !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintln(&b, name, r.Header()[name])
	}
	b.Write(r.Body.Bytes())
	return b.String()
}

// leaks fails the test when an answer holds a canary of the other team's. What the member typed into the
// address comes back to them, and is no leak.
func (w *twoTeams) leaks(m *team, what string, r *httptest.ResponseRecorder, typed ...string) {
	w.t.Helper()
	text := told(r)
	for _, own := range typed {
		if own != "" {
			text = strings.ReplaceAll(text, own, "")
			text = strings.ReplaceAll(text, url.QueryEscape(own), "")
		}
	}
	for _, canary := range w.other(m).canaries {
		if i := strings.Index(strings.ToLower(text), strings.ToLower(canary)); i >= 0 {
			w.t.Errorf("%s: %s answers %s of %s:\n...%s...", m.name, what, canary, w.other(m).name, text[max(0, i-200):min(len(text), i+200)])
			return
		}
	}
	if r.Code >= 500 && !strings.Contains(what, "quote") {
		w.t.Errorf("%s: %s answers %d\n%.600s", m.name, what, r.Code, r.Body)
	}
}

// alike is what an answer tells with the ids of the request taken out.
func alike(r *httptest.ResponseRecorder, ids ...string) string {
	text := told(r)
	for _, id := range append([]string{r.Header().Get("X-Request-Id")}, ids...) {
		if id != "" {
			text = strings.ReplaceAll(text, id, "ID")
		}
	}
	// Every form has a token of its own.
	return grantToken.ReplaceAllString(dateHeader.ReplaceAllString(text, ""), `name="form_token"`)
}

var dateHeader = regexp.MustCompile(`(?m)^Date .*$`)

// filled puts values into the placeholders of a route; the first :id is that of an account.
func filled(pattern string, values map[string]string) string {
	for name, value := range values {
		pattern = strings.ReplaceAll(pattern, ":"+name, value)
	}
	return strings.ReplaceAll(pattern, "*", "app.css")
}

const missingEvent = "987654321"

// twins are addresses of a route with ids of the other team's, each with one of what does not exist, and
// the ids in them.
func (w *twoTeams) twins(m *team, pattern string) (pairs [][2]string, ids [][]string) {
	o := w.other(m)
	add := func(theirs, missing map[string]string) {
		var all []string
		for name := range theirs {
			if len(theirs[name]) >= 36 { // what is shorter may stand anywhere
				all = append(all, theirs[name], missing[name])
			}
		}
		pairs = append(pairs, [2]string{filled(pattern, theirs), filled(pattern, missing)})
		ids = append(ids, all)
	}
	none := func() string { return uuid.NewString() }
	nowhere := uuid.Must(uuid.NewV7()).String()
	switch {
	case strings.HasPrefix(pattern, "/accounts/:id"):
		key := o.keys[0]
		if strings.Contains(pattern, "/key/old/") {
			key = none()
		}
		if !m.shared {
			add(map[string]string{"id": o.account.String(), "cluster": o.clusters[0], "key": key}, map[string]string{"id": nowhere, "cluster": none(), "key": none()})
			add(map[string]string{"id": o.account.String(), "cluster": none(), "key": none()}, map[string]string{"id": nowhere, "cluster": none(), "key": none()})
		}
		if strings.Contains(pattern, ":cluster") {
			for _, cluster := range o.clusters[:1] {
				add(map[string]string{"id": m.account.String(), "cluster": cluster, "key": key}, map[string]string{"id": m.account.String(), "cluster": none(), "key": key})
			}
		}
		if strings.Contains(pattern, ":key") && strings.Contains(pattern, ":cluster") {
			add(map[string]string{"id": m.account.String(), "cluster": m.clusters[0], "key": key}, map[string]string{"id": m.account.String(), "cluster": m.clusters[0], "key": none()})
		}
		if m.shared {
			add(map[string]string{"id": m.account.String(), "cluster": none(), "key": none()}, map[string]string{"id": nowhere, "cluster": none(), "key": none()})
		}
	case strings.Contains(pattern, ":seq"):
		for _, seq := range o.ids["event"] {
			add(map[string]string{"seq": seq}, map[string]string{"seq": missingEvent})
		}
	case strings.Contains(pattern, ":"):
		for _, kind := range []string{"session", "grant"} {
			for _, id := range o.ids[kind] {
				add(map[string]string{"id": id}, map[string]string{"id": nowhere})
			}
		}
		add(map[string]string{"id": o.account.String()}, map[string]string{"id": nowhere})
	default:
		account, cluster := o.account.String(), o.clusters[0]
		noAccount, noCluster := nowhere, none()
		if m.shared {
			noAccount = account
		}
		for _, ask := range []string{
			"account=%s&cluster=%s", "account=%s&id=%s&key=%[2]s&target=%[2]s", "scope_kind=cluster&scope=%s%%2F%s&subject_kind=member&subject=" + url.QueryEscape(m.name+"-waits@example.test") + "&role=viewer&reason=because",
		} {
			pairs = append(pairs, [2]string{pattern + "?" + fmt.Sprintf(ask, account, cluster), pattern + "?" + fmt.Sprintf(ask, noAccount, noCluster)})
			ids = append(ids, []string{cluster, noCluster, account, noAccount})
		}
	}
	return pairs, ids
}

// queries are what lists may be asked for without saying a canary: parts of it, and every way to sort.
func (w *twoTeams) queries(m *team) []string {
	part := w.other(m).name[1:5]
	return []string{
		"", "?q=" + part + "&state=trouble", "?q=" + part + "&subject=" + part + "&actor=" + part + "&account=" + part + "&state=all", "?state=all&kind=member",
		"?outcome=ok&act=cluster.restart&format=csv", "?format=ndjson&provider=aws", "?sort=account&dir=desc", "?sort=region", "?q=" + part + "&sort=phase",
	}
}

var anyID = regexp.MustCompile(`[0-9a-fA-F-]{36}|\d+`)

var twoTeamsLink = regexp.MustCompile(`(?:href|action|hx-get|src)="(/[^"#]*)`)

// crawl follows every link from the first page on, as a page and as the part that htmx asks for.
func (w *twoTeams) crawl(m *team) (pages int) {
	w.t.Helper()
	seen, todo, ways := map[string]bool{}, []string{"/", "/clusters", "/accounts", "/packages", "/audit", "/me", "/clusters/new", m.path()}, map[string]int{}
	for len(todo) > 0 {
		target := todo[0]
		todo = todo[1:]
		path, _, _ := strings.Cut(target, "?")
		likeIt := anyID.ReplaceAllString(path, ":id")
		// A page that is like others is asked for a few times only: so many ways to sort and so many clusters.
		if seen[target] || ways[likeIt] >= 4 || strings.HasPrefix(target, "/static/") || strings.HasPrefix(target, "/login") {
			continue
		}
		seen[target] = true
		ways[likeIt]++
		pages++
		for _, r := range []*http.Request{w.request(http.MethodGet, target, ""), m.browser.backgroundRequest(target)} {
			answer := m.browser.send(r)
			w.leaks(m, r.Method+" "+target, answer)
			if next := answer.Header().Get("Location"); strings.HasPrefix(next, "/") {
				todo = append(todo, next)
			}
			for _, found := range twoTeamsLink.FindAllStringSubmatch(answer.Body.String(), -1) {
				todo = append(todo, strings.ReplaceAll(found[1], "&amp;", "&"))
			}
		}
	}
	return pages
}

// TestTwoTeamsNeverSeeAByteOfEachOther: told apart by environment, account, cluster or label, neither
// team is shown anything of the other's by any page, list, count, search, filter, export, error, header or
// redirect; and what is the other's answers as what does not exist does.
func TestTwoTeamsNeverSeeAByteOfEachOther(t *testing.T) {
	for _, kind := range []string{"environment", "account", "cluster", "labels"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newTwoTeams(t, kind)
			for _, m := range w.teams {
				// It is their own that they see: otherwise nothing would be shown by this.
				body := m.browser.visit("/clusters").Body.String()
				for _, id := range m.clusters {
					if !strings.Contains(body, id) {
						t.Fatalf("%s does not see its own cluster", m.name)
					}
				}
				for _, field := range []string{"zq" + m.name[2:] + "-0", `value="` + m.name + `"`} {
					if !strings.Contains(body, field) {
						t.Errorf("%s does not see %q of its own", m.name, field)
					}
				}
				if pages := w.crawl(m); pages < 20 {
					t.Errorf("only %d pages were found", pages)
				}
				w.everyGet(m)
				w.everyPost(m)
			}
		})
	}
}

func (w *twoTeams) everyGet(m *team) {
	for _, r := range w.routes() {
		if r.Method != http.MethodGet || r.Path == pathLogin || r.Path == pathCallback || r.Path == pathStatic {
			continue
		}
		if !strings.Contains(r.Path, ":") {
			for _, query := range w.queries(m) {
				w.leaks(m, "GET "+r.Path+query, m.browser.visit(r.Path+query))
				w.leaks(m, "part of "+r.Path+query, m.browser.send(m.browser.backgroundRequest(r.Path+query)))
			}
		} else {
			own := filled(r.Path, map[string]string{"id": m.account.String(), "cluster": m.clusters[0], "key": m.keys[0], "seq": m.ids["event"][0]})
			for _, r := range []*http.Request{m.browser.request(http.MethodGet, own, ""), m.browser.request(http.MethodHead, own, ""), m.browser.backgroundRequest(own)} {
				w.leaks(m, r.Method+" "+own, m.browser.send(r))
			}
		}
		pairs, ids := w.twins(m, r.Path)
		for i, pair := range pairs {
			w.compare(m, "GET "+r.Path, ids[i], func(target string) *http.Request { return m.browser.request(http.MethodGet, target, "") }, pair)
			if i == 0 {
				w.compare(m, "part of "+r.Path, ids[i], m.browser.backgroundRequest, pair)
			}
		}
	}
}

// everyPost sends what is filled in plausibly and what is not.
func (w *twoTeams) everyPost(m *team) {
	forms := []string{
		"a=b",
		"confirm=x&delete_backups=no&name=a-name&nodes=1&package_id=" + uuid.NewString() + "&labels=&cloud_provider=aws&region=us-east-1&reason=because&environment=staging" +
			"&revision=00000000000000000000000000000000&expires_in_days=30&access=read&generation=current&management_key=nonsense&form_token=nonsense",
	}
	for _, r := range w.routes() {
		if r.Method != http.MethodPost || r.Path == pathLogout {
			continue
		}
		pairs, ids := w.twins(m, r.Path)
		for i, pair := range pairs {
			for _, form := range forms {
				w.compare(m, "POST "+r.Path, ids[i], func(target string) *http.Request {
					path, query, _ := strings.Cut(target, "?")
					return m.browser.request(http.MethodPost, path, form+"&"+query)
				}, pair)
			}
		}
	}
}

// compare asks for both of a pair: neither may leak, and both must say the same.
func (w *twoTeams) compare(m *team, what string, ids []string, ask func(target string) *http.Request, pair [2]string) {
	w.t.Helper()
	theirs, missing := m.browser.send(ask(pair[0])), m.browser.send(ask(pair[1]))
	w.leaks(m, what+": "+pair[0], theirs, ids...)
	if diff := cmp.Diff(alike(missing, ids...), alike(theirs, ids...)); diff != "" {
		w.t.Errorf("%s: %s of %s does not answer as what does not exist (-missing +theirs)\n%.1500s", m.name, what, pair[0], diff)
	}
}

// TestARefusalTakesAsLongAsWhatIsMissing: the time of a 404 does not tell whether there is something. Both
// are asked for in turn, and compared by their medians in one run.
func TestARefusalTakesAsLongAsWhatIsMissing(t *testing.T) {
	w := newTwoTeams(t, "account")
	m, o := w.teams[0], w.teams[1]
	for name, pair := range map[string][2]string{
		"an account":                      {accountPath(o.account), accountPath(uuid.Must(uuid.NewV7()))},
		"a cluster":                       {o.path(), clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString())},
		"a cluster in one's own account":  {clusterPath(m.account, o.clusters[0]), clusterPath(m.account, uuid.NewString())},
		"a cluster in another's account":  {o.path(), clusterPath(o.account, uuid.NewString())},
		"the keys of a cluster":           {o.path() + "/keys", clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString()) + "/keys"},
		"the form of a cluster's restart": {o.path() + "/restart", clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString()) + "/restart"},
		"posted":                          {o.path() + "/restart", clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString()) + "/restart"},
	} {
		t.Run(name, func(t *testing.T) {
			const rounds = 150
			method, body := http.MethodGet, ""
			if name == "posted" {
				method, body = http.MethodPost, "a=b"
			}
			measure := func() float64 {
				var took [2][]time.Duration
				for i := range 2 * rounds {
					which := (i + i/2) % 2 // each as often first as second
					r := m.browser.request(method, pair[which], body)
					for _, cookie := range m.browser.jar.Cookies(m.browser.at) {
						r.AddCookie(cookie)
					}
					began := time.Now()
					answer := m.browser.serve(r)
					took[which] = append(took[which], time.Since(began))
					if answer.Code != http.StatusNotFound {
						t.Fatalf("%s answers %d", pair[which], answer.Code)
					}
				}
				slices.Sort(took[0])
				slices.Sort(took[1])
				return float64(took[0][rounds/2]) / float64(took[1][rounds/2])
			}
			ratio := measure()
			for range 5 { // once more, should the machine have been busy with something else
				if off(ratio) < 1.15 {
					break
				}
				if again := measure(); off(again) < off(ratio) {
					ratio = again
				}
			}
			t.Logf("theirs takes %.3f of what is missing", ratio)
			// A query more or a wait for the log is half as long again at least.
			if off(ratio) > 1.35 {
				t.Errorf("theirs takes %.2f times as long as what is missing", ratio)
			}
		})
	}
}

// off is how many times one is the other, whichever is more.
func off(ratio float64) float64 { return max(ratio, 1/ratio) }
