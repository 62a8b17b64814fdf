package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func TestRehearsalsShareASandboxAndNothingOfTheCourse(t *testing.T) {
	p := newPool(t, tree(t, map[string]string{
		"questions/again/info.json":     "{}",
		"questions/again/question.html": "",
		"serverFilesCourse/counting.py": "count = 0\n",
		"questions/again/server.py": `
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
        "/mark" in sys.path, signal.getsignal(signal.SIGALRM) is signal.SIG_DFL, ascii.__name__]
    params["random"] = random.random()
    random.seed(99)
    builtins.mark = os.environ["MARK"] = "x"
    builtins.ascii = max
    sys.path.append("/mark")
    signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
    signal.alarm(1)
    open("/tmp/mark", "w").close()
    os.makedirs("/tmp/a/b")
    if data["variant_seed"] == 13:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if data["variant_seed"] == 14:
        os._exit(3)
`,
	}), nil)
	open := func() *Session {
		s, err := p.OpenSession(context.Background(), &jobs.Invocation{Course: "c", Version: Current, Question: "again"})
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	ask := func(s *Session, seed int) (params map[string]any, outcome jobs.Outcome, alive bool) {
		data := fmt.Sprintf(`{"params":{},"correct_answers":{},"variant_seed":%d,"options":{},"preferences":{}}`, seed)
		res, alive, err := s.Rehearse(context.Background(), jobs.Call{Type: jobs.Phase, Method: "generate"}, json.RawMessage(data))
		require.NoError(t, err)
		var left struct{ Params map[string]any }
		if len(res.Calls[0].Data) > 0 {
			require.NoError(t, json.Unmarshal(res.Calls[0].Data, &left))
		}
		return left.Params, res.Calls[0].Outcome, alive
	}
	s := open()
	first, outcome, alive := ask(s, 5)
	require.Equal(t, jobs.OK, outcome)
	require.True(t, alive)
	require.Equal(t, []any{1.0, 1.0, []any{}, nil, false, false, true, "ascii"}, first["seen"])
	for range 2 {
		again, outcome, alive := ask(s, 5)
		require.Equal(t, jobs.OK, outcome)
		require.True(t, alive)
		require.Equal(t, first, again, "the same process, and nothing of what came before")
	}
	other, _, _ := ask(s, 6)
	require.NotEqual(t, first["random"], other["random"])
	_, outcome, alive = ask(s, 13)
	require.Equal(t, jobs.OK, outcome)
	require.False(t, alive, "a thread is left behind")
	_, outcome, alive = ask(open(), 14)
	require.Equal(t, jobs.Killed, outcome)
	require.False(t, alive)
}
