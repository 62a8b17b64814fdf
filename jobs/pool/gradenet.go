package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prairielambda/prairielambda/internal/tunnel"
)

// errNotPublic says that an address is not one of the public Internet's.
var errNotPublic = errors.New("graders reach public addresses only")

// DialPublic connects to public addresses of other machines and refuses all that
// could be ours or our neighbours': loopback, private and shared networks, link-local
// ones (clouds keep their metadata there), addresses that embed another, and every
// address of this machine itself. It judges the address that is connected to, when
// that is done: what a name resolved to earlier does not matter.
func DialPublic(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: tunnel.DialTime, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		ours, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		if !isPublic(to.Addr()) || slices.ContainsFunc(ours, func(a net.Addr) bool { return isAt(a, to.Addr()) }) {
			return fmt.Errorf("%s: %w", to.Addr(), errNotPublic)
		}
		return nil
	}}
	return d.DialContext(ctx, network, address)
}

// Networks that the predicates of netip do not know. Of IPv6 only 2000::/3 is
// anybody's at all, and parts of it are not: Teredo and 6to4 lead into IPv4.
var (
	notPublic = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	global6 = netip.MustParsePrefix("2000::/3")
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && a.Zone() == "" && (a.Is4() || global6.Contains(a)) &&
		!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

func isAt(own net.Addr, a netip.Addr) bool {
	n, ok := own.(*net.IPNet)
	if !ok {
		return false
	}
	at, ok := netip.AddrFromSlice(n.IP)
	return ok && at.Unmap() == a.Unmap()
}

// proxy is all the network that a grader has: requests of HTTP, and tunnels
// (CONNECT) for whatever else speaks TCP, each connected by dial.
type proxy struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	forward httputil.ReverseProxy
	places  chan struct{} // of what is under way
}

const maxTunnels = 64

func newProxy(dial func(ctx context.Context, network, address string) (net.Conn, error)) *proxy {
	out := &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: time.Minute, MaxConnsPerHost: maxTunnels}
	return &proxy{dial: dial, places: make(chan struct{}, maxTunnels), forward: httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, Transport: out,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { refuseTo(w, err) },
	}}
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	case <-r.Context().Done():
		return
	}
	switch {
	case r.Method == http.MethodConnect:
		up, err := p.dial(r.Context(), "tcp", r.Host)
		if err != nil {
			refuseTo(w, err)
			return
		}
		tunnel.Join(w, r, up, nil)
	case r.URL.Scheme == "http" && r.URL.Host != "" && r.URL.User == nil:
		p.forward.ServeHTTP(w, r)
	default:
		http.Error(w, "this is a proxy for http:// and CONNECT", http.StatusBadRequest)
	}
}

// refuseTo says why nobody was reached, and nothing of who we are.
func refuseTo(w http.ResponseWriter, err error) {
	if errors.Is(err, errNotPublic) {
		http.Error(w, errNotPublic.Error(), http.StatusForbidden)
		return
	}
	why := "the other side does not answer"
	var dns *net.DNSError
	if errors.As(err, &dns) {
		why = "there is no such host: " + strings.ToValidUTF8(dns.Name, "?")
	}
	http.Error(w, why, http.StatusBadGateway)
}
