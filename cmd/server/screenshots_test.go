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
	dev := startDev(t)
	tab := browser(t)
	operator := dev.signIn(t, "operator@example.test")
	row := restartable(t, operator)
	fleet := chromedp.WaitVisible(chromedp.CSS(`body#clusters-index [data-testid="cluster-row"]`))
	inBrowser(t, tab, chromedp.EmulateViewport(1440, 860), asksFor("light"), chromedp.Navigate(dev.about.URL+"/login?login_hint=operator%40example.test"), fleet)
	for _, shot := range []struct{ name, scheme, path string }{
		{"fleet-light.png", "light", "/clusters"},
		{"fleet-dark.png", "dark", "/clusters"},
		{"cluster-light.png", "light", "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]},
	} {
		inBrowser(t, tab, asksFor(shot.scheme), chromedp.Navigate(dev.about.URL+shot.path), chromedp.WaitVisible(chromedp.CSS("main")))
		picture, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if colours(t, picture) < 10 {
			t.Errorf("%s shows next to nothing", shot.name)
		}
		if err := os.WriteFile(filepath.Join(dir, shot.name), picture, 0o644); err != nil { // a picture for everybody
			t.Fatal(err)
		}
	}
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
