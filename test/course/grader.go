package course

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// GraderImage is what the grader's question asks for, GraderName how its
// environment is called.
const (
	GraderImage = "graders/sh:latest"
	GraderName  = "graders-sh"
)

// GraderRoot makes the smallest root filesystem that a grader lives in: a shell
// and a few programs of this machine, with the libraries that they need.
func GraderRoot(t TB, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"bash", "cat", "chmod", "head", "ln", "ls", "mkdir", "mkfifo", "mv", "rm", "sleep", "truncate", "yes"} {
		out, err := exec.Command("ldd", "/usr/bin/"+p).Output()
		must(err)
		files := regexp.MustCompile(`(/\S+) \(`).FindAllStringSubmatch(string(out), -1)
		for _, f := range append(files, []string{"", "/usr/bin/" + p}) {
			to := filepath.Join(root, "usr", strings.TrimPrefix(f[1], "/usr"))
			must(os.MkdirAll(filepath.Dir(to), 0o755))
			b, err := os.ReadFile(f[1])
			must(err)
			must(os.WriteFile(to, b, 0o755))
		}
	}
	must(os.Symlink("bash", filepath.Join(root, "usr/bin/sh")))
	for _, l := range []string{"bin", "lib", "lib64"} {
		must(os.Symlink("usr/"+l, filepath.Join(root, l)))
	}
	must(os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	must(os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte(`{"score":1}`), 0o644))
}

// AddGrader adds a question to the course at dir that is graded externally: its
// grader runs what the student sent as answer.sh. Its timeout is in seconds.
func AddGrader(t TB, dir, qid, timeout string) {
	t.Helper()
	for name, content := range map[string]string{
		"questions/" + qid + "/info.json": `{"uuid":"7d2f4f0a-5a0f-4d3b-9d0e-0d6f6f0f6a11","title":"Graded outside","topic":"Algebra","type":"v3","gradingMethod":"External",
			"externalGradingOptions":{"enabled":true,"image":"` + GraderImage + `","entrypoint":"/grade/tests/run.sh","timeout":` + timeout + `,"serverFilesCourse":["grading/"]}}`,
		"questions/" + qid + "/question.html": `<p>Write answer.sh.</p><input type="text" name="answer" value="">`,
		"questions/" + qid + "/server.py": `import base64


def parse(data):
    script = data["raw_submitted_answers"].get("answer", "")
    data["submitted_answers"]["_files"] = [{"name": "answer.sh", "contents": base64.b64encode(script.encode()).decode()}]
`,
		"questions/" + qid + "/tests/run.sh": "#!/bin/bash\nresults=/grade/results/results.json\n. /grade/serverFilesCourse/grading/lib.sh\n. /grade/student/answer.sh\n",
		"serverFilesCourse/grading/lib.sh":   `graded() { echo "{\"score\": $1, \"message\": \"graded outside\", \"tests\": [{\"name\": \"one\", \"points\": $1, \"max_points\": 1}]}" > $results; }` + "\n",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// GraderAnswer is the submission of a student who sent this answer.sh.
func GraderAnswer(script string) json.RawMessage {
	file := map[string]string{"name": "answer.sh", "contents": base64.StdEncoding.EncodeToString([]byte(script))}
	b, err := json.Marshal(map[string]any{"_files": []any{file}})
	if err != nil {
		panic(err) // strings
	}
	return b
}

// Submissions are what students send to a grader, with the state that each leads to.
var Submissions = []struct{ Name, Script, State string }{
	{"right", "graded 1; echo well done", "graded"},
	{"wrong", "graded 0", "graded"},
	{"invalid", `echo '{"gradable":false,"format_errors":["line 1"]}' > $results`, "not_gradable"},
	{"crashing", "kill -SEGV $$", "failed"},
	{"hanging", "graded 1; sleep 600", "timeout"},
	{"flooding", "graded 1; yes", "output_too_large"},
	{"calling", "(exec 3<>/dev/tcp/127.0.0.1/4646) && exit 9; (exec 3<>/dev/tcp/169.254.169.254/80) && exit 9; graded 0.5", "graded"},
	{"silent", "true", "results_missing"},
	{"malformed", "echo nonsense > $results", "results_malformed"},
	{"huge", "truncate -s 1G $results", "results_too_large"},
	{"link", "ln -s /etc/passwd $results", "results_no_file"},
	{"pipe", "mkfifo $results", "results_no_file"},
}
