package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"quartermaster/internal/cloudapi"
)

// packageNames lists the packages of an answer.
func packageNames(r reply) (names []string) {
	items, _ := r.get("items").([]any)
	for i := range items {
		names = append(names, text(r, "items", i, "name"))
	}
	return names
}

// TestFactsPackagesAreOfOneTier: without a tier packages are those of the account's tier, or standard ones where there is no account.
func TestFactsPackagesAreOfOneTier(t *testing.T) {
	b := setup(t)
	premium, standard := b.fixture(0), b.fixture(1)
	const place = "cloudProviderId=aws&cloudProviderRegionId=eu-central-1"
	lists := map[string]string{
		"premium account":  "/api/booking/v1/accounts/" + premium.CloudAccountID + "/packages?",
		"standard account": "/api/booking/v1/accounts/" + standard.CloudAccountID + "/packages?",
		"everybody":        "/api/booking/v1/packages?",
	}
	for _, c := range []struct {
		who, tier string
		want      string // the tier of all items
	}{
		{"premium account", "", "PACKAGE_TIER_PREMIUM"},
		{"premium account", "PACKAGE_TIER_STANDARD", "PACKAGE_TIER_STANDARD"},
		{"premium account", "PACKAGE_TIER_PREMIUM", "PACKAGE_TIER_PREMIUM"},
		{"standard account", "", "PACKAGE_TIER_STANDARD"},
		{"standard account", "PACKAGE_TIER_PREMIUM", "PACKAGE_TIER_PREMIUM"},
		{"everybody", "", "PACKAGE_TIER_STANDARD"},
		{"everybody", "PACKAGE_TIER_PREMIUM", "PACKAGE_TIER_PREMIUM"},
	} {
		f := standard
		if strings.HasPrefix(c.who, "premium") {
			f = premium
		}
		query := place
		if c.tier != "" {
			query += "&tier=" + c.tier
		}
		r := b.call(f, "GET", lists[c.who]+query, nil).want(t, 200)
		if len(packageNames(r)) == 0 {
			t.Errorf("%s asking for %q gets nothing", c.who, c.tier)
		}
		for i, name := range packageNames(r) {
			if got := text(r, "items", i, "tier"); got != c.want {
				t.Errorf("%s asking for %q gets %s of %s", c.who, c.tier, name, got)
			}
		}
	}
}

// TestFactsAnAccountKeepsItsTier: the tier outlives the program and can be set.
func TestFactsAnAccountKeepsItsTier(t *testing.T) {
	path := t.TempDir() + "/state.json"
	inFile := func(c *Config) { c.StatePath = path }
	var f Fixture
	tierOf := func(b *bench) string {
		r := b.call(f, "GET", "/api/booking/v1/accounts/"+f.CloudAccountID+"/packages?cloudProviderId=aws&cloudProviderRegionId=eu-central-1", nil).want(t, 200)
		return text(r, "items", 0, "tier")
	}
	t.Run("first", func(t *testing.T) {
		b := setup(t, inFile)
		f = b.fixture(1)
		if got := b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID}); got.get("tier") != "standard" {
			t.Errorf("the account is %s", got.body)
		}
		if got := b.ctl("POST", "account", map[string]any{"account": f.CloudAccountID, "tier": "premium"}); got.get("tier") != "premium" {
			t.Errorf("the account became %s", got.body)
		}
		if got := tierOf(b); got != "PACKAGE_TIER_PREMIUM" {
			t.Errorf("it lists %s", got)
		}
		if got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/account", map[string]any{"account": f.CloudAccountID, "tier": "golden"}); got.status != 422 {
			t.Errorf("a tier that is none: %d", got.status)
		}
	})
	t.Run("second", func(t *testing.T) {
		if got := tierOf(setup(t, inFile)); got != "PACKAGE_TIER_PREMIUM" {
			t.Errorf("after a new start it lists %s", got)
		}
	})
}

// TestFactsTheClientReadsAllPackages: of both tiers, whichever the account's is, and those that cannot be booked any more, because
// clusters have them; each once.
func TestFactsTheClientReadsAllPackages(t *testing.T) {
	b := setup(t)
	b.ctl("POST", "catalogue", map[string]any{"package_deactivated": map[string]any{"provider": "aws", "name": "mx2"}})
	for n := range 2 {
		f := b.fixture(n)
		conn, _ := b.client(f)
		packages, err := cloudapi.NewCurrentAPI(conn).Packages(t.Context(), "aws", "eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, p := range packages {
			if _, twice := found[p.Name]; twice {
				t.Errorf("%s: %s is there twice", f.Name, p.Name)
			}
			found[p.Name] = fmt.Sprint(p.Tier, " ", p.Deactivated())
		}
		for name, want := range map[string]string{"mx4": "STANDARD false", "mx8-premium": "PREMIUM false", "mx16-premium": "PREMIUM false", "mx2": "STANDARD true", "gpx1": "STANDARD true"} {
			if found[name] != want {
				t.Errorf("%s: %s is %q, want %q", f.Name, name, found[name], want)
			}
		}
		if !slices.ContainsFunc(packages, func(p cloudapi.Package) bool { return p.GPUMilli > 0 }) {
			t.Errorf("%s: no package with a GPU", f.Name)
		}
	}
}
