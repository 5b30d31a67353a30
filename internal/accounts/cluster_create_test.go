package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// opened is a form for a cluster as it is opened, under a name.
func (s *stage) opened(by audit.Actor, account Account, name string) NewCluster {
	s.t.Helper()
	asked := NewCluster{}
	if account.Generation == cloudapi.PAV1 {
		asked.CloudProvider, asked.Region = "aws", "eu-central-1"
	}
	f, err := s.svc.AskClusterCreate(s.t.Context(), by, account.ID, asked, false)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(f.Problems) > 0 {
		s.t.Fatalf("lists could not be read: %v", f.Problems)
	}
	f.Asked.Name = name
	f.Asked.PackageID = f.packageNamed("mx1")
	return f.Asked
}

func (f ClusterForm) packageNamed(name string) string {
	for _, p := range f.Packages {
		if p.Name == name {
			return p.ID
		}
	}
	return ""
}

// named counts the clusters of a name that upstream has.
func (s *stage) named(account Account, name string) (n int) {
	s.t.Helper()
	up, err := s.svc.connect(s.t.Context(), account.ID, "")
	if err != nil {
		s.t.Fatal(err)
	}
	all, _, err := listClusters(s.t.Context(), up.cloud)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range all {
		if c.Name == name {
			n++
		}
	}
	return n
}

func TestTheFormOffersWhatCanBeHad(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false)
	if err != nil {
		t.Fatal(err)
	}
	n := f.Asked
	if n.CloudProvider != "aws" || n.Region != "us-east-1" || n.Nodes != "1" || n.FormToken == "" || clusterNameProblem(n.Name) != "" || n.Version != "v1.17.2" || n.PackageID != f.Packages[1].ID || f.Packages[0].Type != "free" {
		t.Errorf("chosen from the beginning: %+v", n)
	}
	if len(f.Problems) != 0 || len(f.Notes) != 0 || len(f.Lacks) != 0 || f.Quotas.Clusters == 0 || f.Account.Clusters == 0 {
		t.Errorf("problems %v, notes %v, lacks %v, quotas %+v, %d clusters", f.Problems, f.Notes, f.Lacks, f.Quotas, f.Account.Clusters)
	}
	for i, r := range f.Releases {
		if r.EndOfLife || r.Unavailable || i == 0 && !r.Default {
			t.Errorf("release %+v is offered in place %d", r, i)
		}
	}
	for i, p := range f.Packages[1:] {
		if p.PricePerHourMillicents < f.Packages[i].PricePerHourMillicents || p.Status == "DEACTIVATED" {
			t.Errorf("package %s after %s", p.Name, f.Packages[i].Name)
		}
	}

	t.Run("a place of one's own", func(t *testing.T) {
		f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{CloudProvider: "gcp", Region: "europe-west3"}, false)
		if err != nil || f.Asked.CloudProvider != "gcp" || f.Asked.Region != "europe-west3" || len(f.Notes) != 0 || f.packageNamed("mx1") == "" {
			t.Errorf("%+v, %v", f.Asked, err)
		}
	})
	t.Run("a place that does not exist", func(t *testing.T) {
		f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{CloudProvider: "mars<b>", Region: "x"}, false)
		if err != nil || f.Asked.CloudProvider != "aws" || f.Asked.Region != "us-east-1" || len(f.Notes) != 2 {
			t.Errorf("%+v, %v, %v", f.Asked, f.Notes, err)
		}
	})
	t.Run("a form that was sent stays as it is", func(t *testing.T) {
		typed := NewCluster{Name: "<b>", CloudProvider: "mars", Region: "x", PackageID: "y", Nodes: "many", FormToken: n.FormToken}
		f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, typed, true)
		if err != nil || f.Asked != typed || f.Problems["region"] == "" || f.Price.Problem == "" {
			t.Errorf("%+v, %v, %v", f.Asked, f.Problems, err)
		}
	})
	t.Run("a region that takes no clusters is not chosen", func(t *testing.T) {
		s.ask(http.MethodPost, "catalogue", map[string]any{"region_unavailable": map[string]string{"provider": "azure", "region": "eastus"}}, nil)
		f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{CloudProvider: "azure"}, false)
		if err != nil || f.Asked.Region != "germanywestcentral" {
			t.Errorf("%s, %v", f.Asked.Region, err)
		}
	})
	t.Run("lists that cannot be read", func(t *testing.T) {
		s.svc.refreshing.catalogue.drop(account.ID)
		for _, op := range []string{"ListCloudProviders", "ListQdrantReleases", "GetAccountQuotas", "SuggestClusterName"} {
			s.fault(map[string]any{"operation": op, "kind": "status", "status": 403})
		}
		f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range []string{"cloud_provider", "version", "quotas", "name"} {
			if f.Problems[list] == "" {
				t.Errorf("nothing says that %s could not be read: %v", list, f.Problems)
			}
		}
		f, err = s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{CloudProvider: "aws", Region: "eu-central-1"}, false)
		if err != nil || len(f.Packages) == 0 || f.Asked.CloudProvider != "aws" || f.Price.PerHour != 0 && f.Price.Problem != "" {
			t.Errorf("with a place in the address: %+v, %d packages, %v", f.Asked, len(f.Packages), err)
		}
		s.ask(http.MethodDelete, "faults", nil, nil)
	})
}

func TestPricesAreQuotedOrEstimated(t *testing.T) {
	s := newStage(t)
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	by := s.signedIn("operators")
	n := s.opened(by, account, "priced")
	n.Region, n.Nodes, n.AdditionalDiskGiB, n.StorageTier = "eu-central-1", "3", "10", "BALANCED"
	ask := func(a Account, change func(*NewCluster)) ClusterPrice {
		t.Helper()
		asked := n
		change(&asked)
		price, err := s.svc.PriceNewCluster(t.Context(), by, a.ID, asked)
		if err != nil {
			t.Fatal(err)
		}
		return price
	}
	// mx1 at aws in Frankfurt is 4712 millicents, a tenth of it for balanced disks, 14 a GiB.
	want := ClusterPrice{Currency: "USD", PerHour: 3 * (4712 + 471 + 140), Listed: 3 * (4712 + 471 + 140), Package: "mx1", Nodes: 3,
		Parts: []PricePart{{"package", 3 * 4712}, {"disk", 3 * 140}, {"speed", 3 * 471}}}
	if diff := cmp.Diff(want, ask(account, func(*NewCluster) {})); diff != "" {
		t.Errorf("quote (-want +got)\n%s", diff)
	}
	premium := ask(account, func(n *NewCluster) {
		f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, *n, true)
		if err != nil {
			t.Fatal(err)
		}
		n.PackageID = f.packageNamed("mx8-premium")
	})
	if premium.DiscountPercent != 10 || premium.PerHour >= premium.Listed || premium.Estimate != "" {
		t.Errorf("with a discount: %+v", premium)
	}
	s.fault(map[string]any{"operation": "GetQuote", "kind": "status", "status": 403, "times": 1})
	if got := ask(account, func(*NewCluster) {}); got.PerHour != want.PerHour || got.Estimate == "" {
		t.Errorf("without a quote: %+v", got)
	}
	for name, change := range map[string]func(*NewCluster){
		"no number":  func(n *NewCluster) { n.Nodes = "3e2" },
		"none":       func(n *NewCluster) { n.Nodes = "" },
		"a huge one": func(n *NewCluster) { n.Nodes = "99999999999999999999" },
		"no package": func(n *NewCluster) { n.PackageID = "x" },
		"much disk":  func(n *NewCluster) { n.AdditionalDiskGiB = "-1" },
	} {
		if got := ask(account, change); got.Problem == "" || got.PerHour != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	old := s.opened(by, legacy, "priced")
	price, err := s.svc.PriceNewCluster(t.Context(), by, legacy.ID, NewCluster{CloudProvider: "aws", Region: "eu-central-1", PackageID: old.PackageID, Nodes: "2", AdditionalDiskGiB: "8"})
	if err != nil || price.PerHour != 2*4712 || !strings.Contains(price.Estimate, "no quote") || !strings.Contains(price.Estimate, "additional disk") {
		t.Errorf("pa/v1: %+v, %v", price, err)
	}
}

func TestEstimatesDoNotOverflow(t *testing.T) {
	p := cloudapi.Package{PricePerHourMillicents: 1 << 62, DiskPricePerHourMillicents: 1 << 62, StorageTiers: []cloudapi.StorageTier{{Name: "BALANCED", PricePerHourMillicents: 1 << 62}}}
	if got := estimated(p, cloudapi.QuoteFor{Nodes: maxClusterNodes, AdditionalDiskGiB: maxExtraDiskGiB, StorageTier: "BALANCED"}, ""); got.PerHour <= 0 {
		t.Errorf("%+v", got)
	}
}

func TestACreatedClusterIsRecordedFieldByField(t *testing.T) {
	for _, g := range []cloudapi.Generation{cloudapi.Current, cloudapi.PAV1} {
		t.Run(string(g), func(t *testing.T) {
			s := newStage(t)
			fixture, op := s.current(), cloudapi.OpCreateCluster
			if g == cloudapi.PAV1 {
				fixture, op = s.legacy(), cloudapi.OpPACreateCluster
			}
			account := s.register(fixture, "Search")
			by := s.signedIn("operators")
			n := s.opened(by, account, "new-one")
			n.Nodes, n.AdditionalDiskGiB, n.AllowedIPs, n.Version = "2", "10", "192.0.2.0/24\n198.51.100.7", "v1.16.3"
			intended := audit.Change{
				"name": {nil, "new-one"}, "cloud_provider": {nil, "aws"}, "region": {nil, n.Region}, "package_id": {nil, n.PackageID}, "nodes": {nil, json.Number("2")},
				"version": {nil, "v1.16.3"}, "additional_disk_gib": {nil, json.Number("10")}, "allowed_ips": {nil, []any{"192.0.2.0/24", "198.51.100.7/32"}},
			}
			if g == cloudapi.Current {
				n.Labels, n.CostAllocationLabel, n.StorageTier = "team=search\ntier = critical", "cc-42", "BALANCED"
				intended["labels"] = [2]any{nil, []any{"team=search", "tier=critical"}}
				intended["cost_allocation_label"], intended["storage_tier"] = [2]any{nil, "cc-42"}, [2]any{nil, "BALANCED"}
			}
			before := len(s.events())
			made, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
			if err != nil || made.ClusterID == "" || made.Before {
				t.Fatalf("%+v, %v", made, err)
			}
			attempt := audit.Event{
				Act: "cluster.create", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
				Target: audit.Target{Kind: "cluster", Name: "new-one"}, Upstream: audit.Upstream{RPC: op.RPC, KeyID: account.Key.ID.String()}, Change: intended,
			}
			outcome := attempt
			outcome.Phase, outcome.Outcome, outcome.Target.ID, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, made.ClusterID, http.StatusOK
			outcome.Change = maps.Clone(intended)
			outcome.Change["phase"] = [2]any{nil, "CREATING"}
			wantOperation(t, s.eventsOf(ActClusterCreate), attempt, outcome)

			ref := ClusterRef{AccountID: account.ID, ClusterID: made.ClusterID}
			d, err := s.svc.Cluster(t.Context(), by, ref)
			if err != nil || d.Cluster.State.Phase != cloudapi.PhaseCreating || d.Cluster.Configuration.Nodes != 2 || d.Cluster.Configuration.AdditionalDiskGiB != 10 {
				t.Errorf("the cluster's page: %+v, %v", d.Cluster, err)
			}
			if g == cloudapi.Current && (len(d.Cluster.Labels) != 2 || d.Cluster.CostAllocationLabel != "cc-42" || d.Cluster.Configuration.StorageTier != "BALANCED") {
				t.Errorf("upstream has %+v", d.Cluster)
			}

			s.settled() // still being made
			if got := len(s.events()) - before; got != 2 {
				t.Fatalf("%d events while it is made", got)
			}
			s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
			s.settled()
			s.settled()
			got := s.eventsOf(ActClusterCreate)
			if len(got) != 3 {
				t.Fatalf("%d events, want attempt, outcome and settled: %+v", len(got), got)
			}
			settled := outcome
			settled.Phase, settled.Actor.Via, settled.Upstream = audit.PhaseSettled, audit.ViaJob, audit.Upstream{KeyID: account.Key.ID.String()}
			settled.Change = audit.Change{"phase": {nil, "HEALTHY"}, "duration_seconds": got[2].Change["duration_seconds"]}
			if diff := cmp.Diff(settled, got[2], plainEvent()); diff != "" {
				t.Errorf("settled (-want +got)\n%s", diff)
			}
			if _, ok := got[2].Change["duration_seconds"][1].(json.Number); !ok || got[2].Operation != got[0].Operation || got[2].ID == got[1].ID {
				t.Errorf("settled %+v", got[2])
			}
		})
	}
}

// settled makes a snapshot and records the ends that it shows.
func (s *stage) settled() {
	s.t.Helper()
	s.snapshot()
	if err := s.svc.settleOnce(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func TestAHybridClusterHasItsOwnOptions(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	f, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{CloudProvider: "hybrid"}, false)
	if err != nil || len(f.Regions) == 0 || f.Asked.Region != f.Regions[0].ID || len(f.Packages) == 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	n := f.Asked
	n.Name = "on-our-own"
	n.Hybrid = NewHybrid{
		ServiceType: "LOAD_BALANCER", NodeSelector: "disk=ssd", Tolerations: "dedicated=qdrant:NoSchedule\nspot\nslow:NoExecute:300", Annotations: "a.example/b=c",
		ServiceAnnotations: "lb=internal", PodLabels: "team=search", ReservedCPU: "10", ReservedMemory: "15",
	}
	made, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.svc.Cluster(t.Context(), by, ClusterRef{AccountID: account.ID, ClusterID: made.ClusterID})
	if err != nil {
		t.Fatal(err)
	}
	raw := string(d.Cluster.Raw)
	for _, want := range []string{
		`"CLUSTER_SERVICE_TYPE_LOAD_BALANCER"`, `"disk"`, `"ssd"`, `"TOLERATION_OPERATOR_EQUAL"`, `"TOLERATION_EFFECT_NO_EXECUTE"`, `"300"`, `"a.example/b"`, `"internal"`, `"team"`,
		`"reservedCpuPercentage":10`, `"reservedMemoryPercentage":15`,
	} {
		if !strings.Contains(raw, want) {
			t.Errorf("upstream has no %s: %s", want, raw)
		}
	}
	change := s.eventsOf(ActClusterCreate)[0].Change
	if diff := cmp.Diff([2]any{nil, []any{"dedicated=qdrant:NoSchedule", "spot", "slow:NoExecute:300"}}, change["tolerations"]); diff != "" {
		t.Errorf("tolerations on record\n%s", diff)
	}
	if change["service_type"] != [2]any{nil, "LOAD_BALANCER"} || change["reserved_cpu_percentage"] != [2]any{nil, json.Number("10")} {
		t.Errorf("on record: %v", change)
	}
}

// TestBadInputIsToldAtItsField breaks each rule, one by one and together: nothing is asked of upstream,
// nothing is recorded, and the form can be sent again.
func TestBadInputIsToldAtItsField(t *testing.T) {
	s := newStage(t)
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	by := s.signedIn("operators")
	right, old := s.opened(by, account, "right"), s.opened(by, legacy, "right")
	many := func(line string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, line+"\n", i)
		}
		return b.String()
	}
	hybrid := func(change func(*NewHybrid)) func(*NewCluster) {
		return func(n *NewCluster) {
			n.CloudProvider, n.Region = "hybrid", uuid.NewString()
			change(&n.Hybrid)
		}
	}
	type bad struct {
		field string
		do    func(*NewCluster)
	}
	rows := map[string]bad{}
	add := func(field string, set func(*NewCluster, string), values ...string) {
		for i, v := range values {
			rows[fmt.Sprintf("%s %d", field, i)] = bad{field, func(n *NewCluster) { set(n, v) }}
		}
	}
	add("name", func(n *NewCluster, v string) { n.Name = v }, "", "a", strings.Repeat("n", 65), "a b", "ä-ö", "<script>", "'; touch x", "a\nb")
	add("cloud_provider", func(n *NewCluster, v string) { n.CloudProvider = v }, "", "aw", strings.Repeat("a", 65), "a\x01ws")
	add("region", func(n *NewCluster, v string) { n.Region = v }, "", "  ", strings.Repeat("r", 65), "eu\n1")
	add("package_id", func(n *NewCluster, v string) { n.PackageID = v }, "", "mx1", "{11111111-2222-4333-8444-555555555555}", "1' OR '1'='1")
	add("nodes", func(n *NewCluster, v string) { n.Nodes = v }, "", "0", "-1", "1001", "1.5", "+1", "01", "1e1", "x", "٣", "99999999999999999999")
	add("version", func(n *NewCluster, v string) { n.Version = v }, "1.15.4", "v1.15", "newest", "v1.15.4;x", "v1.15.4\nx")
	add("additional_disk_gib", func(n *NewCluster, v string) { n.AdditionalDiskGiB = v }, "-1", "16385", "1.5", "ten")
	add("storage_tier", func(n *NewCluster, v string) { n.StorageTier = v }, "FASTEST", "balanced")
	add("labels", func(n *NewCluster, v string) { n.Labels = v }, "novalue", "=x", "a b=c", "a=1\na=2", "-a=x", "a="+strings.Repeat("v", 1025), strings.Repeat("k", 254)+"=x", many("k%d=v", 11), "a=\u200b")
	add("cost_allocation_label", func(n *NewCluster, v string) { n.CostAllocationLabel = v }, "a b", "-a", strings.Repeat("c", 254), "<b>")
	add("allowed_ips", func(n *NewCluster, v string) { n.AllowedIPs = v }, "x", "10.0.0.1/8", "2001:db8::/32", "10.0.0.0/33", "10.0.0.0/8\n10.0.0.0/8", many("10.0.%d.0/24", 41))
	for field, values := range map[string]map[string]func(*NewHybrid){
		"region":                     {"": func(*NewHybrid) {}},
		"service_type":               {"a": func(h *NewHybrid) { h.ServiceType = "ROUTER" }},
		"node_selector":              {"a": func(h *NewHybrid) { h.NodeSelector = many("k%d=v", 11) }, "b": func(h *NewHybrid) { h.NodeSelector = "x" }},
		"annotations":                {"a": func(h *NewHybrid) { h.Annotations = "x" }},
		"service_annotations":        {"a": func(h *NewHybrid) { h.ServiceAnnotations = many("k%d=v", 65) }},
		"pod_labels":                 {"a": func(h *NewHybrid) { h.PodLabels = "k=v\nk=w" }},
		"reserved_cpu_percentage":    {"a": func(h *NewHybrid) { h.ReservedCPU = "81" }, "b": func(h *NewHybrid) { h.ReservedCPU = "0" }},
		"reserved_memory_percentage": {"a": func(h *NewHybrid) { h.ReservedMemory = "ten" }},
		"database_storage_class":     {"a": func(h *NewHybrid) { h.DatabaseStorageClass = strings.Repeat("c", 254) }},
		"snapshot_storage_class":     {"a": func(h *NewHybrid) { h.SnapshotStorageClass = "a\x00" }},
		"volume_snapshot_class":      {"a": func(h *NewHybrid) { h.VolumeSnapshotClass = "a\u202eb" }},
		"tolerations": {
			"a": func(h *NewHybrid) { h.Tolerations = "a=b:Never" }, "b": func(h *NewHybrid) { h.Tolerations = "=b:NoSchedule" }, "c": func(h *NewHybrid) { h.Tolerations = "a=" },
			"d": func(h *NewHybrid) { h.Tolerations = "a:NoSchedule:5" }, "e": func(h *NewHybrid) { h.Tolerations = "a:NoExecute:x" }, "f": func(h *NewHybrid) { h.Tolerations = many("k%d", 11) },
			"g": func(h *NewHybrid) { h.Tolerations = "a:NoExecute:" },
		},
	} {
		for which, change := range values {
			row := bad{field, hybrid(change)}
			if field == "region" {
				row.do = func(n *NewCluster) { n.CloudProvider = "hybrid"; n.Region = "eu-central-1" }
			}
			rows["hybrid "+field+" "+which] = row
		}
	}
	rows["hybrid setting elsewhere"] = bad{"node_selector", func(n *NewCluster) { n.Hybrid.NodeSelector = "a=b" }}

	calls, _ := s.calls()
	events := len(s.events())
	check := func(name, field string, a Account, n NewCluster) {
		t.Helper()
		_, err := s.svc.CreateCluster(t.Context(), by, a.ID, n)
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || invalid.Fields[field] == "" || len(invalid.Fields) != 1 {
			t.Errorf("%s: %v, want a message at %s", name, err, field)
		}
	}
	for name, row := range rows {
		n := right
		row.do(&n)
		check(name, row.field, account, n)
	}
	for name, row := range map[string]bad{
		"provider": {"cloud_provider", func(n *NewCluster) { n.CloudProvider = "private" }}, "region": {"region", func(n *NewCluster) { n.Region = "eu-west-1" }},
		"of another": {"region", func(n *NewCluster) { n.Region = "us-east4" }}, "labels": {"labels", func(n *NewCluster) { n.Labels = "a=b" }},
		"cost": {"cost_allocation_label", func(n *NewCluster) { n.CostAllocationLabel = "a" }}, "tier": {"storage_tier", func(n *NewCluster) { n.StorageTier = "BALANCED" }},
		"hybrid": {"pod_labels", hybrid(func(h *NewHybrid) { h.PodLabels = "a=b" })},
	} {
		n := old
		row.do(&n)
		check("pa/v1 "+name, row.field, legacy, n)
	}
	n := right
	n.Name, n.Nodes, n.Labels, n.AllowedIPs = "", "", "x", "y"
	_, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
	if invalid, ok := errors.AsType[*InvalidError](err); !ok || len(invalid.Fields) != 4 {
		t.Errorf("everything at once: %v", err)
	}
	if after, _ := s.calls(); after != calls || len(s.events()) != events {
		t.Errorf("%d calls and %d events came of forms that were not sent on", after-calls, len(s.events())-events)
	}
	if made, err := s.svc.CreateCluster(t.Context(), by, account.ID, right); err != nil || made.ClusterID == "" {
		t.Errorf("corrected: %+v, %v", made, err)
	}
}

func TestAFormMakesOneCluster(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	n := s.opened(by, account, "once")
	first, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
	if err != nil {
		t.Fatal(err)
	}
	events := len(s.events())
	again, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
	if err != nil || again != (MadeCluster{ClusterID: first.ClusterID, Before: true}) {
		t.Errorf("the second post: %+v, %v", again, err)
	}
	if got := s.named(account, "once"); got != 1 || len(s.events()) != events {
		t.Errorf("%d clusters, %d more events", got, len(s.events())-events)
	}

	// Many posts at once.
	n = s.opened(by, account, "many-at-once")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if made, err := s.svc.CreateCluster(context.WithoutCancel(t.Context()), by, account.ID, n); err != nil || made.ClusterID == "" && !made.Before {
				t.Errorf("%+v, %v", made, err)
			}
		})
	}
	group.Wait()
	if got := s.named(account, "many-at-once"); got != 1 {
		t.Errorf("%d clusters of eight posts", got)
	}

	for name, token := range map[string]string{"none": "", "nonsense": "x", "of another act": func() string {
		token, err := s.svc.FormToken(t.Context(), by, ActAccountCreate.Name)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}()} {
		n.FormToken = token
		_, err := s.svc.CreateCluster(t.Context(), by, account.ID, n)
		if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Fields["form_token"] == "" {
			t.Errorf("token %s: %v", name, err)
		}
	}
}

func TestRefusalsAreToldInWords(t *testing.T) {
	s := newStage(t)
	account, legacy := s.register(s.current(), "Search"), s.register(s.legacy(), "Old")
	by := s.signedIn("operators")
	conditions := func(a Account, c map[string]any) {
		c["account"] = a.CloudAccountID
		s.ask(http.MethodPost, "account", c, nil)
	}
	mend := func() {
		for _, a := range []Account{account, legacy} {
			conditions(a, map[string]any{"payment": "ok", "entitled": true, "quotas": map[string]int{"clusters": 100, "nodes": 10}})
		}
		s.ask(http.MethodPost, "catalogue", map[string]any{"restore": true}, nil)
		s.ask(http.MethodDelete, "faults", nil, nil)
	}
	for name, tt := range map[string]struct {
		field, says string // of our words
		change      func(*NewCluster)
		breaks      func(Account)
		legacy      bool // the same in pa/v1
	}{
		"quota of clusters": {"", "quota", nil, func(a Account) { conditions(a, map[string]any{"quotas": map[string]int{"clusters": 0}}) }, true},
		"quota of nodes":    {"", "quota", func(n *NewCluster) { n.Nodes = "999" }, func(Account) {}, true},
		"payment":           {"", "Payment details", nil, func(a Account) { conditions(a, map[string]any{"payment": "missing"}) }, true},
		"entitlement":       {"", "not entitled", nil, func(a Account) { conditions(a, map[string]any{"entitled": false}) }, true},
		"region gone": {"region", "Choose another", nil, func(Account) {
			s.ask(http.MethodPost, "catalogue", map[string]any{"region_unavailable": map[string]string{"provider": "aws", "region": "eu-central-1"}}, nil)
		}, true},
		"region unknown": {"region", "Qdrant Cloud says", func(n *NewCluster) { n.Region = "moon-1" }, func(Account) {}, false},
		"package gone": {"package_id", "Qdrant Cloud says", nil, func(Account) {
			s.ask(http.MethodPost, "catalogue", map[string]any{"package_deactivated": map[string]string{"provider": "aws", "name": "mx1"}}, nil)
		}, true},
		"version at its end": {"version", "Qdrant Cloud says", func(n *NewCluster) { n.Version = "v1.16.3" }, func(Account) {
			s.ask(http.MethodPost, "catalogue", map[string]any{"release_end_of_life": "v1.16.3"}, nil)
		}, true},
		"too many calls": {"", "Wait a moment", nil, func(Account) {
			s.fault(map[string]any{"operation": "CreateCluster", "kind": "status", "status": 429, "times": 1})
		}, false},
		"upstream fails": {"", "once more in a moment", nil, func(Account) {
			s.fault(map[string]any{"operation": "CreateCluster", "kind": "status", "status": 500, "times": 1})
		}, false},
	} {
		for _, a := range []Account{account, legacy} {
			if a.ID == legacy.ID && !tt.legacy {
				continue
			}
			t.Run(name+" "+string(a.Generation), func(t *testing.T) {
				n := s.opened(by, a, "refused")
				n.Region = "eu-central-1"
				if tt.change != nil {
					tt.change(&n)
				}
				tt.breaks(a)
				defer mend()
				_, err := s.svc.CreateCluster(t.Context(), by, a.ID, n)
				refused, ok := errors.AsType[*RefusedError](err)
				if !ok {
					t.Fatalf("%v, want a refusal", err)
				}
				if words := refused.Fields[tt.field]; !strings.Contains(words, tt.says) || !strings.Contains(words, "Qdrant Cloud says: “") || len(refused.Fields) != 1 {
					t.Errorf("%q, want it at %q with %q", refused.Fields, tt.field, tt.says)
				}
				all := s.eventsOf(ActClusterCreate)
				if last := all[len(all)-1]; last.Outcome != audit.Failed || last.Reason == "" || last.Target.ID != "" {
					t.Errorf("on record: %+v", last)
				}
				mend()
				n.Nodes, n.Region, n.Version = "1", "eu-central-1", ""
				n.Name = fmt.Sprintf("after-%d", len(all))
				if made, err := s.svc.CreateCluster(t.Context(), by, a.ID, n); err != nil || made.Before || made.ClusterID == "" {
					t.Errorf("the same form, once nothing is in the way: %+v, %v", made, err)
				}
			})
		}
	}
	if got := s.named(account, "refused") + s.named(legacy, "refused"); got != 0 {
		t.Errorf("%d clusters were made all the same", got)
	}
}

func TestWhoMayNotMakeClusters(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	calls, _ := s.calls()
	for group, want := range map[string]string{"viewers": "write:clusters", "auditors": "write:clusters", "sales": ""} {
		by := member(group)
		for name, do := range map[string]func() error{
			"ask": func() error {
				_, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false)
				return err
			},
			"price":  func() error { _, err := s.svc.PriceNewCluster(t.Context(), by, account.ID, NewCluster{}); return err },
			"create": func() error { _, err := s.svc.CreateCluster(t.Context(), by, account.ID, NewCluster{}); return err },
		} {
			err := do()
			if forbidden, ok := errors.AsType[*ForbiddenError](err); want != "" && (!ok || forbidden.Missing != want) || want == "" && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s as %s: %v", name, group, err)
			}
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		denied := map[string]int{}
		for _, e := range s.eventsOf(ActClusterCreate) {
			if e.Outcome != audit.Denied || e.Target != (audit.Target{Kind: "account", ID: account.ID.String(), Name: "Search"}) {
				t.Fatalf("on record: %+v", e)
			}
			denied[e.Actor.Subject]++
		}
		if len(denied) == 3 && !slices.ContainsFunc(slices.Collect(maps.Values(denied)), func(n int) bool { return n != 1 }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("refusals on record: %v, want one each", denied)
		}
		time.Sleep(10 * time.Millisecond) // of one who may not read the account it is recorded beside the answer
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("%d calls were made", after-calls)
	}
	by := s.signedIn("operators")
	if err := s.svc.Disable(t.Context(), member("admins"), account.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.AskClusterCreate(t.Context(), by, account.ID, NewCluster{}, false); !isConflict(err) {
		t.Errorf("in a disabled account: %v", err)
	}
	list, err := s.svc.FillableAccounts(t.Context(), by)
	if err != nil || len(list) != 1 || list[0].Offer.Offered || list[0].Offer.Reason != disabledReason {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestALostCreateIsLookedFor: the answer is lost after upstream has done it, or before.
func TestALostCreateIsLookedFor(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	lose := func(name, kind string) (NewCluster, audit.Event) {
		t.Helper()
		n := s.opened(by, account, name)
		s.fault(map[string]any{"operation": "CreateCluster", "kind": kind, "times": 1})
		made, err := svc.CreateCluster(t.Context(), by, account.ID, n)
		if err != nil || made != (MadeCluster{}) {
			t.Fatalf("%+v, %v; nobody can know", made, err)
		}
		all := s.eventsOf(ActClusterCreate)
		if last := all[len(all)-1]; last.Phase != audit.PhaseAttempt || last.Target.Name != name {
			t.Fatalf("an outcome was made up: %+v", last)
		}
		if again, err := svc.CreateCluster(t.Context(), by, account.ID, n); err != nil || again != (MadeCluster{Before: true}) {
			t.Errorf("sent again meanwhile: %+v, %v", again, err)
		}
		return n, all[len(all)-1]
	}
	outcomeOf := func(attempt audit.Event, events int) audit.Event {
		t.Helper()
		got := s.reconciled(svc, attempt.Operation)
		if len(got) != events {
			t.Fatalf("%d events: %+v", len(got), got)
		}
		return got[events-1]
	}

	t.Run("found", func(t *testing.T) {
		n, attempt := lose("lost-found", "lost_answer")
		outcome := outcomeOf(attempt, 2)
		if outcome.Outcome != audit.OK || !outcome.Inferred || outcome.Target.ID == "" || outcome.Target.Name != "lost-found" {
			t.Fatalf("%+v", outcome)
		}
		again, err := svc.CreateCluster(t.Context(), by, account.ID, n)
		if err != nil || again != (MadeCluster{ClusterID: outcome.Target.ID, Before: true}) || s.named(account, "lost-found") != 1 {
			t.Errorf("sent again afterwards: %+v, %v, %d clusters", again, err, s.named(account, "lost-found"))
		}
		s.ask(http.MethodPost, "clock", map[string]any{"advance": "5m"}, nil)
		s.settled()
		if got := s.eventsOf(ActClusterCreate); got[len(got)-1].Phase != audit.PhaseSettled || got[len(got)-1].Target.ID != outcome.Target.ID {
			t.Errorf("%+v is no end of it", got[len(got)-1])
		}
	})
	t.Run("not made", func(t *testing.T) {
		n, attempt := lose("lost-none", "close")
		behind := s.attempt(ActClusterRestart, target{Account: account.ref(), Kind: KindCluster, ID: uuid.NewString()})
		if got := s.reconciled(svc, behind.Operation); len(got) != 2 {
			t.Errorf("another operation of the account waits for one that is not clear yet: %+v", got)
		}
		if got := s.reconciled(svc, attempt.Operation); len(got) != 1 {
			t.Fatalf("concluded while upstream may still be at it: %+v", got)
		}
		s.clock.at = time.Now().Add(stillActing + time.Minute)
		if outcome := outcomeOf(attempt, 2); outcome.Outcome != audit.Failed || outcome.Target.ID != "" {
			t.Fatalf("%+v", outcome)
		}
		s.settled()
		if made, err := svc.CreateCluster(t.Context(), by, account.ID, n); err != nil || made.ClusterID == "" || made.Before {
			t.Errorf("the same form afterwards: %+v, %v", made, err)
		}
	})
	t.Run("several", func(t *testing.T) {
		_, attempt := lose("lost-twins", "lost_answer")
		s.ask(http.MethodPost, "outside", map[string]any{"act": "create_cluster", "account": account.CloudAccountID, "name": "lost-twins", "region": "us-east-1"}, nil)
		if outcome := outcomeOf(attempt, 2); outcome.Outcome != audit.Unknown || !strings.Contains(outcome.Reason, "2 new clusters") {
			t.Fatalf("%+v", outcome)
		}
	})
	t.Run("somebody else's", func(t *testing.T) {
		// One that this console knows to be another form's is not taken for this one.
		n, attempt := lose("lost-taken", "close")
		n.FormToken = s.opened(by, account, "x").FormToken
		made, err := svc.CreateCluster(t.Context(), by, account.ID, n)
		if err != nil || made.ClusterID == "" {
			t.Fatalf("%+v, %v", made, err)
		}
		if outcome := outcomeOf(attempt, 2); outcome.Outcome != audit.Failed {
			t.Fatalf("%+v", outcome)
		}
	})
	t.Run("two lost at once", func(t *testing.T) {
		_, one := lose("lost-rivals", "lost_answer")
		_, two := lose("lost-rivals", "close")
		for _, attempt := range []audit.Event{one, two} {
			if outcome := s.lastOf(attempt.Operation, svc); outcome.Outcome != audit.Unknown {
				t.Errorf("%+v, want unknown: either may have made it", outcome)
			}
		}
	})
	t.Run("an old one of the name", func(t *testing.T) {
		s.ask(http.MethodPost, "outside", map[string]any{"act": "create_cluster", "account": account.CloudAccountID, "name": "lost-old", "region": "us-east-1"}, nil)
		s.ask(http.MethodPost, "clock", map[string]any{"advance": "0s"}, nil)
		attempt := s.attempt(ActClusterCreate, target{Account: account.ref(), Kind: KindCluster, Name: "lost-old"})
		o := audit.OpenOperation{Operation: attempt.Operation, Attempt: audit.Stored{Event: attempt, RecordedAt: time.Now().Add(time.Hour)}}
		o.Attempt.Change = audit.Change{"name": {nil, "lost-old"}, "cloud_provider": {nil, "aws"}, "region": {nil, "us-east-1"}}
		up, err := svc.connect(t.Context(), account.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		s.clock.at = o.Attempt.RecordedAt.Add(2 * stillActing)
		if v, err := svc.lookForNewCluster(t.Context(), o, up); err != nil || v.outcome != audit.Failed {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// lastOf is how an operation ended, after the reconciler had its turn.
func (s *stage) lastOf(operation uuid.UUID, svc *Service) audit.Event {
	s.t.Helper()
	if err := svc.reconcileOnce(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var last audit.Event
	for _, e := range s.events() {
		if e.Operation == operation {
			last = e
		}
	}
	return last
}

func TestNoClusterWithoutItsEvent(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := s.signedIn("operators")
	n := s.opened(by, account, "unrecorded")
	_, mutating := s.calls()
	s.exec(s.db.OwnerURL, `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`)
	if _, err := s.svc.CreateCluster(t.Context(), by, account.ID, n); !errors.Is(err, ErrAuditUnavailable) {
		t.Errorf("%v, want ErrAuditUnavailable", err)
	}
	if _, after := s.calls(); after != mutating || s.named(account, "unrecorded") != 0 || s.owed() != 0 {
		t.Errorf("%d changing calls, %d clusters, %d ends owed", after-mutating, s.named(account, "unrecorded"), s.owed())
	}
	s.exec(s.db.OwnerURL, `GRANT EXECUTE ON FUNCTION audit.append(bytea[]) TO quartermaster_app`)
	if made, err := s.svc.CreateCluster(t.Context(), by, account.ID, n); err != nil || made.ClusterID == "" {
		t.Errorf("the same form when it was mended: %+v, %v", made, err)
	}
}
