package scheduler

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/runs"
)

const (
	executeTime = 60 * time.Second // until a run's completed frame, at the latest
	socketIdle  = 60 * time.Second // until the next message
)

// refusal is what a WebSocket client gets instead of frames.
type refusal struct {
	Message      string `json:"message"`
	ConnectionID string `json:"connectionId"`
	RequestID    string `json:"requestId"`
}

// executeSocket serves the third generation of asynchronous clients: messages
// {action: "execute", data}, each answered by frames of which exactly the last is
// completed, or by one refusal.
func (g *Gateway) executeSocket(x *exchange) error {
	x.note.method = "execute"
	g.sockets.Add(1)
	defer g.sockets.Done()
	c, err := websocket.Accept(x.w, x.r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{sessionProtocol}})
	if err != nil {
		return nil // Accept has answered
	}
	defer c.CloseNow() //nolint:errcheck // it was closed properly, or is gone
	c.SetReadLimit(g.cfg.MaxBody)
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	go func() {
		select {
		case <-g.cut:
			c.Close(websocket.StatusGoingAway, "the gateway stops") //nolint:errcheck // told or gone
		case <-ctx.Done():
		}
	}()
	for {
		msg, err := readWithin(ctx, c, socketIdle)
		if err != nil {
			return nil // it left, or has nothing more to say
		}
		if err := g.oneExecute(ctx, x, c, msg); err != nil {
			return nil
		}
	}
}

func readWithin(ctx context.Context, c *websocket.Conn, d time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_, b, err := c.Read(ctx)
	return b, err
}

// oneExecute answers one message; an error means that the client is gone.
func (g *Gateway) oneExecute(ctx context.Context, x *exchange, c *websocket.Conn, msg []byte) error {
	var m struct {
		Action string          `json:"action"`
		Data   json.RawMessage `json:"data"`
	}
	err := decode(msg, &m)
	if err == nil && m.Action != "execute" {
		err = refuse(http.StatusBadRequest, "bad_request", "the action is execute")
	}
	run, cancel := context.WithTimeout(ctx, executeTime)
	defer cancel()
	id := ""
	if err == nil {
		id, _, err = g.startRun(run, x, m.Data) // a build is followed like a run
	}
	if err != nil {
		return write(ctx, c, refusal{faultOf(err).body.Message, x.id, x.id})
	}
	return g.stream(ctx, run, x, c, id)
}

// stream sends a run's frames as they come. The last one is completed, whatever
// becomes of the worker and of the time.
func (g *Gateway) stream(ctx, run context.Context, x *exchange, c *websocket.Conn, id string) error {
	for from := 0; ; {
		chunk, err := g.readRun(run, x, id, from, 5*time.Second)
		if err != nil {
			text, _ := json.Marshal(faultOf(err).body.Message) // a string: cannot fail
			chunk = &jobs.RunChunk{
				Frames:    []jobs.RunFrame{{Type: jobs.FrameInternal, Data: text}},
				Completed: true, Status: -1, Message: faultOf(err).body.Code,
			}
		}
		from += len(chunk.Frames)
		if len(chunk.Frames) > 0 || chunk.Completed {
			if err := write(ctx, c, runs.FrameOf(chunk)); err != nil || chunk.Completed {
				return err
			}
		}
	}
}

func write(ctx context.Context, c *websocket.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.Write(ctx, websocket.MessageText, b)
}
