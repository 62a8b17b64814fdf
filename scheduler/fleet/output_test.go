package fleet

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// FuzzChunk: however a log is cut, what is read in two goes is what is read in one.
func FuzzChunk(f *testing.F) {
	f.Add([]byte("{\"frames\":[{\"type\":\"stdout\",\"data\":\"a\"},{\"type\":\"stdout\",\"data\":\"b\"}]}\n{\"completed\":true,\"status\":3}\n"), 20)
	f.Add([]byte("{\"frames\":null}\n{\"fra"), 3)
	f.Add([]byte("{}\n[]\n"), 0)
	f.Fuzz(func(t *testing.T, log []byte, cut int) {
		all, n, whole, err := chunkOf(log, 0)
		if err != nil {
			return
		}
		require.Len(t, all.Frames, n)
		require.LessOrEqual(t, whole, int64(len(log)))
		first, m, at, err := chunkOf(log[:min(max(cut, 0), len(log))], 0)
		require.NoError(t, err)
		rest, o, _, err := chunkOf(log[at:], 0)
		require.NoError(t, err)
		require.Equal(t, n, m+o)
		require.Equal(t, all.Frames, append(first.Frames, rest.Frames...))
		skipped, _, _, err := chunkOf(log, m)
		require.NoError(t, err)
		require.Equal(t, all.Frames[m:], skipped.Frames)
	})
}

func TestTheLastChunkSaysHowItEnded(t *testing.T) {
	c, n, _, err := chunkOf([]byte("{\"frames\":[{\"type\":\"stdout\",\"data\":\"a\"}]}\n{\"frames\":[],\"completed\":true,\"status\":3,\"outcome\":\"ok\"}\n"), 0)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, &jobs.RunChunk{Frames: []jobs.RunFrame{{Type: "stdout", Data: json.RawMessage(`"a"`)}}, Completed: true, Status: 3, Outcome: "ok"}, c)
	_, _, _, err = chunkOf([]byte("exec: not found\n"), 0)
	require.Error(t, err)
}
