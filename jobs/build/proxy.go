package build

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/internal/tunnel"
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
}

const maxRefusals = 20 // that are told of

func newProxy(mirrors []*url.URL, most int64, out func(string)) *proxy {
	p := &proxy{mirrors: mirrors, out: out}
	p.left.Store(most)
	p.client = http.Transport{DialContext: (&net.Dialer{Timeout: tunnel.DialTime}).DialContext, ResponseHeaderTimeout: time.Minute, DisableCompression: true}
	return p
}

// serve answers on ln until stop is called, which waits for the end of all that it began.
func (p *proxy) serve(ln net.Listener) (stop func()) {
	end := tunnel.Serve(ln, p)
	return func() {
		end()
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
	up, err := p.client.DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		p.out(fmt.Sprintf("network: %.200q: %v", r.Host, err))
		http.Error(w, "the mirror does not answer", http.StatusBadGateway)
		return
	}
	tunnel.Join(w, r, up, p.metered)
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
