package scheduler

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
	"github.com/prairielambda/prairielambda/scheduler/rendercache"
)

// maxVersions bounds how many versions' chunk lists are remembered.
const maxVersions = 256

// versions remembers what workers said of versions.
type versions struct {
	mu      sync.Mutex // guards both
	current map[string]resolved
	known   map[string]*rendercache.Version // course, NUL, version; immutable
}

type resolved struct {
	label string
	at    time.Time
}

// resolve returns the version that a request means. A commit is itself; whether
// it exists is the worker's to say. "current" is asked of a worker at most once
// per CurrentTTL and course.
func (g *Gateway) resolve(ctx context.Context, x *exchange, course, version string) (string, error) {
	if version != jobs.CurrentVersion {
		return version, nil
	}
	g.versions.mu.Lock()
	r, ok := g.versions.current[course]
	g.versions.mu.Unlock()
	if ok && time.Since(r.at) < g.cfg.CurrentTTL {
		return r.label, nil
	}
	info, err := g.lookup(ctx, x, course, version)
	if err != nil {
		return "", err
	}
	return info.Version, nil
}

// chunks returns what a version that is not "current" holds, or nil when no
// worker tells: then the call itself will say why.
func (g *Gateway) chunks(ctx context.Context, x *exchange, course, version string) *rendercache.Version {
	if v := g.versions.get(course, version); v != nil || !g.fleet.Ready() {
		return v
	}
	if _, err := g.lookup(ctx, x, course, version); err != nil {
		return nil
	}
	return g.versions.get(course, version)
}

func (v *versions) get(course, version string) *rendercache.Version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known[routeKey(course, version)]
}

// lookup asks a worker. Callers that ask for the same at once share one request,
// which none of them cancels by leaving.
func (g *Gateway) lookup(ctx context.Context, x *exchange, course, version string) (*jobs.VersionInfo, error) {
	id, trace := x.id, traceOf(x.r)
	ch := g.lookups.DoChan(course+"\x00"+version, func() (any, error) {
		at := time.Now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Deadline)
		defer cancel()
		req := fleet.Request{
			Path:   "/v1/versions/" + course + "/" + version,
			Header: trace, Course: course, Version: version, ID: id,
		}
		won, err := onFleet(ctx, g, plan{key: course}, func(ctx context.Context, w *fleet.Worker) (*jobs.VersionInfo, error) {
			var v jobs.VersionInfo
			if err := w.JSON(ctx, req, &v); err != nil {
				return nil, err
			}
			if !isID(v.Version) || version != jobs.CurrentVersion && v.Version != version {
				return nil, &fleet.Error{Worker: w.URL, Status: http.StatusBadGateway}
			}
			return &v, nil
		})
		if err != nil {
			return nil, err
		}
		g.versions.remember(course, version, won.Value, at)
		return won.Value, nil
	})
	select {
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*jobs.VersionInfo), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (v *versions) remember(course, asked string, info *jobs.VersionInfo, at time.Time) {
	info.Course = course
	prepared := rendercache.NewVersion(info)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil || len(v.known) >= maxVersions {
		v.known = map[string]*rendercache.Version{}
	}
	v.known[routeKey(course, info.Version)] = prepared
	if asked == jobs.CurrentVersion {
		if v.current == nil || len(v.current) >= 16*maxVersions {
			v.current = map[string]resolved{}
		}
		v.current[course] = resolved{info.Version, at}
	}
}
