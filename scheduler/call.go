package scheduler

import (
	"encoding/json"
	"net/http"

	"github.com/prairielambda/prairielambda/jobs"
)

// callBody is the body of a question's, an element's and a phase's call.
type callBody struct {
	Method         string          `json:"method"`
	Data           json.RawMessage `json:"data"`
	HTML           *string         `json:"html"`
	CourseInstance string          `json:"course_instance"`
	Assessment     string          `json:"assessment"`
}

func (g *Gateway) question(x *exchange) error { return g.call(x, jobs.Question, x.vars["qid"]) }
func (g *Gateway) element(x *exchange) error  { return g.call(x, jobs.Element, x.vars["name"]) }
func (g *Gateway) process(x *exchange) error  { return g.call(x, jobs.Phase, x.vars["qid"]) }

// call answers one call in a sandbox of its own.
func (g *Gateway) call(x *exchange, kind jobs.CallType, name string) error {
	x.note.name = name
	if kind == jobs.Element {
		if err := checkWord("the element's name", name); err != nil {
			return err
		}
	} else if err := checkPath("the QID", name); err != nil {
		return err
	}
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	inv, err := decodeCall(raw, kind, name)
	if err != nil {
		return err
	}
	x.note.method = inv.Calls[0].Method
	inv.Course, inv.Version = x.vars["course"], x.vars["version"]
	ctx, cancel := g.deadline(x)
	defer cancel()
	noHTML := kind == jobs.Element && inv.Calls[0].HTML == nil
	if noHTML { // what is not there is missing first of all
		inv.Calls[0].Method = nowhere
	}
	res, err := g.invoke(ctx, x, inv)
	if err != nil {
		return err
	}
	c := &res.Calls[0]
	if noHTML && c.Code != jobs.ElementMissing {
		return refuse(http.StatusBadRequest, "bad_request", "html is missing: an element is called with its HTML")
	}
	x.note.outcome = string(c.Outcome)
	if c.Outcome != jobs.OK {
		f := callFault(c)
		if f.status == http.StatusFailedDependency { // there was no earlier call
			f.status = http.StatusUnprocessableEntity
		}
		return f
	}
	return x.answer(res, c)
}

// nowhere is a method that no element has: asking for it tells whether the element is there.
const nowhere = "no-html"

// decodeCall reads the body of a single call.
func decodeCall(raw []byte, kind jobs.CallType, name string) (*jobs.Invocation, error) {
	var b callBody
	if err := decode(raw, &b); err != nil {
		return nil, err
	}
	if err := checkWord("method", b.Method); err != nil {
		return nil, err
	}
	if err := checkData(b.Data); err != nil {
		return nil, err
	}
	if err := checkCourseware(b.CourseInstance, b.Assessment); err != nil {
		return nil, err
	}
	inv := &jobs.Invocation{
		CourseInstance: b.CourseInstance, Assessment: b.Assessment, Data: b.Data,
		Calls: []jobs.Call{{Type: kind, Name: name, Method: b.Method, HTML: b.HTML}},
	}
	if kind != jobs.Element {
		inv.Question = name
	}
	return inv, nil
}

// decode reads one JSON object and nothing behind it.
func decode(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		f := refuse(http.StatusBadRequest, "bad_request", "the body is not the JSON object that this route takes: "+err.Error())
		f.cause = err
		return f
	}
	return nil
}

// checkCourseware checks the names that add chunks to what the sandbox sees.
func checkCourseware(instance, assessment string) error {
	if instance != "" {
		if err := checkPath("course_instance", instance); err != nil {
			return err
		}
	}
	if assessment == "" {
		return nil
	}
	if instance == "" {
		return refuse(http.StatusBadRequest, "bad_request", "assessment needs its course_instance")
	}
	return checkPath("assessment", assessment)
}
