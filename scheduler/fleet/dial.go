package fleet

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Socket is a WebSocket to a worker. It breaks when the worker goes down.
type Socket struct {
	*websocket.Conn
	stop func()
}

// Dial opens a WebSocket at a path of the worker, as long as ctx allows. The
// socket outlives ctx; Close ends it and gives the worker's place back. A refusal
// is an *Error.
func (w *Worker) Dial(ctx context.Context, r Request, maxMessage int64) (*Socket, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	req, err := w.request(ctx, r, deadline)
	if err != nil {
		return nil, err
	}
	w.inflight.Add(1)
	conn, res, err := websocket.Dial(ctx, w.URL+r.Path, &websocket.DialOptions{HTTPClient: w.fleet.client, HTTPHeader: req.Header})
	if err != nil {
		w.inflight.Add(-1)
		if res != nil && res.StatusCode != http.StatusSwitchingProtocols {
			return nil, w.refusal(res) // the library kept the beginning of the body
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else {
			w.suspect()
		}
		return nil, &Error{Worker: w.URL, Err: err}
	}
	conn.SetReadLimit(maxMessage)
	detach := context.AfterFunc(w.alive(), func() { conn.CloseNow() })
	return &Socket{conn, sync.OnceFunc(func() { detach(); w.inflight.Add(-1) })}, nil
}

// Close ends the socket at once; a second one does nothing.
func (s *Socket) Close() {
	s.stop()
	s.CloseNow() //nolint:errcheck // it is gone either way
}
