package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/prairielambda/prairielambda/internal/cli"
	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/syncer/env"
)

// pushEnvironments makes the environments that the author named on the command line.
func (s *stack) pushEnvironments(ctx context.Context, all []string) error {
	for _, e := range all {
		name, source, ok := strings.Cut(e, "=")
		if !ok {
			return cli.Usagef("--env %q: want NAME=SOURCE", e)
		}
		src, err := env.Open(ctx, source, env.Limits{})
		if err != nil {
			return fmt.Errorf("environment %s: %w", name, err)
		}
		_, err = env.Push(ctx, s.syncer, name, src, env.Limits{})
		if err := errors.Join(err, src.Close()); err != nil {
			return fmt.Errorf("environment %s: %w", name, err)
		}
	}
	return nil
}

// grade has a submission graded and waits for its end; output is what the grader
// printed. A *jobs.Error says why it could not begin.
func (c *client) grade(ctx context.Context, g *jobs.Grading) (grade *jobs.Grade, output string, err error) {
	const owner = "page"
	var run jobs.RunCreated
	if err := c.post(ctx, "/v1/runs", g.Course, g.Version, jobs.RunRequest{Owner: owner, Grading: g}, &run); err != nil {
		return nil, "", err
	}
	var printed strings.Builder
	for from := 0; ; {
		q := url.Values{"owner": {owner}, "from": {strconv.Itoa(from)}, "wait": {"20000"}}
		var chunk jobs.RunChunk
		if err := c.ask(ctx, http.MethodGet, "/v1/runs/"+run.ID+"?"+q.Encode(), "", "", nil, &chunk); err != nil {
			return nil, "", err
		}
		from += len(chunk.Frames)
		for _, f := range chunk.Frames {
			var line string
			switch {
			case f.Type == jobs.FrameGrade:
				grade = &jobs.Grade{}
				if err := json.Unmarshal(f.Data, grade); err != nil {
					return nil, "", fmt.Errorf("read the grade: %w", err)
				}
			case json.Unmarshal(f.Data, &line) == nil:
				printed.WriteString(line + "\n")
			}
		}
		if !chunk.Completed {
			continue
		}
		if grade == nil {
			return nil, "", &jobs.Error{Code: "not_graded", Message: chunk.Message}
		}
		return grade, printed.String(), nil
	}
}
