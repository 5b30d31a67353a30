package templates

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"golang.org/x/net/html"

	"quartermaster/static"
)

// hostile is what somebody may put into any name, reason or address that a page shows.
var hostile = map[string]string{
	"markup":     `</td></title></textarea><script>alert(1)</script><img src=x onerror=alert(1)><b id="pwned">`,
	"quotes":     `" onmouseover="alert(1)" x='y' autofocus="` + "`",
	"addresses":  `javascript:alert(1)//`,
	"direction":  "\u202egnp.exe\u2066 \u200b é 🧨👩‍👩‍👧 中文",
	"long":       strings.Repeat("very long ", 100) + strings.Repeat("x", 1000),
	"whitespace": "\n\t  \r\n",
}

// fill puts text into every string of a view, and two of everything into its lists, so that all its
// parts are shown.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"", "management_key", "cloud_account_id", "confirm", "from", text} {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, text)
			v.SetMapIndex(reflect.ValueOf(key), value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(before(time.Hour)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	}
}

func filled[T any](text string, component func(T) templ.Component) templ.Component {
	var view T
	fill(reflect.ValueOf(&view).Elem(), text)
	return component(view)
}

// hostilePages are all pages with the text in every place that shows text.
func hostilePages(text string) map[string]templ.Component {
	pages := map[string]templ.Component{
		"sign-in": filled(text, SignIn), "no-rights": filled(text, NoRights), "error": filled(text, ErrorPage), "fleet": filled(text, Fleet),
		"cluster": filled(text, Cluster), "confirm": filled(text, Confirm), "accounts": filled(text, Accounts), "account": filled(text, Account),
		"account-new": filled(text, AccountForm), "audit": filled(text, Audit), "event": filled(text, Event), "log-check": filled(text, LogCheck), "me": filled(text, Me),
		"keys": filled(text, Keys), "history": filled(text, History), "outside": filled(text, Outside), "outside-change": filled(text, OutsideChange), "key-form": filled(text, KeyForm), "key-secret": filled(text, KeySecret),
		"account-edit": filled(text, AccountEdit), "account-key": filled(text, AccountKey), "account-mint": filled(text, AccountMint),
		"old-key": filled(text, AccountOldKey), "backups": filled(text, Backups), "cluster-backups": filled(text, ClusterBackups), "switch": filled(text, AccountSwitch),
	}
	maps.Copy(pages, hostileGrantPages(text))
	return pages
}

func rendered(t *testing.T, component templ.Component) (*html.Node, string) {
	t.Helper()
	var buf bytes.Buffer
	if err := component.Render(context.Background(), &buf); err != nil {
		t.Fatalf("render: %v", err)
	}
	root, err := html.Parse(bytes.NewReader(buf.Bytes()))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return root, buf.String()
}

func attr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func elements(root *html.Node) []*html.Node {
	var out []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			out = append(out, n)
		}
	}
	return out
}

// problems checks what holds for every page.
func problemsOf(root *html.Node) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	ids, count := map[string]int{}, map[string]int{}
	labelled := map[string]bool{}
	scripts := map[string]bool{static.Path("htmx.min.js"): true, static.Path("app.js"): true, static.Path("live.js"): true}
	for _, n := range elements(root) {
		count[n.Data]++
		if id, ok := attr(n, "id"); ok {
			ids[id]++
		}
		if target, ok := attr(n, "for"); ok && n.Data == "label" {
			labelled[target] = true
		}
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") || a.Key == "style" || a.Key == "srcdoc":
				say("<%s> has the attribute %s", n.Data, a.Key)
			case a.Key == "href" || a.Key == "action" || a.Key == "formaction" || a.Key == "src":
				low := strings.ToLower(strings.TrimSpace(a.Val))
				if strings.HasPrefix(low, "javascript:") || strings.HasPrefix(low, "data:") {
					say("<%s> %s leads to %q", n.Data, a.Key, a.Val)
				}
			}
		}
		switch n.Data {
		case "script":
			if src, _ := attr(n, "src"); !scripts[src] || n.FirstChild != nil {
				say("a script that is not one of our files")
			}
		case "style", "img", "iframe", "object", "embed", "base":
			say("an element <%s>", n.Data)
		case "form":
			if method, _ := attr(n, "method"); method != "get" && method != "post" && method != "dialog" {
				say("a form with the method %q", method)
			}
		case "input":
			if kind, _ := attr(n, "type"); kind == "password" {
				if value, _ := attr(n, "value"); value != "" {
					say("a password field with a value")
				}
				if auto, _ := attr(n, "autocomplete"); auto != "off" {
					say("a password field that browsers fill in")
				}
			}
		case "th":
			if _, ok := attr(n, "scope"); !ok {
				say("a <th> without scope")
			}
		}
	}
	for _, want := range []string{"h1", "main", "title", "footer"} {
		if count[want] != 1 {
			say("%d elements <%s>, want 1", count[want], want)
		}
	}
	if ids["pwned"] > 0 {
		say("an element was injected")
	}
	return append(out, referenceProblems(root, ids, labelled)...)
}

// referenceProblems checks that what names another element names one that is there once.
func referenceProblems(root *html.Node, ids map[string]int, labelled map[string]bool) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for id, n := range ids {
		if n > 1 {
			say("the id %q is there %d times", id, n)
		}
	}
	for _, n := range elements(root) {
		for _, name := range []string{"aria-describedby", "aria-labelledby"} {
			value, _ := attr(n, name)
			for target := range strings.FieldsSeq(value) {
				if ids[target] == 0 {
					say("<%s> %s names %q, which is not there", n.Data, name, target)
				}
			}
		}
		if href, ok := attr(n, "href"); ok && len(href) > 1 && href[0] == '#' && ids[href[1:]] == 0 {
			say("a link to %q, which is not there", href)
		}
		if n.Data != "input" && n.Data != "select" && n.Data != "textarea" {
			continue
		}
		kind, _ := attr(n, "type")
		id, _ := attr(n, "id")
		if kind != "hidden" && !labelled[id] && !insideLabel(n) {
			say("<%s id=%q> has no label", n.Data, id)
		}
		if invalid, _ := attr(n, "aria-invalid"); invalid == "true" {
			if _, ok := attr(n, "aria-describedby"); !ok {
				say("<%s id=%q> is wrong, and nothing says why", n.Data, id)
			}
		}
	}
	return out
}

func insideLabel(n *html.Node) bool {
	for p := range n.Ancestors() {
		if p.Data == "label" {
			return true
		}
	}
	return false
}

func TestPages(t *testing.T) {
	for name, component := range samplePages() {
		root, _ := rendered(t, component)
		for _, p := range problemsOf(root) {
			t.Errorf("%s: %s", name, p)
		}
	}
}

func TestHostilePages(t *testing.T) {
	for kind, text := range hostile {
		for name, component := range hostilePages(text) {
			root, _ := rendered(t, component)
			for _, p := range problemsOf(root) {
				// What names rows and fields is given by our own code, never by a stranger.
				if strings.HasPrefix(p, "the id") || strings.Contains(p, "has no label") || strings.Contains(p, "which is not there") || strings.HasPrefix(p, "a form with") {
					continue
				}
				t.Errorf("%s, %s: %s", name, kind, p)
			}
			if name == "fleet" && kind == "markup" && !strings.Contains(textOf(root), text) {
				t.Error("the text that was given is not shown as it is")
			}
		}
	}
}

func textOf(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}

// testHostilePages shows pages full of hostile text: no script runs, and a long text makes
// no page wider than a narrow window.
func testHostilePages(ctx context.Context, t *testing.T) {
	pages := map[string]templ.Component{}
	for _, kind := range []string{"markup", "long"} {
		for name, component := range hostilePages(hostile[kind]) {
			pages[name+"-"+kind] = component
		}
	}
	checkWidths(ctx, t, pages)
}

func TestHooks(t *testing.T) {
	pages := samplePages()
	for _, want := range []struct {
		page, body, hook string
		rows             int
		attributes       []string
	}{
		{"fleet", "clusters-index", "cluster-row", 16, []string{"data-account", "data-cluster", "data-phase"}},
		{"account", "account-show", "old-key", 2, []string{"data-key", "data-unseen"}},
		{"switch-differs", "account-switch", "switch-row", 4, []string{"data-cluster", "data-differs"}},
		{"accounts", "accounts-index", "account-row", 4, []string{"data-account"}},
		{"keys", "keys-index", "key-row", 7, []string{"data-key", "data-expires"}},
		{"backups", "backups-index", "backups-row", 9, []string{"data-cluster"}},
		{"cluster-backups", "cluster-backups", "backup-row", 7, []string{"data-backup", "data-status"}},
		{"cluster-backups", "cluster-backups", "schedule-row", 4, []string{"data-schedule", "data-status"}},
		{"grants", "grants-index", "grant-row", 7, []string{"data-state", "data-subject"}},
		{"roles", "roles-index", "role-row", 4, []string{"data-role"}},
		{"access-who", "access-who", "holder-row", 3, []string{"data-subject", "data-kind"}},
		{"audit", "audit-index", "audit-row", 7, []string{"data-act", "data-outcome", "data-actor", "data-seq"}},
	} {
		root, _ := rendered(t, pages[want.page])
		rows := 0
		for _, n := range elements(root) {
			if n.Data == "body" {
				if id, _ := attr(n, "id"); id != want.body {
					t.Errorf("%s: body has the id %q, want %q", want.page, id, want.body)
				}
			}
			if hook, _ := attr(n, "data-testid"); hook != want.hook {
				continue
			}
			rows++
			for _, a := range want.attributes {
				if value, _ := attr(n, a); value == "" {
					t.Errorf("%s: a row without %s", want.page, a)
				}
			}
		}
		if rows != want.rows {
			t.Errorf("%s: %d rows, want %d", want.page, rows, want.rows)
		}
	}
}

// TestFormFocus proves that the first field that is wrong gets the focus, and no other.
func TestFormFocus(t *testing.T) {
	for _, test := range []struct {
		name   string
		errors map[string]string
		want   []string
	}{
		{"nothing wrong", nil, nil},
		{"the key", map[string]string{"management_key": "no", "name": "no"}, []string{"f-management_key"}},
		{"the date only", map[string]string{"rotate_by": "no"}, []string{"f-rotate_by"}},
		{"the form", map[string]string{"": "no"}, nil},
	} {
		root, _ := rendered(t, AccountForm(AccountFormView{Page: samplePage("x", "y", "accounts"), Errors: test.errors}))
		var got []string
		for _, n := range elements(root) {
			if _, ok := attr(n, "autofocus"); ok {
				id, _ := attr(n, "id")
				got = append(got, id)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: focus on %v, want %v", test.name, got, test.want)
		}
	}
}

// TestChoicesWithoutDefault proves that deleting a cluster asks for an answer about its backups
// and gives none of its own.
func TestChoicesWithoutDefault(t *testing.T) {
	root, _ := rendered(t, Confirm(sampleDelete(nil)))
	values := map[string]bool{}
	for _, n := range elements(root) {
		if name, _ := attr(n, "name"); name == "delete_backups" {
			value, _ := attr(n, "value")
			values[value] = true
			if _, ok := attr(n, "checked"); ok {
				t.Errorf("the answer %q is chosen already", value)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, []string{"no", "yes"}) {
		t.Errorf("answers %v", got)
	}
}

// TestNotOffered proves that an act that is not offered is no link and no button, and says why.
func TestNotOffered(t *testing.T) {
	root, page := rendered(t, Cluster(sampleTroubledCluster()))
	for _, n := range elements(root) {
		for _, name := range []string{"href", "action"} {
			if to, _ := attr(n, name); strings.HasSuffix(to, "/delete") || strings.HasSuffix(to, "/restart") {
				t.Errorf("<%s> leads to %s", n.Data, to)
			}
		}
	}
	if !strings.Contains(page, "You need write:clusters here.") || !strings.Contains(page, `aria-disabled="true"`) {
		t.Error("the page does not say why")
	}
}

// TestAccountSaysHowManyClustersItShows: a list that ends early says so, and one that is whole does not.
func TestAccountSaysHowManyClustersItShows(t *testing.T) {
	v := sampleAccount()
	if _, text := rendered(t, Account(v)); !strings.Contains(text, "The first 5 of 18 by name.") {
		t.Error("a list of 5 of 18 clusters looks whole")
	}
	v.Clusters = len(v.Rows)
	if _, text := rendered(t, Account(v)); strings.Contains(text, "The first") {
		t.Error("a whole list says that there are more")
	}
}
