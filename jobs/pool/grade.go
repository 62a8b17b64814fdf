package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/grade"
	lambdaruntime "github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// Grade has a submission graded by its question's external grader, in a fresh
// sandbox whose root is the grader's environment. What the grader does is a
// jobs.GradeState; the error is a *jobs.Error where the question or its
// environment cannot be had, and otherwise means that we failed.
func (p *Pool) Grade(ctx context.Context, g *jobs.Grading, watch Watcher) (*jobs.Grade, error) {
	ctx, leave, err := p.life.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	res, err := p.grade(ctx, g, watch)
	if isStale(err) {
		p.cfg.Courses.reopen()
		res, err = p.grade(ctx, g, watch) // the grader had not begun
	}
	return res, err
}

// grading is all that one grader's sandbox needs.
type grading struct {
	options *grade.Options
	env     *environment
	tree    *grade.Tree
	cmd     sandbox.Command
}

func (p *Pool) grade(ctx context.Context, g *jobs.Grading, watch Watcher) (*jobs.Grade, error) {
	// Each holds a tree while it waits for its place: no more of a course than could run.
	out, err := p.doors.enter(ctx, "graders of "+g.Course)
	if err != nil {
		return nil, fmt.Errorf("wait for a place to run: %w", err)
	}
	defer out()
	limits := p.limits(jobs.Limits{})
	r, err := p.ready(ctx, g, limits.Files)
	if err != nil {
		return nil, err
	}
	leave, err := p.place(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	limits.Wall = r.options.Timeout
	limits.CPU = 2 * limits.Wall
	limits.Processes++ // the sandbox's init
	scratch, err := p.cfg.Host.NewGradeTree(r.tree.Bytes+limits.Files, r.tree.Entries)
	if err != nil {
		return nil, err
	}
	defer scratch.Close()
	watch.Begin("run", "", r.cmd.Argv)
	res := &jobs.Grade{Environment: r.env.key(), FormatErrors: map[string][]string{}}
	res.Feedback.Start = time.Now().UTC()
	box, stop, err := p.startGrader(ctx, r.cmd, r.options.Networking, sandbox.Spec{Limits: limits, Scratch: scratch, Output: watch.Output})
	defer stop()
	if err != nil {
		return nil, err
	}
	t := box.Wait(ctx, limits.Wall)
	res.Usage = box.Close()
	res.Feedback.End = time.Now().UTC()
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("the grading was given up: %w", err)
	}
	judge(res, t, limits, scratch)
	if res.State == jobs.GraderFailed && !p.cfg.Host.HasUsers() {
		watch.Output(true, []byte(noUsers))
	}
	return res, nil
}

// Gradable says why a grading could not begin, in the words of Grade, and runs nothing.
func (p *Pool) Gradable(ctx context.Context, g *jobs.Grading) error {
	ctx, leave, err := p.life.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = p.ready(ctx, g, p.limits(jobs.Limits{}).Files)
	return err
}

// ready is all that a grading needs besides its place.
func (p *Pool) ready(ctx context.Context, g *jobs.Grading, limit int64) (*grading, error) {
	return apart(ctx, p.doors, g.Course, func() (*grading, error) {
		v, err := p.cfg.Courses.hold(g.Course, g.Version)
		if err != nil {
			return nil, err
		}
		defer p.cfg.Courses.release(v) // the grader sees a copy
		return p.prepare(v, g, limit)
	}, func(*grading) {})
}

// prepare reads what the question declares and makes the grader's tree.
func (p *Pool) prepare(v *version, g *jobs.Grading, limit int64) (*grading, error) {
	if !ValidName(g.Question) {
		return nil, missing(jobs.QuestionMissing, "there is no question %.200q", g.Question)
	}
	dir := "questions/" + g.Question
	info, err := readFile(v.dir, dir+"/info.json", 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(jobs.QuestionMissing, "there is no question %q", g.Question)
	}
	if err != nil {
		return nil, err
	}
	r := &grading{}
	if r.options, err = grade.ParseOptions(info); err != nil {
		return nil, ungradable("%s/%v", dir, err)
	}
	if r.env, err = p.cfg.Courses.grader(v, recipe.OfImage(r.options.Image)); err != nil {
		return nil, err
	}
	if r.tree, err = grade.NewTree(limit, g.Data); err != nil {
		return nil, &jobs.Error{Code: "bad_request", Message: err.Error()}
	}
	for _, f := range r.options.ServerFiles {
		for _, to := range []string{"serverFilesCourse/", "shared/"} { // older graders know the second one
			if err := copyIn(r.tree, v.dir, "serverFilesCourse/"+f, to+f); err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					err = ungradable("externalGradingOptions: the course has no serverFilesCourse/%s", f)
				}
				return nil, err
			}
		}
	}
	if err := copyIn(r.tree, v.dir, dir+"/tests", "tests"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r.cmd, err = r.command()
	return r, err
}

// ungradable says that a question cannot be graded as it is: the course's error.
func ungradable(format string, args ...any) error {
	return &jobs.Error{Code: "grader_missing", Outcome: jobs.QuestionError, Message: fmt.Sprintf(format, args...)}
}

// grader finds the environment of a grader's image: the one that the version was
// pushed with, and only where there was none of that name then, what it means now.
func (c *Courses) grader(v *version, ask string) (*environment, error) {
	var e *jobs.Error
	env, err := c.environment(v, ask)
	if !errors.As(err, &e) || strings.Contains(ask, "@") || !courseName.MatchString(ask) {
		return env, err
	}
	digest, err := os.Readlink(path.Join(c.path, ".env", ask, Current))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unusable("there is no environment %q for the grader's image; make one with: syncer env push %s IMAGE", ask, ask)
	}
	if err != nil {
		return nil, fmt.Errorf("find environment %s: %w", ask, err)
	}
	return c.environment(v, ask+"@"+digest)
}

// command is what the grader's sandbox starts; it makes the file executable that
// it names in the tree.
func (r *grading) command() (sandbox.Command, error) {
	set := r.env.settings
	argv := r.options.Entrypoint
	if len(argv) == 0 {
		argv = slices.Concat(set.Entrypoint, set.Cmd)
	}
	if len(argv) == 0 {
		return sandbox.Command{}, ungradable("externalGradingOptions: neither the question nor the image %s names an entrypoint", r.options.Image)
	}
	r.tree.Program(argv[0])
	cmd := lambdaruntime.ProgramIn(r.env.tree, set.Env)
	cmd.Root.Dirs = append(cmd.Root.Dirs, grade.Root)
	for name, value := range r.options.Environment {
		cmd.Env = slices.DeleteFunc(cmd.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if value != nil {
			cmd.Env = append(cmd.Env, name+"="+*value)
		}
	}
	cmd.Dir = "/"
	if d := path.Clean("/" + set.WorkDir); d == grade.Root || r.env.has(d) {
		cmd.Dir = d
	}
	cmd.Argv = argv
	if r.env.has("/bin/sh") {
		cmd.Argv = append(slices.Clone(asChild), argv...)
	} else if !r.env.has(argv[0]) && !strings.HasPrefix(argv[0], grade.Root+"/") {
		return cmd, ungradable("environment %s has no %q", r.env.key(), argv[0])
	}
	return cmd, nil
}

// judge says what became of a grader that has ended, and reads its results where
// they count: those of one that ended with 0. The messages are PrairieLearn's.
func judge(res *jobs.Grade, t sandbox.Turn, limits jobs.Limits, scratch *sandbox.Scratch) {
	outcome, code, signal := fate(t, res.Usage, limits)
	res.ExitCode = code
	fail := func(s jobs.GradeState, format string, args ...any) {
		res.State, res.Feedback.Message = s, fmt.Sprintf(format, args...)
	}
	switch {
	case outcome == jobs.Timeout:
		res.Feedback.TimedOut = true
		fail(jobs.GraderTimeout, "Your grading job did not complete within the time limit of %v seconds.\nPlease fix your code before submitting again.", limits.Wall.Seconds())
	case outcome == jobs.OutOfMemory:
		fail(jobs.GraderMemory, "The grading job used more than its limit of %d MiB of memory.", limits.Memory>>20)
	case outcome == jobs.OutputTooLarge:
		fail(jobs.GraderOutput, "The grading job printed more than its limit of %d KiB.", limits.Output>>10)
	case outcome != jobs.OK && signal == "":
		fail(jobs.GraderKilled, "The grading job was ended from outside.")
	case signal != "":
		fail(jobs.GraderFailed, "The grader was ended by %s.", signal)
	case code != 0:
		fail(jobs.GraderFailed, "The grader ended with exit code %d.", code)
	default:
		collect(res, scratch, fail)
	}
}

// collect reads results.json. Nothing lives that could change it.
func collect(res *jobs.Grade, scratch *sandbox.Scratch, fail func(jobs.GradeState, string, ...any)) {
	const unreadable = "Could not read grading results."
	f, err := scratch.Open(grade.ResultsFile)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		fail(jobs.ResultsMissing, unreadable+" The grader wrote no "+grade.Root+"/"+grade.ResultsFile+".")
		return
	case err != nil: // a link, a socket
		fail(jobs.ResultsNoFile, unreadable+" results.json is no regular file.")
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		fail(jobs.ResultsNoFile, unreadable+" results.json is no regular file.")
		return
	}
	b, err := io.ReadAll(io.LimitReader(f, grade.MaxResults+1))
	if err == nil && st.Size() > grade.MaxResults || len(b) > grade.MaxResults {
		fail(jobs.ResultsTooLarge, "The grading results were larger than 1MB. If the problem persists, please contact course staff or a proctor.")
		return
	}
	var r *grade.Results
	if err == nil {
		r, err = grade.ParseResults(b)
	}
	if err != nil {
		fail(jobs.ResultsMalformed, "Could not parse the grading results: results.json %v.", err)
		return
	}
	res.State, res.Score, res.Gradable = jobs.Graded, r.Score, r.Gradable
	if !r.Gradable {
		res.State = jobs.NotGradable
	}
	if len(r.FormatErrors) > 0 {
		res.FormatErrors["_external_grader"] = r.FormatErrors
	}
	res.Feedback.Succeeded, res.Feedback.Results = true, r.Whole
}
