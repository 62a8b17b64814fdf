package chunkfs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"time"
)

// caller is who waits for an answer. The kernel tells us of any signal it gets
// (INTERRUPT closes cancel), and lets it wait for us, unkillable, whatever the
// signal was. So we look whether it is being killed, and let it go if it is.
type caller struct {
	cancel <-chan struct{}
	pid    uint32
}

type callerKey struct{}

// errKilled says that the caller is being killed and does not care for the answer.
var errKilled = errors.New("the caller is being killed")

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// dying is closed when the caller of ctx is being killed; stop ends the watch.
func dying(ctx context.Context) (killed <-chan struct{}, stop func()) {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok || c.cancel == nil || c.pid == 0 {
		return nil, func() {}
	}
	ctx, stop = context.WithCancel(ctx)
	ch := make(chan struct{})
	go func() {
		select {
		case <-c.cancel:
		case <-ctx.Done():
			return
		}
		// A second signal is not told of, so look again now and then.
		for t := time.NewTicker(50 * time.Millisecond); ; {
			if beingKilled(c.pid) {
				t.Stop()
				close(ch)
				return
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
		}
	}()
	return ch, stop
}

// beingKilled says whether SIGKILL is pending for a thread, or it is gone.
func beingKilled(pid uint32) bool {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	const sigkill = 1 << (9 - 1)
	for _, field := range []string{"\nSigPnd:\t", "\nShdPnd:\t"} {
		_, rest, ok := bytes.Cut(b, []byte(field))
		hex, _, _ := bytes.Cut(rest, []byte("\n"))
		if mask, err := strconv.ParseUint(string(hex), 16, 64); ok && err == nil && mask&sigkill != 0 {
			return true
		}
	}
	return false
}
