package scheduler_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
	"github.com/prairielambda/prairielambda/scheduler/token"
)

// guarded starts a gateway with a token for scopes and a public entry for https://learn.example.
func guarded(t *testing.T, scopes ...string) (w *fleettest.Worker, url, secret string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.json")
	secret, tok, err := token.New(append(scopes, "metrics:*"), time.Now(), time.Time{})
	require.NoError(t, err)
	b, err := json.Marshal(token.File{Tokens: []token.Token{tok}, Public: []token.Public{{
		ID: "learn", Origins: []string{"https://learn.example"}, Verbs: []string{"files"}, Courses: []string{"tam212"}, PerMinute: 30,
	}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	store, err := token.Open(path, zerolog.Nop())
	require.NoError(t, err)
	w = fleettest.New(t, sample())
	_, url = gateway(t, scheduler.Config{Tokens: store}, w)
	return w, url, secret
}

func TestTokensAndScopes(t *testing.T) {
	w, url, secret := guarded(t, "invoke:tam212")
	call := func(course string, header ...string) reply {
		return post(t, url+"/courses/"+course+"/"+v1+"/question/addNumbers", generate, header...)
	}
	r := call("tam212")
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Equal(t, "unauthorized", r.fault(t).Code)
	require.Equal(t, "Bearer", r.header.Get("WWW-Authenticate"))
	for _, wrong := range []string{"Bearer x", "Bearer " + secret + "x", "Basic " + secret, secret, "Bearer "} {
		require.Equal(t, http.StatusUnauthorized, call("tam212", "Authorization", wrong).status, wrong)
	}
	require.Equal(t, http.StatusForbidden, call("tam213", "Authorization", "Bearer "+secret).status, "whether it exists or not")
	require.Equal(t, http.StatusForbidden, get(t, url+"/courses/tam212/"+v1+"/files/x", "Authorization", "Bearer "+secret).status)
	require.Equal(t, http.StatusForbidden, post(t, url+"/purge", "{}", "Authorization", "Bearer "+secret).status)
	require.Zero(t, w.Invocations.Load())
	require.Equal(t, http.StatusOK, call("tam212", "Authorization", "bearer "+secret).status)
	require.Equal(t, http.StatusOK, get(t, url+"/readyz").status, "health needs no token")
	require.Equal(t, http.StatusUnauthorized, get(t, url+"/metrics").status)
}

func TestPublicPages(t *testing.T) {
	_, url, _ := guarded(t, "invoke:tam212")
	file := url + "/courses/tam212/" + v1 + "/files/clientFilesCourse/a%20b.svg"
	page := []string{"Origin", "https://learn.example", "Sec-Fetch-Site", "cross-site"}

	r := do(t, http.MethodOptions, file, "", append(page, "Access-Control-Request-Method", "GET")...)
	require.Equal(t, http.StatusNoContent, r.status)
	require.Equal(t, "https://learn.example", r.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, http.StatusForbidden, do(t, http.MethodOptions, file, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET").status)

	r = get(t, file, page...)
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "https://learn.example", r.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, r.header.Values("Vary"), "Origin")
	r = post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", generate, page...)
	require.Equal(t, http.StatusUnauthorized, r.status, "another verb needs a token")
	require.Equal(t, http.StatusUnauthorized, get(t, file).status, "and so does a caller without an origin")

	limited := false
	for range 10 {
		r = get(t, file, page...)
		limited = limited || r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") != ""
	}
	require.True(t, limited)
}
