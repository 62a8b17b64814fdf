// Package dir keeps blobs as files: blobs/<2 hex>/<64 hex> below one directory,
// each as blob.Compress makes it.
//
// A blob's file appears by rename, whole or not at all. Power may fail between
// a Put and its Sync and leave a name with torn bytes; nothing refers to such a
// blob yet, and Probe reads and hashes what it finds, so that a later push never
// takes it for stored. Many blobs are made durable by one syncfs, a few by an
// fsync each. Several processes may use one directory; a lock file keeps Probe
// and Delete apart.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/durable"
	"golang.org/x/sys/unix"
)

var _ blob.Store = (*Store)(nil)

// Store implements blob.Store.
type Store struct {
	root    string // holds <2 hex>/
	lock    *os.File
	buffers sync.Pool // of *[]byte, for objects on their way to the disk

	mu      sync.Mutex // guards the fields below
	dirty   []string   // files renamed into place, or found there, since the last Sync
	overrun bool       // more than syncEach of them: use syncfs
}

// syncEach is up to how many files are fsynced one by one. syncfs writes back
// the whole filesystem, other programs' data too, so a small push avoids it.
const syncEach = 16

// content bounds blobs of content; what is larger is a manifest, one a push.
const content = 1 << 20

// Open uses the directory root, which it creates below an existing parent.
func Open(root string) (*Store, error) {
	if err := os.Mkdir(root, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		lock, err = nil, nil // a reader needs no lock
	}
	if err != nil {
		return nil, err
	}
	s := &Store{root: root, lock: lock}
	s.buffers.New = func() any { return new([]byte) }
	return s, nil
}

// Close releases the lock file.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

func (s *Store) path(d blob.Digest) string {
	name := d.String()
	return s.root + "/" + name[:2] + "/" + name
}

// Fetch implements blob.Fetcher.
func (s *Store) Fetch(ctx context.Context, d blob.Digest) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	object, err := readFile(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(s.root); err != nil {
			return nil, err // the store itself is gone
		}
		return nil, blob.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return blob.Decompress(d, object)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > blob.MaxSize+blob.MaxSize/8 {
		return nil, fmt.Errorf("%s has %d bytes, more than any object", path, st.Size())
	}
	b := blob.Buffer(int(st.Size())) // objects do not grow
	_, err = io.ReadFull(f, b)
	return b, err
}

// Put implements blob.Putter.
func (s *Store) Put(ctx context.Context, d blob.Digest, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temp, done, err := s.compress(b)
	if err != nil {
		return err
	}
	defer done()
	// The temporary file lies beside the blob's: a rename within one directory
	// takes no lock on the whole filesystem, and 256 directories share the load.
	path := s.path(d)
	dir := filepath.Dir(path)
	tmp, err := temp(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(dir, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			tmp, err = temp(dir)
		}
	}
	if err != nil {
		return err
	}
	if err := durable.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	s.touched(path)
	return nil
}

// touched notes a file for the next Sync.
func (s *Store) touched(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirty) == syncEach {
		s.dirty, s.overrun = nil, true
	}
	if !s.overrun {
		s.dirty = append(s.dirty, path)
	}
}

// compress says how to make the object of b in a temporary file: of content in a
// buffer that is used again after done, of a manifest on its way.
func (s *Store) compress(b []byte) (temp func(dir string) (string, error), done func(), err error) {
	if len(b) > content {
		return func(dir string) (string, error) {
			return durable.TempFrom(dir, 0o444, func(w io.Writer) error { return blob.CompressTo(w, b) })
		}, func() {}, nil
	}
	buf := s.buffers.Get().(*[]byte)
	*buf, err = blob.CompressInto(*buf, b)
	return func(dir string) (string, error) { return durable.Temp(dir, *buf, 0o444, false) }, func() { s.buffers.Put(buf) }, err
}

// Probe implements blob.Prober.
func (s *Store) Probe(ctx context.Context, ds []blob.Digest) ([]bool, error) {
	there := make([]bool, len(ds))
	now := time.Now()
	for i, d := range ds {
		path := s.path(d)
		if err := unix.Access(path, unix.F_OK); errors.Is(err, fs.ErrNotExist) {
			continue // the common case, without reading or locking
		}
		err := s.locked(unix.LOCK_SH, func() error { return os.Chtimes(path, now, now) })
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := s.Fetch(ctx, d)
		var corrupt *blob.CorruptError
		switch {
		case errors.As(err, &corrupt):
		case err != nil:
			return nil, err
		case blob.Sum(b) == d:
			there[i] = true
			s.touched(path) // who put it may have been killed before its Sync
		}
	}
	return there, ctx.Err()
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, fn func(blob.Info) error) error {
	dirs, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if !dir.IsDir() || len(dir.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(filepath.Join(s.root, dir.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			d, err := blob.ParseDigest(f.Name())
			if err != nil || f.Name()[:2] != dir.Name() {
				continue
			}
			st, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(blob.Info{Digest: d, Stored: st.Size(), Time: st.ModTime()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, d blob.Digest, before time.Time) (deleted bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	err = s.locked(unix.LOCK_EX, func() error {
		st, err := os.Stat(s.path(d))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !st.ModTime().Before(before) {
			return nil
		}
		if err != nil {
			return err
		}
		deleted = true
		return os.Remove(s.path(d))
	})
	return deleted && err == nil, err
}

// Sweep implements blob.Store.
func (s *Store) Sweep(ctx context.Context, before time.Time) error {
	dirs, err := os.ReadDir(s.root)
	for _, dir := range dirs {
		if dir.IsDir() && ctx.Err() == nil {
			err = errors.Join(err, durable.Sweep(filepath.Join(s.root, dir.Name()), before))
		}
	}
	return errors.Join(err, ctx.Err())
}

// Sync implements blob.Store.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	dirty, overrun := s.dirty, s.overrun
	s.dirty, s.overrun = nil, false
	s.mu.Unlock()
	var err error
	if overrun {
		err = durable.SyncFS(s.root)
	} else {
		err = s.syncFiles(dirty)
	}
	if err != nil {
		s.mu.Lock()
		s.dirty, s.overrun = nil, true // nothing of it counts as durable
		s.mu.Unlock()
	}
	return err
}

// syncFiles makes files and their names durable, all at once.
func (s *Store) syncFiles(files []string) error {
	if len(files) == 0 {
		return nil
	}
	paths := append([]string{s.root}, files...)
	for _, f := range files {
		if dir := filepath.Dir(f); !slices.Contains(paths, dir) {
			paths = append(paths, dir)
		}
	}
	return durable.Sync(paths...)
}

// locked runs fn under the store's lock file, across processes. Each call has
// its own open file description, because one description's locks do not exclude
// each other.
func (s *Store) locked(how int, fn func() error) error {
	if s.lock == nil {
		return fmt.Errorf("%s: %w", s.root, fs.ErrPermission)
	}
	f, err := os.Open(s.lock.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	return fn()
}
