package pool

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// spare is a sealed, warmed sandbox of one course version that waits for its
// one call.
type spare struct {
	box   *sandbox.Box
	lease *version        // held for as long as the spare lives
	own   []sandbox.Mount // of a hot question: already mounted
	holds int64           // bytes of its own
}

// leastHeld stands for what a spare holds where no cgroup counts it.
const leastHeld = 8 << 20

// shelf holds the spares of one course version, or of one hot question of it.
type shelf struct {
	v      [2]string // course and version
	see    *sight    // nil: the whole version
	least  int       // spares, however rarely one is asked for
	spares []spare
	failed bool    // the last one could not be made: the next call asks again
	rate   float64 // calls a second, decaying
	last   time.Time
}

// tender is the one goroutine that owns all shelves. It makes spares one at a
// time, so that refilling never takes more than one core from calls.
type tender struct {
	pool   *Pool
	most   int
	take   chan takeRequest
	heats  chan heatRequest
	made   chan madeSpare
	cancel context.CancelFunc
	done   chan struct{}
	drops  sync.WaitGroup

	waiting atomic.Int64 // spares that any call of their version can have
	hot     atomic.Int64 // those of hot questions
}

type takeRequest struct {
	v     *version
	see   *sight
	reply chan *spare
}

type madeSpare struct {
	key string
	s   spare
	err error
}

// A shelf's spares: enough for what arrives while one is being made, with room
// for a burst; a version that nobody called for a while has none.
const (
	sparesPerShelf = 8
	refillTime     = 0.02 // seconds to make one, generously
	idleShelf      = 2 * time.Minute
	rateWindow     = 5.0 // seconds
)

func newTender(p *Pool, most int) *tender {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tender{
		pool: p, most: most, take: make(chan takeRequest), heats: make(chan heatRequest, 64), made: make(chan madeSpare), cancel: cancel, done: make(chan struct{}),
	}
	go t.run(ctx)
	return t
}

func (t *tender) close() {
	t.cancel()
	<-t.done
	t.drops.Wait()
}

// claim takes a spare of v, or of see, or nil when there is none.
func (t *tender) claim(v *version, see *sight) *spare {
	r := takeRequest{v, see, make(chan *spare, 1)}
	select {
	case t.take <- r:
		return <-r.reply
	case <-t.done:
		return nil
	}
}

func (t *tender) run(ctx context.Context) {
	defer close(t.done)
	shelves, heats := map[string]*shelf{}, map[string]*heat{}
	total, making := 0, ""
	held := int64(0)                              // bytes that the spares hold
	again := time.NewTicker(5 * time.Millisecond) // looks again after a wait
	defer again.Stop()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		usual := forAnyCall(shelves)
		t.waiting.Store(usual)
		t.hot.Store(int64(total) - usual)
		if making == "" && !t.wait(shelves) {
			if key := poorest(shelves); key != "" {
				if total >= t.most || held >= t.pool.cfg.SpareMemory {
					n, bytes := t.yield(shelves, shelves[key].last)
					total, held = total-n, held-bytes
				}
				if total < t.most && held < t.pool.cfg.SpareMemory {
					making = key
					go t.make(ctx, key, shelves[key])
				}
			}
		}
		select {
		case <-ctx.Done():
			if making != "" {
				if m := <-t.made; m.err == nil {
					t.drop(m.s)
				}
			}
			for _, s := range shelves {
				for _, sp := range s.spares {
					t.drop(sp)
				}
			}
			return
		case r := <-t.take:
			now, key := time.Now(), shelfKey(r.v, r.see)
			s := shelves[key]
			if s == nil && r.see != nil {
				r.reply <- nil // not hot, and its version counts the call
				continue
			}
			if s == nil {
				s = newShelf(r.v, nil)
				s.least = t.pool.cfg.SparesEach
				shelves[key] = s
			}
			s.arrived(now)
			if whole := shelves[r.v.key()]; whole != nil {
				whole.last = now
			}
			for len(s.spares) > 0 && s.spares[len(s.spares)-1].lease != r.v { // of a mount that is gone
				n := len(s.spares) - 1
				t.drop(s.spares[n])
				total, held = total-1, held-s.spares[n].holds
				s.spares = s.spares[:n]
			}
			if n := len(s.spares); n > 0 { // last in, first out: its pages are the warmest
				sp := s.spares[n-1]
				s.spares = s.spares[:n-1]
				total--
				held -= sp.holds
				t.pool.cfg.Courses.release(sp.lease)
				r.reply <- &sp
				continue
			}
			r.reply <- nil
		case r := <-t.heats:
			if key := shelfKey(r.v, &r.see); shelves[key] == nil && heated(heats, r, time.Now()) {
				shelves[key] = newShelf(r.v, &r.see)
				shelves[key].arrived(time.Now())
			}
		case m := <-t.made:
			making = ""
			if m.err != nil {
				t.pool.cfg.Log.Warn().Err(m.err).Str("version", m.key).Msg("cannot make a spare")
			}
			switch s := shelves[m.key]; {
			case m.err != nil && s != nil && len(s.spares) > 0:
				s.failed = true // those that wait are as good as before
			case m.err != nil:
				delete(shelves, m.key)
			case s == nil:
				t.drop(m.s)
			default:
				s.spares = append(s.spares, m.s)
				total++
				held += m.s.holds
			}
		case <-again.C:
		case now := <-tick.C:
			for key, s := range shelves {
				if now.Sub(s.last) > idleShelf {
					for _, sp := range s.spares {
						held -= sp.holds
						t.drop(sp)
					}
					total -= len(s.spares)
					delete(shelves, key)
				}
			}
		}
	}
}

func forAnyCall(shelves map[string]*shelf) (n int64) {
	for _, s := range shelves {
		if s.see == nil {
			n += int64(len(s.spares))
		}
	}
	return n
}

// wait reports that making a spare should wait: a call is being answered, whoever
// comes next still finds a spare, and so does the one after.
func (t *tender) wait(shelves map[string]*shelf) bool {
	busy := len(t.pool.running)
	if busy == 0 {
		return false
	}
	for _, s := range shelves {
		if n := len(s.spares); n == 0 || busy < runtime.GOMAXPROCS(0) && 2*n < s.want() {
			return false
		}
	}
	return true
}

func newShelf(v *version, see *sight) *shelf {
	return &shelf{v: [2]string{v.course, v.name}, see: see}
}

// arrived counts a call.
func (s *shelf) arrived(now time.Time) {
	s.failed = false
	s.rate = s.rate*math.Exp(-now.Sub(s.last).Seconds()/rateWindow) + 1/rateWindow
	s.last = now
}

func (s *shelf) want() int {
	if s.failed {
		return 0
	}
	return max(s.least, min(sparesPerShelf, 1+int(math.Ceil(2*s.rate*refillTime))))
}

// poorest names the shelf that lacks most, among equals the most recently used.
func poorest(shelves map[string]*shelf) string {
	best, lack := "", 0
	for key, s := range shelves {
		d := s.want() - len(s.spares)
		if d > lack || d == lack && d > 0 && s.last.After(shelves[best].last) {
			best, lack = key, d
		}
	}
	return best
}

// yield drops one spare of the shelf that was idle longest, if it has been for
// longer than the one in need; it returns how many it dropped, and their bytes.
func (t *tender) yield(shelves map[string]*shelf, need time.Time) (int, int64) {
	var idle *shelf
	for _, s := range shelves {
		if len(s.spares) > 0 && (idle == nil || s.last.Before(idle.last)) {
			idle = s
		}
	}
	if idle == nil || !idle.last.Before(need) {
		return 0, 0
	}
	n := len(idle.spares) - 1
	last := idle.spares[n]
	t.drop(last)
	idle.spares = idle.spares[:n]
	return 1, last.holds
}

// make makes one spare: forked, sealed, the version's shared directories mounted,
// warmed by our own work. It runs no course code.
func (t *tender) make(ctx context.Context, key string, s *shelf) {
	m := madeSpare{key: key}
	defer func() { t.made <- m }()
	o, err := s.open(ctx, t.pool)
	if err != nil {
		m.err = err
		return
	}
	if m.s, m.err = t.pool.makeSpare(ctx, o, s.see); m.err != nil {
		o.close()
		return
	}
	t.compile(ctx, o.v)
}

// makeSpare makes one of what was opened, which is the spare's from then on.
func (p *Pool) makeSpare(ctx context.Context, o *opened, see *sight) (spare, error) {
	hello, err := see.hello()
	if err != nil {
		return spare{}, err
	}
	box, err := p.spawn(ctx, o.usual, sandbox.Spec{Limits: p.cfg.Default, Mounts: o.mounts(), Code: o.v.bytecode(), Hello: hello, Idle: true})
	if err != nil {
		return spare{}, err
	}
	if turn := box.Ready(ctx, nil, readyWithin); turn.Outcome != jobs.OK {
		box.Close()
		return spare{}, notReady(ctx, turn)
	}
	return spare{box, o.v, o.own, max(box.Used().Memory, leastHeld)}, nil
}

// drop ends a spare, off the tender's own goroutine: a process that will not die
// must not keep the others from being claimed.
func (t *tender) drop(s spare) {
	t.drops.Go(func() {
		s.box.Close()
		closeMounts(s.own)
		t.pool.cfg.Courses.release(s.lease)
	})
}

// claim gets a sandbox with what one session sees, in an environment: a spare that
// is given the session's own directories late, or a new one. fresh means that its
// first frame, the one that says ready, is still to come.
func (p *Pool) claim(ctx context.Context, o *opened, in *environment, limits jobs.Limits) (box *sandbox.Box, fresh bool, err error) {
	if in == o.usual && spareFits(limits, p.cfg.Default) {
		if sp := p.tender.claim(o.v, nil); sp != nil {
			box := sp.box
			if err := box.Mount(ctx, o.own); err == nil && box.Alive() {
				box.Restart(limits)
				p.claimed.Add(1)
				return box, false, nil
			}
			box.Close() // it died, or could not be given its question: a new one can
		}
	}
	p.forked.Add(1)
	box, err = p.spawn(ctx, in, sandbox.Spec{Limits: limits, Mounts: o.mounts(), Code: o.v.bytecode()})
	return box, true, err
}

// mounts are all that a session sees.
func (o *opened) mounts() []sandbox.Mount {
	return append(append([]sandbox.Mount{}, o.v.shared...), o.own...)
}

// spareFits: limits that were fixed when a spare was made cannot be changed by a claim.
func spareFits(l, made jobs.Limits) bool {
	return l.Memory == made.Memory && l.Processes == made.Processes && l.Files == made.Files && l.CPU <= made.CPU
}
