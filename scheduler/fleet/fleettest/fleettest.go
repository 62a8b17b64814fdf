// Package fleettest is a worker for tests that speaks the worker's whole HTTP
// contract but runs Go functions from a table instead of course code.
//
// It guarantees the contract's order and data threading: calls run in order,
// a call that is not OK leaves the data as it was, StopOnError and Crash end the
// session. It counts what it is asked, and can be slowed, broken and drained. It
// isolates nothing: what course code may do is tested against the real worker.
package fleettest

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
)

// Func is the code behind one method. data is its own copy.
type Func func(ctx context.Context, call jobs.Call, data map[string]any) jobs.CallResult

// Course is one course: its versions and which of them is current.
type Course struct {
	Current  string
	Versions map[string]Version
}

// Version is what one version holds.
type Version struct {
	Chunks    map[string]string // name -> digest
	Functions map[string]Func   // "question/<qid>.<method>", "element/<tag>.<method>", "phase/<qid>.<method>"
	Files     map[string]string // client files by path
}

// Worker is the double. Its fields may be changed while it serves, through Set.
type Worker struct {
	URL string

	Invocations atomic.Int64 // POST /v1/invoke requests seen
	Calls       atomic.Int64 // functions begun
	Cancelled   atomic.Int64 // invocations whose caller left
	Resolved    atomic.Int64 // GET /v1/versions requests seen
	Sessions    atomic.Int64 // sessions open now
	Programs    atomic.Int64 // POST /v1/run requests seen

	srv *httptest.Server

	mu     sync.Mutex // guards below
	state  State
	spools map[string]*spool
}

// State is how the double behaves.
type State struct {
	Courses map[string]Course
	Status  jobs.Status
	Fail    int                                                          // answer this status instead of running
	Delay   time.Duration                                                // before running an invocation
	Garbage bool                                                         // answer 200 with something that is not JSON
	Hang    bool                                                         // answer nothing at all, probes neither
	Program func(ctx context.Context, p jobs.Program) jobs.ProgramResult // answers POST /v1/run
	// Frames are what an asynchronous run of p says, one each Delay.
	Frames func(p jobs.Program) []jobs.RunFrame
	// Before sees each request first; it may answer and return true.
	Before func(w http.ResponseWriter, r *http.Request) bool
}

// New starts a worker that serves courses until the test ends.
func New(t testing.TB, courses map[string]Course) *Worker {
	t.Helper()
	w := &Worker{state: State{
		Courses: courses,
		Status: jobs.Status{Tier: "root", Slots: 4, Runtimes: []jobs.Runtime{
			{Name: "python", Version: "3.11", Digest: strings.Repeat("ab", 32)},
		}},
	}}
	w.srv = httptest.NewServer(w)
	w.URL = w.srv.URL
	t.Cleanup(w.Close)
	return w
}

// Close ends the worker as a crash would: connections break.
func (w *Worker) Close() {
	w.Set(func(s *State) { s.Hang = false })
	w.srv.CloseClientConnections()
	w.srv.Close()
}

// Crash breaks every connection and refuses new ones, without waiting for handlers.
func (w *Worker) Crash() {
	w.srv.Listener.Close()
	w.srv.CloseClientConnections()
}

// Restart serves again where a worker that crashed did, with the state it has now.
func (w *Worker) Restart(t testing.TB) {
	t.Helper()
	ln, err := net.Listen("tcp", strings.TrimPrefix(w.URL, "http://"))
	for n := 0; err != nil; n++ { // somebody's connection may have been given the port meanwhile
		if n == 100 {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		ln, err = net.Listen("tcp", strings.TrimPrefix(w.URL, "http://"))
	}
	old := w.srv
	t.Cleanup(old.Close)
	w.srv = httptest.NewUnstartedServer(w)
	w.srv.Listener.Close()
	w.srv.Listener = ln
	w.srv.Start()
}

// Set changes how the worker behaves from the next request on.
func (w *Worker) Set(change func(*State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.state)
}

func (w *Worker) now() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// ServeHTTP implements the worker's contract.
func (w *Worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	st := w.now()
	if st.Hang {
		io.Copy(io.Discard, r.Body) // the server notices a lost client only behind the body
		<-r.Context().Done()
		return
	}
	if st.Before != nil && st.Before(rw, r) {
		return
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/v1/"), "/", 4)
	switch {
	case r.URL.Path == "/v1/status":
		answer(rw, http.StatusOK, st.Status)
	case r.URL.Path == "/v1/invoke":
		w.invoke(rw, r, st)
	case r.URL.Path == "/v1/run" && st.Program != nil:
		w.program(rw, r, st)
	case r.URL.Path == "/v1/runs" || strings.HasPrefix(r.URL.Path, "/v1/runs/"):
		w.runs(rw, r, st)
	case r.URL.Path == "/v1/project":
		var p jobs.Program
		json.NewDecoder(r.Body).Decode(&p)
		answer(rw, http.StatusOK, map[string]any{"files": append([]jobs.ProgramFile{{Basename: "main.gpr", Contents: "project Main is"}}, p.Files...)})
	case r.URL.Path == "/v1/session":
		w.socket(rw, r, st)
	case parts[0] == "versions" && len(parts) == 3:
		w.Resolved.Add(1)
		v, label, e := st.find(parts[1], parts[2])
		if e != nil {
			refuse(rw, http.StatusNotFound, e)
			return
		}
		answer(rw, http.StatusOK, jobs.VersionInfo{Course: parts[1], Version: label, Chunks: v.Chunks})
	case parts[0] == "files" && len(parts) == 4:
		st.file(rw, r, parts)
	default:
		refuse(rw, http.StatusNotFound, &jobs.Error{Code: "not_found", Message: r.URL.Path})
	}
}

func (s State) file(rw http.ResponseWriter, r *http.Request, parts []string) {
	v, _, e := s.find(parts[1], parts[2])
	if e != nil {
		refuse(rw, http.StatusNotFound, e)
		return
	}
	body, ok := v.Files[parts[3]]
	if !ok {
		refuse(rw, http.StatusNotFound, &jobs.Error{Code: "file_missing", Message: parts[3]})
		return
	}
	rw.Header().Set("ETag", `"`+v.Chunks["clientFilesCourse"]+`"`)
	http.ServeContent(rw, r, parts[3], time.Time{}, strings.NewReader(body))
}

func (s State) find(course, version string) (Version, string, *jobs.Error) {
	c, ok := s.Courses[course]
	if !ok {
		return Version{}, "", &jobs.Error{Code: jobs.CourseMissing, Message: "no course " + course}
	}
	if version == jobs.CurrentVersion {
		version = c.Current
	}
	v, ok := c.Versions[version]
	if !ok {
		return Version{}, "", &jobs.Error{Code: jobs.VersionMissing, Message: "no version " + version}
	}
	return v, version, nil
}

func (w *Worker) invoke(rw http.ResponseWriter, r *http.Request, st State) {
	w.Invocations.Add(1)
	body, err := io.ReadAll(r.Body)
	var inv jobs.Invocation
	if err == nil {
		err = json.Unmarshal(body, &inv)
	}
	if err != nil {
		refuse(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: err.Error()})
		return
	}
	if st.Delay > 0 {
		select {
		case <-time.After(st.Delay):
		case <-r.Context().Done():
		}
	}
	if r.Context().Err() != nil {
		w.Cancelled.Add(1)
		return
	}
	if st.Fail != 0 {
		refuse(rw, st.Fail, &jobs.Error{Code: "broken", Message: "told to fail", Retryable: true})
		return
	}
	if st.Garbage {
		io.WriteString(rw, "<html>")
		return
	}
	v, label, e := st.find(inv.Course, inv.Version)
	if e != nil {
		refuse(rw, http.StatusNotFound, e)
		return
	}
	for _, c := range inv.Calls {
		if c.Name == "" {
			refuse(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: "a call without a name"})
			return
		}
	}
	var each func(jobs.CallResult)
	enc := json.NewEncoder(rw)
	if r.Header.Get("Accept") == "application/x-ndjson" {
		rw.Header().Set("Content-Type", "application/x-ndjson")
		each = func(c jobs.CallResult) {
			enc.Encode(jobs.Progress{Call: &c})
			http.NewResponseController(rw).Flush()
		}
	}
	res := w.session(r.Context(), v, &inv, each)
	if r.Context().Err() != nil {
		w.Cancelled.Add(1)
		return
	}
	if each != nil {
		res.Calls, res.Version = nil, label
		enc.Encode(jobs.Progress{Result: res})
		return
	}
	res.ID, res.Version, res.Tier = r.Header.Get("Prairie-Id"), label, st.Status.Tier
	answer(rw, http.StatusOK, res)
}

func (w *Worker) program(rw http.ResponseWriter, r *http.Request, st State) {
	w.Programs.Add(1)
	var p jobs.Program
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		refuse(rw, http.StatusBadRequest, &jobs.Error{Code: "bad_request", Message: err.Error()})
		return
	}
	io.Copy(io.Discard, r.Body)
	select {
	case <-time.After(st.Delay):
	case <-r.Context().Done():
		w.Cancelled.Add(1)
		return
	}
	if st.Fail != 0 {
		refuse(rw, st.Fail, &jobs.Error{Code: "broken", Message: "told to fail", Retryable: true})
		return
	}
	answer(rw, http.StatusOK, st.Program(r.Context(), p))
}

// session runs the calls as one sandbox would.
func (w *Worker) session(ctx context.Context, v Version, inv *jobs.Invocation, each func(jobs.CallResult)) *jobs.Result {
	res := &jobs.Result{Data: inv.Data, Phases: jobs.Phases{Run: time.Microsecond}}
	lost := false
	for i, c := range inv.Calls {
		if each != nil && i > 0 {
			each(res.Calls[i-1])
		}
		if lost {
			res.Calls = append(res.Calls, jobs.CallResult{Outcome: jobs.SessionLost, Message: "an earlier call ended the session"})
			continue
		}
		cr := w.call(ctx, v, c, res.Data)
		if cr.Outcome == jobs.OK && cr.Data != nil {
			res.Data = cr.Data
		}
		switch cr.Outcome {
		case jobs.OK:
		case jobs.QuestionError, jobs.Missing:
			lost = inv.StopOnError
		default:
			lost = true
		}
		res.Calls = append(res.Calls, cr)
	}
	if each != nil && len(res.Calls) > 0 {
		each(res.Calls[len(res.Calls)-1])
	}
	return res
}

func (w *Worker) call(ctx context.Context, v Version, c jobs.Call, data json.RawMessage) jobs.CallResult {
	prefix := string(c.Type) + "/" + c.Name + "."
	f, ok := v.Functions[prefix+c.Method]
	if !ok {
		code := jobs.MethodMissing
		if !v.has(prefix) {
			code = jobs.QuestionMissing
			if c.Type == jobs.Element {
				code = jobs.ElementMissing
			}
		}
		return jobs.CallResult{Outcome: jobs.Missing, Code: code, Message: prefix + c.Method}
	}
	w.Calls.Add(1)
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return jobs.CallResult{Outcome: jobs.QuestionError, Message: err.Error()}
	}
	return f(ctx, c, m)
}

func (v Version) has(prefix string) bool {
	for name := range v.Functions {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func answer(rw http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":{"code":"double","message":"cannot encode"}}`)
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	rw.Write(b)
}

func refuse(rw http.ResponseWriter, status int, e *jobs.Error) {
	answer(rw, status, map[string]*jobs.Error{"error": e})
}
