package attacks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs/pool"
)

// canary is the text that may never come out of a sandbox: it stands in files of
// the host, in another question, and in this process's environment.
const canary = "canary-7d1f"

// world is what attacks must not touch, and who watches it from outside.
type world struct {
	dir, courses, secret   string
	unix, abstract         string
	tcp, udp, shm          int
	calls                  atomic.Int64 // connections and packets that reached us
	digest, mounts, quiet0 string
	pids                   []int
	fds                    int
}

const version = "0123456789012345678901234567890123456789"

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "prairie-attacks-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	w := &world{dir: dir, courses: filepath.Join(dir, "courses"), secret: filepath.Join(dir, "secret")}
	write := func(p, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
	write(w.secret, canary)
	for name, content := range courseTree() {
		write(filepath.Join(w.courses, "course", version, name), content)
	}
	write(filepath.Join(w.courses, "course2", version, "questions", "q", "server.py"), "# "+canary)
	require.NoError(t, os.Symlink(version, filepath.Join(w.courses, "course", pool.Current)))
	os.Setenv("PRAIRIE_CANARY", canary)
	w.listen(t)
	w.share(t)
	w.digest = digest(t, dir)
	return w
}

// listen opens what attacks try to reach, and counts who does.
func (w *world) listen(t testing.TB) {
	count := func(l net.Listener, err error) net.Listener {
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				w.calls.Add(1)
				c.Close()
			}
		}()
		return l
	}
	w.tcp = count(net.Listen("tcp", "127.0.0.1:0")).Addr().(*net.TCPAddr).Port
	w.unix = filepath.Join(w.dir, "socket")
	count(net.Listen("unix", w.unix))
	require.NoError(t, os.Chmod(w.unix, 0o777))
	w.abstract = fmt.Sprintf("prairie-attacks-%d", os.Getpid())
	count(net.Listen("unix", "@"+w.abstract))
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { u.Close() })
	w.udp = u.LocalAddr().(*net.UDPAddr).Port
	go func() {
		b := make([]byte, 100)
		for {
			if _, _, err := u.ReadFrom(b); err != nil {
				return
			}
			w.calls.Add(1)
		}
	}()
}

// ourKeys are the upper half of the keys that share uses.
const ourKeys = 0x7072

// share puts the canary into a segment of System V's shared memory that anybody
// of this IPC namespace may read.
func (w *world) share(t testing.TB) {
	w.shm = ourKeys<<16 | os.Getpid()&0xffff
	id, err := unix.SysvShmGet(w.shm, 4096, unix.IPC_CREAT|0o644)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		require.NoError(t, err)
	})
	b, err := unix.SysvShmAttach(id, 0, 0)
	require.NoError(t, err)
	copy(b, canary)
	require.NoError(t, unix.SysvShmDetach(b))
}

func (w *world) forPrograms() map[string]any {
	return map[string]any{"secret": w.secret, "unix": w.unix, "abstract": w.abstract, "tcp": w.tcp, "udp": w.udp, "shm": w.shm, "pids": w.pids}
}

// settle remembers how the world is before the attacks.
func (w *world) settle(t testing.TB) {
	w.mounts = mounts(t)
	w.quiet0 = system(t)
	w.pids = zygotes(t)
	require.NotEmpty(t, w.pids)
}

// unharmed is what holds at every moment, whatever runs inside.
func (w *world) unharmed(t testing.TB) {
	t.Helper()
	require.Equal(t, w.digest, digest(t, w.dir), "files of the host changed")
	require.Zero(t, w.calls.Load(), "something inside reached a listener outside")
	require.Equal(t, w.mounts, mounts(t), "mounts of the host changed")
	require.Equal(t, w.quiet0, system(t), "the system changed")
	require.Equal(t, w.pids, zygotes(t), "a zygote was killed, stopped or reniced")
}

// quiet is what holds once a pool without spares has answered: nothing is left.
func (w *world) quiet(t testing.TB, p *pool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		total, free, stuck := p.Slots()
		return free == total && stuck == 0
	}, 30*time.Second, 5*time.Millisecond, "a slot did not come back")
	fds := len(list(t, "/proc/self/fd"))
	if w.fds == 0 {
		w.fds = fds
	}
	require.LessOrEqual(t, fds, w.fds+64, "descriptors pile up") // spares have some
	require.Eventually(t, func() bool { return len(left(t)) == 0 }, 30*time.Second, 5*time.Millisecond, "a process outlived its sandbox")
}

// digest covers names, types, modes, owners and contents below dir.
func digest(t testing.TB, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		sys := st.Sys().(*syscall.Stat_t)
		fmt.Fprintln(h, p, st.Mode(), sys.Uid, sys.Gid, sys.Nlink, sys.Mtim, st.Size())
		if st.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			_, _ = h.Write(b)
		}
		return nil
	})
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// mounts are all that there are: see machine.OwnMounts.
func mounts(t testing.TB) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	return string(b)
}

var theirUsers = regexp.MustCompile(`(?m)^prairie-author-\d+:.*\n`)

// system is what only a process with rights could change.
func system(t testing.TB) string {
	var s strings.Builder
	for _, p := range []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem"} {
		b, _ := os.ReadFile(p)
		for l := range strings.Lines(string(b)) {
			var key int
			if _, _ = fmt.Sscan(l, &key); key>>16 != ourKeys { // the run of the other tier comes and goes
				s.WriteString(l)
			}
		}
	}
	for _, p := range []string{"/dev/null", "/dev/zero", "/dev/urandom", "/etc/passwd", "/etc/shadow", "/usr/bin/python3.11"} {
		st, err := os.Stat(p)
		require.NoError(t, err)
		fmt.Fprintln(&s, p, st.Mode())
		switch {
		case path.Dir(p) == "/etc": // other tests make users of their own, and remove them
			b, err := os.ReadFile(p)
			if errors.Is(err, fs.ErrPermission) { // what we cannot read we cannot change
				continue
			}
			require.NoError(t, err)
			fmt.Fprintf(&s, "%x\n", sha256.Sum256(theirUsers.ReplaceAll(b, nil)))
		case st.Mode().IsRegular():
			fmt.Fprintln(&s, st.Size(), st.ModTime())
		}
	}
	names := list(t, "/dev")
	return s.String() + strings.Join(names, " ")
}

func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

// zygotes are this process's children in its own pid namespace, each with its
// state and niceness (ours) as long as they are as they should be.
func zygotes(t testing.TB) (pids []int) {
	own, err := os.Readlink("/proc/self/ns/pid")
	require.NoError(t, err)
	kernel, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	require.NoError(t, err)
	nice := strconv.Itoa(20 - kernel) // the raw call answers 20 less the niceness
	for pid, stat := range kin(t) {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		if err == nil && ns == own && stat[0] != "Z" && stat[0] != "T" && stat[16] == nice {
			pids = append(pids, pid)
		}
	}
	sort.Ints(pids)
	return pids
}

// left are our children that ended and were not reaped. Those of a sandbox that
// was killed this moment are; the caller looks again.
func left(t testing.TB) (pids []int) {
	for pid, stat := range kin(t) {
		if stat[0] == "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kin are the children of this process: pid -> the fields of its stat from the state on.
func kin(t testing.TB) map[int][]string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	out := map[int][]string{}
	for _, l := range lists {
		b, _ := os.ReadFile(l) // of a thread that ended meanwhile
		for _, name := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(name)
			require.NoError(t, err)
			b, err := os.ReadFile("/proc/" + name + "/stat")
			if err != nil {
				continue
			}
			f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
			if len(f) > 17 && f[1] == strconv.Itoa(os.Getpid()) {
				out[pid] = f
			}
		}
	}
	return out
}
