package hedge

import (
	"slices"
	"sync"
	"time"
)

// Budget keeps extra attempts below a share of all calls, from the first call
// on: it starts empty. It is safe for concurrent use.
type Budget struct {
	share float64
	limit float64

	mu     sync.Mutex // guards tokens
	tokens float64
}

// NewBudget allows share (0.05 is 5 %) extra attempts, and at most burst at once.
func NewBudget(share float64, burst int) *Budget {
	return &Budget{share: share, limit: float64(burst)}
}

// Earn counts one call.
func (b *Budget) Earn() {
	b.mu.Lock()
	b.tokens = min(b.tokens+b.share, b.limit)
	b.mu.Unlock()
}

// Spend takes one extra attempt, if there is one to take.
func (b *Budget) Spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

const (
	window     = 128  // durations remembered of one class
	enough     = 20   // durations needed before a percentile means something
	maxClasses = 4096 // least recently made classes are forgotten beyond this
)

// Latency knows how long calls of a class have lately taken. It is safe for
// concurrent use.
type Latency struct {
	mu      sync.Mutex // guards all below
	classes map[string]*ring
	order   []string
}

type ring struct {
	d    [window]time.Duration
	n    int // durations ever recorded
	p95  time.Duration
	next int // n at which p95 is computed again
}

// NewLatency returns an empty Latency.
func NewLatency() *Latency { return &Latency{classes: map[string]*ring{}} }

// Record adds one duration.
func (l *Latency) Record(class string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.classes[class]
	if r == nil {
		if len(l.order) == maxClasses {
			delete(l.classes, l.order[0])
			l.order = l.order[1:]
		}
		r = &ring{next: enough}
		l.classes[class] = r
		l.order = append(l.order, class)
	}
	r.d[r.n%window] = d
	r.n++
	if r.n >= r.next {
		s := slices.Clone(r.d[:min(r.n, window)])
		slices.Sort(s)
		r.p95, r.next = s[len(s)*95/100], r.n+8
	}
}

// P95 returns the 95th percentile of the last durations, and false while there are too few.
func (l *Latency) P95(class string) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.classes[class]
	if r == nil || r.n < enough {
		return 0, false
	}
	return r.p95, true
}
