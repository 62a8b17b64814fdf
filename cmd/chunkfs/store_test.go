package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// TestALateStoreIsOpenedOnce by however many requests find it back: what each of them
// opened besides would stay open as long as the server.
func TestALateStoreIsOpenedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openStore(t.Context(), "dir://"+dir, zerolog.Nop(), true)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range 64 {
		wg.Go(func() {
			<-begin
			_, err := s.List(t.Context())
			if err != nil {
				t.Errorf("list: %v", err)
			}
		})
	}
	close(begin)
	wg.Wait()
	open := 0
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); filepath.Dir(filepath.Dir(to)) == dir {
			open++
		}
	}
	require.Equal(t, 1, open)
}
