package build

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// mirrors are a plain one below a path and one that speaks TLS, and a stranger.
func TestTheProxyReachesMirrorsOnly(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, name+" "+r.Method+" "+r.URL.Path)
			if r.URL.Path == "/simple/moved" {
				http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
				return
			}
			fmt.Fprintf(w, "%s %s %q", name, r.URL.Path, r.Header.Get("Authorization")+r.Header.Get("Cookie"))
		}
	}
	plain, stranger := httptest.NewServer(note("plain")), httptest.NewServer(note("stranger"))
	defer plain.Close()
	defer stranger.Close()
	secret := httptest.NewTLSServer(note("tls"))
	defer secret.Close()
	urls := []*url.URL{}
	for _, m := range []string{plain.URL + "/simple", secret.URL + "/debian"} {
		u, err := url.Parse(m)
		require.NoError(t, err)
		urls = append(urls, u)
	}
	var told []string
	p := newProxy(urls, 1000, func(line string) { mu.Lock(); defer mu.Unlock(); told = append(told, line) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	stop := p.serve(ln)
	ask := func(request string) (status int, body string) {
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, request)
		require.NoError(t, err)
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		if strings.HasPrefix(request, "CONNECT") {
			return r.StatusCode, ""
		}
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	get := func(u string) string {
		return "GET " + u + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s\r\nCookie: c\r\nConnection: close\r\n\r\n"
	}
	status, body := ask(get(plain.URL + "/simple/numpy/"))
	require.Equal(t, 200, status)
	require.Equal(t, `plain /simple/numpy/ ""`, body)
	status, _ = ask(get(plain.URL + "/simple/moved"))
	require.Equal(t, 302, status) // for the client to ask for, and to be refused
	status, _ = ask("CONNECT " + urls[1].Host + " HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, 200, status)
	before := len(seen)
	for _, refused := range []string{
		get(stranger.URL + "/simple/x"), get(plain.URL + "/other"), get(plain.URL + "/simplest"), get(plain.URL + "/simple/../other"), get(plain.URL + "/simple/%2e%2e/other"),
		get(secret.URL + "/debian/x"), get("http://169.254.169.254/latest/meta-data/"), get("http://localhost/simple/"), get("/simple/x"), get("ftp://x/simple/"),
		strings.Replace(get(plain.URL+"/simple/x"), "GET", "POST", 1), strings.Replace(get(plain.URL+"/simple/x"), "GET", "PUT", 1),
		get(strings.Replace(plain.URL, "http://", "http://u:p@", 1) + "/simple/x"),
		"CONNECT " + urls[0].Host + " HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT " + strings.TrimPrefix(stranger.URL, "http://") + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		status, _ := ask(refused)
		require.GreaterOrEqual(t, status, 400, refused)
	}
	require.Len(t, seen, before, "nothing that was refused reached a server")
	require.NotEmpty(t, told)

	// A build receives no more than it may.
	for range 100 {
		if _, body = ask(get(plain.URL + "/simple/" + strings.Repeat("x", 100))); body == "" {
			break
		}
	}
	require.Empty(t, body)
	stop()
}

func TestWhatPipAndAptSayIsReadStrictly(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	ok := `{"install":[{"metadata":{"name":"Prairie_Lib","version":"2.0"},"download_info":{"archive_info":{"hashes":{"sha256":"` + hash + `"}}}}]}`
	pkgs, hashes, err := pipReport([]byte(ok))
	require.NoError(t, err)
	require.Equal(t, []string{"prairie-lib==2.0"}, pkgs)
	require.Equal(t, map[string]string{"prairie-lib==2.0": hash}, hashes)
	for _, bad := range []string{`x`, strings.Replace(ok, "Prairie_Lib", "--index-url=x", 1), strings.Replace(ok, hash, "md5", 1), strings.Replace(ok, "2.0", `2.0\n--x`, 1)} {
		_, _, err := pipReport([]byte(bad))
		require.Error(t, err, bad)
	}
	require.Equal(t, []string{"libc6=2.41-12", "zlib1g=1:1.3.dfsg+really1.3.1-1+b1"}, plan([]byte(`Reading package lists...
Inst zlib1g:amd64 [1:1.2] (1:1.3.dfsg+really1.3.1-1+b1 Debian:13.1/stable [amd64]) []
Inst libc6 (2.41-12 Debian:13.1/stable [amd64])
Conf libc6 (2.41-12 Debian:13.1/stable [amd64])
Inst evil;rm (1.0 x)
`)))
}

func FuzzPipReport(f *testing.F) {
	f.Add([]byte(`{"install":[{"metadata":{"name":"a","version":"1"},"download_info":{"archive_info":{"hashes":{"sha256":"` + strings.Repeat("ab", 32) + `"}}}}]}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		pkgs, hashes, err := pipReport(said)
		if err != nil {
			return
		}
		for _, p := range pkgs { // each is one line of a requirements file that pip can only read as a package
			require.Len(t, hashes[p], 64)
			require.NotContains(t, p, "\n")
			require.False(t, strings.HasPrefix(p, "-"))
		}
	})
}

// FuzzLines: no control character and no line longer than a line comes out.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\x1b[31mb\r\nc\x00d\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := &lines{out: func(s string) {
			require.LessOrEqual(t, len(s), 3*maxLine)
			require.NotContains(t, s, "\x1b")
			require.NotContains(t, s, "\n")
		}}
		l.write(b)
		l.end()
	})
}
