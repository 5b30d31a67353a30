package accounts

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/cloudapi"
)

func TestPackagesOfBothGenerations(t *testing.T) {
	s := newStage(t)
	account, old := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	for _, a := range []Account{account, old} {
		page, err := s.svc.Packages(t.Context(), member("viewers"), PackageQuery{Account: a.ID, Provider: "aws"})
		if err != nil || page.Failure != "" || len(page.Missing) > 0 {
			t.Fatalf("%s: %v %q %v", a.Name, err, page.Failure, page.Missing)
		}
		if page.Provider != "aws" || page.All < 20 || len(page.Offers) != page.All {
			t.Fatalf("%s: provider %s, %d of %d offers", a.Name, page.Provider, len(page.Offers), page.All)
		}
		for i, o := range page.Offers {
			if o.RAMMiB == 0 || o.CPUMilli == 0 || o.DiskMiB == 0 || o.Currency != "USD" || o.Region.ID == "" || o.Status == "DEACTIVATED" {
				t.Errorf("%s: %+v", a.Name, o)
			}
			if i > 0 && o.PricePerHourMillicents < page.Offers[i-1].PricePerHourMillicents {
				t.Errorf("%s: %s costs less than the one before it", a.Name, o.Name)
			}
		}
		if a.ID == account.ID && !slices.Equal(page.Tiers, []string{"PREMIUM", "STANDARD"}) {
			t.Errorf("%s: packages of the tiers %v", a.Name, page.Tiers) // whichever of them is the account's own
		}
		if page.Create.Offered || !strings.Contains(page.Create.Reason, "write:clusters") {
			t.Errorf("a viewer is offered to create: %+v", page.Create)
		}
	}
	page, err := s.svc.Packages(t.Context(), member("operators"), PackageQuery{
		Account: account.ID, Provider: "aws", Region: "eu-central-1", MinRAMMiB: 32 << 10, MinCPU: 8000, Sort: "ram", Dir: "desc",
	})
	if err != nil || len(page.Offers) == 0 || !page.Create.Offered {
		t.Fatalf("%v, %d offers, create %+v", err, len(page.Offers), page.Create)
	}
	for i, o := range page.Offers {
		if o.Region.ID != "eu-central-1" || o.RAMMiB < 32<<10 || o.CPUMilli < 8000 || i > 0 && o.RAMMiB > page.Offers[i-1].RAMMiB {
			t.Errorf("offer %d is %s in %s with %d MiB and %d m", i, o.Name, o.Region.ID, o.RAMMiB, o.CPUMilli)
		}
	}
	for name, q := range map[string]PackageQuery{"gpu": {GPU: true}, "multi-AZ": {MultiAZ: true}, "tier": {Tier: "PREMIUM"}} {
		q.Account, q.Provider = account.ID, "aws"
		page, err := s.svc.Packages(t.Context(), member("viewers"), q)
		if err != nil || len(page.Offers) == 0 || len(page.Offers) == page.All {
			t.Errorf("%s: %v, %d of %d", name, err, len(page.Offers), page.All)
		}
		if slices.ContainsFunc(page.Offers, func(o PackageOffer) bool {
			return q.GPU && o.GPUMilli == 0 || q.MultiAZ && !o.MultiAZ || q.Tier != "" && o.Tier != q.Tier
		}) {
			t.Errorf("%s: others too", name)
		}
	}
}

func TestOneRegionThatFailsHidesNoOther(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	s.fault(map[string]any{"account": account.CloudAccountID, "operation": "ListPackages", "kind": "status", "status": http.StatusForbidden, "times": 1})
	page, err := s.svc.Packages(t.Context(), member("viewers"), PackageQuery{Account: account.ID, Provider: "gcp"})
	if err != nil || page.Failure != "" || len(page.Missing) != 1 || page.All == 0 {
		t.Fatalf("%v, failure %q, missing %v, %d offers", err, page.Failure, page.Missing, page.All)
	}
	// A failure is not remembered.
	page, err = s.svc.Packages(t.Context(), member("viewers"), PackageQuery{Account: account.ID, Provider: "gcp"})
	if err != nil || len(page.Missing) != 0 {
		t.Errorf("%v, missing %v", err, page.Missing)
	}
	calls, _ := s.calls()
	if _, err := s.svc.Packages(t.Context(), member("admins"), PackageQuery{Account: account.ID, Provider: "gcp"}); err != nil {
		t.Fatal(err)
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("%d calls for what was read a moment ago", after-calls)
	}
}

func TestWhosePackages(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	if _, err := s.svc.Packages(t.Context(), member("viewers"), PackageQuery{Account: uuid.New()}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an account that does not exist: %v", err)
	}
	stranger := member("nobodies")
	page, err := s.svc.Packages(t.Context(), stranger, PackageQuery{})
	if err != nil || len(page.Accounts) != 0 || page.Account.ID != uuid.Nil {
		t.Errorf("a stranger sees %+v, %v", page.Accounts, err)
	}
	if _, err := s.svc.Packages(t.Context(), stranger, PackageQuery{Account: account.ID}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a stranger asks for an account: %v", err)
	}
	if err := s.svc.Disable(t.Context(), member("admins"), account.ID); err != nil {
		t.Fatal(err)
	}
	page, err = s.svc.Packages(t.Context(), member("viewers"), PackageQuery{Account: account.ID})
	if err != nil || !strings.Contains(page.Failure, "disabled") {
		t.Errorf("a disabled account: %v, %q", err, page.Failure)
	}
}

func TestRegionsAreCompared(t *testing.T) {
	offer := func(name, region string, price int64, currency string) PackageOffer {
		return PackageOffer{Package: cloudapi.Package{Name: name, PricePerHourMillicents: price, Currency: currency}, Region: cloudapi.Region{ID: region}}
	}
	offers := []PackageOffer{
		offer("mx1", "a", 100, "USD"), offer("mx1", "b", 125, "USD"), offer("same", "a", 7, "USD"), offer("same", "b", 7, "USD"),
		offer("alone", "a", 9, "USD"), offer("mixed", "a", 9, "USD"), offer("mixed", "b", 8, "EUR"), offer("free", "a", 0, "USD"), offer("free", "b", 10, "USD"),
	}
	compareRegions(offers)
	for i, want := range []PackageOffer{
		{Compared: true, Cheapest: true}, {Compared: true, Over: 25}, {Compared: true}, {Compared: true}, {},
		{Compared: true, Currencies: true}, {Compared: true, Currencies: true}, {Compared: true, Cheapest: true}, {Compared: true},
	} {
		got := offers[i]
		if got.Compared != want.Compared || got.Cheapest != want.Cheapest || got.Over != want.Over || got.Currencies != want.Currencies {
			t.Errorf("%s in %s: %+v", got.Name, got.Region.ID, got)
		}
	}
}
