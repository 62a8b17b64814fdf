package build

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// proxy is all the network that a build has: a forward proxy that reaches the
// mirrors and nothing else. It follows no redirect; a client that does asks again,
// and is judged again.
type proxy struct {
	mirrors []*url.URL
	out     func(line string)
	left    atomic.Int64 // bytes that may still be received
	refused atomic.Int64
	client  http.Transport
	wg      sync.WaitGroup
}

const (
	maxRefusals = 20 // that are told of
	dialTime    = 20 * time.Second
)

func newProxy(mirrors []*url.URL, most int64, out func(string)) *proxy {
	p := &proxy{mirrors: mirrors, out: out}
	p.left.Store(most)
	p.client = http.Transport{DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, ResponseHeaderTimeout: time.Minute, DisableCompression: true}
	return p
}

// serve answers on ln until stop is called, which waits for the end of all that it began.
func (p *proxy) serve(ln net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	srv := &http.Server{Handler: p, ReadHeaderTimeout: dialTime, MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return ctx }}
	p.wg.Go(func() { _ = srv.Serve(ln) }) // ends with Close
	return func() {
		cancel()
		_ = srv.Close()
		p.wg.Wait()
		p.client.CloseIdleConnections()
	}
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect && p.mirrorAt(r.Host):
		p.tunnel(w, r)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && p.below(r.URL):
		p.pass(w, r)
	default:
		p.refuse(w, r)
	}
}

// mirrorAt reports whether a mirror speaks TLS at host, name and port.
func (p *proxy) mirrorAt(host string) bool {
	for _, m := range p.mirrors {
		if m.Scheme == "https" && strings.EqualFold(host, withPort(m)) {
			return true
		}
	}
	return false
}

// below reports whether u is a mirror's, or lies below it.
func (p *proxy) below(u *url.URL) bool {
	if u.Scheme != "http" || u.User != nil || u.Opaque != "" || strings.Contains(u.Path, "\\") || path.Clean("/"+u.Path) != strings.TrimSuffix("/"+strings.TrimPrefix(u.Path, "/"), "/") && u.Path != "/" {
		return false
	}
	for _, m := range p.mirrors {
		if m.Scheme == "http" && strings.EqualFold(withPort(u), withPort(m)) && strings.HasPrefix(u.Path+"/", strings.TrimSuffix(m.Path, "/")+"/") {
			return true
		}
	}
	return false
}

func withPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

func (p *proxy) refuse(w http.ResponseWriter, r *http.Request) {
	what := r.Host
	if r.Method != http.MethodConnect {
		what = r.URL.Redacted()
	}
	if n := p.refused.Add(1); n <= maxRefusals {
		p.out(fmt.Sprintf("network: refused %.10q %.200q, which is no mirror of this builder", r.Method, what))
	}
	http.Error(w, "no mirror of this builder", http.StatusForbidden)
}

// passed are the headers that a package client's request may carry on.
var passed = []string{"Accept", "Accept-Encoding", "Cache-Control", "If-Modified-Since", "If-None-Match", "If-Range", "Range", "User-Agent"}

func (p *proxy) pass(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), nil)
	if err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	for _, h := range passed {
		if v := r.Header.Values(h); len(v) > 0 {
			req.Header[h] = v
		}
	}
	resp, err := p.client.RoundTrip(req)
	if err != nil {
		p.out(fmt.Sprintf("network: %.200q: %v", r.URL.Redacted(), err))
		http.Error(w, "the mirror does not answer", http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		if k != "Connection" && k != "Keep-Alive" && k != "Transfer-Encoding" {
			w.Header()[k] = v
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, p.metered(resp.Body)) // the client sees a length that is short
}

// tunnel joins the client with a mirror, whose TLS is between the two.
func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	up, err := (&net.Dialer{Timeout: dialTime}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		p.out(fmt.Sprintf("network: %.200q: %v", r.Host, err))
		http.Error(w, "the mirror does not answer", http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	end := context.AfterFunc(r.Context(), func() { up.Close(); down.Close() })
	defer end()
	if _, err := io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	p.wg.Add(1) // the server does not wait for what was hijacked
	defer p.wg.Done()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, buf) // until either side ends
		up.Close()
	}()
	_, _ = io.Copy(down, p.metered(up))
	down.Close()
	<-done
}

// metered ends r when all that a build may receive has been.
func (p *proxy) metered(r io.Reader) io.Reader { return &meter{r, p} }

type meter struct {
	r io.Reader
	p *proxy
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if m.p.left.Add(-int64(n)) < 0 {
		return 0, fmt.Errorf("the build has received more than it may")
	}
	return n, err
}
