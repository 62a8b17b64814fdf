package fleet

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counted is a server that knows its connections.
func counted(t *testing.T, h http.HandlerFunc) (srv *httptest.Server, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	srv = httptest.NewUnstartedServer(h)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, conns
}

func send(t *testing.T, tr *transport, ctx context.Context, url, body string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	return tr.RoundTrip(req)
}

func whole(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return string(b)
}

func TestConnectionsAreUsedAgainWhateverTheAnswersForm(t *testing.T) {
	srv, conns := counted(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/chunks":
			for range 3 {
				w.Write(b)
				http.NewResponseController(w).Flush()
			}
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			w.Write(b)
		default:
			w.Write(b)
		}
	})
	tr := newTransport()
	big := strings.Repeat("x", 3<<20)
	for range 3 {
		for path, want := range map[string]string{"/": big, "/none": "", "/chunks": big + big + big, "/early": big} {
			res, err := send(t, tr, context.Background(), srv.URL+path, big)
			require.Equal(t, len(want), len(whole(t, res, err)), path)
		}
	}
	require.EqualValues(t, 1, conns.Load())
	require.LessOrEqual(t, tr.idle[srv.Listener.Addr().String()][0].buf.Cap(), keepBuf)
	tr.CloseIdleConnections()
	require.Empty(t, tr.idle)
}

func TestAConnectionThatTheWorkerClosedAtRestIsNoFailure(t *testing.T) {
	srv, conns := counted(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	tr := newTransport()
	for i := range 5 {
		res, err := send(t, tr, context.Background(), srv.URL, "a")
		require.Equal(t, "a", whole(t, res, err))
		if i%2 == 0 {
			srv.CloseClientConnections()
			rests := tr.idle[srv.Listener.Addr().String()]
			require.Eventually(t, func() bool { return !rests[len(rests)-1].quiet() }, 10*time.Second, time.Millisecond, "its end has arrived")
		}
	}
	require.EqualValues(t, 3, conns.Load())
}

func TestConnectionsToAWorkerThatIsGoneForGoodEnd(t *testing.T) {
	closed := make(chan struct{})
	gone := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	gone.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(closed)
		}
	}
	gone.Start()
	t.Cleanup(gone.Close)
	stays, _ := counted(t, func(http.ResponseWriter, *http.Request) {})
	tr := newTransport()
	ask := func(srv *httptest.Server) {
		res, err := send(t, tr, context.Background(), srv.URL, "a")
		whole(t, res, err)
	}
	ask(gone)
	ask(stays)
	require.Len(t, tr.idle, 2)
	tr.idle[gone.Listener.Addr().String()][0].rested = time.Now().Add(-2 * maxRest)
	tr.swept = time.Now().Add(-2 * maxRest)
	ask(stays) // nobody asks the other one any more
	require.Len(t, tr.idle, 1)
	<-closed
	tr.CloseIdleConnections()
}

func TestLeavingClosesTheConnection(t *testing.T) {
	begun, left := make(chan struct{}, 2), make(chan struct{}, 2)
	srv, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		begun <- struct{}{}
		if r.URL.Path == "/begun" {
			w.Write([]byte("x"))
			http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		left <- struct{}{}
	})
	tr := newTransport()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-begun; cancel() }()
	_, err := send(t, tr, ctx, srv.URL, "a")
	require.Error(t, err)
	<-left
	res, err := send(t, tr, context.Background(), srv.URL+"/begun", "a")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	<-left
	require.Empty(t, tr.idle[srv.Listener.Addr().String()])
}

func TestAWorkerThatDiesInMidCallIsAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var asked atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Read(make([]byte, 1<<10))
			if asked.Load() == 2 {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			}
			c.Close()
		}
	}()
	tr := newTransport()
	_, err = send(t, tr, context.Background(), "http://"+ln.Addr().String(), "a")
	require.ErrorIs(t, err, errUnanswered)
	require.EqualValues(t, 1, asked.Load(), "a fresh connection that fails is not tried again here")
	res, err := send(t, tr, context.Background(), "http://"+ln.Addr().String(), "a")
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, res.Body.Close())
	require.Empty(t, tr.idle[ln.Addr().String()])
}
