package browser

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

var gradeForm = regexp.MustCompile(`action="(/grade/\d+)"><input type="hidden" name="token" value="([^"]+)"><button id="grade">`)

// submits sends a script as the answer to the externally graded question, and
// returns the page once its grader is done with it.
func (d *dev) submits(script, action string) (page string) {
	d.t.Helper()
	form := submitForm.FindStringSubmatch(d.page("/question/outside"))
	require.NotNil(d.t, form)
	answers, err := json.Marshal(map[string]string{"answer": script})
	require.NoError(d.t, err)
	status, location := d.post(form[1], d.URL, url.Values{"token": {form[2]}, "answers": {string(answers)}, "action": {action}}, nil)
	require.Equal(d.t, http.StatusSeeOther, status)
	return d.graded(location)
}

func (d *dev) graded(location string) (page string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		page = d.page(location)
		return !strings.Contains(page, "at its grader")
	}, time.Minute, 50*time.Millisecond)
	return page
}

// What students do to a grader, on the author's page: every submission comes to
// its end, and the page says which.
func TestSubmissionsAreGradedOutside(t *testing.T) {
	t.Parallel()
	root, dir := t.TempDir(), sample(t)
	course.GraderRoot(t, root)
	course.AddGrader(t, dir, "outside", "3")
	gradesAll(t, startDev(t, dir, "--env", course.GraderName+"="+root))
}

// The same without root: its environment lies on a mount of the author's own.
func TestSubmissionsAreGradedOutsideWithoutRoot(t *testing.T) {
	t.Parallel()
	d, cgroup := asStranger(t)
	fuseForAll(t)
	root := filepath.Join(filepath.Dir(d.dir), "root")
	course.GraderRoot(t, root)
	course.AddGrader(t, d.dir, "outside", "3")
	d.run("--tier", "userns", "--cgroup", cgroup, "--env", course.GraderName+"="+root)
	gradesAll(t, d)
}

func gradesAll(t *testing.T, d *dev) {
	t.Helper()
	require.NotContains(t, d.page("/question/outside"), "which only a platform has")
	for _, s := range course.Submissions {
		page := d.submits(s.Script, "grade")
		switch s.State {
		case "graded":
			has(t, page, map[string]string{"right": "100 %", "wrong": "0 %", "calling": "50 %"}[s.Name], s.Name)
			has(t, page, "graded outside", s.Name)
			has(t, page, "no issues", s.Name)
		case "not_gradable":
			has(t, page, "not gradable", s.Name)
			has(t, page, "line 1", s.Name)
		default:
			has(t, page, s.State+": ", s.Name)
			has(t, page, `<span class="badge bad">0 %</span> Score`, s.Name)
		}
	}
	// What was only saved is graded later.
	page := d.submits(course.Submissions[0].Script, "save")
	has(t, page, "Not graded")
	form := gradeForm.FindStringSubmatch(page)
	require.NotNil(t, form, page)
	status, _ := d.post(form[1], d.URL, url.Values{"token": {"another"}}, nil)
	require.Equal(t, http.StatusForbidden, status)
	status, location := d.post(form[1], d.URL, url.Values{"token": {form[2]}}, nil)
	require.Equal(t, http.StatusSeeOther, status)
	page = d.graded(location)
	has(t, page, "100 %")
	has(t, page, "well done")
	// Without its environment a question says what is missing.
	d.edit("questions/outside/info.json", course.GraderImage, "graders/other")
	require.Eventually(t, func() bool {
		return strings.Contains(d.submits("true", "grade"), "syncer env push graders-other")
	}, time.Minute, 100*time.Millisecond)
}
