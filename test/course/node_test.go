package course

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nodeServer starts the Node course's server and returns a function that posts to it.
func nodeServer(t *testing.T, env ...string) func(path string, body any) (int, string, string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		need(t, "node")
	}
	dir := t.TempDir()
	require.NoError(t, WriteNode(dir))
	var lambda struct {
		Runtime string   `json:"runtime"`
		Command []string `json:"command"`
	}
	content, err := os.ReadFile(filepath.Join(dir, "lambda.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &lambda))
	require.Equal(t, "node", lambda.Runtime)

	// A socket's path holds about 100 bytes, and test names are long.
	sockets, err := os.MkdirTemp("", "prairie")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	socket := filepath.Join(sockets, "s")
	cmd := exec.Command(lambda.Command[0], lambda.Command[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "PRAIRIE_SOCKET=" + socket}, env...)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		require.NoError(t, cmd.Wait(), "SIGTERM ends it in good order")
		late.Stop()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 30*time.Second, 10*time.Millisecond, "the server listens")

	return func(path string, body any) (int, string, string) {
		t.Helper()
		response, err := client.Post("http://course"+path, "application/json", bytes.NewReader(mustJSON(t, body)))
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, strings.TrimSuffix(response.Header.Get("Content-Type"), "; charset=utf-8"), string(text)
	}
}

func decode(t *testing.T, text string) (o object) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &o), text)
	return o
}

func TestNodeCourse(t *testing.T) {
	post := nodeServer(t)
	call := func(path, method string, data object, html string) (int, string, string) {
		return post(path, object{"method": method, "data": data, "html": html})
	}
	for qid, name := range map[string]string{"arithmetic/gcd": "gcd", "words/anagram": "sorted"} {
		path := "/question/" + qid
		status, kind, first := call(path, "generate", object{"variant_seed": 1}, "")
		require.Equal(t, 200, status, first)
		require.Equal(t, "application/json", kind)
		_, _, again := call(path, "generate", object{"variant_seed": 1}, "")
		require.Equal(t, first, again, "the same seed, the same variant")
		_, _, other := call(path, "generate", object{"variant_seed": 2}, "")
		require.NotEqual(t, decode(t, first)["params"], decode(t, other)["params"])

		data := decode(t, first)
		for answer, want := range map[any]any{data["correct_answers"].(object)[name]: 1., "7777": 0.} {
			data["submitted_answers"] = object{name: answer}
			status, _, parsed := call(path, "parse", data, "")
			require.Equal(t, 200, status)
			if name == "sorted" && answer == "7777" {
				require.Equal(t, object{name: "Letters only."}, decode(t, parsed)["format_errors"])
				continue
			}
			status, _, graded := call(path, "grade", decode(t, parsed), "")
			require.Equal(t, 200, status)
			require.Equal(t, want, decode(t, graded)["score"])
		}
	}
	status, kind, html := call("/question/arithmetic/gcd", "render", object{}, "<p>x</p>")
	require.Equal(t, []any{200, "text/html", `<section class="gcd"><p>x</p></section>`}, []any{status, kind, html})
	status, kind, html = call("/element/node-number", "render", object{}, `<node-number answers-name="a&quot;"></node-number>`)
	require.Equal(t, []any{200, "text/html"}, []any{status, kind})
	require.Contains(t, html, `name="a&#38;quot;"`)

	for path, code := range map[string]string{
		"/question/no/such": "question_missing", "/element/no-such": "element_missing", "/question/../server": "question_missing",
		"/question/arithmetic%2Fgcd": "method_missing", "/": "not_found", "/other": "not_found",
	} {
		status, _, text := call(path, "file", object{}, "")
		require.Equal(t, 404, status, path)
		require.Equal(t, code, decode(t, text)["error"].(object)["code"], path)
	}
	for _, method := range []string{"generate", "render", "parse", "grade"} {
		status, _, text := call("/question/broken/throws", method, object{}, "")
		require.Equal(t, 500, status)
		failure := decode(t, text)["error"].(object)
		require.Equal(t, "broken/throws: broken on purpose in "+method, failure["message"])
		require.Contains(t, failure["traceback"], "question.js:")
	}
	status, _, _ = post("/question/arithmetic/gcd", "not an object")
	require.Equal(t, 400, status)
}

func TestNodeCourseBatch(t *testing.T) {
	post := nodeServer(t, "PRAIRIE_BATCH=1")
	status, _, text := post("/", object{
		"data":     object{"variant_seed": 5, "submitted_answers": object{"gcd": "6"}},
		"question": "arithmetic/gcd",
		"requests": []object{
			{"type": "question", "method": "generate"},
			{"type": "question", "name": "broken/throws", "method": "grade"},
			{"type": "element", "method": "parse", "html": `<node-number answers-name="gcd"></node-number>`},
			{"type": "question", "method": "no-such"},
			{"type": "question", "method": "grade"},
		},
	})
	require.Equal(t, 200, status, text)
	answer := decode(t, text)
	var codes []any
	for _, response := range answer["responses"].([]any) {
		codes = append(codes, response.(object)["status"])
	}
	require.Equal(t, []any{200., 500., 200., 404., 200.}, codes)
	require.Contains(t, answer["data"].(object)["partial_scores"], "gcd")
	status, _, _ = post("/", object{"data": object{}})
	require.Equal(t, 400, status)
}
