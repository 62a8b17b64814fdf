package chunkfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	headdir "github.com/prairielambda/prairielambda/internal/head/dir"
	"github.com/stretchr/testify/require"
)

var besides = []string{"elements/pl-thing/pl-thing.py", "serverFilesCourse/lib.py", "clientFilesCourse/logo.png"}

// One node learns, a push merges, and a node that never served the course
// starts all that its first request of the new version needs in one round trip:
// while the store answers nothing, all of it has been asked for.
func TestWhatOneNodeLearnedStartsAtAnother(t *testing.T) {
	src := questions(t, 5)
	a := newRig(t)
	v1 := push(t, a.store, "XC101", src)
	a.conf.ShareEvery = 20 * time.Millisecond
	a.start()
	for _, f := range append([]string{"questions/q000/server.py"}, besides...) {
		_, err := os.ReadFile(filepath.Join(a.mnt, "XC101", v1, f))
		require.NoError(t, err)
	}
	heads := headdir.New(a.store)
	written := func() (paths []string) {
		all, err := heads.Profiles(t.Context(), "XC101")
		require.NoError(t, err)
		if len(all) > 0 {
			paths = all[0].Paths
		}
		return paths
	}
	eventually(t, "the node writes", func() bool { return len(written()) == 3 })
	require.Equal(t, besides, written())
	// Somebody else writes what helps nobody.
	require.NoError(t, heads.PutProfile(t.Context(), head.Profile{
		Course: "XC101", Node: strings.Repeat("f", 32), Time: time.Now(), Paths: []string{"etc/passwd", "elements", "questions/q004/server.py", "gone"},
	}))

	// The new version: an element is another, and so is its blob.
	require.NoError(t, os.WriteFile(filepath.Join(src, besides[0]), noise("changed", 4100), 0o644))
	v2 := push(t, a.store, "XC101", src)
	require.NotEqual(t, v1, v2)
	rec, err := heads.GetVersion(t.Context(), "XC101", v2)
	require.NoError(t, err)
	require.ElementsMatch(t, besides, rec.Profile)

	b := newRig(t)
	b.conf.Store = a.store
	b.start()
	shown := func() string {
		text, err := os.ReadFile(b.mnt + "/.chunkfs/profiles.json")
		require.NoError(t, err)
		return string(text)
	}
	eventually(t, "the record is here", func() bool { return strings.Contains(shown(), besides[0]) })
	root := filepath.Join(b.mnt, "XC101", v2)
	_, err = os.Stat(root + "/questions/q001/server.py") // the manifest
	require.NoError(t, err)
	before := b.fetches()
	b.fault("hang") // nobody gets an answer: whatever is asked for now is of one round trip
	read := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(root + "/questions/q001/server.py")
		read <- err
	}()
	eventually(t, "the question and three more, none of them answered", func() bool { return b.fetches() == before+4 })
	b.fault("")
	<-read // in time or not: the store hung
	eventually(t, "the view", func() bool {
		for _, f := range append([]string{"questions/q001/server.py"}, besides...) {
			got, err := os.ReadFile(filepath.Join(root, f))
			want, _ := os.ReadFile(filepath.Join(src, f))
			if err != nil || string(got) != string(want) {
				return false
			}
		}
		return true
	})
	require.Equal(t, before+4, b.fetches())
}

// A store that cannot be written costs a reader nothing, and is asked again.
func TestAStoreThatCannotBeWrittenIsLeftAlone(t *testing.T) {
	r := newRig(t)
	v := push(t, r.store, "XC101", questions(t, 2))
	r.conf.ShareEvery = 20 * time.Millisecond
	require.NoError(t, os.WriteFile(filepath.Join(r.store, "profiles"), nil, 0o600)) // no directory can be here
	r.start()
	for _, f := range append([]string{"questions/q000/server.py"}, besides...) {
		_, err := os.ReadFile(filepath.Join(r.mnt, "XC101", v, f))
		require.NoError(t, err)
	}
	require.Zero(t, r.status().Errors)
	require.NoError(t, os.Remove(filepath.Join(r.store, "profiles")))
	eventually(t, "written at last", func() bool {
		all, err := headdir.New(r.store).Profiles(t.Context(), "XC101")
		return err == nil && len(all) == 1
	})
}

func TestNodesHaveNames(t *testing.T) {
	require.NoError(t, head.CheckNode(nodeName("")))
	require.Equal(t, nodeName("/a/profiles.json"), nodeName("/a/profiles.json"))
	require.NotEqual(t, nodeName("/a/profiles.json"), nodeName("/b/profiles.json"))
}

// What a version carries is what the course's current one does, and stays known
// while a newer one's record is under way.
func TestCarriedProfiles(t *testing.T) {
	p, err := openProfiles("")
	require.NoError(t, err)
	p.add("c", "own")
	require.True(t, p.begin("c", 7))
	require.False(t, p.begin("c", 7), "asked for")
	p.carry("c", 7, []string{"a", "b"})
	require.Equal(t, []string{"own", "a", "b"}, p.get("c"))
	require.True(t, p.begin("c", 8))
	require.Equal(t, []string{"own", "a", "b"}, p.get("c"))
	p.carry("c", 7, []string{"late"})
	p.forget("c", 7)
	require.False(t, p.begin("c", 8))
	p.forget("c", 8)
	require.True(t, p.begin("c", 8), "again, after a failure")
	p.carry("c", 8, nil)
	require.Equal(t, []string{"own"}, p.get("c"))
	require.Equal(t, fmt.Sprint(map[string][]string{"c": {"own"}}), fmt.Sprint(p.own()))
}
