package scheduler

import (
	"encoding/json"
	"fmt"
	"net/http"

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
