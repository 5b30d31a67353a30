package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/dbtest"
	"quartermaster/internal/devenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(floorDatabase) != "" { // this process is the floor of a benchmark
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := floorMain(ctx)
		stop()
		os.Exit(code)
	}
	dbtest.Main(m)
}

// served is a `quartermaster serve` with a database, an identity provider and a Cloud API of its own.
type served struct {
	t        *testing.T
	env      map[string]string
	base     string
	box      *sandbox.Sandbox
	provider *httptest.Server
	output   *lockedBuffer
	cancel   context.CancelFunc
	ended    chan int
	probe    *http.Client // asks whether it is ready
}

// freeAddress returns an address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// prepareServe makes the world around serve, and an environment that is right for it.
func prepareServe(t *testing.T) *served {
	t.Helper()
	return prepareServeOver(t, "http")
}

func prepareServeOver(t *testing.T, scheme string) *served {
	t.Helper()
	addr := freeAddress(t)
	return prepareServeAs(t, addr, scheme+"://"+addr, 1)
}

// prepareServeAs is prepareServe for a console that people find at base, with a Cloud API where things
// take that many times less time.
func prepareServeAs(t *testing.T, addr, base string, timeScale float64) *served {
	t.Helper()
	discard := slog.New(slog.NewTextHandler(io.Discard, nil))
	box, err := sandbox.New(sandbox.Config{Seed: 1, Logger: discard, Now: time.Now, ControlToken: "control", TimeScale: timeScale})
	if err != nil {
		t.Fatal(err)
	}
	upstream := listening(t, box.Handler())
	s := &served{t: t, box: box, base: base, output: &lockedBuffer{}, probe: http.DefaultClient}

	var provider http.Handler
	s.provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(s.provider.Close)
	provider, err = devenv.NewProvider(devenv.ProviderConfig{
		Issuer: s.provider.URL, ClientID: "console", ClientSecret: "secret", RedirectURI: s.base + "/auth/callback", LogoutURI: s.base + "/login",
		KeyPath: filepath.Join(t.TempDir(), "key.pem"), Members: append(devenv.Members(), crowdMembers()...), Logger: discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	db := dbtest.NewEmpty(t)
	s.env = map[string]string{
		"QM_ADDR": addr, "QM_METRICS_ADDR": "127.0.0.1:0", "QM_BASE_URL": s.base, "QM_DATABASE_URL": db.AppURL, "QM_MIGRATE_DATABASE_URL": db.OwnerURL,
		"QM_OIDC_ISSUER": s.provider.URL, "QM_OIDC_CLIENT_ID": "console", "QM_OIDC_CLIENT_SECRET": "secret", "QM_ADMIN_GROUPS": devenv.AdminGroup,
		"QM_KEK": goodEnvironment()["QM_KEK"], "QM_CLOUD_API_URL": upstream, "QM_CLOUD_PA_URL": upstream,
		"QM_DRAIN_DELAY": "0s", // no load balancer watches
	}
	return s
}

// mostCrowd is how many people there are besides those that dev knows.
const mostCrowd = 50

// crowdMember is one of many who look at everything.
func crowdMember(i int) string { return fmt.Sprintf("viewer-%d@example.test", i) }

func crowdMembers() []devenv.Member {
	all := make([]devenv.Member, mostCrowd)
	for i := range all {
		all[i] = devenv.Member{Email: crowdMember(i), Name: fmt.Sprintf("Viewer %d", i), Groups: []string{devenv.ViewerGroup}, About: "looks at everything"}
	}
	return all
}

// listening serves until the end of the test, and returns the address.
func listening(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// with returns the environment with some variables left out, and others set by name and value.
func (s *served) with(drop []string, set ...string) environment {
	values := map[string]string{}
	for k, v := range s.env {
		values[k] = v
	}
	for _, name := range drop {
		delete(values, name)
	}
	for i := 0; i < len(set); i += 2 {
		values[set[i]] = set[i+1]
	}
	return environmentOf(values)
}

// start runs serve until stop, and waits until it is ready.
func (s *served) start(env environment) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1) // of this start; there may be several, one after another
	s.cancel, s.ended = cancel, ended
	go func() { ended <- run(ctx, []string{"serve"}, env, s.output, s.output) }()
	s.t.Cleanup(func() { s.stop() })
	s.waitReady()
}

func (s *served) waitReady() {
	s.t.Helper()
	deadline := time.Now().Add(startTime)
	for {
		if answer, err := s.probe.Get(s.base + "/readyz"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case code := <-s.ended:
			s.ended <- code
			s.t.Fatalf("serve ended with code %d\n%s", code, s.output)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("serve is not ready after %s\n%s", startTime, s.output)
		}
	}
}

func (s *served) stop() {
	s.t.Helper()
	s.cancel()
	select {
	case code := <-s.ended:
		s.ended <- code
		if code != exitOK {
			s.t.Errorf("serve ended with code %d\n%s", code, s.output)
		}
	case <-time.After(stopTime):
		s.t.Fatalf("serve did not stop in %s\n%s", stopTime, s.output)
	}
}

func TestMigrateServeAndCheck(t *testing.T) {
	s := prepareServe(t)
	owner := []string{"QM_MIGRATE_DATABASE_URL"}

	t.Run("serve refuses an empty database", func(t *testing.T) {
		got := runProgram(t, s.with(owner), "serve")
		if got.code != exitFailed || !strings.Contains(got.stderr, "run quartermaster migrate up") {
			t.Errorf("exit code %d: %s", got.code, got.stderr)
		}
	})
	t.Run("migrate", func(t *testing.T) {
		if got := runProgram(t, s.with(nil), "migrate", "status"); got.code != exitFailed {
			t.Errorf("status of an empty database: exit code %d: %s", got.code, got.stdout)
		}
		if got := runProgram(t, s.with(nil), "migrate", "down", "--steps", "99"); got.code != exitFailed || !strings.Contains(got.stderr, "has only 0 migrations to take back; nothing was changed") {
			t.Errorf("down by more than there is: exit code %d: %s", got.code, got.stderr)
		}
		for _, step := range []struct{ command, says string }{
			{"up", "brought the schema from version 0 to "}, {"down", "schema version"}, {"up", "brought the schema from version "}, {"up", "the schema needed nothing"}, {"status", "schema version"},
		} {
			if got := runProgram(t, s.with(nil), "migrate", step.command); got.code != exitOK || !strings.Contains(got.stdout, step.says) || !strings.Contains(got.stdout, "schema version") {
				t.Fatalf("%s: exit code %d: %s%s", step.command, got.code, got.stdout, got.stderr)
			}
		}
	})
	t.Run("check finds nothing wrong", func(t *testing.T) {
		got := runProgram(t, s.with(nil), "check")
		if got.code != exitOK || strings.Contains(got.stdout, "WRONG") {
			t.Errorf("exit code %d:\n%s%s", got.code, got.stdout, got.stderr)
		}
	})
	t.Run("check names everything that is wrong", func(t *testing.T) {
		nobody := "http://" + freeAddress(t)
		for name, test := range map[string]struct {
			env  environment
			want []string
		}{
			"redirect not registered": {s.with(nil, "QM_BASE_URL", "http://localhost:1"), []string{"redirect address: the provider answers 400"}},
			"another client":          {s.with(nil, "QM_OIDC_CLIENT_ID", "stranger"), []string{"redirect address: the provider answers 400"}},
			"issuer spelt otherwise":  {s.with(nil, "QM_OIDC_ISSUER", s.provider.URL+"/"), []string{"identity provider: it calls itself"}},
			"all at once": {
				s.with(nil, "QM_OIDC_ISSUER", nobody, "QM_CLOUD_API_URL", nobody, "QM_KEK", "base64:"+strings.Repeat("A", 43)+"="),
				[]string{"identity provider: ", "current Cloud API: ", "key: "},
			},
			"one user for both": {s.with(nil, "QM_DATABASE_URL", s.env["QM_MIGRATE_DATABASE_URL"]), []string{"name one user"}},
		} {
			got := runProgram(t, test.env, "check")
			if got.code != exitFailed {
				t.Errorf("%s: exit code %d", name, got.code)
			}
			for _, want := range test.want {
				if !strings.Contains(got.stdout, "WRONG  "+want) && !(want == "name one user" && strings.Contains(got.stdout, want)) {
					t.Errorf("%s: %q is not in:\n%s", name, want, got.stdout)
				}
			}
		}
	})
	t.Run("serve, sign in, stop", func(t *testing.T) {
		s.start(s.with(owner))
		v := newVisitor(t, s.base)
		if page := v.get("/login?login_hint=admin%40example.test"); page.status != http.StatusOK || page.bodyID() != "clusters-index" {
			t.Errorf("sign-in ended at %s with %d", page.url, page.status)
		}
		if got := runProgram(t, s.with(nil), "healthcheck", "--ready"); got.code != exitOK {
			t.Errorf("healthcheck: exit code %d: %s", got.code, got.stderr)
		}
		s.stop()
		if got := runProgram(t, s.with(nil), "healthcheck"); got.code != exitFailed {
			t.Errorf("healthcheck after the stop: exit code %d", got.code)
		}
		if out := s.output.String(); strings.Contains(out, s.env["QM_KEK"]) || !strings.Contains(out, `"msg":"console stopped"`) {
			t.Errorf("the log should tell of the stop, in JSON, and of no secret:\n%s", out)
		}
	})
	t.Run("audit verify and export", func(t *testing.T) {
		if got := runProgram(t, s.with(owner), "audit", "verify"); got.code != exitOK || !strings.Contains(got.stdout, "whole and unchanged") {
			t.Fatalf("verify: exit code %d: %s%s", got.code, got.stdout, got.stderr)
		}
		path := filepath.Join(t.TempDir(), "log.ndjson")
		if got := runProgram(t, s.with(owner), "audit", "export", "-o", path); got.code != exitOK {
			t.Fatalf("export: exit code %d: %s", got.code, got.stderr)
		}
		before := runProgram(t, s.with(owner), "audit", "verify").stdout
		if got := runProgram(t, s.with(owner), "audit", "export", "-o", path); got.code != exitFailed {
			t.Errorf("export over a file that exists: exit code %d", got.code)
		}
		if after := runProgram(t, s.with(owner), "audit", "verify").stdout; chainIn(after) == "" || chainIn(after) != chainIn(before) {
			t.Errorf("an export that did not happen is in the log:\n%s\n%s", before, after)
		}
		if got := runProgram(t, nil, "audit", "verify", "--file", path); got.code != exitOK {
			t.Errorf("verify of the export: exit code %d: %s%s", got.code, got.stdout, got.stderr)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(content, []byte("session.login")) || !bytes.Contains(content, []byte("audit.export")) {
			t.Error("the export does not tell of the sign-in and of itself")
		}
		changed := bytes.Replace(content, []byte("session.login"), []byte("session.logon"), 1)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := runProgram(t, nil, "audit", "verify", "--file", path); got.code != exitFailed || !strings.Contains(got.stdout, "PROBLEM at event") {
			t.Errorf("verify of a changed export: exit code %d: %s", got.code, got.stdout)
		}
	})
}

// chainIn returns the chain value that audit verify printed.
func chainIn(out string) string {
	_, after, _ := strings.Cut(out, "\nchain ")
	value, _, _ := strings.Cut(after, "\n")
	return value
}

// TestCheckNotesTheWayHere: what cannot be tried from the machine itself, and is forgotten easily.
func TestCheckNotesTheWayHere(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	for name, test := range map[string]struct {
		settings Settings
		want     string
	}{
		"a proxy without a name":     {Settings{Addr: ":8080", BaseURL: mustURL("https://console.example.com")}, "QM_TRUSTED_PROXIES"},
		"a proxy with one":           {Settings{Addr: ":8080", BaseURL: mustURL("https://console.example.com"), TrustedProxies: proxies}, ""},
		"https itself, another port": {Settings{Addr: ":8080", BaseURL: mustURL("https://console.example.com"), TLS: &tls.Certificate{}}, "browsers come to port 443 by QM_BASE_URL, and the console listens on 8080"},
		"https itself, that port":    {Settings{Addr: ":8443", BaseURL: mustURL("https://console.example.com:8443"), TLS: &tls.Certificate{}}, ""},
		"on this machine":            {Settings{Addr: ":8080", BaseURL: mustURL("http://localhost:8080")}, ""},
	} {
		found := (&program{settings: test.settings}).checkWay()
		if test.want == "" && len(found) == 0 {
			continue
		}
		if len(found) != 1 || !found[0].note || !strings.Contains(found[0].what, test.want) || test.want == "" {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestCheckTriesTheClientSecret(t *testing.T) {
	for name, test := range map[string]struct {
		methods, secret string
		answer          http.HandlerFunc
		want            string
	}{
		"accepted, in the header": {`["client_secret_basic"]`, "se:cret", func(w http.ResponseWriter, r *http.Request) {
			if id, secret, _ := r.BasicAuth(); id != "console" || secret != "se%3Acret" || r.FormValue("client_secret") != "" {
				t.Errorf("the secret did not come as the console sends it: %q %q", id, secret)
			}
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		}, "ok     client secret: the provider did not refuse it"},
		"accepted, in the form": {`["client_secret_post"]`, "secret", func(w http.ResponseWriter, r *http.Request) {
			if _, _, basic := r.BasicAuth(); basic || r.FormValue("client_id") != "console" || r.FormValue("client_secret") != "secret" {
				t.Errorf("the secret did not come as the console sends it: %v", r.Form)
			}
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		}, "ok     client secret: "},
		"refused": {`[]`, "other", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusBadRequest)
		}, "WRONG  client secret: the provider refuses QM_OIDC_CLIENT_ID with QM_OIDC_CLIENT_SECRET"},
		"refused without words": {`[]`, "other", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "WRONG  client secret: the provider refuses"},
		"nonsense":              {`[]`, "other", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "WRONG  client secret: the token endpoint answers 200, and not as one should"},
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			provider := httptest.NewServer(mux)
			defer provider.Close()
			mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `{"issuer":%[1]q,"authorization_endpoint":"%[2]s/a","token_endpoint":"%[2]s/t","jwks_uri":"%[2]s/k","token_endpoint_auth_methods_supported":%[3]s}`,
					provider.URL, provider.URL, test.methods)
			})
			mux.HandleFunc("/t", test.answer)
			env := goodEnvironment()
			env["QM_OIDC_ISSUER"], env["QM_OIDC_CLIENT_ID"], env["QM_OIDC_CLIENT_SECRET"] = provider.URL, "console", test.secret
			nobody := "127.0.0.1:1"
			env["QM_DATABASE_URL"], env["QM_CLOUD_API_URL"], env["QM_CLOUD_PA_URL"] = "postgres://a:b@"+nobody+"/c", "http://"+nobody, "http://"+nobody
			got := runProgram(t, environmentOf(env), "check")
			if !strings.Contains(got.stdout, test.want) || strings.Contains(got.stdout+got.stderr, test.secret+"\"") {
				t.Errorf("%q is not in:\n%s%s", test.want, got.stdout, got.stderr)
			}
		})
	}
}

func TestServeMigratesItselfWithoutProvider(t *testing.T) {
	s := prepareServe(t)
	s.provider.Close()
	s.start(s.with(nil))
	v := newVisitor(t, s.base)
	// The page is there and says so; 503 is for whoever watches from outside.
	if page := v.get("/login"); page.status != http.StatusServiceUnavailable || page.bodyID() != "sign-in" {
		t.Errorf("the sign-in page without a provider: status %d, body %q", page.status, page.bodyID())
	}
}

func TestServeSaysWhyItCannotStart(t *testing.T) {
	s := prepareServe(t)
	if got := runProgram(t, s.with(nil), "migrate", "up"); got.code != exitOK {
		t.Fatal(got.stderr)
	}
	wrongPassword := mustURL(s.env["QM_DATABASE_URL"])
	wrongPassword.User = url.UserPassword(wrongPassword.User.Username(), "canary-password")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	owner := []string{"QM_MIGRATE_DATABASE_URL"}
	for name, test := range map[string]struct {
		env  environment
		want string
	}{
		"a wrong password": {s.with(owner, "QM_DATABASE_URL", wrongPassword.String()), "refuses"},
		"a busy address":   {s.with(owner, "QM_ADDR", taken.Addr().String()), "is in use by another program; stop it, or set QM_ADDR"},
	} {
		got := runProgram(t, test.env, "serve")
		if got.code != exitFailed || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, "canary") {
			t.Errorf("%s: exit code %d: %s", name, got.code, got.stderr)
		}
	}
	s.start(s.with(owner))
	s.stop()
	got := runProgram(t, s.with(owner, "QM_KEK", "base64:"+strings.Repeat("A", 43)+"="), "serve")
	if got.code != exitFailed || !strings.Contains(got.stderr, "key") {
		t.Errorf("another key than the one before: exit code %d: %s", got.code, got.stderr)
	}
}

func TestServeTLS(t *testing.T) {
	s := prepareServeOver(t, "https")
	env := s.with(nil, s.serveTLS()...)
	s.start(env)
	answer, err := s.probe.Get(s.base + "/login")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("HTTP/%d, Strict-Transport-Security %q", answer.ProtoMajor, answer.Header.Get("Strict-Transport-Security"))
	}
	if got := runProgram(t, env, "healthcheck"); got.code != exitOK {
		t.Errorf("healthcheck: exit code %d: %s", got.code, got.stderr)
	}
}

// clientThatTrusts speaks https, over HTTP/2 where it can, with whoever has the certificate.
func clientThatTrusts(t *testing.T, cert string) *http.Client {
	t.Helper()
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: trusting(t, cert), ForceAttemptHTTP2: true}}
}

func trusting(t *testing.T, cert string) *tls.Config {
	t.Helper()
	trusted, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trusted)
	return &tls.Config{RootCAs: pool}
}

// selfSigned makes a certificate for 127.0.0.1 and returns the paths of its PEM files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestSandboxAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	output, ended := &lockedBuffer{}, make(chan int, 1)
	addr := freeAddress(t)
	go func() {
		ended <- run(ctx, []string{"sandbox", "--addr", addr, "--accounts", "2", "--clusters", "6", "--seed", "7"},
			environment{"QM_SANDBOX_CONTROL_ADDR=127.0.0.1:0", "QM_ADDR=127.0.0.1:1"}, output, output)
	}()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(output.String(), "key "); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the sandbox printed no key:\n%s", output)
		}
	}
	answer, err := http.Get("http://" + addr + "/api/account/v1/accounts")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a call without a key is answered with %d", answer.StatusCode)
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("the sandbox ended with code %d:\n%s", code, output)
	}
	if got := runProgram(t, nil, "sandbox", "--clusters", "many", "--seed=-1"); got.code != exitMisused || strings.Count(got.stderr, "\n  - ") != 2 {
		t.Errorf("wrong numbers: exit code %d: %s", got.code, got.stderr)
	}
}
