package e2e

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

const nodeQuestion = "arithmetic/gcd"

// Limits of the worker in these tests: small, so that reaching them is quick.
var tight = []string{"--wall", "8s", "--memory", "256MiB"}

// inTight is the standing stack by way of a worker with those limits, and with more.
func inTight(t *testing.T, more ...string) *stack.Stack {
	t.Helper()
	s, _ := start(t)
	worker, _ := second(t, s, append(tight[:len(tight):len(tight)], more...)...)
	at, _ := anotherGateway(t, s, worker)
	return at
}

func TestCodeThatMisbehaves(t *testing.T) {
	s := inTight(t)
	// Two seconds of computing, which are more than eight on a busy machine.
	patient := inTight(t, "--wall", "1m", "--slots", "2", "--base-uid", "65100")
	type answer struct {
		*stack.Answer
		err  error
		took time.Duration
	}
	call := func(qid string) answer {
		begin, s := time.Now(), s
		if qid == "limits/result" {
			s = patient
		}
		a, err := s.Post("/courses/sample/current/question/"+qid, object{"method": "generate", "data": seed(1)})
		return answer{a, err, time.Since(begin)}
	}
	// What takes all the time that it may is asked at once.
	long := map[string]chan answer{"limits/sleep": make(chan answer, 1), "limits/loop": make(chan answer, 1), "limits/fork": make(chan answer, 1)}
	var asking sync.WaitGroup
	for qid, to := range long {
		asking.Go(func() { to <- call(qid) })
	}
	asking.Wait()
	for _, tc := range []struct {
		qid      string
		outcomes []string
		text     string // in message or traceback
	}{
		{"broken/generate", []string{"question_error"}, "broken/generate: broken on purpose in generate"},
		{"broken/syntax", []string{"question_error"}, "server.py"},
		{"broken/import", []string{"question_error"}, "broken_on_purpose_no_such_module"},
		{"broken/not-a-number", []string{"question_error"}, "value"},
		{"limits/sleep", []string{"timeout"}, "limit"},
		{"limits/loop", []string{"timeout"}, "limit"},
		{"limits/exit", []string{"question_error", "killed"}, ""},
		{"limits/exit-hard", []string{"killed"}, "7"},
		{"limits/crash", []string{"killed"}, "signal"},
		{"limits/output", []string{"output_too_large"}, "printed"},
		{"limits/result", []string{"output_too_large", "question_error"}, ""},
		{"limits/fork", []string{"timeout", "question_error", "out_of_memory"}, ""},
		{"limits/threads", []string{"question_error", "killed", "timeout"}, ""},
		{"limits/memory", []string{"out_of_memory", "question_error"}, "emory"},
		{"limits/tmp", []string{"out_of_memory", "question_error"}, ""},
	} {
		t.Run(tc.qid, func(t *testing.T) {
			var a answer
			if to, ok := long[tc.qid]; ok {
				a = <-to
			} else {
				a = call(tc.qid)
			}
			require.NoError(t, a.err)
			require.Equal(t, 422, a.Status, "%s", a.Body)
			e := decode(t, a.Answer)["error"].(object)
			require.Contains(t, tc.outcomes, e["outcome"], "%s", a.Body)
			traceback, _ := e["traceback"].(string)
			require.Contains(t, e["message"].(string)+traceback, tc.text)
			require.NotContains(t, string(a.Body), "survived")
			require.NotContains(t, string(a.Body), s.Dir, "no path of the host")
			require.Less(t, a.took, 15*time.Second)
			// The next call is answered.
			b := post(t, s, cubic, object{"method": "generate", "data": seed(1)})
			require.Equal(t, 200, b.Status, "%s", b.Body)
		})
	}
}

func TestCodeThatAttacksGetsNothing(t *testing.T) {
	s := inTight(t)
	gateway := strings.Split(strings.TrimPrefix(s.Gateway, "http://"), ":")
	worker := strings.Split(strings.TrimPrefix(s.Worker, "http://"), ":")
	params := object{"addresses": []any{
		[]any{gateway[0], json.Number(gateway[1])}, []any{worker[0], json.Number(worker[1])},
	}}
	for _, qid := range []string{"attacks/shadow", "attacks/other-question", "attacks/environment", "attacks/network", "attacks/write-course"} {
		t.Run(qid, func(t *testing.T) {
			data := seed(1)
			data["params"] = params
			a := post(t, s, "/courses/sample/current/question/"+qid, object{"method": "generate", "data": data})
			require.Equal(t, 200, a.Status, "%s", a.Body)
			require.NotContains(t, string(a.Body), "secret-of-", "the environment of our programs")
			require.NotContains(t, string(a.Body), s.Dir)
			p := decode(t, a)["params"].(object)
			require.Contains(t, p, "got", "the question ran its attack")
			if qid != "attacks/environment" {
				require.Empty(t, p["got"], "%s", a.Body)
			}
			if qid == "attacks/other-question" {
				for _, f := range p["files"].([]any) {
					require.Contains(t, f, "attacks/other-question/")
				}
			}
		})
	}
	t.Run("attacks/leftovers", func(t *testing.T) {
		for range 3 {
			a := post(t, s, "/courses/sample/current/question/attacks/leftovers", object{"method": "generate", "data": seed(1)})
			require.Equal(t, 200, a.Status, "%s", a.Body)
			require.Empty(t, decode(t, a)["params"].(object)["found"])
		}
	})
}
