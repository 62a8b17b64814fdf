package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const streamQuestion = `
import random, time
seen = []
def generate(data):
    seen.append(data["params"].get("between"))
    print("call", len(seen))
    data["params"] = {"seen": list(seen), "random": random.random()}
def grade(data):
    time.sleep(120)
`

// Calls of one session, with the platform's own JavaScript between them, are one
// process. One whose worker is killed is told so, and nothing begins in its place.
func TestASessionFromNodeIsOneProcess(t *testing.T) {
	needs(t, "node", "apt install nodejs")
	s, repo := withCourse(t, "streams")
	for name, content := range map[string]string{"info.json": `{"title":"s","topic":"t","type":"v3"}`, "server.py": streamQuestion} {
		_, err := repo.Edit("questions/session/stream/"+name, func([]byte) []byte { return []byte(content) })
		require.NoError(t, err)
	}
	_, err := s.Push("streams", repo.Dir)
	require.NoError(t, err)
	workers := map[string]*exec.Cmd{}
	var urls []string
	for i := range 3 {
		url, process := second(t, s, "--slots", "4", "--base-uid", fmt.Sprint(65000+100*i))
		workers[url], urls = process, append(urls, url)
	}
	at, _ := anotherGateway(t, s, strings.Join(urls, ","))
	kill := func() { // whichever holds the session
		t.Helper()
		require.Eventually(t, func() bool {
			for url, process := range workers {
				if _, b := get(t, url+"/v1/status"); strings.Contains(b, `"busy":1`) {
					delete(workers, url)
					require.NoError(t, process.Process.Kill())
					require.Error(t, process.Wait())
					return true
				}
			}
			return false
		}, 30*time.Second, 5*time.Millisecond)
	}

	client, err := filepath.Abs("../../scheduler/client/js/index.js")
	require.NoError(t, err)
	node := exec.Command("node", "testdata/session.mjs", client, at.Gateway)
	in, err := node.StdinPipe()
	require.NoError(t, err)
	out, err := node.StdoutPipe()
	require.NoError(t, err)
	errs := new(strings.Builder)
	node.Stderr = errs
	require.NoError(t, node.Start())
	t.Cleanup(func() { node.Process.Kill(); node.Wait() })
	lines := bufio.NewScanner(out)
	next := func(v any) {
		t.Helper()
		require.True(t, lines.Scan(), "%s", errs)
		require.NoError(t, json.Unmarshal(lines.Bytes(), v), "%s", lines.Bytes())
	}
	goOn := func() {
		t.Helper()
		_, err := in.Write([]byte("\n"))
		require.NoError(t, err)
	}
	type call struct {
		Seen   []string
		Random float64
		Output string
	}
	type failure struct{ Ours, Retryable bool }

	var calls []call
	next(&calls)
	require.Len(t, calls, 5)
	require.Equal(t, []string{"", "0 in JavaScript", "1 in JavaScript", "2 in JavaScript", "3 in JavaScript"}, calls[4].Seen)
	drawn := map[float64]bool{}
	for i, c := range calls {
		require.Len(t, c.Seen, i+1, "module state lives as long as the session")
		drawn[c.Random] = true
	}
	require.Len(t, drawn, 5, "one random stream")

	kill()
	goOn()
	var f failure
	next(&f)
	require.Equal(t, failure{true, true}, f, "killed at rest")
	var anew call
	next(&anew)
	require.Len(t, anew.Seen, 1, "the caller began a new session, and knows it")
	require.Equal(t, calls[0].Random, anew.Random, "which begins its stream anew: the seed is the same")
	var running string
	next(&running)
	kill()
	goOn()
	f = failure{}
	next(&f)
	require.Equal(t, failure{true, true}, f, "killed in mid-call")
	require.Len(t, workers, 1)
	for url := range workers {
		_, b := get(t, url+"/v1/status")
		require.Contains(t, b, `"busy":0`, "no second process")
	}
}
