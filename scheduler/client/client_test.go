package client_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/client"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
	"github.com/prairielambda/prairielambda/test/machine"
)

var version = strings.Repeat("1", 40)

func gateway(t *testing.T) string {
	t.Helper()
	w := fleettest.New(t, map[string]fleettest.Course{"tam212": {Current: version, Versions: map[string]fleettest.Version{version: {
		Chunks: map[string]string{"elements": "e"},
		Functions: map[string]fleettest.Func{
			"question/a/b.generate":   fleettest.Data(func(d map[string]any) { d["params"] = 1 }),
			"question/empty.file":     fleettest.File(""),
			"question/broken.grade":   fleettest.Fate(jobs.CallResult{Outcome: jobs.QuestionError, Message: "no", Traceback: "T", Output: "o"}),
			"element/my-el.render":    fleettest.HTML(func(c jobs.Call, _ map[string]any) string { return *c.HTML }),
			"phase/addNumbers.render": fleettest.HTML(func(jobs.Call, map[string]any) string { return "page" }),
		},
	}}}})
	w.Set(func(s *fleettest.State) {
		s.Program = func(_ context.Context, p jobs.Program) jobs.ProgramResult {
			return jobs.ProgramResult{Outcome: jobs.OK, Stdout: p.Files[0].Contents, Runtime: p.Runtime}
		}
	})
	g, err := scheduler.New(scheduler.Config{Workers: []string{w.URL}})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.Run(ctx) })
	srv := httptest.NewServer(g)
	t.Cleanup(func() { srv.Close(); stop(); wg.Wait() })
	c := client.Client{URL: srv.URL}
	require.Eventually(t, func() bool { rs, err := c.Runtimes(context.Background()); return err == nil && len(rs) == 1 }, 10*time.Second, time.Millisecond)
	return srv.URL
}

func TestEveryCall(t *testing.T) {
	c := &client.Client{URL: gateway(t) + "/"}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	data, html := json.RawMessage(`{}`), "<my-el>"
	r, err := c.Question(ctx, "tam212", "current", "a/b", client.Call{Method: "generate", Data: data})
	require.NoError(t, err)
	require.JSONEq(t, `{"params":1}`, string(r.Data))
	require.Equal(t, version, r.Version)
	r, err = c.Question(ctx, "tam212", version, "empty", client.Call{Method: "file", Data: data})
	require.NoError(t, err)
	require.Equal(t, []byte{}, r.File)
	r, err = c.Element(ctx, "tam212", version, "my-el", client.Call{Method: "render", Data: data, HTML: &html})
	require.NoError(t, err)
	require.Equal(t, html, *r.HTML)
	r, err = c.Process(ctx, "tam212", version, "addNumbers", client.Call{Method: "render", Data: data})
	require.NoError(t, err)
	require.Equal(t, "page", *r.HTML)
	b, err := c.Batch(ctx, "tam212", version, client.Batch{Data: data, Requests: []jobs.Call{{Type: jobs.Question, Name: "a/b", Method: "generate"}, {Type: jobs.Question, Name: "x", Method: "grade"}}})
	require.NoError(t, err)
	require.Equal(t, []int{200, 404}, []int{b.Responses[0].Status, b.Responses[1].Status})
	p, err := c.Run(ctx, jobs.Program{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "a", Contents: "x"}}}, "off")
	require.NoError(t, err)
	require.Equal(t, "x", p.Stdout)

	_, err = c.Question(ctx, "tam212", version, "broken", client.Call{Method: "grade", Data: data})
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, []any{422, "question_error", "T", "o", false}, []any{e.Status, e.What.Code, e.What.Traceback, e.What.Output, e.What.Retryable})
	_, err = c.Question(ctx, "tam212", version, "..", client.Call{Method: "grade", Data: data})
	require.ErrorAs(t, err, &e)
	require.Equal(t, 400, e.Status)
}

func TestJavaScriptClient(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		machine.Skip(t, "node is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "--test", "index.test.js")
	cmd.Dir = "js"
	cmd.Env = append(os.Environ(), "GATEWAY="+gateway(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "pass 3", string(out))
}

func TestJavaScriptClientPacks(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		machine.Skip(t, "npm is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "pack", "--dry-run", "--json", "--offline")
	cmd.Dir = "js"
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "npm_config_update_notifier=false")
	out, err := cmd.Output()
	require.NoError(t, err)
	var packed []struct{ Files []struct{ Path string } }
	require.NoError(t, json.Unmarshal(out, &packed), "%s", out)
	require.Len(t, packed, 1)
	var names []string
	for _, f := range packed[0].Files {
		names = append(names, f.Path)
	}
	require.ElementsMatch(t, []string{"index.d.ts", "index.js", "package.json", "socket.js"}, names)
}
