package preview

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prairielambda/prairielambda/scheduler/question"
)

// view is everything that the question page shows.
type view struct {
	Title, Course, QID, Version, Fault, Tier string
	Info                                     question.Info
	Color                                    string
	Needs                                    string
	Variant                                  *variant
	Old                                      bool // the variant belongs to another version than the newest
	Shown                                    *submission
	Attempts                                 []attempt
	Earlier                                  []variant
	Question, Submitted, Answer              string // frames; empty where the panel failed
	Parts                                    []part
	FormatErrors, Feedback                   []named
	Issues                                   []issue
	Fatal                                    bool // among the issues
	Waterfall                                waterfall
	Phases                                   []change
	Data                                     []node
	SubmitToken, VariantToken, SeedsToken    string
	OpenToken                                string
	Grader                                   grader
	Told                                     int64 // the number of the last change that it is sure to show
}

// attempt is a link to a submission.
type attempt struct {
	submission
	Number int
	Shown  bool
	URL    string
}

type part struct {
	Name     string
	Score    float64
	Weight   float64
	Feedback string
}

type named struct{ Name, Text string }

// question shows a variant: of a seed on the newest version, or the one that
// the address names, on its own.
func (s *Server) question(w http.ResponseWriter, r *http.Request) error {
	ctx, qid := r.Context(), r.PathValue("qid")
	told := s.hub.number()
	newest, fault := s.current()
	v, q, err := s.choose(ctx, qid, newest, r.URL.Query())
	if err != nil {
		return err
	}
	q.Options = s.urls(v)
	p := &view{
		Title: q.Info.Title, Course: s.cfg.Course, QID: qid, Version: v.Version, Fault: fault, Tier: s.cfg.Tier, Info: q.Info, Needs: strings.TrimSpace(q.Info.Needs() + " " + unseen(s.cfg.Files(v.Version), qid)),
		Color: s.basics(v.Version).course.Topics[q.Info.Topic].Color, Variant: v, Old: v.Version != newest,
		OpenToken:    s.token("open", strconv.FormatInt(v.ID, 10)),
		Told:         told,
		SubmitToken:  s.token("submit", strconv.FormatInt(v.ID, 10)),
		VariantToken: s.token("variant", qid), SeedsToken: s.token("seeds", qid),
	}
	grading := s.grading()
	subs, err := s.store.submissions(ctx, v.ID)
	if err != nil {
		return err
	}
	p.choose(subs, r.URL.Query().Get("submission"))
	if p.Earlier, err = s.store.earlier(ctx, qid, v.Version); err != nil {
		return err
	}
	steps := append([]question.Step{}, v.Steps...)
	if p.Shown != nil {
		q.Options["submission_files_url"] = "/submission/" + s.sealed("submission", p.Shown.ID) + "/file"
		steps = append(steps, p.Shown.Steps...)
		p.results()
		p.Grader = s.grader(q.Info, p.Shown, grading[p.Shown.ID])
	}
	rendered, err := s.panels(ctx, q, p, valid(subs))
	if err != nil {
		return err
	}
	steps = append(steps, rendered...)
	p.inspect(s.cfg.Files(v.Version), steps)
	s.render(w, http.StatusOK, "question", p)
	return nil
}

// choose finds or makes the variant that an address means.
func (s *Server) choose(ctx context.Context, qid, newest string, query url.Values) (*variant, *question.Question, error) {
	if id, err := strconv.ParseInt(query.Get("variant"), 10, 64); err == nil {
		v, err := s.store.byID(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		if v != nil && v.QID == qid {
			q, err := s.at(v.Version, qid)
			return v, q, err
		}
	}
	q, err := s.at(newest, qid)
	if err != nil {
		return nil, nil, err
	}
	seed := uint64(1)
	if text := query.Get("seed"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 32); err != nil {
			return nil, nil, refuse(http.StatusBadRequest, "the seed must be a whole number from 0 to 4294967295")
		}
	} else if last, err := s.store.last(ctx, qid); err != nil {
		return nil, nil, err
	} else if last != nil {
		seed = uint64(last.Seed)
	}
	v, err := s.ready(ctx, q, uint32(seed))
	return v, q, err
}

// choose picks the submission to show: the one asked for, or the newest.
func (p *view) choose(subs []submission, asked string) {
	for i := range subs {
		sub := &subs[i]
		id := strconv.FormatInt(sub.ID, 10)
		if id == asked || asked == "" && i == len(subs)-1 {
			p.Shown = sub
		}
		p.Attempts = append(p.Attempts, attempt{submission: *sub, Number: i + 1, URL: link(p.QID, url.Values{
			"variant": {strconv.FormatInt(p.Variant.ID, 10)}, "submission": {id},
		})})
	}
	for i := range p.Attempts {
		p.Attempts[i].Shown = p.Shown != nil && p.Attempts[i].ID == p.Shown.ID
	}
}

// valid counts the submissions that could be graded.
func valid(subs []submission) (n int) {
	for _, s := range subs {
		if s.Gradable && !s.Broken {
			n++
		}
	}
	return n
}

// results reads scores, errors and feedback out of the submission shown.
func (p *view) results() {
	parts := map[string]struct {
		Score    *float64        `json:"score"`
		Weight   *float64        `json:"weight"`
		Feedback json.RawMessage `json:"feedback"`
	}{}
	_ = json.Unmarshal(p.Shown.PartialScores, &parts)
	for name, v := range parts {
		x := part{Name: name, Weight: 1, Feedback: text(v.Feedback)}
		if v.Score != nil {
			x.Score = *v.Score
		}
		if v.Weight != nil {
			x.Weight = *v.Weight
		}
		p.Parts = append(p.Parts, x)
	}
	sort.Slice(p.Parts, func(i, j int) bool { return p.Parts[i].Name < p.Parts[j].Name })
	p.FormatErrors = pairs(p.Shown.FormatErrors)
	if _, ok := p.Shown.Outside(); !ok {
		p.Feedback = pairs(p.Shown.Feedback)
	}
}

func pairs(raw json.RawMessage) (all []named) {
	m := map[string]json.RawMessage{}
	_ = json.Unmarshal(raw, &m)
	for name, v := range m {
		all = append(all, named{name, text(v)})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// text is a JSON value for people: a string without its quotes.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// panels renders the panels side by side, each in its own sandbox.
func (s *Server) panels(ctx context.Context, q *question.Question, p *view, valid int) ([]question.Step, error) {
	if p.Variant.Broken {
		return nil, nil
	}
	var last *question.Submission
	if p.Shown != nil && !p.Shown.Broken {
		last = p.Shown.Submission
	}
	type job struct {
		panel question.Panel
		frame *string
		step  question.Step
	}
	jobs := []*job{{panel: question.QuestionPanel, frame: &p.Question}, {panel: question.AnswerPanel, frame: &p.Answer}}
	if last != nil {
		jobs = append(jobs, &job{panel: question.SubmissionPanel, frame: &p.Submitted})
	}
	elements := s.basics(p.Version).elements
	g, ctx := errgroup.WithContext(ctx)
	for _, j := range jobs {
		g.Go(func() error {
			html, step, err := q.Render(ctx, p.Variant.Variant, j.panel, question.View{
				Last: last, Valid: valid, Editable: !p.Variant.Closed, Revealed: j.panel == question.AnswerPanel,
			})
			if err != nil {
				return err
			}
			j.step = step
			if !step.Failed() {
				*j.frame = "/frame/" + s.docs.put(document(p.Version, elements, q.Info, html, j.panel == question.QuestionPanel))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	steps := make([]question.Step, 0, len(jobs))
	for _, j := range jobs {
		steps = append(steps, j.step)
	}
	return steps, nil
}

func short(version string) string { return version[:min(len(version), 10)] }

func ms(d time.Duration) string {
	switch v := float64(d) / float64(time.Millisecond); {
	case v >= 100:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ms", v)
	default:
		return fmt.Sprintf("%.2f ms", v)
	}
}

func mib(bytes int64) int64 { return (bytes + 1<<19) >> 20 }

func percent(f float64) string {
	return strconv.FormatFloat(float64(int(f*1000+0.5))/10, 'g', -1, 64) + " %"
}
