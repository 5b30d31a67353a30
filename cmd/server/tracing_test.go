package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanCollector takes what a program sends by OTLP.
type spanCollector struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	spans   []*tracev1.Span
	raw     bytes.Buffer
	headers []http.Header
}

func newSpanCollector(t *testing.T, status int) *spanCollector {
	t.Helper()
	c := &spanCollector{t: t}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unzipped
		}
		raw, err := io.ReadAll(body)
		var sent collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &sent) != nil {
			t.Errorf("%s: %v, %d bytes", r.URL.Path, err, len(raw))
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(raw)
		c.headers = append(c.headers, r.Header)
		for _, resource := range sent.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(c.Close)
	return c
}

// TestTracesTellWhatARequestAsked restarts a cluster with a collector beside: the request's span and that of the call it
// made are one trace, nobody's name or address and no key is in what was sent, and the last spans arrive at the stop.
func TestTracesTellWhatARequestAsked(t *testing.T) {
	to := newSpanCollector(t, http.StatusOK)
	p := startDev(t, "QM_TRACES_URL="+to.URL, "QM_TRACES_HEADERS=x-team=canary-header")
	v := p.signIn(t, "operator@example.test")
	row := restartable(t, v)
	cluster := "/accounts/" + row["data-account"] + "/clusters/" + row["data-cluster"]
	if done := v.post(cluster+"/restart", nil); done.status != http.StatusOK {
		t.Fatalf("the restart ended with %d", done.status)
	}
	v.get("/clusters?q=canary-search")
	p.stop()

	to.mu.Lock()
	defer to.mu.Unlock()
	var request, call *tracev1.Span
	for _, span := range to.spans {
		switch {
		case strings.HasPrefix(span.Name, "POST /accounts/") && strings.HasSuffix(span.Name, "/restart"):
			request = span
		case span.Name == "RestartCluster":
			call = span
		}
		if strings.Contains(span.Name, "/healthz") || strings.Contains(span.Name, "/static") || strings.Contains(span.Name, "/live") {
			t.Errorf("there is a span of %s", span.Name)
		}
	}
	refreshes, below := map[string]*tracev1.Span{}, map[string]bool{}
	for _, span := range to.spans {
		if kind, is := strings.CutPrefix(span.Name, "refresh "); is {
			refreshes[string(span.SpanId)] = span
			said := map[string]string{}
			for _, a := range span.Attributes {
				said[a.Key] = a.Value.GetStringValue()
			}
			if said["quartermaster.refresh.kind"] != kind || said["quartermaster.account.id"] == "" || said["quartermaster.outcome"] == "" || len(span.ParentSpanId) > 0 {
				t.Errorf("the span of a refresh says %v", said)
			}
		}
	}
	for _, span := range to.spans {
		if refresh := refreshes[string(span.ParentSpanId)]; refresh != nil {
			below[refresh.Name+" "+span.Name] = true
		}
	}
	if !below["refresh clusters ListClusters"] {
		t.Errorf("the call that lists clusters is below no refresh: %v", below)
	}
	if request == nil || call == nil {
		t.Fatalf("of %d spans none is the request's (%v) or the call's (%v)", len(to.spans), request != nil, call != nil)
	}
	if !bytes.Equal(request.TraceId, call.TraceId) || !bytes.Equal(call.ParentSpanId, request.SpanId) || len(request.ParentSpanId) > 0 {
		t.Errorf("the call is not below the request: %v, %v", request, call)
	}
	names := map[string]bool{}
	for _, a := range call.Attributes {
		names[a.Key] = a.Value.GetStringValue() != "" || a.Value.GetIntValue() != 0
	}
	for _, name := range []string{"qdrant.trace_id", "quartermaster.account.id", "quartermaster.request.id", "http.response.status_code"} {
		if !names[name] {
			t.Errorf("the call's span does not say %s", name)
		}
	}
	for _, never := range []string{"operator@example.test", "canary-search", "canary-header", row["data-cluster"], "apikey", p.about.Spare.ManagementKey} {
		if bytes.Contains(to.raw.Bytes(), []byte(never)) {
			t.Errorf("%q is in what was sent", never)
		}
	}
	if to.headers[0].Get("X-Team") != "canary-header" {
		t.Error("the headers were not sent along")
	}
	if strings.Contains(p.output.String(), "canary-header") {
		t.Error("the headers are in the log")
	}
}

// TestTracesThatCannotBeSent: a collector that refuses is told of once, and holds up neither pages nor the stop.
func TestTracesThatCannotBeSent(t *testing.T) {
	to := newSpanCollector(t, http.StatusForbidden)
	p := startDev(t, "QM_TRACES_URL="+to.URL)
	v := p.signIn(t, "operator@example.test")
	if got := v.get("/clusters"); got.status != http.StatusOK {
		t.Errorf("the fleet answers %d", got.status)
	}
	begun := time.Now()
	p.stop()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if n := strings.Count(p.output.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, p.output)
	}
}
