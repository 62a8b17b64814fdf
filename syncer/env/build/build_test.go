package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/blob"
	blobmem "github.com/prairielambda/prairielambda/internal/blob/mem"
	"github.com/prairielambda/prairielambda/internal/head"
	headmem "github.com/prairielambda/prairielambda/internal/head/mem"
	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/syncer"
	"github.com/prairielambda/prairielambda/test/machine"
)

// hand is a Maker that makes a root with a file for each package, when it is let.
type hand struct {
	dir   string
	let   chan struct{} // a build waits for one
	built atomic.Int32
	freed atomic.Int32
}

func (h *hand) Lock(_ context.Context, base, _ string, r *recipe.Recipe, out func(string)) (*recipe.Locked, error) {
	out("lock")
	l := &recipe.Locked{Recipe: *r}
	l.Debian = nil
	for _, p := range r.Debian {
		name, _, _ := strings.Cut(p, "=")
		l.Debian = append(l.Debian, name+"=1.0")
	}
	return l, nil
}

func (h *hand) Build(ctx context.Context, _ string, l *recipe.Locked, out func(string)) (*recipe.Delta, error) {
	select {
	case <-h.let:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	out("install")
	if l.Debian[0] == "broken=1.0" {
		return nil, errors.New("it does not build")
	}
	dir := filepath.Join(h.dir, fmt.Sprint(h.built.Add(1)))
	err := os.Mkdir(dir, 0o755)
	for _, p := range l.Debian {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, p), []byte(p), 0o644))
	}
	f, err2 := os.Open(dir)
	return &recipe.Delta{Dir: f, Owner: uint32(os.Getuid()), Free: func() error { h.freed.Add(1); return nil }}, errors.Join(err, err2)
}

func newService(t *testing.T) (*Service, *hand, head.Store) {
	t.Helper()
	if os.Getuid() != os.Getgid() {
		machine.Skip(t, "files here have an owner and a group that differ")
	}
	h, heads := &hand{dir: t.TempDir(), let: make(chan struct{}, 100)}, headmem.New()
	s, err := New(Config{
		Syncer: syncer.New(syncer.Config{Blobs: blob.Verified(blobmem.New()), Heads: heads}), Maker: h,
		Dir: filepath.Join(t.TempDir(), "bases"), Waiting: 5, PerOwner: 3,
	})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s, h, heads
}

func debian(packages ...string) *recipe.Recipe { return &recipe.Recipe{Debian: packages} }

// end reads a build to its end.
func end(t *testing.T, s *Service, owner, id string) (lines []string, last Chunk) {
	t.Helper()
	for !last.Completed {
		var err error
		last, err = s.Read(t.Context(), owner, id, len(lines), time.Minute)
		require.NoError(t, err)
		for _, f := range last.Frames {
			lines = append(lines, f.Data)
		}
	}
	return lines, last
}

func TestWhatIsAskedForAtOnceIsBuiltOnce(t *testing.T) {
	s, h, heads := newService(t)
	first, err := s.Ask(t.Context(), "ada", debian("a"))
	require.NoError(t, err)
	for _, owner := range []string{"ada", "bob"} {
		again, err := s.Ask(t.Context(), owner, debian("a"))
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	_, err = s.Read(t.Context(), "eve", first.ID, 0, 0)
	require.ErrorIs(t, err, ErrMissing)
	h.let <- struct{}{}
	lines, last := end(t, s, "bob", first.ID)
	require.Equal(t, []string{"lock", "install", "store it"}, lines)
	require.Equal(t, "ok", last.Outcome, last.Message)
	ready, err := s.Ask(t.Context(), "eve", debian("a"))
	require.NoError(t, err)
	require.Empty(t, ready.ID)
	require.True(t, strings.HasPrefix(ready.Environment, debian("a").Name()+"@"))

	// Written otherwise, it is locked to the same and found.
	rep, err := s.Build(t.Context(), "mine", debian("a=0.5"), func(string) {})
	require.NoError(t, err)
	require.True(t, rep.Reused)
	require.Equal(t, strings.Split(ready.Environment, "@")[1], strings.Split(rep.Environment, "@")[1])
	require.EqualValues(t, 1, h.built.Load())
	require.EqualValues(t, 1, h.freed.Load())
	_, _, err = heads.Get(t.Context(), head.EnvCourse("mine"))
	require.NoError(t, err)
}

// late answers a question for a head when it is let.
type late struct {
	head.Store
	asked, let chan struct{}
}

func (l *late) Get(ctx context.Context, course string) (head.Head, head.Token, error) {
	h, token, err := l.Store.Get(ctx, course)
	if ctx.Value(l) != nil {
		l.asked <- struct{}{}
		<-l.let
	}
	return h, token, err
}

// TestABuildThatEndsWhileTheStoreIsAskedIsFound, and is not begun again.
func TestABuildThatEndsWhileTheStoreIsAskedIsFound(t *testing.T) {
	s, h, heads := newService(t)
	l := &late{heads, make(chan struct{}), make(chan struct{})}
	s.cfg.Syncer = syncer.New(syncer.Config{Blobs: blob.Verified(blobmem.New()), Heads: l})
	first, err := s.Ask(t.Context(), "ada", debian("a"))
	require.NoError(t, err)
	type said struct {
		Answer
		err error
	}
	second := make(chan said)
	go func() {
		a, err := s.Ask(context.WithValue(t.Context(), l, true), "bob", debian("a"))
		second <- said{a, err}
	}()
	<-l.asked
	h.let <- struct{}{}
	_, last := end(t, s, "ada", first.ID)
	require.Equal(t, "ok", last.Outcome, last.Message)
	l.let <- struct{}{} // "there is none", which was true
	select {
	case <-l.asked:
		l.let <- struct{}{}
	case a := <-second:
		t.Fatalf("it was not asked again: %v", a)
	}
	a := <-second
	require.NoError(t, a.err)
	require.Empty(t, a.ID)
	require.NotEmpty(t, a.Environment)
}

func TestBuildsAreBoundedAndFailuresAreTold(t *testing.T) {
	s, h, _ := newService(t)
	var ids []string
	for _, p := range []string{"broken", "b", "c"} {
		a, err := s.Ask(t.Context(), "ada", debian(p))
		require.NoError(t, err)
		ids = append(ids, a.ID)
	}
	_, err := s.Ask(t.Context(), "ada", debian("d"))
	require.ErrorIs(t, err, ErrFull, "of one owner")
	for i := range 3 {
		_, err := s.Ask(t.Context(), "bob", debian(fmt.Sprintf("e%d", i)))
		require.NoError(t, err)
	}
	_, err = s.Ask(t.Context(), "eve", debian("f"))
	require.ErrorIs(t, err, ErrFull, "in all")
	for range 6 {
		h.let <- struct{}{}
	}
	_, last := end(t, s, "ada", ids[0])
	require.Equal(t, Chunk{Frames: last.Frames, Completed: true, Status: 1, Outcome: "build_failed", Message: "it does not build"}, last)
	_, last = end(t, s, "ada", ids[1])
	require.Equal(t, "ok", last.Outcome)

	// One that failed can be asked for again; one under way ends with the service.
	a, err := s.Ask(t.Context(), "ada", debian("broken"))
	require.NoError(t, err)
	require.NotEqual(t, ids[0], a.ID)
	s.Close()
	_, err = s.Ask(t.Context(), "ada", debian("late"))
	require.ErrorIs(t, err, ErrFull)
}

func TestHTTP(t *testing.T) {
	s, h, _ := newService(t)
	srv := httptest.NewServer(s.Handler(func(secret string) bool { return secret == "s3cret" }))
	defer srv.Close()
	do := func(method, path, secret, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		var v any
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	for _, tc := range []struct {
		secret, body string
		status       int
	}{
		{"wrong", `{"owner":"a","recipe":{"debian":["aa"]}}`, 403},
		{"", `{}`, 403},
		{"s3cret", `{"owner":"a","recipe":{"debian":["-o"]}}`, 400},
		{"s3cret", `{"owner":"a","recipe":{}}`, 400},
		{"s3cret", `{"owner":"a"}`, 400},
		{"s3cret", `{"owner":"a","recipe":{"debian":["aa"]},"name":"x"}`, 400},
		{"s3cret", `x`, 400},
	} {
		status, body := do("POST", "/v1/environments", tc.secret, tc.body)
		require.Equal(t, tc.status, status, "%s: %s", tc.body, body)
	}
	status, body := do("POST", "/v1/environments", "s3cret", `{"owner":"a","recipe":{"debian":["aa"]}}`)
	require.Equal(t, 202, status, body)
	var a Answer
	require.NoError(t, json.Unmarshal([]byte(body), &a))
	h.let <- struct{}{}
	_, last := end(t, s, "a", a.ID)
	require.Equal(t, "ok", last.Outcome, last.Message)
	status, body = do("GET", "/v1/environments/"+a.ID+"?owner=a&from=1&wait=1", "s3cret", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"frames":[{"data":"install","type":"console"}`)
	for _, path := range []string{a.ID + "?owner=b&from=0", "nothing?owner=a&from=0"} {
		status, _ = do("GET", "/v1/environments/"+path, "s3cret", "")
		require.Equal(t, 404, status)
	}
	status, body = do("POST", "/v1/environments", "s3cret", `{"owner":"b","recipe":{"debian":["aa"]}}`)
	require.Equal(t, 200, status)
	require.Contains(t, body, `"environment":"recipe-`)
}

// TestWhatKilledBuildersLeftIsSwept: and what those who live work on is not.
func TestWhatKilledBuildersLeftIsSwept(t *testing.T) {
	s, _, _ := newService(t)
	left := func(digit string) string {
		d := filepath.Join(s.cfg.Dir, "."+strings.Repeat(digit, 64)+"-123")
		require.NoError(t, os.MkdirAll(filepath.Join(d, "root", "etc"), 0o755))
		return d
	}
	dead, live, base := left("a"), left("b"), filepath.Join(s.cfg.Dir, strings.Repeat("c", 64))
	require.NoError(t, os.Mkdir(base, 0o755))
	f, err := os.Open(live)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	again, err := New(s.cfg)
	require.NoError(t, err)
	defer again.Close()
	require.NoDirExists(t, dead)
	require.DirExists(t, live)
	require.DirExists(t, base)
}
