package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/builder"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
	"github.com/prairielambda/prairielambda/scheduler/token"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// builderOf is a service of environments that answers with what answer says.
func builderOf(t *testing.T, answer http.HandlerFunc) *builder.Client {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return &builder.Client{URL: srv.URL, Secret: "ours"}
}

func within(environment string) string {
	return strings.NewReplacer(`"main"`, `"environment":`+environment+`,"main"`, "always", "off").Replace(hello)
}

func TestAProgramWaitsForItsEnvironmentAsATask(t *testing.T) {
	const id = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	state := func(w http.ResponseWriter) { fmt.Fprintf(w, `{"id":%q}`, id) }
	var asked, owner string
	b := builderOf(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "Bearer ours", r.Header.Get("Authorization"))
		if r.Method == http.MethodGet {
			require.Equal(t, "/v1/environments/"+id, r.URL.Path)
			fmt.Fprintf(w, `{"frames":[{"type":"console","data":"line %s"}],"completed":true,"status":0,"outcome":"ok"}`, r.URL.Query().Get("from"))
			return
		}
		var q struct {
			Owner  string
			Recipe json.RawMessage
		}
		require.NoError(t, json.NewDecoder(r.Body).Decode(&q))
		asked, owner = string(q.Recipe), q.Owner
		state(w)
	})
	worker := printer(t, "w", "3.11")
	var ran string
	worker.Set(func(s *fleettest.State) {
		s.Program = func(_ context.Context, p jobs.Program) jobs.ProgramResult {
			ran = p.Environment
			return jobs.ProgramResult{Outcome: jobs.OK, Steps: []jobs.Step{{Name: "run"}}}
		}
	})
	path := filepath.Join(t.TempDir(), "tokens.json")
	secrets := map[string]string{}
	var file token.File
	for name, scopes := range map[string][]string{"both": {"run:*", "build:*"}, "run": {"run:*"}} {
		secret, tok, err := token.New(scopes, time.Now(), time.Time{})
		require.NoError(t, err)
		secrets[name] = "Bearer " + secret
		file.Tokens = append(file.Tokens, tok)
	}
	file.Public = []token.Public{{ID: "learn", Origins: []string{"https://learn.example"}, Verbs: []string{"run"}}}
	raw, err := json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	store, err := token.Open(path, zerolog.Nop())
	require.NoError(t, err)
	_, url := gateway(t, scheduler.Config{Tokens: store, Builder: b}, worker)
	run := func(environment, who string) reply {
		return post(t, url+"/run", within(environment), "Authorization", secrets[who])
	}

	r := run(`{"pip":["Shapes == 1.0"]}`, "both")
	require.Equal(t, http.StatusAccepted, r.status, r.body)
	require.JSONEq(t, `{"pip":["shapes==1.0"]}`, asked, "in its one form")
	require.NotEmpty(t, owner)
	var task struct{ Identifier string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &task))
	r = post(t, url+"/check_output/", `{"identifier":"`+task.Identifier+`","read":3}`, "Authorization", secrets["both"])
	require.JSONEq(t, `{"output":[{"msg":{"type":"console","data":"line 3"}}],"status":0,"completed":true,"message":""}`, r.body)
	require.Empty(t, ran)

	state = func(w http.ResponseWriter) { fmt.Fprintf(w, `{"environment":"recipe-1@%s"}`, digest) }
	r = run(`{"pip":["shapes==1.0"]}`, "both")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "recipe-1@"+digest, ran)
	r = run(`"python-313"`, "run")
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.Equal(t, "python-313", ran)
	require.Equal(t, http.StatusOK, run("null", "run").status)
	require.Empty(t, ran)

	asked = ""
	r = run(`{"pip":["shapes"]}`, "run")
	require.Equal(t, []any{http.StatusForbidden, "scope_missing"}, []any{r.status, r.fault(t).Code}, "to run is not to build")
	for _, environment := range []string{`{"pip":["shapes"]}`, `"python-313"`} {
		r = post(t, url+"/run", within(environment), "Origin", "https://learn.example")
		require.Equal(t, []any{http.StatusForbidden, "scope_missing"}, []any{r.status, r.fault(t).Code}, "a page chooses none")
	}
	for _, bad := range []string{`"../x"`, `"x@1"`, `7`, `[]`, `{"pip":["-e ."]}`, `{"image":"x"}`} {
		require.Equal(t, http.StatusBadRequest, run(bad, "both").status, bad)
	}
	require.Empty(t, asked, "the builder was not asked")
}

func TestABuilderThatFailsIsOurFault(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter)
		status int
		code   string
	}{
		"busy": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, http.StatusTooManyRequests, "busy"},
		"refuses": {func(w http.ResponseWriter) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":{"code":"x","message":"no base"}}`)
		}, 400, "bad_request"},
		"breaks":   {func(w http.ResponseWriter) { w.WriteHeader(500) }, http.StatusBadGateway, "builder_failed"},
		"forbids":  {func(w http.ResponseWriter) { w.WriteHeader(403) }, http.StatusBadGateway, "builder_failed"},
		"no JSON":  {func(w http.ResponseWriter) { fmt.Fprint(w, "x") }, http.StatusBadGateway, "builder_failed"},
		"evil":     {func(w http.ResponseWriter) { fmt.Fprint(w, `{"environment":"../../etc"}`) }, http.StatusBadGateway, "builder_failed"},
		"an id":    {func(w http.ResponseWriter) { fmt.Fprint(w, `{"id":"a/../b?c"}`) }, http.StatusBadGateway, "builder_failed"},
		"redirect": {func(w http.ResponseWriter) { w.Header().Set("Location", "http://169.254.169.254/"); w.WriteHeader(302) }, http.StatusBadGateway, "builder_failed"},
	} {
		_, url := gateway(t, scheduler.Config{Builder: builderOf(t, func(w http.ResponseWriter, _ *http.Request) { tc.answer(w) })}, printer(t, "w", "3.11"))
		r := post(t, url+"/run", within(`{"pip":["shapes"]}`))
		require.Equal(t, []any{tc.status, tc.code}, []any{r.status, r.fault(t).Code}, name)
	}
	_, url := gateway(t, scheduler.Config{}, printer(t, "w", "3.11"))
	r := post(t, url+"/run", within(`{"pip":["shapes"]}`))
	require.Equal(t, []any{http.StatusNotFound, "environment_missing"}, []any{r.status, r.fault(t).Code})
}
