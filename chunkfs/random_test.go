package chunkfs

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/prairielambda/prairielambda/test/machine"
)

// Random trees, each a version of one course under one mount, so that their
// files share nodes wherever their contents are equal.
func TestRandomTreesEqualTheirSources(t *testing.T) {
	r := newRig(t)
	push(t, r.store, "R", sample(t))
	r.start()
	require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(10*machine.Length(100))))
	names := rapid.SampledFrom([]string{"a", "b", "questions", "info.json", "elements", "ü", "x y", "q", "z.py", ".hidden", "-rf", "\\", "clientFilesCourse"})
	sizes := rapid.SampledFrom([]int{0, 1, 100, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 1 << 20, 1<<20 + 1})
	rapid.Check(t, func(rt *rapid.T) {
		src := t.TempDir()
		if rapid.Bool().Draw(rt, "course") {
			require.NoError(t, os.WriteFile(filepath.Join(src, "infoCourse.json"), []byte("{}"), 0o644))
		}
		for range rapid.IntRange(0, 12).Draw(rt, "entries") {
			path := src
			for range rapid.IntRange(1, 4).Draw(rt, "depth") {
				path = filepath.Join(path, names.Draw(rt, "name"))
			}
			if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
				continue // a file is in the way
			}
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0:
				_ = os.Symlink("a", path)
			case 1:
				_ = os.Mkdir(path, 0o755)
			case 2:
				_ = os.WriteFile(path, noise("few", sizes.Draw(rt, "size")), 0o755)
			default:
				_ = os.WriteFile(path, noise(rapid.SampledFrom([]string{"few", "more"}).Draw(rt, "content"), sizes.Draw(rt, "size")), 0o644)
			}
		}
		v := push(t, r.store, "R", src)
		same(t, src, filepath.Join(r.mnt, "R", v))
	})
}
