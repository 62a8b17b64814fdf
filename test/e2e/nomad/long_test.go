package nomad

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
)

// submission is a Python program that asks for more time than a call gets.
func submission(program string) []byte {
	b, err := json.Marshal(map[string]any{
		"name": "long", "mode": "run", "main": "main.py", "runtime": "python", "switches": map[string]any{},
		"files": []any{map[string]any{"basename": "main.py", "contents": program}}, "limits": map[string]any{"wall": 90 * time.Second},
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

// begin starts a long run under an id and returns its identifier.
func (d *Deployment) begin(gateway, id string, body []byte) (string, error) {
	status, answer, err := d.request(http.MethodPost, gateway+"/run_program/", id, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, answer)
	}
	var made struct{ Identifier string }
	if err == nil {
		err = json.Unmarshal([]byte(answer), &made)
	}
	return made.Identifier, err
}

// output is the first generation's answer.
type output struct {
	Lines     []string `json:"output_lines"`
	Completed bool     `json:"completed"`
	Status    int      `json:"status"`
	Message   string   `json:"message"`
}

func (d *Deployment) poll(gateway, run string, from int) (o output, err error) {
	status, answer, err := d.send(gateway, "/check_output/", fmt.Appendf(nil, `{"identifier":%q,"already_read":%d,"wait":10}`, run, from))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, answer)
	}
	if err == nil {
		err = json.Unmarshal([]byte(answer), &o)
	}
	return o, err
}

// follow reads a run to its end, whatever happens to gateways meanwhile.
func (d *Deployment) follow(gateways []string, run string, limit time.Duration) (all output, err error) {
	until := time.Now().Add(limit)
	for i := 0; ; i++ {
		var o output
		if o, err = d.poll(gateways[i%len(gateways)], run, len(all.Lines)); err == nil {
			o.Lines = append(all.Lines, o.Lines...)
			all = o
		}
		if err == nil && all.Completed {
			return all, nil
		}
		if time.Now().After(until) {
			return all, fmt.Errorf("%s is not completed: %d lines, last error %w", run, len(all.Lines), err)
		}
		if err != nil {
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// dispatched is how many jobs have the input of this run.
func (d *Deployment) dispatched(t *testing.T, run string) (n int) {
	t.Helper()
	_, name, _ := strings.Cut(run, ".")
	jobs := d.Agent.Client.Jobs()
	job, _, err := jobs.Info("prairie-run/dispatch-"+name[:strings.LastIndexByte(name, '-')], nil)
	require.NoError(t, err)
	list, _, err := jobs.ListOptions(&api.JobListOptions{Fields: &api.JobListFields{Meta: true}}, &api.QueryOptions{Prefix: "prairie-run/"})
	require.NoError(t, err)
	for _, j := range list {
		if j.Meta["input"] == job.Meta["input"] {
			n++
		}
	}
	return n
}

func longRunsAreJobsOfTheirOwn(t *testing.T, d *Deployment, gateway string) {
	one := []string{gateway}
	begun := func(run string) {
		t.Helper()
		require.NoError(t, Await(t.Context(), "its first output", func() error {
			o, err := d.poll(gateway, run, 0)
			if err == nil && len(o.Lines) == 0 {
				err = fmt.Errorf("none yet")
			}
			return err
		}))
	}
	run, err := d.begin(gateway, "once", submission("import time\nprint('first', flush=True)\ntime.sleep(1)\nprint('last')"))
	require.NoError(t, err)
	again, err := d.begin(gateway, "once", submission("import time\nprint('first', flush=True)\ntime.sleep(1)\nprint('last')"))
	require.NoError(t, err)
	require.Equal(t, run, again, "asked for twice, dispatched once")
	o, err := d.follow(one, run, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{"first", "last"}, o.Lines, "%+v", o)
	require.Zero(t, o.Status)
	o, err = d.poll(gateway, run, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"last"}, o.Lines, "read again from any position")
	require.Equal(t, 1, d.dispatched(t, run))

	// What nobody was given leads nowhere.
	for _, id := range []string{run[:len(run)-1] + "x", run[:strings.LastIndexByte(run, '-')+1] + strings.Repeat("A", 26)} {
		_, err = d.poll(gateway, id, 0)
		require.ErrorContains(t, err, "404", id)
	}
	other := *d
	other.Secret = d.Other
	_, err = other.poll(gateway, run, 0)
	require.ErrorContains(t, err, "404", "another token's")

	// It does not see Nomad any more than a call does.
	b, err := json.Marshal([]string{strings.TrimPrefix(d.Agent.Address, "http://"), d.Agent.Dir})
	require.NoError(t, err)
	run, err = d.begin(gateway, "", submission(look+"\nprint(look("+string(b)+"))\n"))
	require.NoError(t, err)
	o, err = d.follow(one, run, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{"[]"}, o.Lines, "%+v", o)

	// Input by digest: larger than what a dispatch may carry.
	run, err = d.begin(gateway, "", submission("# "+strings.Repeat("x", 200<<10)+"\nprint(len(open('main.py').read()) > 200000)"))
	require.NoError(t, err)
	o, err = d.follow(one, run, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{"True"}, o.Lines, "%+v", o)

	// Cancelled.
	run, err = d.begin(gateway, "", submission("import time\nprint('begun', flush=True)\ntime.sleep(80)\nprint('never')"))
	require.NoError(t, err)
	begun(run)
	status, answer, err := other.request(http.MethodDelete, gateway+"/run_program/"+run, "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, status, "another's run: %s", answer)
	status, answer, err = d.request(http.MethodDelete, gateway+"/run_program/"+run, "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, status, answer)
	begin := time.Now()
	o, err = d.follow(one, run, time.Minute)
	require.NoError(t, err)
	require.Equal(t, "begun", o.Lines[0])
	require.NotContains(t, o.Lines, "never")
	require.NotZero(t, o.Status)
	t.Logf("cancelled and told after %v", time.Since(begin))

	// Dispatch to first output, against /bin/true by hand.
	var first []time.Duration
	for range 2 {
		begin := time.Now()
		run, err := d.begin(gateway, "", submission("print('x')"))
		require.NoError(t, err)
		begun(run)
		first = append(first, time.Since(begin))
	}
	by := truth(t, d, "raw_exec")
	ended, known := by()
	t.Logf("dispatch to first output %v; /bin/true to its exit %v, until Nomad says so %v", first, ended, known)
}
