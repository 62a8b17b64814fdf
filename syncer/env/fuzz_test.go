package env

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/manifest"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
)

func seedLayer() []byte {
	return imagetest.NewLayer(
		imagetest.Dir("d", 0o755), imagetest.Symlink("s", "/d"), imagetest.Char("c", 1, 3), imagetest.Whiteout("d", "gone"),
	).File("d/f", "content", 0o4755).Add(imagetest.Link("l", "d/f")).Tar()
}

// FuzzLayer: whatever a layer holds, it is refused or becomes a manifest that
// Decode accepts, and every blob of it was stored.
func FuzzLayer(f *testing.F) {
	f.Add(seedLayer())
	f.Add(imagetest.Gzip(seedLayer()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := Limits{Bytes: 1 << 20, Entries: 200}
		img := &image{limits: limits, layers: []layer{{
			open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }, size: -1,
		}}}
		tree, err := flatten(t.Context(), img, limits.filled())
		if err != nil {
			return
		}
		stored := map[blob.Digest]bool{}
		spec, err := tree.writer(Config{}, img).write(t.Context(), func(d blob.Digest, b []byte) error {
			stored[d] = true
			if blob.Sum(b) != d {
				t.Fatal("a blob under a wrong name")
			}
			return nil
		})
		var refused *syncer.RefusedError
		if errors.As(err, &refused) {
			return
		}
		require.NoError(t, err)
		m, err := manifest.Encode(spec)
		require.NoError(t, err)
		for k := range m.Blobs() {
			require.True(t, stored[m.Blob(k).Digest])
		}
		require.Equal(t, RootDir, m.Entry(2).Name)
	})
}

// FuzzConfig: settings are refused or bounded, and written the same each time.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":["sha256:0"]}}`))
	f.Add([]byte(`{"config":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ids, err := parseConfig(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(ids), maxLayers)
		one, err := c.Encode()
		require.NoError(t, err)
		two, err := c.Encode()
		require.NoError(t, err)
		require.Equal(t, one, two)
		require.NoError(t, c.Check())
	})
}

// FuzzBundle: no tar of images crashes its reader.
func FuzzBundle(f *testing.F) {
	img := &imagetest.Image{Layers: [][]byte{seedLayer()}}
	b, err := os.ReadFile(img.Docker(filepath.Join(f.TempDir(), "i.tar")))
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(t.TempDir(), "i.tar")
		require.NoError(t, os.WriteFile(p, b, 0o600))
		src, err := openImage(p, Limits{Bytes: 1 << 20, Entries: 100})
		if err != nil {
			return
		}
		defer src.Close()
		_, _ = flatten(t.Context(), src, Limits{Bytes: 1 << 20, Entries: 100})
	})
}
