package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
)

// exportTimeout bounds what is left of the spans at shutdown.
const exportTimeout = 5 * time.Second

// startTracing exports spans of the requests to the API and of the calls to the engine below them
// over OTLP with HTTP, where OpenTelemetry's own variables name an endpoint; else it returns nil.
func startTracing(ctx context.Context, version string) (*trace.TracerProvider, error) {
	if !tracingWanted(os.Getenv) {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	// The environment comes last, so that it can name the service.
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "octobot"),
		attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))
	otel.SetTracerProvider(provider) // the engine's client asks there
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{},
		propagation.Baggage{}))
	return provider, nil
}

// tracingWanted reports whether the environment asks for traces: the SDK's exporter alone would
// take a missing endpoint for localhost's.
func tracingWanted(getenv func(string) string) bool {
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	return endpoint != "" && getenv("OTEL_TRACES_EXPORTER") != "none" &&
		!strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true")
}

// endTracing exports what is left.
func endTracing(provider *trace.TracerProvider) error {
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	return nil
}
