package scheduler_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// longs is a place for long runs that has room for so many.
type longs struct {
	room      int
	grading   *jobs.Grading // the newest
	cancelled []string
}

const longID = "1795245807-abcdef12-ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func (l *longs) Name() string { return "nomad/x" }

func (l *longs) Start(_ context.Context, _ string, run *jobs.RunRequest) (string, error) {
	l.grading = run.Grading
	if l.room--; l.room < 0 {
		return "", fmt.Errorf("count long runs: Get http://10.0.0.1:4646: %w", fleet.ErrLongFull)
	}
	return longID, nil
}

func (l *longs) Read(_ context.Context, id, _ string, _ int, _ time.Duration) (*jobs.RunChunk, error) {
	if id != longID {
		return nil, fleet.ErrLongMissing
	}
	return &jobs.RunChunk{Completed: true, Status: 7}, nil
}

func (l *longs) Cancel(_ context.Context, id, _ string) error {
	l.cancelled = append(l.cancelled, id)
	return nil
}

func TestRunsThatAskForMoreTimeLeaveTheWorkers(t *testing.T) {
	l := &longs{room: 1}
	_, url := gateway(t, scheduler.Config{Long: l}, teller(t, 0))
	short := begin(t, url)
	r := do(t, http.MethodDelete, url+"/run_program/"+short, "")
	require.Equal(t, http.StatusConflict, r.status, "a worker's run ends soon by itself")

	const body = `{"files":[{"basename":"main.adb","contents":""}],"mode":"run","limits":{"wall":60000000000}}`
	r = post(t, url+"/run_program/", body)
	require.Equal(t, http.StatusOK, r.status, r.body)
	id := strings.Split(r.body, `"`)[3]
	require.True(t, strings.HasSuffix(id, "."+longID), id)
	require.Contains(t, post(t, url+"/check_output/", `{"identifier":"`+id+`","read":0}`).body, `"status":7`)
	require.Equal(t, http.StatusNotFound, post(t, url+"/check_output/", `{"identifier":"`+id+`x","read":0}`).status)
	require.Equal(t, http.StatusNoContent, do(t, http.MethodDelete, url+"/run_program/"+id+"/", "").status)
	require.Equal(t, []string{longID}, l.cancelled)
	require.Equal(t, http.StatusNotFound, do(t, http.MethodDelete, url+"/run_program/nothing", "").status)

	r = post(t, url+"/run_program/", body)
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.True(t, r.fault(t).Retryable)
	require.NotContains(t, r.body, "10.0.0.1", "addresses stay inside")
}
