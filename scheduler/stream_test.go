package scheduler_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

// stepped is a course whose second method waits for a word.
func stepped(t *testing.T) (w *fleettest.Worker, url string, word chan struct{}) {
	t.Helper()
	word = make(chan struct{})
	course := fleettest.Course{Current: v1, Versions: map[string]fleettest.Version{v1: {Functions: map[string]fleettest.Func{
		"question/q.generate": fleettest.Data(func(d map[string]any) { d["n"] = 1 }),
		"question/q.prepare": func(ctx context.Context, _ jobs.Call, d map[string]any) jobs.CallResult {
			select {
			case <-word:
			case <-ctx.Done():
			}
			return fleettest.OK(d)
		},
	}}}}
	w = fleettest.New(t, map[string]fleettest.Course{"tam212": course})
	_, url = gateway(t, scheduler.Config{}, w)
	return w, url, word
}

func stream(t *testing.T, url string) *bufio.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/courses/tam212/current/", strings.NewReader(
		`{"data":{"variant_seed":3},"question":"q","requests":[{"type":"question","method":"generate"},{"type":"question","method":"prepare"},{"type":"question","method":"nope"}]}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/x-ndjson")
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, v1, res.Header.Get("Prairie-Version"))
	return bufio.NewReader(res.Body)
}

func TestItemsAreStreamedAsTheyFinish(t *testing.T) {
	_, url, word := stepped(t)
	r := stream(t, url)
	next := func() string {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		return line
	}
	require.JSONEq(t, `{"status":200,"body":{"n":1,"variant_seed":3},"output":""}`, next())
	word <- struct{}{} // the second item cannot end before the first was read
	require.JSONEq(t, `{"status":200,"body":{"n":1,"variant_seed":3},"output":""}`, next())
	require.Contains(t, next(), "method_missing")
	require.JSONEq(t, `{"data":{"n":1,"variant_seed":3}}`, next())
}

func TestAWorkerLostInAStreamIsTheLastLineAndNoSecondSessionBegins(t *testing.T) {
	w, url, _ := stepped(t)
	r := stream(t, url)
	_, err := r.ReadString('\n')
	require.NoError(t, err)
	w.Crash()
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, `"retryable":true`)
	require.Contains(t, line, `"error"`)
	require.EqualValues(t, 1, w.Invocations.Load())
}
