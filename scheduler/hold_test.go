package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
	"github.com/prairielambda/prairielambda/scheduler/scale"
)

// starter is a place without workers that starts one when it is asked to.
type starter struct {
	url   string
	asked chan int
	mu    sync.Mutex // guards now
	now   int
}

func (s *starter) Watch(ctx context.Context, update func([]string)) error {
	for {
		select {
		case n := <-s.asked:
			update([]string{s.url}[:min(n, 1)])
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *starter) Count(context.Context) (now, least, most int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, 0, 3, nil
}

func (s *starter) Scale(_ context.Context, n int, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = n
	s.asked <- n
	return nil
}

func TestACallThatFindsNoWorkerStartsOneAndWaitsForIt(t *testing.T) {
	w := fleettest.New(t, sample())
	s := &starter{url: w.URL, asked: make(chan int, 10)}
	// Idle at once: the scaler wants none until somebody calls.
	_, url := gateway(t, scheduler.Config{
		Source: s, MaxHeld: 3,
		Scale: &scale.Config{Group: s, Every: 20 * time.Millisecond, Quiet: time.Hour, Idle: time.Nanosecond},
	})
	require.Equal(t, http.StatusOK, get(t, url+"/readyz").status, "there is somebody who starts workers")
	require.Zero(t, s.now)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r := post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate)
			require.Equal(t, http.StatusOK, r.status, r.body)
		})
	}
	wg.Wait()
	require.EqualValues(t, 3, w.Invocations.Load())
}

func TestCallsWaitForAWorkerNoLongerThanTheyMayAndNotWithoutBound(t *testing.T) {
	s := &starter{asked: make(chan int)}
	_, url := gateway(t, scheduler.Config{Source: s, MaxHeld: 1, Scale: &scale.Config{}})
	question := url + "/courses/tam212/" + v1 + "/question/addNumbers"
	first, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(first, http.MethodPost, question, strings.NewReader(generate))
	require.NoError(t, err)
	left := make(chan error, 1)
	go func() {
		res, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			res.Body.Close()
		}
		left <- err
	}()
	held(t, url, 1)
	r := post(t, question, generate)
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.True(t, r.fault(t).Retryable)
	leave()
	require.Error(t, <-left)
	held(t, url, 0)
	r = post(t, question, generate, "Prairie-Deadline", "50")
	require.Equal(t, http.StatusGatewayTimeout, r.status)
	require.Equal(t, "deadline_exceeded", r.fault(t).Code)
}

// held waits until n calls wait for a worker.
func held(t *testing.T, url string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return strings.Contains(get(t, url+"/metrics").body, fmt.Sprintf("\nprairie_gateway_held %d\n", n))
	}, 15*time.Second, time.Millisecond)
}

func TestWhateverIsAskedOutlivesARestartOfTheOnlyWorker(t *testing.T) {
	w := fleettest.New(t, sample())
	w.Set(func(s *fleettest.State) {
		s.Status.Name = "alloc-1"
		s.Program = func(context.Context, jobs.Program) jobs.ProgramResult { return jobs.ProgramResult{Outcome: jobs.OK} }
		s.Frames = func(jobs.Program) []jobs.RunFrame { return nil }
	})
	_, url := gateway(t, scheduler.Config{}, w)
	course := url + "/courses/tam212/"
	const program = `{"runtime":"python","files":[{"basename":"a.py","contents":""}],"mode":"run","main":"a.py"}`
	r := post(t, url+"/run_program/", program)
	require.Equal(t, http.StatusOK, r.status, r.body)
	var run struct{ Identifier string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &run))

	var wg sync.WaitGroup
	asks := 0
	ask := func(name string, what func() reply) {
		asks++
		wg.Go(func() {
			r := what()
			assert.Equal(t, http.StatusOK, r.status, "%s: %s", name, r.body)
		})
	}
	posts := func(name, url, body string, header ...string) {
		ask(name, func() reply { return post(t, url, body, header...) })
	}
	w.Set(func(s *fleettest.State) { s.Delay = time.Hour })
	posts("in flight", course+v1+"/question/addNumbers", generate)
	require.Eventually(t, func() bool { return w.Invocations.Load() == 1 }, 10*time.Second, time.Millisecond)
	w.Crash()
	w.Set(func(s *fleettest.State) { s.Delay = 0 })
	held(t, url, 1)
	posts("question", course+v1+"/question/addNumbers", generate)
	posts("current", course+"current/question/addNumbers", generate)
	posts("render", course+v1+"/element/my-element", render)
	posts("batch", course+v1, `{"data":{},"requests":[{"type":"question","name":"addNumbers","method":"generate"}]}`)
	posts("lines", course+v1, `{"data":{},"requests":[{"type":"question","name":"addNumbers","method":"generate"},{"type":"question","name":"addNumbers","method":"grade"}]}`, "Accept", "application/x-ndjson")
	posts("program", url+"/run", program)
	posts("two at once", url+"/run", `{"hedge":"always",`+program[1:])
	posts("begin", url+"/run_program", program)
	posts("poll", url+"/check_output", fmt.Sprintf(`{"identifier":%q,"read":0}`, run.Identifier))
	posts("download", url+"/download", program)
	ask("runtimes", func() reply { return get(t, url+"/runtimes") })
	ask("file", func() reply { return get(t, course+v1+"/files/clientFilesCourse/a%20b.svg") })
	asks++
	wg.Go(func() {
		c, _, err := websocket.Dial(t.Context(), course+v1+"/session", nil)
		if assert.NoError(t, err, "session") {
			c.CloseNow()
		}
	})
	held(t, url, asks)
	w.Restart(t)
	wg.Wait()
	held(t, url, 0)
}

func TestACallIsGivenUpAfterThreeExecutions(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{Patience: time.Minute}, w)
	var begun atomic.Int64
	w.Set(func(s *fleettest.State) {
		s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v1/invoke" {
				begun.Add(1)
				panic(http.ErrAbortHandler) // as if the call had killed the worker
			}
			return false
		}
	})
	r := post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate)
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, "worker_lost", r.fault(t).Code)
	require.EqualValues(t, 3, begun.Load())
}

func TestAWorkerThatTakesNothingNewIsNotTheLastWord(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{}, w)
	w.Set(func(s *fleettest.State) {
		s.Status.Draining = true
		s.Before = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/v1/invoke" {
				return false
			}
			rw.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(rw, `{"error":{"code":"draining"}}`)
			return true
		}
	})
	done := make(chan reply)
	go func() { done <- post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate) }()
	held(t, url, 1)
	w.Set(func(s *fleettest.State) { s.Status.Draining, s.Before = false, nil })
	r := <-done
	require.Equal(t, http.StatusOK, r.status, r.body)
}

// A worker that comes takes the calls that wait, not only those after them.
func TestCallsThatWaitAreTakenByAWorkerThatComes(t *testing.T) {
	busy, late := fleettest.New(t, sample()), fleettest.New(t, sample())
	held, end := make(chan bool, 2), make(chan bool)
	var n atomic.Int32
	busy.Set(func(s *fleettest.State) {
		s.Status.Slots = 1
		s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v1/invoke" && n.Add(1) <= 2 {
				held <- true
				<-end
			}
			return false
		}
	})
	late.Set(func(s *fleettest.State) { s.Hang = true })
	_, url := gateway(t, scheduler.Config{Workers: []string{late.URL}}, busy)
	answers := make(chan int, 3)
	call := func(seed int) {
		answers <- post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", fmt.Sprintf(`{"method":"generate","data":{"variant_seed":%d}}`, seed)).status
	}
	go call(1)
	go call(2)
	<-held
	<-held
	go call(3)
	require.Eventually(t, func() bool { return strings.Contains(get(t, url+"/metrics").body, "prairie_gateway_waiting 1") }, time.Minute, 2*time.Millisecond)
	late.Set(func(s *fleettest.State) { s.Hang = false })
	require.Equal(t, http.StatusOK, <-answers)
	close(end)
	require.Equal(t, []int{http.StatusOK, http.StatusOK}, []int{<-answers, <-answers})
}
