package chunkfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// What an environment's start reads is recorded in the store, for each version
// once: a push writes what it foresees, a node what it saw besides, and gc keeps it
// as long as the version. So a node that never saw the environment, the first one
// included, begins with it.

// recall asks for what is recorded of a version's start, while the version's
// manifest is loaded. If something of it was read meanwhile, the fetches start now.
func (f *FS) recall(slot uint32, course, version string) {
	if !isEnv(course) || f.cfg.Share == nil {
		return
	}
	f.wg.Go(func() {
		_, _ = once(f.ctx, f, fmt.Sprintf("start %d", slot), func(ctx context.Context) (struct{}, error) {
			p, err := f.cfg.Share.Profile(ctx, course, head.EnvNode(version))
			if err != nil {
				return struct{}{}, err // a start without it is slower, and right
			}
			v, err := f.versions.get(ctx, slot)
			if err == nil && v.touched().know(p.Paths) {
				f.startProfile(v, p.Paths)
			}
			return struct{}{}, err
		})
	})
}

// know keeps what is recorded and says whether the start has begun without it.
func (t *touches) know(recorded []string) (begun bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recorded = recorded
	return !t.at.IsZero()
}

// shareStarts writes what starts read here that is not recorded yet.
func (f *FS) shareStarts(ctx context.Context) error {
	own := f.profiles.own()
	for _, v := range f.versions.trees() {
		t := v.touched()
		if !t.begun() || t.within(envProfileTime) && f.ctx.Err() == nil {
			continue
		}
		known := t.known()
		if !v.news(own[v.course], known) {
			continue
		}
		p, err := f.cfg.Share.Profile(ctx, v.course, head.EnvNode(v.version))
		var bad *head.CorruptError
		if err != nil && !errors.Is(err, head.ErrNotFound) && !errors.As(err, &bad) {
			return err
		}
		all := head.FitProfile(v.course, v.places(slices.Concat(own[v.course], p.Paths))) // of too much, what others saw is left out
		p = head.Profile{Course: v.course, Node: head.EnvNode(v.version), Time: time.Now(), Paths: all}
		if err := f.cfg.Share.PutProfile(ctx, p); err != nil {
			return err
		}
		t.know(append(all, own[v.course]...)) // also what did not fit
	}
	return nil
}

// news says whether paths lead to anything of v that known does not.
func (v *version) news(paths, known []string) bool {
	return len(v.places(slices.Concat(known, paths))) > len(v.places(known))
}

// places are those of paths that lead anywhere, of those to the same place the first.
func (v *version) places(paths []string) (all []string) {
	type place struct {
		blob  int
		block string
	}
	seen := make(map[place]bool, len(paths))
	for _, p := range paths {
		file, block, _ := strings.Cut(p, "//")
		i, ok := v.Find(file)
		if !ok {
			continue
		}
		at := v.Locate(i)
		if to := (place{at.Blob, block}); at.Kind != manifest.Empty && !seen[to] {
			seen[to] = true
			all = append(all, p)
		}
	}
	return all
}

func (t *touches) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.at.IsZero()
}

func (t *touches) known() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.recorded
}
