package nomad

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

// janitorOf names the directory of a cluster to take down once standard input ends.
const janitorOf = "PRAIRIE_JANITOR_OF"

func TestMain(m *testing.M) {
	if dir := os.Getenv(janitorOf); dir != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		if err := Down(context.Background(), dir); err != nil {
			_ = os.WriteFile(dir+".janitor", []byte(err.Error()), 0o600)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "5") // they wait for Nomad nearly all of their time
	os.Exit(m.Run())
}

// janitor takes the cluster below dir down when this process ends, however it
// does: interrupted, killed or after a panic, when no cleanup runs. What the test
// took down itself it finds gone.
func janitor(t *testing.T, dir string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	alive, end, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), janitorOf+"="+dir)
	cmd.Stdin, cmd.SysProcAttr = alive, &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, alive.Close())
	t.Cleanup(func() {
		require.NoError(t, end.Close())
		require.NoError(t, cmd.Wait())
	})
}

// cluster returns a cluster that has nothing to do, and our programs, which are
// built while it forms.
func cluster(t *testing.T) (c *Cluster, bin string) {
	t.Helper()
	machine.Root(t)
	program, err := Program(os.Getenv("REQUIRE_ALL") == "1")
	if err != nil {
		machine.Skip(t, "make nomad-agent builds the agent that is missing: %v", err)
	}
	// Not t.TempDir: the path of allocations' sockets must stay below 108 bytes.
	dir, err := os.MkdirTemp("", "pl-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	janitor(t, dir)
	t.Cleanup(func() {
		if t.Failed() && c != nil {
			for _, n := range c.Nodes {
				t.Log(n.Agent.tails())
			}
		}
		begin := time.Now()
		require.NoError(t, Down(context.Background(), dir))
		t.Logf("taken down after %.1f s", time.Since(begin).Seconds())
	})
	built := make(chan error, 1)
	go func() {
		var err error
		bin, err = stack.Build(dir, "syncer", "chunkfs", "worker", "scheduler")
		built <- err
	}()
	begin := time.Now()
	c, err = NewCluster(program, dir)
	require.NoError(t, err)
	require.NoError(t, c.Start(t.Context()))
	formed := time.Since(begin)
	require.NoError(t, <-built)
	t.Logf("cluster formed after %.1f s", formed.Seconds())
	return c, bin
}

// tails are the ends of all logs.
func (a *Agent) tails() string {
	if a == nil {
		return ""
	}
	var b strings.Builder
	logs, _ := filepath.Glob(filepath.Join(a.Dir, "data/alloc/*/alloc/logs/*.std*.0"))
	for _, f := range append(logs, a.Log()) {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "-- %s\n%s\n", strings.TrimPrefix(f, a.Dir), text[max(0, len(text)-1500):])
	}
	return b.String()
}

// clients are the machines that run jobs.
func (c *Cluster) clients() []*Node { return c.Nodes[3:] }

// serverOf is the process that serves the mount of a machine.
func serverOf(t *testing.T, d *Deployment, n *Node) (pid int) {
	t.Helper()
	b, err := os.ReadFile(n.Path(filepath.Join(d.Mount(), ".chunkfs/status")))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "(process ")
	_, err = fmt.Sscanf(rest, "%d", &pid)
	require.NoError(t, err, "%s", b)
	return pid
}
