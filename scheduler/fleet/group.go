package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Group is one group of a Nomad job that can be scaled between the bounds that
// the job itself states in its scaling block.
type Group struct {
	nomad      *Nomad
	job, group string
}

// Group returns the group that name means: job/group.
func (n *Nomad) Group(name string) (*Group, error) {
	job, group, ok := strings.Cut(name, "/")
	if !ok || job == "" || group == "" {
		return nil, fmt.Errorf("fleet: group %q is not like prairie-worker/python", name)
	}
	return &Group{n, job, group}, nil
}

// Count implements scale.Group.
func (g *Group) Count(ctx context.Context) (now, least, most int, err error) {
	job, err := each(ctx, g.nomad, func(ctx context.Context, c *api.Client) (*api.Job, error) {
		j, _, err := c.Jobs().Info(g.job, new(api.QueryOptions).WithContext(ctx))
		return j, err
	})
	if err != nil {
		return 0, 0, 0, fmt.Errorf("fleet: read job %s: %w", g.job, err)
	}
	if job.Stop != nil && *job.Stop {
		return 0, 0, 0, fmt.Errorf("fleet: job %s is stopped", g.job)
	}
	for _, tg := range job.TaskGroups {
		if *tg.Name != g.group {
			continue
		}
		s := tg.Scaling
		if s == nil || s.Enabled != nil && !*s.Enabled || s.Min == nil || s.Max == nil {
			return 0, 0, 0, fmt.Errorf("fleet: group %s of job %s has no scaling block with bounds", g.group, g.job)
		}
		return *tg.Count, int(*s.Min), int(*s.Max), nil
	}
	return 0, 0, 0, fmt.Errorf("fleet: job %s has no group %s", g.job, g.group)
}

// Scale implements scale.Group.
func (g *Group) Scale(ctx context.Context, n int, why string) error {
	_, err := each(ctx, g.nomad, func(ctx context.Context, c *api.Client) (*api.JobRegisterResponse, error) {
		r, _, err := c.Jobs().Scale(g.job, g.group, &n, why, false, nil, new(api.WriteOptions).WithContext(ctx))
		return r, err
	})
	if err != nil {
		return fmt.Errorf("fleet: scale %s/%s: %w", g.job, g.group, err)
	}
	return nil
}

// each asks one agent after another until one answers, first the one that did last.
// What an agent refused another one would refuse too.
func each[T any](ctx context.Context, n *Nomad, ask func(context.Context, *api.Client) (T, error)) (v T, err error) {
	first := n.first.Load()
	for i := range n.clients {
		at := (int(first) + i) % len(n.clients)
		if i+1 < len(n.clients) {
			v, err = briefly(ctx, n.cfg.Turn, n.clients[at], ask)
		} else {
			v, err = ask(ctx, n.clients[at])
		}
		var status api.UnexpectedResponseError
		if err == nil || errors.As(err, &status) && status.StatusCode() < 500 {
			n.first.Store(int32(at))
			return v, err
		}
	}
	return v, err
}

// briefly leaves time for the next agent where this one says nothing.
func briefly[T any](ctx context.Context, turn time.Duration, c *api.Client, ask func(context.Context, *api.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	return ask(ctx, c)
}
