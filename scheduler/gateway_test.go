package scheduler_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

const (
	v1 = "1111111111111111111111111111111111111111"
	v2 = "2222222222222222222222222222222222222222"
)

// sample is a course with one function of every fate.
func sample() map[string]fleettest.Course {
	functions := map[string]fleettest.Func{
		"question/addNumbers.generate": fleettest.Data(func(d map[string]any) {
			d["params"] = map[string]any{"seed": d["variant_seed"]}
		}),
		"question/addNumbers.grade":   fleettest.Data(func(d map[string]any) { d["score"] = 1 }),
		"question/nested/deep.render": fleettest.HTML(func(c jobs.Call, _ map[string]any) string { return "<b>" + *c.HTML + "</b>" }),
		"question/picture.file":       fleettest.File("\x89PNG"),
		"question/empty.file":         fleettest.File(""),
		"question/broken.generate": fleettest.Fate(jobs.CallResult{
			Outcome: jobs.QuestionError, Message: "ValueError: no", Traceback: "Traceback ...", Output: "printed before",
		}),
		"question/slow.generate": fleettest.Fate(jobs.CallResult{Outcome: jobs.Timeout, Message: "10 s are over"}),
		"question/wait.generate": fleettest.Wait(),
		"question/chatty.generate": fleettest.Fate(jobs.CallResult{
			Outcome: jobs.OK, Data: json.RawMessage(`{"params":{}}`), Output: "hello console",
		}),
		"phase/addNumbers.prepare": fleettest.Data(func(d map[string]any) { d["phase"] = "prepare" }),
		"element/my-element.render": fleettest.HTML(func(c jobs.Call, _ map[string]any) string {
			return "<i>" + *c.HTML + "</i>"
		}),
		"element/my-element.grade": fleettest.Data(func(d map[string]any) { d["graded"] = true }),
	}
	return map[string]fleettest.Course{"tam212": {
		Current: v1,
		Versions: map[string]fleettest.Version{
			v1: {
				Chunks:    map[string]string{"elements": "e1", "question/addNumbers": "q1", "clientFilesCourse": "c1"},
				Functions: functions,
				Files:     map[string]string{"clientFilesCourse/a b.svg": "<svg/>"},
			},
			v2: {
				Chunks:    map[string]string{"elements": "e1", "question/addNumbers": "q2"},
				Functions: map[string]fleettest.Func{"question/addNumbers.generate": fleettest.Data(func(d map[string]any) { d["v"] = 2 })},
			},
		},
	}}
}

var up = regexp.MustCompile(`(?m)^prairie_gateway_worker_up\{.*\} 1$`)

// gateway starts one in front of ws; it is probing and all are up when this returns.
func gateway(t *testing.T, cfg scheduler.Config, ws ...*fleettest.Worker) (*scheduler.Gateway, string) {
	t.Helper()
	for _, w := range ws {
		cfg.Workers = append(cfg.Workers, w.URL)
	}
	g, err := scheduler.New(cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.Run(ctx) })
	srv := httptest.NewServer(g)
	t.Cleanup(func() { srv.Close(); stop(); wg.Wait() })
	if len(ws) > 0 {
		require.Eventually(t, func() bool {
			if len(ws) > 1 && len(up.FindAllString(get(t, srv.URL+"/metrics").body, -1)) < len(ws) {
				return false
			}
			return get(t, srv.URL+"/readyz").status == http.StatusOK
		}, 10*time.Second, 2*time.Millisecond)
	}
	return g, srv.URL
}

func one(t *testing.T) (*fleettest.Worker, string) {
	t.Helper()
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{}, w)
	return w, url
}

type reply struct {
	status int
	header http.Header
	body   string
}

// fault decodes the one shape of errors.
func (r reply) fault(t *testing.T) jobs.Error {
	t.Helper()
	var shape struct{ Error *jobs.Error }
	require.NoError(t, json.Unmarshal([]byte(r.body), &shape), r.body)
	require.NotNil(t, shape.Error, r.body)
	require.Equal(t, r.header.Get("Prairie-Id"), shape.Error.ID)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	return *shape.Error
}

func do(t *testing.T, method, url, body string, header ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Header, string(b)}
}

func get(t *testing.T, url string, header ...string) reply {
	t.Helper()
	return do(t, http.MethodGet, url, "", header...)
}

func post(t *testing.T, url, body string, header ...string) reply {
	t.Helper()
	return do(t, http.MethodPost, url, body, header...)
}
