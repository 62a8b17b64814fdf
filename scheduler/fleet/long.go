package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/prairielambda/prairielambda/jobs"
)

// LongConfig says how long runs are dispatched. Inputs is required; the zero
// value of another field means its default.
type LongConfig struct {
	Job string // parameterized job; default "prairie-run"
	// Inputs keeps a program where the job finds it by the digest that Put returns.
	Inputs interface {
		Put(ctx context.Context, b []byte) (digest string, err error)
	}
	Most    int           // runs that wait or run at once, whoever dispatched them; default 64
	MaxWait time.Duration // for a place among them; default 5 s
}

// Reasons for which a Long refuses.
var (
	ErrLongFull    = errors.New("too many long runs wait or run")
	ErrLongMissing = errors.New("no such run")
)

// Long runs programs that take longer than a call may, each as a job of its own.
//
// It guarantees that a run which was asked for under one name is dispatched
// once, however often it is asked for and whichever leader was asked; that the
// runs which wait or run are bounded (two gateways at once may each exceed the
// bound by what they dispatch within a blink); and that a run which ended
// without its last word is completed as interrupted, never begun again. It keeps
// nothing: the run, its owner and its output lie with Nomad, for every gateway.
type Long struct {
	nomad *Nomad
	cfg   LongConfig

	mu         sync.Mutex // guards below
	counted    time.Time
	count      int               // that waited or ran at that time, and were dispatched since
	starting   int               // that have a place and are not dispatched yet
	dispatched int               // since the beginning
	known      map[string]*known // by the job's name
}

// Long returns the long runs of n's cluster.
func (n *Nomad) Long(cfg LongConfig) *Long {
	if cfg.Job == "" {
		cfg.Job = "prairie-run"
	}
	if cfg.Most <= 0 {
		cfg.Most = 64
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 5 * time.Second
	}
	return &Long{nomad: n, cfg: cfg, known: map[string]*known{}}
}

// Name is what task ids of long runs name in a worker's place.
func (l *Long) Name() string { return "nomad/" + l.cfg.Job }

// Start dispatches a run and returns its id, which nobody can guess. Asking again
// under the same owner and name for the same one finds the first.
func (l *Long) Start(ctx context.Context, name string, run *jobs.RunRequest) (id string, err error) {
	b, err := json.Marshal(jobs.RunRequest{Program: run.Program, Grading: run.Grading}) // its owner stays with Nomad
	if err != nil {
		return "", fmt.Errorf("encode long run: %w", err)
	}
	if err := l.enter(ctx); err != nil {
		return "", err
	}
	defer l.started()
	digest, err := l.cfg.Inputs.Put(ctx, b)
	if err != nil {
		return "", fmt.Errorf("keep the input of a long run: %w", err)
	}
	token := sha256.Sum256([]byte(run.Owner + "\x00" + name + "\x00" + digest))
	opts := &api.DispatchOptions{JobID: l.cfg.Job, Meta: map[string]string{"input": digest, "owner": run.Owner, "secret": rand.Text()}}
	w := new(api.WriteOptions)
	w.IdempotencyToken = hex.EncodeToString(token[:])
	res, err := persist(ctx, l.nomad, func(ctx context.Context, c *api.Client) (*api.JobDispatchResponse, error) {
		r, _, err := c.Jobs().DispatchOpts(opts, w.WithContext(ctx))
		return r, err
	})
	if err != nil {
		return "", fmt.Errorf("dispatch long run: %w", err)
	}
	// It may be that of an earlier request, with that one's secret.
	job, err := l.job(ctx, res.DispatchedJobID)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(res.DispatchedJobID, l.prefix()) + "-" + job.Meta["secret"], nil
}

func (l *Long) prefix() string { return l.cfg.Job + "/dispatch-" }

// enter waits for a place among the runs.
func (l *Long) enter(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.cfg.MaxWait, ErrLongFull)
	defer cancel()
	for {
		free, err := l.take(ctx)
		if free || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// take takes a place, if there is one.
func (l *Long) take(ctx context.Context) (bool, error) {
	l.mu.Lock()
	old, before := time.Since(l.counted) > 200*time.Millisecond, l.dispatched
	if old {
		l.counted = time.Now() // one asks, the others go by what is known
	}
	l.mu.Unlock()
	if old {
		n, err := l.Outstanding(ctx)
		if err != nil {
			return false, err
		}
		l.mu.Lock()
		l.count = n + l.dispatched - before // the answer may be older than these
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count+l.starting >= l.cfg.Most {
		return false, nil
	}
	l.starting++
	return true, nil
}

// started gives a place back to the count: its run is dispatched, or failed to be.
func (l *Long) started() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting--
	l.count++
	l.dispatched++
}

// Outstanding is how many runs wait or run, whoever dispatched them.
func (l *Long) Outstanding(ctx context.Context) (int, error) {
	s, err := persist(ctx, l.nomad, func(ctx context.Context, c *api.Client) (*api.JobSummary, error) {
		s, _, err := c.Jobs().Summary(l.cfg.Job, (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
		return s, err
	})
	if err != nil {
		return 0, fmt.Errorf("count long runs: %w", err)
	}
	if s.Children == nil {
		return 0, nil
	}
	return int(s.Children.Pending + s.Children.Running), nil
}

// Cancel ends a run, also one that was not begun yet. Its place in the cluster is
// taken away by scaling it to none: a token that may stop jobs could stop any.
func (l *Long) Cancel(ctx context.Context, id, owner string) error {
	k, err := l.find(ctx, id, owner)
	if err != nil {
		return err
	}
	none := 0
	_, err = persist(ctx, l.nomad, func(ctx context.Context, c *api.Client) (*api.JobRegisterResponse, error) {
		r, _, err := c.Jobs().Scale(k.job, *k.group, &none, "cancelled", false, nil, new(api.WriteOptions).WithContext(ctx))
		return r, err
	})
	if err != nil {
		return fmt.Errorf("cancel long run: %w", err)
	}
	return nil
}

// known is a run that was found, and how far its output was read.
type known struct {
	job, owner, secret string
	group, task        *string

	mu     sync.Mutex // guards both
	frames int        // whole ones that come before offset
	offset int64
}

// find returns the run with this id, when it is owner's.
func (l *Long) find(ctx context.Context, id, owner string) (*known, error) {
	i := strings.LastIndexByte(id, '-')
	if i <= 0 {
		return nil, ErrLongMissing
	}
	name, secret := l.prefix()+id[:i], id[i+1:]
	l.mu.Lock()
	k := l.known[name]
	l.mu.Unlock()
	if k == nil {
		job, err := l.job(ctx, name)
		if err != nil {
			return nil, err
		}
		k = &known{
			job: name, owner: job.Meta["owner"], secret: job.Meta["secret"],
			group: job.TaskGroups[0].Name, task: &job.TaskGroups[0].Tasks[0].Name,
		}
		l.mu.Lock()
		if len(l.known) >= 4096 {
			clear(l.known)
		}
		l.known[name] = k
		l.mu.Unlock()
	}
	if k.secret == "" || subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) != 1 || k.owner != owner {
		return nil, ErrLongMissing
	}
	return k, nil
}

// job reads a dispatched job, of a server that knows it: one that lags does not yet.
func (l *Long) job(ctx context.Context, name string) (*api.Job, error) {
	job, err := persist(ctx, l.nomad, func(ctx context.Context, c *api.Client) (*api.Job, error) {
		j, _, err := c.Jobs().Info(name, new(api.QueryOptions).WithContext(ctx))
		return j, err
	})
	switch {
	case missing(err):
		return nil, ErrLongMissing
	case err != nil:
		return nil, fmt.Errorf("read long run: %w", err)
	case len(job.TaskGroups) != 1 || len(job.TaskGroups[0].Tasks) != 1:
		return nil, fmt.Errorf("job %s is not like run.nomad.hcl", name)
	}
	return job, nil
}

// missing reports whether an agent said that there is no such thing.
func missing(err error) bool {
	var status api.UnexpectedResponseError
	return errors.As(err, &status) && status.StatusCode() == http.StatusNotFound
}

// persist asks until an agent answers, for ctx or for ten seconds: that long a
// cluster may be without a leader.
func persist[T any](ctx context.Context, n *Nomad, ask func(context.Context, *api.Client) (T, error)) (T, error) {
	until := time.Now().Add(10 * time.Second)
	for {
		v, err := each(ctx, n, ask)
		var status api.UnexpectedResponseError
		if err == nil || errors.As(err, &status) && status.StatusCode() < 500 || ctx.Err() != nil || time.Now().After(until) {
			return v, err
		}
		sleep(ctx, n.cfg.Pause)
	}
}
