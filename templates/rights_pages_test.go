package templates

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"golang.org/x/net/html"
)

// TestRolesSayWhereTheyHold: each role has its own place beside it, so that one narrow grant does not make a role that
// holds everywhere look narrow, and what a wider grant of the role covers is left out.
func TestRolesSayWhereTheyHold(t *testing.T) {
	m := Mapping{Giving: []MappingRow{
		{What: "group", Value: "admins", Gives: []Giving{{Role: "platform admin", Where: everywhere}}},
		{What: "group", Value: "engineering", Gives: []Giving{{Role: "viewer", Where: "staging"}, {Role: "operator", Where: "staging"}}},
		{What: "given to you directly", Gives: []Giving{{Role: "viewer", Where: "cluster orders"}, {Role: "operator", Where: everywhere}, {Role: "viewer", Where: "staging"}}},
	}}
	_, got := rendered(t, mappedRoles([]string{"operator", "platform admin", "viewer"}, m, "Why"))
	for _, want := range []string{">operator · everywhere<", ">platform admin · everywhere<", ">viewer · staging, cluster orders<"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not said:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Not everywhere") || strings.Contains(got, "says where") {
		t.Errorf("all places are named, and the table is said to know more:\n%s", got)
	}

	many := Mapping{Giving: []MappingRow{{Gives: []Giving{{Role: "viewer", Where: "1 cluster"}, {Role: "viewer", Where: "1 cluster"}, {Role: "viewer", Where: "staging"}, {Role: "viewer", Where: "account Search"}}}}}
	if _, got := rendered(t, mappedRoles([]string{"viewer"}, many, "Why")); !strings.Contains(got, ">viewer · 4 places<") || !strings.Contains(got, `href="#mapping"`) {
		t.Errorf("many places read\n%s", got)
	}
	if got := (Mapping{}).withPlaces([]string{"break-glass"}); len(got) != 1 || got[0] != "break-glass" {
		t.Errorf("a role of no grant reads %q", got)
	}
}

// TestNoSpaceBeforeAPunctuationMark reads every page: a comma or a full stop that follows an element stands at the element.
func TestNoSpaceBeforeAPunctuationMark(t *testing.T) {
	loose := regexp.MustCompile(`\s[,.;:](\s|$)`)
	for name, page := range samplePages() {
		root, _ := rendered(t, page)
		for n := range root.Descendants() {
			if n.Type != html.TextNode || slices.Contains([]string{"code", "pre", "textarea", "script", "title"}, n.Parent.Data) {
				continue
			}
			text := n.Data
			if before := n.PrevSibling; before != nil && before.Type == html.ElementNode {
				text = "x" + text
			}
			if at := loose.FindString(text); at != "" {
				t.Errorf("%s: %q", name, text)
			}
		}
	}
}

// TestPagesOfRightsAreNotSqueezed looks at tables and breadcrumbs where they were too narrow to be read: places keep a
// width in which words fit, and the stroke of a breadcrumb stands at the first line of what it leads to.
func TestPagesOfRightsAreNotSqueezed(t *testing.T) {
	pages := samplePages()
	pages["long-crumbs"] = Crumbs([]Link{{"Grants", "/admin/grants"}, {strings.Repeat("a long title of a grant ", 20), "/x"}})
	ctx, server := browse(t), servePages(t, pages)
	measure := func(page, what string, width int64) float64 {
		t.Helper()
		if err := chromedp.Do(ctx, look("light", width, 900), chromedp.Navigate(server.URL+"/"+page)); err != nil {
			t.Fatal(err)
		}
		got, err := chromedp.Run(ctx, chromedp.Evaluate[float64](what))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := measure("review-member", `Math.min(...[...document.querySelectorAll("td[data-label=Where]")].map(e => e.getBoundingClientRect().width))`, 1280); got < 150 {
		t.Errorf("a column of places is %v pixels wide", got)
	}
	const stroke = `(() => { const li = [...document.querySelectorAll("nav li")].at(-1); return li.querySelector("span").getBoundingClientRect().top - li.querySelector("a").getBoundingClientRect().top })()`
	if got := measure("long-crumbs", stroke, 360); got > 8 || got < -8 {
		t.Errorf("the stroke of a breadcrumb stands %v pixels below the first line", got)
	}
}

// TestSelectorsBreakAfterCommas: a label is not cut while there is a comma to break at.
func TestSelectorsBreakAfterCommas(t *testing.T) {
	_, got := rendered(t, place(PlaceView{Kind: "labels", Name: "team in (search,ads),tier=gold"}))
	for _, part := range []string{">team in (search,<", ">ads),<", ">tier=gold<"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is no part by itself:\n%s", part, got)
		}
	}
}
