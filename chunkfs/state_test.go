package chunkfs

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/stretchr/testify/require"
)

// reopened is the state as the next process finds it.
func reopened(t *testing.T, s *State) *State {
	t.Helper()
	var files [StateFiles]*os.File
	for i, f := range s.Files() {
		fd, err := syscall.Dup(int(f.Fd()))
		require.NoError(t, err)
		files[i] = os.NewFile(uintptr(fd), "state")
	}
	again, err := OpenState(files)
	require.NoError(t, err)
	t.Cleanup(func() { again.Close() })
	return again
}

func TestSlotsMeanTheSameToTheNextProcess(t *testing.T) {
	s, err := NewState()
	require.NoError(t, err)
	defer s.Close()
	want := map[uint32]slot{}
	for i := range 300 {
		course := fmt.Sprint("course", i%7)
		n, err := s.version(course, fmt.Sprintf("%040x", i), blob.Sum([]byte{byte(i)}))
		require.NoError(t, err)
		again, err := s.version(course, fmt.Sprintf("%040x", i), blob.Digest{})
		require.NoError(t, err)
		require.Equal(t, n, again)
		cs, ok := s.find(course, "")
		require.True(t, ok)
		require.NoError(t, s.setCurrent(cs, n))
	}
	for n := range s.slots[1:] {
		want[uint32(n+1)], _ = s.slot(uint32(n + 1))
	}
	next := reopened(t, s)
	for n, sl := range want {
		got, ok := next.slot(n)
		require.True(t, ok)
		require.Equal(t, sl, got)
	}
	require.Equal(t, 300, next.versions())
	require.Len(t, next.living(func(uint32) bool { return false }), 7)
	_, ok := next.slot(0)
	require.False(t, ok)
	_, ok = next.slot(1000)
	require.False(t, ok)
}

func TestContentTableKeepsWhatItWasTold(t *testing.T) {
	s, err := NewState()
	require.NoError(t, err)
	defer s.Close()
	never := func(uint64) bool { return false }
	const n = 20_000 // three segments
	key := func(i int) (uint64, uint64) {
		return contentKey(courseKey("c"), i%2 == 0, blob.Sum(fmt.Append(nil, i)))
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 2 { // each content comes from two writers
				k, check := key(i)
				if ok, err := s.content.put(k, check, uint64(i), never); !ok || err != nil {
					t.Error(i, ok, err)
				}
			}
		})
	}
	wg.Wait()
	require.Greater(t, len(*s.content.segments.Load()), 2)
	for _, table := range []*contentTable{s.content, reopened(t, s).content} {
		for i := range n {
			k, _ := key(i)
			place, ok := table.get(k)
			require.True(t, ok)
			require.Equal(t, uint64(i), place)
		}
		_, ok := table.get(tagShared | 12345)
		require.False(t, ok)
	}
	k, check := key(7)
	ok, err := s.content.put(k, check+1, 99, never)
	require.NoError(t, err)
	require.False(t, ok, "another content with the same id is noticed")
	ok, err = s.content.put(k, check, 99, func(uint64) bool { return true })
	require.NoError(t, err)
	require.True(t, ok)
	place, _ := s.content.get(k)
	require.EqualValues(t, 99, place, "a stale place gives way")
}

func TestIdsOfContentDependOnCourseModeAndDigest(t *testing.T) {
	seen := map[uint64]string{}
	for _, course := range []string{"A", "B"} {
		for _, exec := range []bool{false, true} {
			for i := range 100 {
				id, _ := contentKey(courseKey(course), exec, blob.Sum([]byte{byte(i)}))
				what := fmt.Sprint(course, exec, i)
				require.Empty(t, seen[id], what)
				seen[id] = what
				require.Equal(t, tagShared, id&tagMask)
			}
		}
	}
	slot, entry := splitPlace(placeNode(1<<30-1, linkEntry))
	require.EqualValues(t, 1<<30-1, slot)
	require.EqualValues(t, linkEntry, entry)
}
