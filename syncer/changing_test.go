package syncer

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// meddling is a directory that somebody writes to between its listing and the
// reading of a file, or in the middle of reading it.
type meddling struct {
	dirSource
	before, during func()
}

func (m meddling) open(ctx context.Context) (tree, error) {
	t, err := m.dirSource.open(ctx)
	if err != nil {
		return nil, err
	}
	return &meddled{t.(*dirTree), m}, nil
}

type meddled struct {
	*dirTree
	m meddling
}

func (t *meddled) read(ctx context.Context, files []*node, fn func(*node, int64, io.Reader) error) error {
	t.m.before()
	return t.dirTree.read(ctx, files, func(n *node, size int64, r io.Reader) error {
		t.m.during()
		return fn(n, size, r)
	})
}

func TestAFileThatChangesWhileItIsRead(t *testing.T) {
	nothing := func() {}
	for name, meddle := range map[string]func(path string) (before, during func()){
		"rewritten before": func(p string) (func(), func()) {
			return func() { os.WriteFile(p, []byte("other"), 0o644) }, nothing
		},
		"grown before": func(p string) (func(), func()) {
			return func() { os.WriteFile(p, []byte("longer than it was"), 0o644) }, nothing
		},
		"shrunk during":  func(p string) (func(), func()) { return nothing, func() { os.Truncate(p, 1) } },
		"grown during":   func(p string) (func(), func()) { return nothing, func() { os.Truncate(p, 1<<20) } },
		"removed before": func(p string) (func(), func()) { return func() { os.Remove(p) }, nothing },
		"a link before": func(p string) (func(), func()) {
			return func() { os.Remove(p); os.Symlink("/etc/passwd", p) }, nothing
		},
		"its directory a link": func(p string) (func(), func()) {
			return func() { os.RemoveAll(filepath.Dir(p)); os.Symlink("/etc", filepath.Dir(p)) }, nothing
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t), t.TempDir()
			files(t, dir, map[string]string{"d/passwd": "text\n"})
			before, during := meddle(filepath.Join(dir, "d", "passwd"))
			_, err := s.Push(t.Context(), "c", meddling{dirSource{dir, &Stats{}}, before, during})
			require.ErrorContains(t, err, "passwd")
			names, err := s.heads.Courses(t.Context())
			require.NoError(t, err)
			require.Empty(t, names, "nothing became reachable")
		})
	}
}

// TestARefusedTreeStoresNothing: not even the content that is fine.
func TestARefusedTreeStoresNothing(t *testing.T) {
	for name, tree := range map[string]map[string]string{
		"a link":    {"a": "new content", "l": "-> ../x"},
		"a name":    {"a": "new content", "d/n\nl": "x"},
		"two links": {"a": "new content", "d/x": "-> ..", "d/e/y": "-> ../x/.."},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t), t.TempDir()
			files(t, dir, tree)
			var refused *RefusedError
			_, err := s.Push(t.Context(), "c", Dir(dir, nil))
			require.ErrorAs(t, err, &refused)
			require.Zero(t, s.puts.Load())
		})
	}
}
