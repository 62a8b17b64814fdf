package headtest

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/head/dir"
	"github.com/prairielambda/prairielambda/internal/head/mem"
)

func TestMem(t *testing.T) { Test(t, func(*testing.T) head.Store { return mem.New() }) }

func TestDir(t *testing.T) { Test(t, func(t *testing.T) head.Store { return dir.New(t.TempDir()) }) }

func TestDirGone(t *testing.T) {
	root := filepath.Join(t.TempDir(), "gone")
	s := dir.New(root)
	_, _, err := s.Get(t.Context(), "c")
	require.Error(t, err)
	require.NotErrorIs(t, err, head.ErrNotFound)
	_, err = s.List(t.Context())
	require.Error(t, err)
}

// TestEveryFlippedBit: a record with any bit changed is refused.
func TestEveryFlippedBit(t *testing.T) {
	h, err := mk("c", 7).Encode()
	require.NoError(t, err)
	v, err := rec("c", 7).Encode()
	require.NoError(t, err)
	p, err := seen("c", 7, "elements/a.py", "b").Encode()
	require.NoError(t, err)
	for _, r := range []struct {
		bytes  []byte
		decode func([]byte) error
	}{
		{h, func(b []byte) error { _, err := head.DecodeHead("c", b); return err }},
		{v, func(b []byte) error { _, err := head.DecodeVersion("c", Ver(7), b); return err }},
		{p, func(b []byte) error { _, err := head.DecodeProfile("c", Node(7), b); return err }},
	} {
		require.NoError(t, r.decode(r.bytes))
		for i := range r.bytes {
			for bit := range 8 {
				bad := bytes.Clone(r.bytes)
				bad[i] ^= 1 << bit
				var corrupt *head.CorruptError
				require.ErrorAs(t, r.decode(bad), &corrupt)
			}
		}
		for n := range r.bytes {
			require.Error(t, r.decode(r.bytes[:n]))
		}
	}
	_, err = head.DecodeHead("d", h)
	require.Error(t, err, "another course's head")
	_, err = head.DecodeVersion("c", Ver(8), v)
	require.Error(t, err, "another version's record")
}

func TestGolden(t *testing.T) {
	h := mk("demo", 3).Sign(ed25519.NewKeyFromSeed(make([]byte, 32)))
	learned := rec("demo", 4)
	learned.Profile = []string{"elements/a.py", "serverFilesCourse/<é>"}
	for name, r := range map[string]interface{ Encode() ([]byte, error) }{
		"head": h, "version": rec("demo", 3), "learned": learned, "profile": seen("demo", 5, learned.Profile...),
	} {
		b, err := r.Encode()
		require.NoError(t, err)
		path := filepath.Join("testdata", name+".record")
		if os.Getenv("UPDATE") != "" {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, b, 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(b))
	}
}

func TestSignatures(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	other, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	h := mk("c", 3).Sign(key)
	b, err := h.Encode()
	require.NoError(t, err)
	back, err := head.DecodeHead("c", b)
	require.NoError(t, err)
	require.True(t, back.SignedBy(other, pub))
	require.False(t, back.SignedBy(other))
	require.False(t, back.SignedBy())
	require.False(t, mk("c", 3).SignedBy(pub))
	for _, change := range []func(*head.Head){
		func(h *head.Head) { h.Course = "d" },
		func(h *head.Head) { h.Version = Ver(9) },
		func(h *head.Head) { h.Sequence++ },
		func(h *head.Head) { h.Manifest[0]++ },
		func(h *head.Head) { h.Time = h.Time.Add(1e6) },
	} {
		forged := back
		change(&forged)
		require.False(t, forged.SignedBy(pub))
	}
}

func FuzzHead(f *testing.F) {
	b, _ := mk("c", 1).Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := head.DecodeHead("c", b); err == nil {
			again, err := h.Encode()
			require.NoError(t, err)
			require.Equal(t, string(b), string(again))
		}
	})
}

func FuzzVersion(f *testing.F) {
	b, _ := rec("c", 1).Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := head.DecodeVersion("c", Ver(1), b); err == nil {
			again, err := v.Encode()
			require.NoError(t, err)
			require.Equal(t, string(b), string(again))
		}
	})
}
