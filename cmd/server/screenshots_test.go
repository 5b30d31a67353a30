package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestScreenshots takes the pictures of the README. They are written to docs/screenshots with
// UPDATE_SCREENSHOTS=1 (make screenshots), and to a temporary folder otherwise.
func TestScreenshots(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("UPDATE_SCREENSHOTS") != "" {
		dir = filepath.Join("..", "..", "docs", "screenshots")
	}
	st := openStage(t)
	path, _ := st.cluster(t, "product-search-eu")
	account := "/accounts/" + st.accounts[production].id
	s, finish := openBrowser(t, st.about.URL, true)
	defer finish()
	s.do(chromedp.EmulateViewport(1440, 860), asksFor("light"))
	s.signIn(admin, "clusters-index")
	take := func(name string, height int64) {
		t.Helper()
		s.do(chromedp.EmulateViewport(1440, height))
		picture, err := chromedp.Run(s.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if colours(t, picture) < 10 {
			t.Errorf("%s shows next to nothing", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil { // a picture for everybody
			t.Fatal(err)
		}
	}

	s.open("/clusters", "clusters-index")
	take("fleet-light", 860)
	s.do(asksFor("dark"))
	s.open("/clusters", "clusters-index")
	take("fleet-dark", 860)
	s.do(asksFor("light"))
	s.open(path, "cluster-show")
	take("cluster-light", 860)

	s.open(account+"/clusters/new?cloud_provider=aws&region=eu-central-1", "cluster-new")
	take("cluster-new-light", 1400)
	smaller, _ := st.cluster(t, "catalogue-dedup")
	s.open(smaller+"/update", "cluster-update")
	s.chooses("mx32")
	s.types("nodes", "4")
	s.click("main form button.btn-primary", "cluster-update-review")
	take("cluster-review-light", 1000)
	s.open(path+"/keys", "keys-index")
	take("keys-light", 600)
	s.makesKey(st, path, "ingest pipeline")
	take("key-secret-light", 760)
	s.do(asksFor("dark"))
	take("key-secret-dark", 760)
	s.do(asksFor("light"))
	s.open("/packages?account="+st.accounts[production].id+"&cloud_provider=aws&ram=32", "packages-index")
	take("packages-light", 760)
	s.open(account, "account-show")
	take("account-light", 1000)
	s.open("/audit", "audit-index")
	take("audit-light", 760)
	s.takesSnapshots(take)
	s.takesRights(take, st, path)
}

// takesSnapshots takes the pictures of what is read of all accounts besides their clusters, when all of it has been read.
func (s *surfer) takesSnapshots(take func(name string, height int64)) {
	s.t.Helper()
	waitUntil(s.t, "alerts, keys and backups are read", func() bool {
		for path, bodyID := range map[string]string{"/alerts": "alerts-index", "/keys": "keys-index", "/backups": "backups-index"} {
			s.open(path, bodyID)
			if ask[bool](s, `/not (read|listed) yet/i.test(document.body.innerText)`) {
				return false
			}
		}
		return true
	})
	for _, page := range []struct{ name, path, bodyID string }{
		{"alerts", "/alerts", "alerts-index"}, {"key-radar", "/keys", "keys-index"}, {"backups", "/backups", "backups-index"},
	} {
		for _, scheme := range []string{"light", "dark"} {
			s.do(asksFor(scheme))
			s.open(page.path, page.bodyID)
			take(page.name+"-"+scheme, 860)
		}
	}
	s.do(asksFor("light"))
}

// takesRights takes the pictures of who may do what, in light and dark.
func (s *surfer) takesRights(take func(name string, height int64), st *stage, path string) {
	s.t.Helper()
	_, cluster := st.cluster(s.t, "product-search-eu")
	s.open("/admin/grants/new", "grant-new")
	s.givesViewer(st.accounts[production].id+"/"+cluster, "search-team")
	grant := ask[string](s, "location.pathname")
	both := func(name, path, bodyID string, height int64) {
		for _, scheme := range []string{"light", "dark"} {
			s.do(asksFor(scheme))
			s.open(path, bodyID)
			take(name+"-"+scheme, height)
		}
	}
	both("grants", "/admin/grants", "grants-index", 700)
	both("grant", grant, "grant-show", 640)
	both("role-grid", "/admin/roles/new?from=operator", "role-new", 1320)
	both("access", "/admin/access?account="+st.accounts[production].id+"&cluster="+cluster, "access-who", 700)
	for _, scheme := range []string{"light", "dark"} {
		s.do(asksFor(scheme))
		s.open("/admin/groups/try", "admin-groups-try")
		s.types("claims", `{"email": "sam@example.test", "email_verified": true, "groups": ["search-team", "everyone"]}`)
		s.click(`form[action="/admin/groups/try"] button`, "admin-groups-try")
		s.do(chromedp.WaitVisible(chromedp.CSS("#mapping")))
		take("claims-"+scheme, 1000)
	}
	s.open("/admin/review", "review-index")
	s.do(chromedp.Click(chromedp.CSS(`form[action="/admin/review/start"] button`)), chromedp.WaitVisible(chromedp.CSS(`[data-testid="undecided"]`)))
	both("access-review", "/admin/review", "review-index", 1000)
	s.signOut()
	s.signIn(viewer, "clusters-index")
	both("why", path+"/delete", "error", 900)
	s.do(asksFor("light"))
}

// colours counts the colours of a picture: an empty page has one or two.
func colours(t *testing.T, picture []byte) int {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[3]uint32]bool{}
	bounds := img.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y += 3 {
		for x := bounds.Min.X; x < bounds.Max.X; x += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			seen[[3]uint32{r, g, b}] = true
		}
	}
	return len(seen)
}
