package main

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAccessReviewInTheBrowser goes through one review from its beginning to its sign-off in a real browser, without
// scripts: a grant is revoked, and who had it is out with the next request.
func TestAccessReviewInTheBrowser(t *testing.T) {
	st := openStage(t)
	path, id := st.cluster(t, "product-search-eu")
	s, finish := openBrowser(t, st.about.URL, false)
	defer finish()
	s.signIn(admin, "clusters-index")
	s.open("/admin/grants/new", "grant-new")
	s.givesViewer(st.accounts[production].id+"/"+id, "search-team")
	nora, done := openBrowser(t, st.about.URL, false)
	defer done()
	nora.signIn(nobody, "clusters-index")
	nora.open(path, "cluster-show")

	s.open("/admin/review", "review-index")
	s.says("No review is under way", "No review was ever signed off")
	s.do(chromedp.Click(chromedp.CSS(`form[action="/admin/review/start"] button`)), chromedp.WaitVisible(chromedp.CSS(`[data-testid="undecided"]`)))
	s.says("Review under way", "search-team", "cluster product-search-eu", "OPS-1412", "QM_ADMIN_GROUPS")
	s.link("/admin/review/sign", "review-sign")
	s.says("not decided")
	s.open("/admin/review", "review-index")
	const line = `tr[data-testid="review-line"]:not([data-line^="configured-"])`
	s.click(line+` a[href$="/revoke"]`, "review-revoke")
	s.says("search-team", "viewer")
	s.types("reason", "the slow queries are found")
	s.click("main form button.btn-danger", "review-index")
	s.says("The grant has ended.", "1 revoked")
	if ask[bool](s, `!!document.querySelector('`+line+`')`) {
		t.Error("the line is there after it was revoked")
	}
	nora.do(chromedp.Navigate(st.about.URL + path))
	nora.until(`document.body && document.body.id === "no-rights"`)

	ask[int](s, `document.querySelectorAll('input[name="line"]').forEach(box => { box.checked = true }), 0`)
	s.types("note", "as configured")
	s.do(chromedp.Click(chromedp.CSS(`[data-testid="keep"]`)), chromedp.WaitVisible(chromedp.CSS(`[data-testid="undecided"][data-count="0"]`)))
	s.says("kept.", "0 lines to decide,", "as configured")
	s.link("/admin/review/sign", "review-sign")
	s.types("note", "All as it should be.")
	s.click("main form button.btn-primary", "review-signed-one")
	s.says("Signed off. The next review is due on", "All as it should be.", "search-team", "the slow queries are found", "as configured")
	s.open("/admin/review/signed", "review-signed")
	s.says("All as it should be.")
	if n := st.events(t, `act = 'review.sign' AND outcome = 'ok'`); n != 1 {
		t.Errorf("%d sign-offs on record", n)
	}
	s.open("/admin/review?at=2020-01-31", "review-before-log")
	s.says("That is before the log begins")
	s.click("main .btn-plain[href*='at=']", "review-index")
	s.says("Nothing can be decided here")
	s.open("/admin/review/members", "review-members")
	s.click(`[data-testid="review-member"] a.rowlnk`, "review-rights")
}
