package accounts

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"quartermaster/internal/cloudapi"
)

// traced does one refresh of a kind in a span of its own, a trace by itself: the calls that it makes are below it. The span says of
// which account, what became of it and why; nothing that was read is in it.
func (s *Service) traced(ctx context.Context, kind string, l lease, refresh func(ctx context.Context) error) error {
	if s.cfg.Tracer == nil {
		return refresh(ctx)
	}
	ctx, span := s.cfg.Tracer.Start(ctx, "refresh "+kind, trace.WithSpanKind(trace.SpanKindInternal), trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("quartermaster.refresh.kind", kind), attribute.String("quartermaster.account.id", l.AccountID.String()),
		attribute.Int("quartermaster.refresh.failures", l.Failures), attribute.Bool("quartermaster.background", true)))
	defer span.End()
	err := refresh(ctx)
	outcome := "ok"
	switch {
	case err == nil:
	case errors.Is(err, errLeaseLost):
		outcome = "lost"
	case ctx.Err() != nil || conflicting(err):
		outcome = "dropped"
	case errors.Is(err, errBusy):
		outcome = "busy"
	default:
		outcome = "failed"
		span.SetStatus(codes.Error, "")
		cause := "console"
		if refused, ok := cloudapi.AsError(err); ok {
			cause = string(refused.Kind)
		} else if _, unbelieved := errors.AsType[*listingError](err); unbelieved {
			cause = "listing"
		}
		span.SetAttributes(attribute.String("error.type", cause))
	}
	span.SetAttributes(attribute.String("quartermaster.outcome", outcome))
	return err
}
