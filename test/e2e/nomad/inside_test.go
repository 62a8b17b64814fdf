package nomad

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:embed testdata/look.py
var look string

const probe = "attacks/look"

// withProbe is a copy of a course with one more question, which looks for Nomad.
func withProbe(t *testing.T, course string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "course")
	require.NoError(t, os.CopyFS(dir, os.DirFS(course)))
	q := filepath.Join(dir, "questions", probe)
	require.NoError(t, os.MkdirAll(q, 0o755))
	for name, text := range map[string]string{
		"info.json":     `{"uuid":"5d0c1b9e-3f4e-4f0a-9d0e-6a1f5a7c7777","title":"Look","topic":"Attacks","type":"v3"}`,
		"question.html": "<p>Look</p>",
		"server.py":     look + "\n\ndef generate(data):\n    data['params']['found'] = look(data['params']['things'])\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(q, name), []byte(text), 0o644))
	}
	return dir
}

// A sandbox sees nothing of Nomad: neither a question's nor a program's.
func noSandboxSeesNomad(t *testing.T, c *Cluster, d *Deployment, gateway string) {
	alloc := d.running(t, "prairie-worker")[0]
	work := alloc.ID
	node := c.Nodes[slices.IndexFunc(c.Nodes, func(n *Node) bool { return n.Name == alloc.NodeName })]
	things := []string{strings.TrimPrefix(node.Agent.Address, "http://"), strings.TrimPrefix(d.Agent.Address, "http://"), node.Agent.Dir}
	for _, name := range []string{".", "worker", "worker/secrets", "worker/secrets/ticket.pub", "worker/secrets/api.sock", "worker/local/start", "alloc", "alloc/logs"} {
		things = append(things, filepath.Join(node.Agent.Dir, "data", "alloc", work, name))
	}
	// The same look from outside finds what is there: it can fail. There it need not
	// walk through the whole machine.
	args, err := json.Marshal(things)
	require.NoError(t, err)
	program := look + "\nimport json, sys\nprint(json.dumps(look(json.loads(sys.stdin.read()), *sys.argv[1:])))\n"
	outside := exec.Command("nsenter", "-t", strconv.Itoa(node.Keeper), "-m", "-n", "python3", "-c", program, things[3])
	outside.Stdin, outside.Env = bytes.NewReader(args), []string{"NOMAD_ALLOC_ID=" + work, "PATH=/usr/bin"}
	out, err := outside.Output()
	require.NoError(t, err)
	for _, want := range []string{"environment: NOMAD_ALLOC_ID", "connected: " + things[0], "connected: " + things[1], "worker/secrets/api.sock", "cmdline of"} {
		require.Contains(t, string(out), want)
	}

	status, body := d.post(t, gateway, "/courses/sample/current/question/"+probe, map[string]any{
		"method": "generate", "data": map[string]any{"params": map[string]any{"things": things}, "variant_seed": 1},
	})
	require.Equal(t, http.StatusOK, status, body)
	var question struct{ Params struct{ Found []string } }
	require.NoError(t, json.Unmarshal([]byte(body), &question))
	require.Empty(t, question.Params.Found, "a question")

	status, body = d.post(t, gateway, "/run", map[string]any{
		"runtime": "python", "files": []any{map[string]any{"basename": "main.py", "contents": program}}, "stdin": string(args),
	})
	require.Equal(t, http.StatusOK, status, body)
	var ran struct{ Stdout, Stderr string }
	require.NoError(t, json.Unmarshal([]byte(body), &ran))
	require.Equal(t, "[]", strings.TrimSpace(ran.Stdout), "a program; %s", ran.Stderr)
}

// post asks a gateway and returns its status and answer.
func (d *Deployment) post(t *testing.T, gateway, path string, body any) (int, string) {
	t.Helper()
	b, err := json.Marshal(body)
	require.NoError(t, err)
	status, answer, err := d.send(gateway, path, b)
	require.NoError(t, err)
	return status, answer
}
