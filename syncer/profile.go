package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// A version's record carries what the questions of the course read besides their
// own files, as nodes saw it at earlier versions, so that a node that never
// served the course fetches all that its first request needs in one round trip.

// recallTime is how long a push may wait for what it can do without.
const recallTime = 10 * time.Second

// past is what nodes wrote about a course, and what its current version carries.
// It is read while a push is under way. nil is the past of what is no course.
type past struct {
	stop context.CancelFunc
	done chan struct{}

	// What follows is valid after done.
	nodes   []head.Profile
	carried []string
	named   map[string]string // environments
	lost    error             // what it named could not be read
}

// recall starts to read; end must be called.
func (s *Syncer) recall(ctx context.Context, course string, cur current) *past {
	ctx, stop := context.WithTimeout(ctx, recallTime)
	p := &past{stop: stop, done: make(chan struct{})}
	if cur.head.Version == "" {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		rec, err := s.cfg.Heads.GetVersion(ctx, course, cur.head.Version)
		p.carried, p.named = rec.Profile, rec.Environments
		var corrupt *head.CorruptError
		if err != nil && !errors.As(err, &corrupt) && !errors.Is(err, head.ErrNotFound) {
			p.lost = fmt.Errorf("read version %s: %w", cur.head.Version, err)
		}
		if err == nil {
			p.nodes, err = s.cfg.Heads.Profiles(ctx, course)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			s.cfg.Log.Warn().Err(err).Str("course", course).Msg("some of what nodes learned is not merged")
		}
	}()
	return p
}

func (p *past) end() {
	p.stop()
	<-p.done
}

// into gives rec the profile that its manifest's readers begin with. A record
// without room for one goes without.
func (p *past) into(rec head.Version, m *manifest.Manifest) head.Version {
	if p == nil {
		return rec
	}
	<-p.done
	plain := rec
	if rec.Profile = merge(rec.Course, m, p.nodes, p.carried); rec.Profile == nil {
		return plain
	}
	if _, err := rec.Encode(); err != nil {
		return plain
	}
	return rec
}

// merge is what most nodes name, then what was carried: of each blob the path that
// is named most, of those that m has and that are not a question's own.
func merge(course string, m *manifest.Manifest, nodes []head.Profile, carried []string) []string {
	named := map[string]int{}
	for _, p := range nodes {
		for _, path := range p.Paths {
			named[path]++
		}
	}
	best := slices.SortedFunc(maps.Keys(named), func(a, b string) int {
		return cmp.Or(cmp.Compare(named[b], named[a]), cmp.Compare(a, b))
	})
	var paths []string
	taken := map[int]bool{}
	for _, path := range append(best, carried...) {
		if i, ok := m.Find(path); ok && m.ChunkHead(m.ChunkOf(i)).Kind != manifest.Question {
			if at := m.Locate(i); at.Kind != manifest.Empty && !taken[at.Blob] {
				taken[at.Blob] = true
				paths = append(paths, path)
			}
		}
	}
	return head.FitProfile(course, paths)
}
