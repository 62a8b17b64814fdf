package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

// script is a run that does what the test says.
type script func(ctx context.Context, p *jobs.Program, w Watcher) (*jobs.ProgramResult, error)

func open(t *testing.T, dir string, run script, change func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: dir, Run: run}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// follow reads a run to its end in steps and returns its frames as "type[ref]: text".
func follow(t *testing.T, s *Store, id string) (said []string, last *jobs.RunChunk) {
	t.Helper()
	for from := 0; ; {
		c, err := s.Read(context.Background(), id, "me", from, 10*time.Second)
		require.NoError(t, err)
		for _, f := range c.Frames {
			said = append(said, show(f))
		}
		if from += len(c.Frames); c.Completed {
			return said, c
		}
	}
}

func show(f jobs.RunFrame) string {
	var text string
	if json.Unmarshal(f.Data, &text) != nil {
		text = string(f.Data)
	}
	if f.Ref != "" {
		f.Type += "[" + f.Ref + "]"
	}
	return f.Type + ": " + text
}

func request(p jobs.Program) *jobs.RunRequest { return &jobs.RunRequest{Owner: "me", Program: p} }

// hello builds, then prints in pieces that are no lines.
func hello(_ context.Context, _ *jobs.Program, w Watcher) (*jobs.ProgramResult, error) {
	w.Begin("build", "", []string{"/usr/bin/gprbuild", "-P", "a b.gpr"})
	w.Output(true, []byte("warning: x\n"))
	w.Begin("run", "", []string{"/work/.program"})
	w.Output(false, []byte("one\ntw"))
	w.Output(true, []byte("err"))
	w.Output(false, []byte("o\n\nend \xff"))
	return &jobs.ProgramResult{Outcome: jobs.OK, ExitCode: 3}, nil
}

var helloSaid = []string{
	"console: gprbuild -P 'a b.gpr'", "console: warning: x", "stdout: one", "stdout: two", "stdout: ", "stdout: end \uFFFD", "stderr: err",
}

func TestARunIsReadFromAnyPositionAndByItsOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs")
	s := open(t, dir, hello, nil)
	id, err := s.Create(request(jobs.Program{}))
	require.NoError(t, err)
	said, last := follow(t, s, id)
	require.Equal(t, helloSaid, said)
	require.Equal(t, 3, last.Status)
	require.Equal(t, jobs.OK, last.Outcome)
	check := func(s *Store) {
		for range 200 { // in any order: what was read before must not matter
			from := rand.IntN(len(helloSaid) + 3)
			c, err := s.Read(context.Background(), id, "me", from, time.Minute)
			require.NoError(t, err)
			require.True(t, c.Completed)
			require.Len(t, c.Frames, max(len(helloSaid)-from, 0))
			for i, f := range c.Frames {
				require.Equal(t, helloSaid[from+i], show(f))
			}
		}
		for _, owner := range []string{"", "you", "me "} {
			_, err := s.Read(context.Background(), id, owner, 0, 0)
			require.ErrorIs(t, err, ErrMissing)
		}
		_, err := s.Read(context.Background(), strings.ToLower(id), "me", 0, 0)
		require.ErrorIs(t, err, ErrMissing)
	}
	check(s)
	name := s.Name()
	require.NoError(t, s.Close())
	s = open(t, dir, hello, nil)
	require.Equal(t, name, s.Name())
	check(s)
	require.NoError(t, filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		require.Zero(t, st.Mode().Perm()&0o077, p)
		return err
	}))
}

func TestLinesAreThereBeforeTheEnd(t *testing.T) {
	wait := make(chan struct{})
	s := open(t, t.TempDir(), func(_ context.Context, _ *jobs.Program, w Watcher) (*jobs.ProgramResult, error) {
		w.Begin("build", "", []string{"cc"})
		<-wait
		return &jobs.ProgramResult{Outcome: jobs.OK}, nil
	}, nil)
	id, err := s.Create(request(jobs.Program{}))
	require.NoError(t, err)
	c, err := s.Read(context.Background(), id, "me", 0, 10*time.Second)
	require.NoError(t, err)
	require.Len(t, c.Frames, 1)
	require.False(t, c.Completed)
	c, err = s.Read(context.Background(), id, "me", 1, time.Millisecond)
	require.NoError(t, err)
	require.Empty(t, c.Frames)
	require.NoError(t, s.Forget(), "a run that goes on is not forgotten")
	close(wait)
	said, _ := follow(t, s, id)
	require.Equal(t, []string{"console: cc"}, said)
	require.NoError(t, s.Forget())
	_, err = s.Read(context.Background(), id, "me", 0, 0)
	require.ErrorIs(t, err, ErrMissing)
}

func TestLabs(t *testing.T) {
	cases := []jobs.ProgramCase{{Name: "0", Stdin: "1", Expect: "2"}, {Name: "1", Stdin: "x", Expect: "y"}, {Name: "2"}}
	s := open(t, t.TempDir(), func(_ context.Context, p *jobs.Program, w Watcher) (*jobs.ProgramResult, error) {
		w.Begin("build", "", []string{"cc"})
		res := &jobs.ProgramResult{Outcome: jobs.OK}
		for i, c := range p.Cases {
			w.Begin("run", c.Name, nil)
			w.Output(false, []byte("2\n"))
			res.Cases = append(res.Cases, jobs.CaseResult{Name: c.Name, Outcome: jobs.OK, ExitCode: i / 2, Stdout: " 2 \n"})
		}
		return res, nil
	}, nil)
	id, err := s.Create(request(jobs.Program{Mode: "submit", Cases: cases}))
	require.NoError(t, err)
	said, last := follow(t, s, id)
	require.Equal(t, []string{"console: cc", "stdout[0]: 2", "stdout[1]: 2", "stdout[2]: 2"}, said[:4])
	require.Equal(t, 1, last.Status)
	require.JSONEq(t, `{"success":false,"cases":{
		"0":{"status":"Success","in":"1","out":"2","actual":" 2 \n"},
		"1":{"status":"Failed","in":"x","out":"y","actual":" 2 \n"},
		"2":{"status":"Error","in":"","out":"","actual":" 2 \n"}}}`, strings.TrimPrefix(said[4], "lab: "))
	require.Len(t, said, 5)
}

func TestOutputIsBoundedAndSaidSoOnce(t *testing.T) {
	s := open(t, t.TempDir(), func(_ context.Context, _ *jobs.Program, w Watcher) (*jobs.ProgramResult, error) {
		w.Begin("run", "", nil)
		w.Output(false, []byte(strings.Repeat("é", maxLine))) // twice as many bytes as one frame holds
		for i := range 5000 {
			w.Output(i%2 == 0, fmt.Appendf(nil, "line %d\n", i))
		}
		return &jobs.ProgramResult{Outcome: jobs.OK}, nil
	}, func(c *Config) { c.Bytes = 200 << 10 })
	id, err := s.Create(request(jobs.Program{}))
	require.NoError(t, err)
	said, last := follow(t, s, id)
	require.True(t, last.Dropped)
	require.Equal(t, "console: what follows was thrown away: no more output is kept", said[len(said)-1])
	require.Equal(t, 1, strings.Count(strings.Join(said, "\n"), "thrown away"))
	require.NotContains(t, strings.Join(said, ""), "\uFFFD", "a character is never cut in two")
	require.Less(t, s.spools[id].size, int64(210<<10))
}

func TestWhatWentWrongIsSaid(t *testing.T) {
	for _, tc := range []struct {
		name, said, message string
		res                 *jobs.ProgramResult
		err                 error
	}{
		{"not runnable", "console: no gnatprove here", "no gnatprove here", nil, &jobs.Error{Code: "runtime_missing", Message: "no gnatprove here"}},
		{"our fault", "internal_error: the worker failed to run the program; start it again", "the worker failed to run the program; start it again", nil, errors.New("disk on fire at /secret")},
		{"timeout", "", "the program took longer than it may", &jobs.ProgramResult{Outcome: jobs.Timeout, ExitCode: -1}, nil},
	} {
		s := open(t, t.TempDir(), func(context.Context, *jobs.Program, Watcher) (*jobs.ProgramResult, error) { return tc.res, tc.err }, nil)
		id, err := s.Create(request(jobs.Program{}))
		require.NoError(t, err)
		said, last := follow(t, s, id)
		require.Equal(t, tc.said, strings.Join(said, "\n"), tc.name)
		require.Equal(t, tc.message, last.Message, tc.name)
		require.Equal(t, -1, last.Status, tc.name)
	}
}

func TestACrashCompletesWhatItCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, hello, nil)
	whole, err := s.Create(request(jobs.Program{}))
	require.NoError(t, err)
	follow(t, s, whole)
	require.NoError(t, s.Close())
	// What kill -9 leaves: a run without an end, its last frame torn; one that had only begun; a stray directory.
	torn, empty := "torn0000000000000000", "empty000000000000000"
	meta, err := os.ReadFile(filepath.Join(dir, whole, "run"))
	require.NoError(t, err)
	for _, id := range []string{torn, empty, "stray000000000000000"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, id), 0o700))
		if id[0] != 's' {
			require.NoError(t, os.WriteFile(filepath.Join(dir, id, "run"), meta, 0o600))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, torn, "frames"), []byte(`{"type":"stdout","data":"a"}`+"\n"+`{"type":"std`), 0o600))
	s = open(t, dir, hello, nil)
	cut := "internal_error: the worker stopped before the program had ended; start it again"
	for range 2 { // and a second start finds the same
		said, last := follow(t, s, torn)
		require.Equal(t, []string{"stdout: a", cut}, said)
		require.Equal(t, jobs.Killed, last.Outcome)
		said, _ = follow(t, s, empty)
		require.Equal(t, []string{cut}, said)
		said, _ = follow(t, s, whole)
		require.Equal(t, helloSaid, said)
		require.NoDirExists(t, filepath.Join(dir, "stray000000000000000"))
		require.NoError(t, s.Close())
		s = open(t, dir, hello, nil)
	}
}

func TestClosingEndsRunsAndTellsTheirReaders(t *testing.T) {
	dir := t.TempDir()
	forever := func(ctx context.Context, _ *jobs.Program, _ Watcher) (*jobs.ProgramResult, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	s := open(t, dir, forever, func(c *Config) { c.Running, c.Active = 1, 2 })
	_, err := Open(Config{Dir: dir, Run: hello})
	require.ErrorContains(t, err, "another worker")
	var ids []string
	for range 2 {
		id, err := s.Create(request(jobs.Program{}))
		require.NoError(t, err)
		ids = append(ids, id)
	}
	_, err = s.Create(request(jobs.Program{}))
	require.ErrorIs(t, err, ErrFull)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Drain(ctx), context.DeadlineExceeded)
	_, err = s.Create(request(jobs.Program{}))
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, s.Close())
	s = open(t, dir, hello, nil)
	for _, id := range ids {
		said, _ := follow(t, s, id)
		require.Equal(t, []string{"internal_error: the worker stopped before the program had ended; start it again"}, said)
	}
}

func TestARunIsKeptForItsTimeAndHasATimeOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, func(ctx context.Context, _ *jobs.Program, _ Watcher) (*jobs.ProgramResult, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, func(c *Config) { c.Longest = 10 * time.Millisecond })
	id, err := s.Create(request(jobs.Program{}))
	require.NoError(t, err)
	_, last := follow(t, s, id)
	require.Equal(t, jobs.Timeout, last.Outcome)
	require.NoError(t, s.Close())
	s = open(t, dir, hello, func(c *Config) { c.Keep = 50 * time.Millisecond })
	require.Eventually(t, func() bool {
		_, err := s.Read(context.Background(), id, "me", 0, 0)
		_, gone := os.Stat(filepath.Join(s.cfg.Dir, id)) // a moment after nobody finds it
		return errors.Is(err, ErrMissing) && errors.Is(gone, os.ErrNotExist)
	}, 10*time.Second, 10*time.Millisecond)
}

// What lies on disk is read again by another process; nothing in it can do more
// than be refused.
func FuzzSpool(f *testing.F) {
	f.Add([]byte(`{"owner":"me","begun":"2026-01-01T00:00:00Z"}`), []byte(`{"type":"stdout","data":"x"}`+"\n"), []byte(`{"frames":1}`))
	f.Add([]byte(`{}`), []byte("x\ny"), []byte(nil))
	f.Fuzz(func(t *testing.T, meta, frames, end []byte) {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"run": meta, "frames": frames, "end": end} {
			if b != nil {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
			}
		}
		s, err := readSpool(dir)
		if err != nil {
			return
		}
		for _, from := range []int{0, 1, 1 << 40} {
			if c, err := s.read(from); err == nil {
				require.True(t, c.Completed)
			}
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\n\xffc"), byte(3))
	f.Fuzz(func(t *testing.T, text []byte, cut byte) {
		s, err := newSpool(filepath.Join(t.TempDir(), "x"), "me")
		require.NoError(t, err)
		w := &writer{spool: s, room: 1 << 30}
		w.Begin("run", "", nil)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			w.Output(false, rest[:n])
			rest = rest[n:]
		}
		w.flush()
		require.NoError(t, s.finish(ending{}))
		c, err := s.read(0)
		require.NoError(t, err)
		var lines []string
		for _, f := range c.Frames {
			lines = append(lines, strings.TrimPrefix(show(f), "stdout: "))
		}
		want := strings.Split(string(text), "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		for i := range want {
			want[i] = strings.ToValidUTF8(want[i], "\uFFFD")
		}
		if len(text) < maxLine {
			require.Equal(t, strings.Join(want, "\n"), strings.Join(lines, "\n"))
		}
	})
}
