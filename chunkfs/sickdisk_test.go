package chunkfs

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A cache's disk that is full, out of inodes, read-only or broken costs speed:
// every byte is right, nothing fails, and once it is well again it is used again.
func TestSickCacheDisk(t *testing.T) {
	t.Parallel() // it waits more than it works
	src := sample(t)
	remount := func(options string, flags uintptr) func(t *testing.T, r *rig) func() {
		return func(t *testing.T, r *rig) func() {
			disk := filepath.Dir(r.conf.Cache)
			require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT|flags, options))
			return func() { require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT, "size=64m,nr_inodes=4096")) }
		}
	}
	for name, sicken := range map[string]func(t *testing.T, r *rig) (heal func()){
		"full":          remount("size=600k", 0),
		"out of inodes": remount("nr_inodes=12", 0),
		"read-only":     remount("", unix.MS_RDONLY),
		"EIO":           injectEIO,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			disk := t.TempDir()
			require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64m,nr_inodes=4096"))
			t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
			r.conf.Cache, r.conf.MemoryBytes = filepath.Join(disk, "cache"), 1
			v := push(t, r.store, "XC101", src)
			r.start()
			root := filepath.Join(r.mnt, "XC101", v)
			same(t, filepath.Join(src, "questions"), filepath.Join(root, "questions"))
			eventually(t, "the first blobs are on disk", func() bool { return r.status().Cache.Files >= 2 })

			heal := sicken(t, r)
			same(t, src, root)
			for _, f := range []string{"questions/a/server.py", "clientFilesCourse/over.bin", "infoCourse.json"} {
				_, err := readUncached(filepath.Join(root, f)) // through the server, hot and cold
				require.NoError(t, err)
			}
			s := r.status()
			require.Zero(t, s.Errors)
			require.Positive(t, s.Cache.DiskErrors+s.Cache.Evictions+s.Cache.Quarantined, "the disk was noticed")

			heal()
			eventually(t, "the disk is used again", func() bool {
				_, err := readUncached(filepath.Join(root, "clientFilesCourse/mib.bin"))
				require.NoError(t, err)
				hits := r.status().Cache.DiskHits
				_, err = readUncached(filepath.Join(root, "clientFilesCourse/mib.bin"))
				require.NoError(t, err)
				return r.status().Cache.DiskHits > hits
			})
			same(t, src, root)
		})
	}
}

// injectEIO fails the system calls with which the server, and nothing else in
// it, reads parts of cache files and finishes new ones.
func injectEIO(t *testing.T, r *rig) (heal func()) {
	strace, err := exec.LookPath("strace")
	need(t, err == nil, "strace")
	cmd := exec.Command(strace, "-f", "-qq", "-p", strconv.Itoa(r.serverPID()), "-o", "|cat >&2",
		"-e", "trace=pread64,renameat", "-e", "inject=pread64,renameat:error=EIO")
	out, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string, 1)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case lines <- s.Text():
			default:
			}
		}
	}()
	eventually(t, "the first call is failed", func() bool {
		_, err := readUncached(filepath.Join(r.mnt, "XC101/current/questions/a/server.py"))
		require.NoError(t, err)
		return len(lines) > 0
	})
	return func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		for range lines {
		}
		_ = cmd.Wait()
	}
}
