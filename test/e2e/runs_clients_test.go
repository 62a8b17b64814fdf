package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// frame is what the third generation gets.
type frame struct {
	Output []struct {
		Type string
		Data json.RawMessage
		Ref  string
	}
	Status    int
	Completed bool
}

// nodeFrames runs a program through our own client in Node.
func nodeFrames(t *testing.T, s *stack.Stack, sub object) (frames []frame) {
	needs(t, "node", "apt install nodejs")
	client, err := filepath.Abs("../../scheduler/client/js/index.js")
	require.NoError(t, err)
	program, err := json.Marshal(sub)
	require.NoError(t, err)
	cmd := exec.Command("node", "--input-type=module", "-e", `
const { execute } = await import(process.argv[1]);
const frames = [];
for await (const f of execute(JSON.parse(process.argv[3]), { gateway: process.argv[2] })) frames.push(f);
console.log(JSON.stringify(frames));`, client, s.Gateway, string(program))
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	require.NoError(t, json.Unmarshal(out, &frames), "%s", out)
	return frames
}

// chromiumFrames runs a program from a page of the gateway's own origin.
func chromiumFrames(t *testing.T, s *stack.Stack, sub object) (frames []frame) {
	needs(t, "chromium", "apt install chromium")
	path, err := exec.LookPath("chromium")
	require.NoError(t, err)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-component-update", true))...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	program, err := json.Marshal(sub)
	require.NoError(t, err)
	_, err = chromedp.Run(ctx, chromedp.Navigate(s.Gateway+"/healthz"))
	require.NoError(t, err)
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`new Promise((resolve, reject) => {
  const frames = [];
  const ws = new WebSocket(location.origin.replace('http', 'ws') + '/');
  ws.onopen = () => ws.send(JSON.stringify({ action: 'execute', data: `+string(program)+` }));
  ws.onerror = () => reject(new Error('the socket failed'));
  ws.onmessage = (m) => {
    const f = JSON.parse(m.data);
    frames.push(f);
    if (f.completed || !f.output) { ws.close(); resolve(JSON.stringify(frames)); }
  };
})`, chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(text), &frames), "%s", text)
	return frames
}
