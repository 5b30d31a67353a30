package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	otel "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// How long a collector may take for one batch of spans, and how often a collector that fails is told of.
const (
	tracesTimeout = 10 * time.Second
	tracesTold    = 10 * time.Minute
)

// openTraces returns where spans go: to the collector of QM_TRACES_URL, or nowhere. stop sends what is left, within
// tracesTimeout. A collector that is slow or away holds up nobody: spans that do not fit into its queue are dropped.
func openTraces(ctx context.Context, s Settings, logger *slog.Logger) (provider trace.TracerProvider, stop func(context.Context), err error) {
	if s.TracesURL == nil {
		return noop.NewTracerProvider(), func(context.Context) {}, nil
	}
	client := &http.Client{
		Timeout:       tracesTimeout,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the headers are for this collector
	}
	exporter, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(s.TracesURL.String()), otlptracehttp.WithHeaders(s.TracesHeaders), otlptracehttp.WithTimeout(tracesTimeout),
		otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return nil, nil, errors.New("QM_TRACES_URL cannot be used to send traces") // the library's words may repeat the headers
	}
	sdk := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&toldExporter{SpanExporter: exporter, logger: logger, now: time.Now}, sdktrace.WithExportTimeout(tracesTimeout)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(s.TracesRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			otel.String("service.name", "quartermaster"), otel.String("service.version", versionText()))),
	)
	return sdk, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTimeout)
		defer cancel()
		if err := sdk.Shutdown(ctx); err != nil {
			logger.Warn("traces that were left are lost", "error", err)
		}
	}, nil
}

// toldExporter says in the log that spans cannot be sent, now and then. The library would say it to the whole
// process, in words of its own and each time.
type toldExporter struct {
	sdktrace.SpanExporter
	logger *slog.Logger
	now    func() time.Time

	last atomic.Int64 // when it was told, in nanoseconds
	lost atomic.Int64 // spans since
}

func (e *toldExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	lost := e.lost.Add(int64(len(spans)))
	now, last := e.now().UnixNano(), e.last.Load()
	if now-last >= int64(tracesTold) && e.last.CompareAndSwap(last, now) {
		e.lost.Add(-lost)
		e.logger.LogAttrs(ctx, slog.LevelWarn, "traces cannot be sent", slog.Int64("spans_lost", lost), slog.String("error", fmt.Sprintf("%.500s", err)))
	}
	return nil
}
