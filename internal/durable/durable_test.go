package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFilesAreReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	require.NoError(t, WriteFile(p, []byte("one"), 0o600))
	require.NoError(t, WriteFileAfter(dir, p, []byte("two"), 0o644))
	b, err := os.ReadFile(p)
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
	st, err := os.Stat(p)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o644), st.Mode().Perm())

	nothing, full := func() error { return nil }, errors.New("full")
	require.ErrorIs(t, CreateAfter(nothing, p, []byte("three"), 0o644), fs.ErrExist)
	require.ErrorIs(t, CreateAfter(func() error { return full }, filepath.Join(dir, "h"), nil, 0o644), full)
	require.NoError(t, CreateAfter(func() error {
		require.NoFileExists(t, filepath.Join(dir, "g"))
		return nil
	}, filepath.Join(dir, "g"), []byte("three"), 0o644))
	require.NoError(t, Sync(dir, p))
	require.Error(t, Sync(dir, filepath.Join(dir, "none")))
	require.NoError(t, SyncFS(dir))
	require.Error(t, WriteFile(filepath.Join(dir, "no", "f"), nil, 0o644))
	require.Error(t, WriteFileAfter(filepath.Join(dir, "no"), p, []byte("four"), 0o644))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 2, "failures leave nothing behind")
	b, err = os.ReadFile(p)
	require.NoError(t, err)
	require.Equal(t, "two", string(b), "and change nothing")
}

func TestOneCreatorWins(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	wins := make(chan bool, 16)
	for range cap(wins) {
		go func() {
			err := CreateAfter(func() error { return nil }, p, []byte("x"), 0o644)
			wins <- err == nil
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Errorf("create: %v", err)
			}
		}()
	}
	n := 0
	for range cap(wins) {
		if <-wins {
			n++
		}
	}
	require.Equal(t, 1, n)
}

func TestSweepSparesTheYoungAndTheNamed(t *testing.T) {
	dir := t.TempDir()
	_, err := Temp(dir, []byte("x"), 0o600, false)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "named"), nil, 0o600))
	count := func() int {
		names, err := os.ReadDir(dir)
		require.NoError(t, err)
		return len(names)
	}
	require.NoError(t, Sweep(dir, time.Now().Add(-time.Hour)))
	require.Equal(t, 2, count())
	require.NoError(t, Sweep(dir, time.Now().Add(time.Hour)))
	require.Equal(t, 1, count())
	require.NoError(t, Sweep(filepath.Join(dir, "none"), time.Now()))
}

// TestSweepsShareADirectory: what another took first is gone, as it should be.
func TestSweepsShareADirectory(t *testing.T) {
	dir := t.TempDir()
	for range 500 {
		_, err := Temp(dir, nil, 0o600, false)
		require.NoError(t, err)
	}
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() { errs <- Sweep(dir, time.Now().Add(time.Hour)) }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTempFromIsWholeOrGone(t *testing.T) {
	dir := t.TempDir()
	path, err := TempFrom(dir, 0o444, func(w io.Writer) error {
		_, err := io.WriteString(w, "one ")
		_, again := io.WriteString(w, "two")
		return errors.Join(err, again)
	})
	require.NoError(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "one two", string(b))
	require.NoError(t, os.Remove(path))
	_, err = TempFrom(dir, 0o444, func(io.Writer) error { return io.ErrShortWrite })
	require.ErrorIs(t, err, io.ErrShortWrite)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
