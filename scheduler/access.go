package scheduler

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/scheduler/token"
)

// authorize decides whether the caller may use e, and notes who it is. Without a
// tokens file everybody may who got this far.
func (g *Gateway) authorize(x *exchange, e *endpoint) error {
	if g.cfg.Tokens == nil || e.access == open {
		return nil
	}
	secret := bearer(x.r)
	t, err := g.cfg.Tokens.Token(secret)
	if err == nil {
		x.note.token = t.ID
		if !t.Allows(e.verb, x.vars["course"]) && !(e.access == follow && t.AllowsSome("grade")) {
			return refuse(http.StatusForbidden, "scope_missing", "the token does not cover "+e.verb+" here")
		}
		return nil
	}
	if secret == "" {
		if p := g.publicEntry(x, e); p != nil {
			x.note.token, x.public = "public:"+p.ID, p
			if e.access == follow {
				return nil
			}
			return g.admitPublic(x, p)
		}
	}
	f := refuse(http.StatusUnauthorized, "unauthorized", err.Error())
	f.header = http.Header{"Www-Authenticate": {"Bearer"}}
	return f
}

func (g *Gateway) publicEntry(x *exchange, e *endpoint) *token.Public {
	ps := g.cfg.Tokens.Public(x.r.Header.Get("Origin"))
	if i := slices.IndexFunc(ps, func(p *token.Public) bool {
		return p.Allows(e.verb, x.vars["course"]) || e.access == follow && p.Allows("grade", "")
	}); i >= 0 {
		return ps[i]
	}
	return nil
}

// admitPublic counts a call without a secret against its address.
func (g *Gateway) admitPublic(x *exchange, p *token.Public) error {
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		host = x.r.RemoteAddr
	}
	leave, again := g.limiter.Enter(p, host)
	if leave == nil {
		f := refuse(http.StatusTooManyRequests, "too_many", "this address has called too often")
		f.retryAfter, f.body.Retryable = again, true
		return f
	}
	x.leave = leave
	return nil
}

// bearer is the secret of an Authorization header. A browser's WebSocket cannot
// send that header; it offers the subprotocol "bearer.SECRET" instead.
func bearer(r *http.Request) string {
	if scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(secret)
	}
	for p := range strings.SplitSeq(r.Header.Get("Sec-Websocket-Protocol"), ",") {
		if secret, ok := strings.CutPrefix(strings.TrimSpace(p), "bearer."); ok {
			return secret
		}
	}
	return ""
}

// knownOrigin reports whether pages of origin, which is not our own, may call at all.
func (g *Gateway) knownOrigin(origin string) bool {
	return slices.Contains(g.cfg.Origins, origin) || g.cfg.Tokens != nil && len(g.cfg.Tokens.Public(origin)) > 0
}

// cors lets a page of a known origin read the answer, and answers the question
// that browsers ask before the call. guard has refused unknown origins before.
func (g *Gateway) cors(x *exchange) (preflight bool) {
	origin := x.r.Header.Get("Origin")
	h := x.w.Header()
	h.Add("Vary", "Origin")
	if origin == "" || !g.knownOrigin(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Prairie-Id, Prairie-Version, Retry-After")
	if x.r.Method != http.MethodOptions || x.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Prairie-Id, Prairie-Deadline")
	h.Set("Access-Control-Max-Age", "600")
	x.w.WriteHeader(http.StatusNoContent)
	return true
}
