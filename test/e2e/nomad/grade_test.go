package nomad

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/course"
)

// beginGrade starts the grading of a script under an id.
func (d *Deployment) beginGrade(t *testing.T, gateway, id, script string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"submission": course.GraderAnswer(script), "data": map[string]any{"variant_seed": 1}})
	require.NoError(t, err)
	status, answer, err := d.request(http.MethodPost, gateway+"/courses/graded/current/grade/outside", id, body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, answer)
	var made struct{ Identifier string }
	require.NoError(t, json.Unmarshal([]byte(answer), &made))
	return made.Identifier
}

// onNomad are the submissions whose ends Nomad may have a part in; the others are
// graded in test/e2e/browser.
var onNomad = []string{"right", "crashing", "hanging", "flooding", "calling"}

// gradersAreJobsOfTheirOwn submits what students do, all at once; every one of
// them comes to an end of its own kind, and none is lost. A program may run in the
// graders' image as well.
func gradersAreJobsOfTheirOwn(t *testing.T, d *Deployment, gateway string) {
	root, dir := t.TempDir(), course.Sample(t).Dir
	course.GraderRoot(t, root)
	course.AddGrader(t, dir, "outside", "4")
	out, err := exec.Command(filepath.Join(d.Bin, "syncer"), "env", "push", "--quiet", "--store", d.Store(), course.GraderName, root).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, d.Push("graded", dir))

	submissions := slices.DeleteFunc(slices.Clone(course.Submissions), func(s struct{ Name, Script, State string }) bool {
		return !slices.Contains(onNomad, s.Name)
	})
	require.Len(t, submissions, len(onNomad))
	first := d.beginGrade(t, gateway, "once-graded", submissions[0].Script)
	require.Equal(t, first, d.beginGrade(t, gateway, "once-graded", submissions[0].Script), "asked for twice, dispatched once")
	begun := map[string]string{submissions[0].Name: first}
	for _, s := range submissions[1:] {
		begun[s.Name] = d.beginGrade(t, gateway, "", s.Script)
	}
	program, err := json.Marshal(map[string]any{
		"runtime": "bash", "environment": course.GraderName, "limits": map[string]any{"wall": 90 * time.Second},
		"files": []any{map[string]any{"basename": "main.sh", "contents": "ls /usr/bin | head -3; cat /etc/passwd"}},
	})
	require.NoError(t, err)
	inside, err := d.begin(gateway, "", program)
	require.NoError(t, err)
	o, err := d.follow([]string{gateway}, inside, time.Minute)
	require.NoError(t, err)
	require.Equal(t, []string{"bash", "cat", "chmod", `{"score":1}`}, o.Lines, "%+v", o)
	for _, s := range submissions {
		o, err := d.follow([]string{gateway}, begun[s.Name], 2*time.Minute)
		require.NoError(t, err, s.Name)
		require.NotEmpty(t, o.Lines, "%s: %+v", s.Name, o)
		var g jobs.Grade
		require.NoError(t, json.Unmarshal([]byte(o.Lines[len(o.Lines)-1]), &g), "%s: %q", s.Name, o.Lines[len(o.Lines)-1])
		require.Equal(t, s.State, string(g.State), "%s: %+v", s.Name, g)
		require.Equal(t, map[string]float64{"right": 1, "calling": 0.5}[s.Name], g.Score, s.Name)
		require.Equal(t, g.Feedback.Succeeded, o.Status == 0, s.Name)
		require.Equal(t, g.Feedback.Message, o.Message, s.Name)
	}
	require.Equal(t, 1, d.dispatched(t, first))

	other := *d
	other.Secret = d.Other
	_, err = other.poll(gateway, first, 0)
	require.ErrorContains(t, err, "404", "another token's")
}
