package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// bareProxy is the least that any HTTP front can be.
func bareProxy(target, addr string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	p := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
	}
	return http.ListenAndServe(addr, p) //nolint:gosec // loopback, for the length of one benchmark
}

// bareRelay passes bytes on: what one more process on the way costs whatever it does.
func bareRelay(target, addr string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	pass := func(to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	for {
		in, err := ln.Accept()
		if err != nil {
			return err
		}
		out, err := net.Dial("tcp", u.Host)
		if err != nil {
			return err
		}
		go pass(in, out)
		go pass(out, in)
	}
}

// instantWorker speaks just enough of a worker's contract to be called, and does
// nothing, or every so many calls nothing for a while.
func instantWorker(addr string, every int64, delay time.Duration) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"tier":"root","runtimes":[],"slots":64}`)
	})
	var calls atomic.Int64
	mux.HandleFunc("/v1/invoke", func(w http.ResponseWriter, r *http.Request) {
		var inv struct{ Version string }
		if err := json.NewDecoder(r.Body).Decode(&inv); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		io.Copy(io.Discard, r.Body)
		if n := calls.Add(1); every > 0 && n%every == 0 {
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"version":%q,"data":{"params":{"a":1}},"calls":[{"outcome":"ok","data":{"params":{"a":1}},"wall":1}],"usage":{"wall":1,"cpu":1},"phases":{"queue":0,"claim":0,"run":1,"collect":0}}`, inv.Version)
	})
	return http.ListenAndServe(addr, mux) //nolint:gosec // loopback, for the length of one benchmark
}

const someVersion = "1111111111111111111111111111111111111111"

// added prints what each front adds, before an instant worker and before the real one.
func added(s *stack.Stack, version string, calls int) error {
	stop, instant, err := self(func(addr string) []string { return []string{"-instant", addr} })
	if err != nil {
		return err
	}
	defer stop()
	stopGateway, gateway, err := front(s, instant)
	if err != nil {
		return err
	}
	defer stopGateway()
	if err := compare("a worker that answers at once", instant, gateway, someVersion, 10*calls, 0); err != nil {
		return err
	}
	return compare("`generate` of "+course.Cubic, s.Worker, s.Gateway, version, calls, 4*time.Millisecond)
}

// front starts a gateway of its own before some workers.
func front(s *stack.Stack, workers string, more ...string) (stop func(), base string, err error) {
	addr, err := stack.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	log, err := os.OpenFile(s.Log("front"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.Bin, "scheduler"), append([]string{"serve", "--listen", addr, "--worker", workers}, more...)...)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	stop = func() { cmd.Process.Kill(); cmd.Wait() }
	if err := listening(addr); err != nil {
		stop()
		return nil, "", err
	}
	return stop, "http://" + addr, nil
}

func compare(title, worker, gateway, version string, calls int, rest time.Duration) error {
	stop, relay, err := self(func(addr string) []string { return []string{"-relay", worker, addr} })
	if err != nil {
		return err
	}
	defer stop()
	stop, proxy, err := self(func(addr string) []string { return []string{"-proxy", worker, addr} })
	if err != nil {
		return err
	}
	defer stop()
	invocation := func(seed int) string {
		return fmt.Sprintf(`{"course":"sample","version":%q,"question":%q,"data":{"params":{},"correct_answers":{},"variant_seed":%d},"calls":[{"type":"question","name":%q,"method":"generate"}]}`,
			version, course.Cubic, seed, course.Cubic)
	}
	paths := []*path{
		{name: "worker", url: worker + "/v1/invoke", body: invocation},
		{name: "bare relay of bytes", url: relay + "/v1/invoke", body: invocation},
		{name: "bare reverse proxy", url: proxy + "/v1/invoke", body: invocation},
		{name: "gateway", url: gateway + "/courses/sample/" + version + "/question/" + course.Cubic, body: generateBody},
	}
	if err := interleave(paths, calls, rest); err != nil {
		return err
	}
	table(title+", one call at a time", paths)
	return nil
}

// self starts this program in another role and waits until it listens.
func self(args func(addr string) []string) (stop func(), base string, err error) {
	addr, err := stack.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(exe, args(addr)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	stop = func() { cmd.Process.Kill(); cmd.Wait() }
	if err := listening(addr); err != nil {
		stop()
		return nil, "", err
	}
	return stop, "http://" + addr, nil
}

func listening(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
