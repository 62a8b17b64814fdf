package preview

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// hub tells every open page about a change.
type hub struct {
	mu     sync.Mutex // guards both
	pages  map[chan string]bool
	closed bool
}

func (h *hub) join() chan string {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan string, 1)
	if h.closed {
		close(c)
		return c
	}
	if h.pages == nil {
		h.pages = map[chan string]bool{}
	}
	h.pages[c] = true
	return c
}

func (h *hub) leave(c chan string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pages, c)
}

// tell never waits: a page that has not read the last change reloads anyhow.
func (h *hub) tell(version string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.pages {
		select {
		case c <- version:
		default:
		}
	}
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

// events streams changes as server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	ctl := http.NewResponseController(w)
	if err := ctl.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	c := s.hub.join()
	defer s.hub.leave(c)
	version, fault := s.current()
	fmt.Fprintf(w, "retry: 300\nevent: hello\ndata: %s%s\n\n", version, mark(fault))
	for ctl.Flush() == nil {
		select {
		case <-r.Context().Done():
			return nil
		case _, ok := <-c:
			if !ok {
				return nil
			}
			version, fault := s.current()
			fmt.Fprintf(w, "event: changed\ndata: %s%s\n\n", version, mark(fault))
		case <-time.After(20 * time.Second):
			fmt.Fprint(w, ": still here\n\n")
		}
	}
	return nil
}

// mark tells a page that a version is shown although a newer edit exists.
func mark(fault string) string {
	if fault == "" {
		return ""
	}
	return "!"
}
