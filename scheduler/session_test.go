package scheduler_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, url, nil)
	require.NoError(t, err)
	require.Equal(t, v1, res.Header.Get("Prairie-Version"))
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func ask(t *testing.T, c *websocket.Conn, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(line)))
	_, b, err := c.Read(ctx)
	require.NoError(t, err)
	return string(b)
}

func TestASessionIsOneSandboxFromItsFirstLineToItsLast(t *testing.T) {
	w, url := one(t)
	c, other := dial(t, url+"/courses/tam212/current/session?question=addNumbers"), dial(t, url+"/courses/tam212/current/session")
	for i, want := range []string{"1", "2", "3", "4", "5"} {
		require.Contains(t, ask(t, c, `{"type":"question","fcn":"generate"}`), `"data":`+want)
		if i == 2 {
			require.Contains(t, ask(t, other, `{}`), `"data":1`, "another session knows nothing of it")
		}
	}
	require.EqualValues(t, 2, w.Sessions.Load())
	require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool { return w.Sessions.Load() == 1 }, 10*time.Second, time.Millisecond, "the sandbox ends with the socket")
}

func TestALostWorkerEndsTheSessionWithAnErrorAndNoSecondOneBegins(t *testing.T) {
	a, b := fleettest.New(t, sample()), fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{}, a, b)
	c := dial(t, url+"/courses/tam212/"+v1+"/session")
	ask(t, c, `{}`)
	line := ask(t, c, `{"fcn":"die"}`)
	var shape struct{ Error jobs.Error }
	require.NoError(t, json.Unmarshal([]byte(line), &shape))
	require.Equal(t, "session_lost", shape.Error.Code)
	require.True(t, shape.Error.Retryable)
	_, _, err := c.Read(context.Background())
	require.Equal(t, websocket.StatusInternalError, websocket.CloseStatus(err))
	require.Zero(t, a.Sessions.Load()+b.Sessions.Load())
}

func TestSessionsThatDoNotBegin(t *testing.T) {
	_, url := one(t)
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg=="}
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/courses/nope/current/session":                       {404, "course_missing"},
		"/courses/nope/" + v1 + "/session":                    {404, "course_missing"},
		"/courses/tam212/" + v1 + "9/session":                 {404, "version_missing"},
		"/courses/tam212/" + v1 + "/session?question=..%2f..": {400, "bad_path"},
	} {
		r := get(t, url+path, upgrade...)
		require.Equal(t, want.status, r.status, path)
		require.Equal(t, want.code, r.fault(t).Code)
	}
	require.Equal(t, http.StatusForbidden, get(t, url+"/courses/tam212/current/session", append(upgrade, "Origin", "https://evil.example")...).status)
	c := dial(t, url+"/courses/tam212/current/session")
	err := c.Write(context.Background(), websocket.MessageText, []byte(strings.Repeat("x", 17<<20)))
	if err == nil { // the gateway may have left before the end of the line
		_, _, err = c.Read(context.Background())
	}
	require.Error(t, err, "a giant line")
}

func TestAnIdleSessionEnds(t *testing.T) {
	w := fleettest.New(t, sample())
	for idle, asked := 50*time.Millisecond, false; !asked; idle *= 4 { // a busy machine may need more to ask in
		_, url := gateway(t, scheduler.Config{SessionIdle: idle}, w)
		c := dial(t, url+"/courses/tam212/current/session")
		err := c.Write(t.Context(), websocket.MessageText, []byte(`{}`))
		if err == nil {
			_, _, err = c.Read(t.Context())
		}
		if asked = err == nil; asked {
			_, _, err = c.Read(t.Context())
			require.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err))
		}
		require.Less(t, idle, 10*time.Second)
		require.Eventually(t, func() bool { return w.Sessions.Load() == 0 }, 10*time.Second, time.Millisecond)
	}
}

func TestSessionsAreCutOffWhenADrainTakesTooLong(t *testing.T) {
	w := fleettest.New(t, sample())
	g, err := scheduler.New(scheduler.Config{Workers: []string{w.URL}})
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, ln, 0, 100*time.Millisecond) }()
	c := dial(t, "http://"+ln.Addr().String()+"/courses/tam212/"+v1+"/session")
	ask(t, c, `{}`)
	stop()
	_, _, err = c.Read(context.Background())
	require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
	require.ErrorContains(t, <-served, "sessions were cut off")
}
