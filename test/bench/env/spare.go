package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/prairielambda/prairielambda/internal/storage"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
	lambdaruntime "github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
	"github.com/prairielambda/prairielambda/syncer"
)

// work is what a question does: the libraries are warm in a spare, its own code is not.
const work = `import numpy
def generate(data):
    data["params"]["x"] = float(numpy.arange(100).sum())
`

// courses pushes one course that runs on the machine's own root and one, equal
// but for that, that runs in the environment.
func (b *bench) courses(ctx context.Context) error {
	st, err := storage.Open(ctx, "dir://"+filepath.Join(b.dir, "store"))
	if err != nil {
		return err
	}
	defer st.Close()
	for name, lambda := range map[string]string{"own": "", "inside": `{"environment":"bench"}`} {
		dir := filepath.Join(b.dir, "course-"+name)
		files := map[string]string{"infoCourse.json": "{}", "questions/q/info.json": `{"title":"q"}`, "questions/q/server.py": work}
		if lambda != "" {
			files["lambda.json"] = lambda
		}
		for file, content := range files {
			p := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
				return err
			}
		}
		if _, err := syncer.New(syncer.Config{Blobs: st.Blobs, Heads: st.Heads}).Push(ctx, name, syncer.Dir(dir, nil)); err != nil {
			return err
		}
	}
	return nil
}

// spares compares calls that find a warm spare, interleaved.
func (b *bench) spares(ctx context.Context) error {
	if err := b.courses(ctx); err != nil {
		return err
	}
	_, stop, err := b.mount(false)
	if err != nil {
		return err
	}
	defer stop()
	host, err := sandbox.Open(sandbox.Config{Slots: 16, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer host.Close()
	courses, err := pool.OpenCourses(filepath.Join(b.dir, "mnt"))
	if err != nil {
		return err
	}
	defer courses.Close()
	p, err := pool.New(ctx, pool.Config{
		Host: host, Courses: courses, Python: lambdaruntime.Python("/usr/bin/python3"), Program: lambdaruntime.Program, Log: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	defer p.Close()
	names := []string{"own", "inside"}
	took := map[string][]time.Duration{}
	before, _, _ := p.Claims()
	const warm, n = 10, 150
	for i := range warm + n {
		for _, course := range names {
			time.Sleep(60 * time.Millisecond) // for the next spare
			begin := time.Now()
			res, err := p.Do(ctx, &jobs.Invocation{
				Course: course, Version: pool.Current, Question: "q", Data: json.RawMessage(`{"params":{},"variant_seed":1}`),
				Calls: []jobs.Call{{Type: jobs.Question, Method: "generate"}},
			})
			if err != nil {
				return err
			}
			if res.Calls[0].Outcome != jobs.OK {
				return fmt.Errorf("call of %s: %s %s", course, res.Calls[0].Outcome, res.Calls[0].Message)
			}
			if i >= warm {
				took[course] = append(took[course], time.Since(begin))
			}
		}
	}
	claimed, forked, _ := p.Claims()
	p50 := map[string]float64{}
	for _, course := range names {
		slices.Sort(took[course])
		p50[course] = ms(took[course][n/2])
		fmt.Printf("a call of a spare, %-6s p50 %.2f ms, p90 %.2f ms\n", course, p50[course], ms(took[course][n*9/10]))
	}
	fmt.Printf("a spare in the environment of one on the machine's own: %.2fx (%d of %d calls found one)\n", p50["inside"]/p50["own"], claimed-before, claimed-before+forked)
	return nil
}
