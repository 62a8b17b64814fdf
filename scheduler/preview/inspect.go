package preview

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

// issue is what one phase has to say to the course's staff.
type issue struct {
	Phase   string
	Fatal   bool
	Outcome jobs.Outcome
	Message string
	Trace   string
	Output  string
	File    string // of the innermost frame of the course's code
	Line    int
	Source  []sourceLine
}

type sourceLine struct {
	Number int
	Text   string
	Here   bool
}

// waterfall is the time of the phases shown, one after another.
type waterfall struct {
	Total time.Duration
	Bars  []bar
}

// bar is one row; X and the segments are percentages of the whole.
type bar struct {
	Name     string
	Inner    bool // a part of a phase, as the code inside tells
	Failed   bool
	X        float64
	Segments []segment
	Took     time.Duration
}

type segment struct {
	Kind string // queue, claim, run, collect, rest
	X, W float64
	Took time.Duration
}

// change is what one phase did to the data.
type change struct {
	Phase string
	Diffs []diff
}

// inspect makes issues, waterfall and data of the phases that ran.
func (p *view) inspect(files fs.FS, steps []question.Step) {
	for i := range steps {
		s := &steps[i]
		p.Waterfall.Total += s.Wall
		if !s.Issues() {
			continue
		}
		is := issue{Phase: s.Name, Fatal: s.Failed(), Outcome: s.Outcome, Message: s.Message, Trace: s.Trace, Output: s.Output}
		is.locate(files)
		is.Message = place.ReplaceAllString(is.Message, "$1: ")
		p.Issues = append(p.Issues, is)
		p.Fatal = p.Fatal || is.Fatal
	}
	var at time.Duration
	for i := range steps {
		p.Waterfall.add(&steps[i], at)
		at += steps[i].Wall
	}
	var newest json.RawMessage
	touched := map[string]string{}
	for i := range steps {
		s := &steps[i]
		if len(s.After) == 0 {
			continue
		}
		newest = s.After
		c := change{Phase: s.Name, Diffs: compare(s.Before, s.After)}
		for _, d := range c.Diffs {
			touched[d.Path] = s.Name
		}
		p.Phases = append(p.Phases, c)
	}
	if newest == nil && len(steps) > 0 {
		newest = steps[0].Before
	}
	p.Data = tree(newest, touched)
}

func (w *waterfall) add(s *question.Step, at time.Duration) {
	share := func(d time.Duration) float64 {
		if w.Total <= 0 {
			return 0
		}
		return 100 * float64(d) / float64(w.Total)
	}
	b := bar{Name: s.Name, Failed: s.Failed(), X: share(at), Took: s.Wall}
	known := s.Phases.Queue + s.Phases.Claim + s.Phases.Run + s.Phases.Collect
	x := at
	for _, seg := range []segment{
		{Kind: "queue", Took: s.Phases.Queue},
		{Kind: "claim", Took: s.Phases.Claim},
		{Kind: "run", Took: s.Phases.Run},
		{Kind: "collect", Took: s.Phases.Collect},
		{Kind: "rest", Took: max(s.Wall-known, 0)},
	} {
		seg.X, seg.W = share(x), share(seg.Took)
		x += seg.Took
		if seg.W > 0 {
			b.Segments = append(b.Segments, seg)
		}
	}
	w.Bars = append(w.Bars, b)
	x = at + s.Phases.Queue + s.Phases.Claim
	var rest time.Duration
	others := 0
	for _, t := range s.Timings {
		took := time.Duration(t.MS * float64(time.Millisecond))
		if share(took) < small {
			x, rest, others = x+took, rest+took, others+1
			continue
		}
		w.Bars = append(w.Bars, bar{
			Name: t.Name, Inner: true, X: share(x), Took: took,
			Segments: []segment{{Kind: "inner", X: share(x), W: share(took), Took: took}},
		})
		x += took
	}
	if others > 0 {
		name := strconv.Itoa(others) + " quick ones"
		if others == 1 {
			name = "a quick one"
		}
		w.Bars = append(w.Bars, bar{Name: name, Inner: true, Took: rest})
	}
}

// small is the share of all time, in percent, below which a part has no row of its own.
const small = 0.8

// frames match where Python says that something happened, and our own words for a phase.
var frames = regexp.MustCompile(`(?m)(?:File "(?:/course/)?([^"\n]+)", line (\d+)|\((?:/course/)?([^()\n]+), line (\d+)\))`)

// place is what our own words for a failure say of its line, which is shown anyhow.
var place = regexp.MustCompile(`^([^\n(]+\(\) of [^\n(]+) \(/course/[^()\n]+, line \d+\): `)

// locate finds the innermost line of course code and reads around it.
func (is *issue) locate(files fs.FS) {
	for _, text := range []string{is.Trace, is.Message} {
		found := frames.FindAllStringSubmatch(text, -1)
		for i := len(found) - 1; i >= 0; i-- {
			m := found[i]
			file, line := m[1]+m[3], m[2]+m[4]
			n, err := strconv.Atoi(line)
			if err != nil || !fs.ValidPath(file) {
				continue
			}
			b, err := fs.ReadFile(files, file)
			if err != nil {
				continue
			}
			is.File, is.Line, is.Source = file, n, around(b, n)
			return
		}
	}
}

// nearby is how many lines are shown before and after one.
const nearby = 4

func around(b []byte, n int) (lines []sourceLine) {
	all := bytes.Split(b, []byte("\n"))
	for i := max(n-nearby, 1); i <= min(n+nearby, len(all)); i++ {
		lines = append(lines, sourceLine{i, strings.ToValidUTF8(string(all[i-1]), "�"), i == n})
	}
	return lines
}
