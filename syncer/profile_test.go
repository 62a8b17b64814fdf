package syncer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/head"
)

func nodeName(n int) string { return fmt.Sprintf("%032x", n) }

// TestAPushMergesWhatNodesSaw: what most nodes name comes first, what the version
// does not have is left out, and without news a profile is carried on.
func TestAPushMergesWhatNodesSaw(t *testing.T) {
	s, src := newStore(t), t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(src, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write("infoCourse.json", "{}")
	write("elements/a/a.py", "a")
	write("elements/a/b.py", "b") // in the same pack
	write("serverFilesCourse/lib.py", "lib")
	write("clientFilesCourse/empty", "")
	write("clientFilesCourse/x.css", "x")
	write("questions/q/info.json", "{}")
	next := func(n int) head.Version {
		write("questions/q/server.py", fmt.Sprint(n))
		r, err := s.Push(t.Context(), "c", Dir(src, nil))
		require.NoError(t, err)
		rec, err := s.heads.GetVersion(t.Context(), "c", r.Version)
		require.NoError(t, err)
		return rec
	}
	saw := func(n int, paths ...string) {
		require.NoError(t, s.heads.PutProfile(t.Context(), head.Profile{Course: "c", Node: nodeName(n), Time: time.Now(), Paths: paths}))
	}
	require.Nil(t, next(1).Profile)

	saw(1, "clientFilesCourse/x.css", "serverFilesCourse/lib.py")
	saw(2, "serverFilesCourse/lib.py", "elements/a/b.py")
	saw(3, "elements/a/a.py", "elements/a/b.py", "etc/passwd", "elements", "clientFilesCourse/empty", "questions/q/info.json", "nothing/of/this") // rubbish
	require.NoError(t, os.WriteFile(filepath.Join(s.root, "profiles/c", nodeName(4)), []byte("rubbish"), 0o644))
	require.Equal(t, []string{"elements/a/b.py", "serverFilesCourse/lib.py", "clientFilesCourse/x.css"}, next(2).Profile)

	policy := GCPolicy{Last: 10, Grace: time.Hour}
	_, err := s.GC(t.Context(), policy)
	require.NoError(t, err)
	left, err := s.heads.Profiles(t.Context(), "c")
	require.NoError(t, err)
	require.Len(t, left, 3, "gc spares what was written within its grace")
	old := time.Now().Add(-2 * time.Hour)
	for n := 1; n <= 4; n++ {
		require.NoError(t, os.Chtimes(filepath.Join(s.root, "profiles/c", nodeName(n)), old, old))
	}
	_, err = s.GC(t.Context(), policy)
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(s.root, "profiles/c"), "and removes the rest, damaged or not")
	require.NoError(t, os.Remove(filepath.Join(src, "serverFilesCourse/lib.py")))
	carried := next(3)
	require.Equal(t, []string{"elements/a/b.py", "clientFilesCourse/x.css"}, carried.Profile, "what is still there is carried on")
	s.clean(t)

	// The version's name and manifest are the same, whatever was learned.
	other := newStore(t)
	r, err := other.Push(t.Context(), "c", Dir(src, nil))
	require.NoError(t, err)
	require.Equal(t, carried.Version, r.Version)
}

func TestARecordWithoutRoomGoesWithoutAProfile(t *testing.T) {
	s, src := newStore(t), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(src, "infoCourse.json"), []byte("{}"), 0o644))
	r, err := s.Push(t.Context(), "c", Dir(src, nil))
	require.NoError(t, err)
	m, err := s.Manifest(t.Context(), r.Manifest)
	require.NoError(t, err)
	done := make(chan struct{})
	close(done)
	p := &past{done: done, carried: []string{"infoCourse.json"}}
	rec, err := s.heads.GetVersion(t.Context(), "c", r.Version)
	require.NoError(t, err)
	require.Equal(t, p.carried, p.into(rec, m).Profile)
	rec.Environments = map[string]string{}
	for b, err := rec.Encode(); err == nil && len(b) < head.MaxRecord-20; b, err = rec.Encode() {
		rec.Environments["e"] += "x"
	}
	require.Nil(t, p.into(rec, m).Profile)
	_, err = p.into(rec, m).Encode()
	require.NoError(t, err)
}
