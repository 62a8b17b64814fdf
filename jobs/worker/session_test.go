package worker

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

func line(t *testing.T, conn *websocket.Conn, l map[string]any) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := json.Marshal(l)
	require.NoError(t, err)
	require.NoError(t, conn.Write(ctx, websocket.MessageText, b))
	_, b, err = conn.Read(ctx)
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(b, &v), "%s", b)
	return v
}

func TestSessionSharesOneProcess(t *testing.T) {
	files["questions/s/info.json"] = "{}"
	files["questions/s/server.py"] = `
import os, random
count = 0
def generate(data):
    global count
    count += 1
    print("call", count)
    data["params"]["count"] = count
    data["params"]["random"] = random.random()
def grade(data):
    os._exit(1)
`
	_, srv := newWorker(t, nil)
	conn, _, err := websocket.Dial(context.Background(), strings.Replace(srv.URL, "http", "ws", 1)+"/v1/session?course=c&version=current&question=s", nil)
	require.NoError(t, err)
	defer conn.CloseNow() //nolint:errcheck
	ask := func(fcn string) map[string]any {
		data := map[string]any{
			"params": map[string]any{}, "correct_answers": map[string]any{}, "variant_seed": 5, "options": map[string]any{}, "preferences": map[string]any{},
		}
		return line(t, conn, map[string]any{"type": "question", "directory": "s", "file": "server.py", "fcn": fcn, "args": []any{data}})
	}
	var seen []any
	for i := range 3 {
		a := ask("generate")
		require.Nil(t, a["error"], "%v", a)
		p := a["data"].(map[string]any)["params"].(map[string]any)
		require.EqualValues(t, i+1, p["count"], "module state lives as long as the session")
		require.NotContains(t, seen, p["random"], "one random stream")
		seen = append(seen, p["random"])
		require.Contains(t, a["output"], "call")
	}
	require.Equal(t, true, ask("nope")["functionMissing"])
	a := ask("grade")
	require.Contains(t, a["error"], "code 1")
	_, _, err = conn.Read(context.Background())
	require.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err), "no second process takes over")

	_, resp, err := websocket.Dial(context.Background(), strings.Replace(srv.URL, "http", "ws", 1)+"/v1/session?course=none&version=current", nil)
	require.Error(t, err)
	require.Equal(t, 404, resp.StatusCode)
}
