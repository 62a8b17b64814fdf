package pool

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/machine"
)

func programs(t *testing.T) *Pool {
	t.Helper()
	ls, err := installed()
	require.NoError(t, err)
	return newPool(t, tree(t, map[string]string{"infoCourse.json": "{}"}), func(c *Config) {
		c.Languages = ls
		c.Default.Wall, c.Default.CPU = 10*time.Second, 10*time.Second
	})
}

// missingRuntime skips where a language is not installed; its answer must say so.
func missingRuntime(t *testing.T, err error) bool {
	var je *jobs.Error
	if !errors.As(err, &je) || je.Code != "runtime_missing" {
		return false
	}
	require.Contains(t, je.Message, "install")
	machine.Skip(t, "%s", je.Message)
	return true
}

func TestProgramFates(t *testing.T) {
	p := programs(t)
	c := func(body string) jobs.Program {
		return jobs.Program{Files: []jobs.ProgramFile{{Basename: "m.c", Contents: "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) {" + body + "}"}}}
	}
	py := func(src string) jobs.Program {
		return jobs.Program{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "m.py", Contents: src}}}
	}
	limited := func(p jobs.Program, l jobs.Limits) jobs.Program { p.Limits = l; return p }
	for _, tc := range []struct {
		name    string
		program jobs.Program
		want    jobs.Outcome
		code    int
		signal  string
	}{
		{"fine", c(`puts("hello"); return 0;`), jobs.OK, 0, ""},
		{"a code of its own", c("return 7;"), jobs.OK, 7, ""},
		{"does not build", c("return x;"), jobs.BuildFailed, 1, ""},
		{"segfault", c("*(volatile int *)0 = 1;"), jobs.OK, 139, "SIGSEGV"},
		{"abort", c("abort();"), jobs.OK, 134, "SIGABRT"},
		{"endless", limited(py("while True: pass"), jobs.Limits{Wall: 500 * time.Millisecond}), jobs.Timeout, -1, ""},
		{"processor time", limited(py("while True: pass"), jobs.Limits{CPU: time.Second}), jobs.Timeout, -1, "SIGKILL"},
		{"memory", limited(py("b = [bytearray(b'x' * (1 << 20)) for _ in range(1 << 20)]"), jobs.Limits{Memory: 64 << 20}), jobs.OutOfMemory, -1, ""},
		{"output", py("while True: print('x' * 1000)"), jobs.OutputTooLarge, -1, ""},
		{"exception", py("raise ValueError('no')"), jobs.OK, 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := p.Run(context.Background(), &tc.program)
			require.NoError(t, err)
			if tc.name == "memory" && res.Outcome == jobs.OK { // the kernel chose the child, the shell reported it
				require.Equal(t, "SIGKILL", res.Steps[0].Signal)
				return
			}
			require.Equal(t, tc.want, res.Outcome, "%+v", res)
			require.Equal(t, tc.code, res.ExitCode, "%+v", res)
			if tc.signal != "" {
				require.Equal(t, tc.signal, res.Steps[len(res.Steps)-1].Signal)
			}
		})
	}
	_, free, _ := p.Slots()
	require.Positive(t, free)
}

func TestProgramCasesAndBinaryOutput(t *testing.T) {
	p := programs(t)
	res, err := p.Run(context.Background(), &jobs.Program{
		Runtime: "c",
		Files: []jobs.ProgramFile{
			{Basename: "main.c", Contents: "#include <stdio.h>\nint twice(int);\nint main(void) { int n; scanf(\"%d\", &n); printf(\"%d \\n\", twice(n)); }"},
			{Basename: "twice.c", Contents: "aW50IHR3aWNlKGludCBuKSB7IHJldHVybiAyICogbjsgfQ==", Encoding: "base64"},
		},
		Cases: []jobs.ProgramCase{{Stdin: "4", Expect: "8"}, {Stdin: "5", Expect: "11"}, {Name: "named", Stdin: "0", Expect: "0\n"}},
	})
	require.NoError(t, err)
	require.Len(t, res.Steps, 4, "built once: %+v", res)
	var passed []bool
	for _, c := range res.Cases {
		passed = append(passed, c.Passed)
	}
	require.Equal(t, []bool{true, false, true}, passed)
	require.Equal(t, "named", res.Cases[2].Name)
	bin, err := p.Run(context.Background(), &jobs.Program{
		Runtime: "bash", Files: []jobs.ProgramFile{{Basename: "b.sh", Contents: `printf '\377\376'`}},
	})
	require.NoError(t, err)
	require.Equal(t, "base64", bin.Steps[0].Encoding)
	require.Equal(t, "//4=", bin.Stdout)
}

func TestProgramsThatAreRefused(t *testing.T) {
	p := programs(t)
	ok := []jobs.ProgramFile{{Basename: "a.py", Contents: ""}}
	for code, progs := range map[string][]jobs.Program{
		"runtime_missing": {{Runtime: "cobol", Files: ok}, {Runtime: "python@2.7", Files: ok}, {Files: []jobs.ProgramFile{{Basename: "a.xyz"}}}},
		"mode_missing":    {{Runtime: "python", Mode: "prove", Files: ok}},
		"bad_request": {
			{Runtime: "python"},
			{Runtime: "python", Files: append(ok, ok...)},
			{Runtime: "python", Files: ok, Main: "b.py"},
			{Runtime: "python", Files: ok, Env: map[string]string{"A=B": "x"}},
			{Runtime: "python", Files: ok, Args: []string{"a\x00b"}},
			{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "../a.py"}}},
			{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "-rf"}}},
			{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "a\n.py"}}},
			{Runtime: "python", Files: []jobs.ProgramFile{{Basename: ".."}}},
			{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "a.py", Encoding: "rot13"}}},
			{Runtime: "python", Files: []jobs.ProgramFile{{Basename: "a.py", Contents: "%", Encoding: "base64"}}},
		},
	} {
		for _, prog := range progs {
			_, err := p.Run(context.Background(), &prog)
			var je *jobs.Error
			require.True(t, errors.As(err, &je), "%+v: %v", prog, err)
			require.Equal(t, code, je.Code, "%+v: %s", prog, je.Message)
		}
	}
}

// What a program may see and reach is what a question may.
func TestProgramsAreSealed(t *testing.T) {
	p := programs(t)
	res, err := p.Run(context.Background(), &jobs.Program{
		Runtime: "python", Env: map[string]string{"LD_PRELOAD": "/nowhere.so", "OWN": "x"},
		Files: []jobs.ProgramFile{{Basename: "a.py", Contents: `
import json, os, socket
def refused(f):
    try: f(); return False
    except OSError: return True
print(json.dumps({
    "uid": os.getuid() != 0, "ls": sorted(os.listdir("/")), "env": os.environ.get("OWN"),
    "net": refused(lambda: socket.create_connection(("127.0.0.1", 22), 1)),
    "usr": refused(lambda: open("/usr/x", "w")), "shadow": refused(lambda: open("/etc/shadow")),
    "caps": [l for l in open("/proc/self/status") if l.startswith("CapEff")],
}))`}},
	})
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(res.Stdout), &got), "%+v", res)
	require.Equal(t, true, got["uid"])
	require.Equal(t, true, got["net"])
	require.Equal(t, true, got["usr"])
	require.Equal(t, true, got["shadow"])
	require.Equal(t, "x", got["env"])
	require.NotContains(t, got["ls"], "root")
	require.Equal(t, []any{"CapEff:\t0000000000000000\n"}, got["caps"])
}
