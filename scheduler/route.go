package scheduler

import (
	"net/http"
	"net/url"
	"strings"
)

// endpoint is one route. In a pattern {x} is one segment and {x...} the rest.
type endpoint struct {
	method  string
	pattern string
	verb    string // names the route in logs, metrics and scopes
	access  access
	handle  func(*Gateway, *exchange) error
}

// access is what a caller needs besides a known host and origin.
type access int

const (
	scoped access = iota // a token with the verb, or a public entry and its limits
	follow               // the same, but follows up on a call that was counted already
	open                 // nothing
)

// endpoints are all routes; /openapi.json describes the same ones.
func endpoints() []endpoint {
	return []endpoint{
		{http.MethodPost, "/courses/{course}/{version}/question/{qid...}", "invoke", scoped, (*Gateway).question},
		{http.MethodPost, "/courses/{course}/{version}/element/{name}", "invoke", scoped, (*Gateway).element},
		{http.MethodPost, "/courses/{course}/{version}/process/{qid...}", "invoke", scoped, (*Gateway).process},
		{http.MethodPost, "/courses/{course}/{version}/grade/{qid...}", "grade", scoped, (*Gateway).grade},
		{http.MethodPost, "/courses/{course}/{version}", "invoke", scoped, (*Gateway).batch},
		{http.MethodGet, "/courses/{course}/{version}/session", "session", scoped, (*Gateway).session},
		{http.MethodGet, "/courses/{course}/{version}/files/{path...}", "files", scoped, (*Gateway).files},
		{http.MethodGet, "/runtimes", "run", scoped, (*Gateway).listRuntimes},
		{http.MethodPost, "/run", "run", scoped, (*Gateway).run},
		{http.MethodPost, "/run_program", "run", scoped, (*Gateway).submit},
		{http.MethodDelete, "/run_program/{id}", "run", follow, (*Gateway).cancelRun},
		{http.MethodPost, "/check_output", "run", follow, (*Gateway).checkOutput},
		{http.MethodPost, "/download", "run", scoped, (*Gateway).download},
		{http.MethodGet, "/", "run", scoped, (*Gateway).executeSocket},
		{http.MethodPost, "/purge", "purge", scoped, (*Gateway).purge},
		{http.MethodGet, "/healthz", "health", open, (*Gateway).health},
		{http.MethodGet, "/readyz", "health", open, (*Gateway).ready},
		{http.MethodGet, "/openapi.json", "health", open, (*Gateway).serveOpenAPI},
		{http.MethodGet, "/metrics", "metrics", scoped, (*Gateway).serveMetrics},
	}
}

// route finds the endpoint of a request. The path is matched as it was sent, so
// that a%2Fb is one segment of a pattern and the same as a/b in its rest; one
// slash at the end changes nothing; nothing is cleaned or redirected. At / only a
// WebSocket is ours: pages belong to the Fallback.
func (g *Gateway) route(method string, u *url.URL, isUpgrade bool) (*endpoint, map[string]string, error) {
	segs := strings.Split(strings.TrimPrefix(strings.TrimSuffix(u.EscapedPath(), "/"), "/"), "/")
	var allow []string
	for i := range g.endpoints {
		e := &g.endpoints[i]
		vars, ok, err := match(e.pattern, segs)
		if !ok || e.pattern == "/" && !isUpgrade {
			continue
		}
		if method != e.method && (method != http.MethodHead || e.method != http.MethodGet) {
			allow = append(allow, e.method)
			continue
		}
		return e, vars, err
	}
	if allow != nil {
		f := refuse(http.StatusMethodNotAllowed, "method_not_allowed", "use "+strings.Join(allow, " or "))
		f.header = http.Header{"Allow": allow}
		return nil, nil, f
	}
	return nil, nil, nil
}

// match reports whether segs fit pattern. An error means that they do, but that
// a part of them does not decode.
func match(pattern string, segs []string) (vars map[string]string, ok bool, err error) {
	vars = map[string]string{}
	for p := range strings.SplitSeq(pattern[1:], "/") {
		if len(segs) == 0 {
			return nil, false, nil
		}
		if p == "" || p[0] != '{' {
			if p != segs[0] {
				return nil, false, nil
			}
			segs = segs[1:]
			continue
		}
		raw, rest := segs[0], segs[1:]
		name := strings.Trim(p, "{}")
		if cut, isRest := strings.CutSuffix(name, "..."); isRest {
			name, raw, rest = cut, strings.Join(segs, "/"), nil
		}
		val, uerr := url.PathUnescape(raw)
		if uerr != nil || val == "" {
			err = refuse(http.StatusBadRequest, "bad_path", "the path does not decode, or a part of it is empty")
		}
		vars[name], segs = val, rest
	}
	return vars, len(segs) == 0, err
}
