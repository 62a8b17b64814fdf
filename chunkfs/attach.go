package chunkfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrMounted says that something is mounted at the mount point and works.
var ErrMounted = errors.New("already mounted")

// Attach mounts a new, unserved filesystem and returns its device, which is
// closed on exec. Root mounts directly, for all users; anybody else through fusermount3,
// for themselves. What a killed daemon left at the mount point is replaced.
func Attach(ctx context.Context, mountpoint string) (*os.File, error) {
	mountpoint, err := filepath.Abs(mountpoint)
	if err != nil {
		return nil, fmt.Errorf("mount point: %w", err)
	}
	if err := clearStale(ctx, mountpoint); err != nil {
		return nil, err
	}
	st, err := os.Stat(mountpoint)
	if err != nil {
		return nil, fmt.Errorf("mount point: %w", err)
	}
	if !st.IsDir() {
		return nil, fmt.Errorf("mount point %s is no directory", mountpoint)
	}
	if os.Geteuid() != 0 {
		return attachAsUser(ctx, mountpoint)
	}
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	// NOSUID and NODEV: a course must not bring privileges along. RDONLY also
	// saves a GETATTR a file, NOATIME the rest.
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,max_read=%d", dev.Fd(), maxRead)
	if err := unix.Mount("chunkfs", mountpoint, "fuse.chunkfs", flags, data); err != nil {
		dev.Close()
		return nil, fmt.Errorf("mount at %s: %w", mountpoint, err)
	}
	return dev, nil
}

// Detach unmounts. A mount that is in use is detached from the tree: its users
// keep reading as long as it is served, nobody new comes in. busy says so.
func Detach(ctx context.Context, mountpoint string) (busy bool, err error) {
	if os.Geteuid() != 0 {
		if err = fusermount(ctx, "-u", mountpoint); err != nil && mounted(mountpoint) {
			return true, fusermount(ctx, "-u", "-z", mountpoint)
		}
		return false, err
	}
	err = unix.Unmount(mountpoint, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		busy, err = true, unix.Unmount(mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if err != nil {
		return busy, fmt.Errorf("unmount %s: %w", mountpoint, err)
	}
	return busy, nil
}

// clearStale removes a mount of ours whose server is gone, and fails with
// ErrMounted if it is not gone.
func clearStale(ctx context.Context, mountpoint string) error {
	for mounted(mountpoint) {
		if err := Answers(ctx, mountpoint); err == nil {
			return fmt.Errorf("mount at %s: %w", mountpoint, ErrMounted)
		} else if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			return fmt.Errorf("mount at %s: there is a mount that does not answer: %w", mountpoint, err)
		}
		if _, err := Detach(ctx, mountpoint); err != nil {
			return fmt.Errorf("remove stale mount: %w", err)
		}
	}
	return nil
}

// mounted looks into the mount table only, so it cannot hang on a dead mount.
func mounted(mountpoint string) bool {
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(mountpoint))
	return err == nil && len(infos) > 0 && strings.HasPrefix(infos[len(infos)-1].FSType, "fuse.chunkfs")
}

// Answers returns nil when the mount answers a request, and unix.ENOTCONN when
// nobody serves it. Never call it in the process that does.
func Answers(ctx context.Context, mountpoint string) error {
	if !mounted(mountpoint) {
		return fmt.Errorf("%s is not a chunkfs mount", mountpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { // a hung server would hold us in statfs, out of reach of any signal
		_, err := os.ReadFile(filepath.Join(mountpoint, statusDirName, "status"))
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("ask mount at %s: %w", mountpoint, context.Cause(ctx))
	}
}
