package syncer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAPushLooksWhereItIsTold, and everywhere where that cannot be relied on.
func TestAPushLooksWhereItIsTold(t *testing.T) {
	many := []string{}
	for i := range maxLook + 1 {
		many = append(many, fmt.Sprint("x", i))
	}
	const a, b = "questions/a/server.py", "serverFilesCourse/lib.py"
	for name, tc := range map[string]struct {
		before func(t *testing.T, s *store, dir string, stats *Stats)
		told   []string
		sees   string // of both
	}{
		"a file":        {told: []string{a}, sees: "a"},
		"nothing":       {told: []string{}, sees: ""},
		"a directory":   {told: []string{"questions"}, sees: "a"},
		"one above":     {told: []string{"serverFilesCourse"}, sees: "b"},
		"one that goes": {told: []string{a, "serverFilesCourse/lib.py/x"}, sees: "ab"},
		"everything":    {told: []string{a, "."}, sees: "ab"},
		"outside":       {told: []string{a, "../x"}, sees: "ab"},
		"many":          {told: many, sees: "ab"},
		"another head": {told: []string{a}, sees: "ab", before: func(t *testing.T, s *store, dir string, _ *Stats) {
			other := t.TempDir()
			files(t, other, map[string]string{"x": "y"})
			_, err := s.Push(t.Context(), "c", Dir(other, nil))
			require.NoError(t, err)
		}},
		"after a failure": {told: []string{a}, sees: "ab", before: func(t *testing.T, s *store, dir string, stats *Stats) {
			files(t, dir, map[string]string{"out": "-> ../.."})
			stats.Changed("out")
			_, err := s.Push(t.Context(), "c", Dir(dir, stats))
			require.Error(t, err)
			require.NoError(t, os.Remove(filepath.Join(dir, "out")))
		}},
		"after another process": {told: []string{a}, sees: "ab", before: func(t *testing.T, _ *store, _ string, stats *Stats) {
			file := filepath.Join(t.TempDir(), "stats")
			require.NoError(t, stats.Save(file))
			read, err := LoadStats(file)
			require.NoError(t, err)
			stats.files, stats.last = read.files, read.last
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, stats := freshStore(), t.TempDir(), &Stats{}
			files(t, dir, course())
			push := func() map[string]string {
				t.Helper()
				_, err := s.Push(t.Context(), "c", Dir(dir, stats))
				require.NoError(t, err)
				return s.pulled(t, "c", "current")
			}
			was := push()
			if tc.before != nil {
				tc.before(t, s, dir, stats)
			}
			files(t, dir, map[string]string{a: "new", b: "new"})
			stats.Changed(tc.told...)
			now := push()
			require.Equal(t, strings.Contains(tc.sees, "a"), was[a] != now[a])
			require.Equal(t, strings.Contains(tc.sees, "b"), was[b] != now[b])
			require.Equal(t, snapshot(t, dir), push(), "the next push is told nothing")
			s.clean(t)
		})
	}
}

// TestIgnoredFilesChangeWithTheirRules, wherever these were changed.
func TestIgnoredFilesChangeWithTheirRules(t *testing.T) {
	tree := map[string]string{"infoCourse.json": "{}", ".gitignore": "*.tmp\n", "d/x.py": "x", "d/a.tmp": "a", "e/b.log": "b"}
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	files(t, dir, tree)
	s, stats := freshStore(), &Stats{}
	push := func(told ...string) []string {
		t.Helper()
		stats.Changed(told...)
		_, err := s.Push(t.Context(), "c", Dir(dir, stats))
		require.NoError(t, err)
		return slices.Sorted(maps.Keys(s.pulled(t, "c", "current")))
	}
	require.NotContains(t, push(), "d/a.tmp")
	files(t, dir, map[string]string{"d/x.py": "y"})
	require.NotContains(t, push("d/x.py"), "d/a.tmp")
	files(t, dir, map[string]string{"d/new.tmp": "", "d/new.py": ""})
	all := push("d/new.tmp", "d/new.py")
	require.NotContains(t, all, "d/new.tmp")
	require.Contains(t, all, "d/new.py")

	files(t, dir, map[string]string{".gitignore": "*.log\n"})
	all = push(".gitignore")
	require.Contains(t, all, "d/a.tmp")
	require.NotContains(t, all, "e/b.log")
	gitIn(t, dir, "add", "-f", "e/b.log")
	require.Contains(t, push(), "e/b.log", "git's index says otherwise")
	files(t, dir, map[string]string{".git/info/exclude": "*.tmp\n"})
	require.NotContains(t, push(), "d/a.tmp")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".git")))
	require.Contains(t, push(), "d/a.tmp")
}

// BenchmarkAnEdit is about a push of a course of 10,000 files in which one was
// rewritten: looking everywhere, and where it is told.
func BenchmarkAnEdit(b *testing.B) {
	for _, told := range []bool{false, true} {
		b.Run(map[bool]string{false: "everywhere", true: "told"}[told], func(b *testing.B) {
			s, dir, stats := newStore(b), b.TempDir(), &Stats{}
			tree := map[string]string{"infoCourse.json": "{}"}
			for i := range 2_500 {
				for _, name := range []string{"info.json", "question.html", "server.py", "tests/test.py"} {
					tree[fmt.Sprintf("questions/t%d/q%d/%s", i/100, i, name)] = fmt.Sprint(name, i)
				}
			}
			files(b, dir, tree)
			push := func() {
				_, err := s.Push(b.Context(), "c", Dir(dir, stats))
				require.NoError(b, err)
			}
			push()
			const edited = "questions/t0/q0/question.html"
			for i := 0; b.Loop(); i++ {
				files(b, dir, map[string]string{edited: fmt.Sprint("edit ", i)})
				if told {
					stats.Changed(edited)
				}
				push()
			}
		})
	}
}
