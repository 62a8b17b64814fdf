package cache

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/test/machine"
)

// A real full disk: a tmpfs of 1 MiB, while the cap would allow much more.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=64"); err != nil {
		machine.Skip(t, "cannot mount a tmpfs here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	o := &origin{}
	c := open(t, o, func(c *Config) { c.Dir, c.MemoryBytes = dir, 1 })
	ready(c)
	for i := range 100 {
		n := 60_000 + i
		b, err := c.Bytes(t.Context(), o.add(n), int64(n))
		require.NoError(t, err)
		require.Len(t, b, n)
		settled(t, c)
	}
	last := o.add(50_000)
	_, err := c.Bytes(t.Context(), last, 50_000)
	require.NoError(t, err)
	settled(t, c)
	require.True(t, c.disk.has(last), "made room and stored")
	require.Positive(t, c.Stats().Evictions)
	require.NoError(t, c.Close())
}

func TestDiskErrorsCostOnlySpeed(t *testing.T) {
	for _, errno := range []error{syscall.EIO, syscall.EROFS, syscall.ENOSPC} {
		o := &origin{}
		d := o.add(9000)
		c := open(t, o, func(c *Config) {
			c.MemoryBytes = 1
			c.faultsForTest = &faults{write: func(string) error { return errno }}
		})
		ready(c)
		for range 3 {
			b, err := c.Bytes(t.Context(), d, 9000)
			require.NoError(t, err)
			require.Equal(t, o.blobs[d], b)
			settled(t, c)
		}
		bytes, files, reserved := c.index.usage()
		require.Equal(t, du(t, c.cfg.Dir), bytes)
		require.Zero(t, files)
		require.Zero(t, reserved)
	}
	o := &origin{}
	d := o.add(9000)
	var sick atomic.Bool
	c := open(t, o, func(c *Config) {
		c.MemoryBytes = 1
		c.faultsForTest = &faults{read: func(string) error {
			if sick.Load() {
				return syscall.EIO
			}
			return nil
		}}
	})
	ready(c)
	_, err := c.Bytes(t.Context(), d, 9000)
	require.NoError(t, err)
	settled(t, c)
	sick.Store(true)
	b, err := c.Bytes(t.Context(), d, 9000)
	require.NoError(t, err)
	require.Equal(t, o.blobs[d], b)
}

func TestASlowDiskIsPassedOver(t *testing.T) {
	o := &origin{}
	d := o.add(9000)
	var reads atomic.Int64
	c := open(t, o, func(c *Config) {
		c.MemoryBytes = 1
		c.faultsForTest = &faults{read: func(string) error {
			if reads.Add(1) == 1 {
				time.Sleep(lateRead)
			}
			return nil
		}}
	})
	ready(c)
	get := func() {
		t.Helper()
		b, err := c.Bytes(t.Context(), d, 9000)
		require.NoError(t, err)
		require.Equal(t, o.blobs[d], b)
		settled(t, c)
	}
	get() // fetched and stored
	get() // late
	require.EqualValues(t, 1, reads.Load())
	get()
	require.EqualValues(t, 1, reads.Load(), "the store is asked instead")
	require.EqualValues(t, 2, o.fetches.Load())
	down := errors.New("down")
	o.fail.Store(&down)
	get()
	require.EqualValues(t, 2, reads.Load(), "a slow disk is better than none")
	c.health.until.Store(0)
	o.fail.Store(nil)
	get()
	require.EqualValues(t, 3, reads.Load(), "and is trusted again")
}

func BenchmarkReadPartFromDisk(b *testing.B) {
	for _, n := range []int{4 << 10, 32 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := &origin{}
			d := o.add(256 << 10)
			c, err := Open(Config{Dir: b.TempDir(), Origin: o, MemoryBytes: 1, Log: zerolog.Nop()})
			require.NoError(b, err)
			defer c.Close()
			ready(c)
			_, err = c.Bytes(b.Context(), d, 0)
			require.NoError(b, err)
			for !c.disk.has(d) {
				time.Sleep(time.Millisecond)
			}
			p := make([]byte, n)
			part := blob.Sum(o.blobs[d][8192 : 8192+n])
			b.SetBytes(int64(n))
			for b.Loop() {
				require.NoError(b, c.ReadPart(b.Context(), d, 0, part, 8192, p))
			}
		})
	}
}

// What others are to keep of the disk is kept free, in bytes and in inodes.
func TestLeavesRoomToOthers(t *testing.T) {
	for name, keep := range map[string]Config{"bytes": {MinFreeBytes: 500 << 10}, "inodes": {MinFreeFiles: 40}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=64"); err != nil {
				machine.Skip(t, "cannot mount a tmpfs here: %v", err)
			}
			t.Cleanup(func() { syscall.Unmount(dir, 0) })
			o := &origin{}
			c := open(t, o, func(c *Config) {
				c.Dir, c.MemoryBytes, c.MinFreeBytes, c.MinFreeFiles = dir, 1, keep.MinFreeBytes, keep.MinFreeFiles
			})
			ready(c)
			for i := range 60 {
				n := 10_000 + i
				_, err := c.Bytes(t.Context(), o.add(n), int64(n))
				require.NoError(t, err)
				settled(t, c)
				var st syscall.Statfs_t
				require.NoError(t, syscall.Statfs(dir, &st))
				require.GreaterOrEqual(t, int64(st.Bavail)*st.Bsize, keep.MinFreeBytes)
				require.GreaterOrEqual(t, int64(st.Ffree), keep.MinFreeFiles)
			}
			require.Positive(t, c.Stats().Evictions)
		})
	}
}
