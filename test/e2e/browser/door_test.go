package browser

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A page that others can reach lets in whoever has the address that was printed,
// once; panels load what they need without a cookie.
func TestAPageThatOthersCanReach(t *testing.T) {
	t.Parallel()
	dir := sample(t)
	d := &dev{t: t, dir: dir, cache: t.TempDir(), binary: binary, stderr: &locked{}}
	d.run("--listen", "0.0.0.0:0")
	key := d.Curl
	for _, path := range []string{"/", "/question/words/planets", "/?token=x", "/?token=", "/play", "/events", "/courses/sample/current/process/words/planets", "/metrics"} {
		status, _ := d.get(path)
		require.Equal(t, http.StatusForbidden, status, path)
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c := &http.Client{Jar: jar}
	get := func(path string) (int, string) {
		resp, err := c.Get(d.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	status, page := get("/?token=" + key)
	require.Equal(t, 200, status)
	has(t, page, "Prairie Sample")
	status, _ = d.get("/?token=" + key)
	require.Equal(t, http.StatusForbidden, status, "it works once")
	_, page = get("/question/physics/incline")
	frame := frameURL.FindStringSubmatch(page)
	require.NotNil(t, frame)
	panel := d.page(frame[1]) // without the cookie, as a panel asks
	picture := regexp.MustCompile(`src="(/files/[^"]+\.png)"`).FindStringSubmatch(panel)
	require.NotNil(t, picture, panel)
	status, _ = d.get(picture[1])
	require.Equal(t, 200, status)
	another := regexp.MustCompile(`For another browser: \S+/\?token=(\S+)`)
	require.Eventually(t, func() bool { return another.MatchString(d.stderr.String()) }, bound, tick)
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).
		Get(d.URL + "/?token=" + another.FindStringSubmatch(d.stderr.String())[1])
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "another browser is let in by the next one")
}
