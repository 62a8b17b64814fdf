// Package hedge runs one piece of work on several workers so that its caller
// waits for the fastest of them, and pays for little more than one.
//
// It guarantees that exactly one result is returned, that every other attempt is
// cancelled before Do returns, and that attempts which a Budget did not allow
// never begin. It refuses to judge results: what may be tried again is the
// caller's to say.
package hedge

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Race is one piece of work and where it may run.
type Race[W, T any] struct {
	Candidates []W // in order of preference; one attempt each
	// Run makes one attempt. It must return soon after ctx ends.
	Run func(ctx context.Context, w W) (T, error)
	// Again reports whether the error of one attempt may be mended by another candidate.
	Again func(error) bool
	// After is when a second attempt begins although the first has not failed; 0 means never.
	After time.Duration
	// Allow is asked when After has passed; nil allows.
	Allow func() bool
	// Both begins the first two attempts at once.
	Both bool
	// Owner waits for attempts that lost: Do does not.
	Owner *sync.WaitGroup
}

// Won is the result of the attempt that counts.
type Won[W, T any] struct {
	Value  T
	By     W
	Tries  int  // attempts begun
	Hedged bool // an attempt began while another was running
}

// ErrNobody means that there were no candidates.
var ErrNobody = errors.New("nobody to ask")

type finish[T any] struct {
	i   int
	val T
	err error
}

// Do returns the first result that is not an error that Again takes, or the
// last error once all candidates have failed, or ctx's cause.
func (r Race[W, T]) Do(ctx context.Context) (won Won[W, T], err error) {
	if len(r.Candidates) == 0 {
		return won, ErrNobody
	}
	if !r.Both && (r.After <= 0 || len(r.Candidates) == 1) {
		return r.oneByOne(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan finish[T], len(r.Candidates))
	running := 0
	begin := func() {
		i := won.Tries
		won.Tries++
		running++
		won.Hedged = won.Hedged || running > 1
		r.Owner.Go(func() {
			v, err := r.Run(ctx, r.Candidates[i])
			done <- finish[T]{i, v, err}
		})
	}
	begin()
	var after <-chan time.Time
	if r.Both && len(r.Candidates) > 1 {
		begin()
	} else if r.After > 0 {
		t := time.NewTimer(r.After)
		defer t.Stop()
		after = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return won, context.Cause(ctx)
		case <-after:
			after = nil
			if won.Tries < len(r.Candidates) && (r.Allow == nil || r.Allow()) {
				begin()
			}
		case f := <-done:
			running--
			if f.err == nil || !r.Again(f.err) {
				won.Value, won.By = f.val, r.Candidates[f.i]
				return won, f.err
			}
			err = f.err
			if won.Tries < len(r.Candidates) {
				begin()
			} else if running == 0 {
				return won, err
			}
		}
	}
}

// oneByOne needs no goroutine: there is never more than one attempt.
func (r Race[W, T]) oneByOne(ctx context.Context) (won Won[W, T], err error) {
	for _, w := range r.Candidates {
		if ctx.Err() != nil {
			return won, context.Cause(ctx)
		}
		won.Tries++
		won.By = w
		won.Value, err = r.Run(ctx, w)
		if err == nil || !r.Again(err) {
			return won, err
		}
	}
	return won, err
}
