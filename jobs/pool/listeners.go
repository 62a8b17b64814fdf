package pool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// A course's own server takes its time until it listens. After a session that went
// well, the next one's server is started: a fresh process that waits for one
// session, in a sandbox of its own, and has been asked nothing.
type listeners struct {
	pool *Pool
	over context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex           // guards the fields below
	open   map[string]*listener // by listenerKey; nil while it is being started
	taken  int64
	closed bool
}

// listener is a server that waits.
type listener struct {
	*server
	opened *opened
	rest   *time.Timer
}

const (
	maxListeners = 8
	listenerRest = 2 * time.Minute
)

func newListeners(p *Pool) *listeners {
	over, end := context.WithCancel(context.Background())
	return &listeners{pool: p, over: over, end: end, open: map[string]*listener{}}
}

// listenerKey tells servers apart: a session gets none with other limits, or that
// sees another question.
func listenerKey(v *version, l *lambda, see *sight, limits jobs.Limits) string {
	return fmt.Sprintf("%s\x00%s\x00%v\x00%#v", v.key(), l.dir, limits, *see)
}

// take returns a server that listens, or nil.
func (ls *listeners) take(key string, v *version) *server {
	ls.mu.Lock()
	l := ls.open[key]
	if l != nil {
		delete(ls.open, key)
	}
	ls.mu.Unlock()
	if l == nil {
		return nil
	}
	l.rest.Stop()
	l.opened.close() // its mounts stay attached, and the session holds the version
	if l.opened.v != v || !l.box.Alive() {
		l.stop(nil)
		return nil
	}
	l.waited = l.box.Used().Wall
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.taken++
	return l.server
}

// want starts the server of the next session like this one, while slots are plenty.
func (ls *listeners) want(key string, v *version, l *lambda, see *sight, limits jobs.Limits) {
	total, free, _ := ls.pool.Slots()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if _, there := ls.open[key]; there || ls.closed || ls.pool.cfg.Spares <= 0 || len(ls.open) >= maxListeners || 2*free <= total {
		return
	}
	ls.open[key] = nil
	s := &shelf{v: [2]string{v.course, v.name}, see: see}
	ls.work.Go(func() { ls.start(key, s, l, limits) })
}

func (ls *listeners) start(key string, s *shelf, l *lambda, limits jobs.Limits) {
	var srv *server
	o, err := s.open(ls.over, ls.pool)
	if err == nil {
		if srv, _, err = ls.pool.startServer(ls.over, o.v, l, o.own, limits); srv == nil {
			o.close()
		}
	}
	if err != nil && ls.over.Err() == nil {
		ls.pool.cfg.Log.Warn().Err(err).Msg("cannot start a course's server ahead")
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if srv == nil {
		delete(ls.open, key)
		return
	}
	w := &listener{server: srv, opened: o}
	w.rest = time.AfterFunc(listenerRest, func() { ls.drop(key, w) })
	ls.open[key] = w
}

// drop ends one that nobody took.
func (ls *listeners) drop(key string, w *listener) {
	ls.mu.Lock()
	waits := ls.open[key] == w
	if waits {
		delete(ls.open, key)
	}
	ls.mu.Unlock()
	if waits {
		w.stop(nil)
		w.opened.close()
	}
}

// count is how many wait.
func (ls *listeners) count() (n int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.open {
		if l != nil {
			n++
		}
	}
	return n
}

func (ls *listeners) close() {
	ls.mu.Lock()
	ls.closed = true
	ls.mu.Unlock()
	ls.end()
	ls.work.Wait()
	ls.mu.Lock()
	left := map[string]*listener{}
	for key, l := range ls.open {
		left[key] = l
	}
	ls.mu.Unlock()
	for key, l := range left {
		l.rest.Stop()
		ls.drop(key, l)
	}
}
