package pool

import (
	"context"

	"github.com/prairielambda/prairielambda/jobs"
)

type tellKey struct{}

// Tell returns a context with which Do calls f after each of a session's calls
// with the results so far, which f must not keep. Not every result is told that
// way: Do's answer has them all, and those that were told begin it.
func Tell(ctx context.Context, f func(soFar []jobs.CallResult)) context.Context {
	return context.WithValue(ctx, tellKey{}, f)
}

func tell(ctx context.Context, soFar []jobs.CallResult) {
	if f, ok := ctx.Value(tellKey{}).(func([]jobs.CallResult)); ok {
		f(soFar)
	}
}
