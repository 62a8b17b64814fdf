package chunkfs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"golang.org/x/sync/errgroup"
)

// heads remembers for each course what its head named, for HeadTTL; longer
// only while the store cannot be asked.
type heads struct {
	fs *FS

	mu    sync.Mutex // guards known
	known map[string]knownHead
}

type knownHead struct {
	slot uint32 // of the version; 0: the store said that there is no head
	at   time.Time
}

func newHeads(f *FS) *heads { return &heads{fs: f, known: make(map[string]knownHead)} }

func (h *heads) get(course string) (k knownHead, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k, ok = h.known[course]
	return k, ok
}

// current is the version slot that the course's head names, and for how long
// that may be believed. head.ErrNotFound when there is no head.
func (h *heads) current(ctx context.Context, course string) (slot uint32, ttl time.Duration, err error) {
	k, ok := h.get(course)
	if age := time.Since(k.at); ok && age < h.fs.cfg.HeadTTL {
		return k.slot, h.fs.cfg.HeadTTL - age, nil
	}
	last := k.slot
	if cs, ok := h.fs.state.find(course, ""); ok && last == 0 {
		sl, _ := h.fs.state.slot(cs)
		last = sl.current
	}
	if last != 0 { // an old answer is better than a late one; the question goes on without us
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.fs.cfg.Deadline/40)
		defer cancel()
	}
	k, err = once(ctx, h.fs, "head "+course, func(ctx context.Context) (knownHead, error) { return h.ask(ctx, course) })
	switch {
	case err == nil && k.slot != 0:
		return k.slot, h.fs.cfg.HeadTTL, nil
	case err == nil:
		return 0, 0, fmt.Errorf("course %s: %w", course, head.ErrNotFound)
	case last != 0:
		h.fs.cfg.Log.Debug().Err(err).Str("course", course).Msg("head cannot be read; the last one stands")
		return last, h.fs.cfg.HeadTTL, nil
	}
	return 0, 0, fmt.Errorf("head of %s: %w", course, err)
}

func (h *heads) ask(ctx context.Context, course string) (knownHead, error) {
	asked := time.Now()
	hd, _, err := h.fs.cfg.Heads.Get(ctx, course)
	if errors.Is(err, head.ErrNotFound) {
		return knownHead{}, h.learn(course, knownHead{at: asked})
	}
	if err != nil {
		return knownHead{}, err
	}
	slot, err := h.fs.state.version(course, hd.Version, hd.Manifest)
	if err != nil {
		return knownHead{}, err
	}
	h.fs.carry(course, slot)
	k := knownHead{slot, asked}
	return k, h.learn(course, k)
}

func (h *heads) learn(course string, k knownHead) error {
	h.mu.Lock()
	if k.slot != 0 {
		h.known[course] = k
	} else {
		delete(h.known, course) // absence is not remembered, so that nobody can fill us with it
	}
	h.mu.Unlock()
	cs, ok := h.fs.state.find(course, "")
	if !ok {
		return nil
	}
	return h.fs.state.setCurrent(cs, k.slot)
}

// version is the slot of a version, which a head or a record must name.
func (h *heads) version(ctx context.Context, course, version string) (uint32, error) {
	if slot, ok := h.fs.state.find(course, version); ok {
		return slot, nil
	}
	return once(ctx, h.fs, "version "+course+"/"+version, func(ctx context.Context) (uint32, error) {
		v, err := h.fs.cfg.Heads.GetVersion(ctx, course, version)
		if err != nil {
			return 0, fmt.Errorf("version %s of %s: %w", version, course, err)
		}
		return h.fs.state.version(course, version, v.Manifest)
	})
}

// exists says whether a course is known here or to the store.
func (h *heads) exists(ctx context.Context, course string) error {
	if _, ok := h.fs.state.find(course, ""); ok {
		return nil // its versions may be in use, whatever became of its head
	}
	_, _, err := h.current(ctx, course)
	return err
}

// warmHeads learns the heads of all courses, so that a first request finds its
// course without a round trip.
func (f *FS) warmHeads() {
	ctx, cancel := context.WithTimeout(f.ctx, 6*f.cfg.Deadline)
	defer cancel()
	courses, err := f.cfg.Heads.List(ctx)
	if err != nil {
		f.cfg.Log.Warn().Err(err).Msg("cannot list courses yet")
		return
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, c := range courses {
		g.Go(func() error {
			if _, _, err := f.heads.current(ctx, c); err != nil && ctx.Err() == nil {
				f.cfg.Log.Warn().Err(err).Msg("cannot read head yet")
			}
			return nil
		})
	}
	_ = g.Wait()
}
