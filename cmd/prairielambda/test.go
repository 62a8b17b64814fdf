package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

// tested is what became of one question.
type tested struct {
	QID    string            `json:"qid"`
	Failed bool              `json:"failed"`
	Wall   time.Duration     `json:"wall"` // of all its trials together
	Faults []string          `json:"faults,omitempty"`
	Trials []*question.Trial `json:"trials"`
}

func testCommand() *cli.Command {
	var sf stackFlags
	var seeds, parallel int
	var asJSON, quiet, apart bool
	var junit string
	return &cli.Command{
		Name: "test", Usage: "COURSE_DIR [QID-GLOB ...]", Short: "try every question, with several seeds and its own tests",
		Long: `For each question and seed: generate, prepare, render, and for each of correct, incorrect and
invalid the submission that the question's own test makes, parsed, graded and compared with what
the test promised. A QID-GLOB is a QID, a folder of questions, or a pattern whose * also stands
for slashes; one that starts with ! leaves out what it matches.

The phases of a question follow each other in one sandbox that no other question sees: modules
of the course are executed afresh each time, libraries stay loaded. What fails there first is
tried again with a sandbox for each phase, as students have, and judged by that. With --apart
all seeds are tried so, which takes many times longer.

Exit code 1: questions fail. Console output is a warning.`,
		Flags: func(fs *flag.FlagSet) {
			sf.define(fs)
			fs.IntVar(&seeds, "seeds", 3, "seeds for each question")
			fs.IntVar(&parallel, "parallel", runtime.GOMAXPROCS(0)+1, "trials at once")
			fs.BoolVar(&asJSON, "json", false, "print the results as JSON, one question a line")
			fs.BoolVar(&quiet, "quiet", false, "print no progress")
			fs.BoolVar(&apart, "apart", false, "give each phase of every seed a sandbox of its own, as students have")
			fs.StringVar(&junit, "junit", "", "also write the results to this `file`, in JUnit's XML")
		},
		Run: func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) == 0 || seeds < 1 || parallel < 1 {
				return cli.Usagef("want COURSE_DIR [QID-GLOB ...], with --seeds and --parallel of at least 1")
			}
			return sf.with(ctx, env, args[0], func(s *stack, version string) error {
				qids, err := s.choose(version, args[1:])
				if err != nil {
					return err
				}
				begin := time.Now()
				tick, done := func() {}, func() {}
				if !quiet && !asJSON && cli.IsTerminal(env.Stderr) {
					bar := progressbar.NewOptions(len(qids)*seeds, progressbar.OptionSetWriter(env.Stderr), progressbar.OptionSetDescription("trials"),
						progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
					tick, done = func() { _ = bar.Add(1) }, func() { _ = bar.Finish() }
				}
				all, err := s.tryAll(ctx, version, qids, seeds, parallel, apart, tick)
				done() // the bar makes room for the table
				if err != nil {
					return err
				}
				if err := report(env.Stdout, all, asJSON, time.Since(begin)); err != nil {
					return err
				}
				if junit != "" {
					if err := writeJUnit(junit, s.course, all); err != nil {
						return err
					}
				}
				if slices.ContainsFunc(all, func(t tested) bool { return t.Failed }) {
					return cli.Silent(cli.ExitFailed)
				}
				return nil
			})
		},
	}
}

// choose lists the questions that globs mean, all without any.
func (s *stack) choose(version string, globs []string) (qids []string, err error) {
	var yes, no []string
	for _, g := range globs {
		if rest, not := strings.CutPrefix(g, "!"); not {
			no = append(no, rest)
		} else {
			yes = append(yes, g)
		}
	}
	matches := func(globs []string, qid string) bool {
		return slices.ContainsFunc(globs, func(g string) bool { return matchQID(g, qid) })
	}
	err = walkQuestions(s.files(version), func(qid string, _ bool) bool {
		if (len(yes) == 0 || matches(yes, qid)) && !matches(no, qid) {
			qids = append(qids, qid)
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("list questions: %w", err)
	}
	if len(qids) == 0 {
		return nil, cli.Usagef("no question matches %s", strings.Join(globs, " "))
	}
	return qids, nil
}

// perSandbox is how many seeds are rehearsed in one sandbox.
const perSandbox = 25

// tryAll runs the trials, several at once, and returns them by question.
func (s *stack) tryAll(ctx context.Context, version string, qids []string, seeds, parallel int, apart bool, tick func()) ([]tested, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	files := s.files(version)
	all := make([]tested, len(qids))
	at := map[string]*tested{}
	for i, qid := range qids {
		info := readInfo(files, qid)
		all[i] = tested{QID: qid, Faults: info.Faults, Failed: len(info.Faults) > 0}
		at[qid] = &all[i]
	}
	work := make(chan share)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards all
	for range parallel {
		wg.Go(func() {
			for w := range work {
				err := s.try(ctx, w, func(t *question.Trial) {
					mu.Lock()
					defer mu.Unlock()
					r := at[w.QID]
					r.Trials = append(r.Trials, t)
					r.Wall += t.Wall
					r.Failed = r.Failed || t.Fails()
					tick()
				})
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, qid := range qids {
		for first := 1; first <= seeds; first += perSandbox {
			last := min(first+perSandbox-1, seeds)
			select {
			case work <- share{s.course, version, qid, uint32(first), uint32(last), apart}:
			case <-ctx.Done():
				break feed
			}
		}
	}
	close(work)
	wg.Wait()
	for i := range all {
		slices.SortFunc(all[i].Trials, func(a, b *question.Trial) int { return int(a.Seed) - int(b.Seed) })
	}
	return all, context.Cause(ctx)
}

// report prints a table for people, or a line of JSON a question.
func report(w io.Writer, all []tested, asJSON bool, took time.Duration) error {
	if asJSON {
		e := json.NewEncoder(w)
		for _, t := range all {
			if err := e.Encode(t); err != nil {
				return err
			}
		}
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "\tquestion\tcorrect\tincorrect\tinvalid\tms a seed")
	failed, calls := 0, 0
	for _, t := range all {
		mark := "ok"
		if t.Failed {
			mark, failed = "FAIL", failed+1
		}
		for _, x := range t.Trials {
			calls += x.Calls
		}
		ms := t.Wall.Milliseconds() / int64(max(len(t.Trials), 1))
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\n", mark, t.QID, t.scores(question.Correct), t.scores(question.Incorrect), t.scores(question.Invalid), ms)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, t := range all {
		t.explain(w)
	}
	_, err := fmt.Fprintf(w, "\n%d questions, %d failed; %d calls in %.1f s, %.0f a second\n", len(all), failed, calls, took.Seconds(), float64(calls)/took.Seconds())
	return err
}

// scores sums up one case over the seeds.
func (t *tested) scores(c question.Case) string {
	var lo, hi float64
	n, refused := 0, 0
	for _, x := range t.Trials {
		switch v := x.Scores[c].(type) {
		case float64:
			if n == 0 {
				lo, hi = v, v
			}
			lo, hi, n = min(lo, v), max(hi, v), n+1
		case string:
			refused++
		}
	}
	switch {
	case n == 0 && refused == 0:
		return "-"
	case n == 0:
		return "refused"
	case lo == hi:
		return fmt.Sprintf("%.0f %%", 100*hi)
	}
	return fmt.Sprintf("%.0f to %.0f %%", 100*lo, 100*hi)
}

// explain prints what went wrong with a question, each thing once.
func (t *tested) explain(w io.Writer) {
	said := map[string]bool{}
	for _, f := range t.Faults {
		fmt.Fprintf(w, "\n%s: info.json: %s\n", t.QID, f)
	}
	for _, x := range t.Trials {
		for _, p := range x.Problems {
			what := fmt.Sprintf("%s: %s", where(p), p.Message)
			if said[what] {
				continue
			}
			said[what] = true
			kind := ""
			if p.Warning {
				kind = "warning: "
			}
			fmt.Fprintf(w, "\n%s%s (seed %d): %s\n", kind, t.QID, x.Seed, what)
			for _, text := range []string{p.Trace, p.Output} {
				if text != "" {
					fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    "))
				}
			}
		}
	}
}
