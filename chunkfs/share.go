package chunkfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/head"
)

// What a node learned goes to the store, where the next push merges it into the
// record of the version that it makes; and what a current version's record carries is known
// here before its first question is read. Both happen beside all reading, and a mount
// whose store cannot be written, or asked, does without.

// Shared is where a mount writes what it learned, and reads what is known of an
// environment. head.Store has it.
type Shared interface {
	PutProfile(ctx context.Context, p head.Profile) error
	Profile(ctx context.Context, course, node string) (head.Profile, error)
}

const (
	shareEvery = time.Minute   // a course's profile is written at most so often
	shareAgain = 6 * time.Hour // unchanged, so that gc sees that this node lives
	shareRetry = 10            // times shareEvery after a failure
)

// sharing is what a node wrote to the store.
type sharing struct {
	fs    *FS
	node  string
	every time.Duration
	wrote map[string]shared // by course
}

type shared struct {
	paths []string
	at    time.Time
}

// shareProfiles writes changes now and then, and at the end.
func (f *FS) shareProfiles() {
	s := &sharing{fs: f, node: nodeName(f.cfg.Profiles), every: f.cfg.ShareEvery, wrote: make(map[string]shared)}
	t := time.NewTicker(s.every)
	defer t.Stop()
	for rest := 0; ; rest-- {
		select {
		case <-f.ctx.Done():
			if rest <= 0 {
				ctx, cancel := context.WithTimeout(context.Background(), f.cfg.Deadline/5)
				defer cancel()
				_ = s.round(ctx)
			}
			return
		case <-t.C:
		}
		if rest > 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Deadline)
		if err := s.round(ctx); err != nil && f.ctx.Err() == nil {
			f.cfg.Log.Info().Err(err).Msg("what questions read stays on this node for now")
			rest = shareRetry
		}
		cancel()
	}
}

// round writes what changed, until something fails.
func (s *sharing) round(ctx context.Context) error {
	for course, list := range s.fs.profiles.own() {
		if isEnv(course) {
			continue
		}
		paths := head.FitProfile(course, list)
		was := s.wrote[course]
		if len(paths) == 0 || slices.Equal(paths, was.paths) && time.Since(was.at) < shareAgain {
			continue
		}
		p := head.Profile{Course: course, Node: s.node, Time: time.Now(), Paths: paths}
		if err := s.fs.cfg.Share.PutProfile(ctx, p); err != nil {
			return err
		}
		s.wrote[course] = shared{paths, p.Time}
	}
	return s.fs.shareStarts(ctx)
}

// nodeName is the same for one cache of one machine, so that a node writes over
// what it wrote before a restart. Two of one name would write over each other, and one be heard.
func nodeName(profiles string) string {
	host, _ := os.Hostname()
	machine, _ := os.ReadFile("/etc/machine-id")
	d := blob.Sum(fmt.Appendf(nil, "%s\x00%s\x00%s", host, machine, profiles))
	return d.String()[:32]
}

// carry learns what the record of a course's current version carries. If its
// first question was read meanwhile, the fetches start now.
func (f *FS) carry(course string, slot uint32) {
	if isEnv(course) || !f.profiles.begin(course, slot) {
		return
	}
	f.wg.Go(func() {
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Deadline)
		defer cancel()
		sl, _ := f.state.slot(slot)
		rec, err := f.cfg.Heads.GetVersion(ctx, course, sl.version)
		if err != nil && !errors.Is(err, head.ErrNotFound) {
			f.profiles.forget(course, slot) // to be asked again
			return
		}
		f.profiles.carry(course, slot, rec.Profile)
		if v, ok := f.versions.loaded(slot); ok && v.touched().inRequest() {
			f.startKnown(v)
		}
	})
}
