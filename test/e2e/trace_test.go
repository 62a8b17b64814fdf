package e2e

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP collector in this process.
type receiver struct {
	mu    sync.Mutex              // guards spans and raw
	spans map[string]*traces.Span // by service and name
	raw   []byte
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, b...)
	for _, rs := range req.ResourceSpans {
		service := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				if hex.EncodeToString(s.TraceId) == theirTrace {
					c.spans[service+" "+s.Name] = s
				}
			}
		}
	}
}

const theirTrace = "0af7651916cd43dd8448eb211c80319c"

func (c *receiver) span(name string) *traces.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans[name]
}

func TestOneTraceFromCallerToSandbox(t *testing.T) {
	c := &receiver{spans: map[string]*traces.Span{}}
	srv := httptest.NewServer(c)
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	s, _ := start(t)
	worker, _ := second(t, s)
	at, _ := anotherGateway(t, s, worker)
	req, err := http.NewRequest(http.MethodPost, at.Gateway+cubic, strings.NewReader(`{"method":"generate","data":{"params":{},"correct_answers":{},"variant_seed":1234567}}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Prairie-Id", "one.id")
	req.Header.Set("Traceparent", "00-"+theirTrace+"-b7ad6b7169203331-01")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "one.id", resp.Header.Get("Prairie-Id"))

	chain := []string{"prairie-gateway invoke", "prairie-gateway ask worker", "prairie-worker worker", "prairie-worker run"}
	require.Eventually(t, func() bool {
		for _, name := range append(chain, "prairie-worker queue", "prairie-worker claim", "prairie-worker collect") {
			if c.span(name) == nil {
				return false
			}
		}
		return true
	}, 30*time.Second, 20*time.Millisecond)
	parent := "b7ad6b7169203331"
	for _, name := range chain {
		span := c.span(name)
		require.Equal(t, parent, hex.EncodeToString(span.ParentSpanId), name)
		require.LessOrEqual(t, span.StartTimeUnixNano, span.EndTimeUnixNano)
		parent = hex.EncodeToString(span.SpanId)
	}
	// One id: the same in both logs and in the spans.
	for _, log := range []string{"worker", "scheduler"} {
		b, err := os.ReadFile(s.Log(log))
		require.NoError(t, err)
		require.Contains(t, string(b), `"id":"one.id"`, log)
	}
	for _, name := range []string{"prairie-gateway invoke", "prairie-worker worker"} {
		id := ""
		for _, a := range c.span(name).Attributes {
			if a.Key == "prairie.id" {
				id = a.Value.GetStringValue()
			}
		}
		require.Equal(t, "one.id", id, name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	require.False(t, bytes.Contains(c.raw, []byte("1234567")), "no payload in a trace")
}
