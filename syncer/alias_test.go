package syncer

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// TestManyGiveAVersionTheSameName, as two builds of one recipe do: none fails.
func TestManyGiveAVersionTheSameName(t *testing.T) {
	s, dir := freshStore(), t.TempDir()
	files(t, dir, map[string]string{"x": "y"})
	_, err := s.Push(t.Context(), "source", Dir(dir, nil))
	require.NoError(t, err)
	v, err := s.Resolve(t.Context(), "source", "current")
	require.NoError(t, err)
	for range 50 {
		var all errgroup.Group
		for range 4 {
			all.Go(func() error {
				_, err := s.Alias(t.Context(), "name", v)
				return err
			})
		}
		require.NoError(t, all.Wait())
		_, err = s.Remove(t.Context(), "name")
		require.NoError(t, err)
	}
}
