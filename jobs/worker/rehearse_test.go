package worker

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

func TestRehearsalsShareASandboxAndNothingOfTheCourse(t *testing.T) {
	files["questions/again/info.json"] = "{}"
	files["questions/again/question.html"] = ""
	files["serverFilesCourse/counting.py"] = "count = 0\n"
	files["questions/again/server.py"] = `
import builtins, os, random, signal, sys, threading, time
import counting
count = 0
def generate(data):
    global count
    count += 1
    counting.count += 1
    params = data["params"]
    params["pid"] = os.getpid()
    params["seen"] = [count, counting.count, sorted(os.listdir("/tmp")), os.environ.get("MARK"), hasattr(builtins, "mark"),
        "/mark" in sys.path, signal.getsignal(signal.SIGALRM) is signal.SIG_DFL]
    params["random"] = random.random()
    random.seed(99)
    builtins.mark = os.environ["MARK"] = "x"
    sys.path.append("/mark")
    signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
    signal.alarm(1)
    open("/tmp/mark", "w").close()
    os.makedirs("/tmp/a/b")
    if data["variant_seed"] == 13:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if data["variant_seed"] == 14:
        os._exit(3)
`
	_, srv := newWorker(t, nil)
	dial := func() *websocket.Conn {
		conn, _, err := websocket.Dial(context.Background(), strings.Replace(srv.URL, "http", "ws", 1)+"/v1/session?course=c&version=current&question=again&rehearse=1", nil)
		require.NoError(t, err)
		t.Cleanup(func() { conn.CloseNow() }) //nolint:errcheck
		return conn
	}
	ask := func(conn *websocket.Conn, seed int) map[string]any {
		data := map[string]any{
			"params": map[string]any{}, "correct_answers": map[string]any{}, "variant_seed": seed, "options": map[string]any{}, "preferences": map[string]any{},
		}
		a := line(t, conn, map[string]any{"call": map[string]any{"type": "phase", "method": "generate"}, "data": data})
		return a["calls"].([]any)[0].(map[string]any)
	}
	ended := func(conn *websocket.Conn) {
		_, _, err := conn.Read(context.Background())
		require.Equal(t, websocket.StatusNormalClosure, websocket.CloseStatus(err))
	}
	conn := dial()
	first := ask(conn, 5)
	require.Equal(t, "ok", first["outcome"], "%v", first)
	for range 2 {
		again := ask(conn, 5)
		require.Equal(t, "ok", again["outcome"], "%v", again)
		require.Equal(t, first["data"], again["data"], "the same process, and nothing of what came before")
	}
	require.NotEqual(t, first["data"], ask(conn, 6)["data"])
	require.Equal(t, "ok", ask(conn, 13)["outcome"])
	ended(conn) // a thread is left behind
	conn = dial()
	require.Equal(t, "killed", ask(conn, 14)["outcome"])
	ended(conn)
}
