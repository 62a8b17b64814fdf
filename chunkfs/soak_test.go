package chunkfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/machine"
)

// Many versions, walked and then read in a mixture, for ten minutes where
// SOAK=1: memory stays within bounds, and nothing grows that was there before.
func TestNothingGrows(t *testing.T) {
	r := newRig(t)
	src := questions(t, 1100) // 3,300 files a version
	var versions []string
	for i := range machine.Length(300) {
		name := filepath.Join(src, fmt.Sprintf("questions/q%03d/server.py", i%1000))
		require.NoError(t, os.WriteFile(name, noise(fmt.Sprint("change", i), 900), 0o644))
		versions = append(versions, push(t, r.store, "XC101", src))
	}
	r.start()
	require.Equal(t, []string{"XC101"}, list(t, r.mnt))
	walked := 0
	for _, v := range versions {
		walked += len(walk(t, filepath.Join(r.mnt, "XC101", v)))
	}
	request := func() {
		q := fmt.Sprintf("%s/XC101/%s/questions/q%03d", r.mnt, versions[rand.IntN(len(versions))], rand.IntN(1000))
		entries, err := os.ReadDir(q)
		if err != nil || len(entries) != 3 {
			t.Error(q, len(entries), err)
		}
		for _, e := range entries {
			if b, err := readUncached(filepath.Join(q, e.Name())); err != nil || len(b) < 700 {
				t.Error(q, e.Name(), len(b), err)
			}
		}
	}
	const readers = 16
	serve := func(n int, over time.Duration) {
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				start := time.Now()
				for k := range n / readers {
					time.Sleep(over*time.Duration(k)/time.Duration(n/readers) - time.Since(start))
					request()
				}
			})
		}
		wg.Wait()
	}
	over := time.Duration(0)
	if machine.Soak() {
		over = 10 * time.Minute
	}
	serve(machine.Length(24_000)/2, 0) // to its full size
	before, fds := r.status(), r.fds()
	// What the kernel may take away and bring back, such as the program's text, is no
	// growth; and what it has swapped out is still held.
	held := func() int64 { return r.memory("RssAnon") + r.memory("RssShmem") + r.memory("VmSwap") }
	// Garbage comes and goes between collections, so the least that was seen is compared.
	least := func(part int) int64 {
		n := int64(1) << 62
		for range 10 {
			serve(machine.Length(24_000)*part/100, over*time.Duration(part)/100)
			n = min(n, held())
		}
		return n
	}
	first, _, last := least(1), least(8), least(1)
	eventually(t, "goroutines end", func() bool { return r.status().Goroutines <= before.Goroutines+8 })
	require.LessOrEqual(t, r.fds(), fds+4)
	s := r.status()
	own := r.memory("RssAnon")
	t.Logf("%d entries of %d versions walked, %d files shared; memory %d, then %d MiB: %d anonymous, of which %d are manifests; RSS %d",
		walked, len(versions), s.SharedFiles, first>>20, last>>20, own>>20, s.ManifestBytes>>20, r.memory("VmRSS")>>20)
	require.Zero(t, s.Errors)
	if !raced() {
		between := int64(GCPercent) // what may come between two collections; ten minutes see many
		if over > 0 {
			between = 5
		}
		require.LessOrEqual(t, last, first+first*between/100)
		// The program's text is left out here: this test's is not the command's, which `make bench` measures whole.
		require.LessOrEqual(t, own, int64(64<<20)+s.ManifestBytes)
	}
}

// raced says that the race detector is here, which takes memory of its own.
func raced() bool {
	bi, _ := debug.ReadBuildInfo()
	return bi != nil && slices.Contains(bi.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func (r *rig) fds() int {
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/fd")
	require.NoError(r.t, err)
	return len(fds)
}

// memory is a line of the server's /proc/<pid>/status, in bytes.
func (r *rig) memory(what string) (n int64) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/status")
	require.NoError(r.t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == what+":" {
			n, err = strconv.ParseInt(f[1], 10, 64)
			require.NoError(r.t, err)
		}
	}
	return n << 10
}
