package chunkfs

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a program learns that holds a directory of a mount which was replaced
// under it. What the kernel has, it still gets; so no read can tell it that the
// mount is another, and the device number must.
func TestADescriptorKnowsThatItsMountWasReplaced(t *testing.T) {
	r := newRig(t)
	src := sample(t)
	v := push(t, r.store, "XC101", src)
	version := filepath.Join(r.mnt, "XC101", v)
	device := func(dirfd int, path string, flags int) uint64 {
		var st unix.Statx_t
		require.NoError(t, unix.Statx(dirfd, path, flags|unix.AT_STATX_DONT_SYNC, 0, &st))
		return unix.Mkdev(st.Dev_major, st.Dev_minor)
	}
	readAt := func(dir *os.File, name string) error {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Read(fd, make([]byte, 10))
		return err
	}
	hold := func() *os.File {
		dir, err := os.Open(version)
		require.NoError(t, err)
		require.NoError(t, readAt(dir, "infoCourse.json"))
		require.Equal(t, device(int(dir.Fd()), "", unix.AT_EMPTY_PATH), device(unix.AT_FDCWD, r.mnt, 0))
		return dir
	}
	r.start()

	// Unmounted while in use: what is held is served to the end of the old server.
	dir := hold()
	old := r.cmd
	require.NoError(t, syscall.Unmount(r.mnt, syscall.MNT_DETACH))
	require.NoError(t, os.RemoveAll(r.conf.Cache+".2"))
	r.conf.Cache += ".2"
	r.start()
	require.NoError(t, readAt(dir, "questions/a/server.py"), "still served")
	require.NotEqual(t, device(int(dir.Fd()), "", unix.AT_EMPTY_PATH), device(unix.AT_FDCWD, r.mnt, 0))
	require.NoError(t, dir.Close())
	require.NoError(t, old.Wait(), "the last descriptor was what it lived for")

	// Its server is dead, and another mount is in its place.
	dir = hold()
	defer dir.Close()
	lockPage(t, filepath.Join(version, "infoCourse.json"), 200)
	r.kill()
	require.ErrorIs(t, readAt(dir, "names/up/a/server.py"), syscall.ENOTCONN)
	require.NoError(t, readAt(dir, "infoCourse.json"), "the kernel has it")
	r.start()
	require.ErrorIs(t, readAt(dir, "questions/a/server.py"), syscall.ENOTCONN, "for ever")
	require.NotEqual(t, device(int(dir.Fd()), "", unix.AT_EMPTY_PATH), device(unix.AT_FDCWD, r.mnt, 0))
	again := hold()
	require.NoError(t, readAt(again, "questions/a/server.py"))
	require.NoError(t, again.Close())
}
