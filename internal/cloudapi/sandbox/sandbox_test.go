package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// bench is a sandbox with a clock that stands still until it is moved.
type bench struct {
	*Sandbox
	t       *testing.T
	clock   time.Time
	server  *httptest.Server
	control *httptest.Server
	lax     bool // answers are spelled differently, or faults are at work: no comparison
}

func setup(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, clock: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)}
	cfg := Config{Seed: 7, Now: func() time.Time { return b.clock }, ControlToken: "control-token"}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Sandbox = s
	b.server = httptest.NewServer(s.Handler())
	b.control = httptest.NewServer(s.Control())
	t.Cleanup(func() {
		b.server.Close()
		b.control.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// reply is an answer with its JSON.
type reply struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (b *bench) send(base, auth, method, path string, body any) reply {
	b.t.Helper()
	var raw []byte
	switch body := body.(type) {
	case nil:
	case string:
		raw = []byte(body)
	default:
		var err error
		if raw, err = json.Marshal(body); err != nil {
			b.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, base+path, bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	if raw != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if base == b.server.URL && !b.lax {
		if err := b.checkAnswer(req, raw, resp, data); err != nil {
			b.t.Errorf("%s %s: %v\n%.2000s", method, path, err, data)
		}
	}
	out := reply{status: resp.StatusCode, header: resp.Header, body: data}
	_ = json.Unmarshal(data, &out.json) // lists and empty bodies have no object
	return out
}

// call calls the API as a fixture.
func (b *bench) call(f Fixture, method, path string, body any) reply {
	b.t.Helper()
	return b.send(b.server.URL, "apikey "+f.ManagementKey, method, path, body)
}

// checkAnswer compares with the published definitions where they are at hand, and with the
// sandbox's own tables always.
func (b *bench) checkAnswer(req *http.Request, sent []byte, resp *http.Response, answer []byte) error {
	if strings.HasPrefix(req.URL.Path, "/pa/") == (resp.Header.Get("X-Qd-Request-Id") == "") {
		return errors.New("there is no trace id")
	}
	if strings.HasPrefix(req.URL.Path, "/pa/") != (resp.Header.Get("Grpc-Metadata-Qc-Trace-Id") == "") {
		return errors.New("there is no trace id")
	}
	if err := b.checkRules(req, resp, answer); err != nil {
		return err
	}
	c, err := loadContract()
	if err != nil || c == nil {
		return err
	}
	return c.check(req, sent, resp, answer)
}

// checkRules applies the definitions' field rules to an answer. The one exception is documented: an
// endpoint has no URL at first.
func (b *bench) checkRules(req *http.Request, resp *http.Response, answer []byte) error {
	r, _, _ := b.routes.match(req.Method, req.URL.EscapedPath())
	if resp.StatusCode != http.StatusOK || r == nil || r.out == nil {
		return nil
	}
	doc, err := readJSON(answer)
	if err != nil {
		return err
	}
	m, err := r.out.fromJSON(doc)
	if err != nil {
		return err
	}
	for _, v := range b.validator.validate(r.out, m) {
		if !strings.HasSuffix(v.Field, "endpoint.url") {
			return fmt.Errorf("the answer breaks %s at %s: %s", v.Rule, v.Field, v.Description)
		}
	}
	return nil
}

// account finds a fixture by generation; the first is the production account.
func (b *bench) fixture(n int) Fixture {
	b.t.Helper()
	return b.Fixtures()[n]
}

func clustersPath(f Fixture) string {
	return "/api/cluster/v1/accounts/" + f.CloudAccountID + "/clusters"
}

// clusterNamed returns the id of a seeded cluster.
func (b *bench) clusterNamed(f Fixture, name string) string {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, c := range b.accounts[f.CloudAccountID].clusters {
		if c.name() == name {
			return id
		}
	}
	b.t.Fatalf("there is no cluster %s", name)
	return ""
}

// get reads a value of an answer by its path; list items by number.
func (r reply) get(path ...any) any {
	var v any = r.json
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

// want fails the test unless the status is as wanted.
func (r reply) want(t *testing.T, status int) reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("answered %d, want %d: %.600s", r.status, status, r.body)
	}
	return r
}

func (b *bench) cluster(f Fixture, id string) reply {
	b.t.Helper()
	return b.call(f, "GET", clustersPath(f)+"/"+id, nil)
}

func (b *bench) phase(f Fixture, id string) string {
	b.t.Helper()
	r := b.cluster(f, id)
	if r.status != http.StatusOK {
		return fmt.Sprint(r.status)
	}
	phase, _ := r.get("cluster", "state", "phase").(string)
	return strings.TrimPrefix(phase, "CLUSTER_PHASE_")
}

// ctl calls the control surface and wants success.
func (b *bench) ctl(method, path string, body any) reply {
	b.t.Helper()
	r := b.send(b.control.URL, "Bearer control-token", method, "/_sandbox/"+path, body)
	if r.status >= 300 {
		b.t.Fatalf("%s %s answered %d: %s", method, path, r.status, r.body)
	}
	return r
}
