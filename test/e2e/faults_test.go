package e2e

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
	"github.com/prairielambda/prairielambda/test/machine"
)

// second is another worker on the same mount, with slots and users of its own; it
// ends with the test.
func second(t *testing.T, s *stack.Stack, more ...string) (url string, process *exec.Cmd) {
	t.Helper()
	addr, err := stack.FreeAddr()
	require.NoError(t, err)
	return "http://" + addr, secondAt(t, s, addr, filepath.Join(t.TempDir(), "runs"), more...)
}

// secondAt is second at an address and with runs that may have been another's.
func secondAt(t *testing.T, s *stack.Stack, addr, runs string, more ...string) (process *exec.Cmd) {
	t.Helper()
	args := []string{"serve", "--courses", s.Mount, "--listen", addr, "--runs", runs, "--slots", "16", "--base-uid", "65000"}
	process, err := s.Daemon("worker", append(args, more...)...)
	require.NoError(t, err)
	t.Cleanup(func() { // whatever the test did with it before
		_ = process.Process.Signal(syscall.SIGCONT)
		_ = process.Process.Signal(syscall.SIGTERM)
		cut := time.AfterFunc(20*time.Second, func() { _ = process.Process.Kill() })
		defer cut.Stop()
		_ = process.Wait()
	})
	answers(t, "http://"+addr+"/readyz")
	return process
}

// fronted is a way to a worker that can break: errors answers 500 to everything
// but probes, silent passes nothing on any more in either direction.
func fronted(t *testing.T, worker string) (viaHTTP string, errors func(bool), viaTCP string, silent func(bool)) {
	t.Helper()
	u, err := url.Parse(worker)
	require.NoError(t, err)
	var mu sync.Mutex
	broken, dark := false, make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		b := broken
		mu.Unlock()
		if b && r.Method == http.MethodPost {
			io.Copy(io.Discard, r.Body)
			http.Error(w, `{"error":{"code":"system_error","message":"told to","retryable":true}}`, http.StatusInternalServerError)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	closed := false
	pass := func(to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			mu.Lock()
			gate, shut := dark, closed
			mu.Unlock()
			if shut {
				<-gate // until the cable is mended
			}
			if err != nil {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", u.Host)
			if err != nil {
				in.Close()
				continue
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	errors = func(b bool) { mu.Lock(); broken = b; mu.Unlock() }
	silent = func(b bool) {
		mu.Lock()
		defer mu.Unlock()
		if b == closed {
			return
		}
		if closed = b; b {
			dark = make(chan struct{})
		} else {
			close(dark)
		}
	}
	t.Cleanup(func() { silent(false) })
	return srv.URL, errors, "http://" + ln.Addr().String(), silent
}

// Whatever happens to one of two workers, callers see one right answer each.
func TestFaultsOfOneWorkerStayInside(t *testing.T) {
	s, _ := start(t)
	for _, fault := range []string{"errors", "partitioned", "stopped", "killed"} { // killed is for good
		t.Run(fault, func(t *testing.T) {
			worker, process := second(t, s)
			viaHTTP, errors, viaTCP, silent := fronted(t, worker)
			way := map[string]string{"errors": viaHTTP, "partitioned": viaTCP, "stopped": worker, "killed": worker}[fault]
			at, _ := anotherGateway(t, s, s.Worker+","+way)
			require.Eventually(t, func() bool {
				_, metrics := get(t, at.Gateway+"/metrics")
				return strings.Count(metrics, "prairie_gateway_worker_up{") == 2 && !strings.Contains(metrics, "} 0\nprairie_gateway_worker_up")
			}, 30*time.Second, 20*time.Millisecond)
			n := machine.Length(1000)
			strike := func() {
				switch fault {
				case "errors":
					errors(true)
				case "partitioned":
					silent(true)
				case "stopped":
					require.NoError(t, process.Process.Signal(syscall.SIGSTOP))
				case "killed":
					require.NoError(t, process.Process.Kill())
				}
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			var wrong []string
			note := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, fmt.Sprintf(format, args...))
			}
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
			defer cancel()
			for i := range n {
				if i == n/3 {
					strike()
				}
				wg.Go(func() { // programs on both workers at once
					body := fmt.Sprintf(`{"runtime":"bash","files":[{"basename":"a.sh","contents":"echo $((%d * 7))"}],"hedge":"always"}`, i)
					status, answer := ask(ctx, at.Gateway+"/run", body)
					if status != 200 || !strings.Contains(answer, fmt.Sprintf(`"stdout":"%d\n"`, 7*i)) {
						note("run %d: %d %s", i, status, answer)
					}
				})
				wg.Go(func() { // and pure calls of one version, that stick to one of them
					status, answer := ask(ctx, at.Gateway+cubic, fmt.Sprintf(`{"method":"generate","data":{"params":{},"correct_answers":{},"variant_seed":%d}}`, i))
					if status != 200 || !strings.Contains(answer, fmt.Sprintf(`"variant_seed":%d`, i)) {
						note("generate %d: %d %s", i, status, answer)
					}
				})
				time.Sleep(40 * time.Millisecond) // 50 calls a second
			}
			wg.Wait()
			require.Empty(t, wrong[:min(len(wrong), 5)], "%d of %d calls", len(wrong), 2*n)
		})
	}
}

// ask comes back when it is told to: on a machine that does other things besides,
// there may be no place for a while. It takes no other failure.
func ask(ctx context.Context, url, body string) (status int, answer string) {
	for {
		status, answer = once(ctx, url, body)
		if ctx.Err() != nil || status != http.StatusTooManyRequests {
			return status, answer
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func once(ctx context.Context, url, body string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// A worker that is told to stop answers what it has begun, and its runs end.
func TestAWorkerDrains(t *testing.T) {
	s, _ := start(t)
	worker, process := second(t, s)
	type answer struct {
		status int
		body   string
	}
	done := make(chan answer, 2)
	go func() {
		status, body := ask(context.Background(), worker+"/v1/run", `{"runtime":"bash","files":[{"basename":"a.sh","contents":"sleep 2; echo whole"}]}`)
		done <- answer{status, body}
	}()
	require.Eventually(t, func() bool {
		_, b := get(t, worker+"/v1/status")
		return strings.Contains(b, `"busy":1`)
	}, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, process.Process.Signal(syscall.SIGTERM))
	a := <-done
	require.Equal(t, 200, a.status, a.body)
	require.Contains(t, a.body, `"stdout":"whole\n"`)
	require.NoError(t, process.Wait(), "ends with 0")
}
