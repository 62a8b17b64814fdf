package preview

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// hub tells every open page about a change. It numbers the changes, and a page
// carries the number that held before it was made: so it asks anew when it comes
// to listen and something changed in between.
type hub struct {
	mu     sync.Mutex // guards what follows
	pages  map[chan struct{}]bool
	told   int64 // begins with the time in ms, so that a hub's numbers follow those of one before it
	closed bool
}

func newHub() *hub {
	return &hub{pages: map[chan struct{}]bool{}, told: time.Now().UnixMilli()}
}

func (h *hub) join() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{}, 1)
	if h.closed {
		close(c)
		return c
	}
	h.pages[c] = true
	return c
}

func (h *hub) leave(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pages, c)
}

// tell never waits: a page that has not read the last change reloads anyhow.
func (h *hub) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told++
	for c := range h.pages {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// number is that of the last change. What is read after it shows that change.
func (h *hub) number() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.pages {
		close(c)
		delete(h.pages, c)
	}
}

// events streams the numbers of changes as server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	ctl := http.NewResponseController(w)
	if err := ctl.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	c := s.hub.join()
	defer s.hub.leave(c)
	fmt.Fprintf(w, "retry: 300\nevent: hello\ndata: %d\n\n", s.hub.number())
	for ctl.Flush() == nil {
		select {
		case <-r.Context().Done():
			return nil
		case _, ok := <-c:
			if !ok {
				return nil
			}
			fmt.Fprintf(w, "event: changed\ndata: %d\n\n", s.hub.number())
		case <-time.After(20 * time.Second):
			fmt.Fprint(w, ": still here\n\n")
		}
	}
	return nil
}
