package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestRequestOnTheWire looks at everything a request consists of.
func TestRequestOnTheWire(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name                string
		do                  func(u *testUpstream) error
		method, uri, body   string
		authorization, kind string
	}{
		{
			"list", func(u *testUpstream) error {
				_, err := NewCurrentAPI(u.conn(Current)).ListClusters(ctx, "to ken&x=1")
				return err
			},
			"GET", "/api/cluster/v1/accounts/" + accountID + "/clusters?pageSize=250&pageToken=to+ken%26x%3D1", "", "apikey " + canaryKey, "",
		},
		{
			"restart", func(u *testUpstream) error { return NewCurrentAPI(u.conn(Current)).RestartCluster(ctx, clusterID) },
			"POST", "/api/cluster/v1/accounts/" + accountID + "/clusters/" + clusterID + "/restart", "", "apikey " + canaryKey, "",
		},
		{
			"delete", func(u *testUpstream) error {
				return NewCurrentAPI(u.conn(Current)).DeleteCluster(ctx, clusterID, false)
			},
			"DELETE", "/api/cluster/v1/accounts/" + accountID + "/clusters/" + clusterID + "?deleteBackups=false", "", "apikey " + canaryKey, "",
		},
		{
			"legacy delete", func(u *testUpstream) error { return NewLegacyAPI(u.conn(PAV1)).DeleteCluster(ctx, clusterID, true) },
			"DELETE", "/pa/v1/accounts/" + accountID + "/clusters/" + clusterID + "?delete_backups=true", "", "apikey " + canaryKey, "",
		},
		{
			"update fills both placeholders", func(u *testUpstream) error {
				_, err := u.conn(Current).Do(ctx, OpUpdateCluster, Params{"cluster.id": "a/b?c#d%2e e"}, nil, map[string]any{"updateMask": "name"})
				return err
			},
			"PUT", "/api/cluster/v1/accounts/" + accountID + "/clusters/a%2Fb%3Fc%23d%252e%20e", `{"updateMask":"name"}`, "apikey " + canaryKey, "application/json",
		},
		{
			"a public operation carries no key", func(u *testUpstream) error {
				_, err := u.conn(Current).Do(ctx, OpListGlobalCloudProviders, nil, nil, nil)
				return err
			},
			"GET", "/api/platform/v1/cloud-providers", "", "", "",
		},
		{
			"legacy packages of hybrid", func(u *testUpstream) error {
				_, err := NewLegacyAPI(u.conn(PAV1)).Packages(ctx, "hybrid", "some-environment")
				return err
			},
			"GET", "/pa/v1/booking/packages?provider=private&region=private", "", "apikey " + canaryKey, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/pa/") && r.Method == http.MethodGet {
					answer(w, 200, "[]")
					return
				}
				answer(w, 200, "{}")
			})
			if err := c.do(u); err != nil {
				t.Fatal(err)
			}
			r, body := u.request(0)
			got := []string{r.Method, r.RequestURI, body, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.UserAgent(), r.Header.Get("Accept-Encoding")}
			want := []string{c.method, c.uri, c.body, c.authorization, c.kind, "quartermaster/1.2.3 (request req-1)", ""}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if u.count() != 1 {
				t.Errorf("%d requests", u.count())
			}
		})
	}
}

// TestNothingIsSent: what cannot be right never reaches upstream.
func TestNothingIsSent(t *testing.T) {
	u := newUpstream(t, answering(200, "{}"))
	ctx := t.Context()
	get := func(id string) error {
		_, err := u.conn(Current).Do(ctx, OpGetCluster, Params{"cluster_id": id}, nil, nil)
		return err
	}
	with := func(cfg ConnConfig) error {
		_, err := NewCurrentAPI(u.client.Connect(cfg)).ListClusters(ctx, "")
		return err
	}
	key := NewSecret([]byte(canaryKey))
	for name, c := range map[string]struct {
		err  error
		kind Kind
	}{
		"empty parameter":       {get(""), Invalid},
		"dot":                   {get("."), Invalid},
		"dot dot":               {get(".."), Invalid},
		"line break":            {get("a\r\nX: y"), Invalid},
		"NUL":                   {get("a\x00"), Invalid},
		"not UTF-8":             {get("\xff\xfe"), Invalid},
		"endless parameter":     {get(strings.Repeat("a", 257)), Invalid},
		"missing parameter":     {do(u, OpGetCluster, nil, nil), Invalid},
		"parameter too many":    {do(u, OpListClusters, Params{"x": "y"}, nil), Invalid},
		"another account":       {do(u, OpListClusters, Params{"account_id": clusterID}, nil), Invalid},
		"body where none is":    {do(u, OpRestartCluster, Params{"cluster_id": clusterID}, map[string]any{}), Invalid},
		"body that is not JSON": {do(u, OpCreateCluster, nil, func() {}), Invalid},
		"no account":            {with(ConnConfig{Generation: Current, Key: key}), Invalid},
		"no key":                {with(ConnConfig{Generation: Current, CloudAccountID: accountID}), Unauthenticated},
		"key with a line break": {with(ConnConfig{Generation: Current, CloudAccountID: accountID, Key: NewSecret([]byte(canaryKey + "\r\nX: y"))}), Unauthenticated},
		"key with a space":      {with(ConnConfig{Generation: Current, CloudAccountID: accountID, Key: NewSecret([]byte("a " + canaryKey))}), Unauthenticated},
		"key beyond ASCII":      {with(ConnConfig{Generation: Current, CloudAccountID: accountID, Key: NewSecret([]byte("ключ"))}), Unauthenticated},
		"endless key":           {with(ConnConfig{Generation: Current, CloudAccountID: accountID, Key: NewSecret([]byte(strings.Repeat("k", 5000)))}), Unauthenticated},
		"a legacy page":         {legacyPage(u), Invalid},
	} {
		e := failed(t, c.err)
		if e.Kind != c.kind || e.Status != 0 || e.OutcomeUnknown || e.Public() == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if u.count() != 0 {
		t.Errorf("%d requests were sent", u.count())
	}
}

func do(u *testUpstream, op Op, params Params, body any) error {
	_, err := u.conn(Current).Do(context.Background(), op, params, nil, body)
	return err
}

func legacyPage(u *testUpstream) error {
	_, err := NewLegacyAPI(u.conn(PAV1)).ListClusters(context.Background(), "2")
	return err
}

// TestUnsupported: what a generation lacks is named and never sent.
func TestUnsupported(t *testing.T) {
	u := newUpstream(t, answering(200, "{}"))
	ctx := t.Context()
	legacy := NewLegacyAPI(u.conn(PAV1))
	_, accounts := legacy.Accounts(ctx)
	_, permissions := legacy.Permissions(ctx)
	_, keys := legacy.ManagementKeys(ctx)
	_, providers := legacy.Providers(ctx)
	_, regions := legacy.Regions(ctx, "aws")
	_, releases := legacy.Releases(ctx, "")
	_, crossed := u.conn(PAV1).Do(ctx, OpListClusters, nil, nil, nil)
	_, peopleOnly := u.conn(Current).Do(ctx, OpCreateAccount, nil, nil, map[string]any{})
	for _, err := range []error{accounts, permissions, keys, providers, regions, releases, crossed, peopleOnly,
		legacy.RestartCluster(ctx, clusterID), legacy.SuspendCluster(ctx, clusterID), legacy.UnsuspendCluster(ctx, clusterID),
		legacy.DeleteManagementKey(ctx, clusterID)} {
		unsupported, ok := errors.AsType[*UnsupportedError](err)
		if !ok || unsupported.Op == "" || !strings.HasSuffix(unsupported.Reason, ".") {
			t.Errorf("%T %v, want *UnsupportedError with a sentence", err, err)
		}
	}
	if got := legacy.RestartCluster(ctx, clusterID).Error(); got != "RestartCluster: The legacy pa/v1 API has no restart." {
		t.Errorf("restart: %s", got)
	}
	if u.count() != 0 {
		t.Errorf("%d requests were sent", u.count())
	}
}

// TestAddresses: New takes scheme and host, and no address a key must not go to.
func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://api.example.test":       true,
		"https://api.example.test/":      true,
		"https://api.example.test/pa/v1": true,
		"http://127.0.0.1:8082":          true,
		"http://[::1]:8082":              true,
		"http://localhost:8082":          true,
		"http://api.example.test":        false,
		"http://127.0.0.1.example.test":  false,
		"https://user:pw@example.test":   false,
		"https://example.test/other":     false,
		"https://example.test?x=1":       false,
		"https://example.test#x":         false,
		"https://":                       false,
		"ftp://example.test":             false,
		"file:///etc/passwd":             false,
		"example.test":                   false,
	} {
		client, err := New(Config{CurrentURL: mustURL(t, address), PAURL: mustURL(t, address)})
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if err == nil && (client.legacy.Path != "" || client.current.Path != "") {
			t.Errorf("%s: path kept", address)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: the password is in the error", address)
		}
	}
	if _, err := New(Config{CurrentURL: mustURL(t, "http://sandbox:8082"), AllowPlainHTTP: true}); err != nil {
		t.Error(err)
	}
	client, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if client.current.String() != DefaultCurrentURL || client.legacy.String() != DefaultPAURL {
		t.Errorf("defaults are %s and %s", client.current, client.legacy)
	}
	if client.transport.Proxy != nil {
		t.Error("a proxy is used that nobody configured")
	}
}

// TestMetricsAndCalls: each attempt is counted, each call remembered without its body.
func TestMetricsAndCalls(t *testing.T) {
	n := 0
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Grpc-Metadata-Qc-Trace-Id", fmt.Sprintf("trace-%d", n))
		if n++; n == 1 {
			answer(w, 503, `{"code":14,"message":"soon"}`)
			return
		}
		answer(w, 200, `{"items":[]}`)
	})
	conn := u.conn(Current)
	if _, err := NewCurrentAPI(conn).ListClusters(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := NewCurrentAPI(conn).RestartCluster(t.Context(), ".."); err == nil {
		t.Fatal("no error")
	}
	want := map[string]float64{"current ok ListClusters": 1, "current unavailable ListClusters": 1}
	if diff := cmp.Diff(want, u.counted()); diff != "" {
		t.Error(diff)
	}
	calls := conn.Calls()
	if len(calls) != 2 || calls[0].Op.Name != "ListClusters" || calls[0].TraceID != "trace-1" || calls[0].Err != nil || calls[0].Body != nil {
		t.Errorf("calls: %+v", calls)
	}
	if len(calls) == 2 && calls[1].Err == nil {
		t.Error("the refused call has no error")
	}
	if _, err := New(Config{Registerer: u.registry}); err == nil {
		t.Error("a second client took the same metrics")
	}
	if _, err := New(Config{Registerer: prometheus.NewRegistry()}); err != nil {
		t.Error(err)
	}
}

// TestBudget: an account that spent its turns waits no longer than its deadline, and others do not wait.
func TestBudget(t *testing.T) {
	u := newUpstream(t, answering(200, `{"items":[]}`), func(c *Config) { c.RPS = 0.01 })
	list := func(budget string) error {
		conn := u.client.Connect(ConnConfig{Generation: Current, CloudAccountID: accountID, Key: NewSecret([]byte(canaryKey)), Budget: budget})
		_, err := NewCurrentAPI(conn).ListClusters(t.Context(), "")
		return err
	}
	if err := list("a"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e := failed(t, list("a"))
		if e.Kind != RateLimited || e.Status != 0 || e.OutcomeUnknown || e.RetryAfter <= 0 || e.RetryAfter > 100*time.Second {
			t.Errorf("%+v, want to be held back by our own budget for at most the one turn", e)
		}
	}
	for _, budget := range []string{"b", "", "", ""} {
		if err := list(budget); err != nil {
			t.Errorf("budget %q: %v", budget, err)
		}
	}
	if u.count() != 5 {
		t.Errorf("%d requests, want 5", u.count())
	}
	if n := u.timed(); n != 5 {
		t.Errorf("%d requests were timed; what was not sent takes no time", n)
	}
	if diff := cmp.Diff(map[string]float64{"current ok ListClusters": 5, "current held_back ListClusters": 3}, u.counted()); diff != "" {
		t.Error(diff)
	}
}

// TestGatesAreBounded: names come from accounts, and those come and go.
func TestGatesAreBounded(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	b := newGates(Config{RPS: 1}, func() time.Time { return now }, func() float64 { return 0 })
	for i := range maxGates + 100 {
		now = now.Add(time.Millisecond)
		if _, refused := b.at(fmt.Sprint(i)).enter(t.Context(), OpListClusters, looking); refused != nil {
			t.Fatalf("a new account's first call: %v", refused)
		}
		if i >= 1 {
			b.find(fmt.Sprint(i)).leave(turn{}, told{})
		}
	}
	if len(b.byName) != maxGates {
		t.Errorf("%d accounts", len(b.byName))
	}
	if b.byName["0"] == nil || b.byName["1"] != nil || b.byName[fmt.Sprint(maxGates+99)] == nil {
		t.Error("not the idlest went of those with no call under way")
	}
	now = now.Add(keptIdle + time.Second)
	left := 0
	b.each(func(name string, _ *gate) { left++ })
	if left != 1 {
		t.Errorf("%d accounts an hour later, want the one with a call under way", left)
	}
}

// TestCallerGivesUp: a caller's cancellation and deadline are told apart and both found in the error.
func TestCallerGivesUp(t *testing.T) {
	arrived := make(chan struct{}, 10)
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	e := failed(t, oneRead.do(ctx, u))
	if e.Kind != Unavailable || e.Timeout || !errors.Is(e, context.Canceled) {
		t.Errorf("cancelled: %+v", e)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	e = failed(t, oneRead.do(ctx, u))
	if e.Kind != Unavailable || !e.Timeout || !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("deadline: %+v", e)
	}
	before := u.count()
	e = failed(t, oneRead.do(ctx, u))
	if e.Kind != Unavailable || !e.Timeout || e.OutcomeUnknown || u.count() != before {
		t.Errorf("a call begun after the deadline: %+v, %d requests", e, u.count()-before)
	}
}

// TestKeyIsRevealedOnce: requests are signed in one place of this package.
func TestKeyIsRevealedOnce(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var sites []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for range strings.Count(string(source), ".Reveal()") {
			sites = append(sites, file)
		}
	}
	if diff := cmp.Diff([]string{"call.go"}, sites); diff != "" {
		t.Error(diff)
	}
}

// TestSecretDoesNotPrint through any of the ways things are printed.
func TestSecretDoesNotPrint(t *testing.T) {
	secret := NewSecret([]byte(canaryKey))
	wrapped := struct {
		Open   Secret
		hidden Secret
		cfg    ConnConfig
	}{secret, secret, ConnConfig{Key: secret}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		assertClean(t, verb, fmt.Sprintf(verb, secret))
		assertClean(t, verb, fmt.Sprintf(verb, wrapped))
		assertClean(t, verb, fmt.Sprintf(verb, &wrapped))
	}
}
