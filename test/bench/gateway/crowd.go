package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/test/e2e/stack"
)

// crowd holds many connections open, each a reader who thinks for a second
// between two page parts: nineteen of twenty parts were rendered before, one is
// a new variant. It watches the gateway's memory.
func crowd(s *stack.Stack, generate, render string, conns int, length time.Duration) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns}}
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	failures := 0
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	var half float64
	time.AfterFunc(length/2, func() { v, _ := gauge(s.Gateway, "process_resident_memory_bytes"); mu.Lock(); half = v; mu.Unlock() })
	for c := range conns {
		wg.Go(func() {
			time.Sleep(time.Duration(c) * time.Second / time.Duration(conns))
			for i := c; time.Now().Before(end); i++ {
				t := time.Now()
				var err error
				if i%20 == 0 {
					err = post(client, generate, generateBody(c*1000+i))
				} else {
					err = post(client, render, renderBody(0))
				}
				mu.Lock()
				times = append(times, time.Since(t))
				if err != nil {
					failures++
					failed = err
				}
				mu.Unlock()
				time.Sleep(time.Second)
			}
		})
	}
	wg.Wait()
	full, err := gauge(s.Gateway, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	fmt.Printf("\n| connections | seconds | calls | errors | calls/s | p50 | p99 | gateway RSS at half time | at the end |\n|---|---|---|---|---|---|---|---|---|\n")
	fmt.Printf("| %d | %.0f | %d | %d | %.0f | %.0f ms | %.0f ms | %.0f MiB | %.0f MiB |\n", conns, length.Seconds(), len(times), failures,
		float64(len(times))/length.Seconds(), ms(quantile(times, 0.5)), ms(quantile(times, 0.99)), half/(1<<20), full/(1<<20))
	if failures > 0 {
		return fmt.Errorf("%d calls failed, the last with: %w", failures, failed)
	}
	return nil
}

// gauge reads one metric of a gateway.
func gauge(gateway, name string) (float64, error) {
	resp, err := http.Get(gateway + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
