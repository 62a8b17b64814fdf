package pool

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// lambdaServer is a course's own server that answers each request with the bytes
// that its BEHAVE says.
const lambdaServer = `
import os, signal, socket
s = socket.socket(socket.AF_UNIX)
s.bind(os.environ["PRAIRIE_SOCKET"])
s.listen(8)
behave = os.environ["BEHAVE"]
def http(status, body):
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
while True:
    c, _ = s.accept()
    if not c.recv(1 << 16):
        continue
    if behave == "exit": os._exit(9)
    if behave == "signal": os.abort()
    if behave == "half":
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        os._exit(5)
    if behave == "hangup":
        c.close()
        continue
    if behave == "switch":
        c.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        continue
    c.send(http(b"200 OK", behave.encode()))
    c.close()
`

func TestWhatACoursesServerDoes(t *testing.T) {
	responses := `"responses":[{"status":200,"body":{}},{"status":200,"body":{}}]`
	cases := []struct {
		behave string
		batch  bool
		want   jobs.Outcome
		text   string
	}{
		{"exit", false, jobs.Killed, "ended: exited with code 9"},
		{"signal", false, jobs.Killed, "ended: "},
		{"half", false, jobs.Killed, "ended: exited with code 5"},
		{"exit", true, jobs.Killed, "ended: exited with code 9"},
		{"hangup", false, jobs.Killed, "did not answer"},
		{"switch", false, jobs.QuestionError, "status 101"},
		{`{"params":{}}`, false, jobs.OK, ""},
		{`[]`, false, jobs.QuestionError, "no JSON object"},
		{`{"data":{},` + responses + `}`, true, jobs.OK, ""},
		{`{"data":[1],` + responses + `}`, true, jobs.QuestionError, "something other than"},
		{`{"data":"x",` + responses + `}`, true, jobs.QuestionError, "something other than"},
		{`{"data":null,` + responses + `}`, true, jobs.QuestionError, "something other than"},
		{`{` + responses + `}`, true, jobs.QuestionError, "something other than"},
	}
	files := map[string]string{}
	name := func(i int) string { return "q" + string(rune('a'+i)) }
	for i, tc := range cases {
		dir := "questions/" + name(i)
		files[dir+"/info.json"] = "{}"
		files[dir+"/serve.py"] = "import os\nos.environ['BEHAVE'] = r'''" + tc.behave + "'''\n" + lambdaServer
		files[dir+"/lambda.json"] = `{"runtime":"python","command":["/usr/bin/python3","serve.py"]}`
	}
	p := newPool(t, tree(t, files), nil)
	for i, tc := range cases {
		t.Run(tc.behave, func(t *testing.T) {
			inv := question(name(i), "generate")
			if tc.batch {
				inv.Calls = append(inv.Calls, inv.Calls[0])
			}
			r := do(t, p, inv)
			require.Equal(t, tc.want, r.Calls[0].Outcome, "%+v", r.Calls[0])
			require.Contains(t, r.Calls[0].Message, tc.text)
			require.NotContains(t, r.Calls[0].Message, "caller")
		})
	}
}
