package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// runtimes lists what the workers offer that which lets through, each once, newest first.
func (g *Gateway) runtimes(which func(*fleet.Worker) bool) []jobs.Runtime {
	all := []jobs.Runtime{}
	for _, w := range g.fleet.Workers() {
		if which(w) {
			all = append(all, w.Status().Runtimes...)
		}
	}
	slices.SortStableFunc(all, func(a, b jobs.Runtime) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), compareVersions(b.Version, a.Version))
	})
	return slices.CompactFunc(all, func(a, b jobs.Runtime) bool { return a.Name == b.Name && a.Version == b.Version })
}

func (g *Gateway) listRuntimes(x *exchange) error {
	ctx, cancel := g.deadline(x)
	defer cancel()
	if err := g.anybody(ctx); err != nil {
		return err
	}
	all := g.runtimes((*fleet.Worker).Up)
	for i := range all {
		all[i].Digest = "" // between gateway and workers
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encode runtimes: %w", err)
	}
	x.send("application/json", b)
	return nil
}

// runtime finds the newest runtime that name means: name@version, name or alias;
// one of a worker that is about to come back where no other offers it.
func (g *Gateway) runtime(ctx context.Context, x *exchange, name string) (rt jobs.Runtime, err error) {
	if err := g.anybody(ctx); err != nil {
		return rt, err
	}
	all := slices.Concat(g.runtimes((*fleet.Worker).Up), g.runtimes(func(*fleet.Worker) bool { return true }))
	i := slices.IndexFunc(all, func(r jobs.Runtime) bool {
		return runtimeID(r) == name || r.Name == name || slices.Contains(r.Aliases, name)
	})
	if i < 0 {
		return rt, refuse(http.StatusNotFound, "runtime_missing", "no worker offers that runtime; see /runtimes")
	}
	rt = all[i]
	if p := x.public; p != nil && len(p.Runtimes) > 0 && !slices.Contains(p.Runtimes, rt.Name) && !slices.Contains(p.Runtimes, runtimeID(rt)) {
		return rt, refuse(http.StatusForbidden, "scope_missing", "this page may not run that runtime")
	}
	return rt, nil
}

func runtimeID(r jobs.Runtime) string { return r.Name + "@" + r.Version }

func offers(w *fleet.Worker, id string) bool {
	return slices.ContainsFunc(w.Status().Runtimes, func(r jobs.Runtime) bool { return runtimeID(r) == id })
}

// compareVersions orders 3.9 before 3.11, and what is no number as text.
func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		nx, ex := strconv.Atoi(x)
		ny, ey := strconv.Atoi(y)
		if ex == nil && ey == nil {
			return cmp.Compare(nx, ny)
		}
		return strings.Compare(x, y)
	})
}
