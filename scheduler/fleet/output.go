package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/prairielambda/prairielambda/jobs"
)

// maxSpool bounds what is read of one run's output: its own bound, and what
// frames take besides.
const maxSpool = 16 << 20

// lastWord is how long after its end a run's output may still be on its way to
// the log.
const lastWord = 3 * time.Second

// Read returns the frames of a run from number from on, as a worker does. What
// the job printed, Nomad spools: a jobs.RunChunk a line.
func (l *Long) Read(ctx context.Context, id, owner string, from int, wait time.Duration) (*jobs.RunChunk, error) {
	k, err := l.find(ctx, id, owner)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(wait)
	for rest := 50 * time.Millisecond; ; rest = min(rest*3/2, time.Second) {
		c, err := l.read(ctx, k, from)
		if err != nil {
			return nil, err
		}
		if left := time.Until(until); c.Completed || len(c.Frames) > 0 || left <= 0 {
			return c, nil
		}
		select {
		case <-time.After(min(rest, time.Until(until))):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *Long) read(ctx context.Context, k *known, from int) (*jobs.RunChunk, error) {
	empty := &jobs.RunChunk{Frames: []jobs.RunFrame{}}
	alloc, ended, err := l.alloc(ctx, k)
	if err != nil {
		return nil, err
	}
	if alloc == "" {
		if !ended.IsZero() {
			return interrupted(empty), nil
		}
		return empty, nil // waits for its place
	}
	k.mu.Lock()
	at, offset := k.frames, k.offset
	k.mu.Unlock()
	if from < at {
		at, offset = 0, 0
	}
	b, err := l.log(ctx, alloc, *k.task, offset)
	switch {
	case err == nil:
	case !ended.IsZero() && time.Since(ended) > lastWord && missing(err):
		c := interrupted(empty)
		c.Message = "no output of the run is kept any more"
		return c, nil
	case ended.IsZero() || time.Since(ended) < time.Minute:
		return empty, nil // not begun yet, or its client is away for the moment
	default:
		return nil, err
	}
	c, n, whole, err := chunkOf(b, from-at)
	if err != nil {
		return nil, fmt.Errorf("output of long run: %w", err)
	}
	if !c.Completed {
		if !ended.IsZero() && time.Since(ended) > lastWord {
			return interrupted(c), nil
		}
		k.mu.Lock()
		if at+n > k.frames {
			k.frames, k.offset = at+n, offset+whole
		}
		k.mu.Unlock()
	}
	return c, nil
}

// interrupted completes the output of a run that had no last word of its own.
func interrupted(c *jobs.RunChunk) *jobs.RunChunk {
	c.Completed, c.Status, c.Outcome = true, -1, jobs.Killed
	c.Message = "the run was ended before the program had; start it again"
	return c
}

// alloc is the run's one allocation, and when it ended. A run without one that
// has ended was cancelled before it began.
func (l *Long) alloc(ctx context.Context, k *known) (id string, ended time.Time, err error) {
	list, err := persist(ctx, l.nomad, func(ctx context.Context, c *api.Client) ([]*api.AllocationListStub, error) {
		list, _, err := c.Jobs().Allocations(k.job, true, (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
		return list, err
	})
	if err != nil {
		return "", ended, fmt.Errorf("find long run: %w", err)
	}
	if len(list) > 0 {
		a := list[0]
		switch a.ClientStatus {
		case "complete", "failed", "lost":
			ended = time.Unix(0, a.ModifyTime)
		}
		return a.ID, ended, nil
	}
	job, err := l.job(ctx, k.job)
	if err != nil {
		return "", ended, err
	}
	if job.Status != nil && *job.Status == "dead" {
		ended = time.Now()
	}
	return "", ended, nil
}

// log reads what a task printed, from an offset on.
func (l *Long) log(ctx context.Context, alloc, task string, offset int64) ([]byte, error) {
	q := url.Values{"task": {task}, "type": {"stdout"}, "plain": {"true"}, "origin": {"start"}, "offset": {strconv.FormatInt(offset, 10)}}
	return each(ctx, l.nomad, func(ctx context.Context, c *api.Client) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		body, err := c.Raw().Response("/v1/client/fs/logs/"+alloc+"?"+q.Encode(), (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		defer body.Close()
		b, err := io.ReadAll(io.LimitReader(body, maxSpool))
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("read log: %w", err)
		}
		return b, nil
	})
}

// chunkOf joins the whole lines of b and leaves the first skip frames out. It
// returns how many frames and bytes the whole lines are.
func chunkOf(b []byte, skip int) (c *jobs.RunChunk, n int, whole int64, err error) {
	c = &jobs.RunChunk{Frames: []jobs.RunFrame{}}
	for {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			return c, n, whole, nil
		}
		var next jobs.RunChunk
		if err := json.Unmarshal(line, &next); err != nil {
			return nil, 0, 0, err
		}
		for _, f := range next.Frames {
			if n >= skip {
				c.Frames = append(c.Frames, f)
			}
			n++
		}
		frames := c.Frames
		*c = next
		c.Frames = frames
		b, whole = rest, whole+int64(len(line))+1
	}
}
