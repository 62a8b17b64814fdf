package pushd

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
	"github.com/prairielambda/prairielambda/syncer"
)

func gitCmd(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=N", "-c", "user.email=n@x"}, args...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func commit(t *testing.T, dir, content string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "infoCourse.json"), []byte(content), 0o644))
	gitCmd(t, dir, "add", "-A")
	gitCmd(t, dir, "commit", "-q", "-m", "c")
	return gitCmd(t, dir, "rev-parse", "HEAD")
}

// face is a Server behind a listener, over a store in memory.
type face struct {
	server *Server
	url    string
	repos  string
	heads  *headmem.Store
}

func newFace(t *testing.T) *face {
	f := &face{repos: t.TempDir(), heads: headmem.New()}
	f.server = New(Config{
		Syncer:       syncer.New(syncer.Config{Blobs: blob.Verified(blobmem.New()), Heads: f.heads}),
		Repositories: f.repos, Metrics: prometheus.NewRegistry(),
		Allow: func(secret, course string) bool { return secret == "s3cret" && course != "others" },
	})
	srv := httptest.NewServer(f.server)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

func (f *face) repo(t *testing.T, name string) string {
	dir := filepath.Join(f.repos, name)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	gitCmd(t, dir, "init", "-q", "-b", "main")
	commit(t, dir, "{}")
	return dir
}

// post returns the status and the body's fields; an error's are under "error".
func (f *face) post(t *testing.T, secret, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+secret)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(b, &got), "%s", b)
	return resp.StatusCode, got
}

func TestPushAndRefusals(t *testing.T) {
	f := newFace(t)
	rev := gitCmd(t, f.repo(t, "demo"), "rev-parse", "HEAD")
	code, got := f.post(t, "s3cret", `{"course":"demo","repository":"demo","rev":"main"}`)
	require.Equal(t, 200, code, got)
	require.Equal(t, rev, got["version"])
	h, _, err := f.heads.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.Equal(t, rev, h.Version)

	for _, tc := range []struct {
		secret, body string
		status       int
		code         string
	}{
		{"wrong", `{"course":"demo","repository":"demo"}`, 403, "forbidden"},
		{"s3cret", `{"course":"others","repository":"demo"}`, 403, "forbidden"},
		{"s3cret", `{"course":"../x","repository":"demo"}`, 400, "bad_request"},
		{"s3cret", `{"course":"demo","repository":"../demo"}`, 400, "bad_request"},
		{"s3cret", `{"course":"demo","repository":"/etc"}`, 400, "bad_request"},
		{"s3cret", `{"course":"demo","repository":"demo","sign":1}`, 400, "bad_request"},
		{"s3cret", `nonsense`, 400, "bad_request"},
		{"s3cret", `{"course":"demo","repository":"nope"}`, 404, "repository_missing"},
		{"s3cret", `{"course":"demo","repository":"demo","rev":"nope"}`, 404, "repository_missing"},
	} {
		code, got := f.post(t, tc.secret, tc.body)
		require.Equal(t, tc.status, code, "%s: %v", tc.body, got)
		require.Equal(t, tc.code, got["error"].(map[string]any)["code"])
	}
	require.EqualValues(t, 1, testutil.ToFloat64(f.server.pushes.WithLabelValues("ok")))
	require.EqualValues(t, 2, testutil.ToFloat64(f.server.pushes.WithLabelValues("forbidden")))
}

// TestPushesOfACourseTakeTurns: without turns, pushes at once would conflict.
func TestPushesOfACourseTakeTurns(t *testing.T) {
	f := newFace(t)
	dir := f.repo(t, "demo")
	var revs []string
	for i := range 8 {
		revs = append(revs, commit(t, dir, fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	for _, rev := range revs {
		wg.Go(func() {
			if code, got := f.post(t, "s3cret", fmt.Sprintf(`{"course":"demo","repository":"demo","rev":%q}`, rev)); code != 200 {
				t.Errorf("%d: %v", code, got)
			}
		})
	}
	wg.Wait()
	h, _, err := f.heads.Get(t.Context(), "demo")
	require.NoError(t, err)
	require.EqualValues(t, len(revs), h.Sequence)
	require.Empty(t, f.server.queues)
}

// TestFetchBeforePush serves a repository by a real git daemon on loopback.
func TestFetchBeforePush(t *testing.T) {
	f := newFace(t)
	upstream := t.TempDir()
	gitCmd(t, upstream, "init", "-q", "-b", "main")
	commit(t, upstream, "{}")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := ln.Addr().(*net.TCPAddr).Port
	require.NoError(t, ln.Close())
	// Not by way of git, which would be what is killed, and leave the daemon behind.
	daemon := exec.Command(filepath.Join(gitCmd(t, upstream, "--exec-path"), "git-daemon"), "--reuseaddr", "--export-all", "--listen=127.0.0.1", fmt.Sprintf("--port=%d", port), "--base-path="+upstream, upstream)
	require.NoError(t, daemon.Start())
	t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)

	mirror := filepath.Join(f.repos, "mirror.git")
	url := fmt.Sprintf("git://127.0.0.1:%d/.git", port)
	gitCmd(t, f.repos, "clone", "-q", "--bare", url, mirror)
	pwned := filepath.Join(t.TempDir(), "PWNED")
	for _, hook := range []string{"reference-transaction", "post-merge"} {
		require.NoError(t, os.WriteFile(filepath.Join(mirror, "hooks", hook), []byte("#!/bin/sh\ntouch "+pwned+"\n"), 0o755))
	}
	push := func() string {
		code, got := f.post(t, "s3cret", `{"course":"demo","repository":"mirror.git","rev":"main"}`)
		require.Equal(t, 200, code, got)
		return got["version"].(string)
	}
	require.Equal(t, gitCmd(t, upstream, "rev-parse", "HEAD"), push())
	for i := range 3 {
		rev := commit(t, upstream, fmt.Sprint(i))
		require.Equal(t, rev, push())
		if i == 1 {
			gitCmd(t, mirror, "-c", "core.hooksPath=/dev/null", "pack-refs", "--all")
		}
	}
	require.NoFileExists(t, pwned)

	// Several courses of one repository at once: git refuses to move a ref twice.
	for i := range 3 {
		rev := commit(t, upstream, fmt.Sprint("shared ", i))
		for _, b := range []string{"a", "b", "c", "d", "e", "f"} {
			gitCmd(t, upstream, "branch", "-f", b)
		}
		said := make(chan string, 4)
		for c := range cap(said) {
			go func() {
				code, got := f.post(t, "s3cret", fmt.Sprintf(`{"course":"demo%d","repository":"mirror.git","rev":"f"}`, c))
				said <- fmt.Sprint(code, got["version"], got["error"])
			}()
		}
		for range cap(said) {
			require.Equal(t, fmt.Sprint(200, rev, nil), <-said)
		}
	}
	require.Empty(t, f.server.queues)

	evil := "sh -c touch% " + pwned
	for _, bad := range []string{"ext::" + evil, "file://" + upstream, upstream, "-oProxyCommand=touch " + pwned, "http://127.0.0.1:1/x"} {
		gitCmd(t, mirror, "-c", "core.hooksPath=/dev/null", "config", "remote.origin.url", bad)
		code, got := f.post(t, "s3cret", `{"course":"demo","repository":"mirror.git","rev":"main"}`)
		require.Equal(t, 502, code, "%s: %v", bad, got)
	}
	require.NoFileExists(t, pwned)
}
