package blobtest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/blob/dir"
	"github.com/prairielambda/prairielambda/internal/blob/mem"
)

func openDir(t *testing.T) (*dir.Store, string) {
	root := filepath.Join(t.TempDir(), "blobs")
	s, err := dir.Open(root)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, root
}

func TestMem(t *testing.T) { Test(t, func(*testing.T) blob.Store { return mem.New() }) }

func TestDir(t *testing.T) {
	Test(t, func(t *testing.T) blob.Store { s, _ := openDir(t); return s })
}

func TestVerified(t *testing.T) {
	Test(t, func(*testing.T) blob.Store { return blob.Verified(mem.New()) })
}

func TestMetered(t *testing.T) {
	Test(t, func(*testing.T) blob.Store { return blob.Metered(mem.New(), func(blob.Op) {}) })
}

func TestMeteredCountsWhatHappened(t *testing.T) {
	var ops []blob.Op
	s := blob.Metered(mem.New(), func(o blob.Op) { ops = append(ops, o) })
	d := put(t, s, []byte("four"))
	_, err := s.Fetch(t.Context(), d)
	require.NoError(t, err)
	_, err = s.Fetch(t.Context(), blob.Sum([]byte("none")))
	require.Error(t, err)
	require.Len(t, ops, 3)
	require.Equal(t, "put", ops[0].Name)
	require.EqualValues(t, 4, ops[1].Bytes)
	require.ErrorIs(t, ops[2].Err, blob.ErrNotFound)
}

func TestVerifiedRefusesOtherBytes(t *testing.T) {
	inner := mem.New()
	s := blob.Verified(inner)
	d := blob.Sum([]byte("right"))
	var corrupt *blob.CorruptError
	require.ErrorAs(t, s.Put(t.Context(), d, []byte("wrong")), &corrupt)
	require.NoError(t, inner.Put(t.Context(), d, []byte("wrong")))
	_, err := s.Fetch(t.Context(), d)
	require.ErrorAs(t, err, &corrupt)
	require.Equal(t, d, corrupt.Digest)
}

// TestEveryFlippedBit: whatever bit of an object is flipped, a reader gets the
// right bytes or an error, never others; and Probe does not vouch for damage.
func TestEveryFlippedBit(t *testing.T) {
	raw, root := openDir(t)
	s := blob.Verified(raw)
	harmless := 0
	for _, b := range [][]byte{{}, []byte("short"), bytes.Repeat([]byte("def generate(data): pass\n"), 40), random(t, 300), make([]byte, 1<<20+3)} {
		d := put(t, s, b)
		path := filepath.Join(root, d.String()[:2], d.String())
		object, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(path, 0o644))
		for i := range object {
			for bit := range 9 {
				if bit < 8 && len(b) > 1<<20 {
					continue
				}
				bad := bytes.Clone(object)
				bad[i] ^= byte(1 << bit)
				if bit == 8 {
					bad[i] ^= 0xff
				}
				require.NoError(t, os.WriteFile(path, bad, 0o644))
				got, err := s.Fetch(t.Context(), d)
				if err == nil {
					require.True(t, bytes.Equal(b, got), "wrong bytes for a flip in byte %d", i)
					harmless++
					t.Logf("a flip of bit %d in byte %d of %d still decodes to the same %d bytes", bit, i, len(object), len(b))
					continue
				}
				var corrupt *blob.CorruptError
				require.ErrorAs(t, err, &corrupt)
				if bit != 8 {
					continue
				}
				there, err := s.Probe(t.Context(), []blob.Digest{d})
				require.NoError(t, err)
				require.False(t, there[0])
			}
		}
		for n := range object {
			require.NoError(t, os.WriteFile(path, object[:n], 0o644))
			_, err := s.Fetch(t.Context(), d)
			require.Error(t, err)
		}
		require.NoError(t, s.Put(t.Context(), d, b), "a put repairs")
		_, err = s.Fetch(t.Context(), d)
		require.NoError(t, err)
	}
	require.Zero(t, harmless)
}

func TestDirSweepsWhatKilledWritersLeft(t *testing.T) {
	s, root := openDir(t)
	left := filepath.Join(root, put(t, s, []byte("x")).String()[:2], ".tmp-123")
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o600))
	require.NoError(t, s.Sweep(t.Context(), time.Now().Add(-time.Hour)))
	require.FileExists(t, left)
	require.NoError(t, s.Sweep(t.Context(), time.Now().Add(time.Hour)))
	require.NoFileExists(t, left)
}

// TestDirSyncsWhatItFound: who put a blob may have been killed before its Sync.
func TestDirSyncsWhatItFound(t *testing.T) {
	killed, root := openDir(t)
	d := put(t, killed, []byte("x"))
	s, err := dir.Open(root)
	require.NoError(t, err)
	defer s.Close()
	there, err := s.Probe(t.Context(), []blob.Digest{d})
	require.NoError(t, err)
	require.True(t, there[0])
	require.NoError(t, os.Remove(filepath.Join(root, d.String()[:2], d.String())))
	require.Error(t, s.Sync(t.Context()), "it looks at the file")
}

// TestDirGone: a store that went away is an error, never "not found".
func TestDirGone(t *testing.T) {
	s, root := openDir(t)
	d := put(t, s, []byte("x"))
	require.NoError(t, os.RemoveAll(root))
	_, err := s.Fetch(t.Context(), d)
	require.Error(t, err)
	require.False(t, errors.Is(err, blob.ErrNotFound))
}

func TestDigestsParseOneWay(t *testing.T) {
	d := blob.Sum([]byte("x"))
	got, err := blob.ParseDigest(d.String())
	require.NoError(t, err)
	require.Equal(t, d, got)
	s := d.String()
	for _, bad := range []string{"", s[1:], s + "0", " " + s[1:], "0x" + s[2:], "A" + s[1:], "g" + s[1:], s[:63] + "\n"} {
		_, err := blob.ParseDigest(bad)
		require.Error(t, err, "%q", bad)
	}
}

// frame is what content of one part is compressed to.
func frame(t testing.TB, content []byte) []byte {
	object, err := blob.Compress(content)
	require.NoError(t, err)
	return object[:len(object)-16]
}

// object puts the trailer behind frames.
func object(frames ...[]byte) []byte {
	b := bytes.Join(frames, nil)
	sum := blob.Sum(b)
	return append(append(b, 0x5e, 0x2a, 0x4d, 0x18, 8, 0, 0, 0), sum[:8]...)
}

// TestParts: content beyond a part lies in several frames, each but the last of a
// whole part, or in one, as large manifests once did; other objects are refused.
func TestParts(t *testing.T) {
	a, b, end := bytes.Repeat([]byte("a"), 1<<20), random(t, 1<<20), []byte("end")
	want := bytes.Join([][]byte{a, b, end}, nil)
	made, err := blob.Compress(want)
	require.NoError(t, err)
	require.Equal(t, object(frame(t, a), frame(t, b), frame(t, end)), made)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	require.NoError(t, err)
	for _, good := range [][]byte{made, object(enc.EncodeAll(want, nil))} {
		got, err := blob.Decompress(blob.Sum(want), good)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
	for name, bad := range map[string][]byte{
		"no frame":           object(),
		"a short one before": object(frame(t, end), frame(t, b)),
		"an empty one after": object(frame(t, a), frame(t, nil)),
		"a long one after":   object(frame(t, a), enc.EncodeAll(want, nil)),
		"a skippable one":    object(frame(t, a), []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}),
		"half a one":         object(frame(t, a), frame(t, b)[:1<<19]),
		"half a header":      object(frame(t, a), frame(t, b)[:5]),
		"half a block":       object(frame(t, a)[:len(frame(t, a))-1]),
	} {
		_, err := blob.Decompress(blob.Digest{}, bad)
		var corrupt *blob.CorruptError
		require.ErrorAs(t, err, &corrupt, name)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(object(frame(f, []byte("hello hello hello hello"))))
	f.Add(object(frame(f, make([]byte, 1<<20)), frame(f, []byte("end"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := blob.Decompress(blob.Digest{}, b)
		if err == nil && len(out) > blob.MaxSize {
			t.Fatal("too large")
		}
	})
}
