package preview

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// refuses says why a request is not from somebody who looks at this page.
//
// A page of a foreign name that was rebound to our address shows in Host; a
// foreign page that posts shows in Origin, or has no token.
func (s *Server) refuses(r *http.Request) string {
	if !s.ownHost(r.Host) {
		return "this page does not go by that name; open it as http://127.0.0.1:PORT"
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return ""
	}
	u, err := url.Parse(r.Header.Get("Origin"))
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
		return "only this page's own forms may change something"
	}
	return ""
}

func (s *Server) ownHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost") || slices.Contains(s.cfg.Hosts, strings.ToLower(host)) || slices.Contains(s.cfg.Hosts, "*")
}

// token proves that a form for this action on this subject came from our page.
func (s *Server) token(action, subject string) string {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(action + "\x00" + s.cfg.Course + "\x00" + subject))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// checkToken compares in constant time.
func (s *Server) checkToken(r *http.Request, action, subject string) error {
	if !hmac.Equal([]byte(r.PostFormValue("token")), []byte(s.token(action, subject))) {
		return refuse(http.StatusForbidden, "this form is not from this page, or too old; go back, reload and try again")
	}
	return nil
}
