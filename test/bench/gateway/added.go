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

	"github.com/prairielambda/prairielambda/scheduler/fleet"
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

// leastFront is net/http's server before the gateway's client and nothing between
// them: what is left when a gateway checks, counts, keeps and notes nothing.
func leastFront(target, addr string) error {
	f, err := fleet.New(fleet.Config{Workers: []string{target}})
	if err != nil {
		return err
	}
	worker := f.Workers()[0]
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // as above
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		res, err := worker.Send(r.Context(), fleet.Request{Path: r.URL.Path, Body: body})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		io.Copy(w, res.Body)
	}))
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
	return begin(cmd, addr)
}

func compare(title, worker, gateway, version string, calls int, rest time.Duration) error {
	invocation := func(seed int) string {
		return fmt.Sprintf(`{"course":"sample","version":%q,"question":%q,"data":{"params":{},"correct_answers":{},"variant_seed":%d},"calls":[{"type":"question","name":%q,"method":"generate"}]}`,
			version, course.Cubic, seed, course.Cubic)
	}
	paths := []*path{{name: "worker", url: worker + "/v1/invoke", body: invocation}}
	for _, f := range []struct{ name, role string }{
		{"bare relay of bytes", "-relay"},
		{"bare reverse proxy", "-proxy"},
		{"the gateway's server and client alone", "-least"},
	} {
		stop, at, err := self(func(addr string) []string { return []string{f.role, worker, addr} })
		if err != nil {
			return err
		}
		defer stop()
		paths = append(paths, &path{name: f.name, url: at + "/v1/invoke", body: invocation})
	}
	paths = append(paths, &path{name: "gateway", url: gateway + "/courses/sample/" + version + "/question/" + course.Cubic, body: generateBody})
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
	return begin(cmd, addr)
}

// begin starts a program and waits until it listens at addr.
func begin(cmd *exec.Cmd, addr string) (stop func(), base string, err error) {
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
