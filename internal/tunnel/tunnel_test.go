package tunnel_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prairielambda/prairielambda/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line that it gets until its client has said all, then says bye.
func echo(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
				_, _ = io.WriteString(c, "bye\n")
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// proxy tunnels to wherever it is asked.
func proxy(t *testing.T, received func(io.Reader) io.Reader) (addr string, open *atomic.Int64, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	open = new(atomic.Int64)
	return ln.Addr().String(), open, tunnel.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		up, err := net.DialTimeout("tcp", r.Host, tunnel.DialTime)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		tunnel.Join(w, r, up, received)
	}))
}

// connect asks for a tunnel; what it says early comes in the same packet.
func connect(t *testing.T, by, to, early string) (*net.TCPConn, *bufio.Reader) {
	c, err := net.Dial("tcp", by)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n%s", to, early)
	require.NoError(t, err)
	r := bufio.NewReader(c)
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "\r\n"} {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, line)
	}
	return c.(*net.TCPConn), r
}

// A client that has said all still hears the rest.
func TestJoinCopiesBothWaysToTheirEnds(t *testing.T) {
	addr, _, stop := proxy(t, nil)
	defer stop()
	c, r := connect(t, addr, echo(t), "early\n")
	_, err := io.WriteString(c, strings.Repeat("hello\n", 1000))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, "early\n"+strings.Repeat("hello\n", 1000)+"bye\n" == string(all), "%d bytes came", len(all))
}

func TestJoinEndsWithWhatMayBeReceived(t *testing.T) {
	addr, _, stop := proxy(t, func(r io.Reader) io.Reader { return io.LimitReader(r, 10) })
	defer stop()
	c, r := connect(t, addr, echo(t), "")
	_, err := io.WriteString(c, "hello, whoever listens\n")
	require.NoError(t, err)
	all, _ := io.ReadAll(r) // the end may be a reset: what was sent is not all read
	require.Equal(t, "hello, who", string(all))
}

// stop ends idle connections, requests and tunnels, and returns when they are over.
func TestStopEndsTunnels(t *testing.T) {
	addr, open, stop := proxy(t, nil)
	to := echo(t)
	idle, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer idle.Close()
	for range 10 {
		c, r := connect(t, addr, to, "")
		_, err := io.WriteString(c, "a\n")
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "a\n", line)
	}
	require.EqualValues(t, 10, open.Load())
	stop()
	require.Zero(t, open.Load())
	_, err = net.Dial("tcp", addr)
	require.Error(t, err)
}
