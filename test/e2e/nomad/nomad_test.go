package nomad

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	specs "github.com/prairielambda/prairielambda/nomad"
	"github.com/prairielambda/prairielambda/test/course"
)

// serve deploys all that answers calls, has the first question answered by every
// gateway, and has Nomad say that nothing is left to do.
func serve(t *testing.T, c *Cluster, bin, dir string) *platform {
	t.Helper()
	begin := time.Now()
	d, gateways, err := c.Deploy(t.Context(), bin, dir)
	require.NoError(t, err)
	p := &platform{d: d, gateways: gateways, client: http.Client{Timeout: 20 * time.Second}}
	for _, g := range gateways {
		require.NoError(t, p.once(g, 1))
		t.Logf("first question answered %.1f s after the deploy began", time.Since(begin).Seconds())
	}
	var wg sync.WaitGroup
	for _, spec := range Specs {
		wg.Go(func() {
			out, err := d.Agent.CLI(append([]string{"job", "plan"}, d.Vars(spec)...)...)
			if err != nil {
				t.Errorf("a plan of what runs changes nothing: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	return p
}

// takesEverySpecification plans all of them where nothing runs.
func takesEverySpecification(t *testing.T, a *Agent) {
	d := &Deployment{Agent: a, Bin: "/opt/prairielambda/bin", Dir: "/var/lib/prairielambda", Workers: 2, Gates: 2}
	names, err := fs.Glob(specs.Files, "*.nomad.hcl")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := d.Vars(strings.TrimSuffix(name, ".nomad.hcl"))
			out, err := a.CLI(append([]string{"job", "validate"}, args...)...)
			require.NoError(t, err)
			require.NotContains(t, out, "Warning", name)
			out, err = a.CLI(append([]string{"job", "plan"}, args...)...)
			require.ErrorContains(t, err, "exit status 1", "1 means: allocations would be made\n%s", out)
			require.NotContains(t, strings.ToLower(out), "warning", name)
			require.NotContains(t, out, "Failed to place", name)
			_, err = a.CLI("fmt", "-check", name)
			require.NoError(t, err, "nomad fmt %s", name)
		})
	}
}

func TestDeployedOnACluster(t *testing.T) {
	c, bin := cluster(t)
	t.Run("it takes every specification", func(t *testing.T) { takesEverySpecification(t, c.Nodes[0].Agent) })
	p := serve(t, c, bin, withProbe(t, course.Sample(t).Dir))
	d, gateway := p.d, p.gateways[0]
	t.Run("a warm call against a dispatch", func(t *testing.T) { warmAgainstDispatch(t, d, gateway, 8, 1) })
	t.Run("each by itself", func(t *testing.T) {
		for name, try := range map[string]func(*testing.T){
			"the gateway's token does what its policy says and no more": func(t *testing.T) { gatewaysTokenDoesItsPolicyAndNoMore(t, d) },
			"no sandbox sees Nomad":           func(t *testing.T) { noSandboxSeesNomad(t, c, d, gateway) },
			"jobs mount courses as volumes":   func(t *testing.T) { jobsMountCoursesAsVolumes(t, c, d) },
			"long runs are jobs of their own": func(t *testing.T) { longRunsAreJobsOfTheirOwn(t, d, gateway) },
			"graders are jobs of their own":   func(t *testing.T) { gradersAreJobsOfTheirOwn(t, d, gateway) },
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); try(t) })
		}
	})
	t.Run("under load", func(t *testing.T) {
		x := drills{c, d}
		p.play(t, 25, []drill{
			x.workerStopped(), x.workerKilled(), x.workersKilled(), x.chunkfsKilled(), x.gatewayKilled(), x.leaderKilled(0), x.allUpdated("1s"),
		})
	})
}

// send posts to a gateway.
func (d *Deployment) send(gateway, path string, body []byte) (status int, answer string, err error) {
	return d.request(http.MethodPost, gateway+path, "", body)
}

// request asks under an id, or under none.
func (d *Deployment) request(method, url, id string, body []byte) (status int, answer string, err error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+d.Secret)
	if id != "" {
		req.Header.Set("Prairie-Id", id)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (d *Deployment) running(t *testing.T, job string) []*api.AllocationListStub {
	t.Helper()
	list, _, err := d.Agent.Client.Jobs().Allocations(job, false, nil)
	require.NoError(t, err)
	var live []*api.AllocationListStub
	for _, al := range list {
		if al.ClientStatus == "running" && al.DesiredStatus == "run" {
			live = append(live, al)
		}
	}
	return live
}
