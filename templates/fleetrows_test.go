package templates

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"golang.org/x/net/html"
)

// TestFleetRowsEscapeEverything fills every text of a row with what would end an attribute or an
// element, and proves that it makes none and is shown as it is.
func TestFleetRowsEscapeEverything(t *testing.T) {
	const hostile = `'"><script>alert(1)</script><a href="javascript:alert(1)" onclick=x>&amp;&`
	row := FleetRow{NodesUp: 1, Nodes: 2, CreatedAt: time.Unix(0, 0)}
	for v, i := reflect.ValueOf(&row).Elem(), 0; i < v.NumField(); i++ {
		if v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString(hostile)
		}
	}
	row.Href, row.AccountHref = "javascript:alert(1)", `/accounts/`+hostile
	var page bytes.Buffer
	if err := fleetRows(time.Unix(100, 0), []FleetRow{row, row}).Render(t.Context(), &page); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(`<table><tbody>` + page.String() + `</tbody></table>`))
	if err != nil {
		t.Fatal(err)
	}
	elements, texts := map[string]int{}, 0
	for n := range root.Descendants() {
		if n.Type == html.TextNode && strings.Contains(n.Data, hostile) {
			texts++
		}
		if n.Type != html.ElementNode {
			continue
		}
		elements[n.Data]++
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "javascript:") && a.Key == "href" && !strings.HasPrefix(a.Val, "/accounts/") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	if elements["tr"] != 2 || elements["td"] != 18 || elements["a"] != 4 || elements["script"] != 0 {
		t.Errorf("the rows have %v:\n%s", elements, page.String())
	}
	if want := 2 * 13; texts != want { // name, stale, phase, reason, account, environment, cloud, region, version, package, RAM, CPU, disk
		t.Errorf("%d texts are shown as they are, want %d:\n%s", texts, want, page.String())
	}
	if !strings.Contains(page.String(), string(templ.FailedSanitizationURL)) {
		t.Error("a link that runs a script is kept")
	}
}

// TestFleetRowsWriteAsComponentsDo keeps what is written by hand equal to the components of other pages.
func TestFleetRowsWriteAsComponentsDo(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		component templ.Component
		write     func(*writing)
	}{
		"region":         {region("eu-central-1"), func(o *writing) { o.region("eu-central-1") }},
		"hybrid region":  {region("019a0000-0000-7000-8000-000000000001"), func(o *writing) { o.region("019a0000-0000-7000-8000-000000000001") }},
		"no region":      {region(""), func(o *writing) { o.region("") }},
		"age":            {Since(now, now.Add(-90*time.Hour)), func(o *writing) { o.since(now, now.Add(-90*time.Hour)) }},
		"no age":         {Since(now, time.Time{}), func(o *writing) { o.since(now, time.Time{}) }},
		"another's zone": {Since(now, now.In(time.FixedZone("", 3600))), func(o *writing) { o.since(now, now.In(time.FixedZone("", 3600))) }},
	} {
		var want bytes.Buffer
		if err := test.component.Render(t.Context(), &want); err != nil {
			t.Fatal(err)
		}
		var got writing
		test.write(&got)
		if string(got) != want.String() {
			t.Errorf("%s:\n%s\n%s", name, got, want.String())
		}
	}
}

// TestFleetRowsHaveStyles: the style sheet holds only the classes of the files that it is made from.
func TestFleetRowsHaveStyles(t *testing.T) {
	sheet, err := os.ReadFile("../static/assets/app.css")
	if err != nil {
		t.Fatal(err)
	}
	rows := []FleetRow{
		{Name: "a", Phase: "FAILED_TO_SYNC", Reason: "full", Stale: "since noon", Environment: "production", NodesUp: 1, Nodes: 2},
		{Name: "b", Phase: "HEALTHY", CreatedAt: time.Unix(0, 0), Region: "0190a7d2-0000-7000-8000-000000000000"},
	}
	var page bytes.Buffer
	if err := fleetRows(time.Unix(100, 0), rows).Render(t.Context(), &page); err != nil {
		t.Fatal(err)
	}
	unescaped := strings.ReplaceAll(string(sheet), `\`, "")
	for _, list := range regexp.MustCompile(` class="([^"]+)"`).FindAllStringSubmatch(page.String(), -1) {
		for _, class := range strings.Fields(list[1]) {
			if !strings.Contains(unescaped, "."+class) {
				t.Errorf("the style sheet has no .%s", class)
			}
		}
	}
}
