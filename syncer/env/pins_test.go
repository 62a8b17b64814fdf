package env_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/syncer/env"
	"github.com/prairielambda/prairielambda/syncer/env/imagetest"
)

func TestAVersionKeepsTheEnvironmentsItWasPushedWith(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	lib := func(content string) string {
		img := &imagetest.Image{Layers: [][]byte{imagetest.NewLayer().File("lib", content, 0o644).Tar()}}
		r, err := s.push(ctx, "lib", img.OCI(t.TempDir()), env.Limits{})
		require.NoError(t, err)
		return r.Version
	}
	first := lib("one")
	dir := t.TempDir()
	for name, content := range map[string]string{
		"infoCourse.json": "{}", "lambda.json": `{"environment":"lib"}`,
		"questions/q/info.json": "{}", "questions/q/lambda.json": `{"environment":"absent"}`,
		"questions/p/info.json": "{}", "questions/p/lambda.json": `{"environment":{"LIB":"variables"}}`,
		"questions/r/info.json": "{}", "questions/r/lambda.json": "no JSON",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	r, err := s.Syncer.Push(ctx, "course", syncer.Dir(dir, nil))
	require.NoError(t, err)
	v, err := s.Resolve(ctx, "course", r.Version)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"lib": first}, v.Environments)

	second, third := lib("two"), lib("three")
	require.NotEqual(t, first, second)
	again, err := s.Repush(ctx, "course", syncer.Dir(dir, nil))
	require.NoError(t, err)
	require.Equal(t, r.Version, again.Version)
	for range 2 {
		_, err = s.GC(ctx, syncer.GCPolicy{Last: 1})
		require.NoError(t, err)
	}
	for digest, kept := range map[string]bool{first: true, second: false, third: true} {
		_, err := env.Manifest(ctx, s.Syncer, "lib", digest)
		if kept {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, head.ErrNotFound)
		}
	}
	v, err = s.Resolve(ctx, "course", "")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"lib": first}, v.Environments, "a version's environments never change")
}

// The image that grades a question is pinned, too: also one that the last push did
// not read again.
func TestAVersionKeepsTheGradersItWasPushedWith(t *testing.T) {
	s, ctx, dir := newStore(t), t.Context(), t.TempDir()
	grader := func(name, content string) string {
		img := &imagetest.Image{Layers: [][]byte{imagetest.NewLayer().File("run", content, 0o755).Tar()}}
		r, err := s.push(ctx, name, img.OCI(t.TempDir()), env.Limits{})
		require.NoError(t, err)
		return r.Version
	}
	write := func(name, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	pushed := func() map[string]string {
		r, err := s.Syncer.Push(ctx, "course", syncer.Dir(dir, nil))
		require.NoError(t, err)
		v, err := s.Resolve(ctx, "course", r.Version)
		require.NoError(t, err)
		return v.Environments
	}
	options := func(image string) string {
		return `{"externalGradingOptions":{"enabled":true,"image":"` + image + `"}}`
	}
	one, two := grader("x-grader", "one"), grader("other", "two")
	write("infoCourse.json", "{}")
	write("questions/p/info.json", options("x/grader:latest"))
	write("questions/q/info.json", options("absent"))
	write("questions/r/info.json", options("mine@"+one))
	first := pushed()
	require.Equal(t, map[string]string{"x-grader": one}, first)

	again := grader("x-grader", "another")
	write("questions/s/info.json", options("other"))
	require.Equal(t, map[string]string{"x-grader": again, "other": two}, pushed(), "a new version has what the names mean now")
	_, err := s.GC(ctx, syncer.GCPolicy{Last: 5})
	require.NoError(t, err)
	_, err = env.Manifest(ctx, s.Syncer, "x-grader", one)
	require.NoError(t, err, "the first version's grader is kept")
}
