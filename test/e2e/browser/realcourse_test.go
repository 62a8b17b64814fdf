package browser

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// realistic is a course made the way grown ones are: nothing in it knows of us.
var realistic = map[string]string{
	"infoCourse.json":                                          `{"uuid": "5d14d80e-b0b8-494e-afed-f5a47497f5cb", "name": "TAM 212", "title": "Dynamics", "topics": [{"name": "Vectors", "color": "blue3"}], "tags": []}`,
	"README.md":                                                "# TAM 212\n",
	".gitignore":                                               "__pycache__\n",
	"elements/td-box/info.json":                                `{"controller": "td-box.py"}`,
	"elements/td-box/td-box.py":                                "import lxml.html\nimport vendored.numbers as n\n\ndef prepare(element_html, element_index, data):\n    pass\n\ndef render(element_html, element_index, data):\n    e = lxml.html.fragment_fromstring(element_html)\n    return '<div class=\"td-box\">' + n.shout(e.text_content()) + '</div>'\n",
	"elements/td-input/info.json":                              `{"controller": "td-input.py"}`,
	"elements/td-input/td-input.py":                            tdInput,
	"serverFilesCourse/vendored/__init__.py":                   "",
	"serverFilesCourse/vendored/numbers.py":                    "from . import words\n\ndef shout(text):\n    return words.upper(text)\n",
	"serverFilesCourse/vendored/words.py":                      "def upper(text):\n    return text.upper()\n",
	"serverFilesCourse/vendored-1.2.dist-info/METADATA":        "Name: vendored\nVersion: 1.2\n",
	"serverFilesCourse/helpers/constants.py":                   "G = 9.81\n",
	"questions/unit1/week03/vectors/cross/info.json":           `{"uuid": "b0b8d80e-494e-b0b8-afed-f5a47497f5cb", "title": "Cross product", "topic": "Vectors", "tags": ["fa26"], "type": "v3"}`,
	"questions/unit1/week03/vectors/cross/question.html":       "<td-box>cross of {{params.a}}</td-box><markdown>\n**Bold** words, `code` and a list:\n\n* one\n</markdown><td-input answers-name=\"x\"></td-input><td-input answers-name=\"y\"></td-input>",
	"questions/unit1/week03/vectors/cross/server.py":           "import random\nfrom constants import G\n\ndef generate(data):\n    data['params']['a'] = random.randint(2, 9)\n    data['params']['g'] = G\n    data['correct_answers']['x'] = data['params']['a']\n    data['correct_answers']['y'] = 2 * data['params']['a']\n",
	"questions/ws/info.json":                                   `{"title": "Workspace", "type": "v3", "workspaceOptions": {"image": "prairielearn/workspace-vscode-python", "port": 8080, "home": "/home/coder"}}`,
	"questions/ws/question.html":                               "<p>Open the workspace.</p>",
	"questions/ws/workspace/starter.py":                        "print('hello')\n",
	"questions/ext/info.json":                                  `{"title": "Graded elsewhere", "type": "v3", "gradingMethod": "External", "externalGradingOptions": {"enabled": true, "image": "prairielearn/grader-python", "entrypoint": "/python_autograder/run.sh"}}`,
	"questions/ext/question.html":                              "<p>Write a function.</p>",
	"questions/ext/tests/test.py":                              "class Test: pass\n",
	"questions/old/info.json":                                  `{"title": "Old", "type": "MultipleChoice", "options": {"text": "?"}}`,
	"questions/core/info.json":                                 `{"title": "Core elements", "type": "v3"}`,
	"questions/core/question.html":                             "<pl-question-panel>What?</pl-question-panel><pl-integer-input answers-name=\"n\"></pl-integer-input>",
	"questions/manual/info.json":                               `{"title": "By hand", "type": "v3", "gradingMethod": "Manual"}`,
	"questions/manual/question.html":                           "<p>Draw it.</p>",
	"courseInstances/Fa26/infoCourseInstance.json":             `{"longName": "Fall 2026", "allowAccess": []}`,
	"courseInstances/Fa26/assessments/hw1/infoAssessment.json": `{"type": "Homework", "title": "One", "set": "Homework", "number": "1", "zones": [{"questions": [{"id": "unit1/week03/vectors/cross", "points": 5}]}]}`,
}

const tdInput = `import lxml.html


def name(element_html):
    return lxml.html.fragment_fromstring(element_html).get("answers-name")


def render(element_html, element_index, data):
    return '<input name="%s" aria-label="%s">' % ((name(element_html),) * 2) if data["panel"] == "question" else ""


def parse(element_html, element_index, data):
    n = name(element_html)
    try:
        data["submitted_answers"][n] = float(data["submitted_answers"][n])
    except (KeyError, ValueError):
        data["format_errors"][n] = "a number"


def grade(element_html, element_index, data):
    n = name(element_html)
    right = abs(data["submitted_answers"][n] - data["correct_answers"][n]) < 1e-9
    data["partial_scores"][n] = {"score": 1 if right else 0, "weight": 1}


def test(element_html, element_index, data):
    n = name(element_html)
    right = data["correct_answers"][n]
    if data["test_type"] == "invalid":
        data["raw_submitted_answers"][n] = "?"
        data["format_errors"][n] = "a number"
        return
    good = data["test_type"] == "correct"
    data["raw_submitted_answers"][n] = str(right if good else right + 1)
    data["partial_scores"][n] = {"score": 1 if good else 0, "weight": 1}
`

func TestARealisticCourseRunsAsItIs(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tam212")
	for name, text := range realistic {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	require.NoError(t, os.Symlink("../../../../../serverFilesCourse/helpers/constants.py", filepath.Join(dir, "questions/unit1/week03/vectors/cross/constants.py")))
	d := startDev(t, dir)
	list := d.page("/")
	found := regexp.MustCompile(`href="/question/([^"]+)"`).FindAllStringSubmatch(list, -1)
	require.Len(t, found, 6, "%v", found)
	needs := map[string]string{
		"ws": "workspace", "ext": "grade", "old": "only v3 questions run here", "core": "pl-integer-input", "manual": "hand",
	}
	for _, m := range found {
		page := d.page("/question/" + m[1])
		if say := needs[m[1]]; say != "" {
			has(t, strings.ToLower(page), say, m[1])
			continue
		}
		require.NotContains(t, page, `id="issues"`, m[1])
	}
	panel := d.panel("/question/unit1/week03/vectors/cross?seed=1")
	has(t, panel, `<div class="td-box">CROSS OF `)
	has(t, panel, "<strong>Bold</strong>")

	cmd := exec.Command(binary, "test", dir, "unit1", "--seeds", "2", "--json")
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+t.TempDir())
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	var result struct {
		Trials []struct{ Scores map[string]any }
	}
	require.NoError(t, json.Unmarshal(out, &result))
	require.Equal(t, map[string]any{"correct": 1.0, "incorrect": 0.0, "invalid": "format error"}, result.Trials[1].Scores)

	// Partial credit.
	page := d.page("/question/unit1/week03/vectors/cross?seed=1")
	submit := submitForm.FindStringSubmatch(page)
	a := regexp.MustCompile(`CROSS OF (\d+)`).FindStringSubmatch(panel)[1]
	_, to := d.post(submit[1], d.URL, map[string][]string{"token": {submit[2]}, "answers": {`{"x":"` + a + `","y":"-1"}`}, "action": {"grade"}}, nil)
	has(t, d.page(to), "50 %")
}
