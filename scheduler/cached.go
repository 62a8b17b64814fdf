package scheduler

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/rendercache"
)

// cacheKey returns the key under which the result of inv may be kept, and the
// runtimes that it would be computed with. A caller opts out with Cache-Control:
// no-store or no-cache, a course or question through its worker's results.
func (g *Gateway) cacheKey(ctx context.Context, x *exchange, inv *jobs.Invocation) (key rendercache.Key, runtime string, ok bool) {
	if g.cache == nil || len(inv.Calls) != 1 {
		return key, "", false
	}
	c := inv.Calls[0]
	if m := c.Method; m != "render" && m != "file" {
		return key, "", false
	}
	if cc := x.r.Header.Get("Cache-Control"); strings.Contains(cc, "no-store") || strings.Contains(cc, "no-cache") {
		return key, "", false
	}
	order := g.fleet.Order(routeKey(inv.Course, inv.Version))
	if len(order) == 0 {
		return key, "", false
	}
	runtime = order[0].Runtimes()
	version := g.chunks(ctx, x, inv.Course, inv.Version)
	if version == nil {
		return key, "", false
	}
	key, ok = rendercache.Input{
		Runtime: runtime, Version: version, Call: c, Question: inv.Question,
		CourseInstance: inv.CourseInstance, Assessment: inv.Assessment, Data: inv.Data, Limits: inv.Limits,
	}.Key()
	return key, runtime, ok
}

// cached answers inv from the render cache, or runs it once for everybody who
// asks for the same.
func (g *Gateway) cached(ctx context.Context, x *exchange, inv *jobs.Invocation, key rendercache.Key, runtime string) (*jobs.Result, error) {
	var t trip // written by the computation, read only after it ended
	trace := traceOf(x.r)
	res, how, err := g.cache.Do(ctx, key, func(ctx context.Context) (*jobs.Result, error) {
		done, err := g.execute(ctx, inv, trace)
		if err == nil && done.worker.Runtimes() != runtime {
			done.res.Calls[0].NoStore = true // another worker stepped in, with other runtimes
		}
		t = done
		return done.res, err
	})
	x.note.cache = how
	x.w.Header().Set("Prairie-Cache", how)
	if how == "miss" && ctx.Err() == nil {
		x.note.trip = t
	}
	return res, err
}

// purge empties the render cache and the spools of the workers' completed runs.
// A worker that keeps none says so with 404 or 405; one that cannot be reached
// fails the purge, so that nobody takes it for done.
func (g *Gateway) purge(x *exchange) error {
	var errs []error
	if g.cache != nil {
		errs = append(errs, g.cache.Purge())
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	for _, w := range g.fleet.Workers() {
		res, err := w.Send(ctx, fleet.Request{Method: http.MethodDelete, Path: "/v1/runs", ID: x.id})
		var we *fleet.Error
		switch {
		case err == nil:
			res.Body.Close()
		case errors.As(err, &we) && (we.Status == http.StatusNotFound || we.Status == http.StatusMethodNotAllowed):
		default:
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}
