// Package admit decides who may run next: a queue per course in front of a
// bounded number of running calls.
//
// It guarantees that a freed place goes to the waiting course which holds the
// fewest places, first come first served within a course; that while several
// courses are active none of them holds every place; and that a call which would
// wait too long is refused at once, with an estimate of when to come back,
// instead of being left to time out. It refuses nobody because of another
// course's queue.
package admit

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// Config configures a Queue. The zero value of a field means its default.
type Config struct {
	// Capacity is the number of calls that may run at once; it may change, and who
	// sees it grow calls Fill. Default 4.
	Capacity func() int
	// MaxWait is the longest estimated wait that is still admitted. Default 5 s.
	MaxWait time.Duration
	// MaxQueue bounds one course's queue whatever the estimate. Default 4096.
	MaxQueue int
}

// Full is the refusal of a call that would wait too long.
type Full struct {
	Course     string
	RetryAfter time.Duration
}

// Error names the course and when to come back.
func (e *Full) Error() string {
	return fmt.Sprintf("too many calls of %s are waiting; try again in %s", e.Course, e.RetryAfter)
}

// active is how long after its last call a course still counts as one that others leave room for.
const active = 10 * time.Second

// Queue admits calls. It is safe for concurrent use.
type Queue struct {
	cfg Config

	mu      sync.Mutex // guards all below
	running int
	courses map[string]*course
	turn    uint64 // counts places given, for ties
	swept   time.Time
}

type course struct {
	name    string
	running int
	waiting list.List // of *waiter, in order of arrival
	held    time.Duration
	seen    time.Time
	turn    uint64 // when it last got a place
}

type waiter struct {
	place chan struct{} // closed when the place is given
	given bool
}

// New returns an empty queue.
func New(cfg Config) *Queue {
	if cfg.Capacity == nil {
		cfg.Capacity = func() int { return 4 }
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 5 * time.Second
	}
	if cfg.MaxQueue <= 0 {
		cfg.MaxQueue = 4096
	}
	return &Queue{cfg: cfg, courses: map[string]*course{}}
}

// Enter waits for a place for a call of the named course. The caller calls
// leave once, when the call is over. The error is a *Full or ctx's cause.
func (q *Queue) Enter(ctx context.Context, name string) (leave func(), err error) {
	now := time.Now()
	q.mu.Lock()
	q.sweepLocked(now)
	c := q.courses[name]
	if c == nil {
		c = &course{name: name}
		q.courses[name] = c
	}
	c.seen = now
	if c.waiting.Len() == 0 && q.roomLocked(c, now) {
		q.giveLocked(c)
		q.mu.Unlock()
		return q.leaver(c, now), nil
	}
	wait := q.estimateLocked(c, now)
	if deadline, ok := ctx.Deadline(); c.waiting.Len() >= q.cfg.MaxQueue || wait > q.cfg.MaxWait ||
		ok && now.Add(wait).After(deadline) {
		q.mu.Unlock()
		return nil, &Full{Course: name, RetryAfter: max(time.Second, wait.Round(time.Second))}
	}
	w := &waiter{place: make(chan struct{})}
	e := c.waiting.PushBack(w)
	q.mu.Unlock()

	select {
	case <-w.place:
		return q.leaver(c, time.Now()), nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.given { // the place and the end crossed each other
		q.backLocked(c)
	} else {
		c.waiting.Remove(e)
	}
	return nil, context.Cause(ctx)
}

func (q *Queue) leaver(c *course, since time.Time) func() {
	var once sync.Once
	return func() {
		once.Do(func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			c.held += (time.Since(since) - c.held) / 8
			q.backLocked(c)
		})
	}
}

func (q *Queue) giveLocked(c *course) {
	q.running++
	c.running++
	q.turn++
	c.turn = q.turn
}

// Fill gives places that the capacity has gained to those who wait. It need not be
// called when a call leaves.
func (q *Queue) Fill() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fillLocked()
}

// backLocked takes one place back and gives what is free to those who wait.
func (q *Queue) backLocked(c *course) {
	q.running--
	c.running--
	q.fillLocked()
}

func (q *Queue) fillLocked() {
	now := time.Now()
	for {
		next := q.nextLocked(now)
		if next == nil {
			return
		}
		w := next.waiting.Remove(next.waiting.Front()).(*waiter)
		w.given = true
		q.giveLocked(next)
		close(w.place)
	}
}

func (q *Queue) nextLocked(now time.Time) (best *course) {
	for _, c := range q.courses {
		if c.waiting.Len() == 0 || !q.roomLocked(c, now) {
			continue
		}
		if best == nil || c.running < best.running || c.running == best.running && c.turn < best.turn {
			best = c
		}
	}
	return best
}

// roomLocked reports whether c may take a free place.
func (q *Queue) roomLocked(c *course, now time.Time) bool {
	capacity := max(1, q.cfg.Capacity())
	return q.running < capacity && c.running < q.shareLocked(c, capacity, now)
}

// shareLocked is how many places c may hold: all, or three of four while another course is active.
func (q *Queue) shareLocked(c *course, capacity int, now time.Time) int {
	for _, o := range q.courses {
		if o != c && now.Sub(o.seen) < active {
			return max(1, capacity*3/4)
		}
	}
	return capacity
}

// estimateLocked is how long a call that comes now would wait, by how long calls of c lately held their places.
func (q *Queue) estimateLocked(c *course, now time.Time) time.Duration {
	busy := 1 // courses that compete for places
	for _, o := range q.courses {
		if o != c && o.waiting.Len() > 0 {
			busy++
		}
	}
	capacity := max(1, q.cfg.Capacity())
	places := max(1, min(q.shareLocked(c, capacity, now), capacity/busy))
	return c.held * time.Duration(c.waiting.Len()+1) / time.Duration(places)
}

// sweepLocked forgets courses that have been idle for long.
func (q *Queue) sweepLocked(now time.Time) {
	if now.Sub(q.swept) < active {
		return
	}
	q.swept = now
	for name, c := range q.courses {
		if c.running == 0 && c.waiting.Len() == 0 && now.Sub(c.seen) > 6*active {
			delete(q.courses, name)
		}
	}
}

// Depth returns how many calls run and how many wait.
func (q *Queue) Depth() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.courses {
		waiting += c.waiting.Len()
	}
	return q.running, waiting
}
