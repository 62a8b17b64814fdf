package syncer

import (
	"context"
	"slices"
	"time"

	"github.com/prairielambda/prairielambda/internal/head"
)

// RecordStart writes what the programs of an environment's version read when they
// start, so that the first node that mounts it fetches that in one go. What nodes
// recorded of it before, or of the version that was the last one, is handed to add,
// which says what is to be there. It is a hint: a failure is logged.
func (s *Syncer) RecordStart(ctx context.Context, course, version, last string, add func(recorded []string) []string) {
	ctx, stop := context.WithTimeout(ctx, recallTime)
	defer stop()
	var recorded []string
	for _, v := range slices.Compact([]string{version, last}) {
		if p, err := s.cfg.Heads.Profile(ctx, course, head.EnvNode(v)); v != "" && err == nil {
			recorded = append(recorded, p.Paths...)
		}
	}
	p := head.Profile{Course: course, Node: head.EnvNode(version), Time: time.Now(), Paths: head.FitProfile(course, add(recorded))}
	if err := s.cfg.Heads.PutProfile(ctx, p); err != nil {
		s.cfg.Log.Warn().Err(err).Str("course", course).Msg("what it reads at its start is not recorded")
	}
}
