package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
	lambdaruntime "github.com/prairielambda/prairielambda/jobs/runtime"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// environment is an immutable root filesystem on the mount, by its digest.
type environment struct {
	name, digest string
	tree         string // its directory
	settings     struct {
		Env        []string `json:"env"`
		Entrypoint []string `json:"entrypoint"`
		Cmd        []string `json:"cmd"`
		WorkDir    string   `json:"workdir"`
	}
}

func (e *environment) key() string { return e.name + "@" + e.digest }

// unusable says that an environment cannot be used as a course wants it to: the
// course's error, not ours.
func unusable(format string, args ...any) error {
	return &jobs.Error{Code: "environment_missing", Outcome: jobs.QuestionError, Message: fmt.Sprintf(format, args...)}
}

const maxEnvConfig = 1 << 20

// environment finds the one that ask, NAME or NAME@DIGEST, means for a version
// of a course. A name alone is what it was when the version was pushed: the
// mount tells, and the answer never changes.
func (c *Courses) environment(v *version, ask string) (*environment, error) {
	name, digest, pinned := strings.Cut(ask, "@")
	if !courseName.MatchString(name) || pinned && !versionName.MatchString(digest) {
		return nil, unusable("environment %.200q: want NAME or NAME@DIGEST", ask)
	}
	base := path.Join(c.path, ".env", name)
	if !pinned {
		var err error
		digest, err = os.Readlink(path.Join(base, v.pin()))
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, recipe.NamePrefix):
			return nil, unusable("the environment that the course's recipe asks for had not been built when this version was pushed; build it, then push again")
		case errors.Is(err, fs.ErrNotExist):
			return nil, unusable("there was no environment %q when this version of the course was pushed; push it, then a new version, or name NAME@DIGEST", name)
		case err != nil:
			return nil, fmt.Errorf("find environment %s: %w", name, err)
		case !versionName.MatchString(digest):
			return nil, fmt.Errorf("find environment %s: the mount says %q", name, digest)
		}
	}
	e := &environment{name: name, digest: digest, tree: path.Join(base, digest)}
	f, err := os.Open(e.tree + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unusable("there is no environment %s", e.key())
	}
	if err != nil {
		return nil, fmt.Errorf("open environment %s: %w", e.key(), err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnvConfig))
	if err != nil {
		return nil, fmt.Errorf("read environment %s: %w", e.key(), err)
	}
	if err := json.Unmarshal(b, &e.settings); err != nil {
		return nil, fmt.Errorf("read environment %s: %w", e.key(), err)
	}
	return e, nil
}

// has says whether a program is there, following links as inside.
func (e *environment) has(program string) bool { return sandbox.Within(e.tree, program) }

// pythons are where images keep their interpreter, the image's own first.
var pythons = []string{"/usr/local/bin/python3", "/opt/venv/bin/python3", "/usr/bin/python3"}

// runtimes are the environments' interpreters: a zygote each, started when first
// needed and ended when others are needed more.
type runtimes struct {
	pool *Pool
	over context.Context
	end  context.CancelFunc

	mu   sync.Mutex // guards the rest
	open map[string]*envRuntime
	tick uint64
}

// envRuntime is one environment's interpreter.
type envRuntime struct {
	ready  chan struct{} // closed when keeper or err is set
	keeper *keeper
	err    error
	failed time.Time

	users int // spawns under way; guarded by runtimes.mu
	used  uint64
}

// maxRuntimes bounds the interpreters besides the host's own: each is some
// hundred megabytes of libraries, though mostly shared pages of files.
const maxRuntimes = 8

// retryRuntime is how long an environment whose interpreter did not start is
// not tried again.
const retryRuntime = 5 * time.Second

func newRuntimes(p *Pool) *runtimes {
	over, end := context.WithCancel(context.Background())
	return &runtimes{pool: p, over: over, end: end, open: map[string]*envRuntime{}}
}

// spawn forks a sandbox from e's interpreter, which it starts where needed; a
// nil e is the host's.
func (p *Pool) spawn(ctx context.Context, e *environment, spec sandbox.Spec) (*sandbox.Box, error) {
	if e == nil {
		return p.python.spawn(ctx, spec)
	}
	r, err := p.envs.wait(ctx, e)
	if err != nil {
		return nil, err
	}
	defer p.envs.release(r)
	return r.keeper.spawn(ctx, spec)
}

// wait returns e's interpreter once it is warm; release must follow.
func (rs *runtimes) wait(ctx context.Context, e *environment) (*envRuntime, error) {
	r, old := rs.hold(e)
	for _, o := range old {
		rs.pool.ending.Go(o.keeper.close)
	}
	select {
	case <-r.ready:
	case <-ctx.Done():
		rs.release(r)
		return nil, fmt.Errorf("wait for environment %s: %w", e.key(), context.Cause(ctx))
	}
	if r.err != nil {
		rs.release(r)
		return nil, r.err
	}
	return r, nil
}

// warm has e's interpreter start, where there is an environment, and waits for it.
func (rs *runtimes) warm(ctx context.Context, e *environment) error {
	if e == nil {
		return nil
	}
	r, err := rs.wait(ctx, e)
	if err == nil {
		rs.release(r)
	}
	return err
}

func (rs *runtimes) hold(e *environment) (r *envRuntime, old []*envRuntime) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r = rs.open[e.key()]
	if r != nil && r.err != nil && time.Since(r.failed) > retryRuntime {
		delete(rs.open, e.key())
		r = nil
	}
	if r == nil {
		r = &envRuntime{ready: make(chan struct{}), users: 1} // start itself: it is not closed before it is there
		rs.open[e.key()] = r
		go rs.start(e, r)
	}
	rs.tick++
	r.users, r.used = r.users+1, rs.tick
	for len(rs.open) > maxRuntimes {
		least := ""
		for k, o := range rs.open {
			if o.users == 0 && (least == "" || o.used < rs.open[least].used) {
				least = k
			}
		}
		if least == "" {
			break
		}
		if rs.open[least].keeper != nil {
			old = append(old, rs.open[least])
		}
		delete(rs.open, least)
	}
	return r, old
}

func (rs *runtimes) release(r *envRuntime) {
	rs.mu.Lock()
	r.users--
	rs.mu.Unlock()
}

// start runs on no caller's context: whoever waits may give up, the next one finds it warm.
func (rs *runtimes) start(e *environment, r *envRuntime) {
	defer close(r.ready)
	k, err := rs.pool.startRuntime(rs.over, e)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.users--
	if r.keeper, r.err = k, err; err != nil {
		r.failed = time.Now()
	}
}

// startRuntime leaves a mount that does not answer behind once ctx ends.
func (p *Pool) startRuntime(ctx context.Context, e *environment) (*keeper, error) {
	ask := func(f func() (string, error)) (string, error) {
		return apart(ctx, p.doors, e.key(), f, func(string) {})
	}
	sick := func() (string, error) { // asks the mount whether it is the one to blame
		_, err := os.ReadDir(e.tree)
		return "", err
	}
	python, err := ask(func() (string, error) {
		if i := slices.IndexFunc(pythons, e.has); i >= 0 {
			return pythons[i], nil
		}
		return sick()
	})
	if err != nil {
		return nil, err
	}
	if python == "" {
		return nil, unusable("environment %s has no python3", e.key())
	}
	k, err := newKeeper(ctx, p.cfg.Host, lambdaruntime.PythonIn(e.tree, python, e.settings.Env), p.cfg.Log)
	if err == nil {
		return k, nil
	}
	if _, sick := ask(sick); sick != nil {
		return nil, errors.Join(err, sick)
	}
	p.cfg.Log.Warn().Err(err).Str("environment", e.key()).Msg("its interpreter does not start")
	return nil, unusable("the Python of environment %s does not start: %v", e.key(), err)
}

func (rs *runtimes) close() {
	rs.end()
	rs.mu.Lock()
	all := rs.open
	rs.open = map[string]*envRuntime{}
	rs.mu.Unlock()
	for _, r := range all {
		<-r.ready
		if r.keeper != nil {
			r.keeper.close()
		}
	}
}

// in is the environment that a version's Python code runs in; nil is the host's.
// A lambda without one of its own has its course's.
func (p *Pool) in(v *version, l *lambda) (*environment, error) {
	if l == nil || l.Environment.root == "" {
		l = v.lambda
	}
	if l == nil || l.Environment.root == "" {
		return nil, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.envs[l.Environment.root]; e != nil {
		return e, nil
	}
	e, err := p.cfg.Courses.environment(v, l.Environment.root)
	if err != nil {
		return nil, err
	}
	if v.envs == nil {
		v.envs = map[string]*environment{}
	}
	v.envs[l.Environment.root] = e
	return e, nil
}

// fault is the outcome of a session whose environment is unusable, if err says that.
func fault(err error) (sandbox.Turn, bool) {
	var e *jobs.Error
	if errors.As(err, &e) && e.Code == "environment_missing" {
		return sandbox.Turn{Outcome: e.Outcome, Message: e.Message}, true
	}
	return sandbox.Turn{}, false
}

// program is what a lambda's command sees: its environment, or what is installed here.
func (p *Pool) program(v *version, l *lambda) (sandbox.Command, error) {
	if l.Environment.root == "" {
		cmd, err := p.cfg.Program(l.Runtime)
		if err != nil {
			err = unusable("%v", err)
		}
		return cmd, err
	}
	e, err := p.in(v, l)
	if err != nil {
		return sandbox.Command{}, err
	}
	return lambdaruntime.ProgramIn(e.tree, e.settings.Env), nil
}
