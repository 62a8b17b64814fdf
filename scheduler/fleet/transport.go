package fleet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// transport speaks HTTP/1.1 with workers on the goroutine that asks: one write,
// then reads. http.Transport hands every request to a second goroutine and every
// answer to a third, and on a small machine waking them costs as much as all the
// rest that a gateway adds. Sockets and TLS are left to it.
//
// A connection is looked at before it is used again. One that ends without an
// answer after that is a failure, which the worker may have begun: whether to ask
// again is not decided here.
//
// The end of a request's context closes its connection, which is how a worker
// learns at once that nobody waits. So does closing an answer before its end.
type transport struct {
	other *http.Transport
	dial  net.Dialer

	mu    sync.Mutex         // guards both
	idle  map[string][]*wire // by address, the last used at the end
	swept time.Time
}

// wire is one connection; one request at a time uses it.
type wire struct {
	net.Conn
	r      *bufio.Reader
	buf    bytes.Buffer // the request
	rested time.Time    // since when it is idle
}

const (
	maxIdle  = 1024 // connections to one worker
	maxRest  = time.Minute
	keepBuf  = 64 << 10 // a larger buffer is not kept
	wireRead = 16 << 10
)

func newTransport() *transport {
	return &transport{
		dial: net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second},
		idle: map[string][]*wire{},
		other: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConnsPerHost: maxIdle,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 5 * time.Second,
			ForceAttemptHTTP2:   false, // cancelling a call must close its connection
			DisableCompression:  true,
		},
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" || req.Header.Get("Upgrade") != "" {
		return t.other.RoundTrip(req)
	}
	addr := req.URL.Host
	if req.URL.Port() == "" {
		addr = net.JoinHostPort(req.URL.Hostname(), "80")
	}
	w := t.take(addr)
	if w == nil {
		c, err := t.dial.DialContext(req.Context(), "tcp", addr)
		if err != nil {
			return nil, err
		}
		w = &wire{Conn: c, r: bufio.NewReaderSize(c, wireRead)}
	}
	return t.exchange(req, w, addr)
}

// errUnanswered means that not one byte came back.
var errUnanswered = errors.New("the connection ended without an answer")

func (t *transport) exchange(req *http.Request, w *wire, addr string) (*http.Response, error) {
	stop := context.AfterFunc(req.Context(), func() { w.Close() })
	fail := func(err error) (*http.Response, error) {
		stop()
		w.Close()
		return nil, err
	}
	w.buf.Reset()
	if err := req.Write(&w.buf); err != nil {
		return fail(err)
	}
	// A worker may answer before it has read all (413): what it said counts.
	_, wrote := w.Write(w.buf.Bytes())
	if w.buf.Cap() > keepBuf {
		w.buf = bytes.Buffer{}
	}
	if _, err := w.r.Peek(1); err != nil {
		return fail(errors.Join(errUnanswered, wrote, err))
	}
	for {
		res, err := http.ReadResponse(w.r, req)
		if err != nil {
			return fail(err)
		}
		if res.StatusCode < 200 {
			continue
		}
		b := &wireBody{ReadCloser: res.Body, t: t, w: w, addr: addr, stop: stop, keep: wrote == nil && !res.Close}
		b.whole = res.Body == http.NoBody
		res.Body = b
		return res, nil
	}
}

// wireBody is an answer. Its connection is used again once it was read whole.
type wireBody struct {
	io.ReadCloser
	t           *transport
	w           *wire
	addr        string
	stop        func() bool
	keep, whole bool
	once        sync.Once
}

func (b *wireBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.whole = true
	}
	return n, err
}

func (b *wireBody) Close() error {
	b.once.Do(func() {
		if b.stop() && b.keep && b.whole {
			b.t.put(b.addr, b.w)
			return
		}
		b.w.Close()
	})
	return nil
}

// take returns an idle connection on which nothing has happened, or nil.
func (t *transport) take(addr string) *wire {
	for {
		t.mu.Lock()
		ws := t.idle[addr]
		if len(ws) == 0 {
			t.mu.Unlock()
			return nil
		}
		w := ws[len(ws)-1]
		t.idle[addr] = ws[:len(ws)-1]
		t.mu.Unlock()
		if w.quiet() {
			return w
		}
		w.Close()
	}
}

func (t *transport) put(addr string, w *wire) {
	w.rested = time.Now()
	var old []*wire
	t.mu.Lock()
	if w.rested.Sub(t.swept) > maxRest {
		old = t.sweepLocked(w.rested)
	}
	ws := t.idle[addr]
	if len(ws) >= maxIdle {
		old, ws = append(old, ws[0]), slices.Delete(ws, 0, 1)
	}
	t.idle[addr] = append(ws, w)
	t.mu.Unlock()
	for _, o := range old {
		o.Close()
	}
}

// sweepLocked takes away what has rested too long, of all workers: one that is gone
// for good is never asked again, and its connections would stay for ever.
func (t *transport) sweepLocked(now time.Time) (old []*wire) {
	t.swept = now
	for addr, ws := range t.idle {
		n := 0
		for n < len(ws) && now.Sub(ws[n].rested) > maxRest {
			n++
		}
		old = append(old, ws[:n]...)
		if t.idle[addr] = slices.Delete(ws, 0, n); n == len(ws) {
			delete(t.idle, addr)
		}
	}
	return old
}

// CloseIdleConnections closes what is at rest.
func (t *transport) CloseIdleConnections() {
	t.other.CloseIdleConnections()
	t.mu.Lock()
	idle := t.idle
	t.idle = map[string][]*wire{}
	t.mu.Unlock()
	for _, ws := range idle {
		for _, w := range ws {
			w.Close()
		}
	}
}

// quiet reports whether the connection is open and has nothing to say: an end or
// bytes that nobody asked for make it useless.
func (w *wire) quiet() bool {
	if w.r.Buffered() > 0 || time.Since(w.rested) > maxRest {
		return false
	}
	tcp, ok := w.Conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var peek [1]byte
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), peek[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = errors.Is(err, unix.EAGAIN)
		return true
	})
	return quiet && err == nil
}
