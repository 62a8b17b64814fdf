package build

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/recipe"
)

// Errors of Ask and Read.
var (
	ErrFull    = errors.New("too many environments are being built")
	ErrMissing = errors.New("no build has this identifier")
)

// Answer is what Ask answers: the environment, or who to ask for it.
type Answer struct {
	Environment string `json:"environment,omitempty"` // NAME@DIGEST, when it is there
	ID          string `json:"id,omitempty"`          // of its build; a plain word that nobody can guess
}

// Frame is one line of a build, in the shape of a run's output.
type Frame struct {
	Type string `json:"type"`
	Data string `json:"data"`
}

// Chunk is what has become of a build, in the shape of a run's output: the lines
// from the asked one on, and its end.
type Chunk struct {
	Frames    []Frame `json:"frames"`
	Completed bool    `json:"completed"`
	Status    int     `json:"status"` // 0, or 1 where it failed
	Outcome   string  `json:"outcome,omitempty"`
	Message   string  `json:"message,omitempty"`
}

// task is one build that was asked for.
type task struct {
	recipe string
	owner  string          // who began it
	owners map[string]bool // who may read it
	frames []Frame
	end    *Chunk        // nil while it runs
	more   chan struct{} // closed and replaced when there is more
	ended  time.Time
}

const maxTaskLines = 25_000

// Ask returns the environment that r was built as, or begins to build it, or
// joins those who wait for it.
func (s *Service) Ask(ctx context.Context, owner string, r *recipe.Recipe) (Answer, error) {
	for {
		asked := time.Now()
		a, err := s.find(ctx, r)
		if err != nil || a.Environment != "" {
			return a, err
		}
		if a, err = s.begin(owner, r, asked); err != nil || a.ID != "" {
			return a, err
		}
	}
}

// find answers with the environment if the store has it.
func (s *Service) find(ctx context.Context, r *recipe.Recipe) (Answer, error) {
	v, err := s.cfg.Syncer.Resolve(ctx, head.EnvCourse(r.Name()), "")
	if err == nil {
		s.used(ctx, r.Name())
		return Answer{Environment: r.Name() + "@" + v.Version}, nil
	}
	if errors.Is(err, head.ErrNotFound) {
		err = nil
	}
	return Answer{}, err
}

// begin joins the build of r or begins one. It answers nothing where one succeeded
// since the store was asked.
func (s *Service) begin(owner string, r *recipe.Recipe, asked time.Time) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return Answer{}, ErrFull
	}
	key := r.Digest()
	for id, t := range s.tasks {
		switch {
		case t.end == nil && t.recipe == key:
			t.owners[owner] = true
			return Answer{ID: id}, nil
		case t.end != nil && t.recipe == key && t.end.Status == 0 && !t.ended.Before(asked):
			return Answer{}, nil
		case t.end != nil && time.Since(t.ended) > s.cfg.Keep:
			delete(s.tasks, id)
		}
	}
	all, own := 0, 0
	for _, t := range s.tasks {
		if t.end == nil {
			all++
			if t.owner == owner {
				own++
			}
		}
	}
	if all >= s.cfg.Running+s.cfg.Waiting || own >= s.cfg.PerOwner {
		return Answer{}, ErrFull
	}
	id := rand.Text()
	t := &task{recipe: key, owner: owner, owners: map[string]bool{owner: true}, more: make(chan struct{})}
	s.tasks[id] = t
	s.wg.Go(func() { s.work(t, r) })
	return Answer{ID: id}, nil
}

func (s *Service) work(t *task, r *recipe.Recipe) {
	begun := time.Now()
	rep, err := s.Build(s.ctx, "", r, func(line string) {
		s.tell(t, func() { t.frames = append(t.frames, Frame{"console", line}) })
	})
	end := &Chunk{Completed: true, Outcome: "ok", Message: "the environment is there: " + rep.Environment}
	if err != nil {
		end.Status, end.Outcome, end.Message = 1, "build_failed", err.Error()
		if s.ctx.Err() != nil {
			end.Outcome, end.Message = "killed", "the builder was stopped; ask again"
		}
	}
	s.cfg.Log.Info().Err(err).Str("recipe", r.Name()).Str("environment", rep.Environment).Bool("reused", rep.Reused).Dur("took", time.Since(begun)).Msg("build")
	s.tell(t, func() { t.end, t.ended = end, time.Now() })
}

// tell changes t and wakes those who wait for it.
func (s *Service) tell(t *task, change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if change(); len(t.frames) > maxTaskLines {
		t.frames = t.frames[:maxTaskLines]
	}
	close(t.more)
	t.more = make(chan struct{})
}

// Read returns the lines of a build from number from on. With wait it returns as
// soon as there is one, or the build has ended, or the time is over. Another
// owner's build is ErrMissing.
func (s *Service) Read(ctx context.Context, owner, id string, from int, wait time.Duration) (Chunk, error) {
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	for waited := wait <= 0; ; {
		s.mu.Lock()
		t := s.tasks[id]
		if t == nil || !t.owners[owner] || from < 0 {
			s.mu.Unlock()
			return Chunk{}, ErrMissing
		}
		c := Chunk{Frames: []Frame{}}
		if t.end != nil {
			c = *t.end
		}
		c.Frames = append([]Frame{}, t.frames[min(from, len(t.frames)):]...)
		more := t.more
		s.mu.Unlock()
		if len(c.Frames) > 0 || c.Completed || waited {
			return c, nil
		}
		select {
		case <-more:
		case <-timer.C:
			waited = true
		case <-ctx.Done():
			return Chunk{}, context.Cause(ctx)
		}
	}
}

// decode reads the recipe of a request, which is bounded by its caller.
func decode(raw json.RawMessage) (*recipe.Recipe, error) {
	r, err := recipe.ParseJSON(raw)
	if err == nil && r.Empty() {
		err = &recipe.Error{Reason: "it asks for nothing"}
	}
	if err != nil {
		return nil, fmt.Errorf("read the recipe: %w", err)
	}
	return r, nil
}
