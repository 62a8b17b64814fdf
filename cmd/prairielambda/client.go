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
	body, err := json.Marshal(inv)
	if err != nil {
		return nil, fmt.Errorf("encode the call: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/invoke", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	auth, err := c.sign(inv.Course, inv.Version, time.Now().Add(longest))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", auth)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the worker: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var fail struct {
			Error *jobs.Error `json:"error"`
		}
		if json.NewDecoder(resp.Body).Decode(&fail) == nil && fail.Error != nil {
			return nil, fail.Error
		}
		return nil, errors.New("ask the worker: it answered " + resp.Status)
	}
	var res jobs.Result
	if err := json.NewDecoder(resp.Body).Decode(&res); err != nil {
		return nil, fmt.Errorf("ask the worker: %w", err)
	}
	if len(res.Calls) != len(inv.Calls) {
		return nil, fmt.Errorf("ask the worker: %d answers to %d calls", len(res.Calls), len(inv.Calls))
	}
	return &res, nil
}
