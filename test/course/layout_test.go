package course

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// both runs a test over the two courses.
func both(t *testing.T, test func(t *testing.T, dir string)) {
	for name, write := range map[string]func(string) error{"sample": WriteSample, "nodecourse": WriteNode} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, write(dir))
			test(t, dir)
		})
	}
}

func readJSON(t *testing.T, path string) (o object) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &o), path)
	return o
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	return found
}

func TestEveryUUIDIsUnique(t *testing.T) {
	both(t, func(t *testing.T, dir string) {
		seen := map[any]string{}
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".json") {
				return err
			}
			o := readJSON(t, path)
			name := filepath.Base(path)
			isElement := strings.Contains(path, "/elements/") || strings.Contains(path, "/elementExtensions/")
			if isElement || name == "lambda.json" {
				require.NotContains(t, o, "uuid", path)
				return nil
			}
			require.Regexp(t, uuidPattern, o["uuid"], path)
			require.Empty(t, seen[o["uuid"]], path)
			seen[o["uuid"]] = path
			return nil
		}))
		require.Greater(t, len(seen), 3)
	})
}

func TestQuestionsFollowTheRules(t *testing.T) {
	allowed := map[string]bool{
		"uuid": true, "title": true, "topic": true, "tags": true, "type": true, "singleVariant": true,
		"partialCredit": true, "workspaceOptions": true, "externalGradingOptions": true,
	}
	both(t, func(t *testing.T, dir string) {
		topics, tags := map[any]bool{}, map[any]bool{}
		course := readJSON(t, filepath.Join(dir, "infoCourse.json"))
		for _, topic := range course["topics"].([]any) {
			topics[topic.(object)["name"]] = true
		}
		for _, tag := range course["tags"].([]any) {
			tags[tag.(object)["name"]] = true
		}
		all := qids(t, dir, "")
		for _, qid := range all {
			info := readJSON(t, filepath.Join(dir, "questions", qid, "info.json"))
			require.Equal(t, "v3", info["type"], qid)
			require.NotEmpty(t, info["title"], qid)
			require.True(t, topics[info["topic"]], "%s: topic %v", qid, info["topic"])
			for _, tag := range info["tags"].([]any) {
				require.True(t, tags[tag], "%s: tag %v", qid, tag)
			}
			for key := range info {
				require.True(t, allowed[key], "%s: %s", qid, key)
			}
			require.FileExists(t, filepath.Join(dir, "questions", qid, "question.html"))
			for _, other := range all {
				require.False(t, strings.HasPrefix(other, qid+"/"), "%s is a prefix of %s", qid, other)
			}
		}
	})
}

func TestControllersExist(t *testing.T) {
	both(t, func(t *testing.T, dir string) {
		infos := append(glob(t, dir, "elements/*/info.json"), glob(t, dir, "elementExtensions/*/*/info.json")...)
		require.NotEmpty(t, infos)
		for _, path := range infos {
			controller, ok := readJSON(t, path)["controller"].(string)
			require.True(t, ok, path)
			require.FileExists(t, filepath.Join(filepath.Dir(path), controller))
		}
		for _, path := range glob(t, dir, "elementExtensions/*") {
			require.FileExists(t, filepath.Join(dir, "elements", filepath.Base(path), "info.json"))
		}
	})
}

func TestAssessmentsNameQuestionsThatExist(t *testing.T) {
	dir := written(t)
	asked, assessments, instances, clientFiles := 0, 0, 0, 0
	root := filepath.Join(dir, "courseInstances")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == "infoCourseInstance.json":
			instances++
			require.NotEmpty(t, readJSON(t, path)["longName"])
			require.NotEmpty(t, glob(t, filepath.Dir(path), "clientFilesCourseInstance/*"))
		case d.Name() == "infoAssessment.json":
			assessments++
			info := readJSON(t, path)
			require.Contains(t, []any{"Homework", "Exam"}, info["type"])
			for _, zone := range info["zones"].([]any) {
				for _, question := range zone.(object)["questions"].([]any) {
					asked++
					require.FileExists(t, filepath.Join(dir, "questions", question.(object)["id"].(string), "info.json"))
				}
			}
			clientFiles += len(glob(t, filepath.Dir(path), "clientFilesAssessment/*"))
		}
		return nil
	}))
	require.Equal(t, []int{2, 4, 2}, []int{instances, assessments, clientFiles})
	require.Positive(t, asked)
}

// What the sample course promises to those who test with it.
func TestSampleHasOneOfEverything(t *testing.T) {
	dir := written(t)
	count := map[string]int{}
	for _, qid := range qids(t, dir, "") {
		root := filepath.Join(dir, "questions", qid)
		read := func(name string) string {
			content, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				return ""
			}
			return string(content)
		}
		code, html, info := read("server.py"), read("question.html"), readJSON(t, filepath.Join(root, "info.json"))
		for what, is := range map[string]bool{
			"staff":               forStaff(qid),
			"question":            !forStaff(qid),
			"nested":              strings.Contains(qid, "/"),
			"nested twice":        strings.Count(qid, "/") > 1,
			"without server.py":   code == "",
			"numpy":               strings.Contains(code, "import numpy"),
			"sympy":               strings.Contains(code, "import sympy"),
			"numpy and sympy":     strings.Contains(code, "import numpy") && strings.Contains(code, "import sympy"),
			"shared module":       strings.Contains(code, "from prairie import"),
			"file":                strings.Contains(code, "\ndef file(data)"),
			"parse":               strings.Contains(code, "\ndef parse(data)"),
			"markdown":            strings.Contains(html, "<markdown>"),
			"picture of its own":  len(glob(t, root, "clientFilesQuestion/*")) > 0,
			"thumbnail":           len(glob(t, root, "thumbnail.png")) > 0,
			"all or nothing":      info["partialCredit"] == false,
			"single variant":      info["singleVariant"] == true,
			"workspace":           info["workspaceOptions"] != nil,
			"external grading":    info["externalGradingOptions"] != nil,
			"legacy element":      strings.Contains(html, "<ps-counter"),
			"element extension":   strings.Contains(html, ` look="`),
			"element in elements": strings.Contains(html, "<ps-hint"),
		} {
			if is {
				count[what]++
			}
		}
	}
	for what, least := range map[string]int{
		"question": 18, "staff": 20, "nested": 40, "nested twice": 4, "without server.py": 1, "numpy": 5, "sympy": 5,
		"numpy and sympy": 2, "shared module": 5, "file": 4, "parse": 3, "markdown": 1, "picture of its own": 2, "thumbnail": 2,
		"all or nothing": 2, "single variant": 1, "workspace": 1, "external grading": 1, "legacy element": 1,
		"element extension": 2, "element in elements": 2,
	} {
		require.GreaterOrEqual(t, count[what], least, what)
	}
	require.GreaterOrEqual(t, len(glob(t, dir, "elements/*")), 5)
	require.GreaterOrEqual(t, len(glob(t, dir, "elementExtensions/*/*")), 1)
	require.GreaterOrEqual(t, len(glob(t, dir, "clientFilesCourse/*.png")), 1)
	panorama, err := os.Stat(filepath.Join(dir, PanoramaPath))
	require.NoError(t, err)
	require.Greater(t, panorama.Size(), int64(2<<20))
	dice, err := os.Stat(filepath.Join(dir, "serverFilesCourse/tools/dice"))
	require.NoError(t, err)
	require.EqualValues(t, 0o755, dice.Mode().Perm(), "a script is executable")
	target, err := os.Readlink(filepath.Join(dir, "clientFilesCourse/cover.svg"))
	require.NoError(t, err)
	require.Equal(t, "prairie.svg", target)
}
