package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// A directory is followed under whatever name it has, and the course where it is there again.
func TestARenamedDirectoryIsFollowed(t *testing.T) {
	dir := t.TempDir()
	names := []string{"one", "two", "deep/three", "one"}
	file := func(name string) string { return filepath.Join(dir, name, "server.py") }
	require.NoError(t, os.MkdirAll(filepath.Dir(file("one")), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "deep"), 0o755))

	seen := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- watch(ctx, dir, zerolog.Nop(), func(paths []string) {
			for _, name := range names {
				if b, err := os.ReadFile(file(name)); err == nil {
					told := ""
					if slices.Contains(paths, filepath.Join(name, "server.py")) {
						told = " as told"
					}
					seen <- name + string(b) + told
					return
				}
			}
			seen <- "nothing"
		})
	}()
	shows := func(want string) {
		t.Helper()
		for late := time.After(time.Minute); ; {
			select {
			case got := <-seen:
				if strings.HasPrefix(got, want) {
					return
				}
			case <-late:
				t.Fatalf("%q was not seen", want)
			}
		}
	}
	shows("nothing")
	for i, name := range names {
		if i > 0 {
			require.NoError(t, os.Rename(filepath.Join(dir, names[i-1]), filepath.Join(dir, name)))
			shows(name + names[i-1])
		}
		require.NoError(t, os.WriteFile(file(name), []byte(name), 0o644))
		shows(name + name + " as told")
	}
	require.NoError(t, os.RemoveAll(dir))
	shows("nothing")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "two"), 0o755))
	require.NoError(t, os.WriteFile(file("two"), []byte("anew"), 0o644))
	shows("twoanew")
	cancel()
	require.NoError(t, <-ended)
}
