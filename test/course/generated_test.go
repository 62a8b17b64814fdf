package course

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGeneratedHasTheShapeOfRealCourses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "course")
	stats, err := Generated(dir, 2600, 1)
	require.NoError(t, err)
	require.Equal(t, 2600, stats.Files)
	require.Greater(t, stats.Questions, 700)
	require.Greater(t, stats.Bytes, int64(2<<20))
	require.Less(t, stats.Bytes, int64(40<<20))

	sizes, total, files := map[string]int64{}, int64(0), 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		total += info.Size()
		question := filepath.Dir(path)
		if filepath.Base(question) == "clientFilesQuestion" {
			question = filepath.Dir(question)
		}
		if _, err := os.Stat(filepath.Join(question, "question.html")); err == nil {
			sizes[question] += info.Size()
		}
		return nil
	}))
	require.Equal(t, stats.Files, files)
	require.Equal(t, stats.Bytes, total)
	require.Len(t, sizes, stats.Questions)
	var all []int64
	for _, size := range sizes {
		all = append(all, size)
	}
	slices.Sort(all)
	p50, p90, most := all[len(all)/2], all[len(all)*9/10], all[len(all)-1]
	t.Logf("%d questions, %d bytes: p50 %d, p90 %d, max %d", len(all), total, p50, p90, most)
	require.True(t, 1<<10 <= p50 && p50 <= 3<<10, "p50 %d", p50)
	require.True(t, 4<<10 <= p90 && p90 <= 35<<10, "p90 %d", p90)
	require.Less(t, most, int64(2*maxPicture+64<<10))
}

func TestGeneratedIsDeterministicAndExact(t *testing.T) {
	revs := map[string]bool{}
	for _, seed := range []uint64{1, 1, 2} {
		dir := t.TempDir()
		stats, err := Generated(dir, 60, seed)
		require.NoError(t, err)
		require.Equal(t, 60, stats.Files)
		rev, err := GitInit(dir, "generated")
		require.NoError(t, err)
		revs[rev] = true
	}
	require.Len(t, revs, 2)
	for _, files := range []int{45, 46, 100} {
		stats, err := Generated(t.TempDir(), files, 1)
		require.NoError(t, err)
		require.Equal(t, files, stats.Files)
		require.Positive(t, stats.Questions)
	}
	_, err := Generated(t.TempDir(), 44, 1)
	require.ErrorContains(t, err, "45 is the least")
}

func TestGeneratedQuestionsAreQuestions(t *testing.T) {
	dir := t.TempDir()
	_, err := Generated(dir, 60, 3)
	require.NoError(t, err)
	uuids := map[string]bool{}
	for _, qid := range qids(t, dir, "") {
		content, err := os.ReadFile(filepath.Join(dir, "questions", qid, "info.json"))
		require.NoError(t, err)
		var info struct {
			UUID string `json:"uuid"`
		}
		require.NoError(t, json.Unmarshal(content, &info))
		require.Regexp(t, uuidPattern, info.UUID)
		require.False(t, uuids[info.UUID])
		uuids[info.UUID] = true
	}
	d := newDriver(t, dir)
	for _, qid := range qids(t, dir, "") {
		got := d.do(request{Op: "phase", Name: qid, Method: "render", Data: object{"params": object{"a": 1, "b": 2}}})
		require.Contains(t, got.HTML, "What is 1 + 2?", "%s: %s", qid, got.Traceback)
		got = d.do(request{Op: "phase", Name: qid, Method: "generate", Data: newData(1)})
		require.Empty(t, got.Error, got.Traceback)
	}
}
