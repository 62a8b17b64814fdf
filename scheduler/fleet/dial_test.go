package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

// A place that was given back twice would make its worker look idle for ever.
func TestASocketGivesItsPlaceBackOnce(t *testing.T) {
	w := fleettest.New(t, map[string]fleettest.Course{"c": {Current: "v", Versions: map[string]fleettest.Version{"v": {}}}})
	f, err := New(Config{Workers: []string{w.URL}})
	require.NoError(t, err)
	s, err := f.Workers()[0].Dial(t.Context(), Request{Path: "/v1/session?course=c&version=v"}, 1<<10)
	require.NoError(t, err)
	require.EqualValues(t, 1, f.Workers()[0].inflight.Load())
	s.Close()
	s.Close()
	require.Zero(t, f.Workers()[0].inflight.Load())
}
