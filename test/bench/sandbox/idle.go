package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	"github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// idle keeps spares of many course versions waiting and says what they take.
func (b *bench) idle(ctx context.Context, spares, versions int) error {
	source := os.DirFS(filepath.Join(b.dir, "courses", "c", version))
	name := func(i int) string { return fmt.Sprintf("%040x", i+1) }
	for i := range versions {
		if err := os.CopyFS(filepath.Join(b.dir, "courses", "many", name(i)), source); err != nil {
			return err
		}
	}
	h, err := sandbox.Open(sandbox.Config{Slots: spares + 12, BaseUID: 70000})
	if err != nil {
		return err
	}
	defer h.Close()
	before := available()
	p, err := pool.New(ctx, pool.Config{
		Host: h, Courses: b.courses, Python: runtime.Python("/usr/bin/python3"), Spares: spares,
		SparesEach: spares / versions, SpareMemory: 16 << 30, Running: 2,
	})
	if err != nil {
		return err
	}
	defer p.Close()
	zygote := available()
	start := time.Now()
	for i := range versions {
		res, err := p.Do(ctx, &jobs.Invocation{
			Course: "many", Version: name(i), Data: input(i),
			Calls: []jobs.Call{{Type: jobs.Question, Name: "cubic", Method: "generate"}},
		})
		if err != nil {
			return err
		}
		if c := res.Calls[0]; c.Outcome != jobs.OK {
			return fmt.Errorf("version %d: %s %s", i, c.Outcome, c.Message)
		}
	}
	for {
		if _, _, waiting := p.Claims(); waiting >= spares {
			break
		}
		if time.Since(start) > 90*time.Second {
			_, _, waiting := p.Claims()
			return fmt.Errorf("only %d of %d spares wait", waiting, spares)
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(start)
	used := zygote - available()
	fmt.Printf("\n%d idle spares of %d course versions were there after %.1f s and took %.0f MiB of this machine (%.1f MiB each), beside %.0f MiB for their zygote.\n",
		spares, versions, took.Seconds(), float64(used)/(1<<20), float64(used)/(1<<20)/float64(spares), float64(before-zygote)/(1<<20))
	return nil
}

// available is what the machine has left, by the kernel's own reckoning.
func available() int64 {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(raw)) {
		var kib int64
		if _, err := fmt.Sscanf(l, "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
