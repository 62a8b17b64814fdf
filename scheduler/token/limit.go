package token

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxAddresses bounds what is remembered of callers without a secret.
const maxAddresses = 1 << 16

// Limiter keeps the rate and concurrency of public entries per address. It is
// safe for concurrent use.
type Limiter struct {
	now func() time.Time

	mu   sync.Mutex // guards seen
	seen map[caller]*usage
}

type caller struct{ entry, address string }

type usage struct {
	bucket  *rate.Limiter
	running int
	last    time.Time
}

// NewLimiter returns an empty Limiter.
func NewLimiter() *Limiter { return &Limiter{now: time.Now, seen: map[caller]*usage{}} }

// Enter counts a call of address under p, and returns what the caller must call
// at its end, or when to come back. While too many addresses are remembered new
// ones are refused: a flood of addresses costs strangers, not memory.
func (l *Limiter) Enter(p *Public, address string) (leave func(), again time.Duration) {
	now := l.now()
	k := caller{p.ID, address}
	every, burst := rate.Limit(float64(p.PerMinute)/60), max(1, p.PerMinute/6)
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.seen[k]
	if u == nil {
		if len(l.seen) >= maxAddresses {
			l.sweepLocked(now)
		}
		if len(l.seen) >= maxAddresses {
			return nil, time.Minute
		}
		u = &usage{bucket: rate.NewLimiter(every, burst)}
		l.seen[k] = u
	}
	if u.bucket.Limit() != every || u.bucket.Burst() != burst { // the file was edited
		u.bucket.SetLimitAt(now, every)
		u.bucket.SetBurstAt(now, burst)
	}
	u.last = now
	if u.running >= p.Concurrency {
		return nil, time.Second
	}
	r := u.bucket.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return nil, wait
	}
	u.running++
	var once sync.Once
	return func() {
		once.Do(func() {
			l.mu.Lock()
			u.running--
			l.mu.Unlock()
		})
	}, 0
}

func (l *Limiter) sweepLocked(now time.Time) {
	for k, u := range l.seen {
		if u.running == 0 && now.Sub(u.last) > 2*time.Minute {
			delete(l.seen, k)
		}
	}
}
