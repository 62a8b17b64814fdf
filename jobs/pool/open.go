package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Whatever touches a course's mount is done before a call takes its place to run,
// and is left behind when the call is given up: a mount that does not answer holds
// up those who ask it, and nobody else.

// opened is what one invocation uses of its course.
type opened struct {
	pool   *Pool
	v      *version
	groups []group
	usual  *environment // of the whole course
	hot    *spare       // has the question mounted; own is its
	own    []sandbox.Mount
}

// open finds what inv needs of its course. With hot it takes a spare that has its
// question mounted, where there is one. The caller closes it.
func (p *Pool) open(ctx context.Context, inv *jobs.Invocation, hot bool) (*opened, error) {
	o, err := apart(ctx, p.doors, inv.Course, func() (*opened, error) {
		v, err := p.cfg.Courses.hold(inv.Course, inv.Version)
		if err != nil {
			return nil, err
		}
		o := &opened{pool: p, v: v}
		if err := o.find(inv, hot); err != nil {
			o.close()
			return nil, err
		}
		return o, nil
	}, (*opened).close)
	if err != nil {
		return nil, err
	}
	if err := o.warm(ctx); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// warm waits for the interpreters of o's environments, in nobody's way.
func (o *opened) warm(ctx context.Context) error {
	for i := range o.groups {
		g := &o.groups[i]
		if o.hot != nil || !g.python() || g.wrong.Outcome != "" {
			continue
		}
		err := o.pool.envs.warm(ctx, g.in)
		var is bool
		if g.wrong, is = fault(err); err != nil && !is {
			return err
		}
	}
	return nil
}

func (o *opened) find(inv *jobs.Invocation, hot bool) (err error) {
	if o.groups, err = o.v.groups(inv); err != nil {
		return err
	}
	usual, unusual := o.pool.in(o.v, nil)
	o.usual = usual
	for i := range o.groups {
		g := &o.groups[i]
		if !g.python() && (g.lambda.fault != "" || g.lambda.Environment.root == "") {
			continue
		}
		in, err := usual, unusual
		if g.lambda != nil && g.lambda != o.v.lambda {
			in, err = o.pool.in(o.v, g.lambda)
		}
		var is bool
		if g.wrong, is = fault(err); err != nil && !is {
			return err
		}
		g.in = in
	}
	if hot && len(o.groups) == 1 && o.groups[0].hot(o.v) {
		limits := o.pool.limits(inv.Limits)
		if see, one := o.pool.sight(inv, limits); one {
			o.hot = o.pool.tender.claim(o.v, &see)
		}
	}
	if o.hot != nil {
		o.own = o.hot.own
		return nil
	}
	o.own, err = o.v.own(inv)
	return err
}

// close ends what was not used and lets go of the course.
func (o *opened) close() {
	if o.hot != nil {
		o.hot.box.Close()
	}
	closeMounts(o.own)
	o.pool.cfg.Courses.release(o.v)
}

// doors bounds how many look-ups of one course or environment are under way: each
// takes a thread for as long as the mount does not answer.
type doors struct {
	most int

	mu   sync.Mutex // guards open
	open map[string]*door
}

type door struct {
	users  int
	places chan struct{}
}

func (d *doors) enter(ctx context.Context, of string) (leave func(), err error) {
	d.mu.Lock()
	r := d.open[of]
	if r == nil {
		r = &door{places: make(chan struct{}, d.most)}
		d.open[of] = r
	}
	r.users++
	d.mu.Unlock()
	out := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if r.users--; r.users == 0 {
			delete(d.open, of)
		}
	}
	select {
	case r.places <- struct{}{}:
		return func() { <-r.places; out() }, nil
	case <-ctx.Done():
		out()
		return nil, context.Cause(ctx)
	}
}

var errNoAnswer = errors.New("the mount does not answer")

// apart runs f, which may touch the mount of a course or an environment, and waits
// for it while ctx lasts. What f makes after that is undone.
func apart[T any](ctx context.Context, d *doors, of string, f func() (T, error), undo func(T)) (T, error) {
	var none T
	gone := func() error { return fmt.Errorf("%w: %s: %w", errNoAnswer, of, context.Cause(ctx)) }
	leave, err := d.enter(ctx, of)
	if err != nil {
		return none, gone()
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	go func() {
		defer leave()
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-ctx.Done():
			if err == nil {
				undo(v)
			}
		}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return none, gone()
	}
}

// What nobody's context bounds waits for a mount no longer than this.
const mountPatience = 5 * time.Second

// open finds what a spare of s needs of its course.
func (s *shelf) open(ctx context.Context, p *Pool) (*opened, error) {
	ctx, cancel := context.WithTimeout(ctx, mountPatience)
	defer cancel()
	o, err := apart(ctx, p.doors, s.v[0], func() (*opened, error) {
		v, err := p.cfg.Courses.hold(s.v[0], s.v[1])
		if err != nil {
			return nil, err
		}
		o := &opened{pool: p, v: v}
		if o.usual, err = p.in(v, nil); err == nil && s.see != nil {
			o.own, err = v.own(s.see.invocation())
		}
		if err != nil {
			o.close()
			return nil, err
		}
		return o, nil
	}, (*opened).close)
	if err != nil {
		return nil, err
	}
	if err := p.envs.warm(ctx, o.usual); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}
