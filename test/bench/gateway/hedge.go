package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// hedging prints the tail of calls to two workers, one of which is slow now and
// then, with and without second attempts, and what those cost when both are slow.
func hedging(s *stack.Stack, calls int) error {
	fmt.Printf("\n| two workers | second attempts | calls | p50 | p99 | p99.5 | extra executions |\n|---|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		what   string
		every  [2]int64 // of each worker
		delay  time.Duration
		shares []string
	}{
		{"one delays 2 % of its calls by 500 ms", [2]int64{50, 0}, 500 * time.Millisecond, []string{"0", "0.05"}},
		{"both delay every call by 20 ms", [2]int64{1, 1}, 20 * time.Millisecond, []string{"0.05"}},
	} {
		for _, share := range c.shares {
			if err := hedgeRow(s, calls, c.what, c.every, c.delay, share); err != nil {
				return err
			}
		}
	}
	return nil
}

func hedgeRow(s *stack.Stack, calls int, what string, every [2]int64, delay time.Duration, share string) error {
	var urls []string
	for _, e := range every {
		stop, url, err := self(func(addr string) []string {
			return []string{"-instant", addr, "-delay-every", fmt.Sprint(e), "-delay", delay.String()}
		})
		if err != nil {
			return err
		}
		defer stop()
		urls = append(urls, url)
	}
	stop, gateway, err := front(s, strings.Join(urls, ","), "--hedge-share", share)
	if err != nil {
		return err
	}
	defer stop()
	for !ready(gateway) {
		time.Sleep(20 * time.Millisecond)
	}
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			client := &http.Client{}
			for i := range calls / 4 {
				// Eight versions, so that both workers are somebody's first choice.
				version := strings.Repeat(fmt.Sprint(i%8), 40)
				t := time.Now()
				err := post(client, gateway+"/courses/sample/"+version+"/question/q", generateBody(c*calls+i))
				mu.Lock()
				times = append(times, time.Since(t))
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	extra, err := gauge(gateway, "prairie_gateway_hedges_total")
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %s | %d | %.1f ms | %.1f ms | %.1f ms | %.2f %% |\n", what, share, len(times), ms(quantile(times, 0.5)),
		ms(quantile(times, 0.99)), ms(quantile(times, 0.995)), 100*extra/float64(len(times)))
	return nil
}

func ready(gateway string) bool {
	resp, err := http.Get(gateway + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}
