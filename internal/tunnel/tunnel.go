// Package tunnel serves forward proxies, of which the tunnels (CONNECT) are the
// hard part: net/http forgets a connection that was hijacked. What a proxy began
// here ends with it, requests and tunnels alike. Whom a proxy may reach is for its
// handler to judge.
package tunnel

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// DialTime is how long a proxy tries to connect, and waits for a request's headers.
const DialTime = 20 * time.Second

// Serve answers on ln with h until stop is called, which ends all requests and
// tunnels and waits for them. stop may be called once.
func Serve(ln net.Listener, h http.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			open.Add(1) // before the connection that it came by is done
			defer open.Done()
			h.ServeHTTP(w, r)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1) // while Serve counts itself
			case http.StateClosed, http.StateHijacked:
				open.Done()
			}
		},
		ReadHeaderTimeout: DialTime, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	open.Go(func() { _ = s.Serve(ln) }) // ends with Close
	return func() {
		cancel()
		_ = s.Close()
		open.Wait()
	}
}

// Join answers r, a CONNECT, with 200 and copies between its client and up until
// both have ended or r's context has. Then up is closed. received wraps what is read
// from up: it may count or end it; nil changes nothing.
func Join(w http.ResponseWriter, r *http.Request, up net.Conn, received func(io.Reader) io.Reader) {
	defer up.Close()
	down, early, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, "no tunnel over this connection", http.StatusHTTPVersionNotSupported)
		return
	}
	defer down.Close()
	defer context.AfterFunc(r.Context(), func() { up.Close(); down.Close() })()
	if _, err := io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	// Only what came early is read by net/http: it takes a client that has said all for
	// one that is gone, and would end r's context.
	sent := io.MultiReader(io.LimitReader(early, int64(early.Reader.Buffered())), down)
	var ended sync.WaitGroup
	ended.Go(func() {
		_, _ = io.Copy(up, sent) // until either side ends
		if c, ok := up.(*net.TCPConn); ok {
			_ = c.CloseWrite()
		}
	})
	var from io.Reader = up
	if received != nil {
		from = received(up)
	}
	_, _ = io.Copy(down, from)
	down.Close()
	ended.Wait()
}
