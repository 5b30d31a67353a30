package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"quartermaster/internal/audit"
)

// productionAccount is the path of an account of production, as the fleet of the tour has one.
func productionAccount(t *testing.T, v *visitor) string {
	t.Helper()
	for _, a := range elements(v.get("/accounts").root, "a") {
		href := attributeOf(a, "href")
		if !strings.HasPrefix(href, "/accounts/") || href == "/accounts/new" {
			continue
		}
		if strings.Contains(v.get(href).text(), "production") {
			return href
		}
	}
	t.Fatal("the tour has no account of production")
	return ""
}

// TestStepUpInABrowser removes an account with a sign-in that is too old, with and without scripts.
func TestStepUpInABrowser(t *testing.T) {
	p := startDev(t, "QM_STEP_UP_AFTER=3s")
	for _, scripts := range []bool{true, false} {
		v := p.signIn(t, "admin@example.test")
		path := productionAccount(t, v)
		s, finish := openBrowser(t, p.about.URL, scripts)
		s.open("/login?login_hint=admin%40example.test&return_to="+path, "account-show")
		// The provider of dev has no clock to turn, so the sign-in has to grow old.
		waitUntil(t, "the page asks for a fresh sign-in", func() bool {
			s.open(path+"/edit", "account-edit")
			return ask[bool](s, `document.querySelector('[data-testid=step-up]') !== null`)
		})
		// Another environment, without the fresh sign-in.
		s.do(chromedp.Click(chromedp.CSS(`input[name=environment][value=staging]`)),
			chromedp.SetValue(chromedp.CSS(`[name=note]`), "typed before"),
			chromedp.Click(chromedp.CSS(`main button[type=submit]`)), chromedp.WaitVisible(chromedp.CSS("body#error")))
		s.click(`main [data-testid=step-up]`, "account-edit")
		if got := ask[string](s, `document.querySelector('[name=note]').value + ' ' + document.querySelector('input[name=environment]:checked').value`); got != "typed before staging" {
			t.Errorf("the form came back with %q", got)
		}
		s.do(chromedp.Click(chromedp.CSS(`main button[type=submit]`)), chromedp.WaitVisible(chromedp.CSS("body#account-show")))
		finish()
		// Back, for the next round.
		v = p.signIn(t, "admin@example.test")
		v.submit(v.get(path+"/edit"), path+"/edit", map[string]string{"environment": "production"})
	}
}

// TestBreakGlassCommand prints a link with the program itself and uses it while the provider does not matter.
func TestBreakGlassCommand(t *testing.T) {
	p := startDev(t)
	state, err := os.ReadFile(filepath.Join(p.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept struct {
		Secrets struct {
			KEK string `json:"kek"`
		} `json:"secrets"`
	}
	if err := json.Unmarshal(state, &kept); err != nil {
		t.Fatal(err)
	}
	env := environment{"QM_DATABASE_URL=" + p.about.DatabaseURL, "QM_KEK=" + kept.Secrets.KEK, "QM_BASE_URL=" + p.about.URL}
	for name, args := range map[string][]string{
		"no reason": {"breakglass"}, "a blank reason": {"breakglass", "--reason", " "}, "one too long": {"breakglass", "--reason", strings.Repeat("x", 501)},
	} {
		if got := runProgram(t, env, args...); got.code != exitMisused || got.stdout != "" || !strings.Contains(got.stderr, "--reason") {
			t.Errorf("%s: %d: %s%s", name, got.code, got.stdout, got.stderr)
		}
	}
	if got := runProgram(t, environment{}, "breakglass", "--reason", "x"); got.code != exitMisused ||
		!strings.Contains(got.stderr, "QM_DATABASE_URL") || !strings.Contains(got.stderr, "QM_KEK") || !strings.Contains(got.stderr, "QM_BASE_URL") {
		t.Errorf("without a configuration: %d: %s", got.code, got.stderr)
	}
	// With --dev, the folder of dev has all that is needed.
	here := environment{"QM_DEV_DIR=" + p.dir}
	if got := runProgram(t, here, "breakglass", "--dev", "--reason", "trying it"); got.code != exitOK || !strings.HasPrefix(got.stdout, p.about.URL+"/break-glass?link=") {
		t.Errorf("--dev: %d: %s%s", got.code, got.stdout, got.stderr)
	}
	for name, tt := range map[string]struct {
		env  environment
		says string
	}{
		"of another folder":     {environment{"QM_DEV_DIR=" + t.TempDir()}, "no data folder of dev"},
		"with the key of serve": {append(here, "QM_KEK="+kept.Secrets.KEK), "QM_KEK is set, but --dev"},
	} {
		if got := runProgram(t, tt.env, "breakglass", "--dev", "--reason", "x"); got.code == exitOK || got.stdout != "" || !strings.Contains(got.stderr, tt.says) {
			t.Errorf("--dev %s: %d: %s%s", name, got.code, got.stdout, got.stderr)
		}
	}
	if got := runProgram(t, environment{}, "breakglass", "--reason", "x"); !strings.Contains(got.stderr, "--dev") {
		t.Errorf("who tries it with make run is not told how: %s", got.stderr)
	}
	got := runProgram(t, env, "breakglass", "--reason", "Provider down, ticket 7")
	link := strings.TrimSpace(got.stdout)
	if got.code != exitOK || !strings.HasPrefix(link, p.about.URL+"/break-glass?link=") || strings.Contains(got.stderr, link) {
		t.Fatalf("%d: %s%s", got.code, got.stdout, got.stderr)
	}

	v := newVisitor(t, p.about.URL)
	page := v.get(strings.TrimPrefix(link, p.about.URL))
	if page.status != http.StatusOK {
		t.Fatalf("the link answers %d: %s", page.status, page.text())
	}
	page = v.submit(page, "/break-glass", nil)
	if page.bodyID() != "clusters-index" || !strings.Contains(page.body, "Provider down, ticket 7") {
		t.Errorf("ended at %s: %s", page.url, page.text())
	}
	viewer := p.signIn(t, "viewer@example.test")
	if !strings.Contains(viewer.get("/clusters").body, "Break-glass access is in use") {
		t.Error("a viewer is not told")
	}
	// The log can name who it was.
	if text := v.get("/audit?act=break_glass.create").text(); !strings.Contains(text, "@") {
		t.Errorf("the log says: %s", text)
	}
	again := newVisitor(t, p.about.URL)
	page = again.get(strings.TrimPrefix(link, p.about.URL))
	if page = again.submit(page, "/break-glass", nil); page.status != http.StatusForbidden {
		t.Errorf("used twice: %d", page.status)
	}
}

// TestCommandLineActor is who an act of the command line is recorded for.
func TestCommandLineActor(t *testing.T) {
	by := cliActor()
	name, host, ok := strings.Cut(by.Name, "@")
	if !ok || name == "" || host == "" || by.Via != audit.ViaCLI || by.Issuer != "quartermaster" || by.Subject != "cli:"+by.Name {
		t.Errorf("%+v", by)
	}
}
