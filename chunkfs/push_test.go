package chunkfs

import (
	"testing"

	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/stretchr/testify/require"
)

// push makes the tree at src the current version of a course.
func push(t testing.TB, store, course, src string) (version string) {
	t.Helper()
	s, err := storage.Create(t.Context(), "dir://"+store)
	require.NoError(t, err)
	defer s.Close()
	report, err := syncer.New(syncer.Config{Blobs: s.Blobs, Heads: s.Heads}).Push(t.Context(), course, syncer.Dir(src, nil))
	require.NoError(t, err)
	return report.Version
}
