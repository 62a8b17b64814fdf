package chunkfs

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// wire stands between a mount and its bucket and damages what passes, as its
// mode says: "503", "404", "reset", "hang", "drip", "truncate", "flip", or "" for nothing.
type wire struct {
	*httptest.Server
	bucket string
	mode   atomic.Value // string
}

func newWire(bucket string) *wire {
	w := &wire{bucket: bucket}
	w.mode.Store("")
	w.Server = httptest.NewServer(w)
	return w
}

// ServeHTTP passes a request on, damaged.
func (w *wire) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	mode := w.mode.Load().(string)
	switch mode {
	case "503":
		http.Error(out, "try later", http.StatusServiceUnavailable)
		return
	case "404":
		if strings.Contains(r.URL.String(), "blobs") {
			http.NotFound(out, r)
			return
		}
	case "reset":
		reset(out)
		return
	case "hang":
		for w.mode.Load() == mode && r.Context().Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		reset(out)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, w.bucket+r.URL.RequestURI(), r.Body)
	if err != nil {
		panic(err)
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		reset(out)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		reset(out)
		return
	}
	for k, v := range resp.Header {
		out.Header()[k] = v
	}
	out.Header().Set("Content-Length", strconv.Itoa(len(body)))
	isBlob := resp.StatusCode == http.StatusOK && strings.Contains(r.URL.String(), "blobs")
	if isBlob && mode == "flip" && len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	out.WriteHeader(resp.StatusCode)
	switch {
	case isBlob && mode == "truncate":
		_, _ = out.Write(body[:len(body)/2])
		reset(out)
	case isBlob && mode == "drip":
		for i := range body {
			if _, err := out.Write(body[i : i+1]); err != nil || w.mode.Load() != mode {
				reset(out)
				return
			}
			out.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	default:
		_, _ = out.Write(body)
	}
}

// reset drops the connection as a dying host does.
func reset(out http.ResponseWriter) {
	conn, _, err := out.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
