package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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

// An agent that keeps the connection and says nothing leaves time for the next one,
// and is no longer the first that is asked.
func TestASilentAgentCostsItsTurnOnce(t *testing.T) {
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer mute.Close()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"TaskGroups":[{"Name":"python","Count":2,"Scaling":{"Min":1,"Max":3,"Enabled":true}}]}`)
	}))
	defer agent.Close()
	n, err := NewNomad(NomadConfig{Addresses: []string{mute.URL, agent.URL}, Turn: 50 * time.Millisecond})
	require.NoError(t, err)
	defer n.Close()
	g, err := n.Group("prairie-worker/python")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	now, least, most, err := g.Count(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 3}, []int{now, least, most})
	require.EqualValues(t, 1, n.first.Load())
}

// A client that was short of room has thrown the log away: nobody waits for it.
func TestOutputThatIsNoLongerKept(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/allocations"):
			fmt.Fprintf(w, `[{"ID":"a","ClientStatus":"complete","ModifyTime":%d}]`, time.Now().Add(-time.Minute/2).UnixNano())
		case strings.HasPrefix(r.URL.Path, "/v1/client/fs/logs/"):
			http.Error(w, "state for allocation a not found on client", http.StatusNotFound)
		default:
			fmt.Fprint(w, `{"Meta":{"owner":"me","secret":"S"},"TaskGroups":[{"Name":"run","Tasks":[{"Name":"run"}]}]}`)
		}
	}))
	defer agent.Close()
	n, err := NewNomad(NomadConfig{Addresses: []string{agent.URL}})
	require.NoError(t, err)
	defer n.Close()
	c, err := n.Long(LongConfig{}).Read(t.Context(), "1-2-S", "me", 0, time.Minute)
	require.NoError(t, err)
	require.True(t, c.Completed)
	require.Equal(t, jobs.Killed, c.Outcome)
	require.Contains(t, c.Message, "no output")
}
