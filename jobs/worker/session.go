package worker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/coder/websocket"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/pool"
)

// session answers executor lines over a WebSocket: one sandbox, one JSON object a
// line. It ends with the socket, with the sandbox, or when nothing was asked for
// pool.SessionIdle.
func (w *Worker) session(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	inv := jobs.Invocation{
		Course: q.Get("course"), Version: q.Get("version"), Question: q.Get("question"),
		CourseInstance: q.Get("course_instance"), Assessment: q.Get("assessment"),
	}
	id := r.Header.Get("Prairie-Id")
	ctx, end, ok := w.open(rw, r, inv.Course, inv.Version)
	if !ok {
		return
	}
	defer end()
	s, err := w.cfg.Pool.OpenSession(ctx, &inv)
	if err != nil {
		w.refuse(rw, r, id, err)
		return
	}
	defer s.Close()
	rw.Header().Set("Prairie-Version", s.Version())
	conn, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // ServeHTTP refused every Origin
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // closed properly below, or gone
	conn.SetReadLimit(w.cfg.MaxBody)
	for {
		line, err := nextLine(ctx, conn)
		if err != nil {
			conn.Close(websocket.StatusNormalClosure, "idle") //nolint:errcheck // told, or gone
			return
		}
		if !json.Valid(line) {
			conn.Close(websocket.StatusInvalidFramePayloadData, "a line is one JSON object") //nolint:errcheck
			return
		}
		answer, alive, err := s.Line(ctx, line)
		if err != nil {
			if !errors.Is(err, pool.ErrSessionLost) {
				w.metrics.failed.Inc()
				w.cfg.Log.Error().Err(err).Str("id", id).Msg("session failed")
			}
			conn.Close(websocket.StatusInternalError, "session lost") //nolint:errcheck
			return
		}
		if conn.Write(ctx, websocket.MessageText, answer) != nil {
			return
		}
		if !alive {
			conn.Close(websocket.StatusNormalClosure, "the sandbox has ended") //nolint:errcheck
			return
		}
	}
}

func nextLine(ctx context.Context, conn *websocket.Conn) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, pool.SessionIdle)
	defer cancel()
	kind, line, err := conn.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		err = errors.New("a line is text")
	}
	return line, err
}
