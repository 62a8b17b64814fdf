package scheduler_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
)

// BenchmarkCall is one call through the gateway to a worker that answers at once,
// all in one process; see test/bench/gateway for separate ones.
func BenchmarkCall(b *testing.B) {
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"version":"`+v1+`","calls":[{"outcome":"ok","data":{"params":{"a":1}},"wall":1}],"usage":{"wall":1,"cpu":1},"phases":{"queue":0,"claim":0,"run":1,"collect":0}}`)
	}))
	defer worker.Close()
	g, err := scheduler.New(scheduler.Config{Workers: []string{worker.URL}})
	require.NoError(b, err)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.Run(ctx) })
	defer wg.Wait()
	defer stop()
	gateway := httptest.NewServer(g)
	defer gateway.Close()
	for name, url := range map[string]string{"worker": worker.URL + "/v1/invoke", "gateway": gateway.URL + "/courses/tam212/" + v1 + "/question/addNumbers"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				res, err := http.Post(url, "application/json", strings.NewReader(generate))
				require.NoError(b, err)
				_, err = io.Copy(io.Discard, res.Body)
				require.NoError(b, err)
				res.Body.Close()
				require.Equal(b, http.StatusOK, res.StatusCode)
			}
		})
	}
}
