package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/net/html"

	"quartermaster/internal/cloudapi/sandbox"
)

// The members that dev's identity provider knows.
const (
	admin    = "admin@example.test"
	operator = "operator@example.test"
	viewer   = "viewer@example.test"
	auditor  = "auditor@example.test"
	nobody   = "nobody@example.test"
)

// soon is how long tests wait for what the console does in the background.
const soon = 30 * time.Second

// stage is one running dev, or serve, that several journeys share. Each keeps to clusters of its own.
type stage struct {
	*devProgram
	db       *pgxpool.Pool     // as the console's own role
	accounts map[string]ground // by name

	sessions struct {
		mu sync.Mutex
		by map[string]*visitor // one session a member, for journeys that do not mind
	}
	shown struct { // database keys that pages have shown
		mu      sync.Mutex
		secrets []string
	}
	pasted []string   // keys that journeys have pasted; sessions.mu
	clock  sync.Mutex // held by whoever watches a cluster move and turns the sandbox's clock
	spare  sync.Mutex // held by whoever has the spare account registered
}

// ground is a registered account: our id and upstream's.
type ground struct{ id, cloud string }

// The accounts of the seed that dev registers.
const (
	production = "Northwind Search Production"
	staging    = "Northwind Search Staging"
	legacy     = "Fjord Analytics"
)

// openStage starts dev with short waits and everything logged, and with further settings.
func openStage(t *testing.T, settings ...string) *stage {
	t.Helper()
	st := &stage{
		devProgram: startDev(t, append([]string{"QM_LOG_LEVEL=debug", "QM_POLL_MIN=200ms", "QM_POLL_MAX=1s", "QM_UPSTREAM_RPS=500"}, settings...)...),
		accounts:   map[string]ground{},
	}
	st.db = openPool(t, st.about.DatabaseURL)
	rows, err := st.db.Query(t.Context(), `SELECT name, id::text, cloud_account_id FROM accounts`)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var g ground
	if _, err := pgx.ForEachRow(rows, []any{&name, &g.id, &g.cloud}, func() error {
		st.accounts[name] = g
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{production, staging, legacy} {
		if st.accounts[want].id == "" {
			t.Fatalf("dev registered %v, not %s", st.accounts, want)
		}
	}
	for _, g := range st.accounts { // journeys make many clusters; those of quotas set their own
		st.control(t, http.MethodPost, "account", map[string]any{"account": g.cloud, "quotas": map[string]any{"clusters": 200, "nodes": 20, "database_keys": 100, "free_clusters": 10}})
	}
	return st
}

// asStage is a stage for a serve, without accounts yet, on a database that its own role may use.
func (s *served) asStage(t *testing.T, database string) *stage {
	t.Helper()
	return &stage{
		devProgram: &devProgram{t: t, output: s.output, about: devDescription{
			URL: s.base, SandboxControlURL: listening(t, s.box.Control()), SandboxControlToken: "control", DatabaseURL: database,
		}},
		db: openPool(t, database), accounts: map[string]ground{},
	}
}

// register adds the accounts of the seed as an admin does.
func (st *stage) register(t *testing.T, v *visitor, box *sandbox.Sandbox) {
	t.Helper()
	for _, f := range box.Fixtures() {
		if !f.Registered {
			continue
		}
		added := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{
			"generation": f.Generation, "management_key": f.ManagementKey, "cloud_account_id": f.CloudAccountID, "name": f.Name, "environment": f.Environment,
		})
		if added.bodyID() != "account-show" {
			t.Fatalf("adding %s ended at %s with %d:\n%s", f.Name, added.url, added.status, added.text())
		}
		st.accounts[f.Name] = ground{id: strings.TrimPrefix(added.url.Path, "/accounts/"), cloud: f.CloudAccountID}
	}
	waitUntil(t, "the fleet is full", func() bool { return len(v.get("/clusters").byTestID("cluster-row")) == 30 })
}

func openPool(t *testing.T, address string) *pgxpool.Pool {
	t.Helper()
	db, err := pgxpool.New(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// newCluster has somebody else make a healthy cluster in an account, and waits until the console
// knows it. It returns the path of its page and its id.
func (st *stage) newCluster(t *testing.T, account, name string) (path, id string) {
	t.Helper()
	g := st.accounts[account]
	var made struct {
		Cluster string `json:"cluster"`
	}
	raw := st.control(t, http.MethodPost, "outside", map[string]any{"act": "create_cluster", "account": g.cloud, "name": name})
	if err := json.Unmarshal(raw, &made); err != nil {
		t.Fatal(err)
	}
	st.control(t, http.MethodPost, "outside", map[string]any{"act": "phase", "account": g.cloud, "cluster": made.Cluster, "phase": "HEALTHY"})
	st.waitFor(t, "the console knows "+name, `SELECT EXISTS (SELECT FROM clusters WHERE account_id::text = $1 AND cluster_id = $2 AND phase = 'HEALTHY')`, g.id, made.Cluster)
	return "/accounts/" + g.id + "/clusters/" + made.Cluster, made.Cluster
}

// cluster returns the page of a cluster of the seed.
func (st *stage) cluster(t *testing.T, name string) (path, id string) {
	t.Helper()
	var account string
	if err := st.db.QueryRow(t.Context(), `SELECT account_id::text, cluster_id FROM clusters WHERE name = $1`, name).Scan(&account, &id); err != nil {
		t.Fatalf("finding the cluster %s: %v", name, err)
	}
	return "/accounts/" + account + "/clusters/" + id, id
}

// waitFor waits until a query answers true.
func (st *stage) waitFor(t *testing.T, what, query string, args ...any) {
	t.Helper()
	waitUntil(t, what, func() bool {
		var yes bool
		if err := st.db.QueryRow(t.Context(), query, args...).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return yes
	})
}

// waitUntil asks again and again until the answer is yes, and fails the test when it stays no.
func waitUntil(t *testing.T, what string, yes func() bool) {
	t.Helper()
	waitWithin(t, soon, what, yes)
}

func waitWithin(t *testing.T, long time.Duration, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !yes(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s", long, what)
		}
	}
}

// withClock does something while nobody else turns the sandbox's clock.
func (st *stage) withClock(do func()) {
	st.clock.Lock()
	defer st.clock.Unlock()
	do()
}

// advance turns the sandbox's clock, so that what is under way there ends. It is for withClock.
func (st *stage) advance(t *testing.T) {
	t.Helper()
	st.control(t, http.MethodPost, "clock", map[string]string{"advance": "40s"})
}

// turn is advance for those who mind nobody.
func (st *stage) turn(t *testing.T) {
	t.Helper()
	st.withClock(func() { st.advance(t) })
}

// events counts events of the log.
func (st *stage) events(t *testing.T, where string, args ...any) int {
	t.Helper()
	var n int
	if err := st.db.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE `+where, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// callsOf returns how often each operation was called for one account of the Cloud API.
func (p *devProgram) callsOf(t *testing.T, cloudAccount string) map[string]int {
	t.Helper()
	return callsIn(t, p.control(t, http.MethodGet, "calls", nil), cloudAccount)
}

func callsIn(t *testing.T, answer []byte, cloudAccount string) map[string]int {
	t.Helper()
	var counts struct {
		Accounts map[string]map[string]int `json:"accounts"`
	}
	if err := json.Unmarshal(answer, &counts); err != nil {
		t.Fatal(err)
	}
	return counts.Accounts[cloudAccount]
}

// form is a form as a page has it: what a browser without scripts would send.
type form struct {
	action, method string
	values         url.Values
	names          map[string]bool     // every control's
	choices        map[string][]string // of radio buttons and lists
	labelled       map[string]bool     // controls bound to a label
}

// elements returns the elements below n that match.
func elements(n *html.Node, tag string) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && (tag == "" || d.Data == tag) {
			found = append(found, d)
		}
	}
	return found
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func attributeOf(n *html.Node, name string) string {
	value, _ := attribute(n, name)
	return value
}

// textOf is the text below n, with single spaces.
func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// text is what a reader sees of the page's content.
func (p page) text() string {
	for _, n := range elements(p.root, "main") {
		return textOf(n)
	}
	return textOf(p.root)
}

// byID returns the element with an id, or nil.
func (p page) byID(id string) *html.Node {
	for _, n := range elements(p.root, "") {
		if attributeOf(n, "id") == id {
			return n
		}
	}
	return nil
}

// links returns the addresses that the page links to.
func (p page) links() []string {
	var all []string
	for _, a := range elements(p.root, "a") {
		if href, ok := attribute(a, "href"); ok {
			all = append(all, href)
		}
	}
	return all
}

// forms returns the page's forms.
func (p page) forms() []form {
	labels := map[string]bool{}
	for _, l := range elements(p.root, "label") {
		if id := attributeOf(l, "for"); id != "" {
			labels[id] = true
		}
	}
	var all []form
	for _, n := range elements(p.root, "form") {
		f := form{action: attributeOf(n, "action"), method: strings.ToLower(attributeOf(n, "method")), values: url.Values{}, names: map[string]bool{}, choices: map[string][]string{}, labelled: map[string]bool{}}
		for _, c := range elements(n, "") {
			f.control(c, labels)
		}
		all = append(all, f)
	}
	return all
}

// control adds one control as a browser would send it untouched.
func (f *form) control(c *html.Node, labels map[string]bool) {
	name := attributeOf(c, "name")
	if name == "" || c.Data == "button" {
		return
	}
	f.names[name] = true
	switch c.Data {
	case "select":
		for i, o := range elements(c, "option") {
			f.choices[name] = append(f.choices[name], attributeOf(o, "value"))
			if _, selected := attribute(o, "selected"); selected || i == 0 {
				f.values.Set(name, attributeOf(o, "value"))
			}
		}
	case "textarea":
		var b strings.Builder
		for d := range c.Descendants() {
			if d.Type == html.TextNode {
				b.WriteString(d.Data)
			}
		}
		f.values.Set(name, b.String())
	case "input":
		switch _, checked := attribute(c, "checked"); attributeOf(c, "type") {
		case "radio", "checkbox":
			f.choices[name] = append(f.choices[name], attributeOf(c, "value"))
			if checked {
				f.values.Set(name, attributeOf(c, "value"))
			}
		default:
			f.values.Set(name, attributeOf(c, "value"))
		}
	default:
		return
	}
	if hidden := attributeOf(c, "type") == "hidden"; hidden || labels[attributeOf(c, "id")] || within(c, "label") || attributeOf(c, "aria-label") != "" {
		f.labelled[name] = true
	}
}

func within(n *html.Node, tag string) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Type == html.ElementNode && p.Data == tag {
			return true
		}
	}
	return false
}

// form returns the page's form with an action, and fails the test when there is none.
func (p page) form(t *testing.T, action string) form {
	t.Helper()
	for _, f := range p.forms() {
		if f.action == action {
			return f
		}
	}
	t.Fatalf("%s (%d) has no form for %s:\n%s", p.url, p.status, action, p.text())
	return form{}
}

// submit fills a form of a page in and sends it as the page says. fill names fields and what to
// put there; a field that the form does not have, or a choice it does not offer, fails the test.
func (v *visitor) submit(p page, action string, fill map[string]string) page {
	v.t.Helper()
	f := p.form(v.t, action)
	for name, value := range fill {
		if !f.names[name] {
			v.t.Fatalf("the form for %s has no field %s", action, name)
		}
		if choices := f.choices[name]; choices != nil && !slices.Contains(choices, value) {
			v.t.Fatalf("the field %s of the form for %s offers %v, not %q", name, action, choices, value)
		}
		f.values.Set(name, value)
	}
	if f.method != "post" {
		return v.get(action + "?" + f.values.Encode())
	}
	return v.post(action, f.values)
}

// follow opens the link with the text in a page.
func (v *visitor) follow(p page, text string) page {
	v.t.Helper()
	for _, a := range elements(p.root, "a") {
		if textOf(a) == text {
			return v.get(attributeOf(a, "href"))
		}
	}
	v.t.Fatalf("%s has no link %q", p.url, text)
	return page{}
}

// withoutRedirects tells a visitor's client not to follow redirects, and returns it.
func (v *visitor) withoutRedirects() *visitor {
	client := *v.http
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &visitor{t: v.t, base: v.base, http: &client}
}
