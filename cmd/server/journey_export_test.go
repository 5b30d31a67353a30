package main

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// exportsTheLog is an auditor who narrows the log down and takes away what is listed, with scripts
// and without: the files hold the rows that the page shows, in their order.
func exportsTheLog(t *testing.T, st *stage) {
	// Refusals that nobody else makes, so that the search finds the same at every look.
	path, id := st.newCluster(t, staging, "-1-evidence")
	st.visitor(t, viewer).get(path + "/restart")
	st.visitor(t, viewer).get(path + "/suspend")
	for _, scripts := range []bool{true, false} {
		s, finish := openBrowser(t, st.about.URL, scripts)
		s.open("/login?login_hint="+url.QueryEscape(auditor), "clusters-index")
		s.open("/audit", "audit-index")
		s.do(chromedp.SendKeys(chromedp.CSS("#q-q"), id), chromedp.SetValue(chromedp.CSS("#q-outcome"), "denied"), chromedp.Click(chromedp.CSS(`#filters button[type="submit"]`)))
		s.until(`new URL(location).searchParams.get("outcome") === "denied" && document.querySelectorAll('[data-testid="audit-row"]').length === 2`)
		shown := ask[[]string](s, `[...document.querySelectorAll('[data-testid="audit-row"]')].map(r => r.dataset.seq + " " + r.dataset.act + " " + r.dataset.outcome)`)

		records, err := csv.NewReader(strings.NewReader(s.download("csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, r := range records[1:] {
			cell := func(name string) string { return r[slices.Index(records[0], name)] }
			rows = append(rows, cell("seq")+" "+cell("act")+" "+cell("status"))
			if name := cell("target_name"); name != "'-1-evidence" {
				t.Errorf("the cluster's name is the cell %q", name)
			}
		}
		if !slices.Equal(rows, shown) {
			t.Errorf("as CSV %q, the page shows %q", rows, shown)
		}

		rows = nil
		lines := strings.Split(strings.TrimSpace(s.download("ndjson")), "\n")
		for _, line := range lines[:len(lines)-1] {
			var l struct {
				Seq    json.Number
				Status string
				Body   struct {
					Act    string
					Target struct{ Name string }
				}
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.Body.Target.Name != "-1-evidence" {
				t.Errorf("%v: %s", err, line)
			}
			rows = append(rows, l.Seq.String()+" "+l.Body.Act+" "+l.Status)
		}
		if !slices.Equal(rows, shown) || !strings.Contains(lines[len(lines)-1], `"operations":2`) {
			t.Errorf("as NDJSON %q, the page shows %q; the last line is %s", rows, shown, lines[len(lines)-1])
		}
		finish()
	}
	if n := st.events(t, `act = 'audit.export' AND outcome = 'ok' AND actor_email = $1 AND convert_from(body, 'UTF8')::jsonb #>> '{change,q,1}' = $2`, auditor, id); n != 4 {
		t.Errorf("%d exports are on record, want 4", n)
	}
	got := st.visitor(t, operator).get("/audit/export?format=csv")
	if got.status != http.StatusForbidden || !strings.Contains(got.text(), "audit:export") {
		t.Errorf("an operator's export: %d\n%s", got.status, got.text())
	}
}

// download presses the link of the log's page for a format, and returns what was saved.
func (s *surfer) download(format string) string {
	s.t.Helper()
	folder := s.t.TempDir()
	if _, err := chromedp.Call(s.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: folder,
	}); err != nil {
		s.t.Fatal(err)
	}
	s.do(chromedp.Click(chromedp.CSS(`main a[href^="/audit/export?"][href*="format=` + format + `"]`)))
	var text []byte
	waitUntil(s.t, "the export as "+format+" is saved", func() bool {
		files, err := os.ReadDir(folder)
		if err != nil {
			s.t.Fatal(err)
		}
		// The name is taken before the file is filled, and while it is there is another beside it.
		if len(files) != 1 || !strings.HasPrefix(files[0].Name(), "quartermaster-audit-") || !strings.HasSuffix(files[0].Name(), "."+format) {
			return false
		}
		if text, err = os.ReadFile(filepath.Join(folder, files[0].Name())); err != nil {
			s.t.Fatal(err)
		}
		return strings.HasSuffix(string(text), "\n")
	})
	if id := ask[string](s, "document.body.id"); id != "audit-index" {
		s.t.Errorf("after the export the browser is at %s", id)
	}
	return string(text)
}
