package scheduler_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

func TestDrainAnswersWhatIsInFlight(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	w := fleettest.New(t, sample())
	defer w.Close()
	w.Set(func(s *fleettest.State) { s.Delay = 500 * time.Millisecond })
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	g, err := scheduler.New(scheduler.Config{Workers: []string{w.URL}, Transport: tr})
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, ln, time.Second, 10*time.Second) }()
	url := "http://" + ln.Addr().String()
	require.Eventually(t, func() bool { return get(t, url+"/readyz").status == http.StatusOK }, 10*time.Second, 2*time.Millisecond)

	answered := make(chan int, 1)
	go func() { answered <- post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate).status }()
	require.Eventually(t, func() bool { return w.Invocations.Load() == 1 }, 10*time.Second, time.Millisecond)
	stop()
	require.Eventually(t, func() bool { return get(t, url+"/readyz").status == http.StatusServiceUnavailable }, 10*time.Second, time.Millisecond)
	require.Equal(t, http.StatusOK, <-answered)
	require.NoError(t, <-served)
	_, err = net.DialTimeout("tcp", ln.Addr().String(), time.Second)
	require.Error(t, err)
}
