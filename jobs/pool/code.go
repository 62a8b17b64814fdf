package pool

import (
	"context"
	"os"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// What the calls of a version share (elements, extensions, serverFilesCourse) is
// compiled once, by our own code in a sandbox that executes nothing of it. Every
// later sandbox of the version reads the result from sealed memory.

// bytecode is a version's, or nil while there is none.
func (v *version) bytecode() *os.File {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.code
}

// compile has v compiled, once, beside everything else. A version that cannot be
// is compiled by its calls.
func (t *tender) compile(ctx context.Context, v *version) {
	v.mu.Lock()
	first := !v.coding
	v.coding = true
	v.mu.Unlock()
	if !first {
		return
	}
	t.drops.Go(func() {
		o, err := (&shelf{v: [2]string{v.course, v.name}}).open(ctx, t.pool)
		if err != nil {
			return
		}
		defer o.close()
		box, err := t.pool.spawn(ctx, o.usual, sandbox.Spec{
			Limits: t.pool.cfg.Default, Mounts: o.mounts(), Hello: []byte(`{"compile":true}`), Idle: true,
		})
		if err != nil {
			return
		}
		defer box.Close()
		turn := box.Turn(ctx, nil, readyWithin)
		if turn.Outcome != jobs.OK {
			if ctx.Err() != nil {
				return // the pool closes
			}
			t.pool.cfg.Log.Warn().Str("version", v.key()).Str("why", turn.Message).Msg("cannot compile a version ahead")
			return
		}
		code, err := sandbox.Sealed(turn.Frame)
		if err != nil {
			t.pool.cfg.Log.Warn().Err(err).Msg("cannot keep a version's bytecode")
			return
		}
		o.v.mu.Lock()
		defer o.v.mu.Unlock()
		if o.v.code != nil { // o.v is v unless its mount was replaced meanwhile
			code.Close()
			return
		}
		o.v.code, o.v.coding = code, true
	})
}
