package preview

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

// maxGradings bounds the submissions that wait for their grader.
const maxGradings = 64

// gradable reports whether an external grader can have the submission.
func (s *Server) gradable(info question.Info, sub *question.Submission) bool {
	return s.cfg.Grade != nil && info.External && !sub.Broken && len(pairs(sub.FormatErrors)) == 0
}

// queue lets a submission wait for its grader, once.
func (s *Server) queue(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.graders[id] {
		return
	}
	select {
	case s.toGrade <- id:
		s.graders[id] = true
	default: // it stays saved, and can be sent later
	}
}

// gradeAgain sends a saved submission to its grader.
func (s *Server) gradeAgain(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return refuse(http.StatusNotFound, "no such submission")
	}
	if err := s.checkToken(r, "grade", r.PathValue("id")); err != nil {
		return err
	}
	v, err := s.store.variantOf(r.Context(), id)
	if err != nil {
		return err
	}
	if v == nil {
		return refuse(http.StatusNotFound, "no such submission")
	}
	s.queue(id)
	http.Redirect(w, r, link(v.QID, url.Values{"variant": {strconv.FormatInt(v.ID, 10)}, "submission": {strconv.FormatInt(id, 10)}})+"#score", http.StatusSeeOther)
	return nil
}

// gradeAll grades what is queued until ctx ends, and tells the pages.
func (s *Server) gradeAll(ctx context.Context) {
	for {
		var id int64
		select {
		case id = <-s.toGrade:
		case <-ctx.Done():
			return
		}
		if err := s.grade(ctx, id); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error().Err(err).Int64("submission", id).Msg("grading failed")
		}
		s.mu.Lock()
		delete(s.graders, id)
		s.mu.Unlock()
		s.hub.tell()
	}
}

// grade has one submission graded and keeps what came of it.
func (s *Server) grade(ctx context.Context, id int64) error {
	v, err := s.store.variantOf(ctx, id)
	if err != nil || v == nil {
		return err
	}
	sub, err := s.store.submission(ctx, id)
	if err != nil || sub == nil {
		return err
	}
	q, err := s.at(v.Version, v.QID)
	if err != nil {
		return err
	}
	if _, been := sub.Outside(); been {
		sub.FormatErrors = json.RawMessage("{}") // the grader's of last time
	}
	if !s.gradable(q.Info, sub) {
		return nil
	}
	ask, err := q.Grading(v.Variant, sub)
	if err != nil {
		return err
	}
	begin := time.Now()
	g, output, err := s.cfg.Grade(ctx, ask)
	step := question.Step{Name: question.GraderStep, Outcome: jobs.OK, Output: output, Wall: time.Since(begin), Tier: s.cfg.Tier}
	var je *jobs.Error
	switch {
	case errors.As(err, &je) && !je.Retryable:
		step.Outcome, step.Message = jobs.QuestionError, je.Message
	case err != nil:
		return err
	default:
		step.Usage = g.Usage
		if sub.Take(g); !g.Feedback.Succeeded {
			step.Outcome, step.Message = jobs.QuestionError, string(g.State)+": "+g.Feedback.Message
		}
	}
	if last := len(sub.Steps) - 1; last >= 0 && sub.Steps[last].Name == question.GraderStep {
		sub.Steps = sub.Steps[:last]
	}
	sub.Steps = append(sub.Steps, step)
	return s.store.change(ctx, id, sub)
}

// grader is what the page shows of an external grader.
type grader struct {
	ID      int64
	Token   string // of the form that sends the submission; empty for none
	Busy    bool   // it waits for its grader or has it
	Shown   bool   // it has been there
	Message string
	Output  string // of the tests
	Printed string
	Images  []template.URL
	Tests   []graderTest
}

type graderTest struct {
	Name, Message, Output string
	Points, Most          any
}

// image are the pictures that a page of ours shows: they fetch and run nothing.
var image = regexp.MustCompile(`^data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+$`)

// grading copies which submissions wait for their grader or have it. Those that are
// read after it and not among them are as their grader left them.
func (s *Server) grading() map[int64]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.graders)
}

func (s *Server) grader(info question.Info, sub *submission, busy bool) (g grader) {
	f, been := sub.Outside()
	if g.ID, g.Busy = sub.ID, busy; !busy && (s.gradable(info, sub.Submission) || been) {
		g.Token = s.token("grade", strconv.FormatInt(sub.ID, 10))
	}
	if !been {
		return g
	}
	g.Shown, g.Message = true, f.Message
	if n := len(sub.Steps); n > 0 && sub.Steps[n-1].Name == question.GraderStep {
		g.Printed = sub.Steps[n-1].Output
	}
	var r struct {
		Message, Output string
		Images          []json.RawMessage
		Tests           []struct {
			Name, Message, Output json.RawMessage
			Points                any
			MaxPoints             any `json:"max_points"`
			Images                []json.RawMessage
		}
	}
	_ = json.Unmarshal(f.Results, &r) // whatever does not fit is not shown
	if r.Message != "" {
		g.Message = r.Message
	}
	g.Output = r.Output
	g.show(r.Images)
	for _, t := range r.Tests {
		g.Tests = append(g.Tests, graderTest{text(t.Name), text(t.Message), text(t.Output), t.Points, t.MaxPoints})
		g.show(t.Images)
	}
	return g
}

// show takes pictures, each a URL or an object with one.
func (g *grader) show(images []json.RawMessage) {
	for _, raw := range images {
		var o struct{ URL string }
		if json.Unmarshal(raw, &o.URL) != nil {
			_ = json.Unmarshal(raw, &o)
		}
		if image.MatchString(o.URL) {
			g.Images = append(g.Images, template.URL(o.URL)) // matched as a whole
		}
	}
}
