package cloudapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

// keysWire stands between client and sandbox, and compares what goes over it with the published
// definitions of keys: every object's members are those that are named, and queries too.
type keysWire struct {
	t       *testing.T
	routers []routers.Router
	seen    map[string]int // accepted calls by method and path of the definition
}

// onTheWire puts a keysWire before the sandbox and connects the world's client through it.
func (w *world) onTheWire() *keysWire {
	w.t.Helper()
	dir := os.Getenv("TEST_API_SPECS")
	if dir == "" {
		w.t.Skip("NOT RUN: TEST_API_SPECS is not set; requests and answers about keys were not compared with the published API definitions")
	}
	wire := &keysWire{t: w.t, seen: map[string]int{}}
	for _, file := range []string{"cloud-api/cluster.auth.v1.database_api_key.openapi.json", "cloud-api/cluster.auth.v2.database_api_key.openapi.json", "pa-v1.openapi.yaml"} {
		doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(dir, file))
		if err != nil {
			w.t.Fatal(err)
		}
		doc.Servers = nil
		for _, schema := range doc.Components.Schemas {
			closeObjects(schema, map[*openapi3.Schema]bool{})
		}
		router, err := gorillamux.NewRouter(doc)
		if err != nil {
			w.t.Fatal(err)
		}
		wire.routers = append(wire.routers, router)
	}
	server := httptest.NewServer(wire.around(w.sandbox.Handler()))
	w.t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.client, err = cloudapi.New(cloudapi.Config{CurrentURL: base, PAURL: base, Version: "test"}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.client.Close)
	return wire
}

// closeObjects forbids members that a schema does not name, at any depth.
func closeObjects(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || ref.Value == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	for _, p := range s.Properties {
		closeObjects(p, seen)
	}
	closeObjects(s.Items, seen)
	for _, part := range slices.Concat(s.AnyOf, s.OneOf, s.AllOf) {
		closeObjects(part, seen)
	}
	if s.Type.Is("object") && len(s.AllOf) == 0 && s.AdditionalProperties.Schema == nil && s.AdditionalProperties.Has == nil {
		closed := false
		s.AdditionalProperties.Has = &closed
	}
}

func (k *keysWire) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			k.t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		r.Body = io.NopCloser(bytes.NewReader(body))
		k.check(r, answer.Result(), answer.Body.Bytes())
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		if _, err := w.Write(answer.Body.Bytes()); err != nil {
			k.t.Error(err)
		}
	})
}

func (k *keysWire) check(r *http.Request, answer *http.Response, content []byte) {
	if !strings.Contains(r.URL.Path, "api-keys") || answer.StatusCode >= 400 {
		return
	}
	var route *routers.Route
	var params map[string]string
	for _, router := range k.routers {
		if found, at, err := router.FindRoute(r); err == nil {
			route, params = found, at
		}
	}
	if route == nil {
		k.t.Errorf("%s %s is in no definition", r.Method, r.URL.Path)
		return
	}
	k.seen[route.Method+" "+route.Path]++
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
	}}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		k.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil {
			k.t.Errorf("%s %s: no query is called %s", r.Method, route.Path, name)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: answer.StatusCode, Header: answer.Header, Body: io.NopCloser(bytes.NewReader(content)), Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		k.t.Errorf("answer to %s %s: %v", r.Method, r.URL, err)
	}
}

// keyed returns a healthy cluster of an account that takes keys with a name.
func (w *world) keyed(f sandbox.Fixture) string {
	w.t.Helper()
	clusters := w.clusters(f)
	i := slices.IndexFunc(clusters, func(c cloudapi.Cluster) bool {
		return c.State.Phase == cloudapi.PhaseHealthy && (f.Generation == string(cloudapi.PAV1) || c.State.JWTRBAC != nil && *c.State.JWTRBAC)
	})
	return clusters[i].ID
}

// TestKeysOfTheCurrentAPI makes, lists and deletes keys with every kind of rule.
func TestKeysOfTheCurrentAPI(t *testing.T) {
	w := newWorld(t)
	f := w.fixture(cloudapi.Current)
	cluster := w.keyed(f)
	wire := w.onTheWire()
	api := cloudapi.NewCurrentAPI(w.connect(f))
	end := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for name, n := range map[string]cloudapi.NewDatabaseKey{
		"manages":     {Access: cloudapi.KeyAccess{Global: cloudapi.AccessManage}},
		"reads":       {ExpiresAt: end, Access: cloudapi.KeyAccess{Global: cloudapi.AccessReadOnly}},
		"collections": {ExpiresAt: end, Access: cloudapi.KeyAccess{Collections: []cloudapi.CollectionAccess{{Collection: "a.b-c_1", Access: cloudapi.AccessReadOnly}, {Collection: "d", Access: cloudapi.AccessReadWrite}}}},
	} {
		n.Cluster, n.Name = cluster, "key that "+name
		made, secret, err := api.CreateDatabaseKey(t.Context(), n)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := cloudapi.DatabaseKey{Name: n.Name, Clusters: []string{cluster}, ExpiresAt: n.ExpiresAt, Access: n.Access}
		if diff := cmp.Diff(want, made, cmpopts.IgnoreFields(cloudapi.DatabaseKey{}, "ID", "CreatedAt", "Postfix")); diff != "" || !strings.HasSuffix(string(secret.Reveal()), made.Postfix) {
			t.Errorf("%s (-asked +made):\n%s", name, diff)
		}
		for _, of := range []string{cluster, ""} {
			listed, err := api.DatabaseKeys(t.Context(), of)
			i := slices.IndexFunc(listed.Keys, func(k cloudapi.DatabaseKey) bool { return k.ID == made.ID })
			if err != nil || i < 0 {
				t.Fatalf("%s is not listed: %v", name, err)
			}
			if diff := cmp.Diff(made, listed.Keys[i]); diff != "" {
				t.Errorf("%s (-made +listed):\n%s", name, diff)
			}
		}
		if err := api.DeleteDatabaseKey(t.Context(), cluster, made.ID); err != nil {
			t.Errorf("deleting what %s: %v", name, err)
		}
	}
	admins, err := api.AdminKeys(t.Context(), "")
	if err != nil || len(admins.Keys) == 0 {
		t.Fatalf("%d admin keys, %v", len(admins.Keys), err)
	}
	if of, err := api.AdminKeys(t.Context(), admins.Keys[0].Clusters[0]); err != nil || len(of.Keys) == 0 || len(of.Keys) > len(admins.Keys) {
		t.Errorf("%d admin keys of a cluster, %v", len(of.Keys), err)
	}
	if err := api.DeleteAdminKey(t.Context(), admins.Keys[0].ID); err != nil {
		t.Error(err)
	}
	if len(wire.seen) != 5 {
		t.Errorf("calls of other operations than the five: %v", wire.seen)
	}
}

// TestKeysOfPAV1 does the same with all four operations of the legacy API.
func TestKeysOfPAV1(t *testing.T) {
	w := newWorld(t)
	f := w.fixture(cloudapi.PAV1)
	cluster := w.keyed(f)
	wire := w.onTheWire()
	api := cloudapi.NewLegacyAPI(w.connect(f))
	made, secret, err := api.CreateAdminKey(t.Context(), []string{cluster})
	if err != nil || !made.Admin || !strings.HasPrefix(string(secret.Reveal()), made.Prefix) || !slices.Equal(made.Clusters, []string{cluster}) {
		t.Fatalf("made %+v, %v", made, err)
	}
	for _, of := range []string{cluster, ""} {
		listed, err := api.AdminKeys(t.Context(), of)
		if err != nil || !slices.ContainsFunc(listed.Keys, func(k cloudapi.DatabaseKey) bool { return cmp.Equal(k, made) }) {
			t.Errorf("listed %+v, %v", listed, err)
		}
	}
	if updated, err := api.UpdateAdminKey(t.Context(), made.ID, made.Clusters); err != nil || !cmp.Equal(updated, made) {
		t.Errorf("updated %+v, %v", updated, err)
	}
	if err := api.DeleteAdminKey(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	if len(wire.seen) != 4 {
		t.Errorf("calls of other operations than the four: %v", wire.seen)
	}
}

// TestKeysInEverySpelling reads keys in each way that the gateway may spell them.
func TestKeysInEverySpelling(t *testing.T) {
	w := newWorld(t)
	current, legacy := w.fixture(cloudapi.Current), w.fixture(cloudapi.PAV1)
	read := func() map[string]cloudapi.KeyListing {
		api, old := cloudapi.NewCurrentAPI(w.connect(current)), cloudapi.NewLegacyAPI(w.connect(legacy))
		return map[string]cloudapi.KeyListing{
			"named": must(t, result(api.DatabaseKeys(t.Context(), ""))), "admin": must(t, result(api.AdminKeys(t.Context(), ""))), "pa/v1": must(t, result(old.AdminKeys(t.Context(), ""))),
		}
	}
	want := read()
	for kind, keys := range want {
		if len(keys.Keys) == 0 || len(keys.Unreadable) > 0 {
			t.Errorf("%s: %d keys, unreadable %v", kind, len(keys.Keys), keys.Unreadable)
		}
	}
	for _, spelling := range []string{`{"unset":"null"}`, `{"unset":"zero"}`, `{"unset":"empty"}`, `{"snake_case":true}`, `{"numeric_enums":true}`} {
		w.control("/_sandbox/spelling", spelling)
		if diff := cmp.Diff(want, read()); diff != "" {
			t.Errorf("%s changes what is read (-documented +so spelt):\n%.3000s", spelling, diff)
		}
	}
}
