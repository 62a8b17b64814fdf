package scheduler

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
)

func FuzzRoute(f *testing.F) {
	for _, p := range []string{
		"/courses/c/v/question/a/b", "/courses/c/v/question/a%2Fb/", "/courses/c/v/", "/courses/c/v/element/x-y",
		"/courses/c/v/files/a/%2e%2e/b", "/courses/c/v/question/%00", "//", "/courses/c%2f../v",
	} {
		f.Add(p)
	}
	g := &Gateway{endpoints: endpoints()}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			return
		}
		e, vars, err := g.route(http.MethodPost, u, false)
		if e == nil || err != nil || vars["course"] == "" || checkCourse(vars["course"], vars["version"]) != nil {
			return
		}
		require.NotContains(t, vars["course"]+vars["version"], "/")
		if q := vars["qid"]; q != "" && checkPath("QID", q) == nil {
			require.Equal(t, q, strings.TrimPrefix(path.Clean("/"+q), "/"), "an accepted path means itself")
			require.NotContains(t, q, "\x00")
		}
	})
}

func FuzzBodies(f *testing.F) {
	f.Add([]byte(`{"method":"render","html":"<a>","data":{"params":{}}}`))
	f.Add([]byte(`{"data":{},"question":"a","requests":[{"type":"question","method":"grade"},{"type":"element","method":"grade","html":"<my-el>"}],"on_error":"stop"}`))
	f.Add([]byte(`{"data":[],"requests":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, kind := range []jobs.CallType{jobs.Question, jobs.Element, jobs.Phase} {
			if inv, err := decodeCall(raw, kind, "q"); err == nil {
				require.Len(t, inv.Calls, 1)
				require.NoError(t, checkData(inv.Data))
			} else {
				require.Equal(t, http.StatusBadRequest, faultOf(err).status)
			}
		}
		inv, err := decodeBatch(raw, 10)
		if err != nil {
			require.Equal(t, http.StatusBadRequest, faultOf(err).status)
			return
		}
		for _, c := range inv.Calls {
			if c.Type == jobs.Element {
				require.NoError(t, checkWord("name", c.Name))
			} else if c.Name != "" {
				require.NoError(t, checkPath("name", c.Name))
			}
		}
	})
}

func FuzzPrograms(f *testing.F) {
	f.Add([]byte(`{"runtime":"python","files":[{"basename":"a.py","contents":"eA==","encoding":"base64"}],"main":"a.py","env":{"A":"b"},"args":["-x"],"hedge":"always"}`))
	f.Add([]byte(`{"runtime":"ada@13","files":[{"basename":"..","contents":""}],"switches":{"Builder":["-g"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := decodeRun(raw)
		if err != nil {
			require.Equal(t, http.StatusBadRequest, faultOf(err).status)
			return
		}
		for _, file := range b.Files {
			require.Equal(t, file.Basename, path.Base(path.Clean("/"+file.Basename)))
			require.NotContains(t, file.Basename, "\x00")
		}
		for k := range b.Env {
			require.NotContains(t, k, "=")
		}
	})
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"call":{"outcome":"ok","data":{},"wall":1}}`), 0)
	f.Add([]byte(`{"result":{"version":"v","calls":null}}`), 1)
	f.Add([]byte(`{"error":{"code":"x","message":"","retryable":true}}`), 1)
	inv := &jobs.Invocation{Version: "v", Calls: make([]jobs.Call, 1)}
	f.Fuzz(func(t *testing.T, line []byte, n int) {
		p, err := progressOf(line, n, inv)
		if err != nil {
			return
		}
		require.True(t, p.Error != nil || p.Result != nil && n == 1 || p.Call != nil && n < 1)
	})
}
