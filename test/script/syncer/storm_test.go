package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"
)

// storm is a binary, a repository and a store.
type storm struct {
	t     *testing.T
	bin   string
	repo  string
	store string
	env   []string
}

func newStorm(t *testing.T, store string, env ...string) *storm {
	s := &storm{t: t, bin: filepath.Join(t.TempDir(), "syncer"), repo: t.TempDir(), store: store}
	s.env = append(os.Environ(), "GIT_AUTHOR_NAME=N", "GIT_AUTHOR_EMAIL=n@x", "GIT_COMMITTER_NAME=N", "GIT_COMMITTER_EMAIL=n@x", "PRAIRIE_STORE="+store)
	s.env = append(s.env, env...)
	s.must(exec.Command("go", "build", "-o", s.bin, "../../../cmd/syncer"))
	s.git("init", "-q", "-b", "main")
	for i := range 40 {
		s.file(fmt.Sprintf("questions/q%d/info.json", i), 20)
		s.file(fmt.Sprintf("questions/q%d/server.py", i), 3000)
	}
	s.file("infoCourse.json", 5)
	s.commit()
	return s
}

func (s *storm) must(c *exec.Cmd) string {
	s.t.Helper()
	c.Env = append(s.env, "CGO_ENABLED=0")
	out, err := c.CombinedOutput()
	require.NoError(s.t, err, "%v: %s", c.Args, out)
	return strings.TrimSpace(string(out))
}

func (s *storm) git(args ...string) string {
	s.t.Helper()
	return s.must(exec.Command("git", append([]string{"-C", s.repo}, args...)...))
}

func (s *storm) syncer(args ...string) string {
	s.t.Helper()
	return s.must(exec.Command(s.bin, args...))
}

func (s *storm) file(path string, size int) {
	p := filepath.Join(s.repo, path)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(p), 0o755))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	require.NoError(s.t, os.WriteFile(p, b, 0o644))
}

func (s *storm) commit() string {
	s.git("add", "-A")
	s.git("commit", "-q", "-m", "c")
	return s.git("rev-parse", "HEAD")
}

func (s *storm) edit() string {
	for range 12 {
		s.file(fmt.Sprintf("questions/q%d/server.py", rand.IntN(40)), 3000)
	}
	s.file("clientFilesCourse/video", 3<<20)
	return s.commit()
}

func (s *storm) head() string {
	var h struct{ Version string }
	require.NoError(s.t, json.Unmarshal([]byte(s.syncer("status", "demo", "--json")), &h))
	return h.Version
}

// kills pushes again and again with SIGKILL at a random moment. Whatever the
// moment, the store verifies, the head is the old or the new one, and the next
// push finishes what was begun.
func (s *storm) kills(n int) {
	s.syncer("push", "demo", s.repo)
	old := s.head()
	span := 100 * time.Millisecond
	killed := 0
	for range n {
		rev := s.edit()
		c := exec.Command(s.bin, "push", "demo", s.repo)
		c.Env = s.env
		require.NoError(s.t, c.Start())
		time.Sleep(time.Duration(rand.Int64N(int64(span))))
		c.Process.Kill()
		if c.Wait() != nil {
			killed++
		}
		h := s.head()
		require.Contains(s.t, []string{old, rev}, h, "the head is old or new, never between")
		require.Contains(s.t, s.syncer("verify"), " 0 problems")
		start := time.Now()
		s.syncer("push", "demo", s.repo)
		span = max(10*time.Millisecond, min(span, 2*time.Since(start)))
		require.Equal(s.t, rev, s.head())
		old = rev
	}
	require.Contains(s.t, s.syncer("verify"), " 0 problems")
	out := filepath.Join(s.t.TempDir(), "out")
	s.syncer("pull", "demo", out)
	s.must(exec.Command("diff", "-r", "--exclude=.git", s.repo, out))
	s.t.Logf("%d of %d pushes were killed before their end", killed, n)
}

func count(short, soak int) int {
	if os.Getenv("SOAK") != "" {
		return soak
	}
	return short
}

func TestKillStormDir(t *testing.T) {
	newStorm(t, "dir://"+filepath.Join(t.TempDir(), "store")).kills(count(4, 200))
}

func gsServer(t *testing.T) string {
	srv, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", PublicHost: "127.0.0.1"})
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	srv.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	return "STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(srv.URL(), "http://")
}

func TestKillStormGS(t *testing.T) {
	newStorm(t, "gs://bucket/some/prefix", gsServer(t)).kills(count(4, 200))
}

func TestGSWrongBucketAndNoServer(t *testing.T) {
	emulator := gsServer(t)
	s := newStorm(t, "gs://other", emulator)
	for _, args := range [][]string{{"push", "demo", s.repo}, {"status"}, {"verify"}} {
		c := exec.Command(s.bin, args...)
		c.Env = s.env
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		require.True(t, errors.As(err, &exit), "%v: %s", args, out)
		require.Equal(t, 1, exit.ExitCode(), "%s", out)
		require.Contains(t, string(out), "bucket other")
		require.Equal(t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, s.bin, "status", "--store", "gs://bucket")
	c.Env = append(os.Environ(), "STORAGE_EMULATOR_HOST=127.0.0.1:1")
	if os.Getenv("SOAK") == "" {
		return // the retries take their minute
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%s", out)
	require.Equal(t, 75, exit.ExitCode(), "%s", out)
}
