package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	tries    *browser // of the member who crawls and tries
	account  uuid.UUID
	shared   bool // the account is the other team's, too
	clusters []string
	legacy   uuid.UUID // their account of the older API; by labels nobody sees it, as its clusters have none
	older    []string  // its clusters
	keys     []string
	ids      map[string][]string // what else may stand in an address, by kind
	canaries []string
}

// plain is the subject of the member who tries the other team's things. Their name is no canary: who was refused
// on an account is told to its auditors, and that is theirs to know.
func (m *team) plain() string { return "member-" + strconv.Itoa(len(m.name)) }

// path is that of one of the team's clusters.
func (m *team) path() string { return clusterPath(m.account, m.clusters[0]) }

// group is the page of the group that has the team's rights; it is the console's own, as a job gives them.
func (m *team) group() string { return groupPath(accounts.InternalIssuer, m.name+"-group") }

// twoTeams is a console with two teams, told apart by a kind of scope.
type twoTeams struct {
	*console
	db       *dbtest.DB
	kind     string
	controls map[string]string // address of the sandbox's control by account at Qdrant Cloud
	teams    [2]*team
	plant    func(r *http.Request, pattern string, w *httptest.ResponseRecorder) // alters answers, as a mistake would; optional
	report   func(finding string)
	patterns []*twoTeamsPattern
	reached  *twoTeamsReached
}

// twoTeamsPattern finds the route of an address.
type twoTeamsPattern struct {
	method, pattern string
	matches         *regexp.Regexp
}

// twoTeamsReached is how often which routes answered with which status, over all ways to tell teams apart.
type twoTeamsReached struct {
	mu sync.Mutex
	by map[string]map[int]int
}

func (n *twoTeamsReached) note(route string, status int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.by[route] == nil {
		n.by[route] = map[int]int{}
	}
	n.by[route][status]++
}

// route is the pattern of the route that a request reaches; the more particular ones come first.
func (w *twoTeams) route(r *http.Request) string {
	if w.patterns == nil {
		for _, one := range w.routes() {
			parts := strings.Split(one.Path, "/")
			for i, part := range parts {
				switch {
				case strings.HasPrefix(part, ":"):
					parts[i] = "[^/]+"
				case part == "*":
					parts[i] = ".*"
				default:
					parts[i] = regexp.QuoteMeta(part)
				}
			}
			w.patterns = append(w.patterns, &twoTeamsPattern{one.Method, one.Path, regexp.MustCompile("^" + strings.Join(parts, "/") + "$")})
		}
		slices.SortStableFunc(w.patterns, func(a, b *twoTeamsPattern) int { return strings.Count(a.pattern, ":") - strings.Count(b.pattern, ":") })
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, p := range w.patterns {
		if p.method == method && p.matches.MatchString(r.URL.Path) {
			return p.pattern
		}
	}
	return ""
}

// ask sends a request of the team's member.
func (w *twoTeams) ask(m *team, r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	pattern := w.route(r)
	answer := m.browser.send(r)
	if pattern != "" {
		w.reached.note(r.Method+" "+pattern, answer.Code)
	}
	if w.plant != nil {
		w.plant(r, pattern, answer)
	}
	return answer
}

const twoTeamsToken = "control"

// newTwoTeams makes both teams: an account each, or two clusters each in one account, with canaries in every
// field; keys, sign-ins, grants and acts. Each is account admin of its own, which is the most that a
// scope can give.
func newTwoTeams(t *testing.T, kind string) *twoTeams {
	t.Helper()
	w := &twoTeams{kind: kind, controls: map[string]string{}, reached: &twoTeamsReached{by: map[string]map[int]int{}}}
	w.report = func(finding string) { w.t.Helper(); w.t.Error(finding) }
	// A sandbox has one account of the older API. So there are two, and the key says which is asked.
	var boxes [2]*sandbox.Sandbox
	var fixtures, older []sandbox.Fixture
	for i := range boxes {
		box, err := sandbox.New(sandbox.Config{Seed: int64(i + 1), ControlToken: twoTeamsToken})
		if err != nil {
			t.Fatal(err)
		}
		control := httptest.NewServer(box.Control())
		t.Cleanup(control.Close)
		boxes[i] = box
		for _, f := range box.Fixtures() {
			w.controls[f.CloudAccountID] = control.URL
			switch {
			case f.Generation == "pa-v1":
				older = append(older, f)
			case i == 0:
				fixtures = append(fixtures, f)
			}
		}
	}
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		box := boxes[0]
		if strings.HasSuffix(r.Header.Get("Authorization"), " "+older[1].ManagementKey) {
			box = boxes[1]
		}
		box.Handler().ServeHTTP(rw, r)
	}))
	t.Cleanup(api.Close)
	upstream, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.console, w.db = newFullConsoleAt(t, upstream, 1000)
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
	for i, m := range w.teams {
		environment := accounts.Staging
		if kind == "environment" && i == 1 {
			environment = accounts.Production
		}
		account := w.register(older[i], m.name+"-legacy", m.name, environment)
		m.legacy = account.ID
		old := uuid.Must(uuid.NewV7()).String()
		w.sql(`INSERT INTO management_keys (id, account_id, prefix, sealed, provenance, added_at, added_by, retired_at) VALUES ($1, $2, $3, '\x00', 'pasted', now(), $4, now())`,
			old, account.ID, m.name+"-old", m.name+" keeper")
		m.ids["old key"] = []string{old}
		m.canaries = append(m.canaries, account.ID.String(), account.CloudAccountID, account.Key.ID.String(), account.Key.Prefix, old)
	}
	w.refreshAll()
	for i, m := range w.teams {
		m.older = w.column(`SELECT cluster_id FROM clusters WHERE account_id = $1 AND phase = 'HEALTHY' ORDER BY cluster_id`, m.legacy)
		if len(m.older) < 2 || !w.sees(m) && kind != "labels" {
			t.Fatalf("%s has %d healthy clusters of the older API", m.name, len(m.older))
		}
		for n, id := range m.older {
			w.outside(map[string]any{"act": "rename", "account": older[i].CloudAccountID, "cluster": id, "name": fmt.Sprintf("%s-older-%d", m.name, n)}, nil)
		}
		m.canaries = append(m.canaries, w.column(`SELECT cluster_id FROM clusters WHERE account_id = $1`, m.legacy)...)
	}
	w.sql(`UPDATE refresh SET next_at = now(), ok_at = NULL`)
	w.refreshAll()
	for _, m := range w.teams {
		w.signIn(m)
		scope := map[string]string{
			"environment": map[bool]string{true: "staging", false: "production"}[m.name == "zqalpha"], "account": m.account.String(),
			"labels": "team=" + m.name,
		}[kind]
		switch kind {
		case "cluster":
			for _, id := range m.clusters {
				w.grant(m, kind, m.account.String()+"/"+id)
			}
			for _, id := range m.older {
				w.grant(m, kind, m.legacy.String()+"/"+id)
			}
		case "account":
			w.grant(m, kind, scope)
			w.grant(m, kind, m.legacy.String())
		default:
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
		m.browser = m.tries
		w.sql(`UPDATE clusters SET cloud = $2, region = $2, version = $2, version_order = $2, package = $2, phase = upper($2), endpoint = 'https://' || $2 WHERE cluster_id = ANY($1)`,
			slices.Concat(m.clusters, m.older), m.name)
	}
	return w
}

// plantBackups gives the team's clusters backups and schedules in whose every field it is told whose they are. The next
// reading takes them away.
func (w *twoTeams) plantBackups(m *team) {
	w.t.Helper()
	for n, cluster := range m.clusters {
		backup, schedule := fmt.Sprintf("%s-backup-%d", m.name, n), fmt.Sprintf("%s-schedule-%d", m.name, n)
		m.canaries = append(m.canaries, backup, schedule)
		w.sql(`INSERT INTO backups (account_id, backup_id, cluster_id, name, stored_as, status, schedule_id, created_at) VALUES ($1, $2, $3, $4, $4, upper($4), $5, now())`,
			m.account, backup, cluster, m.name, schedule)
		w.sql(`INSERT INTO backup_schedules (account_id, schedule_id, cluster_id, name, cron, status, watched_at) VALUES ($1, $2, $3, $4, $4, upper($4), now())`, m.account, schedule, cluster, m.name)
		w.sql(`INSERT INTO cluster_backups (account_id, cluster_id, cluster_digest, unsupported, last_status, running, schedules) VALUES ($1, $2, '\x00', $3, $4, 0, 0)
			ON CONFLICT ON CONSTRAINT cluster_backups_pkey DO UPDATE SET unsupported = excluded.unsupported, last_status = excluded.last_status`,
			m.account, cluster, m.name, map[int]string{1: strings.ToUpper(m.name)}[n])
	}
}

// TestRefusedLabelsKeepTheForm: that a grant goes by a label is said at the field, before and after; nothing that was
// typed is lost.
func TestRefusedLabelsKeepTheForm(t *testing.T) {
	w := newTwoTeams(t, "labels")
	m := w.teams[0]
	b := w.signedIn("changer", "Changer", "changer@example.test", "nobody-group")
	viewer := w.signedIn("looker", "Looker", "looker@example.test", "nobody-group")
	for subject, role := range map[string]string{"changer": "operator", "looker": "viewer"} {
		if _, err := w.accounts.CreateGrant(t.Context(), accounts.JobActor("test"), accounts.NewGrant{
			SubjectKind: accounts.SubjectMember, Subject: w.idp.URL + "|" + subject, Role: role, ScopeKind: "account", Scope: m.account.String(), Reason: "r",
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.outside(map[string]any{"act": "phase", "account": w.column(`SELECT cloud_account_id FROM accounts WHERE id = $1`, m.account)[0], "cluster": m.clusters[0], "phase": "HEALTHY"}, nil)
	form := b.visit(m.path() + "/update")
	wantStatus(t, form, http.StatusOK)
	wantSaid(t, form, "Grants go by team: only who gives rights here may change it.")
	revision := regexp.MustCompile(`name="revision" value="([^"]+)"`).FindStringSubmatch(form.Body.String())
	if revision == nil {
		t.Fatal("the form has no revision")
	}
	answer := b.post(m.path()+"/update", url.Values{"revision": {revision[1]}, "labels": {"team=mine"}, "cost_allocation_label": {"typed"}}.Encode())
	wantStatus(t, answer, http.StatusForbidden)
	wantSaid(t, answer, `id="f-labels-error"`, "Rights rest on the label team, so changing it changes who may do what.", "team=mine</textarea>", `value="typed"`, "Why may I not?", "<code class=\"font-semibold\">grants:manage</code>", `href="/me"`)
	// A page of a refusal leads back to the cluster.
	refused := viewer.visit(m.path() + "/update")
	wantStatus(t, refused, http.StatusForbidden)
	wantSaid(t, refused, `href="`+m.path()+`" data-testid="back"`, "Back to the cluster")
}

// TestAdminTabsAreThoseThatOpen: who administers one account is led to no page that needs the right on everything, and
// told so when they ask for one.
func TestAdminTabsAreThoseThatOpen(t *testing.T) {
	w := newTwoTeams(t, "account")
	b := w.teams[0].browser
	page := b.visit(pathGrants)
	wantStatus(t, page, http.StatusOK)
	tabs := regexp.MustCompile(`(?s)aria-label="Administration".*?</nav>`).FindString(page.Body.String())
	links := twoTeamsLink.FindAllStringSubmatch(tabs, -1)
	if len(links) < 3 {
		t.Fatalf("the tabs are %q", tabs)
	}
	for _, link := range links {
		wantStatus(t, b.visit(link[1]), http.StatusOK)
	}
	for _, path := range []string{pathGroups, pathReview} {
		refused := b.visit(path)
		wantStatus(t, refused, http.StatusForbidden)
		wantSaid(t, refused, "You hold it on a part of the console; this needs it on everything.")
	}
}

// sees reports whether the team sees its account of the older API.
func (w *twoTeams) sees(*team) bool { return w.kind != "labels" }

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
		Generation: cloudapi.Generation(f.Generation), Key: cloudapi.NewSecret([]byte(f.ManagementKey)), CloudAccountID: f.CloudAccountID,
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
	m.browser = w.signedIn(m.name+"-subject", m.name+" member", m.name+"@example.test", m.name+"-group")
	m.tries = w.signedIn(m.plain(), "Member", m.plain()+"@example.test", m.name+"-group")
}

func (w *twoTeams) signedIn(subject, name, email, group string) *browser {
	w.t.Helper()
	w.idp.claims = func(c map[string]any) {
		c["sub"], c["name"], c["email"], c["email_verified"], c["groups"] = subject, name, email, true, []string{group}
	}
	b := w.browser()
	wantStatus(w.t, b.signIn("/login?go=1"), http.StatusSeeOther)
	return b
}

// grant gives the team's member account admin, and its group viewer.
func (w *twoTeams) grant(m *team, kind, scope string) {
	w.t.Helper()
	for _, n := range []accounts.NewGrant{
		{SubjectKind: accounts.SubjectMember, Subject: w.idp.URL + "|" + m.name + "-subject", Role: "account-admin"},
		{SubjectKind: accounts.SubjectMember, Subject: w.idp.URL + "|" + m.plain(), Role: "account-admin"},
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
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.controls[what["account"].(string)]+"/_sandbox/outside", bytes.NewReader(body))
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
		err := w.db.Pool.QueryRow(ctx, `
			SELECT (SELECT count(*) FROM refresh WHERE ok_at IS NULL)
				+ (SELECT count(*) FROM accounts a WHERE NOT EXISTS (SELECT FROM refresh r WHERE r.account_id = a.id AND r.kind = 'keys'))
				+ (SELECT count(*) FROM accounts a WHERE a.generation = 'current' AND NOT EXISTS (SELECT FROM refresh r WHERE r.account_id = a.id AND r.kind = 'backups'))`).Scan(&left)
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
	lower := strings.ToLower(text)
	for _, canary := range w.other(m).canaries {
		if i := strings.Index(lower, strings.ToLower(canary)); i >= 0 {
			w.report(fmt.Sprintf("%s: %s answers %s of %s:\n...%s...", m.name, what, canary, w.other(m).name, text[max(0, i-200):min(len(text), i+200)]))
			return
		}
	}
	if r.Code >= 500 && !strings.Contains(what, "quote") {
		w.report(fmt.Sprintf("%s: %s answers %d\n%.600s", m.name, what, r.Code, r.Body))
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
		if strings.Contains(pattern, "/key/old/") {
			key = o.ids["old key"][0]
			add(map[string]string{"id": m.legacy.String(), "key": key}, map[string]string{"id": m.legacy.String(), "key": none()})
		}
		add(map[string]string{"id": o.legacy.String(), "cluster": o.older[0], "key": key}, map[string]string{"id": nowhere, "cluster": none(), "key": none()})
		if strings.Contains(pattern, ":cluster") {
			add(map[string]string{"id": m.legacy.String(), "cluster": o.older[0], "key": key}, map[string]string{"id": m.legacy.String(), "cluster": none(), "key": key})
		}
	case strings.Contains(pattern, ":member"):
		for _, subject := range []string{o.name + "-subject", o.plain()} {
			add(map[string]string{"member": w.accounts.MemberID(w.idp.URL, subject), "id": o.ids["session"][0]}, map[string]string{"member": w.accounts.MemberID(w.idp.URL, "nobody"), "id": nowhere})
		}
	case strings.Contains(pattern, ":line"):
		for _, id := range o.ids["grant"] {
			add(map[string]string{"line": id}, map[string]string{"line": nowhere})
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
			"account=%s&cluster=%s", "account=%s&id=%s&key=%[2]s&target=%[2]s", "act=cluster.delete&account=%s&cluster=%s", "scope_kind=cluster&scope=%s%%2F%s&subject_kind=member&subject=" + url.QueryEscape(m.name+"-waits@example.test") + "&role=viewer&reason=because",
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
	seen, todo, ways := map[string]bool{}, []string{"/", "/clusters", "/accounts", "/packages", "/audit", "/me", "/me/why?act=cluster.update&account=" + m.account.String() + "&cluster=" + m.clusters[0], "/clusters/new", m.path(), m.group(), w.other(m).group()}, map[string]int{}
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
			answer := w.ask(m, r)
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

// TestTwoTeamsNeverSeeAByteOfEachOther: told apart by environment, account, cluster or label, with an account of either
// API each, neither team is shown anything of the other's by any page, part, list, count, search, filter, export, error,
// header or redirect; and what is the other's answers as what does not exist does. Which routes none of that reaches is
// listed in twoTeamsUnseen.
func TestTwoTeamsNeverSeeAByteOfEachOther(t *testing.T) {
	reached := &twoTeamsReached{by: map[string]map[int]int{}}
	var routes []route
	t.Run("by", func(t *testing.T) {
		for _, kind := range []string{"environment", "account", "cluster", "labels"} {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				w := newTwoTeams(t, kind)
				w.reached = reached
				if kind == "account" {
					routes = w.routes()
				}
				for _, m := range w.teams {
					w.plantBackups(m)
				}
				for _, m := range w.teams {
					// It is their own that they see: otherwise nothing would be shown by this.
					body := m.browser.visit("/clusters").Body.String()
					seen := m.clusters
					if w.sees(m) {
						seen = slices.Concat(m.clusters, m.older)
					}
					for _, id := range seen {
						if !strings.Contains(body, id) {
							t.Fatalf("%s does not see its own cluster %s", m.name, id)
						}
					}
					for _, field := range []string{"zq" + m.name[2:] + "-0", `value="` + m.name + `"`} {
						if !strings.Contains(body, field) {
							t.Errorf("%s does not see %q of its own", m.name, field)
						}
					}
					for page, field := range map[string]string{pathBackups: m.name + "-0", m.path() + pathBackups: m.name + "-backup-0"} {
						if own := m.browser.visit(page).Body.String(); !strings.Contains(own, field) || strings.Count(own, m.name) < 5 {
							t.Errorf("%s does not see %q of its own on %s", m.name, field, page)
						}
					}
					if pages := w.crawl(m); pages < 20 {
						t.Errorf("only %d pages were found", pages)
					}
					w.everyGet(m)
					w.everyPost(m)
				}
				for _, m := range w.teams {
					w.everyOwnPost(m)
				}
			})
		}
	})
	unseen := map[string]string{}
	for _, r := range routes {
		name := r.Method + " " + r.Path
		answers := reached.by[name]
		switch {
		case r.Method == http.MethodGet && answers[http.StatusOK]+answers[http.StatusSeeOther] == 0:
			unseen[name] = fmt.Sprint(answers)
		case r.Method == http.MethodPost && answers[http.StatusOK]+answers[http.StatusSeeOther]+answers[http.StatusUnprocessableEntity]+answers[http.StatusConflict] == 0:
			unseen[name] = fmt.Sprint(answers)
		}
	}
	for name, answers := range unseen {
		if twoTeamsUnseen[name] == "" {
			t.Errorf("neither team is shown anything by %s, which answers %s, and twoTeamsUnseen does not say why", name, answers)
		}
	}
	for name := range twoTeamsUnseen {
		if unseen[name] == "" {
			t.Errorf("%s is reached, and twoTeamsUnseen says it is not", name)
		}
	}
}

// twoTeamsUnseen are the routes that show neither team anything but a refusal, whatever they are asked, and why. They are
// compared with what does not exist all the same.
var twoTeamsUnseen = func() map[string]string {
	unseen := map[string]string{}
	because := func(reason string, routes ...string) {
		for _, r := range routes {
			unseen[r] = reason
		}
	}
	because("before a session, the same for everybody", "GET /login", "GET /auth/callback", "GET /static/*")
	because("needs a break-glass link, and shows nothing without", "GET /break-glass", "POST /break-glass")
	because("needs members:manage on everything", "GET /admin/break-glass/:id")
	because("nothing was changed outside of what they have", "GET /audit/outside/:seq", "POST /audit/outside/:seq/acknowledge")
	because("would end the session that crawls; of the other team's it is compared", "POST /logout", "POST /me/sessions/:id/end")
	because("needs accounts:manage everywhere", "GET /accounts/new", "POST /accounts")
	because("needs members:manage or grants:manage everywhere, which no scope gives",
		"POST /break-glass/:id/end", "GET /admin/members", "GET /admin/members/:member", "GET /admin/members/:member/keys",
		"GET /admin/members/:member/block", "POST /admin/members/:member/block", "GET /admin/members/:member/unblock", "POST /admin/members/:member/unblock",
		"POST /admin/members/:member/sessions/end", "POST /admin/members/:member/sessions/:id/end",
		"GET /admin/groups", "GET /admin/groups/try", "POST /admin/groups/try")
	because("needs grants:manage everywhere, which no scope gives", "GET /admin/roles/new", "POST /admin/roles", "POST /admin/roles/:id", "POST /admin/roles/:id/delete")
	because("needs audit:read everywhere, which no scope gives", "GET /audit/verify", "POST /audit/verify")
	because("needs audit:read, audit:export or grants:manage everywhere, which no scope gives",
		"GET /admin/review", "POST /admin/review/start", "POST /admin/review/keep", "GET /admin/review/lines/:line/revoke", "POST /admin/review/lines/:line/revoke",
		"GET /admin/review/sign", "POST /admin/review/sign", "GET /admin/review/signed", "GET /admin/review/signed/:review", "GET /admin/review/signed/:review/export", "GET /admin/review/members", "GET /admin/review/members/:member",
		"GET /admin/review/accounts/:id", "GET /admin/review/export")
	return unseen
}()

// TestTwoTeamsFindWhatIsPlanted: the crawl and its comparisons find what a mistake would show, wherever it is: otherwise
// that they find nothing would prove nothing.
func TestTwoTeamsFindWhatIsPlanted(t *testing.T) {
	t.Parallel()
	w := newTwoTeams(t, "account")
	m, o := w.teams[0], w.teams[1]
	w.plantBackups(o)
	hx := func(r *http.Request) bool { return r.Header.Get("HX-Request") != "" }
	body := func(text string) func(*httptest.ResponseRecorder) {
		return func(a *httptest.ResponseRecorder) { a.Body.WriteString(text) }
	}
	leaks := []struct {
		name  string
		where func(r *http.Request, pattern string, a *httptest.ResponseRecorder) bool
		do    func(*httptest.ResponseRecorder)
		found string // in the finding
	}{
		{"a name on a page that only links lead to", func(r *http.Request, p string, a *httptest.ResponseRecorder) bool {
			return !hx(r) && p == "/accounts/:id/clusters/:cluster/history" && a.Code == http.StatusOK
		}, body("<p>" + strings.ToUpper(o.name) + "</p>"), "/history answers " + o.name},
		{"a cluster in what the page asks for by itself", func(r *http.Request, p string, _ *httptest.ResponseRecorder) bool {
			return hx(r) && p == pathHome
		}, body(o.clusters[1]), "part of /clusters answers " + o.clusters[1]},
		{"a cluster of the older API in a search", func(r *http.Request, p string, _ *httptest.ResponseRecorder) bool {
			return p == pathAccounts && r.Method == http.MethodGet && r.URL.Query().Get("q") != ""
		}, body(o.older[0]), "GET /accounts?q=" + o.name[1:5]},
		{"an account of the older API in an error", func(r *http.Request, p string, a *httptest.ResponseRecorder) bool {
			return p == "/accounts/:id/disable" && a.Code == http.StatusNotFound
		}, body(o.legacy.String()), "POST /accounts/:id/disable"},
		{"a key in a header", func(_ *http.Request, p string, _ *httptest.ResponseRecorder) bool {
			return p == "/accounts/:id/clusters/:cluster/keys/new"
		}, func(a *httptest.ResponseRecorder) { a.Header().Set("X-Key", o.keys[0]) }, "/keys/new answers " + o.keys[0]},
		{"an account where a redirect leads to", func(r *http.Request, p string, _ *httptest.ResponseRecorder) bool { return p == "/" },
			func(a *httptest.ResponseRecorder) { a.Header().Set("Location", accountPath(o.account)) }, "GET / answers " + o.account.String()},
		{"a name in an export", func(r *http.Request, p string, a *httptest.ResponseRecorder) bool {
			return p == pathAuditExport && a.Code == http.StatusOK && r.URL.Query().Get("format") == "ndjson"
		}, body(o.name), "format=ndjson"},
		{"a grant in a form that was filled in wrongly", func(r *http.Request, p string, a *httptest.ResponseRecorder) bool {
			return r.Method == http.MethodPost && p == pathGrantNew && a.Code/100 != 3
		}, body(o.ids["grant"][0]), "own POST " + pathGrantNew},
		{"one byte by which what is there differs from what is not", func(r *http.Request, p string, _ *httptest.ResponseRecorder) bool {
			return p == "/accounts/:id/clusters/:cluster/delete" && r.Method == http.MethodGet && strings.Contains(r.URL.Path, o.clusters[0])
		}, body(" "), "GET /accounts/:id/clusters/:cluster/delete of "},
		{"a status by which it does", func(r *http.Request, p string, _ *httptest.ResponseRecorder) bool {
			return p == "/audit/events/:seq" && slices.Contains(o.ids["event"], strings.TrimPrefix(r.URL.Path, "/audit/events/"))
		}, func(a *httptest.ResponseRecorder) { a.Code = http.StatusForbidden }, "GET /audit/events/:seq of "},
	}
	planted := map[string]int{}
	w.plant = func(r *http.Request, pattern string, a *httptest.ResponseRecorder) {
		for _, leak := range leaks {
			if leak.where(r, pattern, a) {
				planted[leak.name]++
				leak.do(a)
			}
		}
	}
	var findings []string
	w.report = func(finding string) { findings = append(findings, finding) }
	w.crawl(m)
	w.everyGet(m)
	w.everyPost(m)
	w.everyOwnPost(m)
	for _, leak := range leaks {
		found := func(finding string) bool { return strings.Contains(finding, leak.found) }
		switch {
		case planted[leak.name] == 0:
			t.Errorf("%s: the crawl never comes to the place", leak.name)
		case !slices.ContainsFunc(findings, found):
			t.Errorf("%s: planted %d times, and never found", leak.name, planted[leak.name])
		default:
			findings = slices.DeleteFunc(findings, found)
		}
	}
	if len(findings) > 0 {
		t.Logf("%d more findings, such as %.600s", len(findings), findings[0])
	}
}

// part asks as htmx does when somebody presses a link.
func (w *twoTeams) part(target string) *http.Request {
	r := w.request(http.MethodGet, target, "")
	r.Header.Set("HX-Request", "true")
	r.Header.Set("HX-Current-URL", testBase+target)
	return r
}

// own are the addresses of a route with ids of what is the team's own, in both of its accounts.
func (w *twoTeams) own(m *team, pattern string) []string {
	if !strings.Contains(pattern, ":") {
		return nil
	}
	self := w.accounts.MemberID(w.idp.URL, m.plain())
	ids := map[string]string{"id": m.account.String(), "cluster": m.clusters[0], "key": m.keys[0], "seq": m.ids["event"][0], "member": self, "line": m.ids["grant"][0]}
	older := maps.Clone(ids)
	older["id"], older["cluster"] = m.legacy.String(), m.older[0]
	if strings.Contains(pattern, "/key/old/") {
		older["key"] = m.ids["old key"][0]
	}
	switch {
	case strings.HasPrefix(pattern, pathGrants+"/:id"):
		ids["id"] = m.ids["grant"][0]
	case strings.HasPrefix(pattern, pathRoles+"/:id"):
		ids["id"] = "viewer"
	}
	return []string{filled(pattern, ids), filled(pattern, older)}
}

// everyOwnPost sends forms about the team's own that are wrong, or do as little as can be: what comes back may tell nothing
// of the other team either.
func (w *twoTeams) everyOwnPost(m *team) {
	for _, r := range w.routes() {
		if r.Method != http.MethodPost || r.Path == pathLogout || strings.HasPrefix(r.Path, "/me/sessions") {
			continue
		}
		targets := w.own(m, r.Path)
		if targets == nil {
			targets = []string{r.Path}
		}
		for _, target := range targets {
			for _, form := range twoTeamsForms {
				hx := w.request(http.MethodPost, target, form)
				hx.Header.Set("HX-Request", "true")
				hx.Header.Set("HX-Current-URL", testBase+target)
				for _, r := range []*http.Request{w.request(http.MethodPost, target, form), hx} {
					answer := w.ask(m, r)
					w.leaks(m, "own POST "+target, answer)
					if next := answer.Header().Get("Location"); strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "/login") {
						w.leaks(m, "GET after POST "+target, w.ask(m, w.request(http.MethodGet, next, "")))
					}
				}
			}
		}
	}
}

// twoTeamsForms are sent to every address that takes a form: nothing that is known, and what is filled in plausibly.
var twoTeamsForms = []string{
	"a=b",
	"confirm=x&delete_backups=no&name=a-name&nodes=1&package_id=00000000-0000-4000-8000-000000000001&labels=&cloud_provider=aws&region=us-east-1&reason=because&environment=staging" +
		"&revision=00000000000000000000000000000000&expires_in_days=30&access=read&generation=current&management_key=nonsense&form_token=nonsense",
}

func (w *twoTeams) everyGet(m *team) {
	for _, r := range w.routes() {
		if r.Method != http.MethodGet || r.Path == pathLogin || r.Path == pathCallback || r.Path == pathStatic {
			continue
		}
		if !strings.Contains(r.Path, ":") {
			for _, query := range w.queries(m) {
				w.leaks(m, "GET "+r.Path+query, w.ask(m, w.request(http.MethodGet, r.Path+query, "")))
				w.leaks(m, "part of "+r.Path+query, w.ask(m, m.browser.backgroundRequest(r.Path+query)))
			}
		}
		for _, own := range w.own(m, r.Path) {
			for _, r := range []*http.Request{w.request(http.MethodGet, own, ""), w.request(http.MethodHead, own, ""), m.browser.backgroundRequest(own), w.part(own)} {
				w.leaks(m, r.Method+" "+own, w.ask(m, r))
			}
		}
		pairs, ids := w.twins(m, r.Path)
		for i, pair := range pairs {
			w.compare(m, "GET "+r.Path, ids[i], func(target string) *http.Request { return m.browser.request(http.MethodGet, target, "") }, pair)
			if i == 0 {
				w.compare(m, "part of "+r.Path, ids[i], m.browser.backgroundRequest, pair)
				w.compare(m, "swap of "+r.Path, ids[i], w.part, pair)
			}
		}
	}
}

// everyPost sends what is filled in plausibly and what is not.
func (w *twoTeams) everyPost(m *team) {
	for _, r := range w.routes() {
		if r.Method != http.MethodPost || r.Path == pathLogout {
			continue
		}
		pairs, ids := w.twins(m, r.Path)
		for i, pair := range pairs {
			for _, form := range twoTeamsForms {
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
	theirs, missing := w.ask(m, ask(pair[0])), w.ask(m, ask(pair[1]))
	w.leaks(m, what+": "+pair[0], theirs, ids...)
	if diff := cmp.Diff(alike(missing, ids...), alike(theirs, ids...)); diff != "" {
		w.report(fmt.Sprintf("%s: %s of %s does not answer as what does not exist (-missing +theirs)\n%.1500s", m.name, what, pair[0], diff))
	}
}

// TestARefusalTakesAsLongAsWhatIsMissing: the time of a 404 does not tell whether there is something. Both
// are asked for in turn, and compared by their medians in one run.
func TestARefusalTakesAsLongAsWhatIsMissing(t *testing.T) {
	w := newTwoTeams(t, "account")
	m, o := w.teams[0], w.teams[1]
	given := func(account, cluster string) string { return "?scope_kind=cluster&scope=" + account + "%2F" + cluster }
	for name, pair := range map[string][2]string{
		"an account":                      {accountPath(o.account), accountPath(uuid.Must(uuid.NewV7()))},
		"a cluster":                       {o.path(), clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString())},
		"a cluster in one's own account":  {clusterPath(m.account, o.clusters[0]), clusterPath(m.account, uuid.NewString())},
		"a cluster in another's account":  {o.path(), clusterPath(o.account, uuid.NewString())},
		"the keys of a cluster":           {o.path() + "/keys", clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString()) + "/keys"},
		"the form of a cluster's restart": {o.path() + "/restart", clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString()) + "/restart"},
		"posted":                          {o.path() + "/restart", clusterPath(uuid.Must(uuid.NewV7()), uuid.NewString()) + "/restart"},
		"a grant":                         {pathGrants + "/" + o.ids["grant"][0], grantPath(uuid.Must(uuid.NewV7()))},
		"a grant that is taken back":      {pathGrants + "/" + o.ids["grant"][0] + "/delete", grantPath(uuid.Must(uuid.NewV7())) + "/delete"},
		"a group":                         {o.group(), groupPath(accounts.InternalIssuer, "no-such-group")},
		"who can touch a cluster":         {accessTo(accounts.ClusterRef{AccountID: o.account, ClusterID: o.clusters[0]}), accessTo(accounts.ClusterRef{AccountID: o.account, ClusterID: uuid.NewString()})},
		"a grant on a cluster":            {pathGrants + given(o.account.String(), o.clusters[0]), pathGrants + given(uuid.NewString(), uuid.NewString())},
		"a grant on a cluster of one's":   {pathGrants + given(m.account.String(), o.clusters[0]), pathGrants + given(m.account.String(), uuid.NewString())},
		"a grant on an account":           {pathGrants + "?scope_kind=account&scope=" + o.account.String(), pathGrants + "?scope_kind=account&scope=" + uuid.NewString()},
		"a change made outside":           {pathOutside + "/" + o.ids["event"][0], pathOutside + "/" + missingEvent},
	} {
		t.Run(name, func(t *testing.T) {
			const rounds = 150
			method, body, want := http.MethodGet, "", http.StatusNotFound
			if name == "posted" || strings.HasSuffix(name, "taken back") {
				method, body = http.MethodPost, "reason=because"
			}
			if strings.HasPrefix(name, "a grant on") {
				method, body, want = http.MethodPost, "subject_kind=group&subject=some&role=viewer&reason=because", http.StatusUnprocessableEntity
			}
			measure := func() float64 {
				var took [2][]time.Duration
				for i := range 2 * rounds {
					which := (i + i/2) % 2 // each as often first as second
					path, query, _ := strings.Cut(pair[which], "?")
					if method == http.MethodGet {
						path = pair[which]
					}
					r := m.browser.request(method, path, body+"&"+query)
					for _, cookie := range m.browser.jar.Cookies(m.browser.at) {
						r.AddCookie(cookie)
					}
					began := time.Now()
					answer := m.browser.serve(r)
					took[which] = append(took[which], time.Since(began))
					if answer.Code != want {
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
