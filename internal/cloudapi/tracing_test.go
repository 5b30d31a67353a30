package cloudapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestSpansOfCalls: each attempt has a span that says what was called for which account and how it ended, with upstream's
// trace id; neither key nor what was asked and answered is in any, and upstream is told nothing of the trace.
func TestSpansOfCalls(t *testing.T) {
	seen := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen))
	calls := 0
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "trace") || strings.EqualFold(name, "baggage") {
				t.Errorf("upstream was told %s", name)
			}
		}
		w.Header().Set("qc-trace-id", fmt.Sprintf("upstream-trace-%d", calls))
		if calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprint(w, `{"items":[],"canary":"`+canaryKey+`"}`)
	}, func(c *Config) { c.Tracer = provider.Tracer("test") })
	conn := u.conn(Current)
	ctx, parent := provider.Tracer("test").Start(t.Context(), "a request")
	op := OpListClusters
	if _, err := conn.Do(ctx, op, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	parent.End()
	spans := seen.Ended()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want two attempts and their parent", len(spans))
	}
	for i, want := range []map[string]string{
		{"http.response.status_code": "503", "error.type": "unavailable", "qdrant.trace_id": "upstream-trace-1"},
		{"http.response.status_code": "200", "error.type": "", "qdrant.trace_id": "upstream-trace-2", "http.request.resend_count": "1"},
	} {
		span, got := spans[i], map[string]string{}
		for _, a := range span.Attributes() {
			got[string(a.Key)] = a.Value.String()
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("span %d: %s is %q, want %q", i, name, got[name], value)
			}
		}
		if span.Name() != "ListClusters" || got["quartermaster.account.id"] != "account-1" || got["quartermaster.request.id"] != "req-1" || got["url.template"] != op.Path {
			t.Errorf("span %d is %s with %v", i, span.Name(), got)
		}
		if span.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("span %d has another parent", i)
		}
		if text := fmt.Sprint(span.Name(), got, span.Status(), span.Events()); strings.Contains(text, canaryKey) || strings.Contains(text, accountID) {
			t.Errorf("span %d says too much: %s", i, text)
		}
	}
}
