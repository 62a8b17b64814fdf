package scheduler

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

const (
	typeResult = "application/vnd.prairielambda.result+json"
	typeLines  = "application/x-ndjson"
	typeHTML   = "text/html; charset=utf-8"
)

// fullResult is a good answer with everything around it.
type fullResult struct {
	Data    json.RawMessage `json:"data,omitempty"`
	HTML    *string         `json:"html,omitempty"`
	File    *[]byte         `json:"file,omitempty"`
	Output  string          `json:"output"`
	Outcome jobs.Outcome    `json:"outcome"`
	Usage   jobs.Usage      `json:"usage"`
	Version string          `json:"version"`
	ID      string          `json:"id"`
}

// answer writes one good result in the form that the caller accepts.
func (x *exchange) answer(res *jobs.Result, c *jobs.CallResult) error {
	if accepts(x.r, typeResult) {
		full := fullResult{
			Data: c.Data, HTML: c.HTML, Output: c.Output, Outcome: c.Outcome,
			Usage: res.Usage, Version: x.note.version, ID: x.id,
		}
		if c.File != nil {
			full.File = &c.File
		}
		b, err := json.Marshal(full)
		if err != nil {
			return fmt.Errorf("encode result: %w", err)
		}
		x.send(typeResult, b)
		return nil
	}
	switch {
	case c.HTML != nil:
		x.send(typeHTML, []byte(*c.HTML))
	case c.File != nil:
		x.send("application/octet-stream", c.File)
	default:
		x.send("application/json", c.Data)
	}
	return nil
}

// send answers 200. What course code made is never trusted with the gateway's
// origin: a browser that shows it directly does so in a sandbox.
func (x *exchange) send(contentType string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	harden(h)
	x.w.Write(body)
	x.flush() // the caller does not wait for our notes
}

func (x *exchange) flush() {
	if f, ok := x.w.(http.Flusher); ok {
		f.Flush()
	}
}

func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.Contains(h.Get("Content-Type"), "html") || strings.Contains(h.Get("Content-Type"), "xml") {
		h.Set("Content-Security-Policy", "sandbox")
	}
}

// accepts reports whether the caller names the media type t, which no browser
// does by chance.
func accepts(r *http.Request, t string) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), t) {
				return true
			}
		}
	}
	return false
}
