package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/builder"
	"github.com/prairielambda/prairielambda/scheduler/runs"
)

// A program names the environment that it runs in, or says what that is made of.
// What was never built is built first: the caller gets a task to follow, and asks
// again when it has ended. Any gateway can follow it; the builder keeps it.

var environmentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,123}(@[0-9a-f]{64})?$`)

// building is what a caller is told whose environment is being built.
const building = "the environment is being built; run again when this task has ended"

// environment is the one that raw asks for, NAME@DIGEST or NAME, "" for none, or
// the task that builds it.
func (g *Gateway) environment(ctx context.Context, x *exchange, raw json.RawMessage) (env, task string, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", "", nil
	}
	if x.public != nil {
		return "", "", refuse(http.StatusForbidden, "scope_missing", "pages may not choose environments")
	}
	if json.Unmarshal(raw, &env) == nil {
		if !environmentName.MatchString(env) {
			return "", "", refuse(http.StatusBadRequest, "bad_request", "environment is NAME, NAME@DIGEST or a recipe")
		}
		return env, "", nil
	}
	r, err := recipe.ParseJSON(raw)
	if err != nil {
		return "", "", refuse(http.StatusBadRequest, "bad_request", "environment: "+err.Error())
	}
	if err := g.mayBuild(x); err != nil {
		return "", "", err
	}
	env, id, err := g.cfg.Builder.Ask(ctx, x.note.token, r)
	var refused *builder.RefusedError
	switch {
	case errors.As(err, &refused):
		return "", "", refuse(http.StatusBadRequest, "bad_request", refused.Reason)
	case errors.Is(err, builder.ErrFull):
		f := refuse(http.StatusTooManyRequests, "busy", builder.ErrFull.Error())
		f.body.Retryable, f.retryAfter = true, 5*time.Second
		return "", "", f
	case err != nil:
		return "", "", builderLost(ctx, err)
	}
	if id != "" {
		task = runs.TaskID(builder.Name, id)
	}
	return env, task, nil
}

func builderLost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := refuse(http.StatusBadGateway, "builder_failed", "who builds environments does not answer")
	f.body.Retryable, f.cause = true, err
	return f
}

// mayBuild: a build runs what strangers wrote for minutes, so that the right to
// run programs does not cover it.
func (g *Gateway) mayBuild(x *exchange) error {
	if g.cfg.Builder == nil {
		return refuse(http.StatusNotFound, "environment_missing", "this gateway builds no environments; name one")
	}
	if g.cfg.Tokens == nil {
		return nil
	}
	if t, err := g.cfg.Tokens.Token(bearer(x.r)); err != nil || !t.Allows("build", "") {
		return refuse(http.StatusForbidden, "scope_missing", "the token does not cover build here")
	}
	return nil
}

// readBuild is readRun for the builder's tasks.
func (g *Gateway) readBuild(ctx context.Context, x *exchange, id string, from int, wait time.Duration) (*jobs.RunChunk, error) {
	c, err := g.cfg.Builder.Read(ctx, x.note.token, id, from, wait)
	switch {
	case errors.Is(err, builder.ErrMissing):
		return nil, refuse(http.StatusNotFound, jobs.RunMissing, "no run has this identifier")
	case err != nil:
		return nil, builderLost(ctx, err)
	}
	return c, nil
}

// accepted answers 202: the work goes on as a task.
func (x *exchange) accepted(task, message string) error {
	b, err := json.Marshal(map[string]string{"identifier": task, "message": message})
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	harden(h)
	x.w.WriteHeader(http.StatusAccepted)
	_, _ = x.w.Write(b) // the caller has left, if this fails
	return nil
}
