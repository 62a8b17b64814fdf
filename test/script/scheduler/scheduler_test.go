// Package scheduler runs the gateway's command line as people and scripts do:
// the real binary in front of a worker double.
package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

func TestScripts(t *testing.T) {
	bin, err := stack.Build(t.TempDir(), "scheduler")
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan struct{}, 1)
	worker := fleettest.New(t, map[string]fleettest.Course{"tam212": {Current: "1234567", Versions: map[string]fleettest.Version{"1234567": {
		Chunks: map[string]string{"elements": "e"},
		Functions: map[string]fleettest.Func{
			"question/a/b.generate": fleettest.Data(func(d map[string]any) { d["params"] = map[string]any{} }),
			"question/slow.generate": func(_ context.Context, _ jobs.Call, d map[string]any) jobs.CallResult {
				slow <- struct{}{}
				time.Sleep(time.Second)
				return fleettest.OK(d)
			},
		},
	}}}})
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			addr, err := stack.FreeAddr()
			e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("WORKER", worker.URL)
			e.Setenv("ADDR", addr)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"http": call, "code": exitCode, "field": field,
			"begun": func(ts *testscript.TestScript, _ bool, _ []string) {
				select {
				case <-slow:
				case <-time.After(20 * time.Second):
					ts.Fatalf("the slow call never began")
				}
			},
		},
	})
}

// call is `http STATUS METHOD URL [BODY [HEADER: VALUE]...]`. It tries again for
// ten seconds while nobody listens or another status comes.
func call(ts *testscript.TestScript, _ bool, args []string) {
	var last string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		body := ""
		if len(args) > 3 {
			body = args[3]
		}
		req, err := http.NewRequest(args[1], args[2], strings.NewReader(body))
		ts.Check(err)
		req.Header.Set("Content-Type", "application/json")
		for _, h := range args[min(4, len(args)):] {
			k, v, _ := strings.Cut(h, ": ")
			req.Header.Set(k, v)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			last = err.Error()
			continue
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		ts.Check(err)
		if fmt.Sprint(res.StatusCode) == args[0] {
			ts.Check(os.WriteFile(ts.MkAbs("body"), b, 0o600))
			return
		}
		last = res.Status + " " + string(b)
	}
	ts.Fatalf("wanted %s, last saw: %s", args[0], last)
}

// exitCode runs the rest of the line and wants exactly this code: `code 2 scheduler ...`.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	got, err := 0, ts.Exec(args[1], args[2:]...)
	if err != nil {
		got = -1
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			got = ee.ExitCode()
		}
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// field puts the first token's id of `token ls --json` into a variable: `field VAR FILE`.
func field(ts *testscript.TestScript, _ bool, args []string) {
	var f struct{ Tokens []struct{ ID string } }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &f))
	ts.Setenv(args[0], f.Tokens[0].ID)
}
