package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// Commands that begin and end at once on one course leave each other's directories alone.
func TestCommandsOnOneCourseBeginAtOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			for range 25 {
				p, err := openPlace(dir)
				if err != nil {
					return err
				}
				if err := p.close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}
