package pool

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/course"
)

// graderEnv puts an environment called graders-sh with a shell and a few programs
// beside the courses at dir.
func graderEnv(t *testing.T, dir string) {
	t.Helper()
	digest := strings.Repeat("e", 64)
	env := filepath.Join(dir, ".env", "graders-sh")
	root := filepath.Join(env, digest)
	course.GraderRoot(t, root)
	require.NoError(t, os.WriteFile(root+".json", []byte(`{"env":["OF=image","GONE=image"],"entrypoint":["/grade/tests/run.sh"],"workdir":"/etc"}`), 0o644))
	require.NoError(t, os.Symlink(digest, filepath.Join(env, Current)))
}

// graders is a pool with a course whose grader runs what the student sent.
func graders(t *testing.T, more map[string]string) *Pool {
	t.Helper()
	files := map[string]string{
		"infoCourse.json":              "{}",
		"questions/g/info.json":        `{"externalGradingOptions":{"enabled":true,"image":"graders/sh:latest","timeout":8,"serverFilesCourse":["lib/","one.txt"],"environment":{"OF":"question","GONE":null}}}`,
		"questions/g/tests/run.sh":     "#!/bin/bash\n. /grade/student/answer.sh\n",
		"questions/g/tests/deep/x":     "x",
		"serverFilesCourse/lib/lib.sh": "graded() { echo \"{\\\"score\\\": $1}\" > /grade/results/results.json; }\n",
		"serverFilesCourse/one.txt":    "one", "serverFilesCourse/secret": "not asked for",
	}
	maps.Copy(files, more)
	dir := tree(t, files)
	graderEnv(t, dir)
	return newPool(t, dir, func(c *Config) { c.Default.Memory = 64 << 20; c.Spares = -1 })
}

// heard keeps what a run printed.
type heard struct{ strings.Builder }

func (h *heard) Begin(string, string, []string) {}
func (h *heard) Output(_ bool, piece []byte)    { h.Write(piece) }
func submitted(qid, answer string) *jobs.Grading {
	file := map[string]string{"name": "answer.sh", "contents": base64.StdEncoding.EncodeToString([]byte(answer))}
	data, err := json.Marshal(map[string]any{"variant_seed": 7, "params": map[string]int{"a": 1}, "submitted_answers": map[string]any{"_files": []any{file}}})
	if err != nil {
		panic(err) // strings and numbers
	}
	return &jobs.Grading{Course: "c", Version: ver, Question: qid, Data: data}
}

func TestWhatBecomesOfAGrading(t *testing.T) {
	p := graders(t, map[string]string{
		"questions/slow/info.json": `{"externalGradingOptions":{"enabled":true,"image":"graders/sh","timeout":0.5,"entrypoint":"/bin/bash -c '. /grade/student/answer.sh'"}}`,
	})
	const results = "/grade/results/results.json"
	for _, tc := range []struct {
		name, qid, answer string
		state             jobs.GradeState
		score             float64
		says              string // in message or results
	}{
		{"right", "g", ". /grade/serverFilesCourse/lib/lib.sh; graded 1", jobs.Graded, 1, `"score":1`},
		{"wrong", "g", ". /grade/shared/lib/lib.sh; graded 0.25", jobs.Graded, 0.25, ""},
		{"invalid", "g", `echo '{"gradable":false,"format_errors":"no colon"}' > ` + results, jobs.NotGradable, 0, "no colon"},
		{"made again", "g", "rm -r /grade/results; mkdir /grade/results; echo '{\"score\":0.5}' > " + results, jobs.Graded, 0.5, ""},
		{"failing", "g", "echo '{\"score\":1}' > " + results + "; exit 3", jobs.GraderFailed, 0, "exit code 3"},
		{"crashing", "g", "kill -SEGV $$", jobs.GraderFailed, 0, "SIGSEGV"},
		{"hanging", "slow", "sleep 60", jobs.GraderTimeout, 0, "0.5 seconds"},
		{"hanging behind", "slow", "echo '{\"score\":1}' > " + results + "; (sleep 60 > /dev/null) & wait", jobs.GraderTimeout, 0, "time limit"},
		{"flooding", "g", "yes", jobs.GraderOutput, 0, "printed"},
		{"swelling", "g", "a=x; while :; do a=$a$a; done", jobs.GraderMemory, 0, "memory"},
		{"calling", "g", "(exec 3<>/dev/tcp/127.0.0.1/22) && exit 9; (exec 3<>/dev/tcp/169.254.169.254/80) && exit 9; echo '{\"score\":0.1}' > " + results, jobs.Graded, 0.1, ""},
		{"nothing", "g", "true", jobs.ResultsMissing, 0, "wrote no"},
		{"no directory", "g", "rm -r /grade/results; echo > /grade/results", jobs.ResultsMissing, 0, ""},
		{"not JSON", "g", "echo nonsense > " + results, jobs.ResultsMalformed, 0, "no JSON object"},
		{"no score", "g", "echo '{}' > " + results, jobs.ResultsMalformed, 0, `no "score"`},
		{"wrong type", "g", `echo '{"score":"1"}' > ` + results, jobs.ResultsMalformed, 0, "not a number"},
		{"huge", "g", "truncate -s 1G " + results, jobs.ResultsTooLarge, 0, "1MB"},
		{"a little too large", "g", "yes | head -c 0; truncate -s 1048577 " + results, jobs.ResultsTooLarge, 0, ""},
		{"link", "g", "ln -s /etc/passwd " + results, jobs.ResultsNoFile, 0, "no regular file"},
		{"link above", "g", "rm -r /grade/results; ln -s /etc /grade/results; true", jobs.ResultsNoFile, 0, ""},
		{"link around", "g", "echo '{\"score\":1}' > /grade/x; ln -s ../x " + results, jobs.ResultsNoFile, 0, ""},
		{"pipe", "g", "mkfifo " + results, jobs.ResultsNoFile, 0, ""},
		{"directory", "g", "mkdir " + results, jobs.ResultsNoFile, 0, ""},
		{"closed", "g", "echo '{\"score\":1}' > " + results + "; chmod 0 " + results + " /grade/results", jobs.Graded, 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var h heard
			g, err := p.Grade(t.Context(), submitted(tc.qid, tc.answer), &h)
			require.NoError(t, err)
			require.Equal(t, tc.state, g.State, "%+v\n%.1000s", g, h.String())
			require.Equal(t, tc.score, g.Score)
			require.Equal(t, tc.state == jobs.Graded || tc.state == jobs.NotGradable, g.Feedback.Succeeded)
			require.Equal(t, tc.state == jobs.GraderTimeout, g.Feedback.TimedOut)
			require.Equal(t, "graders-sh@"+strings.Repeat("e", 64), g.Environment)
			require.Contains(t, g.Feedback.Message+string(g.Feedback.Results), tc.says)
			require.NotContains(t, g.Feedback.Message+string(g.Feedback.Results), "root:")
			if !g.Feedback.Succeeded {
				require.Empty(t, g.Feedback.Results)
				require.NotEmpty(t, g.Feedback.Message)
			}
		})
	}
}

// What a grader finds is what PrairieLearn's graders expect, and all of it is its own.
func TestWhatAGraderSees(t *testing.T) {
	p := graders(t, map[string]string{"questions/other/info.json": "{}"})
	var h heard
	g, err := p.Grade(t.Context(), submitted("g", `cd /grade
for f in * */* */*/*; do [ -d $f ] || echo $f; done
echo pwd $OLDPWD env $OF ${GONE-unset} secret ${PRAIRIE_SECRET-none}
cat data/data.json; echo
for d in . tests tests/deep results data student serverFilesCourse/lib; do [ -O $d ] && echo x > $d/new || echo "no $d"; done
chmod 700 tests && mv tests/deep here && rm -r here && echo moved
[ -e /course/questions ] && echo course; [ -w /usr/bin ] && echo usr
echo '{"score":1}' > results/results.json`), &h)
	require.NoError(t, err)
	require.Equal(t, jobs.Graded, g.State, "%+v %s", g, h.String())
	want := `data/data.json
serverFilesCourse/one.txt
shared/one.txt
student/answer.sh
tests/run.sh
serverFilesCourse/lib/lib.sh
shared/lib/lib.sh
tests/deep/x
pwd /etc env question unset secret none
`
	require.True(t, strings.HasPrefix(h.String(), want), h.String())
	line, rest, _ := strings.Cut(strings.TrimPrefix(h.String(), want), "\n")
	var data map[string]any
	require.NoError(t, json.Unmarshal([]byte(line), &data))
	require.Equal(t, 7.0, data["variant_seed"])
	for _, key := range []string{"params", "correct_answers", "submitted_answers", "format_errors", "partial_scores", "score", "feedback", "options", "raw_submitted_answers", "gradable"} {
		require.Contains(t, data, key)
	}
	require.Equal(t, "moved\n", rest)
}

func TestGradingsThatCannotBegin(t *testing.T) {
	option := func(o string) string { return `{"externalGradingOptions":` + o + `}` }
	p := graders(t, map[string]string{
		"questions/plain/info.json":   "{}",
		"questions/off/info.json":     option(`{"image":"graders/sh"}`),
		"questions/absent/info.json":  option(`{"enabled":true,"image":"nobody/made:1.2"}`),
		"questions/server/info.json":  option(`{"enabled":true,"image":"graders/sh","serverFilesCourse":["none"]}`),
		"questions/climbs/info.json":  option(`{"enabled":true,"image":"graders/sh","serverFilesCourse":["../questions"]}`),
		"questions/timeout/info.json": option(`{"enabled":true,"image":"graders/sh","timeout":601}`),
		"questions/words/info.json":   option(`{"enabled":true,"image":"graders/sh","entrypoint":"a 'b"}`),
	})
	for qid, says := range map[string]string{
		"plain": "no externalGradingOptions", "off": `"enabled" is not true`, "absent": "syncer env push nobody-made-1.2 IMAGE", "server": "serverFilesCourse/none",
		"climbs": "no path below", "timeout": "at most 600 seconds", "words": "has no end", "none": "no question", "../g": "no question",
	} {
		_, err := p.Grade(t.Context(), submitted(qid, ""), nobody{})
		var je *jobs.Error
		require.True(t, errors.As(err, &je), "%s: %v", qid, err)
		require.Contains(t, je.Message, says)
		require.EqualError(t, p.Gradable(t.Context(), submitted(qid, "")), err.Error(), "told beforehand, too")
	}
	require.NoError(t, p.Gradable(t.Context(), submitted("g", "")))
	for data, says := range map[string]string{
		`[]`: "not an object", `{"submitted_answers":{"_files":[{"name":"../x","contents":""}]}}`: "no file below",
		`{"submitted_answers":{"_files":[{"name":"x"}]}}`:                                                     "no contents",
		`{"submitted_answers":{"_files":[{"name":"x","contents":"%"}]}}`:                                      "not base64",
		`{"submitted_answers":{"_files":[{"name":"x","contents":""},{"name":"x","contents":""}]}}`:            "two entries",
		`{"submitted_answers":{"_files":[{"name":"x","contents":""},{"name":"x/y","contents":""}]}}`:          "below a file",
		fmt.Sprintf(`{"submitted_answers":{"_files":[{"name":%q,"contents":""}]}}`, strings.Repeat("x", 256)): "255 bytes",
	} {
		_, err := p.Grade(t.Context(), &jobs.Grading{Course: "c", Version: ver, Question: "g", Data: json.RawMessage(data)}, nobody{})
		var je *jobs.Error
		require.True(t, errors.As(err, &je), "%s: %v", data, err)
		require.Contains(t, je.Message, says)
	}
	ctx := t.Context()
	start := time.Now()
	_, err := p.Grade(ctx, &jobs.Grading{Course: "c", Version: strings.Repeat("f", 40), Question: "g"}, nobody{})
	require.ErrorContains(t, err, jobs.VersionMissing)
	require.Less(t, time.Since(start), time.Minute)
}
