package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// agent answers like a Nomad agent that can be told to fail and to forget; what
// a real one does is tried in test/e2e/nomad.
type agent struct {
	mu      sync.Mutex // guards what follows
	changed chan struct{}
	index   uint64
	workers []int // ports
	fail    bool
	asked   []uint64 // indices
}

func (a *agent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var since uint64
	fmt.Sscan(r.URL.Query().Get("index"), &since)
	a.mu.Lock()
	a.asked = append(a.asked, since)
	for since != 0 && since == a.index && !a.fail {
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	if a.fail {
		http.Error(rw, "No cluster leader", http.StatusInternalServerError)
		return
	}
	type service struct {
		Address string
		Port    int
	}
	list := []service{}
	for _, p := range a.workers {
		list = append(list, service{"127.0.0.1", p})
	}
	rw.Header().Set("X-Nomad-Index", fmt.Sprint(a.index))
	rw.Header().Set("X-Nomad-LastContact", "0")
	rw.Header().Set("X-Nomad-KnownLeader", "true")
	json.NewEncoder(rw).Encode(list)
}

func TestWorkersComeAndGoWithTheirService(t *testing.T) {
	a := &agent{changed: make(chan struct{}), index: 7, workers: []int{1}}
	srv := httptest.NewServer(a)
	defer srv.Close()
	source, err := fleet.NewNomad(fleet.NomadConfig{
		Addresses: []string{"http://127.0.0.1:1", srv.URL}, // nobody listens at the first
		Pause:     time.Millisecond, Settle: time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	updates := make(chan []string, 100)
	done := make(chan error, 1)
	go func() { done <- source.Watch(ctx, func(urls []string) { updates <- urls }) }()
	want := func(urls ...string) {
		t.Helper()
		for {
			select {
			case got := <-updates:
				if fmt.Sprint(got) == fmt.Sprint(urls) {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("never %v", urls)
			}
		}
	}
	want("http://127.0.0.1:1")
	a.set(func() { a.index, a.workers = 9, []int{1, 2} })
	want("http://127.0.0.1:1", "http://127.0.0.1:2")

	a.set(func() { a.fail = true })
	require.Eventually(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.asked) > 5
	}, 20*time.Second, time.Millisecond, "asked on while there is no leader")
	require.Empty(t, updates, "no worker is forgotten for an agent's failure")
	a.set(func() { a.fail, a.index, a.workers = false, 10, []int{2} })
	want("http://127.0.0.1:2")

	a.set(func() { a.index, a.workers = 3, []int{3} }) // another cluster's life
	want("http://127.0.0.1:3")
	a.set(func() { a.index, a.workers = 4, nil })
	want()

	cancel()
	require.NoError(t, <-done)
}

func TestAnAgentThatSaysNothingIsLeftForTheNext(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	srv := httptest.NewServer(&agent{changed: make(chan struct{}), index: 7, workers: []int{1}})
	defer srv.Close()
	source, err := fleet.NewNomad(fleet.NomadConfig{
		Addresses: []string{silent.URL, srv.URL}, Hold: 10 * time.Millisecond, Late: 10 * time.Millisecond, Pause: time.Millisecond,
	})
	require.NoError(t, err)
	defer source.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var workers []string
	require.NoError(t, source.Watch(ctx, func(urls []string) { workers = urls; cancel() }))
	require.Equal(t, []string{"http://127.0.0.1:1"}, workers)
}

func TestNomadAddresses(t *testing.T) {
	for _, bad := range [][]string{nil, {"localhost"}, {"127.0.0.1:4646"}, {"http://"}} {
		_, err := fleet.NewNomad(fleet.NomadConfig{Addresses: bad})
		require.Error(t, err, "%q", bad)
	}
	_, err := fleet.NewNomad(fleet.NomadConfig{Addresses: []string{"unix:///secrets/api.sock", "https://nomad:4646"}})
	require.NoError(t, err)
}
