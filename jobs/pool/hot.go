package pool

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/sandbox"
)

// A question that is asked for often has spares of its own, beside those of its
// course's version: the question is mounted and compiled before it is asked for.
// Nothing of it has been executed: that comes after seeding, as ever.

// sight is what a spare of a hot question can see.
type sight struct {
	config sessionConfig
	qid    string
}

// sight is what inv sees, where that is one question in the Python runtime.
func (p *Pool) sight(inv *jobs.Invocation, limits jobs.Limits) (sight, bool) {
	qids := questions(inv)
	if len(qids) != 1 || !spareFits(limits, p.cfg.Default) {
		return sight{}, false
	}
	return sight{config(inv, limits), qids[0]}, true
}

func config(inv *jobs.Invocation, limits jobs.Limits) sessionConfig {
	return sessionConfig{
		Course: "/course", Question: inv.Question, CourseInstance: inv.CourseInstance, Assessment: inv.Assessment,
		MaxResult: limits.Result,
	}
}

// invocation is the part of one that decides what is seen.
func (s *sight) invocation() *jobs.Invocation {
	return &jobs.Invocation{
		Question: s.qid, CourseInstance: s.config.CourseInstance, Assessment: s.config.Assessment,
	}
}

// hello is what a spare does before it is ready.
func (s *sight) hello() ([]byte, error) {
	h := map[string]any{"warm": true}
	if s != nil {
		c := s.config
		c.Foresee = s.qid
		h["session"] = c
	}
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode a spare's work: %w", err)
	}
	return b, nil
}

// takeHot begins the life that counts of the spare that was claimed, if one was and
// still lives: it may have waited long for a place to run.
func (o *opened) takeHot(limits jobs.Limits) *sandbox.Box {
	if o.hot == nil {
		return nil
	}
	box := o.hot.box
	o.hot = nil // its mounts stay ours to close
	if !box.Alive() {
		box.Close()
		return nil
	}
	box.Restart(limits)
	o.pool.claimed.Add(1)
	o.pool.hot.Add(1)
	return box
}

// heat counts what calls of one sight that found no spare of it ask for.
type heat struct {
	rate float64 // calls a second, decaying
	last time.Time
}

const (
	hotCalls = 3   // of one sight, within some rateWindow
	maxHeats = 512 // sights that are counted at once
)

type heatRequest struct {
	v   *version
	see sight
}

// warmTo notes that a call of see went well without a spare of its own.
func (t *tender) warmTo(v *version, see sight) {
	select {
	case t.heats <- heatRequest{v, see}:
	default: // busy: the next one counts
	}
}

// heated reports whether r's sight has become hot.
func heated(heats map[string]*heat, r heatRequest, now time.Time) bool {
	key := shelfKey(r.v, &r.see)
	h := heats[key]
	if h == nil {
		if len(heats) >= maxHeats {
			clear(heats)
		}
		h = &heat{}
		heats[key] = h
	}
	h.rate = h.rate*math.Exp(-now.Sub(h.last).Seconds()/rateWindow) + 1
	h.last = now
	if h.rate < hotCalls-0.5 {
		return false
	}
	delete(heats, key)
	return true
}

// shelfKey names a shelf; see is nil for that of a whole version.
func shelfKey(v *version, see *sight) string {
	if see == nil {
		return v.key()
	}
	return fmt.Sprintf("%s\x00%#v", v.key(), *see)
}
