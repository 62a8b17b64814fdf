package scheduler

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard refuses requests that a browser was tricked into sending.
//
// A rebound host name shows in Host: an attacker's page reaches us under the
// attacker's name, so only addresses, localhost and configured names are ours.
// A foreign page shows in Origin, which browsers send with every cross-site POST
// and every CORS request, or in Sec-Fetch-Site.
func (g *Gateway) guard(r *http.Request) error {
	if !g.knownHost(r.Host) {
		return refuse(http.StatusMisdirectedRequest, "foreign_host", "this gateway does not go by that name; see --host")
	}
	origin := r.Header.Get("Origin")
	if origin != "" && !sameHost(origin, r.Host) && !g.knownOrigin(origin) {
		return refuse(http.StatusForbidden, "foreign_origin", "pages of that origin may not call")
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if origin == "" && (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		return refuse(http.StatusForbidden, "foreign_origin", "pages of that origin may not call")
	}
	if r.Method == http.MethodPost && !plainOK(r) {
		return refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", "send application/json")
	}
	return nil
}

// plainOK accepts JSON, and what `curl -d` sends when no browser is involved. The
// types that a cross-site form can send are refused.
func plainOK(r *http.Request) bool {
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return false
	}
	if t == "application/x-www-form-urlencoded" {
		return r.Header.Get("Origin") == "" && r.Header.Get("Referer") == "" && r.Header.Get("Sec-Fetch-Site") == ""
	}
	return t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")
}

// knownHost reports whether host, with or without a port, is one of ours.
func (g *Gateway) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return name == "localhost" || slices.Contains(g.cfg.Hosts, name) || slices.Contains(g.cfg.Hosts, strings.ToLower(host))
}

// sameHost reports whether a page of origin was itself served by host.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, host)
}
