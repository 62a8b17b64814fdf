package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

// A push keeps every kept page that it does not touch, and no other.
func TestKeptPagesFollowTheChunksThatTheySee(t *testing.T) {
	s, repo := withCourse(t, "kept")
	render := func(version string) (how, body string) {
		req, err := http.NewRequest(http.MethodPost, s.Gateway+"/courses/kept/"+version+"/element/my-element", strings.NewReader(
			`{"method":"render","html":"<my-element>x</my-element>","data":{"params":{"number":5},"variant_seed":1,"options":{}}}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode, "%s", b)
		return resp.Header.Get("Prairie-Cache"), string(b)
	}
	// push makes a change that the mount has seen when it returns.
	push := func(path, old, replacement string) string {
		_, err := repo.Replace(path, old, replacement)
		require.NoError(t, err)
		version, err := s.Push("kept", repo.Dir)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			status, _ := get(t, s.Worker+"/v1/versions/kept/"+version)
			return status == 200
		}, 30*time.Second, 20*time.Millisecond)
		return version
	}
	how, first := render(repo.Rev)
	require.Equal(t, "miss", how)
	how, _ = render(repo.Rev)
	require.Equal(t, "hit", how)

	how, _ = render(push("questions/"+course.Cubic+"/question.html", "<", "<!-- changed --><"))
	require.Equal(t, "hit", how, "an element does not see a question")
	how, body := render(push("elements/my-element/my-element.py", "The number is", "The figure is"))
	require.Equal(t, "miss", how)
	require.Equal(t, strings.Replace(first, "number is", "figure is", 1), body)
	how, _ = render(push("serverFilesCourse/ps_element.py", `"""`, `"""`+" "))
	require.Equal(t, "miss", how, "what elements import")
}
