package web

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

// TestTheUpdateFormHasEverySetting: a setting that the domain knows and the form does not could never
// be changed.
func TestTheUpdateFormHasEverySetting(t *testing.T) {
	sent := url.Values{"revision": {"r"}}
	for _, name := range accounts.ClusterSettingNames() {
		sent.Set(name, "")
	}
	var form clusterUpdateForm
	if err := bindValues(sent, reflect.ValueOf(&form).Elem()); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(accounts.ClusterSettingNames()))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(form.fields()))); diff != "" {
		t.Errorf("fields that were sent empty (-want +got)\n%s", diff)
	}
	if got := (clusterUpdateForm{Revision: "r"}).fields(); len(got) != 0 {
		t.Errorf("fields that were not sent are %v", got)
	}
	var shown []string
	for _, section := range updateSections(accounts.ClusterUpdate{}) {
		for _, f := range section.Fields {
			shown = append(shown, f.Name)
		}
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(shown))); diff != "" {
		t.Errorf("fields of the page (-want +got)\n%s", diff)
	}
}

func TestPriceViews(t *testing.T) {
	price := func(perHour int64) *accounts.ClusterPrice {
		return &accounts.ClusterPrice{Currency: "USD", PerHour: perHour}
	}
	for _, tt := range []struct {
		before, after *accounts.ClusterPrice
		want          [4]string
	}{
		{price(9424), price(18848), [4]string{"tone-warn", "Costs more", "+$0.09424", "+$68.80"}},
		{price(18848), price(9424), [4]string{"tone-ok", "Costs less", "−$0.09424", "−$68.80"}},
		{price(9424), price(9424), [4]string{"tone-off", "Costs the same", "$0.00", "$0.00"}},
		{price(1), &accounts.ClusterPrice{Currency: "EUR", PerHour: 1}, [4]string{"tone-warn", "Another currency", "–", "–"}},
		{nil, price(1), [4]string{}},
	} {
		v := priceView(accounts.ClusterPlan{PriceBefore: tt.before, PriceAfter: tt.after})
		if got := [4]string{v.Tone, v.Word, v.DifferHour, v.DifferMonth}; got != tt.want || v.Known == (tt.before == nil) {
			t.Errorf("%+v to %+v: %v, want %v", tt.before, tt.after, got, tt.want)
		}
	}
	estimated := priceView(accounts.ClusterPlan{PriceBefore: price(1), PriceAfter: &accounts.ClusterPrice{Currency: "USD", PerHour: 2, Estimate: "no quote", WithoutDisk: true}})
	if !strings.Contains(estimated.Note, "estimate") || !strings.Contains(estimated.Note, "disk") {
		t.Errorf("note %q", estimated.Note)
	}
}

func TestWarningsAndPoints(t *testing.T) {
	plan := func(values, wanted map[string]string) accounts.ClusterPlan {
		p := accounts.ClusterPlan{ClusterUpdate: accounts.ClusterUpdate{Values: values}, Wanted: wanted}
		for _, name := range accounts.ClusterSettingNames() {
			if values[name] != wanted[name] {
				p.Differing = append(p.Differing, name)
			}
		}
		return p
	}
	for name, tt := range map[string]struct {
		plan accounts.ClusterPlan
		says string
	}{
		"fewer nodes":   {plan(map[string]string{"nodes": "3"}, map[string]string{"nodes": "1"}), "2 nodes are taken away"},
		"no ranges":     {plan(map[string]string{"nodes": "1", "allowed_ips": "10.0.0.0/8"}, map[string]string{"nodes": "1"}), "Every address"},
		"many replicas": {plan(map[string]string{"nodes": "2"}, map[string]string{"nodes": "2", "replication_factor": "3"}), "more than the cluster has nodes"},
	} {
		if got := strings.Join(updateWarnings(tt.plan), "\n"); !strings.Contains(got, tt.says) {
			t.Errorf("%s: %s", name, got)
		}
	}
	smaller := plan(map[string]string{"nodes": "1"}, map[string]string{"nodes": "1"})
	smaller.Smaller = true
	if got := updateWarnings(smaller); len(got) != 1 {
		t.Errorf("a smaller package: %v", got)
	}
	if got := riskViews(smaller); len(got) != 1 || got[0].Word != "Not known" {
		t.Errorf("no risk told: %+v", got)
	}
	smaller.Risks = []cloudapi.DownscaleRisk{{Resource: "MEMORY", Status: "USAGE_EXCEEDS_TARGET", Reason: "<b>"}, {Resource: "MEMORY", Status: "A_NEW_ONE"}}
	if got := riskViews(smaller); len(got) != 2 || got[0].Tone != "tone-bad" || got[1].Word != "Memory: A new one" {
		t.Errorf("%+v", got)
	}
	if got := updatePoints(plan(map[string]string{"version": "v1"}, map[string]string{"version": "v2"})); !slices.Contains(got, "Its nodes restart.") {
		t.Errorf("a new version: %v", got)
	}
	if got := updatePoints(plan(map[string]string{"labels": "a=b"}, nil)); len(got) != 0 {
		t.Errorf("labels: %v", got)
	}
}

// TestWhatUpstreamSendsIsHarmlessOnThePages: names, labels, versions and packages of upstream hold
// what breaks out of pages that are put together carelessly.
func TestWhatUpstreamSendsIsHarmlessOnThePages(t *testing.T) {
	const evil = `"><script>alert(1)</script><b title='`
	c := newConsole(t)
	ref := accounts.ClusterRef{AccountID: uuid.New(), ClusterID: "c-1"}
	u := accounts.ClusterUpdate{
		Account:    accounts.Account{Name: evil, Environment: accounts.Production, Generation: cloudapi.Current},
		Cluster:    cloudapi.Cluster{Name: evil, Configuration: cloudapi.Configuration{PackageID: evil, Version: evil}},
		Revision:   "r",
		NotOffered: map[string]string{"nodes": evil},
		Packages:   []cloudapi.Package{{ID: evil, Name: evil, Currency: evil, PricePerHourMillicents: 1}},
		Releases:   []cloudapi.Release{{Version: evil + "2", Remarks: evil}},
		Values:     map[string]string{},
	}
	wanted := map[string]string{}
	for _, name := range accounts.ClusterSettingNames() {
		u.Values[name], wanted[name] = evil, evil+"2"
	}
	plan := accounts.ClusterPlan{
		ClusterUpdate: u, Wanted: wanted, Differing: accounts.ClusterSettingNames(), Smaller: true,
		PriceBefore: &accounts.ClusterPrice{Currency: evil}, PriceAfter: &accounts.ClusterPrice{Currency: evil, PerHour: 1},
		Risks: []cloudapi.DownscaleRisk{{Resource: evil, Status: evil, Reason: evil}},
	}
	stale := &accounts.StaleError{Now: u, Wished: wanted, Started: map[string]string{"name": evil}, Left: []string{"name"}}
	e := c.echo.NewContext(c.request(http.MethodGet, "/", ""), httptest.NewRecorder())
	form := clusterUpdateForm{Revision: evil, Started: evil, Labels: &u.Cluster.Name}
	for name, page := range map[string]templ.Component{
		"form":   templates.ClusterUpdate(c.clusterUpdateView(e, ref, u, form, map[string]string{"": evil, "labels": evil, "odd": evil})),
		"review": templates.ClusterReview(c.clusterReviewView(e, ref, plan, form)),
		"stale":  templates.ClusterStale(c.clusterStaleView(e, ref, stale)),
	} {
		var b bytes.Buffer
		if err := page.Render(t.Context(), &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(b.String(), "<script>alert") || strings.Contains(b.String(), "<b title") {
			t.Errorf("%s runs what upstream sent", name)
		}
		if !strings.Contains(b.String(), "&lt;script&gt;alert(1)") {
			t.Errorf("%s does not show what upstream sent", name)
		}
	}
}
