package chunkfs

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// HeldFiles is how many files a holder keeps for the servers of one mount: the
// device, the state of node ids, and what the kernel said at its beginning.
const HeldFiles = 2 + StateFiles

// AttachHeld mounts and returns the files that every server of the mount needs.
func AttachHeld(ctx context.Context, mountpoint string) (files []*os.File, err error) {
	dev, err := Attach(ctx, mountpoint)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			dev.Close()
			_, _ = Detach(ctx, mountpoint)
		}
	}()
	state, err := NewState()
	if err != nil {
		return nil, err
	}
	hello, err := Handshake(dev)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("chunkfs-init", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("keep INIT: %w", err)
	}
	init := os.NewFile(uintptr(fd), "chunkfs-init")
	if _, err := init.Write(hello); err != nil {
		return nil, fmt.Errorf("keep INIT: %w", err)
	}
	kept := state.Files()
	return append(append([]*os.File{dev}, kept[:]...), init), nil
}

// HeldState is the state among the held files, for Config.
func HeldState(files []*os.File) (*State, error) {
	return OpenState([StateFiles]*os.File(files[1:]))
}

// ServeHeld serves from the held files, and begins with what a predecessor left unanswered.
func (f *FS) ServeHeld(files []*os.File, drain <-chan struct{}) error {
	init, err := io.ReadAll(io.NewSectionReader(files[HeldFiles-1], 0, 1<<16))
	if err != nil {
		return fmt.Errorf("read INIT: %w", err)
	}
	return f.Serve(files[0], init, true, drain)
}
