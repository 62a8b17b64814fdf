package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/rs/zerolog"
)

// ErrOriginDown says that a fetch was not tried, because those before it failed.
var ErrOriginDown = errors.New("the store does not answer")

// GuardConfig tunes a Guard; the zero value is right.
type GuardConfig struct {
	Failures  int           // in a row that open the breaker; 0 means 5
	SlowAfter time.Duration // after which an unanswered fetch counts as one and is sent again; 0 means 3 s
	Pause     time.Duration // of an open breaker before one fetch may try; 0 means 500 ms, doubling to 8 s
	HedgeMin  time.Duration // no second GET earlier than this; 0 means 20 ms
	Log       zerolog.Logger
}

// Guard makes an origin bearable: a GET that takes unusually long is asked a
// second time and the first good answer counts; one that hangs is sent again,
// so that readers of a blob do not wait for a connection that died; and while the origin is down,
// fetches fail at once instead of each waiting for its deadline. A missing or
// corrupt blob is an answer, not a failure of the origin. Safe for concurrent use.
type Guard struct {
	origin blob.Fetcher
	cfg    GuardConfig

	mu       sync.Mutex // guards the rest
	failures int
	until    time.Time // the breaker is open until then; zero: closed
	pause    time.Duration
	trying   bool // one fetch tries whether the origin is back
	mean     time.Duration
	spread   time.Duration
	budget   float64 // second GETs that may be spent: one for every ten fetches
	hedges   int64
	rejected int64
}

// NewGuard wraps an origin.
func NewGuard(origin blob.Fetcher, cfg GuardConfig) *Guard {
	if cfg.Failures <= 0 {
		cfg.Failures = 5
	}
	if cfg.SlowAfter <= 0 {
		cfg.SlowAfter = 3 * time.Second
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 500 * time.Millisecond
	}
	if cfg.HedgeMin <= 0 {
		cfg.HedgeMin = 20 * time.Millisecond
	}
	return &Guard{origin: origin, cfg: cfg, pause: cfg.Pause, budget: 2}
}

type answer struct {
	b         []byte
	err       error
	overtaken bool // given up for newer GETs of the same blob
}

// Fetch asks the origin, twice if need be.
func (g *Guard) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	hedge, err := g.admit()
	if err != nil {
		return nil, fmt.Errorf("fetch blob %s: %w", d, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the slower twin
	answers := make(chan answer, 1)
	var running []context.CancelFunc // oldest first
	ask := func() {
		actx, stop := context.WithCancel(ctx)
		running = append(running, stop)
		go func() {
			b, err := g.origin.Fetch(actx, d)
			select {
			case answers <- answer{b, err, actx.Err() != nil && ctx.Err() == nil}:
			case <-ctx.Done():
			}
		}()
	}
	start, asked := time.Now(), 1
	ask()
	late, slow := time.NewTimer(hedge), time.NewTicker(g.cfg.SlowAfter)
	defer late.Stop()
	defer slow.Stop()
	for {
		select {
		case <-late.C:
			if g.spend() {
				ask()
				asked++
			}
		case <-slow.C:
			// Ask again on what may be a better connection; the two newest GETs go on.
			g.failed()
			ask()
			asked++
			for len(running) > 2 {
				running[0]()
				running = running[1:]
			}
		case a := <-answers:
			asked--
			switch {
			case isAnswer(a.err):
				g.succeeded(time.Since(start), a.err == nil)
				return a.b, a.err
			case asked > 0 || a.overtaken:
				continue // a twin may do better
			}
			if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
				g.failed()
			} else {
				g.gaveUp()
			}
			return nil, a.err
		case <-ctx.Done():
			g.gaveUp()
			return nil, fmt.Errorf("fetch blob %s: %w", d, context.Cause(ctx))
		}
	}
}

// isAnswer says that the origin was reached.
func isAnswer(err error) bool {
	var corrupt *blob.CorruptError
	return err == nil || errors.Is(err, blob.ErrNotFound) || errors.As(err, &corrupt)
}

// admit lets a fetch pass, or says that the breaker is open; and when to hedge.
func (g *Guard) admit() (hedge time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.until.IsZero() {
		if g.trying || time.Now().Before(g.until) {
			g.rejected++
			return 0, ErrOriginDown
		}
		g.trying = true
	}
	g.budget = min(g.budget+0.1, 10)
	if g.mean == 0 {
		return g.cfg.SlowAfter / 3, nil
	}
	return max(g.cfg.HedgeMin, g.mean+4*g.spread), nil
}

func (g *Guard) spend() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.budget < 1 {
		return false
	}
	g.budget--
	g.hedges++
	return true
}

func (g *Guard) failed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures++
	if !g.until.IsZero() {
		g.pause = min(2*g.pause, 16*g.cfg.Pause)
	}
	if g.trying || g.failures >= g.cfg.Failures {
		if g.until.IsZero() {
			g.cfg.Log.Error().Int("failures", g.failures).Msg("store does not answer; misses fail at once until it does")
		}
		g.until, g.trying = time.Now().Add(g.pause), false
	}
}

func (g *Guard) gaveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trying = false
}

func (g *Guard) succeeded(took time.Duration, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.until.IsZero() {
		g.cfg.Log.Info().Msg("store answers again")
	}
	g.failures, g.until, g.trying, g.pause = 0, time.Time{}, false, g.cfg.Pause
	switch {
	case !whole:
	case g.mean == 0:
		g.mean, g.spread = took, took/2
	default: // as TCP smooths its round-trip time
		g.spread += ((took - g.mean).Abs() - g.spread) / 4
		g.mean += (took - g.mean) / 8
	}
}

// GuardStats is what a Guard did.
type GuardStats struct {
	Open     bool          `json:"open"` // misses fail at once
	Hedges   int64         `json:"hedges"`
	Rejected int64         `json:"rejected"`
	Mean     time.Duration `json:"mean_ns"` // smoothed time of a GET
}

// Stats takes a snapshot.
func (g *Guard) Stats() GuardStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return GuardStats{!g.until.IsZero(), g.hedges, g.rejected, g.mean}
}
