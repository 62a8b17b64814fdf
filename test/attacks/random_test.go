package attacks

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/test/machine"
)

const drawRandomly = `
import os, random, secrets, ssl, tempfile, uuid
import numpy
def generate(data):
    data["params"] = {
        "random": random.random(), "numpy": float(numpy.random.random()), "secrets": secrets.token_hex(8),
        "uuid": str(uuid.uuid4()), "temp": tempfile.mktemp(), "ssl": ssl.RAND_bytes(8).hex(),
        "system": random.SystemRandom().random(), "default_rng": float(numpy.random.default_rng().random()),
        "mkstemp": tempfile.mkstemp()[1], "pid": os.getpid(),
    }
`

func draw(t testing.TB, p *pool.Pool, data string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := p.Do(ctx, &jobs.Invocation{
		Course: "course", Version: pool.Current, Data: json.RawMessage(data),
		Calls: []jobs.Call{{Type: jobs.Question, Name: "draw", Method: "generate"}},
	})
	require.NoError(t, err)
	require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
	var d struct{ Params map[string]any }
	require.NoError(t, json.Unmarshal(r.Data, &d))
	return d.Params
}

// Nothing random is shared by two calls, but what variant_seed seeds.
func TestRandomStreams(t *testing.T) {
	machine.Root(t)
	w := newWorld(t)
	addQuestion(t, w, "draw", drawRandomly)
	for name, spares := range map[string]int{"on demand": -1, "on spares": 3} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t, w, hostConfig(), spares)
			var free, seeded []map[string]any
			for range 6 {
				free = append(free, draw(t, p, `{"params":{}}`))
				seeded = append(seeded, draw(t, p, `{"params":{},"variant_seed":7}`))
				time.Sleep(30 * time.Millisecond) // spares grow
			}
			seeds := []string{"random", "numpy"}
			own := []string{"secrets", "uuid", "temp", "ssl", "system", "default_rng", "mkstemp"}
			for i := range free {
				require.EqualValues(t, 1, free[i]["pid"])
				for _, k := range seeds {
					require.Equal(t, seeded[0][k], seeded[i][k], "%s with one seed", k)
				}
				for j := range i {
					for _, k := range append(append([]string{}, seeds...), own...) {
						require.NotEqual(t, free[i][k], free[j][k], "%s without a seed", k)
					}
					for _, k := range own {
						require.NotEqual(t, seeded[i][k], seeded[j][k], "%s is no seed's", k)
					}
				}
			}
			require.NotEqual(t, draw(t, p, `{"params":{},"variant_seed":8}`)["random"], seeded[0]["random"])
		})
	}
}

func addQuestion(t testing.TB, w *world, qid, server string) {
	t.Helper()
	dir := w.courses + "/course/" + version + "/questions/" + qid
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/info.json", []byte("{}"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/server.py", []byte(server), 0o644))
}

// A worker that is process 1 of its namespace, as in a container, must not make
// every child look like itself to OpenSSL.
func TestRandomStreamsWhenTheWorkerIsProcessOne(t *testing.T) {
	machine.Root(t)
	if os.Getenv(innerTier) != "" {
		t.Skip("the outer run proves it")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestRandomStreams$")
	cmd.Env = append(os.Environ(), "PRAIRIE_TEST_PID1=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
