package main

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// packagesAndPrices compares packages by the page's own form and links, for both API generations.
func packagesAndPrices(t *testing.T, st *stage) {
	v := st.visitor(t, viewer)
	for _, name := range []string{production, legacy} {
		got := v.submit(v.get("/packages"), "/packages", map[string]string{"account": st.accounts[name].id, "cloud_provider": "aws", "ram": "16"})
		rows := packageRows(got)
		if got.status != http.StatusOK || len(rows) < 10 {
			t.Fatalf("%s: %d with %d packages\n%s", name, got.status, len(rows), got.text())
		}
		for _, r := range rows {
			if r.hour <= 0 || r.month < r.hour*700 || r.month > r.hour*760 {
				t.Errorf("%s: %s costs %v an hour and %v a month", name, r.name, r.hour, r.month)
			}
		}
		if !slices.IsSortedFunc(rows, byHour) {
			t.Errorf("%s: not sorted by price", name)
		}
		// The same again, the dearest first: the head of the column turns the direction.
		turned := packageRows(v.follow(got, "An hour"))
		slices.Reverse(turned)
		if len(turned) != len(rows) || !slices.IsSortedFunc(turned, byHour) {
			t.Errorf("%s: turning the direction gives %d of %d, or in another order", name, len(turned), len(rows))
		}
		if strings.Contains(got.body, "/clusters/new") {
			t.Errorf("%s: a viewer is led to a form that makes a cluster", name)
		}
	}
	asked := st.visitor(t, operator).get("/packages?" + url.Values{"account": {st.accounts[production].id}, "cloud_provider": {"aws"}, "region": {"eu-central-1"}, "gpu": {"yes"}}.Encode())
	links := slices.DeleteFunc(asked.links(), func(l string) bool { return !strings.Contains(l, "/clusters/new?cloud_provider=aws&package_id=") })
	if rows := packageRows(asked); len(rows) == 0 || len(links) != len(rows) || rows[0].region != "eu-central-1" {
		t.Errorf("%d packages with GPU, %d ways to create\n%s", len(rows), len(links), asked.text())
	}
	for query, status := range map[string]int{
		"ram=much": http.StatusUnprocessableEntity, "cpu=-1": http.StatusUnprocessableEntity, "cpu=NaN": http.StatusUnprocessableEntity, "gpu=perhaps": http.StatusBadRequest,
		"account=x": http.StatusNotFound, "account=00000000-0000-4000-8000-000000000000": http.StatusNotFound,
		"cloud_provider=%3Cscript%3E&region='&tier=%22&sort=x&dir=y": http.StatusOK,
	} {
		if got := v.get("/packages?" + query); got.status != status || strings.Contains(got.body, "<script>") {
			t.Errorf("%s: %d, want %d", query, got.status, status)
		}
	}
}

type packageOffered struct {
	name, region string
	hour, month  float64
}

func byHour(a, b packageOffered) int {
	switch {
	case a.hour < b.hour:
		return -1
	case a.hour > b.hour:
		return 1
	}
	return 0
}

func packageRows(p page) []packageOffered {
	var rows []packageOffered
	for _, tr := range elements(p.root, "tr") {
		if attributeOf(tr, "data-testid") != "package-row" {
			continue
		}
		row := packageOffered{region: attributeOf(tr, "data-region")}
		for i, td := range elements(tr, "td") {
			text := textOf(td)
			amount, _ := strconv.ParseFloat(strings.ReplaceAll(strings.TrimPrefix(text, "$"), ",", ""), 64)
			switch {
			case i == 0:
				row.name = text
			case attributeOf(td, "data-label") == "An hour":
				row.hour = amount
			case attributeOf(td, "data-label") == "A month":
				row.month = amount
			}
		}
		rows = append(rows, row)
	}
	return rows
}
