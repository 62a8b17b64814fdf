// Package builder asks for environments that are made of recipes, as a gateway
// does: over HTTP, of the one service that may write them.
//
// It guarantees that an answer is bounded and is what the contract says, and keeps
// apart what the caller did wrong (a *RefusedError) from what failed.
package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/recipe"
	"github.com/prairielambda/prairielambda/jobs"
)

// Client asks the service at URL. It is safe for concurrent use.
type Client struct {
	URL       string
	Secret    string            // that the service knows us by
	Transport http.RoundTripper // default: http.DefaultTransport
}

// Name is what task ids of builds name in a worker's place.
const Name = "environments"

// Errors that callers branch on.
var (
	ErrFull    = errors.New("too many environments are being built")
	ErrMissing = errors.New("no such build")
)

// RefusedError is what the service says of the recipe.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

const maxAnswer = 64 << 20

var (
	environment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*@[0-9a-f]{64}$`)
	identifier  = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// Ask returns the environment that r was built as, NAME@DIGEST, or the id of the
// build that makes it.
func (c *Client) Ask(ctx context.Context, owner string, r *recipe.Recipe) (env, id string, err error) {
	body, err := json.Marshal(map[string]any{"owner": owner, "recipe": r})
	if err != nil {
		return "", "", fmt.Errorf("ask for an environment: %w", err)
	}
	var a struct{ Environment, ID string }
	if err := c.do(ctx, http.MethodPost, "/v1/environments", body, &a); err != nil {
		return "", "", fmt.Errorf("ask for an environment: %w", err)
	}
	if a.Environment != "" && environment.MatchString(a.Environment) || a.Environment == "" && identifier.MatchString(a.ID) {
		return a.Environment, a.ID, nil
	}
	return "", "", errors.New("ask for an environment: an answer with neither its name nor an id")
}

// Read returns what a build has said from line from on, as a run's output.
func (c *Client) Read(ctx context.Context, owner, id string, from int, wait time.Duration) (*jobs.RunChunk, error) {
	q := url.Values{"owner": {owner}, "from": {strconv.Itoa(from)}, "wait": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	var chunk jobs.RunChunk
	if err := c.do(ctx, http.MethodGet, "/v1/environments/"+url.PathEscape(id)+"?"+q.Encode(), nil, &chunk); err != nil {
		return nil, fmt.Errorf("read a build: %w", err)
	}
	return &chunk, nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Secret)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return json.Unmarshal(b, v)
	case http.StatusTooManyRequests:
		return ErrFull
	case http.StatusNotFound:
		return ErrMissing
	}
	var f struct {
		Error struct{ Code, Message string }
	}
	if resp.StatusCode == http.StatusBadRequest && json.Unmarshal(b, &f) == nil {
		return &RefusedError{f.Error.Message}
	}
	return fmt.Errorf("the builder answered %d", resp.StatusCode)
}
