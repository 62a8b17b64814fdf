//go:build cluster

package nomad

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

// upkeep is what operators do without any release: keys, tokens, courses, backups.
func (x drills) upkeep() []drill {
	return []drill{
		{name: "rotation of the keys of tickets", seen: true, do: x.keysRotated},
		{name: "a new token", do: x.tokenAdded},
		{name: "rollback of a course", do: x.rolledBack},
		{name: "backup of the store, verified", do: x.backedUp},
	}
}

// put replaces a job's variable: items are key=value, or key=@file.
func (x drills) put(t *testing.T, job string, items ...string) {
	t.Helper()
	x.d.cli(t, append([]string{"var", "put", "-force", "nomad/jobs/" + job}, items...)...)
}

// restarted waits until each allocation of a job began anew since then, and answers.
func (x drills) restarted(t *testing.T, job, task string, since time.Time) {
	t.Helper()
	require.NoError(t, Await(t.Context(), "restarts of "+job, func() error {
		for _, al := range x.d.running(t, job) {
			if s := al.TaskStates[task]; s == nil || s.State != "running" || s.StartedAt.Before(since) && s.LastRestart.Before(since) {
				return fmt.Errorf("%s is the old one", al.ID[:8])
			}
		}
		return nil
	}))
	_, err := x.d.Serving(t.Context())
	require.NoError(t, err)
}

func (x drills) keysRotated(t *testing.T) {
	v, _, err := x.d.Agent.Client.Variables().Read("nomad/jobs/prairie-worker", nil)
	require.NoError(t, err)
	public, private, err := NewKeys()
	require.NoError(t, err)
	since := time.Now()
	x.put(t, "prairie-worker", "ticket_pub="+v.Items["ticket_pub"]+public)
	x.restarted(t, "prairie-worker", "worker", since)
	since = time.Now()
	x.put(t, "prairie-scheduler", "ticket_key="+private, "tokens=@"+x.d.Tokens())
	x.restarted(t, "prairie-scheduler", "gateway", since)
	since = time.Now()
	x.put(t, "prairie-worker", "ticket_pub="+public)
	x.restarted(t, "prairie-worker", "worker", since)
}

func (x drills) tokenAdded(t *testing.T) {
	v, _, err := x.d.Agent.Client.Variables().Read("nomad/jobs/prairie-scheduler", nil)
	require.NoError(t, err)
	fresh := *x.d
	fresh.Secret, err = x.d.NewToken()
	require.NoError(t, err)
	x.put(t, "prairie-scheduler", "ticket_key="+v.Items["ticket_key"], "tokens=@"+x.d.Tokens())
	x.shift(t, &fresh, func(int) bool { return true })
}

// shift asks every gateway for a word of caesar's until its shift is as wanted.
func (x drills) shift(t *testing.T, d *Deployment, want func(int) bool) {
	t.Helper()
	gateways, err := d.Serving(t.Context())
	require.NoError(t, err)
	for _, g := range gateways {
		require.NoError(t, Await(t.Context(), "an answer of "+g, func() error {
			status, answer, err := d.send(g, "/courses/sample/current/question/words/caesar", []byte(`{"method":"generate","data":{"params":{},"correct_answers":{},"variant_seed":1}}`))
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("%d: %s: %w", status, answer, err)
			}
			var q struct{ Params struct{ Shift int } }
			if err := json.Unmarshal([]byte(answer), &q); err != nil {
				return err
			}
			if !want(q.Params.Shift) {
				return fmt.Errorf("shifted by %d", q.Params.Shift)
			}
			return nil
		}))
	}
}

func (x drills) rolledBack(t *testing.T) {
	old, err := os.Readlink(x.c.clients()[0].Path(filepath.Join(x.d.Mount(), "sample/current")))
	require.NoError(t, err)
	dir := course.Sample(t).Dir
	server := filepath.Join(dir, "questions/words/caesar/server.py")
	b, err := os.ReadFile(server)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(server, append(b, "\n\ngenerate_ = generate\n\n\ndef generate(data):\n    generate_(data)\n    data[\"params\"][\"shift\"] = 99\n"...), 0o644))
	require.NoError(t, x.d.Push("sample", dir))
	x.shift(t, x.d, func(n int) bool { return n == 99 })
	out, err := exec.Command(filepath.Join(x.d.Bin, "syncer"), "rollback", "--store", x.d.Store(), "sample", old).CombinedOutput()
	require.NoError(t, err, "%s", out)
	x.shift(t, x.d, func(n int) bool { return n < 99 })
}

func (x drills) backedUp(t *testing.T) {
	backup := filepath.Join(t.TempDir(), "store")
	out, err := exec.Command("cp", "-a", filepath.Join(x.d.Dir, "store"), backup).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(filepath.Join(x.d.Bin, "syncer"), "verify", "--store", "dir://"+backup).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
