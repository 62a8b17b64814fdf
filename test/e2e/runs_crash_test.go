package e2e

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

// answers waits until an address answers 2xx.
func answers(t *testing.T, url string) {
	t.Helper()
	require.Eventually(t, func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode < 300
	}, 40*time.Second, 20*time.Millisecond, url)
}

// slowC prints, rests, and prints again.
func slowC(seconds string) object {
	return object{"files": []object{{"basename": "a.c", "contents": `#include <stdio.h>
#include <unistd.h>
int main(void) { puts("first"); fflush(stdout); sleep(` + seconds + `); puts("last"); return 3; }`}}, "mode": "run"}
}

// anotherGateway starts one before some workers and returns its face and its
// process, which ends with the test.
func anotherGateway(t *testing.T, s *stack.Stack, worker string) (*stack.Stack, *exec.Cmd) {
	t.Helper()
	addr, err := stack.FreeAddr()
	require.NoError(t, err)
	cmd, err := s.Daemon("scheduler", "serve", "--listen", addr, "--worker", worker)
	require.NoError(t, err)
	answers(t, "http://"+addr+"/readyz")
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &stack.Stack{Dir: s.Dir, Gateway: "http://" + addr, Worker: worker}, cmd
}

func TestARunOutlivesItsGateway(t *testing.T) {
	needs(t, "gcc", "apt install gcc libc6-dev")
	s, _ := start(t)
	first, process := anotherGateway(t, s, s.Worker)
	id := begin(t, first, slowC("3"))
	require.Eventually(t, func() bool { return len(poll(t, first, id, 0).Output) >= 2 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, process.Process.Kill())
	require.Error(t, process.Wait())

	said, last := follow(t, s, id, 1)
	require.Equal(t, []string{"stdout: first", "stdout: last"}, said)
	require.Equal(t, 3, last.Status)
}

func TestRunsSurviveTheirWorkersRestart(t *testing.T) {
	needs(t, "gcc", "apt install gcc libc6-dev")
	s, _ := start(t)
	addr, err := stack.FreeAddr()
	require.NoError(t, err)
	runs := filepath.Join(t.TempDir(), "runs")
	worker := secondAt(t, s, addr, runs)
	at, _ := anotherGateway(t, s, "http://"+addr)

	whole := begin(t, at, slowC("0"))
	before, end := follow(t, at, whole, 0)
	require.Equal(t, 3, end.Status)
	cut := begin(t, at, slowC("30"))
	require.Eventually(t, func() bool { return len(poll(t, at, cut, 0).Output) >= 2 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, worker.Process.Kill())
	require.Error(t, worker.Wait())

	secondAt(t, s, addr, runs)
	answers(t, at.Gateway+"/readyz")
	after, end := follow(t, at, whole, 0)
	require.Equal(t, before, after)
	require.Equal(t, 3, end.Status)
	said, end := follow(t, at, cut, 1)
	require.Equal(t, []string{"stdout: first", "internal_error: the worker stopped before the program had ended; start it again"}, said)
	require.Equal(t, -1, end.Status)
}
