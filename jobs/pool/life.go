package pool

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed means that the pool was closed before the work was done.
var ErrClosed = errors.New("the pool is closed")

// life lets Close end the calls that still run, and wait for them: a call that
// outlived the zygote and the Host would meet both gone.
type life struct {
	mu     sync.Mutex // guards closed, and calls against Wait
	closed bool
	calls  sync.WaitGroup
	over   context.Context
	end    context.CancelCauseFunc
}

func newLife() *life {
	over, end := context.WithCancelCause(context.Background())
	return &life{over: over, end: end}
}

// enter admits a call; its context ends with the pool. leave must follow.
func (l *life) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	l.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.over, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		l.calls.Done()
	}, nil
}

// close ends every call and waits until it has returned.
func (l *life) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end(ErrClosed)
	l.calls.Wait()
}
