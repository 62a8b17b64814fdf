package chunkfs

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// same compares two trees by every way in which a program can read them.
func same(t *testing.T, src, got string) {
	t.Helper()
	want := walk(t, src)
	have := walk(t, got)
	require.Len(t, have, len(want))
	for i := range want {
		require.Equal(t, want[i], have[i])
	}
	for _, name := range want {
		a, b := filepath.Join(src, name.path), filepath.Join(got, name.path)
		switch {
		case name.mode&fs.ModeSymlink != 0:
			la, err := os.Readlink(a)
			require.NoError(t, err)
			lb, err := os.Readlink(b)
			require.NoError(t, err)
			require.Equal(t, la, lb)
		case name.mode.IsDir():
			sameListing(t, a, b)
		default:
			sameContent(t, a, b)
		}
	}
}

type seen struct {
	path string
	mode fs.FileMode
	size int64
}

func walk(t *testing.T, root string) (all []seen) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		s := seen{path: rel, mode: info.Mode().Type()}
		if info.Mode().IsRegular() {
			s.size = info.Size()
			s.mode |= info.Mode().Perm() & 0o100
		}
		all = append(all, s)
		return nil
	}))
	return all
}

func sameContent(t *testing.T, a, b string) {
	t.Helper()
	want, err := os.ReadFile(a)
	require.NoError(t, err)
	f, err := os.Open(b)
	require.NoError(t, err)
	defer f.Close()
	for range 8 { // pread, first where nothing is cached, also past the end
		off := rand.Int64N(int64(len(want)) + 2)
		p := make([]byte, 1+rand.IntN(200_000))
		n, err := f.ReadAt(p, off)
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
		}
		end := min(off+int64(len(p)), int64(len(want)))
		require.Equal(t, string(want[min(off, end):end]), string(p[:n]), "%s at %d", b, off)
	}
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.True(t, string(want) == string(got), b)
	if len(want) == 0 {
		return
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	require.True(t, string(want) == string(mem), "mmap of %s", b)
	require.NoError(t, unix.Munmap(mem))
	out, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer out.Close()
	var off int64
	for off < int64(len(want)) {
		n, err := unix.Sendfile(int(out.Fd()), int(f.Fd()), &off, len(want))
		require.NoError(t, err)
		require.Positive(t, n)
	}
	sent, err := os.ReadFile(out.Name())
	require.NoError(t, err)
	require.True(t, string(want) == string(sent), "sendfile of %s", b)
}

// sameListing reads with a small getdents buffer, seeking back to every position once.
func sameListing(t *testing.T, a, b string) {
	t.Helper()
	want, err := os.ReadDir(a)
	require.NoError(t, err)
	f, err := os.Open(b)
	require.NoError(t, err)
	defer f.Close()
	type pos struct {
		off  int64 // of the next entry
		name string
	}
	var order []pos
	buf := make([]byte, 600)
	for {
		n, err := unix.Getdents(int(f.Fd()), buf)
		require.NoError(t, err)
		if n == 0 {
			break
		}
		for p := buf[:n]; len(p) > 0; {
			reclen := int(p[16]) | int(p[17])<<8
			off := int64(0)
			for i := range 8 {
				off |= int64(p[8+i]) << (8 * i)
			}
			name, _, _ := strings.Cut(string(p[19:reclen]), "\x00")
			order = append(order, pos{off, name})
			p = p[reclen:]
		}
	}
	var names []string
	for _, o := range order {
		if o.name != "." && o.name != ".." {
			names = append(names, o.name)
		}
	}
	require.Len(t, names, len(want))
	for i, w := range want {
		require.Equal(t, w.Name(), names[i])
	}
	for i := 0; i+1 < len(order); i += 1 + len(order)/50 {
		_, err := f.Seek(order[i].off, io.SeekStart)
		require.NoError(t, err)
		n, err := unix.Getdents(int(f.Fd()), buf)
		require.NoError(t, err)
		name, _, _ := strings.Cut(string(buf[19:n]), "\x00")
		require.Equal(t, order[i+1].name, name)
	}
}
