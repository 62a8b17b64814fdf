package pool

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/prairielambda/prairielambda/internal/tunnel"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// What a grader is told on its standard error when it gets less than it expects.
const (
	noNetwork = "prairielambda: the question asks for networking, which this worker does not give to graders (its operator can: worker --grader-network)\n"
	noUsers   = "prairielambda: this worker runs without root, so a grader is one user: su, chown and sudo fail\n"
)

// startGrader starts a grader as its image expects: root among users of its own,
// where the host can give it any, and otherwise the one user it is. Where its
// question asks for networking and the operator allows it, a proxy is its way out.
// stop is to be called when the grader has ended, whatever became of its start.
func (p *Pool) startGrader(ctx context.Context, cmd sandbox.Command, networking bool, spec sandbox.Spec) (box *sandbox.Box, stop func(), err error) {
	stop = func() {}
	if !p.cfg.Host.HasUsers() {
		if networking {
			spec.Output(true, []byte(noNetwork))
		}
		box, err = p.cfg.Host.Exec(ctx, spec, cmd)
		return box, stop, err
	}
	var serve func(net.Listener)
	switch {
	case networking && p.cfg.GraderNetwork == nil:
		spec.Output(true, []byte(noNetwork))
	case networking:
		cmd.Env = withProxy(cmd.Env)
		serve = func(ln net.Listener) { stop = tunnel.Serve(ln, newProxy(p.cfg.GraderNetwork)) }
	}
	box, err = p.cfg.Host.ExecAsRoot(ctx, spec, cmd, serve)
	return box, stop, err
}

// withProxy tells a program of its way out, unless its question says otherwise.
func withProxy(env []string) []string {
	env = slices.Clone(env)
	at := fmt.Sprintf("http://127.0.0.1:%d", sandbox.TreePort)
	for _, v := range []string{"http_proxy=" + at, "https_proxy=" + at, "HTTP_PROXY=" + at, "HTTPS_PROXY=" + at, "no_proxy=localhost,127.0.0.1"} {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			env = append(env, v)
		}
	}
	return env
}
