package chunkfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// We read and answer the device ourselves instead of through fuse.Server, so
// that there is one way to serve, whether the kernel's INIT was read by this process
// or, before a restart, by another.

const (
	opRead, opInit, opReadDir, opReadDirPlus = 15, 26, 28, 44

	maxRead     = 1 << 20      // bytes of one READ; the kernel asks for 128 KiB unless its read-ahead is raised
	maxWrite    = 4096         // least the kernel accepts: nothing is ever written
	requestBuf  = 8 << 10      // FUSE_MIN_READ_BUFFER, which suffices for that maxWrite
	smallReply  = 4<<10 + 1024 // a symlink's target is the longest
	idleReaders = 4
)

func mountOptions() *fuse.MountOptions {
	return &fuse.MountOptions{
		Name: "chunkfs",
		// A stalled store must not freeze reads of what is here: the kernel stops
		// sending read-ahead of any file at this many. 12, the default, took 16 s for a hot file.
		MaxBackground:        1024,
		MaxWrite:             maxRead, // go-fuse derives the pages of a READ from it; see handshake
		DisableXAttrs:        true,
		EnableSymlinkCaching: true,
		DisableSplice:        true,
		Logger:               log.New(os.Stderr, "fuse: ", 0),
	}
}

// Handshake reads the INIT request that a fresh mount sends first, answers it,
// and returns its bytes, from which every process that serves the mount later sets up itself.
func Handshake(dev *os.File) (init []byte, err error) {
	fd := int(dev.Fd())
	buf := make([]byte, maxRead+requestBuf) // the limit is not agreed upon yet
	defer runtime.KeepAlive(dev)
	n, err := readDevice(fd, buf)
	if err != nil {
		return nil, fmt.Errorf("read INIT: %w", err)
	}
	init = append([]byte(nil), buf[:n]...)
	if len(init) < 40 || binary.LittleEndian.Uint32(init[4:]) != opInit {
		return nil, fmt.Errorf("the kernel's first request of %d bytes is no INIT", n)
	}
	ps := fuse.NewProtocolServer(fuse.NewDefaultRawFileSystem(), mountOptions())
	reply := make([]byte, smallReply)
	n, st := ps.HandleRequest([][]byte{init}, [][]byte{reply})
	if !st.Ok() || n < 40 {
		return nil, fmt.Errorf("answer INIT: %v", st)
	}
	binary.LittleEndian.PutUint32(reply[16+20:], maxWrite) // InitOut.MaxWrite, so that requests fit requestBuf
	if _, err := unix.Write(fd, reply[:n]); err != nil {
		return nil, fmt.Errorf("answer INIT: %w", err)
	}
	return init, nil
}

func readDevice(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOENT):
			continue // ENOENT: the request was interrupted before we saw it
		}
		return n, err
	}
}

// server is one process's serving of one device.
type server struct {
	fs       *FS
	dev      *os.File // keeps fd open: a file that nothing refers to closes itself
	fd       int
	ps       *fuse.ProtocolServer
	idle     atomic.Int32 // readers that wait in read(2)
	busy     atomic.Int32 // requests being answered
	draining atomic.Bool
	wg       sync.WaitGroup
}

// Serve answers requests from dev until the mount is gone. init is what Handshake
// returned, to this process or to an earlier one; resend asks the kernel to send again
// what an earlier one took and did not answer. A closed drain ends Serve early, with
// ErrDrained, when the requests under way are answered or a moment has passed.
func (f *FS) Serve(dev *os.File, init []byte, resend bool, drain <-chan struct{}) error {
	s := &server{fs: f, dev: dev, fd: int(dev.Fd()), ps: fuse.NewProtocolServer(f, mountOptions())}
	reply := make([]byte, smallReply)
	if _, st := s.ps.HandleRequest([][]byte{init}, [][]byte{reply}); !st.Ok() {
		return fmt.Errorf("replay INIT: %v", st)
	}
	if resend {
		if err := s.resend(); err != nil {
			return err
		}
	}
	defer runtime.KeepAlive(s)
	gone := make(chan struct{})
	s.spawn()
	go func() { s.wg.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-drain:
	}
	s.draining.Store(true)
	for deadline := time.Now().Add(drainTime); s.busy.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return ErrDrained
}

// drainTime is how long an upgrade waits for requests that wait for the store;
// the next daemon gets them again.
const drainTime = 50 * time.Millisecond

// ErrDrained says that Serve stopped because it was asked to; the mount is still there.
var ErrDrained = errors.New("drained")

// resend writes FUSE_NOTIFY_RESEND (kernel 6.9): length 16, code 7, no request.
func (s *server) resend() error {
	var m [16]byte
	binary.LittleEndian.PutUint32(m[0:], 16)
	binary.LittleEndian.PutUint32(m[4:], 7)
	if _, err := unix.Write(s.fd, m[:]); err != nil {
		return fmt.Errorf("ask the kernel to resend: %w", err)
	}
	return nil
}

func (s *server) spawn() {
	s.idle.Add(1)
	s.wg.Go(s.loop)
}

// loop reads and answers in one goroutine, which is fastest; whoever takes the
// last idle place in read(2) away leaves a successor, so that requests that wait for the store never keep others waiting.
func (s *server) loop() {
	buf := make([]byte, requestBuf)
	for {
		n, err := readDevice(s.fd, buf)
		left := s.idle.Add(-1)
		if err != nil {
			if !errors.Is(err, unix.ENODEV) { // ENODEV: unmounted
				s.fs.cfg.Log.Error().Err(err).Msg("device failed")
			}
			return
		}
		if s.draining.Load() {
			return // the kernel will send it again
		}
		if left == 0 {
			s.spawn()
		}
		s.busy.Add(1)
		s.answer(buf[:n])
		s.busy.Add(-1)
		if s.idle.Add(1) > idleReaders {
			s.idle.Add(-1)
			return
		}
	}
}

func (s *server) answer(req []byte) {
	if len(req) < 40 {
		return
	}
	op, size := binary.LittleEndian.Uint32(req[4:]), smallReply
	switch op {
	case opRead, opReadDir, opReadDirPlus:
		if len(req) >= 60 {
			size += int(min(binary.LittleEndian.Uint32(req[56:]), maxRead)) // ReadIn.Size
		}
	}
	s.fs.ops.count(op)
	out := replies.get(size)
	defer replies.put(out)
	n, _ := s.ps.HandleRequest([][]byte{req}, [][]byte{(*out)[:size]})
	if n == 0 {
		return
	}
	// ENOENT: the reader is gone. ENODEV: the mount is.
	if _, err := unix.Write(s.fd, (*out)[:n]); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
		s.fs.cfg.Log.Error().Err(err).Uint32("op", op).Msg("reply failed")
	}
}

// replies are reply buffers by size class, a power of four each.
var replies bufferPool

type bufferPool [5]sync.Pool

func (p *bufferPool) get(n int) *[]byte {
	class, size := 0, smallReply
	for size < n {
		class, size = class+1, size*4
	}
	if b, ok := p[class].Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, size)
	return &b
}

func (p *bufferPool) put(b *[]byte) {
	class, size := 0, smallReply
	for size < len(*b) {
		class, size = class+1, size*4
	}
	p[class].Put(b)
}
