package pool

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// countingServer says which process answers, and how often it was asked.
const countingServer = `
import json, os, socket
s = socket.socket(socket.AF_UNIX)
s.bind(os.environ["PRAIRIE_SOCKET"])
s.listen(8)
n, process = 0, os.urandom(8).hex()
while True:
    c, _ = s.accept()
    if not c.recv(1 << 16):
        continue
    n += 1
    body = json.dumps({"params": {"n": n, "process": process}}).encode()
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    c.close()
`

func TestServersThatListenAhead(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/q/info.json": "{}", "questions/q/serve.py": countingServer,
		"questions/q/lambda.json": `{"runtime":"python","command":["/usr/bin/python3","serve.py"]}`,
	}), nil)
	processes := map[string]bool{}
	call := func(limits jobs.Limits) jobs.Usage {
		t.Helper()
		inv := question("q", "generate")
		inv.Limits = limits
		r := do(t, p, inv)
		require.Equal(t, jobs.OK, r.Calls[0].Outcome, "%+v", r.Calls[0])
		var data struct {
			Params struct {
				N       int    `json:"n"`
				Process string `json:"process"`
			} `json:"params"`
		}
		require.NoError(t, json.Unmarshal(r.Data, &data))
		require.Equal(t, 1, data.Params.N, "its process was asked once")
		require.False(t, processes[data.Params.Process], "its process is its own")
		processes[data.Params.Process] = true
		return r.Usage
	}
	listens := func() {
		t.Helper()
		require.Eventually(t, func() bool { return p.listeners.count() == 1 }, 30*time.Second, 5*time.Millisecond)
	}
	call(jobs.Limits{})
	listens()
	time.Sleep(200 * time.Millisecond)
	start := time.Now()
	usage := call(jobs.Limits{})
	require.LessOrEqual(t, usage.Wall, time.Since(start), "what it waited is nobody's")
	require.EqualValues(t, 1, p.listeners.taken)

	listens()
	call(jobs.Limits{Memory: 300 << 20})
	require.EqualValues(t, 1, p.listeners.taken, "one with other limits is not for this call")

	p.listeners.mu.Lock()
	for _, l := range p.listeners.open {
		if l != nil {
			l.box.Kill()
			require.Eventually(t, func() bool { return !l.box.Alive() }, 30*time.Second, time.Millisecond)
		}
	}
	p.listeners.mu.Unlock()
	call(jobs.Limits{})
	require.EqualValues(t, 1, p.listeners.taken, "nor is one that died")

	p.Close()
	require.Eventually(t, func() bool { total, free, _ := p.Slots(); return free == total }, 30*time.Second, 5*time.Millisecond)
}
