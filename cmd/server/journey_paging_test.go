package main

import (
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"quartermaster/internal/cloudapi/sandbox"
)

// TestPaging leafs through a fleet of more clusters than one page holds, and through the log, by
// the links that the pages have: every row once, in its order, and back to the first page.
func TestPaging(t *testing.T) {
	const clusters = 230
	s := prepareServe(t)
	box, err := sandbox.New(sandbox.Config{Seed: 7, Accounts: 2, Clusters: clusters})
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(box.Handler())
	t.Cleanup(upstream.Close)
	s.start(s.with(nil, "QM_CLOUD_API_URL", upstream.URL, "QM_CLOUD_PA_URL", upstream.URL, "QM_UPSTREAM_RPS", "500", "QM_LOG_LEVEL", "warn"))
	v := newVisitor(t, s.base)
	if got := v.get("/login?login_hint=" + url.QueryEscape(admin)); got.bodyID() != "clusters-index" {
		t.Fatalf("signing in ended at %s", got.url)
	}
	for _, f := range box.Fixtures() {
		added := v.submit(v.get("/accounts/new"), "/accounts", map[string]string{"management_key": f.ManagementKey, "environment": "other"})
		if added.bodyID() != "account-show" {
			t.Fatalf("adding %s: %d\n%s", f.Name, added.status, added.text())
		}
	}
	waitUntil(t, "all clusters are known", func() bool { return strings.Contains(v.get("/clusters").text(), "230 clusters") })

	for _, query := range []string{"", "?sort=name&dir=desc", "?sort=created&dir=asc", "?sort=version&dir=desc", "?sort=package", "?environment=other&sort=region"} {
		seen, order, pages := map[string]bool{}, []string{}, 0
		at := v.get("/clusters" + query)
		for {
			pages++
			for _, row := range at.byTestID("cluster-row") {
				if seen[row["data-cluster"]] {
					t.Errorf("%q: cluster %s is on two pages", query, row["data-cluster"])
				}
				seen[row["data-cluster"]] = true
			}
			for _, a := range elements(at.root, "a") {
				if attributeOf(a, "class") != "" && strings.Contains(attributeOf(a, "class"), "rowlnk") {
					order = append(order, strings.ToLower(textOf(a)))
				}
			}
			if !hasLink(at, "Next page") || pages > 5 {
				break
			}
			at = v.follow(at, "Next page")
		}
		if len(seen) != clusters || pages != 3 {
			t.Errorf("%q: %d clusters on %d pages", query, len(seen), pages)
		}
		if query == "" && !slices.IsSorted(order) {
			t.Error("the names are not in their order over the pages")
		}
		if strings.Contains(query, "name&dir=desc") {
			slices.Reverse(order)
			if !slices.IsSorted(order) {
				t.Error("the names are not in their descending order over the pages")
			}
		}
		if back := v.follow(at, "First page"); back.url.Query().Get("after") != "" || len(back.byTestID("cluster-row")) != 100 {
			t.Errorf("%q: the first page is %s", query, back.url)
		}
	}

	for range 60 { // events to leaf through
		v.submit(v.get("/me"), "/logout", nil)
		v.get("/login?login_hint=" + url.QueryEscape(admin))
	}
	seqs := map[string]bool{}
	for at, last := v.get("/audit?act=session.login"), ""; ; at = v.follow(at, "Next page") {
		rows := at.byTestID("audit-row")
		if len(rows) == 0 || seqs[rows[0]["data-seq"]] || rows[0]["data-seq"] == last {
			t.Fatalf("%s shows %d rows, and its first again", at.url, len(rows))
		}
		for _, row := range rows {
			seqs[row["data-seq"]] = true
		}
		if !hasLink(at, "Next page") {
			break
		}
	}
	if len(seqs) != 61 {
		t.Errorf("%d sign-ins were leafed through, want 61: %v", len(seqs), slices.Sorted(maps.Keys(seqs)))
	}
}

func hasLink(p page, text string) bool {
	for _, a := range elements(p.root, "a") {
		if textOf(a) == text {
			return true
		}
	}
	return false
}
