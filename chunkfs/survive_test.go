package chunkfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/chunkfs/holder"
	"github.com/prairielambda/prairielambda/test/machine"
)

// readers read random files of the mount and check every byte, always through
// the daemon: what they read leaves the page cache at once.
type readers struct {
	t       *testing.T
	stop    chan struct{}
	wg      sync.WaitGroup
	reads   atomic.Int64
	longest atomic.Int64 // nanoseconds of the slowest system call
}

func readTheTree(t *testing.T, src, mnt string, n int) *readers {
	t.Helper()
	var files []string
	for _, s := range walk(t, src) {
		if s.mode.IsRegular() && s.size > 0 {
			files = append(files, s.path)
		}
	}
	rs := &readers{t: t, stop: make(chan struct{})}
	for range n {
		rs.wg.Go(func() {
			for {
				select {
				case <-rs.stop:
					return
				default:
				}
				name := files[rand.IntN(len(files))]
				if err := rs.readCold(filepath.Join(mnt, name), filepath.Join(src, name)); err != nil {
					t.Error(err)
					return
				}
				rs.reads.Add(1)
			}
		})
	}
	return rs
}

func (rs *readers) end() {
	close(rs.stop)
	rs.wg.Wait()
}

// stall notes how long one system call took.
func (rs *readers) stall(since time.Time) {
	took := int64(time.Since(since))
	for old := rs.longest.Load(); took > old && !rs.longest.CompareAndSwap(old, took); old = rs.longest.Load() {
	}
}

func (rs *readers) readCold(got, want string) error {
	w, err := os.ReadFile(want)
	if err != nil {
		return err
	}
	start := time.Now()
	f, err := os.Open(got)
	if err != nil {
		return err
	}
	rs.stall(start)
	defer f.Close()
	g := make([]byte, len(w)+1)
	n := 0
	for n < len(g) {
		start := time.Now()
		k, err := f.Read(g[n:min(len(g), n+128<<10)])
		rs.stall(start)
		n += k
		if k == 0 || err != nil {
			break
		}
	}
	if string(g[:n]) != string(w) {
		return fmt.Errorf("%s: %d bytes read are not the %d of its source", got, n, len(w))
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

func (r *rig) serverPID() int { return r.status().PID }

func TestReadersSurviveTheirServer(t *testing.T) {
	need(t, holder.Supported(), "kernel of at least 6.9")
	src := sample(t)
	for _, tc := range []struct {
		name string
		n    int
		end  func(r *rig)
	}{
		{"kill -9", 100, func(r *rig) { require.NoError(t, syscall.Kill(r.serverPID(), syscall.SIGKILL)) }},
		{"kill -9 with the store down", 100, func(r *rig) { require.NoError(t, syscall.Kill(r.serverPID(), syscall.SIGKILL)) }},
		{"upgrade", 100, func(r *rig) { require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.conf.Holder = true
			v := push(t, r.store, "XC101", src)
			r.start()
			mnt := filepath.Join(r.mnt, "XC101", v)
			warm := readTheTree(t, src, mnt, 1)
			if strings.Contains(tc.name, "down") { // everything that is needed is here
				same(t, src, mnt)
				r.fault("down")
			}
			warm.end()
			kept, err := os.Open(filepath.Join(mnt, "clientFilesCourse/video.bin"))
			require.NoError(t, err)
			defer kept.Close()
			rs := readTheTree(t, src, mnt, 32)
			time.Sleep(time.Duration(machine.Length(1000)) * time.Millisecond)
			undisturbed := time.Duration(rs.longest.Load()).Round(time.Millisecond)
			for range machine.Length(tc.n) {
				before, pid := rs.reads.Load(), r.serverPID()
				tc.end(r)
				eventually(t, "another server", func() bool { return r.serverPID() != pid })
				eventually(t, "reads go on", func() bool { return rs.reads.Load() > before+64 })
			}
			rs.end()
			t.Logf("%d files read, the longest open or read(2) took %v; %v before the first", rs.reads.Load(), time.Duration(rs.longest.Load()).Round(time.Millisecond), undisturbed)
			buf := make([]byte, 5000) // what was opened before reads after
			_, err = kept.ReadAt(buf, 3<<20)
			require.NoError(t, err)
			require.Equal(t, noise("clientFilesCourse/video.bin", 5<<20+12345)[3<<20:3<<20+5000], buf)
			same(t, src, mnt)
			require.Zero(t, r.status().Errors)
		})
	}
}

func TestWithoutItsHolderAServerServesOn(t *testing.T) {
	need(t, holder.Supported(), "kernel of at least 6.9")
	r := newRig(t)
	r.conf.Holder = true
	src := sample(t)
	v := push(t, r.store, "XC101", src)
	r.start()
	server := r.serverPID()
	r.kill()
	require.Equal(t, server, r.serverPID())
	same(t, filepath.Join(src, "questions"), filepath.Join(r.mnt, "XC101", v, "questions"))
	require.NoError(t, syscall.Unmount(r.mnt, 0))
	eventually(t, "the server ends with the mount", func() bool { return syscall.Kill(server, 0) != nil })
}

func TestUnmountEndsHolderAndServer(t *testing.T) {
	need(t, holder.Supported(), "kernel of at least 6.9")
	r := newRig(t)
	r.conf.Holder = true
	push(t, r.store, "XC101", sample(t))
	r.start()
	server := r.serverPID()
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, r.cmd.Wait())
	require.False(t, mounted(r.mnt))
	eventually(t, "the server ends too", func() bool { return syscall.Kill(server, 0) != nil })
}
