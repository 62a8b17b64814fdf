package env

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/test/machine"
)

func put(t *testing.T, dir, name, content string, mode os.FileMode, owner int) {
	t.Helper()
	p := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
	require.NoError(t, os.WriteFile(p, []byte(content), 0o600))
	require.NoError(t, os.Chown(p, owner, owner))
	require.NoError(t, os.Chmod(p, mode))
}

// TestLayersAreReadAsOverlayfsShowsThem: the kernel's own merged view of two
// directories, pushed as it is, is what the two give as layers; and unpacking an
// environment and pushing it again changes nothing.
func TestLayersAreReadAsOverlayfsShowsThem(t *testing.T) {
	machine.Root(t)
	lower, over, merged := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", over, "tmpfs", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(over, unix.MNT_DETACH)) })
	upper, work := filepath.Join(over, "u"), filepath.Join(over, "w")
	require.NoError(t, os.Mkdir(upper, 0o755))
	require.NoError(t, os.Mkdir(work, 0o755))
	for _, d := range []string{lower, merged} {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	put(t, lower, "etc/gone", "gone", 0o644, 0)
	put(t, lower, "etc/kept", "kept", 0o4755, 7)
	put(t, lower, "etc/changed", "old", 0o644, 0)
	put(t, lower, "opt/whole/a", "a", 0o644, 0)
	put(t, lower, "opt/whole/deep/b", "b", 0o644, 0)
	put(t, lower, "opt/file", "a file that becomes a directory", 0o644, 0)
	require.NoError(t, os.Link(filepath.Join(lower, "etc/kept"), filepath.Join(lower, "etc/linked")))
	require.NoError(t, os.Symlink("/etc/kept", filepath.Join(lower, "etc/symlink")))
	require.NoError(t, unix.Mknod(filepath.Join(lower, "etc/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	require.NoError(t, unix.Mkfifo(filepath.Join(lower, "etc/pipe"), 0o640))
	require.NoError(t, unix.Setxattr(filepath.Join(lower, "etc/kept"), "user.note", []byte("x"), 0))
	require.NoError(t, unix.Mount("overlay", merged, "overlay", 0, "index=off,metacopy=off,redirect_dir=off,xino=off,lowerdir="+lower+",upperdir="+upper+",workdir="+work))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(merged, unix.MNT_DETACH)) })
	require.NoError(t, os.Remove(filepath.Join(merged, "etc/gone")))
	put(t, merged, "etc/changed", "new", 0o600, 9)
	put(t, merged, "etc/added/x", "x", 0o644, 0)
	require.NoError(t, os.RemoveAll(filepath.Join(merged, "opt/whole")))
	put(t, merged, "opt/whole/a2", "another whole", 0o644, 0)
	require.NoError(t, os.Remove(filepath.Join(merged, "opt/file")))
	put(t, merged, "opt/file/below", "below", 0o644, 0)

	heads := headmem.New()
	s := syncer.New(syncer.Config{Blobs: blob.Verified(blobmem.New()), Heads: heads})
	push := func(name string, src Source, err error) string {
		require.NoError(t, err)
		defer src.Close()
		r, err := Push(t.Context(), s, name, src, Limits{})
		require.NoError(t, err)
		return r.Version
	}
	src, err := openDir(merged)
	want := push("merged", src, err)
	f, err := os.Open(upper)
	require.NoError(t, err)
	layers, err := OpenLayers(Layers{Lower: lower, Upper: f})
	require.Equal(t, want, push("layers", layers, err))

	dir := filepath.Join(t.TempDir(), "unpacked")
	require.NoError(t, Unpack(t.Context(), s, "layers", "", dir))
	src, err = openDir(dir)
	require.Equal(t, want, push("again", src, err))
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing but the root is left")

	// Owners are taken off, and one that cannot be is refused.
	f, err = os.Open(upper)
	require.NoError(t, err)
	layers, err = OpenLayers(Layers{Lower: lower, Upper: f, Owner: 5})
	require.NoError(t, err)
	defer layers.Close()
	_, err = Push(t.Context(), s, "owners", layers, Limits{})
	var refused *syncer.RefusedError
	require.ErrorAs(t, err, &refused)
}

func TestSettingsOfARecipe(t *testing.T) {
	c := Config{Env: []string{"PATH=/bin", "A=1"}, WorkDir: "/x"}
	got := c.With(map[string]string{"A": "2", "B": "3"}, "digest")
	require.Equal(t, Config{Env: []string{"PATH=/bin", "A=2", "B=3"}, WorkDir: "/x", Recipe: "digest"}, got)
	require.Equal(t, []string{"PATH=/bin", "A=1"}, c.Env)
}
