package course

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/machine"
)

// object is a JSON object, as course code sees it.
type object = map[string]any

// request and reply are the lines of testdata/driver.py.
type request struct {
	Op         string `json:"op"`
	Type       string `json:"type,omitempty"`
	Name       string `json:"name"`
	Method     string `json:"method,omitempty"`
	HTML       string `json:"html,omitempty"`
	Data       object `json:"data"`
	Extensions bool   `json:"extensions,omitempty"`
}

type reply struct {
	Data      object `json:"data"`
	HTML      string `json:"html"`
	File      []byte `json:"file"`
	Missing   string `json:"missing"`
	Error     string `json:"error"`
	Traceback string `json:"traceback"`
}

// driver is a running testdata/driver.py over a written course.
type driver struct {
	t   *testing.T
	in  *json.Encoder
	out *bufio.Reader
}

// python is an interpreter with the libraries that the sample course uses.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import numpy, sympy, lxml").Run() == nil {
			return name
		}
	}
	need(t, "a python3 with numpy, sympy and lxml")
	return ""
}

// need skips, or fails where everything is required.
func need(t *testing.T, what string) {
	t.Helper()
	machine.Skip(t, "this machine lacks %s", what)
}

func newDriver(t *testing.T, course string) *driver {
	t.Helper()
	script, err := filepath.Abs("testdata/driver.py")
	require.NoError(t, err)
	cmd := exec.Command(python(t), "-B", script, course)
	cmd.Stderr = os.Stderr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OPENBLAS_NUM_THREADS=1", "PYTHONHASHSEED=0"}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close() // the end of its input ends it
		_ = cmd.Wait()
	})
	return &driver{t: t, in: json.NewEncoder(in), out: bufio.NewReader(out)}
}

// do sends one request and returns its reply, whatever it says.
func (d *driver) do(r request) reply {
	d.t.Helper()
	require.NoError(d.t, d.in.Encode(r))
	line, err := d.out.ReadBytes('\n')
	require.NoError(d.t, err)
	var got reply
	require.NoError(d.t, json.Unmarshal(line, &got), "%s", line)
	return got
}

// must is do for a request that has to work.
func (d *driver) must(r request) reply {
	d.t.Helper()
	got := d.do(r)
	require.Empty(d.t, got.Error, "%s %s: %s", r.Name, r.Method, got.Traceback)
	require.Empty(d.t, got.Missing)
	return got
}

func (d *driver) phase(qid, method string, data object) object {
	d.t.Helper()
	return d.must(request{Op: "phase", Name: qid, Method: method, Data: data}).Data
}

// variant generates and prepares a variant of a question.
func (d *driver) variant(qid string, seed int) object {
	d.t.Helper()
	data := d.phase(qid, "generate", newData(seed))
	data["answers_names"] = object{}
	data = d.phase(qid, "prepare", data)
	delete(data, "answers_names")
	return data
}

// submit parses what a student sent and, when it has no format error, grades it.
func (d *driver) submit(qid string, variant, raw object) object {
	d.t.Helper()
	data := clone(d.t, variant)
	data["raw_submitted_answers"], data["submitted_answers"] = raw, raw
	data["format_errors"], data["feedback"] = object{}, object{}
	data = d.phase(qid, "parse", data)
	if len(data["format_errors"].(object)) > 0 {
		return data
	}
	data["partial_scores"], data["score"] = object{}, 0
	return d.phase(qid, "grade", data)
}

func newData(seed int) object {
	return object{
		"params": object{}, "correct_answers": object{}, "variant_seed": seed,
		"options": object{}, "preferences": object{},
	}
}

func clone(t *testing.T, o object) (copied object) {
	t.Helper()
	b, err := json.Marshal(o)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &copied))
	return copied
}

// written is the sample course in a directory, without git.
func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, WriteSample(dir))
	return dir
}

// qids lists the questions of a course, or those with the given first folder.
func qids(t *testing.T, course string, prefix string) (all []string) {
	t.Helper()
	root := filepath.Join(course, "questions")
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "info.json" {
			qid, _ := filepath.Rel(root, filepath.Dir(path))
			if strings.HasPrefix(qid, prefix) {
				all = append(all, qid)
			}
		}
		return err
	}))
	return all
}

// forStaff tells the questions that misbehave from those that teach.
func forStaff(qid string) bool {
	top, _, _ := strings.Cut(qid, "/")
	return top == "broken" || top == "limits" || top == "attacks"
}
