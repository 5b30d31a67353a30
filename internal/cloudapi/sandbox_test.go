package cloudapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

// world is a sandbox with a client for it.
type world struct {
	t       *testing.T
	sandbox *sandbox.Sandbox
	client  *cloudapi.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	box, err := sandbox.New(sandbox.Config{Seed: 7, ControlToken: "control", Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(box.Handler())
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := cloudapi.New(cloudapi.Config{CurrentURL: base, PAURL: base, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &world{t, box, client}
}

// control posts to the sandbox's control surface.
func (w *world) control(path, body string) {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer control")
	recorder := httptest.NewRecorder()
	w.sandbox.Control().ServeHTTP(recorder, r)
	if recorder.Code >= 300 {
		w.t.Fatalf("%s: %d %s", path, recorder.Code, recorder.Body)
	}
}

func (w *world) connect(f sandbox.Fixture) *cloudapi.Conn {
	return w.client.Connect(cloudapi.ConnConfig{Generation: cloudapi.Generation(f.Generation), CloudAccountID: f.CloudAccountID,
		Key: cloudapi.NewSecret([]byte(f.ManagementKey)), RequestID: "r"})
}

// fixture returns the first account of a generation.
func (w *world) fixture(generation cloudapi.Generation) sandbox.Fixture {
	w.t.Helper()
	for _, f := range w.sandbox.Fixtures() {
		if f.Generation == string(generation) {
			return f
		}
	}
	w.t.Fatalf("the sandbox has no %s account", generation)
	return sandbox.Fixture{}
}

// clusters lists all clusters of an account, page by page.
func (w *world) clusters(f sandbox.Fixture) []cloudapi.Cluster {
	w.t.Helper()
	var clusters []cloudapi.Cluster
	if f.Generation == string(cloudapi.PAV1) {
		page, err := cloudapi.NewLegacyAPI(w.connect(f)).ListClusters(w.t.Context(), "")
		if err != nil {
			w.t.Fatal(err)
		}
		return page.Clusters
	}
	for token := ""; ; {
		page, err := cloudapi.NewCurrentAPI(w.connect(f)).ListClusters(w.t.Context(), token)
		if err != nil {
			w.t.Fatal(err)
		}
		clusters = append(clusters, page.Clusters...)
		if token = page.Next; token == "" {
			return clusters
		}
	}
}

// TestSandboxReads: everything that can be read of every account, in every spelling of the gateway,
// is the same.
func TestSandboxReads(t *testing.T) {
	w := newWorld(t)
	read := func() map[string]any {
		all := map[string]any{}
		for _, f := range w.sandbox.Fixtures() {
			clusters := w.clusters(f)
			if len(clusters) == 0 {
				t.Fatalf("%s has no clusters", f.Name)
			}
			all[f.Name+" clusters"] = clusters
			for _, c := range clusters {
				if c.Name == "" || c.CloudProvider == "" || c.Region == "" || c.Configuration.Nodes == 0 || c.Configuration.PackageID == "" || c.State.Phase == "" || c.CreatedAt.IsZero() {
					t.Errorf("%s: %+v lacks what every cluster has", f.Name, c)
				}
			}
			all[f.Name+" cluster"] = must(t, w.cluster(f, clusters[0].ID))
			legacy, current := cloudapi.NewLegacyAPI(w.connect(f)), cloudapi.NewCurrentAPI(w.connect(f))
			managed := clusters[slices.IndexFunc(clusters, func(c cloudapi.Cluster) bool { return c.CloudProvider != "hybrid" })]
			if f.Generation == string(cloudapi.PAV1) {
				all[f.Name+" packages"] = must(t, result(legacy.Packages(t.Context(), managed.CloudProvider, managed.Region)))
				continue
			}
			all[f.Name+" packages"] = must(t, result(current.Packages(t.Context(), managed.CloudProvider, managed.Region)))
			all[f.Name+" accounts"] = must(t, result(current.Accounts(t.Context())))
			all[f.Name+" permissions"] = must(t, result(current.Permissions(t.Context())))
			all[f.Name+" keys"] = must(t, result(current.ManagementKeys(t.Context())))
			all[f.Name+" providers"] = must(t, result(current.Providers(t.Context())))
			all[f.Name+" regions"] = must(t, result(current.Regions(t.Context(), managed.CloudProvider)))
			all[f.Name+" releases"] = must(t, result(current.Releases(t.Context(), "")))
		}
		return all
	}
	want := read()
	for what, v := range want {
		if fmt.Sprint(v) == "[]" {
			t.Errorf("%s: nothing there", what)
		}
	}
	for _, spelling := range []string{
		`{"unset":"gateway"}`, `{"unset":"null"}`, `{"unset":"zero"}`, `{"unset":"empty"}`, `{"numeric_int64":true}`, `{"snake_case":true}`, `{"numeric_enums":true}`,
		`{"unset":"zero","numeric_int64":true,"snake_case":true,"numeric_enums":true}`,
	} {
		w.control("/_sandbox/spelling", spelling)
		// Whether false was told is the one thing a spelling may change.
		ignore := cmp.Options{cmpopts.IgnoreFields(cloudapi.Cluster{}, "Raw"), cmpopts.IgnoreFields(cloudapi.State{}, "JWTRBAC")}
		if diff := cmp.Diff(want, read(), ignore); diff != "" {
			t.Errorf("%s changes what is read (-documented +so spelt):\n%.3000s", spelling, diff)
		}
	}
}

func (w *world) cluster(f sandbox.Fixture, id string) outcome[cloudapi.Cluster] {
	if f.Generation == string(cloudapi.PAV1) {
		return result(cloudapi.NewLegacyAPI(w.connect(f)).Cluster(w.t.Context(), id))
	}
	return result(cloudapi.NewCurrentAPI(w.connect(f)).Cluster(w.t.Context(), id))
}

type outcome[T any] struct {
	value T
	err   error
}

func result[T any](value T, err error) outcome[T] { return outcome[T]{value, err} }

func must[T any](t *testing.T, o outcome[T]) T {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.value
}

// TestSandboxActs: the acts work, in the phases they belong to, and refusals say why.
func TestSandboxActs(t *testing.T) {
	w := newWorld(t)
	ctx, f := t.Context(), w.fixture(cloudapi.Current)
	api := cloudapi.NewCurrentAPI(w.connect(f))
	clusters := w.clusters(f)
	healthy := clusters[slices.IndexFunc(clusters, func(c cloudapi.Cluster) bool { return c.State.Phase == cloudapi.PhaseHealthy })]
	phase := func(want cloudapi.Phase) {
		t.Helper()
		if got := must(t, w.cluster(f, healthy.ID)).State.Phase; got != want {
			t.Fatalf("phase is %s, want %s", got, want)
		}
	}
	settle := func() { w.control("/_sandbox/clock", `{"advance":"1h"}`) }
	act := func(name string, do func(context.Context, string) error) {
		t.Helper()
		if err := do(ctx, healthy.ID); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	act("restart", api.RestartCluster)
	settle()
	phase(cloudapi.PhaseHealthy)
	act("suspend", api.SuspendCluster)
	settle()
	phase(cloudapi.PhaseSuspended)
	if e := upstreamError(t, api.SuspendCluster(ctx, healthy.ID)); e.Kind != cloudapi.Conflict || e.Message == "" || e.TraceID == "" {
		t.Errorf("suspending what is suspended: %+v", e)
	}
	act("unsuspend", api.UnsuspendCluster)
	settle()
	phase(cloudapi.PhaseHealthy)
	if err := api.DeleteCluster(ctx, healthy.ID, true); err != nil {
		t.Fatal(err)
	}
	settle()
	if e := upstreamError(t, w.cluster(f, healthy.ID).err); e.Kind != cloudapi.NotFound || e.Code != 5 || e.TraceID == "" {
		t.Errorf("a deleted cluster: %+v", e)
	}

	old := w.fixture(cloudapi.PAV1)
	legacy := cloudapi.NewLegacyAPI(w.connect(old))
	victim := w.clusters(old)[0]
	if err := legacy.DeleteCluster(ctx, victim.ID, false); err != nil {
		t.Fatal(err)
	}
	settle()
	if e := upstreamError(t, w.cluster(old, victim.ID).err); e.Kind != cloudapi.NotFound || e.Message == "" || e.TraceID == "" {
		t.Errorf("a deleted cluster of pa/v1: %+v", e)
	}
	wrong := old
	wrong.ManagementKey = "00000000-0000-4000-8000-000000000000|" + strings.Repeat("x", 44)
	for _, generation := range []cloudapi.Generation{cloudapi.Current, cloudapi.PAV1} {
		wrong.Generation = string(generation)
		if e := upstreamError(t, w.cluster(wrong, victim.ID).err); e.Kind != cloudapi.Unauthenticated || e.Message == "" {
			t.Errorf("a wrong key at %s: %+v", generation, e)
		}
	}
	if err := api.DeleteManagementKey(ctx, must(t, result(api.ManagementKeys(ctx)))[0].ID); err != nil {
		t.Error(err)
	}
}

// TestSandboxFaults: each fault the sandbox knows is an error of the right kind.
func TestSandboxFaults(t *testing.T) {
	for fault, want := range map[string]struct {
		read, restart cloudapi.Kind
		unknown       bool
	}{
		`"kind":"status","status":401`:            {cloudapi.Unauthenticated, cloudapi.Unauthenticated, false},
		`"kind":"status","status":403`:            {cloudapi.Forbidden, cloudapi.Forbidden, false},
		`"kind":"status","status":404`:            {cloudapi.NotFound, cloudapi.NotFound, false},
		`"kind":"status","status":409`:            {cloudapi.Conflict, cloudapi.Conflict, false},
		`"kind":"status","status":429`:            {cloudapi.RateLimited, cloudapi.RateLimited, false},
		`"kind":"status","status":500`:            {cloudapi.Unavailable, cloudapi.Unavailable, false},
		`"kind":"status","status":503`:            {cloudapi.Unavailable, cloudapi.Unavailable, false},
		`"kind":"retry_after","retry_after":"60"`: {cloudapi.RateLimited, cloudapi.RateLimited, false},
		`"kind":"html"`:                           {cloudapi.Unavailable, cloudapi.Unavailable, true},
		`"kind":"html","status":404`:              {cloudapi.Malformed, cloudapi.Malformed, false},
		`"kind":"malformed"`:                      {cloudapi.Malformed, cloudapi.Malformed, true},
		`"kind":"huge"`:                           {cloudapi.Malformed, cloudapi.Malformed, true},
		`"kind":"close"`:                          {cloudapi.Unavailable, cloudapi.Unavailable, true},
		`"kind":"truncated"`:                      {cloudapi.Unavailable, cloudapi.Unavailable, true},
		`"kind":"lost_answer"`:                    {cloudapi.Unavailable, cloudapi.Unavailable, true},
	} {
		w := newWorld(t)
		f := w.fixture(cloudapi.Current)
		clusters := w.clusters(f)
		healthy := clusters[slices.IndexFunc(clusters, func(c cloudapi.Cluster) bool { return c.State.Phase == cloudapi.PhaseHealthy })]
		w.control("/_sandbox/faults", "{"+fault+"}")
		if e := upstreamError(t, w.cluster(f, healthy.ID).err); e.Kind != want.read {
			t.Errorf("%s: read is %v", fault, e)
		}
		e := upstreamError(t, cloudapi.NewCurrentAPI(w.connect(f)).RestartCluster(t.Context(), healthy.ID))
		if e.Kind != want.restart || e.OutcomeUnknown != want.unknown {
			t.Errorf("%s: restart is %v, outcome unknown %v", fault, e, e.OutcomeUnknown)
		}
	}
}

func upstreamError(t *testing.T, err error) *cloudapi.Error {
	t.Helper()
	e, ok := cloudapi.AsError(err)
	if !ok {
		t.Fatalf("%T %v, want *cloudapi.Error", err, err)
	}
	return e
}

// TestSandboxUpdatesInEverySpelling: however the gateway spells a cluster, its revision is the same, and
// a change takes nothing from it but what was asked for.
func TestSandboxUpdatesInEverySpelling(t *testing.T) {
	w := newWorld(t)
	f := w.fixture(cloudapi.Current)
	api := cloudapi.NewCurrentAPI(w.connect(f))
	spellings := []string{
		`{}`, `{"unset":"gateway"}`, `{"unset":"null"}`, `{"unset":"zero"}`, `{"unset":"empty"}`, `{"numeric_int64":true}`, `{"snake_case":true}`, `{"numeric_enums":true}`,
		`{"unset":"zero","numeric_int64":true,"snake_case":true,"numeric_enums":true}`,
	}
	revisions := map[string]string{}
	for _, spelling := range spellings {
		w.control("/_sandbox/spelling", spelling)
		for _, c := range w.clusters(f) {
			if known := revisions[c.ID]; known != "" && known != c.Revision() {
				t.Errorf("%s: %s has another revision", spelling, c.Name)
			}
			revisions[c.ID] = c.Revision()
		}
	}
	all := w.clusters(f)
	id := all[slices.IndexFunc(all, func(c cloudapi.Cluster) bool { return c.State.Phase == cloudapi.PhaseHealthy })].ID
	for i, spelling := range spellings {
		w.control("/_sandbox/spelling", spelling)
		w.control("/_sandbox/clock", `{"advance":"1h"}`)
		read := must(t, w.cluster(f, id))
		name, factor := fmt.Sprintf("spelt-%d", i), 1+i%3
		labels := []cloudapi.Label{{Key: "spelling", Value: fmt.Sprint(i)}}
		if _, err := api.UpdateCluster(t.Context(), read, cloudapi.ClusterEdit{Name: &name, ReplicationFactor: &factor, Labels: &labels}); err != nil {
			t.Fatalf("%s: %v", spelling, err)
		}
		want := read
		want.Name, want.Labels, want.Configuration.ReplicationFactor = name, labels, factor
		// What is flattened, and when it was changed, follow from the rest.
		ignore := cmp.Options{cmpopts.IgnoreFields(cloudapi.Cluster{}, "Raw", "State"), cmpopts.IgnoreFields(cloudapi.Configuration{}, "Settings", "LastModifiedAt")}
		after := must(t, w.cluster(f, id))
		if diff := cmp.Diff(want, after, ignore); diff != "" {
			t.Errorf("%s (-want +got)\n%s", spelling, diff)
		}
		if after.Revision() == read.Revision() {
			t.Errorf("%s: changed, and the revision stays", spelling)
		}
	}
}
