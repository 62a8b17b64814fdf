package chunkfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/head"
	headdir "github.com/prairielambda/prairielambda/internal/head/dir"
	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env"
)

// startFiles are what the environment of pushEnv has, each a blob of its own; the last has blocks.
var startFiles = []string{"usr/bin/tool", "usr/lib/a/x", "usr/lib/b/y", "usr/lib/c/z", "usr/lib/d/blocks"}

// pushEnv pushes an environment of whose start nothing can be foreseen.
func pushEnv(t testing.TB, store string) (digest string) {
	t.Helper()
	dir := t.TempDir()
	for i, name := range append([]string{"usr/lib/unread/u"}, startFiles...) {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		size := 70_000
		if i == len(startFiles) {
			size = 3 << 20
		}
		require.NoError(t, os.WriteFile(p, noise(name, size), 0o755))
	}
	s, err := storage.Create(t.Context(), "dir://"+store)
	require.NoError(t, err)
	defer s.Close()
	src, err := env.Open(t.Context(), "dir:"+dir, env.Limits{})
	require.NoError(t, err)
	defer src.Close()
	r, err := env.Push(t.Context(), syncer.New(syncer.Config{Blobs: s.Blobs, Heads: s.Heads}), "e", src, env.Limits{})
	require.NoError(t, err)
	return r.Version
}

// startNode reads an environment's start at a node with an empty cache.
func startNode(t *testing.T, store, digest string, read ...string) *rig {
	r := newRig(t)
	r.conf.Store, r.conf.ShareEvery = store, time.Hour // written when it ends
	r.start()
	for _, name := range read {
		got, err := os.ReadFile(filepath.Join(r.mnt, ".env/e", digest, name))
		require.NoError(t, err)
		require.Equal(t, noise(name, len(got)), got)
	}
	return r
}

// One node sees what an environment's start reads; at another, the first touch
// fetches all of it.
func TestAnEnvironmentStartsAtOnceWhereAnotherNodeSawIt(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.Mkdir(store, 0o755))
	digest := pushEnv(t, store)
	heads := headdir.New(store)
	recorded := func() []string {
		p, err := heads.Profile(t.Context(), "env.e", head.EnvNode(digest))
		require.NoError(t, err)
		return p.Paths
	}
	require.Empty(t, recorded(), "nothing was foreseen")
	a := startNode(t, store, digest, startFiles...)
	require.NoError(t, a.stop())
	for _, name := range append(startFiles, "usr/lib/d/blocks//0", "usr/lib/d/blocks//2") {
		require.Contains(t, recorded(), "root/"+name)
	}

	b := startNode(t, store, digest, startFiles[0])
	// The manifest, a blob for each of four files, an index and three blocks.
	eventually(t, "all of the start", func() bool { return b.fetches() == 1+4+1+3 })
	for _, name := range startFiles {
		_, err := os.ReadFile(filepath.Join(b.mnt, ".env/e", digest, name))
		require.NoError(t, err)
	}
	require.Equal(t, 9, b.fetches())
	before := recorded()
	require.NoError(t, b.stop())
	require.Equal(t, before, recorded(), "what is known is not written again")

	c := startNode(t, store, digest, "usr/lib/unread/u")
	require.NoError(t, c.stop())
	require.ElementsMatch(t, append(before, "root/usr/lib/unread/u"), recorded(), "what is new is added")
}

// A record that is damaged, huge or false costs fetches and nothing else; what is
// damaged is replaced.
func TestARecordedStartIsBelievedNothing(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.Mkdir(store, 0o755))
	digest := pushEnv(t, store)
	heads, node := headdir.New(store), head.EnvNode(digest)
	file := filepath.Join(store, "profiles/env.e", node)
	lie := func(paths ...string) func() {
		return func() {
			require.NoError(t, heads.PutProfile(t.Context(), head.Profile{Course: "env.e", Node: node, Time: time.Now(), Paths: paths}))
		}
	}
	var many []string
	for i := range head.MaxEnvProfile {
		many = append(many, fmt.Sprintf("root/usr/lib/d/blocks//%d", i))
	}
	for name, tc := range map[string]struct {
		write   func()
		fetches int
	}{
		"none":    {func() { require.NoError(t, os.Remove(file)) }, 2},
		"rubbish": {func() { require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644)) }, 2},
		"sparse":  {func() { require.NoError(t, os.Truncate(file, 1<<40)) }, 2},
		"a directory": {func() {
			require.NoError(t, os.Remove(file))
			require.NoError(t, os.Mkdir(file, 0o755))
		}, 2},
		"nothing of it is there": {lie("root/none", "etc/passwd", "root/usr", "root/none//3", "root/usr/bin/tool//9"), 2},
		"blocks without end":     {lie(many...), 2 + 1 + 3},
		"another start":          {lie("root/usr/lib/unread/u"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(file))
			lie()()
			tc.write()
			r := startNode(t, store, digest, startFiles[0])
			eventually(t, "the fetches", func() bool { return r.fetches() == tc.fetches })
			require.Zero(t, r.status().Errors)
			require.NoError(t, r.stop())
			p, err := heads.Profile(t.Context(), "env.e", node)
			if name != "a directory" { // which nobody can replace
				require.NoError(t, err)
				require.Equal(t, "root/"+startFiles[0], p.Paths[0], "what was seen comes first")
			}
		})
	}
}

// A record that comes after the first touch is used all the same.
func TestARecordMayComeLate(t *testing.T) {
	tt := &touches{}
	require.False(t, tt.know([]string{"a"}), "nothing was touched yet")
	recorded, first := tt.begin()
	require.True(t, first)
	require.Equal(t, []string{"a"}, recorded)
	require.True(t, tt.know([]string{"b"}), "it begins now")
	_, first = tt.begin()
	require.False(t, first)
	require.Equal(t, "b", strings.Join(tt.known(), ""))
}
