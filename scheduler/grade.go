package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// gradeBody is what an external grader is asked to grade.
type gradeBody struct {
	// Submission is what was submitted, with its files as {name, contents in base64}
	// in _files; it takes the place of data.submitted_answers.
	Submission json.RawMessage `json:"submission"`
	Data       json.RawMessage `json:"data"`
}

// grade starts the external grader of a question and answers at once. What became
// of it is read like any other asynchronous run: its last piece of output is a
// jobs.Grade.
func (g *Gateway) grade(x *exchange) error {
	qid := x.vars["qid"]
	x.note.name, x.note.method = qid, "grade"
	if err := checkPath("the QID", qid); err != nil {
		return err
	}
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	data, err := decodeGrade(raw)
	if err != nil {
		return err
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	course := x.vars["course"]
	version, err := g.resolve(ctx, x, course, x.vars["version"])
	if err != nil {
		return err
	}
	x.w.Header().Set("Prairie-Version", version)
	x.note.version = version
	req := &jobs.RunRequest{
		Owner:   x.note.token,
		Grading: &jobs.Grading{Course: course, Version: version, Question: qid, Data: data},
	}
	if err := g.gradable(ctx, x, req.Grading); err != nil {
		return err
	}
	var id string
	if g.cfg.Long != nil {
		id, err = g.startLong(ctx, x, req)
	} else {
		id, err = g.startShort(ctx, x, req, plan{key: routeKey(course, version), hedge: "off"}, fleet.Request{Course: course, Version: version})
	}
	if err != nil {
		return err
	}
	return x.sendJSON(map[string]string{"identifier": id, "message": "Pending"})
}

// ungradable are the codes with which a worker says that a grading cannot begin.
var ungradable = []string{"grader_missing", "environment_missing", "bad_request", jobs.QuestionMissing, jobs.CourseMissing, jobs.VersionMissing}

// gradable asks a worker whether a grading could begin, so that whoever asks for one
// that cannot hears of it at once. Where none can say so, the run itself will.
func (g *Gateway) gradable(ctx context.Context, x *exchange, gr *jobs.Grading) error {
	if !g.fleet.Ready() {
		return nil
	}
	body, err := json.Marshal(gr)
	if err != nil {
		return fmt.Errorf("encode the grading: %w", err)
	}
	req := fleet.Request{Path: "/v1/gradable", Body: body, Header: traceOf(x.r), Course: gr.Course, Version: gr.Version, ID: x.id}
	_, err = onFleet(ctx, g, plan{key: routeKey(gr.Course, gr.Version)}, func(ctx context.Context, w *fleet.Worker) (struct{}, error) {
		return struct{}{}, w.JSON(ctx, req, &struct{}{})
	})
	var we *fleet.Error
	if errors.As(err, &we) && we.Answer != nil && slices.Contains(ungradable, we.Answer.Code) {
		return err
	}
	return nil
}

// decodeGrade returns the data object with the submission in its place.
func decodeGrade(raw []byte) (json.RawMessage, error) {
	var b gradeBody
	if err := decode(raw, &b); err != nil {
		return nil, err
	}
	if err := checkData(b.Data); err != nil {
		return nil, err
	}
	if len(b.Submission) == 0 || string(b.Submission) == "null" {
		return b.Data, nil
	}
	if b.Submission[0] != '{' {
		return nil, refuse(http.StatusBadRequest, "bad_request", "submission is not an object")
	}
	var data map[string]json.RawMessage
	if err := decode(b.Data, &data); err != nil {
		return nil, err
	}
	data["submitted_answers"] = b.Submission
	out, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode data: %w", err)
	}
	return out, nil
}
