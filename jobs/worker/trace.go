package worker

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/prairielambda/prairielambda/jobs"
)

// traced makes a request part of its gateway's trace.
func (w *Worker) traced(r *http.Request) (*http.Request, func()) {
	if w.cfg.Tracer == nil {
		return r, func() {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return r, func() {} // probes and scrapes belong to no call
	}
	ctx, span := w.cfg.Tracer.Start(ctx, "worker", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("prairie.id", r.Header.Get("Prairie-Id")), attribute.String("url.path", r.URL.Path)))
	return r.WithContext(ctx), func() { span.End() }
}

// tracePhases draws the phases of an invocation that has just ended.
func (w *Worker) tracePhases(ctx context.Context, p jobs.Phases) {
	if w.cfg.Tracer == nil {
		return
	}
	at := time.Now().Add(-p.Queue - p.Claim - p.Run - p.Collect)
	for _, phase := range []struct {
		name string
		took time.Duration
	}{{"queue", p.Queue}, {"claim", p.Claim}, {"run", p.Run}, {"collect", p.Collect}} {
		_, span := w.cfg.Tracer.Start(ctx, phase.name, trace.WithTimestamp(at))
		at = at.Add(phase.took)
		span.End(trace.WithTimestamp(at))
	}
}
