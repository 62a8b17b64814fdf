package scheduler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

const generate = `{"method":"generate","data":{"variant_seed":7}}`

func TestFailuresOfOursAreTriedElsewhere(t *testing.T) {
	for name, breakIt := range map[string]func(*fleettest.Worker){
		"500":     func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Fail = 500 }) },
		"busy":    func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Fail = 503 }) },
		"refused": func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Fail = 403 }) },
		"garbage": func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Garbage = true }) },
		"killed":  func(w *fleettest.Worker) { w.Crash() },
		"stopped": func(w *fleettest.Worker) { w.Set(func(s *fleettest.State) { s.Hang = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := fleettest.New(t, sample()), fleettest.New(t, sample())
			_, url := gateway(t, scheduler.Config{}, a, b)
			breakIt(a)
			var wg sync.WaitGroup
			for i := range 20 { // versions differ, so about half of them prefer the broken one
				wg.Go(func() {
					v := v1
					if i%2 == 0 {
						v = v2
					}
					r := post(t, url+"/courses/tam212/"+v+"/question/addNumbers", generate)
					require.Equal(t, http.StatusOK, r.status, r.body)
				})
			}
			wg.Wait()
		})
	}
}

func TestWhenNobodyCan(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{Patience: 50 * time.Millisecond}, w)
	for status, want := range map[int]struct {
		status int
		code   string
	}{500: {502, "worker_failed"}, 503: {429, "busy"}, 429: {429, "busy"}} {
		w.Set(func(s *fleettest.State) { s.Fail = status })
		r := post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate)
		require.Equal(t, want.status, r.status)
		f := r.fault(t)
		require.Equal(t, want.code, f.Code)
		require.True(t, f.Retryable)
		require.NotContains(t, r.body, "127.0.0.1", "addresses stay inside")
		if want.status == http.StatusTooManyRequests {
			require.NotEmpty(t, r.header.Get("Retry-After"))
		}
	}
	w.Crash()
	r := post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Contains(t, []string{"worker_lost", "no_worker"}, r.fault(t).Code)
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.Equal(t, http.StatusServiceUnavailable, get(t, url+"/readyz").status)
	require.Equal(t, http.StatusOK, get(t, url+"/healthz").status)
}

func TestAVersionKeepsItsWorker(t *testing.T) {
	a, b := fleettest.New(t, sample()), fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{}, a, b)
	for range 20 {
		require.Equal(t, http.StatusOK, post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate).status)
	}
	require.ElementsMatch(t, []int64{0, 20}, []int64{a.Invocations.Load(), b.Invocations.Load()})
}

func TestCurrentIsResolvedOnceAndCarriedToTheEnd(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{CurrentTTL: time.Nanosecond}, w)
	call := func() (string, string) {
		r := post(t, url+"/courses/tam212/current/question/addNumbers", generate)
		require.Equal(t, http.StatusOK, r.status)
		return r.header.Get("Prairie-Version"), r.body
	}
	v, _ := call()
	require.Equal(t, v1, v)
	w.Set(func(s *fleettest.State) {
		c := s.Courses["tam212"]
		c.Current = v2
		s.Courses = map[string]fleettest.Course{"tam212": c}
	})
	v, body := call()
	require.Equal(t, v2, v)
	require.Contains(t, body, `"v":2`)
}

func TestNoWorkForACallerThatLeft(t *testing.T) {
	w, url := one(t)
	ctx, leave := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/courses/tam212/"+v1+"/question/wait", strings.NewReader(generate))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	require.Eventually(t, func() bool { return w.Calls.Load() == 1 }, 10*time.Second, time.Millisecond)
	leave()
	require.Error(t, <-done)
	require.Eventually(t, func() bool { return w.Cancelled.Load() == 1 }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 1, w.Invocations.Load(), "and it is not tried elsewhere")
}

func TestDeadlinesShrinkHopByHop(t *testing.T) {
	w, url := one(t)
	var mu sync.Mutex
	var left []string
	w.Set(func(s *fleettest.State) {
		s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v1/invoke" {
				mu.Lock()
				left = append(left, r.Header.Get("Prairie-Deadline"))
				mu.Unlock()
			}
			return false
		}
	})
	r := post(t, url+"/courses/tam212/"+v1+"/question/wait", generate, "Prairie-Deadline", "900")
	require.Equal(t, http.StatusGatewayTimeout, r.status)
	require.Equal(t, "deadline_exceeded", r.fault(t).Code)
	mu.Lock()
	require.Len(t, left, 1)
	require.Regexp(t, `^\d{1,3}$`, left[0])
	mu.Unlock()
	require.Eventually(t, func() bool { return w.Cancelled.Load() == 1 }, 10*time.Second, time.Millisecond)
}

func TestTheLogSaysWhoAndWhatButNoPayload(t *testing.T) {
	w := fleettest.New(t, sample())
	var buf lockedBuffer
	_, url := gateway(t, scheduler.Config{Log: zerolog.New(&buf)}, w)
	post(t, url+"/courses/tam212/current/question/addNumbers", `{"method":"generate","data":{"secret":"hunter2"}}`, "Prairie-Id", "trace-me")
	post(t, url+"/courses/tam212/current/question/addNumbers", `{"method":"generate","data":{"secret":hunter2}}`)
	post(t, url+"/courses/tam212/current/question/broken", `{"method":"generate","data":{}}`)
	var calls []map[string]any
	require.Eventually(t, func() bool {
		calls = nil
		for _, line := range strings.Split(buf.String(), "\n") {
			var m map[string]any
			if json.Unmarshal([]byte(line), &m) == nil && m["message"] == "call" && m["verb"] == "invoke" {
				calls = append(calls, m)
			}
		}
		return len(calls) == 3
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, "trace-me", calls[0]["id"])
	require.Equal(t, []any{"tam212", v1, "addNumbers", "generate", "ok", w.URL, 200.0},
		[]any{calls[0]["course"], calls[0]["version"], calls[0]["name"], calls[0]["method"], calls[0]["outcome"], calls[0]["worker"], calls[0]["status"]})
	require.Equal(t, "question_error", calls[2]["outcome"])
	for _, secret := range []string{"hunter2", "Traceback", "ValueError", "printed"} {
		require.NotContains(t, buf.String(), secret)
	}
	m := get(t, url+"/metrics").body
	for _, want := range []string{
		`prairie_gateway_requests_total{status="200",verb="invoke"} 1`,
		`prairie_gateway_requests_total{status="422",verb="invoke"} 1`,
		`prairie_gateway_outcomes_total{outcome="question_error"} 1`,
		`prairie_gateway_phase_seconds_count{phase="claim"} 2`,
		`prairie_gateway_worker_up{worker="` + w.URL + `"} 1`,
	} {
		require.Contains(t, m, want)
	}
}

// An answer that had to be cut off in its middle is a call like any other.
func TestACallWhoseAnswerIsCutOffIsLogged(t *testing.T) {
	w := fleettest.New(t, sample())
	w.Set(func(s *fleettest.State) {
		s.Before = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/v1/files/") {
				return false
			}
			rw.Header().Set("Content-Length", "10")
			io.WriteString(rw, "half")
			http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	var log lockedBuffer
	_, url := gateway(t, scheduler.Config{Log: zerolog.New(&log)}, w)
	res, err := http.Get(url + "/courses/tam212/" + v1 + "/files/a")
	if err == nil { // else it was cut off before its beginning was sent
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	require.Error(t, err)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), `"verb":"files"`) }, 10*time.Second, time.Millisecond, &log)
	require.Contains(t, log.String(), `"error":"send file`)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestHedgingRescuesSlowCallsWithinItsBudget(t *testing.T) {
	a, b := fleettest.New(t, sample()), fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{}, a, b)
	calls := 0
	ask := func(header ...string) int {
		calls++
		return post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate, header...).status
	}
	call := func() { require.Equal(t, http.StatusOK, ask()) }
	for range 60 {
		call()
	}
	preferred := a
	if b.Invocations.Load() > a.Invocations.Load() {
		preferred = b
	}
	for rescued := false; !rescued; { // at the other one, unless calls that were slow by chance took all of the budget
		preferred.Set(func(s *fleettest.State) { s.Delay = time.Hour })
		rescued = ask("Prairie-Deadline", "5000") == http.StatusOK
		preferred.Set(func(s *fleettest.State) { s.Delay = 0 })
		require.LessOrEqual(t, calls, 160)
		for range 20 {
			call()
		}
	}
	for _, w := range []*fleettest.Worker{a, b} {
		w.Set(func(s *fleettest.State) { s.Delay = 20 * time.Millisecond })
	}
	for range 100 {
		call()
	}
	total := a.Invocations.Load() + b.Invocations.Load()
	require.LessOrEqual(t, total, int64(calls*105/100), "at most 5 % more executions than calls, whatever is slow")
	require.Eventually(t, func() bool { return preferred.Cancelled.Load() >= 1 }, 10*time.Second, time.Millisecond, "the loser is told")
	require.Regexp(t, `prairie_gateway_hedges_total [1-9]\d*\n`, get(t, url+"/metrics").body)
}

func TestAWorkerThatHasNotSeenAPushYet(t *testing.T) {
	behind, ahead := fleettest.New(t, sample()), fleettest.New(t, sample())
	behind.Set(func(s *fleettest.State) {
		c := s.Courses["tam212"]
		c.Versions = map[string]fleettest.Version{v1: c.Versions[v1]}
		s.Courses = map[string]fleettest.Course{"tam212": c}
	})
	ahead.Set(func(s *fleettest.State) {
		c := s.Courses["tam212"]
		c.Current = v2
		s.Courses = map[string]fleettest.Course{"tam212": c}
	})
	_, url := gateway(t, scheduler.Config{CurrentTTL: time.Nanosecond}, behind, ahead)
	for range 20 { // whoever is asked what "current" is, and whoever runs it
		r := post(t, url+"/courses/tam212/current/question/addNumbers", generate)
		require.Equal(t, http.StatusOK, r.status, r.body)
	}
	r := post(t, url+"/courses/tam212/"+strings.Repeat("9", 40)+"/question/addNumbers", generate)
	require.Equal(t, http.StatusNotFound, r.status, "a version that nobody has shown is missing")
}

func TestSlowCallersAreCutOff(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{BodyTime: 50 * time.Millisecond}, w)
	for path, want := range map[string]string{
		"/courses/tam212/" + v1 + "/question/addNumbers": "bad_body",
		"/nowhere": "not_found", // refused before the body is looked at
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		require.NoError(t, err)
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{", path)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		b, err := io.ReadAll(c)
		require.NoError(t, err, "answered and closed")
		require.Contains(t, string(b), want)
	}
	require.Zero(t, w.Invocations.Load())
}

func TestCallersThatDoNotReadAreCutOff(t *testing.T) {
	courses := sample()
	courses["tam212"].Versions[v1].Functions["question/giant.file"] = fleettest.File(strings.Repeat("x", 8<<20)) // more than the kernel keeps for both ends
	w := fleettest.New(t, courses)
	var log lockedBuffer
	// Nobody else calls: on a busy machine 50 ms are too short for any answer.
	_, url := gateway(t, scheduler.Config{Workers: []string{w.URL}, WriteTime: 50 * time.Millisecond, Log: zerolog.New(&log)})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
	body := `{"method":"file","data":{}}`
	fmt.Fprintf(c, "POST /courses/tam212/%s/question/giant HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", v1, len(body), body)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), `"name":"giant"`) }, time.Minute, 5*time.Millisecond, "the handler ends although nobody reads")
}
