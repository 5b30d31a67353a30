package web

import (
	"context"
	"slices"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// startSpan begins the span of a request: its method, the pattern of its route and its id, by which the log line and the
// events are found. Who asked, from where and for what is not in it. It begins a trace of its own: a stranger's traceparent
// would decide what is kept, and whom it is joined to. Probes, files and streams have none, because they say nothing.
func (s *Server) startSpan(ctx context.Context, c echo.Context) (context.Context, trace.Span) {
	route := routePattern(c)
	if s.opts.Tracer == nil || slices.Contains([]string{pathHealth, pathReady, pathStatic, pathLive}, route) {
		return ctx, noop.Span{}
	}
	method := methodLabel(c.Request().Method)
	ctx, span := s.opts.Tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot())
	span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.String("quartermaster.request.id", requestID(c)))
	return ctx, span
}

// endedSpan says with which status the request was answered.
func endedSpan(span trace.Span, status int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= 500 {
		span.SetStatus(codes.Error, "")
	}
}
