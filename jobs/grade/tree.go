package grade

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Root is where a grader finds its tree, ResultsFile what it writes there.
const (
	Root        = "/grade"
	ResultsFile = "results/results.json"
)

// maxEntries bounds a tree.
const maxEntries = 8000

// Tree is what lies below Root when a grader starts.
type Tree struct {
	Entries map[string]sandbox.Entry
	Bytes   int64 // of all files
	limit   int64
}

// NewTree is the tree of every grading, for at most limit bytes: its directories,
// which are all there from the beginning, and data.json.
func NewTree(limit int64, data json.RawMessage) (*Tree, error) {
	t := &Tree{Entries: map[string]sandbox.Entry{}, limit: limit}
	for _, dir := range []string{"serverFilesCourse", "shared", "tests", "student", "data", "results"} {
		t.Entries[dir] = sandbox.Entry{Dir: true}
	}
	fields, err := object(data)
	if err != nil {
		return nil, err
	}
	for key, value := range map[string]string{
		"params": "{}", "correct_answers": "{}", "submitted_answers": "{}", "raw_submitted_answers": "{}", "format_errors": "{}",
		"partial_scores": "{}", "feedback": "{}", "options": "{}", "score": "0", "variant_seed": "0", "gradable": "true",
	} {
		if _, ok := fields[key]; !ok {
			fields[key] = json.RawMessage(value)
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if err := t.Add("data/data.json", sandbox.Entry{Content: b}); err != nil {
		return nil, err
	}
	return t, t.student(fields["submitted_answers"])
}

func object(data json.RawMessage) (fields map[string]json.RawMessage, err error) {
	if json.Unmarshal(data, &fields) != nil || fields == nil {
		return nil, errors.New("data is not an object")
	}
	return fields, nil
}

// student adds the files of submitted_answers._files, whose contents are base64.
func (t *Tree) student(answers json.RawMessage) error {
	var a struct {
		Files []struct {
			Name     string  `json:"name"`
			Contents *string `json:"contents"`
		} `json:"_files"`
	}
	if err := json.Unmarshal(answers, &a); err != nil {
		return fmt.Errorf("submitted_answers: _files is no list of {name, contents}: %w", err)
	}
	for i, f := range a.Files {
		if f.Contents == nil {
			return fmt.Errorf("submitted_answers: _files[%d] has no contents", i)
		}
		b, err := base64.StdEncoding.DecodeString(*f.Contents)
		if err != nil {
			return fmt.Errorf("submitted_answers: the contents of _files[%d] are not base64", i)
		}
		if !validPath(f.Name) {
			return fmt.Errorf("submitted_answers: _files[%d] is called %.100q, which is no file below student/", i, f.Name)
		}
		if err := t.Add("student/"+f.Name, sandbox.Entry{Content: b}); err != nil {
			return fmt.Errorf("submitted_answers: %w", err)
		}
	}
	return nil
}

// Add adds an entry; the same directory may come twice, nothing else may.
func (t *Tree) Add(p string, e sandbox.Entry) error {
	if !validPath(p) {
		return fmt.Errorf("%.100q is no path of a grading", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > 255 {
			return fmt.Errorf("a part of %.100q is longer than 255 bytes", p)
		}
	}
	if old, ok := t.Entries[p]; ok && !(old.Dir && e.Dir) {
		return fmt.Errorf("there are two entries called %.100q", p)
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		above, ok := t.Entries[dir]
		if ok && !above.Dir {
			return fmt.Errorf("%.100q lies below a file", p)
		}
		if !ok {
			t.Entries[dir] = sandbox.Entry{Dir: true}
		}
	}
	t.Entries[p] = e
	if t.Bytes += int64(len(e.Content)); t.Bytes > t.limit {
		return fmt.Errorf("the files of the grading are together larger than %d MiB", t.limit>>20)
	}
	if len(t.Entries) > maxEntries {
		return fmt.Errorf("the grading has more than %d files", maxEntries)
	}
	return nil
}

// Room is how many bytes more the tree may hold.
func (t *Tree) Room() int64 { return t.limit - t.Bytes }

// Program makes the file at an absolute path executable, if the tree has it.
func (t *Tree) Program(p string) {
	p, ok := strings.CutPrefix(path.Clean(p), Root+"/")
	if e, is := t.Entries[p]; ok && is && !e.Dir && e.Link == "" {
		e.Exec = true
		t.Entries[p] = e
	}
}
