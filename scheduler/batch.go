package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/prairielambda/prairielambda/jobs"
)

type batchBody struct {
	Data           json.RawMessage `json:"data"`
	Question       string          `json:"question"`
	CourseInstance string          `json:"course_instance"`
	Assessment     string          `json:"assessment"`
	Requests       []batchItem     `json:"requests"`
	OnError        string          `json:"on_error"`
}

type batchItem struct {
	Type   jobs.CallType `json:"type"`
	Name   string        `json:"name"`
	Method string        `json:"method"`
	HTML   *string       `json:"html"`
}

// itemAnswer is the answer to one item. Body is a data object, a string of HTML,
// a file in base64, or an error in its usual shape.
type itemAnswer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
	Output string          `json:"output"`
}

type batchAnswer struct {
	Data      json.RawMessage `json:"data"`
	Responses []itemAnswer    `json:"responses"`
}

// batch runs calls in order in one sandbox, each on the data that the one before left.
func (g *Gateway) batch(x *exchange) error {
	x.note.method = "batch"
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	inv, err := decodeBatch(raw, g.cfg.MaxItems)
	if err != nil {
		return err
	}
	x.note.name = inv.Question
	inv.Course, inv.Version = x.vars["course"], x.vars["version"]
	ctx, cancel := g.deadline(x)
	defer cancel()
	if accepts(x.r, typeLines) && len(inv.Calls) > 1 && !slices.ContainsFunc(inv.Calls, func(c jobs.Call) bool { return c.Name == "" }) {
		return g.streamBatch(ctx, x, inv)
	}
	res, err := g.invokeNamed(ctx, x, inv)
	if err != nil {
		return err
	}
	x.note.outcome = string(jobs.OK)
	items := make([]itemAnswer, len(res.Calls))
	for i := range res.Calls {
		if items[i], err = itemOf(&res.Calls[i], x.id); err != nil {
			return err
		}
		if items[i].Status != http.StatusOK {
			x.note.outcome = string(res.Calls[i].Outcome)
		}
	}
	data := res.Data
	if data == nil {
		data = inv.Data
	}
	if accepts(x.r, typeLines) {
		return x.lines(items, data)
	}
	b, err := json.Marshal(batchAnswer{data, items})
	if err != nil {
		return fmt.Errorf("encode batch: %w", err)
	}
	x.send("application/json", b)
	return nil
}

// invokeNamed runs the items of a batch that have a name. A question's item
// without one (the RFC's own example has it) names nothing that could be there:
// it is missing, whatever the course holds.
func (g *Gateway) invokeNamed(ctx context.Context, x *exchange, inv *jobs.Invocation) (*jobs.Result, error) {
	all := inv.Calls
	inv.Calls = slices.DeleteFunc(slices.Clone(all), func(c jobs.Call) bool { return c.Name == "" })
	if i := slices.IndexFunc(all, func(c jobs.Call) bool { return c.Name == "" }); i >= 0 && inv.StopOnError {
		inv.Calls = all[:i]
	}
	res := &jobs.Result{}
	var err error
	if len(inv.Calls) > 0 {
		res, err = g.invoke(ctx, x, inv)
	} else {
		var v *jobs.VersionInfo // there is nothing to run, but perhaps no course either
		if v, err = g.lookup(ctx, x, inv.Course, inv.Version); err == nil {
			x.note.version = v.Version
			x.w.Header().Set("Prairie-Version", v.Version)
		}
	}
	if err != nil {
		return nil, err
	}
	ran := res.Calls
	res.Calls = make([]jobs.CallResult, len(all))
	for i, c := range all {
		switch {
		case c.Name == "" && !(inv.StopOnError && stopped(res.Calls[:i])):
			res.Calls[i] = jobs.CallResult{Outcome: jobs.Missing, Code: jobs.QuestionMissing, Message: "neither the item nor the batch names a question"}
		case c.Name != "" && len(ran) > 0:
			res.Calls[i], ran = ran[0], ran[1:]
		default:
			res.Calls[i] = jobs.CallResult{Outcome: jobs.SessionLost, Message: "an earlier call ended the session"}
		}
	}
	return res, nil
}

// stopped reports whether a call before was not OK.
func stopped(before []jobs.CallResult) bool {
	return slices.ContainsFunc(before, func(r jobs.CallResult) bool { return r.Outcome != jobs.OK })
}

// lines answers one JSON line an item, and one with the data at the end.
func (x *exchange) lines(items []itemAnswer, data json.RawMessage) error {
	for i := range items {
		if err := x.line(items[i]); err != nil {
			return err
		}
	}
	return x.line(lastLine{data})
}

type lastLine struct {
	Data json.RawMessage `json:"data"`
}

// line sends one line now.
func (x *exchange) line(v any) error {
	h := x.w.Header()
	h.Set("Content-Type", typeLines)
	h.Set("Cache-Control", "no-store")
	harden(h)
	if err := json.NewEncoder(x.w).Encode(v); err != nil {
		return fmt.Errorf("write line: %w", err)
	}
	x.flush()
	return nil
}

// decodeBatch reads the body of a batch and gives every item its name.
func decodeBatch(raw []byte, maxItems int) (*jobs.Invocation, error) {
	var b batchBody
	if err := decode(raw, &b); err != nil {
		return nil, err
	}
	if err := checkData(b.Data); err != nil {
		return nil, err
	}
	if b.Question != "" {
		if err := checkPath("question", b.Question); err != nil {
			return nil, err
		}
	}
	if err := checkCourseware(b.CourseInstance, b.Assessment); err != nil {
		return nil, err
	}
	if b.OnError != "" && b.OnError != "continue" && b.OnError != "stop" {
		return nil, refuse(http.StatusBadRequest, "bad_request", "on_error is continue or stop")
	}
	if len(b.Requests) == 0 || len(b.Requests) > maxItems {
		return nil, refuse(http.StatusBadRequest, "bad_request", fmt.Sprintf("requests has %d items; 1 to %d are taken", len(b.Requests), maxItems))
	}
	inv := &jobs.Invocation{
		Question: b.Question, CourseInstance: b.CourseInstance, Assessment: b.Assessment,
		Data: b.Data, Calls: make([]jobs.Call, len(b.Requests)), StopOnError: b.OnError == "stop",
	}
	for i, it := range b.Requests {
		c, err := it.call(b.Question)
		if err != nil {
			f := faultOf(err)
			f.body.Message = fmt.Sprintf("requests[%d]: %s", i, f.body.Message)
			return nil, f
		}
		inv.Calls[i] = c
	}
	return inv, nil
}

// call checks an item and gives it the name that it leaves out: the batch's
// question, or the tag that the element's HTML begins with. The RFC's own batch
// names no question at all; see invokeNamed.
func (it batchItem) call(question string) (jobs.Call, error) {
	c := jobs.Call{Type: it.Type, Name: it.Name, Method: it.Method, HTML: it.HTML}
	if err := checkWord("method", it.Method); err != nil {
		return c, err
	}
	switch it.Type {
	case jobs.Question, jobs.Phase:
		if c.Name == "" {
			c.Name = question
		}
		if c.Name == "" {
			return c, nil
		}
		return c, checkPath("name", c.Name)
	case jobs.Element:
		if it.HTML == nil {
			return c, refuse(http.StatusBadRequest, "bad_request", "html is missing: an element is called with its HTML")
		}
		if c.Name == "" {
			c.Name = tagOf(*it.HTML)
		}
		return c, checkWord("name", c.Name)
	}
	return c, refuse(http.StatusBadRequest, "bad_request", "type is question or element")
}

func itemOf(c *jobs.CallResult, id string) (a itemAnswer, err error) {
	a.Output = c.Output
	if c.Outcome != jobs.OK {
		f := callFault(c)
		a.Status, a.Body = f.status, f.shape(id)
		return a, nil
	}
	a.Status = http.StatusOK
	switch {
	case c.HTML != nil:
		a.Body, err = json.Marshal(*c.HTML)
	case c.File != nil:
		a.Body, err = json.Marshal(c.File)
	default:
		a.Body = c.Data
	}
	return a, err
}
