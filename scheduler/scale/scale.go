// Package scale keeps as many workers as calls need, between bounds that the
// operator sets.
//
// It guarantees that a queue, or a call that finds no worker at all, asks for
// more at once; that fewer are asked for only after a quiet time in which nobody
// needed or asked for more, so that several gateways which see the same workers
// agree without talking to each other; and that a count is always absolute:
// asking twice is asking once. It refuses nothing by itself: bounds are the
// Group's to keep, and what a Group refuses is asked again.
package scale

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Group is what can be scaled: a group of workers.
type Group interface {
	// Count returns how many workers there should be now, and the bounds.
	Count(ctx context.Context) (now, least, most int, err error)
	// Scale changes that number. Where somebody else was faster the last one wins.
	Scale(ctx context.Context, n int, why string) error
}

// Figures are what one gateway sees at one moment.
type Figures struct {
	Workers int    // that take calls
	Slots   int    // calls that they may run at once, together
	Busy    int    // calls that they run, for whomever
	Waiting int    // calls that wait here for a place
	Held    int    // calls that wait here for any worker
	Calls   uint64 // that those workers have taken since they began
}

// Config configures a Scaler. Figures is required; the zero value of another
// field means its default.
type Config struct {
	Figures func() Figures
	Group   Group // nil: somebody else scales; Wanted is still told

	Every time.Duration // between two looks; default 1 s
	Quiet time.Duration // that nobody must have needed more before there are fewer; default 5 min
	Idle  time.Duration // without any call before there is none; default 15 min
	Fill  float64       // share of the slots that may be busy before there are more; default 0.75

	Log      zerolog.Logger
	Register prometheus.Registerer // default: a private one
}

// Scaler decides how many workers there should be.
type Scaler struct {
	cfg    Config
	wake   chan struct{}
	wanted prometheus.Gauge

	// Of Run's goroutine alone.
	slots   float64 // of one worker, as last seen
	calls   uint64
	called  time.Time // when a call was last seen
	now     int       // what the Group last said, -1 before that
	changed time.Time // when that changed, whoever changed it
	needs   []need    // falling, of the quiet time
	refused string
}

// need is a number of workers and when it was needed.
type need struct {
	at time.Time
	n  int
}

// New returns a scaler that does nothing until Run.
func New(cfg Config) (*Scaler, error) {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Every, time.Second}, {&cfg.Quiet, 5 * time.Minute}, {&cfg.Idle, 15 * time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if cfg.Fill <= 0 {
		cfg.Fill = 0.75
	}
	if cfg.Register == nil {
		cfg.Register = prometheus.NewRegistry()
	}
	s := &Scaler{
		cfg: cfg, wake: make(chan struct{}, 1), now: -1,
		wanted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prairie_gateway_workers_wanted", Help: "Workers that the calls seen by this gateway need.",
		}),
	}
	if err := cfg.Register.Register(s.wanted); err != nil {
		return nil, fmt.Errorf("scale: metrics: %w", err)
	}
	return s, nil
}

// Wake makes Run look at once: a call found no worker. It never waits.
func (s *Scaler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run looks and scales until ctx ends.
func (s *Scaler) Run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	s.called = time.Now()
	for {
		n := s.need(time.Now())
		s.wanted.Set(float64(n))
		if s.cfg.Group != nil {
			s.scale(ctx, n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// need is how many workers what is seen now needs; none only after a long time
// without any call.
func (s *Scaler) need(now time.Time) int {
	f := s.cfg.Figures()
	if f.Workers > 0 && f.Slots > 0 {
		s.slots = float64(f.Slots) / float64(f.Workers)
	}
	if f.Calls != s.calls || f.Busy+f.Waiting+f.Held > 0 {
		s.calls, s.called = f.Calls, now
	}
	n := 1
	if s.slots > 0 { // else nobody knows yet what one can do
		n = max(1, int(math.Ceil(float64(f.Busy+f.Waiting+f.Held)/(s.slots*s.cfg.Fill))))
	}
	if now.Sub(s.called) >= s.cfg.Idle {
		n = 0
	}
	// Only what no later need exceeds is remembered.
	for len(s.needs) > 0 && s.needs[len(s.needs)-1].n <= n {
		s.needs = s.needs[:len(s.needs)-1]
	}
	s.needs = append(s.needs, need{now, n})
	for now.Sub(s.needs[0].at) > s.cfg.Quiet {
		s.needs = s.needs[1:]
	}
	return n
}

// scale brings the group to what is needed, within its bounds.
func (s *Scaler) scale(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	have, least, most, err := s.cfg.Group.Count(ctx)
	if err != nil {
		s.say(fmt.Errorf("ask how many workers there should be: %w", err))
		return
	}
	now := time.Now()
	if have != s.now {
		s.now, s.changed = have, now
	}
	want, why := min(max(n, least), most), "calls wait or fill the workers"
	if want < have {
		// The largest need of the quiet time counts, and a change that somebody
		// made meanwhile may have been for calls that only they see.
		want, why = min(max(s.needs[0].n, least), most), "quiet"
		if want >= have || now.Sub(s.changed) < s.cfg.Quiet {
			s.say(nil)
			return
		}
	}
	if want == have {
		s.say(nil)
		return
	}
	if err := s.cfg.Group.Scale(ctx, want, why); err != nil {
		s.say(fmt.Errorf("ask for %d workers: %w", want, err))
		return
	}
	s.say(nil)
	s.cfg.Log.Info().Int("from", have).Int("to", want).Str("why", why).Msg("workers scaled")
}

// say logs a failure once, however often it repeats.
func (s *Scaler) say(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if err != nil && text != s.refused && !errors.Is(err, context.Canceled) {
		s.cfg.Log.Warn().Err(err).Msg("workers stay as many as they are")
	}
	s.refused = text
}
