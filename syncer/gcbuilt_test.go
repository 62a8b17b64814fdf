package syncer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	"github.com/prairielambda/prairielambda/internal/head"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
)

// TestGCRemovesWhatRecipesBuiltAndNobodyUses: of environments without a name that
// somebody gave them, those go that nobody pinned, kept or renewed in time.
func TestGCRemovesWhatRecipesBuiltAndNobodyUses(t *testing.T) {
	const day = 24 * time.Hour
	ctx := t.Context()
	s := &store{blobs: blob.Verified(blobmem.New()), heads: headmem.New()}
	s.Syncer = New(Config{Blobs: s.blobs, Heads: s.heads})
	dir := t.TempDir()
	push := func(course string, content map[string]string) head.Version {
		files(t, dir, content)
		r, err := s.Push(ctx, course, Dir(dir, nil))
		require.NoError(t, err)
		v, err := s.Resolve(ctx, course, r.Version)
		require.NoError(t, err)
		return v
	}
	recipe := func(digit string) string { return "recipe-" + strings.Repeat(digit, 40) }
	for i, name := range []string{recipe("1"), recipe("2"), recipe("3"), recipe("4"), "built-" + strings.Repeat("0", 40), "recipe-of-mine"} {
		_, err := s.Alias(ctx, head.EnvCourse(name), push("source", map[string]string{"x": strings.Repeat("x", i)}))
		require.NoError(t, err)
	}
	names := func() (all []string) {
		courses, err := s.heads.Courses(ctx)
		require.NoError(t, err)
		for _, c := range courses {
			if name, is := head.EnvName(c); is {
				all = append(all, name)
			}
		}
		return all
	}
	_, err := s.Remove(ctx, "source")
	require.NoError(t, err)
	push("c", map[string]string{"infoCourse.json": "{}", "lambda.json": `{"environment":"` + recipe("1") + `"}`})
	marked, _, err := s.heads.Get(ctx, head.EnvCourse(recipe("2")))
	require.NoError(t, err)
	require.NoError(t, s.Keep(ctx, head.EnvCourse(recipe("2")), marked.Version, true))
	before, _, err := s.heads.Get(ctx, head.EnvCourse(recipe("3")))
	require.NoError(t, err)
	require.NoError(t, s.Renew(ctx, head.EnvCourse(recipe("3")), day), "too young for that")
	same, _, err := s.heads.Get(ctx, head.EnvCourse(recipe("3")))
	require.NoError(t, err)
	require.Equal(t, before, same)
	time.Sleep(time.Millisecond)
	require.NoError(t, s.Renew(ctx, head.EnvCourse(recipe("3")), 0))
	used, _, err := s.heads.Get(ctx, head.EnvCourse(recipe("3")))
	require.NoError(t, err)

	policy := GCPolicy{Last: 50, Within: 30 * day, Grace: day}
	gc := func(now time.Time, policy GCPolicy) GCReport {
		r, err := s.Syncer.gc(ctx, policy, now)
		require.NoError(t, err)
		return r
	}
	gc(before.Time.Add(policy.Within-day), policy)
	require.Len(t, names(), 6)
	end := used.Time.Add(policy.Within - 1) // the last moment at which the used one is young enough
	dry := policy
	dry.DryRun = true
	require.Equal(t, 2, gc(end, dry).VersionsRemoved)
	require.Len(t, names(), 6)
	require.Equal(t, 2, gc(end, policy).VersionsRemoved)
	require.Positive(t, gc(end, policy).BlobsRemoved, "after the grace period")
	require.Equal(t, []string{recipe("1"), recipe("2"), recipe("3"), "recipe-of-mine"}, names())
	s.clean(t)
}
