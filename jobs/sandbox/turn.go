package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
)

// Turn is what came of waiting for one frame.
type Turn struct {
	Frame   []byte       // the program's answer; nil unless Outcome is OK
	Outcome jobs.Outcome // OK, Timeout, OutOfMemory, OutputTooLarge or Killed
	Message string       // one line about an outcome that is not OK
	Stdout  []byte       // written since the turn before, bounded
	Stderr  []byte
	Wall    time.Duration
	Exited  bool // the program ended by itself or by a signal; Status says how
	Status  unix.WaitStatus
}

// Request frames a message for the program inside: a little-endian length of
// four bytes, then that many bytes. Answers have the same form.
func Request(msg []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(msg)), uint32(len(msg))), msg...)
}

// Turn writes send (empty, or the output of Request), then waits for the
// program's next frame. It drains the outputs meanwhile, and it ends the sandbox
// when the wall limit, the output limit or the result limit is passed, when ctx
// ends (Outcome Killed), or when the program has ended without answering. Only
// after OK may there be another Turn. Nothing that comes from inside is trusted:
// lengths are bounds, never allocations.
func (b *Box) Turn(ctx context.Context, send []byte, wall time.Duration) Turn {
	return b.turn(ctx, send, wall, false)
}

// Ready is the first Turn with a program that says with a frame when its sandbox is
// sealed; send may be what it is asked then. Nothing that it prints counts before it
// has failed to say so: it may belong to the answer, and is left for the next Turn.
func (b *Box) Ready(ctx context.Context, send []byte, within time.Duration) Turn {
	return b.turn(ctx, send, within, true)
}

func (b *Box) turn(ctx context.Context, send []byte, wall time.Duration, sealing bool) Turn {
	stop := context.AfterFunc(ctx, b.Kill) // a dead sandbox wakes the poll below
	defer stop()
	start := time.Now()
	t := Turn{Outcome: jobs.OK}
	deadline := start.Add(wall)
	if b.read == nil {
		b.read = make([]byte, 64<<10)
	}
	buf := b.read
	open := [...]struct {
		fd  int
		out *[]byte
	}{{b.stdout, &t.Stdout}, {b.stderr, &t.Stderr}}
	fds := []unix.PollFd{
		{Fd: int32(b.pidfd.Fd()), Events: unix.POLLIN},
		{Fd: int32(b.conn)},
		{Fd: int32(b.stdout), Events: unix.POLLIN},
		{Fd: int32(b.stderr), Events: unix.POLLIN},
	}
	if sealing {
		fds = fds[:2]
	}
	b.out = append(b.out, send...)
	drain := func() {
		for _, o := range open {
			b.drain(o.fd, o.out, &t, buf)
		}
	}
	b.frame(&t) // what the last Turn read may hold this one's answer already
	if t.Frame != nil && !sealing {
		drain()
	}
	for t.Outcome == jobs.OK && t.Frame == nil {
		fds[1].Events = unix.POLLIN
		if len(b.out) > 0 {
			fds[1].Events |= unix.POLLOUT
		}
		left := time.Until(deadline)
		if left <= 0 {
			t.end(jobs.Timeout, fmt.Sprintf("took longer than its limit of %v", wall))
			break
		}
		_, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.end(jobs.Killed, "poll: "+err.Error())
			break
		}
		dead := fds[0].Revents != 0
		if fds[1].Revents&unix.POLLOUT != 0 && len(b.out) > 0 {
			n, err := unix.SendmsgN(b.conn, b.out, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err == nil {
				b.out = b.out[n:]
			} else if !errors.Is(err, unix.EAGAIN) {
				b.out = nil // it closed its end; its end of life is seen below
			}
		}
		eof := false
		if fds[1].Revents&(unix.POLLIN|unix.POLLHUP|unix.POLLERR) != 0 || dead {
			eof = b.receive(&t, buf)
		}
		for i := range fds[2:] {
			if fds[2+i].Revents != 0 || dead || t.Frame != nil {
				if b.drain(open[i].fd, open[i].out, &t, buf) {
					fds[2+i].Fd = -1 // closed by every process inside
				}
			}
		}
		if t.Frame == nil && t.Outcome == jobs.OK && (dead || eof) {
			b.fate(ctx, &t, deadline)
		}
	}
	t.Wall = time.Since(start)
	if t.Outcome != jobs.OK {
		if outcome, why := t.Outcome, t.Message; sealing {
			drain()
			t.end(outcome, why)
		}
		b.Kill()
	}
	return t
}

// Wait is a Turn with a program that speaks no frames: it ends with the program,
// whose Outcome is then Killed and whose Status says how it ended.
func (b *Box) Wait(ctx context.Context, wall time.Duration) Turn { return b.Turn(ctx, nil, wall) }

func (t *Turn) end(o jobs.Outcome, msg string) {
	t.Outcome, t.Message, t.Frame = o, msg, nil
}

// frame takes the first whole frame out of what was read.
func (b *Box) frame(t *Turn) {
	if len(b.in) < 4 {
		return
	}
	n := int64(binary.LittleEndian.Uint32(b.in))
	if n > b.limits.Result {
		t.end(jobs.OutputTooLarge, fmt.Sprintf("answered with more than its limit of %d bytes", b.limits.Result))
	} else if int64(len(b.in)) >= 4+n {
		t.Frame = append([]byte{}, b.in[4:4+n]...)
		b.in = append(b.in[:0], b.in[4+n:]...)
	}
}

// receive reads what the program sent, up to the first whole frame. It reports
// whether the program closed its end.
func (b *Box) receive(t *Turn, buf []byte) (eof bool) {
	for t.Frame == nil && t.Outcome == jobs.OK && b.conn >= 0 {
		n, err := unix.Read(b.conn, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil || n == 0:
			return true
		default:
			b.in = append(b.in, buf[:n]...)
			b.frame(t)
		}
	}
	return false
}

// drain reads an output until it is empty for now, and reports whether it is closed.
func (b *Box) drain(fd int, out *[]byte, t *Turn, buf []byte) (closed bool) {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil || n == 0:
			return true
		default:
			room := b.limits.Output - int64(len(*out))
			piece := buf[:min(int64(n), room)]
			*out = append(*out, piece...)
			if b.told != nil {
				b.told(fd == b.stderr, piece)
			}
			if int64(n) > room {
				t.end(jobs.OutputTooLarge, fmt.Sprintf("printed more than its limit of %d bytes", b.limits.Output))
				return false
			}
		}
	}
}

// fate says why a program ended, or stopped talking, without an answer.
func (b *Box) fate(ctx context.Context, t *Turn, deadline time.Time) {
	ended := b.reap(200 * time.Millisecond)
	if !ended && b.Ending() { // its channel goes first, then all that it started
		ended = b.reap(time.Until(deadline))
	}
	if !ended {
		b.Kill() // it closed its channel and lives on
		b.reap(stuckAfter)
		t.end(jobs.Killed, "closed its channel without an answer")
		return
	}
	t.Exited, t.Status = true, b.status
	// Nothing inside can kill its own init, so that SIGKILL came from outside. The
	// kernel counts RLIMIT_CPU in timer ticks, which differ from what it reports.
	overCPU := b.status.Signaled() && b.status.Signal() == unix.SIGKILL && b.limits.CPU > 0 && b.cpu() >= b.limits.CPU/2
	switch {
	case b.slot.cg.oomKilled(), b.overdraft.Load():
		t.end(jobs.OutOfMemory, fmt.Sprintf("used more than its limit of %d MiB of memory", b.limits.Memory>>20))
	case ctx.Err() != nil:
		t.end(jobs.Killed, "the caller went away: "+context.Cause(ctx).Error())
	case overCPU:
		t.end(jobs.Timeout, fmt.Sprintf("used more than its limit of %v of CPU time", b.limits.CPU))
	case b.status.Signaled():
		t.end(jobs.Killed, fmt.Sprintf("ended by signal %v", b.status.Signal()))
	default:
		t.end(jobs.Killed, fmt.Sprintf("exited with code %d before it answered", b.status.ExitStatus()))
	}
}
