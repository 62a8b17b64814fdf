package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/test/machine"
)

// storm is a binary, a repository and a store.
type storm struct {
	t     *testing.T
	bin   string
	repo  string
	store string
	tmp   string // of the programs
	env   []string
}

func newStorm(t *testing.T, store string, env ...string) *storm {
	s := &storm{t: t, bin: filepath.Join(programs, "syncer"), repo: t.TempDir(), store: store, tmp: t.TempDir()}
	s.env = append(os.Environ(), "GIT_AUTHOR_NAME=N", "GIT_AUTHOR_EMAIL=n@x", "GIT_COMMITTER_NAME=N", "GIT_COMMITTER_EMAIL=n@x", "PRAIRIE_STORE="+store, "TMPDIR="+s.tmp)
	s.env = append(s.env, env...)
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
	c.Env = s.env
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
// push finishes what was begun and in the end nothing is left. From time to time gc takes what was left behind,
// so that verify, which reads everything, does not grow with the storm.
func (s *storm) kills(n int) {
	s.syncer("push", "demo", s.repo)
	old := s.head()
	span := 100 * time.Millisecond
	killed, littered := 0, 0
	for i := range n {
		if i%10 == 9 {
			s.syncer("gc", "--keep-last", "1", "--keep-within", "0s", "--grace", "0s")
		}
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
		if len(s.litter()) > 0 {
			littered++
		}
		start := time.Now()
		s.syncer("push", "demo", s.repo)
		span = max(10*time.Millisecond, min(span, 2*time.Since(start)))
		require.Equal(s.t, rev, s.head())
		old = rev
	}
	require.Contains(s.t, s.syncer("verify"), " 0 problems")
	for _, dir := range s.litter() {
		s.forsaken(dir)
	}
	s.syncer("push", "demo", s.repo)
	require.Empty(s.t, s.litter())
	out := filepath.Join(s.t.TempDir(), "out")
	s.syncer("pull", "demo", out)
	s.must(exec.Command("diff", "-r", "--exclude=.git", s.repo, out))
	s.t.Logf("%d of %d pushes were killed before their end, %d left a directory", killed, n, littered)
}

// forsaken returns when nobody holds dir: a child that was being made when its parent
// was killed has the lock until it has become git.
func (s *storm) forsaken(dir string) {
	f, err := os.Open(dir)
	require.NoError(s.t, err)
	defer f.Close()
	require.NoError(s.t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
}

// litter is what programs left in their directory for temporary files.
func (s *storm) litter() []string {
	names, err := filepath.Glob(filepath.Join(s.tmp, "*"))
	require.NoError(s.t, err)
	return names
}

func TestKillStormDir(t *testing.T) {
	newStorm(t, "dir://"+filepath.Join(t.TempDir(), "store")).kills(machine.Length(200))
}

func gsServer(t *testing.T) string {
	srv, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", PublicHost: "127.0.0.1"})
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	srv.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	return "STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(srv.URL(), "http://")
}

func TestKillStormGS(t *testing.T) {
	newStorm(t, "gs://bucket/some/prefix", gsServer(t)).kills(machine.Length(200))
}

// collections pushes n times beside processes of gc that keep the head only.
// After each push, all that records reach is there. It is false where a push took as
// long as the grace period: then gc may take what it pushed.
func (s *storm) collections(n int, grace time.Duration) (quick bool) {
	s.syncer("push", "demo", s.repo)
	until, stop := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	sum, runs := 0, 0
	wg.Go(func() {
		for until.Err() == nil {
			c := exec.Command(s.bin, "gc", "--keep-last", "1", "--keep-within", "0s", "--grace", grace.String(), "--json")
			c.Env = s.env
			var said strings.Builder
			c.Stderr = &said
			out, err := c.Output()
			var r struct {
				Removed int `json:"blobs_removed"`
			}
			if err != nil || json.Unmarshal(out, &r) != nil {
				s.t.Errorf("gc: %v: %s", err, said.String())
				return
			}
			sum += r.Removed
			runs++
		}
	})
	revs := []string{s.git("rev-parse", "HEAD")}
	for i := range n {
		if i%3 == 0 {
			revs = append(revs, s.edit())
		}
		rev := revs[max(0, len(revs)-1-rand.IntN(4))] // often one that gc has hidden or is about to
		start := time.Now()
		push := exec.Command(s.bin, "push", "demo", s.repo, "--rev", rev)
		push.Env = s.env
		said, err := push.CombinedOutput()
		if time.Since(start) >= grace {
			return false
		}
		require.NoError(s.t, err, "%s", said)
		require.Equal(s.t, rev, s.head())
		out := filepath.Join(s.t.TempDir(), "out")
		s.syncer("pull", "demo", out)
		require.NoError(s.t, os.RemoveAll(out))
	}
	stop()
	wg.Wait()
	require.Contains(s.t, s.syncer("verify"), " 0 problems")
	s.t.Logf("%d pushes beside %d collections, which removed %d blobs", n, runs, sum)
	return true
}

// gcStorm collects with a grace period that is longer than any push took.
func gcStorm(t *testing.T, grace time.Duration, anew func() *storm) {
	for !anew().collections(machine.Length(500), grace) {
		grace *= 4
		require.Less(t, grace, 4*time.Minute, "a push takes longer than that")
	}
}

func TestGCStormDir(t *testing.T) {
	gcStorm(t, 3*time.Second, func() *storm { return newStorm(t, "dir://"+filepath.Join(t.TempDir(), "store")) })
}

func TestGCStormGS(t *testing.T) {
	gcStorm(t, 5*time.Second, func() *storm { return newStorm(t, "gs://bucket/some/prefix", gsServer(t)) })
}

// refused wants one line that says text, and exit code 1.
func (s *storm) refused(text string, args ...string) {
	s.t.Helper()
	require.True(s.t, s.refuses(text, args...), "it was done: %v", args)
}

// refuses is refused of what may also be done, and says whether it was not.
func (s *storm) refuses(text string, args ...string) bool {
	s.t.Helper()
	c := exec.Command(s.bin, args...)
	c.Env = s.env
	out, err := c.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	require.True(s.t, errors.As(err, &exit), "%v: %v", args, err)
	require.Equal(s.t, 1, exit.ExitCode(), "%s", out)
	require.Contains(s.t, string(out), text)
	require.Equal(s.t, 1, strings.Count(string(out), "\n"), "one line: %s", out)
	return true
}

func TestGSWithAnExpiredToken(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error": {"code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED"}}`)
	}))
	defer srv.Close()
	s := newStorm(t, "gs://bucket", "STORAGE_EMULATOR_HOST="+strings.TrimPrefix(srv.URL, "http://"))
	for _, args := range [][]string{{"push", "demo", s.repo}, {"push", "demo", s.repo, "--worktree"}, {"status"}, {"verify"}, {"gc"}} {
		s.refused("invalid authentication credentials", args...)
	}
}

// TestAFileThatChangesWhileItIsPushed is appended to all the time. A push that read it
// while the writer had no processor saw it whole, and is none to refuse.
func TestAFileThatChangesWhileItIsPushed(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	s := newStorm(t, "dir://"+store)
	s.syncer("push", "demo", s.repo, "--worktree")
	f, err := os.OpenFile(filepath.Join(s.repo, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(8<<20)) // which takes a while to read
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				f.WriteString("one more line\n")
			}
		}
	}()
	before := s.head()
	for !s.refuses(`"log" changed while it was read; push again`, "push", "demo", s.repo, "--worktree") {
		before = s.head()
	}
	close(stop)
	<-stopped
	require.Equal(t, before, s.head())
	require.Contains(t, s.syncer("verify"), " 0 problems")
}

func TestGSWrongBucketAndNoServer(t *testing.T) {
	emulator := gsServer(t)
	s := newStorm(t, "gs://other", emulator)
	for _, args := range [][]string{{"push", "demo", s.repo}, {"status"}, {"verify"}} {
		s.refused("bucket other", args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, s.bin, "status", "--store", "gs://bucket")
	c.Env = append(os.Environ(), "STORAGE_EMULATOR_HOST=127.0.0.1:1")
	if !machine.Soak() {
		return // the retries take their minute
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%s", out)
	require.Equal(t, 75, exit.ExitCode(), "%s", out)
}
