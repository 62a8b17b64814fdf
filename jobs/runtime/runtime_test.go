package runtime

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Stage()
	os.Exit(m.Run())
}

var limits = jobs.Limits{
	Wall: 5 * time.Second, CPU: 5 * time.Second, Memory: 256 << 20, Processes: 64,
	Output: 64 << 10, Result: 16 << 20, Files: 16 << 20,
}

func TestPythonQuestion(t *testing.T) {
	h, err := sandbox.Open(sandbox.Config{Slots: 4})
	require.NoError(t, err)
	defer h.Close()
	start := time.Now()
	z, err := h.StartZygote(context.Background(), Python("/usr/bin/python3"))
	require.NoError(t, err)
	defer z.Close()
	t.Logf("zygote ready after %v", time.Since(start))

	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/questions/a/b", 0o755))
	require.NoError(t, os.WriteFile(dir+"/questions/a/b/info.json", []byte("{}"), 0o644))
	require.NoError(t, os.WriteFile(dir+"/questions/a/b/server.py", []byte(`
import random, os
def generate(data):
    data["params"]["x"] = random.randint(1, 1000000)
    data["params"]["ls"] = sorted(os.listdir("/")), sorted(os.listdir("/course")), os.getcwd()
    data["params"]["env"] = dict(os.environ)
    data["params"]["uid"] = os.getuid()
    data["params"]["status"] = open("/proc/self/status").read()
    print("hello")
`), 0o644))
	root, err := os.Open(dir)
	require.NoError(t, err)
	defer root.Close()
	q, err := sandbox.OpenBeneath(root, "questions/a/b")
	require.NoError(t, err)
	defer q.Close()
	for range 3 {
		box, err := z.Spawn(context.Background(), sandbox.Spec{Limits: limits})
		require.NoError(t, err)
		first := box.Turn(context.Background(), nil, 5*time.Second)
		require.Equal(t, jobs.OK, first.Outcome, "%s %s", first.Message, first.Stderr)
		t0 := time.Now()
		require.NoError(t, box.Mount(context.Background(), []sandbox.Mount{{Dir: q, Target: "questions/a/b"}}))
		req, err := json.Marshal(map[string]any{
			"session": map[string]any{"course": "/course", "question": "a/b"},
			"calls":   []any{map[string]any{"type": "question", "name": "a/b", "method": "generate"}},
			"data":    map[string]any{"params": map[string]any{}, "variant_seed": 42},
		})
		require.NoError(t, err)
		turn := box.Turn(context.Background(), sandbox.Request(req), limits.Wall)
		t.Logf("call %v (turn %v)", time.Since(t0), turn.Wall)
		require.Equal(t, jobs.OK, turn.Outcome, "%s %s", turn.Message, turn.Stderr)
		t.Logf("%s\n%s%s", turn.Frame, turn.Stdout, turn.Stderr)
		t.Logf("%+v", box.Close())
	}
}
