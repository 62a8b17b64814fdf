package scheduler

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

const (
	// sessionProtocol is the WebSocket subprotocol that a browser offers beside its bearer.
	sessionProtocol = "prairie.session"
	maxLine         = 64 << 20 // bytes of one answer of a session
	handshake       = 10 * time.Second
)

// session joins a caller's WebSocket to one sandbox: one JSON line a call in, one
// out. The sandbox ends with the socket, after SessionIdle, and after SessionTime. Until the
// worker has taken the session another one may; from then on a lost worker is an
// error that the caller sees, because what the sandbox knew is gone with it.
func (g *Gateway) session(x *exchange) error {
	q := x.r.URL.Query()
	question, instance, assessment := q.Get("question"), q.Get("course_instance"), q.Get("assessment")
	if question != "" {
		if err := checkPath("question", question); err != nil {
			return err
		}
	}
	if err := checkCourseware(instance, assessment); err != nil {
		return err
	}
	x.note.name, x.note.method = question, "session"
	ctx, cancel := g.deadline(x)
	defer cancel()
	course := x.vars["course"]
	label, err := g.resolve(ctx, x, course, x.vars["version"])
	if err != nil {
		return err
	}
	x.w.Header().Set("Prairie-Version", label)
	x.note.version = label
	leave, err := g.enter(ctx, course)
	if err != nil {
		return err
	}
	defer leave()
	life, end := context.WithTimeout(x.r.Context(), g.cfg.SessionTime)
	defer end()
	seen := url.Values{"course": {course}, "version": {label}, "question": {question}, "course_instance": {instance}, "assessment": {assessment}}
	req := fleet.Request{
		Path:   "/v1/session?" + seen.Encode(),
		Header: traceOf(x.r), Course: course, Version: label, ID: x.id,
	}
	won, err := onFleet(life, g, plan{key: routeKey(course, label), hedge: "off"}, func(ctx context.Context, w *fleet.Worker) (*fleet.Socket, error) {
		// The worker is told how long the session may live; the handshake may not take as long.
		ctx, cancel := context.WithCancelCause(ctx)
		defer time.AfterFunc(handshake, func() { cancel(fleet.ErrDown) }).Stop()
		return w.Dial(ctx, req, maxLine)
	})
	if err != nil {
		return err
	}
	worker := won.Value
	defer worker.Close()
	x.note.trip = trip{worker: won.By, tries: won.Tries}
	g.sockets.Add(1) // before http.Server forgets the connection
	defer g.sockets.Done()
	caller, err := websocket.Accept(x.w, x.r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // guard has judged the origin
		Subprotocols:       []string{sessionProtocol},
	})
	if err != nil {
		return nil // Accept has answered
	}
	defer caller.CloseNow() //nolint:errcheck // it is closed properly below, or gone
	caller.SetReadLimit(g.cfg.MaxBody)
	x.note.outcome = g.join(life, x, caller, worker)
	return nil
}

// join passes lines on until one side ends, and returns how it ended.
func (g *Gateway) join(ctx context.Context, x *exchange, caller *websocket.Conn, worker *fleet.Socket) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rested := make(chan struct{}, 1)
	idle := newIdle(g.cfg.SessionIdle, func() {
		select {
		case rested <- struct{}{}:
		default:
		}
	})
	defer idle.stop()
	var group sync.WaitGroup
	defer group.Wait()
	defer worker.Close()
	callerLeft := make(chan struct{})
	group.Go(func() {
		for {
			kind, line, err := caller.Read(ctx)
			if err != nil || kind != websocket.MessageText {
				close(callerLeft)
				return
			}
			idle.begin()
			if worker.Write(ctx, kind, line) != nil {
				return // the reader of the worker says how it ended
			}
		}
	})
	lost := make(chan websocket.StatusCode, 1)
	group.Go(func() {
		for {
			kind, line, err := worker.Read(ctx)
			if err != nil {
				lost <- websocket.CloseStatus(err)
				return
			}
			idle.end()
			if caller.Write(ctx, kind, line) != nil {
				lost <- websocket.StatusGoingAway
				return
			}
		}
	})
	select {
	case <-ctx.Done(): // the session's time is over, which has broken the connection
		return "over"
	case <-rested: // said before ctx ends, because that breaks the connection
		caller.Close(websocket.StatusNormalClosure, "idle") //nolint:errcheck // it leaves anyway
		cancel()
		return "idle"
	case <-g.cut:
		caller.Close(websocket.StatusGoingAway, "the gateway stops") //nolint:errcheck // it is told or gone
		cancel()
		return "cut"
	case <-callerLeft:
		cancel()
		return string(jobs.OK)
	case status := <-lost:
		if status != websocket.StatusNormalClosure && status != websocket.StatusGoingAway {
			f := refuse(http.StatusBadGateway, string(jobs.SessionLost), "the worker was lost, and with it the session; begin a new one")
			f.body.Retryable = true
			caller.Write(ctx, websocket.MessageText, f.shape(x.id))     //nolint:errcheck // told if still there
			caller.Close(websocket.StatusInternalError, "session lost") //nolint:errcheck
			return string(jobs.SessionLost)
		}
		caller.Close(websocket.StatusNormalClosure, "") //nolint:errcheck
		return string(jobs.OK)
	}
}

// idle calls once when no call has run for a while.
type idle struct {
	after time.Duration
	timer *time.Timer

	mu      sync.Mutex // guards running
	running int
}

func newIdle(after time.Duration, call func()) *idle {
	return &idle{after: after, timer: time.AfterFunc(after, call)}
}

func (i *idle) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.running++
	i.timer.Stop()
}

func (i *idle) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.running = max(0, i.running-1); i.running == 0 {
		i.timer.Reset(i.after)
	}
}

func (i *idle) stop() { i.timer.Stop() }
