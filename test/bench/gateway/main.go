// Command gateway measures what the gateway adds: the same calls at the worker
// directly, through fronts that do less and less (a bare reverse proxy, the
// gateway's own server and client with nothing between them, a bare relay of bytes)
// and through the gateway, in one interleaved run; a kept render beside one that runs; and many connections at
// once. The first table stands before a worker that answers at once, because
// what a sandbox's time varies by is more than what the gateway adds. It prints
// Markdown tables.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/test/course"
	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

func main() {
	calls := flag.Int("calls", 600, "calls of each path")
	conns := flag.Int("connections", 1000, "connections at once")
	seconds := flag.Int("seconds", 10, "how long they call")
	proxy := flag.String("proxy", "", "be the bare reverse proxy in front of this URL, on the address that follows")
	relay := flag.String("relay", "", "be the bare relay of bytes to this URL, on the address that follows")
	least := flag.String("least", "", "be the gateway's server and client alone before this worker, on the address that follows")
	instant := flag.String("instant", "", "be a worker that answers at once, on this address")
	every := flag.Int64("delay-every", 0, "as such a worker, delay every so many calls")
	delay := flag.Duration("delay", 0, "by this long")
	only := flag.String("only", "", "print one part: added, cache, crowd or hedge")
	flag.Parse()
	var err error
	switch {
	case *proxy != "":
		err = bareProxy(*proxy, flag.Arg(0))
	case *relay != "":
		err = bareRelay(*relay, flag.Arg(0))
	case *least != "":
		err = leastFront(*least, flag.Arg(0))
	case *instant != "":
		err = instantWorker(*instant, *every, *delay)
	default:
		err = run(*only, *calls, *conns, time.Duration(*seconds)*time.Second)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// path is one way to the same call.
type path struct {
	name, url string
	body      func(seed int) string
	times     []time.Duration
}

func run(only string, calls, conns int, length time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "prairie-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s, version, err := start(dir)
	if s != nil {
		defer func() { err = errors.Join(err, s.Close()) }()
	}
	if err != nil {
		return err
	}
	part := func(name string) bool { return only == "" || only == name }
	if part("added") {
		if err := added(s, version, calls); err != nil {
			return err
		}
	}
	if part("hedge") {
		if err := hedging(s, 10*calls); err != nil {
			return err
		}
	}
	qid := course.Cubic
	gateway := s.Gateway + "/courses/sample/" + version + "/question/" + qid
	kept := []*path{
		{name: "element `render` that runs", url: s.Gateway + "/courses/sample/" + version + "/element/" + element, body: renderBody},
		{name: "the same, kept", url: s.Gateway + "/courses/sample/" + version + "/element/" + element, body: func(int) string { return renderBody(0) }},
	}
	if part("cache") {
		if err := interleave(kept, calls, 4*time.Millisecond); err != nil {
			return err
		}
		table("render cache", kept)
	}
	if part("crowd") {
		return crowd(s, gateway, kept[1].url, conns, length)
	}
	return nil
}

func generateBody(seed int) string {
	return fmt.Sprintf(`{"method":"generate","data":{"params":{},"correct_answers":{},"variant_seed":%d}}`, seed)
}

// element is one of the sample course's own.
const element = "my-element"

func renderBody(seed int) string {
	return fmt.Sprintf(`{"method":"render","html":"<%s></%s>","data":{"params":{},"correct_answers":{},"submitted_answers":{},"variant_seed":%d,"panel":"question","editable":true,"options":{}}}`,
		element, element, seed)
}

func start(dir string) (s *stack.Stack, version string, err error) {
	bin, err := stack.Build(dir, "syncer", "chunkfs", "worker", "scheduler")
	if err != nil {
		return nil, "", err
	}
	src := filepath.Join(dir, "course")
	if err := course.WriteSample(src); err != nil {
		return nil, "", err
	}
	if _, err := course.GitInit(src, "bench"); err != nil {
		return nil, "", err
	}
	s = stack.New(dir, bin)
	if version, err = s.Push("sample", src); err != nil {
		return nil, "", err
	}
	return s, version, s.Start(context.Background())
}

// interleave takes turns in an order drawn anew each round, so that whatever else
// the machine does, and what each process still does after its answer, meets every
// path alike.
func interleave(paths []*path, calls int, rest time.Duration) error {
	client := &http.Client{}
	for i := range calls + 30 {
		for _, k := range rand.Perm(len(paths)) {
			p := paths[k]
			t := time.Now()
			if err := post(client, p.url, p.body(i)); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if took := time.Since(t); i >= 30 { // the first ones warm everything up
				p.times = append(p.times, took)
			}
			time.Sleep(rest) // a page load apart, so that spares are there
		}
	}
	return nil
}

func post(client *http.Client, url, body string) error {
	resp, err := client.Post(url, "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, b[:min(len(b), 300)])
	}
	return nil
}

func table(title string, paths []*path) {
	fmt.Printf("\n| %s | calls | p50 | p90 | p99 | p50 added |\n|---|---|---|---|---|---|\n", title)
	base := quantile(paths[0].times, 0.5)
	for _, p := range paths {
		m := quantile(p.times, 0.5)
		fmt.Printf("| %s | %d | %.3f ms | %.3f ms | %.3f ms | %+.0f µs |\n", p.name, len(p.times),
			ms(m), ms(quantile(p.times, 0.9)), ms(quantile(p.times, 0.99)), float64((m - base).Microseconds()))
	}
}

func quantile(d []time.Duration, q float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(float64(len(d))*q))]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
