package accounts

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// outside has somebody else change a cluster.
func (s *stage) outside(account Account, ref ClusterRef, what map[string]any) {
	s.t.Helper()
	what["account"], what["cluster"] = account.CloudAccountID, ref.ClusterID
	s.ask(http.MethodPost, "outside", what, nil)
}

// made has somebody else make a healthy cluster, and waits for its snapshot.
func (s *stage) made(account Account, name, size string, nodes int) ClusterRef {
	s.t.Helper()
	var got struct{ Cluster string }
	s.ask(http.MethodPost, "outside", map[string]any{"act": "create_cluster", "account": account.CloudAccountID, "name": name, "package": size, "nodes": nodes, "version": "v1.15.5"}, &got)
	ref := ClusterRef{AccountID: account.ID, ClusterID: got.Cluster}
	s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
	s.snapshot()
	return ref
}

// updates counts the changes of clusters that reached upstream.
func (s *stage) updates() (n int) {
	s.t.Helper()
	for _, counted := range s.counted() {
		n += counted["UpdateCluster"] + counted["update_cluster"]
	}
	return n
}

func (s *stage) counted() map[string]map[string]int {
	s.t.Helper()
	var counted struct{ Accounts map[string]map[string]int }
	s.ask(http.MethodGet, "calls", nil, &counted)
	return counted.Accounts
}

// form opens the form of a cluster and fills fields in.
func (s *stage) form(ref ClusterRef, fields map[string]string) ClusterUpdateForm {
	s.t.Helper()
	u, err := s.svc.AskClusterUpdate(s.t.Context(), member("operators"), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return ClusterUpdateForm{Revision: u.Revision, Fields: fields}
}

// inBrowser is the same form as a browser sends it: with every field, and what it was begun with.
func (s *stage) inBrowser(ref ClusterRef, fields map[string]string) ClusterUpdateForm {
	s.t.Helper()
	u, err := s.svc.AskClusterUpdate(s.t.Context(), member("operators"), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	all := maps.Clone(u.Values)
	for name := range all {
		all[name] = strings.ReplaceAll(all[name], "\n", "\r\n")
	}
	maps.Copy(all, fields)
	return ClusterUpdateForm{Revision: u.Revision, Fields: all, Started: EncodeStarted(u.Values)}
}

func (s *stage) packageNamed(ref ClusterRef, name string) string {
	s.t.Helper()
	u, err := s.svc.AskClusterUpdate(s.t.Context(), member("operators"), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(u.Packages, func(p cloudapi.Package) bool { return p.Name == name })
	if i < 0 {
		s.t.Fatalf("the cluster is offered no package %s: %+v", name, u.Packages)
	}
	return u.Packages[i].ID
}

func invalidFields(t *testing.T, err error) map[string]string {
	t.Helper()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok {
		t.Fatalf("%v, want an InvalidError", err)
	}
	return invalid.Fields
}

func TestAClusterIsChangedFieldByField(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "field-by-field", "mx1", 1)
	by := member("operators")
	small, large := s.packageNamed(ref, "mx1"), s.packageNamed(ref, "mx2")
	form := s.form(ref, map[string]string{
		"name": "renamed", "labels": "team=search\nenv=test", "cost_allocation_label": "cc-7", "package_id": large, "nodes": "3", "additional_disk_gib": "8",
		"version": "v1.16.3", "allowed_ips": "198.51.100.7\n192.0.2.0/24", "replication_factor": "2", "write_consistency_factor": "1", "vectors_on_disk": "yes",
		"restart_policy": "ROLLING", "rebalance_strategy": "BY_SIZE",
	})
	if err := s.svc.UpdateCluster(t.Context(), by, ref, form); err != nil {
		t.Fatal(err)
	}
	change := audit.Change{
		"name": {"field-by-field", "renamed"}, "labels": {nil, []any{"env=test", "team=search"}}, "cost_allocation_label": {nil, "cc-7"},
		"package_id": {small, large}, "nodes": {1.0, 3.0}, "additional_disk_gib": {0.0, 8.0}, "version": {"v1.15.5", "v1.16.3"},
		"allowed_ips": {nil, []any{"192.0.2.0/24", "198.51.100.7/32"}}, "replication_factor": {nil, 2.0}, "write_consistency_factor": {nil, 1.0},
		"vectors_on_disk": {false, true}, "restart_policy": {nil, "ROLLING"}, "rebalance_strategy": {nil, "BY_SIZE"},
	}
	attempt := audit.Event{
		Act: "cluster.update", Phase: audit.PhaseAttempt, Actor: by, Account: audit.Ref{ID: account.ID.String(), Name: "Search"},
		Target:   audit.Target{Kind: "cluster", ID: ref.ClusterID, Name: "field-by-field"},
		Upstream: audit.Upstream{RPC: cloudapi.OpUpdateCluster.RPC, KeyID: account.Key.ID.String()}, Change: change,
	}
	outcome := attempt
	outcome.Phase, outcome.Outcome, outcome.Upstream.Status = audit.PhaseOutcome, audit.OK, http.StatusOK
	outcome.Change = maps.Clone(change)
	outcome.Change["phase"] = [2]any{"HEALTHY", "SCALING"}
	got := s.eventsOf(ActClusterUpdate)
	plainNumbers(got)
	wantOperation(t, got, attempt, outcome)

	after, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
	if !isConflict(err) {
		t.Errorf("while it scales it is offered: %+v, %v", after, err)
	}
	d, err := s.svc.Cluster(t.Context(), by, ref)
	if err != nil || d.Cluster.Name != "renamed" || d.Cluster.Configuration.Nodes != 3 || d.Cluster.State.Phase != cloudapi.PhaseScaling {
		t.Errorf("the snapshot has %+v (%v) without a refresh", d.Cluster, err)
	}
}

// plainNumbers makes numbers of changes comparable, however they were decoded.
func plainNumbers(events []audit.Event) {
	for _, e := range events {
		for name, sides := range e.Change {
			for i, v := range sides {
				if n, isNumber := v.(interface{ Float64() (float64, error) }); isNumber {
					if f, err := n.Float64(); err == nil {
						sides[i] = f
					}
				}
			}
			e.Change[name] = sides
		}
	}
}

func TestALegacyClusterIsChangedAsFarAsItsAPIGoes(t *testing.T) {
	s := newStage(t)
	account := s.register(s.legacy(), "Old")
	ref := s.inPhase(account.ID, cloudapi.PhaseHealthy)
	by := member("operators")
	u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cost_allocation_label", "labels", "rebalance_strategy", "restart_policy"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(u.NotOffered))); diff != "" {
		t.Errorf("not offered (-want +got)\n%s", diff)
	}
	before := s.updates()
	fields := invalidFields(t, s.svc.UpdateCluster(t.Context(), by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"labels": "a=b", "restart_policy": "ROLLING"}}))
	if fields["labels"] == "" || fields["restart_policy"] == "" || s.updates() != before {
		t.Errorf("fields %v, %d changes sent", fields, s.updates()-before)
	}
	nodes := fmt.Sprint(u.Cluster.Configuration.Nodes + 1)
	form := s.inBrowser(ref, map[string]string{"name": "old-renamed", "nodes": nodes, "replication_factor": "2"})
	if err := s.svc.UpdateCluster(t.Context(), by, ref, form); err != nil {
		t.Fatal(err)
	}
	got := s.eventsOf(ActClusterUpdate)
	if len(got) != 2 || got[1].Outcome != audit.OK || got[1].Change["phase"] != [2]any{"HEALTHY", "SCALING"} || got[1].Upstream.RPC != cloudapi.OpPAUpdateCluster.RPC {
		t.Fatalf("events %+v", got)
	}
	delete(got[1].Change, "phase")
	if diff := cmp.Diff(got[0].Change, got[1].Change); diff != "" {
		t.Errorf("intended and done differ\n%s", diff)
	}
	d, err := s.svc.Cluster(t.Context(), by, ref)
	if err != nil || d.Cluster.Name != "old-renamed" || fmt.Sprint(d.Cluster.Configuration.Nodes) != nodes {
		t.Errorf("%+v, %v", d.Cluster.Configuration, err)
	}
}

// TestAMistakeAsksNothingOfUpstream: what is wrong is told at its field, from what was read before.
func TestAMistakeAsksNothingOfUpstream(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "mistakes", "mx2", 2)
	by := member("operators")
	revision := s.form(ref, nil).Revision
	calls, _ := s.calls()
	events := len(s.events())
	for name, tt := range map[string]struct {
		revision string
		fields   map[string]string
		wrong    []string
	}{
		"no revision":         {"", map[string]string{"nodes": "3"}, []string{"revision"}},
		"a blank revision":    {" ", map[string]string{"nodes": "3"}, []string{"revision"}},
		"nothing":             {revision, nil, []string{""}},
		"nothing different":   {revision, map[string]string{"nodes": "2", "name": "mistakes", "labels": ""}, []string{""}},
		"names":               {revision, map[string]string{"name": "x"}, []string{"name"}},
		"no name":             {revision, map[string]string{"name": ""}, []string{"name"}},
		"a script for a name": {revision, map[string]string{"name": "<script>alert(1)</script>"}, []string{"name"}},
		"labels":              {revision, map[string]string{"labels": "no equals sign"}, []string{"labels"}},
		"a label twice":       {revision, map[string]string{"labels": "a=1\na=2"}, []string{"labels"}},
		"eleven labels":       {revision, map[string]string{"labels": "a=1\nb=1\nc=1\nd=1\ne=1\nf=1\ng=1\nh=1\ni=1\nj=1\nk=1"}, []string{"labels"}},
		"ranges":              {revision, map[string]string{"allowed_ips": "10.0.0.1/8"}, []string{"allowed_ips"}},
		"six":                 {revision, map[string]string{"allowed_ips": "2001:db8::/32"}, []string{"allowed_ips"}},
		"no nodes":            {revision, map[string]string{"nodes": ""}, []string{"nodes"}},
		"zero nodes":          {revision, map[string]string{"nodes": "0"}, []string{"nodes"}},
		"words for nodes":     {revision, map[string]string{"nodes": "three"}, []string{"nodes"}},
		"too many nodes":      {revision, map[string]string{"nodes": "100000"}, []string{"nodes"}},
		"a package":           {revision, map[string]string{"package_id": "00000000-0000-4000-8000-000000000000"}, []string{"package_id"}},
		"no package":          {revision, map[string]string{"package_id": ""}, []string{"package_id"}},
		"an older version":    {revision, map[string]string{"version": "v1.14.1"}, []string{"version"}},
		"an ended version":    {revision, map[string]string{"version": "v1.8.4"}, []string{"version"}},
		"a withdrawn version": {revision, map[string]string{"version": "v1.17.0"}, []string{"version"}},
		"no version":          {revision, map[string]string{"version": ""}, []string{"version"}},
		"odd version":         {revision, map[string]string{"version": "newest"}, []string{"version"}},
		"disk":                {revision, map[string]string{"additional_disk_gib": "-1"}, []string{"additional_disk_gib"}},
		"factors":             {revision, map[string]string{"replication_factor": "0", "write_consistency_factor": "x"}, []string{"replication_factor", "write_consistency_factor"}},
		"choices":             {revision, map[string]string{"vectors_on_disk": "maybe", "restart_policy": "rolling", "rebalance_strategy": "NEVER"}, []string{"vectors_on_disk", "restart_policy", "rebalance_strategy"}},
		"cost label":          {revision, map[string]string{"cost_allocation_label": "-x-"}, []string{"cost_allocation_label"}},
		"all at once":         {revision, map[string]string{"name": "x", "nodes": "3", "version": "v1.8.4", "package_id": "no"}, []string{"name", "package_id", "version"}},
		"a smaller disk":      {revision, map[string]string{"package_id": s.idOf(account, ref, "mx1")}, []string{"additional_disk_gib"}},
	} {
		form := ClusterUpdateForm{Revision: tt.revision, Fields: tt.fields}
		for what, err := range map[string]error{
			"update": s.svc.UpdateCluster(t.Context(), by, ref, form),
			"plan":   func() error { _, err := s.svc.PlanClusterUpdate(t.Context(), by, ref, form); return err }(),
		} {
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok {
				t.Errorf("%s, %s: %v, want an InvalidError", name, what, err)
				continue
			}
			if diff := cmp.Diff(tt.wrong, slices.Sorted(maps.Keys(invalid.Fields)), cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("%s, %s: fields (-want +got)\n%s", name, what, diff)
			}
		}
		if _, err := s.svc.ClusterUpdateAgain(t.Context(), by, ref); err != nil {
			t.Errorf("%s: the form again: %v", name, err)
		}
	}
	if after, _ := s.calls(); after != calls {
		t.Errorf("mistakes caused %d calls", after-calls)
	}
	if after := len(s.events()); after != events {
		t.Errorf("mistakes left %d events", after-events)
	}
}

// idOf is a package's id from what was read before.
func (s *stage) idOf(account Account, ref ClusterRef, name string) string {
	s.t.Helper()
	u, err := s.svc.ClusterUpdateAgain(s.t.Context(), member("operators"), ref)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range u.Packages {
		if p.Name == name {
			return p.ID
		}
	}
	s.t.Fatalf("%s knows no package %s", account.Name, name)
	return ""
}

func TestAChangeMadeMeanwhileSendsNothing(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("operators")
	for name, tt := range map[string]struct {
		meanwhile map[string]any
		field     string
		now       string
	}{
		"scaled":   {map[string]any{"act": "scale", "nodes": 4}, "nodes", "4"},
		"labelled": {map[string]any{"act": "labels", "labels": map[string]string{"team": "others"}}, "labels", "team=others"},
		"renamed":  {map[string]any{"act": "rename", "name": "meanwhile"}, "name", "meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := s.made(account, "stale-"+name, "mx1", 2)
			form := s.inBrowser(ref, map[string]string{"cost_allocation_label": "mine"})
			started := form.started()
			s.outside(account, ref, tt.meanwhile)
			s.outside(account, ref, map[string]any{"act": "phase", "phase": "HEALTHY"})
			before, events := s.updates(), len(s.events())
			_, planned := s.svc.PlanClusterUpdate(t.Context(), by, ref, form)
			for what, err := range map[string]error{"update": s.svc.UpdateCluster(t.Context(), by, ref, form), "plan": planned} {
				stale, ok := errors.AsType[*StaleError](err)
				if !ok {
					t.Fatalf("%s: %v, want a StaleError", what, err)
				}
				if stale.Now.Values[tt.field] != tt.now || stale.Started[tt.field] != started[tt.field] || stale.Started[tt.field] == tt.now {
					t.Errorf("%s: now %q, started %q", what, stale.Now.Values[tt.field], stale.Started[tt.field])
				}
				if diff := cmp.Diff(map[string]string{"cost_allocation_label": "mine"}, stale.Wished); diff != "" {
					t.Errorf("%s: wishes (-want +got)\n%s", what, diff)
				}
				if diff := cmp.Diff([]string{"cost_allocation_label"}, stale.Left); diff != "" {
					t.Errorf("%s: left (-want +got)\n%s", what, diff)
				}
			}
			if s.updates() != before || len(s.events()) != events {
				t.Errorf("%d changes were sent, %d events written", s.updates()-before, len(s.events())-events)
			}
			stale, _ := errors.AsType[*StaleError](s.svc.UpdateCluster(t.Context(), by, ref, form))
			goOn := ClusterUpdateForm{Revision: stale.Now.Revision, Fields: stale.Wished, Started: EncodeStarted(stale.Now.Values)}
			if err := s.svc.UpdateCluster(t.Context(), by, ref, goOn); err != nil {
				t.Fatalf("going on: %v", err)
			}
			d, err := s.svc.Cluster(t.Context(), by, ref)
			if err != nil || settingsOf(d.Cluster).texts()[tt.field] != tt.now || d.Cluster.CostAllocationLabel != "mine" {
				t.Errorf("afterwards %+v, %v", settingsOf(d.Cluster), err)
			}
		})
	}
}

// TestAChangeMadeInTheLastMomentSendsNothing has the cluster changed after the attempt is on record.
func TestAChangeMadeInTheLastMomentSendsNothing(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "last-moment", "mx1", 1)
	form := s.form(ref, map[string]string{"name": "mine"})
	// The snapshot is still what the form was filled in for.
	s.outside(account, ref, map[string]any{"act": "rename", "name": "theirs"})
	s.exec(s.db.AppURL, `UPDATE refresh SET next_at = clock_timestamp() + interval '1 hour'`)
	before := s.updates()
	err := s.svc.UpdateCluster(t.Context(), member("operators"), ref, form)
	if stale, ok := errors.AsType[*StaleError](err); !ok || stale.Now.Values["name"] != "theirs" || s.updates() != before {
		t.Fatalf("%v, %d changes sent", err, s.updates()-before)
	}
	got := s.eventsOf(ActClusterUpdate)
	if len(got) != 2 || got[1].Outcome != audit.Failed || !strings.Contains(got[1].Reason, "changed by somebody else") || got[1].Inferred {
		t.Errorf("events %+v", got)
	}
	if got := s.nameOf(ref); got != "theirs" {
		t.Errorf("the snapshot says %s", got)
	}
}

func TestAFormSentTwiceDoesNothingTwice(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "twice", "mx1", 1)
	by := member("operators")
	form := s.inBrowser(ref, map[string]string{"name": "twice-renamed"})
	if err := s.svc.UpdateCluster(t.Context(), by, ref, form); err != nil {
		t.Fatal(err)
	}
	sent := s.updates()
	if sent != 1 {
		t.Errorf("%d changes were sent, want 1", sent)
	}
	stale, ok := errors.AsType[*StaleError](s.svc.UpdateCluster(t.Context(), by, ref, form))
	if !ok || len(stale.Left) != 0 {
		t.Fatalf("sent again: %+v", stale)
	}
	again := ClusterUpdateForm{Revision: stale.Now.Revision, Fields: stale.Wished}
	if fields := invalidFields(t, s.svc.UpdateCluster(t.Context(), by, ref, again)); fields[""] == "" {
		t.Errorf("with the new revision: %v", fields)
	}
	if s.updates() != sent || len(s.eventsOf(ActClusterUpdate)) != 2 {
		t.Errorf("%d changes more, %d events", s.updates()-sent, len(s.eventsOf(ActClusterUpdate)))
	}
}

func TestAPlanTellsPriceAndRisk(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "planned", "mx2", 2)
	by := member("operators")
	_, changing := s.calls()
	events := len(s.events())

	up := s.form(ref, map[string]string{"package_id": s.packageNamed(ref, "mx4"), "nodes": "3"})
	plan, err := s.svc.PlanClusterUpdate(t.Context(), by, ref, up)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"package_id", "nodes"}, plan.Differing); diff != "" {
		t.Error(diff)
	}
	if plan.PriceBefore == nil || plan.PriceAfter == nil || plan.PriceBefore.Estimate != "" || plan.PriceBefore.PerHour != 2*9424 || plan.PriceAfter.PerHour != 3*18848 {
		t.Errorf("prices %+v, %+v", plan.PriceBefore, plan.PriceAfter)
	}
	if plan.Smaller || plan.Risks != nil || plan.Values["nodes"] != "2" || plan.Wanted["nodes"] != "3" {
		t.Errorf("%+v", plan)
	}

	down := s.form(ref, map[string]string{"package_id": s.packageNamed(ref, "mx1"), "additional_disk_gib": "16"})
	plan, err = s.svc.PlanClusterUpdate(t.Context(), by, ref, down)
	if err != nil {
		t.Fatal(err)
	}
	if !plan.Smaller || len(plan.Risks) != 1 || plan.Risks[0].Resource != "MEMORY" || plan.Risks[0].Status == "" || plan.RisksUnknown != "" {
		t.Errorf("risks %+v, %q", plan.Risks, plan.RisksUnknown)
	}
	if plan.PriceAfter.PerHour >= plan.PriceBefore.PerHour {
		t.Errorf("prices %+v, %+v", plan.PriceBefore, plan.PriceAfter)
	}

	s.fault(map[string]any{"operation": "GetQuote", "kind": "status", "status": 500})
	s.fault(map[string]any{"operation": "GetClusterDownscaleRisk", "kind": "status", "status": 500})
	plan, err = s.svc.PlanClusterUpdate(t.Context(), by, ref, down)
	if err != nil {
		t.Fatal(err)
	}
	if plan.RisksUnknown == "" || plan.PriceBefore.Estimate == "" || plan.PriceBefore.PerHour != 2*9424 || plan.PriceAfter.PerHour != 2*(4712+16*14) {
		t.Errorf("without quotes and risks: %+v, %+v, %q", plan.PriceBefore, plan.PriceAfter, plan.RisksUnknown)
	}
	if _, after := s.calls(); s.updates() != 0 || after-changing > 6 {
		t.Errorf("planning changed something: %d calls", after-changing)
	}
	if len(s.events()) != events {
		t.Errorf("planning left %d events", len(s.events())-events)
	}
}

func TestWhatIsNotOfferedIsSaidWhy(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("operators")
	free := s.made(account, "for-free", "free2", 1)
	u, err := s.svc.AskClusterUpdate(t.Context(), by, free)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nodes", "package_id", "additional_disk_gib"} {
		if !strings.Contains(u.NotOffered[name], "Free clusters") {
			t.Errorf("%s: %q", name, u.NotOffered[name])
		}
	}
	fields := invalidFields(t, s.svc.UpdateCluster(t.Context(), by, free, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"nodes": "2"}}))
	if !strings.Contains(fields["nodes"], "Free clusters") {
		t.Errorf("%v", fields)
	}

	zones := s.made(account, "in-zones", "mx8-premium", 3)
	u, err = s.svc.AskClusterUpdate(t.Context(), by, zones)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range u.Packages {
		if !p.MultiAZ {
			t.Errorf("a multi-AZ cluster is offered %s", p.Name)
		}
	}
	if len(u.Packages) < 2 || u.MaxNodes == 0 {
		t.Errorf("%d packages, %d nodes at most", len(u.Packages), u.MaxNodes)
	}
	for _, r := range u.Releases {
		if r.EndOfLife || r.Unavailable || r.Version <= "v1.15.5" {
			t.Errorf("offered the version %+v", r)
		}
	}
	over := fmt.Sprint(u.MaxNodes + 1)
	if _, err := s.svc.PlanClusterUpdate(t.Context(), by, zones, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"nodes": over}}); invalidFields(t, err)["nodes"] == "" {
		t.Error("more nodes than the quota are planned")
	}

	old := s.made(account, "not-sold-any-more", "mx2", 1)
	s.ask(http.MethodPost, "catalogue", map[string]any{"package_deactivated": map[string]string{"provider": "aws", "name": "mx2"}}, nil)
	s.svc.refreshing.catalogue.shelves = nil
	u, err = s.svc.AskClusterUpdate(t.Context(), by, old)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := u.packageOf(u.Cluster.Configuration.PackageID); !ok || p.Name != "mx2" || p.Status != "DEACTIVATED" || p.PricePerHourMillicents == 0 {
		t.Errorf("the present package is %+v, %v", p, ok)
	}
	if err := s.svc.UpdateCluster(t.Context(), by, old, s.inBrowser(old, map[string]string{"name": "still-sold"})); err != nil {
		t.Errorf("a cluster with an old package cannot be renamed: %v", err)
	}

	s.fault(map[string]any{"operation": "ListQdrantReleases", "kind": "status", "status": 500})
	s.svc.refreshing.catalogue.shelves = nil
	u, err = s.svc.AskClusterUpdate(t.Context(), by, zones)
	if err != nil || !strings.Contains(u.NotOffered["version"], "could not be read") {
		t.Errorf("without releases: %v, %v", u.NotOffered, err)
	}

	s.outside(account, zones, map[string]any{"act": "phase", "phase": "CREATING"})
	if _, err := s.svc.AskClusterUpdate(t.Context(), by, zones); !isConflict(err) {
		t.Errorf("while it is created: %v", err)
	}
	if _, err := s.svc.AskClusterUpdate(t.Context(), member("viewers"), zones); err == nil {
		t.Error("a viewer gets the form")
	}
}

// TestPhasesThatUpstreamTakesAreOffered holds the console's phases against the sandbox's.
func TestPhasesThatUpstreamTakesAreOffered(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	by := member("operators")
	ref := s.made(account, "in-every-phase", "mx1", 1)
	nodes := 1
	for _, phase := range []string{"HEALTHY", "NOT_READY", "RECOVERY_MODE", "SUSPENDED", "FAILED_TO_UPDATE", "FAILED_TO_SYNC", "CREATING", "FAILED_TO_CREATE", "UPDATING", "SCALING", "UPGRADING", "SUSPENDING", "RESUMING", "MANUAL_MAINTENANCE", "DELETING"} {
		s.outside(account, ref, map[string]any{"act": "phase", "phase": phase})
		u, err := s.svc.AskClusterUpdate(t.Context(), by, ref)
		if isConflict(err) {
			up, err := s.svc.connect(t.Context(), account.ID, "")
			if err != nil {
				t.Fatal(err)
			}
			now, err := up.cloud.Cluster(t.Context(), ref.ClusterID)
			if err != nil {
				t.Fatal(err)
			}
			more := nodes + 1
			if _, err := up.cloud.UpdateCluster(t.Context(), now, cloudapi.ClusterEdit{Nodes: &more}); err == nil {
				t.Errorf("in %s upstream takes a change that is not offered", phase)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", phase, err)
		}
		nodes++
		if err := s.svc.UpdateCluster(t.Context(), by, ref, ClusterUpdateForm{Revision: u.Revision, Fields: map[string]string{"nodes": fmt.Sprint(nodes)}}); err != nil {
			t.Errorf("in %s a change is offered that upstream refuses: %v", phase, err)
		}
	}
}

func TestALostChangeIsLookedFor(t *testing.T) {
	s := newStage(t)
	svc := s.replica(soon)
	account := s.register(s.current(), "Search")
	by := member("operators")
	for name, tt := range map[string]struct {
		kind string
		then func(ClusterRef)
		want audit.Outcome
	}{
		"done":     {"lost_answer", func(ClusterRef) {}, audit.OK},
		"not done": {"close", func(ClusterRef) {}, audit.Failed},
		"mixed": {"close", func(ref ClusterRef) {
			s.outside(account, ref, map[string]any{"act": "rename", "name": "lost-renamed"})
		}, audit.Unknown},
		"followed": {"lost_answer", func(ref ClusterRef) {
			if err := s.svc.RestartCluster(t.Context(), by, ref); err != nil {
				t.Fatal(err)
			}
		}, audit.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			ref := s.made(account, "lost-"+strings.ReplaceAll(name, " ", "-"), "mx1", 1)
			form := s.form(ref, map[string]string{"name": "lost-renamed", "labels": "a=b\nc=d"})
			s.fault(map[string]any{"operation": "UpdateCluster", "kind": tt.kind, "times": 1})
			err := svc.UpdateCluster(t.Context(), by, ref, form)
			if e, ok := cloudapi.AsError(err); !ok || !e.OutcomeUnknown {
				t.Fatalf("%v, want a lost answer", err)
			}
			tt.then(ref)
			var lost audit.Event
			for _, e := range s.eventsOf(ActClusterUpdate) {
				if e.Target.ID == ref.ClusterID {
					lost = e
				}
			}
			_, changing := s.calls()
			got := s.reconciled(svc, lost.Operation)
			if len(got) != 2 || got[1].Outcome != tt.want || !got[1].Inferred || got[1].Reason == "" {
				t.Fatalf("events %+v, want %s", got, tt.want)
			}
			if diff := cmp.Diff(lost.Change, got[1].Change); diff != "" {
				t.Errorf("the outcome does not repeat what was intended\n%s", diff)
			}
			if _, after := s.calls(); after != changing {
				t.Error("the reconciler changed something upstream")
			}
		})
	}
}

// TestVerdictOnAChangeOfEverySetting: what the log keeps of an attempt is enough to decide.
func TestVerdictOnAChangeOfEverySetting(t *testing.T) {
	before := clusterSettings{Name: "a", Nodes: 1, PackageID: "p", Version: "v1.0.0"}
	after := clusterSettings{
		Name: "b", Labels: []cloudapi.Label{{Key: "k", Value: strings.Repeat("v", 1024)}}, CostAllocationLabel: "c", Nodes: 9007, PackageID: "q", Version: "v1.1.0", AdditionalDiskGiB: 4,
		AllowedIPs: []string{"192.0.2.0/24"}, ReplicationFactor: 2, WriteConsistencyFactor: 1, VectorsOnDisk: true, RestartPolicy: "ROLLING", RebalanceStrategy: "DISABLED",
	}
	intended := audit.Change{}
	changed(intended, clusterFields(), &before, &after)
	if len(intended) != len(clusterFields()) {
		t.Fatalf("%d of %d settings differ", len(intended), len(clusterFields()))
	}
	kept, err := audit.Decode(audit.Encode(audit.Event{Change: intended}))
	if err != nil {
		t.Fatal(err)
	}
	as := func(c clusterSettings) cloudapi.Cluster {
		return cloudapi.Cluster{Name: c.Name, Labels: c.Labels, CostAllocationLabel: c.CostAllocationLabel, Configuration: cloudapi.Configuration{
			Nodes: c.Nodes, PackageID: c.PackageID, Version: c.Version, AdditionalDiskGiB: c.AdditionalDiskGiB, AllowedIPs: c.AllowedIPs,
			ReplicationFactor: c.ReplicationFactor, WriteConsistencyFactor: c.WriteConsistencyFactor, VectorsOnDisk: c.VectorsOnDisk,
			RestartPolicy: c.RestartPolicy, RebalanceStrategy: c.RebalanceStrategy,
		}}
	}
	mixed := after
	mixed.Name = "a"
	neither := before
	neither.Name = "z"
	for want, cases := range map[audit.Outcome][]clusterSettings{audit.OK: {after}, audit.Failed: {before}, audit.Unknown: {mixed, neither}} {
		for _, c := range cases {
			if got := updateVerdict(kept.Change, as(c)); got.outcome != want || got.reason == "" {
				t.Errorf("%+v: %+v, want %s", c, got, want)
			}
		}
	}
	if got := updateVerdict(audit.Change{"name": {"same", "same"}}, as(after)); got.outcome != audit.Unknown {
		t.Errorf("sides that were cut alike tell %+v", got)
	}
	if got := updateVerdict(nil, as(after)); got.outcome != audit.Unknown {
		t.Errorf("no intention tells %+v", got)
	}
}

func TestSettingsAreReadAsTheyAreShown(t *testing.T) {
	declared(t, clusterFields())
	full := clusterSettings{
		Name: "b-1", Labels: []cloudapi.Label{{Key: "a", Value: "x = y"}, {Key: "k", Value: ""}}, CostAllocationLabel: "c", Nodes: 7, PackageID: "q", Version: "v1.1.0", AdditionalDiskGiB: 4,
		AllowedIPs: []string{"192.0.2.0/24", "198.51.100.7/32"}, ReplicationFactor: 2, WriteConsistencyFactor: 1, VectorsOnDisk: true, RestartPolicy: "ROLLING", RebalanceStrategy: "DISABLED",
	}
	for _, want := range []clusterSettings{full, {Name: "b-1", Nodes: 1, PackageID: "q", Version: "latest"}} {
		e, invalid := ClusterUpdateForm{Revision: "r", Fields: want.texts()}.edit(cloudapi.Current)
		if len(invalid) > 0 {
			t.Fatal(invalid)
		}
		if got := (clusterSettings{}).with(e); !cmp.Equal(want, got) {
			t.Errorf("(-want +got)\n%s", cmp.Diff(want, got))
		}
		if left := want.differing(e); !left.Empty() {
			t.Errorf("what is shown differs from what it shows: %+v", left)
		}
	}
	untouched := ClusterUpdateForm{Revision: "r", Fields: map[string]string{"name": "<odd>\r\nname ", "nodes": "2"}, Started: EncodeStarted(map[string]string{"name": "<odd>\nname", "nodes": "1"})}
	if e, invalid := untouched.edit(cloudapi.Current); len(invalid) > 0 || e.Name != nil || *e.Nodes != 2 {
		t.Errorf("a field that was not touched is a wish: %+v, %v", e, invalid)
	}
	for _, broken := range []string{"", "{", "[]", `{"name":1}`, strings.Repeat("[", 100_000)} {
		if got := (ClusterUpdateForm{Started: broken}).started(); got["name"] != "" {
			t.Errorf("%.20s is %v", broken, got)
		}
	}
}

// TestAChangeDoesNotBeginWithASnapshot: where upstream does not tell what the cluster is, there is no form.
func TestAChangeDoesNotBeginWithASnapshot(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "not-told", "mx1", 1)
	s.fault(map[string]any{"operation": "GetCluster", "kind": "status", "status": 403})
	_, err := s.svc.AskClusterUpdate(t.Context(), member("operators"), ref)
	if e, ok := cloudapi.AsError(err); !ok || e.Kind != cloudapi.Forbidden {
		t.Errorf("%v, want upstream's refusal", err)
	}
}
