package pool

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/test/machine"
)

func TestPublicAddresses(t *testing.T) {
	for _, a := range []string{"93.184.216.34", "8.8.8.8", "172.32.0.1", "2606:2800:220:1::1", "::ffff:8.8.8.8"} {
		require.True(t, isPublic(netip.MustParseAddr(a)), a)
	}
	for _, a := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
		"192.0.0.192", "198.18.0.1", "203.0.113.5", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "::7f00:1", "fec0::1", "100::1",
	} {
		require.False(t, isPublic(netip.MustParseAddr(a)), a)
	}
}

// What is connected to is judged, whatever name led there, and so is every address
// of this machine.
func TestDialPublic(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	hosts := []string{"127.0.0.1", "localhost", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "10.0.0.1", "169.254.169.254", ""}
	own, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range own {
		hosts = append(hosts, "["+strings.Split(a.String(), "/")[0]+"]")
	}
	for _, h := range hosts {
		c, err := DialPublic(t.Context(), "tcp", h+":"+port)
		require.Error(t, err, h)
		require.Nil(t, c)
	}
	_, err = DialPublic(t.Context(), "tcp", "localhost:"+port)
	require.ErrorIs(t, err, errNotPublic)
	require.True(t, isAt(&net.IPNet{IP: net.ParseIP("93.184.216.34"), Mask: net.CIDRMask(24, 32)}, netip.MustParseAddr("93.184.216.34")), "our own, though public")
}

// connect asks the proxy for a tunnel to each and prints its answer's first line.
const connect = `trap '' PIPE # a proxy that refuses need not read on
connect() {
  for to; do exec 3<>/dev/tcp/127.0.0.1/3128 || { echo "$to none"; continue; }
    printf 'CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' $to $to >&3; read -r line <&3; echo "$to ${line%?}"; exec 3>&-; done 2> /dev/null; }
get() { exec 3<>/dev/tcp/127.0.0.1/3128; printf 'GET http://%s/page HTTP/1.0\r\n\r\n' $1 >&3; cat <&3; exec 3>&-; }
`

// A grader whose question asks for it, on a worker that allows it, reaches what is
// public, and nothing of this machine or beside it.
func TestGradersReachWhatIsPublic(t *testing.T) {
	machine.Root(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "public %s of %s\n", r.URL.Path, r.Host) }))
	defer site.Close()
	secret, err := net.Listen("tcp", "0.0.0.0:0") // stands for the worker's own port
	require.NoError(t, err)
	defer secret.Close()
	own := secret.Addr().(*net.TCPAddr).Port
	networked := map[string]string{"questions/g/info.json": `{"externalGradingOptions":{"enabled":true,"image":"graders/sh","timeout":20,"enableNetworking":true,"environment":{"no_proxy":"mine"}}}`}
	p := graders(t, networked)
	var h heard
	g, err := p.Grade(t.Context(), submitted("g", "echo '{\"score\":1}' > /grade/results/results.json; (exec 3<>/dev/tcp/127.0.0.1/3128) && echo reached; true"), &h)
	require.NoError(t, err)
	require.Equal(t, jobs.Graded, g.State)
	require.Contains(t, h.String(), "--grader-network", "what was not allowed is said")
	require.NotContains(t, h.String(), "reached\n")

	p.cfg.GraderNetwork = func(ctx context.Context, network, address string) (net.Conn, error) {
		switch host, _, _ := net.SplitHostPort(address); host {
		case "site.example": // the one public place that there is here
			return (&net.Dialer{}).DialContext(ctx, network, site.Listener.Addr().String())
		case "metadata.google.internal": // as that cloud's name servers have it
			address = "169.254.169.254:80"
		}
		return DialPublic(ctx, network, address)
	}
	targets := fmt.Sprintf("169.254.169.254:80 metadata.google.internal:80 127.0.0.1:%[1]d localhost:%[1]d [::1]:%[1]d [::ffff:127.0.0.1]:%[1]d 0.0.0.0:%[1]d 10.0.0.1:22 172.16.0.1:80 192.168.0.1:443 100.64.0.1:1 site.example:%[1]d@127.0.0.1:%[1]d", own)
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		targets += fmt.Sprintf(" [%s]:%d", strings.Split(a.String(), "/")[0], own)
	}
	h.Reset()
	g, err = p.Grade(t.Context(), submitted("g", connect+"connect site.example:443 "+targets+`
get site.example; get 127.0.0.1:`+fmt.Sprint(own)+`; get 169.254.169.254
echo "$http_proxy $HTTPS_PROXY $no_proxy"
for to in 8.8.8.8/53 169.254.169.254/80 127.0.0.1/`+fmt.Sprint(own)+`; do (exec 3<>/dev/tcp/$to) 2> /dev/null && echo "direct $to"; done
echo '{"score":1}' > /grade/results/results.json`), &h)
	require.NoError(t, err)
	require.Equal(t, jobs.Graded, g.State, "%+v %s", g, h.String())
	require.Contains(t, h.String(), "site.example:443 HTTP/1.1 200 OK\n")
	require.Contains(t, h.String(), "public /page of site.example")
	require.Contains(t, h.String(), "http://127.0.0.1:3128 http://127.0.0.1:3128 mine")
	require.NotContains(t, h.String(), "direct ")
	require.Equal(t, 1, strings.Count(h.String(), " 200 OK\n"), h.String())
	require.Equal(t, len(strings.Fields(targets))+1, len(regexp.MustCompile(`(?m)^\S+:\d+ (HTTP/1.1|none)`).FindAllString(h.String(), -1)), h.String())
	require.NoError(t, secret.(*net.TCPListener).SetDeadline(time.Now()))
	_, err = secret.Accept()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody came")
}

// addPrograms puts programs, with what they load, into a root filesystem.
func addPrograms(t *testing.T, root string, programs ...string) {
	t.Helper()
	for _, p := range programs {
		out, err := exec.Command("ldd", p).Output()
		require.NoError(t, err, p)
		for _, f := range append(regexp.MustCompile(`(/\S+) \(`).FindAllStringSubmatch(string(out), -1), []string{"", p}) {
			to := filepath.Join(root, "usr", strings.TrimPrefix(f[1], "/usr"))
			require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
			b, err := os.ReadFile(f[1])
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, b, 0o755))
		}
	}
}

// A grader may change user, as PrairieLearn's do so that a student's code neither
// reads the tests nor writes the results; and nobody that it becomes is anybody outside.
func TestGradersChangeUser(t *testing.T) {
	machine.Root(t)
	pam, err := filepath.Glob("/usr/lib/*/security/pam_rootok.so")
	require.NoError(t, err)
	if len(pam) == 0 {
		machine.Skip(t, "no PAM here")
	}
	files := map[string]string{
		"infoCourse.json":       "{}",
		"questions/g/info.json": `{"externalGradingOptions":{"enabled":true,"image":"graders/sh","timeout":20}}`,
		// In the manner of those scripts: merge, take away rights, run as ag, collect.
		"questions/g/tests/run.sh": `#!/bin/bash
mkdir /grade/run
mv /grade/student/* /autograder/* /grade/run 2> /dev/null
chown -R root:root /grade/tests && chmod -R go-rwx /grade/tests
chmod 1777 /grade/run
secret=/grade/run/results-$RANDOM
su -c "secret=$secret bash /grade/run/main.sh" ag
mv $secret /grade/results/results.json
stat -c '%U %u' /grade/results/results.json /grade/run/planted
`,
		"questions/g/tests/solution": "the solution",
	}
	dir := tree(t, files)
	graderEnv(t, dir)
	root := filepath.Join(dir, ".env", "graders-sh", strings.Repeat("e", 64))
	addPrograms(t, root, "/usr/bin/su", "/usr/bin/chown", "/usr/bin/stat", "/usr/bin/id", "/usr/bin/touch", pam[0], filepath.Join(filepath.Dir(pam[0]), "pam_permit.so"))
	for name, content := range map[string]string{
		"etc/passwd": "root:x:0:0::/:/bin/bash\nag:x:1000:1000::/tmp:/bin/bash\n", "etc/group": "root:x:0:\nag:x:1000:\n",
		"etc/pam.d/su": "auth sufficient pam_rootok.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
		"autograder/main.sh": `id -u; cat /grade/tests/solution; echo fake > /grade/results/results.json; touch /grade/run/planted
chown 0 /grade/run/planted; su -c id root < /dev/null; . /grade/run/answer.sh; echo '{"score":0.5}' > $secret
`,
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o644))
	}
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, nil, 0o666))
	p := newPool(t, dir, func(c *Config) { c.Default.Memory = 64 << 20; c.Spares = -1 })
	var h heard
	g, err := p.Grade(t.Context(), submitted("g", "cat /proc/self/uid_map; ls "+outside+"; echo x > /usr/bin/bash; echo done"), &h)
	require.NoError(t, err)
	require.Equal(t, jobs.Graded, g.State, "%+v %s", g, h.String())
	require.Equal(t, 0.5, g.Score)
	said := h.String()
	require.True(t, strings.HasPrefix(said, "1000\n"), said)
	require.Regexp(t, `(?m)^\s+0\s+[1-9]\d{9}\s+65536$`, said, "a range that nobody has outside")
	require.Contains(t, said, "ag 1000\nag 1000\n", "su works, and a file is its maker's")
	require.Contains(t, said, "done")
	require.NotContains(t, said, "the solution")
	require.NotContains(t, said, "uid=0", "the way back is closed")
	require.GreaterOrEqual(t, strings.Count(said, "ermission denied")+strings.Count(said, "not permitted"), 3, said)

	// As its root it may no more than before: the walls are the sandbox's.
	h.Reset()
	files["questions/g/tests/run.sh"] = "#!/bin/bash\n. /grade/student/answer.sh\n"
	delete(files, "infoCourse.json")
	p = graders(t, files)
	attack := `echo $UID; for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /sys/kernel/x /usr/bin/bash /etc/passwd /new /dev/null/x; do (echo x > $f) 2> /dev/null && echo "wrote $f"; done
[ -e /dev/kmsg ] && echo kmsg; [ -e /course/questions ] && echo course; [ -e /proc/1/root/home ] && echo host; (exec 3<>/dev/tcp/127.0.0.1/3128) 2> /dev/null && echo network
kill -9 -1; echo '{"score":1}' > /grade/results/results.json`
	_, err = p.Grade(t.Context(), submitted("g", attack), &h)
	require.NoError(t, err)
	require.NotContains(t, h.String(), "wrote")
	require.NotRegexp(t, `(?m)^(kmsg|course|host|network)$`, h.String())
	require.True(t, strings.HasPrefix(h.String(), "0\n"), h.String())
}

// Two graders at once are nobody to each other.
func TestGradersHaveUsersOfTheirOwn(t *testing.T) {
	machine.Root(t)
	p := graders(t, map[string]string{"questions/g/tests/run.sh": "#!/bin/bash\ncat /proc/self/uid_map; sleep 1; echo '{\"score\":1}' > /grade/results/results.json\n"})
	said := make(chan string, 2)
	for range 2 {
		go func() {
			var h heard
			_, err := p.Grade(context.Background(), submitted("g", ""), &h)
			said <- fmt.Sprint(h.String(), err)
		}()
	}
	require.NotEqual(t, strings.Fields(<-said)[1], strings.Fields(<-said)[1])
}
