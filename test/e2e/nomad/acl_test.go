package nomad

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
)

// gatewaysTokenDoesItsPolicyAndNoMore tries each verb of Nomad's API with the
// token that a gateway's allocation got.
func gatewaysTokenDoesItsPolicyAndNoMore(t *testing.T, d *Deployment) {
	gate, work := d.running(t, "prairie-scheduler")[0].ID, d.running(t, "prairie-worker")[0]
	conf := api.DefaultConfig()
	_, token := tokenOf(t, gate)
	conf.Address, conf.SecretID = d.Agent.Address, token
	c, err := api.NewClient(conf)
	require.NoError(t, err)
	node, _, err := d.Agent.Client.Nodes().List(nil)
	require.NoError(t, err)
	jobOf := func(id string) *api.Job {
		j, _, err := d.Agent.Client.Jobs().Info(id, nil)
		require.NoError(t, err)
		return j
	}
	worker := jobOf("prairie-worker")
	alloc, _, err := d.Agent.Client.Allocations().Info(work.ID, nil)
	require.NoError(t, err)
	raw := func(method, path string) func() error {
		return func() error { _, err := d.nomad(method, path, conf.SecretID); return err }
	}
	// Nomad refuses readers of files with a 200 and this text, or with nothing.
	file := func(path string) func() error {
		return func() error {
			b, err := d.nomad(http.MethodGet, path, conf.SecretID)
			if err == nil && (b == "" || b == "Permission denied") {
				err = errors.New("403, by another name")
			}
			return err
		}
	}
	whole, err := d.nomad(http.MethodGet, "/v1/client/fs/cat/"+work.ID+"?path=worker/local/start", d.Agent.secret)
	require.NoError(t, err)
	require.Contains(t, whole, "worker serve", "who may read files reads them")
	// A write that is let in changes nothing: it asks for what there is already.
	count := *worker.TaskGroups[0].Count

	for name, do := range map[string]func() error{
		"list jobs":      func() error { _, _, err := c.Jobs().List(nil); return err },
		"read a job":     func() error { _, _, err := c.Jobs().Info("prairie-worker", nil); return err },
		"list its parts": func() error { _, _, err := c.Jobs().Allocations("prairie-worker", false, nil); return err },
		"find a service": func() error { _, _, err := c.Services().Get("prairie-worker", nil); return err },
		"read logs":      raw(http.MethodGet, "/v1/client/fs/logs/"+work.ID+"?task=worker&type=stderr&plain=true"),
		"read its own variables": func() error {
			_, _, err := c.Variables().Read("nomad/jobs/prairie-scheduler", nil)
			return err
		},
	} {
		require.NoError(t, do(), name)
	}
	require.NoError(t, Await(t.Context(), "the end of the deployment, during which nobody may scale", func() error {
		_, _, err := c.Jobs().Scale("prairie-worker", "python", &count, "as it is", false, nil, nil)
		return err
	}))
	// What Nomad refuses in other words, or for what is asked before it looks at rights.
	// It asks nobody's rights to join agents: that is what its gossip key is for.
	before := map[string]string{
		"bootstrap": "already done", "force a periodic job": "job not found", "enter an allocation": "Permission denied",
	}
	for name, do := range map[string]func() error{
		"submit a job":             func() error { _, _, err := c.Jobs().Register(worker, nil); return err },
		"plan a job":               func() error { _, _, err := c.Jobs().Plan(worker, false, nil); return err },
		"stop a job":               func() error { _, _, err := c.Jobs().Deregister("prairie-worker", false, nil); return err },
		"evaluate a job":           func() error { _, _, err := c.Jobs().ForceEvaluate("prairie-worker", nil); return err },
		"revert a job":             func() error { _, _, err := c.Jobs().Revert("prairie-worker", 0, nil, nil, "", ""); return err },
		"pin a version":            func() error { _, _, err := c.Jobs().Stable("prairie-worker", 0, true, nil); return err },
		"force a periodic job":     func() error { _, _, err := c.Jobs().PeriodicForce("prairie-sync-gc", nil); return err },
		"promote a deployment":     func() error { _, _, err := c.Deployments().PromoteAll(alloc.DeploymentID, nil); return err },
		"fail a deployment":        func() error { _, _, err := c.Deployments().Fail(alloc.DeploymentID, nil); return err },
		"stop an allocation":       func() error { _, err := c.Allocations().Stop(alloc, nil); return err },
		"restart an allocation":    func() error { return c.Allocations().Restart(alloc, "", nil) },
		"signal an allocation":     func() error { return c.Allocations().Signal(alloc, nil, "worker", "SIGKILL") },
		"enter an allocation":      func() error { return enter(t.Context(), c, alloc) },
		"list files":               func() error { _, _, err := c.AllocFS().List(alloc, "/", nil); return err },
		"read a file":              file("/v1/client/fs/cat/" + work.ID + "?path=worker/local/start"),
		"read a secret by file":    file("/v1/client/fs/cat/" + work.ID + "?path=worker/secrets/ticket.pub"),
		"read its own key by file": file("/v1/client/fs/cat/" + gate + "?path=gateway/secrets/ticket.pem"),
		"read another's variables": func() error { _, _, err := c.Variables().Read("nomad/jobs/prairie-worker", nil); return err },
		"write another's variables": func() error {
			_, _, err := c.Variables().Create(&api.Variable{Path: "nomad/jobs/prairie-worker", Items: api.VariableItems{"x": "y"}}, nil)
			return err
		},
		"write its own variables": func() error {
			_, _, err := c.Variables().Create(&api.Variable{Path: "nomad/jobs/prairie-scheduler", Items: api.VariableItems{"x": "y"}}, nil)
			return err
		},
		"delete its own variables":  func() error { _, err := c.Variables().Delete("nomad/jobs/prairie-scheduler", nil); return err },
		"read a node":               func() error { _, _, err := c.Nodes().Info(node[0].ID, nil); return err },
		"drain a node":              func() error { _, err := c.Nodes().UpdateDrain(node[0].ID, &api.DrainSpec{}, false, nil); return err },
		"close a node":              func() error { _, err := c.Nodes().ToggleEligibility(node[0].ID, false, nil); return err },
		"purge a node":              raw(http.MethodPost, "/v1/node/"+node[0].ID+"/purge"),
		"pools of nodes, written":   func() error { _, err := c.NodePools().Register(&api.NodePool{Name: "x"}, nil); return err },
		"read an agent":             func() error { _, err := c.Agent().Self(); return err },
		"an agent's log":            raw(http.MethodGet, "/v1/agent/monitor"),
		"an agent's profile":        raw(http.MethodGet, "/v1/agent/pprof/goroutine"),
		"force agents to leave":     raw(http.MethodPost, "/v1/agent/force-leave?node=x"),
		"keys":                      func() error { _, _, err := c.Keyring().List(nil); return err },
		"rotate keys":               raw(http.MethodPost, "/v1/operator/keyring/rotate"),
		"raft":                      func() error { _, err := c.Operator().RaftGetConfiguration(nil); return err },
		"scheduler's configuration": func() error { _, _, err := c.Operator().SchedulerGetConfiguration(nil); return err },
		"snapshot":                  func() error { _, err := c.Operator().Snapshot(nil); return err },
		"collect garbage":           c.System().GarbageCollect,
		"reconcile summaries":       c.System().ReconcileSummaries,
		"make a token":              func() error { _, _, err := c.ACLTokens().Create(&api.ACLToken{Type: "management"}, nil); return err },
		"list tokens":               func() error { _, _, err := c.ACLTokens().List(nil); return err },
		"write a policy": func() error {
			_, err := c.ACLPolicies().Upsert(&api.ACLPolicy{Name: "x", Rules: `agent { policy = "write" }`}, nil)
			return err
		},
		"bootstrap":           func() error { _, _, err := c.ACLTokens().Bootstrap(nil); return err },
		"make a namespace":    func() error { _, err := c.Namespaces().Register(&api.Namespace{Name: "x"}, nil); return err },
		"make a volume":       raw(http.MethodPut, "/v1/volume/host/create"),
		"take a service away": raw(http.MethodDelete, "/v1/service/prairie-worker/x"),
		"parse a job":         raw(http.MethodPost, "/v1/jobs/parse"),
	} {
		want := before[name]
		if want == "" {
			want = "403"
		}
		if err := do(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, which is not refused with %q", name, err, want)
		}
	}
	now := jobOf("prairie-worker")
	require.False(t, *now.Stop)
	require.Equal(t, count, *now.TaskGroups[0].Count)
	require.Len(t, d.running(t, "prairie-worker"), d.Workers)
}

// nomad asks Nomad's API.
func (d *Deployment) nomad(method, path, token string) (string, error) {
	req, err := http.NewRequest(method, d.Agent.Address+path, strings.NewReader(`{"Volume":{"Name":"x","Namespace":"default"}}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Nomad-Token", token)
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return string(b), err
}

func enter(ctx context.Context, c *api.Client, alloc *api.Allocation) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	code, err := c.Allocations().Exec(ctx, alloc, "worker", false, []string{"/bin/true"}, strings.NewReader(""), new(strings.Builder), new(strings.Builder), nil, nil)
	if err == nil {
		err = fmt.Errorf("ended with %d", code)
	}
	return err
}

// tokenOf is the process of an allocation that has a token, and the token.
func tokenOf(t *testing.T, alloc string) (pid int, token string) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, p := range procs {
		b, err := os.ReadFile(p)
		if err != nil || !strings.Contains(string(b), "NOMAD_ALLOC_ID="+alloc) {
			continue
		}
		for kv := range strings.SplitSeq(string(b), "\x00") {
			if token, ok := strings.CutPrefix(kv, "NOMAD_TOKEN="); ok {
				pid, err = strconv.Atoi(filepath.Base(filepath.Dir(p)))
				require.NoError(t, err)
				return pid, token
			}
		}
	}
	t.Fatalf("no process of %s has a token", alloc)
	return 0, ""
}

// inAlloc is the path of a file of an allocation on this machine.
func (d *Deployment) inAlloc(t *testing.T, alloc, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(d.Dir, "*", "data", "alloc", alloc, name))
	require.NoError(t, err)
	require.Len(t, found, 1, "%s of %s", name, alloc)
	return found[0]
}
