package scheduler_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

const ada = `{"name":"Hello","files":[{"basename":"main.adb","contents":"x"}],"mode":"run","main":"main.adb","switches":{},"lab":false}`

// teller offers Ada and says three lines.
func teller(t *testing.T, delay time.Duration) *fleettest.Worker {
	w := fleettest.New(t, nil)
	w.Set(func(s *fleettest.State) {
		s.Status.Name = "alloc-1"
		s.Status.Runtimes = []jobs.Runtime{{Name: "ada", Version: "12"}}
		s.Delay = delay
		s.Frames = func(p jobs.Program) (fs []jobs.RunFrame) {
			for i, kind := range []string{"console", "stdout", "stdout"} {
				fs = append(fs, jobs.RunFrame{Type: kind, Data: json.RawMessage(fmt.Sprintf(`"line %d of %s"`, i, p.Mode))})
			}
			return fs
		}
	})
	return w
}

func begin(t *testing.T, url string) string {
	t.Helper()
	r := post(t, url+"/run_program/", ada)
	require.Equal(t, http.StatusOK, r.status, r.body)
	var a struct{ Identifier, Message string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &a))
	require.NotEmpty(t, a.Message)
	return a.Identifier
}

func TestARunIsFollowedFromAnyGatewayInAnyShape(t *testing.T) {
	w := teller(t, 20*time.Millisecond)
	first, url := gateway(t, scheduler.Config{}, w)
	id := begin(t, url)
	first.Drain()
	_, other := gateway(t, scheduler.Config{}, w)

	var lines []string
	for read := 0; ; {
		r := post(t, other+"/check_output/", fmt.Sprintf(`{"identifier":%q,"read":%d,"wait":5}`, id, read))
		require.Equal(t, http.StatusOK, r.status, r.body)
		var a struct {
			Output []struct {
				Msg struct{ Type, Data string }
				Ref *string
			}
			Status    int
			Completed bool
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &a))
		for _, o := range a.Output {
			require.Nil(t, o.Ref)
			lines = append(lines, o.Msg.Type+": "+o.Msg.Data)
		}
		if read += len(a.Output); a.Completed {
			break
		}
	}
	require.Equal(t, []string{"console: line 0 of run", "stdout: line 1 of run", "stdout: line 2 of run"}, lines)
	r := post(t, other+"/check_output", fmt.Sprintf(`{"identifier":%q,"already_read":1}`, id))
	require.JSONEq(t, `{"output_lines":["line 1 of run","line 2 of run"],"status":0,"completed":true,"message":""}`, r.body)
	r = post(t, other+"/check_output", fmt.Sprintf(`{"identifier":%q,"read":99}`, id))
	require.JSONEq(t, `{"output":[],"status":0,"completed":true,"message":""}`, r.body, "past the end")
}

func TestASubmissionNamesItsEnvironment(t *testing.T) {
	w := teller(t, 0)
	w.Set(func(s *fleettest.State) {
		s.Frames = func(p jobs.Program) []jobs.RunFrame {
			return []jobs.RunFrame{{Type: "stdout", Data: json.RawMessage(fmt.Sprintf("%q", p.Environment))}}
		}
	})
	_, url := gateway(t, scheduler.Config{}, w)
	in := func(name string) reply {
		return post(t, url+"/run_program/", strings.Replace(ada, `"lab"`, `"environment":`+name+`,"lab"`, 1))
	}
	r := in(`"image@` + digest + `"`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	var a struct{ Identifier string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &a))
	r = post(t, url+"/check_output/", fmt.Sprintf(`{"identifier":%q,"read":0,"wait":5}`, a.Identifier))
	require.Contains(t, r.body, "image@"+digest)
	for _, bad := range []string{`"../etc"`, `"a/b"`, `"@"`, `{"pip":["--x"]}`, `7`} {
		require.Equal(t, http.StatusBadRequest, in(bad).status, bad)
	}
	require.Equal(t, http.StatusNotFound, in(`{"pip":["x"]}`).status, "nobody builds here")
}

func TestASubmissionWaitsForItsRecipe(t *testing.T) {
	const id = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	answer := `{"id":"` + id + `"}`
	b := builderOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answer = `{"environment":"recipe-1@` + digest + `"}`
			fmt.Fprint(w, `{"frames":[{"type":"console","data":"install"}],"completed":true,"status":0,"outcome":"ok"}`)
			return
		}
		fmt.Fprint(w, answer)
	})
	worker := teller(t, 0)
	worker.Set(func(s *fleettest.State) {
		s.Frames = func(p jobs.Program) []jobs.RunFrame {
			return []jobs.RunFrame{{Type: "stdout", Data: json.RawMessage(fmt.Sprintf("%q", p.Environment))}}
		}
	})
	_, url := gateway(t, scheduler.Config{Builder: b}, worker)
	body := strings.Replace(ada, `"lab"`, `"environment":{"pip":["shapes"]},"lab"`, 1)
	for _, want := range []struct {
		status int
		said   string
	}{{http.StatusAccepted, "install"}, {http.StatusOK, "recipe-1@" + digest}} {
		r := post(t, url+"/run_program/", body)
		require.Equal(t, want.status, r.status, r.body)
		var a struct{ Identifier string }
		require.NoError(t, json.Unmarshal([]byte(r.body), &a))
		require.Contains(t, post(t, url+"/check_output/", fmt.Sprintf(`{"identifier":%q,"read":0,"wait":5}`, a.Identifier)).body, want.said)
	}
}

func TestRunsThatCannotBeRead(t *testing.T) {
	_, url := gateway(t, scheduler.Config{}, teller(t, 0))
	id := begin(t, url)
	for poll, want := range map[string]int{
		`{"identifier":"` + id + `","read":-1}`:                       400,
		`{"identifier":"","read":0}`:                                  404,
		`{"identifier":"` + id[:len(id)-1] + `_","read":0}`:           404,
		`{"identifier":"000000000000` + id[12:] + `","read":0}`:       404,
		`{"identifier":"` + id + `/../../status","read":0}`:           404,
		`{"identifier":"` + id + `?owner=x&from=0","already_read":0}`: 404,
	} {
		r := post(t, url+"/check_output/", poll)
		require.Equal(t, want, r.status, poll)
		r.fault(t)
	}
	require.Equal(t, http.StatusBadRequest, post(t, url+"/run_program/", strings.Replace(ada, "main.adb", "../main.adb", 2)).status)
	require.Equal(t, http.StatusNotFound, post(t, url+"/run_program/", strings.Replace(ada, "main.adb", "main.cpp", 2)).status, "no worker offers C++")
}

// A gateway that has just begun does not know yet who its workers are.
func TestARunIsNotMissingBeforeItsWorkerHasSaidWhoItIs(t *testing.T) {
	w := teller(t, 0)
	_, first := gateway(t, scheduler.Config{}, w)
	id := begin(t, first)
	poll := fmt.Sprintf(`{"identifier":%q,"read":2}`, id)
	stranger := fmt.Sprintf(`{"identifier":%q,"read":0}`, "000000000000"+id[12:])
	w.Set(func(s *fleettest.State) { s.Hang = true })
	_, url := gateway(t, scheduler.Config{Workers: []string{w.URL}}, fleettest.New(t, nil))
	answers := make(chan reply, 2)
	go func() { answers <- post(t, url+"/check_output/", poll) }()
	held(t, url, 1)
	w.Set(func(s *fleettest.State) { s.Hang = false })
	r := <-answers
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Contains(t, r.body, "line 2 of run")
	require.Equal(t, http.StatusNotFound, post(t, url+"/check_output/", stranger).status)

	_, url = gateway(t, scheduler.Config{Workers: []string{"http://127.0.0.1:1"}, Patience: 50 * time.Millisecond}, w)
	require.Equal(t, http.StatusOK, post(t, url+"/check_output/", poll).status)
	require.Equal(t, http.StatusServiceUnavailable, post(t, url+"/check_output/", stranger).status, "nobody knows")
}

func TestFramesOverAWebSocket(t *testing.T) {
	w := teller(t, 5*time.Millisecond)
	_, url := gateway(t, scheduler.Config{Patience: 50 * time.Millisecond}, w)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, nil)
	require.NoError(t, err)
	defer c.CloseNow()

	for range 2 { // a socket may carry several runs
		require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(`{"action":"execute","data":`+ada+`}`)))
		var said []string
		for completed := 0; completed == 0; {
			_, b, err := c.Read(ctx)
			require.NoError(t, err)
			var f struct {
				Output    []struct{ Type, Data string }
				Completed bool
			}
			require.NoError(t, json.Unmarshal(b, &f))
			for _, o := range f.Output {
				said = append(said, o.Type+": "+o.Data)
			}
			if f.Completed {
				completed++
			}
		}
		require.Equal(t, []string{"console: line 0 of run", "stdout: line 1 of run", "stdout: line 2 of run"}, said)
	}

	for _, bad := range []string{`{`, `{"action":"dance"}`, `{"action":"execute","data":{"files":[]}}`} {
		require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(bad)))
		_, b, err := c.Read(ctx)
		require.NoError(t, err)
		var f map[string]string
		require.NoError(t, json.Unmarshal(b, &f))
		require.NotEmpty(t, f["message"])
		require.Len(t, f, 3)
	}

	var followed sync.Once
	w.Set(func(s *fleettest.State) {
		s.Delay = time.Hour
		s.Before = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/v1/runs/") {
				followed.Do(func() { go w.Crash() })
			}
			return false
		}
	})
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(`{"action":"execute","data":`+ada+`}`)))
	_, b, err := c.Read(ctx)
	require.NoError(t, err)
	require.Contains(t, string(b), `"internal_error"`)
	require.Contains(t, string(b), `"completed":true`)
}

func TestDownload(t *testing.T) {
	_, url := gateway(t, scheduler.Config{}, teller(t, 0))
	r := post(t, url+"/download/", strings.Replace(ada, `"Hello"`, `"Intro.. \"/Hello"`, 1))
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, `attachment; filename="Intro___Hello.zip"`, r.header.Get("Content-Disposition"))
	z, err := zip.NewReader(bytes.NewReader([]byte(r.body)), int64(len(r.body)))
	require.NoError(t, err)
	got := map[string]string{}
	for _, f := range z.File {
		rd, err := f.Open()
		require.NoError(t, err)
		b, err := io.ReadAll(rd)
		require.NoError(t, err)
		got[f.Name] = string(b)
	}
	require.Equal(t, map[string]string{"main.gpr": "project Main is", "main.adb": "x"}, got)
}

func TestPurgeReachesTheSpools(t *testing.T) {
	w := teller(t, 0)
	_, url := gateway(t, scheduler.Config{}, w)
	id := begin(t, url)
	poll := fmt.Sprintf(`{"identifier":%q,"read":0}`, id)
	require.Equal(t, http.StatusOK, post(t, url+"/check_output/", poll).status)
	require.Equal(t, http.StatusNoContent, do(t, http.MethodPost, url+"/purge", "").status)
	require.Equal(t, http.StatusNotFound, post(t, url+"/check_output/", poll).status)
	w.Crash()
	require.Equal(t, http.StatusServiceUnavailable, do(t, http.MethodPost, url+"/purge", "").status, "not done")
}
