package scheduler_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	first := make(chan reply)
	go func() {
		first <- post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate, "Prairie-Deadline", "2000")
	}()
	require.Eventually(t, func() bool {
		return strings.Contains(get(t, url+"/metrics").body, "\nprairie_gateway_held 1\n")
	}, 10*time.Second, time.Millisecond)
	r := post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate)
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.True(t, r.fault(t).Retryable)
	r = <-first
	require.Equal(t, http.StatusGatewayTimeout, r.status)
	require.Equal(t, "deadline_exceeded", r.fault(t).Code)
}
