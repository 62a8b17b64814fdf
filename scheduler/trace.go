package scheduler

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// beginSpan makes the exchange a part of its caller's trace, or the beginning of
// one. The fleet makes a span of its own for every request to a worker.
func (g *Gateway) beginSpan(x *exchange) {
	if g.cfg.Tracer == nil {
		return
	}
	ctx := propagation.TraceContext{}.Extract(x.r.Context(), propagation.HeaderCarrier(x.r.Header))
	ctx, x.span = g.cfg.Tracer.Start(ctx, "call", trace.WithSpanKind(trace.SpanKindServer))
	x.r = x.r.WithContext(ctx)
}

// endSpan says what the log line says.
func (x *exchange) endSpan() {
	if x.span == nil {
		return
	}
	n := &x.note
	x.span.SetName(n.verb)
	for k, v := range map[string]string{
		"prairie.id": x.id, "prairie.course": n.course, "prairie.version": n.version, "prairie.name": n.name,
		"prairie.method": n.method, "prairie.outcome": n.outcome, "prairie.cache": n.cache,
	} {
		if v != "" {
			x.span.SetAttributes(attribute.String(k, v))
		}
	}
	x.span.SetAttributes(attribute.Int("http.response.status_code", n.status))
	if n.status >= http.StatusInternalServerError {
		x.span.SetStatus(codes.Error, n.outcome)
	}
	x.span.End()
}
