// Command sandbox times one numpy and sympy question at the pool's own entry,
// from a warm spare and on demand, beside peers that do the same work: a fork of
// a warm interpreter without any isolation, and cold starts of python3, of bwrap
// and of runc. All are interleaved in one run; it prints a Markdown table with
// ratios, which hold on other machines better than times do. Every call of every
// peer has numbers that no process has computed with before.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

func main() {
	sandbox.Stage()
	rounds := flag.Int("rounds", 12, "rounds; each has one cold start of each peer")
	warm := flag.Int("warm", 25, "warm calls of each kind in a round")
	only := flag.Bool("programs", false, "time the programs alone")
	flag.Parse()
	if err := run(context.Background(), *rounds, *warm, *only); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox bench:", err)
		os.Exit(1)
	}
}

// peer is one way to have the work done, once.
type peer struct {
	name string
	cold bool // once a round
	once func(seed int) error
	// ready waits, outside the measured time, until the peer is as it should be.
	ready func() error
	times []time.Duration
}

// time has the work done once, and keeps how long it took if it counts.
func (p *peer) time(seed int, counts bool) error {
	if p.ready != nil {
		if err := p.ready(); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := p.once(seed); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if counts {
		p.times = append(p.times, time.Since(start))
	}
	return nil
}

func run(ctx context.Context, rounds, warm int, only bool) error {
	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	if only {
		return b.programs(ctx, 2*rounds)
	}
	spare := &peer{name: "spare", once: b.pool(ctx, b.spares), ready: b.spareReady}
	demand := &peer{name: "on demand", once: b.pool(ctx, b.demand)}
	bare := &peer{name: "bare zygote fork, no isolation", once: b.fork.ask("fork")}
	inside := &peer{name: "same function in-process, no fork", once: b.call.ask("call")}
	python := &peer{name: "python3, cold", cold: true, once: b.command(b.python()...)}
	bwrap := &peer{name: "bwrap + python3, cold", cold: true, once: b.command(b.bwrap()...)}
	peers := []*peer{spare, demand, bare, inside, python, bwrap}
	if argv, err := b.runc(); err == nil {
		peers = append(peers, &peer{name: "runc + python3, cold", cold: true, once: b.command(argv...)})
	} else {
		fmt.Fprintln(os.Stderr, "no runc:", err)
	}
	seed := 0
	for round := -1; round < rounds; round++ { // the first one counts for nothing
		for _, p := range peers {
			n := warm
			if p.cold {
				n = 1
			}
			for range n {
				seed++
				if err := p.time(seed, round >= 0); err != nil {
					return err
				}
			}
		}
	}
	fmt.Println("| path | p10 | p50 | p90 | p99 | faster than bwrap | of the bare fork |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, p := range peers {
		fmt.Printf("| %s | %s | %s | %s | %s | %.1fx | %.2fx |\n", p.name, ms(p.at(10)), ms(p.at(50)), ms(p.at(90)), ms(p.at(99)),
			ratio(bwrap.at(50), p.at(50)), ratio(p.at(50), bare.at(50)))
	}
	b.showPhases("spare", b.spares)
	b.showPhases("on demand", b.demand)
	if err := b.targets(ctx, spare, demand, bare, inside, bwrap); err != nil {
		return err
	}
	if err := again(4*warm, inside); err != nil {
		return err
	}
	if err := b.programs(ctx, 2*rounds); err != nil {
		return err
	}
	return b.idle(ctx, 500, 50)
}

// again repeats a peer with one number: sympy remembers results, and whoever asks
// for the same once more times its memory and not its work.
func again(n int, inside *peer) error {
	met := &peer{name: inside.name, once: inside.once}
	for range n {
		if err := met.time(1, true); err != nil {
			return err
		}
	}
	fmt.Printf("\nWith a number that sympy has met: in-process p50 %s.\n", ms(met.at(50)))
	return nil
}

// showPhases prints where a call's time went, by the pool's own word.
func (b *bench) showPhases(name string, p *pool.Pool) {
	median := func(part func(jobs.Phases) time.Duration) string {
		m := &peer{}
		for _, ph := range b.phases[p] {
			m.times = append(m.times, part(ph))
		}
		return ms(m.at(50))
	}
	fmt.Printf("\n%s, medians: queue %s, claim %s, run %s, collect %s.", name,
		median(func(p jobs.Phases) time.Duration { return p.Queue }), median(func(p jobs.Phases) time.Duration { return p.Claim }),
		median(func(p jobs.Phases) time.Duration { return p.Run }), median(func(p jobs.Phases) time.Duration { return p.Collect }))
	fmt.Println()
}

// targets prints what is asked of the product beside what this run gave.
func (b *bench) targets(ctx context.Context, spare, demand, bare, inside, bwrap *peer) error {
	const n = 200
	var cost [3]usage
	for i, p := range []*peer{spare, demand, bare} {
		u, err := b.cost(p, n)
		if err != nil {
			return err
		}
		cost[i] = u
	}
	_, forks, _ := b.spares.Claims()
	two, err := b.twoClients(spare)
	if err != nil {
		return err
	}
	_, after, _ := b.spares.Claims()
	private, whole, err := b.memory()
	if err != nil {
		return err
	}
	fmt.Println("\n| asked | wanted | got |")
	fmt.Println("|---|---|---|")
	row := func(what string, want string, got float64) { fmt.Printf("| %s | %s | %.2fx |\n", what, want, got) }
	row("spare p50 faster than bwrap", "at least 400x", ratio(bwrap.at(50), spare.at(50)))
	row("spare p50 of the bare fork's p50", "at most 0.35x", ratio(spare.at(50), bare.at(50)))
	row("spare p90 of the bare fork's p50", "at most 0.6x", ratio(spare.at(90), bare.at(50)))
	row("spare p99 with 2 clients (20 ms between calls) faster than bwrap's p50", "at least 100x", ratio(bwrap.at(50), two.at(99)))
	row("on demand p50 faster than bwrap", "at least 60x", ratio(bwrap.at(50), demand.at(50)))
	row("spare p50 of the same function in-process", "at most 3x", ratio(spare.at(50), inside.at(50)))
	row("on-demand calls a second of the bare fork's", "at least 0.7x", ratio(cost[2].wall, cost[1].wall))
	row("CPU of a spare's call with its refill, of a bare fork's", "at most 2.2x", ratio(cost[0].cpu, cost[2].cpu))
	row("private memory of a warm spare, of its interpreter", "at most 0.083x", float64(private)/float64(whole))
	fmt.Printf("\nTwo clients: p50 %s, p90 %s, p99 %s; %d of %d calls found no spare.\n",
		ms(two.at(50)), ms(two.at(90)), ms(two.at(99)), after-forks, len(two.times))
	fmt.Printf("\nCPU a call: spare with refill %s, on demand %s, bare fork %s. Calls a second, one client: on demand %.0f, bare fork %.0f. "+
		"A warm spare holds %.1f MiB for itself, its interpreter %.1f MiB.\n", ms(cost[0].cpu), ms(cost[1].cpu), ms(cost[2].cpu),
		1/cost[1].wall.Seconds(), 1/cost[2].wall.Seconds(), float64(private)/(1<<20), float64(whole)/(1<<20))
	return nil
}

func (p *peer) at(percent int) time.Duration {
	s := slices.Sorted(slices.Values(p.times))
	return s[min(len(s)-1, len(s)*percent/100)]
}

// usage is per call.
type usage struct{ wall, cpu time.Duration }

func (b *bench) cost(p *peer, n int) (usage, error) {
	before, start := b.cpu(), time.Now()
	for i := range n {
		if err := p.once(1_000_000 + i); err != nil {
			return usage{}, err
		}
	}
	wall := time.Since(start)
	if p.ready != nil { // its refill belongs to it
		if err := p.ready(); err != nil {
			return usage{}, err
		}
	}
	return usage{wall / time.Duration(n), (b.cpu() - before) / time.Duration(n)}, nil
}

func (b *bench) twoClients(p *peer) (all *peer, err error) {
	var mu sync.Mutex // guards all and err
	all = &peer{}
	var wg sync.WaitGroup
	for c := range 2 {
		wg.Go(func() {
			for i := range 150 {
				time.Sleep(20 * time.Millisecond)
				start := time.Now()
				e := p.once(2_000_000 + 1000*c + i)
				d := time.Since(start)
				mu.Lock()
				all.times = append(all.times, d)
				if e != nil {
					err = e
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all, err
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
