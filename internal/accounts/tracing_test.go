package accounts

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"quartermaster/internal/cloudapi"
)

// TestRefreshesHaveSpans: each refresh of a kind is a trace by itself that says of which account and what became of it, with its
// calls below, also those made side by side; and nothing that was read is in it.
func TestRefreshesHaveSpans(t *testing.T) {
	r := newRig(t)
	r.serveAlerts(t)
	seen := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen))
	address, err := url.Parse(r.up.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	traced, err := cloudapi.New(cloudapi.Config{CurrentURL: address, PAURL: address, Tracer: provider.Tracer("cloudapi")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traced.Close)
	s := r.replica(t, func(c *Config) { c.Cloud, c.Tracer = traced, provider.Tracer("accounts") })
	id, at := r.account(t, "Canary account", Production)
	at.add(3)
	r.refresh(t, s, id)
	if _, err := s.readKindOnce(t.Context(), kindAlerts); err != nil {
		t.Fatal(err)
	}
	at.set(func(a *scriptedAccount) { a.status = 403 })
	r.refresh(t, s, id)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.traced(ctx, kindKeys, lease{}, func(ctx context.Context) error { return ctx.Err() }); err == nil {
		t.Error("the error is lost")
	}
	var told []string
	parents := map[string]string{}
	for _, span := range seen.Ended() {
		said := map[string]string{}
		for _, a := range span.Attributes() {
			said[string(a.Key)] = a.Value.String()
		}
		if strings.HasPrefix(span.Name(), "refresh ") {
			told = append(told, fmt.Sprint(span.Name(), " ", said["quartermaster.outcome"], " ", said["error.type"]))
			if span.Parent().IsValid() || span.Name() != "refresh "+said["quartermaster.refresh.kind"] || span.Name() != "refresh keys" && said["quartermaster.account.id"] != id.String() {
				t.Errorf("%s says %v", span.Name(), said)
			}
			parents[span.SpanContext().SpanID().String()] = span.Name()
		}
		if text := fmt.Sprint(span.Name(), said, span.Events()); strings.Contains(text, "Canary") || strings.Contains(text, at.key) || strings.Contains(text, "cluster-0") {
			t.Errorf("a span says too much: %s", text)
		}
	}
	slices.Sort(told)
	want := []string{"refresh alerts ok ", "refresh clusters failed forbidden", "refresh clusters ok ", "refresh keys dropped "}
	if !slices.Equal(told, want) {
		t.Errorf("refreshes are %q, want %q", told, want)
	}
	below := map[string]int{}
	for _, span := range seen.Ended() {
		below[parents[span.Parent().SpanID().String()]+"/"+span.Name()]++
	}
	if below["refresh clusters/ListClusters"] != 2 || below["refresh alerts/ListClusterAlerts"] != 3 {
		t.Errorf("calls are %v", below)
	}
}
