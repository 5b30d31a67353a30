package cloudapi

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the span of one attempt. Spans of calls carry upstream's trace id, which upstream's support asks for,
// and name the operation, our account and the template of the path. What is asked and answered is in none, nor is the key; and
// no header tells upstream of our trace.
func (c *Conn) startSpan(ctx context.Context, op Op, attempt int) (context.Context, trace.Span) {
	ctx, span := c.client.tracer.Start(ctx, op.Name, trace.WithSpanKind(trace.SpanKindClient))
	if !span.IsRecording() {
		return ctx, span
	}
	span.SetAttributes(
		attribute.String("http.request.method", op.Method), attribute.String("url.template", op.Path),
		attribute.String("quartermaster.api", string(op.Generation)), attribute.String("quartermaster.account.id", c.cfg.Budget),
		attribute.Bool("quartermaster.background", c.cfg.Background))
	if attempt > 1 {
		span.SetAttributes(attribute.Int("http.request.resend_count", attempt-1))
	}
	if c.cfg.RequestID != "" {
		span.SetAttributes(attribute.String("quartermaster.request.id", c.cfg.RequestID))
	}
	return ctx, span
}

// endSpan says how the attempt ended.
func endSpan(span trace.Span, answer Answer, failed *Error) {
	if span.IsRecording() {
		if answer.Status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", answer.Status))
		}
		if answer.TraceID != "" {
			span.SetAttributes(attribute.String("qdrant.trace_id", answer.TraceID))
		}
		if failed != nil {
			span.SetAttributes(attribute.String("error.type", string(failed.Kind)))
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}
