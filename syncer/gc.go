package syncer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/manifest"
)

// GCPolicy says what GC keeps of each course, besides the head's version and
// those that were marked with Keep: the newest Last versions, and those pushed
// within Within. Grace protects what a running push relies on: it must be longer
// than any push. A grace of 0 is for a store that nobody is pushing to.
type GCPolicy struct {
	Last   int
	Within time.Duration
	Grace  time.Duration
	DryRun bool // count, and change nothing
}

// GCReport is what GC did, or would do.
type GCReport struct {
	VersionsKept    int   `json:"versions_kept"`
	VersionsRemoved int   `json:"versions_removed"` // hidden now; purged after the grace period
	VersionsPurged  int   `json:"versions_purged"`
	BlobsKept       int   `json:"blobs_kept"`
	BlobsRemoved    int   `json:"blobs_removed"`
	BytesRemoved    int64 `json:"bytes_removed"` // compressed
}

// GC hides the version records that the policy does not keep, forgets those that
// have been hidden for the grace period, and then deletes the blobs that nothing
// reaches and that nobody put or asked for within the grace period. A record
// that it cannot read ends it before anything is deleted.
//
// A push beside it loses nothing: the version it builds upon stays reachable for
// the grace period after it was hidden, and every other blob it relies on it has
// put or asked for itself, which renews its age.
func (s *Syncer) GC(ctx context.Context, p GCPolicy) (GCReport, error) {
	return s.gc(ctx, p, time.Now())
}

func (s *Syncer) gc(ctx context.Context, p GCPolicy, now time.Time) (GCReport, error) {
	g := &collector{
		s: s, GCPolicy: p, now: now, marked: map[blob.Digest]struct{}{}, read: map[blob.Digest]bool{},
		pinned: map[string]bool{}, starts: map[string]bool{},
	}
	err := g.run(ctx)
	return g.GCReport, err
}

type collector struct {
	s *Syncer
	GCPolicy
	GCReport
	now    time.Time
	marked map[blob.Digest]struct{}
	read   map[blob.Digest]bool // manifests and indexes
	pinned map[string]bool      // "course/version" of environments that versions of courses name
	starts map[string]bool      // "course/node" of profiles that live as long as their version
}

func (g *collector) run(ctx context.Context) error {
	heads := g.s.cfg.Heads
	courses, err := heads.Courses(ctx)
	if err != nil {
		return err
	}
	for _, c := range courses {
		if err := g.pins(ctx, c); err != nil {
			return fmt.Errorf("environments of %s: %w", c, err)
		}
	}
	for _, c := range courses {
		if err := g.thin(ctx, c); err != nil {
			return fmt.Errorf("versions of %s: %w", c, err)
		}
	}
	for _, c := range courses {
		if err := g.mark(ctx, c); err != nil {
			return fmt.Errorf("mark %s: %w", c, err)
		}
	}
	cutoff := g.now.Add(-g.Grace)
	if g.Grace == 0 {
		cutoff = time.Now().Add(time.Hour) // whatever its age, and whatever the clocks
	}
	blobs := g.s.cfg.Blobs
	var dead []blob.Info
	if err := blobs.List(ctx, func(i blob.Info) error {
		if _, ok := g.marked[i.Digest]; ok {
			g.BlobsKept++
		} else if i.Time.Before(cutoff) {
			dead = append(dead, i)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("list the blobs: %w", err)
	}
	for _, i := range dead {
		ok := true
		if !g.DryRun {
			if ok, err = blobs.Delete(ctx, i.Digest, cutoff); err != nil {
				return fmt.Errorf("delete blob %s: %w", i.Digest, err)
			}
		}
		if ok {
			g.BlobsRemoved++
			g.BytesRemoved += i.Stored
		}
	}
	if g.DryRun {
		return nil
	}
	return errors.Join(blobs.Sweep(ctx, cutoff), heads.Sweep(ctx, cutoff, g.starts))
}

// thin hides and purges a course's version records.
func (g *collector) thin(ctx context.Context, course string) error {
	heads := g.s.cfg.Heads
	h, token, err := heads.Get(ctx, course)
	if err != nil && !errors.Is(err, head.ErrNotFound) {
		return err
	}
	var all, hidden []head.Stored
	if err := heads.ListVersions(ctx, course, func(r head.Stored) error {
		if r.Removed.IsZero() {
			all = append(all, r)
		} else {
			hidden = append(hidden, r)
		}
		return nil
	}); err != nil {
		return err
	}
	last := g.Last
	if g.unused(h, course, all) {
		if err := g.retire(ctx, course, token); err != nil {
			return err
		}
		h, last = head.Head{}, 0
	}
	slices.SortFunc(all, func(a, b head.Stored) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.Version.Version, b.Version.Version))
	})
	for n, r := range all {
		// A push writes its record before it moves the head: the young are spared.
		if n < last || g.now.Sub(r.Time) < max(g.Within, g.Grace) || r.Kept || r.Version.Version == h.Version || g.pinned[course+"/"+r.Version.Version] {
			g.VersionsKept++
			continue
		}
		g.VersionsRemoved++
		if g.DryRun {
			continue
		}
		if err := heads.RemoveVersion(ctx, course, r.Version.Version); err != nil {
			return err
		}
		hidden = append(hidden, head.Stored{Version: r.Version, Removed: g.now})
		if err := g.unhide(ctx, r.Version); err != nil {
			return err
		}
	}
	for _, r := range hidden {
		if g.now.Sub(r.Removed) < g.Grace {
			continue
		}
		g.VersionsPurged++
		if g.DryRun {
			continue
		}
		if err := heads.PurgeVersion(ctx, course, r.Version.Version); err != nil {
			return err
		}
	}
	return nil
}

// unhide puts a record back if a rollback made it the head meanwhile.
func (g *collector) unhide(ctx context.Context, v head.Version) error {
	h, _, err := g.s.cfg.Heads.Get(ctx, v.Course)
	if err == nil && h.Version == v.Version {
		_, err = g.s.cfg.Heads.PutVersion(ctx, v, nil)
	}
	if errors.Is(err, head.ErrNotFound) {
		return nil
	}
	return err
}

// mark marks what a course's head and records reach, hidden ones included.
func (g *collector) mark(ctx context.Context, course string) error {
	h, _, err := g.s.cfg.Heads.Get(ctx, course)
	if err == nil {
		err = g.markManifest(ctx, h.Manifest)
	}
	if err != nil && !errors.Is(err, head.ErrNotFound) {
		return err
	}
	_, env := head.EnvName(course)
	return g.s.cfg.Heads.ListVersions(ctx, course, func(r head.Stored) error {
		if env { // what its programs read when they start
			g.starts[course+"/"+head.EnvNode(r.Version.Version)] = true
		}
		return g.markManifest(ctx, r.Manifest)
	})
}

func (g *collector) markManifest(ctx context.Context, d blob.Digest) error {
	if g.read[d] {
		return nil
	}
	m, err := g.s.Manifest(ctx, d)
	if err != nil {
		return err
	}
	g.read[d] = true
	g.marked[d] = struct{}{}
	for k := range m.Blobs() {
		g.marked[m.Blob(k).Digest] = struct{}{}
	}
	for i := range m.Len() {
		if m.Type(i) != manifest.File {
			continue
		}
		x := m.Locate(i)
		if x.Kind != manifest.Blocks || g.read[m.Blob(x.Blob).Digest] {
			continue
		}
		index, err := g.s.cfg.Blobs.Fetch(ctx, m.Blob(x.Blob).Digest)
		if err != nil {
			return fmt.Errorf("index of %q: %w", m.Path(i), err)
		}
		blocks, err := manifest.IndexDigests(index, m.Entry(i).Size)
		if err != nil {
			return fmt.Errorf("index of %q: %w", m.Path(i), err)
		}
		g.read[m.Blob(x.Blob).Digest] = true
		for _, b := range blocks {
			g.marked[b] = struct{}{}
		}
	}
	return nil
}
