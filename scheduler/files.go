package scheduler

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// files passes on client files. Which files those are is the worker's to say.
func (g *Gateway) files(x *exchange) error {
	p := x.vars["path"]
	x.note.name = p
	if err := checkPath("the file's path", p); err != nil {
		return err
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	course, asked := x.vars["course"], x.vars["version"]
	label, err := g.resolve(ctx, x, course, asked)
	if err != nil {
		return err
	}
	x.w.Header().Set("Prairie-Version", label)
	x.note.version = label
	req := fleet.Request{
		Method: x.r.Method,
		Path:   "/v1/files/" + course + "/" + label + "/" + escape(p),
		Header: traceOf(x.r), Course: course, Version: label, ID: x.id,
	}
	copyHeader(req.Header, x.r.Header, "Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since")
	// Only up to its headers can another worker take over; one that fails later cuts the answer short.
	won, err := onFleet(ctx, g, plan{key: routeKey(course, label)}, func(_ context.Context, w *fleet.Worker) (*http.Response, error) {
		return w.Send(ctx, req)
	})
	if err != nil {
		return err
	}
	defer won.Value.Body.Close()
	x.note.trip = trip{worker: won.By, tries: won.Tries}
	h := x.w.Header()
	copyHeader(h, won.Value.Header, "Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified")
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	if asked == jobs.CurrentVersion {
		h.Set("Cache-Control", "private, no-cache")
	}
	harden(h)
	x.w.WriteHeader(won.Value.StatusCode)
	if _, err := io.Copy(x.w, won.Value.Body); err != nil {
		return fmt.Errorf("send file: %w", err)
	}
	return nil
}

// escape escapes each segment of a path.
func escape(p string) string {
	segs := strings.Split(p, "/")
	for i, s := range segs {
		segs[i] = url.PathEscape(s)
	}
	return strings.Join(segs, "/")
}

func copyHeader(to, from http.Header, names ...string) {
	for _, k := range names {
		if vs := from[http.CanonicalHeaderKey(k)]; len(vs) > 0 {
			to[http.CanonicalHeaderKey(k)] = vs
		}
	}
}
