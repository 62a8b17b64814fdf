package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

// needs skips where a program is not installed, unless everything has to be.
func needs(t *testing.T, program, install string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	machine.Skip(t, "%s is missing: %s", program, install)
}

func needsAda(t *testing.T) {
	needs(t, "gnatmake", "apt install gnat gprbuild")
	needs(t, "gprbuild", "apt install gnat gprbuild")
}

const helloAda = `with Ada.Text_IO; use Ada.Text_IO;
procedure Main is
begin
   Put_Line ("Hello");
   Flush;
   delay 2.0;
   Put_Line ("World");
end Main;
`

const labAda = `with Ada.Text_IO; use Ada.Text_IO;
procedure Main is
   N : constant Integer := Integer'Value (Get_Line);
begin
   Put_Line (Integer'Image (N * N));
end Main;
`

func submission(source, mode string, more ...object) object {
	files := []object{{"basename": "main.adb", "contents": source}}
	return object{
		"name": "Hello", "files": append(files, more...), "mode": mode, "main": "main.adb",
		"switches": object{"Builder": []string{"-g"}, "Compiler": []string{"-gnat2022"}}, "lab": mode == "submit",
	}
}

func labSubmission() object {
	return submission(labAda, "submit", object{"basename": "lab_io.txt", "contents": "in 0:3\nout 0: 9\nin 1:4\nout 1: 16\nin 2:5\nout 2: 24\n"})
}

func begin(t *testing.T, s *stack.Stack, sub object) (id string) {
	t.Helper()
	a := post(t, s, "/run_program/", sub)
	require.Equal(t, 200, a.Status, "%s", a.Body)
	id, _ = decode(t, a)["identifier"].(string)
	require.NotEmpty(t, id)
	return id
}

// item is one piece of output in the second generation's shape.
type item struct {
	Msg struct {
		Type string
		Data json.RawMessage
	}
	Ref string
}

func (i item) String() string {
	var text string
	if json.Unmarshal(i.Msg.Data, &text) != nil {
		text = string(i.Msg.Data)
	}
	if i.Ref != "" {
		i.Msg.Type += "[" + i.Ref + "]"
	}
	return i.Msg.Type + ": " + text
}

type polled struct {
	Output    []item
	Status    int
	Completed bool
	Message   string
}

func poll(t *testing.T, s *stack.Stack, id string, from int) (p polled) {
	t.Helper()
	a := post(t, s, "/check_output/", object{"identifier": id, "read": from, "wait": 20})
	require.Equal(t, 200, a.Status, "%s", a.Body)
	require.NoError(t, json.Unmarshal(a.Body, &p))
	return p
}

// follow polls a run to its end, from frame number from on.
func follow(t *testing.T, s *stack.Stack, id string, from int) (said []string, last polled) {
	t.Helper()
	for {
		last = poll(t, s, id, from)
		for _, o := range last.Output {
			said = append(said, o.String())
		}
		if from += len(last.Output); last.Completed {
			return said, last
		}
	}
}

var helloSaid = []string{"console: gprbuild -q -P main.gpr -o ../.program", "stdout: Hello", "stdout: World"}

func TestAda(t *testing.T) {
	needsAda(t)
	s, _ := start(t)

	t.Run("hello", func(t *testing.T) {
		id := begin(t, s, submission(helloAda, "run"))
		first := poll(t, s, id, 0)
		require.Equal(t, helloSaid[0], first.Output[0].String())
		require.False(t, first.Completed, "the build line is there before the program ends")
		said, last := follow(t, s, id, 0)
		require.Equal(t, helloSaid, said)
		require.Zero(t, last.Status)
		a := post(t, s, "/check_output/", object{"identifier": id, "already_read": 1})
		require.JSONEq(t, `{"output_lines":["Hello","World"],"status":0,"completed":true,"message":""}`, string(a.Body))
	})

	t.Run("does not build", func(t *testing.T) {
		said, last := follow(t, s, begin(t, s, submission("procedure Main is begin Nothing; end Main;", "run")), 0)
		require.Contains(t, strings.Join(said, "\n"), `"Nothing" is undefined`)
		require.NotZero(t, last.Status)
		require.NotContains(t, strings.Join(said, "\n"), "stdout")
	})

	t.Run("lab", func(t *testing.T) {
		said, last := follow(t, s, begin(t, s, labSubmission()), 0)
		require.Equal(t, []string{
			helloSaid[0], "stdout[0]:  9", "stdout[1]:  16", "stdout[2]:  25",
		}, said[:4])
		require.JSONEq(t, `{"success":false,"cases":{
			"0":{"status":"Success","in":"3","out":"9","actual":" 9\n"},
			"1":{"status":"Success","in":"4","out":"16","actual":" 16\n"},
			"2":{"status":"Failed","in":"5","out":"24","actual":" 25\n"}}}`, strings.TrimPrefix(said[4], "lab: "))
		require.Len(t, said, 5)
		require.Equal(t, 1, last.Status)
	})

	t.Run("the downloaded project builds as it does here", func(t *testing.T) {
		a := post(t, s, "/download/", submission(helloAda, "run"))
		require.Equal(t, 200, a.Status, "%s", a.Body)
		require.Equal(t, `attachment; filename="Hello.zip"`, a.Header.Get("Content-Disposition"))
		z, err := zip.NewReader(bytes.NewReader(a.Body), int64(len(a.Body)))
		require.NoError(t, err)
		dir := t.TempDir()
		for _, f := range z.File {
			rd, err := f.Open()
			require.NoError(t, err)
			b, err := io.ReadAll(rd)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(f.Name)), b, 0o600))
		}
		gpr, err := os.ReadFile(filepath.Join(dir, "main.gpr"))
		require.NoError(t, err)
		require.Contains(t, string(gpr), `"-gnat2022"`)
		build := exec.Command("gprbuild", "-q", "-P", "main.gpr")
		build.Dir = dir
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
		out, err = exec.Command(filepath.Join(dir, ".obj", "main")).Output()
		require.NoError(t, err)
		require.Equal(t, "Hello\nWorld\n", string(out))
	})

	t.Run("frames", func(t *testing.T) {
		for name, sub := range map[string]object{"hello": submission(helloAda, "run"), "lab": labSubmission()} {
			want, last := follow(t, s, begin(t, s, sub), 0)
			for client, frames := range map[string]func(*testing.T, *stack.Stack, object) []frame{"node": nodeFrames, "chromium": chromiumFrames} {
				t.Run(name+" in "+client, func(t *testing.T) {
					t.Parallel()
					var said []string
					fs := frames(t, s, sub)
					for i, f := range fs {
						require.Equal(t, i == len(fs)-1, f.Completed, "exactly the last frame is completed")
						for _, o := range f.Output {
							said = append(said, item{Msg: struct {
								Type string
								Data json.RawMessage
							}{o.Type, o.Data}, Ref: o.Ref}.String())
						}
					}
					require.Equal(t, want, said)
					require.Equal(t, last.Status, fs[len(fs)-1].Status)
					require.Greater(t, len(fs), 1, "the build line came before the end")
				})
			}
		}
	})
}

func TestARunIsOwnedAndItsIdIsNoPath(t *testing.T) {
	needsAda(t)
	s, _ := start(t)
	id := begin(t, s, submission(helloAda, "compile"))
	_, last := follow(t, s, id, 0)
	require.Zero(t, last.Status)
	for _, bad := range []string{id[:len(id)-1] + "x", "000000000000" + id[12:], id + "/../..", strings.ToUpper(id), "", "."} {
		a := post(t, s, "/check_output/", object{"identifier": bad, "read": 0})
		require.Equal(t, 404, a.Status, "%s: %s", bad, a.Body)
	}
	a := post(t, s, "/check_output/", object{"identifier": id, "read": -1})
	require.Equal(t, 400, a.Status)
	require.Empty(t, poll(t, s, id, 99999).Output)
	// Its owner is the gateway's word: a worker's answer to anybody else is a 404.
	_, run, _ := strings.Cut(id, ".")
	for query, want := range map[string]int{"?owner=&from=0": 200, "?owner=other&from=0": 404, "": 400} {
		status, _ := get(t, s.Worker+"/v1/runs/"+run+query)
		require.Equal(t, want, status, query)
	}
}
