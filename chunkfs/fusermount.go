package chunkfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// attachAsUser lets the setuid helper fusermount3 mount for us. It opens
// /dev/fuse, mounts, and passes the device back over a socket.
func attachAsUser(ctx context.Context, mountpoint string) (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "fusermount"), os.NewFile(uintptr(fds[1]), "fusermount")
	defer ours.Close()
	defer theirs.Close()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "fusermount3", "-o",
		fmt.Sprintf("ro,nosuid,nodev,noatime,fsname=chunkfs,subtype=chunkfs,max_read=%d", maxRead), "--", mountpoint)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("mount with fusermount3: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return receiveFile(fds[0])
}

func receiveFile(sock int) (*os.File, error) {
	buf, oob := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("receive device: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return nil, errors.Join(errors.New("receive device: fusermount3 sent none"), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("receive device: fusermount3 sent none"), err)
	}
	return os.NewFile(uintptr(fds[0]), "/dev/fuse"), nil
}

func fusermount(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "fusermount3", append(args[:len(args)-1:len(args)-1], "--", args[len(args)-1])...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
