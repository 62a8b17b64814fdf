package rendercache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/prairielambda/prairielambda/jobs"
)

func page(html string) *jobs.Result {
	return &jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html}}}
}

func fill(html string) func(context.Context) (*jobs.Result, error) {
	return func(context.Context) (*jobs.Result, error) { return page(html), nil }
}

func open(t testing.TB, cfg Config) *Cache {
	t.Helper()
	c, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func look(t testing.TB, c *Cache, k Key, html string) (string, string) {
	t.Helper()
	res, how, err := c.Do(context.Background(), k, fill(html))
	require.NoError(t, err)
	return *res.Calls[0].HTML, how
}

// base is an input and the chunks it was made of.
func base() (Input, map[string]string) {
	html := "<my-el>"
	chunks := map[string]string{
		"elements": "1", "serverFilesCourse": "2", "course": "3", "question/a": "4", "question/b": "5",
		"clientFilesCourseInstance/Fa24": "6", "clientFilesAssessment/Fa24/hw1": "7", "clientFilesAssessment/Fa24/hw2": "8",
	}
	return Input{
		Runtime: "r", Question: "a", CourseInstance: "Fa24", Assessment: "hw1",
		Call:   jobs.Call{Type: jobs.Question, Name: "a", Method: "render", HTML: &html},
		Data:   json.RawMessage(`{"variant_seed":1,"params":{"a":1,"b":[1,2]}}`),
		Limits: jobs.Limits{Memory: 1},
	}, chunks
}

func key(t require.TestingT, in Input, chunks map[string]string) Key {
	in.Version = NewVersion(&jobs.VersionInfo{Course: "c", Version: "v", Chunks: chunks})
	k, ok := in.Key()
	require.True(t, ok)
	return k
}

func TestEveryChangeMisses(t *testing.T) {
	in, chunks := base()
	k := key(t, in, chunks)
	html := "<my-el/>"
	for name, change := range map[string]func(*Input, map[string]string){
		"runtime":    func(in *Input, _ map[string]string) { in.Runtime = "s" },
		"method":     func(in *Input, _ map[string]string) { in.Call.Method = "file" },
		"type":       func(in *Input, _ map[string]string) { in.Call.Type = jobs.Phase },
		"name":       func(in *Input, _ map[string]string) { in.Call.Name = "b" },
		"html":       func(in *Input, _ map[string]string) { in.Call.HTML = &html },
		"no html":    func(in *Input, _ map[string]string) { in.Call.HTML = nil },
		"question":   func(in *Input, _ map[string]string) { in.Question = "b" },
		"instance":   func(in *Input, _ map[string]string) { in.CourseInstance = "Sp25" },
		"assessment": func(in *Input, _ map[string]string) { in.Assessment = "hw2" },
		"value": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":1,"params":{"a":2,"b":[1,2]}}`)
		},
		"float for int": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":1,"params":{"a":1.0,"b":[1,2]}}`)
		},
		"order of keys": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":1,"params":{"b":[1,2],"a":1}}`)
		},
		"seed": func(in *Input, _ map[string]string) {
			in.Data = json.RawMessage(`{"variant_seed":2,"params":{"a":1,"b":[1,2]}}`)
		},
		"wall":               func(in *Input, _ map[string]string) { in.Limits.Wall = 1 },
		"cpu":                func(in *Input, _ map[string]string) { in.Limits.CPU = 1 },
		"memory":             func(in *Input, _ map[string]string) { in.Limits.Memory = 2 },
		"processes":          func(in *Input, _ map[string]string) { in.Limits.Processes = 1 },
		"output":             func(in *Input, _ map[string]string) { in.Limits.Output = 1 },
		"result":             func(in *Input, _ map[string]string) { in.Limits.Result = 1 },
		"files":              func(in *Input, _ map[string]string) { in.Limits.Files = 1 },
		"elements":           func(_ *Input, c map[string]string) { c["elements"] = "x" },
		"own question":       func(_ *Input, c map[string]string) { c["question/a"] = "x" },
		"rest of the course": func(_ *Input, c map[string]string) { c["course"] = "x" },
		"own instance":       func(_ *Input, c map[string]string) { c["clientFilesCourseInstance/Fa24"] = "x" },
		"own assessment":     func(_ *Input, c map[string]string) { c["clientFilesAssessment/Fa24/hw1"] = "x" },
		"new chunk":          func(_ *Input, c map[string]string) { c["elementExtensions"] = "x" },
		"lost chunk":         func(_ *Input, c map[string]string) { delete(c, "serverFilesCourse") },
	} {
		in, chunks := base()
		change(&in, chunks)
		require.NotEqual(t, k, key(t, in, chunks), name)
	}
	other, _ := base()
	other.Version = NewVersion(&jobs.VersionInfo{Course: "d", Chunks: chunks})
	ok2, _ := other.Key()
	require.NotEqual(t, k, ok2, "two courses never share an entry, even with equal content")
}

func TestWhatTheCallCannotSeeChangesNothing(t *testing.T) {
	in, chunks := base()
	k := key(t, in, chunks)
	for _, other := range []string{"question/b", "question/c", "clientFilesAssessment/Fa24/hw2", "clientFilesCourseInstance/Sp25"} {
		c := maps.Clone(chunks)
		c[other] = "changed"
		require.Equal(t, k, key(t, in, c), other)
	}
	in.Data = json.RawMessage("{ \"variant_seed\" : 1,\n\t\"params\":{\"a\":1,\"b\":[ 1,2 ]}}")
	require.Equal(t, k, key(t, in, chunks), "white space")
}

func TestOnlyPureSeededCallsHaveAKey(t *testing.T) {
	for data, want := range map[string]bool{`{"variant_seed":1}`: true, `{"VARIANT_SEED":1}`: false, `{"variant_seed":null}`: false, `{"a":{"variant_seed":1}}`: false} {
		in, chunks := base()
		in.Version, in.Data = NewVersion(&jobs.VersionInfo{Chunks: chunks}), json.RawMessage(data)
		_, ok := in.Key()
		require.Equal(t, want, ok, data)
	}
	in, chunks := base()
	in.Version = NewVersion(&jobs.VersionInfo{Course: "c", Chunks: chunks})
	for name, change := range map[string]func(*Input){
		"generate":  func(in *Input) { in.Call.Method = "generate" },
		"grade":     func(in *Input) { in.Call.Method = "grade" },
		"no seed":   func(in *Input) { in.Data = json.RawMessage(`{"params":{}}`) },
		"null seed": func(in *Input) { in.Data = json.RawMessage(`{"variant_seed":null}`) },
		"not JSON":  func(in *Input) { in.Data = json.RawMessage(`{"variant_seed":1`) },
		"runtime":   func(in *Input) { in.Runtime = "" },
	} {
		in := in
		change(&in)
		_, ok := in.Key()
		require.False(t, ok, name)
	}
}

// Fields that run into each other would make different inputs equal.
func TestKeysOfDifferentInputsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ab/\x00]{0,3}`)
		draw := func(label string) (Input, string) {
			in, chunks := base()
			in.Question, in.CourseInstance, in.Assessment = word.Draw(t, label+"q"), word.Draw(t, label+"i"), word.Draw(t, label+"a")
			in.Call.Name, in.Runtime = word.Draw(t, label+"n"), "r"+word.Draw(t, label+"r")
			html := word.Draw(t, label+"h")
			in.Call.HTML = &html
			in.Version = NewVersion(&jobs.VersionInfo{Course: "c", Chunks: chunks})
			return in, fmt.Sprintf("%q", []string{in.Question, in.CourseInstance, in.Assessment, in.Call.Name, in.Runtime, html})
		}
		a, sa := draw("a")
		b, sb := draw("b")
		ka, _ := a.Key()
		kb, _ := b.Key()
		require.Equal(t, sa == sb, ka == kb, "%s %s", sa, sb)
	})
}

func TestOnlyGoodSilentResultsAreKept(t *testing.T) {
	html := "x"
	for name, tc := range map[string]struct {
		res  *jobs.Result
		err  error
		runs int
	}{
		"ok":       {page("x"), nil, 1},
		"printed":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html, Output: "hi"}}}, nil, 2},
		"opt out":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.OK, HTML: &html, NoStore: true}}}, nil, 2},
		"raised":   {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.QuestionError}}}, nil, 2},
		"timeout":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.Timeout}}}, nil, 2},
		"missing":  {&jobs.Result{Calls: []jobs.CallResult{{Outcome: jobs.Missing}}}, nil, 2},
		"our own":  {nil, errors.New("worker died"), 2},
		"no calls": {&jobs.Result{}, nil, 2},
	} {
		c := open(t, Config{Dir: t.TempDir()})
		runs := 0
		for range 2 {
			res, _, err := c.Do(context.Background(), Key{1}, func(context.Context) (*jobs.Result, error) { runs++; return tc.res, tc.err })
			require.Equal(t, tc.err, err)
			if tc.res != nil {
				require.Equal(t, tc.res.Calls, res.Calls)
			}
		}
		require.Equal(t, tc.runs, runs, name)
	}
}

func TestTenThousandEqualCallsRunOnce(t *testing.T) {
	c := open(t, Config{})
	var runs atomic.Int64
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for range 10_000 {
		wg.Go(func() {
			res, _, err := c.Do(context.Background(), Key{1}, func(context.Context) (*jobs.Result, error) {
				runs.Add(1)
				<-gate
				return page("x"), nil
			})
			if err != nil || *res.Calls[0].HTML != "x" {
				panic("wrong result")
			}
		})
	}
	close(gate)
	wg.Wait()
	require.EqualValues(t, 1, runs.Load())
}

func TestACallerThatLeavesDoesNotTakeTheOthersWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Config{})
		var cancelled atomic.Bool
		slow := func(ctx context.Context) (*jobs.Result, error) {
			select {
			case <-time.After(time.Second):
				return page("x"), nil
			case <-ctx.Done():
				cancelled.Store(true)
				return nil, ctx.Err()
			}
		}
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _, err := c.Do(first, Key{1}, slow); require.ErrorIs(t, err, context.Canceled) })
		synctest.Wait()
		wg.Go(func() {
			res, how, err := c.Do(t.Context(), Key{1}, slow)
			require.NoError(t, err)
			require.Equal(t, "shared", how)
			require.Equal(t, "x", *res.Calls[0].HTML)
		})
		synctest.Wait()
		leave()
		wg.Wait()
		require.False(t, cancelled.Load())

		alone, leave := context.WithCancel(t.Context())
		wg.Go(func() { c.Do(alone, Key{2}, slow) })
		synctest.Wait()
		leave()
		wg.Wait()
		synctest.Wait()
		require.True(t, cancelled.Load(), "with the last caller the work ends")
	})
}

func TestBudgetAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Config{Bytes: 10 << 10, TTL: time.Minute})
		body := strings.Repeat("x", 1000)
		for i := range 100 {
			look(t, c, Key{byte(i)}, body)
			require.LessOrEqual(t, c.bytes, int64(10<<10))
		}
		_, how := look(t, c, Key{99}, body)
		require.Equal(t, "hit", how)
		_, how = look(t, c, Key{0}, body)
		require.Equal(t, "miss", how)
		time.Sleep(2 * time.Minute)
		_, how = look(t, c, Key{99}, body)
		require.Equal(t, "miss", how)
		look(t, c, Key{200}, strings.Repeat("y", 9<<10))
		_, how = look(t, c, Key{99}, body)
		require.Equal(t, "hit", how, "one giant page does not empty the cache")
	})
}

func TestPurgeForgetsAlsoWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Config{Dir: t.TempDir()})
		look(t, c, Key{1}, "old")
		var wg sync.WaitGroup
		wg.Go(func() {
			res, _, err := c.Do(t.Context(), Key{2}, func(context.Context) (*jobs.Result, error) {
				time.Sleep(time.Second)
				return page("old"), nil
			})
			require.NoError(t, err)
			require.Equal(t, "old", *res.Calls[0].HTML)
		})
		synctest.Wait()
		require.NoError(t, c.Purge())
		wg.Wait()
		for i := range 2 {
			got, how := look(t, c, Key{byte(i + 1)}, "new")
			require.Equal(t, []string{"new", "miss"}, []string{got, how})
		}
		require.NotZero(t, c.bytes)
	})
}

// A page that is read from the disk just before it is emptied must not stay in memory.
func TestPurgeEmptiesTheDiskBeforeTheMemory(t *testing.T) {
	c := open(t, Config{Dir: t.TempDir()})
	look(t, c, Key{1}, "old")
	c.disk.mu.Lock()
	purged := make(chan error, 1)
	go func() { purged <- c.Purge() }()
	time.Sleep(20 * time.Millisecond) // for a purge that would not wait for the disk
	c.mu.Lock()
	require.Len(t, c.entries, 1, "the disk is still full")
	c.mu.Unlock()
	c.disk.mu.Unlock()
	require.NoError(t, <-purged)
	_, how := look(t, c, Key{1}, "new")
	require.Equal(t, "miss", how)
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	look(t, c, Key{1}, "one")
	look(t, c, Key{2}, "two")
	c.Close()
	for _, k := range []Key{{1}, {2}} {
		st, err := os.Stat(filepath.Join(dir, k.String()))
		require.NoError(t, err)
		require.EqualValues(t, 0o600, st.Mode().Perm())
	}

	again := open(t, Config{Dir: dir})
	got, how := look(t, again, Key{1}, "other")
	require.Equal(t, []string{"one", "disk"}, []string{got, how})
	_, how = look(t, again, Key{1}, "other")
	require.Equal(t, "hit", how)

	whole, err := os.ReadFile(filepath.Join(dir, Key{2}.String()))
	require.NoError(t, err)
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x20
		require.NoError(t, os.WriteFile(filepath.Join(dir, Key{2}.String()), bad, 0o600))
		d, err := openDisk(dir, 1<<20, time.Hour)
		require.NoError(t, err)
		require.Nil(t, d.get(Key{2}, time.Now()), "byte %d", i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, Key{3}.String()), whole, 0o600))
	d, err := openDisk(dir, 1<<20, time.Hour)
	require.NoError(t, err)
	require.Nil(t, d.get(Key{3}, time.Now()), "a result under another name")
	require.NotNil(t, d.get(Key{1}, time.Now()))
	require.Nil(t, d.get(Key{1}, time.Now().Add(2*time.Hour)), "too old")

	small := open(t, Config{Dir: t.TempDir(), DirBytes: 2000})
	for i := range 50 {
		look(t, small, Key{byte(i)}, "x")
	}
	small.Close()
	list, err := os.ReadDir(small.cfg.Dir)
	require.NoError(t, err)
	require.Less(t, len(list), 20)
	require.NoError(t, small.Purge())
	list, err = os.ReadDir(small.cfg.Dir)
	require.NoError(t, err)
	require.Empty(t, list)
}

// What lies in the directory is read again by another process: whole and honest
// by its checksum, or a miss.
func FuzzKeptOnDisk(f *testing.F) {
	f.Add([]byte(`{"version":"v","calls":[{"outcome":"ok","html":"x","wall":1}]}`), true)
	f.Add([]byte(`{"calls":[{"outcome":"timeout"}]}`), true)
	f.Add([]byte(`{"calls":null}`), true)
	f.Add([]byte(`x`), false)
	f.Fuzz(func(t *testing.T, content []byte, honest bool) {
		dir := t.TempDir()
		k := Key{1}
		sum := checksum(k, content)
		if !honest {
			sum[0] ^= 1
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, k.String()), append(sum[:], content...), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, k.String()+"00"), content, 0o600), "a name that is too long is not ours")
		res, how, err := open(t, Config{Dir: dir}).Do(context.Background(), k, fill("fresh"))
		require.NoError(t, err)
		require.Len(t, res.Calls, 1)
		require.Equal(t, jobs.OK, res.Calls[0].Outcome)
		if !honest {
			require.Equal(t, "miss", how)
		}
	})
}
