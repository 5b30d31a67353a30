package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// try calls the API and returns what the transport says instead of failing.
func (b *bench) try(ctx context.Context, f Fixture, method, path string) (int, http.Header, []byte, error) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.server.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "apikey "+f.ManagementKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, data, err
}

func TestFaults(t *testing.T) {
	b := setup(t)
	b.lax = true
	f := b.fixture(0)
	path := clustersPath(f)
	id := b.clusterNamed(f, "product-search-eu")
	fault := func(kind string, more map[string]any) {
		t.Helper()
		set := map[string]any{"account": f.CloudAccountID, "kind": kind, "times": 1}
		for k, v := range more {
			set[k] = v
		}
		b.ctl("POST", "faults", set)
	}
	get := func() (int, http.Header, []byte, error) {
		t.Helper()
		return b.try(t.Context(), f, "GET", path)
	}

	fault("status", map[string]any{"status": 403})
	if status, _, body, err := get(); err != nil || status != 403 || !bytes.Contains(body, []byte(`"code":7`)) {
		t.Errorf("status: %d %s %v", status, body, err)
	}
	fault("retry_after", map[string]any{"retry_after": "7"})
	if status, header, _, err := get(); err != nil || status != 429 || header.Get("Retry-After") != "7" {
		t.Errorf("retry_after: %d %v %v", status, header, err)
	}
	fault("html", nil)
	if status, header, body, err := get(); err != nil || status != 502 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || !bytes.Contains(body, []byte("<html>")) {
		t.Errorf("html: %d %v %v", status, header, err)
	}
	fault("malformed", nil)
	if status, _, body, err := get(); err != nil || status != 200 || len(body) == 0 || bytes.HasSuffix(body, []byte("}")) {
		t.Errorf("malformed: %d %s %v", status, body, err)
	}
	fault("truncated", nil)
	if status, _, body, err := get(); !errors.Is(err, io.ErrUnexpectedEOF) || status != 200 || len(body) == 0 {
		t.Errorf("truncated: %d, %d bytes, %v", status, len(body), err)
	}
	fault("close", nil)
	if _, _, _, err := get(); err == nil {
		t.Error("close: an answer came")
	}
	fault("latency", map[string]any{"latency_ms": 60})
	began := time.Now()
	if status, _, _, err := get(); err != nil || status != 200 || time.Since(began) < 60*time.Millisecond {
		t.Errorf("latency: %d after %v, %v", status, time.Since(began), err)
	}
	fault("hang", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if _, _, _, err := b.try(ctx, f, "GET", path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	fault("huge", nil)
	if status, _, body, err := get(); err != nil || status != 200 || len(body) < 100<<20 {
		t.Errorf("huge: %d, %d bytes, %v", status, len(body), err)
	}
	fault("lost_answer", map[string]any{"operation": "SuspendCluster"})
	if status, _, _, err := get(); err != nil || status != 200 {
		t.Errorf("a fault for another operation hit: %d %v", status, err)
	}
	if _, _, _, err := b.try(t.Context(), f, "POST", path+"/"+id+"/suspend"); err == nil {
		t.Error("lost_answer: an answer came")
	}
	if p := b.phase(f, id); p != "SUSPENDING" {
		t.Errorf("lost_answer: the work was not done, phase %s", p)
	}

	b.ctl("POST", "faults", map[string]any{"kind": "status", "status": 503})
	other := b.fixture(1)
	for range 3 {
		if status, _, _, _ := b.try(t.Context(), other, "GET", "/pa/v1/accounts/"+other.CloudAccountID+"/clusters"); status != 503 {
			t.Errorf("a fault for all: %d", status)
		}
	}
	b.ctl("DELETE", "faults", nil)
	if status, _, _, _ := get(); status != 200 {
		t.Errorf("after the faults were removed: %d", status)
	}
}

// TestFaultsAreListedWhileCallsTakeThem is for the race detector: a listing points into the state, and
// a call counts a fault down at the same time.
func TestFaultsAreListedWhileCallsTakeThem(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	b.ctl("POST", "faults", map[string]any{"kind": "status", "status": 503, "times": 100_000})
	path := "/pa/v1/accounts/" + f.CloudAccountID + "/clusters"
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			if status, _, _, err := b.try(t.Context(), f, "GET", path); status != 503 || err != nil {
				t.Errorf("%d %v", status, err)
			}
		}
	}()
	for range 100 {
		if listed := b.ctl("GET", "faults", nil); listed.status != 200 {
			t.Errorf("%d", listed.status)
		}
	}
	<-done
}

func TestControlRefuses(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	signals := b.clusterNamed(f, "fraud-signals")
	otherKey := b.keyIDs(f, 2, "?clusterId="+b.clusterNamed(f, "product-search-eu"))[0]
	for _, c := range []struct {
		auth, method, path string
		body               any
		want               int
	}{
		{"", "GET", "calls", nil, 401}, {"Bearer wrong", "GET", "calls", nil, 401}, {"control-token", "GET", "calls", nil, 401}, {"apikey " + f.ManagementKey, "GET", "calls", nil, 401},
		{"Bearer control-token", "GET", "nothing", nil, 404}, {"Bearer control-token", "GET", "clock", nil, 405},
		{"Bearer control-token", "POST", "clock", `{"advance":"1h","unknown":1}`, 400}, {"Bearer control-token", "POST", "clock", `{"advance":"1h"} x`, 400},
		{"Bearer control-token", "POST", "clock", `{"advance":"-1h"}`, 422}, {"Bearer control-token", "POST", "faults", `{"kind":"nonsense"}`, 422},
		{"Bearer control-token", "POST", "faults", `{"kind":"status"}`, 422}, {"Bearer control-token", "POST", "faults", `{"kind":"hang","operation":"Nothing"}`, 422},
		{"Bearer control-token", "POST", "faults", `{"kind":"hang","account":"x"}`, 422}, {"Bearer control-token", "POST", "faults", `{"kind":"latency"}`, 422},
		{"Bearer control-token", "POST", "faults", `{"kind":"latency","latency_ms":9223372036854775807}`, 422},
		{"Bearer control-token", "POST", "random", `{"share":1.5}`, 422}, {"Bearer control-token", "POST", "random", `{"share":0.5,"kinds":["nonsense"]}`, 422},
		{"Bearer control-token", "POST", "keys", `{"account":"x"}`, 422}, {"Bearer control-token", "POST", "keys", map[string]any{"account": f.CloudAccountID, "permissions": []string{"fly"}}, 422},
		{"Bearer control-token", "POST", "spelling", `{"unset":"maybe"}`, 422}, {"Bearer control-token", "POST", "outside", map[string]any{"act": "rename", "account": f.CloudAccountID, "cluster": "x"}, 422},
		{"Bearer control-token", "POST", "outside", map[string]any{"act": "fly", "account": f.CloudAccountID, "cluster": b.clusterNamed(f, "fraud-signals")}, 422},
		{"Bearer control-token", "POST", "outside", map[string]any{"act": "rename", "account": f.CloudAccountID, "cluster": b.clusterNamed(f, "fraud-signals"), "name": "two words"}, 422},
		{"Bearer control-token", "POST", "outside", map[string]any{"act": "create_key", "account": f.CloudAccountID, "cluster": signals, "name": "a.b"}, 422},
		{"Bearer control-token", "POST", "outside", map[string]any{"act": "create_key", "account": f.CloudAccountID, "cluster": signals, "name": "valid", "days": -1}, 422},
		{"Bearer control-token", "POST", "outside", map[string]any{"act": "delete_key", "account": f.CloudAccountID, "cluster": signals, "key": otherKey}, 422},
		{"Bearer control-token", "POST", "account", `{"account":"x"}`, 422}, {"Bearer control-token", "POST", "account", map[string]any{"account": f.CloudAccountID, "quota": 1}, 400},
		{"Bearer control-token", "POST", "account", map[string]any{"account": f.CloudAccountID, "payment": "late"}, 422},
		{"Bearer control-token", "POST", "account", map[string]any{"account": f.CloudAccountID, "payment": "missing", "quotas": map[string]any{"nodes": -1}}, 422},
		{"Bearer control-token", "POST", "account", map[string]any{"account": f.CloudAccountID, "quotas": map[string]any{"clusters": maxNodes + 1}}, 422},
		{"Bearer control-token", "POST", "catalogue", `{"release_end_of_life":"v9.9.9"}`, 422}, {"Bearer control-token", "POST", "catalogue", `{"release":"v1.17.2"}`, 400},
		{"Bearer control-token", "POST", "catalogue", `{"region_unavailable":{"provider":"aws","region":"mars-1"}}`, 422},
		{"Bearer control-token", "POST", "catalogue", `{"release_end_of_life":"v1.17.2","package_deactivated":{"provider":"gcp","name":"gpu1"}}`, 422},
		{"Bearer control-token", "POST", "catalogue", `{"release_end_of_life":"v9.9.9","package_deactivated":{"provider":"aws","name":"mx1"}}`, 422},
	} {
		if got := b.send(b.control.URL, c.auth, c.method, "/_sandbox/"+c.path, c.body); got.status != c.want {
			t.Errorf("%s %s %v: %d %s", c.method, c.path, c.body, got.status, got.body)
		}
	}
	if a := b.accounts[f.CloudAccountID]; a.paymentMissing || a.quotas.Nodes != 10 || b.catalogue.defaultVersion() != "v1.17.2" || b.catalogue.pkgNamed(providerAWS, "mx1").status != packageActive {
		t.Error("a refused change was made in part")
	}
	closed := setup(t, func(c *Config) { c.ControlToken = "" })
	if got := closed.send(closed.control.URL, "Bearer ", "GET", "/_sandbox/calls", nil); got.status != 401 {
		t.Errorf("without a token configured: %d", got.status)
	}
	if got := b.send(b.server.URL, "Bearer control-token", "GET", "/_sandbox/calls", nil); got.status != 404 {
		t.Errorf("the API's listener serves the control surface: %d", got.status)
	}
}

func TestCallsAreCounted(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	b.call(f, "GET", clustersPath(f), nil)
	b.call(f, "GET", clustersPath(f), nil)
	b.call(f, "POST", clustersPath(f)+"/"+b.clusterNamed(f, "product-search-eu")+"/restart", nil)
	b.call(f, "GET", "/api/account/v1/accounts", nil)
	b.send(b.server.URL, "", "GET", clustersPath(f), nil)
	got := b.ctl("GET", "calls", nil)
	if got.get("total") != float64(5) || got.get("mutating") != float64(1) || got.get("accounts", f.CloudAccountID, "ListClusters") != float64(3) ||
		got.get("accounts", f.CloudAccountID, "RestartCluster") != float64(1) || got.get("recent", 2, "status") != float64(200) || got.get("recent", 4, "status") != float64(401) {
		t.Errorf("%s", got.body)
	}
	b.ctl("DELETE", "calls", nil)
	if again := b.ctl("GET", "calls", nil); again.get("total") != float64(0) {
		t.Errorf("after a reset: %s", again.body)
	}
}

// TestCallsOfStrangersAreBounded: what a caller without a key makes up takes no memory for long, and
// an account is one account however its id is written.
func TestCallsOfStrangersAreBounded(t *testing.T) {
	b := setup(t)
	b.lax = true
	f := b.fixture(0)
	for range 50 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", b.server.URL+"/api/account/v1/accounts/"+newID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", strings.Repeat("x", 100_000))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	b.ctl("POST", "faults", map[string]any{"account": f.CloudAccountID, "kind": "status", "status": 418, "times": 1})
	upper := f
	upper.CloudAccountID = strings.ToUpper(f.CloudAccountID)
	if got := b.call(upper, "GET", clustersPath(upper), nil); got.status != 418 {
		t.Errorf("a fault missed the account in capitals: %d", got.status)
	}
	got := b.ctl("GET", "calls", nil)
	accounts, _ := got.get("accounts").(map[string]any)
	if len(accounts) != 2 || got.get("accounts", "", "GetAccount") != float64(50) || got.get("accounts", f.CloudAccountID, "ListClusters") != float64(1) {
		t.Errorf("%d accounts: %.2000s", len(accounts), got.body)
	}
	if agent, _ := got.get("recent", 0, "user_agent").(string); len(agent) != maxUserAgent {
		t.Errorf("a user agent of %d bytes is kept", len(agent))
	}
}

// TestTruncatedWithoutABody: half of nothing must not look like an answer that is whole.
func TestTruncatedWithoutABody(t *testing.T) {
	b := setup(t)
	b.lax = true
	f := b.fixture(2)
	b.ctl("POST", "faults", map[string]any{"kind": "truncated", "times": 1})
	status, _, _, err := b.try(t.Context(), f, "DELETE", legacyPath(f)+"/clusters/"+b.clusterNamed(f, "market-reports"))
	if err == nil {
		t.Errorf("answered %d", status)
	}
}

func TestOutside(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "product-search-eu")
	outside := func(act string, more map[string]any) reply {
		t.Helper()
		set := map[string]any{"act": act, "account": f.CloudAccountID, "cluster": id}
		for k, v := range more {
			set[k] = v
		}
		return b.ctl("POST", "outside", set)
	}
	expect := func(want any, path ...any) {
		t.Helper()
		got := b.cluster(f, id).want(t, 200)
		if v := got.get(append([]any{"cluster"}, path...)...); v != want {
			t.Errorf("%v is %v, want %v", path, v, want)
		}
	}
	outside("rename", map[string]any{"name": "renamed-outside"})
	expect("renamed-outside", "name")
	outside("labels", map[string]any{"labels": map[string]string{"b": "2", "a": "1"}})
	expect("1", "labels", 0, "value")
	outside("scale", map[string]any{"nodes": 4})
	expect("CLUSTER_PHASE_SCALING", "state", "phase")
	b.ctl("POST", "clock", map[string]any{"advance": "1h"})
	expect(float64(4), "state", "nodesUp")
	outside("node_not_ready", map[string]any{"node": 1, "message": "probe failed"})
	expect("CLUSTER_PHASE_NOT_READY", "state", "phase")
	expect("probe failed", "state", "nodes", 1, "notReadyInfo", "conditionMessage")
	outside("phase", map[string]any{"phase": "MANUAL_MAINTENANCE", "reason": "hands off"})
	expect("hands off", "state", "reason")
	outside("phase", map[string]any{"phase": "CLUSTER_PHASE_HEALTHY"})
	expect(float64(4), "state", "nodesUp")
	made := outside("create_cluster", map[string]any{"name": "made-outside", "cluster": ""}).get("cluster").(string)
	if p := b.phase(f, made); p != "CREATING" {
		t.Errorf("made outside: %s", p)
	}
	outside("delete_cluster", map[string]any{"at_once": true})
	if p := b.phase(f, id); p != "404" {
		t.Errorf("deleted outside: %s", p)
	}
	key := outside("create_key", map[string]any{"cluster": made, "name": "made outside", "days": 30}).get("key").(string)
	keys := b.call(f, "GET", keysPath(f, 2)+"?clusterId="+made, nil).want(t, 200)
	if keys.get("items", 0, "id") != key || keys.get("items", 0, "createdByEmail") != b.accounts[f.CloudAccountID].resource.str("owner_email") ||
		keys.get("items", 0, "expiresAt") != b.now().Add(30*day).Format(time.RFC3339) {
		t.Errorf("a key made outside: %s", keys.body)
	}
	outside("delete_key", map[string]any{"cluster": made, "key": key})
	admin := b.makeKey(f, 1, map[string]any{"clusterIds": []any{made}}).want(t, 200).get("databaseApiKey", "id").(string)
	outside("delete_key", map[string]any{"cluster": made, "key": admin})
	if left := append(b.keyIDs(f, 1, "?clusterId="+made), b.keyIDs(f, 2, "?clusterId="+made)...); len(left) > 0 {
		t.Errorf("keys deleted outside: %v", left)
	}
	list := b.call(f, "GET", "/api/auth/v1/accounts/"+f.CloudAccountID+"/management-keys", nil).want(t, 200)
	for i := range list.get("items").([]any) {
		if strings.HasPrefix(f.ManagementKey, list.get("items", i, "prefix").(string)) {
			outside("revoke_key", map[string]any{"cluster": "", "key": list.get("items", i, "id")})
		}
	}
	b.call(f, "GET", clustersPath(f), nil).want(t, 401)
}

// TestRandomFaults: the same seed does the same to the same calls, whatever else is asked in between; each kind occurs, as
// often as the share says; and they end.
func TestRandomFaults(t *testing.T) {
	fates := func(seed uint64, disturb bool) (all []string) {
		r := &randomFaults{Seed: seed, Share: 0.3, met: map[callOf]uint64{}}
		for range 2000 {
			if disturb {
				r.next("another", "ListClusters")
				r.next("one", "GetCluster")
			}
			word := ""
			if f := r.next("one", "ListClusters"); f != nil {
				if err := f.check(); err != nil {
					t.Fatal(err)
				}
				word = f.Kind
			}
			all = append(all, word)
		}
		return all
	}
	first := fates(7, false)
	if !slices.Equal(first, fates(7, true)) {
		t.Error("what an account meets depends on what others ask")
	}
	if slices.Equal(first, fates(8, false)) {
		t.Error("another seed does the same")
	}
	count := map[string]int{}
	for _, kind := range first {
		count[kind]++
	}
	if failed := len(first) - count[""]; failed < 500 || failed > 700 {
		t.Errorf("%d of %d calls met a fault, 600 were to be expected", failed, len(first))
	}
	for _, kind := range randomKinds() {
		if count[kind] < 20 {
			t.Errorf("%s occurs %d times", kind, count[kind])
		}
	}

	b := setup(t)
	b.lax = true
	f := b.fixture(0)
	b.ctl("POST", "random", map[string]any{"seed": 3, "share": 1, "kinds": []string{"html"}})
	if status, _, _, err := b.try(t.Context(), f, "GET", clustersPath(f)); err != nil || status != 502 {
		t.Errorf("%d %v", status, err)
	}
	b.ctl("POST", "faults", map[string]any{"kind": "status", "status": 418, "times": 1})
	if status, _, _, err := b.try(t.Context(), f, "GET", clustersPath(f)); err != nil || status != 418 {
		t.Errorf("a fault that was set does not go first: %d %v", status, err)
	}
	b.ctl("DELETE", "faults", nil)
	if status, _, _, err := b.try(t.Context(), f, "GET", clustersPath(f)); err != nil || status != 200 {
		t.Errorf("after they were removed: %d %v", status, err)
	}
}
