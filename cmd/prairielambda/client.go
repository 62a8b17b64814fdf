package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/ticket"
)

// client asks the worker beside us.
type client struct {
	url  string
	key  ed25519.PrivateKey
	http *http.Client
}

func newClient(url string, key ed25519.PrivateKey) *client {
	return &client{url, key, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// sign makes the ticket of one request.
func (c *client) sign(course, version string, deadline time.Time) (string, error) {
	return ticket.Sign(c.key, ticket.New(course, version, deadline))
}

// longest bounds one invocation, waiting included.
const longest = time.Minute

// Invoke implements question.Runner.
func (c *client) Invoke(ctx context.Context, inv *jobs.Invocation) (*jobs.Result, error) {
	var res jobs.Result
	if err := c.post(ctx, "/v1/invoke", inv.Course, inv.Version, inv, &res); err != nil {
		return nil, err
	}
	if len(res.Calls) != len(inv.Calls) {
		return nil, fmt.Errorf("ask the worker: %d answers to %d calls", len(res.Calls), len(inv.Calls))
	}
	return &res, nil
}

// run runs a program, which belongs to no course.
func (c *client) run(ctx context.Context, p *jobs.Program) (*jobs.ProgramResult, error) {
	var res jobs.ProgramResult
	return &res, c.post(ctx, "/v1/run", "", "", p, &res)
}

func (c *client) post(ctx context.Context, path, course, version string, ask, answer any) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return fmt.Errorf("encode the call: %w", err)
	}
	return c.ask(ctx, http.MethodPost, path, course, version, body, answer)
}

func (c *client) ask(ctx context.Context, method, path, course, version string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	auth, err := c.sign(course, version, time.Now().Add(longest))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", auth)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the worker: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		var fail struct {
			Error *jobs.Error `json:"error"`
		}
		if json.NewDecoder(resp.Body).Decode(&fail) == nil && fail.Error != nil {
			return fail.Error
		}
		return errors.New("ask the worker: it answered " + resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("ask the worker: %w", err)
	}
	return nil
}
