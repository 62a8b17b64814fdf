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

	"github.com/stretchr/testify/require"
)

// Many versions, walked and read in a mixture: memory stays within 64 MiB and
// the manifests, and nothing grows that was there before.
func TestNothingGrows(t *testing.T) {
	r := newRig(t)
	src := questions(t, 1100) // 3,300 files a version
	var versions []string
	for i := range rounds(300) {
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
			if b, err := os.ReadFile(filepath.Join(q, e.Name())); err != nil || len(b) < 700 {
				t.Error(q, e.Name(), len(b), err)
			}
		}
	}
	burst := func(n int) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range n / 16 {
					request()
				}
			})
		}
		wg.Wait()
	}
	burst(rounds(24_000) / 2)
	before, fds := r.status(), r.fds()
	burst(rounds(24_000))
	eventually(t, "goroutines end", func() bool { return r.status().Goroutines <= before.Goroutines+8 })
	require.LessOrEqual(t, r.fds(), fds+4)
	rss, s := r.rss(), r.status()
	t.Logf("%d entries of %d versions walked, %d files shared; own memory %d MiB, manifests %d MiB", walked, len(versions), s.SharedFiles, rss>>20, s.ManifestBytes>>20)
	if !raced() {
		require.LessOrEqual(t, rss, int64(64<<20)+s.ManifestBytes)
	}
	require.Zero(t, s.Errors)
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

// rss is the resident memory of the daemon that is its own. The program text is
// left out: that of this test binary is not that of the command.
func (r *rig) rss() (n int64) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(r.cmd.Process.Pid) + "/status")
	require.NoError(r.t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			n, err = strconv.ParseInt(f[1], 10, 64)
			require.NoError(r.t, err)
		}
	}
	return n << 10
}
