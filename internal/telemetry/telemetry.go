// Package telemetry sends traces to an OpenTelemetry collector, where one is
// named by OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
// the other variables of OpenTelemetry's own SDK apply. Without one there are no
// traces and no cost. Spans hold names and times, never payloads.
package telemetry

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Open returns the tracer of a service, nil where no collector is named. flush
// sends what is left and is never nil; it does not wait longer than 5 s.
func Open(ctx context.Context, service string) (tracer trace.Tracer, flush func(), err error) {
	flush = func() {}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, flush, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, flush, fmt.Errorf("open traces: %w", err)
	}
	name := resource.NewSchemaless(attribute.String("service.name", service))
	own, err := resource.Merge(name, resource.Environment()) // OTEL_SERVICE_NAME wins
	if err != nil {
		own = name
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(own))
	return p.Tracer("github.com/prairielambda/prairielambda"), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.Shutdown(ctx) // a collector that is gone loses traces, and nothing else
	}, nil
}
