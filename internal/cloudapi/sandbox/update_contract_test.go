package sandbox

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/cloudapi"
)

// client is the console's own client behind the published definitions: what it sends and what it is
// answered is checked on the way. sent are the bodies, oldest first.
func (b *bench) client(f Fixture) (conn *cloudapi.Conn, sent func() []string) {
	b.t.Helper()
	return b.clientChecked(f, b.checkAnswer)
}

// plainClient is a client of a sandbox whose answers are spelled as they may not be.
func (b *bench) plainClient(f Fixture) (conn *cloudapi.Conn, sent func() []string) {
	b.t.Helper()
	return b.clientChecked(f, func(*http.Request, []byte, *http.Response, []byte) error { return nil })
}

func (b *bench) clientChecked(f Fixture, check func(*http.Request, []byte, *http.Response, []byte) error) (conn *cloudapi.Conn, sent func() []string) {
	b.t.Helper()
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			b.t.Error(err)
		}
		bodies = append(bodies, string(body))
		req.Body = io.NopCloser(bytes.NewReader(body))
		recorder := httptest.NewRecorder()
		b.Handler().ServeHTTP(recorder, req)
		answer := recorder.Result()
		if err := check(req, body, answer, recorder.Body.Bytes()); err != nil {
			b.t.Errorf("%s %s: %v\n%.2000s", req.Method, req.URL, err, body)
		}
		for name, values := range answer.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.StatusCode)
		_, _ = w.Write(recorder.Body.Bytes()) // the client tells
	}))
	b.t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	client, err := cloudapi.New(cloudapi.Config{CurrentURL: base, PAURL: base, Version: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client.Connect(cloudapi.ConnConfig{
		Generation: cloudapi.Generation(f.Generation), CloudAccountID: f.CloudAccountID, Key: cloudapi.NewSecret([]byte(f.ManagementKey)), RequestID: "r",
	}), func() []string { return bodies }
}

// to returns a pointer to a value.
func to[T any](v T) *T { return &v }

// TestUpdatesKeepToTheDefinitions sends each setting of an edit, alone and with all others, through
// both generations: requests and answers are as published, and the cluster is as asked for.
func TestUpdatesKeepToTheDefinitions(t *testing.T) {
	b := setup(t)
	for _, generation := range []cloudapi.Generation{cloudapi.Current, cloudapi.PAV1} {
		t.Run(string(generation), func(t *testing.T) {
			i := slices.IndexFunc(b.Fixtures(), func(f Fixture) bool { return f.Generation == string(generation) })
			f := b.Fixtures()[i]
			conn, sent := b.client(f)
			api := updater(generation, conn)
			page, err := api.ListClusters(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			i = slices.IndexFunc(page.Clusters, func(c cloudapi.Cluster) bool {
				return c.State.Phase == cloudapi.PhaseHealthy && c.CloudProvider == "aws" && c.Configuration.Nodes < 3
			})
			if i < 0 {
				t.Fatal("no healthy cluster")
			}
			id := page.Clusters[i].ID
			packages, err := api.Packages(t.Context(), "aws", page.Clusters[i].Region)
			if err != nil {
				t.Fatal(err)
			}
			mx8 := packages[slices.IndexFunc(packages, func(p cloudapi.Package) bool { return p.Name == "mx8" })].ID
			edits := []cloudapi.ClusterEdit{
				{Name: to("renamed")}, {Nodes: to(4)}, {PackageID: to(mx8)}, {Version: to("v1.17.2")}, {AdditionalDiskGiB: to(700)},
				{AllowedIPs: to([]string{"192.0.2.0/24", "198.51.100.7/32"})}, {AllowedIPs: to([]string(nil))},
				{ReplicationFactor: to(2)}, {ReplicationFactor: to(0)}, {WriteConsistencyFactor: to(1)}, {VectorsOnDisk: to(true)},
			}
			if generation == cloudapi.Current {
				edits = append(edits,
					cloudapi.ClusterEdit{Labels: to([]cloudapi.Label{{Key: "a", Value: "<b>"}, {Key: "c", Value: ""}})}, cloudapi.ClusterEdit{Labels: to([]cloudapi.Label(nil))},
					cloudapi.ClusterEdit{CostAllocationLabel: to("cc-1")}, cloudapi.ClusterEdit{CostAllocationLabel: to("")},
					cloudapi.ClusterEdit{RestartPolicy: to("PARALLEL")}, cloudapi.ClusterEdit{RebalanceStrategy: to("BY_SIZE")}, cloudapi.ClusterEdit{RestartPolicy: to("")},
					cloudapi.ClusterEdit{Name: to("all-at-once"), Nodes: to(5), Labels: to([]cloudapi.Label{{Key: "z", Value: "9"}}), VectorsOnDisk: to(false), RebalanceStrategy: to("DISABLED")},
				)
			}
			for _, e := range edits {
				b.clock = b.clock.Add(time.Hour)
				read, err := api.Cluster(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				after, err := api.UpdateCluster(t.Context(), read, e)
				if err != nil {
					t.Fatalf("%+v: %v\n%s", e, err, sent()[len(sent())-1])
				}
				want := edited(read, e)
				if diff := cmp.Diff(settings(want), settings(after)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

// updatingAPI is what both generations offer for this.
type updatingAPI interface {
	ListClusters(ctx context.Context, token string) (cloudapi.ClusterPage, error)
	Cluster(ctx context.Context, id string) (cloudapi.Cluster, error)
	UpdateCluster(ctx context.Context, read cloudapi.Cluster, e cloudapi.ClusterEdit) (cloudapi.Cluster, error)
	Packages(ctx context.Context, provider, region string) ([]cloudapi.Package, error)
}

func updater(generation cloudapi.Generation, conn *cloudapi.Conn) updatingAPI {
	if generation == cloudapi.PAV1 {
		return cloudapi.NewLegacyAPI(conn)
	}
	return cloudapi.NewCurrentAPI(conn)
}

// settings are what an edit can change, and what must stay beside it.
func settings(c cloudapi.Cluster) cloudapi.Cluster {
	c.State, c.Raw, c.Configuration.LastModifiedAt, c.Configuration.Settings = cloudapi.State{}, nil, c.CreatedAt, nil
	return c
}

func edited(c cloudapi.Cluster, e cloudapi.ClusterEdit) cloudapi.Cluster {
	overwrite(&c.Name, e.Name)
	overwrite(&c.Labels, e.Labels)
	overwrite(&c.CostAllocationLabel, e.CostAllocationLabel)
	overwrite(&c.Configuration.Nodes, e.Nodes)
	overwrite(&c.Configuration.PackageID, e.PackageID)
	overwrite(&c.Configuration.Version, e.Version)
	overwrite(&c.Configuration.AdditionalDiskGiB, e.AdditionalDiskGiB)
	overwrite(&c.Configuration.AllowedIPs, e.AllowedIPs)
	overwrite(&c.Configuration.ReplicationFactor, e.ReplicationFactor)
	overwrite(&c.Configuration.WriteConsistencyFactor, e.WriteConsistencyFactor)
	overwrite(&c.Configuration.VectorsOnDisk, e.VectorsOnDisk)
	overwrite(&c.Configuration.RestartPolicy, e.RestartPolicy)
	overwrite(&c.Configuration.RebalanceStrategy, e.RebalanceStrategy)
	return c
}

func overwrite[T any](into *T, wanted *T) {
	if wanted != nil {
		*into = *wanted
	}
}

// TestPlansKeepToTheDefinitions: the calls that a comparison makes are as published.
func TestPlansKeepToTheDefinitions(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	conn, _ := b.client(f)
	api := cloudapi.NewCurrentAPI(conn)
	page, err := api.ListClusters(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	c := page.Clusters[slices.IndexFunc(page.Clusters, func(c cloudapi.Cluster) bool { return c.CloudProvider == "aws" })]
	p, err := api.Package(t.Context(), "aws", c.Region, c.Configuration.PackageID)
	if err != nil || p.ID != c.Configuration.PackageID || p.Currency != "USD" || p.Name == "" {
		t.Errorf("the present package is %+v, %v", p, err)
	}
	if _, err := api.Package(t.Context(), "aws", c.Region, newID()); err == nil {
		t.Error("a package that is none is found")
	}
	quote, err := api.Quote(t.Context(), cloudapi.QuoteFor{CloudProvider: "aws", Region: c.Region, PackageID: p.ID, Nodes: 2, AdditionalDiskGiB: 4})
	if err != nil || quote.OriginalPerHour != 2*(p.PricePerHourMillicents+4*p.DiskPricePerHourMillicents) {
		t.Errorf("quote %+v of %+v, %v", quote, p, err)
	}
	packages, err := api.Packages(t.Context(), "aws", c.Region)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		risks, err := api.DownscaleRisks(t.Context(), c.ID, p.ID)
		if err != nil || len(risks) != 1 || risks[0].Resource != "MEMORY" || risks[0].Status == "" {
			t.Errorf("%s: %+v, %v", p.Name, risks, err)
		}
	}
	if quotas, err := api.Quotas(t.Context()); err != nil || quotas.ClusterNodes == 0 {
		t.Errorf("%+v, %v", quotas, err)
	}
	if releases, err := api.Releases(t.Context(), c.ID); err != nil || slices.ContainsFunc(releases, func(r cloudapi.Release) bool { return r.EndOfLife || r.Unavailable }) {
		t.Errorf("%+v, %v", releases, err)
	}
}
